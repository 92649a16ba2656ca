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
    /// Nothing says where a tunnel leads to.
    NoTunnelDestination,
    /// No route leads to the other end of a tunnel.
    NoRoute,
    /// The next hop to the other end of a tunnel does not answer, or not yet.
    NoNeighbour,
    /// With the headers of a tunnel it is longer than the path to the other end takes.
    TooBig,
    /// A fragment of what came by a tunnel.
    TunnelFragment,
    /// Tunnel headers that contradict themselves, or too short a frame within.
    TunnelLength,
    /// Tunnel headers of another version, with other flags, or with another protocol within.
    TunnelHeader,
    /// A wrong checksum around what came by a tunnel.
    TunnelChecksum,
    /// A critical option of a tunnel that is not understood, or more options than may go before a
    /// packet.
    TunnelOption,
    /// No tunnel port has the key and addresses by which it came.
    TunnelUnknown,
    /// It met congestion in a tunnel, and cannot say so.
    TunnelCongestion,
    /// Too many tables, groups, patch ports or recirculations.
    TooDeep,
    /// The table of connections is full.
    ConnectionsFull,
    /// The zone has as many connections as it may.
    ZoneFull,
    /// All addresses and ports that it could be translated to are taken.
    NoTranslation,
    /// A fragment to be tracked that no datagram can have, or a first one without all headers.
    FragmentMalformed,
    /// A fragment to be tracked that repeats or contradicts others of its datagram.
    FragmentOverlap,
    /// More fragments wait to be tracked than may, of this datagram, of its owner or of all.
    FragmentsFull,
    /// A fragment to be tracked whose others did not come in time.
    FragmentTimeout,
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
        DropReason::NoTunnelDestination,
        DropReason::NoRoute,
        DropReason::NoNeighbour,
        DropReason::TooBig,
        DropReason::TunnelFragment,
        DropReason::TunnelLength,
        DropReason::TunnelHeader,
        DropReason::TunnelChecksum,
        DropReason::TunnelOption,
        DropReason::TunnelUnknown,
        DropReason::TunnelCongestion,
        DropReason::TooDeep,
        DropReason::ConnectionsFull,
        DropReason::ZoneFull,
        DropReason::NoTranslation,
        DropReason::FragmentMalformed,
        DropReason::FragmentOverlap,
        DropReason::FragmentsFull,
        DropReason::FragmentTimeout,
        DropReason::Malformed,
        DropReason::NoBuffer,
        DropReason::PuntQueueFull,
        DropReason::TransmitFull,
        DropReason::TooLong,
    ];

    /// Whether the sender may be owed an answer.
    #[inline]
    pub fn is_answered(self) -> bool {
        matches!(self, DropReason::InvalidTtl | DropReason::TooBig)
    }

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
            DropReason::NoTunnelDestination => "no_tunnel_destination",
            DropReason::NoRoute => "no_route",
            DropReason::NoNeighbour => "no_neighbour",
            DropReason::TooBig => "too_big",
            DropReason::TunnelFragment => "tunnel_fragment",
            DropReason::TunnelLength => "tunnel_length",
            DropReason::TunnelHeader => "tunnel_header",
            DropReason::TunnelChecksum => "tunnel_checksum",
            DropReason::TunnelOption => "tunnel_option",
            DropReason::TunnelUnknown => "tunnel_unknown",
            DropReason::TunnelCongestion => "tunnel_congestion",
            DropReason::TooDeep => "too_deep",
            DropReason::ConnectionsFull => "connections_full",
            DropReason::ZoneFull => "zone_full",
            DropReason::NoTranslation => "no_translation",
            DropReason::FragmentMalformed => "fragment_malformed",
            DropReason::FragmentOverlap => "fragment_overlap",
            DropReason::FragmentsFull => "fragments_full",
            DropReason::FragmentTimeout => "fragment_timeout",
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
