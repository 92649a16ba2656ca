//! Real kernel stacks in network namespaces, through `system` and `internal` ports.
//!
//! ```text
//!   h1 (10.0.0.1) eth0 ── p1 ┐
//!                            ├ vswitchd, bridge br0
//!   h2 (10.0.0.2) eth0 ── p2 ┘
//! ```

use std::path::Path;

use tests::{Background, Daemon, Netns, eventually};

/// Hosts on veth pairs: host i has eth0 with 10.0.0.i/24 and fd00::i/64, the switch device p<i>.
fn hosts(count: usize, mtu: u16) -> (Netns, Vec<Netns>) {
    let switch = Netns::new("sw");
    let mut hosts = Vec::new();
    for i in 1..=count {
        let host = Netns::new(&format!("h{i}"));
        switch.veth(&format!("p{i}"), &host, "eth0");
        switch.ip(&format!("link set p{i} mtu {mtu}"));
        host.ip(&format!("link set eth0 mtu {mtu}"));
        address(&host, "eth0", i);
        hosts.push(host);
    }
    (switch, hosts)
}

fn address(host: &Netns, device: &str, i: usize) {
    host.ip(&format!("addr add 10.0.0.{i}/24 dev {device}"));
    host.ip(&format!("addr add fd00::{i}/64 dev {device} nodad"));
}

fn bridge(ports: &[&str]) -> String {
    let head = "[[bridge]]\nname = \"br0\"\nfail_mode = \"standalone\"\n".to_string();
    let port = |text: &&str| format!("[[bridge.port]]\n{text}\n");
    head + &ports.iter().map(port).collect::<String>()
}

/// Moves so much over TCP from one host to another.
#[track_caller]
fn tcp(from: &Netns, to: &Netns, address: &str, folder: &Path) {
    let log = folder.join("iperf3.log");
    let _server = to.serve(&["iperf3", "-s", "-1"], "-t", 5201, &log);
    let text = from
        .run(&["iperf3", "-c", address, "-n", "100M", "-J"])
        .expect_success();
    let report: serde_json::Value = serde_json::from_str(&text).expect("iperf3 prints JSON");
    let received = report["end"]["sum_received"]["bits_per_second"]
        .as_f64()
        .expect("a rate");
    println!("TCP to {address}: {:.2} Gb/s", received / 1e9);
}

#[test]
fn system_ports_carry_ping_and_tcp_with_offloads_on() {
    let (switch, hosts) = hosts(2, 1500);
    let ports = [
        "name = \"p1\"\ntype = \"system\"",
        "name = \"p2\"\ntype = \"system\"",
    ];
    let daemon = Daemon::start_in(switch, &bridge(&ports));
    assert!(hosts[0].pings("10.0.0.2"), "IPv4");
    assert!(hosts[0].pings("fd00::2"), "IPv6");
    tcp(&hosts[0], &hosts[1], "10.0.0.2", daemon.scratch());
    tcp(&hosts[1], &hosts[0], "fd00::1", daemon.scratch());
    for name in ["p1", "p2"] {
        let [packets, bytes] = daemon.received(name);
        let mean = bytes / packets;
        assert!(mean > 1514, "{name}: {mean} bytes, acknowledgements too");
    }
    daemon.stop();
}

#[test]
fn fragments_and_jumbo_frames_pass() {
    let (switch, hosts) = hosts(2, 9000);
    let ports = [
        "name = \"p1\"\ntype = \"system\"\nmtu = 9000",
        "name = \"p2\"\ntype = \"system\"\nmtu = 9000",
    ];
    let daemon = Daemon::start_in(switch, &bridge(&ports));
    let whole = ["-s", "8972", "-M", "do"];
    assert!(
        hosts[0].pings_with("10.0.0.2", &whole),
        "one frame of 9,000 bytes"
    );
    assert!(
        hosts[0].pings_with("10.0.0.2", &["-s", "30000"]),
        "fragments of IPv4"
    );
    assert!(
        hosts[0].pings_with("fd00::2", &["-s", "30000"]),
        "fragments of IPv6"
    );
    tcp(&hosts[0], &hosts[1], "10.0.0.2", daemon.scratch());
    daemon.stop();
}

#[test]
fn internal_ports_are_devices_of_the_host() {
    let ports = [
        "name = \"i1\"\ntype = \"internal\"",
        "name = \"i2\"\ntype = \"internal\"",
    ];
    let daemon = Daemon::start(&bridge(&ports));
    let (h1, h2) = (Netns::new("h1"), Netns::new("h2"));
    for (i, host) in [&h1, &h2].into_iter().enumerate() {
        daemon.netns().give(&format!("i{}", i + 1), host);
        address(host, &format!("i{}", i + 1), i + 1);
    }
    assert!(h1.pings("10.0.0.2"));
    tcp(&h1, &h2, "10.0.0.2", daemon.scratch());
    // The bridge's own port is a device too.
    address(daemon.netns(), "br0", 9);
    daemon.netns().ip("link set br0 up");
    assert!(h1.pings("10.0.0.9"), "the host by the LOCAL port");
    daemon.stop();
}

#[test]
fn access_ports_keep_vlans_apart_and_a_trunk_carries_tags() {
    let (switch, hosts) = hosts(4, 1500);
    // p1 and p2 in VLAN 10, p3 in VLAN 20, p4 a trunk that carries both.
    let ports = [
        "name = \"p1\"\ntype = \"system\"\ntag = 10",
        "name = \"p2\"\ntype = \"system\"\ntag = 10",
        "name = \"p3\"\ntype = \"system\"\ntag = 20",
        "name = \"p4\"\ntype = \"system\"\ntrunks = [10, 20]",
    ];
    let daemon = Daemon::start_in(switch, &bridge(&ports));
    let file = daemon.scratch().join("trunk.pcap");
    let file_text = file.display().to_string();
    let words = hosts[3].words(&["tcpdump", "-U", "-i", "eth0", "-w", &file_text]);
    let capture = Background::start(&words, &daemon.scratch().join("tcpdump.log"));
    eventually("tcpdump listens", 30, || {
        capture.output().contains("listening").then_some(())
    });
    assert!(hosts[0].pings("10.0.0.2"), "the same VLAN");
    assert!(hosts[0].is_cut_off_from("10.0.0.3"), "another VLAN");
    assert!(hosts[2].is_cut_off_from("10.0.0.1"), "another VLAN, back");
    let tags = eventually("the trunk saw both ARP requests", 30, || {
        let fields = ["-T", "fields", "-e", "vlan.id", "-Y", "arp.opcode == 1"];
        let words = [&["tshark", "-r", &file_text][..], &fields].concat();
        let tags = tests::run(&words).stdout;
        (tags.contains("10") && tags.contains("20")).then_some(tags)
    });
    assert!(tags.lines().all(|tag| tag == "10" || tag == "20"), "{tags}");
    drop(capture);
    std::fs::remove_file(&file).expect("the capture is there");
    daemon.stop();
}
