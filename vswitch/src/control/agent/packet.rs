//! Packets to and from controllers, and flow modifications that release a buffered packet
//! (OpenFlow 1.3.5 §7.3.4.1, §7.3.7, §7.4.1).

use std::sync::Arc;

use flowtable::{Carried, Field, Match, TlvTable};
use openflow::{
    Action, ErrorCode, FlowMod, FlowModCommand, Message, NiciraMessage, OfPort, PacketIn,
    PacketIn2, PacketInFormat, PacketInReason, Xid, v13,
};

use super::buffers::{BufferError, Buffered};
use super::{Agent, Peer, Turn};
use crate::action::{Punt, PuntReason};
use crate::datapath::{PacketOut, Resumed};

impl Agent {
    /// Sends a packet that a flow punted to the controllers that want it. It is kept in a buffer
    /// if the flow did not ask for all of it.
    pub fn packet_in(&mut self, (punt, carried): (&Punt, &Carried), frame: &[u8], now_ms: u64) {
        let reason = match punt.reason {
            PuntReason::NoMatch => PacketInReason::NoMatch,
            PuntReason::Action => PacketInReason::Action,
            PuntReason::InvalidTtl => PacketInReason::InvalidTtl,
        };
        let bit = 1 << reason as u32;
        let is_for = |peer: &Peer| {
            peer.wants().packet_in & bit != 0 && peer.controller_id == punt.controller
        };
        if !self.peers.values().any(is_for) || !self.limits.admits(punt.metadata.in_port, now_ms) {
            return;
        }
        let by_length = reason == PacketInReason::InvalidTtl;
        let wants_part = |length: u16| length != ALL_OF_IT;
        let buffered = match by_length {
            false => wants_part(punt.max_len),
            true => self
                .peers
                .values()
                .any(|peer| wants_part(peer.miss_send_len)),
        };
        let buffer_id = buffered.then(|| self.keep(punt, frame, now_ms)).flatten();
        let mut message = PacketIn {
            buffer_id: None,
            total_len: frame.len().min(u16::MAX.into()) as u16,
            reason,
            table: punt.table,
            cookie: punt.cookie,
            matching: metadata(punt, carried, &self.tlvs),
            data: Vec::new(),
        };
        let paused = punt.paused.as_ref();
        let continuation = paused.map(|frozen| self.continuations.keep(frozen));
        for (id, peer) in self.peers.iter().filter(|(_, peer)| is_for(peer)) {
            let length = if by_length {
                peer.miss_send_len
            } else {
                punt.max_len
            };
            message.buffer_id = buffer_id.filter(|_| wants_part(length));
            let shown = match message.buffer_id {
                Some(_) => frame.len().min(length.into()),
                None => frame.len().min(DATA_BYTES_MAX),
            };
            message.data.clear();
            message.data.extend_from_slice(&frame[..shown]);
            let mut bytes = Vec::new();
            let packet_in = match peer.packet_in_format {
                PacketInFormat::Standard => Message::PacketIn(Box::new(message.clone())),
                PacketInFormat::Nicira2 => {
                    let continuation = continuation.clone();
                    let packet = second_form(&message, punt, continuation);
                    Message::Nicira(NiciraMessage::PacketIn2(Box::new(packet)))
                }
            };
            if v13::encode_knowing(Xid(0), &packet_in, &self.tlvs, &mut bytes).is_ok() {
                let outbox = self.outbox_for_packets(*id, peer, frame);
                outbox.packet_in(punt.metadata.in_port, bytes);
            }
        }
    }

    /// Lets a packet go on whose way was interrupted.
    pub(super) fn let_go_on(
        &mut self,
        turn: &mut Turn<'_>,
        packet: PacketIn2,
    ) -> Result<(), ErrorCode> {
        let bytes = packet.continuation.as_deref().unwrap_or_default();
        let frozen = self.continuations.find(bytes);
        let frozen = Arc::clone(frozen.ok_or(ErrorCode::RESUME_STALE)?);
        if packet.packet.len() < ETHERNET_HEADER_BYTES {
            return Err(ErrorCode::BAD_REQUEST_BAD_PACKET);
        }
        let in_port = packet.metadata.read(Field::InPort).0;
        turn.work.injections.push(PacketOut {
            bridge: self.bridge,
            in_port: OfPort(in_port as u32),
            actions: [].into(),
            frame: packet.packet,
            resumed: Some(Resumed {
                frozen,
                metadata: Box::new(packet.metadata),
            }),
        });
        Ok(())
    }

    fn keep(&mut self, punt: &Punt, frame: &[u8], now_ms: u64) -> Option<u32> {
        let packet = Buffered {
            in_port: punt.metadata.in_port,
            frame: frame.to_vec(),
        };
        self.buffers.keep(packet, now_ms)
    }

    /// Sends a controller's packet.
    pub(super) fn packet_out(
        &mut self,
        turn: &mut Turn<'_>,
        out: openflow::PacketOut,
    ) -> Result<(), ErrorCode> {
        self.check_in_port(turn, out.in_port)?;
        turn.switch.check_actions(self.bridge, &out.actions)?;
        let frame = match out.buffer_id {
            Some(id) => self.buffered(id)?.frame,
            None => out.data,
        };
        if frame.len() < ETHERNET_HEADER_BYTES {
            return Err(ErrorCode::BAD_REQUEST_BAD_PACKET);
        }
        turn.work.injections.push(PacketOut {
            bridge: self.bridge,
            in_port: out.in_port,
            actions: out.actions,
            frame,
            resumed: None,
        });
        Ok(())
    }

    /// A buffered packet that comes with an added or modified flow goes through the tables as if it
    /// had just come in.
    pub(super) fn end_flow_mod(
        &mut self,
        turn: &mut Turn<'_>,
        change: &FlowMod,
    ) -> Result<(), ErrorCode> {
        match released_buffer(change) {
            Some(id) => self.release(turn, id),
            None => Ok(()),
        }
    }

    /// Sends a kept packet through the tables.
    pub(super) fn release(&mut self, turn: &mut Turn<'_>, id: u32) -> Result<(), ErrorCode> {
        let packet = self.buffered(id)?;
        let table = Action::Output {
            port: OfPort::TABLE,
            max_len: 0,
        };
        turn.work.injections.push(PacketOut {
            bridge: self.bridge,
            in_port: OfPort(packet.in_port),
            actions: Arc::new([table]),
            frame: packet.frame,
            resumed: None,
        });
        Ok(())
    }

    fn buffered(&mut self, id: u32) -> Result<Buffered, ErrorCode> {
        self.buffers.take(id).map_err(BufferError::code)
    }

    /// A packet may come from a port that is there, or from nowhere.
    fn check_in_port(&self, turn: &Turn<'_>, port: OfPort) -> Result<(), ErrorCode> {
        let nowhere = port == OfPort::CONTROLLER || port == OfPort::ANY;
        match nowhere || turn.port(self.bridge, port).is_some() {
            true => Ok(()),
            false => Err(ErrorCode::BAD_REQUEST_BAD_PORT),
        }
    }
}

/// The same packet with all that can be told of it.
fn second_form(message: &PacketIn, punt: &Punt, continuation: Option<Vec<u8>>) -> PacketIn2 {
    let total_len = message.total_len.into();
    PacketIn2 {
        packet: message.data.clone(),
        full_len: (message.data.len() as u32 != total_len).then_some(total_len),
        buffer_id: message.buffer_id,
        table: Some(message.table),
        cookie: message.cookie,
        reason: message.reason,
        metadata: message.matching.clone(),
        userdata: punt.userdata.to_vec(),
        continuation,
    }
}

/// The packet that a flow modification releases.
pub(super) fn released_buffer(change: &FlowMod) -> Option<u32> {
    let deletes = matches!(
        change.command,
        FlowModCommand::Delete | FlowModCommand::DeleteStrict
    );
    change.buffer_id.filter(|_| !deletes)
}

/// The packet's metadata as match fields: the port always, the others where they are set.
fn metadata(punt: &Punt, carried: &Carried, tlvs: &TlvTable) -> Match {
    let key = &mut punt.metadata.clone();
    carried.write(key);
    let mut mask = Field::InPort.mask();
    if key.in_phy_port != key.in_port {
        mask.unite(&Field::InPhyPort.mask());
    }
    let ports = [Field::InPort, Field::InPhyPort];
    let fields = Field::ALL.iter();
    let fields = fields.filter(|field| field.is_metadata() && !field.is_alias());
    let fields = fields.filter(|field| !field.is_tunnel_option());
    for field in fields.filter(|field| !ports.contains(field)) {
        if field.read(key) != 0 {
            mask.unite(&field.mask());
        }
    }
    for mapping in tlvs.iter().filter(|mapping| mapping.is_in(key)) {
        let fields = mapping.fields.iter();
        fields.for_each(|field| mask.unite(&field.mask()));
    }
    Match::new(key, &mask)
}

/// `OFPCML_NO_BUFFER`: send the whole packet.
const ALL_OF_IT: u16 = 0xffff;
const ETHERNET_HEADER_BYTES: usize = 14;
/// What fits in a packet-in behind its header and match (OpenFlow 1.3.5 §7.1.1: 16 bits of
/// length).
const DATA_BYTES_MAX: usize = 65_535 - 512;
