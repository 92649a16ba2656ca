//! The automaton of each protocol, applied to a record that all workers share.
//!
//! Called for each packet that is tracked. Whatever an automaton changes is written by
//! compare-and-swap; if another worker's packet was first, the automaton is asked again.

use core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

use super::limits::CHANGES_MAX;
use super::packet::{Body, Chunks, Packet, Segment};
use super::record::{ASSURED, Direction, REPLIED, Record, State};
use super::tcp::{self, Strictness};
use super::timeout::Timeout;
use super::tuple::icmp;
use super::{sctp, verdict::ct_state};
use crate::ip_proto;

/// What a packet comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is part of the connection: new or established, and how long the connection is kept from
    /// now on, if that changes.
    Part(u32, Option<Timeout>),
    /// It is part of no connection.
    Invalid,
    /// The connection is over; this opens another.
    New,
}

/// A connection's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub state: State,
    pub seen: [[u64; 2]; 2],
    pub timeout: Timeout,
}

/// How a connection begins with this packet, if it can.
pub(super) fn open(state: State, packet: &Packet, strictness: Strictness) -> Option<Opening> {
    let (state, seen, timeout) = match &packet.body {
        Body::Tcp(segment) => {
            let track = tcp::open(state, segment, strictness)?;
            let timeout = tcp::Phase::of(track.state.phase()).timeout();
            (track.state, track.sides.0, timeout)
        }
        Body::Sctp(chunks) => {
            let (track, timeout) = sctp::open(state, chunks)?;
            (track.state, track.tags.map(|tag| [tag.into(), 0]), timeout)
        }
        Body::Query if asks(packet) => (state, [[0; 2]; 2], Timeout::IcmpFirst),
        Body::Other => (state, [[0; 2]; 2], Timeout::UdpFirst),
        Body::Query | Body::Error(_) => return None,
    };
    Some(Opening {
        state,
        seen,
        timeout,
    })
}

/// What a packet of a connection comes to.
#[inline(always)]
pub(super) fn follow(
    record: &Record,
    direction: Direction,
    packet: &Packet,
    strictness: Strictness,
) -> Outcome {
    match &packet.body {
        Body::Tcp(segment) => follow_tcp(record, direction, segment, strictness),
        Body::Sctp(chunks) => follow_sctp(record, direction, chunks),
        body => follow_other(record, direction, *body == Body::Query),
    }
}

#[inline(always)]
fn follow_tcp(
    record: &Record,
    direction: Direction,
    segment: &Segment,
    strictness: Strictness,
) -> Outcome {
    let mut fate = tcp::Fate::Ignored;
    let mut state = record.state();
    for _ in 0..CHANGES_MAX {
        // Read twice: a copy of words just written would wait for them. If one changes in between,
        // it is not what it was before, and not replaced.
        let before = track(record);
        let mut after = track(record);
        fate = after.follow(direction, segment, strictness);
        state = after.state;
        if matches!(fate, tcp::Fate::Invalid | tcp::Fate::New) || replace(record, &before, &after) {
            break;
        }
    }
    match fate {
        tcp::Fate::Valid(timeout) => Outcome::Part(tcp_bits(state, direction), Some(timeout)),
        tcp::Fate::Ignored => Outcome::Part(tcp_bits(state, direction), None),
        tcp::Fate::Invalid => Outcome::Invalid,
        tcp::Fate::New => Outcome::New,
    }
}

/// Does the same with a segment of an open connection that only moves the windows of its sender.
/// Returns whether that was so and is done; [`follow`] is for all others. `but` are flags that the
/// connection must not have.
#[inline(always)]
pub(super) fn slide(
    record: &Record,
    (state, but): (State, u64),
    direction: Direction,
    segment: &Segment,
) -> bool {
    let sides = sides(record);
    let Some(after) = tcp::slide(state, but, &sides, direction, segment) else {
        return false;
    };
    let words = record.seen[direction as usize].iter();
    let pairs = sides.0[direction as usize].into_iter().zip(after);
    let mut words = words.zip(pairs);
    words.all(|(word, (before, after))| swap(word, before, after))
}

#[inline(always)]
fn track(record: &Record) -> tcp::Track {
    tcp::Track {
        state: record.state(),
        sides: sides(record),
        noted: record.noted.load(Relaxed),
    }
}

#[inline(always)]
fn sides(record: &Record) -> tcp::Sides {
    let words = record.seen.each_ref();
    tcp::Sides(words.map(|side| side.each_ref().map(|word| word.load(Relaxed))))
}

/// A SYN that nobody answered is new, however often it comes.
#[inline(always)]
fn tcp_bits(state: State, direction: Direction) -> u32 {
    let is_opening = state.phase() == tcp::Phase::SynSent as u8;
    match is_opening && direction == Direction::Original && !state.has(REPLIED) {
        true => ct_state::NEW,
        false => ct_state::EST,
    }
}

#[inline(always)]
fn replace(record: &Record, before: &tcp::Track, after: &tcp::Track) -> bool {
    let words = record.seen.as_flattened().iter();
    let pairs = before.sides.0.as_flattened().iter();
    let pairs = pairs.zip(after.sides.0.as_flattened());
    let windows = words
        .zip(pairs)
        .all(|(word, (before, after))| swap(word, *before, *after));
    windows
        && swap(&record.noted, before.noted, after.noted)
        && swap(&record.state, before.state.0, after.state.0)
}

fn follow_sctp(record: &Record, direction: Direction, chunks: &Chunks) -> Outcome {
    let mut timeout = None;
    let mut state = record.state();
    for _ in 0..CHANGES_MAX {
        let tags = record.seen.each_ref().map(|side| side[0].load(Relaxed));
        let before = record.state();
        let mut track = sctp::Track {
            state: before,
            tags: tags.map(|tag| tag as u32),
        };
        timeout = track.follow(direction, chunks);
        state = track.state;
        let pairs = tags.into_iter().zip(track.tags);
        let mut words = record.seen.iter().zip(pairs);
        let is_done = timeout.is_none()
            || words.all(|(side, (before, after))| swap(&side[0], before, after.into()))
                && swap(&record.state, before.0, state.0);
        if is_done {
            break;
        }
    }
    match timeout {
        Some(timeout) => Outcome::Part(replied_bits(state), Some(timeout)),
        None => Outcome::Invalid,
    }
}

/// UDP and the like: established once there was a reply.
#[inline(always)]
fn follow_other(record: &Record, direction: Direction, is_query: bool) -> Outcome {
    let mut state = record.state();
    if direction == Direction::Reply && !state.has(REPLIED) {
        record.change(REPLIED | ASSURED, 0);
        state = state.with(REPLIED);
    }
    let timeout = match (is_query, state.has(REPLIED)) {
        (true, true) => Timeout::IcmpReply,
        (true, false) => Timeout::IcmpFirst,
        (false, true) => Timeout::UdpMultiple,
        (false, false) => Timeout::UdpSingle,
    };
    Outcome::Part(replied_bits(state), Some(timeout))
}

#[inline(always)]
fn replied_bits(state: State) -> u32 {
    match state.has(REPLIED) {
        true => ct_state::EST,
        false => ct_state::NEW,
    }
}

/// Writes a word unless it stays, or another was first.
#[inline(always)]
fn swap(word: &AtomicU64, before: u64, after: u64) -> bool {
    before == after
        || word
            .compare_exchange(before, after, AcqRel, Relaxed)
            .is_ok()
}

/// Whether an ICMP message asks: answers open nothing.
fn asks(packet: &Packet) -> bool {
    let kind = packet.tuple.dst_port >> 8;
    match packet.tuple.proto {
        ip_proto::ICMP => matches!(kind, icmp::ECHO | icmp::TIMESTAMP | icmp::INFORMATION),
        _ => kind == icmp::ECHO_V6,
    }
}
