//! What is compared: our daemon, Open vSwitch on DPDK, and dpdk-testpmd, each with the same ports.
//!
//! Only one runs at a time, its worker on one CPU and the rest on the other. Port 1 is the
//! server's end of a memif that the generator fills; port 2 drops what it is sent (`net_null`), or
//! is a memif too, or a guest.

mod ours;
mod ovs;
mod testpmd;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use openflow::{Message, MultipartReply, MultipartRequest, OfPort, v13};
use tempfile::TempDir;
use tests::Netns;

use super::machine::Use;
use super::profile;
use super::scenario::Rules;
use super::tunnels::{self, OWN_ADDRESS, Tunnels};
use crate::openflow::client::Client;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Our daemon.
    Ours,
    /// Open vSwitch on DPDK.
    Ovs,
    /// dpdk-testpmd in `io` mode: what the ports alone can do.
    Testpmd,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Ours, Kind::Ovs, Kind::Testpmd];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ours => "vswitch",
            Kind::Ovs => "OVS-DPDK",
            Kind::Testpmd => "testpmd",
        }
    }
}

/// One that runs.
pub struct Contender {
    program: Program,
    /// Holds the sockets; goes last.
    folder: TempDir,
}

enum Program {
    Ours(ours::Ours),
    Ovs(ovs::Ovs),
    Testpmd(testpmd::Testpmd),
}

/// What it counted until now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Packets received by port 1 and sent by port 2.
    pub received: u64,
    /// See `received`.
    pub sent: u64,
    /// Cycles that its worker spent with packets, as it says itself, and with how many.
    pub cycles: Option<(f64, f64)>,
}

/// What a port is.
#[derive(Clone, Debug)]
pub enum End {
    /// A memif that the contender has the server's end of.
    Memif,
    /// A device that drops what it is sent.
    Sink,
    /// A guest, whose hypervisor listens here for vhost-user.
    Guest(PathBuf),
    /// A guest that is not there.
    Absent,
}

/// What a switch has besides ports and rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct Besides {
    /// Room for so many connections.
    pub connections: Option<u32>,
    /// Tunnels from its bridge, and another bridge that they go by.
    pub tunnels: Option<Tunnels>,
}

impl Besides {
    /// The bridge that a port is in.
    fn bridge_of(&self, number: usize) -> &'static str {
        match self.tunnels {
            Some(tunnels) if tunnels.outer_port() == number => tunnels::BRIDGE,
            _ => "br0",
        }
    }
}

/// Gives the local port of the underlay's bridge its address.
fn join_underlay(netns: &Netns) {
    let bridge = tunnels::BRIDGE;
    netns.ip(&format!("addr add {OWN_ADDRESS}/24 dev {bridge}"));
    netns.ip(&format!("link set {bridge} up"));
}

/// A port, as a contender is told of it.
enum Port {
    /// A device of DPDK with its arguments.
    Device(String),
    /// A guest's socket.
    Guest(PathBuf),
}

impl Contender {
    /// Starts it with its ports, the first number 1, and rules.
    pub fn start(kind: Kind, rules: &Rules, ends: &[End]) -> Result<Contender> {
        Contender::start_with(kind, rules, ends, Besides::default())
    }

    /// The same with what it has besides.
    pub fn start_with(
        kind: Kind,
        rules: &Rules,
        ends: &[End],
        besides: Besides,
    ) -> Result<Contender> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let port = |(number, end): (usize, &End)| match end {
            End::Memif => Port::Device(memif(folder.path(), number)),
            End::Sink => Port::Device(format!("net_null{number},no-rx=1")),
            End::Guest(socket) => Port::Guest(socket.clone()),
            End::Absent => Port::Guest(folder.path().join(format!("absent{number}.sock"))),
        };
        let ports: Vec<Port> = (1..).zip(ends).map(port).collect();
        let program = match kind {
            Kind::Ours => Program::Ours(ours::Ours::start(&ports, folder.path(), besides)?),
            Kind::Ovs => Program::Ovs(ovs::Ovs::start(&ports, besides)?),
            Kind::Testpmd => Program::Testpmd(testpmd::Testpmd::start(&ports, folder.path())?),
        };
        let contender = Contender { program, folder };
        contender.install(rules)?;
        Ok(contender)
    }

    /// Rings that it sends by to a memif: Open vSwitch has one for each PMD thread and one more.
    pub fn transmit_rings(&self) -> u16 {
        match &self.program {
            Program::Ovs(_) => 2,
            Program::Ours(_) | Program::Testpmd(_) => 1,
        }
    }

    /// Where the other end of a port's memif connects.
    pub fn memif(&self, port: usize) -> PathBuf {
        socket(self.folder.path(), port)
    }

    /// Bytes of memory of its own: that it shares with the generator or as huge pages of DPDK's is
    /// not among them.
    pub fn memory_bytes(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.pid());
        let text = fs::read_to_string(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let word = line.and_then(|line| line.split_whitespace().next());
        Ok(word.context("no RssAnon")?.parse::<f64>()? * 1024.0)
    }

    /// Connections that it tracks now.
    pub fn connections(&self) -> Result<f64> {
        match &self.program {
            Program::Ours(ours) => ours.connections(),
            Program::Ovs(ovs) => ovs.connections(),
            Program::Testpmd(_) => Ok(0.0),
        }
    }

    /// Lets it forget all of them.
    pub fn end_connections(&self) -> Result<()> {
        match &self.program {
            Program::Ours(ours) => ours.end_connections(),
            Program::Ovs(ovs) => ovs.end_connections(),
            Program::Testpmd(_) => Ok(()),
        }
    }

    /// What its worker and that one's CPU did until now.
    pub fn usage(&self) -> Result<Use> {
        Use::of_worker(self.pid())
    }

    fn pid(&self) -> u32 {
        match &self.program {
            Program::Ours(ours) => ours.pid(),
            Program::Ovs(ovs) => ovs.pid(),
            Program::Testpmd(testpmd) => testpmd.pid(),
        }
    }

    /// Where its worker's cycles go, for so many seconds; nothing if it is not ours.
    pub fn profile(&self, seconds: f64) -> Result<Vec<(f64, String)>> {
        match &self.program {
            Program::Ours(ours) => profile::of_worker(ours.pid(), self.folder.path(), seconds),
            _ => Ok(Vec::new()),
        }
    }

    /// What it counted until now.
    pub fn counted(&self) -> Result<Counted> {
        let (mut received, mut sent) = (0, 0);
        for socket in self.bridges() {
            let (came, left) = port_counters(&socket)?;
            (received, sent) = (received + came, sent + left);
        }
        let cycles = match &self.program {
            Program::Ours(ours) => Some(ours.cycles()?),
            Program::Ovs(ovs) => Some(ovs.cycles()?),
            Program::Testpmd(_) => None,
        };
        Ok(Counted {
            received,
            sent,
            cycles,
        })
    }

    /// Where its bridges listen.
    fn bridges(&self) -> Vec<PathBuf> {
        let bridge = self.bridge().into_iter();
        bridge
            .flat_map(|first| {
                [
                    first.with_file_name(format!("{}.mgmt", tunnels::BRIDGE)),
                    first,
                ]
            })
            .filter(|socket| socket.exists())
            .collect()
    }

    /// Where its bridge listens, if it is a switch.
    pub fn bridge(&self) -> Option<PathBuf> {
        match &self.program {
            Program::Ours(ours) => Some(ours.bridge()),
            Program::Ovs(ovs) => Some(ovs.bridge()),
            Program::Testpmd(_) => None,
        }
    }

    /// Gives it the rules by stock `ovs-ofctl`.
    fn install(&self, rules: &Rules) -> Result<()> {
        let Some(socket) = self.bridge() else {
            return Ok(());
        };
        let target = format!("unix:{}", socket.display());
        for meter in &rules.meters {
            ofctl(&["add-meter", &target, meter])?;
        }
        for (command, lines) in [("add-groups", &rules.groups), ("add-flows", &rules.flows)] {
            if lines.is_empty() {
                continue;
            }
            let file = self.folder.path().join(command);
            fs::write(&file, lines.join("\n"))?;
            ofctl(&[command, &target, &file.display().to_string()])?;
        }
        Ok(())
    }
}

fn ofctl(words: &[&str]) -> Result<()> {
    let prefix = ["ovs-ofctl", "-O", "OpenFlow13"];
    let output = tests::run(&[&prefix, words].concat());
    let error = output.stderr.trim();
    ensure!(output.status.success(), "ovs-ofctl {}: {error}", words[0]);
    Ok(())
}

/// Packets that a bridge received by port 1 and sent by port 2, as far as they are there.
fn port_counters(socket: &Path) -> Result<(u64, u64)> {
    let mut client = Client::connect(socket)?;
    let request = MultipartRequest::PortStats(OfPort::ANY);
    let request = Message::MultipartRequest {
        more: false,
        request,
    };
    client.send(&request)?;
    let (mut received, mut sent) = (0, 0);
    client.drain_multipart(|bytes| {
        let Ok((_, Message::MultipartReply { reply, .. })) = v13::decode(bytes) else {
            return;
        };
        let MultipartReply::PortStats(ports) = reply else {
            return;
        };
        for port in ports {
            match port.port {
                OfPort(1) => received = port.rx_packets,
                OfPort(2) => sent = port.tx_packets,
                _ => {}
            }
        }
    })?;
    Ok((received, sent))
}

/// DPDK's arguments for a port that is a memif.
fn memif(folder: &Path, port: usize) -> String {
    let path = socket(folder, port);
    let index = port - 1;
    format!(
        "net_memif{index},role=server,id=0,socket-abstract=no,rsize=14,socket={}",
        path.display()
    )
}

fn socket(folder: &Path, port: usize) -> PathBuf {
    folder.join(format!("memif{port}.sock"))
}
