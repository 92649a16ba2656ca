//! The key words of the flow cache's slots, each slot's in cache lines of their own.

use super::entry_mask::PAIRS_MAX;

pub(super) struct Keys {
    /// Room for whole keys, in pairs of words. The memory is zeroed by the kernel as it is
    /// touched, and what the stride does not reach is not touched.
    pairs: Box<[[u64; 2]]>,
    /// Where the first cache line begins.
    start: usize,
    /// Pairs from one slot to the next.
    stride: usize,
}

impl Keys {
    pub(super) fn new(slots: usize) -> Keys {
        let pairs = vec![[0u64; 2]; slots * STRIDE_MAX + LINE].into_boxed_slice();
        let misplaced = pairs.as_ptr() as usize % LINE_BYTES;
        Keys {
            start: (LINE_BYTES - misplaced) % LINE_BYTES / size_of::<[u64; 2]>(),
            pairs,
            stride: LINE,
        }
    }

    /// Pairs of words for which a slot has room.
    pub(super) fn room(&self) -> usize {
        self.stride
    }

    /// Makes room for keys of this many pairs. What was in the slots is lost.
    pub(super) fn widen(&mut self, pairs: usize) {
        self.stride = pairs.next_multiple_of(LINE).min(STRIDE_MAX);
    }

    /// Whether the slot holds this key, which is no longer than its room. It looks at all of it:
    /// a key that got this far is nearly always the one.
    #[inline(always)]
    pub(super) fn equal(&self, slot: usize, key: &[[u64; 2]]) -> bool {
        let at = self.start + slot * self.stride;
        let held = &self.pairs[at..at + self.stride];
        let mut difference = [0; 2];
        for (held, pair) in held.iter().zip(key) {
            difference[0] |= held[0] ^ pair[0];
            difference[1] |= held[1] ^ pair[1];
        }
        difference == [0; 2]
    }

    /// Puts a key into the slot.
    pub(super) fn write(&mut self, slot: usize, key: &[[u64; 2]]) {
        let at = self.start + slot * self.stride;
        self.pairs[at..at + key.len()].copy_from_slice(key);
    }

    /// Bytes that are in use at this stride.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.pairs) / STRIDE_MAX * self.stride
    }
}

const LINE_BYTES: usize = 64;
const LINE: usize = LINE_BYTES / size_of::<[u64; 2]>();
const STRIDE_MAX: usize = PAIRS_MAX.next_multiple_of(LINE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_compared_in_every_word() {
        let mut keys = Keys::new(16);
        keys.widen(LINE + 1);
        assert_eq!(keys.room(), 2 * LINE);
        let key = [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]];
        keys.write(3, &key);
        keys.write(4, &[[0; 2]; 5]);
        assert!(keys.equal(3, &key) && !keys.equal(4, &key) && !keys.equal(2, &key));
        for word in 0..10 {
            let mut other = key;
            other[word / 2][word % 2] ^= 1 << (word * 6);
            assert!(!keys.equal(3, &other), "word {word}");
        }
    }

    #[test]
    fn slots_begin_at_cache_lines() {
        let mut keys = Keys::new(16);
        for pairs in 1..=PAIRS_MAX {
            keys.widen(pairs);
            let at = keys.start + 5 * keys.stride;
            assert_eq!(&raw const keys.pairs[at] as usize % LINE_BYTES, 0);
            keys.write(15, &[[1; 2]; PAIRS_MAX][..pairs]);
        }
    }
}
