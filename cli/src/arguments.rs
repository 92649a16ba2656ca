//! What may be typed. One file for each family of commands; help texts teach by example.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

pub mod conntrack;
pub mod openflow;
pub mod switch;

pub use conntrack::{CtCommand, LimitsCommand, Members, PROTOCOLS};
pub use openflow::{FlowCommand, GroupCommand, MeterCommand, TlvCommand};
pub use switch::{BridgeCommand, ControllerCommand, LogCommand, MacCommand, PortCommand};

/// Shows and changes a running vswitchd: bridges, ports, flows, groups, meters, controllers.
#[derive(Debug, Parser)]
#[command(name = "vsctl", version, after_help = EXAMPLES, subcommand_required = true)]
#[command(arg_required_else_help = true, args_override_self = true)]
pub struct Arguments {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,

    /// Folder with the daemon's sockets, run_dir in its configuration
    #[arg(long, global = true, value_name = "DIR", env = "VSWITCH_RUN_DIR")]
    #[arg(default_value = "/run/vswitch", hide_default_value = false)]
    pub run_dir: PathBuf,

    /// How long the daemon may take for an answer
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30")]
    #[arg(value_parser = seconds)]
    pub timeout: Duration,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the switch: bridges, ports, controllers
    Show {
        /// This bridge only
        bridge: Option<String>,
    },

    /// Add, delete or change a bridge
    #[command(subcommand)]
    Bridge(BridgeCommand),

    /// Add, delete, change or list ports
    #[command(subcommand)]
    Port(PortCommand),

    /// Add, modify, delete or dump flows, in ovs-ofctl's syntax
    #[command(subcommand)]
    Flow(FlowCommand),

    /// Add, modify, delete or dump groups, in ovs-ofctl's syntax
    #[command(subcommand)]
    Group(GroupCommand),

    /// Add, modify, delete or dump meters, in ovs-ofctl's syntax
    #[command(subcommand)]
    Meter(MeterCommand),

    /// Map Geneve options to the fields tun_metadata0 to tun_metadata63, or show what is mapped
    #[command(subcommand)]
    Tlv(TlvCommand),

    /// Set, delete or list the controllers of a bridge
    #[command(subcommand)]
    Controller(ControllerCommand),

    /// Dump or flush the addresses that a bridge has learned
    #[command(subcommand)]
    Mac(MacCommand),

    /// Dump, flush, count and limit tracked connections
    #[command(subcommand)]
    Ct(CtCommand),

    /// Show packets, bytes and drops by port, and packet buffers in use
    #[command(after_help = STATS_EXAMPLES)]
    Stats {
        /// This bridge only
        bridge: Option<String>,

        /// Queues too
        #[arg(long)]
        queues: bool,

        /// Again and again, with rates
        #[command(flatten)]
        watch: Watch,
    },

    /// Print all counters of ports, workers, flow caches and pools in Prometheus's text format
    #[command(after_help = METRICS_EXAMPLES)]
    Metrics,

    /// Show what flow tables are made of
    #[command(subcommand)]
    Table(TableCommand),

    /// Show what the workers do
    #[command(subcommand)]
    Worker(WorkerCommand),

    /// Tell what would become of a packet: tables, rules, actions
    #[command(after_help = TRACE_EXAMPLES)]
    Trace {
        /// Bridge that the packet comes in by
        bridge: String,

        /// Headers in flow syntax, or a whole packet in hexadecimal from the Ethernet header on
        #[arg(value_name = "PACKET|FLOW")]
        packet: String,

        /// Port that a packet in hexadecimal comes in by, name or number
        #[arg(long, value_name = "PORT")]
        in_port: Option<String>,

        /// State that connection tracking finds, such as trk,est: once for each time that the
        /// packet is tracked; trk,new for the rest
        #[arg(long, value_name = "STATE")]
        ct_next: Vec<String>,
    },

    /// Show or set what the daemon logs
    #[command(subcommand)]
    Log(LogCommand),

    /// Print a completion script for a shell
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },

    /// Print the versions of vsctl and of the daemon, if it runs
    Version,
}

/// What flow tables are made of.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Show the structure of each table, its memory, and the worst case of finding a flow
    ///
    /// The worst case follows from the flows alone, for each port: no packets can raise it.
    Show {
        /// This bridge only
        bridge: Option<String>,

        /// Each hash table by itself: bits that it hashes, masks, flows, tallest stack
        #[arg(long)]
        hash_tables: bool,
    },
}

/// What the workers do.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// Show cycles per packet, busy share, batch size and cache hits of each worker
    ///
    /// Figures are since the start of the worker, or of the last interval with --watch.
    Show {
        /// Again and again, of each interval
        #[command(flatten)]
        watch: Watch,
    },
}

/// Repetition of a display.
#[derive(Args, Clone, Copy, Debug)]
pub struct Watch {
    /// Show it again every so many seconds (1 if left out), until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "1", value_parser = seconds)]
    pub watch: Option<Duration>,

    /// With --watch: end after so many intervals
    #[arg(long, value_name = "N", requires = "watch")]
    pub count: Option<u64>,
}

/// Reads a time in seconds, with decimals if need be.
fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("not a time in seconds from 0.01 to {SECONDS_MAX}");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    match seconds {
        0.01..=SECONDS_MAX => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(wrong()),
    }
}

/// How a bridge behaves without a controller.
fn fail_modes() -> PossibleValuesParser {
    PossibleValuesParser::new(["standalone", "secure"])
}

/// A day: longer is a mistake.
const SECONDS_MAX: f64 = 86_400.0;

const EXAMPLES: &str = "\
Examples:
  vsctl show
  vsctl port add br0 vm3 --type dpdkvhostuserclient --option vhost-server-path=/run/vswitch/vm3.sock
  vsctl flow add br0 'priority=10,in_port=vm1,tcp,tp_dst=80,actions=output:vm2'
  vsctl flow dump br0
  vsctl trace br0 in_port=1,icmp,nw_dst=10.0.0.2
  vsctl stats --watch

Exit codes: 0 done, 1 the switch refused, 2 wrong usage, 3 the switch cannot be reached.
Each command has --help with examples of its own; vsctl.md and flow-syntax.md tell all.";

const METRICS_EXAMPLES: &str = "\
Examples:
  vsctl metrics
  vsctl metrics > /var/lib/prometheus/node-exporter/vswitch.prom.new \\
    && mv /var/lib/prometheus/node-exporter/vswitch.prom.new \\
          /var/lib/prometheus/node-exporter/vswitch.prom";

const STATS_EXAMPLES: &str = "\
Examples:
  vsctl stats                     counters since each port was opened
  vsctl stats br0 --queues        with its queues
  vsctl stats --watch             rates every second
  vsctl --json stats --watch=10   a line of JSON every ten seconds";

const TRACE_EXAMPLES: &str = "\
Nothing is sent, learned or counted.

Examples:
  vsctl trace br0 in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=80
  vsctl trace br0 in_port=vm1,dl_src=52:54:00:00:00:01,dl_dst=52:54:00:00:00:02
  vsctl trace br0 in_port=1,tcp,tp_dst=80 --ct-next trk,est --ct-next trk,est,rpl
  vsctl trace br0 --in-port vm1 ffffffffffff525400000001080600010800060400015254...";

const COMPLETION_EXAMPLES: &str = "\
Examples:
  vsctl completions bash > /usr/share/bash-completion/completions/vsctl
  vsctl completions zsh  > /usr/share/zsh/vendor-completions/_vsctl
  vsctl completions fish > /usr/share/fish/vendor_completions.d/vsctl.fish";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["", "0", "-1", "nan", "inf", "1e9", "x"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn options_may_come_after_the_command() {
        let words = [
            "vsctl",
            "stats",
            "--watch",
            "br0",
            "--json",
            "--run-dir",
            "/x",
        ];
        let arguments = Arguments::try_parse_from(words).unwrap();
        assert!(arguments.global.json);
        assert_eq!(arguments.global.run_dir, PathBuf::from("/x"));
        let Command::Stats { bridge, watch, .. } = arguments.command else {
            panic!("not stats");
        };
        assert_eq!(bridge.as_deref(), Some("br0"));
        assert_eq!(watch.watch, Some(Duration::from_secs(1)));
    }
}
