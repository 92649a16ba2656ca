//! What a tunnel takes from the frame that it wraps, without parsing all of it: a source port that
//! differs by flow, so that the paths and queues between two nodes are all used (RFC 7348 §5,
//! RFC 8926 §3.3), and the type of service and time to live.

use super::{ETHERNET_LEN, IPV4, IPV6, PORT_FIRST, be16};

/// What a tunnel takes from a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    /// [`entropy`].
    pub port: u16,
    /// [`tos_and_ttl`].
    pub tos_and_ttl: Option<(u8, u8)>,
}

impl Within {
    /// All that a tunnel takes from a frame, in one look.
    #[inline(always)]
    pub fn of(frame: &[u8]) -> Within {
        let network = network(frame);
        Within {
            port: port(network, frame),
            tos_and_ttl: network.and_then(tos_and_ttl_of),
        }
    }
}

/// A UDP source port of the dynamic range, the same for all packets of a flow: by Ethernet
/// addresses, or IP addresses, protocol and ports. Fragments have no ports to tell: all of a
/// datagram have one.
pub fn entropy(frame: &[u8]) -> u16 {
    port(network(frame), frame)
}

/// Type of service and time to live of an IP packet in a frame.
#[inline]
pub fn tos_and_ttl(frame: &[u8]) -> Option<(u8, u8)> {
    tos_and_ttl_of(network(frame)?)
}

#[inline(always)]
fn port(network: Option<(u16, &[u8])>, frame: &[u8]) -> u16 {
    let hash = match network {
        Some((IPV4, header)) => ipv4(header),
        Some((IPV6, header)) => ipv6(header),
        _ => None,
    };
    let hash = hash.unwrap_or_else(|| {
        let words = frame.first_chunk::<12>().map(words::<3, 12>);
        words.map_or(0, |words| words.into_iter().fold(0, mix))
    });
    let hash = (hash ^ hash >> 32) as u32;
    // The range is a quarter of all ports.
    PORT_FIRST | (hash >> 18) as u16
}

#[inline(always)]
fn tos_and_ttl_of(network: (u16, &[u8])) -> Option<(u8, u8)> {
    match network {
        (IPV4, header) if header.len() >= 20 => Some((header[1], header[8])),
        (IPV6, header) if header.len() >= 40 => Some((header[0] << 4 | header[1] >> 4, header[7])),
        _ => None,
    }
}

/// The Ethernet type behind up to two tags, and what follows.
#[inline(always)]
fn network(frame: &[u8]) -> Option<(u16, &[u8])> {
    let mut at = ETHERNET_LEN - 2;
    let mut kind = be16(frame, at)?;
    for _ in 0..2 {
        if matches!(kind, 0x8100 | 0x88a8) {
            at += 4;
            kind = be16(frame, at)?;
        }
    }
    Some((kind, frame.get(at + 2..)?))
}

#[inline]
fn ipv4(header: &[u8]) -> Option<u64> {
    let fixed = header.first_chunk::<20>()?;
    let addresses = words::<2, 8>(fixed.last_chunk()?);
    let hash = addresses.into_iter().fold(u64::from(fixed[9]), mix);
    let is_fragment = be16(fixed, 6)? & 0x3fff != 0;
    let at = usize::from(fixed[0] & 15) * 4;
    Some(with_ports(hash, fixed[9], is_fragment, header.get(at..)))
}

#[inline(never)]
fn ipv6(header: &[u8]) -> Option<u64> {
    let fixed = header.first_chunk::<40>()?;
    let addresses = words::<8, 32>(fixed.last_chunk()?);
    let hash = addresses.into_iter().fold(u64::from(fixed[6]), mix);
    Some(with_ports(hash, fixed[6], false, header.get(40..)))
}

fn with_ports(hash: u64, protocol: u8, is_fragment: bool, transport: Option<&[u8]>) -> u64 {
    let has_ports = matches!(protocol, 6 | 17 | 132) && !is_fragment;
    let ports = transport.and_then(|bytes| bytes.first_chunk::<4>());
    match ports.filter(|_| has_ports) {
        Some(ports) => mix(hash, u32::from_be_bytes(*ports)),
        None => hash,
    }
}

fn words<const N: usize, const BYTES: usize>(bytes: &[u8; BYTES]) -> [u32; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

#[inline(always)]
fn mix(sum: u64, word: u32) -> u64 {
    (sum ^ u64::from(word))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
}
