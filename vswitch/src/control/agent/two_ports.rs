//! A bridge with ports 1 (`a`) and 2 (`b`), for rehearsals and tests.

use super::super::config;
use super::super::ports::{Port, Ports};
use super::{Agent, Identity};
use crate::pipeline::{BridgeSpec, PortSpec, Switch, VlanMode};

/// The bridge and all that is there beside it.
#[derive(Debug)]
pub struct TwoPorts {
    /// The switch.
    pub switch: Switch,
    /// Its ports.
    pub ports: Ports,
    /// The bridge's OpenFlow side.
    pub agent: Agent,
}

impl TwoPorts {
    /// Without flows and peers.
    pub fn new(spec: BridgeSpec) -> TwoPorts {
        let mut switch = Switch::new();
        let name = String::from("br0");
        let spec = BridgeSpec {
            name: name.clone(),
            ..spec
        };
        let bridge = switch.add_bridge(&spec).expect("the first bridge");
        let mut ports = Ports::new();
        for name in ["a", "b"] {
            let spec = PortSpec {
                name: name.into(),
                of_port: None,
                vlan: VlanMode::default(),
                peer_name: None,
                tunnel: None,
            };
            let (number, of_port) = switch.add_port(bridge, &spec).expect("a port");
            ports.insert(number, Port::bare(name, bridge, of_port));
        }
        let identity = Identity {
            name,
            datapath_id: 42,
            description: config::Description::default(),
        };
        TwoPorts {
            switch,
            ports,
            agent: Agent::new(bridge, identity),
        }
    }
}
