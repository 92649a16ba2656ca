//! A classifier as readers see it: one or many threads, none of which waits or writes.

use core::fmt;
use core::sync::atomic::Ordering;
use std::sync::Arc;

use super::cells::{Cell, Cells};
use super::faces::Faces;
use super::gate::Gate;
use super::index::Index;
use super::mask::{Layout, Near, TupleMask};
use super::walk::Walk;
use crate::hash::Keyed;
use crate::{FlowKey, FlowMask, Match};

/// The rules of a classifier, to be read at an epoch. A clone copies three pointers and the gate.
#[derive(Clone)]
pub struct Rules {
    pub(super) faces: Faces,
    /// Those that hash no bit: rules that match every packet are nowhere else.
    rest: Faces,
    /// What the other rules agree in.
    pub(super) gate: Gate,
    /// Every bit that some rule matches.
    pub(super) mask: Arc<FlowMask>,
    pub(super) hasher: Keyed,
}

/// What readers see of a tuple; in two lines of memory.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Face {
    /// The bits that are hashed: all that its rules match, or some that all of them match.
    pub(super) probe: Arc<TupleMask>,
    /// The same, at hand.
    pub(super) near: Near,
    /// What its rules may match beyond that; nothing if they all have one mask.
    pub(super) layout: Option<Arc<Layout>>,
    /// No rule has a higher weight.
    pub(super) weight_max: u64,
    /// Number of the tuple.
    pub(super) tuple: u32,
    pub(super) cells: Arc<Cells>,
    pub(super) index: Index,
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
        self.words().next().is_none()
    }

    /// The words of the key that it matches, in order: index, value, mask.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, u64, u64)> + Clone {
        let words = self.face.words(self.cell);
        words.filter(|(_, _, mask)| *mask != 0)
    }

    /// Its match.
    pub fn matching(&self) -> Match {
        Match::of_words(self.words())
    }

    /// Whether a walk is for it.
    pub fn is_of(&self, walk: &Walk) -> bool {
        walk.enters(self.face) && walk.wants(self.face, self.cell)
    }

    /// A word of what the caller keeps with it; 0 beyond the last.
    #[inline(always)]
    pub fn word(&self, index: usize) -> u64 {
        let payload = self.face.cells.payload(self.cell);
        payload
            .get(index)
            .map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Whether it is there for the writer.
    pub(super) fn is_living(&self) -> bool {
        self.cell.is_linked() && self.cell.is_living()
    }

    /// What the caller keeps with it.
    pub(super) fn payload(&self) -> impl Iterator<Item = u64> {
        let payload = self.face.cells.payload(self.cell).iter();
        payload.map(|word| word.load(Ordering::Relaxed))
    }
}

impl Rules {
    pub(super) fn new(hasher: Keyed) -> Rules {
        Rules {
            faces: Faces::default(),
            rest: Faces::default(),
            gate: Gate::default(),
            mask: Arc::default(),
            hasher,
        }
    }

    /// Adds a tuple.
    pub(super) fn list(&mut self, face: &Face) {
        if face.probe.words().is_empty() {
            self.rest.insert(face.clone());
        }
        self.faces.insert(face.clone());
    }

    /// Takes a tuple out.
    pub(super) fn strike(&mut self, face: &Face) {
        self.faces.remove(face);
        if face.probe.words().is_empty() {
            self.rest.remove(face);
        }
    }

    /// The rule of highest priority that a packet with `key` matches.
    #[inline]
    pub fn find(&self, key: &FlowKey, epoch: u64) -> Option<Rule<'_>> {
        // To pass the gate costs as much as to ask one hash table.
        let faces = match self.faces.is_one() || self.gate.admits(key) {
            true => &self.faces,
            false => &self.rest,
        };
        let mut best = None;
        let mut least = self.find_among(faces.first(), key, epoch, 0, &mut best);
        for chunk in faces.others() {
            if chunk.first().is_some_and(|face| face.weight_max < least) {
                break;
            }
            least = self.find_among(chunk, key, epoch, least, &mut best);
        }
        best
    }

    /// Takes the heaviest rule of these tuples if it is not lighter than `least`; what the next one
    /// must not be lighter than.
    #[inline(always)]
    fn find_among<'a>(
        &'a self,
        faces: &'a [Face],
        key: &FlowKey,
        epoch: u64,
        mut least: u64,
        best: &mut Option<Rule<'a>>,
    ) -> u64 {
        for face in faces {
            if face.weight_max < least {
                break;
            }
            if let Some(rule) = face.find(key, self.hasher, epoch, least) {
                least = rule.cell.weight() + 1;
                *best = Some(rule);
            }
        }
        least
    }

    /// Tells `each` of every rule that a packet with `key` matches, in no particular order.
    pub fn find_all<'a>(&'a self, key: &FlowKey, epoch: u64, mut each: impl FnMut(Rule<'a>)) {
        for face in self.faces.iter() {
            face.find_all(key, self.hasher, |number| {
                let rule = Rule::at(face, number);
                rule.filter(|rule| rule.cell.is_visible(epoch))
                    .into_iter()
                    .for_each(&mut each);
            });
        }
    }

    /// The next rule of a walk.
    pub fn next(&self, walk: &mut Walk, epoch: u64) -> Option<Rule<'_>> {
        let mut steps = usize::MAX;
        self.next_within(walk, epoch, &mut steps)
    }

    /// The next rule of a walk if it takes no more than so many steps to come to it: none are left
    /// if it takes more, and the walk goes on from there next time.
    pub fn next_within(&self, walk: &mut Walk, epoch: u64, steps: &mut usize) -> Option<Rule<'_>> {
        while *steps > 0 {
            let face = walk.face(self)?;
            *steps -= 1;
            let Some(number) = walk.step(face) else {
                walk.pass(face);
                continue;
            };
            if let Some(cell) = face.cells.get(number)
                && cell.is_visible(epoch)
                && walk.wants(face, cell)
            {
                return Some(Rule { face, cell, number });
            }
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
        self.faces.iter().any(|face| walk.scans(face))
    }

    /// Whether these are the same rules in all but the epoch at which they are read.
    pub fn is_same(&self, other: &Rules) -> bool {
        let is_listed = self.faces.is_same(&other.faces) && self.gate == other.gate;
        is_listed && Arc::ptr_eq(&self.mask, &other.mask)
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
    /// The heaviest rule that a packet matches; nothing if all that might are lighter than `least`.
    #[inline(always)]
    fn find(&self, key: &FlowKey, hasher: Keyed, epoch: u64, least: u64) -> Option<Rule<'_>> {
        let near = self.near.words_of(key);
        let mut top = self
            .index
            .first(self.near.hash(hasher, &near, key, &self.probe));
        while top != 0 {
            let cell = self.cells.get(top)?;
            let values = self.cells.key(cell);
            match &self.layout {
                None if self.near.agrees(values, &near, key, &self.probe) => {
                    return self.visible((top, cell), epoch, least);
                }
                Some(layout) if layout.agrees(values, &self.probe, key) => {
                    return self.matching(layout, (top, cell), key, epoch, least);
                }
                _ => top = cell.link(self.index.side()),
            }
        }
        None
    }

    /// Tells `each` of the rules that a packet matches, those that are not visible, too.
    fn find_all(&self, key: &FlowKey, hasher: Keyed, mut each: impl FnMut(u32)) {
        let near = self.near.words_of(key);
        let mut top = self
            .index
            .first(self.near.hash(hasher, &near, key, &self.probe));
        while let Some(cell) = self.cells.get(top).filter(|_| top != 0) {
            let values = self.cells.key(cell);
            let is_stack = match &self.layout {
                None => self.near.agrees(values, &near, key, &self.probe),
                Some(layout) => layout.agrees(values, &self.probe, key),
            };
            if is_stack {
                break;
            }
            top = cell.link(self.index.side());
        }
        while let Some(cell) = self.cells.get(top).filter(|_| top != 0) {
            let layout = self.layout.as_ref();
            if layout.is_none_or(|layout| layout.matches(self.cells.key(cell), key)) {
                each(top);
            }
            top = cell.below();
        }
    }

    /// Whether a cell is in the stack of this key.
    pub(super) fn has_key(&self, cell: Cell<'_>, words: &[u64]) -> bool {
        match &self.layout {
            None => self.cells.has_key(cell, words),
            Some(layout) => layout.has_key(self.cells.key(cell), &self.probe, words),
        }
    }

    /// The first rule of a stack that is there.
    #[inline(always)]
    fn visible<'a>(&'a self, top: (u32, Cell<'a>), epoch: u64, least: u64) -> Option<Rule<'a>> {
        let face = self;
        let (mut number, mut cell) = top;
        while !cell.is_visible(epoch) {
            number = cell.below();
            cell = self.cells.get(number).filter(|_| number != 0)?;
        }
        (cell.weight() >= least).then_some(Rule { face, cell, number })
    }

    /// The first rule of a stack that is there and matches.
    fn matching<'a>(
        &'a self,
        layout: &Layout,
        top: (u32, Cell<'a>),
        key: &FlowKey,
        epoch: u64,
        least: u64,
    ) -> Option<Rule<'a>> {
        let face = self;
        let (mut number, mut cell) = top;
        while cell.weight() >= least {
            if layout.matches(self.cells.key(cell), key) && cell.is_visible(epoch) {
                return Some(Rule { face, cell, number });
            }
            number = cell.below();
            cell = self.cells.get(number).filter(|_| number != 0)?;
        }
        None
    }

    /// What a cell's rule matches: index, value and mask of each word.
    pub(super) fn words<'a>(
        &'a self,
        cell: Cell<'a>,
    ) -> impl Iterator<Item = (usize, u64, u64)> + Clone {
        let key = self.cells.key(cell);
        let load = |place: usize| {
            key.get(place)
                .map_or(0, |word| word.load(Ordering::Relaxed))
        };
        let words = self.layout.as_ref().map(|layout| layout.words());
        let count = words.map_or(self.probe.words().len(), <[u8]>::len);
        (0..count).map(move |place| match words {
            Some(words) => (usize::from(words[place]), load(place), load(count + place)),
            None => {
                let (index, mask) = self.probe.words()[place];
                (usize::from(index), load(place), mask)
            }
        })
    }

    /// Whether rules of a mask may be in it, among others.
    pub(super) fn may_hold(&self, mask: &TupleMask) -> bool {
        let layout = self.layout.as_ref();
        layout.is_some_and(|layout| layout.holds(mask)) && self.probe.is_part_of(mask)
    }

    /// Whether no rule in it has all the bits of `matching`.
    pub(super) fn lacks(&self, matching: &Match) -> bool {
        match &self.layout {
            Some(layout) => !layout.may_cover(matching),
            None => !self.probe.covers(matching),
        }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rules in {} tuples", self.faces.len())
    }
}

impl fmt::Debug for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {:?} of priority {}", self.id(), self.priority())
    }
}
