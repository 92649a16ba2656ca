//! What follows the Ethernet type: MPLS (RFC 3032), PBB (IEEE 802.1Q §9.7), ARP (RFC 826), IPv4
//! (RFC 791), IPv6 (RFC 8200).

use super::bytes::{header, u16_at, u32_at, u48_at, u128_at};
use super::{Layout, extension, transport};
use crate::{FRAGMENT_ANY, FRAGMENT_LATER, FlowKey, eth_type};

/// Reads the header that the Ethernet type announces, and what is in it.
#[inline(always)]
pub(super) fn parse(packet: &[u8], at: usize, key: &mut FlowKey, layout: &mut Layout) {
    match key.eth_type {
        eth_type::IPV4 => ipv4(packet, at, key, layout),
        eth_type::IPV6 => ipv6(packet, at, key, layout),
        eth_type::ARP | eth_type::RARP => arp(packet, at, key, layout),
        eth_type::MPLS | eth_type::MPLS_MULTICAST => {
            key.mpls = header::<4>(packet, at).map_or(0, |entry| u32_at(entry, 0));
        }
        eth_type::PBB => {
            key.pbb_isid = header::<4>(packet, at).map_or(0, |tag| u32_at(tag, 0) & 0xff_ffff);
        }
        _ => (),
    }
}

#[inline(always)]
fn ipv4(packet: &[u8], at: usize, key: &mut FlowKey, layout: &mut Layout) {
    let Some(ip) = header::<IPV4_LEN>(packet, at) else {
        return;
    };
    let header_len = usize::from(ip[0] & 0xf) * 4;
    let end = at + usize::from(u16_at(ip, 2));
    if ip[0] >> 4 != 4 || header_len < IPV4_LEN || end < at + header_len {
        return;
    }
    let Some(packet) = packet.get(..end) else {
        return;
    };
    layout.l3 = at as u16;
    layout.end = end as u16;
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
            return;
        }
    }
    transport::parse(packet, at + header_len, key, layout);
}

fn ipv6(packet: &[u8], at: usize, key: &mut FlowKey, layout: &mut Layout) {
    let Some(ip) = header::<IPV6_LEN>(packet, at) else {
        return;
    };
    let end = at + IPV6_LEN + usize::from(u16_at(ip, 4));
    let Some(packet) = packet.get(..end).filter(|_| ip[0] >> 4 == 6) else {
        return;
    };
    layout.l3 = at as u16;
    layout.end = end as u16;
    key.ip_tos = (u16_at(ip, 0) >> 4) as u8;
    key.ipv6_flabel = u32_at(ip, 0) & 0xf_ffff;
    key.ip_ttl = ip[7];
    key.ipv6_src = u128_at(ip, 8);
    key.ipv6_dst = u128_at(ip, 24);
    if let Some(at) = extension::parse(packet, at + IPV6_LEN, ip[6], key) {
        transport::parse(packet, at, key, layout);
    }
}

/// Reads ARP or RARP for IPv4 over Ethernet; of any other kind nothing.
fn arp(packet: &[u8], at: usize, key: &mut FlowKey, layout: &mut Layout) {
    let Some(arp) = header::<ARP_LEN>(packet, at) else {
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
const IPV4_MORE: u16 = 0x2000;
const IPV4_OFFSET: u16 = 0x1fff;
const IPV6_LEN: usize = 40;
const ARP_LEN: usize = 28;
/// Hardware type 1, protocol type IPv4, address lengths 6 and 4.
const ARP_IPV4_OVER_ETHERNET: [u8; 6] = [0, 1, 8, 0, 6, 4];
