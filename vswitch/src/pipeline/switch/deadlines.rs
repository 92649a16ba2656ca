//! Things that end some time after they were last used: flows and learned addresses.
//!
//! What is used moves its end, but the worker that uses it only notes the time. So a deadline is
//! the earliest that the thing can end; when it has come one looks again. Each look either ends
//! the thing or finds that it was used, hence it is cheap: once per thing and timeout.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Things by deadline. `K` names a thing, `T` is the thing.
#[derive(Debug)]
pub struct Deadlines<K, T> {
    queue: BTreeMap<(u64, K), T>,
    deadlines: HashMap<K, u64>,
}

impl<K, T> Default for Deadlines<K, T> {
    fn default() -> Self {
        Deadlines {
            queue: BTreeMap::new(),
            deadlines: HashMap::new(),
        }
    }
}

impl<K: Copy + Eq + Hash + Ord, T> Deadlines<K, T> {
    /// Sets when to look at a thing; what had the name before is forgotten.
    pub fn set(&mut self, key: K, thing: T, deadline: u64) {
        self.remove(key);
        self.queue.insert((deadline, key), thing);
        self.deadlines.insert(key, deadline);
    }

    /// Forgets a thing.
    pub fn remove(&mut self, key: K) -> Option<T> {
        let deadline = self.deadlines.remove(&key)?;
        self.queue.remove(&(deadline, key))
    }

    /// Takes out the thing with the earliest deadline if that is not after `now`.
    pub fn pop_due(&mut self, now: u64) -> Option<(K, T)> {
        let (deadline, _) = *self.queue.first_key_value()?.0;
        (deadline <= now).then(|| self.pop_first()).flatten()
    }

    /// Takes out the thing with the earliest deadline.
    pub fn pop_first(&mut self) -> Option<(K, T)> {
        let ((_, key), thing) = self.queue.pop_first()?;
        self.deadlines.remove(&key);
        Some((key, thing))
    }

    /// Number of things.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_due_in_order_of_their_last_deadline() {
        let mut deadlines = Deadlines::default();
        deadlines.set(1, "a", 30);
        deadlines.set(2, "b", 20);
        deadlines.set(3, "c", 10);
        deadlines.set(3, "c again", 25);
        assert_eq!(deadlines.pop_due(19), None);
        assert_eq!(deadlines.pop_due(20), Some((2, "b")));
        assert_eq!(deadlines.remove(1), Some("a"));
        assert_eq!(deadlines.remove(1), None);
        assert_eq!(deadlines.pop_first(), Some((3, "c again")));
        assert_eq!(deadlines.len(), 0);
    }
}
