//! Groups: modification, description, statistics (OpenFlow 1.3.5 §5.6, §7.3.4.2, §7.3.5.9 to
//! §7.3.5.11).

use std::sync::Arc;
use std::time::Duration;

use crate::{Action, GroupId, OfPort};

/// What a group modification does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupModCommand {
    /// Add; an error if the group is there.
    Add,
    /// Replace; an error if the group is not there.
    Modify,
    /// Delete, and every flow that uses it.
    Delete,
}

/// How a group uses its buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GroupKind {
    /// Every bucket gets a copy.
    All = 0,
    /// One bucket by hash and weight.
    Select = 1,
    /// The one bucket there is.
    Indirect = 2,
    /// The first live bucket.
    FastFailover = 3,
}

/// One bucket of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Share of a select group.
    pub weight: u16,
    /// Port whose liveness is the bucket's; [`OfPort::ANY`] for none.
    pub watch_port: OfPort,
    /// Group whose liveness is the bucket's; [`GroupId::ANY`] for none.
    pub watch_group: GroupId,
    /// An action set.
    pub actions: Arc<[Action]>,
}

/// A group modification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMod {
    /// What to do.
    pub command: GroupModCommand,
    /// How the buckets are used.
    pub kind: GroupKind,
    /// Which group; [`GroupId::ALL`] for deletes.
    pub group: GroupId,
    /// The buckets.
    pub buckets: Vec<Bucket>,
}

/// A group as it was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDesc {
    /// Which group.
    pub group: GroupId,
    /// How the buckets are used.
    pub kind: GroupKind,
    /// The buckets.
    pub buckets: Vec<Bucket>,
}

/// Statistics of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStats {
    /// Which group.
    pub group: GroupId,
    /// Flows and groups that send to it.
    pub references: u32,
    /// Packets it got.
    pub packets: u64,
    /// Bytes it got.
    pub bytes: u64,
    /// How long it has been there.
    pub duration: Duration,
    /// Its buckets.
    pub buckets: Vec<BucketStats>,
}

/// Statistics of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketStats {
    /// Packets it got.
    pub packets: u64,
    /// Bytes it got.
    pub bytes: u64,
}

/// What groups there can be. Arrays are by [`GroupKind`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupFeatures {
    /// Bit N: groups of [`GroupKind`] N.
    pub kinds: u32,
    /// Weight, liveness, chaining.
    pub capabilities: GroupCapabilities,
    /// Most groups of each kind.
    pub groups_max: [u32; 4],
    /// Bit N: actions of [`crate::ActionKind`] N in groups of each kind.
    pub actions: [u32; 4],
}

/// `ofp_group_capabilities`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupCapabilities {
    /// Weights of select groups count.
    pub select_weight: bool,
    /// Liveness counts in select groups.
    pub select_liveness: bool,
    /// Groups may send to groups.
    pub chaining: bool,
    /// Loops of groups are refused.
    pub chaining_checks: bool,
}
