//! Bundles (ONF extension 230): messages that wait until their controller says that all of them
//! are to be carried out now.
//!
//! What: messages are decoded when they come, so that what makes no sense is refused at once, and
//! kept as bytes, so that their memory is known. A commit carries them out one after the other
//! within one turn of the control task, as one transaction of the switch; the state with all of
//! them is published once, so a packet meets all or nothing, on whichever worker. Hence every
//! bundle is atomic and ordered, whether its flags ask for that or not.
//! The reply to a commit, as that to a barrier, waits until every worker works on the new state.
//! If one message fails nothing is done: an error with that message's number says why, another
//! one refuses the commit.

use std::collections::BTreeMap;

use openflow::{
    BundleAdd, BundleControl, BundleFlags, BundleId, BundleStep, ErrorCode, Message, PortConfig,
    Xid, v13,
};
use tracing::debug;

use super::buffers::{BufferError, Buffers};
use super::packet::released_buffer;
use super::port::configured;
use super::{Agent, Next, PeerId, Ports, Turn};
use crate::action::{BridgeId, PortNo};
use crate::pipeline::{Changed, RemovedFlow, Switch};

/// The bundles of one connection.
#[derive(Debug, Default)]
pub(super) struct Bundles {
    bundles: BTreeMap<BundleId, Bundle>,
    /// Of messages in all of them.
    bytes: usize,
}

/// Messages that wait.
#[derive(Debug)]
struct Bundle {
    flags: BundleFlags,
    is_closed: bool,
    used_ms: u64,
    /// Number of the message that opened it.
    opened_by: Xid,
    /// One after the other.
    messages: Vec<u8>,
}

impl Bundles {
    fn open(
        &mut self,
        xid: Xid,
        id: BundleId,
        flags: BundleFlags,
        now_ms: u64,
    ) -> Result<&mut Bundle, ErrorCode> {
        if self.remove(id).is_some() {
            return Err(ErrorCode::BUNDLE_FAILED_BUNDLE_EXIST);
        }
        if !flags.are_known() {
            return Err(ErrorCode::BUNDLE_FAILED_BAD_FLAGS);
        }
        if self.bundles.len() >= BUNDLES_MAX {
            return Err(ErrorCode::BUNDLE_FAILED_OUT_OF_BUNDLES);
        }
        Ok(self.bundles.entry(id).or_insert(Bundle {
            flags,
            is_closed: false,
            used_ms: now_ms,
            opened_by: xid,
            messages: Vec::new(),
        }))
    }

    fn close(&mut self, id: BundleId, flags: BundleFlags, now_ms: u64) -> Result<(), ErrorCode> {
        let bundle = self.open_one(id, flags)?;
        bundle.is_closed = true;
        bundle.used_ms = now_ms;
        Ok(())
    }

    /// Adds a message; a bundle that was not opened is opened by it.
    fn add(&mut self, xid: Xid, add: &BundleAdd, now_ms: u64) -> Result<(), ErrorCode> {
        let bundle = match self.bundles.contains_key(&add.bundle) {
            true => self.open_one(add.bundle, add.flags)?,
            false => self.open(xid, add.bundle, add.flags, now_ms)?,
        };
        bundle.used_ms = now_ms;
        if self.bytes + add.message.len() > BYTES_MAX {
            return Err(ErrorCode::BUNDLE_FAILED_MSG_TOO_MANY);
        }
        self.bytes += add.message.len();
        if let Some(bundle) = self.bundles.get_mut(&add.bundle) {
            bundle.messages.extend_from_slice(&add.message);
        }
        Ok(())
    }

    /// A bundle that can be added to. What is said wrongly of one is its end.
    fn open_one(&mut self, id: BundleId, flags: BundleFlags) -> Result<&mut Bundle, ErrorCode> {
        let is_closed = |bundle: &Bundle| bundle.is_closed;
        if self.bundles.get(&id).is_some_and(is_closed) {
            self.remove(id);
            return Err(ErrorCode::BUNDLE_FAILED_BUNDLE_CLOSED);
        }
        if self.bundles.get(&id).is_some_and(|it| it.flags != flags) {
            self.remove(id);
            return Err(ErrorCode::BUNDLE_FAILED_BAD_FLAGS);
        }
        self.bundles
            .get_mut(&id)
            .ok_or(ErrorCode::BUNDLE_FAILED_BAD_ID)
    }

    /// Takes a bundle out to be carried out.
    fn take(&mut self, id: BundleId, flags: BundleFlags) -> Result<Bundle, ErrorCode> {
        let bundle = self.remove(id).ok_or(ErrorCode::BUNDLE_FAILED_BAD_ID)?;
        match bundle.flags == flags {
            true => Ok(bundle),
            false => Err(ErrorCode::BUNDLE_FAILED_BAD_FLAGS),
        }
    }

    fn remove(&mut self, id: BundleId) -> Option<Bundle> {
        let bundle = self.bundles.remove(&id)?;
        self.bytes -= bundle.messages.len();
        Some(bundle)
    }

    /// How many there are, and the bytes of all their messages.
    #[cfg(any(test, fuzzing))]
    pub(super) fn held(&self) -> (usize, usize) {
        let messages = self.bundles.values().map(|bundle| bundle.messages.len());
        assert_eq!(messages.sum::<usize>(), self.bytes);
        (self.bundles.len(), self.bytes)
    }

    /// Forgets those that nothing was said of for too long.
    fn expire(&mut self, now_ms: u64) -> Vec<(BundleId, Bundle)> {
        let is_old = |bundle: &Bundle| now_ms.saturating_sub(bundle.used_ms) >= IDLE_MS_MAX;
        let old = self.bundles.iter().filter(|(_, bundle)| is_old(bundle));
        let old: Vec<_> = old.map(|(id, _)| *id).collect();
        old.into_iter()
            .filter_map(|id| Some((id, self.remove(id)?)))
            .collect()
    }
}

impl Bundle {
    /// Its messages in order.
    fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.messages[..];
        std::iter::from_fn(move || {
            let len = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]);
            let (message, more) = rest.split_at_checked(len.into())?;
            rest = more;
            Some(message)
        })
    }
}

/// What remains to be done once the switch has taken all of a bundle.
#[derive(Debug, Default)]
struct Effects {
    removed: Vec<RemovedFlow>,
    /// With the number of the message.
    changes: Vec<(Option<Xid>, Changed)>,
    released: Vec<u32>,
    ports: BTreeMap<PortNo, PortConfig>,
}

/// What messages are carried out on.
struct Scene<'a> {
    bridge: BridgeId,
    ports: &'a Ports,
    buffers: &'a Buffers,
    now_ms: u64,
}

impl Scene<'_> {
    fn apply(
        &self,
        switch: &mut Switch,
        effects: &mut Effects,
        message: &[u8],
    ) -> Result<(), ErrorCode> {
        let decoded = v13::decode_knowing(message, &switch.tlvs(self.bridge));
        let (xid, message) = decoded.map_err(|error| error.code)?;
        let (bridge, now_ms) = (self.bridge, self.now_ms);
        let removed = match message {
            Message::FlowMod(change) => {
                let removed = switch.flow_mod(bridge, &change, now_ms)?;
                if let Some(id) = released_buffer(&change) {
                    self.note_release(effects, id).map_err(BufferError::code)?;
                }
                removed
            }
            Message::GroupMod(change) => switch.group_mod(bridge, &change, now_ms)?,
            Message::MeterMod(change) => switch.meter_mod(bridge, &change, now_ms)?,
            Message::PortMod(change) => {
                let ports = &mut effects.ports;
                let (number, config) = configured(bridge, switch, self.ports, ports, &change)?;
                switch.set_port_config(number, config);
                ports.insert(number, config);
                Vec::new()
            }
            _ => return Err(ErrorCode::BUNDLE_FAILED_MSG_UNSUP),
        };
        effects.removed.extend(removed);
        let changes = switch.take_changes(bridge).into_iter();
        effects
            .changes
            .extend(changes.map(|change| (Some(xid), change)));
        Ok(())
    }

    fn note_release(&self, effects: &mut Effects, id: u32) -> Result<(), BufferError> {
        self.buffers.check(id)?;
        if effects.released.contains(&id) {
            return Err(BufferError::Empty);
        }
        effects.released.push(id);
        Ok(())
    }
}

impl Agent {
    /// Opens, closes, commits or discards a bundle.
    pub(super) fn bundle(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        xid: Xid,
        control: BundleControl,
    ) -> Result<Next, ErrorCode> {
        let (id, flags) = (control.bundle, control.flags);
        let bundles = self.bundles(peer)?;
        let step = match control.step {
            BundleStep::OpenRequest => {
                bundles.open(xid, id, flags, turn.now_ms)?;
                BundleStep::OpenReply
            }
            BundleStep::CloseRequest => {
                bundles.close(id, flags, turn.now_ms)?;
                BundleStep::CloseReply
            }
            BundleStep::DiscardRequest => {
                let gone = bundles.remove(id);
                gone.ok_or(ErrorCode::BUNDLE_FAILED_BAD_ID)?;
                BundleStep::DiscardReply
            }
            BundleStep::CommitRequest => {
                let bundle = bundles.take(id, flags)?;
                self.commit(turn, peer, id, &bundle)?;
                return Ok(Next::Barrier(reply(id, BundleStep::CommitReply)));
            }
            BundleStep::OpenReply
            | BundleStep::CloseReply
            | BundleStep::CommitReply
            | BundleStep::DiscardReply => return Err(ErrorCode::BUNDLE_FAILED_BAD_TYPE),
        };
        self.reply(peer, xid, &reply(id, step));
        Ok(Next::Done)
    }

    /// Puts a message in a bundle.
    pub(super) fn bundle_add(
        &mut self,
        turn: &Turn<'_>,
        peer: PeerId,
        xid: Xid,
        add: &BundleAdd,
    ) -> Result<(), ErrorCode> {
        self.bundles(peer)?.add(xid, add, turn.now_ms)
    }

    fn bundles(&mut self, peer: PeerId) -> Result<&mut Bundles, ErrorCode> {
        let peer = self.peers.get_mut(&peer);
        Ok(&mut peer.ok_or(ErrorCode::BAD_REQUEST_EPERM)?.bundles)
    }

    fn commit(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        id: BundleId,
        bundle: &Bundle,
    ) -> Result<(), ErrorCode> {
        let mut effects = Effects::default();
        let scene = Scene {
            bridge: self.bridge,
            ports: turn.ports,
            buffers: &self.buffers,
            now_ms: turn.now_ms,
        };
        let done = turn.switch.all_or_nothing(self.bridge, |switch| {
            bundle.messages().try_for_each(|message| {
                let applied = scene.apply(switch, &mut effects, message);
                applied.map_err(|code| (code, message))
            })
        });
        if let Err((code, message)) = done {
            // What the message that failed had done until then.
            turn.switch.take_changes(self.bridge);
            let (xid, request) = added(id, bundle.flags, message);
            self.refuse(peer, xid, code, &request);
            return Err(ErrorCode::BUNDLE_FAILED_MSG_FAILED);
        }
        let now = turn.switch.moment(self.bridge, turn.now_ms);
        self.tell_all(now, Some(peer), &effects.changes);
        turn.work.removed.extend(effects.removed);
        for (number, config) in effects.ports {
            self.take_port_config(turn, number, config);
        }
        effects
            .released
            .into_iter()
            .try_for_each(|id| self.release(turn, id))
    }

    /// Forgets bundles that nothing was said of for too long, and tells their controllers.
    pub fn expire_bundles(&mut self, now_ms: u64) {
        let mut expired = Vec::new();
        for (peer, state) in &mut self.peers {
            let bundles = state.bundles.expire(now_ms).into_iter();
            expired.extend(bundles.map(|(id, bundle)| (*peer, id, bundle)));
        }
        for (peer, id, bundle) in expired {
            debug!(
                bridge = self.identity.name,
                peer = peer.0,
                bundle = id.0,
                "bundle forgotten"
            );
            let open = Message::Bundle(BundleControl {
                bundle: id,
                step: BundleStep::OpenRequest,
                flags: bundle.flags,
            });
            let mut request = Vec::new();
            let _ = v13::encode(bundle.opened_by, &open, &mut request);
            let code = ErrorCode::BUNDLE_FAILED_TIMEOUT;
            self.refuse(peer, bundle.opened_by, code, &request);
        }
    }
}

fn reply(bundle: BundleId, step: BundleStep) -> Message {
    Message::Bundle(BundleControl {
        bundle,
        step,
        flags: BundleFlags::default(),
    })
}

/// Number and bytes of the request that put a message in a bundle.
fn added(bundle: BundleId, flags: BundleFlags, message: &[u8]) -> (Xid, Vec<u8>) {
    let xid = message.get(4..8).and_then(|bytes| bytes.first_chunk());
    let xid = Xid(xid.copied().map_or(0, u32::from_be_bytes));
    let add = Message::BundleAdd(BundleAdd {
        bundle,
        flags,
        message: message.to_vec(),
    });
    let mut request = Vec::new();
    // It came in as a message, so it is short enough for one.
    let _ = v13::encode(xid, &add, &mut request);
    (xid, request)
}

/// Bundles of one connection: a controller fills one after the other; a few more for those that
/// prepare changes ahead.
pub(super) const BUNDLES_MAX: usize = 64;
/// Bytes of messages in all bundles of one connection: a million flow modifications of five
/// fields, as a controller sends that replaces everything it knows at one instant.
pub(super) const BYTES_MAX: usize = 160 << 20;
/// How long a bundle waits for the next message about it: as in Open vSwitch.
const IDLE_MS_MAX: u64 = 10_000;
