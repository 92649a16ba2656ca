//! What all trackers have counted, for who reads it while they go on.
//!
//! A tracker counts for itself and shows its numbers now and then, in words that nobody else
//! writes. They belong to its pin: who gets that later goes on from there, so that nothing that was
//! counted is lost.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::limits::TRACKERS_MAX;
use super::verdict::Tally;

/// The numbers of each pin.
#[derive(Debug)]
pub(super) struct Accounts(Box<[Account]>);

/// The numbers of one, with lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Account([AtomicU64; WORDS]);

impl Accounts {
    pub fn new() -> Accounts {
        Accounts((0..TRACKERS_MAX).map(|_| Account::default()).collect())
    }

    /// What was shown last under a pin.
    pub fn read(&self, pin: usize) -> Tally {
        let words = self.0[pin].0.each_ref();
        zerocopy::transmute!(words.map(|word| word.load(Relaxed)))
    }

    /// Shows what was counted under a pin.
    pub fn show(&self, pin: usize, tally: Tally) {
        let words: [u64; WORDS] = zerocopy::transmute!(tally);
        for (word, value) in self.0[pin].0.iter().zip(words) {
            word.store(value, Relaxed);
        }
    }

    /// All together.
    pub fn sum(&self) -> Tally {
        let mut sum = [0_u64; WORDS];
        for account in &self.0 {
            for (sum, word) in sum.iter_mut().zip(&account.0) {
                *sum = sum.wrapping_add(word.load(Relaxed));
            }
        }
        zerocopy::transmute!(sum)
    }
}

const WORDS: usize = size_of::<Tally>() / size_of::<u64>();
