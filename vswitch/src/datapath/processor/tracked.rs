//! Batches of packets that are all tracked alike: looked up together, so that the loads of their
//! connections overlap, and translated where they are. Called by `engine` for nearly every packet
//! of a connection; [`super::super::execute`] does the same with packets one by one.

use std::ops::ControlFlow::Break;
use std::sync::Arc;

use arrayvec::ArrayVec;
use flowtable::conntrack::{self, Item, Verdict};
use flowtable::{Carried, CodeNo, Depth};
use pmd::{BATCH_MAX, Batch, Packet};

use super::super::execute::Recirculated;
use super::super::track::{self, Tracked};
use super::engine::{Engine, Entry};
use crate::action::{Op, PortNo, Routine, Track};
use crate::pipeline::Ingress;

/// Where tracked packets go.
#[derive(Clone, Copy)]
enum Way {
    Point(u32),
    Output(PortNo),
}

impl Engine {
    /// Tracks a batch whose packets all have this code, if that is the first thing to be done and
    /// there is one way to go from there; `false`, and nothing is done, if they must be looked at
    /// one by one.
    #[inline(never)]
    pub(super) fn track_all(&mut self, entry: &Entry, code: CodeNo, batch: &mut Batch) -> bool {
        let Some(Routine(program)) = self.cache.code(code) else {
            return false;
        };
        let (track, way) = match &*program.ops {
            [Op::Track(track)] => (track, track.point.map(Way::Point)),
            [Op::Track(track), Op::Output(port)] if track.point.is_none() => {
                (track, Some(Way::Output(*port)))
            }
            _ => return false,
        };
        let (track, Some(way)) = (Arc::clone(track), way) else {
            return false;
        };
        let Some(items) = self.items(entry, &track, batch) else {
            return false;
        };
        let mut verdicts = ArrayVec::<Verdict, BATCH_MAX>::new();
        let (now_ms, tracking) = (self.executor.now.ms(), &mut self.executor.tracking);
        if !tracking.ask_all(&track, &items, now_ms, &mut verdicts) {
            return false;
        }
        let told = items.iter().zip(&verdicts).enumerate();
        for ((index, (item, verdict)), packet) in told.zip(batch.drain()) {
            self.go_on(entry, &track, way, (index, item, verdict), packet);
        }
        true
    }

    /// What is to be tracked; none if that of some packet takes more than its headers, or it cannot
    /// be tracked.
    fn items(
        &mut self,
        entry: &Entry,
        track: &Track,
        batch: &Batch,
    ) -> Option<ArrayVec<Item, BATCH_MAX>> {
        let zone = track.request.zone;
        let mut items = ArrayVec::new();
        for (index, packet) in batch.iter().enumerate() {
            if entry.depth < Depth::All {
                self.parsed.parse(Depth::All, entry.number, index, packet);
            }
            let (key, layout) = (
                &self.parsed.keys[index],
                self.parsed.headers[index].layout(),
            );
            let read = conntrack::Packet::read(packet.data(), key, layout, zone)?;
            if !track::has_right_sums(packet, key, layout) {
                return None;
            }
            let before = match entry.carries && !track.forgets {
                true => self.parsed.tracked[index],
                false => None,
            };
            items.push(Tracked::item(before, read, zone));
        }
        Some(items)
    }

    /// Does what connection tracking said with a packet.
    fn go_on(
        &mut self,
        entry: &Entry,
        track: &Track,
        way: Way,
        (index, item, verdict): (usize, &Item, &Verdict),
        mut packet: Packet,
    ) {
        let (executor, origin) = (&mut self.executor, entry.origin);
        let headers = self.parsed.headers[index];
        let changed = executor
            .tracking
            .carry_out(&mut packet, headers, item, verdict);
        if let Break(reason) = changed {
            return executor.count_end(origin, Some(reason));
        }
        let point = match way {
            Way::Output(port) => return executor.output(port, packet, origin),
            Way::Point(point) => point,
        };
        let key = &mut self.parsed.keys[index];
        if !entry.carries {
            Carried::NONE.write(key);
        }
        track::tell(key, verdict, track.request.zone);
        executor.go_again(Recirculated {
            packet,
            ingress: Ingress::Point(point),
            origin,
            carried: Carried::of(key),
            tracked: Some(Tracked::of(item, verdict)),
        });
    }
}
