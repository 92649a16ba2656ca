//! Groups (OpenFlow 1.3.5 §5.6): a bucket is an action set that a copy of the packet undergoes.

use openflow::text::group::kind_name;
use openflow::{GroupId, GroupKind, OfPort};

use super::super::{Bridge, Group, GroupBucket, Trace, limits};
use super::strand::{List, Strand};
use super::{Machine, Step};
use crate::action::{Bucket, CountedIn, DropReason, Op, Select};

impl<'a, T: Trace<'a>> Machine<'a, '_, T> {
    pub(super) fn group(&mut self, strand: &mut Strand<'a>, id: GroupId) {
        let bridge = strand.bridge;
        self.trace.complicate();
        let Some(group) = bridge.group(id) else {
            return self.refuse(DropReason::NoLiveBucket);
        };
        self.trace
            .enter(format_args!("group {id}, {}", kind_name(group.kind)));
        self.count(strand, CountedIn::Shared(&group.counters));
        match group.kind {
            GroupKind::Select => self.select(strand, group),
            GroupKind::All | GroupKind::Indirect => {
                for bucket in &group.buckets {
                    self.copy_to(strand, bucket);
                }
            }
            GroupKind::FastFailover => {
                let mut buckets = group.buckets.iter();
                match buckets.find(|bucket| self.is_live(bridge, bucket, 0)) {
                    Some(bucket) => self.copy_to(strand, bucket),
                    None => self.refuse(DropReason::NoLiveBucket),
                }
            }
        }
        self.trace.leave();
    }

    fn copy_to(&mut self, strand: &Strand<'a>, bucket: &'a GroupBucket) {
        self.trace.enter(format_args!("bucket"));
        let body = self.collect(|machine| machine.bucket(strand, bucket, strand.certain));
        self.splice(body);
        self.trace.leave();
    }

    fn bucket(&mut self, strand: &Strand<'a>, bucket: &'a GroupBucket, certain: bool) {
        if !self.step() {
            return;
        }
        let mut copy = strand.copy(Step::Actions(List::Held(&bucket.actions), 0));
        copy.certain = certain;
        copy.origin.cookie = u64::MAX;
        self.count(&copy, CountedIn::Shared(&bucket.counters));
        self.run(&mut copy);
    }

    /// Which bucket it is depends on what the key may not tell, so all are translated and the
    /// choice is left to execution.
    fn select(&mut self, strand: &Strand<'a>, group: &'a Group) {
        let bridge = strand.bridge;
        let candidates = group.buckets.iter();
        let candidates: Vec<_> = candidates
            .filter(|bucket| bucket.bucket.weight > 0)
            .map(|bucket| (bucket, self.is_live(bridge, bucket, 0)))
            .collect();
        let mut live = candidates.iter().filter(|(_, is_live)| *is_live);
        match (live.next(), live.next()) {
            (None, _) => return self.refuse(DropReason::NoLiveBucket),
            (Some((bucket, _)), None) => return self.copy_to(strand, bucket),
            _ => {}
        }
        let mut upto = 0;
        let mut buckets = Vec::with_capacity(candidates.len());
        for (bucket, is_live) in candidates {
            upto += u32::from(bucket.bucket.weight);
            let ops = is_live.then(|| self.candidate(strand, bucket));
            buckets.push(Bucket { upto, ops });
        }
        let buckets = buckets.into();
        let is_routed = self.ops.iter().any(|op| matches!(op, Op::DecNwTtl(_)));
        self.emit_with(|| Op::Select(std::sync::Arc::new(Select::new(buckets, is_routed))));
    }

    /// What packets undergo whom execution lets choose a bucket.
    fn candidate(&mut self, strand: &Strand<'a>, bucket: &'a GroupBucket) -> Box<[Op]> {
        let weight = bucket.bucket.weight;
        self.trace.enter(format_args!("bucket of weight {weight}"));
        let body = self.collect(|machine| machine.bucket(strand, bucket, false));
        self.trace.leave();
        body.into()
    }

    /// Whether a bucket can be used: what it watches is live.
    fn is_live(&mut self, bridge: &Bridge, bucket: &GroupBucket, depth: u32) -> bool {
        if !self.step() {
            return false;
        }
        let (port, group) = (bucket.bucket.watch_port, bucket.bucket.watch_group);
        if port == OfPort::ANY && group == GroupId::ANY {
            return true;
        }
        bridge.port(port).is_some_and(|port| port.is_live())
            || self.is_group_live(bridge, group, depth)
    }

    /// Whether a group has a bucket that can be used.
    fn is_group_live(&mut self, bridge: &Bridge, group: GroupId, depth: u32) -> bool {
        let Some(group) = bridge.group(group) else {
            return false;
        };
        let mut buckets = group.buckets.iter();
        depth < limits::DEPTH_MAX && buckets.any(|bucket| self.is_live(bridge, bucket, depth + 1))
    }
}
