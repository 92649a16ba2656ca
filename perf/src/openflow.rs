//! What the OpenFlow side of a switch can do, ours and Open vSwitch's by the same client: used by
//! the `openflow` bench program.

pub mod client;
pub mod peer;
pub mod rules;
pub mod scenarios;
