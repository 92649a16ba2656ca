//! Nodes of a cloud: each a namespace with a switch, guests and underlay, and one controller of
//! os-ken for all of them that keeps their flows as an intent says (`tests/controller/scenarios`).
//!
//! ```text
//!   controller 192.0.2.1 ─┬─ mgmt 192.0.2.11 node 1: vswitchd ─ guests
//!                         └─ mgmt 192.0.2.12 node 2: vswitchd ─ guests
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::controller::{Controller, OPENFLOW_PORT};
use crate::daemon::{Daemon, take_turn};
use crate::netns::Netns;
use crate::process::{Output, eventually, target_dir};

/// A node that is not running yet.
#[derive(Debug)]
pub struct Plan {
    number: u32,
    netns: Netns,
    text: String,
    bridges: Vec<String>,
}

impl Plan {
    /// A node, numbered from 1, that speaks IPv4 alone by itself.
    pub fn new(number: u32) -> Plan {
        Plan {
            number,
            netns: Netns::silent(&format!("node{number}")),
            text: String::new(),
            bridges: Vec::new(),
        }
    }

    /// The node's namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Begins a bridge that dials the controller; ports that are named next are its own.
    pub fn bridge(&mut self, name: &str) {
        self.bridges.push(name.to_string());
        let datapath = datapath(self.number, self.bridges.len());
        let _ = write!(
            self.text,
            "[[bridge]]\nname = \"{name}\"\nfail_mode = \"secure\"\ndatapath_id = {datapath}\n\
             controllers = [{{ target = \"tcp:192.0.2.1:{OPENFLOW_PORT}\", max_backoff_s = 1 }}]\n"
        );
    }

    /// A port with settings of the configuration file: `type = "system"`.
    pub fn port(&mut self, name: &str, number: u32, settings: &str) {
        let _ = write!(
            self.text,
            "[[bridge.port]]\nname = \"{name}\"\nnumber = {number}\n{settings}\n"
        );
    }

    /// The MAC of the bridge's own port, LOCAL.
    pub fn local(&mut self, mac: &str) {
        let name = self.bridges.last().expect("a bridge has begun");
        let _ = write!(
            self.text,
            "[[bridge.port]]\nname = \"{name}\"\ntype = \"internal\"\n\
             options = {{ mac = \"{mac}\" }}\n"
        );
    }

    /// A patch port to another bridge's.
    pub fn patch(&mut self, name: &str, number: u32, peer: &str) {
        let settings = format!("type = \"patch\"\noptions = {{ peer = \"{peer}\" }}");
        self.port(name, number, &settings);
    }

    /// A guest at a port: a namespace whose `eth0` has this address, with prefix length or none.
    pub fn guest(&mut self, name: &str, number: u32, mac: &str, address: &str) -> Netns {
        self.port(name, number, "type = \"system\"");
        self.station(name, mac, address)
    }

    /// As [`Plan::guest`], at an access port of a VLAN.
    pub fn tagged_guest(
        &mut self,
        name: &str,
        number: u32,
        tag: u32,
        mac: &str,
        address: &str,
    ) -> Netns {
        self.port(name, number, &format!("type = \"system\"\ntag = {tag}"));
        self.station(name, mac, address)
    }

    fn station(&self, name: &str, mac: &str, address: &str) -> Netns {
        let guest = Netns::silent(name);
        self.netns.veth(name, &guest, "eth0");
        guest.ip(&format!("link set eth0 address {mac}"));
        if !address.is_empty() {
            guest.ip(&format!("addr add {address} dev eth0"));
        }
        guest
    }

    /// A guest's port that a hypervisor's machine is at.
    pub fn machine(&mut self, name: &str, number: u32, more: &str) {
        let option = format!("vhost-server-path = \"RUN_DIR/{name}.sock\"");
        let settings = format!("type = \"dpdkvhostuserclient\"\noptions = {{ {option} }}\n{more}");
        self.port(name, number, &settings);
    }

    /// A port joined to a device of another namespace.
    pub fn join(&mut self, name: &str, number: u32, other: &Netns, there: &str) {
        self.port(name, number, "type = \"system\"");
        self.netns.veth(name, other, there);
    }
}

/// The nodes and their controller, running.
#[derive(Debug)]
pub struct Cloud {
    nodes: Vec<Daemon>,
    controller: Controller,
    bridges: Map<String, Value>,
    intent: PathBuf,
    generation: u64,
    folder: TempDir,
    _control: Netns,
    _turn: MutexGuard<'static, ()>,
}

impl Cloud {
    /// Starts `application` and the nodes, and waits until what is `wanted` is in force.
    #[track_caller]
    pub fn start<const N: usize>(application: &str, plans: [Plan; N], wanted: &Value) -> Cloud {
        let turn = take_turn();
        let folder = crate::process::folder();
        let control = control_network(&plans);
        let intent = folder.path().join("intent.json");
        let controller = Controller::start_intent(&control, application, &intent, folder.path());
        let mut bridges = Map::new();
        let mut nodes = Vec::new();
        for plan in plans {
            for (name, index) in plan.bridges.iter().zip(1..) {
                let described = json!({ "node": plan.number, "name": name });
                bridges.insert(datapath(plan.number, index).to_string(), described);
            }
            nodes.push(Daemon::start_beside(plan.netns, &plan.text));
        }
        let mut cloud = Cloud {
            nodes,
            controller,
            bridges,
            intent,
            generation: 0,
            folder,
            _control: control,
            _turn: turn,
        };
        cloud.want(wanted);
        cloud
    }

    /// Tells the controller what is wanted from now on, and waits until it is in force.
    #[track_caller]
    pub fn want(&mut self, wanted: &Value) {
        self.generation += 1;
        let mut intent = wanted.clone();
        intent["bridges"] = Value::Object(self.bridges.clone());
        intent["generation"] = self.generation.into();
        let fresh = self.intent.with_extension("new");
        std::fs::write(&fresh, intent.to_string()).expect("the folder is writable");
        std::fs::rename(&fresh, &self.intent).expect("the folder is writable");
        let done = self.folder.path().join("intent.json.done");
        let number = self.generation.to_string();
        eventually("what is wanted is in force", 60, || {
            let log = self.controller.log();
            assert!(
                !log.contains("refused: ") && !log.contains("Traceback"),
                "{log}"
            );
            let told = std::fs::read_to_string(&done).unwrap_or_default();
            (told == number).then_some(())
        });
    }

    /// A node's switch; nodes count from 1.
    pub fn node(&self, number: usize) -> &Daemon {
        &self.nodes[number - 1]
    }

    /// The same, to be crashed.
    pub fn node_mut(&mut self, number: usize) -> &mut Daemon {
        &mut self.nodes[number - 1]
    }

    /// A folder for the test's own files.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// `vsctl trace BRIDGE FLOW` on a node.
    #[track_caller]
    pub fn trace(&self, node: usize, bridge: &str, flow: &str) -> String {
        self.node(node)
            .vsctl(&["trace", bridge, flow])
            .expect_success()
    }

    /// Writes the scenario's part of docs/scenarios.md: its source's head, the flows that are in
    /// force on these bridges, and a trace on the first of them.
    #[track_caller]
    pub fn document(&self, number: &str, source: &str, bridges: &[(usize, &str)], flow: &str) {
        let folder = target_dir().join("scenarios");
        std::fs::create_dir_all(&folder).expect("the target folder is writable");
        let head = source.lines().map_while(|line| line.strip_prefix("//!"));
        let mut lines = head.map(|line| line.strip_prefix(' ').unwrap_or(line));
        let mut text = format!("## {number}. {}\n", lines.next().unwrap_or_default());
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        for (node, bridge) in bridges {
            let flows = self
                .node(*node)
                .vsctl(&["flow", "dump", bridge, "--no-stats"]);
            let groups = self.node(*node).vsctl(&["group", "dump", bridge]);
            let shown = [flows, groups].map(Output::expect_success).concat();
            let shown: String = shown
                .lines()
                .map(|line| format!("{}\n", line.trim()))
                .collect();
            let _ = write!(
                text,
                "\nFlows of {bridge} on node {node}:\n\n```\n{shown}```\n"
            );
        }
        let (node, bridge) = bridges[0];
        let trace = self.trace(node, bridge, flow);
        let _ = write!(
            text,
            "\n`vsctl trace {bridge} '{flow}'`:\n\n```\n{trace}```\n"
        );
        // So that files lie in the order of scenarios: 08, 08b, 09, 10, 10b.
        let letters = number.trim_start_matches(|sign: char| sign.is_ascii_digit());
        let width = 2 + letters.len();
        let file = folder.join(format!("{number:0>width$}.md"));
        std::fs::write(file, text).expect("the target folder is writable");
    }

    /// Ends every node; each must end well.
    #[track_caller]
    pub fn stop(mut self) {
        for node in std::mem::take(&mut self.nodes) {
            node.stop();
        }
    }
}

impl Drop for Cloud {
    /// A scenario that fails tells what every node's flows and ports have counted.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (key, described) in &self.bridges {
            let number = described["node"].as_u64().unwrap_or_default() as usize;
            let name = described["name"].as_str().unwrap_or_default();
            let Some(node) = number
                .checked_sub(1)
                .and_then(|index| self.nodes.get(index))
            else {
                continue;
            };
            let flows = node.vsctl(&["flow", "dump", name]).stdout;
            let met = flows.lines().filter(|line| !line.contains("n_packets=0"));
            let met: String = met.map(|line| format!("{line}\n")).collect();
            let stats = node.vsctl(&["stats", name]).stdout;
            eprintln!("{key}, {name} on node {number}:\n{met}{stats}");
        }
        eprintln!("{}", self.controller.log());
    }
}

/// Where the controller is: a bridge of the kernel joins the nodes to it.
#[track_caller]
fn control_network(plans: &[Plan]) -> Netns {
    let control = Netns::silent("control");
    control.ip("link add name mgmt type bridge");
    control.ip("addr add 192.0.2.1/24 dev mgmt");
    control.ip("link set mgmt up");
    for plan in plans {
        let number = plan.number;
        plan.netns.veth("mgmt", &control, &format!("node{number}"));
        control.ip(&format!("link set node{number} master mgmt"));
        plan.netns
            .ip(&format!("addr add 192.0.2.{}/24 dev mgmt", 10 + number));
    }
    control
}

/// Datapath id of a node's bridge, both counting from 1.
fn datapath(node: u32, bridge: usize) -> u64 {
    u64::from(node) * 16 + bridge as u64
}
