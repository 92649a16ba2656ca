//! One message of each kind, with values that are told apart in a rendering.

use std::time::Duration;

use flowtable::{Field, Match};
use openflow::*;

/// A match on these fields: value and mask.
fn matching(fields: &[(Field, u128, u128)]) -> Match {
    let mut matching = Match::default();
    for (field, value, mask) in fields {
        matching.set(*field, *value, *mask);
    }
    matching
}

const ALL: u128 = u128::MAX;

/// A TCP flow over IPv4 in a VLAN.
fn tcp() -> Match {
    matching(&[
        (Field::InPort, 1, ALL),
        (Field::Metadata, 0x1200, 0xff00),
        (Field::EthSrc, 0x0200_0000_0001, ALL),
        (Field::EthType, 0x0800, ALL),
        (Field::VlanVid, 0x1005, ALL),
        (Field::VlanPcp, 3, ALL),
        (Field::IpProto, 6, ALL),
        (Field::Ipv4Src, 0x0a00_0000, 0xff00_0000),
        (Field::TcpDst, 80, ALL),
        (Field::TcpFlags, 2, 0x12),
    ])
}

/// Every action that Open vSwitch knows, too.
fn actions() -> Vec<Action> {
    let output = |port| Action::Output { port, max_len: 0 };
    vec![
        Action::PushVlan(0x8100),
        set(Field::VlanVid, 0x1007),
        set(Field::VlanPcp, 2),
        output(OfPort(2)),
        Action::PopVlan,
        set(Field::EthDst, 0x0200_0000_0002),
        set(Field::IpDscp, 10),
        Action::DecNwTtl,
        set(Field::Ipv4Dst, 0x0a00_0002),
        set(Field::TcpSrc, 8080),
        set(Field::TunnelId, 0x77),
        Action::SetQueue(QueueId(4)),
        Action::SetNwTtl(9),
        output(OfPort::IN_PORT),
        output(OfPort::NORMAL),
        output(OfPort::FLOOD),
        output(OfPort::ALL),
        output(OfPort::LOCAL),
        Action::Output {
            port: OfPort::CONTROLLER,
            max_len: 128,
        },
        Action::Group(GroupId(3)),
    ]
}

/// A set-field action over the whole field.
fn set(field: Field, value: u128) -> Action {
    Action::SetField {
        field,
        value,
        mask: field.ones(),
    }
}

fn instructions() -> Instructions {
    Instructions {
        meter: Some(MeterId(6)),
        apply: Some(actions().into()),
        clear: true,
        write: Some(
            [Action::Output {
                port: OfPort(9),
                max_len: 0,
            }]
            .into(),
        ),
        metadata: Some((0x5, 0xff)),
        goto: Some(TableId(7)),
    }
}

/// A flow with everything in it.
fn flow_mod() -> FlowMod {
    FlowMod {
        command: FlowModCommand::Add,
        cookie: 0x55,
        cookie_mask: 0,
        table: TableId(3),
        idle_timeout_s: 60,
        hard_timeout_s: 600,
        priority: 1234,
        buffer_id: None,
        out_port: OfPort::ANY,
        out_group: GroupId::ANY,
        flags: FlowFlags {
            send_flow_removed: true,
            check_overlap: true,
            reset_counts: true,
            no_packet_counts: true,
            no_byte_counts: true,
        },
        matching: tcp(),
        instructions: instructions(),
    }
}

/// A neighbour solicitation with every field of its own.
fn solicitation() -> Match {
    matching(&[
        (Field::EthType, 0x86dd, ALL),
        (Field::IpProto, 58, ALL),
        (Field::Ipv6Src, 0xfe80 << 112, 0xffff << 112),
        (Field::Ipv6Dst, 0xff02 << 112 | 1, ALL),
        (Field::Ipv6Flabel, 0x12345, ALL),
        (Field::Icmpv6Type, 135, ALL),
        (Field::Icmpv6Code, 0, ALL),
        (Field::NdTarget, 0xfe80 << 112 | 7, ALL),
        (Field::NdSll, 0x0200_0000_0003, ALL),
    ])
}

fn arp() -> Match {
    matching(&[
        (Field::EthType, 0x0806, ALL),
        (Field::ArpOp, 1, ALL),
        (Field::ArpSpa, 0x0a00_0001, ALL),
        (Field::ArpTpa, 0x0a00_0002, 0xffff_ff00),
        (Field::ArpSha, 0x0200_0000_0001, ALL),
        (Field::ArpTha, 0x0200_0000_0002, ALL),
    ])
}

fn mpls() -> Match {
    matching(&[
        (Field::EthType, 0x8847, ALL),
        (Field::MplsLabel, 0x1_2345, ALL),
        (Field::MplsTc, 5, ALL),
        (Field::MplsBos, 1, ALL),
        (Field::TunnelId, 0x99, ALL),
    ])
}

fn fragment() -> Match {
    matching(&[
        (Field::EthType, 0x0800, ALL),
        (Field::IpDscp, 46, ALL),
        (Field::IpEcn, 2, ALL),
        (Field::IpTtl, 64, ALL),
        (Field::IpFrag, 1, ALL),
    ])
}

fn delete(matching: Match) -> Message {
    Message::FlowMod(Box::new(FlowMod {
        command: FlowModCommand::Delete,
        cookie: 0x10,
        cookie_mask: 0xf0,
        table: TableId::ALL,
        idle_timeout_s: 0,
        hard_timeout_s: 0,
        priority: 0x8000,
        buffer_id: None,
        out_port: OfPort(5),
        out_group: GroupId::ANY,
        flags: FlowFlags::default(),
        matching,
        instructions: Instructions::default(),
    }))
}

fn bucket(weight: u16, watch_port: OfPort, port: u32) -> Bucket {
    let output = Action::Output {
        port: OfPort(port),
        max_len: 0,
    };
    Bucket {
        weight,
        watch_port,
        watch_group: GroupId::ANY,
        actions: [output].into(),
    }
}

fn group_mod(command: GroupModCommand, kind: GroupKind, buckets: Vec<Bucket>) -> Message {
    Message::GroupMod(GroupMod {
        command,
        kind,
        group: GroupId(3),
        buckets,
    })
}

/// A meter with both bands.
fn bands() -> Vec<Band> {
    vec![
        Band::Drop {
            rate: 1000,
            burst: 100,
        },
        Band::DscpRemark {
            rate: 500,
            burst: 50,
            precedence: 1,
        },
    ]
}

/// A port that is up.
fn port(number: u32, name: &str) -> PortDesc {
    PortDesc {
        number: OfPort(number),
        mac: [2, 0, 0, 0, 0, number as u8],
        name: name.into(),
        config: PortConfig::default(),
        state: PortState {
            live: true,
            ..PortState::default()
        },
        current: PortFeatures(PortFeatures::GB_10_FULL.0 | PortFeatures::FIBER.0),
        advertised: PortFeatures::default(),
        supported: PortFeatures::GB_10_FULL,
        peer: PortFeatures::default(),
        speed_kbps: 10_000_000,
        speed_kbps_max: 10_000_000,
    }
}

/// Statistics of a port, every counter another.
fn port_stats() -> PortStats {
    PortStats {
        port: OfPort(1),
        rx_packets: 1,
        tx_packets: 2,
        rx_bytes: 3,
        tx_bytes: 4,
        rx_dropped: 5,
        tx_dropped: 6,
        rx_errors: 7,
        tx_errors: 8,
        rx_frame_errors: 9,
        rx_overrun_errors: 10,
        rx_crc_errors: 11,
        collisions: 12,
        duration: Duration::from_millis(13_500),
    }
}

/// A flow with statistics.
fn flow_stats() -> FlowStats {
    FlowStats {
        table: TableId(3),
        duration: Duration::from_millis(12_345),
        priority: 1234,
        idle_timeout_s: 60,
        hard_timeout_s: 600,
        flags: FlowFlags {
            send_flow_removed: true,
            ..FlowFlags::default()
        },
        cookie: 0x55,
        packets: 7,
        bytes: 700,
        matching: tcp(),
        instructions: instructions(),
    }
}

/// A table with every property, fields such as Open vSwitch knows too.
fn table_features() -> TableFeatures {
    let foreign = [Field::InPhyPort, Field::PbbIsid, Field::Ipv6Exthdr];
    let known = Field::ALL
        .iter()
        .copied()
        .filter(|field| *field <= Field::TcpFlags && !foreign.contains(field));
    let plain = |field| FieldFeature {
        field,
        masked: false,
    };
    let fields: Vec<FieldFeature> = known.map(plain).collect();
    let kinds = InstructionKind::ALL.to_vec();
    let actions = ActionKind::ALL.to_vec();
    let mut properties = vec![
        TableProperty::Match(
            fields
                .iter()
                .map(|one| FieldFeature {
                    masked: one.field.maskable(),
                    ..*one
                })
                .collect(),
        ),
        TableProperty::Wildcards(fields.clone()),
    ];
    for miss in [false, true] {
        let fields = fields.clone();
        properties.extend([
            TableProperty::Instructions {
                miss,
                kinds: kinds.clone(),
            },
            TableProperty::NextTables {
                miss,
                tables: (1..254).map(TableId).collect(),
            },
            TableProperty::WriteActions {
                miss,
                kinds: actions.clone(),
            },
            TableProperty::ApplyActions {
                miss,
                kinds: actions.clone(),
            },
            TableProperty::WriteSetField {
                miss,
                fields: fields.clone(),
            },
            TableProperty::ApplySetField { miss, fields },
        ]);
    }
    TableFeatures {
        table: TableId(0),
        name: "classifier".into(),
        metadata_match: u64::MAX,
        metadata_write: u64::MAX,
        config: 0,
        entries_max: 1_000_000,
        properties,
    }
}

fn request(request: MultipartRequest) -> Message {
    Message::MultipartRequest {
        more: false,
        request,
    }
}

fn reply(reply: MultipartReply) -> Message {
    Message::MultipartReply { more: false, reply }
}

fn some_flows() -> Box<FlowStatsRequest> {
    let matching = matching(&[(Field::InPort, 7, ALL)]);
    Box::new(FlowStatsRequest {
        table: TableId(1),
        matching,
        ..FlowStatsRequest::default()
    })
}

/// Messages that are no statistics.
pub fn plain() -> Vec<Message> {
    let frame = vec![0xaa; 60];
    let with_port = matching(&[(Field::InPort, 5, ALL), (Field::TunnelId, 0x77, ALL)]);
    vec![
        Message::Hello(Hello {
            version: Version::V1_3,
            bitmap: Some(Versions(0x10)),
        }),
        Message::Error(ErrorMessage {
            code: ErrorCode::FLOW_MOD_FAILED_OVERLAP,
            experimenter: None,
            data: vec![4, 20, 0, 8, 0, 0, 0, 5],
        }),
        Message::EchoRequest(b"12345678".to_vec()),
        Message::EchoReply(b"12345678".to_vec()),
        Message::FeaturesRequest,
        Message::FeaturesReply(Features {
            datapath_id: 0x1234_5678,
            buffers: 256,
            tables: 254,
            auxiliary_id: 0,
            capabilities: Capabilities {
                flow_stats: true,
                table_stats: true,
                port_stats: true,
                group_stats: true,
                ip_reassembly: false,
                queue_stats: true,
                port_blocked: false,
            },
        }),
        Message::ConfigRequest,
        Message::ConfigReply(SwitchConfig {
            fragments: Fragments::Drop,
            miss_send_len: 128,
        }),
        Message::SetConfig(SwitchConfig {
            fragments: Fragments::Normal,
            miss_send_len: 0xffff,
        }),
        Message::PacketIn(Box::new(PacketIn {
            buffer_id: Some(0x111),
            total_len: 1500,
            reason: PacketInReason::InvalidTtl,
            table: TableId(5),
            cookie: 0xdead,
            matching: with_port,
            data: frame.clone(),
        })),
        Message::FlowRemoved(Box::new(FlowRemoved {
            cookie: 0x55,
            priority: 9,
            reason: FlowRemovedReason::HardTimeout,
            table: TableId(3),
            duration: Duration::from_millis(7_500),
            idle_timeout_s: 1,
            hard_timeout_s: 2,
            packets: 3,
            bytes: 4,
            matching: arp(),
        })),
        Message::PortStatus(PortStatus {
            reason: PortReason::Delete,
            port: port(1, "vm1"),
        }),
        Message::PacketOut(PacketOut {
            buffer_id: None,
            in_port: OfPort::CONTROLLER,
            actions: [Action::Output {
                port: OfPort::TABLE,
                max_len: 0,
            }]
            .into(),
            data: frame,
        }),
        Message::PortMod(PortMod {
            port: OfPort(3),
            mac: [2, 0, 0, 0, 0, 3],
            config: PortConfig {
                port_down: true,
                ..PortConfig::default()
            },
            mask: PortConfig {
                port_down: true,
                no_packet_in: true,
                ..PortConfig::default()
            },
            advertise: PortFeatures::GB_10_FULL,
        }),
        Message::TableMod(TableMod {
            table: TableId(2),
            config: 0,
        }),
        Message::BarrierRequest,
        Message::BarrierReply,
        Message::QueueConfigRequest(OfPort(3)),
        Message::QueueConfigReply(QueueConfig {
            port: OfPort(3),
            queues: vec![Queue {
                queue: QueueId(4),
                port: OfPort(3),
                rate_permille_min: Some(100),
                rate_permille_max: Some(500),
            }],
        }),
        Message::RoleRequest(RoleMessage {
            role: Role::Master,
            generation_id: 2,
        }),
        Message::RoleReply(RoleMessage {
            role: Role::Slave,
            generation_id: 3,
        }),
        Message::AsyncRequest,
        Message::AsyncReply(AsyncConfig::default()),
        Message::SetAsync(AsyncConfig {
            master: AsyncMasks {
                packet_in: 7,
                port_status: 1,
                flow_removed: 2,
            },
            slave: AsyncMasks {
                packet_in: 1,
                port_status: 7,
                flow_removed: 4,
            },
        }),
    ]
}

/// Messages that change flows, groups and meters.
pub fn changes() -> Vec<Message> {
    let meter = |command, meter, bands| {
        let flags = MeterFlags {
            packets: true,
            burst: true,
            stats: true,
        };
        Message::MeterMod(MeterMod {
            command,
            flags,
            meter: MeterId(meter),
            bands,
        })
    };
    vec![
        Message::FlowMod(Box::new(flow_mod())),
        delete(solicitation()),
        delete(arp()),
        delete(mpls()),
        delete(fragment()),
        group_mod(
            GroupModCommand::Add,
            GroupKind::Select,
            vec![bucket(10, OfPort::ANY, 1), bucket(20, OfPort::ANY, 2)],
        ),
        group_mod(
            GroupModCommand::Modify,
            GroupKind::FastFailover,
            vec![bucket(0, OfPort(1), 1), bucket(0, OfPort(2), 2)],
        ),
        group_mod(GroupModCommand::Delete, GroupKind::All, Vec::new()),
        meter(MeterModCommand::Add, 6, bands()),
        meter(
            MeterModCommand::Modify,
            6,
            vec![Band::Drop { rate: 1, burst: 2 }],
        ),
    ]
}

/// Every multipart request.
pub fn requests() -> Vec<Message> {
    [
        MultipartRequest::Description,
        MultipartRequest::Flow(some_flows()),
        MultipartRequest::Aggregate(some_flows()),
        MultipartRequest::Table,
        MultipartRequest::PortStats(OfPort::ANY),
        MultipartRequest::Queue {
            port: OfPort(3),
            queue: QueueId::ALL,
        },
        MultipartRequest::Group(GroupId(3)),
        MultipartRequest::GroupDesc,
        MultipartRequest::GroupFeatures,
        MultipartRequest::Meter(MeterId(6)),
        MultipartRequest::MeterConfig(MeterId::ALL),
        MultipartRequest::MeterFeatures,
        MultipartRequest::TableFeatures(Vec::new()),
        MultipartRequest::PortDesc,
    ]
    .map(request)
    .to_vec()
}

/// Every multipart reply.
pub fn replies() -> Vec<Message> {
    [
        MultipartReply::Description(Description {
            manufacturer: "maker".into(),
            hardware: "hard".into(),
            software: "soft".into(),
            serial_number: "None".into(),
            datapath: "br0".into(),
        }),
        MultipartReply::Flow(vec![flow_stats()]),
        MultipartReply::Aggregate(AggregateStats {
            packets: 1,
            bytes: 2,
            flows: 3,
        }),
        MultipartReply::Table(vec![TableStats {
            table: TableId(0),
            active: 1,
            lookups: 3,
            matched: 2,
        }]),
        MultipartReply::PortStats(vec![port_stats()]),
        MultipartReply::Queue(vec![QueueStats {
            port: OfPort(3),
            queue: QueueId(4),
            tx_bytes: 1,
            tx_packets: 2,
            tx_errors: 3,
            duration: Duration::from_millis(4_500),
        }]),
    ]
    .map(reply)
    .into_iter()
    .chain(group_replies())
    .chain(meter_replies())
    .chain([
        reply(MultipartReply::TableFeatures(vec![table_features()])),
        reply(MultipartReply::PortDesc(vec![
            port(1, "vm1"),
            port(2, "vm2"),
        ])),
    ])
    .collect()
}

fn group_replies() -> [Message; 3] {
    [
        MultipartReply::Group(vec![GroupStats {
            group: GroupId(3),
            references: 1,
            packets: 2,
            bytes: 3,
            duration: Duration::from_millis(4_500),
            buckets: vec![
                BucketStats {
                    packets: 5,
                    bytes: 6,
                },
                BucketStats {
                    packets: 7,
                    bytes: 8,
                },
            ],
        }]),
        MultipartReply::GroupDesc(vec![GroupDesc {
            group: GroupId(3),
            kind: GroupKind::Indirect,
            buckets: vec![bucket(0, OfPort::ANY, 1)],
        }]),
        MultipartReply::GroupFeatures(GroupFeatures {
            kinds: 0b1111,
            capabilities: GroupCapabilities {
                select_weight: true,
                select_liveness: true,
                chaining: true,
                chaining_checks: true,
            },
            groups_max: [1, 2, 3, 4],
            actions: [1 << 0, 1 << 22, 1 << 25, 1 << 0 | 1 << 18],
        }),
    ]
    .map(reply)
}

fn meter_replies() -> [Message; 3] {
    [
        MultipartReply::Meter(vec![MeterStats {
            meter: MeterId(6),
            flows: 1,
            packets: 2,
            bytes: 3,
            duration: Duration::from_millis(4_500),
            bands: vec![
                BandStats {
                    packets: 5,
                    bytes: 6,
                },
                BandStats {
                    packets: 7,
                    bytes: 8,
                },
            ],
        }]),
        MultipartReply::MeterConfig(vec![MeterConfig {
            meter: MeterId(6),
            flags: MeterFlags {
                packets: false,
                burst: true,
                stats: true,
            },
            bands: bands(),
        }]),
        MultipartReply::MeterFeatures(MeterFeatures {
            meters_max: 100,
            drop: true,
            dscp_remark: true,
            kbps: true,
            pktps: true,
            burst: true,
            stats: true,
            bands_max: 8,
            colors_max: 0,
        }),
    ]
    .map(reply)
}

/// The sample that answers a request.
pub fn reply_to(request: &MultipartRequest) -> Vec<Message> {
    let asks = |message: &Message| match message {
        Message::MultipartRequest {
            request: sample, ..
        } => std::mem::discriminant(sample) == std::mem::discriminant(request),
        _ => false,
    };
    let answered = requests()
        .into_iter()
        .zip(replies())
        .filter(|(question, _)| asks(question));
    answered.map(|(_, reply)| reply).collect()
}
