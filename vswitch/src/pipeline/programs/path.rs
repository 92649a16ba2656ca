//! What is heard of a translation that writes no program: the way that a packet goes, and what is
//! done on it if that is a plain line.

use arrayvec::ArrayVec;
use flowtable::FlowKey;

use super::super::Trace;
use super::super::limits::{LINE_COUNTED_MAX, LINE_OPS_MAX, PATH_MAX};
use crate::action::{CountedIn, Expiry, Op};

/// The way that a packet goes: where it enters, in which epoch, and the choices of its key.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// To be set when it is known whole.
    pub hash: u64,
    pub words: ArrayVec<u64, PATH_MAX>,
    /// There were more.
    pub is_longer: bool,
}

/// What is done with a packet, as far as it can be written down without allocating.
#[derive(Debug)]
pub struct Line<'a> {
    /// That is all: edits, and one way out behind them or none at all.
    pub is_plain: bool,
    pub ops: ArrayVec<Op, LINE_OPS_MAX>,
    /// What the packet is counted in if it comes to the end.
    pub counted: ArrayVec<CountedIn<'a>, LINE_COUNTED_MAX>,
}

/// Hears both.
#[derive(Debug)]
pub struct Path<'a, 'w> {
    /// One that has begun.
    pub way: &'w mut Way,
    pub line: &'w mut Line<'a>,
}

impl Way {
    /// Ways from different entry points, or in different epochs, are different.
    pub fn begin(&mut self, entry: u64, epoch: u64) {
        self.words.clear();
        self.is_longer = false;
        self.choose(entry);
        self.choose(epoch);
    }

    #[inline(always)]
    fn choose(&mut self, way: u64) {
        self.is_longer |= self.words.try_push(way).is_err();
    }
}

impl Default for Line<'_> {
    #[inline(always)]
    fn default() -> Self {
        Line {
            is_plain: true,
            ops: ArrayVec::new(),
            counted: ArrayVec::new(),
        }
    }
}

impl Line<'_> {
    /// Whether it is plain, now that it is known whole.
    pub fn is_whole(&self) -> bool {
        self.is_plain && matches!(self.ops.last(), None | Some(Op::Output(_)))
    }

    #[inline(always)]
    fn has_ended(&self) -> bool {
        matches!(self.ops.last(), Some(Op::Output(_)))
    }
}

impl<'a> Trace<'a> for Path<'a, '_> {
    const WANTS_PROGRAM: bool = false;

    #[inline(always)]
    fn choose(&mut self, way: u64) {
        self.way.choose(way);
    }

    #[inline(always)]
    fn write(&mut self, op: Op) {
        let line = &mut *self.line;
        let is_edit = matches!(
            op,
            Op::SetField { .. }
                | Op::PushVlan(_)
                | Op::PopVlan
                | Op::DecNwTtl(Expiry { punt: None, .. })
        );
        let fits = !line.has_ended() && (is_edit || matches!(op, Op::Output(_)));
        line.is_plain &= fits && line.ops.try_push(op).is_ok();
    }

    #[inline(always)]
    fn count(&mut self, counted: CountedIn<'a>) {
        let line = &mut *self.line;
        line.is_plain &= !line.has_ended() && line.counted.try_push(counted).is_ok();
    }

    #[inline(always)]
    fn complicate(&mut self) {
        self.line.is_plain = false;
    }

    fn enter(&mut self, _text: std::fmt::Arguments<'_>) {}

    fn leave(&mut self) {}

    fn end(&mut self, _key: &FlowKey) {}
}

/// Fails if what was written down of a packet's line differs from its program; whether the line is
/// plain.
#[cfg(test)]
pub fn assert_plain_line_agrees(
    context: &mut super::Context<'_>,
    ingress: &super::Ingress,
    key: &FlowKey,
    program: &crate::action::Program,
) -> bool {
    let (mut way, mut line) = (Way::default(), Line::default());
    let mut path = Path {
        way: &mut way,
        line: &mut line,
    };
    let reason = super::walk(context, ingress, key, &mut path);
    if line.is_whole() {
        assert_eq!(*line.ops, *program.ops, "of {key:?}");
        let counted = line.counted.iter().map(|counted| counted.kept());
        assert_eq!(counted.collect::<Vec<_>>(), *program.counters);
        assert_eq!(line.ops.is_empty().then_some(reason), program.drop);
        assert!(program.straight.is_some() && program.heard.is_empty());
    }
    line.is_whole()
}
