//! A slot of the flow cache: one cache line with all that a hit reads and writes but the bucket's.

use super::keys::INLINE;
use super::shared::NONE;
use super::{Counts, Pair, Slot};
use std::collections::VecDeque;

#[derive(Clone, Default)]
#[repr(align(64))]
pub(super) struct Entry {
    /// The first key words.
    pub(super) key: [[u64; 2]; INLINE],
    /// Twice the epoch, and one more if the slot is in the queue of those with counts to be told.
    stamp: u64,
    /// Number of the code, [`NONE`] of an empty slot.
    pub(super) code: u32,
    /// Number of the account.
    pub(super) account: u32,
    /// Packets counted since they were last told.
    packets: u32,
    /// When the last of them was counted, in milliseconds modulo 2^32.
    used_ms: u32,
    /// Their bytes.
    bytes: u64,
}

/// What is in a slot besides counts.
pub(super) struct Content {
    key: [[u64; 2]; INLINE],
    epoch: u64,
    code: u32,
    account: u32,
}

impl Entry {
    #[inline(always)]
    pub(super) fn epoch(&self) -> u64 {
        self.stamp >> 1
    }

    #[inline(always)]
    pub(super) fn set_epoch(&mut self, epoch: u64) {
        self.stamp = epoch << 1 | self.stamp & QUEUED;
    }

    /// Whether it is of an epoch and its slot in the queue, as of nearly all that are found.
    #[inline(always)]
    pub(super) fn is_steady(&self, epoch: u64) -> bool {
        self.stamp == epoch << 1 | QUEUED
    }

    /// Whether the first words of its key are these.
    #[inline(always)]
    pub(super) fn begins_with(&self, key: &[[u64; 2]]) -> bool {
        let mut difference = 0;
        for (held, pair) in self.key.iter().zip(key) {
            difference |= (held[0] ^ pair[0]) | (held[1] ^ pair[1]);
        }
        difference == 0
    }

    /// Whether it is made of a pair for an epoch.
    pub(super) fn is_of(&self, pair: Pair, epoch: u64) -> bool {
        (self.code, self.account, self.epoch()) == (pair.code, pair.account, epoch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.code == NONE
    }

    /// Counts packets, unless there would be more than fit: then `false`.
    #[inline(always)]
    pub(super) fn count(&mut self, packets: u32, bytes: u64, now_ms: u64) -> bool {
        let Some(sum) = self.packets.checked_add(packets) else {
            return false;
        };
        self.packets = sum;
        self.bytes += bytes;
        self.used_ms = now_ms as u32;
        true
    }

    /// Counts a packet less, which was counted since the counts were last told.
    pub(super) fn take_back(&mut self, bytes: u64) {
        self.packets = self.packets.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Empties the slot; what was in it but counts.
    pub(super) fn take(&mut self) -> Content {
        let content = Content {
            key: self.key,
            epoch: self.epoch(),
            code: self.code,
            account: self.account,
        };
        (self.code, self.account) = (NONE, NONE);
        content
    }

    /// Fills an empty slot with what was in another.
    pub(super) fn put(&mut self, content: Content) {
        self.key = content.key;
        self.set_epoch(content.epoch);
        (self.code, self.account) = (content.code, content.account);
    }

    /// Puts the slot into the queue if it is not there.
    #[inline(always)]
    pub(super) fn enqueue(&mut self, slot: Slot, queue: &mut VecDeque<u32>) {
        if self.stamp & QUEUED == 0 {
            self.enqueue_first(slot, queue);
        }
    }

    #[cold]
    fn enqueue_first(&mut self, slot: Slot, queue: &mut VecDeque<u32>) {
        self.stamp |= QUEUED;
        queue.push_back(slot.0);
    }

    /// Notes that the slot was taken from the queue.
    pub(super) fn dequeued(&mut self) {
        self.stamp &= !QUEUED;
    }

    /// What was counted, which counts no more.
    pub(super) fn take_counts(&mut self, now_ms: u64) -> Counts {
        let age_ms = (now_ms as u32).wrapping_sub(self.used_ms);
        let packets = core::mem::take(&mut self.packets).into();
        Counts {
            packets,
            bytes: core::mem::take(&mut self.bytes),
            used_ms: match packets {
                0 => 0,
                _ => now_ms.saturating_sub(age_ms.into()),
            },
        }
    }
}

const QUEUED: u64 = 1;

const _: () = assert!(size_of::<Entry>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_counted_until_no_more_fit() {
        let mut entry = Entry::default();
        assert!(entry.count(u32::MAX, 1 << 40, 7));
        assert!(!entry.count(1, 60, 8));
        let counts = Counts {
            packets: u32::MAX.into(),
            bytes: 1 << 40,
            used_ms: 7,
        };
        assert_eq!(entry.take_counts(9), counts);
        assert_eq!(entry.take_counts(9), Counts::default());
    }

    #[test]
    fn what_is_taken_back_is_not_told() {
        let mut entry = Entry::default();
        assert!(entry.count(2, 120, 7));
        entry.take_back(60);
        let counts = entry.take_counts(9);
        assert_eq!((counts.packets, counts.bytes), (1, 60));
        assert!(entry.count(1, 60, 9));
        entry.take_back(60);
        assert_eq!(entry.take_counts(9), Counts::default());
    }

    #[test]
    fn time_wraps() {
        let mut entry = Entry::default();
        let used_ms = u64::from(u32::MAX) * 5 + 3;
        assert!(entry.count(1, 60, used_ms));
        let now_ms = used_ms + 1_000_000;
        assert_eq!(entry.take_counts(now_ms).used_ms, used_ms);
    }

    #[test]
    fn epoch_and_place_in_the_queue_are_apart() {
        let (mut entry, mut queue) = (Entry::default(), VecDeque::new());
        entry.set_epoch(7);
        entry.enqueue(Slot(3), &mut queue);
        entry.enqueue(Slot(3), &mut queue);
        assert_eq!((entry.epoch(), queue.len()), (7, 1));
        entry.set_epoch(9);
        entry.enqueue(Slot(3), &mut queue);
        assert_eq!((entry.epoch(), queue.len()), (9, 1));
        entry.dequeued();
        entry.enqueue(Slot(3), &mut queue);
        assert_eq!((entry.epoch(), queue.len()), (9, 2));
    }
}
