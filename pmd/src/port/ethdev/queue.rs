//! Bursts of a device's queues: DPDK's inline functions, re-expressed.
//!
//! `rte_eth_rx_burst` and `rte_eth_tx_burst` are calls through a table of the driver's functions,
//! with callbacks that a user of DPDK's debugging tools may have hung in. What runs once for each
//! packet (lengths, flags, segments) is one pass over first cache lines that the driver has just
//! written or is about to read.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::device::Device;
use crate::offload::{OWED, VALIDITY, segment};
use crate::port::staging::{self, Terms};
use crate::port::{LiveCounters, LostReason};
use crate::{Batch, Packet, Pools, ffi};

/// A receive queue of a device.
#[derive(Debug)]
pub(crate) struct Rx {
    device: Arc<Device>,
    queue: usize,
    pools: Pools,
}

impl Rx {
    pub(super) fn new(device: Arc<Device>, queue: usize, pools: Pools) -> Rx {
        Rx {
            device,
            queue,
            pools,
        }
    }

    #[inline]
    pub(in crate::port) fn receive(&mut self, batch: &mut Batch) {
        if !self.device.is_up() {
            return;
        }
        let (port, queue) = (self.device.port(), self.queue);
        let counters = &self.device.rx_counters[queue];
        let pools = &self.pools;
        // SAFETY: the burst writes buffers that the driver gives away, as many as it says; what
        // is not a packet as it is becomes one before the batch sees it. The port is started as
        // long as `device` lives, and this is the queue's only user.
        unsafe {
            batch.fill(|buffers, room| {
                let received = rx_burst(port, queue, buffers, room);
                if received == 0 {
                    return 0;
                }
                let (mut bytes, mut counts, mut flags) = (0, 0, 0);
                for index in 0..usize::from(received) {
                    let buffer = &**buffers.add(index);
                    bytes += u64::from(buffer.pkt_len);
                    counts |= buffer.nb_segs | buffer.refcnt;
                    flags |= buffer.ol_flags;
                }
                if counts == 1 && flags & OWED == 0 && flags & VALIDITY != VALIDITY {
                    counters.add(u64::from(received), bytes);
                    received
                } else {
                    sort_out(buffers, received, pools, counters)
                }
            })
        }
    }
}

/// Makes packets of buffers some of which may not be one as they are. Returns how many are left,
/// at the front, and counts all.
///
/// # Safety
/// The caller owns the first `received` of `buffers`, as a driver gave them.
#[cold]
unsafe fn sort_out(
    buffers: *mut *mut ffi::rte_mbuf,
    received: u16,
    pools: &Pools,
    counters: &LiveCounters,
) -> u16 {
    let (mut kept, mut bytes) = (0, 0);
    for index in 0..usize::from(received) {
        // SAFETY: `kept <= index`, both within the burst; the buffer is ours.
        unsafe {
            match admit(*buffers.add(index), pools) {
                Ok(packet) => {
                    bytes += packet.len() as u64;
                    *buffers.add(kept) = packet.into_mbuf().as_ptr();
                    kept += 1;
                }
                Err(reason) => counters.lost(reason, 1),
            }
        }
    }
    counters.add(kept as u64, bytes);
    kept as u16
}

/// Makes a packet of a buffer: in one piece, its own, owing only what makes sense.
///
/// # Safety
/// The caller owns the buffer, as a driver gave it.
unsafe fn admit(buffer: *mut ffi::rte_mbuf, pools: &Pools) -> Result<Packet, LostReason> {
    // SAFETY: the buffer is ours, and whole. What is in several pieces or shared is copied, and
    // our part of it given back.
    let mut packet = unsafe {
        let buffer = NonNull::new(buffer).ok_or(LostReason::Device)?;
        if (buffer.as_ref().nb_segs, buffer.as_ref().refcnt) == (1, 1) {
            Packet::from_mbuf(buffer)
        } else {
            let joined = join(buffer.as_ptr(), pools);
            ffi::shim_mbuf_free(buffer.as_ptr());
            joined.ok_or(LostReason::NoBuffer)?
        }
    };
    let mut offload = packet.offload();
    if packet.mbuf().ol_flags & VALIDITY == VALIDITY {
        // The sum is not there, but the sender is near: nothing can have gone wrong.
        offload.valid = true;
        offload.checksum = segment::start_checksum(packet.data_mut());
    }
    if packet.set_offload(offload) {
        Ok(packet)
    } else {
        Err(LostReason::Malformed)
    }
}

/// A packet with the bytes and metadata of a chain.
///
/// # Safety
/// `chain` is a chain of whole buffers, which nobody else uses.
unsafe fn join(chain: *mut ffi::rte_mbuf, pools: &Pools) -> Option<Packet> {
    // SAFETY: the head is whole.
    let head = unsafe { &*chain };
    let mut packet = pools.allocate(head.pkt_len as usize)?;
    let mut next = chain;
    // SAFETY: each buffer of the chain holds `data_len` bytes from `data_off` on.
    while let Some(piece) = unsafe { next.as_ref() } {
        let length = usize::from(piece.data_len);
        let bytes = unsafe {
            let start = piece.buf_addr.cast::<u8>().add(usize::from(piece.data_off));
            std::slice::from_raw_parts(start, length)
        };
        packet.append(length)?.copy_from_slice(bytes);
        next = piece.next;
    }
    packet.take_metadata(head);
    Some(packet)
}

/// A transmit queue of a device.
#[derive(Debug)]
pub(crate) struct Tx {
    device: Arc<Device>,
    queue: usize,
    pools: Pools,
    /// Packets made ready where those to be sent are not, else empty.
    ready: Box<Batch>,
}

impl Tx {
    pub(super) fn new(device: Arc<Device>, queue: usize, pools: Pools) -> Tx {
        Tx {
            device,
            queue,
            pools,
            ready: Box::default(),
        }
    }

    #[inline]
    pub(in crate::port) fn send(&mut self, batch: &mut Batch) {
        let (mut flags, mut bytes, mut longest) = (0, 0, 0);
        for packet in batch.iter() {
            let mbuf = packet.mbuf();
            flags |= mbuf.ol_flags;
            bytes += mbuf.pkt_len as usize;
            longest = longest.max(mbuf.pkt_len as usize);
        }
        let plain = flags & OWED == 0 && longest <= self.device.frame_max();
        if plain && self.device.is_up() {
            burst(&self.device, self.queue, batch, bytes);
        } else {
            self.send_each(batch);
        }
    }

    /// Sends packets some of which cannot be sent as they are.
    #[cold]
    fn send_each(&mut self, batch: &mut Batch) {
        let device = self.device.clone();
        let queue = self.queue;
        let lost = |reason| device.tx_counters[queue].lost(reason, 1);
        if !device.is_up() {
            device.tx_counters[self.queue].lost(LostReason::Down, batch.len() as u64);
            return batch.clear();
        }
        let terms = Terms {
            can: device.can(),
            longest: device.frame_max(),
        };
        let Tx { pools, ready, .. } = self;
        staging::send_ready(batch, ready, terms, pools, lost, |batch| {
            let mut prepared = Batch::new();
            for packet in batch.drain() {
                match prepare(&device, queue, packet) {
                    Some(packet) => drop(prepared.push(packet)),
                    None => lost(LostReason::Malformed),
                }
            }
            let bytes = prepared.iter().map(Packet::len).sum();
            burst(&device, queue, &mut prepared, bytes);
        });
    }
}

/// Lets the driver check a packet that still owes something, and put the sum of the pseudo-header
/// as its hardware wants it. `None` where it refuses.
fn prepare(device: &Device, queue: usize, mut packet: Packet) -> Option<Packet> {
    if !packet.owes() {
        return Some(packet);
    }
    if device.does(ffi::SHIM_TX_IPV4_CHECKSUM) {
        packet.ask_header_checksum();
    }
    let mut buffer = packet.into_mbuf().as_ptr();
    // SAFETY: the port is started as long as `device` lives, and the queue is one of its own. The
    // buffer stays ours whatever the driver says; it may be another, but is whole and linear.
    unsafe {
        let prepared = ffi::shim_tx_prepare(device.port(), queue as u16, &mut buffer, 1);
        let packet = Packet::from_mbuf(NonNull::new(buffer)?);
        (prepared == 1).then_some(packet)
    }
}

/// Sends packets of `bytes` in all as long as the device takes any; the rest is lost.
#[inline]
fn burst(device: &Device, queue: usize, batch: &mut Batch, bytes: usize) {
    let counters = &device.tx_counters[queue];
    let (all, mut bytes) = (batch.len(), bytes);
    let mut left = all;
    while left > 0 {
        // SAFETY: the driver owns what it says it took. The port is started as long as `device`
        // lives, and this is the queue's only user.
        unsafe { batch.take(|buffers, count| tx_burst(device.port(), queue, buffers, count)) };
        if batch.len() == left {
            bytes -= batch.iter().map(Packet::len).sum::<usize>();
            counters.lost(LostReason::Full, left as u64);
            batch.clear();
            break;
        }
        left = batch.len();
    }
    counters.add((all - left) as u64, bytes as u64);
}

/// `rte_eth_rx_burst`.
///
/// # Safety
/// `port` is started, `queue` is one of its queues and used by nobody else, and `buffers` has room
/// for `room` pointers.
#[inline]
unsafe fn rx_burst(port: u16, queue: usize, buffers: *mut *mut ffi::rte_mbuf, room: u16) -> u16 {
    // SAFETY: a started port has functions, and an entry for each queue in both arrays.
    unsafe {
        let ops = operations(port);
        let Some(burst) = (*ops).rx_pkt_burst else {
            return 0;
        };
        let received = burst(*(*ops).rxq.data.add(queue), buffers, room);
        let callbacks = &*(*ops)
            .rxq
            .clbk
            .add(queue)
            .cast::<AtomicPtr<std::ffi::c_void>>();
        let callback = callbacks.load(Ordering::Relaxed);
        match NonNull::new(callback) {
            None => received,
            Some(first) => ffi::rte_eth_call_rx_callbacks(
                port,
                queue as u16,
                buffers,
                received,
                room,
                first.as_ptr(),
            ),
        }
    }
}

/// `rte_eth_tx_burst`.
///
/// # Safety
/// `port` is started, `queue` is one of its queues and used by nobody else, and `buffers` holds
/// `count` buffers, which belong to the driver as far as the result says.
#[inline]
unsafe fn tx_burst(port: u16, queue: usize, buffers: *mut *mut ffi::rte_mbuf, count: u16) -> u16 {
    // SAFETY: as in `rx_burst`.
    unsafe {
        let ops = operations(port);
        let Some(burst) = (*ops).tx_pkt_burst else {
            return 0;
        };
        let callbacks = &*(*ops)
            .txq
            .clbk
            .add(queue)
            .cast::<AtomicPtr<std::ffi::c_void>>();
        let callback = callbacks.load(Ordering::Relaxed);
        let count = match NonNull::new(callback) {
            None => count,
            Some(first) => {
                ffi::rte_eth_call_tx_callbacks(port, queue as u16, buffers, count, first.as_ptr())
            }
        };
        burst(*(*ops).txq.data.add(queue), buffers, count)
    }
}

#[inline]
fn operations(port: u16) -> *const ffi::rte_eth_fp_ops {
    (&raw const ffi::rte_eth_fp_ops)
        .cast::<ffi::rte_eth_fp_ops>()
        .wrapping_add(usize::from(port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pools;
    use crate::{Offload, PartialChecksum};

    /// A datagram of UDP over IPv4, its checksum 0.
    fn datagram(pools: &Pools) -> Packet {
        let mut frame = [0; 60];
        frame[12..18].copy_from_slice(&[0x08, 0x00, 0x45, 0, 0, 46]);
        (frame[22], frame[23]) = (64, 17);
        frame[38..40].copy_from_slice(&[0, 26]);
        Packet::from_bytes(pools, &frame).unwrap()
    }

    /// Lets a packet come in with these flags of the driver's.
    fn admitted(pools: &Pools, flags: u64, lengths: u64) -> Result<Packet, LostReason> {
        let mut packet = datagram(pools);
        packet.mbuf_mut().ol_flags = flags;
        packet.mbuf_mut().__bindgen_anon_3.tx_offload = lengths;
        // SAFETY: the buffer was a packet's, given away here.
        unsafe { admit(packet.into_mbuf().as_ptr(), pools) }
    }

    #[test]
    fn a_checksum_that_the_sender_left_out_is_owed() {
        let pools = pools();
        let packet = admitted(&pools, VALIDITY, 0).unwrap();
        let checksum = Some(PartialChecksum {
            start: 34,
            offset: 6,
        });
        assert_eq!(
            packet.offload(),
            Offload {
                checksum,
                gso: None,
                valid: true
            }
        );
        // The pseudo-header: no addresses, protocol 17, length 26.
        assert_eq!(packet.data()[40..42], (17_u16 + 26).to_be_bytes());
    }

    #[test]
    fn what_a_driver_says_is_owed_is_checked() {
        let pools = pools();
        let udp = ffi::RTE_MBUF_F_TX_UDP_CKSUM;
        let owing = admitted(&pools, udp, 14 | 20 << 7).unwrap();
        assert!(owing.owes());
        assert_eq!(
            admitted(&pools, udp, 14 | 60 << 7).unwrap_err(),
            LostReason::Malformed
        );
        let lying = admitted(&pools, udp | ffi::RTE_MBUF_F_TX_UDP_SEG, 14 | 20 << 7);
        assert_eq!(lying.unwrap_err(), LostReason::Malformed);
        drop(owing);
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn a_buffer_that_others_refer_to_is_copied() {
        let pools = pools();
        let mut original = datagram(&pools);
        original.mbuf_mut().refcnt = 2;
        // SAFETY: of the two references that the buffer now has, one is given away.
        let copy = unsafe { admit(original.mbuf_mut(), &pools) }.unwrap();
        assert_eq!(original.mbuf().refcnt, 1);
        assert_ne!(original.data().as_ptr(), copy.data().as_ptr());
        assert_eq!(original.data(), copy.data());
    }
}
