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

/// What is sent into port 1.
#[derive(Clone, Debug)]
pub enum Sent {
    /// A frame.
    Frame(Vec<u8>),
    /// What an end makes of the first frame that left by port 2 of an earlier one: see
    /// `twins_answers.py`.
    Order {
        /// The number of the earlier one.
        of: usize,
        /// `answer`, `error` or `announced`.
        what: &'static str,
        /// Ethernet destination.
        destination: [u8; 6],
        /// More, as members of a JSON object, each with a comma before it.
        more: String,
    },
}

impl Sent {
    /// As `twins.py` reads it. The number becomes the source address.
    fn encoded(&self, number: u32) -> Vec<u8> {
        match self {
            Sent::Frame(frame) => {
                let frame = numbered(frame, number);
                [&(frame.len() as u32).to_be_bytes()[..], &frame].concat()
            }
            Sent::Order {
                of,
                what,
                destination,
                more,
            } => {
                let head = numbered(&[&destination[..], &[0; 6]].concat(), number);
                let head: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
                let text = format!(r#"{{"of": {of}, "what": "{what}", "head": "{head}"{more}}}"#);
                let len = text.len() as u32 | ORDER;
                [&len.to_be_bytes()[..], text.as_bytes()].concat()
            }
        }
    }
}

/// What one switch made of each frame, in the order of the frames.
pub type Record = Vec<Vec<Seen>>;

/// Gives both switches `flows`, in `ovs-ofctl`'s syntax, and sends frames into port 1 of each.
///
/// `wanted` is how many frames leave for each that came, as a rule: others take longer. The number
/// of a frame becomes its source address. What ours made of them, then what Open vSwitch did.
#[track_caller]
pub fn through_both(flows: &str, frames: &[Vec<u8>], wanted: usize) -> [Record; 2] {
    let frames: Vec<_> = frames.iter().cloned().map(Sent::Frame).collect();
    exchanged_by_both(flows, &frames, wanted)
}

/// As [`through_both`] does, where what is sent may depend on what came out.
#[track_caller]
pub fn exchanged_by_both(flows: &str, sent: &[Sent], wanted: usize) -> [Record; 2] {
    let flows = format!("priority=65535,dl_type=0x88b5,actions=output:2\n{flows}");
    let [ours, theirs] = [ours, theirs].map(|way| way(&flows, sent, wanted));
    [ours, theirs]
}

fn ours(flows: &str, frames: &[Sent], wanted: usize) -> Record {
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

fn theirs(flows: &str, frames: &[Sent], wanted: usize) -> Record {
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
fn drive(ends: &Netns, bridge: &Path, flows: &str, frames: &[Sent], wanted: usize) -> Record {
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
    let orders = frames.iter().zip(0..);
    let orders: Vec<_> = orders
        .flat_map(|(frame, number)| frame.encoded(number))
        .collect();
    std::fs::write(&sent, orders).expect("the folder is writable");
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

/// The frame with its number as source address.
fn numbered(frame: &[u8], number: u32) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[6..8].copy_from_slice(&[0x06, 0x5e]);
    frame[8..12].copy_from_slice(&number.to_be_bytes());
    frame
}

/// What is before an order rather than a frame, added to its length.
const ORDER: u32 = 1 << 31;
const PORTS: [u32; 3] = [1, 2, 3];
