//! Statistics and descriptions of flows, tables, groups and meters (OpenFlow 1.3.5 §7.3.5).

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use openflow::{
    ActionKind, BandStats, BucketStats, FlowStatsRequest, GroupCapabilities, GroupDesc,
    GroupFeatures, GroupId, GroupStats, MeterConfig, MeterFeatures, MeterId, MeterStats, TableId,
    TableStats,
};

use super::super::flow::FlowRef;
use super::super::{Bridge, Flow, Group, Meter};
use super::list::FlowList;
use super::{Ledger, Switch, flows, limits};
use crate::action::{BridgeId, Counters};

/// Statistics. Complete once the workers have flushed their counters. An unknown bridge has none.
impl Switch {
    /// Flows that the request asks for, one table after the other, in no order within a table.
    pub fn flows<'a>(
        &'a self,
        bridge: BridgeId,
        request: &'a FlowStatsRequest,
    ) -> impl Iterator<Item = Flow> {
        let flows = self.flow_refs(bridge, request);
        flows.filter_map(|flow| flow.read())
    }

    /// The same flows as they are now, to be read as slowly as one likes.
    pub fn list(&mut self, bridge: BridgeId, request: &FlowStatsRequest) -> FlowList {
        FlowList::new(self.publish(), bridge, request)
    }

    fn flow_refs<'a>(
        &'a self,
        bridge: BridgeId,
        request: &'a FlowStatsRequest,
    ) -> impl Iterator<Item = FlowRef<'a>> {
        let known = self.read(bridge).into_iter();
        known.flat_map(|(bridge, ledger)| flows::flows(bridge, ledger, request, self.state.epoch))
    }

    /// Statistics of the tables that are there.
    pub fn table_stats(&self, bridge: BridgeId) -> Vec<TableStats> {
        let Some((bridge, ledger)) = self.read(bridge) else {
            return Vec::new();
        };
        let tables = ledger.tables.ids();
        tables.map(|id| table_stats(bridge, ledger, id)).collect()
    }

    /// Statistics of groups in the order of their numbers. A group that is not there has none.
    pub fn group_stats(
        &self,
        bridge: BridgeId,
        ids: RangeInclusive<GroupId>,
        now_ms: u64,
    ) -> impl Iterator<Item = GroupStats> {
        let known = self.read(bridge).into_iter();
        known.flat_map(move |(bridge, ledger)| {
            let groups = within(&bridge.groups, ids.clone());
            groups.map(move |group| group_stats(ledger, group, now_ms))
        })
    }

    /// Groups as they were set up, in the order of their numbers.
    pub fn group_desc(
        &self,
        bridge: BridgeId,
        ids: RangeInclusive<GroupId>,
    ) -> impl Iterator<Item = GroupDesc> {
        let bridge = self.state.bridge(bridge).into_iter();
        let groups = bridge.flat_map(move |bridge| within(&bridge.groups, ids.clone()));
        groups.map(|group| GroupDesc {
            group: group.id,
            kind: group.kind,
            buckets: group
                .buckets
                .iter()
                .map(|bucket| bucket.bucket.clone())
                .collect(),
        })
    }

    /// What groups there can be.
    pub fn group_features(&self) -> GroupFeatures {
        let actions = ActionKind::ALL.iter();
        GroupFeatures {
            kinds: 0b1111,
            capabilities: GroupCapabilities {
                select_weight: true,
                select_liveness: true,
                chaining: true,
                chaining_checks: true,
            },
            groups_max: [limits::GROUPS_MAX as u32; 4],
            actions: [actions.fold(0, |bits, kind| bits | 1 << *kind as u32); 4],
        }
    }

    /// Statistics of meters in the order of their numbers.
    pub fn meter_stats(
        &self,
        bridge: BridgeId,
        ids: RangeInclusive<MeterId>,
        now_ms: u64,
    ) -> impl Iterator<Item = MeterStats> {
        let known = self.read(bridge).into_iter();
        known.flat_map(move |(bridge, ledger)| {
            let meters = within(&bridge.meters, ids.clone());
            meters.map(move |meter| meter_stats(ledger, meter, now_ms))
        })
    }

    /// Meters as they were set up, in the order of their numbers.
    pub fn meter_config(
        &self,
        bridge: BridgeId,
        ids: RangeInclusive<MeterId>,
    ) -> impl Iterator<Item = MeterConfig> {
        let bridge = self.state.bridge(bridge).into_iter();
        let meters = bridge.flat_map(move |bridge| within(&bridge.meters, ids.clone()));
        meters.map(|meter| MeterConfig {
            meter: meter.id,
            flags: meter.flags,
            bands: meter.bands.iter().map(|band| band.band).collect(),
        })
    }

    /// Whether a bridge has a meter; [`MeterId::ALL`] stands for those there are.
    pub fn has_meter(&self, bridge: BridgeId, meter: MeterId) -> bool {
        let bridge = self.state.bridge(bridge);
        meter == MeterId::ALL || bridge.is_some_and(|bridge| bridge.meter(meter).is_some())
    }

    /// What meters there can be.
    pub fn meter_features(&self) -> MeterFeatures {
        MeterFeatures {
            meters_max: limits::METERS_MAX as u32,
            drop: true,
            dscp_remark: true,
            kbps: true,
            pktps: true,
            burst: true,
            stats: true,
            bands_max: limits::BANDS_MAX as u8,
            colors_max: 0,
        }
    }

    fn read(&self, id: BridgeId) -> Option<(&Bridge, &Ledger)> {
        Some((self.state.bridge(id)?, self.ledgers.get(&id)?))
    }
}

fn table_stats(bridge: &Bridge, ledger: &Ledger, id: TableId) -> TableStats {
    let table = bridge.table(id);
    let packets = |counters: &Counters| counters.read().0;
    let matched = table.map_or(0, |table| packets(&table.matched));
    let missed = table.map_or(0, |table| packets(&table.missed));
    TableStats {
        table: id,
        active: ledger.flows_of(id).map_or(0, |flows| flows.len() as u32),
        lookups: matched + missed,
        matched,
    }
}

fn group_stats(ledger: &Ledger, group: &Group, now_ms: u64) -> GroupStats {
    let (packets, bytes, _) = group.counters.read();
    let references = ledger.references(group.id);
    let buckets = group.buckets.iter().map(|bucket| {
        let (packets, bytes, _) = bucket.counters.read();
        BucketStats { packets, bytes }
    });
    GroupStats {
        group: group.id,
        references,
        packets,
        bytes,
        duration: age(group.created_ms, now_ms),
        buckets: buckets.collect(),
    }
}

fn meter_stats(ledger: &Ledger, meter: &Meter, now_ms: u64) -> MeterStats {
    let (packets, bytes, _) = meter.counters.read();
    let bands = meter.bands.iter().map(|band| {
        let (packets, bytes, _) = band.counters.read();
        BandStats { packets, bytes }
    });
    MeterStats {
        meter: meter.id,
        flows: ledger.meter_users.count(meter.id),
        packets,
        bytes,
        duration: age(meter.created_ms, now_ms),
        bands: bands.collect(),
    }
}

/// Those of these numbers, in their order.
fn within<K: Copy + Ord, V>(
    all: &OrdMap<K, Arc<V>>,
    ids: RangeInclusive<K>,
) -> impl Iterator<Item = &Arc<V>> {
    let some = (!ids.is_empty()).then(|| all.range(ids));
    some.into_iter().flatten().map(|(_, one)| one)
}

fn age(created_ms: u64, now_ms: u64) -> Duration {
    Duration::from_millis(now_ms.saturating_sub(created_ms))
}
