//! One table that decides by port, by Ethernet destination, or by IPv4 prefix.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::short;
use crate::judge::frames::{Udp, mac, mac_text, mask, random, shuffled, within};
use crate::judge::generator::Traffic;
use crate::judge::scenario::{Rules, Scenario, Wanted};

pub(super) fn scenarios() -> Vec<Scenario> {
    let port = [1, 100_000].map(port_forward);
    let l2 =
        [(1_000, 2.5), (100_000, 4.0), (1_000_000, 4.0)].map(|(flows, ratio)| l2(flows, ratio));
    let l3 = [(1_000, 2.2), (100_000, 4.0)].map(|(flows, ratio)| l3(flows, ratio));
    port.into_iter().chain(l2).chain(l3).collect()
}

fn port_forward(flows: u32) -> Scenario {
    Scenario {
        name: format!("port-forward-{}", short(flows)),
        about: format!("one rule on in_port, {} flows", short(flows)),
        traffic: Box::new(move || {
            cycle(flows, |flow| udp(flow).ipv4(source(flow), anywhere(flow)))
        }),
        rules: Box::new(|| Rules::flows(vec!["in_port=1,actions=output:2".into()])),
        delivered: 1.0,
        wanted: vec![Wanted::TimesOvs(1.7), Wanted::OfCeiling(0.65)],
    }
}

fn l2(flows: u32, ratio: f64) -> Scenario {
    Scenario {
        name: format!("l2-{}", short(flows)),
        about: format!("1,000 MACs, {} flows", short(flows)),
        traffic: Box::new(move || cycle(flows, l2_frame)),
        rules: Box::new(|| Rules::flows((0..HOSTS).map(l2_rule).collect())),
        delivered: 1.0,
        wanted: vec![Wanted::TimesOvs(ratio)],
    }
}

fn l2_frame(flow: u32) -> Vec<u8> {
    let to = mac(HOST, flow % HOSTS);
    Udp { to, ..udp(flow) }.ipv4(source(flow), anywhere(flow))
}

fn l2_rule(host: u32) -> String {
    format!("dl_dst={},actions=output:2", mac_text(mac(HOST, host)))
}

fn l3(flows: u32, ratio: f64) -> Scenario {
    Scenario {
        name: format!("l3-{}", short(flows)),
        about: format!(
            "1,000 prefixes of mixed length, MAC rewrite, TTL, {} flows",
            short(flows)
        ),
        traffic: Box::new(move || {
            let routes = routes();
            cycle(flows, |flow| l3_frame(&routes, flow))
        }),
        rules: Box::new(|| Rules::flows(routes().iter().map(Route::rule).collect())),
        delivered: 1.0,
        wanted: vec![Wanted::TimesOvs(ratio)],
    }
}

fn l3_frame(routes: &[Route], flow: u32) -> Vec<u8> {
    let route = &routes[flow as usize % routes.len()];
    let to = within(route.prefix, route.length, flow.into());
    udp(flow).ipv4(source(flow), to.into())
}

/// A network and where it is reached.
struct Route {
    prefix: u32,
    length: u32,
    hop: u32,
}

impl Route {
    fn rule(&self) -> String {
        let net = Ipv4Addr::from(self.prefix);
        let length = self.length;
        let own = mac_text(mac(0xfe, 1));
        let hop = mac_text(mac(HOP, self.hop));
        let rewrite = format!("set_field:{own}->eth_src,set_field:{hop}->eth_dst,dec_ttl");
        let priority = 1000 + length;
        format!("priority={priority},ip,nw_dst={net}/{length},actions={rewrite},output:2")
    }
}

/// A thousand networks, some within others, as a routing table has them: most of 24 bits.
fn routes() -> Vec<Route> {
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
        if routes.len() == ROUTES {
            break;
        }
    }
    routes
}

/// Frames of so many flows, in an order without order.
fn cycle(flows: u32, frame: impl Fn(u32) -> Vec<u8>) -> Traffic {
    Traffic::Cycle {
        frames: (0..flows).map(frame).collect(),
        order: shuffled(flows as usize),
    }
}

/// Ports that differ from flow to flow.
fn udp(flow: u32) -> Udp {
    Udp {
        source: 1024 + (random(flow.into()) % 60_000) as u16,
        destination: 1 + (flow % 1000) as u16,
        ..Udp::default()
    }
}

/// Another source for each flow.
fn source(flow: u32) -> Ipv4Addr {
    (0x0a00_0000 + flow).into()
}

fn anywhere(flow: u32) -> Ipv4Addr {
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
