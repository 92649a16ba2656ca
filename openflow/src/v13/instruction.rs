//! Instructions (OpenFlow 1.3.5 §7.2.4).

use super::action::{self, Place};
use crate::bundle::ONF;
use crate::wire::{Reader, Writer, padded};
use crate::{Action, ErrorCode, InstructionKind, Instructions, MeterId, TableId};

/// Decodes all of `reader`.
pub(super) fn decode_list(reader: &mut Reader) -> Result<Instructions, ErrorCode> {
    reader.reporting(ErrorCode::BAD_INSTRUCTION_BAD_LEN, |reader| {
        let mut instructions = Instructions::default();
        while !reader.is_empty() {
            decode(reader, &mut instructions)?;
        }
        Ok(instructions)
    })
}

fn decode(reader: &mut Reader, instructions: &mut Instructions) -> Result<(), ErrorCode> {
    let kind = reader.u16()?;
    let len = usize::from(reader.u16()?);
    if len < INSTRUCTION_LEN_MIN || len != padded(len) {
        return Err(reader.short());
    }
    let mut body = reader.part(len - HEADER_LEN, reader.short())?;
    if kind == EXPERIMENTER {
        return Err(match body.u32()? {
            ONF => ErrorCode::BAD_INSTRUCTION_BAD_EXP_TYPE,
            _ => ErrorCode::BAD_INSTRUCTION_BAD_EXPERIMENTER,
        });
    }
    let kind = decode_kind(kind).ok_or(ErrorCode::BAD_INSTRUCTION_UNKNOWN_INST)?;
    match kind {
        InstructionKind::Meter => once(&mut instructions.meter, MeterId(body.u32()?))?,
        InstructionKind::ApplyActions => {
            body.skip(4)?;
            once(
                &mut instructions.apply,
                action::decode_list(&mut body, Place::Pipeline)?,
            )?;
        }
        InstructionKind::ClearActions => {
            body.skip(4)?;
            if std::mem::replace(&mut instructions.clear, true) {
                return Err(ErrorCode::BAD_INSTRUCTION_DUP_INST);
            }
        }
        InstructionKind::WriteActions => {
            body.skip(4)?;
            once(
                &mut instructions.write,
                action::decode_list(&mut body, Place::Pipeline)?,
            )?;
        }
        InstructionKind::WriteMetadata => {
            body.skip(4)?;
            once(&mut instructions.metadata, (body.u64()?, body.u64()?))?;
        }
        InstructionKind::GotoTable => once(&mut instructions.goto, decode_goto(&mut body)?)?,
    }
    body.finish()
}

fn decode_goto(body: &mut Reader) -> Result<TableId, ErrorCode> {
    let table = TableId(body.u8()?);
    body.skip(3)?;
    let there = table <= TableId::LAST;
    if there {
        Ok(table)
    } else {
        Err(ErrorCode::BAD_INSTRUCTION_BAD_TABLE_ID)
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), ErrorCode> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ErrorCode::BAD_INSTRUCTION_DUP_INST),
    }
}

/// Writes the instructions in the order in which they are carried out.
pub(super) fn encode_list(instructions: &Instructions, out: &mut Writer) {
    if let Some(meter) = instructions.meter {
        encode_header(InstructionKind::Meter, 8, out);
        out.u32(meter.0);
    }
    if let Some(actions) = &instructions.apply {
        encode_actions(InstructionKind::ApplyActions, actions, out);
    }
    if instructions.clear {
        encode_actions(InstructionKind::ClearActions, &[], out);
    }
    if let Some(actions) = &instructions.write {
        encode_actions(InstructionKind::WriteActions, actions, out);
    }
    if let Some((value, mask)) = instructions.metadata {
        encode_header(InstructionKind::WriteMetadata, 24, out);
        out.zeros(4);
        out.u64(value);
        out.u64(mask);
    }
    if let Some(table) = instructions.goto {
        encode_header(InstructionKind::GotoTable, 8, out);
        out.u8(table.0);
        out.zeros(3);
    }
}

fn encode_header(kind: InstructionKind, len: u16, out: &mut Writer) {
    out.u16(kind as u16);
    out.u16(len);
}

fn encode_actions(kind: InstructionKind, actions: &[Action], out: &mut Writer) {
    let start = out.position();
    encode_header(kind, 0, out);
    out.zeros(4);
    action::encode_list(actions, out);
    out.patch_len(start + 2, start);
}

/// The kind with this number.
pub(super) fn decode_kind(number: u16) -> Option<InstructionKind> {
    InstructionKind::ALL
        .iter()
        .copied()
        .find(|kind| *kind as u16 == number)
}

/// `OFPIT_EXPERIMENTER`.
const EXPERIMENTER: u16 = 0xffff;
/// Type and length.
const HEADER_LEN: usize = 4;
/// The shortest instructions have four bytes after the header.
const INSTRUCTION_LEN_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const GOTO: &[u8] = &[0, 1, 0, 8, 5, 0, 0, 0];
    const METER: &[u8] = &[0, 6, 0, 8, 0, 0, 0, 3];
    const CLEAR: &[u8] = &[0, 5, 0, 8, 0, 0, 0, 0];
    const APPLY: &[u8] = &[0, 4, 0, 16, 0, 0, 0, 0, 0, 18, 0, 8, 0, 0, 0, 0];
    const WRITE: &[u8] = &[0, 3, 0, 8, 0, 0, 0, 0];
    const METADATA: &[u8] = &[
        0, 2, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 15,
    ];

    fn decoded(bytes: &[u8]) -> Result<Instructions, ErrorCode> {
        decode_list(&mut Reader::new(bytes, ErrorCode::BAD_REQUEST_BAD_LEN))
    }

    fn all() -> Instructions {
        Instructions {
            meter: Some(MeterId(3)),
            apply: Some([Action::PopVlan].into()),
            clear: true,
            write: Some([].into()),
            metadata: Some((9, 15)),
            goto: Some(TableId(5)),
        }
    }

    #[test]
    fn instructions_decode_in_any_order() {
        let bytes = [GOTO, METADATA, WRITE, CLEAR, APPLY, METER].concat();
        assert_eq!(decoded(&bytes), Ok(all()));
        assert_eq!(decoded(&[]), Ok(Instructions::default()));
    }

    #[test]
    fn instructions_encode_in_order_of_execution() {
        let mut out = Vec::new();
        encode_list(&all(), &mut Writer::new(&mut out));
        assert_eq!(out, [METER, APPLY, CLEAR, WRITE, METADATA, GOTO].concat());
    }

    #[test]
    fn lengths_are_strict() {
        for whole in [GOTO, METER, CLEAR, WRITE, METADATA] {
            for len in 1..whole.len() {
                assert_eq!(
                    decoded(&whole[..len]),
                    Err(ErrorCode::BAD_INSTRUCTION_BAD_LEN)
                );
            }
            let mut long = [whole, &[0; 8]].concat();
            long[3] += 8;
            let code = match whole[1] {
                3 => ErrorCode::BAD_ACTION_BAD_LEN,
                _ => ErrorCode::BAD_INSTRUCTION_BAD_LEN,
            };
            assert_eq!(decoded(&long), Err(code), "{whole:?}");
        }
        assert_eq!(
            decoded(&[0, 5, 0, 0, 0, 0, 0, 0]),
            Err(ErrorCode::BAD_INSTRUCTION_BAD_LEN)
        );
    }

    #[test]
    fn an_instruction_comes_once() {
        for one in [GOTO, METER, CLEAR, APPLY, WRITE, METADATA] {
            let twice = [one, one].concat();
            assert_eq!(
                decoded(&twice),
                Err(ErrorCode::BAD_INSTRUCTION_DUP_INST),
                "{one:?}"
            );
        }
    }

    #[test]
    fn strangers_are_refused() {
        let unknown = [0, 9, 0, 8, 0, 0, 0, 0];
        assert_eq!(
            decoded(&unknown),
            Err(ErrorCode::BAD_INSTRUCTION_UNKNOWN_INST)
        );
        let experimenter = [0xff, 0xff, 0, 8, 0, 0, 0x23, 0x20];
        assert_eq!(
            decoded(&experimenter),
            Err(ErrorCode::BAD_INSTRUCTION_BAD_EXPERIMENTER)
        );
        let goto = [0, 1, 0, 8, 254, 0, 0, 0];
        assert_eq!(decoded(&goto), Err(ErrorCode::BAD_INSTRUCTION_BAD_TABLE_ID));
    }
}
