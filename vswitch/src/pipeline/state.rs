//! What the control thread publishes and workers read: immutable, sharing its parts with the
//! states before and after it.

use std::collections::BTreeSet;
use std::sync::Arc;

use flowtable::{Changed, FlowMask, Rows, TlvTable};
use imbl::{HashMap, HashSet, OrdMap};
use openflow::{GroupId, MeterId, OfPort, TableId};

use super::instruction_list::InstructionList;
use super::table::Tables;
use super::{BridgePort, Group, MacEntry, Meter, Table, Underlay};
use crate::action::{BridgeId, PortNo};

/// Everything that translation asks for.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) epoch: u64,
    pub(super) bridges: OrdMap<BridgeId, Arc<Bridge>>,
    pub(super) ports: OrdMap<PortNo, Arc<BridgePort>>,
    pub(super) changes: Changed,
    pub(super) underlay: Arc<Underlay>,
    pub(super) collectors: Arc<BTreeSet<u32>>,
}

impl State {
    /// Number of the state: another one whenever anything in it is another.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What changed lately: whether what was decided at an older epoch still holds.
    pub fn changes(&self) -> &Changed {
        &self.changes
    }

    /// A bridge.
    pub fn bridge(&self, id: BridgeId) -> Option<&Arc<Bridge>> {
        self.bridges.get(&id)
    }

    /// The network that tunnels go through.
    pub fn underlay(&self) -> &Arc<Underlay> {
        &self.underlay
    }

    /// Whether there are collectors by this number of their set.
    pub fn has_collectors(&self, set: u32) -> bool {
        self.collectors.contains(&set)
    }

    /// All bridges, by number.
    pub fn bridges(&self) -> impl Iterator<Item = &Arc<Bridge>> {
        self.bridges.values()
    }

    /// A port.
    pub fn port(&self, number: PortNo) -> Option<&Arc<BridgePort>> {
        self.ports.get(&number)
    }

    /// The bits of the key that decide what happens to packets that come in by a port.
    pub fn entry_mask(&self, port: PortNo) -> Option<&Arc<FlowMask>> {
        let port = self.ports.get(&port)?;
        Some(&self.bridges.get(&port.bridge)?.entry_mask)
    }

    /// The same for packets that are taken out of a tunnel whose port this is.
    pub fn tunnel_mask(&self, port: PortNo) -> Option<&Arc<FlowMask>> {
        let port = self.ports.get(&port)?;
        Some(&self.bridges.get(&port.bridge)?.tunnel_mask)
    }
}

/// A bridge.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Number.
    pub id: BridgeId,
    /// Name.
    pub name: String,
    /// What happens without a controller.
    pub fail_mode: FailMode,
    /// Whether every packet is treated by NORMAL, because `fail_mode` says so and no controller
    /// is there.
    pub standalone: bool,
    /// Whether a controller wants packets whose time to live ended.
    pub wants_invalid_ttl: bool,
    /// Whether IP fragments are dropped as they come in.
    pub drops_fragments: bool,
    /// Ports behind which the switch itself answers for addresses.
    pub(super) endpoints: u32,
    pub(super) tables: Tables,
    /// What flows do, by the number that a flow has of it.
    pub(super) instructions: InstructionList,
    /// Counters of flows.
    pub(super) flow_rows: Arc<Rows>,
    pub(super) groups: OrdMap<GroupId, Arc<Group>>,
    pub(super) meters: OrdMap<MeterId, Arc<Meter>>,
    pub(super) ports: OrdMap<OfPort, Arc<BridgePort>>,
    pub(super) macs: HashMap<(u16, u64), MacEntry>,
    /// Tables and cookies of which there are as many flows as packets may make.
    pub(super) exhausted: HashSet<(TableId, u64)>,
    /// Which Geneve options are which `tun_metadata` fields.
    pub tlvs: Arc<TlvTable>,
    pub(super) entry_mask: Arc<FlowMask>,
    pub(super) tunnel_mask: Arc<FlowMask>,
    pub(super) point_mask: Arc<FlowMask>,
    /// At a recirculation point that actions of a controller's lead to.
    pub(super) handed_mask: Arc<FlowMask>,
}

impl Bridge {
    /// The bridge itself if it has endpoints.
    pub fn answers(&self) -> Option<BridgeId> {
        (self.endpoints > 0).then_some(self.id)
    }

    /// A table, if it was ever used.
    pub fn table(&self, id: TableId) -> Option<&Arc<Table>> {
        self.tables.get(id)
    }

    /// A group.
    pub fn group(&self, id: GroupId) -> Option<&Arc<Group>> {
        self.groups.get(&id)
    }

    /// A meter.
    pub fn meter(&self, id: MeterId) -> Option<&Arc<Meter>> {
        self.meters.get(&id)
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// How many meters there are.
    pub fn meter_count(&self) -> usize {
        self.meters.len()
    }

    /// A port by its OpenFlow number.
    pub fn port(&self, number: OfPort) -> Option<&Arc<BridgePort>> {
        self.ports.get(&number)
    }

    /// Ports in order of their OpenFlow numbers.
    pub fn ports(&self) -> impl Iterator<Item = &Arc<BridgePort>> {
        self.ports.values()
    }

    /// Learned addresses with their VLANs.
    pub fn macs(&self) -> impl Iterator<Item = (u16, u64, &MacEntry)> {
        self.macs
            .iter()
            .map(|((vlan, mac), entry)| (*vlan, *mac, entry))
    }
}

/// What a bridge does without a controller (OpenFlow 1.3.5 §6.3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailMode {
    /// Every packet is treated by NORMAL.
    #[default]
    Standalone,
    /// The flows that are there go on.
    Secure,
}
