//! Waits for the workers on behalf of the control task, which itself never waits.
//!
//! Some answers are true only once every worker works on the newest state (barriers) or has told
//! its counters (statistics). One task asks the workers for all that wait at that moment, and
//! gives back what was to happen then, in the order in which it was asked: a barrier is answered
//! after the flows that went before it were reported.

use std::sync::Arc;

use openflow::{Message, MultipartRequest, Xid};
use tokio::sync::mpsc;

use super::agent::PeerId;
use crate::datapath::Datapath;
use crate::pipeline::RemovedFlow;

/// What happens once the workers are done.
#[derive(Debug)]
pub enum Then {
    /// A request is answered that says that changes are in force.
    Barrier {
        /// Whose.
        peer: PeerId,
        /// Its request.
        xid: Xid,
        /// The answer.
        reply: Box<Message>,
    },
    /// Statistics are answered.
    Answer {
        /// Whose.
        peer: PeerId,
        /// Its request.
        xid: Xid,
        /// What was asked.
        request: Box<MultipartRequest>,
        /// The beginning of the request, for an error.
        bytes: Vec<u8>,
    },
    /// Controllers hear of flows that went.
    Removed(Vec<RemovedFlow>),
    /// Flows and addresses whose time is over go.
    Expire,
}

impl Then {
    fn needs_barrier(&self) -> bool {
        matches!(self, Then::Barrier { .. })
    }

    fn needs_counters(&self) -> bool {
        !self.needs_barrier()
    }
}

/// Asks the workers until nobody listens any more.
pub async fn run(
    datapath: Arc<Datapath>,
    mut waiting: mpsc::UnboundedReceiver<Then>,
    done: mpsc::UnboundedSender<Then>,
) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        if batch.iter().any(Then::needs_barrier) {
            datapath.barrier().await;
        }
        if batch.iter().any(Then::needs_counters) {
            datapath.flush_counters().await;
        }
        for then in batch.drain(..) {
            if done.send(then).is_err() {
                return;
            }
        }
    }
}

/// Each connection waits for one thing at most: this is about as many as there are controllers.
const BATCH_MAX: usize = 256;
