//! OpenFlow 1.3 as bytes: [`decode`] and [`encode`] for every message (OpenFlow 1.3.5 §7).
//!
//! What is wrong with a message is told by the type and code of the `OFPT_ERROR` that answers it.
//! Lengths are strict, the contents of padding do not matter. Messages nest to a fixed depth, so
//! nothing here calls itself. One file per family, `decode_x` and `encode_x` in pairs; a family's
//! reader is over exactly the bytes that are its own.

use flowtable::TlvTable;

use crate::bundle::ONF;
use crate::hello;
use crate::wire::{HEADER_LEN, Header, MESSAGE_LEN_MAX, Reader, Writer};
use crate::{ErrorCode, ErrorMessage, Experimenter, Message, MonitorId, Version, Xid};
use nicira::NICIRA;

mod action;
mod bundle;
mod ct;
mod ct_flush;
mod features;
mod flow;
mod group;
mod instruction;
mod matching;
mod meter;
mod monitor;
mod multipart;
pub(crate) mod nicira;
mod packet;
mod port;
mod queue;
mod table;
mod tlv;

pub use action::ACTIONS_MAX;
pub use group::BUCKETS_MAX;
pub use meter::BANDS_MAX;
pub use multipart::ReplyStream;

/// A message that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message {xid}: {code}")]
pub struct DecodeError {
    /// Number of the message, 0 if not even that is there.
    pub xid: Xid,
    /// What is wrong with it.
    #[source]
    pub code: ErrorCode,
}

/// A message that this version has no bytes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It is longer than messages can be.
    #[error("longer than an OpenFlow message can be (65535 bytes)")]
    TooLong,
}

/// Decodes one whole message of a switch that has mapped no Geneve option.
pub fn decode(bytes: &[u8]) -> Result<(Xid, Message), DecodeError> {
    decode_knowing(bytes, TlvTable::EMPTY)
}

/// Decodes one whole message.
pub fn decode_knowing(bytes: &[u8], tlvs: &TlvTable) -> Result<(Xid, Message), DecodeError> {
    let code = ErrorCode::BAD_REQUEST_BAD_LEN;
    let header = Header::decode(bytes).ok_or(DecodeError { xid: Xid(0), code })?;
    match decode_message(&header, bytes, tlvs) {
        Ok(message) => Ok((header.xid, message)),
        Err(code) => Err(DecodeError {
            xid: header.xid,
            code,
        }),
    }
}

fn decode_message(header: &Header, bytes: &[u8], tlvs: &TlvTable) -> Result<Message, ErrorCode> {
    // Hellos and errors are alike in all versions, and cross while the version is settled.
    let any_version = matches!(header.kind, HELLO | ERROR);
    if header.version != Version::V1_3 && !any_version {
        return Err(ErrorCode::BAD_REQUEST_BAD_VERSION);
    }
    if usize::from(header.len) != bytes.len() {
        return Err(ErrorCode::BAD_REQUEST_BAD_LEN);
    }
    let body = Reader::new(&bytes[HEADER_LEN..], ErrorCode::BAD_REQUEST_BAD_LEN);
    let mut body = body.knowing(tlvs);
    let message = decode_body(header, &mut body)?;
    body.finish()?;
    Ok(message)
}

fn decode_body(header: &Header, body: &mut Reader) -> Result<Message, ErrorCode> {
    Ok(match header.kind {
        HELLO => Message::Hello(hello::decode(header.version, body.rest())),
        ERROR => Message::Error(decode_error(body)?),
        ECHO_REQUEST => Message::EchoRequest(body.rest().to_vec()),
        ECHO_REPLY => Message::EchoReply(body.rest().to_vec()),
        EXPERIMENTER => decode_stranger(header.xid, body)?,
        FEATURES_REQUEST => Message::FeaturesRequest,
        FEATURES_REPLY => Message::FeaturesReply(features::decode_features(body)?),
        CONFIG_REQUEST => Message::ConfigRequest,
        CONFIG_REPLY => Message::ConfigReply(features::decode_config(body)?),
        SET_CONFIG => Message::SetConfig(features::decode_config(body)?),
        PACKET_IN => Message::PacketIn(Box::new(packet::decode_in(body)?)),
        FLOW_REMOVED => Message::FlowRemoved(Box::new(flow::decode_removed(body)?)),
        PORT_STATUS => Message::PortStatus(port::decode_status(body)?),
        PACKET_OUT => Message::PacketOut(packet::decode_out(body)?),
        FLOW_MOD => Message::FlowMod(Box::new(flow::decode_mod(body)?)),
        GROUP_MOD => Message::GroupMod(group::decode_mod(body)?),
        PORT_MOD => Message::PortMod(port::decode_mod(body)?),
        TABLE_MOD => Message::TableMod(table::decode_mod(body)?),
        MULTIPART_REQUEST => multipart::decode_request(body)?,
        multipart::MULTIPART_REPLY => multipart::decode_reply(body)?,
        BARRIER_REQUEST => Message::BarrierRequest,
        BARRIER_REPLY => Message::BarrierReply,
        QUEUE_CONFIG_REQUEST => Message::QueueConfigRequest(port::decode_stats_request(body)?),
        QUEUE_CONFIG_REPLY => Message::QueueConfigReply(queue::decode_config(body)?),
        ROLE_REQUEST => Message::RoleRequest(features::decode_role(body)?),
        ROLE_REPLY => Message::RoleReply(features::decode_role(body)?),
        ASYNC_REQUEST => Message::AsyncRequest,
        ASYNC_REPLY => Message::AsyncReply(features::decode_async(body)?),
        SET_ASYNC => Message::SetAsync(features::decode_async(body)?),
        METER_MOD => Message::MeterMod(meter::decode_mod(body)?),
        _ => return Err(ErrorCode::BAD_REQUEST_BAD_TYPE),
    })
}

/// Appends a message of a switch that has mapped no Geneve option to `out`.
pub fn encode(xid: Xid, message: &Message, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    encode_knowing(xid, message, TlvTable::EMPTY, out)
}

/// Appends a message to `out`. A packet-in, an error or an echo that is too long is cut; a
/// multipart reply that is too long becomes several messages; any other that is too long, or that
/// 1.3 cannot say, leaves `out` as it was.
pub fn encode_knowing(
    xid: Xid,
    message: &Message,
    tlvs: &TlvTable,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let encoded = match message {
        Message::MultipartReply { more, reply } => {
            multipart::encode_reply(xid, *more, reply, tlvs, out)
        }
        _ => encode_one(xid, message, tlvs, out),
    };
    if encoded.is_err() {
        out.truncate(start);
    }
    encoded
}

fn encode_one(
    xid: Xid,
    message: &Message,
    tlvs: &TlvTable,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let mut out = Writer::new(out).knowing(tlvs);
    let start = out.position();
    encode_header(kind(message), xid, &mut out);
    encode_body(message, start, &mut out);
    if let Message::Hello(hello) = message {
        out.patch_u8(start, hello.version.0);
    }
    if out.position() - start > MESSAGE_LEN_MAX {
        return Err(EncodeError::TooLong);
    }
    out.patch_len(start + 2, start);
    Ok(())
}

fn encode_header(kind: u8, xid: Xid, out: &mut Writer) {
    out.u8(Version::V1_3.0);
    out.u8(kind);
    out.u16(0);
    out.u32(xid.0);
}

fn encode_body(message: &Message, start: usize, out: &mut Writer) {
    match message {
        Message::Hello(hello) => hello::encode_body(hello, out),
        Message::Error(error) => encode_error(error, out),
        Message::EchoRequest(data) | Message::EchoReply(data) => encode_data(data, 0, out),
        Message::Experimenter(body) => encode_experimenter(body, out),
        Message::Nicira(nicira) => nicira::message::encode(nicira, start, out),
        Message::Bundle(control) => bundle::encode_control(*control, out),
        Message::BundleAdd(add) => bundle::encode_add(add, out),
        Message::MonitorCancel(id) => {
            monitor::encode_kind(monitor::CANCEL, out);
            out.u32(id.0);
        }
        Message::MonitorPaused => monitor::encode_kind(monitor::PAUSED, out),
        Message::MonitorResumed => monitor::encode_kind(monitor::RESUMED, out),
        Message::CtFlush(flush) => ct_flush::encode(flush, out),
        Message::FeaturesReply(features) => features::encode_features(features, out),
        Message::ConfigReply(config) | Message::SetConfig(config) => {
            features::encode_config(*config, out);
        }
        Message::PacketIn(packet) => packet::encode_in(packet, start, out),
        Message::FlowRemoved(removed) => flow::encode_removed(removed, out),
        Message::PortStatus(status) => port::encode_status(status, out),
        Message::PacketOut(packet) => packet::encode_out(packet, out),
        Message::FlowMod(flow_mod) => flow::encode_mod(flow_mod, out),
        Message::GroupMod(group_mod) => group::encode_mod(group_mod, out),
        Message::PortMod(port_mod) => port::encode_mod(port_mod, out),
        Message::TableMod(table_mod) => table::encode_mod(*table_mod, out),
        Message::MultipartRequest { more, request } => {
            multipart::encode_request(*more, request, out);
        }
        Message::QueueConfigRequest(port) => port::encode_stats_request(*port, out),
        Message::QueueConfigReply(config) => queue::encode_config(config, out),
        Message::RoleRequest(role) | Message::RoleReply(role) => features::encode_role(*role, out),
        Message::AsyncReply(config) | Message::SetAsync(config) => {
            features::encode_async(config, out);
        }
        Message::MeterMod(meter_mod) => meter::encode_mod(meter_mod, out),
        Message::FeaturesRequest
        | Message::ConfigRequest
        | Message::MultipartReply { .. }
        | Message::BarrierRequest
        | Message::BarrierReply
        | Message::AsyncRequest => {}
    }
}

/// `ofp_type` of a message.
fn kind(message: &Message) -> u8 {
    match message {
        Message::Hello(_) => HELLO,
        Message::Error(_) => ERROR,
        Message::EchoRequest(_) => ECHO_REQUEST,
        Message::EchoReply(_) => ECHO_REPLY,
        Message::Experimenter(_)
        | Message::Nicira(_)
        | Message::Bundle(_)
        | Message::BundleAdd(_)
        | Message::MonitorCancel(_)
        | Message::MonitorPaused
        | Message::MonitorResumed
        | Message::CtFlush(_) => EXPERIMENTER,
        Message::FeaturesRequest => FEATURES_REQUEST,
        Message::FeaturesReply(_) => FEATURES_REPLY,
        Message::ConfigRequest => CONFIG_REQUEST,
        Message::ConfigReply(_) => CONFIG_REPLY,
        Message::SetConfig(_) => SET_CONFIG,
        Message::PacketIn(_) => PACKET_IN,
        Message::FlowRemoved(_) => FLOW_REMOVED,
        Message::PortStatus(_) => PORT_STATUS,
        Message::PacketOut(_) => PACKET_OUT,
        Message::FlowMod(_) => FLOW_MOD,
        Message::GroupMod(_) => GROUP_MOD,
        Message::PortMod(_) => PORT_MOD,
        Message::TableMod(_) => TABLE_MOD,
        Message::MultipartRequest { .. } => MULTIPART_REQUEST,
        Message::MultipartReply { .. } => multipart::MULTIPART_REPLY,
        Message::BarrierRequest => BARRIER_REQUEST,
        Message::BarrierReply => BARRIER_REPLY,
        Message::QueueConfigRequest(_) => QUEUE_CONFIG_REQUEST,
        Message::QueueConfigReply(_) => QUEUE_CONFIG_REPLY,
        Message::RoleRequest(_) => ROLE_REQUEST,
        Message::RoleReply(_) => ROLE_REPLY,
        Message::AsyncRequest => ASYNC_REQUEST,
        Message::AsyncReply(_) => ASYNC_REPLY,
        Message::SetAsync(_) => SET_ASYNC,
        Message::MeterMod(_) => METER_MOD,
    }
}

fn decode_error(body: &mut Reader) -> Result<ErrorMessage, ErrorCode> {
    let code = ErrorCode {
        kind: body.u16()?,
        code: body.u16()?,
    };
    let stranger = code.kind == ErrorCode::EXPERIMENTER;
    let experimenter = if stranger { Some(body.u32()?) } else { None };
    Ok(ErrorMessage {
        code,
        experimenter,
        data: body.rest().to_vec(),
    })
}

fn encode_error(error: &ErrorMessage, out: &mut Writer) {
    out.u16(error.code.kind);
    out.u16(error.code.code);
    if let Some(experimenter) = error.experimenter {
        out.u32(experimenter);
    }
    encode_data(&error.data, 8, out);
}

/// Writes data at the end of a message that has `before` bytes between its header and the data.
fn encode_data(data: &[u8], before: usize, out: &mut Writer) {
    let room = MESSAGE_LEN_MAX - HEADER_LEN - before;
    out.bytes(&data[..data.len().min(room)]);
}

/// A message of an experimenter: of those of the ONF's that we know what they say.
fn decode_stranger(xid: Xid, body: &mut Reader) -> Result<Message, ErrorCode> {
    let mut peek = body.clone();
    match (peek.u32()?, peek.u32()?) {
        (ONF, bundle::CONTROL) => {
            *body = peek;
            bundle::decode_control(body).map(Message::Bundle)
        }
        (ONF, bundle::ADD) => {
            *body = peek;
            bundle::decode_add(xid, body).map(Message::BundleAdd)
        }
        (ONF, monitor::CANCEL) => {
            *body = peek;
            body.u32().map(|id| Message::MonitorCancel(MonitorId(id)))
        }
        (ONF, monitor::PAUSED) => {
            *body = peek;
            Ok(Message::MonitorPaused)
        }
        (ONF, monitor::RESUMED) => {
            *body = peek;
            Ok(Message::MonitorResumed)
        }
        (NICIRA, ct_flush::ZONE) => {
            *body = peek;
            let flush = ct_flush::decode_zone(body)?;
            Ok(Message::CtFlush(Box::new(flush)))
        }
        (NICIRA, ct_flush::FLUSH) => {
            *body = peek;
            let flush = ct_flush::decode(body)?;
            Ok(Message::CtFlush(Box::new(flush)))
        }
        (NICIRA, kind) => match nicira::message::decode(kind, &mut peek)? {
            Some(message) => {
                *body = peek;
                Ok(Message::Nicira(message))
            }
            None => decode_experimenter(body).map(Message::Experimenter),
        },
        _ => decode_experimenter(body).map(Message::Experimenter),
    }
}

fn decode_experimenter(body: &mut Reader) -> Result<Experimenter, ErrorCode> {
    let experimenter = body.u32()?;
    let kind = body.u32()?;
    Ok(Experimenter {
        experimenter,
        kind,
        data: body.rest().to_vec(),
    })
}

fn encode_experimenter(body: &Experimenter, out: &mut Writer) {
    out.u32(body.experimenter);
    out.u32(body.kind);
    out.bytes(&body.data);
}

/// An entry that says it is `len` bytes long, of which `read` are read already.
fn decode_entry<'a>(
    len: u16,
    read: usize,
    reader: &mut Reader<'a>,
) -> Result<Reader<'a>, ErrorCode> {
    let left = usize::from(len).checked_sub(read).ok_or(reader.short())?;
    reader.part(left, reader.short())
}

fn decode_buffer(body: &mut Reader) -> Result<Option<u32>, ErrorCode> {
    let buffer_id = body.u32()?;
    Ok((buffer_id != NO_BUFFER).then_some(buffer_id))
}

fn encode_buffer(buffer_id: Option<u32>, out: &mut Writer) {
    out.u32(buffer_id.unwrap_or(NO_BUFFER));
}

/// `OFP_NO_BUFFER`.
const NO_BUFFER: u32 = 0xffff_ffff;
/// `OFPT_*`.
const HELLO: u8 = hello::HELLO;
const ERROR: u8 = 1;
const ECHO_REQUEST: u8 = 2;
const ECHO_REPLY: u8 = 3;
const EXPERIMENTER: u8 = 4;
const FEATURES_REQUEST: u8 = 5;
const FEATURES_REPLY: u8 = 6;
const CONFIG_REQUEST: u8 = 7;
const CONFIG_REPLY: u8 = 8;
const SET_CONFIG: u8 = 9;
const PACKET_IN: u8 = 10;
const FLOW_REMOVED: u8 = 11;
const PORT_STATUS: u8 = 12;
const PACKET_OUT: u8 = 13;
const FLOW_MOD: u8 = 14;
const GROUP_MOD: u8 = 15;
const PORT_MOD: u8 = 16;
const TABLE_MOD: u8 = 17;
const MULTIPART_REQUEST: u8 = 18;
const BARRIER_REQUEST: u8 = 20;
const BARRIER_REPLY: u8 = 21;
const QUEUE_CONFIG_REQUEST: u8 = 22;
const QUEUE_CONFIG_REPLY: u8 = 23;
const ROLE_REQUEST: u8 = 24;
const ROLE_REPLY: u8 = 25;
const ASYNC_REQUEST: u8 = 26;
const ASYNC_REPLY: u8 = 27;
const SET_ASYNC: u8 = 28;
const METER_MOD: u8 = 29;

#[cfg(test)]
mod tests;
