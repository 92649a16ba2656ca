//! The part of docs/performance.md that is made from a report.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cells::{COLUMNS, cells};
use super::curve::{curve as svg_of, curves};
use super::{Report, Row, chart, number};

/// Writes charts into a folder, and method, machine and figures into its performance.md, between
/// the marks; the rest of that file stays.
pub fn write_document(report: &Report, folder: &Path) -> Result<()> {
    let path = folder.join("performance.md");
    let mut text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let curves = curves(report);
    for curve in &curves {
        fs::write(folder.join(file_of(curve)), svg_of(report, curve))?;
    }
    let (grown, rows): (Vec<&Row>, Vec<&Row>) =
        report.rows.iter().partition(|row| row.point.is_some());
    if !grown.is_empty() {
        text = between(&text, GROWTH_BEGIN, &growth(report, &grown, &curves))?;
    }
    if !rows.is_empty() {
        fs::write(folder.join("forwarding.svg"), chart(report))?;
        text = between(&text, BEGIN, &section(report, &rows))?;
    }
    fs::write(&path, text).with_context(|| path.display().to_string())
}

/// A text with another part from a mark to its end.
fn between(text: &str, begin: &str, part: &str) -> Result<String> {
    let (before, rest) = text.split_once(begin).context("no mark where to begin")?;
    let (_, after) = rest.split_once(END).context("no mark where to end")?;
    Ok(format!("{before}{begin}\n{part}{END}{after}"))
}

fn growth(report: &Report, rows: &[&Row], curves: &BTreeSet<String>) -> String {
    let mut text = format!("\n{}\n", measured_on(report));
    for curve in curves {
        let _ = writeln!(text, "![Mpps against {curve}]({})\n", file_of(curve));
    }
    text.push_str(&table(rows));
    text.push_str(&list("Doubtful", rows, |row| row.doubts().join("; ")));
    text.push('\n');
    text
}

fn file_of(curve: &str) -> String {
    format!("growth-{curve}.svg")
}

fn measured_on(report: &Report) -> String {
    let machine = &report.machine;
    format!(
        "{}, {}; {}; {}. {} rounds of {} s each.\n",
        machine.cpu,
        machine.kernel,
        machine.versions.join(", "),
        machine.date,
        report.rounds,
        report.seconds
    )
}

fn table(rows: &[&Row]) -> String {
    let mut text = format!(
        "| {} | |\n|{}\n",
        COLUMNS.join(" | "),
        "---|".repeat(COLUMNS.len() + 1)
    );
    for row in rows {
        let word = match row.is_met() {
            _ if row.verdicts.is_empty() => "",
            true => "met",
            false => "**missed**",
        };
        let _ = writeln!(text, "| {} | {word} |", cells(row).join(" | "));
    }
    text
}

fn section(report: &Report, rows: &[&Row]) -> String {
    let machine = measured_on(report);
    let mut text = format!("\n{METHOD}\n{machine}\n![Mpps by scenario](forwarding.svg)\n\n");
    text.push_str(&table(rows));
    text.push_str(&list("Doubtful", rows, |row| row.doubts().join("; ")));
    text.push_str(&list(
        "Where the cycles of what is missed go",
        rows,
        |row| {
            let shares = row.profile.iter();
            let shares = shares.map(|(share, function)| format!("`{function}` {share:.0} %"));
            shares.collect::<Vec<String>>().join(", ")
        },
    ));
    text.push_str(&list(
        "Missed by testpmd as well, which looks into no packet: there the guest, the copy or the \
         ring is the limit",
        rows,
        |row| {
            let ceiling = row.low_ceiling();
            ceiling.map_or(String::new(), |it| {
                format!("testpmd has {} x OVS-DPDK", number(it))
            })
        },
    ));
    text.push_str(&list("The scenarios", rows, |row| row.about.clone()));
    text.push('\n');
    text
}

/// What is told of each row, if anything is.
fn list(title: &str, rows: &[&Row], told: impl Fn(&Row) -> String) -> String {
    let rows = rows.iter().map(|row| (&row.name, told(row)));
    let rows = rows.filter(|(_, told)| !told.is_empty());
    let lines: String = rows
        .map(|(name, told)| format!("- {name}: {told}\n"))
        .collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\n{title}:\n\n{lines}"),
    }
}

const BEGIN: &str = "<!-- made by `make bench` from here -->";
const GROWTH_BEGIN: &str = "<!-- made by `make bench SCENARIO=growth` from here -->";
const END: &str = "<!-- to here -->";

const METHOD: &str = include_str!("method.md");
