//! Two network nodes share a router's addresses by VRRP; one fails under traffic
//!
//! ```text
//!               br-int                    br-int                        br-ex
//!   a 10.0.0.1 ── node 1 ─┐           ┌── node 2 ── r1 10.0.0.2, .252 ── node 2 ──┐
//!                         ├─ VLAN 101 ┤     10.0.0.254, 198.51.100.254            ├─ outside
//!                         │           └── node 3 ── r2 10.0.0.3, .253 ── node 3 ──┘
//! ```
//!
//! The outside is 198.51.100.1, its routers' own addresses end in .252 and .253. A virtual machine,
//! 10.0.0.4, is beside `a`.
//!
//! keepalived in r1 and r2 gives the gateway's addresses and a virtual MAC to one of them. A guest
//! is not heard as a router. First r1's links fail, then the whole switch of its node. Controller:
//! `redundancy.py`.

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

fn is_master(router: &Netns) -> bool {
    router.ip("-o addr show").contains(" 10.0.0.254/")
}

/// Waits until a router has the gateway's addresses, and `other` has not.
#[track_caller]
fn awaits_master(router: &Netns, other: &Netns, logs: [&Background; 2]) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_master(router) || is_master(other) {
        let last = router.ip("-o addr show");
        let logs = logs.map(Background::output).concat();
        assert!(std::time::Instant::now() < end, "{last}{logs}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// A download from the outside that takes some seconds and has begun.
#[track_caller]
fn download(guest: &Netns, folder: &Path) -> Background {
    let curl = ["curl", "-sS", "--limit-rate", "1M", "-o", "/dev/null"];
    let told = ["-w", "%{size_download}", "http://198.51.100.1/"];
    let words = guest.words(&[&curl[..], &told].concat());
    let transfer = Background::start(&words, &folder.join("transfer.log"));
    eventually("the connection is there", 30, || {
        let established = guest.run(&["ss", "-Htn", "state", "established"]).stdout;
        established.contains(":80").then_some(())
    });
    transfer
}

/// Whoever failed meanwhile, nothing of it is lost.
#[track_caller]
fn goes_on(mut transfer: Background) {
    assert!(transfer.is_running(), "the failure came in the midst of it");
    assert!(transfer.wait(120).success(), "{}", transfer.output());
    assert_eq!(transfer.output(), PAGE_BYTES.to_string());
}

const PAGE_BYTES: usize = 3 << 20;

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
    plans[0].machine("vm", 2, "tag = 101");
    let r1 = access(&mut plans[1], "r1", 2, "10.0.0.2");
    let r2 = access(&mut plans[2], "r2", 3, "10.0.0.3");
    for ((plan, router), there) in plans[1..].iter_mut().zip([&r1, &r2]).zip(["n2", "n3"]) {
        plan.bridge("br-ex");
        plan.join("gateway", 1, router, "eth1");
        plan.join("uplink", 2, &outside, there);
        outside.ip(&format!("link set dev {there} master out"));
    }
    for (router, address) in [(&r1, "198.51.100.252"), (&r2, "198.51.100.253")] {
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
    let mut cloud = Cloud::start("redundancy", plans, &wanted);
    let folder = cloud.scratch().to_path_buf();
    let mut vm = power_on(&cloud, 1, "10.0.0.4/24");
    let at_r2 = Capture::start(&r2, "eth0", &folder);
    let first = keepalived(&r1, 200, &folder);
    let second = keepalived(&r2, 100, &folder);
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

    vm.succeed("ip route add default via 10.0.0.254", 60);
    assert!(vm.pings("198.51.100.1", 30), "a machine by r1");

    // r1 fails while a connection lasts: it goes on by r2, and by r1 when that is back.
    let _page = serve(&outside, &"x".repeat(PAGE_BYTES), &folder);
    let transfer = download(&a, &folder);
    for device in ["eth0", "eth1"] {
        r1.ip(&format!("link set dev {device} down"));
    }
    awaits_master(&r2, &r1, [&first, &second]);
    assert!(a.pings("198.51.100.1"), "by r2");
    goes_on(transfer);
    assert!(vm.pings("198.51.100.1", 30), "a machine by r2");
    at_r2.wait("icmp.type == 8 && ip.src == 10.0.0.4", &["ip.src"]);
    for device in ["eth0", "eth1"] {
        r1.ip(&format!("link set dev {device} up"));
    }
    awaits_master(&r1, &r2, [&first, &second]);
    assert!(a.pings("198.51.100.1"), "by r1 again");

    // The switch of r1's node dies: nobody hears r1, which believes itself master.
    let transfer = download(&a, &folder);
    cloud.node_mut(2).crash();
    eventually("r2 has the addresses", 60, || is_master(&r2).then_some(()));
    goes_on(transfer);
    assert!(vm.pings("198.51.100.1", 30), "a machine by r2");
    drop(vm);
    cloud.node_mut(2).restart();
    awaits_master(&r1, &r2, [&first, &second]);
    assert!(a.pings("198.51.100.1"), "by r1 when its node is back");
    let flow = "in_port=1,eth_src=02:00:00:00:00:01,eth_dst=01:00:5e:00:00:12,\
                ip,nw_proto=112,nw_src=10.0.0.1,nw_dst=224.0.0.18";
    cloud.document("16", include_str!("redundancy.rs"), &[(1, "br-int")], flow);
    drop((first, second));
    cloud.stop();
}
