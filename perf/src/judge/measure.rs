//! Rounds of a scenario.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::contender::{Contender, Kind};
use super::controller::Controller;
use super::generator::{Generator, Traffic};
use super::hosts::Hosts;
use super::machine::{CONTROL_CPU, cycles_hz};
use super::scenario::{Beyond, Later, Rules, Scenario};

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
    /// What is left of the rate with what comes on top, where something does.
    pub kept: Option<f64>,
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

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Run {
    kind: Kind,
    seconds: f64,
}

/// What Open vSwitch reaches in a scenario, in Mpps, by one measurement.
pub fn ovs_mpps(scenario: &Scenario, seconds: f64) -> Result<f64> {
    let run = Run {
        kind: Kind::Ovs,
        seconds,
    };
    let sample = once(scenario, &(scenario.rules)(), &(scenario.traffic)(), run)?;
    Ok(sample.mpps)
}

/// All samples of a scenario, of each contender in the order of [`Kind::ALL`].
pub fn rounds(scenario: &Scenario, plan: Plan) -> Result<[Samples; 3]> {
    let (traffic, rules) = ((scenario.traffic)(), (scenario.rules)());
    let mut samples = [const { Samples(Vec::new()) }; 3];
    for round in 0..plan.rounds {
        for turn in 0..Kind::ALL.len() {
            let place = (turn + round) % Kind::ALL.len();
            let kind = Kind::ALL[place];
            let run = Run {
                kind,
                seconds: plan.seconds,
            };
            let sample = once(scenario, &rules, &traffic, run)
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
fn once(scenario: &Scenario, rules: &Rules, traffic: &Traffic, run: Run) -> Result<Sample> {
    let hosts = match &scenario.beyond {
        Beyond::Nothing => None,
        Beyond::Hosts(frames) => Some(frames()),
    };
    let contender = Contender::start(run.kind, rules, hosts.is_some())?;
    let hosts = hosts.map(|frames| Hosts::start(&contender.memif(2), frames, CONTROL_CPU));
    let hosts = hosts.transpose()?;
    let generator = Generator::start(&contender.memif(1), traffic, CONTROL_CPU)?;
    generator.await_taken(1, START_MAX);
    ensure!(generator.progress().taken > 0, "it takes no packet");
    generator.await_taken(warm_up(traffic), WARM_UP_MAX);
    if hosts.is_some() {
        std::thread::sleep(LEARNING);
    }
    let sample = measure(&contender, &generator, run.seconds)?;
    let sample = later(scenario, &contender, &generator, run.seconds, sample)?;
    // The generator's memory stays until nobody reads it.
    drop(contender);
    generator.stop()?;
    hosts.map_or(Ok(()), Hosts::stop)?;
    Ok(sample)
}

/// Measures again with what comes on top.
fn later(
    scenario: &Scenario,
    contender: &Contender,
    generator: &Generator,
    seconds: f64,
    before: Sample,
) -> Result<Sample> {
    let (mut sample, share) = match &scenario.later {
        Later::Nothing => return Ok(before),
        Later::SecondOrder(share) => {
            generator.take_order(1);
            std::thread::sleep(WARM_UP_MAX);
            (measure(contender, generator, seconds)?, *share)
        }
        Later::Changes(rate, messages) => {
            let Some(bridge) = contender.bridge() else {
                return Ok(before);
            };
            let controller = Controller::start(&bridge, messages()?, *rate)?;
            std::thread::sleep(SETTLING);
            let sample = measure(contender, generator, seconds)?;
            controller.stop()?;
            (sample, 1.0)
        }
    };
    sample.mpps *= share;
    sample.clock_mpps *= share;
    sample.kept = Some(sample.mpps / before.mpps);
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
        kept: None,
        starved: (progress_after.empty - progress.empty) as f64 / looks,
        others: usage_after.others_since(usage),
    })
}

/// Packets before the measurement: each frame has been seen a few times.
fn warm_up(traffic: &Traffic) -> u64 {
    match traffic {
        Traffic::Cycle { orders, .. } => 3 * orders[0].len() as u64,
        Traffic::Fresh { .. } => 1 << 20,
    }
    .max(1 << 18)
}

/// Until the first packet.
const START_MAX: Duration = Duration::from_secs(20);
/// A switch may be so slow that it would take minutes.
const WARM_UP_MAX: Duration = Duration::from_millis(2500);
/// So that every address has been seen.
const LEARNING: Duration = Duration::from_secs(1);
/// Between the first change and the measurement.
const SETTLING: Duration = Duration::from_millis(500);
