//! What a worker has counted in rules and tables and not told them yet.
//!
//! Packets of flows that get no place in the flow cache are counted here, each in everything that
//! its rules count it in: with eight tables that are sixteen counters, and to add to one that
//! others read costs as much as a lookup. A few of them are in nearly every packet's list, and
//! their sums stay close at hand: a small table by the counters' numbers, in which what finds no
//! place tells what was there. [`Pending::flush`] tells the rest.

use flowtable::Counts;

use super::{Counted, CountedIn};

/// Sums by the counters that they are to be added to.
#[derive(Debug)]
pub struct Pending {
    sets: Box<[[Sum; WAYS]]>,
    /// The next set to be told.
    hand: usize,
}

#[derive(Debug, Default)]
struct Sum {
    counted: Option<Counted>,
    /// Modulo 2^64, as the counters are: what is taken back may have been told.
    packets: u64,
    bytes: u64,
    used_ms: u64,
}

impl Default for Pending {
    fn default() -> Pending {
        Pending {
            sets: (0..SETS).map(|_| Default::default()).collect(),
            hand: 0,
        }
    }
}

impl Pending {
    /// Adds to a sum.
    #[inline(always)]
    pub fn add(&mut self, counted: CountedIn<'_>, counts: Counts) {
        let sum = self.sum(counted);
        sum.packets = sum.packets.wrapping_add(counts.packets);
        sum.bytes = sum.bytes.wrapping_add(counts.bytes);
        sum.used_ms = sum.used_ms.max(counts.used_ms);
    }

    /// Takes back what was added to a sum.
    pub fn take_back(&mut self, counted: CountedIn<'_>, counts: Counts) {
        let sum = self.sum(counted);
        sum.packets = sum.packets.wrapping_sub(counts.packets);
        sum.bytes = sum.bytes.wrapping_sub(counts.bytes);
    }

    #[inline(always)]
    fn sum(&mut self, counted: CountedIn<'_>) -> &mut Sum {
        let set = counted.number().wrapping_mul(FACTOR) >> (64 - SETS.ilog2());
        let set = &mut self.sets[set as usize];
        let is_it = |sum: &Sum| sum.counted.as_ref().is_some_and(|it| counted.is(it));
        let place = match set.iter().position(is_it) {
            Some(place) => place,
            None => give_place(set, counted),
        };
        &mut set[place]
    }

    /// Tells at most `limit` sets of the `left` that are to be told; whether more are left.
    pub fn flush(&mut self, left: &mut usize, limit: usize) -> bool {
        let some = (*left).min(limit);
        for _ in 0..some {
            for sum in &mut self.sets[self.hand] {
                // Nobody was counted there since the last time.
                if sum.is_told() {
                    sum.counted = None;
                }
                sum.tell();
            }
            self.hand = (self.hand + 1) % self.sets.len();
        }
        *left -= some;
        *left > 0
    }

    /// How many sets there are to be told.
    pub fn sets(&self) -> usize {
        self.sets.len()
    }
}

impl Sum {
    fn is_told(&self) -> bool {
        (self.packets, self.bytes) == (0, 0)
    }

    fn tell(&mut self) {
        let (packets, bytes) = (self.packets, self.bytes);
        if let Some(counted) = self.counted.as_ref().filter(|_| !self.is_told()) {
            counted.add(packets, bytes, self.used_ms);
        }
        (self.packets, self.bytes, self.used_ms) = (0, 0, 0);
    }
}

/// Gives counters the place of those in which the fewest packets were counted, which are told.
#[inline(never)]
fn give_place(set: &mut [Sum; WAYS], counted: CountedIn<'_>) -> usize {
    let places = set.iter().map(|sum| sum.packets).enumerate();
    let least = places.min_by_key(|(_, packets)| *packets);
    let place = least.map_or(0, |(place, _)| place);
    let sum = &mut set[place];
    sum.tell();
    sum.counted = Some(counted.kept());
    place
}

/// Enough for the rules of a pipeline that most packets meet; with more sums than fit into a near
/// cache it would be as well to add to the counters themselves.
const SETS: usize = 2048;
const WAYS: usize = 2;
/// Spreads numbers over the sets: an odd number near 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::action::Counters;

    fn counts(packets: u64, used_ms: u64) -> Counts {
        Counts {
            packets,
            bytes: packets * 60,
            used_ms,
        }
    }

    fn flush(pending: &mut Pending) {
        let mut left = pending.sets();
        while pending.flush(&mut left, 100) {}
    }

    #[test]
    fn all_that_is_added_is_told_once_however_many_counters_there_are() {
        let counters: Vec<Arc<Counters>> = (0..3 * SETS * WAYS).map(|_| Arc::default()).collect();
        let mut pending = Pending::default();
        for round in 1..=2 {
            for (number, one) in counters.iter().enumerate() {
                let number = number as u64;
                pending.add(CountedIn::Shared(one), counts(number, round));
                pending.add(CountedIn::Shared(&counters[0]), counts(1, round));
            }
            flush(&mut pending);
            flush(&mut pending);
            for (number, one) in counters.iter().enumerate().skip(1) {
                let packets = number as u64 * round;
                assert_eq!(one.read(), (packets, packets * 60, round));
            }
            let all = counters.len() as u64 * round;
            assert_eq!(counters[0].read(), (all, all * 60, round));
        }
    }

    #[test]
    fn what_was_told_can_be_taken_back() {
        let counters = Arc::default();
        let mut pending = Pending::default();
        pending.add(CountedIn::Shared(&counters), counts(2, 7));
        flush(&mut pending);
        pending.take_back(CountedIn::Shared(&counters), counts(1, 7));
        flush(&mut pending);
        assert_eq!(counters.read(), (1, 60, 7));
    }

    #[test]
    fn counters_that_nobody_counts_in_are_let_go() {
        let counters = Arc::default();
        let mut pending = Pending::default();
        pending.add(CountedIn::Shared(&counters), counts(1, 7));
        flush(&mut pending);
        flush(&mut pending);
        assert_eq!(Arc::strong_count(&counters), 1);
    }
}
