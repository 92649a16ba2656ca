//! The mask that the rules of a tuple have in common.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::hash::Keyed;
use crate::{FlowKey, FlowMask, Match};

/// The words of the key that the rules of a tuple match, and the bits in them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TupleMask {
    /// Bit n is set if word n counts.
    present: u128,
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

    /// Its words, if there are few.
    pub(super) fn near(&self) -> Near {
        let mut near = Near {
            len: self.words.len() as u8,
            ..Near::default()
        };
        for (place, (index, mask)) in self.words.iter().take(NEAR).enumerate() {
            (near.indices[place], near.masks[place]) = (*index, *mask);
        }
        near
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
    pub(super) fn apply<'a>(
        &self,
        key: &FlowKey,
        room: &'a mut [u64; FlowKey::WORDS],
    ) -> &'a [u64] {
        for (word, masked) in self.words_of(key).zip(room.iter_mut()) {
            *masked = word;
        }
        &room[..self.words.len()]
    }

    /// The words of `key` that count, masked.
    #[inline(always)]
    pub(super) fn words_of(&self, key: &FlowKey) -> impl Iterator<Item = u64> {
        let words = self.words.iter();
        words.map(|&(index, mask)| key.words()[usize::from(index)] & mask)
    }

    /// Whether these are the words of `key` that count, masked.
    #[inline(always)]
    pub(super) fn agrees(&self, values: &[AtomicU64], key: &FlowKey) -> bool {
        let mut pairs = values.iter().zip(self.words_of(key));
        pairs.all(|(value, word)| value.load(Ordering::Relaxed) == word)
    }

    /// Whether every bit in this mask is in `mask`.
    pub(super) fn is_within(&self, mask: &FlowMask) -> bool {
        let mut words = self.words.iter();
        words.all(|&(index, bits)| bits & !mask.0.words()[usize::from(index)] == 0)
    }

    /// Whether every bit in this mask is in `mask`.
    pub(super) fn is_part_of(&self, mask: &TupleMask) -> bool {
        let mut words = self.words.iter();
        words.all(|&(index, bits)| bits & !mask.word(index) == 0)
    }

    /// The bits of a word of the key.
    pub(super) fn word(&self, index: u8) -> u64 {
        let place = self.words.binary_search_by_key(&index, |word| word.0);
        place.map_or(0, |place| self.words[place].1)
    }

    /// Bit n is set if word n counts.
    pub(super) fn present(&self) -> u128 {
        self.present
    }

    /// The bits that are in both masks.
    pub(super) fn intersection(&self, other: &TupleMask) -> TupleMask {
        let words = self
            .words
            .iter()
            .map(|&(index, bits)| (index, bits & other.word(index)));
        let words: Box<[_]> = words.filter(|(_, bits)| *bits != 0).collect();
        let present = words.iter().fold(0, |all, (index, _)| all | 1 << index);
        TupleMask { present, words }
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

/// The words of a mask, without another step to memory if there are few.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Near {
    /// How many there are, of which the first are here.
    len: u8,
    indices: [u8; NEAR],
    masks: [u64; NEAR],
}

impl Near {
    /// The first words of `key` that count, masked; 0 where there are fewer.
    #[inline(always)]
    pub(super) fn words_of(&self, key: &FlowKey) -> [u64; NEAR] {
        let word = |place| key.words()[usize::from(self.indices[place])] & self.masks[place];
        core::array::from_fn(word)
    }

    /// The hash of the words of `key` that count in `mask`, of which these are the first.
    #[inline(always)]
    pub(super) fn hash(
        &self,
        hasher: Keyed,
        near: &[u64; NEAR],
        key: &FlowKey,
        mask: &TupleMask,
    ) -> u64 {
        match near.get(..usize::from(self.len)) {
            Some(words) => hash(hasher, words.iter().copied()),
            None => hash(hasher, mask.words_of(key)),
        }
    }

    /// Whether these are the words of `key` that count in `mask`, masked.
    #[inline(always)]
    pub(super) fn agrees(
        &self,
        values: &[AtomicU64],
        near: &[u64; NEAR],
        key: &FlowKey,
        mask: &TupleMask,
    ) -> bool {
        match usize::from(self.len) <= NEAR {
            true => {
                let difference =
                    |(value, word): (&AtomicU64, &u64)| value.load(Ordering::Relaxed) ^ word;
                // A cell has as many values as there are words.
                let differences = values.iter().zip(near).map(difference);
                differences.fold(0, |all, one| all | one) == 0
            }
            false => mask.agrees(values, key),
        }
    }
}

/// The words that the rules of a tuple with many masks may match: each of its cells has the values
/// of all of them, then their masks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    present: u128,
    /// Indices of the words.
    words: Box<[u8]>,
    /// Where each word that is hashed is among them.
    hashed: Box<[u8]>,
}

impl Layout {
    /// For rules that match no word but those in `present`, of which those of `hashed` are hashed.
    pub(super) fn new(present: u128, hashed: &TupleMask) -> Layout {
        let present = present | hashed.present;
        let words = (0..u128::BITS as u8).filter(|word| present >> word & 1 == 1);
        let before = |index: u8| (present & ((1 << index) - 1)).count_ones() as u8;
        let hashed = hashed.words.iter().map(|(index, _)| before(*index));
        Layout {
            present,
            words: words.collect(),
            hashed: hashed.collect(),
        }
    }

    pub(super) fn words(&self) -> &[u8] {
        &self.words
    }

    /// Where a word that is hashed is among the values.
    pub(super) fn place_of_hashed(&self, nth: usize) -> usize {
        usize::from(self.hashed[nth])
    }

    /// Whether rules of this mask have their words in it.
    pub(super) fn holds(&self, mask: &TupleMask) -> bool {
        mask.present & !self.present == 0
    }

    /// Whether a rule may have all the bits of `matching`.
    pub(super) fn may_cover(&self, matching: &Match) -> bool {
        matching.present() & !self.present == 0
    }

    /// Whether the values of a cell have the words of `key` that `mask` has.
    #[inline(always)]
    pub(super) fn agrees(&self, values: &[AtomicU64], mask: &TupleMask, key: &FlowKey) -> bool {
        let mut pairs = self.hashed.iter().zip(&mask.words);
        pairs.all(|(place, (index, bits))| {
            let value = values.get(usize::from(*place));
            let word = key.words()[usize::from(*index)];
            value.is_some_and(|value| (value.load(Ordering::Relaxed) ^ word) & bits == 0)
        })
    }

    /// Whether the values of a cell have these words, masked.
    pub(super) fn has_key(&self, values: &[AtomicU64], mask: &TupleMask, words: &[u64]) -> bool {
        let places = self.hashed.iter().zip(&mask.words);
        let mut pairs = places.zip(words);
        pairs.all(|((place, (_, bits)), word)| {
            let value = values.get(usize::from(*place));
            value.is_some_and(|value| value.load(Ordering::Relaxed) & bits == *word)
        })
    }

    /// Whether a cell's rule matches a packet.
    #[inline(always)]
    pub(super) fn matches(&self, words: &[AtomicU64], key: &FlowKey) -> bool {
        let (values, masks) = words.split_at(self.words.len());
        let pairs = values.iter().zip(masks);
        let mut triples = self.words.iter().zip(pairs);
        triples.all(|(&index, (value, mask))| {
            let word = key.words()[usize::from(index)];
            word & mask.load(Ordering::Relaxed) == value.load(Ordering::Relaxed)
        })
    }

    /// Values and masks of a rule, as a cell has them.
    pub(super) fn write<'a>(&self, matching: &Match, room: &'a mut Room) -> &'a [u64] {
        let count = self.words.len();
        room[..2 * count].fill(0);
        for (index, value, mask) in matching.words() {
            let before = self.present & ((1_u128 << index) - 1);
            let place = before.count_ones() as usize;
            (room[place], room[count + place]) = (value, mask);
        }
        &room[..2 * count]
    }
}

/// Room for the words of any cell's key.
pub(super) type Room = [u64; 2 * FlowKey::WORDS];

pub(super) use crate::hash::hash_words as hash;

/// Words of a mask at hand: what most masks have.
const NEAR: usize = 3;

/// Bits of a rank that tell masks of equally many bits apart.
const RANK_HASH_BITS: u32 = 19;
/// No mask has more bits.
const RANK_BITS_MAX: u32 = (1 << (32 - RANK_HASH_BITS)) - 1;
const _: () = assert!(FlowKey::WORDS * 64 <= RANK_BITS_MAX as usize);
