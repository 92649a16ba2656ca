//! Frames as they come in, and Ethernet, IPv4 and IPv6 headers for those that go out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flowtable::fragments::Rest;
use flowtable::{FlowKey, Layout, eth_type, has_right_checksums, ip_proto, parse};

use super::settings::{v4, v6};

/// A frame that came in, and what the parser made of it.
#[derive(Debug)]
pub struct Received<'a> {
    bytes: &'a [u8],
    /// Its headers.
    pub key: FlowKey,
    layout: Layout,
}

impl<'a> Received<'a> {
    /// Reads a frame; none if a checksum in it is wrong. The checksum in a fragment is one of more
    /// than is there.
    pub fn parse(bytes: &'a [u8]) -> Option<Received<'a>> {
        let mut key = FlowKey::default();
        let layout = parse(bytes, &mut key);
        let right = |key| has_right_checksums(bytes, key, &layout, Rest::default());
        let is_right = key.ip_frag != 0 || right(&key);
        is_right.then_some(Received { bytes, key, layout })
    }

    /// The IP packet; empty if there is none that is whole.
    pub fn packet(&self) -> &'a [u8] {
        self.from(self.layout.l3)
    }

    /// Bytes before the IP packet.
    pub fn link_len(&self) -> usize {
        self.layout.l3.into()
    }

    /// From the transport header on; empty if there is none.
    pub fn transport(&self) -> &'a [u8] {
        self.from(self.layout.l4)
    }

    fn from(&self, start: u16) -> &'a [u8] {
        let range = usize::from(start)..usize::from(self.layout.end);
        let found = self.bytes.get(range).filter(|_| start > 0);
        found.unwrap_or_default()
    }

    /// Source and destination of the IP packet.
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        let key = &self.key;
        match key.eth_type {
            _ if self.layout.l3 == 0 => None,
            eth_type::IPV4 => Some((v4(key.ipv4_src), v4(key.ipv4_dst))),
            eth_type::IPV6 => Some((v6(key.ipv6_src), v6(key.ipv6_dst))),
            _ => None,
        }
    }

    /// Whether it is ICMP, over IPv6 or not, with its header.
    pub fn is_icmp(&self) -> bool {
        let proto = match self.key.eth_type {
            eth_type::IPV4 => ip_proto::ICMP,
            _ => ip_proto::ICMPV6,
        };
        self.key.ip_proto == proto && self.layout.l4 > 0
    }

    /// The VLAN tag that it came with.
    pub fn tag(&self) -> Option<Tag> {
        Tag::of(&self.key)
    }
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    tpid: u16,
    tci: u16,
}

impl Tag {
    /// The outer tag of a frame, if it has one.
    pub fn of(key: &FlowKey) -> Option<Tag> {
        let tci = key.vlan_tci;
        (tci & flowtable::VLAN_PRESENT != 0).then_some(Tag {
            tpid: key.vlan_tpid,
            tci: tci & !flowtable::VLAN_PRESENT,
        })
    }
}

/// A frame: destination and source, 48 bits each, a tag if it has one, type, and what it carries.
pub fn ethernet((to, from): (u64, u64), tag: Option<Tag>, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(18 + payload.len());
    frame.extend_from_slice(&to.to_be_bytes()[2..]);
    frame.extend_from_slice(&from.to_be_bytes()[2..]);
    if let Some(tag) = tag {
        frame.extend_from_slice(&tag.tpid.to_be_bytes());
        frame.extend_from_slice(&tag.tci.to_be_bytes());
    }
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// An IPv4 packet that is not fragmented on its way.
pub fn ipv4((from, to): (Ipv4Addr, Ipv4Addr), tos: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (IPV4_HEADER + payload.len()).min(usize::from(u16::MAX)) as u16;
    let [high, low] = length.to_be_bytes();
    let mut header = [
        0x45, tos, high, low, 0, 0, 0x40, 0, TTL, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    header[12..16].copy_from_slice(&from.octets());
    header[16..].copy_from_slice(&to.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header, payload].concat()
}

/// An IPv6 packet.
pub fn ipv6(
    (from, to): (Ipv6Addr, Ipv6Addr),
    class: u8,
    (protocol, hop_limit): (u8, u8),
    payload: &[u8],
) -> Vec<u8> {
    let length = payload.len().min(usize::from(u16::MAX)) as u16;
    let mut header = [0; IPV6_HEADER];
    header[..4].copy_from_slice(&(6 << 28 | u32::from(class) << 20).to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());
    (header[6], header[7]) = (protocol, hop_limit);
    header[8..24].copy_from_slice(&from.octets());
    header[24..].copy_from_slice(&to.octets());
    [&header, payload].concat()
}

/// An ICMPv6 packet, its checksum, over the pseudo header too (RFC 8200 §8.1), filled in.
pub fn icmpv6(
    (from, to): (Ipv6Addr, Ipv6Addr),
    class: u8,
    hop_limit: u8,
    mut message: Vec<u8>,
) -> Vec<u8> {
    let length = (message.len() as u32).to_be_bytes();
    let protocol = [0, ip_proto::ICMPV6];
    let sum = checksum(&[&from.octets(), &to.octets(), &length, &protocol, &message]);
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    ipv6((from, to), class, (ip_proto::ICMPV6, hop_limit), &message)
}

/// The checksum of parts in a row, all but the last of even length (RFC 1071).
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let word = |pair: &[u8]| match *pair {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    };
    let words = parts.iter().flat_map(|part| part.chunks(2)).map(word);
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Bytes of an IPv4 header without options.
pub const IPV4_HEADER: usize = 20;
/// Bytes of an IPv6 header.
pub const IPV6_HEADER: usize = 40;
/// What packets of our own begin with (RFC 1700).
pub const TTL: u8 = 64;
