//! Packets of flows that the cache does not know.
//!
//! Those of a batch are decided together, so that what each needs of memory is fetched with what
//! the others need: with traffic of new flows alone nearly all of it is in no near cache, and a
//! packet on its own would wait for one line after the other. What is decided depends on a packet's
//! key and the published state alone, so that nothing changes by being decided before the packets
//! in front of it are sent.
//!
//! Of several packets of one new flow the first is a miss; the others find its entry, or share its
//! program where there is no room for one. One that was settled ([`crate::pipeline::Programs`])
//! leaves neither, and the next one of its flow is a miss, too.

use arrayvec::ArrayVec;
use flowtable::{CodeNo, Depth, KeyHash, Lookup, Pair};
use pmd::{BATCH_MAX, Batch};

use super::engine::{Engine, Entry};
use crate::action::Account;
use crate::pipeline::{Arrival, Books, Context, Decided, Ingress};

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

/// Packets of a batch in a row.
type Row = ArrayVec<Miss, BATCH_MAX>;

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

    /// Returns the number of misses. Packets that go on as they are may be at several points, which
    /// are decided about in turn.
    #[inline(never)]
    fn decide_some(&mut self, entry: &Entry, batch: &Batch, codes: &mut [CodeNo]) -> usize {
        if !matches!(entry.ingress, Ingress::Point(_)) {
            return self.decide_those(entry, batch, codes);
        }
        let (mut count, mut decided) = (0, ArrayVec::<u32, BATCH_MAX>::new());
        for index in 0..codes.len() {
            let number = self.parsed.keys[index].entry;
            if codes[index].is_known() || decided.contains(&number) {
                continue;
            }
            let at_point = Entry {
                number,
                ingress: Ingress::Point(number),
                ..entry.clone()
            };
            count += self.decide_those(&at_point, batch, codes);
            decided.push(number);
        }
        count
    }

    /// The same of those that enter just there.
    fn decide_those(&mut self, entry: &Entry, batch: &Batch, codes: &mut [CodeNo]) -> usize {
        let mut row = self.find_misses(entry, batch, codes);
        let mut count = 0;
        while !row.is_empty() {
            let (firsts, others) = self.part(entry, row);
            count += firsts.len();
            self.decide_row(entry, firsts, codes);
            let left = others.into_iter();
            row = left
                .filter(|(miss, first)| !self.follow(entry, miss, *first, codes))
                .map(|(miss, _)| miss)
                .collect();
        }
        count
    }

    /// The packets without a valid entry.
    fn find_misses(&mut self, entry: &Entry, batch: &Batch, codes: &[CodeNo]) -> Row {
        let mut row = Row::new();
        for (index, (code, packet)) in codes.iter().zip(batch).enumerate() {
            let is_at = |number| number == self.parsed.keys[index].entry;
            if code.is_known() || matches!(entry.ingress, Ingress::Point(at) if !is_at(at)) {
                continue;
            }
            if entry.depth < Depth::All {
                self.parsed.parse(Depth::All, entry.number, index, packet);
            }
            row.push(Miss {
                index,
                hash: self.cache.hash(entry.mask, &self.parsed.keys[index]),
                is_stale: code.stale().is_some(),
                pair: Pair::default(),
            });
        }
        row
    }

    /// The first packets of their flows, and the others, each with the place of the first one in
    /// the batch.
    fn part(&self, entry: &Entry, row: Row) -> (Row, ArrayVec<(Miss, usize), BATCH_MAX>) {
        let (mut firsts, mut others) = (Row::new(), ArrayVec::new());
        let keys = &self.parsed.keys;
        for miss in row {
            let key = &keys[miss.index];
            let is_equal = |first: &Miss| entry.mask.agree(&keys[first.index], key);
            let mut alike = firsts.iter().filter(|first| first.hash == miss.hash);
            match alike.find(|first| is_equal(first)) {
                Some(first) => others.push((miss, first.index)),
                None => firsts.push(miss),
            }
        }
        (firsts, others)
    }

    /// Decides packets of different flows, counts them, and makes entries for those that are
    /// admitted.
    fn decide_row(&mut self, entry: &Entry, row: Row, codes: &mut [CodeNo]) {
        let (points, cache, state) = (&mut self.points, &mut self.cache, entry.state);
        let mut context = Context { state, points };
        let arrivals = row.iter().map(|miss| Arrival {
            key: &self.parsed.keys[miss.index],
            hash: miss.hash,
            bytes: self.parsed.bytes[miss.index].into(),
            is_stale: miss.is_stale,
        });
        let Misses(misses) = &mut self.misses;
        let start = misses.len();
        let mut admitted = ArrayVec::<Miss, BATCH_MAX>::new();
        let mut rest = row.iter();
        let decided = |decided: Decided| {
            let Some(miss) = rest.next() else { return };
            let miss = Miss {
                pair: decided.pair,
                ..*miss
            };
            misses.push(miss);
            if decided.is_admitted {
                admitted.push(miss);
            }
        };
        let mut books = Books {
            cache,
            tallies: &mut self.executor.tallies,
        };
        let ingress = &entry.ingress;
        self.programs
            .decide(&mut context, ingress, arrivals, &mut books, decided);
        for miss in &self.misses.0[start..] {
            codes[miss.index] = miss.pair.code();
            cache.count_apart(miss.pair, self.parsed.bytes[miss.index].into());
            self.tally.stale += u64::from(miss.is_stale);
        }
        cache.foresee(entry.mask, admitted.iter().map(|miss| miss.hash));
        for miss in &admitted {
            let key = &self.parsed.keys[miss.index];
            // Without room the next such packet is translated again.
            let _ = cache.insert(entry.mask, key, miss.pair, state.epoch(), Account::credit);
        }
    }

    /// Counts a packet of a flow of which the packet at `first` has just been decided; `false` if
    /// that left nothing to count it for.
    fn follow(&mut self, entry: &Entry, miss: &Miss, first: usize, codes: &mut [CodeNo]) -> bool {
        let bytes = self.parsed.bytes[miss.index].into();
        let key = &self.parsed.keys[miss.index];
        if let Lookup::Hit(slot) = self.cache.find(entry.mask, key, entry.state.epoch()) {
            codes[miss.index] = self.cache.count(slot, 1, bytes, Account::credit);
            return true;
        }
        let first = self.misses.counted_apart(first);
        let Some(pair) = first.filter(|pair| pair.has_account()) else {
            return false;
        };
        self.cache.keep_on(pair);
        self.cache.count_apart(pair, bytes);
        codes[miss.index] = pair.code();
        self.misses.0.push(Miss { pair, ..*miss });
        if self.cache.comes_again(miss.hash) {
            let epoch = entry.state.epoch();
            let credit = Account::credit;
            let _ = self.cache.insert(entry.mask, key, pair, epoch, credit);
        }
        true
    }
}
