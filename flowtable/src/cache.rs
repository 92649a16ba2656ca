//! The flow cache: what was decided for a flow, found again by a few loads and compares.
//!
//! What. Each worker has one. It maps the bits of a packet's key that may matter (those of its
//! entry point's [`EntryMask`], computed from the rules and never from packets) to `P`, the
//! program that translation made of them. It may change speed, never behaviour: an entry answers
//! only for equal words under an equal mask, and only in the epoch for which it was made; in any
//! other it is told as stale, so that the caller renews it ([`crate::Changes`]) or translates anew.
//!
//! How. A hash under a secret chooses a bucket of eight slots. A bucket is one cache line: eight
//! signatures of 16 bits, compared at once, and what replacement needs to know. A slot whose
//! signature fits has its key words in a line (or few) of their own and program, epoch and
//! counters in another. A batch is looked up in passes (hash all, compare all signatures, verify
//! all), so that the loads of different packets overlap where one packet alone would wait three
//! times. Memory is fixed at creation. Key words lie `stride` apart, which is a cache line until
//! a wider mask appears; then the cache empties itself, once, and goes on with a wider stride.
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
//! push each other out for ever. More elaborate replacement would cost stores on every hit.
//!
//! Threads. None: a worker owns its cache.

use std::collections::VecDeque;

use crate::FlowKey;

mod bucket;
mod entry_mask;
mod keys;

use bucket::{Bucket, Candidates, SLOTS};
pub use entry_mask::EntryMask;
use entry_mask::{PAIRS_MAX, Row, Secret};
use keys::Keys;

/// Programs by the significant words of a packet's key.
pub struct FlowCache<P> {
    secret: Secret,
    buckets: Box<[Bucket]>,
    keys: Keys,
    /// The significant words of the keys that are looked up together.
    rows: Box<[Row; CHUNK]>,
    entries: Box<[Entry<P>]>,
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

/// What a lookup came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lookup {
    /// There is no entry.
    #[default]
    Miss,
    /// There is an entry of another epoch in this slot: renew it ([`FlowCache::renew`]) or
    /// translate anew and insert.
    Stale(Slot),
    /// The program is in this slot.
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

#[repr(align(64))]
struct Entry<P> {
    program: Option<P>,
    epoch: u64,
    /// [`EntryMask::id`] of the mask under which the key words were taken.
    mask: u64,
    counts: Counts,
    /// Whether the slot is in the queue of dirty ones.
    queued: bool,
}

impl<P> FlowCache<P> {
    /// A cache of at least this many entries, rounded up to a power of two and at most
    /// [`ENTRIES_MAX`]. Whoever does not know the secret cannot make packets that collide.
    pub fn new(entries: usize, secret: u64) -> FlowCache<P> {
        let entries = entries.clamp(SLOTS * 2, ENTRIES_MAX).next_power_of_two();
        FlowCache {
            secret: Secret::new(secret),
            buckets: vec![Bucket::default(); entries / SLOTS].into(),
            keys: Keys::new(entries),
            rows: Box::new([[[0; 2]; PAIRS_MAX]; CHUNK]),
            entries: (0..entries).map(|_| Entry::default()).collect(),
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
            self.find_chunk(mask, keys, epoch, found);
        }
    }

    fn find_chunk(&mut self, mask: &EntryMask, keys: &[FlowKey], epoch: u64, found: &mut [Lookup]) {
        let mut hashes = [0; CHUNK];
        let mut candidates = [Candidates::default(); CHUNK];
        for ((key, row), hash) in keys.iter().zip(&mut *self.rows).zip(&mut hashes) {
            *hash = self.secret.pack(mask, key, row);
        }
        let hashes = &hashes[..keys.len()];
        for (&hash, candidates) in hashes.iter().zip(&mut candidates) {
            *candidates = self.buckets[self.bucket(hash)].candidates(hash);
        }
        for (n, (&hash, found)) in hashes.iter().zip(found).enumerate() {
            *found = self.verify(mask, n, epoch, self.bucket(hash), candidates[n]);
        }
    }

    /// The program in a slot; `None` only if the slot is not of the current batch.
    pub fn program(&self, slot: Slot) -> Option<&P> {
        self.entries.get(slot.0 as usize)?.program.as_ref()
    }

    /// The epoch for which the program in a slot was made or renewed last.
    pub fn epoch(&self, slot: Slot) -> Option<u64> {
        Some(self.entries.get(slot.0 as usize)?.epoch)
    }

    /// Says that the program in a slot is right in an epoch, too.
    pub fn renew(&mut self, slot: Slot, epoch: u64) {
        if let Some(entry) = self.entries.get_mut(slot.0 as usize) {
            entry.epoch = epoch;
        }
    }

    /// Counts packets that ran the program in a slot.
    pub fn count(&mut self, slot: Slot, packets: u64, bytes: u64) {
        let Some(entry) = self.entries.get_mut(slot.0 as usize) else {
            return;
        };
        entry.counts.packets += packets;
        entry.counts.bytes += bytes;
        entry.counts.used_ms = self.now_ms;
        if !entry.queued {
            entry.queued = true;
            self.dirty.push_back(slot.0);
        }
    }

    /// Keeps a program for the packets that are like this one under `mask`, in place of what was
    /// kept for them. Whatever is pushed out goes to `evicted` with its counts. The program comes
    /// back if there is no room for it: its bucket is full of better entries, or the mask is
    /// wider than the cache provides for before the next [`FlowCache::maintain`].
    pub fn insert(
        &mut self,
        mask: &EntryMask,
        key: &FlowKey,
        program: P,
        epoch: u64,
        mut evicted: impl FnMut(P, Counts),
    ) -> Result<Slot, P> {
        if mask.pairs() > self.keys.room() {
            self.room_wanted = self.room_wanted.max(mask.pairs());
            return Err(program);
        }
        let hash = self.secret.pack(mask, key, &mut self.rows[0]);
        let bucket = self.bucket(hash);
        let (place, again) = match self.place(mask, bucket, hash) {
            Some(place) => (place, true),
            None => match self.buckets[bucket].victim(self.now_ms, self.batch) {
                Some(place) => (place, false),
                None => return Err(program),
            },
        };
        let slot = bucket * SLOTS + place;
        self.clear(slot, &mut evicted);
        self.len += 1;
        self.buckets[bucket].occupy(place, hash, again);
        self.buckets[bucket].touch(place, self.now_ms, self.batch);
        self.keys.write(slot, &self.rows[0][..mask.pairs()]);
        let entry = &mut self.entries[slot];
        entry.program = Some(program);
        entry.epoch = epoch;
        entry.mask = mask.id();
        Ok(Slot(slot as u32))
    }

    /// Tells the counts of at most `limit` entries; returns whether there are more.
    pub fn flush(&mut self, limit: usize, mut tell: impl FnMut(&P, Counts)) -> bool {
        for _ in 0..limit {
            let Some(slot) = self.dirty.pop_front() else {
                break;
            };
            let entry = &mut self.entries[slot as usize];
            entry.queued = false;
            let counts = core::mem::take(&mut entry.counts);
            if let Some(program) = entry.program.as_ref().filter(|_| counts.packets > 0) {
                tell(program, counts);
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
    pub fn maintain(&mut self, buckets: usize, idle_ms: u32, mut evicted: impl FnMut(P, Counts)) {
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

    /// Bytes of memory, without what `P` points to.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.buckets)
            + size_of_val(&*self.entries)
            + self.keys.memory_bytes()
            + self.dirty.capacity() * size_of::<u32>()
    }

    #[inline(always)]
    fn bucket(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.buckets.len() - 1)
    }

    /// Looks through the slots whose signature fits for the key in a row.
    #[inline(always)]
    fn verify(
        &mut self,
        mask: &EntryMask,
        row: usize,
        epoch: u64,
        bucket: usize,
        mut candidates: Candidates,
    ) -> Lookup {
        let Some(place) = candidates.find(|place| self.holds(mask, row, bucket * SLOTS + place))
        else {
            return Lookup::Miss;
        };
        let slot = bucket * SLOTS + place;
        self.buckets[bucket].found(place);
        self.buckets[bucket].touch(place, self.now_ms, self.batch);
        match self.entries[slot].epoch == epoch {
            true => Lookup::Hit(Slot(slot as u32)),
            false => Lookup::Stale(Slot(slot as u32)),
        }
    }

    /// Which slot of its bucket holds the key in the first row, of whatever epoch.
    fn place(&self, mask: &EntryMask, bucket: usize, hash: u64) -> Option<usize> {
        let mut candidates = self.buckets[bucket].candidates(hash);
        candidates.find(|place| self.holds(mask, 0, bucket * SLOTS + place))
    }

    /// Whether a slot holds the key in a row.
    #[inline(always)]
    fn holds(&self, mask: &EntryMask, row: usize, slot: usize) -> bool {
        let key = &self.rows[row][..mask.pairs()];
        self.entries[slot].mask == mask.id() && self.keys.equal(slot, key)
    }

    /// Gives up what is in a slot.
    fn clear(&mut self, slot: usize, evicted: &mut impl FnMut(P, Counts)) {
        let entry = &mut self.entries[slot];
        let counts = core::mem::take(&mut entry.counts);
        if let Some(program) = entry.program.take() {
            self.len -= 1;
            evicted(program, counts);
        }
        self.buckets[slot / SLOTS].vacate(slot % SLOTS);
    }
}

impl<P> Default for Entry<P> {
    fn default() -> Self {
        Entry {
            program: None,
            epoch: 0,
            mask: 0,
            counts: Counts::default(),
            queued: false,
        }
    }
}

/// Keys that pass through each step of a batch lookup together: as many as a batch of packets
/// has.
const CHUNK: usize = 32;

/// Most entries. A worker's cache of this size takes 2.5 GB; with more flows than that, lookups
/// wait for memory about as long as translation takes.
pub const ENTRIES_MAX: usize = 1 << 24;

/// How long an entry that was found again is kept from being pushed out, since its last use. As
/// long as a busy flow may pause; short enough that flows that ended make room for new ones.
pub const PROTECTED_MS: u32 = 1_000;
