//! Packet-in and packet-out (OpenFlow 1.3.5 §7.3.7, §7.4.1).

use super::action::{self, Place};
use super::matching;
use crate::wire::{MESSAGE_LEN_MAX, Reader, Writer};
use crate::{ErrorCode, OfPort, PacketIn, PacketInReason, PacketOut, TableId};

pub(super) fn decode_in(body: &mut Reader) -> Result<PacketIn, ErrorCode> {
    let buffer_id = super::decode_buffer(body)?;
    let total_len = body.u16()?;
    let reason = match body.u8()? {
        0 => PacketInReason::NoMatch,
        1 => PacketInReason::Action,
        2 => PacketInReason::InvalidTtl,
        _ => return Err(ErrorCode::BAD_REQUEST_BAD_TYPE),
    };
    let table = TableId(body.u8()?);
    let cookie = body.u64()?;
    let matching = matching::decode(body)?;
    body.skip(2)?;
    let data = body.rest().to_vec();
    Ok(PacketIn {
        buffer_id,
        total_len,
        reason,
        table,
        cookie,
        matching,
        data,
    })
}

/// Writes a packet-in whose message begins at `message`; a packet that makes it too long is cut.
pub(super) fn encode_in(packet: &PacketIn, message: usize, out: &mut Writer) {
    super::encode_buffer(packet.buffer_id, out);
    out.u16(packet.total_len);
    out.u8(packet.reason as u8);
    out.u8(packet.table.0);
    out.u64(packet.cookie);
    matching::encode(&packet.matching, out);
    out.zeros(2);
    let room = MESSAGE_LEN_MAX - (out.position() - message);
    out.bytes(&packet.data[..packet.data.len().min(room)]);
}

pub(super) fn decode_out(body: &mut Reader) -> Result<PacketOut, ErrorCode> {
    let buffer_id = super::decode_buffer(body)?;
    let in_port = OfPort(body.u32()?);
    let actions_len = body.u16()?.into();
    body.skip(6)?;
    let reserved = in_port > OfPort::MAX;
    let ingress = [OfPort::CONTROLLER, OfPort::LOCAL, OfPort::ANY].contains(&in_port);
    if reserved && !ingress {
        return Err(ErrorCode::BAD_REQUEST_BAD_PORT);
    }
    let mut actions = body.part(actions_len, ErrorCode::BAD_ACTION_BAD_LEN)?;
    let actions = action::decode_list(&mut actions, Place::PacketOut)?;
    Ok(PacketOut {
        buffer_id,
        in_port,
        actions,
        data: body.rest().to_vec(),
    })
}

pub(super) fn encode_out(packet: &PacketOut, out: &mut Writer) {
    super::encode_buffer(packet.buffer_id, out);
    out.u32(packet.in_port.0);
    let len = out.position();
    out.u16(0);
    out.zeros(6);
    let actions = out.position();
    action::encode_list(&packet.actions, out);
    out.patch_len(len, actions);
    out.bytes(&packet.data);
}
