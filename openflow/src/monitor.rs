//! Flow monitors: a controller names the flows whose changes it wants to hear of (ONF extension
//! 187 to OpenFlow 1.3, which OpenFlow 1.4 §7.3.5.17 took over).

use flowtable::Match;

use crate::{FlowRemovedReason, FlowStats, Instructions, OfPort, TableId, Xid};

/// Number of a monitor, its controller's choice and of meaning on its connection alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MonitorId(pub u32);

/// What a monitor tells and how, as it is on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MonitorFlags(pub u16);

impl MonitorFlags {
    /// The flows that are there when the monitor begins.
    pub const INITIAL: MonitorFlags = MonitorFlags(1);
    /// Flows that are added.
    pub const ADD: MonitorFlags = MonitorFlags(1 << 1);
    /// Flows that go.
    pub const DELETE: MonitorFlags = MonitorFlags(1 << 2);
    /// Flows that are changed.
    pub const MODIFY: MonitorFlags = MonitorFlags(1 << 3);
    /// With what flows do.
    pub const ACTIONS: MonitorFlags = MonitorFlags(1 << 4);
    /// What the connection itself changes in full, not by the number of its message.
    pub const OWN: MonitorFlags = MonitorFlags(1 << 5);

    /// Every flag.
    pub const ALL: MonitorFlags = MonitorFlags((1 << 6) - 1);

    /// Whether there is one of `others` among them.
    pub fn has(self, others: MonitorFlags) -> bool {
        self.0 & others.0 != 0
    }

    /// Whether they are known ones and ask for some change.
    pub fn are_valid(self) -> bool {
        let changes = MonitorFlags::ADD | MonitorFlags::DELETE | MonitorFlags::MODIFY;
        self.0 & !MonitorFlags::ALL.0 == 0 && self.has(changes)
    }
}

impl std::ops::BitOr for MonitorFlags {
    type Output = MonitorFlags;

    fn bitor(self, other: MonitorFlags) -> MonitorFlags {
        MonitorFlags(self.0 | other.0)
    }
}

/// A monitor: flows of this kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowMonitor {
    /// Its number.
    pub id: MonitorId,
    /// What it tells and how.
    pub flags: MonitorFlags,
    /// In this table; [`TableId::ALL`] for all.
    pub table: TableId,
    /// With an output to this port; [`OfPort::ANY`] for all.
    pub out_port: OfPort,
    /// At least as specific as this.
    pub matching: Match,
}

/// What happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEvent {
    /// It came, or took the place of another, or is there.
    Added,
    /// It went.
    Deleted(FlowRemovedReason),
    /// It does something else now.
    Modified,
}

/// A change of a flow; the flow as it is after it, or was last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowChange {
    /// What happened.
    pub event: FlowEvent,
    /// Its table.
    pub table: TableId,
    /// Its priority.
    pub priority: u16,
    /// Its idle timeout.
    pub idle_timeout_s: u16,
    /// Its hard timeout.
    pub hard_timeout_s: u16,
    /// Its cookie.
    pub cookie: u64,
    /// What packets it is for.
    pub matching: Match,
    /// What is done with them; nothing if nobody asked for that.
    pub instructions: Instructions,
}

impl FlowChange {
    /// A change of this flow.
    pub fn new(event: FlowEvent, flow: FlowStats) -> FlowChange {
        FlowChange {
            event,
            table: flow.table,
            priority: flow.priority,
            idle_timeout_s: flow.idle_timeout_s,
            hard_timeout_s: flow.hard_timeout_s,
            cookie: flow.cookie,
            matching: flow.matching,
            instructions: flow.instructions,
        }
    }
}

/// What a monitor tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowUpdate {
    /// A change.
    Full(Box<FlowChange>),
    /// The changes that a message of the connection itself made.
    Abbreviated(Xid),
}
