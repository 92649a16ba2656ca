//! The records of one shard: which are free, which rest, when each has to be looked at again, and
//! which are half-open.
//!
//! What. A table has several shards, each with records of its own, so that workers that make
//! connections seldom meet at one lock: each worker has one that it prefers, and the shard's lock
//! is only ever tried. Packets of connections that are there need none.
//!
//! How. A record is free, or in a slot of the wheel, or it rests ([`super::epoch`]). The wheel has
//! a slot for each second; a connection is in that of its deadline when it was put there, or the
//! farthest. Packets move the deadline without touching the wheel; when the wheel comes to the
//! slot, the connection is over or put where its deadline is now. Half-open connections are also in
//! a queue by age. They leave it only when somebody looks for a victim at its end. It is taken from
//! the zone that has most connections in queues, of some that are looked at; what is passed over
//! goes to the other end. So whoever floods a zone makes that zone's own connections go, however
//! slowly another zone's are answered.
//!
//! Who finds that a connection is over takes it out of the index and leaves it with the orphans of
//! its shard, a stack without a lock. Who has the lock next takes it out of wheel and queue.
//!
//! Why not simpler. A wheel that packets touched would need its lock for each of them. A sweep over
//! all records costs more the fewer connections there are.

use core::ops::Range;
use core::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use std::hint::black_box;
use std::sync::{Mutex, MutexGuard};

use arrayvec::ArrayVec;

use super::epoch::Epochs;
use super::limits::{
    EVICTED_MIN, RESERVE_MAX, RESERVE_SHIFT, TOGETHER, VICTIMS_MAX, VICTIMS_SHARE, WARM_AHEAD,
    WHEEL_SLOTS,
};
use super::record::{ASSURED, DYING, REPLIED, Record, SPARED};
use super::zone::Zones;

/// Records `first` to `first + len - 1` of a table.
#[derive(Debug)]
pub(super) struct Shard {
    first: u32,
    len: u32,
    /// When no more can be taken, half-open connections have to go.
    reserve: u32,
    lists: Mutex<Lists>,
    /// Records that are gone; one more than the number of the newest.
    orphans: AtomicU32,
    /// Records that can be taken; written under the lock.
    vacant: AtomicU32,
    /// Records that were ever taken; written under the lock.
    used: AtomicU32,
    /// Records that have memory, at least; written by who warms it.
    warm: AtomicU32,
    /// Records in the queue; written under the lock.
    queued: AtomicU32,
}

/// What the lock of a shard is for.
#[derive(Debug)]
pub(super) struct Lists {
    /// Records from here on were never used.
    fresh: u32,
    free: List,
    /// Gone, in an epoch that is not closed yet.
    gathered: List,
    /// Gone before the epoch `closed` ended.
    resting: List,
    closed: u64,
    wheel: Box<[List]>,
    /// The second up to which the wheel has turned.
    turned_s: u32,
    /// Half-open connections, the oldest first.
    queue: List,
    /// Half-open connections that had to go and whose place no other has taken.
    replaceable: u32,
    /// How many times zones had been flushed when the last sweep began, and how far it is.
    swept: (u64, u32),
}

/// Records in a row; numbers are one more than those of the records, 0 for none.
#[derive(Clone, Copy, Debug, Default)]
struct List {
    first: u32,
    last: u32,
    len: u32,
}

/// Which of a record's links make a list: of free, resting and timed ones, or of half-open ones.
#[derive(Clone, Copy)]
enum Chain {
    Main,
    Queue,
}

/// Records whose memory is fetched together.
pub(super) type Few = ArrayVec<u32, TOGETHER>;

/// The lock of a shard together with what it guards.
pub(super) struct Held<'a> {
    shard: &'a Shard,
    records: &'a [Record],
    zones: &'a Zones,
    lists: MutexGuard<'a, Lists>,
}

impl Shard {
    /// How many records it takes for so many connections: a record is free again only when all
    /// workers have begun another batch.
    pub fn len_for(connections: usize) -> usize {
        connections + reserve(connections)
    }

    /// One for so many connections.
    pub fn new(first: u32, connections: u32) -> Shard {
        let len = Shard::len_for(connections as usize) as u32;
        let lists = Lists {
            fresh: 0,
            free: List::default(),
            gathered: List::default(),
            resting: List::default(),
            closed: 0,
            wheel: vec![List::default(); WHEEL_SLOTS].into(),
            turned_s: 0,
            queue: List::default(),
            replaceable: 0,
            swept: (0, 0),
        };
        Shard {
            first,
            len,
            reserve: len - connections,
            lists: Mutex::new(lists),
            orphans: AtomicU32::new(0),
            vacant: AtomicU32::new(len),
            used: AtomicU32::new(0),
            warm: AtomicU32::new(0),
            queued: AtomicU32::new(0),
        }
    }

    /// Bytes of memory beside the shard itself.
    pub fn bytes(&self) -> usize {
        WHEEL_SLOTS * size_of::<List>()
    }

    /// Leaves a record that is not in the index any more to who has the lock next.
    pub fn abandon(&self, records: &[Record], number: u32) {
        let orphan = &records[number as usize].orphan;
        let mut newest = self.orphans.load(Relaxed);
        loop {
            orphan.store(newest, Relaxed);
            let swap = self
                .orphans
                .compare_exchange_weak(newest, number + 1, Release, Relaxed);
            match swap {
                Ok(_) => return,
                Err(other) => newest = other,
            }
        }
    }

    /// Whether there are so few records that half-open connections have to go.
    pub fn is_short(&self) -> bool {
        self.vacant.load(Relaxed) <= self.reserve
    }

    /// How many of its records, from the first on, were ever taken.
    pub fn used(&self) -> u32 {
        self.used.load(Relaxed)
    }

    /// How many of its records are taken: of connections, or of some that are over and rest.
    pub fn taken(&self) -> u32 {
        self.len - self.vacant.load(Relaxed)
    }

    /// Lets the kernel give memory to the next records that have none, of at most so many; returns
    /// of how many.
    pub fn warm(&self, records: &[Record], budget: u32) -> u32 {
        let places = self.next_to_warm(budget);
        for place in places.clone().step_by(RECORDS_A_PAGE) {
            // It must be a write, and one that whoever takes the record now does not notice.
            let word = &records[(self.first + place) as usize].generation;
            word.fetch_or(black_box(0), Relaxed);
        }
        self.warm.store(places.end, Relaxed);
        places.end - places.start
    }

    /// Places of records to have memory next: of so many at most, none farther than [`WARM_AHEAD`]
    /// behind those that were ever taken, and none of a shard that nobody takes any of.
    fn next_to_warm(&self, budget: u32) -> Range<u32> {
        let used = self.used();
        let start = self.warm.load(Relaxed).max(used);
        let goal = match used {
            0 => 0,
            _ => (used + WARM_AHEAD).min(self.len),
        };
        start..goal.clamp(start, start.saturating_add(budget))
    }

    /// How many connections there are that may be half-open.
    pub fn queued(&self) -> u32 {
        self.queued.load(Relaxed)
    }

    /// The lock, if nobody has it.
    pub fn hold<'a>(&'a self, records: &'a [Record], zones: &'a Zones) -> Option<Held<'a>> {
        // A thread that panicked elsewhere left the lists whole: nothing between two changes of
        // them can panic.
        let lists = match self.lists.try_lock() {
            Ok(lists) => lists,
            Err(std::sync::TryLockError::Poisoned(lists)) => lists.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return None,
        };
        Some(Held {
            shard: self,
            records,
            zones,
            lists,
        })
    }
}

impl Held<'_> {
    /// Takes a record that nobody knows.
    pub fn take(&mut self) -> Option<u32> {
        let mut free = self.lists.free;
        let number = self.pop(&mut free, Chain::Main);
        self.lists.free = free;
        let number = match number {
            Some(number) => number,
            None if self.lists.fresh < self.shard.len => {
                self.lists.fresh += 1;
                note(&self.shard.used, 1);
                self.shard.first + self.lists.fresh - 1
            }
            None => return None,
        };
        note(&self.shard.vacant, -1);
        Some(number)
    }

    /// The record that is taken next, if there is one.
    pub fn next(&self) -> Option<u32> {
        let fresh = self.lists.fresh;
        let unused = (fresh < self.shard.len).then_some(self.shard.first + fresh);
        self.lists.free.first.checked_sub(1).or(unused)
    }

    /// Puts a connection where its deadline is, and with the half-open ones if it is one.
    pub fn link(&mut self, number: u32, is_half_open: bool) {
        self.put_on_wheel(number);
        if is_half_open {
            self.enqueue(number);
        }
    }

    /// Takes gone records out of the lists; those that rested long enough are free.
    pub fn collect(&mut self, epochs: &Epochs) {
        let mut orphan = self.shard.orphans.swap(0, Acquire);
        let mut gathered = self.lists.gathered;
        while let Some(number) = orphan.checked_sub(1) {
            orphan = self.record(number).orphan.load(Relaxed);
            self.unlink(number);
            self.push(&mut gathered, Chain::Main, number);
        }
        self.lists.gathered = gathered;
        for _ in 0..2 {
            self.settle(epochs);
        }
    }

    /// Frees what rested, then lets what was gathered rest.
    fn settle(&mut self, epochs: &Epochs) {
        if self.lists.resting.first != 0 && epochs.oldest() > self.lists.closed {
            let resting = core::mem::take(&mut self.lists.resting);
            let mut free = self.lists.free;
            self.append(&mut free, Chain::Main, resting);
            self.lists.free = free;
            note(&self.shard.vacant, resting.len as i32);
        }
        if self.lists.resting.first == 0 && self.lists.gathered.first != 0 {
            self.lists.resting = core::mem::take(&mut self.lists.gathered);
            self.lists.closed = epochs.close();
        }
    }

    /// Half-open connections that have to go: a part of those that were kept free, so that it is
    /// long until others have to, and they cost less together.
    pub fn victims(&mut self) -> Few {
        let count = self.shard.reserve as usize / VICTIMS_SHARE;
        let count = count.clamp(EVICTED_MIN, TOGETHER);
        let victims: Few = (0..count).map_while(|_| self.victim()).collect();
        self.lists.replaceable += victims.len() as u32;
        victims
    }

    /// Whether a new connection can take the place of one that had to go.
    pub fn replace(&mut self) -> bool {
        let left = self.lists.replaceable.checked_sub(1);
        self.lists.replaceable = left.unwrap_or(0);
        left.is_some()
    }

    /// The half-open connection that has to go: an old one of the zone that has most of those
    /// looked at, so that a zone that is flooded loses its own. One that was answered is passed
    /// over once.
    fn victim(&mut self) -> Option<u32> {
        let mut victim: Option<(u32, u32)> = None;
        for _ in 0..VICTIMS_MAX.min(self.shard.queued() as usize) {
            let number = self.lists.queue.first.checked_sub(1)?;
            let state = self.record(number).state();
            self.dequeue(number);
            if state.has(ASSURED | DYING) {
                continue;
            }
            if state.has(REPLIED) && !state.has(SPARED) {
                self.record(number).change(SPARED, 0);
                self.enqueue(number);
                continue;
            }
            let of_zone = self.zones.queued(self.record(number).original().zone) + 1;
            let passed = match victim {
                Some((_, most)) if most >= of_zone => Some(number),
                _ => victim.replace((number, of_zone)).map(|(other, _)| other),
            };
            if let Some(passed) = passed {
                self.enqueue(passed);
            }
            if of_zone > self.shard.queued() / 2 {
                break;
            }
        }
        victim.map(|(number, _)| number)
    }

    /// Turns the wheel up to a second, over at most so many records. `end` is given those that are
    /// due, a few at a time, ends those that are over, and says which are gone: bit n for the nth.
    /// Returns whether there may be more to do.
    pub fn turn(&mut self, now_s: u32, budget: usize, mut end: impl FnMut(&[u32]) -> u32) -> bool {
        let mut left = budget;
        while left > 0 {
            let due = self.take_due(now_s, left);
            if due.is_empty() {
                return false;
            }
            left -= due.len();
            let gone = end(&due);
            let stay = due.iter().enumerate();
            for (_, number) in stay.filter(|(place, _)| gone >> place & 1 == 0) {
                self.put_on_wheel(*number);
            }
        }
        true
    }

    /// Takes records off the wheel whose second has come, at most so many.
    fn take_due(&mut self, now_s: u32, count: usize) -> Few {
        let mut due = Few::new();
        while due.len() < count.min(TOGETHER) && self.lists.turned_s <= now_s {
            let slot = self.lists.turned_s as usize % WHEEL_SLOTS;
            match self.lists.wheel[slot].first.checked_sub(1) {
                Some(number) => {
                    self.take_off_wheel(number);
                    due.push(number);
                }
                None if self.lists.turned_s == now_s => break,
                None => {
                    // Nobody can wait for a second that is more than once around the wheel away.
                    let behind = now_s.saturating_sub(WHEEL_SLOTS as u32);
                    self.lists.turned_s = (self.lists.turned_s + 1).max(behind);
                }
            }
        }
        due
    }

    /// Shows records that were used once, a few at a time and at most so many, if zones have been
    /// flushed `flushes` times and all were not shown since. Returns whether there are more.
    pub fn sweep(&mut self, flushes: u64, budget: usize, mut show: impl FnMut(&[u32])) -> bool {
        let (done, mut at) = self.lists.swept;
        if done == flushes {
            return false;
        }
        let end = self.lists.fresh.min(at.saturating_add(budget as u32));
        while at < end {
            let next = end.min(at + TOGETHER as u32);
            let few: Few = (at..next).map(|place| self.shard.first + place).collect();
            show(&few);
            at = next;
        }
        let is_done = at >= self.lists.fresh;
        self.lists.swept = if is_done { (flushes, 0) } else { (done, at) };
        !is_done
    }

    fn put_on_wheel(&mut self, number: u32) {
        let deadline_s = self.record(number).deadline_s.load(Relaxed);
        let ahead = deadline_s.saturating_sub(self.lists.turned_s);
        let ahead = ahead.clamp(1, WHEEL_SLOTS as u32 - 1);
        let slot = (self.lists.turned_s + ahead) as usize % WHEEL_SLOTS;
        let mut wheel = self.lists.wheel[slot];
        self.push(&mut wheel, Chain::Main, number);
        self.lists.wheel[slot] = wheel;
        self.set_place(number, |place| place & QUEUED | TIMED | slot as u32);
    }

    fn take_off_wheel(&mut self, number: u32) {
        let place = self.record(number).place.load(Relaxed);
        if place & TIMED == 0 {
            return;
        }
        let slot = (place & SLOT) as usize % WHEEL_SLOTS;
        let mut wheel = self.lists.wheel[slot];
        self.drop_from(&mut wheel, Chain::Main, number);
        self.lists.wheel[slot] = wheel;
        self.set_place(number, |place| place & QUEUED);
    }

    fn enqueue(&mut self, number: u32) {
        let mut queue = self.lists.queue;
        self.push(&mut queue, Chain::Queue, number);
        self.lists.queue = queue;
        self.set_place(number, |place| place | QUEUED);
        note(&self.shard.queued, 1);
        self.zones.enqueue(self.record(number).original().zone);
    }

    fn dequeue(&mut self, number: u32) {
        let mut queue = self.lists.queue;
        self.drop_from(&mut queue, Chain::Queue, number);
        self.lists.queue = queue;
        self.set_place(number, |place| place & !QUEUED);
        note(&self.shard.queued, -1);
        self.zones.dequeue(self.record(number).original().zone);
    }

    fn unlink(&mut self, number: u32) {
        self.take_off_wheel(number);
        if self.record(number).place.load(Relaxed) & QUEUED != 0 {
            self.dequeue(number);
        }
    }

    fn record(&self, number: u32) -> &Record {
        &self.records[number as usize]
    }

    fn set_place(&self, number: u32, change: impl Fn(u32) -> u32) {
        let place = &self.record(number).place;
        place.store(change(place.load(Relaxed)), Relaxed);
    }

    /// Adds a record behind all others.
    fn push(&self, list: &mut List, chain: Chain, number: u32) {
        let links = &self.record(number).links[chain as usize];
        links.next.store(0, Relaxed);
        links.before.store(list.last, Relaxed);
        match list.last.checked_sub(1) {
            None => list.first = number + 1,
            Some(last) => {
                let last = &self.record(last).links[chain as usize];
                last.next.store(number + 1, Relaxed);
            }
        }
        list.last = number + 1;
        list.len += 1;
    }

    /// Adds all records of another list behind those of one.
    fn append(&self, list: &mut List, chain: Chain, other: List) {
        let (Some(last), Some(first)) = (list.last.checked_sub(1), other.first.checked_sub(1))
        else {
            if list.len == 0 {
                *list = other;
            }
            return;
        };
        let links = [last, first].map(|number| &self.record(number).links[chain as usize]);
        links[0].next.store(other.first, Relaxed);
        links[1].before.store(list.last, Relaxed);
        list.last = other.last;
        list.len += other.len;
    }

    /// Takes the first record off.
    fn pop(&self, list: &mut List, chain: Chain) -> Option<u32> {
        let number = list.first.checked_sub(1)?;
        self.drop_from(list, chain, number);
        Some(number)
    }

    /// Takes a record out of the list in which it is.
    fn drop_from(&self, list: &mut List, chain: Chain, number: u32) {
        list.len -= 1;
        let links = &self.record(number).links[chain as usize];
        let (next, before) = (links.next.load(Relaxed), links.before.load(Relaxed));
        match before.checked_sub(1) {
            None => list.first = next,
            Some(before) => {
                let links = &self.record(before).links[chain as usize];
                links.next.store(next, Relaxed);
            }
        }
        match next.checked_sub(1) {
            None => list.last = before,
            Some(next) => {
                let links = &self.record(next).links[chain as usize];
                links.before.store(before, Relaxed);
            }
        }
    }
}

/// Records that are kept free beyond so many connections.
fn reserve(connections: usize) -> usize {
    (connections >> RESERVE_SHIFT).clamp(1, RESERVE_MAX)
}

/// Changes a count that is written under the lock alone.
fn note(count: &AtomicU32, change: i32) {
    count.store(count.load(Relaxed).wrapping_add_signed(change), Relaxed);
}

/// Records that the smallest page of memory has room for.
const RECORDS_A_PAGE: usize = 4096 / size_of::<Record>();
const _: () = assert!(TOGETHER <= u32::BITS as usize);

/// Bits of a record's place: the slot of the wheel, whether it is in one, and in the queue.
const SLOT: u32 = 0xffff;
const TIMED: u32 = 1 << 30;
const QUEUED: u32 = 1 << 31;
