//! Rules on their way from one tuple to another, some at a time.
//!
//! A rule that moves goes from its old cell and comes to a new one at the same epoch, so whoever
//! reads at whatever epoch sees it once. Nothing moves while somebody reads at an older epoch than
//! the last one: a list that is read bit by bit over many epochs would lose count.

use std::sync::Arc;

use super::cells::weight;
use super::mask::TupleMask;
use super::tuple::NewRule;
use super::{Classifier, RuleId};
use crate::Match;

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
        let len = tuple.len();
        let is_shared = layout.is_some();
        let Some(number) = self.add_tuple(&mask, layout, 0) else {
            return;
        };
        if is_shared {
            self.set_founded(number, len);
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

    /// Notes how many rules a tuple is made for.
    pub(super) fn set_founded(&mut self, number: u32, rules: usize) {
        if let Some(Some(tuple)) = self.tuples.get_mut(number as usize) {
            tuple.founded = rules;
        }
    }

    /// Begins to move the rules of a tuple that masks share to tuples for each mask alone.
    pub(super) fn begin_closing(&mut self, number: u32) {
        if let Some(Some(tuple)) = self.tuples.get_mut(number as usize) {
            tuple.is_closed = true;
            self.begin_moving(number);
        }
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
        let (mask, shape) = self.shapes.get_key_value(&TupleMask::of(&matching))?;
        let (mask, rank) = (Arc::clone(mask), shape.rank);
        let to = match self.tuple(old.tuple)?.is_closed {
            true => self.own_tuple(&mask, weight(priority, rank)),
            false => self.better(old.tuple, &mask, &matching),
        };
        let to = to.filter(|to| *to != old.tuple)?;
        let rule = NewRule {
            matching: &matching,
            priority,
            rank,
            payload: &payload,
        };
        let cell = self.put(to, &rule, epoch)?;
        self.gate_moved(&matching);
        self.take(old, epoch);
        Some(RuleId { tuple: to, cell })
    }

    /// Where a rule of a mask would be put rather than in the tuple that it is in.
    fn better(&self, from: u32, mask: &TupleMask, matching: &Match) -> Option<u32> {
        let shape = self.shapes.get(mask)?;
        let mut shared = shape.shared.iter().take_while(|to| **to != from);
        let own = shape.own.first().filter(|_| shape.own.contains(&from));
        let with_room = shared.find(|to| self.has_room(**to, matching));
        with_room.or(own).copied()
    }
}
