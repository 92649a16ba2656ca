//! Real QEMU guests on vhost-user ports: traffic, reboots, kills, sockets that come and go.

use std::path::PathBuf;

use tests::{Daemon, Guest, GuestOptions, eventually};

const BRIDGE: &str = r#"
[[bridge]]
name = "br0"
fail_mode = "standalone"
[[bridge.port]]
name = "vm1"
type = "dpdkvhostuserclient"
options = { vhost-server-path = "RUN_DIR/vm1.sock" }
[[bridge.port]]
name = "vm2"
type = "dpdkvhostuserclient"
options = { vhost-server-path = "RUN_DIR/vm2.sock" }
"#;

fn socket(daemon: &Daemon, port: &str) -> PathBuf {
    daemon.run_dir().join(format!("{port}.sock"))
}

fn boot(daemon: &Daemon, number: u8) -> Guest {
    Guest::boot(
        GuestOptions::new(number),
        &socket(daemon, &format!("vm{number}")),
    )
}

/// Link state of a port as `vsctl` shows it.
fn link_is_up(daemon: &Daemon, name: &str) -> bool {
    let ports = daemon.json(&["port", "list"]);
    let ports = ports["ports"].as_array().expect("a list of ports");
    let port = ports
        .iter()
        .find(|port| port["name"] == name)
        .expect("the port is listed");
    port["link_up"] == true
}

#[test]
fn two_guests_talk_and_come_back_after_reboot_kill_and_restart_of_the_switch() {
    let mut daemon = Daemon::start(BRIDGE);
    let mut one = boot(&daemon, 1);
    let mut two = boot(&daemon, 2);
    assert!(one.pings("10.0.0.2", 30), "at first");
    assert!(link_is_up(&daemon, "vm2"));

    // A file over TCP arrives as it was sent.
    let sum = "md5sum < /tmp/file | cut -d' ' -f1";
    two.succeed(
        "dd if=/dev/urandom of=/tmp/file bs=1M count=8 2>/dev/null",
        30,
    );
    two.succeed("httpd -p 80 -h /tmp", 30);
    one.succeed("wget -q -O /tmp/file http://10.0.0.2/file", 240);
    let (sent, received) = (two.succeed(sum, 30), one.succeed(sum, 30));
    assert_eq!(sent.trim(), received.trim());

    two.reboot();
    assert!(one.pings("10.0.0.2", 30), "after a reboot");

    let mut two = two.kill_and_boot();
    assert!(one.pings("10.0.0.2", 30), "after SIGKILL and a new start");

    drop(two);
    eventually("the link goes down with the guest", 30, || {
        (!link_is_up(&daemon, "vm2")).then_some(())
    });
    two = boot(&daemon, 2);
    assert!(
        two.pings("10.0.0.1", 30),
        "after its socket was removed and came back"
    );

    daemon.crash_and_restart();
    assert!(
        one.pings("10.0.0.2", 30),
        "after SIGKILL of the switch, guests running on"
    );
    drop((one, two));
    daemon.stop();
}

#[test]
fn a_guest_with_two_queues_and_packed_rings_on_a_hot_added_port() {
    let daemon = Daemon::start(BRIDGE);
    let mut one = boot(&daemon, 1);
    let path = socket(&daemon, "vm3");
    let option = format!("vhost-server-path={}", path.display());
    let add = [
        "port",
        "add",
        "br0",
        "vm3",
        "--type",
        "dpdkvhostuserclient",
        "--option",
        &option,
    ];
    daemon
        .vsctl(&[&add[..], &["--option", "n_rxq=2"]].concat())
        .expect_success();
    let file = std::fs::read_to_string(daemon.config_file()).expect("the file is there");
    assert!(file.contains("vm3"), "the change is written back: {file}");

    let options = GuestOptions {
        queues: 2,
        packed: true,
        ..GuestOptions::new(3)
    };
    let mut three = Guest::boot(options, &path);
    three.succeed("ethtool -L eth0 combined 2", 30);
    assert!(three.pings("10.0.0.1", 30));
    one.succeed("iperf3 -s -D </dev/null >/dev/null 2>&1", 30);
    let client = "iperf3 -c 10.0.0.1 -n 4M -P 4 </dev/null >/dev/null 2>&1";
    eventually("the other guest listens", 60, || {
        (three.run(client, 240).1 == 0).then_some(())
    });

    drop(three);
    daemon
        .vsctl(&["port", "del", "br0", "vm3"])
        .expect_success();
    drop(one);
    daemon.stop();
}
