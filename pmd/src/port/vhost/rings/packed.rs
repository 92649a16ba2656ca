//! A packed ring (virtio 1.2 §2.8): one ring of descriptors, which the guest offers and we give
//! back in place. Whose turn a descriptor's is, two of its flags say, whose meaning is turned round
//! at each lap.
//!
//! The first descriptor given back in a burst is written last, so that the guest sees all of them
//! or none, however many a frame takes.

use std::sync::atomic::{Ordering, fence};

use arrayvec::ArrayVec;

use super::chain::{Access, Broken, Chain, DESCRIPTOR, Head, INDIRECT, NEXT, WRITE, Walked};
use super::memory::{Area, Memory};
use super::split::Place;
use super::{Call, Layout, Log, need_event};
use crate::BATCH_MAX;

/// A packed ring.
#[derive(Debug)]
pub(super) struct Packed {
    descriptors: Area,
    /// When the guest wants to be called.
    driver: Area,
    size: u16,
    next: Position,
    /// Descriptors to be given back in this burst, with their second halves: written at its end,
    /// since the guest, which looks there all the time, takes each line away that is written.
    finished: ArrayVec<(u16, u64), BATCH_MAX>,
    published: Position,
    event_index: bool,
    /// Whether it was ever called.
    called: bool,
    call: Call,
}

/// A place in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    slot: u16,
    /// The lap's wrap counter, 1 in the first.
    wrap: bool,
}

impl Position {
    /// As vhost-user tells it.
    fn of(base: u16) -> Position {
        Position {
            slot: base & SLOT,
            wrap: base & !SLOT != 0,
        }
    }

    fn base(self) -> u16 {
        self.slot | u16::from(self.wrap) << 15
    }

    /// So many slots on, at most a lap.
    #[inline]
    fn plus(self, slots: u16, size: u16) -> Position {
        let slot = u32::from(self.slot) + u32::from(slots);
        match slot.checked_sub(u32::from(size)) {
            None => Position {
                slot: slot as u16,
                wrap: self.wrap,
            },
            Some(slot) => Position {
                slot: slot as u16,
                wrap: !self.wrap,
            },
        }
    }
}

impl Packed {
    /// `None` where it is not all in the guest's memory, or of a size that there is not.
    pub(super) fn new(memory: &Memory, place: &Place) -> Option<Packed> {
        let size = usize::from(place.size);
        let next = Position::of(place.base.0);
        if size == 0 || size > SIZE_MAX || next.slot >= place.size {
            return None;
        }
        let device = memory.area(place.device, EVENT, 4)?;
        // We poll.
        device.u16(FLAGS).store(DISABLE, Ordering::Relaxed);
        Some(Packed {
            descriptors: memory.area(place.descriptors, size * DESCRIPTOR as usize, 16)?,
            driver: memory.area(place.driver, EVENT, 4)?,
            size: place.size,
            next,
            finished: ArrayVec::new(),
            published: next,
            event_index: place.event_index,
            called: false,
            call: place.call,
        })
    }

    #[inline]
    fn offset(slot: u16) -> usize {
        usize::from(slot) * DESCRIPTOR as usize
    }

    /// What is at a slot, if it is the guest's turn no more.
    #[inline]
    fn offered(&self, at: Position) -> Option<Head> {
        let offset = Self::offset(at.slot);
        // What the guest wrote before the flags is seen after this.
        let second = self.descriptors.u64(offset + 8).load(Ordering::Acquire);
        let flags = (second >> 48) as u16;
        let (available, used) = (flags & AVAILABLE != 0, flags & USED != 0);
        if available != at.wrap || used == at.wrap {
            return None;
        }
        let first = self.descriptors.u64(offset).load(Ordering::Relaxed);
        Some(Head::of_packed([first, second]))
    }

    /// Whether the guest wants to be called for what was given back from `old` on.
    #[inline]
    fn is_call_wanted(&mut self, old: Position) -> bool {
        let flags = self.driver.u16(FLAGS).load(Ordering::Acquire);
        let first = !std::mem::replace(&mut self.called, true);
        if !self.event_index || flags != AT_EVENT {
            return flags != DISABLE;
        }
        let event = Position::of(self.driver.u16(0).load(Ordering::Relaxed));
        // All three as counted from the lap that we are in.
        let in_lap = |at: Position| {
            let back = if at.wrap == self.next.wrap {
                0
            } else {
                self.size
            };
            at.slot.wrapping_sub(back)
        };
        first || need_event(in_lap(event), self.next.slot, in_lap(old))
    }

    /// Writes what is finished but the first, which alone is left then.
    #[inline]
    fn write_all_but_first(&mut self) {
        for &(slot, second) in self.finished.iter().skip(1) {
            let to = self.descriptors.u64(Self::offset(slot) + 8);
            to.store(second, Ordering::Relaxed);
        }
        self.finished.truncate(1);
    }

    /// Marks what was written to the ring from a slot on.
    #[cold]
    fn log(&self, log: Log, mut from: Position) {
        while from != self.next {
            let at = Self::offset(from.slot) as u64;
            log.mark(self.descriptors.guest + at, DESCRIPTOR as usize);
            from = from.plus(1, self.size);
        }
    }
}

impl Layout for Packed {
    const APART: bool = false;

    #[inline]
    fn head(&mut self, ahead: u16) -> Result<Option<Head>, Broken> {
        if ahead >= self.size {
            return Ok(None);
        }
        Ok(self.offered(self.next.plus(ahead, self.size)))
    }

    fn walk(
        &self,
        memory: &Memory,
        head: &Head,
        ahead: u16,
        access: Access,
        chain: &mut Chain,
    ) -> Result<Walked, Broken> {
        if head.flags & INDIRECT != 0 {
            chain.add_packed_table(memory, head, access);
            return Ok(Walked {
                id: head.id,
                slots: 1,
            });
        }
        let mut descriptor = *head;
        for slots in 1..=self.size - ahead {
            chain.bad |= descriptor.flags & INDIRECT != 0;
            chain.add(memory, &descriptor, access);
            if descriptor.flags & NEXT == 0 {
                let id = descriptor.id;
                return Ok(Walked { id, slots });
            }
            let at = self.next.plus((ahead + slots) % self.size, self.size);
            let offset = Self::offset(at.slot);
            let word = |at: usize| self.descriptors.u64(offset + at).load(Ordering::Relaxed);
            descriptor = Head::of_packed([word(0), word(8)]);
        }
        // Longer than the ring: where the next buffer starts nobody can say.
        Err(Broken)
    }

    #[inline]
    fn finish(&mut self, id: u16, written: u32, slots: u16) {
        let turn = if self.next.wrap { AVAILABLE | USED } else { 0 };
        let flags = turn | if written > 0 { WRITE } else { 0 };
        let second = u64::from(written) | u64::from(id) << 32 | u64::from(flags) << 48;
        if self.finished.is_full() {
            self.write_all_but_first();
        }
        self.finished.push((self.next.slot, second));
        self.next = self.next.plus(slots, self.size);
    }

    #[inline]
    fn publish(&mut self, log: Option<Log>) {
        self.write_all_but_first();
        let Some((slot, second)) = self.finished.pop() else {
            return;
        };
        let to = self.descriptors.u64(Self::offset(slot) + 8);
        to.store(second, Ordering::Release);
        let old = std::mem::replace(&mut self.published, self.next);
        if let Some(log) = log {
            self.log(log, old);
        }
        // Either the guest sees the descriptor, or we see that it wants to be called.
        fence(Ordering::SeqCst);
        if self.is_call_wanted(old) {
            self.call.call();
        }
    }

    fn base(&self) -> (u16, u16) {
        (self.next.base(), self.next.base())
    }
}

/// The bits of a place that vhost-user tells which are its slot.
const SLOT: u16 = 0x7fff;
/// `VIRTQ_DESC_F_AVAIL`.
const AVAILABLE: u16 = 1 << 7;
/// `VIRTQ_DESC_F_USED`.
const USED: u16 = 1 << 15;
/// Bytes of either area that says who wants to be told when, and where its flags are.
const EVENT: usize = 4;
const FLAGS: usize = 2;
/// `RING_EVENT_FLAGS_DISABLE`.
const DISABLE: u16 = 1;
/// `RING_EVENT_FLAGS_DESC`.
const AT_EVENT: u16 = 2;
/// The specification's (§2.8).
const SIZE_MAX: usize = 32_768;
