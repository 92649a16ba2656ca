//! What is told of one packet: information elements as Open vSwitch takes them (RFC 7012; IANA's
//! registry of IPFIX information elements).

use flowtable::{VLAN_PRESENT, eth_type, ip_proto};

use crate::datapath::Sampled;

/// An information element with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its number.
    pub element: u16,
    /// Bytes.
    pub len: u16,
    /// The value.
    pub value: u128,
}

/// What is told of a sample: another choice of elements for each kind of packet, so that the choice
/// is the template.
pub fn fields(sampled: &Sampled, now_ms: u64) -> Vec<Field> {
    let mut fields = Vec::with_capacity(FIELDS_MAX);
    let mut put = |element, len, value: u128| {
        fields.push(Field {
            element,
            len,
            value,
        });
    };
    let (key, sampling) = (&sampled.headers, &sampled.sampling);
    put(OBSERVATION_POINT_ID, 4, sampling.point.into());
    put(FLOW_DIRECTION, 1, sampling.is_egress.into());
    put(INGRESS_INTERFACE, 4, sampling.in_port.0.into());
    put(
        EGRESS_INTERFACE,
        4,
        sampling.out_port.map_or(0, |port| port.0.into()),
    );
    put(SOURCE_MAC_ADDRESS, 6, key.eth_src.into());
    put(DESTINATION_MAC_ADDRESS, 6, key.eth_dst.into());
    put(ETHERNET_TYPE, 2, key.eth_type.into());
    put(ETHERNET_HEADER_LENGTH, 1, sampled.ethernet_len.into());
    if key.vlan_tci & VLAN_PRESENT != 0 {
        let vid = u128::from(key.vlan_tci & 0xfff);
        put(VLAN_ID, 2, vid);
        put(DOT1Q_VLAN_ID, 2, vid);
        put(DOT1Q_PRIORITY, 1, (key.vlan_tci >> 13).into());
    }
    if sampled.ip_len > 0 {
        let version = if key.eth_type == eth_type::IPV4 { 4 } else { 6 };
        put(IP_VERSION, 1, version);
        put(IP_TTL, 1, key.ip_ttl.into());
        put(PROTOCOL_IDENTIFIER, 1, key.ip_proto.into());
        put(IP_DIFF_SERV_CODE_POINT, 1, (key.ip_tos >> 2).into());
        put(IP_PRECEDENCE, 1, (key.ip_tos >> 5).into());
        put(IP_CLASS_OF_SERVICE, 1, key.ip_tos.into());
        let address = |words: [u64; 2]| u128::from(words[0]) << 64 | u128::from(words[1]);
        match version {
            4 => {
                put(SOURCE_IPV4_ADDRESS, 4, key.ipv4_src.into());
                put(DESTINATION_IPV4_ADDRESS, 4, key.ipv4_dst.into());
            }
            _ => {
                put(SOURCE_IPV6_ADDRESS, 16, address(key.ipv6_src));
                put(DESTINATION_IPV6_ADDRESS, 16, address(key.ipv6_dst));
                put(FLOW_LABEL_IPV6, 4, key.ipv6_flabel.into());
            }
        }
        let (first, second, len) = match key.ip_proto {
            ip_proto::TCP | ip_proto::UDP | ip_proto::SCTP => {
                (SOURCE_TRANSPORT_PORT, DESTINATION_TRANSPORT_PORT, 2)
            }
            ip_proto::ICMP if version == 4 => (ICMP_TYPE_IPV4, ICMP_CODE_IPV4, 1),
            ip_proto::ICMPV6 if version == 6 => (ICMP_TYPE_IPV6, ICMP_CODE_IPV6, 1),
            _ => (0, 0, 0),
        };
        if len > 0 {
            put(first, len, key.tp_src.into());
            put(second, len, key.tp_dst.into());
        }
    }
    let ago_us = now_ms.saturating_sub(sampled.at_ms) * 1000;
    let ago_us = u128::from(u32::try_from(ago_us).unwrap_or(u32::MAX));
    put(FLOW_START_DELTA_MICROSECONDS, 4, ago_us);
    put(FLOW_END_DELTA_MICROSECONDS, 4, ago_us);
    put(PACKET_DELTA_COUNT, 8, sampled.packets.into());
    put(LAYER2_OCTET_DELTA_COUNT, 8, sampled.bytes.into());
    if sampled.ip_len > 0 {
        put(OCTET_DELTA_COUNT, 8, sampled.ip_len.into());
    }
    fields
}

/// Elements of one record at most.
const FIELDS_MAX: usize = 32;

const OCTET_DELTA_COUNT: u16 = 1;
const PACKET_DELTA_COUNT: u16 = 2;
const PROTOCOL_IDENTIFIER: u16 = 4;
const IP_CLASS_OF_SERVICE: u16 = 5;
const SOURCE_TRANSPORT_PORT: u16 = 7;
const SOURCE_IPV4_ADDRESS: u16 = 8;
const INGRESS_INTERFACE: u16 = 10;
const DESTINATION_TRANSPORT_PORT: u16 = 11;
const DESTINATION_IPV4_ADDRESS: u16 = 12;
const EGRESS_INTERFACE: u16 = 14;
const SOURCE_IPV6_ADDRESS: u16 = 27;
const DESTINATION_IPV6_ADDRESS: u16 = 28;
const FLOW_LABEL_IPV6: u16 = 31;
const SOURCE_MAC_ADDRESS: u16 = 56;
const VLAN_ID: u16 = 58;
const IP_VERSION: u16 = 60;
const FLOW_DIRECTION: u16 = 61;
const DESTINATION_MAC_ADDRESS: u16 = 80;
const OBSERVATION_POINT_ID: u16 = 138;
const FLOW_START_DELTA_MICROSECONDS: u16 = 158;
const FLOW_END_DELTA_MICROSECONDS: u16 = 159;
const ICMP_TYPE_IPV4: u16 = 176;
const ICMP_CODE_IPV4: u16 = 177;
const ICMP_TYPE_IPV6: u16 = 178;
const ICMP_CODE_IPV6: u16 = 179;
const IP_TTL: u16 = 192;
const IP_DIFF_SERV_CODE_POINT: u16 = 195;
const IP_PRECEDENCE: u16 = 196;
const ETHERNET_HEADER_LENGTH: u16 = 240;
const DOT1Q_VLAN_ID: u16 = 243;
const DOT1Q_PRIORITY: u16 = 244;
const ETHERNET_TYPE: u16 = 256;
const LAYER2_OCTET_DELTA_COUNT: u16 = 352;

/// A datagram with a VLAN tag, in by port 1, 3 milliseconds after the start.
#[cfg(test)]
pub fn sample_of_udp() -> Sampled {
    let sampling = crate::action::Sampling {
        probability: 1,
        collector_set: 1,
        domain: 2,
        point: 3,
        in_port: openflow::OfPort(1),
        out_port: None,
        is_egress: false,
    };
    Sampled {
        sampling: std::sync::Arc::new(sampling),
        headers: flowtable::FlowKey {
            eth_type: eth_type::IPV4,
            vlan_tci: 0x7005,
            ip_proto: ip_proto::UDP,
            ip_tos: 0xb8,
            tp_dst: 53,
            ..flowtable::FlowKey::default()
        },
        ethernet_len: 18,
        ip_len: 46,
        bytes: 64,
        packets: 1,
        at_ms: 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_is_told_once_and_fits() {
        let fields = fields(&sample_of_udp(), 5);
        let value = |element| {
            let mut found = fields.iter().filter(|field| field.element == element);
            let value = found.next().map(|field| field.value);
            assert!(found.next().is_none(), "{element}");
            value
        };
        for (element, expected) in [
            (OBSERVATION_POINT_ID, Some(3)),
            (VLAN_ID, Some(5)),
            (DOT1Q_PRIORITY, Some(3)),
            (IP_DIFF_SERV_CODE_POINT, Some(0x2e)),
            (IP_PRECEDENCE, Some(5)),
            (DESTINATION_TRANSPORT_PORT, Some(53)),
            (SOURCE_IPV6_ADDRESS, None),
            (ICMP_TYPE_IPV4, None),
            (FLOW_END_DELTA_MICROSECONDS, Some(2000)),
            (OCTET_DELTA_COUNT, Some(46)),
        ] {
            assert_eq!(value(element), expected, "{element}");
        }
        assert!(fields.len() <= FIELDS_MAX);
        for field in fields {
            assert_eq!(field.value >> (8 * u32::from(field.len)), 0, "{field:?}");
        }
    }
}
