//! What is told of a scenario: a rate, cycles, a throughput or a latency.

use serde::{Deserialize, Serialize};

use super::measure::Sample;

/// One figure of a measurement; each is a row of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Figure {
    /// Millions of packets a second.
    Mpps,
    /// Cycles for a packet, as the switch counts them.
    Cycles,
    /// Millions of connections that begin a second.
    SetUps,
    /// Millions of connections that are ended a second, all at once.
    TearDowns,
    /// Millions of connections at a time.
    Connections,
    /// Bytes of memory for a connection.
    Bytes,
    /// Millions of bits a second.
    Mbps,
    /// Microseconds within which half of the packets were through.
    Latency50,
    /// Microseconds within which 99 % were.
    Latency99,
    /// Microseconds within which 99.9 % were.
    Latency999,
}

/// All latencies, in the order of [`Sample::latency_us`].
pub const LATENCIES: [Figure; 3] = [Figure::Latency50, Figure::Latency99, Figure::Latency999];

impl Figure {
    /// What a sample says.
    pub fn of(self, sample: &Sample) -> Option<f64> {
        let latency = |place: usize| sample.latency_us.map(|latencies| latencies[place]);
        match self {
            Figure::Mpps | Figure::SetUps => Some(sample.mpps),
            Figure::TearDowns => sample.tear_downs,
            Figure::Connections => sample.connections,
            Figure::Bytes => sample.bytes,
            Figure::Cycles => sample.cycles_of_switch(),
            Figure::Mbps => sample.mbps,
            Figure::Latency50 => latency(0),
            Figure::Latency99 => latency(1),
            Figure::Latency999 => latency(2),
        }
    }

    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Figure::Mpps => "Mpps",
            Figure::Cycles => "cycles",
            Figure::SetUps | Figure::TearDowns => "M/s",
            Figure::Connections => "M",
            Figure::Bytes => "bytes",
            Figure::Mbps => "Mb/s",
            Figure::Latency50 | Figure::Latency99 | Figure::Latency999 => "us",
        }
    }

    /// What a row's name has behind that of its scenario.
    pub fn suffix(self) -> &'static str {
        match self {
            Figure::Mpps | Figure::Mbps => "",
            Figure::SetUps => "-set-up",
            Figure::TearDowns => "-tear-down",
            Figure::Connections => "-connections",
            Figure::Bytes => "-bytes",
            Figure::Cycles => "-cycles",
            Figure::Latency50 => "-p50",
            Figure::Latency99 => "-p99",
            Figure::Latency999 => "-p99.9",
        }
    }

    /// Whether less of it is better.
    pub fn is_cost(self) -> bool {
        !matches!(
            self,
            Figure::Mpps | Figure::Mbps | Figure::SetUps | Figure::TearDowns | Figure::Connections
        )
    }
}
