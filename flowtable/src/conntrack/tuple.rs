//! What tells connections apart: addresses, ports, protocol and zone of one direction.
//!
//! Used all over connection tracking. Both versions of IP have the same form, five words, so that
//! comparing and hashing need no branch; an IPv4 address is kept as `::ffff:a.b.c.d` (RFC 4291
//! §2.5.5.2), and the version tells it from an IPv6 packet with such an address. ICMP echo and its
//! like have the identifier for a source port and type and code for a destination port.

use zerocopy::{Immutable, IntoBytes};

use crate::hash::{Stream, fold};
use crate::ip_proto;

/// One direction of a connection, in one zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, IntoBytes, Immutable)]
#[repr(C)]
pub struct Tuple {
    /// Source address; IPv4 as `::ffff:a.b.c.d`.
    pub src: [u64; 2],
    /// Destination address; IPv4 as `::ffff:a.b.c.d`.
    pub dst: [u64; 2],
    /// Source port, or the identifier of an ICMP query; 0 where the protocol has none.
    pub src_port: u16,
    /// Destination port, or type and code of an ICMP query; 0 where the protocol has none.
    pub dst_port: u16,
    /// Zone.
    pub zone: u16,
    /// IP protocol.
    pub proto: u8,
    /// Version of IP: 4 or 6.
    pub version: u8,
}

impl Tuple {
    /// Words of a tuple.
    pub(super) const WORDS: usize = size_of::<Tuple>() / 8;

    /// The tuple of packets in the other direction, if nothing is translated.
    #[inline(always)]
    pub fn reversed(&self) -> Tuple {
        match self.is_icmp() {
            true => Tuple {
                src_port: self.src_port,
                dst_port: answer(self.proto, self.dst_port),
                ..self.swapped()
            },
            false => self.swapped(),
        }
    }

    /// The same of one that is not of ICMP.
    #[inline(always)]
    pub(super) fn swapped(&self) -> Tuple {
        Tuple {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            ..*self
        }
    }

    /// Whether it is of ICMP or ICMPv6.
    #[inline(always)]
    pub fn is_icmp(&self) -> bool {
        match self.version {
            4 => self.proto == ip_proto::ICMP,
            _ => self.proto == ip_proto::ICMPV6,
        }
    }

    /// Source and destination port as the fields of the original tuple tell them: of ICMP type
    /// and code.
    pub fn told_ports(&self) -> (u16, u16) {
        match self.is_icmp() {
            true => (self.dst_port >> 8, self.dst_port & 0xff),
            false => (self.src_port, self.dst_port),
        }
    }

    /// Whether it has a port that translation may change: as in Open vSwitch that of TCP, UDP and
    /// SCTP, and the identifier of ICMP queries.
    pub(super) fn has_port(&self) -> bool {
        let ports = [ip_proto::TCP, ip_proto::UDP, ip_proto::SCTP];
        ports.contains(&self.proto) || self.is_icmp()
    }

    #[inline(always)]
    pub(super) fn words(&self) -> &[u64; Tuple::WORDS] {
        zerocopy::transmute_ref!(self)
    }

    /// The tuple whose words these are.
    #[inline(always)]
    pub(super) fn from_words(words: [u64; Tuple::WORDS]) -> Tuple {
        let [src_high, src_low, dst_high, dst_low, rest] = words;
        let rest = rest.to_ne_bytes();
        let pair = |at: usize| u16::from_ne_bytes([rest[at], rest[at + 1]]);
        Tuple {
            src: [src_high, src_low],
            dst: [dst_high, dst_low],
            src_port: pair(0),
            dst_port: pair(2),
            zone: pair(4),
            proto: rest[6],
            version: rest[7],
        }
    }

    /// Each pair of words, hidden behind secret ones, is multiplied on its own, so that the
    /// products do not wait for one another.
    #[inline(always)]
    pub(super) fn hash(&self, hasher: &Hasher) -> u64 {
        let [a, b, c, d, e] = *self.words();
        let secrets = &hasher.secrets;
        let ends =
            fold(a ^ secrets[0], b ^ secrets[1]).wrapping_add(fold(c ^ secrets[2], d ^ secrets[3]));
        fold(
            ends.wrapping_add(fold(e ^ secrets[4], secrets[5])),
            secrets[6],
        )
    }
}

/// What the hash of tuples depends on beside them.
#[derive(Debug)]
pub(super) struct Hasher {
    secrets: [u64; 7],
}

impl Hasher {
    pub fn new(secret: u64) -> Hasher {
        let mut stream = Stream(secret);
        Hasher {
            secrets: core::array::from_fn(|_| stream.next() | 1),
        }
    }
}

/// An IPv4 address as tuples have it.
#[inline(always)]
pub fn mapped(address: u32) -> [u64; 2] {
    [0, 0xffff_0000_0000 | u64::from(address)]
}

/// Type and code of the answer to an ICMP query, or of the query that is answered.
fn answer(proto: u8, kind: u16) -> u16 {
    let answered = match (proto, kind >> 8) {
        (ip_proto::ICMP, icmp::ECHO) => icmp::ECHO_REPLY,
        (ip_proto::ICMP, icmp::ECHO_REPLY) => icmp::ECHO,
        (ip_proto::ICMP, icmp::TIMESTAMP) => icmp::TIMESTAMP_REPLY,
        (ip_proto::ICMP, icmp::TIMESTAMP_REPLY) => icmp::TIMESTAMP,
        (ip_proto::ICMP, icmp::INFORMATION) => icmp::INFORMATION_REPLY,
        (ip_proto::ICMP, icmp::INFORMATION_REPLY) => icmp::INFORMATION,
        (ip_proto::ICMPV6, icmp::ECHO_V6) => icmp::ECHO_REPLY_V6,
        (ip_proto::ICMPV6, icmp::ECHO_REPLY_V6) => icmp::ECHO_V6,
        (_, other) => other,
    };
    answered << 8 | kind & 0xff
}

/// Types of ICMP (RFC 792) and ICMPv6 (RFC 4443) messages that ask or answer.
pub(super) mod icmp {
    pub const ECHO_REPLY: u16 = 0;
    pub const ECHO: u16 = 8;
    pub const TIMESTAMP: u16 = 13;
    pub const TIMESTAMP_REPLY: u16 = 14;
    pub const INFORMATION: u16 = 15;
    pub const INFORMATION_REPLY: u16 = 16;
    pub const ECHO_V6: u16 = 128;
    pub const ECHO_REPLY_V6: u16 = 129;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Stream;

    fn tuple(proto: u8, version: u8, src_port: u16, dst_port: u16) -> Tuple {
        Tuple {
            src: mapped(1),
            dst: mapped(2),
            src_port,
            dst_port,
            zone: 7,
            proto,
            version,
        }
    }

    #[test]
    fn reversing_twice_is_identity_and_words_are_the_tuple() {
        let mut stream = Stream(4);
        for _ in 0..10_000 {
            let words = core::array::from_fn(|_| stream.next());
            let tuple = Tuple::from_words(words);
            assert_eq!(tuple.words(), &words);
            assert_eq!(tuple.reversed().reversed(), tuple);
        }
    }

    #[test]
    fn queries_are_answered_under_their_identifier() {
        for (proto, version, query, answer) in [
            (1, 4, 8, 0),
            (1, 4, 13, 14),
            (1, 4, 15, 16),
            (58, 6, 128, 129),
        ] {
            let reversed = tuple(proto, version, 77, query << 8).reversed();
            assert_eq!((reversed.src, reversed.dst), (mapped(2), mapped(1)));
            assert_eq!((reversed.src_port, reversed.dst_port), (77, answer << 8));
            assert_eq!(reversed.told_ports(), (answer, 0));
        }
        let reversed = tuple(17, 4, 53, 1024).reversed();
        assert_eq!(reversed.told_ports(), (1024, 53));
    }
}
