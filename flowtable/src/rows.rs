//! Rows of atomic words in memory that only grows: what one thread writes and others read
//! meanwhile, without locks and in safe code alone. Cells of the classifier and counters of flows
//! are such rows.
//!
//! A row never moves, so a number is all that names it. Rows lie in chunks, each as large as all
//! before it together: a lookup is a shift and two loads. A chunk comes zeroed from the kernel, so
//! that rows which were never used take no memory.

use core::sync::atomic::AtomicU64;
use std::sync::OnceLock;

use zerocopy::FromZeros;

/// Rows of so many words each.
#[derive(Debug)]
pub struct Rows {
    stride: usize,
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
}

impl Rows {
    /// Numbers of rows are below this.
    pub const MAX: u32 = FIRST * ((1 << CHUNKS) - 1);

    /// No rows yet, of `stride` words each.
    pub fn new(stride: usize) -> Rows {
        Rows {
            stride,
            chunks: [const { OnceLock::new() }; CHUNKS],
        }
    }

    /// Words of a row.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Makes a row if it is not there, all zero; `None` if there is no room for it.
    pub fn grow(&self, row: u32) -> Option<&[AtomicU64]> {
        if row >= Rows::MAX {
            return None;
        }
        let (chunk, _) = place(row);
        if self.chunks[chunk].get().is_none() {
            let words = ((FIRST as usize) << chunk) * self.stride;
            let _ = self.chunks[chunk].set(zeroed(words)?);
        }
        self.get(row)
    }

    /// A row, if it was ever made.
    #[inline(always)]
    pub fn get(&self, row: u32) -> Option<&[AtomicU64]> {
        let (chunk, offset) = place(row);
        let start = offset * self.stride;
        self.chunks
            .get(chunk)?
            .get()?
            .get(start..start + self.stride)
    }

    /// Bytes taken for the first `count` rows, at most.
    pub fn memory_bytes(&self, count: u32) -> usize {
        size_of::<Self>() + count as usize * self.stride * size_of::<u64>()
    }
}

/// So many words, all zero.
pub(crate) fn zeroed(count: usize) -> Option<Box<[AtomicU64]>> {
    <[AtomicU64]>::new_box_zeroed_with_elems(count).ok()
}

#[inline(always)]
fn place(row: u32) -> (usize, usize) {
    let shifted = u64::from(row) + u64::from(FIRST);
    let chunk = shifted.ilog2() - FIRST.ilog2();
    (
        chunk as usize,
        (shifted - (u64::from(FIRST) << chunk)) as usize,
    )
}

/// Rows of the first chunk: most tables of most switches have a handful of rules.
const FIRST: u32 = 8;
/// 33 million rows: eight times the flows that a table may have.
const CHUNKS: usize = 22;

#[cfg(test)]
mod tests {
    use core::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn rows_are_apart_and_stay() {
        let rows = Rows::new(3);
        assert!(rows.get(0).is_none());
        for row in 0..5000 {
            let words = rows.grow(row).expect("room");
            assert_eq!(words.len(), 3);
            for word in words {
                assert_eq!(word.swap(row.into(), Ordering::Relaxed), 0);
            }
        }
        for row in 0..5000 {
            let words = rows.get(row).expect("made");
            assert!(
                words
                    .iter()
                    .all(|word| word.load(Ordering::Relaxed) == row.into())
            );
        }
        assert!(rows.grow(Rows::MAX).is_none());
        assert!(rows.get(u32::MAX).is_none());
    }
}
