//! Two guests that send to each other through a contender.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Sample;
use super::stand::{own_cycles, ran_for};
use crate::judge::contender::{Contender, End, Kind};
use crate::judge::guest::{Guest, PairSpec};
use crate::judge::machine::cycles_hz;
use crate::judge::scenario::Rules;

/// Measures one contender: packets that the guests received, both together.
pub(super) fn sample(kind: Kind, pair: PairSpec, rules: &Rules, seconds: f64) -> Result<Sample> {
    let (guests, contender) = start(kind, pair, rules)?;
    let (counted, usage) = (contender.counted()?, contender.usage()?);
    let (said, start) = (guests.rates().len(), Instant::now());
    let usage_after = ran_for(&contender, usage, seconds)?;
    let took = start.elapsed().as_secs_f64();
    let counted_after = contender.counted()?;
    let ran = usage_after.ran - usage.ran;
    let packets = guests.pps_since(said, START_MAX)? * took;
    drop(contender);
    Ok(Sample {
        mpps: packets / ran / 1e6,
        clock_mpps: packets / took / 1e6,
        cycles: ran * cycles_hz() / packets.max(1.0),
        own_cycles: own_cycles(counted, counted_after),
        others: usage_after.others_since(usage),
        ..Sample::default()
    })
}

/// Where our worker's cycles go meanwhile.
pub(super) fn profile(pair: PairSpec, rules: &Rules, seconds: f64) -> Result<Vec<(f64, String)>> {
    let (_guests, contender) = start(Kind::Ours, pair, rules)?;
    contender.profile(seconds)
}

/// Guests and a contender between them, once packets flow.
fn start(kind: Kind, pair: PairSpec, rules: &Rules) -> Result<(Guest, Contender)> {
    let guests = Guest::pair(pair)?;
    let ends = [1, 2].map(|number| End::Guest(guests.socket(number)));
    let contender = Contender::start(kind, rules, &ends)?;
    guests.await_packets(START_MAX)?;
    std::thread::sleep(WARM_UP);
    Ok((guests, contender))
}

const START_MAX: Duration = Duration::from_secs(20);
/// Until rates are steady.
const WARM_UP: Duration = Duration::from_secs(1);
