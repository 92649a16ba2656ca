//! The switch's own addresses as the control task keeps them: the endpoints behind ports, what
//! comes to them from the workers, and what they send.
//!
//! What they send goes through the tables as if it had come in by their port, as it would from the
//! host's stack behind an `internal` port with these addresses: rules see it, and decide. Whoever
//! asks is answered so often and no more ([`ANSWERS`]), whatever it asks: errors are the least that
//! is to be limited (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)), but a flood of echo requests costs as
//! much. The limit is that of the port by which packets came in, so that one guest's flood keeps no
//! other from its router.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use openflow::{Action, OfPort};
use tracing::debug;

use super::actor::Actor;
use super::config::Vlan;
use super::pace::{Limit, Pace};
use crate::action::{BridgeId, PortNo};
use crate::datapath::{Delivery, PacketOut, Receiver};
use crate::local::{Endpoint, Settings};
use crate::pipeline::{Hop, Host, Neighbour, Network, Route, Unresolved};

/// All endpoints.
#[derive(Debug, Default)]
pub struct Endpoints {
    by_port: BTreeMap<PortNo, Entry>,
    /// What ports are answered, those that packets came in by.
    paces: HashMap<Option<PortNo>, Pace>,
}

#[derive(Debug)]
struct Entry {
    bridge: BridgeId,
    endpoint: Endpoint,
}

impl Endpoints {
    /// Adds the endpoint behind a port.
    pub fn insert(&mut self, port: PortNo, bridge: BridgeId, settings: Settings) {
        let endpoint = Endpoint::new(settings);
        self.by_port.insert(port, Entry { bridge, endpoint });
    }

    /// A port is gone.
    pub fn remove(&mut self, port: PortNo) {
        self.by_port.remove(&port);
        self.paces.remove(&Some(port));
    }

    /// Whether there is one behind a port.
    pub fn has(&self, port: PortNo) -> bool {
        self.by_port.contains_key(&port)
    }

    /// Their addresses, the ways that lead by them, and the neighbours that have answered them: a
    /// network that tunnels can go through. `mtu` tells that of a port.
    pub fn network(&self, mtu: impl Fn(PortNo) -> u32) -> Network {
        let mut network = Network::default();
        for (number, entry) in &self.by_port {
            let (port, endpoint) = (*number, &entry.endpoint);
            let settings = endpoint.settings();
            network.hosts.push(Host {
                port,
                mac: settings.mac,
                addresses: settings.addresses.iter().map(|own| own.address).collect(),
                mtu: mtu(port),
            });
            network.routes.extend(routes(settings, port));
            let answered = endpoint.neighbours();
            network
                .neighbours
                .extend(answered.map(|(address, mac)| Neighbour { port, address, mac }));
        }
        network
    }

    fn admits(&mut self, origin: Option<PortNo>, now_ms: u64) -> bool {
        let pace = self.paces.entry(origin);
        pace.or_insert_with(|| Pace::new(ANSWERS)).take(now_ms)
    }

    /// The endpoint of a bridge that a packet concerns most whose time to live ended there.
    fn claimant(&self, bridge: BridgeId, delivery: &Delivery) -> Option<(PortNo, &Endpoint)> {
        let entries = self.by_port.iter();
        let of_bridge = entries.filter(|(_, entry)| entry.bridge == bridge);
        let claims = of_bridge.map(|(number, entry)| {
            let endpoint = &entry.endpoint;
            let claim = endpoint.claim(delivery.packet.data(), &delivery.link);
            (claim, *number, endpoint)
        });
        // Of several that are alike the first.
        let best = claims.rev().max_by_key(|(claim, ..)| *claim);
        let best = best.filter(|(claim, ..)| *claim > 0);
        best.map(|(_, number, endpoint)| (number, endpoint))
    }
}

impl Actor {
    /// Takes a packet for the switch itself.
    pub(super) fn receive(&mut self, delivery: &Delivery) {
        let now_ms = self.clock.now_ms();
        if !self.endpoints.admits(delivery.origin, now_ms) {
            return self.refuse(delivery);
        }
        match delivery.to {
            Receiver::Endpoint(number) => {
                let Some(entry) = self.endpoints.by_port.get_mut(&number) else {
                    return;
                };
                let outcome = entry.endpoint.receive(delivery.packet.data(), now_ms);
                if outcome.is_news {
                    self.underlay.look();
                }
                if let Some(frame) = outcome.answer {
                    self.send_from(number, frame);
                }
            }
            Receiver::TooBig(frame_len_max) => self.tell_too_big(delivery, frame_len_max),
            Receiver::Path(port) => self.take_report(port, delivery.packet.data()),
            Receiver::Expired(bridge) => {
                let Some((number, endpoint)) = self.endpoints.claimant(bridge, delivery) else {
                    return;
                };
                let mut link = delivery.link;
                let port = self.ports.get(&number);
                if port.is_some_and(|port| matches!(port.settings.vlan, Vlan::Access(_))) {
                    link.tag = None;
                }
                if let Some(frame) = endpoint.expire(delivery.packet.data(), &link) {
                    self.send_from(number, frame);
                }
            }
        }
    }

    /// Counts a packet that is not answered, because the port that it came in by had its share.
    fn refuse(&mut self, delivery: &Delivery) {
        let number = match delivery.to {
            Receiver::Endpoint(number) => Some(number),
            Receiver::Expired(bridge) => {
                let claimant = self.endpoints.claimant(bridge, delivery);
                claimant.map(|(number, _)| number)
            }
            Receiver::TooBig(_) | Receiver::Path(_) => None,
        };
        if let Some(port) = number.and_then(|number| self.ports.get_mut(&number)) {
            port.refused += 1;
        }
    }

    /// Asks for a neighbour of an endpoint.
    pub(super) fn ask(&mut self, wanted: Unresolved) {
        let now_ms = self.clock.now_ms();
        let entry = self.endpoints.by_port.get_mut(&wanted.port);
        let frame = entry.and_then(|entry| entry.endpoint.resolve(wanted.address, now_ms));
        if let Some(frame) = frame {
            self.send_from(wanted.port, frame);
        }
    }

    /// Asks neighbours again that are to be asked.
    pub(super) fn poll_endpoints(&mut self) {
        let now_ms = self.clock.now_ms();
        let mut frames = Vec::new();
        for (number, entry) in &mut self.endpoints.by_port {
            let (again, has_lost) = entry.endpoint.poll(now_ms);
            if has_lost {
                self.underlay.look();
            }
            frames.extend(again.into_iter().map(|frame| (*number, frame)));
        }
        for (number, frame) in frames {
            self.send_from(number, frame);
        }
    }

    /// Sends a frame into the bridge of an endpoint, as if it came in by its port.
    fn send_from(&mut self, number: PortNo, frame: Vec<u8>) {
        let Some(port) = self.ports.get(&number) else {
            return;
        };
        if port.config.port_down {
            return;
        }
        let bytes = frame.len() as u64;
        let out = PacketOut {
            bridge: port.bridge,
            in_port: port.of_port,
            actions: Arc::new([TO_TABLE]),
            frame,
            resumed: None,
        };
        match self.datapath.inject(out) {
            Ok(()) => port.crossed.rx.add(1, bytes, self.clock.now_ms()),
            Err(error) => debug!(port = port.settings.name, %error, "answer dropped"),
        }
    }
}

/// The ways that lead by an endpoint: to its networks, and by its gateways to all others.
fn routes(settings: &Settings, port: PortNo) -> Vec<Route> {
    let route = |prefix: IpAddr, length, gateway, source| Route {
        prefix,
        length,
        metric: 0,
        source,
        mtu: None,
        hops: vec![Hop {
            port: Some(port),
            gateway,
            weight: 1,
        }],
    };
    let near = settings.addresses.iter();
    let near = near.map(|own| route(own.address, own.length, None, Some(own.address)));
    let far = settings.gateways.iter().map(|gateway| {
        let all = match gateway {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        route(all, 0, Some(*gateway), None)
    });
    near.chain(far).collect()
}

/// Into the bridge.
const TO_TABLE: Action = Action::Output {
    port: OfPort::TABLE,
    max_len: 0,
};
/// What packets of one port are answered: a flooding ping to each of a guest's routers. Each answer
/// costs control and a worker some microseconds.
const ANSWERS: Limit = Limit {
    rate: 1_000,
    burst: 200,
};
