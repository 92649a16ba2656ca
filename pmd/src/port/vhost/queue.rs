//! Packets between a guest's rings and batches.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::driver::Driver;
use super::guest::{Entry, Guest, WORDS};
use super::ring::Sink;
use super::rings::Ring;
use crate::port::staging::{self, Terms};
use crate::port::{LiveCounters, LostReason};
use crate::{Batch, Pools};

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
        let Entry::Inside(mut inside) = ring.gate.enter() else {
            return;
        };
        let counters = &guest.rx_counters[self.queue];
        let before = batch.len();
        let frames = inside.ring();
        frames.receive(batch, &self.pools, |reason| counters.lost(reason, 1));
        if frames.is_broken() {
            guest.note_broken(ring.number);
        }
        drop(inside);
        let received = batch.len() - before;
        if received > 0 {
            let bytes = batch.iter().skip(before).map(|packet| packet.len() as u64);
            counters.add(received as u64, bytes.sum());
        }
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
    type Ring = Ring;

    #[inline]
    fn burst(&mut self, ring: &mut Ring, batch: &mut Batch) {
        let (mut packets, mut bytes, mut lost, mut lost_bytes) = (0, 0, 0, 0);
        for _ in 0..=self.guest.retries_max {
            let sent = ring.send(batch.iter().as_slice(), |reason, packet| {
                lost += 1;
                lost_bytes += packet.len() as u64;
                self.counters.lost(reason, 1);
            });
            let first = batch.iter().take(sent);
            bytes += first.map(|packet| packet.len() as u64).sum::<u64>();
            packets += sent as u64;
            batch.free_first(sent);
            // A ring that takes nothing now is not about to.
            if batch.is_empty() || sent == 0 {
                break;
            }
        }
        self.counters.add(packets - lost, bytes - lost_bytes);
        if !batch.is_empty() {
            self.counters.lost(LostReason::Full, batch.len() as u64);
            batch.clear();
        }
        if ring.is_broken() {
            self.guest.note_broken(self.number);
        }
    }

    fn lost(&mut self, reason: LostReason, packets: usize) {
        self.counters.lost(reason, packets as u64);
    }
}
