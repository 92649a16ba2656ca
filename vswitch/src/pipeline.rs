//! Decides: published OpenFlow state, and its translation into datapath programs.
//!
//! The control thread owns the one [`Switch`], changes it message by message and publishes an
//! immutable [`State`]; publication shares all that did not change. Workers call [`translate()`]
//! with the state on a miss of their flow cache; `vsctl trace` calls the same function with a
//! [`Trace`] that listens. Nothing here knows packets, sockets or clocks.

mod action_set;
mod flow;
mod group;
mod instruction_list;
pub mod limits;
mod mac;
mod meter;
mod offer;
mod points;
mod port;
mod programs;
mod scope;
mod state;
mod switch;
mod table;
#[cfg(test)]
mod testing;
mod trace;
mod translate;
mod tunnel;
mod underlay;

pub use flow::{Flow, RemovedFlow};
pub use group::{Group, GroupBucket};
pub use mac::MacEntry;
pub use meter::{Lengths, Meter, MeterBand, Places, Verdict};
pub use points::Points;
pub use port::{BridgePort, Crossed, PortSpec, VlanMode};
pub use programs::{Arrival, Books, Decided, Programs};
pub use state::{Bridge, FailMode, State};
pub use switch::{
    Begun, BridgeSpec, Changed, FlowList, Moment, Overflow, PortError, Remains, Sweep, Switch,
    TableStructure, Work,
};
pub use table::Table;
pub use trace::{Followed, NoTrace, Recorder, Trace, Traced, Tree, trace};
pub use translate::{Context, Frozen, Ingress, translate};
pub use tunnel::{Key, Local, Received, Receivers, Tunnel};
pub use underlay::{Hop, Host, Neighbour, Network, NextHop, Route, Underlay, Unresolved};
