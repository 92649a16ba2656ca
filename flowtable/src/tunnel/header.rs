//! The block of headers that wraps a frame: made once, completed for each packet.

use std::net::IpAddr;

use super::{
    ETHERNET_LEN, GRE, GRE_CHECKSUM, GRE_KEY, IPV4, IPV6, Kind, TEB, UDP, UDP_LEN, VXLAN_VNI,
};

/// What a block of headers is to say.
#[derive(Clone, Debug)]
pub struct Template<'a> {
    /// The tunnel's protocol.
    pub kind: Kind,
    /// Ethernet destination, 48 bits: the next hop.
    pub eth_dst: u64,
    /// Ethernet source, 48 bits.
    pub eth_src: u64,
    /// Outer source address.
    pub source: IpAddr,
    /// Outer destination address, of the same family.
    pub destination: IpAddr,
    /// Outer type of service.
    pub tos: u8,
    /// Outer time to live.
    pub ttl: u8,
    /// It must not be fragmented; means nothing to IPv6.
    pub dont_fragment: bool,
    /// UDP destination port.
    pub port: u16,
    /// Tunnel key; none leaves GRE's out and is 0 elsewhere.
    pub key: Option<u64>,
    /// Whether UDP or GRE has a checksum.
    pub checksum: bool,
    /// A control packet (Geneve).
    pub is_control: bool,
    /// Geneve options, a multiple of 4 and at most 252 bytes.
    pub options: &'a [u8],
}

/// A block of outer headers, all but what depends on the packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    bytes: Box<[u8]>,
    /// Where UDP or GRE starts.
    carrier: u8,
    is_ipv4: bool,
    is_udp: bool,
    /// Sum over the IPv4 header as it is in `bytes`.
    sum: u32,
    checksum: bool,
    dont_fragment: bool,
}

/// What depends on the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// UDP source port.
    pub port: u16,
    /// IPv4 identification, for what may be fragmented.
    pub identification: u16,
    /// Type of service.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
}

impl Header {
    /// Makes the block.
    pub fn new(template: &Template<'_>) -> Header {
        let mut bytes = Vec::with_capacity(80);
        let mac = |mac: u64| mac.to_be_bytes().into_iter().skip(2);
        bytes.extend(mac(template.eth_dst));
        bytes.extend(mac(template.eth_src));
        let is_udp = template.kind != Kind::Gre;
        let protocol = if is_udp { UDP } else { GRE };
        let is_ipv4 = match (template.source, template.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                bytes.extend(IPV4.to_be_bytes());
                let fragment = if template.dont_fragment { 0x40 } else { 0 };
                bytes.extend([0x45, template.tos, 0, 0, 0, 0, fragment, 0]);
                bytes.extend([template.ttl, protocol, 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                true
            }
            (source, destination) => {
                let octets = |address| match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                bytes.extend(IPV6.to_be_bytes());
                bytes.extend([0x60 | template.tos >> 4, template.tos << 4, 0, 0, 0, 0]);
                bytes.extend([protocol, template.ttl]);
                bytes.extend(octets(source));
                bytes.extend(octets(destination));
                false
            }
        };
        let carrier = bytes.len() as u8;
        let words = bytes[ETHERNET_LEN..].as_chunks::<2>().0.iter();
        let sum = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        put_carrier(template, &mut bytes);
        Header {
            bytes: bytes.into(),
            carrier,
            is_ipv4,
            is_udp,
            sum: if is_ipv4 { sum } else { 0 },
            checksum: template.checksum,
            dont_fragment: template.dont_fragment,
        }
    }

    /// How many bytes it is.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The block without what depends on packets.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where UDP or GRE starts.
    #[inline]
    pub fn carrier(&self) -> usize {
        self.carrier.into()
    }

    /// Where the checksum over UDP or GRE and all that follows is to be written, and what is to be
    /// added to the sum: that of UDP's pseudo header. None if it has no checksum.
    pub fn checksum(&self, length: usize) -> Option<(usize, u32)> {
        if !self.checksum {
            return None;
        }
        let at = self.carrier();
        if !self.is_udp {
            return Some((at + 4, 0));
        }
        let addresses = if self.is_ipv4 { 12..20 } else { 8..40 };
        let addresses = &self.bytes[ETHERNET_LEN..][addresses];
        let words = addresses.as_chunks::<2>().0.iter();
        let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        Some((at + 6, sum + u32::from(UDP) + (length - at) as u32))
    }

    /// Whether it is given an identification of its own: what may be fragmented on its way
    /// (RFC 6864 §4).
    pub fn is_identified(&self) -> bool {
        self.is_ipv4 && !self.dont_fragment
    }

    /// Writes the block to the first bytes of a frame, for which room was made there. Nothing
    /// happens to one that is shorter than the block, or too long for an IP packet.
    #[inline]
    pub fn write(&self, frame: &mut [u8], completion: Completion) {
        let length = frame.len();
        let Some(block) = frame.get_mut(..self.bytes.len()) else {
            return;
        };
        block.copy_from_slice(&self.bytes);
        let at = self.carrier();
        let Completion { tos, ttl, .. } = completion;
        if self.is_ipv4 {
            let total = (length - ETHERNET_LEN) as u16;
            let ip = &mut block[ETHERNET_LEN..at];
            (ip[1], ip[8]) = (tos, ttl);
            ip[2..4].copy_from_slice(&total.to_be_bytes());
            ip[4..6].copy_from_slice(&completion.identification.to_be_bytes());
            let sum = self.ipv4_sum(total, completion);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            let ip = &mut block[ETHERNET_LEN..at];
            (ip[0], ip[1], ip[7]) = (0x60 | tos >> 4, tos << 4, ttl);
            ip[4..6].copy_from_slice(&((length - at) as u16).to_be_bytes());
        }
        if self.is_udp {
            let udp = &mut block[at..];
            udp[..2].copy_from_slice(&completion.port.to_be_bytes());
            udp[4..6].copy_from_slice(&((length - at) as u16).to_be_bytes());
        }
    }

    /// The header's checksum: what was summed with 0 for what depends on the packet, and that.
    fn ipv4_sum(&self, total: u16, completion: Completion) -> u16 {
        let (tos, ttl) = (u32::from(completion.tos), u32::from(completion.ttl));
        let (old_tos, old_ttl) = self.tos_and_ttl();
        let sum = self.sum + u32::from(total) + u32::from(completion.identification);
        let sum = sum + tos + (ttl << 8) - u32::from(old_tos) - (u32::from(old_ttl) << 8);
        let sum = (sum & 0xffff) + (sum >> 16);
        !((sum & 0xffff) + (sum >> 16)) as u16
    }

    /// Type of service and time to live as the block has them.
    #[inline]
    pub fn tos_and_ttl(&self) -> (u8, u8) {
        let ip = &self.bytes[ETHERNET_LEN..];
        match self.is_ipv4 {
            true => (ip[1], ip[8]),
            false => (ip[0] << 4 | ip[1] >> 4, ip[7]),
        }
    }
}

fn put_carrier(template: &Template<'_>, bytes: &mut Vec<u8>) {
    if template.kind != Kind::Gre {
        bytes.extend([0; 2]);
        bytes.extend(template.port.to_be_bytes());
        bytes.extend([0; UDP_LEN - 4]);
    }
    let vni = ((template.key.unwrap_or(0) as u32) << 8).to_be_bytes();
    match template.kind {
        Kind::Vxlan => {
            bytes.extend(VXLAN_VNI.to_be_bytes());
            bytes.extend(vni);
        }
        Kind::Geneve => {
            let words = (template.options.len() / 4).min(0x3f);
            let options = &template.options[..words * 4];
            let has_critical = super::Options(options)
                .flatten()
                .any(|(_, kind, _)| kind & super::Options::CRITICAL != 0);
            let flags = u8::from(template.is_control) << 7 | u8::from(has_critical) << 6;
            bytes.extend([words as u8, flags]);
            bytes.extend(TEB.to_be_bytes());
            bytes.extend(vni);
            bytes.extend(options);
        }
        Kind::Gre => {
            let flag = |bit, is_set| if is_set { bit } else { 0 };
            let flags =
                flag(GRE_CHECKSUM, template.checksum) | flag(GRE_KEY, template.key.is_some());
            bytes.extend(flags.to_be_bytes());
            bytes.extend(TEB.to_be_bytes());
            if template.checksum {
                bytes.extend([0; 4]);
            }
            if let Some(key) = template.key {
                bytes.extend((key as u32).to_be_bytes());
            }
        }
    }
}
