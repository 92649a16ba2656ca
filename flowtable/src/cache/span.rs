//! How much of its memory a flow cache uses: the first buckets, more as entries come.
//!
//! What. A lookup touches a bucket and a slot, wherever the hash says. With few entries all over a
//! large memory each is alone in its cache line and on its page; so a cache that is made for
//! millions looks up a thousand as fast as one that is made for a thousand only if it keeps them
//! together.
//!
//! How. Linear hashing: of a power of two of buckets the first ones are split in turn, each into
//! itself and one behind all. A bucket keeps the bit of the hash that says which entries go there.
//! So many are split when a batch begins that none fills up meanwhile, and the work has a bound.
//! Between two doublings, which is nearly always, a bucket is found by a mask alone.
//!
//! Why not simpler. To double at once would take milliseconds, in which packets are lost; to begin
//! anew with each doubling would have every flow translated again.
//!
//! It never shrinks: entries that are left over after a flood are found as fast as in a cache that
//! never grew but began in full size.

use super::bucket::SLOTS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Buckets of which some are split, a power of two.
    whole: usize,
    /// The first so many are split; 0 between two doublings.
    split: usize,
    /// All that there are, a power of two.
    all: usize,
}

impl Span {
    /// What a cache of so many buckets, a power of two, begins with.
    pub(super) fn new(all: usize) -> Span {
        Span {
            whole: all.min(BUCKETS_MIN),
            split: 0,
            all,
        }
    }

    /// The bucket for a hash.
    #[inline(always)]
    pub(super) fn bucket(self, hash: u64) -> usize {
        let low = number(hash) & (self.whole - 1);
        match low < self.split {
            true => number(hash) & (2 * self.whole - 1),
            false => low,
        }
    }

    /// The number of buckets if it is a power of two, so that a mask finds the one for a hash.
    #[inline(always)]
    pub(super) fn even(self) -> Option<usize> {
        (self.split == 0).then_some(self.whole)
    }

    /// Buckets that are in use.
    pub(super) fn used(self) -> usize {
        self.whole + self.split
    }

    /// Entries with which it is to be split on.
    pub(super) fn entries_max(self) -> usize {
        match (self.split, self.whole == self.all) {
            (_, true) => usize::MAX,
            (0, false) => self.whole * SLOTS / SLOTS_EACH,
            _ => 0,
        }
    }

    /// Entries with which it may be split because some buckets are full: with half as many as it
    /// would be by itself, none is but by the rarest chance.
    pub(super) fn entries_crowded(self) -> usize {
        match self.entries_max() {
            usize::MAX => usize::MAX,
            most => most / 2,
        }
    }

    /// The next bucket to be split, the one that it shares its entries with, and the number of the
    /// bit that says which go there, in [`upper`]; none if there is no more memory.
    pub(super) fn next(self) -> Option<(usize, usize, u32)> {
        let bit = self.whole.trailing_zeros().checked_sub(BITS_MIN)?;
        (self.whole < self.all).then_some((self.split, self.split + self.whole, bit))
    }

    /// Notes that the next bucket was split.
    pub(super) fn advance(&mut self) {
        self.split += 1;
        if self.split == self.whole {
            (self.whole, self.split) = (2 * self.whole, 0);
        }
    }
}

/// The bits of a hash that say which bucket.
#[inline(always)]
pub(super) fn number(hash: u64) -> usize {
    (hash >> 32) as usize
}

/// Those of them that a bucket may be split by.
#[inline(always)]
pub(super) fn upper(hash: u64) -> u16 {
    (number(hash) >> BITS_MIN) as u16
}

/// Buckets that a large cache begins with: 32 KiB, and as much again for each of its slots.
const BUCKETS_MIN: usize = 1 << BITS_MIN;
const BITS_MIN: u32 = 9;
/// Slots for each entry before more are used: with two entries a bucket hardly one of 10,000 flows
/// finds its bucket full.
const SLOTS_EACH: usize = 4;
/// Entries that any cache has room for as it begins.
pub(super) const LEAST_ENTRIES: usize = BUCKETS_MIN * SLOTS / SLOTS_EACH;
/// Buckets split when a batch begins: as many as it may bring new entries, so that twice as many
/// buckets are there with half as many entries again.
pub(super) const SPLIT_TOGETHER: usize = super::KEYS_MAX;

const _: () = assert!((super::ENTRIES_MAX / SLOTS) >> BITS_MIN <= 1 << u16::BITS);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Stream;

    #[test]
    fn a_bucket_is_split_by_the_bit_that_tells_its_entries_apart() {
        let (mut span, mut stream) = (Span::new(1 << 13), Stream(7));
        let hashes: Vec<u64> = (0..1000).map(|_| stream.next()).collect();
        while let Some((from, to, bit)) = span.next() {
            let before = span;
            span.advance();
            for hash in &hashes {
                let goes = before.bucket(*hash) == from && upper(*hash) >> bit & 1 != 0;
                let expected = if goes { to } else { before.bucket(*hash) };
                assert_eq!(span.bucket(*hash), expected);
            }
            assert_eq!(span.used(), before.used() + 1);
        }
        assert_eq!(span.even(), Some(1 << 13));
        assert_eq!(span.entries_max(), usize::MAX);
    }

    #[test]
    fn a_small_cache_uses_all_from_the_start() {
        let span = Span::new(4);
        assert_eq!((span.used(), span.next()), (4, None));
    }
}
