//! What is too big for its tunnel, and what kernels leave to be cut.

use super::kernel::vxlan;
use super::*;

/// A scene whose guest takes its link for one of 1500 bytes.
fn scene(remote: &str, more: &str) -> Scene {
    let scene = Scene::start(&format!(
        "type = \"vxlan\"\noptions = {{ remote_ip = \"{remote}\", key = 42{more} }}"
    ));
    scene.guest.ip("link set eth0 mtu 1500");
    scene.guest.ip("addr add fd10::1/64 dev eth0 nodad");
    scene
}

/// A ping of so many bytes of IP that must not be fragmented; what is printed.
fn ping(guest: &Netns, address: &str, bytes: u32) -> String {
    let header = if address.contains(':') { 48 } else { 28 };
    let size = (bytes - header).to_string();
    let words = [
        "ping", "-M", "do", "-c", "1", "-W", "2", "-s", &size, address,
    ];
    let output = guest.run(&words);
    output.stdout + &output.stderr
}

/// The kernel of who sent it, which looks at every byte of an ICMP error before it believes it,
/// learns how long its packets may be: 14 to 70 bytes less than the underlay takes, which are the
/// outer headers.
#[test]
fn tunnels_tell_senders_of_what_is_too_big() {
    for (own, remote, mtu) in [
        ("172.16.0.1", "172.16.0.2", 1450),
        ("fd16::1", "fd16::2", 1430),
    ] {
        let scene = scene(remote, ", pmtud = true");
        vxlan(&scene.far, 42, own, "");
        scene.far.ip("addr add fd10::2/64 dev v0 nodad");
        scene.check_ping();
        assert!(scene.guest.pings("fd10::2"), "{}", scene.told());
        for address in ["10.1.0.2", "fd10::2"] {
            let told = ping(&scene.guest, address, mtu + 1);
            assert!(told.contains("0 received"), "{told}");
            let route = scene.guest.ip(&format!("route get {address}"));
            assert!(route.contains(&format!("mtu {mtu} ")), "{told}\n{route}");
            let passed = ping(&scene.guest, address, mtu);
            assert!(passed.contains("1 received"), "{passed}\n{}", scene.told());
        }
        assert!(scene.told().contains("too_big"), "{}", scene.told());
        scene.daemon.stop();
    }
}

/// A TCP connection whose ends both believe in 1500 bytes, with super-frames.
#[test]
fn tunnels_tell_tcp_how_long_segments_may_be() {
    let scene = scene("172.16.0.2", ", pmtud = true");
    // Its own packets are short ones.
    scene.far.ip("link set eth0 mtu 1550");
    vxlan(&scene.far, 42, "172.16.0.1", "");
    scene.far.ip("link set v0 mtu 1500");
    scene.check_ping();
    tcp(&scene.guest, &scene.far, "10.1.0.2", scene.daemon.scratch());
    let told = scene.told();
    assert!(
        told.contains("too_big") && !told.contains("malformed"),
        "{told}"
    );
    scene.daemon.stop();
}

#[test]
fn tunnels_only_count_what_is_too_big_where_nobody_asked_for_more() {
    let scene = scene("172.16.0.2", "");
    vxlan(&scene.far, 42, "172.16.0.1", "");
    scene.check_ping();
    let told = ping(&scene.guest, "10.1.0.2", 1451);
    assert!(
        told.contains("0 received") && !told.contains("mtu"),
        "{told}"
    );
    assert!(scene.told().contains("too_big"), "{}", scene.told());
    let passed = ping(&scene.guest, "10.1.0.2", 1450);
    assert!(passed.contains("1 received"), "{passed}");
    // A smaller link, and a route that says less, count at once.
    let is_limited_to = |mtu: u32| {
        eventually("the path takes less", 30, || {
            let passed = ping(&scene.guest, "10.1.0.2", mtu - 50);
            let stopped = ping(&scene.guest, "10.1.0.2", mtu - 49);
            (passed.contains("1 received") && stopped.contains("0 received")).then_some(())
        });
    };
    let node = scene.daemon.netns();
    node.ip("link set br-phy mtu 1450");
    is_limited_to(1450);
    node.ip("route add 172.16.0.2/32 dev br-phy mtu 1400");
    is_limited_to(1400);
    scene.daemon.stop();
}

/// ```text
///   guest ── node ── eth0 far, a router, r1 (1400 bytes) ── eth0 end, v0
/// ```
#[test]
fn tunnels_believe_routers_that_let_less_pass() {
    for (own, near, remote, mtu) in [
        ("172.16.0.1", "172.16.0.2", "192.0.2.2", 1350),
        ("fd16::1", "fd16::2", "fd19::2", 1330),
    ] {
        let Scene { daemon, guest, far } = scene(remote, ", pmtud = true");
        let end = behind_router(&far);
        vxlan(&end, 42, own, "");
        daemon.netns().ip(&format!("route add {remote} via {near}"));
        check_path(&daemon, &guest, mtu);
        daemon.stop();
    }
}

/// Without `df_default` a router on the way cuts packets, and the kernel behind it puts them
/// together. Pieces that come are not put together here, but dropped and counted.
#[test]
fn tunnels_let_routers_cut_what_may_be_cut_and_take_no_pieces() {
    let scene = scene("192.0.2.2", ", df_default = false");
    let end = behind_router(&scene.far);
    // What the kernel wraps may be longer than its link takes.
    end.ip("link set eth0 mtu 1600");
    vxlan(&end, 42, "172.16.0.1", "");
    end.ip("link set v0 mtu 1500");
    end.ip("link set eth0 mtu 1400");
    let node = scene.daemon.netns();
    node.ip("route add 192.0.2.2 via 172.16.0.2");
    scene.check_ping();
    assert!(
        !scene.told().contains("tunnel_fragment"),
        "{}",
        scene.told()
    );
    let echoes = || -> u64 {
        let told = end.run(&["nstat", "-asz", "IcmpInEchos"]).expect_success();
        let words: Vec<&str> = told.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "IcmpInEchos");
        let count = at.and_then(|at| words.get(at + 1)?.parse().ok());
        count.expect("a counter")
    };
    let before = echoes();
    let told = ping(&scene.guest, "10.1.0.2", 1450);
    assert!(told.contains("0 received"), "{told}");
    assert_eq!(echoes(), before + 1, "{}", scene.told());
    assert!(scene.told().contains("tunnel_fragment"), "{}", scene.told());
    scene.daemon.stop();
}

/// The guest learns that the path to the far end takes packets of `mtu` bytes, which pass.
#[track_caller]
fn check_path(daemon: &Daemon, guest: &Netns, mtu: u32) {
    let told = || daemon.vsctl(&["stats"]).stdout + &daemon.log();
    assert!(guest.pings("10.1.0.2"), "{}", told());
    eventually("the guest is told what the router lets pass", 30, || {
        let route = guest.ip("route get 10.1.0.2");
        let is_told = route.contains(&format!("mtu {mtu} "));
        is_told.then_some(()).or_else(|| {
            ping(guest, "10.1.0.2", 1420);
            None
        })
    });
    let passed = ping(guest, "10.1.0.2", mtu);
    assert!(passed.contains("1 received"), "{passed}\n{}", told());
}

/// The same where the underlay's address is the switch's own, of which the node's kernel knows
/// nothing: it is the switch that the router tells.
///
/// ```text
///   guest ── br-int, tun, br-phy: endpoint ── eth0 far, a router, r1 (1400 bytes) ── eth0 end, v0
/// ```
#[test]
fn tunnels_believe_routers_that_tell_an_address_of_the_switch() {
    for (own, remote, mtu) in [
        ("172.16.0.1", "192.0.2.2", 1350),
        ("fd16::1", "fd19::2", 1330),
    ] {
        let gateways = ", gateways = \"172.16.0.2,fd16::2\"";
        let Scene { daemon, guest, far } = endpoint::scene(remote, ", pmtud = true", gateways);
        let end = behind_router(&far);
        vxlan(&end, 42, own, "");
        check_path(&daemon, &guest, mtu);
        daemon.stop();
    }
}

/// A host behind a router whose link to it is narrow.
pub fn behind_router(router: &Netns) -> Netns {
    let end = Netns::new("end");
    router.veth("r1", &end, "eth0");
    router.ip("link set r1 mtu 1400");
    router.ip("addr add 192.0.2.1/24 dev r1");
    router.ip("addr add fd19::1/64 dev r1 nodad");
    for family in ["ipv4.ip_forward", "ipv6.conf.all.forwarding"] {
        let setting = format!("net.{family}=1");
        router.run(&["sysctl", "-w", &setting]).expect_success();
    }
    end.ip("addr add 192.0.2.2/24 dev eth0");
    end.ip("addr add fd19::2/64 dev eth0 nodad");
    end.ip("route add default via 192.0.2.1");
    end.ip("-6 route add default via fd19::1");
    end
}

/// What the guest's own kernel wrapped and left to be cut is wrapped again.
#[test]
fn tunnels_carry_tunnels_of_a_guest_that_leaves_frames_to_be_cut() {
    for more in ["", "udpcsum"] {
        let scene = scene("172.16.0.2", "");
        vxlan(&scene.far, 42, "172.16.0.1", "");
        scene.check_ping();
        let ends = [
            (&scene.guest, "eth0", "10.1.0.1", "10.1.0.2", "10.2.0.1"),
            (&scene.far, "v0", "10.1.0.2", "10.1.0.1", "10.2.0.2"),
        ];
        for (host, device, local, remote, inner) in ends {
            host.ip(&format!(
                "link add t1 type vxlan id 7 dstport 4789 local {local} remote {remote} \
                 dev {device} {more}"
            ));
            host.ip("link set t1 mtu 1300");
            host.ip(&format!("addr add {inner}/24 dev t1"));
            host.ip("link set t1 up");
        }
        assert!(scene.guest.pings("10.2.0.2"), "{}", scene.told());
        tcp(&scene.guest, &scene.far, "10.2.0.2", scene.daemon.scratch());
        tcp(&scene.far, &scene.guest, "10.2.0.1", scene.daemon.scratch());
        let told = scene.told();
        assert!(
            !told.contains("malformed") && !told.contains("too_long"),
            "{more}: {told}"
        );
        scene.daemon.stop();
    }
}
