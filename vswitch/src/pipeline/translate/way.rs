//! Numbers for the ways that a key chooses ([`super::Trace::choose`]).
//!
//! What is not a number of a rule, an address, a tag or a port is above all of these.

use flowtable::{RuleId, VLAN_PRESENT};

use crate::action::PortNo;

/// No rule of the table matches.
pub const NO_RULE: u64 = u64::MAX;
/// It is a fragment, and these are dropped.
pub const FRAGMENT: u64 = u64::MAX - 1;
/// Headers must be parsed before anything goes on.
pub const PARSE_AGAIN: u64 = u64::MAX - 2;
/// It is sent to an address that bridges keep to themselves.
pub const RESERVED_ADDRESS: u64 = u64::MAX - 3;
/// No port is known for the address.
const NO_PORT: u64 = u64::MAX - 4;

/// There are clauses of conjunctions of this priority.
pub fn clauses(priority: u16) -> u64 {
    u64::MAX - 0x10_0000 - u64::from(priority)
}

/// By a rule of a table.
pub fn rule(id: RuleId) -> u64 {
    u64::from(id.tuple) << 32 | u64::from(id.cell)
}

/// With this outer tag, its priority aside.
pub fn tag(tci: u16) -> u64 {
    (tci & (VLAN_PRESENT | VID)).into()
}

/// To a port.
pub fn port(number: Option<PortNo>) -> u64 {
    number.map_or(NO_PORT, |number| number.0.into())
}

/// Bits of a tag that are the VLAN id.
const VID: u16 = 0x0fff;
