//! EAL takes huge pages where there are enough, and keeps its threads where it is told.
//!
//! One test, because EAL starts once in a process.

use std::time::Duration;
use std::{fs, thread};

use pmd::{Eal, EalConfig, Packet, Pools, PoolsConfig};

const MEMORY_MIB: usize = 64;

#[test]
fn takes_what_there_is_and_stays_off_the_workers() {
    let before = free_mib();
    let mine = allowed("/proc/thread-self/status");
    let control_cpus = vec![0];
    let config = EalConfig {
        control_cpus,
        memory_mib: MEMORY_MIB,
        ..EalConfig::default()
    };
    let eal = Eal::start(config).unwrap();
    // Other programs may take or leave some meanwhile: only a clear case is judged.
    if before >= 4 * MEMORY_MIB {
        assert!(eal.hugepages());
    } else if before < MEMORY_MIB {
        assert!(!eal.hugepages());
    }
    let taken = field("/proc/self/status", "HugetlbPages:") / 1024;
    assert_eq!(
        taken >= MEMORY_MIB,
        eal.hugepages(),
        "{taken} MiB of huge pages"
    );
    assert_eq!(
        allowed("/proc/thread-self/status"),
        mine,
        "the caller was moved"
    );
    assert_eq!(
        lasting_eal_threads(),
        [("eal-intr-thread".to_string(), "0".to_string())]
    );

    let config = PoolsConfig {
        worker_cpus: vec![0],
        small: 1024,
        large: 16,
    };
    let pools = Pools::new(&eal, &config).unwrap();
    let packets: Vec<Packet> = (0..1024)
        .map(|_| Packet::from_bytes(&pools, &[7; 60]).unwrap())
        .collect();
    assert!(Packet::from_bytes(&pools, &[7; 60]).is_none());
    assert_eq!(pools.in_use(), 1024);
    drop(packets);
    assert_eq!(pools.in_use(), 0);
    assert!(eal.version().starts_with("DPDK "));
    assert!(pmd::cycles_hz() > 100_000_000);
}

/// Names of EAL's threads, and the CPUs that each may use, once the one that started it has left:
/// the kernel wakes who joins a thread before it takes the thread out of `/proc`.
fn lasting_eal_threads() -> Vec<(String, String)> {
    let mut threads = eal_threads();
    for _ in 0..500 {
        if threads.len() <= 1 {
            break;
        }
        thread::sleep(Duration::from_millis(10));
        threads = eal_threads();
    }
    threads
}

fn eal_threads() -> Vec<(String, String)> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let threads = tasks.flatten().filter_map(|task| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        Some((of(&status, "Name:"), of(&status, "Cpus_allowed_list:")))
    });
    threads
        .filter(|(name, _)| name.starts_with("eal-") || name.starts_with("rte_"))
        .collect()
}

fn allowed(status: &str) -> String {
    of(&fs::read_to_string(status).unwrap(), "Cpus_allowed_list:")
}

/// What the line of `status` says that begins with `name`.
fn of(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().to_string()
}

/// Free huge pages of the default size.
fn free_mib() -> usize {
    let (pages, kib) = ("HugePages_Free:", "Hugepagesize:");
    field("/proc/meminfo", pages) * field("/proc/meminfo", kib) / 1024
}

fn field(file: &str, name: &str) -> usize {
    let text = fs::read_to_string(file).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or("0");
    line.split_whitespace().next().unwrap().parse().unwrap()
}
