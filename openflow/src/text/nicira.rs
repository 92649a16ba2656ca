//! Nicira's actions in flow syntax (ovs-actions(7)), read and written. Called by `action` and its
//! writer for what they do not know.

use std::fmt::Write;
use std::sync::Arc;

use flowtable::{Field, TlvTable};

use super::action::{self, Context};
use super::ct;
use super::name::{self, Name};
use super::token::{Token, Tokens};
use super::value::{self, number};
use super::{Ports, SyntaxError, option};
use crate::ct::is_of_connection;
use crate::nicira::{Nicira, Subfield};
use crate::oxm::Oxm;
use crate::v13::nicira::{CLAUSES_MAX, ETHERNET_HEADER_LEN, may_be_truncated};
use crate::{Action, TableId};

mod choice;
mod controller;
mod learn;
mod sample;

pub(super) use controller::parse as parse_controller;

/// The words of these actions.
pub(super) const ACTIONS: [&str; 24] = [
    "conjunction",
    "resubmit",
    "move",
    "load",
    "push",
    "pop",
    "note",
    "clone",
    "ct",
    "exit",
    "pop_queue",
    "ct_clear",
    "output:FIELD[]",
    "dec_ttl(ID)",
    "controller(id=ID)",
    "learn",
    "fin_timeout",
    "bundle",
    "bundle_load",
    "multipath",
    "check_pkt_larger",
    "delete_field",
    "sample",
    "output(port=PORT,max_len=BYTES)",
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
            let (src, dst) = (subfield(src, context.ports())?, writable_in(dst, context)?);
            if src.width != dst.width {
                return Err(SyntaxError::new(text, "not as many bits on both sides", ""));
            }
            Nicira::Move { src, dst }
        }
        "load" => {
            let (value, dst) = arrow(text)?;
            let dst = writable_in(dst, context)?;
            if dst.width > 64 {
                let allowed = "at most 64 bits, or set_field:VALUE/MASK->FIELD";
                return Err(SyntaxError::new(text, "too many bits", allowed));
            }
            let value = number(value, dst.ones())? as u64;
            Nicira::Load { dst, value }
        }
        "output" if text.contains("port=") => parse_truncated(text, context)?,
        "output" if names_field(text, context.ports()) => Nicira::OutputReg {
            src: subfield(text, context.ports())?,
            max_len: ALL_BYTES,
        },
        "push" => Nicira::Push(subfield(text, context.ports())?),
        "pop" => Nicira::Pop(writable_in(text, context)?),
        "note" => Nicira::Note(bytes(text)?),
        "conjunction" => parse_conjunction(text)?,
        "learn" => Nicira::Learn(Arc::new(learn::parse(text, context)?)),
        "fin_timeout" => parse_fin_timeout(text)?,
        "bundle" | "bundle_load" => {
            let bundle = choice::parse_bundle(text, token.key == "bundle_load", context)?;
            Nicira::Bundle(Arc::new(bundle))
        }
        "multipath" => Nicira::Multipath(choice::parse_multipath(text, context)?),
        "check_pkt_larger" => parse_check_larger(token.text, context.ports())?,
        "delete_field" => Nicira::DeleteField(parse_delete(text, context.ports())?),
        "sample" => Nicira::Sample(sample::parse(text, context)?),
        "ct" => ct::parse_token(token, context)?,
        "nat" if context.tracks => Nicira::Nat(ct::parse_nat(text)?),
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
    let by_connection = match (pieces.next(), pieces.next()) {
        (None, _) => false,
        (Some("ct"), None) => true,
        _ => {
            let allowed = "resubmit(PORT,TABLE) or resubmit(PORT,TABLE,ct)";
            return Err(SyntaxError::new(token.text, "not known here", allowed));
        }
    };
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
    Ok(Nicira::Resubmit {
        in_port,
        table,
        by_connection,
    })
}

/// `output(port=PORT,max_len=BYTES)`.
fn parse_truncated(text: &str, context: &Context<'_>) -> Result<Nicira, SyntaxError> {
    let (mut port, mut len_max) = (None, None);
    for piece in Tokens::new(text) {
        match piece.key {
            "port" => port = Some(context.ports().parse(piece.argument())?),
            "max_len" => len_max = Some(number(piece.argument(), u32::MAX.into())? as u32),
            _ => {
                return Err(SyntaxError::new(
                    piece.text,
                    "not known here",
                    "port, max_len",
                ));
            }
        }
    }
    let Some((port, len_max)) = port.zip(len_max) else {
        let allowed = "output(port=PORT,max_len=BYTES)";
        return Err(SyntaxError::new(text, "port or length missing", allowed));
    };
    if !may_be_truncated(port) {
        return Err(SyntaxError::new(
            text,
            "not for this port",
            "a port, LOCAL or IN_PORT",
        ));
    }
    if len_max < ETHERNET_HEADER_LEN {
        let allowed = format!("{ETHERNET_HEADER_LEN} bytes at least");
        return Err(SyntaxError::new(
            text,
            "shorter than a packet can be",
            allowed,
        ));
    }
    Ok(Nicira::OutputTruncated { port, len_max })
}

/// `fin_timeout(idle_timeout=SECONDS,hard_timeout=SECONDS)`.
fn parse_fin_timeout(text: &str) -> Result<Nicira, SyntaxError> {
    let (mut idle_timeout_s, mut hard_timeout_s) = (0, 0);
    for piece in Tokens::new(text) {
        let seconds = || number(piece.argument(), 0xffff).map(|seconds| seconds as u16);
        match piece.key {
            "idle_timeout" => idle_timeout_s = seconds()?,
            "hard_timeout" => hard_timeout_s = seconds()?,
            _ => {
                let allowed = "idle_timeout, hard_timeout";
                return Err(SyntaxError::new(piece.text, "not known here", allowed));
            }
        }
    }
    Ok(Nicira::FinTimeout {
        idle_timeout_s,
        hard_timeout_s,
    })
}

/// `check_pkt_larger(BYTES)->FIELD[BIT]`.
fn parse_check_larger(text: &str, ports: &Ports) -> Result<Nicira, SyntaxError> {
    let (len, dst) = arrow(text)?;
    let dst = writable(dst, ports)?;
    let len = len.strip_prefix("check_pkt_larger(");
    let len = len.and_then(|len| len.strip_suffix(')'));
    match len.filter(|_| dst.width == 1) {
        Some(len) => Ok(Nicira::CheckPacketLarger {
            len: number(len, 0xffff)? as u16,
            dst,
        }),
        None => {
            let allowed = "check_pkt_larger(BYTES)->FIELD[BIT]";
            Err(SyntaxError::new(text, "not a length and a bit", allowed))
        }
    }
}

fn parse_delete(name: &str, ports: &Ports) -> Result<Field, SyntaxError> {
    match option::named(name, ports)? {
        Some(mapping) => Ok(mapping.field()),
        None => {
            let allowed = "tun_metadata0 to tun_metadata63";
            Err(SyntaxError::new(name, "cannot be deleted", allowed))
        }
    }
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
fn names_field(word: &str, ports: &Ports) -> bool {
    let name = word.split('[').next().unwrap_or("");
    field(name).is_some() || option::named(name, ports).is_ok_and(|found| found.is_some())
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
pub(super) fn subfield(text: &str, ports: &Ports) -> Result<Subfield, SyntaxError> {
    let (name, range) = text.split_once('[').unwrap_or((text, "]"));
    let option = option::named(name, ports)?;
    let Some(field) = option
        .map(|mapping| mapping.field())
        .or_else(|| field(name))
    else {
        return Err(name::unknown(text, name, "field", name::words(), ""));
    };
    let width = option.map_or(field.width() as u16, |mapping| mapping.width());
    let allowed = || match option.filter(|mapping| mapping.is_long()) {
        None => format!("{}[0..{}]", option::name(field, ports), width - 1),
        Some(_) => "bits of 16 bytes, which the last are, those before, and so on".to_owned(),
    };
    let wrong = || SyntaxError::new(text, "not bits of this field", allowed());
    let range = range.strip_suffix(']').ok_or_else(wrong)?;
    let (offset, width) = match range.is_empty() {
        true if option.is_none() => return Ok(Subfield::whole(field)),
        true => (0, width),
        false => bits(range).ok_or_else(wrong)?,
    };
    let (field, offset) = match option {
        Some(mapping) => mapping.part(offset, width).ok_or_else(wrong)?,
        None => (field, u8::try_from(offset).map_err(|_| wrong())?),
    };
    let subfield = Subfield {
        field,
        offset,
        width: u8::try_from(width).map_err(|_| wrong())?,
    };
    match subfield.is_inside() {
        true => Ok(subfield),
        false => Err(wrong()),
    }
}

/// Reads `BIT` or `FIRST..LAST`: the first and how many they are.
fn bits(range: &str) -> Option<(u16, u16)> {
    let (first, last) = range.split_once("..").unwrap_or((range, range));
    let bit = |text: &str| value::integer(text).and_then(|bit| u16::try_from(bit).ok());
    let (first, last) = bit(first).zip(bit(last))?;
    let width = last.checked_sub(first)?.checked_add(1)?;
    Some((first, width))
}

fn writable(text: &str, ports: &Ports) -> Result<Subfield, SyntaxError> {
    let subfield = subfield(text, ports)?;
    match subfield.field.is_read_only() {
        true => Err(SyntaxError::new(text, "the field is read-only", "")),
        false => Ok(subfield),
    }
}

/// The same where the connection's fields may be set, too.
fn writable_in(text: &str, context: &Context<'_>) -> Result<Subfield, SyntaxError> {
    let found = subfield(text, context.ports())?;
    if context.tracks && is_of_connection(found.field) {
        return Ok(found);
    }
    writable(text, context.ports())
}

/// Reads a note.
fn bytes(text: &str) -> Result<Arc<[u8]>, SyntaxError> {
    let wrong = || SyntaxError::new(text, "not bytes in hexadecimal", "such as 01.02.ff");
    let mut bytes = hexadecimal(text).ok_or_else(wrong)?;
    // As they come back from the wire, where they fill the action.
    let len = bytes.len() + NOTE_HEADER_LEN;
    bytes.resize(crate::wire::padded(len) - NOTE_HEADER_LEN, 0);
    Ok(bytes.into())
}

/// Reads bytes, with or without dots between them.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.split('.').collect();
    let pairs = digits.as_bytes().chunks(2);
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    };
    pairs.map(byte).collect()
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
        Nicira::Resubmit {
            in_port,
            table,
            by_connection,
        } => {
            write_resubmit(out, (*in_port, *table, *by_connection), ports);
            Ok(())
        }
        Nicira::Move { src, dst } => {
            write!(out, "move:{}->{}", Shown(*src, ports), Shown(*dst, ports))
        }
        Nicira::Load { dst, value } if *value == 0 => write!(out, "load:0->{}", Shown(*dst, ports)),
        Nicira::Load { dst, value } => write!(out, "load:{value:#x}->{}", Shown(*dst, ports)),
        Nicira::OutputReg { src, .. } => write!(out, "output:{}", Shown(*src, ports)),
        Nicira::Push(subfield) => write!(out, "push:{}", Shown(*subfield, ports)),
        Nicira::Pop(subfield) => write!(out, "pop:{}", Shown(*subfield, ports)),
        Nicira::Note(bytes) => {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            write!(out, "note:{}", bytes.join("."))
        }
        Nicira::OutputTruncated { port, len_max } => {
            out.push_str("output(port=");
            ports.write(out, *port);
            write!(out, ",max_len={len_max})")
        }
        Nicira::Controller(controller) => {
            controller::write(out, controller);
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
        Nicira::Ct(it) => {
            ct::write(out, it, ports);
            Ok(())
        }
        Nicira::Nat(nat) => {
            ct::write_nat(out, nat);
            Ok(())
        }
        Nicira::CtClear => out.write_str("ct_clear"),
        Nicira::Conjunction {
            id,
            clause,
            clauses,
        } => write!(out, "conjunction({id},{}/{clauses})", clause + 1),
        Nicira::Learn(learn) => {
            learn::write(out, learn, ports);
            Ok(())
        }
        Nicira::FinTimeout {
            idle_timeout_s,
            hard_timeout_s,
        } => {
            let idle = (*idle_timeout_s != 0).then(|| format!("idle_timeout={idle_timeout_s}"));
            let hard = (*hard_timeout_s != 0).then(|| format!("hard_timeout={hard_timeout_s}"));
            let pieces: Vec<_> = [idle, hard].into_iter().flatten().collect();
            write!(out, "fin_timeout({})", pieces.join(","))
        }
        Nicira::Bundle(bundle) => {
            choice::write_bundle(out, bundle, ports);
            Ok(())
        }
        Nicira::Multipath(multipath) => {
            choice::write_multipath(out, multipath, ports);
            Ok(())
        }
        Nicira::CheckPacketLarger { len, dst } => {
            write!(out, "check_pkt_larger({len})->{}", Shown(*dst, ports))
        }
        Nicira::DeleteField(field) => {
            write!(out, "delete_field:{}", option::name(*field, ports))
        }
        Nicira::Sample(sample) => {
            sample::write(out, sample, ports);
            Ok(())
        }
    };
}

fn write_resubmit(
    out: &mut String,
    (in_port, table, by_connection): (Option<crate::OfPort>, Option<TableId>, bool),
    ports: &Ports,
) {
    match (in_port, table) {
        (Some(port), None) if !by_connection => {
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
            out.push_str(if by_connection { ",ct)" } else { ")" });
        }
    }
}

/// Bits of a field as `ovs-ofctl` prints them.
pub(super) struct Shown<'a>(pub Subfield, pub &'a Ports);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Subfield {
            field,
            offset,
            width,
        } = self.0;
        let option = self.1.tlvs().of_field(field);
        match option {
            Some(mapping) => write!(f, "{}{}", option::NXM, mapping.index)?,
            None => f.write_str(Oxm::nxm(field, TlvTable::EMPTY).name)?,
        }
        let is_whole = match option {
            Some(mapping) => u16::from(width) == mapping.width(),
            None => self.0.is_whole(),
        };
        let offset = u16::from(offset) + option.map_or(0, |mapping| mapping.offset(field));
        match width {
            _ if is_whole => f.write_str("[]"),
            1 => write!(f, "[{offset}]"),
            _ => write!(f, "[{offset}..{}]", offset + u16::from(width) - 1),
        }
    }
}

/// The whole packet.
const ALL_BYTES: u16 = 0xffff;
/// Bytes of a note's action before the note.
const NOTE_HEADER_LEN: usize = 10;
