//! No cache line is written by two workers while their packets hit: so a worker more costs the
//! others nothing, whatever their number.
//!
//! How: two packet paths over the same state, made by one thread as the daemon does, run in turn,
//! each on a thread of its own. Before and after, all memory of this process that can be written is
//! read, and lines of 64 bytes are compared. That this finds a shared line is shown by a counter
//! that both have.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use perf::bridge::{Bridge, COUNTED_TOGETHER, batches};
use perf::judge::scenarios;
use pmd::{Eal, EalConfig, Pools, PoolsConfig};
use vswitch::action::PortNo;
use vswitch::datapath::{Now, Processor};

#[test]
fn two_workers_write_no_line_both() {
    let eal = Eal::start(EalConfig {
        memory_mib: 64,
        args: vec!["--no-huge".into()],
        ..EalConfig::default()
    });
    let config = PoolsConfig {
        worker_cpus: vec![0, 0],
        small: 4096,
        large: 16,
    };
    let pools = Pools::new(&eal.unwrap(), &config).unwrap();
    for name in ["l3-1k", "pipeline-1k"] {
        let scenario = scenarios::named(name).remove(0);
        let traffic = (scenario.traffic)();
        let frames: Vec<_> = (0..FRAMES).map(|number| traffic.frame(number)).collect();
        let mut bridge = Bridge::new(&(scenario.rules)()).unwrap();
        for (counts_together, expected) in [(false, 0), (true, 1)] {
            let counter = Arc::new(Line(AtomicU64::new(0)));
            let shared = || counts_together.then(|| counter.clone());
            let mut made = || bridge.processor(&pools, 4096).unwrap();
            let processors = [(made(), &frames[..]), (made(), &frames), (made(), &[])];
            let port = bridge.ports[0];
            let workers = processors
                .map(|(path, frames)| Worker::start(path, port, frames, &pools, shared()));
            let (each, both) = lines(workers);
            println!(
                "{name}: lines of {FRAMES} packets: {each:?}, of both: {}",
                both.len()
            );
            assert!(each.iter().all(|&lines| lines > 10), "{name}: {each:?}");
            assert_eq!(both.len(), expected, "{name}: both wrote {both:x?}");
        }
    }
}

/// How many lines each worker wrote, and those that both wrote.
fn lines(mut workers: [Worker; 3]) -> ([usize; 2], Vec<u64>) {
    for worker in &mut workers {
        (0..WARM).for_each(|_| worker.turn());
    }
    let mut memory = Memory::new();
    // All room is taken at first; then what this thread writes itself.
    let mut found: [Vec<u64>; 5] = std::array::from_fn(|_| Vec::with_capacity(CHANGED_MAX));
    let [room, own, one, more, two] = &mut found;
    let lists = [room, own, one, more, two];
    for (list, worker) in lists.into_iter().zip([IDLE, IDLE, 0, IDLE, 1]) {
        workers[worker].turn();
        memory.changed(list);
    }
    let [_, own, one, more, two] = &found;
    for list in [own, one, more, two] {
        assert!(list.len() < CHANGED_MAX, "there is no room for more");
    }
    let both = one.iter().filter(|line| {
        let is_among = |list: &[u64]| list.binary_search(line).is_ok();
        is_among(two) && !is_among(own) && !is_among(more)
    });
    let both = both.copied().collect();
    let each = [one.len(), two.len()];
    workers.into_iter().for_each(Worker::end);
    (each, both)
}

/// A thread that takes its packets through its path when it is told to.
struct Worker {
    line: UnixStream,
    thread: JoinHandle<()>,
}

impl Worker {
    fn start(
        mut path: Processor,
        port: PortNo,
        frames: &[Vec<u8>],
        pools: &Pools,
        counter: Option<Arc<Line>>,
    ) -> Worker {
        let (line, mut theirs) = UnixStream::pair().unwrap();
        let (frames, pools) = (frames.to_vec(), pools.clone());
        let thread = thread::spawn(move || {
            let _worker = pmd::register_worker(0).unwrap();
            let mut now = Now { ns: 1_000_000_000 };
            let mut word = [0];
            while theirs.read(&mut word).unwrap() > 0 {
                for frames in frames.chunks(COUNTED_TOGETHER) {
                    let mut batch = batches(frames, &pools).unwrap().remove(0);
                    path.process(port, &mut batch, now);
                    path.flush();
                    if let Some(counter) = &counter {
                        counter.0.fetch_add(1, Ordering::Relaxed);
                    }
                }
                now.ns += 1_000_000;
                theirs.write_all(&word).unwrap();
            }
        });
        Worker { line, thread }
    }

    /// All its packets once.
    fn turn(&mut self) {
        self.line.write_all(&[1]).unwrap();
        self.line.read_exact(&mut [0]).unwrap();
    }

    fn end(self) {
        drop(self.line);
        self.thread.join().unwrap();
    }
}

/// A counter with a line to itself.
#[repr(align(64))]
struct Line(AtomicU64);

/// The memory of this process that can be written: a hash of each line, now and before. All room
/// that this takes is taken at first.
struct Memory {
    maps: Vec<u8>,
    page: Vec<u8>,
    now: Hashes,
    then: Hashes,
}

/// Hashes of lines, one mapping behind the other: start of each, place of its first line, and how
/// many there are.
struct Hashes {
    areas: Vec<(u64, usize, usize)>,
    lines: Vec<u64>,
}

impl Hashes {
    fn new() -> Hashes {
        Hashes {
            areas: Vec::with_capacity(AREAS_MAX),
            lines: Vec::with_capacity(LINES_MAX),
        }
    }

    /// The hashes of a mapping's lines.
    fn of(&self, start: u64) -> &[u64] {
        let area = self.areas.iter().find(|(other, ..)| *other == start);
        area.map_or(&[], |&(_, first, count)| &self.lines[first..first + count])
    }
}

impl Memory {
    fn new() -> Memory {
        let mut memory = Memory {
            maps: vec![0; 1 << 20],
            page: vec![0; 1 << 20],
            now: Hashes::new(),
            then: Hashes::new(),
        };
        memory.read();
        memory
    }

    /// Addresses of lines whose contents changed since the last call, in ascending order, without
    /// those of what is compared here.
    fn changed(&mut self, changed: &mut Vec<u64>) {
        std::mem::swap(&mut self.now, &mut self.then);
        self.read();
        for &(start, first, count) in &self.now.areas {
            let lines = &self.now.lines[first..first + count];
            let pairs = lines.iter().zip(self.then.of(start)).enumerate();
            for (index, _) in pairs.filter(|(_, (now, then))| now != then) {
                let line = start + (index * LINE) as u64;
                if changed.len() < changed.capacity() && !self.is_own(line) {
                    changed.push(line);
                }
            }
        }
    }

    fn is_own(&self, line: u64) -> bool {
        let holds =
            |start: u64, bytes: usize| line + LINE as u64 > start && line < start + bytes as u64;
        let of = |hashes: &Hashes| {
            holds(hashes.lines.as_ptr() as u64, LINES_MAX * 8)
                || holds(hashes.areas.as_ptr() as u64, AREAS_MAX * AREA)
        };
        let bytes = [&self.maps, &self.page];
        let is_of_bytes = |bytes: &Vec<u8>| holds(bytes.as_ptr() as u64, bytes.len());
        of(&self.now) || of(&self.then) || bytes.into_iter().any(is_of_bytes)
    }

    fn read(&mut self) {
        let mut length = 0;
        let mut maps = File::open("/proc/self/maps").unwrap();
        loop {
            match maps.read(&mut self.maps[length..]).unwrap() {
                0 => break,
                more => length += more,
            }
        }
        let memory = File::open("/proc/self/mem").unwrap();
        let Hashes { areas, lines } = &mut self.now;
        areas.clear();
        lines.clear();
        let text = str::from_utf8(&self.maps[..length]).unwrap();
        for (start, end) in text.lines().filter_map(writable) {
            let (first, mut at) = (lines.len(), start);
            while at < end {
                let size = self.page.len().min((end - at) as usize);
                let page = &mut self.page[..size];
                if memory.read_exact_at(page, at).is_err() {
                    break;
                }
                lines.extend(page.chunks(LINE).map(hash));
                at += size as u64;
            }
            areas.push((start, first, lines.len() - first));
        }
        let fits = lines.len() < LINES_MAX && areas.len() < AREAS_MAX;
        assert!(fits, "there is no room for {} lines", lines.len());
    }
}

/// Start and end of a mapping that can be written, of its line in `maps`.
fn writable(line: &str) -> Option<(u64, u64)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    rest.starts_with("rw")
        .then_some((number(start)?, number(end)?))
}

fn hash(line: &[u8]) -> u64 {
    let (words, _) = line.as_chunks::<8>();
    words.iter().fold(0, |hash: u64, word| {
        (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// Bytes of a cache line.
const LINE: usize = 64;
/// The place of the worker that has no packets.
const IDLE: usize = 2;
/// More lines than change in a turn.
const CHANGED_MAX: usize = 1 << 16;
/// More mappings than this process has, and bytes noted of each.
const AREAS_MAX: usize = 4096;
const AREA: usize = size_of::<(u64, usize, usize)>();
/// More lines than it has: of 512 MiB.
const LINES_MAX: usize = 1 << 23;
/// Frames of a turn, and turns before it counts, after which all of them hit.
const FRAMES: u64 = 512;
const WARM: usize = 4;
