//! Connections to controllers as they come and go: many with mixed roles, auxiliary ones, lost and
//! half-open ones, slow readers, listeners that move, and ports that flood.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use flowtable::Field;
use openflow::{ErrorCode, Message, MultipartRequest, PacketIn, Role, Xid};
use tests::netns::silent_hosts;
use tests::peer::{Exchange, Peer, READ_PAUSE};
use tests::{Background, Daemon, Netns, eventually};

/// A bridge with those ports; `controller` is said of the one controller on a Unix socket.
fn bridge(exchange: &Exchange, fail_mode: &str, controller: &str) -> String {
    let port = |i| format!("[[bridge.port]]\nname = \"p{i}\"\nnumber = {i}\ntype = \"system\"\n");
    format!(
        "[[bridge]]\nname = \"br0\"\nfail_mode = \"{fail_mode}\"\n\
         controllers = [{{ target = \"unix:{}\"{controller} }}]\n{}{}{}",
        exchange.path(0).display(),
        port(1),
        port(2),
        port(3)
    )
}

/// Sends frames from a namespace: each 60 bytes, of EtherType 0x88b5, from an address that ends
/// with its number. Without end if `count` is 0.
fn send(host: &Netns, count: u32, pause_s: &str, log: &std::path::Path) -> Background {
    let script = "import itertools, socket, sys, time\n\
        count, pause = int(sys.argv[1]), float(sys.argv[2])\n\
        out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n\
        out.bind(('eth0', 0))\n\
        for number in range(count) if count else itertools.count():\n\
        \x20   source = bytes([2, 0]) + (number & 0xffffffff).to_bytes(4, 'big')\n\
        \x20   try: out.send(b'\\xff' * 6 + source + b'\\x88\\xb5' + bytes(46))\n\
        \x20   except OSError: pass\n\
        \x20   if pause: time.sleep(pause)\n";
    let words = ["python3", "-c", script, &count.to_string(), pause_s];
    Background::start(&host.words(&words), log)
}

/// A packet of [`send`]: the port that it came in by, and its number.
fn sent(message: Message) -> Option<(u128, u32)> {
    let Message::PacketIn(packet) = message else {
        return None;
    };
    let PacketIn { matching, data, .. } = *packet;
    let number = data.get(8..12)?.first_chunk().copied()?;
    let is_ours = data.get(12..14)? == [0x88, 0xb5];
    let port = matching.read(Field::InPort).0;
    is_ours.then_some((port, u32::from_be_bytes(number)))
}

#[test]
fn eight_controllers_of_every_role() {
    let exchange = Exchange::new(8);
    let (switch, hosts) = silent_hosts::<3>();
    let daemon = Daemon::start_in(switch, &exchange.bridge());
    let mut peers: Vec<_> = (0..8).map(|number| exchange.accept(number)).collect();
    let roles = [
        Role::Master,
        Role::Slave,
        Role::Slave,
        Role::Slave,
        Role::Equal,
        Role::Equal,
        Role::Equal,
        Role::Equal,
    ];
    for (peer, role) in peers.iter_mut().zip(roles) {
        let Message::RoleReply(reply) = peer.role(role, 5) else {
            panic!("a role is answered");
        };
        assert_eq!(reply.role, role);
    }
    peers[0].flow("priority=1,dl_type=0x88b5,actions=CONTROLLER:65535");
    peers[0].barrier();
    let log = daemon.scratch().join("send.log");
    send(&hosts[0], 1, "0", &log).wait(60);
    daemon
        .vsctl(&["port", "add", "br0", "n9", "--type", "null"])
        .expect_success();
    // Everybody hears of the port; of the packet all but slaves do.
    let told: Vec<_> = peers
        .iter_mut()
        .map(|peer| {
            let mut packets = 0;
            peer.wait(|message| match message {
                Message::PortStatus(status) => (status.port.name == "n9").then_some(()),
                _ => None,
            });
            for (_, message) in peer.barrier() {
                packets += usize::from(sent(message).is_some());
            }
            packets
        })
        .collect();
    assert!(told[1..4].iter().all(|packets| *packets == 0), "{told:?}");
    for (number, peer) in peers.iter_mut().enumerate() {
        let xid = peer.flow(&format!("priority={},actions=drop", number + 10));
        let is_refusal = |(told, message): &(Xid, Message)| match message {
            Message::Error(error) => *told == xid && error.code == ErrorCode::BAD_REQUEST_IS_SLAVE,
            _ => false,
        };
        let refused = peer.barrier().iter().any(is_refusal);
        assert_eq!(refused, roles[number] == Role::Slave, "controller {number}");
    }
    // A slave takes over: the master is one no more.
    assert!(matches!(
        peers[1].role(Role::Master, 6),
        Message::RoleReply(_)
    ));
    let Message::RoleReply(reply) = peers[0].role(Role::NoChange, 0) else {
        panic!("a role is answered");
    };
    assert_eq!(reply.role, Role::Slave);
    let list = daemon.json(&["controller", "list"]);
    let list = list["controllers"].as_array().expect("a list").clone();
    let count = |role: &str| list.iter().filter(|it| it["role"] == role).count();
    assert_eq!((count("master"), count("slave"), count("equal")), (1, 3, 4));
    drop(peers);
    daemon.stop();
}

#[test]
fn auxiliary_connections_come_and_go_with_the_main_one() {
    let exchange = Exchange::new(1);
    let (switch, hosts) = silent_hosts::<3>();
    let controller = ", auxiliary_connections = 2, max_backoff_s = 1";
    let daemon = Daemon::start_in(switch, &bridge(&exchange, "secure", controller));
    let features = |peer: &mut Peer| {
        peer.send(Message::FeaturesRequest);
        peer.wait(|message| match message {
            Message::FeaturesReply(it) => Some((it.datapath_id, it.auxiliary_id)),
            _ => None,
        })
    };
    let mut main = exchange.accept(0);
    let mut more = [exchange.accept(0), exchange.accept(0)];
    let (datapath, id) = features(&mut main);
    assert_eq!(id, 0);
    let ids: BTreeSet<_> = more.iter_mut().map(&features).collect();
    assert_eq!(ids, BTreeSet::from([(datapath, 1), (datapath, 2)]));

    // Whatever is asked is answered where it is asked; flows are everybody's.
    more[0].flow("priority=1,dl_type=0x88b5,actions=CONTROLLER:65535");
    more[0].barrier();
    let log = daemon.scratch().join("send.log");
    // Each flow always on the same of them, none on the main one. A burst of more packets than a
    // port may have under way loses some: they are sent again.
    let mut seen = [BTreeSet::new(), BTreeSet::new()];
    eventually("all packets come", 60, || {
        send(&hosts[0], 100, "0.001", &log).wait(60);
        for (peer, seen) in more.iter_mut().zip(&mut seen) {
            let told = peer.barrier().into_iter();
            seen.extend(told.filter_map(|(_, message)| sent(message)));
        }
        (seen[0].union(&seen[1]).count() == 100).then_some(())
    });
    assert!(!seen[0].is_empty() && !seen[1].is_empty(), "{seen:?}");
    assert!(seen[0].is_disjoint(&seen[1]), "{seen:?}");
    let on_main = main.barrier();
    assert!(
        on_main
            .into_iter()
            .all(|(_, message)| sent(message).is_none())
    );

    // A role is the controller's, whichever connection it is asked for on.
    assert!(matches!(
        more[1].role(Role::Slave, 1),
        Message::RoleReply(_)
    ));
    let refused = main.flow("priority=2,actions=drop");
    let error = main.barrier().into_iter().find(|(xid, _)| *xid == refused);
    let Some((_, Message::Error(error))) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.code, ErrorCode::BAD_REQUEST_IS_SLAVE);

    // One that is lost comes again; when the main one is lost all are.
    let [first, mut second] = more;
    drop(first);
    let mut again = exchange.accept(0);
    assert_ne!(features(&mut again).1, 0);
    drop(main);
    eventually("the others are closed", 30, || {
        (second.is_closed() && again.is_closed()).then_some(())
    });
    let mut main = exchange.accept(0);
    assert_eq!(features(&mut main), (datapath, 0));
    drop((main, second, again));
    daemon.stop();
}

#[test]
fn a_standalone_switch_bridges_while_its_controller_is_lost_or_half_open() {
    let exchange = Exchange::new(1);
    let (switch, hosts) = silent_hosts::<3>();
    let controller = ", inactivity_probe_s = 5, max_backoff_s = 1";
    let daemon = Daemon::start_in(switch, &bridge(&exchange, "standalone", controller));
    let mut peer = exchange.accept(0);
    peer.barrier();
    // A controller that has added no flows: nothing passes.
    assert!(hosts[0].is_cut_off_from("10.0.0.2"));
    drop(peer);
    let path = exchange.path(0);
    drop(exchange);
    eventually("the switch bridges by itself", 60, || {
        hosts[0].pings("10.0.0.2").then_some(())
    });
    let folder = path.parent().expect("a folder");
    fs::create_dir_all(folder).expect("the folder is writable");
    let listener = UnixListener::bind(&path).expect("a socket");
    let accept = || {
        let (stream, _) = listener.accept().expect("the switch dials");
        stream.set_read_timeout(Some(READ_PAUSE)).expect("a socket");
        Peer::new(stream)
    };
    let mut back = accept();
    back.barrier();
    eventually("the controller decides again", 30, || {
        back.barrier();
        (hosts[0].is_cut_off_from("10.0.0.2")).then_some(())
    });
    // Silence is found out: the switch dials again while the old socket is still open.
    let mut after = accept();
    after.flow("priority=1,actions=NORMAL");
    after.barrier();
    assert!(hosts[0].pings("10.0.0.2"));
    drop((back, after));
    fs::remove_file(&path).expect("it is there");
    daemon.stop();
}

#[test]
fn a_port_that_floods_delays_no_packet_of_another() {
    for limit in [
        "",
        ", controller_rate_limit = 2000, controller_burst_limit = 100",
    ] {
        let exchange = Exchange::new(1);
        let (switch, hosts) = silent_hosts::<3>();
        let daemon = Daemon::start_in(switch, &bridge(&exchange, "secure", limit));
        let mut peer = exchange.accept(0);
        peer.flow("priority=1,dl_type=0x88b5,actions=CONTROLLER:65535");
        peer.barrier();
        let log = |name: &str| daemon.scratch().join(name);
        let flood = send(&hosts[0], 0, "0", &log("flood.log"));
        peer.wait(|message| sent(message).filter(|(port, number)| *port == 1 && *number > 5000));
        let mut between = 0;
        for _ in 0..10 {
            send(&hosts[1], 10, "0", &log("few.log")).wait(60);
            let mut numbers = Vec::new();
            while numbers.len() < 10 {
                match peer.wait(sent) {
                    (1, _) => between += 1,
                    (_, number) => numbers.push(number),
                }
                if limit.is_empty() {
                    // A controller that is slower than the flood.
                    std::thread::sleep(std::time::Duration::from_micros(300));
                }
            }
            assert_eq!(numbers, (0..10).collect::<Vec<_>>());
        }
        assert!(between > 50, "the flood goes on: {between}");
        let lost = daemon.json(&["controller", "list"]);
        let lost = &lost["controllers"][0]["packet_ins_dropped"];
        assert!(limit.is_empty() || lost.as_u64() > Some(0), "{lost}");
        drop((flood, peer));
        daemon.stop();
    }
}

#[test]
fn one_port_has_so_many_packet_ins_and_no_more() {
    let exchange = Exchange::new(1);
    let (switch, hosts) = silent_hosts::<3>();
    let limit = "port_rate_limit = 1\nport_burst_limit = 20\n[[bridge.port]]";
    let text = bridge(&exchange, "secure", "").replacen("[[bridge.port]]", limit, 1);
    let daemon = Daemon::start_in(switch, &text);
    let mut peer = exchange.accept(0);
    peer.flow("priority=1,dl_type=0x88b5,actions=CONTROLLER:65535");
    peer.barrier();
    let log = daemon.scratch().join("send.log");
    send(&hosts[0], 500, "0", &log).wait(60);
    send(&hosts[1], 15, "0.01", &log).wait(60);
    let (mut flooded, mut few) = (0, 0);
    while few < 15 {
        match peer.wait(sent) {
            (1, _) => flooded += 1,
            _ => few += 1,
        }
    }
    // Seconds that pass meanwhile add one each.
    assert!((20..100).contains(&flooded), "{flooded}");
    let stats = daemon.json(&["stats"]);
    let limited = &stats["control"]["packet_ins_limited"];
    assert!(limited.as_u64() > Some(0), "{limited}");
    drop(peer);
    daemon.stop();
}

#[test]
fn a_slow_reader_loses_the_oldest_and_is_told_of() {
    let exchange = Exchange::new(2);
    let (switch, hosts) = silent_hosts::<3>();
    let daemon = Daemon::start_in(switch, &exchange.bridge());
    let [mut slow, mut quick] = [0, 1].map(|number| exchange.accept(number));
    quick.flow("priority=1,dl_type=0x88b5,actions=CONTROLLER:65535");
    quick.barrier();
    let describe = Message::MultipartRequest {
        more: false,
        request: MultipartRequest::Description,
    };
    let log = daemon.scratch().join("send.log");
    let flood = send(&hosts[0], 0, "0", &log);
    let dropped = || {
        let list = daemon.json(&["controller", "list"]);
        let list = list["controllers"].as_array().expect("a list").clone();
        let path = format!("unix:{}", exchange.path(0).display());
        let slow = list.iter().find(|it| it["target"] == *path);
        slow.and_then(|it| it["packet_ins_dropped"].as_u64())
    };
    eventually("what the slow one does not read is dropped", 60, || {
        quick.send(describe.clone());
        quick.wait(|message| matches!(message, Message::MultipartReply { .. }).then_some(()));
        (dropped() > Some(0)).then_some(())
    });
    let shown = daemon.vsctl(&["controller", "list"]).expect_success();
    assert!(shown.contains("packet-ins dropped"), "{shown}");
    drop(flood);
    // What it then reads is in order, with a hole.
    let mut numbers = Vec::new();
    eventually("the hole is met", 60, || {
        slow.read();
        while let Some((_, message)) = slow.poll() {
            numbers.extend(sent(message).map(|(_, number)| number));
        }
        let mut pairs = numbers.windows(2);
        pairs.any(|pair| pair[1] > pair[0] + 1).then_some(())
    });
    assert!(numbers.is_sorted(), "{} packets", numbers.len());
    drop((slow, quick));
    daemon.stop();
}

#[test]
fn a_listener_moves_in_one_step_and_comes_back_if_the_new_one_fails() {
    let bridge = "[[bridge]]\nname = \"br0\"\nlisteners = [\"ptcp:6654:127.0.0.1\"]\n";
    let daemon = Daemon::start(bridge);
    let show = |at: &str| {
        let words = ["ovs-ofctl", "--timeout=10", "-O", "OpenFlow13", "show", at];
        daemon.netns().run(&words).status.success()
    };
    let set = |at: &[&str]| {
        let words: Vec<_> = at.iter().flat_map(|at| ["--listener", *at]).collect();
        daemon.vsctl(&[&["bridge", "set", "br0"], &words[..]].concat())
    };
    assert!(show("tcp:127.0.0.1:6654") && !show("tcp:[::1]:6654"));
    set(&["ptcp:6654:[::]"]).expect_success();
    assert!(show("tcp:[::1]:6654") && show("tcp:127.0.0.1:6654"));
    set(&["ptcp:6654:[::1]"]).expect_success();
    assert!(show("tcp:[::1]:6654") && !show("tcp:127.0.0.1:6654"));
    let _taken = daemon
        .netns()
        .enter(|| TcpListener::bind("127.0.0.1:6655").expect("it is free"));
    let refused = set(&["ptcp:6654:[::]", "ptcp:6655:127.0.0.1"]);
    assert!(!refused.status.success());
    assert!(
        refused.stderr.contains("ptcp:6655:127.0.0.1"),
        "{}",
        refused.stderr
    );
    assert!(show("tcp:[::1]:6654"), "as it was before");
    let path = daemon.scratch().join("br0.sock").display().to_string();
    set(&[&format!("punix:{path}")]).expect_success();
    assert!(show(&format!("unix:{path}")) && !show("tcp:[::1]:6654"));
    daemon.stop();
}

#[test]
fn a_port_full_of_addresses_leaves_others_theirs() {
    let port = |i| format!("[[bridge.port]]\nname = \"p{i}\"\nnumber = {i}\ntype = \"system\"\n");
    let text = format!(
        "[[bridge]]\nname = \"br0\"\n{}{}{}",
        port(1),
        port(2),
        port(3)
    );
    let (switch, hosts) = silent_hosts::<3>();
    let daemon = Daemon::start_in(switch, &text);
    let flood = send(&hosts[0], 0, "0", &daemon.scratch().join("flood.log"));
    let learned = |port: &str| {
        let dump = daemon.json(&["mac", "dump", "br0"]);
        let entries = dump["entries"].as_array().expect("a list").clone();
        let of_port = entries
            .iter()
            .filter(|entry| entry["port"] == *port)
            .count();
        (of_port, entries.len())
    };
    eventually("the table is full", 60, || {
        (learned("p1").0 > 8000).then_some(())
    });
    eventually("the others talk all the same", 60, || {
        hosts[1].pings("10.0.0.3").then_some(())
    });
    for port in ["p2", "p3"] {
        let (count, all) = learned(port);
        assert!(count > 0 && all <= 8192, "{port}: {count} of {all}");
    }
    drop(flood);
    daemon.stop();
}

#[test]
fn a_controller_is_dialled_over_ipv6() {
    let switch = Netns::new("sw");
    let listener = switch.enter(|| TcpListener::bind("[::1]:6653").expect("it is free"));
    let text = "[[bridge]]\nname = \"br0\"\ncontrollers = [\"tcp:[::1]:6653\"]\n";
    let daemon = Daemon::start_in(switch, text);
    let (stream, _) = listener.accept().expect("the switch dials");
    stream.set_read_timeout(Some(READ_PAUSE)).expect("a socket");
    let mut peer = Peer::new(stream);
    peer.flow("priority=1,in_port=1,actions=drop");
    assert!(peer.barrier().is_empty());
    drop(peer);
    daemon.stop();
}
