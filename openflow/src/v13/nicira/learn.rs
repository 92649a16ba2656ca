//! The two forms of `learn` on the wire (nicira-ext, `nx_action_learn`, `nx_action_learn2`): a
//! head, then specifications, each with a head of its own that says how many bits there are, where
//! they come from and where they go.

use super::{decode_field, encode_plain, header, offset, readable, writable};
use crate::nicira::{Learn, LearnSource, LearnSpec, Subfield};
use crate::oxm::Oxm;
use crate::wire::{Reader, Writer};
use crate::{ErrorCode, TableId};

/// Reads what follows the type; in the second form there is a limit.
pub(super) fn decode(body: &mut Reader, is_second: bool) -> Result<Learn, ErrorCode> {
    let (idle_timeout_s, hard_timeout_s) = (body.u16()?, body.u16()?);
    let (priority, cookie, flags) = (body.u16()?, body.u64()?, body.u16()?);
    let table = TableId(body.u8()?);
    body.skip(1)?;
    let (fin_idle_timeout_s, fin_hard_timeout_s) = (body.u16()?, body.u16()?);
    let known = match is_second {
        true => SEND_FLOW_REMOVED | DELETE_LEARNED | WRITE_RESULT,
        false => SEND_FLOW_REMOVED | DELETE_LEARNED,
    };
    if flags & !known != 0 || table > TableId::LAST {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    let (limit, result) = match is_second {
        true => decode_limit(body, flags & WRITE_RESULT != 0)?,
        false => (0, None),
    };
    let specs: Result<Vec<_>, _> = std::iter::from_fn(|| decode_spec(body).transpose()).collect();
    Ok(Learn {
        table,
        priority,
        cookie,
        idle_timeout_s,
        hard_timeout_s,
        fin_idle_timeout_s,
        fin_hard_timeout_s,
        send_flow_removed: flags & SEND_FLOW_REMOVED != 0,
        delete_learned: flags & DELETE_LEARNED != 0,
        limit,
        result,
        specs: specs?.into(),
    })
}

fn decode_limit(body: &mut Reader, has_result: bool) -> Result<(u32, Option<Subfield>), ErrorCode> {
    let (limit, offset) = (body.u32()?, body.u16()?);
    body.skip(2)?;
    let result = match has_result {
        true => Some(writable(decode_field(body)?, (offset, 1), body.tlvs())?),
        false => None,
    };
    Ok((limit, result))
}

/// The next specification; none where padding begins.
fn decode_spec(body: &mut Reader) -> Result<Option<LearnSpec>, ErrorCode> {
    if body.len() < 2 {
        return super::pad(body).map(|()| None);
    }
    let head = body.u16()?;
    if head == 0 {
        let rest = body.rest();
        return match rest.len() < 8 && rest.iter().all(|byte| *byte == 0) {
            true => Ok(None),
            false => Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
        };
    }
    let width = head & WIDTH;
    if width == 0 || width > 128 {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    let source = match head & IS_VALUE != 0 {
        true => LearnSource::Value(body.uint(value_len(width))?),
        false => LearnSource::Field(decode_subfield(body, width)?),
    };
    if let LearnSource::Value(value) = source
        && value & !(u128::MAX >> (128 - width)) != 0
    {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    Ok(Some(match (head & !IS_VALUE & !WIDTH, source) {
        (MATCH, _) => LearnSpec::Match(decode_subfield(body, width)?, source),
        (LOAD, _) => {
            let field = decode_field(body)?;
            let range = (body.u16()?, width);
            LearnSpec::Load(writable(field, range, body.tlvs())?, source)
        }
        (OUTPUT, LearnSource::Field(src)) => LearnSpec::Output(src),
        _ => return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
    }))
}

fn decode_subfield(body: &mut Reader, width: u16) -> Result<Subfield, ErrorCode> {
    let field = decode_field(body)?;
    let offset = body.u16()?;
    readable(field, (offset, width), body.tlvs())
}

/// Writes all but length and padding.
pub(super) fn encode(learn: &Learn, out: &mut Writer) {
    let is_second = learn.limit != 0 || learn.result.is_some();
    header(if is_second { LEARN2 } else { LEARN }, out);
    out.u16(learn.idle_timeout_s);
    out.u16(learn.hard_timeout_s);
    out.u16(learn.priority);
    out.u64(learn.cookie);
    let flags = [
        (learn.send_flow_removed, SEND_FLOW_REMOVED),
        (learn.delete_learned, DELETE_LEARNED),
        (learn.result.is_some(), WRITE_RESULT),
    ];
    let flags = flags.iter().filter(|(is_set, _)| *is_set);
    out.u16(flags.map(|(_, flag)| flag).sum());
    out.u8(learn.table.0);
    out.zeros(1);
    out.u16(learn.fin_idle_timeout_s);
    out.u16(learn.fin_hard_timeout_s);
    if is_second {
        out.u32(learn.limit);
        out.u16(learn.result.map_or(0, |result| offset(result, out.tlvs())));
        out.zeros(2);
        if let Some(result) = learn.result {
            Oxm::nxm(result.field, out.tlvs()).encode_header(false, out);
        }
    }
    learn.specs.iter().for_each(|spec| encode_spec(spec, out));
}

fn encode_spec(spec: &LearnSpec, out: &mut Writer) {
    match spec {
        LearnSpec::Match(dst, source) => {
            encode_source(MATCH, dst.width, source, out);
            encode_plain(*dst, out);
        }
        LearnSpec::Load(dst, source) => {
            encode_source(LOAD, dst.width, source, out);
            encode_plain(*dst, out);
        }
        LearnSpec::Output(src) => {
            encode_source(OUTPUT, src.width, &LearnSource::Field(*src), out);
        }
    }
}

fn encode_source(kind: u16, width: u8, source: &LearnSource, out: &mut Writer) {
    match source {
        LearnSource::Field(src) => {
            out.u16(kind | u16::from(width));
            encode_plain(*src, out);
        }
        LearnSource::Value(value) => {
            out.u16(kind | IS_VALUE | u16::from(width));
            out.uint(*value, value_len(width.into()));
        }
    }
}

/// Bytes of a constant of so many bits.
fn value_len(width: u16) -> usize {
    usize::from(width).div_ceil(16) * 2
}

/// `NXAST_LEARN`.
pub(super) const LEARN: u16 = 16;
/// `NXAST_LEARN2`.
pub(super) const LEARN2: u16 = 45;

// `NX_LEARN_F_*`.
const SEND_FLOW_REMOVED: u16 = 1;
const DELETE_LEARNED: u16 = 2;
const WRITE_RESULT: u16 = 4;

// `NX_LEARN_N_BITS_MASK`, `NX_LEARN_SRC_*`, `NX_LEARN_DST_*`.
const WIDTH: u16 = 0x3ff;
const IS_VALUE: u16 = 1 << 13;
const MATCH: u16 = 0;
const LOAD: u16 = 1 << 11;
const OUTPUT: u16 = 2 << 11;
