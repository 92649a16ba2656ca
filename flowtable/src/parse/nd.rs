//! Neighbour discovery: target and link-layer addresses (RFC 4861 §4.3, §4.4, §4.6.1), and what
//! Open vSwitch makes fields of beside them: flags with reserved bits, and an option's type.

use super::bytes::{u32_at, u48_at, u128_at};
use crate::{FlowKey, icmpv6_type};

/// Reads a neighbour solicitation or advertisement, whose type and code are in the key already, and
/// whose `header` ends with flags and reserved bits. A message that a host must discard for its
/// options (RFC 4861 §7.1.1, §7.1.2), or that repeats one, leaves everything of it 0.
pub(super) fn parse(header: &[u8; 8], body: &[u8], key: &mut FlowKey) {
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
    if let Some(options) = options(rest) {
        key.nd_reserved = u32_at(header, 4);
        key.nd_target = u128_at(target, 0);
        key.tcp_flags = options.first.into();
        [key.arp_sha, key.arp_tha] = options.addresses.map(Option::unwrap_or_default);
    }
}

#[derive(Default)]
struct Options {
    /// Type of the first that has an address.
    first: u8,
    /// The source and the target link-layer address.
    addresses: [Option<u64>; 2],
}

fn options(mut rest: &[u8]) -> Option<Options> {
    let mut options = Options::default();
    let mut left = OPTIONS_MAX;
    while !rest.is_empty() {
        left = left.checked_sub(1)?;
        let option = rest.first_chunk::<UNIT>()?;
        let units = usize::from(option[1]);
        rest = rest.get(units * UNIT..).filter(|_| units > 0)?;
        if let kind @ 1..=2 = option[0]
            && units == 1
        {
            let address = &mut options.addresses[usize::from(kind - 1)];
            if address.replace(u48_at(option, 2)).is_some() {
                return None;
            }
            if options.first == 0 {
                options.first = kind;
            }
        }
    }
    Some(options)
}

/// Options are counted in units of eight bytes.
const UNIT: usize = 8;
/// Options that are looked at in one message. Five kinds are defined (RFC 4861 §4.6); more than
/// three of each serve only to cost time, which must have a bound.
const OPTIONS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 8] = [0, 0, 0, 0, 0xe0, 0, 0, 5];
    const SOURCE_LINK: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 7];
    const TARGET_LINK: [u8; 8] = [2, 1, 2, 0, 0, 0, 0, 8];

    fn parsed(kind: u16, options: &[u8]) -> FlowKey {
        let mut key = FlowKey {
            tp_src: kind,
            ..FlowKey::default()
        };
        parse(&HEADER, &[&[1; 16], options].concat(), &mut key);
        key
    }

    #[test]
    fn target_and_link_layer_addresses() {
        let key = parsed(135, &SOURCE_LINK);
        assert_eq!(key.nd_target, [0x0101_0101_0101_0101; 2]);
        assert_eq!((key.arp_sha, key.arp_tha), (0x0200_0000_0007, 0));
        let key = parsed(136, &[[5, 1, 0, 0, 0, 0, 0, 0], TARGET_LINK].concat());
        assert_eq!((key.arp_sha, key.arp_tha), (0, 0x0200_0000_0008));
        assert_eq!((key.nd_reserved, key.tcp_flags), (0xe000_0005, 2));
        let both = parsed(136, &[TARGET_LINK, SOURCE_LINK].concat());
        assert_eq!(both.tcp_flags, 2);
        assert_eq!(parsed(136, &[5, 1, 0, 0, 0, 0, 0, 0]).tcp_flags, 0);
        assert_ne!(parsed(136, &[]).nd_target, [0; 2]);
        assert_eq!(parsed(134, &SOURCE_LINK).nd_target, [0; 2]);
    }

    #[test]
    fn bad_options_tell_nothing() {
        let repeated = [SOURCE_LINK, SOURCE_LINK].concat();
        let options: [&[u8]; 5] = [&repeated, &[5, 0], &[5, 2, 0], &[5], &[5; 9]];
        for options in options {
            let key = parsed(135, options);
            assert_eq!((key.nd_target, key.nd_reserved), ([0; 2], 0), "{options:?}");
            assert_eq!(key.tcp_flags, 0, "{options:?}");
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
        parse(&HEADER, &[1; 15], &mut key);
        assert_eq!((key.nd_target, key.nd_reserved), ([0; 2], 0));
    }
}
