//! What the writer keeps of a bridge beside the published part: who uses what, and when flows
//! and addresses end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowtable::FlowMask;
use openflow::{Action, GroupId, MeterId, TableId};

use super::addresses::Addresses;
use super::deadlines::Deadlines;
use super::features::Tables;
use super::footprint::{Footprint, lists};
use super::transaction::Entry;
use super::{BridgeSpec, Flow, Group, Overflow};

/// The writer's book on one bridge.
#[derive(Debug)]
pub struct Ledger {
    /// Flows of one table at most.
    pub flows_max: usize,
    /// What becomes of more.
    pub overflow: Overflow,
    /// Groups at most.
    pub groups_max: usize,
    /// Meters at most.
    pub meters_max: usize,
    /// What the flows of each table read.
    pub footprints: BTreeMap<TableId, Footprint>,
    /// What the buckets of all groups read.
    pub group_footprint: Footprint,
    /// Groups with each group that sends to them.
    parents: BTreeSet<(GroupId, GroupId)>,
    /// Flows by group they send to and serial number.
    group_users: BTreeMap<(GroupId, u64), Arc<Flow>>,
    /// Flows by meter and serial number.
    meter_users: BTreeMap<(MeterId, u64), Arc<Flow>>,
    /// Flows with a timeout, by serial number; times in milliseconds.
    pub timeouts: Deadlines<u64, Arc<Flow>>,
    /// Learned addresses.
    pub addresses: Addresses,
    /// What the bridge's own flows and groups match and read.
    pub own_mask: FlowMask,
    /// Whether that has to be computed again.
    pub mask_stale: bool,
    /// Which tables are there, and what they can do.
    pub tables: Tables,
    /// Configuration of tables that have one.
    pub table_configs: BTreeMap<TableId, u32>,
    /// What a transaction did so far, while one runs.
    pub(super) journal: Option<Vec<Entry>>,
}

impl Ledger {
    /// The book on a bridge without flows.
    pub fn new(spec: &BridgeSpec) -> Ledger {
        Ledger {
            flows_max: spec.flows_max,
            overflow: spec.overflow,
            groups_max: spec.groups_max,
            meters_max: spec.meters_max,
            footprints: BTreeMap::new(),
            group_footprint: Footprint::default(),
            parents: BTreeSet::new(),
            group_users: BTreeMap::new(),
            meter_users: BTreeMap::new(),
            timeouts: Deadlines::default(),
            addresses: Addresses::new(spec.macs_max, spec.mac_age_s),
            own_mask: FlowMask::default(),
            mask_stale: true,
            tables: Tables::default(),
            table_configs: BTreeMap::new(),
            journal: None,
        }
    }

    /// Enters a flow.
    pub fn enter(&mut self, flow: &Arc<Flow>) {
        self.note(|| Entry::Flow(flow.clone()));
        self.mask_stale = true;
        let footprint = self.footprints.entry(flow.table).or_default();
        footprint.add(&flow.instructions);
        for group in groups(flow) {
            self.group_users.insert((group, flow.serial), flow.clone());
        }
        if let Some(meter) = flow.instructions.meter {
            self.meter_users.insert((meter, flow.serial), flow.clone());
        }
        if let Some(deadline) = flow.deadline_ms() {
            self.timeouts.set(flow.serial, flow.clone(), deadline);
        }
    }

    /// Strikes a flow out.
    pub fn strike(&mut self, flow: &Arc<Flow>) {
        self.note(|| Entry::NoFlow(flow.clone()));
        self.mask_stale = true;
        if let Some(footprint) = self.footprints.get_mut(&flow.table) {
            footprint.remove(&flow.instructions);
        }
        for group in groups(flow) {
            self.group_users.remove(&(group, flow.serial));
        }
        if let Some(meter) = flow.instructions.meter {
            self.meter_users.remove(&(meter, flow.serial));
        }
        self.timeouts.remove(flow.serial);
    }

    /// The flow that makes room for another in a full table, if the bridge lets one: that which
    /// may end first.
    pub fn victim(&self, table: TableId) -> Option<&Arc<Flow>> {
        let mut candidates = match self.overflow {
            Overflow::Refuse => return None,
            Overflow::Evict => self.timeouts.iter(),
        };
        candidates.find(|flow| flow.table == table)
    }

    /// Enters a group.
    pub fn enter_group(&mut self, group: &Arc<Group>) {
        self.note(|| Entry::Group(group.clone()));
        self.mask_stale = true;
        for bucket in &group.buckets {
            self.group_footprint.add_actions(&bucket.actions);
        }
        self.parents
            .extend(group.next().map(|next| (next, group.id)));
    }

    /// Strikes a group out.
    pub fn strike_group(&mut self, group: &Arc<Group>) {
        self.note(|| Entry::NoGroup(group.clone()));
        self.mask_stale = true;
        for bucket in &group.buckets {
            self.group_footprint.remove_actions(&bucket.actions);
        }
        for next in group.next() {
            self.parents.remove(&(next, group.id));
        }
    }

    /// Groups that send to a group.
    pub fn parents(&self, group: GroupId) -> impl Iterator<Item = GroupId> {
        let range = (group, GroupId(0))..=(group, GroupId(u32::MAX));
        self.parents.range(range).map(|(_, parent)| *parent)
    }

    /// Flows that send to a group.
    pub fn group_users(&self, group: GroupId) -> impl Iterator<Item = &Arc<Flow>> {
        let range = (group, 0)..=(group, u64::MAX);
        self.group_users.range(range).map(|(_, flow)| flow)
    }

    /// Flows that use a meter.
    pub fn meter_users(&self, meter: MeterId) -> impl Iterator<Item = &Arc<Flow>> {
        let range = (meter, 0)..=(meter, u64::MAX);
        self.meter_users.range(range).map(|(_, flow)| flow)
    }
}

fn groups(flow: &Flow) -> impl Iterator<Item = GroupId> {
    lists(&flow.instructions)
        .flatten()
        .filter_map(|action| match action {
            Action::Group(group) => Some(*group),
            _ => None,
        })
}
