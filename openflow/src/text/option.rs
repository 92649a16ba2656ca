//! `tun_metadata` fields: Geneve options by the names that the switch's TLV table gives them
//! (ovs-fields(7)).

use std::fmt::Write;

use flowtable::{Field, TlvMapping};

use super::value::number;
use super::{Ports, SyntaxError};

/// The option that a word names; none if it names none, an error if that one is not mapped.
pub(super) fn named<'a>(
    word: &str,
    ports: &'a Ports,
) -> Result<Option<&'a TlvMapping>, SyntaxError> {
    let index = PREFIXES.iter().find_map(|prefix| word.strip_prefix(prefix));
    let Some(index) = index.and_then(|index| index.parse::<u8>().ok()) else {
        return Ok(None);
    };
    match ports.tlvs().of_index(index) {
        Some(mapping) => Ok(Some(mapping)),
        None => Err(SyntaxError::new(
            word,
            "no Geneve option is mapped to it",
            "what `vsctl tlv show` lists",
        )),
    }
}

/// Reads `value[/mask]` of an option.
pub(super) fn parse(mapping: &TlvMapping, text: &str) -> Result<(u128, u128), SyntaxError> {
    let ones = mapping.ones();
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (value, number(mask, ones)?),
        None => (text, ones),
    };
    let value = number(value, ones)?;
    let mask = if mask == ones {
        mapping.field.ones()
    } else {
        mask
    };
    Ok((value & mask, mask))
}

/// Appends `value[/mask]` of an option.
pub(super) fn write(out: &mut String, mapping: &TlvMapping, value: u128, mask: u128) {
    // Writing to a String cannot fail.
    let _ = match mask & mapping.ones() == mapping.ones() {
        true => write!(out, "{value:#x}"),
        false => write!(out, "{value:#x}/{mask:#x}"),
    };
}

/// The name of a field that may be an option.
pub(super) fn name(field: Field, ports: &Ports) -> String {
    match ports.tlvs().of_field(field) {
        Some(mapping) => format!("tun_metadata{}", mapping.index),
        None => field.name().to_owned(),
    }
}

/// How options are called, before their number; the last is what Nicira's actions have.
const PREFIXES: [&str; 2] = ["tun_metadata", NXM];
/// Before the number in Nicira's actions.
pub(super) const NXM: &str = "NXM_NX_TUN_METADATA";
