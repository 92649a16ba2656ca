//! Queues of a port: configuration and statistics (OpenFlow 1.3.5 §7.2.2, §7.3.5.8, §7.3.6).

use std::time::Duration;

use crate::{OfPort, QueueId};

/// A queue as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Number within its port.
    pub queue: QueueId,
    /// Its port.
    pub port: OfPort,
    /// Guaranteed rate in 1/10 percent.
    pub rate_permille_min: Option<u16>,
    /// Highest rate in 1/10 percent.
    pub rate_permille_max: Option<u16>,
}

/// Reply to a request for the queues of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// Which port; [`OfPort::ANY`] for all.
    pub port: OfPort,
    /// The queues.
    pub queues: Vec<Queue>,
}

/// Statistics of a queue; a counter that is not kept is all ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// Which port.
    pub port: OfPort,
    /// Which queue.
    pub queue: QueueId,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets dropped for overrun.
    pub tx_errors: u64,
    /// How long the queue has been there.
    pub duration: Duration,
}
