//! DPDK's log, sent into `tracing` under the target `dpdk`.

use std::ffi::c_char;

use crate::ffi;

/// Takes DPDK's log from now on. Without a stream DPDK keeps writing to stderr.
pub(super) fn open() {
    // SAFETY: `sink` may be called from any thread at any time: it keeps no state.
    if unsafe { ffi::shim_log_open(Some(sink)) } != 0 {
        tracing::warn!("DPDK's log goes to stderr");
    }
}

unsafe extern "C" fn sink(level: u32, text: *const c_char, length: usize) {
    // SAFETY: the shim passes the buffer that stdio gave it, of that length, for this call.
    let text = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    for line in String::from_utf8_lossy(text)
        .lines()
        .filter(|line| !line.trim().is_empty())
    {
        match level {
            ffi::RTE_LOG_EMERG..=ffi::RTE_LOG_ERR => tracing::error!(target: "dpdk", "{line}"),
            ffi::RTE_LOG_WARNING => tracing::warn!(target: "dpdk", "{line}"),
            ffi::RTE_LOG_NOTICE => tracing::info!(target: "dpdk", "{line}"),
            ffi::RTE_LOG_INFO => tracing::debug!(target: "dpdk", "{line}"),
            _ => tracing::trace!(target: "dpdk", "{line}"),
        }
    }
}
