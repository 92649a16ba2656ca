//! Which bits of a packet's key may matter, by entry point: the masks of the published state, at
//! hand by index so that a batch need not search for its own.

use std::sync::Arc;

use flowtable::{EntryMask, FlowMask};

use crate::action::PortNo;
use crate::pipeline::{Points, State};

/// The entry masks of ports, each looked up once per state.
#[derive(Debug, Default)]
pub struct Masks {
    ports: Vec<Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    epoch: Option<u64>,
    bits: Option<Arc<FlowMask>>,
    mask: Option<Arc<EntryMask>>,
}

impl Masks {
    /// The mask for packets that came in by a port; none if the state does not know the port.
    #[inline]
    pub fn of_port(&mut self, port: PortNo, state: &State) -> Option<&EntryMask> {
        let index = port.0 as usize;
        if index >= self.ports.len() {
            self.ports.resize(index + 1, Known::default());
        }
        let known = &mut self.ports[index];
        if known.epoch != Some(state.epoch()) {
            known.epoch = Some(state.epoch());
            known.renew(state.entry_mask(port));
        }
        known.mask.as_deref()
    }

    /// The mask for packets at a recirculation point.
    pub fn of_point(point: u32, points: &Points) -> Option<Arc<EntryMask>> {
        points
            .entry_mask(point)
            .map(|mask| Arc::new(EntryMask::new(mask)))
    }
}

impl Known {
    /// Most often the bits are those of the state before.
    fn renew(&mut self, bits: Option<&Arc<FlowMask>>) {
        let same = |ours: &Arc<FlowMask>| bits.is_some_and(|bits| Arc::ptr_eq(ours, bits));
        if !self.bits.as_ref().is_some_and(same) {
            self.bits = bits.cloned();
            self.mask = bits.map(|mask| Arc::new(EntryMask::new(mask)));
        }
    }
}
