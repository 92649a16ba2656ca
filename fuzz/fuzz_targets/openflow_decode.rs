//! Arbitrary bytes as an OpenFlow 1.3 message, to a bridge that knows some Geneve options: they are
//! refused with an error, or what they say can be said again and means the same.
#![no_main]

use std::sync::LazyLock;

use flowtable::TlvTable;
use libfuzzer_sys::fuzz_target;
use openflow::{Message, Xid, v13};

/// Of each length that takes its own way.
static OPTIONS: LazyLock<TlvTable> = LazyLock::new(|| {
    let mut table = TlvTable::default();
    for (index, len) in [(0, 4), (10, 4), (20, 8), (30, 12), (63, 28)] {
        table.add(index, 0x102, index, len).expect("room");
    }
    table
});

fuzz_target!(|bytes: &[u8]| {
    // A header that is right leads to more than one that is not.
    let mut bytes = bytes[..bytes.len().min(0xffff)].to_vec();
    if bytes.len() >= 8 {
        bytes[0] = 4;
        let len = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
    }
    let Ok((xid, message)) = v13::decode_knowing(&bytes, &OPTIONS) else { return };
    // Text that is no UTF-8 and nanoseconds beyond a second become sound, once.
    let Some(sound) = again(xid, &message) else { return };
    assert_eq!(again(xid, &sound).as_ref(), Some(&sound));
});

/// What a message decodes to after it was encoded; nothing if it does not fit one message.
fn again(xid: Xid, message: &Message) -> Option<Message> {
    let mut bytes = Vec::new();
    v13::encode_knowing(xid, message, &OPTIONS, &mut bytes).ok()?;
    if usize::from(u16::from_be_bytes([bytes[2], bytes[3]])) < bytes.len() {
        return None;
    }
    let again = v13::decode_knowing(&bytes, &OPTIONS);
    let (same, message) = again.expect("what we write we understand");
    assert_eq!(same, xid);
    Some(message)
}
