//! What follows the Ethernet type: MPLS (RFC 3032), PBB (IEEE 802.1Q §9.7), ARP (RFC 826), IPv4
//! (RFC 791), IPv6 (RFC 8200).

use super::bytes::{u16_at, u32_at, u48_at, u128_at};
use super::{Layout, extension};
use crate::{FRAGMENT_ANY, FRAGMENT_LATER, FlowKey, eth_type};

/// Reads the header that the Ethernet type announces, and what is in it. `rest` starts there, `at`
/// bytes into the frame. Returns what an IP datagram carries for a transport protocol, if it has
/// the start of it.
#[inline(always)]
pub(super) fn parse<'a>(
    rest: &'a [u8],
    at: usize,
    key: &mut FlowKey,
    layout: &mut Layout,
) -> Option<&'a [u8]> {
    match key.eth_type {
        eth_type::IPV4 => return ipv4(rest, at, key, layout),
        eth_type::IPV6 => return ipv6(rest, at, key, layout),
        eth_type::ARP | eth_type::RARP => arp(rest, at, key, layout),
        eth_type::MPLS | eth_type::MPLS_MULTICAST => {
            key.mpls = rest.first_chunk::<4>().map_or(0, |entry| u32_at(entry, 0));
        }
        eth_type::PBB => {
            let tag = rest.first_chunk::<4>();
            key.pbb_isid = tag.map_or(0, |tag| u32_at(tag, 0) & 0xff_ffff);
        }
        _ => (),
    }
    None
}

#[inline(always)]
fn ipv4<'a>(rest: &'a [u8], at: usize, key: &mut FlowKey, layout: &mut Layout) -> Option<&'a [u8]> {
    let ip = rest.first_chunk::<IPV4_LEN>()?;
    let total_len = usize::from(u16_at(ip, 2));
    let payload = match ip[0] {
        IPV4_PLAIN => rest.get(IPV4_LEN..total_len)?,
        IPV4_OPTIONS..=0x4f => rest.get(usize::from(ip[0] & 0xf) * 4..total_len)?,
        _ => return None,
    };
    layout.l3 = at as u16;
    layout.end = (at + total_len) as u16;
    key.ip_tos = ip[1];
    key.ip_ttl = ip[8];
    key.ip_proto = ip[9];
    key.ipv4_src = u32_at(ip, 12);
    key.ipv4_dst = u32_at(ip, 16);
    let fragment = u16_at(ip, 6);
    if fragment & (IPV4_MORE | IPV4_OFFSET) != 0 {
        key.ip_frag = FRAGMENT_ANY;
        if fragment & IPV4_OFFSET != 0 {
            key.ip_frag |= FRAGMENT_LATER;
            return None;
        }
    }
    Some(payload)
}

#[inline(always)]
fn ipv6<'a>(rest: &'a [u8], at: usize, key: &mut FlowKey, layout: &mut Layout) -> Option<&'a [u8]> {
    let (ip, rest) = rest.split_first_chunk::<IPV6_LEN>()?;
    let payload_len = usize::from(u16_at(ip, 4));
    let payload = rest.get(..payload_len).filter(|_| ip[0] >> 4 == 6)?;
    layout.l3 = at as u16;
    layout.end = (at + IPV6_LEN + payload_len) as u16;
    key.ip_tos = (u16_at(ip, 0) >> 4) as u8;
    key.ipv6_flabel = u32_at(ip, 0) & 0xf_ffff;
    key.ip_ttl = ip[7];
    key.ipv6_src = u128_at(ip, 8);
    key.ipv6_dst = u128_at(ip, 24);
    extension::parse(payload, ip[6], key)
}

/// Reads ARP or RARP for IPv4 over Ethernet; of any other kind nothing.
fn arp(rest: &[u8], at: usize, key: &mut FlowKey, layout: &mut Layout) {
    let Some(arp) = rest.first_chunk::<ARP_LEN>() else {
        return;
    };
    if arp[..6] != ARP_IPV4_OVER_ETHERNET {
        return;
    }
    layout.l3 = at as u16;
    key.arp_op = u16_at(arp, 6);
    key.arp_sha = u48_at(arp, 8);
    key.ipv4_src = u32_at(arp, 14);
    key.arp_tha = u48_at(arp, 18);
    key.ipv4_dst = u32_at(arp, 24);
}

const IPV4_LEN: usize = 20;
/// Version 4 and a header length of five words: no options.
const IPV4_PLAIN: u8 = 0x45;
/// Version 4 and one word of options; up to ten follow.
const IPV4_OPTIONS: u8 = 0x46;
const IPV4_MORE: u16 = 0x2000;
const IPV4_OFFSET: u16 = 0x1fff;
const IPV6_LEN: usize = 40;
const ARP_LEN: usize = 28;
/// Hardware type 1, protocol type IPv4, address lengths 6 and 4.
const ARP_IPV4_OVER_ETHERNET: [u8; 6] = [0, 1, 8, 0, 6, 4];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    /// Frame with this Ethernet type.
    fn frame(kind: u16, payload: &[u8]) -> Vec<u8> {
        [&[0; 12], &kind.to_be_bytes()[..], payload].concat()
    }

    fn parsed(frame: &[u8]) -> (FlowKey, Layout) {
        let mut key = FlowKey::default();
        let layout = parse(frame, &mut key);
        (key, layout)
    }

    /// A datagram to UDP port 53 whose UDP header ends it.
    const IPV4_UDP: [u8; 28] = [
        0x45, 0xb9, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
        0x30, 0x39, 0, 53, 0, 8, 0, 0, // UDP
    ];

    #[test]
    fn ipv4() {
        let (key, layout) = parsed(&frame(0x0800, &IPV4_UDP));
        assert_eq!((key.ipv4_src, key.ipv4_dst), (0x0a00_0001, 0x0a00_0002));
        assert_eq!(
            (key.ip_tos, key.ip_ttl, key.ip_proto, key.ip_frag),
            (0xb9, 64, 17, 0)
        );
        assert_eq!((key.tp_src, key.tp_dst), (12345, 53));
        assert_eq!((layout.l3, layout.l4, layout.end), (14, 34, 42));
    }

    #[test]
    fn ipv4_that_lies_or_is_cut_short_tells_nothing() {
        let lies = [(0, 0x55), (0, 0x44), (0, 0x48), (2, 1), (3, 29), (3, 19)];
        for (at, byte) in lies {
            let mut packet = IPV4_UDP;
            packet[at] = byte;
            let (key, layout) = parsed(&frame(0x0800, &packet));
            assert_eq!(
                (key.ip_proto, key.ipv4_src, layout.l3),
                (0, 0, 0),
                "{at} {byte}"
            );
        }
        for len in 0..IPV4_UDP.len() {
            let (key, layout) = parsed(&frame(0x0800, &IPV4_UDP[..len]));
            assert_eq!((key.ip_proto, key.eth_type, layout.l3), (0, 0x0800, 0));
        }
    }

    #[test]
    fn padding_is_no_transport_header() {
        let mut packet = [&IPV4_UDP[..], &[0xff; 18]].concat();
        let (key, layout) = parsed(&frame(0x0800, &packet));
        assert_eq!((key.tp_dst, layout.end), (53, 42));
        packet[3] = 27;
        let (key, layout) = parsed(&frame(0x0800, &packet));
        assert_eq!((key.ip_proto, key.tp_dst), (17, 0));
        assert_eq!((layout.l3, layout.l4, layout.end), (14, 0, 41));
    }

    #[test]
    fn only_the_first_fragment_has_a_transport_header() {
        let cases = [
            (0x40, 0, 0, 53),
            (0x20, 0, 1, 53),
            (0x20, 1, 3, 0),
            (0, 1, 3, 0),
        ];
        for (high, low, frag, port) in cases {
            let mut packet = IPV4_UDP;
            (packet[6], packet[7]) = (high, low);
            let (key, layout) = parsed(&frame(0x0800, &packet));
            assert_eq!((key.ip_proto, key.ip_frag, key.tp_dst), (17, frag, port));
            assert_eq!(layout.l4 > 0, port > 0);
        }
    }

    #[test]
    fn ipv6() {
        let mut packet = vec![0x6b, 0x91, 0x23, 0x45, 0, 8, 17, 7];
        packet.extend((1..=32).collect::<Vec<u8>>());
        packet.extend(&IPV4_UDP[20..]);
        let (key, layout) = parsed(&frame(0x86dd, &packet));
        assert_eq!(key.ipv6_src, [0x0102_0304_0506_0708, 0x090a_0b0c_0d0e_0f10]);
        assert_eq!(key.ipv6_dst[1], 0x191a_1b1c_1d1e_1f20);
        assert_eq!(
            (key.ip_tos, key.ipv6_flabel, key.ip_ttl),
            (0xb9, 0x12345, 7)
        );
        assert_eq!((key.ip_proto, key.tp_dst), (17, 53));
        assert_eq!((layout.l3, layout.l4, layout.end), (14, 54, 62));
        for len in 0..packet.len() {
            let (key, layout) = parsed(&frame(0x86dd, &packet[..len]));
            assert_eq!((key.ip_proto, key.ipv6_dst, layout.l3), (0, [0; 2], 0));
        }
        packet[0] = 0x4b;
        assert_eq!(parsed(&frame(0x86dd, &packet)).1.l3, 0);
    }

    #[test]
    fn arp() {
        let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 7, 10, 0, 0, 1];
        packet.extend([2, 0, 0, 0, 0, 9, 10, 0, 0, 2]);
        let (key, layout) = parsed(&frame(0x0806, &packet));
        assert_eq!(
            (key.arp_op, key.arp_sha, key.arp_tha),
            (1, 0x0200_0000_0007, 0x0200_0000_0009)
        );
        assert_eq!(
            (key.ipv4_src, key.ipv4_dst, layout.l3),
            (0x0a00_0001, 0x0a00_0002, 14)
        );
        assert_eq!(parsed(&frame(0x0806, &packet[..27])).0.arp_op, 0);
        packet[4] = 8;
        assert_eq!(parsed(&frame(0x0806, &packet)).0.arp_op, 0);
    }

    #[test]
    fn labels_and_service_tags() {
        for kind in [0x8847, 0x8848] {
            let (key, layout) = parsed(&frame(kind, &[0, 1, 0x2b, 64, 0x45]));
            assert_eq!((key.mpls, layout.l2_5, layout.l3), (0x0001_2b40, 14, 0));
            assert_eq!(parsed(&frame(kind, &[0, 1, 0x2b])).0.mpls, 0);
        }
        let (key, _) = parsed(&frame(0x88e7, &[0xe0, 1, 2, 3]));
        assert_eq!(key.pbb_isid, 0x01_0203);
        assert_eq!(parsed(&frame(0x88e7, &[0xe0, 1, 2])).0.pbb_isid, 0);
    }
}
