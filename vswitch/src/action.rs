//! Datapath programs: what a packet undergoes, with every decision taken.
//!
//! `pipeline::translate` writes them, the flow cache keeps them, `datapath::execute` runs them.
//! An operation never looks anything up by number: what it needs is in it or behind an `Arc`.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use flowtable::conntrack::Request;
use flowtable::{Carried, Field, FlowKey, Scopes};
use openflow::{OfPort, TableId};

mod counters;
mod drop_reason;
mod encapsulation;
pub(crate) mod select;
mod shared;
mod straight;
mod tallies;
pub mod text;
mod wish;

pub use counters::{Counted, CountedIn, Counters, FlowCounters};
pub use drop_reason::DropReason;
pub use encapsulation::Encapsulation;
pub use select::{Bucket, Select};
pub use shared::{Account, Cache, Hashes, Likeness, Routine};
pub use straight::{Addresses, Bits, Choice, Edit, End, Quick, Straight, Tag};
pub use tallies::Tallies;
pub use wish::{Wish, WishKind};

/// Number of a port in the datapath, unique over all bridges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortNo(pub u32);

/// Number of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BridgeId(pub u32);

impl Punt {
    /// `max_len` for all of the packet (`OFPCML_NO_BUFFER`).
    pub const WHOLE: u16 = 0xffff;
}

/// When a learned address was last heard, in seconds. Written by workers, read by control.
#[derive(Debug, Default)]
pub struct Heard(pub AtomicU32);

/// An address heard on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Learn {
    /// The bridge that learns.
    pub bridge: BridgeId,
    /// VLAN, 0 for none.
    pub vlan: u16,
    /// Address, 48 bits.
    pub mac: u64,
    /// Port.
    pub port: PortNo,
}

/// What becomes of a packet.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The operations in order.
    pub ops: Box<[Op]>,
    /// Every rule, table and group that the packet is counted for.
    pub counters: Box<[Counted]>,
    /// Behind how many edits the last counters stand, one number for each: a packet that an edit
    /// before ends is not counted there.
    pub behind: Box<[u16]>,
    /// Learned addresses that the packet keeps alive.
    pub heard: Box<[Arc<Heard>]>,
    /// Why the packet goes nowhere, where it does.
    pub drop: Option<DropReason>,
    /// The tables and learned addresses that it depends on; none if it depends on more than that.
    pub scopes: Option<Scopes>,
    /// Hashes of its two sides, once it is known whole.
    pub hashes: Hashes,
    /// The form in which it runs, once it is known whole; none if it is no straight line.
    pub straight: Option<Box<Straight>>,
    /// The same in its quick form, if it has one.
    pub quick: Option<Quick>,
}

/// One operation. On a header that the packet does not have, it does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Send a copy by a port.
    Output(PortNo),
    /// Send a copy by each of these ports.
    Outputs(Box<[PortNo]>),
    /// Hand a copy to the switch's own endpoint behind a port.
    Answer(PortNo),
    /// Send a copy by this port, which leads to one of the host's own addresses; what came for it
    /// by a tunnel goes on at the tunnel's port instead.
    Deliver(PortNo),
    /// Send a copy to the controllers of a bridge.
    Controller(Arc<Punt>),
    /// Set the bits of `mask` in a header field, keeping checksums right.
    SetField {
        /// A header field.
        field: Field,
        /// Its new value.
        value: u128,
        /// The bits to set.
        mask: u128,
    },
    /// Push a VLAN tag with this TPID, its VLAN id and priority those of the outer tag, else 0.
    PushVlan(u16),
    /// Pop the outer VLAN tag.
    PopVlan,
    /// Push an MPLS entry, its label, TC and TTL copied from the next header that has them.
    PushMpls(u16),
    /// Pop the top MPLS entry, leaving this Ethernet type.
    PopMpls(u16),
    /// Push a PBB service tag with this Ethernet type and a copy of the Ethernet addresses.
    PushPbb(u16),
    /// Pop the PBB service tag and the outer Ethernet addresses.
    PopPbb,
    /// Wrap the packet in the headers of a tunnel.
    Encapsulate(Arc<Encapsulation>),
    /// Decrement the IP time to live; a packet that had 1 or 0 ends here.
    DecNwTtl(Expiry),
    /// Decrement the MPLS time to live; a packet that had 1 or 0 ends here.
    DecMplsTtl(Option<Arc<Punt>>),
    /// Copy the time to live from the outermost header that has one to the next.
    CopyTtlIn,
    /// Copy the time to live from the next-to-outermost header that has one to the outermost.
    CopyTtlOut,
    /// Let a meter decide; a packet it drops ends here.
    Meter(Arc<crate::pipeline::Meter>),
    /// Run these on a copy, leaving the packet as it was.
    Clone(Box<[Op]>),
    /// Run one of these on a copy, chosen by the hash of the packet's addresses and ports.
    Select(Arc<Select>),
    /// Count the packet.
    Count(Counted),
    /// Tell control of an address that the bridge does not know.
    Learn(Learn),
    /// Tell control of a change of the tables that the packet asks for.
    Wish(Arc<Wish>),
    /// Run one of two lists on a copy, by the packet's length.
    Longer(Arc<Longer>),
    /// Tell collectors of some packets.
    Sample(Arc<Sampling>),
    /// Cut the packet to so many bytes.
    Truncate(u32),
    /// Track the packet's connection.
    Track(Arc<Track>),
    /// Have the host ask for a neighbour's Ethernet address.
    Resolve(crate::pipeline::Unresolved),
    /// Parse again and go on at this recirculation point.
    Recirculate(u32),
}

impl Op {
    /// Whether the packet is the same after it, and goes on whatever happens.
    pub fn keeps_packet(&self) -> bool {
        matches!(
            self,
            Op::Output(_)
                | Op::Outputs(_)
                | Op::Answer(_)
                | Op::Deliver(_)
                | Op::Controller(_)
                | Op::Clone(_)
                | Op::Select(_)
                | Op::Count(_)
                | Op::Learn(_)
                | Op::Wish(_)
                | Op::Longer(_)
                | Op::Resolve(_)
                | Op::Sample(_)
        )
    }

    /// Whether it asks for more than the packet's bytes and Ethernet header.
    pub fn parses(&self) -> bool {
        let address = |field: &Field| matches!(field, Field::EthDst | Field::EthSrc);
        match self {
            Op::SetField { field, .. } => !address(field),
            Op::Clone(ops) => ops.iter().any(Op::parses),
            Op::Longer(longer) => longer.ops().any(Op::parses),
            Op::Truncate(_) => false,
            Op::Meter(_) | Op::PopVlan | Op::PushVlan(_) => false,
            Op::Encapsulate(encapsulation) => encapsulation.is_told,
            Op::Recirculate(_) => false,
            _ => !self.keeps_packet() || matches!(self, Op::Select(_)),
        }
    }

    /// Whether it may send the packet anywhere.
    pub fn sends(&self) -> bool {
        match self {
            Op::Output(_) | Op::Outputs(_) | Op::Deliver(_) | Op::Answer(_) => true,
            Op::Controller(_) | Op::Recirculate(_) => true,
            Op::Track(track) => track.point.is_some(),
            Op::Clone(ops) => ops.iter().any(Op::sends),
            Op::Longer(longer) => longer.ops().any(Op::sends),
            Op::Select(select) => {
                let mut buckets = select.live();
                buckets.any(|ops| ops.iter().any(Op::sends))
            }
            _ => false,
        }
    }

    /// The bridge whose endpoints answer a packet that ends here, or in a copy made here, because
    /// of its time to live.
    pub fn answers_expiry(&self) -> Option<BridgeId> {
        match self {
            Op::DecNwTtl(expiry) => expiry.answers,
            Op::Clone(ops) => ops.iter().find_map(Op::answers_expiry),
            Op::Select(select) => {
                let mut ops = select.live().flatten();
                ops.find_map(Op::answers_expiry)
            }
            _ => None,
        }
    }
}

/// Who hears of a packet whose time to live ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Expiry {
    /// The controllers, if one wants to.
    pub punt: Option<Arc<Punt>>,
    /// The endpoints of a bridge, if it has any.
    pub answers: Option<BridgeId>,
}

/// What becomes of packets by their length.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Longer {
    /// Bytes of a packet from its Ethernet header on; of a super-frame, those of a segment.
    pub len: u32,
    /// For packets that are longer.
    pub longer: Box<[Op]>,
    /// For others.
    pub other: Box<[Op]>,
}

impl Longer {
    fn ops(&self) -> impl Iterator<Item = &Op> {
        self.longer.iter().chain(&self.other)
    }
}

/// Of which packets collectors are told, and what beside their headers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sampling {
    /// Of 65535 packets so many.
    pub probability: u16,
    /// Which collectors.
    pub collector_set: u32,
    /// Observation domain.
    pub domain: u32,
    /// Observation point.
    pub point: u32,
    /// The port that they came in by.
    pub in_port: OfPort,
    /// The port that they are told to go out by.
    pub out_port: Option<OfPort>,
    /// Whether they are told to be seen as they go out.
    pub is_egress: bool,
}

/// What connection tracking is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Track {
    /// What to do.
    pub request: Request,
    /// Where a copy of the packet goes on with what was found out.
    pub point: Option<u32>,
    /// Whether what was found out before is forgotten.
    pub forgets: bool,
    /// Which of the operations that a packet comes to this is: the same on all workers and for all
    /// fragments of a datagram, and another for another copy of a packet.
    pub site: u32,
}

/// Why and with what a packet goes to the controllers (OpenFlow 1.3.5 §7.4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Punt {
    /// Whose controllers.
    pub bridge: BridgeId,
    /// `ofp_packet_in_reason`.
    pub reason: PuntReason,
    /// Table of the flow that sent it.
    pub table: TableId,
    /// Cookie of that flow, all ones for none.
    pub cookie: u64,
    /// Bytes wanted, `0xffff` for all, unbuffered.
    pub max_len: u16,
    /// Metadata part of the packet's key at that point; the header part is zero.
    pub metadata: Box<FlowKey>,
    /// Of what packets carry, the bits that are in there: the others are the packet's own.
    pub written: Carried,
    /// Meters that it passes first (`OFPM_SLOWPATH`, `OFPM_CONTROLLER`).
    pub meters: Box<[Arc<crate::pipeline::Meter>]>,
    /// Which controllers: those that asked for this number, 0 if for none.
    pub controller: u16,
    /// What the flow says to send with it.
    pub userdata: Arc<[u8]>,
    /// How the packet goes on when a controller lets it.
    pub paused: Option<Arc<crate::pipeline::Frozen>>,
}

/// `ofp_packet_in_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PuntReason {
    /// The table-miss flow.
    NoMatch,
    /// An output action.
    Action,
    /// A time to live that would become 0.
    InvalidTtl,
}
