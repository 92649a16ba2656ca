//! Where the record of a tuple is: buckets of one cache line, shared by all workers.
//!
//! What. A connection is here twice, under the tuple of each direction, so that packets of both
//! find it wherever they come from. A tuple is here at most once, which is also what keeps two
//! translated connections from having the same replies.
//!
//! How. A keyed hash gives the home bucket and 31 bits of signature. A bucket has seven slots,
//! each a word: signature and number of the record with the direction, 0 if empty. What finds no
//! room in its home goes to one of the next buckets, and the eighth word of the home ([`Home`])
//! tells how many did and how far: only then must who looks look farther, and no farther. So a
//! lookup is one line, and another in one case of twenty in a full table; nothing is ever moved.
//!
//! Threads. Lookups read plain words. An entry is written by a compare-and-swap after its record
//! was, and taken out by another. Two that insert the same tuple at once both come to its home
//! bucket and take the lock in its eighth word before they look whether it is there; the other
//! waits for the few hundred cycles that this takes, and gives up after [`SPINS_MAX`] tries rather
//! than wait for a thread that was stopped. That is the only place where a worker can wait for
//! another, and only for one that makes a connection in the same of a million buckets. Taking out
//! needs no lock: an entry that is there no more is no worse than one found too early.
//!
//! Why not simpler. Sharding by a hash that is equal for both directions and giving each shard to
//! a worker needs packets to change workers, or the network card to know our hash; and the replies
//! of a translated connection would meet another shard. A lock for a part of the table would be
//! taken by each packet.

use core::hint::spin_loop;
use core::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use zerocopy::FromZeros;

use super::block;
use super::limits::{LOAD_TENTHS, REACH, SPINS_MAX};
use super::record::Direction;
use crate::Prepare;

/// Records by the hash of their tuples.
#[derive(Debug)]
pub(super) struct Index {
    /// Homes, and [`REACH`] more for what the last of them have no room for.
    buckets: Box<[Bucket]>,
    homes: u64,
}

#[derive(Debug, FromZeros)]
#[repr(C, align(64))]
struct Bucket {
    slots: [AtomicU64; SLOTS],
    home: Home,
}

/// What a bucket knows of entries whose home it is.
#[derive(Debug, FromZeros)]
#[repr(C)]
struct Home {
    /// How many are in other buckets.
    others: AtomicU32,
    /// How many buckets away the farthest of them has been; written under the lock.
    farthest: AtomicU8,
    /// Somebody inserts.
    is_locked: AtomicBool,
    spare: [AtomicU8; 2],
}

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub number: u32,
    pub direction: Direction,
}

/// Why a tuple was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// It is there.
    Taken(Found),
    /// No bucket within reach has room.
    Full,
    /// Another thread holds the home bucket for too long.
    Busy,
}

impl Index {
    /// An index for so many connections.
    pub fn new(connections: usize, prepare: Prepare) -> Option<Index> {
        let homes = (connections * 2 * 10).div_ceil(LOAD_TENTHS).max(1);
        Some(Index {
            buckets: block::zeroed(homes + REACH, prepare)?,
            homes: homes as u64,
        })
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// Where the home bucket is.
    #[inline(always)]
    pub fn line(&self, hash: u64) -> *const u8 {
        core::ptr::from_ref(&self.buckets[self.home(hash)]).cast()
    }

    /// The first entry with this hash that `is` says is the one.
    #[inline(always)]
    pub fn find(&self, hash: u64, mut is: impl FnMut(Found) -> bool) -> Option<Found> {
        let home = self.home(hash);
        let bucket = &self.buckets[home];
        let found = bucket.find(signature(hash), &mut is);
        let farthest = bucket.home.farthest();
        if found.is_some() || farthest == 0 {
            return found;
        }
        self.find_farther(home, farthest, hash, is)
    }

    #[inline(never)]
    fn find_farther(
        &self,
        home: usize,
        farthest: usize,
        hash: u64,
        mut is: impl FnMut(Found) -> bool,
    ) -> Option<Found> {
        let others = self.buckets[home + 1..].iter().take(farthest);
        let mut others = others.map(|bucket| bucket.find(signature(hash), &mut is));
        others.find_map(|found| found)
    }

    /// Inserts an entry if there is none with this hash that `is` says is the same.
    pub fn insert(
        &self,
        hash: u64,
        entry: Found,
        is: impl FnMut(Found) -> bool,
    ) -> Result<(), Obstacle> {
        let home = self.home(hash);
        self.buckets[home].home.lock()?;
        let outcome = match self.find(hash, is) {
            Some(found) => Err(Obstacle::Taken(found)),
            None => self.place(home, word(hash, entry)),
        };
        self.buckets[home].home.unlock();
        outcome
    }

    /// Takes an entry out. What [`Index::insert`] put in before, in the single order of all
    /// sequentially consistent operations, is found.
    pub fn remove(&self, hash: u64, entry: Found) {
        let (home, word) = (self.home(hash), word(hash, entry));
        for (step, bucket) in self.buckets[home..home + REACH].iter().enumerate() {
            if !bucket.swap(word, 0) {
                continue;
            }
            if step > 0 {
                self.buckets[home].home.others.fetch_sub(1, Release);
            }
            return;
        }
    }

    /// Puts an entry into a bucket, whose home is locked.
    fn place(&self, home: usize, word: u64) -> Result<(), Obstacle> {
        let mut buckets = self.buckets[home..home + REACH].iter();
        let step = buckets.position(|bucket| bucket.swap(0, word));
        let step = step.ok_or(Obstacle::Full)?;
        if step > 0 {
            self.buckets[home].home.note_another(step);
        }
        Ok(())
    }

    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        (((hash & 0xffff_ffff) * self.homes) >> 32) as usize
    }
}

impl Bucket {
    #[inline(always)]
    fn find(&self, signature: u64, is: &mut impl FnMut(Found) -> bool) -> Option<Found> {
        for slot in &self.slots {
            let word = slot.load(Acquire);
            if word >> 32 == signature {
                let found = entry(word);
                if is(found) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Makes one slot with this word one with another.
    fn swap(&self, word: u64, other: u64) -> bool {
        let mut slots = self.slots.iter();
        slots.any(|slot| {
            slot.load(SeqCst) == word && slot.compare_exchange(word, other, SeqCst, Relaxed).is_ok()
        })
    }
}

impl Home {
    /// How many buckets behind it there is something of its own.
    #[inline(always)]
    fn farthest(&self) -> usize {
        match self.others.load(Acquire) {
            0 => 0,
            _ => self.farthest.load(Relaxed).into(),
        }
    }

    /// Another entry is so many buckets behind it. Under the lock.
    fn note_another(&self, step: usize) {
        let farthest = self.farthest().max(step);
        self.farthest.store(farthest as u8, Relaxed);
        self.others.fetch_add(1, Release);
    }

    fn lock(&self) -> Result<(), Obstacle> {
        for _ in 0..SPINS_MAX {
            if !self.is_locked.swap(true, Acquire) {
                return Ok(());
            }
            spin_loop();
        }
        Err(Obstacle::Busy)
    }

    fn unlock(&self) {
        self.is_locked.store(false, Release);
    }
}

/// Never 0, so that a used slot is not 0.
#[inline(always)]
fn signature(hash: u64) -> u64 {
    hash >> 32 | 1
}

fn word(hash: u64, entry: Found) -> u64 {
    signature(hash) << 32 | u64::from(entry.number) << 1 | entry.direction as u64
}

#[inline(always)]
fn entry(word: u64) -> Found {
    Found {
        number: (word & 0xffff_ffff) as u32 >> 1,
        direction: match word & 1 {
            0 => Direction::Original,
            _ => Direction::Reply,
        },
    }
}

const SLOTS: usize = 7;
const _: () = assert!(size_of::<Bucket>() == 64 && REACH <= 0xff);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Stream;
    use std::collections::HashMap;

    fn entry(number: u32) -> Found {
        Found {
            number,
            direction: match number % 2 {
                0 => Direction::Original,
                _ => Direction::Reply,
            },
        }
    }

    #[test]
    fn holds_what_a_map_holds() {
        // So small that most homes have entries elsewhere.
        let index = Index::new(16, |_, _| ()).unwrap();
        let mut map = HashMap::new();
        let mut stream = Stream(1);
        let mut refused = 0;
        for step in 0..200_000_u32 {
            let key = stream.next() % 300;
            let hash = Stream(key).next();
            let same = |found: Found| map.get(&key) == Some(&found);
            match map.get(&key).copied() {
                Some(known) if stream.next().is_multiple_of(2) => {
                    index.remove(hash, known);
                    map.remove(&key);
                }
                Some(known) => {
                    let taken = Err(Obstacle::Taken(known));
                    assert_eq!(index.insert(hash, entry(step), same), taken);
                }
                None => match index.insert(hash, entry(step), same) {
                    Ok(()) => _ = map.insert(key, entry(step)),
                    other => {
                        assert_eq!(other, Err(Obstacle::Full));
                        refused += 1;
                    }
                },
            }
            for key in 0..2 {
                let known = map.get(&key).copied();
                let found = index.find(Stream(key).next(), |found| known == Some(found));
                assert_eq!(found, known);
            }
        }
        assert!(refused > 0, "room for all");
        for (key, known) in map.drain() {
            index.remove(Stream(key).next(), known);
        }
        for bucket in &index.buckets {
            assert!(bucket.slots.iter().all(|slot| slot.load(Relaxed) == 0));
            let home = &bucket.home;
            assert_eq!((home.farthest(), home.is_locked.load(Relaxed)), (0, false));
        }
    }

    #[test]
    fn one_of_many_threads_inserts() {
        let index = Index::new(10_000, |_, _| ()).unwrap();
        let insert = |thread: u32, key: u32| {
            let hash = Stream(key.into()).next();
            loop {
                let outcome = index.insert(hash, entry(key * 2 + thread), |_| true);
                if outcome != Err(Obstacle::Busy) {
                    return outcome.is_ok();
                }
            }
        };
        let insert = &insert;
        let wins = std::thread::scope(|scope| {
            let all = |thread| move || (0..20_000).map(|key| insert(thread, key)).collect();
            let threads = [0, 1].map(|thread| scope.spawn(all(thread)));
            threads.map(|thread| -> Vec<bool> { thread.join().unwrap() })
        });
        assert!(
            wins[0]
                .iter()
                .zip(&wins[1])
                .all(|(one, other)| one != other)
        );
    }

    #[test]
    fn a_full_index_has_room_for_all() {
        let index = Index::new(50_000, |_, _| ()).unwrap();
        let mut stream = Stream(5);
        for number in 0..100_000 {
            let outcome = index.insert(stream.next(), entry(number), |_| false);
            assert_eq!(outcome, Ok(()));
        }
    }
}
