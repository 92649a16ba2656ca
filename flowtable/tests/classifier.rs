//! The classifier answers like a list of rules that is searched from end to end, whatever the
//! changes, and a clone keeps the answers of its time.

use std::sync::Arc;

use flowtable::{Classifier, Field, FlowKey, FlowMask, Match};
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
    Remove(Match, u16),
    /// Removes the n-th rule, modulo their number.
    RemoveNth(usize),
    /// Forgets the older clone and clones anew.
    Publish,
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
        1 => (matching(), 0u16..5).prop_map(|(m, priority)| Change::Remove(m, priority)),
        2 => any::<usize>().prop_map(Change::RemoveNth),
        1 => Just(Change::Publish),
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

fn check(classifier: &Classifier<u32>, rules: &[Rule]) {
    assert_eq!(classifier.len(), rules.len());
    assert_eq!(classifier.is_empty(), rules.is_empty());
    for key in packets(rules) {
        let matching = rules.iter().filter(|rule| rule.matching.matches(&key));
        let best = matching.clone().map(|rule| rule.priority).max();
        let found = classifier.find(&key).map(|number| **number);
        let found = matching
            .clone()
            .find(|rule| Some(rule.number) == found)
            .map(|rule| rule.priority);
        assert_eq!(found, best);
    }
    let mut listed: Vec<_> = classifier
        .iter()
        .map(|entry| (**entry.rule, entry.priority, entry.matching()))
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

fn check_selection(classifier: &Classifier<u32>, rules: &[Rule], probe: &Match) {
    for priority in 0..5 {
        let found = classifier.overlapping(probe, priority);
        assert_eq!(
            sorted(found.map(|entry| **entry.rule).collect()),
            select(rules, |rule| rule.priority == priority
                && overlap(&rule.matching, probe))
        );
    }
    assert_eq!(
        sorted(
            classifier
                .included_in(probe)
                .map(|entry| **entry.rule)
                .collect()
        ),
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

fn apply(change: Change, number: u32, classifier: &mut Classifier<u32>, rules: &mut Vec<Rule>) {
    match change {
        Change::Insert(matching, priority) => {
            let old = classifier.insert(&matching, priority, Arc::new(number));
            let same = |rule: &Rule| rule.matching == matching && rule.priority == priority;
            let model = rules.iter().position(same).map(|at| rules.remove(at));
            assert_eq!(old.map(|old| *old), model.map(|rule| rule.number));
            rules.push(Rule {
                matching,
                priority,
                number,
            });
        }
        Change::Remove(matching, priority) => remove(classifier, rules, &matching, priority),
        Change::RemoveNth(n) => {
            if let Some(rule) = rules.get(n % rules.len().max(1)).cloned() {
                remove(classifier, rules, &rule.matching, rule.priority);
            }
        }
        Change::Publish => (),
    }
}

fn remove(
    classifier: &mut Classifier<u32>,
    rules: &mut Vec<Rule>,
    matching: &Match,
    priority: u16,
) {
    let same = |rule: &Rule| rule.matching == *matching && rule.priority == priority;
    let model = rules
        .iter()
        .position(same)
        .map(|at| rules.remove(at).number);
    let held = classifier.get(matching, priority).map(|number| **number);
    assert_eq!(held, model);
    let old = classifier.remove(matching, priority).map(|old| *old);
    assert_eq!(old, model);
}

proptest! {
    #[test]
    fn answers_like_a_list(
        changes in prop::collection::vec(change(), 1..60),
        probes in prop::collection::vec(matching(), 3),
        secret in any::<u64>(),
    ) {
        let mut classifier = Classifier::new(secret);
        let mut rules = Vec::new();
        let mut published = (classifier.clone(), rules.clone());
        for (number, change) in (0..).zip(changes) {
            if matches!(change, Change::Publish) {
                check(&published.0, &published.1);
                published = (classifier.clone(), rules.clone());
            }
            apply(change, number, &mut classifier, &mut rules);
            check(&classifier, &rules);
        }
        check(&published.0, &published.1);
        for probe in &probes {
            check_selection(&classifier, &rules, probe);
        }
        for rule in rules.clone() {
            remove(&mut classifier, &mut rules, &rule.matching, rule.priority);
        }
        check(&classifier, &[]);
        prop_assert_eq!(classifier.probes_max(), 0);
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
            let mut classifier = Classifier::new(1);
            for (matching, priority) in rules {
                classifier.insert(matching, *priority, Arc::new((matching.clone(), *priority)));
            }
            classifier
        };
        let first = fill(&unique);
        let middle = rotation.index(unique.len());
        unique.rotate_left(middle);
        let second = fill(&unique);
        for (matching, _) in &unique {
            let key = matching.key();
            prop_assert_eq!(first.find(&key), second.find(&key));
        }
    }
}

#[test]
fn a_clone_keeps_its_rules_while_a_large_table_changes() {
    let matching = |n: u32| {
        let mut matching = Match::default();
        matching.set(Field::Ipv4Dst, n.into(), u128::MAX);
        matching
    };
    let mut classifier = Classifier::new(7);
    for n in 0..10_000 {
        classifier.insert(&matching(n), 1, Arc::new(n));
    }
    let published = classifier.clone();
    for n in 0..10_000 {
        if n % 2 == 0 {
            classifier.remove(&matching(n), 1);
        } else {
            classifier.insert(&matching(n), 1, Arc::new(n + 1_000_000));
        }
    }
    assert_eq!((published.len(), classifier.len()), (10_000, 5_000));
    for n in 0..10_000 {
        let key = matching(n).key();
        assert_eq!(published.find(&key).map(|found| **found), Some(n));
        let changed = classifier.find(&key).map(|found| **found);
        assert_eq!(changed, (n % 2 == 1).then_some(n + 1_000_000));
    }
    assert_eq!(published.probes_max(), 1);
}
