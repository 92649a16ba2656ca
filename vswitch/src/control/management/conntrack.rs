//! Methods about connection tracking: who is connected, how many, and how many may be.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use flowtable::conntrack::{Connection, Helper, Tally, Timeout, Tuple};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::config::Keys;
use super::super::conntrack::{Census, Ends, Filter, phase_name};
use super::params::{self, Params};
use super::{CallError, Service};
use crate::datapath::Held;

/// Which connections: what is left out may be anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    zone: Option<u16>,
    protocol: Option<u8>,
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
    src_port: Option<u16>,
    dst_port: Option<u16>,
    reply_src: Option<IpAddr>,
    reply_dst: Option<IpAddr>,
    reply_src_port: Option<u16>,
    reply_dst_port: Option<u16>,
    mark: Option<u32>,
    mark_mask: Option<u32>,
    from: Option<u32>,
}

/// `ct/set`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    tcp_loose: Option<bool>,
    tcp_window_check: Option<bool>,
    #[serde(default, deserialize_with = "params::there")]
    zone_limit: Option<Option<u32>>,
    policy: Option<String>,
    timeouts_s: Option<BTreeMap<String, Option<u32>>>,
}

/// `ct/zone/set`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneSet {
    zone: u16,
    #[serde(default, deserialize_with = "params::there")]
    limit: Option<Option<u32>>,
    #[serde(default, deserialize_with = "params::there")]
    policy: Option<Option<String>>,
}

impl Service {
    pub(super) async fn ct_dump(&self, params: Params) -> Result<Value, CallError> {
        let which: Which = params.read()?;
        let (mut from, filter) = (which.from.unwrap_or(0), which.filter());
        let mut shown = Vec::new();
        loop {
            let page = self.connections.page(from, &filter);
            shown.extend(page.connections.iter().map(connection_json));
            let next = page.next.filter(|_| shown.len() < REPLY_CONNECTIONS);
            let Some(next) = next else {
                return Ok(json!({ "connections": shown, "next": page.next }));
            };
            from = next;
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn ct_flush(&self, params: Params) -> Result<Value, CallError> {
        let which: Which = params.read()?;
        let flushed = self.connections.end_all(&which.filter()).await;
        Ok(json!({ "flushed": flushed }))
    }

    pub(super) async fn ct_stats(&self, params: Params) -> Result<Value, CallError> {
        params.read::<params::Nothing>()?;
        let mut census = Census::default();
        let mut from = Some(0);
        while let Some(place) = from {
            from = self.connections.count(place, &mut census);
            tokio::task::yield_now().await;
        }
        let table = self.connections.table();
        let protocols = census.protocols.iter();
        let protocols = protocols.map(|(proto, count)| (protocol_name(*proto), json!(count)));
        Ok(json!({
            "connections": census.protocols.values().sum::<u64>(),
            "taken": table.taken(),
            "capacity": table.capacity(),
            "memory_bytes": table.bytes(),
            "memory_used_bytes": table.bytes_used(),
            "expected": table.expectations(),
            "zones": census.zones.len(),
            "protocols": protocols.collect::<Map<_, _>>(),
            "tcp_states": census.tcp,
            "counters": tally_json(&self.connections.tally()),
            "fragments": fragments_json(self.connections.fragments()),
        }))
    }

    pub(super) async fn ct_limits(&self, params: Params) -> Result<Value, CallError> {
        params.read::<params::Nothing>()?;
        let configurator = self.configurator.lock().await;
        let conntrack = &configurator.config().conntrack;
        let table = self.connections.table();
        let default = table.default_limit().unwrap_or(0);
        let zone = |number: u16| {
            let said = conntrack.zones.get(&number);
            let count = table.count(number);
            (count > 0 || said.is_some()).then(|| {
                json!({
                    "zone": number,
                    "limit": table.limit(number).unwrap_or(0),
                    "own": said.is_some_and(|zone| zone.limit.is_some()),
                    "policy": said.and_then(|zone| zone.policy.clone()),
                    "connections": count,
                })
            })
        };
        let zones = (0..=u16::MAX).filter_map(zone);
        Ok(json!({ "default": default, "zones": zones.collect::<Vec<_>>() }))
    }

    pub(super) async fn ct_set(&self, params: Params) -> Result<Value, CallError> {
        let params: Set = params.read()?;
        let timeouts = timeouts(params.timeouts_s.unwrap_or_default())?;
        let mut keys = Keys::new();
        let mut say = |key, value: Option<bool>| {
            keys.extend(value.map(|value| (key, Some(value.into()))));
        };
        say("tcp_loose", params.tcp_loose);
        say("tcp_window_check", params.tcp_window_check);
        keys.extend(params.zone_limit.map(|limit| ("zone_limit", number(limit))));
        let mut configurator = self.configurator.lock().await;
        let change = configurator
            .change(|file| file.set_conntrack(keys, params.policy.as_deref(), timeouts));
        change.await?;
        Ok(json!({}))
    }

    pub(super) async fn ct_zone_set(&self, params: Params) -> Result<Value, CallError> {
        let params: ZoneSet = params.read()?;
        let mut keys = Keys::new();
        keys.extend(params.limit.map(|limit| ("limit", number(limit))));
        let policy = params.policy;
        keys.extend(policy.map(|policy| ("policy", policy.map(toml_edit::Value::from))));
        let mut configurator = self.configurator.lock().await;
        let change = configurator.change(|file| file.set_zone(params.zone, keys));
        change.await?;
        Ok(json!({}))
    }
}

impl Which {
    fn filter(&self) -> Filter {
        let mark = self
            .mark
            .map(|mark| (mark, self.mark_mask.unwrap_or(u32::MAX)));
        Filter {
            zone: self.zone,
            proto: self.protocol,
            original: Ends {
                src: self.src.map(address),
                dst: self.dst.map(address),
                src_port: self.src_port,
                dst_port: self.dst_port,
            },
            reply: Ends {
                src: self.reply_src.map(address),
                dst: self.reply_dst.map(address),
                src_port: self.reply_src_port,
                dst_port: self.reply_dst_port,
            },
            mark,
            label: None,
        }
    }
}

/// An address as tuples have it.
fn address(address: IpAddr) -> [u64; 2] {
    let bits = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    [(bits >> 64) as u64, bits as u64]
}

fn connection_json(connection: &Connection) -> Value {
    let [high, low] = connection.label;
    let helper = connection.helper.map(|helper| match helper {
        Helper::Ftp => "ftp",
        Helper::Tftp => "tftp",
    });
    json!({
        "protocol": connection.original.proto,
        "version": connection.original.version,
        "zone": connection.original.zone,
        "original": tuple_json(&connection.original),
        "reply": tuple_json(&connection.reply),
        "mark": connection.mark,
        "label": format!("{:#x}", u128::from(high) << 64 | u128::from(low)),
        "expires_s": connection.expires_s,
        "replied": connection.is_replied,
        "assured": connection.is_assured,
        "snat": connection.has_source_nat,
        "dnat": connection.has_destination_nat,
        "tcp_state": connection.tcp.map(phase_name),
        "helper": helper,
    })
}

/// Of ICMP queries the identifier stands for the source port, type and code for the other.
fn tuple_json(tuple: &Tuple) -> Value {
    let text = |[high, low]: [u64; 2]| {
        let address = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
        match tuple.version {
            4 => address.to_canonical().to_string(),
            _ => address.to_string(),
        }
    };
    json!({
        "src": text(tuple.src),
        "dst": text(tuple.dst),
        "src_port": tuple.src_port,
        "dst_port": tuple.dst_port,
    })
}

/// Names of counters, as they are told and as metrics have them.
fn tally_json(tally: &Tally) -> Value {
    json!({
        "hits": tally.hits,
        "misses": tally.misses,
        "invalid": tally.invalid,
        "created": tally.created,
        "expired": tally.expired,
        "evicted": tally.evicted,
        "replaced": tally.replaced,
        "refused_full": tally.refused_full,
        "refused_zone_limit": tally.refused_zone,
        "refused_no_tuple": tally.refused_tuple,
        "refused_busy": tally.refused_busy,
    })
}

fn fragments_json(fragments: &Held) -> Value {
    let tally = fragments.tally().unwrap_or_default();
    json!({
        "held": fragments.held(),
        "completed": tally.completed,
        "expired": tally.expired,
        "evicted": tally.evicted,
        "refused": tally.refused,
    })
}

fn protocol_name(proto: u8) -> String {
    match proto {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

/// Timeouts by their own names.
fn timeouts(given: BTreeMap<String, Option<u32>>) -> Result<Keys, CallError> {
    let known = |name: &str| Timeout::ALL.iter().find(|(_, known, _)| *known == name);
    let key = |(name, seconds): (String, Option<u32>)| match known(&name) {
        Some((_, known, _)) => Ok((*known, number(seconds))),
        None => {
            let all = Timeout::ALL.map(|(_, known, _)| known).join(", ");
            let message = format!("timeouts_s.{name}: no such timeout; allowed are {all}");
            Err(CallError::bad_params(message))
        }
    };
    given.into_iter().map(key).collect()
}

fn number(value: Option<u32>) -> Option<toml_edit::Value> {
    value.map(|value| i64::from(value).into())
}

/// Connections of one reply, about: half a megabyte of text.
const REPLY_CONNECTIONS: usize = 2000;
