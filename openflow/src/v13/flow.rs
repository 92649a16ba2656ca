//! Flow modification, removal and statistics (OpenFlow 1.3.5 §7.3.4.1, §7.3.5.2, §7.3.5.3,
//! §7.4.2).

use super::{instruction, matching};
use crate::wire::{Reader, Writer, bit, has};
use crate::{
    AggregateStats, ErrorCode, FlowFlags, FlowMod, FlowModCommand, FlowRemoved, FlowRemovedReason,
    FlowStats, FlowStatsRequest, GroupId, OfPort, TableId,
};

pub(super) fn decode_mod(body: &mut Reader) -> Result<FlowMod, ErrorCode> {
    let cookie = body.u64()?;
    let cookie_mask = body.u64()?;
    let table = TableId(body.u8()?);
    let command = decode_command(body.u8()?)?;
    let flow_mod = FlowMod {
        command,
        cookie,
        cookie_mask,
        table: checked_table(table, command)?,
        idle_timeout_s: body.u16()?,
        hard_timeout_s: body.u16()?,
        priority: body.u16()?,
        buffer_id: super::decode_buffer(body)?,
        out_port: OfPort(body.u32()?),
        out_group: GroupId(body.u32()?),
        flags: decode_mod_flags(body.u16()?)?,
        matching: {
            body.skip(2)?;
            matching::decode(body)?
        },
        instructions: instruction::decode_list(body)?,
    };
    check_goto(&flow_mod)?;
    Ok(flow_mod)
}

/// Only deletes may name every table.
fn checked_table(table: TableId, command: FlowModCommand) -> Result<TableId, ErrorCode> {
    let all = table == TableId::ALL && deletes(command);
    let there = table <= TableId::LAST || all;
    if there {
        Ok(table)
    } else {
        Err(ErrorCode::FLOW_MOD_FAILED_BAD_TABLE_ID)
    }
}

fn deletes(command: FlowModCommand) -> bool {
    matches!(
        command,
        FlowModCommand::Delete | FlowModCommand::DeleteStrict
    )
}

/// Packets only go on to later tables (§5.1).
fn check_goto(flow_mod: &FlowMod) -> Result<(), ErrorCode> {
    let back = flow_mod
        .instructions
        .goto
        .is_some_and(|goto| goto <= flow_mod.table);
    if back && !deletes(flow_mod.command) {
        return Err(ErrorCode::BAD_INSTRUCTION_BAD_TABLE_ID);
    }
    Ok(())
}

fn decode_command(number: u8) -> Result<FlowModCommand, ErrorCode> {
    Ok(match number {
        0 => FlowModCommand::Add,
        1 => FlowModCommand::Modify,
        2 => FlowModCommand::ModifyStrict,
        3 => FlowModCommand::Delete,
        4 => FlowModCommand::DeleteStrict,
        _ => return Err(ErrorCode::FLOW_MOD_FAILED_BAD_COMMAND),
    })
}

fn encode_command(command: FlowModCommand) -> u8 {
    match command {
        FlowModCommand::Add => 0,
        FlowModCommand::Modify => 1,
        FlowModCommand::ModifyStrict => 2,
        FlowModCommand::Delete => 3,
        FlowModCommand::DeleteStrict => 4,
    }
}

fn decode_mod_flags(bits: u16) -> Result<FlowFlags, ErrorCode> {
    if bits & !FLAGS_KNOWN != 0 {
        return Err(ErrorCode::FLOW_MOD_FAILED_BAD_FLAGS);
    }
    Ok(decode_flags(bits))
}

fn decode_flags(bits: u16) -> FlowFlags {
    let bits = u32::from(bits);
    FlowFlags {
        send_flow_removed: has(bits, 0),
        check_overlap: has(bits, 1),
        reset_counts: has(bits, 2),
        no_packet_counts: has(bits, 3),
        no_byte_counts: has(bits, 4),
    }
}

fn encode_flags(flags: FlowFlags) -> u16 {
    let bits = bit(flags.send_flow_removed, 0)
        | bit(flags.check_overlap, 1)
        | bit(flags.reset_counts, 2)
        | bit(flags.no_packet_counts, 3)
        | bit(flags.no_byte_counts, 4);
    bits as u16
}

pub(super) fn encode_mod(flow_mod: &FlowMod, out: &mut Writer) {
    out.u64(flow_mod.cookie);
    out.u64(flow_mod.cookie_mask);
    out.u8(flow_mod.table.0);
    out.u8(encode_command(flow_mod.command));
    out.u16(flow_mod.idle_timeout_s);
    out.u16(flow_mod.hard_timeout_s);
    out.u16(flow_mod.priority);
    super::encode_buffer(flow_mod.buffer_id, out);
    out.u32(flow_mod.out_port.0);
    out.u32(flow_mod.out_group.0);
    out.u16(encode_flags(flow_mod.flags));
    out.zeros(2);
    matching::encode(&flow_mod.matching, out);
    instruction::encode_list(&flow_mod.instructions, out);
}

pub(super) fn decode_removed(body: &mut Reader) -> Result<FlowRemoved, ErrorCode> {
    Ok(FlowRemoved {
        cookie: body.u64()?,
        priority: body.u16()?,
        reason: decode_reason(body.u8()?)?,
        table: TableId(body.u8()?),
        duration: body.duration()?,
        idle_timeout_s: body.u16()?,
        hard_timeout_s: body.u16()?,
        packets: body.u64()?,
        bytes: body.u64()?,
        matching: matching::decode(body)?,
    })
}

fn decode_reason(number: u8) -> Result<FlowRemovedReason, ErrorCode> {
    Ok(match number {
        0 => FlowRemovedReason::IdleTimeout,
        1 => FlowRemovedReason::HardTimeout,
        2 => FlowRemovedReason::Delete,
        3 => FlowRemovedReason::GroupDelete,
        _ => return Err(ErrorCode::BAD_REQUEST_BAD_TYPE),
    })
}

pub(super) fn encode_removed(removed: &FlowRemoved, out: &mut Writer) {
    out.u64(removed.cookie);
    out.u16(removed.priority);
    out.u8(removed.reason.number());
    out.u8(removed.table.0);
    out.duration(removed.duration);
    out.u16(removed.idle_timeout_s);
    out.u16(removed.hard_timeout_s);
    out.u64(removed.packets);
    out.u64(removed.bytes);
    matching::encode(&removed.matching, out);
}

pub(super) fn decode_stats_request(body: &mut Reader) -> Result<FlowStatsRequest, ErrorCode> {
    let table = TableId(body.u8()?);
    body.skip(3)?;
    let out_port = OfPort(body.u32()?);
    let out_group = GroupId(body.u32()?);
    body.skip(4)?;
    Ok(FlowStatsRequest {
        table,
        out_port,
        out_group,
        cookie: body.u64()?,
        cookie_mask: body.u64()?,
        matching: matching::decode(body)?,
    })
}

pub(super) fn encode_stats_request(request: &FlowStatsRequest, out: &mut Writer) {
    out.u8(request.table.0);
    out.zeros(3);
    out.u32(request.out_port.0);
    out.u32(request.out_group.0);
    out.zeros(4);
    out.u64(request.cookie);
    out.u64(request.cookie_mask);
    matching::encode(&request.matching, out);
}

pub(super) fn decode_stats(body: &mut Reader) -> Result<FlowStats, ErrorCode> {
    let len = body.u16()?;
    let mut entry = super::decode_entry(len, 2, body)?;
    let table = TableId(entry.u8()?);
    entry.skip(1)?;
    let duration = entry.duration()?;
    let priority = entry.u16()?;
    let idle_timeout_s = entry.u16()?;
    let hard_timeout_s = entry.u16()?;
    let flags = decode_flags(entry.u16()?);
    entry.skip(4)?;
    Ok(FlowStats {
        table,
        duration,
        priority,
        idle_timeout_s,
        hard_timeout_s,
        flags,
        cookie: entry.u64()?,
        packets: entry.u64()?,
        bytes: entry.u64()?,
        matching: matching::decode(&mut entry)?,
        instructions: instruction::decode_list(&mut entry)?,
    })
}

pub(super) fn encode_stats(flow: &FlowStats, out: &mut Writer) {
    let start = out.position();
    out.u16(0);
    out.u8(flow.table.0);
    out.zeros(1);
    out.duration(flow.duration);
    out.u16(flow.priority);
    out.u16(flow.idle_timeout_s);
    out.u16(flow.hard_timeout_s);
    out.u16(encode_flags(flow.flags));
    out.zeros(4);
    out.u64(flow.cookie);
    out.u64(flow.packets);
    out.u64(flow.bytes);
    matching::encode(&flow.matching, out);
    instruction::encode_list(&flow.instructions, out);
    out.patch_len(start, start);
}

pub(super) fn decode_aggregate(body: &mut Reader) -> Result<AggregateStats, ErrorCode> {
    let stats = AggregateStats {
        packets: body.u64()?,
        bytes: body.u64()?,
        flows: body.u32()?,
    };
    body.skip(4)?;
    Ok(stats)
}

pub(super) fn encode_aggregate(stats: &AggregateStats, out: &mut Writer) {
    out.u64(stats.packets);
    out.u64(stats.bytes);
    out.u32(stats.flows);
    out.zeros(4);
}

/// `OFPFF_*` of this version.
const FLAGS_KNOWN: u16 = 0b1_1111;
