//! Nicira's actions in flow syntax (ovs-actions(7)), read and written. Called by `action` and its
//! writer for what they do not know.

use std::fmt::Write;
use std::sync::Arc;

use flowtable::Field;

use super::action::{self, Context};
use super::name::{self, Name};
use super::token::{Token, Tokens};
use super::value::{self, number};
use super::{Ports, SyntaxError};
use crate::nicira::{Nicira, Subfield};
use crate::oxm::Oxm;
use crate::v13::nicira::CLAUSES_MAX;
use crate::{Action, TableId};

/// The words of these actions.
pub(super) const ACTIONS: [&str; 14] = [
    "conjunction",
    "resubmit",
    "move",
    "load",
    "push",
    "pop",
    "note",
    "clone",
    "exit",
    "pop_queue",
    "ct_clear",
    "output:FIELD[]",
    "dec_ttl(ID)",
    "controller(id=ID)",
];

/// Reads an action, if it is one of these.
pub(super) fn parse(
    token: &Token<'_>,
    context: &mut Context<'_>,
) -> Result<Option<Nicira>, SyntaxError> {
    let text = token.argument();
    Ok(Some(match token.key {
        "resubmit" => parse_resubmit(token, context)?,
        "move" => {
            let (src, dst) = arrow(text)?;
            let (src, dst) = (subfield(src)?, writable(dst)?);
            if src.width != dst.width {
                return Err(SyntaxError::new(text, "not as many bits on both sides", ""));
            }
            Nicira::Move { src, dst }
        }
        "load" => {
            let (value, dst) = arrow(text)?;
            let dst = writable(dst)?;
            if dst.width > 64 {
                let allowed = "at most 64 bits, or set_field:VALUE/MASK->FIELD";
                return Err(SyntaxError::new(text, "too many bits", allowed));
            }
            let value = number(value, dst.ones())? as u64;
            Nicira::Load { dst, value }
        }
        "output" if names_field(text) => Nicira::OutputReg {
            src: subfield(text)?,
            max_len: ALL_BYTES,
        },
        "push" => Nicira::Push(subfield(text)?),
        "pop" => Nicira::Pop(writable(text)?),
        "note" => Nicira::Note(bytes(text)?),
        "conjunction" => parse_conjunction(text)?,
        "clone" => Nicira::Clone(parse_list(text, context)?),
        "dec_ttl" if !text.is_empty() => Nicira::DecTtlIds(ids(text)?),
        "exit" => bare(token, Nicira::Exit)?,
        "pop_queue" => bare(token, Nicira::PopQueue)?,
        "ct_clear" => bare(token, Nicira::CtClear)?,
        _ => return Ok(None),
    }))
}

fn bare(token: &Token<'_>, action: Nicira) -> Result<Nicira, SyntaxError> {
    match token.argument() {
        "" => Ok(action),
        _ => Err(SyntaxError::new(token.text, "takes no argument", token.key)),
    }
}

/// `resubmit:PORT` or `resubmit(PORT,TABLE)`, where one may be left out.
fn parse_resubmit(token: &Token<'_>, context: &Context<'_>) -> Result<Nicira, SyntaxError> {
    let mut pieces = token.argument().split(',').map(str::trim);
    let (port, table) = (pieces.next().unwrap_or(""), pieces.next().unwrap_or(""));
    if pieces.next().is_some() {
        let problem = "connections are not tracked, so they have no original tuple";
        return Err(SyntaxError::new(
            token.text,
            problem,
            "resubmit(PORT,TABLE)",
        ));
    }
    if port.is_empty() && table.is_empty() {
        let allowed = "resubmit(PORT,TABLE), one of them at least";
        return Err(SyntaxError::new(
            token.text,
            "neither port nor table",
            allowed,
        ));
    }
    let in_port = match port {
        "" => None,
        port => Some(context.ports().parse(port)?),
    };
    let table = match table {
        "" | "255" => None,
        table => Some(TableId(number(table, TableId::LAST.0.into())? as u8)),
    };
    let in_port = in_port.filter(|port| *port != crate::OfPort::IN_PORT);
    Ok(Nicira::Resubmit { in_port, table })
}

/// `conjunction(ID,CLAUSE/CLAUSES)`, clauses from 1 on.
fn parse_conjunction(text: &str) -> Result<Nicira, SyntaxError> {
    let wrong = || {
        let allowed = format!("conjunction(ID,1/2) to conjunction(ID,{CLAUSES_MAX}/{CLAUSES_MAX})");
        SyntaxError::new(text, "not a clause of a conjunction", allowed)
    };
    let (id, clause) = text.split_once(',').ok_or_else(wrong)?;
    let (clause, clauses) = clause.split_once('/').ok_or_else(wrong)?;
    let id = number(id.trim(), u32::MAX.into())? as u32;
    let clauses = number(clauses.trim(), CLAUSES_MAX.into())? as u8;
    let clause = number(clause.trim(), clauses.into())? as u8;
    match clause.checked_sub(1).filter(|_| clauses >= 2) {
        Some(clause) => Ok(Nicira::Conjunction {
            id,
            clause,
            clauses,
        }),
        None => Err(wrong()),
    }
}

/// Reads `controller(reason=...,max_len=...,id=...)`.
pub(super) fn parse_controller(argument: &str) -> Result<Nicira, SyntaxError> {
    let (mut max_len, mut id, mut reason) = (ALL_BYTES, 0, ACTION);
    for piece in Tokens::new(argument) {
        let text = piece.argument();
        match piece.key {
            "max_len" => max_len = number(text, 0xffff)? as u16,
            "id" => id = number(text, 0xffff)? as u16,
            "reason" => {
                let known = REASONS.iter().position(|reason| *reason == text);
                reason = known.ok_or_else(|| {
                    SyntaxError::new(piece.text, "unknown reason", REASONS.join(", "))
                })? as u8;
            }
            _ => {
                let allowed = "max_len, id, reason";
                return Err(SyntaxError::new(piece.text, "not known here", allowed));
            }
        }
    }
    Ok(Nicira::Controller {
        max_len,
        id,
        reason,
    })
}

fn parse_list(text: &str, context: &mut Context<'_>) -> Result<Arc<[Action]>, SyntaxError> {
    let depth = context
        .deeper()
        .ok_or_else(|| SyntaxError::new(text, "too many actions within actions", "64 levels"))?;
    let mut list = Vec::new();
    for token in Tokens::new(text).filter(|token| token.key != "drop") {
        action::parse(&token, context, &mut list)?;
    }
    context.depth = depth;
    Ok(list.into())
}

fn arrow(text: &str) -> Result<(&str, &str), SyntaxError> {
    let sides = text.split_once("->");
    sides.ok_or_else(|| SyntaxError::new(text, "no -> in it", "WHAT->FIELD[BIT..BIT]"))
}

/// Whether a word begins with the name of a field, as against that of a port.
fn names_field(word: &str) -> bool {
    let name = word.split('[').next().unwrap_or("");
    field(name).is_some()
}

/// A field by any of its names.
fn field(name: &str) -> Option<Field> {
    if let Some(oxm) = Oxm::named(name) {
        return Some(oxm.field);
    }
    match Name::find(name)? {
        Name::Field(Field::InPort) => Some(Field::InPort16),
        Name::Field(field) => Some(field),
        Name::VlanTci => Some(Field::VlanTci),
        Name::NwProto => Some(Field::IpProto),
        Name::NwSrc => Some(Field::Ipv4Src),
        Name::NwDst => Some(Field::Ipv4Dst),
        _ => None,
    }
}

/// Reads `FIELD[]`, `FIELD[BIT]` or `FIELD[FIRST..LAST]`; all of it without brackets.
fn subfield(text: &str) -> Result<Subfield, SyntaxError> {
    let (name, range) = text.split_once('[').unwrap_or((text, "]"));
    let Some(field) = field(name) else {
        return Err(name::unknown(text, name, "field", name::words(), ""));
    };
    let whole = Subfield::whole(field);
    let allowed = || format!("{}[0..{}]", field.name(), field.width() - 1);
    let wrong = || SyntaxError::new(text, "not bits of this field", allowed());
    let range = range.strip_suffix(']').ok_or_else(wrong)?;
    if range.is_empty() {
        return Ok(whole);
    }
    let (first, last) = range.split_once("..").unwrap_or((range, range));
    let bit = |text: &str| value::integer(text).and_then(|bit| u8::try_from(bit).ok());
    let (first, last) = bit(first).zip(bit(last)).ok_or_else(wrong)?;
    let width = (last.checked_sub(first).ok_or_else(wrong)?).saturating_add(1);
    let subfield = Subfield {
        field,
        offset: first,
        width,
    };
    match subfield.is_inside() {
        true => Ok(subfield),
        false => Err(wrong()),
    }
}

fn writable(text: &str) -> Result<Subfield, SyntaxError> {
    let subfield = subfield(text)?;
    match subfield.field.is_read_only() {
        true => Err(SyntaxError::new(text, "the field is read-only", "")),
        false => Ok(subfield),
    }
}

fn bytes(text: &str) -> Result<Arc<[u8]>, SyntaxError> {
    let wrong = || SyntaxError::new(text, "not bytes in hexadecimal", "such as 01.02.ff");
    let digits: String = text.split('.').collect();
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| {
        std::str::from_utf8(pair)
            .ok()
            .and_then(|p| u8::from_str_radix(p, 16).ok())
    };
    let mut bytes: Vec<u8> = pairs.map(byte).collect::<Option<_>>().ok_or_else(wrong)?;
    // As they come back from the wire, where they fill the action.
    let len = bytes.len() + NOTE_HEADER_LEN;
    bytes.resize(crate::wire::padded(len) - NOTE_HEADER_LEN, 0);
    Ok(bytes.into())
}

fn ids(text: &str) -> Result<Arc<[u16]>, SyntaxError> {
    let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
    ids.map(|id| number(id, 0xffff).map(|id| id as u16))
        .collect()
}

/// Appends an action.
pub(super) fn write(out: &mut String, nicira: &Nicira, ports: &Ports) {
    // Writing to a String cannot fail, so its results are let go.
    let _ = match nicira {
        Nicira::Resubmit { in_port, table } => {
            write_resubmit(out, *in_port, *table, ports);
            Ok(())
        }
        Nicira::Move { src, dst } => write!(out, "move:{}->{}", Shown(*src), Shown(*dst)),
        Nicira::Load { dst, value } if *value == 0 => write!(out, "load:0->{}", Shown(*dst)),
        Nicira::Load { dst, value } => write!(out, "load:{value:#x}->{}", Shown(*dst)),
        Nicira::OutputReg { src, .. } => write!(out, "output:{}", Shown(*src)),
        Nicira::Push(subfield) => write!(out, "push:{}", Shown(*subfield)),
        Nicira::Pop(subfield) => write!(out, "pop:{}", Shown(*subfield)),
        Nicira::Note(bytes) => {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            write!(out, "note:{}", bytes.join("."))
        }
        Nicira::Controller {
            max_len,
            id,
            reason,
        } => {
            write_controller(out, *max_len, *id, *reason);
            Ok(())
        }
        Nicira::Clone(list) => {
            out.push_str("clone(");
            action::write(out, list, ports);
            out.write_char(')')
        }
        Nicira::DecTtlIds(ids) => {
            let ids: Vec<String> = ids.iter().map(u16::to_string).collect();
            write!(out, "dec_ttl({})", ids.join(","))
        }
        Nicira::Exit => out.write_str("exit"),
        Nicira::PopQueue => out.write_str("pop_queue"),
        Nicira::CtClear => out.write_str("ct_clear"),
        Nicira::Conjunction {
            id,
            clause,
            clauses,
        } => write!(out, "conjunction({id},{}/{clauses})", clause + 1),
    };
}

fn write_resubmit(
    out: &mut String,
    in_port: Option<crate::OfPort>,
    table: Option<TableId>,
    ports: &Ports,
) {
    match (in_port, table) {
        (Some(port), None) => {
            out.push_str("resubmit:");
            ports.write(out, port);
        }
        _ => {
            out.push_str("resubmit(");
            if let Some(port) = in_port {
                ports.write(out, port);
            }
            out.push(',');
            if let Some(table) = table {
                out.push_str(&table.to_string());
            }
            out.push(')');
        }
    }
}

fn write_controller(out: &mut String, max_len: u16, id: u16, reason: u8) {
    let reason_text = REASONS.get(usize::from(reason)).copied().unwrap_or("");
    let pieces = [
        (reason != ACTION).then(|| format!("reason={reason_text}")),
        (max_len != ALL_BYTES).then(|| format!("max_len={max_len}")),
        (id != 0).then(|| format!("id={id}")),
    ];
    let pieces: Vec<String> = pieces.into_iter().flatten().collect();
    match reason == ACTION && id == 0 {
        true => out.push_str(&format!("CONTROLLER:{max_len}")),
        false => out.push_str(&format!("controller({})", pieces.join(","))),
    }
}

/// Bits of a field as `ovs-ofctl` prints them.
struct Shown(Subfield);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Subfield {
            field,
            offset,
            width,
        } = self.0;
        f.write_str(Oxm::nxm(field).name)?;
        match width {
            _ if self.0.is_whole() => f.write_str("[]"),
            1 => write!(f, "[{offset}]"),
            _ => write!(f, "[{offset}..{}]", offset + width - 1),
        }
    }
}

/// Names of `ofp_packet_in_reason`.
const REASONS: [&str; 3] = ["no_match", "action", "invalid_ttl"];
/// `OFPR_ACTION`.
const ACTION: u8 = 1;
/// The whole packet.
const ALL_BYTES: u16 = 0xffff;
/// Bytes of a note's action before the note.
const NOTE_HEADER_LEN: usize = 10;
