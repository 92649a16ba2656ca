//! Header bytes to flow key, flow key to rule, the flow cache, and connections: pure data
//! structures.
//!
//! No I/O, no clock and no threads of its own; `now` is a parameter where time matters.
#![forbid(unsafe_code)]

mod cache;
mod carried;
mod changes;
mod checksum;
mod classifier;
pub mod conntrack;
mod field;
pub mod fragments;
mod hash;
mod key;
mod matching;
mod parse;
mod protocol;
mod rows;
mod tlv;
pub mod tunnel;

pub use cache::{
    CodeNo, Counts, ENTRIES_MAX, EntryMask, FlowCache, Flush, KEPT_MAX, KEYS_MAX, KeyHash, Lookup,
    PROTECTED_MS, Packets, Pair, Prepare, Pressure, Slot, Visitors,
};
pub use carried::Carried;
pub use changes::{Changed, Changes, Question, Scopes};
pub use checksum::has_right_checksums;
pub use classifier::{Classifier, HashTable, Rule, RuleId, Rules, Tuning, Walk};
pub use field::{Field, Prerequisite};
pub use hash::Keyed;
pub use key::{FRAGMENT_ANY, FRAGMENT_LATER, FlowKey, FlowMask, VLAN_PRESENT};
pub use matching::{Known, Match};
pub use parse::{Depth, FRAME_LEN_MAX, Layout, parse, parse_link, parse_network};
pub use protocol::{ETH_TYPE_LLC, eth_type, exthdr, icmpv6_type, ip_proto, too_big};
pub use rows::Rows;
pub use tlv::{TlvError, TlvMapping, TlvTable};
