//! A QEMU guest that leaves segmentation and checksums to be done, behind a tunnel to the kernel's
//! VXLAN device.

use tests::{Guest, GuestOptions};

use super::kernel::vxlan;
use super::*;

/// A scene with another guest, at the vhost-user port "vm" with the address 10.1.0.3.
fn scene() -> (Scene, Guest) {
    let scene = Scene::start_with(
        "standalone",
        "[[bridge.port]]\nname = \"tun\"\ntype = \"vxlan\"\n\
         options = { remote_ip = \"172.16.0.2\", key = 42 }\n\
         [[bridge.port]]\nname = \"vm\"\ntype = \"dpdkvhostuserclient\"\n\
         options = { vhost-server-path = \"RUN_DIR/vm.sock\" }\n",
    );
    let options = GuestOptions {
        address: "10.1.0.3/24".to_owned(),
        mtu: 1450,
        ..GuestOptions::new(3)
    };
    let guest = Guest::boot(options, &scene.daemon.run_dir().join("vm.sock"));
    (scene, guest)
}

#[test]
fn tunnels_carry_super_frames_of_a_guest() {
    let (scene, mut guest) = scene();
    vxlan(&scene.far, 42, "172.16.0.1", "");
    assert!(guest.pings("10.1.0.2", 30), "{}", scene.told());
    let folder = scene.daemon.scratch();
    let before = scene.daemon.received("vm");
    let file = scene.capture(|| {
        let log = folder.join("iperf3.log");
        let _server = scene.far.serve(&["iperf3", "-s", "-1"], "-t", 5201, &log);
        guest.succeed("iperf3 -c 10.1.0.2 -n 4M </dev/null 2>&1", 240);
    });
    let after = scene.daemon.received("vm");
    let mean = (after[1] - before[1]) / (after[0] - before[0]);
    assert!(mean > 3_000, "{mean} bytes on average leave the guest");

    // The wire has whole packets, as long as the far device takes them: 1400 bytes, and 64 of
    // headers around them.
    let ours = "vxlan && ip.src == 172.16.0.1 && tcp.dstport == 5201";
    let rows = dissect(&file, ours, &["frame.len"]);
    let lens: Vec<u32> = rows.iter().filter_map(|row| row[0].parse().ok()).collect();
    let longest = lens.iter().max();
    assert!(
        lens.len() > 2_000 && longest == Some(&1464),
        "{}: {longest:?}",
        lens.len()
    );

    // And back, to who takes super-frames.
    guest.succeed("iperf3 -s -D </dev/null >/dev/null 2>&1", 30);
    let client = ["iperf3", "-c", "10.1.0.3", "-n", "16M"];
    eventually("the guest is sent to", 60, || {
        scene.far.run(&client).status.success().then_some(())
    });
    assert_eq!(wrong_checksums(&guest.succeed(SNMP, 30)), 0);
    assert_eq!(
        wrong_checksums(&scene.far.run(&["cat", "/proc/net/snmp"]).stdout),
        0
    );
    let told = scene.told();
    for reason in ["malformed", "too_long", "too_big", "tunnel_"] {
        assert!(!told.contains(reason), "{reason}: {told}");
    }
    drop(guest);
    scene.daemon.stop();
}

const SNMP: &str = "cat /proc/net/snmp";
