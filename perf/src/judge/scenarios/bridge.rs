//! The learning bridge: half the hosts at each port, in eight VLANs.

use super::cycle;
use crate::judge::frames::{Udp, mac, random};
use crate::judge::scenario::{Beyond, Rules, Scenario, Wanted};

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut scenario = Scenario::new(
        "normal".into(),
        "NORMAL, 4,000 MACs in 8 VLANs, 4k flows".into(),
        || cycle(FLOWS, forth),
        || Rules::flows(vec!["priority=0,actions=NORMAL".into()]),
        &[Wanted::TimesOvs(2.0)],
    );
    scenario.beyond = Beyond::Hosts(|| (0..HOSTS).map(back).collect());
    vec![scenario]
}

/// From a host at port 1 to one at port 2 in the same VLAN.
fn forth(flow: u32) -> Vec<u8> {
    let here = flow % HOSTS;
    let there = (random(flow.into()) as u32 % (HOSTS / VLANS)) * VLANS + here % VLANS;
    frame(mac(HERE, here), mac(THERE, there), here, flow)
}

/// From a host at port 2 to one at port 1.
fn back(host: u32) -> Vec<u8> {
    frame(mac(THERE, host), mac(HERE, host), host, host)
}

fn frame(from: [u8; 6], to: [u8; 6], host: u32, flow: u32) -> Vec<u8> {
    let vlan = Some((FIRST_VLAN + host % VLANS) as u16);
    let udp = Udp {
        from,
        to,
        vlan,
        ..super::udp(flow)
    };
    udp.ipv4((0x0a00_0000 + flow).into(), (0x1400_0000 + flow).into())
}

/// At each port.
const HOSTS: u32 = 2_000;
const FLOWS: u32 = 4_000;
const VLANS: u32 = 8;
const FIRST_VLAN: u32 = 10;
/// Families of addresses.
const HERE: u8 = 4;
const THERE: u8 = 5;
