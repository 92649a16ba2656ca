//! Header bytes to flow key, flow key to rule, and the flow cache: pure data structures.
//!
//! No I/O, no clock and no threads of its own; `now` is a parameter where time matters.
#![forbid(unsafe_code)]

mod field;
mod key;
mod matching;

pub use field::{Field, Prerequisite};
pub use key::{FlowKey, FlowMask, VLAN_PRESENT};
pub use matching::Match;
