//! Asynchronous messages: which peer hears of what (OpenFlow 1.3.5 §6.3.5, §7.4).

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use openflow::{AsyncMasks, Message, PacketInReason, Role, Xid, v13};
use tracing::debug;

use super::{Agent, Outbox, Peer, PeerId, PeerKind};
use crate::pipeline::{RemovedFlow, Switch};

impl Peer {
    /// What the peer hears of in its role. A tool hears of nothing until it sets a length.
    pub(super) fn wants(&self) -> AsyncMasks {
        match self.role {
            _ if self.kind == PeerKind::Service && self.miss_send_len == 0 => AsyncMasks::default(),
            _ if matches!(self.kind, PeerKind::Auxiliary { .. }) => AsyncMasks::default(),
            Role::Slave => self.wants.slave,
            Role::NoChange | Role::Equal | Role::Master => self.wants.master,
        }
    }
}

impl Peer {
    /// Whether it belongs to this connection.
    pub(super) fn is_auxiliary_of(&self, peer: PeerId) -> bool {
        matches!(self.kind, PeerKind::Auxiliary { main, .. } if main == peer)
    }
}

impl Agent {
    /// The connection that a controller gets packets of this flow on: its main one, or if it has
    /// auxiliary ones always the same of them. A limit to a controller's packet-ins is kept on its
    /// main connection, so they stay there.
    pub(super) fn outbox_for_packets<'a>(
        &'a self,
        id: PeerId,
        main: &'a Peer,
        frame: &[u8],
    ) -> &'a Outbox {
        let auxiliaries = || self.peers.values().filter(|peer| peer.is_auxiliary_of(id));
        let count = auxiliaries().count();
        if count == 0 || main.outbox.is_paced() {
            return &main.outbox;
        }
        let addresses = &frame[..frame.len().min(ADDRESS_BYTES)];
        let number = FixedState::default().hash_one(addresses) as usize % count;
        let chosen = auxiliaries().nth(number);
        chosen.map_or(&main.outbox, |peer| &peer.outbox)
    }

    /// Sends a message to every peer whose choice says yes.
    pub(super) fn notify(&self, message: &Message, wanted: impl Fn(AsyncMasks) -> bool) {
        let mut bytes = Vec::new();
        for peer in self.peers.values().filter(|peer| wanted(peer.wants())) {
            if bytes.is_empty()
                && let Err(error) = v13::encode_knowing(Xid(0), message, &self.tlvs, &mut bytes)
            {
                debug!(bridge = self.identity.name, %error, "message not sent");
                return;
            }
            peer.outbox.notice(bytes.clone());
        }
    }

    /// Tells the controllers of a flow that went, if it asked for that.
    pub fn flow_removed(&self, removed: &RemovedFlow) {
        if !removed.flow.flags.send_flow_removed {
            return;
        }
        let bit = 1 << removed.reason.number();
        let message = Message::FlowRemoved(Box::new(removed.message()));
        self.notify(&message, |wants| wants.flow_removed & bit != 0);
    }

    /// Tells the pipeline whether anybody wants packets whose time to live ended.
    pub(super) fn note_invalid_ttl(&self, switch: &mut Switch) {
        let bit = 1 << PacketInReason::InvalidTtl as u32;
        let wanted = self
            .peers
            .values()
            .any(|peer| peer.wants().packet_in & bit != 0);
        switch.set_wants_invalid_ttl(self.bridge, wanted);
    }
}

/// Ethernet addresses: what all packets of one flow have in common.
const ADDRESS_BYTES: usize = 12;
