//! The traffic of a scenario, sent to a switch by a thread of its own.
//!
//! What: frames in an order that repeats, or frames of which none is like another. The ring is kept
//! full: the thread wakes often enough that no switch empties it meanwhile, fills it up and sleeps.
//! It needs a small part of the control CPU, and runs there before all else (`SCHED_FIFO`), so that
//! what else that CPU does does not starve the switch. Where the ring was found empty all the same,
//! that is counted: such a measurement tells of the generator and not of the switch.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::thread::{CpuSet, gettid, sched_setaffinity};

use super::memif::{DESCRIPTOR, Memif, RING, frame_descriptor};

/// What is sent.
#[derive(Clone)]
pub enum Traffic {
    /// Some frames in an order that repeats; the first order, until another is asked for.
    Cycle {
        /// Each once.
        frames: Vec<Vec<u8>>,
        /// Places in `frames`: what comes before all else, once.
        prelude: Vec<u32>,
        /// Places in `frames`.
        orders: Vec<Vec<u32>>,
    },
    /// Frames of which none is like another.
    Fresh(Fresh),
}

/// Frames made of their numbers. They come again only after `FRESH`, more than any switch gets
/// through in a round, or so many as are said.
#[derive(Clone)]
pub struct Fresh {
    count: u64,
    /// How many are sent before anything is measured.
    pub warm_up: u64,
    make: Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>,
    /// All of them, once somebody sends them.
    made: Arc<OnceLock<(Store, Vec<u8>)>>,
}

impl Fresh {
    /// Made so.
    pub fn new(make: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static) -> Fresh {
        Fresh {
            count: FRESH,
            warm_up: FRESH / 4,
            make: Arc::new(make),
            made: Arc::default(),
        }
    }

    /// So many, of which the first are not measured.
    pub fn limited(self, count: u64, warm_up: u64) -> Fresh {
        Fresh {
            count,
            warm_up,
            ..self
        }
    }

    /// The frames and their descriptors.
    fn made(&self) -> &(Store, Vec<u8>) {
        self.made.get_or_init(|| {
            let mut store = Store::default();
            let frames = (0..self.count).flat_map(|number| store.put(&(self.make)(number)));
            let descriptors = frames.collect();
            (store, descriptors)
        })
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Traffic::Cycle { frames, .. } => write!(f, "{} frames in turn", frames.len()),
            Traffic::Fresh(_) => write!(f, "frames that do not repeat"),
        }
    }
}

impl Traffic {
    /// The frames that come before all else, once.
    pub fn prelude(&self) -> Vec<Vec<u8>> {
        match self {
            Traffic::Cycle {
                frames, prelude, ..
            } => {
                let places = prelude.iter();
                places
                    .map(|place| frames[*place as usize].clone())
                    .collect()
            }
            Traffic::Fresh(_) => Vec::new(),
        }
    }

    /// Frames of the first order before it begins again.
    pub fn turn(&self) -> u64 {
        match self {
            Traffic::Cycle { orders, .. } => orders[0].len() as u64,
            Traffic::Fresh(fresh) => fresh.count,
        }
    }

    /// The frame of a number, counted from the start of the first order.
    pub fn frame(&self, number: u64) -> Vec<u8> {
        match self {
            Traffic::Cycle { frames, orders, .. } => {
                let place = (number % self.turn()) as usize;
                frames[orders[0][place] as usize].clone()
            }
            Traffic::Fresh(fresh) => (fresh.make)(number),
        }
    }
}

/// A thread that sends.
#[derive(Debug)]
pub struct Generator {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Frames that the switch has taken.
    pub taken: u64,
    /// Looks at the ring.
    pub looks: u64,
    /// Those that found it empty.
    pub empty: u64,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    taken: AtomicU64,
    looks: AtomicU64,
    empty: AtomicU64,
    order: AtomicUsize,
}

impl Generator {
    /// Connects to the switch's end at `path`, which sends by so many rings, and begins to send, on
    /// this CPU.
    pub fn start(path: &Path, rings: u16, traffic: &Traffic, cpu: usize) -> Result<Generator> {
        let mut source = Source::new(path, rings, traffic)?;
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("generator".into());
        let thread = thread.spawn(move || {
            precede_others(cpu)?;
            while !theirs.stop.load(Ordering::Relaxed) {
                source.fill(&theirs)?;
                std::thread::sleep(PAUSE);
            }
            Ok(())
        })?;
        let thread = Some(thread);
        Ok(Generator { shared, thread })
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Progress {
            taken: load(&self.shared.taken),
            looks: load(&self.shared.looks),
            empty: load(&self.shared.empty),
        }
    }

    /// Waits until the switch has taken so many frames, `limit` at most.
    pub fn await_taken(&self, count: u64, limit: Duration) {
        let end = Instant::now() + limit;
        while self.progress().taken < count && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Goes on with another order of a cycle's frames.
    pub fn take_order(&self, order: usize) {
        self.shared.order.store(order, Ordering::Relaxed);
    }

    /// Sends nothing more.
    pub fn pause(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it is stopped once")?;
        thread
            .join()
            .map_err(|_| anyhow!("the generator panicked"))?
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Keeps this thread on a CPU.
pub(super) fn stay_on(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).context("the control CPU is there")
}

/// Keeps this thread on a CPU, before all ordinary threads there.
pub(super) fn precede_others(cpu: usize) -> Result<()> {
    stay_on(cpu)?;
    let thread = gettid().as_raw_nonzero().to_string();
    let status = Command::new("chrt")
        .args(["-f", "-p", "1", &thread])
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err(anyhow!(
            "chrt (Debian: util-linux) cannot give the generator precedence"
        )),
    }
}

/// What fills the ring.
pub(super) struct Source {
    memif: Memif,
    /// Descriptors of what comes before all else, and how many bytes of them are sent.
    prelude: Vec<u8>,
    begun: usize,
    /// All descriptors of each order.
    rounds: Vec<Vec<u8>>,
    /// How many of one's are sent.
    next: usize,
}

impl Source {
    pub(super) fn new(path: &Path, rings: u16, traffic: &Traffic) -> Result<Source> {
        match traffic {
            Traffic::Cycle {
                frames,
                prelude,
                orders,
            } => {
                let mut store = Store::default();
                let mut places = vec![None; frames.len()];
                let mut descriptor_of = |&frame: &u32| -> [u8; DESCRIPTOR] {
                    let place = &mut places[frame as usize];
                    *place.get_or_insert_with(|| store.put(&frames[frame as usize]))
                };
                let mut round =
                    |order: &Vec<u32>| order.iter().flat_map(&mut descriptor_of).collect();
                let rounds = orders.iter().map(&mut round).collect();
                let prelude = round(prelude);
                Source::of(path, rings, &store, (prelude, rounds))
            }
            Traffic::Fresh(fresh) => {
                let (store, descriptors) = fresh.made();
                Source::of(path, rings, store, (Vec::new(), vec![descriptors.clone()]))
            }
        }
    }

    fn of(
        path: &Path,
        rings: u16,
        store: &Store,
        (prelude, rounds): (Vec<u8>, Vec<Vec<u8>>),
    ) -> Result<Source> {
        let memif = Memif::connect(path, rings, store.bytes.len() as u64)?;
        memif.write_frames(&store.bytes, 0)?;
        Ok(Source {
            memif,
            prelude,
            begun: 0,
            rounds,
            next: 0,
        })
    }

    /// Fills the ring up.
    fn fill(&mut self, shared: &Shared) -> Result<()> {
        let slots = self.memif.free_slots()?;
        let taken = u64::from(slots.newly_taken);
        shared.taken.fetch_add(taken, Ordering::Relaxed);
        shared.looks.fetch_add(1, Ordering::Relaxed);
        let empty = u64::from(slots.free == RING);
        shared.empty.fetch_add(empty, Ordering::Relaxed);
        let mut left = usize::from(slots.free);
        while left > 0 {
            left -= self.send(left.min(STEP), shared.order.load(Ordering::Relaxed))?;
        }
        Ok(())
    }

    /// Sends so many frames of the first order, or as many as there is room for; how many.
    pub(super) fn send_some(&mut self, count: usize) -> Result<usize> {
        let room = usize::from(self.memif.free_slots()?.free);
        let (count, mut sent) = (count.min(room), 0);
        while sent < count {
            sent += self.send((count - sent).min(STEP), 0)?;
        }
        Ok(sent)
    }

    /// Sends so many frames or fewer.
    fn send(&mut self, count: usize, order: usize) -> Result<usize> {
        if self.begun < self.prelude.len() {
            let rest = &self.prelude[self.begun..];
            let rest = &rest[..rest.len().min(count * DESCRIPTOR)];
            self.memif.send(rest)?;
            self.begun += rest.len();
            return Ok(rest.len() / DESCRIPTOR);
        }
        let round = &self.rounds[order.min(self.rounds.len() - 1)];
        self.next %= round.len() / DESCRIPTOR;
        let rest = &round[self.next * DESCRIPTOR..];
        let rest = &rest[..rest.len().min(count * DESCRIPTOR)];
        self.memif.send(rest)?;
        let sent = rest.len() / DESCRIPTOR;
        self.next += sent;
        Ok(sent)
    }
}

/// The memory of frames: one behind the other as they are sent first, as a NIC would place them.
#[derive(Default)]
struct Store {
    bytes: Vec<u8>,
}

impl Store {
    /// Puts a frame behind the others; its descriptor.
    fn put(&mut self, frame: &[u8]) -> [u8; DESCRIPTOR] {
        let descriptor = frame_descriptor(self.bytes.len() as u32, frame.len() as u32);
        self.bytes.extend_from_slice(frame);
        let end = self.bytes.len().next_multiple_of(CACHE_LINE);
        self.bytes.resize(end, 0);
        descriptor
    }
}

/// Frames that do not repeat before all have been sent: half a gigabyte.
const FRESH: u64 = 1 << 23;
/// Between two looks at the ring: 16,384 frames last longer with any switch.
const PAUSE: Duration = Duration::from_micros(30);
/// Frames between two publications, so that an empty ring is not filled at leisure.
const STEP: usize = 2048;
const CACHE_LINE: usize = 64;
