//! A batch's way from one entry point to what its programs do. Called by `processor`.
//!
//! How: a batch is parsed as a whole and looked up as a whole, so that the loads of its packets
//! overlap. Then those whose program is a straight line are changed where they are, one after
//! another; and if all that are left leave by one port they leave as one burst. Otherwise packets
//! are taken in order: staged, or run through a program of any other kind. Meters decide about all
//! packets of a batch together that meet them first ([`super::metered`]). What is to be done with
//! packets that have no entry in the cache is decided before all that ([`super::misses`]).

use std::ops::ControlFlow::Break;
use std::sync::Arc;

use flowtable::{CodeNo, Depth, EntryMask, FlowKey, Lookup, Packets};
use pmd::{BATCH_MAX, Batch, Packet};

use super::super::edit::Parcel;
use super::super::execute::{Executor, is_super_frame};
use super::super::rewrite::{Fate, Headers};
use super::super::straight::{self, Way};
use super::metered::{Decided, keep, quick};
use super::misses::Misses;
use super::parsed::{Kept, Parsed};
use crate::action::{Account, Cache, DropReason, Op, PortNo, Program, Routine, Straight};
use crate::pipeline::{Context, Ingress, NoTrace, Places, Points, Programs, State, translate};

/// Where a batch enters the pipeline.
#[derive(Clone)]
pub struct Entry<'a> {
    /// What decides there.
    pub state: &'a State,
    /// What may matter of packets there.
    pub mask: &'a EntryMask,
    /// Number of the port or point; of several points with the same mask, at which packets go on as
    /// they are, one: their keys tell which is theirs.
    pub number: u32,
    /// The same for the pipeline.
    pub ingress: Ingress,
    /// The port that packets came in by; none if a controller sent them.
    pub origin: Option<PortNo>,
    /// Whether the keys say what packets carry of their own; else they carry nothing.
    pub carries: bool,
    /// How deep packets are parsed.
    pub depth: Depth,
}

impl Entry<'_> {
    /// Where a packet with this key enters.
    pub fn ingress_of(&self, key: &FlowKey) -> Ingress {
        match self.ingress {
            Ingress::Point(_) => Ingress::Point(key.entry),
            _ => self.ingress.clone(),
        }
    }
}

/// Counted since the last report.
#[derive(Debug, Default)]
pub struct Tallied {
    /// Packets that came in or went through again.
    pub packets: u64,
    /// Batches of them.
    pub batches: u64,
    /// Packets that the cache knew.
    pub hits: u64,
    /// Packets that were translated.
    pub misses: u64,
    /// Of them, those with an entry that was not good any more.
    pub stale: u64,
    /// Entries that were still good at a new epoch.
    pub renewed: u64,
    /// Packets that went through again.
    pub recirculated: u64,
}

/// All of the processor but the state and its masks, which it reads meanwhile.
pub struct Engine {
    /// Recirculation points.
    pub points: Points,
    /// Programs made already.
    pub programs: Programs,
    /// The flow cache.
    pub cache: Cache,
    /// What runs programs.
    pub executor: Executor,
    /// The packets of the batch.
    pub parsed: Parsed,
    /// Those of them that the cache did not know.
    pub misses: Misses,
    /// What was counted.
    pub tally: Tallied,
}

/// What is still to be done with a packet: the number of the port that it is to be sent by, or one
/// that no port has. So many of them are compared at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest(u32);

impl Rest {
    /// To be run.
    const ALL: Rest = Rest(u32::MAX);
    /// To be freed.
    const NOTHING: Rest = Rest(u32::MAX - 1);

    /// The port that it is to be sent by, if that is all.
    #[inline(always)]
    fn port(self) -> Option<PortNo> {
        (self != Rest::ALL && self != Rest::NOTHING).then_some(PortNo(self.0))
    }

    /// The port that all are to be sent by that are not to be freed, if it is one, and whether some
    /// are to be freed.
    #[inline(always)]
    fn of_all(rests: &[Rest]) -> Option<(PortNo, bool)> {
        let first = rests.iter().find(|rest| **rest != Rest::NOTHING)?;
        // Without a way out, so that several are compared at once.
        let (mut are_alike, mut are_freed) = (true, false);
        for rest in rests {
            let is_freed = *rest == Rest::NOTHING;
            are_alike &= (rest == first) | is_freed;
            are_freed |= is_freed;
        }
        Some((first.port().filter(|_| are_alike)?, are_freed))
    }
}

impl Engine {
    /// Lets a batch through; `codes` is room for what its packets are found to do. Packets are left
    /// in it that go on as they are: where their keys say.
    pub fn pass(&mut self, entry: &Entry, batch: &mut Batch, codes: &mut [CodeNo; BATCH_MAX]) {
        self.parsed.parse_all(entry.depth, entry.number, batch);
        self.pass_parsed(entry, batch, codes);
    }

    /// The same with packets that were parsed already.
    #[inline(always)]
    pub fn pass_parsed(
        &mut self,
        entry: &Entry,
        batch: &mut Batch,
        codes: &mut [CodeNo; BATCH_MAX],
    ) {
        let count = batch.len();
        self.tally.packets += count as u64;
        self.tally.batches += 1;
        self.cache.begin_batch(self.executor.now.ms());
        let codes = &mut codes[..count];
        if self.find(entry, codes) {
            self.renew(entry, batch, codes);
        }
        if self.finish_all(entry, codes, batch) {
            self.tally.hits += count as u64;
            return;
        }
        self.decide_misses(entry, batch, codes);
        self.run_all(entry, codes, batch);
        self.let_misses_go();
    }

    /// Runs the programs of a batch. Packets that are tracked first are left, and tracked together.
    fn run_all(&mut self, entry: &Entry, codes: &mut [CodeNo], batch: &mut Batch) {
        let mut rests = [Rest::ALL; BATCH_MAX];
        let rests = &mut rests[..codes.len()];
        if let Some(port) = self.change_all(entry, codes, batch, rests) {
            return self.executor.output_batch(port, entry.origin, batch);
        }
        let todo = rests.iter().zip(&*codes).enumerate();
        let (mut left, mut places) = (Batch::new(), Kept::default());
        for ((index, (rest, code)), packet) in todo.zip(batch.drain()) {
            match rest.port() {
                Some(port) => self.executor.output(port, packet, entry.origin),
                None if *rest == Rest::NOTHING => drop(packet),
                None if self.tracks(*code) => places.keep(index, packet, &mut left),
                None => self.run_any(*code, entry, index, packet),
            }
        }
        if !left.is_empty() {
            batch.append(&mut left);
            self.track_left(entry, codes, batch, &places);
        }
    }

    /// Tracks the packets of a batch that were kept of a larger one.
    fn track_left(
        &mut self,
        entry: &Entry,
        codes: &mut [CodeNo],
        batch: &mut Batch,
        places: &Kept,
    ) {
        self.parsed.close_up(places);
        places.close_up(codes);
        let count = batch.len();
        self.track_all(entry, &mut codes[..count], batch);
    }

    /// Looks up a batch and counts what is found. Returns whether an entry was of an older epoch.
    #[inline(always)]
    fn find(&mut self, entry: &Entry, codes: &mut [CodeNo]) -> bool {
        if entry.mask.is_coarse() && self.are_alike(entry, codes.len()) {
            return self.find_one(entry, codes);
        }
        let packets = Packets {
            keys: &self.parsed.keys[..codes.len()],
            bytes: &self.parsed.bytes,
            codes,
        };
        let epoch = entry.state.epoch();
        self.cache
            .count_batch(entry.mask, packets, epoch, Account::credit)
    }

    /// Whether so many packets are all alike under a coarse mask, as they are where nobody looks at
    /// any header.
    #[inline(never)]
    fn are_alike(&self, entry: &Entry, count: usize) -> bool {
        entry.depth == Depth::Nothing || entry.mask.are_alike(&self.parsed.keys[..count])
    }

    /// Looks up a batch of packets that are all alike under the mask.
    fn find_one(&mut self, entry: &Entry, codes: &mut [CodeNo]) -> bool {
        let epoch = entry.state.epoch();
        let found = self.cache.find(entry.mask, &self.parsed.keys[0], epoch);
        let bytes = &self.parsed.bytes[..codes.len()];
        codes.fill(match found {
            Lookup::Miss => CodeNo::MISS,
            Lookup::Stale(slot) => CodeNo::of_stale(slot),
            Lookup::Hit(slot) => {
                let bytes = bytes.iter().map(|it| u64::from(*it)).sum();
                self.cache
                    .count(slot, codes.len() as u32, bytes, Account::credit)
            }
        });
        matches!(found, Lookup::Stale(_))
    }

    /// Sends a batch as a whole if all that is to be done with each packet is to send it by one
    /// port, be it behind a meter, and drops it as a whole if there is nothing to be done.
    #[inline(always)]
    fn finish_all(&mut self, entry: &Entry, codes: &mut [CodeNo], batch: &mut Batch) -> bool {
        let Some(&first) = codes.first().filter(|code| code.is_known()) else {
            return false;
        };
        // Without a way out, so that several are compared at once.
        if !codes
            .iter()
            .fold(true, |same, code| same & (*code == first))
        {
            return self.finish_most(entry, codes, batch);
        }
        let Some(Routine(program)) = self.cache.code(first) else {
            return false;
        };
        match (&*program.ops, program.drop) {
            ([Op::Output(port)], None) => {
                self.executor.output_batch(*port, entry.origin, batch);
            }
            ([], Some(reason)) => self.executor.drop_batch(reason, entry.origin, batch),
            ([Op::Deliver(port)], None) => {
                let port = *port;
                self.executor.unwrap_all(port, entry.origin, batch);
                if !batch.is_empty() {
                    self.executor.output_batch(port, entry.origin, batch);
                }
            }
            ([Op::Meter(meter), Op::Output(port)], None) if !meter.remarks() => {
                let port = *port;
                let all = Places::MAX >> (BATCH_MAX - codes.len());
                let now_ns = self.executor.now.ns;
                let refused = meter.admit_together(now_ns, &self.parsed.bytes, all);
                self.free_refused(refused, entry, codes, batch);
                self.executor.output_batch(port, entry.origin, batch);
            }
            ([Op::Track(_), ..], None) if self.tracks(first) => {
                self.track_all(entry, codes, batch);
            }
            _ => return false,
        }
        true
    }

    /// Sends a batch as a whole by one port but for packets that are dropped as they come, all of
    /// one reason, and others that are tracked first: where there is a flood, be it one of new
    /// connections, others do not pay for being among it.
    #[inline(never)]
    fn finish_most(&mut self, entry: &Entry, codes: &mut [CodeNo], batch: &mut Batch) -> bool {
        let begins_tracked = codes.first().is_some_and(|code| self.tracks(*code));
        if begins_tracked && self.track_those(entry, codes, batch) {
            return true;
        }
        let mut sent: Option<(CodeNo, PortNo)> = None;
        let mut dropped: Option<(CodeNo, DropReason)> = None;
        let (mut kept, mut tracked): (Places, Places) = (0, 0);
        for (index, code) in codes.iter().enumerate() {
            if sent.is_none_or(|(known, _)| known != *code) {
                if dropped.is_some_and(|(known, _)| known == *code) {
                    continue;
                }
                let program = self.cache.code(*code).map(|Routine(program)| program);
                match program.map(|program| (&*program.ops, program.drop)) {
                    Some(([Op::Output(port)], None)) if sent.is_none() => {
                        sent = Some((*code, *port));
                    }
                    Some(([], Some(reason))) if dropped.is_none() => {
                        dropped = Some((*code, reason));
                        continue;
                    }
                    Some(([Op::Track(_), ..], None)) if self.tracks(*code) => {
                        tracked |= 1 << index;
                        continue;
                    }
                    _ => return false,
                }
            }
            kept |= 1 << index;
        }
        let Some((_, port)) = sent else {
            return false;
        };
        let (executor, origin) = (&mut self.executor, entry.origin);
        if let Some((_, reason)) = dropped {
            let count = codes.len() as u32 - (kept | tracked).count_ones();
            executor.ports.count_drops(origin, reason, count.into());
        }
        if tracked == 0 {
            keep(batch, kept);
            executor.output_batch(port, origin, batch);
            return true;
        }
        let (mut going, mut left) = (Batch::new(), Batch::new());
        let mut places = Kept::default();
        for (index, packet) in batch.drain().enumerate() {
            match (kept >> index & 1, tracked >> index & 1) {
                (0, 0) => drop(packet),
                (0, _) => places.keep(index, packet, &mut left),
                _ => _ = going.push(packet),
            }
        }
        executor.output_batch(port, origin, &mut going);
        batch.append(&mut left);
        self.track_left(entry, codes, batch, &places);
        true
    }

    /// Runs the straight lines among the programs of a batch, and says what is still to be done
    /// with each packet. Returns the port that all are to be sent by, if it is one; those that are
    /// not to be sent are freed then.
    #[inline(never)]
    fn change_all(
        &mut self,
        entry: &Entry,
        codes: &[CodeNo],
        batch: &mut Batch,
        rests: &mut [Rest],
    ) -> Option<PortNo> {
        let deep = entry.depth >= Depth::Network;
        let mut decided = Decided::default();
        let slots = codes.iter().zip(rests.iter_mut()).enumerate();
        for ((index, (code, rest)), packet) in slots.zip(batch.iter_mut()) {
            let headers = &self.parsed.headers[index];
            let Some(quick) = quick(&self.cache, *code, deep, headers) else {
                *rest = self.change(*code, entry, index, packet);
                continue;
            };
            let fate = match quick.meter {
                Some(_) if self.is_refused(&mut decided, (deep, codes), index) => METER,
                _ => straight::run_quick(quick, packet, headers),
            };
            *rest = Rest(quick.port.0);
            if let Break(reason) = fate {
                if reason.is_answered() {
                    self.answer_end(reason, *code, entry, (index, packet));
                }
                *rest = self.end(*code, entry, index, reason);
            }
        }
        let (port, are_freed) = Rest::of_all(rests)?;
        if are_freed {
            let mut rests = rests.iter();
            batch.retain(|_| rests.next() != Some(&Rest::NOTHING));
        }
        Some(port)
    }

    /// Runs a straight line on a packet.
    #[inline(never)]
    fn change(&mut self, code: CodeNo, entry: &Entry, index: usize, packet: &mut Packet) -> Rest {
        let program = self.cache.code(code).map(|Routine(program)| program);
        let Some(straight) = program.and_then(|program| program.straight.as_ref()) else {
            return Rest::ALL;
        };
        if straight.encapsulates && is_super_frame(packet) {
            return Rest::ALL;
        }
        let known = (entry.depth, entry.number);
        let way = self
            .parsed
            .run(straight, known, (index, packet), &mut self.executor);
        if let Way::Ended(_, reason) = way
            && reason.is_answered()
        {
            self.answer_end(reason, code, entry, (index, packet));
        }
        self.rest_of(way, code, entry, index)
    }

    /// Has whoever is to answer a packet that a straight line ended do so.
    #[cold]
    fn answer_end(
        &mut self,
        reason: DropReason,
        code: CodeNo,
        entry: &Entry,
        (index, packet): (usize, &Packet),
    ) {
        if let Some(Routine(program)) = self.cache.code(code) {
            let packet = (&self.parsed.keys[index], packet);
            self.executor
                .answer_end(&program.ops, reason, entry.origin, packet);
        }
    }

    /// Ends a packet that a straight line in its quick form ended.
    #[cold]
    pub(super) fn end(
        &mut self,
        code: CodeNo,
        entry: &Entry,
        index: usize,
        reason: DropReason,
    ) -> Rest {
        let program = self.cache.code(code).map(|Routine(program)| program);
        match program.and_then(|program| program.straight.as_ref()) {
            Some(straight) => self.rest_of(straight::ended(straight, reason), code, entry, index),
            None => Rest::NOTHING,
        }
    }

    /// What is still to be done with a packet that went some way.
    fn rest_of(&mut self, way: Way, code: CodeNo, entry: &Entry, index: usize) -> Rest {
        match way {
            Way::Output(port) => return Rest(port.0),
            Way::Drop(reason) => self.executor.count_end(entry.origin, reason),
            Way::Ended(edit, reason) => {
                self.executor.count_end(entry.origin, Some(reason));
                self.take_back(code, entry, index, edit);
            }
        }
        Rest::NOTHING
    }

    /// Takes back what a packet was counted in that it has not reached, since an edit ended it.
    #[cold]
    fn take_back(&mut self, code: CodeNo, entry: &Entry, index: usize, edit: u16) {
        let counts = self.parsed.counts_of(index, self.executor.now);
        let apart = self.misses.counted_apart(index);
        if apart.is_some_and(|pair| !pair.has_account()) {
            let (state, points) = (entry.state, &mut self.points);
            let mut context = Context { state, points };
            let (key, tallies) = (&self.parsed.keys[index], &mut self.executor.tallies);
            let (ended, ingress) = ((edit, counts), entry.ingress_of(key));
            return Programs::take_back(&mut context, &ingress, key, ended, tallies);
        }
        let program = self.cache.code(code).map(|Routine(program)| program);
        if program.is_none_or(|program| program.behind.is_empty()) {
            return;
        }
        if let Some(pair) = apart {
            let account = self.cache.take_back_apart(pair, counts.bytes);
            account.inspect(|account| account.credit_ended(edit, counts));
            return;
        }
        let known = match entry.depth {
            Depth::Nothing => 0,
            _ => index,
        };
        let (key, epoch) = (&self.parsed.keys[known], entry.state.epoch());
        let Lookup::Hit(slot) = self.cache.find(entry.mask, key, epoch) else {
            return;
        };
        if let Some(account) = self.cache.take_back(slot, counts.bytes) {
            account.credit_ended(edit, counts);
        }
    }

    /// Runs a program that is no straight line.
    pub(super) fn run_any(&mut self, code: CodeNo, entry: &Entry, index: usize, packet: Packet) {
        let Some(Routine(program)) = self.cache.code(code) else {
            return;
        };
        let depth = entry.depth;
        let parse_more = depth < Depth::All && program.ops.iter().any(Op::parses);
        if parse_more {
            self.parsed.parse(Depth::All, entry.number, index, &packet);
        }
        let headers = match depth == Depth::All || parse_more {
            true => self.parsed.headers[index],
            false => Headers::UNKNOWN,
        };
        let parcel = Parcel {
            packet,
            key: &self.parsed.keys[index],
            headers,
            bytes: self.parsed.bytes[index],
            origin: entry.origin,
            carries: entry.carries,
            tracked: match entry.carries {
                true => self.parsed.tracked[index],
                false => None,
            },
        };
        self.executor.run_program(program, parcel);
    }

    /// Translates and runs one packet that is like no other.
    pub fn inject(
        &mut self,
        state: &State,
        ingress: Ingress,
        packet: Packet,
        origin: Option<PortNo>,
    ) {
        let entry = origin.map_or(0, |number| number.0);
        self.parsed.parse(Depth::All, entry, 0, &packet);
        self.parsed.bytes[0] = packet.len() as u32;
        let counts = self.parsed.counts_of(0, self.executor.now);
        let points = &mut self.points;
        let mut context = Context { state, points };
        let program = translate(&mut context, ingress, &self.parsed.keys[0], &mut NoTrace);
        let place = (0, origin);
        let ended = run_once(
            &program,
            packet,
            place,
            &mut self.parsed,
            &mut self.executor,
        );
        Account(Arc::new(program)).credit_ended(ended.unwrap_or(u16::MAX), counts);
    }
}

/// Runs a program that was just translated for a packet that was parsed whole. Returns the edit of
/// a straight line that ended it, if one did.
fn run_once(
    program: &Program,
    mut packet: Packet,
    (index, origin): (usize, Option<PortNo>),
    parsed: &mut Parsed,
    executor: &mut Executor,
) -> Option<u16> {
    let straight = program.straight.as_deref();
    let is_straight = |line: &&Straight| !line.encapsulates || !is_super_frame(&packet);
    let Some(straight) = straight.filter(is_straight) else {
        let parcel = Parcel {
            packet,
            key: &parsed.keys[index],
            headers: parsed.headers[index],
            bytes: parsed.bytes[index],
            origin,
            carries: false,
            tracked: None,
        };
        executor.run_program(program, parcel);
        return None;
    };
    match parsed.run(straight, (Depth::All, 0), (index, &mut packet), executor) {
        Way::Output(port) => executor.output(port, packet, origin),
        Way::Drop(reason) => executor.count_end(origin, reason),
        Way::Ended(edit, reason) => {
            executor.answer_end(&program.ops, reason, origin, (&parsed.keys[index], &packet));
            executor.count_end(origin, Some(reason));
            return Some(edit);
        }
    }
    None
}

/// A meter ended a packet.
const METER: Fate = Break(DropReason::Meter);
