//! Packets on their way to and from the controller (OpenFlow 1.3.5 §7.3.7, §7.4.1).

use std::sync::Arc;

use flowtable::Match;

use crate::{Action, OfPort, TableId};

/// Why a packet goes to the controller (`ofp_packet_in_reason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PacketInReason {
    /// The table-miss flow.
    NoMatch = 0,
    /// An output action.
    Action = 1,
    /// A time to live that would become 0.
    InvalidTtl = 2,
}

/// A packet for the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketIn {
    /// Where the switch keeps the packet, if it does.
    pub buffer_id: Option<u32>,
    /// Length of the whole packet.
    pub total_len: u16,
    /// Why.
    pub reason: PacketInReason,
    /// Table of the flow that sent it.
    pub table: TableId,
    /// Cookie of that flow, all ones for none.
    pub cookie: u64,
    /// The packet's metadata: `in_port` at least.
    pub matching: Match,
    /// The packet, perhaps cut short.
    pub data: Vec<u8>,
}

/// A packet from the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketOut {
    /// Where the switch keeps the packet, if it does.
    pub buffer_id: Option<u32>,
    /// Port it counts as having come in by; [`OfPort::CONTROLLER`] for none.
    pub in_port: OfPort,
    /// What is done with it.
    pub actions: Arc<[Action]>,
    /// The packet; empty if it is buffered.
    pub data: Vec<u8>,
}
