//! The match fields: name, width, prerequisite, and where each lies in a [`FlowKey`].
//!
//! A field is what the specification calls an OXM field (OpenFlow 1.3.5 §7.2.3.7) or, beyond
//! that, a field of the NXM table. Codes on the wire are the codec's business; this table says
//! what a field *is*.

use core::mem::offset_of;

use crate::key::OPTION_WORDS;
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
    /// A state of connection tracking that only tracked packets of valid connections have.
    Connection,
}

/// Where a field lies in the key.
#[derive(Clone, Copy, Debug)]
struct Storage {
    /// The word that holds it, or the more significant one of two.
    word: usize,
    /// Bits to the right of it in that word.
    shift: u32,
    /// Its bits in that word, or in each of two.
    mask: u64,
    /// Whether it takes two words.
    is_wide: bool,
    /// [`Field::option_units`].
    units: u64,
}

impl Storage {
    /// `width` bits, more than 64 for two words, of an integer of `size` bytes, or of words, at
    /// `offset` in the key, with `shift` bits to the right of them there.
    const fn new(offset: usize, size: usize, shift: u32, width: u32) -> Storage {
        let is_wide = width > 64;
        let before = match cfg!(target_endian = "big") {
            _ if size >= 8 => 0,
            true => 8 - offset % 8 - size,
            false => offset % 8,
        };
        let shift = before as u32 * 8 + shift;
        let units = match (offset / 8).checked_sub(OPTION_WORD) {
            // The even unit is above.
            Some(at) if at < OPTION_WORDS => {
                let first = at as u32 * 2 + if width == 32 && shift == 0 { 1 } else { 0 };
                u64::MAX >> (64 - width / 32) << first
            }
            _ => 0,
        };
        let width = if is_wide { 64 } else { width };
        Storage {
            word: offset / 8,
            shift,
            mask: u64::MAX >> (64 - width) << shift,
            is_wide,
            units,
        }
    }
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $width:literal, $maskable:literal,
       $need:ident, $member:ident $([$word:literal])? >> $shift:literal;)*) => {
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
            pub const fn prerequisite(self) -> Prerequisite {
                match self { $(Field::$name => Prerequisite::$need,)* }
            }
        }

        /// Where each lies, in the order of [`Field::ALL`].
        static STORAGE: [Storage; Field::ALL.len()] = {
            const KEY: FlowKey = zero();
            [$({
                let (offset, size) = (offset_of!(FlowKey, $member), size_of_val(&KEY.$member));
                Storage::new(offset $(+ 8 * $word)?, size, $shift, $width)
            },)*]
        };
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
    /// Flags and reserved bits of ND.
    NdReserved = "nd_reserved", 32, false, Nd, nd_reserved >> 0;
    /// Type of the first ND option with a link-layer address.
    NdOptionsType = "nd_options_type", 8, false, Nd, tcp_flags >> 0;
    /// Outer IPv4 source address of a tunnel.
    TunnelSrc = "tun_src", 32, true, None, tunnel_src >> 0;
    /// Outer IPv4 destination address of a tunnel.
    TunnelDst = "tun_dst", 32, true, None, tunnel_dst >> 0;
    /// Outer IPv6 source address of a tunnel.
    TunnelIpv6Src = "tun_ipv6_src", 128, true, None, tunnel_ipv6_src >> 0;
    /// Outer IPv6 destination address of a tunnel.
    TunnelIpv6Dst = "tun_ipv6_dst", 128, true, None, tunnel_ipv6_dst >> 0;
    /// Flags of a tunnel: bit 0 is Geneve's OAM bit.
    TunnelFlags = "tun_flags", 1, true, None, tunnel_flags >> 0;
    /// VXLAN group policy id.
    TunnelGbpId = "tun_gbp_id", 16, true, None, tunnel_gbp_id >> 0;
    /// VXLAN group policy flags.
    TunnelGbpFlags = "tun_gbp_flags", 8, true, None, tunnel_gbp_flags >> 0;
    /// Packet mark.
    PacketMark = "pkt_mark", 32, true, None, packet_mark >> 0;
    /// Which conjunction the packet fulfils.
    ConjunctionId = "conj_id", 32, false, None, conjunction >> 0;
    /// Connection tracking state.
    CtState = "ct_state", 8, true, None, ct_state >> 0;
    /// Connection tracking zone.
    CtZone = "ct_zone", 16, false, None, ct_zone >> 0;
    /// Connection mark.
    CtMark = "ct_mark", 32, true, None, ct_mark >> 0;
    /// Connection label.
    CtLabel = "ct_label", 128, true, None, ct_label >> 0;
    /// IPv4 source address of the connection's original direction.
    CtIpv4Src = "ct_nw_src", 32, true, Connection, ct_src >> 0;
    /// IPv4 destination address of the connection's original direction.
    CtIpv4Dst = "ct_nw_dst", 32, true, Connection, ct_dst >> 0;
    /// IPv6 source address of the connection's original direction.
    CtIpv6Src = "ct_ipv6_src", 128, true, Connection, ct_ipv6_src >> 0;
    /// IPv6 destination address of the connection's original direction.
    CtIpv6Dst = "ct_ipv6_dst", 128, true, Connection, ct_ipv6_dst >> 0;
    /// IP protocol of the connection's original direction.
    CtIpProto = "ct_nw_proto", 8, false, Connection, ct_ip_proto >> 0;
    /// Source port of the connection's original direction.
    CtTpSrc = "ct_tp_src", 16, true, Connection, ct_tp_src >> 0;
    /// Destination port of the connection's original direction.
    CtTpDst = "ct_tp_dst", 16, true, Connection, ct_tp_dst >> 0;
    /// Register 0.
    Reg0 = "reg0", 32, true, None, registers[0] >> 32;
    /// Register 1.
    Reg1 = "reg1", 32, true, None, registers[0] >> 0;
    /// Register 2.
    Reg2 = "reg2", 32, true, None, registers[1] >> 32;
    /// Register 3.
    Reg3 = "reg3", 32, true, None, registers[1] >> 0;
    /// Register 4.
    Reg4 = "reg4", 32, true, None, registers[2] >> 32;
    /// Register 5.
    Reg5 = "reg5", 32, true, None, registers[2] >> 0;
    /// Register 6.
    Reg6 = "reg6", 32, true, None, registers[3] >> 32;
    /// Register 7.
    Reg7 = "reg7", 32, true, None, registers[3] >> 0;
    /// Register 8.
    Reg8 = "reg8", 32, true, None, registers[4] >> 32;
    /// Register 9.
    Reg9 = "reg9", 32, true, None, registers[4] >> 0;
    /// Register 10.
    Reg10 = "reg10", 32, true, None, registers[5] >> 32;
    /// Register 11.
    Reg11 = "reg11", 32, true, None, registers[5] >> 0;
    /// Register 12.
    Reg12 = "reg12", 32, true, None, registers[6] >> 32;
    /// Register 13.
    Reg13 = "reg13", 32, true, None, registers[6] >> 0;
    /// Register 14.
    Reg14 = "reg14", 32, true, None, registers[7] >> 32;
    /// Register 15.
    Reg15 = "reg15", 32, true, None, registers[7] >> 0;
    /// Units 0 to 3 of the data of Geneve options as one.
    TunnelOptionQuad0 = "tun_option_quad0", 128, true, None, tunnel_options[0] >> 0;
    /// Units 4 to 7 of the data of Geneve options as one.
    TunnelOptionQuad1 = "tun_option_quad1", 128, true, None, tunnel_options[2] >> 0;
    /// Units 8 to 11 of the data of Geneve options as one.
    TunnelOptionQuad2 = "tun_option_quad2", 128, true, None, tunnel_options[4] >> 0;
    /// Units 12 to 15 of the data of Geneve options as one.
    TunnelOptionQuad3 = "tun_option_quad3", 128, true, None, tunnel_options[6] >> 0;
    /// Units 16 to 19 of the data of Geneve options as one.
    TunnelOptionQuad4 = "tun_option_quad4", 128, true, None, tunnel_options[8] >> 0;
    /// Units 20 to 23 of the data of Geneve options as one.
    TunnelOptionQuad5 = "tun_option_quad5", 128, true, None, tunnel_options[10] >> 0;
    /// Units 24 to 27 of the data of Geneve options as one.
    TunnelOptionQuad6 = "tun_option_quad6", 128, true, None, tunnel_options[12] >> 0;
    /// Units 28 to 31 of the data of Geneve options as one.
    TunnelOptionQuad7 = "tun_option_quad7", 128, true, None, tunnel_options[14] >> 0;
    /// Units 32 to 35 of the data of Geneve options as one.
    TunnelOptionQuad8 = "tun_option_quad8", 128, true, None, tunnel_options[16] >> 0;
    /// Units 36 to 39 of the data of Geneve options as one.
    TunnelOptionQuad9 = "tun_option_quad9", 128, true, None, tunnel_options[18] >> 0;
    /// Units 40 to 43 of the data of Geneve options as one.
    TunnelOptionQuad10 = "tun_option_quad10", 128, true, None, tunnel_options[20] >> 0;
    /// Units 44 to 47 of the data of Geneve options as one.
    TunnelOptionQuad11 = "tun_option_quad11", 128, true, None, tunnel_options[22] >> 0;
    /// Units 48 to 51 of the data of Geneve options as one.
    TunnelOptionQuad12 = "tun_option_quad12", 128, true, None, tunnel_options[24] >> 0;
    /// Units 52 to 55 of the data of Geneve options as one.
    TunnelOptionQuad13 = "tun_option_quad13", 128, true, None, tunnel_options[26] >> 0;
    /// Units 56 to 59 of the data of Geneve options as one.
    TunnelOptionQuad14 = "tun_option_quad14", 128, true, None, tunnel_options[28] >> 0;
    /// Units 60 to 63 of the data of Geneve options as one.
    TunnelOptionQuad15 = "tun_option_quad15", 128, true, None, tunnel_options[30] >> 0;
    /// Which units of the data of Geneve options are those of options that are there.
    TunnelOptionUnits = "tun_option_units", 64, true, None, tunnel_option_units >> 0;
    /// Registers 0 and 1 as one.
    Xreg0 = "xreg0", 64, true, None, registers[0] >> 0;
    /// Registers 2 and 3 as one.
    Xreg1 = "xreg1", 64, true, None, registers[1] >> 0;
    /// Registers 4 and 5 as one.
    Xreg2 = "xreg2", 64, true, None, registers[2] >> 0;
    /// Registers 6 and 7 as one.
    Xreg3 = "xreg3", 64, true, None, registers[3] >> 0;
    /// Registers 8 and 9 as one.
    Xreg4 = "xreg4", 64, true, None, registers[4] >> 0;
    /// Registers 10 and 11 as one.
    Xreg5 = "xreg5", 64, true, None, registers[5] >> 0;
    /// Registers 12 and 13 as one.
    Xreg6 = "xreg6", 64, true, None, registers[6] >> 0;
    /// Registers 14 and 15 as one.
    Xreg7 = "xreg7", 64, true, None, registers[7] >> 0;
    /// Registers 0 to 3 as one.
    Xxreg0 = "xxreg0", 128, true, None, registers[0] >> 0;
    /// Registers 4 to 7 as one.
    Xxreg1 = "xxreg1", 128, true, None, registers[2] >> 0;
    /// Registers 8 to 11 as one.
    Xxreg2 = "xxreg2", 128, true, None, registers[4] >> 0;
    /// Registers 12 to 15 as one.
    Xxreg3 = "xxreg3", 128, true, None, registers[6] >> 0;
    /// Units 0 and 1 of the data of Geneve options as one.
    TunnelOptionPair0 = "tun_option_pair0", 64, true, None, tunnel_options[0] >> 0;
    /// Units 2 and 3 of the data of Geneve options as one.
    TunnelOptionPair1 = "tun_option_pair1", 64, true, None, tunnel_options[1] >> 0;
    /// Units 4 and 5 of the data of Geneve options as one.
    TunnelOptionPair2 = "tun_option_pair2", 64, true, None, tunnel_options[2] >> 0;
    /// Units 6 and 7 of the data of Geneve options as one.
    TunnelOptionPair3 = "tun_option_pair3", 64, true, None, tunnel_options[3] >> 0;
    /// Units 8 and 9 of the data of Geneve options as one.
    TunnelOptionPair4 = "tun_option_pair4", 64, true, None, tunnel_options[4] >> 0;
    /// Units 10 and 11 of the data of Geneve options as one.
    TunnelOptionPair5 = "tun_option_pair5", 64, true, None, tunnel_options[5] >> 0;
    /// Units 12 and 13 of the data of Geneve options as one.
    TunnelOptionPair6 = "tun_option_pair6", 64, true, None, tunnel_options[6] >> 0;
    /// Units 14 and 15 of the data of Geneve options as one.
    TunnelOptionPair7 = "tun_option_pair7", 64, true, None, tunnel_options[7] >> 0;
    /// Units 16 and 17 of the data of Geneve options as one.
    TunnelOptionPair8 = "tun_option_pair8", 64, true, None, tunnel_options[8] >> 0;
    /// Units 18 and 19 of the data of Geneve options as one.
    TunnelOptionPair9 = "tun_option_pair9", 64, true, None, tunnel_options[9] >> 0;
    /// Units 20 and 21 of the data of Geneve options as one.
    TunnelOptionPair10 = "tun_option_pair10", 64, true, None, tunnel_options[10] >> 0;
    /// Units 22 and 23 of the data of Geneve options as one.
    TunnelOptionPair11 = "tun_option_pair11", 64, true, None, tunnel_options[11] >> 0;
    /// Units 24 and 25 of the data of Geneve options as one.
    TunnelOptionPair12 = "tun_option_pair12", 64, true, None, tunnel_options[12] >> 0;
    /// Units 26 and 27 of the data of Geneve options as one.
    TunnelOptionPair13 = "tun_option_pair13", 64, true, None, tunnel_options[13] >> 0;
    /// Units 28 and 29 of the data of Geneve options as one.
    TunnelOptionPair14 = "tun_option_pair14", 64, true, None, tunnel_options[14] >> 0;
    /// Units 30 and 31 of the data of Geneve options as one.
    TunnelOptionPair15 = "tun_option_pair15", 64, true, None, tunnel_options[15] >> 0;
    /// Units 32 and 33 of the data of Geneve options as one.
    TunnelOptionPair16 = "tun_option_pair16", 64, true, None, tunnel_options[16] >> 0;
    /// Units 34 and 35 of the data of Geneve options as one.
    TunnelOptionPair17 = "tun_option_pair17", 64, true, None, tunnel_options[17] >> 0;
    /// Units 36 and 37 of the data of Geneve options as one.
    TunnelOptionPair18 = "tun_option_pair18", 64, true, None, tunnel_options[18] >> 0;
    /// Units 38 and 39 of the data of Geneve options as one.
    TunnelOptionPair19 = "tun_option_pair19", 64, true, None, tunnel_options[19] >> 0;
    /// Units 40 and 41 of the data of Geneve options as one.
    TunnelOptionPair20 = "tun_option_pair20", 64, true, None, tunnel_options[20] >> 0;
    /// Units 42 and 43 of the data of Geneve options as one.
    TunnelOptionPair21 = "tun_option_pair21", 64, true, None, tunnel_options[21] >> 0;
    /// Units 44 and 45 of the data of Geneve options as one.
    TunnelOptionPair22 = "tun_option_pair22", 64, true, None, tunnel_options[22] >> 0;
    /// Units 46 and 47 of the data of Geneve options as one.
    TunnelOptionPair23 = "tun_option_pair23", 64, true, None, tunnel_options[23] >> 0;
    /// Units 48 and 49 of the data of Geneve options as one.
    TunnelOptionPair24 = "tun_option_pair24", 64, true, None, tunnel_options[24] >> 0;
    /// Units 50 and 51 of the data of Geneve options as one.
    TunnelOptionPair25 = "tun_option_pair25", 64, true, None, tunnel_options[25] >> 0;
    /// Units 52 and 53 of the data of Geneve options as one.
    TunnelOptionPair26 = "tun_option_pair26", 64, true, None, tunnel_options[26] >> 0;
    /// Units 54 and 55 of the data of Geneve options as one.
    TunnelOptionPair27 = "tun_option_pair27", 64, true, None, tunnel_options[27] >> 0;
    /// Units 56 and 57 of the data of Geneve options as one.
    TunnelOptionPair28 = "tun_option_pair28", 64, true, None, tunnel_options[28] >> 0;
    /// Units 58 and 59 of the data of Geneve options as one.
    TunnelOptionPair29 = "tun_option_pair29", 64, true, None, tunnel_options[29] >> 0;
    /// Units 60 and 61 of the data of Geneve options as one.
    TunnelOptionPair30 = "tun_option_pair30", 64, true, None, tunnel_options[30] >> 0;
    /// Units 62 and 63 of the data of Geneve options as one.
    TunnelOptionPair31 = "tun_option_pair31", 64, true, None, tunnel_options[31] >> 0;
    /// Unit 0 of the data of Geneve options.
    TunnelOption0 = "tun_option0", 32, true, None, tunnel_options[0] >> 32;
    /// Unit 1 of the data of Geneve options.
    TunnelOption1 = "tun_option1", 32, true, None, tunnel_options[0] >> 0;
    /// Unit 2 of the data of Geneve options.
    TunnelOption2 = "tun_option2", 32, true, None, tunnel_options[1] >> 32;
    /// Unit 3 of the data of Geneve options.
    TunnelOption3 = "tun_option3", 32, true, None, tunnel_options[1] >> 0;
    /// Unit 4 of the data of Geneve options.
    TunnelOption4 = "tun_option4", 32, true, None, tunnel_options[2] >> 32;
    /// Unit 5 of the data of Geneve options.
    TunnelOption5 = "tun_option5", 32, true, None, tunnel_options[2] >> 0;
    /// Unit 6 of the data of Geneve options.
    TunnelOption6 = "tun_option6", 32, true, None, tunnel_options[3] >> 32;
    /// Unit 7 of the data of Geneve options.
    TunnelOption7 = "tun_option7", 32, true, None, tunnel_options[3] >> 0;
    /// Unit 8 of the data of Geneve options.
    TunnelOption8 = "tun_option8", 32, true, None, tunnel_options[4] >> 32;
    /// Unit 9 of the data of Geneve options.
    TunnelOption9 = "tun_option9", 32, true, None, tunnel_options[4] >> 0;
    /// Unit 10 of the data of Geneve options.
    TunnelOption10 = "tun_option10", 32, true, None, tunnel_options[5] >> 32;
    /// Unit 11 of the data of Geneve options.
    TunnelOption11 = "tun_option11", 32, true, None, tunnel_options[5] >> 0;
    /// Unit 12 of the data of Geneve options.
    TunnelOption12 = "tun_option12", 32, true, None, tunnel_options[6] >> 32;
    /// Unit 13 of the data of Geneve options.
    TunnelOption13 = "tun_option13", 32, true, None, tunnel_options[6] >> 0;
    /// Unit 14 of the data of Geneve options.
    TunnelOption14 = "tun_option14", 32, true, None, tunnel_options[7] >> 32;
    /// Unit 15 of the data of Geneve options.
    TunnelOption15 = "tun_option15", 32, true, None, tunnel_options[7] >> 0;
    /// Unit 16 of the data of Geneve options.
    TunnelOption16 = "tun_option16", 32, true, None, tunnel_options[8] >> 32;
    /// Unit 17 of the data of Geneve options.
    TunnelOption17 = "tun_option17", 32, true, None, tunnel_options[8] >> 0;
    /// Unit 18 of the data of Geneve options.
    TunnelOption18 = "tun_option18", 32, true, None, tunnel_options[9] >> 32;
    /// Unit 19 of the data of Geneve options.
    TunnelOption19 = "tun_option19", 32, true, None, tunnel_options[9] >> 0;
    /// Unit 20 of the data of Geneve options.
    TunnelOption20 = "tun_option20", 32, true, None, tunnel_options[10] >> 32;
    /// Unit 21 of the data of Geneve options.
    TunnelOption21 = "tun_option21", 32, true, None, tunnel_options[10] >> 0;
    /// Unit 22 of the data of Geneve options.
    TunnelOption22 = "tun_option22", 32, true, None, tunnel_options[11] >> 32;
    /// Unit 23 of the data of Geneve options.
    TunnelOption23 = "tun_option23", 32, true, None, tunnel_options[11] >> 0;
    /// Unit 24 of the data of Geneve options.
    TunnelOption24 = "tun_option24", 32, true, None, tunnel_options[12] >> 32;
    /// Unit 25 of the data of Geneve options.
    TunnelOption25 = "tun_option25", 32, true, None, tunnel_options[12] >> 0;
    /// Unit 26 of the data of Geneve options.
    TunnelOption26 = "tun_option26", 32, true, None, tunnel_options[13] >> 32;
    /// Unit 27 of the data of Geneve options.
    TunnelOption27 = "tun_option27", 32, true, None, tunnel_options[13] >> 0;
    /// Unit 28 of the data of Geneve options.
    TunnelOption28 = "tun_option28", 32, true, None, tunnel_options[14] >> 32;
    /// Unit 29 of the data of Geneve options.
    TunnelOption29 = "tun_option29", 32, true, None, tunnel_options[14] >> 0;
    /// Unit 30 of the data of Geneve options.
    TunnelOption30 = "tun_option30", 32, true, None, tunnel_options[15] >> 32;
    /// Unit 31 of the data of Geneve options.
    TunnelOption31 = "tun_option31", 32, true, None, tunnel_options[15] >> 0;
    /// Unit 32 of the data of Geneve options.
    TunnelOption32 = "tun_option32", 32, true, None, tunnel_options[16] >> 32;
    /// Unit 33 of the data of Geneve options.
    TunnelOption33 = "tun_option33", 32, true, None, tunnel_options[16] >> 0;
    /// Unit 34 of the data of Geneve options.
    TunnelOption34 = "tun_option34", 32, true, None, tunnel_options[17] >> 32;
    /// Unit 35 of the data of Geneve options.
    TunnelOption35 = "tun_option35", 32, true, None, tunnel_options[17] >> 0;
    /// Unit 36 of the data of Geneve options.
    TunnelOption36 = "tun_option36", 32, true, None, tunnel_options[18] >> 32;
    /// Unit 37 of the data of Geneve options.
    TunnelOption37 = "tun_option37", 32, true, None, tunnel_options[18] >> 0;
    /// Unit 38 of the data of Geneve options.
    TunnelOption38 = "tun_option38", 32, true, None, tunnel_options[19] >> 32;
    /// Unit 39 of the data of Geneve options.
    TunnelOption39 = "tun_option39", 32, true, None, tunnel_options[19] >> 0;
    /// Unit 40 of the data of Geneve options.
    TunnelOption40 = "tun_option40", 32, true, None, tunnel_options[20] >> 32;
    /// Unit 41 of the data of Geneve options.
    TunnelOption41 = "tun_option41", 32, true, None, tunnel_options[20] >> 0;
    /// Unit 42 of the data of Geneve options.
    TunnelOption42 = "tun_option42", 32, true, None, tunnel_options[21] >> 32;
    /// Unit 43 of the data of Geneve options.
    TunnelOption43 = "tun_option43", 32, true, None, tunnel_options[21] >> 0;
    /// Unit 44 of the data of Geneve options.
    TunnelOption44 = "tun_option44", 32, true, None, tunnel_options[22] >> 32;
    /// Unit 45 of the data of Geneve options.
    TunnelOption45 = "tun_option45", 32, true, None, tunnel_options[22] >> 0;
    /// Unit 46 of the data of Geneve options.
    TunnelOption46 = "tun_option46", 32, true, None, tunnel_options[23] >> 32;
    /// Unit 47 of the data of Geneve options.
    TunnelOption47 = "tun_option47", 32, true, None, tunnel_options[23] >> 0;
    /// Unit 48 of the data of Geneve options.
    TunnelOption48 = "tun_option48", 32, true, None, tunnel_options[24] >> 32;
    /// Unit 49 of the data of Geneve options.
    TunnelOption49 = "tun_option49", 32, true, None, tunnel_options[24] >> 0;
    /// Unit 50 of the data of Geneve options.
    TunnelOption50 = "tun_option50", 32, true, None, tunnel_options[25] >> 32;
    /// Unit 51 of the data of Geneve options.
    TunnelOption51 = "tun_option51", 32, true, None, tunnel_options[25] >> 0;
    /// Unit 52 of the data of Geneve options.
    TunnelOption52 = "tun_option52", 32, true, None, tunnel_options[26] >> 32;
    /// Unit 53 of the data of Geneve options.
    TunnelOption53 = "tun_option53", 32, true, None, tunnel_options[26] >> 0;
    /// Unit 54 of the data of Geneve options.
    TunnelOption54 = "tun_option54", 32, true, None, tunnel_options[27] >> 32;
    /// Unit 55 of the data of Geneve options.
    TunnelOption55 = "tun_option55", 32, true, None, tunnel_options[27] >> 0;
    /// Unit 56 of the data of Geneve options.
    TunnelOption56 = "tun_option56", 32, true, None, tunnel_options[28] >> 32;
    /// Unit 57 of the data of Geneve options.
    TunnelOption57 = "tun_option57", 32, true, None, tunnel_options[28] >> 0;
    /// Unit 58 of the data of Geneve options.
    TunnelOption58 = "tun_option58", 32, true, None, tunnel_options[29] >> 32;
    /// Unit 59 of the data of Geneve options.
    TunnelOption59 = "tun_option59", 32, true, None, tunnel_options[29] >> 0;
    /// Unit 60 of the data of Geneve options.
    TunnelOption60 = "tun_option60", 32, true, None, tunnel_options[30] >> 32;
    /// Unit 61 of the data of Geneve options.
    TunnelOption61 = "tun_option61", 32, true, None, tunnel_options[30] >> 0;
    /// Unit 62 of the data of Geneve options.
    TunnelOption62 = "tun_option62", 32, true, None, tunnel_options[31] >> 32;
    /// Unit 63 of the data of Geneve options.
    TunnelOption63 = "tun_option63", 32, true, None, tunnel_options[31] >> 0;
    /// The outer VLAN tag as one: priority, presence bit, id.
    VlanTci = "vlan_tci", 16, true, None, vlan_tci >> 0;
    /// Port the packet came in by in the 16 bits of OpenFlow 1.0, as Nicira's actions have it.
    InPort16 = "in_port", 16, false, None, in_port >> 0;
}

impl Field {
    /// Whether all its bits are those of other fields, which are told instead of it.
    pub const fn is_alias(self) -> bool {
        self as usize >= PLAIN
    }

    /// Whether it is data of Geneve options, or tells which of them are there: fields by names of
    /// the bridge's [`crate::TlvTable`] only.
    pub const fn is_tunnel_option(self) -> bool {
        let at = STORAGE[self as usize].word;
        at >= OPTION_WORD && at <= UNITS_WORD
    }

    /// The units of the data of Geneve options that it is, bit n for unit n.
    pub const fn option_units(self) -> u64 {
        STORAGE[self as usize].units
    }

    /// Whether no action may change it: a summary of the packet, or what the switch alone says.
    pub fn is_read_only(self) -> bool {
        use Field::*;
        let summary = matches!(self, Ipv6Exthdr | IpFrag | TcpFlags);
        let said = InPhyPort == self || (ConjunctionId..=CtTpDst).contains(&self);
        summary || said
    }

    /// Whether it is no part of the packet's headers.
    pub fn is_metadata(self) -> bool {
        STORAGE[self as usize].word < FlowKey::HEADER_WORD
    }

    /// Whether a packet carries it of its own ([`crate::Carried`]).
    pub fn is_carried(self) -> bool {
        crate::Carried::WORDS.contains(&STORAGE[self as usize].word)
    }

    /// All ones in the field's width.
    pub fn ones(self) -> u128 {
        u128::MAX >> (128 - self.width())
    }

    /// The fields that have one of these prerequisites, bit n for that of number n. A set of
    /// fields is a bit for each at its place in [`Field::ALL`].
    pub(crate) fn allowed(met: u32) -> u128 {
        bits(met.into()).fold(0, |all, need| all | NEEDING[need])
    }

    /// Those of a set that have one of the bits of `mask` in word `index` of the key.
    pub(crate) fn with_bits(index: usize, mask: u64, of: u128) -> u128 {
        let fields = bits(FIELDS[index] & of).filter(|field| STORAGE[*field].mask & mask != 0);
        fields.fold(0, |all, field| all | 1 << field)
    }

    /// The fields of a set, in canonical order.
    pub(crate) fn of_bits(set: u128) -> impl Iterator<Item = Field> {
        bits(set).map(|field| Field::ALL[field])
    }

    /// The field's value in `key`.
    pub fn read(self, key: &FlowKey) -> u128 {
        let [value] = self.read_words(|index| [key.words()[index]]);
        value
    }

    /// The field's values in keys of which these are the words.
    #[inline]
    pub(crate) fn read_words<const N: usize>(self, words: impl Fn(usize) -> [u64; N]) -> [u128; N] {
        let at = &STORAGE[self as usize];
        let first = words(at.word);
        match at.is_wide {
            true => {
                let second = words(at.word + 1);
                std::array::from_fn(|n| u128::from(first[n]) << 64 | u128::from(second[n]))
            }
            false => first.map(|word| u128::from((word & at.mask) >> at.shift)),
        }
    }

    /// Writes the bits of `value` that are set in `mask`, keeping the others. An option of which
    /// data are written is there from then on.
    pub fn write(self, key: &mut FlowKey, value: u128, mask: u128) {
        let at = &STORAGE[self as usize];
        if at.units != 0 && mask != 0 {
            key.tunnel_option_units |= at.units;
        }
        let mask = (mask & self.ones()) << at.shift;
        let value = value << at.shift & mask;
        let mut put = |index: usize, value: u64, mask: u64| {
            let word = &mut key.words_mut()[index];
            *word = *word & !mask | value;
        };
        match at.is_wide {
            true => {
                put(at.word, (value >> 64) as u64, (mask >> 64) as u64);
                put(at.word + 1, value as u64, mask as u64);
            }
            false => put(at.word, value as u64, mask as u64),
        }
    }

    /// A mask with just this field's bits.
    pub fn mask(self) -> FlowMask {
        let mut mask = FlowMask::default();
        self.write(&mut mask.0, u128::MAX, u128::MAX);
        mask
    }
}

/// The numbers of the bits that are set, in order.
fn bits(mut set: u128) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let next = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (next < 128).then_some(next)
    })
}

/// For each word of the key the fields in it, those aside that are others by another name.
const FIELDS: [u128; FlowKey::WORDS] = {
    let mut fields = [0; FlowKey::WORDS];
    let mut index = 0;
    while index < PLAIN {
        let at = &STORAGE[index];
        fields[at.word] |= 1 << index;
        if at.is_wide {
            fields[at.word + 1] |= 1 << index;
        }
        index += 1;
    }
    fields
};
/// The fields that are no other by another name come first.
const PLAIN: usize = Field::Xreg0 as usize;
const _: () = assert!(PLAIN <= 128, "a bitmap has a bit for each field");

/// The words with data of Geneve options, and that which tells of which options.
const OPTION_WORD: usize = offset_of!(FlowKey, tunnel_options) / 8;
const UNITS_WORD: usize = offset_of!(FlowKey, tunnel_option_units) / 8;

/// For each prerequisite the fields that have it, those aside that are others by another name.
const NEEDING: [u128; Prerequisite::Connection as usize + 1] = {
    let mut fields = [0; _];
    let mut index = 0;
    while index < PLAIN {
        fields[Field::ALL[index].prerequisite() as usize] |= 1 << index;
        index += 1;
    }
    fields
};

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

    #[test]
    fn a_field_is_what_the_parser_writes() {
        let key = FlowKey {
            eth_dst: 0x0102_0304_0506,
            vlan_tci: 0xb005,
            eth_type: 0x86dd,
            ip_tos: 0xb9,
            mpls: 0x1234_5b40,
            ipv6_src: [0xfe80 << 48, 7],
            tp_src: 135,
            tp_dst: 0xffff,
            ..FlowKey::default()
        };
        for (field, value) in [
            (Field::EthDst, 0x0102_0304_0506),
            (Field::EthSrc, 0),
            (Field::VlanVid, 0x1005),
            (Field::VlanPcp, 5),
            (Field::EthType, 0x86dd),
            (Field::IpDscp, 0x2e),
            (Field::IpEcn, 1),
            (Field::MplsLabel, 0x12345),
            (Field::MplsTc, 5),
            (Field::MplsBos, 1),
            (Field::MplsTtl, 0x40),
            (Field::Ipv6Src, 0xfe80 << 112 | 7),
            (Field::Icmpv6Type, 135),
            (Field::UdpDst, 0xffff),
        ] {
            assert_eq!(field.read(&key), value, "{}", field.name());
            let mut written = FlowKey::default();
            field.write(&mut written, value, u128::MAX);
            assert_eq!(field.read(&written), value, "{}", field.name());
            let pairs = key.words().iter().zip(written.words());
            assert!(pairs.into_iter().all(|(all, one)| one & !all == 0));
        }
    }
}
