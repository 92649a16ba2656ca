//! Port modification (OpenFlow 1.3.5 §7.3.4.3).

use std::collections::BTreeMap;

use openflow::{ErrorCode, PortConfig, PortFeatures, PortMod, PortReason};

use super::{Agent, Ports, Turn};
use crate::action::{BridgeId, PortNo};
use crate::pipeline::Switch;

impl Agent {
    /// Configures a port.
    pub(super) fn port_mod(
        &mut self,
        turn: &mut Turn<'_>,
        change: &PortMod,
    ) -> Result<(), ErrorCode> {
        let pending = BTreeMap::new();
        let (number, config) = configured(self.bridge, turn.switch, turn.ports, &pending, change)?;
        turn.switch.set_port_config(number, config);
        let is_asked_again = change.mask.port_down
            && turn.ports.get(&number).map(|port| port.config) == Some(config);
        if is_asked_again && let Some(port) = turn.ports.get_mut(&number) {
            // Somebody else may have taken the netdev down or up.
            port.enforce_admin();
        }
        self.take_port_config(turn, number, config);
        Ok(())
    }

    /// Hands a port's configuration down to its device and tells of it, and of what becomes of the
    /// link by it, if anything is another.
    pub(super) fn take_port_config(
        &mut self,
        turn: &mut Turn<'_>,
        number: PortNo,
        config: PortConfig,
    ) {
        let Some(port) = turn.ports.get_mut(&number) else {
            return;
        };
        let is_other = port.config != config;
        port.set_config(config);
        let is_link_other = port.poll();
        if is_link_other {
            turn.switch.set_link(number, port.link.up);
        }
        if is_other || is_link_other {
            let description = port.describe();
            self.port_status(PortReason::Modify, description);
        }
    }
}

/// Which port a modification is about, and its configuration then; `pending` are changes that
/// come before it but are not made yet.
pub(super) fn configured(
    bridge: BridgeId,
    switch: &Switch,
    ports: &Ports,
    pending: &BTreeMap<PortNo, PortConfig>,
    change: &PortMod,
) -> Result<(PortNo, PortConfig), ErrorCode> {
    let bridge = switch.state().bridge(bridge);
    let number = bridge.and_then(|bridge| Some(bridge.port(change.port)?.number));
    let number = number.ok_or(ErrorCode::PORT_MOD_FAILED_BAD_PORT)?;
    let port = ports
        .get(&number)
        .ok_or(ErrorCode::PORT_MOD_FAILED_BAD_PORT)?;
    if change.mac != port.mac {
        return Err(ErrorCode::PORT_MOD_FAILED_BAD_HW_ADDR);
    }
    if change.advertise != PortFeatures::default() {
        return Err(ErrorCode::PORT_MOD_FAILED_BAD_ADVERTISE);
    }
    let old = pending.get(&number).copied().unwrap_or(port.config);
    Ok((number, merge(old, change)))
}

fn merge(old: PortConfig, change: &PortMod) -> PortConfig {
    let pick = |mask: bool, new: bool, old: bool| if mask { new } else { old };
    let (mask, new) = (change.mask, change.config);
    PortConfig {
        port_down: pick(mask.port_down, new.port_down, old.port_down),
        no_receive: pick(mask.no_receive, new.no_receive, old.no_receive),
        no_forward: pick(mask.no_forward, new.no_forward, old.no_forward),
        no_packet_in: pick(mask.no_packet_in, new.no_packet_in, old.no_packet_in),
    }
}
