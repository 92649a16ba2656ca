//! The match of a flow: reads `tcp,in_port=1,nw_dst=10.0.0.0/8`; `writer` is the other direction.
//! Called for flows, dump filters and traced packets.

use flowtable::{
    Field, FlowKey, FlowMask, Match, Prerequisite, TlvMapping, VLAN_PRESENT, eth_type, ip_proto,
};

use super::name::{self, Name};
use super::token::Token;
use super::{Ports, SyntaxError, option, value};

mod writer;

pub(super) use writer::write;

/// Collects the pieces of a match; their order does not matter.
pub(super) struct Reader<'a> {
    ports: &'a Ports,
    pieces: Vec<(Token<'a>, Name)>,
    key: FlowKey,
    mask: FlowMask,
    /// What was required, for the check of prerequisites at the end.
    required: Vec<(Field, &'a str)>,
}

impl<'a> Reader<'a> {
    /// An empty match.
    pub fn new(ports: &'a Ports) -> Reader<'a> {
        Reader {
            ports,
            pieces: Vec::new(),
            key: FlowKey::default(),
            mask: FlowMask::default(),
            required: Vec::new(),
        }
    }

    /// Takes `token` if it belongs to a match.
    pub fn take(&mut self, token: Token<'a>) -> Result<bool, SyntaxError> {
        if token.value.is_none()
            && let Some((eth_type, ip_proto)) = name::protocol(token.key)
        {
            if let Some(eth_type) = eth_type {
                self.require(token.text, Field::EthType, eth_type.into())?;
            }
            if let Some(ip_proto) = ip_proto {
                self.require(token.text, Field::IpProto, ip_proto.into())?;
            }
            return Ok(true);
        }
        if let Some(mapping) = option::named(token.key, self.ports)? {
            return self.option(&token, mapping).map(|()| true);
        }
        let Some(name) = Name::find(token.key) else {
            return Ok(false);
        };
        if token.argument().is_empty() {
            return Err(SyntaxError::new(token.text, "needs a value", ""));
        }
        self.pieces.push((token, name));
        Ok(true)
    }

    /// The match, if its pieces fit together.
    pub fn finish(mut self) -> Result<Match, SyntaxError> {
        let pieces = std::mem::take(&mut self.pieces);
        // What a generic name means depends on the protocol, so that has to be settled first.
        for stage in [Stage::Plain, Stage::Network, Stage::Transport] {
            for (token, name) in pieces.iter().filter(|(_, name)| Stage::of(*name) == stage) {
                self.piece(token, *name)?;
            }
        }
        let matching = Match::new(&self.key, &self.mask);
        for (field, text) in &self.required {
            if matching.missing_prerequisite(*field) {
                let problem = format!("the match needs {}", needs(field.prerequisite()));
                return Err(SyntaxError::new(text, problem, ""));
            }
        }
        Ok(matching)
    }

    fn piece(&mut self, token: &Token<'a>, name: Name) -> Result<(), SyntaxError> {
        match name {
            Name::DlVlan => self.dl_vlan(token),
            Name::VlanTci => self.vlan_tci(token),
            Name::NwTos => self.nw_tos(token),
            _ => {
                let field = self.resolve(token, name)?;
                self.field(token, field)
            }
        }
    }

    /// An option, which is to be there: with a value or with any.
    fn option(&mut self, token: &Token<'a>, mapping: &TlvMapping) -> Result<(), SyntaxError> {
        let parts = match token.value {
            Some(text) => option::parse(mapping, text).map_err(|e| e.within(token.text))?,
            None => Vec::new(),
        };
        let units = mapping.units();
        self.key.tunnel_option_units |= units;
        self.mask.0.tunnel_option_units |= units;
        let mut parts = parts.into_iter();
        parts.try_for_each(|(field, value, mask)| self.set(token.text, field, value, mask))
    }

    fn field(&mut self, token: &Token<'a>, field: Field) -> Result<(), SyntaxError> {
        let (value, mask) =
            value::parse(field, token.argument(), self.ports).map_err(|e| e.within(token.text))?;
        self.set(token.text, field, value, mask)?;
        if field == Field::VlanPcp && mask != 0 {
            let present = VLAN_PRESENT.into();
            return self.set(token.text, Field::VlanVid, present, present);
        }
        Ok(())
    }

    fn dl_vlan(&mut self, token: &Token<'a>) -> Result<(), SyntaxError> {
        let ones = Field::VlanVid.ones();
        let vid = match value::integer(token.argument()) {
            Some(0xffff) => return self.set(token.text, Field::VlanVid, 0, ones),
            Some(vid) if vid <= VID_MAX => vid,
            _ => {
                let allowed = "0 to 4095, or 0xffff for untagged";
                return Err(SyntaxError::new(token.text, "not a VLAN id", allowed));
            }
        };
        let present = u128::from(VLAN_PRESENT);
        self.set(token.text, Field::VlanVid, vid | present, ones)
    }

    fn vlan_tci(&mut self, token: &Token<'a>) -> Result<(), SyntaxError> {
        let within = |e: SyntaxError| e.within(token.text);
        let (tci, mask) = token
            .argument()
            .split_once('/')
            .unwrap_or((token.argument(), ""));
        let tci = value::number(tci, 0xffff).map_err(within)?;
        let mask = match mask {
            // Without a tag there is no priority to compare.
            "" if tci == 0 => 0x1fff,
            "" => 0xffff,
            mask => value::number(mask, 0xffff).map_err(within)?,
        };
        let (pcp, pcp_mask) = (tci >> 13, mask >> 13);
        self.set(token.text, Field::VlanVid, tci & 0x1fff, mask & 0x1fff)?;
        match pcp_mask {
            0 => Ok(()),
            7 => self.set(token.text, Field::VlanPcp, pcp, pcp_mask),
            _ => Err(SyntaxError::new(
                token.text,
                "the priority takes no mask",
                "all of the mask's upper three bits or none",
            )),
        }
    }

    fn nw_tos(&mut self, token: &Token<'a>) -> Result<(), SyntaxError> {
        let tos = value::number(token.argument(), 255).map_err(|e| e.within(token.text))?;
        // The lower two bits are not DSCP; they are let pass as they always were.
        self.set(token.text, Field::IpDscp, tos >> 2, Field::IpDscp.ones())
    }

    fn resolve(&self, token: &Token<'a>, name: Name) -> Result<Field, SyntaxError> {
        let ethernet = (self.mask.0.eth_type == u16::MAX).then_some(self.key.eth_type);
        let protocol = (self.mask.0.ip_proto == u8::MAX).then_some(self.key.ip_proto);
        let arp = matches!(ethernet, Some(eth_type::ARP | eth_type::RARP));
        let version6 = ethernet == Some(eth_type::IPV6);
        let pick = |is_other, field, other| Ok(if is_other { other } else { field });
        match name {
            Name::Field(field) => Ok(field),
            Name::NwProto => pick(arp, Field::IpProto, Field::ArpOp),
            Name::NwSrc => pick(arp, Field::Ipv4Src, Field::ArpSpa),
            Name::NwDst => pick(arp, Field::Ipv4Dst, Field::ArpTpa),
            Name::IcmpType => pick(version6, Field::Icmpv4Type, Field::Icmpv6Type),
            Name::IcmpCode => pick(version6, Field::Icmpv4Code, Field::Icmpv6Code),
            Name::TpSrc | Name::TpDst => {
                let source = name == Name::TpSrc;
                port_field(protocol, source).ok_or_else(|| {
                    let problem = "the match needs tcp, udp, sctp, tcp6, udp6 or sctp6";
                    SyntaxError::new(token.text, problem, "")
                })
            }
            Name::DlVlan | Name::VlanTci => Ok(Field::VlanVid),
            Name::NwTos => Ok(Field::IpDscp),
        }
    }

    fn require(&mut self, text: &'a str, field: Field, value: u128) -> Result<(), SyntaxError> {
        self.set(text, field, value, field.ones())
    }

    fn set(
        &mut self,
        text: &'a str,
        field: Field,
        value: u128,
        mask: u128,
    ) -> Result<(), SyntaxError> {
        let conflict = field.read(&self.key) ^ value;
        if conflict & field.read(&self.mask.0) & mask != 0 {
            return Err(SyntaxError::new(
                text,
                "contradicts the rest of the match",
                "",
            ));
        }
        if mask != 0 {
            field.write(&mut self.key, value, mask);
            field.write(&mut self.mask.0, u128::MAX, mask);
            self.required.push((field, text));
        }
        Ok(())
    }
}

/// The field of a TCP, UDP or SCTP port.
pub(super) fn port_field(protocol: Option<u8>, source: bool) -> Option<Field> {
    Some(match (protocol?, source) {
        (ip_proto::TCP, true) => Field::TcpSrc,
        (ip_proto::TCP, false) => Field::TcpDst,
        (ip_proto::UDP, true) => Field::UdpSrc,
        (ip_proto::UDP, false) => Field::UdpDst,
        (ip_proto::SCTP, true) => Field::SctpSrc,
        (ip_proto::SCTP, false) => Field::SctpDst,
        _ => return None,
    })
}

/// What would fulfil a prerequisite.
fn needs(prerequisite: Prerequisite) -> &'static str {
    match prerequisite {
        Prerequisite::None => "",
        Prerequisite::Vlan => "a VLAN, such as dl_vlan=5",
        Prerequisite::Arp => "arp or rarp",
        Prerequisite::Ip => "ip, ipv6, or a shorthand such as tcp",
        Prerequisite::Ipv4 => "ip, or a shorthand such as tcp",
        Prerequisite::Ipv6 => "ipv6, or a shorthand such as tcp6",
        Prerequisite::Mpls => "mpls or mplsm",
        Prerequisite::Pbb => "dl_type=0x88e7",
        Prerequisite::Tcp => "tcp or tcp6",
        Prerequisite::Udp => "udp or udp6",
        Prerequisite::Sctp => "sctp or sctp6",
        Prerequisite::Icmpv4 => "icmp",
        Prerequisite::Icmpv6 => "icmp6",
        Prerequisite::Nd => "icmp6,icmpv6_type=135 or icmp6,icmpv6_type=136",
        Prerequisite::NdSolicit => "icmp6,icmpv6_type=135",
        Prerequisite::NdAdvert => "icmp6,icmpv6_type=136",
        Prerequisite::Connection => "a state of valid connections, such as ct_state=+trk+est",
    }
}

/// When a piece is read: generic names wait for the protocol they depend on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Plain,
    Network,
    Transport,
}

impl Stage {
    fn of(name: Name) -> Stage {
        match name {
            Name::NwProto | Name::NwSrc | Name::NwDst => Stage::Network,
            Name::TpSrc | Name::TpDst | Name::IcmpType | Name::IcmpCode => Stage::Transport,
            _ => Stage::Plain,
        }
    }
}

const VID_MAX: u128 = 0xfff;
