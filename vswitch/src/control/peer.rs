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
    /// One turn: the rest of a list, then messages, until it has to wait, its peer is to read
    /// first, or others want their turn. False at the end of the connection.
    pub fn serve(
        &mut self,
        id: PeerId,
        bridge: &mut Bridge,
        turn: &mut Turn<'_>,
        waits: &mut Vec<Then>,
    ) -> bool {
        self.signal.lower();
        if let Stage::Idle = self.stage
            && let Some(dump) = bridge.agent.resume(turn.switch, id)
        {
            self.stage = Stage::Dumping(Box::new(dump));
        }
        for _ in 0..MESSAGES_PER_TURN {
            if let Stage::Dumping(dump) = &mut self.stage {
                dump.keep_up(turn.switch);
            }
            if self.outbox.is_congested() {
                return true;
            }
            match &mut self.stage {
                Stage::Waiting => return true,
                Stage::Dumping(dump) => {
                    if dump.step(turn.switch, &self.outbox) {
                        self.stage = Stage::Idle;
                        bridge.agent.end_list(id);
                    }
                    continue;
                }
                Stage::Idle => {}
            }
            match self.inbox.try_recv() {
                Ok(incoming) => {
                    if let Some(then) = receive(id, bridge, turn, incoming) {
                        self.stage = Stage::Waiting;
                        waits.push(then);
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
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

fn receive(
    id: PeerId,
    bridge: &mut Bridge,
    turn: &mut Turn<'_>,
    incoming: Incoming,
) -> Option<Then> {
    match incoming {
        Incoming::Message {
            xid,
            message,
            bytes,
        } => match bridge.agent.receive(turn, id, xid, message, &bytes) {
            Next::Done => None,
            Next::Barrier(reply) => Some(Then::Barrier {
                peer: id,
                xid,
                reply: Box::new(reply),
            }),
            Next::Count(request) => Some(Then::Answer {
                peer: id,
                xid,
                request: Box::new(request),
                bytes,
            }),
        },
        Incoming::Malformed { xid, code, bytes } => {
            bridge.agent.refuse(id, xid, code, &bytes);
            None
        }
        Incoming::End(reason) => {
            bridge.note_end(id, reason);
            None
        }
    }
}

/// Messages of one peer in a row: enough to make publication cheap, few enough that another waits
/// less than a millisecond.
const MESSAGES_PER_TURN: usize = 64;
