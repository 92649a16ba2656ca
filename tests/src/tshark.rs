//! What tshark, Wireshark's dissector, reads in frames: the judge of what we parse and of the
//! messages that we send.

use crate::frame::pcap;
use crate::process::run;

/// The fields `columns` of each frame in their order, empty where a frame has none; a field that
/// comes several times has its values between semicolons. `preferences` are tshark's (`-o`).
pub fn fields<'a>(
    frames: impl Iterator<Item = &'a [u8]>,
    columns: &[&str],
    preferences: &[&str],
) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("frames.pcap");
    std::fs::write(&file, pcap(frames)).expect("room for the capture");
    let file = file.to_str().expect("text");
    let mut words = vec!["tshark", "-n", "-r", file, "-T", "fields"];
    for form in ["separator=|", "occurrence=a", "aggregator=;"] {
        words.extend(["-E", form]);
    }
    words.extend(preferences.iter().flat_map(|preference| ["-o", preference]));
    words.extend(columns.iter().flat_map(|column| ["-e", column]));
    let text = run(&words).expect_success();
    text.lines()
        .map(|line| line.split('|').map(str::to_string).collect())
        .collect()
}
