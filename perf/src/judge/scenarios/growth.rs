//! How the rate falls as something grows: a curve for each.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::forward::{Sizes, anywhere, l3, routes, routes_to, source};
use super::{cycle, udp};
use crate::judge::frames::{mask, within};
use crate::judge::generator::{Fresh, Traffic};
use crate::judge::scenario::{Course, Point, Rules, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    let decades = |from: u32, to: u32| (from..=to).map(|power| 10_u32.pow(power));
    let mut scenarios = Vec::new();
    scenarios.extend(decades(0, 7).map(flows));
    scenarios.extend(decades(1, 6).map(rules));
    scenarios.extend([1, 2, 4, 8, 16, 32, 64].map(tables));
    scenarios.extend([1, 10, 30, 100, 300, 1_000].map(shapes));
    scenarios.extend([2, 10, 100, 300, 1_000].map(ports));
    scenarios.extend([1, 2].map(workers));
    scenarios
}

/// A scenario as a place on a curve.
fn on(curve: &str, amount: u32, mut scenario: Scenario) -> Scenario {
    scenario.name = format!("growth-{curve}-{amount}");
    scenario.wanted.clear();
    scenario.point = Some(Point {
        curve: curve.into(),
        amount: amount.into(),
    });
    scenario
}

fn flows(count: u32) -> Scenario {
    on("flows", count, l3(count, Sizes::Small, 0.0))
}

/// Routes, with flows evenly to them.
fn rules(count: u32) -> Scenario {
    let scenario = Scenario::new(
        String::new(),
        format!("{count} IPv4 prefixes of mixed length, 100k flows"),
        move || {
            let routes = routes_to(count as usize);
            cycle(FLOWS, |flow| {
                let route = &routes[flow as usize % routes.len()];
                let to = within(route.prefix, route.length, flow.into());
                udp(flow).ipv4(source(flow), to.into())
            })
        },
        move || {
            Rules::flows(
                routes_to(count as usize)
                    .iter()
                    .map(|one| one.rule())
                    .collect(),
            )
        },
        &[],
    );
    on("rules", count, scenario)
}

/// Each packet is of a new flow that goes through all tables; the last looks at source ports.
fn tables(count: u32) -> Scenario {
    let scenario = Scenario::new(
        String::new(),
        format!("{count} tables, each with 1,000 prefixes; every packet a new flow"),
        || {
            Traffic::Fresh(Fresh::new(|flow| {
                let flow = flow as u32;
                udp(flow).ipv4(source(flow), anywhere(flow))
            }))
        },
        move || {
            let tables = (0..count).map(move |table| {
                let rest = match count - table {
                    1 => format!("table={table},priority=1,actions=output:2"),
                    _ => format!("table={table},priority=1,actions=goto_table:{}", table + 1),
                };
                // Of no packet here: 30.0.0.0/8.
                let never = routes().into_iter().map(move |route| {
                    let net = Ipv4Addr::from(route.prefix + 0x0a00_0000);
                    format!(
                        "table={table},priority=2,ip,nw_dst={net}/{},actions=drop",
                        route.length
                    )
                });
                never.chain([rest])
            });
            let port = format!(
                "table={},priority=3,udp,udp_src=0,actions=output:2",
                count - 1
            );
            Rules::flows(tables.flatten().chain([port]).collect())
        },
        &[],
    );
    on("tables", count, scenario)
}

/// A thousand rules of so many shapes: lengths of source and destination prefixes.
fn shapes(count: u32) -> Scenario {
    let rule = move |index: u32| {
        let shape = index % count;
        let lengths = (32 - shape % 32, 32 - shape / 32 % 32);
        let seed = u64::from(index) << 1;
        let net = |base, length: u32, seed| within(base, 8, seed) & mask(length);
        let source = net(0x0a00_0000, lengths.0, seed);
        (source, net(0x1400_0000, lengths.1, seed | 1), lengths)
    };
    let scenario = Scenario::new(
        String::new(),
        format!("1,000 rules of {count} mask shapes, 100k flows"),
        move || {
            cycle(FLOWS, |flow| {
                let (source, destination, lengths) = rule(flow % RULES);
                let from = within(source, lengths.0, flow.into());
                let to = within(destination, lengths.1, u64::from(flow) << 32);
                udp(flow).ipv4(from.into(), to.into())
            })
        },
        move || {
            let mut seen = BTreeSet::new();
            let text = |index| {
                let (source, destination, (from, to)) = rule(index);
                let (source, destination) = (Ipv4Addr::from(source), Ipv4Addr::from(destination));
                let pattern = format!("ip,nw_src={source}/{from},nw_dst={destination}/{to}");
                format!("priority={},{pattern},actions=output:2", 1 + from + to)
            };
            let texts = (0..RULES).map(text);
            Rules::flows(texts.filter(|text| seen.insert(text.clone())).collect())
        },
        &[],
    );
    on("shapes", count, scenario)
}

/// All but two are vhost-user ports whose guests are not there.
fn ports(count: u32) -> Scenario {
    let mut scenario = l3(FLOWS, Sizes::Small, 0.0);
    scenario.about += &format!(", {count} ports, all but two of guests that are not there");
    scenario.idle_ports = count - 2;
    on("ports", count, scenario)
}

/// Without devices: nobody would have a CPU to fill their rings on.
fn workers(count: u32) -> Scenario {
    let mut scenario = l3(RULES, Sizes::Small, 0.0);
    scenario.about += &format!(", {count} workers without devices, making packets included");
    scenario.course = Course::Workers(count as usize);
    on("workers", count, scenario)
}

const FLOWS: u32 = 100_000;
const RULES: u32 = 1_000;
