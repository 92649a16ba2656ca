//! Packets of a batch that a meter decides about (OpenFlow 1.3.5 §5.7). Called by
//! [`super::engine`].
//!
//! How: where a program in its quick form begins with a meter, this packet and those behind it are
//! decided about together, up to the first that has no quick form: so each meter sees its packets
//! in their order, but its bucket and its counters, which all workers share, are written once.

use flowtable::CodeNo;
use pmd::{BATCH_MAX, Batch};

use super::super::rewrite::Headers;
use super::engine::{Engine, Entry};
use crate::action::{Cache, DropReason, Quick, Routine};
use crate::pipeline::{Meter, Places};

/// The quick form of a program, if it has one that can run on a packet with these headers, which
/// are those of the packet if it was parsed `deep` enough.
#[inline(always)]
pub fn quick<'a>(
    cache: &'a Cache,
    code: CodeNo,
    deep: bool,
    headers: &Headers,
) -> Option<&'a Quick> {
    let program = cache.code(code).map(|Routine(program)| program);
    let quick = program.and_then(|program| program.quick.as_ref());
    let found = deep && headers.has_network();
    quick.filter(|quick| found | !quick.decrements)
}

/// The bits, of these, of packets that come to a meter.
#[inline(always)]
fn alike(meters: &[Option<&Meter>; BATCH_MAX], mut open: Places, meter: &Meter) -> Places {
    let mut alike = 0;
    while let Some(other) = meters.get(open.trailing_zeros() as usize) {
        let bit = open & open.wrapping_neg();
        if other.is_some_and(|other| std::ptr::eq(other, meter)) {
            alike |= bit;
        }
        open &= !bit;
    }
    alike
}

/// Frees the packets of a batch that have no bit here.
#[inline(always)]
pub fn keep(batch: &mut Batch, mut kept: Places) {
    batch.retain(|_| {
        let is_kept = kept & 1 != 0;
        kept >>= 1;
        is_kept
    });
}

/// Packets of a batch that were decided about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decided {
    /// Places below this.
    until: usize,
    /// A bit for each that is refused.
    pub refused: Places,
}

impl Engine {
    /// Whether a packet of the batch is refused by the meter that its quick form begins with.
    #[inline(never)]
    pub(super) fn is_refused(
        &self,
        decided: &mut Decided,
        (deep, codes): (bool, &[CodeNo]),
        index: usize,
    ) -> bool {
        if index >= decided.until {
            *decided = self.decide_run(deep, codes, index);
        }
        decided.refused >> index & 1 != 0
    }

    /// Lets meters decide about the packets from one on that have a quick form.
    #[inline(never)]
    pub(super) fn decide_run(&self, deep: bool, codes: &[CodeNo], from: usize) -> Decided {
        let mut meters: [Option<&Meter>; BATCH_MAX] = [None; BATCH_MAX];
        let places = meters.iter_mut().zip(codes).zip(&self.parsed.headers);
        let (mut open, mut until) = (0, codes.len());
        for (index, ((meter, code), headers)) in places.enumerate().skip(from) {
            let Some(quick) = quick(&self.cache, *code, deep, headers) else {
                until = index;
                break;
            };
            *meter = quick.meter.as_deref();
            open |= Places::from(meter.is_some()) << index;
        }
        let mut refused = 0;
        while let Some(meter) = meters
            .get(open.trailing_zeros() as usize)
            .copied()
            .flatten()
        {
            let alike = alike(&meters, open, meter);
            let now_ns = self.executor.now.ns;
            refused |= meter.admit_together(now_ns, &self.parsed.bytes, alike);
            open &= !alike;
        }
        Decided { until, refused }
    }

    /// Ends the packets of a batch that meters refused.
    pub(super) fn free_refused(
        &mut self,
        refused: Places,
        entry: &Entry,
        codes: &[CodeNo],
        batch: &mut Batch,
    ) {
        if refused == 0 {
            return;
        }
        for (index, code) in codes.iter().enumerate() {
            if refused >> index & 1 != 0 {
                self.end(*code, entry, index, DropReason::Meter);
            }
        }
        keep(batch, !refused);
    }
}
