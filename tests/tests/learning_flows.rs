//! Flows that packets make, with real stacks at the ends and stock `ovs-ofctl` as the judge.
//!
//! ```text
//!   h1 (10.0.0.1) eth0 ── p1 ┐
//!   h2 (10.0.0.2) eth0 ── p2 ┼ vswitchd, bridge br0, which learns by flows alone
//!   h3 (10.0.0.3) eth0 ── p3 ┘
//! ```

use tests::{Daemon, Netns, eventually};

const FLOWS: &[&str] = &[
    "table=0,cookie=1,actions=learn(table=1,idle_timeout=600,hard_timeout=2,priority=10,\
     cookie=0x77,delete_learned,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],\
     output:NXM_OF_IN_PORT[]),resubmit(,1)",
    "table=1,priority=0,actions=FLOOD",
];

fn start() -> (Daemon, [Netns; 3]) {
    Daemon::start_between_hosts(FLOWS)
}

/// The flows that packets made.
fn learned(daemon: &Daemon) -> Vec<String> {
    let filter = ["--no-names", "--no-stats", "cookie=0x77/-1"];
    let text = daemon.ofctl("dump-flows", "br0", &filter).expect_success();
    let flows = text.lines().map(str::trim).map(str::to_string);
    flows.filter(|line| line.contains("actions=")).collect()
}

#[test]
fn packets_teach_a_switch_where_hosts_are() {
    let (daemon, hosts) = start();
    assert!(hosts[0].pings("10.0.0.2"));
    let flows = eventually("both hosts are learned", 30, || {
        let flows = learned(&daemon);
        let to = |port: u32| {
            let action = format!("actions=output:{port}");
            flows.iter().any(|flow| flow.ends_with(&action))
        };
        (to(1) && to(2)).then_some(flows)
    });
    for flow in &flows {
        assert!(flow.contains("table=1, idle_timeout=600, hard_timeout=2, priority=10"));
        assert!(flow.contains("vlan_tci=0x0000/0x0fff,dl_dst="), "{flow}");
    }
    // Whom the flows are for alone gets what is sent now.
    let before = hosts[2].echoes();
    assert!(hosts[0].pings_with("10.0.0.2", &["-c", "3", "-i", "0.2"]));
    assert_eq!(hosts[2].echoes(), before);

    // Who goes on sending stays known beyond the hard timeout; who does not is forgotten.
    assert!(hosts[0].pings_with("10.0.0.2", &["-c", "18", "-i", "0.25"]));
    assert!(!learned(&daemon).is_empty(), "refreshed all the while");
    hosts.iter().for_each(|host| {
        host.ip("link set eth0 down");
    });
    eventually("the flows end", 30, || {
        learned(&daemon).is_empty().then_some(())
    });
    daemon.stop();
}

#[test]
fn what_was_learned_goes_with_the_flow_that_taught_it() {
    let (daemon, hosts) = start();
    assert!(hosts[0].pings("10.0.0.2"));
    eventually("hosts are learned", 30, || {
        (learned(&daemon).len() >= 2).then_some(())
    });
    daemon
        .ofctl("del-flows", "br0", &["cookie=1/-1"])
        .expect_success();
    eventually("they are forgotten", 2, || {
        learned(&daemon).is_empty().then_some(())
    });
    daemon.stop();
}
