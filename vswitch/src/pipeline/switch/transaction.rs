//! Several changes as one: all of them, or none (bundles).
//!
//! The working copy shares its parts with the copies before, so going back to how it was is to
//! take an old copy. The ledger is not persistent; it notes what is entered and struck out while
//! a transaction runs, and undoes that in reverse order. So a transaction that succeeds costs a
//! clone and a note per flow, and one that fails what it had done until then.

use std::sync::Arc;

use super::{Flow, Group, Ledger, Switch};
use crate::action::BridgeId;

/// What happened to a ledger.
#[derive(Debug)]
pub(super) enum Entry {
    /// A flow was entered.
    Flow(Arc<Flow>),
    /// A flow was struck out.
    NoFlow(Arc<Flow>),
    /// A group was entered.
    Group(Arc<Group>),
    /// A group was struck out.
    NoGroup(Arc<Group>),
}

impl Switch {
    /// Makes changes to one bridge's flows, groups and meters and the configuration of its ports.
    /// If they end in an error none of them was made. Nothing is published meanwhile.
    pub fn all_or_nothing<T, E>(
        &mut self,
        id: BridgeId,
        change: impl FnOnce(&mut Switch) -> Result<T, E>,
    ) -> Result<T, E> {
        let (state, was_changed) = (self.state.clone(), self.changed);
        if let Some(ledger) = self.ledgers.get_mut(&id) {
            ledger.journal = Some(Vec::new());
        }
        let result = change(self);
        let ledger = self.ledgers.get_mut(&id);
        let journal = ledger.and_then(|ledger| Some((ledger.journal.take()?, ledger)));
        if result.is_err() {
            self.state = state;
            self.changed = was_changed;
            if let Some((journal, ledger)) = journal {
                ledger.undo(journal);
            }
        }
        result
    }
}

impl Ledger {
    fn undo(&mut self, journal: Vec<Entry>) {
        for entry in journal.into_iter().rev() {
            match entry {
                Entry::Flow(flow) => self.strike(&flow),
                Entry::NoFlow(flow) => self.enter(&flow),
                Entry::Group(group) => self.strike_group(&group),
                Entry::NoGroup(group) => self.enter_group(&group),
            }
        }
    }

    pub(super) fn note(&mut self, entry: impl FnOnce() -> Entry) {
        if let Some(journal) = &mut self.journal {
            journal.push(entry());
        }
    }
}
