//! The writer's model: owned by the control thread, changed message by message, published whole.
//!
//! What is published is the working copy itself: maps that share their structure with the copies
//! before. A change costs the path to what it changes, a publication nothing but its own clone
//! and, if the shape of the rules changed, new entry masks. Flows are not copied at all: all states
//! share them, and a state's epoch tells which of them are there ([`flowtable::Classifier`]). What
//! only the writer needs is in a [`ledger::Ledger`] per bridge.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

use flowtable::{Changes, Field, Match, Rule};
use openflow::{OfPort, TableId};
use thiserror::Error;

use super::{Bridge, FailMode, Group, MacEntry, PortSpec, State, VlanMode};
use super::{limits, scope};
use crate::action::{BridgeId, PortNo};

mod addresses;
mod bridges;
mod check;
mod clear;
mod course;
mod deadlines;
mod expiry;
mod features;
mod flows;
mod footprint;
mod groups;
mod interner;
mod learned;
mod ledger;
mod list;
mod masks;
mod meters;
mod ports;
mod rows;
mod statistics;
mod structure;
mod sweep;
#[cfg(test)]
mod tests;
mod timeouts;
mod tlv;
mod transaction;
mod users;
mod watch;
mod worst_case;

pub use clear::Remains;
use ledger::Ledger;
pub use list::FlowList;
pub use structure::{TableStructure, Work};
pub use sweep::{Begun, Sweep};
pub use watch::{Changed, Moment};

/// What is said of a bridge when it is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSpec {
    /// Name, unique.
    pub name: String,
    /// What happens without a controller.
    pub fail_mode: FailMode,
    /// Addresses it learns at most.
    pub macs_max: usize,
    /// Seconds after which an address not heard of is forgotten.
    pub mac_age_s: u32,
    /// Flows of one table.
    pub flows_max: usize,
    /// What becomes of a flow for which its table has no room.
    pub overflow: Overflow,
    /// Groups.
    pub groups_max: usize,
    /// Meters.
    pub meters_max: usize,
}

/// What becomes of a flow that is added to a full table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It is refused (`OFPFMFC_TABLE_FULL`).
    #[default]
    Refuse,
    /// The flow with a timeout that would end first makes room; if none has a timeout the new one
    /// is refused.
    Evict,
}

impl Default for BridgeSpec {
    fn default() -> BridgeSpec {
        BridgeSpec {
            name: String::new(),
            fail_mode: FailMode::Standalone,
            macs_max: limits::MACS_DEFAULT,
            mac_age_s: limits::MAC_AGE_DEFAULT_S,
            flows_max: limits::FLOWS_MAX,
            overflow: Overflow::Refuse,
            groups_max: limits::GROUPS_MAX,
            meters_max: limits::METERS_MAX,
        }
    }
}

/// Why a bridge or port cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PortError {
    /// The name is taken.
    #[error("the name {0} is taken")]
    NameTaken(String),
    /// The OpenFlow number is taken.
    #[error("port number {0} is taken")]
    NumberTaken(OfPort),
    /// The OpenFlow number is not that of a port.
    #[error("port number {0} is out of range (1 to 4294967040, or 4294967294 for the local port)")]
    NumberReserved(OfPort),
    /// There are as many ports as there can be.
    #[error("there are {0} ports, the most that are allowed")]
    TooMany(usize),
    /// A tunnel of another protocol has the UDP port.
    #[error("UDP port {0} is that of tunnels of another type")]
    TunnelPortTaken(u16),
    /// Another tunnel port receives the very same packets.
    #[error("port {0} has the same remote_ip, local_ip, key and dst_port")]
    SameTunnel(String),
    /// There is no such bridge.
    #[error("no such bridge")]
    NoBridge,
}

/// The switch as OpenFlow sees it: bridges with their ports, tables, groups and meters.
///
/// Changes take effect for packets when the state that [`Switch::publish`] returns reaches the
/// workers.
#[derive(Debug)]
pub struct Switch {
    /// The working copy.
    state: State,
    /// What was published last.
    published: Arc<State>,
    /// Whether they differ.
    changed: bool,
    /// Whether bridges came or patch ports were tied since.
    ties_changed: bool,
    /// What changed lately.
    changes: Changes,
    ledgers: BTreeMap<BridgeId, Ledger>,
    /// Ports by name.
    names: HashMap<String, PortNo>,
    /// Keeps packets that collide in the classifiers from being made.
    secret: u64,
    /// States that were published, and may still be read, by epoch.
    history: VecDeque<(u64, Weak<State>)>,
    /// What was in bridges that were cleared or removed, each with the epoch from which on nobody
    /// sees it.
    remains: Vec<(u64, Remains)>,
}

impl Default for Switch {
    fn default() -> Switch {
        Switch::new()
    }
}

impl Switch {
    /// No bridges.
    pub fn new() -> Switch {
        Switch::with_secret(RandomState::new().hash_one(0))
    }

    /// No bridges. Whoever does not know the secret cannot make rules or packets that collide.
    pub fn with_secret(secret: u64) -> Switch {
        let published = Arc::<State>::default();
        Switch {
            state: State {
                epoch: published.epoch + 1,
                ..State::default()
            },
            history: [(published.epoch, Arc::downgrade(&published))].into(),
            published,
            changed: false,
            ties_changed: false,
            changes: Changes::new(secret),
            ledgers: BTreeMap::new(),
            names: HashMap::new(),
            secret,
            remains: Vec::new(),
        }
    }

    /// The working copy: what the next publication will hold, entry masks aside. Its epoch is the
    /// next one.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether there is something to be published.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Changes of flows since the last publication.
    pub fn flow_changes(&self) -> usize {
        self.changes.unpublished()
    }

    /// Makes what changed since the last publication one new state; the last one if nothing did.
    pub fn publish(&mut self) -> Arc<State> {
        if self.changed {
            self.maintain();
            self.changed = false;
            self.renew_masks();
            self.state.changes = self.changes.publish();
            self.published = Arc::new(self.state.clone());
            let published = Arc::downgrade(&self.published);
            self.history.push_back((self.state.epoch, published));
            self.state.epoch += 1;
        }
        self.published.clone()
    }

    /// Frees what no reader of an older state can see any more, in bounded steps; whether there is
    /// more that could be freed at once.
    pub fn maintain(&mut self) -> bool {
        let epochs = (self.oldest_read(), self.state.epoch);
        let mut more = false;
        for (id, ledger) in &mut self.ledgers {
            if let Some(bridge) = self.state.bridges.get_mut(id) {
                let done = ledger.maintain(bridge, epochs, MAINTAIN_STEPS);
                self.changed |= done.0;
                more |= done.1;
            }
        }
        more
    }

    /// The oldest epoch that somebody reads at.
    fn oldest_read(&mut self) -> u64 {
        while let Some((_, state)) = self.history.front()
            && state.strong_count() == 0
        {
            self.history.pop_front();
        }
        let oldest = self.history.front();
        oldest.map_or(self.state.epoch, |(epoch, _)| *epoch)
    }

    /// Flows that went or were changed and are kept for readers of older states.
    pub fn flows_waiting(&self) -> usize {
        self.ledgers.values().map(Ledger::waiting).sum()
    }

    /// A bridge to be changed, with its book. What is decided for any packet may be otherwise.
    fn change(&mut self, id: BridgeId) -> Option<(&mut Bridge, &mut Ledger)> {
        self.changes.all(self.state.epoch);
        let (draft, ledger) = self.draft(id)?;
        Some((draft.bridge, ledger))
    }

    /// A bridge to be changed in a way that concerns some packets only, with its book.
    fn draft(&mut self, id: BridgeId) -> Option<(Draft<'_>, &mut Ledger)> {
        let bridge = self.state.bridges.get_mut(&id)?;
        let ledger = self.ledgers.get_mut(&id)?;
        self.changed = true;
        let draft = Draft {
            bridge: Arc::make_mut(bridge),
            changes: &mut self.changes,
            epoch: self.state.epoch,
        };
        Some((draft, ledger))
    }
}

/// A bridge whose flows and learned addresses are being changed: which packets that concerns is
/// noted.
struct Draft<'a> {
    /// Its part of the working copy.
    bridge: &'a mut Bridge,
    changes: &'a mut Changes,
    /// The epoch from which on the changes are seen.
    epoch: u64,
}

impl Draft<'_> {
    /// A flow with this match and priority comes.
    fn note_new(&mut self, table: TableId, matching: &Match, priority: u16) {
        let scope = scope::table(self.bridge.id, table);
        self.changes.note_new(scope, matching, priority, self.epoch);
    }

    /// A flow goes, or does something else.
    fn note_old(&mut self, table: TableId, rule: &Rule<'_>) {
        let scope = scope::table(self.bridge.id, table);
        self.changes.note_old(scope, rule, self.epoch);
    }

    /// Addresses are learned or forgotten.
    fn note_addresses(&mut self, addresses: impl Iterator<Item = u64>) {
        let scope = scope::addresses(self.bridge.id);
        for address in addresses {
            for field in [Field::EthDst, Field::EthSrc] {
                let mut matching = Match::default();
                matching.set(field, address.into(), field.ones());
                self.changes
                    .note_new(scope, &matching, u16::MAX, self.epoch);
            }
        }
    }
}

/// Flows whose memory is freed, or whose place in a larger index is made, in one go: about half a
/// millisecond. More than are changed between two publications, in the long run.
const MAINTAIN_STEPS: usize = 4096;
