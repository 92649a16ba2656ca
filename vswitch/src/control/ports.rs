//! The ports of all bridges as the control task keeps them: the device behind each, its link, and
//! how it is described to controllers.

use std::collections::BTreeMap;
use std::time::Duration;

use openflow::{OfPort, PortConfig, PortDesc, PortFeatures, PortState, PortStats};
use pmd::port::{Drops, Fault, Link, LostReason, PortCounters};
use tracing::{error, warn};

use super::config;
use crate::action::{BridgeId, PortNo};
use crate::pipeline::Crossed;

/// Every port that has a number.
pub type Ports = BTreeMap<PortNo, Port>;

/// A port.
#[derive(Debug)]
pub struct Port {
    /// Its bridge.
    pub bridge: BridgeId,
    /// Its number in OpenFlow.
    pub of_port: OfPort,
    /// As it was configured.
    pub settings: config::Port,
    /// What controllers configured.
    pub config: PortConfig,
    /// The device; a patch port has none.
    pub device: Option<pmd::PortControl>,
    /// What a patch port or an endpoint passed.
    pub crossed: Crossed,
    /// Packets that an endpoint did not take, because there were too many.
    pub refused: u64,
    /// The link as it was last seen.
    pub link: Link,
    /// What has become of the device, as it was last seen.
    pub fault: Option<Fault>,
    /// Ethernet address.
    pub mac: [u8; 6],
    /// When it was added.
    pub created_ms: u64,
    /// Whether controllers know of it: they hear that it changes only after that it came.
    pub is_announced: bool,
}

impl Port {
    /// A port without a device behind it.
    #[cfg(any(test, fuzzing))]
    pub fn bare(name: &str, bridge: BridgeId, of_port: OfPort) -> Port {
        let settings = config::Port {
            name: name.into(),
            number: None,
            kind: config::PortKind::Null,
            options: Default::default(),
            vlan: config::Vlan::All,
            mtu: None,
            admin_up: true,
        };
        Port {
            bridge,
            of_port,
            settings,
            config: PortConfig::default(),
            device: None,
            crossed: Default::default(),
            refused: 0,
            fault: None,
            link: Default::default(),
            mac: [2, 0, 0, 0, 0, 1],
            created_ms: 0,
            is_announced: true,
        }
    }

    /// As controllers see it (OpenFlow 1.3.5 §7.2.1).
    pub fn describe(&self) -> PortDesc {
        let speed_kbps = self.link.speed_mbps.saturating_mul(1000);
        let mode = match self.link.speed_mbps {
            0 => PortFeatures::default(),
            speed => PortFeatures::of_speed(speed, self.link.full_duplex),
        };
        PortDesc {
            number: self.of_port,
            mac: self.mac,
            name: self.settings.name.clone(),
            config: self.config,
            state: PortState {
                link_down: !self.link.up,
                blocked: false,
                live: self.link.up && !self.config.port_down,
            },
            current: mode,
            advertised: PortFeatures::default(),
            supported: PortFeatures::default(),
            peer: PortFeatures::default(),
            speed_kbps,
            speed_kbps_max: speed_kbps,
        }
    }

    /// Packets, bytes and losses of the device; a patch port passes or refuses, and loses nothing.
    /// An endpoint loses what there is too much of.
    pub fn counters(&self) -> PortCounters {
        if let Some(device) = &self.device {
            return device.counters();
        }
        let mut counters = PortCounters::default();
        (counters.rx.packets, counters.rx.bytes, _) = self.crossed.rx.read();
        (counters.tx.packets, counters.tx.bytes, _) = self.crossed.tx.read();
        counters.tx.drops.add(LostReason::Full, self.refused);
        counters
    }

    /// As controllers count it. Counters that no device of ours keeps are all ones.
    pub fn stats(&self, now_ms: u64) -> PortStats {
        let counters = self.counters();
        let (rx, tx) = (&counters.rx, &counters.tx);
        PortStats {
            port: self.of_port,
            rx_packets: rx.packets,
            tx_packets: tx.packets,
            rx_bytes: rx.bytes,
            tx_bytes: tx.bytes,
            rx_dropped: rx.drops.total() - errors(&rx.drops),
            tx_dropped: tx.drops.total() - errors(&tx.drops),
            rx_errors: errors(&rx.drops),
            tx_errors: errors(&tx.drops),
            rx_frame_errors: u64::MAX,
            rx_overrun_errors: u64::MAX,
            rx_crc_errors: u64::MAX,
            collisions: u64::MAX,
            duration: Duration::from_millis(now_ms.saturating_sub(self.created_ms)),
        }
    }

    /// Takes what a controller configured, down to the device.
    pub fn set_config(&mut self, config: PortConfig) {
        let is_other = config.port_down != self.config.port_down;
        self.config = config;
        if is_other {
            self.enforce_admin();
        }
    }

    /// Takes the device up or down as it is configured, whatever it is now.
    pub fn enforce_admin(&mut self) {
        let Some(device) = &mut self.device else {
            return;
        };
        if let Err(error) = device.set_admin_up(!self.config.port_down) {
            warn!(port = self.settings.name, %error, "netdev not taken up or down");
        }
    }

    /// Looks at link, address and health of the device; whether there is a change to be told.
    pub fn poll(&mut self) -> bool {
        if !self.is_announced {
            return false;
        }
        let Some(device) = &self.device else {
            return false;
        };
        let link = device.link();
        let fault = device.fault();
        if let Some(fault) = fault.filter(|fault| self.fault != Some(*fault)) {
            error!(port = self.settings.name, error = %fault, "port does not work");
        }
        self.fault = fault;
        let mac = Some(device.mac()).filter(|mac| *mac != [0; 6] && fault.is_none());
        let mac = mac.unwrap_or(self.mac);
        let before = (self.link, self.mac);
        (self.link, self.mac) = (link, mac);
        before != (link, mac)
    }
}

/// Of the packets lost, those that something was wrong with.
pub fn errors(drops: &Drops) -> u64 {
    drops.of(LostReason::Malformed) + drops.of(LostReason::Device)
}
