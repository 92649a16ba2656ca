//! Why EAL, a pool or a worker could not be had.

use std::ffi::CStr;

use crate::ffi;

/// Why EAL, a pool or a worker could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// EAL starts once in a process, and cannot be started again after a failure.
    #[error("EAL was started before in this process")]
    AlreadyStarted,
    /// A CPU that is not there, or that this process may not use.
    #[error("CPU {cpu} cannot be used: {reason}")]
    Cpu {
        /// Its number.
        cpu: usize,
        /// What the kernel said.
        reason: std::io::Error,
    },
    /// EAL did not start.
    #[error("EAL did not start: {reason} (arguments: {arguments})")]
    Eal {
        /// What DPDK said.
        reason: String,
        /// The arguments it was given.
        arguments: String,
        /// Whether it was to take huge pages.
        hugepages: bool,
    },
    /// A packet pool could not be made.
    #[error("no pool of {buffers} buffers of {room} bytes on NUMA node {node}: {reason}")]
    Pool {
        /// Buffers wanted.
        buffers: usize,
        /// Bytes in each.
        room: usize,
        /// Where.
        node: usize,
        /// What DPDK said.
        reason: String,
    },
    /// A thread could not be made known to EAL.
    #[error("EAL takes no more threads: {reason}")]
    Register {
        /// What DPDK said.
        reason: String,
    },
    /// A helper thread could not be made.
    #[error("no thread: {0}")]
    Thread(std::io::Error),
}

/// What `rte_errno` says after a failed call on this thread.
pub(crate) fn last_error() -> String {
    // SAFETY: reads a thread-local integer.
    describe(unsafe { ffi::shim_errno() })
}

/// Text for an error number of DPDK's, negative or positive.
pub(crate) fn describe(errno: i32) -> String {
    // SAFETY: rte_strerror returns a NUL-terminated string that lives until its next call on this
    // thread; it is copied before that.
    unsafe { CStr::from_ptr(ffi::rte_strerror(errno.abs())) }
        .to_string_lossy()
        .into_owned()
}
