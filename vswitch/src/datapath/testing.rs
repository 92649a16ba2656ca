//! One EAL for all unit tests of this crate, in ordinary memory, and a switch of one bridge to
//! test the packet path with.

use std::sync::{Arc, OnceLock};

use openflow::{
    Action, FlowModCommand, FlowStatsRequest, GroupModCommand, Instructions, MeterModCommand,
    OfPort, text,
};
use pmd::{Batch, Eal, EalConfig, Packet, Pools, PoolsConfig};

use super::{Event, Events, Held, Now, Outlet, PacketOut, Processor};
use crate::action::{BridgeId, PortNo};
use crate::pipeline::{BridgeSpec, FailMode, PortSpec, Switch, VlanMode};

/// Pools of a test's own, so that it can count their buffers.
pub(crate) fn pools() -> Pools {
    static EAL: OnceLock<Eal> = OnceLock::new();
    let eal = EAL.get_or_init(|| {
        Eal::start(EalConfig {
            // Pools are never given back: this is what those of all tests take, where touched.
            memory_mib: 3072,
            args: vec!["--no-huge".to_string()],
            ..EalConfig::default()
        })
        .unwrap()
    });
    let config = PoolsConfig {
        worker_cpus: vec![0],
        small: 1024,
        large: 32,
    };
    Pools::new(eal, &config).unwrap()
}

/// A switch with one bridge, its ports numbered from 1.
pub(crate) struct Bridge {
    pub switch: Switch,
    pub id: BridgeId,
    pub ports: Vec<PortNo>,
}

impl Bridge {
    pub fn new(ports: u32) -> Bridge {
        let mut switch = Switch::new();
        let spec = BridgeSpec {
            name: "br".into(),
            fail_mode: FailMode::Secure,
            ..BridgeSpec::default()
        };
        let id = switch.add_bridge(&spec).unwrap();
        let mut bridge = Bridge {
            switch,
            id,
            ports: Vec::new(),
        };
        for number in 1..=ports {
            bridge.add_port(number);
        }
        bridge
    }

    pub fn add_port(&mut self, number: u32) -> PortNo {
        let spec = PortSpec {
            name: format!("p{number}"),
            of_port: Some(OfPort(number)),
            vlan: VlanMode::default(),
            peer_name: None,
            tunnel: None,
        };
        let (port, _) = self.switch.add_port(self.id, &spec).unwrap();
        self.switch.set_link(port, true);
        self.ports.push(port);
        port
    }

    /// Datapath number of an OpenFlow port.
    pub fn port(&self, number: u32) -> PortNo {
        let bridge = self.switch.state().bridge(self.id).unwrap();
        bridge.port(OfPort(number)).unwrap().number
    }

    /// OpenFlow number of a port.
    pub fn number(&self, port: PortNo) -> OfPort {
        self.switch.state().port(port).unwrap().of_port
    }

    pub fn flow(&mut self, line: &str) {
        let change = text::flow::parse(line, FlowModCommand::Add).unwrap();
        self.switch.flow_mod(self.id, &change, 0).unwrap();
    }

    pub fn group(&mut self, line: &str) {
        let change = text::group::parse(line, GroupModCommand::Add).unwrap();
        self.switch.group_mod(self.id, &change, 0).unwrap();
    }

    pub fn meter(&mut self, line: &str) {
        let change = text::meter::parse(line, MeterModCommand::Add).unwrap();
        self.switch.meter_mod(self.id, &change, 0).unwrap();
    }

    /// Packets and bytes of all flows.
    pub fn counted(&self) -> (u64, u64) {
        let all = FlowStatsRequest::default();
        let counts = self
            .switch
            .flows(self.id, &all)
            .map(|it| it.counters.read());
        counts.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
    }

    pub fn packet_out(&self, in_port: OfPort, actions: &str, frame: &[u8]) -> PacketOut {
        let line = format!("actions={actions}");
        let flow = text::flow::parse(&line, FlowModCommand::Add).unwrap();
        let Instructions { apply, .. } = flow.instructions;
        let actions: Arc<[Action]> = apply.map(|actions| actions.as_ref().into()).unwrap();
        PacketOut {
            bridge: self.id,
            in_port,
            actions,
            frame: frame.to_vec(),
            resumed: None,
        }
    }
}

/// A processor whose ports capture.
pub(crate) struct Rig {
    pub bridge: Bridge,
    pub pools: Pools,
    pub processor: Processor,
    connections: Arc<flowtable::conntrack::Table>,
    pub held: Arc<Held>,
    pub events: Events,
    pub now: Now,
}

impl Rig {
    /// A bridge with so many ports and these flows.
    pub fn new(ports: u32, flows: &[&str]) -> Rig {
        let mut bridge = Bridge::new(ports);
        flows.iter().for_each(|line| bridge.flow(line));
        let pools = pools();
        let state = bridge.switch.publish();
        let (mut processor, events) = Processor::new(&pools, 1024, state).unwrap();
        let connections = flowtable::conntrack::Table::new(1024, 7, |_, _| ());
        let (connections, held) = (Arc::new(connections.unwrap()), Arc::default());
        processor.track_in(&connections, &held);
        for port in &bridge.ports {
            processor.add_outlet(*port, Outlet::Capture(Vec::new()));
        }
        Rig {
            bridge,
            pools,
            processor,
            connections,
            held,
            events,
            now: Now { ns: 5_000_000_000 },
        }
    }

    /// Tracks in the tables of another, as another of its workers.
    pub fn share(&mut self, other: &Rig) {
        self.connections = Arc::clone(&other.connections);
        self.held = Arc::clone(&other.held);
        self.processor.track_in(&self.connections, &self.held);
    }

    pub fn publish(&mut self) {
        let state = self.bridge.switch.publish();
        self.processor.set_state(state);
    }

    /// Lets frames in by a port, in batches.
    pub fn receive(&mut self, in_port: u32, frames: &[Vec<u8>]) {
        let port = self.bridge.port(in_port);
        for frames in frames.chunks(pmd::BATCH_MAX) {
            let mut batch = Batch::new();
            for frame in frames {
                let packet = Packet::from_bytes(&self.pools, frame).unwrap();
                batch.push(packet).unwrap();
            }
            self.processor.process(port, &mut batch, self.now);
            assert!(batch.is_empty());
        }
        self.processor.flush();
    }

    /// What left by a port since the last call.
    pub fn sent(&mut self, port: u32) -> Vec<Vec<u8>> {
        let port = self.bridge.port(port);
        let packets = self.processor.captured(port);
        packets
            .iter()
            .map(|packet| packet.data().to_vec())
            .collect()
    }

    pub fn drops(&mut self, port: u32) -> Vec<(&'static str, u64)> {
        let port = self.bridge.port(port);
        let drops = self.processor.drops(Some(port));
        let counted = drops.iter().filter(|(_, count)| *count > 0);
        counted
            .map(|(reason, count)| (reason.label(), count))
            .collect()
    }

    /// Packets and bytes of all flows, cached ones with them.
    pub fn counted(&mut self) -> (u64, u64) {
        self.processor.flush_counters();
        self.bridge.counted()
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_receive()).collect()
    }
}
