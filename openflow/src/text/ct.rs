//! `ct(...)` and `nat(...)` in flow syntax (ovs-actions(7)), read and written. Called by `nicira`.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::action::{self, Context};
use super::nicira::{Shown, subfield};
use super::token::{Token, Tokens};
use super::value::number;
use super::{Ports, SyntaxError};
use crate::ct::{ALG_FTP, ALG_TFTP, Ct, CtZone, Nat, NatEnd};
use crate::{Action, Nicira, TableId};

/// Reads what a `ct` has in its parentheses.
pub(super) fn parse(text: &str, context: &mut Context<'_>) -> Result<Ct, SyntaxError> {
    let mut ct = Ct {
        commits: false,
        forces: false,
        zone: CtZone::Number(0),
        table: None,
        alg: 0,
        actions: Arc::new([]),
    };
    let (mut nat, mut actions) = (None, Vec::new());
    for piece in Tokens::new(text) {
        let argument = piece.argument();
        match piece.key {
            "commit" => ct.commits = true,
            "force" => ct.forces = true,
            "table" => ct.table = Some(table(argument)?),
            "zone" => ct.zone = zone(argument, context.ports())?,
            "alg" => ct.alg = alg(argument)?,
            "nat" => nat = Some(parse_nat(argument)?),
            "exec" => actions = exec(argument, context)?,
            _ => {
                let allowed = "commit, force, table, zone, nat, alg, exec";
                return Err(SyntaxError::new(piece.text, "not known here", allowed));
            }
        }
    }
    if ct.forces && !ct.commits {
        return Err(SyntaxError::new(
            text,
            "force goes with commit",
            "commit,force",
        ));
    }
    if !ct.commits && (nat.is_some_and(|nat| nat.is_new()) || !actions.is_empty()) {
        let problem = "what is done with a new connection goes with commit";
        return Err(SyntaxError::new(text, problem, "commit"));
    }
    let nat = nat.map(|nat| Action::Nicira(Nicira::Nat(nat)));
    ct.actions = nat.into_iter().chain(actions).collect();
    Ok(ct)
}

fn table(text: &str) -> Result<TableId, SyntaxError> {
    Ok(TableId(number(text, TableId::LAST.0.into())? as u8))
}

fn zone(text: &str, ports: &Ports) -> Result<CtZone, SyntaxError> {
    if let Ok(zone) = number(text, 0xffff) {
        return Ok(CtZone::Number(zone as u16));
    }
    let source = subfield(text, ports)?;
    match source.width {
        16 => Ok(CtZone::Field(source)),
        _ => Err(SyntaxError::new(text, "a zone has 16 bits", "FIELD[0..15]")),
    }
}

fn alg(text: &str) -> Result<u16, SyntaxError> {
    match text {
        "ftp" => Ok(ALG_FTP),
        "tftp" => Ok(ALG_TFTP),
        _ => Err(SyntaxError::new(text, "unknown protocol", "ftp, tftp")),
    }
}

/// What is done with the connection: its mark and label are set.
fn exec(text: &str, context: &mut Context<'_>) -> Result<Vec<Action>, SyntaxError> {
    let depth = context
        .deeper()
        .ok_or_else(|| SyntaxError::new(text, "too many actions within actions", "64 levels"))?;
    let was_tracking = std::mem::replace(&mut context.tracks, true);
    let mut list = Vec::new();
    let result = Tokens::new(text).try_for_each(|token| {
        action::parse(&token, context, &mut list)?;
        match list.last().is_none_or(sets_connection) {
            true => Ok(()),
            false => Err(SyntaxError::new(
                token.text,
                "not allowed within exec",
                "set_field, load and move to ct_mark and ct_label; nat",
            )),
        }
    });
    context.depth = depth;
    context.tracks = was_tracking;
    result.map(|()| list)
}

fn sets_connection(action: &Action) -> bool {
    let field = match action {
        Action::SetField { field, .. } => *field,
        Action::Nicira(Nicira::Load { dst, .. } | Nicira::Move { dst, .. }) => dst.field,
        Action::Nicira(Nicira::Nat(_)) => return true,
        _ => return false,
    };
    crate::ct::is_of_connection(field)
}

/// Reads what a `nat` has in its parentheses.
pub(super) fn parse_nat(text: &str) -> Result<Nat, SyntaxError> {
    let mut nat = Nat::default();
    let (mut ends, mut wrong) = (0, None);
    for piece in Tokens::new(text) {
        match piece.key {
            "src" | "dst" => {
                ends += 1;
                nat.end = Some(match piece.key {
                    "src" => NatEnd::Source,
                    _ => NatEnd::Destination,
                });
                if let Some(range) = piece.value {
                    (nat.addresses, nat.ports) = parse_range(range)?;
                }
            }
            "persistent" => nat.is_persistent = true,
            "hash" => nat.is_hashed = true,
            "random" => nat.is_random = true,
            _ => wrong = Some(piece),
        }
    }
    if let Some(piece) = wrong {
        let allowed = "src, dst, persistent, hash, random";
        return Err(SyntaxError::new(piece.text, "not known here", allowed));
    }
    let is_mixed = ends > 1 || nat.is_hashed && nat.is_random;
    match is_mixed || nat.end.is_none() && nat.is_new() {
        true => Err(SyntaxError::new(
            text,
            "these do not go together",
            "one of src and dst, and with it persistent and one of hash and random",
        )),
        false => Ok(nat),
    }
}

/// First and last address, and first and last port.
type NatRange = (Option<(IpAddr, IpAddr)>, Option<(u16, u16)>);

/// Reads `ADDRESS[-ADDRESS][:PORT[-PORT]]`; IPv6 addresses before ports in brackets.
fn parse_range(text: &str) -> Result<NatRange, SyntaxError> {
    let wrong = || {
        let allowed = "ADDRESS[-ADDRESS][:PORT[-PORT]], with IPv6 in brackets before ports";
        SyntaxError::new(text, "not a range to translate to", allowed)
    };
    let (addresses, ports) = match text.strip_prefix('[') {
        Some(inside) => {
            let (first, rest) = inside.split_once(']').ok_or_else(wrong)?;
            match rest.strip_prefix("-[") {
                Some(rest) => {
                    let (last, rest) = rest.split_once(']').ok_or_else(wrong)?;
                    (format!("{first}-{last}"), rest.strip_prefix(':'))
                }
                None => (first.to_owned(), rest.strip_prefix(':')),
            }
        }
        None if is_ipv6(text) => (text.to_owned(), None),
        None => match text.split_once(':') {
            Some((addresses, ports)) => (addresses.to_owned(), Some(ports)),
            None => (text.to_owned(), None),
        },
    };
    let (first, last) = addresses
        .split_once('-')
        .unwrap_or((&addresses, &addresses));
    let parse = |text: &str| text.parse::<IpAddr>().ok();
    let (first, last) = parse(first).zip(parse(last)).ok_or_else(wrong)?;
    let ports = ports.map(|ports| {
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        Ok((number(first, 0xffff)? as u16, number(last, 0xffff)? as u16))
    });
    let ports: Option<(u16, u16)> = ports.transpose()?;
    let is_range = first.is_ipv4() == last.is_ipv4() && first <= last;
    match is_range && ports.is_none_or(|(first, last)| 0 < first && first <= last) {
        true => Ok((Some((first, last)), ports)),
        false => Err(wrong()),
    }
}

/// Whether a text begins with an IPv6 address: those with ports have brackets.
fn is_ipv6(text: &str) -> bool {
    let first = text.split('-').next().unwrap_or("");
    first.parse::<Ipv6Addr>().is_ok()
}

/// Appends a `ct` as `ovs-ofctl` prints it.
pub(super) fn write(out: &mut String, ct: &Ct, ports: &Ports) {
    let mut pieces = Vec::new();
    if ct.commits {
        pieces.push("commit".to_owned());
    }
    if ct.forces {
        pieces.push("force".to_owned());
    }
    if let Some(table) = ct.table {
        pieces.push(format!("table={table}"));
    }
    match ct.zone {
        CtZone::Number(0) => {}
        CtZone::Number(zone) => pieces.push(format!("zone={zone}")),
        CtZone::Field(source) => pieces.push(format!("zone={}", Shown(source, ports))),
    }
    let mut actions = &ct.actions[..];
    if let [Action::Nicira(Nicira::Nat(nat)), rest @ ..] = actions {
        let mut text = String::new();
        write_nat(&mut text, nat);
        pieces.push(text);
        actions = rest;
    }
    if !actions.is_empty() {
        let mut text = String::new();
        action::write(&mut text, actions, ports);
        pieces.push(format!("exec({text})"));
    }
    match ct.alg {
        0 => {}
        ALG_FTP => pieces.push("alg=ftp".to_owned()),
        ALG_TFTP => pieces.push("alg=tftp".to_owned()),
        other => pieces.push(format!("alg={other}")),
    }
    out.push_str("ct");
    out.push('(');
    out.push_str(&pieces.join(","));
    out.push(')');
}

/// Appends a `nat`.
pub(super) fn write_nat(out: &mut String, nat: &Nat) {
    out.push_str("nat");
    let Some(end) = nat.end else {
        return;
    };
    out.push_str(match end {
        NatEnd::Source => "(src",
        NatEnd::Destination => "(dst",
    });
    if let Some((first, last)) = nat.addresses {
        out.push('=');
        let has_brackets = first.is_ipv6() && nat.ports.is_some();
        write_address(out, first, has_brackets);
        if first != last {
            out.push('-');
            write_address(out, last, has_brackets);
        }
    }
    // Writing to a String cannot fail, so the result is let go.
    let _ = match nat.ports {
        Some((first, last)) if first == last => write!(out, ":{first}"),
        Some((first, last)) => write!(out, ":{first}-{last}"),
        None => Ok(()),
    };
    let flags = [
        (nat.is_persistent, ",persistent"),
        (nat.is_hashed, ",hash"),
        (nat.is_random, ",random"),
    ];
    for (_, flag) in flags.iter().filter(|(is_set, _)| *is_set) {
        out.push_str(flag);
    }
    out.push(')');
}

fn write_address(out: &mut String, address: IpAddr, has_brackets: bool) {
    out.push_str(&match has_brackets {
        true => format!("[{address}]"),
        false => address.to_string(),
    });
}

/// Reads `ct` or `ct(...)`.
pub(super) fn parse_token(
    token: &Token<'_>,
    context: &mut Context<'_>,
) -> Result<Nicira, SyntaxError> {
    Ok(Nicira::Ct(Arc::new(parse(token.argument(), context)?)))
}
