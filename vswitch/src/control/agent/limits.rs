//! How many packet-ins one port may cause, whatever its bridge's flows say.

use std::collections::BTreeMap;

use super::super::pace::{Limit, Pace};

/// A bridge's limit, and where its ports stand.
#[derive(Debug, Default)]
pub(super) struct PortLimits {
    limit: Option<Limit>,
    ports: BTreeMap<u32, Pace>,
    dropped: u64,
}

impl PortLimits {
    /// Sets the limit.
    pub(super) fn set(&mut self, limit: Option<Limit>) {
        if self.limit != limit {
            self.limit = limit;
            self.ports.clear();
        }
    }

    /// Whether a port may have one more. It has as many places here as it has had packets in
    /// since the limit was set: ports are few.
    pub(super) fn admits(&mut self, port: u32, now_ms: u64) -> bool {
        let Some(limit) = self.limit else {
            return true;
        };
        let pace = self.ports.entry(port).or_insert_with(|| Pace::new(limit));
        let admits = pace.take(now_ms);
        self.dropped += u64::from(!admits);
        admits
    }

    /// Packet-ins that were too many.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
