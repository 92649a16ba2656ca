//! Actions and instructions (OpenFlow 1.3.5 §5.9, §5.12, §7.2.4, §7.2.5).

use std::sync::Arc;

use flowtable::{Field, TlvMapping, TlvTable};

use crate::nicira::Nicira;
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
    /// Set the bits of `mask` in a field (1.3 itself knows whole fields only).
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
    /// One of Nicira's.
    Nicira(Nicira),
}

/// Value and mask of a field.
type Part = (Field, u128, u128);

impl Action {
    /// The option that the first actions of a list set, and what of each of its fields, the last
    /// first: one of several fields is set by several actions.
    pub(crate) fn sets_option<'a>(
        list: &[Action],
        tlvs: &'a TlvTable,
    ) -> Option<(&'a TlvMapping, Vec<Part>)> {
        let &[Action::SetField { field, .. }, ..] = list else {
            return None;
        };
        let mapping = tlvs.of_field(field).filter(|_| field.is_tunnel_option())?;
        let mut parts: Vec<Part> = Vec::new();
        for action in list {
            let &Action::SetField { field, value, mask } = action else {
                break;
            };
            let is_next = |(last, ..): &Part| mapping.offset(*last) < mapping.offset(field);
            if !mapping.fields.contains(&field) || !parts.last().is_none_or(is_next) {
                break;
            }
            parts.push((field, value, mask));
        }
        Some((mapping, parts))
    }

    /// What it is, without its arguments; `None` if that is not the specification's.
    pub fn kind(&self) -> Option<ActionKind> {
        Some(match self {
            Action::Output { .. } => ActionKind::Output,
            Action::Group(_) => ActionKind::Group,
            Action::SetQueue(_) => ActionKind::SetQueue,
            Action::SetField { .. } => ActionKind::SetField,
            Action::PushVlan(_) => ActionKind::PushVlan,
            Action::PopVlan => ActionKind::PopVlan,
            Action::PushMpls(_) => ActionKind::PushMpls,
            Action::PopMpls(_) => ActionKind::PopMpls,
            Action::PushPbb(_) => ActionKind::PushPbb,
            Action::PopPbb => ActionKind::PopPbb,
            Action::SetMplsTtl(_) => ActionKind::SetMplsTtl,
            Action::DecMplsTtl => ActionKind::DecMplsTtl,
            Action::SetNwTtl(_) => ActionKind::SetNwTtl,
            Action::DecNwTtl => ActionKind::DecNwTtl,
            Action::CopyTtlIn => ActionKind::CopyTtlIn,
            Action::CopyTtlOut => ActionKind::CopyTtlOut,
            Action::Nicira(_) => return None,
        })
    }

    /// The actions of a list and, after each, those within it.
    pub fn all(list: &[Action]) -> impl Iterator<Item = &Action> {
        let mut open = vec![list.iter()];
        std::iter::from_fn(move || {
            loop {
                match open.last_mut()?.next() {
                    Some(action) => {
                        match action {
                            Action::Nicira(Nicira::Clone(within)) => open.push(within.iter()),
                            Action::Nicira(Nicira::Ct(ct)) => open.push(ct.actions.iter()),
                            _ => {}
                        }
                        return Some(action);
                    }
                    None => drop(open.pop()),
                }
            }
        })
    }
}

/// What an action is, without its arguments; the numbers are those of OpenFlow 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
#[allow(missing_docs)]
pub enum ActionKind {
    Output = 0,
    CopyTtlOut = 11,
    CopyTtlIn = 12,
    SetMplsTtl = 15,
    DecMplsTtl = 16,
    PushVlan = 17,
    PopVlan = 18,
    PushMpls = 19,
    PopMpls = 20,
    SetQueue = 21,
    Group = 22,
    SetNwTtl = 23,
    DecNwTtl = 24,
    SetField = 25,
    PushPbb = 26,
    PopPbb = 27,
}

impl ActionKind {
    /// Every kind.
    pub const ALL: &[ActionKind] = &[
        ActionKind::Output,
        ActionKind::CopyTtlOut,
        ActionKind::CopyTtlIn,
        ActionKind::SetMplsTtl,
        ActionKind::DecMplsTtl,
        ActionKind::PushVlan,
        ActionKind::PopVlan,
        ActionKind::PushMpls,
        ActionKind::PopMpls,
        ActionKind::SetQueue,
        ActionKind::Group,
        ActionKind::SetNwTtl,
        ActionKind::DecNwTtl,
        ActionKind::SetField,
        ActionKind::PushPbb,
        ActionKind::PopPbb,
    ];
}

/// What an instruction is, without its arguments; the numbers are those of OpenFlow 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
#[allow(missing_docs)]
pub enum InstructionKind {
    GotoTable = 1,
    WriteMetadata = 2,
    WriteActions = 3,
    ApplyActions = 4,
    ClearActions = 5,
    Meter = 6,
}

impl InstructionKind {
    /// Every kind.
    pub const ALL: &[InstructionKind] = &[
        InstructionKind::GotoTable,
        InstructionKind::WriteMetadata,
        InstructionKind::WriteActions,
        InstructionKind::ApplyActions,
        InstructionKind::ClearActions,
        InstructionKind::Meter,
    ];
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

impl Instructions {
    /// Ports that they send to.
    pub fn outputs(&self) -> impl Iterator<Item = OfPort> {
        let lists = [&self.apply, &self.write].into_iter().flatten();
        let actions = lists.flat_map(|list| Action::all(list));
        actions.filter_map(|action| match action {
            Action::Output { port, .. } => Some(*port),
            _ => None,
        })
    }

    /// What they are, without their arguments, in the order in which they are carried out.
    pub fn kinds(&self) -> impl Iterator<Item = InstructionKind> {
        let kinds = [
            (self.meter.is_some(), InstructionKind::Meter),
            (self.apply.is_some(), InstructionKind::ApplyActions),
            (self.clear, InstructionKind::ClearActions),
            (self.write.is_some(), InstructionKind::WriteActions),
            (self.metadata.is_some(), InstructionKind::WriteMetadata),
            (self.goto.is_some(), InstructionKind::GotoTable),
        ];
        let there = kinds.into_iter().filter(|(there, _)| *there);
        there.map(|(_, kind)| kind)
    }
}
