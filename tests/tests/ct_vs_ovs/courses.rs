//! What dialogues go through: orderly ones, of which every frame must be judged alike, and unruly
//! ones.

use tests::naive::random::Random;

use super::dialogue::*;

/// A dialogue in which nobody does wrong.
pub fn orderly(dialogue: &mut Dialogue, random: &mut Random) {
    match random.below(4) {
        0 | 1 => orderly_tcp(dialogue, random),
        2 => datagrams(dialogue, random),
        _ => echoes(dialogue, random),
    }
}

fn side(random: &mut Random) -> Side {
    random.pick(&[Side::Client, Side::Server])
}

fn orderly_tcp(dialogue: &mut Dialogue, random: &mut Random) {
    dialogue.connect();
    for _ in 0..random.below(12) {
        some_data(dialogue, random);
    }
    match random.below(3) {
        0 => {
            let first = side(random);
            dialogue.send("FIN", first, FIN | ACK, 0);
            dialogue.send("ACK of a FIN", first.other(), ACK, 0);
            dialogue.send("FIN of the other", first.other(), FIN | ACK, 0);
            dialogue.send("last ACK", first, ACK, 0);
        }
        1 => {
            let first = side(random);
            dialogue.send("RST", first, RST | ACK, 0);
        }
        _ => {}
    }
}

/// Data, an acknowledgement, or data that comes again.
fn some_data(dialogue: &mut Dialogue, random: &mut Random) {
    let side = side(random);
    let len = 1 + random.below(200);
    match random.below(5) {
        0 => dialogue.send("ACK", side, ACK, 0),
        1 => {
            let segment = dialogue.next_segment(side, PSH | ACK, len);
            dialogue.send("data", side, PSH | ACK, len);
            let frame = dialogue.tcp(side, segment);
            dialogue.push("data once more", frame);
        }
        2 => {
            let mut segment = dialogue.next_segment(side, ACK, 1);
            segment.seq = segment.seq.wrapping_sub(1);
            let frame = dialogue.tcp(side, segment);
            dialogue.push("keep-alive", frame);
        }
        _ => dialogue.send("data", side, PSH | ACK, len),
    }
}

fn datagrams(dialogue: &mut Dialogue, random: &mut Random) {
    for index in 0..2 + random.below(8) {
        let side = if index == 0 {
            Side::Client
        } else {
            side(random)
        };
        let payload = vec![b'u'; random.below(64)];
        let frame = dialogue.udp(side, &payload);
        dialogue.push("datagram", frame);
        if random.one_in(4) {
            let seen = dialogue.seen_udp(side, &payload);
            let router = random.one_in(2);
            let error = dialogue.error(side.other(), &seen, router);
            dialogue.push("error about a datagram", error);
        }
    }
}

fn echoes(dialogue: &mut Dialogue, random: &mut Random) {
    for _ in 0..1 + random.below(5) {
        let frame = dialogue.echo(Side::Client, true);
        dialogue.push("echo request", frame);
        if random.one_in(3) {
            continue;
        }
        let frame = dialogue.echo(Side::Server, false);
        dialogue.push("echo reply", frame);
    }
}

/// Whether a step of this kind breaks no rule where a connection is open.
pub fn is_orderly(what: &str) -> bool {
    let kinds = [
        "data",
        "data once more",
        "ACK",
        "ACK of the handshake",
        "keep-alive",
    ];
    let opening = ["SYN", "SYN of the answer", "wrong checksum"];
    kinds.contains(&what) || opening.contains(&what)
}

/// A dialogue over TCP in which anything may come at any time.
pub fn unruly(dialogue: &mut Dialogue, random: &mut Random) {
    match random.one_in(4) {
        true => dialogue.send("begins in the middle", Side::Client, ACK, 0),
        false => dialogue.connect(),
    }
    for _ in 0..2 + random.below(8) {
        let side = side(random);
        match random.below(5) {
            0 => some_data(dialogue, random),
            1 => any_flags(dialogue, side, random),
            2 => far_away(dialogue, side, random),
            3 => harmed(dialogue, side, random),
            _ => ends(dialogue, side, random),
        }
    }
}

fn any_flags(dialogue: &mut Dialogue, side: Side, random: &mut Random) {
    let (what, flags) = random.pick(&[
        ("SYN at any time", SYN),
        ("SYN|ACK at any time", SYN | ACK),
        ("ACK at any time", ACK),
        ("RST at any time", RST),
        ("FIN at any time", FIN | ACK),
        ("no flags", 0),
        ("SYN|FIN", SYN | FIN),
        ("SYN|RST", SYN | RST),
        ("FIN without ACK", FIN),
        ("PSH alone", PSH),
        ("URG alone", URG),
        ("all flags", 63),
    ]);
    dialogue.send(what, side, flags, 0);
}

/// Sequence numbers or acknowledgements far from those expected.
fn far_away(dialogue: &mut Dialogue, side: Side, random: &mut Random) {
    let mut segment = dialogue.next_segment(side, ACK, 10);
    let far = random.pick(&[0x1000_0000_u32, 0x4000_0000, 0x8000_0000, 0xf000_0000]);
    let what = match random.below(3) {
        0 => {
            segment.seq = segment.seq.wrapping_add(far);
            "far sequence number"
        }
        1 => {
            segment.ack = segment.ack.wrapping_add(far);
            "far acknowledgement"
        }
        _ => {
            segment.flags = RST;
            segment.len = 0;
            segment.seq = segment.seq.wrapping_add(far);
            "far RST"
        }
    };
    let frame = dialogue.tcp(side, segment);
    dialogue.push(what, frame);
}

/// A wrong checksum.
fn harmed(dialogue: &mut Dialogue, side: Side, random: &mut Random) {
    let segment = dialogue.next_segment(side, PSH | ACK, 20);
    let mut frame = dialogue.tcp(side, segment);
    let last = frame.len() - 1 - random.below(20);
    frame[last] ^= 0x10;
    dialogue.push("wrong checksum", frame);
}

/// An end, with what belongs to it.
fn ends(dialogue: &mut Dialogue, side: Side, random: &mut Random) {
    match random.below(3) {
        0 => dialogue.send("FIN", side, FIN | ACK, 0),
        1 => dialogue.send("RST", side, RST, 0),
        _ => {
            dialogue.next = [random.number() as u32, random.number() as u32];
            dialogue.send("SYN that opens again", Side::Client, SYN, 0);
            dialogue.send("SYN of the answer", Side::Server, SYN | ACK, 0);
            dialogue.send("ACK of the handshake", Side::Client, ACK, 0);
        }
    }
}
