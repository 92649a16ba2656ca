//! A flow table as published.

use std::sync::Arc;

use flowtable::Rules;
use openflow::TableId;

use crate::action::Counters;

/// A flow table.
#[derive(Clone)]
pub struct Table {
    /// Which.
    pub id: TableId,
    /// Its flows, to be read at the epoch of the state.
    pub rules: Rules,
    /// Packets that matched a flow.
    pub matched: Arc<Counters>,
    /// Packets that did not.
    pub missed: Arc<Counters>,
}

impl Table {
    /// A table that has counted nothing.
    pub fn new(id: TableId, rules: Rules) -> Table {
        Table {
            id,
            rules,
            matched: Arc::default(),
            missed: Arc::default(),
        }
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "table {}: {:?}", self.id, self.rules)
    }
}
