//! Matches (OpenFlow 1.3.5 §7.2.3): a list of fields in TLVs, prerequisites before what needs
//! them.

use flowtable::{Field, FlowKey, FlowMask, Known, Match, VLAN_PRESENT};

use crate::oxm::{self, Oxm, Tlv};
use crate::wire::{Reader, Writer, padded};
use crate::{ErrorCode, OfPort};

pub(super) fn decode(reader: &mut Reader) -> Result<Match, ErrorCode> {
    reader.reporting(ErrorCode::BAD_MATCH_BAD_LEN, |reader| {
        let kind = reader.u16()?;
        let len = usize::from(reader.u16()?);
        if kind != OXM {
            return Err(ErrorCode::BAD_MATCH_BAD_TYPE);
        }
        let fields_len = len.checked_sub(HEADER_LEN).ok_or(reader.short())?;
        let mut fields = reader.part(fields_len, reader.short())?;
        reader.skip(padded(len) - len)?;
        decode_fields(&mut fields)
    })
}

fn decode_fields(fields: &mut Reader) -> Result<Match, ErrorCode> {
    let (mut key, mut masks) = (FlowKey::default(), FlowMask::default());
    let mut seen = [false; Field::ALL.len()];
    while !fields.is_empty() {
        let tlv = oxm::decode(fields)?;
        let oxm = tlv.oxm.ok_or(ErrorCode::BAD_MATCH_BAD_FIELD)?;
        if std::mem::replace(&mut seen[oxm.field as usize], true) {
            return Err(ErrorCode::BAD_MATCH_DUP_FIELD);
        }
        let known = Known::new(|field| (field.read(&key), field.read(&masks.0)));
        if !known.meets(oxm.field.prerequisite()) {
            return Err(ErrorCode::BAD_MATCH_BAD_PREREQ);
        }
        if oxm.field.is_tunnel_option() {
            decode_option(&oxm, &tlv, &mut key, &mut masks)?;
            continue;
        }
        let (field, value, mask) = plain(decode_value(&oxm, tlv)?)?;
        let conflict = field.read(&key) ^ value;
        if conflict & mask & field.read(&masks.0) != 0 {
            return Err(ErrorCode::BAD_MATCH_DUP_FIELD);
        }
        field.write(&mut key, value, mask);
        field.write(&mut masks.0, u128::MAX, mask);
    }
    Ok(Match::new(&key, &masks))
}

/// Whoever matches an option, even without a bit of it, wants it to be there.
fn decode_option(
    oxm: &Oxm,
    tlv: &Tlv,
    key: &mut FlowKey,
    masks: &mut FlowMask,
) -> Result<(), ErrorCode> {
    for (field, value, mask) in tlv.option(oxm)? {
        if value & !mask != 0 {
            return Err(ErrorCode::BAD_MATCH_BAD_WILDCARDS);
        }
        let units = field.option_units();
        key.tunnel_option_units |= units;
        masks.0.tunnel_option_units |= units;
        field.write(key, value, mask);
        field.write(&mut masks.0, u128::MAX, mask);
    }
    Ok(())
}

/// Value and mask. A mask of all ones or all zeros says nothing that could not be said without
/// one, so it is taken for every field (§7.2.3.5).
fn decode_value(oxm: &Oxm, tlv: Tlv) -> Result<(Field, u128, u128), ErrorCode> {
    let ones = oxm.field.ones();
    let mut payload = tlv.payload;
    let value = payload.uint(oxm.value_len())?;
    let mask = if tlv.masked {
        payload.uint(oxm.value_len())? & ones
    } else {
        ones
    };
    payload.finish()?;
    if value > ones {
        return Err(ErrorCode::BAD_MATCH_BAD_VALUE);
    }
    if value & !mask != 0 {
        return Err(ErrorCode::BAD_MATCH_BAD_WILDCARDS);
    }
    if !oxm.field.maskable() && mask != ones && mask != 0 {
        return Err(ErrorCode::BAD_MATCH_BAD_MASK);
    }
    Ok((oxm.field, value, mask))
}

/// The same with Nicira's spellings of what the specification has otherwise: a port in 16 bits, and
/// a VLAN tag as one, of which the priority counts as a whole or not at all.
fn plain((field, value, mask): (Field, u128, u128)) -> Result<(Field, u128, u128), ErrorCode> {
    match field {
        Field::InPort16 if mask != 0 => {
            let port = OfPort::of_16_bits(value as u16);
            Ok((Field::InPort, port.0.into(), Field::InPort.ones()))
        }
        Field::VlanTci if !matches!(mask >> 13, 0 | 7) => Err(ErrorCode::BAD_MATCH_BAD_MASK),
        // Without a tag there is no priority to compare.
        Field::VlanTci if value == 0 && mask & u128::from(VLAN_PRESENT) != 0 => {
            Ok((field, value, mask & Field::VlanVid.ones()))
        }
        _ => Ok((field, value, mask)),
    }
}

/// Reads fields of which only those count that are no headers, without what they require: what is
/// known of a packet beside its bytes.
pub(super) fn decode_metadata(fields: &mut Reader) -> Result<Match, ErrorCode> {
    let (mut key, mut masks) = (FlowKey::default(), FlowMask::default());
    while !fields.is_empty() {
        let tlv = oxm::decode(fields)?;
        let Some(oxm) = tlv.oxm.filter(|oxm| oxm.field.is_metadata()) else {
            continue;
        };
        if oxm.field.is_tunnel_option() {
            decode_option(&oxm, &tlv, &mut key, &mut masks)?;
            continue;
        }
        let (field, value, mask) = plain(decode_value(&oxm, tlv)?)?;
        field.write(&mut key, value, mask);
        field.write(&mut masks.0, u128::MAX, mask);
    }
    Ok(Match::new(&key, &masks))
}

/// Writes every field.
pub(super) fn encode_fields(matching: &Match, out: &mut Writer) {
    let plain = matching.fields();
    for (field, value, mask) in plain.filter(|(field, ..)| !field.is_tunnel_option()) {
        Oxm::of(field, out.tlvs()).encode(value, mask, out);
    }
    let (there, wanted) = matching.read(Field::TunnelOptionUnits);
    let required = (there & wanted) as u64;
    let mappings = out.tlvs().iter();
    for mapping in mappings.filter(|mapping| mapping.units() & required != 0) {
        Oxm::encode_option(mapping, |field| matching.read(field), out);
    }
}

/// Writes every field in canonical order, in which prerequisites come first; how many bytes that
/// are without padding.
pub(super) fn encode(matching: &Match, out: &mut Writer) -> u16 {
    let start = out.position();
    out.u16(OXM);
    out.u16(0);
    encode_fields(matching, out);
    out.patch_len(start + 2, start);
    let len = out.position() - start;
    out.pad(start);
    len as u16
}

/// `OFPMT_OXM`.
const OXM: u16 = 1;
/// Type and length.
const HEADER_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use flowtable::TlvTable;

    use super::*;

    const IN_PORT: &[u8] = &[0x80, 0, 0, 4, 0, 0, 0, 1];
    const IPV4: &[u8] = &[0x80, 0, 10, 2, 0x08, 0x00];
    const TCP: &[u8] = &[0x80, 0, 20, 1, 6];
    const VLAN: &[u8] = &[0x80, 0, 12, 2, 0x10, 0x05];

    fn bytes(kind: u16, fields: &[&[u8]]) -> Vec<u8> {
        let fields = fields.concat();
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.u16(kind);
        writer.u16((HEADER_LEN + fields.len()) as u16);
        writer.bytes(&fields);
        writer.pad(0);
        out
    }

    fn decoded(bytes: &[u8]) -> Result<Match, ErrorCode> {
        let mut reader = Reader::new(bytes, ErrorCode::BAD_REQUEST_BAD_LEN);
        let matching = decode(&mut reader)?;
        reader.finish().map(|()| matching)
    }

    fn error(fields: &[&[u8]]) -> ErrorCode {
        decoded(&bytes(OXM, fields)).expect_err("wrong on purpose")
    }

    #[test]
    fn a_match_decodes_field_by_field() {
        let source = &[0x80, 0, 11 << 1 | 1, 8, 10, 0, 0, 0, 255, 0, 0, 0];
        let port = &[0x80, 0, 28, 2, 0, 80];
        let matching = decoded(&bytes(OXM, &[IN_PORT, VLAN, IPV4, TCP, source, port]));
        let mut wanted = Match::default();
        wanted.set(Field::InPort, 1, u128::MAX);
        wanted.set(Field::VlanVid, 0x1005, u128::MAX);
        wanted.set(Field::EthType, 0x0800, u128::MAX);
        wanted.set(Field::IpProto, 6, u128::MAX);
        wanted.set(Field::Ipv4Src, 0x0a00_0000, 0xff00_0000);
        wanted.set(Field::TcpDst, 80, u128::MAX);
        assert_eq!(matching, Ok(wanted));
    }

    #[test]
    fn a_match_encodes_in_order_with_padding() {
        let mut matching = Match::default();
        matching.set(Field::IpProto, 6, u128::MAX);
        matching.set(Field::EthType, 0x0800, u128::MAX);
        matching.set(Field::EthDst, 1 << 40, 1 << 40);
        let mut out = Vec::new();
        encode(&matching, &mut Writer::new(&mut out));
        let group_bit = &[0x80, 0, 7, 12, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
        assert_eq!(out, bytes(OXM, &[group_bit, IPV4, TCP]));
        assert_eq!(out.len() % 8, 0);
    }

    fn tlvs() -> TlvTable {
        let mut tlvs = TlvTable::default();
        tlvs.add(0, 0x102, 0x80, 4).unwrap();
        tlvs.add(63, 0x102, 1, 12).unwrap();
        tlvs
    }

    fn with_options(fields: &[&[u8]]) -> Result<Match, ErrorCode> {
        let (bytes, tlvs) = (bytes(OXM, fields), tlvs());
        let reader = Reader::new(&bytes, ErrorCode::BAD_REQUEST_BAD_LEN);
        decode(&mut reader.knowing(&tlvs))
    }

    /// Whatever of a value its sender left out is zeros, and all of an option is required then.
    #[test]
    fn options_are_what_the_table_says() {
        let whole: &[u8] = &[0, 1, 40 << 1, 4, 0, 0, 0x12, 0x34];
        let short = &[0, 1, 40 << 1, 2, 0x12, 0x34];
        let masked: &[u8] = &[0, 1, 40 << 1 | 1, 8, 0, 0, 0, 4, 0, 0, 0, 0xff];
        let there: &[u8] = &[0, 1, 40 << 1 | 1, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        let nothing: &[u8] = &[0, 1, 40 << 1 | 1, 0];
        assert_eq!(with_options(&[nothing]), with_options(&[there]));
        let long: &[u8] = &[0, 1, 103 << 1, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let matching = with_options(&[whole]);
        assert_eq!(with_options(&[short]), matching);
        for fields in [&[whole, long][..], &[masked], &[there]] {
            let (matching, tlvs) = (with_options(fields).unwrap(), tlvs());
            assert!(!matching.is_empty());
            let mut out = Vec::new();
            encode(&matching, &mut Writer::new(&mut out).knowing(&tlvs));
            assert_eq!(out, bytes(OXM, fields));
        }
        assert_ne!(with_options(&[there]), with_options(&[masked]));
        let ones = [0, 1, 40 << 1 | 1, 8, 0, 0, 0x12, 0x34, 255, 255, 255, 255];
        assert_eq!(with_options(&[&ones]), matching);
    }

    /// As stock `ovs-ofctl` sends them: all of a value, and a mask unless it is all ones.
    #[test]
    fn long_options_are_several_fields() {
        let mut tlvs = TlvTable::default();
        tlvs.add(1, 0x102, 0x80, 40).unwrap();
        let value: Vec<u8> = (1..=40).collect();
        let exact = [&[0, 1, 41 << 1, 40][..], &value].concat();
        let mut mask = [0; 40];
        mask[..3].fill(0xff);
        let masked = [&[0, 1, 41 << 1 | 1, 80, 1, 2, 3][..], &[0; 37], &mask].concat();
        let there = [&[0, 1, 41 << 1 | 1, 80][..], &[0; 80]].concat();
        let mapping = tlvs.of_index(1).unwrap();
        for fields in [&exact, &masked, &there] {
            let bytes = bytes(OXM, &[fields]);
            let reader = Reader::new(&bytes, ErrorCode::BAD_REQUEST_BAD_LEN);
            let matching = decode(&mut reader.knowing(&tlvs)).unwrap();
            let mask = matching.mask().0;
            assert_eq!(mask.tunnel_option_units, mapping.units());
            let mut out = Vec::new();
            encode(&matching, &mut Writer::new(&mut out).knowing(&tlvs));
            assert_eq!(out, bytes);
        }
        let wild = [&[0, 1, 41 << 1 | 1, 80, 1][..], &[0; 79]].concat();
        let wild = bytes(OXM, &[&wild]);
        let reader = Reader::new(&wild, ErrorCode::BAD_REQUEST_BAD_LEN);
        let error = decode(&mut reader.knowing(&tlvs));
        assert_eq!(error, Err(ErrorCode::BAD_MATCH_BAD_WILDCARDS));
    }

    #[test]
    fn options_that_are_not_mapped() {
        let unmapped = &[0, 1, 41 << 1, 4, 0, 0, 0, 1];
        let error = with_options(&[unmapped]);
        assert_eq!(error, Err(ErrorCode::INVALID_TLV_FIELD));
        let too_long = &[0, 1, 40 << 1, 5, 0, 0, 0, 0, 1];
        let error = with_options(&[too_long]);
        assert_eq!(error, Err(ErrorCode::BAD_MATCH_BAD_LEN));
    }

    #[test]
    fn too_short_is_a_bad_length() {
        let whole = bytes(OXM, &[IN_PORT, IPV4]);
        for len in 0..whole.len() {
            assert_eq!(
                decoded(&whole[..len]),
                Err(ErrorCode::BAD_MATCH_BAD_LEN),
                "{len}"
            );
        }
        assert_eq!(
            decoded(&[0, 1, 0, 3, 0, 0, 0, 0]),
            Err(ErrorCode::BAD_MATCH_BAD_LEN)
        );
        assert_eq!(error(&[&IN_PORT[..6]]), ErrorCode::BAD_MATCH_BAD_LEN);
        let narrow = &[0x80, 0, 0, 2, 0, 1];
        assert_eq!(error(&[narrow]), ErrorCode::BAD_MATCH_BAD_LEN);
        let masked_without_mask = &[0x80, 0, 7, 6, 0, 0, 0, 0, 0, 1];
        assert_eq!(error(&[masked_without_mask]), ErrorCode::BAD_MATCH_BAD_LEN);
    }

    #[test]
    fn only_oxm_matches_are_known() {
        assert_eq!(decoded(&bytes(0, &[])), Err(ErrorCode::BAD_MATCH_BAD_TYPE));
        assert_eq!(decoded(&bytes(2, &[])), Err(ErrorCode::BAD_MATCH_BAD_TYPE));
    }

    #[test]
    fn unknown_fields_are_bad() {
        assert_eq!(
            error(&[&[0x80, 0, 60 << 1, 1, 0]]),
            ErrorCode::BAD_MATCH_BAD_FIELD
        );
        assert_eq!(
            error(&[&[0x12, 0x34, 0, 1, 0]]),
            ErrorCode::BAD_MATCH_BAD_FIELD
        );
        let experimenter = &[0xff, 0xff, 84, 6, 0, 0, 0, 1, 0, 2];
        assert_eq!(error(&[experimenter]), ErrorCode::BAD_MATCH_BAD_FIELD);
    }

    #[test]
    fn values_are_no_wider_than_their_field() {
        let vid = &[0x80, 0, 12, 2, 0x20, 0x01];
        assert_eq!(error(&[vid]), ErrorCode::BAD_MATCH_BAD_VALUE);
        let dscp = &[0x80, 0, 16, 1, 64];
        assert_eq!(error(&[IPV4, dscp]), ErrorCode::BAD_MATCH_BAD_VALUE);
    }

    #[test]
    fn values_lie_under_their_mask() {
        let metadata = [
            [0x80, 0, 5, 16].as_slice(),
            &[0, 0, 0, 0, 0, 0, 0, 3],
            &[0; 8],
        ]
        .concat();
        assert_eq!(error(&[&metadata]), ErrorCode::BAD_MATCH_BAD_WILDCARDS);
    }

    #[test]
    fn masks_are_for_maskable_fields() {
        let half = &[0x80, 0, 1, 8, 0, 0, 0, 1, 0, 0, 0xff, 0xff];
        assert_eq!(error(&[half]), ErrorCode::BAD_MATCH_BAD_MASK);
        let all = &[0x80, 0, 1, 8, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(
            decoded(&bytes(OXM, &[all])),
            decoded(&bytes(OXM, &[IN_PORT]))
        );
        let none = &[0x80, 0, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decoded(&bytes(OXM, &[none])), Ok(Match::default()));
    }

    #[test]
    fn prerequisites_come_first() {
        assert_eq!(error(&[TCP]), ErrorCode::BAD_MATCH_BAD_PREREQ);
        assert_eq!(error(&[TCP, IPV4]), ErrorCode::BAD_MATCH_BAD_PREREQ);
        let pcp = &[0x80, 0, 14, 1, 3];
        let untagged = &[0x80, 0, 12, 2, 0, 0];
        assert_eq!(error(&[untagged, pcp]), ErrorCode::BAD_MATCH_BAD_PREREQ);
        assert!(decoded(&bytes(OXM, &[VLAN, pcp])).is_ok());
    }

    #[test]
    fn a_field_comes_once() {
        assert_eq!(error(&[IN_PORT, IN_PORT]), ErrorCode::BAD_MATCH_DUP_FIELD);
        let twice_wild = &[0x80, 0, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            error(&[twice_wild, twice_wild]),
            ErrorCode::BAD_MATCH_DUP_FIELD
        );
    }
}
