//! Bundles: all of a commit or nothing, and every refusal.

use std::sync::Arc;

use openflow::*;

use super::super::{Next, PeerId};
use super::{MAC, PeerKind, Scene, flow_mod, output};
use crate::pipeline::{FlowList, State};

const ATOMIC: BundleFlags = BundleFlags::ATOMIC;

fn control(bundle: u32, step: BundleStep, flags: BundleFlags) -> Message {
    Message::Bundle(BundleControl {
        bundle: BundleId(bundle),
        step,
        flags,
    })
}

fn reply(bundle: u32, step: BundleStep) -> Message {
    control(bundle, step, BundleFlags::default())
}

fn add(bundle: u32, xid: u32, message: &Message) -> Message {
    let mut bytes = Vec::new();
    v13::encode(Xid(xid), message, &mut bytes).unwrap();
    Message::BundleAdd(BundleAdd {
        bundle: BundleId(bundle),
        flags: ATOMIC,
        message: bytes,
    })
}

fn flow(priority: u16) -> Message {
    Message::FlowMod(Box::new(FlowMod {
        priority,
        ..flow_mod()
    }))
}

fn delete_all() -> Message {
    Message::FlowMod(Box::new(FlowMod {
        command: FlowModCommand::Delete,
        table: TableId::ALL,
        matching: Default::default(),
        ..flow_mod()
    }))
}

fn group(command: GroupModCommand, group: u32, actions: &[Action]) -> Message {
    Message::GroupMod(GroupMod {
        command,
        kind: GroupKind::Indirect,
        group: GroupId(group),
        buckets: vec![Bucket {
            weight: 0,
            watch_port: OfPort::ANY,
            watch_group: GroupId::ANY,
            actions: actions.into(),
        }],
    })
}

fn meter(command: MeterModCommand) -> Message {
    Message::MeterMod(MeterMod {
        command,
        flags: MeterFlags::default(),
        meter: MeterId(1),
        bands: vec![Band::Drop { rate: 10, burst: 0 }],
    })
}

fn port_down(mac: [u8; 6], mask_no_forward: bool) -> Message {
    let down = PortConfig {
        port_down: !mask_no_forward,
        no_forward: mask_no_forward,
        ..PortConfig::default()
    };
    Message::PortMod(PortMod {
        port: OfPort(1),
        mac,
        config: down,
        mask: down,
        advertise: PortFeatures::default(),
    })
}

/// All that can be seen of flows, groups and meters.
fn seen(state: &Arc<State>) -> String {
    let bridge = state.bridges().next().unwrap();
    let list = FlowList::new(Arc::clone(state), bridge.id, &FlowStatsRequest::default());
    let mut flows: Vec<_> = list.map(|flow| format!("{flow:?}")).collect();
    flows.sort();
    let groups = [1, 2].map(|group| format!("{:?}", bridge.group(GroupId(group))));
    let ports: Vec<_> = bridge.ports().map(|port| port.config).collect();
    let meter = bridge.meter(MeterId(1)).is_some();
    format!("{flows:#?} {groups:?} {ports:?} {meter}")
}

impl Scene {
    fn flows(&self) -> u32 {
        let tables = self.switch.table_stats(self.agent.bridge);
        tables.iter().map(|table| table.active).sum()
    }

    fn commit(&mut self, bundle: u32) {
        let commit = control(bundle, BundleStep::CommitRequest, ATOMIC);
        let wanted = Next::Barrier(reply(bundle, BundleStep::CommitReply));
        assert_eq!(self.send(0, commit), wanted);
        assert_eq!(self.sent(0), []);
    }

    fn open(&mut self, bundle: u32) {
        let opened = self.ask(0, control(bundle, BundleStep::OpenRequest, ATOMIC));
        assert_eq!(opened, reply(bundle, BundleStep::OpenReply));
    }
}

fn scene() -> Scene {
    Scene::with_peers(&[PeerKind::Listener])
}

#[test]
fn a_commit_makes_every_change_in_order_and_in_one_state() {
    let mut scene = scene();
    scene.tell(0, flow(9));
    let epoch = scene.switch.publish().epoch();
    scene.open(5);
    let to_group = Message::FlowMod(Box::new(FlowMod {
        priority: 3,
        instructions: Instructions {
            apply: Some([Action::Group(GroupId(1))].into()),
            meter: Some(MeterId(1)),
            ..Instructions::default()
        },
        ..flow_mod()
    }));
    let one = output(OfPort(1));
    for message in [
        delete_all(),
        group(GroupModCommand::Add, 1, &one),
        meter(MeterModCommand::Add),
        to_group,
        flow(4),
        port_down(MAC, false),
        port_down(MAC, true),
    ] {
        scene.tell(0, add(5, 1, &message));
    }
    assert_eq!(scene.flows(), 1, "nothing before the commit");
    let closed = scene.ask(0, control(5, BundleStep::CloseRequest, ATOMIC));
    assert_eq!(closed, reply(5, BundleStep::CloseReply));
    let commit = control(5, BundleStep::CommitRequest, ATOMIC);
    let wanted = Next::Barrier(reply(5, BundleStep::CommitReply));
    assert_eq!(scene.send(0, commit), wanted);
    let told = scene.sent(0);
    let [Message::PortStatus(status)] = &told[..] else {
        panic!("{told:?}");
    };
    let config = status.port.config;
    assert!(config.port_down && config.no_forward, "one change of both");
    assert_eq!(scene.flows(), 2);
    let state = scene.switch.publish();
    assert_eq!(state.epoch(), epoch + 1);
    assert!(seen(&state).contains("port_down: true"));
}

#[test]
fn if_one_message_fails_nothing_is_done_and_its_number_is_told() {
    let mut scene = scene();
    let one = output(OfPort(1));
    scene.tell(0, flow(9));
    let timed = FlowMod {
        priority: 8,
        hard_timeout_s: 1,
        ..flow_mod()
    };
    scene.tell(0, Message::FlowMod(Box::new(timed)));
    scene.tell(0, group(GroupModCommand::Add, 1, &one));
    scene.tell(0, meter(MeterModCommand::Add));
    let before = scene.switch.publish();
    let untouched = seen(&before);
    for (wrong, code) in [
        (
            group(GroupModCommand::Modify, 7, &one),
            ErrorCode::GROUP_MOD_FAILED_UNKNOWN_GROUP,
        ),
        (
            group(GroupModCommand::Add, 2, &one),
            ErrorCode::GROUP_MOD_FAILED_GROUP_EXISTS,
        ),
        (
            meter(MeterModCommand::Add),
            ErrorCode::METER_MOD_FAILED_METER_EXISTS,
        ),
        (
            port_down([9; 6], false),
            ErrorCode::PORT_MOD_FAILED_BAD_HW_ADDR,
        ),
    ] {
        scene.open(6);
        let release = Message::FlowMod(Box::new(FlowMod {
            buffer_id: Some(77),
            ..flow_mod()
        }));
        for message in [
            delete_all(),
            flow(1),
            group(GroupModCommand::Delete, 1, &[]),
            group(GroupModCommand::Add, 2, &one),
            meter(MeterModCommand::Delete),
            meter(MeterModCommand::Add),
            port_down(MAC, false),
        ] {
            scene.tell(0, add(6, 0x55, &message));
        }
        scene.tell(0, add(6, 0x66, &wrong));
        scene.tell(0, add(6, 0x77, &release));
        let commit = control(6, BundleStep::CommitRequest, ATOMIC);
        assert_eq!(scene.send(0, commit), Next::Done);
        let told = scene.sent(0);
        let [Message::Error(first), Message::Error(second)] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(first.code, code);
        assert_eq!(first.data[4..8], [0, 0, 0, 0x66], "what failed");
        assert_eq!(first.data[1], 4, "as it was added");
        assert!((48..=64).contains(&first.data.len()));
        assert_eq!(second.code, ErrorCode::BUNDLE_FAILED_MSG_FAILED);
        assert_eq!(second.experimenter, Some(bundle::ONF));
        let after = scene.switch.publish();
        assert_eq!(seen(&after), untouched);
        assert!(scene.work.removed.is_empty());
    }
    // The writer's book is as before, too: timeouts, and who uses which group.
    let (removed, _) = scene.switch.expire(2000);
    assert_eq!(removed.len(), 1, "the flow with a timeout is still known");
    scene.tell(0, group(GroupModCommand::Add, 2, &output(OfPort(2))));
}

#[test]
fn a_kept_packet_goes_with_its_bundle_once() {
    use crate::action::PuntReason;
    let mut scene = scene();
    scene.packet_in(PuntReason::NoMatch, 20);
    let told = scene.sent(0);
    let [Message::PacketIn(packet)] = &told[..] else {
        panic!("{told:?}");
    };
    let release = |priority| {
        Message::FlowMod(Box::new(FlowMod {
            priority,
            buffer_id: packet.buffer_id,
            ..flow_mod()
        }))
    };
    scene.open(1);
    scene.tell(0, add(1, 1, &release(1)));
    scene.tell(0, add(1, 2, &release(2)));
    let commit = control(1, BundleStep::CommitRequest, ATOMIC);
    assert_eq!(scene.send(0, commit), Next::Done);
    let Some(Message::Error(error)) = scene.sent(0).into_iter().next() else {
        panic!("the packet is released once only");
    };
    assert_eq!(error.code, ErrorCode::BAD_REQUEST_BUFFER_EMPTY);
    assert!(scene.work.injections.is_empty() && scene.flows() == 0);
    scene.tell(0, add(2, 1, &release(1)));
    scene.commit(2);
    assert_eq!(scene.work.injections.len(), 1, "it was still there");
}

#[test]
fn every_refusal() {
    use ErrorCode as E;
    let mut scene = scene();
    let step = |step| control(1, step, ATOMIC);
    for missing in [
        BundleStep::CloseRequest,
        BundleStep::CommitRequest,
        BundleStep::DiscardRequest,
    ] {
        assert_eq!(scene.error(0, step(missing)), E::BUNDLE_FAILED_BAD_ID);
    }
    for not_ours in [
        BundleStep::OpenReply,
        BundleStep::CloseReply,
        BundleStep::CommitReply,
        BundleStep::DiscardReply,
    ] {
        assert_eq!(scene.error(0, step(not_ours)), E::BUNDLE_FAILED_BAD_TYPE);
    }
    let strange = control(1, BundleStep::OpenRequest, BundleFlags(4));
    assert_eq!(scene.error(0, strange), E::BUNDLE_FAILED_BAD_FLAGS);
    scene.open(1);
    let again = step(BundleStep::OpenRequest);
    assert_eq!(scene.error(0, again), E::BUNDLE_FAILED_BUNDLE_EXIST);
    // Whatever is said wrongly of a bundle is its end.
    for wrong in [BundleStep::CloseRequest, BundleStep::CommitRequest] {
        scene.open(1);
        let other = control(1, wrong, BundleFlags::ORDERED);
        assert_eq!(scene.error(0, other), E::BUNDLE_FAILED_BAD_FLAGS);
        let gone = step(BundleStep::DiscardRequest);
        assert_eq!(scene.error(0, gone), E::BUNDLE_FAILED_BAD_ID);
    }
    for late in [add(1, 1, &flow(1)), step(BundleStep::CloseRequest)] {
        scene.open(1);
        scene.ask(0, step(BundleStep::CloseRequest));
        assert_eq!(scene.error(0, late), E::BUNDLE_FAILED_BUNDLE_CLOSED);
    }
    scene.open(1);
    let mut other = add(1, 1, &flow(1));
    if let Message::BundleAdd(add) = &mut other {
        add.flags = BundleFlags::ORDERED;
    }
    assert_eq!(scene.error(0, other), E::BUNDLE_FAILED_BAD_FLAGS);
    for number in 0..64 {
        scene.open(number);
    }
    let one_more = control(64, BundleStep::OpenRequest, ATOMIC);
    assert_eq!(scene.error(0, one_more), E::BUNDLE_FAILED_OUT_OF_BUNDLES);
    let discarded = scene.ask(0, control(0, BundleStep::DiscardRequest, ATOMIC));
    assert_eq!(discarded, reply(0, BundleStep::DiscardReply));
    scene.open(64);
}

#[test]
fn memory_is_bounded_and_given_back() {
    let mut scene = scene();
    let actions = vec![Action::DecNwTtl; 4000];
    let long = group(GroupModCommand::Add, 1, &actions);
    let long = add(1, 1, &long);
    let Message::BundleAdd(inner) = &long else {
        unreachable!("made above");
    };
    let fit = super::super::bundle::BYTES_MAX / inner.message.len();
    for _ in 0..2 {
        for _ in 0..fit {
            scene.tell(0, long.clone());
        }
        let refused = scene.error(0, long.clone());
        assert_eq!(refused, ErrorCode::BUNDLE_FAILED_MSG_TOO_MANY);
        scene.ask(0, control(1, BundleStep::DiscardRequest, ATOMIC));
    }
    scene.tell(0, long.clone());
    scene.agent.disconnect(PeerId(0), &mut scene.switch);
}

#[test]
fn a_bundle_that_is_forgotten_is_told_of() {
    let mut scene = scene();
    scene.open(1);
    scene.now_ms = 9_000;
    scene.tell(0, add(1, 1, &flow(1)));
    scene.agent.expire_bundles(18_999);
    assert_eq!(scene.sent(0), []);
    scene.agent.expire_bundles(19_000);
    let told = scene.sent(0);
    let [Message::Error(error)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(error.code, ErrorCode::BUNDLE_FAILED_TIMEOUT);
    assert_eq!(
        error.data[4..8],
        [0, 0, 0, 7],
        "the number of what opened it"
    );
    let commit = control(1, BundleStep::CommitRequest, ATOMIC);
    assert_eq!(scene.error(0, commit), ErrorCode::BUNDLE_FAILED_BAD_ID);
}

#[test]
fn a_slave_has_no_bundles() {
    let mut scene = scene();
    scene.role(0, Role::Slave, 1);
    for message in [
        control(1, BundleStep::OpenRequest, ATOMIC),
        add(1, 1, &flow(1)),
    ] {
        assert_eq!(scene.error(0, message), ErrorCode::BAD_REQUEST_IS_SLAVE);
    }
}
