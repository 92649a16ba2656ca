//! What comes by tunnels of several nodes and networks at once, and what is wrong with some of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use flowtable::tunnel::{Completion, Header, Kind, Template};
use flowtable::{eth_type, ip_proto};
use openflow::OfPort;

use super::super::rewrite::testing::Spec;
use super::super::send::Outlet;
use super::super::testing::Rig;
use crate::pipeline::{self, Key, Local, Network, PortSpec, Tunnel, VlanMode};

const OWN_MAC: u64 = 0x0200_0000_0001;
const HOST: u32 = 1;
const UPLINK: u32 = 2;
const GUEST: u32 = 3;
/// The tunnel to the first node; that to the second is the next.
const FIRST: u32 = 10;
const NODES: u32 = 3;

fn node(number: u32) -> IpAddr {
    IpAddr::from([10, 0, 0, 2 + number as u8])
}

/// A host behind port 1, an uplink, a guest, and tunnels to nodes, each a port of this kind with
/// keys by flow.
fn rig(kind: Kind, key: Key, flows: &[&str]) -> Rig {
    let mut rig = Rig::new(3, &["in_port=2,actions=output:1"]);
    for number in 0..NODES {
        let spec = PortSpec {
            name: format!("t{number}"),
            of_port: Some(OfPort(FIRST + number)),
            vlan: VlanMode::default(),
            peer_name: None,
            tunnel: Some(Tunnel {
                kind,
                remote: Some(node(number)),
                local: Local::Any,
                in_key: key,
                out_key: key,
                port: kind.port(),
                checksum: None,
                tos: Some(0),
                ttl: Some(64),
                dont_fragment: true,
                tells_too_big: false,
            }),
        };
        let (port, _) = rig.bridge.switch.add_port(rig.bridge.id, &spec).unwrap();
        rig.bridge.switch.set_link(port, true);
        rig.processor.add_outlet(port, Outlet::Within);
    }
    flows.iter().for_each(|line| rig.bridge.flow(line));
    let host = pipeline::Host {
        port: rig.bridge.port(HOST),
        mac: OWN_MAC,
        addresses: vec!["10.0.0.1".parse().unwrap()],
        mtu: 1500,
    };
    rig.bridge.switch.set_network(Network {
        hosts: vec![host],
        ..Network::default()
    });
    rig.publish();
    rig
}

fn inner(seed: u64) -> Vec<u8> {
    let mut spec = Spec::new(eth_type::IPV4, ip_proto::UDP);
    spec.seed = seed;
    spec.build().bytes
}

/// A frame as a node sends it.
fn wrapped(kind: Kind, number: u32, key: u64, tos: u8, inner: &[u8]) -> Vec<u8> {
    let header = Header::new(&Template {
        kind,
        eth_dst: OWN_MAC,
        eth_src: 0x0200_0000_0100 + u64::from(number),
        source: node(number),
        destination: "10.0.0.1".parse().unwrap(),
        tos,
        ttl: 64,
        dont_fragment: true,
        port: kind.port(),
        key: Some(key),
        checksum: false,
        is_control: false,
        options: &[],
    });
    let mut frame = vec![0; header.len()];
    frame.extend(inner);
    let completion = Completion {
        port: 0xc000,
        identification: 0,
        tos,
        ttl: 64,
    };
    header.write(&mut frame, completion);
    frame
}

const NETWORKS: u64 = 5;

/// Frames of all nodes and networks by turns, two of the host's own among them.
fn mix(kind: Kind) -> Vec<Vec<u8>> {
    let mut frames: Vec<_> = (0..100)
        .map(|seed| {
            let number = (seed % u64::from(NODES)) as u32;
            wrapped(kind, number, seed % NETWORKS, 0, &inner(seed))
        })
        .collect();
    frames.insert(20, inner(1000));
    frames.insert(80, inner(1001));
    frames
}

/// Batches are unwrapped as a whole, and each flow's packets leave in their order, tagged by their
/// network; packet by packet the same comes out.
#[test]
fn a_batch_of_several_nodes_and_networks_is_unwrapped_as_one() {
    let to_vlan = |number: u32, key| {
        format!(
            "in_port={},tun_id={key},actions=push_vlan:0x8100,set_field:{}->vlan_vid,output:3",
            FIRST + number,
            0x1000 + 100 * u64::from(number + 1) + key
        )
    };
    let flows: Vec<_> = (0..NODES)
        .flat_map(|number| (0..NETWORKS).map(move |key| to_vlan(number, key)))
        .collect();
    let flows: Vec<&str> = flows.iter().map(String::as_str).collect();
    for kind in [Kind::Vxlan, Kind::Geneve, Kind::Gre] {
        let mut outcomes = Vec::new();
        for size in [64, 1] {
            let mut rig = rig(kind, Key::Flow, &flows);
            for frames in mix(kind).chunks(size) {
                rig.receive(UPLINK, frames);
            }
            assert_eq!(rig.sent(HOST), [inner(1000), inner(1001)]);
            let sent = rig.sent(GUEST);
            let mut by_vlan = BTreeMap::<_, Vec<_>>::new();
            for frame in sent {
                let vlan = u16::from_be_bytes([frame[14], frame[15]]);
                let plain = [&frame[..12], &frame[16..]].concat();
                by_vlan.entry(vlan).or_default().push(plain);
            }
            assert_eq!(rig.drops(UPLINK), []);
            // Each packet is counted twice: as it came, and as it came by the tunnel.
            assert_eq!(rig.counted().0, 102 + 100);
            assert_eq!(rig.pools.in_use(), 0);
            outcomes.push(by_vlan);
        }
        assert_eq!(outcomes[0], outcomes[1]);
        let mut expected = BTreeMap::<_, Vec<_>>::new();
        for seed in 0..100_u64 {
            let vlan = 100 * (seed as u16 % NODES as u16 + 1) + (seed % NETWORKS) as u16;
            expected.entry(vlan).or_default().push(inner(seed));
        }
        assert_eq!(outcomes[0], expected, "{kind:?}");
    }
}

#[test]
fn packets_of_each_tunnel_are_a_batch_again() {
    let mut rig = rig(Kind::Vxlan, Key::Flow, &["priority=1,actions=output:3"]);
    rig.receive(UPLINK, &mix(Kind::Vxlan));
    rig.processor.statistics();
    // All in the cache now: two batches that came in, and one for each tunnel of each.
    rig.receive(UPLINK, &mix(Kind::Vxlan));
    let statistics = rig.processor.statistics();
    assert_eq!((statistics.misses, statistics.recirculated), (0, 100));
    assert_eq!(statistics.batches, u64::from(2 + 2 * NODES));
}

/// A change of a good packet, and the reason for which it is dropped.
#[test]
fn what_is_wrong_with_a_packet_by_a_tunnel_is_its_reason() {
    const FLAGS: usize = 42;
    // The first bytes of the frame within become an option's header.
    const CRITICAL: [(usize, u8); 3] = [(FLAGS, 1), (52, 0x80), (53, 0)];
    const ENDLESS: [(usize, u8); 3] = [(FLAGS, 1), (52, 0), (53, 2)];
    let vxlan = || wrapped(Kind::Vxlan, 0, 7, 0, &inner(1));
    let geneve = || wrapped(Kind::Geneve, 0, 7, 0, &inner(1));
    let gre = || wrapped(Kind::Gre, 0, 7, 0, &inner(1));
    let with = |mut frame: Vec<u8>, changes: &[(usize, u8)]| {
        for (at, value) in changes {
            frame[*at] = *value;
        }
        mend(&mut frame);
        frame
    };
    let short = |mut frame: Vec<u8>, len: usize| {
        frame.truncate(len);
        frame
    };
    let cut = |mut frame: Vec<u8>, len: usize| {
        frame.truncate(len);
        frame[16..18].copy_from_slice(&(len as u16 - 14).to_be_bytes());
        mend(&mut frame);
        frame
    };
    let cases = [
        (Kind::Vxlan, with(vxlan(), &[(FLAGS, 0)]), "tunnel_header"),
        (Kind::Vxlan, with(vxlan(), &[(49, 1)]), "tunnel_header"),
        (Kind::Vxlan, short(vxlan(), 60), "tunnel_length"),
        (Kind::Vxlan, cut(vxlan(), 48), "tunnel_length"),
        (Kind::Vxlan, cut(vxlan(), 60), "tunnel_length"),
        (Kind::Vxlan, with(vxlan(), &[(48, 8)]), "tunnel_unknown"),
        (Kind::Vxlan, with(vxlan(), &[(29, 99)]), "tunnel_unknown"),
        (Kind::Vxlan, with(vxlan(), &[(20, 0x20)]), "tunnel_fragment"),
        (Kind::Vxlan, checked(vxlan()), "tunnel_checksum"),
        (Kind::Vxlan, spoilt(vxlan()), "tunnel_checksum"),
        (Kind::Geneve, with(geneve(), &[(44, 8)]), "tunnel_header"),
        (Kind::Geneve, with(geneve(), &[(42, 0x40)]), "tunnel_header"),
        (Kind::Geneve, with(geneve(), &CRITICAL), "tunnel_option"),
        (Kind::Geneve, with(geneve(), &ENDLESS), "tunnel_length"),
        (Kind::Gre, with(gre(), &[(36, 8)]), "tunnel_header"),
        (Kind::Gre, with(gre(), &[(34, 0x60)]), "tunnel_header"),
        (Kind::Gre, cut(gre(), 38), "tunnel_length"),
    ];
    for kind in [Kind::Vxlan, Kind::Geneve, Kind::Gre] {
        let flows = ["priority=1,in_port=10,actions=output:3"];
        let mut rig = rig(kind, Key::Value(7), &flows);
        let mut expected = BTreeMap::new();
        let of_kind = cases.iter().filter(|case| case.0 == kind);
        for (number, (_, frame, reason)) in of_kind.enumerate() {
            // A batch and a packet on its own go different ways.
            let good = wrapped(kind, 0, 7, 0, &inner(2));
            rig.receive(UPLINK, &[good.clone(), frame.clone(), good]);
            rig.receive(UPLINK, std::slice::from_ref(frame));
            *expected.entry(*reason).or_default() += 2_u64;
            let drops: BTreeMap<_, _> = rig.drops(UPLINK).into_iter().collect();
            assert_eq!(drops, expected, "{number}, {kind:?}");
            assert_eq!(rig.sent(GUEST), [inner(2), inner(2)], "{number}, {kind:?}");
            assert_eq!(rig.sent(HOST), Vec::<Vec<u8>>::new(), "{number}, {kind:?}");
            assert_eq!(rig.pools.in_use(), 0);
        }
    }
}

/// RFC 6040 §4.2, figure 4: what arrives of both marks, outer and inner; none is dropped.
#[test]
fn marks_of_congestion_are_joined_as_the_standard_says() {
    const NOT: u8 = 0;
    const ECT1: u8 = 1;
    const ECT0: u8 = 2;
    const CE: u8 = 3;
    let arrives = [
        (NOT, [Some(NOT), Some(NOT), Some(NOT), None]),
        (ECT0, [Some(ECT0), Some(ECT1), Some(ECT0), Some(CE)]),
        (ECT1, [Some(ECT1), Some(ECT1), Some(ECT1), Some(CE)]),
        (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
    ];
    let mut rig = rig(Kind::Vxlan, Key::Flow, &["in_port=10,actions=output:3"]);
    for (within, outcomes) in arrives {
        for (outer, expected) in (0..4).zip(outcomes) {
            let mut frame = inner(1);
            frame[15] = frame[15] & !3 | within;
            mend(&mut frame);
            rig.receive(UPLINK, &[wrapped(Kind::Vxlan, 0, 7, outer, &frame)]);
            let sent = rig.sent(GUEST);
            let mark = sent.first().map(|frame| frame[15] & 3);
            assert_eq!(mark, expected, "outer {outer}, within {within}");
            if let Some(frame) = sent.first() {
                let mut right = frame.clone();
                mend(&mut right);
                assert_eq!(*frame, right, "the header's checksum");
            }
        }
    }
    assert_eq!(rig.drops(UPLINK), [("tunnel_congestion", 1)]);
}

/// Makes the checksum of a frame's IPv4 header right.
fn mend(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let words = frame[14..34].as_chunks::<2>().0.iter();
    let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// With a checksum of UDP that is none.
fn checked(mut frame: Vec<u8>) -> Vec<u8> {
    frame[40..42].copy_from_slice(&[0x12, 0x34]);
    frame
}

/// With a wrong checksum of the IPv4 header.
fn spoilt(mut frame: Vec<u8>) -> Vec<u8> {
    frame[24] ^= 1;
    frame
}
