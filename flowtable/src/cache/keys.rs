//! The key words of the flow cache's slots, each slot's in cache lines of their own.

use super::entry_mask::EntryMask;
use crate::FlowKey;

pub(super) struct Keys {
    /// Room for whole keys. The memory is zeroed by the kernel as it is touched, and what the
    /// stride does not reach is not touched.
    words: Box<[u64]>,
    /// Where the first cache line begins.
    start: usize,
    /// Words from one slot to the next.
    stride: usize,
}

impl Keys {
    pub(super) fn new(slots: usize) -> Keys {
        let words = vec![0u64; slots * STRIDE_MAX + LINE].into_boxed_slice();
        let misplaced = words.as_ptr() as usize % LINE_BYTES;
        Keys {
            start: (LINE_BYTES - misplaced) % LINE_BYTES / size_of::<u64>(),
            words,
            stride: LINE,
        }
    }

    /// Words of a key for which there is room.
    pub(super) fn words(&self) -> usize {
        self.stride
    }

    /// Makes room for keys of this many words. What was in the slots is lost.
    pub(super) fn widen(&mut self, words: usize) {
        self.stride = words.next_multiple_of(LINE).min(STRIDE_MAX);
    }

    /// Whether the slot has the words of `key` under `mask`, which is not wider than the slot.
    #[inline(always)]
    pub(super) fn equal(&self, slot: usize, mask: &EntryMask, key: &FlowKey) -> bool {
        let at = self.start + slot * self.stride;
        let held = self.words[at..at + self.stride].iter();
        mask.apply(key).zip(held).all(|(word, held)| word == *held)
    }

    /// Puts the words of `key` under `mask` into the slot.
    pub(super) fn write(&mut self, slot: usize, mask: &EntryMask, key: &FlowKey) {
        let at = self.start + slot * self.stride;
        let room = self.words[at..at + self.stride].iter_mut();
        for (word, room) in mask.apply(key).zip(room) {
            *room = word;
        }
    }

    /// Bytes that are in use at this stride.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.words) / STRIDE_MAX * self.stride
    }
}

const LINE_BYTES: usize = 64;
const LINE: usize = LINE_BYTES / size_of::<u64>();
const STRIDE_MAX: usize = FlowKey::WORDS.next_multiple_of(LINE);
