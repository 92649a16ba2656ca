//! How connections come, what they carry, and how they end.

use flowtable::conntrack::{
    Body, Direction, Embedded, Expectation, Helper, Item, Packet, Refusal, Request, Segment, Table,
    Timeout, Tuple, ct_state, mapped,
};

use super::bench::{
    Bench, EST, INV, NEW, RPL, ZONE, commit, echo, item, look, reversed, tcp, tuple, udp,
};

const REL: u32 = ct_state::TRK | ct_state::REL;

#[test]
fn udp_is_new_until_it_is_answered() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1000));
    assert_eq!(bench.track(&look(), packet).bits, NEW);
    assert_eq!(bench.connections(), [], "nobody committed");
    assert_eq!(bench.track(&commit(), packet).bits, NEW);
    assert_eq!(bench.connections()[0].expires_s, 61);
    assert_eq!(bench.track(&look(), packet).bits, NEW);
    assert!(!bench.connections()[0].is_assured);
    assert_eq!(bench.track(&look(), reversed(packet)).bits, RPL);
    assert_eq!(bench.track(&look(), packet).bits, EST);
    let connection = bench.connections()[0];
    assert!(connection.is_assured && connection.is_replied);
    assert_eq!((connection.expires_s, connection.tcp), (31, None));
    bench.sleep(29_000);
    assert_eq!(bench.track(&look(), packet).bits, EST, "renewed");
    bench.sleep(32_000);
    assert_eq!(bench.track(&look(), packet).bits, NEW, "over");
    assert_eq!(
        (bench.connections().len(), bench.table().count(ZONE)),
        (0, 0)
    );
    assert_eq!(bench.tracker.tally().expired, 1);
}

#[test]
fn echo_by_identifier_and_only_by_request() {
    let mut bench = Bench::new(1000);
    let request = echo(1, 77);
    assert_eq!(bench.track(&commit(), reversed(request)).bits, INV);
    assert_eq!(bench.track(&commit(), request).bits, NEW);
    assert_eq!(bench.track(&commit(), request).bits, NEW);
    assert_eq!(bench.track(&commit(), reversed(request)).bits, RPL);
    assert_eq!(bench.track(&commit(), request).bits, EST);
    assert_eq!(bench.track(&look(), echo(1, 78)).bits, NEW);
    let verdict = bench.track(&look(), reversed(request));
    assert_eq!(verdict.original.told_ports(), (8, 0));
}

fn error(tuple: Tuple) -> Packet {
    let embedded = Embedded { l3: 42, l4: 62 };
    Packet {
        tuple,
        body: Body::Error(embedded),
    }
}

#[test]
fn errors_are_related_or_invalid() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1000));
    let back = error(packet.tuple.reversed());
    assert_eq!(bench.track(&commit(), back).bits, INV);
    assert_eq!(bench.connections(), []);
    bench.track(&commit(), packet);
    let before = bench.connections();
    let verdict = bench.track(&commit(), back);
    assert_eq!(verdict.bits, REL | ct_state::RPL);
    assert_eq!(verdict.original, packet.tuple);
    assert_eq!(bench.track(&commit(), error(packet.tuple)).bits, REL);
    assert_eq!(bench.connections(), before, "an error is no reply");
}

#[test]
fn marks_and_labels_change_by_mask_and_stay() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1000));
    let paint = Request {
        mark: Some((0x1234_5678, 0xffff)),
        label: Some(([1, 0xff], [0, 0xf0])),
        ..commit()
    };
    let verdict = bench.track(&paint, packet);
    assert_eq!((verdict.mark, verdict.label), (0x5678, [0, 0xf0]));
    let verdict = bench.track(&look(), reversed(packet));
    assert_eq!((verdict.mark, verdict.label), (0x5678, [0, 0xf0]));
    let paint = Request {
        mark: Some((0xabcd_0000, 0xffff_0000)),
        label: Some(([7, 0], [u64::MAX, 0])),
        ..commit()
    };
    bench.track(&paint, packet);
    let connection = bench.connections()[0];
    assert_eq!(
        (connection.mark, connection.label),
        (0xabcd_5678, [7, 0xf0])
    );
    let other = bench.track(&look(), udp(tuple(17, 2, 1000)));
    assert_eq!((other.mark, other.label), (0, [0; 2]));
}

#[test]
fn zones_do_not_see_each_other() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1000));
    assert_eq!(bench.bits(packet), NEW);
    let mut other = reversed(packet);
    other.tuple.zone = ZONE + 1;
    assert_eq!(bench.bits(other), NEW);
    assert_eq!(bench.bits(reversed(packet)), RPL);
    assert_eq!(bench.table().count(ZONE + 1), 1);
    bench.table().flush_zone(ZONE);
    assert_eq!(bench.table().count(ZONE), 0);
    assert_eq!(bench.bits(reversed(other)), RPL);
    assert_eq!(bench.bits(reversed(packet)), NEW, "flushed");
    assert_eq!(bench.connections().len(), 2);
    bench.table().flush();
    assert_eq!(bench.connections(), []);
}

#[test]
fn flushed_records_are_used_again() {
    let mut bench = Bench::new(64);
    let capacity = bench.table().capacity() as u32;
    for round in 0..20 {
        for client in 0..capacity {
            let packet = udp(tuple(17, client, round));
            assert_eq!(bench.bits(packet), NEW);
            assert_eq!(bench.bits(reversed(packet)), RPL);
        }
        let tally = bench.tracker.tally();
        assert_eq!((tally.refused_full, tally.evicted), (0, 0), "{round}");
        bench.table().flush_zone(ZONE);
        bench.sleep(0);
        bench.sleep(0);
    }
    assert_eq!(bench.tracker.tally().created, 20 * u64::from(capacity));
}

#[test]
fn the_memory_of_all_is_taken_back_in_small_steps() {
    let mut bench = Bench::new(20_000);
    for client in 0..10_000 {
        bench.bits(udp(tuple(17, client, 1)));
    }
    assert_eq!(bench.table().taken(), 10_000);
    assert_eq!(bench.table().flush(), 10_000);
    assert_eq!(bench.connections(), []);
    let mut steps = 0;
    while bench.tracker.maintain(0, 64) {
        steps += 1;
        let left = 10_000 - bench.table().taken();
        assert!(left <= 2 * 64 * steps, "{left} in {steps} steps");
    }
    assert_eq!(bench.table().taken(), 0);
    assert_eq!(bench.table().flush(), 0);
}

#[test]
fn memory_is_warmed_where_connections_were_made_and_stays_what_it_is() {
    let mut bench = Bench::new(64_000);
    assert_eq!(bench.table().warm(1000), 0, "nobody made one");
    let first = udp(tuple(17, 1, 1));
    bench.bits(first);
    assert_eq!(bench.table().warm(1000), 1000);
    let before = bench.connections();
    let mut warmed = 1000;
    loop {
        match bench.table().warm(1000) {
            0 => break,
            more => warmed += more,
        }
    }
    assert!((4000..64_000).contains(&warmed), "a shard of {warmed}");
    assert_eq!(bench.connections(), before);
    for client in 2..60_000 {
        assert_eq!(bench.bits(udp(tuple(17, client, 1))), NEW);
    }
    assert_eq!(bench.bits(reversed(first)), RPL);
}

#[test]
fn a_zone_has_no_more_than_its_limit() {
    let mut bench = Bench::new(1000);
    bench.table().set_limit(ZONE, Some(Some(2)));
    let packets = [1, 2, 3].map(|client| udp(tuple(17, client, 1000)));
    let refusals = packets.map(|packet| bench.track(&commit(), packet).refusal);
    assert_eq!(refusals, [None, None, Some(Refusal::ZoneLimit)]);
    assert_eq!(
        bench.track(&look(), packets[2]).refusal,
        None,
        "asks for nothing"
    );
    assert_eq!(bench.track(&look(), reversed(packets[0])).bits, RPL);
    bench.sleep(62_000);
    assert_eq!(bench.track(&commit(), packets[2]).refusal, None);
    assert_eq!(bench.tracker.tally().refused_zone, 1);
}

#[test]
fn half_open_connections_go_when_the_table_is_full_and_no_others() {
    let mut bench = Bench::new(2048);
    let capacity = bench.table().capacity() as u32;
    let kept = capacity / 2;
    for client in 0..kept {
        let packet = udp(tuple(17, client, 1));
        bench.bits(packet);
        bench.bits(reversed(packet));
    }
    for client in 0..20 * capacity {
        let verdict = bench.track(&commit(), udp(tuple(17, client, 2)));
        assert_eq!((verdict.refusal, verdict.bits), (None, NEW), "{client}");
    }
    for client in 0..kept {
        assert_eq!(bench.bits(udp(tuple(17, client, 1))), EST, "{client}");
    }
    let newest = bench.track(&look(), udp(tuple(17, 20 * capacity - 1, 2)));
    assert!(newest.known.is_some());
    let oldest = bench.track(&look(), udp(tuple(17, 0, 2)));
    assert_eq!(oldest.known, None);
    let tally = bench.tracker.tally();
    let there = bench.connections().len() as u64;
    assert_eq!(tally.created - tally.evicted, there);
    assert!(there > u64::from(capacity) * 9 / 10);
}

#[test]
fn a_table_full_of_established_connections_takes_no_more() {
    let mut bench = Bench::new(64);
    let capacity = bench.table().capacity() as u32;
    for client in 0..capacity {
        let packet = udp(tuple(17, client, 1));
        assert_eq!(bench.bits(packet), NEW);
        assert_eq!(bench.bits(reversed(packet)), RPL);
    }
    let verdict = bench.track(&commit(), udp(tuple(17, capacity, 1)));
    assert_eq!((verdict.bits, verdict.refusal), (NEW, Some(Refusal::Full)));
    assert_eq!(bench.table().count(ZONE), capacity);
    bench.sleep(32_000);
    bench.sleep(1000);
    assert_eq!(bench.track(&commit(), udp(tuple(17, 0, 9))).refusal, None);
}

#[test]
fn two_million_connections_take_at_most_256_bytes_each() {
    let table = Table::new(2_000_000, 1, |_, _| ()).expect("memory");
    assert!(table.capacity() >= 2_000_000);
    let each = table.bytes() as f64 / table.capacity() as f64;
    assert!(each <= 256.0, "{each}");
    // 3 lines of a record, and two entries of the index.
    assert!(each > 192.0 + 16.0, "{each}");
}

#[test]
fn a_packet_sees_what_those_before_it_in_the_batch_did() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1000));
    let items = [packet, reversed(packet), packet, udp(tuple(17, 2, 1))].map(item);
    let verdicts = bench.track_all(&commit(), &items);
    let bits: Vec<u32> = verdicts.iter().map(|verdict| verdict.bits).collect();
    assert_eq!(bits, [NEW, RPL, EST, NEW]);
    let many: Vec<Item> = (0..100)
        .map(|client| item(udp(tuple(17, client, 7))))
        .collect();
    let verdicts = bench.track_all(&commit(), &many);
    assert_eq!(verdicts.len(), 100);
    assert_eq!(bench.table().count(ZONE), 102);
}

#[test]
fn a_packet_that_is_known_is_not_tracked_twice() {
    let mut bench = Bench::new(1000);
    let segment = |flags, seq, ack| Segment {
        seq,
        ack,
        sack: ack,
        window: 1000,
        flags,
        ..Segment::default()
    };
    let there = tuple(6, 1, 1000);
    let fin = [
        (true, segment(2, 0, 0)),
        (false, segment(18, 0, 1)),
        (true, segment(16, 1, 1)),
        (true, segment(17, 1, 1)),
    ];
    let mut last = None;
    for (from_client, segment) in fin {
        let tuple = if from_client { there } else { there.reversed() };
        last = Some(bench.track(&commit(), tcp(tuple, segment)));
    }
    let known = last.expect("a verdict").known;
    let before = bench.connections();
    let again = Item {
        packet: tcp(there, segment(17, 1, 1)),
        known,
        is_translated: false,
    };
    let paint = Request {
        mark: Some((9, u32::MAX)),
        ..commit()
    };
    assert_eq!(bench.track_item(&paint, again).bits, EST);
    assert_eq!(
        bench.connections()[0].tcp,
        before[0].tcp,
        "one FIN, not two"
    );
    assert_eq!(bench.connections()[0].mark, 9);
    bench.table().flush_zone(ZONE);
    assert_eq!(
        bench.track_item(&commit(), again).bits,
        INV,
        "not known any more"
    );
}

#[test]
fn force_turns_a_connection_around() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1000));
    bench.bits(packet);
    let force = Request {
        forces: true,
        ..commit()
    };
    assert_eq!(bench.track(&force, packet).bits, NEW, "its own direction");
    assert_eq!(bench.tracker.tally().replaced, 0);
    assert_eq!(bench.track(&force, reversed(packet)).bits, NEW);
    assert_eq!(bench.tracker.tally().replaced, 1);
    let connections = bench.connections();
    assert_eq!(connections.len(), 1);
    assert_eq!(connections[0].original, packet.tuple.reversed());
    assert_eq!(bench.track(&look(), packet).bits, RPL);
}

#[test]
fn a_tuple_that_is_its_own_reverse() {
    let mut bench = Bench::new(1000);
    let mut packet = udp(tuple(17, 1, 80));
    packet.tuple.dst = packet.tuple.src;
    assert_eq!(packet.tuple, packet.tuple.reversed());
    assert_eq!(bench.bits(packet), NEW);
    assert_eq!(bench.bits(packet), NEW);
    assert_eq!(bench.connections().len(), 1);
    bench.sleep(62_000);
    assert_eq!(
        (bench.connections().len(), bench.table().count(ZONE)),
        (0, 0)
    );
    assert_eq!(bench.bits(packet), NEW);
}

#[test]
fn policies_say_how_long_and_a_request_says_which() {
    let mut bench = Bench::new(1000);
    bench.table().set_timeout(3, Timeout::UdpFirst, 5);
    bench.table().set_timeout(4, Timeout::UdpFirst, 7);
    bench.table().set_policy(ZONE, 3);
    let request = Request {
        policy: Some(4),
        ..commit()
    };
    bench.track(&commit(), udp(tuple(17, 1, 1)));
    bench.track(&request, udp(tuple(17, 2, 1)));
    let mut expires: Vec<u32> = bench.connections().iter().map(|c| c.expires_s).collect();
    expires.sort_unstable();
    assert_eq!(expires, [6, 8]);
    bench.sleep(6_000);
    assert_eq!(bench.table().count(ZONE), 1);
    bench.sleep(2_000);
    assert_eq!(bench.table().count(ZONE), 0);
}

#[test]
fn a_connection_that_closed_is_cleaned_up_soon() {
    let mut bench = Bench::new(1000);
    let packet = udp(tuple(17, 1, 1));
    bench.table().set_timeout(0, Timeout::UdpFirst, 100_000);
    bench.bits(packet);
    for _ in 0..5 {
        bench.sleep(200_000);
        assert_eq!(bench.connections().len(), 1);
    }
    bench.bits(reversed(packet));
    bench.sleep(120_000);
    assert_eq!(bench.tracker.tally().expired, 1);
}

#[test]
fn expected_connections_are_related_and_take_after_their_parent() {
    let mut bench = Bench::new(1000);
    let paint = Request {
        mark: Some((3, u32::MAX)),
        label: Some(([0, 4], [0, u64::MAX])),
        helper: Some(Helper::Ftp),
        ..commit()
    };
    let parent = udp(tuple(17, 1, 21));
    let verdict = bench.track(&paint, parent);
    assert_eq!(verdict.helper, Some(Helper::Ftp));
    let handle = verdict.known.expect("a connection").handle;
    let data = Tuple {
        src: mapped(0x0a00_0001),
        dst: mapped(1),
        src_port: 0,
        dst_port: 5000,
        ..parent.tuple
    };
    let expectation = Expectation {
        tuple: data,
        nat: None,
    };
    bench.tracker.begin(bench.now_ms);
    assert!(bench.tracker.expect(handle, &expectation));
    bench.tracker.end();
    let mut first = udp(data);
    first.tuple.src_port = 20;
    for request in [look(), commit()] {
        let verdict = bench.track(&request, first);
        assert_eq!(verdict.bits, NEW | ct_state::REL);
        assert_eq!((verdict.mark, verdict.label), (3, [0, 4]));
        assert_eq!(verdict.original, parent.tuple);
    }
    assert_eq!(bench.table().expectations(), 0, "used");
    let verdict = bench.track(&look(), reversed(first));
    assert_eq!((verdict.bits, verdict.mark), (RPL | ct_state::REL, 3));
    first.tuple.src_port = 21;
    assert_eq!(bench.track(&look(), first).bits, NEW, "once");
}

#[test]
fn what_is_expected_too_long_is_forgotten() {
    let mut bench = Bench::new(64);
    let verdict = bench.track(&commit(), udp(tuple(17, 1, 21)));
    let handle = verdict.known.expect("a connection").handle;
    let any = Expectation {
        tuple: Tuple {
            src: [0; 2],
            src_port: 0,
            ..tuple(17, 0, 0)
        },
        nat: None,
    };
    bench.tracker.begin(bench.now_ms);
    assert!(bench.tracker.expect(handle, &any));
    bench.tracker.end();
    let stranger = udp(tuple(17, 99, 3));
    assert_eq!(bench.track(&look(), stranger).bits, NEW | ct_state::REL);
    bench.now_ms += 31_000;
    assert_eq!(bench.track(&look(), stranger).bits, NEW);
    bench.sleep(0);
    assert_eq!(bench.table().expectations(), 0);
}

#[test]
fn a_handle_is_good_for_one_connection() {
    let mut bench = Bench::new(64);
    let packet = udp(tuple(17, 1, 21));
    let handle = bench.track(&commit(), packet).known.expect("one").handle;
    bench.tracker.begin(bench.now_ms);
    let found = bench.tracker.find(&packet.tuple.reversed());
    assert_eq!(found, Some((handle, Direction::Reply)));
    assert!(bench.tracker.remove(handle) && !bench.tracker.remove(handle));
    assert_eq!(bench.tracker.find(&packet.tuple), None);
    bench.tracker.end();
    for client in 0..1000 {
        bench.track(&commit(), udp(tuple(17, client, 1)));
    }
    bench.tracker.begin(bench.now_ms);
    assert!(!bench.tracker.remove(handle), "the record is another's now");
}
