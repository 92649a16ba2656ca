//! Buffers that a guest offers: their first descriptors, and all of a chain's.
//!
//! `Head` is what the fast way through `receive` and `send` looks at; `Chain` is where all the
//! parts of a buffer are once its descriptors were followed, those of an indirect table too
//! (virtio 1.2 §2.7.5, §2.8.7, §2.8.8).

use arrayvec::ArrayVec;

use super::memory::{Memory, read_once};
use crate::BATCH_MAX;

/// The first descriptor of a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub address: u64,
    pub length: u32,
    /// What the buffer is called; of a packed ring's chain the last descriptor says so.
    pub id: u16,
    pub flags: u16,
    /// The descriptor that follows, of a split ring.
    pub next: u16,
}

/// First descriptors of the buffers to be used next.
pub(super) type Heads = ArrayVec<Head, BATCH_MAX>;

impl Head {
    /// A descriptor of a split ring or its indirect tables.
    #[inline]
    pub(super) fn of_split(id: u16, words: [u64; 2]) -> Head {
        Head {
            address: words[0],
            length: words[1] as u32,
            id,
            flags: (words[1] >> 32) as u16,
            next: (words[1] >> 48) as u16,
        }
    }

    /// A descriptor of a packed ring or its indirect tables.
    #[inline]
    pub(super) fn of_packed(words: [u64; 2]) -> Head {
        Head {
            address: words[0],
            length: words[1] as u32,
            id: (words[1] >> 32) as u16,
            flags: (words[1] >> 48) as u16,
            next: 0,
        }
    }

    /// Whether it is all of its buffer, for whom `access` says.
    #[inline]
    pub(super) fn is_whole(&self, access: Access) -> bool {
        self.flags & (NEXT | INDIRECT | WRITE) == access as u16
    }
}

/// For whom a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Access {
    /// We read it.
    Read = 0,
    /// We write it.
    Write = WRITE,
}

/// The ring cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// A chain that was followed to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walked {
    /// What its buffer is called.
    pub id: u16,
    /// What it takes up in the ring, as `Layout::head` counts.
    pub slots: u16,
}

/// The parts of one buffer or, for one frame, of several.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub parts: ArrayVec<Part, PARTS_MAX>,
    /// Bytes of all parts.
    pub length: usize,
    /// Something in it made no sense, so its parts are not to be used.
    pub bad: bool,
}

/// A part of a buffer, as far as it is in one piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub start: *mut u8,
    pub length: usize,
    /// The guest's address of it.
    pub guest: u64,
}

impl Chain {
    pub(super) fn clear(&mut self) {
        self.parts.clear();
        self.length = 0;
        self.bad = false;
    }

    /// Adds what one descriptor describes.
    pub(super) fn add(&mut self, memory: &Memory, head: &Head, access: Access) {
        let (mut guest, mut left) = (head.address, head.length as usize);
        if head.flags & WRITE != access as u16 {
            self.bad = true;
        }
        while left > 0 && !self.bad {
            let Some((start, found)) = memory.find_some(guest) else {
                self.bad = true;
                return;
            };
            let length = left.min(found);
            let part = Part {
                start,
                length,
                guest,
            };
            self.bad = self.parts.try_push(part).is_err();
            self.length += length;
            left -= length;
            guest = guest.wrapping_add(length as u64);
        }
    }

    /// Adds what an indirect table of a split ring describes.
    pub(super) fn add_split_table(&mut self, memory: &Memory, table: &Head, access: Access) {
        let Some(entries) = self.entries(table) else {
            return;
        };
        let mut index = 0;
        // As many steps as there are entries: a loop ends there.
        for _ in 0..entries {
            let Some(words) = self.entry(memory, table, index) else {
                return;
            };
            let entry = Head::of_split(0, words);
            self.bad |= entry.flags & INDIRECT != 0;
            self.add(memory, &entry, access);
            if self.bad || entry.flags & NEXT == 0 {
                return;
            }
            index = u32::from(entry.next);
            self.bad |= index >= entries;
        }
        self.bad = true;
    }

    /// Adds what an indirect table of a packed ring describes.
    pub(super) fn add_packed_table(&mut self, memory: &Memory, table: &Head, access: Access) {
        let Some(entries) = self.entries(table) else {
            return;
        };
        for index in 0..entries {
            let Some(words) = self.entry(memory, table, index) else {
                return;
            };
            let entry = Head::of_packed(words);
            self.bad |= entry.flags & INDIRECT != 0;
            self.add(memory, &entry, access);
            if self.bad {
                return;
            }
        }
    }

    /// How many entries a table has, at most as many as there may be parts.
    fn entries(&mut self, table: &Head) -> Option<u32> {
        let entries = table.length / DESCRIPTOR;
        let whole =
            table.length.is_multiple_of(DESCRIPTOR) && (1..=PARTS_MAX as u32).contains(&entries);
        self.bad |= !whole || table.flags & NEXT != 0;
        (!self.bad).then_some(entries)
    }

    fn entry(&mut self, memory: &Memory, table: &Head, index: u32) -> Option<[u64; 2]> {
        let offset = u64::from(index) * u64::from(DESCRIPTOR);
        let found = table.address.checked_add(offset);
        let found = found.and_then(|address| memory.find(address, DESCRIPTOR as usize));
        self.bad |= found.is_none();
        // SAFETY: 16 bytes of the guest's memory were found there.
        found.map(|start| unsafe { read_once(start) })
    }
}

/// The buffer goes on in another descriptor.
pub(super) const NEXT: u16 = 1;
/// We write it, else we read it.
pub(super) const WRITE: u16 = 2;
/// It is a table of descriptors.
pub(super) const INDIRECT: u16 = 4;
/// Bytes of a descriptor of any kind.
pub(super) const DESCRIPTOR: u32 = 16;
/// Parts of the buffers for one frame: 64 KiB in the smallest buffers that drivers offer, doubled.
pub(super) const PARTS_MAX: usize = 256;
