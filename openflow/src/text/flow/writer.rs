//! Writes flows in the form of `ovs-ofctl dump-flows`.

use std::fmt::Write;

use flowtable::Match;

use super::{FLAGS, PRIORITY_DEFAULT, default_table, deletes};
use crate::text::{Ports, instruction, matching, write_duration};
use crate::{FlowFlags, FlowMod, FlowStats, GroupId, Instructions, OfPort};

/// A flow modification as text that [`parse`](super::parse) reads.
pub fn format(flow: &FlowMod) -> String {
    let mut out = String::new();
    write_modification(&mut out, flow, &Ports::default());
    out
}

/// A match as text that [`parse_match`](super::parse_match) reads.
pub fn format_match(matching: &Match, ports: &Ports) -> String {
    let mut out = String::new();
    matching::write(&mut out, matching, None, ports);
    out
}

/// Instructions as they stand after `actions=`.
pub fn format_instructions(instructions: &Instructions, ports: &Ports) -> String {
    let mut out = String::new();
    instruction::write(&mut out, instructions, ports);
    out
}

/// Appends a flow as a dump shows it, with no space before it: in full, or without statistics and
/// what is 0 as under `ovs-ofctl --no-stats`.
pub fn write_stats(out: &mut String, flow: &FlowStats, full: bool, ports: &Ports) {
    // Writing to a String cannot fail, so the results are let go.
    if full || flow.cookie != 0 {
        let _ = write!(out, "cookie=0x{:x}, ", flow.cookie);
    }
    if full {
        out.push_str("duration=");
        write_duration(out, flow.duration);
        out.push_str(", ");
    }
    if full || flow.table.0 != 0 {
        let _ = write!(out, "table={}, ", flow.table);
    }
    if full {
        for (word, count) in [("n_packets", flow.packets), ("n_bytes", flow.bytes)] {
            let _ = match count {
                UNKNOWN => write!(out, "{word}=?, "),
                count => write!(out, "{word}={count}, "),
            };
        }
    }
    write_lifetime(out, flow.idle_timeout_s, flow.hard_timeout_s, flow.flags);
    write_match(out, &flow.matching, flow.priority, ports);
    out.push_str("actions=");
    instruction::write(out, &flow.instructions, ports);
}

/// Appends a flow modification as text that [`parse_with`](super::parse_with) reads.
pub fn write_modification(out: &mut String, flow: &FlowMod, ports: &Ports) {
    let start = out.len();
    let FlowMod {
        cookie,
        cookie_mask,
        ..
    } = flow;
    // Writing to a String cannot fail, so the results are let go.
    let _ = match (*cookie, *cookie_mask) {
        (0, 0) => Ok(()),
        (_, 0) => write!(out, "cookie={cookie:#x}, "),
        (_, u64::MAX) => write!(out, "cookie={cookie:#x}/-1, "),
        _ => write!(out, "cookie={cookie:#x}/{cookie_mask:#x}, "),
    };
    if flow.table != default_table(flow.command) {
        let _ = write!(out, "table={}, ", flow.table);
    }
    if flow.out_port != OfPort::ANY {
        out.push_str("out_port=");
        ports.write(out, flow.out_port);
        out.push_str(", ");
    }
    if flow.out_group != GroupId::ANY {
        let _ = write!(out, "out_group={}, ", flow.out_group);
    }
    write_lifetime(out, flow.idle_timeout_s, flow.hard_timeout_s, flow.flags);
    write_match(out, &flow.matching, flow.priority, ports);
    if deletes(flow.command) {
        let end = out[start..].trim_end_matches([',', ' ']).len();
        return out.truncate(start + end);
    }
    out.push_str("actions=");
    instruction::write(out, &flow.instructions, ports);
}

fn write_lifetime(out: &mut String, idle_s: u16, hard_s: u16, mut flags: FlowFlags) {
    for (word, seconds) in [("idle_timeout", idle_s), ("hard_timeout", hard_s)] {
        if seconds != 0 {
            // Writing to a String cannot fail.
            let _ = write!(out, "{word}={seconds}, ");
        }
    }
    for (word, flag) in FLAGS {
        if *flag(&mut flags) {
            out.push_str(word);
            out.push(' ');
        }
    }
}

/// Appends priority and match, and a space after them if there are any.
fn write_match(out: &mut String, matching: &Match, priority: u16, ports: &Ports) {
    let start = out.len();
    let priority = Some(priority).filter(|priority| *priority != PRIORITY_DEFAULT);
    matching::write(out, matching, priority, ports);
    if out.len() > start {
        out.push(' ');
    }
}

/// A counter that is not kept (OpenFlow 1.3.5 §7.3.5.2).
const UNKNOWN: u64 = u64::MAX;
