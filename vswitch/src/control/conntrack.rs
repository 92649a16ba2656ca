//! Control's side of connection tracking: what the configuration says of it, and what people and
//! controllers want to see of connections or have ended.
//!
//! Called by the provisioner, the management socket and OpenFlow agents. Workers have trackers of
//! their own; the one here looks at connections a page at a time, so that it holds back no memory
//! for long and the control task has other things to do between pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowtable::conntrack::{
    Connection, Direction, Phase, Strictness, Table, Tally, Timeout, Tracker, Tuple,
};

use super::clock::Clock;
use super::config::{Conntrack, Timeouts};
use crate::datapath::Held;

mod filter;

pub use filter::{Ends, Filter};

/// The connections of all workers.
#[derive(Debug)]
pub struct Connections {
    table: Arc<Table>,
    tracker: Mutex<Tracker>,
    fragments: Arc<Held>,
    clock: Clock,
    /// Names of policies by number, from 1 on. A number is that of one name for ever, since
    /// connections keep it.
    policies: Mutex<Vec<String>>,
}

/// What a page of connections shows.
#[derive(Debug, Default)]
pub struct Page {
    /// Those that fit the filter.
    pub connections: Vec<Connection>,
    /// Where to go on, if there are more.
    pub next: Option<u32>,
}

/// How many connections there are of what kind.
#[derive(Debug, Default)]
pub struct Census {
    /// By IP protocol.
    pub protocols: BTreeMap<u8, u64>,
    /// Those of TCP by state.
    pub tcp: BTreeMap<&'static str, u64>,
    /// By zone.
    pub zones: BTreeMap<u16, u64>,
}

impl Connections {
    /// Control's side of a table; nothing if too many have one already.
    pub fn new(table: Arc<Table>, clock: Clock) -> Option<Connections> {
        Some(Connections {
            tracker: Mutex::new(table.tracker()?),
            table,
            fragments: Arc::default(),
            clock,
            policies: Mutex::default(),
        })
    }

    /// The table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Fragments that wait to be tracked.
    pub fn fragments(&self) -> &Arc<Held> {
        &self.fragments
    }

    /// Makes timeouts, zones and strictness what the configuration says.
    pub fn configure(&self, wanted: &Conntrack) {
        self.table.set_strictness(Strictness {
            picks_up: wanted.tcp_loose,
            checks_window: wanted.tcp_window_check,
        });
        self.table.set_default_limit(wanted.zone_limit);
        self.set_timeouts(0, &wanted.timeouts);
        for policy in &wanted.policies {
            if let Some(number) = self.policy(&policy.name) {
                self.set_timeouts(number, &policy.timeouts);
            }
        }
        for zone in 0..=u16::MAX {
            let said = wanted.zones.get(&zone);
            self.table.set_limit(zone, said.and_then(|zone| zone.limit));
            let policy = said.and_then(|zone| self.policy(zone.policy.as_ref()?));
            self.table.set_policy(zone, policy.unwrap_or(0));
        }
    }

    /// The number of a policy, a new one if it has none; nothing if all are taken.
    fn policy(&self, name: &str) -> Option<u8> {
        let mut names = lock(&self.policies);
        let place = names.iter().position(|known| known == name);
        let place = place.unwrap_or(names.len());
        let number = u8::try_from(place + 1).ok()?;
        if place == names.len() {
            names.push(name.to_owned());
        }
        Some(number)
    }

    fn set_timeouts(&self, policy: u8, wanted: &Timeouts) {
        for (timeout, name, usual) in Timeout::ALL {
            let seconds = wanted.get(name).copied().unwrap_or(usual);
            self.table.set_timeout(policy, timeout, seconds);
        }
    }

    /// Connections from a place on, 0 at first; looks at a bounded part of the table.
    pub fn page(&self, from: u32, filter: &Filter) -> Page {
        let mut page = Page::default();
        page.next = self.look(from, |connection| {
            if filter.fits(connection) {
                page.connections.push(*connection);
            }
        });
        page
    }

    /// Ends all connections that fit a filter: those of one tuple or one zone before it returns,
    /// others soon.
    pub fn flush(self: &Arc<Connections>, filter: Filter) {
        if self.end_at_once(&filter).is_some() {
            tokio::spawn(Arc::clone(self).take_back());
            return;
        }
        if let Some(tuple) = filter.tuple() {
            return self.end_one(&tuple, &filter);
        }
        let connections = Arc::clone(self);
        tokio::spawn(async move { connections.end_all(&filter).await });
    }

    /// Ends the connection whose original direction has this tuple, if it fits.
    fn end_one(&self, tuple: &Tuple, filter: &Filter) {
        let mut tracker = lock(&self.tracker);
        tracker.begin(self.clock.now_ms());
        if let Some((handle, Direction::Original)) = tracker.find(tuple)
            && tracker
                .show(handle)
                .is_some_and(|found| filter.fits(&found))
        {
            tracker.remove(handle);
        }
        tracker.end();
    }

    /// Ends all connections, or those of a zone, if that is what a filter asks for; how many that
    /// were.
    fn end_at_once(&self, filter: &Filter) -> Option<u64> {
        if *filter == Filter::default() {
            return Some(self.table.flush());
        }
        let zone = filter.zone_alone()?;
        Some(self.table.flush_zone(zone))
    }

    /// Ends all connections that fit a filter, one by one a page at a time if they are some among
    /// others. Returns how many.
    pub async fn end_all(&self, filter: &Filter) -> u64 {
        if let Some(ended) = self.end_at_once(filter) {
            return ended;
        }
        let (mut ended, mut from) = (0, Some(0));
        while let Some(place) = from {
            let (count, next) = self.end(place, filter);
            (ended, from) = (ended + count, next);
            tokio::task::yield_now().await;
        }
        ended
    }

    /// The same from a place on, and where to go on.
    fn end(&self, from: u32, filter: &Filter) -> (u64, Option<u32>) {
        let page = self.page(from, filter);
        let mut tracker = lock(&self.tracker);
        tracker.begin(self.clock.now_ms());
        let ended = page.connections.iter().filter(|connection| {
            // The place may be another connection's by now.
            tracker.remove(connection.handle)
        });
        let count = ended.count() as u64;
        tracker.end();
        (count, page.next)
    }

    /// Takes back the memory of connections that were ended all at once, beside the workers, until
    /// there is no more.
    async fn take_back(self: Arc<Connections>) {
        let take = || lock(&self.tracker).maintain(self.clock.now_ms(), TAKEN_AT_ONCE);
        // Workers that begin connections find a shard's lock held but for a moment.
        while (0..TAKES).all(|_| take()) {
            tokio::task::yield_now().await;
        }
    }

    /// Has memory at hand for connections that workers will make, before they do. It looks how far
    /// they are by itself: a worker that had to wake it would make system calls.
    pub async fn warm(self: Arc<Connections>) {
        loop {
            let pause = match self.table.warm(WARMED_AT_ONCE) {
                0 => WARM_PAUSE_MAX,
                _ => WARM_PAUSE,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Counts connections from a place on; returns where to go on.
    pub fn count(&self, from: u32, census: &mut Census) -> Option<u32> {
        self.look(from, |connection| {
            let original = &connection.original;
            *census.protocols.entry(original.proto).or_default() += 1;
            *census.zones.entry(original.zone).or_default() += 1;
            if let Some(phase) = connection.tcp {
                *census.tcp.entry(phase_name(phase)).or_default() += 1;
            }
        })
    }

    /// What all trackers have counted.
    pub fn tally(&self) -> Tally {
        self.table.tally()
    }

    fn look(&self, from: u32, show: impl FnMut(&Connection)) -> Option<u32> {
        let mut tracker = lock(&self.tracker);
        tracker.begin(self.clock.now_ms());
        let next = tracker.list(from, PAGE_RECORDS, show);
        tracker.end();
        next
    }
}

/// A state of TCP as Open vSwitch's tools tell it.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::None => "NONE",
        Phase::SynSent => "SYN_SENT",
        Phase::SynSent2 => "SYN_SENT2",
        Phase::SynRecv => "SYN_RECV",
        Phase::Established => "ESTABLISHED",
        Phase::FinWait => "FIN_WAIT_1",
        Phase::CloseWait => "CLOSE_WAIT",
        Phase::LastAck => "LAST_ACK",
        Phase::TimeWait => "TIME_WAIT",
        Phase::Close => "CLOSED",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections whose memory is warmed in one go, which takes the kernel a millisecond or two, and
/// how long before the next go: workers can make several millions a second, even if this waits for
/// a CPU that others have, too.
const WARMED_AT_ONCE: u32 = 1 << 14;
const WARM_PAUSE: Duration = Duration::from_millis(2);
/// How long before the next look if there was nothing to do.
const WARM_PAUSE_MAX: Duration = Duration::from_millis(20);
/// Connections whose memory is taken back in one go, and goes before others have their turn: a few
/// tenths of a millisecond.
const TAKEN_AT_ONCE: usize = 64;
const TAKES: usize = 16;
/// Places of the table that are looked at in one go: a millisecond or two.
const PAGE_RECORDS: usize = 4096;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use flowtable::conntrack::{Body, Item, Packet, Request, mapped};

    use super::*;

    #[tokio::test]
    async fn what_a_flush_ends_is_taken_back_without_a_worker() {
        const COUNT: u16 = 10_000;
        let table = Arc::new(Table::new(usize::from(COUNT), 1, |_, _| ()).expect("memory"));
        let connections = Connections::new(Arc::clone(&table), Clock::new(Instant::now()));
        let connections = Arc::new(connections.expect("a tracker"));
        let mut worker = table.tracker().expect("a tracker");
        let request = Request {
            commits: true,
            ..Request::default()
        };
        worker.begin(0);
        for src_port in 0..COUNT {
            let tuple = Tuple {
                src: mapped(1),
                dst: mapped(2),
                src_port,
                proto: 17,
                version: 4,
                ..Tuple::default()
            };
            let item = Item {
                packet: Packet {
                    tuple,
                    body: Body::Other,
                },
                known: None,
                is_translated: false,
            };
            worker.track(&request, &[item], |_, _| ());
        }
        worker.end();
        assert_eq!(table.taken(), u64::from(COUNT));
        connections.flush(Filter::default());
        // Nobody but who flushes does anything.
        for _ in 0..u64::from(COUNT) {
            tokio::task::yield_now().await;
        }
        assert_eq!(table.taken(), 0);
    }
}
