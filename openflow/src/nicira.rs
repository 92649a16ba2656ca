//! Nicira's actions (nicira-ext, ovs-actions(7)): what controllers of Open vSwitch send besides the
//! actions of the specification. The codec is `v13::nicira`, the syntax `text::nicira`.

use std::sync::Arc;

use flowtable::{Field, FlowKey};

use crate::{Action, OfPort, TableId};

/// Some adjacent bits of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subfield {
    /// The field.
    pub field: Field,
    /// The lowest bit.
    pub offset: u8,
    /// How many bits, at least one.
    pub width: u8,
}

impl Subfield {
    /// All of a field.
    pub fn whole(field: Field) -> Subfield {
        Subfield {
            field,
            offset: 0,
            width: field.width() as u8,
        }
    }

    /// Whether it is all of its field.
    pub fn is_whole(self) -> bool {
        self == Subfield::whole(self.field)
    }

    /// Whether the field has all these bits.
    pub fn is_inside(self) -> bool {
        let end = u32::from(self.offset) + u32::from(self.width);
        self.width > 0 && end <= self.field.width()
    }

    /// All ones in its width.
    pub fn ones(self) -> u128 {
        u128::MAX >> (128 - u32::from(self.width))
    }

    /// Its bits in the field.
    pub fn mask(self) -> u128 {
        self.ones() << self.offset
    }

    /// Its value in a key.
    pub fn read(self, key: &FlowKey) -> u128 {
        self.field.read(key) >> self.offset & self.ones()
    }
}

/// An action of Nicira's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Nicira {
    /// Look the packet up in a table, carry out what is found there, then go on.
    Resubmit {
        /// As if it had come in by this port.
        in_port: Option<OfPort>,
        /// The table; the one that the packet is in if there is none.
        table: Option<TableId>,
    },
    /// Copy bits.
    Move {
        /// From here.
        src: Subfield,
        /// To here, as many.
        dst: Subfield,
    },
    /// Set bits.
    Load {
        /// These.
        dst: Subfield,
        /// To this.
        value: u64,
    },
    /// Send to the port whose number is in a field.
    OutputReg {
        /// The number.
        src: Subfield,
        /// Bytes of the packet for the controller.
        max_len: u16,
    },
    /// Push bits to the packet's stack.
    Push(Subfield),
    /// Pop bits from the packet's stack.
    Pop(Subfield),
    /// Nothing, with some bytes.
    Note(Arc<[u8]>),
    /// Send to the controllers that have this id.
    Controller {
        /// Bytes of the packet; `0xffff` for all of it, unbuffered.
        max_len: u16,
        /// Which controllers; they have 0 unless they ask for another.
        id: u16,
        /// `ofp_packet_in_reason`.
        reason: u8,
    },
    /// Carry these out on a copy of the packet.
    Clone(Arc<[Action]>),
    /// Do nothing more but the action set.
    Exit,
    /// Go back to the queue that packets have by themselves.
    PopQueue,
    /// Decrement the IP time to live, with the ids of the controllers that hear of its end.
    DecTtlIds(Arc<[u16]>),
    /// Forget what connection tracking said.
    CtClear,
    /// The flow is a clause of a conjunction: a packet that matches a flow of each clause matches
    /// the flow with this `conj_id` (ovs-actions(7)).
    Conjunction {
        /// Which conjunction.
        id: u32,
        /// Which clause, from 0 on.
        clause: u8,
        /// How many clauses there are, 2 to 64.
        clauses: u8,
    },
}
