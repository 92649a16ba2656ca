//! A worker's way into connection tracking: batches of packets in, verdicts out, and a little
//! housekeeping between batches.

use core::hint::black_box;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use super::create::Failure;
use super::index::Found;
use super::nat::Translation;
use super::packet::{Body, Packet, Segment};
use super::protocol::{Outcome, follow, open, slide};
use super::record::{
    DNAT, DYING, Direction, EXPECTED, HELPED, LABELLED, Record, SHIFTED, SNAT, State,
};
use super::shift::Shift;
use super::tcp::Strictness;
use super::timeout::Timeout;
use super::verdict::ct_state::{DNAT as DNAT_BIT, EST, INV, NEW, REL, RPL, SNAT as SNAT_BIT, TRK};
use super::verdict::{Brief, Handle, Helper, Known, Refusal, Request, Tally, Told, Verdict};
use super::{BATCH_MAX, Expectation, Table, Tuple};
use crate::hash::Stream;

/// What one thread needs to track packets. Between [`Tracker::begin`] and [`Tracker::end`] what it
/// was told of connections holds; it should not sleep there, since no memory is taken back
/// meanwhile.
#[derive(Debug)]
pub struct Tracker {
    table: Arc<Table>,
    own: Own,
}

/// What is of a thread's own.
#[derive(Debug)]
pub(super) struct Own {
    pin: usize,
    /// The shard that it prefers, and the one that it looks after next.
    pub shard: usize,
    other: usize,
    /// So many shards to look after before nothing is known of more to do.
    behind: usize,
    now_s: u32,
    pub random: Stream,
    pub tally: Tally,
}

/// A packet, with what was said of it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The packet.
    pub packet: Packet,
    /// What it was told in this zone and batch, if anything.
    pub known: Option<Known>,
    /// It was translated in this zone, so that it looks as its receiver will see it.
    pub is_translated: bool,
}

/// One look at a batch of packets with the same request.
pub(super) struct Scene<'a> {
    pub table: &'a Table,
    pub own: &'a mut Own,
    pub request: &'a Request,
    /// [`Request::is_gentle`].
    is_gentle: bool,
    pub zone_generation: u32,
    pub now_s: u32,
    pub strictness: Strictness,
}

impl Tracker {
    pub(super) fn new(table: &Arc<Table>) -> Option<Tracker> {
        let pin = table.epochs.join()?;
        let shard = pin % table.shards.len();
        Some(Tracker {
            table: Arc::clone(table),
            own: Own {
                pin,
                shard,
                other: shard,
                behind: 0,
                now_s: 0,
                random: Stream(table.secret ^ (pin as u64 + 1)),
                tally: table.accounts.read(pin),
            },
        })
    }

    /// The table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Begins a batch, at this time in milliseconds of a clock that all trackers share. What was
    /// told before is forgotten.
    pub fn begin(&mut self, now_ms: u64) {
        self.own.now_s = seconds(now_ms);
        self.table.epochs.pin(self.own.pin);
    }

    /// Ends the batch.
    pub fn end(&mut self) {
        self.table.epochs.unpin(self.own.pin);
    }

    /// Tracks packets, all of the zone that the request names, in order. `tell` gets the place of
    /// each and what is known of it.
    pub fn track(
        &mut self,
        request: &Request,
        items: &[Item],
        mut tell: impl FnMut(usize, &Verdict),
    ) {
        let tell = |at: usize, told: Told<'_>| match told {
            Told::Brief(brief, tuple) => tell(at, &brief.verdict(tuple)),
            Told::Whole(verdict) => tell(at, verdict),
        };
        self.track_each(items, |_| request, tell);
    }

    /// The same where each packet has a request of its own: that of its place.
    #[inline(always)]
    pub fn track_each<'a>(
        &mut self,
        items: &[Item],
        request_of: impl Fn(usize) -> &'a Request,
        mut tell: impl FnMut(usize, Told<'_>),
    ) {
        let table = &*self.table;
        let mut scene = Scene {
            table,
            zone_generation: 0,
            now_s: self.own.now_s,
            strictness: table.strictness(),
            own: &mut self.own,
            request: &Request::NONE,
            is_gentle: false,
        };
        let mut places = [Place::default(); BATCH_MAX];
        for (batch, items) in items.chunks(BATCH_MAX).enumerate() {
            let request_of = |at| request_of(batch * BATCH_MAX + at);
            scene.fetch(items, &mut places, &request_of);
            for (at, (item, place)) in items.iter().zip(&places).enumerate() {
                scene.set_request(request_of(at));
                let (brief, verdict);
                brief = scene.pass_on(item, place.found);
                let told = match &brief {
                    Some(brief) => Told::Brief(brief, &item.packet.tuple),
                    None => {
                        verdict = scene.judge(item, place);
                        Told::Whole(&verdict)
                    }
                };
                tell(batch * BATCH_MAX + at, told);
            }
        }
    }

    /// Ends connections whose time is over and takes memory back: at most so many of each kind.
    /// Called between batches, and shows [`Table::tally`] what was counted. Returns whether there
    /// may be more to do, for which it should be called again soon.
    pub fn maintain(&mut self, now_ms: u64, budget: usize) -> bool {
        let table = &*self.table;
        let now_s = seconds(now_ms);
        self.own.other = (self.own.other + 1) % table.shards.len();
        let tally = &mut self.own.tally;
        let mut has_more = false;
        for shard in [self.own.shard, self.own.other] {
            let Some(mut held) = table.shards[shard].hold(&table.records, &table.zones) else {
                continue;
            };
            held.collect(&table.epochs);
            has_more |= held.turn(now_s, budget, |numbers| {
                table.end_those_over(numbers, now_s, tally)
            });
            has_more |= held.sweep(table.zones.flushes(), budget, |numbers| {
                table.end_those_over(numbers, now_s, tally);
            });
            held.collect(&table.epochs);
        }
        table.accounts.show(self.own.pin, self.own.tally);
        if self.own.shard == self.own.other {
            table.expectations.expire(now_s);
        }
        // Another shard that has more is met within a round.
        self.own.behind = match has_more {
            true => table.shards.len(),
            false => self.own.behind.saturating_sub(1),
        };
        self.own.behind > 0
    }

    /// Expects a connection that the one of `parent` has announced. Returns whether there was room
    /// and the parent is there.
    pub fn expect(&mut self, parent: Handle, expectation: &Expectation) -> bool {
        let record = self.table.record(parent.number);
        let is_there = record.generation.load(Relaxed) == parent.generation;
        let parent = [parent.number, parent.generation];
        let expectations = &self.table.expectations;
        is_there && expectations.add(expectation, parent, self.own.now_s)
    }

    /// The connection of a tuple, in either direction, within a batch.
    pub fn find(&self, tuple: &Tuple) -> Option<(Handle, Direction)> {
        let table = &*self.table;
        let zone_generation = table.zones.generation(tuple.zone);
        let hash = tuple.hash(&table.hasher);
        let found = table.find(tuple, hash, zone_generation, self.own.now_s)?;
        let record = table.record(found.number);
        Some((record.handle(found.number), found.direction))
    }

    /// Ends a connection that was told in this batch. Returns whether it was there.
    pub fn remove(&mut self, handle: Handle) -> bool {
        let record = self.table.record(handle.number);
        let is_there = record.generation.load(Relaxed) == handle.generation;
        is_there && self.table.retire(handle.number)
    }

    /// What this tracker has counted, and those before it under its pin.
    pub fn tally(&self) -> Tally {
        self.own.tally
    }

    pub(super) fn now_s(&self) -> u32 {
        self.own.now_s
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.table.accounts.show(self.own.pin, self.own.tally);
        self.table.epochs.leave(self.own.pin);
    }
}

/// Where packets of a batch may be found.
type Places = [Place; BATCH_MAX];

/// Where a packet may be found.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Of the tuple under which it is looked for.
    hash: u64,
    found: Option<Found>,
    /// Of its answers' tuple, if that is known.
    reply_hash: Option<u64>,
}

/// Hashes of a connection's tuples that are not translated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashes {
    pub original: u64,
    pub reply: u64,
}

impl<'a> Scene<'a> {
    /// Fetches what a batch will need, so that the CPU waits once: buckets, then records, or for
    /// connections to be made the buckets of their replies. Buckets are asked for and not loaded:
    /// a load that waits for memory soon has all behind it wait, too, and of a batch of which only
    /// some packets are new the others have no time to hide it.
    #[inline(never)]
    fn fetch(
        &self,
        items: &[Item],
        places: &mut Places,
        request_of: &impl Fn(usize) -> &'a Request,
    ) {
        let mut lines = [ptr::null(); BATCH_MAX];
        for ((item, place), line) in items.iter().zip(&mut *places).zip(&mut lines) {
            place.hash = wanted(item).hash(&self.table.hasher);
            *line = self.table.index.line(place.hash);
        }
        (self.table.prefetch)(&lines[..items.len().min(BATCH_MAX)]);
        let (mut loaded, mut replies) = (0, 0);
        for (at, (item, place)) in items.iter().zip(places).enumerate() {
            place.found = self.table.index.find(place.hash, |_| true);
            place.reply_hash = None;
            if let Some(found) = place.found {
                let record = self.table.record(found.number);
                if record.state().has(SNAT | DNAT) {
                    // In the line of the reply's tuple.
                    loaded ^= u64::from(record.parent.load(Relaxed));
                }
                if matches!(item.packet.body, Body::Tcp(_)) {
                    loaded ^= record.seen[0][0].load(Relaxed);
                }
            } else if request_of(at).commits && request_of(at).nat.is_none() {
                let hash = item.packet.tuple.reversed().hash(&self.table.hasher);
                place.reply_hash = Some(hash);
                lines[replies] = self.table.index.line(hash);
                replies += 1;
            }
        }
        if replies > 0 {
            (self.table.prefetch)(&lines[..replies]);
        }
        black_box(loaded);
    }

    #[inline(always)]
    fn set_request(&mut self, request: &'a Request) {
        if !ptr::eq(self.request, request) {
            self.request = request;
            self.is_gentle = request.is_gentle();
            self.zone_generation = self.table.zones.generation(request.zone);
        }
    }

    /// What is known of a packet that only moves the windows of a TCP connection, of which there
    /// is nothing to be done but what is done with all its packets. Nothing if it is another, of
    /// which nothing is done.
    #[inline(always)]
    fn pass_on(&mut self, item: &Item, place: Option<Found>) -> Option<Brief> {
        let Body::Tcp(segment) = &item.packet.body else {
            return None;
        };
        let found = place?;
        if !self.is_gentle | item.known.is_some() | item.is_translated {
            return None;
        }
        let (table, direction) = (self.table, found.direction);
        let record = table.record(found.number);
        let state = record.state();
        let is_translated = state.has(SNAT | DNAT);
        if !record.is_of(direction, state, &item.packet.tuple, Tuple::swapped)
            || is_translated && self.request.nat.is_none()
            || !record.is_kept(self.zone_generation, self.now_s)
            || !slide(record, (state, SPECIAL), direction, segment)
        {
            return None;
        }
        self.own.tally.hits += 1;
        self.renew(record, state, Timeout::TcpEstablished);
        let bits = match direction {
            Direction::Original => TRK | EST,
            Direction::Reply => TRK | EST | RPL,
        };
        let translated = translated_bits(state, direction);
        Some(Brief {
            bits: bits | translated,
            mark: record.mark.load(Relaxed),
            label: label(record, state),
            known: Known {
                handle: record.handle(found.number),
                direction,
                bits,
            },
            translation: is_translated.then(|| translate(record, direction, translated, item)),
        })
    }

    #[inline(never)]
    fn judge(&mut self, item: &Item, place: &Place) -> Verdict {
        if let Some(verdict) = item.known.and_then(|known| self.repeat(item, known)) {
            return verdict;
        }
        let tuple = wanted(item);
        let table = self.table;
        let (zone_generation, now_s) = (self.zone_generation, self.now_s);
        let found = match place.found {
            Some(found) if table.is_it(found, &tuple, zone_generation, now_s) => place.found,
            _ => table.find(&tuple, place.hash, zone_generation, now_s),
        };
        match found {
            Some(found) if item.is_translated => {
                let direction = found.direction.turned();
                self.hit(item, Found { direction, ..found })
            }
            Some(found) => self.hit(item, found),
            None => {
                let is_own = !item.is_translated;
                self.miss(item, (is_own.then_some(place.hash), place.reply_hash))
            }
        }
    }

    /// A packet that was told of its connection already.
    fn repeat(&mut self, item: &Item, known: Known) -> Option<Verdict> {
        let record = self.table.record(known.handle.number);
        let is_same = record.generation.load(Relaxed) == known.handle.generation;
        let turns = self.request.forces && known.direction == Direction::Reply;
        if !is_same
            || turns
            || !self
                .table
                .is_alive(record, self.zone_generation, self.now_s)
        {
            return None;
        }
        let found = Found {
            number: known.handle.number,
            direction: known.direction,
        };
        Some(self.tell(item, found, known.bits))
    }

    /// A packet of a connection.
    #[inline(always)]
    fn hit(&mut self, item: &Item, found: Found) -> Verdict {
        let record = self.table.record(found.number);
        if self.request.forces && found.direction == Direction::Reply {
            return self.replace(item, found.number);
        }
        let reply = match found.direction {
            Direction::Original => 0,
            Direction::Reply => RPL,
        };
        if let Body::Error(_) = item.packet.body {
            self.own.tally.hits += 1;
            return self.tell(item, found, TRK | REL | reply);
        }
        let taken_back;
        let packet = match record.state().has(SHIFTED) {
            true => {
                taken_back = self.taken_back(&item.packet, record, found);
                &taken_back
            }
            false => &item.packet,
        };
        match follow(record, found.direction, packet, self.strictness) {
            Outcome::Part(kind, timeout) => {
                self.own.tally.hits += 1;
                if let Some(timeout) = timeout {
                    self.renew(record, record.state(), timeout);
                }
                let reply = if kind == EST { reply } else { 0 };
                let expected = match record.state().has(EXPECTED) {
                    true => REL,
                    false => 0,
                };
                self.tell(item, found, TRK | kind | reply | expected)
            }
            Outcome::Invalid => {
                self.own.tally.invalid += 1;
                self.tell(item, found, TRK | INV)
            }
            Outcome::New => self.replace(item, found.number),
        }
    }

    /// A packet that ends a connection and begins another.
    #[inline(never)]
    fn replace(&mut self, item: &Item, number: u32) -> Verdict {
        if self.table.retire(number) {
            self.own.tally.replaced += 1;
        }
        self.miss(item, (None, None))
    }

    #[inline(always)]
    fn renew(&self, record: &Record, state: State, timeout: Timeout) {
        let seconds = self.table.policies.seconds(state.policy(), timeout);
        let deadline_s = deadline(self.now_s, seconds);
        if record.deadline_s.load(Relaxed) != deadline_s {
            record.deadline_s.store(deadline_s, Relaxed);
        }
    }

    /// A packet of no connection, and what is known of the hashes of its tuple and its answers'.
    #[inline(never)]
    fn miss(&mut self, item: &Item, hashes: (Option<u64>, Option<u64>)) -> Verdict {
        let packet = &item.packet;
        let mut verdict = Verdict::invalid(packet.tuple);
        let Some(opening) = open(State::default(), packet, self.strictness) else {
            self.own.tally.invalid += 1;
            return verdict;
        };
        self.own.tally.misses += 1;
        verdict.bits = TRK | NEW;
        let expected = self.table.expectations.find(&packet.tuple, self.now_s);
        if let Some((_, expected)) = &expected {
            verdict.bits |= REL;
            let parent = self.table.record(expected.parent);
            if parent.generation.load(Relaxed) == expected.parent_generation {
                verdict.mark = parent.mark.load(Relaxed);
                verdict.label = label(parent, parent.state());
                verdict.original = parent.original();
            }
        }
        if !self.request.commits {
            return verdict;
        }
        let hash = |tuple: Tuple| tuple.hash(&self.table.hasher);
        let hashes = Hashes {
            original: hashes.0.unwrap_or_else(|| hash(packet.tuple)),
            reply: hashes.1.unwrap_or_else(|| hash(packet.tuple.reversed())),
        };
        match self.create(packet, hashes, &opening, expected) {
            Ok(number) => {
                let direction = Direction::Original;
                self.tell(item, Found { number, direction }, verdict.bits)
            }
            Err(Failure::Raced(found)) => self.hit(item, found),
            Err(Failure::Refused(refusal)) => {
                let tally = &mut self.own.tally;
                *match refusal {
                    Refusal::Full => &mut tally.refused_full,
                    Refusal::ZoneLimit => &mut tally.refused_zone,
                    Refusal::NoTuple => &mut tally.refused_tuple,
                    Refusal::Busy => &mut tally.refused_busy,
                } += 1;
                verdict.refusal = Some(refusal);
                verdict
            }
        }
    }

    /// What is known of a packet of a connection, after doing what the request asks of that.
    #[inline(always)]
    fn tell(&mut self, item: &Item, found: Found, mut bits: u32) -> Verdict {
        let record = self.table.record(found.number);
        if self.request.mark.is_some() || self.request.label.is_some() {
            record.paint(self.request);
        }
        let state = record.state();
        let known = Known {
            handle: record.handle(found.number),
            direction: found.direction,
            bits,
        };
        let mut translation = None;
        if state.has(SNAT | DNAT) {
            let translated = translated_bits(state, found.direction);
            if item.is_translated {
                bits |= translated;
            } else if self.request.nat.is_some() {
                bits |= translated;
                translation = Some(translate(record, found.direction, translated, item));
            }
        }
        Verdict {
            bits,
            mark: record.mark.load(Relaxed),
            label: label(record, state),
            original: self.original(item, record, state, found.direction),
            known: Some(known),
            translation,
            shift: self.shift(item, record, found),
            helper: Helper::of(state.helper()),
            refusal: None,
        }
    }

    /// What is to be added to the sequence numbers of a packet that goes on translated.
    #[inline(always)]
    fn shift(&self, item: &Item, record: &Record, found: Found) -> Option<Shift> {
        if !record.state().has(SHIFTED) || item.is_translated || self.request.nat.is_none() {
            return None;
        }
        let Body::Tcp(segment) = &item.packet.body else {
            return None;
        };
        let of = [found.number, record.generation.load(Relaxed)];
        Some(self.table.shifts.of(of, found.direction, segment))
    }

    /// A packet as its sender would have sent it to nobody who is translated: it acknowledges what
    /// the other side has sent, not what has become of that.
    #[inline(never)]
    fn taken_back(&self, packet: &Packet, record: &Record, found: Found) -> Packet {
        let Body::Tcp(segment) = &packet.body else {
            return *packet;
        };
        let of = [found.number, record.generation.load(Relaxed)];
        let shift = self.table.shifts.of(of, found.direction, segment);
        let segment = Segment {
            ack: segment.ack.wrapping_add(shift.ack),
            sack: segment.sack.wrapping_add(shift.ack),
            ..*segment
        };
        Packet {
            body: Body::Tcp(segment),
            ..*packet
        }
    }

    /// The original tuple that a packet tells of its connection.
    #[inline(always)]
    fn original(&self, item: &Item, record: &Record, state: State, direction: Direction) -> Tuple {
        if state.has(EXPECTED) {
            let parent = self.table.record(record.parent.load(Relaxed));
            let generation = record.parent_generation.load(Relaxed);
            if parent.generation.load(Relaxed) == generation {
                return parent.original();
            }
        }
        match direction {
            _ if state.has(SNAT | DNAT) => record.original(),
            Direction::Original => item.packet.tuple,
            Direction::Reply => item.packet.tuple.reversed(),
        }
    }
}

/// The tuple under which a packet is looked for: a translated one under that of what answers it.
#[inline(always)]
fn wanted(item: &Item) -> Tuple {
    match item.is_translated {
        true => item.packet.tuple.reversed(),
        false => item.packet.tuple,
    }
}

#[inline(always)]
fn label(record: &Record, state: State) -> [u64; 2] {
    match state.has(LABELLED) {
        true => record.label.each_ref().map(|word| word.load(Relaxed)),
        false => [0; 2],
    }
}

/// Which ends of a packet are translated: the reply's destination is what was the source.
fn translated_bits(state: State, direction: Direction) -> u32 {
    let (source, destination) = match direction {
        Direction::Original => (SNAT, DNAT),
        Direction::Reply => (DNAT, SNAT),
    };
    let mut bits = 0;
    if state.has(source) {
        bits |= SNAT_BIT;
    }
    if state.has(destination) {
        bits |= DNAT_BIT;
    }
    bits
}

fn translate(record: &Record, direction: Direction, bits: u32, item: &Item) -> Translation {
    let answer = match direction {
        Direction::Original => record.reply(),
        Direction::Reply => record.original(),
    };
    Translation {
        to: answer.reversed(),
        source: bits & SNAT_BIT != 0,
        destination: bits & DNAT_BIT != 0,
        embedded: match item.packet.body {
            Body::Error(embedded) => Some(embedded),
            _ => None,
        },
    }
}

impl Record {
    pub(super) fn handle(&self, number: u32) -> Handle {
        Handle {
            number,
            generation: self.generation.load(Relaxed),
        }
    }

    /// Changes mark and label as asked.
    #[inline(never)]
    pub(super) fn paint(&self, request: &Request) {
        if let Some((value, mask)) = request.mark {
            let change = |mark| Some(mark & !mask | value & mask);
            let _ = self.mark.fetch_update(Relaxed, Relaxed, change);
        }
        let Some((value, mask)) = request.label else {
            return;
        };
        for (place, word) in self.label.iter().enumerate() {
            let change = |label| Some(label & !mask[place] | value[place] & mask[place]);
            let _ = word.fetch_update(Relaxed, Relaxed, change);
        }
        self.change(LABELLED, 0);
    }
}

/// What sets a connection apart from those whose packets only move windows.
const SPECIAL: u64 = EXPECTED | DYING | SHIFTED | HELPED;

/// The second of a time in milliseconds.
pub(super) fn seconds(now_ms: u64) -> u32 {
    (now_ms / 1000).try_into().unwrap_or(u32::MAX)
}

/// The first second in which a timeout is over for sure.
#[inline(always)]
pub(super) fn deadline(now_s: u32, seconds: u32) -> u32 {
    now_s.saturating_add(seconds).saturating_add(1)
}
