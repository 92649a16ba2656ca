//! Several changes as one: all of them, or none (bundles).
//!
//! The working copy shares its parts with the copies before, so going back to how it was is to
//! take an old copy. Not so flows and the ledger: it notes what is entered and struck out while a
//! transaction runs, and undoes that in reverse order. A flow that was struck out is put back as a
//! new one with the old one's row, so that it has its counters and readers of older states notice
//! nothing. So a transaction that succeeds costs a clone and a note per flow, and one that fails
//! what it had done until then.

use std::sync::Arc;

use flowtable::{Match, Rule};
use openflow::{Instructions, TableId};

use super::super::flow::Payload;
use super::ledger::NewFlow;
use super::{Draft, Group, Ledger, Switch};
use crate::action::BridgeId;

/// What a transaction did so far.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) entries: Vec<Entry>,
    /// The oldest epoch that somebody reads at.
    pub(super) oldest: u64,
}

/// What happened to a ledger.
#[derive(Debug)]
pub(super) enum Entry {
    /// A flow was entered.
    Flow {
        /// Its row.
        row: u32,
        /// Whether the row was nobody's before.
        is_new: bool,
    },
    /// A flow was struck out.
    NoFlow(GoneFlow),
    /// A row is given up.
    Row(u32),
    /// A group was entered.
    Group(Arc<Group>),
    /// A group was struck out.
    NoGroup(Arc<Group>),
}

/// All of a flow but its counters, which are in its row.
#[derive(Debug)]
pub(super) struct GoneFlow {
    table: TableId,
    priority: u16,
    matching: Match,
    instructions: Arc<Instructions>,
    payload: Payload,
}

impl GoneFlow {
    pub(super) fn new(
        table: TableId,
        rule: &Rule<'_>,
        instructions: &Arc<Instructions>,
    ) -> GoneFlow {
        GoneFlow {
            table,
            priority: rule.priority(),
            matching: rule.matching(),
            instructions: Arc::clone(instructions),
            payload: Payload::of(rule),
        }
    }

    pub(super) fn as_new(&self) -> NewFlow<'_> {
        NewFlow {
            table: self.table,
            priority: self.priority,
            matching: &self.matching,
            instructions: &self.instructions,
            payload: self.payload,
        }
    }
}

impl Switch {
    /// Makes changes to one bridge's flows, groups and meters and the configuration of its ports.
    /// If they end in an error none of them was made. Nothing is published meanwhile.
    pub fn all_or_nothing<T, E>(
        &mut self,
        id: BridgeId,
        change: impl FnOnce(&mut Switch) -> Result<T, E>,
    ) -> Result<T, E> {
        let (state, oldest) = (self.state.clone(), self.oldest_read());
        if let Some(ledger) = self.ledgers.get_mut(&id) {
            let entries = Vec::new();
            ledger.journal = Some(Journal { entries, oldest });
        }
        let result = change(self);
        let Some(ledger) = self.ledgers.get_mut(&id) else {
            return result;
        };
        let journal = ledger.journal.take().map(|journal| journal.entries);
        let (journal, epoch) = (journal.unwrap_or_default(), self.state.epoch);
        if result.is_ok() {
            ledger.keep(&journal, epoch);
            return result;
        }
        let current = self.draft(id);
        let instructions = current.map(|(mut current, ledger)| {
            ledger.undo(&mut current, journal);
            std::mem::take(&mut current.bridge.instructions)
        });
        self.state = state;
        // Even so there is something to publish: only another epoch frees what was undone.
        self.changed = true;
        if let Some(bridge) = self.state.bridges.get_mut(&id)
            && let Some(ledger) = self.ledgers.get(&id)
            && let Some(instructions) = instructions
        {
            let bridge = Arc::make_mut(bridge);
            bridge.instructions = instructions;
            ledger.show_all(bridge);
        }
        result
    }
}

impl Ledger {
    /// A transaction has come to a good end.
    fn keep(&mut self, journal: &[Entry], epoch: u64) {
        for entry in journal {
            if let Entry::Row(row) = entry {
                self.rows.retire(*row, epoch);
            }
        }
    }

    fn undo(&mut self, draft: &mut Draft<'_>, journal: Vec<Entry>) {
        for entry in journal.into_iter().rev() {
            match entry {
                Entry::Flow { row, is_new } => self.take_back(draft, row, is_new),
                Entry::NoFlow(flow) => self.put_back(draft, &flow),
                Entry::Row(_) => {}
                Entry::Group(group) => self.strike_group(&group),
                Entry::NoGroup(group) => self.enter_group(&group),
            }
        }
    }

    pub(super) fn note(&mut self, entry: impl FnOnce() -> Entry) {
        if let Some(journal) = &mut self.journal {
            journal.entries.push(entry());
        }
    }
}
