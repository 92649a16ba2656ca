//! The states of a TCP connection, and what leads from one to another.

use super::Segment;
use crate::conntrack::packet::{ACK, FIN, RST, SYN, URG};
use crate::conntrack::record::Direction;
use crate::conntrack::timeout::Timeout;

/// State of a connection. Names are netfilter's: of what was seen, not of an end's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Nothing was seen.
    None,
    /// A SYN.
    SynSent,
    /// And a SYN ACK.
    SynRecv,
    /// And an acknowledgment of that.
    Established,
    /// And a FIN.
    FinWait,
    /// And an acknowledgment after it.
    CloseWait,
    /// And another FIN.
    LastAck,
    /// And an acknowledgment after that.
    TimeWait,
    /// A RST.
    Close,
    /// A SYN of each side.
    SynSent2,
}

impl Phase {
    const ALL: [Phase; 10] = [
        Phase::None,
        Phase::SynSent,
        Phase::SynRecv,
        Phase::Established,
        Phase::FinWait,
        Phase::CloseWait,
        Phase::LastAck,
        Phase::TimeWait,
        Phase::Close,
        Phase::SynSent2,
    ];

    /// The state with this number.
    #[inline(always)]
    pub fn of(number: u8) -> Phase {
        let phase = Phase::ALL.get(usize::from(number));
        phase.copied().unwrap_or(Phase::None)
    }

    /// How long the connection is kept in it.
    #[inline(always)]
    pub fn timeout(self) -> Timeout {
        match self {
            Phase::None | Phase::SynSent => Timeout::TcpSynSent,
            Phase::SynRecv => Timeout::TcpSynRecv,
            Phase::Established => Timeout::TcpEstablished,
            Phase::FinWait => Timeout::TcpFinWait,
            Phase::CloseWait => Timeout::TcpCloseWait,
            Phase::LastAck => Timeout::TcpLastAck,
            Phase::TimeWait => Timeout::TcpTimeWait,
            Phase::Close => Timeout::TcpClose,
            Phase::SynSent2 => Timeout::TcpSynSent2,
        }
    }
}

/// A segment by the one of its flags that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SYN without ACK.
    Syn,
    /// SYN with ACK.
    SynAck,
    /// FIN.
    Fin,
    /// ACK alone.
    Ack,
    /// RST.
    Rst,
}

impl Kind {
    /// What a segment is; nothing if it has flags that do not go together: of PSH, ECE and CWR
    /// nothing is said.
    #[inline(always)]
    pub fn of(segment: &Segment) -> Option<Kind> {
        let flags = segment.flags & (FIN | SYN | RST | ACK | URG);
        const URGENT_ACK: u8 = ACK | URG;
        const SYN_ACK: u8 = SYN | ACK;
        const RST_ACK: u8 = RST | ACK;
        const FIN_ACK: u8 = FIN | ACK;
        const URGENT_FIN: u8 = FIN | ACK | URG;
        const URGENT_SYN: u8 = SYN | URG;
        match flags {
            ACK | URGENT_ACK => Some(Kind::Ack),
            SYN | URGENT_SYN => Some(Kind::Syn),
            SYN_ACK => Some(Kind::SynAck),
            FIN_ACK | URGENT_FIN => Some(Kind::Fin),
            RST | RST_ACK => Some(Kind::Rst),
            _ => None,
        }
    }
}

/// What a segment in a state does, if it is within the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This is the state then.
    To(Phase),
    /// It may be right all the same.
    Ignore,
    /// It cannot be.
    Invalid,
}

/// What a segment of one kind and direction does in a state.
#[inline(always)]
pub fn next(phase: Phase, direction: Direction, kind: Kind) -> Next {
    use Direction::{Original, Reply};
    use Next::{Ignore, Invalid, To};
    use Phase::{
        Close, CloseWait, Established, FinWait, LastAck, None, SynRecv, SynSent, SynSent2, TimeWait,
    };
    match (kind, direction, phase) {
        (Kind::Ack, Original, SynSent | SynSent2) => Invalid,
        // Perhaps of an earlier connection: the receiver answers by a RST.
        (Kind::Ack, Reply, SynSent | SynSent2) => Ignore,
        (Kind::Ack, Reply, None) => Invalid,
        (Kind::Ack, Reply, SynRecv) => To(SynRecv),
        (Kind::Ack, _, None | SynRecv | Established) => To(Established),
        (Kind::Ack, _, FinWait | CloseWait) => To(CloseWait),
        (Kind::Ack, _, LastAck | TimeWait) => To(TimeWait),

        (Kind::Syn, Original, None | SynSent | TimeWait | Close) => To(SynSent),
        (Kind::Syn, Original | Reply, SynSent2) | (Kind::Syn, Reply, SynSent) => To(SynSent2),
        (Kind::Syn, Original, _) => Ignore,
        (Kind::Syn, Reply, _) => Invalid,

        (Kind::SynAck, _, None) | (Kind::SynAck, Original, SynSent) => Invalid,
        (Kind::SynAck, _, SynSent2) | (Kind::SynAck, Reply, SynSent) => To(SynRecv),
        (Kind::SynAck, ..) => Ignore,

        (Kind::Fin, _, None | SynSent | SynSent2) => Invalid,
        (Kind::Fin, _, SynRecv | Established) => To(FinWait),
        (Kind::Fin, _, FinWait | CloseWait | LastAck) => To(LastAck),
        (Kind::Fin, _, TimeWait) => To(TimeWait),

        (Kind::Rst, _, None) => Invalid,
        (Kind::Rst | Kind::Ack | Kind::Fin, ..) => To(Close),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_list() {
        for (number, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, number);
            assert_eq!(Phase::of(number as u8), phase);
        }
        assert_eq!(Phase::of(15), Phase::None);
    }

    #[test]
    fn flags_that_do_not_go_together() {
        let kinds = (0..=255).filter_map(|flags| {
            let segment = Segment {
                flags,
                ..Segment::default()
            };
            Kind::of(&segment)
        });
        // Nine of 32 combinations, each with and without PSH, ECE and CWR.
        assert_eq!(kinds.count(), 9 * 8);
    }
}
