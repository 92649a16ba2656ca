//! Deletion of groups and meters that many flows use (OpenFlow 1.3.5 §6.5, §6.6).
//!
//! What: a group or meter takes the flows that use it along. It stays until the last of them has
//! gone, so that a packet is treated by a whole flow or by none. So the deletion is as if it came
//! when it ends: what others make use it meanwhile goes too, and what others do that forbids it
//! ends it.
//!
//! How: whoever uses a group or meter is in an index, so nothing has to be remembered from one
//! step to the next.

use std::collections::BTreeSet;

use openflow::{ErrorCode, FlowRemovedReason, GroupId, MeterId};

use super::super::super::RemovedFlow;
use super::super::{Ledger, Switch};
use super::Step;
use crate::action::BridgeId;

/// A deletion on its way.
#[derive(Clone, Copy, Debug)]
pub struct UserSweep {
    bridge: BridgeId,
    used: Used,
}

/// What is deleted.
#[derive(Clone, Copy, Debug)]
pub enum Used {
    /// A group, or all.
    Group(GroupId),
    /// A meter, or all.
    Meter(MeterId),
}

impl UserSweep {
    /// Nothing is done yet.
    pub fn new(bridge: BridgeId, used: Used) -> UserSweep {
        UserSweep { bridge, used }
    }

    /// [`super::Sweep::step`].
    pub fn step(&mut self, switch: &mut Switch, now_ms: u64) -> Result<Step, ErrorCode> {
        let Some(ledger) = switch.ledgers.get(&self.bridge) else {
            return Ok((Vec::new(), false));
        };
        self.used.check(ledger)?;
        let rows = self.used.users(ledger, DELETED_AT_ONCE);
        let room = DELETED_AT_ONCE - rows.len();
        let removed = self.remove_users(switch, rows, now_ms);
        let more = room == 0 || self.remove_used(switch, room);
        Ok((removed, more))
    }

    fn remove_users(
        &self,
        switch: &mut Switch,
        rows: BTreeSet<u32>,
        now_ms: u64,
    ) -> Vec<RemovedFlow> {
        let reason = match self.used {
            Used::Group(_) => FlowRemovedReason::GroupDelete,
            Used::Meter(_) => FlowRemovedReason::MeterDelete,
        };
        let rows = rows.into_iter().collect();
        switch.remove_flows(self.bridge, rows, reason, now_ms)
    }

    /// Deletes so many of what nobody uses any more; whether there is more.
    fn remove_used(&self, switch: &mut Switch, room: usize) -> bool {
        let Some(bridge) = switch.state.bridge(self.bridge) else {
            return false;
        };
        match self.used {
            Used::Group(GroupId::ALL) => {
                let all = bridge.groups.keys().take(room).copied();
                let some: Vec<_> = all.collect();
                let more = bridge.groups.len() > some.len();
                some.into_iter()
                    .for_each(|group| switch.take_group(self.bridge, group));
                more
            }
            Used::Group(group) => {
                switch.take_group(self.bridge, group);
                false
            }
            Used::Meter(MeterId::ALL) => {
                let some: Vec<_> = bridge.meters.keys().take(room).copied().collect();
                let more = bridge.meters.len() > some.len();
                switch.take_meters(self.bridge, some);
                more
            }
            Used::Meter(meter) => {
                switch.take_meters(self.bridge, vec![meter]);
                false
            }
        }
    }
}

impl Used {
    /// An error if it cannot be deleted: a group that another group sends to.
    fn check(self, ledger: &Ledger) -> Result<(), ErrorCode> {
        match self {
            Used::Group(group) if group != GroupId::ALL && ledger.has_parents(group) => {
                Err(ErrorCode::GROUP_MOD_FAILED_CHAINED_GROUP)
            }
            _ => Ok(()),
        }
    }

    /// Some of the flows that use it, by their rows.
    fn users(self, ledger: &Ledger, at_once: usize) -> BTreeSet<u32> {
        let (groups, meters) = (&ledger.group_users, &ledger.meter_users);
        match self {
            Used::Group(GroupId::ALL) => groups.all().take(at_once).collect(),
            Used::Group(group) => groups.of(group).take(at_once).collect(),
            Used::Meter(MeterId::ALL) => meters.all().take(at_once).collect(),
            Used::Meter(meter) => meters.of(meter).take(at_once).collect(),
        }
    }
}

/// Flows, groups or meters deleted in one go: about a millisecond.
const DELETED_AT_ONCE: usize = 2048;
