//! Flow monitors: who is told of what, and that the picture of a peer that reads slowly is whole
//! once it is told so.

use std::collections::BTreeMap;

use flowtable::Field;
use openflow::*;

use super::super::monitor::{MONITORS_MAX, UPDATE_BYTES_MAX};
use super::super::{Dump, Next, PeerId};
use super::{PeerKind, Scene, flow_mod, output};

const EVERYTHING: MonitorFlags = MonitorFlags::ALL;

fn monitor(id: u32) -> FlowMonitor {
    FlowMonitor {
        id: MonitorId(id),
        flags: EVERYTHING,
        table: TableId::ALL,
        out_port: OfPort::ANY,
        matching: Default::default(),
    }
}

/// A flow for a port.
fn flow(port: u32) -> FlowMod {
    let mut flow = flow_mod();
    flow.matching.set(Field::InPort, port.into(), u128::MAX);
    flow.cookie = port.into();
    flow
}

fn delete(port: u32) -> FlowMod {
    FlowMod {
        command: FlowModCommand::Delete,
        cookie: 0,
        table: TableId::ALL,
        ..flow(port)
    }
}

fn modify(port: u32, to: u32) -> FlowMod {
    let mut flow = FlowMod {
        command: FlowModCommand::Modify,
        cookie: 0,
        ..flow(port)
    };
    flow.instructions.apply = Some(output(OfPort(to)));
    flow
}

/// What is told, in short: event, table, port, output.
type Short = (FlowEvent, u8, u128, Option<OfPort>);

fn short(update: &FlowUpdate) -> Short {
    let FlowUpdate::Full(change) = update else {
        panic!("{update:?}");
    };
    let actions = change
        .instructions
        .apply
        .iter()
        .flat_map(|list| list.iter());
    let outputs = actions.filter_map(|action| match action {
        Action::Output { port, .. } => Some(*port),
        _ => None,
    });
    let port = change.matching.read(Field::InPort).0;
    (change.event, change.table.0, port, { outputs }.next())
}

fn updates(message: &Message) -> &[FlowUpdate] {
    match message {
        Message::MultipartReply {
            reply: MultipartReply::FlowMonitor(updates),
            ..
        } => updates,
        other => panic!("{other:?}"),
    }
}

impl Scene {
    fn change(&mut self, peer: u64, change: FlowMod) {
        let message = Message::FlowMod(Box::new(change));
        assert_eq!(self.send(peer, message), Next::Done);
    }

    /// The list that answers a request for monitors.
    fn begin(&mut self, peer: u64, monitors: Vec<FlowMonitor>) -> Result<Dump, ErrorCode> {
        let request = MultipartRequest::FlowMonitor(monitors);
        let message = Message::MultipartRequest {
            more: false,
            request: request.clone(),
        };
        assert_eq!(self.send(peer, message), Next::Count(request.clone()));
        Ok(self.list(peer, &request)?.expect("a list"))
    }

    /// Begins monitors and reads the answer.
    fn watch(&mut self, peer: u64, monitors: Vec<FlowMonitor>) -> Vec<Short> {
        let mut list = self.begin(peer, monitors).expect("fine monitors");
        while !list.step(&self.switch, &self.outboxes[peer as usize]) {}
        self.agent.end_list(PeerId(peer));
        self.told(peer)
    }

    /// What a peer was told in full since this was called last.
    fn told(&self, peer: u64) -> Vec<Short> {
        let messages = self.sent(peer as usize);
        let updates = messages.iter().flat_map(updates);
        updates.map(short).collect()
    }
}

#[test]
fn what_happens_is_told_to_who_asked_for_it() {
    let mut scene = Scene::with_peers(&[PeerKind::Listener, PeerKind::Listener]);
    scene.change(0, flow(1));
    let out = Some(OfPort(2));
    let there = [(FlowEvent::Added, 0, 1, out)];
    assert_eq!(scene.watch(1, vec![monitor(0)]), there);
    scene.change(0, flow(2));
    scene.change(0, flow(2));
    let added = (FlowEvent::Added, 0, 2, out);
    assert_eq!(scene.told(1), [added, added], "one takes the other's place");
    scene.change(0, modify(2, 3));
    scene.change(0, modify(2, 3));
    let modified = (FlowEvent::Modified, 0, 2, Some(OfPort(3)));
    assert_eq!(
        scene.told(1),
        [modified],
        "once: the second changes nothing"
    );
    scene.change(0, delete(2));
    scene.change(0, delete(2));
    let deleted = FlowEvent::Deleted(FlowRemovedReason::Delete);
    assert_eq!(scene.told(1), [(deleted, 0, 2, Some(OfPort(3)))]);
    assert!(scene.sent(0).is_empty(), "who did not ask is not told");
    scene.send(1, Message::MonitorCancel(MonitorId(0)));
    scene.change(0, flow(3));
    assert!(scene.sent(1).is_empty());
}

#[test]
fn timeouts_groups_and_meters_are_told_with_their_reasons() {
    let mut scene = Scene::with_peers(&[PeerKind::Listener]);
    let mut old = flow(1);
    old.hard_timeout_s = 1;
    let mut idle = flow(2);
    idle.idle_timeout_s = 1;
    scene.change(0, old);
    scene.change(0, idle);
    scene.watch(0, vec![monitor(0)]);
    let (removed, _) = scene.switch.expire(2000);
    assert_eq!(removed.len(), 2);
    scene.agent.tell_changes(&mut scene.switch, None, 2000);
    let told = scene.told(0);
    for (reason, port) in [
        (FlowRemovedReason::HardTimeout, 1),
        (FlowRemovedReason::IdleTimeout, 2),
    ] {
        let deleted = FlowEvent::Deleted(reason);
        assert!(told.contains(&(deleted, 0, port, Some(OfPort(2)))));
    }
    for (command, reason) in [
        (MeterModCommand::Add, None),
        (
            MeterModCommand::Delete,
            Some(FlowRemovedReason::MeterDelete),
        ),
    ] {
        let meter = MeterMod {
            command,
            flags: MeterFlags::default(),
            meter: MeterId(1),
            bands: Vec::new(),
        };
        scene.send(0, Message::MeterMod(meter));
        if let Some(reason) = reason {
            let deleted = FlowEvent::Deleted(reason);
            assert_eq!(scene.told(0), [(deleted, 0, 3, Some(OfPort(2)))]);
        } else {
            let mut metered = flow(3);
            metered.instructions.meter = Some(MeterId(1));
            metered.flags.send_flow_removed = true;
            scene.change(0, metered);
            scene.told(0);
        }
    }
    let removed = scene.work.removed.remove(0);
    assert_eq!(removed.reason, FlowRemovedReason::MeterDelete);
    scene.agent.flow_removed(&removed);
    let [Message::FlowRemoved(told)] = &scene.sent(0)[..] else {
        panic!()
    };
    assert_eq!(told.reason, FlowRemovedReason::Delete, "1.3 has no other");
}

#[test]
fn monitors_choose_and_a_change_is_told_once() {
    let mut scene = Scene::with_peers(&[PeerKind::Listener, PeerKind::Listener]);
    for port in 1..4 {
        scene.change(0, flow(port));
        scene.change(
            0,
            FlowMod {
                table: TableId(port as u8),
                ..flow(port)
            },
        );
    }
    let of_table = FlowMonitor {
        table: TableId(2),
        flags: MonitorFlags(EVERYTHING.0 & !MonitorFlags::ACTIONS.0),
        ..monitor(0)
    };
    let of_match = FlowMonitor {
        matching: flow(2).matching,
        ..monitor(1)
    };
    let of_port = FlowMonitor {
        out_port: OfPort(9),
        ..monitor(2)
    };
    let told = scene.watch(1, vec![of_table, of_match, of_port]);
    let out = Some(OfPort(2));
    let wanted = [(FlowEvent::Added, 2, 2, out), (FlowEvent::Added, 0, 2, out)];
    assert_eq!(told, wanted, "each once, with all that anybody asked for");
    scene.change(0, modify(1, 9));
    scene.change(0, modify(1, 8));
    scene.change(0, modify(1, 7));
    let modified = |to| (FlowEvent::Modified, 0, 1, Some(OfPort(to)));
    assert_eq!(scene.told(1), [modified(9), modified(8)], "old or new port");
    let mut table_two = modify(3, 5);
    table_two.table = TableId(2);
    scene.change(0, table_two);
    let mut plain = flow(7);
    plain.table = TableId(2);
    scene.change(0, plain);
    assert_eq!(
        scene.told(1),
        [(FlowEvent::Added, 2, 7, None)],
        "no actions"
    );
}

#[test]
fn own_changes_are_abbreviated_unless_asked_for() {
    let mut scene = Scene::with_peers(&[PeerKind::Listener, PeerKind::Listener]);
    let others = MonitorFlags(EVERYTHING.0 & !MonitorFlags::OWN.0);
    let abbreviating = FlowMonitor {
        flags: others,
        ..monitor(0)
    };
    scene.watch(0, vec![abbreviating]);
    scene.watch(1, vec![monitor(0)]);
    (1..4).for_each(|port| scene.change(0, flow(port)));
    assert_eq!(scene.told(1).len(), 3);
    scene.sent(0);
    let mut all = delete(0);
    all.matching = Default::default();
    scene.change(0, all.clone());
    let message = &scene.sent(0)[..];
    let [message] = message else {
        panic!("{message:?}");
    };
    assert_eq!(updates(message), [FlowUpdate::Abbreviated(Xid(7))]);
    assert_eq!(scene.told(1).len(), 3);
    scene.change(1, flow(1));
    assert_eq!((scene.told(0).len(), scene.told(1).len()), (1, 1));
    scene.change(0, delete(2));
    assert!(scene.sent(0).is_empty(), "nothing changed");
}

#[test]
fn monitors_that_cannot_be_are_refused() {
    let mut scene = Scene::with_peers(&[PeerKind::Listener]);
    scene.watch(0, vec![monitor(0)]);
    let refused = |scene: &mut Scene, monitors| scene.begin(0, monitors).expect_err("refused");
    let exists = ErrorCode::MONITOR_FAILED_MONITOR_EXISTS;
    assert_eq!(refused(&mut scene, vec![monitor(0)]), exists);
    assert_eq!(refused(&mut scene, vec![monitor(1), monitor(1)]), exists);
    let nowhere = FlowMonitor {
        table: TableId(254),
        ..monitor(2)
    };
    let bad_table = ErrorCode::BAD_REQUEST_BAD_TABLE_ID;
    assert_eq!(refused(&mut scene, vec![monitor(1), nowhere]), bad_table);
    let many: Vec<_> = (1..=MONITORS_MAX as u32).map(monitor).collect();
    let too_many = ErrorCode::BAD_REQUEST_MULTIPART_BUFFER_OVERFLOW;
    assert_eq!(refused(&mut scene, many.clone()), too_many);
    let unknown = ErrorCode::MONITOR_FAILED_UNKNOWN_MONITOR;
    let cancel = |id| Message::MonitorCancel(MonitorId(id));
    assert_eq!(scene.error(0, cancel(1)), unknown, "all or none");
    scene.tell(0, cancel(0));
    assert_eq!(scene.error(0, cancel(0)), unknown);
    scene.watch(0, many);
}

/// What a peer makes of what it is told, and how it reads.
struct Reader {
    picture: Picture,
    is_whole: bool,
    pauses: usize,
    list: Option<Dump>,
    unread: Vec<u8>,
}

impl Reader {
    fn new() -> Reader {
        Reader {
            picture: BTreeMap::new(),
            is_whole: true,
            pauses: 0,
            list: None,
            unread: Vec::new(),
        }
    }

    /// One turn of its connection: the next part of a list, or what came while it was paused.
    fn serve(&mut self, scene: &mut Scene) {
        if self.list.is_none() {
            self.list = scene.agent.resume(&mut scene.switch, PeerId(0));
        }
        let outbox = &scene.outboxes[0];
        let Some(list) = self.list.as_mut().filter(|_| !outbox.is_congested()) else {
            return;
        };
        if list.step(&scene.switch, outbox) {
            self.list = None;
            scene.agent.end_list(PeerId(0));
        }
    }

    /// Takes what one write holds.
    fn read(&mut self, scene: &Scene) -> bool {
        let some = scene.outboxes[0].take(&mut self.unread, 0);
        let bytes = std::mem::take(&mut self.unread);
        let mut rest = &bytes[..];
        while let [_, _, high, low, ..] = rest {
            let (message, more) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
            self.take(&v13::decode(message).expect("a message").1);
            rest = more;
        }
        some
    }

    fn take(&mut self, message: &Message) {
        match message {
            Message::MonitorPaused => {
                assert!(std::mem::take(&mut self.is_whole));
                self.pauses += 1;
            }
            Message::MonitorResumed => {
                assert!(!std::mem::replace(&mut self.is_whole, true));
            }
            other => updates(other).iter().for_each(|update| {
                let FlowUpdate::Full(change) = update else {
                    panic!("{update:?}");
                };
                let matching = format!("{:?}", change.matching);
                let key = (change.table.0, change.priority, matching);
                match change.event {
                    FlowEvent::Deleted(_) => drop(self.picture.remove(&key)),
                    FlowEvent::Added | FlowEvent::Modified => {
                        let value = (change.cookie, change.instructions.clone());
                        self.picture.insert(key, value);
                    }
                }
            }),
        }
    }
}

type Picture = BTreeMap<(u8, u16, String), (u64, Instructions)>;

/// Holds a picture against the flows that are there.
fn check(picture: &Picture, scene: &Scene, when: &str) {
    let all = FlowStatsRequest::default();
    let flows = scene.switch.flows(scene.agent.bridge, &all);
    let entry = |flow: crate::pipeline::Flow| {
        let key = (flow.table.0, flow.priority, format!("{:?}", flow.matching));
        (key, (flow.cookie, Instructions::clone(&flow.instructions)))
    };
    let truth: Picture = flows.map(entry).collect();
    let wrong = |key| picture.get(key) != truth.get(key);
    let wrong: Vec<_> = picture
        .keys()
        .chain(truth.keys())
        .filter(|key| wrong(*key))
        .collect();
    let some = wrong.iter().take(3);
    let some = some.map(|key| (key, picture.get(*key), truth.get(*key)));
    assert!(
        wrong.is_empty(),
        "{when}: {} wrong: {:#?}",
        wrong.len(),
        some.collect::<Vec<_>>()
    );
}

#[test]
fn a_peer_that_does_not_read_is_paused_and_then_told_what_it_missed() {
    let mut scene = Scene::with_peers(&[PeerKind::Listener, PeerKind::Listener]);
    let mut reader = Reader::new();
    scene.watch(0, vec![monitor(0)]);
    (0..5000).for_each(|port| scene.change(1, flow(port)));
    let waiting = scene.outboxes[0].update_bytes();
    assert!(waiting > UPDATE_BYTES_MAX, "{waiting}");
    assert!(waiting < UPDATE_BYTES_MAX + 1000, "{waiting}");
    assert!(scene.agent.resume(&mut scene.switch, PeerId(0)).is_none());
    // Of flows that it does not know it hears nothing, of one that it knows it does.
    scene.change(1, delete(4999));
    scene.change(1, modify(2, 7));
    assert_eq!(scene.outboxes[0].update_bytes(), waiting);
    scene.change(1, delete(1));
    assert!(scene.outboxes[0].update_bytes() > waiting);
    while reader.read(&scene) {}
    assert!(!reader.is_whole);
    let known = reader.picture.len();
    assert!(known > 500 && known < 4000, "{known}");
    reader.serve(&mut scene);
    while reader.list.is_some() || scene.outboxes[0].update_bytes() > 0 {
        reader.serve(&mut scene);
        reader.read(&scene);
    }
    assert!(reader.is_whole);
    check(&reader.picture, &scene, "in the end");
    scene.change(1, flow(6000));
    reader.read(&scene);
    check(&reader.picture, &scene, "in the end");
}

/// Numbers that look random (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32 % bound
    }
}

#[test]
fn the_picture_of_a_peer_that_reads_now_and_then_is_whole_when_it_is_told_so() {
    let mut pauses = 0;
    for seed in 1..=10u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut scene = Scene::with_peers(&[PeerKind::Listener, PeerKind::Listener]);
        let mut reader = Reader::new();
        (0..2000).for_each(|port| scene.change(1, flow(port)));
        reader.list = Some(scene.begin(0, vec![monitor(0)]).expect("a fine monitor"));
        for _ in 0..20_000 {
            scene.now_ms += 1;
            let port = random.below(4000);
            match random.below(100) {
                0..30 => scene.change(1, flow(port)),
                30..40 => {
                    let mut again = flow(port);
                    again.flags.reset_counts = true;
                    again.cookie = random.below(9).into();
                    scene.change(1, again);
                }
                40..60 => scene.change(1, modify(port, random.below(9))),
                60..65 => {
                    let mut again = modify(port, random.below(9));
                    again.flags.reset_counts = true;
                    scene.change(1, again);
                }
                65..97 => scene.change(1, delete(port)),
                97 => reader.serve(&mut scene),
                98 => drop(scene.switch.publish()),
                _ if random.below(8) == 0 => drop(reader.read(&scene)),
                _ => {}
            }
            if reader.is_whole
                && reader.list.is_none()
                && scene.outboxes[0].update_bytes() == 0
                && random.below(50) == 0
            {
                check(&reader.picture, &scene, &format!("seed {seed}"));
            }
        }
        pauses += reader.pauses;
        while reader.read(&scene) || reader.list.is_some() || !reader.is_whole {
            reader.serve(&mut scene);
        }
        check(&reader.picture, &scene, &format!("seed {seed}"));
    }
    assert!(pauses > 2, "{pauses}");
}

#[test]
fn a_cleared_bridge_is_told_before_what_comes_later() {
    let mut scene = Scene::with_peers(&[PeerKind::Listener, PeerKind::Listener]);
    scene.watch(0, vec![monitor(0)]);
    const FLOWS: u32 = 600;
    for port in 1..=FLOWS {
        scene.change(1, flow(port));
    }
    scene.sent(0);
    scene.agent.clear(&mut scene.switch);
    scene.change(1, flow(1));
    assert!(scene.sent(0).is_empty());
    let mut ends = 0;
    let mut more = true;
    while more {
        more = scene.agent.tell_gone(&scene.switch, 0);
        let told = scene.told(0);
        let deleted = FlowEvent::Deleted(FlowRemovedReason::Delete);
        assert!(told.iter().all(|it| it.0 == deleted && it.1 == 0));
        ends += told.len() as u32;
    }
    assert_eq!(ends, FLOWS);
    scene.agent.tell_changes(&mut scene.switch, None, 0);
    let added = (FlowEvent::Added, 0, 1, Some(OfPort(2)));
    assert_eq!(scene.told(0), [added]);
}

#[test]
fn a_bundle_is_told_when_all_of_it_is_done_or_not_at_all() {
    let mut scene = Scene::with_peers(&[PeerKind::Listener, PeerKind::Listener]);
    scene.watch(0, vec![monitor(0)]);
    let bundle = |scene: &mut Scene, changes: &[FlowMod]| {
        for change in changes {
            let mut message = Vec::new();
            let change = Message::FlowMod(Box::new(change.clone()));
            v13::encode(Xid(7), &change, &mut message).unwrap();
            let add = Message::BundleAdd(BundleAdd {
                bundle: BundleId(1),
                flags: BundleFlags::ATOMIC,
                message,
            });
            scene.send(1, add);
        }
        assert!(scene.sent(0).is_empty());
        let commit = BundleControl {
            bundle: BundleId(1),
            step: BundleStep::CommitRequest,
            flags: BundleFlags::ATOMIC,
        };
        scene.send(1, Message::Bundle(commit));
    };
    let mut unwanted = flow(3);
    unwanted.instructions.meter = Some(MeterId(4));
    bundle(&mut scene, &[flow(1), delete(1), unwanted]);
    assert!(scene.sent(0).is_empty(), "there is no such meter");
    bundle(&mut scene, &[flow(1), flow(2), delete(1)]);
    let told = scene.told(0);
    let out = Some(OfPort(2));
    let deleted = FlowEvent::Deleted(FlowRemovedReason::Delete);
    let wanted = [
        (FlowEvent::Added, 0, 1, out),
        (FlowEvent::Added, 0, 2, out),
        (deleted, 0, 1, out),
    ];
    assert_eq!(told, wanted);
}
