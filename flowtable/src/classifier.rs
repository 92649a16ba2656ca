//! Finds the rule of highest priority that matches a packet: one classifier is the content of one
//! OpenFlow table.
//!
//! What. A set of rules, each with a match and a priority, and some words that the caller keeps
//! with it. [`Rules::find`] is asked by the workers on a cache miss, all else by control on behalf
//! of flow_mods and statistics requests (OpenFlow 1.3.5 §5.3, §6.4).
//!
//! How. Rules whose matches have the same mask form a tuple: a hash table keyed by the masked
//! words of the key alone. Finding probes one tuple after the other, the one with the heaviest
//! rule first, and ends as soon as no tuple left can hold a better rule. The cost is thus bounded
//! by the number of distinct masks among the rules, which packets cannot change. A rule's weight
//! is its priority; of overlapping rules with equal priority the specification lets any win, and
//! here it is the one whose mask has more bits.
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
mod index;
mod mask;
mod moves;
mod rules;
mod stack;
mod tuple;
mod walk;

use bits::Bits;
use cells::Cells;
use index::Index;
use mask::TupleMask;
use moves::Move;
use rules::Face;
pub use rules::{Rule, RuleId, Rules};
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
    /// The tuple of the last insertion, if it is the only one of its mask: most often that of the
    /// next.
    recent: Option<u32>,
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
}

/// When a classifier changes the structures that its rules are in.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Cells from which on a tuple is moved to a smaller one if most are empty.
    pub hollow_from: u32,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            hollow_from: HOLLOW_FROM,
        }
    }
}

/// What rules of one mask have in common.
#[derive(Debug)]
struct Shape {
    rank: u32,
    /// Where they are, and the next is put in the first.
    tuples: Vec<u32>,
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
            recent: None,
            untidy: BTreeSet::new(),
            turn: 0,
            moves: Vec::new(),
            tuning,
            payload_words,
            len: 0,
            waiting: 0,
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
        let recent = self.recent.filter(|number| self.is_for(*number, matching));
        let (number, rank) = match recent {
            Some(number) => (number, None),
            None => {
                let mask = TupleMask::of(matching);
                self.recent = None;
                let (number, rank) = match self.shapes.get(&mask) {
                    Some(shape) => {
                        let only = Some(shape.tuples[0]).filter(|_| shape.tuples.len() == 1);
                        self.recent = only;
                        (shape.tuples[0], shape.rank)
                    }
                    None => self.add_shape(mask, priority)?,
                };
                (number, Some(rank))
            }
        };
        let tuple = self.tuples[number as usize].as_ref()?;
        let rank = rank.unwrap_or(tuple.face.weight_max as u32);
        let rule = NewRule {
            matching,
            priority,
            rank,
            payload,
        };
        let cell = self.put(number, &rule, epoch)?;
        self.len += 1;
        let tuple = number;
        Some(RuleId { tuple, cell })
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
        cell
    }

    /// Removes a rule that is there, from `epoch` on.
    pub fn remove(&mut self, id: RuleId, epoch: u64) {
        if self.take(id, epoch) {
            self.len -= 1;
        }
    }

    fn take(&mut self, id: RuleId, epoch: u64) -> bool {
        let removed = self.change(id.tuple, |tuple| tuple.remove(id.cell, epoch));
        self.reorder(id.tuple);
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
        shape.tuples.iter().find_map(find)
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
    /// It takes `steps` steps at most, or a share of what waits if that is more: who makes much
    /// work has much done. Whether there is something left that can be done at once. Rules that
    /// are elsewhere from `epoch` on are named in `moved`, by where they are.
    pub fn maintain(
        &mut self,
        (oldest, epoch): (u64, u64),
        steps: usize,
        moved: &mut Vec<RuleId>,
    ) -> bool {
        let mut left = steps.max(self.waiting / WAITING_SHARE);
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
        }
        left == 0
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
        tuple.is_some_and(|tuple| tuple.face.probe.is_of(matching))
    }

    /// Makes room for the first rule of a mask: the number of a tuple, and the rank of the mask.
    fn add_shape(&mut self, mask: TupleMask, priority: u16) -> Option<(u32, u32)> {
        let (rank, mask) = (mask.rank(), Arc::new(mask));
        let number = self.add_tuple(&mask, cells::weight(priority, rank))?;
        self.bits.add(&mask, &mut self.rules.mask);
        let tuples = vec![number];
        self.shapes.insert(mask, Shape { rank, tuples });
        Some((number, rank))
    }

    /// A tuple for rules of one mask, of which none is heavier.
    fn add_tuple(&mut self, mask: &Arc<TupleMask>, weight_max: u64) -> Option<u32> {
        let cells = Cells::new(self.payload_words, mask.words().len());
        let number = self.vacant.pop().unwrap_or(self.tuples.len() as u32);
        let face = Arc::new(Face {
            probe: Arc::clone(mask),
            weight_max,
            tuple: number,
            cells: Arc::new(cells),
            index: Arc::new(Index::new(HEADS_FIRST, 0)?),
        });
        self.rules.faces.insert(Arc::clone(&face));
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
                let parts = (Arc::clone(&face.cells), Arc::clone(&face.index));
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
        self.rules.faces.remove(&tuple.face);
        self.vacant.push(number);
        self.untidy.remove(&number);
        self.moves.retain(|it| it.from != number);
        self.recent = self.recent.filter(|recent| *recent != number);
        let mask = &tuple.face.probe;
        let Some(shape) = self.shapes.get_mut(mask) else {
            return;
        };
        shape.tuples.retain(|other| *other != number);
        let tuple = |number: &u32| self.tuples[*number as usize].as_ref();
        let is_idle = |number: &u32| tuple(number).is_none_or(|tuple| tuple.len() == 0);
        if shape.tuples.iter().all(is_idle) {
            let idle = self.shapes.remove(mask).map(|shape| shape.tuples);
            self.bits.remove(mask, &mut self.rules.mask);
            idle.into_iter()
                .flatten()
                .for_each(|idle| self.drop_tuple(idle));
        }
    }

    /// Gives readers of the next epoch other parts of a tuple, and another highest weight if that
    /// has changed.
    fn replace_face(
        &mut self,
        number: u32,
        weight_max: Option<u64>,
        (cells, index): (Arc<Cells>, Arc<Index>),
    ) {
        let Some(tuple) = self.tuples[number as usize].as_mut() else {
            return;
        };
        let old = Arc::clone(&tuple.face);
        let new = Arc::new(Face {
            probe: Arc::clone(&old.probe),
            weight_max: weight_max.unwrap_or(old.weight_max),
            tuple: number,
            cells,
            index,
        });
        tuple.face = Arc::clone(&new);
        self.rules.faces.remove(&old);
        self.rules.faces.insert(new);
    }
}

/// Of the rules that wait to be taken out, so many at a time: what waits is then at most so many
/// times what went meanwhile.
const WAITING_SHARE: usize = 4;
/// Lists in the first index of a tuple.
const HEADS_FIRST: usize = 8;
/// Fewer empty cells are not worth the trouble of moving rules.
const HOLLOW_FROM: u32 = 4096;
