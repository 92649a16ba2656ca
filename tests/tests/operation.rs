//! Running the switch: configuration errors, failing ports, changes written back, ports that come
//! and go under traffic, many ports, a controller that misbehaves.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::netns::hosts;
use tests::{Daemon, Netns, binary, eventually, run};

const BRIDGE: &str = r#"
# kept by every change
[[bridge]]
name = "br0"       # the only one
fail_mode = "standalone"
"#;

/// Starts the daemon on a configuration that it must refuse; what it says.
#[track_caller]
fn refused(text: &str) -> String {
    let folder = tests::folder();
    let file = folder.path().join("vswitch.toml");
    std::fs::write(&file, text).expect("the folder is writable");
    let (vswitchd, file) = (binary("vswitchd"), file.display().to_string());
    let output = run(&[vswitchd.to_str().expect("text"), "--config", &file]);
    assert!(!output.status.success(), "accepted: {text}");
    output.stderr + &output.stdout
}

#[test]
fn a_wrong_configuration_is_named_and_what_is_allowed_said() {
    let cases = [
        (
            "[[bridge]]\nname = \"br0\"\nfail_mod = \"secure\"\n",
            ["fail_mod", "fail_mode"],
        ),
        (
            "[[bridge]]\nname = \"br0\"\nfail_mode = \"open\"\n",
            ["open", "standalone"],
        ),
        (
            "[[bridge]]\nname = \"b\"\n[[bridge.port]]\nname = \"p\"\ntype = \"dpdkring\"\n",
            ["dpdkring", "dpdkvhostuserclient"],
        ),
        ("[workers]\ncpus = [4096]\n", ["4096", "cpus"]),
        (
            "[[bridge]]\nname = \"br0\"\n[[bridge]]\nname = \"br0\"\n",
            ["br0", "name"],
        ),
        ("run_dir = [", ["run_dir", "line 1"]),
    ];
    for (text, words) in cases {
        let said = refused(text);
        for word in words {
            assert!(said.contains(word), "{text}: does not say {word}: {said}");
        }
    }
    let vswitchd = binary("vswitchd");
    let output = run(&[
        vswitchd.to_str().expect("text"),
        "--config",
        "/nowhere/vswitch.toml",
    ]);
    assert!(!output.status.success() && output.stderr.contains("/nowhere/vswitch.toml"));
}

#[test]
fn a_second_daemon_refuses_and_a_failed_port_leaves_the_others() {
    let bad = "[[bridge.port]]\nname = \"absent0\"\ntype = \"system\"\n";
    let good = "[[bridge.port]]\nname = \"n1\"\ntype = \"null\"\n";
    let daemon = Daemon::start(&format!("{BRIDGE}{bad}{good}"));
    let ports = daemon.json(&["port", "list"]);
    let find = |name: &str| {
        let ports = ports["ports"].as_array().expect("ports");
        ports
            .iter()
            .find(|port| port["name"] == name)
            .expect("the port is listed")
            .clone()
    };
    assert!(
        find("absent0")["error"]
            .as_str()
            .expect("an error")
            .contains("absent0")
    );
    assert!(find("n1")["error"].is_null());
    let show = daemon.vsctl(&["show"]).expect_success();
    assert!(show.contains("absent0"), "{show}");

    let (vswitchd, config) = (
        binary("vswitchd"),
        daemon.config_file().display().to_string(),
    );
    let second = daemon
        .netns()
        .run(&[vswitchd.to_str().expect("text"), "--config", &config]);
    assert!(!second.status.success(), "two daemons on one run folder");
    assert!(
        daemon.vsctl(&["show"]).status.success(),
        "the first one goes on"
    );
    daemon.stop();
}

#[test]
fn changes_are_written_back_with_comments_kept() {
    let mut daemon = Daemon::start(BRIDGE);
    daemon
        .vsctl(&[
            "port", "add", "br0", "n7", "--type", "null", "--number", "7",
        ])
        .expect_success();
    daemon
        .vsctl(&["bridge", "add", "br1", "--fail-mode", "secure"])
        .expect_success();
    let read = |daemon: &Daemon| std::fs::read_to_string(daemon.config_file()).expect("the file");
    let file = read(&daemon);
    assert!(
        file.contains("# kept by every change") && file.contains("# the only one"),
        "{file}"
    );
    assert!(file.contains("n7") && file.contains("br1"), "{file}");

    daemon.crash_and_restart();
    let ports = daemon.json(&["port", "list"]).to_string();
    assert!(
        ports.contains("\"n7\""),
        "the port is there after a restart: {ports}"
    );
    daemon.vsctl(&["port", "del", "br0", "n7"]).expect_success();
    daemon.vsctl(&["bridge", "del", "br1"]).expect_success();
    let file = read(&daemon);
    assert!(!file.contains("n7") && !file.contains("br1"), "{file}");
    assert!(file.contains("# kept by every change"), "{file}");

    let missing = daemon.vsctl(&["port", "del", "br0", "n8"]);
    assert!(
        !missing.status.success() && missing.stderr.contains("n8"),
        "{}",
        missing.stderr
    );
    daemon.stop();
}

/// Hosts h1 and h2 on the system ports p1 and p2.
fn pair() -> (Daemon, [Netns; 2]) {
    let (switch, hosts) = hosts::<2>();
    let port = |i| format!("[[bridge.port]]\nname = \"p{i}\"\ntype = \"system\"\n");
    let daemon = Daemon::start_in(switch, &format!("{BRIDGE}{}{}", port(1), port(2)));
    assert!(hosts[0].pings("10.0.0.2"));
    (daemon, hosts)
}

#[test]
fn ports_come_and_go_while_others_lose_no_packet() {
    let (daemon, hosts) = pair();
    daemon.loses_no_ping(&hosts[0], "10.0.0.2", 4, || {
        let socket = format!("vhost-server-path={}/x.sock", daemon.run_dir().display());
        let vhost = ["--type", "dpdkvhostuserclient", "--option", &socket];
        daemon
            .vsctl(&[&["port", "add", "br0", "x1"][..], &vhost].concat())
            .expect_success();
        daemon
            .vsctl(&["port", "add", "br0", "x2", "--type", "internal"])
            .expect_success();
        daemon.vsctl(&["port", "del", "br0", "x1"]).expect_success();
        daemon.vsctl(&["port", "del", "br0", "x2"]).expect_success();
    });
    daemon.stop();
}

#[test]
fn two_hundred_and_fifty_six_vhost_user_ports() {
    let port = |i| {
        format!(
            "[[bridge.port]]\nname = \"vm{i}\"\ntype = \"dpdkvhostuserclient\"\n\
             options = {{ vhost-server-path = \"RUN_DIR/vm{i}.sock\" }}\n"
        )
    };
    let ports: String = (1..=256).map(port).collect();
    let daemon = Daemon::start(&format!("{BRIDGE}{ports}"));
    let list = daemon.json(&["port", "list"]);
    let list = list["ports"].as_array().expect("ports");
    assert_eq!(
        list.iter().filter(|port| port["error"].is_null()).count(),
        257
    );
    let told = daemon.ofctl("dump-ports-desc", "br0", &[]).expect_success();
    assert_eq!(told.matches("addr:").count(), 257);
    daemon.stop();
}

#[test]
fn a_controller_that_sends_rubbish_or_floods_harms_nobody() {
    let (daemon, hosts) = pair();
    let socket = daemon.run_dir().join("br0.mgmt");
    let mut rubbish =
        std::os::unix::net::UnixStream::connect(&socket).expect("the socket is there");
    let _ = rubbish.write_all(&[0xff; 4096]);
    // A flood of echo requests whose replies nobody reads: the switch stops reading them.
    let mut flood = std::os::unix::net::UnixStream::connect(&socket).expect("the socket is there");
    flood
        .set_write_timeout(Some(Duration::from_secs(2)))
        .expect("a socket");
    flood
        .write_all(&[4, 0, 0, 8, 0, 0, 0, 1])
        .expect("a hello fits");
    let mut echo = vec![4, 2, 0xff, 0xf8, 0, 0, 0, 2];
    echo.resize(0xfff8, 0);
    let mut taken = 0;
    while let Ok(bytes) = flood.write(&echo) {
        taken += bytes;
        assert!(taken < 64 << 20, "{taken} bytes were read, no reply was");
    }
    assert!(hosts[0].pings("10.0.0.2"), "traffic goes on");
    daemon.ofctl("dump-flows", "br0", &[]).expect_success();
    assert!(daemon.vsctl(&["show"]).status.success());
    drop((rubbish, flood));
    daemon.stop();
}

#[test]
fn metrics_are_read_by_the_parser_of_prometheus() {
    let (daemon, hosts) = pair();
    assert!(hosts[0].pings("10.0.0.2"));
    let folder = tests::folder();
    let page = folder.path().join("page");
    let text = daemon.vsctl(&["metrics"]).expect_success();
    std::fs::write(&page, &text).expect("the folder is writable");
    let python = tests::controller::program("python");
    let parsed = run(&[&python, "-c", PARSER, &page.display().to_string()]).expect_success();
    let value = |sample: &str| -> f64 {
        let mut lines = parsed.lines().filter_map(|line| line.rsplit_once(' '));
        let found = lines.find(|(name, _)| *name == sample);
        let (_, value) = found.unwrap_or_else(|| panic!("no {sample} in {parsed}"));
        value.parse().expect("a number")
    };
    assert!(value("counter vswitch_worker_cache_hits_total cpu=1,worker=0") > 0.0);
    assert!(value("counter vswitch_port_rx_packets_total bridge=br0,port=p1") > 0.0);
    assert!(value("gauge vswitch_worker_cache_capacity cpu=1,worker=0") >= 2_000_000.0);
    assert_eq!(
        value("counter vswitch_worker_cache_evicted_total cpu=1,worker=0"),
        0.0
    );
    assert!(daemon.json(&["metrics"])["metrics"].is_array());
    daemon.stop();
}

/// Prints the samples of a page as the reference implementation of the format reads them.
const PARSER: &str = "
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(open(sys.argv[1]).read()):
    for sample in family.samples:
        labels = ','.join(f'{key}={value}' for key, value in sorted(sample.labels.items()))
        print(family.type, sample.name, labels, sample.value)
";

#[test]
fn workers_and_counters_are_shown() {
    let (daemon, hosts) = pair();
    assert!(hosts[0].pings("10.0.0.2"));
    let worker = daemon.json(&["worker", "show"])["workers"][0].clone();
    assert_eq!(worker["cpu"], 1);
    assert!(worker["cache"]["hits"].as_u64() > Some(0), "{worker}");
    assert!(worker["cache"]["entries"].as_u64() > Some(0), "{worker}");
    daemon.vsctl(&["worker", "show"]).expect_success();
    let macs = daemon.vsctl(&["mac", "dump", "br0"]).expect_success();
    assert!(macs.contains("p1") && macs.contains("p2"), "{macs}");
    let packet = "in_port=1,dl_dst=02:00:00:00:00:99,dl_type=0x0800";
    let trace = daemon.vsctl(&["trace", "br0", packet]).expect_success();
    assert!(
        trace.contains("NORMAL") || trace.contains("normal"),
        "{trace}"
    );
    daemon.vsctl(&["stats"]).expect_success();
    daemon.stop();
}

#[test]
fn logs_change_their_level_and_completions_are_there() {
    let daemon = Daemon::start(BRIDGE);
    daemon.vsctl(&["log", "set", "debug"]).expect_success();
    daemon.vsctl(&["log", "set", "info"]).expect_success();
    assert!(!daemon.vsctl(&["log", "set", "loud"]).status.success());
    let completions = daemon.vsctl(&["completions", "bash"]).expect_success();
    assert!(completions.contains("vsctl"));
    eventually("the daemon has logged", 30, || {
        (!daemon.log().is_empty()).then_some(())
    });
    daemon.stop();
}

#[test]
fn vsctl_says_how_to_reach_a_daemon_that_is_not_there() {
    let output = Command::new(binary("vsctl"))
        .args(["--run-dir", "/nonexistent", "show"])
        .stdin(Stdio::null())
        .output()
        .expect("vsctl runs");
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent"));
}
