//! What [`Changes`] says of a packet, beside a list of all changes.

use flowtable::{
    Changed, Changes, Classifier, Depth, Field, FlowKey, FlowMask, Match, Question, Scopes,
};
use proptest::prelude::*;
use std::ops::RangeInclusive;

/// One thing that happens, each at an epoch of its own.
#[derive(Clone, Debug)]
enum Step {
    Rule {
        is_new: bool,
        scope: u32,
        key: Box<FlowKey>,
        fields: u8,
        /// Bits of the IPv4 destination that are left out.
        shorter: u8,
        priority: u16,
    },
    Rewritten(Field),
    All,
}

const FIELDS: [Field; 6] = [
    Field::EthDst,
    Field::EthType,
    Field::Ipv4Src,
    Field::Ipv4Dst,
    Field::TcpDst,
    Field::Metadata,
];

fn step() -> impl Strategy<Value = Step> {
    let key = key().prop_map(Box::new);
    let rule = (any::<bool>(), 0..3u32, key, any::<u8>(), 0..8u8, 0..4u16);
    let rule = rule.prop_map(
        |(is_new, scope, key, fields, shorter, priority)| Step::Rule {
            is_new,
            scope,
            key,
            fields,
            shorter,
            priority,
        },
    );
    prop_oneof![
        40 => rule,
        1 => prop::sample::select(&FIELDS[..5]).prop_map(Step::Rewritten),
        1 => Just(Step::All),
    ]
}

fn key() -> impl Strategy<Value = FlowKey> {
    (0..3u64, 0..2u16, 0..3u32, 0..3u32, 0..2u16).prop_map(|(eth_dst, kind, src, dst, port)| {
        FlowKey {
            eth_dst,
            eth_type: 0x800 + kind,
            ipv4_src: src,
            ipv4_dst: dst,
            tp_dst: port,
            ..FlowKey::default()
        }
    })
}

fn mask(fields: u8, shorter: u8) -> FlowMask {
    let mut mask = FlowMask::default();
    for (bit, field) in FIELDS.iter().enumerate() {
        if fields >> bit & 1 == 1 {
            mask.unite(&field.mask());
        }
    }
    mask.0.ipv4_dst &= u32::MAX << shorter;
    mask
}

/// The answer to one question.
fn asked(changed: &Changed, key: &FlowKey, scopes: Scopes, since: u64) -> bool {
    let mut questions = [question(key, scopes, since)];
    changed.answer(&mut questions);
    questions[0].is_concerned
}

fn question(key: &FlowKey, scopes: Scopes, since: u64) -> Question<'_> {
    Question {
        key,
        scopes,
        since,
        is_concerned: false,
    }
}

/// A key that was parsed no deeper: what lies behind is of no meaning.
fn parsed_to(depth: Depth, key: &FlowKey) -> FlowKey {
    let mut key = *key;
    if depth < Depth::All {
        key.tp_dst ^= 1;
    }
    if depth < Depth::Network {
        (key.ipv4_src, key.ipv4_dst) = (!key.ipv4_src, !key.ipv4_dst);
    }
    if depth < Depth::Link {
        (key.eth_dst, key.eth_type) = (!key.eth_dst, !key.eth_type);
    }
    key
}

/// Notes that a rule went, or does something else.
fn note_old(changes: &mut Changes, scope: u32, matching: &Match, priority: u16, epoch: u64) {
    let mut classifier = Classifier::new(3, 0);
    let rule = classifier.insert(matching, priority, &[], 1);
    let rule = rule.and_then(|rule| classifier.rule(rule));
    changes.note_old(scope, &rule.expect("room"), epoch);
}

/// Whether a step concerns packets with this key that rules of these priorities decided,
/// `rewritten` being what may have changed in them.
fn concerns(
    step: &Step,
    packet: &FlowKey,
    (scopes, priorities): (&[u32], &RangeInclusive<u16>),
    rewritten: &FlowMask,
) -> bool {
    let Step::Rule {
        is_new,
        scope,
        key,
        fields,
        shorter,
        priority,
    } = step
    else {
        return true;
    };
    let mut mask = mask(*fields, *shorter);
    mask.0.metadata = 0;
    for (word, rewritten) in mask.0.words_mut().iter_mut().zip(rewritten.0.words()) {
        *word &= !rewritten;
    }
    let may_decide = match is_new {
        true => priorities.start() <= priority,
        false => priorities.contains(priority),
    };
    scopes.contains(scope) && may_decide && mask.agree(key, packet)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whom_a_change_concerns_is_told(
        steps in prop::collection::vec(step(), 1..120),
        questions in prop::collection::vec(
            (key(), 0..120usize, 1..8u8, 0..4u16, 0..3u16), 60
        ),
    ) {
        let mut changes = Changes::new(7);
        let mut rewritten = FlowMask::default();
        for (epoch, step) in (1u64..).zip(&steps) {
            match step {
                Step::Rule { is_new, scope, key, fields, shorter, priority } => {
                    let matching = Match::new(key, &mask(*fields, *shorter));
                    match is_new {
                        true => changes.note_new(*scope, &matching, *priority, epoch),
                        false => note_old(&mut changes, *scope, &matching, *priority, epoch),
                    }
                }
                Step::Rewritten(field) => {
                    rewritten.unite(&field.mask());
                    changes.rewritten(&field.mask(), epoch);
                }
                Step::All => changes.all(epoch),
            }
            let now = changes.publish();
            let mut together = Vec::new();
            for (key, since, wanted, lightest, more) in &questions {
                let list: Vec<u32> = (0..3).filter(|scope| wanted >> scope & 1 == 1).collect();
                let mut scopes = Scopes::default();
                list.iter().for_each(|scope| scopes.add(*scope, *lightest));
                scopes.add(list[0], *lightest + *more);
                let priorities = *lightest..=*lightest + *more;
                let since = (*since).min(epoch as usize);
                let mut later = steps[since..epoch as usize].iter();
                // Bits that were rewritten already change nothing.
                let news = |step: &&Step| !matches!(step, Step::Rewritten(_));
                let expected = later.any(|step| {
                    news(&step) && concerns(step, key, (&list, &priorities), &rewritten)
                });
                let told = asked(&now, key, scopes, since as u64);
                prop_assert!(!expected || told);
                let parsed = parsed_to(now.depth(), key);
                prop_assert_eq!(asked(&now, &parsed, scopes, since as u64), told);
                together.push((question(key, scopes, since as u64), told));
            }
            let (mut all, told): (Vec<_>, Vec<_>) = together.into_iter().unzip();
            now.answer(&mut all);
            for (question, told) in all.iter().zip(told) {
                prop_assert_eq!(question.is_concerned, told);
            }
        }
    }
}

#[test]
fn a_change_elsewhere_concerns_nobody() {
    let mut changes = Changes::new(7);
    let rule = |address: u32| {
        let mut matching = Match::default();
        matching.set(Field::EthType, 0x800, 0xffff);
        matching.set(Field::Ipv4Dst, address.into(), 0xffff_ffff);
        matching
    };
    let mut here = Scopes::default();
    here.add(3, 9);
    for address in 0..1000 {
        changes.note_new(3, &rule(address), 9, 5);
    }
    let now = changes.publish();
    let concerned = |now: &Changed, since| {
        let others = (1000..11_000).map(packet);
        others.filter(|key| asked(now, key, here, since)).count()
    };
    assert!((0..1000).map(packet).all(|key| asked(&now, &key, here, 4)));
    assert!(concerned(&now, 4) < 400, "{}", concerned(&now, 4));
    assert_eq!(concerned(&now, 5), 0);
    let mut elsewhere = Scopes::default();
    elsewhere.add(4, 9);
    assert!(!asked(&now, &packet(1), elsewhere, 4));

    // What is rewritten on the way does not tell packets apart any more.
    changes.rewritten(&Field::Ipv4Dst.mask(), 6);
    changes.note_new(3, &rule(1), 9, 7);
    let now = changes.publish();
    assert_eq!(concerned(&now, 6), 10_000);
    assert_eq!(concerned(&now, 7), 0);
}

#[test]
fn who_has_not_met_a_rule_does_not_care_where_it_goes() {
    let mut changes = Changes::new(7);
    let rule = |address: u32| Match::new(&packet(address), &Field::Ipv4Dst.mask());
    for address in 0..100 {
        note_old(&mut changes, 3, &rule(address), 100, 5);
    }
    let met = |priorities: &[u16]| {
        let mut scopes = Scopes::default();
        priorities.iter().for_each(|it| scopes.add(3, *it));
        scopes
    };
    let now = changes.publish();
    for (priorities, expected) in [
        (&[1, 99][..], false),
        (&[101, 200], false),
        (&[100], true),
        (&[1, 200], true),
    ] {
        let concerned = (0..100).filter(|it| asked(&now, &packet(*it), met(priorities), 4));
        assert_eq!(concerned.count() == 100, expected, "{priorities:?}");
    }
    // A new one may outweigh what they have met.
    changes.note_new(3, &rule(7), 100, 6);
    let now = changes.publish();
    assert!(asked(&now, &packet(7), met(&[1]), 5));
    assert!(!asked(&now, &packet(7), met(&[101]), 5));
    assert!(!asked(&now, &packet(8), met(&[1]), 4), "of another stamp");
}

#[test]
fn changes_are_told_whatever_the_epoch() {
    let mut changes = Changes::new(7);
    let rule = |address: u32| Match::new(&packet(address), &Field::Ipv4Dst.mask());
    let mut scopes = Scopes::default();
    scopes.add(0, 1);
    for epoch in [5, 1 << 20, (1 << 31) + 7, (1 << 32) - 1, 1 << 32, 1 << 40] {
        // In passing, what is told of all others grows no older than it must be.
        (0..1 << 17).for_each(|_| changes.note_new(0, &rule(1), 9, epoch));
        let now = changes.publish();
        for before in [1, 2, 1 << 29, 1 << 30, 1 << 31, 1 << 32] {
            let since = epoch.saturating_sub(before);
            assert!(asked(&now, &packet(1), scopes, since), "{epoch} {since}");
        }
        assert!(!asked(&now, &packet(1), scopes, epoch));
        assert!(!asked(&now, &packet(2), scopes, epoch - 1));
    }
}

#[test]
fn of_too_many_kinds_the_oldest_are_forgotten_to_the_safe_side() {
    let mut changes = Changes::new(7);
    for bits in 0..400u32 {
        let mut matching = Match::default();
        matching.set(Field::Ipv4Dst, 1, u128::from(bits) << 1 | 1);
        changes.note_new(0, &matching, 1, u64::from(bits) + 1);
    }
    let now = changes.publish();
    let mut scopes = Scopes::default();
    scopes.add(0, 0);
    let other = FlowKey::default();
    assert!(asked(&now, &other, scopes, 120), "older than what is kept");
    assert!(!asked(&now, &other, scopes, 150), "{now:?}");
}

#[test]
fn prefixes_of_every_length_concern_few() {
    let mut changes = Changes::new(7);
    let net = |n: u32, length: u32| {
        let mut mask = FlowMask::default();
        mask.0.eth_type = u16::MAX;
        mask.0.ipv4_dst = u32::MAX << (32 - length);
        Match::new(&packet(n.wrapping_mul(0x9e37_79b9)), &mask)
    };
    for n in 0..250 {
        let length = 8 + n % 25;
        changes.note_new(0, &net(n, length), length as u16, u64::from(n / 50) + 5);
    }
    let now = changes.publish();
    for n in 0..250 {
        let length = 8 + n % 25;
        let key = net(n, length).key();
        let by = |priority| {
            let mut scopes = Scopes::default();
            scopes.add(0, priority);
            scopes
        };
        assert!(asked(&now, &key, by(length as u16), u64::from(n / 50) + 4));
        let heavier = asked(&now, &key, by(33), 0);
        assert!(!heavier, "who met a rule of higher priority need not care");
    }
    // Of the lengths of 20 and more none concerns many.
    let mut scopes = Scopes::default();
    scopes.add(0, 20);
    let keys = (1000..11_000).map(|n: u32| packet(n.wrapping_mul(0x85eb_ca6b)));
    let concerned = keys.filter(|key| asked(&now, key, scopes, 4)).count();
    assert!(concerned < 100, "{concerned}");
}

fn packet(address: u32) -> FlowKey {
    FlowKey {
        eth_type: 0x800,
        ipv4_dst: address,
        ..FlowKey::default()
    }
}
