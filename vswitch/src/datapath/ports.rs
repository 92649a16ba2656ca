//! Control's side of ports: giving their queues to workers, moving them, taking them back.
//!
//! A port's transmit queues go to the first workers, one each; the others hand packets over to
//! them. A receive queue is taken from its worker before it is given to the next, so that it
//! never has two. Workers go on all the while.
//!
//! None of this is cancel safe: let it run to its end.

use std::sync::Arc;

use pmd::TxQueue;

use super::assign::{Assignment, QueueId, WorkerId};
use super::mailbox::{Command, Mailbox, Polled, Reply};
use super::punt::Shares;
use super::send::{Outlet, PortSlot};
use super::statistics::{DropCounters, Tally};
use super::{Datapath, Error, Queues, limits, lock, wait};
use crate::action::PortNo;

/// What control knows of a port.
#[derive(Debug)]
pub struct Port {
    /// One for each worker.
    pub drops: Vec<Arc<DropCounters>>,
    /// Its receive queues.
    pub queues: Vec<PlacedQueue>,
}

/// What control knows of a receive queue.
#[derive(Debug)]
pub struct PlacedQueue {
    /// Who polls it.
    pub worker: WorkerId,
    /// Packets received from it.
    pub packets: Arc<Tally>,
}

/// How receive queues are spread over workers.
#[derive(Debug)]
pub struct Spread {
    assignment: Assignment,
    /// Packets of each queue when the queues were last weighed.
    weighed: std::collections::BTreeMap<QueueId, u64>,
}

impl Spread {
    /// No queues yet.
    pub fn new(workers: usize) -> Spread {
        Spread {
            assignment: Assignment::new(workers),
            weighed: Default::default(),
        }
    }
}

impl Datapath {
    /// Gives a port to the workers.
    pub async fn add_port(&self, number: PortNo, queues: Queues) -> Result<(), Error> {
        self.check(number)?;
        match queues.tx.is_empty() {
            true => Err(Error::NoTransmitQueue(number)),
            false => self.give(number, queues).await,
        }
    }

    /// Makes a port known to the workers whose packets go on within the switch: they count by it
    /// what they drop.
    pub async fn add_port_within(&self, number: PortNo) -> Result<(), Error> {
        self.give(number, Queues::default()).await
    }

    fn check(&self, number: PortNo) -> Result<(), Error> {
        if number.0 as usize >= limits::PORTS_MAX {
            return Err(Error::PortRange(number));
        }
        match lock(&self.ports).contains_key(&number) {
            true => Err(Error::PortTaken(number)),
            false => Ok(()),
        }
    }

    async fn give(&self, number: PortNo, queues: Queues) -> Result<(), Error> {
        let mut spread = self.spread.lock().await;
        self.check(number)?;
        let drops: Vec<Arc<DropCounters>> = self.mailboxes.iter().map(|_| Arc::default()).collect();
        let port = Port {
            drops: drops.clone(),
            queues: Vec::new(),
        };
        lock(&self.ports).insert(number, port);
        self.add_outlets(number, queues.tx, drops).await?;
        for (index, queue) in queues.rx.into_iter().enumerate() {
            let id = (number, index);
            let worker = spread.assignment.place(id);
            let packets = Arc::new(Tally::default());
            let placed = PlacedQueue {
                worker,
                packets: Arc::clone(&packets),
            };
            if let Some(port) = lock(&self.ports).get_mut(&number) {
                port.queues.push(placed);
            }
            let polled = Polled { id, queue, packets };
            self.ask(worker, Command::AddQueue(polled)).await?;
        }
        self.spread_anew(&mut spread).await
    }

    /// Takes a port from the workers; its queues. Publish a state without it first. Resolves when
    /// nobody holds anything of it.
    pub async fn remove_port(&self, number: PortNo) -> Option<Queues> {
        let mut spread = self.spread.lock().await;
        let port = lock(&self.ports).remove(&number)?;
        let mut queues = Queues::default();
        for index in 0..port.queues.len() {
            let id = (number, index);
            spread.weighed.remove(&id);
            if let Some(worker) = spread.assignment.remove(id)
                && let Ok(Reply::Queue(Some(polled))) =
                    self.ask(worker, Command::TakeQueue(id)).await
            {
                queues.rx.push(polled.queue);
            }
        }
        // Those who hand over first, so that nothing more comes to those who own.
        for worker in (0..self.workers()).rev() {
            let reply = self.ask(worker, Command::RemovePort(number)).await;
            if let Ok(Reply::Outlet(Some(slot))) = reply
                && let Outlet::Queue(queue) = slot.outlet
            {
                queues.tx.insert(0, *queue);
            }
        }
        // A worker that has ended keeps nothing, and what it had cannot be spread any more.
        let _ = self.spread_anew(&mut spread).await;
        Some(queues)
    }

    /// Makes a port known to all workers, its owners first.
    async fn add_outlets(
        &self,
        number: PortNo,
        queues: Vec<TxQueue>,
        drops: Vec<Arc<DropCounters>>,
    ) -> Result<(), Error> {
        let owners = queues.len();
        let shares = Shares::default();
        let mut queues = queues.into_iter();
        for (worker, drops) in drops.into_iter().enumerate() {
            let outlet = match queues.next() {
                Some(queue) => Outlet::Queue(Box::new(queue)),
                None if owners == 0 => Outlet::Within,
                None => Outlet::HandOver(Arc::clone(&self.mailboxes[worker % owners])),
            };
            let slot = PortSlot::new(outlet, drops, shares.clone());
            self.ask(worker, Command::AddPort(number, slot)).await?;
        }
        Ok(())
    }

    /// Moves receive queues until no move makes the load clearly more even.
    async fn spread_anew(&self, spread: &mut Spread) -> Result<(), Error> {
        self.weigh(spread);
        while let Some(step) = spread.assignment.next_move() {
            let taken = self.ask(step.from, Command::TakeQueue(step.queue)).await?;
            if let Reply::Queue(Some(polled)) = taken {
                self.ask(step.to, Command::AddQueue(polled)).await?;
            }
            let (number, index) = step.queue;
            if let Some(port) = lock(&self.ports).get_mut(&number)
                && let Some(queue) = port.queues.get_mut(index)
            {
                queue.worker = step.to;
            }
        }
        Ok(())
    }

    /// Weighs receive queues by what came since they were last weighed.
    fn weigh(&self, spread: &mut Spread) {
        let ports = lock(&self.ports);
        let mut since = std::collections::BTreeMap::new();
        for (number, port) in ports.iter() {
            for (index, queue) in port.queues.iter().enumerate() {
                let packets = queue.packets.read();
                let before = spread.weighed.insert((*number, index), packets);
                let new = packets.saturating_sub(before.unwrap_or(0));
                since.insert((*number, index), new);
            }
        }
        let packets_of = |id: QueueId| since.get(&id).copied().unwrap_or(0);
        spread.assignment.weigh(packets_of);
    }

    /// Sends a command to a worker and waits for its reply.
    async fn ask(&self, worker: WorkerId, command: Command) -> Result<Reply, Error> {
        let mailbox: &Mailbox = &self.mailboxes[worker];
        let ended = || Error::WorkerEnded(mailbox.cpu);
        mailbox.commands.push(command).map_err(|_| ended())?;
        let reply = wait(mailbox, || mailbox.replies.pop()).await;
        reply.ok_or_else(ended)
    }
}
