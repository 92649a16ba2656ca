//! Port modification and queue configuration (OpenFlow 1.3.5 §7.3.4.3, §7.3.6).

use openflow::{ErrorCode, OfPort, PortConfig, PortFeatures, PortMod, PortReason};

use super::{Agent, Turn};

impl Agent {
    /// Configures a port.
    pub(super) fn port_mod(
        &mut self,
        turn: &mut Turn<'_>,
        change: &PortMod,
    ) -> Result<(), ErrorCode> {
        let number = turn.port(self.bridge, change.port);
        let number = number.ok_or(ErrorCode::PORT_MOD_FAILED_BAD_PORT)?;
        let port = turn
            .ports
            .get_mut(&number)
            .ok_or(ErrorCode::PORT_MOD_FAILED_BAD_PORT)?;
        if change.mac != port.mac {
            return Err(ErrorCode::PORT_MOD_FAILED_BAD_HW_ADDR);
        }
        if change.advertise != PortFeatures::default() {
            return Err(ErrorCode::PORT_MOD_FAILED_BAD_ADVERTISE);
        }
        let config = merge(port.config, change);
        if config != port.config {
            port.set_config(config);
            turn.switch.set_port_config(number, config);
            let description = port.describe();
            self.port_status(PortReason::Modify, description);
        }
        Ok(())
    }

    /// A port whose queues may be asked for: one that is there, or any.
    pub(super) fn check_queue_port(&self, turn: &Turn<'_>, port: OfPort) -> Result<(), ErrorCode> {
        match port == OfPort::ANY || turn.port(self.bridge, port).is_some() {
            true => Ok(()),
            false => Err(ErrorCode::QUEUE_OP_FAILED_BAD_PORT),
        }
    }
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
