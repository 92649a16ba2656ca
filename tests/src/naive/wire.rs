//! Packets as bytes: fields are found by walking the headers from the front, every time.

use flowtable::Field;

/// Where the headers of a packet are, found by walking.
#[derive(Clone, Debug, Default)]
struct Headers {
    /// Offsets of the TCI of up to two VLAN tags.
    tags: Vec<usize>,
    /// Offset of the Ethernet type after them.
    type_at: usize,
    eth_type: u16,
    /// Offset of ARP or IP.
    l3: Option<usize>,
    proto: Option<u8>,
    /// Where the protocol number is.
    proto_at: usize,
    /// Offset of TCP, UDP, SCTP, ICMP.
    l4: Option<usize>,
    /// Bit 0: a fragment; bit 1: a later one.
    fragment: u8,
    /// End of the datagram.
    end: usize,
}

const TPIDS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

fn walk(bytes: &[u8]) -> Headers {
    let mut headers = Headers {
        type_at: 12,
        eth_type: number(bytes, 12, 2) as u16,
        end: bytes.len(),
        ..Headers::default()
    };
    while TPIDS.contains(&headers.eth_type) && headers.tags.len() < 2 {
        headers.tags.push(headers.type_at + 2);
        headers.type_at += 4;
        headers.eth_type = number(bytes, headers.type_at, 2) as u16;
    }
    let at = headers.type_at + 2;
    match headers.eth_type {
        0x0800 if bytes.len() >= at + 20 && bytes[at] >> 4 == 4 => {
            walk_ipv4(bytes, at, &mut headers)
        }
        0x86dd if bytes.len() >= at + 40 && bytes[at] >> 4 == 6 => {
            walk_ipv6(bytes, at, &mut headers)
        }
        0x0806 | 0x8035 if bytes.len() >= at + 28 => {
            let usual = bytes[at..at + 6] == [0, 1, 8, 0, 6, 4];
            headers.l3 = usual.then_some(at);
        }
        _ => {}
    }
    headers
}

fn walk_ipv4(bytes: &[u8], at: usize, headers: &mut Headers) {
    let len = usize::from(bytes[at] & 15) * 4;
    let end = at + number(bytes, at + 2, 2) as usize;
    if len < 20 || end < at + len || end > bytes.len() {
        return;
    }
    headers.l3 = Some(at);
    headers.end = end;
    headers.proto = Some(bytes[at + 9]);
    headers.proto_at = at + 9;
    let word = number(bytes, at + 6, 2);
    if word & 0x3fff != 0 {
        headers.fragment = 1;
    }
    if word & 0x1fff != 0 {
        headers.fragment = 3;
        return;
    }
    walk_transport(bytes, at + len, headers);
}

fn walk_ipv6(bytes: &[u8], at: usize, headers: &mut Headers) {
    let end = at + 40 + number(bytes, at + 4, 2) as usize;
    if end > bytes.len() {
        return;
    }
    headers.l3 = Some(at);
    headers.end = end;
    headers.proto_at = at + 6;
    let mut next = at + 40;
    loop {
        let proto = bytes[headers.proto_at];
        headers.proto = Some(proto);
        let len = match proto {
            0 | 43 | 60 if next + 8 <= end => usize::from(bytes[next + 1]) * 8 + 8,
            44 if next + 8 <= end => {
                headers.fragment |= u8::from(number(bytes, next + 2, 2) & 0xfff9 != 0);
                8
            }
            _ => break,
        };
        let later = proto == 44 && number(bytes, next + 2, 2) & 0xfff8 != 0;
        headers.proto_at = next;
        next += len;
        if later {
            headers.fragment = 3;
            headers.proto = Some(bytes[headers.proto_at]);
            return;
        }
    }
    walk_transport(bytes, next, headers);
}

fn walk_transport(bytes: &[u8], at: usize, headers: &mut Headers) {
    let v4 = headers.eth_type == 0x0800;
    let (min, known) = match headers.proto {
        Some(6) => (20, true),
        Some(17) => (8, true),
        Some(132) => (12, true),
        Some(1) => (8, v4),
        Some(58) => (8, !v4),
        _ => (0, false),
    };
    let min = match headers.proto {
        Some(6) => min.max(usize::from(number(bytes, at + 12, 1) as u8 >> 4) * 4),
        _ => min,
    };
    let short = headers.proto == Some(6) && number(bytes, at + 12, 1) >> 4 < 5;
    if known && !short && at + min <= headers.end {
        headers.l4 = Some(at);
    }
}

/// A big-endian number; what lies beyond the packet is 0.
fn number(bytes: &[u8], at: usize, len: usize) -> u128 {
    let byte = |at: usize| u128::from(bytes.get(at).copied().unwrap_or(0));
    (at..at + len).fold(0, |sum, at| sum << 8 | byte(at))
}

/// A piece of a packet: `width` bits, `shift` bits from the right of `len` bytes at `at`.
struct Piece {
    at: usize,
    len: usize,
    shift: u32,
    width: u32,
}

fn piece(at: usize, len: usize, shift: u32, width: u32) -> Option<Piece> {
    Some(Piece {
        at,
        len,
        shift,
        width,
    })
}

/// Where a field is, if the packet has it. VLAN ids are without their presence bit.
fn find(bytes: &[u8], field: Field) -> Option<Piece> {
    use Field::*;
    let headers = walk(bytes);
    let payload = headers.type_at + 2;
    let tag = headers.tags.first().copied();
    let mpls = matches!(headers.eth_type, 0x8847 | 0x8848) && bytes.len() >= payload + 4;
    let pbb = headers.eth_type == 0x88e7 && bytes.len() >= payload + 4;
    match field {
        EthDst => piece(0, 6, 0, 48),
        EthSrc => piece(6, 6, 0, 48),
        EthType => piece(headers.type_at, 2, 0, 16),
        VlanVid => piece(tag?, 2, 0, 12),
        VlanPcp => piece(tag?, 2, 13, 3),
        MplsLabel if mpls => piece(payload, 4, 12, 20),
        MplsTc if mpls => piece(payload, 4, 9, 3),
        MplsBos if mpls => piece(payload, 4, 8, 1),
        MplsTtl if mpls => piece(payload, 4, 0, 8),
        PbbIsid if pbb => piece(payload, 4, 0, 24),
        _ => find_network(field, &headers).or_else(|| find_transport(bytes, field, &headers)),
    }
}

fn find_network(field: Field, headers: &Headers) -> Option<Piece> {
    use Field::*;
    let at = headers.l3?;
    match (headers.eth_type, field) {
        (0x0800, IpDscp) => piece(at + 1, 1, 2, 6),
        (0x0800, IpEcn) => piece(at + 1, 1, 0, 2),
        (0x0800, IpTtl) => piece(at + 8, 1, 0, 8),
        (0x0800, Ipv4Src) => piece(at + 12, 4, 0, 32),
        (0x0800, Ipv4Dst) => piece(at + 16, 4, 0, 32),
        (0x86dd, IpDscp) => piece(at, 2, 6, 6),
        (0x86dd, IpEcn) => piece(at, 2, 4, 2),
        (0x86dd, Ipv6Flabel) => piece(at, 4, 0, 20),
        (0x86dd, IpTtl) => piece(at + 7, 1, 0, 8),
        (0x86dd, Ipv6Src) => piece(at + 8, 16, 0, 128),
        (0x86dd, Ipv6Dst) => piece(at + 24, 16, 0, 128),
        (0x0800 | 0x86dd, IpProto) => piece(headers.proto_at, 1, 0, 8),
        (0x0806 | 0x8035, ArpOp) => piece(at + 6, 2, 0, 16),
        (0x0806 | 0x8035, ArpSha) => piece(at + 8, 6, 0, 48),
        (0x0806 | 0x8035, ArpSpa) => piece(at + 14, 4, 0, 32),
        (0x0806 | 0x8035, ArpTha) => piece(at + 18, 6, 0, 48),
        (0x0806 | 0x8035, ArpTpa) => piece(at + 24, 4, 0, 32),
        _ => None,
    }
}

fn find_transport(bytes: &[u8], field: Field, headers: &Headers) -> Option<Piece> {
    use Field::*;
    let at = headers.l4?;
    let neighbour = |kinds: &[u8]| {
        let whole = at + 24 <= headers.end;
        whole && bytes[at + 1] == 0 && kinds.contains(&bytes[at])
    };
    match (headers.proto?, field) {
        (6, TcpSrc) | (17, UdpSrc) | (132, SctpSrc) => piece(at, 2, 0, 16),
        (6, TcpDst) | (17, UdpDst) | (132, SctpDst) => piece(at + 2, 2, 0, 16),
        (6, TcpFlags) => piece(at + 12, 2, 0, 12),
        (1, Icmpv4Type) | (58, Icmpv6Type) => piece(at, 1, 0, 8),
        (1, Icmpv4Code) | (58, Icmpv6Code) => piece(at + 1, 1, 0, 8),
        (58, NdTarget) if neighbour(&[135, 136]) => piece(at + 8, 16, 0, 128),
        (58, NdReserved) if neighbour(&[135, 136]) => piece(at + 4, 4, 0, 32),
        (58, NdOptionsType) if neighbour(&[135, 136]) && at + 32 <= headers.end => {
            piece(at + 24, 1, 0, 8)
        }
        (58, NdSll) if neighbour(&[135]) => option(bytes, at + 24, headers.end, 1),
        (58, NdTll) if neighbour(&[136]) => option(bytes, at + 24, headers.end, 2),
        _ => None,
    }
}

/// The link-layer address in the first option of a kind.
fn option(bytes: &[u8], mut at: usize, end: usize, kind: u8) -> Option<Piece> {
    while at + 8 <= end && bytes[at + 1] > 0 {
        if bytes[at] == kind {
            return piece(at + 2, 6, 0, 48);
        }
        at += usize::from(bytes[at + 1]) * 8;
    }
    None
}

/// The value that a match compares, 0 if the packet does not have the field.
pub fn value(bytes: &[u8], field: Field) -> u128 {
    match field {
        Field::IpFrag => walk(bytes).fragment.into(),
        // Of the first option with a link-layer address: others are none of ours to tell.
        Field::NdOptionsType => read(bytes, field).filter(|kind| *kind <= 2).unwrap_or(0),
        _ => read(bytes, field).unwrap_or(0),
    }
}

/// A field, if the packet has it. A VLAN id has its presence bit.
pub fn read(bytes: &[u8], field: Field) -> Option<u128> {
    let piece = find(bytes, field)?;
    let ones = u128::MAX >> (128 - piece.width);
    let value = number(bytes, piece.at, piece.len) >> piece.shift & ones;
    match field {
        Field::VlanVid => Some(value | 0x1000),
        _ => Some(value),
    }
}

/// Sets a field, if the packet has it. Checksums that were right are right again; one that was
/// wrong is wrong by as much.
pub fn write(bytes: &mut [u8], field: Field, value: u128) {
    let Some(piece) = find(bytes, field) else {
        return;
    };
    // The checksum of a whole packet cannot be known from its first fragment.
    if matches!(field, Field::SctpSrc | Field::SctpDst) && walk(bytes).fragment != 0 {
        return;
    }
    let (before, headers) = (Errors::of(bytes), walk(bytes));
    let ones = u128::MAX >> (128 - piece.width) << piece.shift;
    let kept = number(bytes, piece.at, piece.len) & !ones;
    let new = kept | value << piece.shift & ones;
    for index in 0..piece.len {
        bytes[piece.at + index] = (new >> (8 * (piece.len - 1 - index))) as u8;
    }
    // Under another Ethernet type there is no transport header any more.
    before.keep(bytes, !matches!(field, Field::EthType | Field::IpProto));
    if field == Field::IpProto {
        before.keep_renamed(bytes, &headers);
    }
}

/// An IP packet, as far as it says whose it is.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Of IPv4, else of IPv6.
    pub is_ipv4: bool,
    /// It is a part of one only.
    pub is_fragment: bool,
    /// Protocol.
    pub proto: u8,
    /// Source address.
    pub source: u128,
    /// Destination address.
    pub destination: u128,
    /// Transport header and data; nothing if there is no whole header that is known.
    pub transport: Vec<u8>,
}

/// The IP packet that a frame is, if it is one.
pub fn datagram(bytes: &[u8]) -> Option<Datagram> {
    let headers = walk(bytes);
    let (at, is_ipv4) = (headers.l3?, headers.eth_type == 0x0800);
    let (first, len) = if is_ipv4 { (at + 12, 4) } else { (at + 8, 16) };
    let transport = headers.l4.map(|l4| bytes[l4..headers.end].to_vec());
    Some(Datagram {
        is_ipv4,
        is_fragment: headers.fragment != 0,
        proto: headers.proto?,
        source: number(bytes, first, len),
        destination: number(bytes, first + len, len),
        transport: transport.unwrap_or_default(),
    })
}

/// Whether the checksums of IPv4, TCP, UDP and ICMP are right, as far as they are there.
pub fn has_right_checksums(bytes: &[u8]) -> bool {
    let headers = walk(bytes);
    let errors = Errors::of(bytes);
    let has_none = headers.l4.is_some_and(|l4| {
        let is_udp = headers.eth_type == 0x0800 && headers.proto == Some(17);
        is_udp && number(bytes, l4 + 6, 2) == 0
    });
    one_zero(errors.ip) == 0 && (has_none || one_zero(errors.transport) == 0)
}

/// Makes every checksum that is in sight right.
pub fn fix_checksums(bytes: &mut [u8]) {
    Errors::default().keep(bytes, true);
}

/// By how much the checksums in sight are wrong.
#[derive(Default)]
struct Errors {
    ip: u16,
    transport: u16,
    sctp: u32,
}

impl Errors {
    fn of(bytes: &[u8]) -> Errors {
        let headers = walk(bytes);
        let error = |(at, right): (usize, u16)| add(!right, number(bytes, at, 2) as u16);
        Errors {
            ip: ip_checksum(bytes, &headers).map_or(0, error),
            transport: transport_checksum(bytes, &headers).map_or(0, error),
            sctp: match sctp_at(&headers) {
                Some(at) => number(bytes, at + 8, 4) as u32 ^ crc32c(bytes, at, headers.end),
                None => 0,
            },
        }
    }

    /// Writes checksums that are wrong by as much again.
    fn keep(&self, bytes: &mut [u8], transport: bool) {
        let headers = walk(bytes);
        if let Some((at, right)) = ip_checksum(bytes, &headers) {
            put(bytes, at, one_zero(add(right, self.ip)));
        }
        if !transport {
            return;
        }
        // Of a first fragment it is wrong by what the others add.
        self.keep_transport(bytes, &headers, transport_checksum(bytes, &headers));
        if let Some(at) = sctp_at(&headers).filter(|_| headers.fragment == 0) {
            let crc = crc32c(bytes, at, headers.end) ^ self.sctp;
            bytes[at + 8..at + 12].copy_from_slice(&crc.to_be_bytes());
        }
    }

    /// Writes the checksum of a transport header whose protocol was given another number: the
    /// header is what it was, the pseudo header has the new number.
    fn keep_renamed(&self, bytes: &mut [u8], old: &Headers) {
        let right = transport_checksum_as(bytes, old, bytes[old.proto_at]);
        self.keep_transport(bytes, old, right);
    }

    fn keep_transport(&self, bytes: &mut [u8], headers: &Headers, right: Option<(usize, u16)>) {
        let Some((at, right)) = right else {
            return;
        };
        let udp = headers.proto == Some(17);
        let sum = one_zero(add(right, self.transport));
        match (udp, number(bytes, at, 2), sum) {
            (true, 0, _) => {}
            (true, _, 0) => put(bytes, at, 0xffff),
            _ => put(bytes, at, sum),
        }
    }
}

/// Ones' complement addition.
fn add(a: u16, b: u16) -> u16 {
    let sum = u32::from(a) + u32::from(b);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The checksum of the two that are zero that senders write.
fn one_zero(sum: u16) -> u16 {
    if sum == 0xffff { 0 } else { sum }
}

/// Where the checksum of an IPv4 header is, and what it should be.
fn ip_checksum(bytes: &[u8], headers: &Headers) -> Option<(usize, u16)> {
    let at = headers.l3.filter(|_| headers.eth_type == 0x0800)?;
    let len = usize::from(bytes[at] & 15) * 4;
    let others = sum(sum(0, &bytes[at..at + 10]), &bytes[at + 12..at + len]);
    Some((at + 10, !others))
}

/// Where the checksum of TCP, UDP or ICMP is, and what it should be.
fn transport_checksum(bytes: &[u8], headers: &Headers) -> Option<(usize, u16)> {
    transport_checksum_as(bytes, headers, headers.proto?)
}

/// As [`transport_checksum`], with a protocol number of its own in the pseudo header.
fn transport_checksum_as(bytes: &[u8], headers: &Headers, named: u8) -> Option<(usize, u16)> {
    let (l3, at, proto) = (headers.l3?, headers.l4?, headers.proto?);
    let field = at
        + match proto {
            6 => 16,
            17 => 6,
            132 => return None,
            _ => 2,
        };
    let len = (headers.end - at) as u16;
    let addresses = match headers.eth_type {
        0x0800 => sum(0, &bytes[l3 + 12..l3 + 20]),
        _ => sum(0, &bytes[l3 + 8..l3 + 40]),
    };
    let pseudo = match proto {
        1 => 0,
        _ => add(add(addresses, named.into()), len),
    };
    let others = sum(
        sum(pseudo, &bytes[at..field]),
        &bytes[field + 2..headers.end],
    );
    Some((field, !others))
}

fn sctp_at(headers: &Headers) -> Option<usize> {
    headers.l4.filter(|_| headers.proto == Some(132))
}

/// CRC32c, bit by bit (RFC 9260 appendix A), of a packet whose own is taken for 0.
fn crc32c(bytes: &[u8], at: usize, end: usize) -> u32 {
    let mut packet = bytes[at..end].to_vec();
    packet[8..12].fill(0);
    let mut crc = u32::MAX;
    for byte in packet {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    (!crc).swap_bytes()
}

/// The ones' complement sum of 16-bit words (RFC 1071).
fn sum(start: u16, bytes: &[u8]) -> u16 {
    let mut sum = u32::from(start);
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Pushes a tag before all others, a copy of the outermost.
pub fn push_vlan(bytes: &mut Vec<u8>, tpid: u16) {
    let tci = walk(bytes)
        .tags
        .first()
        .map_or(0, |at| number(bytes, *at, 2) as u16);
    insert(bytes, 12, &[tpid.to_be_bytes(), tci.to_be_bytes()].concat());
}

/// Pops the outermost tag.
pub fn pop_vlan(bytes: &mut Vec<u8>) {
    if !walk(bytes).tags.is_empty() {
        bytes.drain(12..16);
    }
}

/// Pushes an entry after the VLAN tags in sight: a copy of the top one, else label 0 with the
/// time to live of IP, else 0.
pub fn push_mpls(bytes: &mut Vec<u8>, eth_type: u16) {
    let headers = walk(bytes);
    let at = headers.type_at + 2;
    let entry = match headers.eth_type {
        0x8847 | 0x8848 => number(bytes, at, 4) as u32 & !0x100,
        _ => 0x100 | read(bytes, Field::IpTtl).unwrap_or(0) as u32,
    };
    put(bytes, headers.type_at, eth_type);
    insert(bytes, at, &entry.to_be_bytes());
}

/// Pops the top entry.
pub fn pop_mpls(bytes: &mut Vec<u8>, eth_type: u16) {
    let headers = walk(bytes);
    let at = headers.type_at + 2;
    if matches!(headers.eth_type, 0x8847 | 0x8848) && bytes.len() >= at + 4 {
        put(bytes, headers.type_at, eth_type);
        bytes.drain(at..at + 4);
    }
}

/// Puts a backbone header before the packet: its own addresses, the service instance of one
/// beneath, the priority of its VLAN tag.
pub fn push_pbb(bytes: &mut Vec<u8>, eth_type: u16) {
    let priority = read(bytes, Field::VlanPcp).unwrap_or(0) as u32;
    let instance = read(bytes, Field::PbbIsid).unwrap_or(0) as u32;
    let mut header = bytes[..12].to_vec();
    header.extend(eth_type.to_be_bytes());
    header.extend((priority << 29 | instance).to_be_bytes());
    insert(bytes, 0, &header);
}

/// Takes the backbone header away: its addresses, and the service tag after the VLAN tags.
pub fn pop_pbb(bytes: &mut Vec<u8>) {
    let headers = walk(bytes);
    let tag = headers.type_at;
    if headers.eth_type != 0x88e7 || bytes.len() < tag + 6 + 14 {
        return;
    }
    let inner: Vec<u8> = bytes.drain(tag + 6..tag + 18).collect();
    bytes.drain(tag..tag + 6);
    bytes.splice(..12, inner);
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    bytes.splice(at..at, new.iter().copied());
}

/// Decrements a time to live; `false` if that ends the packet.
pub fn decrement(bytes: &mut [u8], field: Field) -> bool {
    match read(bytes, field) {
        None => true,
        Some(0 | 1) => false,
        Some(ttl) => {
            write(bytes, field, ttl - 1);
            true
        }
    }
}

/// Offsets of the times to live of the outermost header that has one and the next.
fn times_to_live(bytes: &[u8]) -> Option<(usize, usize)> {
    let headers = walk(bytes);
    let at = headers.type_at + 2;
    if !matches!(headers.eth_type, 0x8847 | 0x8848) || bytes.len() < at + 4 {
        return None;
    }
    let next = at + 4;
    let inner = match (bytes[at + 2] & 1, bytes.get(next).map(|byte| byte >> 4)) {
        (0, _) if bytes.len() >= next + 4 => next + 3,
        (1, Some(4)) if bytes.len() >= next + 20 => next + 8,
        (1, Some(6)) if bytes.len() >= next + 40 => next + 7,
        _ => return None,
    };
    Some((at + 3, inner))
}

/// Copies a time to live from the outermost header inwards, or the other way.
pub fn copy_ttl(bytes: &mut [u8], inwards: bool) {
    let Some((outer, inner)) = times_to_live(bytes) else {
        return;
    };
    if !inwards {
        bytes[outer] = bytes[inner];
        return;
    }
    let old = bytes[inner];
    bytes[inner] = bytes[outer];
    if bytes[inner - 8] >> 4 == 4 && inner == outer + 9 {
        // RFC 1624 equation 3: the header's options may lie beyond a frame that is cut short.
        let ip = inner - 8;
        let without = [
            !bytes[ip + 10],
            !bytes[ip + 11],
            !old,
            0xff,
            bytes[inner],
            0,
        ];
        put(bytes, ip + 10, !sum(0, &without));
    }
}

/// What is behind headers that hide it, as a frame: the bytes before, and where it goes on.
fn hidden(bytes: &[u8], headers: &Headers) -> Option<(Vec<u8>, usize)> {
    let payload = headers.type_at + 2;
    let (kind, rest) = match headers.eth_type {
        0x88e7 => return Some((Vec::new(), payload + 4)),
        kind if TPIDS.contains(&kind) => (&[][..], headers.type_at),
        0x8847 | 0x8848 => match (bytes.get(payload + 2)? & 1, bytes.get(payload + 4)? >> 4) {
            (0, _) => (&[0x88, 0x47][..], payload + 4),
            (_, 4) => (&[0x08, 0x00][..], payload + 4),
            (_, 6) => (&[0x86, 0xdd][..], payload + 4),
            _ => return None,
        },
        _ => return None,
    };
    Some(([&bytes[..12], kind].concat(), rest))
}

/// Blanks what the naive model does not compute: the transport checksum of a first fragment,
/// whatever was pushed before it.
pub fn without_fragment_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let headers = walk(&bytes);
    if let Some((start, rest)) = hidden(&bytes, &headers)
        && let Some(behind) = bytes.get(rest..)
    {
        let inner = without_fragment_checksum(&[&start[..], behind].concat());
        return [&bytes[..rest], &inner[start.len()..]].concat();
    }
    if let (1, Some(at), Some(proto)) = (headers.fragment, headers.l4, headers.proto) {
        match proto {
            6 => bytes[at + 16..at + 18].fill(0),
            17 => bytes[at + 6..at + 8].fill(0),
            132 => bytes[at + 8..at + 12].fill(0),
            _ => bytes[at + 2..at + 4].fill(0),
        }
    }
    bytes
}
