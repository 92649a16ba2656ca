//! dpdk-testpmd in `io` mode.

use std::path::Path;

use anyhow::{Result, ensure};
use tests::{Background, eventually};

use super::Port;
use crate::judge::machine::{CONTROL_CPU, WORKER_CPU, has_hugepages};

pub(super) struct Testpmd {
    process: Background,
}

impl Testpmd {
    pub(super) fn start(ports: &[Port], folder: &Path) -> Result<Testpmd> {
        let lcores = format!("0@{CONTROL_CPU},1@{WORKER_CPU}");
        let mut words = vec!["dpdk-testpmd", "--lcores", &lcores];
        words.extend(["--no-pci", "--in-memory", "--no-telemetry", "-m", "128"]);
        if !has_hugepages() {
            words.push("--no-huge");
        }
        let device = |(index, port): (usize, &Port)| match port {
            Port::Device(device) => device.clone(),
            Port::Guest(path) => format!("net_vhost{index},client=1,iface={}", path.display()),
        };
        // More than two are only ever there to be idle, and DPDK has no room for a thousand.
        let ports = ports.iter().take(2).enumerate();
        let devices: Vec<String> = ports.map(device).collect();
        for device in &devices {
            words.extend(["--vdev", device]);
        }
        // It ends at the end of its input unless it is to print statistics.
        words.extend([
            "--",
            "--forward-mode=io",
            "--auto-start",
            "--stats-period=60",
        ]);
        words.push("--total-num-mbufs=20000");
        let mut process = Background::start(&words, &folder.join("testpmd.log"));
        eventually("dpdk-testpmd forwards", 30, || {
            let forwards = process.output().contains("Press Ctrl-C to quit")
                || process.output().contains("packet forwarding");
            (forwards || !process.is_running()).then_some(())
        });
        ensure!(
            process.is_running(),
            "dpdk-testpmd ended: {}",
            process.output()
        );
        Ok(Testpmd { process })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }
}
