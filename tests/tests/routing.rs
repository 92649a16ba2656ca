//! Routing by flows and by the switch's own addresses, with kernels at the ends: they, `ping`,
//! `traceroute` and `arping` say whether what the switch answers is right, and tshark whether its
//! checksums are.
//!
//! ```text
//!   h1 (10.0.1.7, fd01::7) eth0 ── p1 = 1 ┐
//!   h2 (10.0.2.7, fd02::7) eth0 ── p2 = 2 ┤ vswitchd, bridge br0, secure
//!                     endpoints r1 and r2 ┘ 11, 12: 10.0.1.1, fd01::1 and 10.0.2.1, fd02::1
//! ```

use std::path::Path;

use tests::{Capture, Daemon, Netns, run};

#[path = "routing/endpoints.rs"]
mod endpoints;
#[path = "routing/flows.rs"]
mod flows;

/// Hosts each in a network of its own, host i with the addresses 10.0.i.7 and fd0i::7 and with
/// 10.0.i.1 and fd0i::1 for routers.
fn hosts<const N: usize>() -> (Netns, [Netns; N]) {
    let switch = Netns::new("sw");
    let hosts = std::array::from_fn(|index| {
        let number = index + 1;
        let host = Netns::new(&format!("h{number}"));
        switch.veth(&format!("p{number}"), &host, "eth0");
        host.ip(&format!("link set eth0 address {}", mac_of_host(number)));
        host.ip(&format!("addr add 10.0.{number}.7/24 dev eth0"));
        host.ip(&format!("addr add fd0{number}::7/64 dev eth0 nodad"));
        host.ip(&format!("route add default via 10.0.{number}.1"));
        host.ip(&format!("route add default via fd0{number}::1"));
        host
    });
    (switch, hosts)
}

fn mac_of_host(number: usize) -> String {
    format!("02:00:00:00:00:{number:02x}")
}

/// A secure bridge with a `system` port for each host, and these ports besides.
fn bridge(hosts: usize, ports: &[String]) -> String {
    let head = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n".to_string();
    let system = (1..=hosts).map(|number| {
        format!("[[bridge.port]]\nname = \"p{number}\"\nnumber = {number}\ntype = \"system\"\n")
    });
    let others = ports
        .iter()
        .map(|port| format!("[[bridge.port]]\n{port}\n"));
    head + &system.chain(others).collect::<String>()
}

#[track_caller]
fn add_flows(daemon: &Daemon, bridge: &str, flows: &[&str]) {
    let file = daemon.scratch().join("flows.txt");
    std::fs::write(&file, flows.join("\n")).expect("the folder is writable");
    let file = file.to_str().expect("paths here are text");
    daemon.ofctl("add-flows", bridge, &[file]).expect_success();
}

/// What one echo request with these options of `ping` leads to, as `ping` prints it.
fn ping(host: &Netns, address: &str, options: &[&str]) -> String {
    let words = [&["ping", "-n", "-c", "1", "-W", "5"], options, &[address]].concat();
    host.run(&words).stdout
}

/// The routers on the way to an address, and its own, as `traceroute` prints them.
fn route(host: &Netns, program: &str, address: &str) -> Vec<String> {
    let words = [
        "busybox", program, "-n", "-q", "3", "-w", "2", "-m", "5", address,
    ];
    let told = host.run(&words).stdout;
    let hops = told.lines().skip(1);
    let hop = |line: &str| line.split_whitespace().nth(1).unwrap_or("").to_string();
    hops.map(hop).collect()
}

/// Fails if a frame of a capture has a checksum that tshark finds wrong, or is malformed.
#[track_caller]
fn assert_right(capture: &Capture) {
    let wrong = "icmp.checksum.status == 0 || icmpv6.checksum.status == 0 || _ws.malformed";
    assert_eq!(capture.count(wrong), 0);
}

/// A capture at the first device of a host.
#[track_caller]
fn capture(host: &Netns, folder: &Path) -> Capture {
    Capture::start(host, "eth0", folder)
}

/// Whether `arping` at the host is answered.
fn is_found(host: &Netns, address: &str) -> bool {
    let words = [
        "busybox", "arping", "-f", "-c", "3", "-w", "10", "-I", "eth0", address,
    ];
    let words = host.words(&words);
    run(&words.iter().map(String::as_str).collect::<Vec<_>>())
        .status
        .success()
}
