//! What a controller seldom asks for, end to end: a controller of our own codec, and one of
//! os-ken's, before a switch with ports that lead nowhere.

use openflow::{
    Action, AsyncConfig, Band, Bucket, ErrorCode, FlowModCommand, FlowRemovedReason, GroupId,
    GroupKind, GroupMod, GroupModCommand, Message, MeterFlags, MeterId, MeterMod, MeterModCommand,
    MeterStats, MultipartReply, MultipartRequest, OfPort, PacketIn, PacketInReason, PacketOut,
    TableId,
};
use tests::netns::silent_hosts;
use tests::peer::{Exchange, Peer, packet_in};
use tests::{Daemon, Netns, eventually, null_bridge, run, target_dir};

/// A switch with ports 1 and 2 and its controller.
fn connected() -> (Daemon, Exchange, Peer) {
    let exchange = Exchange::new(1);
    let controllers = exchange.path(0).display().to_string();
    // Packets are counted: the host's own are not to be among them.
    let netns = Netns::silent("sw");
    let bridge = null_bridge(&format!("controllers = [\"unix:{controllers}\"]\n"));
    let daemon = Daemon::start_in(netns, &bridge);
    let peer = exchange.accept(0);
    (daemon, exchange, peer)
}

/// A frame of this Ethernet type through the tables, as if it had come in by port 1.
fn through_the_tables(eth_type: u16, rest: &[u8]) -> Message {
    let mut data = vec![0x02; 12];
    data.extend(eth_type.to_be_bytes());
    data.extend(rest);
    data.resize(60, 0);
    let port = OfPort::TABLE;
    Message::PacketOut(PacketOut {
        buffer_id: None,
        in_port: OfPort(1),
        actions: [Action::Output { port, max_len: 0 }].into(),
        data,
    })
}

#[test]
fn packet_ins_tell_where_they_come_from() {
    let (daemon, _exchange, mut peer) = connected();
    let port = OfPort::CONTROLLER;
    let bucket = Bucket {
        weight: 0,
        watch_port: OfPort::ANY,
        watch_group: GroupId::ANY,
        actions: [Action::Output {
            port,
            max_len: 0xffff,
        }]
        .into(),
    };
    peer.send(Message::GroupMod(GroupMod {
        command: GroupModCommand::Add,
        kind: GroupKind::All,
        group: GroupId(1),
        buckets: vec![bucket],
    }));
    let mut wants = AsyncConfig::default();
    wants.master.packet_in = 0b111;
    peer.send(Message::SetAsync(wants));
    let all = "CONTROLLER:65535";
    for flow in [
        format!("cookie=1,priority=0,actions={all}"),
        format!("cookie=2,dl_type=0x88b5,actions={all}"),
        format!("cookie=3,dl_type=0x88b6,actions=write_actions({all})"),
        "cookie=4,dl_type=0x88b7,actions=group:1".into(),
        "cookie=5,ip,actions=goto_table:7".into(),
        "table=7,cookie=6,ip,actions=dec_ttl,output:2".into(),
    ] {
        peer.flow(&flow);
    }
    assert_eq!(peer.barrier(), []);
    // 20 bytes of IPv4 whose time to live is 1.
    let expired = [
        0x45, 0, 0, 20, 0, 0, 0, 0, 1, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    for (eth_type, rest, reason, table, cookie) in [
        (0x88b4, &[][..], PacketInReason::NoMatch, 0, 1),
        (0x88b5, &[], PacketInReason::Action, 0, 2),
        (0x88b6, &[], PacketInReason::Action, 0, u64::MAX),
        (0x88b7, &[], PacketInReason::Action, 0, u64::MAX),
        (0x0800, &expired, PacketInReason::InvalidTtl, 7, 6),
    ] {
        peer.send(through_the_tables(eth_type, rest));
        let packet = peer.wait(packet_in);
        let told = (packet.reason, packet.table, packet.cookie);
        assert_eq!(told, (reason, TableId(table), cookie), "{eth_type:#x}");
        let in_port = packet.matching.read(flowtable::Field::InPort).0;
        assert_eq!((in_port, usize::from(packet.total_len)), (1, 60));
    }
    drop(peer);
    daemon.stop();
}

fn meter_stats(peer: &mut Peer, meter: MeterId) -> MeterStats {
    peer.send(Message::MultipartRequest {
        more: false,
        request: MultipartRequest::Meter(meter),
    });
    peer.wait(|message| match message {
        Message::MultipartReply {
            reply: MultipartReply::Meter(mut meters),
            ..
        } => meters.pop(),
        _ => None,
    })
}

/// Of many packets at once few reach the controller, and each of the others is in the meter's book.
#[test]
fn packet_ins_pass_the_meter_of_the_controller() {
    const PACKETS: u64 = 200;
    let (daemon, _exchange, mut peer) = connected();
    let flags = MeterFlags {
        packets: true,
        burst: true,
        stats: true,
    };
    let add = |meter, rate| {
        Message::MeterMod(MeterMod {
            command: MeterModCommand::Add,
            flags,
            meter,
            bands: vec![Band::Drop { rate, burst: rate }],
        })
    };
    peer.send(add(MeterId::CONTROLLER, 1));
    peer.send(add(MeterId::SLOWPATH, 1_000_000));
    peer.flow("priority=0,actions=CONTROLLER:65535");
    assert_eq!(peer.barrier(), []);
    for _ in 0..PACKETS {
        peer.send(through_the_tables(0x88b5, &[]));
        // One after the other, so that no queue on the way is full.
        peer.barrier();
    }
    let stats = eventually("every packet is metered", 60, || {
        let stats = meter_stats(&mut peer, MeterId::CONTROLLER);
        (stats.packets == PACKETS).then_some(stats)
    });
    let dropped = stats.bands[0].packets;
    assert!(dropped > PACKETS / 2, "{stats:?}");
    let slow = meter_stats(&mut peer, MeterId::SLOWPATH);
    assert_eq!((slow.packets, slow.bands[0].packets), (PACKETS, 0));
    drop(peer);
    daemon.stop();
}

/// Stock `ovs-ofctl` configures ports, and hosts see what becomes of their packets.
#[test]
fn ports_and_fragments_are_treated_as_they_are_configured() {
    let exchange = Exchange::new(1);
    let (switch, hosts) = silent_hosts::<2>();
    let daemon = Daemon::start_in(switch, &exchange.bridge());
    let mut peer = exchange.accept(0);
    peer.flow("priority=1,actions=ALL");
    peer.barrier();
    let passes = || hosts[0].pings("10.0.0.2");
    let stops = || {
        let lost = hosts[0].run(&["ping", "-c", "1", "-W", "0.3", "10.0.0.2"]);
        !lost.status.success()
    };
    assert!(passes());
    for (off, on) in [
        ("no-receive", "receive"),
        ("no-forward", "forward"),
        ("down", "up"),
    ] {
        let port = |word| {
            daemon
                .ofctl("mod-port", "br0", &["2", word])
                .expect_success()
        };
        port(off);
        assert!(stops(), "a packet passed a port that is {off}");
        port(on);
        eventually("the port is as it was", 30, || passes().then_some(()));
    }

    let long = || hosts[0].pings_with("10.0.0.2", &["-c", "1", "-s", "3000"]);
    let fragments = |word| daemon.ofctl("set-frags", "br0", &[word]).expect_success();
    assert!(long());
    fragments("drop");
    assert!(passes(), "what is whole passes");
    let lost = ["ping", "-c", "1", "-W", "0.3", "-s", "3000", "10.0.0.2"];
    let lost = hosts[0].run(&lost);
    assert!(!lost.status.success(), "fragments passed");
    let told = daemon.ofctl("get-frags", "br0", &[]).expect_success();
    assert_eq!(told.trim(), "drop");
    fragments("normal");
    assert!(long());

    // Of a table miss on a port without packet-ins nobody hears; of an action's packet they do.
    let port = |word| {
        daemon
            .ofctl("mod-port", "br0", &["1", word])
            .expect_success()
    };
    port("no-packet-in");
    peer.send(tests::peer::flow("", FlowModCommand::Delete));
    peer.flow("cookie=1,priority=0,actions=CONTROLLER:65535");
    peer.flow("cookie=2,dl_type=0x88b5,actions=CONTROLLER:65535");
    peer.barrier();
    peer.send(through_the_tables(0x88b4, &[]));
    peer.send(through_the_tables(0x88b5, &[]));
    let from_port_1 = |packet: &PacketIn| packet.matching.read(flowtable::Field::InPort).0 == 1;
    let first = peer.wait(|message| packet_in(message).filter(from_port_1));
    assert_eq!(first.cookie, 2);
    drop(peer);
    daemon.stop();
}

/// Which bucket a frame took, by the last byte of the address that it set.
fn bucket_taken(peer: &mut Peer) -> u8 {
    peer.barrier();
    peer.send(through_the_tables(0x88b5, &[]));
    let ours = |packet: &PacketIn| packet.data[12..14] == [0x88, 0xb5];
    peer.wait(|message| packet_in(message).filter(ours)).data[5]
}

#[test]
fn fast_failover_follows_links_and_groups() {
    let exchange = Exchange::new(1);
    let (switch, _hosts) = silent_hosts::<2>();
    let daemon = Daemon::start_in(switch, &exchange.bridge());
    let mut peer = exchange.accept(0);
    let bucket = |number: u8, watch_port, watch_group| {
        let port = OfPort::CONTROLLER;
        let field = flowtable::Field::EthDst;
        let set = Action::SetField {
            field,
            value: number.into(),
            mask: field.ones(),
        };
        let output = Action::Output {
            port,
            max_len: 0xffff,
        };
        Bucket {
            weight: 0,
            watch_port,
            watch_group,
            actions: [set, output].into(),
        }
    };
    let group = |group, buckets| {
        Message::GroupMod(GroupMod {
            command: GroupModCommand::Add,
            kind: GroupKind::FastFailover,
            group: GroupId(group),
            buckets,
        })
    };
    peer.send(group(1, vec![bucket(1, OfPort(2), GroupId::ANY)]));
    let by_group = bucket(2, OfPort::ANY, GroupId(1));
    peer.send(group(2, vec![by_group, bucket(3, OfPort(1), GroupId::ANY)]));
    peer.flow("dl_type=0x88b5,actions=group:2");
    assert_eq!(bucket_taken(&mut peer), 2);
    daemon.netns().ip("link set p2 down");
    eventually("the second bucket is taken", 30, || {
        (bucket_taken(&mut peer) == 3).then_some(())
    });
    daemon.netns().ip("link set p2 up");
    eventually("the first bucket is taken again", 30, || {
        (bucket_taken(&mut peer) == 2).then_some(())
    });
    // A port that a controller takes down is as dead as one without a carrier.
    daemon
        .ofctl("mod-port", "br0", &["2", "down"])
        .expect_success();
    eventually("the second bucket is taken", 30, || {
        (bucket_taken(&mut peer) == 3).then_some(())
    });
    drop(peer);
    daemon.stop();
}

/// With room for two flows the third takes the place of one, and its controller hears of that.
#[test]
fn a_full_table_makes_room_and_says_so() {
    let exchange = Exchange::new(1);
    let controllers = exchange.path(0).display().to_string();
    let daemon = Daemon::start(&format!(
        "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\nflow_limit = 2\n\
         overflow_policy = \"evict\"\ncontrollers = [\"unix:{controllers}\"]\n"
    ));
    let mut peer = exchange.accept(0);
    peer.flow("send_flow_rem,cookie=1,priority=1,actions=drop");
    peer.flow("send_flow_rem,cookie=2,priority=2,idle_timeout=100,actions=drop");
    peer.flow("send_flow_rem,cookie=3,priority=3,hard_timeout=50,actions=drop");
    peer.flow("send_flow_rem,cookie=4,priority=4,actions=drop");
    peer.flow("send_flow_rem,cookie=5,priority=5,actions=drop");
    let told: Vec<_> = peer
        .barrier()
        .into_iter()
        .map(|(_, message)| message)
        .collect();
    let mut gone = Vec::new();
    let mut refused = Vec::new();
    for message in told {
        match message {
            Message::FlowRemoved(flow) => gone.push((flow.cookie, flow.reason)),
            Message::Error(error) => refused.push(error.code),
            other => panic!("{other:?}"),
        }
    }
    let delete = FlowRemovedReason::Delete;
    assert_eq!(gone, [(2, delete), (3, delete)]);
    let full = [ErrorCode::FLOW_MOD_FAILED_TABLE_FULL];
    assert_eq!(refused, full, "none of the flows there has a timeout");
    drop(peer);
    daemon.stop();
}

/// What a script of os-ken's says of the switch.
#[track_caller]
fn os_ken(daemon: &Daemon, script: &str) -> String {
    let python = target_dir().join("controller/bin/python");
    assert!(python.exists(), "os-ken is missing: run 'make setup'");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openflow_protocol");
    let script = format!("{folder}/{script}");
    let socket = daemon.run_dir().join("br0.mgmt").display().to_string();
    // Without -B it would write what it compiles into the sources.
    run(&[&python.display().to_string(), "-B", &script, &socket]).expect_success()
}

#[test]
fn os_ken_cuts_tables_down() {
    let (daemon, _exchange, peer) = connected();
    let told = os_ken(&daemon, "table_features.py");
    assert!(told.contains("as os-ken wants them"), "{told}");
    // What is gone is gone for all: stock ovs-ofctl sees two tables.
    let tables = daemon.ofctl("dump-tables", "br0", &[]).expect_success();
    assert!(
        tables.contains("2 tables") || !tables.contains("table 2"),
        "{tables}"
    );
    drop(peer);
    daemon.stop();
}

/// What os-ken can encode of Nicira's actions comes back as it went in.
#[test]
fn os_ken_reads_niciras_actions_as_it_sent_them() {
    let (daemon, _exchange, peer) = connected();
    let told = os_ken(&daemon, "nicira_actions.py");
    assert!(told.contains("came back as os-ken sent them"), "{told}");
    drop(peer);
    daemon.stop();
}
