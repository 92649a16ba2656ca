//! Statistics and descriptions of flows, tables, groups and meters (OpenFlow 1.3.5 §7.3.5).

use std::sync::Arc;
use std::time::Duration;

use openflow::{
    ActionKind, AggregateStats, BandStats, BucketStats, ErrorCode, FlowStatsRequest,
    GroupCapabilities, GroupDesc, GroupFeatures, GroupId, GroupStats, MeterConfig, MeterFeatures,
    MeterId, MeterStats, TableId, TableStats,
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

    /// Sums over the flows that the request asks for.
    pub fn aggregate(&self, bridge: BridgeId, request: &FlowStatsRequest) -> AggregateStats {
        let mut sums = AggregateStats::default();
        for flow in self.flow_refs(bridge, request) {
            let (packets, bytes, _) = flow.counters().map_or((0, 0, 0), |it| it.read());
            sums.packets += packets;
            sums.bytes += bytes;
            sums.flows += 1;
        }
        sums
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

    /// Statistics of a group, or of all ([`GroupId::ALL`]). A group that is not there has none.
    pub fn group_stats(&self, bridge: BridgeId, group: GroupId, now_ms: u64) -> Vec<GroupStats> {
        let Some((bridge, ledger)) = self.read(bridge) else {
            return Vec::new();
        };
        let all = bridge.groups.values();
        let wanted = all.filter(|other| group == GroupId::ALL || other.id == group);
        let mut list: Vec<_> = wanted
            .map(|group| group_stats(ledger, group, now_ms))
            .collect();
        list.sort_by_key(|stats| stats.group);
        list
    }

    /// Groups as they were set up.
    pub fn group_desc(&self, bridge: BridgeId) -> Vec<GroupDesc> {
        let groups = self.state.bridge(bridge).into_iter();
        let groups = groups.flat_map(|bridge| bridge.groups.values());
        let mut list: Vec<_> = groups
            .map(|group| GroupDesc {
                group: group.id,
                kind: group.kind,
                buckets: group
                    .buckets
                    .iter()
                    .map(|bucket| bucket.bucket.clone())
                    .collect(),
            })
            .collect();
        list.sort_by_key(|desc| desc.group);
        list
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

    /// Statistics of a meter, or of all ([`MeterId::ALL`]).
    pub fn meter_stats(
        &self,
        bridge: BridgeId,
        meter: MeterId,
        now_ms: u64,
    ) -> Result<Vec<MeterStats>, ErrorCode> {
        let Some((bridge, ledger)) = self.read(bridge) else {
            return Ok(Vec::new());
        };
        let meters = meters(bridge, meter)?.into_iter();
        Ok(meters
            .map(|meter| meter_stats(ledger, meter, now_ms))
            .collect())
    }

    /// A meter as it was set up, or all ([`MeterId::ALL`]).
    pub fn meter_config(
        &self,
        bridge: BridgeId,
        meter: MeterId,
    ) -> Result<Vec<MeterConfig>, ErrorCode> {
        let Some(bridge) = self.state.bridge(bridge) else {
            return Ok(Vec::new());
        };
        let meters = meters(bridge, meter)?.into_iter();
        let configs = meters.map(|meter| MeterConfig {
            meter: meter.id,
            flags: meter.flags,
            bands: meter.bands.iter().map(|band| band.band).collect(),
        });
        Ok(configs.collect())
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
    let references = ledger.group_users(group.id).count() + ledger.parents(group.id).count();
    let buckets = group.buckets.iter().map(|bucket| {
        let (packets, bytes, _) = bucket.counters.read();
        BucketStats { packets, bytes }
    });
    GroupStats {
        group: group.id,
        references: references as u32,
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
        flows: ledger.meter_users(meter.id).count() as u32,
        packets,
        bytes,
        duration: age(meter.created_ms, now_ms),
        bands: bands.collect(),
    }
}

/// A meter, or all in order of their numbers.
fn meters(bridge: &Bridge, id: MeterId) -> Result<Vec<&Arc<Meter>>, ErrorCode> {
    if id == MeterId::ALL {
        let mut list: Vec<_> = bridge.meters.values().collect();
        list.sort_by_key(|meter| meter.id);
        return Ok(list);
    }
    match bridge.meter(id) {
        Some(meter) => Ok(vec![meter]),
        None => Err(ErrorCode::METER_MOD_FAILED_UNKNOWN_METER),
    }
}

fn age(created_ms: u64, now_ms: u64) -> Duration {
    Duration::from_millis(now_ms.saturating_sub(created_ms))
}
