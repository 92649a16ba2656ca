//! Where a worker's cycles go, by `perf record`; nothing where there is no such program.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::machine::worker_thread;

/// Per cent of the samples of a process's worker, and the function that they were in; the largest
/// first.
pub fn of_worker(process: u32, folder: &Path, seconds: f64) -> Result<Vec<(f64, String)>> {
    let file = folder.join("perf.data").display().to_string();
    let thread = worker_thread(process)?;
    // A virtual machine may have no counter of cycles, but it has a clock.
    let recorded = ["cycles", "cpu-clock"].into_iter().any(|event| {
        let record = Command::new("perf")
            .args(["record", "-q", "-F", "1999", "-e", event, "-t", &thread])
            .args(["-o", &file, "--", "sleep", &seconds.to_string()])
            .output();
        record.is_ok_and(|output| output.status.success())
    });
    if !recorded {
        return Ok(Vec::new());
    }
    let report = Command::new("perf")
        .args(["report", "-i", &file, "--stdio", "-q", "--no-children"])
        .args(["-F", "overhead,symbol", "--percent-limit", "1"])
        .output()?;
    Ok(shares(&String::from_utf8_lossy(&report.stdout)))
}

/// Lines such as `  12.50%  [.] flowtable::parse`.
fn shares(report: &str) -> Vec<(f64, String)> {
    let line = |line: &str| {
        let (share, rest) = line.trim().split_once('%')?;
        let (_, function) = rest.split_once(']')?;
        Some((share.parse().ok()?, function.trim().to_string()))
    };
    report.lines().filter_map(line).take(FUNCTIONS).collect()
}

/// How many are told.
const FUNCTIONS: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_functions_are_read_and_others_are_not() {
        let report = "# Samples: 12\n\n    61.25%  [.] flowtable::parse::parse\n\
                      \x20    2.00%  [k] syscall_return\n";
        let told = shares(report);
        assert_eq!(told[0], (61.25, "flowtable::parse::parse".to_string()));
        assert_eq!(told[1], (2.0, "syscall_return".to_string()));
        assert_eq!(told.len(), 2);
    }
}
