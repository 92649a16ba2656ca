//! Flow monitors of stock `ovs-ofctl -O OpenFlow13 monitor BRIDGE watch:…`, before our switch and
//! before Open vSwitch: the same changes print the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tests::{Background, Daemon, Netns, Ovs, eventually, run};

const BRIDGE: &str = r#"
[[bridge]]
name = "br0"
fail_mode = "secure"
datapath_id = 42
"#;

/// What monitors are for.
const WATCHED: [&str; 8] = [
    "watch:",
    "watch:!own",
    "watch:!initial,!actions",
    "watch:!add,!modify",
    "watch:!delete,table=2",
    "watch:tcp,tp_dst=80",
    "watch:out_port=5",
    "watch:out_port=3,in_port=1,!initial",
];

/// A switch to be asked.
struct Place {
    socket: PathBuf,
    folder: PathBuf,
}

impl Place {
    fn ofctl(&self, words: &[&str]) {
        let target = format!("unix:{}", self.socket.display());
        let (command, arguments) = words.split_first().expect("a command");
        let prefix = ["ovs-ofctl", "-OOpenFlow13", "-t60", command, &target];
        run(&[&prefix, arguments].concat()).expect_success();
    }

    fn file(&self, name: &str, lines: &[&str]) -> String {
        let file = self.folder.join(name);
        std::fs::write(&file, lines.join("\n")).expect("room for a file");
        file.display().to_string()
    }
}

/// An `ovs-ofctl` that monitors.
struct Monitor {
    process: Background,
    control: String,
}

impl Monitor {
    fn start(place: &Place, number: usize, watched: &str) -> Monitor {
        let name = |what: &str| place.folder.join(format!("monitor{number}.{what}"));
        let control = name("ctl").display().to_string();
        let unixctl = format!("--unixctl={control}");
        let target = format!("unix:{}", place.socket.display());
        let words = [
            "ovs-ofctl",
            &unixctl,
            "-OOpenFlow13",
            "monitor",
            &target,
            watched,
        ];
        let words = words.map(str::to_owned);
        let process = Background::start(&words, &name("log"));
        eventually("the answer to the request", 60, || {
            process
                .output()
                .contains("ONFST_FLOW_MONITOR")
                .then_some(())
        });
        Monitor { process, control }
    }

    fn tell(&self, words: &[&str]) {
        run(&[&["ovs-appctl", "-t", &self.control], words].concat()).expect_success();
    }

    /// Waits until all is told that has happened so far.
    fn wait(&self) {
        let count = |text: &str| text.matches("OFPT_BARRIER_REPLY").count();
        let before = count(&self.process.output());
        self.tell(&["ofctl/barrier"]);
        eventually("the answer to a barrier", 60, || {
            (count(&self.process.output()) > before).then_some(())
        });
    }

    /// What it printed: messages in their order, the flows of each sorted, without transaction
    /// numbers but of changes of its own.
    fn printed(&self) -> String {
        let output = self.process.output();
        let mut messages: Vec<(String, Vec<&str>)> = Vec::new();
        for line in output.lines() {
            match (line.strip_prefix(' '), messages.last_mut()) {
                (Some(flow), Some((_, flows))) => flows.push(flow),
                _ => {
                    let title = line.split("(xid=").next().unwrap_or(line);
                    messages.push((title.to_owned(), Vec::new()));
                }
            }
        }
        let mut text = String::new();
        for (title, mut flows) in messages {
            flows.sort_unstable();
            text += &format!("{title}\n{}\n", flows.join("\n"));
        }
        text
    }
}

/// Deletes every flow of table 0, as message 0x12345678.
const DELETE: &str = "040e0038123456780000000000000000000000000000000000030000\
                      00000000ffffffffffffffffffffffff000000000001000400000000";

fn change(place: &Place) {
    let flows = place.file(
        "flows",
        &[
            "in_port=1,dl_vlan=123,actions=output:5",
            "in_port=1,dl_vlan=124,actions=output:5",
            "in_port=1,dl_vlan=0,priority=7,cookie=3,actions=output:3",
            "table=2,idle_timeout=300,hard_timeout=700,tcp,tp_dst=80,actions=output:2,goto_table:5",
            "table=2,udp,tp_dst=80,actions=write_metadata:5,goto_table:7",
        ],
    );
    place.ofctl(&["add-flows", &flows]);
    place.ofctl(&["mod-flows", "vlan_tci=0x1000/0x1000,actions=output:3"]);
    place.ofctl(&["mod-flows", "vlan_tci=0x1000/0x1000,actions=output:3"]);
    place.ofctl(&["mod-flows", "in_port=9,actions=output:3"]);
    place.ofctl(&["mod-flows", "table=2,tcp,actions=output:5"]);
    place.ofctl(&["mod-flows", "table=2,actions=drop"]);
    place.ofctl(&["add-flow", "in_port=1,dl_vlan=123,actions=output:3"]);
    place.ofctl(&["add-flow", "in_port=1,dl_vlan=123,actions=output:4"]);
    place.ofctl(&["del-flows", "--strict", "in_port=1,dl_vlan=123"]);
    place.ofctl(&["del-flows", "in_port=9"]);
    place.ofctl(&["add-group", "group_id=1,type=all,bucket=output:1"]);
    place.ofctl(&["add-flow", "in_port=4,actions=group:1"]);
    place.ofctl(&["del-groups", "group_id=1"]);
    place.ofctl(&["add-meter", "meter=1,kbps,bands=type=drop,rate=1000"]);
    place.ofctl(&["add-flow", "in_port=6,actions=meter:1,output:5"]);
    place.ofctl(&["del-meter", "meter=1"]);
    place.ofctl(&["del-flows", "table=2,udp"]);
    let bundle = place.file(
        "bundle",
        &[
            "flow add in_port=7,actions=drop",
            "flow add in_port=8,actions=output:5",
            "flow modify in_port=8,actions=output:6",
            "flow delete in_port=7",
        ],
    );
    place.ofctl(&["bundle", &bundle]);
}

/// All that monitors print while a switch is changed.
fn print(place: &Place) -> Vec<String> {
    place.ofctl(&["del-flows"]);
    place.ofctl(&["add-flow", "table=2,cookie=9,in_port=2,actions=output:5"]);
    place.ofctl(&["add-flow", "in_port=1,dl_vlan=123,actions=output:1"]);
    let numbered = WATCHED.iter().enumerate();
    let monitors = numbered.map(|(number, watched)| Monitor::start(place, number, watched));
    let monitors: Vec<Monitor> = monitors.collect();
    change(place);
    monitors.iter().for_each(Monitor::wait);
    for own in &monitors[..2] {
        place.ofctl(&["add-flow", "in_port=3,actions=output:5"]);
        // What is printed of that, and of the next command, would else come in any order.
        own.wait();
        own.tell(&["ofctl/send", DELETE]);
        monitors.iter().for_each(Monitor::wait);
    }
    for timeout in ["hard", "idle"] {
        place.ofctl(&[
            "add-flow",
            &format!("{timeout}_timeout=1,in_port=3,actions=output:5"),
        ]);
        let reason = format!("DELETED reason={timeout}");
        eventually(&reason, 60, || {
            monitors[0].process.output().contains(&reason).then_some(())
        });
        monitors.iter().for_each(Monitor::wait);
    }
    monitors.iter().map(Monitor::printed).collect()
}

fn place(socket: PathBuf, folder: &Path) -> Place {
    Place {
        socket,
        folder: folder.to_owned(),
    }
}

#[test]
fn the_same_changes_print_the_same_as_before_open_vswitch() {
    let ovs = Ovs::start_without_dpdk(Netns::silent("ovs"));
    ovs.add_bridge("br0", &["protocols=OpenFlow13", "fail_mode=secure"]);
    let theirs = print(&place(ovs.folder().join("br0.mgmt"), ovs.folder()));
    drop(ovs);
    let daemon = Daemon::start_in(Netns::silent("sw"), BRIDGE);
    let ours = print(&place(daemon.run_dir().join("br0.mgmt"), daemon.scratch()));
    daemon.stop();
    for ((ours, theirs), watched) in ours.iter().zip(&theirs).zip(WATCHED) {
        assert!(theirs.contains("event="), "{watched}: {theirs}");
        assert_eq!(ours, theirs, "{watched}");
    }
    assert!(theirs[0].matches("event=").count() > 20, "{}", theirs[0]);
    assert!(theirs[1].contains("ABBREV xid=0x12345678"), "{}", theirs[1]);
}

/// What is there after all that a monitor printed: match and actions of each flow.
fn picture(printed: &str) -> BTreeMap<String, String> {
    let mut picture = BTreeMap::new();
    for line in printed.lines().filter(|line| line.contains("event=")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_of_match = |word: &&&str| {
            !["event", "reason", "cookie", "actions"]
                .iter()
                .any(|name| word.starts_with(name))
        };
        let matching: Vec<&str> = words.iter().filter(is_of_match).copied().collect();
        let actions = words.iter().find(|word| word.starts_with("actions="));
        let actions = actions.map(|text| text.to_string()).unwrap_or_default();
        match words[0] {
            "event=DELETED" => picture.remove(&matching.join(" ")),
            _ => picture.insert(matching.join(" "), actions),
        };
    }
    picture
}

#[test]
fn a_monitor_that_does_not_read_is_paused_and_then_told_what_it_missed() {
    let daemon = Daemon::start_in(Netns::silent("sw"), BRIDGE);
    let place = place(daemon.run_dir().join("br0.mgmt"), daemon.scratch());
    place.ofctl(&["add-flow", "in_port=1,actions=output:1"]);
    place.ofctl(&["add-flow", "in_port=2,actions=output:1"]);
    let monitor = Monitor::start(&place, 0, "watch:");
    monitor.tell(&["ofctl/block"]);
    let flow = |port: usize| format!("table=1,cookie=1,in_port={port},actions=output:3");
    let flows: Vec<String> = (1..=FLOWS).map(flow).collect();
    let lines: Vec<&str> = flows.iter().map(String::as_str).collect();
    place.ofctl(&["add-flows", &place.file("flows", &lines), "--bundle"]);
    place.ofctl(&["add-flow", "in_port=3,actions=output:1"]);
    place.ofctl(&["mod-flows", "table=0,in_port=1,actions=output:2"]);
    place.ofctl(&["del-flows", "table=0,in_port=2"]);
    place.ofctl(&["del-flows", "table=1,cookie=1/-1"]);
    place.ofctl(&["add-flow", "table=1,in_port=5,actions=output:7"]);
    monitor.tell(&["ofctl/unblock"]);
    let count = |text: &str| monitor.process.output().matches(text).count();
    eventually("it is told that all is whole again", 60, || {
        let (pauses, resumes) = (count("MONITOR_PAUSED"), count("MONITOR_RESUMED"));
        (pauses > 0 && pauses == resumes).then_some(())
    });
    monitor.wait();
    let printed = monitor.process.output();
    let (before, _) = printed.split_once("MONITOR_PAUSED").expect("paused");
    let known = before.matches("event=ADDED table=1").count();
    assert!(known > 100 && known < FLOWS, "{known}");
    let text = |text: &str| text.to_owned();
    let wanted = [
        (text("table=0 in_port=1"), text("actions=output:2")),
        (text("table=0 in_port=3"), text("actions=output:1")),
        (text("table=1 in_port=5"), text("actions=output:7")),
    ];
    assert_eq!(picture(&printed), wanted.into());
    drop(monitor);
    daemon.stop();
}

/// Updates of so many are more than sockets hold and wait for a peer.
const FLOWS: usize = 20_000;
