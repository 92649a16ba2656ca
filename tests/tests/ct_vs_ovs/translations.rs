//! Translation to ranges, clashes, hairpins, errors, fragments and announced connections beside
//! Open vSwitch's own.
//!
//! What is determined has to be the same to the byte. Where a switch may choose, the choice is in
//! its range, stays the same for a connection, is nobody else's, and leaves checksums right; what
//! comes back is determined again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use flowtable::{FlowKey, has_right_checksums, parse};
use tests::twins::{Record, Seen, Sent, exchanged_by_both};

use super::REL;
use super::exchanges::*;

const TRANSLATIONS: [Translation; 10] = [
    // Clients of one port behind one address: who comes later has to take another.
    source(11, "src=10.3.0.1", "src=fd00:3::1", (1, 1), None),
    source(
        12,
        "src=10.3.0.1-10.3.0.4",
        "src=fd00:3::1-fd00:3::4",
        (1, 4),
        None,
    ),
    source(
        13,
        "src=10.3.0.1:5000-5015",
        "src=[fd00:3::1]:5000-5015",
        (1, 1),
        Some((5000, 5015)),
    ),
    source(
        14,
        "src=10.3.0.1-10.3.0.2:5000-5003,random",
        "src=[fd00:3::1]-[fd00:3::2]:5000-5003,random",
        (1, 2),
        Some((5000, 5003)),
    ),
    source(
        15,
        "src=10.3.0.1-10.3.0.4,persistent,hash",
        "src=fd00:3::1-fd00:3::4,persistent,hash",
        (1, 4),
        None,
    ),
    destination(16, "dst=10.4.0.1-10.4.0.4", "dst=fd00:4::1-fd00:4::4", None),
    destination(
        17,
        "dst=10.4.0.1-10.4.0.4:8080-8083",
        "dst=[fd00:4::1]-[fd00:4::4]:8080-8083",
        Some((8080, 8083)),
    ),
    // Fewer ports than clients: who is refused is refused by both.
    source(
        EXHAUSTED,
        "src=10.3.0.1:5000-5002",
        "src=[fd00:3::1]:5000-5002",
        (1, 1),
        Some((5000, 5002)),
    ),
    // One address and no clash: all is determined.
    Translation {
        free: Free::Nothing,
        ..source(18, "src=10.3.0.1", "src=fd00:3::1", (1, 1), None)
    },
    Translation {
        free: Free::Nothing,
        ..destination(19, "dst=10.4.0.1", "dst=fd00:4::1", None)
    },
];
/// Of more clients than there are ports.
const EXHAUSTED: u8 = 20;
/// Of a host that is its own server behind a virtual address.
const HAIRPIN: u8 = 32;

const fn source(
    number: u8,
    nat: &'static str,
    nat_v6: &'static str,
    addresses: (u8, u8),
    ports: Option<(u16, u16)>,
) -> Translation {
    Translation {
        number,
        nat,
        nat_v6,
        free: Free::Source,
        addresses,
        ports,
    }
}

/// To one of four addresses.
const fn destination(
    number: u8,
    nat: &'static str,
    nat_v6: &'static str,
    ports: Option<(u16, u16)>,
) -> Translation {
    Translation {
        free: Free::Destination,
        ..source(number, nat, nat_v6, (1, 4), ports)
    }
}

/// The flows of all translations; what tracking told is written as by the other tests' flows.
fn flows() -> String {
    let told = super::FLOWS.lines();
    let told = told.filter(|line| line.starts_with("table=90") || line.starts_with("table=91"));
    let mut flows: Vec<String> = told.map(str::to_string).collect();
    for Translation {
        number,
        nat,
        nat_v6,
        ..
    } in TRANSLATIONS
    {
        flows.push(format!("table={number},priority=1,actions=resubmit(,90)"));
        let versions = [
            ("ip", "nw_src=10.1.0.0/16", nat),
            ("ipv6", "ipv6_src=fd00:1::/32", nat_v6),
        ];
        for (kind, clients, nat) in versions {
            let tcp = if kind == "ip" { "tcp" } else { "tcp6" };
            let udp = if kind == "ip" { "udp" } else { "udp6" };
            let new = format!("table={number},ct_state=+new-rel+trk,{clients}");
            let commit = format!("ct(commit,zone={number},nat({nat})");
            flows.extend([
                format!(
                    "dl_dst=02:00:00:00:00:{number:02x},{kind},\
                     actions=ct(table={number},zone={number},nat)"
                ),
                format!("{new},priority=3,{tcp},tp_dst=21,actions={commit},alg=ftp,table=90)"),
                format!("{new},priority=3,{udp},tp_dst=69,actions={commit},alg=tftp,table=90)"),
                format!("{new},priority=2,{kind},actions={commit},table=90)"),
                format!(
                    "table={number},ct_state=+new+rel+trk,priority=2,{kind},\
                     actions=ct(commit,zone={number},nat,table=90)"
                ),
            ]);
        }
    }
    flows.extend(HAIRPIN_FLOWS.lines().map(str::to_string));
    flows.join("\n")
}

const HAIRPIN_FLOWS: &str = include_str!("hairpin.txt");

/// A handshake, and data both ways.
fn connection(script: &mut Script, client: End, server: End) {
    let syn = script.open(TCP, client, server);
    let answer = script.segment(syn, SYN | ACK, "");
    script.segment(answer, ACK, "");
    let data = script.segment(answer, ACK | PSH, "question");
    script.segment(data, ACK | PSH, "answer");
}

/// A question that is answered, with errors about both.
fn datagrams(script: &mut Script, client: End, server: End) {
    let question = script.open(UDP, client, server);
    script.error(question);
    let answer = script.reply(question, None, "an answer");
    script.error(answer);
    script.error(question);
    script.reply(answer, None, "once more");
}

/// An association as it begins.
fn association(script: &mut Script, client: End, server: End) {
    let init = script.open(SCTP, client, server);
    let answer = script.chunk(init, 2);
    let echo = script.chunk(answer, 10);
    script.chunk(echo, 11);
}

/// What many clients do at once, all from the same port to the same server.
fn clashes(script: &mut Script) {
    for translation in TRANSLATIONS {
        let clients = match translation.free {
            Free::Nothing => 1,
            _ => 8,
        };
        for is_v6 in [false, true] {
            for client in 1..=clients {
                let (client, server) = (End(1, client, 1025), End(2, 1, 80));
                script.begin(translation.number, is_v6);
                connection(script, client, server);
                script.begin(translation.number, is_v6);
                datagrams(script, client, server);
            }
        }
    }
    for is_v6 in [false, true] {
        for client in [7, 8] {
            let (client, server) = (End(1, client, 1025), End(2, 1, 80));
            script.begin(HAIRPIN, is_v6);
            connection(script, client, server);
            script.begin(HAIRPIN, is_v6);
            datagrams(script, client, server);
        }
    }
}

/// What a switch chose for an exchange: address and port.
type Choice = (Vec<u8>, u16);

/// Compares what the two made of a script.
struct Judge {
    script: Script,
    /// By exchange, of ours and theirs.
    choices: [HashMap<usize, Choice>; 2],
    /// Choices of sources by way and protocol.
    sources: [HashSet<(u8, u8, Choice)>; 2],
    /// Exchanges that Open vSwitch could not translate.
    refused: BTreeSet<usize>,
    /// Those of them that ours dropped: it lets nothing pass untranslated, as the kernel.
    dropped: usize,
    same: usize,
    chosen: usize,
    states: BTreeMap<u8, usize>,
}

impl Judge {
    #[track_caller]
    fn compare(script: Script, records: [Record; 2]) -> Judge {
        let mut judge = Judge {
            script: Script::default(),
            choices: Default::default(),
            sources: Default::default(),
            refused: BTreeSet::new(),
            dropped: 0,
            same: 0,
            chosen: 0,
            states: BTreeMap::new(),
        };
        for (place, step) in script.steps.iter().enumerate() {
            let [ours, theirs] = [0, 1].map(|side| &records[side][place]);
            let told = format!("{place}: {step:02x?}\nours: {ours:02x?}\ntheirs: {theirs:02x?}");
            judge.judge(step, [ours, theirs], &told);
        }
        judge.script = script;
        judge
    }

    fn judge(&mut self, step: &Step, seen: [&Vec<Seen>; 2], told: &str) {
        if self.refused.contains(&step.exchange) {
            return;
        }
        if seen[0].is_empty() && step.way == EXHAUSTED && step.what == "first" {
            assert!(!is_translated(seen[1]), "{told}");
            self.refused.insert(step.exchange);
            self.dropped += 1;
            return;
        }
        assert_eq!(seen[0].len(), seen[1].len(), "{told}");
        let seen = seen.map(|seen| without_untold(seen));
        let seen = [&seen[0], &seen[1]];
        if let Some(first) = seen[0].first() {
            *self.states.entry(first.frame[5]).or_default() += 1;
        }
        if seen[0] == seen[1] {
            self.same += 1;
        }
        let translation = TRANSLATIONS.iter().find(|one| one.number == step.way);
        let free = translation.filter(|one| step.is_forward && one.free != Free::Nothing);
        let Some(free) = free.filter(|_| is_translated(seen[0])) else {
            return assert_eq!(seen[0], seen[1], "{told}");
        };
        // It tries the ports of one address alone, we those of the next ones, too.
        let may_refuse = free.ports.is_some() && free.addresses.0 != free.addresses.1;
        if may_refuse && !is_translated(seen[1]) && step.what == "first" {
            self.refused.insert(step.exchange);
            return;
        }
        self.chosen += 1;
        let [ours, theirs] = [0, 1].map(|side| {
            let frames = seen[side].iter().map(|seen| {
                let choice = choice(&seen.frame, free);
                within(&choice, free, told);
                if step.what == "first" && seen.port == 2 && free.free == Free::Source {
                    let proto = Places::of(&seen.frame, 14).proto;
                    let is_new = self.sources[side].insert((step.way, proto, choice.clone()));
                    assert!(is_new, "another's: {choice:?}: {told}");
                }
                let known = self.choices[side].entry(step.exchange);
                assert_eq!(*known.or_insert(choice.clone()), choice, "{told}");
                (seen.port, without_choice(&seen.frame, free, told))
            });
            frames.collect::<Vec<_>>()
        });
        assert_eq!(ours, theirs, "{told}");
    }
}

/// What userspace Open vSwitch leaves out of what it tells by port 3 is not compared: the original
/// tuple of related errors, and the ports of it of SCTP and of all fragments but the first.
fn without_untold(seen: &[Seen]) -> Vec<Seen> {
    let mut seen = seen.to_vec();
    let is_related = seen.first().is_some_and(|first| first.frame[5] & REL > 0);
    for Seen { frame, .. } in seen.iter_mut().filter(|seen| seen.port == 3) {
        let places = Places::of(frame, 14);
        if is_related && places.is_icmp() {
            frame[..6].fill(0);
        }
        if places.proto == SCTP || places.is_later_fragment {
            frame[..2].fill(0);
        }
    }
    seen
}

/// Whether a translation of source or destination is told.
fn is_translated(seen: &[Seen]) -> bool {
    seen.first().is_some_and(|seen| seen.frame[5] & 0xc0 > 0)
}

/// Where addresses are in a frame, and ports of what is not ICMP.
struct Places {
    addresses: [usize; 2],
    address_len: usize,
    payload: usize,
    proto: u8,
    is_later_fragment: bool,
}

impl Places {
    /// Of the IP packet at `at`.
    fn of(frame: &[u8], at: usize) -> Places {
        match frame[at] >> 4 {
            4 => Places {
                addresses: [at + 12, at + 16],
                address_len: 4,
                payload: at + 20,
                proto: frame[at + 9],
                is_later_fragment: frame[at + 6] & 0x1f > 0 || frame[at + 7] > 0,
            },
            _ => Places {
                addresses: [at + 8, at + 24],
                address_len: 16,
                payload: at + 40,
                proto: frame[at + 6],
                is_later_fragment: frame[at + 6] == 44
                    && (frame[at + 42] > 0 || frame[at + 43] & 0xf8 > 0),
            },
        }
    }

    fn is_icmp(&self) -> bool {
        matches!(self.proto, 1 | 58)
    }
}

/// The packet whose end tells the choice, and which end that is: in errors the embedded one, which
/// goes the other way.
fn chosen_end(frame: &[u8], free: &Translation) -> (Places, usize) {
    let end = usize::from(free.free == Free::Destination);
    let outer = Places::of(frame, 14);
    match outer.is_icmp() {
        true => (Places::of(frame, outer.payload + 8), 1 - end),
        false => (outer, end),
    }
}

fn choice(frame: &[u8], free: &Translation) -> Choice {
    let (places, end) = chosen_end(frame, free);
    let address = &frame[places.addresses[end]..][..places.address_len];
    let port = &frame[places.payload + 2 * end..][..2];
    (address.to_vec(), u16::from_be_bytes([port[0], port[1]]))
}

#[track_caller]
fn within(choice: &Choice, free: &Translation, told: &str) {
    let network = if free.free == Free::Source { 3 } else { 4 };
    let (address, port) = choice;
    let last = address[address.len() - 1];
    let prefix = if address.len() == 4 {
        [10, network]
    } else {
        [0xfd, 0]
    };
    assert!(address.starts_with(&prefix), "{choice:?}: {told}");
    assert!(address.len() == 4 || address[3] == network, "{told}");
    let (first, end) = free.addresses;
    assert!((first..=end).contains(&last), "{choice:?}: {told}");
    if let Some((first, end)) = free.ports {
        assert!((first..=end).contains(port), "{choice:?}: {told}");
    }
}

/// The frame, checksums being right, without what was chosen and what that makes of checksums.
#[track_caller]
fn without_choice(frame: &[u8], free: &Translation, told: &str) -> Vec<u8> {
    let mut key = FlowKey::default();
    let layout = parse(frame, &mut key);
    assert!(
        has_right_checksums(frame, &key, &layout, Default::default()),
        "wrong checksum: {told}"
    );
    let mut frame = frame.to_vec();
    let outer = Places::of(&frame, 14);
    let (chosen, end) = chosen_end(&frame, free);
    let own_end = usize::from(free.free == Free::Destination);
    blank(&mut frame, &outer, own_end, 14);
    if outer.is_icmp() {
        blank(&mut frame, &chosen, end, outer.payload + 8);
    }
    frame
}

/// Blanks an end and the checksums of a packet at `at`.
fn blank(frame: &mut [u8], places: &Places, end: usize, at: usize) {
    frame[places.addresses[end]..][..places.address_len].fill(0);
    if places.address_len == 4 {
        frame[at + 10..at + 12].fill(0);
    }
    let (checksum, len) = match places.proto {
        TCP => (16, 2),
        UDP => (6, 2),
        SCTP => (8, 4),
        _ => (2, 2),
    };
    frame[places.payload + checksum..][..len].fill(0);
    if !places.is_icmp() {
        frame[places.payload + 2 * end..][..2].fill(0);
    }
}

fn exchanged(script: &Script) -> [Record; 2] {
    let sent: Vec<Sent> = script.steps.iter().map(|step| step.sent.clone()).collect();
    exchanged_by_both(&flows(), &sent, 3)
}

#[track_caller]
fn judged(script: Script) -> Judge {
    let records = exchanged(&script);
    let judge = Judge::compare(script, records);
    println!(
        "{} steps, {} alike to the byte, {} with a choice, {} exchanges refused, {:02x?}",
        judge.script.steps.len(),
        judge.same,
        judge.chosen,
        judge.refused.len(),
        judge.states
    );
    judge
}

#[test]
fn ranges_clashes_and_hairpins_are_translated_alike() {
    let mut script = Script::default();
    clashes(&mut script);
    let judge = judged(script);
    assert!(judge.chosen > 500, "{}", judge.chosen);
    // Five of eight clients, over TCP and UDP, of either version.
    assert_eq!(judge.dropped, 20);
    assert!(judge.refused.len() < 20 + 16, "{:?}", judge.refused);
}

#[test]
fn associations_are_translated_alike() {
    let mut script = Script::default();
    for way in [18, 19] {
        // Open vSwitch sees no ports here: one association for each pair of addresses.
        for (is_v6, client) in [(false, 1), (true, 1)] {
            script.begin(way, is_v6);
            association(&mut script, End(1, client, 3000 + client), End(2, 1, 5060));
        }
    }
    let judge = judged(script);
    assert_eq!(judge.states.values().sum::<usize>(), 16);
}

#[test]
fn fragments_are_tracked_and_translated_alike() {
    let mut script = Script::default();
    for way in [18, 19] {
        for is_v6 in [false, true] {
            for is_reversed in [false, true] {
                script.begin(way, is_v6);
                let client = End(1, 1, 2000 + u16::from(is_reversed));
                script.fragments(client, End(2, 1, 80), is_reversed);
            }
        }
    }
    let judge = judged(script);
    assert!(judge.same > 20, "{}", judge.same);
}

#[test]
fn answers_and_segments_in_fragments_are_tracked_and_translated_alike() {
    let mut script = Script::default();
    for way in [18, 19] {
        for is_v6 in [false, true] {
            for is_reversed in [false, true] {
                let server = End(2, 1, 80);
                let client = End(1, 1, 2100 + u16::from(is_reversed));
                script.begin(way, is_v6);
                in_pieces(&mut script, client, server, is_reversed);
            }
        }
    }
    let judge = judged(script);
    assert_eq!(judge.same, judge.script.steps.len());
    // Forth and back, by translated source and destination: six pieces of each of four dialogues.
    for bits in [0x62, 0xaa, 0xa2, 0x6a] {
        let told = judge.states.get(&bits);
        assert!(told >= Some(&24), "{:02x?}", judge.states);
    }
}

/// A dialogue over TCP and one over UDP of which both ends send in fragments.
fn in_pieces(script: &mut Script, client: End, server: End, is_reversed: bool) {
    let syn = script.open(TCP, client, server);
    let answer = script.segment(syn, SYN | ACK, "");
    let last = script.segment(answer, ACK, "");
    script.pieces(answer, ACK | PSH, is_reversed);
    script.pieces(last, ACK | PSH, is_reversed);
    let question = script.open(UDP, client, server);
    script.pieces(question, 0, is_reversed);
    let reply = script.reply(question, None, "an answer");
    script.pieces(reply, 0, is_reversed);
}

#[test]
fn announced_connections_are_let_in_and_translated_alike() {
    let mut script = Script::default();
    for way in [18, 19] {
        for is_v6 in [false, true] {
            script.begin(way, is_v6);
            transfers(&mut script, is_v6, way == 18);
        }
    }
    let judge = judged(script);
    assert!(judge.same > 20, "{}", judge.same);
}

/// Data connections of FTP, opened by the server and by the client, and a transfer by TFTP.
fn transfers(script: &mut Script, is_v6: bool, is_source: bool) {
    let (client, server) = (End(1, 1, 3021), End(2, 1, 21));
    let target = if is_source { 2 } else { 4 };
    let (active, passive) = match is_v6 {
        false => (
            "PORT 10,1,0,1,80,1\r\n".to_string(),
            format!("227 Entering Passive Mode (10,{target},0,1,80,2).\r\n"),
        ),
        true => (
            "EPRT |2|fd00:1::1|20481|\r\n".to_string(),
            "229 Entering Extended Passive Mode (|||20482|)\r\n".to_string(),
        ),
    };
    let syn = script.open(TCP, client, server);
    let answer = script.segment(syn, SYN | ACK, "");
    script.segment(answer, ACK, "");
    let line = script.segment(answer, ACK | PSH, &active);
    let first = script.announced(line, 20);
    let taken = script.segment(first, SYN | ACK, "");
    script.segment(taken, ACK | PSH, "data");
    let agreed = script.segment(line, ACK | PSH, "200 EPRT or PORT command successful.\r\n");
    let ask = script.segment(
        agreed,
        ACK | PSH,
        if is_v6 { "EPSV\r\n" } else { "PASV\r\n" },
    );
    let line = script.segment(ask, ACK | PSH, &passive);
    let second = script.announced(line, 40_000);
    let taken = script.segment(second, SYN | ACK, "");
    script.segment(taken, ACK | PSH, "data");
    let quit = script.segment(line, ACK | PSH, "QUIT\r\n");
    script.segment(quit, ACK | PSH, "221 Goodbye.\r\n");
    let request = script.datagram(End(1, 1, 3069), End(2, 1, 69), b"\0\x01file\0octet\0");
    let block = script.reply(request, Some(45_000), "\0\u{3}\0\u{1}data");
    script.reply(block, None, "\0\u{4}\0\u{1}");
}

const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;
