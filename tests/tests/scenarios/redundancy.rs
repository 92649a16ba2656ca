//! Two network nodes share a router's addresses by VRRP; one fails under traffic
//!
//! ```text
//!   a 10.0.0.1 ── 1, node 1 ─┐           ┌─ node 2 ── r1 10.0.0.2, 198.51.100.252 ─┐
//!                            ├─ VLAN 101 ┤   10.0.0.254, 198.51.100.254            ├─ outside
//!                            │           └─ node 3 ── r2 10.0.0.3, 198.51.100.253 ─┘
//! ```
//!
//! The outside is 198.51.100.1.
//!
//! keepalived in r1 and r2 gives the gateway's addresses and a virtual MAC to one of them. A guest
//! is not heard as a router. Controller: `redundancy.py`.

use super::*;
use tests::{Capture, Cloud, Plan};

const VIRTUAL_MAC: &str = "00:00:5e:00:01:07";

/// keepalived in a router; the one of higher priority has the addresses while it is there.
#[track_caller]
fn keepalived(router: &Netns, priority: u32, folder: &Path) -> Background {
    let path = |suffix: &str| {
        folder
            .join(format!("{}.{suffix}", router.name()))
            .display()
            .to_string()
    };
    let text = format!(
        "global_defs {{\n  router_id {name}\n  vrrp_garp_master_refresh 1\n\
           vrrp_version 3\n  vrrp_startup_delay 0\n}}\n\
         vrrp_instance gateway {{\n\
           state BACKUP\n  interface eth0\n  use_vmac inside\n  virtual_router_id 7\n\
           priority {priority}\n  advert_int 0.2\n\
           virtual_ipaddress {{\n    10.0.0.254/24\n    198.51.100.254/24 dev eth1\n  }}\n\
           track_interface {{\n    eth0\n    eth1\n  }}\n\
         }}\n",
        name = router.name(),
    );
    std::fs::write(path("keepalived"), text).expect("room for a configuration");
    let (conf, pid, vrrp) = (path("keepalived"), path("pid"), path("vrrp"));
    let options = ["-n", "-l", "-D", "-P", "-f", &conf, "-p", &pid, "-r", &vrrp];
    let words = router.words(&[&["keepalived"], &options[..]].concat());
    Background::start(&words, &folder.join(format!("{}.log", router.name())))
}

/// Waits until a router has the gateway's addresses, and `other` has not.
#[track_caller]
fn awaits_master(router: &Netns, other: &Netns, logs: [&Background; 2]) {
    let has = |router: &Netns| router.ip("-o addr show").contains(" 10.0.0.254/");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !has(router) || has(other) {
        let last = router.ip("-o addr show");
        let logs = logs.map(Background::output).concat();
        assert!(std::time::Instant::now() < end, "{last}{logs}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn s16_router_redundancy_by_vrrp() {
    let [fabric, outside] = ["fabric", "outside"].map(Netns::silent);
    for (netns, device) in [(&fabric, "fabric"), (&outside, "out")] {
        netns.ip(&format!("link add name {device} type bridge"));
        netns.ip(&format!("link set dev {device} up"));
    }
    outside.ip("addr add 198.51.100.1/24 dev out");
    outside.ip("route add 10.0.0.0/24 via 198.51.100.254");
    let mut plans = [1, 2, 3].map(Plan::new);
    for (plan, name) in plans.iter_mut().zip(["n1", "n2", "n3"]) {
        plan.bridge("br-int");
        plan.port("trunk", 100, "type = \"system\"\ntrunks = [101]");
        plan.netns().veth("trunk", &fabric, name);
        fabric.ip(&format!("link set dev {name} master fabric"));
    }
    let access = |plan: &mut Plan, name: &str, number: u32, address: &str| {
        plan.tagged_guest(name, 1, 101, &mac(number), &format!("{address}/24"))
    };
    let a = access(&mut plans[0], "a", 1, "10.0.0.1");
    a.ip("route add default via 10.0.0.254");
    let r1 = access(&mut plans[1], "r1", 2, "10.0.0.2");
    let r2 = access(&mut plans[2], "r2", 3, "10.0.0.3");
    for (router, name, address) in [(&r1, "r1", "198.51.100.252"), (&r2, "r2", "198.51.100.253")] {
        router.veth("eth1", &outside, name);
        outside.ip(&format!("link set dev {name} master out"));
        router.ip(&format!("addr add {address}/24 dev eth1"));
        for setting in [
            "ip_forward=1",
            "conf.all.rp_filter=0",
            "conf.default.rp_filter=0",
        ] {
            let setting = format!("net.ipv4.{setting}");
            router.run(&["sysctl", "-qw", &setting]).expect_success();
        }
    }
    let wanted = json!({
        "routers": { "2": [1], "3": [1] }, "trunk": 100, "vlan": 101,
        "gateway": { "address": "10.0.0.254", "mac": VIRTUAL_MAC },
    });
    let cloud = Cloud::start("redundancy", plans, &wanted);
    let folder = cloud.scratch();
    let at_r2 = Capture::start(&r2, "eth0", folder);
    let first = keepalived(&r1, 200, folder);
    let second = keepalived(&r2, 100, folder);
    awaits_master(&r1, &r2, [&first, &second]);
    assert!(a.pings("198.51.100.1"), "by r1");
    assert!(
        a.ip("neigh show 10.0.0.254").contains(VIRTUAL_MAC),
        "the virtual MAC"
    );

    // A guest that says it is a router of the highest priority is not heard.
    let forge = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112); \
                 s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255); \
                 s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, \
                 socket.inet_aton('10.0.0.1')); \
                 s.sendto(bytes.fromhex('3107ff01001400000a0000fe'), ('224.0.0.18', 0))";
    a.run(&["python3", "-c", forge]).expect_success();
    a.ip("neigh flush all");
    assert!(a.pings("10.0.0.3"), "after the forged packet, seen by r2");
    at_r2.wait("icmp && ip.src == 10.0.0.1", &["ip.src"]);
    at_r2.wait("vrrp", &["ip.src"]);
    assert_eq!(at_r2.count("vrrp && ip.src == 10.0.0.1"), 0, "not heard");

    // r1 fails while a connection lasts: it goes on by r2, and by r1 when that is back.
    let _page = serve(&outside, &"x".repeat(3 << 20), folder);
    let download = ["curl", "-sS", "--limit-rate", "1M", "-o", "/dev/null"];
    let told = ["-w", "%{size_download}", "http://198.51.100.1/"];
    let words = a.words(&[&download[..], &told].concat());
    let mut transfer = Background::start(&words, &folder.join("transfer.log"));
    eventually("the connection is there", 30, || {
        let established = a.run(&["ss", "-Htn", "state", "established"]).stdout;
        established.contains(":80").then_some(())
    });
    for device in ["eth0", "eth1"] {
        r1.ip(&format!("link set dev {device} down"));
    }
    awaits_master(&r2, &r1, [&first, &second]);
    assert!(a.pings("198.51.100.1"), "by r2");
    assert!(transfer.is_running(), "the failure came in the midst of it");
    assert!(transfer.wait(120).success(), "{}", transfer.output());
    assert_eq!(transfer.output(), (3 << 20).to_string());
    for device in ["eth0", "eth1"] {
        r1.ip(&format!("link set dev {device} up"));
    }
    awaits_master(&r1, &r2, [&first, &second]);
    assert!(a.pings("198.51.100.1"), "by r1 again");
    let flow = "in_port=1,eth_src=02:00:00:00:00:01,eth_dst=01:00:5e:00:00:12,\
                ip,nw_proto=112,nw_src=10.0.0.1,nw_dst=224.0.0.18";
    cloud.document("16", include_str!("redundancy.rs"), &[(1, "br-int")], flow);
    drop((first, second));
    cloud.stop();
}
