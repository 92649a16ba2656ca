//! OpenFlow as values and bytes, and one connection as a state machine without sockets.
//!
//! The values are version-neutral and shaped after the widest version; a version is a codec.
#![forbid(unsafe_code)]

pub mod action;
pub mod error;
pub mod flow;
pub mod group;
pub mod id;
pub mod meter;

pub use action::{Action, Instructions};
pub use error::ErrorCode;
pub use flow::{FlowFlags, FlowMod, FlowModCommand};
pub use group::{Bucket, GroupKind, GroupMod, GroupModCommand};
pub use id::{GroupId, MeterId, OfPort, QueueId, TableId};
pub use meter::{Band, MeterFlags, MeterMod, MeterModCommand};
