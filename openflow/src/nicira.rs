//! Nicira's actions (nicira-ext, ovs-actions(7)): what controllers of Open vSwitch send besides the
//! actions of the specification. The codec is `v13::nicira`, the syntax `text::nicira`.

use std::sync::Arc;

use flowtable::{Field, FlowKey};

use crate::{Action, Ct, MeterId, Nat, OfPort, TableId};

mod hash;
mod learn;
mod message;

pub use hash::{Bundle, BundleAlgorithm, HashFields, Multipath, MultipathAlgorithm};
pub use learn::{Learn, LearnSource, LearnSpec};
pub use message::{NiciraMessage, PacketIn2, PacketInFormat, TlvMap, TlvTableMod, TlvTableReply};

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
    /// All of a field. The presence bit is no part of a VLAN id here.
    pub fn whole(field: Field) -> Subfield {
        let width = match field {
            Field::VlanVid => VLAN_ID_WIDTH,
            field => field.width() as u8,
        };
        Subfield {
            field,
            offset: 0,
            width,
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

const VLAN_ID_WIDTH: u8 = 12;

/// An action of Nicira's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Nicira {
    /// Look the packet up in a table, carry out what is found there, then go on.
    Resubmit {
        /// As if it had come in by this port.
        in_port: Option<OfPort>,
        /// The table; the one that the packet is in if there is none.
        table: Option<TableId>,
        /// Whether it is looked up as the first packet of its connection was.
        by_connection: bool,
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
    /// Send to the port, the first bytes only.
    OutputTruncated {
        /// The port.
        port: OfPort,
        /// Bytes that are sent at most.
        len_max: u32,
    },
    /// Send to the controllers that have this id.
    Controller(Controller),
    /// Carry these out on a copy of the packet.
    Clone(Arc<[Action]>),
    /// Do nothing more but the action set.
    Exit,
    /// Go back to the queue that packets have by themselves.
    PopQueue,
    /// Decrement the IP time to live, with the ids of the controllers that hear of its end.
    DecTtlIds(Arc<[u16]>),
    /// Track the packet's connection.
    Ct(Arc<Ct>),
    /// Translate the connection of the `ct` that this is within.
    Nat(Nat),
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
    /// Make a flow.
    Learn(Arc<Learn>),
    /// Shorten the timeouts of the flow once a TCP connection ends.
    FinTimeout {
        /// Its idle timeout then, 0 to leave it.
        idle_timeout_s: u16,
        /// Its hard timeout then, 0 to leave it.
        hard_timeout_s: u16,
    },
    /// Choose one of some ports.
    Bundle(Arc<Bundle>),
    /// Choose one of some numbers.
    Multipath(Multipath),
    /// Set a bit to whether the packet is longer.
    CheckPacketLarger {
        /// Bytes, from the Ethernet header on.
        len: u16,
        /// The bit.
        dst: Subfield,
    },
    /// The packet has this Geneve option no more.
    DeleteField(Field),
    /// Tell collectors of some of the packets.
    Sample(Sample),
}

/// What is sent to controllers, and to which.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    /// Bytes of the packet; `0xffff` for all of it, unbuffered.
    pub max_len: u16,
    /// Which controllers; they have 0 unless they ask for another.
    pub id: u16,
    /// `ofp_packet_in_reason`.
    pub reason: u8,
    /// What the controllers get with it.
    pub userdata: Arc<[u8]>,
    /// Whether the packet's way ends here until a controller lets it go on.
    pub pause: bool,
    /// The meter that it passes first.
    pub meter: Option<MeterId>,
}

impl Default for Controller {
    /// All of the packet, to controllers that ask for nothing else.
    fn default() -> Controller {
        Controller {
            max_len: 0xffff,
            id: 0,
            reason: 1,
            userdata: [].into(),
            pause: false,
            meter: None,
        }
    }
}

impl Controller {
    /// Whether it says more than the first form of the action can.
    pub fn is_second(&self) -> bool {
        !self.userdata.is_empty() || self.pause || self.meter.is_some()
    }
}

/// Of which packets collectors hear (IPFIX), and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sample {
    /// Of 65535 packets so many.
    pub probability: u16,
    /// Which collectors.
    pub collector_set: u32,
    /// Observation domain.
    pub domain: ObservationId,
    /// Observation point.
    pub point: ObservationId,
    /// The port that is told of.
    pub port: Option<OfPort>,
    /// On which side of it.
    pub direction: SampleDirection,
}

impl Sample {
    /// The bits of the packet that are told as its domain and its point.
    pub fn sources(&self) -> impl Iterator<Item = Subfield> {
        let source = |id| match id {
            ObservationId::Number(_) => None,
            ObservationId::Field(source) => Some(source),
        };
        [self.domain, self.point].into_iter().filter_map(source)
    }
}

/// What a domain or a point of observation is called: a number, or bits of the packet that are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObservationId {
    /// This one.
    Number(u32),
    /// [`ObservationId::WIDTH_MAX`] bits at most.
    Field(Subfield),
}

impl ObservationId {
    /// Bits of a number.
    pub const WIDTH_MAX: u8 = 32;
}

/// On which side of a port packets are seen (`nx_action_sample_direction`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SampleDirection {
    /// Where they are.
    #[default]
    Default = 0,
    /// As they come in.
    Ingress = 1,
    /// As they go out.
    Egress = 2,
}
