//! `[conntrack]`: how many connections there may be, for how long, and how strictly they are
//! followed (docs/configuration.md).

use std::collections::BTreeMap;

use flowtable::conntrack::{
    CONNECTIONS_MAX, CONNECTIONS_MIN, POLICIES_MAX, TIMEOUT_MAX_S, Timeout,
};

use super::reader::{ConfigError, Section};

/// `[conntrack]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// Connections at most.
    pub connections: u32,
    /// Connections whose start was not seen are tracked.
    pub tcp_loose: bool,
    /// Sequence numbers have to be within the windows.
    pub tcp_window_check: bool,
    /// Connections of each zone that says nothing of its own; nothing for no limit.
    pub zone_limit: Option<u32>,
    /// Timeouts of zones without a policy that are not the usual ones.
    pub timeouts: Timeouts,
    /// Timeout policies in order of the file.
    pub policies: Vec<Policy>,
    /// What is said of zones.
    pub zones: BTreeMap<u16, Zone>,
}

/// Seconds by what [`Timeout::ALL`] calls a state; the others are the usual ones.
pub type Timeouts = BTreeMap<&'static str, u32>;

/// `[[conntrack.policy]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What zones call it.
    pub name: String,
    /// Timeouts.
    pub timeouts: Timeouts,
}

/// `[[conntrack.zone]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// Connections at most, `Some(None)` for no limit; that of all zones if nothing is said.
    pub limit: Option<Option<u32>>,
    /// The policy of its timeouts.
    pub policy: Option<String>,
}

impl Default for Conntrack {
    fn default() -> Conntrack {
        Conntrack {
            connections: CONNECTIONS_DEFAULT,
            tcp_loose: true,
            tcp_window_check: true,
            zone_limit: None,
            timeouts: Timeouts::new(),
            policies: Vec::new(),
            zones: BTreeMap::new(),
        }
    }
}

/// Reads the section.
pub(super) fn read(section: Option<Section<'_>>) -> Result<Conntrack, ConfigError> {
    let mut conntrack = Conntrack::default();
    let Some(mut section) = section else {
        return Ok(conntrack);
    };
    let range = CONNECTIONS_MIN as i64..CONNECTIONS_MAX as i64 + 1;
    if let Some(connections) = section.number("connections", range, "connections")? {
        conntrack.connections = connections as u32;
    }
    if let Some(loose) = section.boolean("tcp_loose")? {
        conntrack.tcp_loose = loose;
    }
    if let Some(check) = section.boolean("tcp_window_check")? {
        conntrack.tcp_window_check = check;
    }
    conntrack.zone_limit = limit(&mut section, "zone_limit")?.flatten();
    conntrack.timeouts = timeouts(&mut section, "conntrack.timeouts_s")?;
    for section in section.sections("policy", "conntrack.policy")? {
        let policy = policy(section, &conntrack.policies)?;
        conntrack.policies.push(policy);
    }
    for section in section.sections("zone", "conntrack.zone")? {
        let (number, zone) = zone(section, &conntrack)?;
        conntrack.zones.insert(number, zone);
    }
    section.finish("conntrack")?;
    Ok(conntrack)
}

/// A limit; 0 is none, as in Open vSwitch.
fn limit(section: &mut Section<'_>, key: &'static str) -> Result<Option<Option<u32>>, ConfigError> {
    let limit = section.number(key, 0..CONNECTIONS_MAX as i64 + 1, "connections")?;
    Ok(limit.map(|limit| (limit > 0).then_some(limit as u32)))
}

fn timeouts(section: &mut Section<'_>, name: &str) -> Result<Timeouts, ConfigError> {
    let Some(mut section) = section.section("timeouts_s", name)? else {
        return Ok(Timeouts::new());
    };
    let mut timeouts = Timeouts::new();
    for (_, name, _) in Timeout::ALL {
        let range = 1..i64::from(TIMEOUT_MAX_S) + 1;
        if let Some(seconds) = section.number(name, range, "seconds")? {
            timeouts.insert(name, seconds as u32);
        }
    }
    section.finish(name)?;
    Ok(timeouts)
}

fn policy(mut section: Section<'_>, others: &[Policy]) -> Result<Policy, ConfigError> {
    let name = section.short_string("name", POLICY_NAME_BYTES_MAX)?;
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| section.missing("name", "what zones call it"))?;
    if others.iter().any(|other| other.name == name) {
        return Err(section.wrong("name", &format!("\"{name}\""), "is there twice"));
    }
    // One number is that of zones without a policy.
    if others.len() + 1 >= POLICIES_MAX {
        let why = format!("at most {} policies are allowed", POLICIES_MAX - 1);
        return Err(section.wrong("name", &format!("\"{name}\""), &why));
    }
    let owner = format!("policy \"{name}\"");
    section.rename(owner.clone());
    let timeouts = timeouts(&mut section, &format!("{owner}.timeouts_s"))?;
    section.finish(&owner)?;
    Ok(Policy { name, timeouts })
}

fn zone(mut section: Section<'_>, conntrack: &Conntrack) -> Result<(u16, Zone), ConfigError> {
    let number = section.number("zone", 0..i64::from(u16::MAX) + 1, "a zone")?;
    let number = number.ok_or_else(|| section.missing("zone", "its number"))? as u16;
    if conntrack.zones.contains_key(&number) {
        return Err(section.wrong("zone", &number.to_string(), "is there twice"));
    }
    let limit = limit(&mut section, "limit")?;
    let policy = section.string("policy")?.map(str::to_owned);
    if let Some(name) = &policy
        && !conntrack.policies.iter().any(|policy| policy.name == *name)
    {
        let why = "no such policy: give one of [[conntrack.policy]]";
        return Err(section.wrong("policy", &format!("\"{name}\""), why));
    }
    section.finish(&format!("zone {number}"))?;
    Ok((number, Zone { limit, policy }))
}

/// As many as a large node has, at 223 bytes each, taken at the start.
const CONNECTIONS_DEFAULT: u32 = 2_000_000;
/// Enough for any name that a person types.
const POLICY_NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::control::config::Config;

    fn read(text: &str) -> Result<Conntrack, String> {
        let config = Config::parse(text, Path::new("f"), None);
        config
            .map(|config| config.conntrack)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn everything_has_a_default_and_can_be_said() {
        assert_eq!(read(""), Ok(Conntrack::default()));
        let text = "[conntrack]\nconnections = 5000\ntcp_loose = false\n\
                    tcp_window_check = false\nzone_limit = 9\n\
                    timeouts_s = { udp_single = 5 }\n\
                    [[conntrack.policy]]\nname = 'short'\n\
                    timeouts_s = { tcp_established = 600, icmp_first = 1 }\n\
                    [[conntrack.zone]]\nzone = 7\nlimit = 0\npolicy = 'short'\n\
                    [[conntrack.zone]]\nzone = 8\nlimit = 3\n";
        let zone = |limit, policy: Option<&str>| Zone {
            limit: Some(limit),
            policy: policy.map(str::to_owned),
        };
        let expected = Conntrack {
            connections: 5000,
            tcp_loose: false,
            tcp_window_check: false,
            zone_limit: Some(9),
            timeouts: Timeouts::from([("udp_single", 5)]),
            policies: vec![Policy {
                name: "short".to_owned(),
                timeouts: Timeouts::from([("tcp_established", 600), ("icmp_first", 1)]),
            }],
            zones: BTreeMap::from([(7, zone(None, Some("short"))), (8, zone(Some(3), None))]),
        };
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let cases = [
            (
                "connections = 1",
                "f:2: conntrack.connections = 1: allowed is",
            ),
            ("tcp_lose = true", "f:2: conntrack.tcp_lose: unknown key"),
            (
                "timeouts_s = { udp = 3 }",
                "conntrack.timeouts_s.udp: unknown key",
            ),
            (
                "timeouts_s = { udp_single = 0 }",
                "udp_single = 0: allowed is seconds from 1",
            ),
            (
                "policy = [{ timeouts_s = {} }]",
                "conntrack.policy.name is missing",
            ),
            (
                "policy = [{ name = 'a' }, { name = 'a' }]",
                "name = \"a\": is there twice",
            ),
            ("zone = [{ limit = 3 }]", "conntrack.zone.zone is missing"),
            (
                "zone = [{ zone = 65536 }]",
                "allowed is a zone from 0 to 65535",
            ),
            (
                "zone = [{ zone = 1 }, { zone = 1 }]",
                "zone = 1: is there twice",
            ),
            (
                "zone = [{ zone = 1, policy = 'b' }]",
                "policy = \"b\": no such policy",
            ),
        ];
        for (line, message) in cases {
            let told = read(&format!("[conntrack]\n{line}\n")).unwrap_err();
            assert!(told.contains(message), "{told}");
        }
    }
}
