//! Two tenants on one node, routed, and refused until their security groups allow it
//!
//! ```text
//!    a 10.1.0.1, network 1 ── 1 ┐
//!    b 10.2.0.1, network 2 ── 2 ┼ br-int, node 1: routers 10.1.0.254 and 10.2.0.254
//!   vm 10.1.0.2, network 1 ── 3 ┘
//! ```
//!
//! `vm` is a virtual machine. Controller: `secure_routers.py`.

use super::security::{echo, secure, session};
use super::two_tenants::{ping, routed, subnets};
use super::*;
use tests::{Capture, Cloud, Plan};

fn wanted(rules: &[Value]) -> Value {
    let a = secure(routed(1, 1, 1, 1, 1), 101, &[], &[]);
    let b = secure(routed(1, 2, 2, 2, 1), 102, &[], rules);
    let vm = secure(machine(routed(1, 3, 1, 3, 2)), 103, &[], &[]);
    json!({ "guests": [a, b, vm], "subnets": subnets(&[1, 2]) })
}

#[test]
fn s03_two_tenants_on_one_node_routed_and_guarded() {
    let mut plan = Plan::new(1);
    plan.bridge("br-int");
    let [a, b] = [1, 2].map(|number| {
        let name = ["a", "b"][number as usize - 1];
        let guest = plan.guest(name, number, &mac(number), &format!("10.{number}.0.1/24"));
        guest.ip(&format!("route add default via 10.{number}.0.254"));
        guest
    });
    plan.machine("vm", 3, "");
    let mut cloud = Cloud::start("secure_routers", [plan], &wanted(&[]));
    let folder = cloud.scratch().to_path_buf();
    let mut vm = power_on(&cloud, 1, "10.1.0.2/24");
    let at_b = Capture::start(&b, "eth0", &folder);
    let _server = echo(&b, &folder);
    assert!(
        a.pings("10.1.0.254") && b.pings("10.2.0.254"),
        "their routers"
    );
    assert!(a.is_cut_off_from("10.2.0.1"), "routed but not allowed");
    assert!(
        !session(&a, "10.2.0.1", &folder).wait(30).success(),
        "nor by TCP"
    );
    vm.succeed("ip route add default via 10.1.0.254", 60);
    assert!(vm.pings("10.1.0.254", 30), "a machine's router");
    assert!(!vm.pings("10.2.0.1", 2), "a machine is not allowed either");
    at_b.wait("icmp.type == 0 && ip.src == 10.2.0.254", &["ip.src"]);
    assert_eq!(at_b.count("ip.src == 10.1.0.0/24"), 0, "nothing came to b");
    let icmp = json!({ "protocol": 1, "from": "10.1.0.0/24" });
    cloud.want(&wanted(&[icmp]));
    assert!(a.pings("10.2.0.1"), "allowed");
    assert!(vm.pings("10.2.0.1", 30), "a machine is allowed");
    assert!(
        !session(&a, "10.2.0.1", &folder).wait(30).success(),
        "ICMP alone"
    );
    let seen = at_b.wait(
        "icmp.type == 8 && ip.dst == 10.2.0.1",
        &["ip.src", "ip.ttl", "eth.src"],
    );
    for source in ["10.1.0.1", "10.1.0.2"] {
        let routed = [source, "63", "02:00:00:00:ff:fe"];
        assert!(seen.iter().any(|row| *row == routed), "{seen:?}");
    }
    drop(vm);
    assert_eq!(
        at_b.count("tcp.flags.syn == 1"),
        0,
        "no connection came to b"
    );
    let told = ping(&b, "10.1.0.1", &[]);
    assert!(told.contains(" 0 received"), "b may not reach a: {told}");
    let flow = "in_port=1,eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:ff:fe,\
                icmp,icmp_type=8,nw_src=10.1.0.1,nw_dst=10.2.0.1,nw_ttl=64";
    cloud.document(
        "3",
        include_str!("routed_tenants.rs"),
        &[(1, "br-int")],
        flow,
    );
    cloud.stop();
}
