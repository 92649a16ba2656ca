//! How long a connection is kept without a packet, by its state, and policies that say otherwise.
//!
//! Names are those of netfilter's and Open vSwitch's timeout policies; defaults those of Open
//! vSwitch where it has them, since its users know them, and netfilter's where only that has the
//! state. Two of netfilter's are missing as they are in Open vSwitch: a shorter time for
//! retransmissions and for data that nobody acknowledged.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::limits::{POLICIES_MAX, TIMEOUT_MAX_S};

/// A state that has a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Timeout {
    /// TCP: a SYN was seen.
    TcpSynSent,
    /// TCP: and answered.
    TcpSynRecv,
    /// TCP: the connection is open.
    TcpEstablished,
    /// TCP: one side has sent a FIN.
    TcpFinWait,
    /// TCP: and the other has acknowledged it.
    TcpCloseWait,
    /// TCP: both sides have sent a FIN.
    TcpLastAck,
    /// TCP: and acknowledged each other's.
    TcpTimeWait,
    /// TCP: there was a RST.
    TcpClose,
    /// TCP: both sides have sent a SYN.
    TcpSynSent2,
    /// UDP and protocols without a state of their own: one packet.
    UdpFirst,
    /// The same: more packets, no reply.
    UdpSingle,
    /// The same: replies.
    UdpMultiple,
    /// ICMP queries without an answer.
    IcmpFirst,
    /// ICMP queries with answers.
    IcmpReply,
    /// SCTP: nothing yet, or no more.
    SctpClosed,
    /// SCTP: INIT.
    SctpCookieWait,
    /// SCTP: COOKIE ECHO.
    SctpCookieEchoed,
    /// SCTP: COOKIE ACK.
    SctpEstablished,
    /// SCTP: SHUTDOWN of the original direction.
    SctpShutdownSent,
    /// SCTP: SHUTDOWN of the reply direction.
    SctpShutdownRecd,
    /// SCTP: SHUTDOWN ACK.
    SctpShutdownAckSent,
    /// SCTP: HEARTBEAT on a path that is new.
    SctpHeartbeatSent,
}

impl Timeout {
    /// All, in order, with name and default in seconds.
    pub const ALL: [(Timeout, &'static str, u32); 22] = [
        (Timeout::TcpSynSent, "tcp_syn_sent", 30),
        (Timeout::TcpSynRecv, "tcp_syn_recv", 30),
        (Timeout::TcpEstablished, "tcp_established", 24 * 60 * 60),
        (Timeout::TcpFinWait, "tcp_fin_wait", 15 * 60),
        // Open vSwitch has one state for both.
        (Timeout::TcpCloseWait, "tcp_close_wait", 15 * 60),
        // Open vSwitch takes the next for this.
        (Timeout::TcpLastAck, "tcp_last_ack", 45),
        (Timeout::TcpTimeWait, "tcp_time_wait", 45),
        (Timeout::TcpClose, "tcp_close", 30),
        (Timeout::TcpSynSent2, "tcp_syn_sent2", 30),
        (Timeout::UdpFirst, "udp_first", 60),
        (Timeout::UdpSingle, "udp_single", 60),
        (Timeout::UdpMultiple, "udp_multiple", 30),
        (Timeout::IcmpFirst, "icmp_first", 60),
        (Timeout::IcmpReply, "icmp_reply", 30),
        (Timeout::SctpClosed, "sctp_closed", 10),
        (Timeout::SctpCookieWait, "sctp_cookie_wait", 3),
        (Timeout::SctpCookieEchoed, "sctp_cookie_echoed", 3),
        (Timeout::SctpEstablished, "sctp_established", 210),
        (Timeout::SctpShutdownSent, "sctp_shutdown_sent", 3),
        (Timeout::SctpShutdownRecd, "sctp_shutdown_recd", 3),
        (Timeout::SctpShutdownAckSent, "sctp_shutdown_ack_sent", 3),
        (Timeout::SctpHeartbeatSent, "sctp_heartbeat_sent", 30),
    ];
}

/// Policies by number; number 0 is that of zones without another.
#[derive(Debug)]
pub(super) struct Policies(Box<[[AtomicU32; Timeout::ALL.len()]]>);

impl Policies {
    pub fn new() -> Policies {
        let defaults = |_| Timeout::ALL.map(|(_, _, seconds)| AtomicU32::new(seconds));
        Policies((0..POLICIES_MAX).map(defaults).collect())
    }

    #[inline(always)]
    pub fn seconds(&self, policy: u8, timeout: Timeout) -> u32 {
        self.0[usize::from(policy)][timeout as usize].load(Relaxed)
    }

    pub fn set(&self, policy: u8, timeout: Timeout, seconds: u32) {
        let seconds = seconds.min(TIMEOUT_MAX_S);
        self.0[usize::from(policy)][timeout as usize].store(seconds, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timeout_has_its_place() {
        for (place, (timeout, name, seconds)) in Timeout::ALL.iter().enumerate() {
            assert_eq!(*timeout as usize, place, "{name}");
            let policies = Policies::new();
            assert_eq!(policies.seconds(3, *timeout), *seconds);
            policies.set(3, *timeout, u32::MAX);
            assert_eq!(policies.seconds(3, *timeout), TIMEOUT_MAX_S);
            assert_eq!(policies.seconds(4, *timeout), *seconds);
        }
    }
}
