//! Made-up packets of all kinds, of values that flows match, and what may answer them.

use flowtable::Field;

use super::{Random, mac, value};
use crate::naive::wire;

/// A packet with right checksums.
pub fn packet(random: &mut Random) -> Vec<u8> {
    let (eth_type, payload) = match random.below(8) {
        0 => (random.pick(&[0x0806, 0x0806, 0x8035]), arp(random)),
        1 | 2 => (0x86dd, ipv6(random)),
        3 => mpls(random),
        4 => (0x88e7, pbb(random)),
        5 if random.one_in(3) => (random.pick(&[0x1234, 0x0030]), noise(random, 48)),
        _ => (0x0800, ipv4(random)),
    };
    let mut bytes = ethernet(random, eth_type, &payload);
    let tags = random.pick(&[0, 0, 0, 1, 1, 2, 3]);
    for _ in 0..tags {
        let tci = (random.below(2) as u16) << 13 | random.pick(&[0, 10, 10, 20, 30, 40]);
        wire::push_vlan(&mut bytes, random.pick(&[0x8100, 0x8100, 0x88a8]));
        bytes[14..16].copy_from_slice(&tci.to_be_bytes());
    }
    bytes
}

/// What may answer a packet: its ends change places.
pub fn answer(bytes: &[u8]) -> Vec<u8> {
    use Field::*;
    let mut answer = bytes.to_vec();
    let ends = [
        (EthSrc, EthDst),
        (Ipv4Src, Ipv4Dst),
        (Ipv6Src, Ipv6Dst),
        (TcpSrc, TcpDst),
        (UdpSrc, UdpDst),
    ];
    for (source, destination) in ends {
        wire::write(&mut answer, source, wire::value(bytes, destination));
        wire::write(&mut answer, destination, wire::value(bytes, source));
    }
    let (syn, syn_ack, ack) = (0x02, 0x12, 0x10);
    let flags = if wire::value(bytes, TcpFlags) == syn {
        syn_ack
    } else {
        ack
    };
    wire::write(&mut answer, TcpFlags, flags);
    for (field, query, reply) in [(Icmpv4Type, 8, 0), (Icmpv6Type, 128, 129)] {
        if wire::read(bytes, field) == Some(query) {
            wire::write(&mut answer, field, reply);
        }
    }
    answer
}

fn ethernet(random: &mut Random, eth_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for address in [mac(random), mac(random)] {
        bytes.extend(&address.to_be_bytes()[2..]);
    }
    bytes.extend(eth_type.to_be_bytes());
    bytes.extend(payload);
    wire::fix_checksums(&mut bytes);
    bytes
}

fn noise(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.number() as u8).collect()
}

fn bytes_of(value: u128, len: usize) -> Vec<u8> {
    value.to_be_bytes()[16 - len..].to_vec()
}

fn arp(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4, 0, 1 + random.below(3) as u8];
    for _ in 0..2 {
        bytes.extend(bytes_of(mac(random).into(), 6));
        bytes.extend(bytes_of(value(random, Field::ArpSpa), 4));
    }
    bytes
}

/// Protocol number and payload.
fn transport(random: &mut Random, v4: bool) -> (u8, Vec<u8>) {
    let port = |random: &mut Random| bytes_of(value(random, Field::TcpDst), 2);
    let body_len = random.below(30);
    let mut body = noise(random, body_len);
    let (proto, mut bytes) = match random.below(6) {
        0 => (
            17,
            [
                port(random),
                port(random),
                vec![0, 8 + body_len as u8, 0, 1],
            ]
            .concat(),
        ),
        1 if v4 => (
            1,
            vec![value(random, Field::Icmpv4Type) as u8, 0, 0, 0, 0, 1, 0, 2],
        ),
        1 => return (58, icmpv6(random)),
        2 => {
            body.resize((body_len / 4 + 1) * 4, 0);
            // No chunk that opens an association.
            body[0] |= 0x80;
            (
                132,
                [port(random), port(random), vec![0, 0, 0, 7, 0, 0, 0, 0]].concat(),
            )
        }
        3 if random.one_in(4) => (200, vec![]),
        _ => {
            let flags = value(random, Field::TcpFlags) as u8;
            let rest = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 2, 0, 0, 0, 0, 0];
            (6, [port(random), port(random), rest.to_vec()].concat())
        }
    };
    bytes.extend(body);
    (proto, bytes)
}

fn icmpv6(random: &mut Random) -> Vec<u8> {
    let kind = value(random, Field::Icmpv6Type) as u8;
    let mut bytes = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    if kind == 128 {
        return bytes;
    }
    bytes.extend(bytes_of(value(random, Field::NdTarget), 16));
    if !random.one_in(3) {
        bytes.extend([kind - 134, 1]);
        bytes.extend(bytes_of(mac(random).into(), 6));
    }
    bytes
}

fn ipv4(random: &mut Random) -> Vec<u8> {
    let (proto, payload) = transport(random, true);
    let options = if random.one_in(5) { 4 } else { 0 };
    let fragment: u16 = match random.below(8) {
        0 => 0x2000,
        1 => 0x0010,
        2 => 0x4000,
        _ => 0,
    };
    let total = (20 + options + payload.len()) as u16;
    let mut bytes = vec![0x45 + options as u8 / 4, random.pick(&[0, 0x28, 0x29])];
    bytes.extend(total.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([value(random, Field::IpTtl) as u8, proto, 0, 0]);
    bytes.extend(bytes_of(value(random, Field::Ipv4Src), 4));
    bytes.extend(bytes_of(value(random, Field::Ipv4Dst), 4));
    bytes.extend(vec![1; options]);
    bytes.extend(payload);
    bytes
}

fn ipv6(random: &mut Random) -> Vec<u8> {
    let (proto, mut payload) = transport(random, false);
    let mut next = proto;
    match random.below(8) {
        0 => {
            payload.splice(0..0, [next, 0, 1, 4, 0, 0, 0, 0]);
            next = 0;
        }
        1 => {
            // The later one does not belong to the first.
            let offset: u16 = random.pick(&[1, 0x410, 0]);
            let [high, low] = offset.to_be_bytes();
            payload.splice(0..0, [next, 0, high, low, 0, 0, 0, 9]);
            next = 44;
        }
        _ => {}
    }
    let class: u32 = random.pick(&[0, 0x28, 0x29]);
    let word = 6 << 28 | class << 20 | value(random, Field::Ipv6Flabel) as u32;
    let mut bytes = word.to_be_bytes().to_vec();
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, value(random, Field::IpTtl) as u8]);
    bytes.extend(bytes_of(value(random, Field::Ipv6Src), 16));
    bytes.extend(bytes_of(value(random, Field::Ipv6Dst), 16));
    bytes.extend(payload);
    bytes
}

fn mpls(random: &mut Random) -> (u16, Vec<u8>) {
    let (inner_type, inner) = match random.below(3) {
        0 => (0x86dd, ipv6(random)),
        _ => (0x0800, ipv4(random)),
    };
    let inner = ethernet(random, inner_type, &inner).split_off(14);
    let depth = 1 + random.below(3);
    let mut bytes = Vec::new();
    for level in 1..=depth {
        let label = value(random, Field::MplsLabel) as u32;
        let bottom = u32::from(level == depth) << 8;
        let ttl = value(random, Field::IpTtl) as u32;
        let entry = label << 12 | (value(random, Field::MplsTc) as u32) << 9 | bottom | ttl;
        bytes.extend(entry.to_be_bytes());
    }
    bytes.extend(inner);
    (random.pick(&[0x8847, 0x8847, 0x8848]), bytes)
}

fn pbb(random: &mut Random) -> Vec<u8> {
    let tag = (random.below(8) as u32) << 29 | value(random, Field::PbbIsid) as u32;
    let mut bytes = tag.to_be_bytes().to_vec();
    let inner = ipv4(random);
    bytes.extend(ethernet(random, 0x0800, &inner));
    bytes
}
