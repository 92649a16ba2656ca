//! Made-up configurations and packets, the same for the same seed. Values come from small sets, so
//! that packets and flows meet.

use std::collections::BTreeMap;

use flowtable::{Field, Match, Prerequisite};
use openflow::{
    Action, Band, Bucket, Ct, CtZone, FlowFlags, FlowMod, FlowModCommand, GroupId, GroupKind,
    GroupMod, GroupModCommand, Instructions, MeterFlags, MeterId, MeterMod, MeterModCommand,
    Nicira, OfPort, Subfield, TableId,
};

use super::model::Vlan;

mod packet;

pub use packet::{answer, packet};

/// A generator of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of a list.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// What is to be set up in one bridge.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// OpenFlow number, carrier and VLANs of each port.
    pub ports: Vec<(u32, bool, Vlan)>,
    /// Meters.
    pub meters: Vec<MeterMod>,
    /// Groups.
    pub groups: Vec<GroupMod>,
    /// Flows, and what they match field by field.
    pub flows: Vec<(FlowMod, Vec<Fields>)>,
    /// Whether packets whose time to live ended go to the controller.
    pub wants_invalid_ttl: bool,
}

/// A field with value and mask.
pub type Fields = (Field, u128, u128);

/// A match on these fields.
pub fn matching(fields: &[Fields]) -> Match {
    let mut matching = Match::default();
    for (field, value, mask) in fields {
        matching.set(*field, *value, *mask);
    }
    matching
}

/// OpenFlow number of the patch port that ties the two bridges.
pub const PATCH: u32 = 9;

/// Tables that flows are in.
const TABLES: u8 = 4;

/// Numbers of ports.
const PORTS: [u32; 4] = [1, 2, 3, 4];

/// What flows and groups are like.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Those of the second bridge do not send back what comes from the first.
    pub second: bool,
    /// They change nothing in packets.
    pub plain: bool,
    /// They track connections.
    pub tracks: bool,
}

impl Style {
    fn changes(self, random: &mut Random, max: usize) -> Vec<Action> {
        let count = random.below(max + 1);
        let count = if self.plain { 0 } else { count };
        (0..count).map(|_| change(random, self)).collect()
    }

    /// Zones that are tracked: each bridge has its own.
    fn zones(self) -> [u16; 2] {
        if self.second { [3, 4] } else { [1, 2] }
    }
}

/// One of the two bridges.
pub fn setup(random: &mut Random, style: Style, meters: bool) -> Setup {
    let mut setup = Setup {
        wants_invalid_ttl: random.one_in(2),
        ..Setup::default()
    };
    for number in PORTS {
        let (up, vlan) = (!random.one_in(4), vlan(random));
        setup.ports.push((number, up, vlan));
    }
    for number in 1..=2 {
        setup.meters.push(meter(random, number, meters));
    }
    for number in 1..=5 {
        let group = group(random, number, style);
        setup.groups.push(group);
    }
    let count = 8 + random.below(40);
    for index in 0..count {
        let flow = flow(random, index as u64, style);
        setup.flows.push(flow);
    }
    if style.tracks && random.one_in(2) {
        let kinds = [0x0800, 0x86dd].into_iter().enumerate();
        let flows = kinds.map(|(at, kind)| guard(random, (count + at) as u64, kind, style));
        setup.flows.extend(flows.collect::<Vec<_>>());
    }
    setup
}

/// A flow before all others that has all IP packets tracked first, as firewalls do.
fn guard(random: &mut Random, index: u64, eth_type: u128, style: Style) -> (FlowMod, Vec<Fields>) {
    let (mut flow, _) = flow(random, index, style);
    let fields = vec![
        (Field::EthType, eth_type, 0xffff),
        (Field::CtState, 0, TRACKED),
    ];
    flow.table = TableId(0);
    flow.priority = 1 + index as u16;
    flow.matching = matching(&fields);
    flow.instructions = Instructions {
        apply: Some([track(random, 0, style)].into()),
        ..Instructions::default()
    };
    (flow, fields)
}

fn vlan(random: &mut Random) -> Vlan {
    let trunks = match random.below(3) {
        0 => vec![10, 20],
        1 => vec![0, 20, 30],
        _ => vec![],
    };
    let (untagged, tag_native, trunk) = match random.below(5) {
        0 => (10, false, false),
        1 => (10, true, true),
        2 => (20, false, true),
        _ => (0, false, true),
    };
    Vlan {
        untagged,
        tag_native,
        trunk,
        trunks,
    }
}

fn meter(random: &mut Random, number: u32, tight: bool) -> MeterMod {
    let burst = if tight {
        1 + random.below(20) as u32
    } else {
        4_000_000_000
    };
    MeterMod {
        command: MeterModCommand::Add,
        flags: MeterFlags {
            packets: true,
            burst: true,
            stats: true,
        },
        meter: MeterId(number),
        bands: vec![Band::Drop { rate: 1, burst }],
    }
}

fn group(random: &mut Random, number: u32, style: Style) -> GroupMod {
    let kinds = [
        GroupKind::All,
        GroupKind::Select,
        GroupKind::Indirect,
        GroupKind::FastFailover,
    ];
    let kind = random.pick(&kinds);
    let count = match kind {
        GroupKind::Indirect => 1,
        _ => random.below(4),
    };
    let buckets = (0..count).map(|_| bucket(random, kind, number, style));
    GroupMod {
        command: GroupModCommand::Add,
        kind,
        group: GroupId(number),
        buckets: buckets.collect(),
    }
}

fn bucket(random: &mut Random, kind: GroupKind, number: u32, style: Style) -> Bucket {
    let mut list = style.changes(random, 2);
    match number {
        2.. if random.one_in(4) => list.push(Action::Group(GroupId(number - 1))),
        _ => list.push(output(random, style)),
    }
    let watch = kind == GroupKind::FastFailover || kind == GroupKind::Select && random.one_in(3);
    let watch_group = watch && number > 1 && random.one_in(4);
    Bucket {
        weight: match kind {
            GroupKind::Select => random.below(4) as u16,
            _ => 0,
        },
        watch_port: match watch && !watch_group {
            true => OfPort(random.pick(&PORTS)),
            false => OfPort::ANY,
        },
        watch_group: match watch_group {
            true => GroupId(number - 1),
            false => GroupId::ANY,
        },
        actions: list.into(),
    }
}

/// A flow of one of the two bridges, with `index` as its cookie.
pub fn flow(random: &mut Random, index: u64, style: Style) -> (FlowMod, Vec<Fields>) {
    let table = match random.below(3) {
        1 if style.tracks => 1 + random.below(usize::from(TABLES) - 1) as u8,
        0 => random.below(TABLES.into()) as u8,
        _ => 0,
    };
    let instructions = instructions(random, table, style);
    let (mut fields, mut priority) = match random.one_in(6) {
        true => (Vec::new(), 0),
        false => (fields(random, style), 1 + index as u16),
    };
    let is_typed = fields.iter().any(|(field, ..)| *field == Field::EthType);
    if !is_typed && tables(&instructions).any(|(_, tracks)| tracks) {
        // Only IP is tracked.
        fields.push((
            Field::EthType,
            random.pick(&[0x0800, 0x0800, 0x86dd]),
            0xffff,
        ));
        priority = 1 + index as u16;
    }
    let mut matching = Match::default();
    for (field, value, mask) in &fields {
        matching.set(*field, *value, *mask);
    }
    let flow = FlowMod {
        command: FlowModCommand::Add,
        cookie: index,
        cookie_mask: 0,
        table: TableId(table),
        idle_timeout_s: 0,
        hard_timeout_s: 0,
        priority,
        buffer_id: None,
        out_port: OfPort::ANY,
        out_group: GroupId::ANY,
        flags: FlowFlags::default(),
        matching,
        instructions,
    };
    (flow, fields)
}

fn instructions(random: &mut Random, table: u8, style: Style) -> Instructions {
    let list = |random: &mut Random, changes: usize, outputs: usize| {
        let mut list = style.changes(random, changes);
        for _ in 0..random.below(outputs + 1) {
            let at = random.below(list.len() + 1);
            list.insert(at, output(random, style));
        }
        list
    };
    Instructions {
        meter: random
            .one_in(10)
            .then(|| MeterId(1 + random.below(2) as u32)),
        apply: (!random.one_in(4)).then(|| {
            let mut list = list(random, 3, 2);
            for _ in 0..random.pick(&[0, 0, 1, 1, 2]) {
                let at = random.below(list.len() + 1);
                list.insert(at, nicira(random, table, style));
            }
            list.into()
        }),
        clear: random.one_in(10),
        write: random.one_in(3).then(|| list(random, 2, 1).into()),
        metadata: random.one_in(4).then(|| (random.number() & 3, 3)),
        goto: (table + 1 < TABLES && random.one_in(2)).then(|| ahead(random, table)),
    }
}

/// An action of Nicira's, in a flow of this table.
fn nicira(random: &mut Random, table: u8, style: Style) -> Action {
    if style.tracks && random.one_in(2) {
        return track(random, table, style);
    }
    Action::Nicira(match random.below(3) {
        0 if table + 1 < TABLES => Nicira::Resubmit {
            in_port: None,
            table: Some(ahead(random, table)),
            by_connection: false,
        },
        1 if !style.plain => {
            let (src, dst) = (random.pick(&MOVABLE), random.pick(&MOVED_TO));
            let width = random.pick(&[1, 2, 16]);
            Nicira::Move {
                src: bits(random, src, width),
                dst: bits(random, dst, width),
            }
        }
        _ => {
            let (dst, width) = (random.pick(&REGISTERS), random.pick(&[2, 8, 31]));
            Nicira::Load {
                dst: bits(random, dst, width),
                value: random.below(4) as u64,
            }
        }
    })
}

/// A `ct` in a flow of this table.
fn track(random: &mut Random, table: u8, style: Style) -> Action {
    let has_next = table + 1 < TABLES && !random.one_in(4);
    let ct = Ct {
        commits: random.one_in(2),
        forces: false,
        zone: CtZone::Number(random.pick(&style.zones())),
        table: has_next.then(|| ahead(random, table)),
        alg: 0,
        actions: [].into(),
    };
    Action::Nicira(Nicira::Ct(ct.into()))
}

/// So many bits of a field, mostly the lowest.
fn bits(random: &mut Random, field: Field, width: u8) -> Subfield {
    let room = field.width() as u8 - width;
    Subfield {
        field,
        offset: random.pick(&[0, 0, 1, 16]).min(room),
        width,
    }
}

/// Whether packets of a flow of this table go only to tables after it, so that no way is endless.
pub fn leads_ahead(table: u8, instructions: &Instructions) -> bool {
    let mut tables = tables(instructions);
    tables.all(|(next, _)| next.is_none_or(|next| next.0 > table))
}

/// Where actions of Nicira's send packets, and whether they are tracked before.
fn tables(instructions: &Instructions) -> impl Iterator<Item = (Option<TableId>, bool)> {
    let apply = instructions.apply.as_deref().unwrap_or_default();
    Action::all(apply).filter_map(|action| match action {
        Action::Nicira(Nicira::Resubmit { table, .. }) => Some((*table, false)),
        Action::Nicira(Nicira::Ct(ct)) => Some((ct.table, true)),
        _ => None,
    })
}

/// A table after this one.
fn ahead(random: &mut Random, table: u8) -> TableId {
    TableId(table + 1 + random.below(usize::from(TABLES - table - 1)) as u8)
}

/// An action that sends.
pub fn output(random: &mut Random, style: Style) -> Action {
    let port = match random.below(12) {
        0 => OfPort::NORMAL,
        1 => OfPort::FLOOD,
        2 => OfPort::ALL,
        3 => OfPort::CONTROLLER,
        4 if !style.second => OfPort::IN_PORT,
        5 if !style.second => OfPort(PATCH),
        6 => return Action::Group(GroupId(1 + random.below(5) as u32)),
        7 => OfPort(77),
        _ => OfPort(random.pick(&PORTS)),
    };
    let max_len = 0xffff;
    Action::Output { port, max_len }
}

/// An action that changes the packet.
pub fn change(random: &mut Random, style: Style) -> Action {
    match random.below(24) {
        0 => Action::PushVlan(random.pick(&[0x8100, 0x88a8])),
        1 | 2 => Action::PopVlan,
        3 => Action::PushMpls(random.pick(&[0x8847, 0x8848])),
        4 | 5 => Action::PopMpls(random.pick(&[0x0800, 0x86dd, 0x8847, 0x1234])),
        6 => Action::PushPbb(0x88e7),
        7 => Action::PopPbb,
        8 => Action::DecNwTtl,
        9 => Action::DecMplsTtl,
        10 => Action::CopyTtlIn,
        11 => Action::CopyTtlOut,
        12 => Action::SetNwTtl(random.pick(&[0, 1, 2, 64])),
        13 => Action::SetMplsTtl(random.pick(&[0, 1, 2, 64])),
        _ => {
            let field = match random.pick(&SETTABLE) {
                // What is behind is of another protocol, and seldom makes sense there.
                Field::IpProto if style.tracks => Field::IpDscp,
                field => field,
            };
            let mask = field.ones();
            let value = match field {
                Field::VlanVid => 0x1000 | u128::from(random.pick(&[10u16, 20, 30])),
                field => value(random, field),
            };
            Action::SetField { field, value, mask }
        }
    }
}

/// Fields that flows set.
const SETTABLE: [Field; 41] = [
    Field::Metadata,
    Field::EthDst,
    Field::EthSrc,
    Field::EthType,
    Field::VlanVid,
    Field::VlanPcp,
    Field::IpDscp,
    Field::IpEcn,
    Field::IpProto,
    Field::Ipv4Src,
    Field::Ipv4Dst,
    Field::TcpSrc,
    Field::TcpDst,
    Field::UdpSrc,
    Field::UdpDst,
    Field::SctpSrc,
    Field::SctpDst,
    Field::Icmpv4Type,
    Field::Icmpv4Code,
    Field::ArpOp,
    Field::ArpSpa,
    Field::ArpTpa,
    Field::ArpSha,
    Field::ArpTha,
    Field::Ipv6Src,
    Field::Ipv6Dst,
    Field::Ipv6Flabel,
    Field::Icmpv6Type,
    Field::Icmpv6Code,
    Field::NdTarget,
    Field::NdSll,
    Field::NdTll,
    Field::NdReserved,
    Field::NdOptionsType,
    Field::MplsLabel,
    Field::MplsTc,
    Field::PbbIsid,
    Field::TunnelId,
    Field::Reg0,
    Field::Reg1,
    Field::Reg15,
];

/// Bits of `ct_state` that flows match: not tracked; tracked, and new, established, a reply or
/// invalid.
const STATES: [u128; 6] = [0, TRACKED, 0x21, 0x22, 0x2a, 0x30];
const TRACKED: u128 = 0x20;

/// Registers of those.
const REGISTERS: [Field; 3] = [Field::Reg0, Field::Reg1, Field::Reg15];

/// Fields that others are moved to: an address shows what was there.
const MOVED_TO: [Field; 5] = [
    Field::Reg0,
    Field::Reg1,
    Field::Reg15,
    Field::Metadata,
    Field::EthSrc,
];

/// Fields that are moved.
const MOVABLE: [Field; 7] = [
    Field::Reg0,
    Field::Reg1,
    Field::Reg15,
    Field::Metadata,
    Field::InPort,
    Field::EthSrc,
    Field::EthDst,
];

/// Fields that flows only match.
const MATCHABLE: [Field; 5] = [
    Field::InPort,
    Field::MplsBos,
    Field::IpTtl,
    Field::IpFrag,
    Field::TcpFlags,
];

/// A match: some fields and what they need.
fn fields(random: &mut Random, style: Style) -> Vec<Fields> {
    let mut fields: BTreeMap<Field, (u128, u128)> = BTreeMap::new();
    if style.tracks && random.one_in(2) {
        let state = random.pick(&STATES);
        fields.insert(Field::CtState, (state, state | TRACKED));
        if random.one_in(4) {
            let zone = random.pick(&style.zones()).into();
            fields.insert(Field::CtZone, (zone, 0xffff));
        }
    }
    // What was found out is matched by flows that many packets meet.
    let others = if fields.is_empty() { 4 } else { 2 };
    for _ in 0..random.below(others) {
        let field = match random.below(8) {
            0 => random.pick(&MATCHABLE),
            1 | 2 => random.pick(&REGISTERS),
            _ => random.pick(&SETTABLE),
        };
        let (value, mask) = match field {
            Field::VlanVid => random.pick(&[(0, 0x1fff), (0x1000, 0x1000), (0x100a, 0x1fff)]),
            field => (value(random, field), mask(random, field)),
        };
        let mut wanted = needs(random, field.prerequisite());
        wanted.push((field, value, mask));
        let conflict = |(field, value, mask): &Fields| {
            let there = fields.get(field);
            there.is_some_and(|there| *there != (*value, *mask))
        };
        if !wanted.iter().any(conflict) {
            let entries = wanted.into_iter();
            fields.extend(entries.map(|(field, value, mask)| (field, (value, mask))));
        }
    }
    let fields = fields.into_iter();
    fields
        .map(|(field, (value, mask))| (field, value & mask, mask))
        .collect()
}

fn mask(random: &mut Random, field: Field) -> u128 {
    match field.maskable() && random.one_in(3) {
        true => u128::from(random.number()) & field.ones() | 1,
        false => field.ones(),
    }
}

/// What must be matched before a field with this prerequisite.
fn needs(random: &mut Random, need: Prerequisite) -> Vec<Fields> {
    let eth_type = |value| (Field::EthType, value, 0xffff);
    let proto = |value| (Field::IpProto, value, 0xff);
    let kind = |value| (Field::Icmpv6Type, value, 0xff);
    let ip = eth_type(random.pick(&[0x0800, 0x86dd]));
    match need {
        Prerequisite::None | Prerequisite::Connection => vec![],
        Prerequisite::Vlan => vec![(Field::VlanVid, 0x1000, 0x1000)],
        Prerequisite::Arp => vec![eth_type(random.pick(&[0x0806, 0x0806, 0x8035]))],
        Prerequisite::Ip => vec![ip],
        Prerequisite::Ipv4 => vec![eth_type(0x0800)],
        Prerequisite::Ipv6 => vec![eth_type(0x86dd)],
        Prerequisite::Mpls => vec![eth_type(random.pick(&[0x8847, 0x8848]))],
        Prerequisite::Pbb => vec![eth_type(0x88e7)],
        Prerequisite::Tcp => vec![ip, proto(6)],
        Prerequisite::Udp => vec![ip, proto(17)],
        Prerequisite::Sctp => vec![ip, proto(132)],
        Prerequisite::Icmpv4 => vec![eth_type(0x0800), proto(1)],
        Prerequisite::Icmpv6 => vec![eth_type(0x86dd), proto(58)],
        Prerequisite::NdAdvert => vec![eth_type(0x86dd), proto(58), kind(136)],
        Prerequisite::Nd | Prerequisite::NdSolicit => {
            vec![eth_type(0x86dd), proto(58), kind(135)]
        }
    }
}

/// A value of a field, one of few.
fn value(random: &mut Random, field: Field) -> u128 {
    use Field::*;
    let few = 1 + random.below(3) as u128;
    match field {
        InPort => random.pick(&[1, 2, 3, 4, PATCH.into()]),
        EthDst | EthSrc | ArpSha | ArpTha | NdSll | NdTll => mac(random).into(),
        EthType => random.pick(&[0x0800, 0x86dd, 0x0806, 0x8847, 0x1234]),
        IpProto => random.pick(&[1, 6, 17, 58, 132, 200]),
        Ipv4Src | Ipv4Dst | ArpSpa | ArpTpa => 0x0a00_0000 + few,
        Ipv6Src | Ipv6Dst | NdTarget => 0xfe80 << 112 | few,
        TcpSrc | TcpDst | UdpSrc | UdpDst | SctpSrc | SctpDst => 79 + few,
        Icmpv4Type => random.pick(&[0, 8, 3]),
        Icmpv6Type => random.pick(&[128, 135, 136]),
        Icmpv4Code | Icmpv6Code => random.pick(&[0, 0, 1]),
        IpTtl => random.pick(&[0, 1, 2, 63, 64]),
        IpFrag => random.pick(&[0, 1, 3]),
        MplsBos => few & 1,
        IpEcn | VlanPcp | MplsTc => few,
        TcpFlags => random.pick(&[2, 0x12, 0x10]),
        Reg0 | Reg1 | Reg15 => (few - 1) << random.pick(&[0, 0, 1, 16]),
        _ => few,
    }
}

fn mac(random: &mut Random) -> u64 {
    match random.below(12) {
        0 => 0xffff_ffff_ffff,
        1 => 0x0100_5e00_0001,
        2 => 0x0180_c200_0000 + random.below(18) as u64,
        _ => 0x0200_0000_0000 + random.below(5) as u64,
    }
}
