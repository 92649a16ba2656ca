//! Neighbour discovery: target and link-layer addresses (RFC 4861 §4.3, §4.4, §4.6.1).

use super::bytes::{u48_at, u128_at};
use crate::{FlowKey, icmpv6_type};

/// Reads the body of a neighbour solicitation or advertisement, whose ICMPv6 header is in the key
/// already. A message that a host must discard for its options (RFC 4861 §7.1.1, §7.1.2), or
/// that repeats one, leaves everything of it 0.
pub(super) fn parse(body: &[u8], key: &mut FlowKey) {
    let known = [
        icmpv6_type::NEIGHBOUR_SOLICITATION,
        icmpv6_type::NEIGHBOUR_ADVERTISEMENT,
    ];
    if !known.contains(&key.tp_src) || key.tp_dst != 0 {
        return;
    }
    let Some((target, rest)) = body.split_first_chunk::<16>() else {
        return;
    };
    if let Some([source_link, target_link]) = options(rest) {
        key.nd_target = u128_at(target, 0);
        key.arp_sha = source_link;
        key.arp_tha = target_link;
    }
}

/// The source and the target link-layer address, 0 where there is none.
fn options(mut rest: &[u8]) -> Option<[u64; 2]> {
    let mut addresses = [None; 2];
    let mut left = OPTIONS_MAX;
    while !rest.is_empty() {
        left = left.checked_sub(1)?;
        let option = rest.first_chunk::<UNIT>()?;
        let units = usize::from(option[1]);
        rest = rest.get(units * UNIT..).filter(|_| units > 0)?;
        if let kind @ 1..=2 = option[0]
            && units == 1
            && addresses[usize::from(kind - 1)]
                .replace(u48_at(option, 2))
                .is_some()
        {
            return None;
        }
    }
    Some(addresses.map(Option::unwrap_or_default))
}

/// Options are counted in units of eight bytes.
const UNIT: usize = 8;
/// Options that are looked at in one message. Five kinds are defined (RFC 4861 §4.6); more than
/// three of each serve only to cost time, which must have a bound.
const OPTIONS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE_LINK: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 7];
    const TARGET_LINK: [u8; 8] = [2, 1, 2, 0, 0, 0, 0, 8];

    fn parsed(kind: u16, options: &[u8]) -> FlowKey {
        let mut key = FlowKey {
            tp_src: kind,
            ..FlowKey::default()
        };
        parse(&[&[1; 16], options].concat(), &mut key);
        key
    }

    #[test]
    fn target_and_link_layer_addresses() {
        let key = parsed(135, &SOURCE_LINK);
        assert_eq!(key.nd_target, [0x0101_0101_0101_0101; 2]);
        assert_eq!((key.arp_sha, key.arp_tha), (0x0200_0000_0007, 0));
        let key = parsed(136, &[[5, 1, 0, 0, 0, 0, 0, 0], TARGET_LINK].concat());
        assert_eq!((key.arp_sha, key.arp_tha), (0, 0x0200_0000_0008));
        assert_ne!(parsed(136, &[]).nd_target, [0; 2]);
        assert_eq!(parsed(134, &SOURCE_LINK).nd_target, [0; 2]);
    }

    #[test]
    fn bad_options_tell_nothing() {
        let repeated = [SOURCE_LINK, SOURCE_LINK].concat();
        let options: [&[u8]; 5] = [&repeated, &[5, 0], &[5, 2, 0], &[5], &[5; 9]];
        for options in options {
            assert_eq!(parsed(135, options).nd_target, [0; 2], "{options:?}");
        }
        let many = [[5, 1, 0, 0, 0, 0, 0, 0]; OPTIONS_MAX + 1];
        assert_ne!(parsed(135, many[1..].as_flattened()).nd_target, [0; 2]);
        assert_eq!(parsed(135, many.as_flattened()).nd_target, [0; 2]);
    }

    #[test]
    fn too_short_tells_nothing() {
        let mut key = FlowKey {
            tp_src: 135,
            ..FlowKey::default()
        };
        parse(&[1; 15], &mut key);
        assert_eq!(key.nd_target, [0; 2]);
    }
}
