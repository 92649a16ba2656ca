//! Moves packets: workers, execution of programs, sending.
//!
//! A packet's path: `worker` receives a batch, `processor` has it parsed, finds each packet's
//! program in the flow cache or has `pipeline::translate` write one, `straight` or `execute` runs
//! it (with `edit` and `rewrite` changing bytes, `punt` telling control), `send` stages what
//! leaves and flushes it once per loop.
//!
//! Here is the side that control holds: [`Datapath`] starts workers, gives them ports, publishes
//! states to them. It only ever talks to them through their mailboxes and never makes one wait;
//! it waits itself, where it must, by looking again.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flowtable::conntrack;
use pmd::{Pools, RxQueue, TxQueue};
use thiserror::Error;

use crate::action::PortNo;
use crate::pipeline::State;

mod assign;
mod doorbell;
mod edit;
mod execute;
pub mod limits;
mod mailbox;
mod masks;
mod ports;
mod processor;
mod punt;
mod ready;
pub mod rewrite;
mod send;
mod statistics;
mod straight;
#[cfg(test)]
pub(crate) mod testing;
mod track;
mod tunnel;
mod worker;

pub use execute::Sampled;
pub use processor::{Now, PacketOut, Processor, Resumed};
pub use punt::{Delivery, Event, Events, PacketIn, Receiver};
pub use send::Outlet;
pub use statistics::{Drops, WorkerStatistics};
pub use track::Held;

use mailbox::{Command, Mailbox, Published};
use ports::{Port, Spread};
use punt::{EventQueues, Punter};
use ready::Readiness;
use worker::{Leftovers, Worker};

/// How many workers, and how they behave.
#[derive(Clone, Debug)]
pub struct WorkersConfig {
    /// One worker on each of these CPUs.
    pub cpus: Vec<usize>,
    /// Longest sleep of an idle worker, 0 for none.
    pub idle_sleep_us_max: u32,
    /// Flow cache entries of each worker.
    pub cache_entries: usize,
    /// The table of connections, if any are to be tracked.
    pub connections: Option<Arc<conntrack::Table>>,
    /// Fragments that wait to be tracked.
    pub fragments: Arc<Held>,
}

impl Default for WorkersConfig {
    fn default() -> WorkersConfig {
        WorkersConfig {
            cpus: vec![0],
            idle_sleep_us_max: limits::IDLE_SLEEP_US_DEFAULT,
            cache_entries: limits::CACHE_ENTRIES_DEFAULT,
            connections: None,
            fragments: Arc::default(),
        }
    }
}

/// The queues of a port.
#[derive(Debug, Default)]
pub struct Queues {
    /// To receive from.
    pub rx: Vec<RxQueue>,
    /// To send to.
    pub tx: Vec<TxQueue>,
}

/// Why the datapath does not do what it was asked for.
#[derive(Debug, Error)]
pub enum Error {
    /// A worker without a CPU.
    #[error("no CPU is named for a worker")]
    NoCpu,
    /// The port number is too high.
    #[error("port number {} is out of range (0 to {})", .0.0, limits::PORTS_MAX - 1)]
    PortRange(PortNo),
    /// The port number is in use.
    #[error("port number {} is in use", .0.0)]
    PortTaken(PortNo),
    /// Nothing can be sent to the port.
    #[error("port {} has no transmit queue", .0.0)]
    NoTransmitQueue(PortNo),
    /// Too many packets wait to be sent for controllers.
    #[error("{} packet-outs are waiting already", limits::INJECTIONS_MAX)]
    InjectionsFull,
    /// A worker ended unasked.
    #[error("the worker on CPU {0} has ended")]
    WorkerEnded(usize),
    /// A worker could not be pinned to its CPU or made known to DPDK.
    #[error(transparent)]
    Register(#[from] pmd::Error),
    /// The kernel refused a thread or descriptor.
    #[error("a worker could not be started: {0}")]
    Start(#[from] io::Error),
}

/// Control's side of the workers.
#[derive(Debug)]
pub struct Datapath {
    mailboxes: Vec<Arc<Mailbox>>,
    published: Arc<Published>,
    events: Arc<EventQueues>,
    threads: Mutex<Vec<JoinHandle<Leftovers>>>,
    /// Held while a port is added, moved or removed: a worker has one command at a time.
    spread: tokio::sync::Mutex<Spread>,
    ports: Mutex<BTreeMap<PortNo, Port>>,
    next_injection: AtomicUsize,
}

impl Datapath {
    /// Starts one worker per CPU. All times count from `origin`.
    pub fn start(
        config: &WorkersConfig,
        pools: &Pools,
        state: Arc<State>,
        origin: Instant,
    ) -> Result<(Datapath, Events), Error> {
        if config.cpus.is_empty() {
            return Err(Error::NoCpu);
        }
        let events = Arc::new(EventQueues::new()?);
        let cpus = config.cpus.iter();
        let mailboxes: io::Result<Vec<_>> =
            cpus.map(|cpu| Ok(Arc::new(Mailbox::new(*cpu)?))).collect();
        let mut datapath = Datapath {
            mailboxes: mailboxes?,
            published: Arc::new(Published::new(Arc::clone(&state))),
            events: Arc::clone(&events),
            threads: Mutex::default(),
            spread: tokio::sync::Mutex::new(Spread::new(config.cpus.len())),
            ports: Mutex::default(),
            next_injection: AtomicUsize::new(0),
        };
        for index in 0..datapath.mailboxes.len() {
            let seed = Seed {
                mailbox: Arc::clone(&datapath.mailboxes[index]),
                published: Arc::clone(&datapath.published),
                events: Arc::clone(&events),
                pools: pools.clone(),
                state: Arc::clone(&state),
                origin,
                config: config.clone(),
            };
            datapath.spawn(seed)?;
        }
        Ok((datapath, Events::new(events)))
    }

    fn spawn(&mut self, seed: Seed) -> Result<(), Error> {
        let (started, outcome) = mpsc::sync_channel(1);
        let cpu = seed.mailbox.cpu;
        let name = format!("worker-{cpu}");
        let thread = thread::Builder::new().name(name);
        let thread = thread.spawn(move || seed.grow(&started))?;
        lock(&self.threads).push(thread);
        outcome.recv().unwrap_or(Err(Error::WorkerEnded(cpu)))
    }

    /// Number of workers: so many transmit queues are of use to a port.
    pub fn workers(&self) -> usize {
        self.mailboxes.len()
    }

    /// Makes a state the newest: workers take it in their next loop. Never waits.
    pub fn publish(&self, state: Arc<State>) {
        self.free_retired();
        self.published.publish(state);
    }

    /// Resolves when every worker has taken what was published before the call: no packet is
    /// then processed by an older state.
    pub async fn barrier(&self) {
        let wanted = self.published.count();
        for mailbox in &self.mailboxes {
            let is_there = || mailbox.taken.load(Ordering::Acquire) >= wanted;
            wait(mailbox, || {
                mailbox.free_retired();
                is_there().then_some(())
            })
            .await;
        }
        self.free_retired();
    }

    /// Has a worker translate and run a packet-out.
    pub fn inject(&self, out: PacketOut) -> Result<(), Error> {
        let turn = self.next_injection.fetch_add(1, Ordering::Relaxed);
        let mailbox = &self.mailboxes[turn % self.mailboxes.len()];
        let pushed = mailbox.injections.push(out);
        mailbox.doorbell.ring();
        pushed.map_err(|_| Error::InjectionsFull)
    }

    /// Resolves when the counters of rules hold all that was forwarded before the call.
    pub async fn flush_counters(&self) {
        let wanted: Vec<u64> = self
            .mailboxes
            .iter()
            .map(|mailbox| mailbox.flush_wanted.fetch_add(1, Ordering::AcqRel) + 1)
            .collect();
        for (mailbox, wanted) in self.mailboxes.iter().zip(wanted) {
            let is_done = || mailbox.flush_done.load(Ordering::Acquire) >= wanted;
            wait(mailbox, || is_done().then_some(())).await;
        }
    }

    /// What each worker did so far.
    pub fn worker_statistics(&self) -> Vec<WorkerStatistics> {
        let mailboxes = self.mailboxes.iter();
        let mut all: Vec<_> = mailboxes
            .map(|mailbox| mailbox.counters.read(mailbox.cpu))
            .collect();
        for (number, port) in lock(&self.ports).iter() {
            for (index, queue) in port.queues.iter().enumerate() {
                let packets = queue.packets.read();
                all[queue.worker].queues.push((*number, index, packets));
            }
        }
        all
    }

    /// Packets that collectors were to be told of and control had no room for.
    pub fn samples_lost(&self) -> u64 {
        self.events.samples_lost()
    }

    /// Packets that came in by a port and were dropped; also those that another worker was to
    /// send by the port and had no room for ([`DropReason::TransmitFull`]).
    ///
    /// [`DropReason::TransmitFull`]: crate::action::DropReason::TransmitFull
    pub fn drops(&self, number: PortNo) -> Drops {
        let mut sum = Drops::default();
        if let Some(port) = lock(&self.ports).get(&number) {
            port.drops.iter().for_each(|worker| worker.add_to(&mut sum));
        }
        sum
    }

    /// Ends all workers; what is left of the ports comes back.
    pub async fn stop(&self) -> Vec<(PortNo, Queues)> {
        self.tell_to_stop();
        for mailbox in &self.mailboxes {
            let has_ended = || mailbox.ended.load(Ordering::Acquire).then_some(());
            wait(mailbox, has_ended).await;
        }
        let mut left: BTreeMap<PortNo, Queues> = BTreeMap::new();
        for leftovers in self.join() {
            for polled in leftovers.queues {
                left.entry(polled.id.0).or_default().rx.push(polled.queue);
            }
            for (number, outlet) in leftovers.outlets {
                if let Outlet::Queue(queue) = outlet {
                    left.entry(number).or_default().tx.push(*queue);
                }
            }
        }
        lock(&self.ports).clear();
        left.into_iter().collect()
    }

    fn tell_to_stop(&self) {
        for mailbox in &self.mailboxes {
            // A full queue has a stop in it already.
            let _ = mailbox.commands.push(Command::Stop);
            mailbox.doorbell.ring();
        }
    }

    fn join(&self) -> Vec<Leftovers> {
        let threads = std::mem::take(&mut *lock(&self.threads));
        let joined = threads.into_iter().map(JoinHandle::join);
        let leftovers = joined.filter_map(Result::ok).collect();
        for mailbox in &self.mailboxes {
            while mailbox.inbox.pop().is_some() {}
        }
        self.free_retired();
        leftovers
    }

    /// Frees states that workers have put down.
    pub fn free_retired(&self) {
        for mailbox in &self.mailboxes {
            mailbox.free_retired();
        }
    }
}

impl Drop for Datapath {
    fn drop(&mut self) {
        self.tell_to_stop();
        self.join();
    }
}

/// What a worker's thread makes its worker of.
struct Seed {
    mailbox: Arc<Mailbox>,
    published: Arc<Published>,
    events: Arc<EventQueues>,
    pools: Pools,
    state: Arc<State>,
    origin: Instant,
    config: WorkersConfig,
}

impl Seed {
    /// The worker's thread: its memory is touched first, and so placed, where it runs.
    fn grow(self, started: &mpsc::SyncSender<Result<(), Error>>) -> Leftovers {
        let _ended = Ended(Arc::clone(&self.mailbox));
        let registered = pmd::register_worker(self.mailbox.cpu);
        let worker = registered.map_err(Error::from).and_then(|registered| {
            let worker = self.worker()?;
            worker.watch_doorbell()?;
            Ok((worker, registered))
        });
        match worker {
            Err(error) => {
                let _ = started.send(Err(error));
                Leftovers::default()
            }
            Ok((worker, _registered)) => {
                let _ = started.send(Ok(()));
                worker::run(worker)
            }
        }
    }

    fn worker(self) -> io::Result<Worker> {
        // Without it the kernel adds 50 microseconds to every sleep.
        rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
        let punter = Punter::new(self.events);
        let entries = self.config.cache_entries;
        let mut processor = Processor::with_punter(&self.pools, entries, self.state, punter);
        if let Some(connections) = &self.config.connections {
            processor.track_in(connections, &self.config.fragments);
        }
        Ok(Worker {
            processor,
            mailbox: self.mailbox,
            published: self.published,
            readiness: Readiness::new()?,
            origin: self.origin,
            sleep_ns_max: u64::from(self.config.idle_sleep_us_max) * 1000,
        })
    }
}

/// Says that a worker's thread has ended. One that panicked takes the process with it: its queues
/// would stand still while everything else looks well, and a supervisor starts a switch again.
struct Ended(Arc<Mailbox>);

impl Drop for Ended {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(cpu = self.0.cpu, "a worker panicked: the switch ends");
            std::process::abort();
        }
        self.0.ended.store(true, Ordering::Release);
    }
}

/// Looks until there is something to see, or the worker has ended. The first looks follow each
/// other closely: a worker answers within a loop.
async fn wait<T>(mailbox: &Mailbox, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        mailbox.doorbell.ring();
        let has_ended = mailbox.ended.load(Ordering::Acquire);
        if let Some(seen) = look() {
            return Some(seen);
        }
        if has_ended {
            return None;
        }
        if start.elapsed() < Duration::from_micros(limits::ANSWER_POLL_US) {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
