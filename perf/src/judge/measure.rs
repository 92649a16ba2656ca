//! Rounds of a scenario.

mod stand;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::contender::Kind;
use super::scenario::Scenario;
use stand::Stand;

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
    /// Changes of flows a second, where a controller made some.
    pub changes: Option<f64>,
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

/// What Open vSwitch reaches in a scenario, in Mpps, by one measurement.
pub fn ovs_mpps(scenario: &Scenario, seconds: f64) -> Result<f64> {
    let (traffic, rules) = ((scenario.traffic)(), (scenario.rules)());
    let stand = Stand::start(Kind::Ovs, scenario, &traffic, &rules)?;
    let sample = stand.measure(seconds)?;
    stand.stop()?;
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
            let sample = Stand::start(kind, scenario, &traffic, &rules)
                .and_then(|stand| stand.run(scenario, plan.seconds))
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
