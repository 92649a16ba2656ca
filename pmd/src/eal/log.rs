//! DPDK's log, sent into `tracing` under the target `dpdk`.

use std::cell::RefCell;
use std::ffi::c_char;

use crate::ffi;

/// Takes DPDK's log from now on. Without a stream DPDK keeps writing to stderr.
pub(super) fn open() {
    // SAFETY: `sink` may be called from any thread at any time: what it keeps is the thread's.
    if unsafe { ffi::shim_log_open(Some(sink)) } != 0 {
        tracing::warn!("DPDK's log goes to stderr");
    }
}

/// Runs a call into DPDK; returns its result and the errors that DPDK logged on this thread
/// during it, which say more than its error number.
pub(crate) fn errors_during<T>(call: impl FnOnce() -> T) -> (T, String) {
    ERRORS.replace(Some(Vec::new()));
    let result = call();
    let errors = ERRORS.take().unwrap_or_default();
    (result, errors.join("; "))
}

unsafe extern "C" fn sink(level: u32, text: *const c_char, length: usize) {
    // SAFETY: the shim passes the buffer that stdio gave it, of that length, for this call.
    let text = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    for line in String::from_utf8_lossy(text)
        .lines()
        .filter(|line| !line.trim().is_empty())
    {
        let is_common = COMMON.iter().any(|words| line.contains(words));
        match level {
            ffi::RTE_LOG_WARNING | ffi::RTE_LOG_NOTICE if is_common => {
                tracing::debug!(target: "dpdk", "{line}");
            }
            ffi::RTE_LOG_EMERG..=ffi::RTE_LOG_ERR => error(line),
            ffi::RTE_LOG_WARNING => tracing::warn!(target: "dpdk", "{line}"),
            ffi::RTE_LOG_NOTICE => tracing::info!(target: "dpdk", "{line}"),
            ffi::RTE_LOG_INFO => tracing::debug!(target: "dpdk", "{line}"),
            _ => tracing::trace!(target: "dpdk", "{line}"),
        }
    }
}

/// An error goes to whoever collects this thread's, else to the log.
fn error(line: &str) {
    let collected = ERRORS.with_borrow_mut(|errors| match errors {
        Some(errors) if errors.len() < ERRORS_MAX => {
            errors.push(line.trim().to_string());
            true
        }
        _ => false,
    });
    if collected {
        tracing::debug!(target: "dpdk", "{line}");
    } else {
        tracing::error!(target: "dpdk", "{line}");
    }
}

/// What DPDK warns of at every start, and need not: a size of huge pages of which there are
/// none, or that no file system is of; a guest that is not there yet.
const COMMON: [&str; 3] = [
    "hugepages reported on node",
    "no mounted hugetlbfs found",
    ") failed to connect: ",
];
/// Enough to tell what went wrong.
const ERRORS_MAX: usize = 3;

thread_local! {
    static ERRORS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}
