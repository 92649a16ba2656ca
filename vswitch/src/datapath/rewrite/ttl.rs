//! Times to live: decrementing, and copying between an outer and an inner header.
//!
//! Headers with a time to live are the entries of the MPLS stack and, beneath the last or
//! without any, IPv4 or IPv6.

use std::ops::ControlFlow::{Break, Continue};

use flowtable::eth_type;

use super::{Delta, Fate, Frame, Headers, tags};
use crate::action::DropReason;

/// Decrements the IP time to live; a packet that had 1 or 0 ends, its bytes unchanged.
#[inline(always)]
pub fn decrement_ip(frame: &mut Frame) -> Fate {
    decrement_moved(frame.bytes, &frame.headers, 0)
}

/// Does the same where headers have moved since they were looked for, by so many bytes modulo 2^16.
#[inline(always)]
pub fn decrement_moved(bytes: &mut [u8], headers: &Headers, moved: u16) -> Fate {
    let l3 = headers.layout.l3;
    if l3 == 0 {
        return Continue(());
    }
    let header = bytes.get_mut(usize::from(l3.wrapping_add(moved))..);
    match headers.eth_type {
        eth_type::IPV4 => match header.and_then(<[u8]>::first_chunk_mut) {
            Some(ip) => decrement_ipv4(ip),
            None => Continue(()),
        },
        eth_type::IPV6 => match header.and_then(<[u8]>::first_chunk_mut::<8>) {
            Some([.., hop_limit]) => decrement(hop_limit),
            None => Continue(()),
        },
        _ => Continue(()),
    }
}

/// In the checksum the time to live is the upper byte of a word, which comes to less by 0x100.
#[inline(always)]
fn decrement_ipv4(ip: &mut [u8; 12]) -> Fate {
    decrement(&mut ip[8])?;
    let sum = u16::from_be_bytes([ip[10], ip[11]]);
    let sum = Delta::of_words(0x100, 0).apply(sum);
    [ip[10], ip[11]] = sum.to_be_bytes();
    Continue(())
}

#[inline(always)]
fn decrement(ttl: &mut u8) -> Fate {
    if *ttl <= 1 {
        return Break(DropReason::InvalidTtl);
    }
    *ttl -= 1;
    Continue(())
}

/// Decrements the time to live of the top MPLS entry likewise.
pub fn decrement_mpls(frame: &mut Frame) -> Fate {
    let Some((Header::Mpls(at), _)) = outer_and_inner(frame) else {
        return Continue(());
    };
    match frame.bytes[at] {
        0 | 1 => Break(DropReason::InvalidTtl),
        ttl => {
            frame.bytes[at] = ttl - 1;
            Continue(())
        }
    }
}

/// Copies the time to live of the outermost header to the next, if there is a next.
pub fn copy_in(frame: &mut Frame) -> Fate {
    match outer_and_inner(frame) {
        Some((outer, Some(inner))) => {
            let ttl = outer.read(frame.bytes);
            inner.write(frame, ttl)
        }
        _ => Continue(()),
    }
}

/// Copies the time to live of the next header, if there is one, to the outermost.
pub fn copy_out(frame: &mut Frame) -> Fate {
    match outer_and_inner(frame) {
        Some((outer, Some(inner))) => {
            let ttl = inner.read(frame.bytes);
            outer.write(frame, ttl)
        }
        _ => Continue(()),
    }
}

/// The time to live of an IP header, or 0 where there is none.
pub fn of_ip(frame: &Frame) -> u8 {
    network_header(frame).map_or(0, |header| header.read(frame.bytes))
}

/// The IP header that the parser found, if it is IP that it found.
fn network_header(frame: &Frame) -> Option<Header> {
    let l3 = frame.headers.l3()?;
    match frame.headers.eth_type {
        eth_type::IPV4 | eth_type::IPV6 => ip_at(frame.bytes, l3),
        _ => None,
    }
}

/// Where a header keeps its time to live. The offset is within the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    Mpls(usize),
    /// Start of the IPv4 header: its checksum covers the time to live.
    Ipv4(usize),
    Ipv6(usize),
}

impl Header {
    fn read(self, bytes: &[u8]) -> u8 {
        match self {
            Header::Mpls(at) => bytes[at],
            Header::Ipv4(l3) => bytes[l3 + 8],
            Header::Ipv6(l3) => bytes[l3 + 7],
        }
    }

    fn write(self, frame: &mut Frame, ttl: u8) -> Fate {
        match self {
            Header::Mpls(at) => frame.bytes[at] = ttl,
            Header::Ipv6(l3) => frame.bytes[l3 + 7] = ttl,
            Header::Ipv4(l3) => {
                let old = [frame.bytes[l3 + 8], frame.bytes[l3 + 9]];
                frame.bytes[l3 + 8] = ttl;
                let delta = Delta::between(&old, &frame.bytes[l3 + 8..l3 + 10]);
                return frame.update(l3 + 10, |sum| delta.apply(sum));
            }
        }
        Continue(())
    }
}

/// The outermost header that has a time to live, and the next.
fn outer_and_inner(frame: &Frame) -> Option<(Header, Option<Header>)> {
    let (type_at, eth_type) = tags::ether_type(frame.bytes)?;
    let outer = type_at + 2;
    match eth_type {
        eth_type::IPV4 | eth_type::IPV6 => Some((ip_at(frame.bytes, outer)?, None)),
        _ if tags::is_mpls(eth_type) => {
            let entry = frame.bytes.get(outer..outer + tags::MPLS_LEN)?;
            let next = outer + tags::MPLS_LEN;
            let inner = match entry[2] & 1 {
                0 => mpls_at(frame.bytes, next),
                _ => ip_at(frame.bytes, next),
            };
            Some((Header::Mpls(outer + 3), inner))
        }
        _ => None,
    }
}

fn mpls_at(bytes: &[u8], at: usize) -> Option<Header> {
    bytes.get(at..at + tags::MPLS_LEN)?;
    Some(Header::Mpls(at + 3))
}

/// The first four bits tell IPv4 from IPv6: beneath MPLS nothing else does.
fn ip_at(bytes: &[u8], at: usize) -> Option<Header> {
    match bytes.get(at)? >> 4 {
        4 if bytes.len() >= at + 20 => Some(Header::Ipv4(at)),
        6 if bytes.len() >= at + 40 => Some(Header::Ipv6(at)),
        _ => None,
    }
}
