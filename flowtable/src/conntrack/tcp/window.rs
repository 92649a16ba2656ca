//! Which segments fit what the sides have sent, acknowledged and offered.

use super::{ACKED, KNOWN, Kind, Phase, SCALE, SCALES, Segment, TAKES_SACK, Track, options};
use crate::conntrack::packet::{ACK, RST, SYN};
use crate::conntrack::record::Direction;

/// What is known of both sides. For each direction two words that its packets write: what its
/// sender has sent and acknowledged, and what it has offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sides(pub [[u64; 2]; 2]);

/// How a segment fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It does, and the windows have moved.
    In,
    /// It repeats what was received, or is late.
    Behind,
    /// It is beyond what the sender may send or the receiver has sent.
    Out,
}

impl Sides {
    /// The end of what a side has sent.
    #[inline(always)]
    pub fn end(&self, of: Direction) -> u32 {
        self.0[of as usize][SENT] as u32
    }

    /// The highest acknowledgment that a side gave.
    #[inline(always)]
    pub fn acked(&self, of: Direction) -> u32 {
        (self.0[of as usize][SENT] >> 32) as u32
    }

    /// The end of what a side may send: the other's packets say it.
    #[inline(always)]
    fn limit(&self, of: Direction) -> u32 {
        self.0[of.turned() as usize][OFFERED] as u32
    }

    /// The largest window that a side has offered.
    #[inline(always)]
    fn window(&self, of: Direction) -> u32 {
        (self.0[of as usize][OFFERED] >> 32) as u32
    }

    #[inline(always)]
    fn set_end(&mut self, of: Direction, end: u32) {
        set_low(&mut self.0[of as usize][SENT], end);
    }

    #[inline(always)]
    fn set_acked(&mut self, of: Direction, acked: u32) {
        set_high(&mut self.0[of as usize][SENT], acked);
    }

    #[inline(always)]
    fn set_limit(&mut self, of: Direction, limit: u32) {
        set_low(&mut self.0[of.turned() as usize][OFFERED], limit);
    }

    #[inline(always)]
    fn set_window(&mut self, of: Direction, window: u32) {
        set_high(&mut self.0[of as usize][OFFERED], window);
    }

    /// What the first segment of a connection tells.
    pub fn begin(&mut self, of: Direction, segment: &Segment, is_picked_up: bool) {
        self.restart(of, segment.end(), segment.window);
        if is_picked_up {
            let limit = segment.end().wrapping_add(self.window(of));
            self.set_limit(of, limit);
            // What it acknowledges, the other side has sent.
            self.set_acked(of, segment.ack);
            self.set_end(of.turned(), segment.sack);
            self.set_limit(of.turned(), segment.sack);
        }
    }

    /// A side has sent this, and may send no more before the other answers.
    pub fn restart(&mut self, of: Direction, end: u32, window: u16) {
        self.set_end(of, end);
        self.set_limit(of, end);
        self.set_window(of, u32::from(window).max(1));
    }
}

/// How a segment fits, and moves the windows if it does.
#[inline(always)]
pub fn fit(track: &mut Track, sender: Direction, kind: Kind, segment: &Segment) -> Fit {
    let is_known = track.state.side(sender) & KNOWN != 0;
    match is_known && !reopens(track, sender, segment) {
        true => weigh(track, sender, kind, segment),
        false => fit_first(track, sender, kind, segment),
    }
}

/// Whether a segment takes the place of the one that opened the connection.
#[inline(always)]
fn reopens(track: &Track, sender: Direction, segment: &Segment) -> bool {
    let opening = match sender {
        Direction::Original => Phase::SynSent,
        Direction::Reply => Phase::SynRecv,
    };
    track.state.phase() == opening as u8 && after(segment.end(), track.sides.end(sender))
}

/// The same with the first segment of a side, or one that takes its place: what it tells is learnt
/// before, but not if it is late. A SYN without ACK needs no more looking at.
#[inline(never)]
fn fit_first(track: &mut Track, sender: Direction, kind: Kind, segment: &Segment) -> Fit {
    let before = *track;
    let bits = track.state.side(sender);
    if bits & KNOWN == 0 {
        if meet(track, sender, segment) && kind == Kind::Syn {
            return Fit::In;
        }
    } else {
        let bits = options(segment) | bits & ACKED | KNOWN;
        track.sides.restart(sender, segment.end(), segment.window);
        track.state = track.state.with_side(sender, bits);
    }
    let fit = weigh(track, sender, kind, segment);
    if fit == Fit::Behind {
        *track = before;
    }
    fit
}

#[inline(always)]
fn weigh(track: &mut Track, sender: Direction, kind: Kind, segment: &Segment) -> Fit {
    let receiver = sender.turned();
    let sides = &track.sides;
    let takes_sack = track.state.side(receiver) & TAKES_SACK != 0;
    let (mut ack, mut sack) = (segment.ack, segment.ack);
    if takes_sack {
        sack = segment.sack;
    }
    let is_reset = kind == Kind::Rst;
    if !segment.has(ACK) || is_reset && segment.has(ACK | RST) && ack == 0 {
        (ack, sack) = (sides.end(receiver), sides.end(receiver));
    }
    let (mut seq, mut end) = (segment.seq, segment.end());
    let answers_syn = seq == 0 && track.state.phase() == Phase::SynSent as u8;
    if seq == end && (!is_reset || answers_syn) {
        // Nothing but an acknowledgment, as a keep-alive is, too: its number says nothing.
        (seq, end) = (sides.end(sender), sides.end(sender));
    }

    let (sent, received) = (sides.end(sender), sides.end(receiver));
    // Of a receiver that was not heard of nothing is known to hold against the sender.
    let is_known = track.state.side(receiver) & KNOWN != 0;
    if after(seq, sides.limit(sender)) || is_known && after(sack, received) {
        return Fit::Out;
    }
    let oldest_ack = received.wrapping_sub(sides.window(sender).max(ACK_WINDOW_MIN));
    let repeats = before(end, sent.wrapping_sub(sides.window(receiver)));
    if is_known && (repeats || before(sack, oldest_ack)) {
        return Fit::Behind;
    }
    move_windows(track, sender, segment, [ack, sack, end]);
    Fit::In
}

/// What the words of a sender come to by a segment with ACK and without SYN, FIN and RST, if both
/// sides are known and have acknowledged something: what [`weigh`] makes of it where it fits and
/// no other word changes. Of all else nothing is said. `shift` is that of the sender's windows;
/// `takes_sack` says whether the receiver takes selective acknowledgments.
#[inline(always)]
pub fn slide(
    sides: &Sides,
    sender: Direction,
    (shift, takes_sack): (u16, bool),
    segment: &Segment,
) -> Option<[u64; 2]> {
    let receiver = sender.turned();
    let [mut sent, mut offered] = sides.0[sender as usize];
    let ack = segment.ack;
    let sack = if takes_sack { segment.sack } else { ack };
    let seq = match segment.len {
        0 => sides.end(sender),
        _ => segment.seq,
    };
    let end = seq.wrapping_add(segment.len);
    let (limit, received) = (sides.limit(sender), sides.end(receiver));
    let oldest = sides.end(sender).wrapping_sub(sides.window(receiver));
    let oldest_ack = received.wrapping_sub(sides.window(sender).max(ACK_WINDOW_MIN));
    let is_beyond = after(seq, limit) | after(end, limit) | after(sack, received);
    if is_beyond | before(end, oldest) | before(sack, oldest_ack) {
        return None;
    }
    let window = u32::from(segment.window) << shift;
    let widest = window.wrapping_add(sack.wrapping_sub(ack));
    if widest > sides.window(sender) {
        set_high(&mut offered, widest);
    }
    if after(end, sides.end(sender)) {
        set_low(&mut sent, end);
    }
    if after(ack, sides.acked(sender)) {
        set_high(&mut sent, ack);
    }
    let limit = sack.wrapping_add(window);
    if !before(limit, sides.limit(receiver)) {
        set_low(&mut offered, limit.wrapping_add((window == 0).into()));
    }
    Some([sent, offered])
}

/// Learns what a side's first segment tells; returns whether that is a SYN.
fn meet(track: &mut Track, sender: Direction, segment: &Segment) -> bool {
    let receiver = sender.turned();
    let sides = &mut track.sides;
    if segment.has(SYN) {
        sides.restart(sender, segment.end(), segment.window);
        let (mut own, mut other) = (options(segment), track.state.side(receiver));
        if own & other & SCALES == 0 {
            // Windows are scaled only if both sides offer it (RFC 7323 §2.2).
            (own, other) = (own & !SCALE, other & !SCALE);
        }
        let state = track.state.with_side(sender, own | KNOWN);
        track.state = state.with_side(receiver, other);
        return true;
    }
    let bits = track.state.side(sender);
    let window = (u32::from(segment.window) << (bits & SCALE)).max(1);
    sides.set_end(sender, segment.end());
    sides.set_window(sender, window);
    sides.set_limit(sender, segment.end().wrapping_add(window));
    if track.state.side(receiver) & KNOWN == 0 {
        sides.set_end(receiver, segment.sack);
        sides.set_limit(receiver, segment.sack);
    }
    track.state = track.state.with_side(sender, bits | KNOWN);
    false
}

#[inline(always)]
fn move_windows(track: &mut Track, sender: Direction, segment: &Segment, numbers: [u32; 3]) {
    let [ack, sack, end] = numbers;
    let (receiver, bits) = (sender.turned(), track.state.side(sender));
    let sides = &mut track.sides;
    let mut window = u32::from(segment.window);
    if !segment.has(SYN) {
        window <<= bits & SCALE;
    }
    let offered = window.wrapping_add(sack.wrapping_sub(ack));
    if offered > sides.window(sender) {
        sides.set_window(sender, offered);
    }
    if after(end, sides.limit(sender)) && track.state.side(receiver) & KNOWN != 0 {
        let more = end.wrapping_sub(sides.limit(sender));
        sides.set_window(receiver, sides.window(receiver).wrapping_add(more));
    }
    if after(end, sides.end(sender)) {
        sides.set_end(sender, end);
    }
    if segment.has(ACK) && (bits & ACKED == 0 || after(ack, sides.acked(sender))) {
        sides.set_acked(sender, ack);
        track.state = track.state.with_side(sender, bits | ACKED);
    }
    let limit = sack.wrapping_add(window);
    if !before(limit, sides.limit(receiver)) {
        // A closed window still lets one byte through, to probe it (RFC 9293 §3.8.6.1).
        sides.set_limit(receiver, limit.wrapping_add((window == 0).into()));
    }
}

/// Whether a sequence number is before another (RFC 9293 §3.4).
#[inline(always)]
pub fn before(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

#[inline(always)]
fn after(one: u32, other: u32) -> bool {
    before(other, one)
}

#[inline(always)]
fn set_low(word: &mut u64, value: u32) {
    *word = *word & !0xffff_ffff | u64::from(value);
}

#[inline(always)]
fn set_high(word: &mut u64, value: u32) {
    *word = *word & 0xffff_ffff | u64::from(value) << 32;
}

/// Words of a direction: what its sender has sent (low) and acknowledged (high), and up to where
/// the other may send (low) and the largest window that says so (high).
const SENT: usize = 0;
const OFFERED: usize = 1;
/// How far behind an acknowledgment may be, whatever the window: more than the largest window
/// that is not scaled.
const ACK_WINDOW_MIN: u32 = 66_000;
