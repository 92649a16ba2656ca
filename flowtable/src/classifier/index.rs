//! Finds the stacks of a tuple by the hash of their key: heads of lists of tops.
//!
//! Most packets match no rule of most tuples. A head has the number of the first top, and a bit
//! for each hash in its list, of 32: so nearly all of those packets need not look at a cell, which
//! in large tables is in no cache.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use super::cells::Cells;
use crate::rows::zeroed;

/// Tops by the hash of their key; a clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Index {
    heads: Heads,
    /// Which of a cell's links it uses.
    side: u32,
}

/// Number of the first top in the lower half, bits of the hashes in the upper one.
#[derive(Clone, Debug)]
enum Heads {
    /// A step nearer to those who find.
    Few(Arc<[AtomicU64]>),
    /// Zeroed by the kernel as they are touched.
    Many(Arc<Box<[AtomicU64]>>),
}

impl core::ops::Deref for Heads {
    type Target = [AtomicU64];

    #[inline(always)]
    fn deref(&self) -> &[AtomicU64] {
        match self {
            Heads::Few(heads) => heads,
            Heads::Many(heads) => heads,
        }
    }
}

impl Index {
    /// `len` lists; a power of two.
    pub(super) fn new(len: usize, side: u32) -> Option<Index> {
        let heads = zeroed(len)?;
        let heads = match len {
            ..=FEW_MAX => Heads::Few(heads.into()),
            _ => Heads::Many(Arc::new(heads)),
        };
        Some(Index { heads, side })
    }

    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    pub(super) fn side(&self) -> u32 {
        self.side
    }

    #[inline(always)]
    fn head(&self, hash: u64) -> &AtomicU64 {
        &self.heads[hash as usize & (self.heads.len() - 1)]
    }

    /// The first top of the list that may have a key of this hash, 0 for none.
    #[inline(always)]
    pub(super) fn first(&self, hash: u64) -> u32 {
        let head = self.head(hash).load(Ordering::Acquire);
        if head & bit(hash) == 0 {
            0
        } else {
            head as u32
        }
    }

    /// Puts a top in its list.
    pub(super) fn push(&self, cells: &Cells, hash: u64, number: u32) {
        if let Some(cell) = cells.get(number) {
            let head = self.head(hash).load(Ordering::Relaxed);
            cell.set_link(self.side, head as u32);
            self.lead_to(number, hash, head | bit(hash));
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
        let head = self.head(hash).load(Ordering::Relaxed);
        let mut at = head as u32;
        if at == old {
            self.lead_to(new, hash, head);
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

    /// Lets a head lead to a cell, or nowhere. Its bits stay until its list is empty, since others
    /// in it may have the same.
    fn lead_to(&self, number: u32, hash: u64, bits: u64) {
        let head = match number {
            0 => 0,
            _ => bits >> 32 << 32 | u64::from(number),
        };
        self.head(hash).store(head, Ordering::Release);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.heads)
    }
}

/// Lists of which all can be zeroed at once without keeping anybody waiting: 32 KiB.
const FEW_MAX: usize = 4096;

/// The bit of a hash in its head: by what does not say which head it is.
#[inline(always)]
fn bit(hash: u64) -> u64 {
    1 << 32 << (hash >> 59)
}
