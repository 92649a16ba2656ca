//! The configuration as plain data, whoever it comes from.
//!
//! [`Config::parse`] reads the file that `vswitchd --config` names (docs/configuration.md);
//! [`ConfigFile`] edits it for the management socket; [`difference()`] says what to do to a running
//! switch. What is wrong is named with its value, file and line, and what is allowed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::pace::Limit;
use super::target::{Listener, Target};
use crate::pipeline::Overflow;

mod check;
mod conntrack;
mod difference;
pub mod endpoint;
mod file;
mod ipfix;
mod reader;
mod sections;
mod tunnel;

pub use conntrack::{Conntrack, Policy, Timeouts, Zone};
pub use difference::{Change, difference};
pub use file::{ConfigFile, Keys};
pub use ipfix::CollectorSet;
pub use reader::ConfigError;
pub use tunnel::{OptionError, tunnel};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where sockets and the lock file live.
    pub run_dir: PathBuf,
    /// Poll workers.
    pub workers: Workers,
    /// DPDK.
    pub dpdk: Dpdk,
    /// Logging.
    pub log: Log,
    /// Connection tracking.
    pub conntrack: Conntrack,
    /// Who is told of samples.
    pub ipfix: Vec<CollectorSet>,
    /// Certificates of OpenFlow connections.
    pub tls: Option<Tls>,
    /// Bridges in order of the file.
    pub bridges: Vec<Bridge>,
}

/// `[workers]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Workers {
    /// One poll worker per CPU; empty for one on the machine's last CPU.
    pub cpus: Vec<usize>,
    /// Longest sleep of a worker without packets in microseconds, 0 for never.
    pub idle_sleep_us_max: u32,
    /// Entries of each worker's flow cache.
    pub cache_entries: u32,
}

/// `[dpdk]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dpdk {
    /// Memory for packets and rings.
    pub memory_mib: u32,
    /// Look at the PCI bus even if no port names a PCI device yet.
    pub pci: bool,
    /// Further EAL arguments.
    pub args: Vec<String>,
}

/// `[tls]`, with the names of OVS's `SSL` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// The switch's private key.
    pub private_key: PathBuf,
    /// The switch's certificate, those that lead to its authority after it.
    pub certificate: PathBuf,
    /// The authorities that signed the certificates of peers.
    pub ca_cert: PathBuf,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Level, or comma-separated `target=level` directives.
    pub level: String,
    /// Text or JSON.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[[bridge]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bridge {
    /// Name, also of its LOCAL port.
    pub name: String,
    /// What happens without a controller.
    pub fail_mode: FailMode,
    /// OpenFlow datapath id; derived from the machine and the name if `None`.
    pub datapath_id: Option<u64>,
    /// Seconds after which a learned address is forgotten.
    pub mac_ageing_s: u32,
    /// Flows of one table at most.
    pub flow_limit: u32,
    /// What becomes of a flow for which there is no room.
    pub overflow_policy: Overflow,
    /// Packet-ins of one port, for all controllers together.
    pub packet_ins_of_port: Option<Limit>,
    /// What `OFPMP_DESC` says.
    pub description: Description,
    /// Controllers to dial.
    pub controllers: Vec<Controller>,
    /// Addresses to listen on, besides `<run_dir>/<bridge>.mgmt`.
    pub listeners: Vec<Listener>,
    /// Its LOCAL port.
    pub local: Port,
    /// The other ports in order of the file.
    pub ports: Vec<Port>,
}

/// What a bridge does without a controller (OpenFlow 1.3.5 §6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailMode {
    /// It is a learning switch.
    Standalone,
    /// It goes on with the flows it has.
    Secure,
}

/// `[bridge.description]`: the strings of `OFPMP_DESC` (OpenFlow 1.3.5 §7.3.5.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// `mfr_desc`.
    pub manufacturer: String,
    /// `hw_desc`.
    pub hardware: String,
    /// `sw_desc`.
    pub software: String,
    /// `serial_num`.
    pub serial_number: String,
    /// `dp_desc`; the bridge's name if empty.
    pub datapath: String,
}

/// A controller to dial.
#[derive(Clone, Debug, PartialEq)]
pub struct Controller {
    /// Where it is.
    pub target: Target,
    /// Seconds of silence before an echo request, and again before giving up; 0 for never.
    pub inactivity_probe_s: u32,
    /// Longest pause between attempts.
    pub max_backoff_s: u32,
    /// Packet-ins that it gets, over all ports.
    pub packet_ins: Option<Limit>,
    /// Connections beside the main one.
    pub auxiliary_connections: u8,
}

/// `[[bridge.port]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Name, unique over all bridges.
    pub name: String,
    /// OpenFlow port number; chosen if `None`.
    pub number: Option<u32>,
    /// Type.
    pub kind: PortKind,
    /// Options of the type.
    pub options: BTreeMap<String, String>,
    /// VLANs.
    pub vlan: Vlan,
    /// Largest IP packet; the netdev's own for a `system` port, else Ethernet's, if `None`.
    pub mtu: Option<u16>,
    /// Whether it may receive and send.
    pub admin_up: bool,
}

/// A port's type, as OVS names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A DPDK ethdev.
    Dpdk,
    /// vhost-user, QEMU being the socket's server.
    VhostUserClient,
    /// vhost-user, the switch being the socket's server.
    VhostUser,
    /// A TAP for the host's own stack.
    Internal,
    /// A netdev that is there.
    System,
    /// Swallows everything.
    Null,
    /// One end of a link between two bridges; `peer` names the other.
    Patch,
    /// Addresses that the switch itself answers for.
    Endpoint,
    /// Tunnels by VXLAN.
    Vxlan,
    /// Tunnels by Geneve.
    Geneve,
    /// Tunnels by GRE.
    Gre,
    /// Tunnels by GRE over IPv6.
    Ip6gre,
}

/// A port's VLANs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Vlan {
    /// All VLANs, tagged.
    #[default]
    All,
    /// One VLAN, untagged.
    Access(u16),
    /// These VLANs, tagged.
    Trunks(Vec<u16>),
}

impl Config {
    /// Reads a configuration; `file` is for errors, `run_dir` overrules what the text says.
    pub fn parse(text: &str, file: &Path, run_dir: Option<&Path>) -> Result<Config, ConfigError> {
        let source = reader::Source::new(text, file);
        if let Some(place) = source.overflow() {
            // The largest number there is, in its place, tells what is allowed.
            let mut largest = text.to_owned();
            largest.replace_range(place.clone(), &i64::MAX.to_string());
            let told = Config::parse(&largest, file, run_dir);
            told.map_err(|error| error.with_value(&i64::MAX.to_string(), &text[place]))?;
        }
        let config = sections::config(&source, run_dir)?;
        check::check(&config, &source)?;
        Ok(config)
    }

    /// An error about `key` of the section that is called `owner`, with file and line.
    pub fn error_at(
        text: &str,
        file: &Path,
        run_dir: Option<&Path>,
        key: &'static str,
        owner: &str,
        message: String,
    ) -> ConfigError {
        let source = reader::Source::new(text, file);
        // Reading it again tells where everything stands.
        let _ = sections::config(&source, run_dir);
        source.error_at(key, owner, message)
    }

    /// What the daemon runs on without a file: one learning bridge with a LOCAL port, two ports
    /// for guests and a listener for controllers.
    pub fn built_in(run_dir: &Path) -> String {
        let run_dir = toml_edit::Value::from(run_dir.to_string_lossy().as_ref());
        format!("run_dir = {run_dir}\n{BUILT_IN}")
    }
}

impl Bridge {
    /// The LOCAL port and the others.
    pub fn all_ports(&self) -> impl Iterator<Item = &Port> {
        [&self.local].into_iter().chain(&self.ports)
    }
}

impl Port {
    /// The LOCAL port of a bridge that says nothing of it.
    pub fn local(bridge: &str) -> Port {
        Port {
            name: bridge.to_owned(),
            number: None,
            kind: PortKind::Internal,
            options: BTreeMap::new(),
            vlan: Vlan::All,
            mtu: None,
            admin_up: true,
        }
    }
}

impl FailMode {
    /// As the file says it.
    pub fn label(self) -> &'static str {
        match self {
            FailMode::Standalone => "standalone",
            FailMode::Secure => "secure",
        }
    }
}

impl PortKind {
    /// Every type.
    pub const ALL: [PortKind; 12] = [
        PortKind::Dpdk,
        PortKind::VhostUserClient,
        PortKind::VhostUser,
        PortKind::Internal,
        PortKind::System,
        PortKind::Null,
        PortKind::Patch,
        PortKind::Endpoint,
        PortKind::Vxlan,
        PortKind::Geneve,
        PortKind::Gre,
        PortKind::Ip6gre,
    ];

    /// As the file says it.
    pub fn label(self) -> &'static str {
        match self {
            PortKind::Dpdk => "dpdk",
            PortKind::VhostUserClient => "dpdkvhostuserclient",
            PortKind::VhostUser => "dpdkvhostuser",
            PortKind::Internal => "internal",
            PortKind::System => "system",
            PortKind::Null => "null",
            PortKind::Patch => "patch",
            PortKind::Endpoint => "endpoint",
            PortKind::Vxlan => "vxlan",
            PortKind::Geneve => "geneve",
            PortKind::Gre => "gre",
            PortKind::Ip6gre => "ip6gre",
        }
    }
}

/// Highest OpenFlow number of a port: as in OVS, so that it fits every version of OpenFlow.
pub const PORT_NUMBER_MAX: u32 = 0xfeff;
/// Where sockets live unless the file or the command line says otherwise.
pub const DEFAULT_RUN_DIR: &str = "/run/vswitch";

/// The built-in configuration after its run_dir.
const BUILT_IN: &str = r#"
[[bridge]]
name = "br0"
fail_mode = "standalone"
listeners = ["ptcp:6654:127.0.0.1"]

[[bridge.port]]
name = "vm1"
number = 1
type = "dpdkvhostuserclient"

[[bridge.port]]
name = "vm2"
number = 2
type = "dpdkvhostuserclient"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("f.toml"), None).map_err(|error| error.to_string())
    }

    #[test]
    fn the_built_in_configuration_is_right() {
        let run_dir = Path::new("/tmp/a \"b\"");
        let config = parse(&Config::built_in(run_dir)).unwrap();
        assert_eq!(config.run_dir, run_dir);
        let bridge = &config.bridges[0];
        assert_eq!(
            (bridge.name.as_str(), bridge.fail_mode),
            ("br0", FailMode::Standalone)
        );
        let names: Vec<_> = bridge.ports.iter().map(|port| port.name.as_str()).collect();
        assert_eq!(names, ["vm1", "vm2"]);
        assert_eq!(
            bridge.ports[0].options["vhost-server-path"],
            "/tmp/a \"b\"/vm1.sock"
        );
    }

    #[test]
    fn every_key_is_read() {
        let config = parse(
            r#"
            run_dir = "/run/x"
            workers = { cpus = [1, 3], idle_sleep_us_max = 0, cache_entries = 1024 }
            dpdk = { memory_mib = 256, args = ["--no-huge"] }
            log = { level = "debug", format = "json" }
            tls = { private_key = "/k", certificate = "/c", ca_cert = "/a" }
            [[bridge]]
            name = "br1"
            fail_mode = "secure"
            datapath_id = "00000000000000ff"
            mac_ageing_s = 10
            flow_limit = 1000
            overflow_policy = "evict"
            description = { manufacturer = "m", hardware = "h", software = "s",
                            serial_number = "n", datapath = "d" }
            controllers = ["tcp:10.0.0.1", { target = "unix:/c", inactivity_probe_s = 0,
                                             max_backoff_s = 2, controller_rate_limit = 200,
                                             auxiliary_connections = 3 }]
            port_rate_limit = 50
            port_burst_limit = 70
            listeners = ["ptcp:6654:127.0.0.1", "punix:/l"]
            [[bridge.port]]
            name = "p"
            number = 7
            type = "dpdk"
            options = { dpdk-devargs = "net_null0", n_rxq = 2, n_rxq_desc = "64" }
            trunks = [20, 10, 20]
            mtu = 9000
            admin_up = false
            [[bridge.port]]
            name = "q"
            type = "patch"
            options.peer = "r"
            tag = 10
            "#,
        );
        let config = config.unwrap();
        assert_eq!(config.workers.cpus, [1, 3]);
        assert_eq!(config.log.format, LogFormat::Json);
        assert_eq!(config.tls.unwrap().ca_cert, Path::new("/a"));
        let bridge = &config.bridges[0];
        assert_eq!((bridge.datapath_id, bridge.mac_ageing_s), (Some(255), 10));
        let limit = (bridge.flow_limit, bridge.overflow_policy);
        assert_eq!(limit, (1000, Overflow::Evict));
        assert_eq!(bridge.description.serial_number, "n");
        assert_eq!(bridge.controllers[1].max_backoff_s, 2);
        assert_eq!(bridge.controllers[1].auxiliary_connections, 3);
        let limit = |rate, burst| Some(Limit { rate, burst });
        assert_eq!(bridge.controllers[1].packet_ins, limit(200, 50));
        assert_eq!(bridge.controllers[0].packet_ins, None);
        assert_eq!(bridge.packet_ins_of_port, limit(50, 70));
        assert_eq!(bridge.listeners.len(), 2);
        let port = &bridge.ports[0];
        assert_eq!(
            (port.number, port.mtu, port.admin_up),
            (Some(7), Some(9000), false)
        );
        assert_eq!(port.vlan, Vlan::Trunks(vec![10, 20]));
        assert_eq!(
            (&*port.options["n_rxq"], &*port.options["n_rxq_desc"]),
            ("2", "64")
        );
        assert_eq!(bridge.ports[1].vlan, Vlan::Access(10));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bridge = |rest: &str| format!("[[bridge]]\nname = \"b\"\n{rest}");
        let port = |rest: &str| bridge(&format!("[[bridge.port]]\nname = \"p\"\n{rest}"));
        for (text, expected) in [
            (
                "a = 1".to_owned(),
                "f.toml:1: a: unknown key; allowed are run_dir, workers, ",
            ),
            (
                "run_dir = 3".to_owned(),
                "f.toml:1: run_dir = 3: allowed is a string",
            ),
            (
                "run_dir = \"x\"".to_owned(),
                "allowed is an absolute path of at most",
            ),
            (
                "\n\n[workers]\ncpus = [-1]".to_owned(),
                "f.toml:4: workers.cpus = -1: allowed is",
            ),
            (
                "[workers]\n\ncpus = [1,1]".to_owned(),
                "f.toml:3: workers: CPU 1 is there twice",
            ),
            (
                "[log]\nlevel = \"x\"".to_owned(),
                "log.level = \"x\": allowed are off, error, ",
            ),
            ("x".to_owned(), "f.toml:1: "),
            (
                "\n[dpdk]\nmemory_mib = 99999999999999999999".to_owned(),
                "f.toml:3: dpdk.memory_mib = 99999999999999999999: allowed is MiB from 64 to",
            ),
            (
                "[[bridge]]\n".to_owned(),
                "f.toml:1: bridge.name is missing",
            ),
            (
                bridge("fail_mode = \"x\""),
                "bridge \"b\": fail_mode = \"x\": allowed are",
            ),
            (
                bridge("datapath_id = 0"),
                "f.toml:3: bridge \"b\": datapath_id = 0: allowed is",
            ),
            (
                bridge("controllers = [\"x\"]"),
                "controllers = \"x\": allowed are tcp:HOST",
            ),
            (
                bridge("listeners = [\"pssl:1\"]"),
                "f.toml:3: b: listener pssl:1:0.0.0.0 needs [tls] with private_key, certificate",
            ),
            (
                bridge("controllers = [\"ssl:a\"]"),
                "f.toml:3: b: controller ssl:a:6653 needs [tls] with private_key, certificate",
            ),
            (
                "[tls]\nprivate_key = \"/k\"".to_owned(),
                "f.toml:1: tls.certificate is missing: give an absolute path",
            ),
            (
                "[tls]\nprivate_key = \"k\"".to_owned(),
                "f.toml:2: tls.private_key = \"k\": allowed is an absolute path",
            ),
            (
                bridge("controllers = [{}]"),
                "bridge \"b\": controllers.target is missing",
            ),
            (
                bridge("listeners = [\"tcp:1\"]"),
                "allowed are ptcp:[PORT][:ADDRESS]",
            ),
            (
                bridge("port = 1"),
                "bridge \"b\": port = 1: allowed is tables, each under [[bridge.port]]",
            ),
            (
                bridge("[[bridge.port]]\nname = \"a/b\""),
                "f.toml:4: bridge \"b\" port.name = ",
            ),
            (
                port(""),
                "port \"p\": type is missing: give one of dpdk, dpdkvhostuserclient",
            ),
            (
                port("type = \"x\""),
                "f.toml:5: bridge \"b\" port \"p\": type = \"x\": allowed are",
            ),
            (
                port("type = \"null\"\ntag = 5000"),
                "tag = 5000: allowed is a VLAN from 0 to 4095",
            ),
            (
                port("type = \"null\"\ntag = 1\ntrunks = []"),
                "either tag or trunks is allowed",
            ),
            (
                port("type = \"null\"\nnumber = 0"),
                "number = 0: allowed is a number from 1 to",
            ),
            (
                port("type = \"patch\""),
                "a patch port needs the option \"peer\"",
            ),
            (
                port("type = \"null\"\noptions = {\na = 1 }"),
                "f.toml:7: bridge \"b\" port \"p\": options.a: unknown option of type null; \
                 allowed are none",
            ),
            (
                port("type = \"dpdkvhostuserclient\"\noptions = { n_rxq = 0 }"),
                "f.toml:6: bridge \"b\" port \"p\": options.n_rxq = \"0\": allowed is 1 to 128",
            ),
            (
                port("type = \"dpdkvhostuser\"\n[bridge.port.options]\nn_rxq = \"999999\""),
                "f.toml:7: bridge \"b\" port \"p\": options.n_rxq = \"999999\": allowed is",
            ),
            (
                port("type = \"internal\"\noptions.mac = \"zz\""),
                "options.mac = \"zz\": allowed is an address such as 02:00:",
            ),
            (
                port("type = \"dpdk\""),
                "f.toml:3: bridge \"b\" port \"p\": options.dpdk-devargs is missing: give a PCI",
            ),
            (
                port("type = \"patch\"\noptions.peer = \"p\""),
                "f.toml:6: bridge \"b\" port \"p\": options.peer = \"p\": a patch port cannot be",
            ),
            (
                bridge("listeners = [\"punix:run/x\"]"),
                "f.toml:3: bridge \"b\": listeners = \"punix:run/x\": allowed are ptcp:",
            ),
            (
                "[bridge]\nname = \"b\"".to_owned(),
                "f.toml:1: bridge = a table: allowed is tables, each under [[bridge]]",
            ),
            (
                bridge("controllers = [{ target = \"tcp:a\", max_backoff_s = 0 }]"),
                "bridge \"b\": controllers.max_backoff_s = 0: allowed is seconds from 1 to 3600",
            ),
            (
                port("type = \"null\"\noptions = 1"),
                "options = 1: allowed is a table",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(
                error.contains(expected),
                "{text}\n{error}\nlacks {expected}"
            );
        }
    }

    #[test]
    fn what_is_there_twice_is_named() {
        let port = |name: &str, rest: &str| {
            format!("[[bridge.port]]\nname = \"{name}\"\ntype = \"null\"\n{rest}\n")
        };
        let bridge = |name: &str, rest: &str| format!("[[bridge]]\nname = \"{name}\"\n{rest}\n");
        let vhost = "type = \"dpdkvhostuser\"\noptions = { vhost-server-path = \"/s\" }\n";
        for (text, expected) in [
            (
                bridge("a", "") + &bridge("a", ""),
                "f.toml:5: name \"a\" is there twice",
            ),
            (
                bridge("a", "") + &bridge("b", "") + &port("a", ""),
                "f.toml:8: name \"a\" is there twice, as a bridge and as a port of bridge \"b\"",
            ),
            (
                bridge("a", "") + &port("a", ""),
                "port \"a\": type = \"null\": a port of its bridge's name is the bridge's own",
            ),
            (
                bridge("a", "") + &port("p", "") + &port("p", ""),
                "f.toml:9: name \"p\"",
            ),
            (
                bridge("a", "datapath_id = 1") + &bridge("b", "datapath_id = 1"),
                "f.toml:6: b: datapath_id 1 is already that of a",
            ),
            (
                bridge("a", "") + &port("p", "number = 1") + &port("q", "number = 1"),
                "f.toml:11: q: port number 1 is already that of p",
            ),
            (
                bridge("a", "listeners = [\"ptcp:1\"]") + &bridge("b", "listeners = [\"ptcp:1\"]"),
                "f.toml:6: b: listener ptcp:1:0.0.0.0 is already that of a",
            ),
            (
                bridge("a", "controllers = [\"tcp:a\", \"tcp:a:6653\"]"),
                "a: controller tcp:a:6653 is there twice",
            ),
            (
                bridge("a", "")
                    + &(port("p", "") + &port("q", "")).replace("type = \"null\"", vhost),
                "q: vhost-server-path /s is already that of p",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(
                error.contains(expected),
                "{text}\n{error}\nlacks {expected}"
            );
        }
    }
}
