//! Connections that the switch tracks: established ones, translated ones, security groups, new ones
//! without end (RFC 9693 §4), as many as there is memory for, and a flood of new ones.

use std::net::Ipv4Addr;

use super::{short, udp};
use crate::judge::conversation::{Conversation, Peer, conversations};
use crate::judge::figure::Figure;
use crate::judge::frames::{mac, mac_text, random, shuffled, within};
use crate::judge::generator::{Fresh, Traffic};
use crate::judge::scenario::{Course, Later, Rules, Scenario, Wanted};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        established(1_000, 2.5),
        established(100_000, 3.0),
        translated(1_000, 2.5),
        translated(100_000, 3.0),
        security_groups(),
        new_connections(),
        capacity(),
        flood(),
    ]
}

fn established(count: u32, ratio: f64) -> Scenario {
    Scenario::new(
        format!("ct-established-{}", short(count)),
        format!(
            "{} TCP connections through a stateful firewall, both ways",
            short(count)
        ),
        move || conversations(count, |number| conversation(number, None)),
        firewall,
        &[Wanted::TimesOvs(ratio)],
    )
}

/// Lets who is inside begin.
fn firewall() -> Rules {
    Rules::flows(vec![
        "priority=10,ct_state=-trk,ip,actions=ct(zone=1,table=1)".into(),
        "table=1,priority=20,ct_state=+trk+est,ip,actions=output:2".into(),
        "table=1,priority=10,ct_state=+trk+new,ip,nw_src=10.0.0.0/8,\
         actions=ct(commit,zone=1),output:2"
            .into(),
        "table=1,priority=0,actions=drop".into(),
    ])
}

fn translated(count: u32, ratio: f64) -> Scenario {
    Scenario::new(
        format!("ct-snat-{}", short(count)),
        format!(
            "{} TCP connections from behind one public address, both ways",
            short(count)
        ),
        move || conversations(count, |number| conversation(number, Some(PUBLIC))),
        || {
            Rules::flows(vec![
                "priority=10,ct_state=-trk,ip,actions=ct(zone=1,nat,table=1)".into(),
                "table=1,priority=20,ct_state=+trk+est,ip,actions=output:2".into(),
                format!(
                    "table=1,priority=10,ct_state=+trk+new,ip,nw_src=10.0.0.0/8,\
                     actions=ct(commit,zone=1,nat(src={PUBLIC})),output:2"
                ),
                "table=1,priority=0,actions=drop".into(),
            ])
        },
        &[Wanted::TimesOvs(ratio)],
    )
}

/// From one inside to one outside, ports and all different, so that a translation that has the
/// choice keeps the port.
fn conversation(number: u32, seen_as: Option<Ipv4Addr>) -> Conversation {
    let client = Peer {
        mac: mac(GUEST, number % GUESTS),
        address: (0x0a00_0000 + number % 10_000).into(),
        port: 1024 + (number % 60_000) as u16,
    };
    let server = Peer {
        mac: mac(0xfe, 1),
        address: within(0x1400_0000, 8, number.into()).into(),
        port: SERVICES[number as usize % SERVICES.len()],
    };
    Conversation {
        client,
        seen: Peer {
            address: seen_as.unwrap_or(client.address),
            ..client
        },
        server,
    }
}

fn security_groups() -> Scenario {
    Scenario::new(
        "security-groups".into(),
        "10 tables as of a cloud's firewall: port, spoofing guard, tracking in the sender's zone, \
         rules out, commit, MAC, tracking in the receiver's zone, rules in, commit, output; 1k TCP \
         connections among 100 guests, both ways"
            .into(),
        || conversations(1_000, among_guests),
        groups,
        &[Wanted::TimesOvs(2.5)],
    )
}

fn among_guests(number: u32) -> Conversation {
    let guest = |guest: u32, port| Peer {
        mac: mac(GUEST, guest),
        address: guest_address(guest),
        port,
    };
    let client = number % GUESTS;
    let server = (client + 1 + number / GUESTS) % GUESTS;
    let service = SERVICES[number as usize % SERVICES.len()];
    Conversation::plain(guest(client, 1024 + number as u16), guest(server, service))
}

fn guest_address(guest: u32) -> Ipv4Addr {
    (0x0a01_0000 + guest).into()
}

fn groups() -> Rules {
    let of_guest = |guest: u32| {
        let (mac, address, zone) = (mac_text(mac(GUEST, guest)), guest_address(guest), guest + 1);
        [
            format!(
                "table=0,priority=10,in_port=1,dl_src={mac},\
                 actions=load:{zone}->NXM_NX_REG6[],goto_table:10"
            ),
            format!(
                "table=10,priority=10,reg6={zone},dl_src={mac},ip,nw_src={address},\
                 actions=goto_table:20"
            ),
            format!(
                "table=50,priority=10,dl_dst={mac},\
                 actions=load:{zone}->NXM_NX_REG6[],load:2->NXM_NX_REG5[],goto_table:60"
            ),
        ]
    };
    let of_service = |guest: u32| {
        SERVICES.map(|port| {
            format!(
                "table=70,priority=10,ct_state=+trk+new-inv,tcp,reg6={},nw_src=10.1.0.0/16,\
                 tp_dst={port},actions=goto_table:80",
                guest + 1
            )
        })
    };
    let zone = "zone=NXM_NX_REG6[0..15]";
    let common = [
        format!("table=20,priority=10,ip,actions=ct(table=30,{zone})"),
        "table=30,priority=20,ct_state=+trk+est-inv,ip,actions=goto_table:50".into(),
        "table=30,priority=10,ct_state=+trk+new-inv,ip,actions=goto_table:40".into(),
        format!("table=40,priority=10,ip,actions=ct(commit,{zone}),goto_table:50"),
        format!("table=60,priority=10,ip,actions=ct(table=70,{zone})"),
        "table=70,priority=20,ct_state=+trk+est-inv,ip,actions=goto_table:90".into(),
        format!("table=80,priority=10,ip,actions=ct(commit,{zone}),goto_table:90"),
        "table=90,priority=10,reg5=2,actions=output:2".into(),
    ];
    let guests = (0..GUESTS).flat_map(of_guest);
    let services = (0..GUESTS).flat_map(of_service);
    Rules::flows(guests.chain(services).chain(common).collect())
}

/// Every packet is the first of its connection.
fn new_connections() -> Scenario {
    let mut scenario = Scenario::new(
        "ct-new".into(),
        "UDP, every packet a new connection (RFC 9693 §4.5); then all are ended at once (§4.6); \
         millions a second"
            .into(),
        || Traffic::Fresh(Fresh::new(first_packet).limited(CONNECTIONS.into(), 1 << 16)),
        || {
            Rules::flows(vec![
                "priority=10,ct_state=-trk,ip,actions=ct(zone=1,table=1)".into(),
                "table=1,priority=10,ct_state=+trk+new,ip,actions=ct(commit,zone=1),output:2"
                    .into(),
                "table=1,priority=0,actions=drop".into(),
            ])
        },
        &[
            Wanted::TimesOvs(5.0),
            Wanted::Absolute(Figure::SetUps, 1.0),
            Wanted::Absolute(Figure::TearDowns, 1.0),
        ],
    );
    scenario.connections = Some(CONNECTIONS);
    scenario.course = Course::Connections;
    scenario.figures = vec![Figure::SetUps, Figure::TearDowns];
    scenario
}

/// As many connections as there are to be at a time; all go on being used.
fn capacity() -> Scenario {
    let mut scenario = Scenario::new(
        "ct-capacity".into(),
        "2 million UDP connections at a time, each in turn: packets, millions of connections, \
         bytes of memory for each"
            .into(),
        || Traffic::Fresh(Fresh::new(first_packet).limited(MANY, 4 * MANY)),
        firewall,
        &[
            Wanted::Absolute(Figure::Connections, 2.0),
            Wanted::Absolute(Figure::Bytes, 256.0),
        ],
    );
    scenario.connections = Some(MANY as u32 + MANY as u32 / 50);
    scenario.course = Course::Connections;
    scenario.figures = vec![Figure::Mpps, Figure::Connections, Figure::Bytes];
    scenario
}

fn first_packet(number: u64) -> Vec<u8> {
    let client = 0x0a00_0000 + number as u32;
    udp(number as u32).ipv4(client.into(), within(0x1400_0000, 8, number).into())
}

/// Connections of one tenant go on and a second begins new ones; then a third begins some without
/// end.
fn flood() -> Scenario {
    let mut scenario = Scenario::new(
        "ct-syn-flood".into(),
        "1k TCP connections, and one packet in 481 the first of one in another zone; then one in \
         49 besides a SYN that nobody answers, in a third zone, with the table full of them; the \
         rate is that of all others"
            .into(),
        flooded,
        || {
            let zone = |from: &str, zone: u32| {
                format!(
                    "priority=20,ct_state=-trk,ip,nw_src={from},actions=ct(zone={zone},table=1)"
                )
            };
            let begin = |zone: u32| {
                format!(
                    "table=1,priority=10,ct_state=+trk+new-inv,ct_zone={zone},ip,\
                     actions=ct(commit,zone={zone},table=2)"
                )
            };
            Rules::flows(vec![
                "priority=10,ct_state=-trk,ip,actions=ct(zone=1,table=1)".into(),
                zone("30.0.0.0/8", 2),
                zone("40.0.0.0/8", 3),
                "table=1,priority=20,ct_state=+trk+est,ip,actions=output:2".into(),
                begin(1),
                begin(2),
                begin(3),
                "table=1,priority=0,actions=drop".into(),
                "table=2,priority=20,ct_state=+trk+inv,ip,actions=drop".into(),
                "table=2,priority=20,ct_zone=2,ip,actions=drop".into(),
                "table=2,priority=10,ct_state=+trk,ip,actions=output:2".into(),
                "table=2,priority=0,actions=drop".into(),
            ])
        },
        &[Wanted::Kept(0.9)],
    );
    scenario.connections = Some(FLOODED);
    // All but the SYNs: what begins in the quiet zone, too.
    scenario.delivered = HONEST;
    scenario.later = Later::SecondOrder(HONEST);
    scenario
}

fn flooded() -> Traffic {
    let Traffic::Cycle {
        mut frames,
        prelude,
        mut orders,
    } = conversations(1_000, |number| conversation(number, None))
    else {
        return super::no_frames();
    };
    let known = orders[0].clone();
    let open = |number: u32, net: u32| {
        let client = Peer {
            mac: mac(0xfd, 1),
            address: within(net, 8, u64::from(number) << 32).into(),
            port: random(number.into()) as u16,
        };
        let server = conversation(number, None).server;
        let [syn, ..] = Conversation::plain(client, server).opening();
        syn
    };
    let base = frames.len() as u32;
    frames.extend((0..SYNS).map(|number| open(number, 0x1e00_0000)));
    frames.extend((0..SYNS / TURNS).map(|number| open(number, 0x2800_0000)));
    let order = |is_flooded: bool| -> Vec<u32> {
        let syns = shuffled(SYNS as usize).into_iter().take(SYNS as usize);
        let turn = |(place, syn): (usize, u32)| {
            let packets = (0..KNOWN).map(|next| known[(place * KNOWN + next) % known.len()]);
            let syn = is_flooded.then_some(base + syn);
            let place = place as u32;
            let opens = place.is_multiple_of(TURNS);
            let opened = opens.then_some(base + SYNS + place / TURNS);
            let packets: Vec<u32> = packets.chain(syn).chain(opened).collect();
            packets
        };
        syns.enumerate().flat_map(turn).collect()
    };
    orders = vec![order(false), order(true)];
    Traffic::Cycle {
        frames,
        prelude,
        orders,
    }
}

/// Guests of a node.
const GUESTS: u32 = 100;
/// Family of their addresses.
const GUEST: u8 = 3;
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const SERVICES: [u16; 8] = [22, 53, 80, 443, 3306, 5432, 6379, 8080];
/// More than are begun in a round.
const CONNECTIONS: u32 = 8_000_000;
/// As many as there are to be.
const MANY: u64 = 2_000_000;
/// Connections that a flooded table has room for.
const FLOODED: u32 = 100_000;
/// SYNs that differ; before each come so many packets of connections.
const SYNS: u32 = 400_000;
const KNOWN: usize = 48;
/// SYNs for each packet that begins a connection in the quiet zone.
const TURNS: u32 = 10;
/// The share of packets that are no SYN of the flood.
const HONEST: f64 = 1.0 - 1.0 / (KNOWN as f64 + 1.0 + 1.0 / TURNS as f64);
