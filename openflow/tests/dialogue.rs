//! Properties of a connection: two ends understand each other however the bytes between them are
//! cut, and no bytes and no times bring an end into trouble.

use openflow::Message;
use openflow::connection::{Config, Connection, Side};
use proptest::collection::vec;
use proptest::prelude::*;

#[path = "strategies/messages.rs"]
mod messages;

/// Hands what `from` has to say to `to`, in parts of at most `part` bytes.
fn carry(from: &mut Connection, to: &mut Connection, part: usize) {
    while !from.outgoing().is_empty() {
        let len = from.outgoing().len().min(part);
        to.receive(&from.outgoing()[..len], 0)
            .expect("nothing wrong");
        from.sent(len);
    }
}

/// What a connection deals with itself and does not hand on, or not as it came.
fn is_the_owners(message: &Message) -> bool {
    match message {
        Message::Hello(_) | Message::EchoRequest(_) => false,
        Message::Error(error) => error.code.kind != 0,
        Message::MultipartRequest { more, .. } => !more,
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_one_end_sends_the_other_hands_on(
        messages in vec(messages::message(), 1..8),
        part in 1..200usize,
    ) {
        let mut controller = Connection::new(Config::new(Side::Controller), 0);
        let mut switch = Connection::new(Config::new(Side::Switch), 0);
        carry(&mut controller, &mut switch, part);
        carry(&mut switch, &mut controller, part);
        let messages: Vec<_> = messages.into_iter().filter(is_the_owners).collect();
        let mut sent = Vec::new();
        for message in messages {
            let xid = controller.next_xid();
            controller.send(xid, &message).expect("open and short");
            sent.push((xid, message));
        }
        carry(&mut controller, &mut switch, part);
        let handed_on: Vec<_> = std::iter::from_fn(|| switch.next_message()).collect();
        prop_assert_eq!(handed_on, sent);
        prop_assert!(switch.outgoing().is_empty());
    }

    #[test]
    fn no_bytes_bring_an_end_into_trouble(
        steps in vec((vec(any::<u8>(), 0..100), 0..20_000u64), 1..10),
        controller: bool,
    ) {
        let side = if controller { Side::Controller } else { Side::Switch };
        let mut connection = Connection::new(Config::new(side), 0);
        let mut now_ms = 0;
        for (mut bytes, elapsed_ms) in steps {
            now_ms += elapsed_ms;
            if let [version, _, high, low, ..] = &mut bytes[..] {
                (*version, *high, *low) = (4, 0, *low & 0x7f);
            }
            let received = connection.receive(&bytes, now_ms);
            while connection.next_message().is_some() {}
            let due = connection.poll(now_ms);
            if let (Ok(()), Ok(Some(deadline_ms))) = (received, due) {
                prop_assert!(deadline_ms > now_ms);
            }
        }
    }
}
