//! A split ring (virtio 1.2 §2.7): descriptors, and one ring each of what the guest offers and of
//! what is done with.
//!
//! How far the guest has come is read only when what is known of it is used up: the line is the
//! guest's, and fetching it is what costs most.

use std::sync::atomic::{Ordering, fence};

use arrayvec::ArrayVec;

use super::chain::{Access, Broken, Chain, DESCRIPTOR, Head, INDIRECT, NEXT, Walked};
use super::memory::{Area, Memory, release};
use super::{Call, Layout, Log, need_event};
use crate::BATCH_MAX;

/// A split ring.
#[derive(Debug)]
pub(super) struct Split {
    descriptors: Area,
    available: Area,
    used: Area,
    /// Its size, a power of two, less one.
    mask: u16,
    /// The buffer to be used next, as `seen` counts.
    next: u16,
    /// How many buffers the guest had offered when that was looked at last.
    seen: u16,
    /// How many are done with, and of how many the guest knows that.
    done: u16,
    published: u16,
    /// The last of them, to be written at the end of a burst: the guest looks at the first line all
    /// the time, and takes it away when it is written.
    finished: ArrayVec<u64, BATCH_MAX>,
    /// The guest says by an index when it wants to be called.
    event_index: bool,
    /// Whether it was ever called.
    called: bool,
    call: Call,
}

/// Where a ring is, by the addresses at which it is mapped, and how far it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub descriptors: *mut u8,
    pub driver: *mut u8,
    pub device: *mut u8,
    pub size: u16,
    /// Of buffers to be used, and of buffers done with (vhost-user's `VHOST_USER_SET_VRING_BASE`).
    pub base: (u16, u16),
    pub event_index: bool,
    pub call: Call,
}

impl Split {
    /// `None` where it is not all in the guest's memory, or of a size that there is not.
    pub(super) fn new(memory: &Memory, place: &Place) -> Option<Split> {
        let size = usize::from(place.size);
        let event = if place.event_index { 2 } else { 0 };
        if !size.is_power_of_two() || size > SIZE_MAX {
            return None;
        }
        let (next, done) = place.base;
        let ring = Split {
            descriptors: memory.area(place.descriptors, size * DESCRIPTOR as usize, 16)?,
            available: memory.area(place.driver, RING + size * 2 + event, 2)?,
            used: memory.area(place.device, RING + size * ELEMENT + event, 4)?,
            mask: place.size - 1,
            next,
            seen: next,
            done,
            published: done,
            finished: ArrayVec::new(),
            event_index: place.event_index,
            called: false,
            call: place.call,
        };
        ring.quieten();
        Some(ring)
    }

    /// Tells the guest not to notify us: we poll.
    fn quieten(&self) {
        if self.event_index {
            // As far away as it can be.
            let event = RING + (usize::from(self.mask) + 1) * ELEMENT;
            let behind = self.next.wrapping_sub(1);
            self.used.u16(event).store(behind, Ordering::Relaxed);
        } else {
            self.used.u16(0).store(NO_NOTIFY, Ordering::Relaxed);
        }
    }

    #[inline]
    fn descriptor(&self, index: u16) -> Head {
        let offset = usize::from(index) * DESCRIPTOR as usize;
        let word = |at: usize| self.descriptors.u64(offset + at).load(Ordering::Relaxed);
        Head::of_split(index, [word(0), word(8)])
    }
}

impl Layout for Split {
    const APART: bool = true;

    #[inline]
    fn head(&mut self, ahead: u16) -> Result<Option<Head>, Broken> {
        if ahead >= self.seen.wrapping_sub(self.next) {
            // What the guest wrote before it moved the index on is seen after this.
            let seen = self.available.u16(INDEX).load(Ordering::Acquire);
            let offered = seen.wrapping_sub(self.next);
            if usize::from(offered) > usize::from(self.mask) + 1 {
                return Err(Broken);
            }
            self.seen = seen;
            if ahead >= offered {
                return Ok(None);
            }
        }
        let at = self.next.wrapping_add(ahead) & self.mask;
        let offset = RING + usize::from(at) * 2;
        let index = self.available.u16(offset).load(Ordering::Relaxed);
        if index > self.mask {
            return Err(Broken);
        }
        Ok(Some(self.descriptor(index)))
    }

    fn walk(
        &self,
        memory: &Memory,
        head: &Head,
        _ahead: u16,
        access: Access,
        chain: &mut Chain,
    ) -> Result<Walked, Broken> {
        let walked = Walked {
            id: head.id,
            slots: 1,
        };
        let mut descriptor = *head;
        // A chain has at most as many descriptors as the ring: a loop ends there.
        for _ in 0..=self.mask {
            if descriptor.flags & INDIRECT != 0 {
                chain.add_split_table(memory, &descriptor, access);
                return Ok(walked);
            }
            chain.add(memory, &descriptor, access);
            if chain.bad || descriptor.flags & NEXT == 0 {
                return Ok(walked);
            }
            if descriptor.next > self.mask {
                break;
            }
            descriptor = self.descriptor(descriptor.next);
        }
        chain.bad = true;
        Ok(walked)
    }

    #[inline]
    fn finish(&mut self, id: u16, written: u32, _slots: u16) {
        if self.finished.is_full() {
            self.write_finished();
        }
        self.finished.push(u64::from(id) | u64::from(written) << 32);
        self.done = self.done.wrapping_add(1);
        self.next = self.next.wrapping_add(1);
    }

    #[inline]
    fn publish(&mut self, log: Option<Log>) {
        let (old, new) = (self.published, self.done);
        if old == new {
            return;
        }
        self.write_finished();
        release(self.used.u16(INDEX), new);
        self.published = new;
        if let Some(log) = log {
            self.log(log, old);
        }
        // Either the guest sees the index, or we see that it wants to be called.
        fence(Ordering::SeqCst);
        let wanted = if self.event_index {
            let offset = RING + (usize::from(self.mask) + 1) * 2;
            let event = self.available.u16(offset).load(Ordering::Relaxed);
            let first = !std::mem::replace(&mut self.called, true);
            first || need_event(event, new, old)
        } else {
            self.available.u16(0).load(Ordering::Relaxed) & NO_INTERRUPT == 0
        };
        if wanted {
            self.call.call();
        }
    }

    fn base(&self) -> (u16, u16) {
        (self.next, self.done)
    }
}

impl Split {
    /// Writes the elements of what is finished.
    #[inline]
    fn write_finished(&mut self) {
        let first = self.done.wrapping_sub(self.finished.len() as u16);
        for (index, &element) in self.finished.iter().enumerate() {
            let at = usize::from(first.wrapping_add(index as u16) & self.mask);
            self.used.put(RING + at * ELEMENT, element);
        }
        self.finished.clear();
    }

    /// Marks what was written to the ring since so many buffers were done with.
    #[cold]
    fn log(&self, log: Log, mut from: u16) {
        while from != self.done {
            let at = u64::from(from & self.mask) * ELEMENT as u64;
            log.mark(self.used.guest + RING as u64 + at, ELEMENT);
            from = from.wrapping_add(1);
        }
        log.mark(self.used.guest, RING);
    }
}

/// Bytes before the elements of either ring: flags, and an index.
const RING: usize = 4;
/// Where the index is.
const INDEX: usize = 2;
/// Bytes of an element of the ring of what is done with.
const ELEMENT: usize = 8;
/// `VIRTQ_USED_F_NO_NOTIFY`.
const NO_NOTIFY: u16 = 1;
/// `VIRTQ_AVAIL_F_NO_INTERRUPT`.
const NO_INTERRUPT: u16 = 1;
/// The specification's (§2.7).
const SIZE_MAX: usize = 32_768;
