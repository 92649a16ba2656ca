//! Who came lately and found no room: those of whom something was seen, told by parts of hashes.
//!
//! What is new where there is no room is let in when it comes again. So a flood of what comes once
//! takes nobody's place, and costs no more than being noted here: two bytes. One of some thousands
//! is let in at once since what is noted of it is there already, which does no harm. The flow cache
//! asks here of flows, and who makes programs of ways through the rules.
//!
//! A hash chooses a set of four places, and who finds them all taken gets the one that chance says.
//! Not the oldest: five that come in turn would displace each other for ever, while here some are
//! always noted long enough to come again; and they are let in, and there is one less. For the same
//! reason there is not one place for each hash.

use super::memory::{Prepare, filled};
use crate::hash::Stream;

/// A bounded number of hashes that were seen once.
#[derive(Debug)]
pub struct Visitors {
    sets: Box<[Set]>,
    chance: Stream,
}

/// Those of neighbouring hashes; aligned, so that none lies in two lines of memory.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(8))]
struct Set([u16; WAYS]);

impl Visitors {
    /// Room for so many, rounded up to a power of two. What is forgotten first depends on `secret`.
    pub fn new(count: usize, secret: u64) -> Visitors {
        Visitors::prepared(count, secret, |_, _| ())
    }

    pub(super) fn prepared(count: usize, secret: u64, prepare: Prepare) -> Visitors {
        let sets = count.div_ceil(WAYS).next_power_of_two();
        Visitors {
            sets: filled(sets, Set::default(), prepare),
            chance: Stream(secret),
        }
    }

    /// Notes that somebody with this hash came; whether that was noted before, and is still known.
    /// Who is known is forgotten.
    #[inline]
    pub fn come(&mut self, hash: u64) -> bool {
        let signature = hash as u16 | SOMEBODY;
        let place = self.place(hash);
        let Set(ways) = &mut self.sets[place];
        if let Some(known) = ways.iter().position(|way| *way == signature) {
            ways[known] = NOBODY;
            return true;
        }
        let vacant = ways.iter().position(|way| *way == NOBODY);
        let way = vacant.unwrap_or_else(|| self.chance.next() as usize % WAYS);
        ways[way] = signature;
        false
    }

    /// Loads what [`Visitors::come`] will look at.
    #[inline(always)]
    pub(super) fn peek(&self, hash: u64) -> u16 {
        self.sets[self.place(hash)].0[0]
    }

    #[inline(always)]
    fn place(&self, hash: u64) -> usize {
        (hash >> 16) as usize & (self.sets.len() - 1)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }
}

const NOBODY: u16 = 0;
const SOMEBODY: u16 = 1 << 15;
const WAYS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_again_is_known_once() {
        let mut visitors = Visitors::new(64, 1);
        assert!(!visitors.come(0x1234_5678));
        assert!(visitors.come(0x1234_5678));
        assert!(!visitors.come(0x1234_5678), "it has been let in");
    }

    #[test]
    fn others_of_the_same_set_are_told_apart() {
        let mut visitors = Visitors::new(64, 1);
        let four = [0x5_0001, 0x5_0002, 0x5_0003, 0x5_0004];
        assert!(four.iter().all(|hash| !visitors.come(*hash)));
        assert!(four.iter().all(|hash| visitors.come(*hash)));
    }

    #[test]
    fn however_many_of_a_set_come_in_turn_all_are_let_in() {
        for (count, turns_max) in [(2, 2), (4, 2), (5, 20), (8, 40), (12, 150)] {
            let mut visitors = Visitors::new(64, 7);
            let mut outside: Vec<u64> = (1..=count).map(|flow| 0x5_0000 + flow).collect();
            let mut turns = 0;
            while !outside.is_empty() {
                outside.retain(|hash| !visitors.come(*hash));
                turns += 1;
                assert!(turns <= turns_max, "of {count} {} are out", outside.len());
            }
        }
    }

    #[test]
    fn in_a_flood_one_that_pauses_briefly_is_still_known() {
        let (mut visitors, mut stream) = (Visitors::new(1 << 12, 3), Stream(9));
        let again = (0..1000).filter(|_| {
            let hash = stream.next();
            visitors.come(hash);
            (0..1 << 10).for_each(|_| {
                visitors.come(stream.next());
            });
            visitors.come(hash)
        });
        // Each set is full, and of its four one is displaced, on average.
        let count = again.count();
        assert!((700..850).contains(&count), "{count}, expected 778");
    }

    #[test]
    fn hardly_any_of_many_different_ones_are_known() {
        let (mut visitors, mut stream) = (Visitors::new(1 << 10, 3), Stream(9));
        let known = (0..1_000_000).filter(|_| visitors.come(stream.next()));
        let count = known.count();
        assert!((80..170).contains(&count), "{count}, expected 122");
    }
}
