//! Options of tunnel ports, with the names and meanings of OVS's `Interface` table.

use std::collections::BTreeMap;
use std::net::IpAddr;

use flowtable::tunnel::Kind;

use super::PortKind;
use crate::pipeline::{Key, Local, Tunnel};

/// An option that is wrong or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    /// Its name.
    pub option: String,
    /// Its value, if it is there.
    pub value: Option<String>,
    /// What is wrong with it, or what is allowed.
    pub why: String,
}

impl PortKind {
    /// The protocol of a tunnel port; none for any other.
    pub fn of_tunnel(self) -> Option<Kind> {
        match self {
            PortKind::Vxlan => Some(Kind::Vxlan),
            PortKind::Geneve => Some(Kind::Geneve),
            PortKind::Gre | PortKind::Ip6gre => Some(Kind::Gre),
            _ => None,
        }
    }
}

/// What a port's options make of it; none if it is no tunnel port.
pub fn tunnel(
    kind: PortKind,
    options: &BTreeMap<String, String>,
) -> Result<Option<Tunnel>, OptionError> {
    let Some(protocol) = kind.of_tunnel() else {
        return Ok(None);
    };
    let options = Options {
        kind,
        protocol,
        options,
    };
    options.check_names()?;
    options.tunnel().map(Some)
}

struct Options<'a> {
    kind: PortKind,
    protocol: Kind,
    options: &'a BTreeMap<String, String>,
}

impl Options<'_> {
    fn tunnel(&self) -> Result<Tunnel, OptionError> {
        let (remote, local) = (self.remote()?, self.local()?);
        if let (Some(IpAddr::V4(_)), Local::Address(IpAddr::V6(_)))
        | (Some(IpAddr::V6(_)), Local::Address(IpAddr::V4(_))) = (remote, local)
        {
            return Err(self.wrong("local_ip", "allowed is an address of remote_ip's family"));
        }
        if remote.is_some() && local == Local::Flow {
            return Err(self.wrong("local_ip", "\"flow\" is allowed with remote_ip=flow only"));
        }
        self.accept()?;
        let both = self.key("key")?.unwrap_or(Key::None);
        Ok(Tunnel {
            kind: self.protocol,
            remote,
            local,
            in_key: self.key("in_key")?.unwrap_or(both),
            out_key: self.key("out_key")?.unwrap_or(both),
            port: self.port()?,
            checksum: self.flag("csum")?,
            tos: self.tos()?,
            ttl: self.ttl()?,
            dont_fragment: self.flag("df_default")?.unwrap_or(true),
            tells_too_big: self.flag("pmtud")?.unwrap_or(false),
        })
    }

    /// Refuses options that this type does not have.
    fn check_names(&self) -> Result<(), OptionError> {
        let allowed: Vec<_> = NAMES
            .iter()
            .filter(|name| **name != "dst_port" || self.protocol != Kind::Gre)
            .collect();
        let mut names = self.options.keys();
        match names.find(|name| !allowed.iter().any(|it| **it == name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let list: Vec<&str> = allowed.into_iter().copied().collect();
                Err(OptionError {
                    option: name.clone(),
                    value: None,
                    why: format!(
                        "unknown option of type {}; allowed are {}",
                        self.kind.label(),
                        list.join(", ")
                    ),
                })
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    fn wrong(&self, name: &str, why: &str) -> OptionError {
        OptionError {
            option: name.to_owned(),
            value: self.options.get(name).cloned(),
            why: why.to_owned(),
        }
    }

    fn remote(&self) -> Result<Option<IpAddr>, OptionError> {
        match self.get("remote_ip") {
            None => Err(OptionError {
                option: "remote_ip".to_owned(),
                value: None,
                why: format!("give {}, or \"flow\"", self.address_allowed()),
            }),
            Some("flow") => Ok(None),
            Some(text) => self.address("remote_ip", text).map(Some),
        }
    }

    fn local(&self) -> Result<Local, OptionError> {
        match self.get("local_ip") {
            None => Ok(Local::Any),
            Some("flow") => Ok(Local::Flow),
            Some(text) => Ok(Local::Address(self.address("local_ip", text)?)),
        }
    }

    fn address_allowed(&self) -> &'static str {
        match self.kind {
            PortKind::Ip6gre => "an IPv6 address",
            _ => "an IPv4 or IPv6 address",
        }
    }

    fn address(&self, name: &str, text: &str) -> Result<IpAddr, OptionError> {
        let wrong = || {
            let allowed = self.address_allowed();
            self.wrong(name, &format!("allowed is {allowed}, or \"flow\""))
        };
        let address: IpAddr = text.parse().map_err(|_| wrong())?;
        if self.kind == PortKind::Ip6gre && address.is_ipv4() {
            return Err(wrong());
        }
        match address.is_multicast() || address.is_unspecified() {
            true => Err(self.wrong(name, "allowed is the address of one host")),
            false => Ok(address),
        }
    }

    fn key(&self, name: &str) -> Result<Option<Key>, OptionError> {
        let max = self.protocol.key_max();
        match self.get(name) {
            None => Ok(None),
            Some("flow") => Ok(Some(Key::Flow)),
            Some(text) => match number(text).filter(|key| *key <= max) {
                Some(key) => Ok(Some(Key::Value(key))),
                None => {
                    let why = format!("allowed is a number up to {max}, or \"flow\"");
                    Err(self.wrong(name, &why))
                }
            },
        }
    }

    fn port(&self) -> Result<u16, OptionError> {
        let Some(text) = self.get("dst_port") else {
            return Ok(self.protocol.port());
        };
        let port = number(text).and_then(|port| u16::try_from(port).ok());
        let port = port.filter(|port| *port > 0);
        port.ok_or_else(|| self.wrong("dst_port", "allowed is a UDP port from 1 to 65535"))
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, OptionError> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong(name, "allowed are true and false")),
        }
    }

    fn tos(&self) -> Result<Option<u8>, OptionError> {
        let why = "allowed is a number up to 252 that 4 divides, or \"inherit\"";
        match self.get("tos") {
            None => Ok(Some(0)),
            Some("inherit") => Ok(None),
            Some(text) => {
                let tos = number(text).and_then(|tos| u8::try_from(tos).ok());
                let tos = tos.filter(|tos| tos.is_multiple_of(4));
                tos.map(Some).ok_or_else(|| self.wrong("tos", why))
            }
        }
    }

    fn ttl(&self) -> Result<Option<u8>, OptionError> {
        let why = "allowed is a number from 1 to 255, or \"inherit\"";
        match self.get("ttl") {
            None => Ok(Some(TTL_DEFAULT)),
            Some("inherit") => Ok(None),
            Some(text) => {
                let ttl = number(text).and_then(|ttl| u8::try_from(ttl).ok());
                let ttl = ttl.filter(|ttl| *ttl > 0);
                ttl.map(Some).ok_or_else(|| self.wrong("ttl", why))
            }
        }
    }

    /// Looks at options that are there for compatibility: they must be such that they change
    /// nothing.
    fn accept(&self) -> Result<(), OptionError> {
        let mark = self.get("egress_pkt_mark");
        if mark.is_some_and(|mark| number(mark).is_none_or(|mark| mark > u32::MAX.into())) {
            return Err(self.wrong("egress_pkt_mark", "allowed is a number of 32 bits"));
        }
        match self.get("packet_type") {
            None | Some("legacy_l2") => Ok(()),
            Some(_) => Err(self.wrong("packet_type", "allowed is legacy_l2")),
        }
    }
}

/// A number, decimal or with 0x before hexadecimal digits.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Every option.
const NAMES: [&str; 13] = [
    "remote_ip",
    "local_ip",
    "key",
    "in_key",
    "out_key",
    "dst_port",
    "csum",
    "tos",
    "ttl",
    "df_default",
    "pmtud",
    "egress_pkt_mark",
    "packet_type",
];
/// As in Open vSwitch.
const TTL_DEFAULT: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: PortKind, options: &[(&str, &str)]) -> Result<Tunnel, String> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let options = options.iter().map(pair).collect();
        match tunnel(kind, &options) {
            Ok(tunnel) => Ok(tunnel.expect("a tunnel port")),
            Err(error) => Err(format!("{}: {}", error.option, error.why)),
        }
    }

    #[test]
    fn every_option_is_read() {
        let tunnel = parse(
            PortKind::Vxlan,
            &[
                ("remote_ip", "10.0.0.2"),
                ("local_ip", "10.0.0.1"),
                ("key", "0x10"),
                ("in_key", "flow"),
                ("dst_port", "4790"),
                ("csum", "true"),
                ("tos", "0xb8"),
                ("ttl", "9"),
                ("df_default", "false"),
                ("pmtud", "true"),
                ("egress_pkt_mark", "0"),
                ("packet_type", "legacy_l2"),
            ],
        );
        let expected = Tunnel {
            kind: Kind::Vxlan,
            remote: Some("10.0.0.2".parse().unwrap()),
            local: Local::Address("10.0.0.1".parse().unwrap()),
            in_key: Key::Flow,
            out_key: Key::Value(16),
            port: 4790,
            checksum: Some(true),
            tos: Some(0xb8),
            ttl: Some(9),
            dont_fragment: false,
            tells_too_big: true,
        };
        assert_eq!(tunnel, Ok(expected));
        let options = [("remote_ip", "flow"), ("local_ip", "flow"), ("key", "flow")];
        let inherit = [("tos", "inherit"), ("ttl", "inherit")];
        let tunnel = parse(PortKind::Geneve, &[&options[..], &inherit].concat()).unwrap();
        assert_eq!((tunnel.remote, tunnel.local), (None, Local::Flow));
        assert_eq!((tunnel.port, tunnel.tos, tunnel.ttl), (6081, None, None));
        let tunnel = parse(PortKind::Gre, &[("remote_ip", "fd00::1")]).unwrap();
        assert_eq!((tunnel.in_key, tunnel.port), (Key::None, 0));
        assert!(tunnel.dont_fragment && tunnel.checksum.is_none() && !tunnel.tells_too_big);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let remote = ("remote_ip", "10.0.0.2");
        for (kind, options, expected) in [
            (PortKind::Vxlan, vec![], "remote_ip: give an IPv4 or IPv6"),
            (
                PortKind::Vxlan,
                vec![("remote_ip", "host")],
                "remote_ip: allowed is an IPv4 or IPv6 address, or",
            ),
            (
                PortKind::Vxlan,
                vec![("remote_ip", "239.0.0.1")],
                "remote_ip: allowed is the address of one host",
            ),
            (
                PortKind::Ip6gre,
                vec![remote],
                "remote_ip: allowed is an IPv6 address",
            ),
            (
                PortKind::Vxlan,
                vec![remote, ("local_ip", "::1")],
                "local_ip: allowed is an address of remote_ip's family",
            ),
            (
                PortKind::Vxlan,
                vec![remote, ("local_ip", "flow")],
                "local_ip: \"flow\" is allowed with remote_ip=flow only",
            ),
            (
                PortKind::Vxlan,
                vec![remote, ("key", "0x1000000")],
                "key: allowed is a number up to 16777215",
            ),
            (
                PortKind::Gre,
                vec![remote, ("dst_port", "1")],
                "dst_port: unknown option of type gre; allowed are remote_ip, ",
            ),
            (
                PortKind::Vxlan,
                vec![remote, ("dst_port", "0")],
                "dst_port: allowed is a UDP port",
            ),
            (
                PortKind::Vxlan,
                vec![remote, ("csum", "1")],
                "csum: allowed are true and false",
            ),
            (
                PortKind::Vxlan,
                vec![remote, ("tos", "3")],
                "tos: allowed is a number up to 252",
            ),
            (
                PortKind::Vxlan,
                vec![remote, ("ttl", "0")],
                "ttl: allowed is a number from 1",
            ),
            (
                PortKind::Vxlan,
                vec![remote, ("packet_type", "ptap")],
                "packet_type: allowed is legacy_l2",
            ),
        ] {
            let error = parse(kind, &options).unwrap_err();
            assert!(error.starts_with(expected), "{error}\nis not\n{expected}");
        }
    }
}
