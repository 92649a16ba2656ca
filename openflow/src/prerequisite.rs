//! What must already be matched before a field may be matched or set (OpenFlow 1.3.5 §7.2.3.6).
//!
//! The codecs ask before they accept or write a field, and so does whoever checks a set-field
//! action against a flow's match.

use flowtable::{Field, Match, Prerequisite};

/// Whether `matching` makes sure that what `need` names is there.
pub fn satisfied(need: Prerequisite, matching: &Match) -> bool {
    let eth_type = |wanted: &[u128]| exactly(matching, Field::EthType, wanted);
    let ip = || eth_type(&[ETH_IPV4, ETH_IPV6]);
    let ip_proto = |wanted| ip() && exactly(matching, Field::IpProto, &[wanted]);
    let icmpv6 = || eth_type(&[ETH_IPV6]) && exactly(matching, Field::IpProto, &[PROTO_ICMPV6]);
    let nd = |wanted: &[u128]| icmpv6() && exactly(matching, Field::Icmpv6Type, wanted);
    match need {
        Prerequisite::None => true,
        Prerequisite::Vlan => {
            let (value, mask) = matching.read(Field::VlanVid);
            value & mask & VID_PRESENT != 0
        }
        Prerequisite::Arp => eth_type(&[ETH_ARP, ETH_RARP]),
        Prerequisite::Ip => ip(),
        Prerequisite::Ipv4 => eth_type(&[ETH_IPV4]),
        Prerequisite::Ipv6 => eth_type(&[ETH_IPV6]),
        Prerequisite::Mpls => eth_type(&[ETH_MPLS, ETH_MPLS_MULTICAST]),
        Prerequisite::Pbb => eth_type(&[ETH_PBB]),
        Prerequisite::Tcp => ip_proto(PROTO_TCP),
        Prerequisite::Udp => ip_proto(PROTO_UDP),
        Prerequisite::Sctp => ip_proto(PROTO_SCTP),
        Prerequisite::Icmpv4 => {
            eth_type(&[ETH_IPV4]) && exactly(matching, Field::IpProto, &[PROTO_ICMP])
        }
        Prerequisite::Icmpv6 => icmpv6(),
        Prerequisite::Nd => nd(&[ND_SOLICIT, ND_ADVERT]),
        Prerequisite::NdSolicit => nd(&[ND_SOLICIT]),
        Prerequisite::NdAdvert => nd(&[ND_ADVERT]),
    }
}

/// Whether `field` is matched in all its bits with one of `wanted`.
fn exactly(matching: &Match, field: Field, wanted: &[u128]) -> bool {
    let (value, mask) = matching.read(field);
    mask == field.ones() && wanted.contains(&value)
}

const ETH_IPV4: u128 = 0x0800;
const ETH_ARP: u128 = 0x0806;
const ETH_RARP: u128 = 0x8035;
const ETH_IPV6: u128 = 0x86dd;
const ETH_MPLS: u128 = 0x8847;
const ETH_MPLS_MULTICAST: u128 = 0x8848;
const ETH_PBB: u128 = 0x88e7;
const PROTO_ICMP: u128 = 1;
const PROTO_TCP: u128 = 6;
const PROTO_UDP: u128 = 17;
const PROTO_ICMPV6: u128 = 58;
const PROTO_SCTP: u128 = 132;
const ND_SOLICIT: u128 = 135;
const ND_ADVERT: u128 = 136;
const VID_PRESENT: u128 = flowtable::VLAN_PRESENT as u128;

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(fields: &[(Field, u128)]) -> Match {
        let mut matching = Match::default();
        for &(field, value) in fields {
            matching.set(field, value, field.ones());
        }
        matching
    }

    #[test]
    fn a_masked_prerequisite_is_none() {
        let mut loose = Match::default();
        loose.set(Field::EthType, 0x0800, 0xff00);
        assert!(!satisfied(Prerequisite::Ipv4, &loose));
        let exact = matching(&[(Field::EthType, 0x0800)]);
        assert!(satisfied(Prerequisite::Ipv4, &exact));
        assert!(satisfied(Prerequisite::Ip, &exact));
        assert!(!satisfied(Prerequisite::Ipv6, &exact));
    }

    #[test]
    fn the_presence_bit_alone_makes_a_vlan() {
        let mut any = Match::default();
        any.set(Field::VlanVid, VID_PRESENT, VID_PRESENT);
        assert!(satisfied(Prerequisite::Vlan, &any));
        assert!(!satisfied(
            Prerequisite::Vlan,
            &matching(&[(Field::VlanVid, 0)])
        ));
        assert!(!satisfied(Prerequisite::Vlan, &Match::default()));
    }

    #[test]
    fn protocols_lie_over_their_own_network_layer() {
        let icmpv6 = [(Field::EthType, 0x86dd), (Field::IpProto, 58)];
        let over_ipv4 = [(Field::EthType, 0x0800), (Field::IpProto, 58)];
        assert!(satisfied(Prerequisite::Icmpv6, &matching(&icmpv6)));
        assert!(!satisfied(Prerequisite::Icmpv6, &matching(&over_ipv4)));
        let solicit = [icmpv6[0], icmpv6[1], (Field::Icmpv6Type, 135)];
        assert!(satisfied(Prerequisite::Nd, &matching(&solicit)));
        assert!(satisfied(Prerequisite::NdSolicit, &matching(&solicit)));
        assert!(!satisfied(Prerequisite::NdAdvert, &matching(&solicit)));
    }
}
