//! Rules on their way from one tuple to another, some at a time.
//!
//! A rule that moves goes from its old cell and comes to a new one at the same epoch, so whoever
//! reads at whatever epoch sees it once. Nothing moves while somebody reads at an older epoch than
//! the last one: a list that is read bit by bit over many epochs would lose count.

use super::mask::TupleMask;
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
        let Some(tuple) = self.tuple(from) else {
            return;
        };
        if self.moves.iter().any(|it| it.from == from) {
            return;
        }
        let (mask, layout) = (tuple.face.probe.clone(), tuple.face.layout.clone());
        let is_shared = layout.is_some();
        let Some(number) = self.add_tuple(&mask, layout, 0) else {
            return;
        };
        if is_shared {
            self.shared.push(number);
            for shape in self.shapes.values_mut() {
                if let Some(place) = shape.shared.iter().position(|it| *it == from) {
                    shape.shared.insert(place, number);
                }
            }
        } else if let Some(shape) = self.shapes.get_mut(&mask) {
            shape.own.insert(0, number);
        }
        self.begin_moving(from);
    }

    /// Begins to move the rules of a tuple to those that come before it.
    pub(super) fn begin_moving(&mut self, from: u32) {
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
            match self.tuple(tuple) {
                Some(tuple) if cell <= tuple.face.cells.last() => {}
                _ => {
                    self.moves.pop();
                    continue;
                }
            }
            moved.extend(self.move_rule(RuleId { tuple, cell }, epoch));
        }
    }

    fn move_rule(&mut self, old: RuleId, epoch: u64) -> Option<RuleId> {
        let rule = self.rule(old).filter(|rule| rule.is_living())?;
        let (matching, priority) = (rule.matching(), rule.priority());
        let payload: Vec<u64> = rule.payload().collect();
        let shape = self.shapes.get(&TupleMask::of(&matching))?;
        let shared = shape
            .shared
            .iter()
            .copied()
            .take_while(|to| *to != old.tuple);
        let to = shared.clone().find(|to| self.has_room(*to, &matching));
        let own = shape
            .own
            .first()
            .copied()
            .filter(|_| shape.own.contains(&old.tuple));
        let to = to.or(own).filter(|to| *to != old.tuple)?;
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
