//! Listens to a translation: nobody on a worker, a tree for `vsctl trace`.

use std::fmt::Arguments;

/// Hears what a translation decides. Levels nest; a text is only made for who listens.
pub trait Trace {
    /// Whether anybody listens.
    const LISTENS: bool;

    /// Something was decided; what follows until the matching [`Trace::leave`] is because of it.
    fn enter(&mut self, text: Arguments<'_>);

    /// The end of what was because of the last [`Trace::enter`].
    fn leave(&mut self);

    /// Something was decided that nothing follows from.
    fn note(&mut self, text: Arguments<'_>) {
        self.enter(text);
        self.leave();
    }
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl Trace for NoTrace {
    const LISTENS: bool = false;

    fn enter(&mut self, _text: Arguments<'_>) {}

    fn leave(&mut self) {}
}

/// A line of a trace, and what followed from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// What was decided.
    pub text: String,
    /// What followed.
    pub children: Vec<Tree>,
}
