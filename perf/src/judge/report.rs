//! What was measured, as data: kept as JSON, shown as a table, a chart and a document.

mod cells;
mod chart;
mod curve;
mod document;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::contender::Kind;
use super::figure::Figure;
use super::machine::Machine;
use super::measure::{Plan, Sample, Samples};
use super::scenario::{Point, Scenario, Wanted};

pub use chart::chart;
pub use document::write_document;
pub use table::{header, line};

/// A run of the judge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// Rounds of each scenario.
    pub rounds: usize,
    /// Seconds of each measurement.
    pub seconds: f64,
    /// One for each scenario.
    pub rows: Vec<Row>,
}

/// A figure of a scenario, as each of the three had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The scenario's name, and which of its figures.
    pub name: String,
    /// Which.
    pub figure: Figure,
    /// What it is.
    pub about: String,
    /// Share of packets that is to leave by port 2.
    pub delivered: f64,
    /// Ours.
    pub ours: Samples,
    /// Open vSwitch's.
    pub ovs: Samples,
    /// testpmd's.
    pub testpmd: Samples,
    /// What was to be reached, and whether it was.
    pub verdicts: Vec<Verdict>,
    /// Where on a curve it is.
    pub point: Option<Point>,
    /// Where our cycles went if it was missed: per cent of them, function.
    pub profile: Vec<(f64, String)>,
}

/// Whether one condition is met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The condition in words.
    pub wanted: String,
    /// What was measured for it.
    pub measured: f64,
    /// At least this was to be reached.
    pub least: f64,
    /// Or at most.
    #[serde(default)]
    pub is_most: bool,
    /// It is so many times what Open vSwitch reaches.
    #[serde(default)]
    pub is_of_ovs: bool,
}

impl Verdict {
    /// Whether it is met.
    pub fn is_met(&self) -> bool {
        match self.is_most {
            // Nothing that was not measured costs nothing.
            true => self.measured > 0.0 && self.measured <= self.least,
            false => self.measured >= self.least,
        }
    }
}

impl Report {
    /// Of this machine, nothing measured yet.
    pub fn begin(plan: Plan) -> Report {
        Report {
            machine: Machine::this(),
            rounds: plan.rounds,
            seconds: plan.seconds,
            rows: Vec::new(),
        }
    }

    /// Adds the rows of another run that it lacks, all in the order of these names.
    pub fn add(&mut self, other: Report, names: &[String]) {
        let known: BTreeSet<String> = self.rows.iter().map(|row| row.name.clone()).collect();
        let others = other.rows.into_iter();
        self.rows
            .extend(others.filter(|row| !known.contains(&row.name)));
        self.rows
            .sort_by_key(|row| names.iter().position(|name| *name == row.name));
    }

    /// Reads it from a file.
    pub fn read(path: &Path) -> Result<Report> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Writes it to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}

impl Row {
    /// Judges a figure of a scenario; what Open vSwitch does with one rule on the port is needed
    /// where it is the measure.
    pub fn judge(
        scenario: &Scenario,
        figure: Figure,
        samples: &[Samples; 3],
        ovs_port_forward: Option<f64>,
    ) -> Row {
        let [ours, ovs, testpmd] = samples.clone();
        let mut row = Row {
            name: scenario.name.clone() + figure.suffix(),
            figure,
            about: scenario.about.clone(),
            delivered: scenario.delivered,
            ours,
            ovs,
            testpmd,
            verdicts: Vec::new(),
            point: scenario.point.clone(),
            profile: Vec::new(),
        };
        let wanted = scenario.wanted.iter();
        let verdicts = wanted.filter_map(|wanted| row.verdict(*wanted, ovs_port_forward));
        row.verdicts = verdicts.collect();
        row
    }

    /// `None` if it is asked of another figure.
    fn verdict(&self, wanted: Wanted, ovs_port_forward: Option<f64>) -> Option<Verdict> {
        if let Wanted::Absolute(figure, limit) = wanted {
            return (figure == self.figure).then(|| self.absolute(limit));
        }
        let (text, measured, least) = match wanted {
            Wanted::TimesOvs(least) => ("x OVS-DPDK", self.ratio(Kind::Ovs), least),
            Wanted::OfCeiling(least) => ("x testpmd", self.ratio(Kind::Testpmd), least),
            Wanted::OfOvsPortForward(least) => {
                let ours = self.value(Kind::Ours).zip(ovs_port_forward);
                let measured = ours.map(|(ours, theirs)| ours / theirs);
                ("x OVS-DPDK's port-forward", measured, least)
            }
            Wanted::Kept(least) => ("x without", self.ours.median(|sample| sample.kept), least),
            Wanted::Absolute(..) => return None,
        };
        Some(Verdict {
            wanted: match self.figure.is_cost() {
                true => format!("OVS-DPDK >= {least} x ours"),
                false => format!(">= {least} {text}"),
            },
            // What was not measured is not reached.
            measured: measured.unwrap_or(0.0),
            least,
            is_most: false,
            is_of_ovs: matches!(wanted, Wanted::TimesOvs(_)),
        })
    }

    fn absolute(&self, limit: f64) -> Verdict {
        let (sign, unit) = (
            if self.figure.is_cost() { "<=" } else { ">=" },
            self.figure.unit(),
        );
        Verdict {
            wanted: format!("{sign} {limit} {unit}"),
            measured: self.value(Kind::Ours).unwrap_or(0.0),
            least: limit,
            is_most: self.figure.is_cost(),
            is_of_ovs: false,
        }
    }

    /// The samples of one of the three.
    pub fn of(&self, kind: Kind) -> &Samples {
        match kind {
            Kind::Ours => &self.ours,
            Kind::Ovs => &self.ovs,
            Kind::Testpmd => &self.testpmd,
        }
    }

    /// The median of the figure of one of the three; `None` if it was not measured.
    pub fn value(&self, kind: Kind) -> Option<f64> {
        self.of(kind).median(|sample| self.figure.of(sample))
    }

    /// How many times better ours is than another's.
    pub fn ratio(&self, kind: Kind) -> Option<f64> {
        self.ratio_of(Kind::Ours, kind)
    }

    fn ratio_of(&self, one: Kind, other: Kind) -> Option<f64> {
        let (one, other) = self.value(one).zip(self.value(other))?;
        Some(match self.figure.is_cost() {
            true => other / one,
            false => one / other,
        })
    }

    /// How many times better testpmd is than Open vSwitch, if that is less than what was wanted of
    /// us and missed: then it is not the switch that is in the way.
    pub fn low_ceiling(&self) -> Option<f64> {
        let missed = self
            .verdicts
            .iter()
            .filter(|it| it.is_of_ovs && !it.is_met());
        let least = missed.map(|verdict| verdict.least).reduce(f64::max)?;
        let ceiling = self.ratio_of(Kind::Testpmd, Kind::Ovs);
        ceiling.filter(|ceiling| *ceiling < least)
    }

    /// Cycles for a packet, where packets are counted.
    pub fn cycles(&self, kind: Kind) -> Option<f64> {
        self.of(kind).median(Sample::cycles_of_switch)
    }

    /// What casts doubt on it, in words.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        for kind in Kind::ALL {
            let samples = self.of(kind);
            let name = kind.name();
            let others = samples.largest(|sample| sample.others);
            if others > OTHERS_MAX {
                doubts.push(format!(
                    "others had {:.0} % of {name}'s CPU",
                    others * 100.0
                ));
            }
            let starved = samples.largest(|sample| sample.starved);
            if starved > STARVED_MAX {
                let share = starved * 100.0;
                doubts.push(format!("{name} found no packet {share:.0} % of the time"));
            }
            let unseen = samples.largest(|sample| sample.unseen);
            if unseen > UNSEEN_MAX {
                let share = unseen * 100.0;
                doubts.push(format!("{share:.0} % of {name}'s packets were not timed"));
            }
            let changes = samples.median(|sample| sample.changes);
            if let Some(changes) = changes.filter(|&changes| changes < CHANGES_MIN) {
                doubts.push(format!("{name} made only {changes:.0} changes a second"));
            }
            let off = |sample: &Sample| {
                let delivered = sample.delivered.unwrap_or(self.delivered);
                (delivered - self.delivered).abs()
            };
            if samples.largest(off) > DELIVERED_OFF_MAX {
                let worst = samples.0.iter().max_by(|a, b| off(a).total_cmp(&off(b)));
                let share = worst.and_then(|sample| sample.delivered).unwrap_or(0.0) * 100.0;
                doubts.push(format!("{name} let {share:.1} % of the packets through"));
            }
        }
        doubts
    }

    /// Whether all that was to be reached is.
    pub fn is_met(&self) -> bool {
        self.verdicts.iter().all(Verdict::is_met)
    }
}

/// A number with three digits that count.
fn number(value: f64) -> String {
    let places = match value.abs() {
        0.0..0.1 => 4,
        0.1..1.0 => 3,
        1.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.places$}")
}

/// Beyond these a figure is doubtful.
const OTHERS_MAX: f64 = 0.05;
const STARVED_MAX: f64 = 0.02;
const UNSEEN_MAX: f64 = 0.05;
const DELIVERED_OFF_MAX: f64 = 0.02;
const CHANGES_MIN: f64 = 9_500.0;
