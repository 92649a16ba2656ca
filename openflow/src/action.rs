//! Actions and instructions (OpenFlow 1.3.5 §5.9, §5.12, §7.2.4, §7.2.5).

use std::sync::Arc;

use flowtable::Field;

use crate::{GroupId, MeterId, OfPort, QueueId, TableId};

/// One action.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send to a port; `max_len` bytes at most if that is the controller.
    Output {
        /// Port or reserved port.
        port: OfPort,
        /// Bytes of the packet for the controller; `0xffff` for all of it, unbuffered.
        max_len: u16,
    },
    /// Process by a group.
    Group(GroupId),
    /// Choose the queue of later outputs.
    SetQueue(QueueId),
    /// Set the bits of `mask` in a field (1.3 knows whole fields only).
    SetField {
        /// The field.
        field: Field,
        /// Its new value.
        value: u128,
        /// The bits to set.
        mask: u128,
    },
    /// Push a VLAN tag with this TPID.
    PushVlan(u16),
    /// Pop the outer VLAN tag.
    PopVlan,
    /// Push an MPLS label stack entry with this Ethernet type.
    PushMpls(u16),
    /// Pop the top MPLS label stack entry; the Ethernet type of what follows.
    PopMpls(u16),
    /// Push a PBB service tag with this Ethernet type.
    PushPbb(u16),
    /// Pop the PBB service tag.
    PopPbb,
    /// Set the MPLS time to live.
    SetMplsTtl(u8),
    /// Decrement the MPLS time to live.
    DecMplsTtl,
    /// Set the IP time to live.
    SetNwTtl(u8),
    /// Decrement the IP time to live.
    DecNwTtl,
    /// Copy the time to live inwards, from the outermost to the next header.
    CopyTtlIn,
    /// Copy the time to live outwards, from the next-to-outermost header.
    CopyTtlOut,
}

/// The instructions of a flow, at most one of each kind, in the order in which they are carried
/// out. What a flow does not have is `None`, which differs from an empty list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Instructions {
    /// Meter the packet first.
    pub meter: Option<MeterId>,
    /// Carry these out at once.
    pub apply: Option<Arc<[Action]>>,
    /// Empty the action set.
    pub clear: bool,
    /// Merge these into the action set.
    pub write: Option<Arc<[Action]>>,
    /// Metadata value and mask.
    pub metadata: Option<(u64, u64)>,
    /// Table to go on with.
    pub goto: Option<TableId>,
}
