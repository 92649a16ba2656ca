//! Flow entries and modifications: `priority=10,tcp,nw_dst=10.0.0.1 actions=output:2`.
//!
//! [`parse`] and [`parse_line`] read what an operator types, [`format()`] and [`write_stats`] print
//! in the form of `ovs-ofctl dump-flows`. A line of a dump can be read again: its statistics are
//! passed over.

use flowtable::Match;

use super::matching::Reader;
use super::token::{Token, Tokens, split_line};
use super::value::{number, number_or_minus_one};
use super::{Ports, SyntaxError, instruction};
use crate::{FlowFlags, FlowMod, FlowModCommand, GroupId, OfPort, TableId};

mod writer;

pub use writer::{format, format_instructions, format_match, write_modification, write_stats};

/// Reads a flow, ports by number or reserved name only.
pub fn parse(text: &str, command: FlowModCommand) -> Result<FlowMod, SyntaxError> {
    parse_with(text, command, &Ports::default())
}

/// Reads a flow.
pub fn parse_with(
    text: &str,
    command: FlowModCommand,
    ports: &Ports,
) -> Result<FlowMod, SyntaxError> {
    let mut reader = Reader::new(ports);
    let mut flow = blank(command);
    let mut tokens = Tokens::new(text);
    let mut actions = None;
    while let Some(token) = tokens.next() {
        if matches!(token.key, "actions" | "action") {
            actions = Some((token, tokens));
            break;
        }
        if !attribute(&token, &mut flow, ports)? && !reader.take(token)? {
            return Err(unknown(&token, command));
        }
    }
    flow.matching = reader.finish()?;
    match actions {
        Some((token, _)) if deletes(command) => {
            Err(SyntaxError::new(token.key, "a delete takes no actions", ""))
        }
        None if !deletes(command) => Err(SyntaxError::new(
            "",
            "no actions",
            "actions=... at the end, or actions=drop",
        )),
        Some((token, rest)) => {
            let tokens = Tokens::new(token.argument()).chain(rest);
            flow.instructions = instruction::parse(tokens, &flow.matching, ports)?;
            Ok(flow)
        }
        None => Ok(flow),
    }
}

/// Reads a line of a file of flows: a flow, perhaps after one of the words `add`, `modify`,
/// `modify_strict`, `delete`, `delete_strict`, which stand for other commands than `command`.
/// `None` for an empty line; `#` starts a comment.
pub fn parse_line(
    line: &str,
    command: FlowModCommand,
    ports: &Ports,
) -> Result<Option<FlowMod>, SyntaxError> {
    let Some(line) = split_line(line) else {
        return Ok(None);
    };
    let command = match line.word {
        "add" => FlowModCommand::Add,
        "modify" => FlowModCommand::Modify,
        "modify_strict" => FlowModCommand::ModifyStrict,
        "delete" => FlowModCommand::Delete,
        "delete_strict" => FlowModCommand::DeleteStrict,
        _ => return parse_with(line.whole, command, ports).map(Some),
    };
    parse_with(line.rest, command, ports).map(Some)
}

/// Reads a match alone, such as the headers of a packet to trace.
pub fn parse_match(text: &str, ports: &Ports) -> Result<Match, SyntaxError> {
    let mut reader = Reader::new(ports);
    for token in Tokens::new(text) {
        if !reader.take(token)? {
            let words = super::name::words();
            return Err(super::name::unknown(
                token.text, token.key, "field", words, "",
            ));
        }
    }
    reader.finish()
}

fn blank(command: FlowModCommand) -> FlowMod {
    FlowMod {
        command,
        cookie: 0,
        cookie_mask: 0,
        table: default_table(command),
        idle_timeout_s: 0,
        hard_timeout_s: 0,
        priority: PRIORITY_DEFAULT,
        buffer_id: None,
        out_port: OfPort::ANY,
        out_group: GroupId::ANY,
        flags: FlowFlags::default(),
        matching: Match::default(),
        instructions: crate::Instructions::default(),
    }
}

fn default_table(command: FlowModCommand) -> TableId {
    match deletes(command) {
        true => TableId::ALL,
        false => TableId(0),
    }
}

fn deletes(command: FlowModCommand) -> bool {
    matches!(
        command,
        FlowModCommand::Delete | FlowModCommand::DeleteStrict
    )
}

/// Takes `token` if it is no part of the match but belongs to a flow.
fn attribute(token: &Token<'_>, flow: &mut FlowMod, ports: &Ports) -> Result<bool, SyntaxError> {
    let deleting = deletes(flow.command);
    let takes_priority = flow.command != FlowModCommand::Delete;
    let text = token.argument();
    let small = |max: u16| number(text, max.into()).map(|value| value as u16);
    let taken = match token.key {
        "table" => table(text).map(|table| {
            flow.table = table.unwrap_or(default_table(flow.command));
        }),
        "cookie" => cookie(text, flow),
        "priority" if takes_priority => small(u16::MAX).map(|p| flow.priority = p),
        "idle_timeout" if !deleting => small(u16::MAX).map(|s| flow.idle_timeout_s = s),
        "hard_timeout" if !deleting => small(u16::MAX).map(|s| flow.hard_timeout_s = s),
        "out_port" if deleting => ports.parse(text).map(|port| flow.out_port = port),
        "out_group" if deleting => number(text, GroupId::ANY.0.into()).map(|group| {
            flow.out_group = GroupId(group as u32);
        }),
        "duration" | "n_packets" | "n_bytes" | "idle_age" | "hard_age" => Ok(()),
        word => match FLAGS.iter().find(|(flag, _)| *flag == word) {
            Some((_, flag)) if !deleting && token.value.is_none() => {
                *flag(&mut flow.flags) = true;
                Ok(())
            }
            _ => return Ok(false),
        },
    };
    taken.map(|()| true).map_err(|e| e.within(token.text))
}

/// A table; `None` for all of them.
fn table(text: &str) -> Result<Option<TableId>, SyntaxError> {
    if text.eq_ignore_ascii_case("all") || text == "255" {
        return Ok(None);
    }
    let table = number(text, TableId::LAST.0.into())?;
    Ok(Some(TableId(table as u8)))
}

fn cookie(text: &str, flow: &mut FlowMod) -> Result<(), SyntaxError> {
    let adding = flow.command == FlowModCommand::Add;
    match text.split_once('/') {
        Some(_) if adding => Err(SyntaxError::new(
            text,
            "a new flow has no cookie mask",
            "cookie=N",
        )),
        Some((cookie, mask)) => {
            flow.cookie_mask = number_or_minus_one(mask)?;
            flow.cookie = number_or_minus_one(cookie)? & flow.cookie_mask;
            Ok(())
        }
        None if deletes(flow.command) => {
            let allowed = format!("cookie={text}/-1 for the flows with this cookie");
            Err(SyntaxError::new(
                text,
                "a delete selects by cookie and mask",
                allowed,
            ))
        }
        None => {
            let cookie = number_or_minus_one(text)?;
            // OpenFlow 1.3 cannot change the cookie of a flow that is there.
            if adding {
                flow.cookie = cookie;
            }
            Ok(())
        }
    }
}

fn unknown(token: &Token<'_>, command: FlowModCommand) -> SyntaxError {
    let known = ATTRIBUTES.contains(&token.key) || FLAGS.iter().any(|(f, _)| *f == token.key);
    if known {
        let what = match command {
            FlowModCommand::Add => "an add",
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => "a modify",
            FlowModCommand::Delete => "a delete that is not strict",
            FlowModCommand::DeleteStrict => "a strict delete",
        };
        return SyntaxError::new(token.text, format!("has no meaning in {what}"), "");
    }
    let words = super::name::words()
        .chain(ATTRIBUTES)
        .chain(FLAGS.iter().map(|(word, _)| *word));
    super::name::unknown(token.text, token.key, "field", words, "")
}

/// Priority of a flow that states none (`OFP_DEFAULT_PRIORITY`).
const PRIORITY_DEFAULT: u16 = 0x8000;

const ATTRIBUTES: [&str; 8] = [
    "table",
    "cookie",
    "priority",
    "idle_timeout",
    "hard_timeout",
    "out_port",
    "out_group",
    "actions",
];

type Flag = fn(&mut FlowFlags) -> &mut bool;

const FLAGS: &[(&str, Flag)] = &[
    ("send_flow_rem", |flags| &mut flags.send_flow_removed),
    ("check_overlap", |flags| &mut flags.check_overlap),
    ("reset_counts", |flags| &mut flags.reset_counts),
    ("no_packet_counts", |flags| &mut flags.no_packet_counts),
    ("no_byte_counts", |flags| &mut flags.no_byte_counts),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, command: FlowModCommand) -> String {
        parse(text, command).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_token_what_is_wrong_and_what_is_allowed() {
        let add = |text| error(text, FlowModCommand::Add);
        let told = [
            (
                "tcp_dst=http,tcp,actions=1",
                "tcp_dst=http: not a number; allowed: 0 to 65535",
            ),
            (
                "tcp_dst=80,actions=1",
                "tcp_dst=80: the match needs tcp or tcp6",
            ),
            (
                "tcp_dts=80,actions=1",
                "tcp_dts=80: unknown field, did you mean tcp_dst?",
            ),
            (
                "tcp,nw_proto=17,actions=1",
                "nw_proto=17: contradicts the rest of the match",
            ),
            (
                "priority=65536,actions=1",
                "priority=65536: too large; allowed: 0 to 65535",
            ),
            (
                "out_port=1,actions=1",
                "out_port=1: has no meaning in an add",
            ),
            (
                "cookie=1/1,actions=1",
                "cookie=1/1: a new flow has no cookie mask; allowed: cookie=N",
            ),
            (
                "tcp",
                "no actions; allowed: actions=... at the end, or actions=drop",
            ),
            (
                "actions=goto_tabel:4",
                "goto_tabel: unknown action, did you mean goto_table?",
            ),
            ("actions=output", "output: no such port"),
            (
                "actions=goto_table:300",
                "goto_table:300: too large; allowed: 0 to 253",
            ),
            ("actions=1,meter:1", "meter:1: comes too late"),
            (
                "actions=set_field:5->tcp_dts",
                "set_field:5->tcp_dts: unknown field, did you mean",
            ),
            (
                "actions=mod_tp_dst:5",
                "mod_tp_dst:5: a port of what protocol?",
            ),
            (
                "actions=push_vlan:5",
                "push_vlan:5: not an Ethernet type of such tags; allowed: 0x8100",
            ),
        ];
        for (text, wanted) in told {
            let told = add(text);
            assert!(told.starts_with(wanted), "{text}: {told}");
        }
    }

    #[test]
    fn attributes_depend_on_the_command() {
        let delete = |text| error(text, FlowModCommand::Delete);
        assert!(delete("priority=5").contains("a delete that is not strict"));
        assert!(delete("idle_timeout=5").contains("has no meaning"));
        assert!(delete("send_flow_rem").contains("has no meaning"));
        assert!(delete("cookie=5").contains("cookie=5/-1"));
        assert!(delete("actions=1").contains("takes no actions"));
        let all = parse("", FlowModCommand::Delete).unwrap();
        assert_eq!((all.table, all.out_port), (TableId::ALL, OfPort::ANY));
        let strict = parse("priority=5,table=3", FlowModCommand::DeleteStrict).unwrap();
        assert_eq!((strict.priority, strict.table), (5, TableId(3)));
        // OpenFlow 1.3 cannot change a cookie.
        let modify = parse("cookie=5,actions=1", FlowModCommand::Modify).unwrap();
        assert_eq!((modify.cookie, modify.cookie_mask), (0, 0));
        let modify = parse("cookie=0x15/0xf,actions=1", FlowModCommand::Modify).unwrap();
        assert_eq!((modify.cookie, modify.cookie_mask), (5, 0xf));
    }

    #[test]
    fn lines_may_say_another_command() {
        let ports = Ports::default();
        let line =
            |text| parse_line(text, FlowModCommand::Add, &ports).map(|f| f.map(|f| f.command));
        assert_eq!(line("  # nothing"), Ok(None));
        assert_eq!(line("actions=1 # more"), Ok(Some(FlowModCommand::Add)));
        assert_eq!(
            line("delete_strict priority=4"),
            Ok(Some(FlowModCommand::DeleteStrict))
        );
        assert_eq!(line("delete"), Ok(Some(FlowModCommand::Delete)));
        assert_eq!(
            line("modify tcp actions=1\r\n"),
            Ok(Some(FlowModCommand::Modify))
        );
        assert!(line("modify tcp").is_err());
    }

    #[test]
    fn long_tokens_are_cut_in_errors() {
        let text = format!("x{}=1,actions=1", "é".repeat(500));
        let told = error(&text, FlowModCommand::Add);
        assert!(told.chars().count() < 200 && told.contains("..."), "{told}");
    }
}
