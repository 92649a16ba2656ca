//! Nicira's actions on the wire (nicira-ext, `nx_action_*`): an experimenter's action of number
//! 0x2320 with a type of 16 bits. What follows is padded to a multiple of 8 bytes.

use std::sync::Arc;

use flowtable::{Field, TlvTable};

use super::action::{self, Place};
use super::ct;
use crate::ct::is_of_connection;
use crate::nicira::{Nicira, Subfield};
use crate::oxm::{self, Oxm};
use crate::wire::{Reader, Writer};
use crate::{Action, ErrorCode, OfPort, TableId};

mod choice;
mod controller;
mod learn;
pub(super) mod message;
mod sample;

pub(crate) use choice::MEMBERS_MAX;

/// `NX_VENDOR_ID`.
pub(super) const NICIRA: u32 = 0x0000_2320;

/// Decodes what follows the experimenter number in an action; what sets an option of several fields
/// is several, the first and `more`.
pub(super) fn decode(
    body: &mut Reader,
    (place, depth): (Place, u32),
    more: &mut Vec<Action>,
) -> Result<Action, ErrorCode> {
    let nicira = match body.u16()? {
        RESUBMIT => decode_resubmit(body, false)?,
        RESUBMIT_TABLE => decode_resubmit(body, true)?,
        RESUBMIT_TABLE_CT => decode_resubmit_ct(body)?,
        SET_TUNNEL => {
            body.skip(2)?;
            return Ok(set_tunnel(body.u32()?.into()));
        }
        SET_TUNNEL_64 => {
            body.skip(6)?;
            return Ok(set_tunnel(body.u64()?.into()));
        }
        REG_LOAD2 => return decode_load2(body, place, more),
        DEC_TTL => return plain(body).map(|()| Action::DecNwTtl),
        REG_MOVE => decode_move(body, place)?,
        REG_LOAD => decode_load(body, place)?,
        OUTPUT_REG => decode_output(body)?,
        OUTPUT_REG2 => decode_output2(body)?,
        STACK_PUSH => Nicira::Push(decode_stack(body, None)?),
        STACK_POP => Nicira::Pop(decode_stack(body, Some(place))?),
        NOTE => Nicira::Note(body.rest().into()),
        controller::FIRST => controller::decode(body)?,
        controller::SECOND => controller::decode_second(body)?,
        OUTPUT_TRUNCATED => decode_truncated(body)?,
        DEC_TTL_CNT_IDS => decode_ids(body)?,
        CLONE => {
            body.skip(6)?;
            if depth == CLONES_MAX {
                return Err(ErrorCode::BAD_ACTION_TOO_MANY);
            }
            Nicira::Clone(action::decode_nested(body, place, depth + 1)?)
        }
        EXIT => plain(body).map(|()| Nicira::Exit)?,
        POP_QUEUE => plain(body).map(|()| Nicira::PopQueue)?,
        CT => {
            if depth == CLONES_MAX {
                return Err(ErrorCode::BAD_ACTION_TOO_MANY);
            }
            Nicira::Ct(Arc::new(ct::decode(body, depth + 1)?))
        }
        NAT if place == Place::Connection => Nicira::Nat(ct::decode_nat(body)?),
        NAT => return Err(ErrorCode::BAD_ACTION_BAD_SET_ARGUMENT),
        CT_CLEAR => plain(body).map(|()| Nicira::CtClear)?,
        CONJUNCTION => decode_conjunction(body)?,
        learn::LEARN => Nicira::Learn(Arc::new(learn::decode(body, false)?)),
        learn::LEARN2 => Nicira::Learn(Arc::new(learn::decode(body, true)?)),
        FIN_TIMEOUT => decode_fin_timeout(body)?,
        choice::BUNDLE => Nicira::Bundle(Arc::new(choice::decode_bundle(body, false)?)),
        choice::BUNDLE_LOAD => Nicira::Bundle(Arc::new(choice::decode_bundle(body, true)?)),
        choice::MULTIPATH => Nicira::Multipath(choice::decode_multipath(body)?),
        CHECK_PACKET_LARGER => decode_check_larger(body)?,
        DELETE_FIELD => decode_delete(body)?,
        sample::FIRST => Nicira::Sample(sample::decode(body)?),
        sample::SECOND => Nicira::Sample(sample::decode_with_port(body, false)?),
        sample::THIRD => Nicira::Sample(sample::decode_with_port(body, true)?),
        sample::FOURTH => Nicira::Sample(sample::decode_with_fields(body)?),
        _ => return Err(ErrorCode::BAD_ACTION_BAD_EXP_TYPE),
    };
    Ok(Action::Nicira(nicira))
}

/// Six bytes of padding.
fn plain(body: &mut Reader) -> Result<(), ErrorCode> {
    body.skip(6)
}

fn set_tunnel(value: u128) -> Action {
    let field = Field::TunnelId;
    let mask = field.ones();
    Action::SetField { field, value, mask }
}

fn decode_resubmit(body: &mut Reader, with_table: bool) -> Result<Nicira, ErrorCode> {
    let in_port = OfPort::of_16_bits(body.u16()?);
    let table = TableId(body.u8()?);
    body.skip(3)?;
    let table = (with_table && table != TableId::ALL).then_some(table);
    if table.is_some_and(|table| table > TableId::LAST) {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    Ok(Nicira::Resubmit {
        in_port: (in_port != OfPort::IN_PORT).then_some(in_port),
        table,
        by_connection: false,
    })
}

fn decode_resubmit_ct(body: &mut Reader) -> Result<Nicira, ErrorCode> {
    match decode_resubmit(body, true)? {
        Nicira::Resubmit { in_port, table, .. } => Ok(Nicira::Resubmit {
            in_port,
            table,
            by_connection: true,
        }),
        other => Ok(other),
    }
}

fn decode_truncated(body: &mut Reader) -> Result<Nicira, ErrorCode> {
    let port = OfPort::of_16_bits(body.u16()?);
    let len_max = body.u32()?;
    if len_max < ETHERNET_HEADER_LEN {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    match may_be_truncated(port) {
        true => Ok(Nicira::OutputTruncated { port, len_max }),
        false => Err(ErrorCode::BAD_ACTION_BAD_OUT_PORT),
    }
}

/// Whether what a port sends may be cut: one port sends it, and nobody decides about it again.
pub(crate) fn may_be_truncated(port: OfPort) -> bool {
    port != OfPort(0) && port <= OfPort::MAX || [OfPort::IN_PORT, OfPort::LOCAL].contains(&port)
}

fn decode_fin_timeout(body: &mut Reader) -> Result<Nicira, ErrorCode> {
    let (idle_timeout_s, hard_timeout_s) = (body.u16()?, body.u16()?);
    body.skip(2)?;
    Ok(Nicira::FinTimeout {
        idle_timeout_s,
        hard_timeout_s,
    })
}

fn decode_check_larger(body: &mut Reader) -> Result<Nicira, ErrorCode> {
    let (len, offset) = (body.u16()?, body.u16()?);
    let field = decode_field(body)?;
    // As long as if there were an experimenter number in the field.
    body.rest();
    let dst = writable(field, (offset, 1), body.tlvs())?;
    Ok(Nicira::CheckPacketLarger { len, dst })
}

/// Only data of Geneve options may be there or not.
fn decode_delete(body: &mut Reader) -> Result<Nicira, ErrorCode> {
    let field = decode_field(body)?;
    match body.rest().len() {
        _ if !field.is_tunnel_option() => Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
        DELETE_FIELD_PADDING => Ok(Nicira::DeleteField(field)),
        _ => Err(body.short()),
    }
}

fn decode_move(body: &mut Reader, place: Place) -> Result<Nicira, ErrorCode> {
    let width = body.u16()?;
    let (src_offset, dst_offset) = (body.u16()?, body.u16()?);
    let (src, dst) = (decode_field(body)?, decode_field(body)?);
    pad(body)?;
    Ok(Nicira::Move {
        src: readable(src, (src_offset, width), body.tlvs())?,
        dst: writable_in(place, dst, (dst_offset, width), body.tlvs())?,
    })
}

fn decode_load(body: &mut Reader, place: Place) -> Result<Nicira, ErrorCode> {
    let range = decode_range(body)?;
    let field = decode_field(body)?;
    let value = body.u64()?;
    let dst = writable_in(place, field, range, body.tlvs())?;
    match u128::from(value) & !dst.ones() {
        0 => Ok(Nicira::Load { dst, value }),
        _ => Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
    }
}

/// A set-field with a mask is the same as this one.
fn decode_load2(
    body: &mut Reader,
    place: Place,
    more: &mut Vec<Action>,
) -> Result<Action, ErrorCode> {
    let tlv = oxm::decode(body)?;
    let oxm = tlv.oxm.ok_or(ErrorCode::BAD_ACTION_BAD_SET_TYPE)?;
    if oxm.field.is_tunnel_option() {
        pad(body)?;
        return action::decode_set_option(&oxm, &tlv, more);
    }
    let (field, mut payload) = (oxm.field, tlv.payload);
    let value = payload.uint(oxm.value_len())?;
    let mask = match tlv.masked {
        true => payload.uint(oxm.value_len())?,
        false => field.ones(),
    };
    payload.finish()?;
    pad(body)?;
    if place.protects(field) {
        return Err(match is_of_connection(field) {
            true => ErrorCode::BAD_ACTION_BAD_SET_ARGUMENT,
            false => ErrorCode::BAD_ACTION_BAD_SET_TYPE,
        });
    }
    match value & !mask | mask & !field.ones() {
        0 => Ok(Action::SetField { field, value, mask }),
        _ => Err(ErrorCode::BAD_ACTION_BAD_SET_ARGUMENT),
    }
}

fn decode_output(body: &mut Reader) -> Result<Nicira, ErrorCode> {
    let range = decode_range(body)?;
    let field = decode_field(body)?;
    let max_len = body.u16()?;
    body.skip(6)?;
    let src = readable(field, range, body.tlvs())?;
    Ok(Nicira::OutputReg { src, max_len })
}

/// The same in a form that has room for fields of experimenters.
fn decode_output2(body: &mut Reader) -> Result<Nicira, ErrorCode> {
    let range = decode_range(body)?;
    let max_len = body.u16()?;
    let field = decode_field(body)?;
    pad(body)?;
    let src = readable(field, range, body.tlvs())?;
    Ok(Nicira::OutputReg { src, max_len })
}

fn decode_stack(body: &mut Reader, popped: Option<Place>) -> Result<Subfield, ErrorCode> {
    let offset = body.u16()?;
    let field = decode_field(body)?;
    let width = body.u16()?;
    pad(body)?;
    match popped {
        Some(place) => writable_in(place, field, (offset, width), body.tlvs()),
        None => readable(field, (offset, width), body.tlvs()),
    }
}

fn decode_ids(body: &mut Reader) -> Result<Nicira, ErrorCode> {
    let count = body.u16()?;
    body.skip(4)?;
    let ids: Result<Arc<[u16]>, _> = (0..count).map(|_| body.u16()).collect();
    pad(body)?;
    Ok(Nicira::DecTtlIds(ids?))
}

fn decode_conjunction(body: &mut Reader) -> Result<Nicira, ErrorCode> {
    let (clause, clauses, id) = (body.u8()?, body.u8()?, body.u32()?);
    match (2..=CLAUSES_MAX).contains(&clauses) && clause < clauses {
        true => Ok(Nicira::Conjunction {
            id,
            clause,
            clauses,
        }),
        false => Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
    }
}

/// Offset and width in 16 bits (`ofs_nbits`).
fn decode_range(body: &mut Reader) -> Result<(u16, u16), ErrorCode> {
    let range = body.u16()?;
    Ok((range >> 6, (range & 0x3f) + 1))
}

pub(super) fn decode_field(body: &mut Reader) -> Result<Field, ErrorCode> {
    let (oxm, masked) = oxm::decode_id(body)?;
    match oxm.filter(|_| !masked) {
        Some(oxm) => Ok(oxm.field),
        None => Err(ErrorCode::BAD_ACTION_BAD_SET_TYPE),
    }
}

/// Less than 8 bytes of zeros up to the end.
fn pad(body: &mut Reader) -> Result<(), ErrorCode> {
    let rest = body.rest();
    match rest.len() < 8 && rest.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(body.short()),
    }
}

/// Bits of a field by their offset and their number. Those of a long option are to be in one of its
/// fields.
pub(super) fn readable(
    field: Field,
    (offset, width): (u16, u16),
    tlvs: &TlvTable,
) -> Result<Subfield, ErrorCode> {
    let option = tlvs.of_field(field).filter(|option| option.is_long());
    let (field, offset) = match option {
        None => (field, offset),
        Some(option) => {
            let part = option.part(offset, width);
            let (field, offset) = part.ok_or(ErrorCode::BAD_ACTION_BAD_SET_LEN)?;
            (field, offset.into())
        }
    };
    let small = |number: u16| u8::try_from(number).map_err(|_| ErrorCode::BAD_ACTION_BAD_SET_LEN);
    let subfield = Subfield {
        field,
        offset: small(offset)?,
        width: small(width)?,
    };
    match subfield.is_inside() {
        true => Ok(subfield),
        false => Err(ErrorCode::BAD_ACTION_BAD_SET_LEN),
    }
}

fn writable(field: Field, range: (u16, u16), tlvs: &TlvTable) -> Result<Subfield, ErrorCode> {
    writable_in(Place::Pipeline, field, range, tlvs)
}

fn writable_in(
    place: Place,
    field: Field,
    range: (u16, u16),
    tlvs: &TlvTable,
) -> Result<Subfield, ErrorCode> {
    match place.protects(field) {
        true => Err(ErrorCode::BAD_ACTION_BAD_SET_ARGUMENT),
        false => readable(field, range, tlvs),
    }
}

/// Writes an action but for its length and its padding.
pub(super) fn encode(nicira: &Nicira, out: &mut Writer) {
    match nicira {
        &Nicira::Resubmit {
            in_port,
            table,
            by_connection,
        } => {
            header(
                match table {
                    _ if by_connection => RESUBMIT_TABLE_CT,
                    Some(_) => RESUBMIT_TABLE,
                    None => RESUBMIT,
                },
                out,
            );
            let same = if by_connection {
                TableId::ALL
            } else {
                TableId(0)
            };
            out.u16(in_port.unwrap_or(OfPort::IN_PORT).0 as u16);
            out.u8(table.unwrap_or(same).0);
        }
        Nicira::Move { src, dst } => {
            header(REG_MOVE, out);
            out.u16(src.width.into());
            out.u16(offset(*src, out.tlvs()));
            out.u16(offset(*dst, out.tlvs()));
            Oxm::nxm(src.field, out.tlvs()).encode_header(false, out);
            Oxm::nxm(dst.field, out.tlvs()).encode_header(false, out);
        }
        Nicira::Load { dst, value } => {
            header(REG_LOAD, out);
            encode_range(*dst, out);
            out.u64(*value);
        }
        Nicira::OutputReg { src, max_len } => {
            header(OUTPUT_REG, out);
            encode_range(*src, out);
            out.u16(*max_len);
            out.zeros(6);
        }
        Nicira::Push(subfield) => encode_stack(STACK_PUSH, *subfield, out),
        Nicira::Pop(subfield) => encode_stack(STACK_POP, *subfield, out),
        Nicira::Note(bytes) => {
            header(NOTE, out);
            out.bytes(bytes);
        }
        Nicira::OutputTruncated { port, len_max } => {
            header(OUTPUT_TRUNCATED, out);
            out.u16(port.0 as u16);
            out.u32(*len_max);
        }
        Nicira::Controller(controller) => controller::encode(controller, out),
        Nicira::Clone(list) => {
            header(CLONE, out);
            out.zeros(6);
            action::encode_list(list, out);
        }
        Nicira::DecTtlIds(ids) => {
            header(DEC_TTL_CNT_IDS, out);
            out.u16(ids.len() as u16);
            out.zeros(4);
            ids.iter().for_each(|id| out.u16(*id));
        }
        Nicira::Exit => header(EXIT, out),
        Nicira::PopQueue => header(POP_QUEUE, out),
        Nicira::Ct(it) => {
            header(CT, out);
            ct::encode(it, out);
        }
        Nicira::Nat(nat) => {
            header(NAT, out);
            ct::encode_nat(nat, out);
        }
        Nicira::CtClear => header(CT_CLEAR, out),
        Nicira::Conjunction {
            id,
            clause,
            clauses,
        } => {
            header(CONJUNCTION, out);
            out.u8(*clause);
            out.u8(*clauses);
            out.u32(*id);
        }
        Nicira::Learn(learn) => learn::encode(learn, out),
        Nicira::FinTimeout {
            idle_timeout_s,
            hard_timeout_s,
        } => {
            header(FIN_TIMEOUT, out);
            out.u16(*idle_timeout_s);
            out.u16(*hard_timeout_s);
        }
        Nicira::Bundle(bundle) => choice::encode_bundle(bundle, out),
        Nicira::Multipath(multipath) => choice::encode_multipath(multipath, out),
        Nicira::CheckPacketLarger { len, dst } => {
            header(CHECK_PACKET_LARGER, out);
            out.u16(*len);
            out.u16(offset(*dst, out.tlvs()));
            Oxm::nxm(dst.field, out.tlvs()).encode_header(false, out);
        }
        Nicira::DeleteField(field) => {
            header(DELETE_FIELD, out);
            Oxm::nxm(*field, out.tlvs()).encode_header(false, out);
            out.zeros(DELETE_FIELD_PADDING);
        }
        Nicira::Sample(sample) => sample::encode(sample, out),
    }
}

/// Writes a set-field that OpenFlow 1.3 has no bytes for: with a mask, or on what is no header.
pub(super) fn encode_load2(field: Field, value: u128, mask: u128, out: &mut Writer) {
    begin_load2(out);
    Oxm::nxm(field, out.tlvs()).encode(value, mask, out);
}

/// What comes before the field.
pub(super) fn begin_load2(out: &mut Writer) {
    header(REG_LOAD2, out);
}

/// The experimenter number and a type.
fn header(kind: u16, out: &mut Writer) {
    out.u32(NICIRA);
    out.u16(kind);
}

/// Offset and width in 16 bits.
pub(super) fn range(subfield: Subfield, tlvs: &TlvTable) -> u16 {
    offset(subfield, tlvs) << 6 | (u16::from(subfield.width) - 1) & 0x3f
}

/// The first bit, in an option that may be more than its field.
fn offset(subfield: Subfield, tlvs: &TlvTable) -> u16 {
    let option = tlvs.of_field(subfield.field);
    let before = option.map_or(0, |option| option.offset(subfield.field));
    before + u16::from(subfield.offset)
}

fn encode_range(subfield: Subfield, out: &mut Writer) {
    out.u16(range(subfield, out.tlvs()));
    Oxm::nxm(subfield.field, out.tlvs()).encode_header(false, out);
}

/// A field and the first of its bits.
fn encode_plain(subfield: Subfield, out: &mut Writer) {
    Oxm::nxm(subfield.field, out.tlvs()).encode_header(false, out);
    out.u16(offset(subfield, out.tlvs()));
}

fn encode_stack(kind: u16, subfield: Subfield, out: &mut Writer) {
    header(kind, out);
    out.u16(offset(subfield, out.tlvs()));
    Oxm::nxm(subfield.field, out.tlvs()).encode_header(false, out);
    out.u16(subfield.width.into());
}

/// Behind a field to be deleted.
const DELETE_FIELD_PADDING: usize = 10;
/// Clones within clones: each is a call deeper while it is read.
const CLONES_MAX: u32 = 64;
/// Clauses of one conjunction: a word has a bit for each.
pub(crate) const CLAUSES_MAX: u8 = 64;
/// What is sent of a packet has an Ethernet header at least.
pub(crate) const ETHERNET_HEADER_LEN: u32 = 14;

// `NXAST_*`.
const RESUBMIT: u16 = 1;
const SET_TUNNEL: u16 = 2;
const POP_QUEUE: u16 = 5;
const REG_MOVE: u16 = 6;
const REG_LOAD: u16 = 7;
const NOTE: u16 = 8;
const SET_TUNNEL_64: u16 = 9;
const RESUBMIT_TABLE: u16 = 14;
const OUTPUT_REG: u16 = 15;
const EXIT: u16 = 17;
const DEC_TTL: u16 = 18;
const FIN_TIMEOUT: u16 = 19;
const DEC_TTL_CNT_IDS: u16 = 21;
const STACK_PUSH: u16 = 27;
const STACK_POP: u16 = 28;
const OUTPUT_REG2: u16 = 32;
const REG_LOAD2: u16 = 33;
const CONJUNCTION: u16 = 34;
const OUTPUT_TRUNCATED: u16 = 39;
const CT: u16 = 35;
const NAT: u16 = 36;
const CLONE: u16 = 42;
const CT_CLEAR: u16 = 43;
const RESUBMIT_TABLE_CT: u16 = 44;
const DELETE_FIELD: u16 = 50;
const CHECK_PACKET_LARGER: u16 = 49;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Ports, flow, write_actions};
    use crate::{FlowModCommand, Instructions};

    /// What stock `ovs-ofctl -O OpenFlow13` sends for some actions.
    const SENT: &[(&str, &str)] = &[
        (
            "load:0x7->NXM_NX_REG0[0..15]",
            "ffff0018000023200007000f000100040000000000000007",
        ),
        (
            "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
            "ffff00180000232000060030000000000000040600000206",
        ),
        (
            "move:NXM_NX_REG0[0..15]->OXM_OF_METADATA[0..15]",
            "ffff00180000232000060010000000000001000480000408",
        ),
        ("resubmit(3,4)", "ffff001000002320000e000304000000"),
        ("resubmit(,5)", "ffff001000002320000efff805000000"),
        (
            "output:NXM_NX_REG0[0..15]",
            "ffff001800002320000f000f00010004ffff000000000000",
        ),
        (
            "push:NXM_NX_REG1[]",
            "ffff001800002320001b0000000102040020000000000000",
        ),
        (
            "pop:NXM_NX_REG2[3..7]",
            "ffff001800002320001c0003000104040005000000000000",
        ),
        ("note:01.02.03.00.00.00", "ffff0010000023200008010203000000"),
        ("exit", "ffff0010000023200011000000000000"),
        (
            "controller(reason=no_match,max_len=128,id=7)",
            "ffff0010000023200014008000070000",
        ),
        (
            "dec_ttl(1,2)",
            "ffff00180000232000150002000000000001000200000000",
        ),
        (
            "clone(load:0x1->NXM_NX_REG3[],output:2)",
            "ffff003800002320002a000000000000ffff0018000023200007001f00010604\
             000000000000000100000010000000020000000000000000",
        ),
        ("pop_queue", "ffff0010000023200005000000000000"),
        ("ct_clear", "ffff001000002320002b000000000000"),
        ("conjunction(10,1/2)", "ffff001000002320002200020000000a"),
        (
            "load:0x5->NXM_OF_IN_PORT[]",
            "ffff0018000023200007000f000000020000000000000005",
        ),
        (
            "load:0x5->NXM_OF_VLAN_TCI[0..11]",
            "ffff0018000023200007000b000008020000000000000005",
        ),
        (
            "learn(table=20,hard_timeout=300,priority=1,cookie=0x5,NXM_OF_VLAN_TC\
             I[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[]\
             ,load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],output:OXM_OF_IN_PORT[])",
            "ffff00600000232000100000012c000100000000000000050000140000000000000c\
             00000802000000000802000000300000040600000000020600002810000000000802\
             00000840000120080000000120080000102080000004000000000000",
        ),
        (
            "learn(table=2,idle_timeout=3,fin_idle_timeout=2,fin_hard_timeout=1,s\
             end_flow_rem,delete_learned,limit=5,result_dst=NXM_NX_REG0[3],eth_ty\
             pe=0x800)",
            "ffff003800002320002d000300008000000000000000000000070200000200010000\
             00050003000000010004201008000000060200000000",
        ),
        (
            "learn(table=1,limit=5,vlan_vid=5,output:NXM_NX_REG0[])",
            "ffff004000002320002d000000008000000000000000000000000100000000000000\
             000500000000200c000580000c0200001020000100040000000000000000",
        ),
        (
            "learn(table=1,eth_type=0x86dd,ipv6_src=fe80::1,load:0x5->NXM_NX_XXRE\
             G0[],NXM_NX_REG1[3..7]=0x5)",
            "ffff0068000023200010000000008000000000000000000000000100000000002010\
             86dd0000060200002080fe8000000000000000000000000000010001261000002880\
             000000000000000000000000000000050001de100000200500050001020400030000\
             0000",
        ),
        (
            "fin_timeout(idle_timeout=5,hard_timeout=10)",
            "ffff00100000232000130005000a0000",
        ),
        (
            "bundle(eth_src,7,active_backup,ofport,members:1,2)",
            "ffff002800002320000c000000000007000000020002000000000000000000000001\
             000200000000",
        ),
        (
            "bundle_load(symmetric_l4,7,hrw,ofport,NXM_NX_REG0[0..15],members:1,2,LOCAL)",
            "ffff002800002320000d000100010007000000020003000f00010004000000000001\
             0002fffe0000",
        ),
        (
            "multipath(symmetric_l3l4+udp,50,iter_hash,4,3,NXM_NX_REG0[])",
            "ffff002000002320000a00030032000000030003000000030000001f00010004",
        ),
        (
            "check_pkt_larger(1500)->NXM_NX_REG0[3]",
            "ffff001800002320003105dc000300010004000000000000",
        ),
        (
            "sample(probability=5,collector_set_id=1,obs_domain_id=2,obs_point_id=3)",
            "ffff001800002320001d0005000000010000000200000003",
        ),
        (
            "sample(probability=5,collector_set_id=1,obs_domain_id=2,obs_point_id\
             =3,sampling_port=4)",
            "ffff002000002320002600050000000100000002000000030004000000000000",
        ),
        (
            "sample(probability=5,collector_set_id=1,obs_domain_id=2,obs_point_id\
             =3,sampling_port=4,egress)",
            "ffff002000002320002900050000000100000002000000030004020000000000",
        ),
        // As Open vSwitch 3.4 does: older ones know no such form.
        (
            "sample(probability=12345,collector_set_id=23456,obs_domain_id=NXM_OF_IN_PORT[\
             ],obs_point_id=NXM_NX_CT_LABEL[32..63],sampling_port=0)",
            "ffff0028000023200033303900005ba000000002000f00000001d810081f0000000000000000\
             0000",
        ),
        (
            "sample(probability=5,collector_set_id=1,obs_domain_id=2,obs_point_id=NXM_NX_\
             REG0[],ingress)",
            "ffff0028000023200033000500000001000000000000000200010004001f0000ffff01000000\
             0000",
        ),
        (
            "output(port=1,max_len=100)",
            "ffff0010000023200027000100000064",
        ),
        (
            "controller(userdata=00.01.02,pause,meter_id=5)",
            "ffff0028000023200025000000000000000300070001020000040004000000000005\
             000800000005",
        ),
        (
            "controller(max_len=9,id=3,userdata=00.01.02)",
            "ffff0028000023200025000000000000000000080009000000010008000300000003\
             000700010200",
        ),
        (
            "controller(reason=no_match,max_len=9,meter_id=5)",
            "ffff0028000023200025000000000000000000080009000000020005000000000005\
             000800000005",
        ),
        ("set_field:0x5->reg2", "00190010000104040000000500000000"),
    ];

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digit = |byte: u8| (byte as char).to_digit(16).expect("a digit") as u8;
        let digits: Vec<u8> = hexadecimal.bytes().map(digit).collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<Action>, ErrorCode> {
        let mut reader = Reader::new(bytes, ErrorCode::BAD_REQUEST_BAD_LEN);
        action::decode_list(&mut reader, Place::Pipeline).map(|list| list.to_vec())
    }

    fn encoded(list: &[Action]) -> Vec<u8> {
        let mut out = Vec::new();
        action::encode_list(list, &mut Writer::new(&mut out));
        out
    }

    #[test]
    fn what_ovs_ofctl_sends_is_what_we_send() {
        for (text, sent) in SENT {
            let flow = flow::parse(&format!("ip,actions={text}"), FlowModCommand::Add);
            let Instructions { apply, .. } = flow.expect("it reads").instructions;
            let list = apply.expect("actions");
            assert_eq!(decoded(&bytes(sent)).as_deref(), Ok(&list[..]), "{text}");
            assert_eq!(encoded(&list), bytes(sent), "{text}");
            let mut written = String::new();
            write_actions(&mut written, &list, &Ports::default());
            assert_eq!(written, *text);
        }
    }

    #[test]
    fn every_cut_is_an_error() {
        for (text, sent) in SENT {
            let whole = bytes(sent);
            for len in 1..whole.len() {
                assert!(decoded(&whole[..len]).is_err(), "{text} of {len} bytes");
            }
            // The same, with a length that ends earlier.
            for len in (8..whole.len()).step_by(8) {
                let mut short = whole[..len].to_vec();
                short[3] = len as u8;
                if let Ok(list) = decoded(&short) {
                    let again = decoded(&encoded(&list));
                    assert_eq!(again, Ok(list), "{text} of {len} bytes");
                }
            }
        }
    }

    #[test]
    fn a_set_field_with_a_mask_is_a_load() {
        let field = Field::Ipv6Dst;
        let (value, mask) = (5 << 64, 0xff << 64);
        let set = [Action::SetField { field, value, mask }];
        let sent = encoded(&set);
        assert_eq!(
            sent[..12],
            bytes("ffff0030000023200021 0001".replace(' ', "").as_str())
        );
        assert_eq!(decoded(&sent).as_deref(), Ok(&set[..]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let cases = [
            // A table that is none.
            (
                "ffff001000002320000efff8fe000000",
                ErrorCode::BAD_ACTION_BAD_ARGUMENT,
            ),
            // More bits than the field has.
            (
                "ffff0018000023200007005f000100040000000000000007",
                ErrorCode::BAD_ACTION_BAD_SET_LEN,
            ),
            // A value of more bits than are set.
            (
                "ffff0018000023200007000100010004000000000000000f",
                ErrorCode::BAD_ACTION_BAD_ARGUMENT,
            ),
            // A field that nobody has, one with a mask, one that nobody may change.
            (
                "ffff0018000023200007000f0001fe040000000000000007",
                ErrorCode::BAD_ACTION_BAD_SET_TYPE,
            ),
            (
                "ffff0018000023200007000f000101040000000000000007",
                ErrorCode::BAD_ACTION_BAD_SET_TYPE,
            ),
            (
                "ffff0018000023200007000f0001d3040000000000000007",
                ErrorCode::BAD_ACTION_BAD_SET_TYPE,
            ),
            (
                "ffff001800002320000700070001d2040000000000000007",
                ErrorCode::BAD_ACTION_BAD_SET_ARGUMENT,
            ),
            // Of no packet, more bits than a number has, in a direction that there is not.
            (
                "ffff00280000232000330000000005ba00000002000f00000001d810081f000000000000\
                 00000000",
                ErrorCode::BAD_ACTION_BAD_ARGUMENT,
            ),
            (
                "ffff00280000232000333039000005ba00000002000f00000001d8100820000000000000\
                 00000000",
                ErrorCode::BAD_ACTION_BAD_ARGUMENT,
            ),
            (
                "ffff00280000232000333039000005ba00000002000f00000001d810081f000000000300\
                 00000000",
                ErrorCode::BAD_ACTION_BAD_ARGUMENT,
            ),
            // No clauses, one, and one beyond the last.
            (
                "ffff001000002320002200000000000a",
                ErrorCode::BAD_ACTION_BAD_ARGUMENT,
            ),
            (
                "ffff001000002320002200010000000a",
                ErrorCode::BAD_ACTION_BAD_ARGUMENT,
            ),
            (
                "ffff001000002320002202020000000a",
                ErrorCode::BAD_ACTION_BAD_ARGUMENT,
            ),
            // An action of nobody's.
            (
                "ffff001000002320ffff000000000000",
                ErrorCode::BAD_ACTION_BAD_EXP_TYPE,
            ),
        ];
        for (sent, code) in cases {
            assert_eq!(decoded(&bytes(sent)), Err(code), "{sent}");
        }
    }

    /// As stock `ovs-ofctl` sends it, which tells the longest that the field may be.
    #[test]
    fn options_are_deleted_and_nothing_else() {
        let mut tlvs = TlvTable::default();
        tlvs.add(10, 0x102, 1, 4).unwrap();
        let decoded = |sent: &str| {
            let bytes = bytes(sent);
            let reader = Reader::new(&bytes, ErrorCode::BAD_REQUEST_BAD_LEN);
            let list = action::decode_list(&mut reader.knowing(&tlvs), Place::Pipeline);
            list.map(|list| list.to_vec())
        };
        let sent = "ffff00180000232000320001640400000000000000000000";
        let field = tlvs.of_index(10).unwrap().field();
        let delete = [Action::Nicira(Nicira::DeleteField(field))];
        assert_eq!(decoded(sent).as_deref(), Ok(&delete[..]));
        assert_eq!(
            decoded(&sent.replace("6404", "647c")).as_deref(),
            Ok(&delete[..])
        );
        let mut out = Vec::new();
        action::encode_list(&delete, &mut Writer::new(&mut out).knowing(&tlvs));
        assert_eq!(out, bytes(sent));
        for (sent, code) in [
            (
                sent.replace("6404", "0004"),
                ErrorCode::BAD_ACTION_BAD_ARGUMENT,
            ),
            (sent.replace("6404", "6604"), ErrorCode::INVALID_TLV_FIELD),
            (
                sent.replace("6404", "6508"),
                ErrorCode::BAD_ACTION_BAD_SET_TYPE,
            ),
            (
                sent[..32].replace("ffff0018", "ffff0010"),
                ErrorCode::BAD_ACTION_BAD_LEN,
            ),
        ] {
            assert_eq!(decoded(&sent), Err(code), "{sent}");
        }
    }

    /// As stock `ovs-ofctl` sends them, parts of options longer than a field too.
    #[test]
    fn long_options_are_set_and_read_by_their_fields() {
        let mut tlvs = TlvTable::default();
        tlvs.add(2, 0x102, 1, 40).unwrap();
        let whole = [
            &[0, 25, 0, 48, 0, 1, 42 << 1, 40][..],
            &(1..=40).collect::<Vec<u8>>(),
        ]
        .concat();
        // set_field:0x5000..0/0xff00..0->tun_metadata2: of the first field alone.
        let mut masked = bytes("ffff006000002320002100015550");
        masked.resize(0x60, 0);
        (masked[14], masked[54]) = (5, 0xff);
        // move:NXM_NX_TUN_METADATA2[288..319]->NXM_NX_REG0[], load:1->NXM_NX_TUN_METADATA2[130].
        let moved = bytes("ffff00180000232000060020012000000001542800010004");
        let loaded = bytes("ffff00180000232000072080000154280000000000000001");
        for (sent, count) in [(&whole, 3), (&masked, 1), (&moved, 1), (&loaded, 1)] {
            let reader = Reader::new(sent, ErrorCode::BAD_REQUEST_BAD_LEN);
            let list = action::decode_list(&mut reader.knowing(&tlvs), Place::Pipeline);
            let list = list.unwrap();
            assert_eq!(list.len(), count, "{list:?}");
            let mut out = Vec::new();
            action::encode_list(&list, &mut Writer::new(&mut out).knowing(&tlvs));
            assert_eq!(&out, sent);
        }
        // Across two fields, and beyond the end.
        for range in ["0070", "0140"] {
            let sent = format!("ffff00180000232000060020{range}00000001542800010004");
            let sent = bytes(&sent);
            let reader = Reader::new(&sent, ErrorCode::BAD_REQUEST_BAD_LEN);
            let refused = action::decode_list(&mut reader.knowing(&tlvs), Place::Pipeline);
            assert_eq!(refused, Err(ErrorCode::BAD_ACTION_BAD_SET_LEN));
        }
    }

    #[test]
    fn clones_within_clones_are_bounded() {
        let nested = |levels: u32| {
            let inner = Action::Nicira(Nicira::Clone([].into()));
            (0..levels).fold(inner, |within, _| {
                Action::Nicira(Nicira::Clone([within].into()))
            })
        };
        let allowed = [nested(CLONES_MAX - 1)];
        assert_eq!(decoded(&encoded(&allowed)).as_deref(), Ok(&allowed[..]));
        let over = encoded(&[nested(CLONES_MAX)]);
        assert_eq!(decoded(&over), Err(ErrorCode::BAD_ACTION_TOO_MANY));
    }
}
