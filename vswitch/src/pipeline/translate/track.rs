//! `ct`: connection tracking (ovs-actions(7)).
//!
//! A packet is tracked when it comes to the operation, not here. So what rules match of that is
//! not known before a copy of the packet goes on, at a recirculation point, with all that was found
//! out. The packet itself goes on as if it had not been tracked, but for what is translated of it.

use std::net::IpAddr;
use std::sync::Arc;

use flowtable::conntrack::{self, Helper, Range, Request, mapped};
use flowtable::{Carried, Field, FlowKey};
use openflow::ct::{ALG_FTP, ALG_TFTP};
use openflow::{Action, Ct, CtZone, Nat, NatEnd, Nicira, TableId};

use super::super::{Trace, limits};
use super::strand::Strand;
use super::{Machine, Step};
use crate::action::{Op, Track};

impl<'a, T: Trace<'a>> Machine<'a, '_, T> {
    pub(super) fn track(&mut self, strand: &mut Strand<'a>, ct: &Ct) {
        let request = self.request(strand, ct);
        let zone = request.zone;
        self.trace
            .note(format_args!("track connections in zone {zone}"));
        if ct.table.is_some() {
            self.scopes = None;
        }
        // What was found out before may be forgotten.
        let forgets = strand.forgets;
        let site = site(strand, ct);
        let point = match ct.table.filter(|_| T::WANTS_PROGRAM) {
            Some(table) => match self.fork(strand, table) {
                Some(point) => Some(point),
                None => return self.exceed(),
            },
            None => None,
        };
        self.emit_with(|| {
            Op::Track(Arc::new(Track {
                request,
                point,
                forgets,
                site,
            }))
        });
        strand.certain = false;
        strand.forgets = false;
        strand.clear_connection();
    }

    /// A recirculation point for a copy of the packet that goes on in a table.
    fn fork(&mut self, strand: &Strand<'a>, table: TableId) -> Option<u32> {
        if strand.recirculations == limits::RECIRCULATIONS_MAX {
            return None;
        }
        let mut copy = strand.copy(Step::Table(table));
        copy.set = strand.set.clone();
        copy.resubmits = 0;
        copy.forgets = false;
        copy.written.take_connection();
        let point = self.points.intern(copy.freeze(), strand.point_mask())?;
        self.trace.note(format_args!(
            "a copy goes on in table {table} with what is found out, point {point:#x}"
        ));
        Some(point)
    }

    /// What connection tracking is asked for.
    fn request(&mut self, strand: &Strand<'a>, ct: &Ct) -> Request {
        let mut request = Request {
            zone: match ct.zone {
                CtZone::Number(zone) => zone,
                CtZone::Field(source) => self.read(strand, source) as u16,
            },
            commits: ct.commits,
            forces: ct.forces,
            helper: match ct.alg {
                ALG_FTP => Some(Helper::Ftp),
                ALG_TFTP => Some(Helper::Tftp),
                _ => None,
            },
            ..Request::default()
        };
        let (mut key, mut mask) = (FlowKey::default(), FlowKey::default());
        for action in ct.actions.iter() {
            let (field, value, bits) = match action {
                Action::Nicira(Nicira::Nat(nat)) => {
                    request.nat = Some(translation(nat));
                    continue;
                }
                Action::SetField { field, value, mask } => (*field, *value, *mask),
                Action::Nicira(Nicira::Load { dst, value }) => {
                    (dst.field, u128::from(*value) << dst.offset, dst.mask())
                }
                Action::Nicira(Nicira::Move { src, dst }) => {
                    let value = self.read(strand, *src);
                    (dst.field, value << dst.offset, dst.mask())
                }
                _ => continue,
            };
            field.write(&mut key, value, bits);
            field.write(&mut mask, bits, bits);
        }
        if mask.ct_mark != 0 {
            request.mark = Some((key.ct_mark, mask.ct_mark));
        }
        if mask.ct_label != [0; 2] {
            request.label = Some((key.ct_label, mask.ct_label));
        }
        request
    }
}

/// Number of a `ct` among those that a packet and its copies come to: bridge, recirculations before
/// it, whether it commits, and the table where it goes on.
fn site(strand: &Strand, ct: &Ct) -> u32 {
    let table = ct.table.map_or(NO_TABLE, |table| table.0);
    let passes = strand.recirculations << 1 | u32::from(ct.commits);
    strand.bridge.id.0 << 16 | passes << 8 | u32::from(table)
}

/// How new connections are translated. Addresses of zeros are the packet's own: only its port is
/// changed, where another connection has it.
fn translation(nat: &Nat) -> conntrack::Nat {
    let addresses = nat
        .addresses
        .filter(|(first, last)| !first.is_unspecified() || !last.is_unspecified());
    let range = Range {
        addresses: addresses.map(|(first, last)| (words(first), words(last))),
        ports: nat.ports,
    };
    let of = |end| (nat.end == Some(end)).then_some(range);
    conntrack::Nat {
        source: of(NatEnd::Source),
        destination: of(NatEnd::Destination),
        is_persistent: nat.is_persistent,
        is_random: nat.is_random,
    }
}

fn words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(address) => mapped(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [(bits >> 64) as u64, bits as u64]
        }
    }
}

/// What stands for a packet that goes on in no table: no `ct` names this one.
const NO_TABLE: u8 = 0xff;

/// Whether a `ct` wants to know headers.
pub(super) fn reads_headers(ct: &Ct) -> bool {
    let is_header = |field: Field| !field.is_metadata();
    let zone = match ct.zone {
        CtZone::Field(source) => is_header(source.field),
        CtZone::Number(_) => false,
    };
    let moves = |action: &Action| match action {
        Action::Nicira(Nicira::Move { src, .. }) => is_header(src.field),
        _ => false,
    };
    zone || ct.actions.iter().any(moves)
}

impl Strand<'_> {
    /// As if the packet had not been tracked.
    pub(super) fn clear_connection(&mut self) {
        self.written.add_connection();
        let mut carried = Carried::ALL;
        carried.take_connection();
        Carried::of(&self.key).within(&carried).write(&mut self.key);
    }
}
