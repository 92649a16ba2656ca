//! The chart: for each scenario three bars on a logarithmic scale, as SVG.

use std::fmt::Write;

use super::{Report, Row, number};
use crate::judge::contender::Kind;
use crate::judge::figure::Figure;

/// The chart of a report. Written by hand: three bars a row need no library.
pub fn chart(report: &Report) -> String {
    let rows = report.rows.iter();
    let rows: Vec<&Row> = rows
        .filter(|row| row.figure == Figure::Mpps && row.point.is_none())
        .collect();
    let height = TOP + rows.len() * ROW + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    legend(&mut svg);
    scale(&mut svg, height - FOOT);
    for (index, row) in rows.into_iter().enumerate() {
        let y = TOP + index * ROW;
        let middle = y + ROW / 2 + 2;
        let x = LEFT - 8;
        text(&mut svg, x, middle, "end", &row.name);
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            let Some(mpps) = row.value(kind) else {
                continue;
            };
            let (y, length) = (y + 4 + place * BAR, position(mpps) - LEFT as f64);
            let colour = COLOURS[place];
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" \
                 fill=\"{colour}\"><title>{} {}: {} Mpps</title></rect>",
                BAR - 1,
                row.name,
                kind.name(),
                number(mpps)
            );
        }
        if let Some(ratio) = row.ratio(Kind::Ovs) {
            let ratio = format!("{} x OVS", number(ratio));
            text(&mut svg, WIDTH - 8, middle, "end", &ratio);
        }
    }
    svg + "</svg>\n"
}

fn legend(svg: &mut String) {
    for (place, kind) in Kind::ALL.into_iter().enumerate() {
        let x = LEFT + place * 110;
        let colour = COLOURS[place];
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"10\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"
        );
        text(svg, x + 18, 20, "start", kind.name());
    }
    text(svg, WIDTH - 8, 20, "end", "Mpps, one core, logarithmic");
}

fn scale(svg: &mut String, bottom: usize) {
    for exponent in LEAST..=MOST {
        let mpps = 10_f64.powi(exponent);
        let x = position(mpps);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#ddd\"/>"
        );
        let label = format!("{mpps}");
        text(svg, x as usize, bottom + 16, "middle", &label);
    }
}

fn text(svg: &mut String, x: usize, y: usize, anchor: &str, words: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

/// Where a rate is.
fn position(mpps: f64) -> f64 {
    let exponent = mpps.max(1e-9).log10().clamp(LEAST.into(), MOST.into());
    let share = (exponent - f64::from(LEAST)) / f64::from(MOST - LEAST);
    LEFT as f64 + share * (WIDTH - LEFT - RIGHT) as f64
}

const WIDTH: usize = 860;
const LEFT: usize = 170;
const RIGHT: usize = 100;
const TOP: usize = 34;
const FOOT: usize = 26;
const ROW: usize = 34;
const BAR: usize = 9;
/// Powers of ten at both ends of the scale.
const LEAST: i32 = -3;
const MOST: i32 = 2;
pub(super) const COLOURS: [&str; 3] = ["#1f6f8b", "#e07a3f", "#b8b8b8"];
