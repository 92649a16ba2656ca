//! Actions (OpenFlow 1.3.5 §7.2.5): lists of TLVs, each a multiple of 8 bytes.

use std::sync::Arc;

use flowtable::{Field, TlvMapping, VLAN_PRESENT};

use super::nicira::{self, NICIRA};
use crate::bundle::ONF;
use crate::ct::is_of_connection;
use crate::oxm::{self, Oxm};
use crate::wire::{Reader, Writer, padded};
use crate::{Action, ActionKind, ErrorCode, GroupId, OfPort, QueueId};

/// Most actions in one list, so that a flow with two full lists still fits a reply of flow
/// statistics, which is longer than the request that made it.
pub const ACTIONS_MAX: usize = 1024;

/// Where a list of actions stands: only a packet-out may output to `OFPP_TABLE` (§4.5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A flow or a bucket.
    Pipeline,
    /// A packet-out.
    PacketOut,
    /// A `ct`, where the connection's own fields may be set.
    Connection,
}

impl Place {
    /// Whether nobody may change a field here.
    pub(super) fn protects(self, field: Field) -> bool {
        match self {
            Place::Connection if is_of_connection(field) => false,
            _ => field.is_read_only(),
        }
    }
}

/// Decodes all of `reader`.
pub(super) fn decode_list(reader: &mut Reader, place: Place) -> Result<Arc<[Action]>, ErrorCode> {
    decode_nested(reader, place, 0)
}

/// The same of a list within so many others.
pub(super) fn decode_nested(
    reader: &mut Reader,
    place: Place,
    depth: u32,
) -> Result<Arc<[Action]>, ErrorCode> {
    reader.reporting(ErrorCode::BAD_ACTION_BAD_LEN, |reader| {
        let mut actions = Vec::new();
        while !reader.is_empty() {
            if actions.len() == ACTIONS_MAX {
                return Err(ErrorCode::BAD_ACTION_TOO_MANY);
            }
            let mut more = Vec::new();
            actions.push(decode(reader, (place, depth), &mut more)?);
            actions.append(&mut more);
        }
        Ok(actions.into())
    })
}

/// Reads an action. One that sets an option of several fields is several: the first, and `more`.
fn decode(
    reader: &mut Reader,
    (place, depth): (Place, u32),
    more: &mut Vec<Action>,
) -> Result<Action, ErrorCode> {
    let kind = reader.u16()?;
    let len = usize::from(reader.u16()?);
    if len < ACTION_LEN_MIN || len != padded(len) {
        return Err(reader.short());
    }
    let mut body = reader.part(len - HEADER_LEN, reader.short())?;
    if kind == EXPERIMENTER {
        let action = match body.u32()? {
            NICIRA => nicira::decode(&mut body, (place, depth), more)?,
            ONF => return Err(ErrorCode::BAD_ACTION_BAD_EXP_TYPE),
            _ => return Err(ErrorCode::BAD_ACTION_BAD_EXPERIMENTER),
        };
        body.finish()?;
        return Ok(action);
    }
    let kind = decode_kind(kind).ok_or(ErrorCode::BAD_ACTION_BAD_TYPE)?;
    let action = decode_body(kind, &mut body, place, more)?;
    body.finish()?;
    Ok(action)
}

fn decode_body(
    kind: ActionKind,
    body: &mut Reader,
    place: Place,
    more: &mut Vec<Action>,
) -> Result<Action, ErrorCode> {
    Ok(match kind {
        ActionKind::Output => decode_output(body, place)?,
        ActionKind::Group => Action::Group(decode_group(body)?),
        ActionKind::SetQueue => Action::SetQueue(decode_queue(body)?),
        ActionKind::SetField => decode_set_field(body, place, more)?,
        ActionKind::PushVlan => Action::PushVlan(decode_tag(body, &[0x8100, 0x88a8])?),
        ActionKind::PushMpls => Action::PushMpls(decode_tag(body, &[0x8847, 0x8848])?),
        ActionKind::PushPbb => Action::PushPbb(decode_tag(body, &[0x88e7])?),
        ActionKind::PopMpls => Action::PopMpls(decode_eth_type(body)?),
        ActionKind::SetMplsTtl => Action::SetMplsTtl(decode_ttl(body)?),
        ActionKind::SetNwTtl => Action::SetNwTtl(decode_ttl(body)?),
        ActionKind::PopVlan => decode_plain(body, Action::PopVlan)?,
        ActionKind::PopPbb => decode_plain(body, Action::PopPbb)?,
        ActionKind::DecMplsTtl => decode_plain(body, Action::DecMplsTtl)?,
        ActionKind::DecNwTtl => decode_plain(body, Action::DecNwTtl)?,
        ActionKind::CopyTtlIn => decode_plain(body, Action::CopyTtlIn)?,
        ActionKind::CopyTtlOut => decode_plain(body, Action::CopyTtlOut)?,
    })
}

fn decode_output(body: &mut Reader, place: Place) -> Result<Action, ErrorCode> {
    let port = OfPort(body.u32()?);
    let max_len = body.u16()?;
    body.skip(6)?;
    let real = port != OfPort(0) && port <= OfPort::MAX;
    let reserved = port >= OfPort::IN_PORT && port != OfPort::ANY;
    let allowed = real || reserved && (port != OfPort::TABLE || place == Place::PacketOut);
    if !allowed {
        return Err(ErrorCode::BAD_ACTION_BAD_OUT_PORT);
    }
    Ok(Action::Output { port, max_len })
}

fn decode_group(body: &mut Reader) -> Result<GroupId, ErrorCode> {
    let group = GroupId(body.u32()?);
    if group <= GroupId::MAX {
        Ok(group)
    } else {
        Err(ErrorCode::BAD_ACTION_BAD_OUT_GROUP)
    }
}

fn decode_queue(body: &mut Reader) -> Result<QueueId, ErrorCode> {
    let queue = QueueId(body.u32()?);
    if queue != QueueId::ALL {
        Ok(queue)
    } else {
        Err(ErrorCode::BAD_ACTION_BAD_QUEUE)
    }
}

fn decode_tag(body: &mut Reader, allowed: &[u16]) -> Result<u16, ErrorCode> {
    let eth_type = decode_eth_type(body)?;
    let known = allowed.contains(&eth_type);
    if known {
        Ok(eth_type)
    } else {
        Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT)
    }
}

fn decode_eth_type(body: &mut Reader) -> Result<u16, ErrorCode> {
    let eth_type = body.u16()?;
    body.skip(2)?;
    Ok(eth_type)
}

fn decode_ttl(body: &mut Reader) -> Result<u8, ErrorCode> {
    let ttl = body.u8()?;
    body.skip(3)?;
    Ok(ttl)
}

fn decode_plain(body: &mut Reader, action: Action) -> Result<Action, ErrorCode> {
    body.skip(4)?;
    Ok(action)
}

fn decode_set_field(
    body: &mut Reader,
    place: Place,
    more: &mut Vec<Action>,
) -> Result<Action, ErrorCode> {
    let action_len = HEADER_LEN + body.len();
    let tlv = body.reporting(ErrorCode::BAD_ACTION_BAD_SET_LEN, oxm::decode)?;
    let oxm = tlv.oxm.filter(|oxm| !tlv.masked && settable(oxm.field));
    let oxm = oxm.ok_or(ErrorCode::BAD_ACTION_BAD_SET_TYPE)?;
    if place.protects(oxm.field) {
        return Err(ErrorCode::BAD_ACTION_BAD_SET_ARGUMENT);
    }
    let action = match oxm.field.is_tunnel_option() {
        true => decode_set_option(&oxm, &tlv, more)?,
        false => decode_set_plain(&oxm, tlv.payload)?,
    };
    let used = action_len - body.len();
    body.skip(padded(used) - used)?;
    Ok(action)
}

/// Fields of which no bit is set are left out, unless it is all of them.
pub(super) fn decode_set_option(
    oxm: &Oxm,
    tlv: &oxm::Tlv,
    more: &mut Vec<Action>,
) -> Result<Action, ErrorCode> {
    let mut first = None;
    for (field, value, mask) in tlv.option(oxm)? {
        if value & !mask != 0 {
            return Err(ErrorCode::BAD_ACTION_BAD_SET_ARGUMENT);
        }
        let action = Action::SetField { field, value, mask };
        match first {
            _ if mask == 0 => {}
            None => first = Some(action),
            Some(_) => more.push(action),
        }
    }
    Ok(first.unwrap_or(Action::SetField {
        field: oxm.field,
        value: 0,
        mask: 0,
    }))
}

fn decode_set_plain(oxm: &Oxm, mut payload: Reader) -> Result<Action, ErrorCode> {
    let value = payload.uint(oxm.value_len())?;
    payload.finish()?;
    if value > oxm.field.ones() || oxm.field == Field::VlanVid && value & VID_PRESENT == 0 {
        return Err(ErrorCode::BAD_ACTION_BAD_SET_ARGUMENT);
    }
    Ok(Action::SetField {
        field: oxm.field,
        value,
        mask: oxm.field.ones(),
    })
}

/// Everything may be set but the port, metadata (§7.2.5), and what nothing may change.
fn settable(field: Field) -> bool {
    let is_settable = !field.is_read_only() || is_of_connection(field);
    is_settable && !matches!(field, Field::InPort | Field::InPort16 | Field::Metadata)
}

/// Writes the actions one after the other.
pub(super) fn encode_list(actions: &[Action], out: &mut Writer) {
    let mut rest = actions;
    while let [action, others @ ..] = rest {
        let option = Action::sets_option(rest, out.tlvs());
        rest = match &option {
            Some((mapping, parts)) => {
                encode_set_option(mapping, parts, out);
                &rest[parts.len()..]
            }
            None => {
                encode(action, out);
                others
            }
        };
    }
}

/// The specification has no mask here.
fn encode_set_option(mapping: &TlvMapping, parts: &[(Field, u128, u128)], out: &mut Writer) {
    let read = |field: Field| {
        let part = parts.iter().find(|(it, ..)| *it == field);
        part.map_or((0, 0), |(_, value, mask)| (*value, *mask))
    };
    let is_whole = |field: &Field| read(*field).1 & mapping.ones(*field) == mapping.ones(*field);
    let start = out.position();
    let is_plain = mapping.fields.iter().all(is_whole);
    out.u16(if is_plain {
        ActionKind::SetField as u16
    } else {
        EXPERIMENTER
    });
    out.u16(0);
    if !is_plain {
        nicira::begin_load2(out);
    }
    Oxm::encode_option(mapping, read, out);
    out.pad(start);
    out.patch_len(start + 2, start);
}

fn encode(action: &Action, out: &mut Writer) {
    let start = out.position();
    out.u16(wire_kind(action));
    out.u16(0);
    match *action {
        Action::Nicira(ref nicira) => nicira::encode(nicira, out),
        Action::SetField { field, value, mask } if !is_plain(field, mask) => {
            nicira::encode_load2(field, value, mask, out);
        }
        Action::Output { port, max_len } => {
            out.u32(port.0);
            out.u16(max_len);
        }
        Action::Group(group) => out.u32(group.0),
        Action::SetQueue(queue) => out.u32(queue.0),
        Action::SetField { field, value, mask } => {
            Oxm::of(field, out.tlvs()).encode(value, mask, out)
        }
        Action::PushVlan(eth_type)
        | Action::PushMpls(eth_type)
        | Action::PopMpls(eth_type)
        | Action::PushPbb(eth_type) => out.u16(eth_type),
        Action::SetMplsTtl(ttl) | Action::SetNwTtl(ttl) => out.u8(ttl),
        Action::PopVlan
        | Action::PopPbb
        | Action::DecMplsTtl
        | Action::DecNwTtl
        | Action::CopyTtlIn
        | Action::CopyTtlOut => out.zeros(4),
    }
    out.pad(start);
    out.patch_len(start + 2, start);
}

fn wire_kind(action: &Action) -> u16 {
    match (action, action.kind()) {
        (Action::SetField { field, mask, .. }, _) if !is_plain(*field, *mask) => EXPERIMENTER,
        (_, Some(kind)) => kind as u16,
        (_, None) => EXPERIMENTER,
    }
}

/// Whether the specification has a set-field of these bits.
fn is_plain(field: Field, mask: u128) -> bool {
    mask == field.ones() && settable(field)
}

/// The kind with this number.
pub(super) fn decode_kind(number: u16) -> Option<ActionKind> {
    ActionKind::ALL
        .iter()
        .copied()
        .find(|kind| *kind as u16 == number)
}

/// `OFPAT_EXPERIMENTER`.
pub(super) const EXPERIMENTER: u16 = 0xffff;
/// Type and length.
const HEADER_LEN: usize = 4;
/// The shortest actions have four bytes of padding.
const ACTION_LEN_MIN: usize = 8;
const VID_PRESENT: u128 = VLAN_PRESENT as u128;

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<Vec<Action>, ErrorCode> {
        let mut reader = Reader::new(bytes, ErrorCode::BAD_REQUEST_BAD_LEN);
        decode_list(&mut reader, Place::Pipeline).map(|actions| actions.to_vec())
    }

    fn error(bytes: &[u8]) -> ErrorCode {
        decoded(bytes).expect_err("wrong on purpose")
    }

    fn encoded(actions: &[Action]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_list(actions, &mut Writer::new(&mut out));
        out
    }

    fn output(port: u32) -> Vec<u8> {
        encoded(&[Action::Output {
            port: OfPort(port),
            max_len: 0,
        }])
    }

    #[test]
    fn actions_decode() {
        let bytes = [
            [0, 0, 0, 16, 0, 0, 0, 7, 0, 128, 0, 0, 0, 0, 0, 0].as_slice(),
            &[0, 17, 0, 8, 0x88, 0xa8, 0, 0],
            &[0, 25, 0, 16, 0x80, 0, 12, 2, 0x10, 9, 0, 0, 0, 0, 0, 0],
            &[0, 24, 0, 8, 0, 0, 0, 0],
        ]
        .concat();
        let wanted = vec![
            Action::Output {
                port: OfPort(7),
                max_len: 128,
            },
            Action::PushVlan(0x88a8),
            Action::SetField {
                field: Field::VlanVid,
                value: 0x1009,
                mask: 0x1fff,
            },
            Action::DecNwTtl,
        ];
        assert_eq!(decoded(&bytes), Ok(wanted.clone()));
        assert_eq!(encoded(&wanted), bytes);
    }

    #[test]
    fn lengths_are_strict() {
        let whole = output(1);
        for len in 1..whole.len() {
            assert_eq!(error(&whole[..len]), ErrorCode::BAD_ACTION_BAD_LEN, "{len}");
        }
        assert_eq!(
            error(&[0, 18, 0, 0, 0, 0, 0, 0]),
            ErrorCode::BAD_ACTION_BAD_LEN
        );
        assert_eq!(
            error(&[0, 18, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0]),
            ErrorCode::BAD_ACTION_BAD_LEN
        );
        assert_eq!(
            error(&[[0, 18, 0, 16].as_slice(), &[0; 12]].concat()),
            ErrorCode::BAD_ACTION_BAD_LEN
        );
    }

    #[test]
    fn types_are_known_or_refused() {
        assert_eq!(
            error(&[0, 1, 0, 8, 0, 0, 0, 0]),
            ErrorCode::BAD_ACTION_BAD_TYPE
        );
        assert_eq!(
            error(&[0xff, 0xff, 0, 8, 0, 0, 0x23, 0x21]),
            ErrorCode::BAD_ACTION_BAD_EXPERIMENTER
        );
        assert_eq!(
            error(&[
                0xff, 0xff, 0, 16, 0, 0, 0x23, 0x20, 0xff, 0, 0, 0, 0, 0, 0, 0
            ]),
            ErrorCode::BAD_ACTION_BAD_EXP_TYPE
        );
    }

    #[test]
    fn output_goes_to_what_can_be_output_to() {
        for port in [0, 0xffff_ff01, 0xffff_fff7, OfPort::ANY.0, OfPort::TABLE.0] {
            assert_eq!(
                error(&output(port)),
                ErrorCode::BAD_ACTION_BAD_OUT_PORT,
                "{port:#x}"
            );
        }
        let reserved = [
            OfPort::IN_PORT,
            OfPort::NORMAL,
            OfPort::FLOOD,
            OfPort::ALL,
            OfPort::CONTROLLER,
            OfPort::LOCAL,
            OfPort::MAX,
            OfPort(1),
        ];
        for port in reserved {
            assert!(decoded(&output(port.0)).is_ok(), "{port}");
        }
        let bytes = output(OfPort::TABLE.0);
        let mut reader = Reader::new(&bytes, ErrorCode::BAD_REQUEST_BAD_LEN);
        assert!(decode_list(&mut reader, Place::PacketOut).is_ok());
    }

    #[test]
    fn arguments_are_checked() {
        let cases: &[(&[u8], ErrorCode)] = &[
            (
                &[0, 17, 0, 8, 0x08, 0, 0, 0],
                ErrorCode::BAD_ACTION_BAD_ARGUMENT,
            ),
            (
                &[0, 19, 0, 8, 0x81, 0, 0, 0],
                ErrorCode::BAD_ACTION_BAD_ARGUMENT,
            ),
            (
                &[0, 26, 0, 8, 0x88, 0xa8, 0, 0],
                ErrorCode::BAD_ACTION_BAD_ARGUMENT,
            ),
            (
                &[0, 22, 0, 8, 0xff, 0xff, 0xff, 0xfc],
                ErrorCode::BAD_ACTION_BAD_OUT_GROUP,
            ),
            (
                &[0, 21, 0, 8, 0xff, 0xff, 0xff, 0xff],
                ErrorCode::BAD_ACTION_BAD_QUEUE,
            ),
        ];
        for (bytes, code) in cases {
            assert_eq!(error(bytes), *code);
        }
    }

    fn set_field(tlv: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.u16(25);
        writer.u16(padded(4 + tlv.len()) as u16);
        writer.bytes(tlv);
        writer.pad(0);
        out
    }

    #[test]
    fn set_field_sets_whole_settable_fields() {
        let cases: &[(&[u8], ErrorCode)] = &[
            (
                &[0x80, 0, 0, 4, 0, 0, 0, 1],
                ErrorCode::BAD_ACTION_BAD_SET_TYPE,
            ),
            (
                &[0x80, 0, 120, 4, 0, 0, 0, 1],
                ErrorCode::BAD_ACTION_BAD_SET_TYPE,
            ),
            (
                &[0x80, 0, 13, 4, 0x10, 1, 0x1f, 0xff],
                ErrorCode::BAD_ACTION_BAD_SET_TYPE,
            ),
            (&[0x80, 0, 12, 1, 1], ErrorCode::BAD_ACTION_BAD_SET_LEN),
            (&[0x80, 0, 12, 99, 1], ErrorCode::BAD_ACTION_BAD_SET_LEN),
            (
                &[0x80, 0, 12, 2, 0, 1],
                ErrorCode::BAD_ACTION_BAD_SET_ARGUMENT,
            ),
            (&[0x80, 0, 14, 1, 8], ErrorCode::BAD_ACTION_BAD_SET_ARGUMENT),
        ];
        for (tlv, code) in cases {
            assert_eq!(error(&set_field(tlv)), *code, "{tlv:?}");
        }
        assert!(decoded(&set_field(&[0x80, 0, 14, 1, 7])).is_ok());
        let padded_twice = [set_field(&[0x80, 0, 14, 1, 7]).as_slice(), &[0; 8]].concat();
        let mut padded_twice = padded_twice;
        padded_twice[3] += 8;
        assert_eq!(error(&padded_twice), ErrorCode::BAD_ACTION_BAD_LEN);
    }

    #[test]
    fn lists_are_bounded() {
        let full = vec![Action::PopVlan; ACTIONS_MAX];
        assert_eq!(decoded(&encoded(&full)).as_ref(), Ok(&full));
        let over = vec![Action::PopVlan; ACTIONS_MAX + 1];
        assert_eq!(error(&encoded(&over)), ErrorCode::BAD_ACTION_TOO_MANY);
    }
}
