//! Output to ports and reserved ports (OpenFlow 1.3.5 §4.5).

use std::fmt;

use flowtable::Carried;
use openflow::{OfPort, TableId};

use super::super::{BridgePort, Trace};
use super::strand::Strand;
use super::{Machine, Step};
use crate::action::{CountedIn, DropReason, Op, PuntReason};

impl<'a, T: Trace<'a>> Machine<'a, '_, T> {
    pub(super) fn output(&mut self, strand: &mut Strand<'a>, port: OfPort, max_len: u16) {
        match port {
            OfPort::IN_PORT => self.send(strand, came_in_by(strand)),
            OfPort::TABLE if strand.bridge.standalone => self.normal(strand),
            OfPort::TABLE => self.run_copy(strand.copy(Step::Table(TableId(0)))),
            OfPort::NORMAL => self.normal(strand),
            OfPort::FLOOD => self.flood(strand, |port| port.flood),
            OfPort::ALL => self.flood(strand, |_| true),
            OfPort::CONTROLLER => self.punt(strand, max_len),
            _ if strand.came_by(port) => self.refuse(DropReason::OutputToIngress),
            _ => self.send(strand, strand.bridge.port(port).map(|port| &**port)),
        }
    }

    /// To the controllers of the bridge. A table miss of a port that wants none goes nowhere.
    fn punt(&mut self, strand: &Strand<'a>, max_len: u16) {
        let quiet = strand.port.is_some_and(|port| port.config.no_packet_in);
        let reason = match strand.origin.miss {
            true if quiet => return self.refuse(DropReason::NoPacketIn),
            true => PuntReason::NoMatch,
            false => PuntReason::Action,
        };
        self.trace
            .note(format_args!("send to the controllers, {max_len} bytes"));
        self.emit_with(|| Op::Controller(strand.punt(reason, max_len)));
    }

    /// By one port, the ingress included.
    fn send(&mut self, strand: &Strand<'a>, port: Option<&'a BridgePort>) {
        let Some(port) = port else {
            return self.refuse(DropReason::PortDown);
        };
        match refusal(port) {
            Some(reason) => self.refuse(reason),
            None if port.peer_name.is_some() => self.cross(strand, port),
            None if port.is_endpoint => self.answer(strand, port),
            None if let Some(tunnel) = &port.tunnel => self.encapsulate(strand, port, tunnel),
            None if self.is_host(port) => {
                self.trace.note(format_args!("deliver to {}", port.name));
                self.emit_with(|| Op::Deliver(port.number));
            }
            None => {
                self.trace.note(format_args!("output to {}", port.name));
                self.emit(Op::Output(port.number));
            }
        }
    }

    /// To the switch itself, which answers for the addresses behind the port.
    fn answer(&mut self, strand: &Strand<'a>, port: &'a BridgePort) {
        self.trace.note(format_args!("to endpoint {}", port.name));
        self.count(strand, CountedIn::Shared(&port.crossed.tx));
        self.emit_with(|| Op::Answer(port.number));
    }

    /// Whether packets for the host behind a port may have come by a tunnel.
    fn is_host(&self, port: &BridgePort) -> bool {
        self.state.underlay.host(port.number).is_some()
    }

    /// Whether what is sent by a port goes on within the switch.
    pub(super) fn leads_on(&self, port: &BridgePort) -> bool {
        port.peer_name.is_some() || port.tunnel.is_some() || self.is_host(port)
    }

    /// By a patch port into another bridge, where the packet is a new one.
    fn cross(&mut self, strand: &Strand<'a>, port: &'a BridgePort) {
        let peer = port.peer.and_then(|number| self.state.port(number));
        let bridge = peer.and_then(|peer| self.state.bridge(peer.bridge));
        let (Some(peer), Some(bridge)) = (peer, bridge) else {
            return self.refuse(DropReason::PortDown);
        };
        self.trace
            .enter(format_args!("output to {}, in by {}", port.name, peer.name));
        if self.receives(peer) {
            let mut copy = Strand::new(bridge, Some(&**peer));
            copy.key = super::strand::headers_of(&strand.key);
            copy.written = Carried::ALL;
            copy.arrive(peer);
            copy.known = strand.known;
            copy.certain = strand.certain;
            copy.recirculations = strand.recirculations;
            copy.is_wrapped = strand.is_wrapped;
            self.count(strand, CountedIn::Shared(&port.crossed.tx));
            self.count(strand, CountedIn::Shared(&peer.crossed.rx));
            self.run_copy(copy);
        }
        self.trace.leave();
    }

    /// By every port but the ingress that `wanted` admits.
    fn flood(&mut self, strand: &Strand<'a>, wanted: impl Fn(&BridgePort) -> bool) {
        let others = strand.bridge.ports().map(|port| &**port);
        let others = others.filter(|port| !strand.came_by(port.of_port) && wanted(port));
        self.send_all(strand, others);
    }

    /// By several ports, those that refuse left out.
    pub(super) fn send_all(
        &mut self,
        strand: &Strand<'a>,
        ports: impl Iterator<Item = &'a BridgePort>,
    ) {
        self.trace.complicate();
        // A way ends where ports do not lead to other bridges.
        let (leading, plain): (Vec<_>, Vec<_>) = ports
            .filter(|port| refusal(port).is_none())
            .filter(|port| T::WANTS_PROGRAM || self.leads_on(port))
            .partition(|port| self.leads_on(port) || port.is_endpoint);
        if let [port] = plain[..] {
            self.send(strand, Some(port));
        } else if !plain.is_empty() {
            self.trace.note(format_args!("output to {}", Names(&plain)));
            self.emit_with(|| Op::Outputs(plain.iter().map(|port| port.number).collect()));
        }
        for port in leading {
            self.send(strand, Some(port));
        }
    }
}

/// Names of ports, as text.
struct Names<'a>(&'a [&'a BridgePort]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, port) in self.0.iter().enumerate() {
            let before = if place == 0 { "" } else { ", " };
            write!(f, "{before}{}", port.name)?;
        }
        Ok(())
    }
}

/// The port that the packet is taken to have come in by: actions may say that it was another.
fn came_in_by<'a>(strand: &Strand<'a>) -> Option<&'a BridgePort> {
    match strand.port {
        Some(port) if strand.came_by(port.of_port) => Some(port),
        _ => strand
            .bridge
            .port(OfPort(strand.key.in_port))
            .map(|port| &**port),
    }
}

/// Why a port sends nothing.
fn refusal(port: &BridgePort) -> Option<DropReason> {
    match port.config {
        config if config.port_down => Some(DropReason::PortDown),
        config if config.no_forward => Some(DropReason::NoForward),
        _ => None,
    }
}
