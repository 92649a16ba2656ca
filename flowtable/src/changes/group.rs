//! Kinds of late changes, by the mask of the rules that changed, and groups of kinds that are much
//! alike. A group is asked first: by the bits that all of its masks have.

use crate::hash::{Keyed, Stream, hash_words};
use crate::{Depth, FlowKey, FlowMask};

/// A rule that changed: its table, whether it is new, its priority, and its words as index, value
/// and mask.
pub(super) struct Change<'a> {
    pub(super) scope: u32,
    pub(super) is_new: bool,
    pub(super) priority: u16,
    pub(super) words: &'a [(usize, u64, u64)],
}

/// What rules changed.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// Their table.
    pub(super) scope: u32,
    /// Whether they are new; else they went, or do something else.
    pub(super) is_new: bool,
    /// The lowest priority of one.
    pub(super) lightest: u16,
    /// The highest.
    pub(super) heaviest: u16,
}

/// The words of a key that are hashed.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    /// Hashed before the words, so that probes do not fall together.
    seed: u64,
    /// Index and mask of the words.
    words: Box<[(u8, u64)]>,
}

/// Changes of one way of rules in one table with the same mask.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    /// Epoch of the last one.
    pub(super) last: u64,
    pub(super) subject: Subject,
    /// The bits of the mask that no action rewrites.
    pub(super) probe: Probe,
    /// Index and mask of the words that the rules match.
    matched: Box<[(u8, u64)]>,
}

/// Kinds of one way and table whose masks differ in a few bits.
#[derive(Clone, Debug)]
pub(super) struct Group {
    subject: Subject,
    last: u64,
    /// The bits that all kinds have.
    probe: Probe,
    /// The changes after this epoch have fallen on stamps of `probe`.
    probe_since: u64,
    kinds: Vec<Kind>,
}

impl Change<'_> {
    fn masks(&self) -> impl Iterator<Item = (u8, u64)> {
        let words = self.words.iter();
        words.map(|(index, _, mask)| (*index as u8, *mask))
    }
}

impl Subject {
    /// Of no rule yet.
    fn of(change: &Change<'_>) -> Subject {
        Subject {
            scope: change.scope,
            is_new: change.is_new,
            lightest: u16::MAX,
            heaviest: 0,
        }
    }

    fn add(&mut self, priority: u16) {
        self.lightest = self.lightest.min(priority);
        self.heaviest = self.heaviest.max(priority);
    }

    /// Whether rules changed in the same way and table.
    fn is_like(&self, scope: u32, is_new: bool) -> bool {
        (self.scope, self.is_new) == (scope, is_new)
    }

    /// Where hashes begin, so that subjects do not fall together.
    fn seed(&self) -> u64 {
        u64::from(self.scope) << 1 | u64::from(self.is_new)
    }
}

impl Probe {
    fn new(subject: &Subject, words: impl Iterator<Item = (u8, u64)>) -> Probe {
        let words: Box<[_]> = words.collect();
        let start = Stream(subject.seed()).next();
        let seed = words.iter().fold(start, |seed, &(index, mask)| {
            Stream(seed ^ Stream(mask ^ Stream(index.into()).next()).next()).next()
        });
        Probe { seed, words }
    }

    /// Of a packet.
    #[inline(always)]
    pub(super) fn hash(&self, hasher: Keyed, key: &FlowKey) -> u64 {
        let words = self.words.iter();
        let words = words.map(|&(index, mask)| key.words()[usize::from(index)] & mask);
        hash_words(hasher, core::iter::once(self.seed).chain(words))
    }

    /// Of a rule, by its words in order.
    pub(super) fn hash_of_rule(&self, hasher: Keyed, rule: &[(usize, u64, u64)]) -> u64 {
        let mut rule = rule.iter();
        let words = self.words.iter().map(|&(index, mask)| {
            let word = rule.find(|(other, ..)| *other == usize::from(index));
            word.map_or(0, |(_, value, _)| value & mask)
        });
        hash_words(hasher, core::iter::once(self.seed).chain(words))
    }

    /// How deep packets must be parsed for the words that are hashed.
    pub(super) fn depth(&self) -> Depth {
        let mut mask = FlowMask::default();
        for &(index, bits) in &self.words {
            mask.0.words_mut()[usize::from(index)] = bits;
        }
        Depth::of(&mask)
    }

    fn bits(&self) -> u32 {
        self.words.iter().map(|(_, mask)| mask.count_ones()).sum()
    }

    /// The bits that both have.
    fn intersection(&self, subject: &Subject, other: &Probe) -> Probe {
        let words = self.words.iter().filter_map(|&(index, mask)| {
            let mut words = other.words.iter();
            let (_, theirs) = words.find(|(other, _)| *other == index)?;
            (mask & theirs != 0).then_some((index, mask & theirs))
        });
        Probe::new(subject, words)
    }
}

impl Kind {
    /// Of a change, to be noted next; of bits that are not `steady` nothing is told.
    pub(super) fn new(change: &Change<'_>, steady: &FlowMask) -> Kind {
        let matched: Box<[_]> = change.masks().collect();
        let kept = matched.iter().filter_map(|&(index, mask)| {
            let mask = mask & steady.0.words()[usize::from(index)];
            (mask != 0).then_some((index, mask))
        });
        let subject = Subject::of(change);
        Kind {
            last: 0,
            probe: Probe::new(&subject, kept),
            subject,
            matched,
        }
    }

    fn is_of(&self, change: &Change<'_>) -> bool {
        self.subject.is_like(change.scope, change.is_new)
            && self.matched.iter().copied().eq(change.masks())
    }
}

impl Group {
    /// With one kind, of which nothing has been noted.
    pub(super) fn new(kind: Kind) -> Group {
        Group {
            subject: kind.subject.clone(),
            last: 0,
            probe: kind.probe.clone(),
            probe_since: 0,
            kinds: vec![kind],
        }
    }

    /// Whether its stamps would say what those of its only kind do.
    fn is_single(&self) -> bool {
        self.kinds.len() == 1
    }

    /// Takes one more kind if it is much like all others, and says where.
    pub(super) fn join(&mut self, kind: &Kind) -> Option<usize> {
        if !self
            .subject
            .is_like(kind.subject.scope, kind.subject.is_new)
        {
            return None;
        }
        let probe = self.probe.intersection(&self.subject, &kind.probe);
        let bits = self.kinds.iter().map(|kind| kind.probe.bits());
        let most = bits.fold(kind.probe.bits(), u32::max);
        if probe.bits() + SPREAD_BITS_MAX < most {
            return None;
        }
        if probe.words != self.probe.words || self.is_single() {
            self.probe = probe;
            self.probe_since = self.last;
        }
        self.kinds.push(kind.clone());
        Some(self.kinds.len() - 1)
    }

    /// Notes a change of a kind, and says on which stamps it falls: those of the group, if they are
    /// used, and of the kind.
    pub(super) fn note(
        &mut self,
        at: usize,
        change: &Change<'_>,
        epoch: u64,
    ) -> (Option<&Probe>, &Probe) {
        let kind = &mut self.kinds[at];
        kind.last = epoch;
        kind.subject.add(change.priority);
        self.last = epoch;
        self.subject.add(change.priority);
        let rough = (!self.is_single()).then_some(&self.probe);
        (rough, &self.kinds[at].probe)
    }

    /// Whether a change is of this kind.
    pub(super) fn is_at(&self, kind: usize, change: &Change<'_>) -> bool {
        self.kinds.get(kind).is_some_and(|kind| kind.is_of(change))
    }

    /// The kind of a change.
    pub(super) fn place(&self, change: &Change<'_>) -> Option<usize> {
        self.kinds.iter().position(|kind| kind.is_of(change))
    }

    /// What all changes after an epoch have fallen on; `None` if not all have.
    #[inline(always)]
    pub(super) fn rough(&self, since: u64) -> Option<&Probe> {
        (since >= self.probe_since && !self.is_single()).then_some(&self.probe)
    }

    /// Which rules changed.
    #[inline(always)]
    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Epoch of the last change.
    #[inline(always)]
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    #[inline(always)]
    pub(super) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Number of kinds.
    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Epoch of the last change of the kind whose last change is the longest ago.
    pub(super) fn oldest(&self) -> u64 {
        let ages = self.kinds.iter().map(|kind| kind.last);
        ages.min().unwrap_or_default()
    }

    /// Forgets that kind.
    pub(super) fn forget_oldest(&mut self) {
        let oldest = self.oldest();
        if let Some(place) = self.kinds.iter().position(|kind| kind.last == oldest) {
            self.kinds.remove(place);
        }
    }
}

/// Bits that masks of a group may lack of the largest. The more, the fewer groups are asked, and
/// the more often all of a group's kinds are.
const SPREAD_BITS_MAX: u32 = 4;
