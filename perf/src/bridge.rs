//! A bridge with the rules of a scenario and nothing drawn by chance, and its packet path, for
//! programs that measure parts of the switch within themselves.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use flowtable::{FlowKey, conntrack};
use openflow::{FlowModCommand, GroupModCommand, MeterModCommand, OfPort, text};
use pmd::{Batch, Packet, Pools, PortConfig, PortKind, TxQueue};
use vswitch::action::{BridgeId, PortNo};
use vswitch::datapath::{Events, Outlet, Processor};
use vswitch::pipeline::{BridgeSpec, FailMode, PortSpec, Switch, VlanMode};

use crate::judge::scenario::Rules;

/// A switch of one bridge with ports 1, 2 and 3.
pub struct Bridge {
    /// The switch.
    pub switch: Switch,
    /// Its bridge.
    pub id: BridgeId,
    /// Its ports, the first first.
    pub ports: Vec<PortNo>,
    /// What it tracks connections in, if rules ask for that.
    connections: Option<Arc<conntrack::Table>>,
}

impl Bridge {
    /// With these rules.
    pub fn new(rules: &Rules) -> Result<Bridge> {
        Bridge::with_room(rules, CONNECTIONS)
    }

    /// With these rules, and room for so many connections if they track any.
    pub fn with_room(rules: &Rules, connections: usize) -> Result<Bridge> {
        let mut switch = Switch::with_secret(SECRET);
        let id = switch.add_bridge(&BridgeSpec {
            name: "br0".into(),
            fail_mode: FailMode::Secure,
            ..BridgeSpec::default()
        })?;
        let mut ports = Vec::new();
        for number in 1..=3 {
            let spec = PortSpec {
                name: format!("p{number}"),
                of_port: Some(OfPort(number)),
                vlan: VlanMode::default(),
                peer_name: None,
                tunnel: None,
            };
            let (port, _) = switch.add_port(id, &spec)?;
            switch.set_link(port, true);
            ports.push(port);
        }
        let tracks = rules.flows.iter().any(|rule| rule.contains("ct("));
        let mut bridge = Bridge {
            switch,
            id,
            ports,
            connections: tracks.then(|| room_for(connections)).transpose()?,
        };
        bridge.install(rules)?;
        Ok(bridge)
    }

    fn install(&mut self, rules: &Rules) -> Result<()> {
        let Bridge { switch, id, .. } = self;
        for line in &rules.meters {
            let change = text::meter::parse(line, MeterModCommand::Add)?;
            let result = switch.meter_mod(*id, &change, 0);
            result.map_err(|code| anyhow!("{line}: {code:?}"))?;
        }
        for line in &rules.groups {
            let change = text::group::parse(line, GroupModCommand::Add)?;
            let result = switch.group_mod(*id, &change, 0);
            result.map_err(|code| anyhow!("{line}: {code:?}"))?;
        }
        let lines = rules.flows.iter().flat_map(|rule| rule.lines());
        for (number, line) in lines.enumerate() {
            let change = text::flow::parse(line, FlowModCommand::Add).context(line.to_string())?;
            let result = switch.flow_mod(*id, &change, 0);
            result.map_err(|code| anyhow!("{line}: {code:?}"))?;
            if number % PUBLISHED_TOGETHER == 0 {
                switch.publish();
            }
        }
        // As control does, as long as there is something to tidy up.
        while switch.maintain() || switch.is_changed() {
            switch.publish();
        }
        Ok(())
    }

    /// A frame as the switch sees it that comes in by the first port.
    pub fn key(&self, frame: &[u8]) -> FlowKey {
        let mut key = FlowKey {
            entry: self.ports[0].0,
            ..FlowKey::default()
        };
        flowtable::parse(frame, &mut key);
        key
    }

    /// The packet path, whose ports swallow what they are sent.
    pub fn processor(&mut self, pools: &Pools, cache_entries: usize) -> Result<Processor> {
        Ok(self.heard_processor(pools, cache_entries)?.0)
    }

    /// The same with what it has to tell control.
    pub fn heard_processor(
        &mut self,
        pools: &Pools,
        cache_entries: usize,
    ) -> Result<(Processor, Events)> {
        let state = self.switch.publish();
        let (mut processor, events) = Processor::with_secret(pools, cache_entries, SECRET, state)?;
        if let Some(connections) = &self.connections {
            processor.track_in(connections, &Arc::default());
        }
        for port in &self.ports {
            processor.add_outlet(*port, Outlet::Queue(Box::new(swallow(pools)?)));
        }
        Ok((processor, events))
    }
}

fn room_for(connections: usize) -> Result<Arc<conntrack::Table>> {
    let (prepare, vacate) = (pmd::prefer_huge_pages, pmd::vacate);
    let table = conntrack::Table::vacated(connections, SECRET, prepare, vacate);
    let table = table.context("no memory for connections")?;
    Ok(Arc::new(table.fetched_by(pmd::prefetch)))
}

/// The queue of a device that drops what it is sent.
pub fn swallow(pools: &Pools) -> Result<TxQueue> {
    let config = PortConfig {
        name: "null".into(),
        kind: PortKind::Null,
        options: Default::default(),
        mtu: 1500,
        tx_queues: 1,
    };
    let mut opened = pmd::port::open(&config, pools)?;
    opened.tx.pop().context("a null port has a queue")
}

/// Batches of [`COUNTED_TOGETHER`] of these frames, the last of what is left.
pub fn batches(frames: &[Vec<u8>], pools: &Pools) -> Result<Vec<Batch>> {
    let batch = |frames: &[Vec<u8>]| {
        let mut batch = Batch::new();
        for frame in frames {
            let packet = Packet::from_bytes(pools, frame).context("no buffer")?;
            batch
                .push(packet)
                .map_err(|_| anyhow!("the batch is full"))?;
        }
        Ok(batch)
    };
    frames.chunks(COUNTED_TOGETHER).map(batch).collect()
}

/// Packets of a batch where instructions are counted: a device seldom has more at a time.
pub const COUNTED_TOGETHER: usize = 32;
/// What hashes depend on: always the same here, and such that all flows of a case find room in
/// the cache. With one secret of eight a bucket is too full for one flow of a thousand.
pub const SECRET: u64 = 3;
/// More cache entries than a case of so few flows needs.
pub const CACHE_ENTRIES: usize = 1 << 14;
/// More connections than a scenario whose frames repeat has.
pub const CONNECTIONS: usize = 1 << 17;
/// Flows added between two publications, as a controller's come.
const PUBLISHED_TOGETHER: usize = 100;
