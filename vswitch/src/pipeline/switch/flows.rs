//! Flow modification (OpenFlow 1.3.5 §6.4).

use std::sync::Arc;

use openflow::{
    Action, ErrorCode, FlowMod, FlowModCommand, FlowRemovedReason, FlowStatsRequest, GroupId,
    OfPort, TableId, TableMod,
};

use super::super::{Bridge, Flow, RemovedFlow, Table};
use super::footprint::lists;
use super::{Ledger, Switch, check};
use crate::action::BridgeId;

/// OpenFlow's modifications. An error changes nothing.
impl Switch {
    /// Adds, modifies or deletes flows; the flows that went (whatever their flags; controllers
    /// hear of those with `send_flow_removed`). A flow that another takes the place of is not
    /// among them.
    pub fn flow_mod(
        &mut self,
        bridge: BridgeId,
        change: &FlowMod,
        now_ms: u64,
    ) -> Result<Vec<RemovedFlow>, ErrorCode> {
        match change.command {
            FlowModCommand::Add => return self.add_flow(bridge, change, now_ms),
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => {
                self.modify_flows(bridge, change)?;
            }
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => {
                return self.delete_flows(bridge, change, now_ms);
            }
        }
        Ok(Vec::new())
    }

    /// Whether a packet-out may have these actions.
    pub fn check_actions(&self, bridge: BridgeId, actions: &[Action]) -> Result<(), ErrorCode> {
        match self.state.bridge(bridge) {
            Some(bridge) => check::actions(bridge, actions),
            None => Ok(()),
        }
    }

    /// Configures tables: there is nothing to configure in 1.3 but bits that it deprecates.
    pub fn table_mod(&mut self, bridge: BridgeId, change: &TableMod) -> Result<(), ErrorCode> {
        if change.table > TableId::LAST && change.table != TableId::ALL {
            return Err(ErrorCode::TABLE_MOD_FAILED_BAD_TABLE);
        }
        if change.config & !CONFIG_DEPRECATED != 0 {
            return Err(ErrorCode::TABLE_MOD_FAILED_BAD_CONFIG);
        }
        if let Some(ledger) = self.ledgers.get_mut(&bridge) {
            if change.table != TableId::ALL && !ledger.tables.has(change.table) {
                return Err(ErrorCode::TABLE_MOD_FAILED_BAD_TABLE);
            }
            let is_meant = |table: &TableId| [*table, TableId::ALL].contains(&change.table);
            for table in ledger.tables.ids().filter(is_meant).collect::<Vec<_>>() {
                ledger.table_configs.insert(table, change.config);
            }
        }
        Ok(())
    }

    /// Configuration of a table.
    pub fn table_config(&self, bridge: BridgeId, table: TableId) -> u32 {
        let ledger = self.ledgers.get(&bridge);
        let config = ledger.and_then(|ledger| ledger.table_configs.get(&table));
        config.copied().unwrap_or(0)
    }

    fn add_flow(
        &mut self,
        bridge: BridgeId,
        change: &FlowMod,
        now_ms: u64,
    ) -> Result<Vec<RemovedFlow>, ErrorCode> {
        let (secret, serial) = (self.secret, self.serial + 1);
        let Place { old, victim } = self.find_place(bridge, change)?;
        let evicted = victim.into_iter().collect();
        let evicted = self.remove_flows(bridge, evicted, FlowRemovedReason::Delete, now_ms);
        let Some((bridge, ledger)) = self.change(bridge) else {
            return Ok(evicted);
        };
        if let Some(old) = &old {
            ledger.strike(old);
        }
        let counters = match old {
            Some(old) if !change.flags.reset_counts => old.counters.clone(),
            _ => Arc::default(),
        };
        let flow = Flow {
            serial,
            table: change.table,
            priority: change.priority,
            cookie: change.cookie,
            matching: change.matching.clone(),
            instructions: change.instructions.clone(),
            flags: change.flags,
            idle_timeout_s: change.idle_timeout_s,
            hard_timeout_s: change.hard_timeout_s,
            created_ms: now_ms,
            counters,
        };
        put(bridge, ledger, flow, secret);
        self.serial = serial;
        Ok(evicted)
    }

    /// Where the new flow goes; an error if it cannot be added.
    fn find_place(&self, bridge: BridgeId, change: &FlowMod) -> Result<Place, ErrorCode> {
        let (Some(bridge), Some(ledger)) = (self.state.bridge(bridge), self.ledgers.get(&bridge))
        else {
            return Ok(Place::default());
        };
        if change.table > TableId::LAST {
            return Err(ErrorCode::FLOW_MOD_FAILED_BAD_TABLE_ID);
        }
        ledger.tables.check(change)?;
        check::instructions(bridge, change.table, &change.instructions)?;
        check::prerequisites(&change.matching, &change.instructions)?;
        let Some(table) = bridge.table(change.table) else {
            return Ok(Place::default());
        };
        let (matching, priority) = (&change.matching, change.priority);
        let mut overlapping = table.rules.overlapping(matching, priority);
        if change.flags.check_overlap && overlapping.next().is_some() {
            return Err(ErrorCode::FLOW_MOD_FAILED_OVERLAP);
        }
        let old = table.rules.get(matching, priority).cloned();
        if old.is_some() || table.rules.len() < ledger.flows_max {
            return Ok(Place { old, victim: None });
        }
        match ledger.victim(change.table).cloned() {
            Some(victim) => Ok(Place {
                old: None,
                victim: Some(victim),
            }),
            None => Err(ErrorCode::FLOW_MOD_FAILED_TABLE_FULL),
        }
    }

    /// Gives the selected flows new instructions; all else of them stays.
    fn modify_flows(&mut self, id: BridgeId, change: &FlowMod) -> Result<(), ErrorCode> {
        let (Some(bridge), Some(ledger)) = (self.state.bridge(id), self.ledgers.get(&id)) else {
            return Ok(());
        };
        if !ledger.tables.has(change.table) {
            return Err(ErrorCode::FLOW_MOD_FAILED_BAD_TABLE_ID);
        }
        check::instructions(bridge, change.table, &change.instructions)?;
        let selected = select(bridge, change);
        for flow in &selected {
            check::prerequisites(&flow.matching, &change.instructions)?;
            ledger.tables.check_instructions(flow, change)?;
        }
        let secret = self.secret;
        if let Some((bridge, ledger)) = self.change(id).filter(|_| !selected.is_empty()) {
            for old in selected {
                ledger.strike(&old);
                let counters = match change.flags.reset_counts {
                    true => Arc::default(),
                    false => old.counters.clone(),
                };
                let instructions = change.instructions.clone();
                let new = Flow {
                    instructions,
                    counters,
                    ..Flow::clone(&old)
                };
                put(bridge, ledger, new, secret);
            }
        }
        Ok(())
    }

    fn delete_flows(
        &mut self,
        id: BridgeId,
        change: &FlowMod,
        now_ms: u64,
    ) -> Result<Vec<RemovedFlow>, ErrorCode> {
        if self.ledgers.contains_key(&id) && !self.has_table(id, change.table) {
            return Err(ErrorCode::FLOW_MOD_FAILED_BAD_TABLE_ID);
        }
        let selected = match self.state.bridge(id) {
            Some(bridge) => select(bridge, change),
            None => Vec::new(),
        };
        Ok(self.remove_flows(id, selected, FlowRemovedReason::Delete, now_ms))
    }

    /// Takes flows out of their tables.
    pub(super) fn remove_flows(
        &mut self,
        id: BridgeId,
        flows: Vec<Arc<Flow>>,
        reason: FlowRemovedReason,
        removed_ms: u64,
    ) -> Vec<RemovedFlow> {
        if flows.is_empty() {
            return Vec::new();
        }
        let Some((bridge, ledger)) = self.change(id) else {
            return Vec::new();
        };
        for flow in &flows {
            ledger.strike(flow);
            if let Some(table) = bridge.tables.get_mut(&flow.table) {
                let table = Arc::make_mut(table);
                table.rules.remove(&flow.matching, flow.priority);
            }
        }
        let removed = flows.into_iter().map(|flow| RemovedFlow {
            bridge: id,
            flow,
            reason,
            removed_ms,
        });
        removed.collect()
    }
}

/// Where a new flow goes.
#[derive(Default)]
struct Place {
    /// The flow whose place it takes.
    old: Option<Arc<Flow>>,
    /// The flow that makes room for it in a full table.
    victim: Option<Arc<Flow>>,
}

/// Puts a flow in its table, in the place of one with equal match and priority. A table that it
/// leads to is made, too, so that lookups there are counted.
fn put(bridge: &mut Bridge, ledger: &mut Ledger, flow: Flow, secret: u64) {
    let flow = Arc::new(flow);
    for id in [Some(flow.table), flow.instructions.goto]
        .into_iter()
        .flatten()
    {
        let new = || Arc::new(Table::new(id, secret));
        bridge.tables.entry(id).or_insert_with(new);
    }
    if let Some(table) = bridge.tables.get_mut(&flow.table) {
        let rules = &mut Arc::make_mut(table).rules;
        rules.insert(&flow.matching, flow.priority, flow.clone());
    }
    ledger.enter(&flow);
}

/// The flows that a modification or deletion is about.
fn select(bridge: &Bridge, change: &FlowMod) -> Vec<Arc<Flow>> {
    let deletes = matches!(
        change.command,
        FlowModCommand::Delete | FlowModCommand::DeleteStrict
    );
    let (out_port, out_group) = match deletes {
        true => (change.out_port, change.out_group),
        false => (OfPort::ANY, GroupId::ANY),
    };
    let request = FlowStatsRequest {
        table: change.table,
        out_port,
        out_group,
        cookie: change.cookie,
        cookie_mask: change.cookie_mask,
        matching: change.matching.clone(),
    };
    if let FlowModCommand::ModifyStrict | FlowModCommand::DeleteStrict = change.command {
        let tables = tables(bridge, change.table);
        let flows = tables.filter_map(|table| table.rules.get(&change.matching, change.priority));
        return flows
            .filter(|flow| wanted(flow, &request))
            .cloned()
            .collect();
    }
    flows(bridge, &request).cloned().collect()
}

/// The flows that a request asks for, one table after the other.
pub fn flows<'a>(
    bridge: &'a Bridge,
    request: &'a FlowStatsRequest,
) -> impl Iterator<Item = &'a Arc<Flow>> {
    let tables = tables(bridge, request.table);
    let entries = tables.flat_map(|table| table.rules.included_in(&request.matching));
    let flows = entries.map(|entry| entry.rule);
    flows.filter(|flow| wanted(flow, request))
}

/// A table, or all that were ever used.
fn tables(bridge: &Bridge, id: TableId) -> impl Iterator<Item = &Arc<Table>> {
    let tables = bridge.tables.values();
    tables.filter(move |table| id == TableId::ALL || table.id == id)
}

/// Whether a flow passes the filters other than its match.
fn wanted(flow: &Flow, request: &FlowStatsRequest) -> bool {
    let sends = |wanted: &dyn Fn(&Action) -> bool| lists(&flow.instructions).flatten().any(wanted);
    let out_port = request.out_port;
    let to_port =
        |action: &Action| matches!(action, Action::Output { port, .. } if *port == out_port);
    let to_group =
        |action: &Action| matches!(action, Action::Group(id) if *id == request.out_group);
    (flow.cookie ^ request.cookie) & request.cookie_mask == 0
        && (request.out_port == OfPort::ANY || sends(&to_port))
        && (request.out_group == GroupId::ANY || sends(&to_group))
}

/// `OFPTC_DEPRECATED_MASK`.
pub(super) const CONFIG_DEPRECATED: u32 = 3;
