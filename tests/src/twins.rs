//! Two switches with the same flows, ours and Open vSwitch on its userspace datapath, and what each
//! makes of the same frames in the same order. A frame waits for the end of the one before.
//!
//! ```text
//!            ┌ p1 ── e1 ┐ in
//!   switch ──┼ p2 ── e2 ├ out      one namespace for the switch, one for all other ends
//!            └ p3 ── e3 ┘ out
//! ```

use std::path::Path;

use crate::{Daemon, Netns, Ovs, run};

/// One frame that came out of a switch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The port it left by.
    pub port: u32,
    /// Its bytes.
    pub frame: Vec<u8>,
}

/// What one switch made of each frame, in the order of the frames.
pub type Record = Vec<Vec<Seen>>;

/// Gives both switches `flows`, in `ovs-ofctl`'s syntax, and sends frames into port 1 of each.
///
/// `wanted` is how many frames leave for each that came, as a rule: others take longer. The number
/// of a frame becomes its source address. What ours made of them, then what Open vSwitch did.
#[track_caller]
pub fn through_both(flows: &str, frames: &[Vec<u8>], wanted: usize) -> [Record; 2] {
    let frames: Vec<_> = frames
        .iter()
        .zip(0..)
        .map(|(frame, n)| numbered(frame, n))
        .collect();
    let flows = format!("priority=65535,dl_type=0x88b5,actions=output:2\n{flows}");
    let [ours, theirs] = [ours, theirs].map(|way| way(&flows, &frames, wanted));
    [ours, theirs]
}

fn ours(flows: &str, frames: &[Vec<u8>], wanted: usize) -> Record {
    let (switch, ends) = namespaces();
    let mut bridge = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n".to_string();
    for port in PORTS {
        let kind = "type = \"system\"";
        bridge += &format!("[[bridge.port]]\nname = \"p{port}\"\n{kind}\nnumber = {port}\n");
    }
    let daemon = Daemon::start_in(switch, &bridge);
    let target = daemon.run_dir().join("br0.mgmt");
    let record = drive(&ends, &target, flows, frames, wanted);
    daemon.stop();
    record
}

fn theirs(flows: &str, frames: &[Vec<u8>], wanted: usize) -> Record {
    let (switch, ends) = namespaces();
    let ovs = Ovs::start_without_dpdk(switch);
    ovs.add_bridge("br0", &["fail_mode=secure"]);
    for port in PORTS {
        let number = format!("ofport_request={port}");
        ovs.add_interface("br0", &format!("p{port}"), &[&number]);
    }
    let target = ovs.folder().join("br0.mgmt");
    drive(&ends, &target, flows, frames, wanted)
}

/// The namespaces of the switch and of the other ends.
fn namespaces() -> (Netns, Netns) {
    let (switch, ends) = (Netns::silent("sw"), Netns::silent("ends"));
    for port in PORTS {
        switch.veth(&format!("p{port}"), &ends, &format!("e{port}"));
    }
    (switch, ends)
}

#[track_caller]
fn drive(ends: &Netns, bridge: &Path, flows: &str, frames: &[Vec<u8>], wanted: usize) -> Record {
    let folder = crate::folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [rules, sent, record] = ["flows", "frames", "record"].map(path);
    std::fs::write(&rules, flows).expect("the folder is writable");
    let target = format!("unix:{}", bridge.display());
    run(&[
        "ovs-ofctl",
        "-O",
        "OpenFlow13",
        "add-flows",
        &target,
        &rules,
    ])
    .expect_success();
    std::fs::write(&sent, joined(frames)).expect("the folder is writable");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/twins.py");
    let words = ["python3", script, &sent, &record, &wanted.to_string()];
    ends.run(&words).expect_success();
    let bytes = std::fs::read(&record).expect("a record");
    let mut out = vec![Vec::new(); frames.len()];
    let mut rest = &bytes[..];
    while let Some((head, behind)) = rest.split_first_chunk::<12>() {
        let word = |at: usize| u32::from_be_bytes(*head[at..].first_chunk().expect("four bytes"));
        let (frame, behind) = behind.split_at(word(8) as usize);
        let seen = Seen {
            port: word(4),
            frame: frame.to_vec(),
        };
        out[word(0) as usize].push(seen);
        rest = behind;
    }
    // The order between ports is nobody's promise.
    out.iter_mut()
        .for_each(|seen| seen.sort_by_key(|seen| seen.port));
    out
}

/// Each frame behind its length.
fn joined(frames: &[Vec<u8>]) -> Vec<u8> {
    let with_len = |frame: &Vec<u8>| [&(frame.len() as u32).to_be_bytes()[..], frame].concat();
    frames.iter().flat_map(with_len).collect()
}

/// The frame with its number as source address.
fn numbered(frame: &[u8], number: u32) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[6..8].copy_from_slice(&[0x06, 0x5e]);
    frame[8..12].copy_from_slice(&number.to_be_bytes());
    frame
}

const PORTS: [u32; 3] = [1, 2, 3];
