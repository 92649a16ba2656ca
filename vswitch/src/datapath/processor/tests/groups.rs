//! What select groups choose, and what is counted of their buckets.

use super::*;

#[test]
fn select_keeps_a_conversation_in_one_bucket() {
    let mut rig = Rig::new(4, &[]);
    rig.bridge
        .group("group_id=1,type=select,bucket=output:2,bucket=output:3,bucket=output:4");
    rig.bridge.flow("ip,actions=group:1");
    rig.publish();
    for seed in 0..60 {
        rig.receive(1, &[udp(seed), udp(seed)]);
        let counts = [2, 3, 4].map(|port| rig.sent(port).len());
        assert_eq!(counts.iter().sum::<usize>(), 2, "{counts:?}");
        assert!(counts.contains(&2), "{counts:?}");
    }
    let statistics = rig.processor.statistics();
    assert_eq!(statistics.misses, 1, "buckets are no part of the cache key");
}

/// Where each of many conversations leaves.
fn ways(rig: &mut Rig) -> Vec<u32> {
    let way = |seed| {
        rig.receive(1, &[udp(seed)]);
        let sent = [2, 3, 4].map(|port| rig.sent(port).len());
        let place = sent.iter().position(|count| *count == 1);
        2 + place.expect("one of them has it") as u32
    };
    (0..200).map(way).collect()
}

/// The others stay where they are, and all come back when the link does.
#[test]
fn of_a_bucket_that_goes_down_only_its_own_conversations_move() {
    for copy in ["", "output:1,"] {
        let mut rig = Rig::new(4, &[]);
        let bucket = |port| format!(",bucket=watch_port:{port},{copy}output:{port}");
        let buckets: String = [2, 3, 4].map(bucket).concat();
        rig.bridge
            .group(&format!("group_id=1,type=select{buckets}"));
        rig.bridge.flow("ip,actions=group:1");
        rig.publish();
        let before = ways(&mut rig);
        let port = rig.bridge.port(3);
        rig.bridge.switch.set_link(port, false);
        rig.publish();
        let without = ways(&mut rig);
        let mut moved = [0; 5];
        for (before, after) in before.iter().zip(&without) {
            match before {
                3 => moved[*after as usize] += 1,
                _ => assert_eq!(before, after),
            }
        }
        assert!(moved[3] == 0 && moved[2] > 10 && moved[4] > 10, "{moved:?}");
        rig.bridge.switch.set_link(port, true);
        rig.publish();
        assert_eq!(ways(&mut rig), before);
    }
}

/// Who decrements the time to live before a group routes as who does it in each bucket: both
/// directions choose the same one, whatever their Ethernet addresses.
#[test]
fn select_keeps_routed_conversations_in_one_bucket() {
    let mut rig = Rig::new(4, &[]);
    rig.bridge
        .group("group_id=1,type=select,bucket=output:2,bucket=output:3,bucket=output:4");
    rig.bridge.flow("ip,actions=dec_ttl,group:1");
    rig.publish();
    for seed in 0..60 {
        let there = frame(eth_type::IPV4, ip_proto::UDP, seed);
        let (l3, l4) = (there.l3, there.l4);
        let mut back = there.bytes.clone();
        back[..12].copy_from_slice(&[2, 0, 0, 0, 0, seed as u8, 2, 0, 0, 0, 1, seed as u8]);
        back[l3 + 12..l3 + 20].rotate_left(4);
        back[l4..l4 + 4].rotate_left(2);
        rig.receive(1, &[there.bytes, back]);
        let counts = [2, 3, 4].map(|port| rig.sent(port).len());
        assert!(counts.contains(&2), "{counts:?}");
    }
}

/// Packets and bytes of a group's buckets, cached ones with them.
fn buckets(rig: &mut Rig) -> (u64, u64) {
    rig.processor.flush_counters();
    let state = rig.bridge.switch.publish();
    let bridge = state.bridge(rig.bridge.id).unwrap();
    let group = bridge.group(openflow::GroupId(1)).unwrap();
    let counts = group.buckets.iter().map(|bucket| bucket.counters.read());
    counts.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
}

#[test]
fn bytes_are_counted_as_they_came_in_whatever_is_done_before() {
    // The second of each pair is no straight line, since a copy goes elsewhere.
    for copy in ["", "output:4,"] {
        let tag = format!("push_vlan:0x8100,{copy}");
        let mut rig = Rig::new(4, &[]);
        rig.bridge
            .group("group_id=1,type=select,bucket=output:2,bucket=push_vlan:0x8100,output:3");
        rig.bridge.flow(&format!("tcp,actions={tag}group:1"));
        rig.bridge
            .flow(&format!("udp,actions={tag}dec_ttl,goto_table:1"));
        rig.bridge.flow("table=1,actions=pop_vlan,output:2");
        rig.publish();
        let of = |proto| {
            let frame = move |seed| frame(eth_type::IPV4, proto, seed).bytes;
            (0..40).map(frame).collect::<Vec<_>>()
        };
        let (tcp, udp) = (of(ip_proto::TCP), of(ip_proto::UDP));
        let bytes = |frames: &[Vec<u8>]| frames.iter().map(Vec::len).sum::<usize>() as u64;
        for round in 1..=2 {
            rig.receive(1, &tcp);
            assert_eq!(buckets(&mut rig), (40 * round, bytes(&tcp) * round));
            rig.receive(1, &udp);
            let sum = bytes(&tcp) + 2 * bytes(&udp);
            assert_eq!(rig.counted(), (120 * round, sum * round), "{tag}");
        }
        let sent = [2, 3].map(|port| rig.sent(port).len());
        assert!(sent[1] > 10 && sent[0] + sent[1] == 160, "{sent:?}");
    }
}

#[test]
fn buckets_are_told_without_a_request_in_the_end() {
    let mut rig = Rig::new(3, &[]);
    rig.bridge
        .group("group_id=1,type=select,bucket=output:2,bucket=output:3");
    rig.bridge.flow("ip,actions=group:1");
    rig.publish();
    rig.receive(1, &(0..40).map(udp).collect::<Vec<_>>());
    for _ in 0..1000 {
        rig.processor.maintain(rig.now);
    }
    let state = rig.bridge.switch.publish();
    let bridge = state.bridge(rig.bridge.id).unwrap();
    let group = bridge.group(openflow::GroupId(1)).unwrap();
    let counts = group.buckets.iter().map(|it| it.counters.read().0);
    assert_eq!(counts.sum::<u64>(), 40);
}
