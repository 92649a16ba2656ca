//! Group modification, description and statistics (OpenFlow 1.3.5 §7.3.4.2, §7.3.5.9 to
//! §7.3.5.11).

use super::action::{self, Place};
use crate::wire::{MESSAGE_LEN_MAX, Reader, Writer, bit, has, padded};
use crate::{
    Bucket, BucketStats, ErrorCode, GroupCapabilities, GroupDesc, GroupFeatures, GroupId,
    GroupKind, GroupMod, GroupModCommand, GroupStats, OfPort,
};

/// Most buckets in a group, so that its statistics, 16 bytes a bucket and more than the group's
/// own header, still fit one reply.
pub const BUCKETS_MAX: usize = 4000;

/// Most bytes of buckets, so that a description, whose headers are longer than those of the
/// modification that made it, still fits one reply.
const BUCKET_BYTES_MAX: usize = MESSAGE_LEN_MAX - 24;

pub(super) fn decode_mod(body: &mut Reader) -> Result<GroupMod, ErrorCode> {
    let command = match body.u16()? {
        0 => GroupModCommand::Add,
        1 => GroupModCommand::Modify,
        2 => GroupModCommand::Delete,
        _ => return Err(ErrorCode::GROUP_MOD_FAILED_BAD_COMMAND),
    };
    let delete = command == GroupModCommand::Delete;
    let kind = decode_kind(body.u8()?);
    body.skip(1)?;
    let group = GroupId(body.u32()?);
    if group > GroupId::MAX && !(delete && group == GroupId::ALL) {
        return Err(ErrorCode::GROUP_MOD_FAILED_INVALID_GROUP);
    }
    if delete {
        // What else is there does not matter.
        body.rest();
        let kind = kind.unwrap_or(GroupKind::All);
        return Ok(GroupMod {
            command,
            kind,
            group,
            buckets: Vec::new(),
        });
    }
    let kind = kind?;
    let buckets = decode_mod_buckets(body)?;
    check_buckets(kind, &buckets)?;
    Ok(GroupMod {
        command,
        kind,
        group,
        buckets,
    })
}

fn decode_mod_buckets(body: &mut Reader) -> Result<Vec<Bucket>, ErrorCode> {
    if body.len() > BUCKET_BYTES_MAX {
        return Err(ErrorCode::GROUP_MOD_FAILED_OUT_OF_BUCKETS);
    }
    let buckets = decode_buckets(body)?;
    if buckets.len() > BUCKETS_MAX {
        return Err(ErrorCode::GROUP_MOD_FAILED_OUT_OF_BUCKETS);
    }
    Ok(buckets)
}

/// What a bucket may say depends on how its group uses it.
fn check_buckets(kind: GroupKind, buckets: &[Bucket]) -> Result<(), ErrorCode> {
    if kind == GroupKind::Indirect && buckets.len() != 1 {
        return Err(ErrorCode::GROUP_MOD_FAILED_INVALID_GROUP);
    }
    for bucket in buckets {
        let watches = bucket.watch_port != OfPort::ANY || bucket.watch_group != GroupId::ANY;
        match kind {
            _ if bucket.weight != 0 && kind != GroupKind::Select => {
                return Err(ErrorCode::GROUP_MOD_FAILED_INVALID_GROUP);
            }
            GroupKind::All | GroupKind::Indirect if watches => {
                return Err(ErrorCode::GROUP_MOD_FAILED_WATCH_UNSUPPORTED);
            }
            GroupKind::FastFailover if !watches => {
                return Err(ErrorCode::GROUP_MOD_FAILED_INVALID_GROUP);
            }
            _ => {}
        }
    }
    Ok(())
}

fn decode_kind(number: u8) -> Result<GroupKind, ErrorCode> {
    Ok(match number {
        0 => GroupKind::All,
        1 => GroupKind::Select,
        2 => GroupKind::Indirect,
        3 => GroupKind::FastFailover,
        _ => return Err(ErrorCode::GROUP_MOD_FAILED_BAD_TYPE),
    })
}

fn decode_buckets(reader: &mut Reader) -> Result<Vec<Bucket>, ErrorCode> {
    reader.reporting(ErrorCode::GROUP_MOD_FAILED_BAD_BUCKET, |reader| {
        let mut buckets = Vec::new();
        while !reader.is_empty() {
            buckets.push(decode_bucket(reader)?);
        }
        Ok(buckets)
    })
}

fn decode_bucket(reader: &mut Reader) -> Result<Bucket, ErrorCode> {
    let len = usize::from(reader.u16()?);
    if len != padded(len) {
        return Err(reader.short());
    }
    let body_len = len.checked_sub(2).ok_or(reader.short())?;
    let mut body = reader.part(body_len, reader.short())?;
    let weight = body.u16()?;
    let watch_port = OfPort(body.u32()?);
    let watch_group = GroupId(body.u32()?);
    body.skip(4)?;
    let actions = action::decode_list(&mut body, Place::Pipeline)?;
    Ok(Bucket {
        weight,
        watch_port,
        watch_group,
        actions,
    })
}

pub(super) fn encode_mod(group_mod: &GroupMod, out: &mut Writer) {
    out.u16(match group_mod.command {
        GroupModCommand::Add => 0,
        GroupModCommand::Modify => 1,
        GroupModCommand::Delete => 2,
    });
    out.u8(group_mod.kind as u8);
    out.zeros(1);
    out.u32(group_mod.group.0);
    encode_buckets(&group_mod.buckets, out);
}

fn encode_buckets(buckets: &[Bucket], out: &mut Writer) {
    for bucket in buckets {
        let start = out.position();
        out.u16(0);
        out.u16(bucket.weight);
        out.u32(bucket.watch_port.0);
        out.u32(bucket.watch_group.0);
        out.zeros(4);
        action::encode_list(&bucket.actions, out);
        out.patch_len(start, start);
    }
}

pub(super) fn decode_desc(body: &mut Reader) -> Result<GroupDesc, ErrorCode> {
    let len = body.u16()?;
    let mut entry = super::decode_entry(len, 2, body)?;
    let kind = decode_kind(entry.u8()?)?;
    entry.skip(1)?;
    let group = GroupId(entry.u32()?);
    Ok(GroupDesc {
        group,
        kind,
        buckets: decode_buckets(&mut entry)?,
    })
}

pub(super) fn encode_desc(desc: &GroupDesc, out: &mut Writer) {
    let start = out.position();
    out.u16(0);
    out.u8(desc.kind as u8);
    out.zeros(1);
    out.u32(desc.group.0);
    encode_buckets(&desc.buckets, out);
    out.patch_len(start, start);
}

pub(super) fn decode_stats(body: &mut Reader) -> Result<GroupStats, ErrorCode> {
    let len = body.u16()?;
    let mut entry = super::decode_entry(len, 2, body)?;
    entry.skip(2)?;
    let group = GroupId(entry.u32()?);
    let references = entry.u32()?;
    entry.skip(4)?;
    let packets = entry.u64()?;
    let bytes = entry.u64()?;
    let duration = entry.duration()?;
    let mut buckets = Vec::new();
    while !entry.is_empty() {
        buckets.push(BucketStats {
            packets: entry.u64()?,
            bytes: entry.u64()?,
        });
    }
    Ok(GroupStats {
        group,
        references,
        packets,
        bytes,
        duration,
        buckets,
    })
}

pub(super) fn encode_stats(stats: &GroupStats, out: &mut Writer) {
    let start = out.position();
    out.u16(0);
    out.zeros(2);
    out.u32(stats.group.0);
    out.u32(stats.references);
    out.zeros(4);
    out.u64(stats.packets);
    out.u64(stats.bytes);
    out.duration(stats.duration);
    for bucket in &stats.buckets {
        out.u64(bucket.packets);
        out.u64(bucket.bytes);
    }
    out.patch_len(start, start);
}

pub(super) fn decode_features(body: &mut Reader) -> Result<GroupFeatures, ErrorCode> {
    let kinds = body.u32()?;
    let bits = body.u32()?;
    let mut features = GroupFeatures {
        kinds,
        capabilities: GroupCapabilities {
            select_weight: has(bits, 0),
            select_liveness: has(bits, 1),
            chaining: has(bits, 2),
            chaining_checks: has(bits, 3),
        },
        ..GroupFeatures::default()
    };
    for slot in features.groups_max.iter_mut().chain(&mut features.actions) {
        *slot = body.u32()?;
    }
    Ok(features)
}

pub(super) fn encode_features(features: &GroupFeatures, out: &mut Writer) {
    let capabilities = features.capabilities;
    out.u32(features.kinds);
    out.u32(
        bit(capabilities.select_weight, 0)
            | bit(capabilities.select_liveness, 1)
            | bit(capabilities.chaining, 2)
            | bit(capabilities.chaining_checks, 3),
    );
    for value in features.groups_max.iter().chain(&features.actions) {
        out.u32(*value);
    }
}
