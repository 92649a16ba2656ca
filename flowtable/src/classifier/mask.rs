//! The mask that the rules of a tuple have in common.

use crate::{FlowKey, FlowMask, Match};

/// The words of the key that the rules of a tuple match, and the bits in them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TupleMask {
    /// Bit n is set if word n counts.
    present: u64,
    /// Index and mask of each of those words.
    words: Box<[(u8, u64)]>,
}

impl TupleMask {
    pub(super) fn of(matching: &Match) -> TupleMask {
        let words = matching.words();
        TupleMask {
            present: matching.present(),
            words: words.map(|(index, _, mask)| (index as u8, mask)).collect(),
        }
    }

    /// Whether it is the mask of `matching`.
    pub(super) fn is_of(&self, matching: &Match) -> bool {
        self.present == matching.present() && {
            let mut pairs = self.words.iter().zip(matching.words());
            pairs.all(|((_, ours), (_, _, theirs))| *ours == theirs)
        }
    }

    pub(super) fn words(&self) -> &[(u8, u64)] {
        &self.words
    }

    /// The match with this mask whose values are `values`.
    pub(super) fn matching(&self, values: impl Iterator<Item = u64>) -> Match {
        let masks = self.words.iter().map(|(_, mask)| *mask);
        Match::of_words(self.present, values.zip(masks))
    }

    pub(super) fn unite_into(&self, mask: &mut FlowMask) {
        for &(index, bits) in &self.words {
            mask.0.words_mut()[usize::from(index)] |= bits;
        }
    }

    /// The words of `key` that count, masked, compacted into `room`.
    #[inline(always)]
    pub(super) fn apply<'a>(
        &self,
        key: &FlowKey,
        room: &'a mut [u64; FlowKey::WORDS],
    ) -> &'a [u64] {
        for (&(index, mask), masked) in self.words.iter().zip(room.iter_mut()) {
            *masked = key.words()[usize::from(index)] & mask;
        }
        &room[..self.words.len()]
    }

    /// Whether every bit in this mask is in `mask`.
    pub(super) fn is_within(&self, mask: &FlowMask) -> bool {
        let mut words = self.words.iter();
        words.all(|&(index, bits)| bits & !mask.0.words()[usize::from(index)] == 0)
    }

    /// Whether every bit in the mask of `matching` is in this mask.
    pub(super) fn covers(&self, matching: &Match) -> bool {
        matching.present() & !self.present == 0
            && matching.words().all(|(index, _, mask)| {
                let key = |word: &(u8, u64)| usize::from(word.0);
                let place = self.words.binary_search_by_key(&index, key);
                place.is_ok_and(|place| mask & !self.words[place].1 == 0)
            })
    }
}

pub(super) use crate::hash::hash_words as hash;
