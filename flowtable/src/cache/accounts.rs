//! Accounts, and what was counted in them and is not told yet.
//!
//! What entries counted goes to their account when they are pushed out, and so does what is counted
//! without an entry. It is told once for all of them, when [`super::FlowCache::flush`] comes to it:
//! a flood of flows with a packet each has as many packets to tell as entries, but few accounts.

use core::hash::Hash;
use std::collections::VecDeque;

use super::Counts;
use super::shared::Shared;

pub(super) struct Accounts<A> {
    shared: Shared<A, Untold>,
    /// Those with counts to be told, the oldest first, each once.
    queue: VecDeque<u32>,
}

/// What is kept with the place of an account, also while the place is vacant.
#[derive(Default)]
struct Untold {
    counts: Counts,
    /// The account is in the queue of what is to be told.
    is_queued: bool,
}

impl<A: Eq + Hash> Accounts<A> {
    pub(super) fn new(values_max: usize, secret: u64) -> Accounts<A> {
        Accounts {
            shared: Shared::new(values_max, secret),
            queue: VecDeque::with_capacity(values_max),
        }
    }

    /// The number of an account, which has one user more now.
    pub(super) fn acquire(&mut self, account: A) -> u32 {
        self.shared.acquire(account)
    }

    /// Adds a user to an account.
    pub(super) fn share(&mut self, number: u32) {
        self.shared.share(number);
    }

    /// Takes a user from an account, which tells its counts with its last.
    pub(super) fn release(&mut self, number: u32, mut tell: impl FnMut(&A, Counts)) {
        self.shared.release(number, |account, untold| {
            let counts = core::mem::take(&mut untold.counts);
            if counts.packets > 0 {
                tell(account, counts);
            }
        });
    }

    /// How many accounts there are.
    pub(super) fn len(&self) -> usize {
        self.shared.len()
    }

    /// How many have an account.
    #[inline(always)]
    pub(super) fn users(&self, number: u32) -> u32 {
        self.shared.users(number)
    }

    /// Adds to what is to be told of an account.
    #[inline(always)]
    pub(super) fn add(&mut self, number: u32, counts: Counts) {
        let Some(untold) = self.shared.note_mut(number).filter(|_| counts.packets > 0) else {
            return;
        };
        untold.counts.packets += counts.packets;
        untold.counts.bytes += counts.bytes;
        untold.counts.used_ms = untold.counts.used_ms.max(counts.used_ms);
        if !core::mem::replace(&mut untold.is_queued, true) {
            self.queue.push_back(number);
        }
    }

    /// Takes back a packet that was added since the counts were last told.
    pub(super) fn take_back(&mut self, number: u32, bytes: u64) {
        if let Some(untold) = self.shared.note_mut(number) {
            untold.counts.packets = untold.counts.packets.saturating_sub(1);
            untold.counts.bytes = untold.counts.bytes.saturating_sub(bytes);
        }
    }

    /// How many have counts to be told.
    pub(super) fn untold(&self) -> usize {
        self.queue.len()
    }

    /// Tells the counts of the next account that has some.
    pub(super) fn tell_next(&mut self, mut tell: impl FnMut(&A, Counts)) {
        let Some(number) = self.queue.pop_front() else {
            return;
        };
        let Some(untold) = self.shared.note_mut(number) else {
            return;
        };
        untold.is_queued = false;
        let counts = core::mem::take(&mut untold.counts);
        if let Some(account) = self.shared.value(number).filter(|_| counts.packets > 0) {
            tell(account, counts);
        }
    }

    #[inline(always)]
    pub(super) fn value(&self, number: u32) -> Option<&A> {
        self.shared.value(number)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.shared.memory_bytes() + self.queue.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(packets: u64, used_ms: u64) -> Counts {
        Counts {
            packets,
            bytes: packets * 60,
            used_ms,
        }
    }

    #[test]
    fn counts_are_told_once_for_all_users() {
        let mut accounts = Accounts::new(4, 3);
        let number = accounts.acquire('a');
        accounts.share(number);
        accounts.add(number, counts(2, 9));
        accounts.add(number, counts(3, 7));
        accounts.add(number, counts(0, 0));
        accounts.release(number, |_, _| panic!("it has a user"));
        assert_eq!(accounts.untold(), 1);
        let mut told = Vec::new();
        accounts.tell_next(|account, counts| told.push((*account, counts)));
        accounts.tell_next(|account, counts| told.push((*account, counts)));
        assert_eq!(told, [('a', counts(5, 9))]);
        accounts.add(number, counts(1, 9));
        accounts.take_back(number, 60);
        accounts.tell_next(|account, counts| panic!("{account}: {counts:?}"));
    }

    #[test]
    fn an_account_that_goes_tells_what_it_has_and_leaves_its_place_in_the_queue() {
        let mut accounts = Accounts::new(4, 3);
        let number = accounts.acquire('a');
        accounts.add(number, counts(2, 9));
        let mut told = Vec::new();
        accounts.release(number, |account, counts| told.push((*account, counts)));
        assert_eq!(told, [('a', counts(2, 9))]);
        assert_eq!(accounts.acquire('b'), number, "a place is used again");
        accounts.add(number, counts(1, 10));
        assert_eq!(
            accounts.untold(),
            1,
            "the queue does not grow with what comes and goes"
        );
        accounts.tell_next(|account, counts| told.push((*account, counts)));
        assert_eq!(told[1..], [('b', counts(1, 10))]);
    }
}
