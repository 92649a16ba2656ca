//! When to look whether flows have ended.
//!
//! What is used moves its end, but the worker that uses it only notes the time. So a deadline is
//! the earliest that the flow can end; when it has come one looks again. Each look either ends the
//! flow or finds that it was used, hence it is cheap: once per flow and timeout. What a flow's
//! deadline is, is noted in its row.

use std::collections::{BTreeMap, BTreeSet};

use openflow::TableId;

use super::rows::FlowRows;

/// Flows with timeouts: of each table by deadline and row, since a full table asks for its first.
#[derive(Debug, Default)]
pub struct Timeouts {
    queues: BTreeMap<TableId, BTreeSet<(u64, u32)>>,
}

impl Timeouts {
    /// Sets when to look at a flow, which is in its table; 0 for never.
    pub fn set(&mut self, rows: &FlowRows, row: u32, deadline_ms: u64) {
        let old = rows.deadline_ms(row);
        if old == deadline_ms {
            return;
        }
        let queue = self.queues.entry(rows.home(row).0).or_default();
        if old != 0 {
            queue.remove(&(old, row));
        }
        if deadline_ms != 0 {
            queue.insert((deadline_ms, row));
        }
        rows.set_deadline_ms(row, deadline_ms);
    }

    /// Takes out the flow with the earliest deadline if that is not after `now_ms`.
    pub fn pop_due(&mut self, rows: &FlowRows, now_ms: u64) -> Option<u32> {
        let firsts = self.queues.values().filter_map(BTreeSet::first);
        let (deadline_ms, row) = *firsts.min()?;
        if deadline_ms > now_ms {
            return None;
        }
        self.set(rows, row, 0);
        Some(row)
    }

    /// The flow of a table that may end first.
    pub fn first_of(&self, table: TableId) -> Option<u32> {
        let (_, row) = self.queues.get(&table)?.first()?;
        Some(*row)
    }
}

#[cfg(test)]
mod tests {
    use flowtable::RuleId;

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

    #[test]
    fn each_table_has_its_own_order() {
        let (mut rows, mut timeouts) = (FlowRows::new(), Timeouts::default());
        let flows = [0; 4].map(|cookie| rows.add(cookie).expect("room"));
        let tables = [TableId(1), TableId(2), TableId(2), TableId(1)];
        for ((row, table), deadline_ms) in flows.into_iter().zip(tables).zip([40, 30, 20, 10]) {
            rows.set_home(row, table, RuleId { tuple: 0, cell: 1 });
            timeouts.set(&rows, row, deadline_ms);
        }
        assert_eq!(timeouts.first_of(TableId(1)), Some(flows[3]));
        assert_eq!(timeouts.first_of(TableId(2)), Some(flows[2]));
        assert_eq!(timeouts.first_of(TableId(0)), None);
        let order = core::iter::from_fn(|| timeouts.pop_due(&rows, 99));
        assert!(order.eq([flows[3], flows[2], flows[1], flows[0]]));
        assert_eq!(timeouts.first_of(TableId(1)), None);
    }
}
