//! `bundle`, `bundle_load` and `multipath` in flow syntax (ovs-actions(7)), read and written.

use std::fmt::Write;

use super::super::action::Context;
use super::super::value::number;
use super::super::{Ports, SyntaxError};
use super::{Shown, writable};
use crate::OfPort;
use crate::nicira::{Bundle, BundleAlgorithm, HashFields, Multipath, MultipathAlgorithm};
use crate::v13::nicira::MEMBERS_MAX;

/// Reads `FIELDS,BASIS,ALGORITHM,ofport,[FIELD[BIT..BIT],]members:PORT,...`.
pub(super) fn parse_bundle(
    text: &str,
    loads: bool,
    context: &Context<'_>,
) -> Result<Bundle, SyntaxError> {
    let wrong = || {
        let allowed = "bundle(FIELDS,BASIS,ALGORITHM,ofport,members:PORT,...)";
        SyntaxError::new(text, "not a choice of ports", allowed)
    };
    let (head, members) = text.split_once(':').ok_or_else(wrong)?;
    let mut head = head.split(',').map(str::trim);
    let mut next = || head.next().ok_or_else(wrong);
    let fields = fields(next()?)?;
    let basis = number(next()?, 0xffff)? as u16;
    let algorithm = named(&BundleAlgorithm::ALL, BundleAlgorithm::name, next()?)?;
    if next()? != "ofport" {
        return Err(wrong());
    }
    let dst = match loads {
        true => Some(writable(next()?, context.ports())?),
        false => None,
    };
    if dst.is_some_and(|dst| dst.width < 16) {
        return Err(SyntaxError::new(
            text,
            "too few bits for a port",
            "16 at least",
        ));
    }
    if !matches!(next()?, "members" | "slaves") {
        return Err(wrong());
    }
    let members = members
        .split(',')
        .map(str::trim)
        .filter(|port| !port.is_empty());
    let members: Vec<OfPort> = members
        .map(|port| parse_port(port, context))
        .collect::<Result<_, _>>()?;
    if members.len() > MEMBERS_MAX.into() {
        let allowed = format!("{MEMBERS_MAX} at most");
        return Err(SyntaxError::new(text, "too many ports", allowed));
    }
    Ok(Bundle {
        fields,
        basis,
        algorithm,
        dst,
        members: members.into(),
    })
}

fn parse_port(text: &str, context: &Context<'_>) -> Result<OfPort, SyntaxError> {
    match text {
        "none" => Ok(OfPort::ANY),
        text => context.ports().parse(text),
    }
}

/// Reads `FIELDS,BASIS,ALGORITHM,COUNT,ARGUMENT,FIELD[BIT..BIT]`.
pub(super) fn parse_multipath(text: &str, context: &Context<'_>) -> Result<Multipath, SyntaxError> {
    let pieces: Vec<&str> = text.split(',').map(str::trim).collect();
    let [hash, basis, algorithm, count, argument, dst] = pieces[..] else {
        let allowed = "multipath(FIELDS,BASIS,ALGORITHM,COUNT,ARGUMENT,FIELD[BIT..BIT])";
        return Err(SyntaxError::new(text, "not a choice of numbers", allowed));
    };
    let dst = writable(dst, context.ports())?;
    let last = number(count, 1 << 16)?.checked_sub(1);
    let Some(last) = last.filter(|last| *last <= dst.ones()) else {
        let allowed = format!("1 to {}", dst.ones().saturating_add(1).min(1 << 16));
        return Err(SyntaxError::new(
            text,
            "not so many numbers in these bits",
            allowed,
        ));
    };
    Ok(Multipath {
        fields: fields(hash)?,
        basis: number(basis, 0xffff)? as u16,
        algorithm: named(
            &MultipathAlgorithm::ALL,
            MultipathAlgorithm::name,
            algorithm,
        )?,
        last: last as u16,
        argument: number(argument, u32::MAX.into())? as u32,
        dst,
    })
}

fn fields(text: &str) -> Result<HashFields, SyntaxError> {
    named(&HashFields::ALL, HashFields::name, text)
}

/// What has this name in a list.
fn named<T: Copy>(
    list: &[T],
    name: impl Fn(T) -> &'static str,
    text: &str,
) -> Result<T, SyntaxError> {
    let found = list.iter().find(|item| name(**item) == text).copied();
    found.ok_or_else(|| {
        let names: Vec<_> = list.iter().map(|item| name(*item)).collect();
        SyntaxError::new(text, "not known here", names.join(", "))
    })
}

/// Appends the action.
pub(super) fn write_bundle(out: &mut String, bundle: &Bundle, ports: &Ports) {
    out.push_str(if bundle.dst.is_some() {
        "bundle_load("
    } else {
        "bundle("
    });
    let (fields, algorithm) = (bundle.fields.name(), bundle.algorithm.name());
    // Writing to a String cannot fail, so its results are let go.
    let _ = write!(out, "{fields},{},{algorithm},ofport,", bundle.basis);
    if let Some(dst) = bundle.dst {
        let _ = write!(out, "{},", Shown(dst, ports));
    }
    out.push_str("members:");
    for (place, port) in bundle.members.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        match *port {
            OfPort::ANY => out.push_str("ANY"),
            port => ports.write(out, port),
        }
    }
    out.push(')');
}

/// Appends the action.
pub(super) fn write_multipath(out: &mut String, multipath: &Multipath, ports: &Ports) {
    let Multipath {
        fields,
        basis,
        algorithm,
        last,
        argument,
        dst,
    } = *multipath;
    let (fields, algorithm) = (fields.name(), algorithm.name());
    let count = u32::from(last) + 1;
    let dst = Shown(dst, ports);
    let _ = write!(
        out,
        "multipath({fields},{basis},{algorithm},{count},{argument},{dst})"
    );
}
