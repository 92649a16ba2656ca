//! What is kept of each zone: how many connections, how many at most, which timeouts, and how often
//! it was flushed.
//!
//! Flushing a zone is one store: a connection knows how often its zone had been flushed when it
//! came, and is gone for everybody if that is another number now. Its record is taken back later,
//! when the zone's connections are counted from 0 already. Called by [`super::Table`].

use core::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use zerocopy::FromZeros;

/// All zones.
#[derive(Debug)]
pub(super) struct Zones {
    zones: Box<[Zone]>,
    /// Limit of zones without one of their own, one more than it, 0 for none.
    default_limit: AtomicU64,
    /// How many times any zone was flushed.
    flushes: AtomicU64,
}

#[derive(Debug, FromZeros)]
#[repr(C)]
pub(super) struct Zone {
    /// Generation in the upper half, connections of it in the lower.
    census: AtomicU64,
    /// [`DEFAULT`], or [`NONE`], or [`FIRST`] more than the limit.
    limit: AtomicU32,
    policy: AtomicU8,
    reserved: [AtomicU8; 3],
    /// Connections of it that may be half-open.
    queued: AtomicU32,
    spare: AtomicU32,
}

impl Zones {
    pub fn new() -> Option<Zones> {
        Some(Zones {
            zones: <[Zone]>::new_box_zeroed_with_elems(ZONES).ok()?,
            default_limit: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
        })
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.zones)
    }

    #[inline(always)]
    pub fn generation(&self, zone: u16) -> u32 {
        (self.zone(zone).census.load(Acquire) >> 32) as u32
    }

    pub fn count(&self, zone: u16) -> u32 {
        self.zone(zone).census.load(Relaxed) as u32
    }

    /// Counts a connection that comes, and returns the zone's generation; nothing if there are as
    /// many as may be.
    pub fn enter(&self, zone: u16) -> Option<u32> {
        let limit = self.limit(zone).unwrap_or(u32::MAX);
        let enter = |census: u64| ((census as u32) < limit).then_some(census + 1);
        let census = self.zone(zone).census.fetch_update(AcqRel, Acquire, enter);
        census.ok().map(|census| (census >> 32) as u32)
    }

    /// Counts a connection of this generation that goes.
    pub fn leave(&self, zone: u16, generation: u32) {
        let leave = |census: u64| {
            let is_counted = (census >> 32) as u32 == generation && census as u32 > 0;
            is_counted.then(|| census - 1)
        };
        let _ = self.zone(zone).census.fetch_update(AcqRel, Acquire, leave);
    }

    /// Ends all connections of a zone; returns how many.
    pub fn flush(&self, zone: u16) -> u32 {
        let next = |census: u64| Some(((census >> 32) as u32).wrapping_add(1));
        let flush = |census: u64| next(census).map(|generation| u64::from(generation) << 32);
        let census = self.zone(zone).census.fetch_update(AcqRel, Acquire, flush);
        self.flushes.fetch_add(1, AcqRel);
        census.map_or(0, |census| census as u32)
    }

    pub fn flushes(&self) -> u64 {
        self.flushes.load(Acquire)
    }

    /// How many connections a zone may have, if that is bounded.
    pub fn limit(&self, zone: u16) -> Option<u32> {
        match self.zone(zone).limit.load(Relaxed) {
            DEFAULT => self.default_limit(),
            NONE => None,
            limit => Some(limit - FIRST),
        }
    }

    /// `None` takes back what was said of the zone, `Some(None)` lifts the limit.
    pub fn set_limit(&self, zone: u16, limit: Option<Option<u32>>) {
        let limit = match limit {
            None => DEFAULT,
            Some(None) => NONE,
            Some(Some(limit)) => limit.saturating_add(FIRST),
        };
        self.zone(zone).limit.store(limit, Relaxed);
    }

    pub fn default_limit(&self) -> Option<u32> {
        let limit = self.default_limit.load(Relaxed).checked_sub(1)?;
        Some(limit.try_into().unwrap_or(u32::MAX))
    }

    pub fn set_default_limit(&self, limit: Option<u32>) {
        let limit = limit.map_or(0, |limit| u64::from(limit) + 1);
        self.default_limit.store(limit, Relaxed);
    }

    /// How many connections of a zone may be half-open.
    pub fn queued(&self, zone: u16) -> u32 {
        self.zone(zone).queued.load(Relaxed)
    }

    /// One more of them.
    pub fn enqueue(&self, zone: u16) {
        self.zone(zone).queued.fetch_add(1, Relaxed);
    }

    /// One less.
    pub fn dequeue(&self, zone: u16) {
        self.zone(zone).queued.fetch_sub(1, Relaxed);
    }

    pub fn policy(&self, zone: u16) -> u8 {
        self.zone(zone).policy.load(Relaxed)
    }

    pub fn set_policy(&self, zone: u16, policy: u8) {
        self.zone(zone).policy.store(policy, Relaxed);
    }

    #[inline(always)]
    fn zone(&self, zone: u16) -> &Zone {
        &self.zones[usize::from(zone)]
    }
}

/// As many as 16 bits tell apart.
const ZONES: usize = 1 << 16;
/// The zone has the default limit.
const DEFAULT: u32 = 0;
/// The zone has no limit, whatever the default is.
const NONE: u32 = 1;
/// A limit of 0.
const FIRST: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_default_where_nothing_else_is_said() {
        let zones = Zones::new().unwrap();
        zones.set_default_limit(Some(1));
        zones.set_limit(2, Some(Some(2)));
        zones.set_limit(3, Some(None));
        zones.set_limit(4, Some(Some(0)));
        let admitted = |zone| (0..5).filter(|_| zones.enter(zone).is_some()).count();
        assert_eq!([1, 2, 3, 4].map(admitted), [1, 2, 5, 0]);
        zones.leave(2, 0);
        assert_eq!((zones.count(2), zones.enter(2)), (1, Some(0)));
        zones.set_limit(2, None);
        assert_eq!(zones.limit(2), Some(1));
        zones.set_default_limit(None);
        assert_eq!(zones.limit(2), None);
    }

    #[test]
    fn flushed_connections_are_not_counted_twice() {
        let zones = Zones::new().unwrap();
        let before = zones.enter(9).unwrap();
        zones.flush(9);
        assert_eq!((zones.count(9), zones.flushes()), (0, 1));
        let after = zones.enter(9).unwrap();
        assert_ne!(before, after);
        zones.leave(9, before);
        assert_eq!(zones.count(9), 1);
        zones.leave(9, after);
        zones.leave(9, after);
        assert_eq!((zones.count(9), zones.generation(9)), (0, after));
    }
}
