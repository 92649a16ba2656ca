//! What came of the patterns, counted by category.

use super::{Category, Pattern};

/// What came of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The switch does what the pattern demands.
    Passed,
    /// It does not, as the tool sees it.
    Failed(String),
    /// The tool did not get to it.
    NotRun(String),
}

impl Outcome {
    /// Says why a pattern was not run.
    pub(super) fn explain(&mut self, reason: &str) {
        if let Outcome::NotRun(old) = self {
            *old = reason.into();
        }
    }
}

/// Patterns and what came of them.
#[derive(Clone, Debug, Default)]
pub struct Score {
    lines: Vec<(Pattern, Outcome)>,
}

impl Score {
    pub(super) fn new(patterns: &[Pattern], outcomes: Vec<Outcome>) -> Score {
        let lines = patterns.iter().cloned().zip(outcomes).collect();
        Score { lines }
    }

    /// Adds another one's patterns.
    pub fn extend(&mut self, other: Score) {
        self.lines.extend(other.lines);
    }

    /// Takes over what came of patterns that were run again.
    pub(super) fn update(&mut self, newer: Score) {
        for (pattern, outcome) in newer.lines {
            let same = |(old, _): &&mut (Pattern, Outcome)| {
                old.file == pattern.file && old.number == pattern.number
            };
            if let Some(line) = self.lines.iter_mut().find(same) {
                line.1 = outcome;
            }
        }
    }

    /// How many passed, and how many there are; of all categories if none is given.
    pub fn passed(&self, category: Option<Category>) -> (usize, usize) {
        let lines = self.lines.iter();
        let lines = lines.filter(|(pattern, _)| category.is_none_or(|one| one == pattern.category));
        lines.fold((0, 0), |(passed, all), (_, outcome)| {
            (passed + usize::from(*outcome == Outcome::Passed), all + 1)
        })
    }

    /// A line for each pattern that did not pass: file, number, what it does, why it failed.
    pub fn failures(&self) -> Vec<String> {
        let lines = self.lines.iter();
        let line = |(pattern, outcome): &(Pattern, Outcome)| {
            let reason = match outcome {
                Outcome::Passed => return None,
                Outcome::Failed(reason) => reason,
                Outcome::NotRun(reason) => &format!("not run: {reason}"),
            };
            let Pattern {
                file, number, name, ..
            } = pattern;
            Some(format!("{file} #{number}: {name}\n    {reason}"))
        };
        lines.filter_map(line).collect()
    }

    /// The patterns that did not pass.
    pub(super) fn failed_patterns(&self) -> Vec<Pattern> {
        let lines = self.lines.iter();
        let failed = lines.filter(|(_, outcome)| *outcome != Outcome::Passed);
        failed.map(|(pattern, _)| pattern.clone()).collect()
    }
}
