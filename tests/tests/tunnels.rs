//! Tunnels to strangers: the kernel's VXLAN and GRE devices, and Open vSwitch.
//!
//! ```text
//!   guest (10.1.0.1) eth0 ── g1 ┐ br-int ┐                              ┌ tunnel (10.1.0.2)
//!                               │  tun   │ vswitchd                     │ stranger
//!                               └ br-phy ┘                              │
//!                    LOCAL 172.16.0.1, fd16::1, u1 ── eth0 172.16.0.2, fd16::2
//! ```

use std::path::Path;

use tests::netns::wrong_checksums;
use tests::{Background, Daemon, Netns, eventually, run};

/// A node with a guest behind a tunnel, and a stranger at the other end of the underlay.
struct Scene {
    daemon: Daemon,
    guest: Netns,
    far: Netns,
}

impl Scene {
    /// A node whose tunnel port has these settings.
    #[track_caller]
    fn start(tunnel: &str) -> Scene {
        Scene::start_with(
            "standalone",
            &format!("[[bridge.port]]\nname = \"tun\"\n{tunnel}\n"),
        )
    }

    /// A node whose bridge of guests is in this fail mode and has these ports besides the guest's.
    #[track_caller]
    fn start_with(fail_mode: &str, ports: &str) -> Scene {
        let node = Netns::new("sw");
        let (guest, far) = (Netns::new("guest"), Netns::new("far"));
        node.veth("g1", &guest, "eth0");
        node.veth("u1", &far, "eth0");
        guest.ip("link set eth0 mtu 1400");
        guest.ip("addr add 10.1.0.1/24 dev eth0");
        far.ip("addr add 172.16.0.2/24 dev eth0");
        far.ip("addr add fd16::2/64 dev eth0 nodad");
        let bridges = format!(
            "[[bridge]]\nname = \"br-int\"\nfail_mode = \"{fail_mode}\"\n\
             [[bridge.port]]\nname = \"g1\"\nnumber = 1\ntype = \"system\"\n{ports}\
             [[bridge]]\nname = \"br-phy\"\nfail_mode = \"standalone\"\n\
             [[bridge.port]]\nname = \"u1\"\nnumber = 1\ntype = \"system\"\n"
        );
        let daemon = Daemon::start_in(node, &bridges);
        let node = daemon.netns();
        node.ip("link set br-phy up");
        node.ip("addr add 172.16.0.1/24 dev br-phy");
        node.ip("addr add fd16::1/64 dev br-phy nodad");
        Scene { daemon, guest, far }
    }

    /// Pings through the tunnel from both ends, and TCP both ways.
    #[track_caller]
    fn check(&self, there: &Netns) {
        self.check_ping();
        assert!(there.pings("10.1.0.1"), "{}", self.told());
        tcp(&self.guest, there, "10.1.0.2", self.daemon.scratch());
        tcp(there, &self.guest, "10.1.0.1", self.daemon.scratch());
    }

    #[track_caller]
    fn check_ping(&self) {
        assert!(self.guest.pings("10.1.0.2"), "{}", self.told());
    }

    fn told(&self) -> String {
        self.daemon.vsctl(&["stats"]).stdout + &self.daemon.log()
    }

    /// Captures what comes to the stranger while `act` runs; the file.
    #[track_caller]
    fn capture(&self, act: impl FnOnce()) -> String {
        capture(&self.far, self.daemon.scratch(), act)
    }
}

/// Captures what comes to a host while `act` runs; the file.
#[track_caller]
fn capture(far: &Netns, folder: &Path, act: impl FnOnce()) -> String {
    let file = folder.join("underlay.pcap").display().to_string();
    let words = [
        "tcpdump",
        "-U",
        "--immediate-mode",
        "-i",
        "eth0",
        "-w",
        &file,
    ];
    let log = folder.join("tcpdump.log");
    let mut capture = Background::start(&far.words(&words), &log);
    eventually("tcpdump listens", 30, || {
        capture.output().contains("listening").then_some(())
    });
    act();
    eventually("what was sent is captured", 30, || {
        let rows = dissect(&file, "vxlan || geneve || gre", &["frame.number"]);
        (!rows.is_empty()).then_some(())
    });
    capture.signal("TERM");
    capture.wait(30);
    file
}

/// Fields that tshark reads in the frames of a capture that a filter lets through.
#[track_caller]
fn dissect(file: &str, filter: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let mut words = vec!["tshark", "-n", "-r", file, "-Y", filter, "-T", "fields"];
    words.extend(["-E", "separator=|", "-E", "occurrence=f"]);
    words.extend([
        "-o",
        "udp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
    ]);
    words.extend(columns.iter().flat_map(|column| ["-e", *column]));
    // A capture that goes on may end within a packet.
    let text = run(&words).stdout;
    let row = |line: &str| line.split('|').map(str::to_owned).collect();
    text.lines().map(row).collect()
}

/// Moves so much over TCP from one host to another.
#[track_caller]
fn tcp(from: &Netns, to: &Netns, address: &str, folder: &Path) {
    let log = folder.join("iperf3.log");
    let _server = to.serve(&["iperf3", "-s", "-1"], "-t", 5201, &log);
    let words = ["iperf3", "-c", address, "-n", "20M", "-J"];
    let text = from.run(&words).expect_success();
    let report: serde_json::Value = serde_json::from_str(&text).expect("iperf3 prints JSON");
    let sum = &report["end"]["sum_received"]["bytes"];
    let bytes = sum.as_u64().expect("a number");
    // What is still on its way when the sender is done is not counted.
    assert!(bytes >= 10 << 20, "{bytes} bytes of 20 MiB");
}

#[path = "tunnels/endpoint.rs"]
mod endpoint;
#[path = "tunnels/guests.rs"]
mod guests;
#[path = "tunnels/kernel.rs"]
mod kernel;
#[path = "tunnels/networks.rs"]
mod networks;
#[path = "tunnels/options.rs"]
mod options;
#[path = "tunnels/ovs.rs"]
mod ovs;
#[path = "tunnels/too_big.rs"]
mod too_big;
