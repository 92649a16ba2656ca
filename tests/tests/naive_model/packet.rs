//! A packet as a structure of headers, naively: fields are read and set by name, and its bytes are
//! always written anew with every checksum computed in full.

use flowtable::Field;

/// A frame, outermost header first.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    pub dst: u64,
    pub src: u64,
    /// TPID and tag.
    pub vlans: Vec<(u16, u16)>,
    pub mpls: Vec<Label>,
    pub network: Network,
}

/// An MPLS label stack entry without its bottom-of-stack bit, which its place tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    pub label: u32,
    pub class: u8,
    pub ttl: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Network {
    Arp {
        op: u16,
        sha: u64,
        spa: u32,
        tha: u64,
        tpa: u32,
    },
    Ipv4 {
        tos: u8,
        ttl: u8,
        src: u32,
        dst: u32,
        transport: Transport,
    },
    Ipv6 {
        tos: u8,
        label: u32,
        ttl: u8,
        src: u128,
        dst: u128,
        transport: Transport,
    },
    Unknown {
        eth_type: u16,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Transport {
    Tcp {
        src: u16,
        dst: u16,
    },
    /// A checksum of 0 is none, which stays none.
    Udp {
        src: u16,
        dst: u16,
        checksum: bool,
    },
    Icmp {
        kind: u8,
        code: u8,
    },
    Solicitation {
        target: u128,
        sll: u64,
    },
    Unknown,
}

pub const MPLS: u16 = 0x8847;
const VLANS_SEEN: usize = 2;
const PAYLOAD: &[u8] = b"an odd number of bytes.";

impl Packet {
    /// Whether there are more VLAN tags than a switch looks at; it then sees nothing behind them.
    pub fn is_hidden(&self) -> bool {
        self.vlans.len() > VLANS_SEEN
    }

    /// Ethernet type behind all VLAN tags.
    fn eth_type(&self) -> u16 {
        if self.mpls.is_empty() {
            self.inner_type()
        } else {
            MPLS
        }
    }

    /// Ethernet type of the network header.
    pub fn inner_type(&self) -> u16 {
        match self.network {
            Network::Arp { .. } => 0x0806,
            Network::Ipv4 { .. } => 0x0800,
            Network::Ipv6 { .. } => 0x86dd,
            Network::Unknown { eth_type } => eth_type,
        }
    }

    /// The transport header, if a rule sees it.
    fn transport(&mut self) -> Option<&mut Transport> {
        match &mut self.network {
            _ if !self.mpls.is_empty() => None,
            Network::Ipv4 { transport, .. } | Network::Ipv6 { transport, .. } => Some(transport),
            _ => None,
        }
    }

    /// Reads a field, and sets it if `new` is given; `None` if the packet has no such field.
    pub fn field(&mut self, field: Field, new: Option<u128>) -> Option<u128> {
        match field {
            Field::EthDst => Some(swap(&mut self.dst, new)),
            Field::EthSrc => Some(swap(&mut self.src, new)),
            Field::EthType if self.is_hidden() => Some(self.vlans[VLANS_SEEN].0.into()),
            Field::EthType => Some(self.eth_type().into()),
            Field::VlanVid | Field::VlanPcp => self.vlan_field(field, new),
            _ if self.is_hidden() => None,
            Field::MplsLabel | Field::MplsTc | Field::MplsBos => self.mpls_field(field, new),
            _ if !self.mpls.is_empty() => None,
            Field::TcpSrc | Field::TcpDst | Field::UdpSrc | Field::UdpDst => {
                self.transport_field(field, new)
            }
            Field::Icmpv4Type | Field::Icmpv4Code => self.icmp_field(field, new),
            Field::NdTarget | Field::NdSll => self.solicitation_field(field, new),
            _ => self.network_field(field, new),
        }
    }

    fn vlan_field(&mut self, field: Field, new: Option<u128>) -> Option<u128> {
        let Some((_, tci)) = self.vlans.first_mut() else {
            let absent = field == Field::VlanVid && new.is_none();
            return absent.then_some(0);
        };
        if field == Field::VlanVid {
            if let Some(value) = new {
                *tci = *tci & 0xf000 | value as u16 & 0x0fff;
            }
            return Some((*tci & 0x0fff | 0x1000).into());
        }
        if let Some(value) = new {
            *tci = *tci & 0x1fff | (value as u16) << 13;
        }
        Some((*tci >> 13).into())
    }

    fn mpls_field(&mut self, field: Field, new: Option<u128>) -> Option<u128> {
        let bottom = self.mpls.len() == 1;
        let top = self.mpls.first_mut()?;
        Some(match field {
            Field::MplsLabel => swap(&mut top.label, new),
            Field::MplsTc => swap(&mut top.class, new),
            _ => bottom.into(),
        })
    }

    fn transport_field(&mut self, field: Field, new: Option<u128>) -> Option<u128> {
        let tcp = matches!(field, Field::TcpSrc | Field::TcpDst);
        let source = matches!(field, Field::TcpSrc | Field::UdpSrc);
        let (src, dst) = match self.transport()? {
            Transport::Tcp { src, dst } if tcp => (src, dst),
            Transport::Udp { src, dst, .. } if !tcp => (src, dst),
            _ => return None,
        };
        Some(swap(if source { src } else { dst }, new))
    }

    fn icmp_field(&mut self, field: Field, new: Option<u128>) -> Option<u128> {
        if self.inner_type() != 0x0800 {
            return None;
        }
        let Transport::Icmp { kind, code } = self.transport()? else {
            return None;
        };
        Some(swap(
            if field == Field::Icmpv4Type {
                kind
            } else {
                code
            },
            new,
        ))
    }

    fn solicitation_field(&mut self, field: Field, new: Option<u128>) -> Option<u128> {
        let Transport::Solicitation { target, sll } = self.transport()? else {
            return None;
        };
        Some(if field == Field::NdTarget {
            swap(target, new)
        } else {
            swap(sll, new)
        })
    }

    fn network_field(&mut self, field: Field, new: Option<u128>) -> Option<u128> {
        let proto = self.protocol();
        match &mut self.network {
            Network::Arp {
                op,
                sha,
                spa,
                tha,
                tpa,
            } => match field {
                Field::ArpOp => Some(swap(op, new)),
                Field::ArpSha => Some(swap(sha, new)),
                Field::ArpSpa => Some(swap(spa, new)),
                Field::ArpTha => Some(swap(tha, new)),
                Field::ArpTpa => Some(swap(tpa, new)),
                _ => None,
            },
            Network::Ipv4 { tos, src, dst, .. } => match field {
                Field::Ipv4Src => Some(swap(src, new)),
                Field::Ipv4Dst => Some(swap(dst, new)),
                _ => ip_field(field, tos, proto, new),
            },
            Network::Ipv6 {
                tos,
                label,
                src,
                dst,
                ..
            } => match field {
                Field::Ipv6Src => Some(swap(src, new)),
                Field::Ipv6Dst => Some(swap(dst, new)),
                Field::Ipv6Flabel => Some(swap(label, new)),
                _ => ip_field(field, tos, proto, new),
            },
            Network::Unknown { .. } => None,
        }
    }

    /// Time to live of the network header, whether a rule sees it or not.
    pub fn network_ttl(&mut self) -> Option<&mut u8> {
        match &mut self.network {
            Network::Ipv4 { ttl, .. } | Network::Ipv6 { ttl, .. } => Some(ttl),
            _ => None,
        }
    }

    fn protocol(&self) -> u8 {
        let (six, transport) = match &self.network {
            Network::Ipv4 { transport, .. } => (false, transport),
            Network::Ipv6 { transport, .. } => (true, transport),
            _ => return 0,
        };
        match transport {
            Transport::Tcp { .. } => 6,
            Transport::Udp { .. } => 17,
            Transport::Icmp { .. } if !six => 1,
            Transport::Icmp { .. } | Transport::Solicitation { .. } => 58,
            Transport::Unknown => 200,
        }
    }

    /// The frame's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(&self.dst.to_be_bytes()[2..]);
        out.extend(&self.src.to_be_bytes()[2..]);
        for (tpid, tci) in &self.vlans {
            out.extend(tpid.to_be_bytes());
            out.extend(tci.to_be_bytes());
        }
        out.extend(self.eth_type().to_be_bytes());
        for (index, Label { label, class, ttl }) in self.mpls.iter().enumerate() {
            let bottom = u32::from(index + 1 == self.mpls.len());
            let entry = label << 12 | u32::from(*class) << 9 | bottom << 8 | u32::from(*ttl);
            out.extend(entry.to_be_bytes());
        }
        self.write_network(&mut out);
        out
    }

    fn write_network(&self, out: &mut Vec<u8>) {
        match &self.network {
            Network::Arp {
                op,
                sha,
                spa,
                tha,
                tpa,
            } => {
                out.extend([0, 1, 8, 0, 6, 4]);
                out.extend(op.to_be_bytes());
                out.extend(&sha.to_be_bytes()[2..]);
                out.extend(spa.to_be_bytes());
                out.extend(&tha.to_be_bytes()[2..]);
                out.extend(tpa.to_be_bytes());
            }
            Network::Ipv4 {
                tos,
                ttl,
                src,
                dst,
                transport,
            } => {
                let mut pseudo = src.to_be_bytes().to_vec();
                pseudo.extend(dst.to_be_bytes());
                let payload = write_transport(transport, &pseudo, self.protocol());
                let length = 20 + payload.len() as u16;
                let start = out.len();
                out.extend([0x45, *tos]);
                out.extend(length.to_be_bytes());
                out.extend([0x12, 0x34, 0x40, 0, *ttl, self.protocol(), 0, 0]);
                out.extend(pseudo);
                let sum = checksum(&[&out[start..]]);
                out[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
                out.extend(payload);
            }
            Network::Ipv6 {
                tos,
                label,
                ttl,
                src,
                dst,
                transport,
            } => {
                let mut pseudo = src.to_be_bytes().to_vec();
                pseudo.extend(dst.to_be_bytes());
                let payload = write_transport(transport, &pseudo, self.protocol());
                out.extend((6 << 28 | u32::from(*tos) << 20 | label).to_be_bytes());
                out.extend((payload.len() as u16).to_be_bytes());
                out.extend([self.protocol(), *ttl]);
                out.extend(pseudo);
                out.extend(payload);
            }
            Network::Unknown { .. } => out.extend(PAYLOAD),
        }
    }
}

fn ip_field(field: Field, tos: &mut u8, proto: u8, new: Option<u128>) -> Option<u128> {
    match field {
        Field::IpProto => Some(proto.into()),
        Field::IpDscp => {
            if let Some(value) = new {
                *tos = *tos & 3 | (value as u8) << 2;
            }
            Some((*tos >> 2).into())
        }
        Field::IpEcn => {
            if let Some(value) = new {
                *tos = *tos & 0xfc | value as u8;
            }
            Some((*tos & 3).into())
        }
        _ => None,
    }
}

/// Sets a number if a new one is given; what it then is.
fn swap<T: Copy + TryFrom<u128> + Into<u128>>(number: &mut T, new: Option<u128>) -> u128 {
    if let Some(value) = new.and_then(|value| T::try_from(value).ok()) {
        *number = value;
    }
    (*number).into()
}

fn write_transport(transport: &Transport, pseudo: &[u8], protocol: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let at = match transport {
        Transport::Tcp { src, dst } => {
            out.extend(src.to_be_bytes());
            out.extend(dst.to_be_bytes());
            out.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0]);
            16
        }
        Transport::Udp { src, dst, .. } => {
            out.extend(src.to_be_bytes());
            out.extend(dst.to_be_bytes());
            out.extend((8 + PAYLOAD.len() as u16).to_be_bytes());
            out.extend([0, 0]);
            6
        }
        Transport::Icmp { kind, code } => {
            out.extend([*kind, *code, 0, 0, 0, 1, 0, 2]);
            2
        }
        Transport::Solicitation { target, sll } => {
            out.extend([135, 0, 0, 0, 0, 0, 0, 0]);
            out.extend(target.to_be_bytes());
            out.extend([1, 1]);
            out.extend(&sll.to_be_bytes()[2..]);
            2
        }
        Transport::Unknown => return PAYLOAD.to_vec(),
    };
    if !matches!(transport, Transport::Solicitation { .. }) {
        out.extend(PAYLOAD);
    }
    let length = (out.len() as u32).to_be_bytes();
    let tail = [0, 0, 0, protocol];
    let sum = match transport {
        Transport::Udp {
            checksum: false, ..
        } => return out,
        _ if protocol == 1 => checksum(&[&out]),
        _ => checksum(&[pseudo, &length, &tail, &out]),
    };
    let sum = if protocol == 17 && sum == 0 {
        0xffff
    } else {
        sum
    };
    out[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    out
}

/// The Internet checksum (RFC 1071) over parts, each but the last of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let pairs = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u64 = pairs
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    !(0..3).fold(sum, |sum, _| (sum & 0xffff) + (sum >> 16)) as u16
}
