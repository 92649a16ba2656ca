//! Our daemon, as `make run` starts it, with a configuration file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Background, Netns, binary, eventually, run};

use super::{Besides, Port, join_underlay};
use crate::judge::frames::mac_text;
use crate::judge::machine::{WORKER_CPU, has_hugepages};
use crate::judge::tunnels::{self, NODES, Tunnels, node_address, node_mac, node_port, own_mac};

pub(super) struct Ours {
    process: Background,
    netns: Netns,
    run_dir: PathBuf,
}

impl Ours {
    pub(super) fn start(ports: &[Port], folder: &Path, besides: Besides) -> Result<Ours> {
        let run_dir = folder.join("run");
        let config = folder.join("vswitch.toml");
        fs::write(&config, text(ports, &run_dir, besides))?;
        let netns = Netns::new("sw");
        let daemon = binary("vswitchd").display().to_string();
        let config = config.display().to_string();
        let words = netns.words(&[&daemon, "--config", &config]);
        let process = Background::start(&words, &folder.join("vswitchd.log"));
        let mut ours = Ours {
            process,
            netns,
            run_dir,
        };
        eventually("vswitchd answers", 30, || {
            let socket = ours.run_dir.join("vswitchd.sock").exists();
            let ended = !ours.process.is_running();
            (ended || socket && ours.vsctl(&["show"]).is_ok()).then_some(())
        });
        ensure!(
            ours.process.is_running(),
            "vswitchd ended: {}",
            ours.process.output()
        );
        if besides.tunnels.is_some() {
            ours.join_underlay();
        }
        ours.check_ports()?;
        Ok(ours)
    }

    /// Tells the kernel where the other nodes are.
    fn join_underlay(&self) {
        join_underlay(&self.netns);
        for node in 0..NODES {
            let (address, mac) = (node_address(node), mac_text(node_mac(node)));
            let bridge = tunnels::BRIDGE;
            self.netns.ip(&format!(
                "neigh replace {address} lladdr {mac} dev {bridge} nud permanent"
            ));
        }
    }

    fn check_ports(&self) -> Result<()> {
        let shown = self.vsctl(&["show"])?;
        let text = shown.to_string();
        ensure!(!text.contains("\"error\":\""), "a port failed: {text}");
        let huge = shown.pointer("/hugepages") != Some(&Value::Bool(false));
        ensure!(
            huge || !has_hugepages(),
            "vswitchd has no hugepages: free some (make setup reserves them)"
        );
        Ok(())
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn bridge(&self) -> PathBuf {
        self.run_dir.join("br0.mgmt")
    }

    /// Cycles spent with packets, and how many came in: those that went through again are not
    /// counted twice, as they are not by Open vSwitch.
    pub(super) fn cycles(&self) -> Result<(f64, f64)> {
        let shown = self.vsctl(&["worker", "show"])?;
        let number = |name: &str| {
            let value = shown.pointer(&format!("/workers/0/{name}"));
            value
                .and_then(Value::as_f64)
                .context("no counters of the worker")
        };
        let packets = number("packets")? - number("recirculated")?;
        Ok((number("busy_cycles")?, packets))
    }

    /// Connections that it tracks.
    pub(super) fn connections(&self) -> Result<f64> {
        self.of_connections("connections")
    }

    /// Lets it forget them, and waits until their memory can be used again.
    pub(super) fn end_connections(&self) -> Result<()> {
        self.vsctl(&["ct", "flush"])?;
        while self.of_connections("taken")? > 0.0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn of_connections(&self, name: &str) -> Result<f64> {
        let shown = self.vsctl(&["ct", "stats"])?;
        let count = shown.pointer(&format!("/{name}")).and_then(Value::as_f64);
        count.with_context(|| format!("no number of {name}"))
    }

    fn vsctl(&self, words: &[&str]) -> Result<Value> {
        let vsctl = binary("vsctl").display().to_string();
        let run_dir = self.run_dir.display().to_string();
        let prefix = [&vsctl, "--run-dir", &run_dir, "--json"];
        let output = run(&[&prefix, words].concat());
        ensure!(output.status.success(), "vsctl: {}", output.stderr);
        Ok(serde_json::from_str(&output.stdout)?)
    }
}

/// The configuration: its bridges, each with its ports.
fn text(ports: &[Port], run_dir: &Path, besides: Besides) -> String {
    let tracking = besides.connections;
    let tracking = tracking.map(|count| format!("[conntrack]\nconnections = {count}\n"));
    let head = format!(
        "run_dir = \"{}\"\n[workers]\ncpus = [{WORKER_CPU}]\n[dpdk]\nmemory_mib = 256\n{}",
        run_dir.display(),
        tracking.unwrap_or_default()
    );
    let of_bridge = |name: &str, fail_mode: &str| {
        let ports = (1..).zip(ports);
        let ports = ports.filter(|(number, _)| besides.bridge_of(*number) == name);
        let ports = ports.map(|(number, port)| entry(number, port));
        format!("[[bridge]]\nname = \"{name}\"\nfail_mode = \"{fail_mode}\"\n")
            + &ports.collect::<String>()
    };
    let mut text = head + &of_bridge("br0", "secure");
    if let Some(tunnels) = besides.tunnels {
        text += &(0..NODES)
            .map(|node| tunnel(tunnels, node))
            .collect::<String>();
        let name = tunnels::BRIDGE;
        text += &of_bridge(name, "standalone");
        let mac = mac_text(own_mac());
        text += &format!(
            "[[bridge.port]]\nname = \"{name}\"\ntype = \"internal\"\n\
             options = {{ mac = \"{mac}\" }}\n"
        );
    }
    text
}

fn entry(number: usize, port: &Port) -> String {
    let (kind, option, value) = match port {
        Port::Device(device) => ("dpdk", "dpdk-devargs", device.clone()),
        Port::Guest(path) => {
            let path = path.display().to_string();
            ("dpdkvhostuserclient", "vhost-server-path", path)
        }
    };
    format!(
        "[[bridge.port]]\nname = \"p{number}\"\nnumber = {number}\ntype = \"{kind}\"\n\
         options = {{ {option} = \"{value}\" }}\n"
    )
}

fn tunnel(tunnels: Tunnels, node: u32) -> String {
    format!(
        "[[bridge.port]]\nname = \"t{node}\"\nnumber = {}\ntype = \"{}\"\n\
         options = {{ remote_ip = \"{}\", key = \"flow\" }}\n",
        node_port(node),
        tunnels.kind.name(),
        node_address(node)
    )
}
