//! Fragments that come to an operation that tracks: they wait until all of their datagram are
//! there, are tracked as one packet, and go on as they came, each with what was found out and each
//! translated.
//!
//! Called by `execute`. Waiting fragments are in a table that all workers share
//! ([`flowtable::fragments`]), for a NIC may spread those of a datagram over queues. Whoever brings
//! the last takes all of them on: they go the way that the last one goes, as in Open vSwitch.

use std::ops::ControlFlow::{Break, Continue};

use flowtable::conntrack::Told::Whole;
use flowtable::conntrack::{self, Tuple, Verdict};
use flowtable::fragments::{Fate, Flaw, Fragment, Fragments, Rest};
use flowtable::{Carried, FlowKey, has_right_checksums, parse};
use pmd::Packet;

use super::super::edit::Parcel;
use super::super::rewrite::{self, Headers, MALFORMED, nat, payload};
use super::{Tracked, Tracking, frame, reason};
use crate::action::{DropReason, PortNo, Track};

/// A fragment that waits for others, and what it takes to go on.
#[derive(Debug)]
pub struct Waiting {
    /// The fragment.
    pub packet: Packet,
    /// What it carries of its own.
    pub carried: Carried,
    /// The port it came in by.
    pub origin: Option<PortNo>,
    /// Its length as it came in.
    pub bytes: u32,
}

/// Fragments that wait, of all workers.
pub type Held = Fragments<Waiting>;

/// What becomes of a fragment.
#[derive(Debug)]
pub enum Gathered<'a> {
    /// It is one of no datagram, so it does not wait.
    Stray(Parcel<'a>),
    /// It waits. What else had to go for it ends for this reason.
    Waits(DropReason),
    /// All of its datagram are there.
    Whole(Rest),
    /// It ends for this reason, and what goes with it.
    Ended(DropReason),
}

/// What was found out about a datagram.
#[derive(Debug)]
pub struct Told {
    /// What is known.
    pub verdict: Verdict,
    /// The same for operations to come.
    pub tracked: Option<Tracked>,
}

impl Tracking {
    /// Takes a fragment. `out`, which is empty, gets all of a whole datagram, or what ends.
    pub fn gather<'a>(
        &mut self,
        track: &Track,
        parcel: Parcel<'a>,
        now_ms: u64,
        out: &mut Vec<Waiting>,
    ) -> Gathered<'a> {
        let (mut key, zone) = (FlowKey::default(), track.request.zone);
        let layout = parse(parcel.packet.data(), &mut key);
        let read = Fragment::read(parcel.packet.data(), &key, &layout, zone, track.site);
        let (Some(held), Some(fragment)) = (&self.held, read) else {
            return Gathered::Stray(parcel);
        };
        let port = parcel.origin.map_or(NO_PORT, |origin| origin.0 as u16);
        let owner = u32::from(zone) << 16 | u32::from(port);
        let waiting = Waiting {
            carried: parcel.carried(),
            origin: parcel.origin,
            bytes: parcel.bytes,
            packet: parcel.packet,
        };
        match held.take(&fragment, owner, waiting, now_ms, out) {
            Fate::Held => Gathered::Waits(DropReason::FragmentsFull),
            Fate::Whole(rest) => Gathered::Whole(rest),
            Fate::Refused(flaw) => Gathered::Ended(ended(flaw)),
        }
    }

    /// Hands out fragments whose time is over.
    pub fn give_up(&self, now_ms: u64, out: &mut Vec<Waiting>) {
        if let Some(held) = &self.held {
            held.expire(now_ms, out);
        }
    }

    /// Tracks a datagram of which all fragments are there, and translates each. `before` is what
    /// was said of it before. What is known then; or why all of them end.
    pub fn track_whole(
        &mut self,
        track: &Track,
        (parts, rest): (&mut [Waiting], Rest),
        before: Option<Tracked>,
        now_ms: u64,
    ) -> Result<Told, DropReason> {
        let zone = track.request.zone;
        let (read, is_right) = read(parts, rest, zone);
        let Some(packet) = read.filter(|_| is_right) else {
            let tuple = read.map_or(Tuple::default(), |packet| packet.tuple);
            return Ok(Told {
                verdict: Verdict::invalid(tuple),
                tracked: None,
            });
        };
        let before = before.filter(|it| !track.forgets && it.is_of(zone));
        let item = Tracked::item(before, packet);
        let verdict = self.ask(track, item, now_ms)?;
        if let Some(refusal) = verdict.refusal {
            return Err(reason(refusal));
        }
        match change(parts, rest, &verdict) {
            Break(reason) => Err(reason),
            Continue(()) => Ok(Told {
                tracked: Some(Tracked::of(&item, Whole(&verdict))),
                verdict,
            }),
        }
    }
}

/// The datagram as a packet to be tracked, if it can be, and whether its checksums are right.
fn read(parts: &[Waiting], rest: Rest, zone: u16) -> (Option<conntrack::Packet>, bool) {
    let mut packet = None;
    let mut is_right = true;
    for (index, part) in parts.iter().enumerate() {
        let mut key = FlowKey::default();
        let frame = part.packet.data();
        let layout = parse(frame, &mut key);
        let behind = match index {
            0 => rest,
            _ => Rest::default(),
        };
        if index == 0 {
            packet = conntrack::Packet::read_whole(frame, &key, &layout, zone, rest);
        }
        // Nobody can complete a checksum over bytes of which only some are there.
        let offload = part.packet.offload();
        is_right &= offload.checksum.is_none();
        is_right &= offload.valid || has_right_checksums(frame, &key, &layout, behind);
    }
    (packet, is_right)
}

/// Changes addresses of all fragments, and ports and sequence numbers of the first. What a helper
/// would change in the payload is left alone: lengths of fragments cannot change.
fn change(parts: &mut [Waiting], rest: Rest, verdict: &Verdict) -> rewrite::Fate {
    for (index, part) in parts.iter_mut().enumerate() {
        let mut key = FlowKey::default();
        let layout = parse(part.packet.data(), &mut key);
        let mut frame = frame(&mut part.packet, Headers::new(layout, &key));
        match (&verdict.translation, index) {
            (Some(translation), 0) => nat::translate_first(&mut frame, translation, rest.len)?,
            (Some(translation), _) => nat::translate_later(&mut frame, translation)?,
            (None, _) => {}
        }
        if let (Some(by), 0) = (verdict.shift, index) {
            payload::shift(&mut frame, by)?;
        }
    }
    match parts.is_empty() {
        true => MALFORMED,
        false => Continue(()),
    }
}

/// Why a fragment ends that is refused.
fn ended(flaw: Flaw) -> DropReason {
    match flaw {
        Flaw::Malformed | Flaw::Tiny => DropReason::FragmentMalformed,
        Flaw::Duplicate | Flaw::Overlap => DropReason::FragmentOverlap,
        Flaw::TooMany | Flaw::Busy => DropReason::FragmentsFull,
    }
}

/// Stands for packets that came in by no port.
const NO_PORT: u16 = u16::MAX;

#[cfg(test)]
mod tests;
