//! Batches of packets that are tracked first: looked up together, so that the loads of their
//! connections overlap, and translated where they are. Called by `engine` for nearly every packet
//! of a connection; [`super::super::execute`] does the same with packets one by one.
//!
//! How: each packet has a request of its own, since those of one batch may be tracked in many
//! zones. Packets that go on at recirculation points stay in the batch, and what was parsed of them
//! stays where it is: what connection tracking said is written into their keys, and the next look
//! at the cache is at these. Packets that cannot be tracked by their headers alone are taken out
//! before.

use std::ops::ControlFlow::{Break, Continue};

use arrayvec::ArrayVec;
use flowtable::conntrack::{self, Item, Told, Verdict};
use flowtable::{Carried, CodeNo, Depth, FlowKey, Layout};
use pmd::{BATCH_MAX, Batch, Packet};

use super::super::execute::{Executor, Recirculated};
use super::super::rewrite::{Fate, nat};
use super::super::track::{self, Tracked};
use super::engine::{Engine, Entry};
use super::parsed::{Kept, Parsed};
use crate::action::{Cache, Op, PortNo, Routine, Track};
use crate::pipeline::{Ingress, Places};

/// Where a tracked packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Point(u32),
    Output(PortNo),
}

/// Packets to be tracked.
type Items = ArrayVec<Item, BATCH_MAX>;

/// What is to be done with each of them.
type Tracks<'a> = ArrayVec<(&'a Track, Way), BATCH_MAX>;

impl Engine {
    /// Whether a packet with this code is tracked first, and there is one way to go from there.
    #[inline]
    pub(super) fn tracks(&self, code: CodeNo) -> bool {
        self.executor.tracking.is_possible() && way(&self.cache, code).is_some()
    }

    /// Tracks a batch if all of its packets are to be tracked first; `false`, and nothing is done,
    /// if not.
    pub(super) fn track_those(
        &mut self,
        entry: &Entry,
        codes: &mut [CodeNo],
        batch: &mut Batch,
    ) -> bool {
        let mut last = CodeNo::MISS;
        for code in codes.iter() {
            if *code != last && !(code.is_known() && self.tracks(*code)) {
                return false;
            }
            last = *code;
        }
        self.track_all(entry, codes, batch);
        true
    }

    /// Tracks a batch all of whose packets are to be tracked first. Those that go on at a point are
    /// left in it.
    #[inline(never)]
    pub(super) fn track_all(&mut self, entry: &Entry, codes: &mut [CodeNo], batch: &mut Batch) {
        let mut items = Items::new();
        let (mut tracks, known) = (Tracks::new(), (&self.cache, &*codes));
        let room = (&mut items, &mut tracks);
        let odd = self.parsed.read_all(entry, known, batch, room);
        if odd == 0 {
            let items = (&*tracks, &*items);
            return self.parsed.track(entry, items, batch, &mut self.executor);
        }
        drop(tracks);
        self.run_odd(entry, codes, batch, odd);
        let left = codes.iter().take(batch.len());
        let tracks: Tracks = left.filter_map(|code| way(&self.cache, *code)).collect();
        if tracks.len() == items.len() {
            let items = (&*tracks, &*items);
            self.parsed.track(entry, items, batch, &mut self.executor);
        }
    }

    /// Takes packets out of a batch, and runs their programs one by one.
    #[cold]
    fn run_odd(&mut self, entry: &Entry, codes: &mut [CodeNo], batch: &mut Batch, odd: Places) {
        let (mut left, mut places) = (Batch::new(), Kept::default());
        let parsed = Entry {
            depth: Depth::All,
            ..entry.clone()
        };
        for (index, packet) in batch.drain().enumerate() {
            match odd >> index & 1 {
                0 => places.keep(index, packet, &mut left),
                _ => self.run_any(codes[index], &parsed, index, packet),
            }
        }
        batch.append(&mut left);
        self.parsed.close_up(&places);
        places.close_up(codes);
    }

    /// Lets packets that stayed in a batch go on apart, each at the point that its key tells.
    #[cold]
    pub fn set_aside(&mut self, origin: Option<PortNo>, batch: &mut Batch) {
        for (index, packet) in batch.drain().enumerate() {
            let key = &self.parsed.keys[index];
            self.executor.go_again(Recirculated {
                packet,
                ingress: Ingress::Point(key.entry),
                origin,
                carried: Carried::of(key),
                tracked: self.parsed.tracked[index],
                rounds: self.executor.rounds,
            });
        }
    }
}

impl Parsed {
    /// Reads what is to be tracked, and what is to be done with it. Returns the places of packets
    /// that cannot be tracked, or by more than their headers only; of these nothing is read.
    #[inline(always)]
    fn read_all<'a>(
        &mut self,
        entry: &Entry,
        (cache, codes): (&'a Cache, &[CodeNo]),
        batch: &Batch,
        (items, tracks): (&mut Items, &mut Tracks<'a>),
    ) -> Places {
        if entry.depth < Depth::All {
            self.parse_all(Depth::All, entry.number, batch);
        }
        let mut odd = 0;
        let (mut last, mut track) = (CodeNo::MISS, None);
        for (index, (packet, code)) in batch.iter().zip(codes).enumerate() {
            if *code != last {
                (last, track) = (*code, way(cache, *code));
            }
            let is_read = match track {
                Some((track, _)) => self.read(entry, track, (index, packet), items),
                None => false,
            };
            match track.filter(|_| is_read) {
                Some(track) => tracks.push(track),
                None => odd |= 1 << index,
            }
        }
        odd
    }

    /// Reads what is to be tracked of a packet, if its headers tell that and its checksums are
    /// right; returns whether that is so.
    #[inline(always)]
    fn read(
        &self,
        entry: &Entry,
        track: &Track,
        (index, packet): (usize, &Packet),
        items: &mut Items,
    ) -> bool {
        let (key, layout) = (&self.keys[index], self.headers[index].layout());
        let (zone, frame) = (track.request.zone, packet.data());
        let before = match entry.carries && !track.forgets {
            true => self.tracked[index],
            false => None,
        };
        if !self.are_right && !track::has_right_sums(packet, key, layout) {
            return false;
        }
        let before = before.filter(|it| it.is_of(zone));
        // What nearly all packets are is put together where it stays.
        if let Some(read) = conntrack::Packet::read_plain(frame, key, layout, zone) {
            items.push(Tracked::item(before, read));
            return true;
        }
        if let Some(read) = conntrack::Packet::read_udp(key, layout, zone) {
            items.push(Tracked::item(before, read));
            return true;
        }
        read_any(frame, (key, layout), zone, before, items)
    }

    /// Tracks packets, and lets them go their ways.
    #[inline]
    fn track(
        &mut self,
        entry: &Entry,
        (tracks, items): (&[(&Track, Way)], &[Item]),
        batch: &mut Batch,
        executor: &mut Executor,
    ) {
        let left = self.ask(entry, (tracks, items), batch, executor);
        self.part(entry, tracks, batch, executor, left);
    }

    /// Asks about packets, changes them as their connections want, and writes into their keys what
    /// is known of them and where they go on. Returns the places of those that have not ended.
    #[inline(always)]
    fn ask(
        &mut self,
        entry: &Entry,
        (tracks, items): (&[(&Track, Way)], &[Item]),
        batch: &mut Batch,
        executor: &mut Executor,
    ) -> Places {
        let (mut left, mut heard) = (0, ArrayVec::<(usize, Verdict), BATCH_MAX>::new());
        let now_ms = executor.now.ms();
        let Some(tracker) = executor.tracking.begun(now_ms) else {
            return 0;
        };
        let (ports, mut packets) = (&mut executor.ports, batch.iter_mut());
        let request = |at: usize| &tracks[at].0.request;
        tracker.track_each(items, request, |at, told| {
            let Some(packet) = packets.next() else {
                return;
            };
            let (item, way) = (&items[at], &tracks[at].1);
            let fate = match told {
                Told::Brief(..) => self.go(entry, (at, item), packet, (told, way)),
                Told::Whole(verdict) => {
                    if track::is_heard(item, verdict) {
                        heard.push((at, *verdict));
                    }
                    self.go_on(entry, (at, item), packet, (verdict, way))
                }
            };
            match fate {
                Continue(()) => left |= 1 << at,
                Break(reason) => ports.count_drops(entry.origin, reason, 1),
            }
        });
        for (at, verdict) in &heard {
            if left >> at & 1 == 1 {
                left &= !self.listen(entry, (*at, &items[*at]), verdict, batch, executor);
            }
        }
        left
    }

    /// Changes a packet as its connection wants, and writes what is said of it into its key. What
    /// is said briefly has code of its own: in line, and without what it never says.
    #[inline(always)]
    fn go(
        &mut self,
        entry: &Entry,
        (at, item): (usize, &Item),
        packet: &mut Packet,
        (told, way): (Told<'_>, &Way),
    ) -> Fate {
        track::carry_out(packet, self.headers[at], told)?;
        if let Some(key) = self.key_behind(entry, at, way) {
            track::tell(key, told, item.packet.tuple.zone);
            self.retarget(at, told, packet);
            self.tracked[at] = Some(Tracked::of(item, told));
        }
        Continue(())
    }

    /// The same of what is said at length, out of line.
    #[inline(never)]
    fn go_on(
        &mut self,
        entry: &Entry,
        item: (usize, &Item),
        packet: &mut Packet,
        (verdict, way): (&Verdict, &Way),
    ) -> Fate {
        self.go(entry, item, packet, (Told::Whole(verdict), way))
    }

    /// The key of a packet that goes on at a point, with what it carries but of connections.
    #[inline(always)]
    fn key_behind(&mut self, entry: &Entry, at: usize, way: &Way) -> Option<&mut FlowKey> {
        let Way::Point(point) = way else {
            return None;
        };
        let key = &mut self.keys[at];
        if !entry.carries {
            Carried::clear_tunnel(key);
        }
        key.entry = *point;
        Some(key)
    }

    /// Brings the key of a packet that was translated up to date.
    #[inline(always)]
    fn retarget(&mut self, at: usize, told: Told<'_>, packet: &Packet) {
        let Some(translation) = told.translation() else {
            return;
        };
        if matches!(told, Told::Whole(_)) && translation.embedded.is_some() {
            let entry = self.keys[at].entry;
            return self.parse(Depth::All, entry, at, packet);
        }
        nat::retarget(&mut self.keys[at], self.headers[at].layout(), translation);
    }

    /// Lets who reads a connection's packets read one. Returns its place if it ended there.
    #[cold]
    fn listen(
        &mut self,
        entry: &Entry,
        (at, item): (usize, &Item),
        verdict: &Verdict,
        batch: &mut Batch,
        executor: &mut Executor,
    ) -> Places {
        let Some(packet) = batch.iter_mut().nth(at) else {
            return 0;
        };
        let layout = *self.headers[at].layout();
        let fate = executor.tracking.listen(packet, item, verdict, &layout);
        if let Break(reason) = fate {
            executor.count_end(entry.origin, Some(reason));
            return 1 << at;
        }
        // Its payload may be longer or shorter now.
        let number = self.keys[at].entry;
        self.parse(Depth::All, number, at, packet);
        self.bytes[at] = packet.len() as u32;
        0
    }

    /// Lets the packets of a batch go their ways. Those that go on at points are left.
    #[inline(always)]
    fn part(
        &mut self,
        entry: &Entry,
        tracks: &[(&Track, Way)],
        batch: &mut Batch,
        executor: &mut Executor,
        left: Places,
    ) {
        let Some((_, first)) = tracks.first() else {
            return;
        };
        let all = Places::MAX >> (BATCH_MAX - tracks.len());
        let output = match first {
            Way::Output(port) => Some(*port),
            Way::Point(_) => None,
        };
        let alike = |way: &Way| match output {
            Some(_) => way == first,
            None => matches!(way, Way::Point(_)),
        };
        let is_one = tracks.iter().all(|(_, way)| alike(way));
        match output {
            Some(port) if is_one && left == all => {
                executor.output_batch(port, entry.origin, batch);
            }
            None if is_one && left == all => {}
            _ => self.part_each(entry, tracks, batch, executor, left),
        }
    }

    /// The same one by one.
    #[inline(never)]
    fn part_each(
        &mut self,
        entry: &Entry,
        tracks: &[(&Track, Way)],
        batch: &mut Batch,
        executor: &mut Executor,
        left: Places,
    ) {
        let (mut stay, mut places) = (Batch::new(), Kept::default());
        for (index, packet) in batch.drain().enumerate() {
            if left >> index & 1 == 0 {
                continue;
            }
            match tracks[index].1 {
                Way::Output(port) => executor.output(port, packet, entry.origin),
                Way::Point(_) => places.keep(index, packet, &mut stay),
            }
        }
        batch.append(&mut stay);
        self.close_up(&places);
    }
}

/// Reads what is to be tracked of a packet of any kind; returns whether its headers tell that.
#[inline(never)]
fn read_any(
    frame: &[u8],
    (key, layout): (&FlowKey, &Layout),
    zone: u16,
    before: Option<Tracked>,
    items: &mut Items,
) -> bool {
    let read = conntrack::Packet::read(frame, key, layout, zone);
    if let Some(packet) = read {
        items.push(Tracked::item(before, packet));
    }
    read.is_some()
}

/// What is to be done with packets that have this code, if they are tracked first and there is one
/// way to go from there.
#[inline]
fn way(cache: &Cache, code: CodeNo) -> Option<(&Track, Way)> {
    let Routine(program) = cache.code(code)?;
    match (&*program.ops, program.drop) {
        ([Op::Track(track)], None) => Some((track, Way::Point(track.point?))),
        ([Op::Track(track), Op::Output(port)], None) if track.point.is_none() => {
            Some((track, Way::Output(*port)))
        }
        _ => None,
    }
}
