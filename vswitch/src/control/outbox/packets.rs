//! Packet-ins that wait for one controller: by port, and the ports in turn, so that one that
//! floods makes no other wait. What there is no room for is the oldest of the port that has most.

use std::collections::{BTreeMap, VecDeque};

use super::super::pace::{Limit, Pace};

/// Packet-ins by the port that they came in by.
#[derive(Debug, Default)]
pub struct Packets {
    ports: BTreeMap<u32, Waiting>,
    /// Ports that have something, in the order in which they are served.
    turns: VecDeque<u32>,
    count: usize,
    bytes: usize,
    pace: Option<Pace>,
    dropped: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Packets {
    /// With a limit to how many go out.
    pub fn new(limit: Option<Limit>) -> Packets {
        Packets {
            pace: limit.map(Pace::new),
            ..Packets::default()
        }
    }

    /// Adds a message about a packet of a port.
    pub fn push(&mut self, port: u32, message: Vec<u8>) {
        let waiting = self.ports.entry(port).or_default();
        if waiting.messages.is_empty() {
            self.turns.push_back(port);
        }
        waiting.bytes += message.len();
        self.bytes += message.len();
        self.count += 1;
        waiting.messages.push_back(message);
        let burst = self.pace.as_ref().map(|pace| pace.limit().burst as usize);
        while self.bytes > BYTES_MAX || burst.is_some_and(|burst| self.count > burst) {
            self.drop_one();
        }
    }

    /// The oldest message of the port whose turn it is, if it is time for one.
    pub fn pop(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        let port = *self.turns.front()?;
        if !self.pace.as_mut().is_none_or(|pace| pace.take(now_ms)) {
            return None;
        }
        self.turns.pop_front();
        let message = self.take_from(port)?;
        if self.ports.contains_key(&port) {
            self.turns.push_back(port);
        }
        Some(message)
    }

    /// When there is something to take; `None` if nothing waits.
    pub fn due_ms(&self) -> Option<u64> {
        self.turns.front()?;
        Some(self.pace.as_ref().map_or(0, Pace::due_ms))
    }

    /// Whether what goes out is limited.
    pub fn is_paced(&self) -> bool {
        self.pace.is_some()
    }

    /// Bytes of all that waits.
    #[cfg(any(test, fuzzing))]
    pub fn bytes(&self) -> usize {
        let waiting = self.ports.values().flat_map(|port| &port.messages);
        assert_eq!(waiting.map(Vec::len).sum::<usize>(), self.bytes);
        self.bytes
    }

    /// Messages that there was no room for.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Drops the oldest message of the port that has most bytes waiting. The search is over ports
    /// that wait, and only while there is no room.
    fn drop_one(&mut self) {
        let most = self.ports.iter().max_by_key(|(_, waiting)| waiting.bytes);
        let Some(port) = most.map(|(port, _)| *port) else {
            return;
        };
        self.take_from(port);
        self.dropped += 1;
        if !self.ports.contains_key(&port) {
            self.turns.retain(|turn| *turn != port);
        }
    }

    fn take_from(&mut self, port: u32) -> Option<Vec<u8>> {
        let waiting = self.ports.get_mut(&port)?;
        let message = waiting.messages.pop_front()?;
        waiting.bytes -= message.len();
        self.bytes -= message.len();
        self.count -= 1;
        if waiting.messages.is_empty() {
            self.ports.remove(&port);
        }
        Some(message)
    }
}

/// Some thousand packet-ins of small packets, or a few hundred whole ones.
pub const BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(packets: &mut Packets, now_ms: u64) -> Vec<u8> {
        let messages = std::iter::from_fn(|| packets.pop(now_ms));
        messages.map(|message| message[0]).collect()
    }

    #[test]
    fn ports_are_served_in_turn_and_each_in_order() {
        let mut packets = Packets::default();
        (0..4).for_each(|number| packets.push(1, vec![number]));
        (10..12).for_each(|number| packets.push(2, vec![number]));
        assert_eq!(taken(&mut packets, 0), [0, 10, 1, 11, 2, 3]);
        assert_eq!(packets.due_ms(), None);
    }

    #[test]
    fn a_port_that_floods_loses_its_own() {
        let mut packets = Packets::default();
        packets.push(2, vec![200; 100]);
        for number in 0..100 {
            packets.push(1, vec![number; BYTES_MAX / 10]);
        }
        packets.push(2, vec![201; 100]);
        assert_eq!(packets.dropped(), 91);
        let taken = taken(&mut packets, 0);
        assert_eq!(taken, [200, 91, 201, 92, 93, 94, 95, 96, 97, 98, 99]);
    }

    #[test]
    fn a_limit_is_kept_and_shared() {
        let limit = Limit { rate: 10, burst: 4 };
        let mut packets = Packets::new(Some(limit));
        (0..50).for_each(|number| packets.push(1, vec![number]));
        packets.push(2, vec![100]);
        assert_eq!(packets.dropped(), 47, "four wait");
        assert_eq!(taken(&mut packets, 0), [47, 100, 48, 49]);
        packets.push(1, vec![50]);
        assert_eq!(packets.pop(0), None);
        assert_eq!(packets.due_ms(), Some(100));
        assert_eq!(taken(&mut packets, 100), [50]);
    }
}
