//! Bundles judged by packets, by two workers at once, and by stock `ovs-ofctl --bundle`.

use std::fs;

use openflow::{
    BundleAdd, BundleControl, BundleFlags, BundleId, BundleStep, ErrorCode, FlowModCommand,
    FlowStatsRequest, GroupId, Message, MultipartReply, MultipartRequest, OfPort, TableId, Xid,
    v13,
};
use serde_json::Value;
use tests::peer::{Exchange, Peer, flow};
use tests::{Daemon, Netns, eventually};

/// A bridge with two devices that deliver the same packet without end, one for each worker.
fn bridge(exchange: &Exchange) -> String {
    let head = format!(
        "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\ncontrollers = [\"unix:{}\"]\n",
        exchange.path(0).display()
    );
    let port = |i| {
        format!(
            "[[bridge.port]]\nname = \"n{i}\"\nnumber = {i}\ntype = \"dpdk\"\n\
             options = {{ dpdk-devargs = \"net_null{i}\" }}\n"
        )
    };
    head + &port(1) + &port(2)
}

/// Sends messages as one bundle and waits until it is committed.
#[track_caller]
fn commit(peer: &mut Peer, messages: &[Message]) {
    let control = |step| {
        Message::Bundle(BundleControl {
            bundle: BundleId(1),
            step,
            flags: BundleFlags::ATOMIC,
        })
    };
    peer.send(control(BundleStep::OpenRequest));
    for message in messages {
        peer.send_numbered(|xid| {
            let mut bytes = Vec::new();
            v13::encode(xid, message, &mut bytes).expect("short enough");
            Message::BundleAdd(BundleAdd {
                bundle: BundleId(1),
                flags: BundleFlags::ATOMIC,
                message: bytes,
            })
        });
    }
    peer.send(control(BundleStep::CommitRequest));
    peer.wait(|message| match message {
        Message::Bundle(told) if told.step == BundleStep::CommitReply => Some(()),
        Message::Error(error) => panic!("{error:?}"),
        _ => None,
    });
}

/// Packets that flows with this cookie got.
#[track_caller]
fn packets(peer: &mut Peer, cookie: u64) -> u64 {
    let request = MultipartRequest::Aggregate(Box::new(FlowStatsRequest {
        table: TableId::ALL,
        out_port: OfPort::ANY,
        out_group: GroupId::ANY,
        cookie,
        cookie_mask: u64::MAX,
        matching: Default::default(),
    }));
    peer.send(Message::MultipartRequest {
        more: false,
        request,
    });
    peer.wait(|message| match message {
        Message::MultipartReply {
            reply: MultipartReply::Aggregate(sums),
            ..
        } => Some(sums.packets),
        _ => None,
    })
}

/// From one way through the tables to the other: table 0 marks each packet with `now`, table 1
/// knows that mark alone. A packet that meets the one and not the other is counted by a third rule.
fn swap(before: u64, now: u64) -> Vec<Message> {
    let mark = format!("cookie=1,priority=9,actions=write_metadata:{now},goto_table:1");
    let known = format!("cookie=2,table=1,priority=9,metadata={now},actions=drop");
    let unknown = format!("table=1,priority=9,metadata={before}");
    vec![
        flow(&unknown, FlowModCommand::DeleteStrict),
        flow(&mark, FlowModCommand::Add),
        flow(&known, FlowModCommand::Add),
    ]
}

#[test]
fn packets_on_two_workers_meet_all_of_a_bundle_or_nothing() {
    let exchange = Exchange::new(1);
    let daemon = Daemon::start_on(Netns::new("sw"), &[0, 1], &bridge(&exchange));
    let mut peer = exchange.accept(0);
    commit(&mut peer, &swap(0, 1));
    peer.flow("cookie=3,table=1,priority=1,actions=drop");
    peer.barrier();
    eventually("packets flow", 60, || {
        (packets(&mut peer, 2) > 100_000).then_some(())
    });
    let half_seen = packets(&mut peer, 3);
    let (mut before, mut marked) = (1, packets(&mut peer, 1));
    for now in (2..40).map(|round| round % 7 + 1) {
        if now == before {
            continue;
        }
        commit(&mut peer, &swap(before, now));
        before = now;
        // Every state is one that packets have met, or the test would not see much.
        eventually("packets meet the new state", 60, || {
            let count = packets(&mut peer, 1);
            (count > marked + 2000).then(|| marked = count)
        });
    }
    assert_eq!(packets(&mut peer, 3), half_seen, "half of a bundle was met");

    // The same one by one is seen: the third rule does count.
    eventually("half of a change is met", 60, || {
        let now = before % 7 + 1;
        for message in swap(before, now) {
            peer.send(message);
            peer.barrier();
        }
        before = now;
        (packets(&mut peer, 3) > half_seen).then_some(())
    });
    let workers = daemon.json(&["worker", "show"]);
    let workers = workers["workers"].as_array().expect("a list");
    let polled = |worker: &Value| worker["packets"].as_u64().expect("a number") > 100_000;
    assert!(
        workers.len() == 2 && workers.iter().all(polled),
        "{workers:?}"
    );
    drop(peer);
    daemon.stop();
}

#[test]
fn stock_ovs_ofctl_makes_many_changes_at_once_or_none() {
    let bridge = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n\
                  [[bridge.port]]\nname = \"n1\"\nnumber = 1\ntype = \"null\"\n";
    let daemon = Daemon::start(bridge);
    let file = daemon.scratch().join("flows");
    let path = file.display().to_string();
    let flows = || {
        let dump = daemon.ofctl("dump-flows", "br0", &["--no-stats"]);
        let dump = dump.expect_success();
        let lines = dump.lines().filter(|line| line.contains("actions="));
        lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let many: String = (0..5000)
        .map(|number| {
            format!(
                "add priority=7,ip,nw_dst=10.1.{}.{},actions=output:1\n",
                number / 256,
                number % 256
            )
        })
        .collect();
    fs::write(&file, many).expect("the folder is writable");
    let bundled = |command: &str, words: &[&str]| {
        daemon.ofctl(command, "br0", &[&["--bundle"], words].concat())
    };
    bundled("add-flows", &[&path]).expect_success();
    assert_eq!(flows().len(), 5000);

    // Deleting and adding in one, groups too.
    let text = "flow delete\ngroup add group_id=1,type=all,bucket=actions=output:1\n\
                flow add priority=1,actions=group:1\n";
    fs::write(&file, text).expect("the folder is writable");
    daemon.ofctl("bundle", "br0", &[&path]).expect_success();
    assert_eq!(flows(), ["priority=1 actions=group:1"]);

    // The last is refused: the deletion before it is not made either.
    let text = "flow delete\nflow add priority=2,actions=output:1\n\
                flow add priority=3,actions=group:9\n";
    fs::write(&file, text).expect("the folder is writable");
    let refused = daemon.ofctl("bundle", "br0", &[&path]);
    assert!(!refused.status.success());
    let told = refused.stderr;
    assert!(told.contains("OFPBAC_BAD_OUT_GROUP"), "{told}");
    assert!(told.contains("OFPBFC_MSG_FAILED"), "{told}");
    assert_eq!(flows(), ["priority=1 actions=group:1"]);

    // Modifications and replacements.
    bundled("mod-flows", &["priority=1,actions=drop"]).expect_success();
    assert_eq!(flows(), ["priority=1 actions=drop"]);
    fs::write(&file, "priority=5,actions=output:1\n").expect("the folder is writable");
    bundled("replace-flows", &[&path]).expect_success();
    assert_eq!(flows(), ["priority=5 actions=output:1"]);
    bundled("del-flows", &[]).expect_success();
    assert!(flows().is_empty());
    daemon.stop();
}

#[test]
fn a_bundle_ends_with_its_connection_or_when_nothing_is_said_of_it() {
    let exchange = Exchange::new(1);
    let daemon = Daemon::start(&bridge(&exchange).replace("net_null", "net_null9"));
    let mut peer = exchange.accept(0);
    let open = |peer: &mut Peer| {
        peer.send(Message::Bundle(BundleControl {
            bundle: BundleId(4),
            step: BundleStep::OpenRequest,
            flags: BundleFlags::ORDERED,
        }))
    };
    open(&mut peer);
    peer.barrier();
    drop(peer);
    let mut peer = exchange.accept(0);
    let opened = open(&mut peer);
    peer.wait(|message| matches!(message, Message::Bundle(_)).then_some(()));
    // More than ten seconds: echo requests do not keep it.
    let told = eventually("the bundle is forgotten", 60, || {
        peer.send(Message::EchoRequest(vec![1]));
        match peer.receive() {
            (xid, Message::Error(error)) => Some((xid, error.code)),
            _ => None,
        }
    });
    assert_eq!(told, (opened, ErrorCode::BUNDLE_FAILED_TIMEOUT));
    let commit = peer.send(Message::Bundle(BundleControl {
        bundle: BundleId(4),
        step: BundleStep::CommitRequest,
        flags: BundleFlags::ORDERED,
    }));
    let refused = |(xid, message): (Xid, Message)| match message {
        Message::Error(error) if xid == commit => Some(error.code),
        _ => None,
    };
    let told = eventually("the commit is refused", 30, || refused(peer.receive()));
    assert_eq!(told, ErrorCode::BUNDLE_FAILED_BAD_ID);
    drop(peer);
    daemon.stop();
}
