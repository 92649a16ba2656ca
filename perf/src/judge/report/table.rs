//! The table on the terminal.

use super::Row;
use super::cells::{COLUMNS, cells};

/// What stands above.
pub fn header() -> String {
    aligned(&COLUMNS.map(String::from))
}

/// The line of a row, and a line for each doubt.
pub fn line(row: &Row) -> String {
    let mut text = aligned(&cells(row));
    match row.is_met() {
        _ if row.verdicts.is_empty() => {}
        true => text.push_str(" met"),
        false => text.push_str(" MISSED"),
    }
    for doubt in row.doubts() {
        text.push_str(&format!("\n    doubtful: {doubt}"));
    }
    for (share, function) in &row.profile {
        text.push_str(&format!("\n    {share:5.1} % {function}"));
    }
    text
}

fn aligned(cells: &[String; COLUMNS.len()]) -> String {
    let padded = cells.iter().zip(WIDTHS).map(|(cell, width)| match width {
        0.. => format!("{cell:>width$}", width = width as usize),
        _ => format!("{cell:width$}", width = width.unsigned_abs()),
    });
    padded.collect::<Vec<String>>().join(" ")
}

/// Characters of each column; below zero: to the left.
const WIDTHS: [isize; COLUMNS.len()] = [-26, -6, 9, 9, 9, 7, 9, 7, 7, -1];
