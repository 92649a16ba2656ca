//! All scenarios, by family.

mod forward;

use super::scenario::Scenario;

/// Every scenario, in the order of the report.
pub fn all() -> Vec<Scenario> {
    forward::scenarios()
}

/// Those of this name, or of a family: `l3` stands for `l3-1k` and `l3-100k`.
pub fn named(name: &str) -> Vec<Scenario> {
    let family = format!("{name}-");
    let mut scenarios = all();
    let exact = scenarios.iter().any(|scenario| scenario.name == name);
    scenarios.retain(|scenario| match exact {
        true => scenario.name == name,
        false => scenario.name.starts_with(&family),
    });
    scenarios
}

/// A number of flows as names have it: `100k`.
fn short(count: u32) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}
