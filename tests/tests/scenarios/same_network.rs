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
use tests::{Capture, Cloud, Plan};

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
    cloud.document(1, include_str!("same_network.rs"), &[(1, "br-int")], flow);
    cloud.stop();
}
