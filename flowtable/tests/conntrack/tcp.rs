//! TCP as hosts speak it: what each packet of a sequence is told.

use flowtable::conntrack::{Phase, Segment, Strictness};

use super::bench::{Bench, EST, INV, NEW, RPL, tcp, tuple};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// First numbers of client and server; the client's wrap around soon.
const CLIENT: u32 = u32::MAX - 100;
const SERVER: u32 = 5_000;

/// A conversation, its numbers relative to the first of each side.
struct Talk {
    bench: Bench,
    port: u16,
}

impl Talk {
    fn new() -> Talk {
        Talk {
            bench: Bench::new(1000),
            port: 4000,
        }
    }

    /// A connection with windows of 1,000 bytes.
    fn open() -> Talk {
        let mut talk = Talk::new();
        assert_eq!(talk.client(SYN, 0, 0, 0, 1000), NEW);
        assert_eq!(talk.server(SYN | ACK, 0, 1, 0, 1000), RPL);
        assert_eq!(talk.client(ACK, 1, 1, 0, 1000), EST);
        assert_eq!(talk.phase(), Phase::Established);
        talk
    }

    fn client(&mut self, flags: u8, seq: u32, ack: u32, len: u32, window: u16) -> u32 {
        let segment = segment(flags, [CLIENT, seq], [SERVER, ack], len, window);
        self.send(true, segment)
    }

    fn server(&mut self, flags: u8, seq: u32, ack: u32, len: u32, window: u16) -> u32 {
        let segment = segment(flags, [SERVER, seq], [CLIENT, ack], len, window);
        self.send(false, segment)
    }

    fn send(&mut self, from_client: bool, segment: Segment) -> u32 {
        let client = tuple(6, 0x0a00_0002, self.port);
        let tuple = if from_client {
            client
        } else {
            client.reversed()
        };
        self.bench.bits(tcp(tuple, segment))
    }

    fn phase(&mut self) -> Phase {
        let connections = self.bench.connections();
        assert_eq!(connections.len(), 1);
        connections[0].tcp.expect("TCP")
    }

    fn expires_s(&mut self) -> u32 {
        self.bench.connections()[0].expires_s
    }
}

fn segment(flags: u8, seq: [u32; 2], ack: [u32; 2], len: u32, window: u16) -> Segment {
    let ack = match flags & ACK {
        0 => 0,
        _ => ack[0].wrapping_add(ack[1]),
    };
    Segment {
        seq: seq[0].wrapping_add(seq[1]),
        ack,
        sack: ack,
        len,
        window,
        flags,
        ..Segment::default()
    }
}

#[test]
fn data_both_ways_and_a_close_by_each_side() {
    let mut talk = Talk::open();
    assert_eq!(talk.client(ACK, 1, 1, 500, 1000), EST);
    assert_eq!(talk.server(ACK, 1, 501, 900, 1000), RPL);
    assert_eq!(talk.client(ACK, 501, 901, 0, 1000), EST);
    assert_eq!(talk.expires_s(), 86_401);
    assert_eq!(talk.client(FIN | ACK, 501, 901, 0, 1000), EST);
    assert_eq!((talk.phase(), talk.expires_s()), (Phase::FinWait, 901));
    assert_eq!(talk.server(ACK, 901, 502, 0, 1000), RPL);
    assert_eq!(talk.phase(), Phase::CloseWait);
    // Half-closed, the server still sends.
    assert_eq!(talk.server(ACK, 901, 502, 700, 1000), RPL);
    assert_eq!(talk.client(ACK, 502, 1601, 0, 1000), EST);
    assert_eq!(talk.phase(), Phase::CloseWait);
    assert_eq!(talk.server(FIN | ACK, 1601, 502, 0, 1000), RPL);
    assert_eq!((talk.phase(), talk.expires_s()), (Phase::LastAck, 46));
    assert_eq!(talk.client(ACK, 502, 1602, 0, 1000), EST);
    assert_eq!((talk.phase(), talk.expires_s()), (Phase::TimeWait, 46));
}

#[test]
fn a_syn_is_new_until_it_is_answered() {
    let mut talk = Talk::new();
    assert_eq!(talk.client(SYN, 0, 0, 0, 1000), NEW);
    assert_eq!(talk.client(SYN, 0, 0, 0, 1000), NEW, "retransmitted");
    assert_eq!(talk.client(SYN, 90, 0, 0, 1000), NEW, "with another number");
    assert_eq!(talk.server(SYN | ACK, 0, 91, 0, 1000), RPL);
    assert_eq!(talk.client(ACK, 91, 1, 0, 1000), EST);
    assert_eq!(talk.phase(), Phase::Established);
}

#[test]
fn what_cannot_open_a_connection() {
    let mut talk = Talk::new();
    for flags in [
        SYN | ACK,
        FIN | ACK,
        RST,
        RST | ACK,
        0,
        SYN | FIN,
        SYN | RST,
        FIN,
    ] {
        assert_eq!(talk.client(flags, 0, 0, 0, 1000), INV, "{flags}");
    }
    assert_eq!(talk.bench.connections(), []);
    assert_eq!(talk.client(SYN, 0, 0, 0, 1000), NEW);
    assert_eq!(talk.client(ACK, 1, 1, 0, 1000), INV, "before the answer");
}

#[test]
fn retransmissions_and_segments_out_of_order() {
    let mut talk = Talk::open();
    assert_eq!(talk.client(ACK, 401, 1, 200, 1000), EST, "the second first");
    assert_eq!(talk.client(ACK, 1, 1, 400, 1000), EST);
    assert_eq!(talk.client(ACK, 1, 1, 400, 1000), EST, "again");
    assert_eq!(talk.server(ACK, 1, 601, 0, 1000), RPL);
    // Already acknowledged, and more than a window old.
    for start in [601, 1201] {
        assert_eq!(talk.client(ACK, start, 1, 600, 1000), EST);
        assert_eq!(talk.server(ACK, 1, start + 600, 0, 1000), RPL);
    }
    let before = talk.bench.connections();
    assert_eq!(talk.client(ACK, 1, 1, 400, 1000), EST, "let through");
    assert_eq!(talk.server(SYN | ACK, 0, 1, 0, 1000), RPL, "a late answer");
    assert_eq!(talk.bench.connections(), before, "but nothing is learnt");
}

#[test]
fn beyond_the_window_is_invalid() {
    let mut talk = Talk::open();
    assert_eq!(talk.client(ACK, 1002, 1, 100, 1000), INV);
    assert_eq!(talk.client(ACK, 1001, 1, 100, 1000), EST, "its start fits");
    assert_eq!(
        talk.client(ACK, 1, 2, 0, 1000),
        INV,
        "acknowledges what was not sent"
    );
    assert_eq!(talk.server(ACK, 1, 2000, 0, 1000), INV);
    let strictness = Strictness {
        picks_up: true,
        checks_window: false,
    };
    talk.bench.table().set_strictness(strictness);
    assert_eq!(talk.server(ACK, 1, 2000, 0, 1000), RPL, "nobody looks");
}

#[test]
fn selective_acknowledgments_open_the_window() {
    let mut talk = Talk::new();
    let mut syn = segment(SYN, [CLIENT, 0], [SERVER, 0], 0, 1000);
    syn.sack_permitted = true;
    assert_eq!(talk.send(true, syn), NEW);
    let mut syn = segment(SYN | ACK, [SERVER, 0], [CLIENT, 1], 0, 1000);
    syn.sack_permitted = true;
    assert_eq!(talk.send(false, syn), RPL);
    assert_eq!(talk.client(ACK, 1, 1, 0, 1000), EST);
    assert_eq!(talk.client(ACK, 1, 1, 300, 1000), EST);
    assert_eq!(talk.client(ACK, 301, 1, 300, 1000), EST);
    // The first was lost on the way to the server, which has the second.
    let mut ack = segment(ACK, [SERVER, 1], [CLIENT, 1], 0, 1000);
    ack.sack = CLIENT.wrapping_add(601);
    assert_eq!(talk.send(false, ack), RPL);
    ack.sack = CLIENT.wrapping_add(602);
    assert_eq!(talk.send(false, ack), INV, "not sent yet");
    assert_eq!(talk.client(ACK, 1501, 1, 50, 1000), EST);
}

#[test]
fn windows_are_scaled_if_both_sides_say_so() {
    for (server, fits) in [(Some(3), true), (None, false)] {
        let mut talk = Talk::new();
        let mut syn = segment(SYN, [CLIENT, 0], [SERVER, 0], 0, 1000);
        syn.scale = Some(7);
        assert_eq!(talk.send(true, syn), NEW);
        let mut syn = segment(SYN | ACK, [SERVER, 0], [CLIENT, 1], 0, 1000);
        syn.scale = server;
        assert_eq!(talk.send(false, syn), RPL);
        assert_eq!(talk.client(ACK, 1, 1, 0, 1000), EST);
        let far = talk.server(ACK, 100_001, 1, 1000, 1000);
        assert_eq!(far, if fits { RPL } else { INV });
        assert_eq!(talk.server(ACK, 1 + (1000 << 7), 1, 10, 1000) == RPL, fits);
        assert_eq!(talk.server(ACK, 200_000, 1, 10, 1000), INV);
    }
}

#[test]
fn probes_of_a_closed_window_and_keep_alives() {
    let mut talk = Talk::open();
    assert_eq!(talk.client(ACK, 1, 1, 1000, 1000), EST);
    assert_eq!(talk.server(ACK, 1, 1001, 0, 0), RPL, "closed");
    assert_eq!(
        talk.client(ACK, 1001, 1, 1, 1000),
        EST,
        "a probe of one byte"
    );
    assert_eq!(talk.server(ACK, 1, 1001, 0, 0), RPL);
    assert_eq!(talk.client(ACK, 1001, 1, 1, 1000), EST);
    assert_eq!(talk.server(ACK, 1, 1002, 0, 1000), RPL, "open");
    assert_eq!(talk.client(ACK, 1002, 1, 1000, 1000), EST);
    assert_eq!(talk.server(ACK, 1, 2002, 0, 1000), RPL);
    // A keep-alive: one below the next number, with one byte or none.
    talk.bench.sleep(3_600_000);
    assert_eq!(talk.client(ACK, 2001, 1, 0, 1000), EST);
    assert_eq!(talk.client(ACK, 2001, 1, 1, 1000), EST);
    assert_eq!(talk.server(ACK, 1, 2002, 0, 1000), RPL);
    assert_eq!(talk.expires_s(), 86_401);
}

#[test]
fn resets_by_their_number() {
    // Of the next number expected, or of the last sent.
    for (seq, phase, bits) in [
        (901, Phase::Close, RPL),
        (1201, Phase::Close, RPL),
        (1000, Phase::Established, RPL),
        (900, Phase::Established, INV),
        (2500, Phase::Established, INV),
    ] {
        let mut talk = Talk::open();
        assert_eq!(talk.server(ACK, 1, 1, 900, 1000), RPL);
        assert_eq!(talk.client(ACK, 1, 901, 0, 1000), EST);
        assert_eq!(talk.server(ACK, 901, 1, 300, 1000), RPL);
        assert_eq!(talk.server(RST, seq, 0, 0, 0), bits, "{seq}");
        assert_eq!(talk.phase(), phase, "{seq}");
    }
    let mut talk = Talk::new();
    assert_eq!(talk.client(SYN, 0, 0, 0, 1000), NEW);
    let mut refusal = segment(RST | ACK, [0, 0], [CLIENT, 1], 0, 0);
    assert_eq!(talk.send(false, refusal), RPL, "no such service");
    assert_eq!((talk.phase(), talk.expires_s()), (Phase::Close, 31));
    refusal.ack = CLIENT.wrapping_add(2);
    let mut talk = Talk::new();
    assert_eq!(talk.client(SYN, 0, 0, 0, 1000), NEW);
    assert_eq!(talk.send(false, refusal), INV, "of a SYN that was not sent");
    assert_eq!(talk.phase(), Phase::SynSent);
}

#[test]
fn both_sides_open_at_once() {
    let mut talk = Talk::new();
    assert_eq!(talk.client(SYN, 0, 0, 0, 1000), NEW);
    assert_eq!(talk.server(SYN, 0, 0, 0, 1000), RPL);
    assert_eq!(talk.phase(), Phase::SynSent2);
    assert_eq!(talk.client(SYN | ACK, 0, 1, 0, 1000), EST);
    assert_eq!(talk.server(SYN | ACK, 0, 1, 0, 1000), RPL);
    assert_eq!(talk.phase(), Phase::SynRecv);
    assert_eq!(talk.client(ACK, 1, 1, 10, 1000), EST);
    assert_eq!(talk.server(ACK, 1, 11, 10, 1000), RPL);
    assert_eq!(talk.phase(), Phase::Established);
}

#[test]
fn a_connection_picked_up_in_its_middle() {
    let mut talk = Talk::new();
    assert_eq!(talk.server(ACK, 700, 400, 100, 50), NEW);
    assert_eq!(
        talk.server(ACK, 800, 400, 100, 50),
        EST,
        "no reply is waited for"
    );
    assert_eq!(
        talk.client(ACK, 400, 900, 60_000, 50),
        RPL,
        "nothing is held against it"
    );
    assert_eq!(talk.phase(), Phase::Established);
    assert!(talk.bench.connections()[0].is_assured);
    let mut talk = Talk::new();
    let strictness = Strictness {
        picks_up: false,
        checks_window: true,
    };
    talk.bench.table().set_strictness(strictness);
    assert_eq!(talk.server(ACK, 700, 400, 100, 50), INV);
}

#[test]
fn a_closed_connection_is_opened_anew_by_either_side() {
    for from_client in [true, false] {
        let mut talk = Talk::open();
        assert_eq!(talk.client(FIN | ACK, 1, 1, 0, 1000), EST);
        assert_eq!(talk.server(FIN | ACK, 1, 2, 0, 1000), RPL);
        assert_eq!(talk.client(ACK, 2, 2, 0, 1000), EST);
        assert_eq!(talk.phase(), Phase::TimeWait);
        let syn = segment(SYN, [77, 0], [0, 0], 0, 1000);
        assert_eq!(talk.send(from_client, syn), NEW);
        let connections = talk.bench.connections();
        assert_eq!(connections.len(), 1);
        let client = tuple(6, 0x0a00_0002, talk.port);
        assert_eq!(connections[0].original == client, from_client);
        assert_eq!(connections[0].tcp, Some(Phase::SynSent));
        assert_eq!(talk.bench.tracker.tally().replaced, 1);
    }
}

#[test]
fn a_host_that_forgot_a_connection_comes_back() {
    // Its SYN is let through; the other side says that it knows the connection, and gets a RST.
    let mut talk = Talk::open();
    let syn = segment(SYN, [999_999, 0], [0, 0], 0, 1000);
    assert_eq!(talk.send(true, syn), EST);
    assert_eq!(talk.server(ACK, 1, 1, 0, 1000), RPL);
    assert_eq!(talk.client(RST, 1, 0, 0, 0), EST);
    assert_eq!(talk.phase(), Phase::Close);
    assert_eq!(talk.send(true, syn), NEW);

    // Or it has forgotten the connection, too: both agree on what we had noted.
    let mut talk = Talk::open();
    assert_eq!(talk.send(true, syn), EST);
    let answer = segment(SYN | ACK, [SERVER, 50_000], [999_999, 1], 0, 1000);
    assert_eq!(talk.send(false, answer), RPL);
    assert_eq!(talk.phase(), Phase::SynRecv);
    let ack = segment(ACK, [999_999, 1], [SERVER, 50_001], 10, 1000);
    assert_eq!(talk.send(true, ack), EST);
    assert_eq!(talk.phase(), Phase::Established);

    // Or there is no such service any more: a RST to what was noted ends the connection.
    let mut talk = Talk::open();
    assert_eq!(talk.send(true, syn), EST);
    let refusal = segment(RST | ACK, [0, 0], [999_999, 1], 0, 0);
    assert_eq!(talk.send(false, refusal), RPL);
    assert_eq!(talk.phase(), Phase::Close);
}

#[test]
fn a_connection_is_over_when_its_time_is() {
    let mut talk = Talk::open();
    talk.bench.sleep(86_400_000);
    assert_eq!(talk.client(ACK, 1, 1, 10, 1000), EST, "in the last second");
    talk.bench.sleep(86_402_000);
    assert_eq!(talk.bench.table().count(super::bench::ZONE), 0);
    assert_eq!(talk.client(SYN, 0, 0, 0, 1000), NEW);
    talk.bench.now_ms += 31_000;
    assert_eq!(
        talk.client(ACK, 1, 1, 0, 1000),
        NEW,
        "another, though nobody cleaned up"
    );
    assert_eq!(talk.bench.connections().len(), 1);
}
