//! Changes that may take long (OpenFlow 1.3.5 §6.4 to §6.6, §7.3.5.5): begun when their message
//! comes, and gone on with while the peer's next message waits.

use openflow::{ErrorCode, FlowMod, GroupMod, MeterMod, MultipartReply, TableFeatures, Xid};

use super::{Agent, Next, PeerId, Turn};
use crate::pipeline::{Begun, Sweep};

impl Agent {
    /// Changes flows.
    pub(super) fn flow_mod(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        change: &FlowMod,
    ) -> Result<Next, ErrorCode> {
        let (bridge, now_ms) = (self.bridge, turn.now_ms);
        let begun = turn.switch.begin_flow_mod(bridge, change, now_ms)?;
        let next = self.begin(turn, peer, begun);
        if next == Next::Done {
            self.end_flow_mod(turn, change)?;
        }
        Ok(next)
    }

    /// Changes groups.
    pub(super) fn group_mod(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        change: &GroupMod,
    ) -> Result<Next, ErrorCode> {
        let (bridge, now_ms) = (self.bridge, turn.now_ms);
        let begun = turn.switch.begin_group_mod(bridge, change, now_ms)?;
        Ok(self.begin(turn, peer, begun))
    }

    /// Changes meters.
    pub(super) fn meter_mod(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        change: &MeterMod,
    ) -> Result<Next, ErrorCode> {
        let (bridge, now_ms) = (self.bridge, turn.now_ms);
        let begun = turn.switch.begin_meter_mod(bridge, change, now_ms)?;
        Ok(self.begin(turn, peer, begun))
    }

    /// Makes tables as a peer wants them; it is told when the flows that they do not take are gone.
    pub(super) fn set_table_features(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        xid: Xid,
        wanted: Vec<TableFeatures>,
    ) -> Result<Next, ErrorCode> {
        let (tables, sweep) = turn.switch.set_table_features(self.bridge, wanted)?;
        let next = self.begin(turn, peer, (Vec::new(), sweep));
        if next == Next::Done {
            self.reply_part(peer, xid, MultipartReply::TableFeatures(tables));
        }
        Ok(next)
    }

    /// Takes what was done of a change, and what remains.
    fn begin(&mut self, turn: &mut Turn<'_>, peer: PeerId, (removed, sweep): Begun) -> Next {
        turn.work.removed.extend(removed);
        match (sweep, self.peers.get_mut(&peer)) {
            (Some(sweep), Some(peer)) => {
                peer.sweep = Some(Box::new(sweep));
                Next::Sweep
            }
            _ => Next::Done,
        }
    }

    /// Goes on with a peer's change.
    pub(super) fn go_on(
        &mut self,
        turn: &mut Turn<'_>,
        id: PeerId,
        xid: Xid,
    ) -> Result<Next, ErrorCode> {
        let peer = self.peers.get_mut(&id);
        let Some(mut sweep) = peer.and_then(|peer| peer.sweep.take()) else {
            return Ok(Next::Done);
        };
        let (removed, more) = sweep.step(turn.switch, turn.now_ms)?;
        turn.work.removed.extend(removed);
        if let Some(peer) = self.peers.get_mut(&id).filter(|_| more) {
            peer.sweep = Some(sweep);
            return Ok(Next::Sweep);
        }
        match &*sweep {
            Sweep::Flows(sweep) => self.end_flow_mod(turn, sweep.change())?,
            Sweep::Users(_) => {}
            Sweep::Misfits(sweep) => {
                let tables = sweep.tables().to_vec();
                self.reply_part(id, xid, MultipartReply::TableFeatures(tables));
            }
        }
        Ok(Next::Done)
    }
}
