//! A flood of connections that nobody answers: what is established stays, other zones still open
//! connections, and what is refused is counted.

use flowtable::conntrack::{Refusal, Request, Segment, Tuple, ct_state};

use super::bench::{Bench, EST, INV, NEW, commit, reversed, tcp, tuple, udp};

const SYN: u8 = 2;
const ACK: u8 = 16;
const FLOODED: u16 = 1;
const QUIET: u16 = 2;

fn segment(seq: u32, ack: u32, flags: u8) -> Segment {
    Segment {
        seq,
        ack,
        sack: ack,
        window: 1000,
        flags,
        ..Segment::default()
    }
}

fn of(zone: u16, client: u32, port: u16) -> Tuple {
    Tuple {
        zone,
        ..tuple(6, client, port)
    }
}

fn in_zone(zone: u16) -> Request {
    Request { zone, ..commit() }
}

struct Flood {
    bench: Bench,
    next: u32,
    refused: u64,
}

impl Flood {
    /// So many SYNs, each of another sender.
    fn pour(&mut self, zone: u16, count: u32) {
        for _ in 0..count {
            self.next += 1;
            let packet = tcp(of(zone, self.next, 7), segment(1, 0, SYN));
            let verdict = self.bench.track(&in_zone(zone), packet);
            assert_eq!(verdict.bits, NEW);
            self.refused += u64::from(verdict.refusal.is_some());
        }
    }

    /// One step of a handshake; nothing if it was lost.
    fn step(&mut self, zone: u16, client: u32, step: usize) -> u32 {
        let syn = tcp(of(zone, client, 9), segment(1, 0, SYN));
        let packet = match step {
            0 => syn,
            1 => tcp(syn.tuple.reversed(), segment(5, 2, SYN | ACK)),
            _ => tcp(syn.tuple, segment(2, 6, ACK)),
        };
        let verdict = self.bench.track(&in_zone(zone), packet);
        assert_eq!(verdict.refusal, None, "step {step} of {client}");
        verdict.bits
    }
}

#[test]
fn another_zone_opens_connections_however_slowly_it_answers() {
    let mut flood = Flood {
        bench: Bench::new(4096),
        next: 0,
        refused: 0,
    };
    let capacity = flood.bench.table().capacity() as u32;
    let established = capacity * 3 / 4;
    for client in 0..established {
        for step in 0..3 {
            flood.step(3, client, step);
        }
    }
    flood.pour(FLOODED, 4 * capacity);
    let clients = 0..20;
    for step in 0..3 {
        for client in clients.clone() {
            let bits = flood.step(QUIET, client, step);
            assert_eq!(bits & INV, ct_state::TRK, "step {step} of {client}");
            assert_eq!(bits & EST == EST, step > 0, "step {step} of {client}");
        }
        // Every half-open connection of the flooded zone goes many times meanwhile.
        flood.pour(FLOODED, 10 * capacity);
    }
    let bench = &mut flood.bench;
    let all = bench.connections();
    let assured = |zone: u16| {
        let of_zone = all.iter().filter(|it| it.original.zone == zone);
        of_zone.filter(|it| it.is_assured).count() as u32
    };
    assert_eq!((assured(3), assured(QUIET)), (established, 20));
    let tally = bench.tracker.tally();
    assert_eq!(tally.refused_full, flood.refused);
    assert!(tally.evicted > u64::from(30 * capacity) - flood.refused);
}

#[test]
fn a_limit_keeps_a_flood_within_its_zone() {
    let mut bench = Bench::new(4096);
    bench.table().set_limit(FLOODED, Some(Some(100)));
    let mut refused = 0;
    for client in 0..10_000 {
        let packet = tcp(of(FLOODED, client, 7), segment(1, 0, SYN));
        let verdict = bench.track(&in_zone(FLOODED), packet);
        refused += u64::from(verdict.refusal == Some(Refusal::ZoneLimit));
    }
    assert_eq!(refused, 9900);
    let tally = bench.tracker.tally();
    assert_eq!((tally.refused_zone, tally.evicted), (9900, 0));
    assert_eq!(bench.table().count(FLOODED), 100);
    let tuple = Tuple {
        zone: QUIET,
        ..tuple(17, 1, 1)
    };
    assert_eq!(bench.bits(udp(tuple)), NEW);
    assert_eq!(bench.bits(reversed(udp(tuple))) & EST, EST);
}

#[test]
fn what_is_told_of_all_trackers_outlives_them() {
    let mut bench = Bench::new(4096);
    bench.bits(udp(tuple(17, 1, 1)));
    bench.sleep(0);
    let table = std::sync::Arc::clone(bench.tracker.table());
    assert_eq!(table.tally().created, 1);
    bench.bits(udp(tuple(17, 2, 1)));
    drop(bench);
    assert_eq!((table.tally().created, table.tally().misses), (2, 2));
    let mut tracker = table.tracker().expect("a tracker");
    tracker.maintain(0, 1);
    assert_eq!(table.tally().created, 2);
}
