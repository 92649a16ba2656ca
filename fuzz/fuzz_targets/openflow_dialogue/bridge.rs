//! A whole switch, its workers left out, before four peers that say anything at any time, read or
//! do not, while packets come in. Whatever it says must be what a switch may say, and what it keeps
//! within its limits.
//!
//! A script is a list of parts. The first byte of a part says what happens (two bits), with which
//! peer (two bits) and how often (four bits); two bytes with its length come next, and what the
//! length counts.

use vswitch::control::{Reader, Rehearsal};

const HELLO: [u8; 16] = [4, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x10];
/// A header's type, and the rest behind its length and number.
const MESSAGE: u8 = 0;
/// Bytes as they are.
const BYTES: u8 = 1;
/// A packet comes in, of which so much is wanted.
const PACKET: u8 = 2;
/// Time passes, and then the peer reads.
const PAUSE: u8 = 3;

pub fn rehearse(mut script: &[u8]) {
    let mut stage = Stage::new();
    while let Some((&[what, low, high], rest)) = script.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([low, high])) % (rest.len() + 1);
        let (part, rest) = rest.split_at(len);
        script = rest;
        for _ in 0..=what >> 4 {
            stage.play(what & 3, usize::from(what >> 2 & 3), part);
        }
        stage.bridge.assert_bounded();
    }
    for peer in 0..Rehearsal::PEERS {
        stage.read(peer);
    }
}

struct Stage {
    bridge: Rehearsal,
    readers: [Reader; Rehearsal::PEERS],
    next_xid: u32,
}

impl Stage {
    fn new() -> Stage {
        let mut stage = Stage {
            bridge: Rehearsal::new(),
            readers: Default::default(),
            next_xid: 0x100,
        };
        (0..Rehearsal::PEERS).for_each(|peer| stage.say(peer, &HELLO));
        stage
    }

    fn play(&mut self, what: u8, peer: usize, part: &[u8]) {
        match what {
            MESSAGE => {
                let (kind, body) = part.split_first().unwrap_or((&0, &[]));
                let body = &body[..body.len().min(0xfff7)];
                self.next_xid += 1;
                let len = (8 + body.len()) as u16;
                let [high, low] = len.to_be_bytes();
                let xid = self.next_xid.to_be_bytes();
                self.say(peer, &[&[4, *kind, high, low], &xid[..], body].concat());
            }
            BYTES => self.say(peer, part),
            PACKET => {
                let (&wanted, frame) = part.split_first().unwrap_or((&0, &[]));
                let max_len = u16::from(wanted) * 0x101;
                self.bridge.packet_in(peer as u32 % 2 + 1, max_len, frame);
            }
            PAUSE | _ => {
                let ms = part.first().map_or(0, |byte| u64::from(*byte) * 100);
                self.bridge.pass(ms);
                self.read(peer);
            }
        }
    }

    fn say(&mut self, peer: usize, bytes: &[u8]) {
        self.readers[peer].says(bytes);
        // A peer whose connection is over may go on: nobody listens.
        let _ = self.bridge.hear(peer, bytes);
    }

    fn read(&mut self, peer: usize) {
        let told = self.bridge.told(peer);
        self.readers[peer].reads(&told);
    }
}
