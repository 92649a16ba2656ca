//! Straight lines against the operations that they were made of, one by one.

use std::ops::ControlFlow::{Break, Continue};

use flowtable::{Depth, Field, FlowKey, parse, parse_network};
use pmd::{Packet, Pools};
use proptest::prelude::*;

use super::super::edit::{Editor, Parcel};
use super::super::processor::Now;
use super::super::rewrite::testing::spec;
use super::super::rewrite::{Fate, Headers};
use super::super::testing::pools;
use super::{Counting, Way, run, run_quick};
use crate::action::{DropReason, Expiry, Op, PortNo, Program, Straight, Tallies};

/// Operations of which a straight line can be.
fn op() -> impl Strategy<Value = Op> {
    use Field::*;
    let fields = vec![
        EthDst, EthSrc, EthDst, EthSrc, VlanVid, VlanPcp, EthType, IpDscp, IpEcn, IpTtl, Ipv4Src,
        Ipv4Dst, Ipv6Src, Ipv6Dst, TcpDst, UdpSrc, SctpDst, Icmpv4Type, PbbIsid, MplsLabel,
    ];
    let mask = prop_oneof![3 => Just(u128::MAX), 1 => any::<u128>()];
    let set = (prop::sample::select(fields), any::<u128>(), mask);
    prop_oneof![
        6 => set.prop_map(|(field, value, mask)| Op::SetField { field, value, mask }),
        2 => Just(Op::DecNwTtl(Expiry::default())),
        2 => Just(Op::PopVlan),
        1 => prop::sample::select(vec![0x8100, 0x88a8]).prop_map(Op::PushVlan),
        1 => Just(Op::PushMpls(0x8847)),
        1 => Just(Op::PopMpls(0x0800)),
        1 => Just(Op::PushPbb(0x88e7)),
        1 => Just(Op::PopPbb),
        1 => Just(Op::DecMplsTtl(None)),
    ]
}

fn straight(ops: &[Op]) -> Straight {
    *sealed(ops).straight.expect("a straight line")
}

fn sealed(ops: &[Op]) -> Program {
    let ops = ops.iter().cloned().chain([Op::Output(PortNo(2))]);
    let program = Program {
        ops: ops.collect(),
        ..Program::default()
    };
    program.sealed()
}

fn packet(pools: &Pools, bytes: &[u8], partial: Option<pmd::Offload>) -> Packet {
    let mut packet = Packet::from_bytes(pools, bytes).unwrap();
    if let Some(offload) = partial {
        assert!(packet.set_offload(offload));
    }
    packet
}

/// What the operations make of a packet, one by one.
fn one_by_one(ops: &[Op], packet: Packet) -> (Fate, Packet) {
    let key = FlowKey::default();
    let mut parcel = Parcel {
        packet,
        key: &key,
        headers: Headers::UNKNOWN,
        bytes: 0,
        origin: None,
        carries: false,
        tracked: None,
    };
    for op in ops {
        if let Break(reason) = parcel.editor().edit(op) {
            return (Break(reason), parcel.packet);
        }
    }
    (Continue(()), parcel.packet)
}

/// What the straight line makes of one that was parsed as deep as it asks.
fn in_line(ops: &[Op], mut packet: Packet) -> (Fate, Packet) {
    let straight = straight(ops);
    let mut key = FlowKey::default();
    let layout = match straight.depth {
        Depth::Nothing | Depth::Link => None,
        Depth::Network => Some(parse_network(packet.data(), &mut key)),
        Depth::All => Some(parse(packet.data(), &mut key)),
    };
    let headers = layout.map(|layout| Headers::new(layout, &key));
    let mut headers = headers.unwrap_or(Headers::UNKNOWN);
    let mut editor = Editor {
        packet: &mut packet,
        headers: &mut headers,
    };
    let counting = Counting {
        tallies: &mut Tallies::default(),
        bytes: 0,
        now: Now::default(),
    };
    let fate = match run(&straight, &mut editor, &key, counting) {
        Way::Output(PortNo(2)) => Continue(()),
        Way::Ended(_, reason) => Break(reason),
        other => panic!("{other:?}"),
    };
    (fate, packet)
}

/// What its quick form makes of one whose network header was parsed, if it has one.
fn quickly(ops: &[Op], mut packet: Packet) -> Option<(Fate, Packet)> {
    let quick = sealed(ops).quick?;
    let mut key = FlowKey::default();
    let headers = Headers::new(parse_network(packet.data(), &mut key), &key);
    if quick.decrements && !headers.has_network() {
        return None;
    }
    let fate = run_quick(&quick, &mut packet, &headers);
    Some((fate, packet))
}

fn assert_alike(ops: &[Op], bytes: &[u8], partial: Option<pmd::Offload>, pools: &Pools) {
    let (fate, expected) = one_by_one(ops, packet(pools, bytes, partial));
    let in_line = in_line(ops, packet(pools, bytes, partial));
    let quickly = quickly(ops, packet(pools, bytes, partial));
    for (found_fate, found) in [Some(in_line), quickly].into_iter().flatten() {
        assert_eq!(found_fate, fate, "{ops:?} on {bytes:02x?}");
        if fate == Continue(()) {
            assert_eq!(found.data(), expected.data(), "{ops:?} on {bytes:02x?}");
            assert_eq!(found.offload(), expected.offload());
        }
    }
}

#[test]
fn a_straight_line_does_what_its_operations_do() {
    let pools = pools();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(4000));
    let cases = (
        spec(),
        prop::collection::vec(op(), 0..6),
        prop_oneof![3 => Just(usize::MAX), 1 => 0usize..60],
        prop::option::weighted(0.1, any::<u16>()),
    );
    let outcome = runner.run(&cases, |(mut spec, ops, length, third_tag)| {
        if let Some(tag) = third_tag {
            spec.tags = vec![tag; 3];
        }
        let built = spec.build();
        let bytes = &built.bytes[..built.bytes.len().min(length)];
        let offset = if spec.proto == flowtable::ip_proto::TCP {
            16
        } else {
            6
        };
        let partial = built.partial().filter(|_| length == usize::MAX);
        let partial = partial.map(|start| pmd::Offload {
            checksum: Some(pmd::PartialChecksum { start, offset }),
            ..pmd::Offload::default()
        });
        assert_alike(&ops, bytes, partial, &pools);
        Ok(())
    });
    outcome.unwrap();
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn writes_to_the_addresses_become_one() {
    let set = |field| Op::SetField {
        field,
        value: 0x0200_0000_0007,
        mask: u128::MAX,
    };
    let ops = [
        set(Field::EthDst),
        Op::PopVlan,
        Op::DecNwTtl(Expiry::default()),
        set(Field::EthSrc),
    ];
    let line = straight(&ops);
    assert_eq!(line.edits.len(), 3);
    assert_eq!(line.depth, Depth::Network);
    let ops = [set(Field::EthDst), Op::PushPbb(0x88e7), set(Field::EthSrc)];
    assert_eq!(straight(&ops).edits.len(), 3, "the first has moved");
    let tag = Op::SetField {
        field: Field::VlanVid,
        value: 7,
        mask: 0xfff,
    };
    assert_eq!(straight(&[Op::PushVlan(0x8100), tag]).edits.len(), 1);
}

#[test]
fn what_copies_or_tells_control_is_no_straight_line() {
    let line = |ops: Vec<Op>, drop| {
        let program = Program {
            ops: ops.into(),
            drop,
            ..Program::default()
        };
        program.sealed().straight
    };
    let out = || Op::Output(PortNo(2));
    assert!(line(vec![out(), out()], None).is_none());
    assert!(line(vec![Op::Recirculate(7)], None).is_none());
    assert!(line(vec![Op::Clone([out()].into()), out()], None).is_none());
    assert!(line(vec![], Some(DropReason::NoOutput)).is_some());
    assert!(line(vec![Op::PopVlan], Some(DropReason::NoOutput)).is_none());
}
