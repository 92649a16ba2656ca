//! How long the packets of a path may be: what a sender is told whose packet is too long for its
//! tunnel, and what routers tell of packets that tunnels sent (RFC 1191, RFC 4443 §3.2, RFC 8201).
//!
//! The sender is told as if by the host that its packet was for, as the kernel does it for a tunnel
//! device in a bridge: a tunnel joins two ends of one network, where no router could say so, and
//! senders look at what is quoted.

use std::net::IpAddr;

use flowtable::tunnel::{Carrier, Outer};
use flowtable::{eth_type, ip_proto, too_big};

use super::endpoint::Link;
use super::frame::{Received, ethernet};
use super::icmp::{self, Error};
use super::limits;

/// The frame that tells the sender of one that is longer than `frame_len_max` bytes, which came by
/// `link`; none if it is not to be told, or would not understand.
pub fn tell(frame: &[u8], link: &Link, frame_len_max: usize) -> Option<Vec<u8>> {
    let received = Received::parse(frame)?;
    let mtu = frame_len_max.checked_sub(received.link_len())?;
    let (_, destination) = received.addresses()?;
    let (is_owed, kind) = match destination {
        IpAddr::V4(_) => (
            mtu >= limits::MTU_V4_MIN && may_not_be_cut(&received),
            eth_type::IPV4,
        ),
        IpAddr::V6(_) => (mtu >= limits::MTU_V6_MIN, eth_type::IPV6),
    };
    if !is_owed || (link.from | link.to) & GROUP != 0 {
        return None;
    }
    let packet = icmp::error(&received, destination, Error::TooBig(mtu as u16))?;
    Some(ethernet((link.from, link.to), link.tag, kind, &packet))
}

/// Whether an IPv4 packet has its flag "don't fragment" set.
fn may_not_be_cut(received: &Received<'_>) -> bool {
    received
        .packet()
        .get(6)
        .is_some_and(|bits| bits & 0x40 != 0)
}

/// What a router tells of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whom it tells.
    pub own: IpAddr,
    /// Who had sent the packet that was too long.
    pub source: IpAddr,
    /// Where that packet was to go.
    pub destination: IpAddr,
    /// What carried it.
    pub carrier: Carrier,
    /// Longest IP packet that goes on, not less than any path must take.
    pub mtu: u32,
}

impl Report {
    /// Reads a frame; none if it is no such report, or not about UDP or GRE.
    pub fn of(frame: &[u8]) -> Option<Report> {
        let received = Received::parse(frame).filter(Received::is_icmp)?;
        let (header, quoted) = received.transport().split_first_chunk::<8>()?;
        let [kind, code, _, _, a, b, c, d] = *header;
        let (eth_type, least, word) = match (received.key.ip_proto, [kind, code]) {
            (ip_proto::ICMP, too_big::V4) => (eth_type::IPV4, limits::PATH_V4_MIN, [0, 0, c, d]),
            (ip_proto::ICMPV6, too_big::V6) => (eth_type::IPV6, limits::MTU_V6_MIN, [a, b, c, d]),
            _ => return None,
        };
        let about = Outer::decode(&ethernet((0, 0), None, eth_type, quoted))?;
        Some(Report {
            own: received.addresses()?.1,
            source: about.source,
            destination: about.destination,
            carrier: about.carrier,
            mtu: u32::from_be_bytes(word).max(least as u32),
        })
    }
}

/// Bit of an Ethernet address that makes it a group's.
const GROUP: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::frame::{checksum, icmpv6, ipv4, ipv6};
    use super::super::testing::{A, A6, B, B6};
    use super::*;

    fn link() -> Link {
        Link {
            to: 1,
            from: 7,
            tag: None,
        }
    }

    fn v4(payload: usize) -> Vec<u8> {
        let packet = ipv4((A, B), 0, 253, &vec![0; payload]);
        ethernet((1, 7), None, eth_type::IPV4, &packet)
    }

    fn v6(payload: usize) -> Vec<u8> {
        let packet = ipv6((A6, B6), 0, (253, 64), &vec![0; payload]);
        ethernet((1, 7), None, eth_type::IPV6, &packet)
    }

    /// RFC 1191 §4, RFC 4443 §3.2: type, code, and the MTU where it belongs.
    #[test]
    fn a_sender_is_told_how_long_packets_may_be() {
        let answer = tell(&v4(1480), &link(), 14 + 1450).unwrap();
        let received = Received::parse(&answer).expect("right checksums");
        assert_eq!((received.key.eth_dst, received.key.eth_src), (7, 1));
        assert_eq!(received.addresses(), Some((B.into(), A.into())));
        assert_eq!(received.transport()[..2], [3, 4]);
        assert_eq!(received.transport()[4..8], [0, 0, 5, 0xaa]);
        assert_eq!(received.transport()[8..28], v4(1480)[14..34]);

        let answer = tell(&v6(1460), &link(), 14 + 1430).unwrap();
        let received = Received::parse(&answer).expect("right checksums");
        assert_eq!(received.addresses(), Some((B6.into(), A6.into())));
        assert_eq!(received.transport()[..2], [2, 0]);
        assert_eq!(received.transport()[4..8], [0, 0, 5, 0x96]);
    }

    #[test]
    fn who_would_not_understand_is_not_told() {
        let mut may_be_cut = v4(1480);
        may_be_cut[20] = 0;
        let sum = checksum(&[&may_be_cut[14..24], &may_be_cut[26..34]]);
        may_be_cut[24..26].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(tell(&may_be_cut, &link(), 14 + 1450), None);
        assert_eq!(tell(&v4(1480), &link(), 14 + 67), None);
        assert_eq!(tell(&v6(1460), &link(), 14 + 1279), None);
        assert_eq!(tell(&[0; 1500], &link(), 1450), None);
        for group in [GROUP, 0xffff_ffff_ffff] {
            let to = Link {
                to: group,
                ..link()
            };
            assert_eq!(tell(&v4(1480), &to, 14 + 1450), None);
        }
    }

    fn report(kind: [u8; 2], mtu: u32, about: &[u8]) -> Vec<u8> {
        let [a, b, c, d] = mtu.to_be_bytes();
        let mut message = [&[kind[0], kind[1], 0, 0, a, b, c, d], about].concat();
        let packet = match about[0] >> 4 {
            4 => {
                let sum = checksum(&[&message]);
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                ipv4((B, A), 0, ip_proto::ICMP, &message)
            }
            _ => icmpv6((B6, A6), 0, 64, message),
        };
        let kind = match about[0] >> 4 {
            4 => eth_type::IPV4,
            _ => eth_type::IPV6,
        };
        ethernet((7, 1), None, kind, &packet)
    }

    #[test]
    fn what_routers_tell_is_read() {
        let udp = [0xc0, 0, 0x12, 0xb5, 0, 0, 0, 0];
        let far = Ipv4Addr::new(10, 9, 0, 1);
        let sent = ipv4((A, far), 0, ip_proto::UDP, &udp);
        let expected = Report {
            own: A.into(),
            source: A.into(),
            destination: far.into(),
            carrier: Carrier::Udp(4789),
            mtu: 1400,
        };
        assert_eq!(Report::of(&report([3, 4], 1400, &sent)), Some(expected));
        // Less than anybody has, and nothing at all (RFC 1191 §3), are the least.
        for mtu in [0, 100] {
            let mtu = Report::of(&report([3, 4], mtu, &sent)).unwrap().mtu;
            assert_eq!(mtu, 552);
        }
        let sent = ipv6((A6, B6), 0, (47, 64), &[0x20, 0, 0x65, 0x58]);
        let expected = Report {
            own: A6.into(),
            source: A6.into(),
            destination: B6.into(),
            carrier: Carrier::Gre,
            mtu: 1300,
        };
        assert_eq!(Report::of(&report([2, 0], 1300, &sent)), Some(expected));
        assert_eq!(Report::of(&report([2, 0], 9, &sent)).unwrap().mtu, 1280);
    }

    #[test]
    fn nothing_else_is_a_report() {
        let sent = ipv4((A, B), 0, ip_proto::UDP, &[0; 8]);
        assert_eq!(Report::of(&report([3, 1], 1400, &sent)), None);
        assert_eq!(Report::of(&report([3, 4], 1400, &sent[..19])), None);
        let tcp = ipv4((A, B), 0, ip_proto::TCP, &[0; 20]);
        assert_eq!(Report::of(&report([3, 4], 1400, &tcp)), None);
        let whole = report([3, 4], 1400, &sent);
        for len in 0..whole.len() {
            assert_eq!(Report::of(&whole[..len]), None, "{len}");
        }
        let mut wrong = whole;
        wrong[40] ^= 1;
        assert_eq!(Report::of(&wrong), None, "a wrong checksum");
    }
}
