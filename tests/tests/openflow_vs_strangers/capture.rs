//! Messages in TCP segments, and what tshark dissects them to.

use tests::frame::{pcap, tcp};
use tests::run;

/// The columns of tshark's fields `columns` for each message; a field that comes several times
/// has its values between semicolons.
pub fn dissect(messages: &[Vec<u8>], columns: &[&str]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("messages.pcap");
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
    std::fs::write(&file, pcap(frames.iter().map(|frame| &frame.0[..]))).expect("a file of ours");
    let mut words = vec![
        "tshark",
        "-n",
        "-r",
        file.to_str().expect("text"),
        "-T",
        "fields",
    ];
    words.extend([
        "-E",
        "separator=|",
        "-E",
        "occurrence=a",
        "-E",
        "aggregator=;",
    ]);
    words.extend(columns.iter().flat_map(|column| ["-e", column]));
    let text = run(&words).expect_success();
    text.lines()
        .map(|line| line.split('|').map(str::to_string).collect())
        .collect()
}

const CONTROLLER_PORT: u16 = 6653;
const PUSH_ACK: u16 = 0x18;
