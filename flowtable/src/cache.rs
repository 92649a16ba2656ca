//! The flow cache: what was decided for a flow, found again by a few loads and compares.
//!
//! What. Each worker has one. It maps the bits of a packet's key that may matter (those of its
//! entry point's [`EntryMask`], computed from the rules and never from packets) to a code `C`,
//! what is to be done, and an account `A`, what it is counted in and depends on. It may change
//! speed, never behaviour: an entry answers only for equal words under an equal mask, and only in
//! the epoch for which it was made; in any other it is told as stale, so that the caller renews it
//! ([`crate::Changes`]) or translates anew.
//!
//! How. A hash under a secret chooses a bucket of eight slots. A bucket is one cache line: eight
//! signatures of 7 bits, compared at once, and what replacement needs to know. A slot is another:
//! the first four key words, epoch, counts, and the numbers of code and account. So a hit touches
//! two lines of memory that grows with the flows, and one more for a key of five to twelve words
//! (what lies behind the fourth word is in lines of its own, `stride` apart).
//!
//! Codes and accounts are kept once however many entries have them ([`shared`]): many flows do few
//! things, so that the code of a hit is nearly always in the first-level cache, and packets of
//! different flows with the same code can be handled together. The account is only looked at to
//! renew an entry and to tell its counts. Who knows what many flows come to keeps the numbers of
//! both ([`Pair`]), and an entry is made of these.
//!
//! A batch is looked up in passes: hash all keys; compare signatures; fetch the slots that fit, if
//! there are so many that they are hardly at hand; verify and count. So the loads of different
//! packets overlap where one packet alone would wait twice. Passes over keys of up to twelve words
//! have their number of words known to the compiler.
//! Memory is fixed at creation, and used from its start on, more as entries come ([`span`]). When a
//! mask appears that is wider than there is room for, the cache empties itself, once, and goes on
//! with a wider stride.
//!
//! A full bucket gives up the slot that was least recently used, but not one that has been found
//! again since it came and was used within [`PROTECTED_MS`]: a flood of flows with a packet each
//! takes only slots from its own kind, and is refused where there are none. And it is spared the
//! work: who asks [`FlowCache::has_room`] and [`FlowCache::comes_again`] first lets the first
//! thousand flows in at once, all others with their second packet only ([`visitors`]): so a flood
//! does not make the cache grow, either. Nor is a slot given up that the current batch has used, so
//! that a [`Slot`] is good until the next [`FlowCache::begin_batch`].
//!
//! So with nine busy flows in one bucket the ninth would be decided anew with each packet for as
//! long as they are. The cache grows once more then, ahead of its entries: when those that came
//! again were refused as often as there are entries.
//!
//! Of the packets of a batch that are to be inserted it is told before ([`FlowCache::foresee`]), so
//! that the loads of what they push out overlap, too.
//!
//! Packets are counted in the entry. One that is replaced adds its counts to those of its account
//! ([`accounts`]). Entries and accounts with counts not yet told are in a queue, from which
//! [`FlowCache::flush`] tells a bounded number at a time.
//!
//! Why not simpler. A `HashMap` has no bound on memory, allocates, cannot choose what to forget
//! and looks up one key after another. A direct-mapped array would let two flows of one slot
//! push each other out for ever. More elaborate replacement would cost stores on every hit. With
//! the program itself in the entry a hit touched eight lines, most of them outside every cache
//! with many flows.
//!
//! Threads. None: a worker owns its cache.

use core::hash::Hash;
use std::collections::VecDeque;

use crate::FlowKey;

mod accounts;
mod admission;
mod batch;
mod bucket;
mod entry;
mod entry_mask;
mod keys;
mod memory;
mod shared;
mod span;
mod visitors;

use accounts::Accounts;
use batch::Wanted;
use bucket::{Bucket, Candidates, SLOTS};
use entry::Entry;
pub use entry_mask::EntryMask;
use entry_mask::{PAIRS_MAX, Row, Secret};
use keys::{INLINE, Keys};
pub use memory::Prepare;
use memory::filled;
use shared::{NONE, Shared};
use span::{SPLIT_TOGETHER, Span};
pub use visitors::Visitors;

/// Codes and accounts by the significant words of a packet's key.
pub struct FlowCache<C, A> {
    secret: Secret,
    buckets: Box<[Bucket]>,
    entries: Box<[Entry]>,
    keys: Keys,
    /// How much of these is in use.
    span: Span,
    visitors: Visitors,
    codes: Shared<C>,
    accounts: Accounts<A>,
    /// Keys that are looked up together.
    wanted: Wanted,
    /// The significant words of a key that is looked up or inserted alone.
    row: Row,
    /// Slots and accounts with counts to be told, the oldest first, each once ([`Told`]).
    dirty: VecDeque<u32>,
    /// Pairs of words of the widest mask that was refused for its width.
    room_wanted: usize,
    /// The next bucket that [`FlowCache::maintain`] looks at.
    hand: usize,
    len: usize,
    /// How often a flow that came again found its bucket full of others since it grew last.
    crowded: usize,
    pressure: Pressure,
    now_ms: u64,
    batch: u8,
}

/// Where an entry is, until the next batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

/// The hash of a key under a mask. Keys with different ones are different.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyHash(u64);

/// A code and an account that are kept for somebody besides the entries that have them, until they
/// are let go as often as they were kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    code: u32,
    account: u32,
}

impl Pair {
    /// Whether there is an account: not if it was made by [`FlowCache::keep_like`].
    #[inline]
    pub fn has_account(self) -> bool {
        self.account != NONE
    }

    /// Number of its code.
    pub fn code(self) -> CodeNo {
        CodeNo(self.code)
    }
}

/// What a packet came to in a batch: the number of a code, as long as somebody has it, or that
/// there is none, or an entry of another epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CodeNo(u32);

impl CodeNo {
    /// There is no entry.
    pub const MISS: CodeNo = CodeNo(NONE);

    /// That there is an entry of another epoch in a slot.
    #[inline]
    pub fn of_stale(Slot(slot): Slot) -> CodeNo {
        CodeNo(STALE | slot)
    }

    /// Where there is an entry of another epoch, if it says that: until the next batch begins.
    #[inline]
    pub fn stale(self) -> Option<Slot> {
        (self.0 & STALE != 0).then_some(Slot(self.0 & !STALE))
    }

    /// Whether it is the number of a code.
    #[inline]
    pub fn is_known(self) -> bool {
        self.0.wrapping_sub(1) < STALE - 1
    }
}

/// Packets to be looked up together.
#[derive(Debug)]
pub struct Packets<'a> {
    /// Their keys.
    pub keys: &'a [FlowKey],
    /// Their lengths.
    pub bytes: &'a [u32],
    /// What they come to.
    pub codes: &'a mut [CodeNo],
}

/// What a lookup came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lookup {
    /// There is no entry.
    #[default]
    Miss,
    /// There is an entry of another epoch in this slot: renew it ([`FlowCache::renew`]) or
    /// translate anew and insert.
    Stale(Slot),
    /// The entry is in this slot.
    Hit(Slot),
}

/// What is left of what had been counted when a flush began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flush {
    /// Entries with counts.
    slots: usize,
    /// Accounts with counts, once the entries are through.
    accounts: Option<usize>,
}

/// How often there was no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Entries that gave up their slots to others.
    pub evicted: u64,
    /// Packets of flows that were given no slot.
    pub refused: u64,
}

/// What was counted in an entry since its counts were last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// When the last of them was counted.
    pub used_ms: u64,
}

impl<C: Eq + Hash, A: Eq + Hash> FlowCache<C, A> {
    /// A cache of at least this many entries, rounded up to a power of two and at most
    /// [`ENTRIES_MAX`]. Whoever does not know the secret cannot make packets that collide.
    pub fn new(entries: usize, secret: u64) -> FlowCache<C, A> {
        FlowCache::prepared(entries, secret, |_, _| ())
    }

    /// The same, in memory that was prepared: of each large block `prepare` is told start and
    /// length in bytes before anything is written there. Packets of many flows find their entries
    /// all over these blocks, so they had better lie on huge pages.
    pub fn prepared(entries: usize, secret: u64, prepare: Prepare) -> FlowCache<C, A> {
        let entries = entries.clamp(SLOTS * 2, ENTRIES_MAX).next_power_of_two();
        FlowCache {
            secret: Secret::new(secret),
            buckets: filled(entries / SLOTS, Bucket::default(), prepare),
            entries: filled(entries, Entry::default(), prepare),
            keys: Keys::new(entries, prepare),
            span: Span::new(entries / SLOTS),
            visitors: Visitors::prepared(entries / ENTRIES_OF_VISITOR, secret, prepare),
            codes: Shared::new(entries + KEPT_MAX, secret),
            accounts: Accounts::new(entries + KEPT_MAX, secret),
            wanted: Wanted::default(),
            row: [[0; 2]; PAIRS_MAX],
            dirty: VecDeque::with_capacity(entries),
            room_wanted: 0,
            hand: 0,
            len: 0,
            crowded: 0,
            pressure: Pressure::default(),
            now_ms: 0,
            batch: 0,
        }
    }

    /// Begins a batch: every slot told so far may be given up from now on. `now_ms` is the time of
    /// what is found, counted and inserted until the next batch.
    pub fn begin_batch(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.batch = self.batch.wrapping_add(1);
        if self.len > self.span.entries_max() || self.is_crowded() {
            self.grow();
        }
    }

    /// Looks up one key.
    pub fn find(&mut self, mask: &EntryMask, key: &FlowKey, epoch: u64) -> Lookup {
        let hash = self.secret.pack(mask, key, &mut self.row);
        let mut slots = self.place(hash).slots();
        let Some(slot) = slots.find(|slot| self.holds(mask, *slot)) else {
            return Lookup::Miss;
        };
        self.buckets[slot / SLOTS].found(slot % SLOTS, self.now_ms, self.batch);
        match self.entries[slot].epoch() == epoch {
            true => Lookup::Hit(Slot(slot as u32)),
            false => Lookup::Stale(Slot(slot as u32)),
        }
    }

    /// The code of a number that [`FlowCache::count`] or [`FlowCache::code_of`] told.
    #[inline]
    pub fn code(&self, number: CodeNo) -> Option<&C> {
        self.codes.value(number.0)
    }

    /// Number of the code in a slot of the current batch.
    pub fn code_of(&self, slot: Slot) -> CodeNo {
        let entry = self.entries.get(slot.0 as usize);
        CodeNo(entry.map_or(NONE, |entry| entry.code))
    }

    /// The account of a pair that is kept.
    pub fn account_of(&self, pair: Pair) -> Option<&A> {
        self.accounts.value(pair.account)
    }

    /// The account in a slot of the current batch.
    pub fn account(&self, slot: Slot) -> Option<&A> {
        let entry = self.entries.get(slot.0 as usize)?;
        self.accounts.value(entry.account)
    }

    /// The epoch for which an entry was made or renewed last.
    pub fn epoch(&self, slot: Slot) -> Option<u64> {
        Some(self.entries.get(slot.0 as usize)?.epoch())
    }

    /// Says that the entry in a slot is right in an epoch, too.
    pub fn renew(&mut self, slot: Slot, epoch: u64) {
        if let Some(entry) = self.entries.get_mut(slot.0 as usize) {
            entry.set_epoch(epoch);
        }
    }

    /// Counts packets for the entry in a slot, and says what is to be done with them. What was
    /// counted before is told if there is no room for the sum.
    pub fn count(
        &mut self,
        slot: Slot,
        packets: u32,
        bytes: u64,
        mut tell: impl FnMut(&A, Counts),
    ) -> CodeNo {
        let Some(entry) = self.entries.get_mut(slot.0 as usize) else {
            return CodeNo::MISS;
        };
        let counted = (packets, bytes, self.now_ms);
        let (accounts, dirty) = (&self.accounts, &mut self.dirty);
        count_in(entry, slot, counted, accounts, dirty, &mut tell)
    }

    /// Takes back a packet that was counted in this batch for the entry in a slot; the account that
    /// it was counted in.
    pub fn take_back(&mut self, slot: Slot, bytes: u64) -> Option<&A> {
        let entry = self.entries.get_mut(slot.0 as usize)?;
        entry.take_back(bytes);
        self.accounts.value(entry.account)
    }

    /// Keeps a code and an account, of which there should be [`KEPT_MAX`] at a time at most: more
    /// take memory anew.
    pub fn keep(&mut self, code: C, account: A) -> Pair {
        Pair {
            code: self.codes.acquire(code),
            account: self.accounts.acquire(account),
        }
    }

    /// Keeps a code that somebody has, without an account: that of which `is_it` says so. `like`
    /// hashes as it does.
    #[inline]
    pub fn keep_like(&mut self, like: &impl Hash, is_it: impl Fn(&C) -> bool) -> Option<Pair> {
        let (code, account) = (self.codes.acquire_like(like, is_it)?, NONE);
        Some(Pair { code, account })
    }

    /// Keeps a pair that is kept once more.
    pub fn keep_on(&mut self, pair: Pair) {
        self.codes.share(pair.code);
        self.accounts.share(pair.account);
    }

    /// Keeps a pair no longer. What was counted in its account is told if nobody else has it.
    pub fn let_go(&mut self, pair: Pair, tell: impl FnMut(&A, Counts)) {
        self.codes.release(pair.code, |_, ()| ());
        self.accounts.release(pair.account, tell);
    }

    /// Counts a packet in the account of a pair that is kept, for no entry.
    pub fn count_apart(&mut self, pair: Pair, bytes: u64) {
        self.accounts.add(pair.account, self.counts(bytes));
    }

    /// A packet of so many bytes that comes now.
    #[inline(always)]
    pub fn counts(&self, bytes: u64) -> Counts {
        Counts {
            packets: 1,
            bytes,
            used_ms: self.now_ms,
        }
    }

    /// The hash of a key.
    pub fn hash(&mut self, mask: &EntryMask, key: &FlowKey) -> KeyHash {
        KeyHash(self.secret.pack(mask, key, &mut self.row))
    }

    /// Takes back a packet that was counted for no entry in this batch; the account that it was
    /// counted in.
    pub fn take_back_apart(&mut self, pair: Pair, bytes: u64) -> Option<&A> {
        self.accounts.take_back(pair.account, bytes);
        self.accounts.value(pair.account)
    }

    /// Makes an entry of a pair that is kept for the packets that are like this one under `mask`,
    /// in place of what was there for them. If the account of what is pushed out is nobody else's,
    /// it goes to `evicted` with its counts. There is no entry if there is no room for it: its
    /// bucket is full of better ones, or the mask is wider than the cache provides for before the
    /// next [`FlowCache::maintain`].
    pub fn insert(
        &mut self,
        mask: &EntryMask,
        key: &FlowKey,
        pair: Pair,
        epoch: u64,
        evicted: impl FnMut(&A, Counts),
    ) -> Option<Slot> {
        if mask.pairs() > self.keys.room() {
            self.room_wanted = self.room_wanted.max(mask.pairs());
            return None;
        }
        let hash = self.secret.pack(mask, key, &mut self.row);
        let bucket = self.bucket(hash);
        let again = self
            .place(hash)
            .slots()
            .find(|slot| self.holds(mask, *slot));
        let slot = match again {
            Some(slot) if self.entries[slot].is_of(pair, epoch) => return Some(Slot(slot as u32)),
            Some(slot) => slot,
            None => self.make_room(bucket)?,
        };
        self.clear(slot, evicted);
        self.len += 1;
        let place = slot % SLOTS;
        self.buckets[bucket].occupy(place, hash, again.is_some());
        self.buckets[bucket].touch(place, self.now_ms, self.batch);
        self.codes.share(pair.code);
        self.accounts.share(pair.account);
        let entry = &mut self.entries[slot];
        (entry.code, entry.account) = (pair.code, pair.account);
        entry.set_epoch(epoch);
        let row = &self.row;
        entry.key.copy_from_slice(&row[..INLINE]);
        if let Some(rest) = row.get(INLINE..mask.pairs()) {
            self.keys.write(slot, rest);
        }
        Some(Slot(slot as u32))
    }

    /// How often there was no room since the last call.
    pub fn take_pressure(&mut self) -> Pressure {
        core::mem::take(&mut self.pressure)
    }

    /// Begins to tell all that was counted so far: [`FlowCache::flush`] goes on with it.
    pub fn begin_flush(&self) -> Flush {
        Flush {
            slots: self.dirty.len(),
            accounts: None,
        }
    }

    /// Tells the counts of at most `limit` entries and accounts; returns whether there are more.
    pub fn flush(
        &mut self,
        flush: &mut Flush,
        limit: usize,
        mut tell: impl FnMut(&A, Counts),
    ) -> bool {
        let slots = flush.slots.min(limit);
        (0..slots).for_each(|_| self.tell_slot(&mut tell));
        flush.slots -= slots;
        if flush.slots > 0 {
            return true;
        }
        // What an entry that went meanwhile had counted is in its account by now.
        let accounts = flush.accounts.get_or_insert(self.accounts.untold());
        let some = (*accounts).min(limit - slots);
        *accounts -= some;
        (0..some).for_each(|_| self.accounts.tell_next(&mut tell));
        *accounts > 0
    }

    /// Tells the counts of the next entry that has some.
    fn tell_slot(&mut self, mut tell: impl FnMut(&A, Counts)) {
        let Some(slot) = self.dirty.pop_front() else {
            return;
        };
        let entry = &mut self.entries[slot as usize];
        entry.dequeued();
        let counts = entry.take_counts(self.now_ms);
        let account = self.accounts.value(entry.account);
        if let Some(account) = account.filter(|_| counts.packets > 0) {
            tell(account, counts);
        }
    }

    /// Looks at the next `buckets` buckets and gives up their entries that were not used for
    /// `idle_ms`; to be called between batches. This is also where the cache gives up all, if a
    /// mask was refused for its width, to take it next time; widths are multiples of a cache
    /// line, so that this happens a few times in the life of a cache.
    pub fn maintain(&mut self, buckets: usize, idle_ms: u32, mut evicted: impl FnMut(&A, Counts)) {
        if self.room_wanted > self.keys.room() {
            for slot in 0..self.span.used() * SLOTS {
                self.clear(slot, &mut evicted);
            }
            self.keys.widen(self.room_wanted);
        }
        for _ in 0..buckets.min(self.span.used()) {
            for place in 0..SLOTS {
                if self.buckets[self.hand].age_ms(place, self.now_ms) >= idle_ms {
                    self.clear(self.hand * SLOTS + place, &mut evicted);
                }
            }
            self.hand = (self.hand + 1) % self.span.used();
        }
    }

    /// Number of different accounts, those that no entry has with them.
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// Number of entries, stale ones with them.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Most entries that there can be.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory, without what codes and accounts point to.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.buckets)
            + size_of_val(&*self.entries)
            + self.keys.memory_bytes()
            + self.visitors.memory_bytes()
            + self.codes.memory_bytes()
            + self.accounts.memory_bytes()
            + self.dirty.capacity() * size_of::<u32>()
    }

    #[inline(always)]
    fn bucket(&self, hash: u64) -> usize {
        self.span.bucket(hash)
    }

    /// Where the entry of a hash can be.
    #[inline(always)]
    fn place(&self, hash: u64) -> Place {
        Place::of(&self.buckets, self.bucket(hash), hash)
    }

    /// Whether flows found their buckets full often enough, and there are so many entries, that it
    /// is worth more memory.
    #[inline(always)]
    fn is_crowded(&self) -> bool {
        self.crowded > self.len && self.len > self.span.entries_crowded()
    }

    /// Spreads the entries over more buckets, some at a time.
    #[cold]
    fn grow(&mut self) {
        self.crowded = 0;
        for _ in 0..SPLIT_TOGETHER {
            let Some((from, to, bit)) = self.span.next() else {
                return;
            };
            for place in self.buckets[from].above(bit) {
                self.move_entry(from, to, place);
            }
            self.span.advance();
        }
    }

    /// Moves an entry to the same place of another bucket, which is empty there.
    fn move_entry(&mut self, from: usize, to: usize, place: usize) {
        let lane = self.buckets[from].take(place);
        self.buckets[to].put(place, lane);
        let (from, to) = (from * SLOTS + place, to * SLOTS + place);
        let entry = &mut self.entries[from];
        self.accounts
            .add(entry.account, entry.take_counts(self.now_ms));
        let moved = entry.take();
        self.entries[to].put(moved);
        self.keys.copy(from, to);
    }

    /// Whether a slot holds the key in the row.
    fn holds(&self, mask: &EntryMask, slot: usize) -> bool {
        let pairs = mask.pairs();
        let (first, rest) = self.row[..pairs].split_at(pairs.min(INLINE));
        self.entries[slot].begins_with(first) && (rest.is_empty() || self.keys.equal(slot, rest))
    }

    /// Gives up what is in a slot.
    fn clear(&mut self, slot: usize, evicted: impl FnMut(&A, Counts)) {
        let entry = &mut self.entries[slot];
        if !entry.is_empty() {
            self.len -= 1;
            let counts = entry.take_counts(self.now_ms);
            self.accounts.add(entry.account, counts);
            self.codes.release(entry.code, |_, ()| ());
            self.accounts.release(entry.account, evicted);
            (entry.code, entry.account) = (NONE, NONE);
        }
        self.buckets[slot / SLOTS].vacate(slot % SLOTS);
    }
}

/// Counts so many packets, of so many bytes, at a time, in an entry, and says what is to be done
/// with them. What was counted before is told if there is no room for the sum.
#[inline(always)]
fn count_in<A: Eq + Hash>(
    entry: &mut Entry,
    slot: Slot,
    (packets, bytes, now_ms): (u32, u64, u64),
    accounts: &Accounts<A>,
    dirty: &mut VecDeque<u32>,
    tell: &mut impl FnMut(&A, Counts),
) -> CodeNo {
    if !entry.count(packets, bytes, now_ms) {
        tell_counts(entry, accounts, now_ms, tell);
        // Now there is room.
        entry.count(packets, bytes, now_ms);
    }
    entry.enqueue(slot, dirty);
    CodeNo(entry.code)
}

/// Tells what was counted in an entry.
#[cold]
fn tell_counts<A: Eq + Hash>(
    entry: &mut Entry,
    accounts: &Accounts<A>,
    now_ms: u64,
    tell: &mut impl FnMut(&A, Counts),
) {
    let counts = entry.take_counts(now_ms);
    if let Some(account) = accounts.value(entry.account) {
        tell(account, counts);
    }
}

/// Where the entry of a key can be: slots of one bucket.
#[derive(Clone, Copy)]
struct Place {
    bucket: u32,
    candidates: Candidates,
}

impl Place {
    const NOWHERE: Place = Place {
        bucket: 0,
        candidates: Candidates::NONE,
    };

    #[inline(always)]
    fn of(buckets: &[Bucket], bucket: usize, hash: u64) -> Place {
        Place {
            bucket: bucket as u32,
            candidates: buckets[bucket].candidates(hash),
        }
    }

    /// The first slot that fits; if none does, one of the bucket.
    #[inline(always)]
    fn first(self) -> usize {
        self.bucket as usize * SLOTS + self.candidates.first()
    }

    fn slots(self) -> impl Iterator<Item = usize> {
        self.candidates
            .map(move |place| self.bucket as usize * SLOTS + place)
    }
}

/// Bit of a [`CodeNo`] that is the number of a slot.
const STALE: u32 = 1 << 31;
const _: () = assert!(NONE == 0 && ENTRIES_MAX + KEPT_MAX < STALE as usize);

/// Keys that are looked up together: as many as a batch of packets has.
pub const KEYS_MAX: usize = 64;

/// Most entries. A worker's cache of this size takes 1.3 GB, and as much again for wide keys; with
/// more flows than that, lookups wait for memory about as long as translation takes.
pub const ENTRIES_MAX: usize = 1 << 24;

/// Entries for each flow that is noted as one that came and found no room. As many flows as the
/// cache has room for, which come in turn, all have an entry after some turns; with fewer notes
/// most would be forgotten before their second packet.
const ENTRIES_OF_VISITOR: usize = 1;

/// Pairs that can be kept besides what entries have.
pub const KEPT_MAX: usize = 1 << 16;

/// How long an entry that was found again is kept from being pushed out, since its last use. As
/// long as a busy flow may pause; short enough that flows that ended make room for new ones.
pub const PROTECTED_MS: u32 = 1_000;
