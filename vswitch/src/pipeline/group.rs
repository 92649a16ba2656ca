//! A group as published (OpenFlow 1.3.5 §5.6).

use std::sync::Arc;

use openflow::{Bucket, GroupId, GroupKind};

use crate::action::Counters;

/// A group.
#[derive(Debug)]
pub struct Group {
    /// Which.
    pub id: GroupId,
    /// How the buckets are used.
    pub kind: GroupKind,
    /// The buckets.
    pub buckets: Box<[GroupBucket]>,
    /// When it was added.
    pub created_ms: u64,
    /// Packets and bytes it got.
    pub counters: Arc<Counters>,
}

/// A bucket with its counters.
#[derive(Debug)]
pub struct GroupBucket {
    /// Weight, what it watches, its action set.
    pub bucket: Bucket,
    /// Packets and bytes it got.
    pub counters: Arc<Counters>,
}
