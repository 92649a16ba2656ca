//! Making a connection: a record, its reply tuple, and both entries of the index.
//!
//! The entry of the reply comes first, since its tuple may have to be chosen; nobody can send a
//! reply before the packet has gone on. If another worker has made the same connection meanwhile,
//! the original tuple is taken, and that connection is the packet's.

use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::expectation::Expected;
use super::index::{Found, Obstacle};
use super::limits::RETRIES_MAX;
use super::lists::{Held, Shard};
use super::nat::{Nat, Trial};
use super::packet::Packet;
use super::protocol::Opening;
use super::record::{ASSURED, DNAT, DYING, Direction, EXPECTED, LABELLED, LONE, SNAT, State};
use super::tracker::{Hashes, Scene, deadline};
use super::tuple::Tuple;
use super::verdict::Refusal;

/// Why there is no new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another worker made it.
    Raced(Found),
    /// There can be none.
    Refused(Refusal),
}

/// What an expected connection has of its parent, and under what it was expected.
type Announced = Option<(Tuple, Expected)>;

impl Scene<'_> {
    /// Makes the connection of a packet. The hashes are those of its tuple and of its answers'.
    pub fn create(
        &mut self,
        packet: &Packet,
        hashes: Hashes,
        opening: &Opening,
        expected: Announced,
    ) -> Result<u32, Failure> {
        let zone = packet.tuple.zone;
        let refused = Failure::Refused;
        let zone_generation = self.table.zones.enter(zone);
        let zone_generation = zone_generation.ok_or(refused(Refusal::ZoneLimit))?;
        let announced = expected.and_then(|(_, expected)| expected.nat);
        let nat = self.request.nat.map(|nat| announced.unwrap_or(nat));
        let nat = nat.filter(Nat::is_some);
        let state = self.first_state(packet, opening, expected.is_some(), nat.as_ref());
        let allocated = self.allocate(packet, opening, state, zone_generation);
        let number = allocated.map_err(|refusal| {
            self.table.zones.leave(zone, zone_generation);
            refused(refusal)
        })?;
        self.inherit(number, expected);
        let outcome = self.publish(number, &packet.tuple, hashes, nat.as_ref());
        match outcome {
            Ok(()) => {
                self.own.tally.created += 1;
                if let Some((key, _)) = expected {
                    self.table.expectations.take(&key);
                }
                Ok(number)
            }
            Err(failure) => {
                self.table.retire(number);
                Err(failure)
            }
        }
    }

    fn first_state(
        &self,
        packet: &Packet,
        opening: &Opening,
        is_expected: bool,
        nat: Option<&Nat>,
    ) -> State {
        let zone_policy = self.table.zones.policy(packet.tuple.zone);
        let policy = self.request.policy.unwrap_or(zone_policy);
        let helper = self.request.helper.map_or(0, |helper| helper as u8);
        let mut state = opening.state.with_policy(policy).with_helper(helper);
        if is_expected {
            state = state.with(EXPECTED);
        }
        if nat.is_some_and(|nat| nat.source.is_some()) {
            state = state.with(SNAT);
        }
        if nat.is_some_and(|nat| nat.destination.is_some()) {
            state = state.with(DNAT);
        }
        if nat.is_none() && packet.tuple.reversed() == packet.tuple {
            state = state.with(LONE);
        }
        state
    }

    /// A record with all that is known but the reply, in the lists of its shard. Looks for one in
    /// shards that have many first; then half-open connections have to go, where there are most.
    fn allocate(
        &mut self,
        packet: &Packet,
        opening: &Opening,
        state: State,
        zone_generation: u32,
    ) -> Result<u32, Refusal> {
        let table = self.table;
        let count = table.shards.len();
        let mut refusal = Refusal::Full;
        for is_last_resort in [false, true] {
            let first = match is_last_resort {
                false => self.own.shard,
                true => table.longest_queue(),
            };
            for step in 0..count {
                let shard = &table.shards[(first + step) % count];
                if step > 0 && !is_last_resort && shard.is_short() {
                    continue;
                }
                let Some(mut held) = shard.hold(&table.records, &table.zones) else {
                    refusal = Refusal::Busy;
                    continue;
                };
                if !self.make_room(shard, &mut held, is_last_resort) {
                    continue;
                }
                let Some(number) = held.take() else {
                    continue;
                };
                // Atomic operations wait for what was written before: the next shall be at hand.
                if let Some(next) = held.next() {
                    (table.prefetch)(&table.record(next).lines());
                }
                self.fill(number, packet, opening, state, zone_generation);
                held.link(number, !state.has(ASSURED));
                return Ok(number);
            }
        }
        Err(refusal)
    }

    /// Whether there is room in a shard, perhaps after taking memory back, or making some go.
    fn make_room(&mut self, shard: &Shard, held: &mut Held, is_last_resort: bool) -> bool {
        if !shard.is_short() {
            return true;
        }
        held.collect(&self.table.epochs);
        if !shard.is_short() || !is_last_resort {
            return !shard.is_short();
        }
        if held.replace() {
            return true;
        }
        let victims = held.victims();
        self.table.foresee_ends(&victims, |_| true);
        let gone = victims.iter().filter(|victim| self.table.retire(**victim));
        self.own.tally.evicted += gone.count() as u64;
        held.replace()
    }

    fn fill(
        &self,
        number: u32,
        packet: &Packet,
        opening: &Opening,
        state: State,
        zone_generation: u32,
    ) {
        let record = self.table.record(number);
        // Only who has taken the record changes it.
        let generation = record.generation.load(Relaxed).wrapping_add(1);
        record.generation.store(generation, Relaxed);
        record.fill(&packet.tuple, state, zone_generation);
        record.set_reply(&packet.tuple.reversed());
        let words = record.seen.as_flattened().iter();
        for (word, value) in words.zip(opening.seen.as_flattened()) {
            word.store(*value, Relaxed);
        }
        let seconds = self.table.policies.seconds(state.policy(), opening.timeout);
        record
            .deadline_s
            .store(deadline(self.now_s, seconds), Relaxed);
    }

    /// Gives an expected connection what it has of its parent.
    fn inherit(&self, number: u32, expected: Announced) {
        let Some((_, expected)) = expected else {
            return;
        };
        let record = self.table.record(number);
        let parent = self.table.record(expected.parent);
        record.parent.store(expected.parent, Relaxed);
        let generation = &record.parent_generation;
        generation.store(expected.parent_generation, Relaxed);
        if parent.generation.load(Relaxed) != expected.parent_generation {
            return;
        }
        record.mark.store(parent.mark.load(Relaxed), Relaxed);
        for (own, parents) in record.label.iter().zip(&parent.label) {
            own.store(parents.load(Relaxed), Relaxed);
        }
        record.change(LABELLED, 0);
    }

    /// Puts both tuples of a connection into the index.
    fn publish(
        &mut self,
        number: u32,
        original: &Tuple,
        hashes: Hashes,
        nat: Option<&Nat>,
    ) -> Result<(), Failure> {
        match nat {
            None => self.insert_reply(number, original, hashes.reply)?,
            Some(nat) => self.insert_translated(number, original, nat)?,
        }
        let outcome = self.insert((original, hashes.original), number, Direction::Original);
        if State(self.table.record(number).state.load(SeqCst)).has(DYING) {
            // Its zone was flushed meanwhile, and who ended it may not have seen the entries.
            self.table.withdraw(number);
        }
        outcome.map_err(|obstacle| match obstacle {
            Obstacle::Taken(found) => Failure::Raced(found),
            other => Failure::Refused(refusal(other)),
        })
    }

    fn insert_reply(&self, number: u32, original: &Tuple, hash: u64) -> Result<(), Failure> {
        let reply = original.reversed();
        if reply == *original {
            return Ok(());
        }
        let outcome = self.insert((&reply, hash), number, Direction::Reply);
        outcome.map_err(|obstacle| match obstacle {
            // The same connection, made by another worker, has this reply, too.
            Obstacle::Taken(found) if self.has_original(found, original) => Failure::Raced(Found {
                number: found.number,
                direction: Direction::Original,
            }),
            other => Failure::Refused(refusal(other)),
        })
    }

    fn insert_translated(
        &mut self,
        number: u32,
        original: &Tuple,
        nat: &Nat,
    ) -> Result<(), Failure> {
        let mut random = crate::hash::Stream(self.own.random.next());
        let found = nat.search(original, self.table.secret, &mut random, |to| {
            let reply = to.reversed();
            if reply == *original {
                return Trial::Taken;
            }
            self.table.record(number).set_reply(&reply);
            let hash = reply.hash(&self.table.hasher);
            match self.insert((&reply, hash), number, Direction::Reply) {
                Ok(()) => Trial::Free,
                Err(Obstacle::Taken(_)) => Trial::Taken,
                Err(other) => Trial::Stop(Failure::Refused(refusal(other))),
            }
        })?;
        match found {
            true => Ok(()),
            false => Err(Failure::Refused(Refusal::NoTuple)),
        }
    }

    fn has_original(&self, found: Found, original: &Tuple) -> bool {
        let record = self.table.record(found.number);
        found.direction == Direction::Reply && record.is(Direction::Original, original)
    }

    /// Inserts an entry; what is in its way but over is ended first.
    fn insert(
        &self,
        (tuple, hash): (&Tuple, u64),
        number: u32,
        direction: Direction,
    ) -> Result<(), Obstacle> {
        let table = self.table;
        let entry = Found { number, direction };
        let mut outcome = Err(Obstacle::Busy);
        for _ in 0..RETRIES_MAX {
            let is_same = |found: Found| {
                let record = table.record(found.number);
                found.number != number && record.is(found.direction, tuple)
            };
            outcome = table.index.insert(hash, entry, is_same);
            match outcome {
                Err(Obstacle::Taken(found)) if self.is_over(found.number) => {
                    table.retire(found.number);
                }
                _ => break,
            }
        }
        outcome
    }

    fn is_over(&self, number: u32) -> bool {
        self.table.is_over(self.table.record(number), self.now_s)
    }
}

fn refusal(obstacle: Obstacle) -> Refusal {
    match obstacle {
        Obstacle::Taken(_) => Refusal::NoTuple,
        Obstacle::Full => Refusal::Full,
        Obstacle::Busy => Refusal::Busy,
    }
}
