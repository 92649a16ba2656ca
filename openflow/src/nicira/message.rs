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
    /// Map Geneve options to `tun_metadata` fields, or no more.
    TlvTableMod(TlvTableMod),
    /// Which options are mapped?
    TlvTableRequest,
    /// Which options are mapped.
    TlvTableReply(TlvTableReply),
}

/// A Geneve option and the `tun_metadata` field that it is (`nx_tlv_map`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlvMap {
    /// Class of the option.
    pub class: u16,
    /// Type of the option.
    pub kind: u8,
    /// Bytes of its data.
    pub len: u8,
    /// Number of the field.
    pub index: u16,
}

/// A change of the TLV table (`NXT_TLV_TABLE_MOD`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlvTableMod {
    /// Map these, all or none.
    Add(Vec<TlvMap>),
    /// Map these fields no more; of each only the index counts.
    Delete(Vec<TlvMap>),
    /// Map nothing.
    Clear,
}

/// The TLV table (`NXT_TLV_TABLE_REPLY`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlvTableReply {
    /// Bytes of all options that can be mapped.
    pub space_max: u32,
    /// Fields that there are.
    pub fields_max: u16,
    /// What is mapped.
    pub maps: Vec<TlvMap>,
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
