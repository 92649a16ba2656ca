//! The actions that choose by a hash on the wire (nicira-ext, `nx_action_bundle`,
//! `nx_action_multipath`).

use super::{decode_field, decode_range, encode_range, header, writable};
use crate::nicira::{Bundle, BundleAlgorithm, HashFields, Multipath, MultipathAlgorithm};
use crate::wire::{Reader, Writer, padded};
use crate::{ErrorCode, OfPort};

/// Reads what follows the type; with `loads` the port's number is written somewhere.
pub(super) fn decode_bundle(body: &mut Reader, loads: bool) -> Result<Bundle, ErrorCode> {
    let algorithm = listed(&BundleAlgorithm::ALL, body.u16()?)?;
    let fields = listed(&HashFields::ALL, body.u16()?)?;
    let (basis, kind, count) = (body.u16()?, body.u32()?, body.u16()?);
    let range = decode_range(body)?;
    if kind != IN_PORT || count > MEMBERS_MAX {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    let dst = match loads {
        true => {
            let field = decode_field(body)?;
            body.skip(4)?;
            let dst = writable(field, range, body.tlvs())?;
            if dst.width < 16 {
                return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
            }
            Some(dst)
        }
        false => {
            let is_empty = range == (0, 1) && body.take(8)?.iter().all(|b| *b == 0);
            if !is_empty {
                return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
            }
            None
        }
    };
    let members = (0..count).map(|_| body.u16().map(OfPort::of_16_bits));
    let members = members.collect::<Result<_, _>>()?;
    super::pad(body)?;
    Ok(Bundle {
        fields,
        basis,
        algorithm,
        dst,
        members,
    })
}

/// Reads what follows the type.
pub(super) fn decode_multipath(body: &mut Reader) -> Result<Multipath, ErrorCode> {
    let (fields, basis) = (listed(&HashFields::ALL, body.u16()?)?, body.u16()?);
    body.skip(2)?;
    let algorithm = listed(&MultipathAlgorithm::ALL, body.u16()?)?;
    let (last, argument) = (body.u16()?, body.u32()?);
    body.skip(2)?;
    let range = decode_range(body)?;
    let dst = writable(decode_field(body)?, range, body.tlvs())?;
    if u128::from(last) > dst.ones() {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    Ok(Multipath {
        fields,
        basis,
        algorithm,
        last,
        argument,
        dst,
    })
}

/// What has this number in a list.
fn listed<T: Copy>(list: &[T], number: u16) -> Result<T, ErrorCode> {
    let found = list.get(usize::from(number));
    found.copied().ok_or(ErrorCode::BAD_ACTION_BAD_ARGUMENT)
}

/// Writes all but length and padding.
pub(super) fn encode_bundle(bundle: &Bundle, out: &mut Writer) {
    let kind = if bundle.dst.is_some() {
        BUNDLE_LOAD
    } else {
        BUNDLE
    };
    header(kind, out);
    out.u16(bundle.algorithm as u16);
    out.u16(bundle.fields as u16);
    out.u16(bundle.basis);
    out.u32(IN_PORT);
    out.u16(bundle.members.len() as u16);
    match bundle.dst {
        Some(dst) => {
            encode_range(dst, out);
            out.zeros(4);
        }
        None => out.zeros(10),
    }
    let members = bundle.members.iter();
    members.for_each(|port| out.u16(port.0 as u16));
    let len = 2 * bundle.members.len();
    out.zeros(padded(len) - len);
}

/// Writes all but length and padding.
pub(super) fn encode_multipath(multipath: &Multipath, out: &mut Writer) {
    header(MULTIPATH, out);
    out.u16(multipath.fields as u16);
    out.u16(multipath.basis);
    out.zeros(2);
    out.u16(multipath.algorithm as u16);
    out.u16(multipath.last);
    out.u32(multipath.argument);
    out.zeros(2);
    encode_range(multipath.dst, out);
}

/// `NXAST_MULTIPATH`.
pub(super) const MULTIPATH: u16 = 10;
/// `NXAST_BUNDLE`.
pub(super) const BUNDLE: u16 = 12;
/// `NXAST_BUNDLE_LOAD`.
pub(super) const BUNDLE_LOAD: u16 = 13;

/// `NXM_OF_IN_PORT`: members are ports, and nothing else can be.
const IN_PORT: u32 = 0x0000_0002;
/// `BUNDLE_MAX_MEMBERS`.
pub(crate) const MEMBERS_MAX: u16 = 64;
