//! Programs that are a straight line: changes of one packet, then one way out or none.
//!
//! Nearly all packets that a cache knows have such a program, so it is kept in a form that runs in
//! few instructions: writes to the Ethernet addresses are one, a tag is pushed with what is set in
//! it, and it is known beforehand how deep the packet must have been parsed. Made once, with the
//! program; `datapath::straight` runs it. What it does is what the operations do, one by one.
//!
//! Rules that count the packet behind an operation that may end it (OpenFlow 1.3.5 §5.7, meters;
//! §5.12, time to live) are counted with all others in the flow cache, and not at all on the way:
//! for a packet that ends early it is taken back there ([`Program::behind`]).

use std::sync::Arc;

use flowtable::{Depth, Field};

use super::select::{first_live, point};
use super::{Counted, DropReason, Encapsulation, Op, PortNo, Program, Select};
use crate::pipeline::Meter;

/// A program that is a straight line.
#[derive(Clone, Debug)]
pub struct Straight {
    /// How deep packets must have been parsed.
    pub depth: Depth,
    /// What is changed, in order.
    pub edits: Box<[Edit]>,
    /// Where the packet goes then.
    pub end: End,
    /// Whether the packet may be wrapped on the way: a super-frame must be cut before.
    pub encapsulates: bool,
}

/// A straight line that changes nothing, or what most programs change: the outer VLAN tag popped or
/// one pushed, then bits of the Ethernet addresses set, then the time to live decremented. The
/// order makes no difference to packets whose network header was found before. A meter may come
/// first.
#[derive(Clone, Debug)]
pub struct Quick {
    /// A meter that remarks nothing, which decides about the packet as it came in.
    pub meter: Option<Arc<Meter>>,
    /// The tag that is popped or pushed, if one is.
    pub tag: Tag,
    /// Bits of the addresses, maybe none.
    pub addresses: Addresses,
    /// Whether the time to live is decremented; then the network header must have been found.
    pub decrements: bool,
    /// The port that the packet goes out by.
    pub port: PortNo,
}

/// What becomes of VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// They stay.
    Stay,
    /// The outer one is popped.
    Pop,
    /// One is pushed: [`Edit::PushTag`].
    Push(u16, Bits),
}

/// A change of a packet.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Set bits of the Ethernet addresses.
    Addresses(Addresses),
    /// Push a VLAN tag with this TPID, its control information that of the outer tag, else 0, and
    /// set bits of it.
    PushTag(u16, Bits),
    /// Set bits of the outer VLAN tag's control information.
    SetTag(Bits),
    /// Pop the outer VLAN tag.
    PopTag,
    /// Decrement the IP time to live; a packet that had 1 or 0 ends here.
    DecTtl,
    /// Let a meter decide; a packet it drops ends here.
    Meter(Arc<Meter>),
    /// Count the packet: in a bucket of which nobody knows beforehand whether it is chosen.
    Count(Counted),
    /// Wrap the packet for a tunnel.
    Encapsulate(Arc<Encapsulation>),
    /// Any other operation that changes nothing but the packet.
    Other(Box<Op>),
}

impl Edit {
    /// Whether it may depend on Ethernet addresses, or move them.
    fn looks_at_addresses(&self) -> bool {
        matches!(
            self,
            Edit::Addresses(_) | Edit::Encapsulate(_) | Edit::Other(_)
        )
    }
}

/// Where a packet goes.
#[derive(Clone, Debug)]
pub enum End {
    /// Out by a port.
    Output(PortNo),
    /// The way of a bucket, chosen by the hash of the packet's addresses and ports.
    Select(Choice),
    /// Nowhere, for this reason where it is to be counted.
    Drop(Option<DropReason>),
}

/// Straight lines of which packets go one each.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Of each the sum of all weights up to and including its own: apart, so that several are
    /// compared at once.
    sums: Box<[u32]>,
    lines: Box<[Option<Straight>]>,
    /// [`Select::routes`].
    pub routes: bool,
}

/// Bits of an integer: a value within a mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    value: u16,
    mask: u16,
}

/// Bits of destination and source, as they lie in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    first: (u64, u64),
    last: (u32, u32),
}

impl Straight {
    /// The straight line that a program is, taking what it counts on its way out of the operations
    /// and into the counters; none, and no change, if it is none.
    pub(super) fn of(program: &mut Program) -> Option<Straight> {
        let Some((last, earlier)) = program.ops.split_last() else {
            return Some(Line::default().finish(End::Drop(program.drop)));
        };
        if program.drop.is_some() {
            return None;
        }
        let mut line = Line::default();
        earlier.iter().try_for_each(|op| line.add(op, true))?;
        let end = line.end(last)?;
        if !line.behind.is_empty() {
            program.behind = std::mem::take(&mut line.behind).into();
            let mut counters = std::mem::take(&mut program.counters).into_vec();
            let mut ops = Vec::with_capacity(program.ops.len() - program.behind.len());
            for op in std::mem::take(&mut program.ops) {
                match op {
                    Op::Count(counted) => counters.push(counted),
                    op => ops.push(op),
                }
            }
            (program.counters, program.ops) = (counters.into(), ops.into());
        }
        Some(line.finish(end))
    }

    /// One of a bucket, which is counted on its way.
    fn of_bucket(ops: &[Op]) -> Option<Straight> {
        let mut line = Line::default();
        let (earlier, last) = match ops {
            [earlier @ .., last] if !matches!(last, Op::Count(_)) => (earlier, Some(last)),
            _ => (ops, None),
        };
        earlier.iter().try_for_each(|op| line.add(op, false))?;
        let end = match last {
            Some(last) => line.end(last)?,
            None => End::Drop(None),
        };
        Some(line.finish(end))
    }
}

impl Quick {
    /// The quick form of a straight line, if it has one.
    pub(super) fn of(straight: &Straight) -> Option<Quick> {
        let End::Output(port) = straight.end else {
            return None;
        };
        let mut quick = Quick {
            meter: None,
            tag: Tag::Stay,
            addresses: Addresses::default(),
            decrements: false,
            port,
        };
        let (mut tags, mut addresses, mut times) = (0, 0, 0);
        for (place, edit) in straight.edits.iter().enumerate() {
            match edit {
                Edit::Meter(meter) if place == 0 && !meter.remarks() => {
                    quick.meter = Some(Arc::clone(meter));
                }
                Edit::Addresses(set) => (quick.addresses, addresses) = (*set, addresses + 1),
                Edit::PopTag => (quick.tag, tags) = (Tag::Pop, tags + 1),
                Edit::PushTag(tpid, bits) => {
                    (quick.tag, tags) = (Tag::Push(*tpid, *bits), tags + 1);
                }
                Edit::DecTtl => (quick.decrements, times) = (true, times + 1),
                _ => return None,
            }
        }
        // Beneath a third tag no header is in sight.
        let hides = quick.decrements && matches!(quick.tag, Tag::Push(..));
        (tags <= 1 && addresses <= 1 && times <= 1 && !hides).then_some(quick)
    }
}

/// A straight line in the making.
struct Line {
    depth: Depth,
    edits: Vec<Edit>,
    /// Behind how many edits the packet is counted on its way, each time that it is.
    behind: Vec<u16>,
    encapsulates: bool,
}

impl Default for Line {
    fn default() -> Line {
        Line {
            depth: Depth::Nothing,
            edits: Vec::new(),
            behind: Vec::new(),
            encapsulates: false,
        }
    }
}

impl Line {
    /// Adds an operation that is not the last; none if there is no such edit. In `first` the packet
    /// is counted by the cache.
    fn add(&mut self, op: &Op, first: bool) -> Option<()> {
        match op {
            Op::SetField { field, value, mask } => self.set_field(op, *field, *value, *mask),
            Op::PushVlan(tpid) => self.edits.push(Edit::PushTag(*tpid, Bits::default())),
            Op::PopVlan => self.edits.push(Edit::PopTag),
            Op::DecNwTtl(expiry) if expiry.punt.is_none() => {
                self.push(Edit::DecTtl, Depth::Network)
            }
            Op::Meter(meter) => {
                let depth = match meter.remarks() {
                    true => Depth::Network,
                    false => Depth::Nothing,
                };
                self.push(Edit::Meter(Arc::clone(meter)), depth);
            }
            Op::Count(_) if first => self.behind.push(self.edits.len().try_into().ok()?),
            Op::Count(counted) => self.edits.push(Edit::Count(counted.clone())),
            Op::Encapsulate(encapsulation) => {
                self.encapsulates = true;
                let depth = match encapsulation.is_told {
                    true => Depth::Link,
                    false => Depth::Nothing,
                };
                self.push(Edit::Encapsulate(Arc::clone(encapsulation)), depth);
            }
            Op::PushMpls(_)
            | Op::PopMpls(_)
            | Op::PushPbb(_)
            | Op::PopPbb
            | Op::DecMplsTtl(None)
            | Op::CopyTtlIn
            | Op::CopyTtlOut => self.push(Edit::Other(op.clone().into()), Depth::All),
            _ => return None,
        }
        Some(())
    }

    /// What the last operation makes of it.
    fn end(&mut self, last: &Op) -> Option<End> {
        match last {
            Op::Output(port) => Some(End::Output(*port)),
            Op::Select(select) => {
                self.depth = Depth::All;
                Choice::of(select).map(End::Select)
            }
            _ => None,
        }
    }

    fn push(&mut self, edit: Edit, depth: Depth) {
        self.depth = self.depth.max(depth);
        self.edits.push(edit);
    }

    fn set_field(&mut self, op: &Op, field: Field, value: u128, mask: u128) {
        let mask = mask & field.ones();
        match field {
            Field::EthDst => self.set_addresses(value << 48, mask << 48),
            Field::EthSrc => self.set_addresses(value, mask),
            Field::VlanVid => self.set_tag(value as u16, mask as u16 & VID),
            Field::VlanPcp => self.set_tag((value as u16) << PCP_SHIFT, (mask as u16) << PCP_SHIFT),
            _ => self.push(Edit::Other(op.clone().into()), Depth::All),
        }
    }

    /// Joins a change of the addresses with one before, where nothing between looks at them.
    fn set_addresses(&mut self, value: u128, mask: u128) {
        let blind = |edit: &&mut Edit| !edit.looks_at_addresses();
        let mut before = self.edits.iter_mut().rev().skip_while(blind);
        if let Some(Edit::Addresses(addresses)) = before.next() {
            return addresses.set(value, mask);
        }
        let mut addresses = Addresses::default();
        addresses.set(value, mask);
        self.edits.push(Edit::Addresses(addresses));
    }

    fn set_tag(&mut self, value: u16, mask: u16) {
        match self.edits.last_mut() {
            Some(Edit::PushTag(_, bits) | Edit::SetTag(bits)) => bits.set(value, mask),
            _ => {
                let value = value & mask;
                self.edits.push(Edit::SetTag(Bits { value, mask }));
            }
        }
    }

    fn finish(self, end: End) -> Straight {
        Straight {
            depth: self.depth,
            edits: self.edits.into(),
            encapsulates: self.encapsulates || end.encapsulates(),
            end,
        }
    }
}

impl End {
    fn encapsulates(&self) -> bool {
        match self {
            End::Select(choice) => choice.lines.iter().flatten().any(|line| line.encapsulates),
            _ => false,
        }
    }
}

impl Choice {
    /// The buckets of a group, if all are straight lines.
    pub(super) fn of(select: &Select) -> Option<Choice> {
        let buckets = select.buckets.iter();
        let lines = buckets.clone().map(|bucket| match &bucket.ops {
            Some(ops) => Some(Some(Straight::of_bucket(ops)?)),
            None => Some(None),
        });
        Some(Choice {
            sums: buckets.map(|bucket| bucket.upto).collect(),
            lines: lines.collect::<Option<_>>()?,
            routes: select.routes,
        })
    }

    /// The one for packets with this hash.
    #[inline(always)]
    pub fn find(&self, hash: u32) -> Option<&Straight> {
        let chosen = first_live(hash, |hash| self.lines.get(self.place(hash)));
        chosen.or_else(|| self.lines.iter().flatten().next())
    }

    #[inline(always)]
    fn place(&self, hash: u32) -> usize {
        let point = point(hash, self.sums.last().copied().unwrap_or_default());
        match self.sums.len() {
            // Without a way out, so that several are compared at once.
            ..=FEW => {
                let below = self.sums.iter().map(|sum| u32::from(*sum <= point));
                below.sum::<u32>() as usize
            }
            _ => self.sums.partition_point(|sum| *sum <= point),
        }
    }
}

/// Buckets that are compared in less time than one is searched for.
const FEW: usize = 64;

impl Bits {
    fn set(&mut self, value: u16, mask: u16) {
        self.value = self.value & !mask | value & mask;
        self.mask |= mask;
    }

    /// An integer with these bits set.
    #[inline]
    pub fn apply(self, old: u16) -> u16 {
        old & !self.mask | self.value
    }
}

impl Addresses {
    /// Sets bits of both addresses, the destination above the source.
    fn set(&mut self, value: u128, mask: u128) {
        let words = |bits: u128| {
            let [_, _, _, _, a, b, c, d, e, f, g, h, i, j, k, l] = bits.to_be_bytes();
            let first = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
            (first, u32::from_ne_bytes([i, j, k, l]))
        };
        let (value, mask) = (words(value & mask), words(mask));
        self.first.0 = self.first.0 & !mask.0 | value.0;
        self.first.1 |= mask.0;
        self.last.0 = self.last.0 & !mask.1 | value.1;
        self.last.1 |= mask.1;
    }

    /// Sets the bits in a frame's first bytes.
    #[inline(always)]
    pub fn write(&self, bytes: &mut [u8; 12]) {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
        let first = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        let last = u32::from_ne_bytes([i, j, k, l]);
        let first = first & !self.first.1 | self.first.0;
        let last = last & !self.last.1 | self.last.0;
        bytes[..8].copy_from_slice(&first.to_ne_bytes());
        bytes[8..].copy_from_slice(&last.to_ne_bytes());
    }

    /// Whether no bits are set.
    pub fn are_kept(&self) -> bool {
        (self.first.1, self.last.1) == (0, 0)
    }

    /// Whether bits of the source are set.
    pub fn reach_source(&self) -> bool {
        let source = self.first.1.to_ne_bytes();
        source[6..] != [0; 2] || self.last.1 != 0
    }
}

/// The VLAN id within a tag's control information (IEEE 802.1Q §9.6).
const VID: u16 = 0xfff;
const PCP_SHIFT: u32 = 13;

#[cfg(test)]
mod tests {
    use super::super::select::tests::select;
    use super::*;

    #[test]
    fn few_and_many_buckets_are_found_where_their_weights_say() {
        for count in [1, 2, 16, FEW, FEW + 1, 200] {
            let weights: Vec<u32> = (0..count as u32).map(|bucket| 1 + bucket * 7 % 5).collect();
            let total: u32 = weights.iter().sum();
            let select = select(weights.iter().map(|weight| (*weight, true)));
            let choice = Choice::of(&select).expect("straight lines");
            for hash in (0..1000_u32).map(|number| number.wrapping_mul(0x9e37_79b9)) {
                let point = (u64::from(hash) * u64::from(total)) >> 32;
                let mut buckets = select.buckets.iter();
                let expected = buckets.position(|bucket| point < u64::from(bucket.upto));
                match choice.find(hash).map(|line| &line.end) {
                    Some(End::Output(PortNo(found))) => {
                        assert_eq!(Some(*found as usize), expected);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let none = Choice::of(&Select::new([].into(), false));
        assert!(none.is_some_and(|none| none.find(7).is_none()));
    }
}
