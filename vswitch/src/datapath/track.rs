//! Connection tracking of packets under execution: what an operation asks for, and what becomes of
//! the packet and its key by the answer.
//!
//! Called by `execute`. Connections are in a table that all workers share
//! ([`flowtable::conntrack`]); here is a worker's way into it. Fragments wait in another
//! ([`fragments`]) until all of their datagram are there.

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

use flowtable::conntrack::Told::{Brief, Whole};
use flowtable::conntrack::{self, Body, Item, Known, Refusal, Tracker, Tuple, Verdict};
use flowtable::fragments::Rest;
use flowtable::{Carried, FlowKey, Layout, has_right_checksums, parse};

use super::edit::Parcel;
use super::rewrite::{Fate, Frame, Headers, MALFORMED, nat, payload};
use crate::action::{DropReason, Track};
pub use fragments::{Gathered, Held, Told, Waiting};

mod fragments;

/// What connection tracking said of a packet before: in its zone it says the same again.
#[derive(Clone, Copy, Debug)]
pub struct Tracked {
    zone: u16,
    known: Option<Known>,
    is_translated: bool,
}

impl Tracked {
    /// Whether it was said in this zone.
    #[inline(always)]
    pub fn is_of(&self, zone: u16) -> bool {
        self.zone == zone
    }

    /// A packet to be tracked, with what was said of it in the same zone before.
    #[inline(always)]
    pub fn item(before: Option<Tracked>, packet: conntrack::Packet) -> Item {
        Item {
            packet,
            known: before.and_then(|it| it.known),
            is_translated: before.is_some_and(|it| it.is_translated),
        }
    }

    /// What was said of a packet now.
    #[inline(always)]
    pub fn of(item: &Item, told: conntrack::Told<'_>) -> Tracked {
        let was_translated = match told {
            Brief(..) => false,
            Whole(_) => item.is_translated,
        };
        Tracked {
            zone: item.packet.tuple.zone,
            known: told.known(),
            is_translated: was_translated || told.translation().is_some(),
        }
    }
}

/// A worker's connection tracking.
#[derive(Debug, Default)]
pub struct Tracking {
    /// None if there is no table or it has no room for another worker.
    tracker: Option<Tracker>,
    /// Fragments that wait for others.
    held: Option<Arc<Held>>,
    /// Whether something was tracked since the last [`Tracking::end`].
    has_begun: bool,
}

impl Tracking {
    /// That of a worker that has this way into the table, and shares these fragments.
    pub fn new(tracker: Option<Tracker>, held: Arc<Held>) -> Tracking {
        Tracking {
            tracker,
            held: Some(held),
            has_begun: false,
        }
    }

    /// Ends a batch: what it was told holds no longer.
    #[inline(always)]
    pub fn end(&mut self) {
        if self.has_begun {
            self.has_begun = false;
            self.tracker.iter_mut().for_each(Tracker::end);
        }
    }

    /// A little housekeeping, between batches; whether there may be more to do.
    pub fn maintain(&mut self, now_ms: u64, budget: usize) -> bool {
        let tracker = self.tracker.as_mut();
        tracker.is_some_and(|tracker| tracker.maintain(now_ms, budget))
    }

    /// Tracks a packet that is no fragment, or one of no datagram, and translates it. What it
    /// carries then; or why it ends.
    pub fn track(
        &mut self,
        track: &Track,
        parcel: &mut Parcel,
        now_ms: u64,
    ) -> Result<Carried, DropReason> {
        let mut key = FlowKey::default();
        let layout = parse(parcel.packet.data(), &mut key);
        parcel.headers = Headers::new(layout, &key);
        let zone = track.request.zone;
        let before = parcel.tracked.filter(|_| !track.forgets);
        let read = conntrack::Packet::read(parcel.packet.data(), &key, &layout, zone);
        let is_right = has_right_sums(&parcel.packet, &key, &layout);
        let mut told = FlowKey::default();
        parcel.carried().write(&mut told);
        let Some(packet) = read.filter(|_| is_right) else {
            let tuple = read.map_or(Tuple::default(), |packet| packet.tuple);
            tell(&mut told, Whole(&Verdict::invalid(tuple)), zone);
            return Ok(Carried::of(&told));
        };
        let before = before.filter(|it| it.is_of(zone));
        let item = Tracked::item(before, packet);
        let verdict = &self.ask(track, item, now_ms)?;
        let (packet, headers) = (&mut parcel.packet, parcel.headers);
        let mut fate = carry_out(packet, headers, Whole(verdict));
        if fate.is_continue() && is_heard(&item, verdict) {
            fate = self.listen(packet, &item, verdict, headers.layout());
        }
        if let Break(reason) = fate {
            return Err(reason);
        }
        parcel.tracked = Some(Tracked::of(&item, Whole(verdict)));
        tell(&mut told, Whole(verdict), zone);
        Ok(Carried::of(&told))
    }

    /// Asks about one packet.
    fn ask(&mut self, track: &Track, item: Item, now_ms: u64) -> Result<Verdict, DropReason> {
        let mut answer = None;
        let tracker = self.begun(now_ms).ok_or(DropReason::ConnectionsFull)?;
        tracker.track(&track.request, &[item], |_, it| answer = Some(*it));
        answer.ok_or(DropReason::ConnectionsFull)
    }

    /// Whether there is anybody to ask about packets.
    #[inline(always)]
    pub fn is_possible(&self) -> bool {
        self.tracker.is_some()
    }

    /// Whom to ask about packets, if there is anybody.
    #[inline(always)]
    pub fn begun(&mut self, now_ms: u64) -> Option<&mut Tracker> {
        let tracker = self.tracker.as_mut()?;
        if !std::mem::replace(&mut self.has_begun, true) {
            tracker.begin(now_ms);
        }
        Some(tracker)
    }

    /// Lets who reads a connection's packets read one, and changes its payload if that is what
    /// comes of it.
    #[cold]
    pub fn listen(
        &mut self,
        packet: &mut pmd::Packet,
        item: &Item,
        verdict: &Verdict,
        layout: &Layout,
    ) -> Fate {
        let tracked = &item.packet;
        let l4 = usize::from(layout.l4);
        let header_len = match tracked.body {
            Body::Tcp(_) => packet.data().get(l4 + 12).map_or(0, |byte| byte >> 4) * 4,
            _ => UDP_HEADER_LEN,
        };
        let start = l4 + usize::from(header_len);
        let Some(payload) = packet.data().get(start..layout.end.into()) else {
            return MALFORMED;
        };
        let tracker = self.tracker.as_mut();
        let Some(rewrite) = tracker.and_then(|it| it.listen(tracked, verdict, payload)) else {
            return Continue(());
        };
        let (at, text) = (start + rewrite.at, rewrite.text());
        let by = text.len() as i32 - rewrite.len as i32;
        if by > 0 && packet.append(by as usize).is_none() {
            return Break(DropReason::NoBuffer);
        }
        let len = packet.len();
        let bytes = packet.data_mut();
        let behind = len - by.max(0) as usize;
        bytes.copy_within(at + rewrite.len..behind, at + text.len());
        bytes[at..at + text.len()].copy_from_slice(text);
        if by < 0 {
            packet.truncate(len - by.unsigned_abs() as usize);
        }
        let mut key = FlowKey::default();
        parse(packet.data(), &mut key);
        let moved = Layout {
            end: (i32::from(layout.end) + by) as u16,
            ..*layout
        };
        payload::lengthened(&mut frame(packet, Headers::new(moved, &key)), by)
    }
}

/// Whether a packet's checksums are right, as far as nobody has vouched for them.
#[inline(always)]
pub fn has_right_sums(packet: &pmd::Packet, key: &FlowKey, layout: &Layout) -> bool {
    let offload = packet.offload();
    let is_vouched_for = offload.valid || offload.checksum.is_some();
    is_vouched_for || has_right_checksums(packet.data(), key, layout, Rest::default())
}

/// Whether who reads a connection's packets is to read this one: what it announces is heard once.
#[inline(always)]
pub fn is_heard(item: &Item, verdict: &Verdict) -> bool {
    verdict.helper.is_some() && item.known.is_none()
}

/// Changes addresses, ports and sequence numbers of a packet as its connection wants.
#[inline(always)]
pub fn carry_out(packet: &mut pmd::Packet, headers: Headers, told: conntrack::Told<'_>) -> Fate {
    let (refusal, shift) = match told {
        Brief(..) => (None, None),
        Whole(verdict) => (verdict.refusal, verdict.shift),
    };
    if let Some(refusal) = refusal {
        return Break(reason(refusal));
    }
    if let Some(translation) = told.translation() {
        nat::translate(&mut frame(packet, headers), translation)?;
    }
    match shift {
        Some(shift) => payload::shift(&mut frame(packet, headers), shift),
        None => Continue(()),
    }
}

fn frame(packet: &mut pmd::Packet, headers: Headers) -> Frame<'_> {
    let partial = packet.offload().checksum;
    Frame {
        bytes: packet.data_mut(),
        headers,
        partial: partial.map(|partial| partial.start),
    }
}

/// Writes what is known of a packet's connection into its key.
#[inline(always)]
pub fn tell(key: &mut FlowKey, told: conntrack::Told<'_>, zone: u16) {
    (key.ct_state, key.ct_mark, key.ct_label) = told.state();
    key.ct_zone = zone;
    tell_original(key, &told.original());
}

#[inline(always)]
fn tell_original(key: &mut FlowKey, original: &Tuple) {
    (key.ct_tp_src, key.ct_tp_dst) = original.told_ports();
    key.ct_ip_proto = original.proto.into();
    let (v4, v6) = match original.version {
        6 => ([0; 2], [original.src, original.dst]),
        _ => (
            [original.src[1] as u32, original.dst[1] as u32],
            [[0; 2]; 2],
        ),
    };
    [key.ct_src, key.ct_dst] = v4;
    [key.ct_ipv6_src, key.ct_ipv6_dst] = v6;
}

/// Why a packet ends that was refused a connection.
pub fn reason(refusal: Refusal) -> DropReason {
    match refusal {
        Refusal::Full | Refusal::Busy => DropReason::ConnectionsFull,
        Refusal::ZoneLimit => DropReason::ZoneFull,
        Refusal::NoTuple => DropReason::NoTranslation,
    }
}

const UDP_HEADER_LEN: u8 = 8;

#[cfg(test)]
mod tests;
