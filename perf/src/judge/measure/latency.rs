//! How long packets take through a contender at half load.
//!
//! How. One thread on the control CPU has both ends: it writes frames into the ring of port 1 and
//! looks at the ring of port 2. First it sends all that fits, to find out what the contender takes;
//! then half of that, spread evenly. A contender keeps the order, so the packets that come are
//! those sent longest ago; each is noted with the time from just before it was handed over until
//! it was seen. A look is a few microseconds after the one before. Where it was later, since the
//! kernel or the hypervisor had the CPU, the packets seen then say nothing and are left out; their
//! share is told if it is large. Packets that were lost would make all later times wrong: the
//! share that came is told, too.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use super::Sample;
use crate::judge::contender::{Contender, End, Kind};
use crate::judge::generator::{Source, Traffic, stay_on};
use crate::judge::machine::CONTROL_CPU;
use crate::judge::memif::Memif;
use crate::judge::scenario::Rules;

/// Measures one contender; its rate is the load at which its latencies are told.
pub(super) fn sample(kind: Kind, traffic: &Traffic, rules: &Rules, seconds: f64) -> Result<Sample> {
    let contender = Contender::start(kind, rules, &[End::Memif, End::Memif])?;
    let (from, to) = (contender.memif(1), contender.memif(2));
    let rings = contender.transmit_rings();
    let usage = contender.usage()?;
    let run = || -> Result<Sample> {
        stay_on(CONTROL_CPU)?;
        let mut prober = Prober::connect(&from, &to, rings, traffic)?;
        prober.run(f64::INFINITY, WARM_UP)?;
        let most = prober
            .run(f64::INFINITY, Duration::from_secs_f64(seconds))?
            .rate;
        ensure!(most > 0.0, "no packet comes through");
        prober.run(most / 2.0, WARM_UP)?;
        let half = prober.run(most / 2.0, Duration::from_secs_f64(seconds))?;
        ensure!(half.came > half.unseen, "no packet could be timed");
        Ok(Sample {
            mpps: half.rate / 1e6,
            clock_mpps: half.rate / 1e6,
            latency_us: Some([0.5, 0.99, 0.999].map(|share| half.times.within_us(share))),
            delivered: Some(half.came as f64 / half.sent.max(1) as f64),
            unseen: half.unseen as f64 / half.came.max(1) as f64,
            ..Sample::default()
        })
    };
    let ended = std::thread::scope(|scope| scope.spawn(run).join());
    let mut sample = ended.map_err(|_| anyhow!("the prober panicked"))??;
    sample.others = contender.usage()?.others_since(usage);
    Ok(sample)
}

/// Both ends.
struct Prober {
    source: Source,
    sink: Memif,
    /// When frames were sent that have not come yet: how many, time.
    under_way: VecDeque<(u64, Instant)>,
}

/// What one run told.
#[derive(Default)]
struct Told {
    /// Packets that came in a second.
    rate: f64,
    sent: u64,
    came: u64,
    /// Packets that came while nobody looked.
    unseen: u64,
    times: Times,
}

impl Prober {
    fn connect(from: &Path, to: &Path, rings: u16, traffic: &Traffic) -> Result<Prober> {
        Ok(Prober {
            source: Source::new(from, rings, traffic)?,
            sink: Memif::connect(to, rings, 0)?,
            under_way: VecDeque::new(),
        })
    }

    /// Sends so many frames a second for a while, then waits for those under way.
    fn run(&mut self, rate: f64, time: Duration) -> Result<Told> {
        let (mut told, start) = (Told::default(), Instant::now());
        let (mut looked, mut now, mut due) = (start, start, 0.0);
        while looked < start + time {
            let before = std::mem::replace(&mut now, Instant::now());
            let passed = (now - before).min(LOOK_MAX).as_secs_f64();
            due += rate.min(RATE_MAX) * passed;
            let sent = self.source.send_some(due as usize)?;
            due = (due - sent as f64).clamp(0.0, DUE_MAX);
            self.note_sent(sent, now, &mut told);
            looked = self.look(looked, &mut told)?;
        }
        told.rate = told.came as f64 / start.elapsed().as_secs_f64();
        let (mut came, mut end) = (told.came, looked + DRAIN_MAX);
        while told.came < told.sent && looked < end {
            looked = self.look(looked, &mut told)?;
            if told.came > came {
                (came, end) = (told.came, looked + DRAIN_MAX);
            }
        }
        self.under_way.clear();
        Ok(told)
    }

    fn note_sent(&mut self, sent: usize, now: Instant, told: &mut Told) {
        if sent > 0 {
            told.sent += sent as u64;
            self.under_way.push_back((sent as u64, now));
        }
    }

    /// Notes what has come; when that was.
    fn look(&mut self, before: Instant, told: &mut Told) -> Result<Instant> {
        let mut came = u64::from(self.sink.receive()?);
        let now = Instant::now();
        told.came += came;
        let is_late = now - before > LOOK_MAX;
        while came > 0
            && let Some((count, sent)) = self.under_way.front_mut()
        {
            let these = came.min(*count);
            match is_late {
                true => told.unseen += these,
                false => told.times.note(now - *sent, these),
            }
            came -= these;
            *count -= these;
            if *count == 0 {
                self.under_way.pop_front();
            }
        }
        Ok(now)
    }
}

/// Packets by the time they took.
struct Times(Vec<u64>);

impl Default for Times {
    fn default() -> Times {
        Times(vec![0; STEPS])
    }
}

impl Times {
    fn note(&mut self, time: Duration, packets: u64) {
        let step = (time.as_nanos() / STEP_NS) as usize;
        self.0[step.min(STEPS - 1)] += packets;
    }

    /// Microseconds within which this share of the packets was through.
    fn within_us(&self, share: f64) -> f64 {
        let all: u64 = self.0.iter().sum();
        let mut sum = 0;
        let reaches = |packets: &u64| {
            sum += packets;
            sum as f64 >= share * all as f64
        };
        let step = self.0.iter().position(reaches).unwrap_or(0);
        (step + 1) as f64 * STEP_NS as f64 / 1000.0
    }
}

/// So that flows are known and rates are steady.
const WARM_UP: Duration = Duration::from_secs(1);
/// A look that is later than this after the one before says nothing of what it sees.
const LOOK_MAX: Duration = Duration::from_micros(20);
/// No contender takes more a second: what is to be sent at once stays a number.
const RATE_MAX: f64 = 1e9;
/// Frames that are sent late are not sent all at once.
const DUE_MAX: f64 = 64.0;
/// What does not come for so long does not come at all.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// How fine times are told, and up to which: 20 ms.
const STEP_NS: u128 = 100;
const STEPS: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_times_that_so_many_packets_took_at_most() {
        let mut times = Times::default();
        times.note(Duration::from_nanos(1_950), 500);
        times.note(Duration::from_nanos(9_950), 490);
        times.note(Duration::from_secs(1), 10);
        assert_eq!(times.within_us(0.5), 2.0);
        assert_eq!(times.within_us(0.99), 10.0);
        assert_eq!(times.within_us(0.999), STEPS as f64 * 0.1);
    }
}
