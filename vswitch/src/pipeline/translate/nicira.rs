//! Nicira's actions (ovs-actions(7)): resubmits, bits that are copied, the stack.
//!
//! Values that are read off the packet go into the program as constants. So they are choices of the
//! packet's way ([`Trace::choose`]): another value is another program.

use std::sync::Arc;

use flowtable::{Field, FlowKey, VLAN_PRESENT, eth_type};
use openflow::{
    Action, BundleAlgorithm, Controller, LearnSpec, Nicira, ObservationId, OfPort, Sample,
    SampleDirection, Subfield, TableId,
};

use super::super::{Trace, limits};
use super::actions::Pause;
use super::strand::{List, Strand};
use super::{Machine, Step, track};
use crate::action::{DropReason, Expiry, Longer, Op, Sampling};

impl<'a, T: Trace<'a>> Machine<'a, '_, T> {
    /// Leaves a list of actions for what comes before the rest of it.
    pub(super) fn pause(&mut self, strand: &mut Strand<'a>, list: List<'a>, pause: Pause) {
        let at = match pause {
            Pause::Parse(at) => return self.freeze(strand, Step::Actions(list, at)),
            Pause::LookUp(at) => at,
        };
        match list.get(at) {
            Some(&Action::Nicira(Nicira::Resubmit {
                in_port,
                table,
                by_connection,
            })) => {
                strand.todo.push(Step::Actions(list, at + 1));
                self.resubmit(strand, in_port, table, by_connection);
            }
            Some(Action::Nicira(Nicira::Controller(controller))) => {
                let controller = controller.clone();
                strand.todo.push(Step::Actions(list, at + 1));
                self.interrupt(strand, &controller);
            }
            Some(&Action::Nicira(Nicira::CheckPacketLarger { len, dst })) => {
                strand.todo.push(Step::Actions(list, at + 1));
                self.check_larger(strand, len, dst);
            }
            _ => self.exit(strand),
        }
    }

    /// What is done already stays done, and so does the action set.
    fn exit(&mut self, strand: &mut Strand<'a>) {
        self.trace.note(format_args!("exit"));
        strand.todo.clear();
        if strand.resubmits == 0 {
            strand.todo.push(Step::ActionSet);
        }
    }

    fn resubmit(
        &mut self,
        strand: &mut Strand<'a>,
        in_port: Option<OfPort>,
        table: Option<TableId>,
        by_connection: bool,
    ) {
        if strand.resubmits == limits::RESUBMITS_MAX {
            return self.exceed();
        }
        let table = table.unwrap_or(strand.table);
        if by_connection {
            let is_known = has_tuple(&strand.key);
            self.trace.choose(is_known.into());
            if !is_known {
                let why = "the packet is of no connection";
                return self.trace.note(format_args!("no resubmit: {why}"));
            }
        }
        self.trace.note(format_args!("resubmit to table {table}"));
        strand.todo.push(Step::Return(strand.place()));
        strand.resubmits += 1;
        if let Some(port) = in_port {
            strand.key.in_port = port.0;
        }
        strand.todo.push(match by_connection {
            true => Step::TableByConnection(table),
            false => Step::Table(table),
        });
    }

    pub(super) fn nicira(&mut self, strand: &mut Strand<'a>, nicira: &Nicira) {
        match nicira {
            Nicira::Move { src, dst } => {
                let value = self.read(strand, *src);
                self.write_bits(strand, *dst, value);
            }
            Nicira::Load { dst, value } => self.write_bits(strand, *dst, (*value).into()),
            Nicira::OutputReg { src, max_len } => {
                let port = self.read(strand, *src);
                self.output_to(strand, port, *max_len);
            }
            Nicira::Push(src) => {
                let value = self.read(strand, *src);
                if !strand.stack.push(value, src.width) {
                    self.exceed();
                }
            }
            Nicira::Pop(dst) => match strand.stack.pop() {
                Some(value) => self.write_bits(strand, *dst, value & dst.ones()),
                None => self.trace.note(format_args!("the stack is empty")),
            },
            Nicira::OutputTruncated { port, len_max } => {
                self.output_truncated(strand, *port, *len_max);
            }
            Nicira::Controller(controller) => self.punt_to(strand, controller),
            Nicira::Clone(list) => {
                let mut copy = strand.copy(Step::Actions(List::Made(Arc::clone(list)), 0));
                // What the copy writes to an action set is nobody's.
                copy.resubmits += 1;
                self.run_copy(copy);
            }
            Nicira::DecTtlIds(ids) => self.decrement(strand, ids.contains(&0)),
            Nicira::PopQueue => strand.key.queue = 0,
            // Carried out by their list.
            Nicira::Resubmit { .. } | Nicira::Exit | Nicira::CheckPacketLarger { .. } => {}
            Nicira::Learn(learn) => self.learn_flow(strand, learn),
            &Nicira::FinTimeout {
                idle_timeout_s,
                hard_timeout_s,
            } => self.fin_timeout(strand, (idle_timeout_s, hard_timeout_s)),
            Nicira::Bundle(bundle) => self.bundle(strand, bundle),
            Nicira::Multipath(multipath) => self.multipath(strand, multipath),
            Nicira::DeleteField(field) => strand.delete(*field),
            Nicira::Sample(sample) => self.sample(strand, sample),
            Nicira::Ct(ct) => self.track(strand, ct),
            Nicira::CtClear => {
                strand.forgets = true;
                strand.clear_connection();
            }
            // Clauses say what packets match, and connections are translated by their `ct`.
            Nicira::Note(_) | Nicira::Nat(_) | Nicira::Conjunction { .. } => {}
        }
    }

    /// Bits of the packet as it is now.
    pub(super) fn read(&mut self, strand: &Strand<'a>, src: Subfield) -> u128 {
        let value = src.read(&strand.key);
        if !src.field.is_metadata() || src.field.is_carried() {
            self.choose_value(value);
        }
        value
    }

    /// The program depends on a value that the packet has.
    fn choose_value(&mut self, value: u128) {
        self.trace.choose(value as u64);
        if value >> 64 != 0 {
            self.trace.choose((value >> 64) as u64);
        }
    }

    pub(super) fn write_bits(&mut self, strand: &mut Strand<'a>, dst: Subfield, value: u128) {
        self.set_field(strand, dst.field, value << dst.offset, dst.mask());
    }

    /// Sets bits of the tag as a whole: without the presence bit there is none.
    pub(super) fn set_tag(&mut self, strand: &mut Strand<'a>, value: u128, mask: u128) {
        let old = strand.key.vlan_tci;
        let new = old & !(mask as u16) | value as u16 & mask as u16;
        self.choose_value((u32::from(old & VLAN_PRESENT) << 16 | u32::from(new)).into());
        let (had, has) = (old & VLAN_PRESENT != 0, new & VLAN_PRESENT != 0);
        match (had, has) {
            (true, false) => return self.push_or_pop(strand, &Action::PopVlan),
            (false, false) => return,
            (false, true) => self.push_or_pop(strand, &Action::PushVlan(TPID)),
            (true, true) => {}
        }
        for field in [Field::VlanVid, Field::VlanPcp] {
            let value = u128::from(new) >> if field == Field::VlanPcp { 13 } else { 0 };
            self.set_field(strand, field, value & field.ones(), field.ones());
        }
    }

    /// To the port of this number; in 16 bits they are those of OpenFlow 1.0.
    pub(super) fn output_to(&mut self, strand: &mut Strand<'a>, number: u128, max_len: u16) {
        match (u16::try_from(number), u32::try_from(number)) {
            (Ok(number), _) => self.output(strand, OfPort::of_16_bits(number), max_len),
            (_, Ok(number)) => self.output(strand, OfPort(number), max_len),
            _ => self.refuse(DropReason::PortDown),
        }
    }

    /// To the controllers of the bridge that have this id.
    fn punt_to(&mut self, strand: &Strand<'a>, controller: &Controller) {
        let max_len = controller.max_len;
        self.trace
            .note(format_args!("send to the controllers, {max_len} bytes"));
        self.emit_with(|| Op::Controller(strand.punt_for(controller, None)));
    }

    /// The same, and nothing more until one of them lets the packet go on.
    fn interrupt(&mut self, strand: &mut Strand<'a>, controller: &Controller) {
        self.scopes = None;
        self.trace.note(format_args!("wait for a controller"));
        self.emit_with(|| Op::Controller(strand.punt_for(controller, Some(strand.freeze()))));
        strand.todo.clear();
    }

    /// To collectors, if there are any.
    fn sample(&mut self, strand: &Strand<'a>, sample: &Sample) {
        let set = sample.collector_set;
        if !self.state.has_collectors(set) {
            let why = format_args!("no samples: there are no collectors of set {set}");
            return self.trace.note(why);
        }
        self.trace
            .note(format_args!("tell collectors of set {set}"));
        let [domain, point] = [sample.domain, sample.point].map(|id| match id {
            ObservationId::Number(number) => number,
            ObservationId::Field(source) => self.read(strand, source) as u32,
        });
        let is_egress = sample.direction == SampleDirection::Egress;
        self.emit_with(|| {
            Op::Sample(Arc::new(Sampling {
                probability: sample.probability,
                collector_set: set,
                domain,
                point,
                in_port: OfPort(strand.key.in_port),
                out_port: sample.port.filter(|_| is_egress),
                is_egress,
            }))
        });
    }

    /// The first bytes by a port.
    fn output_truncated(&mut self, strand: &mut Strand<'a>, port: OfPort, len_max: u32) {
        let body = self.collect(|machine| {
            machine.emit(Op::Truncate(len_max));
            machine.output(strand, port, 0);
        });
        if body.len() > 1 {
            self.emit(Op::Clone(body.into()));
        }
    }

    /// What becomes of longer packets, and of others: both, since the key does not tell the length.
    fn check_larger(&mut self, strand: &mut Strand<'a>, len: u16, dst: Subfield) {
        let mut branch = |is_longer: bool| {
            let mut copy = strand.clone();
            copy.certain = false;
            self.trace.enter(format_args!(
                "{} than {len} bytes",
                match is_longer {
                    true => "longer",
                    false => "not longer",
                }
            ));
            let body = self.collect(|machine| {
                machine.write_bits(&mut copy, dst, is_longer.into());
                machine.run(&mut copy);
            });
            self.trace.leave();
            body.into()
        };
        let (longer, other) = (branch(true), branch(false));
        strand.todo.clear();
        strand.level_open = false;
        let len = len.into();
        self.emit_with(|| Op::Longer(Arc::new(Longer { len, longer, other })));
    }

    /// A time to live that ends is told to the controllers that have id 0, if any is to hear of it.
    fn decrement(&mut self, strand: &mut Strand<'a>, is_told: bool) {
        match is_told {
            true => self.change_ttl(strand, &Action::DecNwTtl),
            false => {
                strand.certain = false;
                self.emit(Op::DecNwTtl(Expiry {
                    punt: None,
                    answers: strand.bridge.answers(),
                }));
                strand.forget(Field::IpTtl);
            }
        }
    }
}

/// The packet is taken to have come in by a port of this number in OpenFlow 1.0.
pub(super) fn set_in_port(key: &mut FlowKey, number: u128) {
    key.in_port = OfPort::of_16_bits(number as u16).0;
}

/// Whether it is known what the first packet of an IP packet's connection was.
fn has_tuple(key: &FlowKey) -> bool {
    key.ct_ip_proto != 0 && matches!(key.eth_type, eth_type::IPV4 | eth_type::IPV6)
}

/// Whether the working key decides what an action does.
pub(super) fn reads_headers(nicira: &Nicira) -> bool {
    match nicira {
        Nicira::Move { src, dst } => !src.field.is_metadata() || dst.field == Field::VlanTci,
        Nicira::Load { dst, .. } | Nicira::Pop(dst) => dst.field == Field::VlanTci,
        Nicira::Push(src) | Nicira::OutputReg { src, .. } => {
            // The number may be that of NORMAL.
            !src.field.is_metadata() || matches!(nicira, Nicira::OutputReg { .. })
        }
        Nicira::Learn(learn) => {
            let mut taken = learn.specs.iter().filter_map(LearnSpec::taken);
            taken.any(|src| !src.field.is_metadata())
        }
        Nicira::Resubmit { by_connection, .. } => *by_connection,
        Nicira::FinTimeout { .. } | Nicira::Multipath(_) => true,
        Nicira::Bundle(bundle) => bundle.algorithm == BundleAlgorithm::HighestRandomWeight,
        Nicira::Ct(ct) => track::reads_headers(ct),
        Nicira::Sample(sample) => sample.sources().any(|src| !src.field.is_metadata()),
        _ => false,
    }
}

/// TPID of a tag that is pushed unasked.
const TPID: u16 = 0x8100;
