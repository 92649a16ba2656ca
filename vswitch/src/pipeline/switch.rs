//! The writer's model: owned by the control thread, changed message by message, published whole.

use std::sync::Arc;

use openflow::{
    AggregateStats, ErrorCode, FlowMod, FlowStatsRequest, GroupDesc, GroupFeatures, GroupId,
    GroupMod, GroupStats, MeterConfig, MeterFeatures, MeterId, MeterMod, MeterStats, OfPort,
    PortConfig, TableMod, TableStats,
};
use thiserror::Error;

use super::{FailMode, Flow, Learn, PortSpec, RemovedFlow, State, VlanMode, limits};
use crate::action::{BridgeId, PortNo};

/// What is said of a bridge when it is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSpec {
    /// Name, unique.
    pub name: String,
    /// What happens without a controller.
    pub fail_mode: FailMode,
    /// Addresses it learns at most.
    pub macs_max: usize,
    /// Seconds after which an address not heard of is forgotten.
    pub mac_age_s: u32,
    /// Flows of one table.
    pub flows_max: usize,
}

impl Default for BridgeSpec {
    fn default() -> BridgeSpec {
        BridgeSpec {
            name: String::new(),
            fail_mode: FailMode::Standalone,
            macs_max: limits::MACS_DEFAULT,
            mac_age_s: limits::MAC_AGE_DEFAULT_S,
            flows_max: limits::FLOWS_MAX,
        }
    }
}

/// Why a bridge or port cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PortError {
    /// The name is taken.
    #[error("the name {0} is taken")]
    NameTaken(String),
    /// The OpenFlow number is taken.
    #[error("port number {0} is taken")]
    NumberTaken(OfPort),
    /// The OpenFlow number is not that of a port.
    #[error("port number {0} is out of range (1 to 4294967040, or 4294967294 for the local port)")]
    NumberReserved(OfPort),
    /// There are as many ports as there can be.
    #[error("there are {0} ports, the most that are allowed")]
    TooMany(usize),
    /// There is no such bridge.
    #[error("no such bridge")]
    NoBridge,
}

/// The switch as OpenFlow sees it: bridges with their ports, tables, groups and meters.
///
/// Changes take effect for packets when the state that [`Switch::publish`] returns reaches the
/// workers.
#[derive(Debug, Default)]
pub struct Switch {
    state: State,
}

/// Bridges and ports.
impl Switch {
    /// No bridges.
    pub fn new() -> Switch {
        Switch::default()
    }

    /// The working state: what the next publication will hold.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Adds a bridge without ports and flows.
    pub fn add_bridge(&mut self, spec: &BridgeSpec) -> Result<BridgeId, PortError> {
        Err(PortError::NameTaken(spec.name.clone()))
    }

    /// Removes a bridge with all that is in it; the numbers of its ports.
    pub fn remove_bridge(&mut self, _bridge: BridgeId) -> Vec<PortNo> {
        Vec::new()
    }

    /// Changes what happens without a controller.
    pub fn set_fail_mode(&mut self, _bridge: BridgeId, _mode: FailMode) {}

    /// Switches to NORMAL for every packet, or back to the flows.
    pub fn set_standalone(&mut self, _bridge: BridgeId, _standalone: bool) {}

    /// Says whether any controller wants packets whose time to live ended.
    pub fn set_wants_invalid_ttl(&mut self, _bridge: BridgeId, _wanted: bool) {}

    /// Adds a port: its numbers.
    pub fn add_port(
        &mut self,
        _bridge: BridgeId,
        _spec: &PortSpec,
    ) -> Result<(PortNo, OfPort), PortError> {
        Err(PortError::NoBridge)
    }

    /// Removes a port, and what was learned on it.
    pub fn remove_port(&mut self, _port: PortNo) {}

    /// Sets a port's configuration.
    pub fn set_port_config(&mut self, _port: PortNo, _config: PortConfig) {}

    /// Says whether a port has a carrier.
    pub fn set_link(&mut self, _port: PortNo, _up: bool) {}

    /// Sets how a port takes part in VLANs.
    pub fn set_vlan_mode(&mut self, _port: PortNo, _vlan: VlanMode) {}

    /// Makes what changed since the last publication one new state; the last one if nothing did.
    pub fn publish(&mut self) -> Arc<State> {
        Arc::new(self.state.clone())
    }
}

/// OpenFlow's modifications. An error changes nothing.
impl Switch {
    /// Adds, modifies or deletes flows; the flows that went (whatever their flags; controllers
    /// hear of those with `send_flow_removed`).
    pub fn flow_mod(
        &mut self,
        _bridge: BridgeId,
        _change: &FlowMod,
        _now_ms: u64,
    ) -> Result<Vec<RemovedFlow>, ErrorCode> {
        Ok(Vec::new())
    }

    /// Adds, modifies or deletes groups; the flows that went with them.
    pub fn group_mod(
        &mut self,
        _bridge: BridgeId,
        _change: &GroupMod,
        _now_ms: u64,
    ) -> Result<Vec<RemovedFlow>, ErrorCode> {
        Ok(Vec::new())
    }

    /// Adds, modifies or deletes meters; the flows that went with them.
    pub fn meter_mod(
        &mut self,
        _bridge: BridgeId,
        _change: &MeterMod,
        _now_ms: u64,
    ) -> Result<Vec<RemovedFlow>, ErrorCode> {
        Ok(Vec::new())
    }

    /// Configures tables.
    pub fn table_mod(&mut self, _bridge: BridgeId, _change: &TableMod) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// Deletes every flow, group and meter of a bridge.
    pub fn clear(&mut self, _bridge: BridgeId) {}

    /// Removes flows and addresses whose time is over. Looks at a bounded number of them; call
    /// again at once if the result says there may be more.
    pub fn expire(&mut self, _now_ms: u64) -> (Vec<RemovedFlow>, bool) {
        (Vec::new(), false)
    }
}

/// Learned addresses.
impl Switch {
    /// Notes that an address was heard on a port.
    pub fn learn(&mut self, _learn: Learn, _now_ms: u64) {}

    /// Forgets every address learned in a bridge; how many there were.
    pub fn flush_macs(&mut self, _bridge: BridgeId) -> usize {
        0
    }
}

/// Statistics. Complete once the workers have flushed their counters. An unknown bridge has none.
impl Switch {
    /// Flows that the request asks for, one table after the other, in no order within a table.
    pub fn flows<'a>(
        &'a self,
        _bridge: BridgeId,
        _request: &'a FlowStatsRequest,
    ) -> impl Iterator<Item = &'a Arc<Flow>> {
        std::iter::empty()
    }

    /// Sums over the flows that the request asks for.
    pub fn aggregate(&self, _bridge: BridgeId, _request: &FlowStatsRequest) -> AggregateStats {
        AggregateStats::default()
    }

    /// Statistics of all 254 tables.
    pub fn table_stats(&self, _bridge: BridgeId) -> Vec<TableStats> {
        Vec::new()
    }

    /// Statistics of a group, or of all ([`GroupId::ALL`]).
    pub fn group_stats(
        &self,
        _bridge: BridgeId,
        _group: GroupId,
        _now_ms: u64,
    ) -> Result<Vec<GroupStats>, ErrorCode> {
        Ok(Vec::new())
    }

    /// Groups as they were set up.
    pub fn group_desc(&self, _bridge: BridgeId) -> Vec<GroupDesc> {
        Vec::new()
    }

    /// What groups there can be.
    pub fn group_features(&self) -> GroupFeatures {
        GroupFeatures::default()
    }

    /// Statistics of a meter, or of all ([`MeterId::ALL`]).
    pub fn meter_stats(
        &self,
        _bridge: BridgeId,
        _meter: MeterId,
        _now_ms: u64,
    ) -> Result<Vec<MeterStats>, ErrorCode> {
        Ok(Vec::new())
    }

    /// A meter as it was set up, or all ([`MeterId::ALL`]).
    pub fn meter_config(
        &self,
        _bridge: BridgeId,
        _meter: MeterId,
    ) -> Result<Vec<MeterConfig>, ErrorCode> {
        Ok(Vec::new())
    }

    /// What meters there can be.
    pub fn meter_features(&self) -> MeterFeatures {
        MeterFeatures::default()
    }
}
