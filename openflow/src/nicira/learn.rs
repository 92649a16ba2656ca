//! The `learn` action (ovs-actions(7), `nx_action_learn`): a packet makes a flow. What the flow
//! matches and does is a list of specifications, each of which takes bits of the packet or a
//! constant.

use std::sync::Arc;

use flowtable::{Field, Match};

use super::{Nicira, Subfield};
use crate::{Action, FlowFlags, FlowMod, FlowModCommand, GroupId, Instructions, OfPort, TableId};

/// What a flow is made like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Learn {
    /// Its table.
    pub table: TableId,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: u64,
    /// Its idle timeout in seconds.
    pub idle_timeout_s: u16,
    /// Its hard timeout in seconds, which a packet that would make it again begins anew.
    pub hard_timeout_s: u16,
    /// Its idle timeout after a connection's end.
    pub fin_idle_timeout_s: u16,
    /// Its hard timeout after a connection's end.
    pub fin_hard_timeout_s: u16,
    /// Whether its end is told.
    pub send_flow_removed: bool,
    /// Whether flows of this table and cookie go with the last flow that makes such.
    pub delete_learned: bool,
    /// Flows of this table and cookie at most; 0 for any number.
    pub limit: u32,
    /// A bit that says whether the flow is there or comes.
    pub result: Option<Subfield>,
    /// What it matches and does.
    pub specs: Arc<[LearnSpec]>,
}

impl Default for Learn {
    fn default() -> Learn {
        Learn {
            table: TableId(1),
            priority: PRIORITY_DEFAULT,
            cookie: 0,
            idle_timeout_s: 0,
            hard_timeout_s: 0,
            fin_idle_timeout_s: 0,
            fin_hard_timeout_s: 0,
            send_flow_removed: false,
            delete_learned: false,
            limit: 0,
            result: None,
            specs: [].into(),
        }
    }
}

/// A part of a flow to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LearnSpec {
    /// It matches bits.
    Match(Subfield, LearnSource),
    /// It sets bits.
    Load(Subfield, LearnSource),
    /// It sends to the port whose number is in these bits of the packet.
    Output(Subfield),
}

/// Where bits of a flow to be made come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LearnSource {
    /// The packet.
    Field(Subfield),
    /// A constant.
    Value(u128),
}

impl LearnSpec {
    /// The bits of the packet that it takes.
    pub fn taken(&self) -> Option<Subfield> {
        match self {
            LearnSpec::Match(_, LearnSource::Field(src))
            | LearnSpec::Load(_, LearnSource::Field(src))
            | LearnSpec::Output(src) => Some(*src),
            _ => None,
        }
    }
}

impl LearnSpec {
    /// The bits of flows, or of their packets, that it is about.
    pub fn made(&self) -> Option<Subfield> {
        match self {
            LearnSpec::Match(dst, _) | LearnSpec::Load(dst, _) => Some(*dst),
            LearnSpec::Output(_) => None,
        }
    }
}

impl LearnSource {
    fn value(self, read: &mut impl FnMut(Subfield) -> u128) -> u128 {
        match self {
            LearnSource::Field(src) => read(src),
            LearnSource::Value(value) => value,
        }
    }
}

impl Learn {
    /// The flow that a packet makes, of which `read` tells bits.
    pub fn flow(&self, mut read: impl FnMut(Subfield) -> u128) -> FlowMod {
        let mut matching = Match::default();
        let mut actions = Vec::new();
        for spec in self.specs.iter() {
            match spec {
                LearnSpec::Match(dst, src) => {
                    let value = src.value(&mut read) & dst.ones();
                    require(&mut matching, *dst, value);
                }
                LearnSpec::Load(dst, src) => load(*dst, src.value(&mut read), &mut actions),
                LearnSpec::Output(src) => actions.extend(output(read(*src))),
            }
        }
        if self.fin_idle_timeout_s != 0 || self.fin_hard_timeout_s != 0 {
            actions.push(Action::Nicira(Nicira::FinTimeout {
                idle_timeout_s: self.fin_idle_timeout_s,
                hard_timeout_s: self.fin_hard_timeout_s,
            }));
        }
        self.flow_of(matching, actions)
    }

    fn flow_of(&self, matching: Match, actions: Vec<Action>) -> FlowMod {
        let flags = FlowFlags {
            send_flow_removed: self.send_flow_removed,
            ..FlowFlags::default()
        };
        let apply = (!actions.is_empty()).then(|| actions.into());
        FlowMod {
            command: FlowModCommand::Add,
            cookie: self.cookie,
            cookie_mask: 0,
            table: self.table,
            idle_timeout_s: self.idle_timeout_s,
            hard_timeout_s: self.hard_timeout_s,
            priority: self.priority,
            buffer_id: None,
            out_port: OfPort::ANY,
            out_group: GroupId::ANY,
            flags,
            matching,
            instructions: Instructions {
                apply,
                ..Instructions::default()
            },
        }
    }
}

/// Requires bits of packets, a port by the number that it has in its whole width.
fn require(matching: &mut Match, dst: Subfield, value: u128) {
    if dst == Subfield::whole(Field::InPort16) {
        let port = OfPort::of_16_bits(value as u16);
        return matching.set(Field::InPort, port.0.into(), Field::InPort.ones());
    }
    matching.set(dst.field, value << dst.offset, dst.mask());
}

/// Sets bits, 64 at a time as the action has them.
fn load(dst: Subfield, value: u128, actions: &mut Vec<Action>) {
    let mut done = 0;
    while done < dst.width {
        let width = (dst.width - done).min(64);
        let part = Subfield {
            field: dst.field,
            offset: dst.offset + done,
            width,
        };
        let value = (value >> done & part.ones()) as u64;
        actions.push(Action::Nicira(Nicira::Load { dst: part, value }));
        done += width;
    }
}

/// To the port of this number, which is one of OpenFlow 1.0; to none if it cannot be sent to.
fn output(number: u128) -> Option<Action> {
    let port = OfPort::of_16_bits(u16::try_from(number).ok()?);
    let is_known = port <= OfPort::MAX && port != OfPort(0);
    let is_reserved = [OfPort::IN_PORT, OfPort::FLOOD, OfPort::ALL, OfPort::LOCAL].contains(&port);
    (is_known || is_reserved).then_some(Action::Output { port, max_len: 0 })
}

/// `OFP_DEFAULT_PRIORITY`.
const PRIORITY_DEFAULT: u16 = 0x8000;
