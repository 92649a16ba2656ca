//! What reaches a worker from outside: commands and packet-outs from control, packets handed over
//! by other workers, published states.
//!
//! All queues are bounded and lock-free; a full one is the sender's concern. The doorbell wakes a
//! worker that sleeps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;
use pmd::{Packet, RxQueue};

use super::assign::QueueId;
use super::doorbell::Doorbell;
use super::limits;
use super::processor::PacketOut;
use super::send::PortSlot;
use super::statistics::{Tally, WorkerCounters};
use crate::action::PortNo;
use crate::pipeline::State;

/// One worker's mailbox.
#[derive(Debug)]
pub struct Mailbox {
    /// The worker's CPU.
    pub cpu: usize,
    /// From control; each is answered by one reply.
    pub commands: ArrayQueue<Command>,
    /// To control.
    pub replies: ArrayQueue<Reply>,
    /// From controllers.
    pub injections: ArrayQueue<PacketOut>,
    /// From other workers: packets for ports whose transmit queue this worker has.
    pub inbox: ArrayQueue<(PortNo, Packet)>,
    /// Wakes the worker.
    pub doorbell: Doorbell,
    /// What the worker counts.
    pub counters: WorkerCounters,
    /// States the worker has put down, to be freed by control.
    pub retired: ArrayQueue<Arc<State>>,
    /// Publications that the worker has taken.
    pub taken: CachePadded<AtomicU64>,
    /// Flushes of counters that control asked for.
    pub flush_wanted: AtomicU64,
    /// Flushes of counters that are done.
    pub flush_done: AtomicU64,
    /// Whether the worker's thread has ended.
    pub ended: AtomicBool,
}

impl Mailbox {
    /// The mailbox of a worker on this CPU.
    pub fn new(cpu: usize) -> io::Result<Mailbox> {
        Ok(Mailbox {
            cpu,
            commands: ArrayQueue::new(limits::COMMANDS_MAX),
            replies: ArrayQueue::new(limits::COMMANDS_MAX),
            injections: ArrayQueue::new(limits::INJECTIONS_MAX),
            inbox: ArrayQueue::new(limits::HAND_OVER_MAX),
            doorbell: Doorbell::new()?,
            counters: WorkerCounters::default(),
            retired: ArrayQueue::new(limits::RETIRED_MAX),
            taken: CachePadded::default(),
            flush_wanted: AtomicU64::new(0),
            flush_done: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        })
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.inbox.is_empty()
            && self.commands.is_empty()
            && self.injections.is_empty()
            && self.flush_wanted.load(Ordering::Relaxed) == self.flush_done.load(Ordering::Relaxed)
    }

    /// Frees states that the worker has put down.
    pub fn free_retired(&self) {
        while self.retired.pop().is_some() {}
    }
}

/// What control wants of a worker.
#[derive(Debug)]
pub enum Command {
    /// Know a port.
    AddPort(PortNo, Box<PortSlot>),
    /// Forget a port; answered by [`Reply::Outlet`].
    RemovePort(PortNo),
    /// Poll a receive queue.
    AddQueue(Polled),
    /// Give a receive queue back; answered by [`Reply::Queue`].
    TakeQueue(QueueId),
    /// End; everything comes back.
    Stop,
}

/// A worker's answer.
#[derive(Debug)]
pub enum Reply {
    /// It is done.
    Done,
    /// What the worker knew of the port, if it did.
    Outlet(Option<Box<PortSlot>>),
    /// The receive queue, if the worker had it.
    Queue(Option<Polled>),
}

/// A receive queue on its way to or from a worker.
#[derive(Debug)]
pub struct Polled {
    /// Which.
    pub id: QueueId,
    /// The queue.
    pub queue: RxQueue,
    /// Packets received from it so far.
    pub packets: Arc<Tally>,
}

/// The newest published state, and how many there were.
#[derive(Debug)]
pub struct Published {
    state: ArcSwap<State>,
    count: CachePadded<AtomicU64>,
}

impl Published {
    /// The first state.
    pub fn new(state: Arc<State>) -> Published {
        Published {
            state: ArcSwap::new(state),
            count: CachePadded::default(),
        }
    }

    /// Makes a state the newest.
    pub fn publish(&self, state: Arc<State>) {
        self.state.store(state);
        self.count.fetch_add(1, Ordering::Release);
    }

    /// How many states were published.
    #[inline]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// The newest state: at least as new as [`Published::count`] said before.
    pub fn newest(&self) -> Arc<State> {
        self.state.load_full()
    }
}
