//! To a guest over vhost-user, or from one to another, by rules on IP addresses.

use super::forward::{anywhere, source};
use super::{cycle, no_frames, short, udp};
use crate::judge::figure::Figure;
use crate::judge::frames::{LARGEST, SMALLEST, Udp};
use crate::judge::guest::PairSpec;
use crate::judge::scenario::{Beyond, Course, Rules, Scenario, Wanted};

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for packed in [false, true] {
        for (flows, bytes, ratio) in [
            (1, SMALLEST, 1.5),
            (100_000, SMALLEST, 2.0),
            (1, LARGEST, 1.5),
        ] {
            scenarios.push(to_guest(packed, flows, bytes, ratio));
            scenarios.push(between_guests(packed, flows, bytes, ratio));
        }
    }
    scenarios
}

fn to_guest(packed: bool, flows: u32, wire_bytes: usize, ratio: f64) -> Scenario {
    let (ring, last) = told(packed, flows, wire_bytes);
    let frame = move |flow| {
        let udp = Udp {
            wire_bytes,
            ..udp(flow)
        };
        udp.ipv4(source(flow), anywhere(flow))
    };
    let mut scenario = Scenario::new(
        format!("guest-{ring}-{last}"),
        format!(
            "to a guest on vhost-user with {ring} rings, {} flows of {wire_bytes} bytes",
            short(flows)
        ),
        move || cycle(flows, frame),
        || {
            Rules::flows(vec![
                "in_port=1,ip,nw_dst=20.0.0.0/8,actions=output:2".into(),
            ])
        },
        &[Wanted::TimesOvs(ratio)],
    );
    scenario.beyond = Beyond::Guest { packed };
    scenario.figures = vec![Figure::Mpps, Figure::Cycles];
    scenario
}

fn between_guests(packed: bool, flows: u32, wire_bytes: usize, ratio: f64) -> Scenario {
    let (ring, last) = told(packed, flows, wire_bytes);
    let rule = |from, to| format!("in_port={from},ip,nw_dst=10.252.0.0/14,actions=output:{to}");
    let mut scenario = Scenario::new(
        format!("guests-{ring}-{last}"),
        format!(
            "from guest to guest both ways, {ring} rings, {} flows of {wire_bytes} bytes",
            short(flows)
        ),
        no_frames,
        move || Rules::flows(vec![rule(1, 2), rule(2, 1)]),
        &[Wanted::TimesOvs(ratio)],
    );
    scenario.course = Course::Guests(PairSpec {
        packed,
        flows,
        wire_bytes,
    });
    scenario.figures = vec![Figure::Mpps, Figure::Cycles];
    scenario
}

/// The kind of rings, and the end of a name.
fn told(packed: bool, flows: u32, wire_bytes: usize) -> (&'static str, String) {
    let last = match wire_bytes {
        SMALLEST => short(flows),
        _ => wire_bytes.to_string(),
    };
    (if packed { "packed" } else { "split" }, last)
}
