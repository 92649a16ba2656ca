//! Tracked connections: which ones, how many and for how long.

use std::net::IpAddr;

use clap::Subcommand;
use serde_json::{Map, Value, json};

/// Dump, flush, count and limit tracked connections.
#[derive(Debug, Subcommand)]
pub enum CtCommand {
    /// Print connections as ovs-appctl dpctl/dump-conntrack does
    #[command(after_help = FILTER_EXAMPLES)]
    Dump {
        /// What they have to have: zone=, proto=, src=, dst=, sport=, dport=, mark=VALUE[/MASK],
        /// and reply-src=, reply-dst=, reply-sport=, reply-dport=; several may be given with commas
        #[arg(value_name = "FILTER", value_parser = filters)]
        filters: Vec<Members>,
    },

    /// End connections
    #[command(after_help = FLUSH_EXAMPLES)]
    Flush {
        /// As of dump; all connections without any
        #[arg(value_name = "FILTER", value_parser = filters)]
        filters: Vec<Members>,
    },

    /// Show how many connections there are of what kind, and what was counted
    Stats,

    /// Show or change how many connections zones may have
    #[command(subcommand)]
    Limits(LimitsCommand),

    /// Change timeouts, and how strictly TCP is followed
    #[command(after_help = SET_EXAMPLES)]
    Set {
        /// tcp_loose=BOOLEAN, tcp_window_check=BOOLEAN, or a timeout in seconds such as
        /// udp_single=60; "default" for the usual one
        #[arg(value_name = "KEY=VALUE", value_parser = setting, required = true)]
        settings: Vec<(String, Value)>,

        /// The policy whose timeouts are meant, added if it is not there; else those of zones
        /// without one
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
    },

    /// Give a zone a policy of timeouts
    Zone {
        /// Zone
        zone: u16,

        /// Name of the policy, or none
        #[arg(long, value_name = "NAME")]
        policy: String,
    },
}

/// How many connections zones may have.
#[derive(Debug, Subcommand)]
pub enum LimitsCommand {
    /// Show limits, and how many there are
    Get {
        /// These zones only: zone=N[,N]...
        #[arg(value_name = "zone=N", value_parser = zones)]
        zones: Vec<Zones>,
    },

    /// Set limits; 0 for none
    #[command(after_help = LIMITS_EXAMPLES)]
    Set {
        /// default=N, for zones without a limit of their own, or zone=N,limit=N
        #[arg(value_name = "LIMIT", value_parser = limit, required = true)]
        limits: Vec<(Option<u16>, u32)>,
    },

    /// Take back what was set
    Del {
        /// default, or zone=N[,N]...
        #[arg(value_name = "LIMIT", value_parser = zones_or_default, required = true)]
        zones: Vec<Option<Zones>>,
    },
}

/// Members of a request's parameters.
pub type Members = Map<String, Value>;

/// Several zones in one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zones(pub Vec<u16>);

fn filters(text: &str) -> Result<Members, String> {
    let mut members = Members::new();
    for part in text.split(',') {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("\"{part}\" is not KEY=VALUE"))?;
        for (name, value) in filter(key, value)? {
            if members.insert(name.to_owned(), value).is_some() {
                return Err(format!("{key} is there twice"));
            }
        }
    }
    Ok(members)
}

fn filter(key: &str, value: &str) -> Result<Vec<(&'static str, Value)>, String> {
    let known = FILTERS.iter().find(|(known, _, _)| *known == key);
    let Some((_, name, kind)) = known else {
        let all = FILTERS.map(|(known, _, _)| known).join(", ");
        return Err(format!("{key}: unknown; allowed are {all}"));
    };
    let wrong = |what: &str| format!("{key}={value}: not {what}");
    let value = match kind {
        Kind::Address => json!(
            value
                .parse::<IpAddr>()
                .map_err(|_| wrong("an IP address"))?
        ),
        Kind::Number => json!(value.parse::<u16>().map_err(|_| wrong("0 to 65535"))?),
        Kind::Protocol => json!(protocol(value).ok_or_else(|| wrong("a protocol"))?),
        Kind::Mark => {
            let (mark, mask) = value.split_once('/').unwrap_or((value, "0xffffffff"));
            let read = |text| number(text).ok_or_else(|| wrong("VALUE or VALUE/MASK"));
            let mask = ("mark_mask", json!(read(mask)?));
            return Ok(vec![(*name, json!(read(mark)?)), mask]);
        }
    };
    Ok(vec![(*name, value)])
}

/// A number, in hexadecimal with 0x before it.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn protocol(text: &str) -> Option<u8> {
    let known = PROTOCOLS.iter().find(|(name, _)| *name == text);
    known
        .map(|(_, number)| *number)
        .or_else(|| text.parse().ok())
}

fn setting(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("\"{text}\" is not KEY=VALUE"))?;
    let value = match value {
        "true" => json!(true),
        "false" => json!(false),
        "default" => Value::Null,
        seconds => {
            let seconds = seconds.parse::<u32>();
            json!(seconds.map_err(|_| format!("{text}: not true, false, default or seconds"))?)
        }
    };
    Ok((key.to_owned(), value))
}

fn zones(text: &str) -> Result<Zones, String> {
    let list = text
        .strip_prefix("zone=")
        .ok_or_else(|| format!("\"{text}\" is not zone=N[,N]..."))?;
    let zones = list.split(',').map(zone);
    zones.collect::<Result<_, _>>().map(Zones)
}

fn zone(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| format!("{text}: not a zone from 0 to 65535"))
}

fn zones_or_default(text: &str) -> Result<Option<Zones>, String> {
    match text {
        "default" => Ok(None),
        _ => zones(text).map(Some),
    }
}

fn limit(text: &str) -> Result<(Option<u16>, u32), String> {
    let wrong = || format!("\"{text}\" is not default=N or zone=N,limit=N");
    if let Some(limit) = text.strip_prefix("default=") {
        return Ok((None, limit.parse().map_err(|_| wrong())?));
    }
    let rest = text.strip_prefix("zone=").ok_or_else(wrong)?;
    let (number, limit) = rest.split_once(",limit=").ok_or_else(wrong)?;
    Ok((Some(zone(number)?), limit.parse().map_err(|_| wrong())?))
}

/// What the value of a filter is.
#[derive(Clone, Copy)]
enum Kind {
    Address,
    Number,
    Protocol,
    Mark,
}

/// A filter as it is typed, what the daemon calls it, and what its value is.
const FILTERS: [(&str, &str, Kind); 11] = [
    ("zone", "zone", Kind::Number),
    ("proto", "protocol", Kind::Protocol),
    ("src", "src", Kind::Address),
    ("dst", "dst", Kind::Address),
    ("sport", "src_port", Kind::Number),
    ("dport", "dst_port", Kind::Number),
    ("reply-src", "reply_src", Kind::Address),
    ("reply-dst", "reply_dst", Kind::Address),
    ("reply-sport", "reply_src_port", Kind::Number),
    ("reply-dport", "reply_dst_port", Kind::Number),
    ("mark", "mark", Kind::Mark),
];

/// Protocols by name.
pub const PROTOCOLS: [(&str, u8); 5] = [
    ("tcp", 6),
    ("udp", 17),
    ("icmp", 1),
    ("icmpv6", 58),
    ("sctp", 132),
];

const FILTER_EXAMPLES: &str = "\
Examples:
  vsctl ct dump
  vsctl ct dump zone=5 proto=tcp,dport=443
  vsctl --json ct dump src=10.0.0.7";

const FLUSH_EXAMPLES: &str = "\
Examples:
  vsctl ct flush zone=5
  vsctl ct flush proto=tcp,src=10.0.0.7,sport=40000,dst=10.0.0.8,dport=22
  vsctl ct flush                   ends all connections";

const SET_EXAMPLES: &str = "\
Examples:
  vsctl ct set tcp_loose=false
  vsctl ct set tcp_established=3600 udp_single=default
  vsctl ct set tcp_established=600 --policy web && vsctl ct zone 5 --policy web";

const LIMITS_EXAMPLES: &str = "\
Examples:
  vsctl ct limits set default=100000 zone=5,limit=1000
  vsctl ct limits set zone=6,limit=0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read() {
        let members = filters("zone=5,proto=tcp,src=10.0.0.7,mark=0x10/0xf0").unwrap();
        let expected = json!({
            "zone": 5, "protocol": 6, "src": "10.0.0.7", "mark": 16, "mark_mask": 240,
        });
        assert_eq!(Value::Object(members), expected);
        for wrong in [
            "zone",
            "zone=65536",
            "src=x",
            "zone=1,zone=2",
            "port=1",
            "mark=1/x",
        ] {
            assert!(filters(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_are_read() {
        assert_eq!(limit("default=9"), Ok((None, 9)));
        assert_eq!(limit("zone=5,limit=0"), Ok((Some(5), 0)));
        assert!(limit("zone=5").is_err() && limit("zone=5,limit=-1").is_err());
        assert_eq!(zones("zone=1,2"), Ok(Zones(vec![1, 2])));
        assert_eq!(zones_or_default("default"), Ok(None));
        assert!(zones("1").is_err() && zones("zone=").is_err());
        assert_eq!(setting("a=true"), Ok(("a".into(), json!(true))));
        assert_eq!(setting("a=default"), Ok(("a".into(), Value::Null)));
        assert!(setting("a=b").is_err() && setting("a").is_err());
    }
}
