//! The agent's dialogues, without sockets: messages in, what its peers' outboxes hold out.

use std::sync::Arc;

use flowtable::{Carried, FlowKey};
use openflow::{PacketOut, *};

use super::{Agent, Next, Outbox, PeerId, PeerKind, Ports, Switch, Turn, TwoPorts, Work};
use crate::action::{Punt, PuntReason};
use crate::pipeline::BridgeSpec;

mod bundles;
mod dialogues;
mod lists;
mod monitors;
mod notices;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A bridge with ports 1 (`a`) and 2 (`b`).
struct Scene {
    switch: Switch,
    ports: Ports,
    work: Work,
    agent: Agent,
    outboxes: Vec<Arc<Outbox>>,
    now_ms: u64,
}

impl Scene {
    fn new() -> Scene {
        let world = TwoPorts::new(BridgeSpec::default());
        Scene {
            switch: world.switch,
            ports: world.ports,
            work: Work::default(),
            agent: world.agent,
            outboxes: Vec::new(),
            now_ms: 0,
        }
    }

    fn with_peers(kinds: &[PeerKind]) -> Scene {
        let mut scene = Scene::new();
        for (number, kind) in kinds.iter().enumerate() {
            let outbox = Arc::new(Outbox::default());
            scene
                .agent
                .connect(PeerId(number as u64), *kind, outbox.clone());
            scene.outboxes.push(outbox);
        }
        scene
    }

    fn send(&mut self, peer: u64, message: Message) -> Next {
        let mut turn = Turn {
            switch: &mut self.switch,
            ports: &mut self.ports,
            now_ms: self.now_ms,
            work: &mut self.work,
        };
        self.agent
            .receive(&mut turn, PeerId(peer), Xid(7), message, &[9; 100])
    }

    /// What waits for a peer.
    fn sent(&self, peer: usize) -> Vec<Message> {
        let mut bytes = Vec::new();
        while self.outboxes[peer].take(&mut bytes, 0) {}
        let mut messages = Vec::new();
        let mut rest = &bytes[..];
        while let [_, _, high, low, ..] = rest {
            let (message, more) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
            messages.push(v13::decode(message).unwrap().1);
            rest = more;
        }
        messages
    }

    /// Sends a message that is answered by one, at once or when the workers have told what they
    /// counted.
    fn ask(&mut self, peer: u64, message: Message) -> Message {
        match self.send(peer, message) {
            Next::Done => {}
            Next::Count(request) => self.answer(peer, &request),
            other => panic!("{other:?}"),
        }
        let mut sent = self.sent(peer as usize);
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// What is answered when the workers have told what they counted.
    fn list(
        &mut self,
        peer: u64,
        request: &MultipartRequest,
    ) -> Result<Option<super::Dump>, ErrorCode> {
        let mut turn = Turn {
            switch: &mut self.switch,
            ports: &mut self.ports,
            now_ms: self.now_ms,
            work: &mut self.work,
        };
        self.agent.answer(&mut turn, PeerId(peer), Xid(7), request)
    }

    fn answer(&mut self, peer: u64, request: &MultipartRequest) {
        let answer = self.list(peer, request);
        let peer = PeerId(peer);
        match answer {
            Ok(None) => {}
            Ok(Some(mut list)) => {
                while !list.step(&self.switch, &self.outboxes[peer.0 as usize]) {}
            }
            Err(code) => self.agent.refuse(peer, Xid(7), code, &[9; 100]),
        }
    }

    fn error(&mut self, peer: u64, message: Message) -> ErrorCode {
        match self.ask(peer, message) {
            Message::Error(error) => {
                assert_eq!(error.data, [9; 64]);
                error.code
            }
            other => panic!("{other:?}"),
        }
    }

    /// Sends a message that is not answered.
    fn tell(&mut self, peer: u64, message: Message) {
        assert_eq!(self.send(peer, message), Next::Done);
        assert_eq!(self.sent(peer as usize), []);
    }

    fn role(&mut self, peer: u64, role: Role, generation_id: u64) -> Message {
        self.ask(
            peer,
            Message::RoleRequest(RoleMessage {
                role,
                generation_id,
            }),
        )
    }

    fn packet_in(&mut self, reason: PuntReason, max_len: u16) {
        let metadata = FlowKey {
            in_port: 1,
            metadata: 5,
            ..FlowKey::default()
        };
        let punt = Punt {
            bridge: self.agent.bridge,
            reason,
            table: TableId(3),
            cookie: 77,
            max_len,
            metadata: Box::new(metadata),
            written: Carried::NONE,
            meters: Box::default(),
            controller: 0,
            userdata: [].into(),
            paused: None,
        };
        self.agent
            .packet_in((&punt, &Carried::NONE), &[0xab; 200], self.now_ms);
    }
}

fn output(port: OfPort) -> Arc<[Action]> {
    [Action::Output { port, max_len: 0 }].into()
}

fn flow_mod() -> FlowMod {
    FlowMod {
        command: FlowModCommand::Add,
        cookie: 1,
        cookie_mask: 0,
        table: TableId(0),
        idle_timeout_s: 0,
        hard_timeout_s: 0,
        priority: 5,
        buffer_id: None,
        out_port: OfPort::ANY,
        out_group: GroupId::ANY,
        flags: FlowFlags {
            send_flow_removed: true,
            ..FlowFlags::default()
        },
        matching: Default::default(),
        instructions: Instructions {
            apply: Some(output(OfPort(2))),
            ..Default::default()
        },
    }
}

fn packet_out() -> PacketOut {
    PacketOut {
        buffer_id: None,
        in_port: OfPort::CONTROLLER,
        actions: output(OfPort(1)),
        data: vec![1; 60],
    }
}

fn role_message(role: Role, generation_id: u64) -> Message {
    Message::RoleReply(RoleMessage {
        role,
        generation_id,
    })
}

#[test]
fn features_and_description_say_what_is_configured() {
    let mut scene = Scene::with_peers(&[PeerKind::Controller]);
    let Message::FeaturesReply(features) = scene.ask(0, Message::FeaturesRequest) else {
        panic!()
    };
    assert_eq!(
        (features.datapath_id, features.tables, features.buffers),
        (42, 254, 256)
    );
    let bridge = scene.agent.bridge;
    let mut tables = scene.switch.table_features(bridge);
    tables.truncate(3);
    for table in &mut tables {
        table.properties.iter_mut().for_each(|property| {
            if let TableProperty::NextTables { tables, .. } = property {
                tables.retain(|next| next.0 < 3);
            }
        });
    }
    let cut = MultipartRequest::TableFeatures(tables);
    let cut = Message::MultipartRequest {
        more: false,
        request: cut,
    };
    assert!(matches!(scene.ask(0, cut), Message::MultipartReply { .. }));
    let Message::FeaturesReply(features) = scene.ask(0, Message::FeaturesRequest) else {
        panic!()
    };
    assert_eq!(features.tables, 3, "as many as a controller asked for");
    scene.agent.identity.description.manufacturer = "Nicira, Inc.".into();
    let request = MultipartRequest::Description;
    let reply = scene.ask(
        0,
        Message::MultipartRequest {
            more: false,
            request,
        },
    );
    let Message::MultipartReply {
        reply: MultipartReply::Description(text),
        ..
    } = reply
    else {
        panic!("{reply:?}");
    };
    assert_eq!(
        (&*text.manufacturer, &*text.datapath),
        ("Nicira, Inc.", "br0")
    );
}

#[test]
fn there_is_one_master_and_a_slave_only_reads() {
    let mut scene = Scene::with_peers(&[PeerKind::Controller, PeerKind::Listener]);
    assert_eq!(
        scene.role(0, Role::NoChange, 0),
        role_message(Role::Equal, u64::MAX)
    );
    assert_eq!(
        scene.role(0, Role::Master, 10),
        role_message(Role::Master, 10)
    );
    assert_eq!(
        scene.role(1, Role::Master, 11),
        role_message(Role::Master, 11)
    );
    assert_eq!(
        scene.role(0, Role::NoChange, 0),
        role_message(Role::Slave, 11)
    );
    for change in [
        Message::FlowMod(Box::new(flow_mod())),
        Message::PacketOut(packet_out()),
        Message::TableMod(TableMod {
            table: TableId::ALL,
            config: 0,
        }),
    ] {
        assert_eq!(scene.error(0, change), ErrorCode::BAD_REQUEST_IS_SLAVE);
    }
    let barrier = Next::Barrier(Message::BarrierReply);
    assert_eq!(scene.send(0, Message::BarrierRequest), barrier);
    scene.tell(1, Message::FlowMod(Box::new(flow_mod())));
    assert_eq!(scene.role(0, Role::Equal, 0), role_message(Role::Equal, 11));
    scene.tell(0, Message::FlowMod(Box::new(flow_mod())));
}

#[test]
fn stale_elections_are_refused_and_numbers_go_in_a_circle() {
    let mut scene = Scene::with_peers(&[PeerKind::Controller]);
    let request = |generation_id| {
        Message::RoleRequest(RoleMessage {
            role: Role::Master,
            generation_id,
        })
    };
    scene.role(0, Role::Master, u64::MAX);
    assert_eq!(scene.role(0, Role::Slave, 1), role_message(Role::Slave, 1));
    assert_eq!(
        scene.error(0, request(u64::MAX)),
        ErrorCode::ROLE_REQUEST_FAILED_STALE
    );
    assert_eq!(
        scene.error(0, request(0)),
        ErrorCode::ROLE_REQUEST_FAILED_STALE
    );
    assert_eq!(
        scene.role(0, Role::Master, 1),
        role_message(Role::Master, 1)
    );
}

#[test]
fn packets_are_cut_and_kept_as_their_flow_says() {
    let mut scene = Scene::with_peers(&[PeerKind::Controller]);
    scene.packet_in(PuntReason::Action, 50);
    let Message::PacketIn(cut) = scene.sent(0).remove(0) else {
        panic!()
    };
    assert_eq!((cut.total_len, cut.data.len(), cut.cookie), (200, 50, 77));
    assert_eq!(
        (cut.table, cut.reason),
        (TableId(3), PacketInReason::Action)
    );
    assert_eq!(
        cut.matching.read(flowtable::Field::InPort),
        (1, u128::from(u32::MAX))
    );
    assert_eq!(
        cut.matching.read(flowtable::Field::Metadata),
        (5, u128::from(u64::MAX))
    );
    scene.packet_in(PuntReason::NoMatch, Punt::WHOLE);
    let Message::PacketIn(whole) = scene.sent(0).remove(0) else {
        panic!()
    };
    assert_eq!((whole.buffer_id, whole.data.len()), (None, 200));

    let buffered = PacketOut {
        buffer_id: cut.buffer_id,
        data: Vec::new(),
        ..packet_out()
    };
    scene.tell(0, Message::PacketOut(buffered.clone()));
    assert_eq!(scene.work.injections[0].frame, [0xab; 200]);
    let empty = scene.error(0, Message::PacketOut(buffered));
    assert_eq!(empty, ErrorCode::BAD_REQUEST_BUFFER_EMPTY);
    let unknown = PacketOut {
        buffer_id: Some(12),
        data: Vec::new(),
        ..packet_out()
    };
    let unknown = scene.error(0, Message::PacketOut(unknown));
    assert_eq!(unknown, ErrorCode::BAD_REQUEST_BUFFER_UNKNOWN);
}

#[test]
fn a_flow_releases_a_kept_packet_into_the_tables() {
    let mut scene = Scene::with_peers(&[PeerKind::Controller]);
    scene.packet_in(PuntReason::Action, 0);
    let Message::PacketIn(cut) = scene.sent(0).remove(0) else {
        panic!()
    };
    assert!(cut.data.is_empty());
    let change = FlowMod {
        buffer_id: cut.buffer_id,
        ..flow_mod()
    };
    scene.tell(0, Message::FlowMod(Box::new(change)));
    let injection = &scene.work.injections[0];
    assert_eq!(
        (injection.in_port, &injection.actions),
        (OfPort(1), &output(OfPort::TABLE))
    );
}

#[test]
fn who_hears_of_packets() {
    let kinds = [PeerKind::Controller, PeerKind::Listener, PeerKind::Service];
    let mut scene = Scene::with_peers(&kinds);
    let heard = |scene: &Scene| [0, 1, 2].map(|peer| scene.sent(peer).len());
    scene.packet_in(PuntReason::Action, 0);
    assert_eq!(heard(&scene), [1, 1, 0]);
    let config = SwitchConfig {
        fragments: Fragments::Normal,
        miss_send_len: 100,
    };
    scene.tell(2, Message::SetConfig(config));
    assert_eq!(
        scene.ask(2, Message::ConfigRequest),
        Message::ConfigReply(config)
    );
    scene.packet_in(PuntReason::Action, 0);
    assert_eq!(heard(&scene), [1, 1, 1]);
    scene.role(1, Role::Slave, 1);
    scene.packet_in(PuntReason::Action, 0);
    assert_eq!(heard(&scene), [1, 0, 1]);
    scene.packet_in(PuntReason::InvalidTtl, 0);
    assert_eq!(heard(&scene), [0, 0, 0]);

    let mut wants = AsyncConfig::default();
    wants.master.packet_in = 0b100;
    wants.slave.packet_in = 0b010;
    scene.tell(0, Message::SetAsync(wants));
    scene.tell(1, Message::SetAsync(wants));
    assert_eq!(
        scene.ask(0, Message::AsyncRequest),
        Message::AsyncReply(wants)
    );
    let bridge = |scene: &Scene| scene.switch.state().bridge(scene.agent.bridge).cloned();
    assert!(bridge(&scene).unwrap().wants_invalid_ttl);
    scene.packet_in(PuntReason::Action, 0);
    assert_eq!(heard(&scene), [0, 1, 1]);
    scene.packet_in(PuntReason::InvalidTtl, 0);
    let Message::PacketIn(packet) = scene.sent(0).remove(0) else {
        panic!()
    };
    assert_eq!(
        packet.data.len(),
        128,
        "cut at the connection's miss_send_len"
    );
    scene.agent.disconnect(PeerId(0), &mut scene.switch);
    assert!(!bridge(&scene).unwrap().wants_invalid_ttl);
}

#[test]
fn fragments_are_the_bridges_and_lengths_the_peers() {
    let mut scene = Scene::with_peers(&[PeerKind::Controller, PeerKind::Controller]);
    let config = |fragments, miss_send_len| SwitchConfig {
        fragments,
        miss_send_len,
    };
    let default = config(Fragments::Normal, 128);
    assert_eq!(
        scene.ask(0, Message::ConfigRequest),
        Message::ConfigReply(default)
    );
    scene.tell(0, Message::SetConfig(config(Fragments::Drop, 64)));
    let state = scene.switch.state();
    assert!(state.bridge(scene.agent.bridge).unwrap().drops_fragments);
    assert_eq!(
        scene.ask(1, Message::ConfigRequest),
        Message::ConfigReply(config(Fragments::Drop, 128))
    );
    let reassemble = Message::SetConfig(config(Fragments::Reassemble, 9));
    assert_eq!(
        scene.error(0, reassemble),
        ErrorCode::SWITCH_CONFIG_FAILED_BAD_FLAGS
    );
    scene.role(1, Role::Slave, 1);
    let normal = Message::SetConfig(config(Fragments::Normal, 9));
    assert_eq!(scene.error(1, normal), ErrorCode::BAD_REQUEST_IS_SLAVE);
    scene.tell(1, Message::SetConfig(config(Fragments::Drop, 9)));
    assert_eq!(
        scene.ask(1, Message::ConfigRequest),
        Message::ConfigReply(config(Fragments::Drop, 9))
    );
    assert_eq!(
        scene.ask(0, Message::ConfigRequest),
        Message::ConfigReply(config(Fragments::Drop, 64))
    );
}

#[test]
fn packets_out_are_checked() {
    let mut scene = Scene::with_peers(&[PeerKind::Controller]);
    scene.tell(0, Message::PacketOut(packet_out()));
    assert_eq!(scene.work.injections.len(), 1);
    let from = |in_port| {
        Message::PacketOut(PacketOut {
            in_port,
            ..packet_out()
        })
    };
    scene.tell(0, from(OfPort(2)));
    assert_eq!(
        scene.error(0, from(OfPort(3))),
        ErrorCode::BAD_REQUEST_BAD_PORT
    );
    assert_eq!(
        scene.error(0, from(OfPort::FLOOD)),
        ErrorCode::BAD_REQUEST_BAD_PORT
    );
    let short = PacketOut {
        data: vec![0; 13],
        ..packet_out()
    };
    let short = scene.error(0, Message::PacketOut(short));
    assert_eq!(short, ErrorCode::BAD_REQUEST_BAD_PACKET);
    let nowhere = PacketOut {
        actions: output(OfPort::ANY),
        ..packet_out()
    };
    let nowhere = scene.error(0, Message::PacketOut(nowhere));
    assert_eq!(nowhere, ErrorCode::BAD_ACTION_BAD_OUT_PORT);
    assert_eq!(scene.work.injections.len(), 2);
}

#[test]
fn flows_that_go_are_told_to_who_wants_to_know() {
    let mut scene = Scene::with_peers(&[PeerKind::Controller, PeerKind::Controller]);
    scene.role(1, Role::Slave, 1);
    scene.tell(0, Message::FlowMod(Box::new(flow_mod())));
    scene.now_ms = 1500;
    let delete = FlowMod {
        command: FlowModCommand::Delete,
        ..flow_mod()
    };
    scene.tell(0, Message::FlowMod(Box::new(delete)));
    let removed = scene.work.removed.remove(0);
    scene.agent.flow_removed(&removed);
    let Message::FlowRemoved(told) = scene.sent(0).remove(0) else {
        panic!()
    };
    assert_eq!((told.reason, told.cookie), (FlowRemovedReason::Delete, 1));
    assert_eq!(told.duration.as_millis(), 1500);
    assert_eq!(scene.sent(1), []);
}

#[test]
fn ports_are_configured_and_everybody_hears_of_it() {
    let mut scene = Scene::with_peers(&[PeerKind::Controller, PeerKind::Listener]);
    let down = PortConfig {
        port_down: true,
        ..PortConfig::default()
    };
    let change = PortMod {
        port: OfPort(2),
        mac: MAC,
        config: PortConfig {
            port_down: true,
            no_forward: true,
            ..PortConfig::default()
        },
        mask: down,
        advertise: PortFeatures::default(),
    };
    assert_eq!(scene.send(0, Message::PortMod(change)), Next::Done);
    for peer in [0, 1] {
        let Message::PortStatus(status) = scene.sent(peer).remove(0) else {
            panic!()
        };
        assert_eq!(
            (status.reason, status.port.config),
            (PortReason::Modify, down)
        );
    }
    scene.tell(0, Message::PortMod(change));
    let wrong = |change: PortMod, code: ErrorCode, scene: &mut Scene| {
        assert_eq!(scene.error(0, Message::PortMod(change)), code);
    };
    let bad_port = ErrorCode::PORT_MOD_FAILED_BAD_PORT;
    wrong(
        PortMod {
            port: OfPort(9),
            ..change
        },
        bad_port,
        &mut scene,
    );
    let bad_address = ErrorCode::PORT_MOD_FAILED_BAD_HW_ADDR;
    wrong(
        PortMod {
            mac: [0; 6],
            ..change
        },
        bad_address,
        &mut scene,
    );
    let bad_advertise = ErrorCode::PORT_MOD_FAILED_BAD_ADVERTISE;
    let advertise = PortFeatures::GB_1_FULL;
    wrong(
        PortMod {
            advertise,
            ..change
        },
        bad_advertise,
        &mut scene,
    );
}

#[test]
fn queues_and_ports_are_told_by_number() {
    let mut scene = Scene::with_peers(&[PeerKind::Service]);
    let multipart = |request| Message::MultipartRequest {
        more: false,
        request,
    };
    let all = scene.ask(0, multipart(MultipartRequest::PortStats(OfPort::ANY)));
    let Message::MultipartReply {
        reply: MultipartReply::PortStats(stats),
        ..
    } = all
    else {
        panic!("{all:?}");
    };
    assert_eq!(
        stats.iter().map(|port| port.port.0).collect::<Vec<_>>(),
        [1, 2]
    );
    let none = multipart(MultipartRequest::PortStats(OfPort(9)));
    assert_eq!(scene.error(0, none), ErrorCode::BAD_REQUEST_BAD_PORT);
    let queue = |port, queue| multipart(MultipartRequest::Queue { port, queue });
    let only = |reply| match reply {
        Message::MultipartReply {
            reply: MultipartReply::Queue(queues),
            ..
        } => queues
            .iter()
            .map(|it| (it.port.0, it.queue.0))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let all = scene.ask(0, queue(OfPort::ANY, QueueId::ALL));
    assert_eq!(only(all), [(1, 0), (2, 0)]);
    let one = scene.ask(0, queue(OfPort(2), QueueId(0)));
    assert_eq!(only(one), [(2, 0)]);
    let bad_queue = ErrorCode::QUEUE_OP_FAILED_BAD_QUEUE;
    assert_eq!(scene.error(0, queue(OfPort(1), QueueId(1))), bad_queue);
    let bad_port = ErrorCode::QUEUE_OP_FAILED_BAD_PORT;
    assert_eq!(scene.error(0, queue(OfPort(9), QueueId::ALL)), bad_port);
    let config = scene.ask(0, Message::QueueConfigRequest(OfPort(2)));
    let queues = QueueConfig {
        port: OfPort(2),
        queues: vec![Queue {
            queue: QueueId(0),
            port: OfPort(2),
            rate_permille_min: None,
            rate_permille_max: None,
        }],
    };
    assert_eq!(config, Message::QueueConfigReply(queues));
    assert_eq!(
        scene.error(0, Message::QueueConfigRequest(OfPort(9))),
        bad_port
    );
}

#[test]
fn what_only_a_switch_says_is_refused() {
    let mut scene = Scene::with_peers(&[PeerKind::Controller]);
    assert_eq!(
        scene.error(0, Message::BarrierReply),
        ErrorCode::BAD_REQUEST_BAD_TYPE
    );
    let stranger = Experimenter {
        experimenter: 1,
        kind: 2,
        data: Vec::new(),
    };
    let bad_experimenter = ErrorCode::BAD_REQUEST_BAD_EXPERIMENTER;
    assert_eq!(
        scene.error(0, Message::Experimenter(stranger.clone())),
        bad_experimenter
    );
    let request = MultipartRequest::Experimenter(stranger);
    let request = Message::MultipartRequest {
        more: false,
        request,
    };
    assert_eq!(scene.error(0, request), bad_experimenter);
    let drop = SwitchConfig {
        fragments: Fragments::Reassemble,
        miss_send_len: 0,
    };
    let bad_flags = ErrorCode::SWITCH_CONFIG_FAILED_BAD_FLAGS;
    assert_eq!(scene.error(0, Message::SetConfig(drop)), bad_flags);
}
