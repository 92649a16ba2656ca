//! Values of fields: numbers, addresses and flags, each with an optional mask, read and written.
//! The style of a field is how `ovs-ofctl` prints it.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use flowtable::Field;

use super::{Ports, SyntaxError};
use crate::OfPort;

mod flags;

/// How a field's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Decimal; hexadecimal when masked.
    Decimal,
    /// Hexadecimal, but 0 is plain.
    Hexadecimal,
    /// Ethernet address.
    Mac,
    /// IPv4 address.
    Ipv4,
    /// IPv6 address.
    Ipv6,
    /// Port.
    Port,
    /// Fragment keyword.
    Fragment,
    /// TCP flag names.
    TcpFlags,
    /// Names of connection tracking states.
    CtState,
    /// Names of tunnel flags.
    TunnelFlags,
}

impl Style {
    /// The style of `field`.
    pub fn of(field: Field) -> Style {
        match field {
            Field::InPort | Field::InPhyPort => Style::Port,
            Field::EthDst | Field::EthSrc => Style::Mac,
            Field::ArpSha | Field::ArpTha | Field::NdSll | Field::NdTll => Style::Mac,
            Field::Ipv4Src | Field::Ipv4Dst | Field::ArpSpa | Field::ArpTpa => Style::Ipv4,
            Field::Ipv6Src | Field::Ipv6Dst | Field::NdTarget => Style::Ipv6,
            Field::TunnelSrc | Field::TunnelDst => Style::Ipv4,
            Field::CtIpv4Src | Field::CtIpv4Dst => Style::Ipv4,
            Field::TunnelIpv6Src | Field::TunnelIpv6Dst => Style::Ipv6,
            Field::CtIpv6Src | Field::CtIpv6Dst => Style::Ipv6,
            Field::InPort16 => Style::Port,
            Field::CtState => Style::CtState,
            Field::TunnelFlags => Style::TunnelFlags,
            Field::Metadata | Field::TunnelId | Field::EthType => Style::Hexadecimal,
            Field::PacketMark | Field::TunnelGbpFlags => Style::Hexadecimal,
            Field::CtMark | Field::CtLabel => Style::Hexadecimal,
            _ if field >= Field::Reg0 => Style::Hexadecimal,
            Field::Ipv6Flabel | Field::Ipv6Exthdr | Field::PbbIsid => Style::Hexadecimal,
            Field::IpFrag => Style::Fragment,
            Field::TcpFlags => Style::TcpFlags,
            _ => Style::Decimal,
        }
    }
}

/// Reads `value[/mask]` of `field`. Gives value and mask; `*` is a mask of 0.
pub(super) fn parse(field: Field, text: &str, ports: &Ports) -> Result<(u128, u128), SyntaxError> {
    let (style, ones) = (Style::of(field), field.ones());
    if text == "*" {
        return Ok((0, 0));
    }
    match style {
        Style::Port => return Ok((ports.parse(text)?.0.into(), ones)),
        Style::Fragment => return parse_fragment(text),
        Style::TcpFlags => return flags::parse(&flags::TCP, text, ones),
        Style::CtState => return flags::parse(&flags::CT_STATE, text, ones),
        Style::TunnelFlags => return flags::parse(&flags::TUNNEL, text, ones),
        _ => {}
    }
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (value, Some(mask)),
        None => (text, None),
    };
    let value = parse_plain(style, value, ones)?;
    let Some(mask) = mask else {
        return Ok((value, ones));
    };
    let mask = parse_mask(style, mask, ones)?;
    if mask != ones && !field.maskable() {
        return Err(SyntaxError::new(text, "this field takes no mask", ""));
    }
    Ok((value & mask, mask))
}

/// Appends a value without a mask.
pub(super) fn write(out: &mut String, field: Field, value: u128, ports: &Ports) {
    match Style::of(field) {
        Style::Port => ports.write(out, OfPort(value as u32)),
        Style::Fragment => out.push_str(fragment_name(value, 3).unwrap_or("no")),
        Style::TcpFlags => flags::write(out, &flags::TCP, value, field.ones(), field.ones()),
        Style::TunnelFlags => flags::write(out, &flags::TUNNEL, value, field.ones(), field.ones()),
        style => write_plain(out, style, value),
    }
}

/// Appends `value[/mask]`, the mask only if it is not all ones.
pub(super) fn write_masked(out: &mut String, field: Field, value: u128, mask: u128) {
    let style = Style::of(field);
    match style {
        Style::TcpFlags => return flags::write(out, &flags::TCP, value, mask, field.ones()),
        Style::CtState => return flags::write(out, &flags::CT_STATE, value, mask, field.ones()),
        Style::TunnelFlags => {
            return flags::write_some(out, &flags::TUNNEL, value, mask, field.ones());
        }
        _ => {}
    }
    if mask == field.ones() {
        return write_plain(out, style, value);
    }
    match style {
        Style::Decimal => append(out, format_args!("{value:#x}/{mask:#x}")),
        Style::Ipv4 | Style::Ipv6 => {
            write_plain(out, style, value);
            out.push('/');
            match prefix_length(mask, field.width()) {
                Some(length) => append(out, format_args!("{length}")),
                None => write_plain(out, style, mask),
            }
        }
        _ => {
            write_plain(out, style, value);
            out.push('/');
            write_plain(out, style, mask);
        }
    }
}

/// The keyword for fragment bits, if there is one.
pub(super) fn fragment_name(value: u128, mask: u128) -> Option<&'static str> {
    match (value & mask, mask) {
        (0, 1 | 3) => Some("no"),
        (0, 2) => Some("not_later"),
        (1, 1) => Some("yes"),
        (1, 3) => Some("first"),
        (2 | 3, 2 | 3) => Some("later"),
        _ => None,
    }
}

/// Reads an integer up to `max`.
pub(super) fn number(text: &str, max: u128) -> Result<u128, SyntaxError> {
    match integer(text) {
        Some(value) if value <= max => Ok(value),
        Some(_) => Err(SyntaxError::new(text, "too large", range(max))),
        None => Err(SyntaxError::new(text, "not a number", range(max))),
    }
}

/// Reads an integer of 64 bits, where -1 is all ones, as cookies and their masks have it.
pub(super) fn number_or_minus_one(text: &str) -> Result<u64, SyntaxError> {
    match text {
        "-1" => Ok(u64::MAX),
        _ => number(text, u64::MAX.into()).map(|value| value as u64),
    }
}

/// Reads an integer as C does: decimal, hexadecimal after 0x, octal after 0.
pub(super) fn integer(text: &str) -> Option<u128> {
    let hexadecimal = text.strip_prefix("0x").or(text.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // from_str_radix alone would let a sign pass.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(digits, radix).ok()
}

fn range(max: u128) -> String {
    format!("0 to {max}")
}

fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

fn parse_plain(style: Style, text: &str, ones: u128) -> Result<u128, SyntaxError> {
    match style {
        Style::Mac => parse_mac(text),
        Style::Ipv4 => match text.parse::<Ipv4Addr>() {
            Ok(address) => Ok(address.to_bits().into()),
            Err(_) => Err(SyntaxError::new(text, "not an IPv4 address", "a.b.c.d")),
        },
        Style::Ipv6 => match text.parse::<Ipv6Addr>() {
            Ok(address) => Ok(address.to_bits()),
            Err(_) => Err(SyntaxError::new(
                text,
                "not an IPv6 address",
                "such as fe80::1",
            )),
        },
        _ => number(text, ones),
    }
}

fn parse_mask(style: Style, text: &str, ones: u128) -> Result<u128, SyntaxError> {
    let length = matches!(style, Style::Ipv4 | Style::Ipv6)
        .then(|| text.parse::<u32>().ok())
        .flatten();
    if let Some(length) = length {
        let width = ones.count_ones();
        return match length {
            0 => Ok(0),
            _ if length <= width => Ok(ones << (width - length) & ones),
            _ => Err(SyntaxError::new(
                text,
                "prefix too long",
                range(width.into()),
            )),
        };
    }
    match text {
        "-1" if style != Style::Mac => Ok(ones),
        _ => parse_plain(style, text, ones),
    }
}

fn parse_mac(text: &str) -> Result<u128, SyntaxError> {
    let wrong = || SyntaxError::new(text, "not an Ethernet address", "xx:xx:xx:xx:xx:xx");
    let (mut value, mut count) = (0, 0);
    for byte in text.split(':') {
        if byte.len() > 2 || !byte.starts_with(|c: char| c.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let byte = u8::from_str_radix(byte, 16).map_err(|_| wrong())?;
        value = value << 8 | u128::from(byte);
        count += 1;
        if count > 6 {
            return Err(wrong());
        }
    }
    if count < 6 { Err(wrong()) } else { Ok(value) }
}

fn parse_fragment(text: &str) -> Result<(u128, u128), SyntaxError> {
    match text {
        "no" => Ok((0, 3)),
        "yes" => Ok((1, 1)),
        "first" => Ok((1, 3)),
        "later" => Ok((3, 3)),
        "not_later" => Ok((0, 2)),
        _ => Err(SyntaxError::new(
            text,
            "unknown kind of fragment",
            "no, yes, first, later, not_later",
        )),
    }
}

fn write_plain(out: &mut String, style: Style, value: u128) {
    match style {
        Style::Mac => {
            let bytes = (value as u64).to_be_bytes();
            for (at, byte) in bytes[2..].iter().enumerate() {
                let colon = if at > 0 { ":" } else { "" };
                append(out, format_args!("{colon}{byte:02x}"));
            }
        }
        Style::Ipv4 => append(out, format_args!("{}", Ipv4Addr::from_bits(value as u32))),
        Style::Ipv6 => write_ipv6(out, value),
        Style::Hexadecimal if value != 0 => append(out, format_args!("{value:#x}")),
        _ => append(out, format_args!("{value}")),
    }
}

/// As the C library does: an address that is IPv4 but for 96 leading zero bits is shown as such.
fn write_ipv6(out: &mut String, value: u128) {
    if value >> 32 == 0 && value >> 16 != 0 {
        append(out, format_args!("::{}", Ipv4Addr::from_bits(value as u32)));
    } else {
        append(out, format_args!("{}", Ipv6Addr::from_bits(value)));
    }
}

/// Number of leading ones if no others are set.
fn prefix_length(mask: u128, width: u32) -> Option<u32> {
    let ones = mask.count_ones();
    (mask.trailing_zeros().min(width) == width - ones).then_some(ones)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(field: Field, text: &str) -> String {
        let ports = Ports::default();
        let (value, mask) = parse(field, text, &ports).unwrap();
        let mut out = String::new();
        match Style::of(field) {
            Style::Fragment => out.push_str(fragment_name(value, mask).unwrap()),
            Style::Port => write(&mut out, field, value, &ports),
            _ => write_masked(&mut out, field, value, mask),
        }
        out
    }

    #[test]
    fn values_come_back_in_their_canonical_form() {
        let cases = [
            (Field::EthSrc, "1:2:3:4:5:6", "01:02:03:04:05:06"),
            (
                Field::EthSrc,
                "ff:00:00:00:00:01/01:00:00:00:00:00",
                "01:00:00:00:00:00/01:00:00:00:00:00",
            ),
            (Field::Ipv4Src, "10.1.2.3/8", "10.0.0.0/8"),
            (
                Field::Ipv4Src,
                "10.1.2.3/255.0.0.255",
                "10.0.0.3/255.0.0.255",
            ),
            (Field::Ipv4Src, "10.1.2.3/32", "10.1.2.3"),
            (Field::Ipv6Src, "FE80::1/10", "fe80::/10"),
            (Field::Ipv6Src, "::1.2.3.4", "::1.2.3.4"),
            (Field::Ipv6Src, "::5", "::5"),
            (Field::Ipv6Src, "::1/ffff::ffff", "::1/ffff::ffff"),
            (Field::TcpSrc, "0120", "80"),
            (Field::TcpSrc, "0x50/0xfff0", "0x50/0xfff0"),
            (Field::TcpSrc, "0/0xfff0", "0x0/0xfff0"),
            (Field::Metadata, "0/255", "0/0xff"),
            (Field::Metadata, "5/-1", "0x5"),
            (Field::InPort, "local", "LOCAL"),
            (Field::IpFrag, "later", "later"),
            (Field::TcpFlags, "0x12", "syn|ack"),
            (Field::TcpFlags, "+syn-ack", "+syn-ack"),
            (Field::TcpFlags, "0x202/0xa02", "+syn+[200]-[800]"),
            (Field::TcpFlags, "0", "0"),
        ];
        for (field, text, canonical) in cases {
            assert_eq!(round(field, text), canonical, "{text}");
            assert_eq!(round(field, canonical), canonical, "{canonical}");
        }
    }

    #[test]
    fn wrong_values_say_what_is_allowed() {
        let ports = Ports::default();
        let error = |field, text| parse(field, text, &ports).unwrap_err().to_string();
        assert_eq!(
            error(Field::TcpSrc, "http"),
            "http: not a number; allowed: 0 to 65535"
        );
        assert_eq!(
            error(Field::TcpSrc, "65536"),
            "65536: too large; allowed: 0 to 65535"
        );
        assert_eq!(error(Field::ArpOp, "1/1"), "1/1: this field takes no mask");
        assert_eq!(
            error(Field::Ipv4Src, "1.2.3.4/33"),
            "33: prefix too long; allowed: 0 to 32"
        );
        for text in [
            "1:2:3:4:5",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:g",
            "+1:2:3:4:5:6",
            "",
        ] {
            assert!(
                error(Field::EthSrc, text).contains("not an Ethernet address"),
                "{text}"
            );
        }
        for text in ["+foo", "syn|", "+", "[100]", "0x1000"] {
            assert!(parse(Field::TcpFlags, text, &ports).is_err(), "{text}");
        }
        for text in ["", "0x", "+1", "-1", "0x+1", "08", "1e5", "١"] {
            assert_eq!(integer(text), None, "{text}");
        }
        assert_eq!(integer("0"), Some(0));
    }
}
