//! Connections as a naive switch tracks them: a list of all, looked through for every packet.
//!
//! What packets are told is what ovs-actions(7) says of `ct`; TCP goes by netfilter's states as far
//! as opening and data do (no FIN, no RST, no windows but that nobody acknowledges what was not
//! sent). SCTP is never more than invalid here, and fragments are never whole, so they wait
//! for ever.

use std::net::IpAddr;

use flowtable::Field;
use openflow::{Action, Ct, Nat, NatEnd, Nicira};

use super::wire::{self, Datagram};

/// All connections, and what time it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    list: Vec<Connection>,
    made: u64,
    /// Seconds.
    pub now_s: u64,
}

/// Packets to and fro.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Connection {
    id: u64,
    original: Tuple,
    reply: Tuple,
    is_answered: bool,
    tcp: Option<Tcp>,
    ends_s: u64,
}

/// Who sends what to whom, in which zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuple {
    zone: u16,
    is_ipv4: bool,
    proto: u8,
    /// Address, and port or identifier.
    source: (u128, u16),
    destination: (u128, u16),
    /// Of ICMP whether it asks or answers, and what.
    message: u8,
}

impl Tuple {
    fn reversed(self) -> Tuple {
        Tuple {
            source: self.destination,
            destination: self.source,
            message: match (self.is_ipv4, self.proto, self.message) {
                (true, 1, kind @ (0 | 8)) => kind ^ 8,
                (false, 58, kind @ (128 | 129)) => kind ^ 1,
                (.., kind) => kind,
            },
            ..self
        }
    }
}

/// What a TCP connection has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tcp {
    state: TcpState,
    /// The highest number that each side has sent up to, once it was heard of.
    sent: [Option<u32>; 2],
    /// Its beginning was not seen, so no acknowledgment is held against anybody.
    is_picked_up: bool,
    /// A segment that was let through: whether it is a SYN, whose, and its end.
    noted: Option<(bool, usize, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TcpState {
    SynSent,
    SynReceived,
    Established,
    /// A SYN of each side.
    SynSentTwice,
}

/// What is looked at of a segment.
#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: Kind,
    acknowledged: u32,
    is_empty: bool,
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Syn,
    SynAck,
    Ack,
}

/// What one zone said of a packet: it says the same when asked again.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    zone: u16,
    connection: Option<(u64, usize, u8)>,
    is_translated: bool,
}

/// What a packet met.
enum Met {
    /// A connection, of which it is by this side, and what it is told.
    Connection(u64, usize, u8),
    /// None, but it could begin one.
    Nobody,
    /// None, and it cannot be of one.
    Invalid,
    /// Others that are in its way.
    Refusal,
}

impl Connections {
    /// Tracks a packet in a zone, and translates it. Its `ct_state`; nothing if it ends here.
    pub fn track(
        &mut self,
        bytes: &mut [u8],
        (ct, zone): (&Ct, u16),
        said: &mut Option<Said>,
    ) -> Option<u8> {
        let datagram = wire::datagram(bytes);
        if datagram.as_ref().is_some_and(|it| it.is_fragment) {
            return None;
        }
        let datagram = datagram.filter(|_| wire::has_right_checksums(bytes));
        let Some((tuple, datagram)) = datagram.and_then(|it| Some((tuple(&it, zone)?, it))) else {
            return Some(TRACKED | INVALID);
        };
        let now_s = self.now_s;
        self.list.retain(|connection| connection.ends_s > now_s);
        let before = said.filter(|said| said.zone == zone);
        let was_translated = before.is_some_and(|said| said.is_translated);
        let known = before.and_then(|said| said.connection);
        let known = known.filter(|(id, ..)| self.list.iter().any(|one| one.id == *id));
        let met = match known {
            Some((id, side, bits)) => Met::Connection(id, side, bits),
            None => self.meet(tuple, was_translated, &datagram, ct),
        };
        let mut now = Said {
            zone,
            connection: None,
            is_translated: was_translated,
        };
        let mut bits = TRACKED;
        match met {
            Met::Refusal => return None,
            Met::Nobody => bits |= NEW,
            Met::Invalid => bits |= INVALID,
            Met::Connection(id, side, told) => {
                now.connection = Some((id, side, told));
                bits |= told;
                if was_translated || nat(ct).is_some() {
                    let how = self.translate(bytes, (id, side), !was_translated);
                    bits |= how.unwrap_or(0);
                    now.is_translated |= how.is_some();
                }
            }
        }
        *said = Some(now);
        Some(bits)
    }

    /// What a packet meets that was not tracked in its zone before, or only translated.
    fn meet(&mut self, tuple: Tuple, is_translated: bool, datagram: &Datagram, ct: &Ct) -> Met {
        let segment = (tuple.proto == TCP).then(|| segment(&datagram.transport));
        // It looks as its receiver sees it.
        let wanted = if is_translated {
            tuple.reversed()
        } else {
            tuple
        };
        let mut all = self.list.iter_mut();
        if let Some(one) = all.find(|one| [one.original, one.reply].contains(&wanted)) {
            let side = usize::from(one.original != wanted) ^ usize::from(is_translated);
            let bits = match one.follow(side, segment, self.now_s) {
                Some(ESTABLISHED) => ESTABLISHED | [0, REPLY][side],
                Some(other) => other,
                None => INVALID,
            };
            return Met::Connection(one.id, side, bits);
        }
        let Some(mut one) = Connection::opened(tuple, segment, self.now_s) else {
            return Met::Invalid;
        };
        if !ct.commits {
            return Met::Nobody;
        }
        if let Some(address) = nat(ct).and_then(|nat| source(&nat)) {
            one.reply.destination.0 = address;
        }
        let is_taken = |other: &Connection| [other.original, other.reply].contains(&one.reply);
        if self.list.iter().any(is_taken) {
            let has_port = tuple.source.1 != 0;
            assert!(
                !has_port,
                "which port is taken then is not told here: {tuple:x?}"
            );
            return Met::Refusal;
        }
        self.made += 1;
        one.id = self.made;
        self.list.push(one);
        Met::Connection(self.made, 0, NEW)
    }

    /// What is told of a packet of a connection that is translated; with `does` it is, too.
    fn translate(&self, bytes: &mut [u8], (id, side): (u64, usize), does: bool) -> Option<u8> {
        let one = self.list.iter().find(|one| one.id == id)?;
        let (own, seen) = (one.original.source.0, one.reply.destination.0);
        if seen == own {
            return None;
        }
        let (field, address, told) = match side {
            0 => (Field::Ipv4Src, seen, SOURCE_TRANSLATED),
            _ => (Field::Ipv4Dst, own, DESTINATION_TRANSLATED),
        };
        if does {
            wire::write(bytes, field, address);
        }
        Some(told)
    }
}

impl Connection {
    /// With its first packet, if that can be one.
    fn opened(tuple: Tuple, segment: Option<Option<Segment>>, now_s: u64) -> Option<Connection> {
        let mut one = Connection {
            id: 0,
            original: tuple,
            reply: tuple.reversed(),
            is_answered: false,
            tcp: None,
            ends_s: 0,
        };
        if let Some(segment) = segment {
            let segment = segment?;
            let is_syn = segment.kind == Kind::Syn;
            if segment.kind == Kind::SynAck {
                return None;
            }
            one.tcp = Some(Tcp {
                state: if is_syn {
                    TcpState::SynSent
                } else {
                    TcpState::Established
                },
                sent: [Some(segment.end), None],
                is_picked_up: !is_syn,
                noted: None,
            });
        }
        let asks = matches!(
            (tuple.is_ipv4, tuple.proto, tuple.message),
            (true, 1, 8) | (false, 58, 128)
        );
        if one.is_icmp() && !asks {
            return None;
        }
        one.stay(now_s);
        Some(one)
    }

    fn is_icmp(&self) -> bool {
        matches!(
            (self.original.is_ipv4, self.original.proto),
            (true, 1) | (false, 58)
        )
    }

    /// Whether a packet of it is of a new or an established connection; nothing if it is neither.
    fn follow(&mut self, side: usize, segment: Option<Option<Segment>>, now_s: u64) -> Option<u8> {
        let Some(tcp) = &mut self.tcp else {
            self.is_answered |= side == 1;
            self.stay(now_s);
            return Some(if self.is_answered { ESTABLISHED } else { NEW });
        };
        let mut after = tcp.clone();
        let counts = after.follow(side, segment??)?;
        *tcp = after;
        self.is_answered |= counts && side == 1;
        let is_opening = tcp.state == TcpState::SynSent && side == 0 && !self.is_answered;
        if counts {
            self.stay(now_s);
        }
        Some(if is_opening { NEW } else { ESTABLISHED })
    }

    /// It is kept for another while.
    fn stay(&mut self, now_s: u64) {
        let seconds = match (&self.tcp, self.is_icmp(), self.is_answered) {
            (Some(tcp), ..) if tcp.state == TcpState::Established => 24 * 3600,
            (Some(_), ..) | (None, _, true) => 30,
            (None, _, false) => 60,
        };
        self.ends_s = now_s + seconds + 1;
    }
}

impl Tcp {
    /// Whether a segment counts, or was let through only; nothing if it is invalid.
    fn follow(&mut self, side: usize, segment: Segment) -> Option<bool> {
        use TcpState::{Established, SynReceived, SynSent, SynSentTwice};
        let other = 1 - side;
        let next = match (segment.kind, side, self.state) {
            (Kind::Syn, 0, SynSent) => SynSent,
            (Kind::Syn, _, SynSentTwice) | (Kind::Syn, 1, SynSent) => SynSentTwice,
            (Kind::Syn, 1, _) => return None,
            (Kind::SynAck, 0, SynSent) => return None,
            (Kind::SynAck, _, SynSent | SynSentTwice) => SynReceived,
            (Kind::Ack, 0, SynSent | SynSentTwice) => return None,
            (Kind::Ack, 1, SynReceived) => SynReceived,
            (Kind::Ack, _, SynReceived | Established) => Established,
            (Kind::SynAck, ..) if self.noted == Some((true, other, segment.acknowledged)) => {
                // Both sides begin anew, as was noted.
                self.sent = [None; 2];
                self.sent[other] = Some(segment.acknowledged);
                (self.noted, self.is_picked_up) = (None, false);
                SynReceived
            }
            (kind, ..) => {
                self.noted = Some((kind == Kind::Syn, side, segment.end));
                return Some(false);
            }
        };
        let acknowledges = segment.kind != Kind::Syn;
        let is_beyond = self.sent[other].is_some_and(|sent| is_after(segment.acknowledged, sent));
        if acknowledges && is_beyond && !self.is_picked_up {
            return None;
        }
        let sent = self.sent[side].get_or_insert(segment.end);
        if !segment.is_empty && is_after(segment.end, *sent) {
            *sent = segment.end;
        }
        self.state = next;
        Some(true)
    }
}

/// Whether a sequence number is after another (RFC 9293 §3.4).
fn is_after(one: u32, other: u32) -> bool {
    (other.wrapping_sub(one) as i32) < 0
}

/// Nothing if it is not said of whom a packet is.
fn tuple(datagram: &Datagram, zone: u16) -> Option<Tuple> {
    let bytes = &datagram.transport;
    let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let mut tuple = Tuple {
        zone,
        is_ipv4: datagram.is_ipv4,
        proto: datagram.proto,
        source: (datagram.source, 0),
        destination: (datagram.destination, 0),
        message: 0,
    };
    match (datagram.is_ipv4, datagram.proto) {
        (_, TCP | UDP) if bytes.is_empty() => return None,
        (_, TCP | UDP) => {
            tuple.source.1 = word(0);
            tuple.destination.1 = word(2);
        }
        (_, SCTP) => return None,
        (true, 1) | (false, 58) => {
            let is_query = !bytes.is_empty() && bytes[1] == 0;
            let kinds: &[u8] = if datagram.is_ipv4 {
                &[0, 8]
            } else {
                &[128, 129]
            };
            if !is_query || !kinds.contains(&bytes[0]) {
                return None;
            }
            tuple.message = bytes[0];
            (tuple.source.1, tuple.destination.1) = (word(4), word(4));
        }
        _ => {}
    }
    Some(tuple)
}

fn segment(bytes: &[u8]) -> Option<Segment> {
    let number = |at: usize| {
        let bytes = &bytes[at..at + 4];
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    };
    let len = bytes.len() as u32 - u32::from(bytes[12] >> 4) * 4;
    let kind = match bytes[13] & 0x37 {
        0x02 | 0x22 => Kind::Syn,
        0x12 => Kind::SynAck,
        0x10 | 0x30 => Kind::Ack,
        flags if flags & 5 != 0 => panic!("no ends of TCP here: {flags:x}"),
        _ => return None,
    };
    let len = len + u32::from(kind != Kind::Ack);
    Some(Segment {
        kind,
        acknowledged: number(8),
        is_empty: len == 0,
        end: number(4).wrapping_add(len),
    })
}

/// How a `ct` translates.
fn nat(ct: &Ct) -> Option<Nat> {
    let mut list = ct.actions.iter().map(|action| match action {
        Action::Nicira(Nicira::Nat(nat)) => *nat,
        other => panic!("the model has no {other:?} in ct"),
    });
    list.next()
}

/// The one address that new connections are to come from.
fn source(nat: &Nat) -> Option<u128> {
    let (first, last) = nat.addresses?;
    assert_eq!(
        (nat.end, first, nat.ports),
        (Some(NatEnd::Source), last, None)
    );
    match first {
        IpAddr::V4(address) => Some(address.to_bits().into()),
        IpAddr::V6(address) => panic!("the model does not translate to {address}"),
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
/// What `ct_state` is made of.
const NEW: u8 = 1;
const ESTABLISHED: u8 = 2;
const REPLY: u8 = 8;
const INVALID: u8 = 0x10;
const TRACKED: u8 = 0x20;
const SOURCE_TRANSLATED: u8 = 0x40;
const DESTINATION_TRANSLATED: u8 = 0x80;
