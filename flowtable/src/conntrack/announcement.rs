//! What the payload of FTP and TFTP announces: connections that will come, and addresses in text
//! that translation has to change with the headers.
//!
//! Called by the datapath for packets of connections that a `ct` action gave a helper. Who
//! announces a connection is its receiver: the other side will open it, to an address and port that
//! the announcer tells. Both sides see each other by translated addresses: the connection comes as
//! the other side's packets do, and is translated as they are. So one rule serves all forms, and
//! every direction of translation.
//!
//! An announced address has to be the announcer's own: else anybody could have holes made towards
//! others (RFC 2577 §3). Only what stands at the start of a packet and ends in it is read, as by
//! Open vSwitch and netfilter. The announced port is kept; a port that somebody else's connection
//! is expected at is not announced, and its packet stays as it is.

use core::fmt::Write;
use core::net::{Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayString;

use super::nat::{Nat, Range};
use super::packet::{Body, Packet};
use super::tracker::Tracker;
use super::tuple::Tuple;
use super::verdict::{Helper, Verdict};
use super::{Expectation, ct_state};

mod ftp;
mod tftp;

/// A connection that is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Announcement {
    /// Port that the announcer will receive at.
    port: u16,
    /// It is the one that the announcer sends from, and translated as that is.
    is_own_port: bool,
    /// Address that he will receive at, if he told one.
    address: Option<Address>,
}

/// An address in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    /// The address, as tuples have it.
    value: [u64; 2],
    /// Where its text starts.
    at: usize,
    /// How many bytes it has.
    len: usize,
    /// What stands between the parts of an IPv4 address.
    separator: char,
}

/// Bytes of a payload that have to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Where they start, counted from the start of the payload.
    pub at: usize,
    /// How many there are.
    pub len: usize,
    text: ArrayString<ADDRESS_LEN_MAX>,
}

impl Rewrite {
    /// What takes their place: perhaps more bytes, perhaps less.
    pub fn text(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Tracker {
    /// Reads the payload of a packet whose verdict, in this batch, names a helper: TCP's data, or
    /// what follows the UDP header. Expects what it announces. Returns what has to be changed in
    /// it if the connection is translated; the sequence numbers of what follows are shifted from
    /// then on ([`Verdict::shift`]).
    pub fn listen(
        &mut self,
        packet: &Packet,
        verdict: &Verdict,
        payload: &[u8],
    ) -> Option<Rewrite> {
        let known = verdict.known?;
        if verdict.bits & ct_state::INV != 0 || matches!(packet.body, Body::Error(_)) {
            return None;
        }
        let (own, other) = self.tuples(known.handle, known.direction)?;
        let announcement = match verdict.helper? {
            Helper::Ftp => ftp::read(payload, known.direction, own.version)?,
            Helper::Tftp => tftp::read(payload, known.direction, own.src_port)?,
        };
        let address = announcement.address;
        if address.is_some_and(|address| address.value != own.src) {
            return None;
        }
        let expectation = expectation(&announcement, &own, &other);
        let rewrite = address.filter(|_| own.src != other.dst);
        let rewrite = rewrite.and_then(|address| rewritten(&address, &other));
        if !self.expect(known.handle, &expectation) {
            return None;
        }
        let rewrite = rewrite?;
        let Body::Tcp(segment) = packet.body else {
            return None;
        };
        let change = (rewrite.text.len() as u32).wrapping_sub(rewrite.len as u32);
        let has_room = self.lengthen(known.handle, known.direction, segment.seq, change);
        has_room.then_some(rewrite)
    }
}

/// The connection that comes when the side whose packets have the tuple `own` announces it to the
/// one whose packets have the tuple `other`, both before translation.
fn expectation(announcement: &Announcement, own: &Tuple, other: &Tuple) -> Expectation {
    let dst_port = match announcement.is_own_port {
        true => other.dst_port,
        false => announcement.port,
    };
    let one = |address: [u64; 2]| Range {
        addresses: Some((address, address)),
        ports: None,
    };
    let nat = Nat {
        source: (other.src != own.dst).then(|| one(own.dst)),
        destination: ((other.dst, dst_port) != (own.src, announcement.port)).then(|| Range {
            ports: Some((announcement.port, announcement.port)),
            ..one(own.src)
        }),
        ..Nat::default()
    };
    Expectation {
        tuple: Tuple {
            src_port: 0,
            dst_port,
            ..*other
        },
        nat: nat.is_some().then_some(nat),
    }
}

/// The text of an address as the other side has to read it.
fn rewritten(address: &Address, other: &Tuple) -> Option<Rewrite> {
    let mut text = ArrayString::new();
    match other.version {
        4 => {
            let parts = Ipv4Addr::from(other.dst[1] as u32).octets();
            for (place, part) in parts.iter().enumerate() {
                if place > 0 {
                    text.try_push(address.separator).ok()?;
                }
                write!(text, "{part}").ok()?;
            }
        }
        _ => {
            let words = u128::from(other.dst[0]) << 64 | u128::from(other.dst[1]);
            write!(text, "{}", Ipv6Addr::from(words)).ok()?;
        }
    }
    Some(Rewrite {
        at: address.at,
        len: address.len,
        text,
    })
}

/// Longest text of an address: eight groups of four digits, and what stands between them.
const ADDRESS_LEN_MAX: usize = 39;
