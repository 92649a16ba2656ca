//! The dialogue over TCP, with os-ken as the controller, recorded on the loopback: tshark's
//! dissector reads every message of ours and finds nothing malformed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;

use openflow::Message;
use serde_json::json;
use tests::controller::{OPENFLOW_PORT, ask};
use tests::peer::{Peer, READ_PAUSE};
use tests::{Background, Controller, Daemon, Netns, eventually, null_bridge, run};

use super::{DIALOGUE, PACKET, SETTINGS, answer, listening};

/// Where `ovs-ofctl` finds the switch.
const TARGET: &str = "tcp:127.0.0.1:6654";
const LISTENER_PORT: u16 = 6654;

/// How often each type of message was sent by the switch.
type Counts = BTreeMap<u8, usize>;

/// What tshark makes of each frame of a recording.
fn dissect(recording: &str) -> Vec<Vec<String>> {
    let columns = [
        "tcp.srcport",
        "tcp.dstport",
        "tcp.stream",
        "tcp.payload",
        "openflow_v4.type",
        "openflow_v4.multipart_reply.type",
        "_ws.malformed",
        "_ws.expert.severity",
        "_ws.expert.group",
        "tcp.seq",
    ];
    let mut words = vec!["tshark", "-n", "-r", recording, "-T", "fields"];
    for form in ["separator=|", "occurrence=a", "aggregator=;"] {
        words.extend(["-E", form]);
    }
    words.extend(["-d", "tcp.port==6654,openflow"]);
    words.extend(columns.iter().flat_map(|column| ["-e", column]));
    let rows = run(&words).expect_success();
    rows.lines()
        .map(|line| line.split('|').map(str::to_string).collect())
        .collect()
}

fn is_ours(row: &[String]) -> bool {
    row[0] == LISTENER_PORT.to_string() || row[1] == OPENFLOW_PORT.to_string()
}

fn numbers(text: &str) -> impl Iterator<Item = u32> {
    let numbers = text.split(';').filter(|text| !text.is_empty());
    numbers.map(|text| text.parse().expect("a number"))
}

/// The payload of a frame.
fn payload(row: &[String]) -> Vec<u8> {
    let digits = row[3].as_bytes().chunks(2);
    let bytes = digits.map(|two| std::str::from_utf8(two).expect("hexadecimal"));
    let bytes = bytes.map(|two| u8::from_str_radix(two, 16).expect("hexadecimal"));
    bytes.collect()
}

/// Whole messages at the beginning of some bytes.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
        let (message, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        (length >= HEADER_LENGTH).then_some(message)
    })
}

/// Whether a message is an error with no more than the beginning of its request: what is cut is
/// malformed to tshark.
fn cuts_its_request(message: &[u8]) -> bool {
    let request = message.get(12..).unwrap_or_default();
    let is_cut = |length: [u8; 2]| usize::from(u16::from_be_bytes(length)) > request.len();
    message[1] == ERROR && request.len() >= 4 && is_cut([request[2], request[3]])
}

/// The messages of ours in a recording, by the lengths in their headers.
fn sent(rows: &[Vec<String>]) -> Counts {
    let mut streams: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for row in rows.iter().filter(|row| is_ours(row)) {
        // By their place in the stream: TCP may send them twice.
        let bytes = payload(row);
        let begin: usize = row[9].parse().expect("a sequence number");
        let stream = streams.entry(&row[2]).or_default();
        let begin = begin.saturating_sub(1);
        stream.resize(stream.len().max(begin + bytes.len()), 0);
        stream[begin..begin + bytes.len()].copy_from_slice(&bytes);
    }
    let mut counts = Counts::new();
    for bytes in streams.values() {
        let mut length = 0;
        for message in messages(bytes) {
            *counts.entry(message[1]).or_default() += 1;
            length += message.len();
        }
        // `ovs-ofctl` may leave in the middle of an answer.
        let rest = &bytes[length..];
        let is_begun =
            |head: &[u8]| usize::from(u16::from_be_bytes([head[2], head[3]])) > rest.len();
        let is_whole = rest.get(..4).is_none_or(is_begun);
        assert!(is_whole, "recorded from end to end");
    }
    counts
}

/// Has os-ken and `ovs-ofctl` say all they can, and records it.
fn record(daemon: &Daemon, recording: &str) {
    let log = daemon.scratch().join("recorder.log");
    let words = [
        "tcpdump",
        "-Z",
        "root",
        "-U",
        "--immediate-mode",
        "-i",
        "lo",
        "-B",
        "16384",
        "-s",
        "0",
        "-w",
        recording,
        "tcp",
    ];
    let mut recorder = Background::start(&daemon.netns().words(&words), &log);
    eventually("the recorder listens", 30, || {
        recorder.output().contains("listening on lo").then_some(())
    });
    let netns = daemon.netns();
    let _controller = Controller::start_rest(netns, "os_ken.app.ofctl_rest", daemon.scratch());
    eventually("the controller has the switch", 60, || {
        (ask(netns, "GET", "/stats/switches", None).1 == json!([42])).then_some(())
    });
    let role = json!({ "dpid": 42, "role": "MASTER" });
    eventually("the controller is the master", 60, || {
        assert_eq!(ask(netns, "POST", "/stats/role", Some(&role)).0, 200);
        let (_, roles) = ask(netns, "GET", "/stats/role/42", None);
        (roles["42"][0]["role"] == "MASTER").then_some(())
    });
    let monitor = listening(daemon, TARGET, &["monitor", "65534"]);
    eventually("a packet comes in", 30, || {
        daemon
            .ofctl("packet-out", "br0", &[PACKET])
            .expect_success();
        monitor.output().contains("NXT_PACKET_IN2").then_some(())
    });
    let flow = "priority=4,in_port=2,send_flow_rem,actions=drop";
    daemon.ofctl("add-flow", "br0", &[flow]).expect_success();
    daemon
        .ofctl("del-flows", "br0", &["in_port=2"])
        .expect_success();
    let file = daemon.scratch().join("file").display().to_string();
    std::fs::write(&file, "").expect("room for a file");
    let commands = DIALOGUE.lines().filter_map(|line| line.strip_prefix("$ "));
    for command in commands {
        netns.enter(|| answer(command, TARGET, &file));
    }
    netns.enter(|| answer("benchmark BRIDGE 100 3", TARGET, &file));
    eventually("ports and flows are told of", 30, || {
        let told = monitor.output();
        let both = told.contains("OFPT_FLOW_REMOVED") && told.contains("OFPT_PORT_STATUS");
        both.then_some(())
    });
    // Neither program asks for this.
    netns.enter(|| {
        let stream = TcpStream::connect(("127.0.0.1", LISTENER_PORT)).expect("it listens");
        stream.set_read_timeout(Some(READ_PAUSE)).expect("a socket");
        let mut peer = Peer::new(stream);
        peer.send(Message::AsyncRequest);
        peer.wait(|message| matches!(message, Message::AsyncReply(_)).then_some(()));
    });
    let is_recorded = |wanted: &[u8]| {
        let bytes = std::fs::read(recording).expect("the recording is there");
        let mut parts = bytes.windows(wanted.len());
        parts.any(|bytes| bytes == wanted).then_some(())
    };
    // The controller says nothing for some seconds.
    eventually("the switch probes", 60, || is_recorded(&PROBE));
    // What comes last is in the recording as soon as it is written.
    let last = u64::from_be_bytes(*LAST);
    let last = format!("add-flow BRIDGE cookie={last},actions=drop");
    netns.enter(|| answer(&last, TARGET, &file));
    eventually("all is recorded", 30, || is_recorded(LAST));
    recorder.signal("INT");
    recorder.wait(60);
}

#[test]
fn tshark_reads_the_whole_of_a_recorded_dialogue() {
    let connections = "controllers = [{ target = \"tcp:127.0.0.1:6653\", max_backoff_s = 1 }]\n\
                       listeners = [\"ptcp:6654:127.0.0.1\"]\n";
    let bridge = null_bridge(&format!("{SETTINGS}{connections}"));
    let daemon = Daemon::start_in(Netns::silent("sw"), &bridge);
    let recording = daemon
        .scratch()
        .join("recording.pcap")
        .display()
        .to_string();
    record(&daemon, &recording);
    let rows = dissect(&recording);
    let (mut read, mut multiparts) = (Counts::new(), BTreeSet::new());
    for row in rows.iter().filter(|row| is_ours(row)) {
        let is_cut = messages(&payload(row)).any(cuts_its_request);
        assert!(row[6].is_empty() || is_cut, "malformed: {row:?}");
        for (severity, group) in numbers(&row[7]).zip(numbers(&row[8])) {
            let is_told = severity > NOTE && group != SEQUENCE;
            assert!(!is_told || is_cut, "{row:?}");
        }
        for kind in numbers(&row[4]) {
            *read.entry(kind.try_into().expect("a type")).or_default() += 1;
        }
        multiparts.extend(numbers(&row[5]));
    }
    let sent = sent(&rows);
    for (kind, count) in &sent {
        // An error repeats its request, which is read too.
        assert!(
            read.get(kind) >= Some(count),
            "type {kind}: {sent:?} {read:?}"
        );
    }
    let kinds: Vec<u8> = sent.into_keys().collect();
    assert_eq!(kinds, ANSWERS);
    assert_eq!(Vec::from_iter(multiparts), Vec::from_iter(0..=13));
    daemon.stop();
}

/// All that a switch sends: hello, errors, echo requests and replies, experimenter's (bundles),
/// features, configuration, packets, flows removed, ports, multipart and barrier replies, queues,
/// roles, choices of asynchronous messages.
const ANSWERS: [u8; 15] = [0, 1, 2, 3, 4, 6, 8, 10, 11, 12, 19, 21, 23, 25, 27];

/// Beginning of the switch's echo requests, whose numbers have the highest bit.
const PROBE: [u8; 5] = [4, 2, 0, 8, 0x80];

const ERROR: u8 = 1;

/// The cookie that ends the dialogue.
const LAST: &[u8; 8] = b"the last";

const HEADER_LENGTH: usize = 8;

/// `PI_NOTE` of tshark: warnings and errors are above it.
const NOTE: u32 = 0x0040_0000;

/// `PI_SEQUENCE` of tshark: what it remarks on TCP.
const SEQUENCE: u32 = 0x0200_0000;
