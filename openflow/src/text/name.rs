//! The words that may stand for a field, and what each means.

use flowtable::Field;
use flowtable::eth_type::{ARP, IPV4, IPV6, MPLS, MPLS_MULTICAST, RARP};
use flowtable::ip_proto::{ICMP, ICMPV6, SCTP, TCP, UDP};

use super::SyntaxError;

/// What a word in a match, or after the arrow of `set_field`, stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// One field.
    Field(Field),
    /// The VLAN id without the presence bit; 0xffff for untagged.
    DlVlan,
    /// The whole VLAN tag, the presence bit in the place of the drop eligible indicator.
    VlanTci,
    /// The type of service byte, of which the upper six bits count.
    NwTos,
    /// `nw_proto`, or the opcode of ARP.
    NwProto,
    /// `nw_src`, or the sender address of ARP.
    NwSrc,
    /// `nw_dst`, or the target address of ARP.
    NwDst,
    /// Source port of TCP, UDP or SCTP.
    TpSrc,
    /// Destination port of TCP, UDP or SCTP.
    TpDst,
    /// Type of ICMP or ICMPv6.
    IcmpType,
    /// Code of ICMP or ICMPv6.
    IcmpCode,
}

impl Name {
    /// The meaning of `word`.
    pub fn find(word: &str) -> Option<Name> {
        if let Ok(at) = NAMES.binary_search_by_key(&word, |(name, _)| name) {
            return Some(NAMES[at].1);
        }
        let mut fields = plain();
        let field = fields.find(|field| field.name() == word)?;
        Some(Name::Field(*field))
    }
}

/// Fields that have the same name in all switches.
fn plain() -> impl Iterator<Item = &'static Field> {
    Field::ALL.iter().filter(|field| !field.is_tunnel_option())
}

/// Ethernet type and IP protocol that a shorthand such as `tcp` requires.
pub(super) fn protocol(word: &str) -> Option<(Option<u16>, Option<u8>)> {
    Some(match word {
        "eth" => (None, None),
        "ip" | "ipv4" | "ip4" => (Some(IPV4), None),
        "ipv6" | "ip6" => (Some(IPV6), None),
        "icmp" => (Some(IPV4), Some(ICMP)),
        "icmp6" | "icmpv6" => (Some(IPV6), Some(ICMPV6)),
        "tcp" => (Some(IPV4), Some(TCP)),
        "tcp6" => (Some(IPV6), Some(TCP)),
        "udp" => (Some(IPV4), Some(UDP)),
        "udp6" => (Some(IPV6), Some(UDP)),
        "sctp" => (Some(IPV4), Some(SCTP)),
        "sctp6" => (Some(IPV6), Some(SCTP)),
        "arp" => (Some(ARP), None),
        "rarp" => (Some(RARP), None),
        "mpls" => (Some(MPLS), None),
        "mplsm" => (Some(MPLS_MULTICAST), None),
        _ => return None,
    })
}

/// The shorthand that says as much as possible about an Ethernet type and IP protocol, and
/// whether it tells the protocol too.
pub(super) fn shorthand(eth_type: u16, ip_proto: Option<u8>) -> Option<(&'static str, bool)> {
    Some(match (eth_type, ip_proto) {
        (IPV4, Some(ICMP)) => ("icmp", true),
        (IPV4, Some(TCP)) => ("tcp", true),
        (IPV4, Some(UDP)) => ("udp", true),
        (IPV4, Some(SCTP)) => ("sctp", true),
        (IPV4, _) => ("ip", false),
        (IPV6, Some(ICMPV6)) => ("icmp6", true),
        (IPV6, Some(TCP)) => ("tcp6", true),
        (IPV6, Some(UDP)) => ("udp6", true),
        (IPV6, Some(SCTP)) => ("sctp6", true),
        (IPV6, _) => ("ipv6", false),
        (ARP, _) => ("arp", false),
        (RARP, _) => ("rarp", false),
        (MPLS, _) => ("mpls", false),
        (MPLS_MULTICAST, _) => ("mplsm", false),
        _ => return None,
    })
}

/// The error for a word that means nothing, with the word that was probably meant.
pub(super) fn unknown<'a>(
    token: &str,
    word: &str,
    what: &str,
    words: impl Iterator<Item = &'a str>,
    allowed: &str,
) -> SyntaxError {
    let best = words
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= MISSPELLINGS_MAX)
        .map(|candidate| (distance(word, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= MISSPELLINGS_MAX);
    let problem = match best {
        Some((_, candidate)) => format!("unknown {what}, did you mean {candidate}?"),
        None => format!("unknown {what}"),
    };
    SyntaxError::new(token, problem, allowed)
}

/// Every word for a field.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    let fields = plain().map(|field| field.name());
    NAMES.iter().map(|(name, _)| *name).chain(fields)
}

/// Number of letters to insert, delete or replace to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// A word with more letters wrong than this was hardly meant to be that other word.
const MISSPELLINGS_MAX: usize = 2;

/// Words for fields that have several or mean more than one field; sorted, for the search. Others
/// go by their own name alone.
const NAMES: &[(&str, Name)] = &[
    ("arp_op", Name::Field(Field::ArpOp)),
    ("arp_sha", Name::Field(Field::ArpSha)),
    ("arp_spa", Name::Field(Field::ArpSpa)),
    ("arp_tha", Name::Field(Field::ArpTha)),
    ("arp_tpa", Name::Field(Field::ArpTpa)),
    ("dl_dst", Name::Field(Field::EthDst)),
    ("dl_src", Name::Field(Field::EthSrc)),
    ("dl_type", Name::Field(Field::EthType)),
    ("dl_vlan", Name::DlVlan),
    ("dl_vlan_pcp", Name::Field(Field::VlanPcp)),
    ("eth_dst", Name::Field(Field::EthDst)),
    ("eth_src", Name::Field(Field::EthSrc)),
    ("eth_type", Name::Field(Field::EthType)),
    ("icmp_code", Name::IcmpCode),
    ("icmp_type", Name::IcmpType),
    ("icmpv4_code", Name::Field(Field::Icmpv4Code)),
    ("icmpv4_type", Name::Field(Field::Icmpv4Type)),
    ("icmpv6_code", Name::Field(Field::Icmpv6Code)),
    ("icmpv6_type", Name::Field(Field::Icmpv6Type)),
    ("in_phy_port", Name::Field(Field::InPhyPort)),
    ("in_port", Name::Field(Field::InPort)),
    ("ip_dscp", Name::Field(Field::IpDscp)),
    ("ip_dst", Name::NwDst),
    ("ip_ecn", Name::Field(Field::IpEcn)),
    ("ip_frag", Name::Field(Field::IpFrag)),
    ("ip_proto", Name::NwProto),
    ("ip_src", Name::NwSrc),
    ("ipv4_dst", Name::Field(Field::Ipv4Dst)),
    ("ipv4_src", Name::Field(Field::Ipv4Src)),
    ("ipv6_dst", Name::Field(Field::Ipv6Dst)),
    ("ipv6_exthdr", Name::Field(Field::Ipv6Exthdr)),
    ("ipv6_flabel", Name::Field(Field::Ipv6Flabel)),
    ("ipv6_label", Name::Field(Field::Ipv6Flabel)),
    ("ipv6_src", Name::Field(Field::Ipv6Src)),
    ("metadata", Name::Field(Field::Metadata)),
    ("mpls_bos", Name::Field(Field::MplsBos)),
    ("mpls_label", Name::Field(Field::MplsLabel)),
    ("mpls_tc", Name::Field(Field::MplsTc)),
    ("mpls_ttl", Name::Field(Field::MplsTtl)),
    ("nd_options_type", Name::Field(Field::NdOptionsType)),
    ("nd_reserved", Name::Field(Field::NdReserved)),
    ("nd_sll", Name::Field(Field::NdSll)),
    ("nd_target", Name::Field(Field::NdTarget)),
    ("nd_tll", Name::Field(Field::NdTll)),
    ("nw_dst", Name::NwDst),
    ("nw_ecn", Name::Field(Field::IpEcn)),
    ("nw_frag", Name::Field(Field::IpFrag)),
    ("nw_proto", Name::NwProto),
    ("nw_src", Name::NwSrc),
    ("nw_tos", Name::NwTos),
    ("nw_ttl", Name::Field(Field::IpTtl)),
    ("pbb_isid", Name::Field(Field::PbbIsid)),
    ("sctp_dst", Name::Field(Field::SctpDst)),
    ("sctp_src", Name::Field(Field::SctpSrc)),
    ("tcp_dst", Name::Field(Field::TcpDst)),
    ("tcp_flags", Name::Field(Field::TcpFlags)),
    ("tcp_src", Name::Field(Field::TcpSrc)),
    ("tp_dst", Name::TpDst),
    ("tp_src", Name::TpSrc),
    ("tun_id", Name::Field(Field::TunnelId)),
    ("tunnel_id", Name::Field(Field::TunnelId)),
    ("udp_dst", Name::Field(Field::UdpDst)),
    ("udp_src", Name::Field(Field::UdpSrc)),
    ("vlan_pcp", Name::Field(Field::VlanPcp)),
    ("vlan_tci", Name::VlanTci),
    ("vlan_vid", Name::Field(Field::VlanVid)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_holds_every_field() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
        for &field in plain() {
            assert!(Name::find(field.name()).is_some(), "{}", field.name());
        }
    }

    #[test]
    fn a_misspelt_word_is_recognised() {
        let message = |word| unknown(word, word, "field", words(), "").to_string();
        assert_eq!(
            message("tcp_dts"),
            "tcp_dts: unknown field, did you mean tcp_dst?"
        );
        assert_eq!(message("zzzzzz"), "zzzzzz: unknown field");
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
