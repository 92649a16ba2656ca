//! What packets are translated to, and that replies find the way back.

use std::collections::HashSet;

use flowtable::conntrack::{
    Body, Embedded, Item, Nat, Packet, Range, Refusal, Request, Translation, Tuple, Verdict,
    ct_state, mapped,
};

use super::bench::{Bench, EST, NEW, RPL, ZONE, commit, echo, item, look, reversed, tuple, udp};

const SNAT: u32 = ct_state::SNAT;
const DNAT: u32 = ct_state::DNAT;

fn range(first: u32, last: u32, ports: Option<(u16, u16)>) -> Option<Range> {
    Some(Range {
        addresses: Some((mapped(first), mapped(last))),
        ports,
    })
}

fn source(first: u32, last: u32, ports: Option<(u16, u16)>) -> Request {
    let nat = Nat {
        source: range(first, last, ports),
        ..Nat::default()
    };
    Request {
        nat: Some(nat),
        ..commit()
    }
}

fn destination(address: u32, ports: Option<(u16, u16)>) -> Request {
    let nat = Nat {
        destination: range(address, address, ports),
        ..Nat::default()
    };
    Request {
        nat: Some(nat),
        ..commit()
    }
}

/// `ct(nat)`: as the connection says.
fn as_said() -> Request {
    Request {
        nat: Some(Nat::default()),
        ..look()
    }
}

fn translation(verdict: &Verdict) -> Translation {
    verdict.translation.expect("a translation")
}

/// The packet as it leaves.
fn translated(packet: Packet, verdict: &Verdict) -> Packet {
    Packet {
        tuple: translation(verdict).to,
        ..packet
    }
}

#[test]
fn source_and_back() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1000));
    let verdict = bench.track(&source(99, 99, None), packet);
    assert_eq!(verdict.bits, NEW | SNAT);
    assert_eq!(verdict.original, packet.tuple);
    let change = translation(&verdict);
    assert!(change.source && !change.destination);
    let expected = Tuple {
        src: mapped(99),
        ..packet.tuple
    };
    assert_eq!(change.to, expected, "the port is free");
    let reply = reversed(translated(packet, &verdict));
    let verdict = bench.track(&as_said(), reply);
    assert_eq!((verdict.bits, verdict.original), (RPL | DNAT, packet.tuple));
    assert_eq!(translation(&verdict).to, packet.tuple.reversed());
    assert!(translation(&verdict).destination && !translation(&verdict).source);
    // Without nat nothing is translated, and nobody says that it was.
    let verdict = bench.track(&look(), reply);
    assert_eq!((verdict.bits, verdict.translation), (RPL, None));
    let verdict = bench.track(&as_said(), packet);
    assert_eq!(
        (verdict.bits, translation(&verdict).to),
        (EST | SNAT, expected)
    );
}

#[test]
fn destination_and_back() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1000));
    let verdict = bench.track(&destination(50, Some((8080, 8080))), packet);
    assert_eq!(verdict.bits, NEW | DNAT);
    let to = translation(&verdict).to;
    assert_eq!((to.dst, to.dst_port), (mapped(50), 8080));
    assert_eq!((to.src, to.src_port), (packet.tuple.src, 1000));
    let verdict = bench.track(&as_said(), reversed(translated(packet, &verdict)));
    assert_eq!(verdict.bits, RPL | SNAT);
    assert_eq!(translation(&verdict).to, packet.tuple.reversed());
}

#[test]
fn both_at_once_as_for_a_client_beside_its_server() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1000));
    let nat = Nat {
        source: range(99, 99, None),
        destination: range(1, 1, Some((80, 80))),
        ..Nat::default()
    };
    let request = Request {
        nat: Some(nat),
        ..commit()
    };
    let verdict = bench.track(&request, packet);
    assert_eq!(verdict.bits, NEW | SNAT | DNAT);
    let to = translation(&verdict).to;
    assert_eq!((to.src, to.dst, to.dst_port), (mapped(99), mapped(1), 80));
    let verdict = bench.track(&as_said(), reversed(translated(packet, &verdict)));
    assert_eq!(verdict.bits, RPL | SNAT | DNAT);
    assert_eq!(translation(&verdict).to, packet.tuple.reversed());
}

#[test]
fn a_packet_that_was_translated_is_still_of_its_connection() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1000));
    let verdict = bench.track(&source(99, 99, None), packet);
    for (packet, bits) in [
        (translated(packet, &verdict), NEW | SNAT),
        (reversed(packet), RPL | DNAT),
    ] {
        let again = Item {
            packet,
            known: None,
            is_translated: true,
        };
        let verdict = bench.track_item(&source(99, 99, None), again);
        assert_eq!((verdict.bits, verdict.translation), (bits, None));
        assert_eq!(bench.connections().len(), 1);
    }
}

#[test]
fn ports_that_clash_are_changed_and_then_there_is_none() {
    let mut bench = Bench::new(1000);
    let request = source(99, 99, Some((2000, 2009)));
    let mut ports = HashSet::new();
    for client in 1..=10 {
        let verdict = bench.track(&request, udp(tuple(17, client, 1000)));
        ports.insert(translation(&verdict).to.src_port);
    }
    assert_eq!(ports, (2000..=2009).collect());
    let verdict = bench.track(&request, udp(tuple(17, 11, 1000)));
    assert_eq!(
        (verdict.bits, verdict.refusal),
        (NEW, Some(Refusal::NoTuple))
    );
    assert_eq!(
        (bench.table().count(ZONE), bench.connections().len()),
        (10, 10)
    );
    // To another destination the ports are free.
    let mut elsewhere = udp(tuple(17, 11, 1000));
    elsewhere.tuple.dst_port = 81;
    assert_eq!(bench.track(&request, elsewhere).refusal, None);
    bench.sleep(62_000);
    bench.sleep(0);
    assert_eq!(
        bench.track(&request, udp(tuple(17, 11, 1000))).refusal,
        None
    );
}

#[test]
fn own_ports_are_kept_where_they_can_be() {
    let mut bench = Bench::new(4000);
    let mut tuples = HashSet::new();
    for client in 1..=2000 {
        let verdict = bench.track(&source(99, 99, None), udp(tuple(17, client, 5000)));
        let to = translation(&verdict).to;
        assert!(tuples.insert(to));
        assert_eq!(to.src_port == 5000, client == 1);
        assert!(to.src_port >= 1024);
    }
}

#[test]
fn zeros_change_only_ports_that_clash() {
    let mut bench = Bench::new(1000);
    let nat = Nat {
        source: Some(Range::default()),
        ..Nat::default()
    };
    let request = Request {
        nat: Some(nat),
        ..commit()
    };
    let packet = udp(tuple(17, 1, 1000));
    let verdict = bench.track(&request, packet);
    assert_eq!(
        (verdict.bits, translation(&verdict).to),
        (NEW | SNAT, packet.tuple)
    );
    // Another connection whose replies would look the same: only its port changes.
    let other = udp(tuple(17, 2, 1000));
    bench.track(&source(3, 3, None), other);
    let verdict = bench.track(&request, udp(tuple(17, 3, 1000)));
    let to = translation(&verdict).to;
    assert_eq!(to.src, mapped(3));
    assert_ne!(to.src_port, 1000);
}

#[test]
fn replies_of_one_are_never_those_of_another() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1000));
    bench.track(&source(2, 2, None), packet);
    // What looks like the translated connection cannot be one of its own.
    let verdict = bench.track(&commit(), udp(tuple(17, 2, 1000)));
    assert_eq!(verdict.refusal, Some(Refusal::NoTuple));
    assert_eq!(bench.connections().len(), 1);
}

#[test]
fn identifiers_of_queries_are_translated_like_ports() {
    let mut bench = Bench::new(1000);
    let request = source(99, 99, None);
    let mut identifiers = HashSet::new();
    for client in 1..=3 {
        let packet = echo(client, 3000);
        let verdict = bench.track(&request, packet);
        let there = translated(packet, &verdict);
        assert!(identifiers.insert(there.tuple.src_port));
        assert_eq!(
            (there.tuple.src, there.tuple.dst_port),
            (mapped(99), 8 << 8)
        );
        let verdict = bench.track(&as_said(), reversed(there));
        assert_eq!(translation(&verdict).to, packet.tuple.reversed());
    }
}

#[test]
fn errors_are_translated_inside_and_out() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1000));
    let verdict = bench.track(&source(99, 99, Some((2000, 2000))), packet);
    // A router tells 99 that it could not deliver what it sees as 99's packet.
    let embedded = Embedded { l3: 42, l4: 62 };
    let error = Packet {
        tuple: translation(&verdict).to.reversed(),
        body: Body::Error(embedded),
    };
    let verdict = bench.track(&as_said(), error);
    let related = ct_state::TRK | ct_state::REL | ct_state::RPL | DNAT;
    assert_eq!(verdict.bits, related);
    let change = translation(&verdict);
    assert_eq!(
        (change.embedded, change.to),
        (Some(embedded), packet.tuple.reversed())
    );
    assert!(change.destination && !change.source);
}

#[test]
fn protocols_without_ports_have_one_connection_for_each_address() {
    let mut bench = Bench::new(1000);
    let gre = |client| {
        let mut packet = udp(tuple(47, client, 0));
        packet.tuple.dst_port = 0;
        packet
    };
    let request = source(98, 99, None);
    let verdicts = [1, 2, 3].map(|client| bench.track(&request, gre(client)));
    let addresses: HashSet<_> = verdicts[..2]
        .iter()
        .map(|v| translation(v).to.src)
        .collect();
    assert_eq!(addresses, [98, 99].map(mapped).into());
    assert_eq!(verdicts[2].refusal, Some(Refusal::NoTuple));
}

#[test]
fn version_6() {
    let mut bench = Bench::new(1000);
    let base = Tuple {
        src: [0xfd00 << 48, 1],
        dst: [0xfd00 << 48, 2],
        version: 6,
        ..tuple(17, 0, 1000)
    };
    let pool = Range {
        addresses: Some(([0x2001 << 48, u64::MAX], [0x2001 << 48 | 1, 3])),
        ports: None,
    };
    let nat = Nat {
        source: Some(pool),
        ..Nat::default()
    };
    let request = Request {
        nat: Some(nat),
        ..commit()
    };
    for client in 0..100 {
        let mut packet = udp(base);
        packet.tuple.src[1] += client;
        let verdict = bench.track(&request, packet);
        let to = translation(&verdict).to;
        let wide = u128::from(to.src[0]) << 64 | u128::from(to.src[1]);
        let first = u128::from(0x2001_u64 << 48) << 64 | u128::from(u64::MAX);
        assert!((first..=first + 4).contains(&wide), "{wide:x}");
        let verdict = bench.track(&as_said(), reversed(translated(packet, &verdict)));
        assert_eq!(translation(&verdict).to, packet.tuple.reversed());
    }
}

#[test]
fn a_batch_of_clashing_connections() {
    let mut bench = Bench::new(1000);
    let items: Vec<Item> = (1..=60)
        .map(|client| item(udp(tuple(17, client, 9))))
        .collect();
    let verdicts = bench.track_all(&source(99, 99, None), &items);
    let tuples: HashSet<Tuple> = verdicts.iter().map(|v| translation(v).to).collect();
    assert_eq!(tuples.len(), 60);
}
