//! The packet path of one worker without its thread: parse, find, translate, execute, stage.
//!
//! `worker` drives it; tests and benchmarks drive it just so, with outlets that capture.
//!
//! How: [`engine`] takes a batch through as a whole. Packets that only were tracked stay in it and
//! go on at once, looked up by the keys that they have. All others that go through again wait until
//! the batch is through, and are parsed as a batch of their own; a bounded number of times.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;

use flowtable::fragments::FRAGMENTS_MAX;
use flowtable::{CodeNo, Depth, Match, conntrack};
use openflow::{Action, OfPort};
use pmd::{BATCH_MAX, Batch, Packet, Pools};

use super::execute::{Dice, Executor, Recirculated};
use super::limits;
use super::masks::Masks;
use super::punt::{EventQueues, Events, Punter};
use super::send::{Outlet, PortSlot, Ports};
use super::statistics::{DropCounters, Drops, WorkerCounters, WorkerStatistics};
use super::track::{Held, Tracking};
use crate::action::{Account, BridgeId, Cache, DropReason, PortNo, Tallies};
use crate::pipeline::limits::RECIRCULATIONS_MAX;
use crate::pipeline::{Frozen, Ingress, Points, Programs, State};

mod engine;
mod metered;
mod misses;
mod parsed;
mod renewal;
mod tracked;

use engine::{Engine, Entry, Tallied};
use misses::Misses;
use parsed::Parsed;

/// A point in time: nanoseconds since the switch was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Nanoseconds.
    pub ns: u64,
}

impl Now {
    /// Milliseconds.
    pub fn ms(self) -> u64 {
        self.ns / 1_000_000
    }

    /// Seconds.
    pub fn seconds(self) -> u32 {
        (self.ns / 1_000_000_000) as u32
    }
}

/// A packet that a controller sends (OpenFlow 1.3.5 §7.3.7).
#[derive(Clone, Debug)]
pub struct PacketOut {
    /// By way of this bridge.
    pub bridge: BridgeId,
    /// As if it had come in by this port; [`OfPort::CONTROLLER`] or [`OfPort::ANY`] if none.
    pub in_port: OfPort,
    /// With these actions.
    pub actions: Arc<[Action]>,
    /// The packet.
    pub frame: Vec<u8>,
    /// Where it goes on instead, if its way was interrupted.
    pub resumed: Option<Resumed>,
}

/// Where a packet goes on whose way was interrupted.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// The place.
    pub frozen: Arc<Frozen>,
    /// The metadata that it has there.
    pub metadata: Box<Match>,
}

/// What is left to tell of what had been counted when a flush began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flush {
    /// Sets of what was counted for no entry.
    tallies: usize,
    cache: flowtable::Flush,
}

/// The packet path of one worker.
pub struct Processor {
    state: Arc<State>,
    masks: Masks,
    engine: Engine,
    /// Spare room, so that recirculation allocates nothing.
    again: Vec<Recirculated>,
    /// Room for what the packets of a batch are found to do.
    codes: [CodeNo; BATCH_MAX],
}

impl Processor {
    /// A processor on its own, and what it has to tell control.
    pub fn new(
        pools: &Pools,
        cache_entries: usize,
        state: Arc<State>,
    ) -> io::Result<(Processor, Events)> {
        Processor::with_secret(pools, cache_entries, secret(), state)
    }

    /// A processor on its own whose cache hashes under this secret: who does not know it cannot
    /// make packets that collide.
    pub fn with_secret(
        pools: &Pools,
        cache_entries: usize,
        secret: u64,
        state: Arc<State>,
    ) -> io::Result<(Processor, Events)> {
        let queues = Arc::new(EventQueues::new()?);
        let punter = Punter::new(Arc::clone(&queues));
        let processor = Processor::assemble(pools, cache_entries, secret, state, punter);
        Ok((processor, Events::new(queues)))
    }

    /// A processor that tells control by way of `punter`.
    pub(super) fn with_punter(
        pools: &Pools,
        cache_entries: usize,
        state: Arc<State>,
        punter: Punter,
    ) -> Processor {
        Processor::assemble(pools, cache_entries, secret(), state, punter)
    }

    fn assemble(
        pools: &Pools,
        cache_entries: usize,
        secret: u64,
        state: Arc<State>,
        punter: Punter,
    ) -> Processor {
        let mut points = Points::new();
        points.renew(state.epoch());
        let underlay = Arc::clone(state.underlay());
        Processor {
            state,
            masks: Masks::default(),
            engine: Engine {
                points,
                programs: Programs::new(),
                cache: Cache::prepared(cache_entries, secret, pmd::prefer_huge_pages),
                executor: Executor {
                    ports: Ports::default(),
                    pools: pools.clone(),
                    punter,
                    tracking: Tracking::default(),
                    tallies: Tallies::default(),
                    recirculated: Vec::with_capacity(limits::RECIRCULATED_MAX),
                    underlay,
                    segments: Vec::with_capacity(limits::SEGMENTS_MAX),
                    fragments: Vec::with_capacity(FRAGMENTS_MAX),
                    dice: Dice::default(),
                    now: Now::default(),
                    rounds: 0,
                },
                parsed: Parsed::default(),
                misses: Misses::default(),
                tally: Tallied::default(),
            },
            again: Vec::with_capacity(limits::RECIRCULATED_MAX),
            codes: [CodeNo::MISS; BATCH_MAX],
        }
    }

    /// Goes on with another state; the one before.
    pub fn set_state(&mut self, state: Arc<State>) -> Arc<State> {
        self.engine.points.renew(state.epoch());
        self.engine.executor.underlay = Arc::clone(state.underlay());
        std::mem::replace(&mut self.state, state)
    }

    /// Tracks connections in this table from now on, if it has room for one more who does.
    /// Fragments wait where others find them, too.
    pub fn track_in(&mut self, connections: &Arc<conntrack::Table>, held: &Arc<Held>) {
        let tracker = connections.tracker();
        self.engine.executor.tracking = Tracking::new(tracker, Arc::clone(held));
    }

    /// Adds a port that packets leave by in this way.
    pub fn add_outlet(&mut self, number: PortNo, outlet: Outlet) {
        let slot = PortSlot::new(outlet, Arc::default(), Default::default());
        self.ports().insert(number, slot);
    }

    /// What was captured at a port since the last call.
    pub fn captured(&mut self, number: PortNo) -> Vec<Packet> {
        match self.ports().slot(number).map(|slot| &mut slot.outlet) {
            Some(Outlet::Capture(packets)) => std::mem::take(packets),
            _ => Vec::new(),
        }
    }

    /// Drops of packets that came in by a port, or by none.
    pub fn drops(&mut self, origin: Option<PortNo>) -> Drops {
        let mut drops = Drops::default();
        let counters: Arc<DropCounters> = match origin {
            Some(number) => match self.ports().slot(number) {
                Some(slot) => Arc::clone(&slot.drops),
                None => Arc::default(),
            },
            None => self.ports().drops_of_nowhere(),
        };
        counters.add_to(&mut drops);
        drops
    }

    /// The ports, for the worker.
    pub(super) fn ports(&mut self) -> &mut Ports {
        &mut self.engine.executor.ports
    }

    /// Processes packets that came in by a port. What they lead to is staged until
    /// [`Processor::flush`].
    pub fn process(&mut self, port: PortNo, batch: &mut Batch, now: Now) {
        self.engine.executor.now = now;
        let Some((mask, depth)) = self.masks.of_port(port, &self.state) else {
            let count = batch.len() as u64;
            batch.clear();
            let ports = &mut self.engine.executor.ports;
            return ports.count_drops(Some(port), DropReason::PortDown, count);
        };
        let entry = Entry {
            state: &self.state,
            mask,
            number: port.0,
            ingress: Ingress::Port(port),
            origin: Some(port),
            carries: false,
            depth,
        };
        self.engine.pass(&entry, batch, &mut self.codes);
        if !batch.is_empty() {
            self.masks.deepen(port);
            self.go_on(Some(port), batch);
        }
        if !self.engine.executor.recirculated.is_empty() {
            self.process_again(batch);
        }
        self.engine.executor.tracking.end();
    }

    /// Runs a packet that a controller sends; what it leads to is staged likewise.
    pub fn inject(&mut self, out: PacketOut, now: Now) {
        self.engine.executor.now = now;
        let origin = self.state.bridge(out.bridge);
        let origin = origin.and_then(|bridge| Some(bridge.port(out.in_port)?.number));
        let executor = &mut self.engine.executor;
        let Some(packet) = Packet::from_bytes(&executor.pools, &out.frame) else {
            return executor.ports.count_drops(origin, DropReason::NoBuffer, 1);
        };
        let ingress = match out.resumed {
            Some(Resumed { frozen, metadata }) => Ingress::Resume { frozen, metadata },
            None => Ingress::PacketOut {
                bridge: out.bridge,
                in_port: out.in_port,
                actions: out.actions,
            },
        };
        self.engine.inject(&self.state, ingress, packet, origin);
        self.process_again(&mut Batch::new());
        self.engine.executor.tracking.end();
    }

    /// Sends what is staged, and wakes control if there is something for it.
    #[inline]
    pub fn flush(&mut self) {
        self.engine.executor.ports.flush();
        self.engine.executor.punter.flush();
    }

    /// Tells all that was counted in the cache to the counters of the rules.
    pub fn flush_counters(&mut self) {
        let mut flush = self.begin_flush();
        while self.flush_some(&mut flush, usize::MAX) {}
    }

    /// Begins to tell all that was counted so far.
    pub(super) fn begin_flush(&self) -> Flush {
        Flush {
            tallies: self.engine.executor.tallies.sets(),
            cache: self.engine.cache.begin_flush(),
        }
    }

    /// Goes on with at most `limit` entries of the cache, or sets of tallies;
    /// whether there is more to tell.
    pub(super) fn flush_some(&mut self, flush: &mut Flush, limit: usize) -> bool {
        if flush.tallies > 0 {
            let tallies = &mut self.engine.executor.tallies;
            tallies.tell(&mut flush.tallies, limit);
            return true;
        }
        let cache = &mut self.engine.cache;
        cache.flush(&mut flush.cache, limit, Account::credit)
    }

    /// Lets the cache forget what was long unused, and tells what was counted besides, a bounded
    /// part at a time. Returns whether there may be more connections to be ended.
    pub fn maintain(&mut self, now: Now) -> bool {
        let buckets = limits::MAINTAIN_BUCKETS;
        let cache = &mut self.engine.cache;
        cache.maintain(buckets, limits::CACHE_IDLE_MS, Account::credit);
        let executor = &mut self.engine.executor;
        executor.tallies.tell(&mut 1, 1);
        executor.now = now;
        executor.give_up_fragments();
        self.masks.flatten();
        self.end_connections(now)
    }

    /// Ends a few connections whose time is over; whether there may be more.
    pub fn end_connections(&mut self, now: Now) -> bool {
        let tracking = &mut self.engine.executor.tracking;
        tracking.maintain(now.ms(), limits::ENDED_PER_LOOP)
    }

    /// Entries in the flow cache.
    pub fn cache_entries(&self) -> usize {
        self.engine.cache.len()
    }

    /// What was counted since the last report, for a processor on its own.
    pub fn statistics(&mut self) -> WorkerStatistics {
        let counters = WorkerCounters::default();
        self.report(&counters);
        counters.cache_entries.set(self.cache_entries() as u64);
        counters.read(0)
    }

    /// Adds what was counted since the last call to a worker's counters.
    pub(super) fn report(&mut self, counters: &WorkerCounters) {
        let tally = std::mem::take(&mut self.engine.tally);
        counters.packets.add(tally.packets);
        counters.batches.add(tally.batches);
        counters.hits.add(tally.hits);
        counters.misses.add(tally.misses);
        counters.stale.add(tally.stale);
        counters.renewed.add(tally.renewed);
        counters.recirculated.add(tally.recirculated);
        let pressure = self.engine.cache.take_pressure();
        counters.evicted.add(pressure.evicted);
        counters.refused.add(pressure.refused);
    }

    /// Lets recirculated packets go through again, batch by batch. None does so without end, since
    /// it is counted how often it did.
    fn process_again(&mut self, batch: &mut Batch) {
        while !self.engine.executor.recirculated.is_empty() {
            std::mem::swap(&mut self.engine.executor.recirculated, &mut self.again);
            let mut again = std::mem::take(&mut self.again);
            let mut waiting = again.drain(..).peekable();
            while let Some(first) = waiting.next() {
                let (ingress, origin) = (first.ingress.clone(), first.origin);
                let rounds = first.rounds;
                let alike = |next: &Recirculated| {
                    (&next.ingress, next.origin, next.rounds) == (&ingress, origin, rounds)
                };
                self.load(first, batch);
                while !batch.is_full()
                    && let Some(next) = waiting.next_if(alike)
                {
                    self.load(next, batch);
                }
                self.engine.executor.rounds = rounds;
                self.pass_again(ingress, origin, batch);
            }
            drop(waiting);
            self.again = again;
        }
        self.engine.executor.rounds = 0;
    }

    /// Lets packets go on, as they are, at the points that their keys tell, until none does.
    fn go_on(&mut self, origin: Option<PortNo>, batch: &mut Batch) {
        let before = self.engine.executor.rounds;
        while !batch.is_empty() {
            self.go_on_once(origin, batch);
        }
        self.engine.executor.rounds = before;
    }

    /// Lets packets go on once.
    fn go_on_once(&mut self, origin: Option<PortNo>, batch: &mut Batch) {
        self.engine.executor.rounds += 1;
        let executor = &mut self.engine.executor;
        if executor.rounds > RECIRCULATIONS_MAX {
            return executor.drop_batch(DropReason::TooDeep, origin, batch);
        }
        let count = batch.len();
        let points = self.engine.parsed.keys[..count].iter().map(|key| key.entry);
        let Some((point, mask)) = self.masks.of_points(points, &self.engine.points) else {
            return self.engine.set_aside(origin, batch);
        };
        self.engine.tally.recirculated += count as u64;
        let entry = Entry {
            state: &self.state,
            mask,
            number: point,
            ingress: Ingress::Point(point),
            origin,
            carries: true,
            depth: Depth::All,
        };
        self.engine.parsed.are_right = true;
        self.engine.pass_parsed(&entry, batch, &mut self.codes);
        self.engine.parsed.are_right = false;
    }

    /// Puts a packet into a batch, and what it carries with the keys.
    fn load(&mut self, packet: Recirculated, batch: &mut Batch) {
        let (parsed, index) = (&mut self.engine.parsed, batch.len());
        packet.carried.write(&mut parsed.keys[index]);
        parsed.tracked[index] = packet.tracked;
        let _ = batch.push(packet.packet);
    }

    fn pass_again(&mut self, ingress: Ingress, origin: Option<PortNo>, batch: &mut Batch) {
        let (mask, number) = match ingress {
            Ingress::Port(port) => {
                let known = self.masks.of_port(port, &self.state);
                (known.map(|(mask, _)| mask), port.0)
            }
            Ingress::Tunnel(port) => (self.masks.of_tunnel(port, &self.state), port.0),
            Ingress::Point(point) => (self.masks.of_point(point, &self.engine.points), point),
            Ingress::PacketOut { .. } | Ingress::Resume { .. } => (None, 0),
        };
        let Some(mask) = mask else {
            let reason = match ingress {
                Ingress::Port(_) | Ingress::Tunnel(_) => DropReason::PortDown,
                Ingress::Point(_) | Ingress::PacketOut { .. } | Ingress::Resume { .. } => {
                    DropReason::TooDeep
                }
            };
            return self.engine.executor.drop_batch(reason, origin, batch);
        };
        self.engine.tally.recirculated += batch.len() as u64;
        let carries = !matches!(ingress, Ingress::Port(_));
        let entry = Entry {
            state: &self.state,
            mask,
            number,
            ingress,
            origin,
            carries,
            // What they carry differs though nobody looks at any header.
            depth: match mask.depth() {
                Depth::Nothing if carries => Depth::Link,
                depth => depth,
            },
        };
        self.engine.pass(&entry, batch, &mut self.codes);
        self.go_on(origin, batch);
    }
}

/// Drawn anew at each call.
fn secret() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
