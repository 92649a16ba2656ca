//! Echo replies and errors of ICMP and ICMPv6 (RFC 792, RFC 4443), as a router owes them (RFC 1812
//! §4.3): when, to whom, and how much of the packet that they are about.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flowtable::{FRAGMENT_LATER, eth_type, ip_proto, too_big};

use super::frame::{IPV4_HEADER, IPV6_HEADER, Received, TTL, checksum, icmpv6, ipv4};
use super::limits;
use super::settings::is_unicast;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Its time to live ended on its way.
    TimeExceeded,
    /// It is longer than so many bytes, and may not be fragmented.
    TooBig(u16),
    /// No route leads to its destination.
    NoRoute,
    /// Its destination is on a link of the router, but the router does not deliver there.
    NoHost,
    /// It has reached its destination, where nobody listens at its port.
    NoPort,
    /// It has reached its destination, where nobody knows its protocol.
    NoProtocol,
}

impl Error {
    /// Type, code, and how long it may be (RFC 792, RFC 1191 §4).
    fn v4(self) -> ([u8; 2], u32) {
        match self {
            Error::TimeExceeded => ([11, 0], 0),
            Error::TooBig(mtu) => (too_big::V4, mtu.into()),
            Error::NoRoute => ([3, 0], 0),
            Error::NoHost => ([3, 1], 0),
            Error::NoProtocol => ([3, 2], 0),
            Error::NoPort => ([3, 3], 0),
        }
    }

    /// Type, code, and where in the packet, or how long it may be (RFC 4443 §3).
    fn v6(self) -> ([u8; 2], u32) {
        match self {
            Error::TimeExceeded => ([3, 0], 0),
            Error::TooBig(mtu) => (too_big::V6, mtu.into()),
            Error::NoRoute => ([1, 0], 0),
            Error::NoHost => ([1, 3], 0),
            Error::NoPort => ([1, 4], 0),
            Error::NoProtocol => ([4, 1], NEXT_HEADER_AT),
        }
    }
}

/// The IP packet that answers an echo request; none if this is no such request.
pub fn echo_reply(received: &Received<'_>) -> Option<Vec<u8>> {
    let key = &received.key;
    if !received.is_icmp() || key.ip_frag != 0 || key.tp_dst != 0 {
        return None;
    }
    let mut message = received.transport().to_vec();
    match (received.addresses()?, key.tp_src) {
        ((IpAddr::V4(from), IpAddr::V4(to)), 8) => {
            message[..4].fill(0);
            let sum = checksum(&[&message]);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            Some(ipv4((to, from), key.ip_tos, ip_proto::ICMP, &message))
        }
        ((IpAddr::V6(from), IpAddr::V6(to)), 128) => {
            message[..4].copy_from_slice(&[129, 0, 0, 0]);
            Some(icmpv6((to, from), key.ip_tos, TTL, message))
        }
        _ => None,
    }
}

/// The IP packet that tells the sender what was wrong, from `own`; none if no error is owed for
/// such a packet (RFC 1812 §4.3.2.7, RFC 4443 §2.4 (e)).
pub fn error(received: &Received<'_>, own: IpAddr, error: Error) -> Option<Vec<u8>> {
    let (source, destination) = received.addresses()?;
    let is_later = received.key.ip_frag & FRAGMENT_LATER != 0;
    if is_later || is_error(received) || !is_unicast(source) || !is_unicast(destination) {
        return None;
    }
    match (own, source) {
        (IpAddr::V4(own), IpAddr::V4(to)) => Some(error_v4(received, (own, to), error)),
        (IpAddr::V6(own), IpAddr::V6(to)) => Some(error_v6(received, (own, to), error)),
        _ => None,
    }
}

/// Whether it is an error itself, or may be one: what of ICMP is neither asked nor answered.
fn is_error(received: &Received<'_>) -> bool {
    let kind = received.key.tp_src;
    match (received.key.eth_type, received.key.ip_proto) {
        (eth_type::IPV4, ip_proto::ICMP) => {
            !received.is_icmp() || !matches!(kind, 0 | 8..=10 | 13..=18)
        }
        (eth_type::IPV6, ip_proto::ICMPV6) => !received.is_icmp() || kind < 128 || kind == REDIRECT,
        _ => false,
    }
}

fn error_v4(received: &Received<'_>, ends: (Ipv4Addr, Ipv4Addr), error: Error) -> Vec<u8> {
    let quoted = quoted(received, limits::ERROR_BYTES_V4_MAX - IPV4_HEADER);
    let ([kind, code], word) = error.v4();
    let [a, b, c, d] = word.to_be_bytes();
    let mut message = [&[kind, code, 0, 0, a, b, c, d], quoted].concat();
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(ends, INTERNETWORK_CONTROL, ip_proto::ICMP, &message)
}

fn error_v6(received: &Received<'_>, ends: (Ipv6Addr, Ipv6Addr), error: Error) -> Vec<u8> {
    let quoted = quoted(received, limits::ERROR_BYTES_V6_MAX - IPV6_HEADER);
    let ([kind, code], word) = error.v6();
    let [a, b, c, d] = word.to_be_bytes();
    let message = [&[kind, code, 0, 0, a, b, c, d], quoted].concat();
    icmpv6(ends, 0, TTL, message)
}

/// As much of the packet as fits behind the header of a message of so many bytes.
fn quoted<'a>(received: &Received<'a>, bytes_max: usize) -> &'a [u8] {
    let packet = received.packet();
    &packet[..packet.len().min(bytes_max - MESSAGE_HEADER)]
}

/// Bytes of a message before what it quotes.
const MESSAGE_HEADER: usize = 8;
/// Redirect: no error may be about one (RFC 4443 §2.4 (e.2)).
const REDIRECT: u16 = 137;
/// Where an IPv6 header names what follows it.
const NEXT_HEADER_AT: u32 = 6;
/// Type of service of errors: precedence 6 (RFC 1812 §4.3.2.5).
const INTERNETWORK_CONTROL: u8 = 0xc0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::frame::ethernet;
    use crate::local::testing::{A, A6, B, B6};

    fn frame(packet: &[u8]) -> Vec<u8> {
        let kind = match packet[0] >> 4 {
            4 => eth_type::IPV4,
            _ => eth_type::IPV6,
        };
        ethernet((1, 7), None, kind, packet)
    }

    fn icmp(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut message = [&[kind, 0, 0, 0, 0, 9, 0, 1], payload].concat();
        let sum = checksum(&[&message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        ipv4((A, B), 0x20, ip_proto::ICMP, &message)
    }

    fn told(packet: &[u8], error_: Error) -> Option<Vec<u8>> {
        let frame = frame(packet);
        let received = Received::parse(&frame).expect("right checksums");
        let own = match received.addresses()?.0 {
            IpAddr::V4(_) => B.into(),
            IpAddr::V6(_) => B6.into(),
        };
        error(&received, own, error_)
    }

    #[test]
    fn an_echo_comes_back_as_it_went() {
        let asked = frame(&icmp(8, b"what is said"));
        let reply = echo_reply(&Received::parse(&asked).unwrap()).unwrap();
        let answered = frame(&reply);
        let received = Received::parse(&answered).expect("right checksums");
        assert_eq!(received.addresses(), Some((B.into(), A.into())));
        assert_eq!((received.key.tp_src, received.key.ip_tos), (0, 0x20));
        assert_eq!(received.transport()[4..8], [0, 9, 0, 1]);
        assert_eq!(received.transport()[8..], *b"what is said");

        let message = [&[128, 0, 0, 0, 0, 9, 0, 1], &b"odd"[..]].concat();
        let asked = frame(&icmpv6((A6, B6), 0, 64, message));
        let reply = echo_reply(&Received::parse(&asked).unwrap()).unwrap();
        let answered = frame(&reply);
        let received = Received::parse(&answered).expect("right checksums");
        assert_eq!(received.addresses(), Some((B6.into(), A6.into())));
        assert_eq!(received.key.tp_src, 129);
        assert_eq!(received.transport()[8..], *b"odd");
        assert!(echo_reply(&received).is_none(), "a reply is not answered");
    }

    #[test]
    fn errors_quote_what_they_are_about() {
        let long = icmp(8, &[7; 1400]);
        for (error, kind) in [
            (Error::TimeExceeded, [11, 0]),
            (Error::NoRoute, [3, 0]),
            (Error::NoHost, [3, 1]),
            (Error::NoProtocol, [3, 2]),
            (Error::NoPort, [3, 3]),
        ] {
            let packet = told(&long, error).unwrap();
            assert_eq!(packet.len(), limits::ERROR_BYTES_V4_MAX);
            let answered = frame(&packet);
            let received = Received::parse(&answered).expect("right checksums");
            assert_eq!(received.transport()[..2], kind);
            assert_eq!(received.transport()[8..], long[..548]);
        }
        let udp = crate::local::frame::ipv6((A6, B6), 0, (253, 1), &[0; 1400]);
        let packet = told(&udp, Error::NoProtocol).unwrap();
        assert_eq!(packet.len(), limits::ERROR_BYTES_V6_MAX);
        let answered = frame(&packet);
        let received = Received::parse(&answered).expect("right checksums");
        assert_eq!(received.transport()[..2], [4, 1]);
        assert_eq!(received.transport()[4..8], [0, 0, 0, 6]);
        assert_eq!(received.transport()[8..], udp[..1232]);
    }

    #[test]
    fn errors_about_errors_groups_and_nobody_are_not_owed() {
        assert!(told(&icmp(8, &[]), Error::NoRoute).is_some());
        for kind in [3, 4, 5, 11, 12, 19] {
            assert_eq!(told(&icmp(kind, &[0; 28]), Error::NoRoute), None, "{kind}");
        }
        for (from, to) in [
            (Ipv4Addr::UNSPECIFIED, B),
            (Ipv4Addr::LOCALHOST, B),
            (Ipv4Addr::new(224, 0, 0, 1), B),
            (Ipv4Addr::BROADCAST, B),
            (A, Ipv4Addr::new(224, 0, 0, 1)),
            (A, Ipv4Addr::BROADCAST),
        ] {
            let packet = ipv4((from, to), 0, 253, &[0; 8]);
            assert_eq!(told(&packet, Error::TimeExceeded), None, "{from} to {to}");
        }
        for kind in [1, 4, 127, 137] {
            let packet = icmpv6((A6, B6), 0, 1, vec![kind, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(told(&packet, Error::TimeExceeded), None, "{kind}");
        }
    }
}
