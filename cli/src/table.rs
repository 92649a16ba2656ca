//! Text in aligned columns.

use std::io::{self, Write};

/// Which side of its column a cell stands on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a header. Columns are as wide as their widest cell, two spaces apart.
pub struct Table {
    header: Vec<(&'static str, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(header: &[(&'static str, Side)]) -> Table {
        Table {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells left out at its end are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints the table, each line after `indent`, none with spaces at its end.
    pub fn print(&self, out: &mut dyn Write, indent: &str) -> io::Result<()> {
        let names: Vec<String> = self.header.iter().map(|(name, _)| (*name).into()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&names).chain(&self.rows).collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        for line in &lines {
            let mut text = String::from(indent);
            for (cell, ((_, side), width)) in line.iter().zip(self.header.iter().zip(&widths)) {
                match side {
                    Side::Left => text.push_str(&format!("{cell:<width$}  ")),
                    Side::Right => text.push_str(&format!("{cell:>width$}  ")),
                }
            }
            writeln!(out, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// A count for people: three or four significant digits and a unit.
pub fn human(value: f64) -> String {
    let mut value = value;
    for unit in ["", "k", "M", "G", "T"] {
        if value < 1000.0 {
            let digits = match value {
                v if unit.is_empty() && v.fract() == 0.0 => 0,
                v if v < 10.0 => 2,
                v if v < 100.0 => 1,
                _ => 0,
            };
            return format!("{value:.digits$}{unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.0}P")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let mut table = Table::new(&[("NAME", Side::Left), ("N", Side::Right), ("X", Side::Left)]);
        table.row(["vm1".into(), "7".into(), String::new()]);
        table.row(["long-name".into(), "1000".into(), "é".into()]);
        let mut out = Vec::new();
        table.print(&mut out, "  ").unwrap();
        let wanted = "  NAME          N  X\n  vm1           7\n  long-name  1000  é\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn counts_are_short() {
        let wanted = [
            (0.0, "0"),
            (7.0, "7"),
            (1.5, "1.50"),
            (999.0, "999"),
            (1234.0, "1.23k"),
            (14_880_952.0, "14.9M"),
            (250e9, "250G"),
            (5e15, "5P"),
        ];
        for (value, text) in wanted {
            assert_eq!(human(value), text);
        }
    }
}
