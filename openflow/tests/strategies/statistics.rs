//! Random multipart requests and replies.

use super::*;

pub(super) fn flow_stats_request() -> BoxedStrategy<Box<FlowStatsRequest>> {
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

pub(super) fn multipart_request() -> BoxedStrategy<MultipartRequest> {
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
        vec(flow_monitor(), 0..4).prop_map(MultipartRequest::FlowMonitor),
        experimenter().prop_map(MultipartRequest::Experimenter),
    ]
    .boxed()
}

pub(super) fn multipart_reply() -> BoxedStrategy<MultipartReply> {
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
        vec(port_desc(), short.clone()).prop_map(MultipartReply::PortDesc),
        vec(flow_update(), short).prop_map(MultipartReply::FlowMonitor),
        experimenter().prop_map(MultipartReply::Experimenter),
    ]
    .boxed()
}

fn flow_monitor() -> BoxedStrategy<FlowMonitor> {
    (any::<[u32; 2]>(), any::<u8>(), 0..64u16, matching())
        .prop_filter("asks for some change", |(.., flags, _)| {
            MonitorFlags(*flags).are_valid()
        })
        .prop_map(|([id, out_port], table, flags, matching)| FlowMonitor {
            id: MonitorId(id),
            flags: MonitorFlags(flags),
            table: TableId(table),
            out_port: OfPort(out_port),
            matching,
        })
        .boxed()
}

fn flow_update() -> BoxedStrategy<FlowUpdate> {
    let events = vec![
        FlowEvent::Added,
        FlowEvent::Deleted(FlowRemovedReason::IdleTimeout),
        FlowEvent::Deleted(FlowRemovedReason::HardTimeout),
        FlowEvent::Deleted(FlowRemovedReason::Delete),
        FlowEvent::Deleted(FlowRemovedReason::GroupDelete),
        FlowEvent::Deleted(FlowRemovedReason::MeterDelete),
        FlowEvent::Modified,
    ];
    let full = (select(events), flow_stats())
        .prop_map(|(event, flow)| FlowUpdate::Full(Box::new(FlowChange::new(event, flow))));
    let short = any::<u32>().prop_map(|xid| FlowUpdate::Abbreviated(Xid(xid)));
    prop_oneof![3 => full, 1 => short].boxed()
}

pub(super) fn description() -> BoxedStrategy<Description> {
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

pub(super) fn table_stats() -> BoxedStrategy<TableStats> {
    (any::<u8>(), any::<u32>(), any::<[u64; 2]>())
        .prop_map(|(table, active, [lookups, matched])| TableStats {
            table: TableId(table),
            active,
            lookups,
            matched,
        })
        .boxed()
}

pub(super) fn port_stats() -> BoxedStrategy<PortStats> {
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

pub(super) fn queue_stats() -> BoxedStrategy<QueueStats> {
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

pub(super) fn group_stats() -> BoxedStrategy<GroupStats> {
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

pub(super) fn group_desc() -> BoxedStrategy<GroupDesc> {
    (0..=GroupId::MAX.0, kind_and_buckets())
        .prop_map(|(group, (kind, buckets))| GroupDesc {
            group: GroupId(group),
            kind,
            buckets,
        })
        .boxed()
}

pub(super) fn group_features() -> BoxedStrategy<GroupFeatures> {
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

pub(super) fn meter_stats() -> BoxedStrategy<MeterStats> {
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

pub(super) fn meter_config() -> BoxedStrategy<MeterConfig> {
    (meter(), meter_flags(), vec(band(), 0..4))
        .prop_map(|(meter, flags, bands)| MeterConfig {
            meter,
            flags,
            bands,
        })
        .boxed()
}

pub(super) fn meter_features() -> BoxedStrategy<MeterFeatures> {
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

pub(super) fn table_features() -> BoxedStrategy<TableFeatures> {
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

pub(super) fn table_property() -> BoxedStrategy<TableProperty> {
    let miss = any::<bool>;
    let actions = || subsequence(ActionKind::ALL, 0..=ActionKind::ALL.len());
    let instructions = subsequence(InstructionKind::ALL, 0..=InstructionKind::ALL.len());
    let fields = || {
        let plain = Field::ALL.iter().copied();
        let plain: Vec<Field> = plain.filter(|field| !field.is_tunnel_option()).collect();
        let most = plain.len();
        let fields = subsequence(plain, 0..=most);
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
