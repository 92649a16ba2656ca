//! What of the machine the switch takes: CPUs and memory. Called by the daemon at its start and by
//! `--check`, so that what a configuration asks for is refused where the machine does not have it.

use std::fs;

use anyhow::Context;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::Runtime;
use tracing::error;

use super::config::{ConfigError, ConfigFile};

/// The CPUs of workers, and those of everything else.
#[derive(Clone, Debug)]
pub struct Cpus {
    /// One worker on each.
    pub workers: Vec<usize>,
    /// For all other threads.
    pub control: Vec<usize>,
}

impl Cpus {
    /// Those that are configured, or the last that the process may use.
    pub fn choose(file: &ConfigFile) -> anyhow::Result<Cpus> {
        let set = sched_getaffinity(None).context("reading this process's CPUs")?;
        let allowed: Vec<_> = (0..CpuSet::MAX_CPU)
            .filter(|&cpu| set.is_set(cpu))
            .collect();
        let mut workers = file.config().workers.cpus.clone();
        if workers.is_empty() {
            workers.extend(allowed.last());
        }
        if let Some(cpu) = workers.iter().find(|cpu| !allowed.contains(cpu)) {
            let message =
                format!("workers.cpus: no CPU {cpu} for this process; allowed are {allowed:?}");
            return Err(file.error_at("cpus", "workers", message).into());
        }
        let mut control: Vec<_> = allowed
            .iter()
            .copied()
            .filter(|cpu| !workers.contains(cpu))
            .collect();
        if control.is_empty() {
            control = allowed;
        }
        Ok(Cpus { workers, control })
    }

    /// The threads of everything but the workers, the calling one too, which stay off the
    /// workers' CPUs.
    pub fn runtime(&self, threads_max: usize) -> anyhow::Result<Runtime> {
        let cpus = self.control.clone();
        let pin = move || {
            let mut set = CpuSet::new();
            cpus.iter().for_each(|&cpu| set.set(cpu));
            if let Err(error) = sched_setaffinity(None, &set) {
                error!(%error, "control thread not kept off the workers' CPUs");
            }
        };
        pin();
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.control.len().clamp(1, threads_max))
            .thread_name("control")
            .on_thread_start(pin)
            .enable_all()
            .build()
            .context("starting the control threads")
    }
}

/// Refuses more memory than there is.
pub fn check_memory(file: &ConfigFile) -> Result<(), ConfigError> {
    check(file, "MemTotal:", "this machine has")
}

/// Refuses more ordinary memory than is free.
pub fn check_free_memory(file: &ConfigFile) -> Result<(), ConfigError> {
    check(
        file,
        "MemAvailable:",
        "there are too few free hugepages, and of ordinary memory",
    )
}

fn check(file: &ConfigFile, line: &str, what: &str) -> Result<(), ConfigError> {
    let wanted_mib = u64::from(file.config().dpdk.memory_mib);
    let told = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match value_of(&told, line).map(|kib| kib / 1024) {
        Some(mib) if mib < wanted_mib => {
            let message = format!("dpdk.memory_mib = {wanted_mib}: {what} {mib} MiB");
            Err(file.error_at("memory_mib", "dpdk", message))
        }
        _ => Ok(()),
    }
}

/// The number in a line of a file in /proc.
fn value_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether SIGHUP is ignored: whoever started the process wants it to outlive its terminal.
pub fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_has_not_is_refused_by_key_and_value() {
        let file = |text: &str| ConfigFile::without_file(text.to_owned()).unwrap();
        assert_eq!(check_memory(&file("[dpdk]\nmemory_mib = 64\n")), Ok(()));
        let error = check_memory(&file("\n[dpdk]\nmemory_mib = 1048576\n")).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains(":3: dpdk.memory_mib = 1048576: this machine has "),
            "{error}"
        );
        let error = Cpus::choose(&file("[workers]\ncpus = [8191]\n")).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(":2: workers.cpus: no CPU 8191"), "{error}");
    }

    #[test]
    fn numbers_are_found_by_their_names() {
        let told = "MemTotal:       2048 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(value_of(told, "MemAvailable:"), Some(1024));
        assert_eq!(value_of(told, "MemFree:"), None);
    }
}
