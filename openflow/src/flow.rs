//! Flow modification (OpenFlow 1.3.5 §7.3.4.1).

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
