//! Finds the rule of highest priority that matches a packet: one classifier is the content of one
//! OpenFlow table.
//!
//! What. A set of rules, each with a match and a priority; [`Classifier::find`] is asked by the
//! workers on a cache miss, all else by control on behalf of flow_mods and statistics requests
//! (OpenFlow 1.3.5 §5.3, §6.4).
//!
//! How. Rules whose matches have the same mask form a tuple: a hash table keyed by the masked
//! words of the key alone. Finding probes one tuple after the other, the one with the highest
//! priority among its rules first, and ends as soon as no tuple left can hold a better rule. The
//! cost is thus bounded by the number of distinct masks among the rules, which packets cannot
//! change. A match in a tuple may be there with several priorities; only the best can be found.
//! Of overlapping rules with equal priority the specification lets any win; here it is the
//! same one whatever the order in which the rules came.
//!
//! Tuples are persistent maps that share structure. A clone copies three pointers. The first
//! change after a clone copies the list of tuples (pointers, not rules), and then each change the
//! path to the rule in its tuple's tree: with r rules in t tuples O(t + log r) once, O(log r) on.
//!
//! Why not simpler. A list sorted by priority is slower by the number of rules; a plain hash
//! map per tuple would be copied whole, a million rules, to publish one flow_mod to workers that
//! still read the old one. Structures for special tables (one mask, prefixes) are faster where
//! they apply; nothing in the interface shows tuples, so that they can take over table by table.
//!
//! Threads. Control owns the classifier that it changes; each published state holds a clone that
//! never changes again and may be read by any number of workers.

use core::cmp::Reverse;
use std::sync::Arc;

use crate::hash::Keyed;
use crate::{FlowKey, FlowMask, Match};

mod tuple;

use tuple::{Tuple, TupleMask};

/// Rules by match and priority. `R` is what the caller keeps with a rule.
pub struct Classifier<R> {
    /// By descending highest priority, then by mask.
    tuples: Arc<Vec<Arc<Tuple<R>>>>,
    /// The highest priority in the tuple of each mask, hence its place in `tuples`.
    priorities: imbl::OrdMap<Arc<TupleMask>, u16>,
    /// Every bit that some rule matches.
    mask: Arc<FlowMask>,
    len: usize,
    hasher: Keyed,
}

/// One rule of a classifier.
pub struct Entry<'a, R> {
    mask: &'a TupleMask,
    words: &'a [u64],
    /// Its priority.
    pub priority: u16,
    /// What the caller keeps with it.
    pub rule: &'a Arc<R>,
}

impl<R> Entry<'_, R> {
    /// Its match.
    pub fn matching(&self) -> Match {
        self.mask.matching(self.words)
    }
}

impl<R> Classifier<R> {
    /// An empty classifier. Whoever does not know the secret cannot make rules that collide.
    pub fn new(secret: u64) -> Classifier<R> {
        Classifier {
            tuples: Arc::default(),
            priorities: imbl::OrdMap::new(),
            mask: Arc::default(),
            len: 0,
            hasher: Keyed::new(secret),
        }
    }

    /// Adds a rule; returns the one that had the same match and priority.
    pub fn insert(&mut self, matching: &Match, priority: u16, rule: Arc<R>) -> Option<Arc<R>> {
        let mask = TupleMask::of(matching);
        let place = match self.place(&mask) {
            Some(place) => place,
            None => self.add_tuple(mask, priority),
        };
        let tuple = self.tuple_mut(place);
        let replaced = tuple.insert(matching, priority, rule);
        self.len += usize::from(replaced.is_none());
        self.reorder(place);
        replaced
    }

    /// Removes the rule with this match and priority, and returns it.
    pub fn remove(&mut self, matching: &Match, priority: u16) -> Option<Arc<R>> {
        self.get(matching, priority)?;
        let place = self.place(&TupleMask::of(matching))?;
        let removed = self.tuple_mut(place).remove(matching, priority);
        self.len -= usize::from(removed.is_some());
        self.reorder(place);
        removed
    }

    /// The rule of highest priority that a packet with `key` matches.
    pub fn find(&self, key: &FlowKey) -> Option<&Arc<R>> {
        let mut masked = [0; FlowKey::WORDS];
        let mut best: Option<(u16, &Arc<R>)> = None;
        for tuple in self.tuples.iter() {
            if best.is_some_and(|(priority, _)| priority >= tuple.priority_max()) {
                break;
            }
            if let Some(found) = tuple.find(key, &mut masked)
                && best.is_none_or(|(priority, _)| priority < found.0)
            {
                best = Some(found);
            }
        }
        best.map(|(_, rule)| rule)
    }

    /// The rule with exactly this match and priority.
    pub fn get(&self, matching: &Match, priority: u16) -> Option<&Arc<R>> {
        let place = self.place(&TupleMask::of(matching))?;
        self.tuples[place].get(matching, priority)
    }

    /// Every rule, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_, R>> {
        self.tuples.iter().flat_map(|tuple| tuple.iter())
    }

    /// The rules of this priority that some packet may match together with `matching`.
    pub fn overlapping<'a>(
        &'a self,
        matching: &'a Match,
        priority: u16,
    ) -> impl Iterator<Item = Entry<'a, R>> {
        let candidates = self.tuples.iter().filter(move |tuple| tuple.has(priority));
        let entries = candidates.flat_map(move |tuple| tuple.overlapping(matching));
        entries.filter(move |entry| entry.priority == priority)
    }

    /// The rules at least as specific as `matching`: those that the loose forms of modify, delete
    /// and statistics requests select.
    pub fn included_in<'a>(&'a self, matching: &'a Match) -> impl Iterator<Item = Entry<'a, R>> {
        let tuples = self.tuples.iter();
        tuples.flat_map(move |tuple| tuple.included_in(matching))
    }

    /// Every bit that some rule matches.
    pub fn mask(&self) -> &FlowMask {
        &self.mask
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Most hash tables that finding one rule may have to probe.
    pub fn probes_max(&self) -> usize {
        self.tuples.len()
    }

    /// Bytes of memory, estimated, without what `R` points to.
    pub fn memory_bytes(&self) -> usize {
        let tuples = self.tuples.iter().map(|tuple| tuple.memory_bytes());
        size_of::<Self>() + tuples.sum::<usize>()
    }

    /// Where the tuple of a mask is.
    fn place(&self, mask: &TupleMask) -> Option<usize> {
        let priority = *self.priorities.get(mask)?;
        self.search(priority, mask).ok()
    }

    /// Where a tuple is, or else belongs.
    fn search(&self, priority: u16, mask: &TupleMask) -> Result<usize, usize> {
        self.tuples.binary_search_by(|tuple| {
            let order = Reverse(tuple.priority_max()).cmp(&Reverse(priority));
            order.then_with(|| tuple.mask().as_ref().cmp(mask))
        })
    }

    fn tuple_mut(&mut self, place: usize) -> &mut Tuple<R> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.tuples)[place])
    }

    fn add_tuple(&mut self, mask: TupleMask, priority: u16) -> usize {
        mask.unite_into(Arc::make_mut(&mut self.mask));
        let mask = Arc::new(mask);
        let place = self.search(priority, &mask).unwrap_or_else(|place| place);
        let tuple = Tuple::new(mask.clone(), priority, self.hasher);
        Arc::make_mut(&mut self.tuples).insert(place, Arc::new(tuple));
        self.priorities.insert(mask, priority);
        place
    }

    /// Moves a tuple whose rules have changed to where it belongs now; drops it if it is empty.
    fn reorder(&mut self, place: usize) {
        let mask = self.tuples[place].mask().clone();
        let Some(priority) = self.tuples[place].highest() else {
            Arc::make_mut(&mut self.tuples).remove(place);
            self.priorities.remove(&mask);
            self.mask = Arc::new(self.united());
            return;
        };
        if priority == self.tuples[place].priority_max() {
            return;
        }
        let mut tuple = Arc::make_mut(&mut self.tuples).remove(place);
        let place = self.search(priority, &mask).unwrap_or_else(|place| place);
        Arc::make_mut(&mut tuple).set_priority_max(priority);
        Arc::make_mut(&mut self.tuples).insert(place, tuple);
        self.priorities.insert(mask, priority);
    }

    fn united(&self) -> FlowMask {
        let mut united = FlowMask::default();
        for tuple in self.tuples.iter() {
            tuple.mask().unite_into(&mut united);
        }
        united
    }
}

impl<R> Clone for Classifier<R> {
    fn clone(&self) -> Self {
        Classifier {
            tuples: self.tuples.clone(),
            priorities: self.priorities.clone(),
            mask: self.mask.clone(),
            ..*self
        }
    }
}

impl<R> Default for Classifier<R> {
    /// An empty classifier whose secret is 0, where nobody is to be kept from anything.
    fn default() -> Self {
        Classifier::new(0)
    }
}
