//! Fragments of IPv4 and IPv6 datagrams, held until all are there, so that they can be tracked as
//! one packet and go on as they came.
//!
//! What. Connection tracking needs the transport header and the length of the whole datagram; only
//! the first fragment has the one, and only all together tell the other. The datapath hands over
//! fragments that an action tracks, and gets all of a datagram back with the last of them. Read RFC
//! 791 §3.2 and RFC 8200 §4.5, and RFC 5722, RFC 6946, RFC 7112 and RFC 1858 for what is hostile.
//!
//! How. A datagram is a list of fragments by offset that never overlap. It is complete when their
//! lengths add up to the end that the last one told. A fragment that overlaps another, or says
//! something else of the end, spoils its datagram: all of it is dropped, and what comes of it later
//! too, until its time is over. A repeated fragment is dropped alone.
//!
//! Memory is bounded by a count of fragments and datagrams, in which a fragment that takes a large
//! buffer counts for many. An owner is whoever shares are fair between: an ingress port in a zone.
//! Who has more than his part loses his oldest datagram; if nothing is left, the owner that has
//! most does: so who sends first fragments alone starves himself.
//!
//! Threads. All workers share one table, under a lock: some NICs hash the ports of a first fragment
//! but not of later ones, so fragments of a datagram come by different queues. Whoever brings the
//! last gets them all. The lock is held for about a microsecond and tried for a while only: if its
//! holder was stopped, the fragment is dropped. Packets that are no fragments never come here.
//!
//! Why not simpler. A table for each worker never completes such datagrams. To hand fragments from
//! worker to worker needs a queue for each pair of them. Packets are opaque: `P` is whatever the
//! datapath needs to go on.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, TryLockError};

mod limits;
mod pending;
mod read;

pub use limits::{FRAGMENT_TIMEOUT_MS, FRAGMENTS_MAX, HELD_MAX, HELD_OF_ONE_MAX};
use pending::{Added, Pending};
pub use read::{Datagram, Fragment};

/// Fragments that wait for others.
#[derive(Debug)]
pub struct Fragments<P> {
    pool: Mutex<Pool<P>>,
    held: AtomicUsize,
    /// When the oldest datagram's time is over.
    due_ms: AtomicU64,
}

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits.
    Held,
    /// It was the last that was missing.
    Whole(Rest),
    /// It is dropped, and all that went with it.
    Refused(Flaw),
}

/// What is in the fragments of a datagram but the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// How many bytes.
    pub len: u32,
    /// Their sum as checksums have it, in the machine's byte order.
    pub sum: u16,
}

/// Why fragments are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It has no bytes, or a number of them that only the last may have, or ends where no datagram
    /// can.
    Malformed,
    /// The first one has not all headers.
    Tiny,
    /// It is there already.
    Duplicate,
    /// It says something else of the same bytes, or of the end, than others of its datagram, now
    /// or before.
    Overlap,
    /// The datagram has too many.
    TooMany,
    /// Another worker was stopped while it had the lock.
    Busy,
}

/// How many datagrams and fragments fared how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentTally {
    /// Datagrams that were completed.
    pub completed: u64,
    /// Datagrams whose time was over.
    pub expired: u64,
    /// Datagrams that had to go for others.
    pub evicted: u64,
    /// Fragments that were refused, for any flaw but [`Flaw::Busy`].
    pub refused: u64,
}

#[derive(Debug)]
struct Pool<P> {
    datagrams: HashMap<Datagram, Pending<P>>,
    /// By age: numbers are given in order.
    ages: BTreeMap<u64, Datagram>,
    owners: HashMap<u32, Owner>,
    next: u64,
    held: usize,
    tally: FragmentTally,
}

/// What one owner has: fragments by weight and datagrams, counted together.
#[derive(Debug, Default)]
struct Owner {
    held: usize,
    numbers: BTreeSet<u64>,
}

impl<P> Default for Fragments<P> {
    fn default() -> Fragments<P> {
        let pool = Pool {
            datagrams: HashMap::new(),
            ages: BTreeMap::new(),
            owners: HashMap::new(),
            next: 0,
            held: 0,
            tally: FragmentTally::default(),
        };
        Fragments {
            pool: Mutex::new(pool),
            held: AtomicUsize::new(0),
            due_ms: AtomicU64::new(u64::MAX),
        }
    }
}

impl<P> Fragments<P> {
    /// Takes a fragment of a packet that is `owner`'s. If it makes its datagram whole, `out`
    /// gets all of that in the order of its bytes; else what has to be dropped, which may be of
    /// other datagrams.
    pub fn take(
        &self,
        fragment: &Fragment,
        owner: u32,
        packet: P,
        now_ms: u64,
        out: &mut Vec<P>,
    ) -> Fate {
        let Some(mut pool) = self.lock() else {
            out.push(packet);
            return Fate::Refused(Flaw::Busy);
        };
        let fate = pool.take(fragment, owner, packet, now_ms, out);
        pool.make_room(owner, out);
        self.publish(&pool);
        fate
    }

    /// Gives up datagrams whose time is over: `out` gets what is to be dropped. Costs a load where
    /// there are none.
    pub fn expire(&self, now_ms: u64, out: &mut Vec<P>) {
        if now_ms < self.due_ms.load(Relaxed) {
            return;
        }
        let Some(mut pool) = self.lock() else {
            return;
        };
        while let Some((&number, datagram)) = pool.ages.first_key_value()
            && pool.is_due(datagram, now_ms)
        {
            pool.forget(number, out);
            pool.tally.expired += 1;
        }
        self.publish(&pool);
    }

    /// How many fragments and datagrams are held.
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// What happened so far; nothing if another thread was stopped while it had the lock.
    pub fn tally(&self) -> Option<FragmentTally> {
        self.lock().map(|pool| pool.tally)
    }

    fn lock(&self) -> Option<MutexGuard<'_, Pool<P>>> {
        for _ in 0..limits::SPINS_MAX {
            match self.pool.try_lock() {
                Ok(pool) => return Some(pool),
                // Nothing between two changes of it can panic.
                Err(TryLockError::Poisoned(pool)) => return Some(pool.into_inner()),
                Err(TryLockError::WouldBlock) => core::hint::spin_loop(),
            }
        }
        None
    }

    fn publish(&self, pool: &Pool<P>) {
        self.held.store(pool.held, Relaxed);
        let oldest = pool.ages.first_key_value();
        let pending = oldest.and_then(|(_, datagram)| pool.datagrams.get(datagram));
        let due_ms = pending.map_or(u64::MAX, |pending| pending.due_ms);
        self.due_ms.store(due_ms, Relaxed);
    }
}

impl<P> Pool<P> {
    fn take(
        &mut self,
        fragment: &Fragment,
        owner: u32,
        packet: P,
        now_ms: u64,
        out: &mut Vec<P>,
    ) -> Fate {
        if self.is_due(&fragment.datagram, now_ms)
            && let Some(pending) = self.datagrams.get(&fragment.datagram)
        {
            self.forget(pending.number, out);
            self.tally.expired += 1;
        }
        if let Some(flaw) = flaw(fragment) {
            out.push(packet);
            self.tally.refused += 1;
            return Fate::Refused(flaw);
        }
        let (number, added) = {
            let pending = self.pending(fragment.datagram, owner, now_ms);
            (pending.number, pending.add(fragment, packet, out))
        };
        match added {
            Added::Held => {
                self.charge(number, pending::weight(fragment.len));
                Fate::Held
            }
            Added::Whole(rest) => {
                self.charge(number, pending::weight(fragment.len));
                self.forget(number, out);
                self.tally.completed += 1;
                Fate::Whole(rest)
            }
            Added::Refused { flaw, released } => {
                self.discharge(number, released);
                self.tally.refused += 1;
                Fate::Refused(flaw)
            }
        }
    }

    /// The datagram's list, a new one if there is none.
    fn pending(&mut self, datagram: Datagram, owner: u32, now_ms: u64) -> &mut Pending<P> {
        match self.datagrams.entry(datagram) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let number = self.next;
                self.next += 1;
                self.held += 1;
                self.ages.insert(number, datagram);
                let account = self.owners.entry(owner).or_default();
                account.held += 1;
                account.numbers.insert(number);
                entry.insert(Pending::new(number, owner, now_ms + FRAGMENT_TIMEOUT_MS))
            }
        }
    }

    fn is_due(&self, datagram: &Datagram, now_ms: u64) -> bool {
        let pending = self.datagrams.get(datagram);
        pending.is_some_and(|pending| pending.due_ms <= now_ms)
    }

    /// Lets datagrams go until an owner has no more than his part, and all together no more than
    /// there may be.
    fn make_room(&mut self, owner: u32, out: &mut Vec<P>) {
        let has_too_much = |pool: &Pool<P>| {
            let account = pool.owners.get(&owner);
            account.is_some_and(|account| account.held > HELD_OF_ONE_MAX)
        };
        while has_too_much(self) && self.evict(owner, out) {}
        while self.held > HELD_MAX {
            let greediest = self.owners.iter().max_by_key(|(_, owner)| owner.held);
            let Some(owner) = greediest.map(|(owner, _)| *owner) else {
                return;
            };
            if !self.evict(owner, out) {
                return;
            }
        }
    }

    fn evict(&mut self, owner: u32, out: &mut Vec<P>) -> bool {
        let account = self.owners.get(&owner);
        let oldest = account.and_then(|account| account.numbers.first().copied());
        if let Some(number) = oldest {
            self.forget(number, out);
            self.tally.evicted += 1;
        }
        oldest.is_some()
    }

    /// Takes a datagram out; `out` gets its packets.
    fn forget(&mut self, number: u64, out: &mut Vec<P>) {
        let datagram = self.ages.get(&number).copied();
        let Some(datagram) = datagram else {
            return;
        };
        if let Some(pending) = self.datagrams.get_mut(&datagram) {
            let released = pending.release(out);
            self.discharge(number, released + 1);
        }
        self.ages.remove(&number);
        if let Some(pending) = self.datagrams.remove(&datagram)
            && let Entry::Occupied(mut account) = self.owners.entry(pending.owner)
        {
            account.get_mut().numbers.remove(&number);
            if account.get().numbers.is_empty() {
                account.remove();
            }
        }
    }

    fn charge(&mut self, number: u64, count: usize) {
        self.held += count;
        if let Some(account) = self.account(number) {
            account.held += count;
        }
    }

    fn discharge(&mut self, number: u64, count: usize) {
        self.held -= count;
        if let Some(account) = self.account(number) {
            account.held -= count;
        }
    }

    fn account(&mut self, number: u64) -> Option<&mut Owner> {
        let datagram = self.ages.get(&number)?;
        let owner = self.datagrams.get(datagram)?.owner;
        self.owners.get_mut(&owner)
    }
}

/// What is wrong with a fragment by itself.
fn flaw(fragment: &Fragment) -> Option<Flaw> {
    let is_odd = fragment.has_more && !fragment.len.is_multiple_of(8);
    if fragment.len == 0 || is_odd || fragment.end() > limits::DATAGRAM_LEN_MAX {
        return Some(Flaw::Malformed);
    }
    (!fragment.is_telling).then_some(Flaw::Tiny)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Stream;

    fn fragment(id: u32, offset: u32, len: u32, has_more: bool) -> Fragment {
        Fragment {
            datagram: Datagram::of_id(id),
            offset,
            len,
            has_more,
            is_telling: true,
            sum: 0,
        }
    }

    fn whole(len: u32) -> Fate {
        Fate::Whole(Rest { len, sum: 0 })
    }

    /// A table, and what came out of it.
    struct Bench {
        fragments: Fragments<u32>,
        out: Vec<u32>,
    }

    impl Bench {
        fn new() -> Bench {
            let fragments = Fragments::default();
            let out = Vec::new();
            Bench { fragments, out }
        }

        fn take(&mut self, fragment: Fragment, packet: u32) -> Fate {
            self.take_of(0, fragment, packet, 0)
        }

        fn take_of(&mut self, owner: u32, fragment: Fragment, packet: u32, now_ms: u64) -> Fate {
            self.out.clear();
            let out = &mut self.out;
            self.fragments.take(&fragment, owner, packet, now_ms, out)
        }
    }

    #[test]
    fn any_order_makes_a_datagram_whole() {
        let pieces = [(0, 1480, true), (1480, 1480, true), (2960, 40, false)];
        let orders = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        for order in orders {
            let mut bench = Bench::new();
            for (count, at) in order.into_iter().enumerate() {
                let (offset, len, has_more) = pieces[at];
                let fate = bench.take(fragment(1, offset, len, has_more), at as u32);
                let expected = match count {
                    2 => whole(1520),
                    _ => Fate::Held,
                };
                assert_eq!(fate, expected, "{order:?}");
            }
            assert_eq!(bench.out, [0, 1, 2]);
            assert_eq!(bench.fragments.held(), 0);
            let tally = bench.fragments.tally().unwrap();
            assert_eq!((tally.completed, tally.refused), (1, 0));
        }
    }

    #[test]
    fn datagrams_are_told_apart() {
        let mut bench = Bench::new();
        bench.take(fragment(1, 0, 8, true), 10);
        bench.take(fragment(2, 0, 8, true), 20);
        let whole = whole(5);
        assert_eq!(bench.take(fragment(2, 8, 5, false), 21), whole);
        assert_eq!(bench.out, [20, 21]);
        assert_eq!(bench.take(fragment(1, 8, 5, false), 11), whole);
        assert_eq!(bench.out, [10, 11]);
    }

    #[test]
    fn what_overlaps_spoils_its_datagram() {
        let cases = [
            // Over the end of another, over its start, within it, around it.
            (8, 16, true),
            (32, 16, true),
            (24, 8, true),
            (8, 40, true),
            // The same bytes as the last.
            (16, 24, false),
            // An end before what is there.
            (0, 8, false),
        ];
        for (offset, len, has_more) in cases {
            let mut bench = Bench::new();
            assert_eq!(bench.take(fragment(1, 16, 24, true), 1), Fate::Held);
            let fate = bench.take(fragment(1, offset, len, has_more), 2);
            assert_eq!(fate, Fate::Refused(Flaw::Overlap), "{offset} {len}");
            assert_eq!(bench.out, [2, 1]);
            let fate = bench.take(fragment(1, 40, 8, false), 3);
            assert_eq!(fate, Fate::Refused(Flaw::Overlap));
            assert_eq!(bench.out, [3]);
            let later = bench.take_of(0, fragment(1, 0, 8, true), 4, FRAGMENT_TIMEOUT_MS);
            assert_eq!(later, Fate::Held, "another may have its number later");
        }
    }

    #[test]
    fn two_ends_spoil_it_and_nothing_follows_the_last() {
        for (offset, len, has_more) in [(16, 8, false), (16, 8, true), (0, 16, true)] {
            let mut bench = Bench::new();
            assert_eq!(bench.take(fragment(1, 8, 8, false), 1), Fate::Held);
            let fate = bench.take(fragment(1, offset, len, has_more), 2);
            assert_eq!(fate, Fate::Refused(Flaw::Overlap));
        }
    }

    #[test]
    fn a_repeated_fragment_goes_alone() {
        let mut bench = Bench::new();
        bench.take(fragment(1, 0, 8, true), 1);
        let again = bench.take(fragment(1, 0, 8, true), 2);
        assert_eq!(again, Fate::Refused(Flaw::Duplicate));
        assert_eq!(bench.out, [2]);
        let whole = whole(8);
        assert_eq!(bench.take(fragment(1, 8, 8, false), 3), whole);
        assert_eq!(bench.out, [1, 3]);
    }

    #[test]
    fn what_can_be_part_of_nothing_is_refused() {
        let mut bench = Bench::new();
        let malformed = [
            fragment(1, 0, 0, true),
            fragment(1, 0, 12, true),
            fragment(1, 65_528, 8, false),
        ];
        for fragment in malformed {
            let fate = bench.take(fragment, 1);
            assert_eq!(fate, Fate::Refused(Flaw::Malformed));
        }
        let tiny = Fragment {
            is_telling: false,
            ..fragment(1, 0, 8, true)
        };
        assert_eq!(bench.take(tiny, 1), Fate::Refused(Flaw::Tiny));
        assert_eq!(bench.fragments.held(), 0);
    }

    #[test]
    fn a_datagram_has_so_many_fragments_and_so_much_time() {
        let mut bench = Bench::new();
        for at in 0..FRAGMENTS_MAX as u32 {
            assert_eq!(bench.take(fragment(1, at * 8, 8, true), at), Fate::Held);
        }
        let more = bench.take(fragment(1, 8 * FRAGMENTS_MAX as u32, 8, true), 99);
        assert_eq!(more, Fate::Refused(Flaw::TooMany));
        assert_eq!(bench.out.len(), FRAGMENTS_MAX + 1);

        let mut bench = Bench::new();
        bench.take_of(0, fragment(1, 0, 8, true), 1, 100);
        bench.take_of(0, fragment(2, 0, 8, true), 2, 200);
        let mut out = Vec::new();
        bench.fragments.expire(99 + FRAGMENT_TIMEOUT_MS, &mut out);
        assert!(out.is_empty());
        bench.fragments.expire(100 + FRAGMENT_TIMEOUT_MS, &mut out);
        assert_eq!((&out[..], bench.fragments.held()), (&[1][..], 2));
        bench.fragments.expire(200 + FRAGMENT_TIMEOUT_MS, &mut out);
        assert_eq!((&out[..], bench.fragments.held()), (&[1, 2][..], 0));
        assert_eq!(bench.fragments.tally().unwrap().expired, 2);
    }

    #[test]
    fn who_holds_most_loses_his_oldest() {
        let mut bench = Bench::new();
        bench.take_of(7, fragment(0, 0, 8, true), 0, 0);
        for id in 1..=HELD_MAX as u32 {
            bench.take_of(1, fragment(id, 0, 8, true), id, 0);
        }
        assert_eq!(bench.fragments.held(), HELD_OF_ONE_MAX + 2);
        let spared = HELD_MAX - HELD_OF_ONE_MAX / 2;
        let evicted = bench.fragments.tally().unwrap().evicted;
        assert_eq!(evicted as usize, spared);
        let greedy = 10..16;
        for owner in greedy {
            for id in 0..HELD_MAX as u32 / 8 {
                let id = (owner + 1) * 10_000 + id;
                bench.take_of(owner, fragment(id, 0, 8, true), id, 0);
            }
        }
        assert!(bench.fragments.held() <= HELD_MAX);
        let whole = whole(8);
        let last = bench.take_of(7, fragment(0, 8, 8, false), 1, 0);
        assert_eq!(last, whole, "who holds little keeps it");
    }

    #[test]
    fn as_many_packets_come_out_as_go_in() {
        let mut random = Stream(7);
        let mut bench = Bench::new();
        let (mut within, mut came, mut wholes) = (0_i64, 0_usize, 0);
        for packet in 0..50_000 {
            let word = random.next();
            let bits = |at: u32, count: u32| (word >> at) as u32 & ((1 << count) - 1);
            let piece = fragment(bits(0, 6), bits(8, 2) * 8, 8, bits(12, 2) != 0);
            let now_ms = u64::from(packet) * 20;
            let fate = bench.take_of(bits(16, 3), piece, packet, now_ms);
            wholes += usize::from(matches!(fate, Fate::Whole(_)));
            within += 1 - bench.out.len() as i64;
            came += bench.out.len();
            let datagrams = bench.fragments.held() as i64 - within;
            assert!((0..=64).contains(&datagrams), "{datagrams} {fate:?}");
        }
        let mut out = Vec::new();
        bench.fragments.expire(u64::MAX - 1, &mut out);
        assert_eq!((within, bench.fragments.held()), (out.len() as i64, 0));
        assert!(came > 40_000 && wholes > 100, "{came} {wholes}");
    }
}
