//! The table on the terminal.

use super::{Row, number};
use crate::judge::contender::Kind;

/// What stands above.
pub fn header() -> String {
    format!(
        "{:18} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7}  {}",
        "Mpps, cycles",
        "vswitch",
        "OVS-DPDK",
        "testpmd",
        "/ OVS",
        "/ tpmd",
        "c/p",
        "OVS c/p",
        "wanted"
    )
}

/// The line of a scenario, and a line for each doubt.
pub fn line(row: &Row) -> String {
    let rate = |kind| number(row.mpps(kind));
    let verdicts: Vec<String> = row
        .verdicts
        .iter()
        .map(|verdict| {
            let word = if verdict.is_met() { "met" } else { "MISSED" };
            format!("{}: {} {word}", verdict.wanted, number(verdict.measured))
        })
        .collect();
    let mut text = format!(
        "{:18} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7.0} {:>7.0}  {}",
        row.name,
        rate(Kind::Ours),
        rate(Kind::Ovs),
        rate(Kind::Testpmd),
        number(row.ratio(Kind::Ovs)),
        number(row.ratio(Kind::Testpmd)),
        row.cycles(Kind::Ours),
        row.cycles(Kind::Ovs),
        verdicts.join(", ")
    );
    for doubt in row.doubts() {
        text.push_str(&format!("\n    doubtful: {doubt}"));
    }
    text
}
