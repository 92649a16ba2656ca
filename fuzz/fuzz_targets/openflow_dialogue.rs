//! Whole dialogues with one end of an OpenFlow connection: whatever the peer says, cut however the
//! network likes, at whatever times. The first byte chooses the side and whether the peer begins
//! with a hello; then come parts, each after the seconds that pass and its length. Or it chooses a
//! bridge with all that is behind a connection.
#![no_main]

#[path = "openflow_dialogue/bridge.rs"]
mod bridge;

use libfuzzer_sys::fuzz_target;
use openflow::connection::{Config, Connection, Side};

const HELLO: [u8; 16] = [4, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x10];
/// Bytes that say why a connection is refused, with every version there could be.
const REFUSAL_LEN_MAX: usize = 2000;

fuzz_target!(|script: &[u8]| {
    let Some((&choice, mut script)) = script.split_first() else { return };
    if choice & 4 != 0 {
        return bridge::rehearse(script);
    }
    let side = if choice & 1 == 0 { Side::Switch } else { Side::Controller };
    let mut connection = Connection::new(Config::new(side), 0);
    let mut answered_max = connection.outgoing().len() + REFUSAL_LEN_MAX;
    if choice & 2 == 0 {
        connection.receive(&HELLO, 0).expect("a good hello");
    }
    let mut now_ms = 0;
    while let Some((&[seconds, len], rest)) = script.split_first_chunk() {
        let (part, rest) = rest.split_at(rest.len().min(len.into()));
        script = rest;
        now_ms += u64::from(seconds) * 1000;
        // The shortest request is 8 bytes and brings an error of 20; and a probe is 8.
        answered_max += part.len() * 3 + 8;
        let received = connection.receive(part, now_ms);
        while let Some((xid, request)) = connection.next_request() {
            assert!(connection.request_head().len() <= 64);
            if let Err(code) = request {
                connection.refuse(xid, code);
            }
        }
        let due = connection.poll(now_ms);
        if received.is_err() {
            assert_eq!(received.err(), due.clone().err());
        }
        match due {
            Ok(deadline_ms) => assert!(deadline_ms > Some(now_ms)),
            Err(_) => assert_eq!(connection.next_message(), None),
        }
        assert!(connection.outgoing().len() <= answered_max);
    }
});
