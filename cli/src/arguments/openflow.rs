//! Flows, groups and meters.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Add, modify, delete or dump flows.
#[derive(Debug, Subcommand)]
pub enum FlowCommand {
    /// Add flows; one of equal table, match and priority is replaced
    #[command(after_help = FLOW_EXAMPLES)]
    Add(Given),

    /// Change the actions of flows that are there
    #[command(after_help = MODIFY_EXAMPLES)]
    Mod {
        /// Only the flow of equal match and priority, not all that the match includes
        #[arg(long)]
        strict: bool,
        /// Which, and what they shall do.
        #[command(flatten)]
        given: Given,
    },

    /// Delete flows: those that the given match includes, or all of the bridge
    #[command(after_help = DELETE_EXAMPLES)]
    Del {
        /// Only the flow of equal match and priority, not all that the match includes
        #[arg(long)]
        strict: bool,
        /// Which; all if nothing is given.
        #[command(flatten)]
        given: Given,
    },

    /// Print flows as ovs-ofctl dump-flows does
    #[command(after_help = DUMP_EXAMPLES)]
    Dump {
        /// Bridge
        bridge: String,

        /// Only those that this match includes; table, cookie/mask, out_port, out_group narrow too
        flow: Option<String>,

        /// Print ports by name
        #[arg(long)]
        names: bool,

        /// Leave out counters, durations, and what is 0
        #[arg(long)]
        no_stats: bool,
    },
}

/// Add, modify, delete or dump groups.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Add groups
    #[command(after_help = GROUP_EXAMPLES)]
    Add(Given),

    /// Replace the type and buckets of groups
    #[command(after_help = GROUP_MODIFY_EXAMPLES)]
    Mod(Given),

    /// Delete groups by group_id, or all, and the flows that send to them
    #[command(after_help = GROUP_DELETE_EXAMPLES)]
    Del(Given),

    /// Print groups as ovs-ofctl dump-groups does
    Dump {
        /// Bridge
        bridge: String,

        /// Print counters instead of buckets
        #[arg(long)]
        stats: bool,

        /// Print ports by name
        #[arg(long)]
        names: bool,
    },
}

/// Add, modify, delete or dump meters.
#[derive(Debug, Subcommand)]
pub enum MeterCommand {
    /// Add meters
    #[command(after_help = METER_EXAMPLES)]
    Add(Given),

    /// Replace the flags and bands of meters
    #[command(after_help = METER_MODIFY_EXAMPLES)]
    Mod(Given),

    /// Delete meters, or all, and the flows that use them
    #[command(after_help = METER_DELETE_EXAMPLES)]
    Del(Given),

    /// Print meters, each on a line, in the words of ovs-ofctl dump-meters
    Dump {
        /// Bridge
        bridge: String,

        /// Print counters instead of bands
        #[arg(long)]
        stats: bool,
    },
}

/// Map Geneve options, or show what is mapped.
#[derive(Debug, Subcommand)]
pub enum TlvCommand {
    /// Print what is mapped
    Show {
        /// Bridge
        bridge: String,
    },

    /// Map options: all that are given or none
    #[command(after_help = TLV_EXAMPLES)]
    Add {
        /// Bridge
        bridge: String,

        /// Option and field, each in quotes
        #[arg(value_name = "MAPPING", required = true)]
        maps: Vec<String>,
    },

    /// Unmap fields that no flow or group uses; all if none is given
    Del {
        /// Bridge
        bridge: String,

        /// Such as tun_metadata0
        fields: Vec<String>,
    },
}

/// Changes of a bridge, given as words or in a file.
#[derive(Args, Debug)]
pub struct Given {
    /// Bridge
    pub bridge: String,

    /// What, in ovs-ofctl's syntax, each in quotes; - reads lines from standard input
    #[arg(value_name = "WHAT", conflicts_with = "file")]
    pub items: Vec<String>,

    /// Read them from a file, one a line; # starts a comment
    #[arg(short, long)]
    pub file: Option<PathBuf>,
}

const FLOW_EXAMPLES: &str = "\
Examples:
  vsctl flow add br0 'priority=10,icmp,actions=drop'
  vsctl flow add br0 'table=1,in_port=vm1,ip,nw_dst=10.1.0.0/16,actions=dec_ttl,output:2'
  vsctl flow add br0 'dl_vlan=10,actions=strip_vlan,group:5' 'priority=0,actions=NORMAL'
  vsctl flow add br0 -f flows.txt
  vsctl --run-dir /run/other flow dump br0 --no-stats | vsctl flow add br0 -

A line of a file may begin with add, modify, modify_strict, delete or delete_strict. The first line
that makes no sense ends it; flows that the switch refuses are told and do not stop the others.
flow-syntax.md describes matches and actions.";

const MODIFY_EXAMPLES: &str = "\
Examples:
  vsctl flow mod br0 'tcp,tp_dst=80,actions=drop'
  vsctl flow mod --strict br0 'priority=10,tcp,tp_dst=80,actions=output:2'
  vsctl flow mod br0 'cookie=0x5/-1,actions=output:3'";

const DELETE_EXAMPLES: &str = "\
Examples:
  vsctl flow del br0                          all flows
  vsctl flow del br0 tcp                      every flow that matches TCP over IPv4
  vsctl flow del br0 table=1,out_port=vm1     of table 1, with an output to vm1
  vsctl flow del br0 cookie=0x5/-1            with this cookie
  vsctl flow del --strict br0 priority=10,icmp";

const DUMP_EXAMPLES: &str = "\
Examples:
  vsctl flow dump br0
  vsctl flow dump br0 table=0,in_port=vm1 --names
  vsctl flow dump br0 --no-stats > flows.txt
  vsctl --json flow dump br0 | jq '.flows[] | select(.packets > 0) | .match'";

const GROUP_EXAMPLES: &str = "\
Examples:
  vsctl group add br0 'group_id=1,type=all,bucket=actions=output:1,bucket=actions=output:2'
  vsctl group add br0 'group_id=2,type=select,bucket=weight:3,actions=1,bucket=actions=2'
  vsctl group add br0 'group_id=3,type=ff,bucket=watch_port:1,output:1,bucket=watch_port:2,output:2'
  vsctl flow add br0 'in_port=4,actions=group:1'";

const GROUP_MODIFY_EXAMPLES: &str = "\
Examples:
  vsctl group mod br0 'group_id=2,type=select,bucket=actions=1,bucket=actions=2,bucket=actions=3'";

const GROUP_DELETE_EXAMPLES: &str = "\
Examples:
  vsctl group del br0 group_id=2
  vsctl group del br0                         all groups";

const METER_MODIFY_EXAMPLES: &str = "\
Examples:
  vsctl meter mod br0 'meter=2,pktps,bands=type=drop,rate=1000'";

const METER_DELETE_EXAMPLES: &str = "\
Examples:
  vsctl meter del br0 meter=2
  vsctl meter del br0                         all meters";

const METER_EXAMPLES: &str = "\
Examples:
  vsctl meter add br0 'meter=1,kbps,burst,stats,bands=type=drop,rate=10000,burst_size=1000'
  vsctl meter add br0 'meter=2,pktps,bands=type=drop,rate=100'
  vsctl flow add br0 'in_port=1,actions=meter:1,NORMAL'";

const TLV_EXAMPLES: &str = "\
Examples:
  vsctl tlv add br0 '{class=0x102,type=0x80,len=4}->tun_metadata0'
  vsctl flow add br0 'tun_metadata0=5,actions=output:vm2'";
