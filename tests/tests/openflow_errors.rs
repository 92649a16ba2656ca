//! Every error that OpenFlow 1.3.5 §7.4.4 and the extensions that we speak define, provoked in the
//! running switch by bytes written by hand (`openflow_errors/cases.txt`); those that it never sends
//! are listed with the reason in docs/openflow.md, and nothing is in neither list.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use openflow::{ErrorCode, GroupId, MeterId};
use tests::{Daemon, Netns, null_bridge};

const CASES: &str = include_str!("openflow_errors/cases.txt");
const DOCUMENT: &str = include_str!("../../docs/openflow.md");

/// Errors that take a switch with small limits, much time, many messages or two errors for one
/// message, and other tests provoke, which docs/openflow.md names.
const ELSEWHERE: &[&str] = &[
    "GROUP_MOD_FAILED_OUT_OF_GROUPS",
    "METER_MOD_FAILED_OUT_OF_METERS",
    "BUNDLE_FAILED_OUT_OF_BUNDLES",
    "BUNDLE_FAILED_MSG_TOO_MANY",
    "BUNDLE_FAILED_MSG_FAILED",
    "BUNDLE_FAILED_TIMEOUT",
];

/// A controller that knows nothing but bytes.
struct Peer {
    stream: UnixStream,
    next_xid: u32,
    /// Number of the buffer of the last packet-in.
    buffer: [u8; 4],
}

impl Peer {
    fn connect(daemon: &Daemon) -> Peer {
        let stream = UnixStream::connect(daemon.run_dir().join("br0.mgmt")).expect("a socket");
        let timeout = Some(Duration::from_secs(20));
        stream.set_read_timeout(timeout).expect("a socket");
        let mut peer = Peer {
            stream,
            next_xid: 0x100,
            buffer: [0xff; 4],
        };
        assert_eq!(peer.receive()[1], 0, "the switch says hello");
        peer
    }

    /// Says hello as OpenFlow 1.3 alone.
    fn greet(&mut self) {
        self.write(&[4, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x10]);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the switch reads");
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut message = vec![0; 8];
        self.stream.read_exact(&mut message).expect("a message");
        let len = u16::from_be_bytes([message[2], message[3]]);
        message.resize(len.into(), 0);
        self.stream
            .read_exact(&mut message[8..])
            .expect("a whole message");
        message
    }

    fn xid(&mut self) -> [u8; 4] {
        self.next_xid += 1;
        self.next_xid.to_be_bytes()
    }

    /// The errors that the switch has sent before it answers a barrier.
    fn errors(&mut self) -> Vec<Vec<u8>> {
        let xid = self.xid();
        self.write(&[&[4, 20, 0, 8], &xid[..]].concat());
        let mut errors = Vec::new();
        loop {
            let message = self.receive();
            match message[1] {
                1 => errors.push(message),
                10 => self.buffer.copy_from_slice(&message[8..12]),
                21 if message[4..8] == xid => return errors,
                _ => {}
            }
        }
    }
}

/// The words that stand for bytes.
type Names = BTreeMap<String, Vec<u8>>;

/// The bytes of some tokens.
fn bytes(names: &Names, buffer: [u8; 4], tokens: &[&str]) -> Vec<u8> {
    let mut stack = vec![Vec::new()];
    for token in tokens {
        if *token == "[" {
            stack.push(Vec::new());
            continue;
        }
        let (word, times) = token.split_once('*').unwrap_or((token, "1"));
        let times = times
            .parse()
            .unwrap_or_else(|_| panic!("how often? {token}"));
        let part = match word {
            "]" => stack.pop().expect("a bracket that opens"),
            "BUFFER" => buffer.to_vec(),
            word => match names.get(word) {
                Some(bytes) => bytes.clone(),
                None => digits(word),
            },
        };
        let whole = stack.last_mut().expect("as many brackets open as close");
        (0..times).for_each(|_| whole.extend_from_slice(&part));
    }
    assert_eq!(stack.len(), 1, "a bracket is open: {tokens:?}");
    stack.remove(0)
}

fn digits(word: &str) -> Vec<u8> {
    let pairs = (0..word.len()).step_by(2);
    let byte = |at| {
        let pair = word.get(at..at + 2).unwrap_or("?");
        u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("what is {word}?"))
    };
    pairs.map(byte).collect()
}

/// A line as a message with this number.
fn message(names: &Names, buffer: [u8; 4], line: &str, xid: [u8; 4]) -> Vec<u8> {
    let tokens: Vec<_> = line.split_whitespace().collect();
    let (word, tokens) = tokens.split_first().expect("a word");
    let mut names = names.clone();
    names.insert("XID".to_owned(), xid.to_vec());
    let body = bytes(&names, buffer, tokens);
    if *word == "raw" {
        return [&body[..4], &xid, &body[4..]].concat();
    }
    let kind = TYPES.iter().find(|(name, _)| name == word);
    let (_, kind) = kind.unwrap_or_else(|| panic!("what is a {word}?"));
    let [high, low] = (8 + body.len() as u16).to_be_bytes();
    [&[4, *kind, high, low], &xid[..], &body].concat()
}

const TYPES: &[(&str, u8)] = &[
    ("experimenter", 4),
    ("features", 5),
    ("set_config", 9),
    ("packet_out", 13),
    ("flow_mod", 14),
    ("group_mod", 15),
    ("port_mod", 16),
    ("table_mod", 17),
    ("multipart", 18),
    ("queue_config", 22),
    ("role", 24),
    ("meter_mod", 29),
];

/// Checks that an error is about a message: number, code, and what it repeats.
fn check(error: &[u8], about: &[u8], wanted: &str) {
    let number = |at: usize| u16::from_be_bytes([error[at], error[at + 1]]);
    let (kind, code) = (number(8), number(10));
    let name = ErrorCode { kind, code }.name();
    assert_eq!(name, Some(wanted), "type {kind}, code {code}");
    assert_eq!(
        error[4..8],
        about[4..8],
        "{wanted} is about another message"
    );
    if wanted.starts_with("HELLO_FAILED") {
        let text = std::str::from_utf8(&error[12..]).expect("text");
        return assert!(!text.is_empty(), "{wanted} says nothing");
    }
    let start = &about[..about.len().min(64)];
    // Errors of experimenters say whose they are before that.
    let data = if kind == ErrorCode::EXPERIMENTER {
        16
    } else {
        12
    };
    assert!(
        error[data..].starts_with(start),
        "{wanted} repeats {error:x?}"
    );
}

/// A case under way.
struct Case<'a> {
    title: &'a str,
    peer: Peer,
    greeted: bool,
    /// The line that was sent last, and its number.
    line: &'a str,
    xid: [u8; 4],
    /// The message sent last, and the errors that came after it.
    last: Vec<u8>,
    errors: Vec<Vec<u8>>,
}

impl<'a> Case<'a> {
    fn start(daemon: &Daemon, title: &'a str) -> Case<'a> {
        Case {
            title,
            peer: Peer::connect(daemon),
            greeted: false,
            line: "",
            xid: [0; 4],
            last: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn send(&mut self, names: &Names, line: &'a str) {
        self.expect_none();
        let (times, line) = line.split_once(" x ").unwrap_or(("1", line));
        // The parts of a request have one number.
        if self.line != line {
            (self.line, self.xid) = (line, self.peer.xid());
        }
        for _ in 0..times.parse().expect("how often") {
            self.last = message(names, self.peer.buffer, line, self.xid);
            if self.last[1] == 0 {
                self.peer.write(&self.last);
                self.errors = vec![self.peer.receive()];
                return;
            }
            if !std::mem::replace(&mut self.greeted, true) {
                self.peer.greet();
            }
            self.peer.write(&self.last);
            self.errors.extend(self.peer.errors());
        }
        if line.contains("fffffff9") && self.errors.is_empty() {
            // What goes through the tables to the controller comes when it comes.
            while self.peer.buffer == [0xff; 4] && line.starts_with("packet_out") {
                self.errors.extend(self.peer.errors());
            }
        }
    }

    fn expect(&mut self, code: &str) {
        let title = self.title;
        let errors = std::mem::take(&mut self.errors);
        let [error] = &errors[..] else {
            panic!("{title}: {} errors instead of {code}", errors.len());
        };
        println!("{title}: {code}");
        check(error, &self.last, code);
    }

    fn expect_none(&mut self) {
        let told: Vec<_> = self.errors.iter().map(|error| &error[8..12]).collect();
        assert!(told.is_empty(), "{}: refused with {told:x?}", self.title);
    }
}

/// Deletes all flows, groups and meters.
fn clean_up(daemon: &Daemon) {
    let mut peer = Peer::connect(daemon);
    peer.greet();
    let names = Names::new();
    let group = format!("group_mod 0002 00 00 {:08x}", GroupId::ALL.0);
    let meter = format!("meter_mod 0002 0000 {:08x}", MeterId::ALL.0);
    let match_all = "0001 0004 00*4";
    let flow = format!("flow_mod 00*16 ff 03 00*6 ff*12 0000 0000 {match_all}");
    for line in [&flow, &group, &meter, "set_config 0000 0080"] {
        let xid = peer.xid();
        let message = message(&names, [0; 4], line, xid);
        peer.write(&message);
    }
    assert!(peer.errors().is_empty(), "everything can be deleted");
}

/// The codes of the table of those that are never sent.
fn never_sent() -> BTreeSet<&'static str> {
    let section = DOCUMENT.split("## Errors that are never sent").nth(1);
    let section = section.expect("docs/openflow.md lists the errors that are never sent");
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let codes = rows.filter_map(|row| row.split('|').nth(1));
    let words = codes.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    words.filter(|word| is_code(word)).collect()
}

fn is_code(word: &str) -> bool {
    ErrorCode::ALL.iter().any(|code| code.name() == Some(word))
}

#[test]
fn every_error_is_provoked() {
    let daemon = Daemon::start_in(Netns::silent("sw"), &null_bridge("flow_limit = 2\n"));
    let mut names = Names::new();
    let mut provoked = BTreeSet::new();
    let mut case: Option<Case<'_>> = None;
    for line in CASES.lines().map(str::trim) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "#" => {}
            "==" => {
                if let Some(mut done) = case.take() {
                    done.expect_none();
                    clean_up(&daemon);
                }
                case = Some(Case::start(&daemon, rest));
            }
            "let" => {
                let tokens: Vec<_> = rest.split_whitespace().collect();
                let value = bytes(&names, [0; 4], &tokens[1..]);
                names.insert(tokens[0].to_owned(), value);
            }
            "!" => {
                case.as_mut().expect("a case").expect(rest);
                provoked.insert(rest);
            }
            _ => case.as_mut().expect("a case").send(&names, line),
        }
    }
    case.expect("cases").expect_none();
    daemon.stop();

    let mut listed = never_sent();
    listed.extend(ELSEWHERE);
    for code in ErrorCode::ALL.iter().filter_map(|code| code.name()) {
        let (sent, never) = (provoked.contains(code), listed.contains(code));
        assert!(sent || never, "nothing is said of {code}");
        assert!(!(sent && never), "{code} is sent after all");
    }
}
