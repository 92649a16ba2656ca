//! Finds the rule of highest priority that matches a packet: one classifier is the content of one
//! OpenFlow table.
//!
//! What. A set of rules, each with a match and a priority, and some words that the caller keeps
//! with it. [`Rules::find`] is asked by the workers on a cache miss, all else by control on behalf
//! of flow_mods and statistics requests (OpenFlow 1.3.5 §5.3, §6.4).
//!
//! How. Rules whose matches have the same mask form a tuple: a hash table keyed by the masked
//! words of the key alone. Finding probes one tuple after the other, the one with the highest
//! priority among its rules first, and ends as soon as no tuple left can hold a better rule. The
//! cost is thus bounded by the number of distinct masks among the rules, which packets cannot
//! change. Of overlapping rules with equal priority the specification lets any win; here it is the
//! same one whatever the order in which the rules came.
//!
//! Readers and the writer share the cells of a tuple. What keeps them apart is the epoch: a rule
//! has one in which it came and one in which it went, and who reads at an epoch sees the rules
//! between. The writer makes the next epoch while readers are at those before; publishing it is to
//! tell its number, so any number of changes takes effect at once, and nothing is ever copied: a
//! change costs the same in a table of ten rules and of a million. Only when a mask comes or goes,
//! a tuple's highest priority changes or its hash table has grown, readers need another list of
//! tuples ([`Rules`]): pointers, copied once for each publication.
//!
//! A rule that went stays in its list until nobody reads at an epoch in which it was there. Then
//! it is taken out; and once nobody reads who could have been at it just then, its cell is used
//! again. The caller knows who reads and says so ([`Classifier::maintain`]). A hash table that has
//! become too small is rebuilt beside the old one, a few cells at a time, with a second set of
//! links. If many rules come while somebody keeps reading at an old epoch, the links are not free;
//! then cells and all are copied, a few times however many they are.
//!
//! Why not simpler. A plain hash map per tuple would be copied whole to publish one change.
//! Persistent trees, which copy only the path to a change, took five times the memory and ten times
//! the time of a change, for each path holds dozens of pointers that are to be counted; and finding
//! took as many cache misses as the tree is deep, instead of two.
//!
//! Threads. One writer owns the classifier. [`Rules::find`] may be called by any number of threads;
//! walks are for the writer's alone, since they come by cells that no list leads to. Every shared
//! word is atomic: a reader that kept an epoch longer than it said would find wrong rules,
//! but nothing worse.

use core::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::hash::Keyed;
use crate::{FlowMask, Match};

mod cells;
mod mask;
mod rules;
mod tuple;

use cells::{Cells, Index};
use mask::TupleMask;
use rules::Face;
pub use rules::{Rule, RuleId, Rules, Walk};
use tuple::Tuple;

/// Rules by match and priority, as their owner has them.
#[derive(Debug)]
pub struct Classifier {
    /// What readers of the next epoch get.
    rules: Rules,
    tuples: Vec<Option<Tuple>>,
    vacant: Vec<u32>,
    by_mask: HashMap<Arc<TupleMask>, u32>,
    /// The tuple of the last insertion: most often that of the next.
    recent: u32,
    /// Tuples that [`Classifier::maintain`] has something to do for.
    untidy: Vec<u32>,
    payload_words: usize,
    len: usize,
}

impl Classifier {
    /// An empty classifier that keeps so many words with each rule. Whoever does not know the
    /// secret cannot make rules that collide.
    pub fn new(secret: u64, payload_words: usize) -> Classifier {
        Classifier {
            rules: Rules::new(Keyed::new(secret)),
            tuples: Vec::new(),
            vacant: Vec::new(),
            by_mask: HashMap::new(),
            recent: 0,
            untidy: Vec::new(),
            payload_words,
            len: 0,
        }
    }

    /// What readers of the next epoch are to be given.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Adds a rule from `epoch` on. One with the same match and priority must not be there.
    /// `None` if there is no room: as many rules that went are still read as there can be.
    pub fn insert(
        &mut self,
        matching: &Match,
        priority: u16,
        payload: &[u64],
        epoch: u64,
    ) -> Option<RuleId> {
        let number = match self.tuple_of(matching) {
            Some(number) => number,
            None => self.add_tuple(TupleMask::of(matching), priority)?,
        };
        self.recent = number;
        let tuple = self.tuples[number as usize].as_mut()?;
        let was_untidy = tuple.is_untidy();
        let cell = tuple.insert(matching, (priority, epoch), payload);
        let rebuilt = tuple.rebuild();
        if !was_untidy && tuple.is_untidy() {
            self.untidy.push(number);
        }
        self.len += usize::from(cell.is_some());
        if let Some(parts) = rebuilt {
            self.replace_face(number, None, parts);
        }
        self.reorder(number);
        Some(RuleId {
            tuple: number,
            cell: cell?,
        })
    }

    /// Removes a rule that is there, from `epoch` on.
    pub fn remove(&mut self, id: RuleId, epoch: u64) {
        let Some(tuple) = self.tuple_mut(id) else {
            return;
        };
        let was_untidy = tuple.is_untidy();
        tuple.remove(id.cell, epoch);
        if !was_untidy {
            self.untidy.push(id.tuple);
        }
        self.len -= 1;
        self.reorder(id.tuple);
    }

    /// The rule with exactly this match and priority, if it is there.
    pub fn get(&self, matching: &Match, priority: u16) -> Option<RuleId> {
        let tuple = self.tuple_of(matching)?;
        let cell = self.tuples[tuple as usize]
            .as_ref()?
            .find(matching, priority)?;
        Some(RuleId { tuple, cell })
    }

    /// A rule by where it is.
    pub fn rule(&self, id: RuleId) -> Option<Rule<'_>> {
        let tuple = self.tuples.get(id.tuple as usize)?.as_ref()?;
        Rule::at(&tuple.face, id.cell)
    }

    /// Rules that went and are kept for readers of older epochs.
    pub fn waiting(&self) -> usize {
        let untidy = self.untidy.iter();
        let tuples = untidy.filter_map(|number| self.tuples[*number as usize].as_ref());
        tuples.map(Tuple::waiting).sum()
    }

    /// Tidies up: every reader is at `oldest` or a later epoch, and what changes is for `epoch`.
    /// It takes `steps` steps at most, or a share of what waits if that is more: who makes much
    /// work has much done. Whether there is something left that can be done at once.
    pub fn maintain(&mut self, oldest: u64, epoch: u64, steps: usize) -> bool {
        let steps = steps.max(self.waiting() / WAITING_SHARE);
        let mut left = steps;
        let mut untidy = std::mem::take(&mut self.untidy);
        if !untidy.is_empty() {
            untidy.rotate_left(1);
        }
        untidy.retain(|number| {
            let Some(tuple) = self.tuples[*number as usize].as_mut() else {
                return false;
            };
            if left > 0
                && tuple.maintain((oldest, epoch), &mut left)
                && let Some(index) = tuple.take_grown(epoch)
            {
                let cells = Arc::clone(&tuple.face.cells);
                self.replace_face(*number, None, (cells, index));
            }
            let tuple = self.tuples[*number as usize].as_ref();
            tuple.is_some_and(Tuple::is_untidy)
        });
        self.untidy = untidy;
        left == 0
    }

    /// Makes room for more rules like this one, at once: for many of one epoch, between which
    /// [`Classifier::maintain`] is not called. Every reader is at `oldest` or a later epoch.
    pub fn make_room(&mut self, id: RuleId, oldest: u64, epoch: u64) {
        let Some(tuple) = self.tuple_mut(id) else {
            return;
        };
        if let Some(index) = tuple.grow_at_once((oldest, epoch)) {
            let cells = Arc::clone(&tuple.face.cells);
            if !tuple.is_untidy() {
                self.untidy.retain(|other| *other != id.tuple);
            }
            self.replace_face(id.tuple, None, (cells, index));
        }
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory, estimated.
    pub fn memory_bytes(&self) -> usize {
        let tuples = self.tuples.iter().flatten().map(Tuple::memory_bytes);
        size_of::<Self>() + tuples.sum::<usize>()
    }

    fn tuple_mut(&mut self, id: RuleId) -> Option<&mut Tuple> {
        self.tuples.get_mut(id.tuple as usize)?.as_mut()
    }

    /// The number of the tuple of a match.
    fn tuple_of(&self, matching: &Match) -> Option<u32> {
        let recent = self.tuples.get(self.recent as usize);
        if let Some(Some(tuple)) = recent
            && tuple.mask().is_of(matching)
        {
            return Some(self.recent);
        }
        self.by_mask.get(&TupleMask::of(matching)).copied()
    }

    fn add_tuple(&mut self, mask: TupleMask, priority_max: u16) -> Option<u32> {
        mask.unite_into(Arc::make_mut(&mut self.rules.mask));
        let number = self.vacant.pop().unwrap_or(self.tuples.len() as u32);
        let cells = Arc::new(Cells::new(self.payload_words, mask.words().len()));
        let mask = Arc::new(mask);
        let face = Arc::new(Face {
            mask: Arc::clone(&mask),
            priority_max,
            tuple: number,
            cells,
            index: Arc::new(Index::new(HEADS_FIRST, 0)?),
        });
        let place = self.search(&face).unwrap_or_else(|place| place);
        Arc::make_mut(&mut self.rules.faces).insert(place, Arc::clone(&face));
        let tuple = Some(Tuple::new(face, self.rules.hasher));
        match self.tuples.get_mut(number as usize) {
            Some(vacant) => *vacant = tuple,
            None => self.tuples.push(tuple),
        }
        self.by_mask.insert(mask, number);
        Some(number)
    }

    /// Where a tuple is among those that readers see, or else belongs.
    fn search(&self, face: &Face) -> Result<usize, usize> {
        self.rules.faces.binary_search_by(|other| {
            let order = Reverse(other.priority_max).cmp(&Reverse(face.priority_max));
            order.then_with(|| other.mask.cmp(&face.mask))
        })
    }

    /// Moves a tuple whose rules have changed to where it belongs now; drops it if it is empty.
    fn reorder(&mut self, number: u32) {
        let Some(tuple) = &self.tuples[number as usize] else {
            return;
        };
        match tuple.highest() {
            Some(priority) if priority == tuple.face.priority_max => {}
            Some(priority) => {
                let face = &tuple.face;
                let parts = (Arc::clone(&face.cells), Arc::clone(&face.index));
                self.replace_face(number, Some(priority), parts);
            }
            None => self.drop_tuple(number),
        }
    }

    /// Readers who see it still have what they need of it.
    fn drop_tuple(&mut self, number: u32) {
        let Some(tuple) = self.tuples[number as usize].take() else {
            return;
        };
        if let Ok(place) = self.search(&tuple.face) {
            Arc::make_mut(&mut self.rules.faces).remove(place);
        }
        self.by_mask.remove(tuple.mask());
        self.vacant.push(number);
        self.untidy.retain(|other| *other != number);
        let mut united = FlowMask::default();
        for face in self.rules.faces.iter() {
            face.mask.unite_into(&mut united);
        }
        self.rules.mask = Arc::new(united);
    }

    /// Gives readers of the next epoch other parts of a tuple, and another highest priority if that
    /// has changed.
    fn replace_face(
        &mut self,
        number: u32,
        priority_max: Option<u16>,
        (cells, index): (Arc<Cells>, Arc<Index>),
    ) {
        let Some(old) = self.tuples[number as usize].as_ref() else {
            return;
        };
        let old = Arc::clone(&old.face);
        let new = Arc::new(Face {
            mask: Arc::clone(&old.mask),
            priority_max: priority_max.unwrap_or(old.priority_max),
            tuple: number,
            cells,
            index,
        });
        let before = self.search(&old);
        let faces = Arc::make_mut(&mut self.rules.faces);
        if let Ok(place) = before {
            faces.remove(place);
        }
        let place = self.search(&new).unwrap_or_else(|place| place);
        Arc::make_mut(&mut self.rules.faces).insert(place, Arc::clone(&new));
        if let Some(tuple) = &mut self.tuples[number as usize] {
            tuple.face = new;
        }
    }
}

/// Of the rules that wait to be taken out, so many at a time: what waits is then at most so many
/// times what went meanwhile.
const WAITING_SHARE: usize = 4;
/// Lists in the first index of a tuple.
const HEADS_FIRST: usize = 8;
