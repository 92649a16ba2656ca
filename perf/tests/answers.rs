//! Cached, compiled and naive answers agree for the rules of every scenario, those that track
//! connections and those of tunnels among them, while they change at random under two workers.
//!
//! One worker has a flow cache with room for all, the other next to none, so nearly each of its
//! packets goes through the compiled tables. Both take packets while rules come, go and change and
//! are published. What a batch became is compared with what a naive reading of the rules of its
//! moment says, and what rules counted with the sum of all that.

mod answers {
    pub mod course;
    pub mod rules;
}

use std::collections::BTreeSet;

use perf::judge::generator::Traffic;
use perf::judge::scenario::Scenario;
use perf::judge::scenarios;
use pmd::Pools;
use tests::crossing::pools;
use tests::naive::random::{self, Random};

use answers::course::{Course, talk};
use answers::rules::Told;

#[test]
fn cached_compiled_and_naive_answers_agree_while_rules_change_under_two_workers() {
    let pools = pools();
    let mut seen = BTreeSet::new();
    let growth = scenarios::growth().into_iter().filter(is_small);
    for scenario in scenarios::all().into_iter().chain(growth) {
        let rules = (scenario.rules)();
        let text = format!("{:?} {rules:?}", scenario.tunnels);
        if !scenario.course.has_frames() || !seen.insert(text.clone()) {
            continue;
        }
        let told = Told::of(&rules, scenario.tunnels);
        let mut frames = own((scenario.traffic)(), told.tracks);
        let seed = seen.len() as u64;
        let mut others: Vec<_> = others(seed).collect();
        if text.contains("nat") {
            // No two want the same port.
            let mut met = BTreeSet::new();
            others.retain(|frame| met.insert(talk(frame)));
        }
        frames.extend(others);
        run(&scenario.name, told, frames, &pools);
    }
    assert!(seen.len() > 10, "{} kinds of rules", seen.len());
    for seed in 0..RANDOM_RULES {
        let told = Told::random(seed);
        let mut frames: Vec<_> = others(seed).collect();
        if told.tracks {
            frames.extend(frames.clone().iter().map(|frame| random::answer(frame)));
        }
        run(&format!("seed {seed}"), told, frames, &pools);
    }
    assert_eq!(pools.in_use(), 0);
}

/// Whether a place on a curve has few enough rules for a model that looks at all of them for every
/// packet, of which no two of the same priority match the same.
fn is_small(scenario: &Scenario) -> bool {
    let amount = scenario.point.as_ref().map(|point| match &*point.curve {
        "tables" => point.amount / TABLES_MAX,
        "shapes" => point.amount / SHAPES_MAX,
        _ => point.amount / RULES_MAX,
    });
    amount.is_some_and(|amount| amount <= 1.0)
}

fn run(name: &str, told: Told, frames: Vec<Vec<u8>>, pools: &Pools) {
    let tracks = told.tracks;
    let course = Course::run(told, &frames, pools);
    let tally = course.compare(name, &frames);
    println!("{name}: {tally:?}");
    assert!(tally.sent + tally.dropped > 0, "{name}: {tally:?}");
    assert!(tally.cached.hits > 0, "{name}: {tally:?}");
    assert!(tally.compiled.misses > 0, "{name}: {tally:?}");
    assert!(tally.states > 1, "{name}: {tally:?}");
    assert!(tally.tracked > 0 || !tracks, "{name}: {tally:?}");
}

/// Packets of all kinds.
fn others(seed: u64) -> impl Iterator<Item = Vec<u8>> {
    let mut random = Random(seed);
    (0..OTHERS).map(move |_| random::packet(&mut random))
}

/// Frames of a scenario. Of connections those with which some begin, and what comes back.
fn own(traffic: Traffic, tracks: bool) -> Vec<Vec<u8>> {
    match traffic {
        Traffic::Cycle { frames, .. } if tracks => {
            let some = frames.iter().step_by(frames.len().div_ceil(OWN));
            frames.iter().take(OWN).chain(some).cloned().collect()
        }
        traffic => {
            let frames = (0..OWN as u64).map(|number| traffic.frame(number * 61));
            match tracks {
                true => frames
                    .flat_map(|frame| [random::answer(&frame), frame])
                    .collect(),
                false => frames.collect(),
            }
        }
    }
}

/// Frames of a scenario, and others among them.
const OWN: usize = 40;
const OTHERS: u64 = 12;
/// Places on curves: tables of 1,000 rules, shapes that each have a priority of their own, and
/// rules.
const TABLES_MAX: f64 = 4.0;
const SHAPES_MAX: f64 = 30.0;
const RULES_MAX: f64 = 1_000.0;
/// Sets of rules that are made up.
const RANDOM_RULES: u64 = 12;
