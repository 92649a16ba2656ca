//! What a classifier is made of, for the operator: how much work finding a rule can be.

use super::{Classifier, Tuple};

/// A tuple: the hash table that finding a rule probes for all masks that share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashTable {
    /// Bits of the key that are hashed.
    pub hashed_bits: u32,
    /// Masks whose rules are in it, or may be put there.
    pub masks: usize,
    /// Rules.
    pub rules: usize,
    /// Rules with one value of the hashed bits, at most, those with them that wait to be forgotten:
    /// so many are compared at most when it is probed.
    pub stack_max: u32,
    /// Bytes of memory, estimated.
    pub memory_bytes: usize,
}

impl Classifier {
    /// The hash tables, in the order in which finding a rule probes them. It probes all of them at
    /// most: fewer if what it has found is of higher priority than all rules in the others.
    pub fn hash_tables(&self) -> impl Iterator<Item = HashTable> {
        let faces = self.rules.faces.iter();
        faces.filter_map(|face| Some(self.hash_table(self.tuple(face.tuple)?)))
    }

    /// Masks that rules have.
    pub fn masks(&self) -> usize {
        self.shapes.len()
    }

    fn hash_table(&self, tuple: &Tuple) -> HashTable {
        let (face, number) = (&tuple.face, tuple.face.tuple);
        let shapes = self.shapes.values();
        let bits = face.probe.words().iter().map(|(_, bits)| bits.count_ones());
        HashTable {
            hashed_bits: bits.sum(),
            masks: match face.layout {
                Some(_) => shapes.filter(|it| it.shared.contains(&number)).count(),
                None => 1,
            },
            rules: tuple.len(),
            stack_max: tuple.tallest(),
            memory_bytes: tuple.memory_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Field, Match, Tuning};

    fn address(n: u32) -> Match {
        let mut matching = Match::default();
        matching.set(Field::Ipv4Dst, n.into(), u128::MAX);
        matching
    }

    fn told(classifier: &Classifier) -> Vec<HashTable> {
        classifier.hash_tables().collect()
    }

    #[test]
    fn the_tallest_stack_is_told_until_nobody_meets_it() {
        let mut classifier = Classifier::new(7, 0);
        assert_eq!(told(&classifier), []);
        let mut ids = Vec::new();
        for priority in 1..=5 {
            ids.extend(classifier.insert(&address(1), priority, &[], 1));
        }
        classifier.insert(&address(2), 1, &[], 1).expect("room");
        let first = told(&classifier);
        let [table] = first[..] else {
            panic!("{first:?}");
        };
        assert_eq!((table.hashed_bits, table.masks), (32, 1));
        assert_eq!((table.rules, table.stack_max), (6, 5));
        assert!(table.memory_bytes > 0);
        for id in &ids[1..] {
            classifier.remove(*id, 2);
        }
        classifier.maintain((1, 2), 100, &mut Vec::new());
        assert_eq!(told(&classifier)[0].stack_max, 5);
        classifier.maintain((2, 3), 100, &mut Vec::new());
        assert_eq!(told(&classifier)[0].stack_max, 1);
        assert_eq!(told(&classifier)[0].rules, 2);
    }

    #[test]
    fn masks_that_share_a_hash_table_are_told() {
        let mut classifier = Classifier::tuned(
            7,
            0,
            Tuning {
                apart: 1,
                ..Tuning::default()
            },
        );
        for bits in 0..8 {
            let mut matching = address(7 + bits);
            matching.set(Field::EthDst, 1, 1 << bits | 1);
            classifier.insert(&matching, 1, &[], 1).expect("room");
        }
        assert_eq!(told(&classifier).len(), 8);
        for epoch in 2..20 {
            classifier.maintain((epoch - 1, epoch), 100, &mut Vec::new());
        }
        let tables = told(&classifier);
        let is_shared = |table: &HashTable| table.masks > 1 && table.stack_max == 1;
        assert!(tables.iter().any(is_shared), "{tables:?}");
        assert_eq!(tables.iter().map(|it| it.rules).sum::<usize>(), 8);
        assert_eq!(tables.len(), classifier.rules().probes_max());
        assert_eq!(classifier.masks(), 8);
    }
}
