//! Which bits of a packet's key may matter, by entry point: the masks of the published state, at
//! hand by index so that a batch need not search for its own.

use std::sync::Arc;

use flowtable::{Depth, EntryMask, FlowMask};

use crate::action::PortNo;
use crate::pipeline::{Points, State};

/// The entry masks of ports, tunnels and points, each looked up once per state.
#[derive(Debug, Default)]
pub struct Masks {
    ports: Vec<Known>,
    tunnels: Vec<Known>,
    points: Vec<Known>,
    /// Whether packets of some port are parsed deeper than its mask has bits.
    is_deepened: bool,
}

#[derive(Clone, Debug)]
struct Known {
    /// When it was looked up, [`NEVER`] if it was not.
    epoch: u64,
    bits: Option<Arc<FlowMask>>,
    mask: Option<Arc<EntryMask>>,
    /// How deep packets are parsed: as deep as the mask has bits at least.
    depth: Depth,
}

impl Masks {
    /// The mask for packets that came in by a port, and how deep to parse them; none if the state
    /// does not know the port.
    #[inline]
    pub fn of_port(&mut self, port: PortNo, state: &State) -> Option<(&EntryMask, Depth)> {
        let known = known(&mut self.ports, port.0, state.epoch(), || {
            state.entry_mask(port)
        });
        Some((known.mask.as_deref()?, known.depth))
    }

    /// Packets that come in by a port are tracked: it is best to parse them as a whole at once.
    #[inline]
    pub fn deepen(&mut self, port: PortNo) {
        let known = self.ports.get_mut(port.0 as usize);
        known.into_iter().for_each(|known| known.depth = Depth::All);
        self.is_deepened = true;
    }

    /// Forgets at which ports packets are tracked: some may be so no more.
    pub fn flatten(&mut self) {
        if core::mem::take(&mut self.is_deepened) {
            self.ports.iter_mut().for_each(Known::flatten);
        }
    }

    /// The mask for packets that were taken out of a tunnel; none if the state does not know its
    /// port.
    #[inline]
    pub fn of_tunnel(&mut self, port: PortNo, state: &State) -> Option<&EntryMask> {
        known(&mut self.tunnels, port.0, state.epoch(), || {
            state.tunnel_mask(port)
        })
        .mask
        .as_deref()
    }

    /// The mask for packets at a recirculation point; none if there is no such point.
    #[inline]
    pub fn of_point(&mut self, point: u32, points: &Points) -> Option<&EntryMask> {
        let index = Points::index(point)?;
        known(&mut self.points, index, points.epoch(), || {
            points.entry_mask(point)
        })
        .mask
        .as_deref()
    }

    /// A point and its mask, if all these points have one and it is the same.
    #[inline]
    pub fn of_points(
        &mut self,
        mut points: impl Iterator<Item = u32>,
        all: &Points,
    ) -> Option<(u32, &EntryMask)> {
        let first = points.next()?;
        let bits = all.entry_mask(first)?;
        let mut last = first;
        for point in points {
            if point != last && !Arc::ptr_eq(all.entry_mask(point)?, bits) {
                return None;
            }
            last = point;
        }
        Some((first, self.of_point(first, all)?))
    }
}

/// What is known of one of these entries, after asking `bits` once in an epoch.
#[inline(always)]
fn known<'m, 'b>(
    entries: &'m mut Vec<Known>,
    index: u32,
    epoch: u64,
    bits: impl FnOnce() -> Option<&'b Arc<FlowMask>>,
) -> &'m Known {
    let index = index as usize;
    if index >= entries.len() {
        entries.resize(index + 1, Known::default());
    }
    let known = &mut entries[index];
    if known.epoch != epoch {
        known.epoch = epoch;
        known.renew(bits());
    }
    known
}

/// In place of an epoch: there are not as many.
const NEVER: u64 = u64::MAX;

impl Default for Known {
    fn default() -> Known {
        Known {
            epoch: NEVER,
            bits: None,
            mask: None,
            depth: Depth::default(),
        }
    }
}

impl Known {
    /// Packets are parsed no deeper than the mask has bits.
    fn flatten(&mut self) {
        let depth = self.mask.as_ref().map(|mask| mask.depth());
        self.depth = depth.unwrap_or_default();
    }

    /// Most often the bits are those of the state before.
    fn renew(&mut self, bits: Option<&Arc<FlowMask>>) {
        let same = |ours: &Arc<FlowMask>| bits.is_some_and(|bits| Arc::ptr_eq(ours, bits));
        if !self.bits.as_ref().is_some_and(same) {
            self.bits = bits.cloned();
            self.mask = bits.map(|mask| Arc::new(EntryMask::new(mask)));
            self.flatten();
        }
    }
}
