//! TCP by iperf3 beside Open vSwitch's default in the same run: guest to guest over vhost-user,
//! and namespace to namespace through `internal` ports. Rounds of both switches alternate.

use std::path::Path;

use clap::{Parser, ValueEnum};
use serde_json::json;
use tests::{Background, Daemon, Guest, GuestOptions, Netns, Ovs, eventually};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scenario {
    /// Two QEMU guests on vhost-user ports.
    Guest,
    /// Two namespaces on internal ports.
    Internal,
}

/// Measure TCP beside Open vSwitch in the same run.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; both if left out.
    scenario: Option<Scenario>,
    /// Rounds of each switch; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let all = vec![Scenario::Guest, Scenario::Internal];
    let scenarios = arguments.scenario.map_or(all, |scenario| vec![scenario]);
    let mut results = Vec::new();
    for scenario in scenarios {
        let (name, wanted): (_, f64) = match scenario {
            Scenario::Guest => ("guest-tcp", 2.5),
            Scenario::Internal => ("internal-tcp", 5.0),
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 1..=arguments.rounds {
            eprintln!("{name}: round {round} of {}", arguments.rounds);
            let (own, peer) = match scenario {
                Scenario::Guest => (guest_ours(), guest_ovs()),
                Scenario::Internal => (internal_ours(), internal_ovs()),
            };
            eprintln!("  vswitchd {own:.0} Mb/s, OVS {peer:.0} Mb/s");
            ours.push(own);
            theirs.push(peer);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let ratio = ours / theirs;
        let verdict = if ratio >= wanted { "reached" } else { "missed" };
        if !arguments.json {
            println!("{name}: vswitchd {ours:.0} Mb/s, OVS-DPDK {theirs:.0} Mb/s");
            println!("{name}: {ratio:.2} times OVS; wanted {wanted}: {verdict}");
        }
        results.push(
            json!({ "scenario": name, "vswitchd_mbps": ours, "ovs_mbps": theirs,
            "ratio": ratio, "wanted": wanted, "reached": ratio >= wanted }),
        );
    }
    if arguments.json {
        println!("{}", json!({ "results": results }));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn bridge(ports: &str) -> String {
    format!("[[bridge]]\nname = \"br0\"\nfail_mode = \"standalone\"\n{ports}")
}

fn guest_ours() -> f64 {
    let port = |i| {
        format!(
            "[[bridge.port]]\nname = \"vm{i}\"\ntype = \"dpdkvhostuserclient\"\n\
             options = {{ vhost-server-path = \"RUN_DIR/vm{i}.sock\" }}\n"
        )
    };
    let daemon = Daemon::start(&bridge(&(port(1) + &port(2))));
    guest_rate(&daemon.run_dir())
}

fn guest_ovs() -> f64 {
    let ovs = ovs_with_bridge();
    for i in [1, 2] {
        let name = format!("vm{i}");
        let path = format!(
            "options:vhost-server-path={}/vm{i}.sock",
            ovs.folder().display()
        );
        let kind = "type=dpdkvhostuserclient";
        ovs.vsctl(&[
            "add-port",
            "br0",
            &name,
            "--",
            "set",
            "interface",
            &name,
            kind,
            &path,
        ]);
    }
    guest_rate(ovs.folder())
}

/// Megabits a second between two guests on the sockets vm1.sock and vm2.sock of a folder.
fn guest_rate(folder: &Path) -> f64 {
    let mut one = Guest::boot(GuestOptions::new(1), &folder.join("vm1.sock"));
    let mut two = Guest::boot(GuestOptions::new(2), &folder.join("vm2.sock"));
    assert!(
        one.pings("10.0.0.2", 20),
        "the guests do not reach each other"
    );
    two.succeed("iperf3 -s -D </dev/null >/dev/null 2>&1", 10);
    let text = one.succeed("iperf3 -c 10.0.0.2 -t 5 -f m </dev/null", 60);
    let line = text
        .lines()
        .find(|line| line.contains("receiver"))
        .expect("iperf3's summary");
    let words: Vec<&str> = line.split_whitespace().collect();
    let unit = words
        .iter()
        .position(|word| *word == "Mbits/sec")
        .expect("a rate in Mbits/sec");
    words[unit - 1].parse().expect("a number before its unit")
}

fn internal_ours() -> f64 {
    let port = |i| format!("[[bridge.port]]\nname = \"i{i}\"\ntype = \"internal\"\n");
    let daemon = Daemon::start(&bridge(&(port(1) + &port(2))));
    internal_rate(daemon.netns(), &daemon.run_dir())
}

fn internal_ovs() -> f64 {
    let ovs = ovs_with_bridge();
    for name in ["i1", "i2"] {
        ovs.vsctl(&[
            "add-port",
            "br0",
            name,
            "--",
            "set",
            "interface",
            name,
            "type=internal",
        ]);
    }
    internal_rate(ovs.netns(), ovs.folder())
}

/// Megabits a second between two namespaces that get the devices i1 and i2 of the switch's.
fn internal_rate(switch: &Netns, folder: &Path) -> f64 {
    let hosts = [1, 2].map(|i| {
        let host = Netns::new(&format!("h{i}"));
        switch.give(&format!("i{i}"), &host);
        host.ip(&format!("addr add 10.0.0.{i}/24 dev i{i}"));
        host
    });
    let server = hosts[1].words(&["taskset", "-c", "0", "iperf3", "-s", "-1"]);
    let _server = Background::start(&server, &folder.join("iperf3.log"));
    eventually("iperf3 listens", 10, || {
        let listening = hosts[1].run(&["ss", "-Hltn", "sport = 5201"]);
        (!listening.stdout.is_empty()).then_some(())
    });
    let client = [
        "taskset", "-c", "0", "iperf3", "-c", "10.0.0.2", "-t", "5", "-J",
    ];
    let text = hosts[0].run(&client).expect_success();
    let report: serde_json::Value = serde_json::from_str(&text).expect("iperf3 prints JSON");
    report["end"]["sum_received"]["bits_per_second"]
        .as_f64()
        .expect("a rate")
        / 1e6
}

fn ovs_with_bridge() -> Ovs {
    let ovs = Ovs::start(Netns::new("ovs"));
    ovs.add_bridge("br0", &[]);
    ovs
}
