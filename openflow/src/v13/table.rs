//! Table modification, statistics and features (OpenFlow 1.3.5 §7.3.3, §7.3.5.4, §7.3.5.5).

use super::{action, instruction};
use crate::oxm::{self, Oxm};
use crate::wire::{Reader, Writer, padded};
use crate::{
    ActionKind, ErrorCode, Experimenter, FieldFeature, InstructionKind, TableFeatures, TableId,
    TableMod, TableProperty, TableStats,
};

pub(super) fn decode_mod(body: &mut Reader) -> Result<TableMod, ErrorCode> {
    let table = TableId(body.u8()?);
    body.skip(3)?;
    let config = body.u32()?;
    if table > TableId::LAST && table != TableId::ALL {
        return Err(ErrorCode::TABLE_MOD_FAILED_BAD_TABLE);
    }
    if config & !CONFIG_KNOWN != 0 {
        return Err(ErrorCode::TABLE_MOD_FAILED_BAD_CONFIG);
    }
    Ok(TableMod { table, config })
}

pub(super) fn encode_mod(table_mod: TableMod, out: &mut Writer) {
    out.u8(table_mod.table.0);
    out.zeros(3);
    out.u32(table_mod.config);
}

pub(super) fn decode_stats(body: &mut Reader) -> Result<TableStats, ErrorCode> {
    let table = TableId(body.u8()?);
    body.skip(3)?;
    Ok(TableStats {
        table,
        active: body.u32()?,
        lookups: body.u64()?,
        matched: body.u64()?,
    })
}

pub(super) fn encode_stats(stats: &TableStats, out: &mut Writer) {
    out.u8(stats.table.0);
    out.zeros(3);
    out.u32(stats.active);
    out.u64(stats.lookups);
    out.u64(stats.matched);
}

pub(super) fn decode_features(body: &mut Reader) -> Result<TableFeatures, ErrorCode> {
    body.reporting(ErrorCode::TABLE_FEATURES_FAILED_BAD_LEN, |body| {
        let len = body.u16()?;
        let mut entry = super::decode_entry(len, 2, body)?;
        let table = TableId(entry.u8()?);
        entry.skip(5)?;
        let mut features = TableFeatures {
            table,
            name: entry.text(NAME_LEN)?,
            metadata_match: entry.u64()?,
            metadata_write: entry.u64()?,
            config: entry.u32()?,
            entries_max: entry.u32()?,
            properties: Vec::new(),
        };
        while !entry.is_empty() {
            features.properties.push(decode_property(&mut entry)?);
        }
        Ok(features)
    })
}

fn decode_property(entry: &mut Reader) -> Result<TableProperty, ErrorCode> {
    let kind = entry.u16()?;
    let len = entry.u16()?;
    let mut body = super::decode_entry(len, 4, entry)?;
    entry.skip(padded(len.into()) - usize::from(len))?;
    let miss = kind & 1 == 1;
    let property = match kind {
        INSTRUCTIONS | INSTRUCTIONS_MISS => TableProperty::Instructions {
            miss,
            kinds: decode_instructions(&mut body)?,
        },
        NEXT_TABLES | NEXT_TABLES_MISS => {
            let tables = body.rest().iter().copied().map(TableId).collect();
            TableProperty::NextTables { miss, tables }
        }
        WRITE_ACTIONS | WRITE_ACTIONS_MISS => TableProperty::WriteActions {
            miss,
            kinds: decode_actions(&mut body)?,
        },
        APPLY_ACTIONS | APPLY_ACTIONS_MISS => TableProperty::ApplyActions {
            miss,
            kinds: decode_actions(&mut body)?,
        },
        MATCH => TableProperty::Match(decode_fields(&mut body)?),
        WILDCARDS => TableProperty::Wildcards(decode_fields(&mut body)?),
        WRITE_SET_FIELD | WRITE_SET_FIELD_MISS => TableProperty::WriteSetField {
            miss,
            fields: decode_fields(&mut body)?,
        },
        APPLY_SET_FIELD | APPLY_SET_FIELD_MISS => TableProperty::ApplySetField {
            miss,
            fields: decode_fields(&mut body)?,
        },
        EXPERIMENTER | EXPERIMENTER_MISS => TableProperty::Experimenter {
            miss,
            property: decode_experimenter(&mut body)?,
        },
        _ => return Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_TYPE),
    };
    Ok(property)
}

fn decode_experimenter(body: &mut Reader) -> Result<Experimenter, ErrorCode> {
    let experimenter = body.u32()?;
    let kind = body.u32()?;
    Ok(Experimenter {
        experimenter,
        kind,
        data: body.rest().to_vec(),
    })
}

fn decode_instructions(body: &mut Reader) -> Result<Vec<InstructionKind>, ErrorCode> {
    let mut kinds = Vec::new();
    while !body.is_empty() {
        let kind = instruction::decode_kind(decode_id(body)?);
        kinds.push(kind.ok_or(ErrorCode::TABLE_FEATURES_FAILED_BAD_ARGUMENT)?);
    }
    Ok(kinds)
}

fn decode_actions(body: &mut Reader) -> Result<Vec<ActionKind>, ErrorCode> {
    let mut kinds = Vec::new();
    while !body.is_empty() {
        let kind = action::decode_kind(decode_id(body)?);
        kinds.push(kind.ok_or(ErrorCode::TABLE_FEATURES_FAILED_BAD_ARGUMENT)?);
    }
    Ok(kinds)
}

/// The type of an action or instruction of which only the header is there.
fn decode_id(body: &mut Reader) -> Result<u16, ErrorCode> {
    let kind = body.u16()?;
    let len = body.u16()?;
    super::decode_entry(len, 4, body)?;
    Ok(kind)
}

fn decode_fields(body: &mut Reader) -> Result<Vec<FieldFeature>, ErrorCode> {
    let mut fields = Vec::new();
    while !body.is_empty() {
        let (oxm, masked) = oxm::decode_id(body)?;
        let oxm = oxm.ok_or(ErrorCode::TABLE_FEATURES_FAILED_BAD_ARGUMENT)?;
        fields.push(FieldFeature {
            field: oxm.field,
            masked,
        });
    }
    Ok(fields)
}

pub(super) fn encode_features(features: &TableFeatures, out: &mut Writer) {
    let start = out.position();
    out.u16(0);
    out.u8(features.table.0);
    out.zeros(5);
    out.text(&features.name, NAME_LEN);
    out.u64(features.metadata_match);
    out.u64(features.metadata_write);
    out.u32(features.config);
    out.u32(features.entries_max);
    for property in &features.properties {
        encode_property(property, out);
    }
    out.patch_len(start, start);
}

fn encode_property(property: &TableProperty, out: &mut Writer) {
    let start = out.position();
    out.u16(property_kind(property));
    out.u16(0);
    match property {
        TableProperty::Instructions { kinds, .. } => {
            kinds.iter().for_each(|kind| encode_id(*kind as u16, out));
        }
        TableProperty::NextTables { tables, .. } => {
            tables.iter().for_each(|table| out.u8(table.0));
        }
        TableProperty::WriteActions { kinds, .. } | TableProperty::ApplyActions { kinds, .. } => {
            kinds.iter().for_each(|kind| encode_id(*kind as u16, out));
        }
        TableProperty::Match(fields)
        | TableProperty::Wildcards(fields)
        | TableProperty::WriteSetField { fields, .. }
        | TableProperty::ApplySetField { fields, .. } => {
            fields.iter().for_each(|field| encode_field(*field, out));
        }
        TableProperty::Experimenter { property, .. } => {
            out.u32(property.experimenter);
            out.u32(property.kind);
            out.bytes(&property.data);
        }
    }
    out.patch_len(start + 2, start);
    out.pad(start);
}

/// What is about the table-miss flow is the odd number after the even one.
fn property_kind(property: &TableProperty) -> u16 {
    let (kind, miss) = match property {
        TableProperty::Instructions { miss, .. } => (INSTRUCTIONS, *miss),
        TableProperty::NextTables { miss, .. } => (NEXT_TABLES, *miss),
        TableProperty::WriteActions { miss, .. } => (WRITE_ACTIONS, *miss),
        TableProperty::ApplyActions { miss, .. } => (APPLY_ACTIONS, *miss),
        TableProperty::Match(_) => (MATCH, false),
        TableProperty::Wildcards(_) => (WILDCARDS, false),
        TableProperty::WriteSetField { miss, .. } => (WRITE_SET_FIELD, *miss),
        TableProperty::ApplySetField { miss, .. } => (APPLY_SET_FIELD, *miss),
        TableProperty::Experimenter { miss, .. } => (EXPERIMENTER, *miss),
    };
    kind + u16::from(miss)
}

fn encode_id(kind: u16, out: &mut Writer) {
    out.u16(kind);
    out.u16(4);
}

fn encode_field(field: FieldFeature, out: &mut Writer) {
    Oxm::of(field.field, out.tlvs()).encode_header(field.masked, out);
}

/// `OFPTC_DEPRECATED_MASK`.
const CONFIG_KNOWN: u32 = 3;
/// `OFP_MAX_TABLE_NAME_LEN`.
const NAME_LEN: usize = 32;
/// `OFPTFPT_*`.
const INSTRUCTIONS: u16 = 0;
const INSTRUCTIONS_MISS: u16 = 1;
const NEXT_TABLES: u16 = 2;
const NEXT_TABLES_MISS: u16 = 3;
const WRITE_ACTIONS: u16 = 4;
const WRITE_ACTIONS_MISS: u16 = 5;
const APPLY_ACTIONS: u16 = 6;
const APPLY_ACTIONS_MISS: u16 = 7;
const MATCH: u16 = 8;
const WILDCARDS: u16 = 10;
const WRITE_SET_FIELD: u16 = 12;
const WRITE_SET_FIELD_MISS: u16 = 13;
const APPLY_SET_FIELD: u16 = 14;
const APPLY_SET_FIELD_MISS: u16 = 15;
const EXPERIMENTER: u16 = 0xfffe;
const EXPERIMENTER_MISS: u16 = 0xffff;
