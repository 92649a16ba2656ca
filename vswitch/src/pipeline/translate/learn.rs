//! Flows that packets make and shorten (ovs-actions(7), `learn` and `fin_timeout`). Here it is
//! only decided what they ask for; control does it ([`crate::action::Wish`]).

use std::sync::Arc;

use flowtable::{Field, ip_proto};
use openflow::{FlowMod, Learn, LearnSpec};

use super::super::{Bridge, Trace};
use super::Machine;
use super::strand::Strand;
use crate::action::{Op, Wish, WishKind};

impl<'a, T: Trace<'a>> Machine<'a, '_, T> {
    pub(super) fn learn_flow(&mut self, strand: &mut Strand<'a>, learn: &Learn) {
        let bridge = strand.bridge;
        let mut is_there = true;
        if learn.limit != 0 && bridge.exhausted.contains(&(learn.table, learn.cookie)) {
            self.scopes = None;
            let flow = learn.flow(|src| self.read(strand, src));
            is_there = has(bridge, &flow, self.state.epoch());
            self.trace.choose(is_there.into());
        }
        if is_there && T::WANTS_PROGRAM {
            let flow = learn.flow(|src| self.read(strand, src));
            self.trace
                .note(format_args!("make a flow in table {}", flow.table));
            let kind = WishKind::Flow {
                flow: Box::new(flow),
                limit: learn.limit,
            };
            self.emit(Op::Wish(Arc::new(Wish::new(bridge.id, kind))));
        } else if is_there {
            for src in learn.specs.iter().filter_map(LearnSpec::taken) {
                self.read(strand, src);
            }
            self.trace.complicate();
        }
        if let Some(result) = learn.result {
            self.write_bits(strand, result, is_there.into());
        }
    }

    pub(super) fn fin_timeout(
        &mut self,
        strand: &mut Strand<'a>,
        (idle_timeout_s, hard_timeout_s): (u16, u16),
    ) {
        let is_tcp = strand.key.ip_proto == ip_proto::TCP;
        let ends = is_tcp && strand.key.tcp_flags & (TCP_FIN | TCP_RST) != 0;
        self.trace.choose(ends.into());
        if !ends {
            return;
        }
        self.trace.complicate();
        let Some((row, serial)) = strand.flow else {
            return;
        };
        let kind = WishKind::Shorter {
            row,
            serial,
            idle_timeout_s,
            hard_timeout_s,
        };
        let bridge = strand.bridge.id;
        self.emit_with(|| Op::Wish(Arc::new(Wish::new(bridge, kind))));
    }
}

/// Whether a flow of this match and priority is there.
fn has(bridge: &Bridge, flow: &FlowMod, epoch: u64) -> bool {
    let table = bridge.table(flow.table);
    table.is_some_and(|table| {
        let walk = flowtable::Walk::included_in(&flow.matching);
        let mut rules = table.rules.walk(walk, epoch);
        rules.any(|rule| rule.priority() == flow.priority && rule.matching() == flow.matching)
    })
}

/// The bits of a packet that say that its connection ends.
pub(in crate::pipeline) fn ends() -> (Field, u128) {
    (Field::TcpFlags, (TCP_FIN | TCP_RST).into())
}

const TCP_FIN: u16 = 1;
const TCP_RST: u16 = 4;
