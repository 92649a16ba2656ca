//! One node, one network: guests find and reach each other, another tenant's do not
//!
//! ```text
//!   a 10.0.0.1, network 1 ── 1 ┐
//!   b 10.0.0.2, network 1 ── 2 ┤ br-int, node 1
//!   c 10.0.0.3, network 2 ── 3 ┘
//! ```
//!
//! A guest may send from its own addresses alone. Controller: `networks.py`.

use super::*;
use tests::{Capture, Cloud, Guest, GuestOptions, Plan};

#[test]
fn s01_one_network_on_one_node() {
    let mut plan = Plan::new(1);
    plan.bridge("br-int");
    let [a, b, c] = [("a", 1), ("b", 2), ("c", 3)].map(|(name, number)| {
        plan.guest(name, number, &mac(number), &format!("10.0.0.{number}/24"))
    });
    let guests = [member(1, 1, 1, 1), member(1, 2, 1, 2), member(1, 3, 2, 3)];
    let cloud = Cloud::start("networks", [plan], &json!({ "guests": guests }));
    let at_b = Capture::start(&b, "eth0", cloud.scratch());
    let at_c = Capture::start(&c, "eth0", cloud.scratch());
    assert!(a.pings("10.0.0.2"), "the same network");
    assert!(c.is_cut_off_from("10.0.0.2"), "another network");
    at_b.wait(
        "arp.opcode == 1 && arp.src.proto_ipv4 == 10.0.0.1",
        &["arp"],
    );
    at_b.wait("icmp.type == 8 && ip.src == 10.0.0.1", &["ip.src"]);
    at_c.wait("arp.src.proto_ipv4 == 10.0.0.3", &["arp"]);
    assert_eq!(
        at_c.count("eth.src != 02:00:00:00:00:03"),
        0,
        "nothing of others"
    );
    assert_eq!(
        at_b.count("eth.src == 02:00:00:00:00:03"),
        0,
        "nothing of c"
    );

    a.ip("addr add 10.0.0.9/24 dev eth0");
    let ping = ["ping", "-c", "1", "-W", "1", "-I", "10.0.0.9", "10.0.0.2"];
    assert!(!a.run(&ping).status.success(), "a foreign address");
    a.ip("link set dev eth0 address 02:00:00:00:00:09");
    assert!(a.is_cut_off_from("10.0.0.2"), "a foreign MAC");
    a.ip("link set dev eth0 address 02:00:00:00:00:01");
    assert!(a.pings("10.0.0.2"), "its own again");
    let flow = "in_port=1,eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:00:02,\
                icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2";
    cloud.document("1", include_str!("same_network.rs"), &[(1, "br-int")], flow);
    cloud.stop();
}

#[test]
fn s01_one_network_of_virtual_machines() {
    let mut plan = Plan::new(1);
    plan.bridge("br-int");
    for (name, number) in [("vm1", 1), ("vm2", 2)] {
        plan.machine(name, number, "");
    }
    let b = plan.guest("b", 3, &mac(3), "10.0.0.3/24");
    let machine = |port: u32, network| {
        let mut machine = member(1, port, network, port);
        machine["mac"] = format!("52:54:00:00:00:{port:02x}").into();
        machine
    };
    let guests = [machine(1, 1), machine(2, 2), member(1, 3, 1, 3)];
    let cloud = Cloud::start("networks", [plan], &json!({ "guests": guests }));
    let at_b = Capture::start(&b, "eth0", cloud.scratch());
    let run_dir = cloud.node(1).run_dir();
    let mut one = Guest::boot(GuestOptions::new(1), &run_dir.join("vm1.sock"));
    let mut two = Guest::boot(GuestOptions::new(2), &run_dir.join("vm2.sock"));
    assert!(one.pings("10.0.0.3", 30), "the same network");
    let _page = serve(&b, "b", cloud.scratch());
    one.succeed("wget -q -O - http://10.0.0.3/ | grep -q b", 60);
    assert!(!two.pings("10.0.0.3", 2), "another network");
    assert!(!two.pings("10.0.0.1", 2), "another network's machine");
    at_b.wait("http.request && eth.src == 52:54:00:00:00:01", &["ip.src"]);
    assert_eq!(
        at_b.count("eth.src == 52:54:00:00:00:02"),
        0,
        "nothing of another network"
    );
    drop((one, two));
    cloud.stop();
}
