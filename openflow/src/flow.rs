//! Flows: modification, removal, statistics (OpenFlow 1.3.5 §7.3.4.1, §7.3.5.2, §7.3.5.3,
//! §7.4.2).

use std::time::Duration;

use flowtable::Match;

use crate::{GroupId, Instructions, OfPort, TableId};

/// What a flow modification does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowModCommand {
    /// Add, replacing a flow of equal match and priority.
    #[default]
    Add,
    /// Modify the instructions of all flows the match includes.
    Modify,
    /// Modify the instructions of the flow of equal match and priority.
    ModifyStrict,
    /// Delete all flows the match includes.
    Delete,
    /// Delete the flow of equal match and priority.
    DeleteStrict,
}

/// Flags of a flow (`ofp_flow_mod_flags`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFlags {
    /// Tell the controllers when the flow goes.
    pub send_flow_removed: bool,
    /// Refuse if an overlapping flow of the same priority is there.
    pub check_overlap: bool,
    /// Reset the counters on a modification.
    pub reset_counts: bool,
    /// Do not count packets.
    pub no_packet_counts: bool,
    /// Do not count bytes.
    pub no_byte_counts: bool,
}

/// A flow modification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowMod {
    /// What to do.
    pub command: FlowModCommand,
    /// Opaque to the switch; given to the flow on add.
    pub cookie: u64,
    /// Bits of the cookie that restrict a modify or delete; 0 for no restriction.
    pub cookie_mask: u64,
    /// Table; [`TableId::ALL`] for deletes.
    pub table: TableId,
    /// Seconds without a packet after which the flow goes, 0 for never.
    pub idle_timeout_s: u16,
    /// Seconds after which the flow goes, 0 for never.
    pub hard_timeout_s: u16,
    /// Highest wins.
    pub priority: u16,
    /// Buffered packet to process, if any.
    pub buffer_id: Option<u32>,
    /// Deletes: only flows with an output to this port; [`OfPort::ANY`] for all.
    pub out_port: OfPort,
    /// Deletes: only flows with this group; [`GroupId::ANY`] for all.
    pub out_group: GroupId,
    /// Flags.
    pub flags: FlowFlags,
    /// What packets it is for.
    pub matching: Match,
    /// What is done with them.
    pub instructions: Instructions,
}

/// Why a flow went (`ofp_flow_removed_reason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FlowRemovedReason {
    /// No packet for too long.
    IdleTimeout = 0,
    /// Its time was over.
    HardTimeout = 1,
    /// A controller deleted it.
    Delete = 2,
    /// Its group was deleted.
    GroupDelete = 3,
    /// Its meter was deleted; only flow monitors tell that.
    MeterDelete = 4,
}

impl FlowRemovedReason {
    /// Its number in flow removed and in what a controller wants to hear of: before OpenFlow 1.4
    /// there is none for the end of a meter, and Open vSwitch takes that for a deletion.
    pub fn number(self) -> u8 {
        match self {
            FlowRemovedReason::MeterDelete => FlowRemovedReason::Delete as u8,
            reason => reason as u8,
        }
    }
}

/// A flow went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRemoved {
    /// Cookie of the flow.
    pub cookie: u64,
    /// Its priority.
    pub priority: u16,
    /// Why it went.
    pub reason: FlowRemovedReason,
    /// Its table.
    pub table: TableId,
    /// How long it was there.
    pub duration: Duration,
    /// Its idle timeout.
    pub idle_timeout_s: u16,
    /// Its hard timeout.
    pub hard_timeout_s: u16,
    /// Packets it matched.
    pub packets: u64,
    /// Bytes it matched.
    pub bytes: u64,
    /// What packets it was for.
    pub matching: Match,
}

/// Which flows statistics are wanted of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStatsRequest {
    /// In this table; [`TableId::ALL`] for all.
    pub table: TableId,
    /// With an output to this port; [`OfPort::ANY`] for all.
    pub out_port: OfPort,
    /// With this group; [`GroupId::ANY`] for all.
    pub out_group: GroupId,
    /// With a cookie like this.
    pub cookie: u64,
    /// Bits of the cookie that count; 0 for no restriction.
    pub cookie_mask: u64,
    /// At least as specific as this.
    pub matching: Match,
}

impl Default for FlowStatsRequest {
    /// Every flow of every table.
    fn default() -> FlowStatsRequest {
        FlowStatsRequest {
            table: TableId::ALL,
            out_port: OfPort::ANY,
            out_group: GroupId::ANY,
            cookie: 0,
            cookie_mask: 0,
            matching: Match::default(),
        }
    }
}

/// A flow with its statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStats {
    /// Its table.
    pub table: TableId,
    /// How long it has been there.
    pub duration: Duration,
    /// Its priority.
    pub priority: u16,
    /// Its idle timeout.
    pub idle_timeout_s: u16,
    /// Its hard timeout.
    pub hard_timeout_s: u16,
    /// Its flags.
    pub flags: FlowFlags,
    /// Its cookie.
    pub cookie: u64,
    /// Packets it matched.
    pub packets: u64,
    /// Bytes it matched.
    pub bytes: u64,
    /// What packets it is for.
    pub matching: Match,
    /// What is done with them.
    pub instructions: Instructions,
}

/// Sums over flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AggregateStats {
    /// Packets they matched.
    pub packets: u64,
    /// Bytes they matched.
    pub bytes: u64,
    /// How many they are.
    pub flows: u32,
}
