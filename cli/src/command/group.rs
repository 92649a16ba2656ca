//! `vsctl group`.

use openflow::text::{Ports, group};
use openflow::{
    Bucket, GroupDesc, GroupId, GroupMod, GroupModCommand, GroupStats, Message, MultipartReply,
    MultipartRequest, OfPort,
};
use serde_json::{Value, json};

use super::Daemon;
use super::changes::{self, Syntax};
use super::listing::{self, Listing};
use crate::arguments::GroupCommand;
use crate::arguments::openflow::Given;
use crate::failure::Failure;
use crate::output::Output;

pub fn run(
    daemon: &Daemon<'_>,
    command: &GroupCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        GroupCommand::Add(given) => change(daemon, given, GroupModCommand::Add, output),
        GroupCommand::Mod(given) => change(daemon, given, GroupModCommand::Modify, output),
        GroupCommand::Del(given) => change(daemon, given, GroupModCommand::Delete, output),
        GroupCommand::Dump {
            bridge,
            stats: false,
            names,
        } => dump(daemon, bridge, *names, output),
        GroupCommand::Dump {
            bridge,
            stats: true,
            ..
        } => dump_stats(daemon, bridge, output),
    }
}

fn change(
    daemon: &Daemon<'_>,
    given: &Given,
    command: GroupModCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let message = |group: GroupMod| Ok(Message::GroupMod(group));
    let word = |text: &str, ports: &Ports| message(group::parse_with(text, command, ports)?);
    let line = |text: &str, ports: &Ports| {
        let group = group::parse_line(text, command, ports)?;
        group.map(message).transpose()
    };
    let empty_is_all = command == GroupModCommand::Delete;
    let syntax = Syntax {
        noun: "group",
        word: &word,
        line: &line,
        empty_is_all,
    };
    changes::run(daemon, given, &syntax, output)
}

fn dump(
    daemon: &Daemon<'_>,
    bridge: &str,
    names: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut session = daemon.session(bridge)?;
    let ports = if names {
        session.ports()?
    } else {
        session.numbers()
    };
    let listing = Listing {
        bridge,
        noun: "groups",
        request: MultipartRequest::GroupDesc,
        entries: |reply| match reply {
            MultipartReply::GroupDesc(list) => Some(list),
            _ => None,
        },
        document: &|group| document(group, &ports),
        line: &|line, group| {
            line.push(' ');
            group::write_description(line, group, &ports);
        },
    };
    listing::show(session, listing, output)
}

fn dump_stats(daemon: &Daemon<'_>, bridge: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    let listing = Listing {
        bridge,
        noun: "groups",
        request: MultipartRequest::Group(GroupId::ALL),
        entries: |reply| match reply {
            MultipartReply::Group(list) => Some(list),
            _ => None,
        },
        document: &stats_document,
        line: &|line, group| {
            line.push(' ');
            group::write_stats(line, group);
        },
    };
    listing::show(daemon.session(bridge)?, listing, output)
}

fn document(group: &GroupDesc, ports: &Ports) -> Value {
    let bucket = |bucket: &Bucket| {
        let port = Some(bucket.watch_port).filter(|port| *port != OfPort::ANY);
        let group = Some(bucket.watch_group).filter(|group| *group != GroupId::ANY);
        json!({
            "weight": bucket.weight,
            "watch_port": port.map(|port| port.0),
            "watch_group": group.map(|group| group.0),
            "actions": group::format_actions(&bucket.actions, ports),
        })
    };
    json!({
        "group_id": group.group.0,
        "type": group::kind_name(group.kind),
        "buckets": group.buckets.iter().map(bucket).collect::<Vec<_>>(),
    })
}

fn stats_document(group: &GroupStats) -> Value {
    let bucket =
        |bucket: &openflow::BucketStats| json!({"packets": bucket.packets, "bytes": bucket.bytes});
    json!({
        "group_id": group.group.0,
        "duration_s": group.duration.as_secs_f64(),
        "references": group.references,
        "packets": group.packets,
        "bytes": group.bytes,
        "buckets": group.buckets.iter().map(bucket).collect::<Vec<_>>(),
    })
}
