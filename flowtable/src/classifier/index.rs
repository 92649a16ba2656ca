//! Finds the stacks of a tuple by the hash of their key: heads of lists of tops.

use core::sync::atomic::{AtomicU32, Ordering};

use super::cells::Cells;
use crate::rows::heads;

/// Tops by the hash of their key.
#[derive(Debug)]
pub(super) struct Index {
    heads: Box<[AtomicU32]>,
    /// Which of a cell's links it uses.
    side: u32,
}

impl Index {
    /// `len` lists; a power of two.
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

    /// The first top that may have a key of this hash, 0 for none.
    #[inline(always)]
    pub(super) fn first(&self, hash: u64) -> u32 {
        self.head(hash).load(Ordering::Acquire)
    }

    /// Puts a top in its list.
    pub(super) fn push(&self, cells: &Cells, hash: u64, number: u32) {
        if let Some(cell) = cells.get(number) {
            cell.set_link(self.side, self.first(hash));
            self.head(hash).store(number, Ordering::Release);
        }
    }

    /// Puts another cell in the place of a top: whoever comes by meets one of the two.
    pub(super) fn replace(&self, cells: &Cells, hash: u64, old: u32, new: u32) {
        let link = |number| cells.get(number).map(|cell| cell.link(self.side));
        if let (Some(cell), Some(next)) = (cells.get(new), link(old)) {
            cell.set_link(self.side, next);
            self.lead(cells, hash, old, new);
        }
    }

    /// Takes a top out of its list, if it is there. It keeps its own link: who is at it just now
    /// must find on.
    pub(super) fn take(&self, cells: &Cells, hash: u64, number: u32) {
        if let Some(next) = cells.get(number).map(|cell| cell.link(self.side)) {
            self.lead(cells, hash, number, next);
        }
    }

    /// Lets what leads to one cell lead to another.
    fn lead(&self, cells: &Cells, hash: u64, old: u32, new: u32) {
        let mut at = self.first(hash);
        if at == old {
            self.head(hash).store(new, Ordering::Release);
            return;
        }
        while let Some(cell) = cells.get(at).filter(|_| at != 0) {
            let following = cell.link(self.side);
            if following == old {
                cell.set_link(self.side, new);
                return;
            }
            at = following;
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.heads)
    }
}
