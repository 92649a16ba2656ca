//! Two workers and who changes the rules under them, and the comparison afterwards.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use pmd::{Batch, Packet, Pools};
use tests::naive::model::{Interpreter, Model, Outcome, advance};
use tests::naive::random::Random;
use tests::naive::wire;
use vswitch::action::PortNo;
use vswitch::datapath::{Now, Outlet, Processor, WorkerStatistics};
use vswitch::pipeline::State;

use super::rules::{Told, flow_cookie};

/// What happened.
pub struct Course {
    told: Told,
    /// The model at each publication.
    models: Vec<Model>,
    /// What each worker did, the one with the cache first.
    workers: [Done; 2],
}

/// A worker's work.
struct Done {
    steps: Vec<Step>,
    statistics: WorkerStatistics,
}

/// A batch: which state it met, what came in and what left, by datapath port.
struct Step {
    state: usize,
    port: usize,
    frames: Vec<usize>,
    sent: Vec<(u32, Vec<u8>)>,
}

/// What was compared.
#[derive(Debug, Default)]
pub struct Tally {
    pub packets: u64,
    pub sent: u64,
    pub dropped: u64,
    /// States that packets met.
    pub states: usize,
    /// Flows whose counters were compared and not 0.
    pub counted: u64,
    pub cached: Statistics,
    pub compiled: Statistics,
}

#[derive(Debug, Default)]
#[expect(dead_code, reason = "shown")]
pub struct Statistics {
    pub hits: u64,
    pub misses: u64,
    pub renewed: u64,
}

/// What the workers and who changes the rules share.
struct Shared {
    newest: Mutex<(usize, Arc<State>)>,
    batches: AtomicU64,
    ended: AtomicBool,
}

/// Ends the workers, also where who changes the rules panics.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

impl Course {
    /// Has two workers process frames while the rules change.
    pub fn run(mut told: Told, frames: &[Vec<u8>], pools: &Pools) -> Course {
        frames.iter().for_each(|frame| told.teach(frame));
        let shared = Shared {
            newest: Mutex::new((0, told.switch.publish())),
            batches: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        };
        let mut models = vec![told.model.clone()];
        let (shared, ports) = (&shared, &told.ports.clone());
        let work = |entries, seed| work(shared, entries, seed, ports, frames, pools);
        let workers = thread::scope(|scope| {
            let workers = [(CACHED, 1), (1, 2)]
                .map(|(entries, seed)| scope.spawn(move || work(entries, seed)));
            let _end = End(shared);
            for number in 1..=STATES {
                (0..CHANGES).for_each(|_| told.change(frames));
                models.push(told.model.clone());
                *shared.newest.lock().unwrap() = (number, told.switch.publish());
                let before = shared.batches.load(Ordering::Acquire);
                while shared.batches.load(Ordering::Acquire) < before + AWAITED {
                    assert!(!workers.iter().any(|worker| worker.is_finished()));
                    thread::yield_now();
                }
            }
            shared.ended.store(true, Ordering::Release);
            workers.map(|worker| worker.join().unwrap())
        });
        Course {
            told,
            models,
            workers,
        }
    }

    /// Compares all with the models; panics where they disagree.
    pub fn compare(mut self, name: &str, frames: &[Vec<u8>]) -> Tally {
        let mut tally = Tally::default();
        let mut answers = Answers::default();
        let mut counted: BTreeMap<u64, u64> = BTreeMap::new();
        let mut met = std::collections::BTreeSet::new();
        for (worker, done) in self.workers.iter().enumerate() {
            for step in &done.steps {
                met.insert(step.state);
                let mut left = step.sent.clone();
                for &frame in &step.frames {
                    let place = (step.state, step.port, frame);
                    let model = &mut self.models[step.state];
                    let ways = answers.of(place, model, &frames[frame]);
                    let way = ways.iter().find(|way| remove_all(&mut left, &way.sent));
                    let Some(way) = way else {
                        panic!("{name}, worker {worker}: {place:?}\n{ways:x?}\nleft {left:x?}");
                    };
                    tally.packets += 1;
                    tally.sent += way.sent.len() as u64;
                    tally.dropped += u64::from(way.sent.is_empty());
                    for (counter, count) in &way.counted {
                        if let Some(cookie) = flow_cookie(counter) {
                            *counted.entry(cookie).or_default() += count;
                        }
                    }
                }
                assert_eq!(left, [], "{name}, worker {worker}: state {}", step.state);
            }
        }
        for (cookie, count) in self.told.counted() {
            let expected = counted.get(&cookie).copied().unwrap_or(0);
            assert_eq!(count, expected, "{name}: flow {cookie}");
            tally.counted += u64::from(count > 0);
        }
        tally.states = met.len();
        let [cached, compiled] = self.workers.map(|done| Statistics {
            hits: done.statistics.hits,
            misses: done.statistics.misses,
            renewed: done.statistics.renewed,
        });
        (tally.cached, tally.compiled) = (cached, compiled);
        tally
    }
}

fn work(
    shared: &Shared,
    entries: usize,
    seed: u64,
    ports: &[PortNo],
    frames: &[Vec<u8>],
    pools: &Pools,
) -> Done {
    let mut random = Random(seed);
    let (mut at, state) = shared.newest.lock().unwrap().clone();
    let (mut processor, mut events) = Processor::new(pools, entries, state).unwrap();
    for port in ports {
        processor.add_outlet(*port, Outlet::Capture(Vec::new()));
    }
    let mut steps: Vec<Step> = Vec::new();
    // Time stands still, so both have the same.
    let (now, mut here) = (Now { ns: 1_000_000_000 }, 0);
    while !shared.ended.load(Ordering::Acquire) {
        let (newest, state) = shared.newest.lock().unwrap().clone();
        if newest != at {
            (at, here) = (newest, 0);
            drop(processor.set_state(state));
            processor.maintain(now);
        }
        // Enough of this state.
        if here == BATCHES {
            thread::yield_now();
            shared.batches.fetch_add(1, Ordering::Release);
            continue;
        }
        here += 1;
        // As a rule by the port whose packets the rules are for.
        let port = if random.one_in(8) { 2 } else { 0 };
        let chosen: Vec<usize> = (0..BATCH).map(|_| random.below(frames.len())).collect();
        let mut batch = Batch::new();
        for &frame in &chosen {
            let packet = Packet::from_bytes(pools, &frames[frame]).unwrap();
            assert!(batch.push(packet).is_ok());
        }
        processor.process(ports[port], &mut batch, now);
        processor.flush();
        let mut sent = Vec::new();
        for port in ports {
            let packets = processor.captured(*port);
            let bytes = packets.iter().map(|packet| comparable(packet.data()));
            sent.extend(bytes.map(|bytes| (port.0, bytes)));
        }
        while events.try_receive().is_some() {}
        steps.push(Step {
            state: at,
            port,
            frames: chosen,
            sent,
        });
        shared.batches.fetch_add(1, Ordering::Release);
    }
    processor.flush_counters();
    let statistics = processor.statistics();
    Done { steps, statistics }
}

/// What may become of a frame at a state; of several ways one for each choice of buckets.
#[derive(Default)]
struct Answers(HashMap<(usize, usize, usize), Vec<Outcome>>);

impl Answers {
    fn of(&mut self, place: (usize, usize, usize), model: &mut Model, frame: &[u8]) -> &[Outcome] {
        self.0.entry(place).or_insert_with(|| {
            let mut ways = Vec::new();
            let mut choices = Vec::new();
            loop {
                let mut interpreter = Interpreter::new(model, &choices);
                let mut outcome = interpreter.receive(0, place.1 as u32 + 1, frame);
                let arities = interpreter.arities;
                for (_, bytes) in &mut outcome.sent {
                    *bytes = comparable(bytes);
                }
                ways.push(outcome);
                choices.resize(arities.len(), 0);
                if !advance(&mut choices, &arities) || ways.len() > CHOICES_MAX {
                    return ways;
                }
            }
        })
    }
}

/// Takes all of these out, if they are there.
fn remove_all(left: &mut Vec<(u32, Vec<u8>)>, these: &[(u32, Vec<u8>)]) -> bool {
    let mut rest = left.clone();
    for one in these {
        match rest.iter().position(|other| other == one) {
            Some(place) => rest.swap_remove(place),
            None => return false,
        };
    }
    *left = rest;
    true
}

fn comparable(bytes: &[u8]) -> Vec<u8> {
    wire::without_fragment_checksum(bytes)
}

/// Entries of the cache that has room for all.
const CACHED: usize = 4096;
/// Publications, the changes in each, and batches of any worker that are awaited after it.
const STATES: usize = 24;
const CHANGES: usize = 3;
const AWAITED: u64 = 3;
/// Batches of a worker with one state at most, and packets in each.
const BATCHES: u64 = 4;
const BATCH: usize = 24;
/// Ways through select groups that are tried for one packet.
const CHOICES_MAX: usize = 1000;
