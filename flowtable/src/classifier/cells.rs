//! Where the rules of a tuple lie; written by the owner of the classifier, read by all.
//!
//! A cell is a row of words: links, the epochs in which the rule came and went, its weight, what
//! the caller keeps with it, its masked key. Cells of one key are a stack, the heaviest on top and
//! of equal ones the newest; the tops of one hash are a list ([`super::index`]). A top has two
//! links, for two indices: while another index is filled, readers use the first one, each its own
//! links.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::rows::Rows;

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

    pub(super) fn has_key(&self, cell: Cell<'_>, words: &[u64]) -> bool {
        let mut pairs = self.key(cell).iter().zip(words);
        pairs.all(|(ours, theirs)| ours.load(Ordering::Relaxed) == *theirs)
    }

    /// Writes a rule that nobody can find yet; the next thing is to put it in its stack.
    pub(super) fn fill(
        &self,
        cell: Cell<'_>,
        (weight, born): (u64, u64),
        payload: &[u64],
        key: &[u64],
    ) {
        cell.0[WEIGHT].store(weight | LINKED, Ordering::Relaxed);
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

    /// Whether it is in a stack.
    pub(super) fn is_linked(&self) -> bool {
        self.load(WEIGHT) & LINKED != 0
    }

    /// Notes that it is not in its stack any more.
    pub(super) fn set_unlinked(&self) {
        self.0[WEIGHT].store(self.weight(), Ordering::Relaxed);
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

    /// Of the rules that match a packet the one of highest weight is found.
    #[inline(always)]
    pub(super) fn weight(&self) -> u64 {
        self.load(WEIGHT) & !LINKED
    }

    #[inline(always)]
    pub(super) fn priority(&self) -> u16 {
        priority(self.weight())
    }

    /// The next top in the list of an index, 0 for none.
    #[inline(always)]
    pub(super) fn link(&self, side: u32) -> u32 {
        (self.0[LINKS].load(Ordering::Acquire) >> (32 * side)) as u32
    }

    pub(super) fn set_link(&self, side: u32, to: u32) {
        let (shift, kept) = (32 * side, self.load(LINKS));
        let others = kept & !(u64::from(u32::MAX) << shift);
        self.0[LINKS].store(others | u64::from(to) << shift, Ordering::Release);
    }

    /// The next cell in the stack, 0 for none.
    #[inline(always)]
    pub(super) fn below(&self) -> u32 {
        self.0[SIBLINGS].load(Ordering::Acquire) as u32
    }

    /// Where it is in the stack, for the writer.
    pub(super) fn place(&self) -> Place {
        match (self.load(SIBLINGS) >> 32) as u32 {
            word if word & TOP != 0 => Place::Top(word & !TOP),
            word => Place::Under(word),
        }
    }

    pub(super) fn set_below(&self, below: u32) {
        let kept = self.load(SIBLINGS) >> 32 << 32;
        self.0[SIBLINGS].store(kept | u64::from(below), Ordering::Release);
    }

    pub(super) fn set_place(&self, place: Place) {
        let word = match place {
            Place::Top(count) => TOP | count,
            Place::Under(above) => above,
        };
        let below = self.load(SIBLINGS) as u32;
        self.0[SIBLINGS].store(u64::from(word) << 32 | u64::from(below), Ordering::Release);
    }
}

/// Where a cell is in its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the top of so many cells.
    Top(u32),
    /// It is under this one.
    Under(u32),
}

/// The weight of a rule: the priority decides, then the rank of its mask.
pub(super) fn weight(priority: u16, rank: u32) -> u64 {
    u64::from(priority) << 32 | u64::from(rank)
}

/// The priority in a weight.
#[inline(always)]
pub(super) fn priority(weight: u64) -> u16 {
    (weight >> 32) as u16
}

const LINKS: usize = 0;
const SIBLINGS: usize = 1;
const BORN: usize = 2;
const DIED: usize = 3;
const WEIGHT: usize = 4;
const PAYLOAD: usize = 5;
/// Bit of the upper half of the word of the siblings: it is a top, and the rest is a count.
const TOP: u32 = 1 << 31;
/// Bit of the word of the weight: the cell is in a stack.
const LINKED: u64 = 1 << 63;
/// When a rule dies that lives.
const LIVING: u64 = u64::MAX;
const _: () = assert!(Rows::MAX < TOP);
