//! All scenarios, by family.

mod access;
mod attack;
mod bridge;
mod forward;
mod group;
mod growth;
mod guest;
mod latency;
mod overlay;
mod pipeline;
mod tcp;
mod tracking;

use super::frames::{Udp, random, shuffled};
use super::generator::Traffic;
use super::scenario::Scenario;

/// Every scenario, in the order of the report.
pub fn all() -> Vec<Scenario> {
    [
        forward::scenarios(),
        access::scenarios(),
        pipeline::scenarios(),
        bridge::scenarios(),
        group::scenarios(),
        attack::scenarios(),
        tracking::scenarios(),
        overlay::scenarios(),
        guest::scenarios(),
        tcp::scenarios(),
        latency::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Those that show how the rate falls as something grows; they are no part of [`all`].
pub fn growth() -> Vec<Scenario> {
    growth::scenarios()
}

/// Those of this name, or of a family: `l3` stands for `l3-1k` and `l3-100k`.
pub fn named(name: &str) -> Vec<Scenario> {
    let family = format!("{name}-");
    let mut scenarios = all();
    scenarios.extend(growth());
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

/// Frames of so many flows, in an order without order.
fn cycle(flows: u32, frame: impl Fn(u32) -> Vec<u8>) -> Traffic {
    Traffic::Cycle {
        frames: (0..flows).map(frame).collect(),
        prelude: Vec::new(),
        orders: vec![shuffled(flows as usize)],
    }
}

/// No frames, where nothing is generated.
fn no_frames() -> Traffic {
    Traffic::Cycle {
        frames: Vec::new(),
        prelude: Vec::new(),
        orders: vec![Vec::new()],
    }
}

/// Ports that differ from flow to flow.
fn udp(flow: u32) -> Udp {
    Udp {
        source: 1024 + (random(flow.into()) % 60_000) as u16,
        destination: 20_000 + (flow % 1000) as u16,
        ..Udp::default()
    }
}
