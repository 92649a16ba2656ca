//! `ct` and `nat` on the wire (nicira-ext, `nx_action_conntrack`, `nx_action_nat`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::action::{self, Place};
use super::nicira::{decode_field, range, readable};
use crate::ct::{Ct, CtZone, Nat, NatEnd, is_of_connection};
use crate::nicira::Nicira;
use crate::oxm::Oxm;
use crate::wire::{Reader, Writer};
use crate::{Action, ErrorCode, TableId};

/// Decodes what follows the type of a `ct`.
pub(super) fn decode(body: &mut Reader, depth: u32) -> Result<Ct, ErrorCode> {
    let flags = body.u16()?;
    let zone = decode_zone(body)?;
    let table = TableId(body.u8()?);
    body.skip(3)?;
    let alg = body.u16()?;
    let (commits, forces) = (flags & COMMIT != 0, flags & FORCE != 0);
    if forces && !commits || table != TableId::ALL && table > TableId::LAST {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    let actions = action::decode_nested(body, Place::Connection, depth)?;
    let ct = Ct {
        commits,
        forces,
        zone,
        table: (table != TableId::ALL).then_some(table),
        alg,
        actions,
    };
    ct.actions
        .iter()
        .try_for_each(|action| check(action, commits))?;
    Ok(ct)
}

/// Whether a `ct` may hold an action.
fn check(action: &Action, commits: bool) -> Result<(), ErrorCode> {
    let sets = match action {
        Action::Nicira(Nicira::Nat(nat)) => {
            return match nat.is_new() && !commits {
                true => Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
                false => Ok(()),
            };
        }
        Action::SetField { field, .. } => Some(*field),
        Action::Nicira(Nicira::Load { dst, .. } | Nicira::Move { dst, .. }) => Some(dst.field),
        _ => None,
    };
    match sets.is_some_and(is_of_connection) && commits {
        true => Ok(()),
        false => Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
    }
}

fn decode_zone(body: &mut Reader) -> Result<CtZone, ErrorCode> {
    let mut source = body.clone();
    if body.u32()? == 0 {
        return Ok(CtZone::Number(body.u16()?));
    }
    let field = decode_field(&mut source)?;
    let range = body.u16()?;
    let subfield = readable(field, (range >> 6, (range & 0x3f) + 1), body.tlvs())?;
    match subfield.width {
        16 => Ok(CtZone::Field(subfield)),
        _ => Err(ErrorCode::BAD_ACTION_BAD_SET_LEN),
    }
}

/// Decodes what follows the type of a `nat`.
pub(super) fn decode_nat(body: &mut Reader) -> Result<Nat, ErrorCode> {
    body.skip(2)?;
    let (flags, present) = (body.u16()?, body.u16()?);
    let has = |bit| flags & bit != 0;
    if flags & !FLAGS != 0 || has(SOURCE) && has(DESTINATION) || has(HASH) && has(RANDOM) {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    let nat = body.reporting(ErrorCode::BAD_ACTION_BAD_ARGUMENT, |body| {
        let addresses = decode_addresses(body, present)?;
        let ports = decode_range(body, present >> 4, |body| body.u16())?;
        let end = match (has(SOURCE), has(DESTINATION)) {
            (true, _) => Some(NatEnd::Source),
            (_, true) => Some(NatEnd::Destination),
            _ => None,
        };
        Ok(Nat {
            end,
            addresses,
            ports,
            is_persistent: has(PERSISTENT),
            is_hashed: has(HASH),
            is_random: has(RANDOM),
        })
    })?;
    let is_whole = nat.addresses.is_some() || nat.ports.is_none();
    let is_port = nat.ports.is_none_or(|(first, _)| first != 0);
    let is_of_end = nat.end.is_some() || !nat.is_new();
    if !is_whole || !is_port || !is_of_end {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    body.rest();
    Ok(nat)
}

fn decode_addresses(
    body: &mut Reader,
    present: u16,
) -> Result<Option<(IpAddr, IpAddr)>, ErrorCode> {
    if present & V4 != 0 && present & V6 != 0 {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    let v4 = decode_range(body, present, |body| body.u32().map(Ipv4Addr::from_bits))?;
    let v6 = decode_range(body, present >> 2, |body| {
        body.uint(16).map(Ipv6Addr::from_bits)
    })?;
    let v4 = v4.map(|(first, last)| (first.into(), last.into()));
    Ok(v4.or(v6.map(|(first, last)| (first.into(), last.into()))))
}

/// The first of a range and its last, if bits 0 and 1 say that they are there.
fn decode_range<T: PartialOrd + Copy>(
    body: &mut Reader,
    present: u16,
    read: impl Fn(&mut Reader) -> Result<T, ErrorCode>,
) -> Result<Option<(T, T)>, ErrorCode> {
    let (has_first, has_last) = (present & 1 != 0, present & 2 != 0);
    if !has_first {
        return match has_last {
            true => Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
            false => Ok(None),
        };
    }
    let first = read(body)?;
    let last = if has_last { read(body)? } else { first };
    match first <= last {
        true => Ok(Some((first, last))),
        false => Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
    }
}

/// Writes a `ct` behind its type.
pub(super) fn encode(ct: &Ct, out: &mut Writer) {
    let mut flags = 0;
    if ct.commits {
        flags |= COMMIT;
    }
    if ct.forces {
        flags |= FORCE;
    }
    out.u16(flags);
    match ct.zone {
        CtZone::Number(zone) => {
            out.u32(0);
            out.u16(zone);
        }
        CtZone::Field(source) => {
            Oxm::nxm(source.field, out.tlvs()).encode_header(false, out);
            out.u16(range(source, out.tlvs()));
        }
    }
    out.u8(ct.table.unwrap_or(TableId::ALL).0);
    out.zeros(3);
    out.u16(ct.alg);
    action::encode_list(&ct.actions, out);
}

/// Writes a `nat` behind its type.
pub(super) fn encode_nat(nat: &Nat, out: &mut Writer) {
    let flags = [
        (nat.end == Some(NatEnd::Source), SOURCE),
        (nat.end == Some(NatEnd::Destination), DESTINATION),
        (nat.is_persistent, PERSISTENT),
        (nat.is_hashed, HASH),
        (nat.is_random, RANDOM),
    ];
    let flags = flags.iter().filter(|(is_set, _)| *is_set);
    out.zeros(2);
    out.u16(flags.fold(0, |flags, (_, bit)| flags | bit));
    let last = |differs: bool| if differs { 3 } else { 1 };
    let of_addresses = nat.addresses.map_or(0, |(first, end)| {
        last(first != end) << if first.is_ipv4() { 0 } else { 2 }
    });
    let of_ports = nat.ports.map_or(0, |(first, end)| last(first != end) << 4);
    out.u16(of_addresses | of_ports);
    if let Some((first, end)) = nat.addresses {
        encode_address(first, out);
        if first != end {
            encode_address(end, out);
        }
    }
    if let Some((first, end)) = nat.ports {
        out.u16(first);
        if first != end {
            out.u16(end);
        }
    }
}

fn encode_address(address: IpAddr, out: &mut Writer) {
    match address {
        IpAddr::V4(address) => out.bytes(&address.octets()),
        IpAddr::V6(address) => out.bytes(&address.octets()),
    }
}

// `NX_CT_F_*`.
const COMMIT: u16 = 1;
const FORCE: u16 = 2;
// `NX_NAT_F_*`.
const SOURCE: u16 = 1;
const DESTINATION: u16 = 2;
const PERSISTENT: u16 = 4;
const HASH: u16 = 8;
const RANDOM: u16 = 16;
const FLAGS: u16 = 31;
// `NX_NAT_RANGE_*`: a first and a last one of IPv4, of IPv6 and of ports, a bit for each.
const V4: u16 = 3;
const V6: u16 = 12;
