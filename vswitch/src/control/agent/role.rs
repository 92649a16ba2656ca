//! Roles of controllers, and what each of them may ask (OpenFlow 1.3.5 §6.3.4 to §6.3.6).

use openflow::{
    AsyncConfig, ErrorCode, Message, MultipartRequest, NiciraMessage, Role, RoleMessage,
};

use super::{Agent, PeerId, Turn};

impl Agent {
    /// Refuses what a slave may not ask.
    pub(super) fn check_role(&self, peer: PeerId, message: &Message) -> Result<(), ErrorCode> {
        let is_slave = self
            .peers
            .get(&peer)
            .is_some_and(|peer| peer.role == Role::Slave);
        if is_slave && changes_the_switch(message) {
            return Err(ErrorCode::BAD_REQUEST_IS_SLAVE);
        }
        Ok(())
    }

    /// Gives a peer the role it asks for. There is one master at most: the one before becomes a
    /// slave.
    pub(super) fn request_role(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        request: RoleMessage,
    ) -> Result<RoleMessage, ErrorCode> {
        if matches!(request.role, Role::Master | Role::Slave) {
            self.check_generation(request.generation_id)?;
            self.generation_id = Some(request.generation_id);
        }
        if request.role == Role::Master {
            let masters = self
                .peers
                .values_mut()
                .filter(|peer| peer.role == Role::Master);
            masters.for_each(|peer| peer.role = Role::Slave);
        }
        let peer = self
            .peers
            .get_mut(&peer)
            .ok_or(ErrorCode::BAD_REQUEST_EPERM)?;
        if request.role != Role::NoChange {
            peer.role = request.role;
        }
        let generation_id = self.generation_id.unwrap_or(NO_GENERATION);
        let reply = RoleMessage {
            role: peer.role,
            generation_id,
        };
        self.note_invalid_ttl(turn.switch);
        Ok(reply)
    }

    /// Elections are numbered in a circle: one is newer if less than half of it lies ahead.
    fn check_generation(&self, asked: u64) -> Result<(), ErrorCode> {
        let newest = self.generation_id.unwrap_or(asked);
        match (asked.wrapping_sub(newest) as i64) < 0 {
            true => Err(ErrorCode::ROLE_REQUEST_FAILED_STALE),
            false => Ok(()),
        }
    }

    /// Takes a peer's choice of asynchronous messages.
    pub(super) fn set_async(&mut self, turn: &mut Turn<'_>, peer: PeerId, wants: AsyncConfig) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.wants = wants;
        }
        self.note_invalid_ttl(turn.switch);
    }
}

fn changes_the_switch(message: &Message) -> bool {
    match message {
        Message::PacketOut(_)
        | Message::FlowMod(_)
        | Message::GroupMod(_)
        | Message::PortMod(_)
        | Message::TableMod(_)
        | Message::MeterMod(_)
        | Message::Nicira(NiciraMessage::Resume(_) | NiciraMessage::TlvTableMod(_))
        | Message::Bundle(_)
        | Message::BundleAdd(_)
        | Message::CtFlush(_) => true,
        Message::MultipartRequest {
            request: MultipartRequest::TableFeatures(tables),
            ..
        } => !tables.is_empty(),
        _ => false,
    }
}

/// What a reply says before the first election.
const NO_GENERATION: u64 = u64::MAX;
