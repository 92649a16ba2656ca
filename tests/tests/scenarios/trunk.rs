//! Two nodes, one tenant: a VLAN trunk carries the network between them
//!
//! ```text
//!    a 10.0.0.1, network 1 ── 1 ┐    VLANs 101, 102    ┌ 1 ── b 10.0.0.2, network 1
//!                br-int, node 1 ├─ 100 ── trunk ── 100 ┤ br-int, node 2
//!   vm 10.0.0.4, network 1 ── 3 ┘                      └ 2 ── c 10.0.0.3, network 2
//! ```
//!
//! Network 1 is VLAN 101 on the trunk, network 2 VLAN 102. `vm` is a virtual machine. Controller:
//! `networks.py`.

use super::*;
use tests::{Capture, Cloud, Plan};

#[test]
fn s02_two_nodes_joined_by_a_vlan_trunk() {
    let [mut one, mut two] = [1, 2].map(Plan::new);
    one.bridge("br-int");
    two.bridge("br-int");
    let a = one.guest("a", 1, &mac(1), "10.0.0.1/24");
    one.machine("vm", 3, "");
    let b = two.guest("b", 1, &mac(2), "10.0.0.2/24");
    let c = two.guest("c", 2, &mac(3), "10.0.0.3/24");
    one.join("trunk", 100, two.netns(), "trunk");
    two.port("trunk", 100, "type = \"system\"");
    let vm = machine(member(1, 3, 1, 4));
    let guests = [
        member(1, 1, 1, 1),
        member(2, 1, 1, 2),
        member(2, 2, 2, 3),
        vm,
    ];
    let vlans = json!({ "1": 101, "2": 102 });
    let wanted = json!({ "guests": guests, "vlans": vlans, "trunk": 100 });
    let cloud = Cloud::start("networks", [one, two], &wanted);
    let mut vm = power_on(&cloud, 1, "10.0.0.4/24");
    // A switch's own frames are seen where they arrive.
    let wire = Capture::start(cloud.node(2).netns(), "trunk", cloud.scratch());
    let back = Capture::start(cloud.node(1).netns(), "trunk", cloud.scratch());
    let at_c = Capture::start(&c, "eth0", cloud.scratch());
    assert!(a.pings("10.0.0.2"), "over the trunk");
    assert!(b.pings("10.0.0.1"), "and back");
    assert!(c.is_cut_off_from("10.0.0.1"), "another network");
    back.wait("vlan.id == 102 && arp.src.proto_ipv4 == 10.0.0.3", &["arp"]);
    let of_a = wire.fields("eth.src == 02:00:00:00:00:01", &["vlan.id"]);
    assert!(of_a.len() >= 3, "a request, echoes, answers: {of_a:?}");
    assert!(of_a.iter().all(|row| row[0] == "101"), "{of_a:?}");
    assert!(vm.pings("10.0.0.2", 30), "a machine over the trunk");
    assert!(!vm.pings("10.0.0.3", 2), "a machine and another network");
    let of_vm = wire.wait(
        "eth.src == 52:54:00:00:00:01 && icmp",
        &["vlan.id", "ip.dst"],
    );
    assert!(
        of_vm.iter().all(|row| *row == ["101", "10.0.0.2"]),
        "{of_vm:?}"
    );
    at_c.wait("arp.src.proto_ipv4 == 10.0.0.3", &["arp"]);
    assert_eq!(
        at_c.count("eth.src != 02:00:00:00:00:03"),
        0,
        "nothing of others"
    );
    assert_eq!(at_c.count("vlan"), 0, "guests see no tags");
    let flow = "in_port=1,eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:00:02,\
                icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2";
    drop(vm);
    cloud.document("2", include_str!("trunk.rs"), &[(1, "br-int")], flow);
    cloud.stop();
}
