//! Rounds of a scenario.

mod connections;
mod guests;
mod latency;
mod stand;
mod workers;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::contender::Kind;
use super::generator::Traffic;
use super::scenario::{Course, Rules, Scenario};
use super::tcp;
use stand::Stand;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds, each of all that are compared.
    pub rounds: usize,
    /// Seconds of each measurement.
    pub seconds: f64,
    /// This one alone.
    pub only: Option<Kind>,
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
    /// Millions of connections, where they were counted.
    #[serde(default)]
    pub connections: Option<f64>,
    /// Bytes of memory for each of them.
    #[serde(default)]
    pub bytes: Option<f64>,
    /// Millions of connections ended a second, all at once.
    #[serde(default)]
    pub tear_downs: Option<f64>,
    /// Millions of bits a second, where TCP was measured.
    pub mbps: Option<f64>,
    /// Microseconds within which 50, 99 and 99.9 % of the packets were through, where that was
    /// measured.
    pub latency_us: Option<[f64; 3]>,
    /// Share of the packets that came while nobody looked, so that their latency is not known.
    pub unseen: f64,
    /// Share of looks at the ring that found it empty.
    pub starved: f64,
    /// Share of the worker's CPU that others had.
    pub others: f64,
}

impl Sample {
    /// Cycles for a packet: as the switch counts them, but no more than its thread had, since a
    /// switch counts also those for which it was interrupted. `None` where no packets were counted.
    pub fn cycles_of_switch(&self) -> Option<f64> {
        let own = self.own_cycles.unwrap_or(self.cycles);
        let cycles = own.min(self.cycles);
        (cycles > 0.0).then_some(cycles)
    }
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
            if plan.only.is_some_and(|only| only != kind) {
                continue;
            }
            let sample = sample(kind, scenario, &traffic, &rules, plan.seconds)
                .with_context(|| format!("{} of {}", scenario.name, kind.name()))?;
            let Some(sample) = sample else {
                continue;
            };
            let figure = scenario
                .figures
                .first()
                .and_then(|figure| figure.of(&sample));
            eprintln!(
                "{}, round {}: {:9} {:8.3}, others {:2.0} %, starved {:.0} %",
                scenario.name,
                round + 1,
                kind.name(),
                figure.unwrap_or_default(),
                sample.others * 100.0,
                sample.starved * 100.0
            );
            samples[place].0.push(sample);
        }
    }
    Ok(samples)
}

/// One measurement; `None` if it is nothing that this contender does.
fn sample(
    kind: Kind,
    scenario: &Scenario,
    traffic: &Traffic,
    rules: &Rules,
    seconds: f64,
) -> Result<Option<Sample>> {
    match scenario.course {
        Course::Forwarding => {
            let stand = Stand::start(kind, scenario, traffic, rules)?;
            stand.run(scenario, seconds).map(Some)
        }
        Course::Connections => connections::sample(kind, scenario, traffic, rules, seconds),
        Course::Latency => latency::sample(kind, traffic, rules, seconds).map(Some),
        Course::Guests(pair) => guests::sample(kind, pair, rules, seconds).map(Some),
        Course::Tcp(between) => {
            let sample = |mbps| Sample {
                mbps: Some(mbps),
                ..Sample::default()
            };
            Ok(tcp::mbps(kind, between, seconds)?.map(sample))
        }
        Course::Workers(count) => match kind {
            Kind::Ours => workers::sample(count, traffic, rules, seconds).map(Some),
            Kind::Ovs | Kind::Testpmd => Ok(None),
        },
    }
}

/// Where our worker's cycles go in a scenario in which others fill its rings; nothing elsewhere.
pub fn profile(scenario: &Scenario, seconds: f64) -> Result<Vec<(f64, String)>> {
    let rules = (scenario.rules)();
    match scenario.course {
        Course::Forwarding | Course::Connections => {
            let stand = Stand::start(Kind::Ours, scenario, &(scenario.traffic)(), &rules)?;
            stand.profile(scenario, seconds)
        }
        Course::Guests(pair) => guests::profile(pair, &rules, seconds),
        Course::Latency | Course::Tcp(_) | Course::Workers(_) => Ok(Vec::new()),
    }
}
