//! Connections that a contender tracks: how fast they begin, how many there are, what memory they
//! take and how fast they end (RFC 9693 §4.5 to §4.7).
//!
//! How. A rate as ever, of packets that begin connections. Then the generator goes on until each of
//! its frames was sent, if they are to be many, and what the contender says of its connections is
//! set against the memory that it has with room for hardly any. Last it is told to forget them all,
//! by the command that its operators have, which is timed until none is left and, of ours, where
//! that command takes no time, until all their memory can be used again.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::Sample;
use super::stand::Stand;
use crate::judge::contender::Kind;
use crate::judge::generator::Traffic;
use crate::judge::scenario::{Rules, Scenario};

/// Measures one contender; `None` if it tracks none.
pub(super) fn sample(
    kind: Kind,
    scenario: &Scenario,
    traffic: &Traffic,
    rules: &Rules,
    seconds: f64,
) -> Result<Option<Sample>> {
    if kind == Kind::Testpmd {
        return Ok(None);
    }
    let bare = Stand::memory_without_connections(kind, scenario, rules)?;
    let stand = Stand::start(kind, scenario, traffic, rules)?;
    let mut sample = stand.measure(seconds)?;
    let contender = stand.pause();
    let count = contender.connections()?;
    ensure!(count > 0.0, "it tracks no connection");
    sample.connections = Some(count / 1e6);
    sample.bytes = Some((contender.memory_bytes()? - bare) / count);
    let start = Instant::now();
    contender.end_connections()?;
    let took = start.elapsed().as_secs_f64();
    let left = contender.connections()?;
    // Packets may still be on their way that begin one.
    ensure!(left <= count / 1000.0, "{left} connections are left");
    sample.tear_downs = Some(count / took / 1e6);
    stand.stop()?;
    Ok(Some(sample))
}
