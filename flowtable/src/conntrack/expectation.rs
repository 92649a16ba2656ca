//! Connections that another one announces, as FTP's control connection does its data connections.
//!
//! A helper that reads the parent's packets says what will come; the first packet that fits is
//! related to the parent, takes over its mark and label, and is translated as the helper says. An
//! expectation is used once, by the packet that makes the connection, and ends after a while.
//!
//! Threads. A lock, which is only taken by packets that belong to no connection, and only while
//! anything is expected at all.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::limits::{EXPECTATION_TIMEOUT_S, EXPECTATIONS_MAX};
use super::nat::Nat;
use super::tuple::Tuple;

/// A connection that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Its original direction. A source port of 0, or a source address of zeros, is any.
    pub tuple: Tuple,
    /// How it is translated, in place of what the packet's action says, if that translates at all.
    pub nat: Option<Nat>,
}

/// An expectation with its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub nat: Option<Nat>,
    pub parent: u32,
    pub parent_generation: u32,
    pub deadline_s: u32,
}

/// All that is expected.
#[derive(Debug)]
pub(super) struct Expectations {
    map: RwLock<HashMap<Tuple, Expected>>,
    len: AtomicUsize,
}

impl Expectations {
    pub fn new() -> Expectations {
        Expectations {
            map: RwLock::new(HashMap::new()),
            len: AtomicUsize::new(0),
        }
    }

    /// Expects a connection; not if so many are expected already, or another parent expects one
    /// like it. One of the same parent is replaced.
    pub fn add(&self, expectation: &Expectation, parent: [u32; 2], now_s: u32) -> bool {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= EXPECTATIONS_MAX {
            map.retain(|_, expected| expected.deadline_s > now_s);
        }
        let is_others = map.get(&expectation.tuple).is_some_and(|expected| {
            let of = [expected.parent, expected.parent_generation];
            of != parent && expected.deadline_s > now_s
        });
        let has_room = map.len() < EXPECTATIONS_MAX && !is_others;
        if has_room {
            let [parent, parent_generation] = parent;
            let expected = Expected {
                nat: expectation.nat,
                parent,
                parent_generation,
                deadline_s: now_s.saturating_add(EXPECTATION_TIMEOUT_S),
            };
            map.insert(expectation.tuple, expected);
        }
        self.len.store(map.len(), Relaxed);
        has_room
    }

    /// What a packet is expected for.
    #[inline(always)]
    pub fn find(&self, tuple: &Tuple, now_s: u32) -> Option<(Tuple, Expected)> {
        if self.len.load(Relaxed) == 0 {
            return None;
        }
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let mut keys = patterns(tuple).into_iter();
        keys.find_map(|key| {
            let expected = map.get(&key).filter(|expected| expected.deadline_s > now_s);
            expected.map(|expected| (key, *expected))
        })
    }

    /// Takes an expectation that was found, if nobody else has.
    pub fn take(&self, key: &Tuple) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        map.remove(key);
        self.len.store(map.len(), Relaxed);
    }

    /// Forgets what is expected no more.
    pub fn expire(&self, now_s: u32) {
        if self.len.load(Relaxed) == 0 {
            return;
        }
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, expected| expected.deadline_s > now_s);
        self.len.store(map.len(), Relaxed);
    }

    pub fn len(&self) -> usize {
        self.len.load(Relaxed)
    }
}

/// What a packet can have been announced as, the most exact first.
fn patterns(tuple: &Tuple) -> [Tuple; 3] {
    let any_port = Tuple {
        src_port: 0,
        ..*tuple
    };
    let any_source = Tuple {
        src: [0; 2],
        ..any_port
    };
    [*tuple, any_port, any_source]
}
