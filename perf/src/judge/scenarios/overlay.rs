//! A thousand networks between VLANs and tunnels to other nodes.

use super::forward::{anywhere, source};
use super::{cycle, udp};
use crate::judge::frames::Udp;
use crate::judge::scenario::{Rules, Scenario, Wanted};
use crate::judge::tunnels::{Kind, NODES, Tunnels, node_port};

pub(super) fn scenarios() -> Vec<Scenario> {
    let kinds = [Kind::Vxlan, Kind::Geneve].into_iter();
    kinds.flat_map(|kind| [wrap(kind), unwrap(kind)]).collect()
}

fn wrap(kind: Kind) -> Scenario {
    let rule = |network: u32| {
        format!(
            "in_port=1,dl_vlan={},actions=strip_vlan,set_field:{}->tun_id,output:{}",
            vlan(network),
            number(network),
            node_port(network % NODES)
        )
    };
    let mut scenario = Scenario::new(
        format!("{}-encap", kind.name()),
        format!(
            "1,000 VLANs into networks of {} to 4 nodes, 10k flows",
            kind.name()
        ),
        || {
            cycle(FLOWS, |flow| {
                let vlan = Some(vlan(flow % NETWORKS));
                let udp = Udp { vlan, ..udp(flow) };
                udp.ipv4(source(flow), anywhere(flow))
            })
        },
        move || Rules::flows((0..NETWORKS).map(rule).collect()),
        &[Wanted::TimesOvs(1.8)],
    );
    scenario.tunnels = Some(Tunnels {
        kind,
        unwraps: false,
    });
    scenario
}

fn unwrap(kind: Kind) -> Scenario {
    let rule = |network: u32| {
        format!(
            "in_port={},tun_id={},actions=push_vlan:0x8100,set_field:{}->vlan_vid,output:2",
            node_port(network % NODES),
            number(network),
            0x1000 | vlan(network)
        )
    };
    let mut scenario = Scenario::new(
        format!("{}-decap", kind.name()),
        format!(
            "1,000 networks of {} from 4 nodes into VLANs, 10k flows",
            kind.name()
        ),
        move || {
            cycle(FLOWS, |flow| {
                let network = flow % NETWORKS;
                let inner = udp(flow).ipv4(source(flow), anywhere(flow));
                kind.wrapped(network % NODES, number(network), flow as u16, &inner)
            })
        },
        move || Rules::flows((0..NETWORKS).map(rule).collect()),
        &[Wanted::TimesOvs(1.8)],
    );
    scenario.tunnels = Some(Tunnels {
        kind,
        unwraps: true,
    });
    scenario
}

fn vlan(network: u32) -> u16 {
    1 + network as u16
}

/// A network's number on the underlay.
fn number(network: u32) -> u32 {
    70_000 + network
}

const NETWORKS: u32 = 1_000;
const FLOWS: u32 = 10_000;
