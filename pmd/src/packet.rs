//! A packet: one DPDK buffer, owned, always in one piece.
//!
//! Ports make packets, the datapath reads and rewrites them in place, ports consume them. The
//! invariant every function here keeps, and everything that makes a `Packet` from a raw buffer
//! promises: the mbuf is whole (initialised by its pool), linear (`nb_segs` 1, `next` null,
//! `data_len` equal to `pkt_len`), owned by nobody else, and `data_off + data_len <= buf_len`.

use std::fmt;
use std::ptr::NonNull;
use std::slice;

use crate::pool::{self, HEADROOM};
use crate::{Pools, ffi};

/// A packet: owns its buffer, which is freed on drop.
#[repr(transparent)]
pub struct Packet {
    mbuf: NonNull<ffi::rte_mbuf>,
}

// SAFETY: the buffer is owned, and pools take it back from any thread.
unsafe impl Send for Packet {}
// SAFETY: a shared `Packet` is only read.
unsafe impl Sync for Packet {}

impl Packet {
    /// A packet with these bytes; `None` without a free buffer, or if there are more than
    /// [`FRAME_MAX`](crate::FRAME_MAX).
    pub fn from_bytes(pools: &Pools, bytes: &[u8]) -> Option<Packet> {
        let mut packet = pools.allocate(bytes.len())?;
        packet.append(bytes.len())?.copy_from_slice(bytes);
        Some(packet)
    }

    /// The bytes, from the Ethernet header on.
    #[inline]
    pub fn data(&self) -> &[u8] {
        let mbuf = self.mbuf();
        // SAFETY: the invariant: `data_len` initialised bytes start at `data_off` of the buffer.
        unsafe {
            let start = mbuf.buf_addr.cast::<u8>().add(mbuf.data_off as usize);
            slice::from_raw_parts(start, mbuf.data_len as usize)
        }
    }

    /// The bytes, to change them.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let mbuf = self.mbuf();
        // SAFETY: as in `data`; the buffer is owned by this packet alone.
        unsafe {
            let start = mbuf.buf_addr.cast::<u8>().add(mbuf.data_off as usize);
            slice::from_raw_parts_mut(start, mbuf.data_len as usize)
        }
    }

    /// Bytes in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.mbuf().data_len as usize
    }

    /// Whether it has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `count` bytes before the first and returns them, their contents undefined; `None`,
    /// and no change, without room for them. What lacks before is taken behind, where bytes are
    /// moved to.
    #[inline]
    pub fn push_front(&mut self, count: usize) -> Option<&mut [u8]> {
        if count + self.len() > u16::MAX as usize {
            return None;
        }
        if count > self.headroom() {
            self.move_back(count - self.headroom())?;
        }
        let mbuf = self.mbuf_mut();
        mbuf.data_off -= count as u16;
        mbuf.data_len += count as u16;
        mbuf.pkt_len += count as u32;
        self.offload_pushed(count);
        Some(&mut self.data_mut()[..count])
    }

    /// Moves all bytes by `count` within the buffer; `None`, and no change, without room for that.
    #[cold]
    fn move_back(&mut self, count: usize) -> Option<()> {
        let len = self.len();
        self.append(count)?;
        self.data_mut().copy_within(..len, count);
        let mbuf = self.mbuf_mut();
        mbuf.data_off += count as u16;
        mbuf.data_len -= count as u16;
        mbuf.pkt_len -= count as u32;
        Some(())
    }

    /// Removes the first `count` bytes; `None`, and no change, if there are fewer.
    #[inline]
    pub fn pull_front(&mut self, count: usize) -> Option<()> {
        if count > self.len() {
            return None;
        }
        let mbuf = self.mbuf_mut();
        mbuf.data_off += count as u16;
        mbuf.data_len -= count as u16;
        mbuf.pkt_len -= count as u32;
        self.offload_pulled(count);
        Some(())
    }

    /// Adds `count` bytes after the last and returns them, their contents undefined; `None`, and
    /// no change, without room for them.
    #[inline]
    pub fn append(&mut self, count: usize) -> Option<&mut [u8]> {
        if count > self.tailroom() {
            return None;
        }
        let before = self.len();
        let mbuf = self.mbuf_mut();
        mbuf.data_len += count as u16;
        mbuf.pkt_len += count as u32;
        Some(&mut self.data_mut()[before..])
    }

    /// Removes all bytes after the first `length`.
    #[inline]
    pub fn truncate(&mut self, length: usize) {
        if length < self.len() {
            let mbuf = self.mbuf_mut();
            mbuf.data_len = length as u16;
            mbuf.pkt_len = length as u32;
            self.offload_cut(length);
        }
    }

    /// Bytes that [`push_front`](Packet::push_front) can add without moving others.
    #[inline]
    pub fn headroom(&self) -> usize {
        self.mbuf().data_off as usize
    }

    /// Bytes that [`append`](Packet::append) can add.
    #[inline]
    pub fn tailroom(&self) -> usize {
        let mbuf = self.mbuf();
        mbuf.buf_len as usize - mbuf.data_off as usize - mbuf.data_len as usize
    }

    /// Where the room after the last byte starts, and how many bytes it has.
    #[inline]
    pub(crate) fn spare(&mut self) -> (*mut u8, usize) {
        let room = self.tailroom();
        (self.data_mut().as_mut_ptr_range().end, room)
    }

    /// A packet of the same bytes and offload metadata; `None` without a free buffer.
    pub fn try_copy(&self, pools: &Pools) -> Option<Packet> {
        let mut copy = Packet::from_bytes(pools, self.data())?;
        copy.take_metadata(self.mbuf());
        Some(copy)
    }

    /// The hash that the device computed over addresses and ports, if it did.
    #[inline]
    pub fn rss_hash(&self) -> Option<u32> {
        let mbuf = self.mbuf();
        // SAFETY: every bit pattern of this union is an integer.
        let hash = unsafe { mbuf.__bindgen_anon_2.hash.rss };
        (mbuf.ol_flags & u64::from(ffi::RTE_MBUF_F_RX_RSS_HASH) != 0).then_some(hash)
    }

    /// Asks the CPU to fetch the first bytes.
    #[inline]
    pub fn prefetch(&self) {
        let mbuf = self.mbuf();
        let start = mbuf
            .buf_addr
            .cast::<i8>()
            .wrapping_add(mbuf.data_off as usize);
        // SAFETY: a prefetch reads nothing, whatever the address.
        unsafe { core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(start) }
    }

    /// Takes over hash, offload metadata and what else is known of another buffer's packet.
    pub(crate) fn take_metadata(&mut self, from: &ffi::rte_mbuf) {
        let to = self.mbuf_mut();
        to.ol_flags = from.ol_flags & !OWNERSHIP_FLAGS;
        to.__bindgen_anon_1 = from.__bindgen_anon_1;
        to.__bindgen_anon_2 = from.__bindgen_anon_2;
        to.__bindgen_anon_3 = from.__bindgen_anon_3;
    }

    /// Makes a packet of a buffer that DPDK gave away.
    ///
    /// # Safety
    /// The buffer keeps the invariant at the top of this file, and nobody else uses it.
    #[inline]
    pub(crate) unsafe fn from_mbuf(mbuf: NonNull<ffi::rte_mbuf>) -> Packet {
        Packet { mbuf }
    }

    /// Gives the buffer away.
    #[inline]
    pub(crate) fn into_mbuf(self) -> NonNull<ffi::rte_mbuf> {
        let mbuf = self.mbuf;
        std::mem::forget(self);
        mbuf
    }

    /// Makes an empty packet of a buffer fresh from its pool.
    ///
    /// # Safety
    /// The buffer was free in its pool, and nobody else uses it.
    #[inline]
    pub(crate) unsafe fn fresh(buffer: NonNull<ffi::rte_mbuf>) -> Packet {
        let mut packet = Packet { mbuf: buffer };
        let mbuf = packet.mbuf_mut();
        mbuf.data_off = HEADROOM as u16;
        mbuf.data_len = 0;
        mbuf.pkt_len = 0;
        mbuf.port = ffi::RTE_MBUF_PORT_INVALID as u16;
        mbuf.ol_flags = 0;
        mbuf.vlan_tci = 0;
        mbuf.vlan_tci_outer = 0;
        mbuf.__bindgen_anon_1.packet_type = 0;
        mbuf.__bindgen_anon_3.tx_offload = 0;
        packet
    }

    #[inline]
    pub(crate) fn mbuf(&self) -> &ffi::rte_mbuf {
        // SAFETY: the buffer lives and is initialised; all its changes go through `&mut self`.
        unsafe { self.mbuf.as_ref() }
    }

    #[inline]
    pub(crate) fn mbuf_mut(&mut self) -> &mut ffi::rte_mbuf {
        // SAFETY: the buffer lives, is initialised, and this packet alone owns it.
        unsafe { self.mbuf.as_mut() }
    }
}

impl Drop for Packet {
    #[inline]
    fn drop(&mut self) {
        let mbuf = self.mbuf();
        if mbuf.refcnt == 1 && mbuf.ol_flags & OWNERSHIP_FLAGS == 0 {
            // SAFETY: the buffer is ours, linear by the invariant, direct and referred to once.
            unsafe { pool::put(self.mbuf) }
        } else {
            // SAFETY: the buffer is ours; DPDK gives back what it is attached to.
            unsafe { ffi::shim_mbuf_free(self.mbuf.as_ptr()) }
        }
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Packet");
        debug
            .field("len", &self.len())
            .field("offload", &self.offload())
            .finish()
    }
}

/// The bytes are not in the mbuf's own buffer.
const OWNERSHIP_FLAGS: u64 = ffi::RTE_MBUF_F_EXTERNAL | ffi::RTE_MBUF_F_INDIRECT;

#[cfg(test)]
mod tests {
    use crate::testing::pools;
    use crate::{Batch, FRAME_MAX, Packet};

    #[test]
    fn holds_what_it_was_made_of() {
        let pools = pools();
        for length in [0, 1, 60, 2048, 2049, 9018, FRAME_MAX] {
            let bytes: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let packet = Packet::from_bytes(&pools, &bytes).unwrap();
            assert_eq!(packet.data(), bytes);
        }
        assert!(Packet::from_bytes(&pools, &vec![0; FRAME_MAX + 1]).is_none());
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn pushes_and_pulls_within_its_room() {
        let pools = pools();
        let mut packet = Packet::from_bytes(&pools, b"abcdef").unwrap();
        packet.push_front(4).unwrap().copy_from_slice(b"1234");
        assert_eq!(packet.data(), b"1234abcdef");
        let room = packet.headroom() + packet.tailroom();
        assert!(packet.push_front(room + 1).is_none());
        packet.pull_front(6).unwrap();
        assert_eq!(packet.data(), b"cdef");
        assert!(packet.pull_front(5).is_none());
        packet.truncate(2);
        packet.truncate(3);
        assert_eq!(packet.data(), b"cd");
        packet.append(2).unwrap().copy_from_slice(b"yz");
        assert_eq!(packet.data(), b"cdyz");
        assert!(packet.append(packet.tailroom() + 1).is_none());
        let room = packet.headroom();
        assert_eq!(packet.push_front(room).unwrap().len(), room);
        assert_eq!(packet.headroom(), 0);
        packet.pull_front(room - 1).unwrap();
        packet.push_front(room).unwrap().fill(b'.');
        assert_eq!((packet.headroom(), packet.len()), (0, room + 5));
        assert!(packet.data()[..room].iter().all(|byte| *byte == b'.'));
        assert_eq!(packet.data()[room + 1..], *b"cdyz");
    }

    #[test]
    fn copies_deeply() {
        let pools = pools();
        let packet = Packet::from_bytes(&pools, b"original").unwrap();
        let mut copy = packet.try_copy(&pools).unwrap();
        copy.data_mut()[0] = b'O';
        assert_eq!(
            (packet.data(), copy.data()),
            (&b"original"[..], &b"Original"[..])
        );
        assert_eq!(pools.in_use(), 2);
        drop((packet, copy));
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn ends_with_the_pool_and_comes_back() {
        let pools = pools();
        let mut held = Vec::new();
        while let Some(packet) = pools.allocate(60) {
            held.push(packet);
        }
        assert_eq!(held.len(), pools.small().size());
        held.truncate(3);
        assert_eq!(pools.in_use(), 3);
        assert!(pools.allocate(60).is_some());
        drop(held);
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn moves_between_threads_and_caches() {
        let pools = pools();
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Packet>(64);
        let theirs = pools.clone();
        let maker = std::thread::spawn(move || {
            let _worker = crate::register_worker(0).unwrap();
            for round in 0..2000_u32 {
                let packet = Packet::from_bytes(&theirs, &round.to_be_bytes()).unwrap();
                sender.send(packet).unwrap();
                let local = theirs.allocate(60);
                drop(local);
            }
        });
        let sum: u64 = receiver
            .iter()
            .map(|packet| u64::from(u32::from_be_bytes(packet.data().try_into().unwrap())))
            .sum();
        maker.join().unwrap();
        assert_eq!(sum, 1999 * 2000 / 2);
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn a_batch_takes_of_another_what_it_has_room_for() {
        let pools = pools();
        let batch = |count: usize, first: usize| {
            let mut batch = Batch::new();
            for number in first..first + count {
                let packet = Packet::from_bytes(&pools, &[number as u8]).unwrap();
                batch.push(packet).unwrap();
            }
            batch
        };
        for (here, there) in [(0, 0), (0, 64), (5, 3), (44, 20), (44, 64), (64, 4)] {
            let (mut to, mut from) = (batch(here, 0), batch(there, here));
            to.append(&mut from);
            assert_eq!(
                (to.len(), from.len()),
                ((here + there).min(64), (here + there).saturating_sub(64))
            );
            let numbers = to
                .iter()
                .chain(&from)
                .map(|packet| usize::from(packet.data()[0]));
            assert!(numbers.eq(0..here + there), "in order");
            assert_eq!(pools.in_use(), here + there);
        }
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn a_batch_frees_what_is_left_in_it() {
        let pools = pools();
        let mut batch = Batch::new();
        while !batch.is_full() {
            batch.push(pools.allocate(60).unwrap()).unwrap();
        }
        let packet = pools.allocate(1).unwrap();
        let packet = batch.push(packet).unwrap_err();
        drop((batch, packet));
        assert_eq!(pools.in_use(), 0);
    }
}
