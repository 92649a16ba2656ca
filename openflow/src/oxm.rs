//! Match fields on the wire: class, number and size of each (OpenFlow 1.3.5 §7.2.3.2 to
//! §7.2.3.7), and one TLV in and out.
//!
//! Besides the basic class of the specification there are fields that `ovs-ofctl` writes in an
//! OpenFlow 1.3 session: of the Nicira class (`NXM_NX_*`) for what only later versions standardise,
//! and TCP flags as the ONF's extension 109 does, with an experimenter number after the header.
//! Where a field has several spellings we read all and write one.

use flowtable::Field;

use crate::ErrorCode;
use crate::bundle::ONF;
use crate::wire::{Reader, Writer};

/// How a field is spelled on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Oxm {
    pub(crate) field: Field,
    class: u16,
    number: u8,
    /// Bytes of a value.
    len: u8,
}

/// `OFPXMC_OPENFLOW_BASIC`.
const BASIC: u16 = 0x8000;
/// `OFPXMC_NXM_1`.
const NICIRA: u16 = 0x0001;
/// `OFPXMC_EXPERIMENTER`.
const EXPERIMENTER: u16 = 0xffff;
/// Bytes of the experimenter number, which count as payload.
const EXPERIMENTER_LEN: usize = 4;

const fn oxm(field: Field, class: u16, number: u8, len: u8) -> Oxm {
    Oxm {
        field,
        class,
        number,
        len,
    }
}

/// Every field as we write it, at its own place in [`Field::ALL`].
static TABLE: [Oxm; Field::ALL.len()] = [
    oxm(Field::InPort, BASIC, 0, 4),
    oxm(Field::InPhyPort, BASIC, 1, 4),
    oxm(Field::Metadata, BASIC, 2, 8),
    oxm(Field::EthDst, BASIC, 3, 6),
    oxm(Field::EthSrc, BASIC, 4, 6),
    oxm(Field::EthType, BASIC, 5, 2),
    oxm(Field::VlanVid, BASIC, 6, 2),
    oxm(Field::VlanPcp, BASIC, 7, 1),
    oxm(Field::IpDscp, BASIC, 8, 1),
    oxm(Field::IpEcn, BASIC, 9, 1),
    oxm(Field::IpProto, BASIC, 10, 1),
    oxm(Field::Ipv4Src, BASIC, 11, 4),
    oxm(Field::Ipv4Dst, BASIC, 12, 4),
    oxm(Field::TcpSrc, BASIC, 13, 2),
    oxm(Field::TcpDst, BASIC, 14, 2),
    oxm(Field::UdpSrc, BASIC, 15, 2),
    oxm(Field::UdpDst, BASIC, 16, 2),
    oxm(Field::SctpSrc, BASIC, 17, 2),
    oxm(Field::SctpDst, BASIC, 18, 2),
    oxm(Field::Icmpv4Type, BASIC, 19, 1),
    oxm(Field::Icmpv4Code, BASIC, 20, 1),
    oxm(Field::ArpOp, BASIC, 21, 2),
    oxm(Field::ArpSpa, BASIC, 22, 4),
    oxm(Field::ArpTpa, BASIC, 23, 4),
    oxm(Field::ArpSha, BASIC, 24, 6),
    oxm(Field::ArpTha, BASIC, 25, 6),
    oxm(Field::Ipv6Src, BASIC, 26, 16),
    oxm(Field::Ipv6Dst, BASIC, 27, 16),
    oxm(Field::Ipv6Flabel, BASIC, 28, 4),
    oxm(Field::Icmpv6Type, BASIC, 29, 1),
    oxm(Field::Icmpv6Code, BASIC, 30, 1),
    oxm(Field::NdTarget, BASIC, 31, 16),
    oxm(Field::NdSll, BASIC, 32, 6),
    oxm(Field::NdTll, BASIC, 33, 6),
    oxm(Field::MplsLabel, BASIC, 34, 4),
    oxm(Field::MplsTc, BASIC, 35, 1),
    oxm(Field::MplsBos, BASIC, 36, 1),
    oxm(Field::PbbIsid, BASIC, 37, 3),
    oxm(Field::TunnelId, BASIC, 38, 8),
    oxm(Field::Ipv6Exthdr, BASIC, 39, 2),
    oxm(Field::IpTtl, NICIRA, 29, 1),
    oxm(Field::MplsTtl, NICIRA, 30, 1),
    oxm(Field::IpFrag, NICIRA, 26, 1),
    oxm(Field::TcpFlags, EXPERIMENTER, 42, 2),
];

/// Spellings that we only read.
static ALIASES: &[Oxm] = &[
    oxm(Field::TcpFlags, BASIC, 42, 2),
    oxm(Field::TcpFlags, NICIRA, 34, 2),
];

impl Oxm {
    /// How `field` is spelled.
    pub(crate) fn of(field: Field) -> &'static Oxm {
        &TABLE[field as usize]
    }

    /// Bytes of a value.
    pub(crate) fn value_len(&self) -> usize {
        self.len.into()
    }

    /// Writes the header: class, number, whether there is a mask, length of what follows.
    pub(crate) fn encode_header(&self, masked: bool, out: &mut Writer) {
        let experimenter = self.class == EXPERIMENTER;
        let payload = self.value_len() * if masked { 2 } else { 1 };
        let payload = payload + if experimenter { EXPERIMENTER_LEN } else { 0 };
        out.u16(self.class);
        out.u8(self.number << 1 | u8::from(masked));
        out.u8(payload as u8);
        if experimenter {
            out.u32(ONF);
        }
    }

    /// Writes the field with a value, and a mask unless it is all ones.
    pub(crate) fn encode(&self, value: u128, mask: u128, out: &mut Writer) {
        let masked = mask != self.field.ones();
        self.encode_header(masked, out);
        out.uint(value, self.value_len());
        if masked {
            out.uint(mask, self.value_len());
        }
    }
}

/// The header of a TLV that was read, and what follows it.
pub(crate) struct Tlv<'a> {
    /// The field; nothing if we do not know it.
    pub(crate) oxm: Option<&'static Oxm>,
    /// Whether there is a mask.
    pub(crate) masked: bool,
    /// Value and mask, without an experimenter number.
    pub(crate) payload: Reader<'a>,
}

/// Reads a TLV: too short is the reader's own error.
pub(crate) fn decode<'a>(reader: &mut Reader<'a>) -> Result<Tlv<'a>, ErrorCode> {
    let (key, len) = decode_header(reader)?;
    let mut payload = reader.part(len, reader.short())?;
    let oxm = find(key, &mut payload)?;
    Ok(Tlv {
        oxm,
        masked: key.masked,
        payload,
    })
}

/// Reads a TLV of which only the header is there, as in lists of what a table can do.
pub(crate) fn decode_id(reader: &mut Reader) -> Result<(Option<&'static Oxm>, bool), ErrorCode> {
    let (key, _) = decode_header(reader)?;
    Ok((find(key, reader)?, key.masked))
}

#[derive(Clone, Copy)]
struct Key {
    class: u16,
    number: u8,
    masked: bool,
}

fn decode_header(reader: &mut Reader) -> Result<(Key, usize), ErrorCode> {
    let class = reader.u16()?;
    let number = reader.u8()?;
    let len = reader.u8()?.into();
    Ok((
        Key {
            class,
            number: number >> 1,
            masked: number & 1 == 1,
        },
        len,
    ))
}

/// Finds the field, reading the experimenter number where there is one.
fn find(key: Key, payload: &mut Reader) -> Result<Option<&'static Oxm>, ErrorCode> {
    if key.class == EXPERIMENTER && payload.u32()? != ONF {
        return Ok(None);
    }
    let same = |oxm: &&Oxm| oxm.class == key.class && oxm.number == key.number;
    // Fields of the basic class are at the places of their numbers.
    let basic = TABLE.get(usize::from(key.number)).filter(same);
    Ok(basic.or_else(|| TABLE.iter().chain(ALIASES).find(same)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_can_be_said_and_is_understood() {
        for &field in Field::ALL {
            let oxm = Oxm::of(field);
            assert_eq!(oxm.field, field);
            assert_eq!(
                oxm.value_len(),
                match field {
                    // Wider on the wire than they are (OpenFlow 1.3.5 §7.2.3.7, table 12).
                    Field::Ipv6Flabel | Field::MplsLabel => 4,
                    _ => field.width().div_ceil(8) as usize,
                },
                "{field:?}"
            );
            for masked in [false, true] {
                let mut bytes = Vec::new();
                oxm.encode_header(masked, &mut Writer::new(&mut bytes));
                let mut reader = Reader::new(&bytes, ErrorCode::BAD_MATCH_BAD_LEN);
                let (found, found_masked) = decode_id(&mut reader).expect("whole");
                assert_eq!(found.map(|oxm| oxm.field), Some(field));
                assert_eq!(found_masked, masked);
                assert!(reader.is_empty());
            }
        }
    }

    #[test]
    fn no_spelling_is_there_twice() {
        let mut seen = std::collections::HashSet::new();
        for oxm in TABLE.iter().chain(ALIASES) {
            assert!(seen.insert((oxm.class, oxm.number)), "{:?}", oxm.field);
        }
    }

    #[test]
    fn strangers_are_skipped_whole() {
        let bytes = [0xff, 0xff, 84, 6, 0, 0, 0x23, 0x20, 1, 2, 9];
        let mut reader = Reader::new(&bytes, ErrorCode::BAD_MATCH_BAD_LEN);
        let tlv = decode(&mut reader).expect("whole");
        assert!(tlv.oxm.is_none());
        assert_eq!(reader.rest(), [9]);
    }

    #[test]
    fn too_short_is_the_readers_error() {
        let bytes = [0x80, 0x00, 0, 4, 0, 0, 0, 7];
        for len in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..len], ErrorCode::BAD_ACTION_BAD_SET_LEN);
            assert_eq!(
                decode(&mut reader).err(),
                Some(ErrorCode::BAD_ACTION_BAD_SET_LEN)
            );
        }
    }
}
