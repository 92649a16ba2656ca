//! Frames as most are, in fewer steps: Ethernet II with at most one VLAN tag that carries IPv4
//! without options, not in fragments, or IPv6 without extension headers. What is read of them is
//! what `ethernet` and `network` read; all other frames are theirs.

use super::bytes::{u16_at, u32_at, u64_at, u128_at};
use super::{Layout, ethernet, extension};
use crate::{FlowKey, VLAN_PRESENT, eth_type};

/// Reads the headers of such a frame into a key whose header words are zero. Returns what the
/// datagram carries.
#[inline(always)]
pub(super) fn parse<'a>(frame: &'a [u8], key: &mut FlowKey) -> Option<(&'a [u8], Layout)> {
    let start = frame.first_chunk::<START_LEN>()?;
    match u32_at(start, 12) {
        IPV4_START..=IPV4_START_LAST => ipv4::<IPV4_END>(frame, key),
        IPV6_START..=IPV6_START_LAST => ipv6::<IPV6_END>(frame, key),
        kind if ethernet::is_tpid((kind >> 16) as u16) => tagged(frame, key),
        _ => None,
    }
}

#[inline(always)]
fn tagged<'a>(frame: &'a [u8], key: &mut FlowKey) -> Option<(&'a [u8], Layout)> {
    let start = frame.first_chunk::<{ START_LEN + TAG_LEN }>()?;
    let found = match u32_at(start, 12 + TAG_LEN) {
        IPV4_START..=IPV4_START_LAST => ipv4::<{ IPV4_END + TAG_LEN }>(frame, key),
        IPV6_START..=IPV6_START_LAST => ipv6::<{ IPV6_END + TAG_LEN }>(frame, key),
        _ => None,
    };
    if found.is_some() {
        key.vlan_tpid = u16_at(start, 12);
        key.vlan_tci = u16_at(start, 14) | VLAN_PRESENT;
    }
    found
}

/// Reads an IPv4 header that ends with byte `END`.
#[inline(always)]
fn ipv4<'a, const END: usize>(frame: &'a [u8], key: &mut FlowKey) -> Option<(&'a [u8], Layout)> {
    let (head, rest) = frame.split_first_chunk::<END>()?;
    let at = END - IPV4_LEN;
    let total_len = usize::from(u16_at(head, at + 2));
    let payload = rest.get(..total_len.checked_sub(IPV4_LEN)?)?;
    if u16_at(head, at + 6) & IPV4_FRAGMENT != 0 {
        return None;
    }
    addresses(head, key);
    key.eth_type = eth_type::IPV4;
    key.ip_tos = head[at + 1];
    key.ip_ttl = head[at + 8];
    key.ip_proto = head[at + 9];
    key.ipv4_src = u32_at(head, at + 12);
    key.ipv4_dst = u32_at(head, at + 16);
    Some((payload, layout(at, at + total_len)))
}

/// Reads an IPv6 header that ends with byte `END`.
#[inline(always)]
fn ipv6<'a, const END: usize>(frame: &'a [u8], key: &mut FlowKey) -> Option<(&'a [u8], Layout)> {
    let (head, rest) = frame.split_first_chunk::<END>()?;
    let at = END - IPV6_LEN;
    let payload_len = usize::from(u16_at(head, at + 4));
    let payload = rest.get(..payload_len)?;
    let next = head[at + 6];
    if extension::is_extension(next) {
        return None;
    }
    addresses(head, key);
    let first = u32_at(head, at);
    key.eth_type = eth_type::IPV6;
    key.ip_tos = (first >> 20) as u8;
    key.ipv6_flabel = first & 0xf_ffff;
    key.ip_proto = next;
    key.ip_ttl = head[at + 7];
    key.ipv6_src = u128_at(head, at + 8);
    key.ipv6_dst = u128_at(head, at + 24);
    Some((payload, layout(at, END + payload_len)))
}

#[inline(always)]
fn addresses<const N: usize>(head: &[u8; N], key: &mut FlowKey) {
    key.eth_dst = u64_at(head, 0) >> 16;
    key.eth_src = u64_at(head, 4) & 0xffff_ffff_ffff;
}

#[inline(always)]
fn layout(l3: usize, end: usize) -> Layout {
    Layout {
        l2_5: l3 as u16,
        l3: l3 as u16,
        l4: 0,
        end: end as u16,
    }
}

const ETHERNET_LEN: usize = 14;
const TAG_LEN: usize = 4;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// As far as the first two bytes of a network header.
const START_LEN: usize = ETHERNET_LEN + 2;
/// Ethernet type, version 4 and a header length of five words.
const IPV4_START: u32 = 0x0800_4500;
const IPV4_START_LAST: u32 = IPV4_START | 0xff;
/// Ethernet type and version 6.
const IPV6_START: u32 = 0x86dd_6000;
const IPV6_START_LAST: u32 = IPV6_START | 0xfff;
const IPV4_END: usize = ETHERNET_LEN + IPV4_LEN;
const IPV6_END: usize = ETHERNET_LEN + IPV6_LEN;
/// More fragments, or an offset.
const IPV4_FRAGMENT: u16 = 0x3fff;
