//! A flow that a change is for, found again after others had their turn.

use flowtable::RuleId;
use openflow::TableId;

use super::super::super::flow::{FlowRef, Payload};
use super::super::Ledger;
use crate::action::FlowCounters;

/// A flow as it was when it was selected.
#[derive(Clone, Copy, Debug)]
pub struct Selected {
    row: u32,
    generation: u32,
    /// Tells it from a later flow of the same row.
    serial: u64,
    /// Where it was, if nothing else is there as long as this is held.
    home: Option<(TableId, RuleId)>,
}

impl Selected {
    /// Of a walk, which holds the state that it goes through: what is in that is not given away.
    pub fn of(flow: &FlowRef<'_>) -> Option<Selected> {
        Some(Selected {
            row: flow.row(),
            generation: flow.generation(),
            serial: flow.serial(),
            home: Some(flow.home()),
        })
    }

    pub fn of_row(ledger: &Ledger, row: u32) -> Option<Selected> {
        let (_, rule) = ledger.flow(row)?;
        Some(Selected {
            row,
            generation: Payload::of(&rule).generation,
            serial: FlowCounters::serial_of(ledger.rows.shared(), row)?,
            home: None,
        })
    }

    /// The row that the flow has now, if it is still there. One whose counters began anew has
    /// another, and goes on from the old one, which is nobody else's before that of the new one is.
    pub fn row_now(&self, ledger: &Ledger) -> Option<u32> {
        let rows = &ledger.rows;
        if self.home == Some(rows.home(self.row)) {
            return Some(self.row);
        }
        if FlowCounters::serial_of(rows.shared(), self.row)? != self.serial {
            return None;
        }
        let row = std::iter::successors(Some(self.row), |row| rows.next(*row)).last()?;
        let (_, rule) = ledger.flow(row)?;
        (Payload::of(&rule).generation == self.generation).then_some(row)
    }
}
