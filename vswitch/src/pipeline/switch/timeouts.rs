//! When to look whether flows have ended.
//!
//! What is used moves its end, but the worker that uses it only notes the time. So a deadline is
//! the earliest that the flow can end; when it has come one looks again. Each look either ends the
//! flow or finds that it was used, hence it is cheap: once per flow and timeout. What a flow's
//! deadline is, is noted in its row.

use std::collections::BTreeSet;

use super::rows::FlowRows;

/// Flows with timeouts, by deadline and row.
#[derive(Debug, Default)]
pub struct Timeouts {
    queue: BTreeSet<(u64, u32)>,
}

impl Timeouts {
    /// Sets when to look at a flow; 0 for never.
    pub fn set(&mut self, rows: &FlowRows, row: u32, deadline_ms: u64) {
        let old = rows.deadline_ms(row);
        if old == deadline_ms {
            return;
        }
        if old != 0 {
            self.queue.remove(&(old, row));
        }
        if deadline_ms != 0 {
            self.queue.insert((deadline_ms, row));
        }
        rows.set_deadline_ms(row, deadline_ms);
    }

    /// Takes out the flow with the earliest deadline if that is not after `now_ms`.
    pub fn pop_due(&mut self, rows: &FlowRows, now_ms: u64) -> Option<u32> {
        let (deadline_ms, row) = *self.queue.first()?;
        if deadline_ms > now_ms {
            return None;
        }
        self.set(rows, row, 0);
        Some(row)
    }

    /// Flows in the order of their deadlines.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.queue.iter().map(|(_, row)| *row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_come_due_in_order_of_their_last_deadline() {
        let (mut rows, mut timeouts) = (FlowRows::new(), Timeouts::default());
        let flows = [0; 4].map(|cookie| rows.add(cookie).expect("room"));
        timeouts.set(&rows, flows[0], 30);
        timeouts.set(&rows, flows[1], 20);
        timeouts.set(&rows, flows[2], 10);
        timeouts.set(&rows, flows[2], 25);
        timeouts.set(&rows, flows[3], 5);
        timeouts.set(&rows, flows[3], 0);
        assert_eq!(timeouts.pop_due(&rows, 19), None);
        assert_eq!(timeouts.pop_due(&rows, 20), Some(flows[1]));
        assert_eq!(timeouts.pop_due(&rows, 20), None);
        assert_eq!(timeouts.pop_due(&rows, 99), Some(flows[2]));
        assert_eq!(timeouts.pop_due(&rows, 99), Some(flows[0]));
        assert_eq!(timeouts.pop_due(&rows, 99), None);
    }
}
