//! What the scenarios of the judge send and ask for, as strangers see it: tshark reads the frames,
//! and the rules' text is taken apart.

use std::collections::BTreeSet;

use perf::judge::generator::Traffic;
use perf::judge::scenarios;
use tests::tshark::fields;

/// Frames of a scenario: all of a cycle, or the first of an endless row.
fn frames(traffic: &Traffic, most: usize) -> Vec<Vec<u8>> {
    match traffic {
        Traffic::Cycle { frames, .. } => frames.iter().take(most).cloned().collect(),
        Traffic::Fresh { template, vary } => {
            let mut frame = template.clone();
            let frames = (0..most as u64).map(|number| {
                vary(number, &mut frame);
                frame.clone()
            });
            frames.collect()
        }
    }
}

#[test]
fn tshark_finds_nothing_wrong_with_frames() {
    for scenario in scenarios::all()
        .iter()
        .filter(|scenario| is_small(&scenario.name))
    {
        let frames = frames(&(scenario.traffic)(), 50);
        let columns = ["frame.protocols", "ip.checksum.status", "_ws.malformed"];
        let told = fields(
            frames.iter().map(Vec::as_slice),
            &columns,
            &["ip.check_checksum:TRUE"],
        );
        assert_eq!(told.len(), frames.len(), "{}", scenario.name);
        for row in told {
            let name = &scenario.name;
            let [protocols, checksum, malformed] = &row[..] else {
                panic!("{name}: {row:?}");
            };
            assert!(protocols.contains(":udp"), "{name}: {protocols}");
            let right = checksum == "1" || protocols.contains(":ipv6:");
            assert!(right, "{name}: wrong header checksum");
            assert_eq!(malformed, "", "{name}");
        }
    }
}

#[test]
fn there_are_as_many_flows_as_the_name_says() {
    for scenario in scenarios::all()
        .iter()
        .filter(|scenario| is_small(&scenario.name))
    {
        let wanted = match scenario.name.rsplit('-').next() {
            Some("1") => 1,
            Some("1k") => 1_000,
            Some("100k") => 100_000,
            _ => continue,
        };
        let traffic = (scenario.traffic)();
        let tuples: BTreeSet<Vec<u8>> = frames(&traffic, usize::MAX)
            .iter()
            .map(|frame| frame[..frame.len().min(HEADERS)].to_vec())
            .collect();
        assert_eq!(tuples.len(), wanted, "{}", scenario.name);
        if let Traffic::Cycle { frames, order } = traffic {
            let mut counts = vec![0; frames.len()];
            order.iter().for_each(|&frame| counts[frame as usize] += 1);
            let even = counts.iter().all(|&count| count == counts[0]);
            assert!(even && counts[0] > 0, "{}: some are rarer", scenario.name);
        }
    }
}

/// A million frames are the same frames again, only more.
fn is_small(name: &str) -> bool {
    !name.ends_with("M")
}

/// Longest headers: Ethernet, tag, IPv6, UDP.
const HEADERS: usize = 66;
