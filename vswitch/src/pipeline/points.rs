//! Recirculation points: where a translation stopped because later headers were unknown.
//!
//! Each worker has its own. A point is named by a number with bit 31 set, which is the packet's
//! entry ([`flowtable::FlowKey::entry`]) when it is parsed again.

use flowtable::FlowMask;

/// The recirculation points of one worker.
#[derive(Debug, Default)]
pub struct Points {
    epoch: u64,
}

impl Points {
    /// No points.
    pub fn new() -> Points {
        Points::default()
    }

    /// The bits of the key that decide what happens to packets at a point; `None` if there is no
    /// such point any more.
    pub fn entry_mask(&self, _point: u32) -> Option<&FlowMask> {
        None
    }

    /// Forgets every point if `epoch` is another than before: called when a worker takes a state.
    pub fn renew(&mut self, epoch: u64) {
        self.epoch = epoch;
    }
}
