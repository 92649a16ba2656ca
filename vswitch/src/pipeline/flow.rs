//! A flow: as tables hold it ([`FlowRef`]) and as everybody else wants it ([`Flow`]).
//!
//! In a table a flow is a rule of the classifier with a few words, [`Payload`]. Its counters and
//! what only the writer needs are in a row ([`FlowCounters`]) that a modification leaves as it is;
//! what it does is a number, since a million flows have few different instructions among them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flowtable::{Match, Rule, RuleId};
use openflow::text::Ports;
use openflow::{FlowFlags, FlowRemoved, FlowRemovedReason, FlowStats, Instructions, TableId};

use super::{Bridge, State};
use crate::action::{BridgeId, CountedIn, Counters, FlowCounters};

/// What a table keeps with a flow's match and priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// The row of its counters.
    pub row: u32,
    /// The number of its instructions.
    pub instructions: u32,
    /// [`FlowCounters::serial`], kept here, too: to read it in the row would cost a packet of a new
    /// flow a load from memory.
    pub serial: u64,
    pub cookie: u64,
    pub created_ms: u64,
    pub idle_timeout_s: u16,
    pub hard_timeout_s: u16,
    pub flags: FlowFlags,
    /// How often an add took the place of the flow that had the row, which it kept: 27 bits.
    pub generation: u32,
}

impl Payload {
    pub const WORDS: usize = 5;

    pub fn words(&self) -> [u64; Payload::WORDS] {
        let flags = self.flags;
        let bits = u64::from(flags.send_flow_removed)
            | u64::from(flags.check_overlap) << 1
            | u64::from(flags.reset_counts) << 2
            | u64::from(flags.no_packet_counts) << 3
            | u64::from(flags.no_byte_counts) << 4;
        let timeouts = u64::from(self.idle_timeout_s) << 16 | u64::from(self.hard_timeout_s);
        [
            u64::from(self.row) << 32 | u64::from(self.instructions),
            self.serial,
            self.cookie,
            self.created_ms,
            u64::from(self.generation) << GENERATION_AT | bits << 32 | timeouts,
        ]
    }

    pub fn of(rule: &Rule<'_>) -> Payload {
        let (numbers, rest) = (rule.word(0), rule.word(4));
        let flag = |bit: u32| rest >> (32 + bit) & 1 == 1;
        Payload {
            row: (numbers >> 32) as u32,
            instructions: numbers as u32,
            serial: rule.word(1),
            cookie: rule.word(2),
            created_ms: rule.word(3),
            idle_timeout_s: (rest >> 16) as u16,
            hard_timeout_s: rest as u16,
            flags: FlowFlags {
                send_flow_removed: flag(0),
                check_overlap: flag(1),
                reset_counts: flag(2),
                no_packet_counts: flag(3),
                no_byte_counts: flag(4),
            },
            generation: generation(rest),
        }
    }

    /// The earliest time that it can end, given when it was used last, and when a packet last asked
    /// for it; `None` if it never does.
    pub fn deadline_ms(&self, used_ms: u64, asked_ms: u64) -> Option<u64> {
        let after = |start: u64, timeout_s: u16| match timeout_s {
            0 => None,
            timeout_s => Some(start + u64::from(timeout_s) * 1000),
        };
        let idle = after(used_ms.max(self.created_ms), self.idle_timeout_s);
        let hard = after(asked_ms.max(self.created_ms), self.hard_timeout_s);
        idle.into_iter().chain(hard).min()
    }

    /// Why it ends at `now_ms`, given the same; `None` if it does not.
    pub fn ended(&self, (used_ms, asked_ms): (u64, u64), now_ms: u64) -> Option<FlowRemovedReason> {
        let hard_ms = u64::from(self.hard_timeout_s) * 1000;
        if self.hard_timeout_s > 0 && asked_ms.max(self.created_ms) + hard_ms <= now_ms {
            return Some(FlowRemovedReason::HardTimeout);
        }
        let deadline_ms = self.deadline_ms(used_ms, asked_ms);
        let ended = deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms);
        ended.then_some(FlowRemovedReason::IdleTimeout)
    }
}

fn generation(rest: u64) -> u32 {
    (rest >> GENERATION_AT) as u32
}

/// Where in the last word of a payload the generation begins.
const GENERATION_AT: u32 = 37;

/// A flow in its table.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowRef<'a> {
    bridge: &'a Bridge,
    table: TableId,
    rule: Rule<'a>,
}

impl<'a> FlowRef<'a> {
    pub fn new(bridge: &'a Bridge, table: TableId, rule: Rule<'a>) -> FlowRef<'a> {
        FlowRef {
            bridge,
            table,
            rule,
        }
    }

    pub fn table(&self) -> TableId {
        self.table
    }

    /// Where it is.
    pub fn home(&self) -> (TableId, RuleId) {
        (self.table, self.rule.id())
    }

    /// The row of its counters.
    pub fn row(&self) -> u32 {
        (self.rule.word(0) >> 32) as u32
    }

    /// The epoch in which it came or was changed last.
    pub fn born(&self) -> u64 {
        self.rule.born()
    }

    pub fn cookie(&self) -> u64 {
        self.rule.word(2)
    }

    /// [`Payload::generation`].
    pub fn generation(&self) -> u32 {
        generation(self.rule.word(4))
    }

    /// Tells it from every other flow of its bridge that has or had counters.
    pub fn serial(&self) -> u64 {
        self.rule.word(1)
    }

    /// Whether it is what the specification calls the table-miss flow (OpenFlow 1.3.5 §5.4).
    pub fn is_table_miss(&self) -> bool {
        self.rule.priority() == 0 && self.rule.matches_all()
    }

    pub fn matching(&self) -> Match {
        self.rule.matching()
    }

    pub fn instructions(&self) -> Option<&'a Arc<Instructions>> {
        let number = self.rule.word(0) as u32;
        self.bridge.instructions.get(number)
    }

    /// Its counters and those of its table, as packets are counted in them.
    #[inline(always)]
    pub fn counted(&self, table: &'a Arc<Counters>) -> CountedIn<'a> {
        CountedIn::Flow {
            rows: &self.bridge.flow_rows,
            row: self.row(),
            serial: self.serial(),
            table,
        }
    }

    pub fn counters(&self) -> Option<FlowCounters> {
        FlowCounters::of_row(&self.bridge.flow_rows, self.row())
    }

    /// All of it, if it is whole.
    pub fn read(&self) -> Option<Flow> {
        let payload = Payload::of(&self.rule);
        Some(Flow {
            table: self.table,
            priority: self.rule.priority(),
            cookie: payload.cookie,
            matching: self.rule.matching(),
            instructions: Arc::clone(self.instructions()?),
            flags: payload.flags,
            idle_timeout_s: payload.idle_timeout_s,
            hard_timeout_s: payload.hard_timeout_s,
            created_ms: payload.created_ms,
            counters: self.counters()?,
        })
    }
}

impl fmt::Display for FlowRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().map_or(Ok(()), |flow| flow.fmt(f))
    }
}

/// A flow as it was when it was read.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its table.
    pub table: TableId,
    /// Highest wins.
    pub priority: u16,
    /// Opaque to the switch.
    pub cookie: u64,
    /// What packets it is for.
    pub matching: Match,
    /// What is done with them.
    pub instructions: Arc<Instructions>,
    /// Flags it was added with.
    pub flags: FlowFlags,
    /// Seconds without a packet after which it goes, 0 for never.
    pub idle_timeout_s: u16,
    /// Seconds after which it goes, 0 for never.
    pub hard_timeout_s: u16,
    /// When it was added.
    pub created_ms: u64,
    /// Packets and bytes it matched.
    pub counters: FlowCounters,
}

impl Flow {
    /// The flow with its statistics.
    pub fn into_stats(self, now_ms: u64) -> FlowStats {
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
            matching: self.matching,
            instructions: Instructions::clone(&self.instructions),
        }
    }

    fn duration(&self, now_ms: u64) -> Duration {
        Duration::from_millis(now_ms.saturating_sub(self.created_ms))
    }
}

impl fmt::Display for Flow {
    /// As a dump without statistics shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let stats = self.clone().into_stats(self.created_ms);
        openflow::text::flow::write_stats(&mut text, &stats, false, &Ports::default());
        f.write_str(&text)
    }
}

/// A flow that went and whose controllers want to hear of it.
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
    /// While it is here the flow's counters are nobody else's.
    pub(super) _published: Arc<State>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_reads_back() {
        let payload = Payload {
            row: 0x8000_0001,
            instructions: 0x9000_0002,
            serial: u64::MAX - 3,
            cookie: u64::MAX - 1,
            created_ms: 77,
            idle_timeout_s: 0xfffe,
            hard_timeout_s: 0x8001,
            flags: FlowFlags {
                send_flow_removed: true,
                check_overlap: false,
                reset_counts: true,
                no_packet_counts: false,
                no_byte_counts: true,
            },
            generation: 0x7ff_fffe,
        };
        let mut classifier = flowtable::Classifier::new(0, Payload::WORDS);
        let id = classifier.insert(&Match::default(), 1, &payload.words(), 1);
        let rule = classifier.rule(id.expect("room")).expect("it is there");
        assert_eq!(Payload::of(&rule), payload);
    }
}
