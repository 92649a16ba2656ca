//! A bridge before controllers of which nothing is known but bytes: a whole dialogue without
//! sockets, workers or clock, as connections and control task carry it on. For the fuzz target
//! `openflow_dialogue` and the test of random dialogues, which hand in anything and look at what
//! comes back and at how much is kept.

use std::sync::Arc;

use flowtable::{Carried, FlowKey};
use openflow::connection::{CloseReason, Config, Connection, Side};
use openflow::{ErrorCode, GroupId, Message, MeterId, TableId, Xid};

use super::super::outbox::{self, Outbox};
use super::super::pace::Limit;
use super::super::ports::Ports;
use super::{Agent, Dump, Next, PeerId, PeerKind, Turn, TwoPorts, Work};
use super::{buffers::Buffers, bundle, monitor};
use crate::action::{Punt, PuntReason};
use crate::pipeline::{BridgeSpec, RemovedFlow, Switch};

mod reader;

pub use reader::Reader;

/// A bridge with ports 1 and 2, room for few flows, groups and meters, and four peers: a
/// controller, its auxiliary connection, one that dialled us and is limited, and a tool.
#[derive(Debug)]
pub struct Rehearsal {
    switch: Switch,
    ports: Ports,
    work: Work,
    agent: Agent,
    peers: Vec<Party>,
    now_ms: u64,
}

/// One of the peers.
#[derive(Debug)]
struct Party {
    id: PeerId,
    kind: PeerKind,
    protocol: Connection,
    outbox: Arc<Outbox>,
    is_connected: bool,
    dump: Option<Dump>,
    bytes_heard: usize,
}

impl Default for Rehearsal {
    fn default() -> Rehearsal {
        Rehearsal::new()
    }
}

impl Rehearsal {
    /// How many peers there are.
    pub const PEERS: usize = 4;

    /// Everybody is there, and no hello was heard yet.
    pub fn new() -> Rehearsal {
        let world = TwoPorts::new(BridgeSpec {
            flows_max: FLOWS_MAX,
            groups_max: GROUPS_MAX,
            meters_max: METERS_MAX,
            ..BridgeSpec::default()
        });
        let main = PeerId(0);
        let kinds: [_; Rehearsal::PEERS] = [
            PeerKind::Controller,
            PeerKind::Auxiliary { main, id: 1 },
            PeerKind::Listener,
            PeerKind::Service,
        ];
        Rehearsal {
            switch: world.switch,
            ports: world.ports,
            work: Work::default(),
            agent: world.agent,
            peers: (0..).zip(kinds).map(Party::new).collect(),
            now_ms: 0,
        }
    }

    /// A peer says something; an error is the end of its connection.
    pub fn hear(&mut self, peer: usize, bytes: &[u8]) -> Result<(), CloseReason> {
        let party = &mut self.peers[peer];
        party.bytes_heard += bytes.len();
        let heard = party.protocol.receive(bytes, self.now_ms);
        if party.protocol.version().is_some() && !party.is_connected {
            party.is_connected = true;
            self.agent
                .connect(party.id, party.kind, Arc::clone(&party.outbox));
        }
        self.go_on(peer);
        heard
    }

    /// A peer reads everything there is for it, which makes room for more.
    pub fn told(&mut self, peer: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            self.go_on(peer);
            let before = bytes.len();
            let party = &mut self.peers[peer];
            let own = party.protocol.outgoing();
            bytes.extend_from_slice(own);
            let len = own.len();
            party.protocol.sent(len);
            party.outbox.take(&mut bytes, self.now_ms);
            if bytes.len() == before {
                return bytes;
            }
        }
    }

    /// Time passes.
    pub fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        let (removed, _) = self.switch.expire(self.now_ms);
        self.report(removed);
        self.agent.expire_bundles(self.now_ms);
        self.switch.maintain();
        for party in &mut self.peers {
            let _ = party.protocol.poll(self.now_ms);
        }
    }

    /// A packet comes in by port 1 or 2 and no flow wants it, or one sends so much of it.
    pub fn packet_in(&mut self, port: u32, max_len: u16, frame: &[u8]) {
        let metadata = FlowKey {
            in_port: port,
            ..FlowKey::default()
        };
        let punt = Punt {
            bridge: self.agent.bridge,
            reason: [PuntReason::NoMatch, PuntReason::Action][usize::from(max_len > 128)],
            table: TableId(0),
            cookie: u64::MAX,
            max_len,
            metadata: Box::new(metadata),
            written: Carried::NONE,
            meters: Box::default(),
            controller: 0,
            userdata: [].into(),
            paused: None,
        };
        self.agent
            .packet_in((&punt, &Carried::NONE), frame, self.now_ms);
    }

    /// Carries out what a peer said, as far as it reads the answers.
    fn go_on(&mut self, peer: usize) {
        loop {
            let party = &mut self.peers[peer];
            if party.outbox.is_congested() {
                return;
            }
            if party.dump.is_none() {
                party.dump = self.agent.resume(&mut self.switch, party.id);
            }
            if let Some(dump) = &mut party.dump {
                dump.keep_up(&mut self.switch);
                if dump.step(&self.switch, &party.outbox) {
                    party.dump = None;
                    self.agent.end_list(party.id);
                }
                continue;
            }
            if !party.protocol.ready() {
                return;
            }
            let Some((xid, request)) = party.protocol.next_request() else {
                return;
            };
            let head = party.protocol.request_head().to_vec();
            self.carry_out(peer, xid, request, &head);
        }
    }

    fn carry_out(
        &mut self,
        peer: usize,
        xid: Xid,
        request: Result<Message, ErrorCode>,
        head: &[u8],
    ) {
        let id = self.peers[peer].id;
        let mut turn = Turn {
            switch: &mut self.switch,
            ports: &mut self.ports,
            now_ms: self.now_ms,
            work: &mut self.work,
        };
        let next = match request {
            Ok(message) => self.agent.receive(&mut turn, id, xid, message, head),
            Err(code) => {
                self.agent.refuse(id, xid, code, head);
                Next::Done
            }
        };
        let answered = match &next {
            Next::Count(request) => self.agent.answer(&mut turn, id, xid, request),
            Next::Barrier(_) | Next::Done => Ok(None),
            Next::Sweep => {
                while !self.agent.sweep(&mut turn, id, xid, head) {}
                Ok(None)
            }
        };
        match answered {
            Ok(dump) => self.peers[peer].dump = dump,
            Err(code) => self.agent.refuse(id, xid, code, head),
        }
        self.work.injections.clear();
        let removed = std::mem::take(&mut self.work.removed);
        self.report(removed);
        self.switch.publish();
        if let Next::Barrier(reply) = next {
            self.agent.reply(id, xid, &reply);
        }
    }

    fn report(&mut self, removed: Vec<RemovedFlow>) {
        self.agent.tell_changes(&mut self.switch, None, self.now_ms);
        for flow in &removed {
            self.agent.flow_removed(flow);
        }
    }

    /// Panics if more is kept than the limits allow.
    pub fn assert_bounded(&self) {
        let bridge = self.agent.bridge;
        for table in self.switch.table_stats(bridge) {
            assert!(table.active as usize <= FLOWS_MAX, "{table:?}");
        }
        let groups = GroupId(0)..=GroupId(u32::MAX);
        assert!(self.switch.group_desc(bridge, groups).count() <= GROUPS_MAX);
        let meters = MeterId(0)..=MeterId(u32::MAX);
        assert!(self.switch.meter_config(bridge, meters).count() <= METERS_MAX);
        assert!(self.agent.buffers.len() <= Buffers::COUNT);
        for party in &self.peers {
            let waiting = party.outbox.waiting();
            assert!(
                waiting.replies <= outbox::REPLY_BYTES_MAX + REPLY_BYTES_TO_ONE,
                "{waiting:?}"
            );
            assert!(waiting.notices <= outbox::NOTICE_BYTES_MAX, "{waiting:?}");
            assert!(
                waiting.packet_ins <= outbox::PACKET_BYTES_MAX,
                "{waiting:?}"
            );
            let updates = monitor::UPDATE_BYTES_MAX + UPDATE_BYTES_LEFT;
            assert!(waiting.updates <= updates, "{waiting:?}");
            let Some(peer) = self.agent.peers.get(&party.id) else {
                continue;
            };
            let (bundles, bytes) = peer.bundles.held();
            assert!(bundles <= bundle::BUNDLES_MAX, "{bundles}");
            let (monitors, held) = peer.monitors.held();
            assert!(monitors <= monitor::MONITORS_MAX, "{monitors}");
            assert!(held <= updates, "{held}");
            assert!(bytes <= party.bytes_heard.min(bundle::BYTES_MAX), "{bytes}");
        }
    }
}

impl Party {
    fn new((number, kind): (u64, PeerKind)) -> Party {
        let limit = (kind == PeerKind::Listener).then_some(PACKET_INS);
        Party {
            id: PeerId(number),
            kind,
            protocol: Connection::new(Config::new(Side::Switch), 0),
            outbox: Arc::new(Outbox::new(limit)),
            is_connected: false,
            dump: None,
            bytes_heard: 0,
        }
    }
}

/// Flows of a table: so few that a short dialogue fills it.
const FLOWS_MAX: usize = 6;
/// Groups.
const GROUPS_MAX: usize = 3;
/// Meters.
const METERS_MAX: usize = 3;
/// What the limited peer gets.
const PACKET_INS: Limit = Limit { rate: 10, burst: 4 };
/// What monitors tell of flows that go although nobody reads: of all that there is room for.
const UPDATE_BYTES_LEFT: usize = 1 << 20;
/// What one request may bring where it is answered at once: the features of all tables are most.
const REPLY_BYTES_TO_ONE: usize = 2 << 20;
