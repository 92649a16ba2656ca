//! Eight slots of the flow cache in one cache line: signatures, and what replacement must know.

use super::PROTECTED_MS;

/// Slots of a bucket: as many as a cache line has room for with all that is kept of them.
pub(super) const SLOTS: usize = 8;

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Bucket {
    /// Sixteen bits of the hash for each slot, [`EMPTY`] in an empty one: four in each word, the
    /// first lowest.
    signatures: [u64; SLOTS / LANES],
    /// When each was last used, in milliseconds modulo 2^32.
    used_ms: [u32; SLOTS],
    /// Whether each was found again since it came.
    found: [bool; SLOTS],
    /// The batch that used each last, modulo 2^8: in one case of 256 an old one looks current
    /// and is spared once.
    batches: [u8; SLOTS],
}

impl Bucket {
    /// The slots whose signature fits the hash. A lane of the difference is 0 if it has neither its
    /// highest bit nor any that carries into it.
    #[inline(always)]
    pub(super) fn candidates(&self, hash: u64) -> Candidates {
        let wanted = u64::from(signature(hash)) * LOWEST;
        let [low, high] = self.signatures.map(|word| {
            let difference = word ^ wanted;
            let carried = (difference & !HIGHEST) + !HIGHEST;
            !(carried | difference) & HIGHEST
        });
        Candidates(low >> (LANE_BITS - 1) | high >> (LANE_BITS - 2))
    }

    /// Fills a slot; `found` says whether the flow was known before.
    pub(super) fn occupy(&mut self, place: usize, hash: u64, found: bool) {
        self.sign(place, signature(hash));
        self.found[place] = found;
    }

    /// Notes that a slot was found again, and so used.
    #[inline(always)]
    pub(super) fn found(&mut self, place: usize, now_ms: u64, batch: u8) {
        self.found[place] = true;
        self.touch(place, now_ms, batch);
    }

    /// Notes that a slot was used.
    #[inline(always)]
    pub(super) fn touch(&mut self, place: usize, now_ms: u64, batch: u8) {
        self.used_ms[place] = now_ms as u32;
        self.batches[place] = batch;
    }

    /// Empties a slot.
    pub(super) fn vacate(&mut self, place: usize) {
        self.sign(place, EMPTY);
    }

    /// How long a slot was not used; an empty one is as old as can be.
    pub(super) fn age_ms(&self, place: usize, now_ms: u64) -> u32 {
        if self.is_empty(place) {
            return u32::MAX;
        }
        (now_ms as u32).wrapping_sub(self.used_ms[place])
    }

    /// The slot for a new entry: an empty one, else of those that are not protected the least
    /// recently used.
    pub(super) fn victim(&self, now_ms: u64, batch: u8) -> Option<usize> {
        let open = (0..SLOTS).filter(|&place| {
            let age_ms = self.age_ms(place, now_ms);
            let current = self.batches[place] == batch && !self.is_empty(place);
            !current && (!self.found[place] || age_ms >= PROTECTED_MS)
        });
        open.max_by_key(|&place| self.age_ms(place, now_ms))
    }

    fn is_empty(&self, place: usize) -> bool {
        let lane = self.signatures[place / LANES] >> (place % LANES * LANE_BITS);
        lane as u16 == EMPTY
    }

    fn sign(&mut self, place: usize, signature: u16) {
        let shift = place % LANES * LANE_BITS;
        let word = &mut self.signatures[place / LANES];
        *word = *word & !(0xffff << shift) | u64::from(signature) << shift;
    }
}

/// A set of slots of a bucket, as an iterator. Slot n of the first word has bit 16 n, slot n of the
/// second bit 16 n + 1.
#[derive(Clone, Copy, Default)]
pub(super) struct Candidates(u64);

impl Iterator for Candidates {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit / LANE_BITS + bit % LANE_BITS * LANES)
    }
}

/// Bits of the hash that choose no bucket. None is like that of an empty slot.
#[inline(always)]
fn signature(hash: u64) -> u16 {
    (hash as u16).max(EMPTY + 1)
}

const EMPTY: u16 = 0;
const LANE_BITS: usize = 16;
/// Signatures in a word.
const LANES: usize = 4;
/// The lowest bit of each lane.
const LOWEST: u64 = 0x0001_0001_0001_0001;
/// The highest bit of each lane.
const HIGHEST: u64 = LOWEST << (LANE_BITS - 1);

const _: () = assert!(size_of::<Bucket>() == 64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Stream;

    #[test]
    fn candidates_are_the_slots_with_the_signature() {
        let mut stream = Stream(5);
        for _ in 0..10_000 {
            let mut bucket = Bucket::default();
            // Neighbouring values, which borrow and carry, and those at the ends.
            let values = [0u64, 1, 2, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff];
            let mut draw = || values[stream.next() as usize % values.len()];
            let hashes: [u64; SLOTS] = core::array::from_fn(|_| draw());
            let filled = draw();
            for (place, hash) in hashes.into_iter().enumerate() {
                if filled & 1 << place != 0 {
                    bucket.occupy(place, hash, false);
                }
            }
            let wanted = draw();
            let fits = |place: &usize| {
                filled & 1 << place != 0 && signature(hashes[*place]) == signature(wanted)
            };
            let mut found: Vec<usize> = bucket.candidates(wanted).collect();
            found.sort_unstable();
            assert_eq!(found, (0..SLOTS).filter(fits).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut bucket = Bucket::default();
        for place in 0..SLOTS {
            assert_eq!(
                bucket.victim(100, 9).map(|place| bucket.age_ms(place, 100)),
                Some(u32::MAX)
            );
            bucket.occupy(place, 7, false);
            bucket.touch(place, 10 + place as u64 % 3, 1);
        }
        bucket.touch(6, 5, 1);
        assert_eq!(bucket.victim(100, 2), Some(6));
        bucket.found(6, 5, 1);
        assert_eq!(bucket.victim(100, 2).map(|place| place % 3), Some(0));
        assert_eq!(bucket.victim(u64::from(PROTECTED_MS) + 5, 2), Some(6));
        assert_eq!(bucket.victim(100, 1), None, "this batch uses them all");
        bucket.vacate(3);
        assert_eq!(bucket.victim(100, 1), Some(3));
    }

    #[test]
    fn time_wraps() {
        let mut bucket = Bucket::default();
        bucket.occupy(0, 7, true);
        bucket.touch(0, u64::from(u32::MAX), 1);
        assert_eq!(bucket.age_ms(0, u64::from(u32::MAX) + 6), 6);
    }
}
