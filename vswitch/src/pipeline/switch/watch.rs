//! What happens to flows, for controllers that watch them.
//!
//! While somebody watches a bridge's flows every change of one is noted, and taken by whoever tells
//! of it before the next message is carried out. Who could not be told for a while asks for what is
//! new since a [`Moment`]: flows know when they came and were changed, so nothing is kept for that.

use std::sync::Arc;

use openflow::{FlowEvent, FlowRemovedReason, Instructions};

use super::super::flow::FlowRef;
use super::super::{Bridge, Flow};
use super::{Ledger, Switch};
use crate::action::BridgeId;

/// A change of a flow.
#[derive(Clone, Debug)]
pub struct Changed {
    /// What happened.
    pub event: FlowEvent,
    /// The flow after it, or as it was last.
    pub flow: Flow,
    /// What it did before, or what the flow did whose place it took.
    pub before: Option<Arc<Instructions>>,
    /// Serial number of the flow whose place it took, if its counters did not go on.
    pub replaced: Option<u64>,
}

/// A moment between two changes of a bridge's flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Serial number of the newest flow.
    pub serial: u64,
    epoch: u64,
    now_ms: u64,
}

impl Moment {
    /// Whether a flow was there, as far as is known: one that took another's place just then may
    /// count as new.
    pub fn knew(&self, flow: &Flow) -> bool {
        flow.counters.serial() <= self.serial && flow.created_ms < self.now_ms
    }

    /// Whether a flow may have come or changed since.
    pub(super) fn precedes(&self, flow: &FlowRef<'_>) -> bool {
        let serial = flow.counters().map(|counters| counters.serial());
        flow.born() >= self.epoch || serial.is_some_and(|serial| serial > self.serial)
    }
}

impl Switch {
    /// Begins or ceases to note what happens to a bridge's flows.
    pub fn watch(&mut self, bridge: BridgeId, is_watched: bool) {
        if let Some(ledger) = self.ledgers.get_mut(&bridge) {
            let kept = ledger.changes.take().unwrap_or_default();
            ledger.changes = is_watched.then_some(kept);
        }
    }

    /// What happened to a bridge's flows since this was called last.
    pub fn take_changes(&mut self, bridge: BridgeId) -> Vec<Changed> {
        let ledger = self.ledgers.get_mut(&bridge);
        let changes = ledger.and_then(|ledger| ledger.changes.as_mut());
        changes.map(std::mem::take).unwrap_or_default()
    }

    /// Now, among the changes of a bridge's flows.
    pub fn moment(&self, bridge: BridgeId, now_ms: u64) -> Moment {
        let ledger = self.ledgers.get(&bridge);
        Moment {
            serial: ledger.map_or(0, |ledger| ledger.rows.serial()),
            epoch: self.state.epoch,
            now_ms,
        }
    }
}

impl Ledger {
    /// A flow, if somebody watches.
    pub fn watched(&self, bridge: &Bridge, row: u32) -> Option<Flow> {
        self.changes.as_ref()?;
        let (table, rule) = self.flow(row)?;
        FlowRef::new(bridge, table, rule).read()
    }

    /// Notes that a flow came, in the place of `before` if there was one there.
    pub fn note_added(&mut self, bridge: &Bridge, row: u32, before: Option<Flow>) {
        self.note_change(bridge, row, FlowEvent::Added, before);
    }

    /// Notes that a flow that was like `before` does something else, or counts anew, if it does.
    pub fn note_modified(&mut self, bridge: &Bridge, row: u32, before: Option<Flow>) {
        self.note_change(bridge, row, FlowEvent::Modified, before);
    }

    /// Notes that a flow is about to go.
    pub fn note_deleted(&mut self, bridge: &Bridge, row: u32, reason: FlowRemovedReason) {
        self.note_change(bridge, row, FlowEvent::Deleted(reason), None);
    }

    fn note_change(&mut self, bridge: &Bridge, row: u32, event: FlowEvent, before: Option<Flow>) {
        let Some(flow) = self.watched(bridge, row) else {
            return;
        };
        let serial = flow.counters.serial();
        let other = before.as_ref().map(|before| before.counters.serial());
        let replaced = other.filter(|other| *other != serial);
        let before = before.map(|before| before.instructions);
        let is_same = before.as_ref() == Some(&flow.instructions) && replaced.is_none();
        if event == FlowEvent::Modified && is_same {
            return;
        }
        if let Some(changes) = &mut self.changes {
            changes.push(Changed {
                event,
                flow,
                before,
                replaced,
            });
        }
    }
}
