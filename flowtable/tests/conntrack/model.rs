//! Random UDP and ICMP conversations, translated or not, against a list of connections.

use flowtable::conntrack::{Item, Nat, Packet, Range, Request, Tuple, ct_state, mapped};
use proptest::prelude::*;

use super::bench::{Bench, echo, tuple, udp};

/// A connection of the model.
#[derive(Clone, Debug)]
struct Known {
    original: Tuple,
    reply: Tuple,
    is_replied: bool,
    is_icmp: bool,
    bits: u32,
    mark: u32,
    over_s: u64,
}

#[derive(Clone, Debug)]
enum Step {
    /// A client's packet: who, port, zone, with commit, translated how, and marked.
    Client(u32, u16, u16, bool, u8, Option<u32>),
    /// A reply to a connection that there is, or was.
    Reply(prop::sample::Index, bool),
    Sleep(u64),
    Flush(u16),
    Maintain,
}

fn step() -> impl Strategy<Value = Step> {
    let client = (0..6_u32, 0..3_u16, 0..2_u16, any::<bool>(), 0..6_u8);
    let client = (client, prop::option::of(0..100_u32));
    let client = client.prop_map(|((client, port, zone, commits, nat), mark)| {
        Step::Client(client, port, zone, commits, nat, mark)
    });
    let reply = (any::<prop::sample::Index>(), any::<bool>());
    let reply = reply.prop_map(|(at, translates)| Step::Reply(at, translates));
    prop_oneof![
        6 => client,
        4 => reply,
        1 => (0..40_000_u64).prop_map(Step::Sleep),
        1 => (0..20_u16).prop_map(Step::Flush),
        1 => Just(Step::Maintain),
    ]
}

fn nat(kind: u8) -> Option<Nat> {
    let range = |first, last, ports| {
        Some(Range {
            addresses: Some((mapped(first), mapped(last))),
            ports,
        })
    };
    let (source, destination) = match kind {
        0 => return None,
        1 => (None, None),
        2 => (range(100, 100, None), None),
        3 => (range(100, 101, Some((7000, 7002))), None),
        4 => (None, range(50, 51, None)),
        _ => (range(0, 5, None), range(50, 50, Some((80, 81)))),
    };
    Some(Nat {
        source,
        destination,
        ..Nat::default()
    })
}

struct Model {
    bench: Bench,
    known: Vec<Known>,
}

impl Model {
    fn packet(&self, client: u32, port: u16, zone: u16) -> Packet {
        let mut packet = match port {
            0 => echo(client, 1000),
            _ => udp(tuple(17, client, 1000 + port)),
        };
        packet.tuple.zone = zone;
        packet
    }

    fn now_s(&self) -> u64 {
        self.bench.now_ms / 1000
    }

    fn client(&mut self, packet: Packet, request: &Request) {
        let original = packet.tuple;
        let now_s = self.now_s();
        let place = self
            .known
            .iter()
            .position(|known| known.original == original);
        let as_reply = self.known.iter().any(|known| known.reply == original);
        if let (None, true) = (place, as_reply) {
            // It looks like another's reply.
            self.touch(&original, request, &packet);
            return;
        }
        let verdict = self.bench.track(request, packet);
        let Some(place) = place else {
            assert_eq!(verdict.bits & !(ct_state::SNAT | ct_state::DNAT), 0x21);
            if !request.commits || verdict.refusal.is_some() {
                assert_eq!(verdict.known, None);
                return;
            }
            let to = verdict.translation.map_or(original, |change| change.to);
            check_choice(&original, &to, request);
            let clashes = |known: &Known| known.reply == to.reversed();
            assert!(!self.known.iter().any(clashes), "{to:?} is another's");
            let is_icmp = original.is_icmp();
            self.known.push(Known {
                original,
                reply: to.reversed(),
                is_replied: false,
                is_icmp,
                bits: verdict.bits & (ct_state::SNAT | ct_state::DNAT),
                mark: request.mark.map_or(0, |(mark, _)| mark),
                over_s: now_s + 61,
            });
            return;
        };
        let known = &mut self.known[place];
        if let Some((mark, _)) = request.mark {
            known.mark = mark;
        }
        known.over_s = now_s + if known.is_replied { 31 } else { 61 };
        let state = if known.is_replied { 0x22 } else { 0x21 };
        let is_translated = request.nat.is_some() && known.bits != 0;
        let bits = if is_translated { known.bits } else { 0 };
        assert_eq!((verdict.bits, verdict.mark), (state | bits, known.mark));
        let to = verdict.translation.map(|change| change.to);
        assert_eq!(to, is_translated.then(|| known.reply.reversed()));
        assert_eq!(verdict.original, original);
    }

    /// A packet in the reply direction.
    fn touch(&mut self, tuple: &Tuple, request: &Request, packet: &Packet) {
        let item = Item {
            packet: Packet {
                tuple: *tuple,
                ..*packet
            },
            known: None,
            is_translated: false,
        };
        let verdict = self.bench.track_item(request, item);
        let now_s = self.now_s();
        let known = self.known.iter_mut();
        let mut known = known.filter(|known| known.over_s > now_s && known.reply == *tuple);
        let Some(known) = known.next() else {
            return;
        };
        known.is_replied = true;
        known.over_s = now_s + 31;
        if let Some((mark, _)) = request.mark {
            known.mark = mark;
        }
        let swapped = known.bits >> 1 & ct_state::SNAT | known.bits << 1 & ct_state::DNAT;
        let bits = if request.nat.is_some() { swapped } else { 0 };
        assert_eq!(verdict.bits, 0x2a | bits);
        assert_eq!(
            (verdict.original, verdict.mark),
            (known.original, known.mark)
        );
        let to = verdict.translation.map(|change| change.to);
        let back = known.original.reversed();
        assert_eq!(to, (request.nat.is_some() && bits != 0).then_some(back));
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Client(client, port, zone, commits, kind, mark) => {
                let request = Request {
                    zone: *zone,
                    commits: *commits,
                    nat: nat(*kind),
                    mark: mark.map(|mark| (mark, u32::MAX)),
                    ..Request::default()
                };
                self.client(self.packet(*client, *port, *zone), &request);
            }
            Step::Reply(at, translates) if !self.known.is_empty() => {
                let known = at.get(&self.known).clone();
                if known.over_s <= self.now_s() {
                    return;
                }
                let request = Request {
                    zone: known.original.zone,
                    nat: translates.then(Nat::default),
                    ..Request::default()
                };
                let port = if known.is_icmp { 0 } else { 1 };
                self.touch(&known.reply, &request, &self.packet(0, port, 0));
            }
            Step::Reply(..) => (),
            Step::Sleep(ms) => self.bench.now_ms += ms,
            Step::Flush(zone) => {
                self.bench.table().flush_zone(*zone);
                self.known.retain(|known| known.original.zone != *zone);
            }
            Step::Maintain => self.bench.sleep(0),
        }
        self.compare();
    }

    fn compare(&mut self) {
        let now_s = self.now_s();
        self.known.retain(|known| known.over_s > now_s);
        let told = |original: Tuple, reply: Tuple, mark, over_s| {
            (format!("{original:?}"), format!("{reply:?}"), mark, over_s)
        };
        let connections = self.bench.connections();
        let there = connections.iter().map(|connection| {
            let over_s = now_s + u64::from(connection.expires_s);
            told(
                connection.original,
                connection.reply,
                connection.mark,
                over_s,
            )
        });
        let mut there: Vec<_> = there.collect();
        let known = self.known.iter();
        let mut known: Vec<_> = known
            .map(|known| told(known.original, known.reply, known.mark, known.over_s))
            .collect();
        there.sort();
        known.sort();
        assert_eq!(there, known);
    }
}

/// A translation is within the ranges that were asked for.
fn check_choice(original: &Tuple, to: &Tuple, request: &Request) {
    let nat = request.nat.unwrap_or_default();
    let within = |range: Option<Range>, address: [u64; 2], own: [u64; 2]| match range {
        Some(range) => {
            let (first, last) = range.addresses.expect("addresses");
            first <= address && address <= last
        }
        None => address == own,
    };
    assert!(within(nat.source, to.src, original.src), "{to:?}");
    assert!(within(nat.destination, to.dst, original.dst), "{to:?}");
    if nat.source.is_none() && nat.destination.is_none() {
        assert_eq!(to, original);
    }
    if let Some((first, last)) = nat.source.and_then(|range| range.ports) {
        assert!((first..=last).contains(&to.src_port));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn tells_what_a_list_would(steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model {
            bench: Bench::new(400),
            known: Vec::new(),
        };
        for step in &steps {
            model.run(step);
        }
    }
}
