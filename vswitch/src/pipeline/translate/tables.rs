//! A packet in a bridge's tables: arrival, lookup, the instructions of a flow, meters
//! (OpenFlow 1.3.5 §5.3, §5.4, §5.7, §5.9).

use std::sync::Arc;

use flowtable::{Field, FlowKey};
use openflow::{Action, Band, MeterId, OfPort, TableId};

use super::super::flow::FlowRef;
use super::super::{BridgePort, Trace, limits, scope};
use super::strand::{Origin, Strand};
use super::{Machine, Step, way};
use crate::action::{DropReason, Op};

impl<'a, T: Trace> Machine<'a, T> {
    /// A packet comes in by a port of a bridge; `None` if the port refuses it.
    pub(super) fn arrive(&mut self, port: &'a BridgePort, mut key: FlowKey) -> Option<Strand<'a>> {
        let bridge = self.state.bridge(port.bridge)?;
        let config = port.config;
        if config.port_down || config.no_receive {
            self.refuse(match config.port_down {
                true => DropReason::PortDown,
                false => DropReason::NoReceive,
            });
            return None;
        }
        key.in_port = port.of_port.0;
        key.in_phy_port = port.of_port.0;
        let mut strand = Strand::new(bridge, Some(port), key);
        strand.todo.push(match bridge.standalone {
            true => Step::Actions(normal(), 0),
            false => Step::Table(TableId(0)),
        });
        Some(strand)
    }

    pub(super) fn look_up(&mut self, strand: &mut Strand<'a>, id: TableId) {
        self.lookups += 1;
        if self.lookups > limits::LOOKUPS_MAX {
            return self.exceed();
        }
        self.open_level(strand, id);
        let scope = scope::table(strand.bridge.id, id);
        if strand.bridge.drops_fragments && strand.key.ip_frag != 0 {
            self.trace.choose(way::FRAGMENT);
            return self.refuse(DropReason::Fragment);
        }
        let Some(table) = strand.bridge.table(id) else {
            self.ask(scope, 0);
            return self.refuse(DropReason::TableMiss);
        };
        match table.rules.find(&strand.key, self.state.epoch()) {
            Some(rule) => {
                self.ask(scope, rule.priority());
                self.trace.choose(way::rule(rule.id()));
                let flow = FlowRef::new(strand.bridge, id, rule);
                self.count(strand, || Some(&table.matched));
                self.count(strand, || flow.counters());
                self.follow(strand, flow);
            }
            None => {
                self.ask(scope, 0);
                self.trace.choose(way::NO_RULE);
                self.count(strand, || Some(&table.missed));
                self.refuse(DropReason::TableMiss);
            }
        }
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

    /// Puts the instructions of a flow on the stack, the first on top.
    fn follow(&mut self, strand: &mut Strand<'a>, flow: FlowRef<'a>) {
        self.trace.note(format_args!("{flow}"));
        strand.origin = Origin {
            table: flow.table(),
            cookie: flow.cookie(),
            miss: flow.is_table_miss(),
        };
        let Some(instructions) = flow.instructions() else {
            return;
        };
        strand.todo.push(match instructions.goto {
            Some(table) => Step::Table(table),
            None => Step::ActionSet,
        });
        if let Some((value, mask)) = instructions.metadata {
            strand.todo.push(Step::Metadata { value, mask });
        }
        if let Some(list) = &instructions.write {
            strand.todo.push(Step::WriteActions(list.clone()));
        }
        if instructions.clear {
            strand.todo.push(Step::ClearActions);
        }
        if let Some(list) = &instructions.apply {
            strand.todo.push(Step::Actions(list.clone(), 0));
        }
        if let Some(meter) = instructions.meter {
            strand.todo.push(Step::Meter(meter));
        }
    }

    pub(super) fn run_action_set(&mut self, strand: &mut Strand<'a>) {
        if !strand.set.is_empty() {
            self.trace.note(format_args!("action set"));
            strand.todo.push(Step::Actions(strand.set.ordered(), 0));
            strand.set.clear();
            strand.origin.cookie = u64::MAX;
        }
    }

    pub(super) fn meter(&mut self, strand: &mut Strand<'a>, id: MeterId) {
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

fn normal() -> Arc<[Action]> {
    let port = OfPort::NORMAL;
    Arc::new([Action::Output { port, max_len: 0 }])
}
