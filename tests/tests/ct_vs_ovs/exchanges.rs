//! Exchanges whose ends answer what they receive, translated as it is: so they go on alike where
//! the two switches choose other addresses or ports.

use tests::frame::{Frame, Ipv4, raw, sctp, tcp, udp};
use tests::naive::wire::fix_checksums;
use tests::twins::Sent;

/// Which end of what clients send is translated to something of the switch's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    Nothing,
    Source,
    Destination,
}

/// A translation to try, in a zone of its own.
#[derive(Clone, Copy, Debug)]
pub struct Translation {
    /// Number of the zone and of the table, and last byte of the Ethernet destination.
    pub number: u8,
    pub nat: &'static str,
    pub nat_v6: &'static str,
    /// What may be chosen: last byte of the first and last address, and ports if they are said.
    pub free: Free,
    pub addresses: (u8, u8),
    pub ports: Option<(u16, u16)>,
}

/// One thing that is sent.
#[derive(Clone, Debug)]
pub struct Step {
    pub what: &'static str,
    pub exchange: usize,
    pub way: u8,
    /// From the client's side.
    pub is_forward: bool,
    pub sent: Sent,
}

/// An end: its network, host and port.
#[derive(Clone, Copy, Debug)]
pub struct End(pub u8, pub u16, pub u16);

/// What is sent, in order.
#[derive(Default)]
pub struct Script {
    pub steps: Vec<Step>,
    exchange: usize,
    way: u8,
    is_v6: bool,
}

impl Script {
    /// Goes on with another exchange.
    pub fn begin(&mut self, way: u8, is_v6: bool) {
        self.exchange += 1;
        (self.way, self.is_v6) = (way, is_v6);
    }

    /// What a client sends first. Returns its number, as all of these do.
    pub fn open(&mut self, proto: u8, client: End, server: End) -> usize {
        let body = match proto {
            TCP => tcp(client.2, server.2, 2, &[], b""),
            UDP => with_checksum(udp(client.2, server.2, b"question")),
            SCTP => {
                let mut body = sctp(client.2, server.2);
                // An INIT has no verification tag yet (RFC 9260 §8.5.1).
                body.0[4..8].fill(0);
                body
            }
            _ => panic!("no protocol of these: {proto}"),
        };
        self.client("first", proto, body, client, server)
    }

    /// A datagram of a client's.
    pub fn datagram(&mut self, client: End, server: End, payload: &[u8]) -> usize {
        let body = with_checksum(udp(client.2, server.2, payload));
        self.client("datagram", UDP, body, client, server)
    }

    /// A datagram in pieces: the first ones, as long as Open vSwitch wants them, then the rest.
    pub fn fragments(&mut self, client: End, server: End, is_reversed: bool) {
        let whole = with_checksum(udp(client.2, server.2, &[b'f'; 2 * PIECE]));
        let whole = self.packet(UDP, whole, client, server, None);
        let at = if self.is_v6 { 54 } else { 34 };
        let body = &whole[at..];
        let mut pieces: Vec<_> = body.chunks(PIECE).enumerate().collect();
        let last = pieces.len() - 1;
        if is_reversed {
            pieces.reverse();
        }
        for (number, piece) in pieces {
            let place = (number * PIECE / 8) as u16;
            let place = Some((place, number != last));
            let frame = self.packet(UDP, raw(piece), client, server, place);
            self.push("fragment", true, Sent::Frame(frame));
        }
    }

    fn client(&mut self, what: &'static str, proto: u8, body: Frame, from: End, to: End) -> usize {
        let frame = self.packet(proto, body, from, to, None);
        self.push(what, true, Sent::Frame(frame))
    }

    fn packet(
        &self,
        proto: u8,
        body: Frame,
        from: End,
        to: End,
        place: Option<(u16, bool)>,
    ) -> Vec<u8> {
        let frame = match self.is_v6 {
            true => {
                let (body, next) = match place {
                    Some((offset, more)) => (body.fragment(proto, offset, more), 44),
                    None => (body, proto),
                };
                let packet = body.ipv6(next, address(from), address(to));
                packet.typed(0x86dd)
            }
            false => {
                let (offset, more) = place.unwrap_or_default();
                let header = Ipv4 {
                    fragment: offset | u16::from(more) << 13,
                    ..Ipv4::default()
                };
                let v4 = |end: End| [10, end.0, (end.1 >> 8) as u8, end.1 as u8];
                let packet = body.ipv4_with(header, proto, v4(from), v4(to));
                packet.typed(0x0800)
            }
        };
        let mut frame = frame.addresses(self.destination(), [2; 6]).0;
        if place.is_none() {
            fix_checksums(&mut frame);
        }
        frame
    }

    fn destination(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.way]
    }

    fn order(&mut self, name: &'static str, what: &'static str, of: usize, more: &str) -> usize {
        let is_forward = !self.steps[of].is_forward;
        let sent = Sent::Order {
            of,
            what,
            destination: self.destination(),
            more: more.into(),
        };
        self.push(name, is_forward, sent)
    }

    fn push(&mut self, what: &'static str, is_forward: bool, sent: Sent) -> usize {
        self.steps.push(Step {
            what,
            exchange: self.exchange,
            way: self.way,
            is_forward,
            sent,
        });
        self.steps.len() - 1
    }

    /// A segment back, with a payload.
    pub fn segment(&mut self, of: usize, flags: u8, payload: &str) -> usize {
        let payload = hex(payload);
        let more = format!(r#", "flags": {flags}, "payload": "{payload}""#);
        self.order("segment", "answer", of, &more)
    }

    /// A datagram back, perhaps from another port.
    pub fn reply(&mut self, of: usize, port: Option<u16>, payload: &str) -> usize {
        let from = port.map_or(String::new(), |port| format!(r#", "from": {port}"#));
        let more = format!(r#"{from}, "payload": "{}""#, hex(payload));
        self.order("reply", "answer", of, &more)
    }

    /// An SCTP packet back, with one chunk.
    pub fn chunk(&mut self, of: usize, kind: u8) -> usize {
        let (chunk, tag) = match kind {
            // INIT ACK has a tag of its own, as INIT has 1.
            2 => ("0200001400000002000100000005000500000001".into(), 1),
            10 => ("0a00000800000000".into(), 2),
            _ => (format!("{kind:02x}000004"), 1),
        };
        let more = format!(r#", "tag": {tag}, "payload": "{chunk}""#);
        self.order("chunk", "answer", of, &more)
    }

    /// A segment or datagram back in pieces, as long as those of [`Script::fragments`].
    pub fn pieces(&mut self, of: usize, flags: u8, is_reversed: bool) {
        let payload = hex(&"p".repeat(2 * PIECE));
        let whole = format!(r#", "flags": {flags}, "payload": "{payload}", "size": {PIECE}"#);
        // The header makes a third.
        let mut numbers = [0, 1, 2];
        if is_reversed {
            numbers.reverse();
        }
        for number in numbers {
            let more = format!(r#"{whole}, "piece": {number}"#);
            self.order("piece", "answer", of, &more);
        }
    }

    /// That nobody is at the port that was asked.
    pub fn error(&mut self, of: usize) -> usize {
        self.order("error", "error", of, "")
    }

    /// The connection that the text announced, opened from a port.
    pub fn announced(&mut self, of: usize, port: u16) -> usize {
        let more = format!(r#", "from": {port}"#);
        self.order("announced", "announced", of, &more)
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// A checksum that is there: what it is comes later.
fn with_checksum(mut datagram: Frame) -> Frame {
    datagram.0[7] = 1;
    datagram
}

fn address(end: End) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[0xfd, 0, 0, end.0]);
    address[14..].copy_from_slice(&end.1.to_be_bytes());
    address
}

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SCTP: u8 = 132;
/// Bytes of a fragment: more than Open vSwitch's least, 1200 with the header, 1280 for IPv6.
const PIECE: usize = 1304;
