//! What goes into connection tracking with a packet, and what comes out.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::nat::{Nat, Translation};
use super::record::Direction;
use super::shift::Shift;
use super::tuple::Tuple;

/// Bits of the connection tracking state, as Open vSwitch's `ct_state` has them.
pub mod ct_state {
    /// No connection, or one that was not answered yet.
    pub const NEW: u32 = 1 << 0;
    /// Part of a connection.
    pub const EST: u32 = 1 << 1;
    /// Belongs to another connection: an ICMP error, or expected.
    pub const REL: u32 = 1 << 2;
    /// In the reply direction.
    pub const RPL: u32 = 1 << 3;
    /// Not possibly right.
    pub const INV: u32 = 1 << 4;
    /// Has been tracked.
    pub const TRK: u32 = 1 << 5;
    /// Its source was translated.
    pub const SNAT: u32 = 1 << 6;
    /// Its destination was translated.
    pub const DNAT: u32 = 1 << 7;
}

/// What an action asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Request {
    /// Zone; that of the packets' tuples.
    pub zone: u16,
    /// Packets that belong to no connection make one.
    pub commits: bool,
    /// A connection whose reply this is ends: the packet makes one the other way.
    pub forces: bool,
    /// Packets are translated as their connection says; a new one as this says.
    pub nat: Option<Nat>,
    /// Value and mask for the connection's mark.
    pub mark: Option<(u32, u32)>,
    /// Value and mask for the connection's label.
    pub label: Option<([u64; 2], [u64; 2])>,
    /// Who reads the packets of a new connection.
    pub helper: Option<Helper>,
    /// Policy of timeouts for a new connection; that of the zone where nothing is said.
    pub policy: Option<u8>,
}

impl Request {
    /// Whether it leaves connections as they are, and translates what is translated.
    #[inline(always)]
    pub(super) fn is_gentle(&self) -> bool {
        !self.forces && self.mark.is_none() && self.label.is_none()
    }

    /// Nothing but to be looked at in zone 0.
    pub(super) const NONE: Request = Request {
        zone: 0,
        commits: false,
        forces: false,
        nat: None,
        mark: None,
        label: None,
        helper: None,
        policy: None,
    };
}

/// Who reads packets to find out what other connections they announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Helper {
    /// FTP (RFC 959, RFC 2428).
    Ftp = 1,
    /// TFTP (RFC 1350).
    Tftp = 2,
}

impl Helper {
    pub(super) fn of(number: u8) -> Option<Helper> {
        match number {
            1 => Some(Helper::Ftp),
            2 => Some(Helper::Tftp),
            _ => None,
        }
    }
}

/// What an action said of a packet before, in the same batch and zone: connection tracking tells
/// the same again and does not take it for another packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The connection.
    pub handle: Handle,
    /// The packet's direction in it.
    pub direction: Direction,
    /// What it was told.
    pub bits: u32,
}

/// A connection, as long as it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    pub(super) number: u32,
    pub(super) generation: u32,
}

/// What is known of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Bits of [`ct_state`].
    pub bits: u32,
    /// Mark of the connection.
    pub mark: u32,
    /// Label of the connection.
    pub label: [u64; 2],
    /// Original direction of the connection, or of its parent if it was expected.
    pub original: Tuple,
    /// Connection and direction, for another action on the packet.
    pub known: Option<Known>,
    /// What to change in the packet.
    pub translation: Option<Translation>,
    /// What to add to its sequence numbers, once it is translated.
    pub shift: Option<Shift>,
    /// Who is to read it ([`super::Tracker::listen`]).
    pub helper: Option<Helper>,
    /// Why there is no connection though one was asked for: the packet is to be dropped.
    pub refusal: Option<Refusal>,
}

impl Verdict {
    /// That of a packet that cannot be tracked, or can be part of no connection.
    pub fn invalid(original: Tuple) -> Verdict {
        Verdict {
            bits: ct_state::TRK | ct_state::INV,
            mark: 0,
            label: [0; 2],
            original,
            known: None,
            translation: None,
            shift: None,
            helper: None,
            refusal: None,
        }
    }
}

/// What is known of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// Of one that only moves the windows of its connection, as nearly all do, and has this tuple.
    Brief(&'a Brief, &'a Tuple),
    /// Of any other.
    Whole(&'a Verdict),
}

impl Told<'_> {
    /// Bits of [`ct_state`], mark and label of the connection.
    #[inline(always)]
    pub fn state(&self) -> (u32, u32, [u64; 2]) {
        match self {
            Told::Brief(it, _) => (it.bits, it.mark, it.label),
            Told::Whole(it) => (it.bits, it.mark, it.label),
        }
    }

    /// Original direction of the connection.
    #[inline(always)]
    pub fn original(&self) -> Tuple {
        match self {
            Told::Brief(it, tuple) => it.original(tuple),
            Told::Whole(it) => it.original,
        }
    }

    /// Connection and direction.
    #[inline(always)]
    pub fn known(&self) -> Option<Known> {
        match self {
            Told::Brief(it, _) => Some(it.known),
            Told::Whole(it) => it.known,
        }
    }

    /// What to change in the packet.
    #[inline(always)]
    pub fn translation(&self) -> Option<&Translation> {
        match self {
            Told::Brief(it, _) => it.translation.as_ref(),
            Told::Whole(it) => it.translation.as_ref(),
        }
    }
}

/// What is known of a packet that only moves the windows of its connection and was not translated
/// before: whatever else there is in a [`Verdict`] is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    /// Bits of [`ct_state`].
    pub bits: u32,
    /// Mark of the connection.
    pub mark: u32,
    /// Label of the connection.
    pub label: [u64; 2],
    /// Connection and direction, for another action on the packet.
    pub known: Known,
    /// What to change in the packet.
    pub translation: Option<Translation>,
}

impl Brief {
    /// Original direction of the connection whose packet has this tuple.
    #[inline(always)]
    pub fn original(&self, tuple: &Tuple) -> Tuple {
        match (self.known.direction, &self.translation) {
            (Direction::Original, _) => *tuple,
            (Direction::Reply, None) => tuple.swapped(),
            (Direction::Reply, Some(translation)) => translation.to.swapped(),
        }
    }

    /// All of it, for the packet with this tuple.
    pub fn verdict(&self, tuple: &Tuple) -> Verdict {
        Verdict {
            bits: self.bits,
            mark: self.mark,
            label: self.label,
            known: Some(self.known),
            translation: self.translation,
            ..Verdict::invalid(self.original(tuple))
        }
    }
}

/// Why a connection was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The table is full, and no half-open connection can go.
    Full,
    /// The zone has as many connections as it may.
    ZoneLimit,
    /// All that it could be translated to is taken, or its replies belong to another connection.
    NoTuple,
    /// Another thread made one at the same place, or the last places left were being tidied up,
    /// and was stopped while it did.
    Busy,
}

/// What happened, packet by packet and connection by connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Tally {
    /// Packets of connections.
    pub hits: u64,
    /// Packets that belong to none.
    pub misses: u64,
    /// Packets that are invalid.
    pub invalid: u64,
    /// Connections made.
    pub created: u64,
    /// Connections that ended because no packet came in time, or their zone was flushed.
    pub expired: u64,
    /// Half-open connections that had to go for others.
    pub evicted: u64,
    /// Connections that ended because a packet opened them anew, or turned them around.
    pub replaced: u64,
    /// Packets refused because the table is full.
    pub refused_full: u64,
    /// Because the zone is.
    pub refused_zone: u64,
    /// Because no tuple is free.
    pub refused_tuple: u64,
    /// Because another thread was stopped.
    pub refused_busy: u64,
}
