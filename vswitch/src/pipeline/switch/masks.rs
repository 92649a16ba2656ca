//! Entry masks: which bits of a key decide what happens to packets that come in by the ports of
//! a bridge.
//!
//! They are every bit that a rule of a table reachable from table 0 matches, and every bit that
//! an action reads beyond that ([`super::footprint`]), of the bridge and of all bridges that
//! patch ports tie it to. So they follow from the rules; packets have no say. Metadata is no part
//! of it, since it starts out the same for all packets of an entry; but what packets carry of
//! their own is, where they carry anything: out of a tunnel, and to a recirculation point. What is
//! matched only behind such a point is no part of the mask in front of it. Of actions that a
//! controller sends with a packet no flow tells what they read: points that they lead to have a
//! mask of their own, with everything that actions read but values of fields.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowtable::tunnel::Kind;
use flowtable::{Carried, FlowMask};
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
                let masks = OwnMasks::of(bridge, ledger);
                stale |= masks != ledger.own_masks;
                ledger.own_masks = masks;
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
        let mut of_tunnels = FlowMask::default();
        of_tunnels.0.entry = u32::MAX;
        let mut at_points = of_tunnels;
        for ledger in component.iter().filter_map(|id| self.ledgers.get(id)) {
            of_tunnels.unite(&ledger.own_masks.entry);
            at_points.unite(&ledger.own_masks.points);
        }
        let mut when_handed = at_points;
        for read in Read::ALL {
            when_handed.unite(&read.mask());
        }
        let mut mask = of_tunnels;
        Carried::NONE.write(&mut mask.0);
        let masks = [mask, of_tunnels, at_points, when_handed].map(Arc::new);
        for id in component {
            let Some(bridge) = self.state.bridges.get_mut(id) else {
                continue;
            };
            let known = [
                &bridge.entry_mask,
                &bridge.tunnel_mask,
                &bridge.point_mask,
                &bridge.handed_mask,
            ];
            if known != masks.each_ref() {
                let bridge = Arc::make_mut(bridge);
                let [entry, tunnel, point, handed] = &masks;
                bridge.entry_mask = Arc::clone(entry);
                bridge.tunnel_mask = Arc::clone(tunnel);
                bridge.point_mask = Arc::clone(point);
                bridge.handed_mask = Arc::clone(handed);
            }
        }
    }
}

/// What a bridge's own flows and groups match and read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnMasks {
    /// Before a packet goes to a recirculation point.
    entry: FlowMask,
    /// At any time.
    points: FlowMask,
}

impl OwnMasks {
    fn of(bridge: &Bridge, ledger: &Ledger) -> OwnMasks {
        let mut tables = Reached::default();
        tables.begin(ledger);
        let mut entry = FlowMask::default();
        unite(&mut entry, bridge, ledger, &tables.seen);
        ledger.group_footprint.unite_into(&mut entry);
        if bridge.standalone {
            entry.unite(&Read::Normal.mask());
        }
        if bridge.drops_fragments {
            entry.unite(&Read::Fragment.mask());
        }
        for tunnel in bridge.ports().filter_map(|port| port.tunnel.as_deref()) {
            entry.unite(&tunnel.reads());
            if tunnel.kind == Kind::Geneve {
                entry.unite(&bridge.tlvs.mask());
            }
        }
        let before = tables.seen.clone();
        tables.go_on(ledger);
        let mut points = entry;
        unite(&mut points, bridge, ledger, tables.seen.difference(&before));
        OwnMasks {
            entry: entry.of_packets(),
            points: points.of_packets(),
        }
    }
}

/// Adds what the flows of some tables match and read.
fn unite<'a>(
    mask: &mut FlowMask,
    bridge: &Bridge,
    ledger: &Ledger,
    tables: impl IntoIterator<Item = &'a TableId>,
) {
    for id in tables {
        if let Some(table) = bridge.table(*id) {
            mask.unite(table.rules.mask());
        }
        if let Some(footprint) = ledger.footprints.get(id) {
            footprint.unite_into(mask);
        }
    }
}

/// Tables that packets may come to: table 0, and those that flows lead to from there.
pub(super) fn reachable(ledger: &Ledger) -> BTreeSet<TableId> {
    let mut tables = Reached::default();
    tables.begin(ledger);
    tables.go_on(ledger);
    tables.seen
}

/// Tables that packets may come to.
#[derive(Default)]
struct Reached {
    seen: BTreeSet<TableId>,
    /// Those that they come to from a recirculation point.
    points: Vec<TableId>,
}

impl Reached {
    /// Without a recirculation point.
    fn begin(&mut self, ledger: &Ledger) {
        let groups = &ledger.group_footprint;
        self.points.extend(groups.points());
        self.follow(ledger, [TableId(0)].into_iter().chain(groups.gotos()));
    }

    /// From one point to the next.
    fn go_on(&mut self, ledger: &Ledger) {
        while let Some(table) = self.points.pop() {
            self.follow(ledger, [table].into_iter());
        }
    }

    fn follow(&mut self, ledger: &Ledger, tables: impl Iterator<Item = TableId>) {
        let mut todo: Vec<TableId> = tables.collect();
        while let Some(id) = todo.pop() {
            if self.seen.insert(id)
                && let Some(footprint) = ledger.footprints.get(&id)
            {
                todo.extend(footprint.gotos());
                self.points.extend(footprint.points());
            }
        }
    }
}
