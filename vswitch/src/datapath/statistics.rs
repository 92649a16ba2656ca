//! What workers count: each counter has one writer, its worker, and any number of readers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::action::DropReason;

/// What a worker did since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerStatistics {
    /// Its CPU.
    pub cpu: usize,
    /// Time stamp counter cycles of loops that moved packets.
    pub busy_cycles: u64,
    /// Time stamp counter cycles of loops that did not, sleep included.
    pub idle_cycles: u64,
    /// Loops.
    pub loops: u64,
    /// Batches received that were not empty.
    pub batches: u64,
    /// Packets received.
    pub packets: u64,
    /// Packets whose program the flow cache had.
    pub hits: u64,
    /// Packets that were translated.
    pub misses: u64,
    /// Those of the misses whose cache entry was older than the rules.
    pub stale: u64,
    /// Cache entries older than the rules that no change concerned: they were made good, and their
    /// packets are among the hits.
    pub renewed: u64,
    /// Cache entries that gave up their slots to others.
    pub evicted: u64,
    /// Packets of flows that were given no slot.
    pub refused: u64,
    /// Packets parsed again.
    pub recirculated: u64,
    /// Times it slept.
    pub sleeps: u64,
    /// Entries in its flow cache.
    pub cache_entries: u64,
    /// Receive queues: port number, queue, packets received by this worker's polling or, before a
    /// queue was moved to it, another's.
    pub queues: Vec<(crate::action::PortNo, usize, u64)>,
}

/// The live side of [`WorkerStatistics`].
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// See [`WorkerStatistics::busy_cycles`].
    pub busy_cycles: Tally,
    /// See [`WorkerStatistics::idle_cycles`].
    pub idle_cycles: Tally,
    /// See [`WorkerStatistics::loops`].
    pub loops: Tally,
    /// See [`WorkerStatistics::batches`].
    pub batches: Tally,
    /// See [`WorkerStatistics::packets`].
    pub packets: Tally,
    /// See [`WorkerStatistics::hits`].
    pub hits: Tally,
    /// See [`WorkerStatistics::misses`].
    pub misses: Tally,
    /// See [`WorkerStatistics::stale`].
    pub stale: Tally,
    /// See [`WorkerStatistics::renewed`].
    pub renewed: Tally,
    /// See [`WorkerStatistics::evicted`].
    pub evicted: Tally,
    /// See [`WorkerStatistics::refused`].
    pub refused: Tally,
    /// See [`WorkerStatistics::recirculated`].
    pub recirculated: Tally,
    /// See [`WorkerStatistics::sleeps`].
    pub sleeps: Tally,
    /// See [`WorkerStatistics::cache_entries`].
    pub cache_entries: Tally,
}

impl WorkerCounters {
    /// What was counted so far; without queues.
    pub fn read(&self, cpu: usize) -> WorkerStatistics {
        WorkerStatistics {
            cpu,
            busy_cycles: self.busy_cycles.read(),
            idle_cycles: self.idle_cycles.read(),
            loops: self.loops.read(),
            batches: self.batches.read(),
            packets: self.packets.read(),
            hits: self.hits.read(),
            misses: self.misses.read(),
            stale: self.stale.read(),
            renewed: self.renewed.read(),
            evicted: self.evicted.read(),
            refused: self.refused.read(),
            recirculated: self.recirculated.read(),
            sleeps: self.sleeps.read(),
            cache_entries: self.cache_entries.read(),
            queues: Vec::new(),
        }
    }
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Counts `count` more. Only ever called by one thread, so no locked instruction is needed.
    #[inline]
    pub fn add(&self, count: u64) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(count), Ordering::Relaxed);
    }

    /// Makes it this count; only ever called by the same thread.
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// The count.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Packets that came in by a port and were dropped, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Drops {
    /// Dropped for this reason.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        let counts = self.0.iter();
        DropReason::ALL.iter().copied().zip(counts.copied())
    }
}

impl Default for Drops {
    fn default() -> Drops {
        Drops([0; DropReason::ALL.len()])
    }
}

/// The live side of [`Drops`], written by one worker.
#[derive(Debug)]
pub struct DropCounters([Tally; DropReason::ALL.len()]);

impl Default for DropCounters {
    fn default() -> DropCounters {
        DropCounters(std::array::from_fn(|_| Tally::default()))
    }
}

impl DropCounters {
    /// Counts `count` packets more.
    #[inline]
    pub fn add(&self, reason: DropReason, count: u64) {
        self.0[reason as usize].add(count);
    }

    /// Adds what was counted so far to `sum`.
    pub fn add_to(&self, sum: &mut Drops) {
        for (sum, tally) in sum.0.iter_mut().zip(&self.0) {
            *sum += tally.read();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_several_workers_are_summed() {
        let workers = [DropCounters::default(), DropCounters::default()];
        workers[0].add(DropReason::TableMiss, 2);
        workers[1].add(DropReason::TableMiss, 3);
        workers[1].add(DropReason::TooLong, 1);
        let mut sum = Drops::default();
        workers.iter().for_each(|worker| worker.add_to(&mut sum));
        assert_eq!(sum.of(DropReason::TableMiss), 5);
        assert_eq!(sum.total(), 6);
        let seen: Vec<_> = sum.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(seen, [(DropReason::TableMiss, 5), (DropReason::TooLong, 1)]);
    }

    #[test]
    fn every_reason_has_its_place() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
