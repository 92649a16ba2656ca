//! A way out without floating addresses: each router has one address for all its guests
//!
//! ```text
//!   a 10.1.0.1, router 1 (203.0.113.101) ── 1 ┐
//!   b 10.1.0.1, router 2 (203.0.113.102) ── 2 ┼ br-int, node 1 ── 200 ── outside 198.51.100.1
//!   c 10.1.0.2, router 2                 ── 3 ┤
//!  vm 10.1.0.3, router 2                 ── 4 ┘
//! ```
//!
//! Two tenants with the same addresses. From outside nobody is reached. `vm` is a virtual machine.
//! Controller: `edges.py`.

use std::collections::BTreeSet;

use super::edge::{Outside, edge, guest};
use super::two_tenants::routed;
use super::*;
use tests::{Capture, Cloud, Plan};

#[test]
fn s07_a_way_out_by_snat() {
    let outside = Outside::new();
    let mut plan = Plan::new(1);
    plan.bridge("br-int");
    let guests = [("a", 1, 1, 1), ("b", 2, 2, 1), ("c", 3, 3, 2)]
        .map(|(name, port, number, host)| guest(&mut plan, name, port, number, 1, host));
    plan.machine("vm", 4, "");
    outside.join(&mut plan, "n1");
    // Network 2 is another tenant's, of the same prefix.
    let of = |network: u32, port: u32, host: u32| {
        let mut guest = routed(1, port, 1, port, host);
        guest["network"] = network.into();
        guest
    };
    let subnet =
        |router: u32| json!({ "prefix": "10.1.0.0/24", "gateway": "10.1.0.254", "router": router });
    let router = |number: u32| {
        let address = format!("203.0.113.10{number}");
        json!({ "zone": number, "address": address, "node": 1 })
    };
    let wanted = json!({
        "guests": [of(1, 1, 1), of(2, 2, 1), of(2, 3, 2), machine(of(2, 4, 3))],
        "subnets": { "1": subnet(1), "2": subnet(2) }, "edge": edge(),
        "routers": { "1": router(1), "2": router(2) },
    });
    let cloud = Cloud::start("edges", [plan], &wanted);
    let folder = cloud.scratch();
    let _sees = outside.serve(folder);
    let _page = serve(&guests[0], "a", folder);
    let mut vm = power_on(&cloud, 1, "10.1.0.3/24");
    let at_a = Capture::start(&guests[0], "eth0", folder);
    let at_edge = Capture::start(&outside.netns, "n1", folder);
    for (guest, address) in guests.iter().zip([101, 102, 102]) {
        assert_eq!(
            browse(guest, "198.51.100.1"),
            format!("203.0.113.{address}")
        );
        assert!(guest.pings("198.51.100.1"), "echoes, too");
    }
    let answers = at_a.wait("ip.src == 198.51.100.1", &["ip.dst", "eth.dst"]);
    assert!(
        answers
            .iter()
            .all(|row| *row == ["10.1.0.1".to_string(), mac(1)]),
        "{answers:?}"
    );

    // Both tenants' guests from the same port at the same time.
    let from = ["curl", "-s", "--max-time", "5", "--local-port", "30000"];
    for (guest, address) in guests.iter().zip([101, 102, 102]) {
        let told = guest
            .run(&[&from[..], &["http://198.51.100.1/"]].concat())
            .stdout;
        assert_eq!(
            told,
            format!("203.0.113.{address}"),
            "whatever its port becomes"
        );
    }
    let opened = "tcp.flags.syn == 1 && tcp.flags.ack == 0 && !tcp.analysis.retransmission";
    let of_router_2 = format!("{opened} && ip.src == 203.0.113.102");
    let ports = at_edge.wait(&of_router_2, &["tcp.srcport"]);
    let different: BTreeSet<_> = ports.iter().collect();
    assert_eq!(ports.len(), 4, "each of two guests twice: {ports:?}");
    assert_eq!(different.len(), 4, "one port for two: {ports:?}");
    vm.succeed("ip route add default via 10.1.0.254", 60);
    assert_eq!(
        browse_by(&mut vm, "198.51.100.1", 10),
        "203.0.113.102",
        "a machine"
    );
    assert!(vm.pings("10.1.0.1", 5), "its own tenant's b");
    drop(vm);
    assert_eq!(
        at_a.count("ip.addr == 10.1.0.3 || arp.src.proto_ipv4 == 10.1.0.3"),
        0,
        "and not the other tenant's a, of the same address"
    );
    assert_eq!(
        at_edge.count("ip.src == 10.0.0.0/8"),
        0,
        "no tenant's address"
    );
    assert_eq!(
        browse(&outside.netns, "203.0.113.101"),
        "",
        "nobody comes in"
    );
    outside.netns.ip("route add 10.1.0.0/24 via 203.0.113.101");
    assert_eq!(
        browse(&outside.netns, "10.1.0.1"),
        "",
        "nor by the guest's own address"
    );
    assert_eq!(at_a.count("ip.src == 203.0.113.1"), 0, "not a packet");
    let flow = "in_port=1,eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:ff:fe,\
                tcp,nw_src=10.1.0.1,nw_dst=198.51.100.1,nw_ttl=64,tp_src=30000,tp_dst=80";
    cloud.document("7", include_str!("snat.rs"), &[(1, "br-int")], flow);
    cloud.stop();
}
