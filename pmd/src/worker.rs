//! Threads that poll: pinned to their CPU and known to EAL, which gives them buffer caches.
//!
//! A thread that EAL does not know works too, but takes every buffer from the shared ring of its
//! pool, at less than half the speed.

use std::cell::Cell;
use std::fs;
use std::io;
use std::marker::PhantomData;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::last_error;
use crate::{Error, ffi};

/// A thread's registration; ends when dropped, on the thread that made it.
#[derive(Debug)]
pub struct Worker {
    cpu: usize,
    stays: PhantomData<*const ()>,
}

impl Worker {
    /// The CPU it is pinned to.
    pub fn cpu(&self) -> usize {
        self.cpu
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        LCORE.set(NO_LCORE);
        // SAFETY: this thread registered itself, and `Worker` never leaves its thread.
        unsafe { ffi::rte_thread_unregister() }
    }
}

/// Pins the calling thread to `cpu` and registers it with EAL.
pub fn register_worker(cpu: usize) -> Result<Worker, Error> {
    if lcore() != NO_LCORE {
        let reason = "this thread is registered".into();
        return Err(Error::Register { reason });
    }
    pin(&[cpu])?;
    // SAFETY: may be called from any thread once EAL runs, and fails before.
    if unsafe { ffi::rte_thread_register() } != 0 {
        return Err(Error::Register {
            reason: last_error(),
        });
    }
    // SAFETY: reads a thread-local integer.
    LCORE.set(unsafe { ffi::shim_lcore_id() });
    NODE.set(node_of(cpu));
    Ok(Worker {
        cpu,
        stays: PhantomData,
    })
}

/// The CPU's time stamp counter.
#[inline]
pub fn cycles() -> u64 {
    // SAFETY: every CPU that DPDK runs on has a time stamp counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// How fast [`cycles`] counts.
pub fn cycles_hz() -> u64 {
    // SAFETY: reads an integer that EAL measured at its start, 0 before.
    unsafe { ffi::rte_get_tsc_hz() }
}

/// EAL's number of this thread, or [`NO_LCORE`].
#[inline]
pub(crate) fn lcore() -> u32 {
    LCORE.get()
}

/// NUMA node of this worker, 0 for other threads.
#[inline]
pub(crate) fn node() -> usize {
    NODE.get()
}

/// NUMA node of a CPU, 0 where the kernel does not say.
pub(crate) fn node_of(cpu: usize) -> usize {
    let Ok(entries) = fs::read_dir(format!("/sys/devices/system/cpu/cpu{cpu}")) else {
        return 0;
    };
    let node = |entry: fs::DirEntry| {
        entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix("node")?.parse().ok())
    };
    entries.flatten().find_map(node).unwrap_or(0)
}

/// The CPUs that this thread may use.
pub(crate) fn affinity() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect())
}

/// Lets this thread run on these CPUs only.
pub(crate) fn pin(cpus: &[usize]) -> Result<(), Error> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        if cpu >= CpuSet::MAX_CPU {
            let reason = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(Error::Cpu { cpu, reason });
        }
        set.set(cpu);
    }
    let cpu = cpus.first().copied().unwrap_or_default();
    sched_setaffinity(None, &set).map_err(|errno| Error::Cpu {
        cpu,
        reason: errno.into(),
    })
}

/// `LCORE_ID_ANY`.
pub(crate) const NO_LCORE: u32 = u32::MAX;

thread_local! {
    static LCORE: Cell<u32> = const { Cell::new(NO_LCORE) };
    static NODE: Cell<usize> = const { Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::eal;

    #[test]
    fn a_thread_is_a_worker_once_at_a_time() {
        eal();
        std::thread::spawn(|| {
            for _ in 0..3 {
                let worker = register_worker(0).unwrap();
                assert_eq!((worker.cpu(), affinity().unwrap()), (0, vec![0]));
                assert!(matches!(register_worker(0), Err(Error::Register { .. })));
            }
        })
        .join()
        .unwrap();
    }
}
