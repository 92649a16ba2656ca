//! Bridges: adding, removing, and what can be set on them.

use std::sync::Arc;

use openflow::{Fragments, TableId};

use super::super::{Bridge, FailMode, State};
use super::{BridgeSpec, Draft, Ledger, Overflow, PortError, Switch, limits};
use crate::action::{BridgeId, Learn, PortNo};

/// Bridges.
impl Switch {
    /// Adds a bridge without ports and flows.
    pub fn add_bridge(&mut self, spec: &BridgeSpec) -> Result<BridgeId, PortError> {
        let named = |bridge: &Arc<Bridge>| bridge.name == spec.name;
        if self.state.bridges().any(named) {
            return Err(PortError::NameTaken(spec.name.clone()));
        }
        let id = free_id(&self.state).ok_or(PortError::TooMany(limits::PORTS_MAX))?;
        let mut ledger = Ledger::new(spec, self.secret);
        let mut bridge = Bridge {
            id,
            name: spec.name.clone(),
            fail_mode: spec.fail_mode,
            standalone: false,
            wants_invalid_ttl: false,
            drops_fragments: false,
            endpoints: 0,
            tables: Default::default(),
            instructions: Default::default(),
            flow_rows: Arc::clone(ledger.rows.shared()),
            groups: Default::default(),
            meters: Default::default(),
            ports: Default::default(),
            macs: Default::default(),
            exhausted: imbl::HashSet::new(),
            tlvs: Arc::default(),
            entry_mask: Arc::default(),
            tunnel_mask: Arc::default(),
            point_mask: Arc::default(),
            handed_mask: Arc::default(),
        };
        let mut draft = Draft {
            bridge: &mut bridge,
            changes: &mut self.changes,
            epoch: self.state.epoch,
        };
        ledger.make_table(&mut draft, TableId(0));
        self.state.bridges.insert(id, Arc::new(bridge));
        self.ledgers.insert(id, ledger);
        self.changed = true;
        self.ties_changed = true;
        Ok(id)
    }

    /// Removes a bridge with all that is in it; the numbers of its ports.
    pub fn remove_bridge(&mut self, id: BridgeId) -> Vec<PortNo> {
        let Some(bridge) = self.state.bridge(id).cloned() else {
            return Vec::new();
        };
        let ports: Vec<_> = bridge.ports().map(|port| port.number).collect();
        for port in &ports {
            self.remove_port(*port);
        }
        self.state.bridges.remove(&id);
        if let Some(ledger) = self.ledgers.remove(&id) {
            self.put_aside(bridge, ledger);
        }
        self.changes.all(self.state.epoch);
        self.changed = true;
        ports
    }

    /// Changes what happens without a controller.
    pub fn set_fail_mode(&mut self, id: BridgeId, mode: FailMode) {
        self.set(id, |bridge| {
            std::mem::replace(&mut bridge.fail_mode, mode) != mode
        });
    }

    /// Switches to NORMAL for every packet, or back to the flows.
    pub fn set_standalone(&mut self, id: BridgeId, on: bool) {
        self.set(id, |bridge| {
            std::mem::replace(&mut bridge.standalone, on) != on
        });
    }

    /// Says whether any controller wants packets whose time to live ended.
    pub fn set_wants_invalid_ttl(&mut self, id: BridgeId, on: bool) {
        self.set(id, |bridge| {
            std::mem::replace(&mut bridge.wants_invalid_ttl, on) != on
        });
    }

    /// What becomes of IP fragments.
    pub fn fragments(&self, id: BridgeId) -> Fragments {
        match self.state.bridge(id) {
            Some(bridge) if bridge.drops_fragments => Fragments::Drop,
            _ => Fragments::Normal,
        }
    }

    /// Says how many flows a table holds, and what becomes of more.
    pub fn set_flow_limit(&mut self, id: BridgeId, flows_max: usize, overflow: Overflow) {
        if let Some(ledger) = self.ledgers.get_mut(&id) {
            (ledger.flows_max, ledger.overflow) = (flows_max, overflow);
        }
    }

    /// Says what becomes of IP fragments; whether that is possible. None are reassembled.
    pub fn set_fragments(&mut self, id: BridgeId, fragments: Fragments) -> bool {
        let on = match fragments {
            Fragments::Normal => false,
            Fragments::Drop => true,
            Fragments::Reassemble => return false,
        };
        self.set(id, |bridge| {
            std::mem::replace(&mut bridge.drops_fragments, on) != on
        });
        true
    }

    /// Changes a bridge by `setter`, which says whether it did.
    fn set(&mut self, id: BridgeId, setter: impl FnOnce(&mut Bridge) -> bool) {
        let was_changed = self.changed;
        let done = self.draft(id).is_some_and(|(draft, ledger)| {
            ledger.mask_stale = true;
            setter(draft.bridge)
        });
        self.changed = was_changed || done;
        if done {
            self.changes.all(self.state.epoch);
        }
    }
}

/// Learned addresses.
impl Switch {
    /// Notes that an address was heard on a port.
    pub fn learn(&mut self, learn: Learn, now_ms: u64) {
        let port = self.state.port(learn.port);
        if port.is_none_or(|port| port.bridge != learn.bridge) {
            return;
        }
        let was_changed = self.changed;
        let news = self.draft(learn.bridge).is_some_and(|(mut draft, ledger)| {
            let (macs, now_s) = (&mut draft.bridge.macs, (now_ms / 1000) as u32);
            let news = ledger.addresses.learn(macs, learn, now_s);
            draft.note_addresses(ledger.addresses.changed());
            news
        });
        self.changed = was_changed || news;
    }

    /// Forgets every address learned in a bridge; how many there were.
    pub fn flush_macs(&mut self, id: BridgeId) -> usize {
        let Some((bridge, ledger)) = self.change(id) else {
            return 0;
        };
        let count = bridge.macs.len();
        ledger.addresses.clear(&mut bridge.macs);
        count
    }

    /// Changes after how many seconds addresses are forgotten.
    pub fn set_mac_age(&mut self, id: BridgeId, age_s: u32) {
        if let Some(ledger) = self.ledgers.get_mut(&id) {
            ledger.addresses.set_age(age_s);
        }
    }
}

/// The lowest number that no bridge has.
fn free_id(state: &State) -> Option<BridgeId> {
    let taken = |id: &BridgeId| state.bridge(*id).is_some();
    (0..limits::PORTS_MAX as u32)
        .map(BridgeId)
        .find(|id| !taken(id))
}
