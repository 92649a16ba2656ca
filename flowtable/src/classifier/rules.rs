//! A classifier as readers see it: one or many threads, none of which waits or writes.

use core::fmt;
use core::sync::atomic::Ordering;
use std::sync::Arc;

use super::cells::{Cell, Cells, Index};
use super::mask::{self, TupleMask};
use crate::hash::Keyed;
use crate::{FlowKey, FlowMask, Match};

/// The rules of a classifier, to be read at an epoch. A clone copies two pointers.
#[derive(Clone)]
pub struct Rules {
    /// By descending highest priority, then by mask.
    pub(super) faces: Arc<Vec<Arc<Face>>>,
    /// Every bit that some rule matches.
    pub(super) mask: Arc<FlowMask>,
    pub(super) hasher: Keyed,
}

/// What readers see of a tuple.
#[derive(Debug)]
pub(super) struct Face {
    pub(super) mask: Arc<TupleMask>,
    /// No rule has a higher priority.
    pub(super) priority_max: u16,
    /// Number of the tuple.
    pub(super) tuple: u32,
    pub(super) cells: Arc<Cells>,
    pub(super) index: Arc<Index>,
}

/// Where a rule is, as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// Number of its tuple.
    pub tuple: u32,
    /// Number of its cell.
    pub cell: u32,
}

/// One rule.
#[derive(Clone, Copy)]
pub struct Rule<'a> {
    face: &'a Face,
    cell: Cell<'a>,
    number: u32,
}

impl<'a> Rule<'a> {
    pub(super) fn at(face: &'a Face, number: u32) -> Option<Rule<'a>> {
        let cell = face.cells.get(number)?;
        Some(Rule { face, cell, number })
    }

    /// Where it is.
    pub fn id(&self) -> RuleId {
        RuleId {
            tuple: self.face.tuple,
            cell: self.number,
        }
    }

    /// The epoch in which it came.
    pub fn born(&self) -> u64 {
        self.cell.born()
    }

    /// Its priority.
    #[inline(always)]
    pub fn priority(&self) -> u16 {
        self.cell.priority()
    }

    /// Whether every packet matches it.
    pub fn matches_all(&self) -> bool {
        self.face.mask.words().is_empty()
    }

    /// The words of the key that it matches, in order: index, value, mask.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, u64, u64)> + Clone {
        let values = self.face.cells.key(self.cell).iter();
        let words = self.face.mask.words().iter().zip(values);
        words.map(|(&(index, mask), value)| {
            (usize::from(index), value.load(Ordering::Relaxed), mask)
        })
    }

    /// Its match.
    pub fn matching(&self) -> Match {
        let key = self.face.cells.key(self.cell).iter();
        let values = key.map(|word| word.load(Ordering::Relaxed));
        self.face.mask.matching(values)
    }

    /// Whether a walk is for it.
    pub fn is_of(&self, walk: &Walk) -> bool {
        let covered = !walk.included || self.face.mask.covers(&walk.matching);
        covered && walk.wants(self.face, self.cell)
    }

    /// A word of what the caller keeps with it; 0 beyond the last.
    #[inline(always)]
    pub fn word(&self, index: usize) -> u64 {
        let payload = self.face.cells.payload(self.cell);
        payload
            .get(index)
            .map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// Which rules a walk is for, and how far it has come: it may go on later, and among rules that
/// have changed meanwhile ([`Walk::renew`]). Walks are the writer's: a scan comes by cells that are
/// being written.
#[derive(Clone, Debug)]
pub struct Walk {
    matching: Match,
    key: Box<FlowKey>,
    mask: Box<FlowMask>,
    included: bool,
    face: usize,
    at: At,
    /// Tuples that it has been through.
    passed: Vec<u32>,
    /// Of these, those to be left out since the list of tuples is another one; sorted.
    skipped: Vec<u32>,
    /// Where to go on in the tuple that it was in then.
    resume: Option<(u32, At)>,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// Before the first cell of the tuple.
    Start,
    /// Next is this cell, then all after it.
    Scan(u32),
    /// Next is this cell of a list.
    List(u32),
}

impl Walk {
    /// Over rules at least as specific as `matching`: those that the loose forms of modify, delete
    /// and statistics requests select.
    pub fn included_in(matching: &Match) -> Walk {
        Walk {
            matching: matching.clone(),
            key: Box::new(matching.key()),
            mask: Box::new(matching.mask()),
            included: true,
            face: 0,
            at: At::Start,
            passed: Vec::new(),
            skipped: Vec::new(),
            resume: None,
        }
    }

    /// Over rules that some packet may match together with `matching`.
    pub fn overlapping(matching: &Match) -> Walk {
        Walk {
            included: false,
            ..Walk::included_in(matching)
        }
    }

    /// Begins anew.
    pub fn restart(&mut self) {
        (self.face, self.at, self.resume) = (0, At::Start, None);
        self.passed.clear();
        self.skipped.clear();
    }

    /// Goes on among newer rules than `old`, where it has been so far. What has not changed since
    /// comes once in all; what has may be missing or come twice.
    pub fn renew(&mut self, old: &Rules) {
        let within = !matches!(self.at, At::Start);
        if let Some(face) = old.faces.get(self.face).filter(|_| within) {
            self.resume = Some((face.tuple, self.at));
        }
        self.skipped.append(&mut self.passed);
        self.skipped.sort_unstable();
        (self.face, self.at) = (0, At::Start);
    }

    /// Where to begin in a tuple, or to go on.
    fn begin(&mut self, face: &Face, hasher: Keyed) -> At {
        if self.skipped.binary_search(&face.tuple).is_ok() {
            return At::List(0);
        }
        match self.resume.take_if(|(tuple, _)| *tuple == face.tuple) {
            Some((_, at)) => at,
            None => self.enter(face, hasher),
        }
    }

    /// Where to begin in a tuple. If its mask has no bit beyond that of the match, one list has all
    /// that are wanted.
    fn enter(&self, face: &Face, hasher: Keyed) -> At {
        if self.included && !face.mask.covers(&self.matching) {
            return At::List(0);
        }
        if !face.mask.is_within(&self.mask) {
            return At::Scan(1);
        }
        let mut room = [0; FlowKey::WORDS];
        let key = face.mask.apply(&self.key, &mut room).iter().copied();
        At::List(face.index.first(mask::hash(hasher, key)))
    }

    fn wants(&self, face: &Face, cell: Cell<'_>) -> bool {
        let mut pairs = face.mask.words().iter().zip(face.cells.key(cell));
        pairs.all(|(&(index, bits), value)| {
            let (index, value) = (usize::from(index), value.load(Ordering::Relaxed));
            (value ^ self.key.words()[index]) & bits & self.mask.0.words()[index] == 0
        })
    }

    /// The number of the next cell in this tuple.
    fn step(&mut self, face: &Face) -> Option<u32> {
        match &mut self.at {
            At::Start | At::List(0) => None,
            At::Scan(next) => {
                let number = *next;
                *next += 1;
                (number <= face.cells.last()).then_some(number)
            }
            At::List(next) => {
                let number = *next;
                *next = face.cells.get(number)?.link(face.index.side());
                Some(number)
            }
        }
    }
}

impl Rules {
    pub(super) fn new(hasher: Keyed) -> Rules {
        Rules {
            faces: Arc::default(),
            mask: Arc::default(),
            hasher,
        }
    }

    /// The rule of highest priority that a packet with `key` matches.
    #[inline]
    pub fn find(&self, key: &FlowKey, epoch: u64) -> Option<Rule<'_>> {
        let mut room = [0; FlowKey::WORDS];
        let mut best: Option<Rule<'_>> = None;
        for face in self.faces.iter() {
            if best.is_some_and(|best| best.priority() >= face.priority_max) {
                break;
            }
            let words = face.mask.apply(key, &mut room);
            if let Some(found) = face.find(words, self.hasher, epoch)
                && best.is_none_or(|best| best.priority() < found.priority())
            {
                best = Some(found);
            }
        }
        best
    }

    /// The next rule of a walk.
    pub fn next(&self, walk: &mut Walk, epoch: u64) -> Option<Rule<'_>> {
        while let Some(face) = self.faces.get(walk.face) {
            if let At::Start = walk.at {
                walk.at = walk.begin(face, self.hasher);
            }
            while let Some(number) = walk.step(face) {
                if let Some(cell) = face.cells.get(number)
                    && cell.is_visible(epoch)
                    && walk.wants(face, cell)
                {
                    return Some(Rule { face, cell, number });
                }
            }
            walk.at = At::Start;
            walk.passed.push(face.tuple);
            walk.face += 1;
        }
        None
    }

    /// All rules of a walk, from its beginning.
    pub fn walk(&self, mut walk: Walk, epoch: u64) -> impl Iterator<Item = Rule<'_>> {
        core::iter::from_fn(move || self.next(&mut walk, epoch))
    }

    /// Every rule, in no particular order.
    pub fn iter(&self, epoch: u64) -> impl Iterator<Item = Rule<'_>> {
        self.walk(Walk::included_in(&Match::default()), epoch)
    }

    /// Whether a walk has to look at rules that it is not for.
    pub fn must_scan(&self, walk: &Walk) -> bool {
        let scans = |face: &Arc<Face>| matches!(walk.enter(face, self.hasher), At::Scan(_));
        self.faces.iter().any(scans)
    }

    /// Whether these are the same rules in all but the epoch at which they are read.
    pub fn is_same(&self, other: &Rules) -> bool {
        Arc::ptr_eq(&self.faces, &other.faces) && Arc::ptr_eq(&self.mask, &other.mask)
    }

    /// Every bit that some rule matches.
    pub fn mask(&self) -> &FlowMask {
        &self.mask
    }

    /// Most hash tables that finding one rule may have to probe.
    pub fn probes_max(&self) -> usize {
        self.faces.len()
    }
}

impl Face {
    #[inline(always)]
    fn find(&self, words: &[u64], hasher: Keyed, epoch: u64) -> Option<Rule<'_>> {
        let mut number = self.index.first(mask::hash(hasher, words.iter().copied()));
        while number != 0 {
            let cell = self.cells.get(number)?;
            // Cells of one key are next to each other, the highest priority first.
            if self.cells.has_key(cell, words) && cell.is_visible(epoch) {
                let face = self;
                return Some(Rule { face, cell, number });
            }
            number = cell.link(self.index.side());
        }
        None
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rules of {} masks", self.faces.len())
    }
}

impl fmt::Debug for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {:?} of priority {}", self.id(), self.priority())
    }
}
