//! Group modification (OpenFlow 1.3.5 §5.6, §7.3.4.2).

use std::sync::Arc;

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
pub enum GroupKind {
    /// Every bucket gets a copy.
    All,
    /// One bucket by hash and weight.
    Select,
    /// The one bucket there is.
    Indirect,
    /// The first live bucket.
    FastFailover,
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
