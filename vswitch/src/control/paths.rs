//! The paths that tunnels go, as to how long packets may be: what routers on the way tell, and who
//! is told that a packet was too long.
//!
//! Routers' reports come to the host's addresses and are seen on their way there: the kernel makes
//! nothing of one about a packet that no socket of its own has sent. A report is believed if it
//! quotes a packet that a tunnel could have sent, never to make a path wider, and for so long only
//! (RFC 1191 §6.3, RFC 8201 §5.4).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use flowtable::tunnel::{Carrier, Kind};
use openflow::{Action, OfPort};
use tracing::debug;

use super::actor::Actor;
use crate::action::PortNo;
use crate::datapath::{Delivery, PacketOut};
use crate::local::path::{self, Report};
use crate::pipeline::State;

/// What routers told.
#[derive(Debug, Default)]
pub struct Paths {
    by_destination: BTreeMap<IpAddr, Told>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    mtu: u32,
    until_ms: u64,
}

impl Paths {
    fn insert(&mut self, destination: IpAddr, mtu: u32, now_ms: u64) {
        self.forget_old(now_ms);
        let is_known = self.by_destination.contains_key(&destination);
        if is_known || self.by_destination.len() < PATHS_MAX {
            let until_ms = now_ms + BELIEVED_MS;
            self.by_destination
                .insert(destination, Told { mtu, until_ms });
        }
    }

    /// Those that are believed now.
    pub fn list(&mut self, now_ms: u64) -> Vec<(IpAddr, u32)> {
        self.forget_old(now_ms);
        let told = self.by_destination.iter();
        told.map(|(destination, told)| (*destination, told.mtu))
            .collect()
    }

    fn forget_old(&mut self, now_ms: u64) {
        self.by_destination.retain(|_, told| now_ms < told.until_ms);
    }
}

impl Actor {
    /// Tells the sender of a packet that is longer than `frame_len_max` bytes, by the port that it
    /// came in by. Who is behind another tunnel is not told: nothing says by which the answer would
    /// go.
    pub(super) fn tell_too_big(&mut self, delivery: &Delivery, frame_len_max: u32) {
        let Some(port) = delivery.origin.and_then(|number| self.ports.get(&number)) else {
            return;
        };
        if port.settings.kind.of_tunnel().is_some() {
            return;
        }
        let frame = delivery.packet.data();
        let Some(frame) = path::tell(frame, &delivery.link, frame_len_max as usize) else {
            return;
        };
        let out = PacketOut {
            bridge: port.bridge,
            in_port: OfPort::CONTROLLER,
            actions: Arc::new([Action::Output {
                port: port.of_port,
                max_len: 0,
            }]),
            frame,
            resumed: None,
        };
        if let Err(error) = self.datapath.inject(out) {
            debug!(port = port.settings.name, %error, "answer dropped");
        }
    }

    /// Takes what a router tells, which came to an address of the host's behind a port.
    pub(super) fn take_report(&mut self, host: PortNo, frame: &[u8]) {
        let report = Report::of(frame);
        let Some(report) = report.filter(|it| is_ours(self.switch.state(), host, it)) else {
            return;
        };
        let (destination, mtu) = (report.destination, report.mtu);
        debug!(%destination, mtu, "a path takes less");
        self.underlay
            .paths
            .insert(destination, mtu, self.clock.now_ms());
        self.underlay.look();
    }
}

/// Whether a report is about a packet that a tunnel sent from the host behind a port, and longer
/// than what is known to pass.
fn is_ours(state: &State, host: PortNo, report: &Report) -> bool {
    let underlay = state.underlay();
    let has = |address| {
        let host = underlay.host(host);
        host.is_some_and(|host| host.addresses.contains(&address))
    };
    let kind = match report.carrier {
        Carrier::Udp(port) => underlay.receivers.kind(port),
        Carrier::Gre => underlay.receivers.kind(Kind::Gre.port()),
    };
    let mut ports = state.bridges().flat_map(|bridge| bridge.ports());
    let leads_there = ports.any(|port| {
        let tunnel = port.tunnel.as_ref();
        let tunnel = tunnel.filter(|tunnel| Some(tunnel.kind) == kind);
        tunnel.is_some_and(|it| it.remote.is_none_or(|it| it == report.destination))
    });
    let hop = underlay.next_hop(report.destination, None);
    let is_news = hop.is_some_and(|hop| report.mtu < hop.mtu);
    has(report.own) && has(report.source) && leads_there && is_news
}

/// Paths that something is known of: other hosts, of which there are as many as next hops.
const PATHS_MAX: usize = 4096;
/// How long a report is believed (RFC 1191 §6.3).
const BELIEVED_MS: u64 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_believed_for_ten_minutes() {
        let mut paths = Paths::default();
        let address = |last| IpAddr::from([10, 0, 0, last]);
        paths.insert(address(1), 1400, 0);
        paths.insert(address(2), 1300, 1_000);
        paths.insert(address(1), 1280, 2_000);
        let all = [(address(1), 1280), (address(2), 1300)];
        assert_eq!(paths.list(600_999), all);
        assert_eq!(paths.list(601_000), all[..1]);
        assert_eq!(paths.list(602_000), []);
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let mut paths = Paths::default();
        for number in 0..PATHS_MAX as u32 + 10 {
            paths.insert(IpAddr::from(number.to_be_bytes()), 1400, 0);
        }
        assert_eq!(paths.list(0).len(), PATHS_MAX);
        paths.insert(IpAddr::from([0; 4]), 1300, 0);
        assert_eq!(paths.list(0)[0].1, 1300);
    }
}
