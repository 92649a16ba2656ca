//! Messages about the TLV table on the wire (nicira-ext, `nx_tlv_*`): 8 bytes for each Geneve
//! option and the `tun_metadata` field that it is.

use flowtable::TlvTable;

use crate::ErrorCode;
use crate::nicira::{TlvMap, TlvTableMod, TlvTableReply};
use crate::wire::{Reader, Writer};

pub(super) fn decode_mod(body: &mut Reader) -> Result<TlvTableMod, ErrorCode> {
    let command = body.u16()?;
    body.skip(6)?;
    if command > CLEAR {
        return Err(ErrorCode::TLV_TABLE_MOD_FAILED_BAD_COMMAND);
    }
    let maps = decode_maps(body)?;
    Ok(match command {
        ADD => TlvTableMod::Add(maps),
        DELETE => TlvTableMod::Delete(maps),
        _ => TlvTableMod::Clear,
    })
}

pub(super) fn encode_mod(change: &TlvTableMod, out: &mut Writer) {
    let (command, maps): (_, &[TlvMap]) = match change {
        TlvTableMod::Add(maps) => (ADD, maps),
        TlvTableMod::Delete(maps) => (DELETE, maps),
        TlvTableMod::Clear => (CLEAR, &[]),
    };
    out.u16(command);
    out.zeros(6);
    encode_maps(maps, out);
}

pub(super) fn decode_reply(body: &mut Reader) -> Result<TlvTableReply, ErrorCode> {
    let (space_max, fields_max) = (body.u32()?, body.u16()?);
    body.skip(10)?;
    Ok(TlvTableReply {
        space_max,
        fields_max,
        maps: decode_maps(body)?,
    })
}

pub(super) fn encode_reply(table: &TlvTableReply, out: &mut Writer) {
    out.u32(table.space_max);
    out.u16(table.fields_max);
    out.zeros(10);
    encode_maps(&table.maps, out);
}

fn decode_maps(body: &mut Reader) -> Result<Vec<TlvMap>, ErrorCode> {
    let mut maps = Vec::with_capacity(body.len() / 8);
    while !body.is_empty() {
        let map = TlvMap {
            class: body.u16()?,
            kind: body.u8()?,
            len: body.u8()?,
            index: body.u16()?,
        };
        body.skip(2)?;
        if !map.len.is_multiple_of(4) || map.len > LEN_MAX {
            return Err(ErrorCode::TLV_TABLE_MOD_FAILED_BAD_OPT_LEN);
        }
        if map.index >= TlvTable::FIELDS.into() {
            return Err(ErrorCode::TLV_TABLE_MOD_FAILED_BAD_FIELD_IDX);
        }
        maps.push(map);
    }
    Ok(maps)
}

fn encode_maps(maps: &[TlvMap], out: &mut Writer) {
    for map in maps {
        out.u16(map.class);
        out.u8(map.kind);
        out.u8(map.len);
        out.u16(map.index);
        out.zeros(2);
    }
}

/// Longest data of a Geneve option (RFC 8926 §3.5).
const LEN_MAX: u8 = 124;

// `NXTTMC_*`.
const ADD: u16 = 0;
const DELETE: u16 = 1;
const CLEAR: u16 = 2;

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;
    use crate::{Message, NiciraMessage, Xid};

    /// As stock `ovs-ofctl add-tlv-map br "{class=0x102,type=0x80,len=4}->tun_metadata0"` sends it.
    const ADDED: &[u8] = &[
        4, 4, 0, 32, 0, 0, 0, 2, 0, 0, 0x23, 0x20, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0x80,
        4, 0, 0, 0, 0,
    ];

    fn message(nicira: NiciraMessage) -> Message {
        Message::Nicira(nicira)
    }

    #[test]
    fn a_change_decodes() {
        let map = TlvMap {
            class: 0x102,
            kind: 0x80,
            len: 4,
            index: 0,
        };
        let change = message(NiciraMessage::TlvTableMod(TlvTableMod::Add(vec![map])));
        assert_eq!(decode(ADDED), Ok((Xid(2), change.clone())));
        let mut out = Vec::new();
        encode(Xid(2), &change, &mut out).unwrap();
        assert_eq!(out, ADDED);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (at, byte, code) in [
            (17, 3, ErrorCode::TLV_TABLE_MOD_FAILED_BAD_COMMAND),
            (27, 6, ErrorCode::TLV_TABLE_MOD_FAILED_BAD_OPT_LEN),
            (27, 128, ErrorCode::TLV_TABLE_MOD_FAILED_BAD_OPT_LEN),
            (29, 64, ErrorCode::TLV_TABLE_MOD_FAILED_BAD_FIELD_IDX),
            (28, 1, ErrorCode::TLV_TABLE_MOD_FAILED_BAD_FIELD_IDX),
        ] {
            let mut bytes = ADDED.to_vec();
            bytes[at] = byte;
            assert_eq!(decode(&bytes).map_err(|error| error.code), Err(code));
        }
    }

    #[test]
    fn too_short_is_a_bad_length() {
        for len in (17..ADDED.len()).filter(|len| *len != 24) {
            let mut bytes = ADDED[..len].to_vec();
            bytes[3] = len as u8;
            let code = ErrorCode::BAD_REQUEST_BAD_LEN;
            assert_eq!(decode(&bytes).map_err(|error| error.code), Err(code));
        }
    }

    #[test]
    fn every_message_comes_back() {
        let map = |index| TlvMap {
            class: 0xffff,
            kind: 7,
            len: 16,
            index,
        };
        for nicira in [
            NiciraMessage::TlvTableMod(TlvTableMod::Delete(vec![map(0), map(63)])),
            NiciraMessage::TlvTableMod(TlvTableMod::Clear),
            NiciraMessage::TlvTableRequest,
            NiciraMessage::TlvTableReply(TlvTableReply {
                space_max: 64,
                fields_max: 64,
                maps: vec![map(5)],
            }),
        ] {
            let (nicira, mut out) = (message(nicira), Vec::new());
            encode(Xid(5), &nicira, &mut out).unwrap();
            assert_eq!(decode(&out), Ok((Xid(5), nicira)));
        }
    }
}
