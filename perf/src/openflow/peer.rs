//! The two switches that are compared, with the same two ports: one that replays a capture
//! without end, and one that drops what it is sent.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tests::{Daemon, Netns, Ovs};

use super::client::Client;

/// A running switch.
#[derive(Debug)]
pub enum Peer {
    /// Ours.
    Ours(Daemon),
    /// Open vSwitch.
    Ovs(Ovs),
}

impl Peer {
    /// Starts one with the ports 1 and 2, the packets of `captures` coming in by 1.
    pub fn start(kind: Kind, captures: &Captures) -> Peer {
        let source = format!(
            "net_pcap0,rx_pcap={},infinite_rx=1",
            captures.path("in").display()
        );
        let sink = format!("net_pcap1,rx_pcap={}", captures.path("empty").display());
        match kind {
            Kind::Ours => Peer::Ours(Daemon::start(&config(&source, &sink))),
            Kind::Ovs => Peer::Ovs(start_ovs(&source, &sink)),
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Peer::Ours(_) => "ours",
            Peer::Ovs(_) => "OVS",
        }
    }

    fn netns(&self) -> &Netns {
        match self {
            Peer::Ours(daemon) => daemon.netns(),
            Peer::Ovs(ovs) => ovs.netns(),
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Peer::Ours(daemon) => daemon.pid(),
            Peer::Ovs(ovs) => ovs.pid(),
        }
    }

    /// A connection to its bridge.
    pub fn connect(&self) -> Result<Client> {
        Client::connect(&self.socket())
    }

    /// Where its bridge listens.
    pub fn socket(&self) -> PathBuf {
        match self {
            Peer::Ours(daemon) => daemon.run_dir().join("br0.mgmt"),
            Peer::Ovs(ovs) => ovs.folder().join("br0.mgmt"),
        }
    }

    /// Bytes of memory that it has.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// Seconds that its worker ran so far: what else the machine does is no part of them (Linux,
    /// Documentation/scheduler/sched-stats.rst).
    pub fn worker_seconds(&self) -> Result<f64> {
        for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let task = task?.path();
            let name = fs::read_to_string(task.join("comm"))?;
            if name.starts_with("worker-") || name.starts_with("pmd-") {
                let times = fs::read_to_string(task.join("schedstat"))?;
                let ran = times.split_whitespace().next().context("no time")?;
                return Ok(ran.parse::<f64>()? / 1e9);
            }
        }
        bail!("no worker")
    }

    /// The most that it had since [`Peer::reset_peak`].
    pub fn peak_bytes(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// Forgets how much memory it had at most (proc(5), `clear_refs`).
    pub fn reset_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.pid());
        fs::write(&path, "5").with_context(|| path)
    }

    fn memory(&self, name: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let words = line.context("no such line")?.split_whitespace().next();
        Ok(words.context("no number")?.parse::<u64>()? << 10)
    }
}

/// Two hosts at ports 3 and 4 of a switch.
#[derive(Debug)]
pub struct Hosts {
    hosts: [Netns; 2],
}

impl Hosts {
    /// Takes the switch's devices i3 and i4 and gives them addresses. They know each other's
    /// Ethernet addresses, so that no packet runs but those of the measurement.
    pub fn at(peer: &Peer) -> Hosts {
        let hosts = [3, 4].map(|i| {
            let host = Netns::new(&format!("h{i}"));
            host.run(&["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
            peer.netns().give(&format!("i{i}"), &host);
            host.ip(&format!("addr add 10.1.0.{i}/24 dev i{i}"));
            host
        });
        for (here, there, i, j) in [(0, 1, 3, 4), (1, 0, 4, 3)] {
            let path = format!("/sys/class/net/i{j}/address");
            let address = hosts[there].run(&["cat", &path]).expect_success();
            let address = address.trim();
            hosts[here].ip(&format!("neigh add 10.1.0.{j} lladdr {address} dev i{i}"));
        }
        Hosts { hosts }
    }

    /// A socket of the host at port 4.
    pub fn receiver(&self) -> UdpSocket {
        let bind = || UdpSocket::bind("10.1.0.4:7000").expect("the address is there");
        self.hosts[1].enter(bind)
    }

    /// Sockets of the host at port 3, each with a port of its own.
    pub fn senders(&self, count: usize) -> Vec<UdpSocket> {
        let bind = |_| UdpSocket::bind("10.1.0.3:0").expect("the address is there");
        self.hosts[0].enter(|| (0..count).map(bind).collect())
    }
}

/// Which switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Ours,
    /// Open vSwitch.
    Ovs,
}

fn config(source: &str, sink: &str) -> String {
    let port = |number, device| {
        format!(
            "[[bridge.port]]\nname = \"p{number}\"\nnumber = {number}\ntype = \"dpdk\"\n\
             options = {{ dpdk-devargs = \"{device}\" }}\n"
        )
    };
    let host = |number| {
        format!("[[bridge.port]]\nname = \"i{number}\"\nnumber = {number}\ntype = \"internal\"\n")
    };
    let bridge = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n";
    [bridge, &port(1, source), &port(2, sink), &host(3), &host(4)].concat()
}

fn start_ovs(source: &str, sink: &str) -> Ovs {
    let ovs = Ovs::start(Netns::new("ovs"));
    ovs.add_bridge("br0", &["fail_mode=secure", "protocols=OpenFlow13"]);
    for (number, device) in [(1, source), (2, sink)] {
        let (name, devargs) = (
            format!("p{number}"),
            format!("options:dpdk-devargs=\"{device}\""),
        );
        let request = format!("ofport_request={number}");
        ovs.add_interface("br0", &name, &["type=dpdk", &devargs, &request]);
    }
    for number in [3, 4] {
        let (name, request) = (format!("i{number}"), format!("ofport_request={number}"));
        ovs.add_interface("br0", &name, &["type=internal", &request]);
    }
    ovs
}

/// Captures in a folder of their own.
#[derive(Debug)]
pub struct Captures {
    folder: TempDir,
}

impl Captures {
    /// One with a frame of each of `flows` flows, and an empty one.
    pub fn create(flows: u32) -> Result<Captures> {
        let captures = Captures {
            folder: tempfile::tempdir()?,
        };
        write(&captures.path("in"), flows)?;
        write(&captures.path("empty"), 0)?;
        Ok(captures)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn write(path: &Path, frames: u32) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&PCAP_HEADER.map(u32::to_le_bytes).concat())?;
    for flow in 0..frames {
        let frame = frame(flow);
        let length = frame.len() as u32;
        file.write_all(&[0, 0, length, length].map(u32::to_le_bytes).concat())?;
        file.write_all(&frame)?;
    }
    Ok(file.flush()?)
}

/// UDP in IPv4, 64 bytes on the wire with the check sequence; flows differ in source address.
pub fn frame(flow: u32) -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00]);
    frame[14..24].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17]);
    frame[26..30].copy_from_slice(&(0x0a00_0000 + flow).to_be_bytes());
    frame[30..34].copy_from_slice(&[192, 168, 0, 1]);
    frame[34..40].copy_from_slice(&[0x10, 0, 0x20, 0, 0, 26]);
    frame
}

/// Magic number, version 2.4, no time zone, no accuracy, longest frame, Ethernet.
const PCAP_HEADER: [u32; 6] = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, 1];
