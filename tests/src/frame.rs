//! Frames built layer by layer from the inside out, and capture files of them.
//!
//! `tcp(80, 8080, b"GET").ipv4(6, [10, 0, 0, 1], [10, 0, 0, 2]).ethernet(0x0800)`: each step puts
//! its header before what there is. Transport checksums are left 0.

/// Bytes of a packet from some layer on.
#[derive(Clone, Debug, Default)]
pub struct Frame(pub Vec<u8>);

/// Bytes without a header.
pub fn raw(bytes: &[u8]) -> Frame {
    Frame(bytes.to_vec())
}

/// A TCP segment with flags (12 bits) and as many bytes of options as 32-bit words hold.
pub fn tcp(src: u16, dst: u16, flags: u16, options: &[u8], payload: &[u8]) -> Frame {
    let offset = (5 + options.len() / 4) as u16;
    let mut header = [[src, dst].map(u16::to_be_bytes).concat(), vec![0; 8]].concat();
    header.extend(((offset << 12) | flags).to_be_bytes());
    header.extend([0xff, 0xff, 0, 0, 0, 0]);
    Frame([&header, options, payload].concat())
}

/// A UDP datagram.
pub fn udp(src: u16, dst: u16, payload: &[u8]) -> Frame {
    let len = 8 + payload.len() as u16;
    let header = [src, dst, len, 0].map(u16::to_be_bytes).concat();
    Frame([&header, payload].concat())
}

/// An SCTP packet with one INIT chunk.
pub fn sctp(src: u16, dst: u16) -> Frame {
    let header = [src, dst, 0, 7, 0, 0].map(u16::to_be_bytes).concat();
    let chunk = [1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 1];
    Frame([&header[..], &chunk].concat())
}

/// An ICMP or ICMPv6 message; `rest` is what follows the checksum.
pub fn icmp(kind: u8, code: u8, rest: &[u8]) -> Frame {
    Frame([&[kind, code, 0, 0], rest].concat())
}

/// A neighbour solicitation (135), or advertisement that is solicited and overrides (136), with
/// options.
pub fn neighbour(kind: u8, target: [u8; 16], options: &[u8]) -> Frame {
    let flags = if kind == 136 { 0x60 } else { 0 };
    icmp(kind, 0, &[&[flags, 0, 0, 0], &target[..], options].concat())
}

/// An ARP or RARP packet for IPv4 over Ethernet.
pub fn arp(op: u16, sender: ([u8; 6], [u8; 4]), target: ([u8; 6], [u8; 4])) -> Frame {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(op.to_be_bytes());
    for (hardware, protocol) in [sender, target] {
        packet.extend(hardware);
        packet.extend(protocol);
    }
    Frame(packet)
}

/// What an IPv4 header has besides protocol and addresses.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a> {
    /// Type of service.
    pub tos: u8,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Options, a multiple of four bytes.
    pub options: &'a [u8],
}

impl Default for Ipv4<'_> {
    fn default() -> Self {
        Ipv4 {
            tos: 0,
            fragment: 0,
            ttl: 64,
            options: &[],
        }
    }
}

impl Frame {
    /// Puts an IPv4 header before it.
    pub fn ipv4(self, proto: u8, src: [u8; 4], dst: [u8; 4]) -> Frame {
        self.ipv4_with(Ipv4::default(), proto, src, dst)
    }

    /// Puts an IPv4 header with options, fragment and so on before it, its checksum right.
    pub fn ipv4_with(self, with: Ipv4, proto: u8, src: [u8; 4], dst: [u8; 4]) -> Frame {
        let header_len = 20 + with.options.len();
        let mut header = vec![0x40 | (header_len / 4) as u8, with.tos];
        header.extend(((header_len + self.0.len()) as u16).to_be_bytes());
        header.extend([0x12, 0x34]);
        header.extend(with.fragment.to_be_bytes());
        header.extend([with.ttl, proto, 0, 0]);
        header.extend(src);
        header.extend(dst);
        header.extend(with.options);
        let checksum = internet_checksum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        self.behind(&header)
    }

    /// Puts an IPv6 header before it.
    pub fn ipv6(self, next: u8, src: [u8; 16], dst: [u8; 16]) -> Frame {
        self.ipv6_with(0x6000_0000, 64, next, src, dst)
    }

    /// Puts an IPv6 header before it, whose first word (version, traffic class, flow label) and
    /// hop limit are given.
    pub fn ipv6_with(self, first: u32, hops: u8, next: u8, src: [u8; 16], dst: [u8; 16]) -> Frame {
        let mut header = first.to_be_bytes().to_vec();
        header.extend((self.0.len() as u16).to_be_bytes());
        header.extend([next, hops]);
        header.extend(src);
        header.extend(dst);
        self.behind(&header)
    }

    /// Puts an IPv6 options header before it (hop-by-hop or destination), filled with padding.
    pub fn options(self, next: u8, units: u8) -> Frame {
        let padding = 4 + 8 * units;
        let header = [&[next, units, 1, padding], &vec![0; padding.into()][..]].concat();
        self.behind(&header)
    }

    /// Puts an IPv6 routing header of type 2 before it (one address, none left).
    pub fn routing(self, next: u8) -> Frame {
        self.behind(&[&[next, 2, 2, 0, 0, 0, 0, 0], &[1; 16][..]].concat())
    }

    /// Puts an IPv6 fragment header before it; `offset` in units of eight bytes.
    pub fn fragment(self, next: u8, offset: u16, more: bool) -> Frame {
        let [a, b] = (offset << 3 | u16::from(more)).to_be_bytes();
        self.behind(&[next, 0, a, b, 0, 0, 0, 9])
    }

    /// Puts an authentication header with an integrity value of 12 bytes before it.
    pub fn authentication(self, next: u8) -> Frame {
        self.behind(&[&[next, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], &[7; 12][..]].concat())
    }

    /// Puts an MPLS label stack entry before it.
    pub fn mpls(self, label: u32, class: u32, bottom: bool, ttl: u32) -> Frame {
        let entry = label << 12 | class << 9 | u32::from(bottom) << 8 | ttl;
        self.behind(&entry.to_be_bytes())
    }

    /// Puts the Ethernet type of what there is before it.
    pub fn typed(self, kind: u16) -> Frame {
        self.behind(&kind.to_be_bytes())
    }

    /// Puts a VLAN tag before the Ethernet type.
    pub fn tag(self, tpid: u16, tci: u16) -> Frame {
        self.behind(&tci.to_be_bytes()).typed(tpid)
    }

    /// Puts SNAP and the length of an 802.3 frame before the Ethernet type.
    pub fn snap(self) -> Frame {
        self.behind(&[0xaa, 0xaa, 3, 0, 0, 0]).length()
    }

    /// Puts the length of an 802.3 frame before it.
    pub fn length(self) -> Frame {
        let len = self.0.len() as u16;
        self.behind(&len.to_be_bytes())
    }

    /// Puts a PBB service tag with the backbone addresses' frame before an inner frame.
    pub fn service(self, isid: u32) -> Frame {
        self.behind(&isid.to_be_bytes()).typed(0x88e7)
    }

    /// Puts Ethernet addresses before it.
    pub fn addresses(self, dst: [u8; 6], src: [u8; 6]) -> Frame {
        self.behind(&[dst, src].concat())
    }

    /// Appends zeroes up to this length.
    pub fn padded(mut self, len: usize) -> Frame {
        self.0.resize(self.0.len().max(len), 0);
        self
    }

    fn behind(self, header: &[u8]) -> Frame {
        Frame([header, &self.0].concat())
    }
}

/// The checksum of an IPv4 header whose own is 0 (RFC 1071).
fn internet_checksum(header: &[u8]) -> u16 {
    let words = header
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let sum: u32 = words.map(u32::from).sum();
    // Adding what was carried may carry once more.
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// A capture file of Ethernet frames, in pcap format with microseconds.
pub fn pcap<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 0x4_0000, 1u32] {
        file.extend(word.to_le_bytes());
    }
    for (second, frame) in (0u32..).zip(frames) {
        let len = frame.len() as u32;
        for word in [second, 0, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}
