//! A way out without floating addresses: each router has one address for all its guests
//!
//! ```text
//!   a 10.1.0.1, router 1 (203.0.113.101) ── 1 ┐
//!   b 10.1.0.1, router 2 (203.0.113.102) ── 2 ┼ br-int, node 1 ── 200 ── outside 198.51.100.1
//!   c 10.1.0.2, router 2                 ── 3 ┘
//! ```
//!
//! Two tenants with the same addresses. From outside nobody is reached. Controller: `edges.py`.

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
        "guests": [of(1, 1, 1), of(2, 2, 1), of(2, 3, 2)],
        "subnets": { "1": subnet(1), "2": subnet(2) }, "edge": edge(),
        "routers": { "1": router(1), "2": router(2) },
    });
    let cloud = Cloud::start("edges", [plan], &wanted);
    let folder = cloud.scratch();
    let _sees = outside.serve(folder);
    let _page = serve(&guests[0], "a", folder);
    let at_a = Capture::start(&guests[0], "eth0", folder);
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
