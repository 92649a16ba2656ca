//! Eight tables, as a controller of a cloud's network lays them out: VLAN, zone, source guard, MAC,
//! route, rewrite, filter, output.

use std::net::Ipv4Addr;

use super::forward::{Route, routes};
use super::{cycle, short, udp};
use crate::judge::frames::{Udp, mac, mac_text, random, within};
use crate::judge::generator::{Fresh, Traffic};
use crate::judge::scenario::{Rules, Scenario, Wanted};

pub(super) fn scenarios() -> Vec<Scenario> {
    let about = "8 tables: VLAN pop, metadata, source guard, MAC, route, rewrite, filter, output";
    let each = |flows: u32, ratio| {
        Scenario::new(
            format!("pipeline-{}", short(flows)),
            format!("{about}; {} flows", short(flows)),
            move || {
                let routes = routes();
                cycle(flows, |flow| frame(&routes, flow))
            },
            rules,
            &[Wanted::TimesOvs(ratio)],
        )
    };
    let endless = Scenario::new(
        "new-flows-pipeline".into(),
        format!("{about}; every packet a new flow"),
        || {
            let routes = routes();
            Traffic::Fresh(Fresh::new(move |flow| frame(&routes, flow as u32)))
        },
        rules,
        &[Wanted::TimesOvs(100.0), Wanted::OfCeiling(0.0375)],
    );
    vec![each(1_000, 2.5), each(100_000, 3.0), endless]
}

/// From one of the hosts, in its VLAN, to the router.
fn frame(routes: &[Route], flow: u32) -> Vec<u8> {
    let host = flow % HOSTS;
    let route = &routes[random(flow.into()) as usize % routes.len()];
    let destination = within(route.prefix, route.length, flow.into());
    let udp = Udp {
        from: mac(GUEST, host),
        to: router(),
        vlan: Some(vlan(host)),
        source: 1024 + (flow / HOSTS) as u16,
        destination: SERVICES[flow as usize % SERVICES.len()],
        ..udp(flow)
    };
    udp.ipv4(address(host), destination.into())
}

fn rules() -> Rules {
    let vlans = (0..VLANS).map(|number| {
        let (vlan, zone) = (FIRST_VLAN + number, number % 2 + 1);
        format!(
            "table=0,in_port=1,dl_vlan={vlan},actions=pop_vlan,write_metadata:{vlan},goto_table:1\n\
             table=1,metadata={vlan},actions=write_metadata:{:#x}/0xff0000,goto_table:2",
            zone << 16
        )
    });
    let guards = (0..HOSTS).map(|host| {
        format!(
            "table=2,metadata={:#x}/0xffff,dl_src={},ip,nw_src={},actions=goto_table:3",
            vlan(host),
            mac_text(mac(GUEST, host)),
            address(host)
        )
    });
    let to_router = [format!(
        "table=3,dl_dst={},actions=goto_table:4",
        mac_text(router())
    )];
    let routes = routes().into_iter().map(|route| {
        format!(
            "table=4,priority={},ip,nw_dst={}/{},actions=dec_ttl,\
             write_metadata:{:#x}/0xff000000,goto_table:5",
            1000 + route.length,
            Ipv4Addr::from(route.prefix),
            route.length,
            route.hop << 24
        )
    });
    let rewrites = (0..HOPS).map(|hop| {
        format!(
            "table=5,metadata={:#x}/0xff000000,actions=set_field:{}->eth_src,\
             set_field:{}->eth_dst,goto_table:6",
            hop << 24,
            mac_text(router()),
            mac_text(mac(HOP, hop))
        )
    });
    let open = SERVICES
        .iter()
        .map(|port| format!("table=6,priority=50,udp,udp_dst={port},actions=goto_table:7"));
    // Where floods are reflected from.
    let closed = [19_u16, 123, 1900, 11211]
        .map(|port| format!("table=6,priority=90,udp,udp_src={port},actions=drop"));
    let outputs = (0..HOPS).map(|hop| {
        format!(
            "table=7,dl_dst={},actions=output:2",
            mac_text(mac(HOP, hop))
        )
    });
    let flows = vlans.chain(guards).chain(to_router).chain(routes);
    let flows = flows.chain(rewrites).chain(open).chain(closed);
    Rules::flows(flows.chain(outputs).collect())
}

fn router() -> [u8; 6] {
    mac(0xfd, 1)
}

fn vlan(host: u32) -> u16 {
    (FIRST_VLAN + host % VLANS) as u16
}

fn address(host: u32) -> Ipv4Addr {
    (0x0a00_0000 + host * 7).into()
}

const HOSTS: u32 = 1_000;
const VLANS: u32 = 8;
const FIRST_VLAN: u32 = 10;
const HOPS: u32 = 64;
const SERVICES: [u16; 8] = [53, 80, 443, 500, 1812, 4500, 5060, 8472];
/// Families of addresses.
const GUEST: u8 = 3;
const HOP: u8 = 2;
