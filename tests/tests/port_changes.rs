//! Changing ports of a running switch: administrative state and MTU in place, a bridge's own port,
//! devices that somebody removes, numbers and addresses that stay.

use serde_json::Value;
use tests::{Background, Daemon, Netns, eventually};

const BRIDGE: &str = "[[bridge]]\nname = \"br0\"\n";

fn port(name: &str, kind: &str) -> String {
    format!("[[bridge.port]]\nname = \"{name}\"\ntype = \"{kind}\"\n")
}

/// A switch whose system port p1 leads to h1, and whose internal port i1 is in h2.
fn hosts() -> (Daemon, [Netns; 2]) {
    let [switch, h1, h2] = ["sw", "h1", "h2"].map(Netns::silent);
    switch.veth("p1", &h1, "eth0");
    h1.ip("addr add 10.0.0.1/24 dev eth0");
    let ports = port("p1", "system") + &port("i1", "internal");
    let daemon = Daemon::start_in(switch, &format!("{BRIDGE}{ports}"));
    daemon.netns().give("i1", &h2);
    h2.ip("addr add 10.0.0.2/24 dev i1");
    eventually("the hosts reach each other", 30, || {
        h1.pings("10.0.0.2").then_some(())
    });
    (daemon, [h1, h2])
}

/// What `vsctl port list` says of a port.
#[track_caller]
fn shown(daemon: &Daemon, name: &str) -> Value {
    let list = daemon.json(&["port", "list"]);
    let ports = list["ports"].as_array().expect("ports");
    let found = ports.iter().find(|port| port["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {list}")).clone()
}

fn is_up(netns: &Netns, device: &str) -> bool {
    netns.ip(&format!("link show {device}")).contains(",UP")
}

/// Sets ports by `vsctl port set`, twice or more; what controllers hear of it.
#[track_caller]
fn heard_while(daemon: &Daemon, sets: &[[&str; 3]]) -> String {
    let socket = format!("unix:{}/br0.mgmt", daemon.run_dir().display());
    let log = daemon.scratch().join("monitor.log");
    let control = format!("--unixctl={}/ofctl.ctl", daemon.scratch().display());
    let words = [
        "ovs-ofctl",
        &control,
        "-OOpenFlow13",
        "monitor",
        &socket,
        "65534",
    ];
    let monitor = Background::start(&words.map(str::to_owned), &log);
    eventually("ovs-ofctl listens", 30, || {
        daemon.vsctl(&["mac", "flush", "br0"]).expect_success();
        let out = "in_port=CONTROLLER,packet=ffffffffffff0200000000990800,actions=CONTROLLER";
        daemon.ofctl("packet-out", "br0", &[out]).expect_success();
        monitor.output().contains("NXT_PACKET_IN2").then_some(())
    });
    for [name, option, value] in sets {
        let words = ["port", "set", "br0", name, option, value];
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        daemon.vsctl(&words).expect_success();
    }
    eventually("controllers are told", 30, || {
        let told = monitor.output();
        (told.matches("MOD:").count() >= 2).then_some(told)
    })
}

#[test]
fn down_is_undone_by_up_and_nothing_else_changes() {
    let (daemon, [h1, h2]) = hosts();
    for (name, home) in [("p1", daemon.netns()), ("i1", &h2)] {
        let before = shown(&daemon, name);
        let told = heard_while(&daemon, &[[name, "--down", ""], [name, "--up", ""]]);
        assert!(!told.contains("ADD:") && !told.contains("DEL:"), "{told}");
        assert!(is_up(home, name), "{name} is up again");
        eventually("traffic passes again", 30, || {
            h1.pings("10.0.0.2").then_some(())
        });
        daemon
            .vsctl(&["port", "set", "br0", name, "--down"])
            .expect_success();
        assert!(!is_up(home, name), "{name} is down");
        assert_eq!(shown(&daemon, name)["admin_up"], false);
        assert!(h1.is_cut_off_from("10.0.0.2"));
        for _ in 0..2 {
            daemon
                .vsctl(&["port", "set", "br0", name, "--up"])
                .expect_success();
        }
        eventually("the link returns", 30, || {
            (shown(&daemon, name) == before).then_some(())
        });
        home.ip(&format!("link set {name} down"));
        daemon
            .vsctl(&["port", "set", "br0", name, "--up"])
            .expect_success();
        assert!(is_up(home, name), "{name} is up, whoever took it down");
        home.ip(&format!("link set {name} down"));
        daemon
            .ofctl("mod-port", "br0", &[name, "up"])
            .expect_success();
        eventually("a controller takes it up too", 30, || {
            is_up(home, name).then_some(())
        });
        eventually("traffic passes", 30, || h1.pings("10.0.0.2").then_some(()));
    }
    let log = daemon.log();
    assert!(log.contains("port changed"), "{log}");
    assert!(!log.contains("port removed"), "{log}");
    daemon.stop();
}

#[test]
fn a_controller_that_takes_a_port_down_sees_its_link_down_at_once() {
    let (daemon, _hosts) = hosts();
    for name in ["p1", "br0"] {
        eventually("the link is up", 30, || {
            (shown(&daemon, name)["link_up"] == true).then_some(())
        });
        // What is seen after the answer to a barrier, and nothing else was waited for.
        let seen = |direction: &str| {
            let words = [name, direction];
            daemon.ofctl("mod-port", "br0", &words).expect_success();
            let ports = daemon.ofctl("dump-ports-desc", "br0", &[]);
            let ports = ports.expect_success();
            let port = ports.split(&format!("({name})")).nth(1);
            let port = port.expect("the port").split("speed:").next();
            port.unwrap_or_default().to_owned()
        };
        for _ in 0..10 {
            let port = seen("down");
            assert!(port.contains("config:     PORT_DOWN"), "{port}");
            assert!(port.contains("LINK_DOWN"), "{port}");
            // The kernel takes a moment to bring a link up.
            eventually("the link is up again", 30, || {
                (!seen("up").contains("_DOWN")).then_some(())
            });
        }
    }
    daemon.stop();
}

#[test]
fn an_mtu_changes_while_packets_pass() {
    let (daemon, [h1, h2]) = hosts();
    let addresses = h2.ip("addr show i1");
    let pings = daemon.loses_no_ping(&h1, "10.0.0.2", 4, || {
        for (name, mtu) in [
            ("i1", "1400"),
            ("p1", "1400"),
            ("i1", "9000"),
            ("p1", "9000"),
        ] {
            daemon
                .vsctl(&["port", "set", "br0", name, "--mtu", mtu])
                .expect_success();
            assert_eq!(shown(&daemon, name)["mtu"].to_string(), mtu);
        }
    });
    assert_eq!(
        h2.ip("addr show i1"),
        addresses.replace("mtu 1500", "mtu 9000")
    );
    let netdev = daemon.netns().ip("link show p1");
    assert!(netdev.contains("mtu 9000"), "{netdev}");
    let received = ["p1", "i1"].map(|name| daemon.received(name)[0]);
    assert!(
        received.iter().all(|packets| *packets >= pings),
        "{received:?}"
    );
    assert!(!daemon.log().contains("port removed"));
    daemon.stop();
}

#[test]
fn a_bridges_own_port_is_set_like_others() {
    let own = format!("{}tag = 5\nmtu = 1400\n", port("br0", "internal"));
    let daemon = Daemon::start(&format!("{BRIDGE}{own}{}", port("n1", "null")));
    let local = shown(&daemon, "br0");
    assert_eq!((&local["tag"], &local["mtu"]), (&5.into(), &1400.into()));
    assert_eq!(local["number"], 0xffff_fffeu32);
    let set = |words: &[&str]| {
        daemon
            .vsctl(&[&["port", "set", "br0", "br0"], words].concat())
            .expect_success()
    };
    set(&["--tag", "7", "--mtu", "1300", "--down"]);
    let netdev = daemon.netns().ip("link show br0");
    assert!(
        netdev.contains("mtu 1300") && !netdev.contains(",UP"),
        "{netdev}"
    );
    set(&["--up"]);
    assert!(is_up(daemon.netns(), "br0"));
    assert_eq!(shown(&daemon, "br0")["tag"], 7);
    daemon.vsctl(&["bridge", "add", "br1"]).expect_success();
    daemon
        .vsctl(&["port", "set", "br1", "br1", "--trunks", "1,2"])
        .expect_success();
    let file = std::fs::read_to_string(daemon.config_file()).expect("the file");
    assert!(
        file.contains("tag = 7") && file.contains("trunks = [1, 2]"),
        "{file}"
    );
    let refused = daemon.vsctl(&["port", "del", "br0", "br0"]);
    assert!(refused.stderr.contains("own port"), "{}", refused.stderr);
    daemon.stop();
}

#[test]
fn a_device_that_somebody_removes_is_shown_and_made_anew() {
    let (daemon, [_h1, h2]) = hosts();
    let before = ["i1", "br0", "p1"].map(|name| shown(&daemon, name));
    h2.ip("link del i1");
    daemon.netns().ip("link del br0");
    daemon.netns().ip("link del p1");
    for (name, error) in [
        ("i1", "removed by somebody else"),
        ("br0", "removed by somebody else"),
        ("p1", "is gone"),
    ] {
        // A TAP may be back before anybody looks: the log remembers.
        eventually("the log names it", 30, || {
            let log = daemon.log();
            let mut lines = log.lines();
            lines
                .any(|line| line.contains(&format!("\"{name}\"")) && line.contains(error))
                .then_some(())
        });
    }
    eventually("it is shown", 30, || {
        let gone = shown(&daemon, "p1");
        let error = gone["error"].as_str().unwrap_or_default();
        (error.contains("is gone") && gone["link_up"] == false).then_some(())
    });
    eventually("the TAPs are back", 30, || {
        let back = before[..2]
            .iter()
            .all(|port| shown(&daemon, port["name"].as_str().expect("a name")) == *port);
        back.then_some(())
    });
    assert!(is_up(daemon.netns(), "i1") && is_up(daemon.netns(), "br0"));
    let h3 = Netns::new("h3");
    daemon.netns().veth("p1", &h3, "eth0");
    daemon.netns().ip("link set p1 address 02:00:5e:00:00:77");
    h3.ip("addr add 10.0.0.3/24 dev eth0");
    eventually("the veth is used again, under its address", 30, || {
        let port = shown(&daemon, "p1");
        let back = port["error"].is_null() && port["link_up"] == true;
        (back && port["mac"] == "02:00:5e:00:00:77").then_some(())
    });
    daemon.netns().ip("addr add 10.0.0.254/24 dev br0");
    eventually("traffic passes", 30, || {
        h3.pings("10.0.0.254").then_some(())
    });
    daemon.stop();
}

#[test]
fn a_worker_sleeps_though_a_tap_is_gone() {
    let daemon = Daemon::start(BRIDGE);
    let pid = daemon.json(&["show"])["pid"].clone();
    // How often its thread has gone to sleep.
    let sleeps = || -> Option<u64> {
        let mut threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        threads.find_map(|thread| {
            let status = std::fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
            let mut lines = status.lines();
            lines.next().filter(|name| name.contains("worker"))?;
            let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            count.trim().parse().ok()
        })
    };
    let logged = |words: &str, times: usize| daemon.log().matches(words).count() >= times;
    // A TAP that is made anew at once tells nothing: then another try.
    let slept = (1..=5).any(|round| {
        daemon.netns().ip("link del br0");
        eventually("the log names it", 30, || {
            logged("removed by somebody else", round).then_some(())
        });
        let before = sleeps().expect("a worker's thread");
        let slept = eventually("the worker sleeps, or the TAP is back", 30, || {
            let back = logged("port added", 1 + round);
            let slept = sleeps() > Some(before + 100);
            (slept || back).then_some(slept && !back)
        });
        eventually("the TAP is back", 30, || {
            logged("port added", 1 + round).then_some(())
        });
        slept
    });
    assert!(slept, "a worker that never sleeps");
    daemon.stop();
}

#[test]
fn numbers_and_addresses_do_not_depend_on_failures_and_restarts() {
    let ports = port("absent0", "system") + &port("i1", "internal") + &port("n1", "null");
    let mut daemon = Daemon::start(&format!("{BRIDGE}{ports}"));
    let numbers = |daemon: &Daemon| {
        ["absent0", "i1", "n1"].map(|name| shown(daemon, name)["number"].as_u64())
    };
    assert_eq!(numbers(&daemon), [Some(1), Some(2), Some(3)]);
    let mac = shown(&daemon, "i1")["mac"].clone();
    let refused = daemon.vsctl(&[
        "port", "add", "br0", "n2", "--type", "null", "--number", "1",
    ]);
    assert!(refused.stderr.contains("absent0"), "{}", refused.stderr);
    daemon
        .netns()
        .ip("link add absent0 type veth peer name absent1");
    eventually("the port works", 30, || {
        shown(&daemon, "absent0")["error"].is_null().then_some(())
    });
    assert_eq!(numbers(&daemon), [Some(1), Some(2), Some(3)]);
    daemon.crash_and_restart();
    assert_eq!(numbers(&daemon), [Some(1), Some(2), Some(3)]);
    assert_eq!(shown(&daemon, "i1")["mac"], mac);
    daemon.stop();
}

#[test]
fn what_cannot_be_added_is_logged_as_that() {
    let switch = Netns::new("sw");
    switch.ip("link add eth0 type veth peer name eth1");
    let daemon = Daemon::start_in(switch, BRIDGE);
    assert!(!daemon.vsctl(&["bridge", "add", "eth0"]).status.success());
    assert!(
        !daemon
            .vsctl(&["port", "add", "br0", "absent0"])
            .status
            .success()
    );
    let log = eventually("both are logged", 30, || {
        let log = daemon.log();
        (log.matches("change not made").count() == 2).then_some(log)
    });
    for wrong in ["removed", "not undone"] {
        assert!(!log.contains(wrong), "{wrong}: {log}");
    }
    daemon.stop();
}
