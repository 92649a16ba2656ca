//! The rules of one mask, by their masked words; a part of the classifier.

use core::borrow::Borrow;
use core::hash::{Hash, Hasher};
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
    /// The values of the words that the tuple's mask has.
    words: Box<[u64]>,
    priority: u16,
    rule: Arc<R>,
    /// Those of lower priority, which no packet can find.
    hidden: Option<Box<imbl::OrdMap<u16, Arc<R>>>>,
}

impl<R> Clone for Slot<R> {
    fn clone(&self) -> Self {
        Slot {
            words: self.words.clone(),
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
        self.hidden.as_ref()?.get(&priority)
    }

    fn insert(&mut self, mut priority: u16, mut rule: Arc<R>) -> Option<Arc<R>> {
        if priority == self.priority {
            return Some(core::mem::replace(&mut self.rule, rule));
        }
        if priority > self.priority {
            core::mem::swap(&mut priority, &mut self.priority);
            core::mem::swap(&mut rule, &mut self.rule);
        }
        self.hidden.get_or_insert_default().insert(priority, rule)
    }

    /// Removes one of several rules; what is left has at least one.
    fn remove(&mut self, priority: u16) -> Option<Arc<R>> {
        let hidden = self.hidden.as_mut()?;
        let mut removed = hidden.remove(&priority);
        if priority == self.priority {
            let (next, _) = *hidden.get_max()?;
            let rule = hidden.remove(&next)?;
            self.priority = next;
            removed = Some(core::mem::replace(&mut self.rule, rule));
        }
        if hidden.is_empty() {
            self.hidden = None;
        }
        removed
    }
}

/// A slot as its tuple's map holds it: a key that is found by its words, so that a copied node of
/// the map costs one reference count per slot.
struct Held<R>(Arc<Slot<R>>);

impl<R> Clone for Held<R> {
    fn clone(&self) -> Self {
        Held(self.0.clone())
    }
}

impl<R> Borrow<[u64]> for Held<R> {
    fn borrow(&self) -> &[u64] {
        &self.0.words
    }
}

impl<R> Hash for Held<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.words.hash(state);
    }
}

impl<R> PartialEq for Held<R> {
    fn eq(&self, other: &Self) -> bool {
        self.0.words == other.0.words
    }
}

impl<R> Eq for Held<R> {}

/// The rules of one mask.
pub(super) struct Tuple<R> {
    mask: Arc<TupleMask>,
    /// Highest priority by which the classifier has sorted the tuple.
    priority_max: u16,
    slots: imbl::GenericHashMap<Held<R>, (), Keyed, imbl::shared_ptr::DefaultSharedPtr>,
    /// Number of rules.
    len: usize,
    /// Number of rules of each priority.
    priorities: imbl::OrdMap<u16, u32>,
}

impl<R> Clone for Tuple<R> {
    fn clone(&self) -> Self {
        Tuple {
            mask: self.mask.clone(),
            priority_max: self.priority_max,
            slots: self.slots.clone(),
            len: self.len,
            priorities: self.priorities.clone(),
        }
    }
}

impl<R> Tuple<R> {
    pub(super) fn new(mask: Arc<TupleMask>, priority_max: u16, hasher: Keyed) -> Tuple<R> {
        Tuple {
            mask,
            priority_max,
            slots: imbl::GenericHashMap::with_hasher(hasher),
            len: 0,
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
        let slot = self.slot(self.mask.apply(key, room))?;
        Some((slot.priority, &slot.rule))
    }

    pub(super) fn get(&self, matching: &Match, priority: u16) -> Option<&Arc<R>> {
        self.slot(&values(matching))?.get(priority)
    }

    fn slot(&self, words: &[u64]) -> Option<&Arc<Slot<R>>> {
        let (held, ()) = self.slots.get_key_value(words)?;
        Some(&held.0)
    }

    pub(super) fn insert(&mut self, m: &Match, priority: u16, rule: Arc<R>) -> Option<Arc<R>> {
        let words = values(m);
        let (slot, replaced) = match self.slots.remove_with_key(&*words) {
            Some((Held(mut slot), ())) => {
                let replaced = Arc::make_mut(&mut slot).insert(priority, rule);
                (slot, replaced)
            }
            None => {
                let slot = Slot {
                    words,
                    priority,
                    rule,
                    hidden: None,
                };
                (Arc::new(slot), None)
            }
        };
        self.slots.insert(Held(slot), ());
        if replaced.is_none() {
            self.len += 1;
            *self.priorities.entry(priority).or_insert(0) += 1;
        }
        replaced
    }

    pub(super) fn remove(&mut self, matching: &Match, priority: u16) -> Option<Arc<R>> {
        let (Held(mut slot), ()) = self.slots.remove_with_key(&*values(matching))?;
        let removed = if slot.priority == priority && slot.hidden.is_none() {
            Some(slot.rule.clone())
        } else {
            let removed = Arc::make_mut(&mut slot).remove(priority);
            self.slots.insert(Held(slot), ());
            removed
        };
        if removed.is_some() {
            self.len -= 1;
            match self.priorities.get_mut(&priority) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.priorities.remove(&priority)),
            }
        }
        removed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_, R>> {
        self.slots.keys().flat_map(|held| self.entries(&held.0))
    }

    /// The rules that some packet may match together with `matching`. If this mask has no bit
    /// beyond that of `matching`, one probe finds them.
    pub(super) fn overlapping(&self, matching: &Match) -> impl Iterator<Item = Entry<'_, R>> {
        let (key, mask) = (matching.key(), matching.mask());
        let single = self.mask.is_within(matching);
        let mut room = [0; FlowKey::WORDS];
        let probe = single.then(|| self.slot(self.mask.apply(&key, &mut room)));
        let scan = (!single).then(|| self.slots.keys().map(|held| &held.0));
        let agreeing = scan.into_iter().flatten().filter(move |slot| {
            let mut pairs = self.mask.words.iter().zip(&slot.words);
            pairs.all(|(&(index, bits), value)| {
                let index = usize::from(index);
                (value ^ key.words()[index]) & bits & mask.0.words()[index] == 0
            })
        });
        let found = probe.flatten().into_iter().chain(agreeing);
        found.flat_map(|slot| self.entries(slot))
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
        let slot = size_of::<Slot<R>>() + words * size_of::<u64>() + 2 * ALLOCATION + SLOT_IN_MAP;
        let hidden = self.len - self.slots.len();
        let hidden_bytes = hidden * size_of::<(u16, Arc<R>)>() * 3 / 2;
        let mask = words * size_of::<(u8, u64)>();
        size_of::<Self>() + mask + self.slots.len() * slot + hidden_bytes
    }

    fn entries<'a>(&'a self, slot: &'a Slot<R>) -> impl Iterator<Item = Entry<'a, R>> {
        let best = core::iter::once((slot.priority, &slot.rule));
        let hidden = slot.hidden.iter().flat_map(|hidden| hidden.iter().rev());
        let all = best.chain(hidden.map(|(priority, rule)| (*priority, rule)));
        all.map(|(priority, rule)| Entry {
            mask: &self.mask,
            words: &slot.words,
            priority,
            rule,
        })
    }
}

/// The words of a match that count, as a tuple's key.
fn values(matching: &Match) -> Box<[u64]> {
    matching.words().map(|(_, value, _)| value).collect()
}

/// What the allocator and the reference counts add to a block of memory, about.
const ALLOCATION: usize = 24;
/// What a slot takes in the nodes of its map, measured over a million.
const SLOT_IN_MAP: usize = 60;
