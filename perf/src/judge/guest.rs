//! A guest on vhost-user: dpdk-testpmd over `net_virtio_user`, which takes what it is sent. It runs
//! on the control CPU, beside the generator.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tests::Background;

use super::machine::CONTROL_CPU;

/// One that runs.
pub struct Guest {
    process: Background,
    folder: TempDir,
}

impl Guest {
    /// Starts it; the switch may connect to its socket from now on.
    pub fn start(packed: bool) -> Result<Guest> {
        let folder = tempfile::Builder::new().prefix("guest-").tempdir()?;
        let path = folder.path().join("guest.sock");
        let device = format!(
            "net_virtio_user0,path={},server=1,queues=1,queue_size=1024,packed_vq={}",
            path.display(),
            u8::from(packed)
        );
        let lcores = format!("0@{CONTROL_CPU},1@{CONTROL_CPU}");
        let mut words = vec!["dpdk-testpmd", "--lcores", &lcores, "--vdev", &device];
        words.extend(["--no-pci", "--in-memory", "--no-telemetry", "-m", "64"]);
        words.extend(["--single-file-segments", "--", "--forward-mode=rxonly"]);
        words.extend([
            "--auto-start",
            "--stats-period=1",
            "--total-num-mbufs=16384",
        ]);
        let process = Background::start(&words, &folder.path().join("log"));
        let mut guest = Guest { process, folder };
        let end = Instant::now() + Duration::from_secs(20);
        while !guest.socket().exists() && guest.process.is_running() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = guest.process.output();
        ensure!(guest.socket().exists(), "the guest does not come up: {log}");
        Ok(guest)
    }

    /// Where its hypervisor would listen.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("guest.sock")
    }

    /// Packets a second that it received, as it said each second.
    pub fn rates(&self) -> Vec<f64> {
        let log = self.process.output();
        let rates = log.lines().filter_map(|line| {
            let (_, after) = line.split_once("Rx-pps:")?;
            after.split_whitespace().next()?.parse().ok()
        });
        rates.collect()
    }

    /// Waits until packets come.
    pub fn await_packets(&self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while self.rates().last().is_none_or(|&rate| rate <= 0.0) {
            ensure!(Instant::now() < end, "no packet reaches the guest");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The mean of its rates since it had said so many, without the one that began before.
    pub fn pps_since(&self, said: usize, limit: Duration) -> Result<f64> {
        let end = Instant::now() + limit;
        loop {
            let rates = self.rates();
            let since = rates.get(said + 1..).unwrap_or_default();
            if !since.is_empty() {
                return Ok(since.iter().sum::<f64>() / since.len() as f64);
            }
            ensure!(Instant::now() < end, "the guest tells no rate");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
