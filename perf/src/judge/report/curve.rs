//! A curve: how the rate falls as something grows, both on logarithmic scales, as SVG.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Report, Row, number};
use crate::judge::contender::Kind;

/// The curves that a report has places on.
pub(super) fn curves(report: &Report) -> BTreeSet<String> {
    let points = report.rows.iter().filter_map(|row| row.point.as_ref());
    points.map(|point| point.curve.clone()).collect()
}

/// The curve of a name.
pub(super) fn curve(report: &Report, name: &str) -> String {
    let rows = report.rows.iter();
    let rows: Vec<(f64, &Row)> = rows
        .filter_map(|row| Some((row.point.as_ref().filter(|point| point.curve == name)?, row)))
        .map(|(point, row)| (point.amount, row))
        .collect();
    let values = Kind::ALL
        .iter()
        .flat_map(|kind| rows.iter().map(|(_, row)| row.value(*kind)));
    let across = Scale::of(rows.iter().map(|(amount, _)| *amount), LEFT, WIDTH - RIGHT);
    let up = Scale::of(values.flatten(), HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for value in across.decades() {
        let (x, bottom) = (across.place(value), HEIGHT - BOTTOM);
        line(&mut svg, (x, TOP), (x, bottom));
        text(&mut svg, x, bottom + 18.0, "middle", &format!("{value}"));
    }
    for value in up.decades() {
        let y = up.place(value);
        line(&mut svg, (LEFT, y), (WIDTH - RIGHT, y));
        text(&mut svg, LEFT - 8.0, y + 4.0, "end", &format!("{value}"));
    }
    text(&mut svg, WIDTH - RIGHT, HEIGHT - 8.0, "end", name);
    text(&mut svg, LEFT, 14.0, "start", "Mpps, one core");
    for (place, kind) in Kind::ALL.into_iter().enumerate() {
        let points = rows
            .iter()
            .filter_map(|(x, row)| Some((*x, row.value(kind)?)));
        let places = points.map(|(x, y)| {
            (
                across.place(x),
                up.place(y),
                format!("{}: {} Mpps", x, number(y)),
            )
        });
        series(&mut svg, place, kind, &places.collect::<Vec<_>>());
    }
    svg + "</svg>\n"
}

fn series(svg: &mut String, place: usize, kind: Kind, points: &[(f64, f64, String)]) {
    let colour = super::chart::COLOURS[place];
    let legend = LEFT + 160.0 + place as f64 * 110.0;
    let places = points.iter().map(|(x, y, _)| format!("{x:.1},{y:.1}"));
    let places: Vec<String> = places.collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
         <rect x=\"{legend}\" y=\"4\" width=\"12\" height=\"12\" fill=\"{colour}\"/>",
        places.join(" ")
    );
    text(svg, legend + 18.0, 14.0, "start", kind.name());
    for (x, y, told) in points {
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\">\
             <title>{told}</title></circle>"
        );
    }
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ddd\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

/// From whole powers of ten to places.
struct Scale {
    least: i32,
    most: i32,
    from: f64,
    to: f64,
}

impl Scale {
    /// Room for these values.
    fn of(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Scale {
        let powers: Vec<f64> = values
            .filter(|value| *value > 0.0)
            .map(f64::log10)
            .collect();
        let least = powers
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min)
            .min(1e3)
            .floor() as i32;
        let most = powers
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max)
            .max(-1e3)
            .ceil();
        Scale {
            least,
            most: (most as i32).max(least + 1),
            from,
            to,
        }
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        let powers = (self.least..=self.most).take(DECADES_MAX);
        powers.map(|power| 10_f64.powi(power))
    }

    fn place(&self, value: f64) -> f64 {
        let share =
            (value.max(1e-9).log10() - f64::from(self.least)) / f64::from(self.most - self.least);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;
/// Lines of a scale.
const DECADES_MAX: usize = 20;
