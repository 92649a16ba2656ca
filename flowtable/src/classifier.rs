//! Finds the rule of highest priority that matches a packet: one classifier is the content of one
//! OpenFlow table.
//!
//! What. A set of rules, each with a match and a priority, and some words that the caller keeps
//! with it. [`Rules::find`] is asked by the workers on a cache miss, all else by control on behalf
//! of flow_mods and statistics requests (OpenFlow 1.3.5 §5.3, §6.4).
//!
//! How. Rules whose matches have the same mask form a tuple: a hash table keyed by the masked
//! words of the key alone. Finding probes one tuple after the other, the one with the heaviest
//! rule first, and ends as soon as no tuple left can hold a better rule. A rule's weight is its
//! priority; of overlapping rules with equal priority the specification lets any win, and here it
//! is the one whose mask has more bits.
//!
//! If there are more than a few masks, as in routing tables and access lists, some share a tuple
//! that hashes the bits which all of them have, and compares what is left rule by rule. Which
//! masks is chosen by the rules that are there, and again as they change ([`merge`]). Either way
//! the cost is bounded by the rules alone: tuples, and cells in a stack of each. Packets have no
//! say.
//!
//! A packet that lacks what all rules agree in is told so before any hash table is probed
//! ([`gate`]); there are only the rules left that match every packet.
//!
//! Rules of one match and several priorities are a stack, the heaviest on top, and only the tops
//! are in the lists of the hash table: how many priorities or bygone versions a rule has is nothing
//! to others that share its list. The writer comes to a place in the middle of a large stack by an
//! order that it keeps beside it ([`stack`]).
//!
//! Readers and the writer share the cells of a tuple. What keeps them apart is the epoch: a rule
//! has one in which it came and one in which it went, and who reads at an epoch sees the rules
//! between. The writer makes the next epoch while readers are at those before; publishing it is to
//! tell its number, so any number of changes takes effect at once, and nothing is ever copied: a
//! change costs the same in a table of ten rules and of a million. Only when a mask comes or goes,
//! a tuple's highest weight changes or its hash table has grown, readers need another list of
//! tuples ([`Rules`]): pointers in chunks, of which one is copied for each publication ([`faces`]).
//!
//! A rule that went stays in its stack until nobody reads at an epoch in which it was there. Then
//! it is taken out; and once nobody reads who could have been at it just then, its cell is used
//! again. The caller knows who reads and says so ([`Classifier::maintain`]). A hash table that has
//! become too small is rebuilt beside the old one, a few cells at a time, with a second set of
//! links. If many rules come while somebody keeps reading at an old epoch, the links are not free;
//! then cells and all are copied, a few times however many they are.
//!
//! A tuple that has far more cells than rules is left for a new one, again a few cells at a time:
//! a rule that moves ends in its old cell at the epoch at which it comes in the new one, so
//! whoever reads sees it once ([`moves`]).
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

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::Match;
use crate::hash::Keyed;

mod bits;
mod cells;
mod faces;
mod gate;
mod index;
mod mask;
mod merge;
mod moves;
mod rules;
mod shape;
mod stack;
mod tuple;
mod walk;

use bits::Bits;
use cells::Cells;
use gate::Gated;
use index::Index;
use mask::{Layout, TupleMask};
use moves::Move;
use rules::Face;
pub use rules::{Rule, RuleId, Rules};
pub use shape::HashTable;
use tuple::{NewRule, Tuple};
pub use walk::Walk;

/// Rules by match and priority, as their owner has them.
#[derive(Debug)]
pub struct Classifier {
    /// What readers of the next epoch get.
    rules: Rules,
    tuples: Vec<Option<Tuple>>,
    vacant: Vec<u32>,
    shapes: HashMap<Arc<TupleMask>, Shape>,
    bits: Bits,
    gated: Gated,
    /// The tuple of the last insertion, if it is the only one of its mask: most often that of the
    /// next.
    recent: Option<u32>,
    /// Tuples that masks share.
    shared: Vec<u32>,
    /// Tuples of one mask from which on it is worth to look for masks that may share one.
    merge_from: usize,
    /// Tuples that [`Classifier::maintain`] has something to do for.
    untidy: BTreeSet<u32>,
    /// The tuple that it begins with.
    turn: u32,
    /// Tuples whose rules are on their way to others.
    moves: Vec<Move>,
    tuning: Tuning,
    payload_words: usize,
    len: usize,
    waiting: usize,
    /// Rules that came since it was last tidied up.
    inserted: usize,
}

/// When a classifier changes the structures that its rules are in.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Cells from which on a tuple is moved to a smaller one if most are empty.
    pub hollow_from: u32,
    /// Masks that have a tuple each, at least: if there are more some share one.
    pub apart: usize,
    /// Cells in a stack of a tuple that masks share, at most.
    pub stack_max: u32,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            hollow_from: HOLLOW_FROM,
            apart: APART,
            stack_max: STACK_MAX,
        }
    }
}

/// What rules of one mask have in common.
#[derive(Debug)]
struct Shape {
    rank: u32,
    /// Tuples that they share with others: the next is put in the first that has room.
    shared: Vec<u32>,
    /// Rules in these.
    sharing: usize,
    /// Tuples for them alone, of which the first is in use.
    own: Vec<u32>,
}

impl Classifier {
    /// An empty classifier that keeps so many words with each rule. Whoever does not know the
    /// secret cannot make rules that collide.
    pub fn new(secret: u64, payload_words: usize) -> Classifier {
        Classifier::tuned(secret, payload_words, Tuning::default())
    }

    /// The same, with structures that change at other sizes than usual.
    pub fn tuned(secret: u64, payload_words: usize, tuning: Tuning) -> Classifier {
        Classifier {
            rules: Rules::new(Keyed::new(secret)),
            tuples: Vec::new(),
            vacant: Vec::new(),
            shapes: HashMap::new(),
            bits: Bits::default(),
            gated: Gated::default(),
            recent: None,
            shared: Vec::new(),
            merge_from: tuning.apart + 1,
            untidy: BTreeSet::new(),
            turn: 0,
            moves: Vec::new(),
            tuning,
            payload_words,
            len: 0,
            waiting: 0,
            inserted: 0,
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
        let rule = NewRule {
            matching,
            priority,
            rank: 0,
            payload,
        };
        let recent = self.recent.filter(|number| self.is_for(*number, matching));
        let (tuple, rank) = match recent {
            Some(number) => (number, self.tuple(number)?.face.weight_max as u32),
            None => self.choose(matching, priority)?,
        };
        let cell = self.put(tuple, &NewRule { rank, ..rule }, epoch)?;
        self.gate_one_more(matching);
        self.len += 1;
        self.inserted += 1;
        Some(RuleId { tuple, cell })
    }

    /// The tuple in which a rule is put, and the rank of its mask.
    fn choose(&mut self, matching: &Match, priority: u16) -> Option<(u32, u32)> {
        let mask = TupleMask::of(matching);
        if !self.shapes.contains_key(&mask) {
            self.add_shape(mask.clone());
        }
        let (key, shape) = self.shapes.get_key_value(&mask)?;
        let (key, rank) = (Arc::clone(key), shape.rank);
        let has_room = |number: &u32| self.has_room(*number, matching);
        if let Some(number) = shape.shared.iter().copied().find(has_room) {
            return Some((number, rank));
        }
        let number = self.own_tuple(&key, cells::weight(priority, rank))?;
        let shape = self.shapes.get(&mask)?;
        let is_only = shape.shared.is_empty() && shape.own.len() == 1;
        self.recent = is_only.then_some(number);
        Some((number, rank))
    }

    /// The tuple for a mask alone, made for a rule of this weight if there is none.
    fn own_tuple(&mut self, mask: &Arc<TupleMask>, weight: u64) -> Option<u32> {
        if let Some(number) = self.shapes.get(mask)?.own.first() {
            return Some(*number);
        }
        let number = self.add_tuple(mask, None, weight)?;
        self.shapes.get_mut(mask)?.own.push(number);
        Some(number)
    }

    /// Whether a tuple that masks share takes one more rule with the key of this match.
    fn has_room(&self, number: u32, matching: &Match) -> bool {
        let tuple = self.tuple(number).filter(|tuple| !tuple.is_closed);
        tuple.is_some_and(|tuple| tuple.depth(matching) < self.tuning.stack_max)
    }

    fn tuple(&self, number: u32) -> Option<&Tuple> {
        self.tuples.get(number as usize)?.as_ref()
    }

    /// Puts a rule in a tuple.
    fn put(&mut self, number: u32, rule: &NewRule<'_>, epoch: u64) -> Option<u32> {
        let (cell, rebuilt) = self.change(number, |tuple| {
            let cell = tuple.insert(rule, epoch);
            (cell, tuple.rebuild())
        })?;
        if let Some(parts) = rebuilt {
            self.replace_face(number, None, parts);
        }
        self.reorder(number);
        if self.tuple(number)?.face.layout.is_some()
            && let Some(shape) = self.shapes.get_mut(&TupleMask::of(rule.matching))
        {
            shape.sharing += usize::from(cell.is_some());
        }
        cell
    }

    /// Removes a rule that is there, from `epoch` on.
    pub fn remove(&mut self, id: RuleId, epoch: u64) {
        self.gate_one_less(id);
        if self.take(id, epoch) {
            self.len -= 1;
        }
    }

    fn take(&mut self, id: RuleId, epoch: u64) -> bool {
        let is_shared = self.shared.contains(&id.tuple);
        let rule = is_shared.then(|| self.rule(id)).flatten();
        let mask = rule.map(|rule| TupleMask::of(&rule.matching()));
        let removed = self.change(id.tuple, |tuple| tuple.remove(id.cell, epoch));
        self.reorder(id.tuple);
        if let Some(mask) = mask {
            if let Some(shape) = self.shapes.get_mut(&mask) {
                shape.sharing -= 1;
            }
            self.drop_shape(&mask);
        }
        removed.is_some()
    }

    /// The rule with exactly this match and priority, if it is there.
    pub fn get(&self, matching: &Match, priority: u16) -> Option<RuleId> {
        let find = |tuple: &u32| {
            let cell = self.tuples[*tuple as usize]
                .as_ref()?
                .find(matching, priority)?;
            Some(RuleId {
                tuple: *tuple,
                cell,
            })
        };
        if let Some(recent) = self.recent.filter(|number| self.is_for(*number, matching)) {
            return find(&recent);
        }
        let shape = self.shapes.get(&TupleMask::of(matching))?;
        shape.own.iter().chain(&shape.shared).find_map(find)
    }

    /// A rule by where it is.
    pub fn rule(&self, id: RuleId) -> Option<Rule<'_>> {
        let tuple = self.tuples.get(id.tuple as usize)?.as_ref()?;
        Rule::at(&tuple.face, id.cell)
    }

    /// Rules that went and are kept for readers of older epochs.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Tidies up: every reader is at `oldest` or a later epoch, and what changes is for `epoch`.
    /// It takes `steps` steps at most, or a few for each rule that came meanwhile if that is more:
    /// who needs room has room made. Whether there is something left that can be done at once.
    /// Rules that are elsewhere from `epoch` on are named in `moved`, by where they are.
    pub fn maintain(
        &mut self,
        (oldest, epoch): (u64, u64),
        steps: usize,
        moved: &mut Vec<RuleId>,
    ) -> bool {
        let inserted = core::mem::take(&mut self.inserted);
        let mut left = steps.max(inserted * STEPS_PER_RULE);
        let untidy: Vec<u32> = self.untidy.range(self.turn..).copied().collect();
        let others: Vec<u32> = self.untidy.range(..self.turn).copied().collect();
        for number in untidy.into_iter().chain(others) {
            if left == 0 {
                self.turn = number;
                break;
            }
            let hollow_from = self.tuning.hollow_from;
            let done = self.change(number, |tuple| {
                let is_grown = tuple.maintain((oldest, epoch), &mut left);
                let index = is_grown.then(|| tuple.take_grown(epoch)).flatten();
                let parts = index.map(|index| (Arc::clone(&tuple.face.cells), index));
                (parts, tuple.is_hollow(hollow_from))
            });
            let (parts, is_hollow) = done.unwrap_or((None, false));
            if let Some(parts) = parts {
                self.replace_face(number, None, parts);
            }
            if is_hollow {
                self.move_to_smaller(number);
            }
        }
        // Whoever reads on at an older epoch has a list that it goes through bit by bit.
        if oldest + 1 >= epoch {
            self.go_on_moving(epoch, &mut left, moved);
            if self.moves.is_empty() {
                self.merge();
            }
        }
        self.gate_anew(&mut left);
        left == 0 || (oldest + 1 >= epoch && !self.moves.is_empty())
    }

    /// Makes room for more rules like this one, at once: for many of one epoch, between which
    /// [`Classifier::maintain`] is not called. Every reader is at `oldest` or a later epoch.
    pub fn make_room(&mut self, id: RuleId, oldest: u64, epoch: u64) {
        let grown = self.change(id.tuple, |tuple| {
            let index = tuple.grow_at_once((oldest, epoch))?;
            Some((Arc::clone(&tuple.face.cells), index))
        });
        if let Some(Some(parts)) = grown {
            self.replace_face(id.tuple, None, parts);
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

    /// Changes a tuple, and notes what there is to tidy up.
    fn change<R>(&mut self, number: u32, act: impl FnOnce(&mut Tuple) -> R) -> Option<R> {
        let tuple = self.tuples.get_mut(number as usize)?.as_mut()?;
        let (was_untidy, waited) = (tuple.is_untidy(), tuple.waiting());
        let result = act(tuple);
        match (was_untidy, tuple.is_untidy()) {
            (false, true) => drop(self.untidy.insert(number)),
            (true, false) => drop(self.untidy.remove(&number)),
            _ => {}
        }
        self.waiting = self.waiting + tuple.waiting() - waited;
        Some(result)
    }

    /// Whether a tuple is for rules with the mask of this match alone.
    fn is_for(&self, number: u32, matching: &Match) -> bool {
        let tuple = self.tuples.get(number as usize).and_then(Option::as_ref);
        tuple.is_some_and(|tuple| tuple.face.layout.is_none() && tuple.face.probe.is_of(matching))
    }

    /// Begins to have rules of a mask.
    fn add_shape(&mut self, mask: TupleMask) {
        self.bits.add(&mask, &mut self.rules.mask);
        let may_share = |number: &u32| {
            let face = self.tuple(*number).map(|tuple| &tuple.face);
            face.is_some_and(|face| face.may_hold(&mask))
        };
        let shape = Shape {
            rank: mask.rank(),
            shared: self.shared.iter().copied().filter(may_share).collect(),
            sharing: 0,
            own: Vec::new(),
        };
        self.shapes.insert(Arc::new(mask), shape);
    }

    /// Forgets a mask that no rule has any more.
    fn drop_shape(&mut self, mask: &TupleMask) {
        let Some(shape) = self.shapes.get(mask) else {
            return;
        };
        let is_idle = |number: &u32| self.tuple(*number).is_none_or(|tuple| tuple.len() == 0);
        if shape.sharing == 0 && shape.own.iter().all(is_idle) {
            let idle = self.shapes.remove(mask).map(|shape| shape.own);
            self.bits.remove(mask, &mut self.rules.mask);
            let shared = self.shared.iter().copied();
            let shared: Vec<u32> = shared.filter(|_| self.shapes.is_empty()).collect();
            let idle = idle.into_iter().flatten().chain(shared);
            idle.for_each(|idle| self.drop_tuple(idle));
        }
    }

    /// A tuple without rules; `weight_max` is for the first.
    fn add_tuple(
        &mut self,
        probe: &Arc<TupleMask>,
        layout: Option<Arc<Layout>>,
        weight_max: u64,
    ) -> Option<u32> {
        let words = match &layout {
            Some(layout) => 2 * layout.words().len(),
            None => probe.words().len(),
        };
        let cells = Cells::new(self.payload_words, words);
        let number = self.vacant.pop().unwrap_or(self.tuples.len() as u32);
        let face = Arc::new(Face {
            near: probe.near(),
            probe: Arc::clone(probe),
            layout,
            weight_max,
            tuple: number,
            cells: Arc::new(cells),
            index: Index::new(HEADS_FIRST, 0)?,
        });
        self.rules.list(&face);
        let tuple = Some(Tuple::new(face, self.rules.hasher));
        match self.tuples.get_mut(number as usize) {
            Some(vacant) => *vacant = tuple,
            None => self.tuples.push(tuple),
        }
        Some(number)
    }

    /// Moves a tuple whose rules have changed to where it belongs now; drops it if it is empty.
    fn reorder(&mut self, number: u32) {
        let Some(Some(tuple)) = self.tuples.get(number as usize) else {
            return;
        };
        match tuple.heaviest() {
            Some(weight) if weight == tuple.face.weight_max => {}
            Some(weight) => {
                let face = &tuple.face;
                let parts = (Arc::clone(&face.cells), face.index.clone());
                self.replace_face(number, Some(weight), parts);
            }
            None => self.drop_tuple(number),
        }
    }

    /// Readers who see it still have what they need of it.
    fn drop_tuple(&mut self, number: u32) {
        let Some(tuple) = self.tuples[number as usize].take() else {
            return;
        };
        self.waiting -= tuple.waiting();
        self.rules.strike(&tuple.face);
        self.vacant.push(number);
        self.untidy.remove(&number);
        self.moves.retain(|it| it.from != number);
        self.recent = self.recent.filter(|recent| *recent != number);
        if tuple.face.layout.is_some() {
            self.shared.retain(|other| *other != number);
            for shape in self.shapes.values_mut() {
                shape.shared.retain(|other| *other != number);
            }
            return;
        }
        let mask = &tuple.face.probe;
        if let Some(shape) = self.shapes.get_mut(mask) {
            shape.own.retain(|other| *other != number);
            self.drop_shape(mask);
        }
    }

    /// Gives readers of the next epoch other parts of a tuple, and another highest weight if that
    /// has changed.
    fn replace_face(
        &mut self,
        number: u32,
        weight_max: Option<u64>,
        (cells, index): (Arc<Cells>, Index),
    ) {
        let Some(tuple) = self.tuples[number as usize].as_mut() else {
            return;
        };
        let old = Arc::clone(&tuple.face);
        let new = Arc::new(Face {
            weight_max: weight_max.unwrap_or(old.weight_max),
            cells,
            index,
            ..Face::clone(&old)
        });
        tuple.face = Arc::clone(&new);
        self.rules.strike(&old);
        self.rules.list(&new);
    }
}

/// For each rule that came so many steps of tidying up. One makes room for it where another went,
/// and three fill a larger hash table before there are half again as many rules as when it was
/// begun.
const STEPS_PER_RULE: usize = 4;
/// Lists in the first index of a tuple.
const HEADS_FIRST: usize = 8;
/// Fewer empty cells are not worth the trouble of moving rules.
const HOLLOW_FROM: u32 = 4096;
/// Probing so few tuples costs no more than looking through a stack.
const APART: usize = 4;
/// A few cells to look at for each tuple probed.
const STACK_MAX: u32 = 16;
