//! What pushes, pops and set-fields make of a key: what the parser would make of the packet.
//!
//! A push returns whether the key still tells all; where it does not, the packet must be parsed
//! again before anything reads the key.

use flowtable::{FRAGMENT_LATER, Field, FlowKey, Prerequisite, VLAN_PRESENT};
use flowtable::{eth_type, icmpv6_type, ip_proto};

/// Ethernet types that the parser takes for a VLAN tag.
const TPIDS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// Bottom-of-stack bit of an MPLS entry.
const MPLS_BOS: u32 = 0x100;

/// Whether the parser reads what follows differently for another value of the field.
pub fn decides_parsing(field: Field) -> bool {
    use Field::*;
    matches!(
        field,
        EthType | IpProto | Icmpv6Type | Icmpv6Code | NdOptionsType
    )
}

/// Whether the packet may lack the field though it has what is required of those that have it: an
/// option of neighbour discovery.
pub fn is_optional(field: Field) -> bool {
    matches!(field, Field::NdSll | Field::NdTll | Field::NdOptionsType)
}

/// Whether the packet has the field.
pub fn has(key: &FlowKey, field: Field) -> bool {
    if field == Field::VlanVid {
        return has_vlan(key);
    }
    let proto = |proto| is_ip(key) && key.ip_proto == proto && key.ip_frag & FRAGMENT_LATER == 0;
    let icmpv6 =
        |kind| key.eth_type == eth_type::IPV6 && proto(ip_proto::ICMPV6) && key.tp_src == kind;
    match field.prerequisite() {
        Prerequisite::None | Prerequisite::Connection => true,
        Prerequisite::Vlan => has_vlan(key),
        Prerequisite::Arp => matches!(key.eth_type, eth_type::ARP | eth_type::RARP),
        Prerequisite::Ip => is_ip(key),
        Prerequisite::Ipv4 => key.eth_type == eth_type::IPV4,
        Prerequisite::Ipv6 => key.eth_type == eth_type::IPV6,
        Prerequisite::Mpls => is_mpls(key),
        Prerequisite::Pbb => key.eth_type == eth_type::PBB,
        Prerequisite::Tcp => proto(ip_proto::TCP),
        Prerequisite::Udp => proto(ip_proto::UDP),
        // The checksum of a fragmented SCTP packet cannot be kept right, so nothing is changed.
        Prerequisite::Sctp => proto(ip_proto::SCTP) && key.ip_frag == 0,
        Prerequisite::Icmpv4 => key.eth_type == eth_type::IPV4 && proto(ip_proto::ICMP),
        Prerequisite::Icmpv6 => key.eth_type == eth_type::IPV6 && proto(ip_proto::ICMPV6),
        Prerequisite::Nd => {
            icmpv6(icmpv6_type::NEIGHBOUR_SOLICITATION)
                || icmpv6(icmpv6_type::NEIGHBOUR_ADVERTISEMENT)
        }
        Prerequisite::NdSolicit => icmpv6(icmpv6_type::NEIGHBOUR_SOLICITATION),
        Prerequisite::NdAdvert => icmpv6(icmpv6_type::NEIGHBOUR_ADVERTISEMENT),
    }
}

fn has_vlan(key: &FlowKey) -> bool {
    key.vlan_tci & VLAN_PRESENT != 0
}

fn is_ip(key: &FlowKey) -> bool {
    matches!(key.eth_type, eth_type::IPV4 | eth_type::IPV6)
}

fn is_mpls(key: &FlowKey) -> bool {
    matches!(key.eth_type, eth_type::MPLS | eth_type::MPLS_MULTICAST)
}

/// A new outermost tag with the VLAN id and priority of the old one. With two tags before, the
/// inner becomes a third, which the parser does not look into.
pub fn push_vlan(key: &mut FlowKey, tpid: u16) -> bool {
    if key.inner_vlan_tci != 0 {
        key.eth_type = key.inner_vlan_tpid;
        clear_after_ethernet_type(key);
    }
    key.inner_vlan_tci = key.vlan_tci;
    key.inner_vlan_tpid = key.vlan_tpid;
    key.vlan_tci |= VLAN_PRESENT;
    key.vlan_tpid = tpid;
    true
}

/// The outer tag goes; a third one comes into sight if there was one.
pub fn pop_vlan(key: &mut FlowKey) -> bool {
    if !has_vlan(key) {
        return true;
    }
    key.vlan_tci = std::mem::take(&mut key.inner_vlan_tci);
    key.vlan_tpid = std::mem::take(&mut key.inner_vlan_tpid);
    !TPIDS.contains(&key.eth_type)
}

/// A new entry after the VLAN tags; what follows is out of sight.
pub fn push_mpls(key: &mut FlowKey, kind: u16) -> bool {
    let entry = match is_mpls(key) {
        true => key.mpls & !MPLS_BOS,
        false => MPLS_BOS,
    };
    clear_after_ethernet_type(key);
    key.eth_type = kind;
    key.mpls = entry;
    true
}

/// A new Ethernet header and service tag before everything, the addresses copied.
pub fn push_pbb(key: &mut FlowKey, kind: u16) -> bool {
    let isid = key.pbb_isid;
    clear_after_ethernet_type(key);
    key.pbb_isid = isid;
    key.eth_type = kind;
    key.vlan_tci = 0;
    key.vlan_tpid = 0;
    key.inner_vlan_tci = 0;
    key.inner_vlan_tpid = 0;
    true
}

/// All that the parser finds after the Ethernet type.
fn clear_after_ethernet_type(key: &mut FlowKey) {
    *key = FlowKey {
        eth_dst: key.eth_dst,
        eth_src: key.eth_src,
        vlan_tci: key.vlan_tci,
        vlan_tpid: key.vlan_tpid,
        inner_vlan_tci: key.inner_vlan_tci,
        inner_vlan_tpid: key.inner_vlan_tpid,
        eth_type: key.eth_type,
        ..super::strand::metadata_of(key)
    };
}
