//! What the scenarios of the judge send and ask for, as strangers see it: tshark reads the frames,
//! and the rules' text is taken apart.

use std::collections::BTreeSet;

use openflow::FlowModCommand;
use perf::judge::generator::Traffic;
use perf::judge::scenario::Scenario;
use perf::judge::scenarios;
use tests::tshark::fields;

#[test]
fn tshark_finds_nothing_wrong_with_frames() {
    for scenario in small() {
        let traffic = (scenario.traffic)();
        let frames: Vec<Vec<u8>> = (0..50).map(|number| traffic.frame(number)).collect();
        let columns = [
            "frame.protocols",
            "ip.checksum.status",
            "udp.length",
            "tcp.checksum.status",
        ];
        let told = fields(
            frames.iter().map(Vec::as_slice),
            &columns,
            &["ip.check_checksum:TRUE", "tcp.check_checksum:TRUE"],
        );
        assert_eq!(told.len(), frames.len(), "{}", scenario.name);
        for (row, frame) in told.iter().zip(&frames) {
            let name = &scenario.name;
            let [protocols, checksum, length, tcp] = &row[..] else {
                panic!("{name}: {row:?}");
            };
            // Of a packet in a packet both are told.
            let right = checksum.split(';').all(|one| one == "1");
            let right = right || protocols.contains(":ipv6:");
            assert!(right, "{name}: wrong header checksum");
            if protocols.contains(":tcp") {
                assert_eq!(tcp, "1", "{name}: wrong checksum of TCP");
                continue;
            }
            assert!(protocols.contains(":udp"), "{name}: {protocols}");
            let length = length.split(';').next().expect("a length");
            let ip = if protocols.contains(":ipv6:") { 40 } else { 20 };
            let tag = if protocols.contains(":vlan:") { 4 } else { 0 };
            assert_eq!(length, (frame.len() - 14 - tag - ip).to_string(), "{name}");
        }
    }
}

#[test]
fn there_are_as_many_flows_as_the_name_says() {
    for scenario in small().iter().filter(|one| one.point.is_none()) {
        let wanted = match scenario.name.rsplit('-').next() {
            Some("1") => 1,
            // Frames of a connection: three to open it, and one of each end.
            Some("1k") if scenario.name.starts_with("ct-") => 5_000,
            Some("1k") => 1_000,
            // One of this size, since they take long to make.
            Some("100k") if scenario.name == "pipeline-100k" => 100_000,
            _ => continue,
        };
        let traffic = (scenario.traffic)();
        let Traffic::Cycle {
            frames,
            prelude,
            orders,
        } = traffic
        else {
            panic!("{}: its flows have no end", scenario.name);
        };
        let headers = frames
            .iter()
            .map(|frame| &frame[..frame.len().min(HEADERS)]);
        let different: BTreeSet<&[u8]> = headers.collect();
        assert_eq!(different.len(), wanted, "{}", scenario.name);
        let mut counts = vec![0; frames.len()];
        orders[0]
            .iter()
            .for_each(|&frame| counts[frame as usize] += 1);
        let begun: BTreeSet<u32> = prelude.iter().copied().collect();
        let places = (0..).zip(&counts);
        let mut going_on = places.filter(|(frame, _)| !begun.contains(frame));
        let (_, first) = going_on.next().expect("one goes on");
        let even = going_on.all(|(_, count)| count == first);
        assert!(even && *first > 0, "{}: some are rarer", scenario.name);
    }
}

#[test]
fn access_lists_have_64_mask_shapes() {
    for name in ["acl-1k", "acl-10k", "acl-ipv6-1k"] {
        let rules = (scenarios::named(name)[0].rules)().flows;
        let shapes: BTreeSet<String> = rules.iter().map(|rule| shape(rule)).collect();
        // One more is that of the rule for the rest.
        assert_eq!(shapes.len(), 65, "{name}");
    }
}

/// A rule without the values that it matches: names of fields and lengths of prefixes.
fn shape(rule: &str) -> String {
    let (pattern, _) = rule.split_once("actions=").expect("a rule has actions");
    let fields = pattern
        .split(',')
        .filter(|field| !field.starts_with("priority="));
    let kind = |field: &str| match field.split_once('=') {
        Some((name, value)) => {
            let length = value.split_once('/').map_or("", |(_, length)| length);
            format!("{name}/{length} ")
        }
        None => format!("{field} "),
    };
    fields.map(kind).collect()
}

#[test]
fn every_rule_is_one_that_our_parser_takes() {
    for scenario in all_but_large_growth() {
        for line in (scenario.rules)()
            .flows
            .iter()
            .flat_map(|rule| rule.lines())
            .take(3000)
        {
            let parsed = openflow::text::flow::parse(line, FlowModCommand::Add);
            assert!(parsed.is_ok(), "{}: {line}: {parsed:?}", scenario.name);
        }
    }
}

#[test]
fn packets_of_new_flows_do_not_repeat() {
    for scenario in scenarios::named("new-flows") {
        let traffic = (scenario.traffic)();
        let frames: BTreeSet<Vec<u8>> = (0..100_000).map(|number| traffic.frame(number)).collect();
        assert_eq!(frames.len(), 100_000, "{}", scenario.name);
    }
}

#[test]
fn a_family_is_named_by_how_its_members_begin() {
    let names = |name| -> Vec<String> {
        let scenarios = scenarios::named(name).into_iter();
        scenarios.map(|scenario| scenario.name).collect()
    };
    assert_eq!(
        names("port-forward"),
        ["port-forward-1", "port-forward-100k"]
    );
    assert_eq!(names("latency"), ["latency"]);
    assert_eq!(names("growth").len(), scenarios::growth().len());
    assert!(names("guests").len() >= 6 && names("tcp").len() >= 3);
}

/// Those with frames but such as take long to make; they are of the same kind as others, only more.
fn small() -> Vec<Scenario> {
    let mut scenarios = all_but_large_growth();
    scenarios.retain(|scenario| {
        let name = &scenario.name;
        let is_small = !name.ends_with("M") && !name.ends_with("0k") || name == "pipeline-100k";
        is_small && scenario.course.has_frames()
    });
    scenarios
}

/// The beginnings of curves with the rest.
fn all_but_large_growth() -> Vec<Scenario> {
    let mut scenarios = scenarios::all();
    scenarios.extend(scenarios::growth());
    let is_large = |amount: f64| amount > 10.0;
    scenarios.retain(|scenario| {
        !scenario
            .point
            .as_ref()
            .is_some_and(|one| is_large(one.amount))
    });
    scenarios
}

/// Longest headers: Ethernet, tag, IPv6, UDP.
const HEADERS: usize = 66;
