//! The packet path, from frames in to frames out, with every counter that moves.

mod groups;

use std::collections::BTreeSet;

use flowtable::{Carried, Field, FlowKey, eth_type, ip_proto, parse};
use openflow::OfPort;
use pmd::{Batch, Packet};

use super::super::execute::Recirculated;
use super::super::rewrite::testing::{Built, Spec};
use super::super::send::Outlet;
use super::super::testing::Rig;
use super::super::{Event, limits};
use super::Processor;
use crate::action::PuntReason;
use crate::pipeline::Ingress;

fn frame(eth_type: u16, proto: u8, seed: u64) -> Built {
    let mut spec = Spec::new(eth_type, proto);
    spec.seed = seed;
    let mut built = spec.build();
    // Unicast addresses, so that bridges learn them.
    built.bytes[0] &= 0xfe;
    built.bytes[6] &= 0xfe;
    built
}

fn udp(seed: u64) -> Vec<u8> {
    frame(eth_type::IPV4, ip_proto::UDP, seed).bytes
}

fn key(frame: &[u8]) -> FlowKey {
    let mut key = FlowKey::default();
    parse(frame, &mut key);
    key
}

#[test]
fn a_flow_is_translated_once_and_counted_whole() {
    let mut rig = Rig::new(2, &["in_port=1,actions=output:2"]);
    let frames: Vec<_> = (0..70).map(udp).collect();
    let bytes: usize = frames.iter().map(Vec::len).sum();
    rig.receive(1, &frames);
    assert_eq!(rig.sent(2), frames);
    assert_eq!(rig.sent(1), Vec::<Vec<u8>>::new());
    let statistics = rig.processor.statistics();
    assert_eq!((statistics.misses, statistics.hits), (1, 69));
    assert_eq!((statistics.packets, statistics.batches), (70, 2));
    assert_eq!(rig.counted(), (70, bytes as u64));
    assert_eq!(rig.drops(1), []);
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn flows_keep_their_order_whatever_the_mix() {
    let mut rig = Rig::new(4, &["udp,actions=output:2", "tcp,actions=output:3"]);
    let mix: Vec<Vec<u8>> = (0..100)
        .map(|seed| match seed * 7 % 3 {
            0 => frame(eth_type::IPV4, ip_proto::TCP, seed).bytes,
            _ => udp(seed),
        })
        .collect();
    rig.receive(1, &mix);
    let of_proto = |proto| {
        let frames = mix.iter().filter(|frame| key(frame).ip_proto == proto);
        frames.cloned().collect::<Vec<_>>()
    };
    assert_eq!(rig.sent(2), of_proto(ip_proto::UDP));
    assert_eq!(rig.sent(3), of_proto(ip_proto::TCP));
}

#[test]
fn new_flows_that_come_together_are_decided_once_each() {
    let flows = [
        "ip,nw_src=0.0.0.0/1,actions=output:2",
        "ip,actions=output:3",
        "priority=65535,ip,nw_src=1.2.3.4,actions=drop",
    ];
    let mut rig = Rig::new(3, &flows);
    // A cache with room for few of them: the others are decided and counted all the same.
    let state = rig.bridge.switch.publish();
    let (small, _events) = Processor::new(&rig.pools, 1, state).unwrap();
    let mut large = std::mem::replace(&mut rig.processor, small);
    for port in rig.bridge.ports.clone() {
        rig.processor.add_outlet(port, Outlet::Capture(Vec::new()));
    }
    for (round, is_small) in [(1, true), (2, false)] {
        // Some flows come twice, not in a row.
        let frames: Vec<_> = (0..32).map(|number| udp(number * 7 % 25 * 2)).collect();
        rig.receive(1, &frames);
        let to = |high| {
            let of = |frame: &&Vec<u8>| key(frame).ipv4_src >> 31 == high;
            frames.iter().filter(of).cloned().collect::<Vec<_>>()
        };
        let sources = frames.iter().map(|frame| key(frame).ipv4_src);
        let distinct = sources.collect::<BTreeSet<_>>().len() as u64;
        assert!(distinct > 2 && !to(0).is_empty() && !to(1).is_empty());
        assert_eq!((rig.sent(2), rig.sent(3)), (to(0), to(1)));
        let statistics = rig.processor.statistics();
        let expected = (distinct, 32 - distinct);
        assert_eq!(
            (statistics.misses, statistics.hits),
            expected,
            "small: {is_small}"
        );
        assert_eq!(rig.counted().0, 32 * round);
        std::mem::swap(&mut rig.processor, &mut large);
    }
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn copies_are_the_packet_as_it_was_then() {
    let actions = "output:2,set_field:1.2.3.4->ip_dst,dec_ttl,output:3,push_vlan:0x8100,\
                   set_field:4105->vlan_vid,output:4";
    let mut rig = Rig::new(4, &[&format!("ip,actions={actions}")]);
    let built = frame(eth_type::IPV4, ip_proto::TCP, 1);
    let frame = std::slice::from_ref(&built.bytes);
    rig.receive(1, frame);
    assert_eq!(rig.sent(2), frame);
    let routed = Built {
        bytes: rig.sent(3).remove(0),
        ..built.clone()
    };
    assert_eq!(key(&routed.bytes).ipv4_dst, 0x01020304);
    let ttl = key(&built.bytes).ip_ttl;
    assert_eq!(key(&routed.bytes).ip_ttl, ttl - 1);
    routed.assert_checksums();
    let tagged = rig.sent(4).remove(0);
    assert_eq!(tagged[12..16], [0x81, 0, 0, 9]);
    assert_eq!([&tagged[..12], &tagged[16..]].concat(), routed.bytes);
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn flooding_reaches_all_other_ports() {
    let mut rig = Rig::new(5, &["actions=ALL"]);
    rig.receive(3, &[udp(1), udp(2)]);
    for port in [1, 2, 4, 5] {
        assert_eq!(rig.sent(port), [udp(1), udp(2)]);
    }
    assert_eq!(rig.sent(3).len(), 0);
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn drops_are_counted_by_port_and_reason() {
    let mut rig = Rig::new(
        3,
        &[
            "in_port=1,actions=drop",
            "in_port=2,ip,actions=dec_ttl,output:3",
        ],
    );
    rig.receive(1, &[udp(1), udp(2)]);
    let mut expired = frame(eth_type::IPV4, ip_proto::UDP, 1).bytes;
    expired[22] = 1;
    rig.receive(2, &[expired]);
    rig.receive(3, &[udp(3)]);
    assert_eq!(rig.drops(1), [("no_output", 2)]);
    assert_eq!(rig.drops(2), [("invalid_ttl", 1)]);
    assert_eq!(rig.drops(3), [("table_miss", 1)]);
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn packets_that_end_on_the_way_are_counted_as_far_as_they_came() {
    for first in ["in_port=1,ip", "in_port=1"] {
        let first = format!("{first},actions=dec_ttl,goto_table:1");
        let mut rig = Rig::new(2, &[&first, "table=1,actions=output:2"]);
        let whole = udp(1);
        let mut expired = whole.clone();
        expired[22] = 1;
        let frames = [&expired, &whole, &expired, &whole, &expired].map(Vec::clone);
        for round in 1..=2 {
            rig.receive(1, &frames);
            assert_eq!(rig.sent(2).len(), 2);
            assert_eq!(rig.drops(1), [("invalid_ttl", 3 * round)]);
            let bytes = whole.len() as u64;
            assert_eq!(rig.counted(), (7 * round, 7 * round * bytes));
        }
        assert_eq!(rig.processor.statistics().misses, 1);
        assert_eq!(rig.pools.in_use(), 0);
    }
}

#[test]
fn flows_that_find_no_room_are_counted_as_far_as_they_came() {
    let mut rig = Rig::new(
        2,
        &[
            "in_port=1,actions=dec_ttl,goto_table:1",
            "table=1,actions=output:2",
            "table=1,priority=65535,ip,nw_src=1.2.3.4,actions=drop",
        ],
    );
    let state = rig.bridge.switch.publish();
    let (small, _events) = Processor::new(&rig.pools, 1, state).unwrap();
    rig.processor = small;
    for port in rig.bridge.ports.clone() {
        rig.processor.add_outlet(port, Outlet::Capture(Vec::new()));
    }
    let frames = |range: std::ops::Range<u64>| -> Vec<Vec<u8>> {
        let mut frames: Vec<_> = range.map(udp).collect();
        let times = [1, 64].into_iter().cycle();
        frames
            .iter_mut()
            .zip(times)
            .for_each(|(it, time)| it[22] = time);
        frames
    };
    for (round, range) in (1..).zip([0..64, 64..128, 64..128]) {
        rig.receive(1, &frames(range));
        assert_eq!(rig.sent(2).len(), 32);
        assert_eq!(rig.drops(1), [("invalid_ttl", 32 * round)]);
        assert_eq!(rig.counted().0, 96 * round);
    }
    let statistics = rig.processor.statistics();
    assert!(statistics.misses > 140, "{statistics:?}");
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn a_port_that_the_state_does_not_know_receives_nothing() {
    let mut rig = Rig::new(2, &["actions=output:2"]);
    let port = rig.bridge.port(1);
    rig.bridge.switch.remove_port(port);
    rig.publish();
    let mut batch = pmd::Batch::new();
    let packet = Packet::from_bytes(&rig.pools, &udp(1)).unwrap();
    batch.push(packet).unwrap();
    rig.processor.process(port, &mut batch, rig.now);
    let drops = rig.processor.drops(Some(port));
    assert_eq!(drops.of(crate::action::DropReason::PortDown), 1);
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn changed_rules_take_effect_at_once() {
    let mut rig = Rig::new(3, &["priority=1,actions=output:2"]);
    rig.receive(1, &[udp(1)]);
    rig.bridge.flow("priority=9,udp,actions=output:3");
    rig.receive(1, &[udp(1)]);
    rig.publish();
    rig.receive(1, &[udp(1), udp(1)]);
    assert_eq!(rig.sent(2).len(), 2);
    assert_eq!(rig.sent(3).len(), 2);
    assert_eq!(rig.counted().0, 4);
    rig.bridge.flow("priority=9,udp,actions=drop");
    rig.publish();
    rig.receive(1, &[udp(1)]);
    let statistics = rig.processor.statistics();
    // Another mask of the entry point makes another entry; the same makes a stale one.
    assert_eq!((statistics.misses, statistics.stale), (3, 1));
    assert_eq!((rig.sent(2).len(), rig.sent(3).len()), (0, 0));
}

#[test]
fn a_change_makes_those_be_translated_anew_whom_it_concerns() {
    let rules = "priority=1,table=0,actions=goto_table:1";
    let mut rig = Rig::new(3, &[rules, "priority=1,table=1,actions=output:2"]);
    let host = |n: u32| format!("table=1,ip,nw_dst=10.0.0.{n}");
    rig.bridge.flow(&format!("{},actions=output:3", host(200)));
    rig.bridge.flow("table=2,udp,actions=output:1");
    rig.publish();
    let frames: Vec<Vec<u8>> = (1..=100)
        .map(|n| {
            let mut spec = Spec::new(eth_type::IPV4, ip_proto::UDP);
            spec.seed = n;
            let mut bytes = spec.build().bytes;
            bytes[30..34].copy_from_slice(&[10, 0, 0, n as u8]);
            bytes
        })
        .collect();
    rig.receive(1, &frames);
    assert_eq!(rig.processor.statistics().misses, 100);

    for n in [5, 7, 150] {
        rig.bridge.flow(&format!("{},actions=output:3", host(n)));
    }
    rig.bridge.flow("table=2,actions=drop");
    rig.publish();
    rig.sent(2);
    rig.receive(1, &frames);
    let statistics = rig.processor.statistics();
    assert_eq!((rig.sent(2).len(), rig.sent(3).len()), (98, 2));
    assert_eq!((statistics.stale, statistics.misses), (2, 2));
    assert_eq!((statistics.renewed, statistics.hits), (98, 98));

    // A link, a group: who knows whom that concerns.
    let port = rig.bridge.port(3);
    rig.bridge.switch.set_link(port, false);
    rig.publish();
    rig.receive(1, &frames);
    let statistics = rig.processor.statistics();
    assert_eq!((statistics.stale, statistics.renewed), (100, 0));
}

#[test]
fn what_a_pop_uncovers_is_parsed_and_matched() {
    let flows = [
        "mpls,actions=pop_mpls:0x800,goto_table:1",
        "table=1,udp,actions=output:2",
        "table=1,tcp,actions=output:3",
    ];
    let mut rig = Rig::new(3, &flows);
    let plain = [udp(1), frame(eth_type::IPV4, ip_proto::TCP, 2).bytes];
    let labelled = plain.each_ref().map(|frame| {
        let entry = [0x88, 0x47, 0, 1, 0x11, 64];
        [&frame[..12], &entry, &frame[14..]].concat()
    });
    let both: Vec<Vec<u8>> = labelled.iter().cycle().take(64).cloned().collect();
    rig.receive(1, &both);
    assert_eq!(rig.sent(2), vec![plain[0].clone(); 32]);
    assert_eq!(rig.sent(3), vec![plain[1].clone(); 32]);
    let statistics = rig.processor.statistics();
    assert_eq!(statistics.recirculated, 64);
    assert_eq!(statistics.misses, 3);
    assert_eq!(rig.counted().0, 128);
    assert_eq!(rig.pools.in_use(), 0);
}

/// Packets of one batch that come out of a tunnel differ in nothing but what it told of them, and
/// take that along to where they are parsed again.
#[test]
fn what_a_tunnel_told_goes_with_its_packet() {
    let mut rig = Rig::new(
        3,
        &[
            "mpls,actions=pop_mpls:0x800,goto_table:1",
            "table=1,tun_id=7,actions=output:2,controller",
            "table=1,tun_id=8,actions=output:3",
        ],
    );
    let tunnel = rig.bridge.ports[0];
    let inside = frame(eth_type::IPV4, ip_proto::UDP, 3);
    let mut labelled = inside.bytes.clone();
    labelled.splice(12..14, [0x88, 0x47, 0, 1, 0x11, 64]);
    for tunnel_id in [7, 8, 9, 7] {
        let key = FlowKey {
            tunnel_id,
            ..FlowKey::default()
        };
        let packet = Packet::from_bytes(&rig.pools, &labelled).unwrap();
        rig.processor
            .engine
            .executor
            .recirculated
            .push(Recirculated {
                packet,
                ingress: Ingress::Tunnel(tunnel),
                origin: Some(tunnel),
                carried: Carried::of(&key),
                tracked: None,
                rounds: 1,
            });
    }
    rig.processor.process_again(&mut Batch::new());
    rig.processor.flush();
    assert_eq!((rig.sent(2).len(), rig.sent(3).len()), (2, 1));
    assert_eq!(rig.drops(1), [("table_miss", 1)]);
    // What packets carry is gone with them.
    rig.receive(1, &[labelled]);
    assert_eq!(rig.drops(1), [("table_miss", 2)]);
    let events = rig.events();
    let told: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::PacketIn(packet_in) => packet_in.carried,
            other => panic!("{other:?}"),
        })
        .collect();
    let seven = FlowKey {
        tunnel_id: 7,
        ..FlowKey::default()
    };
    assert_eq!(told, [Carried::of(&seven); 2]);
}

#[test]
fn what_no_rule_looks_at_is_parsed_for_actions_that_ask() {
    let rules = [
        ("in_port=1,actions=dec_ttl,output:2", None),
        (
            "ip,actions=set_field:1.2.3.4->ip_dst,dec_ttl,output:2",
            Some(0x0102_0304),
        ),
    ];
    for (rule, address) in rules {
        let mut rig = Rig::new(2, &[rule]);
        let built = |seed| frame(eth_type::IPV4, ip_proto::TCP, seed);
        let built: Vec<_> = (0..40).map(built).collect();
        let bytes: Vec<_> = built.iter().map(|built| built.bytes.clone()).collect();
        rig.receive(1, &bytes);
        let sent = rig.sent(2);
        assert_eq!(sent.len(), 40, "{rule}");
        for (built, bytes) in built.into_iter().zip(sent) {
            let before = key(&built.bytes);
            let expected = FlowKey {
                ip_ttl: before.ip_ttl - 1,
                ipv4_dst: address.unwrap_or(before.ipv4_dst),
                ..before
            };
            assert_eq!(key(&bytes), expected);
            Built { bytes, ..built }.assert_checksums();
        }
        let statistics = rig.processor.statistics();
        assert_eq!((statistics.misses, statistics.hits), (1, 39));
        assert_eq!(rig.counted().0, 40);
    }
}

#[test]
fn a_port_whose_rules_look_at_nothing_spreads_conversations_by_their_addresses() {
    let mut rig = Rig::new(4, &[]);
    let buckets = "bucket=output:2,bucket=output:3,bucket=output:4";
    let group = format!("group_id=1,type=select,{buckets}");
    rig.bridge.group(&group);
    rig.bridge.flow("in_port=1,actions=group:1");
    rig.publish();
    let frames: Vec<_> = (0..60).map(udp).collect();
    rig.receive(1, &frames);
    let first = [2, 3, 4].map(|port| rig.sent(port));
    assert!(
        first.iter().all(|sent| sent.len() > 5),
        "each bucket has some"
    );
    rig.receive(1, &frames);
    assert_eq!([2, 3, 4].map(|port| rig.sent(port)), first);
}

#[test]
fn of_addresses_alone_only_those_are_decided_anew_that_changed() {
    let rule = |host: u8, port: u32| format!("dl_dst=02:00:00:00:00:0{host},actions=output:{port}");
    let mut rig = Rig::new(3, &[&rule(1, 2), &rule(2, 2)]);
    let frames = [1, 2].map(|host| {
        let mut bytes = udp(7);
        bytes[..6].copy_from_slice(&[2, 0, 0, 0, 0, host]);
        bytes
    });
    rig.receive(1, &frames);
    rig.bridge.flow(&rule(2, 3));
    rig.publish();
    rig.processor.statistics();
    rig.receive(1, &frames);
    let statistics = rig.processor.statistics();
    assert_eq!(
        (statistics.renewed, statistics.stale, statistics.hits),
        (1, 1, 1)
    );
    assert_eq!([2, 3].map(|port| rig.sent(port).len()), [3, 1]);
}

#[test]
fn a_meter_drops_and_remarks() {
    let mut rig = Rig::new(3, &[]);
    rig.bridge
        .meter("meter=1,pktps,burst,band=type=drop,rate=10,burst_size=10");
    rig.bridge
        .meter("meter=2,pktps,burst,band=type=dscp_remark,prec_level=1,rate=1,burst_size=1");
    rig.bridge.flow("udp,actions=meter:1,output:2");
    rig.bridge.flow("tcp,actions=meter:2,output:3");
    rig.publish();
    rig.receive(1, &(0..30).map(udp).collect::<Vec<_>>());
    let passed = rig.sent(2).len();
    assert_eq!(rig.drops(1), [("meter", 30 - passed as u64)]);
    assert!((1..=10).contains(&passed), "{passed}");

    let mut built = frame(eth_type::IPV4, ip_proto::TCP, 1);
    rig.now.ns += 1_000_000_000;
    built.set_dscp(0b001010);
    rig.receive(1, &vec![built.bytes.clone(); 10]);
    let sent = rig.sent(3);
    assert_eq!(sent.len(), 10);
    let last = Built {
        bytes: sent[9].clone(),
        ..built
    };
    assert_eq!(Field::IpDscp.read(&key(&last.bytes)), 0b001100);
    last.assert_checksums();
}

#[test]
fn packets_that_meters_refuse_leave_the_others_as_they_are() {
    let low = "table=1,ip,nw_src=0.0.0.0/1,actions=set_field:02:00:00:00:00:09->eth_dst,output:2";
    for high in ["output:2", "output:3", "meter:2,output:2"] {
        let mut rig = Rig::new(3, &[]);
        let burst = "pktps,burst,band=type=drop,rate=1,burst_size";
        rig.bridge.meter(&format!("meter=1,{burst}=20"));
        rig.bridge.meter(&format!("meter=2,{burst}=4"));
        rig.bridge.flow("udp,actions=meter:1,goto_table:1");
        rig.bridge.flow(low);
        rig.bridge
            .flow(&format!("table=1,ip,nw_src=128.0.0.0/1,actions={high}"));
        rig.publish();
        let frames: Vec<_> = (0..32).map(udp).collect();
        let is_high = |frame: &Vec<u8>| key(frame).ipv4_src >> 31 == 1;
        for round in 1..=3 {
            rig.now.ns += 1_000_000_000_000;
            rig.receive(1, &frames);
            let (mut to_two, mut to_three, mut through_meter) = (Vec::new(), Vec::new(), 0);
            for frame in &frames[..20] {
                match (is_high(frame), high) {
                    (true, "output:3") => to_three.push(frame.clone()),
                    (true, "meter:2,output:2") if through_meter == 4 => {}
                    (true, high) => {
                        through_meter += u32::from(high.starts_with("meter"));
                        to_two.push(frame.clone());
                    }
                    (false, _) => {
                        to_two.push([&[2, 0, 0, 0, 0, 9], &frame[6..]].concat());
                    }
                }
            }
            assert!(rig.sent(2) == to_two && rig.sent(3) == to_three, "{high}");
            // All met the first rule, those that passed its meter one of the others.
            assert_eq!(rig.counted().0, round * (32 + 20), "{high}");
        }
        assert_eq!(rig.pools.in_use(), 0);
    }
}

#[test]
fn a_meter_decides_about_a_batch_of_one_flow() {
    let mut rig = Rig::new(2, &[]);
    rig.bridge
        .meter("meter=1,pktps,burst,band=type=drop,rate=1,burst_size=20");
    rig.bridge.flow("in_port=1,actions=meter:1,goto_table:1");
    rig.bridge.flow("table=1,actions=output:2");
    rig.publish();
    let frames: Vec<_> = (0..32).map(udp).collect();
    for round in 1..=3 {
        rig.now.ns += 1_000_000_000_000;
        rig.receive(1, &frames);
        assert_eq!(rig.sent(2), frames[..20]);
        assert_eq!(rig.drops(1), [("meter", 12 * round)]);
        assert_eq!(rig.counted().0, round * (32 + 20));
    }
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn packets_that_are_dropped_leave_the_others_in_order() {
    let drop = "priority=65535,ip,nw_src=128.0.0.0/1,actions=drop";
    let mut rig = Rig::new(2, &["ip,actions=output:2", drop]);
    let frames: Vec<_> = (0..64).map(udp).collect();
    let kept = frames.iter().filter(|frame| key(frame).ipv4_src >> 31 == 0);
    let kept: Vec<_> = kept.cloned().collect();
    assert!(kept.len() > 10 && kept.len() < 54);
    for round in 1..=2 {
        rig.receive(1, &frames);
        assert!(rig.sent(2) == kept);
        let dropped = (frames.len() - kept.len()) as u64;
        assert_eq!(rig.drops(1), [("no_output", dropped * round)]);
        assert_eq!(rig.counted().0, 64 * round);
    }
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn a_flooding_port_starves_only_itself_of_the_controller() {
    let mut rig = Rig::new(2, &["actions=CONTROLLER:65535"]);
    let flood: Vec<_> = (0..200).map(udp).collect();
    rig.receive(1, &flood);
    rig.receive(2, &[udp(7)]);
    let share = limits::PUNTS_PER_PORT as u64;
    assert_eq!(rig.drops(1), [("punt_queue_full", 200 - share)]);
    assert_eq!(rig.drops(2), []);
    let events = rig.events();
    assert_eq!(events.len() as u64, share + 1);
    let Some(Event::PacketIn(last)) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(last.packet.data(), udp(7));
    assert_eq!(last.punt.reason, PuntReason::Action);
    assert_eq!(last.punt.metadata.in_port, 2);
    drop(events);
    rig.receive(1, &flood[..10]);
    assert_eq!(rig.events().len(), 10);
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn super_frames_reach_the_controller_as_the_wire_would_have_them() {
    let mut rig = Rig::new(1, &["actions=CONTROLLER:65535"]);
    let mut spec = Spec::new(eth_type::IPV4, ip_proto::TCP);
    spec.partial = true;
    spec.payload = vec![7; 3500];
    let built = spec.build();
    let mut packet = Packet::from_bytes(&rig.pools, &built.bytes).unwrap();
    assert!(packet.set_offload(pmd::Offload {
        checksum: Some(pmd::PartialChecksum {
            start: built.l4 as u16,
            offset: 16,
        }),
        gso: Some(pmd::Gso {
            kind: pmd::GsoKind::Tcp4,
            size: 1000,
            ecn: false,
        }),
        valid: true,
    }));
    let mut batch = pmd::Batch::new();
    batch.push(packet).unwrap();
    let port = rig.bridge.port(1);
    rig.processor.process(port, &mut batch, rig.now);
    let packet_of = |event| match event {
        Event::PacketIn(packet_in) => packet_in.packet,
        other => panic!("{other:?}"),
    };
    let segments: Vec<Packet> = rig.events().into_iter().map(packet_of).collect();
    let lengths: Vec<_> = segments.iter().map(Packet::len).collect();
    assert_eq!(lengths, [1054, 1054, 1054, 554]);
    for segment in &segments {
        assert_eq!(segment.offload().checksum, None);
        let mut whole = built.clone();
        whole.spec.partial = false;
        whole.bytes = segment.data().to_vec();
        whole.assert_checksums();
    }
    drop(segments);
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn an_address_is_told_once_learned_and_kept_alive() {
    let mut rig = Rig::new(3, &["actions=NORMAL"]);
    let (there, mut back) = (udp(1), udp(2));
    back[..6].copy_from_slice(&there[6..12]);
    rig.receive(1, &vec![there.clone(); 50]);
    assert_eq!(rig.sent(2).len() + rig.sent(3).len(), 100);
    let events = rig.events();
    let [Event::Learn(learn)] = events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(learn.port, rig.bridge.port(1));
    rig.bridge.switch.learn(learn, rig.now.ms());
    rig.publish();
    rig.receive(2, &[back]);
    assert_eq!((rig.sent(1).len(), rig.sent(3).len()), (1, 0));

    rig.now.ns += 60_000_000_000;
    rig.receive(1, &[there.clone(), there]);
    rig.processor.flush_counters();
    let state = rig.bridge.switch.publish();
    let bridge = state.bridge(rig.bridge.id).unwrap();
    let entry = bridge.macs().find(|(_, mac, _)| *mac == learn.mac).unwrap();
    let heard = entry.2.heard.0.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(heard, 65);
}

#[test]
fn packet_outs_run_their_actions() {
    let mut rig = Rig::new(3, &["in_port=1,actions=output:3"]);
    let out = rig
        .bridge
        .packet_out(OfPort::CONTROLLER, "output:2", &udp(1));
    rig.processor.inject(out, rig.now);
    let out = rig.bridge.packet_out(OfPort(1), "TABLE", &udp(2));
    rig.processor.inject(out, rig.now);
    rig.processor.flush();
    assert_eq!(rig.sent(2), [udp(1)]);
    assert_eq!(rig.sent(3), [udp(2)]);
    assert_eq!(rig.counted().0, 1);
}

#[test]
fn without_buffers_copies_are_lost_and_the_packet_goes_on() {
    let mut rig = Rig::new(3, &["actions=output:2,output:3"]);
    let mut held = Vec::new();
    let packet = Packet::from_bytes(&rig.pools, &udp(1)).unwrap();
    while let Some(packet) = rig.pools.allocate(60) {
        held.push(packet);
    }
    let mut batch = pmd::Batch::new();
    batch.push(packet).unwrap();
    let port = rig.bridge.port(1);
    rig.processor.process(port, &mut batch, rig.now);
    rig.processor.flush();
    assert_eq!((rig.sent(2).len(), rig.sent(3).len()), (0, 1));
    assert_eq!(rig.drops(1), [("no_buffer", 1)]);
    drop(held);
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn partial_checksums_follow_the_addresses() {
    let mut rig = Rig::new(
        2,
        &["tcp,actions=push_vlan:0x8100,set_field:1.2.3.4->ip_dst,output:2"],
    );
    let mut spec = Spec::new(eth_type::IPV4, ip_proto::TCP);
    spec.partial = true;
    let mut built = spec.build();
    let mut packet = Packet::from_bytes(&rig.pools, &built.bytes).unwrap();
    let owed = pmd::Offload {
        checksum: Some(pmd::PartialChecksum {
            start: built.l4 as u16,
            offset: 16,
        }),
        ..pmd::Offload::default()
    };
    assert!(packet.set_offload(owed));
    let mut batch = pmd::Batch::new();
    batch.push(packet).unwrap();
    let port = rig.bridge.port(1);
    rig.processor.process(port, &mut batch, rig.now);
    rig.processor.flush();
    let port = rig.bridge.port(2);
    let sent = rig.processor.captured(port).remove(0);
    let still_owed = sent.offload().checksum.unwrap();
    assert_eq!(usize::from(still_owed.start), built.l4 + 4);
    built.bytes = [&sent.data()[..12], &sent.data()[16..]].concat();
    assert_eq!(key(&built.bytes).ipv4_dst, 0x01020304);
    built.assert_checksums();
}
