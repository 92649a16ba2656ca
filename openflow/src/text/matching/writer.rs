//! Writes a match in the order and with the names of `ovs-ofctl dump-flows`.

use flowtable::{Field, FlowKey, FlowMask, Match, VLAN_PRESENT, eth_type, ip_proto};

use super::VID_MAX;
use crate::text::{Ports, name, option, value};

/// Appends a match, with `priority` unless it is the default, each piece followed by a comma but
/// the last.
pub(in crate::text) fn write(
    out: &mut String,
    matching: &Match,
    priority: Option<u16>,
    ports: &Ports,
) {
    let mut writer = Writer {
        out,
        key: matching.key(),
        mask: matching.mask(),
        ports,
        first: true,
    };
    if let Some(priority) = priority {
        writer.word("priority=");
        writer.out.push_str(&priority.to_string());
    }
    writer.fields(&[
        (Field::PacketMark, "pkt_mark"),
        (Field::ConjunctionId, "conj_id"),
        (Field::CtState, "ct_state"),
        (Field::CtZone, "ct_zone"),
        (Field::CtMark, "ct_mark"),
        (Field::CtLabel, "ct_label"),
        (Field::CtIpv4Src, "ct_nw_src"),
        (Field::CtIpv6Src, "ct_ipv6_src"),
        (Field::CtIpv4Dst, "ct_nw_dst"),
        (Field::CtIpv6Dst, "ct_ipv6_dst"),
        (Field::CtIpProto, "ct_nw_proto"),
        (Field::CtTpSrc, "ct_tp_src"),
        (Field::CtTpDst, "ct_tp_dst"),
    ]);
    let ethernet = (writer.mask.0.eth_type == u16::MAX).then_some(writer.key.eth_type);
    let protocol = (writer.mask.0.ip_proto == u8::MAX).then_some(writer.key.ip_proto);
    let shorthand = ethernet.and_then(|ethernet| name::shorthand(ethernet, protocol));
    if let Some((word, _)) = shorthand {
        writer.word(word);
    }
    for field in REGISTERS {
        writer.fields(&[(field, field.name())]);
    }
    writer.fields(&[
        (Field::TunnelId, "tun_id"),
        (Field::TunnelSrc, "tun_src"),
        (Field::TunnelDst, "tun_dst"),
        (Field::TunnelIpv6Src, "tun_ipv6_src"),
        (Field::TunnelIpv6Dst, "tun_ipv6_dst"),
        (Field::TunnelGbpId, "tun_gbp_id"),
        (Field::TunnelGbpFlags, "tun_gbp_flags"),
        (Field::TunnelFlags, "tun_flags"),
    ]);
    writer.options();
    writer.fields(&[
        (Field::Metadata, "metadata"),
        (Field::InPort, "in_port"),
        (Field::InPhyPort, "in_phy_port"),
    ]);
    writer.vlan();
    writer.fields(&[(Field::EthSrc, "dl_src"), (Field::EthDst, "dl_dst")]);
    if let (Some(ethernet), None) = (ethernet, shorthand) {
        writer.word(&format!("dl_type=0x{ethernet:04x}"));
    }
    writer.fields(&[(Field::PbbIsid, "pbb_isid")]);
    let told = shorthand.is_some_and(|(_, protocol_too)| protocol_too);
    writer.network(ethernet, protocol.filter(|_| !told));
    writer.transport(ethernet, protocol);
}

struct Writer<'a> {
    out: &'a mut String,
    key: FlowKey,
    mask: FlowMask,
    ports: &'a Ports,
    first: bool,
}

impl Writer<'_> {
    fn read(&self, field: Field) -> (u128, u128) {
        (field.read(&self.key), field.read(&self.mask.0))
    }

    fn word(&mut self, word: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        self.out.push_str(word);
    }

    fn fields(&mut self, fields: &[(Field, &str)]) {
        for &(field, name) in fields {
            self.field(field, name);
        }
    }

    /// Options that are to be there.
    fn options(&mut self) {
        for mapping in self.ports.tlvs().iter() {
            if !mapping.is_in(&self.mask.0) || !mapping.is_in(&self.key) {
                continue;
            }
            let part = |field: &Field| {
                let (value, mask) = self.read(*field);
                (*field, value, mask)
            };
            let parts: Vec<option::Part> = mapping.fields.iter().map(part).collect();
            self.word(&option::name(mapping.field(), self.ports));
            if parts.iter().any(|(.., mask)| *mask != 0) {
                self.out.push('=');
                option::write(self.out, mapping, &parts);
            }
        }
    }

    fn field(&mut self, field: Field, name: &str) {
        let (value, mask) = self.read(field);
        if mask == 0 {
            return;
        }
        self.word(name);
        self.out.push('=');
        match value::Style::of(field) {
            value::Style::Port => value::write(self.out, field, value, self.ports),
            _ => value::write_masked(self.out, field, value, mask),
        }
    }

    fn vlan(&mut self) {
        let (vid, vid_mask) = self.read(Field::VlanVid);
        let (pcp, pcp_mask) = self.read(Field::VlanPcp);
        let present = u128::from(VLAN_PRESENT);
        let all_or_none = matches!(vid_mask & VID_MAX, 0 | VID_MAX);
        let (has_vid, has_pcp) = (vid_mask & VID_MAX != 0, pcp_mask != 0);
        if vid & vid_mask & present != 0 && all_or_none && (has_vid || has_pcp) {
            if has_vid {
                self.word(&format!("dl_vlan={}", vid & VID_MAX));
            }
            if has_pcp {
                self.word(&format!("dl_vlan_pcp={pcp}"));
            }
            return;
        }
        let (tci, mask) = (pcp << 13 | vid, pcp_mask << 13 | vid_mask);
        match mask {
            0 => {}
            0xffff => self.word(&format!("vlan_tci=0x{tci:04x}")),
            _ => self.word(&format!("vlan_tci=0x{tci:04x}/0x{mask:04x}")),
        }
    }

    fn network(&mut self, ethernet: Option<u16>, protocol: Option<u8>) {
        match ethernet {
            Some(eth_type::IPV6) => {
                self.fields(&[(Field::Ipv6Src, "ipv6_src"), (Field::Ipv6Dst, "ipv6_dst")]);
                self.flow_label();
                self.fields(&[(Field::Ipv6Exthdr, "ipv6_exthdr")]);
            }
            Some(eth_type::ARP | eth_type::RARP) => self.fields(&[
                (Field::ArpSpa, "arp_spa"),
                (Field::ArpTpa, "arp_tpa"),
                (Field::ArpOp, "arp_op"),
                (Field::ArpSha, "arp_sha"),
                (Field::ArpTha, "arp_tha"),
            ]),
            _ => self.fields(&[(Field::Ipv4Src, "nw_src"), (Field::Ipv4Dst, "nw_dst")]),
        }
        if let Some(protocol) = protocol {
            self.word(&format!("nw_proto={protocol}"));
        }
        let (dscp, dscp_mask) = self.read(Field::IpDscp);
        if dscp_mask != 0 {
            self.word(&format!("nw_tos={}", dscp << 2));
        }
        self.fields(&[
            (Field::IpEcn, "nw_ecn"),
            (Field::IpTtl, "nw_ttl"),
            (Field::MplsLabel, "mpls_label"),
            (Field::MplsTc, "mpls_tc"),
            (Field::MplsTtl, "mpls_ttl"),
            (Field::MplsBos, "mpls_bos"),
        ]);
        let (bits, mask) = self.read(Field::IpFrag);
        if let Some(keyword) = value::fragment_name(bits, mask) {
            self.word("nw_frag=");
            self.out.push_str(keyword);
        }
    }

    fn flow_label(&mut self) {
        let (label, mask) = self.read(Field::Ipv6Flabel);
        match mask {
            0 => {}
            _ if mask == Field::Ipv6Flabel.ones() => {
                self.word(&format!("ipv6_label=0x{label:05x}"));
            }
            _ => self.word(&format!("ipv6_label=0x{label:05x}/0x{mask:05x}")),
        }
    }

    fn transport(&mut self, ethernet: Option<u16>, protocol: Option<u8>) {
        match (ethernet, protocol) {
            (Some(eth_type::IPV4), Some(ip_proto::ICMP)) => self.fields(&[
                (Field::Icmpv4Type, "icmp_type"),
                (Field::Icmpv4Code, "icmp_code"),
            ]),
            (Some(eth_type::IPV6), Some(ip_proto::ICMPV6)) => self.fields(&[
                (Field::Icmpv6Type, "icmp_type"),
                (Field::Icmpv6Code, "icmp_code"),
                (Field::NdTarget, "nd_target"),
                (Field::NdSll, "nd_sll"),
                (Field::NdTll, "nd_tll"),
                (Field::NdReserved, "nd_reserved"),
                (Field::NdOptionsType, "nd_options_type"),
            ]),
            (Some(eth_type::IPV4 | eth_type::IPV6), Some(_)) => {
                self.fields(&[(Field::TcpSrc, "tp_src"), (Field::TcpDst, "tp_dst")]);
                self.fields(&[(Field::TcpFlags, "tcp_flags")]);
            }
            _ => {}
        }
    }
}

const REGISTERS: [Field; 16] = [
    Field::Reg0,
    Field::Reg1,
    Field::Reg2,
    Field::Reg3,
    Field::Reg4,
    Field::Reg5,
    Field::Reg6,
    Field::Reg7,
    Field::Reg8,
    Field::Reg9,
    Field::Reg10,
    Field::Reg11,
    Field::Reg12,
    Field::Reg13,
    Field::Reg14,
    Field::Reg15,
];
