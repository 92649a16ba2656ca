//! The outer headers of a packet that may have come by a tunnel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{ETHERNET_LEN, GRE, IPV4, IPV6, UDP, be16};

/// Link and network header of a packet whose next header may be a tunnel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Ethernet destination, 48 bits.
    pub eth_dst: u64,
    /// Who sent it.
    pub source: IpAddr,
    /// Who is to have it.
    pub destination: IpAddr,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// It must not be fragmented on its way; always so with IPv6.
    pub dont_fragment: bool,
    /// It is a fragment.
    pub is_fragment: bool,
    /// What follows.
    pub carrier: Carrier,
    /// Where the carrier's header starts.
    pub start: usize,
    /// Where the IP packet ends; 0 if its length contradicts the frame's.
    pub end: usize,
}

/// What carries tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// UDP to this port; 0 for a later fragment.
    Udp(u16),
    /// GRE.
    Gre,
}

impl Outer {
    /// The outer headers of an untagged frame of UDP or GRE over IP; none if it is anything else.
    #[inline]
    pub fn decode(frame: &[u8]) -> Option<Outer> {
        let [a, b, c, d, e, f, ..] = *frame.first_chunk::<ETHERNET_LEN>()?;
        let eth_dst = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        match be16(frame, 12)? {
            IPV4 => ipv4(frame, eth_dst),
            IPV6 => ipv6(frame, eth_dst),
            _ => None,
        }
    }

    /// The key of a frame's network header: where it starts is always the same.
    pub const NETWORK: usize = ETHERNET_LEN;
}

/// RFC 791 §3.1.
fn ipv4(frame: &[u8], eth_dst: u64) -> Option<Outer> {
    let header = frame[ETHERNET_LEN..].first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 15) * 4;
    if header[0] >> 4 != 4 || header_len < header.len() {
        return None;
    }
    let start = ETHERNET_LEN + header_len;
    let fragment = be16(header, 6)?;
    let is_later = fragment & 0x1fff != 0;
    let end = ETHERNET_LEN + usize::from(be16(header, 2)?);
    let [.., a, b, c, d, e, f, g, h] = *header;
    Some(Outer {
        eth_dst,
        source: Ipv4Addr::new(a, b, c, d).into(),
        destination: Ipv4Addr::new(e, f, g, h).into(),
        tos: header[1],
        ttl: header[8],
        dont_fragment: fragment & 0x4000 != 0,
        is_fragment: fragment & 0x3fff != 0,
        carrier: carrier(frame, header[9], start, is_later)?,
        start,
        end: if end <= frame.len() { end } else { 0 },
    })
}

/// RFC 8200 §3. A fragment header is looked behind, since the packet is for us all the same; other
/// extension headers are the host's.
fn ipv6(frame: &[u8], eth_dst: u64) -> Option<Outer> {
    let header = frame[ETHERNET_LEN..].first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let mut start = ETHERNET_LEN + header.len();
    let (mut next, mut fragment) = (header[6], None);
    if next == crate::ip_proto::FRAGMENT {
        let more = frame.get(start..)?.first_chunk::<8>()?;
        (next, fragment) = (more[0], be16(more, 2));
        start += more.len();
    }
    let is_later = fragment.is_some_and(|fragment| fragment & 0xfff8 != 0);
    let end = ETHERNET_LEN + header.len() + usize::from(be16(header, 4)?);
    let address = |at: usize| {
        let bytes = header[at..].first_chunk::<16>()?;
        Some(IpAddr::from(Ipv6Addr::from(*bytes)))
    };
    Some(Outer {
        eth_dst,
        source: address(8)?,
        destination: address(24)?,
        tos: header[0] << 4 | header[1] >> 4,
        ttl: header[7],
        dont_fragment: true,
        is_fragment: fragment.is_some(),
        carrier: carrier(frame, next, start, is_later)?,
        start,
        end: if end <= frame.len() { end } else { 0 },
    })
}

fn carrier(frame: &[u8], protocol: u8, start: usize, is_later: bool) -> Option<Carrier> {
    match protocol {
        UDP if is_later => Some(Carrier::Udp(0)),
        UDP => Some(Carrier::Udp(be16(frame, start + 2)?)),
        GRE => Some(Carrier::Gre),
        _ => None,
    }
}
