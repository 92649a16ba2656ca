//! Two switches with the same flows, ours and Open vSwitch on its userspace datapath, and what each
//! makes of the same frames in the same order. A frame waits for the end of the one before.
//!
//! ```text
//!            ┌ p1 ── e1 ┐ in
//!   switch ──┼ p2 ── e2 ├ out      one namespace for the switch, one for all other ends
//!            └ p3 ── e3 ┘ out
//! ```
//!
//! Where packets go on to a second bridge, port 1 is of the first, the others are of the second,
//! and patch ports join the two.

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

/// As [`through_both`] does, by way of two bridges with flows of their own: port 1 is of the first,
/// 2 and 3 are of the second, and [`PATCH`] of each is the other.
#[track_caller]
pub fn through_both_by_two_bridges(
    flows: [&str; 2],
    frames: &[Vec<u8>],
    wanted: usize,
) -> [Record; 2] {
    let frames: Vec<_> = frames.iter().cloned().map(Sent::Frame).collect();
    by_both(&flows, &frames, wanted)
}

/// As [`through_both`] does, where what is sent may depend on what came out.
#[track_caller]
pub fn exchanged_by_both(flows: &str, sent: &[Sent], wanted: usize) -> [Record; 2] {
    by_both(&[flows], sent, wanted)
}

/// Flows of one bridge, or of two that packets pass in this order.
#[track_caller]
fn by_both(flows: &[&str], sent: &[Sent], wanted: usize) -> [Record; 2] {
    let last = flows.len() - 1;
    let bridges = flows.iter().enumerate().map(|(number, flows)| {
        let ahead = if number == last { 2 } else { PATCH };
        Bridge {
            name: format!("br{number}"),
            flows: format!("priority=65535,dl_type=0x88b5,actions=output:{ahead}\n{flows}"),
            ports: match (number, last) {
                (0, 0) => &PORTS,
                (0, _) => &PORTS[..1],
                _ => &PORTS[1..],
            },
            patch: (last > 0).then(|| (format!("patch{number}"), format!("patch{}", 1 - number))),
        }
    });
    let bridges: Vec<_> = bridges.collect();
    [ours, theirs].map(|way| way(&bridges, sent, wanted))
}

/// A bridge of a switch.
struct Bridge {
    name: String,
    flows: String,
    ports: &'static [u32],
    /// Names of its patch port and of the peer.
    patch: Option<(String, String)>,
}

fn ours(bridges: &[Bridge], frames: &[Sent], wanted: usize) -> Record {
    let (switch, ends) = namespaces();
    let port = |name: &str, kind: &str, number: u32| {
        format!("[[bridge.port]]\nname = \"{name}\"\ntype = \"{kind}\"\nnumber = {number}\n")
    };
    let mut config = String::new();
    for Bridge {
        name, ports, patch, ..
    } in bridges
    {
        config += &format!("[[bridge]]\nname = \"{name}\"\nfail_mode = \"secure\"\n");
        for number in *ports {
            config += &port(&format!("p{number}"), "system", *number);
        }
        if let Some((name, peer)) = patch {
            config += &port(name, "patch", PATCH);
            config += &format!("options = {{ peer = \"{peer}\" }}\n");
        }
    }
    let daemon = Daemon::start_in(switch, &config);
    let record = drive(&ends, &daemon.run_dir(), bridges, frames, wanted);
    daemon.stop();
    record
}

fn theirs(bridges: &[Bridge], frames: &[Sent], wanted: usize) -> Record {
    let (switch, ends) = namespaces();
    let ovs = Ovs::start_without_dpdk(switch);
    for bridge in bridges {
        ovs.add_bridge(&bridge.name, &["fail_mode=secure"]);
        for number in bridge.ports {
            let request = format!("ofport_request={number}");
            ovs.add_interface(&bridge.name, &format!("p{number}"), &[&request]);
        }
        if let Some((name, peer)) = &bridge.patch {
            let request = format!("ofport_request={PATCH}");
            let peer = format!("options:peer={peer}");
            ovs.add_interface(&bridge.name, name, &["type=patch", &peer, &request]);
        }
    }
    drive(&ends, ovs.folder(), bridges, frames, wanted)
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
fn drive(
    ends: &Netns,
    run_dir: &Path,
    bridges: &[Bridge],
    frames: &[Sent],
    wanted: usize,
) -> Record {
    let folder = crate::folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [rules, sent, record] = ["flows", "frames", "record"].map(path);
    for bridge in bridges {
        std::fs::write(&rules, &bridge.flows).expect("the folder is writable");
        let socket = run_dir.join(format!("{}.mgmt", bridge.name));
        let target = format!("unix:{}", socket.display());
        run(&[
            "ovs-ofctl",
            "-O",
            "OpenFlow13",
            "add-flows",
            &target,
            &rules,
        ])
        .expect_success();
    }
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
/// The port of a bridge behind which the other is.
pub const PATCH: u32 = 10;
