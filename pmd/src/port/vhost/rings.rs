//! A guest's ring: frames in and out of the memory that it shares with us.
//!
//! # What
//! DPDK's vhost library speaks vhost-user; rings and buffers are ours. `memory` turns what the
//! guest calls an address into one that is safe here, `split` and `packed` know the two layouts of
//! a ring (virtio 1.2 §2.7, §2.8), `chain` follows the descriptors of a buffer, `receive` and
//! `send` move a burst of frames through either, `copy` copies.
//!
//! # How
//! A burst looks at the descriptors of all its buffers first, then copies, having the CPU fetch
//! what the next ones describe meanwhile, then tells the guest once. That is the fast way, for
//! frames that fit one descriptor with their header before them; any other goes a general one
//! (chains, indirect tables, a frame in several buffers, buffers across regions of memory) between
//! two parts of the burst.
//!
//! What it costs is lines that the guest's CPU has: each that is written is taken away from it, so
//! nothing is written that is there already, what the guest polls is written once a burst, and
//! the headers of its frames are read only if it may leave work to us.
//!
//! # What a guest may do
//! Anything, at any time. Each field of the ring is read once, by an atomic operation, and checked
//! before it is used. A buffer that makes no sense costs its frame, counted; a ring that cannot be
//! followed, where it says that it offers more than it holds, is left alone until it is set up
//! again, and control says so. Each step moves on or ends, so no loop outlasts a burst.
//!
//! # Who keeps the memory
//! A ring is in a `guest::Gate`, which the thread of the library empties before anything that it
//! was made from changes: addresses, memory, the file descriptor by which the guest is called.

use std::os::fd::RawFd;

use self::chain::{Access, Broken, Chain, Head, Heads, NEXT, Walked};
use self::memory::Memory;
pub(super) use self::memory::Region;
use self::packed::Packed;
use self::split::{Place, Split};
use crate::ffi;

mod chain;
mod copy;
mod memory;
mod packed;
mod receive;
mod send;
mod split;
#[cfg(test)]
mod tests;

/// A ring of a guest's.
#[derive(Debug)]
pub(super) struct Ring(Kind);

/// A ring of either layout.
#[derive(Debug)]
enum Kind {
    /// Descriptors and two rings of their numbers.
    Split(Box<Queue<Split>>),
    /// One ring of descriptors.
    Packed(Box<Queue<Packed>>),
}

// SAFETY: the pointers in it are into memory that any thread may use; one at a time has a ring.
unsafe impl Send for Ring {}

/// A ring, and what its frames need.
#[derive(Debug)]
struct Queue<L> {
    layout: L,
    memory: Memory,
    /// Bytes before each frame (virtio 1.2 §5.1.6).
    header_len: usize,
    /// A frame may be in several buffers.
    mergeable: bool,
    /// The guest may leave checksums and segmentation to us: headers of its frames are to be read.
    leaves_work: bool,
    /// The guest is being moved: what is written is to be marked.
    log: Option<Log>,
    /// It could not be followed any further.
    broken: bool,
    /// Where the parts of a frame are collected that is not in one descriptor.
    chain: Box<Chain>,
}

/// What is known of a device.
#[derive(Clone, Debug)]
pub(super) struct Device {
    vid: i32,
    features: u64,
    regions: Vec<Region>,
}

impl Device {
    /// As the library knows it now.
    ///
    /// # Safety
    /// Called in a callback of the library's for this device, which has a memory table.
    pub(super) unsafe fn of(vid: i32) -> Option<Device> {
        let (mut features, mut table) = (0, std::ptr::null_mut());
        // SAFETY: as the caller promises. The table is a copy, for us to free, with as many
        // regions behind it as it says.
        let regions = unsafe {
            ffi::rte_vhost_get_negotiated_features(vid, &mut features);
            if ffi::rte_vhost_get_mem_table(vid, &mut table) != 0 || table.is_null() {
                return None;
            }
            let first = (&raw const (*table).regions).cast::<ffi::rte_vhost_mem_region>();
            let regions = std::slice::from_raw_parts(first, (*table).nregions as usize);
            let regions = regions.iter().map(|region| Region {
                guest: region.guest_phys_addr,
                size: region.size,
                host: region.host_user_addr as *mut u8,
            });
            let regions = regions.collect();
            libc::free(table.cast());
            regions
        };
        Some(Device {
            vid,
            features,
            regions,
        })
    }

    /// What was negotiated.
    pub(super) fn features(&self) -> u64 {
        self.features
    }

    fn has(&self, feature: u32) -> bool {
        self.features & 1 << feature != 0
    }

    /// One of its rings, if that is all there.
    ///
    /// # Safety
    /// Called in the callback that the device was asked in. The ring is dropped before the library
    /// changes the device: before it handles another message, and before the device goes.
    pub(super) unsafe fn ring(&self, number: u16) -> Option<Ring> {
        let (mut vring, mut base) = (ffi::rte_vhost_vring::default(), (0, 0));
        // SAFETY: as the caller promises; all pointers outlive the calls. Members of the unions are
        // pointers all.
        let place = unsafe {
            if ffi::rte_vhost_get_vhost_vring(self.vid, number, &mut vring) != 0
                || ffi::rte_vhost_get_vring_base(self.vid, number, &mut base.0, &mut base.1) != 0
            {
                return None;
            }
            Place {
                descriptors: vring.__bindgen_anon_1.desc.cast(),
                driver: vring.__bindgen_anon_2.avail.cast(),
                device: vring.__bindgen_anon_3.used.cast(),
                size: vring.size,
                base,
                event_index: self.has(EVENT_INDEX),
                call: Call(vring.callfd),
            }
        };
        // SAFETY: the library has the regions mapped until it is told to change them.
        let memory = unsafe { Memory::new(&self.regions) };
        self.ring_at(memory, &place)
    }

    fn ring_at(&self, memory: Memory, place: &Place) -> Option<Ring> {
        if self.has(PACKED) {
            let layout = Packed::new(&memory, place)?;
            Some(Ring(Kind::Packed(Box::new(self.queue(layout, memory)))))
        } else {
            let layout = Split::new(&memory, place)?;
            Some(Ring(Kind::Split(Box::new(self.queue(layout, memory)))))
        }
    }

    fn queue<L>(&self, layout: L, memory: Memory) -> Queue<L> {
        let mergeable = self.has(ffi::VIRTIO_NET_F_MRG_RXBUF);
        let counts = mergeable || self.has(VERSION_1);
        Queue {
            layout,
            memory,
            header_len: if counts { HEADER } else { HEADER - 2 },
            mergeable,
            // Segmentation is not to be had without it (virtio 1.2 §5.1.3.1).
            leaves_work: self.has(ffi::VIRTIO_NET_F_CSUM),
            log: self.has(LOG_ALL).then_some(Log(self.vid)),
            broken: false,
            chain: Box::default(),
        }
    }
}

impl Ring {
    /// How far it is: of buffers to be used, and of buffers done with.
    pub(super) fn base(&self) -> (u16, u16) {
        match &self.0 {
            Kind::Split(queue) => queue.layout.base(),
            Kind::Packed(queue) => queue.layout.base(),
        }
    }

    /// Whether it could not be followed any further.
    #[inline]
    pub(super) fn is_broken(&self) -> bool {
        match &self.0 {
            Kind::Split(queue) => queue.broken,
            Kind::Packed(queue) => queue.broken,
        }
    }
}

/// How descriptors are laid out in a ring.
trait Layout {
    /// Each buffer takes one place in the ring, so where the next ones are is known beforehand.
    const APART: bool;

    /// The first descriptor of the buffer that is so far ahead, if the guest has offered it.
    fn head(&mut self, ahead: u16) -> Result<Option<Head>, Broken>;

    /// Collects all parts of a buffer.
    fn walk(
        &self,
        memory: &Memory,
        head: &Head,
        ahead: u16,
        access: Access,
        chain: &mut Chain,
    ) -> Result<Walked, Broken>;

    /// Gives the next buffer back, with so many bytes written to it. Told to the guest later.
    fn finish(&mut self, id: u16, written: u32, slots: u16);

    /// Tells the guest what was given back, and calls it where it wants that.
    fn publish(&mut self, log: Option<Log>);

    /// As `Ring::base`.
    fn base(&self) -> (u16, u16);
}

impl<L: Layout> Queue<L> {
    /// Looks at the first descriptors of up to `most` buffers.
    #[inline]
    fn peek(&mut self, heads: &mut Heads, most: usize) {
        heads.clear();
        let most = most.min(heads.capacity());
        while heads.len() < most {
            match self.layout.head(heads.len() as u16) {
                Ok(Some(head)) => {
                    heads.push(head);
                    if !L::APART && head.flags & NEXT != 0 {
                        return;
                    }
                }
                Ok(None) => return,
                Err(Broken) => {
                    self.broken = true;
                    return;
                }
            }
        }
    }

    /// Collects the parts of a buffer after those of others.
    fn walk(&mut self, head: &Head, ahead: u16, access: Access) -> Result<Walked, Broken> {
        let walked = self
            .layout
            .walk(&self.memory, head, ahead, access, &mut self.chain);
        self.broken |= walked.is_err();
        walked
    }

    /// Tells the guest what was given back.
    #[inline]
    fn publish(&mut self) {
        self.layout.publish(self.log);
    }
}

/// By what the guest is called: an event's file descriptor, or nothing.
#[derive(Clone, Copy, Debug)]
struct Call(RawFd);

impl Call {
    #[cold]
    fn call(self) {
        if self.0 >= 0 {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: reads 8 bytes that outlive the call. Whether the guest hears is its affair.
            unsafe { libc::write(self.0, one.as_ptr().cast(), one.len()) };
        }
    }
}

/// The log of what was written, of a guest that is being moved, by its device's number.
#[derive(Clone, Copy, Debug)]
struct Log(i32);

impl Log {
    /// Marks so many bytes at a guest's address.
    fn mark(self, address: u64, length: usize) {
        // SAFETY: who holds the ring keeps the device; the library checks the rest.
        unsafe { ffi::rte_vhost_log_write(self.0, address, length as u64) }
    }
}

/// Whether an index moving from `old` to `new` passes the one that the other side waits for
/// (virtio 1.2 §2.7.10).
#[inline]
fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// Frames by which fetching goes before copying, two lines each: a CPU has some 24 lines on the
/// way at a time. From 8 to 24 cost alike; fetching for a whole burst at once costs half as much
/// again.
const AHEAD: usize = 16;
/// Bytes of the header before each frame, with the number of buffers that it is in.
const HEADER: usize = 12;
/// `VHOST_F_LOG_ALL`.
const LOG_ALL: u32 = 26;
/// `VIRTIO_F_EVENT_IDX`.
const EVENT_INDEX: u32 = 29;
/// `VIRTIO_F_VERSION_1`.
const VERSION_1: u32 = 32;
/// `VIRTIO_F_RING_PACKED`.
const PACKED: u32 = 34;
