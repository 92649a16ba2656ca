//! Entry masks: which bits of a key decide what happens to packets that come in by the ports of
//! a bridge.
//!
//! They are every bit that a rule of a table reachable from table 0 matches, and every bit that
//! an action reads beyond that ([`super::footprint`]), of the bridge and of all bridges that
//! patch ports tie it to. So they follow from the rules; packets have no say. Metadata is no part
//! of it, since it starts out the same for all packets of an entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowtable::{FlowKey, FlowMask};
use openflow::TableId;

use super::footprint::Read;
use super::{Bridge, Ledger, Switch};
use crate::action::BridgeId;

impl Switch {
    /// Computes the masks of bridges whose rules changed shape, and of those tied to them.
    pub(super) fn renew_masks(&mut self) {
        let mut stale = std::mem::take(&mut self.ties_changed);
        for (id, ledger) in &mut self.ledgers {
            if let Some(bridge) = self.state.bridge(*id).filter(|_| ledger.mask_stale) {
                ledger.mask_stale = false;
                let mask = own_mask(bridge, ledger);
                stale |= mask != ledger.own_mask;
                ledger.own_mask = mask;
            }
        }
        if stale {
            for component in self.components() {
                self.set_masks(&component);
            }
        }
    }

    /// Bridges by what patch ports tie together.
    pub(super) fn components(&self) -> Vec<Vec<BridgeId>> {
        let mut ties: BTreeMap<BridgeId, BTreeSet<BridgeId>> = BTreeMap::new();
        for port in self.state.ports.values() {
            if let Some(peer) = port.peer.and_then(|peer| self.state.port(peer)) {
                ties.entry(port.bridge).or_default().insert(peer.bridge);
            }
        }
        let mut seen = BTreeSet::new();
        let mut components = Vec::new();
        for id in self.ledgers.keys() {
            let mut component = Vec::new();
            let mut todo = vec![*id];
            while let Some(id) = todo.pop() {
                if seen.insert(id) {
                    component.push(id);
                    todo.extend(ties.get(&id).into_iter().flatten());
                }
            }
            components.push(component);
        }
        components
    }

    fn set_masks(&mut self, component: &[BridgeId]) {
        let mut mask = FlowMask::default();
        mask.0.entry = u32::MAX;
        for ledger in component.iter().filter_map(|id| self.ledgers.get(id)) {
            mask.unite(&ledger.own_mask);
        }
        let mut at_points = mask;
        for read in Read::ALL {
            at_points.unite(&read.mask());
        }
        let (mask, at_points) = (Arc::new(mask), Arc::new(at_points));
        for id in component {
            let Some(bridge) = self.state.bridges.get_mut(id) else {
                continue;
            };
            if bridge.entry_mask != mask {
                let bridge = Arc::make_mut(bridge);
                bridge.entry_mask = mask.clone();
                bridge.point_mask = at_points.clone();
            }
        }
    }
}

/// Tables that packets may come to: table 0, and those that flows lead to from there.
pub(super) fn reachable(ledger: &Ledger) -> BTreeSet<TableId> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![TableId(0)];
    todo.extend(ledger.group_footprint.gotos());
    while let Some(id) = todo.pop() {
        if seen.insert(id)
            && let Some(footprint) = ledger.footprints.get(&id)
        {
            todo.extend(footprint.gotos());
        }
    }
    seen
}

/// What the bridge's own flows and groups match and read.
fn own_mask(bridge: &Bridge, ledger: &Ledger) -> FlowMask {
    let mut mask = FlowMask::default();
    for id in reachable(ledger) {
        if let Some(table) = bridge.table(id) {
            mask.unite(table.rules.mask());
        }
        if let Some(footprint) = ledger.footprints.get(&id) {
            footprint.unite_into(&mut mask);
        }
    }
    ledger.group_footprint.unite_into(&mut mask);
    if bridge.standalone {
        mask.unite(&Read::Normal.mask());
    }
    if bridge.drops_fragments {
        mask.unite(&Read::Fragment.mask());
    }
    mask.0.words_mut()[..FlowKey::HEADER_WORD].fill(0);
    mask
}
