//! The steps that the control task itself takes when the configuration changes: nothing here
//! waits. Called by the provisioner.

use std::collections::BTreeMap;

use openflow::{OfPort, PortConfig, PortReason};
use pmd::PortControl;
use pmd::port::{Fault, Link};

use super::{Failure, mtu_of};
use crate::action::{BridgeId, PortNo};
use crate::control::actor::Actor;
use crate::control::agent::{Agent, Identity};
use crate::control::bridge::{Bridge, Controller, FailedPort, Task};
use crate::control::config::{self, PortKind, Vlan};
use crate::control::outbox::Dropped;
use crate::control::ports::Port;
use crate::pipeline::{self, BridgeSpec, PortSpec, VlanMode};

/// A port about to be added.
pub(super) struct NewPort {
    pub(super) bridge: BridgeId,
    pub(super) settings: config::Port,
    /// The number that is kept for it, if any.
    pub(super) number: Option<OfPort>,
    pub(super) device: Option<PortControl>,
    pub(super) mac: [u8; 6],
}

impl Actor {
    /// A bridge by name.
    pub fn bridge_id(&self, name: &str) -> Option<BridgeId> {
        let found = self
            .bridges
            .iter()
            .find(|(_, bridge)| bridge.settings.name == name);
        found.map(|(id, _)| *id)
    }

    /// Takes over who is told of samples.
    pub(super) fn set_collectors(&mut self, sets: &[config::CollectorSet]) {
        self.exporter.configure(sets);
        let ids = sets.iter().map(|set| set.id);
        self.switch.set_collectors(ids.collect());
    }

    pub(super) fn add_bridge(
        &mut self,
        settings: config::Bridge,
        identity: Identity,
    ) -> Result<BridgeId, Failure> {
        let spec = BridgeSpec {
            name: settings.name.clone(),
            fail_mode: fail_mode(settings.fail_mode),
            mac_age_s: settings.mac_ageing_s,
            flows_max: settings.flow_limit as usize,
            overflow: settings.overflow_policy,
            ..BridgeSpec::default()
        };
        let id = self
            .switch
            .add_bridge(&spec)
            .map_err(|error| Failure(error.to_string()))?;
        self.bridges
            .insert(id, Bridge::new(settings, Agent::new(id, identity)));
        Ok(id)
    }

    pub(super) fn task_names(&self, id: BridgeId) -> Vec<String> {
        let bridge = self.bridges.get(&id);
        bridge
            .map(|bridge| bridge.tasks.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Takes over settings; the tasks that are to end.
    pub(super) fn set_bridge(
        &mut self,
        id: BridgeId,
        settings: config::Bridge,
        datapath_id: u64,
        tasks: BTreeMap<String, Option<Task>>,
    ) -> Vec<Task> {
        let now_ms = self.clock.now_ms();
        let Some(bridge) = self.bridges.get_mut(&id) else {
            return Vec::new();
        };
        let mut before = std::mem::take(&mut bridge.tasks);
        bridge
            .listener_errors
            .retain(|at, _| tasks.contains_key(at));
        for (name, task) in tasks {
            if let Some(task) = task.or_else(|| before.remove(&name)) {
                bridge.tasks.insert(name, task);
            }
        }
        let targets: Vec<_> = settings
            .controllers
            .iter()
            .map(|controller| controller.target.clone())
            .collect();
        bridge
            .controllers
            .retain(|name, _| targets.iter().any(|it| it.to_string() == *name));
        for target in targets {
            let new = || Controller {
                target: target.clone(),
                peer: None,
                since_ms: now_ms,
                error: None,
                dropped: Dropped::default(),
            };
            bridge
                .controllers
                .entry(target.to_string())
                .or_insert_with(new);
        }
        bridge.agent.identity.datapath_id = datapath_id;
        bridge.agent.identity.description = settings.description.clone();
        self.switch.set_fail_mode(id, fail_mode(settings.fail_mode));
        self.switch.set_mac_age(id, settings.mac_ageing_s);
        let flows_max = settings.flow_limit as usize;
        self.switch
            .set_flow_limit(id, flows_max, settings.overflow_policy);
        bridge.configure(settings, &mut self.switch, now_ms);
        before.into_values().collect()
    }

    pub(super) fn take_tasks(&mut self, id: BridgeId) -> Vec<Task> {
        let bridge = self.bridges.get_mut(&id);
        let tasks = bridge.map(|bridge| std::mem::take(&mut bridge.tasks));
        tasks.unwrap_or_default().into_values().collect()
    }

    pub(super) fn remove_bridge(&mut self, id: BridgeId) -> Vec<(PortNo, Port)> {
        self.bridges.remove(&id);
        let numbers = self.switch.remove_bridge(id);
        numbers
            .iter()
            .for_each(|number| self.endpoints.remove(*number));
        numbers
            .into_iter()
            .filter_map(|number| Some((number, self.ports.remove(&number)?)))
            .collect()
    }

    /// The lowest number that no port has, nor a port that does not work yet is to have.
    fn free_number(&self, bridge: BridgeId) -> Option<OfPort> {
        let at = self.bridges.get(&bridge)?;
        let state = self.switch.state().bridge(bridge)?;
        let kept = |number| at.failed.iter().any(|failed| failed.number == Some(number));
        let mut numbers = (1..=config::PORT_NUMBER_MAX).map(OfPort);
        numbers.find(|number| state.port(*number).is_none() && !kept(*number))
    }

    /// The number that is kept for a port, or is configured, or is free.
    fn number_for(
        &self,
        bridge: BridgeId,
        settings: &config::Port,
        kept: Option<OfPort>,
    ) -> Option<OfPort> {
        kept.or(settings.number.map(OfPort))
            .or_else(|| self.free_number(bridge))
    }

    pub(super) fn add_port(
        &mut self,
        new: NewPort,
    ) -> Result<PortNo, (Failure, Option<PortControl>)> {
        let NewPort {
            bridge,
            settings,
            number,
            device,
            mac,
        } = new;
        let of_port = self.number_for(bridge, &settings, number);
        let Some(at) = self.bridges.get_mut(&bridge) else {
            return Err((Failure("the bridge is gone".to_owned()), device));
        };
        let spec = PortSpec {
            name: settings.name.clone(),
            of_port,
            vlan: vlan_mode(&settings.vlan),
            peer_name: settings
                .options
                .get("peer")
                .filter(|_| device.is_none())
                .cloned(),
            tunnel: config::tunnel(settings.kind, &settings.options)
                .ok()
                .flatten(),
        };
        let (number, of_port) = match self.switch.add_port(bridge, &spec) {
            Ok(numbers) => numbers,
            Err(error) => {
                let failure = Failure(format!("port {}: {error}", settings.name));
                return Err((failure, device));
            }
        };
        at.failed
            .retain(|failed| failed.settings.name != settings.name);
        let mut link = Link {
            up: settings.kind.of_tunnel().is_some(),
            ..Link::default()
        };
        if settings.kind == PortKind::Endpoint
            && let Some(endpoint) = config::endpoint::settings(&settings.options, mac)
        {
            self.switch.make_endpoint(number);
            self.endpoints.insert(number, bridge, endpoint);
            link.up = true;
        }
        let config = PortConfig {
            port_down: !settings.admin_up,
            ..PortConfig::default()
        };
        self.switch.set_port_config(number, config);
        let added = self.switch.state().port(number);
        let crossed = added.map(|port| port.crossed.clone()).unwrap_or_default();
        let port = Port {
            bridge,
            of_port,
            settings,
            config,
            device,
            crossed,
            refused: 0,
            link,
            fault: None,
            mac,
            created_ms: self.clock.now_ms(),
            is_announced: false,
        };
        self.ports.insert(number, port);
        Ok(number)
    }

    /// Tells controllers of a port that works.
    pub(super) fn announce_port(&mut self, number: PortNo) {
        let Some(port) = self.ports.get_mut(&number) else {
            return;
        };
        port.is_announced = true;
        port.poll();
        let (bridge, link, description) = (port.bridge, port.link, port.describe());
        self.switch.set_link(number, link.up);
        if let Some(bridge) = self.bridges.get_mut(&bridge) {
            bridge.agent.port_status(PortReason::Add, description);
        }
        self.check_patches();
        self.underlay.look();
    }

    /// Removes a port from everything but the workers.
    pub(super) fn drop_port(&mut self, number: PortNo) -> Option<Port> {
        self.switch.remove_port(number);
        self.endpoints.remove(number);
        self.underlay.look();
        self.ports.remove(&number)
    }

    /// Forgets a port that does not work; whether there was one.
    pub(super) fn forget_failed(&mut self, bridge: BridgeId, name: &str) -> bool {
        let Some(bridge) = self.bridges.get_mut(&bridge) else {
            return false;
        };
        let before = bridge.failed.len();
        bridge.failed.retain(|failed| failed.settings.name != name);
        bridge.failed.len() < before
    }

    pub(super) fn remove_port(&mut self, bridge: BridgeId, name: &str) -> Option<(PortNo, Port)> {
        let (number, _) = self.port_mut(name)?;
        let port = self.drop_port(number)?;
        let at = self.bridges.get_mut(&bridge)?;
        at.agent.port_status(PortReason::Delete, port.describe());
        Some((number, port))
    }

    /// Gives a port other VLANs, another MTU or administrative state, while packets pass. The
    /// number to open it anew with, where that takes a new device.
    pub(super) fn set_port(
        &mut self,
        bridge: BridgeId,
        settings: config::Port,
    ) -> Result<Option<OfPort>, Failure> {
        if let Some(bridge) = self.bridges.get_mut(&bridge) {
            let mut failed = bridge.failed.iter_mut();
            if let Some(failed) = failed.find(|it| it.settings.name == settings.name) {
                failed.settings = settings;
                return Ok(None);
            }
        }
        let Some((number, port)) = self.port_mut(&settings.name) else {
            return Ok(None);
        };
        let mtu = (settings.mtu != port.settings.mtu).then(|| mtu_of(&settings));
        if let (Some(device), Some(mtu)) = (&mut port.device, mtu.filter(|mtu| *mtu > 0))
            && port.fault.is_none()
        {
            let set = device.set_mtu(mtu);
            if !set.map_err(|error| Failure(error.to_string()))? {
                return Ok(Some(port.of_port));
            }
        }
        let up = settings.admin_up;
        let is_other = up != port.settings.admin_up;
        let vlan = vlan_mode(&settings.vlan);
        let name = settings.name.clone();
        port.settings = settings;
        self.underlay.look();
        self.switch.set_vlan_mode(number, vlan);
        match is_other {
            true => self.set_admin(&name, up).map(|()| None),
            false => Ok(None),
        }
    }

    /// Takes a port up or down, its netdev with it, whatever it is now.
    pub(super) fn set_admin(&mut self, name: &str, up: bool) -> Result<(), Failure> {
        let Some((number, port)) = self.port_mut(name) else {
            return Ok(());
        };
        if let Some(device) = &mut port.device
            && let Err(error) = device.set_admin_up(up)
            && port.fault.is_none()
        {
            return Err(Failure(error.to_string()));
        }
        let before = port.config;
        port.config.port_down = !up;
        let config = port.config;
        self.switch.set_port_config(number, config);
        if before != config {
            self.tell_link(number);
        }
        Ok(())
    }

    fn port_mut(&mut self, name: &str) -> Option<(PortNo, &mut Port)> {
        let mut ports = self.ports.iter_mut();
        let found = ports.find(|(_, port)| port.settings.name == name)?;
        Some((*found.0, found.1))
    }

    /// A patch port's link is up while its peer is there and names it.
    pub fn check_patches(&mut self) {
        let state = self.switch.state();
        let mut changed = Vec::new();
        for (number, port) in &mut self.ports {
            let up = state.port(*number).is_some_and(|port| port.peer.is_some());
            if port.settings.kind == PortKind::Patch && port.is_announced && port.link.up != up {
                port.link.up = up;
                changed.push(*number);
            }
        }
        changed
            .into_iter()
            .for_each(|number| self.tell_link(number));
    }

    /// Notes a port that does not work; whether that or the reason is news.
    pub(super) fn note_failed(&mut self, bridge: BridgeId, mut failed: FailedPort) -> bool {
        failed.number = self.number_for(bridge, &failed.settings, failed.number);
        let Some(bridge) = self.bridges.get_mut(&bridge) else {
            return false;
        };
        let same = |it: &&mut FailedPort| it.settings.name == failed.settings.name;
        match bridge.failed.iter_mut().find(same) {
            Some(before) => {
                std::mem::replace(&mut before.error, failed.error.clone()) != failed.error
            }
            None => {
                bridge.failed.push(failed);
                true
            }
        }
    }

    /// Ports whose device is gone for good.
    pub(super) fn lost_ports(&self) -> Vec<(BridgeId, config::Port, OfPort)> {
        let ports = self.ports.values();
        let lost = ports.filter(|port| port.fault == Some(Fault::Removed));
        let what = |port: &Port| (port.bridge, port.settings.clone(), port.of_port);
        lost.map(what).collect()
    }

    pub(super) fn failed_ports(&self) -> Vec<(BridgeId, FailedPort)> {
        let ports = self.bridges.iter();
        let ports = ports.flat_map(|(id, bridge)| bridge.failed.iter().map(|it| (*id, it.clone())));
        ports.collect()
    }
}

fn fail_mode(mode: config::FailMode) -> pipeline::FailMode {
    match mode {
        config::FailMode::Standalone => pipeline::FailMode::Standalone,
        config::FailMode::Secure => pipeline::FailMode::Secure,
    }
}

fn vlan_mode(vlan: &Vlan) -> VlanMode {
    match vlan {
        Vlan::All => VlanMode::default(),
        Vlan::Access(tag) => VlanMode::Access(*tag),
        Vlan::Trunks(trunks) => VlanMode::Trunk(trunks.clone().into()),
    }
}
