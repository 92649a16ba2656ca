//! Flows that their tables do not take any more go (OpenFlow 1.3.5 §7.3.5.5).
//!
//! The tables are as they were asked for at once. The flows that were there then are walked and
//! judged as they were then; what comes later is judged when it comes.

use std::sync::Arc;

use openflow::{FlowRemovedReason, FlowStatsRequest, TableFeatures};

use super::super::Switch;
use super::super::features::Pipeline;
use super::super::list::FlowList;
use super::{Home, Selected, Step};
use crate::action::BridgeId;

/// A pipeline that flows are held against.
#[derive(Debug)]
pub struct MisfitSweep {
    home: Home,
    pipeline: Arc<Pipeline>,
    flows: Box<FlowList>,
    tables: Vec<TableFeatures>,
}

impl MisfitSweep {
    /// The flows of a bridge as they are, before what tables have to be from now on.
    pub fn new(
        switch: &mut Switch,
        bridge: BridgeId,
        pipeline: Arc<Pipeline>,
        tables: Vec<TableFeatures>,
    ) -> MisfitSweep {
        MisfitSweep {
            home: Home::new(switch, bridge),
            pipeline,
            flows: Box::new(switch.list(bridge, &FlowStatsRequest::default())),
            tables,
        }
    }

    /// The tables as they were asked for.
    pub fn tables(&self) -> &[TableFeatures] {
        &self.tables
    }

    /// [`super::Sweep::step`]. Nobody is told of the flows that go.
    pub fn step(&mut self, switch: &mut Switch) -> Step {
        let Some(ledger) = self.home.ledger(switch) else {
            return (Vec::new(), false);
        };
        let mut steps = STEPS;
        let mut rows = Vec::new();
        while rows.len() < DELETED_AT_ONCE {
            let pipeline = &self.pipeline;
            let misfit = self.flows.next_with(&mut steps, |flow| {
                (!pipeline.fits(flow)).then(|| Selected::of(flow))
            });
            let Some(misfit) = misfit else { break };
            rows.extend(misfit.and_then(|flow| flow.row_now(ledger)));
        }
        let more = steps == 0 || rows.len() == DELETED_AT_ONCE;
        switch.remove_flows(self.home.bridge, rows, FlowRemovedReason::Delete, 0);
        (Vec::new(), more)
    }
}

/// Flows judged in one go, which takes longer than to look at one: about a millisecond.
const STEPS: usize = 4096;
/// Flows deleted in one go.
const DELETED_AT_ONCE: usize = 1024;
