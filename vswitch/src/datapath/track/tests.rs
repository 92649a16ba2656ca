//! Connections through the packet path.

use flowtable::{FlowKey, eth_type, ip_proto, parse};

use super::super::Event;
use super::super::rewrite::testing::{Built, Spec};
use super::super::testing::Rig;

/// An address and a port.
type End = ([u8; 4], u16);

const CLIENT: End = ([10, 0, 0, 1], 40_000);
const SERVER: End = ([192, 0, 2, 9], 80);

fn packet(proto: u8, from: End, to: End, flags: u8) -> Vec<u8> {
    let mut built = Spec::new(eth_type::IPV4, proto).build();
    // Unicast addresses.
    built.bytes[0] &= 0xfe;
    built.bytes[6] &= 0xfe;
    let (l3, l4) = (built.l3, built.l4);
    built.bytes[l3 + 8] = 64;
    built.bytes[l3 + 12..l3 + 16].copy_from_slice(&from.0);
    built.bytes[l3 + 16..l3 + 20].copy_from_slice(&to.0);
    built.bytes[l4..l4 + 2].copy_from_slice(&from.1.to_be_bytes());
    built.bytes[l4 + 2..l4 + 4].copy_from_slice(&to.1.to_be_bytes());
    if proto == ip_proto::TCP {
        built.bytes[l4 + 4..l4 + 12].fill(0);
        built.bytes[l4 + 13] = flags;
        built.bytes[l4 + 14..l4 + 16].copy_from_slice(&[0xff, 0xff]);
    }
    built.set_checksums();
    built.bytes
}

fn udp(from: End, to: End) -> Vec<u8> {
    packet(ip_proto::UDP, from, to, 0)
}

/// Who sent a frame, and to whom; its checksums must be right.
fn ends(frame: &[u8]) -> (End, End) {
    let mut key = FlowKey::default();
    let layout = parse(frame, &mut key);
    let built = Built {
        spec: Spec::new(eth_type::IPV4, key.ip_proto),
        bytes: frame.to_vec(),
        l3: layout.l3.into(),
        l4: layout.l4.into(),
        last_segment: None,
    };
    built.assert_checksums();
    let end = |address: u32, port| (address.to_be_bytes(), port);
    (end(key.ipv4_src, key.tp_src), end(key.ipv4_dst, key.tp_dst))
}

/// Who is behind port 1 may open connections, who is behind port 2 may answer.
const FIREWALL: [&str; 4] = [
    "priority=9,ip,ct_state=-trk,actions=ct(table=1,zone=5)",
    "table=1,priority=9,in_port=1,ip,ct_state=+new,actions=ct(commit,zone=5,\
     exec(set_field:7->ct_mark)),output:2",
    "table=1,priority=9,ct_zone=5,ct_state=+est+trk,ct_mark=7,in_port=1,actions=output:2",
    "table=1,priority=9,ct_zone=5,ct_state=+est+rpl,ct_mark=7,in_port=2,actions=output:1",
];

#[test]
fn who_was_asked_may_answer() {
    let mut rig = Rig::new(2, &FIREWALL);
    let (question, answer) = (udp(CLIENT, SERVER), udp(SERVER, CLIENT));
    rig.receive(2, std::slice::from_ref(&answer));
    assert_eq!(rig.sent(1).len(), 0);
    assert_eq!(rig.drops(2), [("table_miss", 1)]);
    for _ in 0..3 {
        rig.receive(1, std::slice::from_ref(&question));
        assert_eq!(rig.sent(2), std::slice::from_ref(&question));
        rig.receive(2, &[answer.clone(), answer.clone()]);
        assert_eq!(rig.sent(1), [answer.clone(), answer.clone()]);
    }
    let other = udp(SERVER, (CLIENT.0, 1));
    rig.receive(2, &[other, answer.clone()]);
    assert_eq!(rig.sent(1), [answer]);
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn packets_of_one_batch_meet_what_those_before_them_made() {
    let mut rig = Rig::new(2, &FIREWALL);
    // The first commits, the second is of the connection.
    let syn = packet(ip_proto::TCP, CLIENT, SERVER, 2);
    rig.receive(1, &[syn.clone(), syn.clone()]);
    assert_eq!(rig.sent(2).len(), 2);
    let stray = packet(ip_proto::TCP, SERVER, (CLIENT.0, 9), 0x12);
    let answer = packet(ip_proto::TCP, SERVER, CLIENT, 0x12);
    rig.receive(2, &[stray, answer]);
    assert_eq!(rig.drops(2).len(), 1);
}

#[test]
fn an_answer_is_looked_up_as_its_question_was() {
    let mut rig = Rig::new(
        2,
        &[
            "in_port=1,ip,actions=ct(commit,zone=1),output:2",
            "in_port=2,ip,actions=ct(table=1,zone=1)",
            "table=1,ip,actions=resubmit(,2,ct)",
            "table=2,udp,nw_src=10.0.0.1,actions=resubmit(,3)",
            "table=3,udp,nw_dst=10.0.0.1,actions=output:1",
        ],
    );
    let (question, answer) = (udp(CLIENT, SERVER), udp(SERVER, CLIENT));
    rig.receive(1, std::slice::from_ref(&question));
    assert_eq!(rig.sent(2), [question]);
    rig.receive(2, std::slice::from_ref(&answer));
    assert_eq!(rig.sent(1), [answer]);
    // There was no question to this one.
    rig.receive(2, &[udp(SERVER, (CLIENT.0, 1))]);
    assert_eq!(rig.sent(1).len(), 0);
}

#[test]
fn sources_are_hidden_and_answers_find_back() {
    let mut rig = Rig::new(
        2,
        &[
            "in_port=1,ip,actions=ct(commit,zone=1,nat(src=203.0.113.1:1000-1001)),output:2",
            "in_port=2,ip,actions=ct(table=1,zone=1,nat)",
            "table=1,ip,ct_state=+est+dnat,ct_nw_src=10.0.0.0/24,actions=output:1",
        ],
    );
    let clients = [CLIENT, ([10, 0, 0, 2], 40_000)];
    for client in clients {
        for proto in [ip_proto::UDP, ip_proto::TCP] {
            rig.receive(1, &[packet(proto, client, SERVER, 2)]);
            let sent = rig.sent(2);
            let (hidden, server) = ends(&sent[0]);
            assert_eq!((hidden.0, server), ([203, 0, 113, 1], SERVER));
            assert!((1000..=1001).contains(&hidden.1));
            rig.receive(2, &[packet(proto, SERVER, hidden, 0x12)]);
            let back = rig.sent(1);
            assert_eq!(ends(&back[0]), (SERVER, client));
        }
    }
    // Both ports are taken.
    rig.receive(1, &[udp(([10, 0, 0, 3], 5), SERVER)]);
    assert_eq!(rig.drops(1), [("no_translation", 1)]);
    // Nobody asked.
    rig.receive(2, &[udp(([192, 0, 2, 10], 80), ([203, 0, 113, 1], 1000))]);
    assert_eq!(rig.drops(2), [("table_miss", 1)]);
    assert_eq!(rig.pools.in_use(), 0);
}

#[test]
fn a_hairpin_comes_back_to_where_it_came_from() {
    let vip: End = ([198, 51, 100, 1], 80);
    let mut rig = Rig::new(
        1,
        &[
            "priority=9,ip,nw_dst=198.51.100.1,actions=\
             ct(commit,zone=1,table=1,nat(dst=10.0.0.9:8080))",
            "table=1,ip,actions=ct(commit,zone=2,nat(src=198.51.100.1)),in_port",
            "priority=8,ip,actions=ct(zone=2,nat,table=2)",
            "table=2,ip,actions=ct(zone=1,nat),in_port",
        ],
    );
    rig.receive(1, &[udp(CLIENT, vip)]);
    let there = rig.sent(1);
    let backend: End = ([10, 0, 0, 9], 8080);
    assert_eq!(ends(&there[0]), ((vip.0, CLIENT.1), backend));
    // Its answer goes to the address that hides the client: the rule of higher priority is for
    // that, too, and both zones undo what they did.
    rig.bridge
        .flow("priority=10,ip,nw_src=10.0.0.9,actions=ct(zone=2,nat,table=2)");
    rig.publish();
    rig.receive(1, &[udp(backend, (vip.0, CLIENT.1))]);
    let back = rig.sent(1);
    assert_eq!(ends(&back[0]), (vip, CLIENT));
}

/// Hosts behind one address that ping with the same identifier.
#[test]
fn echoes_that_clash_get_identifiers_of_their_own() {
    let mut rig = Rig::new(
        2,
        &[
            "in_port=1,ip,actions=ct(commit,zone=1,nat(src=203.0.113.1)),output:2",
            "in_port=2,ip,actions=ct(table=1,zone=1,nat)",
            "table=1,ip,ct_state=+est+rpl+dnat,actions=output:1",
        ],
    );
    let identifier = |frame: &[u8]| [frame[38], frame[39]];
    let mut seen = Vec::new();
    for host in 1..=3 {
        let client = [10, 0, 0, host];
        let request = packet(ip_proto::ICMP, (client, 0x0800), (SERVER.0, 0), 0);
        rig.receive(1, std::slice::from_ref(&request));
        let sent = rig.sent(2);
        let (hidden, _) = ends(&sent[0]);
        assert_eq!(hidden.0, [203, 0, 113, 1]);
        assert!(!seen.contains(&identifier(&sent[0])), "{seen:?}");
        seen.push(identifier(&sent[0]));
        // The answer: ends swapped, type 0, and what that changes the checksum by.
        let mut answer = sent[0].clone();
        answer[26..34].rotate_left(4);
        answer[34] = 0;
        let sum = u32::from(answer[36]) << 8 | u32::from(answer[37]);
        let sum = sum + 0x0800;
        let sum = (sum & 0xffff) + (sum >> 16);
        answer[36..38].copy_from_slice(&(sum as u16).to_be_bytes());
        rig.receive(2, &[answer]);
        let back = rig.sent(1);
        let (_, to) = ends(&back[0]);
        assert_eq!((to.0, identifier(&back[0])), (client, identifier(&request)));
    }
}

#[test]
fn controllers_are_told_of_connections() {
    let mut rig = Rig::new(
        2,
        &[
            "ip,actions=ct(commit,zone=9,table=1,exec(load:0x5->NXM_NX_CT_LABEL[0..3]))",
            "table=1,actions=controller,ct_clear,controller",
        ],
    );
    rig.receive(1, &[udp(CLIENT, SERVER)]);
    let events = rig.events();
    let told = events.iter().map(|event| match event {
        Event::PacketIn(packet_in) => {
            let mut key = FlowKey::default();
            packet_in.carried.write(&mut key);
            (
                key.ct_state,
                key.ct_zone,
                key.ct_label,
                key.ct_dst,
                key.ct_tp_dst,
            )
        }
        _ => panic!("{event:?}"),
    });
    let address = u32::from_be_bytes(SERVER.0);
    let first = (0x21, 9, [0, 5], address, 80);
    assert_eq!(told.collect::<Vec<_>>(), [first, (0, 0, [0, 0], 0, 0)]);
}

/// What is no IP has no connection; an action may still be asked to track it, by a group's bucket.
#[test]
fn what_cannot_be_tracked_is_invalid() {
    let mut rig = Rig::new(2, &["table=1,ct_state=+inv+trk,actions=output:2"]);
    rig.bridge
        .group("group_id=1,type=all,bucket=actions=ct(table=1)");
    rig.bridge.flow("actions=group:1");
    rig.publish();
    let mut frame = udp(CLIENT, SERVER);
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    rig.receive(1, &[frame.clone()]);
    assert_eq!(rig.sent(2), [frame]);
}

/// A way through the pipeline that tracks may loop; it ends.
#[test]
fn tracking_without_end_ends() {
    let mut rig = Rig::new(2, &["ip,actions=ct(table=0)"]);
    rig.receive(1, &[udp(CLIENT, SERVER)]);
    assert_eq!(rig.drops(1), [("too_deep", 1)]);
    assert_eq!(rig.pools.in_use(), 0);
}

/// However packets come, together or one after the other, the same becomes of each.
#[test]
fn batches_are_tracked_as_packets_are_one_by_one() {
    let flows = [
        "in_port=1,tcp,actions=ct(commit,zone=1,nat(src=203.0.113.1-203.0.113.3)),output:2",
        "in_port=1,udp,actions=ct(table=1,zone=2)",
        "in_port=2,ip,actions=ct(table=2,zone=1,nat)",
        "table=1,udp,ct_state=+new,actions=ct(commit,zone=2),output:2",
        "table=1,udp,ct_state=+est,actions=output:2",
        "table=2,ip,ct_state=+est+rpl,actions=output:1",
    ];
    let mut rigs = [Rig::new(2, &flows), Rig::new(2, &flows)];
    let clients = (0..50).map(|number| ([10, 0, 1, number], 4000 + u16::from(number)));
    let ask = |proto| clients.clone().map(move |it| packet(proto, it, SERVER, 2));
    let questions = [ask(ip_proto::TCP), ask(ip_proto::UDP)].map(Iterator::collect::<Vec<_>>);
    for round in 0..3 {
        for questions in &questions {
            let [together, apart] = rigs.each_mut();
            together.receive(1, questions);
            for question in questions {
                apart.receive(1, std::slice::from_ref(question));
            }
            let sent = together.sent(2);
            assert_eq!(sent.len(), 50, "round {round}");
            assert_eq!(sent, apart.sent(2));
            let answers: Vec<_> = sent
                .iter()
                .map(|frame| ends(frame))
                .filter(|(hidden, _)| hidden.0[0] == 203)
                .map(|(hidden, server)| packet(ip_proto::TCP, server, hidden, 0x12))
                .collect();
            together.receive(2, &answers);
            for answer in &answers {
                apart.receive(2, std::slice::from_ref(answer));
            }
            let back = together.sent(1);
            assert_eq!(back.len(), answers.len());
            assert_eq!(back, apart.sent(1));
            for (frame, client) in back.iter().zip(clients.clone()) {
                assert_eq!(ends(frame), (SERVER, client));
            }
        }
    }
    assert!(rigs.iter().all(|rig| rig.pools.in_use() == 0));
}

#[test]
fn who_is_among_a_flood_leaves_in_order() {
    let mut rig = Rig::new(
        3,
        &[
            "ip,ct_state=-trk,actions=ct(table=1,zone=1)",
            "table=1,priority=9,ip,ct_state=+est,actions=output:2",
            "table=1,priority=8,ip,ct_state=+new,nw_src=10.0.0.0/8,\
             actions=ct(commit,zone=1,table=2)",
            "table=1,priority=7,ip,ct_state=+new,actions=drop",
            "table=2,ip,actions=output:3",
        ],
    );
    let from =
        |net: [u8; 3]| (0..20).map(move |host| udp(([net[0], net[1], net[2], host], 7), SERVER));
    let known: Vec<_> = from([10, 1, 0]).collect();
    rig.receive(1, &known);
    let answers = (0..20).map(|host| udp(SERVER, ([10, 1, 0, host], 7)));
    rig.receive(1, &answers.collect::<Vec<_>>());
    assert_eq!((rig.sent(3).len(), rig.sent(2).len()), (20, 20));
    for round in 0..4 {
        let begin: Vec<_> = from([10, 2, round]).collect();
        let dropped = from([11, 2, round]);
        let turns = known.iter().zip(&begin).zip(dropped);
        let turn = |((known, begin), dropped): ((&Vec<u8>, &Vec<u8>), Vec<u8>)| match round {
            0 | 1 => [known.clone(), begin.clone(), dropped],
            _ => [begin.clone(), dropped, known.clone()],
        };
        rig.receive(1, &turns.flat_map(turn).collect::<Vec<_>>());
        assert_eq!(rig.sent(2), known, "round {round}");
        assert_eq!(rig.sent(3), begin, "round {round}");
        assert_eq!(rig.drops(1), [("no_output", 20 * (u64::from(round) + 1))]);
    }
    assert_eq!(rig.pools.in_use(), 0);
}

/// Clients are tracked in zones of their own; what is invalid leaves by port 3.
fn zoned() -> Vec<String> {
    let of_client = |client: u32| {
        let track = format!("actions=load:{client}->NXM_NX_REG0[],goto_table:1");
        [
            format!("ip,nw_src=10.0.0.{client},{track}"),
            format!("ip,nw_dst=10.0.0.{client},{track}"),
        ]
    };
    let common = [
        "table=1,ip,actions=ct(table=2,zone=NXM_NX_REG0[0..15])",
        "table=2,priority=9,ct_state=+inv+trk,actions=output:3",
        "table=2,priority=8,ct_state=+est+trk,actions=output:2",
        "table=2,priority=7,ct_state=+new+trk,ip,nw_src=10.0.0.0/8,\
         actions=ct(commit,zone=NXM_NX_REG0[0..15]),output:2",
    ];
    let clients = (1..=CLIENTS).flat_map(|client| of_client(client.into()));
    clients.chain(common.map(String::from)).collect()
}

const CLIENTS: u8 = 5;

#[test]
fn a_batch_in_many_zones_is_tracked_as_packets_are_one_by_one() {
    let rules = zoned();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let (mut together, mut apart) = (Rig::new(3, &rules), Rig::new(3, &rules));
    let clients = (1..=CLIENTS).map(|client| ([10, 0, 0, client], 40_000));
    let questions: Vec<_> = clients.clone().map(|end| udp(end, SERVER)).collect();
    let mut answers: Vec<_> = clients.map(|end| udp(SERVER, end)).collect();
    // Its checksum is wrong.
    answers[2][40] ^= 1;
    let stray = udp(SERVER, ([10, 0, 0, 1], 9));
    let all = [&answers[..], &[stray], &questions[..], &answers[..]].concat();
    for round in [&questions, &all, &all] {
        together.receive(1, round);
        round
            .iter()
            .for_each(|frame| apart.receive(1, std::slice::from_ref(frame)));
        for port in [2, 3] {
            let (mut many, mut each) = (together.sent(port), apart.sent(port));
            many.sort();
            each.sort();
            assert!(port == 3 || many.len() >= questions.len());
            assert_eq!(many, each, "port {port}");
        }
        assert_eq!(together.drops(1), apart.drops(1));
    }
    assert_eq!(apart.drops(1), [("table_miss", 2)]);
    assert_eq!((together.pools.in_use(), apart.pools.in_use()), (0, 0));
}
