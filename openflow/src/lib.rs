//! OpenFlow as values and bytes, and one connection as a state machine without sockets.
//!
//! The values are version-neutral and shaped after the widest version; a version is a codec.
#![forbid(unsafe_code)]

pub mod action;
pub mod bundle;
pub mod connection;
pub mod ct;
pub mod ct_flush;
pub mod error;
pub mod features;
pub mod flow;
pub mod group;
pub mod hello;
pub mod id;
pub mod message;
pub mod meter;
pub mod monitor;
pub mod multipart;
pub mod nicira;
pub mod packet;
pub mod port;
pub mod queue;
pub mod table;
pub mod v13;

mod oxm;
pub mod text;
mod wire;

pub use action::{Action, ActionKind, InstructionKind, Instructions};
pub use bundle::{BundleAdd, BundleControl, BundleFlags, BundleId, BundleStep};
pub use ct::{Ct, CtZone, Nat, NatEnd};
pub use ct_flush::{CtFlush, CtTuple};
pub use error::{ErrorCode, ErrorMessage};
pub use features::{
    AsyncConfig, AsyncMasks, Capabilities, Description, Features, Fragments, Role, RoleMessage,
    SwitchConfig,
};
pub use flow::{
    AggregateStats, FlowFlags, FlowMod, FlowModCommand, FlowRemoved, FlowRemovedReason, FlowStats,
    FlowStatsRequest,
};
pub use group::{
    Bucket, BucketStats, GroupCapabilities, GroupDesc, GroupFeatures, GroupKind, GroupMod,
    GroupModCommand, GroupStats,
};
pub use hello::{Hello, Version, Versions};
pub use id::{GroupId, MeterId, OfPort, QueueId, TableId, Xid};
pub use message::{Experimenter, Message};
pub use meter::{
    Band, BandStats, MeterConfig, MeterFeatures, MeterFlags, MeterMod, MeterModCommand, MeterStats,
};
pub use monitor::{FlowChange, FlowEvent, FlowMonitor, FlowUpdate, MonitorFlags, MonitorId};
pub use multipart::{MultipartReply, MultipartRequest};
pub use nicira::{
    Bundle, BundleAlgorithm, Controller, HashFields, Learn, LearnSource, LearnSpec, Multipath,
    MultipathAlgorithm, Nicira, NiciraMessage, ObservationId, PacketIn2, PacketInFormat, Sample,
    SampleDirection, Subfield, TlvMap, TlvTableMod, TlvTableReply,
};
pub use packet::{PacketIn, PacketInReason, PacketOut};
pub use port::{
    PortConfig, PortDesc, PortFeatures, PortMod, PortReason, PortState, PortStats, PortStatus,
};
pub use queue::{Queue, QueueConfig, QueueStats};
pub use table::{FieldFeature, TableFeatures, TableMod, TableProperty, TableStats};
