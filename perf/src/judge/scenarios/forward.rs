//! One table that decides by port, by Ethernet destination, or by IP prefix.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use openflow::FlowModCommand;

use super::{cycle, short, udp};
use crate::judge::frames::{
    LARGEST, MIDDLE, SMALLEST, Udp, ipv6, mac, mac_text, mask, random, within,
};
use crate::judge::scenario::{Later, Rules, Scenario, Wanted};
use crate::openflow::rules::encoded;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        port_forward(1),
        port_forward(100_000),
        l2(1_000, Sizes::Small, 2.5),
        l2(100_000, Sizes::Small, 4.0),
        l2(1_000_000, Sizes::Small, 4.0),
        l2(1_000, Sizes::Mixed, 1.3),
        l2(1_000, Sizes::Large, 1.3),
        l3(1_000, Sizes::Small, 2.2),
        l3(100_000, Sizes::Small, 4.0),
        l3(1_000, Sizes::Mixed, 1.3),
        l3(1_000, Sizes::Large, 1.3),
        l3_ipv6(1_000, 2.2),
        l3_ipv6(100_000, 4.0),
        storm(),
    ]
}

/// Lengths of frames.
#[derive(Clone, Copy)]
pub(super) enum Sizes {
    /// 64 bytes.
    Small,
    /// Of twelve, seven of 64 bytes, four of 594, one of 1,518.
    Mixed,
    /// 1,518 bytes.
    Large,
}

impl Sizes {
    fn of(self, flow: u32) -> usize {
        match (self, flow % 12) {
            (Sizes::Small, _) | (Sizes::Mixed, 0..7) => SMALLEST,
            (Sizes::Mixed, 7..11) => MIDDLE,
            _ => LARGEST,
        }
    }

    /// A name and what it says.
    fn told(self, family: &str, flows: u32) -> (String, String) {
        let flows = short(flows);
        match self {
            Sizes::Small => (format!("{family}-{flows}"), format!("{flows} flows")),
            Sizes::Mixed => {
                let about = format!("{flows} flows, IMIX (64, 594, 1,518 bytes as 7:4:1)");
                (format!("{family}-imix"), about)
            }
            Sizes::Large => {
                let about = format!("{flows} flows, 1,518 bytes");
                (format!("{family}-1518"), about)
            }
        }
    }
}

fn port_forward(flows: u32) -> Scenario {
    let frame = |flow| udp(flow).ipv4(source(flow), anywhere(flow));
    Scenario::new(
        format!("port-forward-{}", short(flows)),
        format!("one rule on in_port, {} flows", short(flows)),
        move || cycle(flows, frame),
        || Rules::flows(vec!["in_port=1,actions=output:2".into()]),
        &[Wanted::TimesOvs(1.7), Wanted::OfCeiling(0.65)],
    )
}

fn l2(flows: u32, sizes: Sizes, ratio: f64) -> Scenario {
    let (name, about) = sizes.told("l2", flows);
    let frame = move |flow: u32| {
        let to = mac(HOST, flow % HOSTS);
        let wire_bytes = sizes.of(random(flow.into()) as u32);
        let udp = Udp {
            to,
            wire_bytes,
            ..udp(flow)
        };
        udp.ipv4(source(flow), anywhere(flow))
    };
    Scenario::new(
        name,
        format!("1,000 MACs, {about}"),
        move || cycle(flows, frame),
        || Rules::flows((0..HOSTS).map(l2_rule).collect()),
        &[Wanted::TimesOvs(ratio)],
    )
}

fn l2_rule(host: u32) -> String {
    format!("dl_dst={},actions=output:2", mac_text(mac(HOST, host)))
}

pub(super) fn l3(flows: u32, sizes: Sizes, ratio: f64) -> Scenario {
    let (name, about) = sizes.told("l3", flows);
    Scenario::new(
        name,
        format!("1,000 IPv4 prefixes of mixed length, MAC rewrite, TTL, {about}"),
        move || {
            let routes = routes();
            cycle(flows, |flow| l3_frame(&routes, flow, sizes))
        },
        || Rules::flows(routes().iter().map(Route::rule).collect()),
        &[Wanted::TimesOvs(ratio)],
    )
}

fn l3_frame(routes: &[Route], flow: u32, sizes: Sizes) -> Vec<u8> {
    let route = &routes[flow as usize % routes.len()];
    let to = within(route.prefix, route.length, flow.into());
    let wire_bytes = sizes.of(random(flow.into()) as u32);
    let udp = Udp {
        wire_bytes,
        ..udp(flow)
    };
    udp.ipv4(source(flow), to.into())
}

fn l3_ipv6(flows: u32, ratio: f64) -> Scenario {
    let frame = |routes: &[Route], flow: u32| {
        let route = &routes[flow as usize % routes.len()];
        let to = within(route.prefix, route.length, flow.into());
        let host = random(flow.into());
        udp(flow).ipv6(ipv6(source(flow).into(), 1), ipv6(to, host))
    };
    Scenario::new(
        format!("l3-ipv6-{}", short(flows)),
        format!(
            "1,000 IPv6 prefixes of mixed length, MAC rewrite, hop limit, {} flows",
            short(flows)
        ),
        move || {
            let routes = routes();
            cycle(flows, |flow| frame(&routes, flow))
        },
        || Rules::flows(routes().iter().map(Route::ipv6_rule).collect()),
        &[Wanted::TimesOvs(ratio)],
    )
}

/// Routes come and go while packets run.
fn storm() -> Scenario {
    let mut scenario = l3(100_000, Sizes::Small, 4.0);
    scenario.name = "flow-mod-storm".into();
    scenario.about += ", while a controller makes 10,000 changes a second to the table";
    scenario.later = Later::Changes(10_000.0, changes);
    scenario.wanted = vec![Wanted::Kept(0.8)];
    scenario
}

/// Adds more specific routes to where packets go, and takes them back.
fn changes() -> anyhow::Result<Vec<Vec<u8>>> {
    let more = (0..ROUTES as u64).map(|seed| Route {
        prefix: within(0x1400_0000, 8, seed << 1 | 1) & mask(29),
        length: 29,
        hop: 1,
    });
    let mut messages = Vec::new();
    for route in more {
        let rule = route.rule();
        messages.push(encoded(&rule, FlowModCommand::Add)?);
        let (pattern, _) = rule.split_once(",actions").unwrap_or((&rule, ""));
        messages.push(encoded(pattern, FlowModCommand::DeleteStrict)?);
    }
    // Adds first, then all deletions.
    let adds = messages.iter().step_by(2).cloned();
    let deletes = messages.iter().skip(1).step_by(2).cloned();
    Ok(adds.chain(deletes).collect())
}

/// A network and where it is reached. In IPv6 it is the second 32 bits of a prefix.
pub(super) struct Route {
    pub prefix: u32,
    pub length: u32,
    pub hop: u32,
}

impl Route {
    pub(super) fn rule(&self) -> String {
        let net = Ipv4Addr::from(self.prefix);
        let length = self.length;
        self.with_match(&format!("ip,nw_dst={net}/{length}"))
    }

    fn ipv6_rule(&self) -> String {
        let net = ipv6(self.prefix, 0);
        let length = 32 + self.length;
        self.with_match(&format!("ipv6,ipv6_dst={net}/{length}"))
    }

    fn with_match(&self, pattern: &str) -> String {
        let own = mac_text(mac(0xfe, 1));
        let hop = mac_text(mac(HOP, self.hop));
        let rewrite = format!("set_field:{own}->eth_src,set_field:{hop}->eth_dst,dec_ttl");
        let priority = 1000 + self.length;
        format!("priority={priority},{pattern},actions={rewrite},output:2")
    }
}

/// A thousand networks, some within others, as a routing table has them: most of 24 bits.
pub(super) fn routes() -> Vec<Route> {
    routes_to(ROUTES)
}

/// So many such networks.
pub(super) fn routes_to(count: usize) -> Vec<Route> {
    let mut seen = BTreeSet::new();
    let mut routes = Vec::new();
    for seed in 0.. {
        let length = LENGTHS[random(seed) as usize % LENGTHS.len()];
        let prefix = within(0x1400_0000, 8, seed << 1) & mask(length);
        if seen.insert((prefix, length)) {
            let hop = random(seed) as u32 % HOPS;
            routes.push(Route {
                prefix,
                length,
                hop,
            });
        }
        if routes.len() == count {
            break;
        }
    }
    routes
}

/// Another source for each flow.
pub(super) fn source(flow: u32) -> Ipv4Addr {
    (0x0a00_0000 + flow).into()
}

pub(super) fn anywhere(flow: u32) -> Ipv4Addr {
    within(0x1400_0000, 8, flow.into()).into()
}

const HOSTS: u32 = 1_000;
const ROUTES: usize = 1_000;
const HOPS: u32 = 64;
const LENGTHS: [u32; 16] = [
    16, 18, 19, 20, 21, 22, 22, 23, 23, 24, 24, 24, 24, 26, 28, 32,
];
/// Families of addresses.
const HOST: u8 = 1;
const HOP: u8 = 2;
