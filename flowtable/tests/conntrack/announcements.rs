//! FTP and TFTP: what their packets announce is related, and translated as the announcer is.

use flowtable::conntrack::{
    Body, Helper, Nat, Packet, Range, Request, Rewrite, Segment, Tuple, Verdict, ct_state, mapped,
};

use super::bench::{Bench, EST, INV, NEW, RPL, ZONE, commit, look, tcp, udp};

const REL: u32 = ct_state::REL;
const SNAT: u32 = ct_state::SNAT;
const DNAT: u32 = ct_state::DNAT;
const CLIENT: u32 = 0x0a00_0001;
const SERVER: u32 = 0x0a00_0002;
/// What the one and the other are translated to.
const OUTSIDE: u32 = 0xc0a8_6464;
const SERVICE: u32 = 0xac10_c801;

fn tuple(proto: u8, src: u32, dst: u32, ports: (u16, u16)) -> Tuple {
    Tuple {
        src: mapped(src),
        dst: mapped(dst),
        src_port: ports.0,
        dst_port: ports.1,
        zone: ZONE,
        proto,
        version: 4,
    }
}

fn range(address: u32) -> Option<Range> {
    let address = mapped(address);
    Some(Range {
        addresses: Some((address, address)),
        ports: None,
    })
}

fn committing(helper: Helper, source: Option<u32>, destination: Option<u32>) -> Request {
    Request {
        helper: Some(helper),
        nat: Some(Nat {
            source: source.and_then(range),
            destination: destination.and_then(range),
            ..Nat::default()
        }),
        ..commit()
    }
}

fn as_said() -> Request {
    Request {
        nat: Some(Nat::default()),
        ..commit()
    }
}

/// A control connection: what each side has sent, in numbers of its own, and what it has received,
/// in those of the other as it sees them.
struct Control {
    bench: Bench,
    tuples: [Tuple; 2],
    sent: [u32; 2],
    received: [u32; 2],
}

const FLAGS: [u8; 3] = [2, 18, 16];

impl Control {
    /// Opens one; `served` is where the client thinks the server is.
    fn open(served: u32, request: &Request) -> Control {
        let original = tuple(6, CLIENT, served, (2000, 21));
        let mut control = Control {
            bench: Bench::new(1000),
            tuples: [original, original.reversed()],
            sent: [u32::MAX - 20, 5000],
            received: [0, 0],
        };
        for (side, flags) in [0, 1, 0].into_iter().zip(FLAGS) {
            let request = if flags == 2 { *request } else { as_said() };
            let verdict = control.send(&request, side, flags, b"").0;
            if flags == 2 {
                let to = verdict.translation.map_or(original, |change| change.to);
                control.tuples[1] = to.reversed();
            }
        }
        control
    }

    /// Sends a segment of a side; the other receives what becomes of it.
    fn send(
        &mut self,
        request: &Request,
        side: usize,
        flags: u8,
        payload: &[u8],
    ) -> (Verdict, Option<Rewrite>) {
        let segment = Segment {
            seq: self.sent[side],
            ack: if flags & 16 > 0 {
                self.received[side]
            } else {
                0
            },
            sack: if flags & 16 > 0 {
                self.received[side]
            } else {
                0
            },
            len: payload.len() as u32,
            window: 1000,
            flags,
            ..Segment::default()
        };
        let packet = tcp(self.tuples[side], segment);
        let bench = &mut self.bench;
        let item = super::bench::item(packet);
        let (mut verdict, mut rewrite) = (None, None);
        bench.tracker.begin(bench.now_ms);
        bench
            .tracker
            .track(request, &[item], |_, told| verdict = Some(*told));
        let verdict = verdict.expect("a verdict");
        if verdict.helper.is_some() {
            rewrite = bench.tracker.listen(&packet, &verdict, payload);
        }
        bench.tracker.end();
        let shift = verdict.shift.unwrap_or_default();
        let longer = rewrite.as_ref().map_or(0, |rewrite| {
            (rewrite.text().len() as u32).wrapping_sub(rewrite.len as u32)
        });
        self.sent[side] = segment.end();
        let seen = segment.seq.wrapping_add(shift.seq);
        if flags & 16 > 0 {
            let acked = segment.ack.wrapping_add(shift.ack);
            assert_eq!(acked, self.sent[1 - side], "acknowledges what was sent");
        }
        if flags & 2 == 0 {
            assert_eq!(seen, self.received[1 - side], "follows what was received");
        }
        self.received[1 - side] = seen
            .wrapping_add(segment.end().wrapping_sub(segment.seq))
            .wrapping_add(longer);
        (verdict, rewrite)
    }

    /// Says a line; returns it as the other side reads it.
    fn say(&mut self, side: usize, line: &str) -> String {
        let (verdict, rewrite) = self.send(&as_said(), side, 16, line.as_bytes());
        assert_eq!(verdict.bits & (INV | EST), EST);
        let other = self.send(&as_said(), 1 - side, 16, b"").0;
        assert_eq!(other.bits & (INV | EST), EST);
        let Some(rewrite) = rewrite else {
            return line.to_owned();
        };
        let text = core::str::from_utf8(rewrite.text()).expect("text");
        let mut line = line.to_owned();
        line.replace_range(rewrite.at..rewrite.at + rewrite.len, text);
        line
    }

    /// Opens a data connection; returns its bits and where it goes.
    fn data(&mut self, request: &Request, tuple: Tuple) -> (u32, Tuple) {
        let segment = Segment {
            window: 1000,
            flags: 2,
            ..Segment::default()
        };
        let verdict = self.bench.track(request, tcp(tuple, segment));
        let to = verdict.translation.map_or(tuple, |change| change.to);
        (verdict.bits, to)
    }
}

#[test]
fn active_and_passive_data_connections_are_related() {
    let request = Request {
        helper: Some(Helper::Ftp),
        mark: Some((7, 7)),
        ..commit()
    };
    let mut control = Control::open(SERVER, &request);
    let announced = [
        (
            0,
            "PORT 10,0,0,1,4,1\r\n",
            tuple(6, SERVER, CLIENT, (20, 1025)),
        ),
        (
            0,
            "EPRT |1|10.0.0.1|1026|\r\n",
            tuple(6, SERVER, CLIENT, (9, 1026)),
        ),
        (
            1,
            "227 at 10,0,0,2,4,3\r\n",
            tuple(6, CLIENT, SERVER, (99, 1027)),
        ),
        (
            1,
            "229 here (|||1028|)\r\n",
            tuple(6, CLIENT, SERVER, (99, 1028)),
        ),
    ];
    for (side, line, data) in announced {
        assert_eq!(control.data(&look(), data).0, NEW, "before {line}");
        assert_eq!(control.say(side, line), line, "nothing is translated");
        let packet = tcp(
            data,
            Segment {
                flags: 2,
                ..Segment::default()
            },
        );
        let verdict = control.bench.track(&look(), packet);
        assert_eq!((verdict.bits, verdict.mark), (NEW | REL, 7), "{line}");
        assert_eq!(verdict.original, control.tuples[0]);
        assert_eq!(control.data(&commit(), data).0, NEW | REL);
        let other = Tuple {
            src_port: 3,
            ..data
        };
        assert_eq!(control.data(&look(), other).0, NEW, "it is expected once");
    }
}

#[test]
fn only_the_own_address_is_announced_by_who_may() {
    let request = committing(Helper::Ftp, None, None);
    let mut control = Control::open(SERVER, &request);
    let lines = [
        (0, "PORT 10,0,0,9,4,1\r\n"),
        (1, "PORT 10,0,0,2,4,1\r\n"),
        (0, "227 at 10,0,0,1,4,1\r\n"),
        (1, "227 at 10,0,0,1,4,1\r\n"),
    ];
    for (side, line) in lines {
        assert_eq!(control.say(side, line), line);
        assert_eq!(control.bench.table().expectations(), 0, "{line}");
    }
}

#[test]
fn a_translated_client_announces_its_address_outside() {
    let request = committing(Helper::Ftp, Some(OUTSIDE), None);
    let mut control = Control::open(SERVER, &request);
    let told = control.say(0, "PORT 10,0,0,1,4,1\r\n");
    assert_eq!(told, "PORT 192,168,100,100,4,1\r\n");
    let data = tuple(6, SERVER, OUTSIDE, (20, 1025));
    let (bits, to) = control.data(&as_said(), data);
    assert_eq!(bits, NEW | REL | DNAT);
    assert_eq!(to, tuple(6, SERVER, CLIENT, (20, 1025)));
    // Numbers are right after that, and after another.
    assert_eq!(control.say(1, "200 ok\r\n"), "200 ok\r\n");
    assert_eq!(control.say(0, "NOOP\r\n"), "NOOP\r\n");
    let told = control.say(0, "EPRT |1|10.0.0.1|1026|\r\n");
    assert_eq!(told, "EPRT |1|192.168.100.100|1026|\r\n");
    assert_eq!(control.say(0, "LIST\r\n"), "LIST\r\n");
    // The server's passive connection comes from the client's address outside.
    assert_eq!(
        control.say(1, "227 (10,0,0,2,4,3)\r\n"),
        "227 (10,0,0,2,4,3)\r\n"
    );
    let data = tuple(6, CLIENT, SERVER, (3000, 1027));
    let (bits, to) = control.data(&as_said(), data);
    assert_eq!(bits, NEW | REL | SNAT);
    assert_eq!(to, tuple(6, OUTSIDE, SERVER, (3000, 1027)));
}

#[test]
fn a_translated_server_announces_its_address_outside() {
    let request = committing(Helper::Ftp, Some(OUTSIDE), Some(SERVER));
    let mut control = Control::open(SERVICE, &request);
    let told = control.say(1, "227 Passive (10,0,0,2,4,3)\r\n");
    assert_eq!(told, "227 Passive (172,16,200,1,4,3)\r\n");
    let data = tuple(6, CLIENT, SERVICE, (3000, 1027));
    let (bits, to) = control.data(&as_said(), data);
    assert_eq!(bits, NEW | REL | SNAT | DNAT);
    assert_eq!(to, tuple(6, OUTSIDE, SERVER, (3000, 1027)));
    assert_eq!(control.say(0, "LIST\r\n"), "LIST\r\n");
    let told = control.say(1, "229 (|||1028|)\r\n");
    assert_eq!(told, "229 (|||1028|)\r\n");
    let data = tuple(6, CLIENT, SERVICE, (3001, 1028));
    let (bits, to) = control.data(&as_said(), data);
    assert_eq!(bits, NEW | REL | SNAT | DNAT);
    assert_eq!(to, tuple(6, OUTSIDE, SERVER, (3001, 1028)));
}

#[test]
fn nobody_takes_over_what_another_announced() {
    let request = committing(Helper::Ftp, Some(OUTSIDE), None);
    let mut control = Control::open(SERVER, &request);
    control.say(0, "PORT 10,0,0,1,4,1\r\n");
    let mut other = Control::open(SERVER, &request);
    other.bench = control.bench;
    let rival = tuple(6, 0x0a00_0003, SERVER, (2001, 21));
    let segment = |seq, ack, flags, len| Segment {
        seq,
        ack,
        sack: ack,
        len,
        window: 1000,
        flags,
        ..Segment::default()
    };
    let opening = other.bench.track(&request, tcp(rival, segment(1, 0, 2, 0)));
    let reply = opening.translation.expect("a translation").to.reversed();
    other
        .bench
        .track(&as_said(), tcp(reply, segment(1, 2, 18, 0)));
    let line = b"PORT 10,0,0,3,4,1\r\n";
    let packet = tcp(rival, segment(2, 2, 16, line.len() as u32));
    let bench = &mut other.bench;
    bench.tracker.begin(bench.now_ms);
    let mut verdict = None;
    let item = super::bench::item(packet);
    bench
        .tracker
        .track(&as_said(), &[item], |_, told| verdict = Some(*told));
    let verdict = verdict.expect("a verdict");
    assert_eq!(bench.tracker.listen(&packet, &verdict, line), None);
    bench.tracker.end();
    let data = tuple(6, SERVER, OUTSIDE, (20, 1025));
    assert_eq!(other.data(&as_said(), data).1.dst, mapped(CLIENT));
}

#[test]
fn tftp_is_answered_from_any_port_to_the_one_that_asked() {
    let cases = [
        (None, None, SERVER, CLIENT, NEW | REL),
        (Some(OUTSIDE), None, SERVER, OUTSIDE, NEW | REL | DNAT),
        (
            Some(OUTSIDE),
            Some(SERVER),
            SERVICE,
            OUTSIDE,
            NEW | REL | SNAT | DNAT,
        ),
    ];
    for (source, destination, served, asker, expected) in cases {
        let mut bench = Bench::new(1000);
        let request = committing(Helper::Tftp, source, destination);
        let packet = udp(tuple(17, CLIENT, served, (3000, 69)));
        let item = super::bench::item(packet);
        let mut verdict = None;
        bench.tracker.begin(bench.now_ms);
        bench
            .tracker
            .track(&request, &[item], |_, told| verdict = Some(*told));
        let verdict = verdict.expect("a verdict");
        let rewrite = bench
            .tracker
            .listen(&packet, &verdict, b"\0\x01file\0octet\0");
        bench.tracker.end();
        assert_eq!((verdict.bits & NEW, rewrite), (NEW, None));
        let asked = verdict.translation.map_or(packet.tuple, |change| change.to);
        assert_eq!(asked.src, mapped(asker));
        let data = tuple(17, SERVER, asker, (4000, asked.src_port));
        let verdict = bench.track(&as_said(), udp(data));
        assert_eq!(verdict.bits, expected);
        let to = verdict.translation.map_or(data, |change| change.to);
        assert_eq!(to, tuple(17, served, CLIENT, (4000, 3000)));
        let answer = bench.track(&as_said(), udp(to.reversed()));
        assert_eq!(answer.bits & (RPL | INV), RPL & !INV | ct_state::TRK);
    }
}

#[test]
fn errors_and_strangers_announce_nothing() {
    let request = committing(Helper::Ftp, None, None);
    let mut control = Control::open(SERVER, &request);
    let far = Segment {
        seq: 1 << 30,
        ack: 77,
        flags: 16,
        len: 19,
        ..Segment::default()
    };
    let packet = Packet {
        tuple: control.tuples[0],
        body: Body::Tcp(far),
    };
    let bench = &mut control.bench;
    bench.tracker.begin(bench.now_ms);
    let mut verdict = None;
    let item = super::bench::item(packet);
    bench
        .tracker
        .track(&as_said(), &[item], |_, told| verdict = Some(*told));
    let verdict = verdict.expect("a verdict");
    assert_eq!(verdict.bits, INV);
    let line = b"PORT 10,0,0,1,4,1\r\n";
    assert_eq!(bench.tracker.listen(&packet, &verdict, line), None);
    bench.tracker.end();
    assert_eq!(control.bench.table().expectations(), 0);
}
