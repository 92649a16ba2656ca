//! Nicira's messages on the wire (nicira-ext, `nxt_*`): packets as lists of properties, which are
//! padded to a multiple of 8 bytes that does not count for their lengths.

use super::NICIRA;
use crate::nicira::{NiciraMessage, PacketIn2, PacketInFormat};
use crate::v13::matching;
use crate::v13::tlv;
use crate::wire::{MESSAGE_LEN_MAX, Reader, Writer, padded};
use crate::{ErrorCode, PacketInReason, TableId};

/// Reads what follows the type; `None` if the type is not known here.
pub(in crate::v13) fn decode(
    kind: u32,
    body: &mut Reader,
) -> Result<Option<NiciraMessage>, ErrorCode> {
    Ok(Some(match kind {
        SET_PACKET_IN_FORMAT => match body.u32()? {
            0 => NiciraMessage::SetPacketInFormat(PacketInFormat::Standard),
            2 => NiciraMessage::SetPacketInFormat(PacketInFormat::Nicira2),
            _ => return Err(ErrorCode::BAD_REQUEST_EPERM),
        },
        SET_CONTROLLER_ID => {
            body.skip(6)?;
            NiciraMessage::SetControllerId(body.u16()?)
        }
        PACKET_IN2 => NiciraMessage::PacketIn2(Box::new(decode_packet(body)?)),
        RESUME => NiciraMessage::Resume(Box::new(decode_packet(body)?)),
        TLV_TABLE_MOD => NiciraMessage::TlvTableMod(tlv::decode_mod(body)?),
        TLV_TABLE_REQUEST => NiciraMessage::TlvTableRequest,
        TLV_TABLE_REPLY => NiciraMessage::TlvTableReply(tlv::decode_reply(body)?),
        _ => return Ok(None),
    }))
}

fn decode_packet(body: &mut Reader) -> Result<PacketIn2, ErrorCode> {
    let mut packet = PacketIn2 {
        packet: Vec::new(),
        full_len: None,
        buffer_id: None,
        table: None,
        cookie: u64::MAX,
        reason: PacketInReason::Action,
        metadata: Default::default(),
        userdata: Vec::new(),
        continuation: None,
    };
    body.reporting(ErrorCode::BAD_PROPERTY_BAD_LEN, |body| {
        while !body.is_empty() {
            let (kind, len) = (body.u16()?, usize::from(body.u16()?));
            let payload = len.checked_sub(HEADER_LEN).ok_or(body.short())?;
            let mut property = body.part(payload, body.short())?;
            body.skip((padded(len) - len).min(body.len()))?;
            decode_property(kind, &mut property, &mut packet)?;
        }
        Ok(packet)
    })
}

fn decode_property(
    kind: u16,
    property: &mut Reader,
    packet: &mut PacketIn2,
) -> Result<(), ErrorCode> {
    match kind {
        PACKET => packet.packet = property.rest().to_vec(),
        FULL_LEN => packet.full_len = Some(property.u32()?),
        BUFFER_ID => packet.buffer_id = crate::v13::decode_buffer(property)?,
        TABLE_ID => packet.table = Some(TableId(property.u8()?)),
        COOKIE => {
            property.skip(4)?;
            packet.cookie = property.u64()?;
        }
        REASON => {
            packet.reason = match property.u8()? {
                0 => PacketInReason::NoMatch,
                1 => PacketInReason::Action,
                2 => PacketInReason::InvalidTtl,
                _ => return Err(ErrorCode::BAD_PROPERTY_BAD_TYPE),
            }
        }
        METADATA => packet.metadata = matching::decode_metadata(property)?,
        USERDATA => packet.userdata = property.rest().to_vec(),
        CONTINUATION => {
            property.skip(4)?;
            packet.continuation = Some(property.rest().to_vec());
        }
        _ => return Err(ErrorCode::BAD_PROPERTY_BAD_TYPE),
    }
    property.finish()
}

/// Writes all of a message's body, which begins at `message`; a packet that makes it too long is
/// cut.
pub(in crate::v13) fn encode(nicira: &NiciraMessage, message: usize, out: &mut Writer) {
    out.u32(NICIRA);
    match nicira {
        NiciraMessage::SetPacketInFormat(format) => {
            out.u32(SET_PACKET_IN_FORMAT);
            out.u32(*format as u32);
        }
        NiciraMessage::SetControllerId(id) => {
            out.u32(SET_CONTROLLER_ID);
            out.zeros(6);
            out.u16(*id);
        }
        NiciraMessage::PacketIn2(packet) => {
            out.u32(PACKET_IN2);
            encode_packet(packet, message, out);
        }
        NiciraMessage::Resume(packet) => {
            out.u32(RESUME);
            encode_packet(packet, message, out);
        }
        NiciraMessage::TlvTableMod(change) => {
            out.u32(TLV_TABLE_MOD);
            tlv::encode_mod(change, out);
        }
        NiciraMessage::TlvTableRequest => out.u32(TLV_TABLE_REQUEST),
        NiciraMessage::TlvTableReply(table) => {
            out.u32(TLV_TABLE_REPLY);
            tlv::encode_reply(table, out);
        }
    }
}

/// The packet comes last of what is needed, since it is what is cut.
fn encode_packet(packet: &PacketIn2, message: usize, out: &mut Writer) {
    if let Some(len) = packet.full_len {
        property(FULL_LEN, &len.to_be_bytes(), out);
    }
    if let Some(buffer) = packet.buffer_id {
        property(BUFFER_ID, &buffer.to_be_bytes(), out);
    }
    if let Some(table) = packet.table {
        property(TABLE_ID, &[table.0], out);
    }
    if packet.cookie != u64::MAX {
        let [a, b, c, d, e, f, g, h] = packet.cookie.to_be_bytes();
        property(COOKIE, &[0, 0, 0, 0, a, b, c, d, e, f, g, h], out);
    }
    property(REASON, &[packet.reason as u8], out);
    let start = out.position();
    out.u16(METADATA);
    out.u16(0);
    matching::encode_fields(&packet.metadata, out);
    out.patch_len(start + 2, start);
    out.pad(start);
    if !packet.userdata.is_empty() {
        property(USERDATA, &packet.userdata, out);
    }
    if let Some(continuation) = &packet.continuation {
        let payload = [&[0; 4], &continuation[..]].concat();
        property(CONTINUATION, &payload, out);
    }
    let room = MESSAGE_LEN_MAX.saturating_sub(out.position() - message + HEADER_LEN + 7);
    property(PACKET, &packet.packet[..packet.packet.len().min(room)], out);
}

fn property(kind: u16, payload: &[u8], out: &mut Writer) {
    let len = HEADER_LEN + payload.len();
    out.u16(kind);
    out.u16(len as u16);
    out.bytes(payload);
    out.zeros(padded(len) - len);
}

/// Type and length of a property.
const HEADER_LEN: usize = 4;

// `NXT_*`.
const SET_PACKET_IN_FORMAT: u32 = 16;
const SET_CONTROLLER_ID: u32 = 20;
const TLV_TABLE_MOD: u32 = 24;
const TLV_TABLE_REQUEST: u32 = 25;
const TLV_TABLE_REPLY: u32 = 26;
const RESUME: u32 = 28;
const PACKET_IN2: u32 = 30;

// `NXPINT_*`.
const PACKET: u16 = 0;
const FULL_LEN: u16 = 1;
const BUFFER_ID: u16 = 2;
const TABLE_ID: u16 = 3;
const COOKIE: u16 = 4;
const REASON: u16 = 5;
const METADATA: u16 = 6;
const USERDATA: u16 = 7;
const CONTINUATION: u16 = 8;
