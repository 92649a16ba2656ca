//! What flows alone do of a router: answer for its addresses, route by source, and spread over
//! several next hops.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tests::Background;

use super::*;

/// ARP and echo by flows: what came is turned into its answer and goes back where it came from.
const RESPONDERS: &[&str] = &[
    "priority=20,arp,arp_tpa=10.0.1.1,arp_op=1,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],\
     mod_dl_src:02:00:00:00:00:f1,load:0x2->NXM_OF_ARP_OP[],\
     move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],\
     load:0x0200000000f1->NXM_NX_ARP_SHA[],load:0x0a000101->NXM_OF_ARP_SPA[],in_port",
    "priority=20,icmp,nw_dst=10.0.1.1,icmp_type=8,icmp_code=0,actions=\
     push:NXM_OF_ETH_SRC[],push:NXM_OF_ETH_DST[],pop:NXM_OF_ETH_SRC[],pop:NXM_OF_ETH_DST[],\
     push:NXM_OF_IP_SRC[],push:NXM_OF_IP_DST[],pop:NXM_OF_IP_SRC[],pop:NXM_OF_IP_DST[],\
     load:0xff->NXM_NX_IP_TTL[],load:0->NXM_OF_ICMP_TYPE[],in_port",
    "priority=20,icmp6,ipv6_dst=fd01::1,icmp_type=128,icmp_code=0,actions=\
     push:NXM_OF_ETH_SRC[],push:NXM_OF_ETH_DST[],pop:NXM_OF_ETH_SRC[],pop:NXM_OF_ETH_DST[],\
     push:NXM_NX_IPV6_SRC[],push:NXM_NX_IPV6_DST[],pop:NXM_NX_IPV6_SRC[],\
     pop:NXM_NX_IPV6_DST[],set_field:129->icmpv6_type,in_port",
];

#[test]
fn routing_flows_answer_arp_and_echo() {
    let (switch, [h1]) = hosts::<1>();
    let daemon = Daemon::start_in(switch, &bridge(1, &[]));
    add_flows(&daemon, "br0", RESPONDERS);
    let seen = capture(&h1, daemon.scratch());
    assert!(is_found(&h1, "10.0.1.1"), "ARP");
    assert!(h1.pings_with("10.0.1.1", &["-s", "1333"]), "echo");
    h1.ip("neigh replace fd01::1 lladdr 02:00:00:00:00:f1 dev eth0");
    assert!(h1.pings_with("fd01::1", &["-s", "1333"]), "echo over IPv6");
    let told = seen.wait("arp.opcode == 2", &["arp.src.hw_mac", "arp.src.proto_ipv4"]);
    assert_eq!(told[0], ["02:00:00:00:00:f1", "10.0.1.1"]);
    assert_right(&seen);
    daemon.stop();
}

/// A neighbour solicitation becomes the advertisement that answers it: its option, the asker's
/// link-layer address, becomes the target's.
const ND_RESPONDER: &str = "priority=20,icmp6,icmp_type=135,icmp_code=0,nd_target=fd01::1,actions=\
     move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:02:00:00:00:00:f1,\
     move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],set_field:fd01::1->ipv6_src,\
     set_field:02:00:00:00:00:f1->nd_sll,set_field:2->nd_options_type,\
     set_field:0xe0000000->nd_reserved,set_field:136->icmpv6_type,in_port";

#[test]
fn routing_flows_answer_neighbour_discovery() {
    let (switch, [h1]) = hosts::<1>();
    let daemon = Daemon::start_in(switch, &bridge(1, &[]));
    add_flows(&daemon, "br0", &[RESPONDERS[2], ND_RESPONDER]);
    let seen = capture(&h1, daemon.scratch());
    // The kernel asks, and believes no answer that is wrong.
    assert!(h1.pings("fd01::1"), "{}", daemon.log());
    let known = h1.ip("-6 neigh show fd01::1 dev eth0");
    assert!(
        known.contains("lladdr 02:00:00:00:00:f1") && known.contains("router"),
        "{known}"
    );
    let columns = [
        "ipv6.src",
        "icmpv6.nd.na.target_address",
        "icmpv6.opt.linkaddr",
    ];
    let told = seen.wait("icmpv6.type == 136", &columns);
    assert_eq!(told[0], ["fd01::1", "fd01::1", "02:00:00:00:00:f1"]);
    assert_right(&seen);
    assert!(!h1.pings("fd01::9"), "nobody's address");
    daemon.stop();
}

/// A host h1 in a network of its own, and h2 that has two devices, to p2 and p3, with the address
/// 10.9.0.9 behind both.
fn two_ways() -> (Netns, [Netns; 2]) {
    let (switch, [h1, h2]) = hosts::<2>();
    switch.veth("p3", &h2, "eth1");
    h2.ip("link set eth1 address 02:00:00:00:00:03");
    h2.ip("addr add 10.9.0.9/32 dev lo");
    h2.ip("addr add fd09::9/128 dev lo");
    for device in ["all", "eth0", "eth1"] {
        let loose = format!("net.ipv4.conf.{device}.rp_filter=0");
        h2.run(&["sysctl", "-qw", &loose]).expect_success();
    }
    h1.ip("neigh replace 10.0.1.1 lladdr 02:00:00:00:00:f1 dev eth0");
    h2.ip("neigh replace 10.0.2.1 lladdr 02:00:00:00:00:f2 dev eth0");
    h1.ip("neigh replace fd01::1 lladdr 02:00:00:00:00:f1 dev eth0");
    h2.ip("neigh replace fd02::1 lladdr 02:00:00:00:00:f2 dev eth0");
    (switch, [h1, h2])
}

/// How often of so many times the web server at `address` serves `client`.
fn fetch(client: &Netns, address: &str, times: usize) -> usize {
    let url = format!("http://{address}/index.html");
    let once = |_: &usize| {
        let words = ["curl", "-sS", "-m", "20", &url];
        client.run(&words).stdout == "served"
    };
    (0..times).filter(once).count()
}

fn serve(host: &Netns, folder: &Path) -> Background {
    let pages: PathBuf = folder.join("pages");
    std::fs::create_dir(&pages).expect("room for a page");
    std::fs::write(pages.join("index.html"), "served").expect("room for a page");
    let pages = pages.to_str().expect("paths here are text");
    let words = ["busybox", "httpd", "-f", "-p", "80", "-h", pages];
    host.serve(&words, "-t", 80, &folder.join("httpd.log"))
}

#[test]
fn routing_flows_spread_connections_over_two_next_hops() {
    let (switch, [h1, h2]) = two_ways();
    let daemon = Daemon::start_in(switch, &bridge(3, &[]));
    let bucket = |port| {
        format!(
            "bucket=actions=set_field:02:00:00:00:00:0{port}->eth_dst,\
             set_field:02:00:00:00:00:f2->eth_src,dec_ttl,output:{port}"
        )
    };
    let group = format!("group_id=1,type=select,{},{}", bucket(2), bucket(3));
    daemon.ofctl("add-group", "br0", &[&group]).expect_success();
    let flows = [
        "priority=10,in_port=1,tcp,nw_dst=10.9.0.9,actions=group:1",
        "priority=10,tcp,nw_src=10.9.0.9,actions=dec_ttl,set_field:02:00:00:00:00:f1->eth_src,\
         set_field:02:00:00:00:00:01->eth_dst,output:1",
    ];
    add_flows(&daemon, "br0", &flows);
    let _server = serve(&h2, daemon.scratch());
    let [by_eth0, by_eth1] =
        ["eth0", "eth1"].map(|device| Capture::start(&h2, device, daemon.scratch()));
    assert_eq!(fetch(&h1, "10.9.0.9", 24), 24, "connections");
    let toward = "tcp.dstport == 80 && ip.dst == 10.9.0.9";
    let ports = |capture: &Capture| {
        let rows = capture.fields(toward, &["tcp.srcport"]);
        let ports = rows.into_iter().map(|mut row| row.remove(0));
        ports.collect::<BTreeSet<_>>()
    };
    by_eth0.wait(toward, &["tcp.srcport"]);
    by_eth1.wait(toward, &["tcp.srcport"]);
    let (first, second) = (ports(&by_eth0), ports(&by_eth1));
    assert!(
        first.is_disjoint(&second),
        "a connection went two ways: {first:?} {second:?}"
    );
    for capture in [&by_eth0, &by_eth1] {
        assert_eq!(capture.count("ip.ttl != 63 && ip.dst == 10.9.0.9"), 0);
    }
    daemon.stop();
}

/// What of host NUMBER a bridge routes by either of two ways, its ports 2 and 3: each rewrites the
/// Ethernet addresses by its own.
fn spread(daemon: &Daemon, bridge: &str, number: usize) {
    let other = 3 - number;
    let bucket = |way: usize| {
        format!(
            "bucket=actions=dec_ttl,set_field:02:00:00:00:0{number}:0{way}->eth_src,\
             set_field:02:00:00:00:0{other}:0{way}->eth_dst,output:{way}"
        )
    };
    let group = format!("group_id=1,type=select,{},{}", bucket(2), bucket(3));
    daemon
        .ofctl("add-group", bridge, &[&group])
        .expect_success();
    let mac = mac_of_host(number);
    let to_host = format!(
        "priority=10,ip,nw_dst=10.0.{number}.0/24,actions=dec_ttl,\
         set_field:02:00:00:00:00:f{number}->eth_src,set_field:{mac}->eth_dst,output:1"
    );
    let from_host = format!("priority=10,in_port=1,ip,nw_dst=10.0.{other}.0/24,actions=group:1");
    add_flows(daemon, bridge, &[&to_host, &from_host]);
}

/// Two bridges route between h1 and h2 by two cables, w2–x2 and w3–x3, and each chooses by itself:
/// what answers comes back the way that it was asked, TCP and echoes.
#[test]
fn routing_flows_choose_one_way_for_both_directions() {
    let (switch, [h1, h2]) = hosts::<2>();
    for way in [2, 3] {
        switch.ip(&format!("link add name w{way} type veth peer name x{way}"));
        for end in ["w", "x"] {
            switch.ip(&format!("link set dev {end}{way} up"));
        }
    }
    let bridges = [("br0", ["p1", "w2", "w3"]), ("br1", ["p2", "x2", "x3"])];
    let text = bridges.map(|(name, ports)| {
        let port = |(number, name): (usize, &str)| {
            format!("[[bridge.port]]\nname = \"{name}\"\nnumber = {number}\ntype = \"system\"\n")
        };
        let ports = (1..).zip(ports).map(port).collect::<String>();
        format!("[[bridge]]\nname = \"{name}\"\nfail_mode = \"secure\"\n{ports}")
    });
    let daemon = Daemon::start_in(switch, &text.concat());
    for (host, number) in [(&h1, 1), (&h2, 2)] {
        spread(&daemon, bridges[number - 1].0, number);
        let router = format!("10.0.{number}.1 lladdr 02:00:00:00:00:f{number}");
        host.ip(&format!("neigh replace {router} dev eth0"));
    }
    let [there, back] = ["x", "w"].map(|end| {
        [2, 3].map(|way| Capture::start(daemon.netns(), &format!("{end}{way}"), daemon.scratch()))
    });
    let _server = serve(&h2, daemon.scratch());
    assert_eq!(fetch(&h1, "10.0.2.7", 24), 24, "connections");
    for number in 20..36 {
        let own = format!("10.0.1.{number}");
        h1.ip(&format!("addr add {own}/24 dev eth0"));
        assert!(h1.pings_with("10.0.2.7", &["-I", &own]), "{own}");
    }
    // Frames are told by who h1 is in them: a port, or an address.
    let conversations = [
        (
            "tcp.dstport == 80",
            "tcp.srcport",
            "tcp.srcport == 80",
            "tcp.dstport",
            24,
        ),
        ("icmp.type == 8", "ip.src", "icmp.type == 0", "ip.dst", 16),
    ];
    for (request, asks, answer, asked, count) in conversations {
        let told = |captures: &[Capture; 2], filter: &str, column: &str| {
            captures.each_ref().map(|capture| {
                let rows = capture.fields(filter, &[column]);
                let names = rows.into_iter().map(|mut row| row.remove(0));
                names.collect::<BTreeSet<_>>()
            })
        };
        let [first, second] = tests::eventually("all have been seen, there and back", 30, || {
            let ways = told(&there, request, asks);
            let seen = ways.each_ref().map(BTreeSet::len);
            (seen[0] + seen[1] == count && ways == told(&back, answer, asked)).then_some(ways)
        });
        assert!(
            !first.is_empty() && !second.is_empty(),
            "{first:?} {second:?}"
        );
        assert!(first.is_disjoint(&second), "{first:?} {second:?}");
    }
    daemon.stop();
}

#[test]
fn routing_flows_choose_the_way_by_source() {
    let (switch, [h1, h2]) = two_ways();
    let daemon = Daemon::start_in(switch, &bridge(3, &[]));
    h1.ip("addr add 10.0.1.8/24 dev eth0");
    h1.ip("addr add fd01::8/64 dev eth0 nodad");
    let flows = [
        "priority=20,in_port=1,icmp,nw_src=10.0.1.8,nw_dst=10.9.0.9,actions=dec_ttl,\
         set_field:02:00:00:00:00:03->eth_dst,output:3",
        "priority=10,in_port=1,icmp,nw_dst=10.9.0.9,actions=dec_ttl,\
         set_field:02:00:00:00:00:02->eth_dst,output:2",
        "priority=10,icmp,nw_src=10.9.0.9,actions=dec_ttl,\
         set_field:02:00:00:00:00:01->eth_dst,output:1",
        "priority=20,in_port=1,icmp6,ipv6_src=fd01::8,ipv6_dst=fd09::9,actions=dec_ttl,\
         set_field:02:00:00:00:00:03->eth_dst,output:3",
        "priority=10,in_port=1,icmp6,ipv6_dst=fd09::9,actions=dec_ttl,\
         set_field:02:00:00:00:00:02->eth_dst,output:2",
        "priority=10,icmp6,ipv6_src=fd09::9,actions=dec_ttl,\
         set_field:02:00:00:00:00:01->eth_dst,output:1",
    ];
    add_flows(&daemon, "br0", &flows);
    let [by_eth0, by_eth1] =
        ["eth0", "eth1"].map(|device| Capture::start(&h2, device, daemon.scratch()));
    for (to, [first, second], (request, source)) in [
        (
            "10.9.0.9",
            ["10.0.1.7", "10.0.1.8"],
            ("icmp.type == 8", "ip.src"),
        ),
        (
            "fd09::9",
            ["fd01::7", "fd01::8"],
            ("icmpv6.type == 128", "ipv6.src"),
        ),
    ] {
        for own in [first, second] {
            assert!(h1.pings_with(to, &["-I", own]), "{own}");
        }
        let of = |own: &str| format!("{request} && {source} == {own}");
        by_eth0.wait(&of(first), &[source]);
        by_eth1.wait(&of(second), &[source]);
        assert_eq!(
            (by_eth0.count(&of(second)), by_eth1.count(&of(first))),
            (0, 0),
            "{to}"
        );
    }
    daemon.stop();
}
