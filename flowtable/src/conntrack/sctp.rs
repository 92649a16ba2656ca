//! SCTP associations as one in the middle sees them (RFC 9260 §4), to netfilter's rules.
//!
//! What decides are control chunks, and the verification tags that each side was told to send
//! (§8.5). Open vSwitch's own tracker knows no SCTP and takes it for a protocol like UDP; this
//! tells the same states, but takes packets with a wrong tag for invalid.

use super::packet::{Chunk, Chunks, sctp};
use super::record::{ASSURED, Direction, REPLIED, State};
use super::timeout::Timeout;

/// State of an association; names are netfilter's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// Nothing was seen.
    None,
    /// An INIT, or the end.
    Closed,
    /// And its answer.
    CookieWait,
    /// A COOKIE ECHO.
    CookieEchoed,
    /// And its answer.
    Established,
    /// A SHUTDOWN of the original direction.
    ShutdownSent,
    /// A SHUTDOWN of the reply direction.
    ShutdownRecd,
    /// And its answer.
    ShutdownAckSent,
    /// A HEARTBEAT on a path that is new.
    HeartbeatSent,
}

const PHASES: [(Phase, Timeout); 9] = [
    (Phase::None, Timeout::SctpClosed),
    (Phase::Closed, Timeout::SctpClosed),
    (Phase::CookieWait, Timeout::SctpCookieWait),
    (Phase::CookieEchoed, Timeout::SctpCookieEchoed),
    (Phase::Established, Timeout::SctpEstablished),
    (Phase::ShutdownSent, Timeout::SctpShutdownSent),
    (Phase::ShutdownRecd, Timeout::SctpShutdownRecd),
    (Phase::ShutdownAckSent, Timeout::SctpShutdownAckSent),
    (Phase::HeartbeatSent, Timeout::SctpHeartbeatSent),
];

/// All that is kept of an association: its state, and the tag that packets of each direction have
/// to carry, 0 as long as it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Track {
    pub state: State,
    pub tags: [u32; 2],
}

/// How an association begins with a packet, if it can.
pub(super) fn open(state: State, chunks: &Chunks) -> Option<(Track, Timeout)> {
    let stray = [sctp::ABORT, sctp::SHUTDOWN_COMPLETE, sctp::COOKIE_ACK];
    if stray.iter().any(|kind| chunks.has(*kind)) {
        return None;
    }
    let mut track = Track {
        state,
        tags: [0; 2],
    };
    for chunk in chunks.list() {
        if next(Phase::None, Direction::Original, chunk.kind)? == Phase::None {
            return None;
        }
        match chunk.kind {
            sctp::INIT if chunks.tag != 0 => return None,
            sctp::INIT => (),
            sctp::HEARTBEAT => track.tags[Direction::Original as usize] = chunks.tag,
            _ => track.tags[Direction::Reply as usize] = chunks.tag,
        }
    }
    let timeout = track.take(Direction::Original, chunks)?;
    Some((track, timeout))
}

impl Track {
    /// What a packet of the association changes, and how long it is kept from now on; nothing if
    /// the packet is invalid.
    pub fn follow(&mut self, direction: Direction, chunks: &Chunks) -> Option<Timeout> {
        let exempt = [
            sctp::INIT,
            sctp::SHUTDOWN_COMPLETE,
            sctp::COOKIE_ECHO,
            sctp::ABORT,
            sctp::SHUTDOWN_ACK,
            sctp::HEARTBEAT,
            sctp::HEARTBEAT_ACK,
        ];
        let is_exempt = exempt.iter().any(|kind| chunks.has(*kind));
        if !is_exempt && chunks.tag != self.tags[direction as usize] {
            return None;
        }
        self.take(direction, chunks)
    }

    fn take(&mut self, direction: Direction, chunks: &Chunks) -> Option<Timeout> {
        let mut phase = PHASES.get(usize::from(self.state.phase()))?.0;
        for chunk in chunks.list() {
            self.check_tag(direction, &chunk, chunks.tag)?;
            phase = next(phase, direction, chunk.kind)?;
        }
        let mut state = self.state.with_phase(phase as u8);
        if direction == Direction::Reply {
            state = state.with(REPLIED);
        }
        if phase == Phase::Established {
            state = state.with(ASSURED);
        }
        self.state = state;
        Some(PHASES[phase as usize].1)
    }

    /// Whether a chunk may come under a tag (§8.5.1), and which tags it tells.
    fn check_tag(&mut self, direction: Direction, chunk: &Chunk, tag: u32) -> Option<()> {
        let (own, other) = (direction as usize, direction.turned() as usize);
        let is_right = match chunk.kind {
            sctp::INIT => tag == 0,
            // With the T bit the tag is the other's own, of which the sender knows no better.
            sctp::ABORT | sctp::SHUTDOWN_COMPLETE if chunk.flags & T_BIT != 0 => {
                tag == self.tags[other]
            }
            sctp::ABORT | sctp::SHUTDOWN_COMPLETE | sctp::COOKIE_ECHO => tag == self.tags[own],
            sctp::HEARTBEAT | sctp::HEARTBEAT_ACK if self.tags[own] == 0 => {
                self.tags[own] = tag;
                true
            }
            sctp::HEARTBEAT | sctp::HEARTBEAT_ACK => tag == self.tags[own],
            _ => true,
        };
        if matches!(chunk.kind, sctp::INIT | sctp::INIT_ACK) {
            self.tags[other] = chunk.init_tag;
        }
        is_right.then_some(())
    }
}

/// What a chunk does in a state; nothing if it is invalid there.
fn next(phase: Phase, direction: Direction, kind: u8) -> Option<Phase> {
    use Direction::{Original, Reply};
    use Phase::{
        Closed, CookieEchoed, CookieWait, Established, HeartbeatSent, ShutdownAckSent,
        ShutdownRecd, ShutdownSent,
    };
    let is_control = matches!(kind, 1 | 2 | 4..=11 | 14);
    if !is_control {
        return Some(phase);
    }
    Some(match (direction, kind, phase) {
        (Original, sctp::HEARTBEAT, Phase::None) => HeartbeatSent,
        (_, sctp::HEARTBEAT, HeartbeatSent) => HeartbeatSent,
        (Original, sctp::HEARTBEAT_ACK, HeartbeatSent) => HeartbeatSent,
        (Reply, sctp::HEARTBEAT_ACK, HeartbeatSent) => Established,
        (Reply, _, Phase::None | HeartbeatSent) => return None,
        (Original, sctp::INIT, HeartbeatSent) => CookieWait,
        (Original, sctp::INIT, ShutdownSent | ShutdownRecd) => Closed,
        (Original, sctp::SHUTDOWN_ACK, Phase::None | HeartbeatSent) => ShutdownAckSent,
        (Original, _, Phase::None | HeartbeatSent) => Closed,
        (_, sctp::ABORT, _) => Closed,
        (Reply, sctp::INIT_ACK, Closed) => CookieWait,
        (Original, sctp::SHUTDOWN, Established) => ShutdownSent,
        (Reply, sctp::SHUTDOWN, Established) => ShutdownRecd,
        (_, sctp::SHUTDOWN_ACK, ShutdownSent | ShutdownRecd) => ShutdownAckSent,
        (Reply, sctp::ERROR, CookieEchoed) => Closed,
        (_, sctp::COOKIE_ECHO, CookieWait) => CookieEchoed,
        (_, sctp::COOKIE_ACK, CookieEchoed) => Established,
        (_, sctp::SHUTDOWN_COMPLETE, ShutdownAckSent) => Closed,
        _ => phase,
    })
}

/// Flag of ABORT and SHUTDOWN COMPLETE: the tag is reflected.
const T_BIT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::packet::Chunk;

    const DATA: u8 = 0;
    const ORIGINAL: Direction = Direction::Original;
    const REPLY: Direction = Direction::Reply;

    fn packet(tag: u32, kind: u8) -> Chunks {
        let init_tag = match kind {
            sctp::INIT => 100,
            sctp::INIT_ACK => 200,
            _ => 0,
        };
        let chunk = Chunk {
            kind,
            flags: 0,
            init_tag,
        };
        Chunks::one(tag, chunk)
    }

    fn opened() -> Track {
        let (mut track, timeout) = open(State::default(), &packet(0, sctp::INIT)).unwrap();
        assert_eq!(timeout, Timeout::SctpClosed);
        for (direction, tag, kind, timeout) in [
            (REPLY, 100, sctp::INIT_ACK, Timeout::SctpCookieWait),
            (ORIGINAL, 200, sctp::COOKIE_ECHO, Timeout::SctpCookieEchoed),
            (REPLY, 100, sctp::COOKIE_ACK, Timeout::SctpEstablished),
        ] {
            assert_eq!(track.follow(direction, &packet(tag, kind)), Some(timeout));
        }
        track
    }

    #[test]
    fn from_init_to_shutdown_complete() {
        let mut track = opened();
        assert!(track.state.has(ASSURED) && track.state.has(REPLIED));
        for (direction, tag, kind, timeout) in [
            (ORIGINAL, 200, DATA, Timeout::SctpEstablished),
            (REPLY, 100, sctp::HEARTBEAT, Timeout::SctpEstablished),
            (REPLY, 100, sctp::SHUTDOWN, Timeout::SctpShutdownRecd),
            (
                ORIGINAL,
                200,
                sctp::SHUTDOWN_ACK,
                Timeout::SctpShutdownAckSent,
            ),
            (REPLY, 100, sctp::SHUTDOWN_COMPLETE, Timeout::SctpClosed),
        ] {
            assert_eq!(
                track.follow(direction, &packet(tag, kind)),
                Some(timeout),
                "{kind}"
            );
        }
    }

    #[test]
    fn wrong_tags_are_invalid() {
        let kinds = [DATA, sctp::ABORT, sctp::COOKIE_ECHO, sctp::HEARTBEAT];
        for kind in kinds {
            let before = opened();
            let mut track = before;
            assert_eq!(track.follow(ORIGINAL, &packet(100, kind)), None, "{kind}");
        }
        assert_eq!(opened().follow(ORIGINAL, &packet(7, sctp::INIT)), None);
        let chunk = Chunk {
            kind: sctp::ABORT,
            flags: T_BIT,
            init_tag: 0,
        };
        let reflected = Chunks::one(100, chunk);
        assert_eq!(
            opened().follow(ORIGINAL, &reflected),
            Some(Timeout::SctpClosed)
        );
    }

    #[test]
    fn what_cannot_begin() {
        for kind in [DATA, sctp::ABORT, sctp::COOKIE_ACK, sctp::SHUTDOWN_COMPLETE] {
            assert_eq!(open(State::default(), &packet(0, kind)), None, "{kind}");
        }
        assert_eq!(open(State::default(), &packet(1, sctp::INIT)), None);
        let (track, timeout) = open(State::default(), &packet(5, sctp::HEARTBEAT)).unwrap();
        assert_eq!((track.tags[0], timeout), (5, Timeout::SctpHeartbeatSent));
    }
}
