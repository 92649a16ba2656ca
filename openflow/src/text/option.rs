//! `tun_metadata` fields: Geneve options by the names that the switch's TLV table gives them
//! (ovs-fields(7)).

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

/// Value and mask of a field of an option.
pub(super) type Part = (Field, u128, u128);

/// Reads `value[/mask]` of an option: of each of its fields, that with the last bytes first.
pub(super) fn parse(mapping: &TlvMapping, text: &str) -> Result<Vec<Part>, SyntaxError> {
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (value, Some(numbers(mapping, mask)?)),
        None => (text, None),
    };
    let values = numbers(mapping, value)?.into_iter().enumerate();
    let part = |(at, value): (usize, u128)| {
        let field = mapping.fields[at];
        let mask = mask.as_ref().map(|masks| masks[at]);
        let mask = mask.filter(|mask| *mask != mapping.ones(field));
        let mask = mask.unwrap_or(field.ones());
        (field, value & mask, mask)
    };
    Ok(values.map(part).rev().collect())
}

/// Reads a number as wide as an option, for each of its fields what that has of it. Of those that
/// no integer has room for only hexadecimal ones are known.
fn numbers(mapping: &TlvMapping, text: &str) -> Result<Vec<u128>, SyntaxError> {
    let ones = |field: &Field| mapping.ones(*field);
    let wide = text.strip_prefix("0x").or(text.strip_prefix("0X"));
    let wide = wide.map(|digits| digits.trim_start_matches('0'));
    let is_wide = |digits: &&str| mapping.is_long() && digits.len() > DIGITS;
    let Some(digits) = wide.filter(is_wide) else {
        let (last, before) = mapping.fields.split_last().expect("an option has a field");
        let number = number(text, ones(last))?;
        return Ok(before.iter().map(|_| 0).chain([number]).collect());
    };
    let count = mapping.fields.len();
    let mut chunks = digits.as_bytes().rchunks(DIGITS);
    let mut numbers = vec![0; count];
    for (field, place) in mapping.fields.iter().zip(&mut numbers).rev() {
        let chunk = chunks.next().unwrap_or_default();
        let chunk = str::from_utf8(chunk).ok();
        let value = chunk.map(|chunk| u128::from_str_radix(&format!("0{chunk}"), 16));
        *place = match value {
            Some(Ok(value)) if value <= ones(field) => value,
            Some(Ok(_)) => return Err(too_large(mapping, text)),
            _ => {
                return Err(SyntaxError::new(
                    text,
                    "not a number",
                    "0x and hexadecimal digits",
                ));
            }
        };
    }
    match chunks.next() {
        None => Ok(numbers),
        Some(_) => Err(too_large(mapping, text)),
    }
}

fn too_large(mapping: &TlvMapping, text: &str) -> SyntaxError {
    SyntaxError::new(text, "too large", format!("{} bytes", mapping.len))
}

/// Appends `value[/mask]` of an option by those of some of its fields, in order.
pub(super) fn write(out: &mut String, mapping: &TlvMapping, parts: &[Part]) {
    let of = |field: Field| parts.iter().find(|(it, ..)| *it == field);
    let masks = |field| of(field).map_or(0, |(.., mask)| mask & mapping.ones(field));
    let values = |field| of(field).map_or(0, |(_, value, _)| *value);
    write_numbers(out, mapping, values);
    let mut fields = mapping.fields.iter();
    if fields.any(|field| masks(*field) != mapping.ones(*field)) {
        out.push('/');
        write_numbers(out, mapping, masks);
    }
}

/// Appends one number that is in all fields of an option.
fn write_numbers(out: &mut String, mapping: &TlvMapping, number: impl Fn(Field) -> u128) {
    let digits = mapping
        .fields
        .iter()
        .map(|field| format!("{:032x}", number(*field)));
    let digits: String = digits.collect();
    let digits = digits.trim_start_matches('0');
    out.push_str("0x");
    out.push_str(if digits.is_empty() { "0" } else { digits });
}

/// The name of a field that may be an option.
pub(super) fn name(field: Field, ports: &Ports) -> String {
    match ports.tlvs().of_field(field) {
        Some(mapping) => format!("tun_metadata{}", mapping.index),
        None => field.name().to_owned(),
    }
}

/// Hexadecimal digits of what a field has room for.
const DIGITS: usize = 32;
/// How options are called, before their number; the last is what Nicira's actions have.
const PREFIXES: [&str; 2] = ["tun_metadata", NXM];
/// Before the number in Nicira's actions.
pub(super) const NXM: &str = "NXM_NX_TUN_METADATA";

#[cfg(test)]
mod tests {
    use flowtable::TlvTable;

    use super::*;

    #[test]
    fn values_are_as_long_as_options() {
        let mut tlvs = TlvTable::default();
        tlvs.add(1, 0x102, 0x80, 20).unwrap();
        let mapping = tlvs.of_index(1).unwrap();
        let &[first, last] = mapping.fields else {
            panic!("{mapping:?}");
        };
        let ones = u128::MAX;
        for (text, parts) in [
            ("0x0", [(last, 0, ones), (first, 0, ones)]),
            ("0x12", [(last, 0x12, ones), (first, 0, ones)]),
            (
                "0x5a00000000000000000000000000000007",
                [(last, 7, ones), (first, 0x5a, ones)],
            ),
            (
                "0x500000000000000000000000000000000/0xff00000000000000000000000000000000",
                [(last, 0, 0), (first, 5, 0xff)],
            ),
        ] {
            assert_eq!(parse(mapping, text).as_deref(), Ok(&parts[..]), "{text}");
            let mut out = String::new();
            write(&mut out, mapping, &parts);
            assert_eq!(out, text);
        }
        let zeros = "0".repeat(40);
        for text in [
            &format!("0x1{zeros}"),
            &format!("0x1{zeros}{zeros}"),
            &format!("0x+{zeros}"),
            &format!("0x5g{zeros}"),
            "",
            "x",
        ] {
            assert!(parse(mapping, text).is_err(), "{text}");
        }
        assert!(parse(mapping, &format!("0x00{}", "f".repeat(40))).is_ok());
    }
}
