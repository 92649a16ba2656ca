//! Random connections of TCP, UDP and SCTP over IPv4 and IPv6, translated in every way, against a
//! list of who has which addresses and ports.
//!
//! Ranges are so small that they are exhausted. The list tells what is free: a translation has to
//! take one of these, a refusal has to mean that there was none, and what comes back has to find
//! the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use flowtable::conntrack::{
    Body, Nat, Packet, Range, Refusal, Request, Segment, Tuple, ct_state, mapped,
};
use flowtable::{FlowKey, parse};
use proptest::prelude::*;

use super::bench::{Bench, EST, NEW, RPL, ZONE, commit, look, reversed, tcp, udp};

/// A connection as its client begins it, and how it is to be translated.
#[derive(Clone, Copy, Debug)]
struct Opening {
    proto: u8,
    is_v6: bool,
    client: u8,
    port: u16,
    nat: Nat,
}

#[derive(Clone, Debug)]
enum Step {
    Open(Opening),
    /// All connections end.
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let proto = prop::sample::select(vec![6, 17, 132]);
    let opening = (proto, any::<bool>(), 1..12_u8, 2000..2003_u16, 0..7_u8);
    let flags = (any::<bool>(), any::<bool>());
    let opening = (opening, flags).prop_map(|((proto, is_v6, client, port, kind), flags)| {
        Step::Open(Opening {
            proto,
            is_v6,
            client,
            port,
            nat: nat(kind, is_v6, flags),
        })
    });
    prop_oneof![40 => opening, 1 => Just(Step::Flush)]
}

fn address(is_v6: bool, host: u8) -> [u64; 2] {
    match is_v6 {
        true => [0xfd00 << 48, host.into()],
        false => mapped(0x0a00_0000 | u32::from(host)),
    }
}

/// A way to translate. Persistent and random ones are told by flags.
fn nat(kind: u8, is_v6: bool, (is_persistent, is_random): (bool, bool)) -> Nat {
    let range = |first, last, ports| {
        Some(Range {
            addresses: Some((address(is_v6, first), address(is_v6, last))),
            ports,
        })
    };
    let (source, destination) = match kind {
        0 => (range(100, 100, Some((7000, 7002))), None),
        1 => (range(100, 103, Some((7000, 7001))), None),
        2 => (range(100, 101, None), None),
        3 => (None, range(50, 50, Some((80, 82)))),
        4 => (None, range(50, 53, Some((80, 81)))),
        5 => (range(100, 100, Some((7000, 7001))), range(50, 51, None)),
        _ => (None, range(50, 52, None)),
    };
    Nat {
        source,
        destination,
        is_persistent,
        is_random,
    }
}

fn packet(opening: &Opening) -> Packet {
    let tuple = Tuple {
        src: address(opening.is_v6, opening.client),
        dst: address(opening.is_v6, 200),
        src_port: opening.port,
        dst_port: 80,
        zone: ZONE,
        proto: opening.proto,
        version: if opening.is_v6 { 6 } else { 4 },
    };
    let syn = Segment {
        flags: 2,
        window: 1000,
        ..Segment::default()
    };
    match opening.proto {
        6 => tcp(tuple, syn),
        17 => udp(tuple),
        _ => Packet {
            tuple,
            body: chunk(
                0,
                &[1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 1],
            ),
        },
    }
}

/// The answer to a packet as it came: a SYN with an ACK, an INIT ACK, a datagram.
fn answer(packet: Packet) -> Packet {
    let body = match packet.body {
        Body::Tcp(_) => Body::Tcp(Segment {
            flags: 18,
            ack: 1,
            sack: 1,
            window: 1000,
            ..Segment::default()
        }),
        Body::Sctp(_) => chunk(
            1,
            &[2, 0, 0, 20, 0, 0, 0, 2, 0, 1, 0, 0, 0, 5, 0, 5, 0, 0, 0, 1],
        ),
        body => body,
    };
    Packet {
        body,
        ..reversed(packet)
    }
}

/// One chunk of SCTP under a tag, as it is read from a frame.
fn chunk(tag: u32, chunk: &[u8]) -> Body {
    let len = 32 + chunk.len() as u8;
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x45, 0, 0, len, 0, 0, 0, 0, 64, 132, 0, 0]);
    frame.extend([10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2]);
    frame.extend(tag.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(chunk);
    let mut key = FlowKey::default();
    let layout = parse(&frame, &mut key);
    let packet = Packet::read(&frame, &key, &layout, ZONE);
    packet.expect("a packet of SCTP").body
}

#[derive(Default)]
struct Model {
    /// Original and translated tuple of each connection.
    known: BTreeMap<[u64; 5], (Tuple, Tuple)>,
    /// Tuples that a packet of some connection has, in either direction.
    taken: BTreeSet<[u64; 5]>,
    /// Address of a persistent translation while none of its addresses was ever full.
    persistent: BTreeMap<String, [u64; 2]>,
}

fn words(tuple: &Tuple) -> [u64; 5] {
    let ports = u64::from(tuple.src_port) << 16 | u64::from(tuple.dst_port);
    let proto = u64::from(tuple.proto) << 8 | u64::from(tuple.version);
    [tuple.src, tuple.dst].concat().try_into().map_or_else(
        |_| unreachable!("four words"),
        |[a, b, c, d]: [u64; 4]| [a, b, c, d, ports << 32 | proto],
    )
}

/// Each address of a range, the own one if there is none.
fn addresses(range: Option<Range>, own: [u64; 2]) -> Vec<[u64; 2]> {
    match range.and_then(|range| range.addresses) {
        Some((first, last)) => (first[1]..=last[1]).map(|low| [first[0], low]).collect(),
        None => vec![own],
    }
}

fn ports(range: Option<Range>, own: u16) -> Vec<u16> {
    match range.and_then(|range| range.ports) {
        Some((first, last)) => (first..=last).collect(),
        None => vec![own],
    }
}

impl Model {
    fn is_free(&self, to: &Tuple) -> bool {
        !self.taken.contains(&words(&to.reversed()))
    }

    /// Whether all ports of the ranges are taken at a pair of addresses. A source port that the
    /// range does not name is the packet's own here.
    fn is_full(&self, own: &Tuple, nat: &Nat, src: [u64; 2], dst: [u64; 2]) -> bool {
        let own = Tuple { src, dst, ..*own };
        ports(nat.source, own.src_port).iter().all(|&src_port| {
            ports(nat.destination, own.dst_port)
                .iter()
                .all(|&dst_port| {
                    !self.is_free(&Tuple {
                        src_port,
                        dst_port,
                        ..own
                    })
                })
        })
    }

    /// Checks a choice; `to` is nothing where there was none.
    fn check(&mut self, own: &Tuple, nat: &Nat, to: Option<&Tuple>) {
        let pairs = addresses(nat.source, own.src).into_iter().flat_map(|src| {
            let all = addresses(nat.destination, own.dst);
            all.into_iter().map(move |dst| (src, dst))
        });
        let pairs: Vec<_> = pairs.collect();
        let Some(to) = to else {
            // Ranges of both ends are gone through together, not each with each.
            if nat.source.is_none() || nat.destination.is_none() {
                let full = |&(src, dst): &([u64; 2], [u64; 2])| self.is_full(own, nat, src, dst);
                assert!(pairs.iter().all(full), "{own:?} {nat:?}: one was free");
            }
            return;
        };
        assert!(pairs.contains(&(to.src, to.dst)), "{to:?} {nat:?}");
        assert!(self.is_free(to), "{to:?} is another's");
        match nat.source.and_then(|range| range.ports) {
            Some((first, last)) => assert!((first..=last).contains(&to.src_port), "{to:?}"),
            None => {
                let keeps = to.src_port == own.src_port;
                assert!(
                    keeps || self.is_full(own, nat, to.src, to.dst),
                    "{to:?}: own was free"
                );
                assert!(to.src_port >= 1024, "{to:?}: others of its kind");
            }
        }
        assert!(
            ports(nat.destination, own.dst_port).contains(&to.dst_port),
            "{to:?}"
        );
        if nat.is_persistent {
            self.check_persistence(own, nat, to, &pairs);
        }
    }

    /// A source keeps its address, unless the ports of some were all taken.
    fn check_persistence(
        &mut self,
        own: &Tuple,
        nat: &Nat,
        to: &Tuple,
        pairs: &[([u64; 2], [u64; 2])],
    ) {
        if pairs
            .iter()
            .any(|&(src, dst)| self.is_full(own, nat, src, dst))
        {
            return;
        }
        let (source, destination) = (nat.source, nat.destination);
        let [source, destination] =
            [source, destination].map(|range| range.map(|one| one.addresses));
        let who = format!("{:?} {source:?} {destination:?}", own.src);
        let now = if nat.source.is_some() { to.src } else { to.dst };
        let first = *self.persistent.entry(who).or_insert(now);
        assert_eq!(first, now, "{own:?} {nat:?}: a source keeps its address");
    }

    fn open(&mut self, bench: &mut Bench, opening: &Opening) {
        let packet = packet(opening);
        let own = packet.tuple;
        if self.known.contains_key(&words(&own)) || self.taken.contains(&words(&own)) {
            return;
        }
        let nat = opening.nat;
        let request = Request {
            nat: Some(nat),
            ..commit()
        };
        let verdict = bench.track(&request, packet);
        let to = verdict.translation.map(|change| change.to);
        let bits = match (nat.source.is_some(), nat.destination.is_some()) {
            (true, true) => ct_state::SNAT | ct_state::DNAT,
            (true, false) => ct_state::SNAT,
            _ => ct_state::DNAT,
        };
        match verdict.refusal {
            None => {
                assert_eq!(verdict.bits, NEW | bits);
                CHOSEN.fetch_add(1, Ordering::Relaxed);
            }
            Some(refusal) => {
                assert_eq!((verdict.bits, refusal, to), (NEW, Refusal::NoTuple, None));
                REFUSED.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.check(&own, &nat, to.as_ref());
        let Some(to) = to else { return };
        self.taken.insert(words(&to.reversed()));
        self.taken.insert(words(&own));
        self.known.insert(words(&own), (own, to));
        there_and_back(bench, packet, &to, bits);
    }
}

/// The reply, and then the packet of the client's once more, are translated as the first was.
fn there_and_back(bench: &mut Bench, packet: Packet, to: &Tuple, bits: u32) {
    let as_said = Request {
        nat: Some(Nat::default()),
        ..look()
    };
    let seen = Packet {
        tuple: *to,
        ..packet
    };
    let verdict = bench.track(&as_said, answer(seen));
    let swapped = bits >> 1 & ct_state::SNAT | bits << 1 & ct_state::DNAT;
    assert_eq!(
        verdict.bits,
        RPL | swapped & (ct_state::SNAT | ct_state::DNAT)
    );
    assert_eq!(verdict.original, packet.tuple);
    let back = verdict.translation.map(|change| change.to);
    assert_eq!(back, Some(packet.tuple.reversed()));
    if packet.tuple.proto == 17 {
        let verdict = bench.track(&as_said, packet);
        assert_eq!(verdict.bits, EST | bits);
        assert_eq!(verdict.translation.map(|change| change.to), Some(*to));
    }
}

static CHOSEN: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..200)
}

fn run(steps: &[Step]) {
    let (mut bench, mut model) = (Bench::new(1000), Model::default());
    for step in steps {
        match step {
            Step::Open(opening) => model.open(&mut bench, opening),
            Step::Flush => {
                bench.table().flush_zone(ZONE);
                (model.known, model.taken) = Default::default();
            }
        }
        assert_eq!(bench.connections().len(), model.known.len());
    }
}

#[test]
fn translations_take_what_a_list_says_is_free() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&steps(), |steps| {
        run(&steps);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let [chosen, refused] = [&CHOSEN, &REFUSED].map(|count| count.load(Ordering::Relaxed));
    println!("{chosen} translated, {refused} refused");
    assert!(chosen > 1000 && refused > 20, "{chosen} {refused}");
}
