//! What a peer makes of what it is told: each message's header and, of errors, all that there is,
//! read by hand; then the whole as a controller of ours understands it.

use std::collections::BTreeSet;

use openflow::connection::{CloseReason, Config, Connection, Side};
use openflow::{ErrorCode, v13};

/// One peer's ears.
#[derive(Debug)]
pub struct Reader {
    controller: Connection,
    /// What was said and is no whole message yet.
    said: Vec<u8>,
    /// Numbers of all that was said.
    numbers: BTreeSet<[u8; 4]>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            controller: Connection::new(Config::new(Side::Controller), 0),
            said: Vec::new(),
            numbers: BTreeSet::new(),
        }
    }
}

impl Reader {
    /// Notes what the peer says.
    pub fn says(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        while let &[_, _, high, low, a, b, c, d, ..] = &self.said[..] {
            let len = usize::from(u16::from_be_bytes([high, low]));
            self.numbers.insert([a, b, c, d]);
            if len < HEADER || len > self.said.len() {
                return;
            }
            self.said.drain(..len);
        }
    }

    /// Reads what the switch says: panics if any of it is not what a switch may say.
    pub fn reads(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        let mut expected = 0;
        while !rest.is_empty() {
            assert!(rest.len() >= HEADER, "{rest:x?}");
            let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            assert!((HEADER..=rest.len()).contains(&len), "{rest:x?}");
            let (message, more) = rest.split_at(len);
            self.check(message);
            expected += usize::from(!matches!(message[1], HELLO | ECHO_REQUEST | ECHO_REPLY));
            rest = more;
        }
        let _ = self.controller.receive(bytes, 0);
        let understood = std::iter::from_fn(|| self.controller.next_message()).count();
        match self.controller.poll(0) {
            Ok(_) => assert!(
                understood >= expected,
                "{understood} of {expected}: {bytes:x?}"
            ),
            Err(CloseReason::Refused(_) | CloseReason::Incompatible { .. }) => {}
            Err(reason) => panic!("{reason}: {bytes:x?}"),
        }
    }

    fn check(&self, message: &[u8]) {
        let (kind, number) = (message[1], &message[4..HEADER]);
        let is_hello_failed = kind == ERROR && message.get(8..10) == Some(&[0, 0]);
        if kind == HELLO || is_hello_failed {
            return;
        }
        assert_eq!(message[0], 4, "{message:x?}");
        match kind {
            PACKET_IN | FLOW_REMOVED | PORT_STATUS => assert_eq!(number, [0; 4]),
            ECHO_REQUEST => assert!(number[0] & 0x80 != 0, "{message:x?}"),
            // What flow monitors tell unasked.
            EXPERIMENTER | MULTIPART_REPLY if number == [0; 4] => {}
            _ => {
                assert!(REPLIES.contains(&kind), "{message:x?}");
                let asked = number.first_chunk();
                assert!(asked.is_some_and(|it| self.numbers.contains(it)));
            }
        }
        if kind == ERROR {
            check_error(message);
        }
        let (xid, decoded) = v13::decode(message).expect("what a switch says makes sense");
        let mut again = Vec::new();
        v13::encode(xid, &decoded, &mut again).expect("it was short enough");
        assert_eq!(again, message, "{decoded:?}");
    }
}

/// An error has a code that there is, and repeats the beginning of what it is about.
fn check_error(message: &[u8]) {
    let body = &message[HEADER..];
    assert!(body.len() >= 4, "{message:x?}");
    let number = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let code = ErrorCode {
        kind: number(0),
        code: number(2),
    };
    assert!(code.name().is_some(), "{code:?}");
    let about = &body[4..];
    let about = match code.kind {
        ErrorCode::EXPERIMENTER => &about[4..],
        _ => about,
    };
    assert!((HEADER..=64).contains(&about.len()), "{message:x?}");
    assert_eq!(about[4..HEADER], message[4..HEADER], "{message:x?}");
}

const HEADER: usize = 8;
const HELLO: u8 = 0;
const ERROR: u8 = 1;
const ECHO_REQUEST: u8 = 2;
const ECHO_REPLY: u8 = 3;
const EXPERIMENTER: u8 = 4;
const PACKET_IN: u8 = 10;
const FLOW_REMOVED: u8 = 11;
const PORT_STATUS: u8 = 12;
const MULTIPART_REPLY: u8 = 19;
/// Error, echo, experimenter (bundles), and the replies of OpenFlow 1.3.5 §7.1.
const REPLIES: [u8; 10] = [
    ERROR,
    ECHO_REPLY,
    EXPERIMENTER,
    6,
    8,
    MULTIPART_REPLY,
    21,
    23,
    25,
    27,
];
