//! Connection tracking of packets under execution: what an operation asks for, and what becomes of
//! the packet and its key by the answer.
//!
//! Called by `execute`. Connections are in a table that all workers share
//! ([`flowtable::conntrack`]); here is a worker's way into it.

use std::ops::ControlFlow::Break;

use flowtable::conntrack::{self, Item, Known, Refusal, Tracker, Tuple, Verdict};
use flowtable::{Carried, FlowKey, parse};

use super::edit::Parcel;
use super::rewrite::{Frame, Headers, nat};
use crate::action::{DropReason, Track};

/// What connection tracking said of a packet before: in its zone it says the same again.
#[derive(Clone, Copy, Debug)]
pub struct Tracked {
    zone: u16,
    known: Option<Known>,
    is_translated: bool,
}

/// A worker's connection tracking.
#[derive(Debug, Default)]
pub struct Tracking {
    /// None if there is no table or it has no room for another worker.
    tracker: Option<Tracker>,
    /// Whether something was tracked since the last [`Tracking::end`].
    has_begun: bool,
}

impl Tracking {
    /// That of a worker that has this way into the table.
    pub fn new(tracker: Option<Tracker>) -> Tracking {
        Tracking {
            tracker,
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

    /// A little housekeeping, between batches.
    pub fn maintain(&mut self, now_ms: u64, budget: usize) {
        if let Some(tracker) = &mut self.tracker {
            tracker.maintain(now_ms, budget);
        }
    }

    /// Tracks a packet and translates it. What it carries then; or why it ends.
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
        let before = parcel
            .tracked
            .filter(|it| it.zone == zone && !track.forgets);
        let packet = conntrack::Packet::read(parcel.packet.data(), &key, &layout, zone);
        let verdict = match packet {
            Some(packet) => {
                let item = Item {
                    packet,
                    known: before.and_then(|it| it.known),
                    is_translated: before.is_some_and(|it| it.is_translated),
                };
                self.ask(track, item, now_ms)
                    .ok_or(DropReason::ConnectionsFull)?
            }
            None => Verdict::invalid(Tuple::default()),
        };
        if let Some(refusal) = verdict.refusal {
            return Err(reason(refusal));
        }
        if let Some(translation) = &verdict.translation {
            let partial = parcel.packet.offload().checksum;
            let mut frame = Frame {
                bytes: parcel.packet.data_mut(),
                headers: parcel.headers,
                partial: partial.map(|partial| partial.start),
            };
            if let Break(reason) = nat::translate(&mut frame, translation) {
                return Err(reason);
            }
        }
        parcel.tracked = Some(Tracked {
            zone,
            known: verdict.known,
            is_translated: before.is_some_and(|it| it.is_translated)
                || verdict.translation.is_some(),
        });
        let mut told = FlowKey::default();
        parcel.carried().write(&mut told);
        tell(&mut told, &verdict, zone);
        Ok(Carried::of(&told))
    }

    fn ask(&mut self, track: &Track, item: Item, now_ms: u64) -> Option<Verdict> {
        let tracker = self.tracker.as_mut()?;
        if !std::mem::replace(&mut self.has_begun, true) {
            tracker.begin(now_ms);
        }
        let mut told = None;
        tracker.track(&track.request, &[item], |_, verdict| told = Some(*verdict));
        told
    }
}

/// Writes what is known of a packet's connection into its key.
#[inline(always)]
pub fn tell(key: &mut FlowKey, verdict: &Verdict, zone: u16) {
    let original = &verdict.original;
    key.ct_state = verdict.bits;
    key.ct_zone = zone;
    key.ct_mark = verdict.mark;
    key.ct_label = verdict.label;
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

#[cfg(test)]
mod tests;
