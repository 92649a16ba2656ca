//! The machine that is measured on: what it is, and how much of the worker's CPU others had.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The CPU that forwards, and the one for everything else.
pub const WORKER_CPU: usize = 1;
/// See [`WORKER_CPU`].
pub const CONTROL_CPU: usize = 0;

/// What a report says of the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the CPUs, and their number.
    pub cpu: String,
    /// Kernel.
    pub kernel: String,
    /// Versions of what was measured, by name.
    pub versions: Vec<String>,
    /// Day of the measurement, UTC.
    pub date: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let value = |line: &str| {
            line.split_once(':')
                .map(|(_, text)| text.trim().to_string())
        };
        let mut models = info.lines().filter(|line| line.starts_with("model name"));
        let model = models.next().and_then(value).unwrap_or_default();
        let count = models.count() + 1;
        let ghz = cycles_hz() / 1e9;
        let memory = match has_hugepages() {
            true => "",
            false => ", without huge pages",
        };
        let kernel = first_line(&["uname", "-sr"]);
        Machine {
            cpu: format!("{count} CPUs {model}, time stamp counter {ghz:.2} GHz{memory}"),
            kernel,
            versions: versions(),
            date: first_line(&["date", "-u", "+%Y-%m-%d"]),
        }
    }
}

/// Whether there are enough huge pages for any contender; without them all do with less.
pub(super) fn has_hugepages() -> bool {
    tests::ovs::free_hugepages_mib() >= tests::ovs::MEMORY_MIB
}

fn versions() -> Vec<String> {
    let package = |name: &str| {
        let version = first_line(&["dpkg-query", "-W", "-f", "${Version}", name]);
        format!("{name} {version}")
    };
    let own = format!("vswitchd {}", env!("CARGO_PKG_VERSION"));
    vec![own, package("openvswitch-switch-dpdk"), package("dpdk-dev")]
}

fn first_line(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().next().unwrap_or_default().to_string()
}

/// Ticks a second of the counter that switches count cycles with; found out once.
pub fn cycles_hz() -> f64 {
    static HZ: OnceLock<f64> = OnceLock::new();
    *HZ.get_or_init(|| {
        let (cycles, start) = (pmd::cycles(), Instant::now());
        std::thread::sleep(Duration::from_millis(100));
        (pmd::cycles() - cycles) as f64 / start.elapsed().as_secs_f64()
    })
}

/// What a thread and its CPU did until now, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    /// The thread ran.
    pub ran: f64,
    /// The CPU did anything, or nothing.
    pub all: f64,
    /// The hypervisor gave it to others.
    pub stolen: f64,
}

impl Use {
    /// Of the worker of a process.
    pub fn of_worker(process: u32) -> Result<Use> {
        let path = format!("/proc/{process}/task/{}", worker_thread(process)?);
        let times = fs::read_to_string(format!("{path}/schedstat"))?;
        let ran = times.split_whitespace().next().context("no time")?;
        let ran = ran.parse::<f64>()? / 1e9;
        let stat = fs::read_to_string("/proc/stat")?;
        let prefix = format!("cpu{WORKER_CPU} ");
        let line = stat.lines().find_map(|line| line.strip_prefix(&prefix));
        let ticks = line.context("the worker's CPU is not there")?;
        let ticks: Vec<f64> = ticks
            .split_whitespace()
            .filter_map(|tick| tick.parse().ok())
            .collect();
        let tick = 1.0 / TICKS_A_SECOND;
        let all = ticks.iter().take(STEAL + 1).sum::<f64>() * tick;
        let stolen = ticks.get(STEAL).copied().unwrap_or(0.0) * tick;
        Ok(Use { ran, all, stolen })
    }

    /// Share of the time since `before` that others had the CPU: programs, interrupts, and what the
    /// hypervisor took.
    pub fn others_since(self, before: Use) -> f64 {
        let all = self.all - before.all;
        if all <= 0.0 {
            return 0.0;
        }
        (1.0 - (self.ran - before.ran) / all).clamp(0.0, 1.0)
    }
}

/// The thread of a process that forwards: ours, Open vSwitch's or testpmd's.
pub(super) fn worker_thread(process: u32) -> Result<String> {
    let folder = format!("/proc/{process}/task");
    for task in fs::read_dir(&folder).with_context(|| folder.clone())? {
        let task = task?;
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let names = ["worker-", "pmd-", "rte-worker-"];
        if names.iter().any(|prefix| name.starts_with(prefix)) {
            return Ok(task.file_name().to_string_lossy().into_owned());
        }
    }
    anyhow::bail!("process {process} has no worker")
}

/// `USER_HZ` of Linux (proc(5)).
const TICKS_A_SECOND: f64 = 100.0;
/// Place of the stolen time in a line of /proc/stat (proc(5)).
const STEAL: usize = 7;
