//! Keyed hashing of flow keys; used by the classifier and the flow cache.
//!
//! Packets choose what is hashed, so every hash depends on a secret that the caller passes in:
//! who does not know it cannot make keys that collide. The step is a multiplication of 64 by 64
//! bits whose halves are folded together.

use core::hash::{BuildHasher, Hasher};

/// Hashes words one after the other, for maps whose keys are short.
#[derive(Clone, Copy, Debug)]
pub struct Keyed {
    start: u64,
    factor: u64,
}

impl Keyed {
    /// With a secret that nobody else knows.
    pub fn new(secret: u64) -> Keyed {
        let mut stream = Stream(secret);
        Keyed {
            start: stream.next(),
            factor: stream.next() | 1,
        }
    }

    /// The hash of words.
    #[inline(always)]
    pub fn hash_words(self, words: &[u64]) -> u64 {
        hash_words(self, words.iter().copied())
    }
}

impl BuildHasher for Keyed {
    type Hasher = WordHasher;

    fn build_hasher(&self) -> WordHasher {
        WordHasher {
            sum: self.start,
            factor: self.factor,
        }
    }
}

/// Words on their way.
#[derive(Clone, Debug)]
pub struct WordHasher {
    sum: u64,
    factor: u64,
}

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.write_u64(u64::from_ne_bytes(*word));
        }
        for byte in rest {
            self.write_u64((*byte).into());
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.sum = fold(self.sum ^ word, self.factor);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn finish(&self) -> u64 {
        fold(self.sum, self.factor)
    }
}

/// The hash of words.
#[inline(always)]
pub(crate) fn hash_words(hasher: Keyed, words: impl Iterator<Item = u64>) -> u64 {
    let mut state = hasher.build_hasher();
    words.for_each(|word| state.write_u64(word));
    state.finish()
}

/// The product of `a` and `b`, its halves folded together.
#[inline(always)]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Many secret words out of one: splitmix64 (Steele, Lea, Flood 2014, figure 15).
#[derive(Debug)]
pub(crate) struct Stream(pub(crate) u64);

impl Stream {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
