//! What a worker counts on a packet's way and has not told yet.
//!
//! What: nearly all counting is done by the flow cache, once for all that a program counts. Not so
//! where nobody knows beforehand how far a packet comes: in the buckets of a group that selects,
//! and behind an operation that may end it in a program that is no straight line. `datapath` counts
//! it here then, and tells the counters, which all workers share, on request and now and then.
//!
//! How: a direct-mapped table. Counters are numbered as they are made, so that those of a group's
//! buckets have places of their own. Where two want one place, the one that comes tells for the
//! other. A place that counted nothing for one round of [`Tallies::tell_next`] forgets its counters,
//! so that what has gone is not held.

use super::Counted;

/// Counts of a worker, by counters.
#[derive(Debug)]
pub struct Tallies {
    places: Box<[Tally; PLACES]>,
    /// The next place that [`Tallies::tell_next`] looks at.
    hand: usize,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    counted: Option<Counted>,
    packets: u64,
    bytes: u64,
    used_ms: u64,
}

impl Default for Tallies {
    fn default() -> Tallies {
        Tallies {
            places: Box::new([const { Tally::NOTHING }; PLACES]),
            hand: 0,
        }
    }
}

impl Tallies {
    /// Counts a packet of so many bytes.
    #[inline]
    pub fn add(&mut self, counted: &Counted, bytes: u64, now_ms: u64) {
        let tally = &mut self.places[counted.number() as usize % PLACES];
        if tally.counted.as_ref() != Some(counted) {
            tally.give(counted);
        }
        tally.packets += 1;
        tally.bytes += bytes;
        tally.used_ms = now_ms;
    }

    /// Tells all that was counted.
    pub fn tell_all(&mut self) {
        self.places.iter_mut().for_each(Tally::tell);
    }

    /// Tells what was counted in the next place.
    pub fn tell_next(&mut self) {
        let tally = &mut self.places[self.hand % PLACES];
        self.hand = (self.hand + 1) % PLACES;
        match tally.packets {
            0 => tally.counted = None,
            _ => tally.tell(),
        }
    }
}

impl Tally {
    const NOTHING: Tally = Tally {
        counted: None,
        packets: 0,
        bytes: 0,
        used_ms: 0,
    };

    #[cold]
    fn give(&mut self, counted: &Counted) {
        self.tell();
        self.counted = Some(counted.clone());
    }

    fn tell(&mut self) {
        let packets = std::mem::take(&mut self.packets);
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(counted) = self.counted.as_ref().filter(|_| packets > 0) {
            counted.add(packets, bytes, self.used_ms);
        }
    }
}

/// Counters that have a place at a time: the buckets of sixteen groups of sixteen. Twelve KiB, of
/// which only those in use are in a near cache.
const PLACES: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::action::Counters;

    #[test]
    fn what_is_told_is_what_was_counted() {
        let all: Vec<Arc<Counters>> = (0..PLACES * 2).map(|_| Arc::default()).collect();
        let mut tallies = Tallies::default();
        // Each place is wanted by two, in turn.
        for round in 1..=3 {
            for counters in &all {
                tallies.add(&Counted::from(counters), 60 * round, round);
            }
        }
        tallies.tell_all();
        tallies.tell_all();
        for counters in &all {
            assert_eq!(counters.read(), (3, 360, 3));
        }
    }

    #[test]
    fn counters_are_told_in_turn_and_let_go() {
        let counters: Arc<Counters> = Arc::default();
        let mut tallies = Tallies::default();
        tallies.add(&Counted::from(&counters), 60, 7);
        (0..PLACES).for_each(|_| tallies.tell_next());
        assert_eq!(counters.read(), (1, 60, 7));
        assert_eq!(Arc::strong_count(&counters), 2);
        (0..PLACES).for_each(|_| tallies.tell_next());
        assert_eq!(Arc::strong_count(&counters), 1);
    }
}
