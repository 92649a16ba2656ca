//! The columns of the report, which its table and its document both have.

use super::{Row, number};
use crate::judge::contender::Kind;

/// Their names.
pub(super) const COLUMNS: [&str; 10] = [
    "scenario",
    "unit",
    "vswitch",
    "OVS-DPDK",
    "testpmd",
    "/ OVS",
    "/ testpmd",
    "cycles",
    "OVS's",
    "wanted",
];

/// What a row has in each of them; "-" where nothing was measured.
pub(super) fn cells(row: &Row) -> [String; COLUMNS.len()] {
    let value = |kind| shown(row.value(kind));
    let cycles = |kind| {
        row.cycles(kind)
            .map_or(NOTHING.into(), |one| format!("{one:.0}"))
    };
    let wanted = row.verdicts.iter();
    let wanted: Vec<String> = wanted
        .map(|one| format!("{} ({})", one.wanted, number(one.measured)))
        .collect();
    [
        row.name.clone(),
        row.figure.unit().into(),
        value(Kind::Ours),
        value(Kind::Ovs),
        value(Kind::Testpmd),
        shown(row.ratio(Kind::Ovs)),
        shown(row.ratio(Kind::Testpmd)),
        cycles(Kind::Ours),
        cycles(Kind::Ovs),
        wanted.join(", "),
    ]
}

fn shown(value: Option<f64>) -> String {
    value.map_or(NOTHING.into(), number)
}

const NOTHING: &str = "-";
