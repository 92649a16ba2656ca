//! All flows of a bridge went at one instant, and monitors are told of each: a few at a time. What
//! peers say waits until then, so that they hear of nothing that came later before that.

use openflow::{FlowEvent, FlowRemovedReason};

use super::Agent;
use crate::pipeline::{Changed, Flow, Switch};

impl Agent {
    /// Everything in the bridge goes ([`Switch::clear`]).
    pub fn clear(&mut self, switch: &mut Switch) {
        let gone = switch.clear(self.bridge);
        self.gone = gone.map(Box::new);
    }

    /// Whether monitors are still to be told of flows that went.
    pub fn is_telling(&self) -> bool {
        self.gone.is_some()
    }

    /// Tells monitors of some of the flows that went; whether there are more.
    pub fn tell_gone(&mut self, switch: &Switch, now_ms: u64) -> bool {
        let Some(mut gone) = self.gone.take() else {
            return false;
        };
        let mut steps = STEPS;
        let flows = std::iter::from_fn(|| gone.next_within(&mut steps));
        let changes: Vec<_> = flows
            .take(TOLD_AT_ONCE)
            .map(|flow| (None, end(flow)))
            .collect();
        let more = steps == 0 || changes.len() == TOLD_AT_ONCE;
        self.tell_all(switch.moment(self.bridge, now_ms), None, &changes);
        self.gone = more.then_some(gone);
        more
    }
}

fn end(flow: Flow) -> Changed {
    Changed {
        event: FlowEvent::Deleted(FlowRemovedReason::Delete),
        flow,
        before: None,
        replaced: None,
    }
}

/// Flows looked at in one go.
const STEPS: usize = 16_384;
/// Flows told of in one go: a millisecond or so.
const TOLD_AT_ONCE: usize = 512;
