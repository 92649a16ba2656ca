//! Counters of queues and ports: written by one worker each, read by control.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a port lost a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LostReason {
    /// Received with metadata or in a form that makes no sense.
    Malformed,
    /// No packet buffer was free.
    NoBuffer,
    /// The device had received more than was fetched from it.
    Missed,
    /// The device or the kernel reported an error.
    Device,
    /// The transmit queue was full.
    Full,
    /// Longer than the port's MTU.
    TooLong,
    /// The port was down, or nobody was connected.
    Down,
}

impl LostReason {
    /// Every reason, in order of its number.
    pub const ALL: [LostReason; 7] = [
        LostReason::Malformed,
        LostReason::NoBuffer,
        LostReason::Missed,
        LostReason::Device,
        LostReason::Full,
        LostReason::TooLong,
        LostReason::Down,
    ];

    /// Label for people and metrics.
    pub fn label(self) -> &'static str {
        match self {
            LostReason::Malformed => "malformed",
            LostReason::NoBuffer => "no_buffer",
            LostReason::Missed => "missed",
            LostReason::Device => "device_error",
            LostReason::Full => "queue_full",
            LostReason::TooLong => "too_long",
            LostReason::Down => "down",
        }
    }
}

const REASONS: usize = LostReason::ALL.len();

/// Packets lost, by reason.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops([u64; REASONS]);

impl Drops {
    /// Those lost for one reason.
    pub fn of(&self, reason: LostReason) -> u64 {
        self.0[reason as usize]
    }

    /// All.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The reasons that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (LostReason, u64)> + '_ {
        let all = LostReason::ALL
            .iter()
            .map(|&reason| (reason, self.of(reason)));
        all.filter(|&(_, count)| count > 0)
    }

    /// Adds so many lost for a reason.
    pub fn add(&mut self, reason: LostReason, count: u64) {
        self.0[reason as usize] += count;
    }
}

impl fmt::Debug for Drops {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_map()
            .entries(self.iter().map(|(why, count)| (why.label(), count)))
            .finish()
    }
}

/// What went through one queue, or one direction of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounters {
    /// Packets that went through; a super-frame is one.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that were lost.
    pub drops: Drops,
}

impl QueueCounters {
    pub(crate) fn add(&mut self, other: &QueueCounters) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        for (reason, count) in other.drops.iter() {
            self.drops.add(reason, count);
        }
    }
}

/// What went through a port, and each of its queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Received: the sum over queues, and what the device lost before them.
    pub rx: QueueCounters,
    /// Sent: the sum over queues.
    pub tx: QueueCounters,
    /// Each receive queue.
    pub rx_queues: Vec<QueueCounters>,
    /// Each transmit queue.
    pub tx_queues: Vec<QueueCounters>,
}

impl PortCounters {
    pub(crate) fn of(rx: &[LiveCounters], tx: &[LiveCounters]) -> PortCounters {
        let mut counters = PortCounters {
            rx_queues: rx.iter().map(LiveCounters::read).collect(),
            tx_queues: tx.iter().map(LiveCounters::read).collect(),
            ..PortCounters::default()
        };
        counters
            .rx_queues
            .iter()
            .for_each(|queue| counters.rx.add(queue));
        counters
            .tx_queues
            .iter()
            .for_each(|queue| counters.tx.add(queue));
        counters
    }
}

/// Counters of one queue while it is in use. Only the queue's owner adds to them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct LiveCounters {
    packets: AtomicU64,
    bytes: AtomicU64,
    drops: [AtomicU64; REASONS],
}

impl LiveCounters {
    /// So many, all zero.
    pub(crate) fn several(count: usize) -> Box<[LiveCounters]> {
        (0..count).map(|_| LiveCounters::default()).collect()
    }

    #[inline]
    pub(crate) fn add(&self, packets: u64, bytes: u64) {
        bump(&self.packets, packets);
        bump(&self.bytes, bytes);
    }

    #[inline]
    pub(crate) fn lost(&self, reason: LostReason, packets: u64) {
        bump(&self.drops[reason as usize], packets);
    }

    pub(crate) fn read(&self) -> QueueCounters {
        QueueCounters {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            drops: Drops(std::array::from_fn(|index| {
                self.drops[index].load(Ordering::Relaxed)
            })),
        }
    }
}

/// Adds without a locked instruction: there is one writer.
#[inline]
fn bump(counter: &AtomicU64, count: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(count),
        Ordering::Relaxed,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_sum_their_queues() {
        let (rx, tx) = (LiveCounters::several(2), LiveCounters::several(1));
        rx[0].add(3, 300);
        rx[1].add(1, 60);
        rx[1].lost(LostReason::NoBuffer, 2);
        tx[0].lost(LostReason::Full, 5);
        let counters = PortCounters::of(&rx, &tx);
        assert_eq!((counters.rx.packets, counters.rx.bytes), (4, 360));
        assert_eq!(
            counters.rx.drops.iter().collect::<Vec<_>>(),
            [(LostReason::NoBuffer, 2)]
        );
        assert_eq!(counters.tx.drops.of(LostReason::Full), 5);
        assert_eq!(counters.tx.drops.total(), 5);
        assert_eq!(counters.rx_queues[1].packets, 1);
    }
}
