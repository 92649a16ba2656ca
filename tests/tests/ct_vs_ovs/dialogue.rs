//! Two ends that talk through the switch: frames of TCP, UDP and ICMP as each end sends them, with
//! the addresses that it sees.

use tests::frame::{Frame, Ipv4, icmp, tcp, udp};
use tests::naive::random::Random;
use tests::naive::wire::fix_checksums;

/// Which way packets take through the flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Plain = 1,
    HideSource,
    Redirect,
    Both,
    CommitTwice,
    Force,
    Clear,
    NeverCommit,
}

impl Way {
    pub const ALL: [Way; 8] = [
        Way::Plain,
        Way::HideSource,
        Way::Redirect,
        Way::Both,
        Way::CommitTwice,
        Way::Force,
        Way::Clear,
        Way::NeverCommit,
    ];
}

/// A frame, whose dialogue it belongs to and what is special about it.
#[derive(Clone, Debug)]
pub struct Step {
    pub dialogue: usize,
    pub what: &'static str,
    pub frame: Vec<u8>,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

impl Side {
    pub fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// Two ends, and what they have sent so far.
pub struct Dialogue {
    number: usize,
    way: Way,
    is_v6: bool,
    /// Next sequence number of client and server.
    pub next: [u32; 2],
    pub steps: Vec<Step>,
}

/// A TCP segment, all but its ends.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub flags: u16,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub len: usize,
}

impl Dialogue {
    pub fn new(number: usize, way: Way, random: &mut Random) -> Dialogue {
        // Two zones translate IPv4 alone.
        let is_v6 = way != Way::Both && random.one_in(3);
        Dialogue {
            number,
            way,
            is_v6,
            next: [random.number() as u32, random.number() as u32],
            steps: Vec::new(),
        }
    }

    /// Networks of the ends that `side` sees: its own, and the other's.
    fn networks(&self, side: Side) -> [u8; 2] {
        let hides = matches!(self.way, Way::HideSource | Way::Both);
        let redirects = matches!(self.way, Way::Redirect | Way::Both);
        match side {
            Side::Client => [1, 2],
            Side::Server => [if redirects { 4 } else { 2 }, if hides { 3 } else { 1 }],
        }
    }

    fn address(&self, network: u8) -> [u8; 16] {
        let mut address = [0; 16];
        let host = match network {
            1 | 2 => (self.number as u16).to_be_bytes(),
            _ => [0, 1],
        };
        match self.is_v6 {
            true => {
                address[..4].copy_from_slice(&[0xfd, 0, 0, network]);
                address[14..].copy_from_slice(&host);
            }
            false => address[..4].copy_from_slice(&[10, network, host[0], host[1]]),
        }
        address
    }

    /// Source and destination port of what `side` sends.
    fn ports(&self, side: Side) -> [u16; 2] {
        let client = 1024 + self.number as u16;
        let server = match (side, self.way) {
            (Side::Server, Way::Redirect | Way::Both) => 8080,
            _ => 80,
        };
        match side {
            Side::Client => [client, server],
            Side::Server => [server, client],
        }
    }

    /// The packet around what `side` sends, from `networks` if not its own.
    fn packet(&self, body: Frame, proto: u8, networks: [u8; 2]) -> Vec<u8> {
        let [src, dst] = networks.map(|network| self.address(network));
        let v4 = |address: [u8; 16]| *address.first_chunk().expect("four bytes");
        let frame = match self.is_v6 {
            true => body.ipv6(proto, src, dst).typed(0x86dd),
            false => {
                let header = Ipv4::default();
                body.ipv4_with(header, proto, v4(src), v4(dst))
                    .typed(0x0800)
            }
        };
        let mut bytes = frame.addresses([2, 0, 0, 0, 0, self.way as u8], [2; 6]).0;
        fix_checksums(&mut bytes);
        bytes
    }

    pub fn push(&mut self, what: &'static str, frame: Vec<u8>) {
        self.steps.push(Step {
            dialogue: self.number,
            what,
            frame,
        });
    }

    pub fn tcp(&self, side: Side, segment: Segment) -> Vec<u8> {
        let options: &[u8] = match segment.flags & SYN > 0 {
            true => &[2, 4, 5, 0xb4, 4, 2, 1, 1, 1, 3, 3, 7],
            false => &[],
        };
        let [src, dst] = self.ports(side);
        let payload = vec![b'x'; segment.len];
        let mut body = tcp(src, dst, segment.flags, options, &payload);
        body.0[4..8].copy_from_slice(&segment.seq.to_be_bytes());
        body.0[8..12].copy_from_slice(&segment.ack.to_be_bytes());
        body.0[14..16].copy_from_slice(&segment.window.to_be_bytes());
        self.packet(body, 6, self.networks(side))
    }

    /// What comes next from `side`, if it is `len` bytes with these flags.
    pub fn next_segment(&self, side: Side, flags: u16, len: usize) -> Segment {
        Segment {
            flags,
            seq: self.next[side as usize],
            ack: match flags & ACK > 0 {
                true => self.next[side.other() as usize],
                false => 0,
            },
            window: 1000,
            len,
        }
    }

    /// Has `side` send what comes next.
    pub fn send(&mut self, what: &'static str, side: Side, flags: u16, len: usize) {
        let segment = self.next_segment(side, flags, len);
        let frame = self.tcp(side, segment);
        self.push(what, frame);
        let ends = u32::from(flags & (SYN | FIN) > 0);
        let next = &mut self.next[side as usize];
        *next = next.wrapping_add(len as u32 + ends);
    }

    /// Client and server become connected.
    pub fn connect(&mut self) {
        self.send("SYN", Side::Client, SYN, 0);
        self.send("SYN of the answer", Side::Server, SYN | ACK, 0);
        self.send("ACK of the handshake", Side::Client, ACK, 0);
    }

    pub fn udp(&self, side: Side, payload: &[u8]) -> Vec<u8> {
        let [src, dst] = self.ports(side);
        let mut body = udp(src, dst, payload);
        body.0[7] = 1;
        self.packet(body, 17, self.networks(side))
    }

    /// An echo request or reply.
    pub fn echo(&self, side: Side, is_request: bool) -> Vec<u8> {
        let kind = match (self.is_v6, is_request) {
            (false, true) => 8,
            (false, false) => 0,
            (true, true) => 128,
            (true, false) => 129,
        };
        let [a, b] = (self.number as u16).to_be_bytes();
        let body = icmp(kind, 0, &[a, b, 0, 1, 9, 9, 9, 9]);
        self.packet(body, self.icmp_proto(), self.networks(side))
    }

    fn icmp_proto(&self) -> u8 {
        if self.is_v6 { 58 } else { 1 }
    }

    /// That a router or `side` itself could not deliver what the other side sent, which `side`
    /// would see as `about`.
    pub fn error(&self, side: Side, about: &[u8], from_router: bool) -> Vec<u8> {
        let (kind, code) = if self.is_v6 { (1, 4) } else { (3, 3) };
        let mut rest = vec![0; 4];
        rest.extend(&about[14..about.len().min(14 + 128)]);
        let [own, other] = self.networks(side);
        let from = if from_router { 9 } else { own };
        self.packet(icmp(kind, code, &rest), self.icmp_proto(), [from, other])
    }

    /// A frame of the other side's as this one sees it, for an error about it.
    pub fn seen_udp(&self, sender: Side, payload: &[u8]) -> Vec<u8> {
        let seen_by = sender.other();
        let [src, dst] = self.ports(seen_by);
        let mut body = udp(dst, src, payload);
        body.0[7] = 1;
        let [own, other] = self.networks(seen_by);
        self.packet(body, 17, [other, own])
    }
}

pub const FIN: u16 = 1;
pub const SYN: u16 = 2;
pub const RST: u16 = 4;
pub const PSH: u16 = 8;
pub const ACK: u16 = 16;
pub const URG: u16 = 32;
