//! Rules on their way from one tuple to another, some at a time.
//!
//! A rule that moves goes from its old cell and comes to a new one at the same epoch, so whoever
//! reads at whatever epoch sees it once. Nothing moves while somebody reads at an older epoch than
//! the last one: a list that is read bit by bit over many epochs would lose count.

use super::tuple::NewRule;
use super::{Classifier, RuleId};

/// A tuple whose rules go elsewhere.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) from: u32,
    /// The next cell to be looked at.
    next: u32,
}

impl Classifier {
    /// Begins to move the rules of a tuple that takes far more memory than they need.
    pub(super) fn move_to_smaller(&mut self, from: u32) {
        let Some(Some(tuple)) = self.tuples.get(from as usize) else {
            return;
        };
        if self.moves.iter().any(|it| it.from == from) {
            return;
        }
        let mask = tuple.face.probe.clone();
        let Some(number) = self.add_tuple(&mask, 0) else {
            return;
        };
        if let Some(shape) = self.shapes.get_mut(&mask) {
            shape.tuples.insert(0, number);
        }
        self.recent = None;
        self.moves.push(Move { from, next: 1 });
    }

    /// Moves rules from `epoch` on, a cell for each step.
    pub(super) fn go_on_moving(&mut self, epoch: u64, steps: &mut usize, moved: &mut Vec<RuleId>) {
        while *steps > 0
            && let Some(Move { from, next }) = self.moves.last_mut()
        {
            let (tuple, cell) = (*from, *next);
            *next += 1;
            *steps -= 1;
            let Some(last) = self.tuples[tuple as usize].as_ref() else {
                self.moves.pop();
                continue;
            };
            if cell > last.face.cells.last() {
                self.moves.pop();
                continue;
            }
            moved.extend(self.move_rule(RuleId { tuple, cell }, epoch));
        }
    }

    fn move_rule(&mut self, old: RuleId, epoch: u64) -> Option<RuleId> {
        let rule = self.rule(old).filter(|rule| rule.is_living())?;
        let (matching, priority) = (rule.matching(), rule.priority());
        let payload: Vec<u64> = rule.payload().collect();
        let shape = self.shapes.get(&super::TupleMask::of(&matching))?;
        let to = *shape.tuples.first().filter(|to| **to != old.tuple)?;
        let rule = NewRule {
            matching: &matching,
            priority,
            rank: shape.rank,
            payload: &payload,
        };
        let cell = self.put(to, &rule, epoch)?;
        self.take(old, epoch);
        Some(RuleId { tuple: to, cell })
    }
}
