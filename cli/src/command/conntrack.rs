//! `vsctl ct`: tracked connections.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::Daemon;
use crate::arguments::{CtCommand, LimitsCommand, Members, PROTOCOLS};
use crate::failure::Failure;
use crate::management::reply::{Ct, CtLimits, CtPage, CtStats, CtTuple, Flushed};
use crate::output::Output;
use crate::table::{Side, Table};

pub fn run(
    daemon: &Daemon<'_>,
    command: &CtCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        CtCommand::Dump { filters } => dump(daemon, united(filters)?, output),
        CtCommand::Flush { filters } => {
            let params = Value::Object(united(filters)?);
            let (value, reply) = daemon.management()?.query::<Flushed>("ct/flush", params)?;
            output.answer(&value, |out| writeln!(out, "{} ended", reply.flushed))
        }
        CtCommand::Stats => {
            let (value, reply) = daemon
                .management()?
                .query::<CtStats>("ct/stats", Value::Null)?;
            output.answer(&value, |out| print_stats(out, &reply))
        }
        CtCommand::Limits(command) => limits(daemon, command, output),
        CtCommand::Set { settings, policy } => {
            daemon.change("ct/set", settings_json(settings, policy.as_deref()), output)
        }
        CtCommand::Zone { zone, policy } => {
            let policy = Some(policy).filter(|policy| *policy != "none");
            let params = json!({ "zone": zone, "policy": policy });
            daemon.change("ct/zone/set", params, output)
        }
    }
}

/// All filters in one.
fn united(filters: &[Members]) -> Result<Members, Failure> {
    let mut all = Members::new();
    for (key, value) in filters.iter().flatten() {
        if all.insert(key.clone(), value.clone()).is_some() {
            return Err(Failure::Usage(format!("{key} is there twice")));
        }
    }
    Ok(all)
}

fn dump(daemon: &Daemon<'_>, filter: Members, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut management = daemon.management()?;
    let (mut values, mut lines) = (Vec::new(), Vec::new());
    let mut next = Some(0);
    while let Some(from) = next {
        let mut params = filter.clone();
        params.insert("from".to_owned(), json!(from));
        let (mut value, page) = management.query::<CtPage>("ct/dump", Value::Object(params))?;
        if let Some(Value::Array(page)) = value.get_mut("connections").map(Value::take) {
            values.extend(page);
        }
        lines.extend(page.connections.iter().map(line));
        next = page.next;
    }
    let whole = json!({ "connections": values });
    output.answer(&whole, |out| {
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    })
}

/// A connection as `ovs-appctl dpctl/dump-conntrack` prints it.
fn line(connection: &Ct) -> String {
    let known = PROTOCOLS
        .iter()
        .find(|(_, number)| *number == connection.protocol);
    let name = known.map_or_else(
        || connection.protocol.to_string(),
        |(name, _)| (*name).to_owned(),
    );
    let tuple = |tuple| tuple_text(connection.protocol, tuple);
    let mut line = format!(
        "{name},orig=({}),reply=({})",
        tuple(&connection.original),
        tuple(&connection.reply)
    );
    let mut add = |key: &str, value: String| line += &format!(",{key}={value}");
    if connection.zone != 0 {
        add("zone", connection.zone.to_string());
    }
    if connection.mark != 0 {
        add("mark", connection.mark.to_string());
    }
    if connection.label != "0x0" {
        add("labels", connection.label.clone());
    }
    if let Some(state) = &connection.tcp_state {
        add("protoinfo", format!("(state={state})"));
    }
    if let Some(helper) = &connection.helper {
        add("helper", helper.clone());
    }
    line
}

fn tuple_text(protocol: u8, tuple: &CtTuple) -> String {
    let CtTuple {
        src,
        dst,
        src_port,
        dst_port,
    } = tuple;
    let ends = format!("src={src},dst={dst}");
    match protocol {
        1 | 58 => format!(
            "{ends},id={src_port},type={},code={}",
            dst_port >> 8,
            dst_port & 0xff
        ),
        6 | 17 | 132 => format!("{ends},sport={src_port},dport={dst_port}"),
        _ => ends,
    }
}

fn print_stats(out: &mut dyn Write, stats: &CtStats) -> io::Result<()> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    writeln!(
        out,
        "connections: {} of {} ({:.0} MiB, {:.0} MiB when full), in {} zones; {} expected",
        stats.connections,
        stats.capacity,
        mib(stats.memory_used_bytes),
        mib(stats.memory_bytes),
        stats.zones,
        stats.expected
    )?;
    for (title, counts) in [
        ("protocols", &stats.protocols),
        ("tcp states", &stats.tcp_states),
        ("counted", &stats.counters),
        ("fragments", &stats.fragments),
    ] {
        let counts = counts.iter().map(|(name, count)| format!("{name} {count}"));
        writeln!(out, "{title}: {}", counts.collect::<Vec<_>>().join(", "))?;
    }
    Ok(())
}

fn limits(
    daemon: &Daemon<'_>,
    command: &LimitsCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut management = daemon.management()?;
    let changes: Vec<_> = match command {
        LimitsCommand::Get { zones } => {
            let zones: Vec<u16> = zones.iter().flat_map(|zones| zones.0.clone()).collect();
            let (value, reply) = management.query::<CtLimits>("ct/limits", Value::Null)?;
            return output.answer(&value, |out| print_limits(out, &reply, &zones));
        }
        LimitsCommand::Set { limits } => limits
            .iter()
            .map(|(zone, limit)| change(*zone, Some(*limit)))
            .collect(),
        LimitsCommand::Del { zones } => zones
            .iter()
            .flat_map(|zones| match zones {
                None => vec![change(None, None)],
                Some(zones) => zones
                    .0
                    .iter()
                    .map(|zone| change(Some(*zone), None))
                    .collect(),
            })
            .collect(),
    };
    for (method, params) in changes {
        management.call(method, params)?;
    }
    output.answer(&json!({}), |_| Ok(()))
}

/// The call that sets a limit or takes it back.
fn change(zone: Option<u16>, limit: Option<u32>) -> (&'static str, Value) {
    match zone {
        None => ("ct/set", json!({ "zone_limit": limit })),
        Some(zone) => ("ct/zone/set", json!({ "zone": zone, "limit": limit })),
    }
}

fn print_limits(out: &mut dyn Write, limits: &CtLimits, only: &[u16]) -> io::Result<()> {
    writeln!(out, "default limit={}", limits.default)?;
    let mut table = Table::new(&[
        ("ZONE", Side::Right),
        ("LIMIT", Side::Right),
        ("CONNECTIONS", Side::Right),
        ("POLICY", Side::Left),
    ]);
    for zone in &limits.zones {
        if !only.is_empty() && !only.contains(&zone.zone) {
            continue;
        }
        let limit = match zone.own {
            true => zone.limit.to_string(),
            false => "default".to_owned(),
        };
        let policy = zone.policy.clone().unwrap_or_else(|| "-".to_owned());
        table.row([
            zone.zone.to_string(),
            limit,
            zone.connections.to_string(),
            policy,
        ]);
    }
    table.print(out, "")
}

/// What is no switch is a timeout.
fn settings_json(settings: &[(String, Value)], policy: Option<&str>) -> Value {
    let mut params = Map::new();
    let mut timeouts = Map::new();
    for (key, value) in settings {
        match key.as_str() {
            "tcp_loose" | "tcp_window_check" => params.insert(key.clone(), value.clone()),
            _ => timeouts.insert(key.clone(), value.clone()),
        };
    }
    if !timeouts.is_empty() {
        params.insert("timeouts_s".to_owned(), Value::Object(timeouts));
    }
    if let Some(policy) = policy {
        params.insert("policy".to_owned(), json!(policy));
    }
    Value::Object(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(protocol: u8, ports: (u16, u16)) -> Ct {
        let tuple = |src: &str, dst: &str, (src_port, dst_port)| CtTuple {
            src: src.to_owned(),
            dst: dst.to_owned(),
            src_port,
            dst_port,
        };
        Ct {
            protocol,
            zone: 0,
            original: tuple("10.0.0.1", "10.0.0.2", ports),
            reply: tuple("10.0.0.2", "10.0.0.1", (ports.1, ports.0)),
            mark: 0,
            label: "0x0".to_owned(),
            tcp_state: None,
            helper: None,
        }
    }

    #[test]
    fn connections_read_as_open_vswitch_prints_them() {
        let tcp = Ct {
            zone: 5,
            mark: 3,
            label: "0xff".to_owned(),
            tcp_state: Some("ESTABLISHED".to_owned()),
            ..connection(6, (1000, 22))
        };
        assert_eq!(
            line(&tcp),
            "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1000,dport=22),\
             reply=(src=10.0.0.2,dst=10.0.0.1,sport=22,dport=1000),\
             zone=5,mark=3,labels=0xff,protoinfo=(state=ESTABLISHED)"
        );
        let ping = line(&connection(1, (7, 8 << 8)));
        assert!(ping.starts_with("icmp,orig=(src=10.0.0.1,dst=10.0.0.2,id=7,type=8,code=0),"));
        let other = line(&connection(47, (0, 0)));
        assert!(other.starts_with("47,orig=(src=10.0.0.1,dst=10.0.0.2),reply"));
    }
}
