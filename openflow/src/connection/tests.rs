//! Dialogues of one end, with bytes by hand, and of two ends with each other.

use super::*;
use crate::{FlowStats, MultipartRequest};

const HELLO: [u8; 16] = [4, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x10];
const BARRIER: [u8; 8] = [4, 20, 0, 8, 0, 0, 0, 9];

/// A connection that has sent its hello and seen none.
fn fresh(side: Side) -> Connection {
    let mut connection = Connection::new(Config::new(side), 1_000);
    assert_eq!(taken(&mut connection), HELLO);
    connection
}

/// A connection past its hellos, at 1 s.
fn open(side: Side) -> Connection {
    let mut connection = fresh(side);
    assert_eq!(connection.receive(&HELLO, 1_000), Ok(()));
    assert_eq!(connection.version(), Some(Version::V1_3));
    connection
}

/// Everything outgoing, as if the socket took it.
fn taken(connection: &mut Connection) -> Vec<u8> {
    let bytes = connection.outgoing().to_vec();
    connection.sent(bytes.len());
    bytes
}

#[test]
fn a_1_3_peer_without_a_bitmap_is_welcome() {
    let mut connection = fresh(Side::Switch);
    assert_eq!(connection.receive(&[4, 0, 0, 8, 0, 0, 0, 1], 1_000), Ok(()));
    assert_eq!(connection.version(), Some(Version::V1_3));
    let mut newer = fresh(Side::Switch);
    assert_eq!(newer.receive(&[6, 0, 0, 8, 0, 0, 0, 1], 1_000), Ok(()));
    assert_eq!(newer.version(), Some(Version::V1_3));
}

#[test]
fn a_peer_without_a_version_in_common_is_told_and_left() {
    let mut connection = fresh(Side::Switch);
    let reason = CloseReason::Incompatible {
        ours: Versions(0x10),
        theirs: Versions(0b10),
    };
    assert_eq!(
        connection.receive(&[1, 0, 0, 8, 0, 0, 0, 5], 1_000),
        Err(reason.clone())
    );
    let text = reason.to_string();
    assert_eq!(
        text,
        "no version in common: we speak OpenFlow 1.3, peer speaks OpenFlow 1.0"
    );
    let mut wanted = vec![1, 1, 0, 12 + text.len() as u8, 0, 0, 0, 5, 0, 0, 0, 0];
    wanted.extend_from_slice(text.as_bytes());
    assert_eq!(connection.outgoing(), wanted);
    assert_eq!(connection.poll(1_000), Err(reason.clone()));
    assert_eq!(connection.receive(&BARRIER, 1_000), Err(reason));
    assert_eq!(connection.next_message(), None);
    assert_eq!(
        connection.send(Xid(1), &Message::BarrierReply),
        Err(SendError::NotOpen)
    );
}

#[test]
fn a_bitmap_counts_more_than_the_header() {
    let mut connection = fresh(Side::Switch);
    let only_1_5 = [6, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x40];
    let reason = CloseReason::Incompatible {
        ours: Versions(0x10),
        theirs: Versions(0x40),
    };
    assert_eq!(connection.receive(&only_1_5, 1_000), Err(reason));
    assert_eq!(connection.outgoing()[..2], [4, 1]);
}

#[test]
fn a_peer_begins_with_a_hello_and_soon() {
    let mut connection = fresh(Side::Switch);
    assert_eq!(
        connection.receive(&BARRIER, 1_000),
        Err(CloseReason::NoHello(20))
    );
    let mut connection = fresh(Side::Switch);
    assert_eq!(connection.poll(10_999), Ok(Some(11_000)));
    assert_eq!(connection.receive(&HELLO[..15], 10_999), Ok(()));
    assert_eq!(connection.poll(11_000), Err(CloseReason::HelloTimeout));
}

#[test]
fn a_refused_hello_ends_the_connection_before_and_after_the_peers_own() {
    let refusal = [1, 1, 0, 14, 0, 0, 0, 1, 0, 0, 0, 0, b'n', b'o'];
    let refused = Err(CloseReason::Refused("no".into()));
    let mut connection = fresh(Side::Switch);
    assert_eq!(connection.receive(&refusal, 1_000), refused);
    let mut connection = open(Side::Controller);
    assert_eq!(connection.receive(&refusal, 1_000), Ok(()));
    assert_eq!(connection.next_message(), None);
    assert_eq!(connection.receive(&[], 1_000), refused);
}

#[test]
fn a_length_below_the_header_ends_the_connection() {
    let mut connection = open(Side::Switch);
    let bytes = [&BARRIER[..], &[4, 20, 0, 7, 0, 0, 0, 1]].concat();
    assert_eq!(
        connection.receive(&bytes, 1_000),
        Err(CloseReason::BadLength(7))
    );
    let mut connection = fresh(Side::Switch);
    assert_eq!(
        connection.receive(&[4, 0, 0, 0, 0, 0, 0, 1], 1_000),
        Err(CloseReason::BadLength(0))
    );
}

#[test]
fn messages_come_out_in_order_however_they_come_in() {
    let stream = [&HELLO[..], &BARRIER, &[4, 5, 0, 8, 0, 0, 0, 10], &BARRIER].concat();
    for cut in 1..=stream.len() {
        let mut connection = fresh(Side::Switch);
        let mut messages = Vec::new();
        for part in stream.chunks(cut) {
            assert_eq!(connection.receive(part, 1_000), Ok(()));
            messages.extend(std::iter::from_fn(|| connection.next_message()));
        }
        let wanted = [
            (Xid(9), Message::BarrierRequest),
            (Xid(10), Message::FeaturesRequest),
            (Xid(9), Message::BarrierRequest),
        ];
        assert_eq!(messages, wanted, "{cut}");
        assert!(connection.outgoing().is_empty());
    }
}

#[test]
fn hellos_and_echoes_are_dealt_with() {
    let mut connection = open(Side::Switch);
    let echo = [4, 2, 0, 11, 0, 0, 0, 3, 1, 2, 3];
    assert_eq!(
        connection.receive(&[&HELLO[..], &echo].concat(), 1_000),
        Ok(())
    );
    assert_eq!(connection.next_message(), None);
    assert_eq!(connection.outgoing(), [4, 3, 0, 11, 0, 0, 0, 3, 1, 2, 3]);
}

#[test]
fn a_silent_peer_is_probed_and_then_given_up() {
    let mut connection = open(Side::Switch);
    assert_eq!(connection.poll(1_000), Ok(Some(6_000)));
    assert_eq!(connection.poll(5_999), Ok(Some(6_000)));
    assert!(connection.outgoing().is_empty());
    assert_eq!(connection.poll(6_000), Ok(Some(11_000)));
    assert_eq!(taken(&mut connection), [4, 2, 0, 8, 0x80, 0, 0, 2]);
    assert_eq!(connection.poll(10_999), Ok(Some(11_000)));
    assert!(connection.outgoing().is_empty(), "one probe at a time");
    let silent = CloseReason::ProbeTimeout { silent_ms: 10_000 };
    assert_eq!(connection.poll(11_000), Err(silent));
}

#[test]
fn whatever_a_peer_sends_answers_a_probe() {
    let mut connection = open(Side::Switch);
    assert_eq!(connection.poll(6_000), Ok(Some(11_000)));
    assert_eq!(
        connection.receive(&[4, 3, 0, 8, 0x80, 0, 0, 2], 7_000),
        Ok(())
    );
    assert_eq!(connection.next_message(), None, "the reply is ours");
    assert_eq!(connection.poll(11_000), Ok(Some(12_000)));
    assert_eq!(connection.poll(12_000), Ok(Some(17_000)));
    assert_eq!(connection.receive(&BARRIER[..1], 16_999), Ok(()));
    assert_eq!(connection.poll(17_000), Ok(Some(21_999)));
}

#[test]
fn no_interval_means_no_probe() {
    let config = Config {
        probe_interval_ms: 0,
        ..Config::new(Side::Controller)
    };
    let mut connection = Connection::new(config, 0);
    assert_eq!(connection.receive(&HELLO, 0), Ok(()));
    assert_eq!(connection.poll(u64::MAX), Ok(None));
}

#[test]
fn an_echo_of_the_owner_is_answered_to_the_owner() {
    let mut connection = open(Side::Controller);
    let xid = connection.next_xid();
    assert_eq!(connection.send(xid, &Message::EchoRequest(vec![7])), Ok(()));
    assert_eq!(taken(&mut connection), [4, 2, 0, 9, 0, 0, 0, 2, 7]);
    assert_eq!(
        connection.receive(&[4, 3, 0, 9, 0, 0, 0, 2, 7], 1_000),
        Ok(())
    );
    assert_eq!(
        connection.next_message(),
        Some((xid, Message::EchoReply(vec![7])))
    );
}

/// A role request with a role that there is not, longer than it should be where `len` says so.
fn nonsense(len: u8) -> Vec<u8> {
    let mut bytes = vec![4, 24, 0, len, 0, 0, 0, 3, 0, 0, 0, 99];
    bytes.resize(len.into(), 0xab);
    bytes
}

#[test]
fn a_switch_answers_nonsense_with_an_error() {
    for len in [24, 200] {
        let mut connection = open(Side::Switch);
        let request = nonsense(len);
        assert_eq!(
            connection.receive(&[&request[..], &BARRIER].concat(), 1_000),
            Ok(())
        );
        assert_eq!(
            connection.next_message(),
            Some((Xid(9), Message::BarrierRequest))
        );
        let data = &request[..request.len().min(64)];
        let mut wanted = vec![4, 1, 0, 12 + data.len() as u8, 0, 0, 0, 3, 0, 11, 0, 2];
        wanted.extend_from_slice(data);
        assert_eq!(connection.outgoing(), wanted);
    }
}

#[test]
fn an_owner_that_answers_later_refuses_itself() {
    let mut connection = open(Side::Switch);
    assert_eq!(
        connection.receive(&[&nonsense(24)[..], &BARRIER].concat(), 1_000),
        Ok(())
    );
    let code = ErrorCode::ROLE_REQUEST_FAILED_BAD_ROLE;
    assert_eq!(connection.next_request(), Some((Xid(3), Err(code))));
    assert_eq!(connection.request_head(), nonsense(24));
    assert!(connection.outgoing().is_empty());
    assert_eq!(
        connection.next_request(),
        Some((Xid(9), Ok(Message::BarrierRequest)))
    );
    assert_eq!(connection.request_head(), BARRIER);
}

#[test]
fn errors_are_not_answered_by_errors() {
    let mut connection = open(Side::Switch);
    assert_eq!(
        connection.receive(&[4, 1, 0, 9, 0, 0, 0, 1, 0], 1_000),
        Ok(())
    );
    assert_eq!(connection.next_request(), None);
    assert!(connection.outgoing().is_empty());
}

#[test]
fn a_controller_leaves_on_nonsense() {
    let mut connection = open(Side::Controller);
    assert_eq!(
        connection.receive(&[4, 6, 0, 9, 0, 0, 0, 1, 0], 1_000),
        Ok(())
    );
    assert_eq!(connection.next_message(), None);
    let code = ErrorCode::BAD_REQUEST_BAD_LEN;
    let reason = CloseReason::BadMessage(DecodeError { xid: Xid(1), code });
    assert_eq!(connection.poll(1_000), Err(reason));
}

#[test]
fn a_request_in_several_messages_arrives_as_one() {
    let mut connection = open(Side::Switch);
    let mut part = vec![4, 18, 0, 80, 0, 0, 0, 3, 0, 12, 0, 1, 0, 0, 0, 0, 0, 64];
    part.resize(80, 0);
    let mut last = part.clone();
    last[11] = 0;
    last[18] = 1;
    let refused = [4, 18, 0, 16, 0, 0, 0, 4, 0, 13, 0, 1, 0, 0, 0, 0];
    assert_eq!(
        connection.receive(&[&part[..], &refused, &last].concat(), 1_000),
        Ok(())
    );
    let code = ErrorCode::BAD_REQUEST_BAD_MULTIPART;
    assert_eq!(connection.next_request(), Some((Xid(4), Err(code))));
    match connection.next_request() {
        Some((
            Xid(3),
            Ok(Message::MultipartRequest {
                more: false,
                request,
            }),
        )) => match request {
            MultipartRequest::TableFeatures(tables) => {
                let numbers: Vec<u8> = tables.iter().map(|features| features.table.0).collect();
                assert_eq!(numbers, [0, 1]);
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_sent_before_the_hellos() {
    let mut connection = fresh(Side::Switch);
    let refused = Err(SendError::NotOpen);
    assert_eq!(connection.send(Xid(1), &Message::BarrierReply), refused);
    assert_eq!(connection.send_raw(&BARRIER), refused);
    connection.refuse(Xid(1), ErrorCode::BAD_REQUEST_BAD_TYPE);
    assert!(connection.outgoing().is_empty());
}

#[test]
fn a_long_reply_goes_out_as_fast_as_the_peer_takes_it() {
    let config = Config {
        outgoing_bytes_max: 100_000,
        ..Config::new(Side::Switch)
    };
    let mut switch = Connection::new(config, 0);
    let mut controller = Connection::new(Config::new(Side::Controller), 0);
    assert_eq!(controller.receive(&taken(&mut switch), 0), Ok(()));
    assert_eq!(switch.receive(&taken(&mut controller), 0), Ok(()));
    let flow = |priority: u16| FlowStats {
        table: crate::TableId(0),
        duration: std::time::Duration::ZERO,
        priority,
        idle_timeout_s: 0,
        hard_timeout_s: 0,
        flags: crate::FlowFlags::default(),
        cookie: 0,
        packets: 0,
        bytes: 0,
        matching: flowtable::Match::default(),
        instructions: crate::Instructions::default(),
    };
    let pieces = (0..60_000).map(|priority| MultipartReply::Flow(vec![flow(priority)]));
    let mut stream = ReplyStream::new(Xid(5), MultipartReply::Flow(Vec::new()), pieces);
    let mut priorities = Vec::new();
    let mut more = true;
    while more {
        while more && switch.ready() {
            more = switch
                .send_next(&mut stream)
                .expect("open, and short entries");
        }
        assert!(switch.outgoing().len() < 100_000 + 65_536);
        assert_eq!(controller.receive(&taken(&mut switch), 0), Ok(()));
        while let Some((xid, message)) = controller.next_message() {
            assert_eq!(xid, Xid(5));
            match message {
                Message::MultipartReply {
                    reply: MultipartReply::Flow(flows),
                    ..
                } => {
                    priorities.extend(flows.iter().map(|flow| flow.priority));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(priorities.into_iter().eq(0..60_000));
}
