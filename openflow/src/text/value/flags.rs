//! Fields whose bits have names: TCP flags, states of connections, flags of tunnels. All of them
//! are names joined by `|`, some of them names after `+` (set) and `-` (not set) each.

use super::{Style, append, number, parse_mask};
use crate::text::SyntaxError;

/// Names of the bits of a field.
pub struct Names {
    /// What they are names of.
    what: &'static str,
    /// From the lowest bit on.
    names: &'static [&'static str],
    /// Bits that have no name but may be given in brackets as hexadecimal numbers.
    unnamed: u128,
}

/// TCP flags.
pub static TCP: Names = Names {
    what: "TCP flag",
    names: &["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"],
    unnamed: 0xe00,
};

/// States of connections.
pub static CT_STATE: Names = Names {
    what: "connection state",
    names: &["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"],
    unnamed: 0,
};

/// Flags of tunnels.
pub static TUNNEL: Names = Names {
    what: "tunnel flag",
    names: &["oam"],
    unnamed: 0,
};

/// Appends flags: names joined by `|` for all of them, `+` and `-` for some.
pub fn write(out: &mut String, names: &Names, value: u128, mask: u128, ones: u128) {
    if mask != ones {
        return write_some(out, names, value, mask, ones);
    }
    if value == 0 {
        return out.push('0');
    }
    let mut first = true;
    for bit in (0..ones.count_ones()).filter(|bit| value >> bit & 1 != 0) {
        if !std::mem::take(&mut first) {
            out.push('|');
        }
        write_name(out, names, bit);
    }
}

/// Appends flags with `+` and `-`.
pub fn write_some(out: &mut String, names: &Names, value: u128, mask: u128, ones: u128) {
    for bit in (0..ones.count_ones()).filter(|bit| mask >> bit & 1 != 0) {
        out.push(if value >> bit & 1 != 0 { '+' } else { '-' });
        write_name(out, names, bit);
    }
}

fn write_name(out: &mut String, names: &Names, bit: u32) {
    match names.names.get(bit as usize) {
        Some(name) => out.push_str(name),
        None => append(out, format_args!("[{:x}]", 1u32 << bit)),
    }
}

/// Reads flags, or a number with or without a mask.
pub fn parse(names: &Names, text: &str, ones: u128) -> Result<(u128, u128), SyntaxError> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let (value, mask) = text.split_once('/').unwrap_or((text, "-1"));
        let mask = parse_mask(Style::Hexadecimal, mask, ones)?;
        return Ok((number(value, ones)? & mask, mask));
    }
    if !text.starts_with(['+', '-']) {
        let mut value = 0;
        for name in text.split('|') {
            value |= flag(names, name)?;
        }
        return Ok((value, ones));
    }
    let (mut value, mut mask, mut rest) = (0, 0, text);
    while !rest.is_empty() {
        let end = rest[1..].find(['+', '-']).map_or(rest.len(), |at| at + 1);
        let bit = flag(names, &rest[1..end])?;
        mask |= bit;
        if rest.starts_with('+') {
            value |= bit;
        }
        rest = &rest[end..];
    }
    Ok((value, mask))
}

fn flag(names: &Names, name: &str) -> Result<u128, SyntaxError> {
    if let Some(bit) = names.names.iter().position(|known| *known == name) {
        return Ok(1 << bit);
    }
    let digits = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let bit = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    match bit.filter(|bit| bit.is_power_of_two() && bit & names.unnamed != 0) {
        Some(bit) => Ok(bit),
        None => Err(SyntaxError::new(
            name,
            format!("unknown {}", names.what),
            format!(
                "{}, joined by | for all flags, or each after + or - for some; or a number",
                names.names.join(" ")
            ),
        )),
    }
}
