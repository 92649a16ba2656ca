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
//! renew an entry and to tell its counts.
//!
//! A batch is looked up in passes (hash all, compare all signatures and ask for the slots that fit,
//! verify all), so that the loads of different packets overlap where one packet alone would wait
//! twice. Passes over keys of up to four words have their number of words known to the compiler.
//! Memory is fixed at creation. When a mask appears that is wider than there is room for, the
//! cache empties itself, once, and goes on with a wider stride.
//!
//! A full bucket gives up the slot that was least recently used, but not one that has been found
//! again since it came and was used within [`PROTECTED_MS`]: a flood of flows with a packet each
//! takes only slots from its own kind, and is refused where there are none. Nor is a slot
//! given up that the current batch has used, so that a [`Slot`] is good until the next
//! [`FlowCache::begin_batch`].
//!
//! Packets are counted in the entry. An entry with counts not yet told is in a queue, from which
//! [`FlowCache::flush`] tells a bounded number at a time; one that is replaced tells its own.
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

mod bucket;
mod entry;
mod entry_mask;
mod keys;
mod shared;

use bucket::{Bucket, Candidates, SLOTS};
use entry::Entry;
pub use entry_mask::EntryMask;
use entry_mask::{PAIRS_MAX, Row, Secret};
use keys::{INLINE, Keys};
use shared::{NONE, Shared};

/// Codes and accounts by the significant words of a packet's key.
pub struct FlowCache<C, A> {
    secret: Secret,
    buckets: Box<[Bucket]>,
    entries: Box<[Entry]>,
    keys: Keys,
    codes: Shared<C>,
    accounts: Shared<A>,
    /// The significant words of wide keys that are looked up together.
    rows: Box<[Row; CHUNK]>,
    /// Slots with counts to be told, the oldest first; as long as there are slots at most.
    dirty: VecDeque<u32>,
    /// Pairs of words of the widest mask that was refused for its width.
    room_wanted: usize,
    /// The next bucket that [`FlowCache::maintain`] looks at.
    hand: usize,
    len: usize,
    now_ms: u64,
    batch: u8,
}

/// Where an entry is, until the next batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

/// Number of a code, as long as an entry has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CodeNo(u32);

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
        let entries = entries.clamp(SLOTS * 2, ENTRIES_MAX).next_power_of_two();
        FlowCache {
            secret: Secret::new(secret),
            buckets: vec![Bucket::default(); entries / SLOTS].into(),
            entries: vec![Entry::default(); entries].into(),
            keys: Keys::new(entries),
            codes: Shared::new(entries, secret),
            accounts: Shared::new(entries, secret),
            rows: Box::new([[[0; 2]; PAIRS_MAX]; CHUNK]),
            dirty: VecDeque::with_capacity(entries),
            room_wanted: 0,
            hand: 0,
            len: 0,
            now_ms: 0,
            batch: 0,
        }
    }

    /// Begins a batch: every slot told so far may be given up from now on. `now_ms` is the time of
    /// what is found, counted and inserted until the next batch.
    pub fn begin_batch(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.batch = self.batch.wrapping_add(1);
    }

    /// Looks up one key.
    pub fn find(&mut self, mask: &EntryMask, key: &FlowKey, epoch: u64) -> Lookup {
        let mut found = [Lookup::Miss];
        self.find_batch(mask, core::slice::from_ref(key), epoch, &mut found);
        found[0]
    }

    /// Looks up the keys of packets that came in by one entry point; what each came to goes to
    /// `found` at the same place. Keys without a place there are not looked up.
    pub fn find_batch(
        &mut self,
        mask: &EntryMask,
        keys: &[FlowKey],
        epoch: u64,
        found: &mut [Lookup],
    ) {
        for (keys, found) in keys.chunks(CHUNK).zip(found.chunks_mut(CHUNK)) {
            match mask.pairs() {
                1 => self.find_narrow::<1>(mask, keys, epoch, found),
                2 => self.find_narrow::<2>(mask, keys, epoch, found),
                _ => self.find_wide(mask, keys, epoch, found),
            }
        }
    }

    /// Looks up keys of `N` pairs of words, which are all in the lines of their slots.
    fn find_narrow<const N: usize>(
        &mut self,
        mask: &EntryMask,
        keys: &[FlowKey],
        epoch: u64,
        found: &mut [Lookup],
    ) {
        let mut rows = [[[0; 2]; N]; CHUNK];
        let mut places = [Place::default(); CHUNK];
        let mut hashes = [0; CHUNK];
        self.secret.pack_all(mask, keys, &mut rows, &mut hashes);
        let count = keys.len().min(found.len());
        self.look(&hashes[..count], &mut places);
        let wanted = rows.iter().zip(&places);
        for (found, (row, place)) in found.iter_mut().zip(wanted).take(count) {
            let entries = &self.entries;
            let slot = place.find(|slot| entries[slot].begins_with(row));
            *found = self.found(slot, epoch);
        }
    }

    /// Looks up keys of any width.
    fn find_wide(&mut self, mask: &EntryMask, keys: &[FlowKey], epoch: u64, found: &mut [Lookup]) {
        let mut places = [Place::default(); CHUNK];
        let mut hashes = [0; CHUNK];
        for ((key, row), hash) in keys.iter().zip(&mut *self.rows).zip(&mut hashes) {
            *hash = self.secret.pack(mask, key, row);
        }
        let count = keys.len().min(found.len());
        self.look(&hashes[..count], &mut places);
        for (row, found) in found.iter_mut().enumerate().take(count) {
            let slot = places[row].find(|slot| self.holds(mask, row, slot));
            *found = self.found(slot, epoch);
        }
    }

    /// Compares signatures, and has the slots fetched that fit.
    #[inline(always)]
    fn look(&self, hashes: &[u64], places: &mut [Place; CHUNK]) {
        for (&hash, place) in hashes.iter().zip(places) {
            let bucket = self.bucket(hash);
            *place = Place {
                bucket: bucket as u32,
                candidates: self.buckets[bucket].candidates(hash),
            };
        }
    }

    /// Notes that a lookup ended in a slot; what it came to.
    #[inline(always)]
    fn found(&mut self, slot: Option<usize>, epoch: u64) -> Lookup {
        let Some(slot) = slot else {
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
    #[inline]
    pub fn count(
        &mut self,
        slot: Slot,
        packets: u32,
        bytes: u64,
        mut tell: impl FnMut(&A, Counts),
    ) -> CodeNo {
        let Some(entry) = self.entries.get_mut(slot.0 as usize) else {
            return CodeNo::default();
        };
        if !entry.count(packets, bytes, self.now_ms) {
            let counts = entry.take_counts(self.now_ms);
            if let Some(account) = self.accounts.value(entry.account) {
                tell(account, counts);
            }
            // Now there is room.
            entry.count(packets, bytes, self.now_ms);
        }
        entry.enqueue(slot, &mut self.dirty);
        CodeNo(entry.code)
    }

    /// Keeps code and account for the packets that are like this one under `mask`, in place of
    /// what was kept for them. The account of what is pushed out goes to `evicted` with its counts.
    /// Nothing is kept if there is no room for it: its bucket is full of better entries, or the
    /// mask is wider than the cache provides for before the next [`FlowCache::maintain`].
    pub fn insert(
        &mut self,
        mask: &EntryMask,
        key: &FlowKey,
        (code, account): (C, A),
        epoch: u64,
        mut evicted: impl FnMut(&A, Counts),
    ) -> Option<Slot> {
        if mask.pairs() > self.keys.room() {
            self.room_wanted = self.room_wanted.max(mask.pairs());
            return None;
        }
        let hash = self.secret.pack(mask, key, &mut self.rows[0]);
        let bucket = self.bucket(hash);
        let candidates = self.buckets[bucket].candidates(hash);
        let place = Place {
            bucket: bucket as u32,
            candidates,
        };
        let again = place.find(|slot| self.holds(mask, 0, slot));
        let slot = match again {
            Some(slot) => slot,
            None => bucket * SLOTS + self.buckets[bucket].victim(self.now_ms, self.batch)?,
        };
        self.clear(slot, &mut evicted);
        self.len += 1;
        let place = slot % SLOTS;
        self.buckets[bucket].occupy(place, hash, again.is_some());
        self.buckets[bucket].touch(place, self.now_ms, self.batch);
        let entry = &mut self.entries[slot];
        entry.code = self.codes.acquire(code);
        entry.account = self.accounts.acquire(account);
        entry.set_epoch(epoch);
        let row = &self.rows[0];
        entry.key.copy_from_slice(&row[..INLINE]);
        if let Some(rest) = row.get(INLINE..mask.pairs()) {
            self.keys.write(slot, rest);
        }
        Some(Slot(slot as u32))
    }

    /// Tells the counts of at most `limit` entries; returns whether there are more.
    pub fn flush(&mut self, limit: usize, mut tell: impl FnMut(&A, Counts)) -> bool {
        for _ in 0..limit {
            let Some(slot) = self.dirty.pop_front() else {
                break;
            };
            let entry = &mut self.entries[slot as usize];
            entry.dequeued();
            let counts = entry.take_counts(self.now_ms);
            let account = self.accounts.value(entry.account);
            if let Some(account) = account.filter(|_| counts.packets > 0) {
                tell(account, counts);
            }
        }
        !self.dirty.is_empty()
    }

    /// Entries with counts that are not told yet: so many to flush tells all that was counted so
    /// far.
    pub fn untold(&self) -> usize {
        self.dirty.len()
    }

    /// Looks at the next `buckets` buckets and gives up their entries that were not used for
    /// `idle_ms`; to be called between batches. This is also where the cache gives up all, if a
    /// mask was refused for its width, to take it next time; widths are multiples of a cache
    /// line, so that this happens a few times in the life of a cache.
    pub fn maintain(&mut self, buckets: usize, idle_ms: u32, mut evicted: impl FnMut(&A, Counts)) {
        if self.room_wanted > self.keys.room() {
            for slot in 0..self.entries.len() {
                self.clear(slot, &mut evicted);
            }
            self.keys.widen(self.room_wanted);
        }
        for _ in 0..buckets.min(self.buckets.len()) {
            for place in 0..SLOTS {
                if self.buckets[self.hand].age_ms(place, self.now_ms) >= idle_ms {
                    self.clear(self.hand * SLOTS + place, &mut evicted);
                }
            }
            self.hand = (self.hand + 1) % self.buckets.len();
        }
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
            + self.codes.memory_bytes()
            + self.accounts.memory_bytes()
            + self.dirty.capacity() * size_of::<u32>()
    }

    #[inline(always)]
    fn bucket(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.buckets.len() - 1)
    }

    /// Whether a slot holds the key in a row.
    #[inline(always)]
    fn holds(&self, mask: &EntryMask, row: usize, slot: usize) -> bool {
        let pairs = mask.pairs();
        let (first, rest) = self.rows[row][..pairs].split_at(pairs.min(INLINE));
        self.entries[slot].begins_with(first) && (rest.is_empty() || self.keys.equal(slot, rest))
    }

    /// Gives up what is in a slot.
    fn clear(&mut self, slot: usize, evicted: &mut impl FnMut(&A, Counts)) {
        let entry = &mut self.entries[slot];
        if !entry.is_empty() {
            self.len -= 1;
            let counts = entry.take_counts(self.now_ms);
            if let Some(account) = self.accounts.value(entry.account) {
                evicted(account, counts);
            }
            self.codes.release(entry.code);
            self.accounts.release(entry.account);
            (entry.code, entry.account) = (NONE, NONE);
        }
        self.buckets[slot / SLOTS].vacate(slot % SLOTS);
    }
}

/// Where the entry of a key can be.
#[derive(Clone, Copy, Default)]
struct Place {
    bucket: u32,
    candidates: Candidates,
}

impl Place {
    /// The slot that `holds` the key.
    #[inline(always)]
    fn find(mut self, mut holds: impl FnMut(usize) -> bool) -> Option<usize> {
        let first = self.bucket as usize * SLOTS;
        let place = self.candidates.find(|place| holds(first + place))?;
        Some(first + place)
    }
}

/// Keys that pass through each step of a batch lookup together: as many as a batch of packets
/// has.
const CHUNK: usize = 32;

/// Most entries. A worker's cache of this size takes 1.5 GB; with more flows than that, lookups
/// wait for memory about as long as translation takes.
pub const ENTRIES_MAX: usize = 1 << 24;

/// How long an entry that was found again is kept from being pushed out, since its last use. As
/// long as a busy flow may pause; short enough that flows that ended make room for new ones.
pub const PROTECTED_MS: u32 = 1_000;
