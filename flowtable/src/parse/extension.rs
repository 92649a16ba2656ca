//! The IPv6 extension headers (RFC 8200 §4) and what OpenFlow tells of them (OpenFlow 1.3.5
//! §7.2.3.7, `OFPXMT_OFB_IPV6_EXTHDR`).

use super::bytes::u16_at;
use crate::{FRAGMENT_ANY, FRAGMENT_LATER, FlowKey, exthdr, ip_proto};

/// Walks the chain of headers that starts in `payload` with header `next` and writes what is known
/// of it, the protocol at its end too. Returns what starts with that protocol's header, if there
/// is one here: a later fragment has none, and neither has a chain that is cut short or longer
/// than [`HEADERS_MAX`].
#[inline(always)]
pub(super) fn parse<'a>(payload: &'a [u8], next: u8, key: &mut FlowKey) -> Option<&'a [u8]> {
    if !is_extension(next) {
        key.ip_proto = next;
        return Some(payload);
    }
    walk(payload, next, key)
}

fn walk<'a>(mut payload: &'a [u8], mut next: u8, key: &mut FlowKey) -> Option<&'a [u8]> {
    let mut order = Order::default();
    for _ in 0..HEADERS_MAX {
        if matches!(next, ip_proto::ESP | ip_proto::NO_NEXT) {
            order.note(next);
            key.ipv6_exthdr = order.flags;
            key.ip_proto = next;
            return None;
        }
        let fixed = payload.first_chunk::<UNIT>()?;
        payload = payload.get(len(next, fixed[1])..)?;
        order.note(next);
        key.ipv6_exthdr = order.flags;
        if next == ip_proto::FRAGMENT && u16_at(fixed, 2) & (OFFSET | MORE) != 0 {
            key.ip_frag |= FRAGMENT_ANY;
            if u16_at(fixed, 2) & OFFSET != 0 {
                key.ip_frag |= FRAGMENT_LATER;
                key.ip_proto = fixed[0];
                return None;
            }
        }
        next = fixed[0];
        if !is_extension(next) {
            key.ip_proto = next;
            return Some(payload);
        }
    }
    None
}

/// Bytes of an extension header, from its own length field.
fn len(kind: u8, field: u8) -> usize {
    match kind {
        ip_proto::FRAGMENT => UNIT,
        ip_proto::AH => usize::from(field) * 4 + UNIT,
        _ => usize::from(field) * UNIT + UNIT,
    }
}

/// The headers met so far, as OpenFlow's flags, and where the last of them stands in the order
/// that RFC 8200 §4.1 recommends.
#[derive(Default)]
struct Order {
    flags: u16,
    rank: u8,
    destinations: u8,
}

impl Order {
    fn note(&mut self, kind: u8) {
        let (flag, rank) = match kind {
            ip_proto::HOP_BY_HOP => (exthdr::HOP, 1),
            // The first may stand before a routing header, a second before the upper layer.
            ip_proto::DESTINATION if self.rank < 2 => (exthdr::DEST, 2),
            ip_proto::DESTINATION => (exthdr::DEST, 7),
            ip_proto::ROUTING => (exthdr::ROUTER, 3),
            ip_proto::FRAGMENT => (exthdr::FRAG, 4),
            ip_proto::AH => (exthdr::AUTH, 5),
            ip_proto::ESP => (exthdr::ESP, 6),
            _ => (exthdr::NONEXT, 8),
        };
        self.destinations += u8::from(flag == exthdr::DEST);
        let repeated = match flag {
            exthdr::DEST => self.destinations > 2,
            _ => self.flags & flag != 0,
        };
        if repeated {
            self.flags |= exthdr::UNREP;
        }
        if rank < self.rank {
            self.flags |= exthdr::UNSEQ;
        }
        // A hop-by-hop header is one only where it comes first.
        if flag != exthdr::HOP || self.rank == 0 {
            self.flags |= flag;
        }
        self.rank = self.rank.max(rank);
    }
}

#[inline]
pub(super) fn is_extension(next: u8) -> bool {
    matches!(
        next,
        ip_proto::HOP_BY_HOP
            | ip_proto::ROUTING
            | ip_proto::FRAGMENT
            | ip_proto::ESP
            | ip_proto::AH
            | ip_proto::NO_NEXT
            | ip_proto::DESTINATION
    )
}

/// Extension headers that are walked in one packet. RFC 8200 knows seven places in its order; a
/// chain of more than twice as many serves only to cost time, which must have a bound.
const HEADERS_MAX: usize = 16;
/// Extension headers are counted in units of eight bytes; each has at least one.
const UNIT: usize = 8;
const OFFSET: u16 = 0xfff8;
const MORE: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks a chain of headers of eight bytes each that ends in UDP.
    fn walked(chain: &[u8]) -> (FlowKey, bool) {
        let next = chain
            .iter()
            .skip(1)
            .chain([&ip_proto::UDP])
            .take(chain.len());
        let packet: Vec<u8> = next.flat_map(|&next| [next, 0, 0, 0, 0, 0, 0, 0]).collect();
        let mut key = FlowKey::default();
        let first = chain.first().copied().unwrap_or(ip_proto::UDP);
        let whole = parse(&packet, first, &mut key).is_some_and(<[u8]>::is_empty);
        (key, whole)
    }

    #[test]
    fn flags_tell_presence_order_and_repeats() {
        use crate::exthdr::*;
        let cases: [(&[u8], u16); 9] = [
            (&[], 0),
            (&[0, 60, 43, 44, 51, 60], HOP | DEST | ROUTER | FRAG | AUTH),
            (&[43, 0], ROUTER | UNSEQ),
            (&[44, 43], ROUTER | FRAG | UNSEQ),
            (&[60, 60], DEST),
            (&[60, 60, 60], DEST | UNREP),
            (&[43, 43], ROUTER | UNREP),
            (&[0, 0], HOP | UNREP),
            (&[60, 60, 43], DEST | ROUTER | UNSEQ),
        ];
        for (chain, flags) in cases {
            let (key, whole) = walked(chain);
            assert_eq!(key.ipv6_exthdr, flags, "{chain:?}");
            assert_eq!((key.ip_proto, whole), (17, true), "{chain:?}");
        }
    }

    #[test]
    fn some_headers_end_the_chain() {
        let (key, whole) = walked(&[0, 59]);
        assert_eq!((key.ip_proto, whole), (59, false));
        assert_eq!(key.ipv6_exthdr, exthdr::HOP | exthdr::NONEXT);
        let (key, whole) = walked(&[50]);
        assert_eq!(
            (key.ip_proto, key.ipv6_exthdr, whole),
            (50, exthdr::ESP, false)
        );
    }

    #[test]
    fn fragments() {
        let cases = [
            (0, 0, true),
            (1, 1, true),
            (8, 3, false),
            (6, 0, true),
            (9, 3, false),
        ];
        for (offset, frag, whole) in cases {
            let packet = [17, 0, 0, offset, 0, 0, 0, 0];
            let mut key = FlowKey::default();
            let rest = parse(&packet, ip_proto::FRAGMENT, &mut key);
            assert_eq!((key.ip_proto, key.ip_frag), (17, frag));
            assert_eq!(rest.is_some(), whole);
        }
    }

    #[test]
    fn too_short_or_too_long_tells_no_protocol() {
        let mut key = FlowKey::default();
        assert_eq!(parse(&[17, 1, 0, 0, 0, 0, 0, 0], 0, &mut key), None);
        assert_eq!((key.ip_proto, key.ipv6_exthdr), (0, 0));
        assert_eq!(parse(&[17, 0, 0, 0, 0, 0, 0], 0, &mut key), None);
        assert!(walked(&[60; HEADERS_MAX]).1);
        let (key, whole) = walked(&[60; HEADERS_MAX + 1]);
        assert_eq!((key.ip_proto, whole), (0, false));
    }

    #[test]
    fn authentication_counts_in_words_of_four_bytes() {
        let mut packet = [0; 24];
        (packet[0], packet[1]) = (17, 4);
        let mut key = FlowKey::default();
        assert_eq!(parse(&packet, ip_proto::AH, &mut key), Some(&[][..]));
        assert_eq!(parse(&packet[..23], ip_proto::AH, &mut key), None);
    }
}
