//! What all rules of a classifier agree in, the rules aside that match every packet: a packet that
//! differs there matches none of them, and no hash table has to be probed to know that.
//!
//! Many tables are of that kind: those for one network, one type of packet, one value of the
//! metadata. Packets that go through many tables pass most of them so, and what a lookup costs is
//! mostly what it waits for memory.
//!
//! A rule that comes leaves what it agrees in with the others; one that goes changes nothing until
//! many have gone: then the rules that are left are looked through anew, a few cells at a time. It
//! is read at an epoch as the list of tuples is: who reads at an older one has an older gate, which
//! the rules passed that are there for it.

use core::cmp::Reverse;

use super::{Classifier, Rule, RuleId};
use crate::{FlowKey, Match};

/// The words in which rules agree in most bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gate {
    indices: [u8; WORDS],
    values: [u64; WORDS],
    masks: [u64; WORDS],
}

impl Gate {
    /// Whether a packet has what all rules ask for.
    #[inline(always)]
    pub(super) fn admits(&self, key: &FlowKey) -> bool {
        let mut difference = 0;
        for place in 0..WORDS {
            let word = key.words()[usize::from(self.indices[place])];
            difference |= (word ^ self.values[place]) & self.masks[place];
        }
        difference == 0
    }
}

/// The rules that a gate is for.
#[derive(Debug, Default)]
pub(super) struct Gated {
    /// How many there are.
    rules: usize,
    /// How many went since they were looked through.
    gone: usize,
    agreement: Agreement,
    again: Option<Again>,
}

/// The bits in which some rules agree.
#[derive(Debug, Default)]
struct Agreement {
    /// There is a rule.
    has_any: bool,
    /// Index, value and mask of words.
    words: Vec<(usize, u64, u64)>,
}

/// Rules are being looked through.
#[derive(Debug, Default)]
struct Again {
    /// Where the next cell is.
    tuple: usize,
    cell: u32,
    /// What those agree in that were looked at, or came meanwhile.
    agreement: Agreement,
}

impl Agreement {
    /// Adds a rule by its words; whether there are fewer bits now, or some for the first time.
    fn add(&mut self, words: impl Iterator<Item = (usize, u64, u64)> + Clone) -> bool {
        if !core::mem::replace(&mut self.has_any, true) {
            self.words = words.collect();
            return true;
        }
        let mut is_less = false;
        self.words.retain_mut(|(index, value, mask)| {
            let theirs = words.clone().find(|(other, ..)| other == index);
            let agreed = theirs.map_or(0, |(_, other, bits)| *mask & bits & !(other ^ *value));
            is_less |= agreed != *mask;
            (*value, *mask) = (*value & agreed, agreed);
            agreed != 0
        });
        is_less
    }

    fn gate(&self) -> Gate {
        let mut words = self.words.clone();
        words.sort_by_key(|(_, _, mask)| Reverse(mask.count_ones()));
        let mut gate = Gate::default();
        for (place, (index, value, mask)) in words.into_iter().take(WORDS).enumerate() {
            gate.indices[place] = index as u8;
            (gate.values[place], gate.masks[place]) = (value, mask);
        }
        gate
    }
}

impl Classifier {
    /// A rule came that was not there.
    pub(super) fn gate_one_more(&mut self, matching: &Match) {
        if matching.is_empty() {
            return;
        }
        self.gated.rules += 1;
        self.gate_moved(matching);
        if self.gated.agreement.add(matching.words()) {
            self.rules.gate = self.gated.agreement.gate();
        }
    }

    /// A rule has another place.
    pub(super) fn gate_moved(&mut self, matching: &Match) {
        if let Some(again) = self.gated.again.as_mut().filter(|_| !matching.is_empty()) {
            again.agreement.add(matching.words());
        }
    }

    /// A rule is about to go.
    pub(super) fn gate_one_less(&mut self, id: RuleId) {
        if self.rule(id).is_none_or(|rule| rule.matches_all()) {
            return;
        }
        self.gated.rules -= 1;
        self.gated.gone += 1;
        if self.gated.rules == 0 {
            self.gated = Gated::default();
            self.rules.gate = Gate::default();
        }
    }

    /// Looks through the rules if as many have gone as there are since that was done, a cell for
    /// each step.
    pub(super) fn gate_anew(&mut self, steps: &mut usize) {
        let gated = &mut self.gated;
        if gated.again.is_none() && gated.gone > gated.rules {
            gated.gone = 0;
            gated.again = Some(Again::default());
        }
        let Some(mut again) = gated.again.take() else {
            return;
        };
        while let Some(tuple) = self.tuples.get(again.tuple) {
            if *steps == 0 {
                self.gated.again = Some(again);
                return;
            }
            *steps -= 1;
            again.cell += 1;
            let face = tuple.as_ref().map(|tuple| &tuple.face);
            let Some(face) = face.filter(|face| again.cell <= face.cells.last()) else {
                (again.tuple, again.cell) = (again.tuple + 1, 0);
                continue;
            };
            let rule = Rule::at(face, again.cell).filter(Rule::is_living);
            if let Some(rule) = rule.filter(|rule| !rule.matches_all()) {
                again.agreement.add(rule.words());
            }
        }
        self.gated.agreement = again.agreement;
        self.rules.gate = self.gated.agreement.gate();
    }
}

/// Words of a gate: in one the network, in one the type of packet, and one for metadata.
const WORDS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Field, Match};

    fn net(address: u32, length: u32) -> Match {
        let mut matching = Match::default();
        matching.set(Field::EthType, 0x0800, 0xffff);
        let mask = u128::from(u32::MAX << (32 - length));
        matching.set(Field::Ipv4Dst, u128::from(address) & mask, mask);
        matching
    }

    fn admits(classifier: &Classifier, address: u32) -> bool {
        classifier.rules().gate.admits(&net(address, 32).key())
    }

    /// Routes in 30.0.0.0/8, and a rule for every packet.
    fn routes(count: u32) -> (Classifier, Vec<RuleId>) {
        let mut classifier = Classifier::new(7, 1);
        let mut insert = |matching: &Match, priority| {
            let id = classifier.insert(matching, priority, &[priority.into()], 1);
            id.expect("there is room")
        };
        insert(&Match::default(), 1);
        let route = |n: u32| insert(&net(0x1e00_0000 + (n << 12), 20 + n % 13), 2);
        let ids = (0..count).map(route).collect();
        (classifier, ids)
    }

    fn find(rules: &super::super::Rules, key: &FlowKey, epoch: u64) -> Option<u64> {
        rules.find(key, epoch).map(|rule| rule.word(0))
    }

    #[test]
    fn who_lacks_what_all_rules_ask_for_meets_the_rest() {
        let (classifier, _) = routes(1000);
        assert!(admits(&classifier, 0x1e00_0001) && !admits(&classifier, 0x1f00_0001));
        assert!(!classifier.rules().gate.admits(&FlowKey::default()));
        let found = |address| find(classifier.rules(), &net(address, 32).key(), 1);
        assert_eq!(found(0x1e00_1001), Some(2));
        assert_eq!(found(0x1e90_0001), Some(1));
        assert_eq!(found(0x1f00_0001), Some(1));
        assert_eq!(find(classifier.rules(), &FlowKey::default(), 1), Some(1));
    }

    #[test]
    fn a_rule_opens_the_gate_for_those_who_read_it_alone() {
        let (mut classifier, _) = routes(10);
        let before = classifier.rules().clone();
        classifier.insert(&net(0x2900_0000, 8), 3, &[3], 2);
        assert!(!before.is_same(classifier.rules()));
        let key = net(0x2900_0001, 32).key();
        assert_eq!(find(&before, &key, 1), Some(1));
        assert_eq!(find(classifier.rules(), &key, 2), Some(3));
    }

    #[test]
    fn the_gate_closes_behind_rules_that_went_for_those_who_do_not_see_them() {
        let (mut classifier, ids) = routes(1000);
        let mut moved = Vec::new();
        classifier.maintain((0, 2), 1, &mut moved);
        let other = classifier.insert(&net(0x2900_0000, 8), 3, &[3], 2);
        let before = classifier.rules().clone();
        classifier.remove(other.expect("room"), 3);
        assert!(admits(&classifier, 0x2900_0001), "nobody has looked yet");
        ids.iter()
            .skip(400)
            .for_each(|id| classifier.remove(*id, 4));
        let mut turns = 0;
        while classifier.maintain((2, 4), 64, &mut moved) {
            // Some come while the others are looked through.
            if turns == 5 {
                classifier.insert(&net(0x2a00_0000, 16), 4, &[4], 4);
            }
            turns += 1;
            assert!(turns < 1000);
        }
        assert!(turns > 5 && !admits(&classifier, 0x5600_0001));
        assert!(admits(&classifier, 0x2a00_0001), "one came there");
        let key = net(0x2900_0001, 32).key();
        assert_eq!(
            find(&before, &key, 2),
            Some(3),
            "who reads at an older epoch"
        );
        assert_eq!(find(classifier.rules(), &key, 4), Some(1));
        let key = net(0x2a00_0001, 32).key();
        assert_eq!(find(classifier.rules(), &key, 4), Some(4));
    }

    #[test]
    fn without_rules_there_is_no_gate() {
        let (mut classifier, ids) = routes(3);
        ids.iter().for_each(|id| classifier.remove(*id, 2));
        assert_eq!(classifier.rules().gate, Gate::default());
        classifier.insert(&net(0x0a00_0000, 8), 2, &[2], 3);
        assert!(admits(&classifier, 0x0a00_0001) && !admits(&classifier, 0x1e00_0001));
    }
}
