//! Looking up the packets of a batch together, in the passes that [`super`] tells of. Called by the
//! worker for each batch.

use core::hash::Hash;

use super::bucket::Bucket;
use super::entry::Entry;
use super::entry_mask::PAIRS_MAX;
use super::keys::{INLINE, Keys};
use super::span::number;
use super::{
    CodeNo, Counts, EntryMask, FlowCache, KEYS_MAX, Packets, Place, SLOTS, Slot, count_in,
};

/// Keys that are looked up together, by their width. The memory is kept from batch to batch.
pub(super) struct Wanted {
    /// Those of at most [`INLINE`] pairs.
    narrow: Box<[Key<INLINE>]>,
    /// Those of at most [`WIDE`] pairs.
    wide: Box<[Key<WIDE>]>,
    /// All others.
    widest: Box<[Key<PAIRS_MAX>]>,
}

/// Hash and significant words of a key with room for `N` pairs, and where its entry can be.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Key<const N: usize> {
    hash: u64,
    place: Place,
    row: [[u64; 2]; N],
}

impl<const N: usize> Key<N> {
    const NONE: Key<N> = Key {
        hash: 0,
        place: Place::NOWHERE,
        row: [[0; 2]; N],
    };
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            narrow: [Key::NONE; KEYS_MAX].into(),
            wide: [Key::NONE; KEYS_MAX].into(),
            widest: [Key::NONE; KEYS_MAX].into(),
        }
    }
}

impl Packets<'_> {
    /// As many as have all that there must be.
    #[inline(always)]
    fn count(&self) -> usize {
        let least = self.keys.len().min(self.bytes.len()).min(self.codes.len());
        least.min(KEYS_MAX)
    }
}

impl<C: Eq + Hash, A: Eq + Hash> FlowCache<C, A> {
    /// Looks up the keys of packets that came in by one entry point, and counts each packet for its
    /// entry if that is of `epoch`, as [`FlowCache::count`] does. What each came to goes to its
    /// place in `codes`. Keys without a place there, without bytes or behind [`KEYS_MAX`] are not
    /// looked up. Returns whether an entry was of another epoch.
    pub fn count_batch(
        &mut self,
        mask: &EntryMask,
        packets: Packets<'_>,
        epoch: u64,
        tell: impl FnMut(&A, Counts),
    ) -> bool {
        match (mask.pairs(), mask.is_folded()) {
            (1, false) => self.count_narrow::<1, false>(mask, packets, epoch, tell),
            (1, true) => self.count_narrow::<1, true>(mask, packets, epoch, tell),
            (2, false) => self.count_narrow::<2, false>(mask, packets, epoch, tell),
            (2, true) => self.count_narrow::<2, true>(mask, packets, epoch, tell),
            (3, false) => self.count_wide::<3, false>(mask, packets, epoch, tell),
            (3, true) => self.count_wide::<3, true>(mask, packets, epoch, tell),
            (4, false) => self.count_wide::<4, false>(mask, packets, epoch, tell),
            (4, true) => self.count_wide::<4, true>(mask, packets, epoch, tell),
            (5, false) => self.count_wide::<5, false>(mask, packets, epoch, tell),
            (6, false) => self.count_wide::<6, false>(mask, packets, epoch, tell),
            _ => self.count_widest(mask, packets, epoch, tell),
        }
    }

    /// Looks up keys of `N` pairs of words, which are all in the lines of their slots. A function
    /// of its own, so that what its loops need stays in registers.
    #[inline(never)]
    fn count_narrow<const N: usize, const FOLDED: bool>(
        &mut self,
        mask: &EntryMask,
        packets: Packets<'_>,
        epoch: u64,
        tell: impl FnMut(&A, Counts),
    ) -> bool {
        let Some(packer) = self.secret.packer::<N, FOLDED>(mask) else {
            return false;
        };
        let mut all = core::mem::take(&mut self.wanted.narrow);
        let count = packets.count();
        for (key, wanted) in packets.keys[..count].iter().zip(&mut all) {
            wanted.hash = packer.pack(key, &mut wanted.row);
        }
        self.locate(&mut all[..count], |_| 0);
        let stale = self.count_found(packets, &all, epoch, tell, |_, entry, row, _| {
            entry.begins_with(&row[..N])
        });
        self.wanted.narrow = all;
        stale
    }

    /// Looks up keys of `N` pairs of words, of which some are behind the lines of their slots.
    #[inline(never)]
    fn count_wide<const N: usize, const FOLDED: bool>(
        &mut self,
        mask: &EntryMask,
        packets: Packets<'_>,
        epoch: u64,
        tell: impl FnMut(&A, Counts),
    ) -> bool {
        let Some(packer) = self.secret.packer::<N, FOLDED>(mask) else {
            return false;
        };
        let mut all = core::mem::take(&mut self.wanted.wide);
        let count = packets.count();
        for (key, wanted) in packets.keys[..count].iter().zip(&mut all) {
            wanted.hash = packer.pack(key, &mut wanted.row);
        }
        self.locate(&mut all[..count], |slot| self.keys.first(slot));
        let stale = self.count_found(packets, &all, epoch, tell, |keys, entry, row, slot| {
            let (first, rest) = row[..N].split_at(INLINE);
            entry.begins_with(first) && keys.equal(slot, rest)
        });
        self.wanted.wide = all;
        stale
    }

    /// Looks up keys of any width.
    #[inline(never)]
    fn count_widest(
        &mut self,
        mask: &EntryMask,
        packets: Packets<'_>,
        epoch: u64,
        tell: impl FnMut(&A, Counts),
    ) -> bool {
        let mut all = core::mem::take(&mut self.wanted.widest);
        let count = packets.count();
        for (key, wanted) in packets.keys[..count].iter().zip(&mut all) {
            wanted.hash = self.secret.pack(mask, key, &mut wanted.row);
        }
        self.locate(&mut all[..count], |slot| self.keys.first(slot));
        let stale = self.count_found(packets, &all, epoch, tell, |keys, entry, row, slot| {
            let (first, rest) = row[..mask.pairs()].split_at(INLINE);
            entry.begins_with(first) && keys.equal(slot, rest)
        });
        self.wanted.widest = all;
        stale
    }

    /// Finds out where the entries of keys can be, and fetches the first slots that fit if they are
    /// hardly at hand: `more` reads what a slot has behind its own line.
    #[inline(always)]
    fn locate<const N: usize>(&self, all: &mut [Key<N>], more: impl Fn(usize) -> u64) {
        let span = self.span;
        match span.even() {
            Some(buckets) => place(&self.buckets[..buckets], all, |hash| {
                number(hash) & (buckets - 1)
            }),
            None => place(&self.buckets, all, |hash| span.bucket(hash)),
        }
        if self.len <= NEAR_MAX {
            return;
        }
        // So little for each that the loads of nearly all are under way at a time.
        let mut sum = 0;
        for wanted in all {
            let slot = wanted.place.first();
            sum ^= self.entries[slot].epoch() ^ more(slot);
        }
        core::hint::black_box(sum);
    }

    /// Counts packets for the entries that are wanted: `holds` is given an entry, a key's words and
    /// the slot.
    #[inline(always)]
    fn count_found<const N: usize>(
        &mut self,
        packets: Packets<'_>,
        wanted: &[Key<N>],
        epoch: u64,
        mut tell: impl FnMut(&A, Counts),
        holds: impl Fn(&Keys, &Entry, &[[u64; 2]; N], usize) -> bool,
    ) -> bool {
        let (entries, buckets) = (&mut *self.entries, &mut *self.buckets);
        let (now_ms, batch) = (self.now_ms, self.batch);
        let mut stale = false;
        let count = packets.count();
        let results = packets.codes[..count].iter_mut();
        let results = results.zip(&packets.bytes[..count]);
        for (wanted, (code, &bytes)) in wanted[..count].iter().zip(results) {
            let Place { bucket, candidates } = wanted.place;
            let first = bucket as usize * SLOTS;
            let is_it = |place: &usize| {
                let slot = first + place;
                holds(&self.keys, &entries[slot], &wanted.row, slot)
            };
            let Some(place) = candidates.into_iter().find(is_it) else {
                *code = CodeNo::MISS;
                continue;
            };
            let entry = &mut entries[first + place];
            buckets[bucket as usize].found(place, now_ms, batch);
            if entry.is_steady(epoch) && entry.count(1, bytes.into(), now_ms) {
                *code = CodeNo(entry.code);
                continue;
            }
            let (slot, dirty) = (Slot((first + place) as u32), &mut self.dirty);
            if entry.epoch() != epoch {
                (*code, stale) = (CodeNo::of_stale(slot), true);
                continue;
            }
            let counted = (1, bytes.into(), now_ms);
            *code = count_in(entry, slot, counted, &self.accounts, dirty, &mut tell);
        }
        stale
    }
}

/// Notes where the entries of keys can be, by the bucket for a hash.
#[inline(always)]
fn place<const N: usize>(buckets: &[Bucket], all: &mut [Key<N>], bucket_of: impl Fn(u64) -> usize) {
    for wanted in all {
        wanted.place = Place::of(buckets, bucket_of(wanted.hash), wanted.hash);
    }
}

/// Pairs of words of keys that are looked up in loops of known length: IPv6 addresses and ports,
/// and what rules ask for beside them.
const WIDE: usize = 6;

/// With no more entries than this their lines are close at hand: half of a second-level cache of a
/// megabyte, with the buckets'.
const NEAR_MAX: usize = 4096;
