//! Cycles per packet of the packet path alone: parse, find or translate, execute, stage.
//!
//! One thread drives a `Processor` as a worker does, with rules and frames of a scenario of `make
//! bench`. Packets are made before each batch and freed by a port that swallows them; what that
//! costs is measured first and taken off. So the figures tell what a change of the path itself
//! does, without devices, rings or guests.
//!
//! Each figure is the least of many short parts, since whatever else runs on the machine only ever
//! adds. All flows have passed before, until the cache knew them or learned no more; but where all
//! frames differ each passes once, and a figure is of those there are. Where a controller makes
//! changes meanwhile, some are made and published before each part, at no cost here: so it is told
//! what packets cost whose entries are of an older epoch, nearly all of a part.
//! With `--batches` a figure is of so many batches in one part, for tools that count instructions:
//! they are told `steady` as the function to look at.

use std::iter::Cycle;
use std::vec::IntoIter;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use openflow::v13::decode;
use openflow::{FlowMod, Message};
use perf::bridge::{Bridge, CONNECTIONS, batches};
use perf::judge::generator::Traffic;
use perf::judge::scenario::{Beyond, Later, Scenario};
use perf::judge::scenarios::named;
use pmd::{BATCH_MAX, Batch, Eal, EalConfig, Packet, Pools, PoolsConfig};
use vswitch::action::PortNo;
use vswitch::datapath::{Event, Events, Now, Processor};

/// Measures the packet path in cycles per packet.
#[derive(Debug, Parser)]
struct Arguments {
    /// Scenarios of `make bench`, or families of them, whose rules and frames to take.
    #[arg(default_values = ["port-forward", "l2", "l3", "l3-ipv6", "acl-1k", "acl-ipv6-1k",
        "pipeline", "normal"])]
    scenarios: Vec<String>,
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
}

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
    println!("hugepages: {}", eal.hugepages());
    println!(
        "{:16} {:>8} {:>8} {:>8}",
        "scenario", "cycles", "hits %", "making"
    );
    for name in &arguments.scenarios {
        let scenarios = named(name);
        ensure!(!scenarios.is_empty(), "there is no scenario {name}");
        for scenario in scenarios {
            run(&arguments, &scenario, &pools)?;
        }
    }
    Ok(())
}

/// One scenario: cycles per packet, the share of packets that the cache knew, and the cycles that
/// making and freeing a packet takes, which are taken off.
fn run(arguments: &Arguments, scenario: &Scenario, pools: &Pools) -> Result<()> {
    let Some(mut source) = Source::new(scenario, pools) else {
        return Ok(());
    };
    let bare = source.measure(arguments, &mut Bare)?;
    source.next = 0;
    let mut path = Path::new(scenario, arguments.cache_entries, pools)?;
    path.meet(scenario, &mut source)?;
    let cycles = source.measure(arguments, &mut path)? - bare;
    let counted = path.processor.statistics();
    let hits = 100.0 * counted.hits as f64 / (counted.hits + counted.misses) as f64;
    println!("{:16} {cycles:8.0} {hits:8.1} {bare:8.0}", scenario.name);
    Ok(())
}

/// What is measured.
trait Subject {
    /// Does what comes before a part.
    fn prepare(&mut self) -> Result<()>;

    /// Takes a batch to its end.
    fn process(&mut self, batch: &mut Batch, now: Now);
}

/// Nothing but making and freeing packets.
struct Bare;

impl Subject for Bare {
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    fn process(&mut self, batch: &mut Batch, _now: Now) {
        batch.clear();
    }
}

/// The packet path behind a port.
struct Path {
    bridge: Bridge,
    processor: Processor,
    events: Events,
    port: PortNo,
    /// Made by a controller meanwhile, in turn.
    changes: Cycle<IntoIter<FlowMod>>,
}

impl Path {
    fn new(scenario: &Scenario, cache_entries: usize, pools: &Pools) -> Result<Path> {
        let connections = scenario
            .connections
            .map_or(CONNECTIONS, |count| count as usize);
        let mut bridge = Bridge::with_room(&(scenario.rules)(), connections)?;
        let (processor, events) = bridge.heard_processor(pools, cache_entries)?;
        let changes = match scenario.later {
            Later::Changes(_, messages) => messages()?,
            _ => Vec::new(),
        };
        let changes = changes.iter().filter_map(|bytes| match decode(bytes) {
            Ok((_, Message::FlowMod(change))) => Some(*change),
            _ => None,
        });
        Ok(Path {
            changes: changes.collect::<Vec<_>>().into_iter().cycle(),
            port: bridge.ports[0],
            bridge,
            processor,
            events,
        })
    }

    /// Lets the switch meet everybody: those beyond port 2, and all flows until none is new or as
    /// few become known as can be.
    fn meet(&mut self, scenario: &Scenario, source: &mut Source<'_>) -> Result<()> {
        let beyond = match scenario.beyond {
            Beyond::Hosts(frames) => frames(),
            _ => Vec::new(),
        };
        self.greet(self.bridge.ports[1], &beyond, source.pools)?;
        self.greet(self.port, &source.prelude, source.pools)?;
        if !source.repeats {
            return source.steady(self, PART_BATCHES);
        }
        let turn = (source.ends.len() as u64).div_ceil(BATCH_MAX as u64);
        let mut before = u64::MAX;
        for _ in 0..TURNS_MAX {
            source.steady(self, turn)?;
            self.learn();
            let misses = self.processor.statistics().misses;
            if misses >= before || misses == 0 {
                break;
            }
            before = misses;
        }
        Ok(())
    }

    /// Lets frames in by a port, once.
    fn greet(&mut self, port: PortNo, frames: &[Vec<u8>], pools: &Pools) -> Result<()> {
        for frames in frames.chunks(BATCH_MAX) {
            for mut batch in batches(frames, pools)? {
                self.processor.process(port, &mut batch, Now::default());
                self.processor.flush();
                self.learn();
            }
        }
        Ok(())
    }

    /// Does as control does with what the worker tells.
    fn learn(&mut self) {
        while let Some(event) = self.events.try_receive() {
            if let Event::Learn(learn) = event {
                self.bridge.switch.learn(learn, 0);
            }
        }
        if self.bridge.switch.is_changed() {
            self.processor.set_state(self.bridge.switch.publish());
        }
    }
}

impl Subject for Path {
    fn prepare(&mut self) -> Result<()> {
        for change in self.changes.by_ref().take(CHANGES_TOGETHER) {
            let result = self.bridge.switch.flow_mod(self.bridge.id, &change, 0);
            result.map_err(|code| anyhow!("a change of a flow: {code:?}"))?;
        }
        self.learn();
        Ok(())
    }

    fn process(&mut self, batch: &mut Batch, now: Now) {
        self.processor.process(self.port, batch, now);
        self.processor.flush();
    }
}

/// Batches of a scenario's frames in its order, packets made anew.
struct Source<'a> {
    pools: &'a Pools,
    /// What comes before, once.
    prelude: Vec<Vec<u8>>,
    /// One behind the other in the order in which they come.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    /// Whether the last is followed by the first; or else that is the end.
    repeats: bool,
    next: usize,
    start: u64,
}

impl Source<'_> {
    /// None where there are none.
    fn new<'a>(scenario: &Scenario, pools: &'a Pools) -> Option<Source<'a>> {
        let traffic = (scenario.traffic)();
        let prelude = traffic.prelude();
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let mut put = |frame: &[u8]| {
            bytes.extend(frame);
            ends.push(bytes.len());
        };
        let repeats = matches!(traffic, Traffic::Cycle { .. });
        let count = match repeats {
            true => traffic.turn(),
            false => traffic.turn().min(FRESH_MAX),
        };
        (0..count).for_each(|number| put(&traffic.frame(number)));
        let start = pmd::cycles();
        (!ends.is_empty()).then_some(Source {
            pools,
            prelude,
            bytes,
            ends,
            repeats,
            next: 0,
            start,
        })
    }

    /// Whether so many batches are left.
    fn has(&self, batches: u64) -> bool {
        self.repeats || (self.ends.len() - self.next) as u64 >= batches * BATCH_MAX as u64
    }

    /// Takes so many batches through.
    #[inline(never)]
    fn steady(&mut self, subject: &mut impl Subject, batches: u64) -> Result<()> {
        let mut batch = Batch::new();
        for _ in 0..batches {
            for _ in 0..BATCH_MAX {
                let start = self
                    .next
                    .checked_sub(1)
                    .map_or(0, |before| self.ends[before]);
                let frame = &self.bytes[start..self.ends[self.next]];
                self.next = (self.next + 1) % self.ends.len();
                let packet = Packet::from_bytes(self.pools, frame).context("no buffer")?;
                let _ = batch.push(packet);
            }
            let ns = u128::from(pmd::cycles() - self.start) * 1_000_000_000;
            let ns = (ns / u128::from(pmd::cycles_hz())) as u64;
            subject.process(&mut batch, Now { ns });
        }
        Ok(())
    }

    /// Cycles per packet of what becomes of them, with making them.
    fn measure(&mut self, arguments: &Arguments, subject: &mut impl Subject) -> Result<f64> {
        let wanted = pmd::cycles_hz() / 1000 * arguments.milliseconds;
        let part = arguments.batches.unwrap_or(PART_BATCHES);
        let (start, mut least) = (pmd::cycles(), u64::MAX);
        loop {
            subject.prepare()?;
            let before = pmd::cycles();
            self.steady(subject, part)?;
            let now = pmd::cycles();
            least = least.min(now - before);
            let is_over = now - start > wanted || !self.has(part);
            if arguments.batches.is_some() || is_over {
                return Ok(least as f64 / (part * BATCH_MAX as u64) as f64);
            }
        }
    }
}

/// Times that all flows pass before anything is measured, at most.
const TURNS_MAX: u32 = 4;
/// Changes between two parts, where some are made: those of 20 ms.
const CHANGES_TOGETHER: usize = 200;
/// Frames that do not repeat, at most.
const FRESH_MAX: u64 = 1 << 20;
/// Batches of a part: a few tenths of a millisecond, in which a busy machine may let it run.
const PART_BATCHES: u64 = 100;
