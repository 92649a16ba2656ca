//! Connections for people to look at.

use core::sync::atomic::Ordering::Relaxed;

use super::record::{ASSURED, DNAT, DYING, Direction, REPLIED, SNAT};
use super::tracker::Tracker;
use super::verdict::{Handle, Helper};
use super::{Table, Tuple, tcp};
use crate::ip_proto;

/// A connection as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// To end it.
    pub handle: Handle,
    /// Tuple of the original direction, before translation.
    pub original: Tuple,
    /// Tuple of the reply direction, before translation.
    pub reply: Tuple,
    /// Its mark.
    pub mark: u32,
    /// Its label.
    pub label: [u64; 2],
    /// Seconds until it is over, if no packet comes.
    pub expires_s: u32,
    /// There was a reply.
    pub is_replied: bool,
    /// Both sides have confirmed it.
    pub is_assured: bool,
    /// Its source is translated.
    pub has_source_nat: bool,
    /// Its destination is translated.
    pub has_destination_nat: bool,
    /// State of TCP.
    pub tcp: Option<tcp::Phase>,
    /// Who reads its packets.
    pub helper: Option<Helper>,
}

impl Tracker {
    /// Shows connections, from `cursor` on, which is 0 at first, within a batch. Looks at so many
    /// records at most, of those that were ever used. Returns where to go on, if there are more.
    pub fn list(
        &self,
        cursor: u32,
        budget: usize,
        mut show: impl FnMut(&Connection),
    ) -> Option<u32> {
        let table = &**self.table();
        let (all, shards) = (table.records.len(), table.shards.len());
        let len = all / shards;
        let (mut at, mut budget) = (cursor as usize, budget.max(1));
        while budget > 0 && at < all {
            let shard = at / len;
            let used = shard * len + table.shards[shard].used() as usize;
            let end = used.min(at + budget);
            for number in at..end {
                if let Some(connection) = table.connection(number as u32, self.now_s()) {
                    show(&connection);
                }
            }
            budget -= end.saturating_sub(at).max(1);
            // What was never taken is passed over.
            at = if end < used { end } else { (shard + 1) * len };
        }
        (at < all).then_some(at as u32)
    }
}

impl Tracker {
    /// A connection that was told in this batch.
    pub fn show(&self, handle: Handle) -> Option<Connection> {
        let shown = self.table().connection(handle.number, self.now_s());
        shown.filter(|connection| connection.handle == handle)
    }
}

impl Table {
    /// The connection of a record, if it has one that can be found.
    fn connection(&self, number: u32, now_s: u32) -> Option<Connection> {
        let record = self.record(number);
        let handle = record.handle(number);
        let state = record.state();
        if handle.generation == 0 || state.has(DYING) {
            return None;
        }
        let original = record.original();
        let zone_generation = self.zones.generation(original.zone);
        let hash = original.hash(&self.hasher);
        let found = self.find(&original, hash, zone_generation, now_s)?;
        if found.number != number || found.direction != Direction::Original {
            return None;
        }
        Some(Connection {
            handle,
            original,
            reply: record.reply(),
            mark: record.mark.load(Relaxed),
            label: record.label.each_ref().map(|word| word.load(Relaxed)),
            expires_s: record.deadline_s.load(Relaxed).saturating_sub(now_s),
            is_replied: state.has(REPLIED),
            is_assured: state.has(ASSURED),
            has_source_nat: state.has(SNAT),
            has_destination_nat: state.has(DNAT),
            tcp: (original.proto == ip_proto::TCP).then(|| tcp::Phase::of(state.phase())),
            helper: Helper::of(state.helper()),
        })
    }
}
