//! The counts that are kept in the tree, and how far others are off.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::callgrind::Cost;

/// Instructions for a packet, or for whatever a case does, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What compiled the program.
    pub compiler: String,
    /// Rounded to tenths.
    pub instructions: BTreeMap<String, f64>,
    /// Atomic operations of packets' paths, rounded to hundredths.
    pub atomics: BTreeMap<String, f64>,
}

impl Record {
    /// What was counted now.
    pub fn new(counts: BTreeMap<String, Cost>) -> Record {
        let rounded = |count: f64, parts: f64| (count * parts).round() / parts;
        let each = counts.iter();
        let instructions =
            each.map(|(name, cost)| (name.clone(), rounded(cost.instructions, 10.0)));
        let paths = counts.iter().filter(|(name, _)| name.starts_with("path "));
        let atomics = paths.map(|(name, cost)| (name.clone(), rounded(cost.atomics, 100.0)));
        Record {
            compiler: compiler(),
            instructions: instructions.collect(),
            atomics: atomics.collect(),
        }
    }

    /// Reads it from a file.
    pub fn read(path: &Path) -> Result<Record> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Writes it to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| path.display().to_string())
    }

    /// Both beside each other, and whether all of `now` is as it is here. With another compiler
    /// more may differ.
    pub fn compare(&self, now: &Record) -> (String, bool) {
        let mut text = format!(
            "{:28} {:>9} {:>9} {:>8}\n",
            "instructions", "kept", "now", "%"
        );
        let limit = self.limit(now);
        let mut alike = true;
        let names = self.instructions.keys().chain(now.instructions.keys());
        let mut names: Vec<&String> = names.collect();
        names.sort();
        names.dedup();
        for name in names {
            let count = |record: &Record| record.instructions.get(name).copied();
            let (kept, counted) = (count(self), count(now));
            let change = kept
                .zip(counted)
                .map(|(kept, now)| (now / kept - 1.0) * 100.0);
            let is_alike = change.is_some_and(|change| change.abs() <= limit);
            alike &= is_alike;
            let _ = writeln!(
                text,
                "{name:28} {:>9} {:>9} {:>8}{}",
                shown(kept, ""),
                shown(counted, ""),
                shown(change, "+"),
                if is_alike { "" } else { "  OFF" }
            );
        }
        if self.atomics != now.atomics {
            alike = false;
            let [kept, now] = [self, now].map(|record| shown_atomics(&record.atomics));
            let _ = writeln!(text, "atomic operations, kept: {kept}; now: {now}  OFF");
        } else {
            let _ = writeln!(text, "atomic operations: {}", shown_atomics(&now.atomics));
        }
        if self.compiler != now.compiler {
            let _ = writeln!(text, "kept: {}; now: {}", self.compiler, now.compiler);
        }
        (text, alike)
    }

    fn limit(&self, now: &Record) -> f64 {
        match self.compiler == now.compiler {
            true => OFF_MAX_PERCENT,
            false => OTHER_COMPILER_OFF_MAX_PERCENT,
        }
    }
}

/// Those that are not 0.
fn shown_atomics(atomics: &BTreeMap<String, f64>) -> String {
    let some = atomics.iter().filter(|(_, count)| **count != 0.0);
    let words: Vec<_> = some
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    match words.is_empty() {
        true => "none".into(),
        false => words.join(", "),
    }
}

fn shown(value: Option<f64>, sign: &str) -> String {
    match (value, sign) {
        (Some(value), "+") => format!("{value:+.1}"),
        (Some(value), _) => format!("{value:.1}"),
        (None, _) => "none".into(),
    }
}

/// The compiler in the path, which is the one that cargo took.
fn compiler() -> String {
    let output = std::process::Command::new("rustc")
        .arg("--version")
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_string()
}

/// What a change may cost without being noticed.
const OFF_MAX_PERCENT: f64 = 3.0;
/// Compilers inline differently.
const OTHER_COMPILER_OFF_MAX_PERCENT: f64 = 15.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(compiler: &str, counts: &[(&str, f64)]) -> Record {
        let counts = counts
            .iter()
            .map(|(name, count)| (name.to_string(), *count));
        Record {
            compiler: compiler.into(),
            instructions: counts.collect(),
            atomics: BTreeMap::new(),
        }
    }

    #[test]
    fn more_than_three_per_cent_either_way_is_off() {
        let kept = record("one", &[("parse", 100.0)]);
        for (count, alike) in [(102.9, true), (97.1, true), (103.2, false), (96.8, false)] {
            let now = record("one", &[("parse", count)]);
            assert_eq!(kept.compare(&now).1, alike, "{count}");
        }
    }

    #[test]
    fn another_compiler_is_given_more_room() {
        let kept = record("one", &[("parse", 100.0)]);
        for (count, alike) in [(114.0, true), (116.0, false)] {
            let now = record("two", &[("parse", count)]);
            let (text, is_alike) = kept.compare(&now);
            assert_eq!(is_alike, alike, "{count}");
            assert!(text.contains("kept: one; now: two"), "{text}");
        }
    }

    #[test]
    fn an_atomic_operation_more_is_off() {
        let kept = record("one", &[]);
        let mut now = kept.clone();
        now.atomics.insert("path l2".into(), 0.03);
        let (text, alike) = kept.compare(&now);
        assert!(!alike && text.contains("path l2 0.03"), "{text}");
        assert!(now.compare(&now).1);
    }

    #[test]
    fn a_count_that_came_or_went_is_off() {
        let one = record("one", &[("parse", 100.0)]);
        let two = record("one", &[("parse", 100.0), ("find", 10.0)]);
        assert!(!one.compare(&two).1);
        assert!(!two.compare(&one).1);
    }
}
