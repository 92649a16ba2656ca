//! Modifications and deletions of many flows (OpenFlow 1.3.5 §6.4).
//!
//! What: a loose modification or deletion may be for every flow of a bridge. It is for the flows
//! that are there when it comes.
//!
//! How: few flows, or those that an index leads to, are selected at once; otherwise the tables are
//! walked as they were at that moment ([`FlowList`]). Each flow is looked at once, and passed over
//! if it went meanwhile, or if an add took its place: that came later. A modification is checked
//! against every flow before it changes the first, since an error changes nothing; what a change
//! of others makes of it later ends it where it is.

use openflow::{ErrorCode, FlowMod, FlowModCommand, FlowRemovedReason};

use super::super::super::RemovedFlow;
use super::super::Switch;
use super::super::flows::{self, Selection};
use super::super::list::FlowList;
use super::{Begun, Home, Selected, Step, Sweep};
use crate::action::BridgeId;

/// A modification or deletion on its way.
#[derive(Debug)]
pub struct FlowSweep {
    home: Home,
    change: FlowMod,
    source: Source,
    /// Whether every flow may be changed so.
    is_checked: bool,
}

/// The flows that it is for.
#[derive(Debug)]
enum Source {
    /// These, from that one on.
    Rows(Vec<Selected>, usize),
    /// Those of a walk.
    Walk(Box<FlowList>),
}

impl Switch {
    /// As [`Switch::flow_mod`], but what would take long is only begun: [`Sweep::step`] goes on
    /// with it.
    pub fn begin_flow_mod(
        &mut self,
        bridge: BridgeId,
        change: &FlowMod,
        now_ms: u64,
    ) -> Result<Begun, ErrorCode> {
        if !matches!(
            change.command,
            FlowModCommand::Modify | FlowModCommand::Delete
        ) {
            return Ok((self.flow_mod(bridge, change, now_ms)?, None));
        }
        self.check_change(bridge, change)?;
        Sweep::Flows(FlowSweep::new(self, bridge, change)).begin(self, now_ms)
    }
}

impl FlowSweep {
    fn new(switch: &mut Switch, bridge: BridgeId, change: &FlowMod) -> FlowSweep {
        let request = flows::request(change);
        let selection = match (switch.state.bridge(bridge), switch.ledgers.get(&bridge)) {
            (Some(bridge), Some(ledger)) => {
                let selection = Selection::new(bridge, ledger, &request);
                selection.within(switch.state.epoch, STEPS)
            }
            _ => Some(Vec::new()),
        };
        let ledger = switch.ledgers.get(&bridge);
        let source = match selection {
            Some(rows) => {
                let rows = rows.into_iter();
                let rows = rows.filter_map(|row| Selected::of_row(ledger?, row));
                Source::Rows(rows.collect(), 0)
            }
            None => Source::Walk(Box::new(switch.list(bridge, &request))),
        };
        FlowSweep {
            home: Home::new(switch, bridge),
            change: change.clone(),
            source,
            is_checked: change.command != FlowModCommand::Modify,
        }
    }

    /// What is changed.
    pub fn change(&self) -> &FlowMod {
        &self.change
    }

    /// [`Sweep::step`].
    pub fn step(&mut self, switch: &mut Switch, now_ms: u64) -> Result<Step, ErrorCode> {
        if !self.is_checked {
            if switch.must_check_flows(self.home.bridge, &self.change) {
                let (rows, more) = self.next(switch, (MODIFIED_AT_ONCE, &mut { STEPS }));
                switch.check_modified(self.home.bridge, &rows, &self.change)?;
                if more {
                    return Ok((Vec::new(), true));
                }
                self.source.restart();
            }
            self.is_checked = true;
        }
        if self.change.command == FlowModCommand::Delete {
            return Ok(self.delete(switch, now_ms));
        }
        let (rows, more) = self.next(switch, (MODIFIED_AT_ONCE, &mut { STEPS }));
        switch.check_change(self.home.bridge, &self.change)?;
        switch.modify_rows(self.home.bridge, rows, &self.change)?;
        Ok((Vec::new(), more))
    }

    /// Deletes the next flows, so few between looking at them and taking them out that all is still
    /// close at hand.
    fn delete(&mut self, switch: &mut Switch, now_ms: u64) -> (Vec<RemovedFlow>, bool) {
        let (mut removed, mut steps) = (Vec::new(), STEPS);
        for _ in 0..DELETED_AT_ONCE / CLOSE_AT_HAND {
            let (rows, more) = self.next(switch, (CLOSE_AT_HAND, &mut steps));
            let reason = FlowRemovedReason::Delete;
            removed.extend(switch.remove_flows(self.home.bridge, rows, reason, now_ms));
            if !more || steps == 0 {
                return (removed, more);
            }
        }
        (removed, true)
    }

    /// The rows of the next flows that are still there, and whether there may be more.
    fn next(&mut self, switch: &Switch, within: (usize, &mut usize)) -> (Vec<u32>, bool) {
        let Some(ledger) = self.home.ledger(switch) else {
            return (Vec::new(), false);
        };
        let (selected, more) = self.source.next(within);
        let rows = selected.iter().filter_map(|flow| flow.row_now(ledger));
        (rows.collect(), more)
    }
}

impl Source {
    /// So many, or as many as are met in so many steps, and whether there may be more.
    fn next(&mut self, (at_once, steps): (usize, &mut usize)) -> (Vec<Selected>, bool) {
        match self {
            Source::Rows(rows, at) => {
                let end = rows.len().min(*at + at_once);
                let next = rows[*at..end].to_vec();
                *at = end;
                (next, end < rows.len())
            }
            Source::Walk(list) => {
                let next = std::iter::from_fn(|| list.next_with(steps, Selected::of));
                let next: Vec<_> = next.take(at_once).collect();
                let more = *steps == 0 || next.len() == at_once;
                (next, more)
            }
        }
    }

    fn restart(&mut self) {
        match self {
            Source::Rows(_, at) => *at = 0,
            Source::Walk(list) => list.restart(),
        }
    }
}

/// Flows looked at in one go: half a millisecond, and all flows of many an index.
const STEPS: usize = 16_384;
/// Flows deleted in one go: about a millisecond.
const DELETED_AT_ONCE: usize = 2048;
/// Flows deleted between two looks at what comes next: with their rows they fit in the smallest
/// cache.
const CLOSE_AT_HAND: usize = 128;
/// Flows modified in one go, which takes longer each.
const MODIFIED_AT_ONCE: usize = 512;
