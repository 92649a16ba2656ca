//! Tuple space explosion: three rules that allow, and headers made so that each differs from them
//! first in other bits. A cache of wildcards learns a mask from each (Csikor and others, "Tuple
//! Space Explosion", CoNEXT 2019).

use std::net::Ipv4Addr;

use super::udp;
use crate::judge::frames::{Udp, random, shuffled};
use crate::judge::generator::Traffic;
use crate::judge::scenario::{Later, Rules, Scenario, Wanted};

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut alone = Scenario::new(
        "explosion-alone".into(),
        "three rules that allow, 8,192 crafted headers that none allows".into(),
        || Traffic::Cycle {
            frames: crafted(),
            prelude: Vec::new(),
            orders: vec![shuffled(CRAFTED as usize)],
        },
        rules,
        &[Wanted::TimesOvs(1_000.0)],
    );
    alone.delivered = 0.0;
    let mut mixed = Scenario::new(
        "explosion-mixed".into(),
        "the same rules, 1k honest flows, then one packet in 100 of the crafted ones; the rate is \
         that of honest packets"
            .into(),
        mixture,
        rules,
        &[Wanted::Kept(0.9)],
    );
    mixed.delivered = 0.99;
    mixed.later = Later::SecondOrder(0.99);
    vec![alone, mixed]
}

fn rules() -> Rules {
    let source = Ipv4Addr::from(SOURCE);
    Rules::flows(vec![
        format!("priority=30,udp,udp_dst={DESTINATION_PORT},actions=output:2"),
        format!("priority=20,udp,nw_src={source},actions=output:2"),
        format!("priority=10,udp,udp_src={SOURCE_PORT},actions=output:2"),
        "priority=0,actions=drop".into(),
    ])
}

/// Each with another first bit that is wrong in each of the three fields.
fn crafted() -> Vec<Vec<u8>> {
    let frame = |number: u32| {
        let (address, from, to) = (number % 32, number / 32 % 16, number / 512);
        let udp = Udp {
            source: SOURCE_PORT ^ 0x8000 >> from,
            destination: DESTINATION_PORT ^ 0x8000 >> to,
            ..Udp::default()
        };
        let source = SOURCE ^ 0x8000_0000 >> address;
        udp.ipv4(source.into(), Ipv4Addr::new(20, 0, 0, 1))
    };
    (0..CRAFTED).map(frame).collect()
}

fn mixture() -> Traffic {
    let honest = (0..HONEST).map(|flow| {
        let udp = Udp {
            destination: DESTINATION_PORT,
            ..udp(flow)
        };
        let source = 0x0b00_0000 | random(flow.into()) as u32 >> 8;
        udp.ipv4(source.into(), Ipv4Addr::new(20, 0, 0, 1))
    });
    let frames = honest.chain(crafted()).collect();
    let first = shuffled(HONEST as usize);
    let bad = shuffled(CRAFTED as usize);
    let second = bad.iter().enumerate().flat_map(|(place, &bad)| {
        let honest = (place * 99..place * 99 + 99).map(|place| first[place % first.len()]);
        honest.chain([HONEST + bad]).collect::<Vec<u32>>()
    });
    let second = second.collect();
    Traffic::Cycle {
        frames,
        prelude: Vec::new(),
        orders: vec![first, second],
    }
}

const SOURCE: u32 = 0x0a00_0001;
const SOURCE_PORT: u16 = 12_345;
const DESTINATION_PORT: u16 = 80;
const CRAFTED: u32 = 32 * 16 * 16;
const HONEST: u32 = 1_000;
