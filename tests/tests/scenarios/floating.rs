//! Two tenants on two nodes with floating addresses: they reach each other, and the outside them
//!
//! ```text
//!   a 10.1.0.1, floating 203.0.113.11 ── 1, node 1 ── 200 ┐
//!                                                         ├─ outside 203.0.113.1, 198.51.100.1
//!   b 10.2.0.1, floating 203.0.113.12 ── 1, node 2 ── 200 ┘
//!  vm 10.2.0.2, floating 203.0.113.13 ── 2 ┘
//! ```
//!
//! The networks have routers of different tenants. `vm` is a virtual machine. Controller:
//! `edges.py`.

use super::edge::{EDGE_MACS, NODE_MACS, Outside, edge, floating, guest};
use super::two_tenants::{ping, routed, subnets};
use super::*;
use tests::{Capture, Cloud, Plan};

fn wanted(of_b: Option<&str>) -> Value {
    let mut b = routed(2, 1, 2, 2, 1);
    if let Some(address) = of_b {
        b = floating(b, address, 12);
    }
    let a = floating(routed(1, 1, 1, 1, 1), "203.0.113.11", 11);
    let vm = floating(machine(routed(2, 2, 2, 3, 2)), "203.0.113.13", 13);
    let mut subnets = subnets(&[1, 2]);
    subnets["2"]["router"] = 2.into();
    json!({
        "guests": [a, b, vm], "subnets": subnets, "edge": edge(), "routers": {},
        "node_macs": { "1": NODE_MACS[0], "2": NODE_MACS[1] },
    })
}

#[test]
fn s05_floating_addresses() {
    let outside = Outside::new();
    let [mut one, mut two] = [1, 2].map(Plan::new);
    one.bridge("br-int");
    two.bridge("br-int");
    let a = guest(&mut one, "a", 1, 1, 1, 1);
    let b = guest(&mut two, "b", 1, 2, 2, 1);
    two.machine("vm", 2, "");
    outside.join(&mut one, "n1");
    outside.join(&mut two, "n2");
    let mut cloud = Cloud::start("edges", [one, two], &wanted(Some("203.0.113.12")));
    let folder = cloud.scratch().to_path_buf();
    let _sees = outside.serve(&folder);
    let _page = serve(&b, "b", &folder);
    let mut vm = power_on(&cloud, 2, "10.2.0.2/24");
    let at_b = Capture::start(&b, "eth0", &folder);
    let from_1 = Capture::start(&outside.netns, "n1", &folder);
    assert!(outside.netns.pings("203.0.113.11"), "from outside");
    assert_eq!(
        browse(&a, "198.51.100.1"),
        "203.0.113.11",
        "the outside sees the floating address"
    );
    assert_eq!(browse(&a, "203.0.113.12"), "b", "the other tenant's guest");
    assert_eq!(
        browse(&outside.netns, "203.0.113.12"),
        "b",
        "from outside by TCP"
    );
    let seen = at_b.wait(
        "http.request && ip.src == 203.0.113.11",
        &["ip.dst", "eth.src"],
    );
    assert_eq!(seen, [["10.2.0.1", "02:00:00:00:ff:fe"]]);
    let neighbours = outside.netns.ip("neigh show");
    for (address, mac) in ["203.0.113.11", "203.0.113.12"].iter().zip(EDGE_MACS) {
        let known = |line: &str| line.starts_with(address) && line.contains(mac);
        assert!(neighbours.lines().any(known), "{neighbours}");
    }
    let told = ping(&a, "10.2.0.1", &[]);
    assert!(
        !told.contains(" 1 received"),
        "not by its own address: {told}"
    );
    assert_eq!(
        at_b.count("ip.addr == 10.1.0.1"),
        0,
        "a's own address is not seen"
    );
    let flow = "in_port=1,eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:ff:fe,\
                tcp,nw_src=10.1.0.1,nw_dst=203.0.113.12,nw_ttl=64,tp_dst=80";
    cloud.document("5", include_str!("floating.rs"), &[(1, "br-int")], flow);
    vm.succeed("ip route add default via 10.2.0.254", 60);
    vm.succeed("echo vm >/tmp/index.html && httpd -p 80 -h /tmp", 60);
    assert_eq!(browse_by(&mut vm, "198.51.100.1", 10), "203.0.113.13");
    assert_eq!(
        browse(&a, "203.0.113.13"),
        "vm\n",
        "a machine, by the other tenant"
    );
    assert_eq!(
        browse(&outside.netns, "203.0.113.13"),
        "vm\n",
        "from outside"
    );
    assert!(!vm.pings("10.1.0.1", 2), "not by a's own address");
    let seen = from_1.wait(
        "http.request && ip.dst == 203.0.113.13",
        &["ip.src", "eth.dst"],
    );
    assert_eq!(seen, [["203.0.113.11", EDGE_MACS[1]]], "from node to node");
    assert_eq!(
        from_1.count("ip.src == 10.0.0.0/8"),
        0,
        "no tenant's address"
    );
    drop(vm);
    cloud.want(&wanted(None));
    assert_eq!(
        browse(&outside.netns, "203.0.113.12"),
        "",
        "b has none any more"
    );
    assert!(outside.netns.pings("203.0.113.11"), "a keeps its own");
    cloud.stop();
}
