//! The rules of one mask, by their masked words; a part of the classifier.

use std::sync::Arc;

use super::Entry;
use crate::hash::Keyed;
use crate::{FlowKey, FlowMask, Match};

/// The words of the key that the rules of a tuple match, and the bits in them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TupleMask {
    /// Bit n is set if word n counts.
    present: u64,
    /// Index and mask of each of those words.
    words: Box<[(u8, u64)]>,
}

impl TupleMask {
    pub(super) fn of(matching: &Match) -> TupleMask {
        let words = matching.words();
        TupleMask {
            present: matching.present(),
            words: words.map(|(index, _, mask)| (index as u8, mask)).collect(),
        }
    }

    /// The match with this mask whose values are `values`.
    pub(super) fn matching(&self, values: &[u64]) -> Match {
        let (mut key, mut mask) = (FlowKey::default(), FlowMask::default());
        for (&(index, bits), &value) in self.words.iter().zip(values) {
            key.words_mut()[usize::from(index)] = value;
            mask.0.words_mut()[usize::from(index)] = bits;
        }
        Match::new(&key, &mask)
    }

    pub(super) fn unite_into(&self, mask: &mut FlowMask) {
        for &(index, bits) in &self.words {
            mask.0.words_mut()[usize::from(index)] |= bits;
        }
    }

    /// The words of `key` that count, masked, compacted into `room`.
    fn apply<'a>(&self, key: &FlowKey, room: &'a mut [u64; FlowKey::WORDS]) -> &'a [u64] {
        for (&(index, mask), masked) in self.words.iter().zip(room.iter_mut()) {
            *masked = key.words()[usize::from(index)] & mask;
        }
        &room[..self.words.len()]
    }

    /// Whether every bit in this mask is in the mask of `matching`.
    fn is_within(&self, matching: &Match) -> bool {
        self.present & !matching.present() == 0 && {
            let mask = matching.mask();
            let mut words = self.words.iter();
            words.all(|&(index, bits)| bits & !mask.0.words()[usize::from(index)] == 0)
        }
    }

    /// Whether every bit in the mask of `matching` is in this mask.
    fn covers(&self, matching: &Match) -> bool {
        matching.present() & !self.present == 0
            && matching.words().all(|(index, _, mask)| {
                let place = self
                    .words
                    .binary_search_by_key(&index, |word| word.0.into());
                place.is_ok_and(|place| mask & !self.words[place].1 == 0)
            })
    }
}

/// The rules with one match: one per priority.
struct Slot<R> {
    priority: u16,
    rule: Arc<R>,
    /// Those of lower priority, which no packet can find.
    hidden: imbl::OrdMap<u16, Arc<R>>,
}

impl<R> Clone for Slot<R> {
    fn clone(&self) -> Self {
        Slot {
            priority: self.priority,
            rule: self.rule.clone(),
            hidden: self.hidden.clone(),
        }
    }
}

impl<R> Slot<R> {
    fn get(&self, priority: u16) -> Option<&Arc<R>> {
        if priority == self.priority {
            return Some(&self.rule);
        }
        self.hidden.get(&priority)
    }

    fn insert(&mut self, mut priority: u16, mut rule: Arc<R>) -> Option<Arc<R>> {
        if priority == self.priority {
            return Some(core::mem::replace(&mut self.rule, rule));
        }
        if priority > self.priority {
            core::mem::swap(&mut priority, &mut self.priority);
            core::mem::swap(&mut rule, &mut self.rule);
        }
        self.hidden.insert(priority, rule)
    }

    /// Removes one of several rules; what is left has at least one.
    fn remove(&mut self, priority: u16) -> Option<Arc<R>> {
        if priority != self.priority {
            return self.hidden.remove(&priority);
        }
        let (next, _) = *self.hidden.get_max()?;
        let rule = self.hidden.remove(&next)?;
        self.priority = next;
        Some(core::mem::replace(&mut self.rule, rule))
    }
}

/// The rules of one mask.
pub(super) struct Tuple<R> {
    mask: Arc<TupleMask>,
    /// Highest priority by which the classifier has sorted the tuple.
    priority_max: u16,
    rules: imbl::GenericHashMap<Box<[u64]>, Slot<R>, Keyed, imbl::shared_ptr::DefaultSharedPtr>,
    /// Number of rules of each priority.
    priorities: imbl::OrdMap<u16, u32>,
}

impl<R> Clone for Tuple<R> {
    fn clone(&self) -> Self {
        Tuple {
            mask: self.mask.clone(),
            priority_max: self.priority_max,
            rules: self.rules.clone(),
            priorities: self.priorities.clone(),
        }
    }
}

impl<R> Tuple<R> {
    pub(super) fn new(mask: Arc<TupleMask>, priority_max: u16, hasher: Keyed) -> Tuple<R> {
        Tuple {
            mask,
            priority_max,
            rules: imbl::GenericHashMap::with_hasher(hasher),
            priorities: imbl::OrdMap::new(),
        }
    }

    pub(super) fn mask(&self) -> &Arc<TupleMask> {
        &self.mask
    }

    pub(super) fn priority_max(&self) -> u16 {
        self.priority_max
    }

    pub(super) fn set_priority_max(&mut self, priority: u16) {
        self.priority_max = priority;
    }

    /// The highest priority of a rule, if there is a rule.
    pub(super) fn highest(&self) -> Option<u16> {
        self.priorities.get_max().map(|(priority, _)| *priority)
    }

    /// Whether there is a rule of this priority.
    pub(super) fn has(&self, priority: u16) -> bool {
        self.priorities.contains_key(&priority)
    }

    pub(super) fn find(
        &self,
        key: &FlowKey,
        room: &mut [u64; FlowKey::WORDS],
    ) -> Option<(u16, &Arc<R>)> {
        let slot = self.rules.get(self.mask.apply(key, room))?;
        Some((slot.priority, &slot.rule))
    }

    pub(super) fn get(&self, matching: &Match, priority: u16) -> Option<&Arc<R>> {
        self.rules.get(&*values(matching))?.get(priority)
    }

    pub(super) fn insert(&mut self, m: &Match, priority: u16, rule: Arc<R>) -> Option<Arc<R>> {
        let values = values(m);
        let replaced = match self.rules.get_mut(&*values) {
            Some(slot) => slot.insert(priority, rule),
            None => {
                let hidden = imbl::OrdMap::new();
                let slot = Slot {
                    priority,
                    rule,
                    hidden,
                };
                self.rules.insert(values, slot);
                None
            }
        };
        if replaced.is_none() {
            *self.priorities.entry(priority).or_insert(0) += 1;
        }
        replaced
    }

    pub(super) fn remove(&mut self, matching: &Match, priority: u16) -> Option<Arc<R>> {
        let values = values(matching);
        let slot = self.rules.get_mut(&*values)?;
        let removed = if slot.priority == priority && slot.hidden.is_empty() {
            self.rules.remove(&*values).map(|slot| slot.rule)
        } else {
            slot.remove(priority)
        };
        if removed.is_some() {
            match self.priorities.get_mut(&priority) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.priorities.remove(&priority)),
            }
        }
        removed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_, R>> {
        let slots = self.rules.iter();
        slots.flat_map(|(words, slot)| self.entries(words, slot))
    }

    /// The rules that some packet may match together with `matching`. If this mask has no bit
    /// beyond that of `matching`, one probe finds them.
    pub(super) fn overlapping(&self, matching: &Match) -> impl Iterator<Item = Entry<'_, R>> {
        let (key, mask) = (matching.key(), matching.mask());
        let single = self.mask.is_within(matching);
        let mut room = [0; FlowKey::WORDS];
        let probe = single.then(|| self.rules.get_key_value(self.mask.apply(&key, &mut room)));
        let scan = (!single).then(|| self.rules.iter());
        let agreeing = scan.into_iter().flatten().filter(move |(words, _)| {
            let mut pairs = self.mask.words.iter().zip(words.iter());
            pairs.all(|(&(index, bits), value)| {
                let index = usize::from(index);
                (value ^ key.words()[index]) & bits & mask.0.words()[index] == 0
            })
        });
        let found = probe.flatten().into_iter().chain(agreeing);
        found.flat_map(|(words, slot)| self.entries(words, slot))
    }

    /// The rules at least as specific as `matching`.
    pub(super) fn included_in(&self, matching: &Match) -> impl Iterator<Item = Entry<'_, R>> {
        let overlapping = self
            .mask
            .covers(matching)
            .then(|| self.overlapping(matching));
        overlapping.into_iter().flatten()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let words = self.mask.words.len();
        let rule = size_of::<(Box<[u64]>, Slot<R>)>() * 3 / 2 + words * 8 + ALLOCATION;
        size_of::<Self>() + words * size_of::<(u8, u64)>() + self.rules.len() * rule
    }

    fn entries<'a>(
        &'a self,
        words: &'a [u64],
        slot: &'a Slot<R>,
    ) -> impl Iterator<Item = Entry<'a, R>> {
        let best = core::iter::once((slot.priority, &slot.rule));
        let hidden = slot.hidden.iter().rev();
        let all = best.chain(hidden.map(|(priority, rule)| (*priority, rule)));
        all.map(|(priority, rule)| Entry {
            mask: &self.mask,
            words,
            priority,
            rule,
        })
    }
}

/// The words of a match that count, as a tuple's key.
fn values(matching: &Match) -> Box<[u64]> {
    matching.words().map(|(_, value, _)| value).collect()
}

/// What the allocator adds to a block of memory, about. (Nodes of the map are two thirds full.)
const ALLOCATION: usize = 16;
