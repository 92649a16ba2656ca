//! What of the key words does not fit into the line of a slot: the pairs behind the first
//! [`INLINE`], each slot's in cache lines of their own.

use super::entry_mask::PAIRS_MAX;
use super::memory::Prepare;

/// Pairs of words that a slot's own line has room for.
pub(super) const INLINE: usize = 2;

pub(super) struct Keys {
    /// Room for whole keys, in pairs of words. The memory is zeroed by the kernel as it is
    /// touched, and what the stride does not reach is not touched.
    pairs: Box<[[u64; 2]]>,
    /// Where the first cache line begins.
    start: usize,
    /// Pairs from one slot to the next.
    stride: usize,
    /// Whether any key was that wide.
    used: bool,
}

impl Keys {
    pub(super) fn new(slots: usize, prepare: Prepare) -> Keys {
        let pairs = vec![[0u64; 2]; slots * STRIDE_MAX + LINE].into_boxed_slice();
        prepare(pairs.as_ptr().cast(), size_of_val(&*pairs));
        let misplaced = pairs.as_ptr() as usize % LINE_BYTES;
        Keys {
            start: (LINE_BYTES - misplaced) % LINE_BYTES / size_of::<[u64; 2]>(),
            pairs,
            stride: LINE,
            used: false,
        }
    }

    /// Pairs of words for which there is room, with those in the slot's own line.
    pub(super) fn room(&self) -> usize {
        INLINE + self.stride
    }

    /// Makes room for keys of this many pairs. What was in the slots is lost.
    pub(super) fn widen(&mut self, pairs: usize) {
        let more = pairs.saturating_sub(INLINE);
        self.stride = more.next_multiple_of(LINE).min(STRIDE_MAX);
    }

    /// Whether these are the slot's pairs behind the first. It looks at all of them: a key that got
    /// this far is nearly always the one. Of more than there is room for none is.
    #[inline(always)]
    pub(super) fn equal(&self, slot: usize, key: &[[u64; 2]]) -> bool {
        if key.len() > self.stride {
            return false;
        }
        let at = self.start + slot * self.stride;
        let held = &self.pairs[at..at + key.len()];
        let mut difference = [0; 2];
        for (held, pair) in held.iter().zip(key) {
            difference[0] |= held[0] ^ pair[0];
            difference[1] |= held[1] ^ pair[1];
        }
        difference == [0; 2]
    }

    /// A word of the slot's pairs behind the first: to have them at hand.
    #[inline(always)]
    pub(super) fn first(&self, slot: usize) -> u64 {
        self.pairs[self.start + slot * self.stride][0]
    }

    /// Puts the pairs behind the first into the slot.
    pub(super) fn write(&mut self, slot: usize, key: &[[u64; 2]]) {
        self.used |= !key.is_empty();
        let at = self.start + slot * self.stride;
        self.pairs[at..at + key.len()].copy_from_slice(key);
    }

    /// Copies the pairs behind the first from one slot to another.
    pub(super) fn copy(&mut self, from: usize, to: usize) {
        if self.used {
            let at = |slot| self.start + slot * self.stride;
            let (from, to) = (at(from), at(to));
            self.pairs.copy_within(from..from + self.stride, to);
        }
    }

    /// Bytes that are in use at this stride: none before there is a key that wide.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.pairs) / STRIDE_MAX * self.stride * usize::from(self.used)
    }
}

const LINE_BYTES: usize = 64;
const LINE: usize = LINE_BYTES / size_of::<[u64; 2]>();
const STRIDE_MAX: usize = (PAIRS_MAX - INLINE).next_multiple_of(LINE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_compared_in_every_word() {
        let mut keys = Keys::new(16, |_, _| ());
        assert_eq!((keys.room(), keys.memory_bytes()), (INLINE + LINE, 0));
        keys.widen(INLINE + LINE + 1);
        assert_eq!(keys.room(), INLINE + 2 * LINE);
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
        let mut keys = Keys::new(16, |_, _| ());
        for pairs in INLINE + 1..=PAIRS_MAX {
            keys.widen(pairs);
            assert!(keys.room() >= pairs);
            let at = keys.start + 5 * keys.stride;
            assert_eq!(&raw const keys.pairs[at] as usize % LINE_BYTES, 0);
            keys.write(15, &[[1; 2]; PAIRS_MAX][INLINE..pairs]);
        }
    }
}
