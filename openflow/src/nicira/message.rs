//! Nicira's messages (nicira-ext): packets for controllers with all that was decided about them,
//! and packets whose way goes on where it was interrupted.

use flowtable::Match;

use crate::{PacketInReason, TableId};

/// A message of Nicira's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NiciraMessage {
    /// Send packets for the controller like this from now on.
    SetPacketInFormat(PacketInFormat),
    /// The controller that flows mean by this number.
    SetControllerId(u16),
    /// A packet for the controller.
    PacketIn2(Box<PacketIn2>),
    /// An interrupted packet goes on.
    Resume(Box<PacketIn2>),
}

/// How packets are sent to a controller (`nx_packet_in_format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum PacketInFormat {
    /// As the specification has it.
    #[default]
    Standard = 0,
    /// As [`PacketIn2`].
    Nicira2 = 2,
}

/// A packet for the controller (`NXT_PACKET_IN2`), or back from it (`NXT_RESUME`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketIn2 {
    /// The packet, perhaps cut short.
    pub packet: Vec<u8>,
    /// Length of the whole packet, where it was cut.
    pub full_len: Option<u32>,
    /// Where the switch keeps the packet, if it does.
    pub buffer_id: Option<u32>,
    /// Table of the flow that sent it, if there was one.
    pub table: Option<TableId>,
    /// Cookie of that flow, all ones for none.
    pub cookie: u64,
    /// Why.
    pub reason: PacketInReason,
    /// The packet's metadata.
    pub metadata: Match,
    /// What the action said to send with it.
    pub userdata: Vec<u8>,
    /// How its way goes on, in the switch's own words; none where it does not.
    pub continuation: Option<Vec<u8>>,
}
