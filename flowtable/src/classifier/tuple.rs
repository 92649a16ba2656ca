//! The rules of one mask as the owner of the classifier keeps them: which cells are taken, and
//! when those of rules that went may be used again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::cells::{Cell, Cells, Index};
use super::mask::{self, TupleMask};
use super::rules::Face;
use crate::hash::Keyed;
use crate::{FlowKey, Match};

/// The rules of one mask.
#[derive(Debug)]
pub(super) struct Tuple {
    /// As readers see it.
    pub(super) face: Arc<Face>,
    hasher: Keyed,
    /// Rules that are there, by priority.
    priorities: BTreeMap<u16, u32>,
    /// Cells in the index.
    linked: usize,
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
    index: Arc<Index>,
    /// The next cell to be linked.
    next: u32,
}

impl Tuple {
    pub(super) fn new(face: Arc<Face>, hasher: Keyed) -> Tuple {
        Tuple {
            face,
            hasher,
            priorities: BTreeMap::new(),
            linked: 0,
            growing: None,
            links_free: 0,
            retired: VecDeque::new(),
            limbo: VecDeque::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn mask(&self) -> &Arc<TupleMask> {
        &self.face.mask
    }

    /// The highest priority of a rule, if there is a rule.
    pub(super) fn highest(&self) -> Option<u16> {
        self.priorities
            .last_key_value()
            .map(|(priority, _)| *priority)
    }

    /// The cell of the rule with this match and priority.
    pub(super) fn find(&self, matching: &Match, priority: u16) -> Option<u32> {
        let mut room = [0; FlowKey::WORDS];
        let key = values(matching, &mut room);
        let (cells, index) = (&self.face.cells, &self.face.index);
        let mut at = index.first(self.hash(key));
        while let Some(cell) = cells.get(at).filter(|_| at != 0) {
            if cell.priority() == priority && cell.is_living() && cells.has_key(cell, key) {
                return Some(at);
            }
            at = cell.link(index.side());
        }
        None
    }

    /// Puts a rule in a free cell; `None` if there is none.
    pub(super) fn insert(
        &mut self,
        matching: &Match,
        (priority, epoch): (u16, u64),
        payload: &[u64],
    ) -> Option<u32> {
        let mut room = [0; FlowKey::WORDS];
        let key = values(matching, &mut room);
        let number = match self.free.pop() {
            Some(number) => number,
            None => self.face.cells.add()?,
        };
        let (cells, hash) = (&self.face.cells, self.hash(key));
        cells.fill(cells.get(number)?, (priority, epoch), payload, key);
        self.face.index.link(cells, hash, number, key);
        if let Some(growing) = self.growing.as_ref().filter(|it| number < it.next) {
            growing.index.link(cells, hash, number, key);
        }
        self.linked += 1;
        *self.priorities.entry(priority).or_insert(0) += 1;
        Some(number)
    }

    /// Ends a rule that is there.
    pub(super) fn remove(&mut self, number: u32, epoch: u64) {
        let Some(cell) = self.face.cells.get(number) else {
            return;
        };
        let (priority, never_seen) = (cell.priority(), cell.born() == epoch);
        cell.end(epoch);
        match self.priorities.get_mut(&priority) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.priorities.remove(&priority)),
        }
        if never_seen {
            self.unlink(number, epoch);
        } else {
            self.retired.push_back((epoch, number));
        }
    }

    fn unlink(&mut self, number: u32, epoch: u64) {
        let cells = &self.face.cells;
        let Some(cell) = cells.get(number) else {
            return;
        };
        let key = cells.key(cell).iter();
        let words = key.map(|word| word.load(core::sync::atomic::Ordering::Relaxed));
        let hash = mask::hash(self.hasher, words);
        self.face.index.unlink(cells, hash, number);
        self.linked -= 1;
        cell.set_unlinked();
        if let Some(growing) = self.growing.as_ref().filter(|it| number < it.next) {
            growing.index.unlink(cells, hash, number);
        }
        self.limbo.push_back((epoch, number));
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
        if self.growing.is_none()
            && self.linked > self.face.index.len()
            && self.links_free <= oldest
        {
            let (len, side) = (self.face.index.len() * GROWTH, 1 - self.face.index.side());
            let index = Index::new(len, side).map(Arc::new);
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
        waits || self.growing.is_some() || self.linked > self.face.index.len()
    }

    /// A larger index, filled at once, if this one is full: for many rules of one epoch. Nobody has
    /// seen an index of this epoch, so the next may use the same links.
    pub(super) fn grow_at_once(&mut self, (oldest, epoch): (u64, u64)) -> Option<Arc<Index>> {
        if self.linked <= self.face.index.len() {
            return None;
        }
        let side = self.face.index.side();
        let side = match self.links_free == epoch {
            true => side,
            false if self.links_free <= oldest => 1 - side,
            false => return None,
        };
        let len = self.linked.next_power_of_two() * GROWTH;
        let index = Arc::new(Index::new(len, side)?);
        self.growing = Some(Growing { index, next: 1 });
        let mut steps = usize::MAX;
        self.grow(&mut steps);
        self.take_grown(epoch)
    }

    /// Copies of the cells and an index that is large enough for them, if there are far too many
    /// for the one that readers have: more came than could be made room for while somebody reads at
    /// an old epoch.
    pub(super) fn rebuild(&mut self) -> Option<(Arc<Cells>, Arc<Index>)> {
        if self.linked <= CROWD * self.face.index.len() {
            return None;
        }
        let cells = self.face.cells.copy()?;
        let index = Index::new((self.linked * CROWD).next_power_of_two(), 0)?;
        let mut room = [0; FlowKey::WORDS];
        for number in 1..=cells.last() {
            if let Some(cell) = cells.get(number).filter(|cell| cell.is_linked()) {
                let key = key_of(&cells, cell, &mut room);
                index.link(&cells, self.hash(key), number, key);
            }
        }
        self.growing = None;
        self.links_free = 0;
        Some((Arc::new(cells), Arc::new(index)))
    }

    fn grow(&mut self, steps: &mut usize) -> bool {
        let Some(growing) = &mut self.growing else {
            return false;
        };
        let cells = &self.face.cells;
        let mut room = [0; FlowKey::WORDS];
        while growing.next <= cells.last() {
            if *steps == 0 {
                return false;
            }
            *steps -= 1;
            let number = growing.next;
            growing.next += 1;
            let Some(cell) = cells.get(number).filter(|cell| cell.is_linked()) else {
                continue;
            };
            let key = key_of(cells, cell, &mut room);
            let hash = mask::hash(self.hasher, key.iter().copied());
            growing.index.link(cells, hash, number, key);
        }
        true
    }

    /// The index that has been filled; the links of the one before are free from `epoch` on.
    pub(super) fn take_grown(&mut self, epoch: u64) -> Option<Arc<Index>> {
        self.links_free = epoch;
        self.growing.take().map(|growing| growing.index)
    }

    fn hash(&self, key: &[u64]) -> u64 {
        mask::hash(self.hasher, key.iter().copied())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let queues = (self.retired.len() + self.limbo.len()) * size_of::<(u64, u32)>();
        let growing = self
            .growing
            .as_ref()
            .map_or(0, |it| it.index.memory_bytes());
        let face = self.face.cells.memory_bytes() + self.face.index.memory_bytes();
        size_of::<Self>() + face + growing + queues + self.free.len() * size_of::<u32>()
    }
}

fn key_of<'a>(cells: &Cells, cell: Cell<'_>, room: &'a mut [u64; FlowKey::WORDS]) -> &'a [u64] {
    let words = cells.key(cell);
    for (value, word) in room.iter_mut().zip(words) {
        *value = word.load(core::sync::atomic::Ordering::Relaxed);
    }
    &room[..words.len()]
}

/// The words of a match that count, as a tuple's key.
fn values<'a>(matching: &Match, room: &'a mut [u64; FlowKey::WORDS]) -> &'a [u64] {
    let words = matching.words();
    let len = words.len();
    for (word, (_, value, _)) in room.iter_mut().zip(words) {
        *word = value;
    }
    &room[..len]
}

/// Cells for each list from which on an index is not waited for any more.
const CROWD: usize = 2;
/// An index grows by this: between a quarter of a cell and one for each head.
const GROWTH: usize = 4;
