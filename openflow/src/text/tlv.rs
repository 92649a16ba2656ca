//! Geneve options and the `tun_metadata` fields that they are, as `ovs-ofctl add-tlv-map` reads and
//! `dump-tlv-map` prints them.

use std::fmt::Write;

use super::SyntaxError;
use super::value::number;
use crate::TlvMap;

/// Reads `{class=C,type=T,len=L}->tun_metadataN`.
pub fn parse(text: &str) -> Result<TlvMap, SyntaxError> {
    let wrong = || SyntaxError::new(text, "not a mapping", FORM);
    let (option, field) = text.trim().split_once("->").ok_or_else(wrong)?;
    let option = option.trim().strip_prefix('{');
    let option = option.and_then(|option| option.strip_suffix('}'));
    let (mut class, mut kind, mut len) = (None, None, None);
    for piece in option.ok_or_else(wrong)?.split(',') {
        let (key, value) = piece.split_once('=').ok_or_else(wrong)?;
        let number = |max: u128| number(value.trim(), max).map_err(|e| e.within(text));
        match key.trim() {
            "class" => class = Some(number(0xffff)? as u16),
            "type" => kind = Some(number(0xff)? as u8),
            "len" => len = Some(number(0xff)? as u8),
            _ => return Err(wrong()),
        }
    }
    let (class, (kind, len)) = class.zip(kind.zip(len)).ok_or_else(wrong)?;
    Ok(TlvMap {
        class,
        kind,
        len,
        index: parse_field(field.trim())?,
    })
}

/// Reads `tun_metadataN`.
pub fn parse_field(text: &str) -> Result<u16, SyntaxError> {
    let index = text.strip_prefix("tun_metadata");
    let index = index.and_then(|index| index.parse().ok());
    index.ok_or_else(|| {
        let allowed = "tun_metadata0 to tun_metadata63";
        SyntaxError::new(text, "not such a field", allowed)
    })
}

/// Appends a mapping as it is read.
pub fn write(out: &mut String, map: &TlvMap) {
    let TlvMap {
        class,
        kind,
        len,
        index,
    } = map;
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "{{class={class:#x},type={kind:#x},len={len}}}->tun_metadata{index}"
    );
}

const FORM: &str = "{class=0x102,type=0x80,len=4}->tun_metadata0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_comes_back_as_it_was() {
        let map = parse(FORM).unwrap();
        assert_eq!(
            (map.class, map.kind, map.len, map.index),
            (0x102, 0x80, 4, 0)
        );
        let mut out = String::new();
        write(&mut out, &map);
        assert_eq!(out, FORM);
        let spaced = parse("{type=1, len=16, class=65535} -> tun_metadata63").unwrap();
        assert_eq!((spaced.class, spaced.kind, spaced.index), (0xffff, 1, 63));
    }

    #[test]
    fn what_is_no_mapping_says_so() {
        for text in [
            "",
            "{class=1,type=1,len=4}",
            "{class=1,type=1}->tun_metadata0",
            "{class=1,type=256,len=4}->tun_metadata0",
            "{class=1,type=1,len=4}->reg0",
            "class=1,type=1,len=4->tun_metadata0",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
