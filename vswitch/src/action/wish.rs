//! What a packet wants changed in the tables (ovs-actions(7), `learn` and `fin_timeout`).
//!
//! Only control writes tables, so a worker tells it of a wish and goes on: the packets behind come
//! to the tables as they were until control has made the flow and published it, some microseconds
//! or, in a stream of such flows, a few milliseconds.
//! A wish that many packets have is told of once in a while, which is what keeps a flow's hard
//! timeout from ending.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use openflow::FlowMod;

use super::BridgeId;

/// A change of the tables that a packet asks for.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Wish {
    /// The bridge.
    pub bridge: BridgeId,
    /// What is to be there.
    pub kind: WishKind,
    told: Told,
}

/// What a packet asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum WishKind {
    /// A flow, or that it goes on being there.
    Flow {
        /// The flow.
        flow: Box<FlowMod>,
        /// Flows of its table and cookie at most; 0 for any number.
        limit: u32,
    },
    /// That the timeouts of the flow it met are no longer than these.
    Shorter {
        /// The row of the flow.
        row: u32,
        /// Its serial number.
        serial: u64,
        /// Idle timeout, 0 to leave it.
        idle_timeout_s: u16,
        /// Hard timeout, 0 to leave it.
        hard_timeout_s: u16,
    },
}

impl Hash for WishKind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            WishKind::Flow { flow, .. } => {
                (flow.table, flow.priority, flow.cookie, &flow.matching).hash(state);
            }
            WishKind::Shorter { row, serial, .. } => (row, serial).hash(state),
        }
    }
}

impl Wish {
    /// A wish that nobody was told of.
    pub fn new(bridge: BridgeId, kind: WishKind) -> Wish {
        let told = Told::default();
        Wish { bridge, kind, told }
    }

    /// Whether control was not told of it in the last `repeat_ms`.
    #[inline]
    pub fn is_due(&self, now_ms: u64, repeat_ms: u64) -> bool {
        let told_ms = self.told.0.load(Ordering::Relaxed);
        told_ms == 0 || now_ms >= told_ms + repeat_ms
    }

    /// Notes that control is told of it now.
    pub fn note_told(&self, now_ms: u64) {
        self.told.0.store(now_ms.max(1), Ordering::Relaxed);
    }
}

/// When control was told, 0 for never: nothing that tells wishes apart. Written by one worker.
#[derive(Debug, Default)]
struct Told(AtomicU64);

impl PartialEq for Told {
    fn eq(&self, _: &Told) -> bool {
        true
    }
}

impl Eq for Told {}

impl Hash for Told {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
