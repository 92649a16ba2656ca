//! Addresses that the switch itself answers for.

use tests::Background;

use super::*;

/// An endpoint: router NUMBER's addresses.
fn router(number: usize) -> String {
    format!(
        "name = \"r{number}\"\nnumber = 1{number}\ntype = \"endpoint\"\noptions = {{ \
         mac = \"02:00:00:00:00:f{number}\", \
         addresses = \"10.0.{number}.1/24,fd0{number}::1/64\" }}"
    )
}

/// Each host reaches its router, and by way of it the other host. What has no route goes to the
/// router, which says so.
const FLOWS: &[&str] = &[
    "priority=30,in_port=11,actions=output:1",
    "priority=30,in_port=12,actions=output:2",
    "priority=20,in_port=1,arp,actions=output:11",
    "priority=20,in_port=2,arp,actions=output:12",
    "priority=20,in_port=1,icmp6,icmp_type=135,actions=output:11",
    "priority=20,in_port=2,icmp6,icmp_type=135,actions=output:12",
    "priority=20,in_port=1,ip,nw_dst=10.0.1.1,actions=output:11",
    "priority=20,in_port=1,ipv6,ipv6_dst=fd01::1,actions=output:11",
    "priority=10,in_port=1,ip,nw_dst=10.0.2.0/24,actions=set_field:02:00:00:00:00:f2->eth_src,\
     set_field:02:00:00:00:00:02->eth_dst,dec_ttl,output:2",
    "priority=10,in_port=2,ip,nw_dst=10.0.1.0/24,actions=dec_ttl,\
     set_field:02:00:00:00:00:f1->eth_src,set_field:02:00:00:00:00:01->eth_dst,output:1",
    "priority=10,in_port=1,ipv6,ipv6_dst=fd02::/64,actions=set_field:02:00:00:00:00:f2->eth_src,\
     set_field:02:00:00:00:00:02->eth_dst,dec_ttl,output:2",
    "priority=10,in_port=2,ipv6,ipv6_dst=fd01::/64,actions=dec_ttl,\
     set_field:02:00:00:00:00:f1->eth_src,set_field:02:00:00:00:00:01->eth_dst,output:1",
    "priority=1,in_port=1,actions=output:11",
    "priority=1,in_port=2,actions=output:12",
];

fn started() -> (Daemon, [Netns; 2]) {
    let (switch, hosts) = hosts::<2>();
    let daemon = Daemon::start_in(switch, &bridge(2, &[router(1), router(2)]));
    add_flows(&daemon, "br0", FLOWS);
    (daemon, hosts)
}

#[test]
fn routing_addresses_of_the_switch_answer_arp_nd_and_echo() {
    let (daemon, [h1, h2]) = started();
    let seen = capture(&h1, daemon.scratch());
    assert!(is_found(&h1, "10.0.1.1"), "ARP");
    for address in ["10.0.1.1", "fd01::1"] {
        assert!(h1.pings(address), "{address}");
        assert!(h1.pings_with(address, &["-s", "1400", "-p", "a5"]), "long");
        assert!(h1.pings_with(address, &["-s", "1", "-Q", "0x28"]), "odd");
    }
    for address in ["10.0.2.7", "fd02::7", "10.0.2.7"] {
        assert!(h1.pings(address), "{address} by way of the router");
    }
    assert!(h2.pings("10.0.1.7"), "and back");
    assert!(!is_found(&h1, "10.0.1.9"), "nobody's address");
    let mac = "eth.src == 02:00:00:00:00:f1";
    seen.wait(&format!("arp.opcode == 2 && {mac}"), &["arp"]);
    let told = seen.wait("icmpv6.type == 136", &["icmpv6.nd.na.flag.s", "eth.src"]);
    assert!(
        told.iter().all(|row| row[1] == "02:00:00:00:00:f1"),
        "{told:?}"
    );
    assert_right(&seen);
    let ports = daemon.json(&["stats"]);
    let ports = ports["ports"].as_array().expect("ports");
    let r1 = ports
        .iter()
        .find(|port| port["name"] == "r1")
        .expect("it is counted");
    assert!(r1["rx"]["packets"].as_u64() >= Some(8), "{r1}");
    assert!(
        r1["tx"]["packets"].as_u64() >= r1["rx"]["packets"].as_u64(),
        "{r1}"
    );
    daemon.stop();
}

#[test]
fn routing_errors_of_a_router_come_from_the_switch() {
    let (daemon, [h1, h2]) = started();
    let seen = capture(&h1, daemon.scratch());
    assert!(h1.pings("10.0.2.7") && h1.pings("fd02::7"), "the ways");
    for (address, router) in [("10.0.2.7", "10.0.1.1"), ("fd02::7", "fd01::1")] {
        let told = ping(&h1, address, &["-t", "1"]);
        assert!(told.contains(&format!("From {router}")), "{told}");
        assert!(
            told.contains("Time to live exceeded") || told.contains("Hop limit"),
            "{told}"
        );
    }
    assert_eq!(
        route(&h1, "traceroute", "10.0.2.7"),
        ["10.0.1.1", "10.0.2.7"]
    );
    assert_eq!(
        route(&h2, "traceroute", "10.0.1.7"),
        ["10.0.2.1", "10.0.1.7"]
    );
    assert_eq!(route(&h1, "traceroute6", "fd02::7"), ["fd01::1", "fd02::7"]);
    assert_eq!(route(&h1, "traceroute", "10.0.1.1"), ["10.0.1.1"]);
    assert_eq!(route(&h1, "traceroute6", "fd01::1"), ["fd01::1"]);
    let told = ping(&h1, "192.0.2.9", &[]);
    assert!(
        told.contains("From 10.0.1.1") && told.contains("Net Unreachable"),
        "{told}"
    );
    let told = ping(&h1, "2001:db8::9", &[]);
    assert!(
        told.contains("From fd01::1") && told.contains("No route"),
        "{told}"
    );
    let quoted = ["icmp.type", "icmp.code", "ip.src", "ip.dst"];
    let rows = seen.wait("icmp.type == 3 && icmp.code == 0", &quoted);
    assert!(
        rows.iter().all(|row| row[2] == "10.0.1.1;10.0.1.7"),
        "{rows:?}"
    );
    assert!(
        rows.iter().all(|row| row[3] == "10.0.1.7;192.0.2.9"),
        "{rows:?}"
    );
    assert_right(&seen);
    daemon.stop();
}

/// Echo requests to the router and to where no route leads, as many as can be sent: however little
/// time a busy machine has for it, more than the router answers.
const FLOOD: &str = "
import itertools, socket
flood = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
request = bytes.fromhex('0800f7ff00000000')
for address in itertools.cycle(('10.0.1.1', '192.0.2.9')):
    flood.sendto(request, (address, 0))";

#[test]
fn routing_a_flood_of_requests_keeps_no_other_port_from_the_router() {
    let (daemon, [h1, h2]) = started();
    assert!(h1.pings("10.0.1.1") && h2.pings("10.0.2.1"));
    let flood = h1.words(&["python3", "-c", FLOOD]);
    let flood = Background::start(&flood, &daemon.scratch().join("flood.log"));
    let refused = || {
        let stats = daemon.json(&["stats"]);
        let ports = stats["ports"].as_array().expect("ports");
        let r1 = ports
            .iter()
            .find(|port| port["name"] == "r1")
            .expect("it is counted");
        r1["tx"]["drops"].as_u64().unwrap_or(0)
    };
    tests::eventually("the flood is cut", 60, || (refused() > 100).then_some(()));
    assert!(h2.pings("10.0.2.1"), "the other host's router");
    tests::eventually("the other host hears of an error", 60, || {
        let told = ping(&h2, "192.0.2.9", &[]);
        told.contains("Net Unreachable").then_some(())
    });
    let flows = daemon.ofctl("dump-flows", "br0", &[]).expect_success();
    assert!(
        flows.contains("actions=output:11"),
        "control answers: {flows}"
    );
    drop(flood);
    assert!(
        h1.pings("10.0.1.1"),
        "the flooding host's router, afterwards"
    );
    daemon.stop();
}

#[test]
fn routing_addresses_answer_in_a_learning_bridge_and_its_vlans() {
    let switch = Netns::new("sw");
    let hosts = [10, 20].map(|vlan| {
        let host = Netns::new(&format!("v{vlan}"));
        switch.veth(&format!("p{vlan}"), &host, "eth0");
        host.ip(&format!("addr add 10.0.0.{vlan}/24 dev eth0"));
        host
    });
    let config = "[[bridge]]\nname = \"br0\"\n\
        [[bridge.port]]\nname = \"p10\"\ntype = \"system\"\ntag = 10\n\
        [[bridge.port]]\nname = \"p20\"\ntype = \"system\"\ntag = 20\n\
        [[bridge.port]]\nname = \"gw10\"\ntype = \"endpoint\"\ntag = 10\n\
        options.addresses = \"10.0.0.1/24\"\n\
        [[bridge.port]]\nname = \"gw20\"\ntype = \"endpoint\"\ntag = 20\n\
        options.addresses = \"10.0.0.2/24\"\n";
    let daemon = Daemon::start_in(switch, config);
    assert!(hosts[0].pings("10.0.0.1"), "its own VLAN's");
    assert!(hosts[1].pings("10.0.0.2"), "its own VLAN's");
    assert!(hosts[0].is_cut_off_from("10.0.0.2"), "another VLAN's");
    let macs = daemon.vsctl(&["mac", "dump", "br0"]).expect_success();
    assert!(macs.contains("gw10"), "{macs}");
    daemon
        .vsctl(&["port", "set", "br0", "gw10", "--down"])
        .expect_success();
    assert!(hosts[0].is_cut_off_from("10.0.0.1"), "taken down");
    daemon
        .vsctl(&["port", "del", "br0", "gw20"])
        .expect_success();
    assert!(hosts[1].is_cut_off_from("10.0.0.2"), "removed");
    daemon.stop();
}

#[test]
fn routing_addresses_of_a_bridge_itself() {
    let (switch, [h1]) = hosts::<1>();
    let config = "[[bridge]]\nname = \"br0\"\n\
        [[bridge.port]]\nname = \"br0\"\ntype = \"endpoint\"\n\
        options = { addresses = \"10.0.1.1/24,fd01::1/64\", mac = \"02:00:00:00:00:f1\" }\n\
        [[bridge.port]]\nname = \"p1\"\ntype = \"system\"\n";
    let daemon = Daemon::start_in(switch, config);
    assert!(h1.pings("10.0.1.1") && h1.pings("fd01::1"));
    assert!(
        !daemon
            .netns()
            .run(&["ip", "link", "show", "br0"])
            .status
            .success(),
        "no netdev"
    );
    let ports = daemon.ofctl("dump-ports-desc", "br0", &[]).expect_success();
    assert!(
        ports.contains("LOCAL(br0): addr:02:00:00:00:00:f1"),
        "{ports}"
    );
    daemon.stop();
}
