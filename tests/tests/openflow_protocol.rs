//! What a controller seldom asks for, end to end: a controller of our own codec, and one of
//! os-ken's, before a switch with ports that lead nowhere.

use openflow::{
    Action, AsyncConfig, Band, Bucket, GroupId, GroupKind, GroupMod, GroupModCommand, Message,
    MeterFlags, MeterId, MeterMod, MeterModCommand, MeterStats, MultipartReply, MultipartRequest,
    OfPort, PacketIn, PacketInReason, PacketOut, TableId,
};
use tests::peer::{Exchange, Peer};
use tests::{Daemon, eventually, run, target_dir};

/// A switch with ports 1 and 2 and its controller.
fn connected() -> (Daemon, Exchange, Peer) {
    let exchange = Exchange::new(1);
    let controllers = exchange.path(0).display().to_string();
    let port = |i| format!("[[bridge.port]]\nname = \"n{i}\"\nnumber = {i}\ntype = \"null\"\n");
    let head = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n";
    let daemon = Daemon::start(&format!(
        "{head}controllers = [\"unix:{controllers}\"]\n{}{}",
        port(1),
        port(2)
    ));
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

fn packet_in(message: Message) -> Option<PacketIn> {
    match message {
        Message::PacketIn(packet) => Some(*packet),
        _ => None,
    }
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
    let stats = eventually("every packet is metered", 30, || {
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

#[test]
fn os_ken_cuts_tables_down() {
    let (daemon, _exchange, peer) = connected();
    let python = target_dir().join("controller/bin/python");
    assert!(python.exists(), "os-ken is missing: run 'make setup'");
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/openflow_protocol/table_features.py"
    );
    let socket = daemon.run_dir().join("br0.mgmt").display().to_string();
    let words = [&python.display().to_string(), script, &socket];
    let told = run(&words).expect_success();
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
