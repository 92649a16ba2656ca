//! A group that spreads flows, and a meter that all packets go through.

use super::forward::{anywhere, source};
use super::{cycle, udp};
use crate::judge::frames::{mac, mac_text};
use crate::judge::scenario::{Rules, Scenario, Wanted};

pub(super) fn scenarios() -> Vec<Scenario> {
    let frame = |flow| udp(flow).ipv4(source(flow), anywhere(flow));
    let select = Scenario::new(
        "select-100k".into(),
        "a group that selects one of 16 buckets, each another MAC; 100k flows".into(),
        move || cycle(100_000, frame),
        select_rules,
        &[Wanted::TimesOvs(2.0)],
    );
    let meter = Scenario::new(
        "meter-1k".into(),
        "IPv4 through a meter that never drops, 1k flows".into(),
        move || cycle(1_000, frame),
        meter_rules,
        &[Wanted::TimesOvs(2.0)],
    );
    vec![select, meter]
}

fn select_rules() -> Rules {
    let bucket = |number| {
        let mac = mac_text(mac(HOP, number));
        format!(",bucket=actions=set_field:{mac}->eth_dst,output:2")
    };
    let buckets: String = (0..16).map(bucket).collect();
    Rules {
        flows: vec!["ip,nw_dst=20.0.0.0/8,actions=group:1".into()],
        groups: vec![format!("group_id=1,type=select{buckets}")],
        meters: Vec::new(),
    }
}

fn meter_rules() -> Rules {
    Rules {
        flows: vec!["ip,nw_dst=20.0.0.0/8,actions=meter:1,output:2".into()],
        groups: Vec::new(),
        meters: vec!["meter=1,pktps,band=type=drop,rate=1000000000".into()],
    }
}

/// Family of addresses.
const HOP: u8 = 2;
