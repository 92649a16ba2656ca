//! Open vSwitch at the other end, on its userspace datapath.

use super::*;
use tests::Ovs;

/// An Open vSwitch in the stranger's namespace whose guest has 10.1.0.2, behind a tunnel port with
/// these settings.
#[track_caller]
pub fn stranger(far: Netns, settings: &[&str]) -> (Ovs, Netns) {
    let guest = Netns::new("guest2");
    far.veth("g2", &guest, "eth0");
    guest.ip("link set eth0 mtu 1400");
    guest.ip("addr add 10.1.0.2/24 dev eth0");
    far.ip("addr flush dev eth0");
    let ovs = Ovs::start_without_dpdk(far);
    ovs.add_bridge("br-phy", &[]);
    ovs.vsctl(&["add-port", "br-phy", "eth0"]);
    ovs.add_bridge("br-int", &[]);
    ovs.vsctl(&["add-port", "br-int", "g2"]);
    ovs.add_interface("br-int", "tun", settings);
    let far = ovs.netns();
    far.ip("link set br-phy up");
    far.ip("addr add 172.16.0.2/24 dev br-phy");
    far.ip("addr add fd16::2/64 dev br-phy nodad");
    (ovs, guest)
}

/// Each type over an address of each family, with a key.
#[track_caller]
fn check(kind: &str, (ours, theirs): (&str, &str), options: &str) {
    let settings =
        format!("type = \"{kind}\"\noptions = {{ remote_ip = \"{theirs}\", {options} }}");
    let Scene { daemon, guest, far } = Scene::start(&settings);
    let remote = format!("options:remote_ip=\"{ours}\"");
    let kind = format!("type={kind}");
    let (ovs, other) = stranger(far, &[&kind, &remote, "options:key=77"]);
    // One flow at a time: the first packets may go before either end knows its neighbour.
    assert!(
        guest.pings("10.1.0.2"),
        "{}",
        daemon.vsctl(&["stats"]).stdout
    );
    assert!(
        other.pings("10.1.0.1"),
        "{}",
        daemon.vsctl(&["stats"]).stdout
    );
    drop(ovs);
    daemon.stop();
}

const IPV4: (&str, &str) = ("172.16.0.1", "172.16.0.2");
const IPV6: (&str, &str) = ("fd16::1", "fd16::2");

#[test]
fn tunnels_geneve_of_open_vswitch_over_ipv4() {
    check("geneve", IPV4, "key = 77, csum = true");
}

#[test]
fn tunnels_geneve_of_open_vswitch_over_ipv6() {
    check("geneve", IPV6, "key = 77");
}

#[test]
fn tunnels_gre_of_open_vswitch_over_ipv4() {
    check("gre", IPV4, "key = 77, csum = true");
}

#[test]
fn tunnels_gre_of_open_vswitch_over_ipv6() {
    check("gre", IPV6, "key = 77");
}

#[test]
fn tunnels_vxlan_of_open_vswitch_over_ipv6() {
    check("vxlan", IPV6, "key = 77");
}
