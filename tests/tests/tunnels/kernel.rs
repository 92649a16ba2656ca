//! The kernel's tunnel devices at the other end.

use super::*;

/// A VXLAN device of the stranger's with this VNI, the underlay's addresses and further options.
pub fn vxlan(far: &Netns, vni: u32, remote: &str, options: &str) {
    far.ip(&format!(
        "link add v0 type vxlan id {vni} dstport 4789 remote {remote} dev eth0 {options}"
    ));
    far.ip("link set v0 mtu 1400");
    far.ip("addr add 10.1.0.2/24 dev v0");
    far.ip("link set v0 up");
}

#[test]
fn tunnels_vxlan_of_the_kernel_over_ipv4() {
    let scene =
        Scene::start("type = \"vxlan\"\noptions = { remote_ip = \"172.16.0.2\", key = 42 }");
    vxlan(&scene.far, 42, "172.16.0.1", "");
    scene.check(&scene.far);
    scene.daemon.stop();
}

#[test]
fn tunnels_vxlan_of_the_kernel_over_ipv6() {
    let scene = Scene::start("type = \"vxlan\"\noptions = { remote_ip = \"fd16::2\", key = 42 }");
    vxlan(&scene.far, 42, "fd16::1", "");
    scene.check(&scene.far);
    let file = scene.capture(|| scene.check_ping());
    let columns = ["vxlan.vni", "udp.checksum.status"];
    let rows = dissect(&file, "vxlan && ipv6.src == fd16::1", &columns);
    assert!(!rows.is_empty());
    assert!(rows.iter().all(|row| row == &["42", "1"]), "{rows:?}");
    scene.daemon.stop();
}

#[test]
fn tunnels_vxlan_of_the_kernel_with_checksums_and_another_port() {
    let scene = Scene::start(
        "type = \"vxlan\"\noptions = { remote_ip = \"172.16.0.2\", key = 42, csum = true, \
         local_ip = \"172.16.0.1\", tos = 0x20, ttl = 9, df_default = false }",
    );
    vxlan(&scene.far, 42, "172.16.0.1", "udpcsum");
    scene.check(&scene.far);
    let file = scene.capture(|| {
        scene.check_ping();
        let flood = ["-f", "-c", "20", "-Q", "0xff"];
        assert!(scene.guest.pings_with("10.1.0.2", &flood));
    });
    let filter = "vxlan && ip.src == 172.16.0.1";
    let columns = [
        "ip.ttl",
        "ip.dsfield.dscp",
        "ip.flags.df",
        "ip.checksum.status",
    ];
    let rows = dissect(
        &file,
        filter,
        &[&columns[..], &["udp.checksum.status"]].concat(),
    );
    assert!(rows.len() >= 20, "{rows:?}");
    let expected = ["9", "8", "False", "1", "1"];
    let alike = |row: &Vec<String>| row.iter().zip(expected).all(|(a, b)| same(a, b));
    assert!(rows.iter().all(alike), "{rows:?}");
    scene.daemon.stop();
}

/// Sends two datagrams of each of 50 flows with each mark of congestion through the tunnel, so
/// slowly that whoever has little of a CPU loses none.
const SEND: &str = "
import socket, time
for flow in range(200):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x28 | flow // 50)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 33)
    for _ in range(2):
        s.sendto(b'datagram', ('10.1.0.2', 20000 + flow))
    time.sleep(0.01)
";

/// RFC 6040 §4.1, RFC 7348 §5: marks of congestion and what else is inherited are those of the
/// packet within; each flow has a source port of its own.
#[test]
fn tunnels_tell_outside_what_the_packet_within_is() {
    let scene = Scene::start(
        "type = \"vxlan\"\noptions = { remote_ip = \"172.16.0.2\", key = 42, tos = \"inherit\", \
         ttl = \"inherit\" }",
    );
    vxlan(&scene.far, 42, "172.16.0.1", "");
    scene.check_ping();
    let file = scene.capture(|| {
        let words = ["python3", "-c", SEND];
        scene.guest.run(&words).expect_success();
        scene.check_ping();
    });
    for mark in 0..4 {
        let (first, last) = (20_000 + 50 * mark, 20_049 + 50 * mark);
        let filter = format!("ip.src == 172.16.0.1 && udp.dstport in {{{first}..{last}}}");
        let columns = ["ip.dsfield.dscp", "ip.dsfield.ecn", "ip.ttl", "udp.srcport"];
        let rows = dissect(&file, &filter, &columns);
        assert_eq!(rows.len(), 100, "{mark}: {rows:?}");
        let told = ["10", &mark.to_string(), "33"].map(str::to_owned);
        assert!(rows.iter().all(|row| row[..3] == told), "{mark}: {rows:?}");
        let ports: Vec<u16> = rows.iter().map(|row| row[3].parse().unwrap()).collect();
        assert!(ports.as_chunks::<2>().0.iter().all(|[a, b]| a == b));
        let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
        assert!(distinct.len() >= 45 && ports.iter().all(|port| *port >= 49_152));
    }
    scene.daemon.stop();
}

/// The other end behind routers that come and go: the kernel's routes and neighbours are followed.
#[test]
fn tunnels_follow_routes_and_neighbours() {
    let scene = Scene::start("type = \"vxlan\"\noptions = { remote_ip = \"192.0.2.9\", key = 42 }");
    let (node, far) = (scene.daemon.netns(), &scene.far);
    far.ip("addr add 192.0.2.9/32 dev lo");
    far.ip("link set lo up");
    far.ip("addr add 172.16.0.3/24 dev eth0");
    node.ip("route add 192.0.2.9/32 via 172.16.0.2");
    vxlan(far, 42, "172.16.0.1", "local 192.0.2.9");
    scene.check_ping();
    let dropped = |reason: &str| {
        eventually("packets go nowhere, and are counted", 30, || {
            let is_lost = scene.guest.is_cut_off_with("10.1.0.2", &["-c", "1"]);
            (is_lost && scene.told().contains(reason)).then_some(())
        });
    };
    let passed = || assert!(scene.guest.pings("10.1.0.2"), "{}", scene.told());
    node.ip("route replace 192.0.2.9/32 via 172.16.0.77");
    dropped("no_neighbour");
    node.ip("route replace 192.0.2.9/32 via 172.16.0.3");
    passed();
    node.ip("route replace unreachable 192.0.2.0/24");
    passed();
    node.ip("route del 192.0.2.9/32");
    dropped("no_route");
    // Of several next hops any will do, but for those whose device is down.
    node.ip("route add 192.0.2.9/32 nexthop via 172.16.0.2 weight 2 nexthop via 172.16.0.3");
    passed();
    // Another host takes the next hop over, and shows itself by asking.
    node.ip("route replace 192.0.2.9/32 via 172.16.0.2");
    far.ip("link set eth0 address 02:00:00:00:00:77");
    far.ip("neigh flush dev eth0");
    assert!(far.pings("172.16.0.1"), "{}", scene.told());
    passed();
    scene.daemon.stop();
}

/// Whether tshark said so: versions differ in how they print a flag.
fn same(told: &str, expected: &str) -> bool {
    told == expected || matches!((told, expected), ("0", "False") | ("1", "True"))
}
