//! The OpenFlow side under load, ours beside Open vSwitch's.
//!
//! Each scenario is one controller connection over the Unix socket, the same bytes to both, packets
//! running meanwhile from a replayed capture to a port that drops them: the worker on one CPU, all
//! else, this program too, on the other. What is forwarded is counted by the time that the worker
//! ran, so that other programs of the machine do not count. Prints both figures, their ratio, what
//! was wanted and whether it was reached.

use anyhow::{Context, Result};
use clap::Parser;
use perf::openflow::peer::{Captures, Hosts, Kind, Peer};
use perf::openflow::scenarios::{self, Figure};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;

/// Measures the OpenFlow side of both switches.
#[derive(Debug, Parser)]
struct Arguments {
    /// Flows in the large table.
    #[arg(long, default_value_t = 1_000_000)]
    flows: u32,
    /// Flows that packets run in.
    #[arg(long, default_value_t = 10_000)]
    traffic: u32,
    /// Measure ours alone.
    #[arg(long)]
    ours: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What a figure is to be: at least so much, at most so much, and so many times Open vSwitch's or
/// more, or at most this share of it.
#[derive(Clone, Copy)]
enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    Times(f64),
    TimesAndAtLeast(f64, f64),
    Below(f64),
    Told,
}

const WANTED: &[(&str, Wanted)] = &[
    ("microseconds of a packet-in, median", Wanted::Below(1.0)),
    ("microseconds of a packet-in, 99 %", Wanted::Below(1.0)),
    ("packet-ins a second", Wanted::Times(3.0)),
    ("seconds to commit 100,000 adds", Wanted::AtMost(1.0)),
    ("least share of the time that the worker ran", Wanted::Told),
    ("milliseconds from hello to the first flow", Wanted::Told),
    ("seconds from hello to the last flow", Wanted::Below(1.0)),
    (
        "adds a second at 10,000 flows",
        Wanted::TimesAndAtLeast(10.0, 200_000.0),
    ),
    ("forwarding at 10,000 flows", Wanted::AtLeast(0.8)),
    (
        "adds and deletes a second at 10,000 flows",
        Wanted::Times(10.0),
    ),
    (
        "forwarding while both come at 10,000 flows",
        Wanted::AtLeast(0.8),
    ),
    (
        "adds a second up to all flows",
        Wanted::TimesAndAtLeast(10.0, 200_000.0),
    ),
    ("forwarding up to all flows", Wanted::AtLeast(0.8)),
    ("bytes a flow", Wanted::AtMost(300.0)),
    (
        "adds a second at all flows",
        Wanted::TimesAndAtLeast(10.0, 200_000.0),
    ),
    ("forwarding at all flows", Wanted::AtLeast(0.8)),
    (
        "adds and deletes a second at all flows",
        Wanted::Times(10.0),
    ),
    (
        "forwarding while both come at all flows",
        Wanted::AtLeast(0.8),
    ),
    ("flows listed a second", Wanted::Times(1.0)),
    ("MiB more while listing", Wanted::AtMost(16.0)),
    ("flows modified a second, by cookie", Wanted::Times(1.0)),
    ("forwarding while they are", Wanted::AtLeast(0.8)),
    ("flows deleted a second, by cookie", Wanted::Times(1.0)),
    ("forwarding while those are", Wanted::AtLeast(0.8)),
    (
        "microseconds to delete one by its cookie",
        Wanted::Below(1.0),
    ),
    ("milliseconds to delete a network", Wanted::Below(1.0)),
    ("seconds to delete all", Wanted::Below(1.0)),
    ("forwarding while all go", Wanted::AtLeast(0.8)),
];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let captures = Captures::create(arguments.traffic)?;
    let ovs = match arguments.ours {
        true => Vec::new(),
        false => run(Kind::Ovs, &captures, arguments.flows)?,
    };
    let ours = run(Kind::Ours, &captures, arguments.flows)?;
    print(&arguments, &ours, &ovs)
}

fn run(kind: Kind, captures: &Captures, flows: u32) -> Result<Vec<Figure>> {
    let peer = Peer::start(kind, captures);
    let hosts = Hosts::at(&peer);
    let mut figures = beside(|| scenarios::measure(&peer, &hosts, flows))?;
    drop((hosts, peer));
    let peer = Peer::start(kind, captures);
    figures.extend(beside(|| scenarios::measure_restarted(&peer, flows))?);
    Ok(figures)
}

/// Does it on the CPU that is not the worker's.
fn beside(work: impl FnOnce() -> Result<Vec<Figure>> + Send) -> Result<Vec<Figure>> {
    let mut cpus = CpuSet::new();
    cpus.set(CONTROL_CPU);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            sched_setaffinity(None, &cpus).context("CPU 0 is there")?;
            work()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn print(arguments: &Arguments, ours: &[Figure], ovs: &[Figure]) -> Result<()> {
    let find = |figures: &[Figure], name: &str| {
        let found = figures.iter().find(|figure| figure.name == name);
        found.map(|figure| figure.value)
    };
    let mut rows = Vec::new();
    for (name, wanted) in WANTED {
        let value = find(ours, name).with_context(|| format!("{name} was not measured"))?;
        let theirs = find(ovs, name);
        let (text, reached) = wanted.judge(value, theirs);
        let ratio = theirs.map(|theirs| value / theirs);
        rows.push(
            json!({ "figure": name, "ours": value, "ovs": theirs, "ratio": ratio,
            "wanted": text, "reached": reached }),
        );
        if !arguments.json {
            let show = |value: Option<f64>| value.map_or("-".into(), number);
            let (ours, theirs, ratio) = (number(value), show(theirs), show(ratio));
            let reached = match reached {
                Some(true) => "reached",
                Some(false) => "MISSED",
                None => "",
            };
            println!("{name:42} {ours:>10} {theirs:>10} {ratio:>8}  {text:22} {reached}");
        }
    }
    if arguments.json {
        println!("{}", json!({ "flows": arguments.flows, "results": rows }));
    }
    Ok(())
}

impl Wanted {
    /// In words, and whether the figure is so, as far as that can be said.
    fn judge(self, ours: f64, theirs: Option<f64>) -> (String, Option<bool>) {
        let times = |least: f64| theirs.map(|theirs| ours >= least * theirs);
        match self {
            Wanted::AtLeast(least) => (format!(">= {}", number(least)), Some(ours >= least)),
            Wanted::AtMost(most) => (format!("<= {}", number(most)), Some(ours <= most)),
            Wanted::Times(least) => (format!(">= {least} x OVS"), times(least)),
            Wanted::TimesAndAtLeast(factor, least) => {
                let text = format!(">= {factor} x OVS, {}", number(least));
                (text, times(factor).map(|enough| enough && ours >= least))
            }
            Wanted::Below(factor) => {
                let reached = theirs.map(|theirs| ours < factor * theirs);
                ("below OVS".into(), reached)
            }
            Wanted::Told => (String::new(), None),
        }
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..1000.0 => format!("{value:.0}"),
        _ => format!("{:.1}k", value / 1000.0),
    }
}

const CONTROL_CPU: usize = 0;
