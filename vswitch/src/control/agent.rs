//! The OpenFlow agent of one bridge (OpenFlow 1.3.5 §6.3, §7): what each message does and who
//! hears of it.
//!
//! The control task hands it decoded messages of its peers, one at a time and in order, together
//! with all they may touch ([`Turn`]). Replies go to the peer's [`Outbox`]; what has to wait for
//! the workers is returned ([`Next`]) and answered later. No sockets, clock or threads.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowtable::{TlvMapping, TlvTable};
use openflow::{
    AsyncConfig, Capabilities, CtFlush, ErrorCode, Experimenter, Features, Message,
    MultipartRequest, NiciraMessage, OfPort, PacketInFormat, PortReason, PortStatus, Role,
    SwitchConfig, TlvMap, TlvTableReply, Xid, bundle::ONF, v13,
};
use tracing::debug;

use super::config::Description;
use super::outbox::{Dropped, Outbox};
use super::pace::Limit;
use super::ports::Ports;
use crate::action::{BridgeId, PortNo};
use crate::datapath::PacketOut;
use crate::pipeline::{FlowList, RemovedFlow, Sweep, Switch};

mod buffers;
mod bundle;
mod continuations;
mod dump;
mod farewell;
mod limits;
mod monitor;
mod multipart;
mod notices;
mod packet;
mod port;
mod queue;
#[cfg(any(test, fuzzing))]
mod rehearsal;
mod role;
mod sweep;
#[cfg(any(test, fuzzing))]
mod two_ports;

pub use dump::Dump;
#[cfg(any(test, fuzzing))]
pub use rehearsal::{Reader, Rehearsal};
#[cfg(any(test, fuzzing))]
pub use two_ports::TwoPorts;

use buffers::Buffers;
use bundle::Bundles;
use continuations::Continuations;
use limits::PortLimits;
use monitor::Monitors;

/// Number of a connection, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// The OpenFlow side of one bridge.
#[derive(Debug)]
pub struct Agent {
    /// The bridge.
    pub bridge: BridgeId,
    /// What it says of itself.
    pub identity: Identity,
    peers: BTreeMap<PeerId, Peer>,
    buffers: Buffers,
    continuations: Continuations,
    generation_id: Option<u64>,
    /// Of peers that are gone.
    dropped: Dropped,
    limits: PortLimits,
    /// Flows that went all at once, of which monitors are still to be told.
    gone: Option<Box<FlowList>>,
    /// Which Geneve options are which `tun_metadata` fields.
    tlvs: Arc<TlvTable>,
}

/// What a bridge says of itself.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its datapath id.
    pub datapath_id: u64,
    /// Texts for people.
    pub description: Description,
}

/// How a connection came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// The switch dialled a controller.
    Controller,
    /// A controller dialled the switch.
    Listener,
    /// The switch dialled a controller that it has a connection to already: for packet-ins, and
    /// whatever the controller asks there (OpenFlow 1.3.5 §6.3.6).
    Auxiliary {
        /// The connection that it belongs to.
        main: PeerId,
        /// From 1.
        id: u8,
    },
    /// A tool connected to `<run_dir>/<bridge>.mgmt`: it hears of nothing that it did not ask for
    /// until it sets a `miss_send_len`, as OVS has it.
    Service,
}

/// A connection.
#[derive(Debug)]
struct Peer {
    kind: PeerKind,
    outbox: Arc<Outbox>,
    role: Role,
    wants: AsyncConfig,
    /// Bytes it gets of a packet that no action sends; `0xffff` for all of it, unbuffered.
    miss_send_len: u16,
    /// How it gets packets.
    packet_in_format: PacketInFormat,
    /// The number by which flows mean it.
    controller_id: u16,
    bundles: Bundles,
    monitors: Monitors,
    /// A change of many flows on its way.
    sweep: Option<Box<Sweep>>,
}

/// All that a message may touch.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The switch.
    pub switch: &'a mut Switch,
    /// The ports of all bridges.
    pub ports: &'a mut Ports,
    /// Now.
    pub now_ms: u64,
    /// What is to be done after it.
    pub work: &'a mut Work,
}

/// What messages ask of the datapath; done once the state they belong to is published.
#[derive(Debug, Default)]
pub struct Work {
    /// Packets to send.
    pub injections: Vec<PacketOut>,
    /// Flows that went, whose controllers are to hear of it.
    pub removed: Vec<RemovedFlow>,
    /// Connections to end.
    pub flushes: Vec<CtFlush>,
}

/// What is left to do for a message.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Nothing.
    Done,
    /// Send this reply when every worker works on what the messages so far made.
    Barrier(Message),
    /// Call [`Agent::answer`] when the workers have told their counters.
    Count(MultipartRequest),
    /// Call [`Agent::sweep`] until it says that it is over, before the peer's next message.
    Sweep,
}

impl Agent {
    /// The agent of a bridge without connections.
    pub fn new(bridge: BridgeId, identity: Identity) -> Agent {
        Agent {
            bridge,
            identity,
            peers: BTreeMap::new(),
            buffers: Buffers::default(),
            continuations: Continuations::default(),
            generation_id: None,
            dropped: Dropped::default(),
            limits: PortLimits::default(),
            gone: None,
            tlvs: Arc::default(),
        }
    }

    /// Takes a connection whose handshake is done.
    pub fn connect(&mut self, peer: PeerId, kind: PeerKind, outbox: Arc<Outbox>) {
        let miss_send_len = match kind {
            PeerKind::Controller | PeerKind::Listener | PeerKind::Auxiliary { .. } => {
                MISS_SEND_LEN_DEFAULT
            }
            PeerKind::Service => 0,
        };
        let peer_state = Peer {
            kind,
            outbox,
            role: Role::Equal,
            wants: AsyncConfig::default(),
            miss_send_len,
            packet_in_format: PacketInFormat::default(),
            controller_id: 0,
            bundles: Bundles::default(),
            monitors: Monitors::default(),
            sweep: None,
        };
        peer_state.outbox.set_tlvs(&self.tlvs);
        self.peers.insert(peer, peer_state);
    }

    /// Forgets a connection.
    pub fn disconnect(&mut self, peer: PeerId, switch: &mut Switch) {
        if let Some(gone) = self.peers.remove(&peer) {
            self.dropped += gone.outbox.dropped();
        }
        self.note_invalid_ttl(switch);
        self.stop_watching(switch);
    }

    /// Asynchronous messages dropped because peers did not read or may not get so many.
    pub fn notices_dropped(&self) -> u64 {
        let there = self.peers.values().map(|peer| peer.outbox.dropped());
        self.dropped.total() + there.map(Dropped::total).sum::<u64>()
    }

    /// The same of one controller, its auxiliary connections included.
    pub fn dropped(&self, main: PeerId) -> Dropped {
        let mut dropped = Dropped::default();
        for (id, peer) in &self.peers {
            if *id == main || peer.is_auxiliary_of(main) {
                dropped += peer.outbox.dropped();
            }
        }
        dropped
    }

    /// Packet-ins that ports had too many of.
    pub fn packet_ins_limited(&self) -> u64 {
        self.limits.dropped()
    }

    /// Sets how many packet-ins one port may have.
    pub fn limit_ports(&mut self, limit: Option<Limit>) {
        self.limits.set(limit);
    }

    /// Whether a controller that the switch dialled is there.
    pub fn has_controller(&self) -> bool {
        self.peers
            .values()
            .any(|peer| peer.kind == PeerKind::Controller)
    }

    /// The role of a connection, if it is there.
    pub fn role(&self, peer: PeerId) -> Option<Role> {
        Some(self.peers.get(&peer)?.role)
    }

    /// Carries out a message. An error is told to the peer with the beginning of `request`.
    pub fn receive(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        xid: Xid,
        message: Message,
        request: &[u8],
    ) -> Next {
        let is_of_tlvs = matches!(message, Message::Nicira(NiciraMessage::TlvTableMod(_)));
        let done = self.carry_out(turn, peer, xid, message);
        if is_of_tlvs {
            self.set_tlvs(turn.switch, peer);
        }
        self.tell_changes(turn.switch, Some((peer, xid)), turn.now_ms);
        done.unwrap_or_else(|code| {
            self.refuse(peer, xid, code, request);
            Next::Done
        })
    }

    /// Goes on with a peer's change that takes long; whether it is over.
    pub fn sweep(&mut self, turn: &mut Turn<'_>, peer: PeerId, xid: Xid, request: &[u8]) -> bool {
        let done = self.go_on(turn, peer, xid);
        self.tell_changes(turn.switch, Some((peer, xid)), turn.now_ms);
        match done {
            Ok(next) => next == Next::Done,
            Err(code) => {
                self.refuse(peer, xid, code, request);
                true
            }
        }
    }

    /// Tells a peer that a request failed.
    pub fn refuse(&mut self, peer: PeerId, xid: Xid, code: ErrorCode, request: &[u8]) {
        debug!(bridge = self.identity.name, peer = peer.0, %xid, %code, "request refused");
        let data = request[..request.len().min(ERROR_DATA_BYTES)].to_vec();
        self.reply(peer, xid, &Message::Error(code.message(data)));
    }

    fn carry_out(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        xid: Xid,
        message: Message,
    ) -> Result<Next, ErrorCode> {
        // What is said of a controller is said of its main connection, wherever it is said.
        let main = self.main(peer)?;
        self.check_role(main, &message)?;
        match message {
            Message::FlowMod(change) => return self.flow_mod(turn, peer, &change),
            Message::GroupMod(change) => return self.group_mod(turn, peer, &change),
            Message::MeterMod(change) => return self.meter_mod(turn, peer, &change),
            Message::TableMod(change) => turn.switch.table_mod(self.bridge, &change)?,
            Message::PortMod(change) => self.port_mod(turn, &change)?,
            Message::PacketOut(out) => self.packet_out(turn, out)?,
            Message::SetConfig(config) => self.set_config(turn, main, config)?,
            Message::SetAsync(wants) => self.set_async(turn, main, wants),
            Message::MultipartRequest { request, .. } => {
                return self.multipart(turn, peer, xid, request);
            }
            Message::BarrierRequest => return Ok(Next::Barrier(Message::BarrierReply)),
            Message::Nicira(NiciraMessage::TlvTableRequest) => {
                self.reply(peer, xid, &self.tlv_table());
            }
            Message::Nicira(nicira) => self.nicira(turn, main, nicira)?,
            Message::Bundle(control) => return self.bundle(turn, peer, xid, control),
            Message::BundleAdd(add) => self.bundle_add(turn, peer, xid, &add)?,
            Message::CtFlush(flush) => turn.work.flushes.push(*flush),
            Message::MonitorCancel(monitor) => self.cancel_monitor(turn.switch, peer, monitor)?,
            Message::Error(error) => {
                debug!(bridge = self.identity.name, peer = peer.0, code = %error.code, "error");
            }
            question => {
                let reply = match question {
                    Message::FeaturesRequest => Message::FeaturesReply(self.features(turn, peer)),
                    question => self.question(turn, main, question)?,
                };
                self.reply(peer, xid, &reply);
            }
        }
        Ok(Next::Done)
    }

    /// Messages of Nicira's.
    fn nicira(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        message: NiciraMessage,
    ) -> Result<(), ErrorCode> {
        let peer = self
            .peers
            .get_mut(&peer)
            .ok_or(ErrorCode::BAD_REQUEST_EPERM)?;
        match message {
            NiciraMessage::SetPacketInFormat(format) => peer.packet_in_format = format,
            NiciraMessage::SetControllerId(id) => peer.controller_id = id,
            NiciraMessage::Resume(packet) => return self.let_go_on(turn, *packet),
            NiciraMessage::TlvTableMod(change) => {
                turn.switch.tlv_table_mod(self.bridge, &change)?;
            }
            NiciraMessage::PacketIn2(_)
            | NiciraMessage::TlvTableRequest
            | NiciraMessage::TlvTableReply(_) => return Err(ErrorCode::BAD_REQUEST_BAD_TYPE),
        }
        Ok(())
    }

    /// Tells everyone which Geneve options are mapped now, and who asked for it that it is done.
    fn set_tlvs(&mut self, switch: &Switch, asking: PeerId) {
        self.tlvs = switch.tlvs(self.bridge);
        for peer in self.peers.values() {
            peer.outbox.set_tlvs(&self.tlvs);
        }
        if let Some(peer) = self.peers.get(&asking) {
            peer.outbox.note_tlvs();
        }
    }

    fn tlv_table(&self) -> Message {
        let map = |mapping: &TlvMapping| TlvMap {
            class: mapping.class,
            kind: mapping.kind,
            len: mapping.len,
            index: mapping.index.into(),
        };
        Message::Nicira(NiciraMessage::TlvTableReply(TlvTableReply {
            space_max: TlvTable::BYTES_MAX as u32,
            fields_max: TlvTable::FIELDS.into(),
            maps: self.tlvs.iter().map(map).collect(),
        }))
    }

    /// Requests that are answered at once by one message.
    fn question(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        message: Message,
    ) -> Result<Message, ErrorCode> {
        match message {
            Message::ConfigRequest => {
                let peer = self.peers.get(&peer).ok_or(ErrorCode::BAD_REQUEST_EPERM)?;
                Ok(Message::ConfigReply(SwitchConfig {
                    fragments: turn.switch.fragments(self.bridge),
                    miss_send_len: peer.miss_send_len,
                }))
            }
            Message::AsyncRequest => {
                let peer = self.peers.get(&peer).ok_or(ErrorCode::BAD_REQUEST_EPERM)?;
                Ok(Message::AsyncReply(peer.wants))
            }
            Message::RoleRequest(request) => self
                .request_role(turn, peer, request)
                .map(Message::RoleReply),
            Message::QueueConfigRequest(port) => {
                self.queue_config(turn, port).map(Message::QueueConfigReply)
            }
            Message::EchoRequest(data) => Ok(Message::EchoReply(data)),
            Message::Experimenter(strange) => Err(refusal(&strange)),
            _ => Err(ErrorCode::BAD_REQUEST_BAD_TYPE),
        }
    }

    /// The connection that a controller's role and choices are of.
    fn main(&self, peer: PeerId) -> Result<PeerId, ErrorCode> {
        let main = match self.peers.get(&peer).map(|it| it.kind) {
            Some(PeerKind::Auxiliary { main, .. }) => main,
            _ => peer,
        };
        let is_there = self.peers.contains_key(&main);
        is_there.then_some(main).ok_or(ErrorCode::BAD_REQUEST_EPERM)
    }

    fn features(&self, turn: &Turn<'_>, peer: PeerId) -> Features {
        let auxiliary_id = match self.peers.get(&peer).map(|it| it.kind) {
            Some(PeerKind::Auxiliary { id, .. }) => id,
            _ => 0,
        };
        Features {
            datapath_id: self.identity.datapath_id,
            buffers: Buffers::COUNT as u32,
            tables: turn.switch.table_count(self.bridge),
            auxiliary_id,
            capabilities: Capabilities {
                flow_stats: true,
                table_stats: true,
                port_stats: true,
                group_stats: true,
                queue_stats: true,
                ..Capabilities::default()
            },
        }
    }

    /// Takes a configuration. What becomes of fragments is for all of a bridge, so a slave cannot
    /// change it; how much it gets of a packet is each peer's own.
    fn set_config(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        config: SwitchConfig,
    ) -> Result<(), ErrorCode> {
        let unchanged = config.fragments == turn.switch.fragments(self.bridge);
        if !unchanged && self.role(peer) == Some(Role::Slave) {
            return Err(ErrorCode::BAD_REQUEST_IS_SLAVE);
        }
        if !turn.switch.set_fragments(self.bridge, config.fragments) {
            return Err(ErrorCode::SWITCH_CONFIG_FAILED_BAD_FLAGS);
        }
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.miss_send_len = config.miss_send_len;
        }
        self.note_invalid_ttl(turn.switch);
        Ok(())
    }

    /// Tells everyone concerned that a port came, went or changed.
    pub fn port_status(&mut self, reason: PortReason, port: openflow::PortDesc) {
        let message = Message::PortStatus(PortStatus { reason, port });
        self.notify(&message, |wants| {
            wants.port_status & 1 << reason as u32 != 0
        });
    }

    /// Answers a request.
    pub fn reply(&self, peer: PeerId, xid: Xid, message: &Message) {
        let Some(peer) = self.peers.get(&peer) else {
            return;
        };
        let mut bytes = Vec::new();
        match v13::encode_knowing(xid, message, &self.tlvs, &mut bytes) {
            Ok(()) => peer.outbox.reply(bytes),
            Err(error) => debug!(bridge = self.identity.name, %error, "reply not sent"),
        }
    }
}

impl Turn<'_> {
    /// The port of a bridge with this OpenFlow number.
    fn port(&self, bridge: BridgeId, number: OfPort) -> Option<PortNo> {
        let bridge = self.switch.state().bridge(bridge)?;
        Some(bridge.port(number)?.number)
    }
}

/// What is wrong with something of an experimenter: we know some of what the ONF defines.
fn refusal(strange: &Experimenter) -> ErrorCode {
    match strange.experimenter {
        ONF => ErrorCode::BAD_REQUEST_BAD_EXP_TYPE,
        _ => ErrorCode::BAD_REQUEST_BAD_EXPERIMENTER,
    }
}

/// `OFP_DEFAULT_MISS_SEND_LEN` (OpenFlow 1.3.5 §7.3.2).
const MISS_SEND_LEN_DEFAULT: u16 = 128;
/// What an error repeats of its request (OpenFlow 1.3.5 §7.4.4).
const ERROR_DATA_BYTES: usize = 64;

#[cfg(test)]
mod tests;
