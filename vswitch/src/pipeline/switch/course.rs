//! Where packets of flows go on to, as far as the worst case of a pipeline depends on it
//! ([`super::worst_case`]).

use flowtable::{Field, Match};
use openflow::{Action, GroupId, Instructions, Nicira, OfPort, TableId};

use super::footprint::lists;

/// Where packets of a flow go on to, and which packets these are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Course {
    /// The port that they came in by, if the flow says that.
    pub in_port: Option<u32>,
    /// Whether they were tracked, if the flow says that.
    pub is_tracked: Option<bool>,
    /// In the order of the flow's actions, at least one of which is a lookup.
    pub stops: Box<[Stop]>,
}

/// What a packet comes to, or what it is told by from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// A table; the one that it is in if none is said.
    Table(Option<TableId>),
    /// A table, when connection tracking has told of it.
    Tracked(TableId),
    /// A group.
    Group(GroupId),
    /// What connection tracking told is forgotten.
    Untracked,
    /// It is taken to have come in by this port, or nobody knows by which.
    CameBy(Option<u32>),
}

impl Course {
    /// That of a flow, if it leads anywhere.
    pub fn of(matching: &Match, instructions: &Instructions) -> Option<Course> {
        let mut stops: Vec<_> = lists(instructions).flat_map(stops).collect();
        stops.extend(instructions.goto.map(|table| Stop::Table(Some(table))));
        let leads = |stop: &Stop| !matches!(stop, Stop::Untracked | Stop::CameBy(_));
        let (in_port, port_mask) = matching.read(Field::InPort);
        let (state, state_mask) = matching.read(Field::CtState);
        stops.iter().any(leads).then(|| Course {
            in_port: (port_mask == Field::InPort.ones()).then_some(in_port as u32),
            is_tracked: (state_mask & TRACKED != 0).then_some(state & TRACKED != 0),
            stops: stops.into(),
        })
    }
}

/// What a list of actions comes to.
pub fn stops(list: &[Action]) -> impl Iterator<Item = Stop> {
    Action::all(list).flat_map(|action| {
        let (first, second) = match action {
            Action::Group(group) => (Some(Stop::Group(*group)), None),
            Action::SetField { field, .. } if is_port(*field) => (Some(Stop::CameBy(None)), None),
            Action::Nicira(nicira) => of_nicira(nicira),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    })
}

fn of_nicira(nicira: &Nicira) -> (Option<Stop>, Option<Stop>) {
    match nicira {
        Nicira::Resubmit { in_port, table, .. } => {
            let port = in_port.filter(|port| *port != OfPort::IN_PORT);
            let came_by = port.map(|port| Stop::CameBy(Some(port.0)));
            (came_by, Some(Stop::Table(*table)))
        }
        Nicira::Ct(ct) => (ct.table.map(Stop::Tracked), Some(Stop::Untracked)),
        Nicira::CtClear => (Some(Stop::Untracked), None),
        Nicira::Load { dst, .. } | Nicira::Move { dst, .. } if is_port(dst.field) => {
            (Some(Stop::CameBy(None)), None)
        }
        _ => (None, None),
    }
}

fn is_port(field: Field) -> bool {
    matches!(field, Field::InPort | Field::InPort16)
}

/// Bit of `ct_state` (ovs-fields(7)): tracked.
const TRACKED: u128 = 1 << 5;
