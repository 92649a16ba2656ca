//! A second OpenFlow switch, naive: lists instead of tables, bytes instead of keys, every packet
//! read anew at every step, checksums computed whole. It shares no code with the switch but the
//! names of fields and actions, so that what both say is what the specification says.
//!
//! `wire` reads and changes packets, `model` interprets OpenFlow over them, `connections` tracks
//! them, `tunnel` wraps them, `random` makes up configurations and packets that meet each other
//! often.

pub mod connections;
pub mod model;
pub mod random;
pub mod tunnel;
pub mod wire;
