//! Load balancing: connections to one address spread over the servers that are up, each to one
//!
//! ```text
//!                                        ┌ 1 ── s1 10.0.0.1
//!   c 10.0.0.100 ── 10 ── br-int, node 1 ┼ 2 ── s2 10.0.0.2   service 10.0.0.80:80
//!                                        └ 3 ── s3 10.0.0.3
//! ```
//!
//! A select group; its buckets watch the servers' ports. Controller: `balancer.py`.

use std::collections::BTreeMap;

use super::*;
use tests::{Capture, Cloud, Plan};

/// Which server answers connections from each of these ports of the client. It asks again if none
/// does: what was on its way when a server went is lost.
fn answers(client: &Netns) -> BTreeMap<u32, String> {
    let ask = |port: u32| {
        let from = port.to_string();
        let words = ["curl", "-s", "--max-time", "5", "--local-port", &from];
        let words = [&words[..], &["http://10.0.0.80/"]].concat();
        let told = eventually("a server answers", 60, || {
            Some(client.run(&words).stdout).filter(|told| !told.is_empty())
        });
        (port, told)
    };
    (20_000..20_024).map(ask).collect()
}

#[test]
fn s15_load_balancing_by_a_select_group() {
    let mut plan = Plan::new(1);
    plan.bridge("br-int");
    let client = plan.guest("c", 10, &mac(100), "10.0.0.100/24");
    let servers = [1, 2, 3].map(|number| {
        let address = format!("10.0.0.{number}/24");
        plan.guest(&format!("s{number}"), number, &mac(number), &address)
    });
    let one = |port: u32, number: u32| {
        let address = format!("10.0.0.{number}");
        json!({ "port": port, "mac": mac(number), "address": address })
    };
    let wanted = json!({
        "service": { "address": "10.0.0.80", "mac": "02:00:00:00:00:80", "tcp": 80 },
        "servers": [one(1, 1), one(2, 2), one(3, 3)], "clients": [one(10, 100)],
    });
    let cloud = Cloud::start("balancer", [plan], &wanted);
    let folder = cloud.scratch();
    let _pages: Vec<_> = servers
        .iter()
        .zip(["s1", "s2", "s3"])
        .map(|(server, name)| serve(server, name, folder))
        .collect();
    let at_client = Capture::start(&client, "eth0", folder);
    let first = answers(&client);
    for name in ["s1", "s2", "s3"] {
        assert!(first.values().any(|told| told == name), "{first:?}");
    }
    assert_eq!(
        answers(&client),
        first,
        "a connection's addresses and ports choose its server"
    );
    at_client.wait("http.response", &["ip.src"]);
    let others = at_client.count("ip && ip.addr != 10.0.0.80 && ip.addr != 10.0.0.100");
    assert_eq!(others, 0, "the client sees the service alone");
    assert_eq!(
        browse(&client, "10.0.0.1"),
        "",
        "servers are not reached by their own address"
    );

    // A server whose link goes down gets nothing, and again its share when it comes back.
    servers[1].ip("link set dev eth0 down");
    eventually("the link is down", 30, || {
        let ports = cloud.node(1).json(&["port", "list"]).to_string();
        ports.contains("\"link_up\":false").then_some(())
    });
    let without = answers(&client);
    assert!(
        without.values().all(|told| told == "s1" || told == "s3"),
        "{without:?}"
    );
    servers[1].ip("link set dev eth0 up");
    eventually("the link is up", 30, || {
        (answers(&client) == first).then_some(())
    });
    let flow = "in_port=10,eth_src=02:00:00:00:00:64,eth_dst=02:00:00:00:00:80,\
                tcp,nw_src=10.0.0.100,nw_dst=10.0.0.80,tp_src=20000,tp_dst=80";
    cloud.document("15", include_str!("balancer.rs"), &[(1, "br-int")], flow);
    cloud.stop();
}
