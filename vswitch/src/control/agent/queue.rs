//! Queues (OpenFlow 1.3.5 §7.2.2, §7.3.5.8, §7.3.6): each port has one, number 0, without a
//! guaranteed or a highest rate. All that leaves by the port is in it, whatever queue an action
//! chose, so its statistics are the port's.

use openflow::{ErrorCode, OfPort, Queue, QueueConfig, QueueId, QueueStats};

use super::super::ports::Port;
use super::{Agent, Turn};

impl Agent {
    /// How the queues of a port are set up, or of all ports ([`OfPort::ANY`]).
    pub(super) fn queue_config(
        &self,
        turn: &Turn<'_>,
        port: OfPort,
    ) -> Result<QueueConfig, ErrorCode> {
        let ports = self.queue_ports(turn, port)?;
        let queues = ports.into_iter().map(|port| Queue {
            queue: ONLY,
            port: port.of_port,
            rate_permille_min: None,
            rate_permille_max: None,
        });
        let queues = queues.collect();
        Ok(QueueConfig { port, queues })
    }

    /// Statistics of a queue or all ([`QueueId::ALL`]), of a port or all ([`OfPort::ANY`]).
    pub(super) fn queue_stats(
        &self,
        turn: &Turn<'_>,
        port: OfPort,
        queue: QueueId,
    ) -> Result<Vec<QueueStats>, ErrorCode> {
        let ports = self.queue_ports(turn, port)?;
        if queue != ONLY && queue != QueueId::ALL {
            return Err(ErrorCode::QUEUE_OP_FAILED_BAD_QUEUE);
        }
        let stats = ports.into_iter().map(|port| port.stats(turn.now_ms));
        let stats = stats.map(|port| QueueStats {
            port: port.port,
            queue: ONLY,
            tx_bytes: port.tx_bytes,
            tx_packets: port.tx_packets,
            tx_errors: port.tx_dropped.saturating_add(port.tx_errors),
            duration: port.duration,
        });
        Ok(stats.collect())
    }

    fn queue_ports<'a>(
        &self,
        turn: &'a Turn<'_>,
        port: OfPort,
    ) -> Result<Vec<&'a Port>, ErrorCode> {
        if port == OfPort::ANY {
            return Ok(self.ports(turn).collect());
        }
        let number = turn.port(self.bridge, port);
        let port = number.and_then(|number| turn.ports.get(&number));
        Ok(vec![port.ok_or(ErrorCode::QUEUE_OP_FAILED_BAD_PORT)?])
    }
}

/// The number of every port's only queue.
const ONLY: QueueId = QueueId(0);
