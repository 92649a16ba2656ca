//! Numbers of protocols that the parser and the prerequisites of match fields both know.

/// Ethernet type that a key has for 802.2 frames without SNAP (OpenFlow 1.3.5 §7.2.3.7).
pub const ETH_TYPE_LLC: u16 = 0x05ff;

/// Ethernet types.
pub mod eth_type {
    /// Internet protocol, version 4.
    pub const IPV4: u16 = 0x0800;
    /// Address resolution protocol.
    pub const ARP: u16 = 0x0806;
    /// Reverse address resolution protocol.
    pub const RARP: u16 = 0x8035;
    /// Internet protocol, version 6.
    pub const IPV6: u16 = 0x86dd;
    /// Multiprotocol label switching.
    pub const MPLS: u16 = 0x8847;
    /// Multiprotocol label switching with an upstream-assigned label (once: multicast).
    pub const MPLS_MULTICAST: u16 = 0x8848;
    /// Provider backbone bridging, service instance tag.
    pub const PBB: u16 = 0x88e7;
}

/// IP protocols and IPv6 extension headers.
pub mod ip_proto {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Internet control message protocol.
    pub const ICMP: u8 = 1;
    /// Transmission control protocol.
    pub const TCP: u8 = 6;
    /// User datagram protocol.
    pub const UDP: u8 = 17;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Encapsulating security payload.
    pub const ESP: u8 = 50;
    /// Authentication header.
    pub const AH: u8 = 51;
    /// Internet control message protocol for IPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 no next header.
    pub const NO_NEXT: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
    /// Stream control transmission protocol.
    pub const SCTP: u8 = 132;
}

/// Type and code of the errors of ICMP and ICMPv6 that tell of a path how long packets may be.
pub mod too_big {
    /// Fragmentation needed and DF set (RFC 1191 §4).
    pub const V4: [u8; 2] = [3, 4];
    /// Packet too big (RFC 4443 §3.2).
    pub const V6: [u8; 2] = [2, 0];
}

/// ICMPv6 types, as wide as the key holds them.
pub mod icmpv6_type {
    /// Neighbour solicitation.
    pub const NEIGHBOUR_SOLICITATION: u16 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOUR_ADVERTISEMENT: u16 = 136;
}

/// IPv6 extension header flags (`OFPIEH_*`, OpenFlow 1.3.5 §7.2.3.7).
pub mod exthdr {
    /// "No next header" encountered.
    pub const NONEXT: u16 = 1 << 0;
    /// Encrypted security payload header present.
    pub const ESP: u16 = 1 << 1;
    /// Authentication header present.
    pub const AUTH: u16 = 1 << 2;
    /// One or more destination options headers present.
    pub const DEST: u16 = 1 << 3;
    /// Fragment header present.
    pub const FRAG: u16 = 1 << 4;
    /// Routing header present.
    pub const ROUTER: u16 = 1 << 5;
    /// Hop-by-hop header present as the first header.
    pub const HOP: u16 = 1 << 6;
    /// Unexpected repeats encountered.
    pub const UNREP: u16 = 1 << 7;
    /// Headers out of the order that RFC 8200 §4.1 recommends.
    pub const UNSEQ: u16 = 1 << 8;
}
