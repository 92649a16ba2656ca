//! Random OpenFlow messages: every kind, every field, with prerequisites where they belong.
//!
//! Only what can be said in OpenFlow 1.3 and is said in one way: decoding what was encoded gives
//! the same value back.

use std::sync::Arc;
use std::time::Duration;

use flowtable::{Field, Match, VLAN_PRESENT};
use openflow::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Any message.
pub fn message() -> BoxedStrategy<Message> {
    prop_oneof![
        requests(),
        replies(),
        (any::<bool>(), multipart_request())
            .prop_map(|(more, request)| { Message::MultipartRequest { more, request } }),
        (any::<bool>(), multipart_reply())
            .prop_map(|(more, reply)| Message::MultipartReply { more, reply }),
    ]
    .boxed()
}

fn requests() -> BoxedStrategy<Message> {
    prop_oneof![
        hello().prop_map(Message::Hello),
        data().prop_map(Message::EchoRequest),
        experimenter().prop_map(Message::Experimenter),
        select(vec![
            Message::FeaturesRequest,
            Message::ConfigRequest,
            Message::BarrierRequest,
            Message::AsyncRequest,
        ]),
        switch_config().prop_map(Message::SetConfig),
        packet_out().prop_map(Message::PacketOut),
        flow_mod().prop_map(|flow_mod| Message::FlowMod(Box::new(flow_mod))),
        group_mod().prop_map(Message::GroupMod),
        port_mod().prop_map(Message::PortMod),
        (table(), 0..4u32)
            .prop_map(|(table, config)| Message::TableMod(TableMod { table, config })),
        any::<u32>().prop_map(|port| Message::QueueConfigRequest(OfPort(port))),
        role().prop_map(Message::RoleRequest),
        async_config().prop_map(Message::SetAsync),
        meter_mod().prop_map(Message::MeterMod),
    ]
    .boxed()
}

fn replies() -> BoxedStrategy<Message> {
    prop_oneof![
        error().prop_map(Message::Error),
        data().prop_map(Message::EchoReply),
        features().prop_map(Message::FeaturesReply),
        switch_config().prop_map(Message::ConfigReply),
        packet_in().prop_map(|packet| Message::PacketIn(Box::new(packet))),
        flow_removed().prop_map(|removed| Message::FlowRemoved(Box::new(removed))),
        (
            select(vec![
                PortReason::Add,
                PortReason::Delete,
                PortReason::Modify
            ]),
            port_desc()
        )
            .prop_map(|(reason, port)| Message::PortStatus(PortStatus { reason, port })),
        Just(Message::BarrierReply),
        queue_config().prop_map(Message::QueueConfigReply),
        role().prop_map(Message::RoleReply),
        async_config().prop_map(Message::AsyncReply),
    ]
    .boxed()
}

fn data() -> BoxedStrategy<Vec<u8>> {
    vec(any::<u8>(), 0..200).boxed()
}

fn duration() -> BoxedStrategy<Duration> {
    (any::<u32>(), 0..1_000_000_000u32)
        .prop_map(|(seconds, nanos)| Duration::new(seconds.into(), nanos))
        .boxed()
}

fn text(len: usize) -> BoxedStrategy<String> {
    vec("[!-~]", 0..=len)
        .prop_map(|characters| characters.concat())
        .boxed()
}

fn hello() -> BoxedStrategy<Hello> {
    (any::<u8>(), option::of(any::<u32>()))
        .prop_map(|(version, bitmap)| Hello {
            version: Version(version),
            bitmap: bitmap.map(Versions),
        })
        .boxed()
}

fn experimenter() -> BoxedStrategy<Experimenter> {
    (any::<u32>(), any::<u32>(), data())
        .prop_map(|(experimenter, kind, data)| Experimenter {
            experimenter,
            kind,
            data,
        })
        .boxed()
}

fn error() -> BoxedStrategy<ErrorMessage> {
    (0..14u16, 0..16u16, option::of(any::<u32>()), data())
        .prop_map(|(kind, code, experimenter, data)| {
            let kind = if experimenter.is_some() {
                ErrorCode::EXPERIMENTER
            } else {
                kind
            };
            ErrorMessage {
                code: ErrorCode { kind, code },
                experimenter,
                data,
            }
        })
        .boxed()
}

fn features() -> BoxedStrategy<Features> {
    (
        any::<u64>(),
        any::<u32>(),
        any::<u8>(),
        any::<u8>(),
        any::<[bool; 7]>(),
    )
        .prop_map(
            |(datapath_id, buffers, tables, auxiliary_id, bits)| Features {
                datapath_id,
                buffers,
                tables,
                auxiliary_id,
                capabilities: Capabilities {
                    flow_stats: bits[0],
                    table_stats: bits[1],
                    port_stats: bits[2],
                    group_stats: bits[3],
                    ip_reassembly: bits[4],
                    queue_stats: bits[5],
                    port_blocked: bits[6],
                },
            },
        )
        .boxed()
}

fn switch_config() -> BoxedStrategy<SwitchConfig> {
    let fragments = vec![Fragments::Normal, Fragments::Drop, Fragments::Reassemble];
    (select(fragments), any::<u16>())
        .prop_map(|(fragments, miss_send_len)| SwitchConfig {
            fragments,
            miss_send_len,
        })
        .boxed()
}

fn role() -> BoxedStrategy<RoleMessage> {
    (
        select(vec![Role::NoChange, Role::Equal, Role::Master, Role::Slave]),
        any::<u64>(),
    )
        .prop_map(|(role, generation_id)| RoleMessage {
            role,
            generation_id,
        })
        .boxed()
}

fn async_config() -> BoxedStrategy<AsyncConfig> {
    let masks = any::<[u32; 3]>().prop_map(|[packet_in, port_status, flow_removed]| AsyncMasks {
        packet_in,
        port_status,
        flow_removed,
    });
    (masks.clone(), masks)
        .prop_map(|(master, slave)| AsyncConfig { master, slave })
        .boxed()
}

fn buffer() -> BoxedStrategy<Option<u32>> {
    option::of(0..u32::MAX).boxed()
}

fn table() -> BoxedStrategy<TableId> {
    (0..=TableId::LAST.0).prop_map(TableId).boxed()
}

/// A port that can be output to, in a flow or a bucket.
fn out_port() -> BoxedStrategy<OfPort> {
    prop_oneof![
        (1..=OfPort::MAX.0).prop_map(OfPort),
        select(vec![
            OfPort::IN_PORT,
            OfPort::NORMAL,
            OfPort::FLOOD,
            OfPort::ALL,
            OfPort::CONTROLLER,
            OfPort::LOCAL,
        ]),
    ]
    .boxed()
}

/// A match whose fields have their prerequisites; any field may be in it.
pub fn matching() -> BoxedStrategy<Match> {
    let eth_types = vec![
        0x0800, 0x0806, 0x86dd, 0x8847, 0x8848, 0x88e7, 0x8035, 0x1234,
    ];
    let protocols = vec![1, 6, 17, 58, 132, 200];
    let types = vec![135, 136, 128];
    let field = (any::<u128>(), any::<u128>(), 0..3u8);
    (
        select(eth_types),
        select(protocols),
        select(types),
        vec(field, Field::ALL.len()),
    )
        .prop_map(|(eth_type, protocol, icmpv6_type, fields)| {
            let mut matching = Match::default();
            for (&field, (value, mask, use_of)) in Field::ALL.iter().zip(fields) {
                let value = match field {
                    Field::EthType => eth_type,
                    Field::IpProto => protocol,
                    Field::Icmpv6Type => icmpv6_type,
                    _ => value,
                };
                let mask = if use_of == 2 && field.maskable() {
                    mask
                } else {
                    field.ones()
                };
                if use_of > 0 && !matching.missing_prerequisite(field) {
                    matching.set(field, value, mask);
                }
            }
            matching
        })
        .boxed()
}

fn set_field() -> BoxedStrategy<Action> {
    let constant = [
        Field::InPort,
        Field::InPhyPort,
        Field::Metadata,
        Field::Ipv6Exthdr,
        Field::IpFrag,
        Field::TcpFlags,
    ];
    let fields = Field::ALL
        .iter()
        .copied()
        .filter(|field| !constant.contains(field));
    (select(fields.collect::<Vec<_>>()), any::<u128>())
        .prop_map(|(field, value)| {
            let present = if field == Field::VlanVid {
                u128::from(VLAN_PRESENT)
            } else {
                0
            };
            let value = value & field.ones() | present;
            Action::SetField {
                field,
                value,
                mask: field.ones(),
            }
        })
        .boxed()
}

fn action() -> BoxedStrategy<Action> {
    prop_oneof![
        (out_port(), any::<u16>()).prop_map(|(port, max_len)| Action::Output { port, max_len }),
        (0..=GroupId::MAX.0).prop_map(|group| Action::Group(GroupId(group))),
        (0..QueueId::ALL.0).prop_map(|queue| Action::SetQueue(QueueId(queue))),
        set_field(),
        select(vec![
            Action::PushVlan(0x8100),
            Action::PushVlan(0x88a8),
            Action::PopVlan,
            Action::PushMpls(0x8847),
            Action::PushMpls(0x8848),
            Action::PushPbb(0x88e7),
            Action::PopPbb,
            Action::DecMplsTtl,
            Action::DecNwTtl,
            Action::CopyTtlIn,
            Action::CopyTtlOut,
        ]),
        any::<u16>().prop_map(Action::PopMpls),
        any::<u8>().prop_map(Action::SetMplsTtl),
        any::<u8>().prop_map(Action::SetNwTtl),
    ]
    .boxed()
}

fn actions() -> BoxedStrategy<Arc<[Action]>> {
    vec(action(), 0..6).prop_map(Arc::from).boxed()
}

/// Instructions of a flow in `table`: packets go on to later tables only.
fn instructions(table: TableId) -> BoxedStrategy<Instructions> {
    let goto = match table {
        TableId::ALL | TableId::LAST => Just(None).boxed(),
        _ => option::of((table.0 + 1..=TableId::LAST.0).prop_map(TableId)).boxed(),
    };
    (
        option::of(any::<u32>().prop_map(MeterId)),
        option::of(actions()),
        any::<bool>(),
        option::of(actions()),
        option::of(any::<(u64, u64)>()),
        goto,
    )
        .prop_map(
            |(meter, apply, clear, write, metadata, goto)| Instructions {
                meter,
                apply,
                clear,
                write,
                metadata,
                goto,
            },
        )
        .boxed()
}

fn flow_flags() -> BoxedStrategy<FlowFlags> {
    any::<[bool; 5]>()
        .prop_map(|bits| FlowFlags {
            send_flow_removed: bits[0],
            check_overlap: bits[1],
            reset_counts: bits[2],
            no_packet_counts: bits[3],
            no_byte_counts: bits[4],
        })
        .boxed()
}

fn command_and_table() -> BoxedStrategy<(FlowModCommand, TableId)> {
    let changes = vec![
        FlowModCommand::Add,
        FlowModCommand::Modify,
        FlowModCommand::ModifyStrict,
    ];
    let deletes = vec![FlowModCommand::Delete, FlowModCommand::DeleteStrict];
    prop_oneof![
        (select(changes), table()),
        (select(deletes), prop_oneof![table(), Just(TableId::ALL)]),
    ]
    .boxed()
}

pub fn flow_mod() -> BoxedStrategy<FlowMod> {
    command_and_table()
        .prop_flat_map(|(command, table)| {
            let rest = (
                any::<[u64; 2]>(),
                any::<[u16; 3]>(),
                buffer(),
                any::<[u32; 2]>(),
                flow_flags(),
                matching(),
                instructions(table),
            );
            (Just(command), Just(table), rest)
        })
        .prop_map(
            |(command, table, (cookies, shorts, buffer_id, outs, flags, matching, todo))| FlowMod {
                command,
                cookie: cookies[0],
                cookie_mask: cookies[1],
                table,
                idle_timeout_s: shorts[0],
                hard_timeout_s: shorts[1],
                priority: shorts[2],
                buffer_id,
                out_port: OfPort(outs[0]),
                out_group: GroupId(outs[1]),
                flags,
                matching,
                instructions: todo,
            },
        )
        .boxed()
}

fn flow_removed() -> BoxedStrategy<FlowRemoved> {
    let reasons = vec![
        FlowRemovedReason::IdleTimeout,
        FlowRemovedReason::HardTimeout,
        FlowRemovedReason::Delete,
        FlowRemovedReason::GroupDelete,
    ];
    (
        any::<[u64; 3]>(),
        any::<[u16; 3]>(),
        select(reasons),
        table(),
        duration(),
        matching(),
    )
        .prop_map(
            |(longs, shorts, reason, table, duration, matching)| FlowRemoved {
                cookie: longs[0],
                priority: shorts[0],
                reason,
                table,
                duration,
                idle_timeout_s: shorts[1],
                hard_timeout_s: shorts[2],
                packets: longs[1],
                bytes: longs[2],
                matching,
            },
        )
        .boxed()
}

fn packet_in() -> BoxedStrategy<PacketIn> {
    let reasons = vec![
        PacketInReason::NoMatch,
        PacketInReason::Action,
        PacketInReason::InvalidTtl,
    ];
    let about = (
        buffer(),
        any::<u16>(),
        select(reasons),
        table(),
        any::<u64>(),
    );
    (about, matching(), data())
        .prop_map(
            |((buffer_id, total_len, reason, table, cookie), matching, data)| PacketIn {
                buffer_id,
                total_len,
                reason,
                table,
                cookie,
                matching,
                data,
            },
        )
        .boxed()
}

fn packet_out() -> BoxedStrategy<PacketOut> {
    let in_port = prop_oneof![
        (1..=OfPort::MAX.0).prop_map(OfPort),
        select(vec![OfPort::CONTROLLER, OfPort::LOCAL, OfPort::ANY]),
    ];
    (buffer(), in_port, actions(), data(), any::<bool>())
        .prop_map(|(buffer_id, in_port, actions, data, table)| {
            let to_table = Action::Output {
                port: OfPort::TABLE,
                max_len: 0,
            };
            let actions = if table { [to_table].into() } else { actions };
            PacketOut {
                buffer_id,
                in_port,
                actions,
                data,
            }
        })
        .boxed()
}

fn kind() -> BoxedStrategy<GroupKind> {
    select(vec![
        GroupKind::All,
        GroupKind::Select,
        GroupKind::Indirect,
        GroupKind::FastFailover,
    ])
    .boxed()
}

/// A bucket that a group of this kind may have.
fn bucket(kind: GroupKind) -> BoxedStrategy<Bucket> {
    let (port, group) = (any::<u32>(), any::<u32>());
    let weight = if kind == GroupKind::Select {
        any::<u16>().boxed()
    } else {
        Just(0).boxed()
    };
    let watch = match kind {
        GroupKind::All | GroupKind::Indirect => Just((OfPort::ANY, GroupId::ANY)).boxed(),
        GroupKind::Select => (port.prop_map(OfPort), group.prop_map(GroupId)).boxed(),
        GroupKind::FastFailover => (
            port.prop_map(|port| OfPort(port >> 1)),
            group.prop_map(GroupId),
        )
            .boxed(),
    };
    (weight, watch, actions())
        .prop_map(|(weight, (watch_port, watch_group), actions)| Bucket {
            weight,
            watch_port,
            watch_group,
            actions,
        })
        .boxed()
}

fn kind_and_buckets() -> BoxedStrategy<(GroupKind, Vec<Bucket>)> {
    kind()
        .prop_flat_map(|kind| {
            let len = if kind == GroupKind::Indirect {
                1..2
            } else {
                0..5
            };
            (Just(kind), vec(bucket(kind), len))
        })
        .boxed()
}

fn group_mod() -> BoxedStrategy<GroupMod> {
    let commands = vec![
        GroupModCommand::Add,
        GroupModCommand::Modify,
        GroupModCommand::Delete,
    ];
    (
        select(commands),
        0..=GroupId::MAX.0,
        any::<bool>(),
        kind_and_buckets(),
    )
        .prop_map(|(command, group, all, (kind, buckets))| {
            let delete = command == GroupModCommand::Delete;
            let group = if delete && all {
                GroupId::ALL
            } else {
                GroupId(group)
            };
            let buckets = if delete { Vec::new() } else { buckets };
            GroupMod {
                command,
                kind,
                group,
                buckets,
            }
        })
        .boxed()
}

fn band() -> BoxedStrategy<Band> {
    let rates = any::<(u32, u32)>();
    prop_oneof![
        rates.prop_map(|(rate, burst)| Band::Drop { rate, burst }),
        (any::<(u32, u32)>(), 1..=u8::MAX).prop_map(|((rate, burst), precedence)| {
            Band::DscpRemark {
                rate,
                burst,
                precedence,
            }
        }),
    ]
    .boxed()
}

fn meter_flags() -> BoxedStrategy<MeterFlags> {
    any::<[bool; 3]>()
        .prop_map(|[packets, burst, stats]| MeterFlags {
            packets,
            burst,
            stats,
        })
        .boxed()
}

fn meter() -> BoxedStrategy<MeterId> {
    prop_oneof![
        (1..=MeterId::MAX.0).prop_map(MeterId),
        select(vec![MeterId::SLOWPATH, MeterId::CONTROLLER]),
    ]
    .boxed()
}

fn meter_mod() -> BoxedStrategy<MeterMod> {
    let change = (
        select(vec![MeterModCommand::Add, MeterModCommand::Modify]),
        meter_flags(),
        meter(),
        vec(band(), 0..4),
    );
    prop_oneof![
        change.prop_map(|(command, flags, meter, bands)| MeterMod {
            command,
            flags,
            meter,
            bands
        }),
        prop_oneof![meter(), Just(MeterId::ALL)].prop_map(|meter| MeterMod {
            command: MeterModCommand::Delete,
            flags: MeterFlags::default(),
            meter,
            bands: Vec::new(),
        }),
    ]
    .boxed()
}

fn port_config() -> BoxedStrategy<PortConfig> {
    any::<[bool; 4]>()
        .prop_map(
            |[port_down, no_receive, no_forward, no_packet_in]| PortConfig {
                port_down,
                no_receive,
                no_forward,
                no_packet_in,
            },
        )
        .boxed()
}

fn port_desc() -> BoxedStrategy<PortDesc> {
    let state = any::<[bool; 3]>().prop_map(|[link_down, blocked, live]| PortState {
        link_down,
        blocked,
        live,
    });
    (
        any::<u32>(),
        any::<[u8; 6]>(),
        text(15),
        port_config(),
        state,
        any::<[u32; 6]>(),
    )
        .prop_map(|(number, mac, name, config, state, words)| PortDesc {
            number: OfPort(number),
            mac,
            name,
            config,
            state,
            current: PortFeatures(words[0] & 0xffff),
            advertised: PortFeatures(words[1] & 0xffff),
            supported: PortFeatures(words[2] & 0xffff),
            peer: PortFeatures(words[3] & 0xffff),
            speed_kbps: words[4],
            speed_kbps_max: words[5],
        })
        .boxed()
}

fn port_mod() -> BoxedStrategy<PortMod> {
    (
        any::<u32>(),
        any::<[u8; 6]>(),
        port_config(),
        port_config(),
        any::<u16>(),
    )
        .prop_map(|(port, mac, config, mask, advertise)| PortMod {
            port: OfPort(port),
            mac,
            config,
            mask,
            advertise: PortFeatures(advertise.into()),
        })
        .boxed()
}

fn queue_config() -> BoxedStrategy<QueueConfig> {
    let rate = || option::of(0..=1000u16);
    let queue = (any::<[u32; 2]>(), rate(), rate()).prop_map(|(ids, min, max)| Queue {
        queue: QueueId(ids[0]),
        port: OfPort(ids[1]),
        rate_permille_min: min,
        rate_permille_max: max,
    });
    (any::<u32>(), vec(queue, 0..4))
        .prop_map(|(port, queues)| QueueConfig {
            port: OfPort(port),
            queues,
        })
        .boxed()
}

fn flow_stats_request() -> BoxedStrategy<Box<FlowStatsRequest>> {
    (
        any::<u8>(),
        any::<[u32; 2]>(),
        any::<[u64; 2]>(),
        matching(),
    )
        .prop_map(|(table, outs, cookies, matching)| {
            Box::new(FlowStatsRequest {
                table: TableId(table),
                out_port: OfPort(outs[0]),
                out_group: GroupId(outs[1]),
                cookie: cookies[0],
                cookie_mask: cookies[1],
                matching,
            })
        })
        .boxed()
}

fn multipart_request() -> BoxedStrategy<MultipartRequest> {
    prop_oneof![
        select(vec![
            MultipartRequest::Description,
            MultipartRequest::Table,
            MultipartRequest::GroupDesc,
            MultipartRequest::GroupFeatures,
            MultipartRequest::MeterFeatures,
            MultipartRequest::PortDesc,
        ]),
        flow_stats_request().prop_map(MultipartRequest::Flow),
        flow_stats_request().prop_map(MultipartRequest::Aggregate),
        any::<u32>().prop_map(|port| MultipartRequest::PortStats(OfPort(port))),
        any::<[u32; 2]>().prop_map(|[port, queue]| MultipartRequest::Queue {
            port: OfPort(port),
            queue: QueueId(queue),
        }),
        any::<u32>().prop_map(|group| MultipartRequest::Group(GroupId(group))),
        any::<u32>().prop_map(|meter| MultipartRequest::Meter(MeterId(meter))),
        any::<u32>().prop_map(|meter| MultipartRequest::MeterConfig(MeterId(meter))),
        vec(table_features(), 0..3).prop_map(MultipartRequest::TableFeatures),
        experimenter().prop_map(MultipartRequest::Experimenter),
    ]
    .boxed()
}

fn multipart_reply() -> BoxedStrategy<MultipartReply> {
    let short = 0..4usize;
    prop_oneof![
        description().prop_map(MultipartReply::Description),
        vec(flow_stats(), short.clone()).prop_map(MultipartReply::Flow),
        (any::<[u64; 2]>(), any::<u32>()).prop_map(|([packets, bytes], flows)| {
            MultipartReply::Aggregate(AggregateStats {
                packets,
                bytes,
                flows,
            })
        }),
        vec(table_stats(), short.clone()).prop_map(MultipartReply::Table),
        vec(port_stats(), short.clone()).prop_map(MultipartReply::PortStats),
        vec(queue_stats(), short.clone()).prop_map(MultipartReply::Queue),
        vec(group_stats(), short.clone()).prop_map(MultipartReply::Group),
        vec(group_desc(), short.clone()).prop_map(MultipartReply::GroupDesc),
        group_features().prop_map(MultipartReply::GroupFeatures),
        vec(meter_stats(), short.clone()).prop_map(MultipartReply::Meter),
        vec(meter_config(), short.clone()).prop_map(MultipartReply::MeterConfig),
        meter_features().prop_map(MultipartReply::MeterFeatures),
        vec(table_features(), short.clone()).prop_map(MultipartReply::TableFeatures),
        vec(port_desc(), short).prop_map(MultipartReply::PortDesc),
        experimenter().prop_map(MultipartReply::Experimenter),
    ]
    .boxed()
}

fn description() -> BoxedStrategy<Description> {
    (text(255), text(255), text(255), text(31), text(255))
        .prop_map(
            |(manufacturer, hardware, software, serial_number, datapath)| Description {
                manufacturer,
                hardware,
                software,
                serial_number,
                datapath,
            },
        )
        .boxed()
}

pub fn flow_stats() -> BoxedStrategy<FlowStats> {
    table()
        .prop_flat_map(|table| {
            let rest = (
                any::<[u64; 3]>(),
                any::<[u16; 3]>(),
                flow_flags(),
                matching(),
            );
            (Just(table), duration(), rest, instructions(table))
        })
        .prop_map(
            |(table, duration, (longs, shorts, flags, matching), instructions)| FlowStats {
                table,
                duration,
                priority: shorts[0],
                idle_timeout_s: shorts[1],
                hard_timeout_s: shorts[2],
                flags,
                cookie: longs[0],
                packets: longs[1],
                bytes: longs[2],
                matching,
                instructions,
            },
        )
        .boxed()
}

fn table_stats() -> BoxedStrategy<TableStats> {
    (any::<u8>(), any::<u32>(), any::<[u64; 2]>())
        .prop_map(|(table, active, [lookups, matched])| TableStats {
            table: TableId(table),
            active,
            lookups,
            matched,
        })
        .boxed()
}

fn port_stats() -> BoxedStrategy<PortStats> {
    (any::<u32>(), any::<[u64; 12]>(), duration())
        .prop_map(|(port, counters, duration)| PortStats {
            port: OfPort(port),
            rx_packets: counters[0],
            tx_packets: counters[1],
            rx_bytes: counters[2],
            tx_bytes: counters[3],
            rx_dropped: counters[4],
            tx_dropped: counters[5],
            rx_errors: counters[6],
            tx_errors: counters[7],
            rx_frame_errors: counters[8],
            rx_overrun_errors: counters[9],
            rx_crc_errors: counters[10],
            collisions: counters[11],
            duration,
        })
        .boxed()
}

fn queue_stats() -> BoxedStrategy<QueueStats> {
    (any::<[u32; 2]>(), any::<[u64; 3]>(), duration())
        .prop_map(
            |([port, queue], [tx_bytes, tx_packets, tx_errors], duration)| QueueStats {
                port: OfPort(port),
                queue: QueueId(queue),
                tx_bytes,
                tx_packets,
                tx_errors,
                duration,
            },
        )
        .boxed()
}

fn group_stats() -> BoxedStrategy<GroupStats> {
    let buckets = vec(any::<[u64; 2]>(), 0..4);
    (any::<[u32; 2]>(), any::<[u64; 2]>(), duration(), buckets)
        .prop_map(
            |([group, references], [packets, bytes], duration, buckets)| GroupStats {
                group: GroupId(group),
                references,
                packets,
                bytes,
                duration,
                buckets: buckets
                    .into_iter()
                    .map(|[packets, bytes]| BucketStats { packets, bytes })
                    .collect(),
            },
        )
        .boxed()
}

fn group_desc() -> BoxedStrategy<GroupDesc> {
    (0..=GroupId::MAX.0, kind_and_buckets())
        .prop_map(|(group, (kind, buckets))| GroupDesc {
            group: GroupId(group),
            kind,
            buckets,
        })
        .boxed()
}

fn group_features() -> BoxedStrategy<GroupFeatures> {
    (
        0..16u32,
        any::<[bool; 4]>(),
        any::<[u32; 4]>(),
        any::<[u32; 4]>(),
    )
        .prop_map(|(kinds, bits, groups_max, actions)| GroupFeatures {
            kinds,
            capabilities: GroupCapabilities {
                select_weight: bits[0],
                select_liveness: bits[1],
                chaining: bits[2],
                chaining_checks: bits[3],
            },
            groups_max,
            actions,
        })
        .boxed()
}

fn meter_stats() -> BoxedStrategy<MeterStats> {
    let bands = vec(any::<[u64; 2]>(), 0..4);
    (meter(), any::<u32>(), any::<[u64; 2]>(), duration(), bands)
        .prop_map(
            |(meter, flows, [packets, bytes], duration, bands)| MeterStats {
                meter,
                flows,
                packets,
                bytes,
                duration,
                bands: bands
                    .into_iter()
                    .map(|[packets, bytes]| BandStats { packets, bytes })
                    .collect(),
            },
        )
        .boxed()
}

fn meter_config() -> BoxedStrategy<MeterConfig> {
    (meter(), meter_flags(), vec(band(), 0..4))
        .prop_map(|(meter, flags, bands)| MeterConfig {
            meter,
            flags,
            bands,
        })
        .boxed()
}

fn meter_features() -> BoxedStrategy<MeterFeatures> {
    (any::<u32>(), any::<[bool; 6]>(), any::<[u8; 2]>())
        .prop_map(
            |(meters_max, bits, [bands_max, colors_max])| MeterFeatures {
                meters_max,
                drop: bits[0],
                dscp_remark: bits[1],
                kbps: bits[2],
                pktps: bits[3],
                burst: bits[4],
                stats: bits[5],
                bands_max,
                colors_max,
            },
        )
        .boxed()
}

fn table_features() -> BoxedStrategy<TableFeatures> {
    (
        table(),
        text(31),
        any::<[u64; 2]>(),
        0..4u32,
        any::<u32>(),
        vec(table_property(), 0..8),
    )
        .prop_map(
            |(table, name, metadata, config, entries_max, properties)| TableFeatures {
                table,
                name,
                metadata_match: metadata[0],
                metadata_write: metadata[1],
                config,
                entries_max,
                properties,
            },
        )
        .boxed()
}

fn table_property() -> BoxedStrategy<TableProperty> {
    let miss = any::<bool>;
    let actions = || subsequence(ActionKind::ALL, 0..=ActionKind::ALL.len());
    let instructions = subsequence(InstructionKind::ALL, 0..=InstructionKind::ALL.len());
    let fields = || {
        let fields = subsequence(Field::ALL, 0..=Field::ALL.len());
        let with_mask = |fields: Vec<Field>| {
            let feature = |field: Field| FieldFeature {
                field,
                masked: field.maskable(),
            };
            fields.into_iter().map(feature).collect::<Vec<_>>()
        };
        fields.prop_map(with_mask)
    };
    prop_oneof![
        (miss(), instructions)
            .prop_map(|(miss, kinds)| TableProperty::Instructions { miss, kinds }),
        (miss(), vec(table(), 0..9))
            .prop_map(|(miss, tables)| TableProperty::NextTables { miss, tables }),
        (miss(), actions()).prop_map(|(miss, kinds)| TableProperty::WriteActions { miss, kinds }),
        (miss(), actions()).prop_map(|(miss, kinds)| TableProperty::ApplyActions { miss, kinds }),
        fields().prop_map(TableProperty::Match),
        fields().prop_map(TableProperty::Wildcards),
        (miss(), fields()).prop_map(|(miss, fields)| TableProperty::WriteSetField { miss, fields }),
        (miss(), fields()).prop_map(|(miss, fields)| TableProperty::ApplySetField { miss, fields }),
        (miss(), experimenter())
            .prop_map(|(miss, property)| TableProperty::Experimenter { miss, property }),
    ]
    .boxed()
}
