//! Where each field lies in a packet, and which checksums cover it.

use flowtable::{FRAGMENT_LATER, Field, eth_type, ip_proto};

use super::{Frame, tags};
use flowtable::icmpv6_type::{NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION};

/// Where a field lies.
pub enum Place {
    /// Here.
    At(Spot),
    /// In a header, option or part of a datagram that the packet does not have, or not whole.
    Absent,
}

/// A field within an integer of 1 to 16 bytes, most significant byte first.
pub struct Spot {
    /// Offset of the integer in the frame.
    pub at: usize,
    /// Its bytes.
    pub len: usize,
    /// Bits to the right of the field.
    pub shift: u32,
    /// Ones in the width that the field has on the wire.
    pub ones: u128,
    /// What covers it.
    pub cover: Cover,
}

/// Which checksums cover some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// None.
    Nothing,
    /// That of the IPv4 header.
    Ip,
    /// That of the transport header, whose pseudo header has them.
    Pseudo,
    /// Both.
    IpAndPseudo,
    /// That of the transport header, for the protocol number of IPv6: in the IPv6 header it is
    /// the first byte of a 16-bit word, in the pseudo header the second (RFC 8200 §8.1).
    NextHeader,
    /// That of the transport header they are in.
    Transport,
}

/// Finds the place of a field.
pub fn find(frame: &Frame, field: Field) -> Place {
    use Field::*;
    match field {
        EthDst => at(0, 6, 0, field, Cover::Nothing),
        EthSrc => at(6, 6, 0, field, Cover::Nothing),
        VlanVid | VlanPcp => in_vlan(frame, field),
        EthType | MplsLabel | MplsTc | MplsBos | MplsTtl | PbbIsid => in_link(frame, field),
        IpDscp | IpEcn | IpProto | IpTtl | Ipv4Src | Ipv4Dst | Ipv6Src | Ipv6Dst | Ipv6Flabel => {
            match frame.headers.eth_type {
                eth_type::IPV4 => in_ipv4(frame, field),
                eth_type::IPV6 => in_ipv6(frame, field),
                _ => Place::Absent,
            }
        }
        ArpOp | ArpSpa | ArpTpa | ArpSha | ArpTha => in_arp(frame, field),
        TcpSrc | TcpDst | TcpFlags => in_transport(frame, field, ip_proto::TCP),
        UdpSrc | UdpDst => in_transport(frame, field, ip_proto::UDP),
        SctpSrc | SctpDst => in_transport(frame, field, ip_proto::SCTP),
        Icmpv4Type | Icmpv4Code => in_transport(frame, field, ip_proto::ICMP),
        Icmpv6Type | Icmpv6Code | NdTarget | NdSll | NdTll | NdReserved | NdOptionsType => {
            in_transport(frame, field, ip_proto::ICMPV6)
        }
        _ => Place::Absent,
    }
}

fn at(at: usize, len: usize, shift: u32, field: Field, cover: Cover) -> Place {
    let ones = field.ones();
    Place::At(Spot {
        at,
        len,
        shift,
        ones,
        cover,
    })
}

fn in_vlan(frame: &Frame, field: Field) -> Place {
    if !frame.u16_at(12).is_some_and(tags::is_vlan) {
        return Place::Absent;
    }
    let (shift, ones) = match field {
        Field::VlanVid => (0, 0xfff),
        _ => (13, 7),
    };
    let cover = Cover::Nothing;
    Place::At(Spot {
        at: 14,
        len: 2,
        shift,
        ones,
        cover,
    })
}

fn in_link(frame: &Frame, field: Field) -> Place {
    let Some((type_at, eth_type)) = tags::ether_type(frame.bytes) else {
        return Place::Absent;
    };
    let (within, len, shift) = match field {
        Field::EthType => (0, 2, 0),
        Field::PbbIsid if eth_type == eth_type::PBB => (2, 4, 0),
        Field::MplsLabel if tags::is_mpls(eth_type) => (2, 4, 12),
        Field::MplsTc if tags::is_mpls(eth_type) => (2, 4, 9),
        Field::MplsBos if tags::is_mpls(eth_type) => (2, 4, 8),
        Field::MplsTtl if tags::is_mpls(eth_type) => (2, 4, 0),
        _ => return Place::Absent,
    };
    at(type_at + within, len, shift, field, Cover::Nothing)
}

fn in_ipv4(frame: &Frame, field: Field) -> Place {
    let Some(l3) = frame.headers.l3() else {
        return Place::Absent;
    };
    match field {
        Field::IpDscp => at(l3 + 1, 1, 2, field, Cover::Ip),
        Field::IpEcn => at(l3 + 1, 1, 0, field, Cover::Ip),
        Field::IpTtl => at(l3 + 8, 1, 0, field, Cover::Ip),
        Field::IpProto => at(l3 + 9, 1, 0, field, Cover::IpAndPseudo),
        Field::Ipv4Src => at(l3 + 12, 4, 0, field, Cover::IpAndPseudo),
        Field::Ipv4Dst => at(l3 + 16, 4, 0, field, Cover::IpAndPseudo),
        _ => Place::Absent,
    }
}

fn in_ipv6(frame: &Frame, field: Field) -> Place {
    let Some(l3) = frame.headers.l3() else {
        return Place::Absent;
    };
    match field {
        Field::IpDscp => at(l3, 2, 6, field, Cover::Nothing),
        Field::IpEcn => at(l3, 2, 4, field, Cover::Nothing),
        Field::Ipv6Flabel => at(l3, 4, 0, field, Cover::Nothing),
        Field::IpTtl => at(l3 + 7, 1, 0, field, Cover::Nothing),
        Field::IpProto => match extension_headers(frame, l3) {
            Some(chain) => at(chain.last_next_header, 1, 0, field, Cover::NextHeader),
            None => Place::Absent,
        },
        Field::Ipv6Src => at(l3 + 8, 16, 0, field, Cover::Pseudo),
        Field::Ipv6Dst => match extension_headers(frame, l3) {
            Some(chain) if chain.routed => at(l3 + 24, 16, 0, field, Cover::Nothing),
            _ => at(l3 + 24, 16, 0, field, Cover::Pseudo),
        },
        _ => Place::Absent,
    }
}

/// What counts of a chain of IPv6 extension headers (RFC 8200 §4).
struct Chain {
    /// Offset of the byte that names the transport protocol.
    last_next_header: usize,
    /// Whether a routing header has segments left: then the pseudo header has the last of these
    /// as its destination (§8.1), not the address in the IPv6 header.
    routed: bool,
}

fn extension_headers(frame: &Frame, l3: usize) -> Option<Chain> {
    let mut chain = Chain {
        last_next_header: l3 + 6,
        routed: false,
    };
    let mut header = l3 + 40;
    // Every extension header has at least 8 bytes, so the frame bounds the walk.
    loop {
        let next = *frame.bytes.get(chain.last_next_header)?;
        let len = match next {
            ip_proto::HOP_BY_HOP | ip_proto::ROUTING | ip_proto::DESTINATION => {
                8 + 8 * usize::from(*frame.bytes.get(header + 1)?)
            }
            ip_proto::AH => 8 + 4 * usize::from(*frame.bytes.get(header + 1)?),
            ip_proto::FRAGMENT => 8,
            _ => return Some(chain),
        };
        if next == ip_proto::ROUTING {
            chain.routed |= *frame.bytes.get(header + 3)? > 0;
        }
        chain.last_next_header = header;
        header += len;
        if next == ip_proto::FRAGMENT && frame.headers.ip_frag & FRAGMENT_LATER != 0 {
            return Some(chain);
        }
    }
}

fn in_arp(frame: &Frame, field: Field) -> Place {
    if !matches!(frame.headers.eth_type, eth_type::ARP | eth_type::RARP) {
        return Place::Absent;
    }
    let Some(l3) = frame.headers.l3() else {
        return Place::Absent;
    };
    let (within, len) = match field {
        Field::ArpOp => (6, 2),
        Field::ArpSha => (8, 6),
        Field::ArpSpa => (14, 4),
        Field::ArpTha => (18, 6),
        _ => (24, 4),
    };
    at(l3 + within, len, 0, field, Cover::Nothing)
}

fn in_transport(frame: &Frame, field: Field, proto: u8) -> Place {
    let fragment = frame.headers.ip_frag;
    // The CRC of a fragmented SCTP packet cannot be updated without its length.
    if frame.headers.ip_proto != proto
        || fragment & FRAGMENT_LATER != 0
        || fragment != 0 && proto == ip_proto::SCTP
    {
        return Place::Absent;
    }
    let Some(l4) = frame.headers.l4() else {
        return Place::Absent;
    };
    let (within, len) = match field {
        Field::TcpDst | Field::UdpDst | Field::SctpDst => (2, 2),
        Field::TcpFlags => (12, 2),
        Field::Icmpv4Type | Field::Icmpv6Type => (0, 1),
        Field::Icmpv4Code | Field::Icmpv6Code => (1, 1),
        Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => (0, 2),
        _ => return in_nd(frame, field, l4),
    };
    at(l4 + within, len, 0, field, Cover::Transport)
}

/// Neighbour solicitations and advertisements (RFC 4861 §4.3, §4.4).
fn in_nd(frame: &Frame, field: Field, l4: usize) -> Place {
    let is_solicitation = match frame.bytes.get(l4).copied().map(u16::from) {
        Some(NEIGHBOUR_SOLICITATION) => true,
        Some(NEIGHBOUR_ADVERTISEMENT) => false,
        _ => return Place::Absent,
    };
    match field {
        Field::NdSll if is_solicitation => nd_option(frame, field, l4, 1),
        Field::NdTll if !is_solicitation => nd_option(frame, field, l4, 2),
        Field::NdTarget => at(l4 + 8, 16, 0, field, Cover::Transport),
        Field::NdReserved => at(l4 + 4, 4, 0, field, Cover::Transport),
        // As Open vSwitch writes it: in the first option, whichever that is.
        Field::NdOptionsType if frame.end() >= l4 + ND_OPTIONS + ND_OPTION_LEN => {
            at(l4 + ND_OPTIONS, 1, 0, field, Cover::Transport)
        }
        _ => Place::Absent,
    }
}

/// The link-layer address in the first option of this type (RFC 4861 §4.6.1).
fn nd_option(frame: &Frame, field: Field, l4: usize, wanted: u8) -> Place {
    let mut option = l4 + ND_OPTIONS;
    while let Some(&[kind, units]) = frame.bytes.get(option..option + 2) {
        match (kind, units) {
            (_, 0) => return Place::Absent,
            (kind, 1) if kind == wanted => return at(option + 2, 6, 0, field, Cover::Transport),
            _ => option += 8 * usize::from(units),
        }
    }
    Place::Absent
}

/// Where the options of a neighbour solicitation or advertisement start.
const ND_OPTIONS: usize = 24;
/// Shortest option.
const ND_OPTION_LEN: usize = 8;
