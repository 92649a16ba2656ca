//! Eight slots of the flow cache in one cache line: signatures, and what replacement must know.

use super::PROTECTED_MS;
use super::span::upper;

/// Slots of a bucket: as many as a cache line has room for with all that is kept of them.
pub(super) const SLOTS: usize = 8;

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Bucket {
    /// Seven bits of the hash for each slot and [`OCCUPIED`], 0 in an empty one; the first slot
    /// lowest.
    signatures: u64,
    /// When each was last used, in milliseconds modulo 2^32.
    used_ms: [u32; SLOTS],
    /// The batch that used each last, modulo 2^7 (in one case of 128 an old one looks current and
    /// is spared once), and [`FOUND`] if it was found again since it came.
    uses: [u8; SLOTS],
    /// Bits of the hash by which the bucket may be split ([`upper`]).
    uppers: [u16; SLOTS],
}

/// What a bucket keeps of a slot.
pub(super) struct Lane {
    signature: u8,
    used_ms: u32,
    uses: u8,
    upper: u16,
}

impl Bucket {
    /// The slots whose signature fits the hash. A lane of the difference is 0 if it has neither its
    /// highest bit nor any that carries into it.
    #[inline(always)]
    pub(super) fn candidates(&self, hash: u64) -> Candidates {
        let difference = self.signatures ^ (signature(hash) * LOWEST);
        let carried = (difference & !HIGHEST) + !HIGHEST;
        Candidates(!(carried | difference) & HIGHEST)
    }

    /// Fills a slot; `found` says whether the flow was known before.
    pub(super) fn occupy(&mut self, place: usize, hash: u64, found: bool) {
        self.sign(place, signature(hash));
        self.uses[place] = if found { FOUND } else { 0 };
        self.uppers[place] = upper(hash);
    }

    /// Notes that a slot was found again, and so used.
    #[inline(always)]
    pub(super) fn found(&mut self, place: usize, now_ms: u64, batch: u8) {
        self.used_ms[place] = now_ms as u32;
        self.uses[place] = batch | FOUND;
    }

    /// Notes that a slot was used.
    pub(super) fn touch(&mut self, place: usize, now_ms: u64, batch: u8) {
        self.used_ms[place] = now_ms as u32;
        self.uses[place] = self.uses[place] & FOUND | batch & !FOUND;
    }

    /// Empties a slot.
    pub(super) fn vacate(&mut self, place: usize) {
        self.sign(place, EMPTY.into());
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
            let current = self.uses[place] | FOUND == batch | FOUND && !self.is_empty(place);
            !current && (self.uses[place] < FOUND || age_ms >= PROTECTED_MS)
        });
        open.max_by_key(|&place| self.age_ms(place, now_ms))
    }

    /// Whether no slot is empty.
    pub(super) fn is_full(&self) -> bool {
        self.signatures & HIGHEST == HIGHEST
    }

    /// The slots with this bit set of those by which the bucket may be split.
    pub(super) fn above(&self, bit: u32) -> impl Iterator<Item = usize> + use<> {
        let bucket = *self;
        let is_above = move |place: &usize| bucket.uppers[*place] >> bit & 1 != 0;
        (0..SLOTS).filter(move |place| !bucket.is_empty(*place) && is_above(place))
    }

    /// Empties a slot; what was kept of it.
    pub(super) fn take(&mut self, place: usize) -> Lane {
        let lane = Lane {
            signature: self.signature(place),
            used_ms: self.used_ms[place],
            uses: self.uses[place],
            upper: self.uppers[place],
        };
        self.vacate(place);
        lane
    }

    /// Fills a slot with what was kept of another.
    pub(super) fn put(&mut self, place: usize, lane: Lane) {
        self.sign(place, lane.signature.into());
        self.used_ms[place] = lane.used_ms;
        self.uses[place] = lane.uses;
        self.uppers[place] = lane.upper;
    }

    fn is_empty(&self, place: usize) -> bool {
        self.signature(place) == EMPTY
    }

    fn signature(&self, place: usize) -> u8 {
        (self.signatures >> (place * LANE_BITS)) as u8
    }

    fn sign(&mut self, place: usize, signature: u64) {
        let shift = place * LANE_BITS;
        self.signatures = self.signatures & !(0xff << shift) | signature << shift;
    }
}

/// A set of slots of a bucket, as an iterator: the highest bits of their lanes.
#[derive(Clone, Copy)]
pub(super) struct Candidates(u64);

impl Candidates {
    pub(super) const NONE: Candidates = Candidates(0);

    /// The first of them; a slot of the bucket if there is none.
    #[inline(always)]
    pub(super) fn first(self) -> usize {
        self.0.trailing_zeros() as usize / LANE_BITS % SLOTS
    }
}

impl Iterator for Candidates {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let place = self.0.trailing_zeros() as usize / LANE_BITS;
        self.0 &= self.0 - 1;
        Some(place)
    }
}

/// Bits of the hash that choose no bucket.
#[inline(always)]
fn signature(hash: u64) -> u64 {
    hash & 0xff | OCCUPIED
}

const EMPTY: u8 = 0;
const OCCUPIED: u64 = 0x80;
const LANE_BITS: usize = 8;
/// The lowest bit of each lane.
const LOWEST: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each lane.
const HIGHEST: u64 = LOWEST << (LANE_BITS - 1);
/// In [`Bucket::uses`]: the slot was found again.
const FOUND: u8 = 0x80;

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
            // Neighbouring values and those at the ends.
            let values = [0u64, 1, 2, 0x3f, 0x40, 0x41, 0x7e, 0x7f];
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
        assert!(bucket.is_full());
        bucket.vacate(3);
        assert!(!bucket.is_full());
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
