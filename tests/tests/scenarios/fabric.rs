//! A fabric of layer 3 alone: a guest is an address that its node announces by BGP
//!
//! ```text
//!   a 10.65.0.1 ── 1 ┐ node 1 172.16.0.1 ─┐         ┌─ border 172.16.0.254 ── outside 198.51.100.2
//!   b 10.65.0.2 ── 2 ┤ BIRD               ├─ fabric ┤
//!   m 10.65.0.9 ── 3 ┤                    │         └─ route reflector 172.16.0.100
//!  vm 10.65.0.4 ── 4 ┘                    │
//!   c 10.65.0.3 ── 1 ┐ node 2 172.16.0.2 ─┘
//!   m migrates  ── 3 ┘ BIRD
//! ```
//!
//! Guests have a /32 each and one gateway, 169.254.1.1, which the switch is. What no guest of the
//! node has goes by LOCAL to the node's kernel. Routes to guests are handed to BIRD by the kernel's
//! table, announced to the reflector and from it to the border. `vm` is a virtual machine.
//! Controller: `fabric.py`.

use super::*;
use tests::{Capture, Cloud, Plan};

const NODE_MAC: &str = "02:00:00:00:fd:01";

/// A router of the fabric, its device `fabric` with this address.
fn router(fabric: &Netns, name: &str, address: &str, netns: &Netns) {
    netns.veth("fabric", fabric, name);
    fabric.ip(&format!("link set dev {name} master fabric"));
    netns.ip(&format!("addr add {address}/24 dev fabric"));
    netns
        .run(&["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        .expect_success();
}

/// BIRD in a router, with what is particular to it.
#[track_caller]
fn bird(netns: &Netns, address: &str, particular: &str, folder: &Path) -> Background {
    let path = |suffix: &str| {
        folder
            .join(format!("{}.{suffix}", netns.name()))
            .display()
            .to_string()
    };
    let text = format!(
        "router id {address};\n\
         protocol device {{ scan time 1; }}\n\
         template bgp fabric {{\n\
           local {address} as 64512;\n  direct;\n\
           connect delay time 1;\n  connect retry time 1;\n  error wait time 1, 1;\n\
         }}\n{particular}"
    );
    std::fs::write(path("conf"), text).expect("room for a configuration");
    let (conf, control, pid) = (path("conf"), path("ctl"), path("pid"));
    let words = netns.words(&["bird", "-f", "-c", &conf, "-s", &control, "-P", &pid]);
    let mut process = Background::start(&words, &folder.join(format!("{}.log", netns.name())));
    eventually("BIRD answers", 30, || {
        assert!(process.is_running(), "{}", process.output());
        netns
            .run(&["birdc", "-s", &control, "show", "status"])
            .status
            .success()
            .then_some(())
    });
    process
}

/// Takes over from the kernel, and gives it, routes of guests and to the outside.
const KERNEL: &str = "protocol kernel { learn; ipv4 {\n\
                        import where net ~ [10.65.0.0/16{32,32}];\n\
                        export where source = RTS_BGP;\n\
                      }; }\n";

fn to_reflector(export: &str) -> String {
    format!(
        "protocol bgp reflector from fabric {{\n\
           neighbor 172.16.0.100 as 64512;\n\
           ipv4 {{ import all; export where {export}; next hop self; }};\n\
         }}\n"
    )
}

/// The node that the border sends packets for an address to, "" for none.
fn next_hop(border: &Netns, address: &str) -> String {
    border.ip(&format!("route show {address}/32"))
}

#[track_caller]
fn awaits_hop(border: &Netns, address: &str, hop: &str) {
    eventually(&format!("{address} is announced by {hop}"), 60, || {
        next_hop(border, address)
            .contains(&format!("via {hop} "))
            .then_some(())
    });
}

/// Hands a guest's route to the node's BIRD, or takes it back.
fn announce(cloud: &Cloud, node: usize, change: &str, address: &str) {
    let netns = cloud.node(node).netns();
    netns.ip(&format!("route {change} {address}/32 dev br-int"));
}

fn address_of(guest: &Netns, device: &str, address: &str) {
    guest.ip(&format!("addr add {address}/32 dev {device}"));
    guest.ip(&format!("route add 169.254.1.1 dev {device} src {address}"));
    guest.ip(&format!(
        "route add default via 169.254.1.1 dev {device} src {address}"
    ));
}

fn wanted(guests: &[(u32, u32, u32)]) -> Value {
    let guest = |(node, port, host): &(u32, u32, u32)| {
        let address = format!("10.65.0.{host}");
        let mac = if *host == 4 {
            MACHINE_MAC.to_string()
        } else {
            mac(*host)
        };
        json!({ "node": node, "port": port, "mac": mac, "address": address })
    };
    let guests: Vec<_> = guests.iter().map(guest).collect();
    json!({ "guests": guests, "node_mac": NODE_MAC })
}

#[test]
fn s14_a_fabric_of_layer_3_alone() {
    let [fabric, reflector, border, outside] =
        ["fabric", "reflector", "border", "outside"].map(Netns::silent);
    fabric.ip("link add name fabric type bridge");
    fabric.ip("link set dev fabric up");
    let [mut one, mut two] = [1, 2].map(Plan::new);
    for (plan, address) in [(&mut one, "172.16.0.1"), (&mut two, "172.16.0.2")] {
        plan.bridge("br-int");
        plan.local(NODE_MAC);
        router(
            &fabric,
            &format!("n{}", address.replace('.', "")),
            address,
            plan.netns(),
        );
    }
    let [a, b] = [("a", 1), ("b", 2)].map(|(name, number)| {
        let guest = one.guest(name, number, &mac(number), "");
        address_of(&guest, "eth0", &format!("10.65.0.{number}"));
        guest
    });
    let m = one.guest("m", 3, &mac(9), "");
    one.machine("vm", 4, "");
    address_of(&m, "eth0", "10.65.0.9");
    let c = two.guest("c", 1, &mac(3), "");
    address_of(&c, "eth0", "10.65.0.3");
    two.join("m", 3, &m, "eth1");
    m.ip(&format!("link set dev eth1 address {}", mac(9)));
    router(&fabric, "reflector", "172.16.0.100", &reflector);
    router(&fabric, "border", "172.16.0.254", &border);
    border.veth("out", &outside, "eth0");
    border.ip("addr add 198.51.100.1/24 dev out");
    outside.ip("addr add 198.51.100.2/24 dev eth0");
    outside.ip("route add default via 198.51.100.1");

    let all = [(1, 1, 1), (1, 2, 2), (2, 1, 3), (1, 3, 9), (1, 4, 4)];
    let mut cloud = Cloud::start("fabric", [one, two], &wanted(&all));
    let mut vm = power_on(&cloud, 1, "10.65.0.4/32");
    let folder = cloud.scratch();
    let at_border = Capture::start(&border, "fabric", folder);
    let client = |address| {
        format!(
            "protocol bgp from fabric {{ neighbor {address} as 64512; rr client;\n\
             ipv4 {{ import all; export all; }}; }}\n"
        )
    };
    let clients = ["172.16.0.1", "172.16.0.2", "172.16.0.254"]
        .map(client)
        .concat();
    let guests = "net ~ [10.65.0.0/16{32,32}]";
    let out = "protocol direct { ipv4; interface \"out\"; }\n";
    let _birds = [
        bird(&reflector, "172.16.0.100", &clients, folder),
        bird(
            &border,
            "172.16.0.254",
            &[KERNEL, out, &to_reflector("source = RTS_DEVICE")].concat(),
            folder,
        ),
        bird(
            cloud.node(1).netns(),
            "172.16.0.1",
            &[KERNEL, &to_reflector(guests)].concat(),
            folder,
        ),
        bird(
            cloud.node(2).netns(),
            "172.16.0.2",
            &[KERNEL, &to_reflector(guests)].concat(),
            folder,
        ),
    ];
    for node in [1, 2] {
        cloud.node(node).netns().ip("link set dev br-int up");
    }
    for (node, address) in [
        (1, "10.65.0.1"),
        (1, "10.65.0.2"),
        (2, "10.65.0.3"),
        (1, "10.65.0.9"),
        (1, "10.65.0.4"),
    ] {
        announce(&cloud, node, "add", address);
    }
    for (address, hop) in [
        ("10.65.0.1", "172.16.0.1"),
        ("10.65.0.3", "172.16.0.2"),
        ("10.65.0.9", "172.16.0.1"),
        ("10.65.0.4", "172.16.0.1"),
    ] {
        awaits_hop(&border, address, hop);
    }

    let at_b = Capture::start(&b, "eth0", folder);
    assert!(outside.pings("10.65.0.1"), "from outside");
    assert!(c.pings("198.51.100.2"), "to the outside");
    assert!(a.pings("10.65.0.2"), "on the same node");
    assert!(a.pings("10.65.0.3"), "on the other node");
    assert!(a.pings("10.65.0.9"), "before it moves");
    vm.succeed("ip route add 169.254.1.1 dev eth0", 60);
    vm.succeed("ip route add default via 169.254.1.1", 60);
    assert!(vm.pings("10.65.0.3", 30), "a machine, to the other node");
    assert!(outside.pings("10.65.0.4"), "a machine, from outside");
    for guest in [&a, &c] {
        let neighbours = guest.ip("neigh show");
        let gateway = "169.254.1.1 dev eth0 lladdr ee:ee:ee:ee:ee:ee";
        assert!(
            neighbours.contains(gateway) && neighbours.lines().count() == 1,
            "{neighbours}"
        );
    }
    let asked = at_b.wait("icmp.type == 8", &["ip.src", "ip.ttl", "eth.src"]);
    assert_eq!(asked[0], ["10.65.0.1", "63", "ee:ee:ee:ee:ee:ee"]);
    assert_eq!(
        at_b.count("arp && eth.src == 02:00:00:00:00:01"),
        0,
        "no layer 2 between guests"
    );
    let arping = ["ping", "-c", "1", "-W", "1", "-I", "eth0", "10.65.0.2"];
    a.ip("route add 10.65.0.2/32 dev eth0");
    assert!(
        !a.run(&arping).status.success(),
        "not by ARP for its address"
    );
    a.ip("route del 10.65.0.2/32 dev eth0");
    let flow = "in_port=1,eth_src=02:00:00:00:00:01,eth_dst=ee:ee:ee:ee:ee:ee,\
                icmp,nw_src=10.65.0.1,nw_dst=10.65.0.3,nw_ttl=64";
    cloud.document("14", include_str!("fabric.rs"), &[(1, "br-int")], flow);

    // m moves to node 2, and b goes.
    m.ip("addr flush dev eth0");
    m.ip("route flush table main");
    announce(&cloud, 1, "del", "10.65.0.9");
    announce(&cloud, 1, "del", "10.65.0.2");
    cloud.want(&wanted(&[(1, 1, 1), (2, 1, 3), (2, 3, 9), (1, 4, 4)]));
    address_of(&m, "eth1", "10.65.0.9");
    announce(&cloud, 2, "add", "10.65.0.9");
    awaits_hop(&border, "10.65.0.9", "172.16.0.2");
    assert!(
        outside.pings("10.65.0.9") && a.pings("10.65.0.9"),
        "where it went"
    );
    eventually("the route is withdrawn", 60, || {
        next_hop(&border, "10.65.0.2").is_empty().then_some(())
    });
    let told = outside
        .run(&["ping", "-c", "1", "-W", "2", "10.65.0.2"])
        .stdout;
    assert!(
        told.contains("From 198.51.100.1") && told.contains("Unreachable"),
        "{told}"
    );
    assert!(vm.pings("10.65.0.9", 30), "a machine finds who has moved");
    assert!(!vm.pings("10.65.0.2", 2), "and not who is gone");
    drop(vm);
    let of_reflector = "bgp.type == 2 && ip.src == 172.16.0.100";
    let announced = format!("{of_reflector} && bgp.nlri_prefix == 10.65.0.9");
    let hops = at_border.wait(&announced, &["bgp.update.path_attribute.next_hop"]);
    let hops: Vec<_> = hops.iter().map(|row| row[0].as_str()).collect();
    assert!(hops[0].contains("172.16.0.1"), "{hops:?}");
    assert!(
        hops.last().is_some_and(|hop| hop.contains("172.16.0.2")),
        "{hops:?}"
    );
    let withdrawn = format!("{of_reflector} && bgp.withdrawn_prefix == 10.65.0.2");
    at_border.wait(&withdrawn, &["ip.dst"]);
    cloud.stop();
}
