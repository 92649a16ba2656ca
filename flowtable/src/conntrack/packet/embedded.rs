//! The headers that an ICMP error embeds (RFC 792, RFC 4443 §3): those of a packet that went the
//! other way.

use super::{Body, ICMP_LEN, Packet, is_query};
use crate::conntrack::tuple::{Tuple, mapped};
use crate::ip_proto;
use crate::parse::bytes::{u16_at, u32_at, u128_at};

/// Where in the frame the embedded headers are, for those who translate them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// Offset of the network header.
    pub l3: u16,
    /// Offset of the transport header; its first 8 bytes are in the frame.
    pub l4: u16,
}

/// Reads an error whose message is `message`, with the embedded packet `at` bytes into the frame;
/// `outer` is the tuple of its own headers. Nothing if it is no error, or if whom the error is for
/// did not send what it tells of.
pub(super) fn read(message: &[u8], at: u16, outer: &Tuple) -> Option<Packet> {
    let (start, inner) = message.split_first_chunk::<ICMP_LEN>()?;
    let errors: &[u8] = match outer.proto {
        ip_proto::ICMP => &ERRORS,
        _ => &ERRORS_V6,
    };
    if !errors.contains(&start[0]) {
        return None;
    }
    let (mut tuple, header_len) = match outer.version {
        4 => ipv4(inner)?,
        _ => ipv6(inner)?,
    };
    tuple.zone = outer.zone;
    ports(&mut tuple, inner.get(header_len..)?)?;
    let embedded = Embedded {
        l3: at,
        l4: at + header_len as u16,
    };
    (tuple.src == outer.dst).then(|| Packet {
        tuple: tuple.reversed(),
        body: Body::Error(embedded),
    })
}

/// Addresses and protocol of an IPv4 header, and its length. Of fragments only the first tells of
/// a connection.
fn ipv4(bytes: &[u8]) -> Option<(Tuple, usize)> {
    let ip = bytes.first_chunk::<20>()?;
    let header_len = usize::from(ip[0] & 0xf) * 4;
    if ip[0] >> 4 != 4 || header_len < ip.len() || u16_at(ip, 6) & IPV4_OFFSET != 0 {
        return None;
    }
    let tuple = Tuple {
        src: mapped(u32_at(ip, 12)),
        dst: mapped(u32_at(ip, 16)),
        proto: ip[9],
        version: 4,
        ..Tuple::default()
    };
    Some((tuple, header_len))
}

/// The same of an IPv6 header and its extension headers.
fn ipv6(bytes: &[u8]) -> Option<(Tuple, usize)> {
    let ip = bytes.first_chunk::<40>()?;
    let (mut next, mut at) = (ip[6], ip.len());
    for _ in 0..EXTENSIONS_MAX {
        let (unit, is_fragment) = match next {
            ip_proto::HOP_BY_HOP | ip_proto::ROUTING | ip_proto::DESTINATION => (8, false),
            ip_proto::FRAGMENT => (0, true),
            ip_proto::AH => (4, false),
            _ => break,
        };
        let header = bytes.get(at..)?.first_chunk::<8>()?;
        if is_fragment && u16_at(header, 2) & IPV6_OFFSET != 0 {
            return None;
        }
        at += usize::from(header[1]) * unit + 8;
        next = header[0];
    }
    let tuple = Tuple {
        src: u128_at(ip, 8),
        dst: u128_at(ip, 24),
        proto: next,
        version: 6,
        ..Tuple::default()
    };
    (ip[0] >> 4 == 6).then_some((tuple, at))
}

/// Ports, or an ICMP query's identifier and type, out of the first 8 bytes of a transport header.
/// That much every error has to embed.
fn ports(tuple: &mut Tuple, bytes: &[u8]) -> Option<()> {
    if !tuple.has_port() {
        return Some(());
    }
    let transport = bytes.first_chunk::<8>()?;
    (tuple.src_port, tuple.dst_port) = match tuple.is_icmp() {
        true if !is_query(tuple.proto, transport) => return None,
        true => (u16_at(transport, 4), u16_at(transport, 0)),
        false => (u16_at(transport, 0), u16_at(transport, 2)),
    };
    Some(())
}

/// Destination unreachable, source quench, redirect, time exceeded, parameter problem.
const ERRORS: [u8; 5] = [3, 4, 5, 11, 12];
/// Destination unreachable, packet too big, time exceeded, parameter problem.
const ERRORS_V6: [u8; 4] = [1, 2, 3, 4];
const IPV4_OFFSET: u16 = 0x1fff;
const IPV6_OFFSET: u16 = 0xfff8;
/// Extension headers that are walked over: one of each kind, as RFC 8200 §4.1 orders them.
const EXTENSIONS_MAX: usize = 6;
