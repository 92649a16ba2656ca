//! What the writer does with the stacks of a tuple: puts cells in and takes them out.
//!
//! Readers come by at any time. Whoever goes down a stack or along a list meets every rule that it
//! can see: a cell is whole before anything leads to it, and what is taken out leads on.

use std::collections::{BTreeMap, HashMap};

use super::cells::{Cells, Place};
use super::index::Index;

/// The cells and indices of a tuple, as the writer changes them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stacks<'a> {
    pub(super) cells: &'a Cells,
    pub(super) index: &'a Index,
    /// Another index on its way, and the number from which on its cells are not in it yet.
    pub(super) growing: Option<(&'a Index, u32)>,
}

/// Large stacks, by their keys.
#[derive(Debug, Default)]
pub(super) struct Crowds(HashMap<Box<[u64]>, Crowd>);

/// Where the rules of each priority begin in a large stack of rules of one mask, so that nobody
/// walks down.
#[derive(Debug)]
struct Crowd {
    first: BTreeMap<u16, u32>,
    /// The lowest cell.
    last: u32,
}

impl Stacks<'_> {
    /// The top of the stack of a key, which `is_of_key` tells.
    pub(super) fn top(&self, hash: u64, is_of_key: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.index.first(hash);
        while at != 0 && !is_of_key(at) {
            at = self.cells.get(at)?.link(self.index.side());
        }
        (at != 0).then_some(at)
    }

    /// Cells in the stack of a top.
    pub(super) fn count(&self, top: u32) -> u32 {
        match self.cells.get(top).map(|cell| cell.place()) {
            Some(Place::Top(count)) => count,
            _ => 0,
        }
    }

    /// Puts a cell that is filled where it belongs.
    pub(super) fn insert(
        &self,
        (hash, key): (u64, &[u64]),
        top: Option<u32>,
        number: u32,
        crowds: &mut Crowds,
    ) {
        let Some(cell) = self.cells.get(number) else {
            return;
        };
        let Some((top, old)) = top.and_then(|top| Some((top, self.cells.get(top)?))) else {
            cell.set_below(0);
            cell.set_place(Place::Top(1));
            self.enter(hash, number);
            return;
        };
        let count = self.count(top) + 1;
        if old.weight() <= cell.weight() {
            cell.set_below(top);
            cell.set_place(Place::Top(count));
            self.replace(hash, top, number);
            old.set_place(Place::Under(number));
        } else {
            let above = crowds.above(self.cells, key, cell.priority());
            let above = above.unwrap_or_else(|| self.above(top, cell.weight()));
            self.put_under(above, number);
            old.set_place(Place::Top(count));
        }
        let top = if old.weight() <= cell.weight() {
            number
        } else {
            top
        };
        crowds.note(self.cells, key, (top, count), number);
    }

    /// The cell that one of this weight goes under.
    fn above(&self, top: u32, weight: u64) -> u32 {
        let mut above = top;
        while let Some(cell) = self.cells.get(above) {
            match cell.below() {
                0 => break,
                below if self.cells.get(below).is_none_or(|it| it.weight() <= weight) => break,
                below => above = below,
            }
        }
        above
    }

    fn put_under(&self, above: u32, number: u32) {
        let (Some(upper), Some(cell)) = (self.cells.get(above), self.cells.get(number)) else {
            return;
        };
        let below = upper.below();
        cell.set_below(below);
        cell.set_place(Place::Under(above));
        if let Some(lower) = self.cells.get(below).filter(|_| below != 0) {
            lower.set_place(Place::Under(number));
        }
        upper.set_below(number);
    }

    /// Takes a cell out of its stack; whether that was the last of it.
    pub(super) fn remove(
        &self,
        (hash, key): (u64, &[u64]),
        top: Option<u32>,
        number: u32,
        crowds: &mut Crowds,
    ) -> bool {
        let Some(cell) = self.cells.get(number) else {
            return false;
        };
        crowds.forget(self.cells, key, number);
        let below = cell.below();
        let lower = self.cells.get(below).filter(|_| below != 0);
        match (cell.place(), lower) {
            (Place::Top(count), Some(lower)) => {
                lower.set_place(Place::Top(count - 1));
                self.replace(hash, number, below);
                return false;
            }
            (Place::Top(_), None) => {
                self.leave(hash, number);
                return true;
            }
            (Place::Under(above), lower) => {
                if let Some(lower) = lower {
                    lower.set_place(Place::Under(above));
                }
                if let Some(upper) = self.cells.get(above) {
                    upper.set_below(below);
                }
            }
        }
        if let Some(top) = top {
            let count = self.count(top).saturating_sub(1);
            if let Some(top) = self.cells.get(top) {
                top.set_place(Place::Top(count));
            }
        }
        false
    }

    fn enter(&self, hash: u64, number: u32) {
        self.index.push(self.cells, hash, number);
        if let Some((growing, next)) = self.growing
            && number < next
        {
            growing.push(self.cells, hash, number);
        }
    }

    fn leave(&self, hash: u64, number: u32) {
        self.index.take(self.cells, hash, number);
        if let Some((growing, next)) = self.growing
            && number < next
        {
            growing.take(self.cells, hash, number);
        }
    }

    fn replace(&self, hash: u64, old: u32, new: u32) {
        self.index.replace(self.cells, hash, old, new);
        if let Some((growing, next)) = self.growing {
            match (old < next, new < next) {
                (true, true) => growing.replace(self.cells, hash, old, new),
                (true, false) => growing.take(self.cells, hash, old),
                (false, true) => growing.push(self.cells, hash, new),
                (false, false) => {}
            }
        }
    }
}

impl Crowds {
    /// The first cell of a priority, if the stack is large and has it.
    pub(super) fn first(&self, key: &[u64], priority: u16) -> Option<Option<u32>> {
        let crowd = self.of(key)?;
        Some(crowd.first.get(&priority).copied())
    }

    fn of(&self, key: &[u64]) -> Option<&Crowd> {
        match self.0.is_empty() {
            true => None,
            false => self.0.get(key),
        }
    }

    /// The cell that one of this priority goes under, if the stack is large.
    fn above(&self, cells: &Cells, key: &[u64], priority: u16) -> Option<u32> {
        let crowd = self.of(key)?;
        let Some((_, first)) = crowd.first.range(..=priority).next_back() else {
            return Some(crowd.last);
        };
        match cells.get(*first)?.place() {
            Place::Under(above) => Some(above),
            Place::Top(_) => None,
        }
    }

    /// Notes a cell that is in its stack now.
    fn note(&mut self, cells: &Cells, key: &[u64], (top, count): (u32, u32), number: u32) {
        let may_be_of = count >= CROWD_MIN || !self.0.is_empty();
        let Some(cell) = cells.get(number).filter(|_| may_be_of) else {
            return;
        };
        match self.0.get_mut(key) {
            Some(crowd) => {
                crowd.first.insert(cell.priority(), number);
                if cell.below() == 0 {
                    crowd.last = number;
                }
            }
            None if count >= CROWD_MIN => drop(self.0.insert(key.into(), Crowd::of(cells, top))),
            None => {}
        }
    }

    /// Forgets a cell that is still in its stack.
    fn forget(&mut self, cells: &Cells, key: &[u64], number: u32) {
        if self.0.is_empty() {
            return;
        }
        let (Some(crowd), Some(cell)) = (self.0.get_mut(key), cells.get(number)) else {
            return;
        };
        if crowd.first.get(&cell.priority()) == Some(&number) {
            let below = cells.get(cell.below()).filter(|_| cell.below() != 0);
            match below.filter(|below| below.priority() == cell.priority()) {
                Some(_) => crowd.first.insert(cell.priority(), cell.below()),
                None => crowd.first.remove(&cell.priority()),
            };
        }
        match cell.place() {
            Place::Under(above) if crowd.last == number => crowd.last = above,
            Place::Top(count) if count <= CROWD_MIN / 2 => drop(self.0.remove(key)),
            _ => {}
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let crowds = self.0.iter().map(|(key, crowd)| {
            size_of_val(&**key) + crowd.first.len() * 2 * size_of::<(u16, u32)>()
        });
        self.0.capacity() * size_of::<(Box<[u64]>, Crowd)>() + crowds.sum::<usize>()
    }
}

impl Crowd {
    fn of(cells: &Cells, top: u32) -> Crowd {
        let mut crowd = Crowd {
            first: BTreeMap::new(),
            last: top,
        };
        let mut at = top;
        while let Some(cell) = cells.get(at).filter(|_| at != 0) {
            crowd.first.entry(cell.priority()).or_insert(at);
            (crowd.last, at) = (at, cell.below());
        }
        crowd
    }
}

/// Cells of a stack from which on it has an order of its own: walking down fewer costs less.
const CROWD_MIN: u32 = 32;
