//! A packet in a bridge's tables: arrival, lookup, the instructions of a flow, meters
//! (OpenFlow 1.3.5 §5.3, §5.4, §5.7, §5.9).

use std::mem::swap;
use std::ops::ControlFlow::Break;

use flowtable::{Field, FlowKey, eth_type};
use openflow::{Band, Instructions, MeterId, TableId};

use super::super::flow::FlowRef;
use super::super::{BridgePort, Trace, limits, scope};
use super::strand::{List, Origin, Strand};
use super::{Machine, Step, conjunction, way};
use crate::action::{CountedIn, DropReason, Op};

impl<'a, T: Trace<'a>> Machine<'a, '_, T> {
    /// Whether packets may come in by a port.
    pub(super) fn receives(&mut self, port: &BridgePort) -> bool {
        let config = port.config;
        if config.port_down || config.no_receive {
            self.refuse(match config.port_down {
                true => DropReason::PortDown,
                false => DropReason::NoReceive,
            });
            return false;
        }
        true
    }

    /// A packet goes from table to table, beginning with this one.
    pub(super) fn pass(&mut self, strand: &mut Strand<'a>, first: TableId) {
        let mut next = Some(first);
        while let Some(table) = next {
            if !strand.known {
                return self.freeze(strand, Step::Table(table));
            }
            let flow = self.look_up(strand, table);
            next = flow.and_then(|instructions| self.follow(strand, instructions));
        }
    }

    /// The same, but in the first table it is looked up as the first packet of its connection was.
    /// Changes of rules are told by what packets are, so that nothing is known of later ones.
    pub(super) fn pass_by_connection(&mut self, strand: &mut Strand<'a>, table: TableId) {
        self.scopes = None;
        swap_tuples(&mut strand.key);
        let flow = self.look_up(strand, table);
        swap_tuples(&mut strand.key);
        let next = flow.and_then(|instructions| self.follow(strand, instructions));
        if let Some(table) = next {
            self.pass(strand, table);
        }
    }

    /// What the flow says that a packet matches in a table.
    fn look_up(&mut self, strand: &mut Strand<'a>, id: TableId) -> Option<&'a Instructions> {
        self.lookups += 1;
        if self.lookups > limits::LOOKUPS_MAX {
            self.exceed();
            return None;
        }
        self.open_level(strand, id);
        strand.table = id;
        let scope = scope::table(strand.bridge.id, id);
        if strand.bridge.drops_fragments && strand.key.ip_frag != 0 {
            self.trace.choose(way::FRAGMENT);
            self.refuse(DropReason::Fragment);
            return None;
        }
        let Some(table) = strand.bridge.table(id) else {
            self.ask(scope, 0);
            self.refuse(DropReason::TableMiss);
            return None;
        };
        let mut found = table.rules.find(&strand.key, self.state.epoch());
        let does = |rule| FlowRef::new(strand.bridge, id, rule).instructions();
        let mut instructions = found.and_then(does);
        if instructions.is_some_and(|instructions| conjunction::may_be_clause(instructions)) {
            found = self.find_conjunction(strand, id, table);
            let does = |rule| FlowRef::new(strand.bridge, id, rule).instructions();
            instructions = found.and_then(does);
        }
        let Some(rule) = found else {
            self.ask(scope, 0);
            self.trace.choose(way::NO_RULE);
            self.count(strand, CountedIn::Shared(&table.missed));
            self.refuse(DropReason::TableMiss);
            return None;
        };
        self.ask(scope, rule.priority());
        self.trace.choose(way::rule(rule.id()));
        let flow = FlowRef::new(strand.bridge, id, rule);
        self.count(strand, flow.counted(&table.matched));
        self.trace.note(format_args!("{flow}"));
        if T::WANTS_PROGRAM {
            strand.origin = Origin {
                table: flow.table(),
                cookie: flow.cookie(),
                miss: flow.is_table_miss(),
            };
            strand.flow = Some((flow.row(), flow.serial()));
        }
        instructions.map(|instructions| &**instructions)
    }

    /// One level of the trace for each table of a strand.
    fn open_level(&mut self, strand: &mut Strand<'a>, id: TableId) {
        self.close_level(strand);
        let name = &strand.bridge.name;
        self.trace.enter(format_args!("bridge {name}, table {id}"));
        strand.level_open = true;
    }

    pub(super) fn close_level(&mut self, strand: &mut Strand<'a>) {
        if std::mem::take(&mut strand.level_open) {
            self.trace.leave();
        }
    }

    /// Follows the instructions of a flow, up to the table that the packet goes on with.
    fn follow(
        &mut self,
        strand: &mut Strand<'a>,
        instructions: &'a Instructions,
    ) -> Option<TableId> {
        if let Some(meter) = instructions.meter {
            self.meter(strand, meter);
        }
        if let Some(list) = &instructions.apply {
            let acted = self.act(strand, list, 0);
            if self.exceeded {
                return None;
            }
            if let Break(pause) = acted {
                plan_all_but_apply(strand, instructions);
                self.pause(strand, List::Held(list), pause);
                return None;
            }
        }
        if instructions.clear {
            strand.set.clear();
        }
        if let Some(list) = &instructions.write {
            strand.set.write(list);
        }
        if let Some((value, mask)) = instructions.metadata {
            strand.write_metadata(value, mask);
        }
        if instructions.goto.is_none() && strand.resubmits == 0 {
            self.run_action_set(strand);
        }
        instructions.goto
    }

    pub(super) fn run_action_set(&mut self, strand: &mut Strand<'a>) {
        if !strand.set.is_empty() {
            self.trace.note(format_args!("action set"));
            strand
                .todo
                .push(Step::Actions(List::Made(strand.set.ordered()), 0));
            strand.set.clear();
            strand.origin.cookie = u64::MAX;
        }
    }

    fn meter(&mut self, strand: &mut Strand<'a>, id: MeterId) {
        let Some(meter) = strand.bridge.meter(id) else {
            return;
        };
        self.trace.note(format_args!("meter {id}"));
        self.emit_with(|| Op::Meter(meter.clone()));
        for band in &meter.bands {
            match band.band {
                Band::Drop { .. } => strand.certain = false,
                Band::DscpRemark { .. } => strand.forget(Field::IpDscp),
            }
        }
    }
}

/// Puts on the stack what instructions say to do after the actions that are applied.
fn plan_all_but_apply<'a>(strand: &mut Strand<'a>, instructions: &'a Instructions) {
    match instructions.goto {
        Some(table) => strand.todo.push(Step::Table(table)),
        None if strand.resubmits == 0 => strand.todo.push(Step::ActionSet),
        None => {}
    }
    if let Some((value, mask)) = instructions.metadata {
        strand.todo.push(Step::Metadata { value, mask });
    }
    if let Some(list) = &instructions.write {
        strand.todo.push(Step::WriteActions(List::Held(list)));
    }
    if instructions.clear {
        strand.todo.push(Step::ClearActions);
    }
}

/// Puts the tuple of the connection's original direction in the place of the packet's own, and the
/// other way round.
fn swap_tuples(key: &mut FlowKey) {
    match key.eth_type {
        eth_type::IPV4 => {
            swap(&mut key.ipv4_src, &mut key.ct_src);
            swap(&mut key.ipv4_dst, &mut key.ct_dst);
        }
        _ => {
            swap(&mut key.ipv6_src, &mut key.ct_ipv6_src);
            swap(&mut key.ipv6_dst, &mut key.ct_ipv6_dst);
        }
    }
    swap(&mut key.tp_src, &mut key.ct_tp_src);
    swap(&mut key.tp_dst, &mut key.ct_tp_dst);
    let own = std::mem::replace(&mut key.ip_proto, key.ct_ip_proto as u8);
    key.ct_ip_proto = own.into();
}
