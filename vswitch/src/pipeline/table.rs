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

/// The flow tables of a bridge, by number: a lookup is two loads, since each packet of a new flow
/// comes by here once for each table. A change copies a list of pointers.
#[derive(Clone, Debug, Default)]
pub struct Tables(Arc<[Option<Arc<Table>>]>);

impl Tables {
    /// A table, if there is one.
    #[inline(always)]
    pub fn get(&self, id: TableId) -> Option<&Arc<Table>> {
        self.0.get(usize::from(id.0))?.as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: TableId) -> Option<&mut Arc<Table>> {
        Arc::make_mut(&mut self.0)
            .get_mut(usize::from(id.0))?
            .as_mut()
    }

    /// Puts a table in its place.
    pub fn insert(&mut self, table: Table) {
        let place = usize::from(table.id.0);
        let mut list = self.0.to_vec();
        list.resize(list.len().max(place + 1), None);
        list[place] = Some(Arc::new(table));
        self.0 = list.into();
    }
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
