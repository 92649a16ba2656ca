//! What the writer keeps of a bridge beside the published part: where flows are, who uses what,
//! and when flows and addresses end.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowtable::{Classifier, Match, Rule};
use openflow::{Action, ErrorCode, GroupId, Instructions, MeterId, OfPort, TableId};

use super::super::flow::Payload;
use super::super::{Bridge, Table};
use super::addresses::Addresses;
use super::features::Tables;
use super::footprint::{Footprint, leads_to, lists, rewritten};
use super::interner::Interner;
use super::learned::Learned;
use super::masks::OwnMasks;
use super::rows::{FlowRows, Lists};
use super::timeouts::Timeouts;
use super::transaction::{Entry, GoneFlow, Journal};
use super::users::Users;
use super::{BridgeSpec, Changed, Draft, Group, Overflow};
use crate::action::FlowCounters;

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
    /// The flows of each table that was ever used.
    flows: BTreeMap<TableId, Classifier>,
    /// A row for each flow.
    pub rows: FlowRows,
    instructions: Interner,
    /// What the flows of each table read.
    pub footprints: BTreeMap<TableId, Footprint>,
    /// What the buckets of all groups read.
    pub group_footprint: Footprint,
    /// Groups with each group that sends to them.
    parents: Users<GroupId, GroupId>,
    /// Groups with each group that watches them.
    watchers: Users<GroupId, GroupId>,
    /// Flows, by their rows, and the groups they send to.
    pub group_users: Users<GroupId, u32>,
    /// Flows, by their rows, and the meters they use.
    pub meter_users: Users<MeterId, u32>,
    /// Flows with a timeout, by their rows.
    pub timeouts: Timeouts,
    /// Learned addresses.
    pub addresses: Addresses,
    /// Flows that packets make.
    pub learned: Learned,
    /// What the bridge's own flows and groups match and read.
    pub own_masks: OwnMasks,
    /// Whether that has to be computed again.
    pub mask_stale: bool,
    /// Which tables are there, and what they can do.
    pub tables: Tables,
    /// Configuration of tables that have one.
    pub table_configs: BTreeMap<TableId, u32>,
    /// Keeps whoever does not know it from making flows that collide.
    secret: u64,
    /// What happened to flows, while somebody watches.
    pub changes: Option<Vec<Changed>>,
    /// What a transaction did so far, while one runs.
    pub(super) journal: Option<Journal>,
}

/// A flow to be put in its table.
#[derive(Clone, Copy, Debug)]
pub struct NewFlow<'a> {
    /// Its table.
    pub table: TableId,
    /// Its priority.
    pub priority: u16,
    /// Its match.
    pub matching: &'a Match,
    /// What it does.
    pub instructions: &'a Instructions,
    /// All else; row and number of instructions are still to be filled in.
    pub payload: Payload,
}

impl Ledger {
    /// The book on a bridge without flows.
    pub fn new(spec: &BridgeSpec, secret: u64) -> Ledger {
        Ledger {
            flows_max: spec.flows_max,
            overflow: spec.overflow,
            groups_max: spec.groups_max,
            meters_max: spec.meters_max,
            flows: BTreeMap::new(),
            rows: FlowRows::new(),
            instructions: Interner::default(),
            footprints: BTreeMap::new(),
            group_footprint: Footprint::default(),
            parents: Users::default(),
            watchers: Users::default(),
            group_users: Users::default(),
            meter_users: Users::default(),
            timeouts: Timeouts::default(),
            addresses: Addresses::new(spec.macs_max, spec.mac_age_s),
            learned: Learned::default(),
            own_masks: OwnMasks::default(),
            mask_stale: true,
            tables: Tables::default(),
            table_configs: BTreeMap::new(),
            secret,
            changes: None,
            journal: None,
        }
    }

    /// The book on the same bridge without flows, groups and meters. It takes the addresses over,
    /// and goes on numbering flows.
    pub fn successor(&mut self) -> Ledger {
        let spec = BridgeSpec {
            flows_max: self.flows_max,
            overflow: self.overflow,
            groups_max: self.groups_max,
            meters_max: self.meters_max,
            ..BridgeSpec::default()
        };
        Ledger {
            rows: FlowRows::after(self.rows.serial()),
            addresses: std::mem::replace(&mut self.addresses, Addresses::new(0, 0)),
            own_masks: self.own_masks,
            changes: self.changes.take(),
            ..Ledger::new(&spec, self.secret)
        }
    }

    /// The flows of a table, if it was ever used.
    pub fn flows_of(&self, id: TableId) -> Option<&Classifier> {
        self.flows.get(&id)
    }

    /// Tables that were ever used, one or all, with their flows.
    pub fn used(&self, wanted: TableId) -> impl Iterator<Item = (TableId, &Classifier)> {
        let tables = self.flows.iter().map(|(id, table)| (*id, table));
        tables.filter(move |(id, _)| wanted == TableId::ALL || wanted == *id)
    }

    /// The flow of a row, in its table.
    pub fn flow(&self, row: u32) -> Option<(TableId, Rule<'_>)> {
        let (table, id) = self.rows.home(row);
        let rule = self.flows.get(&table)?.rule(id)?;
        Some((table, rule))
    }

    /// The row of the flow that makes room for another in a full table, if the bridge lets one:
    /// that which may end first.
    pub fn victim(&self, table: TableId) -> Option<u32> {
        match self.overflow {
            Overflow::Refuse => None,
            Overflow::Evict => self.timeouts.first_of(table),
        }
    }

    /// Puts a flow in its table, in the place of that in the row `old`, of the same match and
    /// priority; whether it goes on with that row is said by `keeps`. Its row; an error changes
    /// nothing.
    pub fn put(
        &mut self,
        draft: &mut Draft<'_>,
        flow: &NewFlow<'_>,
        (old, keeps): (Option<u32>, bool),
    ) -> Result<u32, ErrorCode> {
        let epoch = draft.epoch;
        self.make_table(draft, flow.table);
        let old = old.filter(|old| self.flow(*old).is_some());
        let kept = old.filter(|_| keeps);
        let cookie = flow.payload.cookie;
        let row = kept.or_else(|| self.rows.add(cookie));
        let row = row.ok_or(ErrorCode::FLOW_MOD_FAILED_TABLE_FULL)?;
        let instructions = self.take_instructions(draft, flow.instructions);
        let payload = Payload {
            row,
            instructions,
            serial: FlowCounters::serial_of(self.rows.shared(), row).unwrap_or_default(),
            ..flow.payload
        };
        let table = self.flows.get_mut(&flow.table);
        let placed = table
            .and_then(|table| table.insert(flow.matching, flow.priority, &payload.words(), epoch));
        let Some(placed) = placed else {
            let list = &mut draft.bridge.instructions;
            self.instructions.release(instructions, list);
            if kept.is_none() {
                self.rows.leave(row, cookie);
                self.rows.retire(row, epoch);
            }
            return Err(ErrorCode::FLOW_MOD_FAILED_TABLE_FULL);
        };
        if let Some(oldest) = self.journal.as_ref().map(|journal| journal.oldest)
            && let Some(table) = self.flows.get_mut(&flow.table)
        {
            table.make_room(placed, oldest, epoch);
        }
        if let Some((old, lists)) = old.and_then(|old| Some((old, self.strike(draft, old)?))) {
            match keeps {
                true => {
                    self.instructions.leave(lists.instructions, row, &self.rows);
                    self.rows.change_cookie(row, lists.cookie, cookie);
                }
                false => {
                    self.rows.use_as(row, old);
                    self.forget(old, lists, epoch);
                    self.rows.set_gone(old, Some(row));
                }
            }
        }
        self.rows.set_home(row, flow.table, placed);
        self.enter(row, flow, &payload);
        let is_new = kept.is_none();
        self.note(|| Entry::Flow { row, is_new });
        if old.is_none() {
            draft.note_new(flow.table, flow.matching, flow.priority);
        }
        self.show(draft.bridge, flow.table);
        Ok(row)
    }

    /// Rows and places in tables of flows that went or were changed.
    pub fn waiting(&self) -> usize {
        let tables = self.flows.values().map(Classifier::waiting);
        self.rows.waiting() + tables.sum::<usize>()
    }

    /// Takes a flow out of its table. Readers are shown with [`Ledger::show`].
    pub fn remove(&mut self, draft: &mut Draft<'_>, row: u32) {
        if let Some(lists) = self.strike(draft, row) {
            self.forget(row, lists, draft.epoch);
        }
    }

    /// Gives readers of the next epoch the list of rules of a table, if it is another one.
    pub fn show(&self, bridge: &mut Bridge, table: TableId) {
        let (Some(shown), Some(ours)) = (bridge.tables.get(table), self.flows.get(&table)) else {
            return;
        };
        if !shown.rules.is_same(ours.rules())
            && let Some(shown) = bridge.tables.get_mut(table)
        {
            Arc::make_mut(shown).rules = ours.rules().clone();
        }
    }

    /// The same for all tables.
    pub fn show_all(&self, bridge: &mut Bridge) {
        let tables: Vec<_> = self.flows.keys().copied().collect();
        tables
            .into_iter()
            .for_each(|table| self.show(bridge, table));
    }

    /// Makes a table that is not there, so that lookups in it are counted.
    pub fn make_table(&mut self, draft: &mut Draft<'_>, id: TableId) {
        if draft.bridge.table(id).is_some() {
            return;
        }
        draft.changes.all(draft.epoch);
        let new = || Classifier::new(self.secret, Payload::WORDS);
        let flows = self.flows.entry(id).or_insert_with(new);
        let table = Table::new(id, flows.rules().clone());
        draft.bridge.tables.insert(table);
    }

    /// The number of these instructions, with one more flow.
    fn take_instructions(&mut self, draft: &mut Draft<'_>, instructions: &Instructions) -> u32 {
        let list = &mut draft.bridge.instructions;
        let number = self.instructions.take(instructions, list);
        if self.instructions.users(number) == 1 {
            leads_to(instructions).for_each(|table| self.make_table(draft, table));
            let rewritten = rewritten(instructions);
            draft.changes.rewritten(&rewritten, draft.epoch);
        }
        number
    }

    /// Frees what nobody reads any more: readers are at `oldest` or later, changes are made for
    /// `epoch`. Whether readers are to be given other lists; whether there is more to do.
    pub fn maintain(
        &mut self,
        bridge: &mut Arc<Bridge>,
        (oldest, epoch): (u64, u64),
        steps: usize,
    ) -> (bool, bool) {
        let instructions = &mut self.instructions;
        let leave = |rows: &FlowRows, number, row| instructions.leave(number, row, rows);
        let mut more = self.rows.maintain((oldest, epoch), steps, leave);
        let mut changed = false;
        let mut changed_tables = Vec::new();
        let mut moved = Vec::new();
        for (id, table) in &mut self.flows {
            more |= table.maintain((oldest, epoch), steps, &mut moved);
            changed |= !moved.is_empty();
            for place in moved.drain(..) {
                if let Some(rule) = table.rule(place) {
                    self.rows.set_home(Payload::of(&rule).row, *id, place);
                }
            }
            let shown = bridge.tables.get(*id);
            if shown.is_some_and(|shown| !shown.rules.is_same(table.rules())) {
                changed_tables.push(*id);
            }
        }
        for id in changed_tables {
            self.show(Arc::make_mut(bridge), id);
            changed = true;
        }
        (changed, more)
    }

    /// Books what a flow uses.
    fn enter(&mut self, row: u32, flow: &NewFlow<'_>, payload: &Payload) {
        self.mask_stale = true;
        let is_plain = self.instructions.is_plain(payload.instructions);
        let instructions = (!is_plain).then_some(flow.instructions);
        self.learned
            .enter((flow.table, payload.cookie), instructions);
        self.instructions
            .join(payload.instructions, row, &self.rows);
        if !self.instructions.is_plain(payload.instructions) {
            let footprint = self.footprints.entry(flow.table).or_default();
            footprint.add(flow.matching, flow.instructions);
            for group in groups(flow.instructions) {
                self.group_users.insert(group, row);
            }
            if let Some(meter) = flow.instructions.meter {
                self.meter_users.insert(meter, row);
            }
        }
        if payload.idle_timeout_s | payload.hard_timeout_s != 0 || self.rows.deadline_ms(row) != 0 {
            let asked_ms = self.learned.asked_ms(row);
            let deadline_ms = payload.deadline_ms(self.rows.used_ms(row), asked_ms);
            let deadline_ms = deadline_ms.unwrap_or(0);
            self.timeouts.set(&self.rows, row, deadline_ms);
        }
    }

    /// Takes back [`Ledger::enter`] and takes the flow out of its table. Its row stays, in the
    /// lists that it is in.
    fn strike(&mut self, draft: &mut Draft<'_>, row: u32) -> Option<Lists> {
        self.mask_stale = true;
        let (table, id) = self.rows.home(row);
        let flows = self.flows.get_mut(&table)?;
        let rule = flows.rule(id)?;
        draft.note_old(table, &rule);
        let bridge = &*draft.bridge;
        let payload = Payload::of(&rule);
        let number = payload.instructions;
        if let Some(journal) = &mut self.journal
            && let Some(instructions) = bridge.instructions.get(number)
        {
            journal
                .entries
                .push(Entry::NoFlow(GoneFlow::new(table, &rule, instructions)));
        }
        let is_plain = self.instructions.is_plain(number);
        let matching = (!is_plain).then(|| rule.matching());
        flows.remove(id, draft.epoch);
        let instructions = bridge.instructions.get(number);
        let instructions = instructions.filter(|_| !is_plain);
        let name = (table, payload.cookie);
        let makes_room = self.learned.strike(name, instructions.map(|all| &**all));
        if let Some(matching) = matching
            && let Some(instructions) = bridge.instructions.get(number)
        {
            if let Some(footprint) = self.footprints.get_mut(&table) {
                footprint.remove(&matching, instructions);
            }
            for group in groups(instructions) {
                self.group_users.remove(group, row);
            }
            if let Some(meter) = instructions.meter {
                self.meter_users.remove(meter, row);
            }
        }
        self.instructions
            .release(number, &mut draft.bridge.instructions);
        if makes_room && draft.bridge.exhausted.remove(&name).is_some() {
            draft.changes.all(draft.epoch);
        }
        Some(Lists {
            instructions: number,
            cookie: payload.cookie,
        })
    }

    /// Gives up the row of a flow that goes. A transaction may want it back.
    fn forget(&mut self, row: u32, lists: Lists, epoch: u64) {
        self.timeouts.set(&self.rows, row, 0);
        self.learned.forget(row);
        self.rows.set_gone(row, None);
        match self.journal.is_some() {
            true => {
                self.leave(row, lists);
                self.note(|| Entry::Row(row));
            }
            false => self.rows.retire_listed(row, lists, epoch),
        }
    }

    /// Takes a row out of its lists.
    fn leave(&mut self, row: u32, lists: Lists) {
        self.instructions.leave(lists.instructions, row, &self.rows);
        self.rows.leave(row, lists.cookie);
    }

    /// Takes back [`Ledger::put`] of a flow in an unpublished state; `is_new` says whether the row
    /// is given up, too.
    pub(super) fn take_back(&mut self, draft: &mut Draft<'_>, row: u32, is_new: bool) {
        let Some(lists) = self.strike(draft, row) else {
            return;
        };
        self.leave(row, lists);
        if is_new {
            self.timeouts.set(&self.rows, row, 0);
            self.rows.set_gone(row, None);
            self.rows.retire(row, draft.epoch);
        }
    }

    /// Puts a flow that was struck out back in its table, with its row.
    pub(super) fn put_back(&mut self, draft: &mut Draft<'_>, flow: &GoneFlow) {
        let new = flow.as_new();
        let payload = Payload {
            instructions: self.take_instructions(draft, new.instructions),
            ..new.payload
        };
        let (words, epoch) = (payload.words(), draft.epoch);
        let table = self.flows.get_mut(&new.table);
        let placed =
            table.and_then(|table| table.insert(new.matching, new.priority, &words, epoch));
        // Without room only if all the cells that there can be are taken.
        if let Some(placed) = placed {
            self.rows.join(payload.row, payload.cookie);
            self.rows.set_home(payload.row, new.table, placed);
            self.enter(payload.row, &new, &payload);
        }
    }

    /// Enters a group.
    pub fn enter_group(&mut self, group: &Arc<Group>) {
        self.note(|| Entry::Group(group.clone()));
        self.mask_stale = true;
        for bucket in &group.buckets {
            self.group_footprint.add_actions(&bucket.actions);
        }
        for next in group.next() {
            self.parents.insert(next, group.id);
        }
        for watched in group.watched() {
            self.watchers.insert(watched, group.id);
        }
    }

    /// Strikes a group out.
    pub fn strike_group(&mut self, group: &Arc<Group>) {
        self.note(|| Entry::NoGroup(group.clone()));
        self.mask_stale = true;
        for bucket in &group.buckets {
            self.group_footprint.remove_actions(&bucket.actions);
        }
        for next in group.next() {
            self.parents.remove(next, group.id);
        }
        for watched in group.watched() {
            self.watchers.remove(watched, group.id);
        }
    }

    /// How many groups and flows send to a group.
    pub fn references(&self, group: GroupId) -> u32 {
        self.group_users.count(group) + self.parents.count(group)
    }

    /// Whether a group sends to this one.
    pub fn has_parents(&self, group: GroupId) -> bool {
        self.parents.count(group) > 0
    }

    /// Whether a group watches this one.
    pub fn is_watched(&self, group: GroupId) -> bool {
        self.watchers.count(group) > 0
    }

    /// Flows that have an output to a port, by their rows.
    pub fn senders(&self, port: OfPort) -> impl Iterator<Item = u32> {
        let numbers = self.instructions.sending_to(port);
        numbers.flat_map(|number| self.instructions.flows(number, &self.rows))
    }
}

fn groups(instructions: &Instructions) -> impl Iterator<Item = GroupId> {
    lists(instructions)
        .flat_map(Action::all)
        .filter_map(|action| match action {
            Action::Group(group) => Some(*group),
            _ => None,
        })
}
