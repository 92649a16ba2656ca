//! TCP as one in the middle sees it: the connection's state, and which segments can be part of it.
//!
//! What. States and windows are those of netfilter (nf_conntrack_proto_tcp.c of Linux tells the
//! rules; the idea is Guido van Rooij's, "Real Stateful TCP Packet Filtering in IP Filter", 2001).
//! A segment is valid if its data is within what the receiver has offered and not far behind what
//! it has acknowledged, and if what it acknowledges was sent and not long ago. Only valid segments
//! change the state. For each side is kept: the end of what it sent, the end of what it may send,
//! its largest window, the highest acknowledgment it gave.
//!
//! A SYN in a connection that is open is let through and noted: our view may be out of date, and if
//! the receiver answers it by a SYN ACK, both sides agree on what was noted. If it answers by RST,
//! the connection ends. A connection first seen in its middle is taken as open, its windows learnt,
//! and nothing held against it.
//!
//! Where Open vSwitch's own automaton (which comes from pf) is visible and different, this is done:
//!  - of a connection picked up in its middle the second packet is established, with or without a
//!    reply, as there; netfilter waits for the reply.
//!  - a SYN of either side opens a closed connection anew, as there; in netfilter only one of the
//!    original direction does.
//!  - a SYN in an open connection, a retransmission from below the window, and a late
//!    acknowledgment are valid, as in netfilter; there they are invalid, so that a guest that
//!    crashed cannot connect again from the same port.
//!  - in a simultaneous open the second SYN is an established reply, as in netfilter; there it is
//!    new.
//!  - a RST that is in the window but not at the next expected number is let through without
//!    ending the connection, as in netfilter (RFC 5961 §3.2); there it is invalid.
//!
//! Threads. All here is a function from words to words. The caller writes what changed, by
//! compare-and-swap, and asks again if another worker was first. What a side's packets tell is in
//! words of its own, so that workers with one direction each hardly ever meet.

use super::packet::{ACK, FIN, RST, SYN, Segment, URG};
use super::record::{ASSURED, Direction, REPLIED, State};
use super::timeout::Timeout;

mod phase;
mod window;

use phase::Kind;
pub use phase::Phase;
use phase::{Next, next};
pub(super) use window::Sides;
use window::{Fit, fit};

/// What is known of a side, in the state's bits: shift of its windows in the lower four, and the
/// following.
const SCALE: u16 = 0xf;
/// It offered to scale windows.
const SCALES: u16 = 1 << 4;
/// It takes selective acknowledgments.
const TAKES_SACK: u16 = 1 << 5;
/// Nothing is held against it: the connection was picked up in its middle.
const LIBERAL: u16 = 1 << 6;
/// It has acknowledged something.
const ACKED: u16 = 1 << 7;
/// Its windows are known.
const KNOWN: u16 = 1 << 8;

/// What a segment came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is part of the connection, which is kept so long from now on.
    Valid(Timeout),
    /// It is let through but proves nothing.
    Ignored,
    /// It is part of no connection.
    Invalid,
    /// It opens the connection anew.
    New,
}

/// All that is kept of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Track {
    pub state: State,
    pub sides: Sides,
    /// Of the segment that was noted: end, window, and bits of its side.
    pub noted: u64,
}

/// How strict to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strictness {
    /// Connections whose start was not seen are tracked (`nf_conntrack_tcp_loose`).
    pub picks_up: bool,
    /// Sequence numbers are looked at (`conntrack/enable-tcp-seq-chk` of Open vSwitch).
    pub checks_window: bool,
}

/// How a connection begins with a segment, if it can.
pub(super) fn open(state: State, segment: &Segment, strictness: Strictness) -> Option<Track> {
    let kind = Kind::of(segment)?;
    let Next::To(phase) = next(Phase::None, Direction::Original, kind) else {
        return None;
    };
    let is_picked_up = phase != Phase::SynSent;
    if is_picked_up && !strictness.picks_up {
        return None;
    }
    let bits = match is_picked_up {
        true => TAKES_SACK | LIBERAL | ACKED,
        false => options(segment),
    };
    let reply_bits = if is_picked_up { bits & !ACKED } else { 0 };
    let mut sides = Sides::default();
    sides.begin(Direction::Original, segment, is_picked_up);
    Some(Track {
        state: state
            .with_phase(phase as u8)
            .with_side(Direction::Original, bits | KNOWN)
            .with_side(Direction::Reply, reply_bits),
        sides,
        noted: 0,
    })
}

/// What the words of a sender come to by a segment that does nothing to its connection but move
/// its windows, and not those of the other side: of nearly all that is so. `but` are more flags
/// that the connection must not have. Of other segments nothing is said: [`Track::follow`] is for
/// all.
#[inline(always)]
pub(super) fn slide(
    state: State,
    but: u64,
    sides: &Sides,
    sender: Direction,
    segment: &Segment,
) -> Option<[u64; 2]> {
    let is_plain = segment.flags & (FIN | SYN | RST | ACK | URG) == ACK;
    let both = |bits| {
        let one = State::default().with_side(Direction::Original, bits);
        one.with_side(Direction::Reply, bits)
    };
    let confirmed = both(KNOWN | ACKED).with(REPLIED | ASSURED);
    let open = confirmed.with_phase(Phase::Established as u8);
    let looked_at = confirmed.with_phase(0xf).with(but);
    if !is_plain || state.0 & looked_at.0 != open.0 {
        return None;
    }
    let takes_sack = state.side(sender.turned()) & TAKES_SACK != 0;
    let scaling = (state.side(sender) & SCALE, takes_sack);
    window::slide(sides, sender, scaling, segment)
}

impl Track {
    /// What a segment of the connection comes to, and what it changes.
    #[inline(always)]
    pub fn follow(
        &mut self,
        direction: Direction,
        segment: &Segment,
        strictness: Strictness,
    ) -> Fate {
        let Some(kind) = Kind::of(segment) else {
            return Fate::Invalid;
        };
        let phase = Phase::of(self.state.phase());
        if kind == Kind::Syn && matches!(phase, Phase::TimeWait | Phase::Close) {
            return Fate::New;
        }
        match next(phase, direction, kind) {
            Next::To(phase) => self.advance(phase, direction, kind, segment, strictness),
            Next::Ignore => self.ignore(direction, kind, segment, strictness),
            Next::Invalid => Fate::Invalid,
        }
    }

    #[inline(always)]
    fn advance(
        &mut self,
        mut phase: Phase,
        direction: Direction,
        kind: Kind,
        segment: &Segment,
        strictness: Strictness,
    ) -> Fate {
        if kind == Kind::Rst {
            if self.answers_noted(direction, segment) {
                return self.enter(Phase::Close, direction);
            }
            match self.reset(direction, segment) {
                Some(after) => phase = after,
                None if strictness.checks_window => return Fate::Invalid,
                None => (),
            }
        }
        match fit(self, direction, kind, segment) {
            Fit::In => (),
            _ if !strictness.checks_window => (),
            Fit::Behind => return Fate::Ignored,
            Fit::Out if self.state.side(direction) & LIBERAL == 0 => return Fate::Invalid,
            Fit::Out => (),
        }
        self.enter(phase, direction)
    }

    /// Goes on to a state, by a packet of this direction.
    #[inline(always)]
    fn enter(&mut self, phase: Phase, direction: Direction) -> Fate {
        let mut state = self.state.with_phase(phase as u8);
        if direction == Direction::Reply {
            state = state.with(REPLIED);
        }
        if phase == Phase::Established && state.has(REPLIED) {
            state = state.with(ASSURED);
        }
        self.state = state;
        Fate::Valid(phase.timeout())
    }

    /// A segment that may be right though it does not fit what is known.
    #[inline(never)]
    fn ignore(
        &mut self,
        direction: Direction,
        kind: Kind,
        segment: &Segment,
        strictness: Strictness,
    ) -> Fate {
        let is_answer = kind == Kind::SynAck
            && Noted::of(self.state) == Some(Noted::Syn(direction.turned()))
            && segment.ack == self.noted as u32;
        if is_answer {
            return self.resume(direction, segment, strictness);
        }
        let noted = match kind {
            Kind::Syn => Noted::Syn(direction),
            _ => Noted::Other(direction),
        };
        let bits = match kind {
            Kind::Syn => options(segment),
            _ => 0,
        };
        self.state = self.state.with_noted(noted.code());
        let (end, window) = (segment.end(), segment.window);
        self.noted = u64::from(end) | u64::from(window) << 32 | u64::from(bits) << 48;
        Fate::Ignored
    }

    /// Both sides agree on a SYN that was noted: the connection is where that put it.
    fn resume(&mut self, replier: Direction, segment: &Segment, strictness: Strictness) -> Fate {
        let opener = replier.turned();
        let (end, window) = (self.noted as u32, (self.noted >> 32) as u16);
        self.sides = Sides::default();
        self.sides.restart(opener, end, window);
        let bits = (self.noted >> 48) as u16;
        self.state = self.state.with_noted(0).with_phase(Phase::SynSent as u8);
        self.state = self.state.with_side(opener, bits | KNOWN);
        self.state = self.state.with_side(replier, 0);
        self.noted = 0;
        let kind = Kind::SynAck;
        self.advance(Phase::SynRecv, replier, kind, segment, strictness)
    }

    /// Whether a RST answers a segment that was noted: it acknowledges just that.
    fn answers_noted(&self, direction: Direction, segment: &Segment) -> bool {
        let noted = Noted::of(self.state);
        let is_opposite = match noted {
            Some(Noted::Syn(of)) => of != direction && self.state.has(REPLIED),
            Some(Noted::Other(of)) => of != direction && !self.state.has(ASSURED),
            None => false,
        };
        is_opposite && segment.ack == self.noted as u32
    }

    /// The state that a RST leads to, by its sequence number; nothing if it is too old.
    fn reset(&self, direction: Direction, segment: &Segment) -> Option<Phase> {
        let receiver = direction.turned();
        if self.state.side(receiver) & ACKED == 0 {
            return Some(Phase::Close);
        }
        let phase = Phase::of(self.state.phase());
        let is_open = phase == Phase::Established;
        if segment.seq == 0 && !is_open {
            return Some(Phase::Close);
        }
        let expected = self.sides.acked(receiver);
        if window::before(segment.seq, expected) {
            return None;
        }
        let is_exact = segment.seq == expected || segment.seq == self.sides.end(direction);
        Some(match is_open && !is_exact {
            true => phase,
            false => Phase::Close,
        })
    }
}

/// What was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    Syn(Direction),
    Other(Direction),
}

impl Noted {
    fn of(state: State) -> Option<Noted> {
        let of = |code: u8| match code & 1 {
            0 => Direction::Original,
            _ => Direction::Reply,
        };
        match state.noted() {
            code @ 2..=3 => Some(Noted::Syn(of(code))),
            code @ 4..=5 => Some(Noted::Other(of(code))),
            _ => None,
        }
    }

    fn code(self) -> u8 {
        match self {
            Noted::Syn(of) => 2 + of as u8,
            Noted::Other(of) => 4 + of as u8,
        }
    }
}

/// Bits of a side that a SYN's options tell of.
fn options(segment: &Segment) -> u16 {
    let scale = segment.scale.map_or(0, |shift| u16::from(shift) | SCALES);
    match segment.sack_permitted {
        true => scale | TAKES_SACK,
        false => scale,
    }
}
