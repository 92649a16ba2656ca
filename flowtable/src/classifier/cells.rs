//! Where the rules of a tuple lie, and the index that finds them by their words; written by
//! the owner of the classifier, read by all.
//!
//! A cell is a row of words: links, the epochs in which the rule came and went, its priority, what
//! the caller keeps with it, its masked key. Cells of one hash are a list. There are two links, for
//! two indices: while a larger index is filled, readers use the smaller one, each its own links.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::rows::{Rows, heads};

/// The cells of a tuple.
#[derive(Debug)]
pub(super) struct Cells {
    rows: Rows,
    /// Number of the last cell that was ever used; they begin with 1.
    last: AtomicU32,
    /// Where the key begins.
    key_at: usize,
}

/// The words of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a>(&'a [AtomicU64]);

impl Cells {
    pub(super) fn new(payload_words: usize, key_words: usize) -> Cells {
        let key_at = PAYLOAD + payload_words;
        Cells {
            rows: Rows::new(key_at + key_words),
            last: AtomicU32::new(0),
            key_at,
        }
    }

    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> Option<Cell<'_>> {
        Some(Cell(self.rows.get(number)?))
    }

    /// A cell that was never used.
    pub(super) fn add(&self) -> Option<u32> {
        let number = self.last() + 1;
        self.rows.grow(number)?;
        self.last.store(number, Ordering::Release);
        Some(number)
    }

    /// The same cells under the same numbers, to be changed apart from these; in no index.
    pub(super) fn copy(&self) -> Option<Cells> {
        let key_words = self.rows.stride() - self.key_at;
        let copy = Cells::new(self.key_at - PAYLOAD, key_words);
        for number in 1..=self.last() {
            let (from, to) = (self.rows.get(number)?, copy.rows.grow(number)?);
            for (from, to) in from.iter().zip(to) {
                to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        copy.last.store(self.last(), Ordering::Release);
        Some(copy)
    }

    pub(super) fn last(&self) -> u32 {
        self.last.load(Ordering::Acquire)
    }

    #[inline(always)]
    pub(super) fn key<'a>(&self, cell: Cell<'a>) -> &'a [AtomicU64] {
        &cell.0[self.key_at..]
    }

    pub(super) fn payload<'a>(&self, cell: Cell<'a>) -> &'a [AtomicU64] {
        &cell.0[PAYLOAD..self.key_at]
    }

    #[inline(always)]
    pub(super) fn has_key(&self, cell: Cell<'_>, words: &[u64]) -> bool {
        let mut pairs = self.key(cell).iter().zip(words);
        pairs.all(|(ours, theirs)| ours.load(Ordering::Relaxed) == *theirs)
    }

    /// Writes a rule that nobody can find yet; the next thing is to put it in the index.
    pub(super) fn fill(
        &self,
        cell: Cell<'_>,
        (priority, born): (u16, u64),
        payload: &[u64],
        key: &[u64],
    ) {
        cell.0[PRIORITY].store(u64::from(priority) | LINKED, Ordering::Relaxed);
        let pairs = self.payload(cell).iter().zip(payload);
        pairs.for_each(|(word, value)| word.store(*value, Ordering::Relaxed));
        let pairs = self.key(cell).iter().zip(key);
        pairs.for_each(|(word, value)| word.store(*value, Ordering::Relaxed));
        cell.0[BORN].store(born, Ordering::Relaxed);
        cell.0[DIED].store(LIVING, Ordering::Relaxed);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes(self.last() + 1)
    }
}

impl Cell<'_> {
    #[inline(always)]
    fn load(&self, word: usize) -> u64 {
        self.0[word].load(Ordering::Relaxed)
    }

    /// Whether it is there for those who read at `epoch`.
    #[inline(always)]
    pub(super) fn is_visible(&self, epoch: u64) -> bool {
        self.load(BORN) <= epoch && epoch < self.load(DIED)
    }

    /// Whether it is in the index.
    pub(super) fn is_linked(&self) -> bool {
        self.load(PRIORITY) & LINKED != 0
    }

    /// Notes that it is not in the index any more.
    pub(super) fn set_unlinked(&self) {
        self.0[PRIORITY].store(self.load(PRIORITY) & !LINKED, Ordering::Relaxed);
    }

    pub(super) fn is_living(&self) -> bool {
        self.load(DIED) == LIVING
    }

    pub(super) fn born(&self) -> u64 {
        self.load(BORN)
    }

    /// Ends the rule: readers at `epoch` and later do not see it.
    pub(super) fn end(&self, epoch: u64) {
        self.0[DIED].store(epoch, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn priority(&self) -> u16 {
        self.load(PRIORITY) as u16
    }

    #[inline(always)]
    pub(super) fn link(&self, side: u32) -> u32 {
        (self.0[LINKS].load(Ordering::Acquire) >> (32 * side)) as u32
    }

    fn set_link(&self, side: u32, to: u32) {
        let (shift, kept) = (32 * side, self.load(LINKS));
        let others = kept & !(u64::from(u32::MAX) << shift);
        self.0[LINKS].store(others | u64::from(to) << shift, Ordering::Release);
    }
}

/// Cells by the hash of their key.
#[derive(Debug)]
pub(super) struct Index {
    heads: Box<[AtomicU32]>,
    /// Which of a cell's links it uses.
    side: u32,
}

impl Index {
    pub(super) fn new(len: usize, side: u32) -> Option<Index> {
        Some(Index {
            heads: heads(len)?,
            side,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    pub(super) fn side(&self) -> u32 {
        self.side
    }

    #[inline(always)]
    fn head(&self, hash: u64) -> &AtomicU32 {
        &self.heads[hash as usize & (self.heads.len() - 1)]
    }

    /// The first cell that may have a key of this hash, 0 for none.
    #[inline(always)]
    pub(super) fn first(&self, hash: u64) -> u32 {
        self.head(hash).load(Ordering::Acquire)
    }

    /// Puts a cell in its list: cells of one key next to each other, by descending priority.
    pub(super) fn link(&self, cells: &Cells, hash: u64, number: u32, key: &[u64]) {
        let Some(cell) = cells.get(number) else {
            return;
        };
        let (mut before, mut at) = (0, self.first(hash));
        let (mut place, mut seen) = (0, false);
        while let Some(other) = cells.get(at).filter(|_| at != 0) {
            if cells.has_key(other, key) {
                seen = true;
                if other.priority() <= cell.priority() {
                    break;
                }
                place = at;
            } else if seen {
                break;
            }
            (before, at) = (at, other.link(self.side));
        }
        // Without an equal key it becomes the first: no walk back from the end.
        let after = match (seen, place) {
            (false, _) => 0,
            (true, 0) => before,
            (true, place) => place,
        };
        match cells.get(after).filter(|_| after != 0) {
            Some(previous) => {
                cell.set_link(self.side, previous.link(self.side));
                previous.set_link(self.side, number);
            }
            None => {
                cell.set_link(self.side, self.first(hash));
                self.head(hash).store(number, Ordering::Release);
            }
        }
    }

    /// Takes a cell out of its list, if it is there. It keeps its own link: who is at it just now
    /// must find on.
    pub(super) fn unlink(&self, cells: &Cells, hash: u64, number: u32) {
        let Some(next) = cells.get(number).map(|cell| cell.link(self.side)) else {
            return;
        };
        let mut at = self.first(hash);
        if at == number {
            self.head(hash).store(next, Ordering::Release);
            return;
        }
        while let Some(cell) = cells.get(at).filter(|_| at != 0) {
            let following = cell.link(self.side);
            if following == number {
                cell.set_link(self.side, next);
                return;
            }
            at = following;
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.heads)
    }
}

const LINKS: usize = 0;
const BORN: usize = 1;
const DIED: usize = 2;
const PRIORITY: usize = 3;
const PAYLOAD: usize = 4;
/// Bit of the word of the priority: the cell is in the index.
const LINKED: u64 = 1 << 16;
/// When a rule dies that lives.
const LIVING: u64 = u64::MAX;
