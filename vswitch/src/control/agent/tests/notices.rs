//! Asynchronous messages: each kind, by reason and role, to those who want it and no others
//! (OpenFlow 1.3.5 §6.3.5, §7.3.10).

use openflow::*;

use super::super::PeerKind;
use super::{Scene, flow_mod};
use crate::action::PuntReason;

/// A master that hears of one thing of each kind, and a slave that hears of another.
fn choosers() -> Scene {
    let mut scene = Scene::with_peers(&[PeerKind::Controller, PeerKind::Listener]);
    scene.role(0, Role::Master, 1);
    scene.role(1, Role::Slave, 1);
    let wants = AsyncConfig {
        master: AsyncMasks {
            packet_in: 1 << PacketInReason::NoMatch as u32,
            port_status: 1 << PortReason::Add as u32,
            flow_removed: 1 << FlowRemovedReason::IdleTimeout.number(),
        },
        slave: AsyncMasks {
            packet_in: 1 << PacketInReason::Action as u32,
            port_status: 1 << PortReason::Modify as u32 | 1 << PortReason::Delete as u32,
            flow_removed: 1 << FlowRemovedReason::GroupDelete.number()
                | 1 << FlowRemovedReason::Delete.number(),
        },
    };
    for peer in [0, 1] {
        scene.tell(peer, Message::SetAsync(wants));
    }
    scene
}

fn heard(scene: &Scene) -> [usize; 2] {
    [0, 1].map(|peer| scene.sent(peer).len())
}

#[test]
fn each_hears_of_the_reasons_of_its_role() {
    let mut scene = choosers();
    for (reason, wanted) in [
        (PuntReason::NoMatch, [1, 0]),
        (PuntReason::Action, [0, 1]),
        (PuntReason::InvalidTtl, [0, 0]),
    ] {
        scene.packet_in(reason, 0);
        assert_eq!(heard(&scene), wanted, "{reason:?}");
    }
    let port = scene.ports.values().next().expect("a port").describe();
    for (reason, wanted) in [
        (PortReason::Add, [1, 0]),
        (PortReason::Delete, [0, 1]),
        (PortReason::Modify, [0, 1]),
    ] {
        scene.agent.port_status(reason, port.clone());
        assert_eq!(heard(&scene), wanted, "{reason:?}");
    }
    scene.tell(0, Message::FlowMod(Box::new(flow_mod())));
    let command = FlowModCommand::Delete;
    let delete = FlowMod {
        command,
        ..flow_mod()
    };
    scene.tell(0, Message::FlowMod(Box::new(delete)));
    let mut removed = scene.work.removed.remove(0);
    for (reason, wanted) in [
        (FlowRemovedReason::IdleTimeout, [1, 0]),
        (FlowRemovedReason::HardTimeout, [0, 0]),
        (FlowRemovedReason::Delete, [0, 1]),
        (FlowRemovedReason::GroupDelete, [0, 1]),
    ] {
        removed.reason = reason;
        scene.agent.flow_removed(&removed);
        assert_eq!(heard(&scene), wanted, "{reason:?}");
    }
}

#[test]
fn another_role_hears_of_other_things_at_once() {
    let mut scene = choosers();
    scene.role(1, Role::Master, 2);
    scene.packet_in(PuntReason::Action, 0);
    assert_eq!(heard(&scene), [1, 0], "they changed places");
    scene.packet_in(PuntReason::NoMatch, 0);
    assert_eq!(heard(&scene), [0, 1]);
    scene.role(1, Role::Equal, 0);
    scene.packet_in(PuntReason::NoMatch, 0);
    assert_eq!(heard(&scene), [0, 1], "an equal hears what a master does");
}

#[test]
fn a_length_of_nothing_and_of_everything() {
    let mut scene = Scene::with_peers(&[PeerKind::Controller]);
    let mut wants = AsyncConfig::default();
    wants.master.packet_in = 1 << PacketInReason::InvalidTtl as u32;
    scene.tell(0, Message::SetAsync(wants));
    for (miss_send_len, bytes, is_kept) in [(0, 0, true), (64, 64, true), (0xffff, 200, false)] {
        let fragments = Fragments::Normal;
        scene.tell(
            0,
            Message::SetConfig(SwitchConfig {
                fragments,
                miss_send_len,
            }),
        );
        scene.packet_in(PuntReason::InvalidTtl, 0);
        let Message::PacketIn(packet) = scene.sent(0).remove(0) else {
            panic!("a packet-in");
        };
        let told = (packet.data.len(), packet.buffer_id.is_some());
        assert_eq!(told, (bytes, is_kept), "{miss_send_len}");
    }
}
