//! Distributed routers, east to west: on one node nothing leaves it, on two each routes its own
//!
//! ```text
//!    a 10.1.0.1, network 1 ── 1 ┐    VLANs 101, 102    ┌ 1 ── d 10.2.0.2, network 2
//!    b 10.2.0.1, network 2 ── 2 ┤ node 1        node 2 ┤
//!    c 10.3.0.1, network 3 ── 3 ┼─ 100 ── trunk ── 100 ┘
//!   vm 10.1.0.2, network 1 ── 4 ┘
//! ```
//!
//! Networks 1 and 2 are of one router. Network 3, of another tenant with a router of his own, is
//! not reached. Each node's router has a MAC of its own between nodes. `vm` is a virtual machine.
//! Controller: `routers.py`.

use super::edge::guest;
use super::two_tenants::{ping, routed, subnets};
use super::*;
use tests::{Capture, Cloud, Plan};

#[test]
fn s10_distributed_routers_east_to_west() {
    let [mut one, mut two] = [1, 2].map(Plan::new);
    one.bridge("br-int");
    two.bridge("br-int");
    let a = guest(&mut one, "a", 1, 1, 1, 1);
    let b = guest(&mut one, "b", 2, 2, 2, 1);
    let c = guest(&mut one, "c", 3, 3, 3, 1);
    one.machine("vm", 4, "");
    one.join("trunk", 100, two.netns(), "trunk");
    let d = guest(&mut two, "d", 1, 4, 2, 2);
    two.port("trunk", 100, "type = \"system\"");
    let guests = [
        routed(1, 1, 1, 1, 1),
        routed(1, 2, 2, 2, 1),
        routed(1, 3, 3, 3, 1),
        machine(routed(1, 4, 1, 5, 2)),
        routed(2, 1, 2, 4, 2),
    ];
    let mut subnets = subnets(&[1, 2, 3]);
    subnets["3"]["router"] = 2.into();
    let wanted = json!({
        "guests": guests, "vlans": { "1": 101, "2": 102, "3": 103 }, "trunk": 100,
        "subnets": subnets,
        "node_macs": { "1": "02:00:00:00:fe:01", "2": "02:00:00:00:fe:02" },
    });
    let cloud = Cloud::start("routers", [one, two], &wanted);
    let mut vm = power_on(&cloud, 1, "10.1.0.2/24");
    let there = Capture::start(cloud.node(2).netns(), "trunk", cloud.scratch());
    let at_b = Capture::start(&b, "eth0", cloud.scratch());
    assert!(a.pings("10.2.0.1"), "on the same node");
    assert!(a.pings("10.2.0.2"), "on the other node");
    assert!(d.pings("10.1.0.1"), "and from there");
    assert!(b.pings("10.2.0.2"), "within a network over the trunk");
    vm.succeed("ip route add default via 10.1.0.254", 60);
    assert!(vm.pings("10.2.0.1", 30), "from a machine, on the same node");
    assert!(
        vm.pings("10.2.0.2", 30),
        "from a machine, on the other node"
    );
    assert!(!vm.pings("10.3.0.1", 2), "from a machine, the other tenant");
    drop(vm);
    there.wait("icmp && ip.src == 10.1.0.2", &["ip.src"]);
    let sources = there.wait(
        "icmp && ip.src == 10.1.0.0/24",
        &["eth.src", "ip.dst", "vlan.id"],
    );
    let routed = |row: &Vec<String>| *row == ["02:00:00:00:fe:01", "10.2.0.2", "102"];
    assert!(sources.iter().all(routed), "{sources:?}");
    let switched = there.wait("icmp && ip.src == 10.2.0.1", &["eth.src"]);
    assert_eq!(switched[0], [mac(2)]);
    let gateway = there.count("eth.src == 02:00:00:00:ff:fe || ip.dst == 10.2.0.1");
    assert_eq!(
        gateway, 0,
        "what concerns one node, and the gateway's MAC, stays there"
    );

    let told = ping(&c, "10.2.0.1", &[]);
    assert!(
        told.contains("From 10.3.0.254") && told.contains("Unreachable"),
        "{told}"
    );
    let told = ping(&a, "10.3.0.1", &[]);
    assert!(
        told.contains("From 10.1.0.254") && told.contains("Unreachable"),
        "{told}"
    );
    at_b.wait("icmp && ip.src == 10.1.0.1", &["ip.src"]);
    assert_eq!(
        at_b.count("ip.src == 10.3.0.1"),
        0,
        "nothing of the other tenant"
    );
    let flow = "in_port=1,eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:ff:fe,\
                icmp,icmp_type=8,nw_src=10.1.0.1,nw_dst=10.2.0.2,nw_ttl=64";
    cloud.document("10", include_str!("dvr.rs"), &[(1, "br-int")], flow);
    cloud.stop();
}
