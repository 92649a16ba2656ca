//! Random dialogues: any messages from several peers, with packets and pauses between.

use openflow::{Xid, v13};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{Reader, Rehearsal};

#[path = "../../../../../openflow/tests/strategies/messages.rs"]
mod messages;

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    Message(usize, Box<openflow::Message>),
    Packet(u32, u16, Vec<u8>),
    Pause(u64),
    Read(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let peer = 0..Rehearsal::PEERS;
    let message = (peer.clone(), messages::message());
    let packet = (1u32..3, any::<u16>(), vec(any::<u8>(), 14..200));
    prop_oneof![
        6 => message.prop_map(|(peer, message)| Event::Message(peer, Box::new(message))),
        1 => packet.prop_map(|(port, wanted, frame)| Event::Packet(port, wanted, frame)),
        1 => (0u64..12_000).prop_map(Event::Pause),
        1 => peer.prop_map(Event::Read),
    ]
}

fn say(bridge: &mut Rehearsal, reader: &mut Reader, peer: usize, bytes: &[u8]) {
    reader.says(bytes);
    // Where the dialogue is over, nobody listens.
    let _ = bridge.hear(peer, bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn what_is_answered_makes_sense_and_what_is_kept_is_bounded(events in vec(event(), 1..60)) {
        let mut bridge = Rehearsal::new();
        let mut readers: [Reader; Rehearsal::PEERS] = Default::default();
        let hello = [4, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x10];
        for (peer, reader) in readers.iter_mut().enumerate() {
            say(&mut bridge, reader, peer, &hello);
        }
        for (number, event) in (1u32..).zip(events) {
            match event {
                Event::Message(peer, message) => {
                    let mut bytes = Vec::new();
                    let _ = v13::encode(Xid(number), &message, &mut bytes);
                    say(&mut bridge, &mut readers[peer], peer, &bytes);
                }
                Event::Packet(port, wanted, frame) => bridge.packet_in(port, wanted, &frame),
                Event::Pause(ms) => bridge.pass(ms),
                Event::Read(peer) => readers[peer].reads(&bridge.told(peer)),
            }
            bridge.assert_bounded();
        }
        for (peer, reader) in readers.iter_mut().enumerate() {
            reader.reads(&bridge.told(peer));
        }
    }
}
