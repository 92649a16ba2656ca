//! Several workers on one table: each connection is one, whoever sees its packets.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::scope;

use flowtable::conntrack::{
    Nat, Packet, Range, Refusal, Request, Table, Tracker, Tuple, Verdict, mapped,
};

use super::bench::{ZONE, commit, item, look, tuple, udp};

const WORKERS: u32 = 4;
const NOW_MS: u64 = 5_000_000;

fn trackers(table: &Arc<Table>) -> Vec<Tracker> {
    let trackers = (0..WORKERS).map(|_| table.tracker().expect("a tracker"));
    trackers.collect()
}

/// Tracks a packet by itself, again if a thread was in the way that the machine had stopped.
fn track(tracker: &mut Tracker, request: &Request, packet: Packet) -> Verdict {
    loop {
        let mut verdict = None;
        tracker.begin(NOW_MS);
        tracker.track(request, &[item(packet)], |_, said| verdict = Some(*said));
        tracker.end();
        let verdict = verdict.expect("a verdict");
        if verdict.refusal != Some(Refusal::Busy) {
            return verdict;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_that_all_make_at_once_is_one() {
    const COUNT: u32 = 5_000;
    let table = Arc::new(Table::new(10_000, 3, |_, _| ()).expect("memory"));
    let handles = scope(|scope| {
        let work = |mut tracker: Tracker| {
            move || {
                let make = |client| {
                    let packet = udp(tuple(17, client, 1));
                    track(&mut tracker, &commit(), packet).known
                };
                let known = (0..COUNT).map(make);
                known.map(|known| known.expect("one").handle).collect()
            }
        };
        let threads = trackers(&table)
            .into_iter()
            .map(|tracker| scope.spawn(work(tracker)));
        let threads: Vec<_> = threads.collect();
        let handles = threads
            .into_iter()
            .map(|thread| thread.join().expect("it ended"));
        handles.collect::<Vec<Vec<_>>>()
    });
    assert!(handles.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(table.count(ZONE), COUNT);
}

#[test]
fn translations_of_all_workers_are_different() {
    const COUNT: u32 = 3_000;
    let table = Arc::new(Table::new(16_000, 3, |_, _| ()).expect("memory"));
    let range = Range {
        addresses: Some((mapped(1 << 24), mapped(1 << 24))),
        ports: Some((1, 60_000)),
    };
    let nat = Nat {
        source: Some(range),
        is_random: true,
        ..Nat::default()
    };
    let request = Request {
        nat: Some(nat),
        ..commit()
    };
    let request = &request;
    let all: Vec<Tuple> = scope(|scope| {
        let work = |(worker, mut tracker): (usize, Tracker)| {
            move || {
                let first = worker as u32 * COUNT;
                let make = |client| track(&mut tracker, request, udp(tuple(17, client, 1)));
                let verdicts = (first..first + COUNT).map(make);
                verdicts
                    .map(|verdict| verdict.translation.expect("one").to)
                    .collect()
            }
        };
        let trackers = trackers(&table).into_iter().enumerate();
        let threads: Vec<_> = trackers.map(|worker| scope.spawn(work(worker))).collect();
        let tuples = threads
            .into_iter()
            .map(|thread| thread.join().expect("it ended"));
        tuples.collect::<Vec<Vec<Tuple>>>().concat()
    });
    let different: HashSet<Tuple> = all.iter().copied().collect();
    assert_eq!(
        (all.len(), different.len()),
        (all.len(), (WORKERS * COUNT) as usize)
    );
}

/// Two workers send, two answer, a fifth flushes and all tidy up, in a table that is far too small:
/// whatever is told of a packet is told of its own connection.
#[test]
fn nobody_is_told_of_another_connection() {
    let table = Arc::new(Table::new(1_500, 3, |_, _| ()).expect("memory"));
    let is_over = AtomicBool::new(false);
    let told = AtomicU64::new(0);
    let (is_over, told) = (&is_over, &told);
    scope(|scope| {
        for (worker, mut tracker) in trackers(&table).into_iter().enumerate() {
            scope.spawn(move || {
                let mut seen = 0;
                for round in 0..60_000_u32 {
                    let client = round.wrapping_mul(2_654_435_761) % 4_000;
                    let packet = udp(tuple(17, client, 9));
                    let packet = match worker % 2 {
                        0 => packet,
                        _ => Packet {
                            tuple: packet.tuple.reversed(),
                            ..packet
                        },
                    };
                    let mark = Request {
                        mark: Some((client + 1, u32::MAX)),
                        ..if worker % 2 == 0 { commit() } else { look() }
                    };
                    let verdict = track(&mut tracker, &mark, packet);
                    if verdict.known.is_some() {
                        assert_eq!(verdict.mark, client + 1);
                        assert_eq!(verdict.original.src, mapped(client));
                        seen += 1;
                    }
                    if round % 64 == 0 {
                        tracker.maintain(NOW_MS, 64);
                    }
                }
                told.fetch_add(seen, Relaxed);
                is_over.store(true, Relaxed);
            });
        }
        let table = &table;
        scope.spawn(move || {
            while !is_over.load(Relaxed) {
                table.flush_zone(ZONE);
                std::thread::yield_now();
            }
        });
    });
    assert!(told.load(Relaxed) > 10_000);
    // All can be taken back, and used again.
    table.flush_zone(ZONE);
    let mut tracker = table.tracker().expect("a tracker");
    for _ in 0..200 {
        tracker.maintain(NOW_MS, 1_000);
    }
    for client in 0..table.capacity() as u32 {
        let packet = udp(tuple(17, client, 10));
        assert_eq!(track(&mut tracker, &commit(), packet).refusal, None);
        let reply = Packet {
            tuple: packet.tuple.reversed(),
            ..packet
        };
        assert!(track(&mut tracker, &commit(), reply).known.is_some());
    }
    assert_eq!(table.count(ZONE) as usize, table.capacity());
}
