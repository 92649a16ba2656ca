//! Access lists: rules on addresses, protocol and ports in 64 mask shapes, a quarter of them deny.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::{short, udp};
use crate::judge::frames::{ipv6, mask, random, shuffled, within};
use crate::judge::generator::{Fresh, Traffic};
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
            let list = List::new(rules);
            different_flows(&list, flows, ip)
        },
        move || {
            let list = List::new(rules);
            let rest = "priority=0,actions=drop".to_string();
            let flows = list.rules.iter().map(|rule| rule.text(ip));
            Rules::flows(flows.chain([rest]).collect())
        },
        wanted,
    )
}

/// Frames of so many flows that the list allows, no two alike.
fn different_flows(list: &List, flows: u32, ip: Ip) -> Traffic {
    let mut seen = BTreeSet::new();
    let drawn = (0..).map(|flow| list.allowed(flow).frame(ip));
    let frames = drawn.filter(|frame| seen.insert(frame.clone()));
    Traffic::Cycle {
        frames: frames.take(flows as usize).collect(),
        prelude: Vec::new(),
        orders: vec![shuffled(flows as usize)],
    }
}

/// Every packet another 5-tuple: of those that a rule allows which looks at no source port, all
/// bits that the rule leaves open are drawn.
fn new_flows(wanted: &[Wanted]) -> Scenario {
    let mut scenario = acl("new-flows-acl-10k", 10_000, 1, Ip::V4, wanted);
    scenario.about = "10k 5-tuple rules in 64 mask shapes, every packet a new flow".into();
    scenario.traffic = Box::new(|| {
        let list = List::new(10_000);
        Traffic::Fresh(Fresh::new(move |flow| {
            list.allowed_anew(flow).frame(Ip::V4)
        }))
    });
    scenario
}

/// An access list.
struct List {
    /// Those before the others first.
    rules: Vec<Rule>,
    /// The places of those of each destination port.
    by_port: BTreeMap<u16, Vec<usize>>,
}

impl List {
    fn new(count: u32) -> List {
        let rules: Vec<Rule> = (0..count).map(|index| Rule::new(index, count)).collect();
        let mut by_port = BTreeMap::<u16, Vec<usize>>::new();
        for (place, rule) in rules.iter().enumerate() {
            by_port
                .entry(rule.destination_port)
                .or_default()
                .push(place);
        }
        List { rules, by_port }
    }

    /// A packet of a flow that some rule allows before any denies it.
    fn allowed(&self, flow: u64) -> Packet {
        self.first(flow, |_| true)
    }

    /// The same by rules that leave the source port open.
    fn allowed_anew(&self, flow: u64) -> Packet {
        self.first(flow, |rule| rule.source_port.is_none())
    }

    fn first(&self, flow: u64, is_meant: impl Fn(&Rule) -> bool) -> Packet {
        let mut seeds = (0..).map(|attempt| flow << 8 | attempt);
        let drawn = |seed| {
            let rule = &self.rules[random(seed) as usize % self.rules.len()];
            let packet = Packet::of(rule, seed);
            (is_meant(rule) && self.allows(&packet)).then_some(packet)
        };
        // Endless, since the list allows something.
        seeds.find_map(drawn).expect("an endless row")
    }

    fn allows(&self, packet: &Packet) -> bool {
        let places = self.by_port.get(&packet.destination_port);
        let mut rules = places
            .into_iter()
            .flatten()
            .map(|place| &self.rules[*place]);
        let first = rules.find(|rule| rule.matches(packet));
        first.is_some_and(|rule| rule.allow)
    }
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
}

impl Packet {
    /// A packet that a rule matches.
    fn of(rule: &Rule, seed: u64) -> Packet {
        let (source, destination) = (rule.source, rule.destination);
        let port = || random(seed ^ 1 << 63) as u16;
        Packet {
            source: within(source.0, source.1, seed << 1),
            destination: within(destination.0, destination.1, seed << 1 | 1),
            source_port: rule.source_port.unwrap_or_else(port),
            destination_port: rule.destination_port,
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
