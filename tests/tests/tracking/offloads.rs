//! Super-frames and unfinished checksums through translation, from a QEMU guest and from the host's
//! own TAP, to kernels that look at every checksum.
//!
//! ```text
//!   vm (10.0.0.3, fd00::3) ── 3 ┐
//!    host (10.0.0.4, fd00::4) ──┴ br0 ── 1 ── eth0 h1 (10.0.0.1, fd00::1)
//!   both are 10.0.0.100 and .101, fd00::100 and ::101 outside
//! ```

use tests::netns::{hosts, wrong_checksums};
use tests::{Guest, GuestOptions};

use super::*;

/// Who is inside: its port, its last number, and that of its address outside.
const INSIDE: [(&str, u8, u16); 2] = [("3", 3, 100), ("LOCAL", 4, 101)];

fn flows() -> Vec<String> {
    let mut flows = vec![
        "priority=100,arp,actions=NORMAL".to_owned(),
        "priority=100,icmp6,icmp_type=135,actions=NORMAL".to_owned(),
        "priority=100,icmp6,icmp_type=136,actions=NORMAL".to_owned(),
    ];
    for (port, own, outside) in INSIDE {
        flows.extend([
            format!(
                "in_port={port},ip,actions=ct(commit,zone=1,table=1,nat(src=10.0.0.{outside}))"
            ),
            format!(
                "in_port={port},ipv6,actions=ct(commit,zone=1,table=1,nat(src=fd00::{outside}))"
            ),
            format!(
                "in_port=1,ip,nw_dst=10.0.0.{outside},actions=\
                 ct(commit,zone=1,table=1,nat(dst=10.0.0.{own}))"
            ),
            format!(
                "in_port=1,ipv6,ipv6_dst=fd00::{outside},actions=\
                 ct(commit,zone=1,table=1,nat(dst=fd00::{own}))"
            ),
            format!("table=1,in_port=1,ip,nw_dst=10.0.0.{own},actions=output:{port}"),
            format!("table=1,in_port=1,ipv6,ipv6_dst=fd00::{own},actions=output:{port}"),
            format!("table=1,in_port={port},actions=output:1"),
        ]);
    }
    flows
}

/// Bytes in a packet that a port received since, on average.
fn mean(daemon: &Daemon, name: &str, since: &mut [u64; 2]) -> u64 {
    let now = daemon.received(name);
    let (packets, bytes) = (now[0] - since[0], now[1] - since[1]);
    *since = now;
    bytes / packets.max(1)
}

#[test]
fn what_is_left_to_be_done_is_right_behind_a_translation() {
    let (switch, [h1]) = hosts::<1>();
    h1.ip("addr add fd00::1/64 dev eth0 nodad");
    let bridge = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n\
         [[bridge.port]]\nname = \"p1\"\nnumber = 1\ntype = \"system\"\n\
         [[bridge.port]]\nname = \"vm\"\nnumber = 3\ntype = \"dpdkvhostuserclient\"\n\
         options = { vhost-server-path = \"RUN_DIR/vm.sock\" }\n";
    let daemon = Daemon::start_in(switch, bridge);
    for flow in flows() {
        daemon.ofctl("add-flow", "br0", &[&flow]).expect_success();
    }
    let local = daemon.netns();
    local.ip("link set br0 up");
    local.ip("addr add 10.0.0.4/24 dev br0");
    local.ip("addr add fd00::4/64 dev br0 nodad");
    let mut guest = Guest::boot(GuestOptions::new(3), &daemon.run_dir().join("vm.sock"));
    // Duplicates are not looked for: a busy machine may take long to do so.
    guest.succeed("echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad", 30);
    guest.succeed("ip addr add fd00::3/64 dev eth0", 30);
    let link = guest.succeed("cat /sys/class/net/eth0/address", 30);
    let macs = [link.trim().to_owned(), local_mac(local)];
    for (mac, (_, _, outside)) in macs.iter().zip(INSIDE) {
        for address in ["10.0.0.", "fd00::"] {
            h1.ip(&format!(
                "neigh add {address}{outside} lladdr {mac} dev eth0"
            ));
        }
    }
    let log = daemon.scratch().join("iperf3.log");
    let _server = h1.serve(&["iperf3", "-s"], "-t", 5201, &log);
    let _local = local.serve(
        &["iperf3", "-s"],
        "-t",
        5201,
        &daemon.scratch().join("local.log"),
    );
    guest.succeed("iperf3 -s -D </dev/null >/dev/null 2>&1", 30);
    let mut since = [[0; 2]; 3];
    for (to, outside) in [("10.0.0.1", "10.0.0."), ("fd00::1", "fd00::")] {
        mean(&daemon, "vm", &mut since[0]);
        guest.succeed(&format!("iperf3 -c {to} -n 8M </dev/null 2>&1"), 240);
        assert!(
            mean(&daemon, "vm", &mut since[0]) > 3_000,
            "the guest to {to}"
        );
        mean(&daemon, "br0", &mut since[1]);
        let client = ["iperf3", "-c", to, "-n", "8M"];
        local.run(&client).expect_success();
        assert!(
            mean(&daemon, "br0", &mut since[1]) > 3_000,
            "the host to {to}"
        );
        for (_, _, number) in INSIDE {
            mean(&daemon, "p1", &mut since[2]);
            let public = format!("{outside}{number}");
            h1.run(&["iperf3", "-c", &public, "-n", "8M"])
                .expect_success();
            assert!(mean(&daemon, "p1", &mut since[2]) > 3_000, "to {public}");
        }
    }
    assert_eq!(wrong_checksums(&guest.succeed("cat /proc/net/snmp", 30)), 0);
    for host in [&h1, local] {
        let snmp = host.run(&["cat", "/proc/net/snmp"]).expect_success();
        assert_eq!(wrong_checksums(&snmp), 0);
    }
    let told = daemon.vsctl(&["stats"]).stdout;
    assert!(
        !told.contains("malformed") && !told.contains("too_long"),
        "{told}"
    );
    drop(guest);
    daemon.stop();
}

fn local_mac(host: &Netns) -> String {
    let path = "/sys/class/net/br0/address";
    host.run(&["cat", path]).expect_success().trim().to_owned()
}
