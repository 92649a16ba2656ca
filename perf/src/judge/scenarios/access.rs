//! Access lists: rules on addresses, protocol and ports in 64 mask shapes, a quarter of them deny.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::{fresh, short, udp};
use crate::judge::frames::{ipv6, mask, random, shuffled, within};
use crate::judge::generator::Traffic;
use crate::judge::scenario::{Rules, Scenario, Wanted};

pub(super) fn scenarios() -> Vec<Scenario> {
    let broken = [Wanted::TimesOvs(500.0), Wanted::OfOvsPortForward(0.2)];
    let endless = [Wanted::TimesOvs(100.0), Wanted::OfCeiling(0.0375)];
    let some = [Wanted::TimesOvs(2.0)];
    vec![
        acl("acl-1k", 1_000, 1_000, Ip::V4, &some),
        acl("acl-10k", 10_000, 100_000, Ip::V4, &broken),
        acl("acl-ipv6-1k", 1_000, 1_000, Ip::V6, &some),
        acl("acl-ipv6-10k", 10_000, 100_000, Ip::V6, &broken),
        new_flows(&endless),
    ]
}

#[derive(Clone, Copy)]
enum Ip {
    V4,
    V6,
}

fn acl(name: &str, rules: u32, flows: u32, ip: Ip, wanted: &[Wanted]) -> Scenario {
    let kind = match ip {
        Ip::V4 => "IPv4",
        Ip::V6 => "IPv6",
    };
    Scenario::new(
        name.into(),
        format!(
            "{} {kind} 5-tuple rules in 64 mask shapes, {} flows",
            short(rules),
            short(flows)
        ),
        move || {
            let list = list(rules);
            different_flows(&list, flows, ip)
        },
        move || {
            let list = list(rules);
            let rest = "priority=0,actions=drop".to_string();
            let flows = list.iter().map(|rule| rule.text(ip));
            Rules::flows(flows.chain([rest]).collect())
        },
        wanted,
    )
}

/// Frames of so many flows that the list allows, no two alike.
fn different_flows(list: &[Rule], flows: u32, ip: Ip) -> Traffic {
    let mut seen = BTreeSet::new();
    let drawn = (0..).map(|flow| Packet::allowed(list, flow).frame(ip));
    let frames = drawn.filter(|frame| seen.insert(frame.clone()));
    Traffic::Cycle {
        frames: frames.take(flows as usize).collect(),
        orders: vec![shuffled(flows as usize)],
    }
}

/// Every packet another 5-tuple. The rules match source ports, so no answer serves two packets.
fn new_flows(wanted: &[Wanted]) -> Scenario {
    let mut scenario = acl("new-flows-acl-10k", 10_000, 1, Ip::V4, wanted);
    scenario.about = "10k 5-tuple rules in 64 mask shapes, every packet a new flow".into();
    scenario.traffic = Box::new(|| {
        let list = list(10_000);
        let packets = (0..).map(|flow| Packet::allowed(&list, flow));
        let free = packets.filter(|packet| packet.any_source_port).take(FRESH);
        fresh(free.map(|packet| packet.frame(Ip::V4)), 34)
    });
    scenario
}

/// A rule of an access list.
struct Rule {
    source: (u32, u32),
    destination: (u32, u32),
    source_port: Option<u16>,
    destination_port: u16,
    allow: bool,
    priority: usize,
}

/// So many rules, those before the others first.
fn list(count: u32) -> Vec<Rule> {
    (0..count).map(|index| Rule::new(index, count)).collect()
}

impl Rule {
    fn new(index: u32, count: u32) -> Rule {
        let shape = index as usize % SHAPES;
        let seed = u64::from(index) << 2;
        let source_length = SOURCE_LENGTHS[shape % 8];
        let destination_length = DESTINATION_LENGTHS[shape / 8 % 4];
        let net = |base, length, seed| within(base, 8, seed) & mask(length);
        Rule {
            source: (net(0x0a00_0000, source_length, seed), source_length),
            destination: (
                net(0x1400_0000, destination_length, seed + 1),
                destination_length,
            ),
            source_port: (shape >= SHAPES / 2).then(|| random(seed + 2) as u16),
            destination_port: (random(seed + 3) % 100) as u16,
            allow: !random(seed).is_multiple_of(4),
            priority: (count - index) as usize,
        }
    }

    fn matches(&self, packet: &Packet) -> bool {
        let inside = |(net, length), address| address & mask(length) == net;
        inside(self.source, packet.source)
            && inside(self.destination, packet.destination)
            && self.destination_port == packet.destination_port
            && self
                .source_port
                .is_none_or(|port| port == packet.source_port)
    }

    fn text(&self, ip: Ip) -> String {
        let net = |(net, length): (u32, u32)| match ip {
            Ip::V4 => format!("{}/{length}", Ipv4Addr::from(net)),
            Ip::V6 => format!("{}/{}", ipv6(net, 0), 32 + length),
        };
        let (from, to) = (net(self.source), net(self.destination));
        let priority = self.priority;
        let mut text = match ip {
            Ip::V4 => format!("priority={priority},udp,nw_src={from},nw_dst={to}"),
            Ip::V6 => format!("priority={priority},udp6,ipv6_src={from},ipv6_dst={to}"),
        };
        if let Some(port) = self.source_port {
            text += &format!(",udp_src={port}");
        }
        let action = if self.allow { "output:2" } else { "drop" };
        text + &format!(",udp_dst={},actions={action}", self.destination_port)
    }
}

struct Packet {
    source: u32,
    destination: u32,
    source_port: u16,
    destination_port: u16,
    /// The rule it was made for looks at no source port.
    any_source_port: bool,
}

impl Packet {
    /// A packet of a flow that some rule allows before any denies it.
    fn allowed(list: &[Rule], flow: u32) -> Packet {
        let mut drawn = (0..).map(|attempt| Packet::draw(list, u64::from(flow) << 8 | attempt));
        let is_allowed = |packet: &Packet| {
            let first = list.iter().find(|rule| rule.matches(packet));
            first.is_some_and(|rule| rule.allow)
        };
        // Endless, since the list allows something.
        drawn.find(is_allowed).expect("an endless row")
    }

    /// A packet that some rule matches.
    fn draw(list: &[Rule], seed: u64) -> Packet {
        let rule = &list[random(seed) as usize % list.len()];
        let (source, destination) = (rule.source, rule.destination);
        Packet {
            source: within(source.0, source.1, seed << 1),
            destination: within(destination.0, destination.1, seed << 1 | 1),
            source_port: rule.source_port.unwrap_or((seed >> 4) as u16),
            destination_port: rule.destination_port,
            any_source_port: rule.source_port.is_none(),
        }
    }

    fn frame(&self, ip: Ip) -> Vec<u8> {
        let mut udp = udp(0);
        udp.source = self.source_port;
        udp.destination = self.destination_port;
        match ip {
            Ip::V4 => udp.ipv4(self.source.into(), self.destination.into()),
            Ip::V6 => udp.ipv6(ipv6(self.source, 1), ipv6(self.destination, 1)),
        }
    }
}

/// Lengths of source prefixes by lengths of destination prefixes, by with or without source port.
const SHAPES: usize = 64;
const SOURCE_LENGTHS: [u32; 8] = [12, 14, 16, 18, 20, 24, 28, 32];
const DESTINATION_LENGTHS: [u32; 4] = [16, 20, 24, 32];
/// Frames that get another port each time.
const FRESH: usize = 10_000;
