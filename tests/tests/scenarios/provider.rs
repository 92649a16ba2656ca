//! Provider networks by VLAN, and one without, with their gateways outside
//!
//! ```text
//!   a 10.0.0.1, local VLAN 1 ── 1 ┐ br-int   br-ex        Open vSwitch ┌ VLAN 200 ── g1 10.0.0.254
//!   b 10.0.0.1, local VLAN 2 ── 2 ┤ ── 100 ── 100 ── 1 ── as a rack's ─┤ VLAN 201 ── g2 10.0.0.254
//!   c 10.0.0.1, local VLAN 3 ── 3 ┘   node 1               switch      └ untagged ── g3 10.0.0.254
//! ```
//!
//! Behind each gateway is 198.51.100.1. A virtual machine, 10.0.0.4, is in `a`'s network at port 4.
//! Controller: `provider.py`.

use super::*;
use tests::{Capture, Cloud, Ovs, Plan};

#[test]
fn s13_provider_networks_with_the_gateway_outside() {
    let rack = Netns::silent("rack");
    let mut plan = Plan::new(1);
    plan.bridge("br-int");
    plan.patch("int-br-ex", 100, "phy-br-ex");
    let guests = [("a", 1), ("b", 2), ("c", 3)].map(|(name, number)| {
        let guest = plan.tagged_guest(name, number, number, &mac(1), "10.0.0.1/24");
        guest.ip("route add default via 10.0.0.254");
        guest
    });
    plan.machine("vm", 4, "tag = 1");
    plan.bridge("br-ex");
    plan.patch("phy-br-ex", 100, "int-br-ex");
    plan.join("uplink", 1, &rack, "node1");
    // Open vSwitch without DPDK passes on checksums that are yet to be completed as they are.
    let complete = ["ethtool", "-K", "uplink", "tx", "off"];
    plan.netns().run(&complete).expect_success();
    let gateways = ["g1", "g2", "g3"].map(|name| {
        let gateway = Netns::silent(name);
        rack.veth(name, &gateway, "eth0");
        gateway
            .run(&["ethtool", "-K", "eth0", "tx", "off"])
            .expect_success();
        gateway.ip("addr add 10.0.0.254/24 dev eth0");
        gateway.ip("addr add 198.51.100.1/32 dev lo");
        gateway
    });
    let wanted = json!({ "networks": [
        { "local": 1, "vlan": 200 }, { "local": 2, "vlan": 201 }, { "local": 3, "vlan": 0 },
    ]});
    let mut cloud = Cloud::start("provider", [plan], &wanted);
    let mut vm = power_on(&cloud, 1, "10.0.0.4/24");
    let rack = Ovs::start_without_dpdk(rack);
    rack.add_bridge("rack", &[]);
    for (port, settings) in [
        ("node1", ["vlan_mode=native-untagged", "tag=10"].as_slice()),
        ("g1", &["tag=200"]),
        ("g2", &["tag=201"]),
        ("g3", &["tag=10"]),
    ] {
        rack.vsctl(&[&["add-port", "rack", port], settings].concat());
    }
    let wire = Capture::start(cloud.node(1).netns(), "uplink", cloud.scratch());
    let _pages: Vec<_> = gateways
        .iter()
        .zip(["g1", "g2", "g3"])
        .map(|(gateway, name)| serve(gateway, name, cloud.scratch()))
        .collect();
    for (guest, name) in guests.iter().zip(["g1", "g2", "g3"]) {
        assert_eq!(
            browse(guest, "198.51.100.1"),
            name,
            "through its own gateway"
        );
    }
    let pages = wire.wait("http.response", &["vlan.id", "eth.dst"]);
    let vlans: Vec<_> = pages.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(vlans, ["200", "201", ""]);

    vm.succeed("ip route add default via 10.0.0.254", 60);
    assert_eq!(browse_by(&mut vm, "198.51.100.1", 10), "g1", "a machine");
    let to_vm = wire.wait("eth.dst == 52:54:00:00:00:01", &["vlan.id"]);
    assert!(to_vm.iter().all(|row| row[0] == "200"), "{to_vm:?}");

    // A network that is no longer wanted has no way out; the others do.
    let mut less = wanted.clone();
    less["networks"] = wanted["networks"].as_array().expect("a list")[1..].into();
    cloud.want(&less);
    assert!(guests[0].is_cut_off_from("10.0.0.254"), "VLAN 200 is gone");
    assert!(!vm.pings("10.0.0.254", 2), "nor for a machine");
    drop(vm);
    assert!(guests[1].pings("198.51.100.1"), "VLAN 201 is there");
    let flow = "in_port=2,eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:00:fe,\
                icmp,nw_src=10.0.0.1,nw_dst=198.51.100.1";
    let bridges = [(1, "br-int"), (1, "br-ex")];
    cloud.document("13", include_str!("provider.rs"), &bridges, flow);
    cloud.stop();
}
