//! The flow key: everything a rule can match, as native integers in one flat block of words.
//!
//! The parser writes the header part, the switch writes the metadata part. Addresses of 128 bits
//! are two words, most significant first. A value is in host byte order: big-endian integers
//! stay in wire and codec modules. Fields that the protocols never carry together share storage
//! (TCP ports and ICMP type, TCP flags and ND option, ARP and IPv4 addresses), told apart by their
//! prerequisites.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bit of a VLAN tag in the key that says the tag is there (`OFPVID_PRESENT`, OpenFlow 1.3.5
/// §7.2.3.7); on the wire the same bit is the drop eligible indicator.
pub const VLAN_PRESENT: u16 = 0x1000;

/// Bit of `ip_frag`: the packet is a fragment.
pub const FRAGMENT_ANY: u8 = 1;
/// Bit of `ip_frag`: it is not the first fragment, so it has no transport header.
pub const FRAGMENT_LATER: u8 = 2;

/// Words of the key for data of Geneve options: as many as Open vSwitch has, a bit of
/// `tunnel_option_units` for each half of one.
pub const OPTION_WORDS: usize = 32;

/// Everything a rule can match about one packet.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FlowKey {
    // Metadata, written by the switch.
    /// OpenFlow number of the port the packet came in by.
    pub in_port: u32,
    /// Physical port beneath `in_port`; the same number for a plain port.
    pub in_phy_port: u32,
    /// Entry point: datapath number of the port the packet has just come in by, or a
    /// recirculation point (bit 31 set). Significant in every mask of the flow cache.
    pub entry: u32,
    /// Packet mark (`pkt_mark`).
    pub packet_mark: u32,
    /// OpenFlow metadata, passed between tables.
    pub metadata: u64,
    /// Registers reg0 to reg15, two in a word, the even one above: so each word is an xreg and each
    /// two words are an xxreg.
    pub registers: [u64; 8],
    /// Tunnel key (VNI, GRE key).
    pub tunnel_id: u64,
    /// Outer IPv4 source address, 0 if the outer packet is none.
    pub tunnel_src: u32,
    /// Outer IPv4 destination address, 0 if the outer packet is none.
    pub tunnel_dst: u32,
    /// Outer IPv6 source address, 0 if the outer packet is none.
    pub tunnel_ipv6_src: [u64; 2],
    /// Outer IPv6 destination address, 0 if the outer packet is none.
    pub tunnel_ipv6_dst: [u64; 2],
    /// Tunnel flags.
    pub tunnel_flags: u16,
    /// VXLAN group policy id.
    pub tunnel_gbp_id: u16,
    /// VXLAN group policy flags.
    pub tunnel_gbp_flags: u8,
    /// Outer type of service.
    pub tunnel_tos: u8,
    /// Outer time to live.
    pub tunnel_ttl: u8,
    /// 1 if the packet came by a tunnel.
    pub tunnel_present: u8,
    /// Data of Geneve options, in units of 4 bytes, two in a word, the even one above: where in
    /// them an option is says the bridge's [`crate::TlvTable`].
    pub tunnel_options: [u64; OPTION_WORDS],
    /// Bit n is set if unit n is that of an option that is there.
    pub tunnel_option_units: u64,
    /// Connection tracking state bits.
    pub ct_state: u32,
    /// Connection mark.
    pub ct_mark: u32,
    /// Connection label.
    pub ct_label: [u64; 2],
    /// IPv4 source address of the connection's original direction.
    pub ct_src: u32,
    /// IPv4 destination address of the connection's original direction.
    pub ct_dst: u32,
    /// IPv6 source address of the connection's original direction.
    pub ct_ipv6_src: [u64; 2],
    /// IPv6 destination address of the connection's original direction.
    pub ct_ipv6_dst: [u64; 2],
    /// Connection tracking zone.
    pub ct_zone: u16,
    /// Source port of the connection's original direction.
    pub ct_tp_src: u16,
    /// Destination port of the connection's original direction.
    pub ct_tp_dst: u16,
    /// IP protocol of the connection's original direction.
    pub ct_ip_proto: u16,
    /// Conjunction id, set by the classifier.
    pub conjunction: u32,
    /// Queue that `set_queue` chose, 0 for none.
    pub queue: u32,

    // Headers, written by the parser. `eth_dst` is the first of them.
    /// Ethernet destination, 48 bits.
    pub eth_dst: u64,
    /// Ethernet source, 48 bits.
    pub eth_src: u64,
    /// Outer VLAN tag: priority, [`VLAN_PRESENT`], VLAN id; 0 if untagged.
    pub vlan_tci: u16,
    /// TPID of the outer VLAN tag, 0 if untagged.
    pub vlan_tpid: u16,
    /// Second VLAN tag, 0 if there is none.
    pub inner_vlan_tci: u16,
    /// TPID of the second VLAN tag, 0 if there is none.
    pub inner_vlan_tpid: u16,
    /// Ethernet type after the VLAN tags; 0x05ff for 802.2 frames without SNAP.
    pub eth_type: u16,
    /// IP protocol; for IPv6 the one after the extension headers (of a later fragment, what its
    /// fragment header names).
    pub ip_proto: u8,
    /// IP type of service: DSCP in the upper 6 bits, ECN in the lower 2.
    pub ip_tos: u8,
    /// IP time to live or hop limit.
    pub ip_ttl: u8,
    /// Fragment bits: [`FRAGMENT_ANY`], [`FRAGMENT_LATER`].
    pub ip_frag: u8,
    /// IPv6 extension header flags (`OFPIEH_*`, OpenFlow 1.3.5 §7.2.3.7).
    pub ipv6_exthdr: u16,
    /// Top MPLS label stack entry as on the wire: label, TC, bottom of stack, TTL.
    pub mpls: u32,
    /// PBB service instance, 24 bits.
    pub pbb_isid: u32,
    /// IPv4 source or ARP sender protocol address.
    pub ipv4_src: u32,
    /// IPv4 destination or ARP target protocol address.
    pub ipv4_dst: u32,
    /// IPv6 source.
    pub ipv6_src: [u64; 2],
    /// IPv6 destination.
    pub ipv6_dst: [u64; 2],
    /// IPv6 flow label, 20 bits.
    pub ipv6_flabel: u32,
    /// ARP opcode.
    pub arp_op: u16,
    /// TCP flags, 12 bits, or the type of the first ND option with a link-layer address.
    pub tcp_flags: u16,
    /// TCP, UDP or SCTP source port; ICMP or ICMPv6 type.
    pub tp_src: u16,
    /// TCP, UDP or SCTP destination port; ICMP or ICMPv6 code.
    pub tp_dst: u16,
    /// Flags and reserved bits of ND.
    pub nd_reserved: u32,
    /// ARP sender hardware address or ND source link-layer address, 48 bits.
    pub arp_sha: u64,
    /// ARP target hardware address or ND target link-layer address, 48 bits.
    pub arp_tha: u64,
    /// ND target address.
    pub nd_target: [u64; 2],
}

impl FlowKey {
    /// Number of 64-bit words in a key.
    pub const WORDS: usize = size_of::<FlowKey>() / 8;

    /// First word of the header part: what lies before is metadata.
    pub const HEADER_WORD: usize = core::mem::offset_of!(FlowKey, eth_dst) / 8;

    /// Zeroes the header part.
    #[inline(always)]
    pub(crate) fn clear_headers(&mut self) {
        self.words_mut()[Self::HEADER_WORD..].fill(0);
    }

    /// Zeroes the words with Ethernet addresses, VLAN tags and Ethernet type.
    #[inline(always)]
    pub(crate) fn clear_link(&mut self) {
        self.words_mut()[Self::HEADER_WORD..Self::HEADER_WORD + LINK_WORDS].fill(0);
    }

    /// Zeroes the words with those and with what network headers tell.
    #[inline(always)]
    pub(crate) fn clear_network(&mut self) {
        self.words_mut()[Self::HEADER_WORD..Self::HEADER_WORD + NETWORK_WORDS].fill(0);
    }

    /// The key as words, for hashing and masked comparison.
    #[inline(always)]
    pub fn words(&self) -> &[u64; Self::WORDS] {
        zerocopy::transmute_ref!(self)
    }

    /// The key as words, writable.
    #[inline(always)]
    pub fn words_mut(&mut self) -> &mut [u64; Self::WORDS] {
        zerocopy::transmute_mut!(self)
    }
}

/// Which bits of a [`FlowKey`] count: a key whose set bits are significant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct FlowMask(pub FlowKey);

impl FlowMask {
    /// Adds every bit of `other`.
    pub fn unite(&mut self, other: &FlowMask) {
        for (word, more) in self.0.words_mut().iter_mut().zip(other.0.words()) {
            *word |= more;
        }
    }

    /// Without metadata but for what packets carry of their own.
    pub fn of_packets(mut self) -> FlowMask {
        let carried = crate::Carried::of(&self.0);
        self.0.words_mut()[..FlowKey::HEADER_WORD].fill(0);
        carried.write(&mut self.0);
        self
    }

    /// Whether `a` and `b` agree in every significant bit.
    pub fn agree(&self, a: &FlowKey, b: &FlowKey) -> bool {
        let pairs = a.words().iter().zip(b.words());
        pairs
            .zip(self.0.words())
            .all(|((a, b), mask)| (a ^ b) & mask == 0)
    }
}

/// The first words of the header part, up to that with the Ethernet type.
const LINK_WORDS: usize = core::mem::offset_of!(FlowKey, eth_type) / 8 + 1 - FlowKey::HEADER_WORD;
/// The same up to the word with the IPv6 flow label.
const NETWORK_WORDS: usize =
    core::mem::offset_of!(FlowKey, ipv6_flabel) / 8 + 1 - FlowKey::HEADER_WORD;
