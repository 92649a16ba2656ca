//! How long packets take at half load.

use super::forward::{Sizes, l3};
use crate::judge::figure::LATENCIES;
use crate::judge::scenario::{Course, Scenario, Wanted};

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut scenario = l3(1_000, Sizes::Small, 1.0);
    scenario.name = "latency".into();
    scenario.about += ", microseconds at half of what each can take";
    scenario.course = Course::Latency;
    scenario.figures = LATENCIES.to_vec();
    scenario.wanted = vec![Wanted::TimesOvs(1.0)];
    vec![scenario]
}
