//! Random OpenFlow messages: every kind, every field, with prerequisites where they belong.
//!
//! Only what can be said in OpenFlow 1.3 and is said in one way: decoding what was encoded gives
//! the same value back.

use std::sync::Arc;
use std::time::Duration;

use flowtable::{Field, Match};
use openflow::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

mod flows;
mod groups;
mod nicira;
mod statistics;

pub use flows::*;
use groups::*;
use statistics::*;

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
        nicira::message().prop_map(Message::Nicira),
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
        bundle_control().prop_map(Message::Bundle),
        any::<u32>().prop_map(|id| Message::MonitorCancel(MonitorId(id))),
    ]
    .boxed()
}

fn bundle_control() -> BoxedStrategy<BundleControl> {
    let steps = vec![
        BundleStep::OpenRequest,
        BundleStep::OpenReply,
        BundleStep::CloseRequest,
        BundleStep::CloseReply,
        BundleStep::CommitRequest,
        BundleStep::CommitReply,
        BundleStep::DiscardRequest,
        BundleStep::DiscardReply,
    ];
    (any::<u32>(), select(steps), any::<u16>())
        .prop_map(|(bundle, step, flags)| BundleControl {
            bundle: BundleId(bundle),
            step,
            flags: BundleFlags(flags),
        })
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
        select(vec![
            Message::BarrierReply,
            Message::MonitorPaused,
            Message::MonitorResumed,
        ]),
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
