//! Whether the checksums of a packet are right (RFC 1071), for connection tracking: what a host
//! would not take must not change the state of a connection.
//!
//! Called by the datapath for packets that no port vouches for and that owe no checksum. Sums are
//! taken in the machine's byte order (RFC 1071 §2 (B)): all that matters is whether they come to
//! ones alone. Checksums of SCTP, which is another kind, and of protocols that nothing is known of
//! are not looked at.

use crate::fragments::Rest;
use crate::{FlowKey, Layout, eth_type, ip_proto};

/// Whether the checksums of an IPv4 header, and of TCP, UDP, ICMP or ICMPv6 behind it or behind an
/// IPv6 header, are right; those that are not there are. [`crate::parse`] made `key` and `layout`
/// of the frame. Of a fragmented datagram `frame` is the first fragment and `rest` what is known of
/// the others; of any other packet that is nothing.
pub fn has_right_checksums(frame: &[u8], key: &FlowKey, layout: &Layout, rest: Rest) -> bool {
    let (l3, l4, end) = (layout.l3.into(), usize::from(layout.l4), layout.end.into());
    let Some(packet) = frame.get(l3..end).filter(|_| l3 > 0) else {
        return true;
    };
    let kind = (key.eth_type, key.ip_proto);
    if kind == (eth_type::IPV4, ip_proto::TCP)
        && l4 == l3 + IPV4_LEN
        && let Some((header, segment)) = packet.split_first_chunk::<IPV4_LEN>()
    {
        let len = segment.len() as u32 + rest.len;
        let pseudo = pseudo(ip_proto::TCP, len, sum(&header[12..]));
        return is_zero(sum(header)) && is_zero(pseudo + sum(segment) + u64::from(rest.sum));
    }
    if key.eth_type == eth_type::IPV4 && !has_right_header(packet) {
        return false;
    }
    let Some(transport) = frame.get(l4..end).filter(|_| l4 > 0) else {
        return true;
    };
    let is_ipv4 = key.eth_type == eth_type::IPV4;
    let has_none = key.ip_proto == ip_proto::UDP && is_ipv4 && transport.get(6..8) == Some(&[0, 0]);
    let is_known = match key.ip_proto {
        ip_proto::TCP | ip_proto::UDP => true,
        ip_proto::ICMP => is_ipv4,
        ip_proto::ICMPV6 => !is_ipv4,
        _ => false,
    };
    if !is_known || has_none {
        return true;
    }
    let len = transport.len() as u32 + rest.len;
    let pseudo = match key.ip_proto {
        ip_proto::ICMP => 0,
        proto if is_ipv4 => pseudo(proto, len, sum_of::<8>(packet, 12)),
        proto => pseudo(proto, len, sum_of::<32>(packet, 8)),
    };
    is_zero(pseudo + sum(transport) + u64::from(rest.sum))
}

/// Sum of a pseudo header with addresses of which this is the sum.
#[inline(always)]
fn pseudo(proto: u8, len: u32, addresses: u64) -> u64 {
    let words = [len.to_be_bytes(), [0, 0, 0, proto]];
    let words = words.map(|word| u64::from(u32::from_ne_bytes(word)));
    words[0] + words[1] + addresses
}

/// Sum of so many bytes from a place on, which are there: a number that is known to the compiler.
#[inline(always)]
fn sum_of<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<N>());
    bytes.map_or(0, |bytes| sum(bytes))
}

#[inline(always)]
fn has_right_header(packet: &[u8]) -> bool {
    if let Some(header) = packet.first_chunk::<20>()
        && header[0] & 0xf == 5
    {
        return is_zero(sum(header));
    }
    let len = usize::from(packet.first().map_or(0, |byte| byte & 0xf)) * 4;
    packet.get(..len).is_some_and(|header| is_zero(sum(header)))
}

/// Sum of bytes as 16-bit words, not folded; a zero follows an odd byte at the end. Headers alone
/// are summed word by word, since several at once need more to begin and to end.
#[inline(always)]
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let total = match blocks {
        [] => 0,
        _ => sum_blocks(blocks),
    };
    let (words, rest) = rest.as_chunks::<8>();
    // One word after the other, of which there are few.
    let mut total = u128::from(total);
    for word in words {
        total += u128::from(u64::from_ne_bytes(*word));
    }
    let (halves, rest) = rest.as_chunks::<4>();
    let (pairs, rest) = rest.as_chunks::<2>();
    let half = halves.first().map_or(0, |half| u32::from_ne_bytes(*half));
    let pair = pairs.first().map_or(0, |pair| u16::from_ne_bytes(*pair));
    let last = rest
        .first()
        .map_or(0, |byte| u16::from_ne_bytes([*byte, 0]));
    let (low, high) = (total as u64, (total >> 64) as u64);
    (low & 0xffff_ffff) + (low >> 32) + high + u64::from(half) + u64::from(pair) + u64::from(last)
}

/// The same of whole blocks, several words at once.
#[inline(never)]
fn sum_blocks(blocks: &[[u8; BLOCK]]) -> u64 {
    let (words, _) = blocks.as_flattened().as_chunks::<4>();
    let words = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)));
    words.sum()
}

/// The sum as one word.
#[inline(always)]
pub(crate) fn fold(total: u64) -> u16 {
    let total = (total & 0xffff_ffff) + (total >> 32);
    let total = (total & 0xffff) + (total >> 16 & 0xffff) + (total >> 32);
    let total = (total & 0xffff) + (total >> 16);
    ((total & 0xffff) + (total >> 16)) as u16
}

#[inline(always)]
fn is_zero(total: u64) -> bool {
    fold(total) == 0xffff
}

/// Bytes of an IPv4 header without options.
const IPV4_LEN: usize = 20;
/// Bytes that are summed together.
const BLOCK: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    /// 10.0.0.1:4096 to 10.0.0.2:53 over UDP, five bytes.
    const UDP: [u8; 47] = [
        0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 8, 0, // Ethernet
        0x45, 0, 0, 33, 0, 1, 0, 0, 64, 17, 0x66, 0xc9, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
        0x10, 0, 0, 53, 0, 13, 0x97, 0xca, b'h', b'e', b'l', b'l', b'o',
    ];
    /// fe80::1 to fe80::2: echo request.
    const ECHO_V6: [u8; 62] = [
        0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0x86, 0xdd, // Ethernet
        0x60, 0, 0, 0, 0, 8, 58, 64, // IPv6
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, //
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, //
        0x80, 0, 0x82, 0xb5, 0, 1, 0, 2,
    ];

    fn is_right(frame: &[u8]) -> bool {
        let mut key = FlowKey::default();
        let layout = parse(frame, &mut key);
        has_right_checksums(frame, &key, &layout, Rest::default())
    }

    #[test]
    fn each_byte_under_a_checksum_counts() {
        for (frame, covered) in [(&UDP[..], 14..47), (&ECHO_V6[..], 22..62)] {
            assert!(is_right(frame));
            for at in covered {
                let mut changed = frame.to_vec();
                changed[at] ^= 0x10;
                let mut key = FlowKey::default();
                let layout = parse(&changed, &mut key);
                // What is no IPv4 header any more, or of another protocol, has none to look at.
                let is_told = layout.l4 > 0;
                assert!(!is_told || !is_right(&changed), "byte {at}");
            }
            let padded = [frame, &[1, 2, 3]].concat();
            assert!(is_right(&padded), "padding is not under it");
        }
    }

    #[test]
    fn udp_over_ipv4_needs_none() {
        let mut frame = UDP;
        (frame[40], frame[41]) = (0, 0);
        assert!(is_right(&frame));
        frame[24] ^= 1;
        assert!(!is_right(&frame), "but the header does");
    }

    #[test]
    fn the_rest_of_a_datagram_is_under_it() {
        // The last five bytes in another fragment.
        let mut first = UDP[..42].to_vec();
        (first[17], first[20]) = (28, 0x20);
        let header = [&first[14..24], &[0, 0], &first[26..34]].concat();
        let checksum = !fold(sum(&header));
        first[24..26].copy_from_slice(&checksum.to_ne_bytes());
        let mut key = FlowKey::default();
        let layout = parse(&first, &mut key);
        let mut rest = Rest {
            len: 5,
            sum: fold(sum(b"hello")),
        };
        assert!(has_right_checksums(&first, &key, &layout, rest));
        rest.sum = fold(sum(b"hallo"));
        assert!(!has_right_checksums(&first, &key, &layout, rest));
    }
}
