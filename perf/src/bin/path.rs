//! Cycles per packet of the packet path alone: parse, find or translate, execute, stage.
//!
//! One thread drives a `Processor` as a worker does. Packets are made before each batch and freed
//! by a port that swallows them; what that costs is measured first and taken off. So the figures
//! tell what a change of the path itself does, without devices, rings or guests.
//!
//! Each figure is the least of many short parts, since whatever else runs on the machine only ever
//! adds. All flows have passed before, in another order than that in which they are measured, until
//! the cache knew them or learned no more. With `--batches` a figure is of so many batches in one
//! part, for tools that count instructions: they are told `steady` as the function to look at.

use anyhow::{Context, Result};
use clap::Parser;
use perf::bridge::Bridge;
use perf::judge::scenario::Rules;
use pmd::{BATCH_MAX, Batch, Eal, EalConfig, Packet, Pools, PoolsConfig};
use vswitch::action::PortNo;
use vswitch::datapath::{Now, Processor};

/// Measures the packet path in cycles per packet.
#[derive(Debug, Parser)]
struct Arguments {
    /// CPU to run on.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// Milliseconds for each figure.
    #[arg(long, default_value_t = 300)]
    milliseconds: u64,
    /// So many batches for each figure, instead of a time.
    #[arg(long)]
    batches: Option<u64>,
    /// Ordinary memory instead of hugepages.
    #[arg(long)]
    no_huge: bool,
    /// Entries of the flow cache.
    #[arg(long, default_value_t = vswitch::datapath::limits::CACHE_ENTRIES_DEFAULT)]
    cache_entries: usize,
    /// Numbers of flows to try.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000, 100_000])]
    flows: Vec<u32>,
    /// Only scenarios whose name contains this.
    #[arg(long, default_value = "")]
    scenario: String,
}

/// A name, and what makes its rules.
type Scenario = (&'static str, fn() -> Vec<String>);

const SCENARIOS: &[Scenario] = &[
    ("port", || vec!["in_port=1,actions=output:2".into()]),
    ("drop", || vec!["in_port=1,actions=drop".into()]),
    ("5-tuple", five_tuple),
    ("l2", l2),
    ("l3", l3),
    ("l3-mixed", l3_mixed),
    ("acl-1k", || acl(1_000)),
    ("acl-10k", || acl(10_000)),
    ("pipeline", pipeline),
];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let eal = Eal::start(EalConfig {
        control_cpus: vec![0],
        memory_mib: 64,
        args: arguments
            .no_huge
            .then(|| "--no-huge".into())
            .into_iter()
            .collect(),
        ..EalConfig::default()
    })?;
    let worker_cpus = vec![arguments.cpu];
    let config = PoolsConfig {
        worker_cpus,
        small: 4096,
        large: 32,
    };
    let pools = Pools::new(&eal, &config)?;
    let _worker = pmd::register_worker(arguments.cpu)?;
    let bare = measure(&arguments, &mut Bare, &pools, 1)?;
    println!(
        "hugepages: {}; making and freeing: {bare:.0} cycles",
        eal.hugepages()
    );
    println!(
        "{:10} {:>8} {:>8} {:>8}",
        "scenario", "flows", "cycles", "hits %"
    );
    for (name, rules) in SCENARIOS {
        if !name.contains(&arguments.scenario) {
            continue;
        }
        for flows in &arguments.flows {
            let (cycles, hits) = run(&arguments, rules(), &pools, *flows)?;
            println!("{name:10} {flows:8} {:8.0} {hits:8.1}", cycles - bare);
        }
    }
    Ok(())
}

/// One scenario: cycles per packet, and the share of packets that the cache knew.
fn run(arguments: &Arguments, rules: Vec<String>, pools: &Pools, flows: u32) -> Result<(f64, f64)> {
    let mut bridge = Bridge::new(&Rules::flows(rules))?;
    let mut path = Path {
        processor: bridge.processor(pools, arguments.cache_entries)?,
        port: bridge.ports[0],
    };
    let cycles = measure(arguments, &mut path, pools, flows)?;
    let counted = path.processor.statistics();
    let packets = counted.hits + counted.misses;
    Ok((cycles, 100.0 * counted.hits as f64 / packets as f64))
}

/// What is measured.
trait Subject {
    /// Takes a batch to its end.
    fn process(&mut self, batch: &mut Batch, now: Now);

    /// Packets since the last call that had to be translated.
    fn misses(&mut self) -> u64;
}

/// Nothing but making and freeing packets.
struct Bare;

impl Subject for Bare {
    fn process(&mut self, batch: &mut Batch, _now: Now) {
        batch.clear();
    }

    fn misses(&mut self) -> u64 {
        0
    }
}

/// The packet path behind a port.
struct Path {
    processor: Processor,
    port: PortNo,
}

impl Subject for Path {
    fn process(&mut self, batch: &mut Batch, now: Now) {
        self.processor.process(self.port, batch, now);
        self.processor.flush();
    }

    fn misses(&mut self) -> u64 {
        self.processor.statistics().misses
    }
}

/// Batches of so many flows, packets made anew.
struct Source<'a> {
    pools: &'a Pools,
    flows: u32,
    /// From one flow to the next: flows that were met one after the other lie apart.
    step: u64,
    next: u64,
    start: u64,
}

impl Source<'_> {
    /// Takes so many batches through.
    #[inline(never)]
    fn steady(&mut self, subject: &mut impl Subject, batches: u64) -> Result<()> {
        let mut batch = Batch::new();
        for _ in 0..batches {
            for _ in 0..BATCH_MAX {
                let flow = (self.next % u64::from(self.flows)) as u32;
                self.next += self.step;
                let packet = Packet::from_bytes(self.pools, &frame(flow)).context("no buffer")?;
                let _ = batch.push(packet);
            }
            let ns = u128::from(pmd::cycles() - self.start) * 1_000_000_000;
            let ns = (ns / u128::from(pmd::cycles_hz())) as u64;
            subject.process(&mut batch, Now { ns });
        }
        Ok(())
    }

    /// Takes all flows through, until none is new or as few become known as can be.
    fn warm(&mut self, subject: &mut impl Subject) -> Result<()> {
        let turn = u64::from(self.flows).div_ceil(BATCH_MAX as u64);
        let mut before = u64::MAX;
        for _ in 0..TURNS_MAX {
            self.steady(subject, turn)?;
            let misses = subject.misses();
            if misses >= before || misses == 0 {
                break;
            }
            before = misses;
        }
        Ok(())
    }
}

/// Cycles per packet of what becomes of batches of so many flows.
fn measure(
    arguments: &Arguments,
    subject: &mut impl Subject,
    pools: &Pools,
    flows: u32,
) -> Result<f64> {
    let mut source = Source {
        pools,
        flows,
        step: 1,
        next: 0,
        start: pmd::cycles(),
    };
    source.warm(subject)?;
    source.step = APART;
    let wanted = pmd::cycles_hz() / 1000 * arguments.milliseconds;
    let part = arguments.batches.unwrap_or(PART_BATCHES);
    let (start, mut least) = (pmd::cycles(), u64::MAX);
    loop {
        let before = pmd::cycles();
        source.steady(subject, part)?;
        let now = pmd::cycles();
        least = least.min(now - before);
        if arguments.batches.is_some() || now - start > wanted {
            return Ok(least as f64 / (part * BATCH_MAX as u64) as f64);
        }
    }
}

/// A UDP packet of 60 bytes; the flow tells addresses and ports.
fn frame(flow: u32) -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, ((flow % 1000) >> 8) as u8, (flow % 1000) as u8]);
    frame[6..14].copy_from_slice(&[2, 1, 0, 0, 0, 1, 8, 0]);
    frame[14..24].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17]);
    frame[26..30].copy_from_slice(&(0x0a00_0000 + flow).to_be_bytes());
    let prefix = (flow % 1000) << 8;
    frame[30..34].copy_from_slice(&(0x1400_0000 + prefix + flow / 1000 % 256).to_be_bytes());
    frame[34..36].copy_from_slice(&(1024 + (flow % 50_000) as u16).to_be_bytes());
    frame[36..40].copy_from_slice(&[0, 80, 0, 26]);
    frame
}

fn five_tuple() -> Vec<String> {
    let rule = "udp,nw_src=10.0.0.0/8,nw_dst=20.0.0.0/8,udp_src=1/1,udp_dst=80,actions=output:2";
    vec![
        rule.into(),
        "priority=1,udp,nw_src=10.255.255.255,actions=drop".into(),
        "priority=1,udp,nw_dst=10.255.255.255,udp_src=7,actions=drop".into(),
        "priority=0,actions=output:2".into(),
    ]
}

fn l2() -> Vec<String> {
    let rule = |mac: u32| {
        let address = format!("02:00:00:00:{:02x}:{:02x}", mac >> 8, mac & 0xff);
        format!("dl_dst={address},actions=output:2")
    };
    (0..1000).map(rule).collect()
}

fn l3() -> Vec<String> {
    let rule = |prefix: u32| {
        let net = format!("20.{}.{}.0/24", prefix >> 8, prefix & 0xff);
        let actions = "set_field:02:00:00:00:00:01->eth_src,set_field:02:00:00:00:00:02->eth_dst";
        format!("ip,nw_dst={net},actions={actions},dec_ttl,output:2")
    };
    (0..1000).map(rule).collect()
}

/// Prefixes of 8 to 32 bits, so that the whole address counts and each flow is another.
fn l3_mixed() -> Vec<String> {
    let rule = |prefix: u32| {
        let length = 8 + prefix % 25;
        let address = 0x1400_0000 | prefix.wrapping_mul(0x9e37_79b9) >> 8;
        let net = std::net::Ipv4Addr::from(address & u32::MAX << (32 - length));
        let actions = "set_field:02:00:00:00:00:01->eth_src,set_field:02:00:00:00:00:02->eth_dst";
        format!("priority={length},ip,nw_dst={net}/{length},actions={actions},dec_ttl,output:2")
    };
    (0..1000).map(rule).collect()
}

/// Rules in 64 mask shapes that no packet matches, and one that all do.
fn acl(count: u32) -> Vec<String> {
    let rule = |index: u32| {
        let (source, destination) = (8 + index % 8 * 3, 8 + index / 8 % 8 * 3);
        let address = 0x3000_0000_u32.wrapping_add(index.wrapping_mul(0x9e37_79b9) >> 4);
        let text = |address: u32, bits: u32| {
            let kept = address & u32::MAX << (32 - bits);
            format!("{}/{bits}", std::net::Ipv4Addr::from(kept))
        };
        let (from, to) = (text(address, source), text(!address, destination));
        let port = index % 100;
        format!("udp,nw_src={from},nw_dst={to},udp_dst={port},actions=drop")
    };
    let mut rules: Vec<String> = (0..count).map(rule).collect();
    rules.push("priority=1,actions=output:2".into());
    rules
}

/// Eight tables, each of which matches something else.
fn pipeline() -> Vec<String> {
    vec![
        "table=0,in_port=1,actions=write_metadata:1,goto_table:1".into(),
        "table=1,dl_src=02:01:00:00:00:01,actions=goto_table:2".into(),
        "table=2,ip,actions=goto_table:3".into(),
        "table=3,ip,nw_dst=20.0.0.0/8,actions=dec_ttl,goto_table:4".into(),
        "table=4,metadata=1,actions=set_field:02:00:00:00:00:02->eth_dst,goto_table:5".into(),
        "table=5,udp,udp_dst=80,actions=goto_table:6".into(),
        "table=6,ip,nw_src=10.0.0.0/8,actions=goto_table:7".into(),
        "table=7,actions=output:2".into(),
    ]
}

/// Times that all flows pass before anything is measured, at most.
const TURNS_MAX: u32 = 4;
/// Batches of a part: a millisecond or two.
const PART_BATCHES: u64 = 1000;
/// A prime number much larger than the numbers of flows, so that no flow is left out.
const APART: u64 = 2_654_435_761;
