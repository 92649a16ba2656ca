//! Actions that change a packet: each is an operation, and the same change of the working key
//! (OpenFlow 1.3.5 §5.12).
//!
//! An operation on a header that the packet does not have does nothing, on the packet and on the
//! key alike. For the key this needs no bits beyond those that rules match: who matches a field
//! matches its prerequisites, too.

use std::fmt;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;

use flowtable::{Field, VLAN_PRESENT};
use openflow::text::{Ports, write_actions};
use openflow::{Action, Nicira, OfPort};

use super::super::Trace;
use super::nicira::{self, set_in_port};
use super::strand::Strand;
use super::{Machine, headers};
use crate::action::{Expiry, Op, Punt, PuntReason};

impl<'a, T: Trace<'a>> Machine<'a, '_, T> {
    /// Carries out a list of actions from `at` on. It breaks off where one wants to know headers
    /// that are not known, or something else comes before what follows: then everything from there
    /// on is left to be done.
    #[inline]
    pub(super) fn act(
        &mut self,
        strand: &mut Strand<'a>,
        list: &[Action],
        at: usize,
    ) -> ControlFlow<Pause> {
        for (index, action) in list.iter().enumerate().skip(at) {
            if !self.step() {
                break;
            }
            if !strand.known && reads_headers(action) {
                return Break(Pause::Parse(index));
            }
            if comes_first(action) {
                return Break(Pause::LookUp(index));
            }
            self.carry_out(strand, action);
        }
        Continue(())
    }

    fn carry_out(&mut self, strand: &mut Strand<'a>, action: &Action) {
        self.trace.enter(format_args!("{}", Shown(action)));
        self.decide(strand, action);
        self.trace.leave();
    }

    fn decide(&mut self, strand: &mut Strand<'a>, action: &Action) {
        match *action {
            Action::Output { port, max_len } => self.output(strand, port, max_len),
            Action::Group(group) => self.group(strand, group),
            Action::SetQueue(queue) => strand.key.queue = queue.0,
            Action::SetField { field, value, mask } => self.set_field(strand, field, value, mask),
            Action::SetNwTtl(ttl) => self.set_field(strand, Field::IpTtl, ttl.into(), 0xff),
            Action::SetMplsTtl(ttl) => self.set_field(strand, Field::MplsTtl, ttl.into(), 0xff),
            Action::PushVlan(_)
            | Action::PopVlan
            | Action::PushMpls(_)
            | Action::PopMpls(_)
            | Action::PushPbb(_)
            | Action::PopPbb => self.push_or_pop(strand, action),
            Action::DecNwTtl | Action::DecMplsTtl | Action::CopyTtlIn | Action::CopyTtlOut => {
                self.change_ttl(strand, action)
            }
            Action::Nicira(ref nicira) => self.nicira(strand, nicira),
        }
    }

    pub(super) fn set_field(
        &mut self,
        strand: &mut Strand<'a>,
        field: Field,
        value: u128,
        mask: u128,
    ) {
        match field {
            Field::InPort16 => return set_in_port(&mut strand.key, value),
            Field::VlanTci => return self.set_tag(strand, value, mask),
            _ => {}
        }
        if field.is_metadata() {
            return strand.write(field, value, mask);
        }
        let mask = match field {
            Field::VlanVid => mask & !u128::from(VLAN_PRESENT),
            _ => mask,
        };
        let value = value & mask;
        self.emit(Op::SetField { field, value, mask });
        if headers::is_optional(field) {
            strand.forget(field);
        } else if strand.known && headers::has(&strand.key, field) {
            field.write(&mut strand.key, value, mask);
            strand.known = !headers::decides_parsing(field);
        }
    }

    pub(super) fn push_or_pop(&mut self, strand: &mut Strand<'a>, action: &Action) {
        let key = &mut strand.key;
        let (op, known) = match *action {
            Action::PushVlan(tpid) => (Op::PushVlan(tpid), headers::push_vlan(key, tpid)),
            Action::PushMpls(kind) => (Op::PushMpls(kind), headers::push_mpls(key, kind)),
            Action::PushPbb(kind) => (Op::PushPbb(kind), headers::push_pbb(key, kind)),
            Action::PopVlan => (Op::PopVlan, headers::pop_vlan(key)),
            Action::PopMpls(kind) => (Op::PopMpls(kind), false),
            _ => (Op::PopPbb, false),
        };
        self.emit(op);
        strand.known &= known;
    }

    pub(super) fn change_ttl(&mut self, strand: &mut Strand<'a>, action: &Action) {
        let (op, field) = match *action {
            Action::DecNwTtl => {
                let expiry = Expiry {
                    punt: self.invalid_ttl(strand),
                    answers: strand.bridge.answers(),
                };
                (Op::DecNwTtl(expiry), Field::IpTtl)
            }
            Action::DecMplsTtl => (Op::DecMplsTtl(self.invalid_ttl(strand)), Field::MplsTtl),
            Action::CopyTtlIn => (Op::CopyTtlIn, Field::IpTtl),
            _ => (Op::CopyTtlOut, Field::MplsTtl),
        };
        if matches!(op, Op::DecNwTtl(_) | Op::DecMplsTtl(_)) {
            strand.certain = false;
        }
        self.emit(op);
        strand.forget(field);
    }

    /// What becomes of a packet whose time to live ends (OpenFlow 1.3.5 §7.4.1).
    fn invalid_ttl(&mut self, strand: &Strand<'a>) -> Option<Arc<Punt>> {
        if !T::WANTS_PROGRAM && strand.bridge.wants_invalid_ttl {
            self.trace.complicate();
        }
        let wanted = T::WANTS_PROGRAM && strand.bridge.wants_invalid_ttl;
        wanted.then(|| strand.punt(PuntReason::InvalidTtl, Punt::WHOLE))
    }
}

/// An action as flow syntax has it.
struct Shown<'a>(&'a Action);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        write_actions(&mut text, std::slice::from_ref(self.0), &Ports::default());
        f.write_str(&text)
    }
}

/// Whether what follows the action comes after something else, or not at all.
fn comes_first(action: &Action) -> bool {
    match action {
        Action::Nicira(Nicira::Controller(controller)) => controller.pause,
        Action::Nicira(nicira) => matches!(
            nicira,
            Nicira::Resubmit { .. } | Nicira::Exit | Nicira::CheckPacketLarger { .. }
        ),
        _ => false,
    }
}

/// Whether the working key decides what the action does.
fn reads_headers(action: &Action) -> bool {
    match action {
        Action::Output { port, .. } => *port == OfPort::NORMAL,
        Action::SetField { field, .. } => *field == Field::VlanTci,
        Action::Nicira(nicira) => nicira::reads_headers(nicira),
        _ => false,
    }
}

/// Why a list of actions is left for a while, and where.
pub(super) enum Pause {
    /// The packet must be parsed before this one.
    Parse(usize),
    /// This one is carried out by others, what follows comes after them.
    LookUp(usize),
}
