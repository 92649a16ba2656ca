//! The switch under test and the tester switch, and the tool that controls them.
//!
//! ```text
//!  namespace "target"                        namespace "tester"
//!  ┌─────────────────┐ tg1 ────────── ts1 ┌────────────────────┐
//!  │  switch         │ tg2 ────────── ts2 │  Open vSwitch      │
//!  │  under test     │ tg3 ────────── ts3 │                    │
//!  └─────────────────┘                    └────────────────────┘
//!      datapath 1      ctl ────────── ctl   datapath 2, os-ken
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Options, Outcome, Pattern};
use crate::daemon::Daemon;
use crate::netns::Netns;
use crate::ovs::Ovs;
use crate::process::Background;

/// Which switch is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Ours.
    Vswitchd,
    /// Debian's Open vSwitch with its userspace datapath.
    OpenVswitch,
}

/// Two switches, up and running.
pub struct Pair {
    switch: Switch,
    tester: Ovs,
    folder: TempDir,
}

/// The switch under test; running as long as this is there.
enum Switch {
    Vswitchd(Daemon),
    OpenVswitch { _running: Ovs },
}

impl Pair {
    /// Starts both switches; they dial the tool, which is not there yet.
    #[track_caller]
    pub fn start(target: Target) -> Pair {
        let (under_test, judge) = (Netns::new("target"), Netns::new("tester"));
        for netns in [&under_test, &judge] {
            // The kernel is not to say anything of its own on the links.
            netns.run(&["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
            netns.run(&["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"]);
        }
        for port in 1..=PORTS {
            under_test.veth(&format!("tg{port}"), &judge, &format!("ts{port}"));
        }
        under_test.veth("ctl", &judge, "ctl");
        under_test.ip("addr add 10.255.255.1/30 dev ctl");
        judge.ip(&format!("addr add {CONTROLLER}/30 dev ctl"));
        let tester = Ovs::start_without_dpdk(judge);
        add_bridge(&tester, 2, "ts");
        let switch = match target {
            Target::Vswitchd => Switch::Vswitchd(start_vswitchd(under_test)),
            Target::OpenVswitch => {
                let ovs = Ovs::start_without_dpdk(under_test);
                add_bridge(&ovs, 1, "tg");
                Switch::OpenVswitch { _running: ovs }
            }
        };
        let folder = crate::process::folder();
        Pair {
            switch,
            tester,
            folder,
        }
    }

    /// Has the tool run patterns, and ends both switches. `progress` is told how many more are
    /// done.
    pub fn run(
        self,
        patterns: &[&Pattern],
        options: &Options,
        progress: &dyn Fn(usize),
    ) -> Vec<Outcome> {
        let places = write_files(patterns, &self.folder.path().join("patterns"));
        let results = self.folder.path().join("results");
        let mut tool = self.start_tool(&results, options);
        let limit = Instant::now() + time_limit(patterns, options);
        let mut done = 0;
        loop {
            let running = tool.is_running() && Instant::now() < limit;
            let now = count_lines(&results);
            progress(now - done);
            done = now;
            if !running {
                break;
            }
            sleep(Duration::from_millis(200));
        }
        let mut outcomes = read_results(&results, &places, patterns.len());
        if done < patterns.len() {
            let reason = format!("the tool ended early or was too late: {}", end_of(&tool));
            outcomes
                .iter_mut()
                .for_each(|outcome| outcome.explain(&reason));
        }
        if let Switch::Vswitchd(daemon) = self.switch {
            daemon.stop();
        }
        outcomes
    }

    /// Starts the tool where the tester switch is: it sends streams by that switch's device.
    fn start_tool(&self, results: &Path, options: &Options) -> Background {
        let options = json!({
            "results": results,
            "settle_s": options.settle_s,
            "rate_s": options.rate_s,
            "device": "ts1",
            "mend": options.mend,
            "packet_s": options.packet_s,
        });
        let manager = super::python_dir().join("bin/osken-manager");
        let application = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/tester.py");
        let patterns = self.folder.path().join("patterns");
        let words = [
            "env",
            &format!("CONFORMANCE={options}"),
            &manager.display().to_string(),
            "--ofp-listen-host",
            CONTROLLER,
            "--ofp-tcp-listen-port",
            "6653",
            "--test-switch-dir",
            &patterns.display().to_string(),
            application,
        ];
        let log = self.folder.path().join("tool.log");
        Background::start(&self.tester.netns().words(&words), &log)
    }
}

fn start_vswitchd(netns: Netns) -> Daemon {
    let mut bridge = format!(
        "[[bridge]]\nname = \"br1\"\nfail_mode = \"secure\"\ndatapath_id = 1\n\
         controllers = [{{ target = \"tcp:{CONTROLLER}:6653\", max_backoff_s = 1 }}]\n"
    );
    for number in 1..=PORTS {
        bridge += &format!(
            "[[bridge.port]]\nname = \"tg{number}\"\nnumber = {number}\ntype = \"system\"\n"
        );
    }
    Daemon::start_beside(netns, &bridge)
}

fn add_bridge(ovs: &Ovs, datapath: u32, prefix: &str) {
    let name = format!("br{datapath}");
    let id = format!("other_config:datapath-id={datapath:016x}");
    let controller = format!("tcp:{CONTROLLER}:6653");
    let secure = ["protocols=OpenFlow13", "fail_mode=secure"];
    let in_band = "other_config:disable-in-band=true";
    ovs.add_bridge(&name, &[&secure[..], &[&id, in_band]].concat());
    for port in 1..=PORTS {
        let number = format!("ofport_request={port}");
        ovs.add_interface(&name, &format!("{prefix}{port}"), &[&number]);
    }
    ovs.vsctl(&["set-controller", &name, &controller]);
    let patience = ["connection-mode=out-of-band", "max_backoff=1000"];
    ovs.vsctl(&[&["set", "controller", &name], &patience[..]].concat());
}

/// Where a pattern is in the files written: what its file is about, and its number there.
type Places = HashMap<(String, usize), usize>;

/// Writes the chosen patterns as files of the tool.
fn write_files(patterns: &[&Pattern], folder: &Path) -> Places {
    std::fs::create_dir(folder).expect("the temporary folder is writable");
    let (mut files, mut places) = (HashMap::<&str, Vec<Value>>::new(), Places::new());
    for (index, pattern) in patterns.iter().enumerate() {
        let file = files
            .entry(&pattern.file)
            .or_insert_with(|| vec![json!(pattern.file)]);
        places.insert((pattern.file.clone(), file.len() - 1), index);
        file.push(pattern.text.clone());
    }
    for (number, items) in files.values().enumerate() {
        let path = folder.join(format!("{number}.json"));
        std::fs::write(path, json!(items).to_string()).expect("the folder is writable");
    }
    places
}

/// A pattern that fails waits for packets three times three seconds at the most.
fn time_limit(patterns: &[&Pattern], options: &Options) -> Duration {
    let rate = Duration::from_secs(options.rate_s.unwrap_or(30).into());
    let each = patterns.iter().map(|pattern| match pattern.kind {
        super::Kind::Rate => rate + Duration::from_secs(10),
        _ => Duration::from_secs(10),
    });
    Duration::from_secs(60) + each.sum::<Duration>()
}

fn count_lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.matches('\n').count())
}

fn read_results(path: &Path, places: &Places, count: usize) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::NotRun(String::new()); count];
    let text = std::fs::read_to_string(path).unwrap_or_default();
    for line in text.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let file = line["file"].as_str().unwrap_or_default().to_string();
        let number = line["number"].as_u64().unwrap_or(u64::MAX) as usize;
        if let Some(index) = places.get(&(file, number)) {
            let reason = line["reason"].as_str().unwrap_or_default();
            outcomes[*index] = match line["passed"] == json!(true) {
                true => Outcome::Passed,
                false => Outcome::Failed(reason.into()),
            };
        }
    }
    outcomes
}

fn end_of(tool: &Background) -> String {
    let output = tool.output();
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

/// Ports of each switch.
const PORTS: u32 = 3;

/// Address of the tool.
const CONTROLLER: &str = "10.255.255.2";
