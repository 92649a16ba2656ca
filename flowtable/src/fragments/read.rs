//! What a frame says of the datagram that it is a fragment of (RFC 791 §3.1, RFC 8200 §4.5).

use super::limits::EXTENSIONS_MAX;
use crate::checksum::{fold, sum};
use crate::conntrack::mapped;
use crate::parse::bytes::{u16_at, u32_at};
use crate::{FRAGMENT_LATER, FlowKey, Layout, eth_type, ip_proto};

/// What fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Datagram {
    src: [u64; 2],
    dst: [u64; 2],
    id: u32,
    /// Who asks: two actions on the same packets do not disturb each other.
    point: u32,
    zone: u16,
    /// Protocol of IPv4; of IPv6 it is not the same in all fragments, and not looked at.
    proto: u8,
    version: u8,
}

/// A fragment of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Whose it is.
    pub datagram: Datagram,
    /// Where its bytes belong, counted from the first that may be fragmented.
    pub offset: u32,
    /// How many bytes it has, without headers that each fragment has.
    pub len: u32,
    /// Others follow it.
    pub has_more: bool,
    /// Their sum as checksums have it, in the machine's byte order.
    pub sum: u16,
    /// The transport header is there, or it is not the first fragment and has none.
    pub is_telling: bool,
}

impl Fragment {
    /// Reads a frame whose key says that it is a fragment; [`crate::parse`] made `key` and
    /// `layout` of it. `point` is a number of who asks. Nothing if the frame is none.
    pub fn read(
        frame: &[u8],
        key: &FlowKey,
        layout: &Layout,
        zone: u16,
        point: u32,
    ) -> Option<Fragment> {
        if key.ip_frag == 0 || layout.l3 == 0 {
            return None;
        }
        let packet = frame.get(usize::from(layout.l3)..usize::from(layout.end))?;
        let (id, field, start, proto) = match key.eth_type {
            eth_type::IPV4 => ipv4(packet, key)?,
            eth_type::IPV6 => ipv6(packet)?,
            _ => return None,
        };
        let (src, dst, version) = match key.eth_type {
            eth_type::IPV4 => (mapped(key.ipv4_src), mapped(key.ipv4_dst), 4),
            _ => (key.ipv6_src, key.ipv6_dst, 6),
        };
        let datagram = Datagram {
            src,
            dst,
            id,
            point,
            zone,
            proto,
            version,
        };
        let bytes = packet.get(start..)?;
        Some(Fragment {
            datagram,
            offset: field.offset,
            len: bytes.len() as u32,
            sum: fold(sum(bytes)),
            has_more: field.has_more,
            is_telling: key.ip_frag & FRAGMENT_LATER != 0 || tells(key, layout),
        })
    }

    /// The byte after its last.
    pub(super) fn end(&self) -> u32 {
        self.offset + self.len
    }
}

/// Whether a first fragment has all headers that tell whose connection it is (RFC 1858 §3, RFC 7112
/// §5).
fn tells(key: &FlowKey, layout: &Layout) -> bool {
    let has_header = [
        ip_proto::TCP,
        ip_proto::UDP,
        ip_proto::SCTP,
        ip_proto::ICMP,
        ip_proto::ICMPV6,
    ];
    // A chain of IPv6 headers that does not end here reads as hop-by-hop options.
    let is_cut = key.eth_type == eth_type::IPV6 && key.ip_proto == ip_proto::HOP_BY_HOP;
    layout.l4 > 0 || !has_header.contains(&key.ip_proto) && !is_cut
}

/// Offset in bytes, and whether others follow.
struct Field {
    offset: u32,
    has_more: bool,
}

/// Identification, place, where the fragment's bytes start in the packet, and protocol.
type Read = (u32, Field, usize, u8);

fn ipv4(packet: &[u8], key: &FlowKey) -> Option<Read> {
    let header = packet.first_chunk::<20>()?;
    let field = u16_at(header, 6);
    let field = Field {
        offset: u32::from(field & IPV4_OFFSET) * 8,
        has_more: field & IPV4_MORE != 0,
    };
    let start = usize::from(header[0] & 0xf) * 4;
    Some((u16_at(header, 4).into(), field, start, key.ip_proto))
}

fn ipv6(packet: &[u8]) -> Option<Read> {
    let (mut next, mut at) = (packet.first_chunk::<40>()?[6], 40);
    for _ in 0..EXTENSIONS_MAX {
        let header = packet.get(at..)?.first_chunk::<8>()?;
        if next == ip_proto::FRAGMENT {
            let field = u16_at(header, 2);
            let field = Field {
                offset: u32::from(field & IPV6_OFFSET),
                has_more: field & IPV6_MORE != 0,
            };
            return Some((u32_at(header, 4), field, at + header.len(), 0));
        }
        at += usize::from(header[1]) * 8 + header.len();
        next = header[0];
    }
    None
}

#[cfg(test)]
impl Datagram {
    /// One that its number alone tells from others.
    pub(super) fn of_id(id: u32) -> Datagram {
        Datagram {
            src: mapped(1),
            dst: mapped(2),
            id,
            point: 0,
            zone: 0,
            proto: ip_proto::UDP,
            version: 4,
        }
    }
}

const IPV4_MORE: u16 = 0x2000;
const IPV4_OFFSET: u16 = 0x1fff;
const IPV6_OFFSET: u16 = 0xfff8;
const IPV6_MORE: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn read(frame: &[u8]) -> Option<Fragment> {
        let mut key = FlowKey::default();
        let layout = parse(frame, &mut key);
        Fragment::read(frame, &key, &layout, 3, 4)
    }

    fn ipv4(high: u8, low: u8, proto: u8, payload: &[u8]) -> Vec<u8> {
        let len = 20 + payload.len() as u8;
        let mut frame = vec![0; 12];
        frame.extend([
            8, 0, 0x45, 0, 0, len, 0x12, 0x34, high, low, 64, proto, 0, 0,
        ]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend(payload);
        frame.extend([0xff; 6]);
        frame
    }

    fn ipv6(next: u8, headers: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, headers.len() as u8, next, 64]);
        frame.extend(1..=32);
        frame.extend(headers);
        frame
    }

    #[test]
    fn ipv4_tells_place_and_number() {
        let first = read(&ipv4(0x20, 0, 17, &[0; 16])).unwrap();
        let expected = Datagram {
            src: mapped(0x0a00_0001),
            dst: mapped(0x0a00_0002),
            id: 0x1234,
            point: 4,
            zone: 3,
            proto: 17,
            version: 4,
        };
        assert_eq!(first.datagram, expected);
        assert_eq!((first.offset, first.len), (0, 16));
        assert!(first.has_more && first.is_telling && first.sum == 0);
        let last = read(&ipv4(0x01, 0x02, 17, &[0; 3])).unwrap();
        assert_eq!(
            (last.offset, last.len, last.has_more),
            (0x102 * 8, 3, false)
        );
        assert!(last.is_telling && last.datagram == expected);
        assert_eq!(read(&ipv4(0x40, 0, 17, &[0; 16])), None);
    }

    #[test]
    fn ipv6_tells_it_behind_other_headers() {
        let fragment = [17, 0, 0, 1, 0, 1, 2, 3];
        let first = read(&ipv6(44, &[&fragment[..], &[0; 8]].concat())).unwrap();
        assert_eq!(
            (first.datagram.id, first.offset, first.len),
            (0x1_0203, 0, 8)
        );
        assert!(first.has_more && first.is_telling);
        let hop_by_hop = [44, 0, 1, 4, 0, 0, 0, 0];
        let later = [17, 0, 0x01, 0x08, 0, 1, 2, 3];
        let later = [&hop_by_hop[..], &later, &[0; 9]].concat();
        let later = read(&ipv6(0, &later)).unwrap();
        assert_eq!((later.offset, later.len, later.has_more), (0x108, 9, false));
        assert_eq!(later.datagram, first.datagram);
        // RFC 6946: with nothing left out it is no fragment.
        let atomic = [17, 0, 0, 0, 0, 1, 2, 3];
        assert_eq!(read(&ipv6(44, &[&atomic[..], &[0; 8]].concat())), None);
    }

    #[test]
    fn first_fragments_need_all_headers() {
        for (proto, len, is_telling) in
            [(6, 16, false), (6, 24, true), (17, 8, true), (47, 8, true)]
        {
            let payload = [&[0; 12][..], &[0x50; 12]].concat();
            let first = read(&ipv4(0x20, 0, proto, &payload[..len])).unwrap();
            assert_eq!(first.is_telling, is_telling, "{proto} {len}");
        }
        // Destination options that are longer than the fragment.
        let cut = [60, 0, 0, 1, 0, 0, 0, 1, 17, 3, 0, 0, 0, 0, 0, 0];
        assert!(!read(&ipv6(44, &cut)).unwrap().is_telling);
    }
}
