//! What changed lately: whether what was decided for a packet at one epoch may be otherwise at a
//! later one.
//!
//! What. [`Changes`] is told of every rule that comes or goes; a [`Changed`], published with the
//! rules, says of a packet's key whether any of them concerns it. The workers ask for an entry of
//! their cache that was made at an older epoch: if nothing concerns it, it is as good as new, and
//! the packet need not be translated again. It may err to the safe side alone.
//!
//! How. A table of stamps, each the epoch of the last change that fell on it. A change falls on
//! the stamp that the hash of its match chooses: of the words that it matches, under its mask. A
//! packet that it concerns agrees with it in these bits, so that hashing the key's words under the
//! same mask finds the same stamp. So a question costs one stamp for each mask among the late
//! changes, however many changes there were; changes that share a stamp by chance make a packet be
//! translated in vain.
//!
//! Bits that actions rewrite are left out of the masks, since a rule sees them as they are when the
//! packet gets to it, and the cache knows them as they were when it came in. So is metadata, for
//! the same reason. What no match tells (ports, groups, meters) concerns everybody
//! ([`Changes::all`]).
//!
//! Why not simpler. One epoch for all rules makes every entry be translated anew for each change;
//! with a hundred thousand flows in use and two hundred publications a second there is nothing
//! else left to do. One for each table does no better where all the rules are in one. Looking for
//! the entries that a change concerns takes a walk through the cache.
//!
//! Threads. One writer. Any number of readers, each at the epoch of the state that came with its
//! [`Changed`]: stamps are atomic, and a change that such a reader need not know yet can only make
//! it err to the safe side.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::hash::{Keyed, Stream, hash_words};
use crate::{FlowKey, FlowMask, Match, Rule};

/// Tables of rules: the caller numbers them as it likes, numbers fall together modulo 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u64);

impl Scopes {
    /// Adds one.
    #[inline(always)]
    pub fn add(&mut self, scope: u32) {
        self.0 |= 1 << (scope % u64::BITS);
    }

    #[inline(always)]
    fn has(self, scope: u32) -> bool {
        self.0 >> (scope % u64::BITS) & 1 == 1
    }
}

/// The writer's side.
#[derive(Debug)]
pub struct Changes {
    shown: Changed,
    /// Header bits that no action rewrites.
    steady: FlowMask,
    /// The kind of the last change: most often that of the next.
    recent: usize,
}

/// The readers' side. A clone copies pointers.
#[derive(Clone)]
pub struct Changed {
    hasher: Keyed,
    stamps: Arc<[AtomicU64]>,
    /// Those of the latest changes first, when it was published.
    kinds: Arc<Vec<Kind>>,
    /// Everything may be otherwise than before this epoch.
    floor: u64,
}

/// Changes of rules in one scope with the same mask.
#[derive(Clone, Debug)]
struct Kind {
    /// Epoch of the last one.
    last: u64,
    scope: u32,
    /// Hashed before the words, so that kinds do not fall together.
    seed: u64,
    /// Index and mask of the words that are hashed.
    words: Arc<[(u8, u64)]>,
    /// Index and mask of the words that the rules match.
    matched: Arc<[(u8, u64)]>,
}

impl Changes {
    /// Nothing has changed. Whoever does not know the secret cannot make rules that fall together.
    pub fn new(secret: u64) -> Changes {
        let mut steady = FlowMask::default();
        steady.0.words_mut()[FlowKey::HEADER_WORD..].fill(u64::MAX);
        Changes {
            shown: Changed {
                hasher: Keyed::new(secret),
                stamps: (0..STAMPS).map(|_| AtomicU64::new(0)).collect(),
                kinds: Arc::default(),
                floor: 0,
            },
            steady,
            recent: 0,
        }
    }

    /// A rule with this match came, went, or does something else from `epoch` on, in a table.
    pub fn note(&mut self, scope: u32, matching: &Match, epoch: u64) {
        self.note_words(scope, matching.words(), epoch);
    }

    /// The same for a rule that is there.
    pub fn note_rule(&mut self, scope: u32, rule: &Rule<'_>, epoch: u64) {
        self.note_words(scope, rule.words(), epoch);
    }

    fn note_words(
        &mut self,
        scope: u32,
        words: impl Iterator<Item = (usize, u64, u64)> + Clone,
        epoch: u64,
    ) {
        if self.shown.floor >= epoch {
            return;
        }
        let place = self.place(scope, words.clone());
        let kind = &mut Arc::make_mut(&mut self.shown.kinds)[place];
        kind.last = epoch;
        self.recent = place;
        let mut values = words;
        let hashed = kind.words.iter().map(|&(index, mask)| {
            let value = values.find(|(other, _, _)| *other == usize::from(index));
            value.map_or(0, |(_, value, _)| value) & mask
        });
        let stamp = stamp(self.shown.hasher, kind.seed, hashed);
        self.shown.stamps[stamp].store(epoch, Ordering::Relaxed);
    }

    /// Something else changes with `epoch`: it concerns everybody.
    pub fn all(&mut self, epoch: u64) {
        self.shown.floor = epoch;
        Arc::make_mut(&mut self.shown.kinds).clear();
    }

    /// From `epoch` on some action may rewrite these bits.
    pub fn rewritten(&mut self, mask: &FlowMask, epoch: u64) {
        let mut news = false;
        for (steady, rewritten) in self.steady.0.words_mut().iter_mut().zip(mask.0.words()) {
            news |= *steady & rewritten != 0;
            *steady &= !rewritten;
        }
        if news {
            self.all(epoch);
        }
    }

    /// What readers of the state that is published next are given.
    pub fn publish(&mut self) -> Changed {
        let kinds = &self.shown.kinds;
        if !kinds.is_sorted_by_key(|kind| core::cmp::Reverse(kind.last)) {
            Arc::make_mut(&mut self.shown.kinds).sort_by_key(|kind| core::cmp::Reverse(kind.last));
            self.recent = 0;
        }
        self.shown.clone()
    }

    /// Where the kind of a change is, made if it is new.
    fn place(
        &mut self,
        scope: u32,
        words: impl Iterator<Item = (usize, u64, u64)> + Clone,
    ) -> usize {
        let is_it = |kind: &Kind| {
            let masks = words.clone().map(|(index, _, mask)| (index as u8, mask));
            kind.scope == scope && kind.matched.iter().copied().eq(masks)
        };
        let kinds = &self.shown.kinds;
        if kinds.get(self.recent).is_some_and(is_it) {
            return self.recent;
        }
        if let Some(place) = kinds.iter().position(is_it) {
            return place;
        }
        let kind = self.new_kind(scope, words);
        let kinds = Arc::make_mut(&mut self.shown.kinds);
        if kinds.len() < KINDS_MAX {
            kinds.push(kind);
            return kinds.len() - 1;
        }
        let ages = kinds
            .iter()
            .enumerate()
            .map(|(place, kind)| (kind.last, place));
        let (last, place) = ages.min().unwrap_or_default();
        self.shown.floor = self.shown.floor.max(last);
        kinds[place] = kind;
        place
    }

    fn new_kind(&self, scope: u32, words: impl Iterator<Item = (usize, u64, u64)> + Clone) -> Kind {
        let matched: Arc<[_]> = words.map(|(index, _, mask)| (index as u8, mask)).collect();
        let steady = matched.iter().filter_map(|&(index, mask)| {
            let mask = mask & self.steady.0.words()[usize::from(index)];
            (mask != 0).then_some((index, mask))
        });
        let start = Stream(scope.into()).next();
        let seed = matched.iter().fold(start, |seed, &(index, mask)| {
            Stream(seed ^ Stream(mask ^ Stream(index.into()).next()).next()).next()
        });
        Kind {
            last: 0,
            scope,
            seed,
            words: steady.collect(),
            matched,
        }
    }
}

impl Changed {
    /// Whether what was decided at epoch `since` for packets with this key, by rules of `scopes`,
    /// may be otherwise now.
    #[inline]
    pub fn concerns(&self, key: &FlowKey, scopes: Scopes, since: u64) -> bool {
        let late = self.kinds.iter().take_while(|kind| kind.last > since);
        let mut kinds = late.filter(|kind| scopes.has(kind.scope));
        since < self.floor || kinds.any(|kind| self.last(kind, key) > since)
    }

    /// Epoch of the last change of a kind that may concern a packet.
    fn last(&self, kind: &Kind, key: &FlowKey) -> u64 {
        let words = kind.words.iter();
        let words = words.map(|&(index, mask)| key.words()[usize::from(index)] & mask);
        self.stamps[stamp(self.hasher, kind.seed, words)].load(Ordering::Relaxed)
    }
}

impl Default for Changed {
    /// Of a state in which nothing ever changed.
    fn default() -> Changed {
        Changed {
            hasher: Keyed::new(0),
            stamps: Arc::default(),
            kinds: Arc::default(),
            floor: 0,
        }
    }
}

impl fmt::Debug for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.kinds.len();
        write!(f, "{kinds} kinds of changes, all before {}", self.floor)
    }
}

#[inline(always)]
fn stamp(hasher: Keyed, seed: u64, words: impl Iterator<Item = u64>) -> usize {
    (hash_words(hasher, core::iter::once(seed).chain(words)) >> 32) as usize % STAMPS
}

/// Stamps: one in a few hundred packets is translated in vain if so few changes as hundreds come
/// between two packets of a flow; a half of them at a million changes a second and ten packets. A
/// megabyte.
const STAMPS: usize = 1 << 17;
/// Kinds of changes that are told apart, those of the latest changes. A question looks at all that
/// are later than what it asks about.
const KINDS_MAX: usize = 64;
