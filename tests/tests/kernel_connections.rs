//! Connections that kernels make with each other over a wire that loses, repeats and reorders
//! frames, as an observer in its middle sees them: connection tracking must find fault with none.
//!
//! ```text
//! h1 eth0 ── p1 [before ─ observer ─ after] p2 ── eth0 h2
//! ```
//!
//! The same connections go through a switch, too, which translates both of their ends:
//!
//! ```text
//! h1 eth0 ── p1 [before ─ observer ─ after] w1 ── w2 vswitchd p2 ── eth0 h2
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use flowtable::conntrack::{
    Body, Item, Packet, Phase, Request, Segment, Table, Tracker, Tuple, ct_state,
};
use flowtable::fragments::{Fate, Fragment, Fragments, Rest};
use flowtable::{FlowKey, eth_type, has_right_checksums, parse};
use tests::process::Background;
use tests::{Daemon, Netns, eventually};

/// Two hosts and the wire between them.
struct Wire {
    folder: tempfile::TempDir,
    hosts: [Netns; 2],
    /// What the hosts are joined by, but for a switch.
    _middle: Option<Netns>,
    _wire: Background,
    daemon: Option<Daemon>,
}

impl Wire {
    #[track_caller]
    fn new(loss: &str, repeat: &str, reorder: &str) -> Wire {
        Wire::to("p2", loss, repeat, reorder)
    }

    /// A wire of which a switch that translates is part.
    #[track_caller]
    fn translated(loss: &str, repeat: &str, reorder: &str) -> Wire {
        let mut wire = Wire::to("w1", loss, repeat, reorder);
        let bridge = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n\
             [[bridge.port]]\nname = \"w2\"\ntype = \"system\"\nnumber = 1\n\
             [[bridge.port]]\nname = \"p2\"\ntype = \"system\"\nnumber = 2\n";
        let daemon = Daemon::start_in(wire._middle.take().expect("just made"), bridge);
        for flow in TRANSLATION {
            daemon.ofctl("add-flow", "br0", &[flow]).expect_success();
        }
        for (here, there, other) in [(0, 1, VIRTUAL[1]), (1, 0, VIRTUAL[0])] {
            let mac = wire.hosts[there].run(&["cat", "/sys/class/net/eth0/address"]);
            let mac = mac.stdout.trim().to_string();
            wire.hosts[here].ip(&format!("neigh add {other} lladdr {mac} dev eth0"));
        }
        wire.daemon = Some(daemon);
        wire
    }

    /// A wire from `p1` to another device of the middle.
    #[track_caller]
    fn to(other: &str, loss: &str, repeat: &str, reorder: &str) -> Wire {
        let (middle, hosts) = tests::netns::hosts::<2>();
        for (number, host) in hosts.iter().enumerate() {
            let address = format!("addr add fd00::{}/64 dev eth0 nodad", number + 1);
            host.ip(&address);
            // Frames as they are on a cable: cut to size, with their checksums.
            let words = [
                "ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off",
            ];
            host.run(&words).expect_success();
            middle.ip(&format!("link set p{} promisc on", number + 1));
        }
        middle.veth("w1", &middle, "w2");
        middle.ip("link set w1 promisc on");
        let folder = tests::folder();
        let record = folder.path().join("record");
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/kernel_connections/wire.py"
        );
        let record = record.to_str().expect("paths here are text");
        let words = [
            "python3", script, "p1", other, record, loss, repeat, reorder,
        ];
        let wire = Background::start(&middle.words(&words), &folder.path().join("wire.log"));
        eventually("the wire is there", 30, || {
            wire.output().contains("ready").then_some(())
        });
        Wire {
            folder,
            hosts,
            _middle: Some(middle),
            _wire: wire,
            daemon: None,
        }
    }

    /// Has both hosts talk until both are done.
    #[track_caller]
    fn talk(&self, what: &str, addresses: [&str; 2]) {
        self.talk_as(what, addresses, addresses);
    }

    /// As [`Wire::talk`], where each calls the other as `seen` says.
    #[track_caller]
    fn talk_as(&self, what: &str, addresses: [&str; 2], seen: [&str; 2]) {
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/kernel_connections/talk.py"
        );
        let start = |side: usize| {
            let number = side.to_string();
            let words = [
                "python3",
                script,
                what,
                &number,
                addresses[side],
                seen[1 - side],
            ];
            let log = self.folder.path().join(format!("{what}-{side}.log"));
            Background::start(&self.hosts[side].words(&words), &log)
        };
        let mut server = start(1);
        eventually("the server is there", 30, || {
            server.output().contains("ready").then_some(())
        });
        let mut client = start(0);
        let status = client.wait(120);
        assert!(status.success(), "{what}: {}", client.output());
        if what != "datagrams" {
            let status = server.wait(120);
            assert!(status.success(), "{what}: {}", server.output());
        }
    }

    fn record(&self) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(self.folder.path().join("record")).expect("a record");
        let (mut rest, mut frames) = (&bytes[..], Vec::new());
        while let Some((len, behind)) = rest.split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*len) as usize;
            let Some((frame, behind)) = behind.split_at_checked(len) else {
                break;
            };
            frames.push(frame.to_vec());
            rest = behind;
        }
        frames
    }
}

/// Both hosts call each other by virtual addresses; what is invalid is counted by flows of its own.
const TRANSLATION: [&str; 14] = [
    "priority=9,arp,actions=NORMAL",
    "priority=5,in_port=1,ip,nw_dst=10.0.0.200,actions=ct(table=1,zone=1,nat)",
    "table=1,priority=9,cookie=0xbad,ct_state=+inv,actions=drop",
    "table=1,priority=5,ip,ct_state=+new,actions=ct(commit,zone=1,nat(dst=10.0.0.2),table=2)",
    "table=1,priority=1,ip,actions=resubmit(,2)",
    "table=2,ip,actions=ct(table=3,zone=2,nat)",
    "table=3,priority=9,cookie=0xbad,ct_state=+inv,actions=drop",
    "table=3,priority=5,ip,ct_state=+new,\
     actions=ct(commit,zone=2,nat(src=10.0.0.100),table=4)",
    "table=3,priority=1,ip,actions=resubmit(,4)",
    "table=4,actions=output:2",
    "priority=5,in_port=2,ip,nw_dst=10.0.0.100,actions=ct(table=5,zone=2,nat)",
    "table=5,priority=9,cookie=0xbad,ct_state=+inv,actions=drop",
    "table=5,priority=5,ip,ct_state=-new,actions=ct(table=6,zone=1,nat)",
    "table=6,priority=9,ip,ct_state=-inv-new,actions=output:1",
];
/// What the first host is called by the second, and the second by the first.
const VIRTUAL: [&str; 2] = ["10.0.0.100", "10.0.0.200"];

/// The TCP segments of a record, in order.
fn segments(frames: &[Vec<u8>]) -> Vec<(Tuple, Segment)> {
    let read = |frame: &Vec<u8>| {
        let mut key = FlowKey::default();
        let layout = parse(frame, &mut key);
        let packet = Packet::read_whole(frame, &key, &layout, 1, Rest::default())?;
        match packet.body {
            Body::Tcp(segment) => Some((packet.tuple, segment)),
            _ => None,
        }
    };
    frames.iter().filter_map(read).collect()
}

/// Ends whose SYN got a SYN for an answer: each has sent its sequence number first alone, then
/// with an acknowledgement (RFC 9293 §3.5, figure 7).
fn crossing_syns(segments: &[(Tuple, Segment)]) -> usize {
    let crossed = |(place, (tuple, syn)): (usize, &(Tuple, Segment))| {
        let answered = segments[place..].iter().any(|(other, segment)| {
            other == tuple && segment.seq == syn.seq && segment.flags & 0x17 == SYN | ACK
        });
        syn.flags & 0x17 == SYN && answered
    };
    let all = segments.iter().enumerate();
    all.filter(|each| crossed(*each)).count()
}

/// Segments without data one before what the other end has acknowledged, with the window of its
/// last segment: how Linux probes a window that is shut, and an end that is silent.
fn probes(segments: &[(Tuple, Segment)], port: u16) -> Vec<u16> {
    let mut windows = Vec::new();
    for (place, (tuple, probe)) in segments.iter().enumerate() {
        let mut before = segments[..place].iter().rev();
        let last = before.find(|(other, _)| *other == tuple.reversed());
        let Some((_, last)) = last.filter(|_| tuple.dst_port == port) else {
            continue;
        };
        let is_probe = probe.len == 0 && probe.flags & 0x17 == ACK;
        if is_probe && probe.seq == last.ack.wrapping_sub(1) {
            windows.push(last.window);
        }
    }
    windows
}

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// What connection tracking told of the frames of a record.
#[derive(Default)]
struct Told {
    /// How often each combination of state bits.
    bits: BTreeMap<u32, usize>,
    invalid: Vec<String>,
    /// Segments of a connection that these ports had before, and resets without ACK, by which an
    /// end answers such.
    strays: usize,
    phases: Vec<Phase>,
    wholes: usize,
}

struct Observer {
    tracker: Tracker,
    fragments: Fragments<Vec<u8>>,
    /// The sequence number of each end's last SYN.
    begun: HashMap<Tuple, u32>,
    told: Told,
}

impl Observer {
    fn watch(frames: &[Vec<u8>]) -> Told {
        let table = Arc::new(Table::new(4096, 3, |_, _| ()).expect("memory"));
        let mut observer = Observer {
            tracker: table.tracker().expect("a tracker"),
            fragments: Fragments::default(),
            begun: HashMap::new(),
            told: Told::default(),
        };
        for frame in frames {
            observer.see(frame);
        }
        let Observer { tracker, told, .. } = &mut observer;
        tracker.begin(0);
        tracker.list(0, 4096, |connection| told.phases.extend(connection.tcp));
        tracker.end();
        observer.told
    }

    fn see(&mut self, frame: &[u8]) {
        let mut key = FlowKey::default();
        let layout = parse(frame, &mut key);
        let Some(fragment) = Fragment::read(frame, &key, &layout, 1, 0) else {
            return self.track(frame, Rest::default());
        };
        let mut out = Vec::new();
        let fate = self
            .fragments
            .take(&fragment, 0, frame.to_vec(), 0, &mut out);
        if let Fate::Whole(rest) = fate {
            self.told.wholes += 1;
            self.track(&out[0], rest);
        }
    }

    fn track(&mut self, frame: &[u8], rest: Rest) {
        let mut key = FlowKey::default();
        let layout = parse(frame, &mut key);
        let is_ip = matches!(key.eth_type, eth_type::IPV4 | eth_type::IPV6);
        // Neighbour discovery and its like are no connections.
        let is_other = key.ip_proto == 58 && !(128..130).contains(&key.tp_src) && key.tp_src > 4;
        if !is_ip || is_other || key.ip_proto == 0 {
            return;
        }
        assert!(
            has_right_checksums(frame, &key, &layout, rest),
            "{frame:02x?}"
        );
        let packet = Packet::read_whole(frame, &key, &layout, 1, rest);
        let packet = packet.unwrap_or_else(|| panic!("not read: {frame:02x?}"));
        let request = Request {
            zone: 1,
            commits: true,
            ..Request::default()
        };
        let item = Item {
            packet,
            known: None,
            is_translated: false,
        };
        if let Body::Tcp(segment) = &packet.body
            && segment.flags & SYN > 0
        {
            self.begun.insert(packet.tuple, segment.seq);
        }
        let is_late = self.is_of_the_last(&packet);
        let is_answer = matches!(&packet.body, Body::Tcp(it) if it.flags & (RST | ACK) == RST);
        let told = &mut self.told;
        told.strays += usize::from(is_late || is_answer);
        self.tracker.begin(0);
        self.tracker.track(&request, &[item], |_, verdict| {
            *told.bits.entry(verdict.bits).or_default() += 1;
            if verdict.bits & ct_state::INV > 0 && !is_late {
                told.invalid.push(describe(&packet));
            }
        });
        self.tracker.end();
    }

    /// Whether a segment is older than the SYNs of the connection that its ports are in now: for
    /// an observer who saw those it is part of none.
    fn is_of_the_last(&self, packet: &Packet) -> bool {
        let Body::Tcp(segment) = &packet.body else {
            return false;
        };
        let since = |number: u32, tuple| {
            let begun = self.begun.get(&tuple)?;
            Some(number.wrapping_sub(*begun) as i32)
        };
        since(segment.seq, packet.tuple).is_some_and(|since| since < 0)
            || segment.flags & ACK > 0
                && since(segment.ack, packet.tuple.reversed()).is_some_and(|since| since <= 0)
    }
}

fn describe(packet: &Packet) -> String {
    let tuple = &packet.tuple;
    let ends = format!("{} -> {}", tuple.src_port, tuple.dst_port);
    match &packet.body {
        Body::Tcp(segment) => format!("{ends} {segment:?}"),
        body => format!("{ends} {body:?}"),
    }
}

const IPV4: [&str; 2] = ["10.0.0.1", "10.0.0.2"];
const IPV6: [&str; 2] = ["fd00::1", "fd00::2"];

#[track_caller]
fn no_fault(wire: &Wire, name: &str) -> Told {
    let told = Observer::watch(&wire.record());
    let count: usize = told.bits.values().sum();
    assert!(
        told.invalid.is_empty(),
        "{name}: of {count}: {:#?}",
        told.invalid
    );
    told
}

fn count(told: &Told, bits: u32) -> usize {
    let with = told.bits.iter().filter(|(told, _)| *told & bits == bits);
    with.map(|(_, count)| count).sum()
}

#[test]
fn bulk_data_over_a_bad_wire() {
    let wire = Wire::new("0.01", "0.03", "0.2");
    wire.talk("bulk", IPV4);
    wire.talk("bulk", IPV6);
    let told = no_fault(&wire, "bulk");
    assert!(count(&told, ct_state::EST) > 800, "{:?}", told.bits);
    let is_closed =
        |phase: &Phase| matches!(phase, Phase::TimeWait | Phase::LastAck | Phase::Close);
    assert_eq!(
        told.phases.iter().filter(|phase| is_closed(phase)).count(),
        2,
        "{:?}",
        told.phases
    );
}

#[test]
fn closed_windows_keep_alives_and_resets() {
    let wire = Wire::new("0.005", "0.02", "0.1");
    for what in ["window", "keepalive", "reset", "again"] {
        wire.talk(what, IPV4);
    }
    let told = no_fault(&wire, "windows");
    let segments = segments(&wire.record());
    // Nothing but a window too small for what is to be sent is probed there.
    assert!(!probes(&segments, 5002).is_empty(), "no window was probed");
    let alive = probes(&segments, 5003);
    assert!(
        alive.iter().any(|window| *window > 0),
        "no keep-alive: {alive:?}"
    );
    // Nobody was at one port: that connection was new and closed at once.
    assert!(told.phases.contains(&Phase::Close), "{:?}", told.phases);
}

#[test]
fn both_sides_open_at_once() {
    // In order: a SYN behind the SYN|ACK of its own end is none that netfilter takes, either.
    let wire = Wire::new("0", "0", "0");
    wire.talk("simultaneous", IPV4);
    let told = no_fault(&wire, "simultaneous");
    let crossing = crossing_syns(&segments(&wire.record()));
    assert!(crossing >= 2, "the SYNs of {crossing} ends crossed");
    assert!(
        count(&told, ct_state::EST | ct_state::RPL) > 0,
        "{:?}",
        told.bits
    );
}

#[test]
fn datagrams_fragments_and_errors() {
    let wire = Wire::new("0.01", "0.02", "0.2");
    wire.talk("datagrams", IPV4);
    wire.talk("datagrams", IPV6);
    assert!(wire.hosts[0].pings("10.0.0.2") || wire.hosts[0].pings("10.0.0.2"));
    let told = no_fault(&wire, "datagrams");
    assert!(
        told.wholes >= 4,
        "{} datagrams were put together",
        told.wholes
    );
    assert!(count(&told, ct_state::REL) >= 2, "{:?}", told.bits);
    assert!(
        count(&told, ct_state::EST | ct_state::RPL) >= 4,
        "{:?}",
        told.bits
    );
}

/// Opening at once is left out: a SYN from outside is let in only once there is a connection.
#[test]
fn translated_connections_have_no_fault_either() {
    let mut wire = Wire::translated("0.005", "0.02", "0.1");
    let all = [
        "bulk",
        "window",
        "keepalive",
        "reset",
        "again",
        "simultaneous",
    ];
    for what in all {
        wire.talk_as(what, IPV4, VIRTUAL);
    }
    let told = no_fault(&wire, "translated");
    let segments = segments(&wire.record());
    assert!(!probes(&segments, 5002).is_empty(), "no window was probed");
    let daemon = wire.daemon.take().expect("a switch");
    let invalid = daemon.ofctl("dump-flows", "br0", &["cookie=0xbad/-1"]);
    let invalid = invalid.expect_success();
    let counts = invalid.lines().filter_map(|line| {
        let (_, count) = line.split_once("n_packets=")?;
        count.split(',').next()?.parse::<usize>().ok()
    });
    let counts: Vec<_> = counts.collect();
    assert_eq!(counts.len(), 3, "{invalid}");
    // The wire may repeat and put off behind the observer what it saw once.
    let strays = told.strays;
    assert!(
        counts.iter().sum::<usize>() <= 2 * strays,
        "{strays}: {invalid}"
    );
    daemon.stop();
}
