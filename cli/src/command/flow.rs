//! `vsctl flow`.

use openflow::text::{Ports, flow};
use openflow::{
    FlowFlags, FlowMod, FlowModCommand, FlowStats, FlowStatsRequest, Message, MultipartReply,
    MultipartRequest,
};
use serde_json::{Value, json};

use super::Daemon;
use super::changes::{self, Syntax};
use crate::arguments::FlowCommand;
use crate::arguments::openflow::Given;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

pub fn run(
    daemon: &Daemon<'_>,
    command: &FlowCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        FlowCommand::Add(given) => change(daemon, given, FlowModCommand::Add, output),
        FlowCommand::Mod {
            strict: false,
            given,
        } => change(daemon, given, FlowModCommand::Modify, output),
        FlowCommand::Mod {
            strict: true,
            given,
        } => change(daemon, given, FlowModCommand::ModifyStrict, output),
        FlowCommand::Del {
            strict: false,
            given,
        } => change(daemon, given, FlowModCommand::Delete, output),
        FlowCommand::Del {
            strict: true,
            given,
        } => change(daemon, given, FlowModCommand::DeleteStrict, output),
        FlowCommand::Dump {
            bridge,
            flow,
            names,
            no_stats,
        } => {
            let filter = flow.as_deref().unwrap_or("");
            dump(daemon, bridge, filter, *names, !no_stats, output)
        }
    }
}

fn change(
    daemon: &Daemon<'_>,
    given: &Given,
    command: FlowModCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let message = |flow: FlowMod| Ok(Message::FlowMod(Box::new(flow)));
    let word = |text: &str, ports: &Ports| message(flow::parse_with(text, command, ports)?);
    let line = |text: &str, ports: &Ports| {
        let flow = flow::parse_line(text, command, ports)?;
        flow.map(message).transpose()
    };
    let empty_is_all = command == FlowModCommand::Delete;
    let syntax = Syntax {
        noun: "flow",
        word: &word,
        line: &line,
        empty_is_all,
    };
    changes::run(daemon, given, &syntax, output)
}

fn dump(
    daemon: &Daemon<'_>,
    bridge: &str,
    filter: &str,
    names: bool,
    full: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut session = daemon.session(bridge)?;
    let ports = session.ports()?;
    // What a delete would select is what a dump shows.
    let filter = flow::parse_with(filter, FlowModCommand::Delete, &ports)?;
    let request = MultipartRequest::Flow(Box::new(FlowStatsRequest {
        table: filter.table,
        out_port: filter.out_port,
        out_group: filter.out_group,
        cookie: filter.cookie,
        cookie_mask: filter.cookie_mask,
        matching: filter.matching,
    }));
    let shown = if names { ports } else { session.numbers() };
    if output.json {
        return documents(&mut session, bridge, request, full, &shown, output);
    }
    let mut line = String::new();
    session.query(request, |reply| {
        if let MultipartReply::Flow(list) = reply {
            for flow in list {
                line.clear();
                flow::write_stats(&mut line, &flow, full, &shown);
                writeln!(output.out, " {line}")?;
            }
        }
        Ok(())
    })
}

/// One document, flow by flow as they come: there may be a million.
fn documents(
    session: &mut Session,
    bridge: &str,
    request: MultipartRequest,
    full: bool,
    ports: &Ports,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    write!(output.out, "{{\"bridge\": {}, \"flows\": [", json!(bridge))?;
    let mut separator = "\n";
    session.query(request, |reply| {
        if let MultipartReply::Flow(list) = reply {
            for flow in list {
                write!(output.out, "{separator}  {}", document(&flow, full, ports))?;
                separator = ",\n";
            }
        }
        Ok(())
    })?;
    Ok(writeln!(output.out, "\n]}}")?)
}

fn document(flow: &FlowStats, full: bool, ports: &Ports) -> Value {
    let mut value = json!({
        "table": flow.table.0,
        "priority": flow.priority,
        "cookie": format!("{:#x}", flow.cookie),
        "idle_timeout_s": flow.idle_timeout_s,
        "hard_timeout_s": flow.hard_timeout_s,
        "flags": flags(flow.flags),
        "match": flow::format_match(&flow.matching, ports),
        "actions": flow::format_instructions(&flow.instructions, ports),
    });
    if full {
        value["duration_s"] = json!(flow.duration.as_secs_f64());
        value["packets"] = count(flow.packets);
        value["bytes"] = count(flow.bytes);
    }
    value
}

/// A counter; all ones stand for one that is not kept.
fn count(count: u64) -> Value {
    match count {
        u64::MAX => Value::Null,
        count => json!(count),
    }
}

fn flags(flags: FlowFlags) -> Vec<&'static str> {
    let words = [
        ("send_flow_rem", flags.send_flow_removed),
        ("check_overlap", flags.check_overlap),
        ("reset_counts", flags.reset_counts),
        ("no_packet_counts", flags.no_packet_counts),
        ("no_byte_counts", flags.no_byte_counts),
    ];
    words
        .iter()
        .filter(|(_, set)| *set)
        .map(|(word, _)| *word)
        .collect()
}
