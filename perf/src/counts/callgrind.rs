//! Running a program under callgrind (Valgrind's manual, chapter 6).

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::cases::Counted;

/// What a unit of a case takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Instructions.
    pub instructions: f64,
    /// Those of them that no other CPU may come between: locked ones.
    pub atomics: f64,
}

/// Runs this program under callgrind with `word` as its argument; it prints what it did as JSON.
/// What each unit takes, by name.
pub fn count(word: &str) -> Result<BTreeMap<String, Cost>> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--collect-atstart=no",
            "--collect-bus=yes",
        ])
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
    let mut counts: BTreeMap<String, Cost> = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        let totals = totals(&folder.path().join(format!("out.{}", index + 1)))?;
        let less = case.less.as_ref().and_then(|name| counts.get(name));
        let less = less.copied().unwrap_or_default();
        let [instructions, atomics] = totals.map(|total| total as f64 / case.units as f64);
        let cost = Cost {
            instructions: instructions - less.instructions,
            atomics: atomics - less.atomics,
        };
        counts.insert(case.name.clone(), cost);
    }
    Ok(counts)
}

/// Instructions in a file of callgrind's, and global bus events, which are the atomic ones. Zeros
/// at the end of a line of totals are left out.
fn totals(path: &Path) -> Result<[u64; 2]> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let events = line("events: ").context("callgrind tells no events")?;
    ensure!(events.trim() == "Ir Ge", "callgrind counts {events}");
    let line = line("totals: ").context("callgrind tells no total")?;
    let mut totals = [0; 2];
    for (total, word) in totals.iter_mut().zip(line.split_whitespace()) {
        *total = word.parse()?;
    }
    ensure!(totals[0] > 0, "{}: nothing was counted", path.display());
    Ok(totals)
}

/// The C library is not to choose among its functions by the CPU (glibc's manual, §38.7).
const WITHOUT_EXTENSIONS: &str = "glibc.cpu.hwcaps=-AVX2,-AVX,-AVX512F,-AVX512VL,-ERMS,-FSRM,\
    -SSE4_2,-SSSE3,-BMI2,-MOVBE,-LZCNT";
