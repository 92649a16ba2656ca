//! Long lists on their way to a peer: a message at a time, in memory that does not grow with the
//! list, and with a bounded amount of work between two looks at others. The peer's connection asks
//! for the next message once the last has left.
//!
//! Flows are those of the moment at which the list was begun ([`FlowList`]). Groups and meters are
//! read in the order of their numbers, each as it is when its turn comes.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use openflow::v13::ReplyStream;
use openflow::{AggregateStats, GroupId, Message, MeterId, MultipartReply, Xid, v13};
use tracing::warn;

use super::Outbox;
use super::monitor::WatchedFlows;
use crate::action::BridgeId;
use crate::pipeline::{FlowList, Switch};

/// A long list.
#[derive(Debug)]
pub struct Dump {
    stream: ReplyStream<Queue>,
    source: Source,
    /// Whether nothing is sent if there is nothing in it.
    is_optional: bool,
}

/// Where a list comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// Flows with their statistics.
    Flows { flows: FlowList, now_ms: u64 },
    /// Sums over flows, told once they are complete.
    Sums {
        xid: Xid,
        flows: FlowList,
        sums: AggregateStats,
    },
    /// Flows that monitors are for.
    Watched(WatchedFlows),
    /// Groups with their statistics.
    GroupStats(BridgeId, RangeInclusive<GroupId>, u64),
    /// Groups as they were set up.
    GroupDesc(BridgeId, RangeInclusive<GroupId>),
    /// Meters with their statistics.
    MeterStats(BridgeId, RangeInclusive<MeterId>, u64),
    /// Meters as they were set up.
    MeterConfig(BridgeId, RangeInclusive<MeterId>),
}

impl Source {
    /// A list of this kind without entries.
    fn empty(&self) -> MultipartReply {
        match self {
            Source::Flows { .. } | Source::Sums { .. } => MultipartReply::Flow(Vec::new()),
            Source::Watched(_) => MultipartReply::FlowMonitor(Vec::new()),
            Source::GroupStats(..) => MultipartReply::Group(Vec::new()),
            Source::GroupDesc(..) => MultipartReply::GroupDesc(Vec::new()),
            Source::MeterStats(..) => MultipartReply::Meter(Vec::new()),
            Source::MeterConfig(..) => MultipartReply::MeterConfig(Vec::new()),
        }
    }

    /// The next entry or a few, and bytes that they take at least. None without a step left if
    /// there may be one, none with steps left at the end.
    fn next(&mut self, switch: &Switch, steps: &mut usize) -> Option<(MultipartReply, usize)> {
        let parts = match self {
            Source::Flows { flows, now_ms } => {
                let next = || Some(flows.next_within(steps)?.into_stats(*now_ms));
                let list: Vec<_> = std::iter::from_fn(next).take(FLOWS_AT_ONCE).collect();
                let bytes = list.len() * FLOW_BYTES_MIN;
                return (bytes > 0).then_some((MultipartReply::Flow(list), bytes));
            }
            Source::Sums { .. } => return None,
            Source::Watched(flows) => {
                let update = flows.next_within(steps)?;
                return Some((MultipartReply::FlowMonitor(vec![update]), UPDATE_BYTES_MIN));
            }
            Source::GroupStats(bridge, ids, now_ms) => {
                let group = switch.group_stats(*bridge, ids.clone(), *now_ms).next()?;
                *ids = GroupId(group.group.0 + 1)..=*ids.end();
                (group.buckets.len(), MultipartReply::Group(vec![group]))
            }
            Source::GroupDesc(bridge, ids) => {
                let group = switch.group_desc(*bridge, ids.clone()).next()?;
                *ids = GroupId(group.group.0 + 1)..=*ids.end();
                (group.buckets.len(), MultipartReply::GroupDesc(vec![group]))
            }
            Source::MeterStats(bridge, ids, now_ms) => {
                let meter = switch.meter_stats(*bridge, ids.clone(), *now_ms).next()?;
                *ids = MeterId(meter.meter.0 + 1)..=*ids.end();
                (meter.bands.len(), MultipartReply::Meter(vec![meter]))
            }
            Source::MeterConfig(bridge, ids) => {
                let meter = switch.meter_config(*bridge, ids.clone()).next()?;
                *ids = MeterId(meter.meter.0 + 1)..=*ids.end();
                (meter.bands.len(), MultipartReply::MeterConfig(vec![meter]))
            }
        };
        *steps = steps.saturating_sub(1 + parts.0);
        Some((parts.1, ENTRY_BYTES_MIN + PART_BYTES_MIN * parts.0))
    }
}

/// Entries that were read and not yet written.
#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<(MultipartReply, usize)>,
    /// Bytes that they take at least.
    bytes: usize,
    /// What is given out when there is nothing yet; nothing at the end of the list.
    waiting: Option<MultipartReply>,
}

impl Iterator for Queue {
    type Item = MultipartReply;

    fn next(&mut self) -> Option<MultipartReply> {
        match self.entries.pop_front() {
            Some((entry, bytes)) => {
                self.bytes -= bytes;
                Some(entry)
            }
            None => self.waiting.clone(),
        }
    }
}

impl Dump {
    /// The answer to a request.
    pub(super) fn new(xid: Xid, source: Source) -> Dump {
        let queue = Queue {
            waiting: Some(source.empty()),
            ..Queue::default()
        };
        Dump {
            stream: ReplyStream::new(xid, source.empty(), queue),
            source,
            is_optional: false,
        }
    }

    /// A list that nobody asked for.
    pub(super) fn unasked(source: Source) -> Dump {
        Dump {
            is_optional: true,
            ..Dump::new(Xid(0), source)
        }
    }

    /// Lets go of flows that went since the list was begun, if they have become too many.
    pub fn keep_up(&mut self, switch: &mut Switch) {
        if switch.flows_waiting() > FLOWS_WAITING_MAX {
            match &mut self.source {
                Source::Flows { flows, .. } | Source::Sums { flows, .. } => {
                    flows.renew(switch.publish());
                }
                Source::Watched(flows) => flows.renew(switch.publish()),
                Source::GroupStats(..)
                | Source::GroupDesc(..)
                | Source::MeterStats(..)
                | Source::MeterConfig(..) => {}
            }
        }
    }

    /// Reads on, and sends the next message if there is something for one; whether that was the
    /// last.
    pub fn step(&mut self, switch: &Switch, outbox: &Outbox) -> bool {
        if let Source::Sums { .. } = self.source {
            return self.sum(outbox);
        }
        self.read(switch);
        self.stream.set_tlvs(outbox.tlvs());
        loop {
            let mut bytes = Vec::with_capacity(MESSAGE_ROOM);
            match self.stream.encode_next(&mut bytes) {
                Ok(more) => {
                    let is_wanted = !self.is_optional || !self.stream.is_empty();
                    if !bytes.is_empty() && is_wanted {
                        bytes.shrink_to_fit();
                        outbox.reply(bytes);
                    }
                    return !more;
                }
                Err(error) => warn!(%error, "an entry is left out of a list"),
            }
        }
    }

    /// Adds sums up for a while; whether they were complete and are sent.
    fn sum(&mut self, outbox: &Outbox) -> bool {
        let Source::Sums { xid, flows, sums } = &mut self.source else {
            return true;
        };
        let mut steps = STEPS_MAX;
        flows.sum_within(&mut steps, sums);
        let is_complete = steps > 0;
        if is_complete {
            let (more, reply) = (false, MultipartReply::Aggregate(*sums));
            let mut bytes = Vec::new();
            match v13::encode(*xid, &Message::MultipartReply { more, reply }, &mut bytes) {
                Ok(()) => outbox.reply(bytes),
                Err(error) => warn!(%error, "sums are not told"),
            }
        }
        is_complete
    }

    /// Reads as much as one message holds, if that is not too much work.
    fn read(&mut self, switch: &Switch) {
        let mut steps = STEPS_MAX;
        let queue = self.stream.source();
        while queue.waiting.is_some() && queue.bytes < MESSAGE_BYTES_MAX && steps > 0 {
            match self.source.next(switch, &mut steps) {
                Some((entry, bytes)) => {
                    queue.bytes += bytes;
                    queue.entries.push_back((entry, bytes));
                }
                None if steps > 0 => queue.waiting = None,
                None => {}
            }
        }
    }
}

/// Flows that went and are kept, some 150 bytes each, for lists that are still on their way: what a
/// controller changes in half a second. A peer that reads slower than that gets a list of several
/// moments. Not more, for those of one flow are one list, which is walked to free each.
const FLOWS_WAITING_MAX: usize = 100_000;
/// Flows, buckets and bands looked at for one message: some ten microseconds, and more than a
/// message holds.
const STEPS_MAX: usize = 2048;
/// Flows read in a row: enough to make room for them cheap, few enough that an allocator keeps
/// their memory at hand when it is freed, and gives it to the next ones.
const FLOWS_AT_ONCE: usize = 6;
/// Length of the longest message.
const MESSAGE_BYTES_MAX: usize = 0xffff;
/// Room for that, and for an entry of usual length that turns out not to fit in it any more.
const MESSAGE_ROOM: usize = MESSAGE_BYTES_MAX + 4096;
/// `ofp_flow_stats` with a match and no instructions.
const FLOW_BYTES_MIN: usize = 56;
/// The same of an update of a flow monitor.
const UPDATE_BYTES_MIN: usize = 32;
/// `ofp_group_desc_stats` and `ofp_meter_config`, the shortest of the others.
const ENTRY_BYTES_MIN: usize = 8;
/// A bucket or band.
const PART_BYTES_MIN: usize = 12;
