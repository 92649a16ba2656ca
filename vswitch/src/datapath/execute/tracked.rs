//! Packets that come to an operation that tracks, one by one, and fragments among them.

use flowtable::conntrack::Told::Whole;
use flowtable::{Carried, FlowKey, parse};

use super::super::edit::Parcel;
use super::super::rewrite::Headers;
use super::super::track::{self, Gathered, Told, Waiting};
use super::Executor;
use crate::action::{DropReason, Op, Track};
use crate::pipeline::Ingress;

impl Executor {
    /// Tracks a packet, which then goes on: a copy where the operation says, and the packet with
    /// what is left to do.
    pub(super) fn track(&mut self, track: &Track, ops: &[Op], mut parcel: Parcel) {
        if parcel.is_fragment() {
            return self.gather(track, ops, parcel);
        }
        match self.tracking.track(track, &mut parcel, self.now.ms()) {
            Ok(carried) => self.go_on(track, ops, parcel, carried),
            Err(reason) => self.count_drop(parcel.origin, reason),
        }
    }

    fn go_on(&mut self, track: &Track, ops: &[Op], parcel: Parcel, carried: Carried) {
        match track.point {
            Some(point) if ops.is_empty() => {
                self.recirculate(Ingress::Point(point), carried, parcel);
            }
            Some(point) => {
                if let Some(copy) = self.copy(&parcel) {
                    self.recirculate(Ingress::Point(point), carried, copy);
                }
                self.run(ops, parcel);
            }
            None => self.run(ops, parcel),
        }
    }

    /// Lets a fragment wait for the others of its datagram. With the last of them all go on.
    #[cold]
    fn gather(&mut self, track: &Track, ops: &[Op], parcel: Parcel) {
        self.give_up_fragments();
        let (before, now_ms) = (parcel.tracked, self.now.ms());
        let mut out = std::mem::take(&mut self.fragments);
        match self.tracking.gather(track, parcel, now_ms, &mut out) {
            Gathered::Stray(mut parcel) => match self.tracking.track(track, &mut parcel, now_ms) {
                Ok(carried) => self.go_on(track, ops, parcel, carried),
                Err(reason) => self.count_drop(parcel.origin, reason),
            },
            Gathered::Waits(reason) | Gathered::Ended(reason) => {
                self.drop_fragments(reason, &mut out);
            }
            Gathered::Whole(rest) => {
                let tracked = self
                    .tracking
                    .track_whole(track, (&mut out, rest), before, now_ms);
                match tracked {
                    Ok(told) => self.go_on_all(track, ops, &told, &mut out),
                    Err(reason) => self.drop_fragments(reason, &mut out),
                }
            }
        }
        self.fragments = out;
    }

    /// Lets the fragments of a datagram go on, in order.
    fn go_on_all(&mut self, track: &Track, ops: &[Op], told: &Told, parts: &mut Vec<Waiting>) {
        for part in parts.drain(..) {
            let mut key = FlowKey::default();
            let layout = parse(part.packet.data(), &mut key);
            part.carried.write(&mut key);
            let mut carried = key;
            track::tell(&mut carried, Whole(&told.verdict), track.request.zone);
            let parcel = Parcel {
                packet: part.packet,
                key: &key,
                headers: Headers::new(layout, &key),
                bytes: part.bytes,
                origin: part.origin,
                carries: true,
                tracked: told.tracked,
            };
            self.go_on(track, ops, parcel, Carried::of(&carried));
        }
    }

    /// Drops fragments that have waited too long.
    pub fn give_up_fragments(&mut self) {
        let mut out = std::mem::take(&mut self.fragments);
        self.tracking.give_up(self.now.ms(), &mut out);
        self.drop_fragments(DropReason::FragmentTimeout, &mut out);
        self.fragments = out;
    }

    fn drop_fragments(&mut self, reason: DropReason, out: &mut Vec<Waiting>) {
        for part in out.drain(..) {
            self.count_drop(part.origin, reason);
        }
    }
}
