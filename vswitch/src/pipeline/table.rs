//! A flow table as published.

use std::sync::Arc;

use flowtable::Classifier;
use openflow::TableId;

use super::Flow;
use crate::action::Counters;

/// A flow table.
#[derive(Clone)]
pub struct Table {
    /// Which.
    pub id: TableId,
    /// Its flows.
    pub rules: Classifier<Flow>,
    /// Packets that matched a flow.
    pub matched: Arc<Counters>,
    /// Packets that did not.
    pub missed: Arc<Counters>,
}

impl Table {
    /// An empty table. `secret` keeps whoever does not know it from making flows that collide.
    pub fn new(id: TableId, secret: u64) -> Table {
        Table {
            id,
            rules: Classifier::new(secret),
            matched: Arc::default(),
            missed: Arc::default(),
        }
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "table {} of {} flows", self.id, self.rules.len())
    }
}
