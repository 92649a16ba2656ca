//! Bridges, ports, controllers, learned addresses and the log.

use clap::{Args, Subcommand};

use super::fail_modes;

/// Add, delete or change a bridge.
#[derive(Debug, Subcommand)]
pub enum BridgeCommand {
    /// Add a bridge, and with it its own port (LOCAL) as a network device of the host
    #[command(after_help = BRIDGE_EXAMPLES)]
    Add {
        /// Its name, up to 15 letters, digits, '.', '_' and '-'
        bridge: String,

        /// Its settings
        #[command(flatten)]
        settings: BridgeSettings,

        /// Controller to connect to: tcp:HOST:PORT, ssl:HOST:PORT or unix:PATH; may be given again
        #[arg(long = "controller", value_name = "TARGET")]
        controllers: Vec<String>,

        /// Do nothing if the bridge is there
        #[arg(long)]
        may_exist: bool,
    },

    /// Delete a bridge with its ports, flows, groups and meters
    Del {
        /// Its name
        bridge: String,

        /// Do nothing if there is no such bridge
        #[arg(long)]
        if_exists: bool,
    },

    /// Change settings of a bridge
    #[command(after_help = BRIDGE_SET_EXAMPLES)]
    Set {
        /// Its name
        bridge: String,

        /// What to change
        #[command(flatten)]
        settings: BridgeSettings,
    },
}

/// Settings of a bridge.
#[derive(Args, Debug)]
pub struct BridgeSettings {
    /// Without a controller: learn addresses like an ordinary switch, or forward by flows alone
    #[arg(long, value_name = "MODE", value_parser = fail_modes())]
    pub fail_mode: Option<String>,

    /// Datapath id, up to 16 hexadecimal digits
    #[arg(long, value_name = "ID")]
    pub datapath_id: Option<String>,

    /// Where to listen for controllers: ptcp:PORT[:ADDRESS], pssl:PORT[:ADDRESS] or punix:PATH; may
    /// be given again
    #[arg(long = "listener", value_name = "TARGET")]
    pub listeners: Vec<String>,
}

/// Add, delete, change or list ports.
#[derive(Debug, Subcommand)]
pub enum PortCommand {
    /// Add a port to a bridge
    #[command(after_help = PORT_EXAMPLES)]
    Add {
        /// Bridge
        bridge: String,

        /// Name of the port, up to 15 letters, digits, '.', '_' and '-'
        port: String,

        /// dpdk, dpdkvhostuserclient, dpdkvhostuser, internal, system, patch, vxlan, geneve, gre,
        /// ip6gre or null
        #[arg(long = "type", value_name = "TYPE", default_value = "system")]
        kind: String,

        /// OpenFlow port number, the lowest free one if left out
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_279))]
        number: Option<u32>,

        /// Its settings
        #[command(flatten)]
        settings: PortSettings,

        /// Do nothing if a port of this name is on this bridge
        #[arg(long)]
        may_exist: bool,
    },

    /// Delete a port
    Del {
        /// Bridge
        bridge: String,

        /// Port
        port: String,

        /// Do nothing if there is no such port
        #[arg(long)]
        if_exists: bool,
    },

    /// Change settings of a port
    #[command(after_help = PORT_SET_EXAMPLES)]
    Set {
        /// Bridge
        bridge: String,

        /// Port
        port: String,

        /// What to change
        #[command(flatten)]
        settings: PortSettings,

        /// Switch it on
        #[arg(long, conflicts_with = "down")]
        up: bool,

        /// Switch it off
        #[arg(long)]
        down: bool,
    },

    /// List ports
    List {
        /// This bridge only
        bridge: Option<String>,
    },
}

/// Settings of a port.
#[derive(Args, Debug)]
pub struct PortSettings {
    /// Option of its type, such as dpdk-devargs=0000:01:00.0; may be given again
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = key_value)]
    pub options: Vec<(String, String)>,

    /// Other end of a tunnel, or flow
    #[arg(long, value_name = "ADDRESS")]
    pub remote_ip: Option<String>,

    /// This end of a tunnel, or flow
    #[arg(long, value_name = "ADDRESS")]
    pub local_ip: Option<String>,

    /// Key of a tunnel, or flow
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,

    /// UDP port of a tunnel
    #[arg(long, value_name = "PORT")]
    pub dst_port: Option<u16>,

    /// Access port of this VLAN, or none
    #[arg(long, value_name = "VLAN", value_parser = tag)]
    pub tag: Option<Tag>,

    /// VLANs to carry tagged, separated by commas, or all
    #[arg(long, value_name = "VLANS", value_parser = trunks)]
    pub trunks: Option<Trunks>,

    /// Bytes after the Ethernet header
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u32>,
}

/// Access VLAN, `None` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub Option<u16>);

/// VLANs carried tagged, empty for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunks(pub Vec<u16>);

/// Set, delete or list controllers.
#[derive(Debug, Subcommand)]
pub enum ControllerCommand {
    /// Connect a bridge to these controllers and no others
    #[command(after_help = CONTROLLER_EXAMPLES)]
    Set {
        /// Bridge
        bridge: String,

        /// tcp:HOST:PORT, ssl:HOST:PORT or unix:PATH
        #[arg(required = true, value_name = "TARGET")]
        targets: Vec<String>,
    },

    /// Disconnect a bridge from its controllers, or from one of them
    Del {
        /// Bridge
        bridge: String,

        /// This one only
        target: Option<String>,
    },

    /// List controllers and how it stands with them
    List {
        /// Of this bridge only
        bridge: Option<String>,
    },
}

/// Learned addresses.
#[derive(Debug, Subcommand)]
pub enum MacCommand {
    /// Dump the addresses that a bridge has learned, and from which ports
    Dump {
        /// Bridge
        bridge: String,
    },

    /// Forget them
    Flush {
        /// Bridge
        bridge: String,
    },
}

/// What the daemon logs.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Set what is logged, or show it if nothing is said
    #[command(after_help = LOG_EXAMPLES)]
    Set {
        /// error, warn, info, debug, trace or off; or levels by module
        filter: Option<String>,
    },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("not of the form KEY=VALUE".into()),
    }
}

fn tag(text: &str) -> Result<Tag, String> {
    match text {
        "none" => Ok(Tag(None)),
        _ => vlan(text).map(|vlan| Tag(Some(vlan))),
    }
}

fn trunks(text: &str) -> Result<Trunks, String> {
    match text {
        "all" => Ok(Trunks(Vec::new())),
        _ => text
            .split(',')
            .map(vlan)
            .collect::<Result<_, _>>()
            .map(Trunks),
    }
}

fn vlan(text: &str) -> Result<u16, String> {
    let vlan = text.parse().ok().filter(|vlan| *vlan <= VLAN_MAX);
    vlan.ok_or_else(|| format!("{text:?} is not a VLAN, 0 to {VLAN_MAX}"))
}

const VLAN_MAX: u16 = 4095;

const BRIDGE_EXAMPLES: &str = "\
Examples:
  vsctl bridge add br1
  vsctl bridge add br1 --fail-mode secure --controller tcp:10.0.0.1:6653
  vsctl bridge add br1 --datapath-id 2a --listener ptcp:6654:127.0.0.1";

const BRIDGE_SET_EXAMPLES: &str = "\
Examples:
  vsctl bridge set br0 --fail-mode secure
  vsctl bridge set br0 --listener ptcp:6654:127.0.0.1 --listener punix:/run/ovn.sock";

const PORT_SET_EXAMPLES: &str = "\
Examples:
  vsctl port set br0 vm1 --tag 20
  vsctl port set br0 uplink --tag none --trunks 10,20,30
  vsctl port set br0 vm1 --down";

const PORT_EXAMPLES: &str = "\
Examples:
  a guest whose QEMU makes the socket, with two queues, on VLAN 10:
    vsctl port add br0 vm1 --type dpdkvhostuserclient \\
      --option vhost-server-path=/run/vswitch/vm1.sock --option n_rxq=2 --tag 10
  a network card by its PCI address:
    vsctl port add br0 uplink --type dpdk --option dpdk-devargs=0000:01:00.0 --trunks 10,20
  a network device of the kernel, such as one end of a veth pair:
    vsctl port add br0 veth0
  a link between two bridges:
    vsctl port add br0 vxlan0 --type vxlan --remote-ip 192.0.2.2 --key flow
    vsctl port add br0 to-br1 --type patch --option peer=to-br0
    vsctl port add br1 to-br0 --type patch --option peer=to-br1
  a router's address that the switch itself answers for:
    vsctl port add br0 router1 --type endpoint --option addresses=10.0.1.1/24";

const CONTROLLER_EXAMPLES: &str = "\
Examples:
  vsctl controller set br0 tcp:10.0.0.1:6653
  vsctl controller set br0 tcp:10.0.0.1:6653 tcp:10.0.0.2:6653";

const LOG_EXAMPLES: &str = "\
Examples:
  vsctl log set debug
  vsctl log set info,vswitch::control=trace
  vsctl log set                    shows what is logged";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_ports_are_read() {
        assert_eq!(tag("none"), Ok(Tag(None)));
        assert_eq!(tag("4095"), Ok(Tag(Some(4095))));
        assert!(tag("4096").is_err());
        assert_eq!(trunks("all"), Ok(Trunks(vec![])));
        assert_eq!(trunks("1,2"), Ok(Trunks(vec![1, 2])));
        assert!(trunks("1,").is_err());
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(key_value("a").is_err() && key_value("=b").is_err());
    }
}
