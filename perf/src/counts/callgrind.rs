//! Running a program under callgrind (Valgrind's manual, chapter 6).

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::cases::Counted;

/// Runs this program under callgrind with `word` as its argument; it prints what it did as JSON.
/// Instructions for each unit, by name.
pub fn count(word: &str) -> Result<BTreeMap<String, f64>> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .args(["--toggle-collect=perf::counts::cases::counted"])
        .args(["--dump-before=perf::counts::cases::case_over"])
        .arg(env::current_exe()?)
        .arg(word)
        .env("GLIBC_TUNABLES", WITHOUT_EXTENSIONS)
        .stdin(Stdio::null())
        .output()
        .context("valgrind cannot be run: make setup installs it")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let cases: Vec<Counted> = serde_json::from_slice(&output.stdout)?;
    let mut counts = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        let total = total(&folder.path().join(format!("out.{}", index + 1)))?;
        let less = case.less.as_ref().and_then(|name| counts.get(name));
        let count = total as f64 / case.units as f64 - less.unwrap_or(&0.0);
        counts.insert(case.name.clone(), count);
    }
    Ok(counts)
}

/// The count in a file of callgrind's.
fn total(path: &Path) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = line.context("callgrind tells no total")?.trim().parse()?;
    ensure!(total > 0, "{}: nothing was counted", path.display());
    Ok(total)
}

/// The C library is not to choose among its functions by the CPU (glibc's manual, §38.7).
const WITHOUT_EXTENSIONS: &str = "glibc.cpu.hwcaps=-AVX2,-AVX,-AVX512F,-AVX512VL,-ERMS,-FSRM,\
    -SSE4_2,-SSSE3,-BMI2,-MOVBE,-LZCNT";
