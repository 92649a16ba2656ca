//! Neighbour discovery: target and link-layer addresses (RFC 4861 §4.3, §4.4, §4.6.1).

use super::bytes::{header, u48_at, u128_at};
use crate::{FlowKey, icmpv6_type};

/// Reads a neighbour solicitation or advertisement whose ICMPv6 header is at `at` and in the key
/// already. A message that a host must discard for its options (RFC 4861 §7.1.1, §7.1.2), or
/// that repeats one, leaves everything of it 0.
pub(super) fn parse(packet: &[u8], at: usize, key: &mut FlowKey) {
    let known = [
        icmpv6_type::NEIGHBOUR_SOLICITATION,
        icmpv6_type::NEIGHBOUR_ADVERTISEMENT,
    ];
    if !known.contains(&key.tp_src) || key.tp_dst != 0 {
        return;
    }
    let Some(target) = header::<16>(packet, at + 8) else {
        return;
    };
    if let Some([source_link, target_link]) = options(packet, at + 24) {
        key.nd_target = u128_at(target, 0);
        key.arp_sha = source_link;
        key.arp_tha = target_link;
    }
}

/// The source and the target link-layer address, 0 where there is none.
fn options(packet: &[u8], mut at: usize) -> Option<[u64; 2]> {
    let mut addresses = [None; 2];
    let mut left = OPTIONS_MAX;
    while at < packet.len() {
        left = left.checked_sub(1)?;
        let option = header::<UNIT>(packet, at)?;
        let len = usize::from(option[1]) * UNIT;
        if len == 0 || at + len > packet.len() {
            return None;
        }
        if let kind @ 1..=2 = option[0]
            && len == UNIT
            && addresses[usize::from(kind - 1)]
                .replace(u48_at(option, 2))
                .is_some()
        {
            return None;
        }
        at += len;
    }
    Some(addresses.map(Option::unwrap_or_default))
}

/// Options are counted in units of eight bytes.
const UNIT: usize = 8;
/// Options that are looked at in one message. Five kinds are defined (RFC 4861 §4.6); more than
/// three of each serve only to cost time, which must have a bound.
const OPTIONS_MAX: usize = 16;
