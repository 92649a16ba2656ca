//! The packet path of one worker without its thread: parse, find, translate, execute, stage.
//!
//! `worker` drives it; tests and benchmarks drive it just so, with outlets that capture.
//!
//! How: a batch is parsed as a whole and looked up as a whole, so that the loads of its packets
//! overlap; then packets are taken in order, runs of the same operations together, of whatever
//! flows. A packet without an entry in the cache is looked up once more (a packet before it may
//! have brought it) and then translated, on the spot. Packets to be parsed again wait until the
//! batch is through and go the same way as a batch of their own, a bounded number of times.
//!
//! Packets are parsed as deep as their entry point's mask has bits. Behind a port whose rules look
//! at no header they are not parsed at all, and a batch is looked up as one packet. The rest is
//! parsed where it turns out to be needed: on a miss, for an entry of an older epoch, and for
//! operations that ask.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;

use flowtable::{CodeNo, Depth, EntryMask, FlowKey, Lookup, Packets, parse, parse_link};
use openflow::{Action, OfPort};
use pmd::{BATCH_MAX, Batch, Packet, Pools};

use super::edit::Parcel;
use super::execute::{Executor, Recirculated};
use super::limits;
use super::masks::Masks;
use super::punt::{EventQueues, Events, Punter};
use super::rewrite::Headers;
use super::send::{Outlet, PortSlot, Ports};
use super::statistics::{DropCounters, Drops, WorkerCounters, WorkerStatistics};
use crate::action::{Account, BridgeId, Cache, DropReason, Op, PortNo, Routine};
use crate::pipeline::limits::RECIRCULATIONS_MAX;
use crate::pipeline::{Context, Ingress, NoTrace, Points, Programs, State, translate};

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
}

/// The packet path of one worker.
pub struct Processor {
    state: Arc<State>,
    masks: Masks,
    engine: Engine,
    /// Spare room, so that recirculation allocates nothing.
    again: Vec<Recirculated>,
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
                    recirculated: Vec::with_capacity(limits::RECIRCULATED_MAX),
                    now: Now::default(),
                },
                keys: Box::new([FlowKey::default(); BATCH_MAX]),
                headers: [Headers::default(); BATCH_MAX],
                bytes: [0; BATCH_MAX],
                tally: Tallied::default(),
            },
            again: Vec::with_capacity(limits::RECIRCULATED_MAX),
        }
    }

    /// Goes on with another state; the one before.
    pub fn set_state(&mut self, state: Arc<State>) -> Arc<State> {
        self.engine.points.renew(state.epoch());
        std::mem::replace(&mut self.state, state)
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
        let Some(mask) = self.masks.of_port(port, &self.state) else {
            let count = batch.len() as u64;
            batch.clear();
            let ports = &mut self.engine.executor.ports;
            return ports.count_drops(Some(port), DropReason::PortDown, count);
        };
        let entry = Entry {
            number: port.0,
            ingress: Ingress::Port(port),
            origin: Some(port),
        };
        self.engine.pass(&self.state, mask, &entry, batch);
        if !self.engine.executor.recirculated.is_empty() {
            self.process_again(batch);
        }
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
        let ingress = Ingress::PacketOut {
            bridge: out.bridge,
            in_port: out.in_port,
            actions: out.actions,
        };
        self.engine.inject(&self.state, ingress, packet, origin);
        self.process_again(&mut Batch::new());
    }

    /// Sends what is staged, and wakes control if there is something for it.
    #[inline]
    pub fn flush(&mut self) {
        self.engine.executor.ports.flush();
        self.engine.executor.punter.flush();
    }

    /// Tells the counts of at most `limit` cache entries to the counters of their rules.
    pub fn flush_counters(&mut self, limit: usize) {
        self.engine.cache.flush(limit, Account::credit);
    }

    /// Cache entries with counts that are not told yet.
    pub fn untold(&self) -> usize {
        self.engine.cache.untold()
    }

    /// Lets the cache forget what was long unused, a bounded part of it at a time.
    pub fn maintain(&mut self) {
        let buckets = limits::MAINTAIN_BUCKETS;
        let cache = &mut self.engine.cache;
        cache.maintain(buckets, limits::CACHE_IDLE_MS, Account::credit);
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
    }

    /// Lets recirculated packets go through again, batch by batch.
    fn process_again(&mut self, batch: &mut Batch) {
        for _ in 0..RECIRCULATIONS_MAX {
            let recirculated = &mut self.engine.executor.recirculated;
            if recirculated.is_empty() {
                return;
            }
            std::mem::swap(recirculated, &mut self.again);
            let mut again = std::mem::take(&mut self.again);
            self.engine.tally.recirculated += again.len() as u64;
            let mut waiting = again.drain(..).peekable();
            while let Some(first) = waiting.next() {
                let (point, origin) = (first.point, first.origin);
                let _ = batch.push(first.packet);
                let alike = |next: &Recirculated| (next.point, next.origin) == (point, origin);
                while !batch.is_full()
                    && let Some(next) = waiting.next_if(alike)
                {
                    let _ = batch.push(next.packet);
                }
                self.pass_point(point, origin, batch);
            }
            drop(waiting);
            self.again = again;
        }
        let executor = &mut self.engine.executor;
        for packet in executor.recirculated.drain(..) {
            let ports = &mut executor.ports;
            ports.count_drops(packet.origin, DropReason::TooDeep, 1);
        }
    }

    fn pass_point(&mut self, point: u32, origin: Option<PortNo>, batch: &mut Batch) {
        let Some(mask) = Masks::of_point(point, &self.engine.points) else {
            let count = batch.len() as u64;
            batch.clear();
            let ports = &mut self.engine.executor.ports;
            return ports.count_drops(origin, DropReason::TooDeep, count);
        };
        let entry = Entry {
            number: point,
            ingress: Ingress::Point(point),
            origin,
        };
        self.engine.pass(&self.state, &mask, &entry, batch);
    }
}

/// Where a batch enters the pipeline.
struct Entry {
    number: u32,
    ingress: Ingress,
    origin: Option<PortNo>,
}

/// Drawn anew at each call.
fn secret() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Counted since the last report.
#[derive(Debug, Default)]
struct Tallied {
    packets: u64,
    batches: u64,
    hits: u64,
    misses: u64,
    stale: u64,
    renewed: u64,
    recirculated: u64,
}

/// All of the processor but the state and its masks, which it reads meanwhile.
struct Engine {
    points: Points,
    programs: Programs,
    cache: Cache,
    executor: Executor,
    keys: Box<[FlowKey; BATCH_MAX]>,
    headers: [Headers; BATCH_MAX],
    bytes: [u32; BATCH_MAX],
    tally: Tallied,
}

impl Engine {
    /// Lets a batch through, from one entry point to what its programs do.
    fn pass(&mut self, state: &State, mask: &EntryMask, entry: &Entry, batch: &mut Batch) {
        let count = batch.len();
        self.tally.packets += count as u64;
        self.tally.batches += 1;
        self.cache.begin_batch(self.executor.now.ms());
        let mut codes = [CodeNo::MISS; BATCH_MAX];
        let codes = &mut codes[..count];
        if self.find(state, mask, entry, batch, codes) {
            self.renew(state, mask, entry, batch, codes);
        }
        if self.output_all(entry.origin, codes, batch) {
            return;
        }
        let mut packets = batch.drain();
        let mut index = 0;
        while index < count {
            let code = codes[index];
            if !code.is_known() {
                if let Some(packet) = packets.next() {
                    self.miss(state, mask, entry, index, packet);
                }
                index += 1;
                continue;
            }
            let alike = codes[index..].iter();
            let run = alike.take_while(|other| **other == code).count();
            let ours = packets.by_ref().take(run);
            self.run(code, mask.depth(), entry, index, ours);
            index += run;
        }
    }

    /// Parses a batch as deep as the mask asks, looks it up and counts what is found. Returns
    /// whether an entry was of an older epoch.
    fn find(
        &mut self,
        state: &State,
        mask: &EntryMask,
        entry: &Entry,
        batch: &Batch,
        codes: &mut [CodeNo],
    ) -> bool {
        match mask.depth() {
            Depth::Nothing => return self.find_one(state, mask, entry, batch, codes),
            Depth::Link => self.parse_links(entry.number, batch),
            Depth::All => self.parse_all(entry.number, batch),
        }
        let packets = Packets {
            keys: &self.keys[..codes.len()],
            bytes: &self.bytes,
            codes,
        };
        self.cache
            .count_batch(mask, packets, state.epoch(), Account::credit)
    }

    /// Looks up a batch of packets that are all alike under the mask.
    fn find_one(
        &mut self,
        state: &State,
        mask: &EntryMask,
        entry: &Entry,
        batch: &Batch,
        codes: &mut [CodeNo],
    ) -> bool {
        self.keys[0].entry = entry.number;
        for (bytes, packet) in self.bytes.iter_mut().zip(batch) {
            *bytes = packet.len() as u32;
        }
        let found = self.cache.find(mask, &self.keys[0], state.epoch());
        codes.fill(match found {
            Lookup::Miss => CodeNo::MISS,
            Lookup::Stale(_) => CodeNo::STALE,
            Lookup::Hit(slot) => {
                let bytes = self.bytes[..batch.len()].iter().map(|it| u64::from(*it));
                let count = batch.len() as u32;
                self.cache.count(slot, count, bytes.sum(), Account::credit)
            }
        });
        matches!(found, Lookup::Stale(_))
    }

    /// Makes hits of entries of an older epoch that no change since then concerns.
    fn renew(
        &mut self,
        state: &State,
        mask: &EntryMask,
        entry: &Entry,
        batch: &Batch,
        codes: &mut [CodeNo],
    ) {
        for (index, (code, packet)) in codes.iter_mut().zip(batch).enumerate() {
            if *code != CodeNo::STALE {
                continue;
            }
            if mask.depth() < Depth::All {
                self.parse(entry, index, packet);
            }
            let key = &self.keys[index];
            let slot = match self.cache.find(mask, key, state.epoch()) {
                Lookup::Miss => continue,
                Lookup::Hit(slot) => slot,
                Lookup::Stale(slot) => {
                    let scopes = self.cache.account(slot).and_then(|it| it.0.scopes);
                    let since = self.cache.epoch(slot);
                    let Some((scopes, since)) = scopes.zip(since) else {
                        continue;
                    };
                    if state.changes().concerns(key, scopes, since) {
                        continue;
                    }
                    self.cache.renew(slot, state.epoch());
                    self.tally.renewed += 1;
                    slot
                }
            };
            let bytes = self.bytes[index].into();
            *code = self.cache.count(slot, 1, bytes, Account::credit);
        }
    }

    /// Parses the Ethernet headers of a batch.
    #[inline(never)]
    fn parse_links(&mut self, entry: u32, batch: &Batch) {
        batch.iter().for_each(Packet::prefetch);
        let slots = self.keys.iter_mut().zip(&mut self.bytes);
        for (packet, (key, bytes)) in batch.iter().zip(slots) {
            let data = packet.data();
            parse_link(data, key);
            key.entry = entry;
            *bytes = data.len() as u32;
        }
    }

    /// Parses a batch whole.
    fn parse_all(&mut self, entry: u32, batch: &Batch) {
        batch.iter().for_each(Packet::prefetch);
        let slots = self.keys.iter_mut().zip(&mut self.bytes);
        for ((packet, headers), (key, bytes)) in batch.iter().zip(&mut self.headers).zip(slots) {
            let data = packet.data();
            parse_whole(data, entry, key, headers);
            *bytes = data.len() as u32;
        }
    }

    /// Parses a packet whole.
    fn parse(&mut self, entry: &Entry, index: usize, packet: &Packet) {
        let (key, headers) = (&mut self.keys[index], &mut self.headers[index]);
        parse_whole(packet.data(), entry.number, key, headers);
    }

    /// Sends a batch as a whole if all that is to be done with each packet is to send it by one
    /// port.
    fn output_all(&mut self, origin: Option<PortNo>, codes: &[CodeNo], batch: &mut Batch) -> bool {
        let Some(first) = codes.first().filter(|code| code.is_known()) else {
            return false;
        };
        // Without a way out, so that several are compared at once.
        if !codes.iter().fold(true, |same, code| same & (code == first)) {
            return false;
        }
        let program = self.cache.code(*first).map(|Routine(program)| program);
        let Some([Op::Output(port)]) = program.map(|program| &*program.ops) else {
            return false;
        };
        self.tally.hits += codes.len() as u64;
        self.executor.output_batch(*port, origin, batch);
        true
    }

    /// Runs a program on packets that follow one another in the batch.
    fn run(
        &mut self,
        code: CodeNo,
        depth: Depth,
        entry: &Entry,
        first: usize,
        packets: impl ExactSizeIterator<Item = Packet>,
    ) {
        let Some(Routine(program)) = self.cache.code(code) else {
            return;
        };
        self.tally.hits += packets.len() as u64;
        if let [Op::Output(port)] = *program.ops {
            return self.executor.output_run(port, entry.origin, packets);
        }
        let parse_more = depth < Depth::All && program.ops.iter().any(Op::parses);
        let parsed = depth == Depth::All || parse_more;
        for (index, packet) in (first..).zip(packets) {
            if parse_more {
                let (key, headers) = (&mut self.keys[index], &mut self.headers[index]);
                parse_whole(packet.data(), entry.number, key, headers);
            }
            let parcel = Parcel {
                packet,
                key: &self.keys[index],
                headers: parsed.then_some(self.headers[index]),
                origin: entry.origin,
            };
            self.executor.run_program(program, parcel);
        }
    }

    /// A packet that the batch lookup found no valid entry for.
    fn miss(
        &mut self,
        state: &State,
        mask: &EntryMask,
        entry: &Entry,
        index: usize,
        packet: Packet,
    ) {
        if mask.depth() < Depth::All {
            self.parse(entry, index, &packet);
        }
        let found = self.cache.find(mask, &self.keys[index], state.epoch());
        if let Lookup::Hit(slot) = found {
            let bytes = packet.len() as u64;
            let code = self.cache.count(slot, 1, bytes, Account::credit);
            let packets = std::iter::once(packet);
            return self.run(code, mask.depth(), entry, index, packets);
        }
        self.tally.stale += u64::from(matches!(found, Lookup::Stale(_)));
        self.tally.misses += 1;
        let (points, cache) = (&mut self.points, &mut self.cache);
        let (mut context, key) = (Context { state, points }, &self.keys[index]);
        let pair = self
            .programs
            .decide(&mut context, &entry.ingress, key, cache);
        cache.count_apart(pair, packet.len() as u64);
        // Without room the next such packet is translated again.
        let _ = cache.insert(mask, key, pair, state.epoch(), Account::credit);
        if let Some(Routine(program)) = self.cache.code(pair.code()) {
            let parcel = Parcel {
                packet,
                key,
                headers: Some(self.headers[index]),
                origin: entry.origin,
            };
            self.executor.run_program(program, parcel);
        }
    }

    /// Translates and runs one packet that is like no other.
    fn inject(&mut self, state: &State, ingress: Ingress, packet: Packet, origin: Option<PortNo>) {
        let (key, headers) = (&mut self.keys[0], &mut self.headers[0]);
        let entry = origin.map_or(0, |number| number.0);
        parse_whole(packet.data(), entry, key, headers);
        let points = &mut self.points;
        let mut context = Context { state, points };
        let program = translate(&mut context, ingress, key, &mut NoTrace);
        let counts = flowtable::Counts {
            packets: 1,
            bytes: packet.len() as u64,
            used_ms: self.executor.now.ms(),
        };
        let parcel = Parcel {
            packet,
            key,
            headers: Some(*headers),
            origin,
        };
        self.executor.run_program(&program, parcel);
        Account(Arc::new(program)).credit(counts);
    }
}

/// Parses a packet that came in by an entry point, to the end of what can be trusted.
#[inline(always)]
fn parse_whole(frame: &[u8], entry: u32, key: &mut FlowKey, headers: &mut Headers) {
    key.entry = entry;
    *headers = Headers::new(parse(frame, key), key);
}

#[cfg(test)]
mod tests;
