//! Two workers and who changes the rules under them, and the comparison afterwards.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use flowtable::conntrack;
use perf::judge::frames::random;
use pmd::{Batch, Packet, Pools};
use tests::naive::connections::Connections;
use tests::naive::model::{Interpreter, Model, Outcome, advance};
use tests::naive::random::Random;
use tests::naive::{tunnel, wire};
use vswitch::action::PortNo;
use vswitch::datapath::{Events, Held, Now, Outlet, Processor, WorkerStatistics};
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

/// A batch: which state it met, what came in where and what left, by datapath port.
#[derive(Debug)]
struct Step {
    state: usize,
    inlet: usize,
    frames: Vec<usize>,
    sent: Vec<Sent>,
}

/// Datapath port and frame.
type Sent = (u32, Vec<u8>);

/// What was compared.
#[derive(Debug, Default)]
pub struct Tally {
    pub packets: u64,
    pub sent: u64,
    pub dropped: u64,
    /// Those of which connections were tracked.
    pub tracked: u64,
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
    /// Has two workers process frames while the rules change. They share a table of connections,
    /// unless one's packets may become those of the other's connections.
    pub fn run(mut told: Told, frames: &[Vec<u8>], pools: &Pools) -> Course {
        frames.iter().for_each(|frame| told.teach(frame));
        let talks: Vec<u64> = frames.iter().map(|frame| talk(frame)).collect();
        let (tracks, mixes) = (told.tracks, told.mixes);
        let mut tables = [connections(), connections()];
        if !mixes {
            tables[1] = tables[0].clone();
        }
        let batch = if mixes { 1 } else { BATCH };
        let shared = Shared {
            newest: Mutex::new((0, told.switch.publish())),
            batches: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        };
        let mut models = vec![told.model.clone()];
        let (shared, ports, tunnels) = (&shared, &told.ports.clone(), &told.tunnels.clone());
        let inlets = told.inlets;
        let workers = thread::scope(|scope| {
            let workers = [(0, CACHED), (1, 1)].map(|(number, entries)| {
                let state = shared.newest.lock().unwrap().1.clone();
                let (mut processor, events) = Processor::new(pools, entries, state).unwrap();
                let (table, held) = &tables[number as usize];
                processor.track_in(table, held);
                for port in ports {
                    processor.add_outlet(*port, Outlet::Capture(Vec::new()));
                }
                for port in tunnels {
                    processor.add_outlet(*port, Outlet::Within);
                }
                let all = 0..frames.len();
                let hand = Hand {
                    random: Random(number + 1),
                    own: all
                        .filter(|frame| !tracks || talks[*frame] % 2 == number)
                        .collect(),
                    talks: tracks.then(|| talks.clone()),
                    batch,
                };
                let ports = (inlets.map(|(.., port)| port), &ports[..]);
                scope.spawn(move || work(shared, (processor, events), hand, ports, frames, pools))
            });
            let _end = End(shared);
            for number in 1..=STATES {
                (0..CHANGES).for_each(|_| told.change(frames));
                models.push(told.model.clone());
                *shared.newest.lock().unwrap() = (number, told.switch.publish());
                let before = shared.batches.load(Ordering::Acquire);
                while shared.batches.load(Ordering::Acquire)
                    < before + AWAITED * (BATCH / batch) as u64
                {
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
            let mut connections = Connections::default();
            connections.now_s = NOW.ns / 1_000_000_000;
            for step in &done.steps {
                met.insert(step.state);
                let model = &mut self.models[step.state];
                let mut story = Story {
                    step,
                    model,
                    answers: &mut answers,
                    inlets: self.told.inlets,
                    frames,
                    tries: TRIES_MAX,
                };
                let Some(ways) = story.tell(0, &step.sent, &connections) else {
                    panic!("{name}, worker {worker}: {:x?}", story.step);
                };
                for (way, after) in ways {
                    if let Some(after) = after {
                        tally.tracked += 1;
                        connections = after;
                    }
                    tally.packets += 1;
                    tally.sent += way.sent.len() as u64;
                    tally.dropped += u64::from(way.sent.is_empty());
                    for (counter, count) in &way.counted {
                        if let Some(cookie) = flow_cookie(counter) {
                            *counted.entry(cookie).or_default() += count;
                        }
                    }
                }
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

/// Draws frames for a worker.
struct Hand {
    random: Random,
    /// Those that this one may have: of a connection one worker has all packets, so that their
    /// order is known.
    own: Vec<usize>,
    /// Which conversation each frame is of, if that matters: of each there is one in a batch, since
    /// packets to and fro may overtake each other there.
    talks: Option<Vec<u64>>,
    /// Packets of a batch at most.
    batch: usize,
}

impl Hand {
    fn draw(&mut self) -> Vec<usize> {
        let mut drawn: Vec<usize> = Vec::new();
        for _ in 0..self.batch {
            let frame = self.own[self.random.below(self.own.len())];
            let is_apart = |talks: &Vec<u64>| drawn.iter().all(|it| talks[*it] != talks[frame]);
            if self.talks.as_ref().is_none_or(is_apart) {
                drawn.push(frame);
            }
        }
        drawn
    }
}

/// Where connections are tracked, and fragments wait.
fn connections() -> (Arc<conntrack::Table>, Arc<Held>) {
    let table = conntrack::Table::new(CONNECTIONS, 1, pmd::prefer_huge_pages);
    (Arc::new(table.unwrap()), Arc::default())
}

/// A number of the conversation that a frame is of; others may have the same.
pub fn talk(frame: &[u8]) -> u64 {
    let Some(datagram) = wire::datagram(frame) else {
        return 0;
    };
    let bytes = &datagram.transport;
    let word = |at: usize| u64::from(bytes[at]) << 8 | u64::from(bytes[at + 1]);
    random(match datagram.proto {
        _ if bytes.is_empty() => datagram.proto.into(),
        1 | 58 => 1,
        _ => word(0).min(word(2)) << 16 | word(0).max(word(2)),
    })
}

fn work(
    shared: &Shared,
    (mut processor, mut events): (Processor, Events),
    mut hand: Hand,
    (inlets, ports): ([PortNo; 2], &[PortNo]),
    frames: &[Vec<u8>],
    pools: &Pools,
) -> Done {
    let mut at = 0;
    let mut steps: Vec<Step> = Vec::new();
    let (now, mut here) = (NOW, 0);
    while !shared.ended.load(Ordering::Acquire) {
        let (newest, state) = shared.newest.lock().unwrap().clone();
        if newest != at {
            (at, here) = (newest, 0);
            drop(processor.set_state(state));
            processor.maintain(now);
        }
        // Enough of this state.
        if here == BATCHES * (BATCH / hand.batch) as u64 {
            thread::yield_now();
            shared.batches.fetch_add(1, Ordering::Release);
            continue;
        }
        here += 1;
        // As a rule by the port whose packets the rules are for.
        let inlet = usize::from(hand.random.one_in(8));
        let chosen = hand.draw();
        let mut batch = Batch::new();
        for &frame in &chosen {
            let packet = Packet::from_bytes(pools, &frames[frame]).unwrap();
            assert!(batch.push(packet).is_ok());
        }
        processor.process(inlets[inlet], &mut batch, now);
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
            inlet,
            frames: chosen,
            sent,
        });
        shared.batches.fetch_add(1, Ordering::Release);
    }
    processor.flush_counters();
    let statistics = processor.statistics();
    Done { steps, statistics }
}

/// What may become of a frame, and of the connections if it was tracked.
type Way = (Outcome, Option<Connections>);

/// What may become of frames at a state, by state, inlet and frame; of several ways one for each
/// choice of buckets. Of those that are tracked that is not remembered: it depends on what came
/// before.
type Answers = HashMap<(usize, usize, usize), Rc<[Way]>>;

/// What may have become of a batch.
#[derive(Debug)]
struct Story<'a> {
    step: &'a Step,
    model: &'a mut Model,
    answers: &'a mut Answers,
    inlets: [(usize, u32, PortNo); 2],
    frames: &'a [Vec<u8>],
    /// Choices that may be tried yet.
    tries: u32,
}

impl Story<'_> {
    /// One way for each frame from this place on, such that just this is left to be sent.
    fn tell(&mut self, at: usize, left: &[Sent], connections: &Connections) -> Option<Vec<Way>> {
        let Some(&frame) = self.step.frames.get(at) else {
            return left.is_empty().then(Vec::new);
        };
        for way in &*self.ways(frame, connections) {
            self.tries = self.tries.checked_sub(1)?;
            let mut rest = left.to_vec();
            if remove_all(&mut rest, &way.0.sent) {
                let after = way.1.as_ref().unwrap_or(connections);
                if let Some(mut ways) = self.tell(at + 1, &rest, after) {
                    ways.insert(0, way.clone());
                    return Some(ways);
                }
            }
        }
        None
    }

    fn ways(&mut self, frame: usize, connections: &Connections) -> Rc<[Way]> {
        let place = (self.step.state, self.step.inlet, frame);
        if let Some(known) = self.answers.get(&place) {
            return Rc::clone(known);
        }
        let inlet = self.inlets[self.step.inlet];
        let ways = ways(inlet, self.model, connections, &self.frames[frame]);
        let is_lasting = ways.iter().all(|(_, after)| after.is_none());
        let ways: Rc<[Way]> = ways.into();
        if is_lasting {
            self.answers.insert(place, Rc::clone(&ways));
        }
        ways
    }
}

fn ways(
    (bridge, port, _): (usize, u32, PortNo),
    model: &mut Model,
    connections: &Connections,
    frame: &[u8],
) -> Vec<Way> {
    let mut ways = Vec::new();
    let mut choices = Vec::new();
    loop {
        model.connections.clone_from(connections);
        let mut interpreter = Interpreter::new(model, &choices);
        let mut outcome = interpreter.receive(bridge, port, frame);
        let (arities, has_tracked) = (interpreter.arities, interpreter.has_tracked);
        for (_, bytes) in &mut outcome.sent {
            *bytes = comparable(bytes);
        }
        ways.push((outcome, has_tracked.then(|| model.connections.clone())));
        choices.resize(arities.len(), 0);
        if !advance(&mut choices, &arities) || ways.len() > CHOICES_MAX {
            // What was sent is to be said of somebody.
            ways.sort_by_key(|(way, _)| Reverse(way.sent.len()));
            return ways;
        }
    }
}

/// Takes all of these out, if they are there.
fn remove_all(left: &mut Vec<Sent>, these: &[Sent]) -> bool {
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
    tunnel::without_port(&wire::without_fragment_checksum(bytes))
}

/// Time stands still, so both workers have the same.
const NOW: Now = Now { ns: 1_000_000_000 };
/// More connections than there are frames.
const CONNECTIONS: usize = 1 << 12;
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
/// Ways that are tried for one batch: many more than there are packets.
const TRIES_MAX: u32 = 10_000;
