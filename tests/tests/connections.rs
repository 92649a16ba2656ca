//! Tracked connections as operators and controllers see and change them: `vsctl ct`, the
//! configuration file, and `ovs-ofctl`.

use tests::netns::hosts;
use tests::{Daemon, Netns, eventually, null_bridge};

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
    // What was never needed is not there.
    let [used, full] = ["memory_used_bytes", "memory_bytes"].map(|name| stats[name].as_u64());
    assert!(used.map(|used| used * 4) < full, "{stats}");
    assert_eq!(daemon.vsctl(&["ct", "dump"]).expect_success(), "");
    let flushed = daemon.vsctl(&["ct", "flush", "zone=5"]).expect_success();
    assert_eq!(flushed, "0 ended\n");
    assert!(daemon.json(&["ct", "dump", "zone=5"])["connections"].is_array());
    daemon.stop();
}

/// Pings are let in once they were let out, and what is tracked is seen, limited and ended.
#[test]
fn what_hosts_say_to_each_other_is_told_and_ended() {
    let (netns, hosts) = hosts::<2>();
    let port = |name: &str| format!("[[bridge.port]]\nname = \"{name}\"\ntype = \"system\"\n");
    let bridge = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n";
    let daemon = Daemon::start_in(netns, &format!("{bridge}{}{}", port("p1"), port("p2")));
    let flows = [
        "priority=2,arp,actions=NORMAL",
        "priority=1,ip,actions=ct(table=1,zone=5)",
        "table=1,priority=2,ip,ct_state=+est-inv,actions=NORMAL",
        "table=1,priority=1,ip,in_port=p1,ct_state=+new,\
         actions=ct(commit,zone=5,exec(load:0x7->NXM_NX_CT_MARK[])),NORMAL",
    ];
    let words = [&["flow", "add", "br0"], &flows[..]].concat();
    daemon.vsctl(&words).expect_success();
    assert!(hosts[0].pings("10.0.0.2"));
    assert!(hosts[1].is_cut_off_from("10.0.0.1"));
    let line = "icmp,orig=(src=10.0.0.1,dst=10.0.0.2,id=";
    let dump = |filter: &str| daemon.vsctl(&["ct", "dump", filter]).expect_success();
    let text = dump("zone=5");
    assert!(
        text.contains(line) && text.contains("zone=5,mark=7"),
        "{text}"
    );
    assert!(
        text.contains("reply=(src=10.0.0.2,dst=10.0.0.1,id="),
        "{text}"
    );
    assert_eq!(dump("zone=4"), "");
    assert_eq!(dump("proto=tcp"), "");
    assert!(dump("proto=icmp,src=10.0.0.1").contains(line));
    let count = || daemon.json(&["ct", "stats"])["connections"].as_u64();
    assert!(count() >= Some(1));
    daemon
        .ofctl("ct-flush-zone", "br0", &["4"])
        .expect_success();
    assert!(count() >= Some(1));
    daemon
        .ofctl("ct-flush-zone", "br0", &["5"])
        .expect_success();
    assert_eq!(count(), Some(0));

    assert!(hosts[0].pings("10.0.0.2"));
    let partial = "ct_nw_src=10.0.0.1,ct_nw_proto=17";
    daemon
        .ofctl("ct-flush", "br0", &["zone=5", partial])
        .expect_success();
    assert!(count() >= Some(1));
    daemon
        .ofctl("ct-flush", "br0", &["zone=5", "ct_nw_dst=10.0.0.2"])
        .expect_success();
    eventually("connections end", 30, || (count() == Some(0)).then_some(()));
    assert!(hosts[0].pings("10.0.0.2"));
    let ended = daemon
        .vsctl(&["ct", "flush", "dst=10.0.0.2"])
        .expect_success();
    assert!(!ended.starts_with("0 "), "{ended}");
    assert_eq!(count(), Some(0));

    // With one connection there is no room for another.
    assert!(hosts[0].pings("10.0.0.2"));
    let used = count().expect("a number");
    let limit = format!("zone=5,limit={used}");
    daemon
        .vsctl(&["ct", "limits", "set", &limit])
        .expect_success();
    assert!(hosts[0].is_cut_off_from("10.0.0.2"));
    let refused = || daemon.json(&["ct", "stats"])["counters"]["refused_zone_limit"].as_u64();
    eventually("it is counted", 30, || (refused() > Some(0)).then_some(()));
    daemon
        .vsctl(&["ct", "limits", "del", "zone=5"])
        .expect_success();
    assert!(hosts[0].pings("10.0.0.2"));
    let metrics = daemon.vsctl(&["metrics"]).expect_success();
    assert!(
        metrics.contains("vswitch_ct_connections{protocol=\"icmp\"}"),
        "{metrics}"
    );
    daemon.stop();
}
