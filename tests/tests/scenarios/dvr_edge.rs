//! Distributed routers, north to south: floating addresses leave at once, others by a network node
//!
//! ```text
//!   a 10.1.0.1, floating 203.0.113.11 ── 1 ┐ node 1 ──── 200 ────┐
//!   b 10.1.0.2                        ── 2 ┴ 100                 ├─ outside 198.51.100.1
//!                                             │ trunk, VLAN 101  │
//!                                            100                 │
//!                    router 203.0.113.101 ── node 2 ──── 200 ────┘
//! ```
//!
//! Controller: `edges.py`.

use super::edge::{EDGE_MACS, NODE_MACS, Outside, edge, floating, guest};
use super::two_tenants::{routed, subnets};
use super::*;
use tests::{Capture, Cloud, Plan};

#[test]
fn s10_distributed_routers_north_to_south() {
    let outside = Outside::new();
    let [mut one, mut two] = [1, 2].map(Plan::new);
    one.bridge("br-int");
    two.bridge("br-int");
    let a = guest(&mut one, "a", 1, 1, 1, 1);
    let b = guest(&mut one, "b", 2, 2, 1, 2);
    one.join("trunk", 100, two.netns(), "trunk");
    two.port("trunk", 100, "type = \"system\"");
    outside.join(&mut one, "n1");
    outside.join(&mut two, "n2");
    let wanted = json!({
        "guests": [floating(routed(1, 1, 1, 1, 1), "203.0.113.11", 11), routed(1, 2, 1, 2, 2)],
        "vlans": { "1": 101 }, "trunk": 100, "subnets": subnets(&[1]), "edge": edge(),
        "routers": { "1": { "zone": 1, "address": "203.0.113.101", "node": 2 } },
        "node_macs": { "1": NODE_MACS[0], "2": NODE_MACS[1] },
    });
    let cloud = Cloud::start("edges", [one, two], &wanted);
    let folder = cloud.scratch();
    let _sees = outside.serve(folder);
    let trunk = Capture::start(cloud.node(2).netns(), "trunk", folder);
    let back = Capture::start(cloud.node(1).netns(), "trunk", folder);
    assert_eq!(
        browse(&a, "198.51.100.1"),
        "203.0.113.11",
        "its own address"
    );
    assert_eq!(browse(&b, "198.51.100.1"), "203.0.113.101", "the router's");
    assert!(outside.netns.pings("203.0.113.11"), "inwards");
    let asked = trunk.wait("http.request", &["ip.src", "eth.src", "eth.dst", "vlan.id"]);
    assert_eq!(asked, [["10.1.0.2", NODE_MACS[0], NODE_MACS[1], "101"]]);
    let answered = back.wait(
        "http.response",
        &["ip.dst", "eth.src", "eth.dst", "vlan.id"],
    );
    assert_eq!(
        answered,
        [["10.1.0.2", NODE_MACS[1], "02:00:00:00:00:02", "101"]]
    );
    assert_eq!(
        trunk.count("ip.addr == 10.1.0.1"),
        0,
        "a's packets leave where it is"
    );
    let neighbours = outside.netns.ip("neigh show");
    for (address, mac) in ["203.0.113.11", "203.0.113.101"].iter().zip(EDGE_MACS) {
        let known = |line: &str| line.starts_with(&format!("{address} ")) && line.contains(mac);
        assert!(neighbours.lines().any(known), "{neighbours}");
    }
    assert!(a.pings("10.1.0.2"), "and they reach each other");
    let flow = "in_port=2,eth_src=02:00:00:00:00:02,eth_dst=02:00:00:00:ff:fe,\
                tcp,nw_src=10.1.0.2,nw_dst=198.51.100.1,nw_ttl=64,tp_dst=80";
    let bridges = [(1, "br-int"), (2, "br-int")];
    cloud.document("10b", include_str!("dvr_edge.rs"), &bridges, flow);
    cloud.stop();
}
