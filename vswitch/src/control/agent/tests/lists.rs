//! Lists that are longer than a message, or take long to find.

use flowtable::Field;
use openflow::*;

use super::super::Next;
use super::{PeerKind, Scene, flow_mod, output};

#[test]
fn statistics_wait_for_the_workers_and_long_lists_come_in_parts() {
    let mut scene = Scene::with_peers(&[PeerKind::Service]);
    for priority in 0..2000 {
        let change = FlowMod {
            priority,
            ..flow_mod()
        };
        scene.tell(0, Message::FlowMod(Box::new(change)));
    }
    let request = MultipartRequest::Flow(Box::default());
    let next = scene.send(
        0,
        Message::MultipartRequest {
            more: false,
            request: request.clone(),
        },
    );
    assert_eq!(next, Next::Count(request.clone()));
    let dump = scene.list(0, &request).unwrap();
    let mut dump = dump.expect("a list of flows");
    let (mut parts, mut flows) = (0, 0);
    loop {
        let last = dump.step(&scene.switch, &scene.outboxes[0]);
        let Message::MultipartReply {
            more,
            reply: MultipartReply::Flow(part),
        } = scene.sent(0).remove(0)
        else {
            panic!();
        };
        (parts, flows) = (parts + 1, flows + part.len());
        assert_eq!(more, !last);
        if last {
            break;
        }
    }
    assert!(parts > 1, "{parts}");
    assert_eq!(flows, 2000);
}

#[test]
fn long_lists_are_read_bit_by_bit() {
    let mut scene = Scene::with_peers(&[PeerKind::Service]);
    for number in 1..=3000 {
        let group = GroupMod {
            command: GroupModCommand::Add,
            kind: GroupKind::Select,
            group: GroupId(number),
            buckets: Vec::new(),
        };
        scene.tell(0, Message::GroupMod(group));
        let meter = MeterMod {
            command: MeterModCommand::Add,
            flags: MeterFlags::default(),
            meter: MeterId(number),
            bands: Vec::new(),
        };
        scene.tell(0, Message::MeterMod(meter));
        let mut change = flow_mod();
        change.matching.set(Field::InPort, number.into(), u128::MAX);
        let to = if number == 2500 { 7 } else { 8 };
        change.instructions.apply = Some(output(OfPort(to)));
        scene.tell(0, Message::FlowMod(Box::new(change)));
    }
    let sparse = FlowStatsRequest {
        out_port: OfPort(7),
        ..FlowStatsRequest::default()
    };
    for (request, wanted) in [
        (MultipartRequest::Group(GroupId::ALL), 3000),
        (MultipartRequest::GroupDesc, 3000),
        (MultipartRequest::Group(GroupId(9)), 1),
        (MultipartRequest::Group(GroupId(9000)), 0),
        (MultipartRequest::Meter(MeterId::ALL), 3000),
        (MultipartRequest::MeterConfig(MeterId::ALL), 3000),
        (MultipartRequest::MeterConfig(MeterId(3000)), 1),
        (MultipartRequest::Flow(Box::new(sparse)), 1),
    ] {
        let (mut entries, mut steps, mut messages) = (0, 0, 0);
        let message = Message::MultipartRequest {
            more: false,
            request: request.clone(),
        };
        assert_eq!(scene.send(0, message), Next::Count(request.clone()));
        let mut list = scene.list(0, &request).unwrap().expect("a list");
        let mut is_over = false;
        while !is_over {
            is_over = list.step(&scene.switch, &scene.outboxes[0]);
            steps += 1;
            let sent = scene.sent(0);
            assert!(sent.len() <= 1);
            messages += sent.len();
            entries += sent.iter().map(entries_of).sum::<usize>();
        }
        assert_eq!(entries, wanted, "{request:?}");
        assert!(messages >= 1);
        if let MultipartRequest::Flow(_) = request {
            assert!(steps > messages, "it has to look at more than it tells");
        }
    }
    let unknown = MultipartRequest::Meter(MeterId(9000));
    let unknown = Message::MultipartRequest {
        more: false,
        request: unknown,
    };
    let code = ErrorCode::METER_MOD_FAILED_UNKNOWN_METER;
    assert_eq!(scene.error(0, unknown), code);
}

fn entries_of(message: &Message) -> usize {
    let Message::MultipartReply { reply, .. } = message else {
        panic!("{message:?}");
    };
    match reply {
        MultipartReply::Flow(list) => list.len(),
        MultipartReply::Group(list) => list.len(),
        MultipartReply::GroupDesc(list) => list.len(),
        MultipartReply::Meter(list) => list.len(),
        MultipartReply::MeterConfig(list) => list.len(),
        other => panic!("{other:?}"),
    }
}
