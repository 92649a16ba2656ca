//! Why a packet goes nowhere: one enum is the counter, the metric label and the line in a trace.

/// Why a packet goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// No table entry matched, and there is no table-miss entry.
    TableMiss,
    /// The rules gave it no output.
    NoOutput,
    /// Its only output was the port it came in by.
    OutputToIngress,
    /// The port is down or does not exist.
    PortDown,
    /// The port's configuration forbids receiving.
    NoReceive,
    /// A fragment, and the bridge is to drop those.
    Fragment,
    /// The port's configuration forbids forwarding.
    NoForward,
    /// NORMAL has no other port for it: its destination is behind the port it came in by, or is a
    /// bridge's own.
    Normal,
    /// NORMAL: the port it came in by, or every other one, does not carry its VLAN.
    Vlan,
    /// A group has no live bucket.
    NoLiveBucket,
    /// A meter's band.
    Meter,
    /// A table miss for the controller, from a port that is to cause none.
    NoPacketIn,
    /// A time to live that would become 0.
    InvalidTtl,
    /// Too many tables, groups, patch ports or recirculations.
    TooDeep,
    /// The table of connections is full.
    ConnectionsFull,
    /// The zone has as many connections as it may.
    ZoneFull,
    /// All addresses and ports that it could be translated to are taken.
    NoTranslation,
    /// Headers too short for an operation on them.
    Malformed,
    /// No packet buffer was free.
    NoBuffer,
    /// The controller's queue was full.
    PuntQueueFull,
    /// The port's transmit queue was full.
    TransmitFull,
    /// Longer than the port's MTU.
    TooLong,
}

impl DropReason {
    /// Every reason, in order of its number.
    pub const ALL: &[DropReason] = &[
        DropReason::TableMiss,
        DropReason::NoOutput,
        DropReason::OutputToIngress,
        DropReason::PortDown,
        DropReason::NoReceive,
        DropReason::Fragment,
        DropReason::NoForward,
        DropReason::Normal,
        DropReason::Vlan,
        DropReason::NoLiveBucket,
        DropReason::Meter,
        DropReason::NoPacketIn,
        DropReason::InvalidTtl,
        DropReason::TooDeep,
        DropReason::ConnectionsFull,
        DropReason::ZoneFull,
        DropReason::NoTranslation,
        DropReason::Malformed,
        DropReason::NoBuffer,
        DropReason::PuntQueueFull,
        DropReason::TransmitFull,
        DropReason::TooLong,
    ];

    /// Label for people and metrics.
    pub fn label(self) -> &'static str {
        match self {
            DropReason::TableMiss => "table_miss",
            DropReason::NoOutput => "no_output",
            DropReason::OutputToIngress => "output_to_ingress",
            DropReason::PortDown => "port_down",
            DropReason::NoReceive => "no_receive",
            DropReason::Fragment => "fragment",
            DropReason::NoForward => "no_forward",
            DropReason::Normal => "normal",
            DropReason::Vlan => "vlan",
            DropReason::NoLiveBucket => "no_live_bucket",
            DropReason::Meter => "meter",
            DropReason::NoPacketIn => "no_packet_in",
            DropReason::InvalidTtl => "invalid_ttl",
            DropReason::TooDeep => "too_deep",
            DropReason::ConnectionsFull => "connections_full",
            DropReason::ZoneFull => "zone_full",
            DropReason::NoTranslation => "no_translation",
            DropReason::Malformed => "malformed",
            DropReason::NoBuffer => "no_buffer",
            DropReason::PuntQueueFull => "punt_queue_full",
            DropReason::TransmitFull => "transmit_full",
            DropReason::TooLong => "too_long",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_can_look_every_reason_up() {
        let manual = include_str!("../../../docs/vsctl.md");
        for reason in DropReason::ALL {
            let label = reason.label();
            assert!(manual.contains(&format!("`{label}`")), "{label}");
        }
    }
}
