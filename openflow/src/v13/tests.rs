//! Whole messages by hand: known bytes in and out, what is too short, and every error code that
//! the decoder can give. Round trips are properties (`tests/round_trip.rs`).

use std::time::Duration;

use flowtable::{Field, Match};

use super::*;
use crate::{
    Action, FlowFlags, FlowMod, FlowModCommand, FlowStats, GroupId, Instructions, MultipartReply,
    MultipartRequest, OfPort, PortConfig, PortDesc, PortFeatures, PortState, Role, RoleMessage,
    TableId,
};

/// A message of these parts, with a header.
fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![4, kind];
    bytes.extend_from_slice(&((HEADER_LEN + body.len()) as u16).to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 7]);
    bytes.extend_from_slice(&body);
    bytes
}

fn error(kind: u8, parts: &[&[u8]]) -> ErrorCode {
    let error = decode(&message(kind, parts)).expect_err("wrong on purpose");
    assert_eq!(error.xid, Xid(7));
    error.code
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(Xid(7), message, &mut bytes).expect("short enough");
    bytes
}

const EMPTY_MATCH: &[u8] = &[0, 1, 0, 4, 0, 0, 0, 0];

/// The fixed part of a flow modification up to the match.
fn flow_mod(table: u8, command: u8, flags: u8) -> Vec<u8> {
    let mut body = vec![0; 40];
    body[16] = table;
    body[17] = command;
    body[23] = 9;
    body[24..28].fill(0xff);
    body[28..36].fill(0xff);
    body[37] = flags;
    body
}

fn sample() -> FlowMod {
    let mut matching = Match::default();
    matching.set(Field::InPort, 1, u128::MAX);
    FlowMod {
        command: FlowModCommand::Add,
        cookie: 0x0102_0304_0506_0708,
        cookie_mask: 0,
        table: TableId(3),
        idle_timeout_s: 60,
        hard_timeout_s: 600,
        priority: 0x8000,
        buffer_id: None,
        out_port: OfPort::ANY,
        out_group: GroupId::ANY,
        flags: FlowFlags {
            send_flow_removed: true,
            ..FlowFlags::default()
        },
        matching,
        instructions: Instructions {
            apply: Some(
                [Action::Output {
                    port: OfPort(2),
                    max_len: 0,
                }]
                .into(),
            ),
            ..Instructions::default()
        },
    }
}

const SAMPLE: [u8; 88] = [
    4, 14, 0, 88, 0, 0, 0, 7, // header
    1, 2, 3, 4, 5, 6, 7, 8, // cookie
    0, 0, 0, 0, 0, 0, 0, 0, // cookie mask
    3, 0, 0, 60, 2, 88, 0x80, 0, // table, command, timeouts, priority
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // buffer, out port
    0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, // out group, flags
    0, 1, 0, 12, 0x80, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, // match
    0, 4, 0, 24, 0, 0, 0, 0, // apply actions
    0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, // output
];

#[test]
fn a_flow_mod_decodes() {
    assert_eq!(
        decode(&SAMPLE),
        Ok((Xid(7), Message::FlowMod(Box::new(sample()))))
    );
}

#[test]
fn a_flow_mod_encodes() {
    assert_eq!(encoded(&Message::FlowMod(Box::new(sample()))), SAMPLE);
}

#[test]
fn a_port_status_encodes() {
    let port = PortDesc {
        number: OfPort(5),
        mac: [2, 0, 0, 0, 0, 5],
        name: "vm5".into(),
        config: PortConfig {
            port_down: true,
            ..PortConfig::default()
        },
        state: PortState {
            link_down: true,
            ..PortState::default()
        },
        current: PortFeatures::GB_10_FULL,
        advertised: PortFeatures::default(),
        supported: PortFeatures::default(),
        peer: PortFeatures::default(),
        speed_kbps: 10_000_000,
        speed_kbps_max: 0,
    };
    let wanted = message(
        12,
        &[
            &[2, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 5, 0, 0, 0, 0, 2, 0, 0, 0, 0, 5, 0, 0],
            b"vm5\0\0\0\0\0\0\0\0\0\0\0\0\0",
            &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0x40, 0, 0, 0, 0],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0x98, 0x96, 0x80, 0, 0, 0, 0],
        ],
    );
    let status = crate::PortStatus {
        reason: crate::PortReason::Modify,
        port,
    };
    assert_eq!(encoded(&Message::PortStatus(status)), wanted);
}

#[test]
fn a_role_reply_decodes() {
    let bytes = message(25, &[&[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]]);
    let role = RoleMessage {
        role: Role::Master,
        generation_id: 256,
    };
    assert_eq!(decode(&bytes), Ok((Xid(7), Message::RoleReply(role))));
}

#[test]
fn every_message_too_short_is_a_bad_length() {
    // Kinds with bodies of a fixed length, and that length.
    let fixed = [
        (5, 0),
        (7, 0),
        (20, 0),
        (21, 0),
        (26, 0), // requests without a body
        (6, 24),
        (8, 4),
        (9, 4),
        (12, 72),
        (16, 32),
        (17, 8),
        (22, 8),
        (24, 16),
        (25, 16),
        (27, 24),
        (28, 24),
    ];
    for (kind, len) in fixed {
        let bytes = vec![0; len + 8];
        for short in 0..len {
            assert_eq!(
                error(kind, &[&bytes[..short]]),
                ErrorCode::BAD_REQUEST_BAD_LEN,
                "{kind}"
            );
        }
        assert!(decode(&message(kind, &[&bytes[..len]])).is_ok(), "{kind}");
        assert_eq!(
            error(kind, &[&bytes]),
            ErrorCode::BAD_REQUEST_BAD_LEN,
            "{kind}"
        );
    }
    for len in 0..SAMPLE.len() {
        assert_eq!(
            decode(&SAMPLE[..len]).map_err(|error| error.code),
            Err(ErrorCode::BAD_REQUEST_BAD_LEN)
        );
    }
}

#[test]
fn headers_are_checked() {
    let mut old = SAMPLE;
    old[0] = 1;
    let error_of = |bytes: &[u8]| decode(bytes).expect_err("wrong on purpose").code;
    assert_eq!(error_of(&old), ErrorCode::BAD_REQUEST_BAD_VERSION);
    assert_eq!(error(30, &[]), ErrorCode::BAD_REQUEST_BAD_TYPE);
    assert_eq!(
        decode(&[4, 20, 0, 8]),
        Err(DecodeError {
            xid: Xid(0),
            code: ErrorCode::BAD_REQUEST_BAD_LEN,
        })
    );
    let mut hello = message(0, &[]);
    hello[0] = 1;
    assert!(decode(&hello).is_ok(), "hellos are of any version");
}

#[test]
fn flow_mods_are_checked() {
    let flow = |table, command, flags, rest: &[u8]| {
        error(14, &[&flow_mod(table, command, flags), EMPTY_MATCH, rest])
    };
    assert_eq!(flow(0, 5, 0, &[]), ErrorCode::FLOW_MOD_FAILED_BAD_COMMAND);
    assert_eq!(flow(0, 0, 0x20, &[]), ErrorCode::FLOW_MOD_FAILED_BAD_FLAGS);
    assert_eq!(
        flow(255, 0, 0, &[]),
        ErrorCode::FLOW_MOD_FAILED_BAD_TABLE_ID
    );
    assert_eq!(
        flow(254, 3, 0, &[]),
        ErrorCode::FLOW_MOD_FAILED_BAD_TABLE_ID
    );
    let goto = [0, 1, 0, 8, 5, 0, 0, 0];
    assert_eq!(
        flow(5, 0, 0, &goto),
        ErrorCode::BAD_INSTRUCTION_BAD_TABLE_ID
    );
    assert_eq!(
        flow(0, 0, 0, &goto[..4]),
        ErrorCode::BAD_INSTRUCTION_BAD_LEN
    );
    assert!(decode(&message(14, &[&flow_mod(255, 3, 0), EMPTY_MATCH])).is_ok());
    assert!(decode(&message(14, &[&flow_mod(4, 0, 0), EMPTY_MATCH, &goto])).is_ok());
    assert_eq!(
        error(14, &[&flow_mod(0, 0, 0)]),
        ErrorCode::BAD_MATCH_BAD_LEN
    );
}

#[test]
fn packet_outs_are_checked() {
    let packet_out = |in_port: [u8; 4], actions_len: u8, rest: &[u8]| {
        let buffer = [0xff; 4];
        decode(&message(
            13,
            &[&buffer, &in_port, &[0, actions_len, 0, 0, 0, 0, 0, 0], rest],
        ))
        .map_err(|error| error.code)
    };
    let controller = [0xff, 0xff, 0xff, 0xfd];
    assert!(packet_out(controller, 0, b"frame").is_ok());
    assert_eq!(
        packet_out([0xff, 0xff, 0xff, 0xfb], 0, &[]),
        Err(ErrorCode::BAD_REQUEST_BAD_PORT)
    );
    assert_eq!(
        packet_out(controller, 8, &[]),
        Err(ErrorCode::BAD_REQUEST_BAD_LEN)
    );
    assert_eq!(
        packet_out(controller, 4, &[0; 4]),
        Err(ErrorCode::BAD_ACTION_BAD_LEN)
    );
}

fn group_mod(command: u8, kind: u8, group: u32, buckets: &[&[u8]]) -> Result<Message, ErrorCode> {
    let group = group.to_be_bytes();
    let bytes = message(15, &[&[0, command, kind, 0], &group, &buckets.concat()]);
    decode(&bytes)
        .map(|(_, message)| message)
        .map_err(|error| error.code)
}

fn bucket(weight: u8, watch_port: u8) -> [u8; 16] {
    let port = if watch_port == 0xff { 0xff } else { 0 };
    [
        0, 16, 0, weight, port, port, port, watch_port, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
    ]
}

#[test]
fn group_mods_are_checked() {
    let plain = bucket(0, 0xff);
    let invalid = Err(ErrorCode::GROUP_MOD_FAILED_INVALID_GROUP);
    assert!(group_mod(0, 0, 1, &[&plain, &plain]).is_ok());
    assert_eq!(
        group_mod(3, 0, 1, &[]),
        Err(ErrorCode::GROUP_MOD_FAILED_BAD_COMMAND)
    );
    assert_eq!(
        group_mod(0, 4, 1, &[]),
        Err(ErrorCode::GROUP_MOD_FAILED_BAD_TYPE)
    );
    assert_eq!(group_mod(0, 0, GroupId::ALL.0, &[]), invalid);
    assert!(group_mod(2, 0, GroupId::ALL.0, &[]).is_ok());
    assert_eq!(group_mod(2, 0, GroupId::ANY.0, &[]), invalid);
    assert_eq!(group_mod(0, 2, 1, &[]), invalid, "indirect has one bucket");
    assert_eq!(group_mod(0, 2, 1, &[&plain, &plain]), invalid);
    assert_eq!(
        group_mod(0, 0, 1, &[&bucket(1, 0xff)]),
        invalid,
        "weights are for select"
    );
    assert!(group_mod(0, 1, 1, &[&bucket(1, 0xff)]).is_ok());
    let unsupported = Err(ErrorCode::GROUP_MOD_FAILED_WATCH_UNSUPPORTED);
    assert_eq!(group_mod(0, 0, 1, &[&bucket(0, 1)]), unsupported);
    assert_eq!(
        group_mod(0, 3, 1, &[&plain]),
        invalid,
        "fast failover watches"
    );
    assert!(group_mod(0, 3, 1, &[&bucket(0, 1)]).is_ok());
}

#[test]
fn buckets_are_checked() {
    let bad = Err(ErrorCode::GROUP_MOD_FAILED_BAD_BUCKET);
    let plain = bucket(0, 0xff);
    for len in 1..plain.len() {
        assert_eq!(group_mod(0, 0, 1, &[&plain[..len]]), bad);
    }
    let mut odd = plain;
    odd[1] = 12;
    assert_eq!(group_mod(0, 0, 1, &[&odd]), bad);
    odd[1] = 0;
    assert_eq!(group_mod(0, 0, 1, &[&odd]), bad);
    let mut with_action = plain;
    with_action[1] = 24;
    let unknown = [0, 99, 0, 8, 0, 0, 0, 0];
    let refused = group_mod(0, 0, 1, &[&with_action, &unknown]);
    assert_eq!(refused, Err(ErrorCode::BAD_ACTION_BAD_TYPE));
    let many = vec![&plain[..]; BUCKETS_MAX + 1];
    assert_eq!(
        group_mod(0, 0, 1, &many),
        Err(ErrorCode::GROUP_MOD_FAILED_OUT_OF_BUCKETS)
    );
    assert!(group_mod(0, 0, 1, &many[1..]).is_ok());
}

fn meter_mod(command: u8, flags: u8, meter: u32, bands: &[&[u8]]) -> Result<Message, ErrorCode> {
    let meter = meter.to_be_bytes();
    let bytes = message(29, &[&[0, command, 0, flags], &meter, &bands.concat()]);
    decode(&bytes)
        .map(|(_, message)| message)
        .map_err(|error| error.code)
}

#[test]
fn meter_mods_are_checked() {
    let drop = [0, 1, 0, 16, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0];
    let remark = [0, 2, 0, 16, 0, 0, 0, 9, 0, 0, 0, 0, 1, 0, 0, 0];
    assert!(meter_mod(0, 1, 1, &[&drop, &remark]).is_ok());
    assert_eq!(
        meter_mod(3, 1, 1, &[]),
        Err(ErrorCode::METER_MOD_FAILED_BAD_COMMAND)
    );
    assert_eq!(
        meter_mod(0, 3, 1, &[]),
        Err(ErrorCode::METER_MOD_FAILED_BAD_FLAGS)
    );
    assert_eq!(
        meter_mod(0, 16, 1, &[]),
        Err(ErrorCode::METER_MOD_FAILED_BAD_FLAGS)
    );
    let invalid = Err(ErrorCode::METER_MOD_FAILED_INVALID_METER);
    for meter in [0, 0xffff_0001, 0xffff_ffff] {
        assert_eq!(meter_mod(0, 1, meter, &[]), invalid, "{meter:#x}");
    }
    assert!(meter_mod(2, 0, 0xffff_ffff, &[]).is_ok());
    assert!(meter_mod(0, 1, 0xffff_fffe, &[]).is_ok());
    let mut strange = drop;
    strange[1] = 3;
    assert_eq!(
        meter_mod(0, 1, 1, &[&strange]),
        Err(ErrorCode::METER_MOD_FAILED_BAD_BAND)
    );
    let mut level = remark;
    level[12] = 0;
    assert_eq!(
        meter_mod(0, 1, 1, &[&level]),
        Err(ErrorCode::METER_MOD_FAILED_BAD_BAND_VALUE)
    );
    for len in 1..drop.len() {
        let short = meter_mod(0, 1, 1, &[&drop[..len]]);
        assert_eq!(short, Err(ErrorCode::BAD_REQUEST_BAD_LEN));
    }
    let many = vec![&drop[..]; BANDS_MAX + 1];
    assert_eq!(
        meter_mod(0, 1, 1, &many),
        Err(ErrorCode::METER_MOD_FAILED_OUT_OF_BANDS)
    );
}

#[test]
fn settings_are_checked() {
    assert_eq!(
        error(9, &[&[0, 3, 0, 0]]),
        ErrorCode::SWITCH_CONFIG_FAILED_BAD_FLAGS
    );
    assert_eq!(
        error(17, &[&[254, 0, 0, 0, 0, 0, 0, 0]]),
        ErrorCode::TABLE_MOD_FAILED_BAD_TABLE
    );
    assert_eq!(
        error(17, &[&[0, 0, 0, 0, 0, 0, 0, 4]]),
        ErrorCode::TABLE_MOD_FAILED_BAD_CONFIG
    );
    let role = [[0, 0, 0, 4].as_slice(), &[0; 12]].concat();
    assert_eq!(error(24, &[&role]), ErrorCode::ROLE_REQUEST_FAILED_BAD_ROLE);
    let mut port_mod = [0; 32];
    port_mod[19] = 2;
    assert_eq!(
        error(16, &[&port_mod]),
        ErrorCode::PORT_MOD_FAILED_BAD_CONFIG
    );
    (port_mod[19], port_mod[23]) = (0, 2);
    assert_eq!(
        error(16, &[&port_mod]),
        ErrorCode::PORT_MOD_FAILED_BAD_CONFIG
    );
    (port_mod[23], port_mod[25]) = (0, 1);
    assert_eq!(
        error(16, &[&port_mod]),
        ErrorCode::PORT_MOD_FAILED_BAD_ADVERTISE
    );
}

#[test]
fn multipart_requests_are_checked() {
    let multipart = |kind: u8, body: &[u8]| error(18, &[&[0, kind, 0, 0, 0, 0, 0, 0], body]);
    assert_eq!(multipart(14, &[]), ErrorCode::BAD_REQUEST_BAD_MULTIPART);
    assert_eq!(error(18, &[&[0; 7]]), ErrorCode::BAD_REQUEST_BAD_LEN);
    for (kind, len) in [
        (0, 0),
        (3, 0),
        (4, 8),
        (5, 8),
        (6, 8),
        (9, 8),
        (10, 8),
        (13, 0),
    ] {
        assert_eq!(
            multipart(kind, &vec![0; len + 1]),
            ErrorCode::BAD_REQUEST_BAD_LEN
        );
        if len > 0 {
            assert_eq!(
                multipart(kind, &vec![0; len - 1]),
                ErrorCode::BAD_REQUEST_BAD_LEN
            );
        }
    }
    assert_eq!(multipart(1, &[0; 32]), ErrorCode::BAD_MATCH_BAD_LEN);
    assert_eq!(multipart(1, &[0; 31]), ErrorCode::BAD_REQUEST_BAD_LEN);
    let more = message(18, &[&[0, 13, 0, 1, 0, 0, 0, 0]]);
    let request = MultipartRequest::PortDesc;
    assert_eq!(
        decode(&more),
        Ok((
            Xid(7),
            Message::MultipartRequest {
                more: true,
                request
            }
        ))
    );
}

#[test]
fn table_features_are_checked() {
    let features = |properties: &[u8]| {
        let len = (64 + properties.len()) as u16;
        let head = [&[0, 12, 0, 0, 0, 0, 0, 0], &len.to_be_bytes()[..], &[0; 62]].concat();
        decode(&message(18, &[&head, properties])).map_err(|error| error.code)
    };
    assert!(features(&[]).is_ok());
    assert!(features(&[0, 2, 0, 6, 1, 2, 0, 0]).is_ok());
    let bad_len = Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_LEN);
    assert_eq!(features(&[0, 2, 0, 3, 0, 0, 0, 0]), bad_len);
    assert_eq!(features(&[0, 2, 0, 9, 0, 0, 0, 0]), bad_len);
    assert_eq!(features(&[0, 0, 0, 6, 0, 1, 0, 0]), bad_len);
    let bad_type = Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_TYPE);
    assert_eq!(features(&[0, 9, 0, 4, 0, 0, 0, 0]), bad_type);
    let bad_argument = Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_ARGUMENT);
    assert_eq!(features(&[0, 0, 0, 8, 0, 99, 0, 4]), bad_argument);
    assert_eq!(features(&[0, 4, 0, 8, 0, 99, 0, 4]), bad_argument);
    assert_eq!(features(&[0, 8, 0, 8, 0x80, 0, 0xf0, 4]), bad_argument);
}

#[test]
fn what_may_be_cut_is_cut_and_all_else_refused() {
    let mut out = vec![1, 2, 3];
    let data = vec![0; MESSAGE_LEN_MAX];
    let echo = Message::EchoReply(data.clone());
    assert_eq!(encode(Xid(7), &echo, &mut out), Ok(()));
    assert_eq!(out.len(), 3 + MESSAGE_LEN_MAX);
    let experimenter = Experimenter {
        experimenter: 1,
        kind: 2,
        data,
    };
    let refused = encode(Xid(7), &Message::Experimenter(experimenter), &mut out);
    assert_eq!(refused, Err(EncodeError::TooLong));
    assert_eq!(out.len(), 3 + MESSAGE_LEN_MAX, "and nothing of it is left");
}

fn flow_stats(priority: u16) -> FlowStats {
    let sample = sample();
    FlowStats {
        table: sample.table,
        duration: Duration::from_millis(1500),
        priority,
        idle_timeout_s: 0,
        hard_timeout_s: 0,
        flags: FlowFlags::default(),
        cookie: 0,
        packets: 1,
        bytes: 60,
        matching: sample.matching,
        instructions: sample.instructions,
    }
}

/// Decodes messages one after the other: the priorities of the flows in each, and whether more
/// follows.
fn priorities(mut bytes: &[u8]) -> Vec<(Vec<u16>, bool)> {
    let mut messages = Vec::new();
    while let Some(header) = Header::decode(bytes) {
        let (message, rest) = bytes.split_at(header.len.into());
        bytes = rest;
        match decode(message).expect("we wrote it").1 {
            Message::MultipartReply {
                more,
                reply: MultipartReply::Flow(flows),
            } => {
                messages.push((flows.iter().map(|flow| flow.priority).collect(), more));
            }
            other => panic!("not a flow reply: {other:?}"),
        }
    }
    messages
}

#[test]
fn a_long_reply_becomes_full_messages() {
    let flows = (0..10_000).map(flow_stats).collect();
    let reply = MultipartReply::Flow(flows);
    let messages = priorities(&encoded(&Message::MultipartReply { more: false, reply }));
    let per_message = (MESSAGE_LEN_MAX - 16) / 88;
    assert_eq!(messages.len(), 10_000_usize.div_ceil(per_message));
    for (index, (flows, more)) in messages.iter().enumerate() {
        let last = index + 1 == messages.len();
        assert_eq!(*more, !last);
        assert!(last || flows.len() == per_message, "{}", flows.len());
    }
    let all: Vec<u16> = messages.into_iter().flat_map(|(flows, _)| flows).collect();
    assert!(all.iter().copied().eq(0..10_000));
}

#[test]
fn a_stream_needs_the_memory_of_one_message() {
    let pieces = (0..500u16).map(|piece| {
        let flows = (0..=piece % 7).map(|_| flow_stats(piece)).collect();
        MultipartReply::Flow(flows)
    });
    let mut stream = ReplyStream::new(Xid(7), MultipartReply::Flow(Vec::new()), pieces);
    let mut all = Vec::new();
    let mut out = Vec::new();
    loop {
        out.clear();
        let more = stream.encode_next(&mut out).expect("short entries");
        assert!(out.len() <= MESSAGE_LEN_MAX);
        let [(flows, marked)] = &priorities(&out)[..] else {
            panic!("one message at a time")
        };
        assert_eq!(*marked, more);
        all.extend_from_slice(flows);
        if !more {
            break;
        }
    }
    let wanted = (0..500u16).flat_map(|piece| (0..=piece % 7).map(move |_| piece));
    assert!(all.into_iter().eq(wanted));
}

#[test]
fn a_message_ends_where_nothing_is_to_be_had_yet() {
    let piece = |flows: &[u16]| {
        let flows = flows.iter().map(|number| flow_stats(*number)).collect();
        MultipartReply::Flow(flows)
    };
    let pieces = [
        piece(&[]),
        piece(&[1, 2]),
        piece(&[]),
        piece(&[]),
        piece(&[3]),
    ];
    let mut stream = ReplyStream::new(Xid(7), piece(&[]), pieces.into_iter());
    let mut next = || {
        let mut out = Vec::new();
        let more = stream.encode_next(&mut out).expect("short entries");
        (more, priorities(&out))
    };
    assert_eq!(next(), (true, vec![]));
    assert_eq!(next(), (true, vec![(vec![1, 2], true)]));
    assert_eq!(next(), (true, vec![]));
    assert_eq!(next(), (false, vec![(vec![3], false)]));
}

#[test]
fn an_empty_reply_is_one_message() {
    let mut stream = ReplyStream::new(
        Xid(7),
        MultipartReply::Group(Vec::new()),
        std::iter::empty(),
    );
    let mut out = Vec::new();
    assert_eq!(stream.encode_next(&mut out), Ok(false));
    assert_eq!(out, message(19, &[&[0, 6, 0, 0, 0, 0, 0, 0]]));
}

#[test]
fn an_entry_too_long_for_any_message_is_left_out() {
    let huge = crate::GroupStats {
        group: GroupId(1),
        references: 0,
        packets: 0,
        bytes: 0,
        duration: Duration::ZERO,
        buckets: vec![crate::BucketStats::default(); BUCKETS_MAX + 100],
    };
    let small = crate::GroupStats {
        buckets: Vec::new(),
        ..huge.clone()
    };
    let first = MultipartReply::Group(vec![huge, small.clone()]);
    let mut stream = ReplyStream::new(Xid(7), first, std::iter::empty());
    let mut out = Vec::new();
    assert_eq!(stream.encode_next(&mut out), Err(EncodeError::TooLong));
    assert!(out.is_empty());
    assert_eq!(stream.encode_next(&mut out), Ok(false));
    let reply = MultipartReply::Group(vec![small]);
    assert_eq!(
        decode(&out),
        Ok((Xid(7), Message::MultipartReply { more: false, reply }))
    );
}

#[test]
fn whatever_can_be_set_up_can_be_described() {
    // The longest flow that the decoder takes: two full lists of the longest action.
    let long = Action::SetField {
        field: Field::Ipv6Src,
        value: 0,
        mask: u128::MAX,
    };
    let actions: std::sync::Arc<[Action]> = vec![long; ACTIONS_MAX].into();
    let mut flow = flow_stats(0);
    flow.instructions.apply = Some(actions.clone());
    flow.instructions.write = Some(actions);
    let reply = MultipartReply::Flow(vec![flow]);
    assert!(
        encode(
            Xid(7),
            &Message::MultipartReply { more: false, reply },
            &mut Vec::new()
        )
        .is_ok()
    );
    let describe = |message: Message| {
        let Message::GroupMod(group) = message else {
            panic!("a group modification")
        };
        let stats = crate::GroupStats {
            group: group.group,
            references: 0,
            packets: 0,
            bytes: 0,
            duration: Duration::ZERO,
            buckets: vec![crate::BucketStats::default(); group.buckets.len()],
        };
        let (group, kind, buckets) = (group.group, group.kind, group.buckets);
        let desc = crate::GroupDesc {
            group,
            kind,
            buckets,
        };
        let replies = [
            MultipartReply::Group(vec![stats]),
            MultipartReply::GroupDesc(vec![desc]),
        ];
        for reply in replies {
            assert_eq!(
                encoded(&Message::MultipartReply { more: false, reply })[9] & !1,
                6
            );
        }
    };
    // The group of most buckets, and the group of most bytes.
    describe(group_mod(0, 0, 1, &vec![&bucket(0, 0xff)[..]; BUCKETS_MAX]).expect("fits"));
    let bucket_of = |actions: usize| {
        let mut head = bucket(0, 0xff);
        head[..2].copy_from_slice(&(16 + 8 * actions as u16).to_be_bytes());
        [&head[..], &[0, 18, 0, 8, 0, 0, 0, 0].repeat(actions)].concat()
    };
    let most = |last: usize| {
        let buckets = [vec![bucket_of(1000); 8], vec![bucket_of(last)]].concat();
        group_mod(0, 0, 1, &[&buckets.concat()])
    };
    describe(most(170).expect("fits"));
    assert_eq!(most(171), Err(ErrorCode::GROUP_MOD_FAILED_OUT_OF_BUCKETS));
}
