//! Our daemon, as `make run` starts it, with a configuration file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Background, Netns, binary, eventually, run};

use super::Port;
use crate::judge::machine::{WORKER_CPU, has_hugepages};

pub(super) struct Ours {
    process: Background,
    _netns: Netns,
    run_dir: PathBuf,
}

impl Ours {
    pub(super) fn start(ports: &[Port], folder: &Path) -> Result<Ours> {
        let run_dir = folder.join("run");
        let config = folder.join("vswitch.toml");
        fs::write(&config, text(ports, &run_dir))?;
        let netns = Netns::new("sw");
        let daemon = binary("vswitchd").display().to_string();
        let config = config.display().to_string();
        let words = netns.words(&[&daemon, "--config", &config]);
        let process = Background::start(&words, &folder.join("vswitchd.log"));
        let mut ours = Ours {
            process,
            _netns: netns,
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
        ours.check_ports()?;
        Ok(ours)
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

    /// Cycles spent with packets, and how many.
    pub(super) fn cycles(&self) -> Result<(f64, f64)> {
        let shown = self.vsctl(&["worker", "show"])?;
        let number = |name: &str| {
            let value = shown.pointer(&format!("/workers/0/{name}"));
            value
                .and_then(Value::as_f64)
                .context("no counters of the worker")
        };
        Ok((number("busy_cycles")?, number("packets")?))
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

fn text(ports: &[Port], run_dir: &Path) -> String {
    let head = format!(
        "run_dir = \"{}\"\n[workers]\ncpus = [{WORKER_CPU}]\n[dpdk]\nmemory_mib = 256\n\
         [[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n",
        run_dir.display()
    );
    let port = |(index, port): (usize, &Port)| {
        let number = index + 1;
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
    };
    head + &ports.iter().enumerate().map(port).collect::<String>()
}
