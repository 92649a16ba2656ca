//! The mask that the rules of a tuple have in common.

use crate::hash::Keyed;
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

    /// Which of two masks wins if rules of both match a packet with equal priority: the one with
    /// more bits, and of those one or the other, always the same.
    pub(super) fn rank(&self) -> u32 {
        let bits: u32 = self.words.iter().map(|(_, bits)| bits.count_ones()).sum();
        let words = self.words.iter();
        let words = words.flat_map(|(index, bits)| [u64::from(*index), *bits]);
        let hash = hash(Keyed::new(0), words);
        bits.min(RANK_BITS_MAX) << RANK_HASH_BITS | (hash >> (64 - RANK_HASH_BITS)) as u32
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

/// Bits of a rank that tell masks of equally many bits apart.
const RANK_HASH_BITS: u32 = 20;
/// No mask has more bits.
const RANK_BITS_MAX: u32 = (1 << (32 - RANK_HASH_BITS)) - 1;
const _: () = assert!(FlowKey::WORDS * 64 <= RANK_BITS_MAX as usize);
