//! Who came lately and found no room: flows of which a packet was seen, told by signatures.
//!
//! A flow that is new to a full bucket is let in when it comes again. So a flood of flows with one
//! packet each takes nobody's place, and costs no more than being noted here: two bytes in a table
//! by hash, that the next flow of the same place takes over. One of 32,768 flows is let in at once
//! since its signature is there already, which does no harm.

use super::memory::{Prepare, filled};

pub(super) struct Visitors {
    signatures: Box<[u16]>,
}

impl Visitors {
    /// For a cache of so many entries, a power of two.
    pub(super) fn new(entries: usize, prepare: Prepare) -> Visitors {
        Visitors {
            signatures: filled(entries / ENTRIES_EACH, NOBODY, prepare),
        }
    }

    /// Notes that a flow with this hash came; whether it had been noted before, and no other of the
    /// same place since then.
    pub(super) fn come(&mut self, hash: u64) -> bool {
        let signature = hash as u16 | SOMEBODY;
        let place = self.place(hash);
        let known = self.signatures[place] == signature;
        self.signatures[place] = if known { NOBODY } else { signature };
        known
    }

    /// Loads what [`Visitors::come`] will look at.
    #[inline(always)]
    pub(super) fn peek(&self, hash: u64) -> u16 {
        self.signatures[self.place(hash)]
    }

    #[inline(always)]
    fn place(&self, hash: u64) -> usize {
        (hash >> 16) as usize & (self.signatures.len() - 1)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.signatures)
    }
}

const NOBODY: u16 = 0;
const SOMEBODY: u16 = 1 << 15;
/// Entries of the cache for each signature: as many are forgotten by a flood of as many flows.
const ENTRIES_EACH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Stream;

    #[test]
    fn who_comes_again_is_known_once() {
        let mut visitors = Visitors::new(64, |_, _| ());
        assert!(!visitors.come(0x1234_5678));
        assert!(visitors.come(0x1234_5678));
        assert!(!visitors.come(0x1234_5678), "it has been let in");
    }

    #[test]
    fn another_of_the_same_place_is_told_apart_and_takes_it() {
        let mut visitors = Visitors::new(64, |_, _| ());
        assert!(!visitors.come(0x5_0001));
        assert!(!visitors.come(0x5_0002));
        assert!(!visitors.come(0x5_0001));
    }

    #[test]
    fn hardly_any_of_many_different_flows_are_known() {
        let (mut visitors, mut stream) = (Visitors::new(1 << 12, |_, _| ()), Stream(9));
        let known = (0..1_000_000).filter(|_| visitors.come(stream.next()));
        let count = known.count();
        assert!((10..100).contains(&count), "{count}, expected 31");
    }
}
