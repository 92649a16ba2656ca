//! Packets between a guest's rings and batches.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::driver::Driver;
use super::guest::{Entry, Guest, WORDS};
use super::ring::Sink;
use crate::offload::headers;
use crate::offload::segment::{self, CWR};
use crate::port::staging::{self, Terms};
use crate::port::{LiveCounters, LostReason};
use crate::{Batch, Gso, GsoKind, Offload, Packet, Pools, ffi};

/// Receives from every so many-th ring by which the guest sends.
#[derive(Debug)]
pub(crate) struct Rx {
    driver: Arc<Driver>,
    queue: usize,
    pools: Pools,
    /// The pairs that are this queue's, a bit for each.
    share: [u64; WORDS],
    /// The pair to be asked first.
    next: usize,
}

impl Rx {
    pub(super) fn new(driver: Arc<Driver>, queue: usize, pools: Pools) -> Rx {
        let queues = driver.guest().rx_counters.len();
        let mut share = [0; WORDS];
        for pair in (queue..WORDS * 64).step_by(queues) {
            share[pair / 64] |= 1 << (pair % 64);
        }
        Rx {
            driver,
            queue,
            pools,
            share,
            next: 0,
        }
    }

    #[inline]
    pub(in crate::port) fn receive(&mut self, batch: &mut Batch) {
        if !self.driver.guest().is_up() {
            return;
        }
        if self.driver.guest().left_over.load(Ordering::Relaxed) {
            self.pick_up();
        }
        // From the next pair to the last, then from the first.
        for round in [self.next.., 0..] {
            let mut from = round.start;
            while let Some(pair) = self.pair_from(from) {
                from = pair + 1;
                self.receive_from(pair, batch);
                if !batch.is_empty() {
                    self.next = from;
                    return;
                }
            }
            if self.next == 0 {
                return;
            }
        }
        self.next = 0;
    }

    /// The first of this queue's pairs from `from` on whose ring is enabled.
    #[inline]
    fn pair_from(&self, from: usize) -> Option<usize> {
        for word in from / 64..WORDS {
            let before = if word == from / 64 {
                (1 << (from % 64)) - 1
            } else {
                0
            };
            let bits = self.driver.guest().sending(word) & self.share[word] & !before;
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros() as usize);
            }
        }
        None
    }

    #[inline]
    fn receive_from(&self, pair: usize, batch: &mut Batch) {
        let guest = self.driver.guest();
        let Some(ring) = guest.rx_ring(pair) else {
            return;
        };
        let Entry::Inside(inside) = ring.gate.enter(guest.device()) else {
            return;
        };
        let (before, number) = (batch.len(), ring.number);
        inside.quieten(number);
        let pool = self.pools.small().as_ptr();
        // SAFETY: the gate keeps the device. The library takes buffers from the pool and gives
        // away as many as it says, each in one piece, external where the pool's are too short.
        unsafe {
            batch.fill(|buffers, room| {
                ffi::rte_vhost_dequeue_burst(inside.vid(), number, pool, buffers, room)
            });
        }
        drop(inside);
        if batch.len() > before {
            self.understand(batch, before);
        }
    }

    /// Reads what the guest left to be done on the packets after the first `before`; counts them.
    fn understand(&self, batch: &mut Batch, before: usize) {
        let counters = &self.driver.guest().rx_counters[self.queue];
        let (mut bytes, mut flags) = (0, 0);
        for packet in batch.iter().skip(before) {
            bytes += packet.len() as u64;
            flags |= packet.mbuf().ol_flags;
        }
        let received = (batch.len() - before) as u64;
        if flags & LEFT == 0 {
            return counters.add(received, bytes);
        }
        let (mut index, mut lost, mut lost_bytes) = (0, 0, 0);
        batch.retain(|packet| {
            index += 1;
            let kept = index <= before || understand(packet);
            if !kept {
                lost += 1;
                lost_bytes += packet.len() as u64;
            }
            kept
        });
        counters.add(received - lost, bytes - lost_bytes);
        counters.lost(LostReason::Malformed, lost);
    }

    /// Sends what workers left over.
    #[cold]
    fn pick_up(&self) {
        let guest = self.driver.guest();
        guest.left_over.store(false, Ordering::SeqCst);
        let passing = guest.tx_counters.len() - guest.rx_counters.len() + self.queue;
        let counters = &guest.tx_counters[passing];
        for ring in guest.tx_rings() {
            let mut sink = ToRing {
                guest,
                number: ring.number,
                counters,
            };
            if !ring.pick_up(guest.device(), &mut sink) {
                guest.left_over.store(true, Ordering::SeqCst);
            }
        }
    }
}

/// Turns the library's flags into what the packet owes. False where its headers deny them.
fn understand(packet: &mut Packet) -> bool {
    let mbuf = packet.mbuf_mut();
    let flags = mbuf.ol_flags;
    // SAFETY: every bit pattern of this union is an integer.
    let size = unsafe { mbuf.__bindgen_anon_3.tx_offload >> SEGMENT_SIZE_SHIFT } as u16;
    mbuf.ol_flags &= !RX_FLAGS;
    mbuf.__bindgen_anon_3.tx_offload = 0;
    if flags & LEFT == 0 {
        return true;
    }
    let Some(found) = headers::locate(packet.data()) else {
        return false;
    };
    let gso = (flags & LRO != 0).then(|| {
        let kind = match (found.tcp, found.ipv6) {
            (true, false) => GsoKind::Tcp4,
            (true, true) => GsoKind::Tcp6,
            (false, false) => GsoKind::Udp4,
            (false, true) => GsoKind::Udp6,
        };
        // The library drops this bit of the header; Linux sets it just when CWR is set.
        let ecn = found.tcp && packet.data()[found.l4 + 13] & CWR != 0;
        Gso { kind, size, ecn }
    });
    let offset = if found.tcp {
        segment::TCP_CHECKSUM
    } else {
        segment::UDP_CHECKSUM
    };
    let mut checksum = Some(crate::PartialChecksum {
        start: found.l4 as u16,
        offset: offset as u16,
    });
    if gso.is_some() {
        // Some guests leave the length out of the sum, as network cards want it.
        checksum = segment::start_checksum(packet.data_mut());
    }
    packet.set_offload(Offload {
        checksum,
        gso,
        valid: false,
    })
}

/// Sends to one of the rings by which the guest receives.
#[derive(Debug)]
pub(crate) struct Tx {
    driver: Arc<Driver>,
    queue: usize,
    pools: Pools,
    /// Packets made ready where those to be sent are not, else empty.
    ready: Box<Batch>,
}

impl Tx {
    pub(super) fn new(driver: Arc<Driver>, queue: usize, pools: Pools) -> Tx {
        Tx {
            driver,
            queue,
            pools,
            ready: Box::default(),
        }
    }

    #[inline]
    pub(in crate::port) fn send(&mut self, batch: &mut Batch) {
        let Tx {
            driver,
            queue,
            pools,
            ready,
        } = self;
        let guest = driver.guest();
        let counters = &guest.tx_counters[*queue];
        let Some(ring) = guest.receiving(*queue).filter(|_| guest.is_up()) else {
            counters.lost(LostReason::Down, batch.len() as u64);
            return batch.clear();
        };
        let terms = Terms {
            can: guest.can(),
            longest: guest.longest(),
        };
        let lost = |reason| counters.lost(reason, 1);
        staging::send_ready(batch, ready, terms, pools, lost, |batch| {
            let mut sink = ToRing {
                guest,
                number: ring.number,
                counters,
            };
            if !ring.send(guest.device(), batch, &mut sink) {
                guest.left_over.store(true, Ordering::SeqCst);
            }
        });
    }
}

/// A ring that a worker is sending to.
struct ToRing<'guest> {
    guest: &'guest Guest,
    number: u16,
    counters: &'guest LiveCounters,
}

impl Sink for ToRing<'_> {
    #[inline]
    fn burst(&mut self, vid: i32, batch: &mut Batch) {
        let (all, mut left) = (batch.len(), batch.len());
        let mut bytes: u64 = batch.iter().map(|packet| packet.len() as u64).sum();
        for _ in 0..=self.guest.retries_max {
            // SAFETY: the caller is inside the ring's gate, which keeps the device. The library
            // copies the packets that it says it took, and leaves all of them ours.
            unsafe { batch.take(|buffers, count| enqueue(vid, self.number, buffers, count)) };
            // A ring that takes nothing now is not about to.
            if batch.is_empty() || batch.len() == left {
                break;
            }
            left = batch.len();
        }
        bytes -= batch.iter().map(|packet| packet.len() as u64).sum::<u64>();
        self.counters.add((all - batch.len()) as u64, bytes);
        if !batch.is_empty() {
            self.counters.lost(LostReason::Full, batch.len() as u64);
            batch.clear();
        }
    }

    fn lost(&mut self, reason: LostReason, packets: usize) {
        self.counters.lost(reason, packets as u64);
    }
}

/// Copies buffers to a ring; returns how many of the first, which it frees.
///
/// # Safety
/// The device lives, the caller alone uses this ring of it, and owns the `count` buffers, of which
/// it gives away those that were copied.
#[inline]
unsafe fn enqueue(vid: i32, ring: u16, buffers: *mut *mut ffi::rte_mbuf, count: u16) -> u16 {
    // SAFETY: as the caller promises; each buffer that was copied is whole, linear and ours.
    unsafe {
        let mut copied = 0;
        loop {
            let (rest, left) = (buffers.add(copied.into()), count - copied);
            let more = ffi::rte_vhost_enqueue_burst(vid, ring, rest, left).min(left);
            copied += more;
            // Of more than a burst it copies the first; of that all but for want of room.
            if more < BURST || copied == count {
                break;
            }
        }
        for index in 0..usize::from(copied) {
            if let Some(buffer) = std::ptr::NonNull::new(*buffers.add(index)) {
                drop(Packet::from_mbuf(buffer));
            }
        }
        copied
    }
}

/// Packets that the library copies at a time.
const BURST: u16 = 32;
const LRO: u64 = ffi::RTE_MBUF_F_RX_LRO as u64;
const NO_CHECKSUM: u64 = ffi::RTE_MBUF_F_RX_L4_CKSUM_NONE as u64;
/// The guest left something to be done.
const LEFT: u64 = LRO | NO_CHECKSUM;
/// What the library may set, none of which means the same to us.
const RX_FLAGS: u64 = LEFT;
const SEGMENT_SIZE_SHIFT: u32 =
    ffi::RTE_MBUF_L2_LEN_BITS + ffi::RTE_MBUF_L3_LEN_BITS + ffi::RTE_MBUF_L4_LEN_BITS;
