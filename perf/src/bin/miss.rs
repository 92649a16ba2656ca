//! Cycles that a miss of the flow cache takes: translation, finding rules, asking for late changes.
//!
//! Rules and packets are those of the judge's scenarios. One thread does nothing else, so the
//! figures tell what a change of these parts does, without devices and the rest of the path. Each
//! is of the batch in the middle of many that are measured one by one: where other programs of the
//! machine had the CPU meanwhile, it does not count.

use std::hint::black_box;

use anyhow::{Context as _, Result};
use clap::Parser;
use flowtable::{CodeNo, EntryMask, FlowKey, KeyHash, Lookup, Packets, Pair, Question};
use openflow::{FlowModCommand, TableId, text};
use perf::bridge::Bridge;
use perf::judge::frames::random;
use perf::judge::generator::Traffic;
use perf::judge::scenario::Scenario;
use perf::judge::scenarios;
use pmd::BATCH_MAX;
use vswitch::action::{Account, Cache, PortNo, Tallies};
use vswitch::datapath::limits;
use vswitch::pipeline::{
    Arrival, Books, Context, Ingress, NoTrace, Points, Programs, State, translate,
};

/// Measures misses in cycles per packet.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only the scenario of this name, or those of this family.
    #[arg(long, default_value = "")]
    scenario: String,
    /// Rounds for each figure.
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// Entries of the flow cache.
    #[arg(long, default_value_t = limits::CACHE_ENTRIES_DEFAULT)]
    cache_entries: usize,
    /// The cache while routes come and go, instead.
    #[arg(long)]
    storm: bool,
    /// Different packets.
    #[arg(long, default_value_t = PACKETS)]
    packets: u64,
    /// The same where every packet is a new flow.
    #[arg(long, default_value_t = 500_000)]
    fresh_packets: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.storm {
        let l3 = scenarios::named("l3-100k");
        let all: Vec<u32> = (8..=32).collect();
        for lengths in [&[][..], &[29], &[16, 20, 24, 29], &all] {
            let (cycles, translated) = storm(&arguments, &l3[0], lengths)?;
            let (count, share) = (lengths.len(), 100.0 * translated);
            println!("{count:2} lengths {cycles:6.0} cycles, {share:.2} % translated");
        }
        return Ok(());
    }
    println!(
        "{:20} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "scenario", "translate", "decide", "find", "miss", "tuples"
    );
    let scenarios = match arguments.scenario.is_empty() {
        true => scenarios::all(),
        false => scenarios::named(&arguments.scenario),
    };
    for scenario in scenarios {
        let has_flows_alone = (scenario.rules)().groups.is_empty();
        if has_flows_alone && (scenario.rules)().meters.is_empty() {
            measure(&arguments, &scenario)?;
        }
    }
    Ok(())
}

fn measure(arguments: &Arguments, scenario: &Scenario) -> Result<()> {
    let mut bridge = Bridge::new(&(scenario.rules)())?;
    let port = bridge.ports[0];
    let state = bridge.switch.publish();
    let packets = match (scenario.traffic)() {
        Traffic::Cycle { .. } => arguments.packets,
        Traffic::Fresh(_) => arguments.fresh_packets,
    };
    let keys = keys(scenario, &bridge, packets);
    let (mut points, mut programs) = (Points::new(), Programs::new());
    let ingress = Ingress::Port(port);
    let translation = each(arguments.rounds, &keys, |key| {
        let mut context = Context {
            state: &state,
            points: &mut points,
        };
        black_box(translate(&mut context, ingress.clone(), key, &mut NoTrace));
    });
    let miss = miss(arguments, &state, port, &keys)?;
    let bridge = state.bridge(bridge.id).context("no bridge")?;
    let table = bridge.table(TableId(0)).context("no table")?;
    let mut cache = Cache::new(arguments.cache_entries, 1);
    let mut tallies = Tallies::default();
    let deciding = each(arguments.rounds, &keys, |key| {
        let mut context = Context {
            state: &state,
            points: &mut points,
        };
        let arrivals = [arrival(key, KeyHash::default())];
        let mut books = Books {
            cache: &mut cache,
            tallies: &mut tallies,
        };
        programs.decide(&mut context, &ingress, arrivals, &mut books, |it| {
            black_box(it.pair);
        });
    });
    let finding = each(arguments.rounds, &keys, |key| {
        black_box(table.rules.find(key, state.epoch()).is_some());
    });
    println!(
        "{:20} {translation:9.0} {deciding:9.0} {finding:9.0} {miss:9.0} {:7}",
        scenario.name,
        table.rules.probes_max()
    );
    Ok(())
}

/// What one packet costs in the cache while routes of so many lengths come and go, 10,000 changes a
/// second at two million packets a second; without them if there are no lengths.
fn storm(arguments: &Arguments, scenario: &Scenario, lengths: &[u32]) -> Result<(f64, f64)> {
    let mut bridge = Bridge::new(&(scenario.rules)())?;
    let port = bridge.ports[0];
    let keys = keys(scenario, &bridge, STORM_FLOWS);
    let mut state = bridge.switch.publish();
    let mask = EntryMask::new(state.entry_mask(port).context("no port")?);
    let mut cache = Cache::new(arguments.cache_entries, 1);
    let (mut points, mut programs) = (Points::new(), Programs::new());
    let (mut cycles, mut packets, mut translated) = (0, 0, 0);
    let mut tallies = Tallies::default();
    let mut found = [Lookup::Miss; 32];
    for round in 0..STORM_ROUNDS {
        for change in 0..if lengths.is_empty() { 0 } else { 50 } {
            let number = round * 50 + change;
            let length = lengths[number as usize % lengths.len()];
            let address = 0x1400_0000 | (random(number / 100) as u32 >> 8);
            let net = std::net::Ipv4Addr::from(address & !0 << (32 - length));
            let adds = number / 50 % 2 == 0;
            let rule = format!("priority={},ip,nw_dst={net}/{length}", 1000 + length);
            let change = match adds {
                true => text::flow::parse(&format!("{rule},actions=drop"), FlowModCommand::Add)?,
                false => text::flow::parse(&rule, FlowModCommand::DeleteStrict)?,
            };
            let _ = bridge.switch.flow_mod(bridge.id, &change, 0);
        }
        state = bridge.switch.publish();
        points.renew(state.epoch());
        let start = pmd::cycles();
        for chunk in 0..STORM_PACKETS / 32 {
            cache.begin_batch(0);
            let first = (round * STORM_PACKETS + chunk * 32) as usize % (keys.len() - 32);
            let keys = &keys[first..first + 32];
            for (key, found) in keys.iter().zip(&mut found) {
                *found = cache.find(&mask, key, state.epoch());
            }
            for (key, found) in keys.iter().zip(&found) {
                match *found {
                    Lookup::Hit(slot) => {
                        black_box(cache.code(cache.code_of(slot)));
                        continue;
                    }
                    Lookup::Stale(slot) => {
                        let Account(program) = cache.account(slot).context("gone")?;
                        let since = cache.epoch(slot).context("gone")?;
                        let scopes = program.scopes.context("no scopes")?;
                        let mut questions = [Question {
                            key,
                            scopes,
                            since,
                            is_concerned: false,
                        }];
                        state.changes().answer(&mut questions);
                        if !questions[0].is_concerned {
                            cache.renew(slot, state.epoch());
                            continue;
                        }
                    }
                    Lookup::Miss => {}
                }
                translated += 1;
                let mut context = Context {
                    state: &state,
                    points: &mut points,
                };
                let mut pair = Pair::default();
                let ingress = Ingress::Port(port);
                let arrivals = [arrival(key, cache.hash(&mask, key))];
                let mut books = Books {
                    cache: &mut cache,
                    tallies: &mut tallies,
                };
                programs.decide(&mut context, &ingress, arrivals, &mut books, |it| {
                    pair = it.pair;
                });
                let _ = cache.insert(&mask, key, pair, state.epoch(), Account::credit);
                cache.let_go(pair, Account::credit);
            }
        }
        if round >= STORM_ROUNDS / 2 {
            cycles += pmd::cycles() - start;
            packets += STORM_PACKETS;
        } else {
            translated = 0;
        }
    }
    let share = translated as f64 / packets as f64;
    Ok((cycles as f64 / packets as f64, share))
}

const STORM_FLOWS: u64 = 100_000;
const STORM_ROUNDS: u64 = 200;
const STORM_PACKETS: u64 = 9_984;

/// Cycles of a miss of a cache that is full, its programs made long ago: look, decide, insert, a
/// batch at a time as the packet path does it.
fn miss(arguments: &Arguments, state: &State, port: PortNo, keys: &[FlowKey]) -> Result<f64> {
    let mut bits = **state.entry_mask(port).context("no port")?;
    // Every packet is another flow, whatever the rules.
    bits.0.tp_src = u16::MAX;
    bits.0.arp_tha = u64::MAX;
    let mask = EntryMask::new(&bits);
    let mut cache = Cache::new(arguments.cache_entries, 1);
    let (mut points, mut programs) = (Points::new(), Programs::new());
    let ingress = Ingress::Port(port);
    let (mut number, mut at) = (0, 0);
    let mut together = [FlowKey::default(); BATCH_MAX];
    let mut decisions = Vec::with_capacity(BATCH_MAX);
    let mut tallies = Tallies::default();
    let mut batch = || {
        for key in &mut together {
            (number, at) = (number + 1, (at + 1) % keys.len());
            *key = keys[at];
            key.arp_tha = number;
        }
        let start = pmd::cycles();
        cache.begin_batch(number / 1_000);
        let mut codes = [CodeNo::MISS; BATCH_MAX];
        let packets = Packets {
            keys: &together,
            bytes: &[60; BATCH_MAX],
            codes: &mut codes,
        };
        cache.count_batch(&mask, packets, state.epoch(), Account::credit);
        let mut hashes = [KeyHash::default(); BATCH_MAX];
        for (hash, key) in hashes.iter_mut().zip(&together) {
            *hash = cache.hash(&mask, key);
        }
        let points = &mut points;
        let mut context = Context { state, points };
        decisions.clear();
        let arrivals = together.iter().zip(hashes);
        let arrivals = arrivals.map(|(key, hash)| arrival(key, hash));
        let decided = |it| decisions.push(it);
        let mut books = Books {
            cache: &mut cache,
            tallies: &mut tallies,
        };
        programs.decide(&mut context, &ingress, arrivals, &mut books, decided);
        let pairs = decisions.iter().map(|it| it.pair);
        pairs.clone().for_each(|pair| cache.count_apart(pair, 60));
        let new = decisions.iter().zip(&together).zip(hashes);
        let new = new.filter(|((decided, _), _)| decided.is_admitted);
        cache.foresee(&mask, new.clone().map(|(_, hash)| hash));
        for ((decided, key), _) in new {
            let pair = decided.pair;
            let _ = black_box(cache.insert(&mask, key, pair, state.epoch(), Account::credit));
        }
        for pair in pairs {
            cache.let_go(pair, Account::credit);
        }
        if number / 1_000 != (number - BATCH_MAX as u64) / 1_000 {
            cache.maintain(
                limits::MAINTAIN_BUCKETS,
                limits::CACHE_IDLE_MS,
                Account::credit,
            );
        }
        pmd::cycles() - start
    };
    for _ in 0..2 * arguments.cache_entries / BATCH_MAX {
        batch();
    }
    let batches = arguments.rounds * PACKETS as usize / BATCH_MAX;
    Ok(typical((0..batches).map(|_| batch())))
}

/// A packet of a flow that is new.
fn arrival(key: &FlowKey, hash: KeyHash) -> Arrival<'_> {
    Arrival {
        key,
        hash,
        bytes: 60,
        is_stale: false,
    }
}

/// The first packets of a scenario.
fn keys(scenario: &Scenario, bridge: &Bridge, count: u64) -> Vec<FlowKey> {
    let traffic = (scenario.traffic)();
    (0..count)
        .map(|number| bridge.key(&traffic.frame(number)))
        .collect()
}

/// Cycles that `act` takes for a key.
fn each(rounds: usize, keys: &[FlowKey], mut act: impl FnMut(&FlowKey)) -> f64 {
    let chunks = keys.as_chunks::<BATCH_MAX>().0;
    let wanted = rounds * PACKETS as usize / BATCH_MAX;
    typical(chunks.iter().cycle().take(wanted).map(|chunk| {
        let start = pmd::cycles();
        chunk.iter().for_each(&mut act);
        pmd::cycles() - start
    }))
}

/// Cycles of one packet, of those that batches took.
fn typical(batches: impl Iterator<Item = u64>) -> f64 {
    let mut batches: Vec<u64> = batches.collect();
    batches.sort_unstable();
    let middle = batches.get(batches.len() / 2).copied();
    middle.unwrap_or_default() as f64 / BATCH_MAX as f64
}

/// Different packets where flows come again.
const PACKETS: u64 = 2_000;
