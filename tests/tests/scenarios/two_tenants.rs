//! Two tenants on two nodes, routed at both ends: each way over the network it leads to
//!
//! ```text
//!    a 10.1.0.1, network 1 ── 1 ┐    VLANs 101, 102    ┌ 1 ── b 10.2.0.1, network 2
//!   vm 10.1.0.2, network 1 ── 2 ┤                      │
//!                        node 1 ┴─ 100 ── trunk ── 100 ┴ node 2
//! ```
//!
//! Both nodes route: what `a` sends goes over VLAN 102, what `b` answers over VLAN 101. A node that
//! does not have the other network answers for it that the host is unreachable. `vm` is a virtual
//! machine. Controller: `routers.py`.

use super::*;
use tests::{Capture, Cloud, Plan};

/// A guest of a routed network N: 10.N.0.HOST.
pub(super) fn routed(node: u32, port: u32, network: u32, number: u32, host: u32) -> Value {
    let mut guest = member(node, port, network, number);
    guest["address"] = format!("10.{network}.0.{host}").into();
    guest
}

/// The networks 10.N.0.0/24 with gateways 10.N.0.254, all of one router.
pub(super) fn subnets(networks: &[u32]) -> Value {
    let subnet = |network: &u32| {
        let prefix = format!("10.{network}.0.0/24");
        let gateway = format!("10.{network}.0.254");
        (
            network.to_string(),
            json!({ "prefix": prefix, "gateway": gateway, "router": 1 }),
        )
    };
    Value::Object(networks.iter().map(subnet).collect())
}

/// What `ping` prints of one echo request to `address`.
pub(super) fn ping(guest: &Netns, address: &str, options: &[&str]) -> String {
    let words = [&["ping", "-c", "1", "-W", "2"], options, &[address]].concat();
    guest.run(&words).stdout
}

#[test]
fn s04_two_tenants_on_two_nodes() {
    let [mut one, mut two] = [1, 2].map(Plan::new);
    one.bridge("br-int");
    two.bridge("br-int");
    let a = one.guest("a", 1, &mac(1), "10.1.0.1/24");
    let b = two.guest("b", 1, &mac(2), "10.2.0.1/24");
    a.ip("route add default via 10.1.0.254");
    b.ip("route add default via 10.2.0.254");
    one.machine("vm", 2, "");
    one.join("trunk", 100, two.netns(), "trunk");
    two.port("trunk", 100, "type = \"system\"");
    let vm = machine(routed(1, 2, 1, 3, 2));
    let guests = [routed(1, 1, 1, 1, 1), routed(2, 1, 2, 2, 1), vm];
    let mut wanted = json!({
        "guests": guests, "vlans": { "1": 101, "2": 102 }, "trunk": 100,
        "subnets": subnets(&[1, 2]),
        "node_macs": { "1": "02:00:00:00:fe:01", "2": "02:00:00:00:fe:02" },
    });
    let mut cloud = Cloud::start("routers", [one, two], &wanted);
    let mut vm = power_on(&cloud, 1, "10.1.0.2/24");
    let at_a = Capture::start(&a, "eth0", cloud.scratch());
    let there = Capture::start(cloud.node(2).netns(), "trunk", cloud.scratch());
    let back = Capture::start(cloud.node(1).netns(), "trunk", cloud.scratch());
    assert!(a.pings("10.1.0.254"), "its router");
    assert!(a.pings("10.2.0.1"), "the other tenant's guest");
    let columns = ["vlan.id", "eth.src", "eth.dst", "ip.ttl"];
    let asked = there.wait("icmp.type == 8", &columns);
    assert_eq!(
        asked[0],
        ["102", "02:00:00:00:fe:01", "02:00:00:00:00:02", "63"]
    );
    let answered = back.wait("icmp.type == 0", &columns);
    assert_eq!(
        answered[0],
        ["101", "02:00:00:00:fe:02", "02:00:00:00:00:01", "63"]
    );

    let told = ping(&a, "10.2.0.1", &["-t", "1"]);
    assert!(
        told.contains("From 10.1.0.254") && told.contains("Time to live exceeded"),
        "{told}"
    );
    let told = ping(&a, "10.2.0.77", &[]);
    assert!(
        told.contains("From 10.1.0.254") && told.contains("Host Unreachable"),
        "{told}"
    );
    let told = ping(&a, "10.9.0.1", &[]);
    assert!(told.contains("Host Unreachable"), "no such network: {told}");
    vm.succeed("ip route add default via 10.1.0.254", 60);
    assert!(vm.pings("10.2.0.1", 30), "a machine");
    assert!(!vm.pings("10.2.0.77", 2), "nobody, for a machine");

    let flow = "in_port=1,eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:ff:fe,\
                icmp,icmp_type=8,nw_src=10.1.0.1,nw_dst=10.2.0.1,nw_ttl=64";
    cloud.document("4", include_str!("two_tenants.rs"), &[(1, "br-int")], flow);

    // Node 1 does not have network 2: nothing of a leaves, not even what answers b, who finds a.
    wanted["subnets"]["2"]["absent"] = json!([1]);
    cloud.want(&wanted);
    let left_before = there.count("ip.src == 10.1.0.0/24");
    let told = ping(&a, "10.2.0.1", &[]);
    assert!(
        told.contains("From 10.1.0.254") && told.contains("Host Unreachable"),
        "{told}"
    );
    let error = "icmp.type == 3 && icmp.code == 1 && ip.dst == 10.2.0.1";
    let told = at_a.wait(error, &["ip.src", "ip.dst", "eth.src"]);
    let unreachable = [
        "10.1.0.254;10.1.0.1",
        "10.1.0.1;10.2.0.1",
        "02:00:00:00:ff:fe",
    ];
    assert_eq!(told[0], unreachable);
    assert!(!vm.pings("10.2.0.1", 2), "nor for a machine");
    assert!(b.is_cut_off_from("10.1.0.1"), "no way back");
    at_a.wait("icmp.type == 8 && ip.src == 10.2.0.1", &["ip.src"]);
    assert_eq!(
        there.count("ip.src == 10.1.0.0/24"),
        left_before,
        "nothing left node 1"
    );
    assert!(
        a.pings("10.1.0.254") && vm.pings("10.1.0.254", 5),
        "their router is there"
    );
    drop(vm);
    cloud.stop();
}
