//! To a guest over vhost-user, by a rule on IP addresses.

use super::forward::{anywhere, source};
use super::{cycle, short, udp};
use crate::judge::frames::{LARGEST, SMALLEST, Udp};
use crate::judge::scenario::{Beyond, Rules, Scenario, Wanted};

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for packed in [false, true] {
        for (flows, bytes, ratio) in [
            (1, SMALLEST, 1.5),
            (100_000, SMALLEST, 2.0),
            (1, LARGEST, 1.5),
        ] {
            scenarios.push(to_guest(packed, flows, bytes, ratio));
        }
    }
    scenarios
}

fn to_guest(packed: bool, flows: u32, wire_bytes: usize, ratio: f64) -> Scenario {
    let ring = if packed { "packed" } else { "split" };
    let last = match wire_bytes {
        SMALLEST => short(flows),
        _ => wire_bytes.to_string(),
    };
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
    scenario
}
