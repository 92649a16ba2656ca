//! What waits to be written to one OpenFlow connection.
//!
//! The control task puts messages in, the connection's task takes them out. A controller that
//! does not read makes nothing grow: while replies wait, its further requests do, and of
//! asynchronous messages the oldest is dropped for the newest. Packet-ins wait by port, beside
//! the other messages and in turn with them: neither a long list nor a port that floods keeps
//! another port's packets.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use flowtable::TlvTable;
use tokio::sync::Notify;

use super::pace::Limit;

mod packets;

#[cfg(any(test, fuzzing))]
pub(super) use packets::BYTES_MAX as PACKET_BYTES_MAX;
use packets::Packets;

/// Messages for one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    given_up: Notify,
    /// What the peer's messages mean by `tun_metadata` fields.
    tlvs: ArcSwap<TlvTable>,
    /// Changes of that which the peer asked for and which are done, or refused.
    tlv_changes: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<(Kind, Vec<u8>)>,
    packets: Packets,
    reply_bytes: usize,
    notice_bytes: usize,
    update_bytes: usize,
    dropped: u64,
    is_given_up: bool,
    is_turn_of_packets: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reply,
    Notice,
    Update,
}

/// Asynchronous messages that were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Port status and flow removed.
    pub notices: u64,
    /// Packet-ins.
    pub packet_ins: u64,
}

/// Bytes that wait to be written.
#[cfg(any(test, fuzzing))]
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Of answers.
    pub replies: usize,
    /// Of port status and flow removed.
    pub notices: usize,
    /// Of what flow monitors told.
    pub updates: usize,
    /// Of packet-ins.
    pub packet_ins: usize,
}

impl Dropped {
    /// All of them.
    pub fn total(self) -> u64 {
        self.notices + self.packet_ins
    }
}

impl std::ops::AddAssign for Dropped {
    fn add_assign(&mut self, more: Dropped) {
        self.notices += more.notices;
        self.packet_ins += more.packet_ins;
    }
}

impl Outbox {
    /// With a limit to packet-ins.
    pub fn new(limit: Option<Limit>) -> Outbox {
        let queue = Queue {
            packets: Packets::new(limit),
            ..Queue::default()
        };
        Outbox {
            queue: Mutex::new(queue),
            filled: Notify::new(),
            given_up: Notify::new(),
            tlvs: ArcSwap::default(),
            tlv_changes: AtomicU64::new(0),
        }
    }

    /// Adds the answer to a request. Never refused: [`Outbox::is_congested`] says when to stop
    /// taking requests.
    pub fn reply(&self, message: Vec<u8>) {
        let mut queue = self.lock();
        queue.reply_bytes += message.len();
        queue.messages.push_back((Kind::Reply, message));
        self.filled.notify_one();
    }

    /// Adds an asynchronous message that is no packet-in, for which the oldest may have to go.
    pub fn notice(&self, message: Vec<u8>) {
        let mut queue = self.lock();
        queue.notice_bytes += message.len();
        queue.messages.push_back((Kind::Notice, message));
        while queue.notice_bytes > NOTICE_BYTES_MAX {
            queue.drop_oldest_notice();
        }
        self.filled.notify_one();
    }

    /// Adds what a flow monitor tells. Never refused: whoever tells it asks how much waits
    /// ([`Outbox::update_bytes`]).
    pub fn update(&self, messages: Vec<u8>) {
        let mut queue = self.lock();
        if !queue.is_given_up {
            queue.update_bytes += messages.len();
            queue.messages.push_back((Kind::Update, messages));
            self.filled.notify_one();
        }
    }

    /// Bytes of what flow monitors told that wait.
    pub fn update_bytes(&self) -> usize {
        self.lock().update_bytes
    }

    /// Gives the peer up: it gets nothing of what waits, and its connection ends.
    pub fn give_up(&self) {
        let mut queue = self.lock();
        queue.messages.clear();
        (queue.reply_bytes, queue.notice_bytes, queue.update_bytes) = (0, 0, 0);
        queue.is_given_up = true;
        self.given_up.notify_one();
    }

    /// Waits until the peer is given up.
    pub async fn given_up(&self) {
        self.given_up.notified().await;
    }

    /// Adds a packet-in about a packet of a port, for which the oldest may have to go.
    pub fn packet_in(&self, port: u32, message: Vec<u8>) {
        self.lock().packets.push(port, message);
        self.filled.notify_one();
    }

    /// Says which Geneve options messages mean from now on.
    pub fn set_tlvs(&self, tlvs: &Arc<TlvTable>) {
        self.tlvs.store(Arc::clone(tlvs));
    }

    /// Which Geneve options messages mean.
    pub fn tlvs(&self) -> Arc<TlvTable> {
        self.tlvs.load_full()
    }

    /// A change of them that the peer asked for is done, or refused.
    pub fn note_tlvs(&self) {
        self.tlv_changes.fetch_add(1, Ordering::Release);
        self.filled.notify_one();
    }

    /// How many such changes there were.
    pub fn tlv_changes(&self) -> u64 {
        self.tlv_changes.load(Ordering::Acquire)
    }

    /// Whether packet-ins are limited.
    pub fn is_paced(&self) -> bool {
        self.lock().packets.is_paced()
    }

    /// Whether the peer is to read before it gets further replies.
    pub fn is_congested(&self) -> bool {
        self.lock().reply_bytes > REPLY_BYTES_MAX
    }

    /// Asynchronous messages dropped because the peer did not read, or may not get so many.
    pub fn dropped(&self) -> Dropped {
        let queue = self.lock();
        Dropped {
            notices: queue.dropped,
            packet_ins: queue.packets.dropped(),
        }
    }

    /// Bytes that wait.
    #[cfg(any(test, fuzzing))]
    pub fn waiting(&self) -> Waiting {
        let queue = self.lock();
        Waiting {
            replies: queue.reply_bytes,
            notices: queue.notice_bytes,
            updates: queue.update_bytes,
            packet_ins: queue.packets.bytes(),
        }
    }

    /// Appends waiting messages to `bytes`, up to what one write should hold; whether there were
    /// any.
    pub fn take(&self, bytes: &mut Vec<u8>, now_ms: u64) -> bool {
        let mut queue = self.lock();
        let before = bytes.len();
        while bytes.len() < WRITE_BYTES {
            let Some(message) = queue.pop(now_ms) else {
                break;
            };
            bytes.extend_from_slice(&message);
        }
        bytes.len() > before
    }

    /// When there is something to take; `None` if there is nothing.
    pub fn due_ms(&self) -> Option<u64> {
        let queue = self.lock();
        match queue.messages.is_empty() {
            true => queue.packets.due_ms(),
            false => Some(0),
        }
    }

    /// Waits until something is put in, or was since this was called last.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// A packet-in and another message in turn.
    fn pop(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        self.is_turn_of_packets = !self.is_turn_of_packets;
        if self.is_turn_of_packets
            && let Some(packet_in) = self.packets.pop(now_ms)
        {
            return Some(packet_in);
        }
        let Some((kind, message)) = self.messages.pop_front() else {
            return self.packets.pop(now_ms);
        };
        self.account(kind, message.len());
        Some(message)
    }

    fn drop_oldest_notice(&mut self) {
        let oldest = self
            .messages
            .iter()
            .position(|(kind, _)| *kind == Kind::Notice);
        let Some((kind, message)) = oldest.and_then(|index| self.messages.remove(index)) else {
            return;
        };
        self.account(kind, message.len());
        self.dropped += 1;
    }

    fn account(&mut self, kind: Kind, bytes: usize) {
        match kind {
            Kind::Reply => self.reply_bytes -= bytes,
            Kind::Notice => self.notice_bytes -= bytes,
            Kind::Update => self.update_bytes -= bytes,
        }
    }
}

/// A few of the largest messages (64 KiB each): enough to keep the peer busy, little enough for
/// hundreds of peers that do not read.
pub(super) const REPLY_BYTES_MAX: usize = 256 << 10;
/// Some ten thousand flows that went.
pub(super) const NOTICE_BYTES_MAX: usize = 1 << 20;
/// What a socket takes at once by default.
const WRITE_BYTES: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_and_whole() {
        let outbox = Outbox::default();
        outbox.reply(vec![1, 2]);
        outbox.notice(vec![3]);
        outbox.reply(vec![4]);
        let mut bytes = Vec::new();
        assert!(outbox.take(&mut bytes, 0));
        assert_eq!(bytes, [1, 2, 3, 4]);
        assert!(!outbox.take(&mut bytes, 0));
    }

    #[test]
    fn the_oldest_notices_go_first_and_replies_stay() {
        let outbox = Outbox::default();
        outbox.reply(vec![0xff]);
        let size = NOTICE_BYTES_MAX / 4;
        (0..6u8).for_each(|number| outbox.notice(vec![number; size]));
        assert_eq!(outbox.dropped().notices, 2);
        let mut numbers = Vec::new();
        let mut bytes = Vec::new();
        while outbox.take(&mut bytes, 0) {
            numbers.extend(bytes.iter().copied());
            bytes.clear();
        }
        numbers.dedup();
        assert_eq!(numbers, [0xff, 2, 3, 4, 5]);
    }

    #[test]
    fn packets_and_replies_take_turns() {
        let outbox = Outbox::default();
        (0..3).for_each(|number| outbox.reply(vec![number]));
        (10..12).for_each(|number| outbox.packet_in(1, vec![number]));
        assert_eq!(outbox.due_ms(), Some(0));
        let mut bytes = Vec::new();
        outbox.take(&mut bytes, 0);
        assert_eq!(bytes, [10, 0, 11, 1, 2]);
        assert_eq!(outbox.due_ms(), None);
    }

    #[test]
    fn congestion_ends_when_the_peer_reads() {
        let outbox = Outbox::default();
        outbox.notice(vec![0; NOTICE_BYTES_MAX]);
        assert!(!outbox.is_congested());
        outbox.reply(vec![0; REPLY_BYTES_MAX + 1]);
        assert!(outbox.is_congested());
        while outbox.take(&mut Vec::new(), 0) {}
        assert!(!outbox.is_congested());
    }

    #[test]
    fn updates_are_kept_until_the_peer_is_given_up() {
        let outbox = Outbox::default();
        (0..3).for_each(|_| outbox.update(vec![7; NOTICE_BYTES_MAX]));
        assert_eq!(outbox.update_bytes(), 3 * NOTICE_BYTES_MAX);
        assert!(!outbox.is_congested());
        assert!(outbox.take(&mut Vec::new(), 0));
        assert_eq!(outbox.update_bytes(), 2 * NOTICE_BYTES_MAX);
        outbox.give_up();
        outbox.update(vec![7]);
        assert_eq!(outbox.update_bytes(), 0);
        assert!(!outbox.take(&mut Vec::new(), 0));
    }
}
