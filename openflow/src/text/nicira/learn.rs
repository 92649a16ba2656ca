//! `learn(...)` in flow syntax (ovs-actions(7)), read and written.

use std::fmt::Write;

use flowtable::Field;

use super::super::action::Context;
use super::super::token::{Token, Tokens};
use super::super::value::{self, number, number_or_minus_one};
use super::super::{Ports, SyntaxError};
use super::{Shown, arrow, names_field, subfield, writable};
use crate::nicira::{Learn, LearnSource, LearnSpec, Subfield};
use crate::{OfPort, TableId};

/// Reads what stands in the parentheses.
pub(super) fn parse(text: &str, context: &Context<'_>) -> Result<Learn, SyntaxError> {
    let mut learn = Learn::default();
    let mut specs = Vec::new();
    for token in Tokens::new(text) {
        let is_known =
            parse_setting(&token, &mut learn, context.ports()).map_err(|e| e.within(token.text))?;
        if !is_known {
            specs.push(parse_spec(&token, context).map_err(|e| e.within(token.text))?);
        }
    }
    learn.specs = specs.into();
    Ok(learn)
}

/// Takes what is said of the flow beside its match and actions; whether that is what it was.
fn parse_setting(token: &Token<'_>, learn: &mut Learn, ports: &Ports) -> Result<bool, SyntaxError> {
    let text = token.argument();
    let of_16_bits = || number(text, 0xffff).map(|number| number as u16);
    match token.key {
        "table" => learn.table = TableId(number(text, TableId::LAST.0.into())? as u8),
        "priority" => learn.priority = of_16_bits()?,
        "idle_timeout" => learn.idle_timeout_s = of_16_bits()?,
        "hard_timeout" => learn.hard_timeout_s = of_16_bits()?,
        "fin_idle_timeout" => learn.fin_idle_timeout_s = of_16_bits()?,
        "fin_hard_timeout" => learn.fin_hard_timeout_s = of_16_bits()?,
        "cookie" => learn.cookie = number_or_minus_one(text)?,
        "send_flow_rem" => learn.send_flow_removed = true,
        "delete_learned" => learn.delete_learned = true,
        "limit" => learn.limit = number(text, u32::MAX.into())? as u32,
        "result_dst" => {
            let result = writable(text, ports)?;
            if result.width != 1 {
                return Err(SyntaxError::new(text, "more than one bit", "reg0[0]"));
            }
            learn.result = Some(result);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn parse_spec(token: &Token<'_>, context: &Context<'_>) -> Result<LearnSpec, SyntaxError> {
    let text = token.argument();
    match token.key {
        "load" => {
            let (source, dst) = arrow(text)?;
            let dst = writable(dst, context.ports())?;
            Ok(LearnSpec::Load(
                dst,
                match parse_field(source, dst, context.ports())? {
                    Some(source) => source,
                    None => LearnSource::Value(number(source, dst.ones())?),
                },
            ))
        }
        "output" => subfield(text, context.ports()).map(LearnSpec::Output),
        _ => {
            let dst = subfield(token.key, context.ports())?;
            Ok(match token.value {
                None => LearnSpec::Match(dst, LearnSource::Field(dst)),
                Some(text) => LearnSpec::Match(dst, parse_source(text, dst, context)?),
            })
        }
    }
}

fn parse_source(
    text: &str,
    dst: Subfield,
    context: &Context<'_>,
) -> Result<LearnSource, SyntaxError> {
    if let Some(source) = parse_field(text, dst, context.ports())? {
        return Ok(source);
    }
    if !dst.is_whole() || dst.field.is_tunnel_option() {
        return number(text, dst.ones()).map(LearnSource::Value);
    }
    let (value, mask) = value::parse(dst.field, text, context.ports())?;
    match mask == dst.field.ones() {
        true => Ok(LearnSource::Value(value & dst.ones())),
        false => Err(SyntaxError::new(
            text,
            "takes no mask here",
            "FIELD[BIT..BIT]=VALUE",
        )),
    }
}

/// As many bits of a field, if it is one.
fn parse_field(
    text: &str,
    dst: Subfield,
    ports: &Ports,
) -> Result<Option<LearnSource>, SyntaxError> {
    if !names_field(text, ports) {
        return Ok(None);
    }
    let src = subfield(text, ports)?;
    match src.width == dst.width {
        true => Ok(Some(LearnSource::Field(src))),
        false => Err(SyntaxError::new(text, "not as many bits on both sides", "")),
    }
}

/// Appends the action.
pub(super) fn write(out: &mut String, learn: &Learn, ports: &Ports) {
    // Writing to a String cannot fail, so its results are let go.
    let _ = write!(out, "learn(table={}", learn.table);
    let number = |out: &mut String, name: &str, value: u64, plain: u64| {
        if value != plain {
            let _ = write!(out, ",{name}={value}");
        }
    };
    number(out, "idle_timeout", learn.idle_timeout_s.into(), 0);
    number(out, "hard_timeout", learn.hard_timeout_s.into(), 0);
    number(out, "fin_idle_timeout", learn.fin_idle_timeout_s.into(), 0);
    number(out, "fin_hard_timeout", learn.fin_hard_timeout_s.into(), 0);
    let plain = Learn::default().priority;
    number(out, "priority", learn.priority.into(), plain.into());
    if learn.send_flow_removed {
        out.push_str(",send_flow_rem");
    }
    if learn.delete_learned {
        out.push_str(",delete_learned");
    }
    if learn.cookie != 0 {
        let _ = write!(out, ",cookie={:#x}", learn.cookie);
    }
    number(out, "limit", learn.limit.into(), 0);
    if let Some(result) = learn.result {
        let _ = write!(out, ",result_dst={}", Shown(result, ports));
    }
    for spec in learn.specs.iter() {
        out.push(',');
        write_spec(out, spec, ports);
    }
    out.push(')');
}

fn write_spec(out: &mut String, spec: &LearnSpec, ports: &Ports) {
    let _ = match spec {
        LearnSpec::Match(dst, LearnSource::Field(src)) if dst == src => {
            write!(out, "{}", Shown(*dst, ports))
        }
        LearnSpec::Match(dst, LearnSource::Field(src)) => {
            write!(out, "{}={}", Shown(*dst, ports), Shown(*src, ports))
        }
        LearnSpec::Match(dst, LearnSource::Value(value))
            if dst.is_whole() && !dst.field.is_tunnel_option() =>
        {
            let _ = write!(out, "{}=", name(dst.field));
            match dst.field {
                Field::InPort16 => ports.write(out, OfPort::of_16_bits(*value as u16)),
                field => value::write(out, field, *value, ports),
            }
            Ok(())
        }
        LearnSpec::Match(dst, LearnSource::Value(value)) => {
            write!(out, "{}={value:#x}", Shown(*dst, ports))
        }
        LearnSpec::Load(dst, LearnSource::Field(src)) => {
            write!(out, "load:{}->{}", Shown(*src, ports), Shown(*dst, ports))
        }
        LearnSpec::Load(dst, LearnSource::Value(0)) => {
            write!(out, "load:0->{}", Shown(*dst, ports))
        }
        LearnSpec::Load(dst, LearnSource::Value(value)) => {
            write!(out, "load:{value:#x}->{}", Shown(*dst, ports))
        }
        LearnSpec::Output(src) => write!(out, "output:{}", Shown(*src, ports)),
    };
}

/// The name of a field where it stands alone.
fn name(field: Field) -> &'static str {
    match field {
        Field::Ipv4Src => "ip_src",
        Field::Ipv4Dst => "ip_dst",
        field => field.name(),
    }
}
