//! Walks through the rules of a classifier: for flow_mods and statistics requests, which name
//! many rules by one match.

use super::cells::Cell;
use super::faces::Place;
use super::mask;
use super::rules::{Face, Rules};
use crate::hash::Keyed;
use crate::{FlowKey, FlowMask, Match};

/// Which rules a walk is for, and how far it has come: it may go on later, and among rules that
/// have changed meanwhile ([`Walk::renew`]). Walks are the writer's: a scan comes by cells that are
/// being written.
#[derive(Clone, Debug)]
pub struct Walk {
    matching: Match,
    key: Box<FlowKey>,
    mask: Box<FlowMask>,
    included: bool,
    place: Place,
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
    /// Next is this cell in the stack of this top, then the next top of the list.
    List { top: u32, at: u32 },
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
            place: Place::default(),
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
        (self.place, self.at, self.resume) = (Place::default(), At::Start, None);
        self.passed.clear();
        self.skipped.clear();
    }

    /// Goes on among newer rules than `old`, where it has been so far. What has not changed since
    /// comes once in all; what has may be missing or come twice.
    pub fn renew(&mut self, old: &Rules) {
        let within = !matches!(self.at, At::Start);
        if let Some(face) = old.faces.at(&mut self.place).filter(|_| within) {
            self.resume = Some((face.tuple, self.at));
        }
        self.skipped.append(&mut self.passed);
        self.skipped.sort_unstable();
        (self.place, self.at) = (Place::default(), At::Start);
    }

    /// The tuple that it is in.
    pub(super) fn face<'a>(&mut self, rules: &'a Rules) -> Option<&'a Face> {
        let face = rules.faces.at(&mut self.place)?;
        if let At::Start = self.at {
            self.at = self.begin(face, rules.hasher);
        }
        Some(face)
    }

    /// Leaves the tuple that it is in.
    pub(super) fn pass(&mut self, face: &Face) {
        self.at = At::Start;
        self.passed.push(face.tuple);
        self.place.step();
    }

    /// Where to begin in a tuple, or to go on.
    fn begin(&mut self, face: &Face, hasher: Keyed) -> At {
        if self.skipped.binary_search(&face.tuple).is_ok() {
            return At::END;
        }
        match self.resume.take_if(|(tuple, _)| *tuple == face.tuple) {
            Some((_, at)) => at,
            None => self.enter(face, hasher),
        }
    }

    /// Where to begin in a tuple. If what it hashes has no bit beyond those of the match, one list
    /// has all that are wanted.
    fn enter(&self, face: &Face, hasher: Keyed) -> At {
        if !self.enters(face) {
            return At::END;
        }
        if !face.probe.is_within(&self.mask) {
            return At::Scan(1);
        }
        let mut room = [0; FlowKey::WORDS];
        let key = face.probe.apply(&self.key, &mut room).iter().copied();
        let top = face.index.first(mask::hash(hasher, key));
        At::List { top, at: top }
    }

    /// Whether there may be rules in this tuple that it is for.
    pub(super) fn enters(&self, face: &Face) -> bool {
        !self.included || !face.lacks(&self.matching)
    }

    /// Whether it looks at rules in this tuple that it is not for, beyond a few.
    pub(super) fn scans(&self, face: &Face) -> bool {
        self.enters(face) && !face.probe.is_within(&self.mask)
    }

    /// Whether it is for a rule of a tuple that it enters.
    pub(super) fn wants(&self, face: &Face, cell: Cell<'_>) -> bool {
        // If all have one mask it was looked at before.
        if self.included && face.layout.is_some() && !self.is_covered(face, cell) {
            return false;
        }
        face.words(cell).all(|(index, value, mask)| {
            (value ^ self.key.words()[index]) & mask & self.mask.0.words()[index] == 0
        })
    }

    /// Whether a rule matches every bit that the match of the walk does.
    fn is_covered(&self, face: &Face, cell: Cell<'_>) -> bool {
        self.matching.words().all(|(index, _, bits)| {
            let mut words = face.words(cell);
            let word = words.find(|(other, ..)| *other == index);
            word.is_some_and(|(_, _, mask)| bits & !mask == 0)
        })
    }

    /// The number of the next cell in this tuple.
    pub(super) fn step(&mut self, face: &Face) -> Option<u32> {
        let number = match self.at {
            At::Start | At::List { top: 0, .. } => return None,
            At::Scan(number) if number > face.cells.last() => return None,
            At::Scan(number) | At::List { at: number, .. } => number,
        };
        self.at = match self.at {
            At::List { top, .. } => match face.cells.get(number)?.below() {
                0 => {
                    let next = face.cells.get(top)?.link(face.index.side());
                    At::List {
                        top: next,
                        at: next,
                    }
                }
                below => At::List { top, at: below },
            },
            _ => At::Scan(number + 1),
        };
        Some(number)
    }
}

impl At {
    /// After the last cell.
    const END: At = At::List { top: 0, at: 0 };
}
