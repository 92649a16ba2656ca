//! Arbitrary frames through connection tracking: one after the other, each with a request of its
//! own. It must not panic, and what it tells must fit together: where embedded headers are, what is
//! translated, and that a reply to a translated packet is of the same connection.
#![no_main]

use std::cell::RefCell;
use std::sync::Arc;

use flowtable::conntrack::{
    Body, Helper, Item, Nat, Packet, Range, Request, Table, Tracker, Verdict, ct_state, mapped,
};
use flowtable::fragments::Rest;
use flowtable::{FlowKey, has_right_checksums, parse};
use libfuzzer_sys::fuzz_target;

struct Bench {
    tracker: Tracker,
    now_ms: u64,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

impl Bench {
    fn new() -> Bench {
        let table = Table::new(64, 1, |_, _| ()).expect("memory");
        let tracker = Arc::new(table).tracker().expect("a tracker");
        Bench { tracker, now_ms: 0 }
    }

    fn track(&mut self, request: &Request, item: Item, payload: &[u8]) -> Verdict {
        let mut told = None;
        self.tracker.begin(self.now_ms);
        self.tracker
            .track(request, &[item], |_, verdict| told = Some(*verdict));
        let verdict = told.expect("each packet is told");
        if let Some(rewrite) = self.tracker.listen(&item.packet, &verdict, payload) {
            assert!(rewrite.at + rewrite.len <= payload.len());
            assert!(!rewrite.text().is_empty());
        }
        self.tracker.end();
        verdict
    }
}

fn request(how: u8, zone: u16) -> Request {
    let address = mapped(u32::from_be_bytes([192, 0, 2, how & 3]));
    let range = Some(Range {
        addresses: Some((address, address)),
        ports: (how & 4 > 0).then_some((1000, 1003)),
    });
    let nat = Nat {
        source: range.filter(|_| how & 8 > 0),
        destination: range.filter(|_| how & 16 > 0),
        ..Nat::default()
    };
    Request {
        zone,
        commits: how & 32 > 0,
        forces: how & 0xc0 == 0x40,
        nat: (how & 0xc0 != 0x80).then_some(nat),
        helper: match how & 3 {
            1 => Some(Helper::Ftp),
            2 => Some(Helper::Tftp),
            _ => None,
        },
        ..Request::default()
    }
}

fn check(packet: &Packet, verdict: &Verdict, len: usize) {
    assert!(verdict.bits & ct_state::TRK > 0);
    let is_invalid = verdict.bits & ct_state::INV > 0;
    assert!(!is_invalid || verdict.bits & (ct_state::NEW | ct_state::EST) == 0);
    if let Body::Error(embedded) = packet.body {
        assert!(embedded.l3 < embedded.l4 && usize::from(embedded.l4) <= len);
    }
    if let Some(change) = &verdict.translation {
        assert!(change.source || change.destination);
        assert_eq!(change.to.proto, packet.tuple.proto);
        assert_eq!(change.embedded.is_some(), matches!(packet.body, Body::Error(_)));
    }
}

/// A reply to what left is of the connection, whose sender gets it back as it sent it.
fn answer(bench: &mut Bench, packet: &Packet, verdict: &Verdict) {
    let is_plain = matches!(packet.body, Body::Other | Body::Query);
    if !is_plain || verdict.known.is_none() {
        return;
    }
    let left = verdict.translation.map_or(packet.tuple, |change| change.to);
    let reply = Packet {
        tuple: left.reversed(),
        body: packet.body,
    };
    let request = Request {
        zone: packet.tuple.zone,
        nat: verdict.translation.map(|_| Nat::default()),
        ..Request::default()
    };
    let told = bench.track(&request, item(reply), &[]);
    let same = told.known.zip(verdict.known);
    assert!(same.is_some_and(|(told, known)| told.handle == known.handle));
    let back = told.translation.map_or(reply.tuple, |change| change.to);
    assert_eq!(back, packet.tuple.reversed());
}

fn item(packet: Packet) -> Item {
    Item {
        packet,
        known: None,
        is_translated: false,
    }
}

fuzz_target!(|bytes: &[u8]| {
    BENCH.with_borrow_mut(|bench| {
        // Whatever there is from before is over after more than a day; seconds end some day.
        bench.now_ms += 1 << 27;
        if bench.now_ms > 1 << 41 {
            *bench = Bench::new();
        }
        let mut rest = bytes;
        while let Some(([how, zone, len], behind)) = rest.split_first_chunk() {
            let (frame, behind) = behind.split_at(behind.len().min((*len).into()));
            rest = behind;
            bench.now_ms += u64::from(zone >> 3) * 1000;
            while bench.tracker.maintain(bench.now_ms, 16) {}
            let mut key = FlowKey::default();
            let layout = parse(frame, &mut key);
            let others = Rest {
                len: u32::from(*how) * u32::from(key.ip_frag),
                sum: u16::from(*zone),
            };
            let _ = has_right_checksums(frame, &key, &layout, others);
            let zone = u16::from(zone & 1);
            let Some(packet) = Packet::read_whole(frame, &key, &layout, zone, others) else {
                continue;
            };
            let payload = match (packet.body, layout.l4) {
                (Body::Tcp(_), l4) => &frame[usize::from(l4).min(frame.len())..],
                (_, 0) => &[],
                (_, l4) => frame.get(usize::from(l4) + 8..).unwrap_or_default(),
            };
            let verdict = bench.track(&request(*how, zone), item(packet), payload);
            check(&packet, &verdict, frame.len());
            // What is not to be translated leaves as it is, though its connection may be.
            let is_translated = request(*how, zone).nat.is_some();
            if how & 32 > 0 && is_translated {
                answer(bench, &packet, &verdict);
            }
        }
    });
});
