//! Who is let into a flow cache, and what that needs of memory: [`FlowCache`]'s part before an
//! entry is made. Called by those who decide what becomes of packets that were not found.

use core::hash::Hash;

use super::bucket::SLOTS;
use super::keys::INLINE;
use super::span::LEAST_ENTRIES;
use super::{EntryMask, FlowCache, KEYS_MAX, KeyHash};

impl<C: Eq + Hash, A: Eq + Hash> FlowCache<C, A> {
    /// Whether a key may have a slot though nothing is known of it: there is a free one, and so few
    /// entries that the cache uses no more memory for it than ever. Beyond that a flood of flows
    /// with a packet each would have entries made, and spread over all there is.
    #[inline]
    pub fn has_room(&self, hash: KeyHash) -> bool {
        self.len < LEAST_ENTRIES && !self.buckets[self.bucket(hash.0)].is_full()
    }

    /// Says that it will be asked of keys with these hashes whether they come again, and fetches
    /// what that needs. Nothing follows if it is not so.
    #[inline]
    pub fn foresee_visitors(&self, hashes: impl Iterator<Item = KeyHash>) {
        core::hint::black_box(hashes.fold(0, |all, hash| all ^ self.visitors.peek(hash.0)));
    }

    /// Notes that a packet came that was not found; whether that had been noted of its flow before.
    /// If not, the packet is one that is given no slot.
    #[inline]
    pub fn comes_again(&mut self, hash: KeyHash) -> bool {
        let again = self.visitors.come(hash.0);
        self.pressure.refused += u64::from(!again);
        again
    }

    /// Says that keys with these hashes will be inserted, [`KEYS_MAX`] at most: what that needs of
    /// memory is fetched for all of them at a time. Nothing follows if it is not so.
    pub fn foresee(&self, mask: &EntryMask, hashes: impl Iterator<Item = KeyHash>) {
        let mut sum = 0;
        let mut slots = [0; KEYS_MAX];
        let mut count = 0;
        for (slot, hash) in slots.iter_mut().zip(hashes) {
            let bucket = self.bucket(hash.0);
            let place = self.buckets[bucket].victim(self.now_ms, self.batch);
            *slot = bucket * SLOTS + place.unwrap_or_default();
            if mask.pairs() > INLINE && mask.pairs() <= self.keys.room() {
                sum ^= self.keys.first(*slot);
            }
            count += 1;
        }
        // Apart, so that none of these waits for another's.
        for &slot in &slots[..count] {
            let entry = &self.entries[slot];
            let users = self.codes.users(entry.code) ^ self.accounts.users(entry.account);
            sum ^= u64::from(users);
        }
        core::hint::black_box(sum);
    }

    /// The slot of a bucket for a new entry, if it has one to give.
    pub(super) fn make_room(&mut self, bucket: usize) -> Option<usize> {
        let Some(place) = self.buckets[bucket].victim(self.now_ms, self.batch) else {
            self.pressure.refused += 1;
            self.crowded += 1;
            return None;
        };
        let slot = bucket * SLOTS + place;
        self.pressure.evicted += u64::from(!self.entries[slot].is_empty());
        Some(slot)
    }
}
