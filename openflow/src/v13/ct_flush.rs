//! Ending tracked connections on the wire: Nicira's messages 29 and 32. What 32 says are
//! properties: type, length without padding, value, padded to a multiple of 8 bytes; a tuple is a
//! property that holds others behind four bytes of padding.

use super::nicira::NICIRA;
use crate::wire::{Reader, Writer, padded};
use crate::{CtFlush, CtTuple, ErrorCode};

/// `NXT_CT_FLUSH_ZONE`.
pub(super) const ZONE: u32 = 29;
/// `NXT_CT_FLUSH`.
pub(super) const FLUSH: u32 = 32;

pub(super) fn decode_zone(body: &mut Reader) -> Result<CtFlush, ErrorCode> {
    zeros(body.take(6)?)?;
    Ok(CtFlush::zone(body.u16()?))
}

pub(super) fn decode(body: &mut Reader) -> Result<CtFlush, ErrorCode> {
    let mut flush = CtFlush {
        ip_proto: body.u8()?,
        ..CtFlush::default()
    };
    // The address family, which the addresses tell.
    body.skip(1)?;
    zeros(body.take(6)?)?;
    let (mut mark, mut mark_mask) = (None, u32::MAX);
    let (mut label, mut label_mask) = (None, u128::MAX);
    while !body.is_empty() {
        let (kind, mut value) = property(body)?;
        match kind {
            ORIGINAL => flush.original = tuple(&mut value)?,
            REPLY => flush.reply = tuple(&mut value)?,
            ZONE_ID => flush.zone = Some(value.u16()?),
            MARK => mark = Some(value.u32()?),
            MARK_MASK => mark_mask = value.u32()?,
            LABEL => label = Some(value.uint(16)?),
            LABEL_MASK => label_mask = value.uint(16)?,
            _ => return Err(ErrorCode::BAD_PROPERTY_BAD_TYPE),
        }
    }
    flush.mark = mark.map(|mark| (mark, mark_mask));
    flush.label = label.map(|label| (label, label_mask));
    Ok(flush)
}

/// The type of a property and what it holds.
fn property<'a>(body: &mut Reader<'a>) -> Result<(u16, Reader<'a>), ErrorCode> {
    let bad = ErrorCode::BAD_PROPERTY_BAD_LEN;
    body.reporting(bad, |body| {
        let kind = body.u16()?;
        let len = usize::from(body.u16()?);
        let value = body.part(len.checked_sub(PROPERTY_LEN).ok_or(bad)?, bad)?;
        body.skip(padded(len) - len)?;
        Ok((kind, value))
    })
}

fn tuple(value: &mut Reader) -> Result<CtTuple, ErrorCode> {
    let mut tuple = CtTuple::default();
    value.skip(4)?;
    while !value.is_empty() {
        let (kind, mut value) = property(value)?;
        match kind {
            SRC => tuple.src = value.uint(16)?,
            DST => tuple.dst = value.uint(16)?,
            SRC_PORT => tuple.src_port = value.u16()?,
            DST_PORT => tuple.dst_port = value.u16()?,
            ICMP_ID => tuple.icmp_id = value.u16()?,
            ICMP_TYPE => tuple.icmp_type = value.u8()?,
            ICMP_CODE => tuple.icmp_code = value.u8()?,
            _ => return Err(ErrorCode::BAD_PROPERTY_BAD_TYPE),
        }
    }
    Ok(tuple)
}

fn zeros(bytes: &[u8]) -> Result<(), ErrorCode> {
    match bytes.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(ErrorCode::MONITOR_FAILED_MUST_BE_ZERO),
    }
}

pub(super) fn encode(flush: &CtFlush, out: &mut Writer) {
    out.u32(NICIRA);
    if let Some(zone) = flush.zone
        && *flush == CtFlush::zone(zone)
    {
        out.u32(ZONE);
        out.bytes(&[0; 6]);
        out.u16(zone);
        return;
    }
    out.u32(FLUSH);
    out.u8(flush.ip_proto);
    out.bytes(&[0; 7]);
    for (kind, tuple) in [(ORIGINAL, &flush.original), (REPLY, &flush.reply)] {
        encode_tuple(kind, tuple, out);
    }
    if let Some(zone) = flush.zone {
        put(ZONE_ID, &[&zone.to_be_bytes()[..], &[0; 2]].concat(), out);
    }
    if let Some((mark, mask)) = flush.mark {
        put(MARK, &mark.to_be_bytes(), out);
        put(MARK_MASK, &mask.to_be_bytes(), out);
    }
    if let Some((label, mask)) = flush.label {
        put(LABEL, &label.to_be_bytes(), out);
        put(LABEL_MASK, &mask.to_be_bytes(), out);
    }
}

fn encode_tuple(kind: u16, tuple: &CtTuple, out: &mut Writer) {
    if *tuple == CtTuple::default() {
        return;
    }
    let mut bytes = vec![0; 4];
    let mut inner = Writer::new(&mut bytes);
    let mut put = |kind, value: &[u8]| {
        if value.iter().any(|byte| *byte != 0) {
            put(kind, value, &mut inner);
        }
    };
    put(SRC, &tuple.src.to_be_bytes());
    put(DST, &tuple.dst.to_be_bytes());
    put(SRC_PORT, &tuple.src_port.to_be_bytes());
    put(DST_PORT, &tuple.dst_port.to_be_bytes());
    put(ICMP_ID, &tuple.icmp_id.to_be_bytes());
    put(ICMP_TYPE, &[tuple.icmp_type]);
    put(ICMP_CODE, &[tuple.icmp_code]);
    self::put(kind, &bytes, out);
}

fn put(kind: u16, value: &[u8], out: &mut Writer) {
    let len = PROPERTY_LEN + value.len();
    out.u16(kind);
    out.u16(len as u16);
    out.bytes(value);
    out.bytes(&[0; 8][..padded(len) - len]);
}

/// Type and length of a property.
const PROPERTY_LEN: usize = 4;
/// `nx_ct_flush_tlv_type`.
const ORIGINAL: u16 = 0;
const REPLY: u16 = 1;
const ZONE_ID: u16 = 2;
const MARK: u16 = 3;
const MARK_MASK: u16 = 4;
const LABEL: u16 = 5;
const LABEL_MASK: u16 = 6;
/// `nx_ct_flush_tuple_tlv_type`.
const SRC: u16 = 0;
const DST: u16 = 1;
const SRC_PORT: u16 = 2;
const DST_PORT: u16 = 3;
const ICMP_ID: u16 = 4;
const ICMP_TYPE: u16 = 5;
const ICMP_CODE: u16 = 6;

#[cfg(test)]
mod tests {
    use super::super::{decode as decode_message, encode as encode_message};
    use super::*;
    use crate::{Message, Xid};

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = (0..hex.len()).step_by(2);
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        digits.map(byte).collect()
    }

    fn decoded(bytes: &[u8]) -> Result<Message, ErrorCode> {
        let decoded = decode_message(bytes);
        decoded
            .map(|(_, message)| message)
            .map_err(|error| error.code)
    }

    /// As ovs-ofctl 3.1 sends it.
    #[test]
    fn messages_of_ovs_ofctl() {
        let zone = bytes("0404001800000002000023200000001d0000000000000005");
        assert_eq!(
            decoded(&zone),
            Ok(Message::CtFlush(CtFlush::zone(5).into()))
        );
        let mut out = Vec::new();
        let message = Message::CtFlush(CtFlush::zone(5).into());
        encode_message(Xid(2), &message, &mut out).expect("it can be said");
        assert_eq!(out, zone);

        let tuples = bytes(
            "04040088000000020000232000000020060000000000000000000048000000000000001400000000\
             000000000000ffff0a010101000000000001001400000000000000000000ffff0a01010200000000\
             0002000800010000000300080002000000010020000000000000001400000000000000000000ffff\
             0a010102000000000002000800070000",
        );
        let flush = CtFlush {
            ip_proto: 6,
            zone: Some(7),
            original: CtTuple {
                src: 0xffff_0a01_0101,
                dst: 0xffff_0a01_0102,
                src_port: 1,
                dst_port: 2,
                ..CtTuple::default()
            },
            reply: CtTuple {
                src: 0xffff_0a01_0102,
                ..CtTuple::default()
            },
            ..CtFlush::default()
        };
        assert_eq!(decoded(&tuples), Ok(Message::CtFlush(flush.into())));

        let echo = bytes(
            "040400880000000200002320000000203a00000000000000000000500000000000000014fd000000000000\
             0000000000000000010000000000010014fd00000000000000000000000000000200000000000400080003\
             00000005000580000000000600050000000000010020000000000004000800000000000500050000000000\
             06000500000000",
        );
        let Ok(Message::CtFlush(flush)) = decoded(&echo) else {
            panic!("not understood");
        };
        let CtTuple {
            icmp_id,
            icmp_type,
            icmp_code,
            ..
        } = flush.original;
        assert_eq!((icmp_id, icmp_type, icmp_code), (3, 128, 0));
        assert_eq!((flush.ip_proto, flush.reply), (58, CtTuple::default()));
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_refused() {
        let flush = CtFlush {
            ip_proto: 1,
            zone: Some(9),
            original: CtTuple {
                src: 3,
                icmp_id: 4,
                icmp_type: 8,
                icmp_code: 1,
                ..CtTuple::default()
            },
            mark: Some((5, 7)),
            label: Some((u128::MAX - 1, 1 << 100)),
            ..CtFlush::default()
        };
        let mut whole = Vec::new();
        let message = Message::CtFlush(flush.into());
        encode_message(Xid(1), &message, &mut whole).expect("it can be said");
        assert_eq!(decoded(&whole), Ok(message));
        for len in 16..whole.len() {
            let mut short = whole[..len].to_vec();
            short[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            // Between two properties it is whole again.
            if let Ok(message) = decoded(&short) {
                let mut again = Vec::new();
                encode_message(Xid(1), &message, &mut again).expect("it can be said");
                assert_ne!(again, whole);
            }
        }
        let refused = |at: usize, value: u8| {
            let mut wrong = whole.clone();
            wrong[at] = value;
            decoded(&wrong)
        };
        let zero = Err(ErrorCode::MONITOR_FAILED_MUST_BE_ZERO);
        assert_eq!(refused(20, 1), zero);
        assert_eq!(refused(25, 9), Err(ErrorCode::BAD_PROPERTY_BAD_TYPE));
        assert_eq!(refused(27, 3), Err(ErrorCode::BAD_PROPERTY_BAD_LEN));
    }
}
