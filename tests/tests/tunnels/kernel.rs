//! The kernel's tunnel devices at the other end.

use super::*;

/// A VXLAN device of the stranger's with this VNI, the underlay's addresses and further options.
fn vxlan(far: &Netns, vni: u32, remote: &str, options: &str) {
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

/// Whether tshark said so: versions differ in how they print a flag.
fn same(told: &str, expected: &str) -> bool {
    told == expected || matches!((told, expected), ("0", "False") | ("1", "True"))
}
