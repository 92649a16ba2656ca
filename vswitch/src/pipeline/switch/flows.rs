//! Flow modification (OpenFlow 1.3.5 §6.4).

use std::sync::Arc;

use flowtable::Walk;
use openflow::{
    Action, ErrorCode, FlowMod, FlowModCommand, FlowRemovedReason, FlowStatsRequest, GroupId,
    OfPort, TableId, TableMod,
};

use super::super::flow::{FlowRef, Payload};
use super::super::{Bridge, RemovedFlow};
use super::footprint::lists;
use super::ledger::NewFlow;
use super::{Ledger, Switch, check};
use crate::action::BridgeId;

/// OpenFlow's modifications. An error changes nothing.
impl Switch {
    /// Adds, modifies or deletes flows; of the flows that went, those with `send_flow_removed`. A
    /// flow that another takes the place of is not among them.
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
        let Place { old, victim } = self.find_place(bridge, change)?;
        let evicted = victim.into_iter().collect();
        let evicted = self.remove_flows(bridge, evicted, FlowRemovedReason::Delete, now_ms);
        let Some((mut draft, ledger)) = self.draft(bridge) else {
            return Ok(evicted);
        };
        let flow = NewFlow {
            table: change.table,
            priority: change.priority,
            matching: &change.matching,
            instructions: &change.instructions,
            payload: Payload {
                row: 0,
                instructions: 0,
                serial: 0,
                cookie: change.cookie,
                created_ms: now_ms,
                idle_timeout_s: change.idle_timeout_s,
                hard_timeout_s: change.hard_timeout_s,
                flags: change.flags,
                generation: old
                    .and_then(|row| ledger.flow(row))
                    .map_or(0, |(_, rule)| Payload::of(&rule).generation.wrapping_add(1)),
            },
        };
        let before = old.and_then(|row| ledger.watched(draft.bridge, row));
        let row = ledger.put(&mut draft, &flow, (old, !change.flags.reset_counts))?;
        ledger.note_added(draft.bridge, row, before);
        Ok(evicted)
    }

    /// Where the new flow goes; an error if it cannot be added.
    fn find_place(&self, id: BridgeId, change: &FlowMod) -> Result<Place, ErrorCode> {
        let (Some(bridge), Some(ledger)) = (self.state.bridge(id), self.ledgers.get(&id)) else {
            return Ok(Place::default());
        };
        if change.table > TableId::LAST {
            return Err(ErrorCode::FLOW_MOD_FAILED_BAD_TABLE_ID);
        }
        ledger.tables.check(change)?;
        check::instructions(bridge, change.table, &change.instructions)?;
        check::prerequisites(&change.matching, &change.instructions)?;
        let Some(table) = ledger.flows_of(change.table) else {
            return Ok(Place::default());
        };
        let (matching, priority) = (&change.matching, change.priority);
        if change.flags.check_overlap {
            let walk = Walk::overlapping(matching);
            let mut overlapping = table.rules().walk(walk, self.state.epoch);
            if overlapping.any(|rule| rule.priority() == priority) {
                return Err(ErrorCode::FLOW_MOD_FAILED_OVERLAP);
            }
        }
        let old = table
            .get(matching, priority)
            .and_then(|old| table.rule(old));
        let old = old.map(|rule| Payload::of(&rule).row);
        if old.is_some() || table.len() < ledger.flows_max {
            return Ok(Place { old, victim: None });
        }
        match ledger.victim(change.table) {
            None => Err(ErrorCode::FLOW_MOD_FAILED_TABLE_FULL),
            victim => Ok(Place { old: None, victim }),
        }
    }

    /// Gives the selected flows new instructions; all else of them stays.
    fn modify_flows(&mut self, id: BridgeId, change: &FlowMod) -> Result<(), ErrorCode> {
        self.check_change(id, change)?;
        let rows = self.select(id, change);
        if self.must_check_flows(id, change) {
            self.check_modified(id, &rows, change)?;
        }
        self.modify_rows(id, rows, change)
    }

    fn delete_flows(
        &mut self,
        id: BridgeId,
        change: &FlowMod,
        now_ms: u64,
    ) -> Result<Vec<RemovedFlow>, ErrorCode> {
        self.check_change(id, change)?;
        let rows = self.select(id, change);
        Ok(self.remove_flows(id, rows, FlowRemovedReason::Delete, now_ms))
    }

    /// An error if a modification or deletion cannot be for any flow.
    pub(super) fn check_change(&self, id: BridgeId, change: &FlowMod) -> Result<(), ErrorCode> {
        let (Some(bridge), Some(ledger)) = (self.state.bridge(id), self.ledgers.get(&id)) else {
            return Ok(());
        };
        let is_modified = matches!(
            change.command,
            FlowModCommand::Modify | FlowModCommand::ModifyStrict
        );
        let is_any = change.table == TableId::ALL && !is_modified;
        if !is_any && !ledger.tables.has(change.table) {
            return Err(ErrorCode::FLOW_MOD_FAILED_BAD_TABLE_ID);
        }
        match is_modified {
            true => check::instructions(bridge, change.table, &change.instructions),
            false => Ok(()),
        }
    }

    /// Whether a modification may be for some flows and not for others.
    pub(super) fn must_check_flows(&self, id: BridgeId, change: &FlowMod) -> bool {
        let ledger = self.ledgers.get(&id);
        check::sets_fields(&change.instructions)
            || ledger.is_some_and(|ledger| ledger.tables.are_cut())
    }

    /// An error if a modification cannot be for these flows.
    pub(super) fn check_modified(
        &self,
        id: BridgeId,
        rows: &[u32],
        change: &FlowMod,
    ) -> Result<(), ErrorCode> {
        let (Some(bridge), Some(ledger)) = (self.state.bridge(id), self.ledgers.get(&id)) else {
            return Ok(());
        };
        for (table, rule) in rows.iter().filter_map(|row| ledger.flow(*row)) {
            let flow = FlowRef::new(bridge, table, rule);
            check::prerequisites(&rule.matching(), &change.instructions)?;
            ledger.tables.check_instructions(&flow, change)?;
        }
        Ok(())
    }

    /// Gives flows, named by their rows, new instructions.
    pub(super) fn modify_rows(
        &mut self,
        id: BridgeId,
        rows: Vec<u32>,
        change: &FlowMod,
    ) -> Result<(), ErrorCode> {
        if rows.is_empty() {
            return Ok(());
        }
        let reset = change.flags.reset_counts;
        let Some((mut draft, ledger)) = self.draft(id) else {
            return Ok(());
        };
        for row in rows {
            let Some((table, rule)) = ledger.flow(row) else {
                continue;
            };
            let matching = rule.matching();
            let flow = NewFlow {
                table,
                priority: rule.priority(),
                matching: &matching,
                instructions: &change.instructions,
                payload: Payload::of(&rule),
            };
            let before = ledger.watched(draft.bridge, row);
            let row = ledger.put(&mut draft, &flow, (Some(row), !reset))?;
            ledger.note_modified(draft.bridge, row, before);
        }
        Ok(())
    }

    /// The rows of the flows that a modification or deletion is for.
    fn select(&self, id: BridgeId, change: &FlowMod) -> Vec<u32> {
        let (Some(bridge), Some(ledger)) = (self.state.bridge(id), self.ledgers.get(&id)) else {
            return Vec::new();
        };
        let request = request(change);
        if let FlowModCommand::ModifyStrict | FlowModCommand::DeleteStrict = change.command {
            let flows = ledger.used(change.table).filter_map(|(id, table)| {
                let rule = table.rule(table.get(&change.matching, change.priority)?)?;
                Some(FlowRef::new(bridge, id, rule))
            });
            let wanted = flows.filter(|flow| wanted(flow, &request));
            return wanted.map(|flow| flow.row()).collect();
        }
        let selection = Selection::new(bridge, ledger, &request);
        let rows = selection.within(self.state.epoch, usize::MAX);
        rows.unwrap_or_default()
    }

    /// Takes flows, named by their rows, out of their tables; those whose controllers want to hear
    /// of it.
    pub(super) fn remove_flows(
        &mut self,
        id: BridgeId,
        rows: Vec<u32>,
        reason: FlowRemovedReason,
        removed_ms: u64,
    ) -> Vec<RemovedFlow> {
        if rows.is_empty() {
            return Vec::new();
        }
        let published = Arc::clone(&self.published);
        let Some((mut draft, ledger)) = self.draft(id) else {
            return Vec::new();
        };
        let mut removed = Vec::new();
        for row in rows {
            if let Some((table, rule)) = ledger.flow(row)
                && Payload::of(&rule).flags.send_flow_removed
                && let Some(flow) = FlowRef::new(draft.bridge, table, rule).read()
            {
                removed.push(RemovedFlow {
                    bridge: id,
                    flow: Arc::new(flow),
                    reason,
                    removed_ms,
                    _published: Arc::clone(&published),
                });
            }
            ledger.note_deleted(draft.bridge, row, reason);
            ledger.remove(&mut draft, row);
        }
        ledger.show_all(draft.bridge);
        removed
    }
}

/// Where a new flow goes; flows are named by their rows.
#[derive(Default)]
struct Place {
    /// The flow whose place it takes.
    old: Option<u32>,
    /// The flow that makes room for it in a full table.
    victim: Option<u32>,
}

/// The flows that a loose modification or deletion is about.
pub fn request(change: &FlowMod) -> FlowStatsRequest {
    let deletes = matches!(
        change.command,
        FlowModCommand::Delete | FlowModCommand::DeleteStrict
    );
    let (out_port, out_group) = match deletes {
        true => (change.out_port, change.out_group),
        false => (OfPort::ANY, GroupId::ANY),
    };
    FlowStatsRequest {
        table: change.table,
        out_port,
        out_group,
        cookie: change.cookie,
        cookie_mask: change.cookie_mask,
        matching: change.matching.clone(),
    }
}

/// A search for all the flows that a request asks for.
pub struct Selection<'a> {
    bridge: &'a Bridge,
    ledger: &'a Ledger,
    request: &'a FlowStatsRequest,
    walk: Walk,
}

impl<'a> Selection<'a> {
    /// The search in a bridge.
    pub fn new(bridge: &'a Bridge, ledger: &'a Ledger, request: &'a FlowStatsRequest) -> Self {
        Selection {
            bridge,
            ledger,
            request,
            walk: Walk::included_in(&request.matching),
        }
    }

    /// The rows of the flows; `None` if it takes more than so many steps to find them.
    pub fn within(&self, epoch: u64, mut steps: usize) -> Option<Vec<u32>> {
        let mut tables = self.ledger.used(self.request.table);
        if tables.any(|(_, table)| table.rules().must_scan(&self.walk))
            && let Some(rows) = self.by_index(&mut steps)
        {
            return (steps > 0).then_some(rows);
        }
        let mut rows = Vec::new();
        for (id, table) in self.ledger.used(self.request.table) {
            let mut walk = self.walk.clone();
            while let Some(rule) = table.rules().next_within(&mut walk, epoch, &mut steps) {
                let flow = FlowRef::new(self.bridge, id, rule);
                if wanted(&flow, self.request) {
                    rows.push(flow.row());
                }
            }
        }
        (steps > 0).then_some(rows)
    }

    /// The rows of the flows, found by their cookies, groups or ports within so many steps; `None`
    /// if that is not the way to find them: they may be any.
    fn by_index(&self, steps: &mut usize) -> Option<Vec<u32>> {
        let request = self.request;
        let mut found = Vec::new();
        let mut look = |row: Option<u32>| {
            found.extend(row.filter(|row| self.is_wanted(*row)));
            *steps -= 1;
            (*steps > 0).then_some(())
        };
        let mut by_cookie = self
            .ledger
            .rows
            .with_cookie(request.cookie, request.cookie_mask);
        // Whoever looks ends the search when it has taken too long.
        let _ = match request {
            request if request.cookie_mask == u64::MAX => by_cookie.try_for_each(look),
            request if request.out_group != GroupId::ANY => {
                let mut users = self.ledger.group_users.of(request.out_group);
                users.try_for_each(|row| look(Some(row)))
            }
            request if request.out_port != OfPort::ANY => {
                let mut senders = self.ledger.senders(request.out_port);
                senders.try_for_each(|row| look(Some(row)))
            }
            request if request.cookie_mask != 0 => by_cookie.try_for_each(look),
            _ => return None,
        };
        Some(found)
    }

    fn is_wanted(&self, row: u32) -> bool {
        let Some((table, rule)) = self.ledger.flow(row) else {
            return false;
        };
        [TableId::ALL, table].contains(&self.request.table)
            && rule.is_of(&self.walk)
            && wanted(&FlowRef::new(self.bridge, table, rule), self.request)
    }
}

/// The flows that a request asks for, one table after the other.
pub fn flows<'a>(
    bridge: &'a Bridge,
    ledger: &'a Ledger,
    request: &'a FlowStatsRequest,
    epoch: u64,
) -> impl Iterator<Item = FlowRef<'a>> {
    let walk = Walk::included_in(&request.matching);
    let tables = ledger.used(request.table);
    let flows = tables.flat_map(move |(id, table)| {
        let rules = table.rules().walk(walk.clone(), epoch);
        rules.map(move |rule| FlowRef::new(bridge, id, rule))
    });
    flows.filter(|flow| wanted(flow, request))
}

/// Whether a flow passes the filters other than its match.
pub fn wanted(flow: &FlowRef<'_>, request: &FlowStatsRequest) -> bool {
    if (flow.cookie() ^ request.cookie) & request.cookie_mask != 0 {
        return false;
    }
    if request.out_port == OfPort::ANY && request.out_group == GroupId::ANY {
        return true;
    }
    let sends = |wanted: &dyn Fn(&Action) -> bool| {
        let instructions = flow.instructions().into_iter();
        instructions
            .flat_map(|all| lists(all))
            .flatten()
            .any(wanted)
    };
    let out_port = request.out_port;
    let to_port =
        |action: &Action| matches!(action, Action::Output { port, .. } if *port == out_port);
    let to_group =
        |action: &Action| matches!(action, Action::Group(id) if *id == request.out_group);
    (request.out_port == OfPort::ANY || sends(&to_port))
        && (request.out_group == GroupId::ANY || sends(&to_group))
}

/// `OFPTC_DEPRECATED_MASK`.
pub const CONFIG_DEPRECATED: u32 = 3;
