//! What is counted: parsing, looking up, translating, and a packet's whole path on a hit.

use std::hint::black_box;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use flowtable::{CodeNo, EntryMask, FlowCache, FlowKey, Packets, parse};
use openflow::TableId;
use pmd::{Eal, EalConfig, Pools, PoolsConfig};
use serde::{Deserialize, Serialize};
use tests::frame;
use vswitch::datapath::Now;
use vswitch::pipeline::{Context, Ingress, NoTrace, Points, translate};

use crate::bridge::{Bridge, CACHE_ENTRIES, COUNTED_TOGETHER, SECRET, batches, swallow};
use crate::judge::frames::{Udp, ipv6};
use crate::judge::scenario::Rules;
use crate::judge::scenarios::named;

/// A case that was run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counted {
    /// Its name.
    pub name: String,
    /// How often that was done of which one time is of interest.
    pub units: usize,
    /// A case before it whose count is taken off.
    pub less: Option<String>,
}

/// Runs all cases; callgrind writes its count down after each.
pub fn run() -> Result<Vec<Counted>> {
    let eal = Eal::start(EalConfig {
        memory_mib: 128,
        args: vec!["--no-huge".into()],
        ..EalConfig::default()
    })?;
    let config = PoolsConfig {
        worker_cpus: vec![0],
        small: 4096,
        large: 32,
    };
    let pools = Pools::new(&eal, &config)?;
    let mut cases = Cases { done: Vec::new() };
    cases.parse();
    cases.cache()?;
    for (name, scenario) in TABLES {
        cases.lookup(
            name,
            &rules_of(scenario)?,
            &frames_of(frames_for(scenario))?,
        )?;
    }
    cases.translate("pipeline-1k")?;
    cases.send(&pools)?;
    for (name, scenario) in PATHS {
        let rules = rules_of(scenario)?;
        cases.path(name, &rules, frames_for(scenario), &pools)?;
    }
    for (name, flow) in PROGRAMS {
        let rules = Rules::flows(vec![flow.to_string()]);
        cases.path(name, &rules, "port-forward-1", &pools)?;
    }
    Ok(cases.done)
}

/// Instructions are counted in here alone.
#[inline(never)]
pub fn counted(work: &mut dyn FnMut()) {
    work();
}

/// Callgrind writes its count down when this is called.
#[inline(never)]
pub fn case_over(name: &str) {
    black_box(name);
}

struct Cases {
    done: Vec<Counted>,
}

impl Cases {
    fn count(&mut self, name: &str, units: usize, mut work: impl FnMut()) {
        counted(&mut work);
        case_over(name);
        self.done.push(Counted {
            name: name.into(),
            units,
            less: None,
        });
    }

    fn parse(&mut self) {
        let addresses = ([10, 0, 0, 1], [20, 0, 0, 1]);
        let (v4, v6) = (Udp::default(), ipv6(1, 1));
        let tcp = frame::tcp(1, 2, 0x10, &[], &[0; 8]);
        let arp = ([2, 0, 0, 0, 0, 1], addresses.0);
        let frames = [
            ("udp", v4.ipv4(addresses.0.into(), addresses.1.into())),
            ("udp6", v4.ipv6(v6, v6)),
            (
                "vlan-tcp",
                tcp.ipv4(6, addresses.0, addresses.1)
                    .typed(0x0800)
                    .tag(0x8100, 10)
                    .addresses([2; 6], [4; 6])
                    .0,
            ),
            (
                "arp",
                frame::arp(1, arp, arp)
                    .typed(0x0806)
                    .addresses([0xff; 6], arp.0)
                    .0,
            ),
            (
                "neighbour",
                frame::neighbour(135, v6.octets(), &[1, 1, 2, 0, 0, 0, 0, 1])
                    .ipv6(58, v6.octets(), v6.octets())
                    .typed(0x86dd)
                    .addresses([2; 6], [4; 6])
                    .0,
            ),
        ];
        let mut key = FlowKey::default();
        for (name, frame) in frames {
            self.count(&format!("parse {name}"), 1, || {
                black_box(parse(black_box(&frame), &mut key));
            });
        }
    }

    /// Keys of a batch each time, as the packet path does it.
    fn cache(&mut self) -> Result<()> {
        let mut bridge = Bridge::new(&rules_of("l2-1k")?)?;
        let state = bridge.switch.publish();
        let mask = state.entry_mask(bridge.ports[0]).context("a mask")?;
        let mask = EntryMask::new(mask);
        let keys = keys(&bridge, &frames_of("l2-1k")?);
        let mut cache = FlowCache::new(CACHE_ENTRIES, SECRET);
        cache.begin_batch(0);
        self.count("cache insert", keys.len(), || {
            for (number, key) in keys.iter().enumerate() {
                let pair = cache.keep(0_u64, number);
                let _ = black_box(cache.insert(&mask, key, pair, 1, |_, _| {}));
            }
        });
        let mut codes = [CodeNo::MISS; COUNTED_TOGETHER];
        self.count("cache hit", keys.len(), || {
            for keys in keys.chunks(COUNTED_TOGETHER) {
                cache.begin_batch(1);
                let packets = Packets {
                    keys,
                    bytes: &[60; COUNTED_TOGETHER],
                    codes: &mut codes,
                };
                black_box(cache.count_batch(&mask, packets, 1, |_, _| {}));
                black_box(&mut codes);
            }
        });
        Ok(())
    }

    /// The flow of table 0 that a packet matches.
    fn lookup(&mut self, name: &str, rules: &Rules, frames: &[Vec<u8>]) -> Result<()> {
        let mut bridge = Bridge::new(rules)?;
        let keys = keys(&bridge, frames);
        let state = bridge.switch.publish();
        let table = state
            .bridge(bridge.id)
            .and_then(|one| one.table(TableId(0)));
        let table = table.context("there is a table 0")?;
        self.count(&format!("lookup {name}"), keys.len(), || {
            for key in &keys {
                black_box(table.rules.find(key, state.epoch()));
            }
        });
        Ok(())
    }

    fn translate(&mut self, scenario: &str) -> Result<()> {
        let mut bridge = Bridge::new(&rules_of(scenario)?)?;
        let keys = keys(&bridge, &frames_of(scenario)?);
        let state = bridge.switch.publish();
        let mut points = Points::new();
        points.renew(state.epoch());
        let mut context = Context {
            state: &state,
            points: &mut points,
        };
        let mut all = || {
            for key in &keys {
                let ingress = Ingress::Port(bridge.ports[0]);
                black_box(translate(&mut context, ingress, key, &mut NoTrace));
            }
        };
        // A thread has memory of its own, which nobody has given back in an order drawn by chance.
        let counting = || {
            all();
            self.count("translate 8 tables", keys.len(), all);
        };
        let ended = thread::scope(|scope| scope.spawn(counting).join());
        ended.map_err(|_| anyhow!("the thread panicked"))?;
        Ok(())
    }

    /// What it costs to hand packets to a device; taken off from what follows.
    fn send(&mut self, pools: &Pools) -> Result<()> {
        let frames = frames_of("l2-1k")?;
        let mut sink = swallow(pools)?;
        let mut batches = batches(&frames, pools)?;
        self.count(SEND, frames.len(), || {
            batches.iter_mut().for_each(|batch| sink.send(batch));
        });
        Ok(())
    }

    /// From a received batch to the staged one, everything a hit.
    fn path(&mut self, name: &str, rules: &Rules, frames: &str, pools: &Pools) -> Result<()> {
        let scenario = named(frames).into_iter().next().context("a scenario")?;
        let traffic = (scenario.traffic)();
        let frames: Vec<_> = (0..FRAMES).map(|number| traffic.frame(number)).collect();
        let mut bridge = Bridge::new(rules)?;
        let mut processor = bridge.processor(pools, CACHE_ENTRIES)?;
        let mut now = Now { ns: 5_000_000_000 };
        let mut process = |frames: &[Vec<u8>], count: &mut dyn FnMut(&mut dyn FnMut())| {
            let mut batches = batches(frames, pools)?;
            now.ns += 1_000_000;
            processor.statistics();
            count(&mut || {
                for batch in &mut batches {
                    processor.process(bridge.ports[0], batch, now);
                    processor.flush();
                }
            });
            anyhow::Ok(processor.statistics().misses)
        };
        // Of a connection that has just opened some packets fit only behind others.
        let opening = traffic.prelude();
        let all = (0..traffic.turn()).map(|number| traffic.frame(number));
        let all: Vec<_> = all.filter(|_| !opening.is_empty()).collect();
        for frames in [opening, all].concat().chunks(FRAMES as usize) {
            process(frames, &mut |work| work())?;
        }
        for _ in 0..WARM_UPS {
            process(&frames, &mut |work| work())?;
        }
        let misses = process(&frames, &mut counted)?;
        ensure!(misses == 0, "path {name}: {misses} misses");
        case_over(name);
        self.done.push(Counted {
            name: format!("path {name}"),
            units: frames.len(),
            less: Some(SEND.into()),
        });
        Ok(())
    }
}

fn keys(bridge: &Bridge, frames: &[Vec<u8>]) -> Vec<FlowKey> {
    frames.iter().map(|frame| bridge.key(frame)).collect()
}

/// The frames that a scenario's rules are met with: some scenarios have so many of their own that
/// making them would take long.
fn frames_for(scenario: &str) -> &str {
    match scenario {
        "acl-10k" => "acl-1k",
        "select-100k" => "meter-1k",
        scenario => scenario,
    }
}

fn rules_of(scenario: &str) -> Result<Rules> {
    let scenario = named(scenario).into_iter().next().context("a scenario")?;
    Ok((scenario.rules)())
}

/// So many frames of a scenario as fill batches, in its order.
fn frames_of(scenario: &str) -> Result<Vec<Vec<u8>>> {
    let scenario = named(scenario).into_iter().next().context("a scenario")?;
    let traffic = (scenario.traffic)();
    Ok((0..FRAMES).map(|number| traffic.frame(number)).collect())
}

/// Tables by what their rules are like.
const TABLES: [(&str, &str); 6] = [
    ("one rule", "port-forward-1"),
    ("MACs", "l2-1k"),
    ("prefixes", "l3-1k"),
    ("IPv6 prefixes", "l3-ipv6-1k"),
    ("access list 1k", "acl-1k"),
    ("access list 10k", "acl-10k"),
];
/// Hits of scenarios.
const PATHS: [(&str, &str); 11] = [
    ("port-forward", "port-forward-1"),
    ("l2", "l2-1k"),
    ("l3", "l3-1k"),
    ("l3-ipv6", "l3-ipv6-1k"),
    ("acl", "acl-1k"),
    ("pipeline", "pipeline-1k"),
    ("select", "select-100k"),
    ("meter", "meter-1k"),
    ("connections", "ct-established-1k"),
    ("translated connections", "ct-snat-1k"),
    ("security groups", "security-groups"),
];
/// Hits of one rule.
const PROGRAMS: [(&str, &str); 3] = [
    (
        "push VLAN",
        "actions=push_vlan:0x8100,set_field:4106->vlan_vid,output:2",
    ),
    ("two outputs", "actions=output:2,output:3"),
    ("drop", "actions=drop"),
];
const SEND: &str = "send to a null device";
/// Packets of a case: full batches.
const FRAMES: u64 = 1024;
/// Times that all flows are met before.
const WARM_UPS: usize = 3;
