//! The switch from a controller's side: a controller of our own codec on a Unix socket sees every
//! message, so that order, roles, buffers and asynchronous messages can be told exactly.

use std::io::Write;
use std::sync::Arc;

use openflow::{
    Action, ErrorCode, FlowMod, FlowModCommand, FlowRemovedReason, Message, MultipartReply,
    MultipartRequest, OfPort, PacketIn, PacketInReason, PacketOut, PortReason, Role, RoleMessage,
    Xid,
};
use tests::Daemon;
use tests::netns::silent_hosts;
use tests::peer::{Exchange, flow, flow_value, packet_in};

#[test]
fn errors_keep_their_place_and_come_before_the_barrier_reply() {
    let exchange = Exchange::new(1);
    let (switch, _hosts) = silent_hosts::<2>();
    let daemon = Daemon::start_in(switch, &exchange.bridge());
    let mut peer = exchange.accept(0);
    peer.send(Message::FeaturesRequest);
    let datapath_id = peer.wait(|message| match message {
        Message::FeaturesReply(features) => Some(features.datapath_id),
        _ => None,
    });
    assert_eq!(datapath_id, 7);
    let first = peer.flow("priority=1,actions=group:9");
    let second = peer.send(Message::BarrierReply);
    // A message of a type that there is not.
    peer.stream
        .write_all(&[4, 99, 0, 8, 0, 0, 0, 77])
        .expect("the switch reads");
    peer.flow("priority=2,in_port=1,actions=output:2");
    let third = peer.send(Message::QueueConfigRequest(OfPort(99)));
    let told = peer
        .barrier()
        .into_iter()
        .map(|(xid, message)| match message {
            Message::Error(error) => {
                let request = error.data.len() >= 8 && error.data[4..8] == xid.0.to_be_bytes();
                assert!(request, "the request's beginning: {error:?}");
                (xid, error.code)
            }
            other => panic!("{other:?}"),
        });
    let told: Vec<_> = told.collect();
    let expected = [
        (first, ErrorCode::BAD_ACTION_BAD_OUT_GROUP),
        (second, ErrorCode::BAD_REQUEST_BAD_TYPE),
        (Xid(77), ErrorCode::BAD_REQUEST_BAD_TYPE),
        (third, ErrorCode::QUEUE_OP_FAILED_BAD_PORT),
    ];
    assert_eq!(told, expected);
    drop(peer);
    daemon.stop();
}

#[test]
fn a_barrier_reply_means_that_packets_meet_the_new_flows() {
    let exchange = Exchange::new(1);
    let (switch, hosts) = silent_hosts::<2>();
    let daemon = Daemon::start_in(switch, &exchange.bridge());
    let mut peer = exchange.accept(0);
    peer.flow("priority=1,actions=ALL");
    peer.barrier();
    assert!(hosts[0].pings("10.0.0.2"));
    for _ in 0..20 {
        peer.flow("priority=2,icmp,actions=drop");
        peer.barrier();
        let lost = hosts[0].run(&["ping", "-c", "1", "-W", "0.2", "10.0.0.2"]);
        assert!(!lost.status.success(), "a packet passed after the barrier");
        peer.send(flow("priority=2,icmp", FlowModCommand::DeleteStrict));
        peer.barrier();
        let passed = hosts[0].run(&["ping", "-c", "1", "-W", "20", "10.0.0.2"]);
        assert!(
            passed.status.success(),
            "a packet was dropped after the barrier"
        );
    }
    drop(peer);
    daemon.stop();
}

#[test]
fn packets_come_in_and_go_out_by_buffer_and_whole() {
    let exchange = Exchange::new(1);
    let (switch, hosts) = silent_hosts::<2>();
    let daemon = Daemon::start_in(switch, &exchange.bridge());
    let mut peer = exchange.accept(0);
    peer.flow("cookie=0x77,priority=0,actions=CONTROLLER:20");
    peer.flow("priority=5,arp,actions=ALL");
    peer.barrier();
    let mut ping = std::process::Command::new("ip")
        .args([
            "netns",
            "exec",
            hosts[0].name(),
            "ping",
            "-c",
            "1",
            "-W",
            "60",
            "10.0.0.2",
        ])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("ping runs");
    // The echo request waits in the switch and is let go by its number.
    let is_ipv4 = |packet: &PacketIn| packet.data[12..14] == [8, 0];
    let packet = peer.wait(|message| packet_in(message).filter(is_ipv4));
    assert_eq!((packet.data.len(), packet.cookie), (20, 0x77));
    assert_eq!(packet.reason, PacketInReason::NoMatch);
    assert!(packet.total_len >= 98 && packet.buffer_id.is_some());
    assert_eq!(packet.matching.read(flowtable::Field::InPort).0, 1);
    peer.send(Message::PacketOut(PacketOut {
        buffer_id: packet.buffer_id,
        in_port: OfPort(1),
        actions: Arc::new([Action::Output {
            port: OfPort(2),
            max_len: 0,
        }]),
        data: Vec::new(),
    }));
    // The flow that its answer gets takes the kept packet along.
    let packet = peer.wait(|message| packet_in(message).filter(is_ipv4));
    assert_eq!(packet.matching.read(flowtable::Field::InPort).0, 2);
    let change = FlowMod {
        buffer_id: packet.buffer_id,
        ..flow_value("priority=5,in_port=2,actions=output:1", FlowModCommand::Add)
    };
    peer.send(Message::FlowMod(Box::new(change)));
    peer.barrier();
    assert!(
        ping.wait().expect("our own child").success(),
        "the answer did not come"
    );

    // A whole packet from the controller, by the tables.
    peer.flow("priority=9,dl_type=0x88b5,actions=CONTROLLER:65535");
    peer.barrier();
    let mut frame = vec![0xff; 12];
    frame.extend([0x88, 0xb5]);
    frame.resize(60, 0x5a);
    peer.send(Message::PacketOut(PacketOut {
        buffer_id: None,
        in_port: OfPort::CONTROLLER,
        actions: Arc::new([Action::Output {
            port: OfPort::TABLE,
            max_len: 0,
        }]),
        data: frame.clone(),
    }));
    let back = peer.wait(|message| packet_in(message).filter(|it| it.data[12..14] == [0x88, 0xb5]));
    assert_eq!((back.data, back.buffer_id), (frame, None));
    let in_port = back.matching.read(flowtable::Field::InPort).0;
    assert_eq!(in_port, u128::from(OfPort::CONTROLLER.0));
    drop(peer);
    daemon.stop();
}

#[test]
fn ports_and_flows_that_go_are_told() {
    let exchange = Exchange::new(1);
    let (switch, _hosts) = silent_hosts::<2>();
    let daemon = Daemon::start_in(switch, &exchange.bridge());
    let mut peer = exchange.accept(0);
    let status = |message| match message {
        Message::PortStatus(status) => Some((status.reason, status.port.name, status.port.number)),
        _ => None,
    };
    let add = [
        "port", "add", "br0", "n9", "--type", "null", "--number", "9",
    ];
    daemon.vsctl(&add).expect_success();
    let added = (PortReason::Add, "n9".to_owned(), OfPort(9));
    peer.wait(|message| status(message).filter(|told| *told == added));
    daemon.vsctl(&["port", "del", "br0", "n9"]).expect_success();
    let deleted = (PortReason::Delete, "n9".to_owned(), OfPort(9));
    peer.wait(|message| status(message).filter(|told| *told == deleted));
    daemon.netns().ip("link set p2 down");
    let link = |message| match message {
        Message::PortStatus(status) => Some((status.port.name, status.port.state.link_down)),
        _ => None,
    };
    peer.wait(|message| link(message).filter(|told| *told == ("p2".to_owned(), true)));
    daemon.netns().ip("link set p2 up");
    peer.wait(|message| link(message).filter(|told| *told == ("p2".to_owned(), false)));

    let removed = |message| match message {
        Message::FlowRemoved(removed) => Some((removed.cookie, removed.reason)),
        _ => None,
    };
    peer.flow("send_flow_rem,cookie=1,hard_timeout=1,priority=1,actions=drop");
    peer.flow("send_flow_rem,cookie=2,idle_timeout=1,priority=2,ip,actions=drop");
    peer.flow("cookie=3,hard_timeout=1,priority=3,arp,actions=drop");
    let mut told = [peer.wait(removed), peer.wait(removed)];
    told.sort_by_key(|(cookie, _)| *cookie);
    let reasons = [
        (1, FlowRemovedReason::HardTimeout),
        (2, FlowRemovedReason::IdleTimeout),
    ];
    assert_eq!(told, reasons);
    peer.flow("send_flow_rem,cookie=4,priority=4,actions=drop");
    peer.send(flow("priority=4", FlowModCommand::DeleteStrict));
    let last = peer.barrier();
    let told = last.into_iter().find_map(|(_, message)| removed(message));
    assert_eq!(
        told,
        Some((4, FlowRemovedReason::Delete)),
        "told before the barrier"
    );
    drop(peer);
    daemon.stop();
}

#[test]
fn of_several_controllers_one_is_master_and_one_that_stalls_harms_nobody() {
    let exchange = Exchange::new(3);
    let (switch, hosts) = silent_hosts::<2>();
    let daemon = Daemon::start_in(switch, &exchange.bridge());
    let [mut first, mut second, mut stalled] = [0, 1, 2].map(|number| exchange.accept(number));
    let master = |generation_id| {
        Message::RoleReply(RoleMessage {
            role: Role::Master,
            generation_id,
        })
    };
    assert_eq!(first.role(Role::Master, 1), master(1));
    assert_eq!(second.role(Role::Master, 2), master(2));
    let slave = Message::RoleReply(RoleMessage {
        role: Role::Slave,
        generation_id: 2,
    });
    assert_eq!(first.role(Role::NoChange, 0), slave);
    let refused = first.flow("priority=1,actions=drop");
    let error = first.barrier().into_iter().find(|(xid, _)| *xid == refused);
    let Some((_, Message::Error(error))) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.code, ErrorCode::BAD_REQUEST_IS_SLAVE);

    // Every packet goes to the controllers as well; one asks without end and never reads.
    second.flow("priority=1,actions=ALL,CONTROLLER:65535");
    second.barrier();
    let table = MultipartRequest::TableFeatures(Vec::new());
    let question = Message::MultipartRequest {
        more: false,
        request: table,
    };
    stalled.stream.set_nonblocking(true).expect("a socket");
    let questions = stalled.encode_many(&question, 2000);
    let _ = stalled.stream.write(&questions);
    assert!(
        hosts[0].pings_with("10.0.0.2", &["-i", "0.002", "-c", "1000"]),
        "traffic goes on"
    );
    let packet = second.wait(packet_in);
    assert!(!packet.data.is_empty());
    let describe = MultipartRequest::Description;
    second.send(Message::MultipartRequest {
        more: false,
        request: describe,
    });
    second.wait(|message| match message {
        Message::MultipartReply {
            reply: MultipartReply::Description(_),
            ..
        } => Some(()),
        _ => None,
    });
    let stats = daemon.json(&["stats"]);
    assert_eq!(stats["control"]["packet_outs_dropped"], 0);
    let controllers = daemon.json(&["controller", "list"]).to_string();
    assert_eq!(
        controllers.matches("\"connected\":true").count(),
        3,
        "{controllers}"
    );
    drop((first, second, stalled));
    daemon.stop();
}
