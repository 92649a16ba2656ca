//! Match fields on the wire: class, number and size of each (OpenFlow 1.3.5 §7.2.3.2 to
//! §7.2.3.7), and one TLV in and out.
//!
//! Besides the basic class of the specification there are fields that `ovs-ofctl` writes in an
//! OpenFlow 1.3 session: of Nicira's classes (`NXM_*`; nicira-ext, ovs-fields(7)) registers,
//! tunnels, connection tracking and what only later versions standardise, and TCP flags as the
//! ONF's extension 109 does, with an experimenter number after the header. Where a field has
//! several spellings we read all; in a match we write the specification's, in Nicira's actions
//! Nicira's.

use flowtable::{Field, TlvMapping, TlvTable};

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
    /// Name in the specification, as flow syntax has it in actions that name fields.
    pub(crate) name: &'static str,
}

/// `OFPXMC_OPENFLOW_BASIC`.
const BASIC: u16 = 0x8000;
/// `OFPXMC_NXM_0`.
const NXM_0: u16 = 0x0000;
/// `OFPXMC_NXM_1`.
const NICIRA: u16 = 0x0001;
/// What Open vSwitch has from Ericsson, of which the specification knows nothing.
const ERICSSON: u16 = 0x1000;
/// `OFPXMC_PACKET_REGS` (OpenFlow 1.5.1 §7.2.3.2).
const PACKET_REGISTERS: u16 = 0x8001;
/// `OFPXMC_EXPERIMENTER`.
const EXPERIMENTER: u16 = 0xffff;
/// Bytes of the experimenter number, which count as payload.
const EXPERIMENTER_LEN: usize = 4;

const fn oxm(field: Field, class: u16, number: u8, len: u8, name: &'static str) -> Oxm {
    Oxm {
        field,
        class,
        number,
        len,
        name,
    }
}

/// Every field as we write it, in the order of [`Field::ALL`]. What Geneve options are called is
/// the TLV table's to say.
static TABLE: [Oxm; Field::ALL.len() - OPTION_FIELDS] = [
    oxm(Field::InPort, BASIC, 0, 4, "OXM_OF_IN_PORT"),
    oxm(Field::InPhyPort, BASIC, 1, 4, "OXM_OF_IN_PHY_PORT"),
    oxm(Field::Metadata, BASIC, 2, 8, "OXM_OF_METADATA"),
    oxm(Field::EthDst, BASIC, 3, 6, "OXM_OF_ETH_DST"),
    oxm(Field::EthSrc, BASIC, 4, 6, "OXM_OF_ETH_SRC"),
    oxm(Field::EthType, BASIC, 5, 2, "OXM_OF_ETH_TYPE"),
    oxm(Field::VlanVid, BASIC, 6, 2, "OXM_OF_VLAN_VID"),
    oxm(Field::VlanPcp, BASIC, 7, 1, "OXM_OF_VLAN_PCP"),
    oxm(Field::IpDscp, BASIC, 8, 1, "OXM_OF_IP_DSCP"),
    oxm(Field::IpEcn, BASIC, 9, 1, "OXM_OF_IP_ECN"),
    oxm(Field::IpProto, BASIC, 10, 1, "OXM_OF_IP_PROTO"),
    oxm(Field::Ipv4Src, BASIC, 11, 4, "OXM_OF_IPV4_SRC"),
    oxm(Field::Ipv4Dst, BASIC, 12, 4, "OXM_OF_IPV4_DST"),
    oxm(Field::TcpSrc, BASIC, 13, 2, "OXM_OF_TCP_SRC"),
    oxm(Field::TcpDst, BASIC, 14, 2, "OXM_OF_TCP_DST"),
    oxm(Field::UdpSrc, BASIC, 15, 2, "OXM_OF_UDP_SRC"),
    oxm(Field::UdpDst, BASIC, 16, 2, "OXM_OF_UDP_DST"),
    oxm(Field::SctpSrc, BASIC, 17, 2, "OXM_OF_SCTP_SRC"),
    oxm(Field::SctpDst, BASIC, 18, 2, "OXM_OF_SCTP_DST"),
    oxm(Field::Icmpv4Type, BASIC, 19, 1, "OXM_OF_ICMPV4_TYPE"),
    oxm(Field::Icmpv4Code, BASIC, 20, 1, "OXM_OF_ICMPV4_CODE"),
    oxm(Field::ArpOp, BASIC, 21, 2, "OXM_OF_ARP_OP"),
    oxm(Field::ArpSpa, BASIC, 22, 4, "OXM_OF_ARP_SPA"),
    oxm(Field::ArpTpa, BASIC, 23, 4, "OXM_OF_ARP_TPA"),
    oxm(Field::ArpSha, BASIC, 24, 6, "OXM_OF_ARP_SHA"),
    oxm(Field::ArpTha, BASIC, 25, 6, "OXM_OF_ARP_THA"),
    oxm(Field::Ipv6Src, BASIC, 26, 16, "OXM_OF_IPV6_SRC"),
    oxm(Field::Ipv6Dst, BASIC, 27, 16, "OXM_OF_IPV6_DST"),
    oxm(Field::Ipv6Flabel, BASIC, 28, 4, "OXM_OF_IPV6_FLABEL"),
    oxm(Field::Icmpv6Type, BASIC, 29, 1, "OXM_OF_ICMPV6_TYPE"),
    oxm(Field::Icmpv6Code, BASIC, 30, 1, "OXM_OF_ICMPV6_CODE"),
    oxm(Field::NdTarget, BASIC, 31, 16, "OXM_OF_IPV6_ND_TARGET"),
    oxm(Field::NdSll, BASIC, 32, 6, "OXM_OF_IPV6_ND_SLL"),
    oxm(Field::NdTll, BASIC, 33, 6, "OXM_OF_IPV6_ND_TLL"),
    oxm(Field::MplsLabel, BASIC, 34, 4, "OXM_OF_MPLS_LABEL"),
    oxm(Field::MplsTc, BASIC, 35, 1, "OXM_OF_MPLS_TC"),
    oxm(Field::MplsBos, BASIC, 36, 1, "OXM_OF_MPLS_BOS"),
    oxm(Field::PbbIsid, BASIC, 37, 3, "OXM_OF_PBB_ISID"),
    oxm(Field::TunnelId, BASIC, 38, 8, "OXM_OF_TUNNEL_ID"),
    oxm(Field::Ipv6Exthdr, BASIC, 39, 2, "OXM_OF_IPV6_EXTHDR"),
    oxm(Field::IpTtl, NICIRA, 29, 1, "NXM_NX_IP_TTL"),
    oxm(Field::MplsTtl, NICIRA, 30, 1, "NXM_NX_MPLS_TTL"),
    oxm(Field::IpFrag, NICIRA, 26, 1, "NXM_NX_IP_FRAG"),
    oxm(Field::TcpFlags, EXPERIMENTER, 42, 2, "ONFOXM_ET_TCP_FLAGS"),
    oxm(
        Field::NdReserved,
        ERICSSON,
        1,
        4,
        "ERICOXM_OF_ICMPV6_ND_RESERVED",
    ),
    oxm(
        Field::NdOptionsType,
        ERICSSON,
        2,
        1,
        "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE",
    ),
    oxm(Field::TunnelSrc, NICIRA, 31, 4, "NXM_NX_TUN_IPV4_SRC"),
    oxm(Field::TunnelDst, NICIRA, 32, 4, "NXM_NX_TUN_IPV4_DST"),
    oxm(Field::TunnelIpv6Src, NICIRA, 109, 16, "NXM_NX_TUN_IPV6_SRC"),
    oxm(Field::TunnelIpv6Dst, NICIRA, 110, 16, "NXM_NX_TUN_IPV6_DST"),
    oxm(Field::TunnelFlags, NICIRA, 104, 2, "NXM_NX_TUN_FLAGS"),
    oxm(Field::TunnelGbpId, NICIRA, 38, 2, "NXM_NX_TUN_GBP_ID"),
    oxm(Field::TunnelGbpFlags, NICIRA, 39, 1, "NXM_NX_TUN_GBP_FLAGS"),
    oxm(Field::PacketMark, NICIRA, 33, 4, "NXM_NX_PKT_MARK"),
    oxm(Field::ConjunctionId, NICIRA, 37, 4, "NXM_NX_CONJ_ID"),
    oxm(Field::CtState, NICIRA, 105, 4, "NXM_NX_CT_STATE"),
    oxm(Field::CtZone, NICIRA, 106, 2, "NXM_NX_CT_ZONE"),
    oxm(Field::CtMark, NICIRA, 107, 4, "NXM_NX_CT_MARK"),
    oxm(Field::CtLabel, NICIRA, 108, 16, "NXM_NX_CT_LABEL"),
    oxm(Field::CtIpv4Src, NICIRA, 120, 4, "NXM_NX_CT_NW_SRC"),
    oxm(Field::CtIpv4Dst, NICIRA, 121, 4, "NXM_NX_CT_NW_DST"),
    oxm(Field::CtIpv6Src, NICIRA, 122, 16, "NXM_NX_CT_IPV6_SRC"),
    oxm(Field::CtIpv6Dst, NICIRA, 123, 16, "NXM_NX_CT_IPV6_DST"),
    oxm(Field::CtIpProto, NICIRA, 119, 1, "NXM_NX_CT_NW_PROTO"),
    oxm(Field::CtTpSrc, NICIRA, 124, 2, "NXM_NX_CT_TP_SRC"),
    oxm(Field::CtTpDst, NICIRA, 125, 2, "NXM_NX_CT_TP_DST"),
    oxm(Field::Reg0, NICIRA, 0, 4, "NXM_NX_REG0"),
    oxm(Field::Reg1, NICIRA, 1, 4, "NXM_NX_REG1"),
    oxm(Field::Reg2, NICIRA, 2, 4, "NXM_NX_REG2"),
    oxm(Field::Reg3, NICIRA, 3, 4, "NXM_NX_REG3"),
    oxm(Field::Reg4, NICIRA, 4, 4, "NXM_NX_REG4"),
    oxm(Field::Reg5, NICIRA, 5, 4, "NXM_NX_REG5"),
    oxm(Field::Reg6, NICIRA, 6, 4, "NXM_NX_REG6"),
    oxm(Field::Reg7, NICIRA, 7, 4, "NXM_NX_REG7"),
    oxm(Field::Reg8, NICIRA, 8, 4, "NXM_NX_REG8"),
    oxm(Field::Reg9, NICIRA, 9, 4, "NXM_NX_REG9"),
    oxm(Field::Reg10, NICIRA, 10, 4, "NXM_NX_REG10"),
    oxm(Field::Reg11, NICIRA, 11, 4, "NXM_NX_REG11"),
    oxm(Field::Reg12, NICIRA, 12, 4, "NXM_NX_REG12"),
    oxm(Field::Reg13, NICIRA, 13, 4, "NXM_NX_REG13"),
    oxm(Field::Reg14, NICIRA, 14, 4, "NXM_NX_REG14"),
    oxm(Field::Reg15, NICIRA, 15, 4, "NXM_NX_REG15"),
    oxm(Field::Xreg0, PACKET_REGISTERS, 0, 8, "OXM_OF_PKT_REG0"),
    oxm(Field::Xreg1, PACKET_REGISTERS, 1, 8, "OXM_OF_PKT_REG1"),
    oxm(Field::Xreg2, PACKET_REGISTERS, 2, 8, "OXM_OF_PKT_REG2"),
    oxm(Field::Xreg3, PACKET_REGISTERS, 3, 8, "OXM_OF_PKT_REG3"),
    oxm(Field::Xreg4, PACKET_REGISTERS, 4, 8, "OXM_OF_PKT_REG4"),
    oxm(Field::Xreg5, PACKET_REGISTERS, 5, 8, "OXM_OF_PKT_REG5"),
    oxm(Field::Xreg6, PACKET_REGISTERS, 6, 8, "OXM_OF_PKT_REG6"),
    oxm(Field::Xreg7, PACKET_REGISTERS, 7, 8, "OXM_OF_PKT_REG7"),
    oxm(Field::Xxreg0, NICIRA, 111, 16, "NXM_NX_XXREG0"),
    oxm(Field::Xxreg1, NICIRA, 112, 16, "NXM_NX_XXREG1"),
    oxm(Field::Xxreg2, NICIRA, 113, 16, "NXM_NX_XXREG2"),
    oxm(Field::Xxreg3, NICIRA, 114, 16, "NXM_NX_XXREG3"),
    oxm(Field::VlanTci, NXM_0, 4, 2, "NXM_OF_VLAN_TCI"),
    oxm(Field::InPort16, NXM_0, 0, 2, "NXM_OF_IN_PORT"),
];

/// Spellings of Nicira's for fields that matches spell otherwise: their actions use them.
static NXM: &[Oxm] = &[
    oxm(Field::EthDst, NXM_0, 1, 6, "NXM_OF_ETH_DST"),
    oxm(Field::EthSrc, NXM_0, 2, 6, "NXM_OF_ETH_SRC"),
    oxm(Field::EthType, NXM_0, 3, 2, "NXM_OF_ETH_TYPE"),
    oxm(Field::IpProto, NXM_0, 6, 1, "NXM_OF_IP_PROTO"),
    oxm(Field::Ipv4Src, NXM_0, 7, 4, "NXM_OF_IP_SRC"),
    oxm(Field::Ipv4Dst, NXM_0, 8, 4, "NXM_OF_IP_DST"),
    oxm(Field::TcpSrc, NXM_0, 9, 2, "NXM_OF_TCP_SRC"),
    oxm(Field::TcpDst, NXM_0, 10, 2, "NXM_OF_TCP_DST"),
    oxm(Field::UdpSrc, NXM_0, 11, 2, "NXM_OF_UDP_SRC"),
    oxm(Field::UdpDst, NXM_0, 12, 2, "NXM_OF_UDP_DST"),
    oxm(Field::Icmpv4Type, NXM_0, 13, 1, "NXM_OF_ICMP_TYPE"),
    oxm(Field::Icmpv4Code, NXM_0, 14, 1, "NXM_OF_ICMP_CODE"),
    oxm(Field::ArpOp, NXM_0, 15, 2, "NXM_OF_ARP_OP"),
    oxm(Field::ArpSpa, NXM_0, 16, 4, "NXM_OF_ARP_SPA"),
    oxm(Field::ArpTpa, NXM_0, 17, 4, "NXM_OF_ARP_TPA"),
    oxm(Field::TunnelId, NICIRA, 16, 8, "NXM_NX_TUN_ID"),
    oxm(Field::ArpSha, NICIRA, 17, 6, "NXM_NX_ARP_SHA"),
    oxm(Field::ArpTha, NICIRA, 18, 6, "NXM_NX_ARP_THA"),
    oxm(Field::Ipv6Src, NICIRA, 19, 16, "NXM_NX_IPV6_SRC"),
    oxm(Field::Ipv6Dst, NICIRA, 20, 16, "NXM_NX_IPV6_DST"),
    oxm(Field::Icmpv6Type, NICIRA, 21, 1, "NXM_NX_ICMPV6_TYPE"),
    oxm(Field::Icmpv6Code, NICIRA, 22, 1, "NXM_NX_ICMPV6_CODE"),
    oxm(Field::NdTarget, NICIRA, 23, 16, "NXM_NX_ND_TARGET"),
    oxm(Field::NdSll, NICIRA, 24, 6, "NXM_NX_ND_SLL"),
    oxm(Field::NdTll, NICIRA, 25, 6, "NXM_NX_ND_TLL"),
    oxm(Field::Ipv6Flabel, NICIRA, 27, 4, "NXM_NX_IPV6_LABEL"),
    oxm(Field::IpEcn, NICIRA, 28, 1, "NXM_NX_IP_ECN"),
    oxm(Field::TcpFlags, NICIRA, 34, 2, "NXM_NX_TCP_FLAGS"),
];

/// Spellings that we only read.
static ALIASES: &[Oxm] = &[oxm(Field::TcpFlags, BASIC, 42, 2, "OXM_OF_TCP_FLAGS")];

/// Fields that are data of Geneve options.
const OPTION_FIELDS: usize = {
    let (mut count, mut index) = (0, 0);
    while index < Field::ALL.len() {
        count += Field::ALL[index].is_tunnel_option() as usize;
        index += 1;
    }
    count
};

/// For each field its place in [`TABLE`].
static PLACES: [u8; Field::ALL.len()] = {
    let mut places = [0; Field::ALL.len()];
    let mut place = 0;
    while place < TABLE.len() {
        places[TABLE[place].field as usize] = place as u8;
        place += 1;
    }
    places
};

impl Oxm {
    /// How `field` is spelled.
    pub(crate) fn of(field: Field, tlvs: &TlvTable) -> Oxm {
        match field.is_tunnel_option() {
            // What is not mapped, nothing refers to.
            true => tlvs
                .of_field(field)
                .map_or_else(|| oxm(field, NICIRA, OPTION_FIRST, 4, ""), Oxm::of_option),
            false => TABLE[usize::from(PLACES[field as usize])],
        }
    }

    /// How Nicira's actions spell `field`.
    pub(crate) fn nxm(field: Field, tlvs: &TlvTable) -> Oxm {
        let found = NXM.iter().find(|oxm| oxm.field == field);
        found.copied().unwrap_or_else(|| Oxm::of(field, tlvs))
    }

    /// How an option is spelled.
    fn of_option(mapping: &TlvMapping) -> Oxm {
        let number = OPTION_FIRST + mapping.index;
        oxm(mapping.field(), NICIRA, number, mapping.len, "")
    }

    /// The spelling with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Oxm> {
        spellings().find(|oxm| oxm.name == name)
    }

    /// A value of an option may come without its leading zeros, one of zeros without a byte.
    fn shorten(&mut self, len: usize) {
        if len < self.value_len() {
            self.len = len as u8;
        }
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

    /// Writes the field, which is no option, with a value, and a mask unless it is all ones.
    pub(crate) fn encode(&self, value: u128, mask: u128, out: &mut Writer) {
        let masked = mask & self.field.ones() != self.field.ones();
        self.encode_header(masked, out);
        out.uint(value, self.value_len());
        if masked {
            out.uint(mask, self.value_len());
        }
    }

    /// Writes an option by value and mask of each of its fields, with a mask unless it is all ones.
    pub(crate) fn encode_option(
        mapping: &TlvMapping,
        read: impl Fn(Field) -> (u128, u128),
        out: &mut Writer,
    ) {
        let parts = mapping
            .fields
            .iter()
            .map(|field| (read(*field), mapping.ones(*field)));
        let masked = parts.clone().any(|((_, mask), ones)| mask & ones != ones);
        Oxm::of_option(mapping).encode_header(masked, out);
        let len = |ones: u128| 16 - ones.leading_zeros() as usize / 8;
        for ((value, _), ones) in parts.clone() {
            out.uint(value, len(ones));
        }
        for ((_, mask), ones) in parts.filter(|_| masked) {
            out.uint(mask, len(ones));
        }
    }
}

/// The header of a TLV that was read, and what follows it.
pub(crate) struct Tlv<'a> {
    /// The field; nothing if we do not know it.
    pub(crate) oxm: Option<Oxm>,
    /// Whether there is a mask.
    pub(crate) masked: bool,
    /// Value and mask, without an experimenter number.
    pub(crate) payload: Reader<'a>,
}

impl<'a> Tlv<'a> {
    /// Value and mask of each field of an option, that with the last bytes first. All bits of an
    /// option may be fewer than those of its fields: they count as a whole.
    pub(crate) fn option(
        &self,
        oxm: &Oxm,
    ) -> Result<impl Iterator<Item = (Field, u128, u128)> + use<'a>, ErrorCode> {
        let mut payload = self.payload.clone();
        let value = payload.take(oxm.value_len())?;
        let mask = match self.masked {
            true => Some(payload.take(oxm.value_len())?),
            false => None,
        };
        payload.finish()?;
        let mapping = payload.tlvs().of_field(oxm.field);
        let mapping = mapping.ok_or(ErrorCode::INVALID_TLV_FIELD)?;
        let part = |bytes: &[u8], at: usize| {
            let bytes = bytes.rchunks(16).nth(at).unwrap_or_default().iter();
            bytes.fold(0, |sum, byte| sum << 8 | u128::from(*byte))
        };
        let fields = mapping.fields.iter().rev().enumerate();
        // In the order that sets of them are told apart by (`Action::sets_option`).
        Ok(fields.map(move |(at, &field)| {
            let ones = field.ones();
            let mask = mask.map_or(ones, |mask| part(mask, at));
            let mask = if mask == mapping.ones(field) {
                ones
            } else {
                mask
            };
            (field, part(value, at), mask)
        }))
    }
}

/// Reads a TLV: too short is the reader's own error.
pub(crate) fn decode<'a>(reader: &mut Reader<'a>) -> Result<Tlv<'a>, ErrorCode> {
    let (key, len) = decode_header(reader)?;
    let mut payload = reader.part(len, reader.short())?;
    let mut oxm = find(key, &mut payload)?;
    if let Some(option) = oxm.as_mut().filter(|oxm| oxm.field.is_tunnel_option()) {
        option.shorten(payload.len() / if key.masked { 2 } else { 1 });
    }
    Ok(Tlv {
        oxm,
        masked: key.masked,
        payload,
    })
}

/// Reads a TLV of which only the header is there, as in lists of what a table can do.
pub(crate) fn decode_id(reader: &mut Reader) -> Result<(Option<Oxm>, bool), ErrorCode> {
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
fn find(key: Key, payload: &mut Reader) -> Result<Option<Oxm>, ErrorCode> {
    if let Some(mapping) = option(key, payload.tlvs())? {
        return Ok(Some(Oxm::of_option(mapping)));
    }
    if key.class == EXPERIMENTER && payload.u32()? != ONF {
        return Ok(None);
    }
    let same = |oxm: &&Oxm| oxm.class == key.class && oxm.number == key.number;
    // Fields of the basic class are at the places of their numbers.
    let basic = TABLE.get(usize::from(key.number)).filter(same);
    Ok(basic.or_else(|| spellings().find(same)).copied())
}

/// The option that a field stands for, if it is one for options.
fn option(key: Key, tlvs: &TlvTable) -> Result<Option<&TlvMapping>, ErrorCode> {
    match key.number.checked_sub(OPTION_FIRST) {
        Some(index) if key.class == NICIRA && index < TlvTable::FIELDS => {
            let mapping = tlvs.of_index(index);
            mapping.map(Some).ok_or(ErrorCode::INVALID_TLV_FIELD)
        }
        _ => Ok(None),
    }
}

/// `NXM_NX_TUN_METADATA0`.
const OPTION_FIRST: u8 = 40;

fn spellings() -> impl Iterator<Item = &'static Oxm> {
    TABLE.iter().chain(NXM).chain(ALIASES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_can_be_said_and_is_understood() {
        for &field in Field::ALL.iter().filter(|field| !field.is_tunnel_option()) {
            let oxm = Oxm::of(field, TlvTable::EMPTY);
            assert_eq!(oxm.field, field);
            assert_eq!(
                oxm.value_len(),
                match field {
                    // Wider on the wire than they are (OpenFlow 1.3.5 §7.2.3.7, table 12).
                    Field::Ipv6Flabel | Field::MplsLabel | Field::CtState => 4,
                    Field::TunnelFlags => 2,
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
        for oxm in spellings() {
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
