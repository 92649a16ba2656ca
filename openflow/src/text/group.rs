//! Groups: `group_id=1,type=select,bucket=weight:5,watch_port:1,actions=output:1`.

use std::fmt::Write;

use super::action::{self, Context};
use super::token::{Token, Tokens, split_line};
use super::value::number;
use super::{Ports, SyntaxError, name, write_duration};
use crate::{
    Action, Bucket, GroupDesc, GroupId, GroupKind, GroupMod, GroupModCommand, GroupStats, OfPort,
};

/// Reads a group, ports by number or reserved name only.
pub fn parse(text: &str, command: GroupModCommand) -> Result<GroupMod, SyntaxError> {
    parse_with(text, command, &Ports::default())
}

/// Reads a group. A delete takes `group_id` alone, or nothing for all groups.
pub fn parse_with(
    text: &str,
    command: GroupModCommand,
    ports: &Ports,
) -> Result<GroupMod, SyntaxError> {
    let deleting = command == GroupModCommand::Delete;
    let (mut group, mut kind) = (None, None);
    let mut buckets: Vec<BucketReader> = Vec::new();
    for token in Tokens::new(text) {
        match (token.key, buckets.last_mut()) {
            ("bucket" | "type" | "group_type", _) if deleting => {
                let problem = "has no meaning in a delete";
                return Err(SyntaxError::new(token.text, problem, "group_id"));
            }
            ("bucket", _) => {
                let mut bucket = BucketReader::new(ports);
                for piece in Tokens::new(token.argument()) {
                    bucket.take(&piece)?;
                }
                buckets.push(bucket);
            }
            (_, Some(bucket)) => bucket.take(&token)?,
            ("group_id", None) => group = Some(group_id(&token, deleting)?),
            ("type" | "group_type", None) => kind = Some(group_kind(&token)?),
            _ => {
                let words = ["group_id", "type", "bucket"];
                let (text, allowed) = (token.text, "group_id, type, bucket");
                let words = words.into_iter();
                return Err(name::unknown(text, token.key, "keyword", words, allowed));
            }
        }
    }
    if deleting {
        let group = group.unwrap_or(GroupId::ALL);
        return Ok(GroupMod {
            command,
            kind: GroupKind::All,
            group,
            buckets: Vec::new(),
        });
    }
    let missing = |what| SyntaxError::new("", format!("no {what}"), format!("{what}=..."));
    let group = group.ok_or_else(|| missing("group_id"))?;
    let kind = kind.ok_or_else(|| missing("type"))?;
    let buckets = buckets.into_iter().map(|bucket| bucket.finish(kind));
    let buckets = buckets.collect::<Result<_, _>>()?;
    Ok(GroupMod {
        command,
        kind,
        group,
        buckets,
    })
}

/// Reads a line of a file of groups: a group, perhaps after one of the words `add`, `modify`,
/// `delete`. `None` for an empty line; `#` starts a comment.
pub fn parse_line(
    line: &str,
    command: GroupModCommand,
    ports: &Ports,
) -> Result<Option<GroupMod>, SyntaxError> {
    let Some(line) = split_line(line) else {
        return Ok(None);
    };
    let command = match line.word {
        "add" => GroupModCommand::Add,
        "modify" => GroupModCommand::Modify,
        "delete" => GroupModCommand::Delete,
        _ => return parse_with(line.whole, command, ports).map(Some),
    };
    parse_with(line.rest, command, ports).map(Some)
}

/// A group as text that [`parse`] reads.
pub fn format(group: &GroupMod) -> String {
    let mut out = String::new();
    write_modification(&mut out, group, &Ports::default());
    out
}

/// Appends a group as `ovs-ofctl dump-groups` prints it, with no space before it.
pub fn write_description(out: &mut String, group: &GroupDesc, ports: &Ports) {
    write_buckets(out, group.group, group.kind, &group.buckets, ports);
}

/// Appends the statistics of a group as `ovs-ofctl dump-group-stats` prints them, with no space
/// before them.
pub fn write_stats(out: &mut String, group: &GroupStats) {
    // Writing to a String cannot fail, so the results are let go.
    let _ = write!(out, "group_id={},duration=", group.group);
    write_duration(out, group.duration);
    let (references, packets, bytes) = (group.references, group.packets, group.bytes);
    let _ = write!(
        out,
        ",ref_count={references},packet_count={packets},byte_count={bytes}"
    );
    for (at, bucket) in group.buckets.iter().enumerate() {
        let (packets, bytes) = (bucket.packets, bucket.bytes);
        let _ = write!(out, ",bucket{at}:packet_count={packets},byte_count={bytes}");
    }
}

/// Appends a group modification as text that [`parse_with`] reads.
pub fn write_modification(out: &mut String, group: &GroupMod, ports: &Ports) {
    if group.command != GroupModCommand::Delete {
        return write_buckets(out, group.group, group.kind, &group.buckets, ports);
    }
    match group.group {
        GroupId::ALL => out.push_str("group_id=all"),
        number => {
            // Writing to a String cannot fail.
            let _ = write!(out, "group_id={number}");
        }
    }
}

fn write_buckets(
    out: &mut String,
    group: GroupId,
    kind: GroupKind,
    buckets: &[Bucket],
    ports: &Ports,
) {
    // Writing to a String cannot fail, so the results are let go.
    let _ = write!(out, "group_id={group},type={}", kind_name(kind));
    for bucket in buckets {
        out.push_str(",bucket=");
        if bucket.weight != default_weight(kind) {
            let _ = write!(out, "weight:{},", bucket.weight);
        }
        if bucket.watch_port != OfPort::ANY {
            out.push_str("watch_port:");
            ports.write(out, bucket.watch_port);
            out.push(',');
        }
        if bucket.watch_group != GroupId::ANY {
            let _ = write!(out, "watch_group:{},", bucket.watch_group);
        }
        out.push_str("actions=");
        action::write(out, &bucket.actions, ports);
    }
}

/// The actions of a bucket.
pub fn format_actions(actions: &[Action], ports: &Ports) -> String {
    let mut out = String::new();
    action::write(&mut out, actions, ports);
    out
}

/// Name of a kind of group.
pub fn kind_name(kind: GroupKind) -> &'static str {
    let found = KINDS.iter().find(|(_, known)| *known == kind);
    found.map_or("", |(name, _)| name)
}

struct BucketReader<'a> {
    context: Context<'a>,
    weight: Option<u16>,
    watch_port: OfPort,
    watch_group: GroupId,
    /// `None` until there is an action or `drop`.
    actions: Option<Vec<Action>>,
}

impl<'a> BucketReader<'a> {
    fn new(ports: &'a Ports) -> BucketReader<'a> {
        BucketReader {
            context: Context::unknown(ports),
            weight: None,
            watch_port: OfPort::ANY,
            watch_group: GroupId::ANY,
            actions: None,
        }
    }

    fn take(&mut self, token: &Token<'_>) -> Result<(), SyntaxError> {
        let text = token.argument();
        let taken = match token.key {
            "weight" => number(text, 0xffff).map(|n| self.weight = Some(n as u16)),
            "watch_port" => self
                .context
                .ports()
                .parse(text)
                .map(|port| self.watch_port = port),
            "watch_group" => number(text, GroupId::ANY.0.into()).map(|group| {
                self.watch_group = GroupId(group as u32);
            }),
            // Only OpenFlow 1.5 has bucket ids; dumps made by it show them.
            "bucket_id" => number(text, u32::MAX.into()).map(|_| ()),
            "actions" | "action" => {
                self.actions.get_or_insert_default();
                return Tokens::new(text).try_for_each(|token| self.action(&token));
            }
            _ => return self.action(token),
        };
        taken.map_err(|e| e.within(token.text))
    }

    fn action(&mut self, token: &Token<'_>) -> Result<(), SyntaxError> {
        let actions = self.actions.get_or_insert_default();
        if token.key == "drop" {
            return Ok(());
        }
        action::parse(token, &mut self.context, actions)
    }

    fn finish(self, kind: GroupKind) -> Result<Bucket, SyntaxError> {
        let watches = self.watch_port != OfPort::ANY || self.watch_group != GroupId::ANY;
        if kind == GroupKind::FastFailover && !watches {
            let allowed = "watch_port:PORT or watch_group:GROUP in every bucket";
            return Err(SyntaxError::new(
                "bucket",
                "a failover bucket must watch",
                allowed,
            ));
        }
        let Some(actions) = self.actions else {
            return Err(SyntaxError::new(
                "bucket",
                "no actions",
                "actions=..., or actions=drop",
            ));
        };
        Ok(Bucket {
            weight: self.weight.unwrap_or(default_weight(kind)),
            watch_port: self.watch_port,
            watch_group: self.watch_group,
            actions: actions.into(),
        })
    }
}

fn group_id(token: &Token<'_>, deleting: bool) -> Result<GroupId, SyntaxError> {
    let text = token.argument();
    if deleting && text.eq_ignore_ascii_case("all") {
        return Ok(GroupId::ALL);
    }
    match number(text, GroupId::MAX.0.into()) {
        Ok(group) => Ok(GroupId(group as u32)),
        Err(error) => Err(error.within(token.text)),
    }
}

fn group_kind(token: &Token<'_>) -> Result<GroupKind, SyntaxError> {
    let known = |(name, _): &&(&str, GroupKind)| *name == token.argument();
    match KINDS.iter().find(known) {
        Some((_, kind)) => Ok(*kind),
        None => {
            let allowed = "all, select, indirect, ff";
            Err(SyntaxError::new(
                token.text,
                "unknown type of group",
                allowed,
            ))
        }
    }
}

fn default_weight(kind: GroupKind) -> u16 {
    u16::from(kind == GroupKind::Select)
}

/// The first name of a kind is the one that is printed.
const KINDS: [(&str, GroupKind); 5] = [
    ("all", GroupKind::All),
    ("select", GroupKind::Select),
    ("indirect", GroupKind::Indirect),
    ("ff", GroupKind::FastFailover),
    ("fast_failover", GroupKind::FastFailover),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn add(text: &str) -> Result<GroupMod, String> {
        parse(text, GroupModCommand::Add).map_err(|error| error.to_string())
    }

    #[test]
    fn groups_come_back_in_their_canonical_form() {
        let cases = [
            (
                "type=select group_id=1 bucket=weight:5,watch_port:LOCAL,1,bucket=output:2",
                "group_id=1,type=select,bucket=weight:5,watch_port:LOCAL,actions=output:1,\
                 bucket=actions=output:2",
            ),
            (
                "group_id=2,type=fast_failover,bucket=watch_group:7,mod_vlan_vid:5,mod_vlan_pcp:1",
                "group_id=2,type=ff,bucket=watch_group:7,actions=push_vlan:0x8100,\
                 set_field:4101->vlan_vid,set_field:1->vlan_pcp",
            ),
            (
                "group_id=3,type=all,bucket=weight:0,actions=drop,bucket=bucket_id:9,drop",
                "group_id=3,type=all,bucket=actions=drop,bucket=actions=drop",
            ),
            (
                "group_id=0xffffff00,type=indirect",
                "group_id=4294967040,type=indirect",
            ),
        ];
        for (text, canonical) in cases {
            let group = add(text).unwrap();
            assert_eq!(format(&group), canonical, "{text}");
            assert_eq!(add(canonical).as_ref(), Ok(&group), "{text}");
        }
        let all = parse("", GroupModCommand::Delete).unwrap();
        assert_eq!(
            (all.group, format(&all).as_str()),
            (GroupId::ALL, "group_id=all")
        );
        let one = parse("group_id=7", GroupModCommand::Delete).unwrap();
        assert_eq!(format(&one), "group_id=7");
    }

    #[test]
    fn errors_say_what_is_missing_or_wrong() {
        let told = [
            ("type=all", "no group_id"),
            ("group_id=1", "no type"),
            (
                "group_id=1,type=any",
                "type=any: unknown type of group; allowed: all, select",
            ),
            (
                "group_id=0xffffff01,type=all",
                "group_id=0xffffff01: too large",
            ),
            (
                "group_id=1,type=ff,bucket=1",
                "bucket: a failover bucket must watch",
            ),
            ("group_id=1,type=all,bucket=", "bucket: no actions"),
            ("group_id=1,type=all,bucket=weight:3", "bucket: no actions"),
            (
                "group_id=1,type=all,bucket=weight:65536,1",
                "weight:65536: too large",
            ),
            (
                "group_id=1,type=all,bukcet=1",
                "bukcet=1: unknown keyword, did you mean bucket?",
            ),
            (
                "group_id=1,type=all,bucket=1,mod_tp_dst:5",
                "mod_tp_dst:5: a port of what protocol?",
            ),
        ];
        for (text, wanted) in told {
            let told = add(text).unwrap_err();
            assert!(told.starts_with(wanted), "{text}: {told}");
        }
        assert!(parse("group_id=1,type=all", GroupModCommand::Delete).is_err());
        assert!(parse("group_id=1,bucket=1", GroupModCommand::Delete).is_err());
    }
}
