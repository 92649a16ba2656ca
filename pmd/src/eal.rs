//! DPDK's environment: one per process, never torn down, its threads kept off the workers' CPUs.
//!
//! What: [`Eal::start`] runs `rte_eal_init` once. The [`Eal`] it returns proves that DPDK may be
//! called; pools and ports ask for it.
//! How: `rte_eal_init` pins its caller and everything spawned from it, so it runs on a helper
//! thread whose affinity is the control CPUs; the main lcore is that same set of CPUs, and EAL's
//! own threads inherit it. Nothing is written to the file system (`--in-memory`), so that there is
//! nothing to clean up and any number of processes run side by side.
//! Why never torn down: a packet may outlive everything else, and its buffer is EAL's memory.

use std::ffi::{CString, c_char};
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::error::{describe, last_error};
use crate::{Error, ffi, offload, worker};

mod log;

pub(crate) use log::errors_during;

/// How to start EAL.
#[derive(Clone, Debug, Default)]
pub struct EalConfig {
    /// CPUs for EAL's own threads; empty means those this process may use.
    pub control_cpus: Vec<usize>,
    /// Memory for packets and rings.
    pub memory_mib: usize,
    /// Look at the PCI bus: needed when a port names a PCI address.
    pub pci: bool,
    /// Further EAL arguments; `--no-huge` here forbids huge pages.
    pub args: Vec<String>,
}

/// Proof that EAL runs. It does until the process ends.
#[derive(Clone, Debug)]
pub struct Eal {
    hugepages: bool,
}

impl Eal {
    /// Starts EAL, with huge pages if enough of them are free, else with ordinary memory.
    pub fn start(config: EalConfig) -> Result<Eal, Error> {
        let forbidden = config.args.iter().any(|argument| argument == NO_HUGE);
        let hugepages = !forbidden && free_hugepages_mib() >= config.memory_mib;
        let cpus = control_cpus(&config)?;
        let arguments = arguments(&config, &cpus, hugepages);
        let helper = thread::Builder::new().name("eal-init".into());
        let helper = helper
            .spawn(move || initialise(&cpus, &arguments, hugepages))
            .map_err(Error::Thread)?;
        helper.join().unwrap_or(Err(Error::AlreadyStarted))?;
        Ok(Eal { hugepages })
    }

    /// Whether packets live in huge pages.
    pub fn hugepages(&self) -> bool {
        self.hugepages
    }

    /// DPDK's version, such as `DPDK 22.11.11`.
    pub fn version(&self) -> String {
        // SAFETY: rte_version returns a NUL-terminated string that is never freed.
        let version = unsafe { std::ffi::CStr::from_ptr(ffi::rte_version()) };
        version.to_string_lossy().into_owned()
    }
}

fn control_cpus(config: &EalConfig) -> Result<Vec<usize>, Error> {
    let mine = worker::affinity().map_err(|reason| Error::Cpu { cpu: 0, reason })?;
    Ok(if config.control_cpus.is_empty() {
        mine
    } else {
        config.control_cpus.clone()
    })
}

fn arguments(config: &EalConfig, cpus: &[usize], hugepages: bool) -> Vec<String> {
    let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
    let mut arguments = vec!["vswitch".to_string(), "--no-telemetry".to_string()];
    arguments.extend(["--lcores".to_string(), format!("0@({})", cpus.join(","))]);
    arguments.extend(["-m".to_string(), config.memory_mib.to_string()]);
    if hugepages {
        arguments.push("--in-memory".to_string());
    } else {
        arguments.extend([NO_HUGE.to_string(), "--no-shconf".to_string()]);
    }
    if !config.pci {
        arguments.push("--no-pci".to_string());
    }
    arguments.extend(
        config
            .args
            .iter()
            .filter(|argument| *argument != NO_HUGE)
            .cloned(),
    );
    arguments
}

fn initialise(cpus: &[usize], arguments: &[String], hugepages: bool) -> Result<(), Error> {
    worker::pin(cpus)?;
    let failed = |reason| Error::Eal {
        reason,
        arguments: arguments[1..].join(" "),
        hugepages,
    };
    if STARTED.swap(true, Ordering::SeqCst) {
        return Err(Error::AlreadyStarted);
    }
    log::open();
    let owned: Result<Vec<CString>, _> = arguments
        .iter()
        .map(|argument| CString::new(argument.as_str()))
        .collect();
    let owned = owned.map_err(|_| failed("an argument holds a NUL byte".to_string()))?;
    let mut pointers: Vec<*mut c_char> = owned.into_iter().map(CString::into_raw).collect();
    let count = pointers.len() as i32;
    pointers.push(std::ptr::null_mut());
    // SAFETY: `pointers` is an argv of `count` NUL-terminated strings followed by a null pointer;
    // EAL may keep and permute it, so both are leaked. STARTED admits only one call per process.
    let (parsed, said) = errors_during(|| {
        silently(|| unsafe { ffi::rte_eal_init(count, pointers.leak().as_mut_ptr()) })
    });
    if parsed < 0 {
        return Err(failed(if said.is_empty() { last_error() } else { said }));
    }
    offload::register().map_err(|errno| failed(describe(errno)))
}

/// Runs a call whose words on standard output nobody is to see: for a wrong argument DPDK prints
/// its manual there, in which the error is lost.
fn silently<T>(call: impl FnOnce() -> T) -> T {
    let quiet = fs::OpenOptions::new().write(true).open("/dev/null").ok();
    // SAFETY: these take descriptors, and a null pointer that stands for all streams.
    let before = quiet.as_ref().and_then(|quiet| unsafe {
        libc::fflush(std::ptr::null_mut());
        let before = libc::fcntl(libc::STDOUT_FILENO, libc::F_DUPFD_CLOEXEC, 0);
        let before = (before >= 0).then(|| OwnedFd::from_raw_fd(before))?;
        libc::dup2(quiet.as_raw_fd(), libc::STDOUT_FILENO);
        Some(before)
    });
    let result = call();
    if let Some(before) = before {
        // SAFETY: as above.
        unsafe {
            libc::fflush(std::ptr::null_mut());
            libc::dup2(before.as_raw_fd(), libc::STDOUT_FILENO);
        }
    }
    result
}

/// Huge pages that nobody has taken, of all sizes together.
pub fn free_hugepages_mib() -> usize {
    free_hugepages_in(Path::new(HUGEPAGES))
}

fn free_hugepages_in(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    let free_kib = |entry: fs::DirEntry| -> Option<usize> {
        let name = entry.file_name().into_string().ok()?;
        let page_kib: usize = name
            .strip_prefix("hugepages-")?
            .strip_suffix("kB")?
            .parse()
            .ok()?;
        let free = fs::read_to_string(entry.path().join("free_hugepages")).ok()?;
        Some(free.trim().parse::<usize>().ok()? * page_kib)
    };
    entries.flatten().filter_map(free_kib).sum::<usize>() / 1024
}

static STARTED: AtomicBool = AtomicBool::new(false);
const NO_HUGE: &str = "--no-huge";
const HUGEPAGES: &str = "/sys/kernel/mm/hugepages";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_free_huge_pages_of_every_size() {
        let directory = std::env::temp_dir().join(format!("pmd-hugepages-{}", std::process::id()));
        for (name, free) in [("hugepages-2048kB", "3\n"), ("hugepages-1048576kB", "1\n")] {
            fs::create_dir_all(directory.join(name)).unwrap();
            fs::write(directory.join(name).join("free_hugepages"), free).unwrap();
        }
        assert_eq!(free_hugepages_in(&directory), 1024 + 6);
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(free_hugepages_in(&directory), 0);
    }

    #[test]
    fn asks_for_ordinary_memory_without_huge_pages() {
        let config = EalConfig {
            memory_mib: 64,
            args: vec![NO_HUGE.into()],
            ..Default::default()
        };
        let arguments = arguments(&config, &[0, 2], false);
        assert_eq!(
            arguments[1..].join(" "),
            "--no-telemetry --lcores 0@(0,2) -m 64 --no-huge --no-shconf --no-pci"
        );
    }

    #[test]
    fn starts_once() {
        crate::testing::eal();
        assert!(matches!(
            Eal::start(EalConfig::default()),
            Err(Error::AlreadyStarted)
        ));
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        for cpu in [1000, 100_000] {
            let control_cpus = vec![cpu];
            let config = EalConfig {
                control_cpus,
                ..EalConfig::default()
            };
            let error = Eal::start(config).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("CPU {cpu} cannot be used: ")),
                "{error}"
            );
        }
    }
}
