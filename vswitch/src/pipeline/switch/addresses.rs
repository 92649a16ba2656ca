//! Learned addresses: when each is to be forgotten, and whose turn it is when there are too many.
//!
//! A full table forgets an address of the port that has the most: a guest that makes addresses up
//! pushes out its own, not those of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use imbl::HashMap;

use super::MacEntry;
use super::deadlines::Deadlines;
use crate::action::{Heard, Learn, PortNo};

/// The published part: what translation asks.
pub type Macs = HashMap<(u16, u64), MacEntry>;

/// The writer's part.
#[derive(Debug)]
pub struct Addresses {
    /// Addresses at most.
    pub max: usize,
    /// Seconds after which an address that was not heard of is forgotten.
    pub age_s: u32,
    ports: BTreeMap<PortNo, Deadlines<(u16, u64), Arc<Heard>>>,
    /// Ports by number of addresses.
    sizes: BTreeSet<(usize, PortNo)>,
    /// Addresses that were learned, moved or forgotten since somebody asked.
    changed: Vec<u64>,
}

impl Addresses {
    /// No addresses.
    pub fn new(max: usize, age_s: u32) -> Addresses {
        Addresses {
            max,
            age_s,
            ports: BTreeMap::new(),
            sizes: BTreeSet::new(),
            changed: Vec::new(),
        }
    }

    /// Addresses that [`Addresses::learn`] and [`Addresses::expire`] have learned, moved or
    /// forgotten since the last call.
    pub fn changed(&mut self) -> impl Iterator<Item = u64> {
        self.changed.drain(..)
    }

    /// Notes that an address was heard on a port; whether that is news to the published part.
    pub fn learn(&mut self, macs: &mut Macs, learn: Learn, now_s: u32) -> bool {
        let key = (learn.vlan, learn.mac);
        if self.max == 0 {
            return false;
        }
        if let Some(entry) = macs.get(&key) {
            entry.heard.0.fetch_max(now_s, Ordering::Relaxed);
            if entry.port == learn.port {
                return false;
            }
            self.take(entry.port, key);
        } else if macs.len() >= self.max {
            self.evict(macs);
        }
        let heard = Arc::new(Heard(now_s.into()));
        self.put(learn.port, key, heard.clone(), self.end(now_s));
        let port = learn.port;
        self.changed.push(learn.mac);
        macs.insert(key, MacEntry { port, heard });
        true
    }

    /// Forgets addresses that were not heard of, looking at `steps` at most; how many it forgot,
    /// and whether there may be more.
    pub fn expire(&mut self, macs: &mut Macs, now_s: u32, steps: usize) -> (usize, bool) {
        let ports: Vec<_> = self.ports.keys().copied().collect();
        let mut forgotten = 0;
        let mut left = steps;
        for port in ports {
            while left > 0 {
                let Some((key, heard)) = self.pop_due(port, now_s) else {
                    break;
                };
                left -= 1;
                let end = self.end(heard.0.load(Ordering::Relaxed));
                if end > u64::from(now_s) {
                    self.put(port, key, heard, end);
                } else {
                    macs.remove(&key);
                    self.changed.push(key.1);
                    forgotten += 1;
                }
            }
        }
        (forgotten, left == 0)
    }

    /// Changes after how many seconds an address is forgotten.
    pub fn set_age(&mut self, age_s: u32) {
        self.age_s = age_s;
        for entries in self.ports.values_mut() {
            let mut old = std::mem::take(entries);
            while let Some((key, heard)) = old.pop_first() {
                let heard_s = heard.0.load(Ordering::Relaxed);
                let end = u64::from(heard_s) + u64::from(age_s);
                entries.set(key, heard, end);
            }
        }
    }

    /// Forgets what was learned on a port; whether there was anything.
    pub fn forget_port(&mut self, macs: &mut Macs, port: PortNo) -> bool {
        let Some(mut entries) = self.ports.remove(&port) else {
            return false;
        };
        self.sizes.remove(&(entries.len(), port));
        while let Some((key, _)) = entries.pop_first() {
            macs.remove(&key);
        }
        true
    }

    /// Forgets everything.
    pub fn clear(&mut self, macs: &mut Macs) {
        macs.clear();
        self.ports.clear();
        self.sizes.clear();
    }

    fn end(&self, heard_s: u32) -> u64 {
        u64::from(heard_s) + u64::from(self.age_s)
    }

    /// Makes room for one.
    fn evict(&mut self, macs: &mut Macs) {
        let Some((_, port)) = self.sizes.last().copied() else {
            return;
        };
        let oldest = self.resized(port, |entries| entries.pop_first());
        if let Some((key, _)) = oldest {
            self.changed.push(key.1);
            macs.remove(&key);
        }
    }

    fn put(&mut self, port: PortNo, key: (u16, u64), heard: Arc<Heard>, end: u64) {
        self.resized(port, |entries| entries.set(key, heard, end));
    }

    fn take(&mut self, port: PortNo, key: (u16, u64)) {
        self.resized(port, |entries| entries.remove(key));
    }

    fn pop_due(&mut self, port: PortNo, now_s: u32) -> Option<((u16, u64), Arc<Heard>)> {
        self.resized(port, |entries| entries.pop_due(now_s.into()))
    }

    /// Changes a port's addresses, keeping `sizes` true.
    fn resized<R>(
        &mut self,
        port: PortNo,
        change: impl FnOnce(&mut Deadlines<(u16, u64), Arc<Heard>>) -> R,
    ) -> R {
        let entries = self.ports.entry(port).or_default();
        self.sizes.remove(&(entries.len(), port));
        let result = change(entries);
        match entries.len() {
            0 => drop(self.ports.remove(&port)),
            len => drop(self.sizes.insert((len, port))),
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::BridgeId;

    fn learn(mac: u64, port: u32) -> Learn {
        Learn {
            bridge: BridgeId(0),
            vlan: 0,
            mac,
            port: PortNo(port),
        }
    }

    fn port_of(macs: &Macs, mac: u64) -> Option<u32> {
        macs.get(&(0, mac)).map(|entry| entry.port.0)
    }

    #[test]
    fn an_address_moves_and_ages() {
        let (mut addresses, mut macs) = (Addresses::new(10, 300), Macs::new());
        assert!(addresses.learn(&mut macs, learn(1, 1), 0));
        assert!(!addresses.learn(&mut macs, learn(1, 1), 100));
        assert!(addresses.learn(&mut macs, learn(1, 2), 200));
        assert_eq!(port_of(&macs, 1), Some(2));
        assert_eq!(addresses.expire(&mut macs, 499, 100), (0, false));
        assert_eq!(addresses.expire(&mut macs, 500, 100), (1, false));
        assert_eq!(port_of(&macs, 1), None);
    }

    #[test]
    fn what_workers_hear_keeps_an_address() {
        let (mut addresses, mut macs) = (Addresses::new(10, 300), Macs::new());
        addresses.learn(&mut macs, learn(1, 1), 0);
        let heard = macs.get(&(0, 1)).map(|entry| entry.heard.clone());
        heard.unwrap().0.store(250, Ordering::Relaxed);
        assert_eq!(addresses.expire(&mut macs, 300, 100), (0, false));
        assert_eq!(addresses.expire(&mut macs, 549, 100), (0, false));
        assert_eq!(addresses.expire(&mut macs, 550, 100), (1, false));
    }

    #[test]
    fn a_full_table_forgets_the_oldest_of_the_greediest_port() {
        let (mut addresses, mut macs) = (Addresses::new(4, 300), Macs::new());
        for (now, mac, port) in [(0, 1, 1), (1, 2, 2), (2, 3, 2), (3, 4, 2), (4, 5, 3)] {
            addresses.learn(&mut macs, learn(mac, port), now);
        }
        assert_eq!(macs.len(), 4);
        assert_eq!(port_of(&macs, 1), Some(1));
        assert_eq!(port_of(&macs, 2), None);
        assert_eq!(port_of(&macs, 5), Some(3));
    }

    #[test]
    fn a_port_takes_its_addresses_with_it() {
        let (mut addresses, mut macs) = (Addresses::new(4, 300), Macs::new());
        addresses.learn(&mut macs, learn(1, 1), 0);
        addresses.learn(&mut macs, learn(2, 2), 0);
        assert!(addresses.forget_port(&mut macs, PortNo(1)));
        assert!(!addresses.forget_port(&mut macs, PortNo(1)));
        assert_eq!((port_of(&macs, 1), port_of(&macs, 2)), (None, Some(2)));
        addresses.clear(&mut macs);
        assert!(macs.is_empty());
    }
}
