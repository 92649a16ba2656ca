//! Frames as most are, in fewer steps: Ethernet II without tags that carries IPv4 without options,
//! not in fragments, or IPv6 without extension headers. What is read of them is what `ethernet` and
//! `network` read; all other frames are theirs.

use super::bytes::{u16_at, u32_at, u64_at, u128_at};
use super::{Layout, extension};
use crate::{FlowKey, eth_type};

/// Reads the headers of such a frame into a key whose header words are zero. Returns what the
/// datagram carries.
#[inline(always)]
pub(super) fn parse<'a>(frame: &'a [u8], key: &mut FlowKey) -> Option<(&'a [u8], Layout)> {
    let start = frame.first_chunk::<START_LEN>()?;
    match u32_at(start, 12) {
        IPV4_START..=IPV4_START_LAST => ipv4(frame, key),
        IPV6_START..=IPV6_START_LAST => ipv6(frame, key),
        _ => None,
    }
}

#[inline(always)]
fn ipv4<'a>(frame: &'a [u8], key: &mut FlowKey) -> Option<(&'a [u8], Layout)> {
    let (head, rest) = frame.split_first_chunk::<IPV4_END>()?;
    let total_len = usize::from(u16_at(head, 16));
    let payload = rest.get(..total_len.checked_sub(IPV4_END - ETHERNET_LEN)?)?;
    if u16_at(head, 20) & IPV4_FRAGMENT != 0 {
        return None;
    }
    addresses(head, key);
    key.eth_type = eth_type::IPV4;
    key.ip_tos = head[15];
    key.ip_ttl = head[22];
    key.ip_proto = head[23];
    key.ipv4_src = u32_at(head, 26);
    key.ipv4_dst = u32_at(head, 30);
    Some((payload, layout(ETHERNET_LEN + total_len)))
}

#[inline(always)]
fn ipv6<'a>(frame: &'a [u8], key: &mut FlowKey) -> Option<(&'a [u8], Layout)> {
    let (head, rest) = frame.split_first_chunk::<IPV6_END>()?;
    let payload_len = usize::from(u16_at(head, 18));
    let payload = rest.get(..payload_len)?;
    if extension::is_extension(head[20]) {
        return None;
    }
    addresses(head, key);
    let first = u32_at(head, 14);
    key.eth_type = eth_type::IPV6;
    key.ip_tos = (first >> 20) as u8;
    key.ipv6_flabel = first & 0xf_ffff;
    key.ip_proto = head[20];
    key.ip_ttl = head[21];
    key.ipv6_src = u128_at(head, 22);
    key.ipv6_dst = u128_at(head, 38);
    Some((payload, layout(IPV6_END + payload_len)))
}

#[inline(always)]
fn addresses<const N: usize>(head: &[u8; N], key: &mut FlowKey) {
    key.eth_dst = u64_at(head, 0) >> 16;
    key.eth_src = u64_at(head, 4) & 0xffff_ffff_ffff;
}

#[inline(always)]
fn layout(end: usize) -> Layout {
    Layout {
        l2_5: ETHERNET_LEN as u16,
        l3: ETHERNET_LEN as u16,
        l4: 0,
        end: end as u16,
    }
}

const ETHERNET_LEN: usize = 14;
/// As far as the first two bytes of a network header.
const START_LEN: usize = ETHERNET_LEN + 2;
/// Ethernet type, version 4 and a header length of five words.
const IPV4_START: u32 = 0x0800_4500;
const IPV4_START_LAST: u32 = IPV4_START | 0xff;
/// Ethernet type and version 6.
const IPV6_START: u32 = 0x86dd_6000;
const IPV6_START_LAST: u32 = IPV6_START | 0xfff;
const IPV4_END: usize = ETHERNET_LEN + 20;
const IPV6_END: usize = ETHERNET_LEN + 40;
/// More fragments, or an offset.
const IPV4_FRAGMENT: u16 = 0x3fff;
