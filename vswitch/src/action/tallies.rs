//! What a worker counts packet by packet and has not told yet.
//!
//! What: most counting is done by the flow cache, once for all that a program counts. Not so where
//! nobody knows beforehand how far a packet comes: in the buckets of a group that selects, and
//! behind an operation that may end it in a program that is no straight line; and not for packets
//! of flows that get no place in the cache, each of which is counted in everything that its rules
//! count it in, as eight flows with eight tables. It is added up here then, since to add to
//! what all workers share costs as much as a lookup. The counters are told on request and now and
//! then.
//!
//! How: a table of small sets. Counters are numbered as they are made, so that those of a group's
//! buckets, and of the flows of a table, have sets of their own. Where more want a set than have
//! room there, the one that comes tells for the one that has counted least. A place that counted
//! nothing from one telling to the next forgets its counters, so that what has gone is not held.

use flowtable::Counts;

use super::{Counted, CountedIn};

/// Counts of a worker, by counters.
#[derive(Debug)]
pub struct Tallies {
    sets: Box<[[Tally; PLACES]]>,
    /// The next set to be told.
    hand: usize,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Tally {
    counted: Option<Counted>,
    /// Modulo 2^64, as the counters are: what is taken back may have been told.
    packets: u64,
    bytes: u64,
    used_ms: u64,
}

impl Default for Tallies {
    fn default() -> Tallies {
        Tallies {
            sets: (0..SETS).map(|_| Default::default()).collect(),
            hand: 0,
        }
    }
}

impl Tallies {
    /// Counts packets.
    #[inline(always)]
    pub fn add(&mut self, counted: CountedIn<'_>, counts: Counts) {
        let tally = self.tally(counted);
        tally.packets = tally.packets.wrapping_add(counts.packets);
        tally.bytes = tally.bytes.wrapping_add(counts.bytes);
        tally.used_ms = tally.used_ms.max(counts.used_ms);
    }

    /// Takes back what was counted.
    pub fn take_back(&mut self, counted: CountedIn<'_>, counts: Counts) {
        let tally = self.tally(counted);
        tally.packets = tally.packets.wrapping_sub(counts.packets);
        tally.bytes = tally.bytes.wrapping_sub(counts.bytes);
    }

    #[inline(always)]
    fn tally(&mut self, counted: CountedIn<'_>) -> &mut Tally {
        let set = &mut self.sets[counted.number() as usize % SETS];
        let is_it = |tally: &Tally| tally.counted.as_ref().is_some_and(|it| counted.is(it));
        let place = match set.iter().position(is_it) {
            Some(place) => place,
            None => give_place(set, counted),
        };
        &mut set[place]
    }

    /// How many sets there are to be told.
    pub fn sets(&self) -> usize {
        SETS
    }

    /// Tells at most `limit` sets of the `left` that are to be told.
    pub fn tell(&mut self, left: &mut usize, limit: usize) {
        let some = (*left).min(limit);
        for _ in 0..some {
            for tally in &mut self.sets[self.hand % SETS] {
                if tally.is_told() {
                    tally.counted = None;
                }
                tally.tell();
            }
            self.hand = (self.hand + 1) % SETS;
        }
        *left -= some;
    }
}

impl Tally {
    fn is_told(&self) -> bool {
        (self.packets, self.bytes) == (0, 0)
    }

    fn tell(&mut self) {
        if let Some(counted) = self.counted.as_ref().filter(|_| !self.is_told()) {
            counted.add(self.packets, self.bytes, self.used_ms);
        }
        (self.packets, self.bytes, self.used_ms) = (0, 0, 0);
    }
}

/// Gives counters the place of those that have counted the fewest packets, which are told.
#[cold]
#[inline(never)]
fn give_place(set: &mut [Tally; PLACES], counted: CountedIn<'_>) -> usize {
    let places = set.iter().map(|tally| tally.packets).enumerate();
    let least = places.min_by_key(|(_, packets)| *packets);
    let place = least.map_or(0, |(place, _)| place);
    let tally = &mut set[place];
    tally.tell();
    tally.counted = Some(counted.kept());
    place
}

/// Sets: enough for a pipeline of some thousand flows, each of which many packets meet. 256 KiB, of
/// which only those in use are in a near cache; with more it would be as well to add to the
/// counters themselves.
const SETS: usize = 2048;
/// Places of a set: counters of tables and groups are numbered apart from those of flows.
const PLACES: usize = 2;

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

    fn tell_all(tallies: &mut Tallies) {
        let mut left = tallies.sets();
        while left > 0 {
            tallies.tell(&mut left, 100);
        }
    }

    #[test]
    fn what_is_told_is_what_was_counted_however_many_counters_there_are() {
        let counters: Vec<Arc<Counters>> = (0..3 * SETS * PLACES).map(|_| Arc::default()).collect();
        let mut tallies = Tallies::default();
        for round in 1..=2 {
            for (number, one) in counters.iter().enumerate() {
                let number = number as u64;
                tallies.add(CountedIn::Shared(one), counts(number, round));
                tallies.add(CountedIn::Shared(&counters[0]), counts(1, round));
            }
            tell_all(&mut tallies);
            tell_all(&mut tallies);
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
        let mut tallies = Tallies::default();
        tallies.add(CountedIn::Shared(&counters), counts(2, 7));
        tell_all(&mut tallies);
        tallies.take_back(CountedIn::Shared(&counters), counts(1, 7));
        tell_all(&mut tallies);
        assert_eq!(counters.read(), (1, 60, 7));
    }

    #[test]
    fn counters_that_nobody_counts_in_are_let_go() {
        let counters = Arc::default();
        let mut tallies = Tallies::default();
        tallies.add(CountedIn::Shared(&counters), counts(1, 7));
        tell_all(&mut tallies);
        assert_eq!(Arc::strong_count(&counters), 2);
        tell_all(&mut tallies);
        assert_eq!(Arc::strong_count(&counters), 1);
    }
}
