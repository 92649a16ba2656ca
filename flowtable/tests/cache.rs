//! The flow cache against a map that forgets nothing: what it finds is what was put there last,
//! in the epoch of the question, and every packet counted is told once.

use std::collections::HashMap;
use std::hash::Hash;

use flowtable::{
    CodeNo, Counts, EntryMask, Field, FlowCache, FlowKey, FlowMask, Flush, KEYS_MAX, Lookup,
    PROTECTED_MS, Packets, Pressure, Slot,
};
use proptest::prelude::*;

/// Programs are numbered, each given once; a program's number is its account.
type Program = u32;

/// What is to be done: what many programs have in common.
type Code = u32;

fn code(program: Program) -> Code {
    program % 3
}

#[derive(Clone, Debug)]
enum Step {
    /// Looks up some flows in one batch, inserts what was missing and counts a packet of each.
    Batch(Vec<Packet>),
    Epoch,
    Sleep(u16),
    Flush(usize),
    Maintain(usize),
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    mask: usize,
    flow: u8,
    /// Differs in bits that no mask has.
    noise: u8,
}

/// Masks of one, three and eleven words.
fn masks() -> Vec<EntryMask> {
    let sets: [&[Field]; 3] = [
        &[Field::InPort],
        &[Field::InPort, Field::EthDst, Field::Ipv4Src],
        &[
            Field::InPort,
            Field::Metadata,
            Field::EthDst,
            Field::EthSrc,
            Field::VlanVid,
            Field::EthType,
            Field::Ipv6Src,
            Field::Ipv6Dst,
            Field::TcpDst,
            Field::ArpSha,
        ],
    ];
    let union = |fields: &[Field]| {
        let mut mask = FlowMask::default();
        fields.iter().for_each(|field| mask.unite(&field.mask()));
        EntryMask::new(&mask)
    };
    sets.map(union).into()
}

fn key(packet: Packet) -> FlowKey {
    let mut key = FlowKey::default();
    Field::InPort.write(&mut key, packet.flow.into(), u128::MAX);
    Field::TunnelId.write(&mut key, packet.noise.into(), u128::MAX);
    key
}

fn step() -> impl Strategy<Value = Step> {
    let packet = (0usize..3, 0u8..40, any::<u8>());
    let packet = packet.prop_map(|(mask, flow, noise)| Packet { mask, flow, noise });
    prop_oneof![
        6 => prop::collection::vec(packet, 0..100).prop_map(Step::Batch),
        1 => Just(Step::Epoch),
        1 => (0u16..3000).prop_map(Step::Sleep),
        1 => (0usize..20).prop_map(Step::Flush),
        1 => (0usize..5).prop_map(Step::Maintain),
    ]
}

/// The cache under test with what it should know.
struct Model {
    cache: FlowCache<Code, Program>,
    flush: Flush,
    masks: Vec<EntryMask>,
    /// What was inserted last for a mask and flow, and in which epoch.
    latest: HashMap<(usize, u8), (Program, u64)>,
    counted: HashMap<Program, u64>,
    told: HashMap<Program, u64>,
    programs: Program,
    epoch: u64,
    now_ms: u64,
}

/// Makes an entry of a code and an account that nobody else keeps.
fn insert<C: Eq + Hash, A: Eq + Hash>(
    cache: &mut FlowCache<C, A>,
    (mask, key): (&EntryMask, &FlowKey),
    (code, account): (C, A),
    epoch: u64,
    mut tell: impl FnMut(&A, Counts),
) -> Option<Slot> {
    let pair = cache.keep(code, account);
    let slot = cache.insert(mask, key, pair, epoch, &mut tell);
    cache.let_go(pair, tell);
    slot
}

fn tell(told: &mut HashMap<Program, u64>, program: Program, counts: Counts) {
    assert_eq!(counts.bytes, counts.packets * 100);
    *told.entry(program).or_default() += counts.packets;
}

impl Model {
    fn new(entries: usize) -> Model {
        Model {
            cache: FlowCache::new(entries, 42),
            flush: Flush::default(),
            masks: masks(),
            latest: HashMap::new(),
            counted: HashMap::new(),
            told: HashMap::new(),
            programs: 0,
            epoch: 1,
            now_ms: 1,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Batch(packets) => self.batch(&packets),
            Step::Epoch => self.epoch += 1,
            Step::Sleep(ms) => self.now_ms += u64::from(ms),
            Step::Flush(limit) => {
                let told = &mut self.told;
                let flush = &mut self.flush;
                let tell = |program: &Program, counts| tell(told, *program, counts);
                if !self.cache.flush(flush, limit, tell) {
                    *flush = self.cache.begin_flush();
                }
            }
            Step::Maintain(buckets) => {
                let told = &mut self.told;
                let evicted = |program: &Program, counts| tell(told, *program, counts);
                self.cache.maintain(buckets, 1500, evicted);
            }
        }
        assert!(self.cache.len() <= self.cache.capacity());
    }

    fn batch(&mut self, packets: &[Packet]) {
        self.cache.begin_batch(self.now_ms);
        let mut hits: Vec<(Slot, Program)> = Vec::new();
        for mask in 0..self.masks.len() {
            let ours = packets.iter().filter(|packet| packet.mask == mask);
            let ours: Vec<Packet> = ours.copied().collect();
            for (packet, known) in ours.iter().zip(self.count_batch(mask, &ours)) {
                if !known {
                    hits.extend(self.packet(*packet));
                }
            }
        }
        for (slot, program) in hits {
            let kept = self.cache.account(slot);
            assert_eq!(kept, Some(&program), "a slot lasts for the batch");
            let told = &mut self.told;
            let number = self
                .cache
                .count(slot, 1, 100, |program, counts| tell(told, *program, counts));
            assert_eq!(self.cache.code_of(slot), number);
            assert_eq!(self.cache.code(number), Some(&code(program)));
            *self.counted.entry(program).or_default() += 1;
        }
    }

    /// Looks up and counts packets of one mask together; which of them were found.
    fn count_batch(&mut self, mask: usize, packets: &[Packet]) -> Vec<bool> {
        let keys: Vec<FlowKey> = packets.iter().map(|packet| key(*packet)).collect();
        let mut codes = vec![CodeNo::MISS; keys.len()];
        let together = Packets {
            keys: &keys,
            bytes: &vec![100; keys.len()],
            codes: &mut codes,
        };
        let told = &mut self.told;
        let stale = self.cache.count_batch(
            &self.masks[mask],
            together,
            self.epoch,
            |program, counts| tell(told, *program, counts),
        );
        assert_eq!(stale, codes.iter().any(|code| code.stale().is_some()));
        assert!(codes.iter().skip(KEYS_MAX).all(|code| !code.is_known()));
        for (packet, found) in packets.iter().zip(&codes) {
            let latest = self.latest.get(&(packet.mask, packet.flow));
            if let Some(slot) = found.stale() {
                let kept = self
                    .cache
                    .account(slot)
                    .copied()
                    .zip(self.cache.epoch(slot));
                assert_eq!(kept.as_ref(), latest);
                assert!(kept.is_some_and(|(_, epoch)| epoch < self.epoch));
            } else if let Some(code_found) = self.cache.code(*found) {
                let (program, epoch) = latest.expect("it was inserted");
                assert_eq!((*code_found, *epoch), (code(*program), self.epoch));
                *self.counted.entry(*program).or_default() += 1;
            }
        }
        codes.iter().map(|code| code.is_known()).collect()
    }

    /// A packet that was not found with the others: most often nothing is known of its flow.
    fn packet(&mut self, packet: Packet) -> Option<(Slot, Program)> {
        let flow = (packet.mask, packet.flow);
        let latest = self.latest.get(&flow).copied();
        let mask = &self.masks[packet.mask];
        match self.cache.find(mask, &key(packet), self.epoch) {
            // An earlier packet of the batch may have brought it, or it was one too many.
            Lookup::Hit(slot) => {
                let program = *self.cache.account(slot).expect("a hit has an account");
                assert_eq!(Some((program, self.epoch)), latest);
                return Some((slot, program));
            }
            Lookup::Stale(slot) => {
                let (program, epoch) = latest.expect("it was inserted");
                assert_eq!(self.cache.account(slot), Some(&program));
                assert!(epoch < self.epoch && self.cache.epoch(slot) == Some(epoch));
            }
            Lookup::Miss => {}
        }
        self.programs += 1;
        let program = self.programs;
        let told = &mut self.told;
        let evicted = |program: &Program, counts| tell(told, *program, counts);
        let both = (code(program), program);
        let key = key(packet);
        let slot = insert(&mut self.cache, (mask, &key), both, self.epoch, evicted)?;
        self.latest.insert(flow, (program, self.epoch));
        Some((slot, program))
    }

    fn finish(mut self) {
        let told = &mut self.told;
        let mut flush = self.cache.begin_flush();
        let mut tell = |program: &Program, counts| tell(told, *program, counts);
        while self.cache.flush(&mut flush, 3, &mut tell) {}
        assert_eq!(self.told, self.counted);
    }
}

proptest! {
    #[test]
    fn finds_what_was_put_and_tells_every_packet_once(
        entries in 1usize..64,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut model = Model::new(entries);
        for step in steps {
            model.step(step);
        }
        model.finish();
    }
}

fn flow(n: u32) -> FlowKey {
    FlowKey {
        in_port: n,
        ..FlowKey::default()
    }
}

#[test]
fn a_flood_of_single_packets_leaves_established_flows() {
    let mask = EntryMask::new(&Field::InPort.mask());
    let mut cache = FlowCache::new(1024, 7);
    let insert = |cache: &mut FlowCache<Code, Program>, n| {
        insert(cache, (&mask, &flow(n)), (code(n), n), 1, |_, _| ())
    };
    let established = 0..256;
    for now_ms in 0..2 {
        cache.begin_batch(now_ms);
        for n in established.clone() {
            if cache.find(&mask, &flow(n), 1) == Lookup::Miss {
                insert(&mut cache, n).expect("the cache has room");
            }
        }
    }
    for n in 1_000..101_000 {
        cache.begin_batch(2 + u64::from(n) / 1000);
        assert_eq!(cache.find(&mask, &flow(n), 1), Lookup::Miss);
        let _ = insert(&mut cache, n);
    }
    assert!(cache.len() > 1000, "the flood fills what is free");
    for n in established {
        let found = cache.find(&mask, &flow(n), 1);
        assert!(matches!(found, Lookup::Hit(_)), "flow {n}: {found:?}");
    }
}

#[test]
fn a_full_cache_admits_flows_that_come_again() {
    let mask = EntryMask::new(&Field::InPort.mask());
    let mut cache = FlowCache::new(1024, 7);
    let mut admitted = |flows: core::ops::Range<u32>| {
        let admitted = flows.clone().filter(|&n| {
            cache.begin_batch(n.into());
            let hash = cache.hash(&mask, &flow(n));
            let admitted = cache.has_room(hash) || cache.comes_again(hash);
            if admitted {
                insert(&mut cache, (&mask, &flow(n)), (code(n), n), 1, |_, _| ());
            }
            admitted
        });
        admitted.count()
    };
    let filled = admitted(0..20_000);
    assert!((1024..1100).contains(&filled), "{filled}");
    assert!(admitted(20_000..40_000) < 10, "of flows with one packet");
    assert!(admitted(50_000..50_100) < 5);
    let again = admitted(50_000..50_100);
    assert!(again > 50, "{again}: some have met in one place");
    let Pressure { evicted, refused } = cache.take_pressure();
    let new = 40_200;
    assert!(evicted >= again as u64 && evicted < 100, "{evicted}");
    assert_eq!(refused + evicted + cache.len() as u64, new);
    assert_eq!(cache.take_pressure(), Pressure::default());
}

/// While it takes more and more of its memory hardly a flow is lost, wide or narrow, and no count.
#[test]
fn a_cache_that_grows_keeps_what_it_has() {
    const FLOWS: u32 = 15_000;
    let masks = masks();
    let mut cache = FlowCache::new(1 << 16, 7);
    let (mut told, mut flush) = (vec![0; masks.len()], Flush::default());
    let (mut counted, mut lost) = (told.clone(), 0);
    for first in (0..FLOWS).step_by(KEYS_MAX) {
        cache.begin_batch(1);
        // An old one for each new one, so that they are met at every stage of growth.
        for n in (first..first + KEYS_MAX as u32).flat_map(|n| [n, n * 7 % (first + 1)]) {
            let kind = n as usize % masks.len();
            let (mask, program) = (&masks[kind], kind as Program);
            let slot = match cache.find(mask, &flow(n), 1) {
                Lookup::Hit(slot) => slot,
                _ => {
                    lost += u64::from(n < first);
                    let pair = (code(program), program);
                    insert(&mut cache, (mask, &flow(n)), pair, 1, |_, _| ()).expect("room")
                }
            };
            assert_eq!(cache.account(slot), Some(&program));
            counted[kind] += 1;
            let mut tell = |program: &Program, counts: Counts| {
                told[*program as usize] += counts.packets;
            };
            cache.count(slot, 1, 100, &mut tell);
            if !cache.flush(&mut flush, 1, &mut tell) {
                flush = cache.begin_flush();
            }
        }
    }
    // One of a thousand finds its bucket full just before that is split.
    let Pressure { evicted, refused } = cache.take_pressure();
    assert!(
        lost <= evicted && evicted < 60 && refused == 0,
        "{lost} {evicted}"
    );
    let mut rest = cache.begin_flush();
    while cache.flush(&mut rest, 1000, |program, counts| {
        told[*program as usize] += counts.packets
    }) {}
    assert_eq!(told, counted);
}

/// A flood of flows with a packet each uses no more of the memory; flows that come again do, as
/// many as there is room for.
#[test]
fn only_flows_that_come_again_make_a_cache_grow() {
    const ENTRIES: u32 = 1 << 16;
    let mask = EntryMask::new(&Field::InPort.mask());
    let mut cache = FlowCache::new(ENTRIES as usize, 7);
    let mut come = |flows: core::ops::Range<u32>| {
        for n in flows {
            cache.begin_batch(0);
            let hash = cache.hash(&mask, &flow(n));
            let is_hit = cache.find(&mask, &flow(n), 1) != Lookup::Miss;
            if !is_hit && (cache.has_room(hash) || cache.comes_again(hash)) {
                let _ = insert(&mut cache, (&mask, &flow(n)), (0, 0), 1, |_, _| ());
            }
        }
        cache.len()
    };
    let flooded = come(0..500_000);
    assert!((1000..1200).contains(&flooded), "{flooded}");
    let honest = 500_000..500_000 + ENTRIES;
    let turns = [(); 12].map(|()| come(honest.clone()));
    assert!(turns[3] > ENTRIES as usize * 3 / 4, "{turns:?}");
    assert!(turns[11] > ENTRIES as usize * 5 / 6, "{turns:?}");
}

/// A flow whose bucket is full of busy ones is not decided anew for ever: the cache grows for it.
#[test]
fn a_crowded_bucket_makes_a_cache_grow() {
    const FLOWS: u32 = 1000;
    let mask = EntryMask::new(&Field::InPort.mask());
    let mut crowded = 0;
    for secret in 0..40 {
        let mut cache = FlowCache::new(1 << 16, secret);
        let mut is_hit = |n: u32| {
            cache.begin_batch(1);
            let is_hit = cache.find(&mask, &flow(n), 1) != Lookup::Miss;
            let hash = cache.hash(&mask, &flow(n));
            if !is_hit && (cache.has_room(hash) || cache.comes_again(hash)) {
                let _ = insert(&mut cache, (&mask, &flow(n)), (0, 0), 1, |_, _| ());
            }
            is_hit
        };
        let known = [(); 5].map(|()| (0..FLOWS).filter(|n| is_hit(*n)).count());
        if known[4] == FLOWS as usize {
            continue;
        }
        crowded += 1;
        let outside: Vec<_> = (0..FLOWS).filter(|n| !is_hit(*n)).collect();
        for n in outside.iter().cycle().take(3 * FLOWS as usize) {
            is_hit(*n);
        }
        assert!((0..FLOWS).all(is_hit), "secret {secret}: {known:?}");
    }
    assert!((2..20).contains(&crowded), "{crowded} of 40");
}

/// Flows that are let in with their second packet only, many more than are noted at a time: in one
/// order again and again, which is the worst for what is noted, or each time in another.
#[test]
fn flows_that_come_again_and_again_are_let_in() {
    const FLOWS: u64 = 100_000;
    let mask = EntryMask::new(&Field::InPort.mask());
    for changes_order in [false, true] {
        let mut cache = FlowCache::new(1 << 18, 7);
        let mut is_hit = |n: u32| {
            cache.begin_batch(0);
            let is_hit = cache.find(&mask, &flow(n), 1) != Lookup::Miss;
            let hash = cache.hash(&mask, &flow(n));
            if !is_hit && cache.comes_again(hash) {
                let _ = insert(&mut cache, (&mask, &flow(n)), (0, 0), 1, |_, _| ());
            }
            is_hit
        };
        let hits = (0..15).map(|turn| {
            // Prime to the number of flows, so that it leads to each of them.
            let step = if changes_order { 7_919 + 10 * turn } else { 1 };
            let order = (0..FLOWS).map(|n| (n * step % FLOWS) as u32);
            order.filter(|n| is_hit(*n)).count()
        });
        let last = hits.last();
        assert!(last > Some(99_000), "{last:?} hits, {changes_order}");
    }
}

#[test]
fn flows_that_ended_make_room() {
    let mask = EntryMask::new(&Field::InPort.mask());
    let mut cache = FlowCache::new(16, 7);
    for now_ms in 0..2 {
        cache.begin_batch(now_ms);
        for n in 0..1000 {
            if cache.find(&mask, &flow(n), 1) == Lookup::Miss {
                let _ = insert(&mut cache, (&mask, &flow(n)), (code(n), n), 1, |_, _| ());
            }
        }
    }
    assert_eq!(cache.len(), 16);
    cache.begin_batch(u64::from(PROTECTED_MS) - 1);
    let insert =
        |cache: &mut FlowCache<_, _>| insert(cache, (&mask, &flow(2000)), (0, 0), 1, |_, _| ());
    assert_eq!(insert(&mut cache), None);
    cache.begin_batch(u64::from(PROTECTED_MS) + 1);
    assert!(insert(&mut cache).is_some());
}

#[test]
fn equal_words_under_another_mask_are_another_flow() {
    let (a, b) = (Field::EthDst.mask(), Field::EthSrc.mask());
    let (a, b) = (EntryMask::new(&a), EntryMask::new(&b));
    let mut cache = FlowCache::new(16, 7);
    let key = FlowKey {
        eth_dst: 5,
        eth_src: 5,
        ..FlowKey::default()
    };
    cache.begin_batch(1);
    insert(&mut cache, (&a, &key), ('a', 'b'), 1, |_, _| ()).expect("room");
    assert_eq!(cache.find(&b, &key, 1), Lookup::Miss);
    assert!(matches!(cache.find(&a, &key, 1), Lookup::Hit(_)));
    let Lookup::Stale(slot) = cache.find(&a, &key, 2) else {
        panic!("an entry of another epoch is stale");
    };
    assert_eq!(cache.epoch(slot), Some(1));
    cache.renew(slot, 2);
    assert_eq!(cache.find(&a, &key, 2), Lookup::Hit(slot));
}

#[test]
fn a_wide_mask_is_taken_after_maintenance() {
    let mut all = FlowMask::default();
    Field::ALL.iter().for_each(|field| all.unite(&field.mask()));
    let (wide, narrow) = (EntryMask::new(&all), EntryMask::new(&Field::InPort.mask()));
    let mut cache = FlowCache::new(16, 7);
    cache.begin_batch(1);
    let slot = insert(&mut cache, (&narrow, &flow(1)), (0, 1), 1, |_, _| ());
    let slot = slot.expect("room");
    cache.count(slot, 3, 300, |_, _| ());
    let refused = insert(&mut cache, (&wide, &flow(2)), (0, 2), 1, |_, _| ());
    assert_eq!(refused, None);
    let mut evicted = Vec::new();
    cache.maintain(0, u32::MAX, |program, counts| {
        evicted.push((*program, counts))
    });
    let counts = Counts {
        packets: 3,
        bytes: 300,
        used_ms: 1,
    };
    assert_eq!(evicted, [(1, counts)]);
    assert_eq!(cache.len(), 0);
    insert(&mut cache, (&wide, &flow(2)), (0, 2), 1, |_, _| ()).expect("room");
    assert!(matches!(cache.find(&wide, &flow(2), 1), Lookup::Hit(_)));
    assert_eq!(cache.find(&wide, &flow(3), 1), Lookup::Miss);
}

#[test]
fn memory_is_what_was_asked_for() {
    let cache: FlowCache<u64, u64> = FlowCache::new(600_000, 7);
    assert_eq!(cache.capacity(), 1 << 20);
    assert!(cache.is_empty());
    assert!(cache.memory_bytes() < 194 << 20);
}

/// Keys that count up in one field or in two, low bits or high ones, fill the buckets evenly.
#[test]
fn regular_keys_spread() {
    let patterns: [fn(u64) -> FlowKey; 4] = [
        |n| flow(n as u32),
        |n| FlowKey {
            eth_dst: n << 36,
            ..FlowKey::default()
        },
        |n| FlowKey {
            ipv4_src: n as u32 & 63,
            ipv4_dst: n as u32 >> 6,
            ..FlowKey::default()
        },
        |n| FlowKey {
            eth_dst: n,
            ipv4_src: n as u32,
            ..FlowKey::default()
        },
    ];
    let mut mask = Field::InPort.mask();
    for field in [Field::EthDst, Field::Ipv4Src, Field::Ipv4Dst] {
        mask.unite(&field.mask());
    }
    let mask = EntryMask::new(&mask);
    for (pattern, key) in patterns.iter().enumerate() {
        let mut cache = FlowCache::new(8192, 11);
        for n in 0..4096 {
            if n % KEYS_MAX as u64 == 0 {
                cache.begin_batch(1);
            }
            let _ = insert(&mut cache, (&mask, &key(n)), (0, n), 1, |_, _| ());
        }
        // Of as many that fall at random about one in a hundred finds its bucket full.
        assert!(cache.len() > 3980, "pattern {pattern}: {}", cache.len());
    }
}

#[test]
fn idle_entries_are_given_up_a_few_buckets_at_a_time() {
    let mask = EntryMask::new(&Field::InPort.mask());
    let mut cache = FlowCache::new(64, 7);
    for n in 0..20 {
        cache.begin_batch(if n < 10 { 100 } else { 600 });
        let slot = insert(&mut cache, (&mask, &flow(n)), (0, n), 1, |_, _| ());
        cache.count(slot.expect("room"), 1, 60, |_, _| ());
    }
    let mut gone = Vec::new();
    cache.begin_batch(1099);
    cache.maintain(8, 1000, |program, _| gone.push(*program));
    assert!(gone.is_empty());
    cache.begin_batch(1100);
    cache.maintain(3, 1000, |program, _| gone.push(*program));
    assert!(gone.len() < 10, "three of eight buckets do not hold all");
    cache.maintain(5, 1000, |program, counts| {
        assert_eq!((counts.packets, counts.used_ms), (1, 100));
        gone.push(*program);
    });
    gone.sort_unstable();
    assert_eq!(gone, (0..10).collect::<Vec<_>>());
    assert_eq!(cache.len(), 10);
    assert_eq!(cache.find(&mask, &flow(3), 1), Lookup::Miss);
}

#[test]
fn a_code_is_kept_once_and_goes_with_its_last_entry() {
    use std::rc::Rc;
    let mask = EntryMask::new(&Field::InPort.mask());
    let mut cache: FlowCache<Rc<u32>, Rc<u32>> = FlowCache::new(256, 7);
    let (first, second) = (Rc::new(5), Rc::new(5));
    cache.begin_batch(1);
    let mut slots = Vec::new();
    for n in 0..50 {
        let code = if n == 0 { &first } else { &second };
        let both = (Rc::clone(code), Rc::new(n));
        slots.push(insert(&mut cache, (&mask, &flow(n)), both, 1, |_, _| ()));
    }
    let numbers = slots.iter().map(|slot| cache.code_of(slot.expect("room")));
    assert!(
        numbers
            .collect::<Vec<_>>()
            .windows(2)
            .all(|two| two[0] == two[1])
    );
    assert_eq!(
        (Rc::strong_count(&first), Rc::strong_count(&second)),
        (2, 1)
    );
    cache.begin_batch(2);
    cache.find(&mask, &flow(49), 1);
    cache.maintain(usize::MAX, 1, |_, _| ());
    assert_eq!((cache.len(), Rc::strong_count(&first)), (1, 2));
    cache.begin_batch(3);
    cache.maintain(usize::MAX, 1, |_, _| ());
    assert_eq!((cache.len(), Rc::strong_count(&first)), (0, 1));
}

#[test]
fn counts_are_told_before_they_overflow() {
    let mask = EntryMask::new(&Field::InPort.mask());
    let mut cache: FlowCache<Code, Program> = FlowCache::new(16, 7);
    cache.begin_batch(1);
    let slot = insert(&mut cache, (&mask, &flow(1)), (0, 1), 1, |_, _| ());
    let slot = slot.expect("room");
    let mut told = 0;
    for _ in 0..5 {
        cache.count(slot, u32::MAX - 1, 60, |_, counts| told += counts.packets);
    }
    let mut flush = cache.begin_flush();
    cache.flush(&mut flush, 1, |_, counts| told += counts.packets);
    assert_eq!(told, 5 * u64::from(u32::MAX - 1));
}

#[test]
fn a_flush_tells_what_moves_from_entry_to_account_meanwhile() {
    let mask = EntryMask::new(&Field::InPort.mask());
    let mut cache: FlowCache<Code, Program> = FlowCache::new(64, 7);
    let pair = cache.keep(7, 9);
    let mut told = 0;
    let mut tell = |_: &Program, counts: Counts| told += counts.packets;
    cache.begin_batch(1);
    cache.count_apart(pair, 60);
    for n in 0..10 {
        let slot = cache.insert(&mask, &flow(n), pair, 1, &mut tell);
        cache.count(slot.expect("room"), 1, 60, &mut tell);
    }
    let mut flush = cache.begin_flush();
    assert!(cache.flush(&mut flush, 3, &mut tell));
    cache.begin_batch(2);
    for n in 5..10 {
        cache
            .insert(&mask, &flow(n), pair, 2, &mut tell)
            .expect("room");
    }
    while cache.flush(&mut flush, 3, &mut tell) {}
    assert_eq!(told, 11);
}

#[test]
fn an_entry_that_is_right_already_keeps_its_counts() {
    let mask = EntryMask::new(&Field::InPort.mask());
    let mut cache: FlowCache<Code, Program> = FlowCache::new(64, 7);
    let pair = cache.keep(7, 9);
    cache.begin_batch(1);
    let slot = cache
        .insert(&mask, &flow(1), pair, 1, |_, _| ())
        .expect("room");
    cache.count(slot, 1, 60, |_, _| ());
    assert_eq!(
        cache.insert(&mask, &flow(1), pair, 1, |_, _| ()),
        Some(slot)
    );
    assert!(cache.take_back(slot, 60).is_some(), "it is counted there");
    let mut told = 0;
    let mut flush = cache.begin_flush();
    while cache.flush(&mut flush, 1, |_, counts| told += counts.packets) {}
    assert_eq!(told, 0);
}

#[test]
fn packets_without_an_entry_are_told_with_those_of_entries_that_went() {
    let mask = EntryMask::new(&Field::InPort.mask());
    let mut cache: FlowCache<Code, Program> = FlowCache::new(16, 7);
    let pair = cache.keep(7, 9);
    let mut told = Vec::new();
    let mut tell = |account: &Program, counts: Counts| told.push((*account, counts.packets));
    for n in 0..1000 {
        cache.begin_batch(n.into());
        cache.count_apart(pair, 60);
        let slot = cache.insert(&mask, &flow(n), pair, 1, &mut tell);
        assert_eq!(
            cache.count(slot.expect("room"), 1, 60, &mut tell),
            pair.code()
        );
    }
    let mut flush = cache.begin_flush();
    let steps = (0..100).take_while(|_| cache.flush(&mut flush, 1, &mut tell));
    assert!(steps.count() <= 16, "the account, and a slot each");
    let told = std::mem::take(&mut told);
    assert!(told.iter().all(|(account, _)| *account == 9));
    assert_eq!(told.iter().map(|(_, packets)| packets).sum::<u64>(), 2000);
    assert_eq!(cache.account_of(pair), Some(&9));
    cache.begin_batch(2000);
    cache.maintain(usize::MAX, 1, |_, _| ());
    cache.let_go(pair, |_, _| ());
    assert_eq!(
        (cache.account_of(pair), cache.code(pair.code())),
        (None, None)
    );
}
