//! The significant bits of packets at one entry point, and the hash of a key under them.

use crate::hash::{Stream, fold};
use crate::{FlowKey, FlowMask};

/// The bits that may matter for packets that enter the pipeline at one point, as a list of words.
/// Masks are equal if they have the same bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryMask {
    words: Box<[MaskWord]>,
    id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MaskWord {
    index: usize,
    mask: u64,
}

impl EntryMask {
    /// The words of `mask` that have a bit.
    pub fn new(mask: &FlowMask) -> EntryMask {
        let words = mask.0.words().iter().enumerate();
        let words: Box<[MaskWord]> = words
            .filter(|(_, mask)| **mask != 0)
            .map(|(index, &mask)| MaskWord { index, mask })
            .collect();
        let id = words.iter().fold(0, |id, word| {
            let word_id = Stream(word.mask ^ Stream(word.index as u64).next()).next();
            Stream(id ^ word_id).next()
        });
        EntryMask { words, id }
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether no bit matters.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// A number that equal masks share and others in all likelihood do not. It tells apart the
    /// masks that one entry point has from epoch to epoch, nothing that a packet could choose.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The words of `key` that count, masked.
    #[inline(always)]
    pub(super) fn apply(&self, key: &FlowKey) -> impl Iterator<Item = u64> {
        let words = key.words();
        self.words
            .iter()
            .map(move |word| words[word.index] & word.mask)
    }
}

/// What the hash depends on besides the key: a secret word for each word of the key.
pub(super) struct Secret {
    words: [u64; FlowKey::WORDS],
    start: u64,
    factor: u64,
}

impl Secret {
    pub(super) fn new(secret: u64) -> Secret {
        let mut stream = Stream(secret);
        Secret {
            words: core::array::from_fn(|_| stream.next()),
            start: stream.next(),
            factor: stream.next() | 1,
        }
    }

    /// Hash of the words of `key` under `mask`. Each pair of words, hidden behind secret ones, is
    /// multiplied on its own, so that the products do not wait for one another.
    #[inline(always)]
    pub(super) fn hash(&self, mask: &EntryMask, key: &FlowKey) -> u64 {
        let mut sum = self.start;
        let words = key.words();
        let (pairs, last) = mask.words.as_chunks::<2>();
        for [a, b] in pairs {
            let a = (words[a.index] & a.mask) ^ self.words[a.index];
            let b = (words[b.index] & b.mask) ^ self.words[b.index];
            sum = sum.wrapping_add(fold(a, b));
        }
        for a in last {
            let a = (words[a.index] & a.mask) ^ self.words[a.index];
            sum = sum.wrapping_add(fold(a, self.factor));
        }
        fold(sum, self.factor)
    }
}
