//! Long lists on their way to a peer: a message at a time, in memory that does not grow with the
//! list. The peer's connection asks for the next message once the last has left.

use openflow::v13::ReplyStream;
use openflow::{MultipartReply, Xid};
use tracing::warn;

use super::Outbox;
use super::monitor::WatchedFlows;
use crate::pipeline::{FlowList, Switch};

/// A long list.
#[derive(Debug)]
pub struct Dump {
    stream: ReplyStream<Pieces>,
    /// Whether nothing is sent if there is nothing in it.
    is_optional: bool,
}

/// What the list is made of, each piece when its turn comes.
#[derive(Debug)]
pub(super) enum Pieces {
    /// Flows with their statistics.
    Flows { flows: FlowList, now_ms: u64 },
    /// Flows that monitors are for.
    Watched(WatchedFlows),
}

impl Pieces {
    /// A list of this kind without entries.
    fn empty(&self) -> MultipartReply {
        match self {
            Pieces::Flows { .. } => MultipartReply::Flow(Vec::new()),
            Pieces::Watched(_) => MultipartReply::FlowMonitor(Vec::new()),
        }
    }
}

impl Iterator for Pieces {
    type Item = MultipartReply;

    fn next(&mut self) -> Option<MultipartReply> {
        Some(match self {
            Pieces::Flows { flows, now_ms } => {
                MultipartReply::Flow(vec![flows.next()?.stats(*now_ms)])
            }
            Pieces::Watched(flows) => MultipartReply::FlowMonitor(vec![flows.next()?]),
        })
    }
}

impl Dump {
    /// The answer to a request.
    pub(super) fn new(xid: Xid, pieces: Pieces) -> Dump {
        Dump {
            stream: ReplyStream::new(xid, pieces.empty(), pieces),
            is_optional: false,
        }
    }

    /// A list that nobody asked for.
    pub(super) fn unasked(pieces: Pieces) -> Dump {
        Dump {
            is_optional: true,
            ..Dump::new(Xid(0), pieces)
        }
    }

    /// Lets go of flows that went since the list was begun, if they have become too many.
    pub fn keep_up(&mut self, switch: &mut Switch) {
        if switch.flows_waiting() > FLOWS_WAITING_MAX {
            match self.stream.source() {
                Pieces::Flows { flows, .. } => flows.renew(switch.publish()),
                Pieces::Watched(flows) => flows.renew(switch.publish()),
            }
        }
    }

    /// Sends the next message; whether it was the last.
    pub fn step(&mut self, outbox: &Outbox) -> bool {
        loop {
            let mut bytes = Vec::new();
            match self.stream.encode_next(&mut bytes) {
                Ok(more) => {
                    if !self.is_optional || !self.stream.is_empty() {
                        outbox.reply(bytes);
                    }
                    return !more;
                }
                Err(error) => warn!(%error, "an entry is left out of a list"),
            }
        }
    }
}

/// Flows that went and are kept, some 150 bytes each, for lists that are still on their way: what a
/// controller changes in half a second. A peer that reads slower than that gets a list of several
/// moments.
const FLOWS_WAITING_MAX: usize = 100_000;
