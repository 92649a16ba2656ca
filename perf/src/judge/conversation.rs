//! TCP connections as both of their ends send them: how they open, and data each way. For scenarios
//! in which a switch tracks connections, which takes a connection for established only when it has
//! seen both ends agree to it (RFC 9293 §3.5).

use std::net::Ipv4Addr;

use tests::frame;
use tests::naive::wire::fix_checksums;

use super::frames::{Mac, shuffled};
use super::generator::Traffic;

/// One end, as the other sees it.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Ethernet address.
    pub mac: Mac,
    /// IPv4 address.
    pub address: Ipv4Addr,
    /// Port.
    pub port: u16,
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub struct Conversation {
    /// Who opens it.
    pub client: Peer,
    /// Whom the server takes for the client: somebody else behind a translation of addresses.
    pub seen: Peer,
    /// Who is asked.
    pub server: Peer,
}

/// Flags of a segment, and where it is in what both ends have sent.
#[derive(Clone, Copy, Debug)]
struct Segment {
    flags: u16,
    sequence: u32,
    acknowledged: u32,
    payload: &'static [u8],
}

impl Conversation {
    /// One without translation.
    pub fn plain(client: Peer, server: Peer) -> Conversation {
        Conversation {
            client,
            seen: client,
            server,
        }
    }

    /// SYN, SYN and ACK, ACK.
    pub fn opening(&self) -> [Vec<u8>; 3] {
        [
            self.asked(segment(SYN, ASKED, 0, b"")),
            self.answered(segment(SYN | ACK, ANSWERED, ASKED + 1, b"")),
            self.asked(segment(ACK, ASKED + 1, ANSWERED + 1, b"")),
        ]
    }

    /// A segment with data of each end. Whoever sees it again takes it for sent again.
    pub fn data(&self) -> [Vec<u8>; 2] {
        let more = PAYLOAD.len() as u32;
        [
            self.asked(segment(PSH | ACK, ASKED + 1, ANSWERED + 1, PAYLOAD)),
            self.answered(segment(PSH | ACK, ANSWERED + 1, ASKED + 1 + more, PAYLOAD)),
        ]
    }

    fn asked(&self, segment: Segment) -> Vec<u8> {
        segment.framed(&self.client, &self.server)
    }

    fn answered(&self, segment: Segment) -> Vec<u8> {
        segment.framed(&self.server, &self.seen)
    }
}

impl Segment {
    fn framed(self, from: &Peer, to: &Peer) -> Vec<u8> {
        let segment = frame::tcp(from.port, to.port, self.flags, &[], self.payload);
        let packet = segment.ipv4(6, from.address.octets(), to.address.octets());
        let frame::Frame(mut bytes) = packet.typed(0x0800).addresses(to.mac, from.mac);
        bytes[SEQUENCE..][..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[ACKNOWLEDGED..][..4].copy_from_slice(&self.acknowledged.to_be_bytes());
        fix_checksums(&mut bytes);
        bytes
    }
}

fn segment(flags: u16, sequence: u32, acknowledged: u32, payload: &'static [u8]) -> Segment {
    Segment {
        flags,
        sequence,
        acknowledged,
        payload,
    }
}

/// So many connections: they open first, then data goes both ways without end.
pub fn conversations(count: u32, make: impl Fn(u32) -> Conversation) -> Traffic {
    let mut frames = Vec::new();
    for number in 0..count {
        let conversation = make(number);
        frames.extend(conversation.opening());
        frames.extend(conversation.data());
    }
    let opening = (0..3).flat_map(|step| (0..count).map(move |number| number * FRAMES + step));
    let data = shuffled(2 * count as usize).into_iter();
    let data = data.map(|place| place / 2 * FRAMES + 3 + place % 2);
    Traffic::Cycle {
        frames,
        prelude: opening.collect(),
        orders: vec![data.collect()],
    }
}

/// Frames of a conversation.
const FRAMES: u32 = 5;
const SYN: u16 = 0x02;
const PSH: u16 = 0x08;
const ACK: u16 = 0x10;
/// First sequence numbers of both ends.
const ASKED: u32 = 1_000_000;
const ANSWERED: u32 = 3_000_000_000;
/// Makes a frame of 64 bytes with its check sequence.
const PAYLOAD: &[u8] = b"tenant";
/// In a frame without a tag.
const SEQUENCE: usize = 14 + 20 + 4;
const ACKNOWLEDGED: usize = SEQUENCE + 4;
