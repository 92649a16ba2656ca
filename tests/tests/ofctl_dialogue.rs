//! Every subcommand of stock `ovs-ofctl` that OpenFlow 1.3 has, before a running switch, and what
//! it says to those that 1.3 has not: a dialogue, word by word.
//!
//! The text in the folder beside this file is the dialogue. `| ` begins a line of a file that the
//! next command is given as `FILE`; `$ ` begins a command, `BRIDGE` being where it finds the
//! switch; what follows is what it prints, without durations, addresses and transaction numbers,
//! which differ from run to run. `! ` begins what it prints when it fails.

use tests::{Background, Daemon, Netns, eventually, null_bridge, run};

#[path = "ofctl_dialogue/recorded.rs"]
mod recorded;

const SETTINGS: &str = "datapath_id = 42\n";

const DIALOGUE: &str = include_str!("ofctl_dialogue/dialogue.txt");

/// Where values stand that differ from run to run: after the first text, before the second.
const VOLATILE: [(&str, &str); 5] = [
    ("duration=", ","),
    ("duration:", " "),
    ("addr:", " "),
    ("(xid=", ")"),
    ("Software: ", " "),
];

/// A text without what differs from run to run.
fn steady(text: &str, socket: &str) -> String {
    let mut lines = String::new();
    for line in text.replace(socket, "BRIDGE").lines() {
        let mut line = line.trim_end().to_string();
        for (begin, end) in VOLATILE {
            if let Some(at) = line.find(begin).map(|at| at + begin.len()) {
                let length = line[at..].find(end).unwrap_or(line.len() - at);
                line.replace_range(at..at + length, "-");
            }
        }
        lines += &line;
        lines += "\n";
    }
    lines
}

/// Has `ovs-ofctl` carry out a command of the dialogue; what it prints, as the dialogue has it.
fn answer(command: &str, socket: &str, file: &str) -> String {
    let words = command.split(' ').map(|word| match word {
        "BRIDGE" => socket,
        "FILE" => file,
        word => word,
    });
    let words: Vec<&str> = ["ovs-ofctl", "-OOpenFlow13", "-t20"]
        .into_iter()
        .chain(words)
        .collect();
    let output = run(&words);
    let printed = steady(&output.stdout, socket);
    match output.status.success() {
        true => printed,
        false => printed + &steady(&output.stderr, socket).replace("ovs-ofctl: ", "! "),
    }
}

#[test]
fn stock_ovs_ofctl_has_an_answer_to_every_command() {
    let daemon = Daemon::start_in(Netns::silent("sw"), &null_bridge(SETTINGS));
    let socket = format!("unix:{}/br0.mgmt", daemon.run_dir().display());
    let file = daemon.scratch().join("file").display().to_string();
    let (mut dialogue, mut lines) = (String::new(), String::new());
    for line in DIALOGUE.lines() {
        if let Some(text) = line.strip_prefix("| ") {
            dialogue += &format!("{line}\n");
            lines += &format!("{text}\n");
        } else if let Some(command) = line.strip_prefix("$ ") {
            std::fs::write(&file, std::mem::take(&mut lines)).expect("room for a file");
            dialogue += &format!("{line}\n{}", answer(command, &socket, &file));
        }
    }
    for (found, wanted) in dialogue.lines().zip(DIALOGUE.lines()) {
        assert_eq!(found, wanted, "{dialogue}");
    }
    assert_eq!(
        dialogue.lines().count(),
        DIALOGUE.lines().count(),
        "{dialogue}"
    );
    daemon.stop();
}

/// Commands of `ovs-ofctl` for a switch that are no part of the dialogue: they measure and listen.
const NO_DIALOGUE: [&str; 4] = ["monitor", "snoop", "ping", "benchmark"];

#[test]
fn the_dialogue_leaves_no_command_out() {
    let help = run(&["ovs-ofctl", "--help"]).expect_success();
    let said: Vec<&str> = DIALOGUE.lines().flat_map(|line| line.split(' ')).collect();
    let mut commands = 0;
    for line in help.lines().filter(|line| line.starts_with("  ")) {
        let mut words = line
            .split_whitespace()
            .filter(|word| !word.starts_with('['));
        let (Some(command), Some(about)) = (words.next(), words.next()) else {
            continue;
        };
        if ["SWITCH", "TARGET", "SOURCE1"].contains(&about) {
            commands += 1;
            let is_here = said.contains(&command) || NO_DIALOGUE.contains(&command);
            assert!(is_here, "{command} is left out");
        }
    }
    assert!(commands > 40, "{commands} in\n{help}");
}

/// `ovs-ofctl` with a command that goes on until somebody ends it.
fn listening(daemon: &Daemon, target: &str, command: &[&str]) -> Background {
    let control = format!("--unixctl={}/ofctl.ctl", daemon.scratch().display());
    let (name, arguments) = command.split_first().expect("a command");
    let words = ["ovs-ofctl", &control, "-OOpenFlow13", name, target];
    let words = daemon.netns().words(&[&words, arguments].concat());
    Background::start(&words, &daemon.scratch().join("listening.log"))
}

/// A packet for `packet-out` that comes back.
const PACKET: &str = "in_port=1,packet=ffffffffffff02000000009988b5,actions=CONTROLLER";

#[test]
fn stock_ovs_ofctl_measures_and_listens() {
    let daemon = Daemon::start_in(Netns::silent("sw"), &null_bridge(SETTINGS));
    let socket = format!("unix:{}/br0.mgmt", daemon.run_dir().display());
    let pings = listening(&daemon, &socket, &["ping", "1000"]);
    eventually("echoes come back", 30, || {
        pings
            .output()
            .contains("1000 bytes from unix:")
            .then_some(())
    });
    drop(pings);
    let measured = daemon
        .ofctl("benchmark", "br0", &["1000", "100"])
        .expect_success();
    assert!(measured.contains("100 packets * 1008 bytes"), "{measured}");
    assert!(measured.contains("Finished in"), "{measured}");

    let monitor = listening(&daemon, &socket, &["monitor", "65534"]);
    let says = |text: &str| {
        eventually(text, 30, || monitor.output().contains(text).then_some(()));
    };
    eventually("a packet comes in", 30, || {
        daemon
            .ofctl("packet-out", "br0", &[PACKET])
            .expect_success();
        monitor.output().contains("NXT_PACKET_IN2").then_some(())
    });
    says("total_len=14 in_port=1 (via action) data_len=14 (unbuffered)");
    let flow = "cookie=0x9,priority=4,in_port=2,send_flow_rem,actions=drop";
    daemon.ofctl("add-flow", "br0", &[flow]).expect_success();
    daemon
        .ofctl("del-flows", "br0", &["in_port=2"])
        .expect_success();
    says("OFPT_FLOW_REMOVED");
    says("priority=4,in_port=2 reason=delete table_id=0 cookie:0x9");
    daemon
        .ofctl("mod-port", "br0", &["n2", "down"])
        .expect_success();
    says("OFPT_PORT_STATUS");
    says("config:     PORT_DOWN");
    drop(monitor);

    // Nobody else's dialogue can be heard.
    let here = format!("OVS_RUNDIR={}", daemon.run_dir().display());
    let snoop = run(&["env", &here, "ovs-ofctl", "-OOpenFlow13", "snoop", "br0"]);
    assert!(!snoop.status.success());
    let show = run(&["env", &here, "ovs-ofctl", "-OOpenFlow13", "show", "br0"]);
    assert!(
        show.expect_success().contains("n1"),
        "found by the bridge's name"
    );
    daemon.stop();
}
