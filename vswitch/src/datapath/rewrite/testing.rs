//! Frames for tests, their checksums computed in full (RFC 1071, RFC 8200 §8.1, RFC 9260 §6.8).

use flowtable::{FlowKey, eth_type, ip_proto, parse};
use proptest::prelude::*;

/// What a frame is to be.
#[derive(Clone, Debug)]
pub struct Spec {
    /// IPv4 or IPv6.
    pub eth_type: u16,
    /// Transport protocol.
    pub proto: u8,
    /// Control information of VLAN tags, outer first.
    pub tags: Vec<u16>,
    /// IPv4 options, or an IPv6 header of destination options.
    pub options: bool,
    /// An IPv6 routing header with segments left.
    pub routed: bool,
    /// Fragment offset in units of 8 bytes, and whether more follow.
    pub fragment: Option<(u16, bool)>,
    /// Payload after the transport header.
    pub payload: Vec<u8>,
    /// Bytes after the IP packet.
    pub padding: usize,
    /// Addresses, ports, type of service and the like come from this.
    pub seed: u64,
    /// The transport checksum is still to be completed.
    pub partial: bool,
}

/// A frame and where its headers lie.
#[derive(Clone, Debug)]
pub struct Built {
    /// What was asked for.
    pub spec: Spec,
    /// The frame.
    pub bytes: Vec<u8>,
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of the transport header.
    pub l4: usize,
    /// Destination in the pseudo header if it is not that of the IP header.
    pub last_segment: Option<[u8; 16]>,
}

/// Any frame that carries IP.
pub fn spec() -> impl Strategy<Value = Spec> {
    let protos = vec![
        (eth_type::IPV4, ip_proto::TCP),
        (eth_type::IPV4, ip_proto::UDP),
        (eth_type::IPV4, ip_proto::SCTP),
        (eth_type::IPV4, ip_proto::ICMP),
        (eth_type::IPV6, ip_proto::TCP),
        (eth_type::IPV6, ip_proto::UDP),
        (eth_type::IPV6, ip_proto::SCTP),
        (eth_type::IPV6, ip_proto::ICMPV6),
    ];
    let fragment = prop_oneof![
        3 => Just(None),
        1 => Just(Some((0, true))),
        1 => (1u16..100, any::<bool>()).prop_map(Some),
    ];
    let shape = (
        prop::sample::select(protos),
        prop::collection::vec(any::<u16>(), 0..3),
        any::<bool>(),
        fragment,
        prop::collection::vec(any::<u8>(), 0..80),
        0usize..8,
        any::<u64>(),
        any::<bool>(),
    );
    shape.prop_map(
        |((eth_type, proto), tags, options, fragment, payload, padding, seed, partial)| Spec {
            eth_type,
            proto,
            tags,
            options,
            routed: false,
            fragment,
            payload,
            padding,
            seed,
            partial: partial
                && fragment.is_none()
                && matches!(proto, ip_proto::TCP | ip_proto::UDP),
        },
    )
}

impl Spec {
    /// Where the payload starts in the transport protocol.
    pub fn payload_at(&self) -> usize {
        match self.proto {
            ip_proto::TCP => 20,
            ip_proto::SCTP => 12,
            ip_proto::ICMPV6 => 32,
            _ => 8,
        }
    }

    /// A plain frame with a payload of 20 bytes.
    pub fn new(eth_type: u16, proto: u8) -> Spec {
        Spec {
            eth_type,
            proto,
            tags: Vec::new(),
            options: false,
            routed: false,
            fragment: None,
            payload: (0..20).collect(),
            padding: 0,
            seed: 0x0123_4567_89ab_cdef,
            partial: false,
        }
    }

    /// Whether it is a fragment.
    pub fn fragment(&self) -> bool {
        self.fragment.is_some()
    }

    /// Whether it is a fragment other than the first.
    pub fn later_fragment(&self) -> bool {
        self.fragment.is_some_and(|(offset, _)| offset > 0)
    }

    /// Builds the frame.
    pub fn build(&self) -> Built {
        let mut random = self.seed | 1;
        let mut byte = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 56) as u8
        };
        let mut bytes: Vec<u8> = (0..12).map(|_| byte()).collect();
        for tag in &self.tags {
            bytes.extend([0x81, 0]);
            bytes.extend(tag.to_be_bytes());
        }
        bytes.extend(self.eth_type.to_be_bytes());
        let l3 = bytes.len();
        let transport = self.transport(&mut byte);
        match self.eth_type {
            eth_type::IPV4 => self.ipv4(&mut bytes, transport.len(), &mut byte),
            _ => self.ipv6(&mut bytes, transport.len(), &mut byte),
        }
        let l4 = bytes.len();
        bytes.extend(transport);
        let mut built = Built {
            spec: self.clone(),
            last_segment: self.routed.then_some([0x20; 16]),
            bytes,
            l3,
            l4,
        };
        built.set_checksums();
        built.bytes.extend((0..self.padding).map(|_| byte()));
        built
    }

    fn transport(&self, byte: &mut impl FnMut() -> u8) -> Vec<u8> {
        if self.later_fragment() {
            return self.payload.clone();
        }
        let mut header: Vec<u8> = (0..self.payload_at()).map(|_| byte()).collect();
        match self.proto {
            ip_proto::TCP => header[12] = 0x50 | header[12] & 0x0f,
            ip_proto::UDP => {
                let length = 8 + self.payload.len() as u16;
                header[4..6].copy_from_slice(&length.to_be_bytes());
            }
            ip_proto::ICMP => header[0] = 8,
            ip_proto::ICMPV6 => {
                header[..2].copy_from_slice(&[135, 0]);
                header[24..26].copy_from_slice(&[1, 1]);
            }
            _ => {}
        }
        // A neighbour solicitation is options to its end.
        if self.proto != ip_proto::ICMPV6 {
            header.extend(&self.payload);
        }
        header
    }

    fn ipv4(&self, bytes: &mut Vec<u8>, payload_len: usize, byte: &mut impl FnMut() -> u8) {
        let options = if self.options { 8 } else { 0 };
        let (offset, more) = self.fragment.unwrap_or((0, false));
        let fragment = offset | u16::from(more) << 13;
        bytes.extend([0x45 + options as u8 / 4, byte()]);
        bytes.extend(((20 + options + payload_len) as u16).to_be_bytes());
        bytes.extend([byte(), byte()]);
        bytes.extend(fragment.to_be_bytes());
        bytes.extend([byte(), self.proto, 0, 0]);
        bytes.extend((0..8).map(|_| byte()));
        bytes.extend((0..options).map(|_| 1));
    }

    fn ipv6(&self, bytes: &mut Vec<u8>, payload_len: usize, byte: &mut impl FnMut() -> u8) {
        let mut chain: Vec<(u8, Vec<u8>)> = Vec::new();
        if self.options {
            chain.push((60, vec![0, 0, 1, 4, 0, 0, 0, 0]));
        }
        if self.routed {
            let segment = [0x20; 16];
            chain.push((43, [&[0, 2, 2, 1, 0, 0, 0, 0][..], &segment].concat()));
        }
        if let Some((offset, more)) = self.fragment {
            let field = offset << 3 | u16::from(more);
            let [high, low] = field.to_be_bytes();
            chain.push((44, vec![0, 0, high, low, byte(), byte(), byte(), byte()]));
        }
        let extension_len: usize = chain.iter().map(|(_, header)| header.len()).sum();
        let first = chain.first().map_or(self.proto, |(kind, _)| *kind);
        bytes.extend([0x60 | byte() & 0x0f, byte(), byte(), byte()]);
        bytes.extend(((extension_len + payload_len) as u16).to_be_bytes());
        bytes.extend([first, byte()]);
        bytes.extend((0..32).map(|_| byte()));
        for index in 0..chain.len() {
            let next = chain.get(index + 1).map_or(self.proto, |(kind, _)| *kind);
            let mut header = chain[index].1.clone();
            header[0] = next;
            bytes.extend(header);
        }
    }

    /// Where the partial checksum starts from.
    pub fn partial_at(&self) -> Option<u16> {
        self.partial.then(|| self.build().l4 as u16)
    }
}

impl Built {
    /// Whether there is a VLAN tag.
    pub fn tagged(&self) -> bool {
        !self.spec.tags.is_empty()
    }

    /// Where the partial checksum starts from.
    pub fn partial(&self) -> Option<u16> {
        self.spec.partial.then_some(self.l4 as u16)
    }

    /// Sets the code point of an IPv4 packet.
    pub fn set_dscp(&mut self, dscp: u8) {
        self.bytes[self.l3 + 1] = dscp << 2;
        self.set_checksums();
    }

    /// Checks that the checksums are what full computation gives.
    pub fn assert_checksums(&self) {
        let mut again = self.clone();
        again.set_checksums();
        assert_eq!(again.bytes, self.bytes);
    }

    /// Computes the checksums in full.
    pub fn set_checksums(&mut self) {
        if self.spec.eth_type == eth_type::IPV4 {
            let (l3, l4) = (self.l3, self.l4);
            self.put_sum(l3 + 10, |bytes| !sum(&bytes[l3..l4]));
        }
        // In a first fragment the checksum is one over bytes that are not there: what counts is
        // that it changes by as much as the bytes do, which is checked as if there were no others.
        if self.spec.later_fragment() {
            return;
        }
        let pseudo = self.pseudo_header();
        let (l4, end) = (self.l4, self.end());
        let full = |bytes: &[u8]| !sum(&[&pseudo, &bytes[l4..end]].concat());
        match self.spec.proto {
            ip_proto::TCP if self.spec.partial => self.put_sum(l4 + 16, |_| sum(&pseudo)),
            ip_proto::UDP if self.spec.partial => self.put_sum(l4 + 6, |_| sum(&pseudo)),
            ip_proto::TCP => self.put_sum(l4 + 16, full),
            ip_proto::ICMPV6 => self.put_sum(l4 + 2, full),
            ip_proto::UDP => self.put_sum(l4 + 6, |bytes| match full(bytes) {
                0 => 0xffff,
                sum => sum,
            }),
            ip_proto::ICMP => self.put_sum(l4 + 2, |bytes| !sum(&bytes[l4..end])),
            _ => {
                self.bytes[l4 + 8..l4 + 12].fill(0);
                let crc = crc32c(&self.bytes[l4..end]);
                self.bytes[l4 + 8..l4 + 12].copy_from_slice(&crc.to_le_bytes());
            }
        }
    }

    fn put_sum(&mut self, at: usize, sum: impl FnOnce(&[u8]) -> u16) {
        self.bytes[at..at + 2].fill(0);
        let sum = sum(&self.bytes);
        self.bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }

    fn end(&self) -> usize {
        let u16_at =
            |at: usize| usize::from(u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]));
        match self.spec.eth_type {
            eth_type::IPV4 => self.l3 + u16_at(self.l3 + 2),
            _ => self.l3 + 40 + u16_at(self.l3 + 4),
        }
    }

    fn pseudo_header(&self) -> Vec<u8> {
        let length = (self.end() - self.l4) as u32;
        let mut pseudo = match self.spec.eth_type {
            eth_type::IPV4 => self.bytes[self.l3 + 12..self.l3 + 20].to_vec(),
            _ => self.bytes[self.l3 + 8..self.l3 + 40].to_vec(),
        };
        if let Some(segment) = self.last_segment {
            pseudo[16..].copy_from_slice(&segment);
        }
        pseudo.extend(length.to_be_bytes());
        let mut key = FlowKey::default();
        parse(&self.bytes, &mut key);
        pseudo.extend([0, 0, 0, key.ip_proto]);
        pseudo
    }
}

fn sum(bytes: &[u8]) -> u16 {
    let mut total: u64 = 0;
    for (index, byte) in bytes.iter().enumerate() {
        total += u64::from(*byte) << if index % 2 == 0 { 8 } else { 0 };
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}
