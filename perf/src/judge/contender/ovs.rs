//! Open vSwitch on DPDK, as Debian has it, with its defaults.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tests::{Netns, run};

use super::Port;

pub(super) struct Ovs {
    switch: tests::Ovs,
}

impl Ovs {
    pub(super) fn start(ports: &[Port]) -> Result<Ovs> {
        let switch = tests::Ovs::start(Netns::new("ovs"));
        switch.add_bridge("br0", &["fail_mode=secure", "protocols=OpenFlow13"]);
        let numbered: Vec<(usize, &Port)> = (1..).zip(ports).collect();
        for some in numbered.chunks(PORTS_AT_ONCE) {
            let words: Vec<String> = some.iter().flat_map(|one| addition(*one)).collect();
            switch.vsctl(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
        Ok(Ovs { switch })
    }

    pub(super) fn pid(&self) -> u32 {
        self.switch.pid()
    }

    pub(super) fn bridge(&self) -> PathBuf {
        self.switch.folder().join("br0.mgmt")
    }

    /// Cycles spent with packets, and how many.
    pub(super) fn cycles(&self) -> Result<(f64, f64)> {
        let text = self.appctl("dpif-netdev/pmd-stats-show")?;
        let pmd = text.split("pmd thread").nth(1).context("no PMD thread")?;
        let number = |name: &str| {
            let line = pmd.lines().find_map(|line| line.trim().strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            let number = word.and_then(|word| word.parse::<f64>().ok());
            number.with_context(|| format!("no '{name}' in pmd-stats-show"))
        };
        Ok((number("processing cycles:")?, number("packets received:")?))
    }

    fn appctl(&self, command: &str) -> Result<String> {
        let control = format!("ovs-vswitchd-dpdk.{}.ctl", self.pid());
        let control = self.switch.folder().join(control).display().to_string();
        let output = run(&["ovs-appctl", "-t", &control, command]);
        ensure!(output.status.success(), "ovs-appctl: {}", output.stderr);
        Ok(output.stdout)
    }
}

/// What `ovs-vsctl` is told to add a port.
fn addition((number, port): (usize, &Port)) -> Vec<String> {
    let name = format!("p{number}");
    let (kind, option) = match port {
        Port::Device(device) => ("dpdk", format!("dpdk-devargs=\"{device}\"")),
        Port::Guest(path) => {
            let path = path.display();
            ("dpdkvhostuserclient", format!("vhost-server-path={path}"))
        }
    };
    let add = [
        "--",
        "add-port",
        "br0",
        &name,
        "--",
        "set",
        "interface",
        &name,
    ];
    let settings = [
        format!("type={kind}"),
        format!("options:{option}"),
        format!("ofport_request={number}"),
    ];
    add.map(String::from).into_iter().chain(settings).collect()
}

/// Ports in one call of `ovs-vsctl`: each call waits until they are there.
const PORTS_AT_ONCE: usize = 50;
