//! The match fields: name, width, prerequisite, and where each lies in a [`FlowKey`].
//!
//! A field is what the specification calls an OXM field (OpenFlow 1.3.5 §7.2.3.7) or, beyond
//! that, a field of the NXM table. Codes on the wire are the codec's business; this table says
//! what a field *is*.

use core::mem::offset_of;

use zerocopy::IntoBytes;

use crate::{FlowKey, FlowMask};

/// What must already be matched exactly before a field may be matched or set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prerequisite {
    /// Nothing.
    None,
    /// A VLAN tag is present.
    Vlan,
    /// ARP (or RARP).
    Arp,
    /// IPv4 or IPv6.
    Ip,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// MPLS, unicast or multicast.
    Mpls,
    /// A provider backbone bridge header.
    Pbb,
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// UDP over IPv4 or IPv6.
    Udp,
    /// SCTP over IPv4 or IPv6.
    Sctp,
    /// ICMP over IPv4.
    Icmpv4,
    /// ICMPv6.
    Icmpv6,
    /// ICMPv6 neighbour solicitation or advertisement.
    Nd,
    /// ICMPv6 neighbour solicitation.
    NdSolicit,
    /// ICMPv6 neighbour advertisement.
    NdAdvert,
}

/// Where a field lies in the key.
#[derive(Clone, Copy, Debug)]
struct Storage {
    /// Byte offset of the integer that holds the field.
    offset: usize,
    /// Size of that integer in bytes: 1, 2, 4, 8, or 16 for two words.
    size: usize,
    /// Bits to the right of the field in that integer.
    shift: u32,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $width:literal, $maskable:literal,
       $need:ident, $member:ident >> $shift:literal;)*) => {
        /// A match field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Field { $($(#[$doc])* $name,)* }

        impl Field {
            /// Every field, in canonical order.
            pub const ALL: &[Field] = &[$(Field::$name,)*];

            /// Name in flow syntax, as `ovs-ofctl` spells it.
            pub fn name(self) -> &'static str {
                match self { $(Field::$name => $text,)* }
            }

            /// Width in bits.
            pub fn width(self) -> u32 {
                match self { $(Field::$name => $width,)* }
            }

            /// Whether a match may mask it (arbitrary bits).
            pub fn maskable(self) -> bool {
                match self { $(Field::$name => $maskable,)* }
            }

            /// What must be matched with it.
            pub fn prerequisite(self) -> Prerequisite {
                match self { $(Field::$name => Prerequisite::$need,)* }
            }

            fn storage(self) -> Storage {
                const KEY: FlowKey = zero();
                match self {
                    $(Field::$name => Storage {
                        offset: offset_of!(FlowKey, $member),
                        size: size_of_val(&KEY.$member),
                        shift: $shift,
                    },)*
                }
            }
        }
    };
}

const fn zero() -> FlowKey {
    zerocopy::transmute!([0u64; FlowKey::WORDS])
}

fields! {
    /// Port the packet came in by.
    InPort = "in_port", 32, false, None, in_port >> 0;
    /// Physical port the packet came in by.
    InPhyPort = "in_phy_port", 32, false, None, in_phy_port >> 0;
    /// Metadata passed between tables.
    Metadata = "metadata", 64, true, None, metadata >> 0;
    /// Ethernet destination.
    EthDst = "eth_dst", 48, true, None, eth_dst >> 0;
    /// Ethernet source.
    EthSrc = "eth_src", 48, true, None, eth_src >> 0;
    /// Ethernet type after VLAN tags.
    EthType = "eth_type", 16, false, None, eth_type >> 0;
    /// VLAN id with the presence bit, 13 bits.
    VlanVid = "vlan_vid", 13, true, None, vlan_tci >> 0;
    /// VLAN priority.
    VlanPcp = "vlan_pcp", 3, false, Vlan, vlan_tci >> 13;
    /// IP differentiated services code point.
    IpDscp = "ip_dscp", 6, false, Ip, ip_tos >> 2;
    /// IP explicit congestion notification.
    IpEcn = "nw_ecn", 2, false, Ip, ip_tos >> 0;
    /// IP protocol.
    IpProto = "nw_proto", 8, false, Ip, ip_proto >> 0;
    /// IPv4 source.
    Ipv4Src = "nw_src", 32, true, Ipv4, ipv4_src >> 0;
    /// IPv4 destination.
    Ipv4Dst = "nw_dst", 32, true, Ipv4, ipv4_dst >> 0;
    /// TCP source port.
    TcpSrc = "tcp_src", 16, true, Tcp, tp_src >> 0;
    /// TCP destination port.
    TcpDst = "tcp_dst", 16, true, Tcp, tp_dst >> 0;
    /// UDP source port.
    UdpSrc = "udp_src", 16, true, Udp, tp_src >> 0;
    /// UDP destination port.
    UdpDst = "udp_dst", 16, true, Udp, tp_dst >> 0;
    /// SCTP source port.
    SctpSrc = "sctp_src", 16, true, Sctp, tp_src >> 0;
    /// SCTP destination port.
    SctpDst = "sctp_dst", 16, true, Sctp, tp_dst >> 0;
    /// ICMP type.
    Icmpv4Type = "icmp_type", 8, false, Icmpv4, tp_src >> 0;
    /// ICMP code.
    Icmpv4Code = "icmp_code", 8, false, Icmpv4, tp_dst >> 0;
    /// ARP opcode.
    ArpOp = "arp_op", 16, false, Arp, arp_op >> 0;
    /// ARP sender protocol address.
    ArpSpa = "arp_spa", 32, true, Arp, ipv4_src >> 0;
    /// ARP target protocol address.
    ArpTpa = "arp_tpa", 32, true, Arp, ipv4_dst >> 0;
    /// ARP sender hardware address.
    ArpSha = "arp_sha", 48, true, Arp, arp_sha >> 0;
    /// ARP target hardware address.
    ArpTha = "arp_tha", 48, true, Arp, arp_tha >> 0;
    /// IPv6 source.
    Ipv6Src = "ipv6_src", 128, true, Ipv6, ipv6_src >> 0;
    /// IPv6 destination.
    Ipv6Dst = "ipv6_dst", 128, true, Ipv6, ipv6_dst >> 0;
    /// IPv6 flow label.
    Ipv6Flabel = "ipv6_label", 20, true, Ipv6, ipv6_flabel >> 0;
    /// ICMPv6 type.
    Icmpv6Type = "icmpv6_type", 8, false, Icmpv6, tp_src >> 0;
    /// ICMPv6 code.
    Icmpv6Code = "icmpv6_code", 8, false, Icmpv6, tp_dst >> 0;
    /// ND target address.
    NdTarget = "nd_target", 128, true, Nd, nd_target >> 0;
    /// ND source link-layer address.
    NdSll = "nd_sll", 48, true, NdSolicit, arp_sha >> 0;
    /// ND target link-layer address.
    NdTll = "nd_tll", 48, true, NdAdvert, arp_tha >> 0;
    /// MPLS label of the top entry.
    MplsLabel = "mpls_label", 20, false, Mpls, mpls >> 12;
    /// MPLS traffic class of the top entry.
    MplsTc = "mpls_tc", 3, false, Mpls, mpls >> 9;
    /// MPLS bottom-of-stack bit of the top entry.
    MplsBos = "mpls_bos", 1, false, Mpls, mpls >> 8;
    /// PBB service instance.
    PbbIsid = "pbb_isid", 24, true, Pbb, pbb_isid >> 0;
    /// Tunnel key.
    TunnelId = "tun_id", 64, true, None, tunnel_id >> 0;
    /// IPv6 extension header flags.
    Ipv6Exthdr = "ipv6_exthdr", 9, true, Ipv6, ipv6_exthdr >> 0;
    /// IP time to live (not in OpenFlow 1.3; set by actions).
    IpTtl = "nw_ttl", 8, false, Ip, ip_ttl >> 0;
    /// MPLS time to live of the top entry (not in OpenFlow 1.3; set by actions).
    MplsTtl = "mpls_ttl", 8, false, Mpls, mpls >> 0;
    /// Fragment bits.
    IpFrag = "ip_frag", 2, true, Ip, ip_frag >> 0;
    /// TCP flags.
    TcpFlags = "tcp_flags", 12, true, Tcp, tcp_flags >> 0;
}

impl Field {
    /// All ones in the field's width.
    pub fn ones(self) -> u128 {
        u128::MAX >> (128 - self.width())
    }

    /// The field's value in `key`.
    pub fn read(self, key: &FlowKey) -> u128 {
        (load(key, self.storage()) >> self.storage().shift) & self.ones()
    }

    /// Writes the bits of `value` that are set in `mask`, keeping the others.
    pub fn write(self, key: &mut FlowKey, value: u128, mask: u128) {
        let storage = self.storage();
        let mask = (mask & self.ones()) << storage.shift;
        let value = value << storage.shift & mask;
        let kept = load(key, storage) & !mask;
        store(key, storage, kept | value);
    }

    /// A mask with just this field's bits.
    pub fn mask(self) -> FlowMask {
        let mut mask = FlowMask::default();
        self.write(&mut mask.0, u128::MAX, u128::MAX);
        mask
    }
}

fn load(key: &FlowKey, at: Storage) -> u128 {
    let bytes = &key.as_bytes()[at.offset..at.offset + at.size];
    match *bytes {
        [a] => a.into(),
        [a, b] => u16::from_ne_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
        _ => {
            let word = at.offset / 8;
            let words = &key.words()[word..word + at.size / 8];
            words
                .iter()
                .fold(0, |sum, word| sum << 64 | u128::from(*word))
        }
    }
}

fn store(key: &mut FlowKey, at: Storage, value: u128) {
    if at.size == 16 {
        key.words_mut()[at.offset / 8] = (value >> 64) as u64;
        key.words_mut()[at.offset / 8 + 1] = value as u64;
        return;
    }
    let bytes = &mut key.as_mut_bytes()[at.offset..at.offset + at.size];
    match at.size {
        1 => bytes[0] = value as u8,
        2 => bytes.copy_from_slice(&(value as u16).to_ne_bytes()),
        4 => bytes.copy_from_slice(&(value as u32).to_ne_bytes()),
        _ => bytes.copy_from_slice(&(value as u64).to_ne_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_reads_back_what_was_written() {
        for &field in Field::ALL {
            let mut key = FlowKey::default();
            field.write(&mut key, field.ones(), u128::MAX);
            assert_eq!(field.read(&key), field.ones(), "{}", field.name());
            field.write(&mut key, 0, 1);
            assert_eq!(field.read(&key), field.ones() - 1, "{}", field.name());
        }
    }
}
