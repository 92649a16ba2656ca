//! The tree itself under test: rules of style that a program can check, and licences.

use std::path::{Path, PathBuf};

use tests::run;

/// Licences that go with Apache-2.0, in SPDX terms.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "MPL-2.0+",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Longest file before its tests, and longest line.
const FILE_LINES_MAX: usize = 800;
const LINE_CHARS_MAX: usize = 100;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the root")
        .to_path_buf()
}

/// Every Rust file of the tree with its text.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let list = run(&[
        "git",
        "-C",
        root.to_str().expect("text"),
        "ls-files",
        "*.rs",
    ]);
    let read = |name: &str| {
        let text = std::fs::read_to_string(root.join(name)).unwrap_or_default();
        (name.to_string(), text)
    };
    let sources: Vec<_> = list.expect_success().lines().map(read).collect();
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

fn before_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn files_open_with_what_they_are() {
    for (name, text) in sources()
        .iter()
        .filter(|(name, _)| !name.starts_with("fuzz/"))
    {
        assert!(
            text.starts_with("//!"),
            "{name} does not open with a //! comment"
        );
    }
}

#[test]
fn files_and_lines_are_short() {
    for (name, text) in sources() {
        let lines = before_tests(&text).lines().count();
        assert!(
            lines <= FILE_LINES_MAX,
            "{name} has {lines} lines before its tests"
        );
        let long = text
            .lines()
            .position(|line| line.chars().count() > LINE_CHARS_MAX);
        assert_eq!(
            long, None,
            "{name}: a line of more than {LINE_CHARS_MAX} characters"
        );
        assert!(
            !name.ends_with("/mod.rs"),
            "{name}: a folder's module is the file beside it"
        );
    }
}

#[test]
fn unsafe_is_in_pmd_alone_and_every_block_is_justified() {
    for (name, text) in sources()
        .iter()
        .filter(|(name, _)| name != "tests/tests/tidy.rs")
    {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if !code.contains("unsafe ") || code.contains("unsafe_code") {
                continue;
            }
            assert!(
                name.starts_with("pmd/"),
                "{name}:{}: unsafe outside pmd",
                number + 1
            );
            if !code.contains("unsafe {") && !code.contains("unsafe impl") {
                continue;
            }
            let above = &lines[number.saturating_sub(8)..=number];
            let justified = above.iter().any(|line| line.contains("SAFETY:"));
            assert!(justified, "{name}:{}: unsafe without SAFETY:", number + 1);
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = [
        "todo!(",
        "unimplemented!(",
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        "#[ignore",
    ];
    for (name, text) in sources()
        .iter()
        .filter(|(name, _)| name != "tests/tests/tidy.rs")
    {
        for mark in marks {
            assert!(!text.contains(mark), "{name} has {mark}");
        }
    }
}

#[test]
fn no_dpdk_name_outside_pmd() {
    for (name, text) in sources()
        .iter()
        .filter(|(name, _)| name != "tests/tests/tidy.rs")
    {
        let foreign = !name.starts_with("pmd/") && text.contains("rte_eal");
        assert!(!foreign, "{name} names DPDK's functions");
    }
}

#[test]
fn dependencies_come_from_the_registry_under_known_licences() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let manifest = root().join("Cargo.toml").display().to_string();
    let words = [
        &cargo,
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--manifest-path",
        &manifest,
    ];
    let text = run(&words).expect_success();
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("cargo prints JSON");
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().unwrap_or("?");
        if package["source"].is_null() {
            assert_eq!(package["license"], "Apache-2.0", "{name} is ours");
            continue;
        }
        let source = package["source"].as_str().unwrap_or("");
        assert!(
            source.starts_with("registry+"),
            "{name} comes from {source}"
        );
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(licence), "{name} is under {licence}");
    }
}

/// Whether an SPDX expression leaves us a licence: every AND part has an OR part we know.
fn is_allowed(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], "").replace('/', " OR ");
    flat.split(" AND ")
        .all(|part| part.split(" OR ").any(|one| LICENCES.contains(&one.trim())))
}

/// The table of requirements names files and tests: all of them are there.
#[test]
fn what_the_openflow_document_names_is_there() {
    let path = root().join("docs/openflow.md");
    let text = std::fs::read_to_string(path).expect("docs/openflow.md is there");
    let section = text.split("\n## Requirements\n").nth(1);
    let section = section.expect("it has a section of requirements");
    let section = section.split("\n## ").next().unwrap_or(section);
    let sources = sources();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let mut named = 0;
    for row in rows.skip(1) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, _, _, place, tests, _] = cells[..] else {
            panic!("four cells: {row}");
        };
        for file in quoted(place) {
            let there = sources.iter().any(|(name, _)| name == file);
            assert!(there, "docs/openflow.md names {file}, which is not there");
        }
        assert!(quoted(tests).count() > 0, "no test shows {row}");
        for test in quoted(tests) {
            assert!(
                has_test(&sources, test),
                "docs/openflow.md names a test {test}"
            );
            named += 1;
        }
    }
    assert!(named > 50, "the table was not found");
}

/// The fuzz targets are a workspace of their own; they are to be built of what all else is.
#[test]
fn fuzz_targets_have_the_dependencies_of_the_workspace() {
    let read = |file: &str| std::fs::read_to_string(root().join(file)).expect("a lock file");
    let [ours, theirs] = ["Cargo.lock", "fuzz/Cargo.lock"].map(read);
    let [ours, theirs] = [packages(&ours), packages(&theirs)];
    for (name, version) in &theirs {
        let same_name = ours.iter().filter(|(ours, _)| ours == name);
        let versions: Vec<_> = same_name.map(|(_, version)| version).collect();
        assert!(
            versions.is_empty() || versions.contains(&version),
            "fuzz/Cargo.lock has {name} {version}, Cargo.lock {versions:?}"
        );
    }
    assert!(theirs.len() > 50, "the list was not found");
}

/// Names and versions in a lock file.
fn packages(lock: &str) -> Vec<(&str, &str)> {
    let parts = lock.split("[[package]]").skip(1);
    parts
        .map(|part| (field(part, "name = "), field(part, "version = ")))
        .collect()
}

fn field<'a>(part: &'a str, name: &str) -> &'a str {
    let value = part.lines().find_map(|line| line.strip_prefix(name));
    value.expect("a field").trim_matches('"')
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn has_test(sources: &[(String, String)], name: &str) -> bool {
    let head = format!("fn {name}(");
    sources.iter().any(|(_, text)| {
        let mut before = text.split(head.as_str()).collect::<Vec<_>>();
        before.pop();
        let is_test = |text: &&str| {
            let attributes = text.trim_end().lines().rev().take(3);
            attributes.into_iter().any(|line| line.trim() == "#[test]")
        };
        before.iter().any(is_test)
    })
}
