//! Packets whose way was interrupted for a controller (ovs-actions(7), `controller(pause)`): how
//! each goes on is kept here, and the controller is given a number for it. So a controller cannot
//! make the switch do what no flow says.
//!
//! What is kept depends on rules, so that packets that take the same way share a number, which may
//! be used any number of times. Of more ways than can be kept the one that was kept first is
//! forgotten; a controller that comes with its number is told that it is stale.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::pipeline::Frozen;

/// How interrupted packets go on.
#[derive(Debug)]
pub struct Continuations {
    next: u64,
    kept: HashMap<u64, Arc<Frozen>>,
    numbers: HashMap<Arc<Frozen>, u64>,
    order: VecDeque<u64>,
}

impl Default for Continuations {
    /// None; the first number is nobody's guess, nor one of a switch that ran before.
    fn default() -> Continuations {
        Continuations {
            next: RandomState::new().hash_one(0),
            kept: HashMap::new(),
            numbers: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl Continuations {
    /// The bytes that stand for a way on.
    pub fn keep(&mut self, frozen: &Arc<Frozen>) -> Vec<u8> {
        if let Some(number) = self.numbers.get(frozen) {
            return property(*number);
        }
        if self.order.len() == CONTINUATIONS_MAX
            && let Some(oldest) = self.order.pop_front()
            && let Some(frozen) = self.kept.remove(&oldest)
        {
            self.numbers.remove(&frozen);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.kept.insert(number, Arc::clone(frozen));
        self.numbers.insert(Arc::clone(frozen), number);
        self.order.push_back(number);
        property(number)
    }

    /// The way on that bytes stand for.
    pub fn find(&self, bytes: &[u8]) -> Option<&Arc<Frozen>> {
        let (head, number) = bytes.split_at_checked(HEAD.len())?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        self.kept.get(&number).filter(|_| head == HEAD)
    }
}

/// A number as the one property that controllers take it for.
fn property(number: u64) -> Vec<u8> {
    [HEAD, number.to_be_bytes()].concat()
}

/// A type that Open vSwitch has no name for, the length of the property, and padding.
const HEAD: [u8; 8] = [0xff, 0, 0, 16, 0, 0, 0, 0];

/// Ways on that are kept: a few hundred bytes each. A way differs by the flow that interrupts and
/// by what registers hold.
const CONTINUATIONS_MAX: usize = 65_536;
