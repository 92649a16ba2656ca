//! Sequence numbers of TCP connections in which translation has made data longer or shorter.
//!
//! An address in text may have other bytes than what takes its place; what one side sends after it
//! has other sequence numbers for the other side then, and acknowledgments the other way round. For
//! each direction is kept where the newest change is, and how much longer the data is before and
//! behind it: segments from before the change may still be repeated. Windows are followed in each
//! sender's own numbers, so that only acknowledgments have to be taken back for that.
//!
//! Threads. A lock, taken by packets of connections alone that have a flag in their state for it:
//! control connections of FTP through translation.

use core::sync::atomic::Ordering::Relaxed;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::limits::SHIFTS_MAX;
use super::packet::Segment;
use super::record::{Direction, SHIFTED};
use super::tracker::Tracker;
use super::tuple::Tuple;
use super::verdict::Handle;

/// What to add to the numbers of a TCP segment that goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// To the sequence number, wrapping.
    pub seq: u32,
    /// To the acknowledgment number and the edges of SACK blocks, wrapping.
    pub ack: u32,
}

/// By how much the data of a direction is longer.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    /// Sequence number of the newest changed segment.
    position: u32,
    /// Up to that, wrapping.
    before: u32,
    /// From there on, wrapping.
    after: u32,
}

/// All connections whose numbers are shifted.
#[derive(Debug, Default)]
pub(super) struct Shifts {
    map: RwLock<HashMap<[u32; 2], [Growth; 2]>>,
}

impl Growth {
    fn of_seq(&self, seq: u32) -> u32 {
        match is_before(self.position, seq) {
            true => self.after,
            false => self.before,
        }
    }

    /// For a number that the other side has seen shifted.
    fn of_shifted(&self, ack: u32) -> u32 {
        match is_before(self.position, ack.wrapping_sub(self.before)) {
            true => self.after,
            false => self.before,
        }
    }

    fn note(&mut self, seq: u32, change: u32) {
        if self.before == self.after || is_before(self.position, seq) {
            *self = Growth {
                position: seq,
                before: self.after,
                after: self.after.wrapping_add(change),
            };
        }
    }
}

impl Shifts {
    /// Notes that a segment of a direction has become longer. Returns whether there was room.
    fn note(&self, of: [u32; 2], direction: Direction, seq: u32, change: u32) -> bool {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let has_room = map.len() < SHIFTS_MAX || map.contains_key(&of);
        if has_room {
            map.entry(of).or_default()[direction as usize].note(seq, change);
        }
        has_room
    }

    /// What is to be added to a segment of a direction.
    pub fn of(&self, of: [u32; 2], direction: Direction, segment: &Segment) -> Shift {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let growths = map.get(&of).copied().unwrap_or_default();
        let (own, other) = (direction as usize, direction.turned() as usize);
        Shift {
            seq: growths[own].of_seq(segment.seq),
            ack: growths[other].of_shifted(segment.ack).wrapping_neg(),
        }
    }

    pub fn forget(&self, of: [u32; 2]) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        map.remove(&of);
    }
}

impl Tracker {
    /// Notes that a segment of a connection was made longer by so many bytes, wrapping.
    pub(super) fn lengthen(
        &mut self,
        handle: Handle,
        direction: Direction,
        seq: u32,
        change: u32,
    ) -> bool {
        let table = self.table();
        let of = [handle.number, handle.generation];
        if change == 0 {
            return true;
        }
        let has_room = table.shifts.note(of, direction, seq, change);
        if has_room {
            table.record(handle.number).change(SHIFTED, 0);
        }
        has_room
    }

    /// A connection's tuples before translation: that of a direction, and that of the other.
    pub(super) fn tuples(&self, handle: Handle, direction: Direction) -> Option<(Tuple, Tuple)> {
        let record = self.table().record(handle.number);
        let is_there = record.generation.load(Relaxed) == handle.generation;
        let (original, reply) = (record.original(), record.reply());
        is_there.then_some(match direction {
            Direction::Original => (original, reply),
            Direction::Reply => (reply, original),
        })
    }
}

fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(seq: u32, ack: u32) -> Segment {
        Segment {
            seq,
            ack,
            sack: ack,
            ..Segment::default()
        }
    }

    #[test]
    fn what_follows_a_change_is_shifted_and_what_is_repeated_is_not() {
        let shifts = Shifts::default();
        let of = [5, 1];
        let start = u32::MAX - 10;
        assert!(shifts.note(of, Direction::Original, start, 3));
        // The same segment again is the same change.
        assert!(shifts.note(of, Direction::Original, start, 3));
        let seq = |seq: u32| shifts.of(of, Direction::Original, &segment(seq, 0)).seq;
        assert_eq!((seq(start), seq(start.wrapping_add(20))), (0, 3));
        let ack = |ack: u32| shifts.of(of, Direction::Reply, &segment(0, ack)).ack;
        assert_eq!(ack(start), 0);
        assert_eq!(ack(start.wrapping_add(23)), 3_u32.wrapping_neg());
        let second = start.wrapping_add(20);
        assert!(shifts.note(of, Direction::Original, second, 5_u32.wrapping_neg()));
        assert_eq!(
            (seq(second), seq(second.wrapping_add(1))),
            (3, 2_u32.wrapping_neg())
        );
        assert_eq!(ack(second.wrapping_add(3)), 3_u32.wrapping_neg());
        assert_eq!(ack(second.wrapping_add(8)), 2);
        shifts.forget(of);
        assert_eq!(seq(second), 0);
    }

    #[test]
    fn there_are_so_many_at_most() {
        let shifts = Shifts::default();
        let note = |number| shifts.note([number, 1], Direction::Reply, 0, 1);
        assert!((0..SHIFTS_MAX as u32).all(note));
        assert!(!note(SHIFTS_MAX as u32) && note(0));
    }
}
