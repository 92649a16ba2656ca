//! Connection tracking and translation, of fragments too, with real stacks at the ends; flows by
//! stock `ovs-ofctl`.
//!
//! ```text
//!   h1 (10.0.0.1, fd00::1) eth0 ── p1 ┐
//!                                     ├ vswitchd, bridge br0
//!   h2 (10.0.0.2, fd00::2) eth0 ── p2 ┘
//! ```

use tests::{Background, Daemon, Netns, eventually};

/// A server that tells each client over TCP who it is, and ends.
fn server(host: &Netns, family: &str, port: u16, daemon: &Daemon) -> Background {
    let program = format!(
        "import socket\n\
         s = socket.create_server(('', {port}), family=socket.{family}, reuse_port=True)\n\
         while True:\n\
         \x20   c, who = s.accept()\n\
         \x20   c.sendall((who[0] + ' ' * 100000).encode())\n\
         \x20   c.close()\n"
    );
    let log = daemon.scratch().join(format!("server-{port}.log"));
    host.serve(&["python3", "-c", &program], "-t", port, &log)
}

/// What a client at `host` is told by the server at an address; none if it is not let in.
fn ask(host: &Netns, address: &str, port: u16, patience_s: u32) -> Option<String> {
    let program = format!(
        "import socket\n\
         s = socket.create_connection(('{address}', {port}), {patience_s})\n\
         s.settimeout(30)\n\
         text = b''\n\
         while True:\n\
         \x20   more = s.recv(65536)\n\
         \x20   if not more: break\n\
         \x20   text += more\n\
         assert len(text) > 100000\n\
         print(text.decode().strip())\n"
    );
    let output = host.run(&["python3", "-c", &program]);
    let text = output.stdout.trim().to_string();
    output.status.success().then_some(text)
}

fn mac(host: &Netns) -> String {
    let text = host.ip("-o link show eth0");
    let mut words = text.split_whitespace();
    words.find(|word| *word == "link/ether");
    words.next().expect("an address").to_string()
}

/// Who is inside, at port 1, may ask, and who is outside may answer.
const FIREWALL: [&str; 11] = [
    "priority=100,arp,actions=NORMAL",
    "priority=100,icmp6,icmp_type=135,actions=NORMAL",
    "priority=100,icmp6,icmp_type=136,actions=NORMAL",
    "priority=90,ip,ct_state=-trk,actions=ct(table=1,zone=7)",
    "priority=90,ipv6,ct_state=-trk,actions=ct(table=1,zone=7)",
    "table=1,priority=100,ct_state=+inv+trk,actions=drop",
    "table=1,priority=90,in_port=1,ip,ct_state=+new,actions=ct(commit,zone=7),output:2",
    "table=1,priority=90,in_port=1,ipv6,ct_state=+new,actions=ct(commit,zone=7),output:2",
    "table=1,priority=80,in_port=1,ct_state=+est+trk,actions=output:2",
    "table=1,priority=80,in_port=2,ct_state=+est+trk,actions=output:1",
    "table=1,priority=80,in_port=2,ct_state=+rel+trk,actions=output:1",
];

#[test]
fn who_is_inside_may_ask_and_who_is_outside_may_answer() {
    let (daemon, hosts) = Daemon::start_between_dual_stack_hosts(&FIREWALL);
    let [inside, outside] = &hosts;
    let _servers = [
        server(outside, "AF_INET", 80, &daemon),
        server(inside, "AF_INET", 81, &daemon),
        server(outside, "AF_INET6", 82, &daemon),
        server(inside, "AF_INET6", 83, &daemon),
    ];
    assert!(inside.pings("10.0.0.2") && inside.pings("fd00::2"));
    assert_eq!(ask(inside, "10.0.0.2", 80, 30).as_deref(), Some("10.0.0.1"));
    assert_eq!(ask(inside, "fd00::2", 82, 30).as_deref(), Some("fd00::1"));
    assert_eq!(ask(outside, "10.0.0.1", 81, 2), None);
    assert_eq!(ask(outside, "fd00::1", 83, 2), None);
    assert!(outside.is_cut_off_from("10.0.0.1"));
    // An error about what was sent is related.
    assert!(is_refused(inside, "10.0.0.2"));
    // Nobody listens inside, but it is not the host that says so.
    assert!(!is_refused(outside, "10.0.0.1"));
    daemon.stop();
}

/// Whether a UDP packet to an address is answered by "port unreachable", told by the kernel to
/// whose socket the error belongs.
fn is_refused(host: &Netns, address: &str) -> bool {
    let program = format!(
        "import socket\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         s.connect(('{address}', 9))\n\
         s.settimeout(2)\n\
         for attempt in range(3):\n\
         \x20   try:\n\
         \x20       s.send(b'x')\n\
         \x20       s.recv(1)\n\
         \x20   except ConnectionRefusedError:\n\
         \x20       raise SystemExit(0)\n\
         \x20   except TimeoutError:\n\
         \x20       pass\n\
         raise SystemExit(1)\n"
    );
    host.run(&["python3", "-c", &program]).status.success()
}

/// Hosts of which the first is hidden behind 10.0.0.100 with ports as said and fd00::100, for which
/// the other knows its Ethernet address.
fn start_hidden(ports: &str) -> (Daemon, [Netns; 2]) {
    let hides = format!("ct(commit,zone=3,nat(src=10.0.0.100{ports})),output:2");
    let (daemon, hosts) = Daemon::start_between_dual_stack_hosts(&[
        "priority=100,arp,actions=NORMAL",
        &format!("priority=90,in_port=1,ip,actions={hides}"),
        "priority=90,in_port=2,ip,nw_dst=10.0.0.100,actions=ct(table=1,zone=3,nat)",
        "priority=90,in_port=1,ipv6,actions=ct(commit,zone=3,nat(src=fd00::100)),output:2",
        "priority=90,in_port=2,ipv6,ipv6_dst=fd00::100,actions=ct(table=1,zone=3,nat)",
        "table=1,ip,nw_dst=10.0.0.1,actions=output:1",
        "table=1,ipv6,ipv6_dst=fd00::1,actions=output:1",
    ]);
    let [inside, outside] = &hosts;
    let (of_inside, of_outside) = (mac(inside), mac(outside));
    outside.ip(&format!("neigh add 10.0.0.100 lladdr {of_inside} dev eth0"));
    outside.ip(&format!("neigh add fd00::100 lladdr {of_inside} dev eth0"));
    inside.ip(&format!("neigh add fd00::2 lladdr {of_outside} dev eth0"));
    (daemon, hosts)
}

#[test]
fn a_source_is_hidden_in_packets_and_in_errors_about_them() {
    let (daemon, hosts) = start_hidden("");
    let [inside, outside] = &hosts;
    let _servers = [
        server(outside, "AF_INET", 80, &daemon),
        server(outside, "AF_INET6", 82, &daemon),
    ];
    assert!(inside.pings("10.0.0.2") && inside.pings("fd00::2"));
    assert_eq!(
        ask(inside, "10.0.0.2", 80, 30).as_deref(),
        Some("10.0.0.100")
    );
    assert_eq!(ask(inside, "fd00::2", 82, 30).as_deref(), Some("fd00::100"));
    assert!(is_refused(inside, "10.0.0.2"));
    daemon.stop();
}

#[test]
fn a_destination_stands_for_another() {
    let (daemon, hosts) = Daemon::start_between_dual_stack_hosts(&[
        "priority=100,arp,actions=NORMAL",
        "priority=90,in_port=1,ip,nw_dst=10.0.0.200,actions=\
         ct(commit,zone=4,nat(dst=10.0.0.2:8080)),output:2",
        "priority=90,in_port=2,ip,actions=ct(table=1,zone=4,nat)",
        "table=1,priority=9,ip,ct_state=+est+snat,nw_src=10.0.0.200,actions=output:1",
    ]);
    let [client, host] = &hosts;
    client.ip(&format!(
        "neigh add 10.0.0.200 lladdr {} dev eth0",
        mac(host)
    ));
    let _server = server(host, "AF_INET", 8080, &daemon);
    assert_eq!(
        ask(client, "10.0.0.200", 80, 30).as_deref(),
        Some("10.0.0.1")
    );
    assert!(client.pings("10.0.0.200"));
    daemon.stop();
}

/// A server that sends each datagram over UDP back to where it came from.
fn echo_server(host: &Netns, family: &str, port: u16, daemon: &Daemon) -> Background {
    let program = format!(
        "import socket\n\
         s = socket.socket(socket.{family}, socket.SOCK_DGRAM)\n\
         s.bind(('', {port}))\n\
         while True:\n\
         \x20   text, who = s.recvfrom(65536)\n\
         \x20   s.sendto(text, who)\n"
    );
    let log = daemon.scratch().join(format!("echo-{port}.log"));
    host.serve(&["python3", "-c", &program], "-u", port, &log)
}

/// Whether 20 datagrams of 8 KB to an address come back, each within some seconds, as they went.
fn is_echoed(host: &Netns, address: &str, port: u16, patience_s: u32) -> bool {
    let program = format!(
        "import os, socket\n\
         family = socket.getaddrinfo('{address}', {port})[0][0]\n\
         s = socket.socket(family, socket.SOCK_DGRAM)\n\
         s.connect(('{address}', {port}))\n\
         s.settimeout({patience_s})\n\
         for number in range(20):\n\
         \x20   text = os.urandom(8000 + number)\n\
         \x20   s.send(text)\n\
         \x20   assert s.recv(65536) == text\n"
    );
    host.run(&["python3", "-c", &program]).status.success()
}

/// Sends the first fragment of a datagram over UDP from 10.0.0.1 to 10.0.0.2, and no other.
fn send_first_fragment(host: &Netns) {
    let program = "import socket\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)\n\
         header = bytes([0x45, 0, 0, 0, 0x12, 0x34, 0x20, 0, 64, 17, 0, 0])\n\
         header += bytes([10, 0, 0, 1, 10, 0, 0, 2])\n\
         s.sendto(header + bytes(16), ('10.0.0.2', 0))\n";
    host.run(&["python3", "-c", program]).expect_success();
}

/// How many datagrams were put together.
fn completed(daemon: &Daemon) -> u64 {
    let stats = daemon.json(&["ct", "stats"]);
    stats["fragments"]["completed"].as_u64().expect("a number")
}

/// Kernels cut datagrams into fragments and put them together again: what they take has right
/// checksums over all of it.
#[test]
fn fragments_pass_a_firewall_as_their_datagrams_would() {
    let (daemon, hosts) = Daemon::start_between_dual_stack_hosts(&FIREWALL);
    let [inside, outside] = &hosts;
    let _servers = [
        echo_server(outside, "AF_INET", 7001, &daemon),
        echo_server(outside, "AF_INET6", 7002, &daemon),
        echo_server(inside, "AF_INET", 7003, &daemon),
    ];
    for address in ["10.0.0.2", "fd00::2"] {
        assert!(inside.pings_with(address, &["-s", "4000"]), "{address}");
    }
    assert!(completed(&daemon) >= 4, "two echoes and their answers");
    assert!(is_echoed(inside, "10.0.0.2", 7001, 10));
    assert!(is_echoed(inside, "fd00::2", 7002, 10));
    assert!(!is_echoed(outside, "10.0.0.1", 7003, 2));
    let held = || daemon.json(&["ct", "stats"])["fragments"]["held"].clone();
    assert_eq!(held(), 0);
    // One whose others never come, with its datagram, is given back when the switch ends.
    send_first_fragment(inside);
    eventually("it waits", 30, || (held() == 2).then_some(()));
    daemon.stop();
}

#[test]
fn fragments_are_translated_each() {
    let (daemon, hosts) = start_hidden(":5000-6000");
    let [inside, outside] = &hosts;
    let _servers = [
        echo_server(outside, "AF_INET", 7001, &daemon),
        echo_server(outside, "AF_INET6", 7002, &daemon),
    ];
    for address in ["10.0.0.2", "fd00::2"] {
        assert!(inside.pings_with(address, &["-s", "4000"]), "{address}");
    }
    assert!(is_echoed(inside, "10.0.0.2", 7001, 10));
    assert!(is_echoed(inside, "fd00::2", 7002, 10));
    assert!(
        completed(&daemon) >= 84,
        "40 datagrams, 2 echoes, and their answers"
    );
    daemon.stop();
}

#[path = "tracking/hairpin.rs"]
mod hairpin;
#[path = "tracking/offloads.rs"]
mod offloads;
