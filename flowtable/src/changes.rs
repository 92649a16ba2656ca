//! What changed lately: whether what was decided for a packet at one epoch may be otherwise at a
//! later one.
//!
//! What. [`Changes`] is told of every rule that comes or goes; a [`Changed`], published with the
//! rules, says of a packet's key whether any of them concerns it. The workers ask for an entry of
//! their cache that was made at an older epoch: if nothing concerns it, it is as good as new, and
//! the packet need not be translated again. It may err to the safe side alone.
//!
//! How. A table of stamps, each the epoch of the last change that fell on it. A change falls on
//! two stamps that the hash of its match chooses: of the words that it matches, under its mask. A
//! packet that it concerns agrees with it in these bits, so that hashing the key's words under the
//! same mask finds the same stamps. So a question costs a stamp for each mask among the late
//! changes, and another if that is late, however many changes there were; changes that fall on both
//! of a packet's stamps by chance make it be translated in vain.
//!
//! Masks that are almost the same, as of prefixes of about one length, are a group
//! ([`group`]), and their changes fall on one more stamp, of a table that is small: by the bits
//! that all of them have. Most often that stamp says already that none of them concerns a packet,
//! so with thirty lengths of prefixes changing a question costs half a dozen stamps close at hand.
//! And who has met rules of higher priority than any of a mask that changed need not ask for it.
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

use core::cmp::Reverse;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use crate::hash::Keyed;
use crate::{Depth, FlowKey, FlowMask, Match, Rule};

mod group;

use group::{Change, Group, Kind, Subject};

/// What a decision was made by: tables of rules, which the caller numbers as it likes (numbers fall
/// together modulo 64), and the lowest and the highest priority of the rules that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes {
    tables: u64,
    lightest: u16,
    heaviest: u16,
}

impl Default for Scopes {
    /// Nothing yet.
    fn default() -> Scopes {
        Scopes {
            tables: 0,
            lightest: u16::MAX,
            heaviest: 0,
        }
    }
}

impl Scopes {
    /// Adds one in which a rule of this priority decided; 0 if none did.
    #[inline(always)]
    pub fn add(&mut self, scope: u32, priority: u16) {
        self.tables |= 1 << (scope % u64::BITS);
        self.lightest = self.lightest.min(priority);
        self.heaviest = self.heaviest.max(priority);
    }

    /// Whether changes of such rules may matter: new ones that outweigh one that decided, or others
    /// that may be among those that did.
    #[inline(always)]
    fn may_depend_on(self, subject: &Subject) -> bool {
        self.tables >> (subject.scope % u64::BITS) & 1 == 1
            && self.lightest <= subject.heaviest
            && (subject.is_new || subject.lightest <= self.heaviest)
    }
}

/// Whether what was decided for a packet may be otherwise now.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Its key.
    pub key: &'a FlowKey,
    /// By which rules it was decided.
    pub scopes: Scopes,
    /// At which epoch.
    pub since: u64,
    /// The answer, once there is one ([`Changed::answer`]).
    pub is_concerned: bool,
}

/// The writer's side.
#[derive(Debug)]
pub struct Changes {
    shown: Changed,
    /// Header bits that no action rewrites.
    steady: FlowMask,
    /// The group and the kind of the last change, of those that went and of those that are new:
    /// most often those of the next.
    recent: [(usize, usize); 2],
    /// Changes since the last publication.
    unpublished: usize,
    /// Room for the words of a change.
    words: Vec<(usize, u64, u64)>,
    /// The stamp whose age is looked at next.
    hand: usize,
}

/// The readers' side. A clone copies pointers.
#[derive(Clone)]
pub struct Changed {
    hasher: Keyed,
    /// Of kinds.
    stamps: Stamps,
    /// Of groups.
    rough: Stamps,
    /// Those of the latest changes first, when it was published.
    groups: Arc<Vec<Group>>,
    /// How deep packets must be parsed for all bits that are asked for.
    depth: Depth,
    /// Everything may be otherwise than before this epoch.
    floor: u64,
}

/// Epochs by hashes: their lower halves, so that twice as many are at hand. Nobody may ask about a
/// time so long ago that later and earlier cannot be told from that ([`SINCE_MAX`]).
type Stamps = Arc<[AtomicU32]>;

impl Changes {
    /// Nothing has changed. Whoever does not know the secret cannot make rules that fall together.
    pub fn new(secret: u64) -> Changes {
        let mut steady = FlowMask::default();
        steady.0.words_mut()[FlowKey::HEADER_WORD..].fill(u64::MAX);
        let stamps = |count| (0..count).map(|_| AtomicU32::new(0)).collect();
        Changes {
            shown: Changed {
                hasher: Keyed::new(secret),
                stamps: stamps(STAMPS),
                rough: stamps(ROUGH_STAMPS),
                ..Changed::default()
            },
            steady,
            recent: [(0, 0); 2],
            unpublished: 0,
            words: Vec::new(),
            hand: 0,
        }
    }

    /// From `epoch` on there is a rule with this match and priority in a table.
    pub fn note_new(&mut self, scope: u32, matching: &Match, priority: u16, epoch: u64) {
        self.note((scope, true, priority), matching.words(), epoch);
    }

    /// From `epoch` on a rule of a table is not there, or does something else.
    pub fn note_old(&mut self, scope: u32, rule: &Rule<'_>, epoch: u64) {
        self.note((scope, false, rule.priority()), rule.words(), epoch);
    }

    /// Changes of rules since the last publication.
    pub fn unpublished(&self) -> usize {
        self.unpublished
    }

    fn note(
        &mut self,
        (scope, is_new, priority): (u32, bool, u16),
        rule: impl Iterator<Item = (usize, u64, u64)>,
        epoch: u64,
    ) {
        self.unpublished += 1;
        if self.shown.floor >= epoch {
            return;
        }
        let mut words = core::mem::take(&mut self.words);
        words.clear();
        words.extend(rule);
        let change = Change {
            scope,
            is_new,
            priority,
            words: &words,
        };
        self.note_change(&change, epoch);
        self.words = words;
    }

    fn note_change(&mut self, change: &Change<'_>, epoch: u64) {
        let (group, kind) = self.place(change);
        self.recent[usize::from(change.is_new)] = (group, kind);
        let shown = &mut self.shown;
        let group = &mut Arc::make_mut(&mut shown.groups)[group];
        let (rough, exact) = group.note(kind, change, epoch);
        let hash = exact.hash_of_rule(shown.hasher, change.words);
        for hash in [hash, hash.rotate_left(32)] {
            stamp(&shown.stamps, hash).store(epoch as u32, Ordering::Relaxed);
        }
        if let Some(rough) = rough {
            let hash = rough.hash_of_rule(shown.hasher, change.words);
            stamp(&shown.rough, hash).store(epoch as u32, Ordering::Relaxed);
        }
        self.forget_old(epoch);
    }

    /// Looks after one stamp of each table, and lets it be no older than it must be, so that none
    /// is ever so old that it looks late.
    fn forget_old(&mut self, epoch: u64) {
        let Some(oldest) = epoch.checked_sub(SINCE_MAX) else {
            return;
        };
        self.shown.floor = self.shown.floor.max(oldest);
        self.hand = self.hand.wrapping_add(1);
        for stamps in [&self.shown.stamps, &self.shown.rough] {
            let stamp = &stamps[self.hand % stamps.len()];
            let age = (epoch as u32).wrapping_sub(stamp.load(Ordering::Relaxed));
            if u64::from(age) > SINCE_MAX {
                stamp.store(oldest as u32, Ordering::Relaxed);
            }
        }
    }

    /// Something else changes with `epoch`: it concerns everybody.
    pub fn all(&mut self, epoch: u64) {
        self.shown.floor = epoch;
        self.shown.depth = Depth::Nothing;
        Arc::make_mut(&mut self.shown.groups).clear();
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
        let groups = &self.shown.groups;
        if !groups.is_sorted_by_key(|group| Reverse(group.last())) {
            Arc::make_mut(&mut self.shown.groups).sort_by_key(|group| Reverse(group.last()));
            self.recent = [(0, 0); 2];
        }
        self.unpublished = 0;
        self.shown.clone()
    }

    /// Group and kind of a change, made if they are new.
    fn place(&mut self, change: &Change<'_>) -> (usize, usize) {
        let groups = &self.shown.groups;
        let (group, kind) = self.recent[usize::from(change.is_new)];
        if groups.get(group).is_some_and(|it| it.is_at(kind, change)) {
            return (group, kind);
        }
        let mut places = groups.iter().enumerate();
        let place = places.find_map(|(at, group)| Some((at, group.place(change)?)));
        if let Some(place) = place {
            return place;
        }
        if groups.iter().map(Group::len).sum::<usize>() >= KINDS_MAX {
            self.forget_oldest();
        }
        let kind = Kind::new(change, &self.steady);
        self.shown.depth = self.shown.depth.max(kind.probe.depth());
        let groups = Arc::make_mut(&mut self.shown.groups);
        let mut places = groups.iter_mut().enumerate();
        if let Some(place) = places.find_map(|(at, group)| Some((at, group.join(&kind)?))) {
            return place;
        }
        groups.push(Group::new(kind));
        (groups.len() - 1, 0)
    }

    /// Forgets a kind: who asks about a time before its last change is told that it concerns them.
    fn forget_oldest(&mut self) {
        let groups = Arc::make_mut(&mut self.shown.groups);
        let ages = groups.iter().map(Group::oldest).enumerate();
        let Some((place, last)) = ages.min_by_key(|(_, last)| *last) else {
            return;
        };
        self.shown.floor = self.shown.floor.max(last);
        groups[place].forget_oldest();
        groups.retain(|group| group.len() > 0);
    }
}

impl Changed {
    /// How deep packets must be parsed for their keys to be asked about.
    #[inline]
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// Answers questions, change by change, so that the loads of the stamps of different packets
    /// overlap.
    pub fn answer(&self, questions: &mut [Question<'_>]) {
        let mut oldest = u64::MAX;
        for question in &mut *questions {
            question.is_concerned = question.since < self.floor;
            oldest = oldest.min(question.since);
        }
        let late = self.groups.iter().take_while(|group| group.last() > oldest);
        for group in late {
            for question in &mut *questions {
                question.is_concerned |= self.group_concerns(group, question);
            }
        }
    }

    #[inline(always)]
    fn group_concerns(&self, group: &Group, question: &Question<'_>) -> bool {
        let Question {
            key, scopes, since, ..
        } = *question;
        if group.last() <= since || !scopes.may_depend_on(group.subject()) {
            return false;
        }
        if let Some(probe) = group.rough(since)
            && !is_later(&self.rough, probe.hash(self.hasher, key), since)
        {
            return false;
        }
        let mut late = group.kinds().iter().filter(|kind| kind.last > since);
        late.any(|kind| scopes.may_depend_on(&kind.subject) && self.kind_concerns(kind, key, since))
    }

    #[inline(always)]
    fn kind_concerns(&self, kind: &Kind, key: &FlowKey, since: u64) -> bool {
        let hash = kind.probe.hash(self.hasher, key);
        is_later(&self.stamps, hash, since) && is_later(&self.stamps, hash.rotate_left(32), since)
    }
}

impl Default for Changed {
    /// Of a state in which nothing ever changed.
    fn default() -> Changed {
        Changed {
            hasher: Keyed::new(0),
            stamps: Arc::default(),
            rough: Arc::default(),
            groups: Arc::default(),
            depth: Depth::Nothing,
            floor: 0,
        }
    }
}

impl fmt::Debug for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: usize = self.groups.iter().map(Group::len).sum();
        write!(f, "{kinds} kinds of changes, all before {}", self.floor)
    }
}

/// Whether the last change that fell on the stamp of a hash is later than an epoch.
#[inline(always)]
fn is_later(stamps: &Stamps, hash: u64, since: u64) -> bool {
    let last = stamp(stamps, hash).load(Ordering::Relaxed);
    last.wrapping_sub(since as u32).cast_signed() > 0
}

#[inline(always)]
fn stamp(stamps: &Stamps, hash: u64) -> &AtomicU32 {
    &stamps[(hash >> 32) as usize & (stamps.len() - 1)]
}

/// Stamps of kinds: one in a thousand packets is translated in vain if two thousand changes come
/// between two packets of a flow, one in a hundred if it is eight thousand, a half of them at a
/// million changes a second and ten packets. Half a megabyte, so that the writer has them close at
/// hand.
const STAMPS: usize = 1 << 17;
/// Stamps of groups: so few that they stay close at hand, 32 KB. With hundreds of changes between
/// two packets of a flow one group in thirty is looked at in vain.
const ROUGH_STAMPS: usize = 1 << 13;
/// An epoch so much older than the last change is older than everything that is told: weeks, of a
/// cache entry that nobody used. Half of what tells later from earlier among lower halves.
const SINCE_MAX: u64 = 1 << 30;
const _: () = assert!(STAMPS.is_power_of_two() && ROUGH_STAMPS.is_power_of_two());
/// Kinds of changes that are told apart, those of the latest changes: two for each mask of rules
/// that both come and go.
const KINDS_MAX: usize = 256;
