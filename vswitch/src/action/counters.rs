//! What packets are counted in: written by workers, read by control.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use flowtable::Rows;

/// Packets and bytes, and when the last packet was counted. Written by workers, read by control.
#[derive(Debug)]
pub struct Counters {
    /// One more than that of the counters made before.
    number: u32,
    packets: AtomicU64,
    bytes: AtomicU64,
    used_ms: AtomicU64,
}

impl Default for Counters {
    fn default() -> Counters {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Counters {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            used_ms: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// Adds packets and bytes, the last of them at `now_ms`.
    pub fn add(&self, packets: u64, bytes: u64, now_ms: u64) {
        add(
            [&self.packets, &self.bytes, &self.used_ms],
            packets,
            bytes,
            now_ms,
        );
    }

    /// Packets, bytes, and the time of the last in milliseconds.
    pub fn read(&self) -> (u64, u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.packets), load(&self.bytes), load(&self.used_ms))
    }
}

/// The counters of a flow: a row that is given to another flow some time after the flow has gone.
/// The serial number tells, so that what is counted late never goes to that other flow.
#[derive(Clone)]
pub struct FlowCounters {
    rows: Arc<Rows>,
    row: u32,
    serial: u64,
}

impl FlowCounters {
    /// Words of a row that the counters of a flow take; what follows is the owner's.
    pub const WORDS: usize = 4;

    /// The counters of the flow that has a row now.
    pub fn of_row(rows: &Arc<Rows>, row: u32) -> Option<FlowCounters> {
        Some(FlowCounters {
            rows: Arc::clone(rows),
            row,
            serial: FlowCounters::serial_of(rows, row)?,
        })
    }

    /// Gives a row to another flow; with serial number 0 to none.
    pub fn give(row: &[AtomicU64], serial: u64) {
        row[..SERIAL]
            .iter()
            .for_each(|word| word.store(0, Ordering::Relaxed));
        row[SERIAL].store(serial, Ordering::Release);
    }

    /// The serial number of the flow that has a row now.
    pub fn serial_of(rows: &Rows, row: u32) -> Option<u64> {
        Some(rows.get(row)?[SERIAL].load(Ordering::Acquire))
    }

    /// Number of the row.
    pub fn row(&self) -> u32 {
        self.row
    }

    /// Tells the flow from every other of its bridge.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Adds packets and bytes, the last of them at `now_ms`.
    pub fn add(&self, packets: u64, bytes: u64, now_ms: u64) {
        if let Some([a, b, c, ..]) = self.words() {
            add([a, b, c], packets, bytes, now_ms);
        }
    }

    /// Packets, bytes, and the time of the last in milliseconds; zero for a flow that has gone and
    /// been forgotten.
    pub fn read(&self) -> (u64, u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        match self.words() {
            Some([a, b, c, ..]) => (load(a), load(b), load(c)),
            _ => (0, 0, 0),
        }
    }

    fn words(&self) -> Option<&[AtomicU64]> {
        let words = self.rows.get(self.row)?;
        (words[SERIAL].load(Ordering::Acquire) == self.serial).then_some(words)
    }
}

impl fmt::Debug for FlowCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (packets, bytes, used_ms) = self.read();
        let serial = self.serial;
        write!(
            f,
            "flow {serial}: {packets} packets, {bytes} bytes, used at {used_ms} ms"
        )
    }
}

/// Those of the same flow.
impl PartialEq for FlowCounters {
    fn eq(&self, other: &FlowCounters) -> bool {
        let place = (self.serial, self.row) == (other.serial, other.row);
        place && Arc::ptr_eq(&self.rows, &other.rows)
    }
}

impl Eq for FlowCounters {}

impl Hash for FlowCounters {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.serial, self.row, Arc::as_ptr(&self.rows)).hash(state);
    }
}

/// What a program counts a packet in.
#[derive(Clone, Debug)]
pub enum Counted {
    /// Counters of their own: those of tables and groups.
    Shared(Arc<Counters>),
    /// Those of a flow and of its table: a packet that matches is counted in both.
    Flow(FlowCounters, Arc<Counters>),
}

impl Counted {
    /// Adds packets and bytes, the last of them at `now_ms`.
    #[inline(never)]
    pub fn add(&self, packets: u64, bytes: u64, now_ms: u64) {
        match self {
            Counted::Shared(counters) => counters.add(packets, bytes, now_ms),
            Counted::Flow(flow, table) => {
                flow.add(packets, bytes, now_ms);
                table.add(packets, bytes, now_ms);
            }
        }
    }
}

/// The same, borrowed from a state.
#[derive(Clone, Copy, Debug)]
pub enum CountedIn<'a> {
    /// [`Counted::Shared`].
    Shared(&'a Arc<Counters>),
    /// [`Counted::Flow`].
    Flow {
        /// Where the row is.
        rows: &'a Arc<Rows>,
        /// Its number.
        row: u32,
        /// That of the flow.
        serial: u64,
        /// Those of its table.
        table: &'a Arc<Counters>,
    },
}

impl CountedIn<'_> {
    /// To be kept longer than the state.
    pub fn kept(self) -> Counted {
        match self {
            CountedIn::Shared(counters) => Counted::Shared(Arc::clone(counters)),
            CountedIn::Flow {
                rows,
                row,
                serial,
                table,
            } => {
                let rows = Arc::clone(rows);
                Counted::Flow(FlowCounters { rows, row, serial }, Arc::clone(table))
            }
        }
    }

    /// Whether these are the same counters, whatever they read.
    #[inline(always)]
    pub fn is(self, other: &Counted) -> bool {
        match (self, other) {
            (CountedIn::Shared(ours), Counted::Shared(theirs)) => Arc::ptr_eq(ours, theirs),
            (
                CountedIn::Flow {
                    rows, row, serial, ..
                },
                Counted::Flow(theirs, _),
            ) => (serial, row) == (theirs.serial, theirs.row) && Arc::ptr_eq(rows, &theirs.rows),
            _ => false,
        }
    }

    /// A number that counters which are made together have close to each other.
    #[inline(always)]
    pub fn number(self) -> u32 {
        match self {
            CountedIn::Shared(counters) => counters.number,
            CountedIn::Flow { row, .. } => row,
        }
    }
}

impl<'a> From<&'a Counted> for CountedIn<'a> {
    fn from(counted: &'a Counted) -> CountedIn<'a> {
        match counted {
            Counted::Shared(counters) => CountedIn::Shared(counters),
            Counted::Flow(FlowCounters { rows, row, serial }, table) => CountedIn::Flow {
                rows,
                row: *row,
                serial: *serial,
                table,
            },
        }
    }
}

/// The same counters, whatever they read.
impl PartialEq for Counted {
    fn eq(&self, other: &Counted) -> bool {
        match (self, other) {
            (Counted::Shared(ours), Counted::Shared(theirs)) => Arc::ptr_eq(ours, theirs),
            (Counted::Flow(ours, _), Counted::Flow(theirs, _)) => ours == theirs,
            _ => false,
        }
    }
}

impl Eq for Counted {}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Counted::Shared(counters) => Arc::as_ptr(counters).hash(state),
            Counted::Flow(flow, _) => flow.hash(state),
        }
    }
}

impl From<&Arc<Counters>> for Counted {
    fn from(counters: &Arc<Counters>) -> Counted {
        Counted::Shared(Arc::clone(counters))
    }
}

fn add([a, b, used]: [&AtomicU64; 3], packets: u64, bytes: u64, now_ms: u64) {
    a.fetch_add(packets, Ordering::Relaxed);
    b.fetch_add(bytes, Ordering::Relaxed);
    // Most often it was used in this millisecond already, and a look is cheaper.
    if used.load(Ordering::Relaxed) < now_ms {
        used.fetch_max(now_ms, Ordering::Relaxed);
    }
}

const SERIAL: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_late_does_not_go_to_the_next_flow() {
        let rows = Arc::new(Rows::new(FlowCounters::WORDS));
        let row = rows.grow(5).expect("room");
        FlowCounters::give(row, 1);
        let first = FlowCounters::of_row(&rows, 5).expect("made");
        first.add(1, 60, 10);
        assert_eq!(first.read(), (1, 60, 10));
        FlowCounters::give(row, 2);
        first.add(1, 60, 20);
        let second = FlowCounters::of_row(&rows, 5).expect("made");
        assert_eq!((first.read(), second.read()), ((0, 0, 0), (0, 0, 0)));
    }
}
