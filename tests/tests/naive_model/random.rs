//! Seeded random rules, groups and packets, from few values so that they meet often.

use std::sync::Arc;

use flowtable::{Field, Match};
use openflow::{
    Action, Bucket, FlowFlags, FlowMod, FlowModCommand, GroupId, GroupKind, GroupMod,
    GroupModCommand, Instructions, OfPort, TableId,
};

use crate::packet::{Label, MPLS, Network, Packet, Transport};

pub const PORTS: [u32; 4] = [1, 2, 3, 4];
pub const TABLES: u8 = 4;

/// A small generator of pseudo-random numbers (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// A kind of packet: what a rule must match to be about it, and the fields that it then has.
struct Kind {
    eth_type: Option<u16>,
    ip_proto: Option<u8>,
    fields: &'static [Field],
}

const ETHERNET: &[Field] = &[Field::EthDst, Field::EthSrc];
const IPV4: &[Field] = &[Field::Ipv4Src, Field::Ipv4Dst, Field::IpDscp, Field::IpEcn];
const IPV6: &[Field] = &[
    Field::Ipv6Src,
    Field::Ipv6Dst,
    Field::Ipv6Flabel,
    Field::IpDscp,
    Field::IpEcn,
];
const ARP: &[Field] = &[
    Field::ArpOp,
    Field::ArpSpa,
    Field::ArpTpa,
    Field::ArpSha,
    Field::ArpTha,
];

const KINDS: &[Kind] = &[
    Kind {
        eth_type: None,
        ip_proto: None,
        fields: ETHERNET,
    },
    Kind {
        eth_type: Some(0x0800),
        ip_proto: None,
        fields: IPV4,
    },
    Kind {
        eth_type: Some(0x86dd),
        ip_proto: None,
        fields: IPV6,
    },
    Kind {
        eth_type: Some(0x0806),
        ip_proto: None,
        fields: ARP,
    },
    Kind {
        eth_type: Some(0x0800),
        ip_proto: Some(6),
        fields: &[Field::TcpSrc, Field::TcpDst],
    },
    Kind {
        eth_type: Some(0x86dd),
        ip_proto: Some(6),
        fields: &[Field::TcpSrc, Field::TcpDst],
    },
    Kind {
        eth_type: Some(0x0800),
        ip_proto: Some(17),
        fields: &[Field::UdpSrc, Field::UdpDst],
    },
    Kind {
        eth_type: Some(0x86dd),
        ip_proto: Some(17),
        fields: &[Field::UdpSrc, Field::UdpDst],
    },
    Kind {
        eth_type: Some(0x0800),
        ip_proto: Some(1),
        fields: &[Field::Icmpv4Type, Field::Icmpv4Code],
    },
    Kind {
        eth_type: Some(MPLS),
        ip_proto: None,
        fields: &[Field::MplsLabel, Field::MplsTc, Field::MplsBos],
    },
];

/// One of a field's few values.
fn value(random: &mut Random, field: Field) -> u128 {
    let few = u128::from(random.below(3));
    match field {
        Field::EthDst | Field::EthSrc | Field::ArpSha | Field::ArpTha | Field::NdSll => {
            0x0200_0000_0000 | few
        }
        Field::Ipv4Src | Field::Ipv4Dst | Field::ArpSpa | Field::ArpTpa => 0x0a00_0000 | few,
        Field::Ipv6Src | Field::Ipv6Dst | Field::NdTarget => 0xfd00 << 112 | few << 60 | few,
        Field::VlanVid => 0x1000 | (10 + few),
        Field::MplsBos => few & 1,
        _ => few + 1,
    }
}

/// A frame.
pub fn packet(random: &mut Random) -> Packet {
    let mut packet = Packet {
        dst: value(random, Field::EthDst) as u64,
        src: value(random, Field::EthSrc) as u64,
        vlans: Vec::new(),
        mpls: Vec::new(),
        network: network(random),
    };
    for _ in 0..random.pick(&[0, 0, 1, 1, 2]) {
        let vid = value(random, Field::VlanVid) as u16 & 0xfff;
        packet
            .vlans
            .push((0x8100, vid | (random.below(3) as u16) << 13));
    }
    for _ in 0..random.pick(&[0, 0, 0, 1, 2]) {
        let label = random.below(3) as u32 + 1;
        let class = random.below(3) as u8;
        packet.mpls.push(Label {
            label,
            class,
            ttl: random.pick(&[1, 2, 64]),
        });
    }
    packet
}

fn network(random: &mut Random) -> Network {
    let six = random.chance(40);
    let transport = transport(random, six);
    let tos = random.below(16) as u8;
    let ttl = random.pick(&[1, 2, 64, 64, 255]);
    match random.below(10) {
        0 => Network::Unknown { eth_type: 0x88b5 },
        1 | 2 => Network::Arp {
            op: random.below(2) as u16 + 1,
            sha: value(random, Field::ArpSha) as u64,
            spa: value(random, Field::ArpSpa) as u32,
            tha: value(random, Field::ArpTha) as u64,
            tpa: value(random, Field::ArpTpa) as u32,
        },
        _ if six => Network::Ipv6 {
            tos,
            label: random.below(4) as u32,
            ttl,
            src: value(random, Field::Ipv6Src),
            dst: value(random, Field::Ipv6Dst),
            transport,
        },
        _ => Network::Ipv4 {
            tos,
            ttl,
            src: value(random, Field::Ipv4Src) as u32,
            dst: value(random, Field::Ipv4Dst) as u32,
            transport,
        },
    }
}

fn transport(random: &mut Random, six: bool) -> Transport {
    let (src, dst) = (random.below(3) as u16 + 1, random.below(3) as u16 + 1);
    match random.below(5) {
        0 | 1 => Transport::Tcp { src, dst },
        2 => Transport::Udp {
            src,
            dst,
            checksum: six || random.chance(70),
        },
        3 if six => {
            let target = value(random, Field::NdTarget);
            Transport::Solicitation {
                target,
                sll: value(random, Field::NdSll) as u64,
            }
        }
        3 => Transport::Icmp {
            kind: 8,
            code: random.below(3) as u8,
        },
        _ => Transport::Unknown,
    }
}

/// A rule to add, of a priority that no other of its table has.
pub fn rule(random: &mut Random, priority: u16) -> FlowMod {
    let table = random.below(TABLES.into()) as u8;
    let kind = &KINDS[random.below(KINDS.len() as u64) as usize];
    let mut matching = Match::default();
    if let Some(eth_type) = kind.eth_type {
        matching.set(Field::EthType, eth_type.into(), u128::MAX);
    }
    if let Some(proto) = kind.ip_proto {
        matching.set(Field::IpProto, proto.into(), u128::MAX);
    }
    let tagged = match random.below(4) {
        0 => Some(true),
        1 => Some(false),
        _ => None,
    };
    match tagged {
        Some(true) if random.chance(50) => matching.set(Field::VlanVid, 0x1000, 0x1000),
        Some(true) => {
            let vid = value(random, Field::VlanVid);
            matching.set(Field::VlanVid, vid, u128::MAX);
        }
        Some(false) => matching.set(Field::VlanVid, 0, u128::MAX),
        None => {}
    }
    for &field in kind.fields.iter().chain(ETHERNET) {
        if random.chance(20) {
            let mask = if field.maskable() && random.chance(40) {
                1
            } else {
                u128::MAX
            };
            let value = value(random, field);
            matching.set(field, value, mask);
        }
    }
    if random.chance(15) {
        matching.set(Field::InPort, random.pick(&PORTS).into(), u128::MAX);
    }
    if table > 0 && random.chance(20) {
        matching.set(Field::Metadata, random.below(4).into(), 3);
    }
    flow_mod(
        table,
        priority,
        matching,
        instructions(random, table, kind, tagged),
    )
}

fn flow_mod(table: u8, priority: u16, matching: Match, instructions: Instructions) -> FlowMod {
    FlowMod {
        command: FlowModCommand::Add,
        cookie: priority.into(),
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
    }
}

fn instructions(random: &mut Random, table: u8, kind: &Kind, tagged: Option<bool>) -> Instructions {
    let mut instructions = Instructions::default();
    if random.chance(70) {
        let actions = actions(random, kind, tagged, true);
        instructions.apply = Some(actions.into());
    }
    instructions.clear = random.chance(10);
    if random.chance(40) {
        // A set has one action of each kind; a list with two of one kind is the last of them.
        let actions = actions(random, kind, None, false);
        instructions.write = Some(actions.into());
    }
    if table + 1 < TABLES {
        if random.chance(30) {
            instructions.metadata = Some((random.below(4), random.below(4)));
        }
        if random.chance(60) {
            let next = u64::from(table) + 1 + random.below(u64::from(TABLES - table - 1));
            instructions.goto = Some(TableId(next as u8));
        }
    }
    instructions
}

fn output(random: &mut Random) -> Action {
    let ports = [
        1,
        2,
        3,
        4,
        OfPort::IN_PORT.0,
        OfPort::ALL.0,
        OfPort::FLOOD.0,
    ];
    Action::Output {
        port: OfPort(random.pick(&ports)),
        max_len: 0,
    }
}

fn actions(
    random: &mut Random,
    kind: &Kind,
    tagged: Option<bool>,
    structural: bool,
) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut tags = usize::from(tagged == Some(true));
    for _ in 0..1 + random.below(4) {
        let fields: Vec<Field> = kind.fields.iter().chain(ETHERNET).copied().collect();
        let action = match random.below(10) {
            0..3 => {
                let field = random.pick(&fields);
                let value = value(random, field);
                if field == Field::MplsBos {
                    continue;
                }
                Action::SetField {
                    field,
                    value,
                    mask: field.ones(),
                }
            }
            3 if tags > 0 => {
                let value = value(random, Field::VlanVid);
                Action::SetField {
                    field: Field::VlanVid,
                    value,
                    mask: Field::VlanVid.ones(),
                }
            }
            4 if structural => {
                tags += 1;
                Action::PushVlan(random.pick(&[0x8100, 0x88a8]))
            }
            5 if structural && tags > 0 => {
                tags -= 1;
                Action::PopVlan
            }
            6 if matches!(kind.eth_type, Some(0x0800 | 0x86dd)) => Action::DecNwTtl,
            6 if kind.eth_type == Some(MPLS) => Action::DecMplsTtl,
            7 if random.chance(50) => Action::Group(GroupId(1 + random.below(4) as u32)),
            _ => output(random),
        };
        actions.push(action);
    }
    if structural && random.chance(25) {
        append_mpls(random, kind, tagged, tags, &mut actions);
    }
    actions
}

/// Pushes or pops MPLS last, since the fields that the rule is about are gone behind it.
fn append_mpls(
    random: &mut Random,
    kind: &Kind,
    tagged: Option<bool>,
    tags: usize,
    actions: &mut Vec<Action>,
) {
    match kind.eth_type {
        Some(MPLS) => actions.push(Action::PopMpls(random.pick(&[0x0800, 0x86dd, MPLS]))),
        Some(0x0800 | 0x86dd) if tagged == Some(false) && tags == 0 => {
            actions.push(Action::PushMpls(MPLS));
            let field = Field::MplsLabel;
            let value = value(random, field);
            actions.push(Action::SetField {
                field,
                value,
                mask: field.ones(),
            });
        }
        _ => return,
    }
    actions.push(output(random));
}

/// Groups 1 to 4, one of each kind. Which bucket a select group takes is the switch's business,
/// so that only one has a weight.
pub fn groups(random: &mut Random) -> Vec<GroupMod> {
    let kinds = [
        GroupKind::All,
        GroupKind::Select,
        GroupKind::Indirect,
        GroupKind::FastFailover,
    ];
    let mut groups = Vec::new();
    for (index, kind) in kinds.into_iter().enumerate() {
        let count = if kind == GroupKind::Indirect {
            1
        } else {
            1 + random.below(3)
        };
        let bucket = |bucket: u64| {
            let field = random.pick(ETHERNET);
            let value = value(random, field);
            let set = Action::SetField {
                field,
                value,
                mask: field.ones(),
            };
            let port = OfPort(random.pick(&PORTS));
            let actions: Arc<[Action]> = [Action::Output { port, max_len: 0 }, set].into();
            let watch = if kind == GroupKind::FastFailover {
                port
            } else {
                OfPort::ANY
            };
            let weight = u16::from(kind == GroupKind::Select && bucket == 0);
            Bucket {
                weight,
                watch_port: watch,
                watch_group: GroupId::ANY,
                actions,
            }
        };
        groups.push(GroupMod {
            command: GroupModCommand::Add,
            kind,
            group: GroupId(index as u32 + 1),
            buckets: (0..count).map(bucket).collect(),
        });
    }
    groups
}
