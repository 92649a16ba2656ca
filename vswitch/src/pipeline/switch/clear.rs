//! A bridge is emptied, or goes, at one instant and in a time that does not grow with its flows.
//!
//! The working copy gets new, empty tables, and the book is begun anew. What was there before is
//! kept as long as older states are read, and is then handed out to be freed where nobody waits:
//! that takes long for a million flows.

use std::sync::Arc;

use openflow::{FlowStatsRequest, TableId};

use super::super::Bridge;
use super::{FlowList, Ledger, Switch};
use crate::action::BridgeId;

/// What was in a bridge that was cleared or removed, and nobody reads any more.
#[derive(Debug)]
pub struct Remains {
    _bridge: Arc<Bridge>,
    _ledger: Ledger,
}

impl Switch {
    /// Deletes every flow, group and meter of a bridge; its tables are as they were before anybody
    /// asked for others. Controllers are not told; the flows that watchers are to be told of, if
    /// somebody watches, before anything that changes later.
    pub fn clear(&mut self, id: BridgeId) -> Option<FlowList> {
        let is_watched = self.ledgers.get(&id)?.changes.is_some();
        let gone = is_watched.then(|| self.list(id, &FlowStatsRequest::default()));
        let before = Arc::clone(self.state.bridge(id)?);
        let (bridge, ledger) = self.change(id)?;
        let successor = ledger.successor();
        let old = std::mem::replace(ledger, successor);
        bridge.tables = Default::default();
        bridge.instructions = Default::default();
        bridge.groups.clear();
        bridge.meters.clear();
        bridge.flow_rows = Arc::clone(ledger.rows.shared());
        let (mut draft, ledger) = self.draft(id)?;
        ledger.make_table(&mut draft, TableId(0));
        self.put_aside(before, old);
        gone
    }

    /// Keeps what was in a bridge until nobody reads it.
    pub(super) fn put_aside(&mut self, bridge: Arc<Bridge>, ledger: Ledger) {
        let remains = Remains {
            _bridge: bridge,
            _ledger: ledger,
        };
        self.remains.push((self.state.epoch, remains));
    }

    /// What was in bridges that were cleared or removed, once nobody reads it. To drop it takes
    /// long.
    pub fn take_remains(&mut self) -> Vec<Remains> {
        let oldest = self.oldest_read();
        let unread = self.remains.extract_if(.., |(epoch, _)| *epoch <= oldest);
        unread.map(|(_, remains)| remains).collect()
    }
}
