//! Rings of a guest's, and several workers sending to one of them without any waiting.
//!
//! # What
//! A guest with one pair of rings is sent to by every worker, but a ring takes packets from one
//! thread at a time.
//!
//! # How
//! Whoever enters the ring's gate sends. Who finds it busy leaves its packets in a bounded queue,
//! marks that some are waiting, and tries the gate once more; who leaves the gate looks at the mark
//! and enters again to send what others left. Leaving the mark and trying the gate, leaving the
//! gate and looking at the mark are again a store and a load each, sequentially consistent: one of
//! both sees the other, so no packet stays behind. Packets of one worker stay in order, because
//! whoever is inside sends what waits before its own. So it is, too, while a ring is taken away to
//! be set up again.
//!
//! A worker sends for others only so much at a time, lest they keep it here; then it raises the
//! guest's `left_over`, and whoever polls the guest next goes on.
//!
//! # Why not simpler
//! A lock makes a worker wait for a burst of 64 KiB frames, some 100 us. Handing everything to one
//! worker makes all packets to a guest cross between cores, also those of guests with as many rings
//! as there are workers, whose gates are never busy.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;

use super::guest::{Device, Entry, Gate, RECEIVING, SENDING};
use super::rings::Ring;
use crate::port::LostReason;
use crate::{BATCH_MAX, Batch, Packet};

/// A ring by which the guest sends. One receive queue polls it.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct RxRing {
    pub gate: Gate<Ring>,
    /// The library's number of it.
    pub number: u16,
}

/// A ring by which the guest receives.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct TxRing<R = Ring> {
    pub gate: Gate<R>,
    /// The library's number of it.
    pub number: u16,
    /// Something may be in `waiting`.
    marked: AtomicBool,
    waiting: ArrayQueue<Packet>,
}

impl RxRing {
    /// That of a pair.
    pub(super) fn of(pair: usize) -> Box<RxRing> {
        Box::new(RxRing {
            gate: Gate::default(),
            number: pair as u16 * 2 + SENDING,
        })
    }
}

/// What a ring does with packets.
pub(super) trait Sink {
    /// What the packets go to.
    type Ring;
    /// Sends a batch to a ring; empties it and counts all of it.
    fn burst(&mut self, ring: &mut Self::Ring, batch: &mut Batch);
    /// Counts packets that go nowhere.
    fn lost(&mut self, reason: LostReason, packets: usize);
}

impl<R> TxRing<R> {
    /// That of a pair.
    pub(super) fn of(pair: usize) -> Box<TxRing<R>> {
        Box::new(TxRing {
            gate: Gate::default(),
            number: pair as u16 * 2 + RECEIVING,
            marked: AtomicBool::new(false),
            waiting: ArrayQueue::new(WAITING_MAX),
        })
    }

    /// Sends a batch, or has it sent. False where something is left over for others to send.
    #[inline]
    pub(super) fn send(
        &self,
        device: &Device,
        batch: &mut Batch,
        sink: &mut impl Sink<Ring = R>,
    ) -> bool {
        match self.gate.enter() {
            Entry::Inside(mut inside) => {
                if self.marked.load(Ordering::Relaxed) {
                    self.send_waiting(inside.ring(), sink);
                }
                if self.waiting_is_empty() {
                    sink.burst(inside.ring(), batch);
                } else {
                    self.leave(batch, sink);
                }
            }
            Entry::Busy => self.leave(batch, sink),
            Entry::Empty if device.is_attached() => self.leave(batch, sink),
            Entry::Empty => {
                sink.lost(LostReason::Down, batch.len());
                batch.clear();
            }
        }
        self.pick_up(device, sink)
    }

    /// Sends what others left. False where something is left over even so.
    #[inline]
    pub(super) fn pick_up(&self, device: &Device, sink: &mut impl Sink<Ring = R>) -> bool {
        let mut laps = LAPS_MAX;
        while self.marked.load(Ordering::SeqCst) {
            if laps == 0 {
                return false;
            }
            laps -= 1;
            match self.gate.enter() {
                Entry::Inside(mut inside) => self.send_waiting(inside.ring(), sink),
                // Who is inside sees the mark when it leaves.
                Entry::Busy => return true,
                // It is about to be set up again.
                Entry::Empty if device.is_attached() => return false,
                Entry::Empty => sink.lost(LostReason::Down, self.abandon() as usize),
            }
        }
        true
    }

    /// Frees what is waiting; there is no device. Returns how many packets that were.
    pub(super) fn abandon(&self) -> u64 {
        self.marked.swap(false, Ordering::SeqCst);
        let packets = std::iter::from_fn(|| self.waiting.pop());
        packets.take(WAITING_MAX).map(drop).count() as u64
    }

    /// Sends some of what is waiting. Called inside the gate.
    #[cold]
    fn send_waiting(&self, ring: &mut R, sink: &mut impl Sink<Ring = R>) {
        self.marked.swap(false, Ordering::SeqCst);
        let mut batch = Batch::new();
        for _ in 0..WAITING_MAX / BATCH_MAX {
            while let Some(packet) = (!batch.is_full()).then(|| self.waiting.pop()).flatten() {
                drop(batch.push(packet));
            }
            if batch.is_empty() {
                return;
            }
            sink.burst(ring, &mut batch);
        }
        if !self.waiting.is_empty() {
            self.marked.store(true, Ordering::SeqCst);
        }
    }

    /// Leaves a batch for whoever is inside.
    #[cold]
    fn leave(&self, batch: &mut Batch, sink: &mut impl Sink) {
        let mut lost = 0;
        for packet in batch.drain() {
            lost += usize::from(self.waiting.push(packet).is_err());
        }
        sink.lost(LostReason::Full, lost);
        self.marked.store(true, Ordering::SeqCst);
    }

    #[inline]
    fn waiting_is_empty(&self) -> bool {
        !self.marked.load(Ordering::Relaxed) || self.waiting.is_empty()
    }
}

/// Packets that wait for one ring: a batch from each of eight workers.
const WAITING_MAX: usize = 8 * BATCH_MAX;
/// How often one worker goes in again for what others left meanwhile.
const LAPS_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::sync::{Arc, Mutex};
    use std::thread;

    use super::*;
    use crate::Pools;
    use crate::testing::pools;

    /// Remembers what it is sent, and complains where two threads send at once.
    #[derive(Default)]
    struct Guest {
        busy: AtomicBool,
        received: Mutex<Vec<[u8; 8]>>,
        lost: AtomicU64,
    }

    struct Sending<'guest>(&'guest Guest);

    impl Sink for Sending<'_> {
        type Ring = u64;

        fn burst(&mut self, ring: &mut u64, batch: &mut Batch) {
            *ring += batch.len() as u64;
            assert!(
                !self.0.busy.swap(true, Ordering::SeqCst),
                "two bursts at once"
            );
            let mut received = self.0.received.lock().unwrap();
            for packet in batch.drain() {
                received.push(packet.data().try_into().unwrap());
            }
            self.0.busy.store(false, Ordering::SeqCst);
        }

        fn lost(&mut self, _reason: LostReason, packets: usize) {
            self.0.lost.fetch_add(packets as u64, Ordering::Relaxed);
        }
    }

    /// A ring that counts what is sent to it, of a device that is there.
    fn ring() -> (Box<TxRing<u64>>, Device) {
        let (ring, device) = (TxRing::of(0), Device::none());
        device.set(7);
        ring.gate.put(Some(0));
        (ring, device)
    }

    fn batch(pools: &Pools, worker: u32, numbers: std::ops::Range<u32>) -> Batch {
        let mut batch = Batch::new();
        for number in numbers {
            let bytes = [worker.to_be_bytes(), number.to_be_bytes()].concat();
            batch
                .push(Packet::from_bytes(pools, &bytes).unwrap())
                .unwrap();
        }
        batch
    }

    #[test]
    fn workers_send_to_one_ring_without_losing_order_or_packets() {
        let pools = pools();
        let ((ring, device), guest) = (ring(), Guest::default());
        let left_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for worker in 0..3 {
                let (ring, device, guest, pools) = (&ring, &device, &guest, &pools);
                let left_over = &left_over;
                scope.spawn(move || {
                    for round in 0..2000 {
                        let mut batch = batch(pools, worker, round * 4..round * 4 + 4);
                        if !ring.send(device, &mut batch, &mut Sending(guest)) {
                            left_over.store(true, Ordering::SeqCst);
                        }
                        assert!(batch.is_empty());
                    }
                });
            }
        });
        while left_over.swap(false, Ordering::SeqCst) {
            left_over.store(
                !ring.pick_up(&device, &mut Sending(&guest)),
                Ordering::SeqCst,
            );
        }
        assert!(ring.waiting.is_empty());
        let received = guest.received.lock().unwrap();
        let lost = guest.lost.load(Ordering::Relaxed);
        assert_eq!(received.len() as u64 + lost, 3 * 2000 * 4);
        assert_eq!(ring.gate.put(None), Some(received.len() as u64));
        for worker in 0..3_u32 {
            let mine = received
                .iter()
                .filter(|bytes| bytes[..4] == worker.to_be_bytes());
            assert!(
                mine.is_sorted(),
                "packets of worker {worker} changed places"
            );
        }
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn what_finds_the_ring_busy_is_sent_by_who_is_inside() {
        let pools = pools();
        let ((ring, device), guest) = (ring(), Guest::default());
        let Entry::Inside(inside) = ring.gate.enter() else {
            panic!("busy")
        };
        for round in 0..9 {
            let mut batch = batch(&pools, 1, round * 64..round * 64 + 64);
            assert!(ring.send(&device, &mut batch, &mut Sending(&guest)));
        }
        assert_eq!(guest.received.lock().unwrap().len(), 0);
        assert_eq!(guest.lost.load(Ordering::Relaxed), 64);
        drop(inside);
        assert!(ring.send(&device, &mut batch(&pools, 2, 0..1), &mut Sending(&guest)));
        let received = guest.received.lock().unwrap();
        assert_eq!(received.len(), WAITING_MAX + 1);
        assert_eq!(received[WAITING_MAX], [0, 0, 0, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn nothing_is_kept_for_a_device_that_is_gone() {
        let pools = pools();
        let ((ring, device), guest) = (ring(), Guest::default());
        let Entry::Inside(inside) = ring.gate.enter() else {
            panic!("busy")
        };
        ring.send(&device, &mut batch(&pools, 1, 0..5), &mut Sending(&guest));
        assert_eq!(device.take(), Some(7));
        drop(inside);
        ring.gate.put(None);
        assert!(ring.send(&device, &mut batch(&pools, 1, 5..8), &mut Sending(&guest)));
        assert_eq!(guest.lost.load(Ordering::Relaxed), 8);
        assert!(guest.received.lock().unwrap().is_empty());
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn packets_wait_while_a_ring_is_set_up_again() {
        let pools = pools();
        let ((ring, device), guest) = (ring(), Guest::default());
        assert_eq!(ring.gate.put(None), Some(0));
        assert!(!ring.send(&device, &mut batch(&pools, 1, 0..5), &mut Sending(&guest)));
        assert!(!ring.pick_up(&device, &mut Sending(&guest)));
        ring.gate.put(Some(0));
        assert!(ring.pick_up(&device, &mut Sending(&guest)));
        assert_eq!(guest.received.lock().unwrap().len(), 5);
        assert_eq!(guest.lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn whoever_takes_a_ring_away_waits_for_who_is_inside() {
        let gate = Arc::new(Gate::default());
        let inside_now = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let worker = {
            let (gate, stop) = (gate.clone(), stop.clone());
            let inside_now = inside_now.clone();
            thread::spawn(move || {
                let mut entered = 0;
                while !stop.load(Ordering::Relaxed) {
                    if let Entry::Inside(mut inside) = gate.enter() {
                        inside_now.store(1, Ordering::SeqCst);
                        *inside.ring() += 1;
                        entered += 1;
                        inside_now.store(0, Ordering::SeqCst);
                    }
                }
                entered
            })
        };
        let mut counted = 0;
        for _ in 0..3000 {
            gate.put(Some(0));
            thread::yield_now();
            counted += gate.put(None).unwrap();
            for _ in 0..20 {
                assert_eq!(
                    inside_now.load(Ordering::SeqCst),
                    0,
                    "inside without a ring"
                );
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(worker.join().unwrap(), counted);
        assert!(counted > 0);
    }
}
