//! Neighbours that an endpoint asks for, and what they answered (RFC 1122 §2.3.2, RFC 4861 §7.3).
//!
//! Only who was asked for is believed: no host can fill the table. Who ceases to answer is
//! forgotten, and asked for again when somebody wants it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::limits;

/// Neighbours by address.
#[derive(Clone, Debug, Default)]
pub struct Neighbours(BTreeMap<IpAddr, Entry>);

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Its Ethernet address, once it has answered.
    mac: Option<u64>,
    /// When it was asked last.
    asked_ms: u64,
    /// How often, since it answered last.
    tries: u32,
    /// Until when its answer is believed.
    fresh_until_ms: u64,
}

impl Neighbours {
    /// Somebody wants one: whether it is to be asked now.
    pub fn want(&mut self, address: IpAddr, now_ms: u64) -> bool {
        let Neighbours(entries) = self;
        if entries.contains_key(&address) || entries.len() >= limits::NEIGHBOURS_MAX {
            return false;
        }
        let entry = Entry {
            mac: None,
            asked_ms: now_ms,
            tries: 1,
            fresh_until_ms: 0,
        };
        entries.insert(address, entry);
        true
    }

    /// One told its Ethernet address: whether that is news.
    pub fn heard(&mut self, address: IpAddr, mac: u64, now_ms: u64) -> bool {
        let Neighbours(entries) = self;
        let Some(entry) = entries.get_mut(&address) else {
            return false;
        };
        entry.tries = 0;
        entry.fresh_until_ms = now_ms + limits::REACHABLE_MS;
        entry.mac.replace(mac) != Some(mac)
    }

    /// Those that are to be asked now, again or anew; and whether one was forgotten that had
    /// answered.
    pub fn due(&mut self, now_ms: u64) -> (Vec<IpAddr>, bool) {
        let Neighbours(entries) = self;
        let before = answered(entries);
        let is_due = |entry: &Entry| {
            now_ms >= entry.fresh_until_ms && now_ms >= entry.asked_ms + limits::ASK_AGAIN_MS
        };
        entries.retain(|_, entry| !is_due(entry) || entry.tries < limits::ASKED_MAX);
        let has_lost = answered(entries) < before;
        let mut due = Vec::new();
        for (address, entry) in entries.iter_mut().filter(|(_, entry)| is_due(entry)) {
            entry.asked_ms = now_ms;
            entry.tries += 1;
            due.push(*address);
        }
        (due, has_lost)
    }

    /// Those that have answered, with their Ethernet addresses.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, u64)> + '_ {
        let Neighbours(entries) = self;
        let known = entries.iter();
        known.filter_map(|(address, entry)| Some((*address, entry.mac?)))
    }
}

fn answered(entries: &BTreeMap<IpAddr, Entry>) -> usize {
    entries.values().filter(|entry| entry.mac.is_some()).count()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use limits::{ASK_AGAIN_MS, ASKED_MAX, NEIGHBOURS_MAX, REACHABLE_MS};

    const A: IpAddr = IpAddr::V4(crate::local::testing::A);

    #[test]
    fn who_does_not_answer_is_asked_again_and_then_forgotten() {
        let mut neighbours = Neighbours::default();
        assert!(neighbours.want(A, 0) && !neighbours.want(A, 1));
        assert_eq!(neighbours.due(ASK_AGAIN_MS - 1), (vec![], false));
        for time in 1..u64::from(ASKED_MAX) {
            assert_eq!(neighbours.due(time * ASK_AGAIN_MS), (vec![A], false));
        }
        assert_eq!(neighbours.due(10 * ASK_AGAIN_MS), (vec![], false));
        assert!(neighbours.want(A, 20_000), "forgotten");
    }

    #[test]
    fn an_answer_is_believed_for_a_while() {
        let mut neighbours = Neighbours::default();
        assert!(!neighbours.heard(A, 7, 0), "nobody asked");
        neighbours.want(A, 0);
        assert!(neighbours.heard(A, 7, 5) && !neighbours.heard(A, 7, 5));
        assert_eq!(neighbours.iter().collect::<Vec<_>>(), [(A, 7)]);
        assert_eq!(neighbours.due(REACHABLE_MS), (vec![], false));
        assert_eq!(neighbours.due(REACHABLE_MS + 5), (vec![A], false));
        assert!(neighbours.heard(A, 8, REACHABLE_MS + 6), "it has moved");
        let mut now = 2 * REACHABLE_MS + 6;
        let mut lost = false;
        for _ in 0..=ASKED_MAX {
            lost |= neighbours.due(now).1;
            now += ASK_AGAIN_MS;
        }
        assert!(lost && neighbours.iter().next().is_none());
    }

    #[test]
    fn there_are_only_so_many() {
        let mut neighbours = Neighbours::default();
        for number in 0..NEIGHBOURS_MAX as u32 {
            assert!(neighbours.want(Ipv4Addr::from_bits(number).into(), 0));
        }
        assert!(!neighbours.want(A, 0));
    }
}
