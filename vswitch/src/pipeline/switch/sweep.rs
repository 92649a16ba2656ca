//! Changes of many flows, carried out bit by bit.
//!
//! What: one message may be for a million flows: a loose modification or deletion (OpenFlow 1.3.5
//! §6.4), the deletion of groups and meters that flows use (§6.5, §6.6), a pipeline whose tables
//! can do less (§7.3.5.5). Outside of bundles nothing says that all of them change at one instant,
//! so others have their turn after every few.
//!
//! How: [`Switch`] begins such a change and hands it back if there is more to do; whoever asked for
//! it calls [`Sweep::step`] until there is not, and has nothing else carried out meanwhile for the
//! peer whose message it is.

use std::sync::Arc;

use flowtable::Rows;
use openflow::ErrorCode;

use super::super::RemovedFlow;
use super::{Ledger, Switch};
use crate::action::BridgeId;

mod flows;
mod misfits;
mod selected;
mod users;

pub use flows::FlowSweep;
pub use misfits::MisfitSweep;
use selected::Selected;
pub use users::{Used, UserSweep};

/// A change on its way.
#[derive(Debug)]
pub enum Sweep {
    /// Flows are modified or deleted.
    Flows(FlowSweep),
    /// Groups or meters are deleted, their users before them.
    Users(UserSweep),
    /// Flows go that their tables do not take any more.
    Misfits(MisfitSweep),
}

/// What a step did: flows that went, of which controllers want to hear, and whether there is more
/// to do.
pub type Step = (Vec<RemovedFlow>, bool);

/// What was done at once of a change, and what remains.
pub type Begun = (Vec<RemovedFlow>, Option<Sweep>);

impl Sweep {
    /// Goes on with a bounded number of flows. An error ends it.
    pub fn step(&mut self, switch: &mut Switch, now_ms: u64) -> Result<Step, ErrorCode> {
        match self {
            Sweep::Flows(sweep) => sweep.step(switch, now_ms),
            Sweep::Users(sweep) => sweep.step(switch, now_ms),
            Sweep::Misfits(sweep) => Ok(sweep.step(switch)),
        }
    }

    /// Does what can be done at once.
    pub(super) fn begin(mut self, switch: &mut Switch, now_ms: u64) -> Result<Begun, ErrorCode> {
        let (removed, more) = self.step(switch, now_ms)?;
        Ok((removed, more.then_some(self)))
    }

    /// Carries all of it out.
    pub(super) fn finish(
        mut self,
        switch: &mut Switch,
        now_ms: u64,
    ) -> Result<Vec<RemovedFlow>, ErrorCode> {
        let mut all = Vec::new();
        loop {
            let (removed, more) = self.step(switch, now_ms)?;
            all.extend(removed);
            if !more {
                return Ok(all);
            }
        }
    }
}

/// The bridge whose flows a change is for, as long as it was not cleared or removed.
#[derive(Debug)]
struct Home {
    bridge: BridgeId,
    rows: Option<Arc<Rows>>,
}

impl Home {
    fn new(switch: &Switch, bridge: BridgeId) -> Home {
        let ledger = switch.ledgers.get(&bridge);
        let rows = ledger.map(|ledger| Arc::clone(ledger.rows.shared()));
        Home { bridge, rows }
    }

    /// The book that the flows are in.
    fn ledger<'a>(&self, switch: &'a Switch) -> Option<&'a Ledger> {
        let ledger = switch.ledgers.get(&self.bridge)?;
        let rows = self.rows.as_ref()?;
        Arc::ptr_eq(rows, ledger.rows.shared()).then_some(ledger)
    }
}
