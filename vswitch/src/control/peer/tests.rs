//! Whose turn it is, without sockets, workers or clock.

use std::path::Path;

use openflow::{
    FlowMod, FlowModCommand, FlowStatsRequest, GroupMod, GroupModCommand, MeterMod,
    MeterModCommand, MultipartReply, MultipartRequest, TableProperty, text, v13,
};

use super::super::agent::{TwoPorts, Work};
use super::super::config::Config;
use super::super::outbox::REPLY_BYTES_MAX;
use super::*;
use crate::pipeline::BridgeSpec;

const FLOWS: usize = 10_000;

/// A bridge with many flows that all use meter 1 and group 1, and two peers.
struct Scene {
    world: TwoPorts,
    bridge: Bridge,
    work: Work,
    waits: Vec<Then>,
    queue: mpsc::UnboundedReceiver<PeerId>,
    peers: Vec<Connection>,
    senders: Vec<Option<mpsc::Sender<Incoming>>>,
}

impl Scene {
    fn new() -> Scene {
        let mut world = TwoPorts::new(BridgeSpec::default());
        let (switch, id) = (&mut world.switch, world.agent.bridge);
        let add = group("group_id=1,type=all,bucket=output:1", GroupModCommand::Add);
        switch.group_mod(id, &add, 0).unwrap();
        let add = meter("meter=1,pktps,bands=type=drop,rate=1", MeterModCommand::Add);
        switch.meter_mod(id, &add, 0).unwrap();
        for number in 0..FLOWS {
            let add = change(&format!("tcp,tcp_dst={number},actions=meter:1,group:1"));
            switch.flow_mod(id, &add, 0).unwrap();
        }
        let text = "[[bridge]]\nname = \"br0\"\n";
        let config = Config::parse(text, Path::new("test"), None).unwrap();
        let other = TwoPorts::new(BridgeSpec::default()).agent;
        let agent = std::mem::replace(&mut world.agent, other);
        let mut bridge = Bridge::new(config.bridges[0].clone(), agent);
        let (raise, queue) = mpsc::unbounded_channel();
        let (mut peers, mut senders) = (Vec::new(), Vec::new());
        for number in 0..2 {
            let (sender, inbox) = mpsc::channel(16);
            let connection = Connection {
                bridge: id,
                kind: PeerKind::Listener,
                target: None,
                inbox,
                outbox: Arc::default(),
                signal: Arc::new(Signal::new(PeerId(number), raise.clone())),
                stage: Stage::Idle,
            };
            bridge.connect(PeerId(number), &connection, &mut world.switch, 0);
            peers.push(connection);
            senders.push(Some(sender));
        }
        Scene {
            world,
            bridge,
            work: Work::default(),
            waits: Vec::new(),
            queue,
            peers,
            senders,
        }
    }

    fn say(&mut self, peer: usize, message: Message) {
        let incoming = Incoming::Message {
            xid: Xid(7),
            message,
            bytes: vec![9; 64],
        };
        let sender = self.senders[peer].as_ref().expect("it is there");
        sender.try_send(incoming).expect("room");
        self.peers[peer].signal.raise();
    }

    fn leave(&mut self, peer: usize) {
        self.senders[peer] = None;
        self.peers[peer].signal.raise();
    }

    /// The next turn of whoever stands first: who that is, and whether the connection is there.
    fn turn(&mut self) -> Option<(usize, bool)> {
        let id = self.queue.try_recv().ok()?;
        let number = id.0 as usize;
        let mut turn = Turn {
            switch: &mut self.world.switch,
            ports: &mut self.world.ports,
            now_ms: 0,
            work: &mut self.work,
        };
        let peer = &mut self.peers[number];
        let is_there = peer.serve(id, &mut self.bridge, &mut turn, &mut self.waits);
        Some((number, is_there))
    }

    /// Whose barriers and questions wait for the workers.
    fn waiting(&self) -> Vec<u64> {
        let waits = self.waits.iter().map(|then| match then {
            Then::Barrier { peer, .. } | Then::Answer { peer, .. } => peer.0,
            other => panic!("{other:?}"),
        });
        waits.collect()
    }

    fn flows(&self) -> usize {
        let all = FlowStatsRequest::default();
        let flows = self.world.switch.flows(self.bridge.agent.bridge, &all);
        flows.count()
    }
}

fn change(line: &str) -> FlowMod {
    text::flow::parse(line, FlowModCommand::Add).unwrap()
}

fn group(line: &str, command: GroupModCommand) -> GroupMod {
    text::group::parse(line, command).unwrap()
}

fn meter(line: &str, command: MeterModCommand) -> MeterMod {
    text::meter::parse(line, command).unwrap()
}

fn delete_all() -> Message {
    let delete = text::flow::parse("", FlowModCommand::Delete).unwrap();
    Message::FlowMod(Box::new(delete))
}

#[test]
fn others_have_their_turn_while_all_flows_go() {
    let mut scene = Scene::new();
    scene.say(0, delete_all());
    scene.say(0, Message::BarrierRequest);
    let add = change("priority=9,udp,actions=output:2");
    scene.say(1, Message::FlowMod(Box::new(add)));
    scene.say(1, Message::BarrierRequest);
    assert_eq!(scene.turn(), Some((0, true)));
    let left = scene.flows();
    assert!(left > FLOWS / 3 && left < FLOWS, "{left}");
    assert_eq!(scene.turn(), Some((1, true)));
    assert_eq!(scene.waiting(), [1], "the other's barrier does not wait");
    assert_eq!(scene.flows(), left + 1);
    let mut turns = 1;
    while scene.turn().is_some() {
        turns += 1;
        assert!(scene.flows() > 1 || scene.waiting() == [1, 0] || turns < 10);
    }
    assert!(turns > 2, "{turns}");
    assert_eq!(
        scene.waiting(),
        [1, 0],
        "its own barrier waits for the last"
    );
    assert_eq!(scene.flows(), 1, "what came later is still there");
}

/// Messages for which all flows have to go.
fn last_messages(scene: &Scene) -> [Message; 5] {
    let id = scene.bridge.agent.bridge;
    let mut tables = scene.world.switch.table_features(id);
    tables.truncate(1);
    for property in &mut tables[0].properties {
        match property {
            TableProperty::NextTables { tables, .. } => tables.clear(),
            TableProperty::Match(fields) => fields.clear(),
            _ => {}
        }
    }
    let request = MultipartRequest::TableFeatures(tables);
    [
        Message::GroupMod(group("group_id=1", GroupModCommand::Delete)),
        Message::GroupMod(group("group_id=all", GroupModCommand::Delete)),
        Message::MeterMod(meter("meter=1", MeterModCommand::Delete)),
        Message::MeterMod(meter("meter=all", MeterModCommand::Delete)),
        Message::MultipartRequest {
            more: false,
            request,
        },
    ]
}

#[test]
fn others_have_their_turn_while_what_all_flows_need_goes() {
    for number in 0..5 {
        let mut scene = Scene::new();
        let message = last_messages(&scene)[number].clone();
        let is_request = matches!(message, Message::MultipartRequest { .. });
        scene.say(0, message);
        scene.say(0, Message::BarrierRequest);
        scene.say(1, Message::BarrierRequest);
        assert_eq!(scene.turn(), Some((0, true)));
        let left = scene.flows();
        assert!(left > FLOWS / 3 && left < FLOWS, "{number}: {left}");
        assert_eq!(scene.turn(), Some((1, true)));
        assert_eq!(scene.waiting(), [1], "the other's barrier does not wait");
        let mut bytes = Vec::new();
        while scene.flows() > 0 {
            assert!(
                !scene.peers[0].outbox.take(&mut bytes, 0),
                "{number}: not yet"
            );
            assert_eq!(scene.waiting(), [1]);
            scene.turn().expect("there is more to do");
        }
        while scene.turn().is_some() {}
        assert_eq!(
            scene.waiting(),
            [1, 0],
            "its own barrier waits for the last"
        );
        assert_eq!(scene.peers[0].outbox.take(&mut bytes, 0), is_request);
    }
}

#[test]
fn what_is_said_of_a_cleared_bridge_waits_until_monitors_were_told() {
    let mut scene = Scene::new();
    let id = scene.bridge.agent.bridge;
    scene.world.switch.watch(id, true);
    scene.bridge.agent.clear(&mut scene.world.switch);
    assert_eq!(scene.flows(), 0);
    scene.say(0, Message::BarrierRequest);
    scene.say(1, Message::BarrierRequest);
    let mut turns = 0;
    while scene.bridge.agent.is_telling() {
        assert!(scene.waiting().is_empty());
        scene.turn().expect("there is more to tell");
        turns += 1;
    }
    assert!(turns > 5, "{turns}");
    while scene.turn().is_some() {}
    assert_eq!(scene.waiting().len(), 2);
}

#[test]
fn what_a_peer_asked_for_is_done_although_it_went() {
    let mut scene = Scene::new();
    scene.say(0, delete_all());
    assert_eq!(scene.turn(), Some((0, true)));
    assert!(scene.flows() > 0);
    scene.leave(0);
    let mut is_there = true;
    while let Some((_, served)) = scene.turn() {
        is_there = served;
    }
    assert_eq!((is_there, scene.flows()), (false, 0));
}

#[test]
fn a_connection_that_is_lost_in_the_midst_of_a_change_takes_it_along() {
    let mut scene = Scene::new();
    scene.say(0, delete_all());
    scene.turn();
    let left = scene.flows();
    let (bridge, world) = (&mut scene.bridge, &mut scene.world);
    bridge.disconnect(PeerId(0), &mut world.switch, 0);
    while scene.turn().is_some() {}
    assert_eq!(scene.flows(), left);
    assert!(matches!(scene.peers[0].stage, Stage::Idle));
}

#[test]
fn who_went_without_reading_is_forgotten() {
    let mut scene = Scene::new();
    scene.peers[0].outbox.reply(vec![0; REPLY_BYTES_MAX + 1]);
    scene.leave(0);
    assert_eq!(scene.turn(), Some((0, false)));
}

#[test]
fn sums_over_many_flows_take_several_turns() {
    let mut scene = Scene::new();
    let request = MultipartRequest::Aggregate(Box::default());
    let more = false;
    scene.say(0, Message::MultipartRequest { more, request });
    scene.turn();
    let Some(Then::Answer { xid, request, .. }) = scene.waits.pop() else {
        panic!("the workers are asked for their counters");
    };
    let mut turn = Turn {
        switch: &mut scene.world.switch,
        ports: &mut scene.world.ports,
        now_ms: 0,
        work: &mut scene.work,
    };
    let answer = scene
        .bridge
        .agent
        .answer(&mut turn, PeerId(0), xid, &request);
    scene.peers[0].send(answer.unwrap().expect("it may take long"));
    scene.say(1, Message::BarrierRequest);
    assert_eq!(scene.turn(), Some((0, true)));
    assert_eq!(scene.turn(), Some((1, true)));
    let mut bytes = Vec::new();
    assert!(!scene.peers[0].outbox.take(&mut bytes, 0), "not yet");
    assert_eq!(scene.waiting(), [1]);
    let turns = std::iter::from_fn(|| scene.turn()).count();
    assert!(turns > 2, "{turns}");
    assert!(scene.peers[0].outbox.take(&mut bytes, 0));
    let (_, told) = v13::decode(&bytes).unwrap();
    let Message::MultipartReply {
        reply: MultipartReply::Aggregate(sums),
        ..
    } = told
    else {
        panic!("{told:?}");
    };
    assert_eq!(sums.flows as usize, FLOWS);
}
