//! Flow monitors (ONF extension 187): a connection names flows and is told what happens to them.
//!
//! What: a change that several monitors of a connection are for is told once, with all that any of
//! them asked for. A connection's own changes are told by the number of the message that made
//! them, unless it asked for more.
//!
//! How: as Open vSwitch has it. When too much of it waits to be read the peer is told that
//! monitoring is paused. From then on only the end of flows is told that it knows of; once it has
//! read everything it gets what came and changed meanwhile, found by walking the tables, and is
//! told that its picture is whole again. What happens while a list of flows is on its way to it,
//! that one or the first answer to a new monitor, is held back until the list is sent, and if that
//! becomes too much, it is as if the peer had been paused just then. So a peer that does not read
//! costs a bounded number of bytes and the end of each flow that it knows of; if even these become
//! too many, its connection ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use openflow::{
    ErrorCode, FlowChange, FlowEvent, FlowMonitor, FlowRemovedReason, FlowStatsRequest, FlowUpdate,
    Instructions, Message, MonitorFlags, MonitorId, MultipartReply, OfPort, TableId, Xid, v13,
};
use tracing::warn;

use super::dump::{Dump, Source};
use super::{Agent, Outbox, PeerId, Turn};
use crate::action::BridgeId;
use crate::pipeline::{Changed, Flow, FlowList, Moment, State, Switch};

/// The monitors of one connection.
#[derive(Debug, Default)]
pub(super) struct Monitors {
    monitors: BTreeMap<MonitorId, Monitor>,
    /// Since when the peer is told of no more than the end of flows.
    paused: Option<Moment>,
    is_pause_told: bool,
    /// Messages that are to follow the list that is on its way.
    held: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Monitor {
    wanted: FlowMonitor,
    /// Serial number of the newest flow when it began.
    begun: u64,
}

impl Monitor {
    fn selects(&self, flow: &Flow, before: Option<&Instructions>) -> bool {
        let wanted = &self.wanted;
        let sends = |does: &Instructions| does.outputs().any(|port| port == wanted.out_port);
        [flow.table, TableId::ALL].contains(&wanted.table)
            && (wanted.out_port == OfPort::ANY
                || sends(&flow.instructions)
                || before.is_some_and(sends))
            && wanted.matching.includes(&flow.matching)
    }
}

impl Monitors {
    /// How many there are, and the bytes that are held back.
    #[cfg(any(test, fuzzing))]
    pub(super) fn held(&self) -> (usize, usize) {
        let held = self.held.as_ref().map_or(0, Vec::len);
        (self.monitors.len(), held)
    }

    /// What those ask for that are for this change of a flow, and the serial number of the newest
    /// flow that the peer was told of when they began.
    fn asked(&self, event: FlowEvent, changed: &Changed) -> (MonitorFlags, u64) {
        let flag = match event {
            FlowEvent::Added => MonitorFlags::ADD,
            FlowEvent::Deleted(_) => MonitorFlags::DELETE,
            FlowEvent::Modified => MonitorFlags::MODIFY,
        };
        let before = changed.before.as_deref();
        let asking = self.monitors.values().filter(|monitor| {
            monitor.wanted.flags.has(flag) && monitor.selects(&changed.flow, before)
        });
        asking.fold((MonitorFlags::default(), 0), |(flags, begun), monitor| {
            (flags | monitor.wanted.flags, begun.max(monitor.begun))
        })
    }

    /// What is told of a change; `own` is the number of the connection's message that made it.
    fn update(&mut self, changed: &Changed, own: Option<Xid>) -> Option<FlowUpdate> {
        if self.paused.is_some() {
            return self.last_update(changed);
        }
        let (flags, _) = self.asked(changed.event, changed);
        match own {
            _ if flags == MonitorFlags::default() => None,
            Some(xid) if !flags.has(MonitorFlags::OWN) => Some(FlowUpdate::Abbreviated(xid)),
            _ => Some(full(changed.event, &changed.flow, flags)),
        }
    }

    /// What is told of a change while the peer is paused: the end of a flow that it knows of.
    fn last_update(&mut self, changed: &Changed) -> Option<FlowUpdate> {
        let paused = self.paused.as_mut()?;
        let is_deleted = matches!(changed.event, FlowEvent::Deleted(_));
        let serial = changed.flow.counters.serial();
        let gone = match changed.replaced {
            _ if is_deleted => serial,
            // Among the flows that go on it is not found again.
            Some(replaced) => replaced,
            None => serial,
        };
        let is_new = changed.before.is_none() || changed.replaced.is_some();
        if !is_deleted && is_new {
            // It came before this moment if it is told late.
            paused.serial = paused.serial.min(serial.saturating_sub(1));
        }
        let known = paused.serial;
        let event = match changed.event {
            FlowEvent::Deleted(_) => changed.event,
            _ if changed.replaced.is_some() => FlowEvent::Deleted(FlowRemovedReason::Delete),
            _ => return None,
        };
        let (flags, begun) = self.asked(event, changed);
        let is_wanted = flags != MonitorFlags::default() && gone <= known.max(begun);
        is_wanted.then(|| full(event, &changed.flow, flags))
    }

    /// Tells of changes, each with the number of the message that made it if that was the
    /// connection's own.
    fn tell(&mut self, changes: &[(Option<Xid>, &Changed)], now: Moment, outbox: &Outbox) {
        for some in changes.chunks(CHANGES_TOLD) {
            let mut updates: Vec<FlowUpdate> = Vec::new();
            for (own, changed) in some {
                let update = self.update(changed, *own);
                let is_abbreviated = matches!(update, Some(FlowUpdate::Abbreviated(_)));
                if !is_abbreviated || updates.last() != update.as_ref() {
                    updates.extend(update);
                }
            }
            if !updates.is_empty() {
                let reply = MultipartReply::FlowMonitor(updates);
                self.put(&Message::MultipartReply { more: false, reply }, outbox);
            }
            self.check_room(now, outbox);
        }
    }

    fn put(&mut self, message: &Message, outbox: &Outbox) {
        let mut bytes = Vec::new();
        if let Err(error) = v13::encode_knowing(Xid(0), message, &outbox.tlvs(), &mut bytes) {
            warn!(%error, "an update is left out");
        }
        match &mut self.held {
            Some(held) => held.extend(bytes),
            None => outbox.update(bytes),
        }
    }

    fn check_room(&mut self, now: Moment, outbox: &Outbox) {
        let waiting = match &self.held {
            Some(held) => held.len(),
            None => outbox.update_bytes(),
        };
        if waiting > UPDATE_BYTES_MAX && self.paused.is_none() {
            self.paused = Some(now);
            self.tell_pause(outbox);
        }
        if waiting > LAST_UPDATE_BYTES_MAX {
            outbox.give_up();
        }
    }

    /// Tells whether the peer's picture is whole, if that is not what it thinks and it can be told.
    fn tell_pause(&mut self, outbox: &Outbox) {
        let is_paused = self.paused.is_some();
        if self.held.is_none() && is_paused != self.is_pause_told {
            self.is_pause_told = is_paused;
            let message = match is_paused {
                true => Message::MonitorPaused,
                false => Message::MonitorResumed,
            };
            self.put(&message, outbox);
        }
    }

    /// A list is sent: what was held back follows it.
    fn end_list(&mut self, outbox: &Outbox) {
        let held = self.held.take().filter(|held| !held.is_empty());
        if let Some(held) = held {
            outbox.update(held);
        }
        self.tell_pause(outbox);
    }
}

fn full(event: FlowEvent, flow: &Flow, flags: MonitorFlags) -> FlowUpdate {
    let mut change = FlowChange::new(event, flow.clone().into_stats(flow.created_ms));
    if !flags.has(MonitorFlags::ACTIONS) {
        change.instructions = Instructions::default();
    }
    FlowUpdate::Full(Box::new(change))
}

/// The flows that monitors are for, each once.
#[derive(Debug)]
pub(super) struct WatchedFlows {
    bridge: BridgeId,
    state: Arc<State>,
    /// Only those that came or changed since.
    since: Option<Moment>,
    monitors: Vec<Monitor>,
    /// The monitor whose flows are being read, and these.
    index: usize,
    flows: Option<FlowList>,
}

impl WatchedFlows {
    /// Goes on with a newer state ([`FlowList::renew`]).
    pub(super) fn renew(&mut self, state: Arc<State>) {
        if let Some(flows) = &mut self.flows {
            flows.renew(Arc::clone(&state));
        }
        self.state = state;
    }

    /// The next flow of the monitor whose turn it is, within so many steps.
    fn read(&mut self, steps: &mut usize) -> Option<Flow> {
        loop {
            let monitor = self.monitors.get(self.index)?;
            let flows = self.flows.get_or_insert_with(|| {
                let list = FlowList::new(self.state.clone(), self.bridge, &request(monitor));
                match self.since {
                    Some(moment) => list.since(moment),
                    None => list,
                }
            });
            if let Some(flow) = flows.next_within(steps) {
                return Some(flow);
            }
            if *steps == 0 {
                return None;
            }
            self.index += 1;
            self.flows = None;
        }
    }

    /// What a flow is told as, and what monitors are to ask for to be told of it.
    fn kind(&self, flow: &Flow) -> (FlowEvent, MonitorFlags) {
        match self.since {
            None => (FlowEvent::Added, MonitorFlags::INITIAL),
            Some(moment) if moment.knew(flow) => (FlowEvent::Modified, MonitorFlags::MODIFY),
            Some(_) => {
                let either = MonitorFlags::ADD | MonitorFlags::MODIFY;
                (FlowEvent::Added, either)
            }
        }
    }

    /// The next update if it takes no more than so many steps ([`FlowList::next_within`]).
    pub(super) fn next_within(&mut self, steps: &mut usize) -> Option<FlowUpdate> {
        loop {
            let flow = self.read(steps)?;
            let (event, wanted) = self.kind(&flow);
            let asking = |monitor: &&Monitor| {
                monitor.wanted.flags.has(wanted) && monitor.selects(&flow, None)
            };
            if !asking(&&self.monitors[self.index])
                || self.monitors[..self.index].iter().any(|it| asking(&it))
            {
                continue;
            }
            let asking = self.monitors[self.index..].iter().filter(asking);
            let flags = asking.fold(MonitorFlags::default(), |flags, monitor| {
                flags | monitor.wanted.flags
            });
            return Some(full(event, &flow, flags));
        }
    }
}

/// Flows of a monitor.
fn request(monitor: &Monitor) -> FlowStatsRequest {
    FlowStatsRequest {
        table: monitor.wanted.table,
        out_port: monitor.wanted.out_port,
        matching: monitor.wanted.matching.clone(),
        ..FlowStatsRequest::default()
    }
}

impl Agent {
    /// Begins monitors, all or none; the list that answers the request.
    pub(super) fn begin_monitors(
        &mut self,
        turn: &mut Turn<'_>,
        id: PeerId,
        xid: Xid,
        wanted: &[FlowMonitor],
    ) -> Result<Dump, ErrorCode> {
        let peer = self.peers.get_mut(&id);
        let peer = peer.ok_or(ErrorCode::BAD_REQUEST_EPERM)?;
        let mut monitors = peer.monitors.monitors.clone();
        let begun = turn.switch.moment(self.bridge, turn.now_ms).serial;
        for wanted in wanted {
            if !turn.switch.has_table(self.bridge, wanted.table) {
                return Err(ErrorCode::BAD_REQUEST_BAD_TABLE_ID);
            }
            let wanted = wanted.clone();
            let before = monitors.insert(wanted.id, Monitor { wanted, begun });
            if before.is_some() {
                return Err(ErrorCode::MONITOR_FAILED_MONITOR_EXISTS);
            }
        }
        if monitors.len() > MONITORS_MAX {
            return Err(ErrorCode::BAD_REQUEST_MULTIPART_BUFFER_OVERFLOW);
        }
        peer.monitors.monitors = monitors;
        peer.monitors.held = Some(Vec::new());
        turn.switch.watch(self.bridge, true);
        let wanted = wanted.iter().cloned();
        let monitors = wanted.map(|wanted| Monitor { wanted, begun }).collect();
        Ok(Dump::new(xid, self.watched(turn.switch, monitors, None)))
    }

    fn watched(
        &self,
        switch: &mut Switch,
        monitors: Vec<Monitor>,
        since: Option<Moment>,
    ) -> Source {
        Source::Watched(WatchedFlows {
            bridge: self.bridge,
            state: switch.publish(),
            since,
            monitors,
            index: 0,
            flows: None,
        })
    }

    /// Ends a monitor.
    pub(super) fn cancel_monitor(
        &mut self,
        switch: &mut Switch,
        id: PeerId,
        monitor: MonitorId,
    ) -> Result<(), ErrorCode> {
        let peer = self.peers.get_mut(&id);
        let peer = peer.ok_or(ErrorCode::BAD_REQUEST_EPERM)?;
        let gone = peer.monitors.monitors.remove(&monitor);
        gone.ok_or(ErrorCode::MONITOR_FAILED_UNKNOWN_MONITOR)?;
        self.stop_watching(switch);
        Ok(())
    }

    /// Has the switch note no changes that nobody hears of.
    pub(super) fn stop_watching(&mut self, switch: &mut Switch) {
        if self
            .peers
            .values()
            .all(|peer| peer.monitors.monitors.is_empty())
        {
            switch.watch(self.bridge, false);
        }
    }

    /// Tells what happened to flows since this was called last; `cause` is the message that made
    /// it happen, and whose.
    pub fn tell_changes(&mut self, switch: &mut Switch, cause: Option<(PeerId, Xid)>, now_ms: u64) {
        if self.is_telling() {
            // What came later is told later.
            return;
        }
        let changes = switch.take_changes(self.bridge);
        if changes.is_empty() {
            return;
        }
        let (author, xid) = cause.unzip();
        let changes: Vec<_> = changes.into_iter().map(|change| (xid, change)).collect();
        self.tell_all(switch.moment(self.bridge, now_ms), author, &changes);
    }

    /// Tells of changes, each with the number of the message of `author` that made it.
    pub(super) fn tell_all(
        &mut self,
        now: Moment,
        author: Option<PeerId>,
        changes: &[(Option<Xid>, Changed)],
    ) {
        for (id, peer) in &mut self.peers {
            let is_own = author == Some(*id);
            let each = changes.iter();
            let each = each.map(|(xid, changed)| (xid.filter(|_| is_own), changed));
            if !peer.monitors.monitors.is_empty() {
                let outbox = &peer.outbox;
                peer.monitors.tell(&each.collect::<Vec<_>>(), now, outbox);
            }
        }
    }

    /// What came and changed while a peer was paused, once it has read everything before that.
    pub fn resume(&mut self, switch: &mut Switch, id: PeerId) -> Option<Dump> {
        let peer = self.peers.get_mut(&id)?;
        peer.monitors.paused?;
        if peer.outbox.update_bytes() > 0 {
            return None;
        }
        let since = peer.monitors.paused.take();
        peer.monitors.held = Some(Vec::new());
        let monitors = peer.monitors.monitors.values().cloned().collect();
        Some(Dump::unasked(self.watched(switch, monitors, since)))
    }

    /// A list was sent to a peer.
    pub fn end_list(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.monitors.end_list(&peer.outbox);
        }
    }
}

/// Monitors of one connection: each change is held against each of them.
pub(super) const MONITORS_MAX: usize = 64;
/// Changes told in one message, or a few: about what one holds.
const CHANGES_TOLD: usize = 512;
/// Bytes of updates that wait for a peer before it is paused, as in Open vSwitch: some thousand.
pub(super) const UPDATE_BYTES_MAX: usize = 128 << 10;
/// Bytes of updates that wait for a peer before it is given up: the end of a million flows of five
/// fields, which a controller that reads takes in a few seconds.
const LAST_UPDATE_BYTES_MAX: usize = 160 << 20;
