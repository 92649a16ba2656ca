//! Packets of flows that the cache does not know.
//!
//! Those of a batch are decided together, so that what each needs of memory is fetched with what
//! the others need: with traffic of new flows alone nearly all of it is in no near cache, and a
//! packet on its own would wait for one line after the other. What is decided depends on a packet's
//! key and the published state alone, so that nothing changes by being decided before the packets
//! in front of it are sent.
//!
//! Of several packets of one new flow the first is a miss; the others find its entry, or share its
//! program where there is no room for one.

use arrayvec::ArrayVec;
use flowtable::{CodeNo, Depth, FlowKey, KeyHash, Lookup, Pair};
use pmd::{BATCH_MAX, Batch};

use super::engine::{Engine, Entry};
use crate::action::Account;
use crate::pipeline::Context;

/// The packets of a batch that are counted for no entry.
#[derive(Debug, Default)]
pub struct Misses(ArrayVec<Miss, BATCH_MAX>);

#[derive(Clone, Copy, Debug)]
struct Miss {
    /// Place in the batch.
    index: usize,
    hash: KeyHash,
    /// There is an entry of another epoch.
    is_stale: bool,
    /// Its program, kept until the batch is through.
    pair: Pair,
}

/// Packets of flows that packets before them brought: the place in the batch, and that of the flow
/// among the misses.
type Others = ArrayVec<(usize, usize), BATCH_MAX>;

impl Misses {
    /// What a packet of the batch is counted in, if it is counted for no entry.
    pub fn counted_apart(&self, index: usize) -> Option<Pair> {
        let Misses(misses) = self;
        let miss = misses.iter().find(|miss| miss.index == index);
        miss.map(|miss| miss.pair)
    }
}

impl Engine {
    /// Decides what is to be done with the packets of a batch that have no known code, counts them,
    /// and makes entries for them. They are kept until [`Engine::let_misses_go`].
    #[inline]
    pub(super) fn decide_misses(&mut self, entry: &Entry, batch: &Batch, codes: &mut [CodeNo]) {
        let misses = match codes.iter().all(|code| code.is_known()) {
            true => 0,
            false => self.decide_some(entry, batch, codes),
        };
        self.tally.misses += misses as u64;
        self.tally.hits += (codes.len() - misses) as u64;
    }

    /// Lets go what is kept of the last misses.
    #[inline]
    pub(super) fn let_misses_go(&mut self) {
        for miss in self.misses.0.drain(..) {
            self.cache.let_go(miss.pair, Account::credit);
        }
    }

    /// Returns the number of misses.
    #[inline(never)]
    fn decide_some(&mut self, entry: &Entry, batch: &Batch, codes: &mut [CodeNo]) -> usize {
        let others = self.find_misses(entry, batch, codes);
        let Misses(misses) = &mut self.misses;
        let (points, cache, state) = (&mut self.points, &mut self.cache, entry.state);
        let mut context = Context { state, points };
        let mut pairs = ArrayVec::<Pair, BATCH_MAX>::new();
        let keys = misses.iter().map(|miss| &self.parsed.keys[miss.index]);
        let decided = |pair| pairs.push(pair);
        self.programs
            .decide(&mut context, &entry.ingress, keys, cache, decided);
        let mut admitted = ArrayVec::<Miss, BATCH_MAX>::new();
        for (miss, pair) in misses.iter_mut().zip(pairs) {
            miss.pair = pair;
            codes[miss.index] = pair.code();
            cache.count_apart(pair, self.parsed.bytes[miss.index].into());
            if miss.is_stale || cache.admits(miss.hash) {
                admitted.push(*miss);
            }
        }
        cache.foresee(entry.mask, admitted.iter().map(|miss| miss.hash));
        for miss in &admitted {
            let key = &self.parsed.keys[miss.index];
            // Without room the next such packet is translated again.
            let _ = cache.insert(entry.mask, key, miss.pair, state.epoch(), Account::credit);
        }
        let count = misses.len();
        for (index, first) in others {
            codes[index] = self.follow(entry, index, first);
        }
        count
    }

    /// Finds the first packets of flows without a valid entry. The others.
    fn find_misses(&mut self, entry: &Entry, batch: &Batch, codes: &[CodeNo]) -> Others {
        let mut others = Others::new();
        for (index, (code, packet)) in codes.iter().zip(batch).enumerate() {
            if code.is_known() {
                continue;
            }
            if entry.mask.depth() < Depth::All {
                self.parsed.parse(Depth::All, entry.number, index, packet);
            }
            let keys = &self.parsed.keys;
            let (hash, is_stale) = (
                self.cache.hash(entry.mask, &keys[index]),
                *code == CodeNo::STALE,
            );
            let is_equal = |other: &FlowKey| entry.mask.agree(other, &keys[index]);
            let is_first = |miss: &Miss| miss.hash == hash && is_equal(&keys[miss.index]);
            let Misses(misses) = &mut self.misses;
            if let Some(first) = misses.iter().position(is_first) {
                others.push((index, first));
                continue;
            }
            self.tally.stale += u64::from(is_stale);
            misses.push(Miss {
                index,
                hash,
                is_stale,
                pair: Pair::default(),
            });
        }
        others
    }

    /// Counts a packet of a flow that a packet before it has brought.
    fn follow(&mut self, entry: &Entry, index: usize, first: usize) -> CodeNo {
        let (bytes, epoch) = (self.parsed.bytes[index].into(), entry.state.epoch());
        let key = &self.parsed.keys[index];
        if let Lookup::Hit(slot) = self.cache.find(entry.mask, key, epoch) {
            return self.cache.count(slot, 1, bytes, Account::credit);
        }
        let miss = Miss {
            index,
            ..self.misses.0[first]
        };
        self.cache.keep_on(miss.pair);
        self.cache.count_apart(miss.pair, bytes);
        self.misses.0.push(miss);
        if self.cache.admits(miss.hash) {
            let credit = Account::credit;
            let _ = self.cache.insert(entry.mask, key, miss.pair, epoch, credit);
        }
        miss.pair.code()
    }
}
