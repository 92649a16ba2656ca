//! A flow table as published.

use std::sync::Arc;

use crate::action::Counters;

/// A flow table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Packets that matched a flow.
    pub matched: Arc<Counters>,
    /// Packets that did not.
    pub missed: Arc<Counters>,
}
