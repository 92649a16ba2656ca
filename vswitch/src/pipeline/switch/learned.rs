//! Flows that packets make (ovs-actions(7), `learn`), and timeouts that they shorten
//! (`fin_timeout`): what workers tell of as a [`Wish`] is done here.
//!
//! A flow that is there already is not touched: its hard timeout begins anew, which the writer
//! notes for itself alone, so that packets of a busy network cost no publications.

use std::collections::{BTreeMap, HashMap};

use openflow::{FlowMod, FlowRemovedReason, Instructions, TableId};
use tracing::debug;

use super::super::RemovedFlow;
use super::super::flow::{FlowRef, Payload};
use super::footprint::all_learned;
use super::ledger::NewFlow;
use super::{Ledger, Switch};
use crate::action::{BridgeId, Wish, WishKind};

/// The writer's book on flows that packets make: a table and a cookie name some of them.
#[derive(Debug, Default)]
pub struct Learned {
    /// Flows that make such and are to take them along when they go.
    makers: BTreeMap<(TableId, u64), u32>,
    /// Of which there may be none that makes such any more.
    orphaned: Vec<(TableId, u64)>,
    /// How many there are, where there may be so many only.
    limited: HashMap<(TableId, u64), usize>,
    /// When a packet last asked for a flow that was there, by the flow's row.
    asked_ms: HashMap<u32, u64>,
}

impl Learned {
    /// Counts a flow that comes.
    pub fn enter(&mut self, name: (TableId, u64), instructions: Option<&Instructions>) {
        if let Some(count) = self.limited.get_mut(&name) {
            *count += 1;
        }
        for made in instructions.into_iter().flat_map(all_learned) {
            *self.makers.entry(made).or_default() += 1;
        }
    }

    /// Counts a flow that goes; whether it makes room for another.
    pub fn strike(&mut self, name: (TableId, u64), instructions: Option<&Instructions>) -> bool {
        for made in instructions.into_iter().flat_map(all_learned) {
            if let Some(count) = self.makers.get_mut(&made) {
                *count -= 1;
                if *count == 0 {
                    self.makers.remove(&made);
                    self.orphaned.push(made);
                }
            }
        }
        match self.limited.get_mut(&name) {
            Some(count) => {
                *count -= 1;
                true
            }
            None => false,
        }
    }

    /// The row of a flow is given up.
    pub fn forget(&mut self, row: u32) {
        self.asked_ms.remove(&row);
    }

    /// When a packet last asked for the flow of a row that was there, 0 for never.
    pub fn asked_ms(&self, row: u32) -> u64 {
        self.asked_ms.get(&row).copied().unwrap_or(0)
    }
}

impl Switch {
    /// Does what a packet asks for; of the flows that made room, those with `send_flow_removed`.
    pub fn grant(&mut self, wish: &Wish, now_ms: u64) -> Vec<RemovedFlow> {
        match &wish.kind {
            WishKind::Flow { flow, limit } => self.learn_flow(wish.bridge, flow, *limit, now_ms),
            &WishKind::Shorter {
                row,
                serial,
                idle_timeout_s,
                hard_timeout_s,
            } => {
                self.shorten(wish.bridge, (row, serial), (idle_timeout_s, hard_timeout_s));
                Vec::new()
            }
        }
    }

    fn learn_flow(
        &mut self,
        id: BridgeId,
        flow: &FlowMod,
        limit: u32,
        now_ms: u64,
    ) -> Vec<RemovedFlow> {
        let (Some(bridge), Some(ledger)) = (self.state.bridge(id), self.ledgers.get_mut(&id))
        else {
            return Vec::new();
        };
        let table = ledger.flows_of(flow.table);
        let found = table.and_then(|table| table.rule(table.get(&flow.matching, flow.priority)?));
        let found = found.map(|rule| FlowRef::new(bridge, flow.table, rule));
        if let Some(there) = found {
            let is_same = there.cookie() == flow.cookie
                && there
                    .instructions()
                    .is_some_and(|same| **same == flow.instructions);
            if is_same {
                let row = there.row();
                ledger.learned.asked_ms.insert(row, now_ms);
                return Vec::new();
            }
        } else if limit != 0 && ledger.count_named((flow.table, flow.cookie)) >= limit as usize {
            self.exhaust(id, (flow.table, flow.cookie));
            return Vec::new();
        }
        let done = self.flow_mod(id, flow, now_ms);
        done.unwrap_or_else(|error| {
            debug!(%error, table = %flow.table, "a flow that a packet asks for cannot be");
            Vec::new()
        })
    }

    /// There are as many flows of this table and cookie as there may be.
    fn exhaust(&mut self, id: BridgeId, name: (TableId, u64)) {
        let bridge = self.state.bridge(id);
        if bridge.is_none_or(|bridge| bridge.exhausted.contains(&name)) {
            return;
        }
        if let Some((bridge, _)) = self.change(id) {
            bridge.exhausted.insert(name);
        }
    }

    /// Makes the timeouts of a flow no longer than these.
    fn shorten(&mut self, id: BridgeId, (row, serial): (u32, u64), (idle_s, hard_s): (u16, u16)) {
        let (Some(bridge), Some(ledger)) = (self.state.bridge(id), self.ledgers.get(&id)) else {
            return;
        };
        let Some((table, rule)) = ledger.flow(row) else {
            return;
        };
        let flow = FlowRef::new(bridge, table, rule);
        let Some(instructions) = flow
            .instructions()
            .filter(|_| flow.serial() == serial)
            .cloned()
        else {
            return;
        };
        let old = Payload::of(&rule);
        let payload = Payload {
            idle_timeout_s: shorter(old.idle_timeout_s, idle_s),
            hard_timeout_s: shorter(old.hard_timeout_s, hard_s),
            ..old
        };
        if payload == old {
            return;
        }
        let (matching, priority) = (rule.matching(), rule.priority());
        let Some((mut draft, ledger)) = self.draft(id) else {
            return;
        };
        let flow = NewFlow {
            table,
            priority,
            matching: &matching,
            instructions: &instructions,
            payload,
        };
        // Without room it stays as it is.
        let _ = ledger.put(&mut draft, &flow, (Some(row), true));
    }

    /// Deletes flows that went with those that made them, a bounded number at once; those of them
    /// with `send_flow_removed`, and whether there are more.
    pub fn forget_learned(&mut self, now_ms: u64) -> (Vec<RemovedFlow>, bool) {
        let mut removed = Vec::new();
        let with = self
            .ledgers
            .iter()
            .filter(|(_, ledger)| ledger.has_orphans());
        for id in with.map(|(id, _)| *id).collect::<Vec<_>>() {
            let rows = self.ledgers.get_mut(&id).map(Ledger::take_orphans);
            let rows = rows.unwrap_or_default();
            let reason = FlowRemovedReason::Delete;
            removed.extend(self.remove_flows(id, rows, reason, now_ms));
        }
        (removed, self.ledgers.values().any(Ledger::has_orphans))
    }
}

impl Ledger {
    /// How many flows of a table have a cookie.
    fn count_named(&mut self, name: (TableId, u64)) -> usize {
        if let Some(count) = self.learned.limited.get(&name) {
            return *count;
        }
        let there = self.named(name).count();
        self.learned.limited.insert(name, there);
        there
    }

    /// The rows of the flows of a table that have a cookie.
    fn named(&self, (table, cookie): (TableId, u64)) -> impl Iterator<Item = u32> {
        let rows = self.rows.with_cookie(cookie, u64::MAX).flatten();
        rows.filter(move |row| self.flow(*row).is_some_and(|(home, _)| home == table))
    }

    fn has_orphans(&self) -> bool {
        !self.learned.orphaned.is_empty()
    }

    /// The rows of some flows that are to go.
    fn take_orphans(&mut self) -> Vec<u32> {
        while let Some(name) = self.learned.orphaned.last().copied() {
            let rows: Vec<u32> = match self.learned.makers.contains_key(&name) {
                true => Vec::new(),
                false => self.named(name).take(DELETED_AT_ONCE).collect(),
            };
            if !rows.is_empty() {
                return rows;
            }
            self.learned.orphaned.pop();
        }
        Vec::new()
    }
}

/// The shorter of two timeouts, where 0 is none.
fn shorter(old_s: u16, new_s: u16) -> u16 {
    match (old_s, new_s) {
        (0, one) | (one, 0) => one,
        (old_s, new_s) => old_s.min(new_s),
    }
}

/// Flows deleted in one go: about a millisecond.
const DELETED_AT_ONCE: usize = 2048;
