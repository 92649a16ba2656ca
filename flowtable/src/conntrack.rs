//! Connection tracking: which packets belong together, and what they are translated to.
//!
//! What. A table of connections that all workers share. The datapath gives it packets with what a
//! `ct` action asks for, and is told for each the state bits that rules match, mark, label, the
//! original tuple, and how to translate it. Meaning of the bits, choice of translations and
//! defaults are Open vSwitch's; TCP and SCTP are followed to netfilter's rules (`tcp`, `sctp`).
//!
//! How. A connection is one record of three cache lines, and two entries of the index, one for
//! each direction's tuple (`index`). So both directions meet the same record whatever worker has
//! them and however they are translated: the entry of the reply direction is that of the
//! translated tuple. Records belong to shards, for making and ending connections (`lists`); the
//! index does not.
//!
//! Threads. A packet of a connection takes no lock and waits for nobody: it finds the record by
//! plain loads and changes single words by compare-and-swap, and only those that change. Each
//! direction of TCP has words of its own; mark, label and deadline change seldom, the deadline once
//! a second. So two workers with a direction each share the lines of their connections and nothing
//! else. A record that is gone is used again only when every worker has begun another batch
//! (`epoch`): what a batch has found stays what it is, even if the connection ends meanwhile.
//! Making a connection tries a shard's lock and takes two buckets of the index in turn, for a few
//! hundred cycles; it waits for nobody either (`index` says for how long at most).
//!
//! Memory is fixed and taken at the start, on huge pages if there are any: 192 bytes for a record
//! and 31 of the index ([`Table::bytes`]). When there is no record left, half-open connections go,
//! old ones first, of the zone that has most of them, and one that was answered once later than the
//! others; connections that both sides have confirmed never go. A zone may have a limit of its own.
//!
//! Time is a parameter. Deadlines are in seconds, rounded up.
//!
//! Why not simpler. Connections of one worker each, with packets handed over to it, need queues
//! between workers, in which packets of one flow overtake each other when the owner changes; and a
//! translated reply has no hash that says whose it is. A lock for each connection, as Open vSwitch
//! has, is two writes more for each packet, and a worker that is stopped stops others.
//!
//! Not here: putting fragments together ([`crate::fragments`]), writing packets.

use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::Arc;

use arrayvec::ArrayVec;
use zerocopy::IntoBytes;

use crate::Prepare;
use crate::hash::Stream;

mod accounts;
mod announcement;
mod block;
mod create;
mod epoch;
mod expectation;
mod index;
mod limits;
mod list;
mod lists;
mod nat;
mod packet;
mod protocol;
mod record;
mod sctp;
mod shift;
mod tcp;
mod timeout;
mod tracker;
mod tuple;
mod verdict;
mod zone;

use accounts::Accounts;
pub use announcement::Rewrite;
use epoch::Epochs;
pub use expectation::Expectation;
use expectation::Expectations;
use index::{Found, Index};
pub use limits::{
    BATCH_MAX, CONNECTIONS_MAX, CONNECTIONS_MIN, EXPECTATIONS_MAX, POLICIES_MAX, TIMEOUT_MAX_S,
    TRACKERS_MAX,
};
pub use list::Connection;
use lists::Shard;
pub use nat::{Nat, Range, Translation};
pub use packet::{Body, Chunk, Chunks, Embedded, Packet, Segment};
pub use record::Direction;
use record::{DYING, LONE, Record, SHIFTED, State};
pub use shift::Shift;
use shift::Shifts;
pub use tcp::{Phase, Strictness};
use timeout::Policies;
pub use timeout::Timeout;
pub use tracker::{Item, Tracker};
use tuple::Hasher;
pub use tuple::{Tuple, mapped};
pub use verdict::{Brief, Handle, Helper, Known, Refusal, Request, Tally, Told, Verdict, ct_state};
use zone::Zones;

/// Has the CPU fetch the lines of memory at these places, and does not wait for them.
pub type Prefetch = fn(&[*const u8]);

/// All connections, for all workers.
#[derive(Debug)]
pub struct Table {
    capacity: usize,
    records: Box<[Record]>,
    index: Index,
    shards: Box<[Shard]>,
    epochs: Epochs,
    zones: Zones,
    policies: Policies,
    expectations: Expectations,
    shifts: Shifts,
    accounts: Accounts,
    prefetch: Prefetch,
    hasher: Hasher,
    secret: u64,
    picks_up: AtomicBool,
    checks_window: AtomicBool,
}

impl Table {
    /// A table for so many connections, rounded up to what shards divide, within
    /// [`CONNECTIONS_MIN`] and [`CONNECTIONS_MAX`]. Who knows `secret` can make connections that
    /// are slow to find. `prepare` is told of the large blocks of memory before they are used.
    /// Nothing if there is no memory for it.
    pub fn new(connections: usize, secret: u64, prepare: Prepare) -> Option<Table> {
        Table::vacated(connections, secret, prepare, |_| ())
    }

    /// The same whose records take no memory before they are used: `vacate` gives back that of a
    /// block which is all zero, and leaves it zero.
    pub fn vacated(
        connections: usize,
        secret: u64,
        prepare: Prepare,
        vacate: fn(&mut [u8]),
    ) -> Option<Table> {
        let connections = connections.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        let shards = (connections / limits::SHARD_LEN_MIN).clamp(1, limits::SHARDS_MAX);
        let each = connections.div_ceil(shards);
        let len = Shard::len_for(each);
        let shard = |number: usize| Shard::new((number * len) as u32, each as u32);
        let mut stream = Stream(secret);
        let mut records: Box<[Record]> = block::zeroed(len * shards, prepare)?;
        vacate(records.as_mut_bytes());
        Some(Table {
            capacity: each * shards,
            records,
            index: Index::new(len * shards, prepare)?,
            shards: (0..shards).map(shard).collect(),
            epochs: Epochs::new(),
            zones: Zones::new()?,
            policies: Policies::new(),
            expectations: Expectations::new(),
            shifts: Shifts::default(),
            accounts: Accounts::new(),
            prefetch: |_| (),
            hasher: Hasher::new(stream.next()),
            secret: stream.next(),
            picks_up: AtomicBool::new(true),
            checks_window: AtomicBool::new(true),
        })
    }

    /// The same that has the CPU fetch memory before it is needed, in this way.
    pub fn fetched_by(self, prefetch: Prefetch) -> Table {
        Table { prefetch, ..self }
    }

    /// How many connections there can be.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many records are taken: by connections, or by some that are over and whose memory is not
    /// taken back yet.
    pub fn taken(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| u64::from(shard.taken()))
            .sum()
    }

    /// Has memory at hand for connections to come, where some have been, so that a worker need not
    /// wait until the kernel has cleared it: of at most so many records. Returns of how many, which
    /// may take the kernel a microsecond for three.
    pub fn warm(&self, budget: u32) -> u32 {
        let warm = |done, shard: &Shard| done + shard.warm(&self.records, budget - done);
        self.shards.iter().fold(0, warm)
    }

    /// Bytes of memory when all of it is used; what is expected, which is bounded, comes on top.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.records) + self.bytes_besides()
    }

    /// Bytes of memory for as many connections as there have been at a time, and all of the index.
    pub fn bytes_used(&self) -> usize {
        let used = self.shards.iter().map(|shard| shard.used() as usize);
        used.sum::<usize>() * size_of::<Record>() + self.bytes_besides()
    }

    /// Bytes of all but the records.
    fn bytes_besides(&self) -> usize {
        let shards = self
            .shards
            .iter()
            .map(|shard| shard.bytes() + size_of::<Shard>());
        shards.sum::<usize>() + self.zones.bytes() + self.index.bytes()
    }

    /// A way for a thread to track packets or look at connections, if not too many have one.
    pub fn tracker(self: &Arc<Table>) -> Option<Tracker> {
        Tracker::new(self)
    }

    /// How many connections a zone has.
    pub fn count(&self, zone: u16) -> u32 {
        self.zones.count(zone)
    }

    /// How many connections a zone may have, if that is bounded.
    pub fn limit(&self, zone: u16) -> Option<u32> {
        self.zones.limit(zone)
    }

    /// Bounds the connections of a zone; `Some(None)` says it has no bound, `None` that it has the
    /// default.
    pub fn set_limit(&self, zone: u16, limit: Option<Option<u32>>) {
        self.zones.set_limit(zone, limit);
    }

    /// The bound of zones without one of their own.
    pub fn default_limit(&self) -> Option<u32> {
        self.zones.default_limit()
    }

    /// Sets the bound of zones without one of their own.
    pub fn set_default_limit(&self, limit: Option<u32>) {
        self.zones.set_default_limit(limit);
    }

    /// Sets a timeout of a policy, in seconds, at most [`TIMEOUT_MAX_S`]. Policy 0 is that of zones
    /// without another.
    pub fn set_timeout(&self, policy: u8, timeout: Timeout, seconds: u32) {
        self.policies.set(policy, timeout, seconds);
    }

    /// A timeout of a policy, in seconds.
    pub fn timeout(&self, policy: u8, timeout: Timeout) -> u32 {
        self.policies.seconds(policy, timeout)
    }

    /// Gives new connections of a zone a policy of timeouts.
    pub fn set_policy(&self, zone: u16, policy: u8) {
        self.zones.set_policy(zone, policy);
    }

    /// How strict TCP is followed.
    pub fn strictness(&self) -> Strictness {
        Strictness {
            picks_up: self.picks_up.load(Relaxed),
            checks_window: self.checks_window.load(Relaxed),
        }
    }

    /// Sets how strict TCP is followed.
    pub fn set_strictness(&self, strictness: Strictness) {
        self.picks_up.store(strictness.picks_up, Relaxed);
        self.checks_window.store(strictness.checks_window, Relaxed);
    }

    /// Ends all connections of a zone, at once; their memory is taken back little by little, by
    /// whoever calls [`Tracker::maintain`]. Returns how many.
    pub fn flush_zone(&self, zone: u16) -> u64 {
        self.zones.flush(zone).into()
    }

    /// The same of all zones.
    pub fn flush(&self) -> u64 {
        (0..=u16::MAX).map(|zone| self.flush_zone(zone)).sum()
    }

    /// What all trackers have counted, as of when they last had time for housekeeping.
    pub fn tally(&self) -> Tally {
        self.accounts.sum()
    }

    /// How many connections are expected.
    pub fn expectations(&self) -> usize {
        self.expectations.len()
    }

    fn record(&self, number: u32) -> &Record {
        &self.records[number as usize]
    }

    /// The shard with most connections that may be half-open.
    fn longest_queue(&self) -> usize {
        let longest = (0..self.shards.len()).max_by_key(|at| self.shards[*at].queued());
        longest.unwrap_or(0)
    }

    fn shard_of(&self, number: u32) -> &Shard {
        let len = self.records.len() / self.shards.len();
        &self.shards[number as usize / len]
    }

    /// Whether an entry is that of a tuple.
    #[inline(always)]
    fn is(&self, found: Found, tuple: &Tuple) -> bool {
        let record = self.record(found.number);
        record.is_of(found.direction, record.state(), tuple, Tuple::reversed)
    }

    /// Whether a record is a connection that is not over; `zone_generation` is that of its zone.
    #[inline(always)]
    fn is_alive(&self, record: &Record, zone_generation: u32, now_s: u32) -> bool {
        !record.state().has(DYING) && record.is_kept(zone_generation, now_s)
    }

    /// Whether an entry is that of a tuple whose connection is not over.
    #[inline(always)]
    fn is_it(&self, found: Found, tuple: &Tuple, zone_generation: u32, now_s: u32) -> bool {
        let record = self.record(found.number);
        self.is(found, tuple) && self.is_alive(record, zone_generation, now_s)
    }

    /// The entry of a tuple, if its connection is not over.
    #[inline(never)]
    fn find(&self, tuple: &Tuple, hash: u64, zone_generation: u32, now_s: u32) -> Option<Found> {
        let is_it = |found| self.is_it(found, tuple, zone_generation, now_s);
        self.index.find(hash, is_it)
    }

    /// Ends a connection; returns whether nobody else did.
    fn retire(&self, number: u32) -> bool {
        let record = self.record(number);
        if State(record.state.fetch_or(DYING, SeqCst)).has(DYING) {
            return false;
        }
        self.withdraw(number);
        if record.state().has(SHIFTED) {
            let generation = record.generation.load(Relaxed);
            self.shifts.forget([number, generation]);
        }
        let zone_generation = record.zone_generation.load(Relaxed);
        self.zones.leave(record.original().zone, zone_generation);
        self.shard_of(number).abandon(&self.records, number);
        true
    }

    /// Takes both entries of a record out of the index, if they are there.
    fn withdraw(&self, number: u32) {
        let record = self.record(number);
        let directions = [
            (Direction::Original, record.original()),
            (Direction::Reply, record.reply()),
        ];
        for (direction, tuple) in directions {
            if direction == Direction::Original || !record.state().has(LONE) {
                let hash = tuple.hash(&self.hasher);
                self.index.remove(hash, Found { number, direction });
            }
        }
    }

    /// Ends those of a few connections that are over; bit n is set if the nth is gone.
    fn end_those_over(&self, numbers: &[u32], now_s: u32, tally: &mut Tally) -> u32 {
        self.foresee_ends(numbers, |record| self.is_over(record, now_s));
        let numbers = numbers.iter().enumerate();
        numbers.fold(0, |gone, (place, number)| {
            gone | u32::from(self.end_if_over(*number, now_s, tally)) << place
        })
    }

    /// Fetches what it takes to end those of a few connections that end, so that the CPU waits for
    /// several at once: records, then the buckets of their entries.
    fn foresee_ends(&self, numbers: &[u32], ends: impl Fn(&Record) -> bool) {
        let records = || numbers.iter().map(|number| self.record(*number));
        black_box(records().fold(0, |all, record| all ^ record.first_words()));
        let mut lines = ArrayVec::<_, { 2 * limits::TOGETHER }>::new();
        for record in records()
            .filter(|record| ends(record))
            .take(limits::TOGETHER)
        {
            for tuple in [record.original(), record.reply()] {
                lines.push(self.index.line(tuple.hash(&self.hasher)));
            }
        }
        (self.prefetch)(&lines);
    }

    /// Whether a record is of no connection any more.
    fn is_over(&self, record: &Record, now_s: u32) -> bool {
        let zone_generation = self.zones.generation(record.original().zone);
        !self.is_alive(record, zone_generation, now_s)
    }

    /// Ends a connection that is over; returns whether it is gone.
    fn end_if_over(&self, number: u32, now_s: u32, tally: &mut Tally) -> bool {
        if !self.is_over(self.record(number), now_s) {
            return false;
        }
        if self.retire(number) {
            tally.expired += 1;
        }
        true
    }
}
