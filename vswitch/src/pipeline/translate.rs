//! Translation of OpenFlow into a datapath program: what happens to one packet.

use std::sync::Arc;

use flowtable::FlowKey;
use openflow::{Action, OfPort};

use super::{Points, State, Trace};
use crate::action::{BridgeId, DropReason, PortNo, Program};

/// What a translation works with.
#[derive(Debug)]
pub struct Context<'a> {
    /// The published state.
    pub state: &'a State,
    /// The worker's recirculation points.
    pub points: &'a mut Points,
}

/// Where a packet enters the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// It has just come in by a port.
    Port(PortNo),
    /// It was parsed again at a recirculation point.
    Point(u32),
    /// A controller sends it.
    PacketOut {
        /// By way of this bridge.
        bridge: BridgeId,
        /// As if it had come in by this port; [`OfPort::CONTROLLER`] or [`OfPort::ANY`] if none.
        in_port: OfPort,
        /// With these actions.
        actions: Arc<[Action]>,
    },
}

/// What a translation found.
#[derive(Clone, Debug, Default)]
pub struct Translation {
    /// What the packet undergoes.
    pub program: Program,
    /// What the control thread should hear of.
    pub effects: Vec<Effect>,
    /// Whether packets with the same bits under the entry's mask may have the program too. Not so
    /// while an address is to be learned: every such packet must tell of it.
    pub cacheable: bool,
}

/// What the control thread should hear of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// An address was heard on a port that the bridge does not know of.
    Learn(Learn),
}

/// An address heard on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Learn {
    /// The bridge that learns.
    pub bridge: BridgeId,
    /// VLAN, 0 for none.
    pub vlan: u16,
    /// Address, 48 bits.
    pub mac: u64,
    /// Port.
    pub port: PortNo,
}

/// Decides what happens to a packet.
///
/// Of `key` only the header part is read (what the parser wrote), and of it only the bits of the
/// entry's mask: [`State::entry_mask`] or [`Points::entry_mask`].
pub fn translate(
    context: &mut Context<'_>,
    ingress: Ingress,
    key: &FlowKey,
    trace: &mut impl Trace,
) -> Translation {
    let _ = (context, ingress, key, trace);
    Translation {
        program: Program {
            drop: Some(DropReason::NoOutput),
            ..Program::default()
        },
        ..Translation::default()
    }
}
