//! The classifier answers like a list of rules that is searched from end to end, whatever the
//! changes, and who reads at an epoch gets the answers of that time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use flowtable::{
    Classifier, Field, FlowKey, FlowMask, Match, Rule as Found, RuleId, Rules, Tuning, Walk,
};
use proptest::prelude::*;

/// A rule of the model: its number is what the classifier keeps with it.
#[derive(Clone, Debug)]
struct Rule {
    matching: Match,
    priority: u16,
    number: u32,
}

#[derive(Clone, Debug)]
enum Change {
    Insert(Match, u16),
    /// The same, as one of many in an epoch.
    InsertAtOnce(Match, u16),
    Remove(Match, u16),
    /// Removes the n-th rule, modulo their number.
    RemoveNth(usize),
    /// Readers go on to the newest epoch.
    Publish,
    /// Tidies up in so many steps.
    Maintain(usize),
}

/// Fields, values and masks so few that rules collide, overlap and include one another.
fn matching() -> impl Strategy<Value = Match> {
    let field = prop_oneof![
        Just((Field::InPort, 0xffff_ffff)),
        Just((Field::EthDst, 0xff)),
        Just((Field::Ipv4Src, 0xff00_0000)),
        Just((Field::Ipv4Src, 0xffff_0000)),
        Just((Field::Ipv4Dst, 0xffff_ffff)),
        Just((Field::VlanVid, 0x1000)),
        Just((Field::VlanVid, 0x1fff)),
        Just((Field::Ipv6Dst, !0 << 64)),
        Just((Field::TcpDst, 0xffff)),
    ];
    let fields = prop::collection::vec((field, 0u128..3), 0..4);
    fields.prop_map(|fields| {
        let mut matching = Match::default();
        for ((field, mask), value) in fields {
            matching.set(field, value * 0x0101_0101_0101_1001, mask);
        }
        matching
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (matching(), 0u16..5).prop_map(|(m, priority)| Change::Insert(m, priority)),
        4 => (matching(), 0u16..5).prop_map(|(m, priority)| Change::InsertAtOnce(m, priority)),
        1 => (matching(), 0u16..5).prop_map(|(m, priority)| Change::Remove(m, priority)),
        2 => any::<usize>().prop_map(Change::RemoveNth),
        2 => Just(Change::Publish),
        2 => (0usize..20).prop_map(Change::Maintain),
    ]
}

/// A packet that some of the rules match: the values of one, with another's laid over them.
fn packets(rules: &[Rule]) -> Vec<FlowKey> {
    let mut keys = vec![FlowKey::default()];
    for pair in rules.windows(2) {
        let mut key = pair[0].matching.key();
        keys.push(key);
        for (field, value, mask) in pair[1].matching.fields() {
            field.write(&mut key, value, mask);
        }
        keys.push(key);
    }
    keys
}

fn sorted(mut numbers: Vec<u32>) -> Vec<u32> {
    numbers.sort_unstable();
    numbers
}

fn select(rules: &[Rule], wanted: impl Fn(&Rule) -> bool) -> Vec<u32> {
    let wanted = rules.iter().filter(|rule| wanted(rule));
    sorted(wanted.map(|rule| rule.number).collect())
}

/// What readers have: rules, their epoch, and the model of that time.
type Snapshot = (Rules, u64, Vec<Rule>);

fn number(rule: &Found<'_>) -> u32 {
    rule.word(0) as u32
}

fn check((classifier, epoch, rules): &Snapshot) {
    for key in packets(rules) {
        let matching = rules.iter().filter(|rule| rule.matching.matches(&key));
        let best = matching.clone().map(|rule| rule.priority).max();
        let found = classifier.find(&key, *epoch);
        assert_eq!(found.map(|found| found.priority()), best);
        let found = found.map(|found| number(&found));
        let found = matching.clone().find(|rule| Some(rule.number) == found);
        assert_eq!(found.map(|rule| rule.priority), best);
        let mut all = Vec::new();
        classifier.find_all(&key, *epoch, |rule| all.push(number(&rule)));
        assert_eq!(
            sorted(all),
            select(rules, |rule| rule.matching.matches(&key))
        );
        // Of those with equal priority it is one with the most bits, wherever they are.
        let equal = matching.filter(|rule| Some(rule.priority) == best);
        assert_eq!(found.map(bits), equal.map(bits).max());
    }
    let mut listed: Vec<_> = classifier
        .iter(*epoch)
        .map(|rule| (number(&rule), rule.priority(), rule.matching()))
        .collect();
    listed.sort_by_key(|(number, ..)| *number);
    let mut expected: Vec<_> = rules
        .iter()
        .map(|rule| (rule.number, rule.priority, rule.matching.clone()))
        .collect();
    expected.sort_by_key(|(number, ..)| *number);
    assert_eq!(listed, expected);
    let mut mask = FlowMask::default();
    for rule in rules {
        mask.unite(&rule.matching.mask());
    }
    assert_eq!(*classifier.mask(), mask);
}

fn bits(rule: &Rule) -> u32 {
    let mask = rule.matching.mask();
    mask.0.words().iter().map(|word| word.count_ones()).sum()
}

fn check_selection((classifier, epoch, rules): &Snapshot, probe: &Match) {
    let numbers = |walk| {
        let found = classifier.walk(walk, *epoch);
        sorted(found.map(|rule| number(&rule)).collect())
    };
    assert_eq!(
        numbers(Walk::overlapping(probe)),
        select(rules, |rule| overlap(&rule.matching, probe))
    );
    assert_eq!(
        numbers(Walk::included_in(probe)),
        select(rules, |rule| included(&rule.matching, probe))
    );
}

/// Bit by bit over the whole key: no bit is required to be 0 by one and 1 by the other.
fn overlap(a: &Match, b: &Match) -> bool {
    let both = FlowMask(intersection(&a.mask(), &b.mask()));
    both.agree(&a.key(), &b.key())
}

/// Bit by bit over the whole key: `a` requires all that `b` requires.
fn included(a: &Match, b: &Match) -> bool {
    intersection(&a.mask(), &b.mask()) == b.mask().0 && b.mask().agree(&a.key(), &b.key())
}

fn intersection(a: &FlowMask, b: &FlowMask) -> FlowKey {
    let mut both = a.0;
    for (word, other) in both.words_mut().iter_mut().zip(b.0.words()) {
        *word &= other;
    }
    both
}

/// Structures change at sizes so small that a few rules reach them.
const EAGER: Tuning = Tuning {
    hollow_from: 8,
    apart: 1,
    stack_max: 3,
};

/// A classifier under change, the model, and the epoch that is being made.
struct World {
    classifier: Classifier,
    rules: Vec<Rule>,
    epoch: u64,
    published: Snapshot,
}

impl World {
    fn new(secret: u64) -> World {
        let classifier = Classifier::tuned(secret, 2, EAGER);
        let published = (classifier.rules().clone(), 0, Vec::new());
        World {
            classifier,
            rules: Vec::new(),
            epoch: 1,
            published,
        }
    }

    fn now(&self) -> Snapshot {
        let rules = self.classifier.rules().clone();
        (rules, self.epoch, self.rules.clone())
    }

    fn publish(&mut self) {
        self.published = self.now();
        self.epoch += 1;
    }

    fn insert(&mut self, matching: &Match, priority: u16, number: u32) {
        let old = self.classifier.get(matching, priority);
        let payload = [number.into(), 0];
        let classifier = &mut self.classifier;
        let id = classifier
            .insert(matching, priority, &payload, self.epoch)
            .expect("room");
        let rule = classifier.rule(id).expect("it is there");
        assert_eq!((rule.id(), rule.word(0)), (id, number.into()));
        if let Some(old) = old {
            classifier.remove(old, self.epoch);
        }
        let same = |rule: &Rule| rule.matching == *matching && rule.priority == priority;
        let model = self.rules.iter().position(same);
        assert_eq!(old.is_some(), model.is_some());
        model.map(|at| self.rules.remove(at));
        self.rules.push(Rule {
            matching: matching.clone(),
            priority,
            number,
        });
    }

    fn remove(&mut self, matching: &Match, priority: u16) {
        let same = |rule: &Rule| rule.matching == *matching && rule.priority == priority;
        let model = self.rules.iter().position(same);
        let model = model.map(|at| self.rules.remove(at).number);
        let held = self.classifier.get(matching, priority);
        let number = held.and_then(|id| Some(number(&self.classifier.rule(id)?)));
        assert_eq!(number, model);
        if let Some(id) = held {
            self.classifier.remove(id, self.epoch);
        }
    }

    fn apply(&mut self, change: Change, number: u32) {
        match change {
            Change::Insert(matching, priority) => self.insert(&matching, priority, number),
            Change::InsertAtOnce(matching, priority) => {
                self.insert(&matching, priority, number);
                let id = self
                    .classifier
                    .get(&matching, priority)
                    .expect("it is there");
                let (_, oldest, _) = self.published;
                self.classifier.make_room(id, oldest, self.epoch);
            }
            Change::Remove(matching, priority) => self.remove(&matching, priority),
            Change::RemoveNth(n) => {
                if let Some(rule) = self.rules.get(n % self.rules.len().max(1)).cloned() {
                    self.remove(&rule.matching, rule.priority);
                }
            }
            Change::Publish => {
                check(&self.published);
                self.publish();
            }
            Change::Maintain(steps) => {
                let (_, oldest, _) = self.published;
                self.classifier
                    .maintain((oldest, self.epoch), steps, &mut Vec::new());
            }
        }
        assert_eq!(self.classifier.len(), self.rules.len());
        assert_eq!(self.classifier.is_empty(), self.rules.is_empty());
        check(&self.now());
        check(&self.published);
    }
}

proptest! {
    #[test]
    fn answers_like_a_list(
        changes in prop::collection::vec(change(), 1..80),
        probes in prop::collection::vec(matching(), 3),
        secret in any::<u64>(),
    ) {
        let mut world = World::new(secret);
        for (number, change) in (0..).zip(changes) {
            world.apply(change, number);
        }
        for probe in &probes {
            check_selection(&world.now(), probe);
            check_selection(&world.published, probe);
        }
        for rule in world.rules.clone() {
            world.remove(&rule.matching, rule.priority);
        }
        check(&world.now());
        prop_assert_eq!(world.classifier.rules().probes_max(), 0);
    }

    #[test]
    fn order_of_arrival_does_not_matter(
        rules in prop::collection::vec((matching(), 0u16..3), 1..30),
        rotation in any::<prop::sample::Index>(),
    ) {
        let mut unique: Vec<(Match, u16)> = Vec::new();
        for rule in rules {
            if !unique.contains(&rule) {
                unique.push(rule);
            }
        }
        let fill = |rules: &[(Match, u16)]| {
            let mut classifier = Classifier::new(1, 0);
            for (matching, priority) in rules {
                classifier.insert(matching, *priority, &[], 1).expect("room");
            }
            classifier
        };
        let first = fill(&unique);
        let middle = rotation.index(unique.len());
        unique.rotate_left(middle);
        let second = fill(&unique);
        let answer = |classifier: &Classifier, key: &FlowKey| {
            let found = classifier.rules().find(key, 1)?;
            Some((found.matching(), found.priority()))
        };
        for (matching, _) in &unique {
            let key = matching.key();
            prop_assert_eq!(answer(&first, &key), answer(&second, &key));
        }
    }
}

fn address(n: u32) -> Match {
    let mut matching = Match::default();
    matching.set(Field::Ipv4Dst, n.into(), u128::MAX);
    matching
}

#[test]
fn an_epoch_keeps_its_rules_while_a_large_table_changes() {
    const COUNT: u32 = 10_000;
    let mut world = World::new(7);
    for n in 0..COUNT {
        world
            .classifier
            .insert(&address(n), 1, &[n.into(), 0], world.epoch)
            .expect("room");
        world
            .classifier
            .maintain((0, world.epoch), 4, &mut Vec::new());
    }
    world.publish();
    for n in 0..COUNT {
        let old = world.classifier.get(&address(n), 1).expect("it is there");
        if n % 2 == 1 {
            let payload = [u64::from(n) + 1_000_000, 0];
            world
                .classifier
                .insert(&address(n), 1, &payload, world.epoch)
                .expect("room");
        }
        world.classifier.remove(old, world.epoch);
        let epochs = (world.epoch - 1, world.epoch);
        world.classifier.maintain(epochs, 4, &mut Vec::new());
    }
    assert_eq!(world.classifier.len(), COUNT as usize / 2);
    let at = |epoch: u64, n: u32| {
        let found = world.classifier.rules().find(&address(n).key(), epoch);
        found.map(|found| found.word(0))
    };
    for n in 0..COUNT {
        assert_eq!(at(world.epoch - 1, n), Some(n.into()));
        let changed = u64::from(n) + 1_000_000;
        assert_eq!(at(world.epoch, n), (n % 2 == 1).then_some(changed));
    }
    assert_eq!(world.classifier.rules().probes_max(), 1);
}

#[test]
fn many_rules_of_one_epoch_are_put_in_their_place_at_once() {
    const COUNT: u32 = 100_000;
    let mut world = World::new(7);
    for n in 0..10 {
        world.insert(&address(n), 1, n);
    }
    world.publish();
    // Without room at once this would take five thousand million steps.
    for n in 10..COUNT {
        let classifier = &mut world.classifier;
        let payload = [n.into(), 0];
        let id = classifier.insert(&address(n), 1, &payload, world.epoch);
        classifier.make_room(id.expect("room"), world.epoch - 1, world.epoch);
    }
    let at = |epoch: u64, n: u32| {
        let found = world.classifier.rules().find(&address(n).key(), epoch);
        found.map(|found| found.word(0))
    };
    for n in 0..COUNT {
        assert_eq!(at(world.epoch, n), Some(n.into()));
        assert_eq!(at(world.epoch - 1, n), (n < 10).then_some(n.into()));
    }
    check(&world.published);
}

#[test]
fn a_burst_in_one_epoch_is_seen_by_that_epoch_alone() {
    const COUNT: u32 = 20_000;
    let mut world = World::new(7);
    let first = address(0);
    let id = world.classifier.insert(&first, 1, &[7, 0], world.epoch);
    world.publish();
    for n in 1..COUNT {
        let payload = [n.into(), 0];
        world
            .classifier
            .insert(&address(n), 1, &payload, world.epoch)
            .expect("room");
    }
    world.classifier.remove(id.expect("room"), world.epoch);
    let (rules, epoch, _) = &world.published;
    let before = rules.find(&first.key(), *epoch).map(|found| found.word(0));
    assert_eq!((before, rules.iter(*epoch).count()), (Some(7), 1));
    let rules = world.classifier.rules();
    assert_eq!(rules.iter(world.epoch).count(), COUNT as usize - 1);
    for n in 0..COUNT {
        let found = rules.find(&address(n).key(), world.epoch);
        assert_eq!(
            found.map(|found| found.word(0)),
            (n > 0).then_some(n.into())
        );
    }
}

#[test]
fn cells_of_rules_that_went_are_used_again() {
    let mut world = World::new(7);
    let mut most = 0;
    for round in 0..200_u32 {
        for n in 0..100 {
            let new = address(round * 100 + n);
            world
                .classifier
                .insert(&new, 1, &[0, 0], world.epoch)
                .expect("room");
            if round > 0 {
                let old = address((round - 1) * 100 + n);
                let old = world.classifier.get(&old, 1).expect("it is there");
                world.classifier.remove(old, world.epoch);
            }
        }
        world.publish();
        let epochs = (world.epoch - 1, world.epoch);
        world
            .classifier
            .maintain(epochs, usize::MAX, &mut Vec::new());
        most = most.max(world.classifier.memory_bytes());
    }
    assert!(most < 100 * 1000, "{most} bytes for 100 rules");
}

/// What a reading thread is at.
type Seat = Mutex<Arc<(Rules, u64)>>;

/// One of eight masks; no packet that has the address matches another.
fn prefix(n: u32) -> Match {
    let mut matching = Match::default();
    let bits = 24 + n % 8;
    let mask = u32::MAX << (32 - bits);
    matching.set(Field::Ipv4Dst, (n << 8).into(), mask.into());
    matching
}

/// Each epoch has the same addresses, all with the number of the epoch, and half of them move to
/// other cells each time: whoever reads finds every address with one and the same number.
#[test]
fn readers_see_all_changes_of_an_epoch_or_none() {
    const RULES: u32 = 64;
    const EPOCHS: u64 = 500;
    let mut classifier = Classifier::tuned(3, 1, EAGER);
    let newest: Seat = Mutex::new(Arc::new((classifier.rules().clone(), 0)));
    let (ended, looked) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let state = Arc::clone(&newest.lock().expect("no panic"));
                    let (rules, epoch) = &*state;
                    for n in (0..RULES).filter(|_| *epoch > 0) {
                        let found = rules
                            .find(&prefix(n).key(), *epoch)
                            .expect("every epoch has it");
                        assert_eq!(found.word(0), *epoch);
                    }
                    looked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut published = Vec::new();
        for epoch in 1..=EPOCHS {
            for n in 0..RULES {
                let old = classifier.get(&prefix(n), 1);
                classifier
                    .insert(&prefix(n), 1, &[epoch], epoch)
                    .expect("room");
                old.into_iter()
                    .for_each(|old| classifier.remove(old, epoch));
                // Rules of a moment make the cells move.
                let passing = prefix(RULES + n * 7 + epoch as u32 % 5);
                let id = classifier.insert(&passing, 1, &[0], epoch).expect("room");
                classifier.remove(id, epoch);
            }
            let state = Arc::new((classifier.rules().clone(), epoch));
            published.push((epoch, Arc::downgrade(&state)));
            *newest.lock().expect("no panic") = state;
            published.retain(|(_, state)| state.strong_count() > 0);
            let oldest = published.first().map_or(epoch, |(epoch, _)| *epoch);
            classifier.maintain((oldest, epoch + 1), 1000, &mut Vec::new());
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert!(looked.load(Ordering::Relaxed) > 0);
    assert!(
        classifier.memory_bytes() < 1 << 20,
        "{}",
        classifier.memory_bytes()
    );
}

#[test]
fn a_walk_that_is_renewed_misses_nothing_that_stayed() {
    const EACH: u128 = 10;
    let masks = [0xff00_0000, 0xffff_0000, 0xffff_ff00, 0xffff_ffff];
    for stop in 0..masks.len() * EACH as usize {
        let mut classifier = Classifier::new(7, 1);
        let mut ids = Vec::new();
        for (place, mask) in masks.iter().enumerate() {
            for value in 1..=EACH {
                let mut matching = Match::default();
                matching.set(Field::Ipv4Dst, value << 24 & mask, *mask);
                let number = [place as u64 * 100 + value as u64];
                let id = classifier.insert(&matching, 9 - place as u16, &number, 1);
                ids.push(id.expect("room"));
            }
        }
        let old = classifier.rules().clone();
        let mut walk = Walk::included_in(&Match::default());
        let mut seen: Vec<u64> = (0..stop)
            .map(|_| old.next(&mut walk, 1).expect("a rule").word(0))
            .collect();
        // The first mask goes, with its place in the order, and another comes before all.
        for id in &ids[..EACH as usize] {
            classifier.remove(*id, 2);
        }
        let mut newcomer = Match::default();
        newcomer.set(Field::TcpDst, 80, 0xffff);
        classifier.insert(&newcomer, 99, &[1000], 2).expect("room");
        walk.renew(&old);
        let rest = classifier.rules().walk(walk, 2);
        seen.extend(rest.map(|rule| rule.word(0)));
        for place in 1..masks.len() as u64 {
            for value in 1..=EACH as u64 {
                let number = place * 100 + value;
                let times = seen.iter().filter(|it| **it == number).count();
                assert_eq!(times, 1, "{number}, renewed after {stop}");
            }
        }
    }
}

/// All places of tidying up, with nobody at an older epoch.
fn tidy(classifier: &mut Classifier, epoch: u64) -> Vec<RuleId> {
    let mut moved = Vec::new();
    for epoch in epoch..epoch + 4 {
        while classifier.maintain((epoch - 1, epoch), 1000, &mut moved) {}
    }
    moved
}

/// Each of these would take hours if it walked through the rules of the match.
#[test]
fn rules_of_one_match_may_have_every_priority() {
    let matching = address(1);
    let key = matching.key();
    let mut classifier = Classifier::new(7, 1);
    // Neither in ascending nor in descending order: an odd step comes by all of them.
    let priorities = || (0..=u16::MAX).map(|n| n.wrapping_mul(40_503));
    for priority in priorities() {
        assert_eq!(classifier.get(&matching, priority), None);
        let id = classifier.insert(&matching, priority, &[priority.into()], 1);
        assert_eq!(classifier.get(&matching, priority), id);
    }
    let published = classifier.rules().clone();
    let at = |rules: &Rules, epoch| rules.find(&key, epoch).map(|found| found.priority());
    for priority in (1..=u16::MAX).rev() {
        let id = classifier.get(&matching, priority).expect("it is there");
        classifier.remove(id, 2);
        if priority % 4096 == 0 {
            assert_eq!(at(classifier.rules(), 2), Some(priority - 1));
        }
    }
    assert_eq!(at(classifier.rules(), 2), Some(0));
    assert_eq!(at(&published, 1), Some(u16::MAX));
    assert_eq!(published.iter(1).count(), 65_536);
    drop(published);
    tidy(&mut classifier, 3);
    assert_eq!((classifier.waiting(), classifier.len()), (0, 1));
}

#[test]
fn a_rule_may_be_changed_often_while_somebody_reads_at_an_old_epoch() {
    const TIMES: u64 = 50_000;
    let (matching, other) = (address(1), address(2));
    let mut classifier = Classifier::new(7, 1);
    classifier.insert(&other, 1, &[7], 1);
    classifier.insert(&matching, 2, &[0], 1);
    let published = classifier.rules().clone();
    for epoch in 2..TIMES {
        let old = classifier.get(&matching, 2).expect("it is there");
        classifier.insert(&matching, 2, &[epoch], epoch);
        classifier.remove(old, epoch);
        let found = classifier.rules().find(&matching.key(), epoch);
        assert_eq!(found.map(|found| found.word(0)), Some(epoch));
        classifier.maintain((1, epoch), 10, &mut Vec::new());
    }
    let found = published.find(&matching.key(), 1);
    assert_eq!(found.map(|found| found.word(0)), Some(0));
    assert_eq!(classifier.waiting() as u64, TIMES - 2);
    drop(published);
    tidy(&mut classifier, TIMES);
    assert_eq!(classifier.waiting(), 0);
    assert_eq!(classifier.rules().iter(TIMES + 4).count(), 2);
}

/// A mask for each number below 2^16.
fn narrow(n: u32) -> Match {
    let mut matching = Match::default();
    let spread = (0..16).map(|bit| u128::from(n >> bit & 1) << (3 * bit));
    matching.set(Field::EthSrc, 0, spread.sum());
    matching
}

#[test]
fn every_rule_may_have_a_mask_of_its_own() {
    const MASKS: u32 = 20_000;
    let mut classifier = Classifier::new(7, 1);
    let mut published = classifier.rules().clone();
    for n in 0..MASKS {
        classifier.insert(&narrow(n), n as u16, &[n.into()], 1);
        // As after each publication: nothing may be changed in place.
        published = classifier.rules().clone();
    }
    assert_eq!(published.iter(1).count(), MASKS as usize);
    let found = published.find(&FlowKey::default(), 1).expect("all match");
    assert_eq!(found.word(0), u64::from(MASKS) - 1);
    for n in 0..MASKS {
        let id = classifier.get(&narrow(n), n as u16).expect("it is there");
        classifier.remove(id, 2);
        let now = classifier.rules().clone();
        assert!(!now.is_same(&published));
    }
    assert_eq!(classifier.rules().probes_max(), 0);
    assert_eq!(*classifier.rules().mask(), FlowMask::default());
    assert_eq!(published.iter(1).count(), MASKS as usize);
}

#[test]
fn memory_follows_the_rules_that_are_there() {
    const COUNT: u32 = 100_000;
    const LEFT: u32 = 1000;
    let mut classifier = Classifier::new(7, 4);
    let mut small = Classifier::new(7, 4);
    let left = |n: &u32| n.is_multiple_of(COUNT / LEFT);
    for n in 0..COUNT {
        classifier.insert(&address(n), 1, &[n.into(); 4], 1);
        classifier.maintain((0, 1), 4, &mut Vec::new());
    }
    for n in (0..COUNT).filter(left) {
        small.insert(&address(n), 1, &[n.into(); 4], 1);
    }
    let most = classifier.memory_bytes();
    for n in (0..COUNT).filter(|n| !left(n)) {
        let id = classifier.get(&address(n), 1).expect("it is there");
        classifier.remove(id, 2);
    }
    let moved = tidy(&mut classifier, 3);
    assert!(moved.len() >= LEFT as usize, "{} moved", moved.len());
    let (now, needed) = (classifier.memory_bytes(), small.memory_bytes());
    assert!(
        now < 4 * needed,
        "{now} bytes of {most}, {needed} are needed"
    );
    for n in 0..COUNT {
        let found = classifier.rules().find(&address(n).key(), 9);
        assert_eq!(
            found.map(|found| found.word(3)),
            left(&n).then_some(n.into())
        );
    }
}

/// Rules of an access list: prefixes of both addresses in 64 combinations, and a port.
fn access_list(count: u32) -> Vec<(Match, u16)> {
    let rule = |n: u32| {
        let address = 0x3000_0000 + (n.wrapping_mul(0x9e37_79b9) >> 4);
        let prefix = |bits: u32| u128::from(u32::MAX << (32 - bits));
        let mut matching = Match::default();
        matching.set(Field::EthType, 0x0800, u128::MAX);
        matching.set(Field::Ipv4Src, address.into(), prefix(8 + n % 8 * 3));
        matching.set(Field::Ipv4Dst, (!address).into(), prefix(8 + n / 8 % 8 * 3));
        matching.set(Field::TcpDst, (n % 100).into(), u128::MAX);
        (matching, (n % 3) as u16)
    };
    let mut rules: Vec<_> = (0..count).map(rule).collect();
    rules.sort_unstable_by_key(|(matching, priority)| (format!("{matching:?}"), *priority));
    rules.dedup();
    rules
}

#[test]
fn many_masks_share_a_few_tuples() {
    let rules = access_list(3000);
    let mut classifier = Classifier::new(7, 1);
    let mut ids = Vec::new();
    for (n, (matching, priority)) in (0_u64..).zip(&rules) {
        ids.push(classifier.insert(matching, *priority, &[n], 1));
    }
    let before = classifier.rules().clone();
    assert!(before.probes_max() >= 64);
    let moved = tidy(&mut classifier, 2);
    assert!(
        classifier.rules().probes_max() <= 8,
        "{:?}",
        classifier.rules()
    );
    assert!(moved.len() > rules.len() / 2, "{} moved", moved.len());
    for (matching, priority) in &rules {
        let key = matching.key();
        let matches = |rule: &&(Match, u16)| rule.0.matches(&key);
        let best = rules.iter().filter(matches).map(|rule| rule.1).max();
        let at = |rules: &Rules, epoch| rules.find(&key, epoch).map(|found| found.priority());
        assert_eq!(at(classifier.rules(), 9), best);
        assert_eq!(at(&before, 1), best);
        let id = classifier.get(matching, *priority).expect("it is there");
        let rule = classifier.rule(id).expect("it is there");
        assert_eq!(
            (rule.matching(), rule.priority()),
            (matching.clone(), *priority)
        );
    }
    // What comes later joins those that are there.
    let mut other = Match::default();
    other.set(Field::EthType, 0x0800, u128::MAX);
    for (field, value) in [(Field::Ipv4Src, 1), (Field::Ipv4Dst, 2), (Field::TcpDst, 3)] {
        other.set(field, value, u128::MAX);
    }
    let tuples = classifier.rules().probes_max();
    classifier.insert(&other, 9, &[0], 9);
    assert_eq!(classifier.rules().probes_max(), tuples);
    for (matching, priority) in &rules {
        let id = classifier.get(matching, *priority).expect("it is there");
        classifier.remove(id, 9);
    }
    let left = classifier.rules().find(&other.key(), 9);
    assert_eq!(left.map(|rule| rule.matching()), Some(other));
    assert_eq!(
        (classifier.len(), classifier.rules().iter(9).count()),
        (1, 1)
    );
}

/// A flow that is changed over and over while somebody reads an old state leaves a large stack of
/// rules that went; as they go it becomes small again, and grows again.
#[test]
fn a_stack_that_shrinks_and_grows_again_keeps_its_newest_rule_known() {
    let mut classifier = Classifier::new(7, 1);
    let matching = prefix(1);
    let mut change = |epoch: u64, oldest: u64| {
        let old = classifier.get(&matching, 1);
        assert_eq!(old.is_some(), epoch > 1, "at epoch {epoch}");
        classifier
            .insert(&matching, 1, &[epoch], epoch)
            .expect("room");
        old.into_iter()
            .for_each(|old| classifier.remove(old, epoch));
        classifier.maintain((oldest, epoch + 1), 1000, &mut Vec::new());
        assert_eq!(classifier.len(), 1);
        let rules = classifier.rules();
        let found = rules.find(&matching.key(), epoch);
        assert_eq!(found.map(|rule| rule.word(0)), Some(epoch));
    };
    (1..=40).for_each(|epoch| change(epoch, 0));
    // Half of them go, so that it is large no more but has its order still.
    change(41, 20);
    (42..=60).for_each(|epoch| change(epoch, 20));
}
