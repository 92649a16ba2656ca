//! A flow as tables hold it: immutable, shared by writer, published states and programs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flowtable::Match;
use openflow::text::Ports;
use openflow::{FlowFlags, FlowRemoved, FlowRemovedReason, FlowStats, Instructions, TableId};

use crate::action::{BridgeId, Counters};

/// A flow. A modification makes a new one with the same counters.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Tells it from every other flow of the switch; a modification keeps it.
    pub(super) serial: u64,
    /// Its table.
    pub table: TableId,
    /// Highest wins.
    pub priority: u16,
    /// Opaque to the switch.
    pub cookie: u64,
    /// What packets it is for.
    pub matching: Match,
    /// What is done with them.
    pub instructions: Instructions,
    /// Flags it was added with.
    pub flags: FlowFlags,
    /// Seconds without a packet after which it goes, 0 for never.
    pub idle_timeout_s: u16,
    /// Seconds after which it goes, 0 for never.
    pub hard_timeout_s: u16,
    /// When it was added.
    pub created_ms: u64,
    /// Packets and bytes it matched.
    pub counters: Arc<Counters>,
}

impl Flow {
    /// Whether it is what the specification calls the table-miss flow (OpenFlow 1.3.5 §5.4).
    pub fn is_table_miss(&self) -> bool {
        self.priority == 0 && self.matching.is_empty()
    }

    /// The flow with its statistics.
    pub fn stats(&self, now_ms: u64) -> FlowStats {
        let (packets, bytes, _) = self.counters.read();
        FlowStats {
            table: self.table,
            duration: self.duration(now_ms),
            priority: self.priority,
            idle_timeout_s: self.idle_timeout_s,
            hard_timeout_s: self.hard_timeout_s,
            flags: self.flags,
            cookie: self.cookie,
            packets,
            bytes,
            matching: self.matching.clone(),
            instructions: self.instructions.clone(),
        }
    }

    /// The earliest time that it can end, given when it was used last; `None` if it never does.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let (_, _, used_ms) = self.counters.read();
        let after = |start: u64, timeout_s: u16| match timeout_s {
            0 => None,
            timeout_s => Some(start + u64::from(timeout_s) * 1000),
        };
        let idle = after(used_ms.max(self.created_ms), self.idle_timeout_s);
        let hard = after(self.created_ms, self.hard_timeout_s);
        idle.into_iter().chain(hard).min()
    }

    /// Why it ends at `now_ms`; `None` if it does not.
    pub(super) fn ended(&self, now_ms: u64) -> Option<FlowRemovedReason> {
        let hard_ms = u64::from(self.hard_timeout_s) * 1000;
        if self.hard_timeout_s > 0 && self.created_ms + hard_ms <= now_ms {
            return Some(FlowRemovedReason::HardTimeout);
        }
        let ended = self
            .deadline_ms()
            .is_some_and(|deadline| deadline <= now_ms);
        ended.then_some(FlowRemovedReason::IdleTimeout)
    }

    fn duration(&self, now_ms: u64) -> Duration {
        Duration::from_millis(now_ms.saturating_sub(self.created_ms))
    }
}

impl fmt::Display for Flow {
    /// As a dump without statistics shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let stats = self.stats(self.created_ms);
        openflow::text::flow::write_stats(&mut text, &stats, false, &Ports::default());
        f.write_str(&text)
    }
}

/// A flow that went.
#[derive(Clone, Debug)]
pub struct RemovedFlow {
    /// Its bridge.
    pub bridge: BridgeId,
    /// The flow; its counters are complete once the workers have flushed theirs.
    pub flow: Arc<Flow>,
    /// Why it went.
    pub reason: FlowRemovedReason,
    /// When it went.
    pub removed_ms: u64,
}

impl RemovedFlow {
    /// The message for the controllers, with the counters as they are now.
    pub fn message(&self) -> FlowRemoved {
        let flow = &self.flow;
        let (packets, bytes, _) = flow.counters.read();
        FlowRemoved {
            cookie: flow.cookie,
            priority: flow.priority,
            reason: self.reason,
            table: flow.table,
            duration: flow.duration(self.removed_ms),
            idle_timeout_s: flow.idle_timeout_s,
            hard_timeout_s: flow.hard_timeout_s,
            packets,
            bytes,
            matching: flow.matching.clone(),
        }
    }
}
