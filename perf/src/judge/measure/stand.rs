//! A contender with all that is around it: the generator at port 1, hosts or a guest at port 2.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Sample;
use crate::judge::contender::{Besides, Contender, Counted, End, Kind};
use crate::judge::controller::Controller;
use crate::judge::generator::{Generator, Traffic};
use crate::judge::guest::Guest;
use crate::judge::hosts::Hosts;
use crate::judge::machine::{CONTROL_CPU, Use, cycles_hz};
use crate::judge::scenario::{Beyond, Later, Rules, Scenario};

/// All of it.
pub(super) struct Stand {
    contender: Contender,
    generator: Generator,
    hosts: Option<Hosts>,
    guest: Option<Guest>,
}

impl Stand {
    /// Starts it and waits until packets have run for a while.
    pub(super) fn start(
        kind: Kind,
        scenario: &Scenario,
        traffic: &Traffic,
        rules: &Rules,
    ) -> Result<Stand> {
        let (second, guest) = match &scenario.beyond {
            Beyond::Nothing => (End::Sink, None),
            Beyond::Hosts(_) => (End::Memif, None),
            Beyond::Guest { packed } => {
                let guest = Guest::start(*packed)?;
                (End::Guest(guest.socket(1)), Some(guest))
            }
        };
        let besides = Besides {
            connections: scenario.connections,
            tunnels: scenario.tunnels,
        };
        let mut ends = vec![End::Memif, second];
        ends.resize(2 + scenario.idle_ports as usize, End::Absent);
        let contender = Contender::start_with(kind, rules, &ends, besides)?;
        let rings = contender.transmit_rings();
        let hosts = match &scenario.beyond {
            Beyond::Hosts(frames) => {
                let path = contender.memif(2);
                Some(Hosts::start(&path, rings, &frames(), CONTROL_CPU)?)
            }
            _ => None,
        };
        let path = contender.memif(1);
        let generator = Generator::start(&path, rings, traffic, CONTROL_CPU)?;
        let stand = Stand {
            contender,
            generator,
            hosts,
            guest,
        };
        stand.warm_up(traffic)?;
        Ok(stand)
    }

    fn warm_up(&self, traffic: &Traffic) -> Result<()> {
        self.generator.await_taken(1, START_MAX);
        let taken = self.generator.progress().taken;
        ensure!(taken > 0, "it takes no packet");
        if let Some(guest) = &self.guest {
            guest.await_packets(START_MAX)?;
        }
        self.generator.await_taken(warm_up(traffic), WARM_UP_MAX);
        if self.hosts.is_some() {
            std::thread::sleep(LEARNING);
        }
        Ok(())
    }

    /// Measures, also with what comes on top, and ends.
    pub(super) fn run(self, scenario: &Scenario, seconds: f64) -> Result<Sample> {
        let before = self.measure(seconds)?;
        let sample = self.later(scenario, seconds, before)?;
        self.stop()?;
        Ok(sample)
    }

    /// The contender, to which nothing is sent any more.
    pub(super) fn pause(&self) -> &Contender {
        self.generator.pause();
        std::thread::sleep(DRAINING);
        &self.contender
    }

    /// Bytes of memory that a contender has which can track hardly any connections.
    pub(super) fn memory_without_connections(
        kind: Kind,
        scenario: &Scenario,
        rules: &Rules,
    ) -> Result<f64> {
        let besides = Besides {
            connections: Some(CONNECTIONS_FEW),
            tunnels: scenario.tunnels,
        };
        let ends = [End::Memif, End::Sink];
        Contender::start_with(kind, rules, &ends, besides)?.memory_bytes()
    }

    /// Where its worker's cycles go, and ends.
    pub(super) fn profile(self, scenario: &Scenario, seconds: f64) -> Result<Vec<(f64, String)>> {
        if let Later::SecondOrder(_) = scenario.later {
            self.generator.take_order(1);
        }
        let shares = self.contender.profile(seconds)?;
        self.stop()?;
        Ok(shares)
    }

    /// Ends it. The generator's memory stays until nobody reads it.
    pub(super) fn stop(self) -> Result<()> {
        drop(self.contender);
        drop(self.guest);
        self.generator.stop()?;
        self.hosts.map_or(Ok(()), Hosts::stop)
    }

    /// Measures again with what comes on top.
    fn later(&self, scenario: &Scenario, seconds: f64, before: Sample) -> Result<Sample> {
        let (mut sample, share) = match &scenario.later {
            Later::Nothing => return Ok(before),
            Later::SecondOrder(share) => {
                self.generator.take_order(1);
                std::thread::sleep(EXPLODING);
                (self.measure(seconds)?, *share)
            }
            Later::Changes(rate, messages) => {
                let Some(bridge) = self.contender.bridge() else {
                    return Ok(before);
                };
                let controller = Controller::start(&bridge, messages()?, *rate)?;
                std::thread::sleep(SETTLING);
                let mut sample = self.measure(seconds)?;
                sample.changes = Some(controller.stop()?);
                (sample, 1.0)
            }
        };
        sample.mpps *= share;
        sample.clock_mpps *= share;
        sample.kept = Some(sample.mpps / before.mpps);
        Ok(sample)
    }

    /// What happens until the worker ran for most of so many seconds.
    pub(super) fn measure(&self, seconds: f64) -> Result<Sample> {
        let counted = self.contender.counted()?;
        let (usage, progress) = (self.contender.usage()?, self.generator.progress());
        let (lines, start) = (self.guest.as_ref().map(Guest::rates), Instant::now());
        let usage_after = ran_for(&self.contender, usage, seconds)?;
        let progress_after = self.generator.progress();
        let took = start.elapsed().as_secs_f64();
        let counted_after = self.contender.counted()?;
        let ran = usage_after.ran - usage.ran;
        let taken = (progress_after.taken - progress.taken) as f64;
        let packets = match (&self.guest, lines) {
            (Some(guest), Some(lines)) => guest.pps_since(lines.len(), START_MAX)? * took,
            _ => taken,
        };
        let looks = (progress_after.looks - progress.looks).max(1) as f64;
        let delivered = delivered(counted, counted_after);
        Ok(Sample {
            mpps: packets / ran / 1e6,
            clock_mpps: packets / took / 1e6,
            cycles: ran * cycles_hz() / taken.max(1.0),
            own_cycles: own_cycles(counted, counted_after),
            delivered: delivered.filter(|_| self.guest.is_none()),
            starved: (progress_after.empty - progress.empty) as f64 / looks,
            others: usage_after.others_since(usage),
            ..Sample::default()
        })
    }
}

/// Waits until a worker ran for most of so many seconds since `usage`.
pub(super) fn ran_for(contender: &Contender, usage: Use, seconds: f64) -> Result<Use> {
    let (start, mut after) = (Instant::now(), usage);
    while after.ran - usage.ran < RAN_SHARE * seconds {
        ensure!(
            start.elapsed().as_secs_f64() < 10.0 * seconds,
            "its worker hardly runs"
        );
        std::thread::sleep(Duration::from_secs_f64(seconds));
        after = contender.usage()?;
    }
    Ok(after)
}

fn delivered(before: Counted, after: Counted) -> Option<f64> {
    let received = after.received.saturating_sub(before.received) as f64;
    let sent = after.sent.saturating_sub(before.sent) as f64;
    (received > 0.0).then(|| sent / received)
}

/// Cycles for a packet between two counts.
pub(super) fn own_cycles(before: Counted, after: Counted) -> Option<f64> {
    let (before, after) = before.cycles.zip(after.cycles)?;
    let (cycles, packets) = (after.0 - before.0, after.1 - before.1);
    (cycles > 0.0 && packets > 0.0).then(|| cycles / packets)
}

/// Packets before the measurement: each frame has been seen a few times.
fn warm_up(traffic: &Traffic) -> u64 {
    match traffic {
        Traffic::Cycle {
            prelude, orders, ..
        } => (prelude.len() as u64 + 3 * orders[0].len() as u64).max(1 << 16),
        Traffic::Fresh(fresh) => fresh.warm_up,
    }
}

/// Share of the time that the worker has to have run at least.
const RAN_SHARE: f64 = 0.8;
/// Until the first packet.
const START_MAX: Duration = Duration::from_secs(20);
/// A switch may be so slow that it would take minutes; Open vSwitch takes ten seconds to meet
/// 100,000 flows.
const WARM_UP_MAX: Duration = Duration::from_secs(15);
/// While a cache of wildcards grows out of shape.
const EXPLODING: Duration = Duration::from_secs(3);
/// What takes no memory to speak of.
const CONNECTIONS_FEW: u32 = 1_000;
/// Until what was sent has been dealt with.
const DRAINING: Duration = Duration::from_millis(200);
/// So that every address has been seen.
const LEARNING: Duration = Duration::from_secs(1);
/// Between the first change and the measurement.
const SETTLING: Duration = Duration::from_millis(500);
