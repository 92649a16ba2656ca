//! The part of docs/performance.md that is made from a report.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Report, Row, chart, number};
use crate::judge::contender::Kind;

/// Writes the chart into a folder, and method, machine and figures into its performance.md,
/// between the marks; the rest of that file stays.
pub fn write_document(report: &Report, folder: &Path) -> Result<()> {
    fs::write(folder.join("forwarding.svg"), chart(report))?;
    let path = folder.join("performance.md");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (before, rest) = text.split_once(BEGIN).context("no mark where to begin")?;
    let (_, after) = rest.split_once(END).context("no mark where to end")?;
    let text = format!("{before}{BEGIN}\n{}{END}{after}", section(report));
    fs::write(&path, text).with_context(|| path.display().to_string())
}

fn section(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!("\n{METHOD}\n");
    let _ = writeln!(
        text,
        "{}, {}; {}; {}. {} rounds of {} s each.\n\n![Mpps by scenario](forwarding.svg)\n",
        machine.cpu,
        machine.kernel,
        machine.versions.join(", "),
        machine.date,
        report.rounds,
        report.seconds
    );
    text.push_str(
        "| scenario | vswitch Mpps | OVS-DPDK | testpmd | / OVS-DPDK | / testpmd | cycles | OVS's \
         | wanted | |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in &report.rows {
        text.push_str(&table_row(row));
    }
    let doubts = report.rows.iter().flat_map(|row| {
        let doubts = row.doubts().into_iter();
        doubts.map(|doubt| format!("- {}: {doubt}\n", row.name))
    });
    let doubts: String = doubts.collect();
    if !doubts.is_empty() {
        let _ = write!(text, "\nDoubtful:\n\n{doubts}");
    }
    text.push_str("\nThe scenarios:\n\n");
    for row in &report.rows {
        let _ = writeln!(text, "- {}: {}", row.name, row.about);
    }
    text.push('\n');
    text
}

fn table_row(row: &Row) -> String {
    let rate = |kind| number(row.mpps(kind));
    let verdicts = row.verdicts.iter();
    let wanted: Vec<String> = verdicts
        .map(|one| format!("{} ({})", one.wanted, number(one.measured)))
        .collect();
    let word = if row.is_met() { "met" } else { "**missed**" };
    format!(
        "| {} | {} | {} | {} | {} | {} | {:.0} | {:.0} | {} | {word} |\n",
        row.name,
        rate(Kind::Ours),
        rate(Kind::Ovs),
        rate(Kind::Testpmd),
        number(row.ratio(Kind::Ovs)),
        number(row.ratio(Kind::Testpmd)),
        row.cycles(Kind::Ours),
        row.cycles(Kind::Ovs),
        wanted.join(", ")
    )
}

const BEGIN: &str = "<!-- made by `make bench` from here -->";
const END: &str = "<!-- to here -->";

const METHOD: &str = include_str!("method.md");
