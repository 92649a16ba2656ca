//! Group modification (OpenFlow 1.3.5 §6.5).

use std::collections::BTreeSet;
use std::sync::Arc;

use openflow::{Action, Bucket, ErrorCode, GroupId, GroupKind, GroupMod, GroupModCommand, OfPort};

use super::super::{Bridge, Group, RemovedFlow};
use super::footprint::rewritten_by;
use super::sweep::{Begun, Sweep, Used, UserSweep};
use super::{Ledger, Switch, check, limits};
use crate::action::BridgeId;

impl Switch {
    /// Adds, modifies or deletes groups; the flows that went with them.
    pub fn group_mod(
        &mut self,
        id: BridgeId,
        change: &GroupMod,
        now_ms: u64,
    ) -> Result<Vec<RemovedFlow>, ErrorCode> {
        match change.command {
            GroupModCommand::Delete => delete(id, change.group).finish(self, now_ms),
            GroupModCommand::Add | GroupModCommand::Modify => {
                self.set_group(id, change, now_ms)?;
                Ok(Vec::new())
            }
        }
    }

    /// As [`Switch::group_mod`], but what would take long is only begun.
    pub fn begin_group_mod(
        &mut self,
        id: BridgeId,
        change: &GroupMod,
        now_ms: u64,
    ) -> Result<Begun, ErrorCode> {
        match change.command {
            GroupModCommand::Delete => delete(id, change.group).begin(self, now_ms),
            GroupModCommand::Add | GroupModCommand::Modify => {
                self.set_group(id, change, now_ms)?;
                Ok((Vec::new(), None))
            }
        }
    }

    /// Adds or modifies a group.
    fn set_group(&mut self, id: BridgeId, change: &GroupMod, now_ms: u64) -> Result<(), ErrorCode> {
        let (Some(bridge), Some(ledger)) = (self.state.bridge(id), self.ledgers.get(&id)) else {
            return Ok(());
        };
        let old = bridge.group(change.group);
        match change.command {
            GroupModCommand::Add if old.is_some() => {
                return Err(ErrorCode::GROUP_MOD_FAILED_GROUP_EXISTS);
            }
            GroupModCommand::Add if bridge.groups.len() >= ledger.groups_max => {
                return Err(ErrorCode::GROUP_MOD_FAILED_OUT_OF_GROUPS);
            }
            GroupModCommand::Modify if old.is_none() => {
                return Err(ErrorCode::GROUP_MOD_FAILED_UNKNOWN_GROUP);
            }
            _ => check_group(bridge, change)?,
        }
        let group = Group::new(change, old.map(|old| &**old), now_ms);
        check_loops(bridge, ledger, &group)?;
        self.put_group(id, group);
        Ok(())
    }

    fn put_group(&mut self, id: BridgeId, group: Group) {
        for bucket in &group.buckets {
            let rewritten = rewritten_by(&bucket.actions);
            self.changes.rewritten(&rewritten, self.state.epoch);
        }
        if let Some((bridge, ledger)) = self.change(id) {
            let group = Arc::new(group);
            let old = bridge.groups.insert(group.id, Arc::clone(&group));
            if let Some(old) = old {
                ledger.strike_group(&old);
            }
            ledger.enter_group(&group);
        }
    }

    /// Removes a group that no flow uses.
    pub(super) fn take_group(&mut self, id: BridgeId, group: GroupId) {
        let bridge = self.state.bridge(id);
        if bridge.is_some_and(|bridge| bridge.group(group).is_some())
            && let Some((bridge, ledger)) = self.change(id)
            && let Some(old) = bridge.groups.remove(&group)
        {
            ledger.strike_group(&old);
        }
    }
}

/// The deletion of a group that no other group sends to, or of all.
fn delete(bridge: BridgeId, group: GroupId) -> Sweep {
    Sweep::Users(UserSweep::new(bridge, Used::Group(group)))
}

/// Whether a group can be as it is to be, loops aside.
fn check_group(bridge: &Bridge, change: &GroupMod) -> Result<(), ErrorCode> {
    let single = change.kind != GroupKind::Indirect || change.buckets.len() == 1;
    if change.group > GroupId::MAX || !single {
        return Err(ErrorCode::GROUP_MOD_FAILED_INVALID_GROUP);
    }
    if change.buckets.len() > limits::BUCKETS_MAX {
        return Err(ErrorCode::GROUP_MOD_FAILED_OUT_OF_BUCKETS);
    }
    change
        .buckets
        .iter()
        .try_for_each(|bucket| check_bucket(bridge, change, bucket))
}

fn check_bucket(bridge: &Bridge, change: &GroupMod, bucket: &Bucket) -> Result<(), ErrorCode> {
    let watches = bucket.watch_port != OfPort::ANY || bucket.watch_group != GroupId::ANY;
    match change.kind {
        GroupKind::All | GroupKind::Indirect if watches => {
            return Err(ErrorCode::GROUP_MOD_FAILED_WATCH_UNSUPPORTED);
        }
        GroupKind::FastFailover if !watches => {
            return Err(ErrorCode::GROUP_MOD_FAILED_INVALID_GROUP);
        }
        GroupKind::Select => {}
        _ if bucket.weight != 0 => return Err(ErrorCode::GROUP_MOD_FAILED_INVALID_GROUP),
        _ => {}
    }
    check::watch(bridge, bucket.watch_port, bucket.watch_group)?;
    let sends_to_itself = |action: &_| *action == Action::Group(change.group);
    if bucket.actions.iter().any(sends_to_itself) {
        return Err(ErrorCode::GROUP_MOD_FAILED_LOOP);
    }
    check::stored_actions(bridge, &bucket.actions)
}

/// Whether a group sends to itself or watches itself, by way of others. Nothing leads back to a
/// group that no other group leads to, so whoever builds a long chain has none of it walked.
fn check_loops(bridge: &Bridge, ledger: &Ledger, group: &Group) -> Result<(), ErrorCode> {
    let is_next = ledger.has_parents(group.id);
    if leads_back(bridge, group, is_next, |group| group.next().collect()) {
        return Err(ErrorCode::GROUP_MOD_FAILED_LOOP);
    }
    let is_watched = ledger.is_watched(group.id);
    if leads_back(bridge, group, is_watched, |group| group.watched().collect()) {
        return Err(ErrorCode::GROUP_MOD_FAILED_BAD_WATCH);
    }
    Ok(())
}

/// Whether a way by `next` leads from a group to itself; by way of others only if `by_others`.
fn leads_back(
    bridge: &Bridge,
    group: &Group,
    by_others: bool,
    next: impl Fn(&Group) -> Vec<GroupId>,
) -> bool {
    let mut seen = BTreeSet::new();
    let mut todo = next(group);
    while let Some(id) = todo.pop() {
        if id == group.id {
            return true;
        }
        if by_others && seen.insert(id) {
            todo.extend(bridge.group(id).into_iter().flat_map(|group| next(group)));
        }
    }
    false
}
