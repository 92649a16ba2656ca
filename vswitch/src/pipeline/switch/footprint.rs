//! What flows and groups read of a packet beyond what they match, counted, so that a flow that
//! goes takes its part with it. Together with the matches this gives the mask of an entry point.
//!
//! Set-field reads nothing: it does on the key what it does on the packet only if the packet has
//! the field, and whoever matches the field later matches its prerequisites, too. Only that a
//! later fragment has no ports is not a prerequisite.

use std::collections::BTreeMap;

use flowtable::{Field, FlowMask, Match, Prerequisite};
use openflow::{
    Action, BundleAlgorithm, CtZone, Instructions, LearnSpec, Nicira, OfPort, Sample, TableId,
};

use super::super::translate::{choice, learn};
use super::course::Course;

/// What actions read, and where flows lead to.
#[derive(Debug, Default)]
pub struct Footprint {
    reads: [u32; Read::ALL.len()],
    /// Fields whose values actions read.
    fields: BTreeMap<Field, u32>,
    gotos: BTreeMap<TableId, u32>,
    /// Tables that packets come to by way of a recirculation point.
    points: BTreeMap<TableId, u32>,
    courses: BTreeMap<Course, u32>,
}

/// A part of the key that some action reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// VLAN tags: pushing and popping shifts them.
    Vlan,
    /// The top MPLS entry: pushing copies it.
    Mpls,
    /// The PBB service tag: pushing copies it.
    Pbb,
    /// Whether it is a fragment.
    Fragment,
    /// Addresses and VLAN: NORMAL.
    Normal,
    /// Whether a TCP connection ends with it.
    End,
}

impl Read {
    /// Every part.
    pub const ALL: [Read; 6] = [
        Read::Vlan,
        Read::Mpls,
        Read::Pbb,
        Read::Fragment,
        Read::Normal,
        Read::End,
    ];

    /// Its bits.
    pub fn mask(self) -> FlowMask {
        let mut mask = FlowMask::default();
        let key = &mut mask.0;
        match self {
            Read::Vlan => {
                key.vlan_tci = u16::MAX;
                key.vlan_tpid = u16::MAX;
                key.inner_vlan_tci = u16::MAX;
                key.inner_vlan_tpid = u16::MAX;
                key.eth_type = u16::MAX;
            }
            Read::Mpls => {
                key.eth_type = u16::MAX;
                key.mpls = u32::MAX;
            }
            Read::Pbb => {
                key.eth_type = u16::MAX;
                key.pbb_isid = u32::MAX;
            }
            Read::Fragment => key.ip_frag = u8::MAX,
            Read::End => {
                let (field, bits) = learn::ends();
                field.write(key, bits, bits);
            }
            Read::Normal => {
                mask = Read::Vlan.mask();
                mask.unite(&Field::EthDst.mask());
                mask.unite(&Field::EthSrc.mask());
            }
        }
        mask
    }

    fn of(action: &Action) -> Option<Read> {
        match action {
            Action::PushVlan(_) | Action::PopVlan => Some(Read::Vlan),
            Action::PushMpls(_) => Some(Read::Mpls),
            Action::PushPbb(_) => Some(Read::Pbb),
            Action::Output { port, .. } if *port == OfPort::NORMAL => Some(Read::Normal),
            Action::SetField { field, .. } => Read::of_set(*field),
            Action::Nicira(Nicira::FinTimeout { .. }) => Some(Read::End),
            Action::Nicira(nicira) => Read::of_set(written(nicira)?),
            _ => None,
        }
    }

    fn of_set(field: Field) -> Option<Read> {
        match field {
            Field::VlanTci => Some(Read::Vlan),
            field => in_transport(field).then_some(Read::Fragment),
        }
    }
}

/// The field that an action changes.
fn written(nicira: &Nicira) -> Option<Field> {
    match nicira {
        Nicira::Move { dst, .. } | Nicira::Load { dst, .. } | Nicira::Pop(dst) => Some(dst.field),
        Nicira::CheckPacketLarger { dst, .. } => Some(dst.field),
        Nicira::Multipath(multipath) => Some(multipath.dst.field),
        Nicira::Bundle(bundle) => bundle.dst.map(|dst| dst.field),
        Nicira::Learn(learn) => learn.result.map(|result| result.field),
        Nicira::DeleteField(field) => Some(*field),
        _ => None,
    }
}

/// The fields that an action takes from packets or writes to them or to flows that it makes.
pub fn fields(action: &Action) -> impl Iterator<Item = Field> {
    let (set, made): (_, &[LearnSpec]) = match action {
        Action::SetField { field, .. } => (Some(*field), &[]),
        Action::Nicira(Nicira::Learn(learn)) => (written_by(action), &learn.specs),
        _ => (written_by(action), &[]),
    };
    let made = made.iter().filter_map(LearnSpec::made);
    taken(action).chain(set).chain(made.map(|dst| dst.field))
}

fn written_by(action: &Action) -> Option<Field> {
    match action {
        Action::Nicira(nicira) => written(nicira),
        _ => None,
    }
}

/// The fields whose values an action takes, if packets have them of their own.
fn taken(action: &Action) -> impl Iterator<Item = Field> {
    let (one, hashed, specs): (_, &[Field], &[LearnSpec]) = match action {
        Action::Nicira(nicira) => match nicira {
            Nicira::Move { src, .. } | Nicira::Push(src) | Nicira::OutputReg { src, .. } => {
                (Some(src.field), &[], &[])
            }
            Nicira::Ct(ct) => match ct.zone {
                CtZone::Field(source) => (Some(source.field), &[], &[]),
                CtZone::Number(_) => (None, &[], &[]),
            },
            Nicira::Learn(learn) => (None, &[], &learn.specs),
            Nicira::Resubmit { by_connection, .. } if *by_connection => (None, TUPLE, &[]),
            Nicira::Multipath(multipath) => (None, choice::fields(multipath.fields), &[]),
            Nicira::Bundle(bundle) if bundle.algorithm == BundleAlgorithm::HighestRandomWeight => {
                (None, choice::fields(bundle.fields), &[])
            }
            _ => (None, &[], &[]),
        },
        _ => (None, &[], &[]),
    };
    let sampled = match action {
        Action::Nicira(Nicira::Sample(sample)) => Some(sample),
        _ => None,
    };
    let sampled = sampled.into_iter().flat_map(Sample::sources);
    let specs = specs.iter().filter_map(LearnSpec::taken).chain(sampled);
    let all = one.into_iter().chain(hashed.iter().copied());
    let all = all.chain(specs.map(|src| src.field));
    all.filter(|field| !field.is_metadata() || field.is_carried())
}

/// What tells of the first packet of a connection, and whether it may have.
const TUPLE: &[Field] = &[
    Field::EthType,
    Field::CtIpv4Src,
    Field::CtIpv4Dst,
    Field::CtIpv6Src,
    Field::CtIpv6Dst,
    Field::CtIpProto,
    Field::CtTpSrc,
    Field::CtTpDst,
];

/// The table that an action leads to, if that is another.
fn next(action: &Action) -> Option<TableId> {
    match action {
        Action::Nicira(Nicira::Resubmit { table, .. }) => *table,
        _ => None,
    }
}

/// The table and cookie of flows that go with the last flow that has this action.
fn learned(action: &Action) -> Option<(TableId, u64)> {
    match action {
        Action::Nicira(Nicira::Learn(learn)) if learn.delete_learned => {
            Some((learn.table, learn.cookie))
        }
        _ => None,
    }
}

/// The table that an action leads to by way of a recirculation point.
fn next_point(action: &Action) -> Option<TableId> {
    match action {
        Action::Nicira(Nicira::Ct(ct)) => ct.table,
        _ => None,
    }
}

/// The tables that packets of a flow may go to.
pub fn leads_to(instructions: &Instructions) -> impl Iterator<Item = TableId> {
    let actions = lists(instructions).flat_map(Action::all);
    let tables = actions.flat_map(|action| next(action).into_iter().chain(next_point(action)));
    instructions.goto.into_iter().chain(tables)
}

/// The same as [`learned`] of all actions of a flow.
pub fn all_learned(instructions: &Instructions) -> impl Iterator<Item = (TableId, u64)> {
    lists(instructions)
        .flat_map(Action::all)
        .filter_map(learned)
}

fn in_transport(field: Field) -> bool {
    use Prerequisite::*;
    matches!(
        field.prerequisite(),
        Tcp | Udp | Sctp | Icmpv4 | Icmpv6 | Nd | NdSolicit | NdAdvert
    )
}

impl Footprint {
    /// Counts a flow.
    pub fn add(&mut self, matching: &Match, instructions: &Instructions) {
        if let Some(course) = Course::of(matching, instructions) {
            add(&mut self.courses, course);
        }
        for list in lists(instructions) {
            self.add_actions(list);
        }
        instructions
            .goto
            .into_iter()
            .for_each(|table| add(&mut self.gotos, table));
    }

    /// Takes back [`Footprint::add`].
    pub fn remove(&mut self, matching: &Match, instructions: &Instructions) {
        if let Some(course) = Course::of(matching, instructions) {
            remove(&mut self.courses, course);
        }
        for list in lists(instructions) {
            self.remove_actions(list);
        }
        let table = instructions.goto.into_iter();
        table.for_each(|table| remove(&mut self.gotos, table));
    }

    /// Counts a list of actions.
    pub fn add_actions(&mut self, list: &[Action]) {
        for action in Action::all(list) {
            if let Some(read) = Read::of(action) {
                self.reads[read as usize] += 1;
            }
            taken(action).for_each(|field| add(&mut self.fields, field));
            next(action)
                .into_iter()
                .for_each(|table| add(&mut self.gotos, table));
            next_point(action)
                .into_iter()
                .for_each(|table| add(&mut self.points, table));
        }
    }

    /// Takes back [`Footprint::add_actions`].
    pub fn remove_actions(&mut self, list: &[Action]) {
        for action in Action::all(list) {
            if let Some(read) = Read::of(action) {
                self.reads[read as usize] -= 1;
            }
            taken(action).for_each(|field| remove(&mut self.fields, field));
            next(action)
                .into_iter()
                .for_each(|table| remove(&mut self.gotos, table));
            next_point(action)
                .into_iter()
                .for_each(|table| remove(&mut self.points, table));
        }
    }

    /// Adds what is read.
    pub fn unite_into(&self, mask: &mut FlowMask) {
        for read in Read::ALL {
            if self.reads[read as usize] > 0 {
                mask.unite(&read.mask());
            }
        }
        self.fields
            .keys()
            .for_each(|field| mask.unite(&field.mask()));
    }

    /// Where packets of flows go on to.
    pub fn courses(&self) -> impl Iterator<Item = &Course> {
        self.courses.keys()
    }

    /// Tables that flows go on with once packets have come to a recirculation point.
    pub fn points(&self) -> impl Iterator<Item = TableId> {
        self.points.keys().copied()
    }

    /// Tables that flows go on with.
    pub fn gotos(&self) -> impl Iterator<Item = TableId> {
        self.gotos.keys().copied()
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    *counts.entry(key).or_default() += 1;
}

fn remove<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// Whether flows with these instructions leave no trace but themselves: they read nothing, and lead
/// to no other table, group or meter.
pub fn is_plain(instructions: &Instructions) -> bool {
    let is_trace = |action: &Action| {
        let reads = Read::of(action).is_some() || taken(action).next().is_some();
        let reads = reads || learned(action).is_some();
        let leads = next(action).is_some() || next_point(action).is_some();
        reads || leads || matches!(action, Action::Group(_))
    };
    instructions.goto.is_none()
        && instructions.meter.is_none()
        && !lists(instructions).flat_map(Action::all).any(is_trace)
}

/// The lists of actions that a flow has.
pub fn lists(instructions: &Instructions) -> impl Iterator<Item = &[Action]> {
    let lists = [&instructions.apply, &instructions.write];
    lists.into_iter().filter_map(|list| list.as_deref())
}

/// Header bits that packets may have otherwise after these instructions, as far as a later table
/// looks at them without their being parsed again.
pub fn rewritten(instructions: &Instructions) -> FlowMask {
    let mut mask = FlowMask::default();
    if instructions.meter.is_some() {
        mask.unite(&Field::IpDscp.mask());
    }
    for list in lists(instructions) {
        mask.unite(&rewritten_by(list));
    }
    mask
}

/// The same of a list of actions. What follows a header that was pushed is out of sight: nobody
/// who matches it matches the packet.
pub fn rewritten_by(list: &[Action]) -> FlowMask {
    let mut mask = FlowMask::default();
    for action in Action::all(list) {
        mask.unite(&match action {
            Action::SetField { field, .. } => rewritten_field(*field),
            Action::Nicira(Nicira::DecTtlIds(_)) => Field::IpTtl.mask(),
            Action::Nicira(nicira) => written(nicira).map(rewritten_field).unwrap_or_default(),
            Action::SetNwTtl(_) | Action::DecNwTtl | Action::CopyTtlIn => Field::IpTtl.mask(),
            Action::SetMplsTtl(_) | Action::DecMplsTtl | Action::CopyTtlOut => {
                Field::MplsTtl.mask()
            }
            Action::PushVlan(_) | Action::PopVlan => Read::Vlan.mask(),
            Action::PushMpls(_) | Action::PopMpls(_) => Read::Mpls.mask(),
            Action::PushPbb(_) | Action::PopPbb => {
                let mut mask = Read::Vlan.mask();
                mask.unite(&Read::Pbb.mask());
                mask
            }
            Action::Output { .. } | Action::Group(_) | Action::SetQueue(_) => FlowMask::default(),
        });
    }
    mask
}

fn rewritten_field(field: Field) -> FlowMask {
    match field {
        Field::VlanTci => Read::Vlan.mask(),
        field => field.mask(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_goes_takes_its_part_with_it() {
        let port = OfPort::NORMAL;
        let instructions = Instructions {
            apply: Some(Arc::new([
                Action::PopVlan,
                Action::Output { port, max_len: 0 },
            ])),
            goto: Some(TableId(3)),
            ..Instructions::default()
        };
        let mut footprint = Footprint::default();
        footprint.add(&Match::default(), &instructions);
        footprint.add(&Match::default(), &instructions);
        footprint.remove(&Match::default(), &instructions);
        let mut mask = FlowMask::default();
        footprint.unite_into(&mut mask);
        assert_eq!(mask, Read::Normal.mask());
        assert_eq!(footprint.gotos().collect::<Vec<_>>(), [TableId(3)]);

        footprint.remove(&Match::default(), &instructions);
        let mut mask = FlowMask::default();
        footprint.unite_into(&mut mask);
        assert_eq!(mask, FlowMask::default());
        assert_eq!(footprint.gotos().count(), 0);
    }
}
