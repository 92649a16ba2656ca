//! Cycles that a miss of the flow cache takes: translation, finding rules, asking for late changes.
//!
//! Rules and packets are those of the judge's scenarios. One thread does nothing else, so the
//! figures tell what a change of these parts does, without devices and the rest of the path. Each
//! is the least of many rounds: what other programs on the machine cost is left out.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser;
use flowtable::{EntryMask, FlowCache, FlowKey};
use openflow::{FlowModCommand, OfPort, TableId, text};
use perf::judge::scenario::Scenario;
use perf::judge::scenarios;
use vswitch::action::{BridgeId, PortNo};
use vswitch::pipeline::{
    BridgeSpec, Context, FailMode, Ingress, NoTrace, Points, PortSpec, Programs, State, Switch,
    VlanMode, translate,
};

/// Measures misses in cycles per packet.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only scenarios whose name contains this.
    #[arg(long, default_value = "")]
    scenario: String,
    /// Rounds for each figure.
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// Entries of the flow cache.
    #[arg(long, default_value_t = vswitch::datapath::limits::CACHE_ENTRIES_DEFAULT)]
    cache_entries: usize,
    /// Different packets.
    #[arg(long, default_value_t = 2_000)]
    packets: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    println!(
        "{:20} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "scenario", "translate", "decide", "find", "miss", "tuples"
    );
    for scenario in scenarios::all() {
        let is_wanted = scenario.name.contains(&arguments.scenario);
        let has_flows_alone = (scenario.rules)().groups.is_empty();
        if is_wanted && has_flows_alone && (scenario.rules)().meters.is_empty() {
            measure(&arguments, &scenario)?;
        }
    }
    Ok(())
}

fn measure(arguments: &Arguments, scenario: &Scenario) -> Result<()> {
    let (bridge, port, state) = install(scenario)?;
    let traffic = (scenario.traffic)();
    let keys = (0..arguments.packets).map(|number| {
        let mut key = FlowKey {
            entry: port.0,
            ..FlowKey::default()
        };
        flowtable::parse(&traffic.frame(number), &mut key);
        key
    });
    let keys: Vec<FlowKey> = keys.collect();
    let (mut points, mut programs) = (Points::new(), Programs::new());
    let ingress = Ingress::Port(port);
    let translation = least(arguments.rounds, &keys, |key| {
        let mut context = Context {
            state: &state,
            points: &mut points,
        };
        black_box(translate(&mut context, ingress.clone(), key, &mut NoTrace));
    });
    let miss = miss(arguments, &state, port, &keys)?;
    let bridge = state.bridge(bridge).context("no bridge")?;
    let table = bridge.table(TableId(0)).context("no table")?;
    let deciding = least(arguments.rounds, &keys, |key| {
        let mut context = Context {
            state: &state,
            points: &mut points,
        };
        black_box(programs.decide(&mut context, &ingress, key));
    });
    let finding = least(arguments.rounds, &keys, |key| {
        black_box(table.rules.find(key, state.epoch()).is_some());
    });
    println!(
        "{:20} {translation:9.0} {deciding:9.0} {finding:9.0} {miss:9.0} {:7}",
        scenario.name,
        table.rules.probes_max()
    );
    Ok(())
}

/// Cycles of a miss of a cache that is full, its programs made long ago: look, translate, insert.
fn miss(arguments: &Arguments, state: &State, port: PortNo, keys: &[FlowKey]) -> Result<f64> {
    let mut bits = **state.entry_mask(port).context("no port")?;
    // Every packet is another flow, whatever the rules.
    bits.0.tp_src = u16::MAX;
    bits.0.arp_tha = u64::MAX;
    let mask = EntryMask::new(&bits);
    let mut cache = FlowCache::new(arguments.cache_entries, 1);
    let (mut points, mut programs) = (Points::new(), Programs::new());
    let ingress = Ingress::Port(port);
    let mut number = 0;
    let mut round = |count: usize| {
        let start = pmd::cycles();
        for key in keys.iter().cycle().take(count) {
            number += 1;
            if number % 32 == 1 {
                cache.begin_batch(number / 1_000);
            }
            let mut key = *key;
            key.arp_tha = number;
            let epoch = state.epoch();
            black_box(cache.find(&mask, &key, epoch));
            let mut context = Context {
                state,
                points: &mut points,
            };
            let program = programs.decide(&mut context, &ingress, &key);
            let _ = black_box(cache.insert(&mask, &key, program, epoch, |program, _| {
                drop(black_box(program))
            }));
        }
        (pmd::cycles() - start) as f64 / count as f64
    };
    round(2 * arguments.cache_entries);
    let rounds = (0..arguments.rounds).map(|_| round(keys.len()));
    Ok(rounds.fold(f64::INFINITY, f64::min))
}

/// A switch that a scenario's rules are in.
fn install(scenario: &Scenario) -> Result<(BridgeId, PortNo, Arc<State>)> {
    let mut switch = Switch::new();
    let bridge = switch.add_bridge(&BridgeSpec {
        name: "br0".into(),
        fail_mode: FailMode::Secure,
        ..BridgeSpec::default()
    })?;
    let mut ports = Vec::new();
    for number in 1..=2 {
        let spec = PortSpec {
            name: format!("p{number}"),
            of_port: Some(OfPort(number)),
            vlan: VlanMode::default(),
            peer_name: None,
        };
        let (port, _) = switch.add_port(bridge, &spec)?;
        switch.set_link(port, true);
        ports.push(port);
    }
    let rules = (scenario.rules)();
    for (number, rule) in rules.flows.iter().flat_map(|text| text.lines()).enumerate() {
        let change = text::flow::parse(rule, FlowModCommand::Add).context(rule.to_string())?;
        let refused = |code| anyhow::anyhow!("{rule}: {code:?}");
        switch.flow_mod(bridge, &change, 0).map_err(refused)?;
        if number % 100 == 0 {
            switch.publish();
        }
    }
    // As long as there is something to tidy up.
    while switch.maintain() || switch.is_changed() {
        switch.publish();
    }
    Ok((bridge, ports[0], switch.publish()))
}

/// Cycles that `act` takes for a key, in the best round.
fn least(rounds: usize, keys: &[FlowKey], mut act: impl FnMut(&FlowKey)) -> f64 {
    let round = |_| {
        let start = pmd::cycles();
        keys.iter().for_each(&mut act);
        pmd::cycles() - start
    };
    let least = (0..rounds).map(round).min().unwrap_or_default();
    least as f64 / keys.len() as f64
}
