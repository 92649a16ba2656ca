//! Where packets leave: what a worker stages for each port, and the flush once per loop.
//!
//! A port's transmit queues are shared out among the workers. A worker that has none hands its
//! packets over to one that has, through that worker's bounded inbox; no queue ever has two
//! users, and nobody locks. In tests an outlet captures what is sent.

use std::sync::Arc;

use pmd::{Batch, Packet, TxQueue};

use super::mailbox::Mailbox;
use super::punt::Shares;
use super::statistics::DropCounters;
use crate::action::{DropReason, PortNo};

/// How packets leave by a port.
#[derive(Debug)]
pub enum Outlet {
    /// Through a queue of this worker's own.
    Queue(Box<TxQueue>),
    /// By way of the worker that has the queue.
    HandOver(Arc<Mailbox>),
    /// They do not: programs go on within the switch instead. What comes here is freed.
    Within,
    /// They are kept, in order.
    Capture(Vec<Packet>),
}

/// What a worker knows of a port.
#[derive(Debug)]
pub struct PortSlot {
    /// How packets leave by it.
    pub outlet: Outlet,
    /// Drops of packets that came in by it.
    pub drops: Arc<DropCounters>,
    /// Its shares of the queues to control.
    pub shares: Shares,
    staged: Batch,
}

impl PortSlot {
    /// A port with nothing staged.
    pub fn new(outlet: Outlet, drops: Arc<DropCounters>, shares: Shares) -> Box<PortSlot> {
        Box::new(PortSlot {
            outlet,
            drops,
            shares,
            staged: Batch::new(),
        })
    }

    /// Puts a packet down.
    #[inline(always)]
    fn stage(&mut self, number: PortNo, packet: Packet) {
        // A full batch was sent when it filled up, so there is room.
        let _ = self.staged.push(packet);
        if self.staged.is_full() {
            self.send(number);
        }
    }

    fn send(&mut self, number: PortNo) {
        match &mut self.outlet {
            Outlet::Queue(queue) => queue.send(&mut self.staged),
            Outlet::Within => self.staged.clear(),
            Outlet::Capture(captured) => captured.extend(self.staged.drain()),
            Outlet::HandOver(owner) => {
                let packets = self.staged.drain();
                let lost = packets.filter_map(|packet| owner.inbox.push((number, packet)).err());
                let lost = lost.count() as u64;
                owner.doorbell.ring();
                if lost > 0 {
                    self.drops.add(DropReason::TransmitFull, lost);
                }
            }
        }
    }
}

/// The ports of a worker.
#[derive(Debug, Default)]
pub struct Ports {
    slots: Vec<Option<Box<PortSlot>>>,
    staged: Vec<PortNo>,
    nowhere: Nowhere,
}

/// What stands in for the port of packets that came in by none.
#[derive(Debug, Default)]
struct Nowhere {
    drops: Arc<DropCounters>,
    shares: Shares,
}

impl Ports {
    /// Adds a port.
    pub fn insert(&mut self, number: PortNo, slot: Box<PortSlot>) {
        let index = number.0 as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        self.staged.reserve(self.slots.len());
        self.slots[index] = Some(slot);
    }

    /// Takes a port away. Nothing of it is staged between flushes.
    pub fn remove(&mut self, number: PortNo) -> Option<Box<PortSlot>> {
        self.slots.get_mut(number.0 as usize)?.take()
    }

    /// Takes all ports away.
    pub fn take(&mut self) -> Vec<(PortNo, Box<PortSlot>)> {
        let slots = self.slots.drain(..).enumerate();
        slots
            .filter_map(|(index, slot)| Some((PortNo(index as u32), slot?)))
            .collect()
    }

    /// A port.
    #[inline]
    pub fn slot(&mut self, number: PortNo) -> Option<&mut PortSlot> {
        self.slots.get_mut(number.0 as usize)?.as_deref_mut()
    }

    /// Puts a packet down to be sent at the next flush, or at once if the port's batch is full.
    #[inline]
    pub fn stage(&mut self, number: PortNo, packet: Packet) -> Result<(), DropReason> {
        let slot = self.begin_staging(number).ok_or(DropReason::PortDown)?;
        slot.stage(number, packet);
        Ok(())
    }

    /// Puts a whole batch down; without such a port it stays as it is.
    #[inline]
    pub fn stage_batch(&mut self, number: PortNo, batch: &mut Batch) -> Result<(), DropReason> {
        let slot = self.begin_staging(number).ok_or(DropReason::PortDown)?;
        while !batch.is_empty() {
            // A full batch is sent as it fills up, so there is room.
            slot.staged.append(batch);
            if slot.staged.is_full() {
                slot.send(number);
            }
        }
        Ok(())
    }

    /// A port that something is put down for, which the next flush is to know of.
    #[inline(always)]
    fn begin_staging(&mut self, number: PortNo) -> Option<&mut PortSlot> {
        let slot = self.slots.get_mut(number.0 as usize)?.as_deref_mut()?;
        if slot.staged.is_empty() {
            self.staged.push(number);
        }
        Some(slot)
    }

    /// Sends all that is staged, one burst per port.
    #[inline]
    pub fn flush(&mut self) {
        for index in 0..self.staged.len() {
            let number = self.staged[index];
            if let Some(slot) = self.slot(number)
                && !slot.staged.is_empty()
            {
                slot.send(number);
            }
        }
        self.staged.clear();
    }

    /// Counts packets that came in by this port, or by none, as dropped.
    #[inline]
    pub fn count_drops(&mut self, origin: Option<PortNo>, reason: DropReason, count: u64) {
        match origin.and_then(|number| self.slot(number)) {
            Some(slot) => slot.drops.add(reason, count),
            None => self.nowhere.drops.add(reason, count),
        }
    }

    /// The shares of this port, or those of packets that came in by none.
    pub fn shares(&mut self, origin: Option<PortNo>) -> Shares {
        match origin.and_then(|number| self.slot(number)) {
            Some(slot) => slot.shares.clone(),
            None => self.nowhere.shares.clone(),
        }
    }

    /// Drops of packets that came in by no port.
    pub fn drops_of_nowhere(&self) -> Arc<DropCounters> {
        Arc::clone(&self.nowhere.drops)
    }
}
