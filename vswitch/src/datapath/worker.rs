//! The poll loop of one core: the packet's path starts here.
//!
//! For each receive queue assigned to it the worker takes a batch through
//! [`Processor::process`] (parse, find, translate on a miss, execute); then what was staged for
//! each port leaves in one burst. Between batches it takes the newest published state, packets
//! handed over by other workers, packet-outs and commands, and tells counters if asked.
//!
//! What it never does: wait for another thread, lock, log, or allocate for a packet whose program
//! the cache has. A worker without work spins for a moment, then sleeps, a quarter as long as it
//! has been idle, up to the configured bound; kernel descriptors and the doorbell wake it at once.
//! One that has only queues which can wake it does not spin.
//!
//! Having taken a state counts as a promise: no packet is in the worker's hands at that moment,
//! so none goes by an older state afterwards. `Datapath::barrier` waits for that of all workers.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pmd::Batch;

use super::limits;
use super::mailbox::{Command, Mailbox, Polled, Published, Reply};
use super::processor::{Now, Processor};
use super::ready::Readiness;
use super::send::Outlet;
use crate::action::PortNo;

/// What a worker is made of.
pub struct Worker {
    /// The packet path.
    pub processor: Processor,
    /// What reaches it from outside.
    pub mailbox: Arc<Mailbox>,
    /// The newest state.
    pub published: Arc<Published>,
    /// What tells that kernel descriptors are readable.
    pub readiness: Readiness,
    /// Where its times count from.
    pub origin: Instant,
    /// Bound of its sleep, 0 for none.
    pub sleep_ns_max: u64,
}

/// What a worker had when it ended.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Its receive queues.
    pub queues: Vec<Polled>,
    /// Its ports' outlets.
    pub outlets: Vec<(PortNo, Outlet)>,
}

/// A worker at work.
struct Loop {
    worker: Worker,
    queues: Vec<Queue>,
    batch: Batch,
    taken: u64,
    flush: Flush,
    now: Now,
    cycles: u64,
    /// When the last packet was seen.
    busy_ns: u64,
    /// When kernel descriptors were last looked at.
    looked_ns: u64,
    maintained_ms: u64,
    /// There are connections to be ended.
    is_behind: bool,
    stopped: bool,
}

struct Queue {
    polled: Polled,
    /// Whether it must be polled; a kernel queue only while it is readable.
    ready: bool,
    kernel: bool,
}

/// Progress of telling counters.
#[derive(Default)]
struct Flush {
    /// Which request is served; equal to the mailbox's count of done ones between requests.
    serving: u64,
    /// What is left to tell.
    left: super::processor::Flush,
}

/// Runs a worker until it is told to stop.
pub fn run(worker: Worker) -> Leftovers {
    let mut this = Loop::new(worker);
    while !this.stopped {
        this.now = this.read_clock();
        this.take_state();
        let packets = this.receive() + this.take_over() + this.inject();
        this.worker.processor.flush();
        this.obey();
        this.tell_counters();
        this.report(packets);
        this.rest(packets);
    }
    this.end()
}

impl Loop {
    fn new(worker: Worker) -> Loop {
        Loop {
            worker,
            queues: Vec::new(),
            batch: Batch::new(),
            taken: 0,
            flush: Flush::default(),
            now: Now::default(),
            cycles: pmd::cycles(),
            busy_ns: 0,
            looked_ns: 0,
            maintained_ms: 0,
            is_behind: false,
            stopped: false,
        }
    }

    fn read_clock(&self) -> Now {
        let ns = self.worker.origin.elapsed().as_nanos() as u64;
        Now { ns }
    }

    /// Takes the newest state, unless control has not freed the ones before.
    fn take_state(&mut self) {
        let count = self.worker.published.count();
        let mailbox = &self.worker.mailbox;
        if count == self.taken || mailbox.retired.is_full() {
            return;
        }
        let newest = self.worker.published.newest();
        let old = self.worker.processor.set_state(newest);
        // There is room: only this worker puts states there.
        let _ = mailbox.retired.push(old);
        self.taken = count;
        mailbox.taken.store(count, Ordering::Release);
    }

    /// One batch from each receive queue through the packet path.
    fn receive(&mut self) -> u64 {
        let mut packets = 0;
        for queue in self.queues.iter_mut().filter(|queue| queue.ready) {
            queue.polled.queue.receive(&mut self.batch);
            let count = self.batch.len() as u64;
            if count == 0 {
                queue.ready = !queue.kernel;
                if queue.kernel && queue.polled.queue.is_gone() {
                    // Else it would be told of for ever.
                    unwatch(&self.worker.readiness, &queue.polled);
                }
                continue;
            }
            packets += count;
            queue.polled.packets.add(count);
            let port = queue.polled.id.0;
            self.worker
                .processor
                .process(port, &mut self.batch, self.now);
        }
        packets
    }

    /// Packets from other workers for ports whose transmit queue is here.
    fn take_over(&mut self) -> u64 {
        let mailbox = &self.worker.mailbox;
        let mut packets = 0;
        while packets < limits::TAKE_OVER_MAX as u64
            && let Some((port, packet)) = mailbox.inbox.pop()
        {
            packets += 1;
            let ports = self.worker.processor.ports();
            if let Err(reason) = ports.stage(port, packet) {
                ports.count_drops(None, reason, 1);
            }
        }
        packets
    }

    /// Packets from controllers.
    fn inject(&mut self) -> u64 {
        let mut packets = 0;
        while packets < limits::INJECTIONS_PER_LOOP as u64
            && let Some(out) = self.worker.mailbox.injections.pop()
        {
            packets += 1;
            self.worker.processor.inject(out, self.now);
        }
        packets
    }

    /// Does what control wants. Nothing is staged at this point of the loop.
    fn obey(&mut self) {
        while let Some(command) = self.worker.mailbox.commands.pop() {
            let reply = match command {
                Command::AddPort(number, slot) => {
                    self.worker.processor.ports().insert(number, slot);
                    Reply::Done
                }
                Command::RemovePort(number) => {
                    let slot = self.worker.processor.ports().remove(number);
                    Reply::Outlet(slot)
                }
                Command::AddQueue(polled) => {
                    self.add_queue(polled);
                    Reply::Done
                }
                Command::TakeQueue(id) => {
                    let found = self.queues.iter().position(|queue| queue.polled.id == id);
                    Reply::Queue(found.map(|index| self.take_queue(index)))
                }
                Command::Stop => {
                    self.stopped = true;
                    return;
                }
            };
            // Control sends one command at a time, so there is room.
            let _ = self.worker.mailbox.replies.push(reply);
        }
    }

    fn add_queue(&mut self, polled: Polled) {
        let readiness = &self.worker.readiness;
        // A queue that cannot be watched is polled.
        let watched = |fd| readiness.add(fd, token(&polled)).is_ok();
        let kernel = polled.queue.poll_fd().is_some_and(watched);
        self.queues.push(Queue {
            polled,
            ready: true,
            kernel,
        });
    }

    fn take_queue(&mut self, index: usize) -> Polled {
        let queue = self.queues.remove(index);
        if queue.kernel {
            unwatch(&self.worker.readiness, &queue.polled);
        }
        queue.polled
    }

    /// Tells cached counters to the rules, a bounded number per loop.
    fn tell_counters(&mut self) {
        let mailbox = &self.worker.mailbox;
        let processor = &mut self.worker.processor;
        if self.flush.serving == mailbox.flush_done.load(Ordering::Relaxed) {
            let wanted = mailbox.flush_wanted.load(Ordering::Acquire);
            if wanted == self.flush.serving {
                return;
            }
            self.flush.serving = wanted;
            self.flush.left = processor.begin_flush();
        }
        if !processor.flush_some(&mut self.flush.left, limits::FLUSH_ENTRIES_PER_LOOP) {
            mailbox
                .flush_done
                .store(self.flush.serving, Ordering::Release);
        }
    }

    fn report(&mut self, packets: u64) {
        let counters = &self.worker.mailbox.counters;
        let cycles = pmd::cycles();
        let spent = cycles.wrapping_sub(self.cycles);
        self.cycles = cycles;
        counters.loops.add(1);
        if packets == 0 {
            counters.idle_cycles.add(spent);
        } else {
            counters.busy_cycles.add(spent);
            self.worker.processor.report(counters);
        }
        if self.now.ms() != self.maintained_ms {
            self.maintained_ms = self.now.ms();
            self.is_behind = self.worker.processor.maintain(self.now);
            let entries = self.worker.processor.cache_entries();
            counters.cache_entries.set(entries as u64);
        } else if self.is_behind {
            self.is_behind = self.worker.processor.end_connections(self.now);
        }
    }

    /// Looks at kernel descriptors from time to time, and sleeps after a while without packets.
    fn rest(&mut self, packets: u64) {
        if packets > 0 || self.is_behind {
            self.busy_ns = self.now.ns;
        }
        let idle_ns = self.now.ns.saturating_sub(self.busy_ns);
        let longest_ns = self.worker.sleep_ns_max;
        let is_idle = packets == 0 && !self.is_behind;
        if is_idle && longest_ns > 0 && self.queues.iter().all(|queue| queue.kernel) {
            self.sleep(longest_ns);
        } else if longest_ns > 0 && idle_ns >= limits::IDLE_SPIN_NS {
            self.sleep((idle_ns / 4).min(longest_ns));
        } else if self.now.ns >= self.looked_ns + limits::READY_LOOK_NS
            && self.queues.iter().any(|queue| !queue.ready)
        {
            self.look(0);
        }
    }

    fn sleep(&mut self, wait_ns: u64) {
        let doorbell = &self.worker.mailbox.doorbell;
        doorbell.about_to_sleep();
        let nothing = self.worker.mailbox.is_empty()
            && self.worker.published.count() == self.taken
            && !self.queues.iter().any(|queue| queue.ready && queue.kernel);
        if nothing {
            self.worker.mailbox.counters.sleeps.add(1);
            self.look(wait_ns);
        }
        self.worker.mailbox.doorbell.awake();
    }

    fn look(&mut self, wait_ns: u64) {
        self.looked_ns = self.now.ns;
        let queues = &mut self.queues;
        self.worker.readiness.wait(wait_ns, |readable| {
            let found = queues
                .iter_mut()
                .find(|queue| token(&queue.polled) == readable);
            if let Some(queue) = found {
                queue.ready = true;
            }
        });
    }

    fn end(mut self) -> Leftovers {
        self.worker.processor.flush();
        self.worker.processor.flush_counters();
        let mut queues = Vec::new();
        while !self.queues.is_empty() {
            queues.push(self.take_queue(0));
        }
        let ports = self.worker.processor.ports().take();
        let outlets = ports.into_iter();
        Leftovers {
            queues,
            outlets: outlets
                .map(|(number, slot)| (number, slot.outlet))
                .collect(),
        }
    }
}

fn unwatch(readiness: &Readiness, polled: &Polled) {
    if let Some(descriptor) = polled.queue.poll_fd() {
        readiness.remove(descriptor);
    }
}

impl Worker {
    /// Lets the doorbell wake the worker.
    pub fn watch_doorbell(&self) -> std::io::Result<()> {
        self.readiness.add(self.mailbox.doorbell.as_fd(), DOORBELL)
    }
}

fn token(polled: &Polled) -> u64 {
    let (port, index) = polled.id;
    u64::from(port.0) << 32 | index as u64
}

/// No queue has this token: port numbers are smaller.
const DOORBELL: u64 = u64::MAX;
