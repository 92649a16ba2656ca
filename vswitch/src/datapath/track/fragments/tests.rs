//! Fragments through the packet path: what becomes of a datagram in pieces is what becomes of it
//! as one packet, whose checksums were computed in full.

use flowtable::fragments::FRAGMENT_TIMEOUT_MS;
use flowtable::{eth_type, ip_proto};

use super::super::super::rewrite::testing::Spec;
use super::super::super::testing::Rig;

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005) + 1;
        (self.0 >> 33) as usize % end
    }
}

const L3: usize = 14;

/// A packet that opens a connection, or is of one: from port `port` of a host to port 80.
fn packet(eth_type: u16, proto: u8, host: u8, len: usize) -> Vec<u8> {
    let mut spec = Spec::new(eth_type, proto);
    spec.payload = (0..len).map(|at| (at * 7 / 3) as u8).collect();
    spec.seed = u64::from(host) << 40 | 0x1234_5678;
    let mut built = spec.build();
    built.bytes[0] &= 0xfe;
    built.bytes[6] &= 0xfe;
    let (from, l4) = match eth_type {
        eth_type::IPV4 => (L3 + 15, L3 + 20),
        _ => (L3 + 23, L3 + 40),
    };
    built.bytes[from] = host;
    if !matches!(proto, ip_proto::ICMP | ip_proto::ICMPV6) {
        built.bytes[l4 + 2..l4 + 4].copy_from_slice(&[0, 80]);
    }
    match proto {
        ip_proto::TCP => {
            built.bytes[l4 + 4..l4 + 12].fill(0);
            built.bytes[l4 + 13] = 2;
        }
        ip_proto::SCTP => {
            // INIT, which has no verification tag.
            built.bytes[l4 + 4..l4 + 8].fill(0);
            built.bytes[l4 + 12..l4 + 14].copy_from_slice(&[1, 0]);
            write_u16(&mut built.bytes, l4 + 14, len);
        }
        ip_proto::ICMP => built.bytes[l4..l4 + 2].copy_from_slice(&[8, 0]),
        ip_proto::ICMPV6 => {
            built.bytes[l4..l4 + 2].copy_from_slice(&[128, 0]);
            let frame_len = built.bytes.len();
            built.bytes.resize(frame_len + len, 5);
            let payload_len = (built.bytes.len() - L3 - 40) as u16;
            built.bytes[L3 + 4..L3 + 6].copy_from_slice(&payload_len.to_be_bytes());
        }
        _ => {}
    }
    built.set_checksums();
    built.bytes
}

fn is_v4(frame: &[u8]) -> bool {
    frame[L3] >> 4 == 4
}

/// Where bytes start that may be fragmented.
fn start(frame: &[u8]) -> usize {
    if is_v4(frame) { L3 + 20 } else { L3 + 40 }
}

fn write_u16(bytes: &mut [u8], at: usize, value: usize) {
    bytes[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
}

/// RFC 791 §3.1.
fn seal_v4(frame: &mut [u8]) {
    write_u16(frame, L3 + 10, 0);
    let words = frame[L3..L3 + 20].chunks(2);
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    write_u16(frame, L3 + 10, !(sum + (sum >> 16)) as u16 as usize);
}

/// The fragment of a packet with the bytes from one place to another, counted from those that may
/// be fragmented (RFC 791 §3.2, RFC 8200 §4.5).
fn fragment(whole: &[u8], id: u16, from: usize, to: usize) -> Vec<u8> {
    let start = start(whole);
    let mut frame = whole[..start].to_vec();
    let more = usize::from(start + to < whole.len());
    if is_v4(whole) {
        write_u16(&mut frame, L3 + 2, 20 + to - from);
        write_u16(&mut frame, L3 + 4, id.into());
        write_u16(&mut frame, L3 + 6, (more << 13) | (from / 8));
        seal_v4(&mut frame);
    } else {
        let next = std::mem::replace(&mut frame[L3 + 6], ip_proto::FRAGMENT);
        write_u16(&mut frame, L3 + 4, 8 + to - from);
        frame.extend([next, 0, 0, 0, 0, 0, 0, 0]);
        write_u16(&mut frame, start + 2, from | more);
        write_u16(&mut frame, start + 6, id.into());
    }
    frame.extend(&whole[start + from..start + to]);
    frame
}

/// A packet in fragments of so many bytes.
fn split(whole: &[u8], id: u16, size: usize) -> Vec<Vec<u8>> {
    let len = whole.len() - start(whole);
    let starts = (0..len).step_by(size);
    starts
        .map(|from| fragment(whole, id, from, len.min(from + size)))
        .collect()
}

/// The packet that fragments in order are of.
fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    let Some(first) = parts.first() else {
        return Vec::new();
    };
    let start = start(first);
    let mut whole = first[..start].to_vec();
    let is_whole = !is_v4(first) && first[L3 + 6] != ip_proto::FRAGMENT;
    if is_whole {
        return first.clone();
    }
    let header_len = if is_v4(first) { 0 } else { 8 };
    for part in parts {
        whole.extend(&part[start + header_len..]);
    }
    let len = whole.len() - start;
    if is_v4(first) {
        write_u16(&mut whole, L3 + 2, 20 + len);
        write_u16(&mut whole, L3 + 6, 0);
        seal_v4(&mut whole);
    } else {
        whole[L3 + 6] = first[start];
        write_u16(&mut whole, L3 + 4, len);
    }
    whole
}

/// The same identification as fragments have.
fn numbered(mut whole: Vec<u8>, id: u16) -> Vec<u8> {
    if is_v4(&whole) {
        write_u16(&mut whole, L3 + 4, id.into());
        seal_v4(&mut whole);
    }
    whole
}

/// What answers a packet: the same with its ends swapped, which changes no checksum, and of an echo
/// request the reply.
fn answer(frame: &[u8]) -> Vec<u8> {
    let mut answer = frame.to_vec();
    let (addresses, len) = match is_v4(frame) {
        true => (L3 + 12, 4),
        false => (L3 + 8, 16),
    };
    answer[addresses..addresses + 2 * len].rotate_left(len);
    let (l4, proto) = match is_v4(frame) {
        true => (L3 + 20, frame[L3 + 9]),
        false => (L3 + 40, frame[L3 + 6]),
    };
    let (kind, change) = match proto {
        ip_proto::ICMP => (0, 0x0800),
        ip_proto::ICMPV6 => (129, 0xfeff),
        _ => {
            answer[l4..l4 + 4].rotate_left(2);
            return answer;
        }
    };
    answer[l4] = kind;
    let sum = usize::from(answer[l4 + 2]) << 8 | usize::from(answer[l4 + 3]);
    let sum = sum + change;
    write_u16(&mut answer, l4 + 2, (sum & 0xffff) + (sum >> 16));
    answer
}

const WAYS: [&[&str]; 3] = [
    // Translation where it goes on at once.
    &[
        "in_port=1,ip,actions=ct(commit,zone=1,nat(src=203.0.113.1-203.0.113.3)),output:2",
        "in_port=1,ipv6,actions=ct(commit,zone=1,nat(src=2001:db8::1-2001:db8::3)),output:2",
        "in_port=2,ip,actions=ct(table=2,zone=1,nat)",
        "in_port=2,ipv6,actions=ct(table=2,zone=1,nat)",
        "table=2,ct_state=+trk+est+rpl,actions=output:1",
    ],
    // A firewall that asks twice.
    &[
        "priority=9,ct_state=-trk,ip,actions=ct(table=1,zone=5)",
        "priority=9,ct_state=-trk,ipv6,actions=ct(table=1,zone=5)",
        "table=1,ip,ct_state=+trk+new,in_port=1,actions=ct(commit,zone=5),output:2",
        "table=1,ipv6,ct_state=+trk+new,in_port=1,actions=ct(commit,zone=5),output:2",
        "table=1,ct_state=+trk+est,in_port=1,actions=output:2",
        "table=1,ct_state=+trk+est+rpl,in_port=2,actions=output:1",
    ],
    // Two zones, a copy that goes on at each, and translation of the destination.
    &[
        "priority=9,in_port=1,ip,actions=ct(commit,zone=1,table=1,nat(dst=192.0.2.7:99))",
        "priority=9,in_port=1,ipv6,actions=ct(commit,zone=1,table=1,nat(dst=[2001:db8::7]:99))",
        "table=1,ip,actions=ct(commit,zone=2,table=2),ct(zone=2,table=3)",
        "table=1,ipv6,actions=ct(commit,zone=2,table=2),ct(zone=2,table=3)",
        "table=2,ct_state=+trk+new,actions=output:2",
        "table=3,ct_state=+trk+est,actions=output:3",
        "table=3,ct_state=+trk+new,actions=output:3",
        "in_port=2,ip,actions=ct(table=4,zone=1,nat)",
        "in_port=2,ipv6,actions=ct(table=4,zone=1,nat)",
        "table=4,ct_state=+trk+est+rpl,actions=output:1",
    ],
];

/// What left by each port, each datagram put together.
fn wholes(rig: &mut Rig) -> [Vec<u8>; 3] {
    [1, 2, 3].map(|port| join(&rig.sent(port)))
}

#[test]
fn pieces_fare_as_the_whole_does() {
    let mut random = Random(5);
    let protocols = [
        (eth_type::IPV4, ip_proto::UDP),
        (eth_type::IPV4, ip_proto::TCP),
        (eth_type::IPV4, ip_proto::ICMP),
        (eth_type::IPV4, ip_proto::SCTP),
        (eth_type::IPV6, ip_proto::UDP),
        (eth_type::IPV6, ip_proto::TCP),
        (eth_type::IPV6, ip_proto::ICMPV6),
        (eth_type::IPV6, ip_proto::SCTP),
    ];
    for flows in WAYS {
        let [mut at_once, mut apart] = [Rig::new(3, flows), Rig::new(3, flows)];
        let (mut went, mut came_back) = (0, 0);
        for round in 0..160u16 {
            let (eth_type, proto) = protocols[random.below(protocols.len())];
            let len = 30 + random.below(1800);
            let asked = packet(eth_type, proto, (round / 3) as u8, len);
            let mut frame = numbered(asked, round);
            for port in [1, 2] {
                // A fragment has all headers of the first, and a super-frame none.
                let size = 8 * (3 + random.below(60));
                let mut parts = split(&frame, round, size);
                if parts.len() > 64 {
                    parts = split(&frame, round, 1000);
                }
                for last in (1..parts.len()).rev() {
                    parts.swap(last, random.below(last + 1));
                }
                at_once.receive(port, std::slice::from_ref(&frame));
                // Some in one batch, some one by one.
                let (together, alone) = parts.split_at(random.below(parts.len() + 1));
                apart.receive(port, together);
                alone
                    .iter()
                    .for_each(|part| apart.receive(port, std::slice::from_ref(part)));
                let expected = wholes(&mut at_once);
                assert_eq!(wholes(&mut apart), expected, "{round} {proto} {eth_type:x}");
                let [back, there, _] = expected;
                went += usize::from(!there.is_empty());
                came_back += usize::from(!back.is_empty());
                if there.is_empty() {
                    break;
                }
                frame = numbered(answer(&there), round);
            }
        }
        assert!(went > 120 && came_back > 60, "{went} {came_back}");
        let drops = [1, 2].map(|port| (at_once.drops(port), apart.drops(port)));
        assert!(drops.iter().all(|(_, apart)| {
            apart
                .iter()
                .all(|(reason, _)| !reason.starts_with("fragment"))
        }));
        assert_eq!((apart.held.held(), apart.pools.in_use()), (0, 0));
    }
}

const SHOWN: [&str; 4] = [
    "ip,actions=ct(table=1,zone=9)",
    "table=1,udp,ct_state=+trk+new-inv,ip_frag=first,tp_dst=80,actions=output:2",
    "table=1,udp,ct_state=+trk+new-inv,ip_frag=later,ct_tp_dst=80,actions=output:3",
    "table=1,ct_state=+inv+trk,actions=in_port",
];

fn udp(host: u8, len: usize) -> Vec<u8> {
    packet(eth_type::IPV4, ip_proto::UDP, host, len)
}

#[test]
fn each_fragment_knows_its_connection_and_its_place() {
    let mut rig = Rig::new(3, &SHOWN);
    let parts = split(&udp(1, 1000), 7, 400);
    rig.receive(1, &[parts[2].clone(), parts[0].clone()]);
    assert_eq!((rig.sent(2).len(), rig.sent(3).len()), (0, 0));
    assert_eq!(rig.held.held(), 3, "two and their datagram");
    rig.receive(1, &parts[1..2]);
    assert_eq!(
        (rig.sent(2), rig.sent(3)),
        (parts[..1].to_vec(), parts[1..].to_vec())
    );
    assert_eq!((rig.held.held(), rig.pools.in_use()), (0, 0));
}

#[test]
fn one_wrong_byte_makes_all_of_it_invalid() {
    let mut rig = Rig::new(3, &SHOWN);
    let mut parts = split(&udp(1, 1000), 7, 400);
    *parts[2].last_mut().unwrap() ^= 1;
    rig.receive(1, &parts);
    assert_eq!(rig.sent(1), parts);
    // And one wrong byte in the header of a later one.
    let mut parts = split(&udp(1, 1000), 8, 400);
    parts[1][L3 + 10] ^= 1;
    rig.receive(1, &parts);
    assert_eq!(rig.sent(1), parts);
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn fragments_of_a_datagram_come_to_two_workers() {
    let mut rigs = [Rig::new(3, &SHOWN), Rig::new(3, &SHOWN)];
    let [one, other] = &mut rigs;
    other.share(one);
    let parts = split(&udp(1, 1000), 7, 400);
    one.receive(1, &parts[..2]);
    other.receive(1, &parts[2..]);
    assert_eq!((one.sent(2).len(), one.sent(3).len()), (0, 0));
    assert_eq!(
        (other.sent(2), other.sent(3)),
        (parts[..1].to_vec(), parts[1..].to_vec())
    );
}

#[test]
fn hostile_fragments_end_counted() {
    let mut rig = Rig::new(3, &SHOWN);
    let whole = udp(1, 1000);
    // Repeated, overlapping by eight bytes, and after that.
    let first = fragment(&whole, 1, 0, 400);
    rig.receive(1, &[first.clone(), first.clone()]);
    assert_eq!(rig.drops(1), [("fragment_overlap", 1)]);
    rig.receive(
        1,
        &[
            fragment(&whole, 1, 392, 800),
            fragment(&whole, 1, 400, 1008),
        ],
    );
    assert_eq!(rig.drops(1), [("fragment_overlap", 4)]);
    // A first one that hides its ports, and one whose length no fragment in the middle has.
    let tcp = packet(eth_type::IPV4, ip_proto::TCP, 2, 1000);
    rig.receive(1, &[fragment(&tcp, 2, 0, 16), fragment(&tcp, 3, 8, 13)]);
    assert_eq!(
        rig.drops(1),
        [("fragment_malformed", 2), ("fragment_overlap", 4)]
    );
    assert_eq!(
        [rig.sent(1), rig.sent(2), rig.sent(3)].concat(),
        Vec::<Vec<u8>>::new()
    );
    // What waits too long.
    rig.receive(1, &[fragment(&whole, 4, 0, 400)]);
    rig.now.ns += (FRAGMENT_TIMEOUT_MS - 1) * 1_000_000;
    rig.processor.maintain(rig.now);
    assert_eq!(rig.pools.in_use(), 1);
    rig.now.ns += 1_000_000;
    rig.processor.maintain(rig.now);
    assert_eq!(rig.drops(1)[2], ("fragment_timeout", 1));
    assert_eq!((rig.held.held(), rig.pools.in_use()), (0, 0));
}

#[test]
fn a_flood_of_first_fragments_takes_no_more_than_its_part() {
    let mut rig = Rig::new(4, &SHOWN);
    let whole = udp(1, 1000);
    let honest = split(&whole, 7, 400);
    rig.receive(4, &honest[..2]);
    let flood: Vec<_> = (0..2000)
        .map(|id| fragment(&whole, 9000 + id, 0, 400))
        .collect();
    rig.receive(1, &flood);
    assert!(rig.pools.in_use() <= 512 + 2, "{}", rig.pools.in_use());
    assert_eq!(rig.drops(1), [("fragments_full", 2000 - 512)]);
    rig.receive(4, &honest[2..]);
    assert_eq!(rig.sent(3), honest[1..]);
    assert_eq!(rig.drops(4), []);
}
