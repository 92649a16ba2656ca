//! Methods that show bridges, ports, controllers and learned addresses.

use std::sync::atomic::Ordering;

use openflow::Role;
use serde_json::{Value, json};

use super::super::actor::Actor;
use super::super::bridge::{Bridge, Controller, FailedPort};
use super::super::config::{self, PortKind, Vlan};
use super::super::identity::mac_text;
use super::super::ports::Port;
use super::params::{self, Params};
use super::{CallError, Service};
use crate::action::BridgeId;

impl Service {
    pub(super) async fn show(&self, params: Params) -> Result<Value, CallError> {
        let params: params::Of = params.read()?;
        let bridges = self.bridges_json(params.bridge.as_deref()).await?;
        let file = self
            .configurator
            .lock()
            .await
            .file()
            .path()
            .map(|path| path.to_owned());
        let facts = &self.facts;
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_s": facts.started.elapsed().as_secs(),
            "run_dir": facts.run_dir,
            "config_file": file,
            "hugepages": facts.hugepages,
            "memory_mib": facts.memory_mib,
            "worker_cpus": facts.worker_cpus,
            "bridges": bridges,
        }))
    }

    pub(super) async fn port_list(&self, params: Params) -> Result<Value, CallError> {
        let params: params::Of = params.read()?;
        let show = |actor: &Actor, id| Value::Array(actor.ports_json(id));
        let bridges = self.each(params.bridge.as_deref(), show).await?;
        Ok(json!({ "ports": flatten(bridges) }))
    }

    pub(super) async fn controller_list(&self, params: Params) -> Result<Value, CallError> {
        let params: params::Of = params.read()?;
        self.controllers_json(params.bridge.as_deref()).await
    }

    pub(super) async fn controllers_json(&self, of: Option<&str>) -> Result<Value, CallError> {
        let show = |actor: &Actor, id| Value::Array(actor.controllers_json(id));
        Ok(json!({ "controllers": flatten(self.each(of, show).await?) }))
    }

    pub(super) async fn bridge_json(&self, name: &str) -> Result<Value, CallError> {
        let bridges = self.bridges_json(Some(name)).await?;
        Ok(bridges.into_iter().next().unwrap_or_default())
    }

    async fn bridges_json(&self, of: Option<&str>) -> Result<Vec<Value>, CallError> {
        self.each(of, Actor::bridge_json).await
    }

    pub(super) async fn port_json(&self, name: &str) -> Result<Value, CallError> {
        let show = |actor: &Actor, id| Value::Array(actor.ports_json(id));
        let ports = flatten(self.each(None, show).await?);
        let port = ports.into_iter().find(|port| port["name"] == *name);
        Ok(port.unwrap_or_default())
    }

    /// Shows one bridge or all, in the order of the configuration.
    pub(super) async fn each(
        &self,
        of: Option<&str>,
        show: impl Fn(&Actor, BridgeId) -> Value + Send + 'static,
    ) -> Result<Vec<Value>, CallError> {
        let of = of.map(str::to_owned);
        let shown = self.handle.with(move |actor| {
            let wanted: Vec<_> = match &of {
                Some(name) => vec![actor.find_bridge(name)?],
                None => actor.bridges.keys().copied().collect(),
            };
            Ok(wanted.into_iter().map(|id| show(actor, id)).collect())
        });
        shown.await?
    }

    pub(super) async fn mac_dump(&self, params: Params) -> Result<Value, CallError> {
        let params: params::OfBridge = params.read()?;
        self.datapath.flush_counters().await;
        let entries = self.handle.with(move |actor| {
            let id = actor.find_bridge(&params.bridge)?;
            Ok::<_, CallError>(actor.macs_json(id))
        });
        Ok(json!({ "entries": entries.await?? }))
    }

    pub(super) async fn mac_flush(&self, params: Params) -> Result<Value, CallError> {
        let params: params::OfBridge = params.read()?;
        let flushed = self.handle.with(move |actor| {
            let id = actor.find_bridge(&params.bridge)?;
            Ok::<_, CallError>(actor.switch.flush_macs(id))
        });
        Ok(json!({ "flushed": flushed.await?? }))
    }
}

impl Actor {
    /// A bridge by name, or the error that names those there are.
    pub(super) fn find_bridge(&self, name: &str) -> Result<BridgeId, CallError> {
        let known = || {
            self.bridges
                .values()
                .map(|bridge| bridge.settings.name.clone())
                .collect()
        };
        self.bridge_id(name)
            .ok_or_else(|| CallError::no_such_bridge(name, known()))
    }

    fn bridge_json(&self, id: BridgeId) -> Value {
        let Some(bridge) = self.bridges.get(&id) else {
            return Value::Null;
        };
        let listeners: Vec<_> = bridge
            .settings
            .listeners
            .iter()
            .map(ToString::to_string)
            .collect();
        let tables = self.switch.table_stats(id);
        let flows: u64 = tables.iter().map(|table| u64::from(table.active)).sum();
        let state = self.switch.state().bridge(id);
        json!({
            "name": bridge.settings.name,
            "datapath_id": format!("{:016x}", bridge.agent.identity.datapath_id),
            "fail_mode": bridge.settings.fail_mode.label(),
            "listeners": listeners,
            "listener_errors": bridge.listener_errors,
            "controllers": self.controllers_json(id),
            "ports": self.ports_json(id),
            "flows": flows,
            "groups": state.map_or(0, |bridge| bridge.group_count()),
            "meters": state.map_or(0, |bridge| bridge.meter_count()),
            "macs": state.map_or(0, |bridge| bridge.macs().count()),
        })
    }

    fn ports_json(&self, id: BridgeId) -> Vec<Value> {
        let Some(bridge) = self.bridges.get(&id) else {
            return Vec::new();
        };
        let name = &bridge.settings.name;
        let mut ports: Vec<_> = self
            .ports
            .values()
            .filter(|port| port.bridge == id)
            .collect();
        ports.sort_by_key(|port| port.of_port);
        let working = ports.into_iter().map(|port| {
            let mut shown = port_json(name, port);
            shown["error"] = json!(self.port_error(port));
            shown
        });
        let failed = bridge.failed.iter().map(|port| failed_json(name, port));
        working.chain(failed).collect()
    }

    /// Why a port that is there passes nothing.
    fn port_error(&self, port: &Port) -> Option<String> {
        let peer = port.settings.options.get("peer");
        let Some(peer) = peer.filter(|_| port.settings.kind == PortKind::Patch) else {
            return port.fault.map(|fault| fault.to_string());
        };
        let mut ports = self.ports.values();
        let Some(other) = ports.find(|other| other.settings.name == *peer) else {
            return Some(format!(
                "there is no port \"{peer}\" to be its other end yet"
            ));
        };
        match other.settings.options.get("peer") {
            _ if other.settings.kind != PortKind::Patch => {
                let kind = other.settings.kind.label();
                Some(format!(
                    "its other end \"{peer}\" is of type {kind}, not patch"
                ))
            }
            Some(back) if *back != port.settings.name => Some(format!(
                "its other end \"{peer}\" has another peer, \"{back}\""
            )),
            _ => None,
        }
    }

    fn controllers_json(&self, id: BridgeId) -> Vec<Value> {
        let Some(bridge) = self.bridges.get(&id) else {
            return Vec::new();
        };
        let now_ms = self.clock.now_ms();
        let show = |controller| controller_json(bridge, controller, now_ms);
        bridge.controllers.values().map(show).collect()
    }

    fn macs_json(&self, id: BridgeId) -> Vec<Value> {
        let Some(bridge) = self.switch.state().bridge(id) else {
            return Vec::new();
        };
        let now_s = self.clock.now_ms() / 1000;
        let mut macs: Vec<_> = bridge.macs().collect();
        macs.sort_by_key(|(vlan, mac, _)| (*vlan, *mac));
        let show = |(vlan, mac, entry): (u16, u64, &crate::pipeline::MacEntry)| {
            let port = self.ports.get(&entry.port)?;
            let [_, _, mac @ ..] = mac.to_be_bytes();
            let heard_s = u64::from(entry.heard.0.load(Ordering::Relaxed));
            Some(json!({
                "port": port.settings.name,
                "number": port.of_port.0,
                "vlan": vlan,
                "mac": mac_text(mac),
                "age_s": now_s.saturating_sub(heard_s),
            }))
        };
        macs.into_iter().filter_map(show).collect()
    }
}

fn port_json(bridge: &str, port: &Port) -> Value {
    let mut shown = settings_json(bridge, &port.settings);
    let device = port.device.as_ref();
    shown["number"] = json!(port.of_port.0);
    shown["mtu"] = json!(
        device
            .map(pmd::PortControl::mtu)
            .or(port.settings.mtu)
            .unwrap_or(MTU_DEFAULT)
    );
    shown["mac"] = json!(mac_text(port.mac));
    shown["admin_up"] = json!(!port.config.port_down);
    shown["link_up"] = json!(port.link.up);
    shown["speed_mbps"] = json!((port.link.speed_mbps > 0).then_some(port.link.speed_mbps));
    shown["status"] = json!(device.map(pmd::PortControl::status).unwrap_or_default());
    shown
}

fn failed_json(bridge: &str, port: &FailedPort) -> Value {
    let mut shown = settings_json(bridge, &port.settings);
    shown["number"] = json!(port.number.map(|number| number.0));
    shown["error"] = json!(port.error);
    shown
}

/// What the configuration says of a port, and nothing else yet.
fn settings_json(bridge: &str, port: &config::Port) -> Value {
    let (tag, trunks) = match &port.vlan {
        Vlan::All => (None, &[][..]),
        Vlan::Access(tag) => (Some(*tag), &[][..]),
        Vlan::Trunks(trunks) => (None, &trunks[..]),
    };
    json!({
        "bridge": bridge,
        "name": port.name,
        "number": null,
        "type": port.kind.label(),
        "options": port.options,
        "tag": tag,
        "trunks": trunks,
        "mtu": port.mtu.unwrap_or(MTU_DEFAULT),
        "mac": null,
        "admin_up": port.admin_up,
        "link_up": false,
        "speed_mbps": null,
        "status": {},
        "error": null,
    })
}

fn controller_json(bridge: &Bridge, controller: &Controller, now_ms: u64) -> Value {
    let role = match bridge.role(controller) {
        Role::Master => "master",
        Role::Slave => "slave",
        Role::Equal | Role::NoChange => "equal",
    };
    let dropped = bridge.dropped(controller);
    json!({
        "bridge": bridge.settings.name,
        "target": controller.target.to_string(),
        "connected": controller.peer.is_some(),
        "role": role,
        "since_s": now_ms.saturating_sub(controller.since_ms) / 1000,
        "error": controller.error,
        "notices_dropped": dropped.notices,
        "packet_ins_dropped": dropped.packet_ins,
    })
}

/// What a port without a device, or whose device is not there, would have.
const MTU_DEFAULT: u16 = 1500;

/// One list of all.
pub(super) fn flatten(lists: Vec<Value>) -> Vec<Value> {
    let items = |list| match list {
        Value::Array(items) => items,
        other => vec![other],
    };
    lists.into_iter().flat_map(items).collect()
}
