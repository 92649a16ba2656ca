//! A port of a bridge, and how it takes part in VLANs.

use std::sync::Arc;

use openflow::{OfPort, PortConfig};

use super::Tunnel;
use crate::action::{BridgeId, Counters, PortNo};

/// A port of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgePort {
    /// Number in the datapath.
    pub number: PortNo,
    /// Number in OpenFlow.
    pub of_port: OfPort,
    /// Its bridge.
    pub bridge: BridgeId,
    /// Name, unique over all bridges.
    pub name: String,
    /// What OpenFlow controllers configured.
    pub config: PortConfig,
    /// Whether there is a carrier.
    pub link_up: bool,
    /// Whether it takes part in flooding.
    pub flood: bool,
    /// How it takes part in VLANs.
    pub vlan: VlanMode,
    /// For a patch port: the name of the port it is tied to.
    pub peer_name: Option<String>,
    /// For a patch port whose peer is there and names this one: the peer.
    pub peer: Option<PortNo>,
    /// Whether the switch itself answers for addresses behind it.
    pub is_endpoint: bool,
    /// For a tunnel port: what it sends and receives.
    pub tunnel: Option<Arc<Tunnel>>,
    /// What a patch port, a tunnel port or an endpoint passed; other ports have a device that
    /// counts.
    pub crossed: Crossed,
}

/// Packets and bytes that came out of a patch port, a tunnel port or an endpoint and that went
/// into it.
#[derive(Clone, Debug, Default)]
pub struct Crossed {
    /// Came out of it into its bridge.
    pub rx: Arc<Counters>,
    /// Went into it from its bridge.
    pub tx: Arc<Counters>,
}

impl PartialEq for Crossed {
    /// Counters are the same only if they are one.
    fn eq(&self, other: &Crossed) -> bool {
        Arc::ptr_eq(&self.rx, &other.rx) && Arc::ptr_eq(&self.tx, &other.tx)
    }
}

impl Eq for Crossed {}

impl BridgePort {
    /// Live as fast failover understands it (`OFPPS_LIVE`).
    pub fn is_live(&self) -> bool {
        !self.config.port_down && self.link_up
    }
}

/// How a port takes part in VLANs; only NORMAL cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VlanMode {
    /// Untagged packets only, in this VLAN.
    Access(u16),
    /// Tagged packets of these VLANs, of all if there are none; VLAN 0 is the untagged.
    Trunk(Box<[u16]>),
    /// A trunk whose untagged packets are in VLAN `tag`, and leave tagged.
    NativeTagged {
        /// The native VLAN.
        tag: u16,
        /// The other VLANs, empty for all.
        trunks: Box<[u16]>,
    },
    /// A trunk whose untagged packets are in VLAN `tag`, and leave untagged.
    NativeUntagged {
        /// The native VLAN.
        tag: u16,
        /// The other VLANs, empty for all.
        trunks: Box<[u16]>,
    },
}

impl VlanMode {
    /// The VLAN of a packet that comes in with VLAN id `vid`, 0 for no tag or a priority tag;
    /// `None` if the port does not let it in.
    pub fn admit(&self, vid: u16) -> Option<u16> {
        match *self {
            VlanMode::Access(tag) => (vid == 0).then_some(tag),
            VlanMode::NativeTagged { tag, .. } | VlanMode::NativeUntagged { tag, .. }
                if vid == 0 =>
            {
                Some(tag)
            }
            _ => self.carries(vid).then_some(vid),
        }
    }

    /// Whether packets of a VLAN leave by the port.
    pub fn carries(&self, vlan: u16) -> bool {
        let listed = |trunks: &[u16]| trunks.is_empty() || trunks.contains(&vlan);
        match self {
            VlanMode::Access(tag) => *tag == vlan,
            VlanMode::Trunk(trunks) => listed(trunks),
            VlanMode::NativeTagged { tag, trunks } | VlanMode::NativeUntagged { tag, trunks } => {
                *tag == vlan || listed(trunks)
            }
        }
    }

    /// Whether they leave with a tag.
    pub fn tags(&self, vlan: u16) -> bool {
        match *self {
            VlanMode::Access(_) => false,
            VlanMode::Trunk(_) | VlanMode::NativeTagged { .. } => vlan != 0,
            VlanMode::NativeUntagged { tag, .. } => vlan != 0 && vlan != tag,
        }
    }
}

impl Default for VlanMode {
    fn default() -> VlanMode {
        VlanMode::Trunk(Box::default())
    }
}

/// What is said of a port when it is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// Name, unique over all bridges.
    pub name: String,
    /// Number in OpenFlow; the lowest free one if left out.
    pub of_port: Option<OfPort>,
    /// How it takes part in VLANs.
    pub vlan: VlanMode,
    /// For a patch port: the name of the port it is tied to.
    pub peer_name: Option<String>,
    /// For a tunnel port: what it sends and receives.
    pub tunnel: Option<Tunnel>,
}
