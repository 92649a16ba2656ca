//! OpenFlow's pipeline, naively: rules in a list, every packet looked at by every rule, actions
//! carried out one by one on a structured packet (OpenFlow 1.3.5 §5).

use std::collections::BTreeMap;

use flowtable::{Field, Match};
use openflow::{Action, FlowMod, GroupKind, GroupMod, OfPort};

use crate::packet::{Label, MPLS, Packet};

/// What the specification leaves open, so that no two switches need agree.
#[derive(Debug)]
pub struct Unspecified;

/// A switch with numbered tables of rules.
#[derive(Default)]
pub struct Model {
    pub rules: Vec<FlowMod>,
    pub groups: BTreeMap<u32, GroupMod>,
    pub ports: Vec<u32>,
}

/// Frames by the port they leave by, in order.
pub type Outputs = BTreeMap<u32, Vec<Vec<u8>>>;

/// One packet on its way.
struct Walk<'a> {
    model: &'a Model,
    in_port: u32,
    metadata: u64,
    outputs: Outputs,
    met: Vec<&'a FlowMod>,
}

impl Model {
    /// Everything that becomes of a packet, and the rules that it met.
    pub fn process(
        &self,
        in_port: u32,
        packet: &Packet,
    ) -> Result<(Outputs, Vec<&FlowMod>), Unspecified> {
        let (outputs, met) = Default::default();
        let mut walk = Walk {
            model: self,
            in_port,
            metadata: 0,
            outputs,
            met,
        };
        walk.tables(packet.clone())?;
        Ok((walk.outputs, walk.met))
    }
}

impl<'a> Walk<'a> {
    fn tables(&mut self, mut packet: Packet) -> Result<(), Unspecified> {
        let mut table = 0;
        let mut set: Vec<Action> = Vec::new();
        loop {
            let Some(rule) = self.find(table, &mut packet) else {
                return Ok(());
            };
            self.met.push(rule);
            let instructions = &rule.instructions;
            if let Some(actions) = &instructions.apply
                && !self.apply(&mut packet, actions)?
            {
                return Ok(());
            }
            if instructions.clear {
                set.clear();
            }
            for action in instructions.write.iter().flat_map(|actions| actions.iter()) {
                set.retain(|old| rank(old) != rank(action));
                set.push(action.clone());
            }
            if let Some((value, mask)) = instructions.metadata {
                self.metadata = self.metadata & !mask | value & mask;
            }
            match instructions.goto {
                Some(next) => table = next.0,
                None => return self.action_set(packet, &set),
            }
        }
    }

    fn find(&self, table: u8, packet: &mut Packet) -> Option<&'a FlowMod> {
        let rules = self.model.rules.iter().filter(|rule| rule.table.0 == table);
        let mut matching: Vec<&FlowMod> = rules
            .filter(|rule| self.matches(&rule.matching, packet))
            .collect();
        matching.sort_by_key(|rule| rule.priority);
        matching.pop()
    }

    fn matches(&self, matching: &Match, packet: &mut Packet) -> bool {
        matching.fields().all(|(field, value, mask)| {
            let actual = match field {
                Field::InPort => Some(self.in_port.into()),
                Field::Metadata => Some(self.metadata.into()),
                _ => packet.field(field, None),
            };
            actual.is_some_and(|actual| actual & mask == value & mask)
        })
    }

    /// Carries out actions in the order of an action set (§5.10), on a packet of its own.
    fn action_set(&mut self, mut packet: Packet, set: &[Action]) -> Result<(), Unspecified> {
        let mut ordered = set.to_vec();
        ordered.sort_by_key(|action| rank(action).0);
        if ordered
            .iter()
            .any(|action| matches!(action, Action::Group(_)))
        {
            ordered.retain(|action| !matches!(action, Action::Output { .. }));
        }
        self.apply(&mut packet, &ordered).map(drop)
    }

    /// Carries out actions one by one; whether the packet lives on.
    fn apply(&mut self, packet: &mut Packet, actions: &[Action]) -> Result<bool, Unspecified> {
        for action in actions {
            let tag = matches!(action, Action::PushVlan(_) | Action::PopVlan);
            let sends = matches!(action, Action::Output { .. } | Action::Group(_));
            if packet.is_hidden() && !tag && !sends {
                return Err(Unspecified);
            }
            match action {
                Action::Output { port, .. } => self.output(packet, *port),
                Action::Group(group) => self.group(packet, group.0)?,
                Action::DecNwTtl => {
                    if !packet.mpls.is_empty() {
                        return Err(Unspecified);
                    }
                    if !decrement(packet.network_ttl().ok_or(Unspecified)?) {
                        return Ok(false);
                    }
                }
                Action::DecMplsTtl => {
                    let top = packet.mpls.first_mut().ok_or(Unspecified)?;
                    if !decrement(&mut top.ttl) {
                        return Ok(false);
                    }
                }
                _ => change(packet, action)?,
            }
        }
        Ok(true)
    }

    fn output(&mut self, packet: &Packet, port: OfPort) {
        let others = || {
            self.model
                .ports
                .iter()
                .copied()
                .filter(|port| *port != self.in_port)
        };
        let ports: Vec<u32> = match port {
            OfPort::IN_PORT => vec![self.in_port],
            OfPort::ALL | OfPort::FLOOD => others().collect(),
            OfPort(number) => others().filter(|other| *other == number).collect(),
        };
        for port in ports {
            self.outputs.entry(port).or_default().push(packet.bytes());
        }
    }

    fn group(&mut self, packet: &Packet, group: u32) -> Result<(), Unspecified> {
        let model = self.model;
        let group = model.groups.get(&group).ok_or(Unspecified)?;
        let buckets: Vec<_> = match group.kind {
            GroupKind::All => group.buckets.iter().collect(),
            GroupKind::Indirect => group.buckets.iter().take(1).collect(),
            GroupKind::Select => group
                .buckets
                .iter()
                .filter(|bucket| bucket.weight > 0)
                .collect(),
            GroupKind::FastFailover => {
                let live = |port: OfPort| self.model.ports.contains(&port.0);
                group
                    .buckets
                    .iter()
                    .filter(|bucket| live(bucket.watch_port))
                    .take(1)
                    .collect()
            }
        };
        for bucket in buckets {
            self.action_set(packet.clone(), &bucket.actions)?;
        }
        Ok(())
    }
}

/// Place in the order of the action set, and what tells actions of one place apart.
fn rank(action: &Action) -> (u8, u32) {
    match action {
        Action::CopyTtlIn => (0, 0),
        Action::PopVlan => (1, 0),
        Action::PopMpls(_) => (1, 1),
        Action::PopPbb => (1, 2),
        Action::PushMpls(_) => (2, 0),
        Action::PushPbb(_) => (3, 0),
        Action::PushVlan(_) => (4, 0),
        Action::CopyTtlOut => (5, 0),
        Action::DecNwTtl => (6, 0),
        Action::DecMplsTtl => (6, 1),
        Action::SetField { field, .. } => (7, *field as u32),
        Action::SetNwTtl(_) => (7, 1000),
        Action::SetMplsTtl(_) => (7, 1001),
        Action::SetQueue(_) => (8, 0),
        Action::Group(_) => (9, 0),
        Action::Output { .. } => (10, 0),
    }
}

fn decrement(ttl: &mut u8) -> bool {
    let lives = *ttl > 1;
    *ttl = ttl.saturating_sub(1);
    lives
}

/// Changes the packet's headers.
fn change(packet: &mut Packet, action: &Action) -> Result<(), Unspecified> {
    match action {
        Action::SetField { field, value, .. } => {
            packet.field(*field, Some(*value)).ok_or(Unspecified)?;
        }
        Action::PushVlan(tpid) => {
            let outer = packet.vlans.first().map_or(0, |(_, tci)| *tci);
            packet.vlans.insert(0, (*tpid, outer));
        }
        Action::PopVlan if !packet.vlans.is_empty() => drop(packet.vlans.remove(0)),
        Action::PushMpls(_) if packet.vlans.is_empty() => push_mpls(packet)?,
        Action::PopMpls(next) => {
            let last = packet.mpls.len() == 1;
            let follows = if last { packet.inner_type() } else { MPLS };
            if packet.mpls.is_empty() || *next != follows {
                return Err(Unspecified);
            }
            packet.mpls.remove(0);
        }
        Action::SetMplsTtl(ttl) => packet.mpls.first_mut().ok_or(Unspecified)?.ttl = *ttl,
        Action::SetNwTtl(ttl) if packet.mpls.is_empty() => {
            *packet.network_ttl().ok_or(Unspecified)? = *ttl;
        }
        Action::SetQueue(_) => {}
        _ => return Err(Unspecified),
    }
    Ok(())
}

fn push_mpls(packet: &mut Packet) -> Result<(), Unspecified> {
    let label = match packet.mpls.first() {
        Some(outer) => *outer,
        None => Label {
            label: 0,
            class: 0,
            ttl: *packet.network_ttl().ok_or(Unspecified)?,
        },
    };
    packet.mpls.insert(0, label);
    Ok(())
}
