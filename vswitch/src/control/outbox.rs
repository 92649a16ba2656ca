//! What waits to be written to one OpenFlow connection.
//!
//! The control task puts messages in, the connection's task takes them out. A controller that
//! does not read makes neither grow: while replies wait, its further requests do, and of
//! asynchronous messages the oldest is dropped for the newest.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Messages for one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<(Kind, Vec<u8>)>,
    reply_bytes: usize,
    notice_bytes: usize,
    dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reply,
    Notice,
}

impl Outbox {
    /// Adds the answer to a request. Never refused: [`Outbox::is_congested`] says when to stop
    /// taking requests.
    pub fn reply(&self, message: Vec<u8>) {
        let mut queue = self.lock();
        queue.reply_bytes += message.len();
        queue.messages.push_back((Kind::Reply, message));
        self.filled.notify_one();
    }

    /// Adds an asynchronous message, for which the oldest may have to go.
    pub fn notice(&self, message: Vec<u8>) {
        let mut queue = self.lock();
        queue.notice_bytes += message.len();
        queue.messages.push_back((Kind::Notice, message));
        while queue.notice_bytes > NOTICE_BYTES_MAX {
            queue.drop_oldest_notice();
        }
        self.filled.notify_one();
    }

    /// Whether the peer is to read before it gets further replies.
    pub fn is_congested(&self) -> bool {
        self.lock().reply_bytes > REPLY_BYTES_MAX
    }

    /// Asynchronous messages dropped because the peer did not read.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Appends waiting messages to `bytes`, up to what one write should hold; whether there were
    /// any.
    pub fn take(&self, bytes: &mut Vec<u8>) -> bool {
        let mut queue = self.lock();
        let before = bytes.len();
        while bytes.len() < WRITE_BYTES {
            let Some((kind, message)) = queue.messages.pop_front() else {
                break;
            };
            queue.account(kind, message.len());
            bytes.extend_from_slice(&message);
        }
        bytes.len() > before
    }

    /// Waits until there is something to take.
    pub async fn filled(&self) {
        while self.lock().messages.is_empty() {
            self.filled.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
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
        }
    }
}

/// A few of the largest messages (64 KiB each): enough to keep the peer busy, little enough for
/// hundreds of peers that do not read.
const REPLY_BYTES_MAX: usize = 256 << 10;
/// Some thousand packet-ins of small packets, or a few hundred whole ones.
const NOTICE_BYTES_MAX: usize = 1 << 20;
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
        assert!(outbox.take(&mut bytes));
        assert_eq!(bytes, [1, 2, 3, 4]);
        assert!(!outbox.take(&mut bytes));
    }

    #[test]
    fn the_oldest_notices_go_first_and_replies_stay() {
        let outbox = Outbox::default();
        outbox.reply(vec![0xff]);
        let size = NOTICE_BYTES_MAX / 4;
        (0..6u8).for_each(|number| outbox.notice(vec![number; size]));
        assert_eq!(outbox.dropped(), 2);
        let mut numbers = Vec::new();
        let mut bytes = Vec::new();
        while outbox.take(&mut bytes) {
            numbers.extend(bytes.iter().copied());
            bytes.clear();
        }
        numbers.dedup();
        assert_eq!(numbers, [0xff, 2, 3, 4, 5]);
    }

    #[test]
    fn congestion_ends_when_the_peer_reads() {
        let outbox = Outbox::default();
        outbox.notice(vec![0; NOTICE_BYTES_MAX]);
        assert!(!outbox.is_congested());
        outbox.reply(vec![0; REPLY_BYTES_MAX + 1]);
        assert!(outbox.is_congested());
        while outbox.take(&mut Vec::new()) {}
        assert!(!outbox.is_congested());
    }
}
