//! Ports: adding, removing, and what can be set on them.
//!
//! A port is in the published state twice, by its datapath number and in its bridge by its
//! OpenFlow number; both are the same shared value.

use std::collections::BTreeSet;
use std::sync::Arc;

use openflow::{OfPort, PortConfig};

use super::super::tunnel::Clash;
use super::super::{BridgePort, Crossed, Network, Tunnel};
use super::{PortError, PortSpec, Switch, VlanMode, limits};
use crate::action::{BridgeId, PortNo};

impl Switch {
    /// Adds a port: its numbers. Its link is down; that of a patch port is up while its peer is
    /// there.
    pub fn add_port(
        &mut self,
        bridge: BridgeId,
        spec: &PortSpec,
    ) -> Result<(PortNo, OfPort), PortError> {
        let of_port = self.free_of_port(bridge, spec.of_port)?;
        if self.names.contains_key(&spec.name) {
            return Err(PortError::NameTaken(spec.name.clone()));
        }
        let number = self.free_number()?;
        if let Some(tunnel) = &spec.tunnel {
            self.open_tunnel(number, tunnel)?;
        }
        self.names.insert(spec.name.clone(), number);
        self.store(BridgePort {
            number,
            of_port,
            bridge,
            name: spec.name.clone(),
            config: PortConfig::default(),
            link_up: false,
            flood: true,
            vlan: spec.vlan.clone(),
            peer_name: spec.peer_name.clone(),
            peer: None,
            is_endpoint: false,
            tunnel: spec.tunnel.clone().map(Arc::new),
            crossed: Crossed::default(),
        });
        self.tie(number);
        self.know_options(number);
        self.renew_mask(bridge, spec.tunnel.is_some());
        Ok((number, of_port))
    }

    /// Removes a port, and what was learned on it.
    pub fn remove_port(&mut self, number: PortNo) {
        let Some(port) = self.state.ports.remove(&number) else {
            return;
        };
        self.names.remove(&port.name);
        if let Some(tunnel) = &port.tunnel {
            Arc::make_mut(&mut self.state.underlay)
                .receivers
                .remove(tunnel);
        }
        if let Some((bridge, ledger)) = self.change(port.bridge) {
            bridge.endpoints -= u32::from(port.is_endpoint);
            bridge.ports.remove(&port.of_port);
            ledger.addresses.forget_port(&mut bridge.macs, number);
        }
        self.know_options(number);
        self.renew_mask(port.bridge, port.tunnel.is_some());
        if let Some(peer) = port.peer {
            self.tie(peer);
        }
    }

    /// Has the switch itself answer for addresses behind a port.
    pub fn make_endpoint(&mut self, number: PortNo) {
        let edited = self.edit(number, |port| port.is_endpoint = true);
        if let Some((bridge, _)) = edited.and_then(|bridge| self.change(bridge)) {
            bridge.endpoints += 1;
        }
    }

    /// Has a bridge's masks computed anew if a port came or went that reads metadata.
    fn renew_mask(&mut self, bridge: BridgeId, reads: bool) {
        if let Some(ledger) = self.ledgers.get_mut(&bridge).filter(|_| reads) {
            ledger.mask_stale = true;
        }
    }

    /// Takes over what is known of the network that tunnels go through.
    pub fn set_network(&mut self, network: Network) {
        if self.state.underlay.network() != &network {
            Arc::make_mut(&mut self.state.underlay).set_network(network);
            self.changed = true;
            self.changes.all(self.state.epoch);
        }
    }

    /// Takes over which sets of collectors there are for samples.
    pub fn set_collectors(&mut self, sets: BTreeSet<u32>) {
        if *self.state.collectors != sets {
            self.state.collectors = Arc::new(sets);
            self.changed = true;
            self.changes.all(self.state.epoch);
        }
    }

    /// Has a port receive what comes by its tunnel.
    fn open_tunnel(&mut self, number: PortNo, tunnel: &Tunnel) -> Result<(), PortError> {
        let underlay = Arc::make_mut(&mut self.state.underlay);
        match underlay.receivers.clash(tunnel) {
            Ok(()) => {
                underlay.receivers.insert(tunnel, number);
                Ok(())
            }
            Err(Clash::Kind(_)) => Err(PortError::TunnelPortTaken(tunnel.port)),
            Err(Clash::Port(other)) => {
                let port = self.state.port(other);
                let name = port.map_or_else(String::new, |port| port.name.clone());
                Err(PortError::SameTunnel(name))
            }
        }
    }

    /// Sets a port's configuration.
    pub fn set_port_config(&mut self, number: PortNo, config: PortConfig) {
        self.edit(number, |port| port.config = config);
    }

    /// Says whether a port has a carrier. A patch port has one while its peer is there.
    pub fn set_link(&mut self, number: PortNo, up: bool) {
        self.edit(number, |port| port.link_up = up || port.peer.is_some());
    }

    /// Sets how a port takes part in VLANs. What was learned on it is forgotten.
    pub fn set_vlan_mode(&mut self, number: PortNo, vlan: VlanMode) {
        let Some(bridge) = self.edit(number, |port| port.vlan = vlan) else {
            return;
        };
        if let Some((bridge, ledger)) = self.change(bridge) {
            ledger.addresses.forget_port(&mut bridge.macs, number);
        }
    }

    /// Changes a port; its bridge if that made a difference.
    fn edit(&mut self, number: PortNo, edit: impl FnOnce(&mut BridgePort)) -> Option<BridgeId> {
        let old = self.state.port(number)?;
        let mut new = BridgePort::clone(old);
        edit(&mut new);
        (new != **old).then(|| self.store(new))
    }

    fn store(&mut self, port: BridgePort) -> BridgeId {
        let port = Arc::new(port);
        self.state.ports.insert(port.number, port.clone());
        if let Some((bridge, _)) = self.change(port.bridge) {
            bridge.ports.insert(port.of_port, port.clone());
        }
        port.bridge
    }

    /// Ties a patch port to its peer, or cuts it loose if there is none: a peer names this port
    /// as its own peer.
    fn tie(&mut self, number: PortNo) {
        let Some(port) = self.state.port(number) else {
            return;
        };
        let name = port.name.clone();
        let peer = port
            .peer_name
            .as_ref()
            .and_then(|peer| self.names.get(peer));
        let peer = peer.and_then(|peer| self.state.port(*peer));
        let peer = peer.filter(|peer| peer.peer_name.as_ref() == Some(&name));
        let peer = peer.map(|peer| peer.number).filter(|peer| *peer != number);
        self.point_to(number, peer);
        if let Some(peer) = peer {
            self.point_to(peer, Some(number));
        }
    }

    fn point_to(&mut self, number: PortNo, peer: Option<PortNo>) {
        let edited = self.edit(number, |port| {
            port.link_up = peer.is_some() || port.link_up && port.peer_name.is_none();
            port.peer = peer;
        });
        self.ties_changed |= edited.is_some();
    }

    fn free_of_port(&self, bridge: BridgeId, wish: Option<OfPort>) -> Result<OfPort, PortError> {
        let bridge = self.state.bridge(bridge).ok_or(PortError::NoBridge)?;
        let Some(wish) = wish else {
            let free = |number: &OfPort| bridge.port(*number).is_none();
            let mut numbers = (1..=limits::PORTS_MAX as u32 + 1).map(OfPort);
            return numbers
                .find(free)
                .ok_or(PortError::TooMany(limits::PORTS_MAX));
        };
        if wish != OfPort::LOCAL && (wish == OfPort(0) || wish > OfPort::MAX) {
            return Err(PortError::NumberReserved(wish));
        }
        match bridge.port(wish) {
            Some(_) => Err(PortError::NumberTaken(wish)),
            None => Ok(wish),
        }
    }

    /// The lowest number that no port has.
    fn free_number(&self) -> Result<PortNo, PortError> {
        let mut expected = 0;
        for number in self.state.ports.keys() {
            if number.0 != expected {
                break;
            }
            expected += 1;
        }
        match expected as usize {
            limits::PORTS_MAX => Err(PortError::TooMany(limits::PORTS_MAX)),
            _ => Ok(PortNo(expected)),
        }
    }
}
