//! A long list of flows, read bit by bit from the state of one moment.

use std::sync::Arc;

use flowtable::Walk;
use openflow::{AggregateStats, FlowStatsRequest, TableId};

use super::super::flow::FlowRef;
use super::super::{Bridge, Flow, State};
use super::{Moment, flows};
use crate::action::BridgeId;

/// The flows that a request asks for, as they were when it came. It takes the same memory whatever
/// their number; while it is held, flows that went since take theirs.
#[derive(Debug)]
pub struct FlowList {
    state: Arc<State>,
    bridge: BridgeId,
    request: FlowStatsRequest,
    /// The table that is being read, and how far.
    table: TableId,
    walk: Walk,
    /// Only what came or changed since.
    since: Option<Moment>,
}

impl FlowList {
    /// The flows of a state that a request asks for.
    pub fn new(state: Arc<State>, bridge: BridgeId, request: &FlowStatsRequest) -> FlowList {
        FlowList {
            state,
            bridge,
            request: request.clone(),
            table: match request.table {
                TableId::ALL => TableId(0),
                table => table,
            },
            walk: Walk::included_in(&request.matching),
            since: None,
        }
    }

    /// Of these flows those alone that came or changed since then.
    pub fn since(self, moment: Moment) -> FlowList {
        FlowList {
            since: Some(moment),
            ..self
        }
    }

    /// Goes on with a newer state, so that what went before that can be freed. Flows that are
    /// changed while the list is read may then be missing or come twice. If the bridge was cleared
    /// it goes on as it was.
    pub fn renew(&mut self, state: Arc<State>) {
        let bridge = self.state.bridge(self.bridge);
        let rows = |bridge: &Arc<Bridge>| Arc::as_ptr(&bridge.flow_rows);
        if bridge.map(rows) != state.bridge(self.bridge).map(rows) {
            return;
        }
        if let Some(table) = bridge.and_then(|bridge| bridge.table(self.table)) {
            self.walk.renew(&table.rules);
        }
        self.state = state;
    }
}

impl FlowList {
    /// Begins anew.
    pub(super) fn restart(&mut self) {
        if self.request.table == TableId::ALL {
            self.table = TableId(0);
        }
        self.walk.restart();
    }

    /// The next flow if it takes no more than so many steps to come to it. None without a step left
    /// if it takes more: it goes on from there next time.
    pub fn next_within(&mut self, steps: &mut usize) -> Option<Flow> {
        self.next_with(steps, |flow| flow.read())
    }

    /// Adds the counters of flows up, within so many steps; none are left if there may be more.
    pub fn sum_within(&mut self, steps: &mut usize, sums: &mut AggregateStats) {
        while let Some(counters) = self.next_with(steps, |flow| flow.counters()) {
            let (packets, bytes, _) = counters.read();
            sums.packets += packets;
            sums.bytes += bytes;
            sums.flows += 1;
        }
    }

    /// What is read of the next flow of which something is, within so many steps.
    pub(super) fn next_with<T>(
        &mut self,
        steps: &mut usize,
        read: impl Fn(&FlowRef<'_>) -> Option<T>,
    ) -> Option<T> {
        let bridge = self.state.bridge(self.bridge)?;
        loop {
            if let Some(table) = bridge.table(self.table) {
                let epoch = self.state.epoch();
                while let Some(rule) = table.rules.next_within(&mut self.walk, epoch, steps) {
                    let flow = FlowRef::new(bridge, self.table, rule);
                    let is_new = self.since.is_none_or(|moment| moment.precedes(&flow));
                    if is_new
                        && flows::wanted(&flow, &self.request)
                        && let Some(flow) = read(&flow)
                    {
                        return Some(flow);
                    }
                }
            }
            let more = self.request.table == TableId::ALL && self.table < TableId::LAST;
            if !more || *steps == 0 {
                return None;
            }
            self.table.0 += 1;
            self.walk.restart();
        }
    }
}

impl Iterator for FlowList {
    type Item = Flow;

    fn next(&mut self) -> Option<Flow> {
        self.next_within(&mut { usize::MAX })
    }
}
