//! The end of flows and addresses, in bounded steps.

use super::super::RemovedFlow;
use super::super::flow::Payload;
use super::Switch;
use crate::action::BridgeId;

impl Switch {
    /// Removes flows and addresses whose time is over. Looks at a bounded number of them; call
    /// again at once if the result says there may be more.
    pub fn expire(&mut self, now_ms: u64) -> (Vec<RemovedFlow>, bool) {
        let mut removed = Vec::new();
        let mut more = false;
        let bridges: Vec<_> = self.ledgers.keys().copied().collect();
        for bridge in bridges {
            more |= self.expire_flows(bridge, now_ms, &mut removed);
            more |= self.expire_addresses(bridge, now_ms);
        }
        (removed, more)
    }

    /// Whether there may be more.
    fn expire_flows(&mut self, id: BridgeId, now_ms: u64, removed: &mut Vec<RemovedFlow>) -> bool {
        for _ in 0..STEPS {
            let Some(ledger) = self.ledgers.get_mut(&id) else {
                return false;
            };
            let Some(row) = ledger.timeouts.pop_due(&ledger.rows, now_ms) else {
                return false;
            };
            let Some(flow) = ledger.flow(row).map(|(_, rule)| Payload::of(&rule)) else {
                continue;
            };
            let used_ms = ledger.rows.used_ms(row);
            let asked_ms = ledger.learned.asked_ms(row);
            match flow.ended((used_ms, asked_ms), now_ms) {
                Some(reason) => removed.extend(self.remove_flows(id, vec![row], reason, now_ms)),
                None => {
                    let deadline_ms = flow.deadline_ms(used_ms, asked_ms).unwrap_or(0);
                    ledger.timeouts.set(&ledger.rows, row, deadline_ms);
                }
            }
        }
        true
    }

    fn expire_addresses(&mut self, id: BridgeId, now_ms: u64) -> bool {
        let was_changed = self.changed;
        let Some((mut draft, ledger)) = self.draft(id) else {
            return false;
        };
        let (macs, now_s) = (&mut draft.bridge.macs, (now_ms / 1000) as u32);
        let (forgotten, more) = ledger.addresses.expire(macs, now_s, STEPS);
        draft.note_addresses(ledger.addresses.changed());
        self.changed = was_changed || forgotten > 0;
        more
    }
}

/// Flows and addresses of one bridge looked at in one call: about a millisecond.
const STEPS: usize = 1000;
