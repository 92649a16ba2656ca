//! Rounds of a scenario.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::contender::{Contender, Kind};
use super::generator::{Generator, Traffic};
use super::machine::{CONTROL_CPU, cycles_hz};
use super::scenario::{Rules, Scenario};

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds, each of all that are compared.
    pub rounds: usize,
    /// Seconds of each measurement.
    pub seconds: f64,
}

/// What one measurement tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Millions of packets in each second that the worker's thread ran.
    pub mpps: f64,
    /// The same in each second of the clock.
    pub clock_mpps: f64,
    /// Cycles for a packet: what the worker's thread had.
    pub cycles: f64,
    /// Cycles for a packet, as the switch counts them.
    pub own_cycles: Option<f64>,
    /// Share of the packets that left by port 2.
    pub delivered: Option<f64>,
    /// Share of looks at the ring that found it empty.
    pub starved: f64,
    /// Share of the worker's CPU that others had.
    pub others: f64,
}

/// The samples of one contender.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// The median of a figure; `None` where no sample has it.
    pub fn median(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let mut values: Vec<f64> = self.0.iter().filter_map(figure).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len().checked_sub(1)? / 2;
        Some((values[middle] + values[values.len() / 2]) / 2.0)
    }

    /// The largest of a figure.
    pub fn largest(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        self.0.iter().map(figure).fold(0.0, f64::max)
    }
}

/// All samples of a scenario, of each contender in the order of [`Kind::ALL`].
pub fn rounds(scenario: &Scenario, plan: Plan) -> Result<[Samples; 3]> {
    let (traffic, rules) = ((scenario.traffic)(), (scenario.rules)());
    let mut samples = [const { Samples(Vec::new()) }; 3];
    for round in 0..plan.rounds {
        for turn in 0..Kind::ALL.len() {
            let place = (turn + round) % Kind::ALL.len();
            let kind = Kind::ALL[place];
            let sample = once(kind, &rules, &traffic, plan.seconds)
                .with_context(|| format!("{} of {}", scenario.name, kind.name()))?;
            eprintln!(
                "{}, round {}: {:9} {:8.3} Mpps, others {:2.0} %, starved {:.0} %",
                scenario.name,
                round + 1,
                kind.name(),
                sample.mpps,
                sample.others * 100.0,
                sample.starved * 100.0
            );
            samples[place].0.push(sample);
        }
    }
    Ok(samples)
}

/// One measurement of one contender, started for it and ended after it.
fn once(kind: Kind, rules: &Rules, traffic: &Traffic, seconds: f64) -> Result<Sample> {
    let contender = Contender::start(kind, rules)?;
    let generator = Generator::start(&contender.source(), traffic, CONTROL_CPU)?;
    generator.await_taken(1, START_MAX);
    ensure!(generator.progress().taken > 0, "it takes no packet");
    generator.await_taken(warm_up(traffic), WARM_UP_MAX);
    let sample = measure(&contender, &generator, seconds)?;
    // The generator's memory stays until nobody reads it.
    drop(contender);
    generator.stop()?;
    Ok(sample)
}

/// What happens within so many seconds.
fn measure(contender: &Contender, generator: &Generator, seconds: f64) -> Result<Sample> {
    let counted = contender.counted()?;
    let (usage, progress, start) = (contender.usage()?, generator.progress(), Instant::now());
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let (took, usage_after) = (start.elapsed().as_secs_f64(), contender.usage()?);
    let progress_after = generator.progress();
    let counted_after = contender.counted()?;
    let packets = (progress_after.taken - progress.taken) as f64;
    let ran = usage_after.ran - usage.ran;
    let looks = (progress_after.looks - progress.looks).max(1) as f64;
    let received = (counted_after.received - counted.received) as f64;
    let sent = (counted_after.sent - counted.sent) as f64;
    let own = counted.cycles.zip(counted_after.cycles);
    Ok(Sample {
        mpps: packets / ran / 1e6,
        clock_mpps: packets / took / 1e6,
        cycles: ran * cycles_hz() / packets,
        own_cycles: own.map(|(before, after)| (after.0 - before.0) / (after.1 - before.1)),
        delivered: (received > 0.0).then(|| sent / received),
        starved: (progress_after.empty - progress.empty) as f64 / looks,
        others: usage_after.others_since(usage),
    })
}

/// Packets before the measurement: each frame has been seen a few times.
fn warm_up(traffic: &Traffic) -> u64 {
    match traffic {
        Traffic::Cycle { order, .. } => 3 * order.len() as u64,
        Traffic::Fresh { .. } => 1 << 20,
    }
    .max(1 << 18)
}

/// Until the first packet.
const START_MAX: Duration = Duration::from_secs(20);
/// A switch may be so slow that it would take minutes.
const WARM_UP_MAX: Duration = Duration::from_millis(2500);
