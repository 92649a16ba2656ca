//! The rules of a tuple as the owner of the classifier keeps them: which cells are taken, and
//! when those of rules that went may be used again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cells::{Cell, Cells, Place, weight};
use super::index::Index;
use super::mask::{self, Room};
use super::rules::Face;
use super::stack::{Crowds, Stacks};
use crate::hash::Keyed;
use crate::{FlowKey, Match};

/// The rules of one mask, or of several.
#[derive(Debug)]
pub(super) struct Tuple {
    /// As readers see it.
    pub(super) face: Arc<Face>,
    hasher: Keyed,
    /// If masks share it: rules that there were when it was made.
    pub(super) founded: usize,
    /// No more rules are put in it: those that are there are on their way out.
    pub(super) is_closed: bool,
    /// Rules that are there, by weight.
    weights: BTreeMap<u64, u32>,
    len: usize,
    /// Stacks in the index.
    stacks: usize,
    heights: Heights,
    crowds: Crowds,
    growing: Option<Growing>,
    /// The epoch from which on nobody reads the links that the index does not use.
    links_free: u64,
    /// Rules that went, each with the epoch from which on nobody sees it.
    retired: VecDeque<(u64, u32)>,
    /// Cells out of the index, each with the epoch from which on nobody is at it.
    limbo: VecDeque<(u64, u32)>,
    free: Vec<u32>,
}

/// A larger index on its way.
#[derive(Debug)]
struct Growing {
    index: Index,
    /// The next cell to be linked.
    next: u32,
}

/// A rule to be put in a tuple.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewRule<'a> {
    pub(super) matching: &'a Match,
    pub(super) priority: u16,
    /// Rank of its mask.
    pub(super) rank: u32,
    pub(super) payload: &'a [u64],
}

impl Tuple {
    pub(super) fn new(face: Arc<Face>, hasher: Keyed) -> Tuple {
        Tuple {
            face,
            hasher,
            founded: 0,
            is_closed: false,
            weights: BTreeMap::new(),
            len: 0,
            stacks: 0,
            heights: Heights::default(),
            crowds: Crowds::default(),
            growing: None,
            links_free: 0,
            retired: VecDeque::new(),
            limbo: VecDeque::new(),
            free: Vec::new(),
        }
    }

    /// Cells in the tallest stack: so many rules may be looked at for one packet.
    pub(super) fn tallest(&self) -> u32 {
        self.heights.tallest()
    }

    /// Rules that are there.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The highest weight of a rule, if there is a rule.
    pub(super) fn heaviest(&self) -> Option<u64> {
        self.weights.last_key_value().map(|(weight, _)| *weight)
    }

    /// The cell of the rule with this match and priority.
    pub(super) fn find(&self, matching: &Match, priority: u16) -> Option<u32> {
        let (mut hashed, mut room) = ([0; FlowKey::WORDS], [0; 2 * FlowKey::WORDS]);
        let key = self.face.hashed(matching, &mut hashed);
        let all = self.face.cell_key(matching, &mut room);
        let top = self.top(self.hash(key), key)?;
        let mut at = match self.crowds.first(key, priority) {
            Some(first) => first?,
            None => top,
        };
        let cells = &self.face.cells;
        while let Some(cell) = cells.get(at).filter(|_| at != 0) {
            if cell.priority() < priority {
                return None;
            }
            if cell.priority() == priority && cell.is_living() && cells.has_key(cell, all) {
                return Some(at);
            }
            at = cell.below();
        }
        None
    }

    /// Cells in the stack of the key that rules with this match have.
    pub(super) fn depth(&self, matching: &Match) -> u32 {
        let mut hashed = [0; FlowKey::WORDS];
        let key = self.face.hashed(matching, &mut hashed);
        let top = self.top(self.hash(key), key);
        top.map_or(0, |top| self.stacks_now().count(top))
    }

    /// Puts a rule in a free cell; `None` if there is none.
    pub(super) fn insert(&mut self, rule: &NewRule<'_>, epoch: u64) -> Option<u32> {
        let (mut hashed, mut room) = ([0; FlowKey::WORDS], [0; 2 * FlowKey::WORDS]);
        let face = Arc::clone(&self.face);
        let key = face.hashed(rule.matching, &mut hashed);
        let number = match self.free.pop() {
            Some(number) => number,
            None => face.cells.add()?,
        };
        let (cells, weight) = (&face.cells, weight(rule.priority, rule.rank));
        let all = face.cell_key(rule.matching, &mut room);
        cells.fill(cells.get(number)?, (weight, epoch), rule.payload, all);
        let hash = self.hash(key);
        let top = self.top(hash, key);
        self.stacks += usize::from(top.is_none());
        let height = top.map_or(0, |top| self.stacks_now().count(top));
        self.heights.change(height, height + 1);
        self.change(|stacks, crowds| stacks.insert((hash, key), top, number, crowds));
        self.len += 1;
        *self.weights.entry(weight).or_insert(0) += 1;
        Some(number)
    }

    /// Ends a rule that is there.
    pub(super) fn remove(&mut self, number: u32, epoch: u64) {
        let Some(cell) = self.face.cells.get(number) else {
            return;
        };
        let (weight, never_seen) = (cell.weight(), cell.born() == epoch);
        cell.end(epoch);
        match self.weights.get_mut(&weight) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.weights.remove(&weight)),
        }
        self.len -= 1;
        if never_seen {
            self.unlink(number, epoch);
        } else {
            self.retired.push_back((epoch, number));
        }
    }

    fn unlink(&mut self, number: u32, epoch: u64) {
        let face = Arc::clone(&self.face);
        let Some(cell) = face.cells.get(number) else {
            return;
        };
        let mut room = [0; FlowKey::WORDS];
        let key = face.hashed_of(cell, &mut room);
        let hash = self.hash(key);
        let (top, height) = match cell.place() {
            Place::Top(count) => (None, count),
            Place::Under(_) => {
                let top = self.top(hash, key);
                (top, top.map_or(0, |top| self.stacks_now().count(top)))
            }
        };
        self.heights.change(height, height.saturating_sub(1));
        let is_last = self.change(|stacks, crowds| stacks.remove((hash, key), top, number, crowds));
        self.stacks -= usize::from(is_last);
        cell.set_unlinked();
        self.limbo.push_back((epoch, number));
    }

    /// The top of the stack of a key.
    fn top(&self, hash: u64, key: &[u64]) -> Option<u32> {
        let face = &self.face;
        let is_of_key = |number| {
            let cell = face.cells.get(number);
            cell.is_some_and(|cell| face.has_key(cell, key))
        };
        self.stacks_now().top(hash, is_of_key)
    }

    fn stacks_now(&self) -> Stacks<'_> {
        let growing = self.growing.as_ref();
        Stacks {
            cells: &self.face.cells,
            index: &self.face.index,
            growing: growing.map(|growing| (&growing.index, growing.next)),
        }
    }

    fn change<R>(&mut self, act: impl FnOnce(Stacks<'_>, &mut Crowds) -> R) -> R {
        let growing = self.growing.as_ref();
        let stacks = Stacks {
            cells: &self.face.cells,
            index: &self.face.index,
            growing: growing.map(|growing| (&growing.index, growing.next)),
        };
        act(stacks, &mut self.crowds)
    }

    /// Makes cells free that nobody reads any more, and fills a larger index, in so many steps at
    /// most. Readers are at `oldest` or later; changes are made for `epoch`. Whether a larger index
    /// is to take the place of the one that readers have.
    pub(super) fn maintain(&mut self, (oldest, epoch): (u64, u64), steps: &mut usize) -> bool {
        while *steps > 0
            && let Some((_, number)) = self.retired.pop_front_if(|retired| retired.0 <= oldest)
        {
            self.unlink(number, epoch);
            *steps -= 1;
        }
        while let Some((_, number)) = self.limbo.pop_front_if(|unlinked| unlinked.0 <= oldest) {
            self.free.push(number);
        }
        for queue in [&mut self.retired, &mut self.limbo] {
            if queue.is_empty() {
                queue.shrink_to(QUEUE_KEPT);
            }
        }
        if self.growing.is_none()
            && self.stacks > self.face.index.len()
            && self.links_free <= oldest
        {
            let (len, side) = (self.face.index.len() * GROWTH, 1 - self.face.index.side());
            let index = Index::new(len, side);
            self.growing = index.map(|index| Growing { index, next: 1 });
        }
        self.grow(steps)
    }

    /// Cells of rules that went and are not free yet.
    pub(super) fn waiting(&self) -> usize {
        self.retired.len() + self.limbo.len()
    }

    /// Whether there is more for [`Tuple::maintain`] to do.
    pub(super) fn is_untidy(&self) -> bool {
        let waits = !self.retired.is_empty() || !self.limbo.is_empty();
        waits || self.growing.is_some() || self.stacks > self.face.index.len()
    }

    /// Whether its stacks are taller on average than `height_eighths` eighths of a cell, and it has
    /// twice the rules that it was made for.
    pub(super) fn is_tall(&self, height_eighths: usize) -> bool {
        self.len > 2 * self.founded && 8 * self.len > height_eighths * self.stacks
    }

    /// Whether it has taken far more memory than its rules need, in so many cells at least.
    pub(super) fn is_hollow(&self, from: u32) -> bool {
        let last = self.face.cells.last();
        last >= from && self.len + self.waiting() < (last / HOLLOW_SHARE) as usize
    }

    /// A larger index, filled at once, if this one is full: for many rules of one epoch. Nobody has
    /// seen an index of this epoch, so the next may use the same links.
    pub(super) fn grow_at_once(&mut self, (oldest, epoch): (u64, u64)) -> Option<Index> {
        if self.stacks <= self.face.index.len() {
            return None;
        }
        let side = self.face.index.side();
        let side = match self.links_free == epoch {
            true => side,
            false if self.links_free <= oldest => 1 - side,
            false => return None,
        };
        let len = self.stacks.next_power_of_two() * GROWTH;
        let index = Index::new(len, side)?;
        self.growing = Some(Growing { index, next: 1 });
        let mut steps = usize::MAX;
        self.grow(&mut steps);
        self.take_grown(epoch)
    }

    /// Copies of the cells and an index that is large enough for them, if there are far too many
    /// for the one that readers have: more came than could be made room for while somebody reads at
    /// an old epoch.
    pub(super) fn rebuild(&mut self) -> Option<(Arc<Cells>, Index)> {
        if self.stacks <= CROWD * self.face.index.len() {
            return None;
        }
        let cells = self.face.cells.copy()?;
        let index = Index::new((self.stacks * CROWD).next_power_of_two(), 0)?;
        for number in 1..=cells.last() {
            self.link(&cells, &index, number);
        }
        self.growing = None;
        self.links_free = 0;
        Some((Arc::new(cells), index))
    }

    fn grow(&mut self, steps: &mut usize) -> bool {
        let Some(mut growing) = self.growing.take() else {
            return false;
        };
        let last = self.face.cells.last();
        while growing.next <= last && *steps > 0 {
            *steps -= 1;
            self.link(&self.face.cells, &growing.index, growing.next);
            growing.next += 1;
        }
        let is_done = growing.next > last;
        self.growing = Some(growing);
        is_done
    }

    /// Puts a cell in an index if it is a top.
    fn link(&self, cells: &Cells, index: &Index, number: u32) {
        let cell = cells.get(number).filter(Cell::is_linked);
        let is_top = |cell: &Cell<'_>| matches!(cell.place(), Place::Top(_));
        if let Some(cell) = cell.filter(is_top) {
            let mut room = [0; FlowKey::WORDS];
            let hash = self.hash(self.face.hashed_of_key(cells.key(cell), &mut room));
            index.push(cells, hash, number);
        }
    }

    /// The index that has been filled; the links of the one before are free from `epoch` on.
    pub(super) fn take_grown(&mut self, epoch: u64) -> Option<Index> {
        self.links_free = epoch;
        self.growing.take().map(|growing| growing.index)
    }

    fn hash(&self, key: &[u64]) -> u64 {
        mask::hash(self.hasher, key.iter().copied())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let queued = self.retired.capacity() + self.limbo.capacity();
        let queues = queued * size_of::<(u64, u32)>() + self.free.capacity() * size_of::<u32>();
        let growing = self.growing.as_ref();
        let growing = growing.map_or(0, |growing| growing.index.memory_bytes());
        let face = self.face.cells.memory_bytes() + self.face.index.memory_bytes();
        let heights = self.heights.0.capacity() * size_of::<u32>();
        size_of::<Self>() + face + growing + queues + heights + self.crowds.memory_bytes()
    }
}

/// How many stacks there are of each height; the last one is of the tallest.
#[derive(Debug, Default)]
struct Heights(Vec<u32>);

impl Heights {
    /// A stack has another height; one of height 0 is none.
    fn change(&mut self, from: u32, to: u32) {
        if let Some(count) = self.0.get_mut(from as usize).filter(|_| from > 0) {
            *count -= 1;
        }
        if to as usize >= self.0.len() {
            self.0.resize(to as usize + 1, 0);
        }
        if to > 0 {
            self.0[to as usize] += 1;
        }
        while self.0.pop_if(|count| *count == 0).is_some() {}
    }

    fn tallest(&self) -> u32 {
        self.0.len().saturating_sub(1) as u32
    }
}

impl Face {
    /// The words of a match that are hashed.
    pub(super) fn hashed<'a>(
        &self,
        matching: &Match,
        room: &'a mut [u64; FlowKey::WORDS],
    ) -> &'a [u64] {
        match &self.layout {
            Some(_) => self.probe.apply(&matching.key(), room),
            None => {
                let words = matching.words();
                let len = words.len();
                for (word, (_, value, _)) in room.iter_mut().zip(words) {
                    *word = value;
                }
                &room[..len]
            }
        }
    }

    /// The words of a match as a cell has them.
    fn cell_key<'a>(&self, matching: &Match, room: &'a mut Room) -> &'a [u64] {
        match &self.layout {
            Some(layout) => layout.write(matching, room),
            None => {
                let words = matching.words();
                let len = words.len();
                for (word, (_, value, _)) in room.iter_mut().zip(words) {
                    *word = value;
                }
                &room[..len]
            }
        }
    }

    fn hashed_of<'a>(&self, cell: Cell<'_>, room: &'a mut [u64; FlowKey::WORDS]) -> &'a [u64] {
        self.hashed_of_key(self.cells.key(cell), room)
    }

    /// The words of a cell that are hashed.
    fn hashed_of_key<'a>(
        &self,
        key: &[std::sync::atomic::AtomicU64],
        room: &'a mut [u64; FlowKey::WORDS],
    ) -> &'a [u64] {
        let count = self.probe.words().len();
        let load = |place: usize| {
            key.get(place)
                .map_or(0, |word| word.load(Ordering::Relaxed))
        };
        for (nth, (word, (_, bits))) in room.iter_mut().zip(self.probe.words()).enumerate() {
            *word = match &self.layout {
                Some(layout) => load(layout.place_of_hashed(nth)) & bits,
                None => load(nth),
            };
        }
        &room[..count]
    }
}

/// Tops for each list from which on an index is not waited for any more.
const CROWD: usize = 2;
/// An index grows by this: between a quarter of a stack and one for each head.
const GROWTH: usize = 4;
/// Room that an empty queue keeps.
const QUEUE_KEPT: usize = 64;
/// It is hollow if fewer cells than one in so many hold a rule.
const HOLLOW_SHARE: u32 = 8;
