//! Recirculation points: where a translation stopped because later headers were unknown.
//!
//! Each worker has its own. A point is named by a number with bit 31 set, which is the packet's
//! entry ([`flowtable::FlowKey::entry`]) when it is parsed again. Equal points get the same number,
//! so their count follows from rules and ports and not from traffic.

use std::collections::HashMap;
use std::sync::Arc;

use flowtable::FlowMask;

use super::limits;
use super::translate::Frozen;

/// The recirculation points of one worker.
#[derive(Debug, Default)]
pub struct Points {
    epoch: u64,
    numbers: HashMap<Arc<Frozen>, u32>,
    points: Vec<Point>,
}

#[derive(Debug)]
struct Point {
    frozen: Arc<Frozen>,
    mask: Arc<FlowMask>,
}

impl Points {
    /// No points.
    pub fn new() -> Points {
        Points::default()
    }

    /// The bits of the key that decide what happens to packets at a point; `None` if there is no
    /// such point any more.
    pub fn entry_mask(&self, point: u32) -> Option<&Arc<FlowMask>> {
        Some(&self.point(point)?.mask)
    }

    /// Forgets every point if `epoch` is another than before: called when a worker takes a state.
    /// Programs that lead to the points are of that epoch, too, and not run any more.
    pub fn renew(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.numbers.clear();
            self.points.clear();
        }
    }

    /// The epoch that the points are of.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The place of a point among all, which are below [`limits::POINTS_MAX`]; none of a number
    /// that no point has.
    pub fn index(number: u32) -> Option<u32> {
        let index = number.checked_sub(FIRST)?;
        ((index as usize) < limits::POINTS_MAX).then_some(index)
    }

    /// What is to be done at a point.
    pub(super) fn frozen(&self, point: u32) -> Option<&Arc<Frozen>> {
        Some(&self.point(point)?.frozen)
    }

    /// The number of a point; `None` if there are too many.
    pub(super) fn intern(&mut self, frozen: Frozen, mask: &Arc<FlowMask>) -> Option<u32> {
        if let Some(number) = self.numbers.get(&frozen) {
            return Some(*number);
        }
        if self.points.len() == limits::POINTS_MAX {
            return None;
        }
        let number = self.points.len() as u32 | FIRST;
        let (frozen, mask) = (Arc::new(frozen), mask.clone());
        self.numbers.insert(frozen.clone(), number);
        self.points.push(Point { frozen, mask });
        Some(number)
    }

    fn point(&self, number: u32) -> Option<&Point> {
        self.points.get(Points::index(number)? as usize)
    }
}

/// Number of the first point: above those of all ports.
const FIRST: u32 = 1 << 31;
