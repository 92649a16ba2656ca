//! Messages in TCP segments, and what tshark dissects them to.

use tests::frame::tcp;
use tests::tshark;

/// The columns of tshark's fields `columns` for each message; a field that comes several times
/// has its values between semicolons.
pub fn dissect(messages: &[Vec<u8>], columns: &[&str]) -> Vec<Vec<String>> {
    // A connection each, so that no message depends on the dissection of another.
    let frames: Vec<_> = (10_000..)
        .zip(messages)
        .map(|(port, message)| {
            let segment = tcp(port, CONTROLLER_PORT, PUSH_ACK, &[], message);
            segment
                .ipv4(6, [127, 0, 0, 1], [127, 0, 0, 2])
                .typed(0x0800)
                .addresses([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
        })
        .collect();
    tshark::fields(frames.iter().map(|frame| &frame.0[..]), columns, &[])
}

const CONTROLLER_PORT: u16 = 6653;
const PUSH_ACK: u16 = 0x18;
