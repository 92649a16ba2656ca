//! Flat, VLAN, VXLAN, GRE and Geneve networks on three nodes, their local VLANs mapped to segments
//!
//! ```text
//!   guests of networks 1 … 6   ┌ br-tun ─ vxlan, gre, geneve ─ br-phy 172.16.0.N ─┐
//!             └── br-int ──────┤                                          underlay ┼ nodes 1, 2, 3
//!                 node N       └ br-ex ─ uplink ────────────────── provider's wire ┘
//! ```
//!
//! The bridges of a node are joined by patch ports.
//!
//! | network | kind | segment | guests on nodes |
//! |---|---|---|---|
//! | 1 | flat | none | 1, 2, 3 |
//! | 2 | VLAN | 200 | 1, 2, 3 |
//! | 3 | VXLAN | 3000 | 1, 2, 3 |
//! | 4 | GRE | 4000 | 1, 2, 3 |
//! | 5 | Geneve | 5000 | 1, 2, 3 |
//! | 6, another tenant's | VXLAN | 3001 | 1, 2, with the addresses and MACs of network 3 |
//!
//! The same local VLAN is another network on each node. What br-tun does not know goes to all other
//! nodes, and it learns from what comes who is where. Controller: `tenants.py`.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use tests::{Capture, Cloud, Guest, GuestOptions, Plan};

/// A network by its number, with its kind and the segment that it has outside of nodes.
#[derive(Clone, Copy, Debug)]
struct Network(u32, &'static str, u32);

const NETWORKS: [Network; 6] = [
    Network(1, "flat", 0),
    Network(2, "vlan", 200),
    Network(3, "vxlan", 3000),
    Network(4, "gre", 4000),
    Network(5, "geneve", 5000),
    Network(6, "vxlan", 3001),
];
const NODES: [u32; 3] = [1, 2, 3];

/// What docs/scenarios.md says of the other variant.
const FILLED: &str = "\
//! The same with tables filled beforehand: br-tun is told who is where
//!
//! Table 20 says by which tunnel each guest of another node is reached, table 21 answers ARP for
//! him, table 22 sends the rest to nodes that have the network. Nothing is learned. The trace is
//! that of a question by ARP.
";

/// The first machine's address.
const MACHINE_MAC: &str = "52:54:00:00:00:01";

/// In front of a capture's filter, for what is within tunnels.
const TUNNELLED: &str = "(vxlan || gre || geneve)";

/// What echo requests carry that are sent when all is learned: a flow is learned some milliseconds
/// after the packet that taught it.
const LEARNED_BYTES: &str = "99";
/// The length of such a packet with its headers of IPv4 and ICMP.
const LEARNED_LENGTH: u32 = 99 + 20 + 8;

impl Network {
    /// The VLAN that a node has for it.
    fn local(self, node: u32) -> u32 {
        1 + (self.0 + 2 * node) % 6
    }

    fn has(self, node: u32) -> bool {
        self.0 != 6 || node != 3
    }

    fn is_tunnelled(self) -> bool {
        !matches!(self.1, "flat" | "vlan")
    }

    /// Network 6 has the addresses of network 3.
    fn address(self, node: u32) -> String {
        format!("10.{}.0.{node}", if self.0 == 6 { 3 } else { self.0 })
    }

    fn mac(self, node: u32) -> String {
        mac(16 * node + if self.0 == 6 { 3 } else { self.0 })
    }

    fn guest(self, plan: &mut Plan, node: u32) -> Netns {
        let name = format!("net{}", self.0);
        let address = self.address(node) + "/24";
        let tag = self.local(node);
        let guest = plan.tagged_guest(&name, self.0, tag, &self.mac(node), &address);
        if self.is_tunnelled() {
            guest.ip("link set dev eth0 mtu 1400");
        }
        guest
    }
}

/// The wires between nodes: `underlay` and `provider`, and each node's ends uN and xN of them.
fn wires() -> Netns {
    let wires = Netns::silent("wires");
    for device in ["underlay", "provider"] {
        wires.ip(&format!("link add name {device} type bridge"));
        wires.ip(&format!("link set dev {device} up"));
    }
    wires
}

/// A node's bridges without its guests, who come to br-int, which has begun.
fn bridges(plan: &mut Plan, node: u32, wires: &Netns) {
    plan.patch("patch-tun", 100, "patch-int");
    plan.patch("int-br-ex", 101, "phy-br-ex");
    plan.bridge("br-tun");
    plan.patch("patch-int", 1, "patch-tun");
    for (kind, base) in [("vxlan", 100), ("gre", 200), ("geneve", 300)] {
        for other in NODES.into_iter().filter(|other| *other != node) {
            let ends = format!("local_ip = \"172.16.0.{node}\", remote_ip = \"172.16.0.{other}\"");
            let settings = format!("type = \"{kind}\"\noptions = {{ {ends}, key = \"flow\" }}");
            plan.port(&format!("{kind}{other}"), base + other, &settings);
        }
    }
    plan.bridge("br-ex");
    plan.patch("phy-br-ex", 100, "int-br-ex");
    plan.join("uplink", 1, wires, &format!("x{node}"));
    plan.bridge("br-phy");
    plan.local(&mac(0xf0 + node));
    plan.join("underlay", 1, wires, &format!("u{node}"));
    wires.ip(&format!("link set dev x{node} master provider"));
    wires.ip(&format!("link set dev u{node} master underlay"));
}

/// What is wanted of the controller where these networks have guests on all their nodes.
fn wanted(networks: &[Network], prepopulated: bool) -> Value {
    let described = networks.iter().map(|network| {
        let local = NODES.map(|node| (node.to_string(), json!(network.local(node))));
        let local = Value::Object(local.into_iter().collect());
        let described = json!({ "kind": network.1, "segment": network.2, "local": local });
        (network.0.to_string(), described)
    });
    let on_nodes = networks.iter().flat_map(|network| {
        let has = NODES.into_iter().filter(|node| network.has(*node));
        has.map(|node| {
            let (mac, address) = (network.mac(node), network.address(node));
            json!({ "node": node, "network": network.0, "mac": mac, "address": address })
        })
    });
    json!({
        "nodes": NODES, "networks": Value::Object(described.collect()),
        "guests": on_nodes.collect::<Vec<_>>(), "prepopulated": prepopulated,
    })
}

/// Gives the nodes their addresses on the underlay.
fn address_nodes(cloud: &Cloud) {
    for node in NODES {
        let netns = cloud.node(node as usize).netns();
        netns.ip("link set br-phy up");
        netns.ip(&format!("addr add 172.16.0.{node}/24 dev br-phy"));
    }
}

type Guests = BTreeMap<(u32, u32), Netns>;

/// Nodes with a namespace for each guest but the `machine`, of a network on a node.
fn nodes(networks: &[Network], wires: &Netns, machine: Option<(u32, u32)>) -> ([Plan; 3], Guests) {
    let mut guests = Guests::new();
    let plans = NODES.map(|node| {
        let mut plan = Plan::new(node);
        plan.bridge("br-int");
        for network in networks.iter().filter(|network| network.has(node)) {
            if machine == Some((network.0, node)) {
                let tag = format!("tag = {}", network.local(node));
                plan.machine(&format!("net{}", network.0), network.0, &tag);
            } else {
                guests.insert((network.0, node), network.guest(&mut plan, node));
            }
        }
        bridges(&mut plan, node, wires);
        plan
    });
    (plans, guests)
}

/// The guests of a network reach each other on whatever nodes they are.
#[track_caller]
fn reach_each_other(guests: &Guests, network: Network) {
    for (from, to) in [(1, 2), (3, 1), (2, 3)] {
        if let Some(guest) = guests.get(&(network.0, from)).filter(|_| network.has(to)) {
            let kind = network.1;
            let address = network.address(to);
            assert!(
                guest.pings(&address),
                "{kind}, from node {from} to node {to}"
            );
        }
    }
}

#[test]
fn s08_networks_of_every_kind() {
    let wires = wires();
    let (plans, guests) = nodes(&NETWORKS, &wires, None);
    let cloud = Cloud::start("tenants", plans, &wanted(&NETWORKS, false));
    address_nodes(&cloud);
    let folder = cloud.scratch();
    let [to_2, to_3, provider] =
        ["u2", "u3", "x2"].map(|device| Capture::start(&wires, device, folder));
    let at_2 = Capture::start(&guests[&(3, 2)], "eth0", folder);
    for network in NETWORKS {
        reach_each_other(&guests, network);
    }
    requests_are_replicated(&to_2, &to_3);
    what_was_learned_goes_to_one_node(&cloud, &guests, [&to_2, &to_3]);
    unknown_addresses_are_replicated(&guests, [&to_2, &to_3]);
    provider_networks_have_their_vlans(&provider, &to_2);
    tenants_are_kept_apart(&guests, folder);
    strangers_stay_outside(&cloud, &wires, &guests, &at_2);
    let flow = format!(
        "in_port=3,dl_src={},dl_dst={},icmp,nw_src=10.3.0.1,nw_dst=10.3.0.2",
        mac(16 + 3),
        mac(32 + 3),
    );
    let shown = [(1, "br-int"), (1, "br-tun"), (1, "br-ex")];
    cloud.document("8", include_str!("tenant_networks.rs"), &shown, &flow);
    cloud.stop();
}

/// br-tun is told where guests are, and answers ARP for those of other nodes. One guest is a
/// virtual machine.
#[test]
fn s08_tables_filled_beforehand() {
    let wires = wires();
    let networks = &NETWORKS[2..];
    let machine = NETWORKS[4];
    let (plans, guests) = nodes(networks, &wires, Some((machine.0, 1)));
    let mut intent = wanted(networks, true);
    let members = intent["guests"].as_array_mut().expect("a list");
    for guest in members {
        if guest["node"] == 1 && guest["network"] == machine.0 {
            guest["mac"] = MACHINE_MAC.into();
        }
    }
    let mut cloud = Cloud::start("tenants", plans, &intent);
    address_nodes(&cloud);
    let folder = cloud.scratch();
    let [to_2, to_3] = ["u2", "u3"].map(|device| Capture::start(&wires, device, folder));
    let mut vm = Guest::boot(
        GuestOptions {
            address: machine.address(1) + "/24",
            mtu: 1400,
            ..GuestOptions::new(1)
        },
        &cloud.node(1).run_dir().join("net5.sock"),
    );
    for network in networks {
        reach_each_other(&guests, *network);
    }
    assert!(
        vm.pings("10.5.0.2", 30) && vm.pings("10.5.0.3", 30),
        "from the machine"
    );
    let page = serve(&guests[&(5, 2)], "to the machine", folder);
    vm.succeed("wget -q -O - http://10.5.0.2/ | grep -q machine", 60);
    drop(page);
    let asks = format!("{TUNNELLED} && arp");
    to_2.wait("geneve && http.request", &["ip.src"]);
    for capture in [&to_2, &to_3] {
        assert_eq!(capture.count(&asks), 0, "each node answers for the others");
    }
    tenants_are_kept_apart(&guests, folder);
    what_nobody_has_goes_to_members(&guests, [&to_2, &to_3]);
    let flow = format!(
        "in_port=3,dl_src={},dl_dst=ff:ff:ff:ff:ff:ff,arp,arp_op=1,arp_spa=10.3.0.1,\
         arp_tpa=10.3.0.2,arp_sha={0}",
        mac(16 + 3),
    );
    // The trace begins on br-int, and the flows of br-tun are what is new.
    let shown = [(1, "br-int"), (1, "br-tun")];
    cloud.document("8b", FILLED, &shown, &flow);
    // A guest that is gone is answered for no more, and nothing is sent to where he was.
    let members = intent["guests"].as_array_mut().expect("a list");
    members.retain(|guest| guest["network"] != 4 || guest["node"] != 2);
    cloud.want(&intent);
    guests[&(4, 1)].ip("neigh flush all");
    assert!(guests[&(4, 1)].is_cut_off_from("10.4.0.2"), "he is gone");
    to_3.wait("gre && arp.dst.proto_ipv4 == 10.4.0.2", &["ip.src"]);
    assert_eq!(to_2.count("gre && arp.dst.proto_ipv4 == 10.4.0.2"), 0);
    drop(vm);
    cloud.stop();
}

/// Who is asked for and not known is asked for on nodes that have the network, once on each.
#[track_caller]
fn what_nobody_has_goes_to_members(guests: &Guests, captures: [&Capture; 2]) {
    for (network, address) in [(3, "10.3.0.77"), (6, "10.3.0.78")] {
        let guest = &guests[&(network, 1)];
        assert!(guest.is_cut_off_from(address), "nobody has it");
    }
    let asked = |address: &str| format!("vxlan && arp.dst.proto_ipv4 == {address}");
    let [to_2, to_3] = captures;
    let everywhere = to_2.wait(&asked("10.3.0.78"), &["vxlan.vni"]);
    assert!(
        everywhere.iter().all(|row| row[0] == "3001"),
        "{everywhere:?}"
    );
    let everywhere = to_3.wait(&asked("10.3.0.77"), &["vxlan.vni"]);
    assert!(
        everywhere.iter().all(|row| row[0] == "3000"),
        "{everywhere:?}"
    );
    assert_eq!(to_3.count(&asked("10.3.0.78")), 0, "network 6 is not there");
}

/// Who asks is heard once on each other node, with the key of the network, and nobody passes on to
/// a tunnel what came by one.
#[track_caller]
fn requests_are_replicated(to_2: &Capture, to_3: &Capture) {
    let columns = [
        "ip.src",
        "arp.src.proto_ipv4",
        "vxlan.vni",
        "gre.key",
        "geneve.vni",
    ];
    let filter = format!("{TUNNELLED} && arp.opcode == 1 && eth.dst == ff:ff:ff:ff:ff:ff");
    let from_1 = |capture: &Capture| {
        let mut rows = capture.fields(&filter, &columns);
        rows.retain(|row| row[1].ends_with(".0.1"));
        rows.sort();
        rows
    };
    let asked = eventually("as many requests on node 3 as on node 2", 30, || {
        let rows = from_1(to_2);
        (rows == from_1(to_3) && rows.len() >= 4).then_some(rows)
    });
    let kinds = [
        ["172.16.0.1", "10.3.0.1", "3000", "", ""],
        ["172.16.0.1", "10.3.0.1", "3001", "", ""],
        ["172.16.0.1", "10.4.0.1", "", "0x00000fa0", ""],
        ["172.16.0.1", "10.5.0.1", "", "", "0x001388"],
    ];
    for kind in kinds {
        assert!(asked.iter().any(|row| *row == kind), "{kind:?}: {asked:?}");
    }
    assert!(
        asked.iter().all(|row| kinds.iter().any(|kind| row == kind)),
        "{asked:?}"
    );
}

/// Who has answered is known, and what is for him goes to his node and to no other.
#[track_caller]
fn what_was_learned_goes_to_one_node(cloud: &Cloud, guests: &Guests, captures: [&Capture; 2]) {
    let flows = cloud.node(1).vsctl(&["flow", "dump", "br-tun"]);
    let flows = flows.expect_success();
    for network in NETWORKS
        .into_iter()
        .filter(|network| network.is_tunnelled())
    {
        let target = format!("dl_dst={}", network.mac(2));
        let key = format!("load:{:#x}->NXM_NX_TUN_ID[]", network.2);
        let port = match network.1 {
            "vxlan" => "output:102",
            "gre" => "output:202",
            _ => "output:302",
        };
        let is_learned = |line: &str| {
            let words = ["table=20", "hard_timeout=300", &target, &key, port];
            words.iter().all(|word| line.contains(word))
        };
        assert!(flows.lines().any(is_learned), "{network:?}: {flows}");
        let guest = &guests[&(network.0, 1)];
        assert!(guest.pings_with(&network.address(2), &["-s", LEARNED_BYTES]));
    }
    let sent = format!("icmp && ip.len == {LEARNED_LENGTH}");
    let [to_2, to_3] = captures;
    to_2.wait(&sent, &["ip.dst"]);
    assert_eq!(to_3.count(&sent), 0, "not for node 3");
}

/// What nobody has is sent once to each other node, from the node that it came up on.
#[track_caller]
fn unknown_addresses_are_replicated(guests: &Guests, captures: [&Capture; 2]) {
    let guest = &guests[&(3, 1)];
    let nobody = mac(0x77);
    guest.ip(&format!("neigh add 10.3.0.77 lladdr {nobody} dev eth0"));
    assert!(
        !guest
            .run(&["ping", "-c", "1", "-W", "1", "10.3.0.77"])
            .status
            .success()
    );
    for (capture, node) in captures.into_iter().zip(["172.16.0.2", "172.16.0.3"]) {
        let filter = format!("vxlan && eth.dst == {nobody}");
        let rows = capture.wait(&filter, &["ip.src", "ip.dst", "vxlan.vni"]);
        let [source, target] = ["172.16.0.1;10.3.0.1".into(), format!("{node};10.3.0.77")];
        assert_eq!(rows, [[source, target, "3000".into()]]);
    }
}

/// The VLAN of a network is on the provider's wire, and no tunnel network; the other way likewise.
#[track_caller]
fn provider_networks_have_their_vlans(provider: &Capture, underlay: &Capture) {
    let rows = provider.wait("arp", &["arp.src.proto_ipv4", "vlan.id"]);
    let vlans = |network: &str| {
        let of_network = rows.iter().filter(|row| row[0].starts_with(network));
        of_network
            .map(|row| row[1].as_str())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(vlans("10.1."), [""].into(), "flat: {rows:?}");
    assert_eq!(vlans("10.2."), ["200"].into(), "VLAN: {rows:?}");
    let tunnelled = "ip.addr == 10.3.0.0/16 || ip.addr == 10.4.0.0/15";
    let asked = "arp.src.proto_ipv4 == 10.3.0.0/16 || arp.src.proto_ipv4 == 10.4.0.0/15";
    assert_eq!(
        provider.count(&format!("{tunnelled} || {asked}")),
        0,
        "not on the wire"
    );
    let provided = "ip.addr == 10.1.0.0/16 || ip.addr == 10.2.0.0/16 || \
                    arp.src.proto_ipv4 == 10.1.0.0/16 || arp.src.proto_ipv4 == 10.2.0.0/16";
    assert_eq!(underlay.count(provided), 0, "not through tunnels");
}

/// Each of two tenants with the same addresses reaches his own.
#[track_caller]
fn tenants_are_kept_apart(guests: &Guests, folder: &Path) {
    let pages = [(3, "tenant 1"), (6, "tenant 2")];
    let _servers = pages.map(|(network, text)| serve(&guests[&(network, 2)], text, folder));
    for (network, text) in pages {
        assert_eq!(browse(&guests[&(network, 1)], "10.3.0.2"), text);
    }
    let other = &guests[&(6, 1)];
    assert!(
        other.is_cut_off_from("10.3.0.3"),
        "network 6 is not on node 3"
    );
    assert!(other.is_cut_off_from("10.5.0.2"), "another network");
}

/// A node hears through its tunnels the nodes that it knows, and from the wire the VLANs that it
/// knows.
#[track_caller]
fn strangers_stay_outside(cloud: &Cloud, wires: &Netns, guests: &Guests, at_2: &Capture) {
    wires.ip("addr add 172.16.0.99/24 dev underlay");
    let ends = "local 172.16.0.99 remote 172.16.0.2 dstport 4789";
    wires.ip(&format!("link add name forged type vxlan id 3000 {ends}"));
    wires.ip("link set dev forged up");
    wires.ip("addr add 10.3.0.66/24 dev forged");
    assert!(wires.is_cut_off_from("10.3.0.2"), "no node's tunnel");
    let metrics = cloud.node(2).vsctl(&["metrics"]).expect_success();
    let dropped = |line: &str| line.contains("tunnel_unknown") && !line.ends_with(" 0");
    assert!(metrics.lines().any(dropped), "{metrics}");
    assert_eq!(at_2.count("arp.src.proto_ipv4 == 10.3.0.66"), 0);
    let in_vlan_200 = Capture::start(&guests[&(2, 2)], "eth0", cloud.scratch());
    wires.run(&["python3", "-c", ASK_TAGGED]).expect_success();
    in_vlan_200.wait("arp.src.proto_ipv4 == 10.2.0.200", &["arp"]);
    let other = "arp.src.proto_ipv4 == 10.2.0.201";
    assert_eq!(in_vlan_200.count(other), 0, "another VLAN");
}

/// Asks by ARP on the provider's wire, in VLAN 201 as 10.2.0.201 and then in VLAN 200 as
/// 10.2.0.200, who 10.2.0.2 is.
const ASK_TAGGED: &str = "
import socket
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(('provider', 0))
for vlan in (201, 200):
    mac = bytes((2, 0, 0, 0, 1, vlan))
    tagged = b'\\xff' * 6 + mac + b'\\x81\\x00' + vlan.to_bytes(2, 'big')
    arp = bytes.fromhex('0806 0001 0800 06 04 0001') + mac + bytes((10, 2, 0, vlan))
    wire.send(tagged + arp + bytes(6) + bytes((10, 2, 0, 2)))";
