//! Values kept once however many entries have them, by number.
//!
//! A list of values for each hash, in an array: memory is reserved at creation, for as many values
//! as there can be users, and a value that nobody uses any more gives its place to the next. Beside
//! a value there may be a note, which belongs to the place.

use core::hash::{BuildHasher, Hash};

use crate::hash::Keyed;

pub(super) struct Shared<T, N = ()> {
    /// Number of the first value of each list, [`NONE`] of an empty one.
    heads: Box<[u32]>,
    /// The value numbered 1 is the first: 0 is [`NONE`].
    nodes: Vec<Node<T, N>>,
    /// Number of the first vacant node.
    vacant: u32,
    /// Values that somebody has.
    len: usize,
    hasher: Keyed,
}

struct Node<T, N> {
    value: Option<T>,
    note: N,
    /// Which list it is in.
    list: u32,
    /// Number of the next in the list, or of the next vacant node.
    next: u32,
    /// How many have it.
    users: u32,
}

/// The number of no value.
pub(super) const NONE: u32 = 0;

impl<T: Eq + Hash, N: Default> Shared<T, N> {
    pub(super) fn new(values_max: usize, secret: u64) -> Shared<T, N> {
        let lists = (values_max / 2).next_power_of_two();
        Shared {
            heads: vec![NONE; lists].into(),
            nodes: Vec::with_capacity(values_max),
            vacant: NONE,
            len: 0,
            hasher: Keyed::new(secret),
        }
    }

    /// The number of a value, which has one user more now.
    pub(super) fn acquire(&mut self, value: T) -> u32 {
        if let Some(number) = self.acquire_like(&value, |held| *held == value) {
            return number;
        }
        let list = self.list(&value);
        let number = self.place();
        self.len += 1;
        let next = core::mem::replace(&mut self.heads[list], number);
        if let Some(node) = self.node_mut(number) {
            node.value = Some(value);
            (node.list, node.next, node.users) = (list as u32, next, 1);
        }
        number
    }

    /// The number of a value that is held, which has one user more now: that of which `is_it` says
    /// so. `like` hashes as it does.
    #[inline]
    pub(super) fn acquire_like(
        &mut self,
        like: &impl Hash,
        is_it: impl Fn(&T) -> bool,
    ) -> Option<u32> {
        let mut number = self.heads[self.list(like)];
        while let Some(node) = self.node_mut(number) {
            if node.value.as_ref().is_some_and(&is_it) {
                node.users += 1;
                return Some(number);
            }
            number = node.next;
        }
        None
    }

    /// Adds a user to a value.
    pub(super) fn share(&mut self, number: u32) {
        if let Some(node) = self.node_mut(number) {
            node.users += 1;
        }
    }

    /// Takes a user from a value, which goes with its last.
    pub(super) fn release(&mut self, number: u32, last: impl FnOnce(&T, &mut N)) {
        let Some(node) = self.node_mut(number) else {
            return;
        };
        node.users -= 1;
        if node.users == 0 {
            self.drop_value(number, last);
        }
    }

    #[cold]
    fn drop_value(&mut self, number: u32, last: impl FnOnce(&T, &mut N)) {
        self.len -= 1;
        let Some(node) = self.node_mut(number) else {
            return;
        };
        if let Some(value) = node.value.take() {
            last(&value, &mut node.note);
        }
        let (list, next) = (node.list as usize, node.next);
        let first = self.heads[list];
        if first == number {
            self.heads[list] = next;
        } else {
            self.unlink(first, number, next);
        }
        let vacant = core::mem::replace(&mut self.vacant, number);
        if let Some(node) = self.node_mut(number) {
            node.next = vacant;
        }
    }

    /// The value of a number.
    #[inline(always)]
    pub(super) fn value(&self, number: u32) -> Option<&T> {
        let index = (number as usize).wrapping_sub(1);
        self.nodes.get(index)?.value.as_ref()
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many have the value of a number.
    #[inline(always)]
    pub(super) fn users(&self, number: u32) -> u32 {
        let node = self.nodes.get((number as usize).wrapping_sub(1));
        node.map_or(0, |node| node.users)
    }

    /// What is noted with the place of a number.
    #[inline(always)]
    pub(super) fn note_mut(&mut self, number: u32) -> Option<&mut N> {
        Some(&mut self.node_mut(number)?.note)
    }

    /// Bytes of memory, without what the values point to.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.heads) + self.nodes.capacity() * size_of::<Node<T, N>>()
    }

    #[inline(always)]
    fn node_mut(&mut self, number: u32) -> Option<&mut Node<T, N>> {
        self.nodes.get_mut((number as usize).wrapping_sub(1))
    }

    /// The list that a value is in.
    #[inline(always)]
    fn list(&self, value: &impl Hash) -> usize {
        (self.hasher.hash_one(value) >> 32) as usize & (self.heads.len() - 1)
    }

    /// The number of a vacant node, or of one behind all others.
    fn place(&mut self) -> u32 {
        let number = self.vacant;
        if let Some(next) = self.node_mut(number).map(|node| node.next) {
            self.vacant = next;
            return number;
        }
        self.nodes.push(Node {
            value: None,
            note: N::default(),
            list: 0,
            next: NONE,
            users: 0,
        });
        self.nodes.len() as u32
    }

    /// Takes a node out of its list, `next` the one after it.
    fn unlink(&mut self, first: u32, number: u32, next: u32) {
        let mut before = first;
        while let Some(node) = self.node_mut(before) {
            if node.next == number {
                node.next = next;
                return;
            }
            before = node.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Stream;
    use std::collections::HashMap;

    #[test]
    fn equal_values_have_one_number_while_somebody_has_them() {
        let mut shared: Shared<u64> = Shared::new(16, 3);
        let mut users: HashMap<u64, (u32, u32)> = HashMap::new();
        let mut stream = Stream(9);
        for _ in 0..10_000 {
            let value = stream.next() % 16;
            let held = users.get(&value).copied();
            match held {
                Some((number, count)) if stream.next().is_multiple_of(2) => {
                    shared.release(number, |_, _| ());
                    users.insert(value, (number, count - 1));
                    users.retain(|_, (_, count)| *count > 0);
                }
                Some((number, count)) if stream.next().is_multiple_of(2) => {
                    shared.share(number);
                    users.insert(value, (number, count + 1));
                }
                _ => {
                    let number = shared.acquire(value);
                    assert_ne!(number, NONE);
                    let (_, count) = held.unwrap_or((number, 0));
                    assert_eq!(held.map_or(number, |(number, _)| number), number);
                    users.insert(value, (number, count + 1));
                }
            }
            for (value, (number, _)) in &users {
                assert_eq!(shared.value(*number), Some(value));
            }
            let kept = shared.nodes.iter().filter(|node| node.value.is_some());
            assert_eq!((kept.count(), shared.len()), (users.len(), users.len()));
        }
        assert!(shared.nodes.len() <= 16, "vacant places are used again");
        assert_eq!(shared.value(NONE), None);
    }
}
