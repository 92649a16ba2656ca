//! The OpenFlow side under load, ours beside Open vSwitch's.
//!
//! Each scenario is one controller connection over the Unix socket, the same bytes to both, packets
//! running meanwhile from a replayed capture to a port that drops them: the worker on one CPU, all
//! else on the other. Prints both figures, their ratio, what was wanted and whether it was reached.

use anyhow::Result;
use clap::Parser;
use perf::openflow::peer::{Captures, Kind, Peer};
use perf::openflow::scenarios;

/// Measures the OpenFlow side of both switches.
#[derive(Debug, Parser)]
struct Arguments {
    /// Flows in the large table.
    #[arg(long, default_value_t = 1_000_000)]
    flows: u32,
    /// Flows that packets run in.
    #[arg(long, default_value_t = 100)]
    traffic: u32,
    /// Leave one switch out: `ours` or `ovs`.
    #[arg(long)]
    without: Option<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let captures = Captures::create(arguments.traffic)?;
    for (name, kind) in [("ovs", Kind::Ovs), ("ours", Kind::Ours)] {
        if arguments.without.as_deref() == Some(name) {
            continue;
        }
        let peer = Peer::start(kind, &captures);
        scenarios::forward(&peer)?;
        let small = scenarios::adds(&peer, 0, 10_000)?;
        println!("{name} adds, 10k: {small:?}");
        let before = peer.resident_bytes()?;
        let large = scenarios::adds(&peer, 10_000, arguments.flows - 10_000)?;
        println!("{name} adds, {}: {large:?}", arguments.flows);
        let bytes = (peer.resident_bytes()? - before) as f64;
        let each = bytes / f64::from(arguments.flows - 10_000);
        println!("{name} memory: {each:.0} bytes a flow");
        let more = scenarios::adds(&peer, arguments.flows, 100_000)?;
        println!("{name} adds beyond: {more:?}");
    }
    Ok(())
}
