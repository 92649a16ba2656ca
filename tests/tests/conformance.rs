//! Part of the OpenFlow 1.3 patterns of os-ken's switch test tool; `make conformance` runs all.

use std::sync::atomic::AtomicUsize;

use tests::conformance::{
    Category, Kind, Options, Pattern, Score, Target, all_patterns, run_alone, run_patterns,
};

/// Nothing between a barrier reply and the packet.
const OPTIONS: Options = Options {
    target: Target::Vswitchd,
    settle_s: 0.0,
    rate_s: Some(10),
    packet_s: 20,
    pairs: 2,
    mend: true,
};

#[test]
fn patterns_of_the_switch_test_tool_pass() {
    let patterns = all_patterns();
    assert_eq!(patterns.len(), 991, "the tool has other patterns");
    let (rates, others): (Vec<_>, Vec<_>) = part(patterns)
        .into_iter()
        .partition(|pattern| pattern.kind == Kind::Rate);
    assert!(others.len() > 300, "{} patterns", others.len());
    let score = run_patterns(&others, &OPTIONS, &AtomicUsize::new(0));
    assert_all_passed(&score);
    assert_eq!(rates.len(), 5, "three of groups, two of meters");
    assert_all_passed(&run_alone(&rates, &OPTIONS, &AtomicUsize::new(0)));
}

/// All actions; of the match fields some of each file; of groups and meters some of each kind.
fn part(patterns: Vec<Pattern>) -> Vec<Pattern> {
    let mut seen = std::collections::HashMap::<(String, bool), usize>::new();
    let mut chosen = |pattern: &Pattern| {
        let is_miss = pattern.kind == Kind::Miss;
        let before = seen.entry((pattern.file.clone(), is_miss)).or_default();
        *before += 1;
        match pattern.category {
            Category::Action | Category::SetField => true,
            Category::Match if is_miss => *before == 1,
            Category::Match => *before <= 4,
            Category::Group => *before == 1 && !pattern.file.contains("Weight"),
            Category::Meter => *before == 1 && pattern.file.ends_with("PKTPS_00_100"),
        }
    };
    let mut patterns = patterns;
    patterns.retain(|pattern| chosen(pattern));
    patterns
}

fn assert_all_passed(score: &Score) {
    let failures = score.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
