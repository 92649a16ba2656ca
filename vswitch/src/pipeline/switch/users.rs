//! Who uses what: groups and meters with their users, and how many each has.

use std::collections::{BTreeMap, BTreeSet};

/// Things and their users.
#[derive(Debug)]
pub struct Users<K, U> {
    pairs: BTreeSet<(K, U)>,
    counts: BTreeMap<K, u32>,
}

impl<K, U> Default for Users<K, U> {
    fn default() -> Users<K, U> {
        Users {
            pairs: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }
}

impl<K: Copy + Ord, U: Copy + Ord + Default> Users<K, U> {
    /// One more user, if it was none.
    pub fn insert(&mut self, thing: K, user: U) {
        if self.pairs.insert((thing, user)) {
            *self.counts.entry(thing).or_default() += 1;
        }
    }

    /// One user less, if it was one.
    pub fn remove(&mut self, thing: K, user: U) {
        if self.pairs.remove(&(thing, user))
            && let Some(count) = self.counts.get_mut(&thing)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&thing);
            }
        }
    }

    /// How many users a thing has.
    pub fn count(&self, thing: K) -> u32 {
        self.counts.get(&thing).copied().unwrap_or(0)
    }

    /// The users of all things, as often as they use one.
    pub fn all(&self) -> impl Iterator<Item = U> {
        self.pairs.iter().map(|(_, user)| *user)
    }

    /// The users of a thing, lowest first. The default is the lowest there is.
    pub fn of(&self, thing: K) -> impl Iterator<Item = U> {
        let from = self.pairs.range((thing, U::default())..);
        let own = from.take_while(move |(other, _)| *other == thing);
        own.map(|(_, user)| *user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_counts_once() {
        let mut users = Users::default();
        for (thing, user) in [(1, 0), (1, 7), (1, 7), (2, 3), (0, u32::MAX)] {
            users.insert(thing, user);
        }
        assert_eq!(users.of(1).collect::<Vec<u32>>(), [0, 7]);
        users.remove(1, 9);
        users.remove(1, 7);
        assert_eq!((users.count(0), users.count(1), users.count(2)), (1, 1, 1));
        users.remove(1, 0);
        assert_eq!((users.count(1), users.of(1).next()), (0, None));
    }
}
