//! The pattern files: lists of JSON objects, their description among them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::run;

/// What a pattern is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// Actions but set-field.
    Action,
    /// Set-field.
    SetField,
    /// Match fields.
    Match,
    /// Groups.
    Group,
    /// Meters.
    Meter,
}

impl Category {
    /// All of them, in the order of the score.
    pub const ALL: [Category; 5] = [
        Category::Action,
        Category::SetField,
        Category::Match,
        Category::Group,
        Category::Meter,
    ];

    /// Its name on the command line and in the score.
    pub fn name(self) -> &'static str {
        match self {
            Category::Action => "action",
            Category::SetField => "set_field",
            Category::Match => "match",
            Category::Group => "group",
            Category::Meter => "meter",
        }
    }
}

/// How a pattern finds out what the switch did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By the packet that comes out.
    Packet,
    /// By counters of tables, after a second: nothing may come out.
    Miss,
    /// By the rate at which packets come out.
    Rate,
}

/// One pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// What its file is about, which names it together with its number.
    pub file: String,
    /// Its number in the file, from 0.
    pub number: usize,
    /// What it does.
    pub name: String,
    /// What it is about.
    pub category: Category,
    /// How it judges.
    pub kind: Kind,
    /// All of it.
    pub(super) text: Value,
}

impl Pattern {
    /// About how long it takes.
    fn seconds(&self) -> f64 {
        match self.kind {
            Kind::Packet => 0.1,
            Kind::Miss => 1.2,
            Kind::Rate => 12.0,
        }
    }
}

/// Every OpenFlow 1.3 pattern that the installed tool has, in the order of its files.
#[track_caller]
pub fn all_patterns() -> Vec<Pattern> {
    let mut files = Vec::new();
    collect_files(&folder(), &mut files);
    files.sort();
    files.iter().flat_map(|path| read_file(path)).collect()
}

fn folder() -> PathBuf {
    let python = super::python_dir().join("bin/python");
    let program = "import os_ken.tests.switch as tool; print(tool.__path__[0])";
    let words = [python.to_str().expect("paths here are text"), "-c", program];
    Path::new(run(&words).expect_success().trim()).join("of13")
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("the tool has OpenFlow 1.3 patterns");
    for path in entries.flatten().map(|entry| entry.path()) {
        match path.is_dir() {
            true => collect_files(&path, files),
            false if path.extension().is_some_and(|end| end == "json") => files.push(path),
            false => {}
        }
    }
}

fn read_file(path: &Path) -> Vec<Pattern> {
    let text = std::fs::read_to_string(path).expect("a pattern file can be read");
    let items: Vec<Value> = serde_json::from_str(&text).expect("a pattern file is a list");
    let file = items.iter().find_map(Value::as_str);
    let file = file.expect("a pattern file says what it is about");
    let patterns = items.iter().filter(|item| item.is_object()).enumerate();
    patterns
        .map(|(number, item)| Pattern {
            file: file.into(),
            number,
            name: item["description"].as_str().unwrap_or_default().into(),
            category: category(path),
            kind: kind(item),
            text: item.clone(),
        })
        .collect()
}

fn category(path: &Path) -> Category {
    let folder = |name: &str| path.iter().any(|part| part == name);
    match () {
        () if folder("25_SET_FIELD") => Category::SetField,
        () if folder("match") => Category::Match,
        () if folder("group") => Category::Group,
        () if folder("meter") => Category::Meter,
        () => Category::Action,
    }
}

fn kind(pattern: &Value) -> Kind {
    let tests = pattern["tests"].as_array().map_or(&[][..], Vec::as_slice);
    match () {
        () if tests.iter().any(|test| test["ingress"].is_object()) => Kind::Rate,
        () if tests.iter().any(|test| !test["table-miss"].is_null()) => Kind::Miss,
        () => Kind::Packet,
    }
}

/// Deals patterns out by the time they take, those of a file together; as indices.
pub fn shares(patterns: &[Pattern], count: usize) -> Vec<Vec<usize>> {
    let mut files: BTreeMap<&str, (f64, Vec<usize>)> = BTreeMap::new();
    for (index, pattern) in patterns.iter().enumerate() {
        let file = files.entry(&pattern.file).or_default();
        file.0 += pattern.seconds();
        file.1.push(index);
    }
    let mut files: Vec<_> = files.into_values().collect();
    files.sort_by(|one, other| other.0.total_cmp(&one.0));
    let mut shares = vec![(0_f64, Vec::new()); count.clamp(1, files.len().max(1))];
    for (seconds, indices) in files {
        let shortest = shares
            .iter_mut()
            .min_by(|one, other| one.0.total_cmp(&other.0));
        let shortest = shortest.expect("there is one share at least");
        shortest.0 += seconds;
        shortest.1.extend(indices);
    }
    shares.into_iter().map(|(_, share)| share).collect()
}
