//! The parser against tshark: captures of every protocol that the parser knows, dissected by both,
//! compared field by field.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};

use flowtable::{Field, FlowKey, VLAN_PRESENT, exthdr, parse};
use tests::frame::{Frame, Ipv4, arp, icmp, neighbour, raw, sctp, tcp, udp};
use tests::tshark;

const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
const A4: [u8; 4] = [10, 1, 2, 3];
const B4: [u8; 4] = [192, 168, 77, 9];
const A6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const B6: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0xff, 0xfe, 0, 0, 1];
const ECHO: [u8; 6] = [0, 1, 0, 2, 9, 9];
const LINK: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 7];

/// What tshark is asked for, in this order.
const COLUMNS: &[&str] = &[
    "eth.dst",
    "eth.src",
    "eth.type",
    "vlan.etype",
    "vlan.id",
    "vlan.priority",
    "ieee8021ad.id",
    "ieee8021ad.priority",
    "llc.type",
    "mpls.label",
    "mpls.exp",
    "mpls.bottom",
    "mpls.ttl",
    "ieee8021ah.isid",
    "arp.opcode",
    "arp.src.hw_mac",
    "arp.src.proto_ipv4",
    "arp.dst.hw_mac",
    "arp.dst.proto_ipv4",
    "ip.dsfield",
    "ip.ttl",
    "ip.proto",
    "ip.src",
    "ip.dst",
    "ip.flags.mf",
    "ip.frag_offset",
    "ipv6.tclass",
    "ipv6.flow",
    "ipv6.hlim",
    "ipv6.nxt",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.hopopts.nxt",
    "ipv6.routing.nxt",
    "ipv6.fraghdr.nxt",
    "ipv6.fraghdr.offset",
    "ipv6.fraghdr.more",
    "ipv6.dstopts.nxt",
    "ah.next_header",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.flags",
    "udp.srcport",
    "udp.dstport",
    "sctp.srcport",
    "sctp.dstport",
    "icmp.type",
    "icmp.code",
    "icmpv6.type",
    "icmpv6.code",
    "icmpv6.nd.ns.target_address",
    "icmpv6.nd.na.target_address",
    "icmpv6.reserved",
    "icmpv6.nd.na.flag",
    "icmpv6.opt.type",
    "icmpv6.opt.src_linkaddr",
    "icmpv6.opt.target_linkaddr",
];

fn ethernet(frame: Frame) -> Frame {
    frame.addresses(MACS.0, MACS.1)
}

type Case = (&'static str, Frame);

/// Frames that are whole and right: tshark and the parser must agree in every field.
fn right() -> Vec<Case> {
    let cases = [
        over_ipv4(),
        over_ipv6(),
        extended(),
        tagged(),
        labelled(),
        other(),
    ];
    let frames = cases.into_iter().flatten();
    frames
        .map(|(name, typed)| (name, ethernet(typed)))
        .collect()
}

fn segment() -> Frame {
    tcp(80, 8080, 0x112, &[1; 8], b"hello")
}

fn datagram() -> Frame {
    udp(1234, 4321, b"datagram")
}

/// An IPv4 packet behind its Ethernet type.
fn plain() -> Frame {
    datagram().ipv4(17, A4, B4).typed(0x0800)
}

fn over_ipv4() -> Vec<Case> {
    let ipv4 = |proto: u8, payload: Frame| payload.ipv4(proto, A4, B4).typed(0x0800);
    let fragment = |fragment: u16| {
        let with = Ipv4 {
            fragment,
            ..Ipv4::default()
        };
        datagram().ipv4_with(with, 17, A4, B4).typed(0x0800)
    };
    let options = Ipv4 {
        tos: 0xb9,
        ttl: 3,
        options: &[1; 12],
        fragment: 0x4000,
    };
    let options = segment().ipv4_with(options, 6, A4, B4).typed(0x0800);
    let cause = [vec![0; 4], datagram().ipv4(17, B4, A4).0].concat();
    vec![
        ("TCP over IPv4", ipv4(6, segment())),
        ("UDP over IPv4", ipv4(17, datagram())),
        ("SCTP over IPv4", ipv4(132, sctp(5, 6))),
        ("ICMP", ipv4(1, icmp(8, 0, &ECHO))),
        ("ICMP error", ipv4(1, icmp(3, 1, &cause))),
        ("unknown protocol", ipv4(253, raw(b"what"))),
        ("options", options),
        ("padded", ipv4(17, datagram()).padded(48)),
        ("first fragment", fragment(0x2000)),
        ("middle fragment", fragment(0x2001)),
        ("last fragment", fragment(0x0002)),
    ]
}

fn ipv6(next: u8, payload: Frame) -> Frame {
    payload.ipv6(next, A6, B6).typed(0x86dd)
}

fn over_ipv6() -> Vec<Case> {
    let classified = datagram().ipv6_with(0x6b91_2345, 7, 17, A6, B6);
    let target_link = [&[2], &LINK[1..]].concat();
    let bare = neighbour(135, B6, &[]);
    vec![
        ("TCP over IPv6", ipv6(6, segment())),
        ("UDP over IPv6", classified.typed(0x86dd)),
        ("SCTP over IPv6", ipv6(132, sctp(7, 8))),
        ("ICMPv6", ipv6(58, icmp(128, 0, &ECHO))),
        ("solicitation", ipv6(58, neighbour(135, B6, &LINK))),
        ("advertisement", ipv6(58, neighbour(136, A6, &target_link))),
        ("solicitation without options", ipv6(58, bare)),
    ]
}

fn extended() -> Vec<Case> {
    let fragment = |offset, more| ipv6(44, datagram().fragment(17, offset, more));
    let all = segment().options(6, 0).authentication(60);
    let all = all.fragment(51, 0, true).routing(44);
    let all = all.options(43, 1).options(60, 0);
    vec![
        ("hop-by-hop", ipv6(0, datagram().options(17, 0))),
        ("destination", ipv6(60, segment().options(6, 2))),
        ("routing", ipv6(43, segment().routing(6))),
        ("authentication", ipv6(51, segment().authentication(6))),
        ("first IPv6 fragment", fragment(0, true)),
        ("later IPv6 fragment", fragment(1, true)),
        ("last IPv6 fragment", fragment(2, false)),
        ("atomic IPv6 fragment", fragment(0, false)),
        ("all extensions", ipv6(0, all)),
        ("no next header", ipv6(60, raw(&[]).options(59, 0))),
        ("ESP", ipv6(0, raw(&[1; 24]).options(50, 0))),
    ]
}

fn tagged() -> Vec<Case> {
    let request = arp(1, (MACS.1, A4), ([0; 6], B4)).typed(0x0806);
    let customer = plain().tag(0x8100, 0x4007);
    vec![
        ("VLAN", plain().tag(0x8100, 0xe005)),
        ("VLAN and ARP", request.tag(0x8100, 1).padded(48)),
        ("priority tag", ipv6(17, datagram()).tag(0x8100, 0x6000)),
        ("two tags", customer.clone().tag(0x88a8, 0xa009)),
        ("two C-tags", customer.clone().tag(0x8100, 9)),
        ("old tags", customer.tag(0x9100, 9)),
    ]
}

fn labelled() -> Vec<Case> {
    let label = |label, class, ttl| {
        let packet = datagram().ipv4(17, A4, B4);
        packet.mpls(label, class, true, ttl)
    };
    let stack = label(16, 0, 9).mpls(99, 1, false, 255);
    let request = arp(1, (MACS.1, A4), ([0; 6], B4)).typed(0x0806);
    vec![
        ("MPLS", label(0xabcde, 5, 64).typed(0x8847)),
        ("MPLS stack", stack.typed(0x8847)),
        ("MPLS multicast", label(1000, 2, 1).typed(0x8848)),
        (
            "MPLS in a VLAN",
            label(31, 7, 3).typed(0x8847).tag(0x8100, 3),
        ),
        ("PBB", ethernet(plain()).service(0x00ab_cdef)),
        (
            "PBB in a B-tag",
            ethernet(request).service(7).tag(0x88a8, 12),
        ),
    ]
}

fn other() -> Vec<Case> {
    let request = arp(1, (MACS.1, A4), ([0; 6], B4)).typed(0x0806);
    let reply = arp(2, (MACS.0, B4), (MACS.1, A4)).typed(0x0806);
    let reverse = arp(3, (MACS.0, [0; 4]), (MACS.0, [0; 4])).typed(0x8035);
    let spanning_tree = raw(&[0x42, 0x42, 3, 0, 0, 0, 0, 0]).length();
    let discovery = raw(&[2, 7, 4, 2, 0, 0, 0, 0, 1, 0, 0]).typed(0x88cc);
    vec![
        ("ARP", request.clone().padded(48)),
        ("ARP reply", reply),
        ("RARP", reverse),
        ("LLC", spanning_tree.padded(48)),
        ("SNAP", request.snap().padded(48)),
        ("SNAP with IP", plain().snap()),
        ("LLDP", discovery),
    ]
}

/// Frames that lie about a length or a version.
fn lies() -> Vec<(String, Vec<u8>)> {
    let v4 = ethernet(
        tcp(80, 8080, 2, &[], b"hello")
            .ipv4(6, A4, B4)
            .typed(0x0800),
    )
    .0;
    let v6 = ethernet(
        udp(80, 8080, b"hello")
            .options(17, 0)
            .ipv6(0, A6, B6)
            .typed(0x86dd),
    )
    .0;
    let nd = ethernet(neighbour(135, B6, &LINK).ipv6(58, A6, B6).typed(0x86dd)).0;
    let changes: &[(&str, &Vec<u8>, usize, u8)] = &[
        ("IPv4 version", &v4, 14, 0x55),
        ("IPv4 header length short", &v4, 14, 0x44),
        ("IPv4 header length long", &v4, 14, 0x4f),
        ("IPv4 total length long", &v4, 16, 9),
        ("IPv4 total length short", &v4, 17, 19),
        ("IPv4 total length within TCP", &v4, 17, 39),
        ("TCP offset short", &v4, 46, 0x40),
        ("TCP offset long", &v4, 46, 0xf0),
        ("IPv6 version", &v6, 14, 0x50),
        ("IPv6 payload length long", &v6, 18, 9),
        ("IPv6 payload length within UDP", &v6, 19, 15),
        ("hop-by-hop length", &v6, 55, 200),
        ("ND option of length 0", &nd, 79, 0),
        ("ND option beyond the end", &nd, 79, 2),
    ];
    let changed = |&(name, frame, at, byte): &(&str, &Vec<u8>, usize, u8)| {
        let mut frame = frame.clone();
        frame[at] = byte;
        (name.to_string(), frame)
    };
    changes.iter().map(changed).collect()
}

/// What tshark said of one frame: every occurrence of each column.
struct Row(HashMap<&'static str, Vec<String>>);

impl Row {
    /// The first occurrence as a number, 0 if there is none.
    fn number(&self, column: &str) -> u64 {
        self.numbers(column).first().copied().unwrap_or(0)
    }

    fn numbers(&self, column: &str) -> Vec<u64> {
        let texts = self.0.get(column).map_or(&[][..], Vec::as_slice);
        texts.iter().map(|text| number(text)).collect()
    }

    fn has(&self, column: &str) -> bool {
        self.0.contains_key(column)
    }

    fn ipv6(&self, column: &str) -> [u64; 2] {
        let text = self.0.get(column).and_then(|texts| texts.first());
        let address: u128 = text.map_or(0, |text| {
            let address: Ipv6Addr = text.parse().expect("an IPv6 address");
            address.into()
        });
        [(address >> 64) as u64, address as u64]
    }
}

/// A number as tshark prints it: decimal, hexadecimal, Ethernet or IPv4 address.
fn number(text: &str) -> u64 {
    let hexadecimal = |text: &str| u64::from_str_radix(text, 16);
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return u32::from(address).into();
    }
    let number = match text.strip_prefix("0x") {
        Some(digits) => hexadecimal(digits),
        None if text.contains(':') => hexadecimal(&text.replace(':', "")),
        None => text.parse(),
    };
    number.unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Has tshark dissect the frames.
fn dissect<'a>(frames: impl Iterator<Item = &'a [u8]>) -> Vec<Row> {
    let whole = ["ip.defragment:FALSE", "ipv6.defragment:FALSE"];
    let rows = tshark::fields(frames, COLUMNS, &whole);
    rows.into_iter().map(row).collect()
}

fn row(values: Vec<String>) -> Row {
    let values = COLUMNS.iter().zip(values);
    let present = values.filter(|(_, value)| !value.is_empty());
    let lists = present.map(|(column, value)| {
        let values = value.split(';').map(str::to_string);
        (*column, values.collect())
    });
    Row(lists.collect())
}

/// The key that tshark's dissection amounts to.
fn expected(row: &Row) -> FlowKey {
    let mut key = FlowKey {
        eth_dst: row.number("eth.dst"),
        eth_src: row.number("eth.src"),
        ..FlowKey::default()
    };
    expect_tags(row, &mut key);
    if row.has("mpls.label") {
        let [label, class] = ["mpls.label", "mpls.exp"].map(|column| row.number(column));
        let [bottom, ttl] = ["mpls.bottom", "mpls.ttl"].map(|column| row.number(column));
        key.mpls = ((label << 12) | (class << 9) | (bottom << 8) | ttl) as u32;
        return key;
    }
    if row.has("ieee8021ah.isid") {
        key.pbb_isid = row.number("ieee8021ah.isid") as u32;
        return key;
    }
    if row.has("arp.opcode") {
        key.arp_op = row.number("arp.opcode") as u16;
        key.arp_sha = row.number("arp.src.hw_mac");
        key.arp_tha = row.number("arp.dst.hw_mac");
        key.ipv4_src = row.number("arp.src.proto_ipv4") as u32;
        key.ipv4_dst = row.number("arp.dst.proto_ipv4") as u32;
        return key;
    }
    match key.eth_type {
        0x0800 => expect_ipv4(row, &mut key),
        0x86dd => expect_ipv6(row, &mut key),
        _ => (),
    }
    expect_transport(row, &mut key);
    key
}

/// VLAN tags and Ethernet type. tshark tells service tags apart from customer tags, and does not
/// tell the type behind the former.
fn expect_tags(row: &Row, key: &mut FlowKey) {
    let mut types = VecDeque::from([row.number("eth.type")]);
    let mut tags = Vec::new();
    for (id, priority) in [
        ("ieee8021ad.id", "ieee8021ad.priority"),
        ("vlan.id", "vlan.priority"),
    ] {
        for (id, priority) in row.numbers(id).iter().zip(row.numbers(priority)) {
            tags.push((priority << 13) as u16 | VLAN_PRESENT | *id as u16);
        }
    }
    if row.has("ieee8021ad.id") {
        types.push_back(if row.has("vlan.id") { 0x8100 } else { 0x88e7 });
    }
    types.extend(row.numbers("vlan.etype"));
    // A tag that ends before its type does is none.
    tags.truncate(types.len() - 1);
    let mut next = || types.pop_front().unwrap_or(0) as u16;
    if let Some(&tci) = tags.first() {
        (key.vlan_tpid, key.vlan_tci) = (next(), tci);
    }
    if let Some(&tci) = tags.get(1) {
        (key.inner_vlan_tpid, key.inner_vlan_tci) = (next(), tci);
    }
    key.eth_type = next();
    if !row.has("eth.type") {
        key.eth_type = 0x05ff;
    }
    if row.has("llc.type") {
        key.eth_type = row.number("llc.type") as u16;
    }
}

fn expect_ipv4(row: &Row, key: &mut FlowKey) {
    key.ip_tos = row.number("ip.dsfield") as u8;
    key.ip_ttl = row.number("ip.ttl") as u8;
    key.ip_proto = row.number("ip.proto") as u8;
    key.ipv4_src = row.number("ip.src") as u32;
    key.ipv4_dst = row.number("ip.dst") as u32;
    key.ip_frag = fragment(row.number("ip.flags.mf"), row.number("ip.frag_offset"));
}

fn fragment(more: u64, offset: u64) -> u8 {
    u8::from(more + offset > 0) | u8::from(offset > 0) << 1
}

fn expect_ipv6(row: &Row, key: &mut FlowKey) {
    key.ip_tos = row.number("ipv6.tclass") as u8;
    key.ipv6_flabel = row.number("ipv6.flow") as u32;
    key.ip_ttl = row.number("ipv6.hlim") as u8;
    key.ipv6_src = row.ipv6("ipv6.src");
    key.ipv6_dst = row.ipv6("ipv6.dst");
    let offset = row.number("ipv6.fraghdr.offset");
    key.ip_frag = fragment(row.number("ipv6.fraghdr.more"), offset);
    let mut next = row.number("ipv6.nxt");
    let mut following: HashMap<u64, VecDeque<u64>> = EXTENSIONS
        .iter()
        .map(|(number, column, _)| (*number, row.numbers(column).into()))
        .collect();
    while let Some((number, _, flag)) = EXTENSIONS.iter().find(|(number, ..)| *number == next) {
        let Some(number) = following.get_mut(number).and_then(VecDeque::pop_front) else {
            break;
        };
        key.ipv6_exthdr |= flag;
        next = number;
        if key.ip_frag & 2 != 0 && *flag == exthdr::FRAG {
            break;
        }
    }
    key.ipv6_exthdr |= match next {
        50 => exthdr::ESP,
        59 => exthdr::NONEXT,
        _ => 0,
    };
    key.ip_proto = next as u8;
}

/// Number of each extension header that names its next, the column where it does, and its flag.
const EXTENSIONS: &[(u64, &str, u16)] = &[
    (0, "ipv6.hopopts.nxt", exthdr::HOP),
    (43, "ipv6.routing.nxt", exthdr::ROUTER),
    (44, "ipv6.fraghdr.nxt", exthdr::FRAG),
    (51, "ah.next_header", exthdr::AUTH),
    (60, "ipv6.dstopts.nxt", exthdr::DEST),
];

fn expect_transport(row: &Row, key: &mut FlowKey) {
    let columns = match (key.ip_proto, key.eth_type) {
        (6, _) => ["tcp.srcport", "tcp.dstport"],
        (17, _) => ["udp.srcport", "udp.dstport"],
        (132, _) => ["sctp.srcport", "sctp.dstport"],
        (1, 0x0800) => ["icmp.type", "icmp.code"],
        (58, 0x86dd) => ["icmpv6.type", "icmpv6.code"],
        _ => return,
    };
    [key.tp_src, key.tp_dst] = columns.map(|column| row.number(column) as u16);
    key.tcp_flags = row.number("tcp.flags") as u16;
    if key.ip_proto == 58 {
        key.nd_target = match key.tp_src {
            135 => row.ipv6("icmpv6.nd.ns.target_address"),
            _ => row.ipv6("icmpv6.nd.na.target_address"),
        };
        let flags = match key.tp_src {
            135 => row.number("icmpv6.reserved"),
            _ => row.number("icmpv6.nd.na.flag"),
        };
        key.nd_reserved = flags as u32;
        let kinds = row.numbers("icmpv6.opt.type");
        let kind = kinds.into_iter().find(|kind| [1, 2].contains(kind));
        key.tcp_flags = kind.unwrap_or(0) as u16;
        key.arp_sha = row.number("icmpv6.opt.src_linkaddr");
        key.arp_tha = row.number("icmpv6.opt.target_linkaddr");
    }
}

/// Name, ours and theirs of everything that is compared.
fn pairs(frame: &[u8], row: &Row) -> Vec<(&'static str, u128, u128)> {
    let (mut ours, theirs) = (FlowKey::default(), expected(row));
    parse(frame, &mut ours);
    let fields = Field::ALL.iter();
    let mut pairs: Vec<_> = fields
        .map(|field| (field.name(), field.read(&ours), field.read(&theirs)))
        .collect();
    for (name, read) in TAG_FIELDS {
        pairs.push((name, read(&ours).into(), read(&theirs).into()));
    }
    pairs
}

type ReadTag = fn(&FlowKey) -> u16;

/// What the key has of VLAN tags besides the fields of OpenFlow.
const TAG_FIELDS: &[(&str, ReadTag)] = &[
    ("vlan_tpid", |key| key.vlan_tpid),
    ("inner_vlan_tpid", |key| key.inner_vlan_tpid),
    ("inner_vlan_tci", |key| key.inner_vlan_tci),
];

#[test]
fn every_field_of_every_protocol() {
    let frames = right();
    let rows = dissect(frames.iter().map(|(_, frame)| &frame.0[..]));
    assert_eq!(rows.len(), frames.len());
    let mut seen = HashMap::new();
    for ((name, frame), row) in frames.iter().zip(&rows) {
        for (field, ours, theirs) in pairs(&frame.0, row) {
            assert_eq!(ours, theirs, "{name}: {field}");
            *seen.entry(field).or_insert(0) += u32::from(ours != 0);
        }
    }
    // What is told with a packet is in no frame.
    let told = Field::ALL.iter().filter(|field| field.is_metadata());
    let told: Vec<_> = told.map(|field| field.name()).collect();
    seen.retain(|field, count| *count == 0 && !told.contains(field));
    assert!(seen.is_empty(), "never other than 0: {seen:?}");
}

/// A frame that is cut short or lies: what the parser tells of it tshark tells too. (tshark shows
/// what it can still make out; the parser only what it can trust.)
#[test]
fn nothing_is_made_up() {
    let mut frames = lies();
    for (name, frame) in right() {
        for len in 14..frame.0.len().min(120) {
            frames.push((format!("{name}, cut at {len}"), frame.0[..len].to_vec()));
        }
    }
    let rows = dissect(frames.iter().map(|(_, frame)| &frame[..]));
    assert_eq!(rows.len(), frames.len());
    let mut told = 0;
    for ((name, frame), row) in frames.iter().zip(&rows) {
        // Of the type behind a service tag and of cut 802.2 tshark tells other things.
        let untold = row.has("ieee8021ad.id") || row.has("llc.type");
        for (field, ours, theirs) in pairs(frame, row) {
            let skipped = untold && ["eth_type", "inner_vlan_tpid"].contains(&field);
            assert!(
                ours == 0 || ours == theirs || skipped,
                "{name}: {field}: {ours} {theirs}"
            );
            told += u32::from(ours != 0 && !skipped);
        }
    }
    assert!(told > 5_000, "the parser told only {told} values");
}

#[test]
fn lies_tell_no_ports() {
    for (name, frame) in lies() {
        let mut key = FlowKey::default();
        let layout = parse(&frame, &mut key);
        if name.starts_with("ND") {
            assert_eq!((key.nd_target, key.arp_sha), ([0; 2], 0), "{name}");
        } else {
            assert_eq!((key.tp_src, key.tp_dst, layout.l4), (0, 0, 0), "{name}");
        }
    }
}
