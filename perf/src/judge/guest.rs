//! Guests on vhost-user: dpdk-testpmd over `net_virtio_user`. One takes what it is sent; two send
//! to each other, in one process that takes from the one's device and sends by the other's in turn,
//! since they share a CPU. They run on the control CPU.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tests::Background;

use super::machine::CONTROL_CPU;

/// What two guests are like that send to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairSpec {
    /// With packed rings, else split ones.
    pub packed: bool,
    /// Flows each way: destinations from 10.253.0.0 on.
    pub flows: u32,
    /// Bytes of a frame on the wire, with its check sequence.
    pub wire_bytes: usize,
}

/// One that runs, or two.
pub struct Guest {
    process: Background,
    folder: TempDir,
    count: usize,
}

impl Guest {
    /// Starts one that takes what it is sent; the switch may connect to its socket from now on.
    pub fn start(packed: bool) -> Result<Guest> {
        Guest::start_process(1, packed, &["--forward-mode=rxonly".into()])
    }

    /// Starts two that send to each other.
    pub fn pair(spec: PairSpec) -> Result<Guest> {
        let options = [
            "--forward-mode=flowgen".into(),
            format!("--flowgen-flows={}", spec.flows),
            format!("--txpkts={}", spec.wire_bytes),
        ];
        Guest::start_process(2, spec.packed, &options)
    }

    fn start_process(count: usize, packed: bool, options: &[String]) -> Result<Guest> {
        let folder = tempfile::Builder::new().prefix("guest-").tempdir()?;
        let device = |number| {
            format!(
                "net_virtio_user{number},path={},server=1,queues=1,queue_size=1024,packed_vq={}",
                folder.path().join(socket_name(number)).display(),
                u8::from(packed)
            )
        };
        let lcores = format!("0@{CONTROL_CPU},1@{CONTROL_CPU}");
        let mut words = vec!["dpdk-testpmd".to_string(), "--lcores".into(), lcores];
        for number in 1..=count {
            words.extend(["--vdev".into(), device(number)]);
        }
        let memory = ["--no-pci", "--in-memory", "--no-telemetry", "-m", "64"];
        words.extend(memory.map(String::from));
        words.extend(["--single-file-segments".into(), "--".into()]);
        let forwarding = [
            "--auto-start",
            "--stats-period=1",
            "--total-num-mbufs=16384",
        ];
        words.extend(forwarding.map(String::from));
        words.extend_from_slice(options);
        let process = Background::start(&words, &folder.path().join("log"));
        let mut guest = Guest {
            process,
            folder,
            count,
        };
        let end = Instant::now() + Duration::from_secs(20);
        // The second device may come up only once the first is connected to.
        while !guest.socket(1).exists() && guest.process.is_running() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = guest.process.output();
        ensure!(
            guest.socket(1).exists(),
            "the guest does not come up: {log}"
        );
        Ok(guest)
    }

    /// Where the hypervisor of the first or second would listen.
    pub fn socket(&self, number: usize) -> PathBuf {
        self.folder.path().join(socket_name(number))
    }

    /// Packets a second that were received, by all guests together, as they said each second.
    pub fn rates(&self) -> Vec<f64> {
        let log = self.process.output();
        let rates = log.lines().filter_map(|line| {
            let (_, after) = line.split_once("Rx-pps:")?;
            after.split_whitespace().next()?.parse().ok()
        });
        let rates: Vec<f64> = rates.collect();
        let together = rates.chunks_exact(self.count);
        together.map(|rates| rates.iter().sum()).collect()
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

fn socket_name(number: usize) -> String {
    format!("guest{number}.sock")
}
