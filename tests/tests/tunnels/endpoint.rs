//! Tunnels by an address of the switch's own, where the node's kernel has none on that network.
//!
//! ```text
//!   guest (10.1.0.1) eth0 ── g1 ┐ br-int, tun ┐                             ┌ v0 (10.1.0.2)
//!                               └ br-phy ─────┴ u1 ── eth0 172.16.0.2, fd16::2, far
//!   br-phy's own port is an endpoint: 172.16.0.1, fd16::1
//! ```

use super::kernel::vxlan;
use super::*;

/// A node without an address, whose tunnel and endpoint have these options besides.
pub fn scene(remote: &str, tunnel: &str, endpoint: &str) -> Scene {
    let (node, guest, far) = (Netns::new("sw"), Netns::new("guest"), Netns::new("far"));
    node.veth("g1", &guest, "eth0");
    node.veth("u1", &far, "eth0");
    guest.ip("addr add 10.1.0.1/24 dev eth0");
    far.ip("addr add 172.16.0.2/24 dev eth0");
    far.ip("addr add fd16::2/64 dev eth0 nodad");
    let bridges = format!(
        "[[bridge]]\nname = \"br-int\"\n\
         [[bridge.port]]\nname = \"g1\"\ntype = \"system\"\n\
         [[bridge.port]]\nname = \"tun\"\ntype = \"vxlan\"\n\
         options = {{ remote_ip = \"{remote}\", key = 42{tunnel} }}\n\
         [[bridge]]\nname = \"br-phy\"\n\
         [[bridge.port]]\nname = \"br-phy\"\ntype = \"endpoint\"\n\
         options = {{ addresses = \"172.16.0.1/24,fd16::1/64\"{endpoint} }}\n\
         [[bridge.port]]\nname = \"u1\"\ntype = \"system\"\n"
    );
    let daemon = Daemon::start_in(node, &bridges);
    Scene { daemon, guest, far }
}

#[test]
fn tunnels_by_an_address_of_the_switch() {
    for (own, remote) in [("172.16.0.1", "172.16.0.2"), ("fd16::1", "fd16::2")] {
        let Scene { daemon, guest, far } = scene(remote, "", "");
        guest.ip("link set eth0 mtu 1400");
        vxlan(&far, 42, own, "");
        let log = || daemon.vsctl(&["stats"]).stdout + &daemon.log();
        assert!(guest.pings("10.1.0.2"), "{own}: {}", log());
        assert!(far.pings("10.1.0.1"), "{own}, back: {}", log());
        assert!(far.pings(own), "{own} itself");
        // The far end has another Ethernet address, and says so by asking.
        far.ip("link set eth0 address 02:00:00:00:00:77");
        assert!(far.pings(own), "{own} from another address");
        assert!(
            guest.pings("10.1.0.2"),
            "{own}: the neighbour has moved: {}",
            log()
        );
        daemon.stop();
    }
}
