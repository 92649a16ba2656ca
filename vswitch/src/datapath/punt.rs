//! From workers to control: packets for controllers and for the switch itself, addresses to be
//! learned, and neighbours to be asked for.
//!
//! What: bounded queues, and for each port a bounded share of each: what a flooding port
//! sends beyond its share is dropped and starves only that port.
//! How: a share counts what of its port waits in the queue; the count goes down when control
//! takes it out. A packet travels in its own buffer, so that nothing is allocated here.
//! Checksums are completed and super-frames cut: control sees what the wire would. The share is
//! looked at first: what it has no room for is neither cut nor summed.
//! A worker rings control once per loop, and only if control sleeps.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arrayvec::ArrayVec;
use crossbeam_queue::ArrayQueue;
use flowtable::Carried;
use pmd::port::LostReason;
use pmd::{Packet, Pools};
use tokio::net::unix::pipe;

use super::doorbell::Doorbell;
use super::execute::Sampled;
use super::limits::{self, PUNTS_PER_PORT};
use crate::action::{BridgeId, DropReason, Learn, PortNo, Punt, Wish};
use crate::local::Link;
use crate::pipeline::Unresolved;

/// What control should hear of.
#[derive(Debug)]
pub enum Event {
    /// A packet for the controllers of a bridge.
    PacketIn(Box<PacketIn>),
    /// An address was heard on a port.
    Learn(Learn),
    /// A packet asks for a change of the tables.
    Wish(Arc<Wish>),
    /// A neighbour's Ethernet address is wanted.
    Resolve(Unresolved),
    /// A packet for the switch itself.
    Delivery(Delivery),
    /// A packet that collectors are to be told of.
    Sampled(Box<Sampled>),
}

/// A packet for the switch itself: whole, its checksums complete.
#[derive(Debug)]
pub struct Delivery {
    /// For whom.
    pub to: Receiver,
    /// The port that it came in by.
    pub origin: Option<PortNo>,
    /// How it came.
    pub link: Link,
    /// The packet.
    pub packet: Packet,
}

/// For whom of the switch a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// The endpoint behind this port.
    Endpoint(PortNo),
    /// Whichever endpoint of this bridge it concerns: its time to live ended.
    Expired(BridgeId),
    /// Whoever sent it: it was to be wrapped, and is longer than so many bytes.
    TooBig(u32),
    /// The tunnels whose packets leave by the host's address behind this port: a router tells how
    /// long they may be.
    Path(PortNo),
}

/// A packet for the controllers of a bridge: whole, its checksums complete.
#[derive(Debug)]
pub struct PacketIn {
    /// Whose controllers, why, and how much of it they want.
    pub punt: Arc<Punt>,
    /// What it carried in the end.
    pub carried: Carried,
    /// The packet.
    pub packet: Packet,
}

/// Control's end of the queues.
#[derive(Debug)]
pub struct Events {
    queues: Arc<EventQueues>,
    rung: Option<pipe::Receiver>,
}

impl Events {
    /// Control's end of these queues.
    pub fn new(queues: Arc<EventQueues>) -> Events {
        Events { queues, rung: None }
    }

    /// The next event. Cancel safe.
    pub async fn receive(&mut self) -> Event {
        loop {
            if let Some(event) = self.queues.pop() {
                return event;
            }
            self.queues.bell.about_to_sleep();
            if let Some(event) = self.queues.pop() {
                self.queues.bell.awake();
                return event;
            }
            self.wait().await;
            self.queues.bell.awake();
        }
    }

    /// The next event if there is one.
    pub fn try_receive(&mut self) -> Option<Event> {
        self.queues.pop()
    }

    /// Waits for the doorbell.
    async fn wait(&mut self) {
        if self.rung.is_none() {
            self.rung = self.queues.bell.receiver().ok();
        }
        let Some(rung) = &self.rung else {
            return tokio::time::sleep(Duration::from_millis(1)).await;
        };
        // An error here can only be that it was read already: then it was rung.
        if rung.readable().await.is_ok() {
            let _ = rung.try_read(&mut [0; 8]);
        }
    }
}

/// The queues from all workers to control.
#[derive(Debug)]
pub struct EventQueues {
    punts: ArrayQueue<(PacketIn, Token)>,
    learns: ArrayQueue<(Learn, Token)>,
    wishes: ArrayQueue<(Arc<Wish>, Token)>,
    deliveries: ArrayQueue<(Delivery, Token)>,
    /// Whose turn it is, of two queues of packets.
    turn: AtomicU32,
    resolves: ArrayQueue<(Unresolved, Token)>,
    samples: ArrayQueue<(Sampled, Token)>,
    samples_lost: AtomicU64,
    bell: Doorbell,
}

impl EventQueues {
    /// Empty queues.
    pub fn new() -> io::Result<EventQueues> {
        Ok(EventQueues {
            punts: ArrayQueue::new(limits::PUNTS_MAX),
            learns: ArrayQueue::new(limits::LEARNS_MAX),
            wishes: ArrayQueue::new(limits::WISHES_MAX),
            deliveries: ArrayQueue::new(limits::DELIVERIES_MAX),
            turn: AtomicU32::new(0),
            resolves: ArrayQueue::new(limits::RESOLVES_MAX),
            samples: ArrayQueue::new(limits::SAMPLES_MAX),
            samples_lost: AtomicU64::new(0),
            bell: Doorbell::new()?,
        })
    }

    /// Addresses and flows first: they end flooding, which makes more packets. Then packets for
    /// controllers, unless it is the turn of those for the switch.
    fn pop(&self) -> Option<Event> {
        if let Some((learn, _token)) = self.learns.pop() {
            return Some(Event::Learn(learn));
        }
        if let Some((wish, _token)) = self.wishes.pop() {
            return Some(Event::Wish(wish));
        }
        if let Some((unresolved, _token)) = self.resolves.pop() {
            return Some(Event::Resolve(unresolved));
        }
        let is_turn = self.turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let punt = || Some(Event::PacketIn(self.punts.pop()?.0.into()));
        let delivery = || Some(Event::Delivery(self.deliveries.pop()?.0));
        let packet = match is_turn {
            true => delivery().or_else(punt),
            false => punt().or_else(delivery),
        };
        packet.or_else(|| Some(Event::Sampled(Box::new(self.samples.pop()?.0))))
    }

    /// Samples that there was no room for.
    pub fn samples_lost(&self) -> u64 {
        self.samples_lost.load(Ordering::Relaxed)
    }
}

/// A port's share of a queue: what of it waits there.
#[derive(Debug, Default)]
pub struct Share {
    waiting: AtomicU32,
}

impl Share {
    fn take(self: &Arc<Share>, most: u32) -> Option<Token> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let token = Token(Arc::clone(self));
        (before < most).then_some(token)
    }

    /// As many places as there are of a port's share of packets, `count` at most.
    fn take_some(self: &Arc<Share>, count: usize) -> ArrayVec<Token, PUNTS_PER_PORT> {
        let places = (0..count.min(PUNTS_PER_PORT)).map_while(|_| self.take(PUNTS_PER_PORT as u32));
        places.collect()
    }
}

/// One place of a share, given back on drop.
#[derive(Debug)]
struct Token(Arc<Share>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A port's shares.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    punts: Arc<Share>,
    learns: Arc<Share>,
    wishes: Arc<Share>,
    deliveries: Arc<Share>,
    resolves: Arc<Share>,
    samples: Arc<Share>,
}

/// A worker's end of the queues.
#[derive(Debug)]
pub struct Punter {
    queues: Arc<EventQueues>,
    told: Box<[(Option<Learn>, u64)]>,
    asked: Box<[(Option<Unresolved>, u64)]>,
    rings: bool,
}

impl Punter {
    /// A worker's end of these queues.
    pub fn new(queues: Arc<EventQueues>) -> Punter {
        Punter {
            queues,
            told: vec![(None, 0); limits::LEARNS_REMEMBERED].into(),
            asked: vec![(None, 0); limits::RESOLVES_REMEMBERED].into(),
            rings: false,
        }
    }

    /// Sends a packet with what it carries to control, a super-frame as the packets that it stands
    /// for. How many the queue had no room for, and why the rest was lost, if it was.
    pub fn punt(
        &mut self,
        shares: &Shares,
        (punt, carried): (&Arc<Punt>, &Carried),
        packet: Packet,
        pools: &Pools,
    ) -> (u64, Option<DropReason>) {
        let count = packet.segment_count();
        let mut tokens = shares.punts.take_some(count);
        let mut refused = (count - tokens.len()) as u64;
        if tokens.is_empty() {
            return (refused, None);
        }
        let cut = packet.segment_first(tokens.len(), pools, |mut packet| {
            packet.complete_checksum();
            if let Some(token) = tokens.pop() {
                refused += self.push(token, (punt, carried), packet);
            }
        });
        let lost = match cut {
            Ok(()) => None,
            Err(LostReason::NoBuffer) => Some(DropReason::NoBuffer),
            Err(_) => Some(DropReason::Malformed),
        };
        (refused, lost)
    }

    fn push(
        &mut self,
        token: Token,
        (punt, carried): (&Arc<Punt>, &Carried),
        packet: Packet,
    ) -> u64 {
        let packet_in = PacketIn {
            punt: Arc::clone(punt),
            carried: *carried,
            packet,
        };
        self.rings = true;
        let pushed = self.queues.punts.push((packet_in, token));
        u64::from(pushed.is_err())
    }

    /// Hands a packet to the switch itself, of a super-frame the first that it stands for: all
    /// others would be answered alike. Why it was lost, if it was.
    pub fn deliver(
        &mut self,
        shares: &Shares,
        (to, origin): (Receiver, Option<PortNo>),
        (link, packet): (Link, Packet),
        pools: &Pools,
    ) -> Option<DropReason> {
        let Some(token) = shares.deliveries.take(limits::DELIVERIES_PER_PORT) else {
            return Some(DropReason::PuntQueueFull);
        };
        let mut first = None;
        let cut = packet.segment_first(1, pools, |packet| first = Some(packet));
        let Some(mut packet) = first else {
            return Some(match cut {
                Err(LostReason::NoBuffer) => DropReason::NoBuffer,
                _ => DropReason::Malformed,
            });
        };
        packet.complete_checksum();
        let delivery = Delivery {
            to,
            origin,
            link,
            packet,
        };
        self.rings = true;
        let pushed = self.queues.deliveries.push((delivery, token));
        pushed.err().map(|_| DropReason::PuntQueueFull)
    }

    /// Tells control of an address, unless it was told of just now. If the queue is full the next
    /// packet from that address tells of it.
    pub fn learn(&mut self, shares: &Shares, learn: Learn, now_ms: u64) {
        let slot = &mut self.told[slot_of(&learn)];
        if slot.0 == Some(learn) && now_ms < slot.1 + limits::LEARN_REPEAT_MS {
            return;
        }
        let Some(token) = shares.learns.take(limits::LEARNS_PER_PORT) else {
            return;
        };
        if self.queues.learns.push((learn, token)).is_ok() {
            *slot = (Some(learn), now_ms);
            self.rings = true;
        }
    }

    /// Tells control of what a packet asks for, unless it was told of just now. If the queue is
    /// full the next packet tells of it.
    pub fn wish(&mut self, shares: &Shares, wish: &Arc<Wish>, now_ms: u64) {
        if !wish.is_due(now_ms, limits::WISH_REPEAT_MS) {
            return;
        }
        let Some(token) = shares.wishes.take(limits::WISHES_PER_PORT) else {
            return;
        };
        if self.queues.wishes.push((Arc::clone(wish), token)).is_ok() {
            wish.note_told(now_ms);
            self.rings = true;
        }
    }

    /// Has control ask for a neighbour, unless it was to do so just now.
    pub fn resolve(&mut self, shares: &Shares, unresolved: Unresolved, now_ms: u64) {
        let slot = &mut self.asked[place_of(&unresolved)];
        if slot.0 == Some(unresolved) && now_ms < slot.1 + limits::RESOLVE_REPEAT_MS {
            return;
        }
        let Some(token) = shares.resolves.take(limits::RESOLVES_PER_PORT) else {
            return;
        };
        if self.queues.resolves.push((unresolved, token)).is_ok() {
            *slot = (Some(unresolved), now_ms);
            self.rings = true;
        }
    }

    /// Tells control of a packet for collectors; one that there is no room for is counted.
    pub fn sample(&mut self, shares: &Shares, sampled: Sampled) {
        let token = shares.samples.take(limits::SAMPLES_PER_PORT);
        let told = token.is_some_and(|token| self.queues.samples.push((sampled, token)).is_ok());
        match told {
            true => self.rings = true,
            false => {
                self.queues.samples_lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Wakes control if there is something for it.
    #[inline]
    pub fn flush(&mut self) {
        if self.rings {
            self.rings = false;
            self.queues.bell.ring();
        }
    }
}

fn place_of(unresolved: &Unresolved) -> usize {
    let low = match unresolved.address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => address.to_bits() as u32,
    };
    (low ^ unresolved.port.0 << 4) as usize % limits::RESOLVES_REMEMBERED
}

fn slot_of(learn: &Learn) -> usize {
    let mixed = learn.mac ^ u64::from(learn.vlan) << 48 ^ u64::from(learn.port.0) << 24;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % limits::LEARNS_REMEMBERED
}
