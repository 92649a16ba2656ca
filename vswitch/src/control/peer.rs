//! A connection as the control task sees it: what its messages wait for, and whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openflow::{ErrorCode, Message, Xid};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::agent::{Dump, Next, PeerId, PeerKind, Turn};
use super::bridge::Bridge;
use super::outbox::Outbox;
use super::quiesce::Then;
use super::target::Target;
use crate::action::BridgeId;

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Connection {
    /// Its bridge.
    pub bridge: BridgeId,
    /// How it came to be.
    pub kind: PeerKind,
    /// Whom the switch dialled.
    pub target: Option<Target>,
    /// What it sends.
    pub inbox: mpsc::Receiver<Incoming>,
    /// What is sent to it.
    pub outbox: Arc<Outbox>,
    /// Raises its hand.
    pub signal: Arc<Signal>,
    /// What its next message waits for.
    pub stage: Stage,
}

/// What a peer sent.
#[derive(Debug)]
pub enum Incoming {
    /// A message.
    Message {
        /// Its number.
        xid: Xid,
        /// What it says.
        message: Message,
        /// Its beginning, for an error.
        bytes: Vec<u8>,
    },
    /// Something that is no message.
    Malformed {
        /// Its number.
        xid: Xid,
        /// What is wrong with it.
        code: ErrorCode,
        /// Its beginning.
        bytes: Vec<u8>,
    },
    /// The end of the connection, and why.
    End(String),
}

/// What a connection's next message waits for.
#[derive(Debug, Default)]
pub enum Stage {
    /// Nothing.
    #[default]
    Idle,
    /// The workers.
    Waiting,
    /// The rest of a list to be sent.
    Dumping(Box<Dump>),
    /// The rest of many flows to be changed.
    Sweeping {
        /// The request's number.
        xid: Xid,
        /// Its beginning, for an error.
        bytes: Vec<u8>,
    },
}

/// A peer's raised hand: it stands in the queue of those who want to be served, once.
#[derive(Debug)]
pub struct Signal {
    peer: PeerId,
    raised: AtomicBool,
    queue: mpsc::UnboundedSender<PeerId>,
}

impl Signal {
    /// A hand that is down.
    pub fn new(peer: PeerId, queue: mpsc::UnboundedSender<PeerId>) -> Signal {
        Signal {
            peer,
            raised: AtomicBool::new(false),
            queue,
        }
    }

    /// Asks for a turn.
    pub fn raise(&self) {
        if !self.raised.swap(true, Ordering::AcqRel) {
            let _ = self.queue.send(self.peer);
        }
    }

    /// The turn has come. An exchange, not a store: either whoever raises the hand next finds it
    /// down, or what was put into the inbox before is seen by the look that follows.
    fn lower(&self) {
        self.raised.swap(false, Ordering::AcqRel);
    }
}

impl Connection {
    /// One turn: more of what takes long, or messages, until it has to wait, its peer is to read
    /// first, or others want their turn. False at the end of the connection. What a peer asked for
    /// before it went is done, but nothing is told to it any more.
    pub fn serve(
        &mut self,
        id: PeerId,
        bridge: &mut Bridge,
        turn: &mut Turn<'_>,
        waits: &mut Vec<Then>,
    ) -> bool {
        self.signal.lower();
        if bridge.agent.is_telling() {
            bridge.agent.tell_gone(turn.switch, turn.now_ms);
            self.signal.raise();
            return true;
        }
        if let Stage::Idle = self.stage
            && let Some(dump) = bridge.agent.resume(turn.switch, id)
        {
            self.stage = Stage::Dumping(Box::new(dump));
        }
        for _ in 0..MESSAGES_PER_TURN {
            let is_gone = self.inbox.is_closed();
            if let Stage::Dumping(dump) = &mut self.stage {
                dump.keep_up(turn.switch);
            }
            match &mut self.stage {
                Stage::Waiting => return true,
                Stage::Sweeping { xid, bytes } => {
                    if bridge.agent.sweep(turn, id, *xid, bytes) {
                        self.stage = Stage::Idle;
                    }
                    break;
                }
                Stage::Dumping(_) if is_gone => self.stage = Stage::Idle,
                _ if self.outbox.is_congested() && !is_gone => return true,
                Stage::Dumping(dump) => {
                    if dump.step(turn.switch, &self.outbox) {
                        self.stage = Stage::Idle;
                        bridge.agent.end_list(id);
                    }
                    break;
                }
                Stage::Idle => match self.inbox.try_recv() {
                    Ok(incoming) => self.stage = receive(id, bridge, turn, incoming, waits),
                    Err(TryRecvError::Empty) => return true,
                    Err(TryRecvError::Disconnected) => return false,
                },
            }
        }
        self.signal.raise();
        true
    }

    /// What it waited for has come.
    pub fn go_on(&mut self) {
        self.stage = Stage::Idle;
        self.signal.raise();
    }

    /// What it waited for is a list.
    pub fn send(&mut self, dump: Dump) {
        self.stage = Stage::Dumping(Box::new(dump));
        self.signal.raise();
    }
}

/// Takes what a peer sent; what the next of it waits for.
fn receive(
    id: PeerId,
    bridge: &mut Bridge,
    turn: &mut Turn<'_>,
    incoming: Incoming,
    waits: &mut Vec<Then>,
) -> Stage {
    let then = match incoming {
        Incoming::Message {
            xid,
            message,
            bytes,
        } => match bridge.agent.receive(turn, id, xid, message, &bytes) {
            Next::Done => return Stage::Idle,
            Next::Sweep => return Stage::Sweeping { xid, bytes },
            Next::Barrier(reply) => Then::Barrier {
                peer: id,
                xid,
                reply: Box::new(reply),
            },
            Next::Count(request) => Then::Answer {
                peer: id,
                xid,
                request: Box::new(request),
                bytes,
            },
        },
        Incoming::Malformed { xid, code, bytes } => {
            bridge.agent.refuse(id, xid, code, &bytes);
            return Stage::Idle;
        }
        Incoming::End(reason) => {
            bridge.note_end(id, reason);
            return Stage::Idle;
        }
    };
    waits.push(then);
    Stage::Waiting
}

/// Messages of one peer in a row: enough to make publication cheap, few enough that another waits
/// less than a millisecond. What takes long has its turn alone.
const MESSAGES_PER_TURN: usize = 64;

#[cfg(test)]
mod tests;
