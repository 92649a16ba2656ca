//! `rest_router`: two routers with static routes between them, for hosts without VLANs and for
//! two tenants of the same addresses, each with a VLAN.
//!
//! ```text
//!  h1 10.1.0.2 ── p1 ┐ router 1            router 2 ┌ p2 ── h2 10.2.0.2
//!  VLAN 10 ┐         │ 10.1.0.1 ── link ── 10.2.0.1 │         ┌ VLAN 10
//!  VLAN 20 ┴ OVS t1 ─┘ 10.0.0.1            10.0.0.2 └─ t2 OVS ┴ VLAN 20
//! ```
//!
//! Open vSwitch tags what the tenants' hosts send.

use super::*;
use tests::Ovs;

/// A tenant's VLAN, and 0 for who has none.
const VLANS: [u32; 3] = [0, 10, 20];

/// Hosts at a switch that tags what they send, by the device `trunk` of `switch`.
struct Tenants {
    _edge: Ovs,
    hosts: Vec<Netns>,
}

impl Tenants {
    fn new(switch: &Netns, trunk: &str, network: u32) -> Tenants {
        let edge = Netns::silent("edge");
        switch.veth(trunk, &edge, "trunk");
        let hosts: Vec<Netns> = VLANS[1..]
            .iter()
            .map(|vlan| {
                let host = host(&edge, &format!("v{vlan}"), &format!("10.{network}.0.2/24"));
                host.ip(&format!("route add default via 10.{network}.0.1"));
                host
            })
            .collect();
        let edge = Ovs::start_without_dpdk(edge);
        edge.add_bridge("edge", &[]);
        edge.vsctl(&["add-port", "edge", "trunk"]);
        for vlan in &VLANS[1..] {
            let (port, tag) = (format!("v{vlan}"), format!("tag={vlan}"));
            edge.vsctl(&["add-port", "edge", &port, &tag]);
        }
        Tenants { _edge: edge, hosts }
    }
}

/// Address and routes of a router for one VLAN.
fn set_up(network: &Network, router: u32, vlan: u32) {
    let other = 3 - router;
    let path = match vlan {
        0 => format!("/router/{router:016x}"),
        _ => format!("/router/{router:016x}/{vlan}"),
    };
    for body in [
        json!({ "address": format!("10.{router}.0.1/24") }),
        json!({ "address": format!("10.0.0.{router}/24") }),
        json!({
            "destination": format!("10.{other}.0.0/24"), "gateway": format!("10.0.0.{other}"),
        }),
    ] {
        let answer = network.post(&path, &body);
        let result = &answer[0]["command_result"][0];
        let succeeded = |result: &Value| result["result"] == "success";
        assert!(
            succeeded(result) || succeeded(&answer[0]["command_result"]),
            "{answer}"
        );
    }
}

#[test]
fn rest_router_routes_between_subnets_of_each_vlan() {
    let switch = Netns::silent("sw");
    let plain: Vec<Netns> = (1..=2)
        .map(|number| {
            let host = host(
                &switch,
                &format!("p{number}"),
                &format!("10.{number}.0.2/24"),
            );
            host.ip(&format!("route add default via 10.{number}.0.1"));
            host
        })
        .collect();
    let tenants = [1, 2].map(|number| Tenants::new(&switch, &format!("t{number}"), number));
    let bridges: String = [1, 2]
        .map(|number| {
            let other = 3 - number;
            bridge(
                &format!("br{number}"),
                number,
                &[&format!("p{number}"), &format!("t{number}")],
            ) + &format!(
                "[[bridge.port]]\nname = \"link{number}\"\ntype = \"patch\"\n\
                 options = {{ peer = \"link{other}\" }}\n"
            )
        })
        .concat();
    let network = Network::start(switch, &bridges, "rest_router");
    for router in [1, 2] {
        network.wait(&format!("/router/{router:016x}"), |all| {
            all[0]["switch_id"] == format!("{router:016x}")
        });
    }
    assert!(plain[0].is_cut_off_from("10.2.0.2"), "no routes yet");
    for vlan in VLANS {
        set_up(&network, 1, vlan);
        set_up(&network, 2, vlan);
    }
    reaches(&plain[0], "10.1.0.1");
    reaches(&plain[0], "10.2.0.2");
    reaches(&plain[1], "10.1.0.2");
    for tenant in 0..2 {
        reaches(&tenants[0].hosts[tenant], "10.2.0.2");
        reaches(&tenants[1].hosts[tenant], "10.1.0.2");
    }
    // Of three hosts with this address each has its own that it reaches.
    tenants[1].hosts[1].ip("link set eth0 down");
    reaches_no_longer(&tenants[0].hosts[1], "10.2.0.2");
    assert!(tenants[0].hosts[0].pings("10.2.0.2"), "another tenant's");
    assert!(plain[0].pings("10.2.0.2"), "without a VLAN");

    let routers = network.get("/router/all/all");
    let text = routers.to_string();
    assert_eq!(text.matches("10.0.0.2").count(), 6, "{routers}");
    network.daemon.stop();
}
