//! Ports by number, reserved name, or the name that a switch gave them.

use std::collections::HashMap;
use std::sync::Arc;

use flowtable::TlvTable;

use crate::OfPort;

use super::SyntaxError;
use super::value::integer;

/// The names of a switch's ports, and of the Geneve options that it maps. Empty, only numbers and
/// reserved names are known.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    by_name: HashMap<String, OfPort>,
    by_number: HashMap<OfPort, String>,
    tlvs: Arc<TlvTable>,
}

impl Ports {
    /// Adds a port.
    pub fn insert(&mut self, name: &str, number: OfPort) {
        self.by_name.insert(name.to_owned(), number);
        self.by_number.insert(number, name.to_owned());
    }

    /// Says which options `tun_metadata` fields are.
    pub fn set_tlvs(&mut self, tlvs: Arc<TlvTable>) {
        self.tlvs = tlvs;
    }

    pub(super) fn tlvs(&self) -> &TlvTable {
        &self.tlvs
    }

    /// Reads a port: a number, a reserved name in either case, or a name, which may be quoted.
    pub fn parse(&self, text: &str) -> Result<OfPort, SyntaxError> {
        let unquoted = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
        if let Some(name) = unquoted {
            return self.named(name).ok_or_else(|| self.unknown(text));
        }
        if let Some(number) = integer(text) {
            return numbered(number).ok_or_else(|| self.unknown(text));
        }
        reserved(text)
            .or_else(|| self.named(text))
            .ok_or_else(|| self.unknown(text))
    }

    /// Appends a port: by its reserved name, its name where it is known, else its number.
    pub fn write(&self, out: &mut String, port: OfPort) {
        if let Some(name) = reserved_name(port) {
            out.push_str(name);
        } else if let Some(name) = self.by_number.get(&port) {
            write_name(out, name);
        } else {
            out.push_str(&port.to_string());
        }
    }

    fn named(&self, name: &str) -> Option<OfPort> {
        self.by_name.get(name).copied()
    }

    fn unknown(&self, text: &str) -> SyntaxError {
        let mut allowed = String::from("0 to 4294967295");
        for (_, name) in RESERVED {
            allowed.push_str(", ");
            allowed.push_str(name);
        }
        let mut names: Vec<&String> = self.by_name.keys().collect();
        names.sort();
        for name in names.iter().take(NAMES_SHOWN_MAX) {
            allowed.push_str(", ");
            write_name(&mut allowed, name);
        }
        if names.len() > NAMES_SHOWN_MAX {
            allowed.push_str(", ...");
        }
        SyntaxError::new(text, "no such port", allowed)
    }
}

/// Whether `port` has a name of its own rather than a number.
pub(super) fn reserved_name(port: OfPort) -> Option<&'static str> {
    let found = RESERVED.iter().find(|(number, _)| *number == port);
    found.map(|(_, name)| *name)
}

/// The reserved port of this name, in either case.
pub(super) fn reserved(name: &str) -> Option<OfPort> {
    if name.eq_ignore_ascii_case("none") {
        return Some(OfPort::ANY);
    }
    let found = RESERVED.iter().find(|(_, n)| n.eq_ignore_ascii_case(name));
    found.map(|(number, _)| *number)
}

/// OpenFlow 1.0 had 16-bit ports; its reserved numbers still stand for the ports they named.
fn numbered(number: u128) -> Option<OfPort> {
    let number = u32::try_from(number).ok()?;
    Some(match number {
        0xfff8..=0xffff => OfPort(number | 0xffff_0000),
        _ => OfPort(number),
    })
}

/// Appends a port's name, quoted if it could be taken for something else.
fn write_name(out: &mut String, name: &str) {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && reserved(name).is_none();
    if plain {
        out.push_str(name);
    } else {
        out.push('"');
        out.push_str(name);
        out.push('"');
    }
}

/// Names that an error lists before it goes on with dots.
const NAMES_SHOWN_MAX: usize = 20;

const RESERVED: [(OfPort, &str); 8] = [
    (OfPort::IN_PORT, "IN_PORT"),
    (OfPort::TABLE, "TABLE"),
    (OfPort::NORMAL, "NORMAL"),
    (OfPort::FLOOD, "FLOOD"),
    (OfPort::ALL, "ALL"),
    (OfPort::CONTROLLER, "CONTROLLER"),
    (OfPort::LOCAL, "LOCAL"),
    (OfPort::ANY, "ANY"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> Ports {
        let mut ports = Ports::default();
        ports.insert("vm1", OfPort(1));
        ports.insert("7", OfPort(2));
        ports.insert("local", OfPort(3));
        ports
    }

    fn written(number: u32) -> String {
        let mut out = String::new();
        ports().write(&mut out, OfPort(number));
        out
    }

    #[test]
    fn reads_numbers_reserved_names_and_names() {
        let read = |text| ports().parse(text).unwrap();
        assert_eq!(read("7"), OfPort(7));
        assert_eq!(read("0x10"), OfPort(16));
        assert_eq!(read("local"), OfPort::LOCAL);
        assert_eq!(read("65534"), OfPort::LOCAL);
        assert_eq!(read("4294967294"), OfPort::LOCAL);
        assert_eq!(read("NONE"), OfPort::ANY);
        assert_eq!(read("vm1"), OfPort(1));
        assert_eq!(read("\"7\""), OfPort(2));
    }

    #[test]
    fn quotes_names_that_mean_something_else() {
        assert_eq!(written(1), "vm1");
        assert_eq!(written(2), "\"7\"");
        assert_eq!(written(3), "\"local\"");
        assert_eq!(written(9), "9");
        assert_eq!(written(OfPort::LOCAL.0), "LOCAL");
    }

    #[test]
    fn an_unknown_port_is_told_what_there_is() {
        let error = ports().parse("vm9").unwrap_err().to_string();
        assert!(
            error.starts_with("vm9: no such port; allowed: 0 to"),
            "{error}"
        );
        assert!(error.contains("LOCAL") && error.contains("vm1"), "{error}");
        assert!(ports().parse("4294967296").is_err());
        assert!(ports().parse("-1").is_err());
        assert!(ports().parse("").is_err());
    }
}
