//! A group as published (OpenFlow 1.3.5 §5.6).

use std::sync::Arc;

use openflow::{Action, Bucket, GroupId, GroupKind, GroupMod};

use super::action_set::ActionSet;
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

impl Group {
    /// A group as it is set up; one that takes the place of `old` goes on with its counters, but
    /// not with those of its buckets (OpenFlow 1.3.5 §6.5).
    pub(super) fn new(setup: &GroupMod, old: Option<&Group>, now_ms: u64) -> Group {
        let buckets = setup.buckets.iter().map(|bucket| {
            let mut set = ActionSet::default();
            set.write(&bucket.actions);
            GroupBucket {
                bucket: bucket.clone(),
                actions: set.ordered(),
                counters: Arc::default(),
            }
        });
        Group {
            id: setup.group,
            kind: setup.kind,
            buckets: buckets.collect(),
            created_ms: old.map_or(now_ms, |old| old.created_ms),
            counters: old.map(|old| old.counters.clone()).unwrap_or_default(),
        }
    }

    /// Groups that its buckets watch.
    pub(super) fn watched(&self) -> impl Iterator<Item = GroupId> {
        let watched = self.buckets.iter().map(|bucket| bucket.bucket.watch_group);
        watched.filter(|group| *group != GroupId::ANY)
    }

    /// Groups that its buckets send to.
    pub(super) fn next(&self) -> impl Iterator<Item = GroupId> {
        let buckets = self.buckets.iter();
        let actions = buckets.flat_map(|bucket| Action::all(&bucket.actions));
        actions.filter_map(|action| match action {
            Action::Group(group) => Some(*group),
            _ => None,
        })
    }
}

/// A bucket with its counters.
#[derive(Debug)]
pub struct GroupBucket {
    /// Weight, what it watches, its actions as they were given.
    pub bucket: Bucket,
    /// Its actions in the order of an action set.
    pub actions: Arc<[Action]>,
    /// Packets and bytes it got.
    pub counters: Arc<Counters>,
}
