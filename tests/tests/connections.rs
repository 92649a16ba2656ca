//! Tracked connections as operators and controllers see and change them: `vsctl ct`, the
//! configuration file, and `ovs-ofctl`.

use tests::{Daemon, Netns, null_bridge};

fn daemon() -> Daemon {
    Daemon::start_in(Netns::silent("ctside"), &null_bridge(""))
}

#[test]
fn limits_timeouts_and_policies_change_while_the_switch_runs() {
    let daemon = daemon();
    let vsctl = |arguments: &[&str]| daemon.vsctl(arguments).expect_success();
    vsctl(&[
        "ct",
        "limits",
        "set",
        "default=100",
        "zone=5,limit=10",
        "zone=6,limit=0",
    ]);
    let limits = daemon.json(&["ct", "limits", "get"]);
    assert_eq!(limits["default"], 100);
    assert_eq!(limits["zones"][0]["limit"], 10);
    assert_eq!(limits["zones"][1]["limit"], 0);
    let text = vsctl(&["ct", "limits", "get", "zone=5"]);
    assert!(text.contains("default limit=100"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
    vsctl(&["ct", "limits", "del", "zone=6", "default"]);
    let limits = daemon.json(&["ct", "limits", "get"]);
    assert_eq!(limits["default"], 0);
    assert_eq!(limits["zones"][1]["own"], false);

    vsctl(&["ct", "set", "tcp_loose=false", "udp_single=7"]);
    vsctl(&["ct", "set", "tcp_established=600", "--policy", "web"]);
    vsctl(&["ct", "zone", "9", "--policy", "web"]);
    let text = std::fs::read_to_string(daemon.config_file()).expect("a file");
    for line in [
        "tcp_loose = false",
        "udp_single = 7",
        "tcp_established = 600",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    let wrong = daemon.vsctl(&["ct", "zone", "9", "--policy", "none-such"]);
    assert!(!wrong.status.success() && wrong.stderr.contains("none-such"));
    let wrong = daemon.vsctl(&["ct", "set", "udp_sinlge=7"]);
    assert!(!wrong.status.success() && wrong.stderr.contains("udp_single"));
    daemon.stop();
}

#[test]
fn controllers_end_connections_and_operators_look_at_them() {
    let daemon = daemon();
    let tuple = "ct_nw_src=10.1.1.1,ct_nw_dst=10.1.1.2,ct_nw_proto=6,ct_tp_src=1,ct_tp_dst=2";
    let icmp = "ct_ipv6_src=fd00::1,ct_nw_proto=58,icmp_id=1,icmp_type=128,icmp_code=0";
    daemon
        .ofctl("ct-flush-zone", "br0", &["5"])
        .expect_success();
    for arguments in [
        &[][..],
        &["zone=7"],
        &["zone=7", tuple],
        &[tuple],
        &[icmp, icmp],
    ] {
        daemon.ofctl("ct-flush", "br0", arguments).expect_success();
    }
    let stats = daemon.json(&["ct", "stats"]);
    assert_eq!(
        (&stats["connections"], &stats["capacity"]),
        (&0.into(), &2_000_000.into())
    );
    assert!(
        stats["memory_bytes"].as_u64() < Some(256 * 2_000_000),
        "{stats}"
    );
    assert_eq!(daemon.vsctl(&["ct", "dump"]).expect_success(), "");
    let flushed = daemon.vsctl(&["ct", "flush", "zone=5"]).expect_success();
    assert_eq!(flushed, "0 ended\n");
    assert!(daemon.json(&["ct", "dump", "zone=5"])["connections"].is_array());
    daemon.stop();
}
