//! What connection tracking wants to know of a packet: its tuple, and what TCP or SCTP say.
//!
//! Called by the datapath for each packet that an action sends here, with the key and the layout
//! that the parser made of it. What cannot be tracked reads as nothing, and is invalid: packets
//! that are not IP, headers cut short, fragments of which others are missing, ICMP messages that
//! neither ask nor answer nor tell of an error. Checksums are the datapath's business: it knows
//! which are there to be checked.
//!
//! An ICMP error belongs to the connection of the packet that it tells of (RFC 5508 §4), whose
//! headers it embeds. Its tuple is that of the direction in which the error travels.

use crate::fragments::Rest;
use crate::parse::bytes::u16_at;
use crate::{FRAGMENT_LATER, FlowKey, Layout, eth_type, ip_proto};

mod embedded;
pub(super) mod sctp;
mod segment;

use super::tuple::{Tuple, icmp, mapped};
pub use embedded::Embedded;
pub use sctp::{Chunk, Chunks};
pub use segment::Segment;
pub(super) use segment::{ACK, FIN, RST, SYN, URG};

/// A packet to be tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Of an ICMP error, that of the reverse of the packet that it tells of.
    pub tuple: Tuple,
    /// What the protocol's automaton looks at.
    pub body: Body,
}

/// What an automaton looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A TCP segment.
    Tcp(Segment),
    /// Chunks of SCTP.
    Sctp(Chunks),
    /// An ICMP or ICMPv6 message that asks or answers.
    Query,
    /// UDP and all protocols that nothing is known of.
    Other,
    /// An ICMP or ICMPv6 error.
    Error(Embedded),
}

impl Packet {
    /// Reads a frame in a zone, after [`crate::parse`] made `key` and `layout` of it. Nothing if
    /// it cannot be tracked.
    #[inline(always)]
    pub fn read(frame: &[u8], key: &FlowKey, layout: &Layout, zone: u16) -> Option<Packet> {
        match key.ip_frag {
            0 => Packet::read_whole(frame, key, layout, zone, Rest::default()),
            _ => None,
        }
    }

    /// Reads a frame that carries TCP as nearly all do: with no options but timestamps, and no
    /// fragment. Nothing if it carries anything else.
    #[inline(always)]
    pub fn read_plain(frame: &[u8], key: &FlowKey, layout: &Layout, zone: u16) -> Option<Packet> {
        if key.ip_proto != ip_proto::TCP || key.ip_frag != 0 || layout.l4 == 0 {
            return None;
        }
        let tuple = network(key, zone)?;
        let payload = frame.get(usize::from(layout.l4)..usize::from(layout.end))?;
        Some(Packet {
            tuple: Tuple {
                src_port: key.tp_src,
                dst_port: key.tp_dst,
                ..tuple
            },
            body: Body::Tcp(Segment::read_plain(payload)?),
        })
    }

    /// Reads a frame that carries UDP and is no fragment. Nothing if it carries anything else.
    #[inline(always)]
    pub fn read_udp(key: &FlowKey, layout: &Layout, zone: u16) -> Option<Packet> {
        let is_there = layout.l4 > 0 && layout.l4 <= layout.end;
        if key.ip_proto != ip_proto::UDP || key.ip_frag != 0 || !is_there {
            return None;
        }
        let tuple = network(key, zone)?;
        Some(Packet {
            tuple: Tuple {
                src_port: key.tp_src,
                dst_port: key.tp_dst,
                ..tuple
            },
            body: Body::Other,
        })
    }

    /// Reads the first fragment of a datagram of which all others are there, too
    /// ([`crate::fragments`]).
    #[inline(always)]
    pub fn read_whole(
        frame: &[u8],
        key: &FlowKey,
        layout: &Layout,
        zone: u16,
        rest: Rest,
    ) -> Option<Packet> {
        let mut tuple = network(key, zone)?;
        if key.ip_frag & FRAGMENT_LATER != 0 || layout.l3 == 0 {
            return None;
        }
        let payload = match layout.l4 {
            0 => &[],
            l4 => frame.get(usize::from(l4)..usize::from(layout.end))?,
        };
        let body = match tuple.proto {
            ip_proto::TCP => Body::Tcp(Segment::read(payload)?.longer(rest.len)),
            ip_proto::UDP => Some(Body::Other).filter(|_| layout.l4 > 0)?,
            ip_proto::SCTP => Body::Sctp(Chunks::read(payload)?),
            ip_proto::ICMP | ip_proto::ICMPV6 if tuple.is_icmp() => {
                return Packet::read_icmp(payload, tuple, layout);
            }
            _ => return Some(Packet::portless(tuple)),
        };
        (tuple.src_port, tuple.dst_port) = (key.tp_src, key.tp_dst);
        Some(Packet { tuple, body })
    }

    #[inline(never)]
    fn read_icmp(message: &[u8], mut tuple: Tuple, layout: &Layout) -> Option<Packet> {
        let kind = message.first_chunk::<ICMP_LEN>()?;
        if !is_query(tuple.proto, kind) {
            let at = layout.l4 + ICMP_LEN as u16;
            return embedded::read(message, at, &tuple);
        }
        (tuple.src_port, tuple.dst_port) = (u16_at(kind, 4), u16_at(kind, 0));
        Some(Packet {
            tuple,
            body: Body::Query,
        })
    }

    fn portless(tuple: Tuple) -> Packet {
        Packet {
            tuple,
            body: Body::Other,
        }
    }
}

#[inline(always)]
fn network(key: &FlowKey, zone: u16) -> Option<Tuple> {
    let (src, dst, version) = match key.eth_type {
        eth_type::IPV4 => (mapped(key.ipv4_src), mapped(key.ipv4_dst), 4),
        eth_type::IPV6 => (key.ipv6_src, key.ipv6_dst, 6),
        _ => return None,
    };
    Some(Tuple {
        src,
        dst,
        src_port: 0,
        dst_port: 0,
        zone,
        proto: key.ip_proto,
        version,
    })
}

/// Whether an ICMP or ICMPv6 message asks or answers; only those with code 0 do.
fn is_query(proto: u8, message: &[u8; ICMP_LEN]) -> bool {
    let kind = u16::from(message[0]);
    let kinds: &[u16] = match proto {
        ip_proto::ICMP => &[
            icmp::ECHO,
            icmp::ECHO_REPLY,
            icmp::TIMESTAMP,
            icmp::TIMESTAMP_REPLY,
            icmp::INFORMATION,
            icmp::INFORMATION_REPLY,
        ],
        _ => &[icmp::ECHO_V6, icmp::ECHO_REPLY_V6],
    };
    message[1] == 0 && kinds.contains(&kind)
}

/// Bytes of an ICMP header, and of an ICMPv6 header with the word that all messages have.
const ICMP_LEN: usize = 8;
