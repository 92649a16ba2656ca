//! One OpenFlow connection as a state machine: bytes and the time in, messages and bytes out.
//!
//! No socket and no clock: whoever owns the socket hands in what it read with
//! [`Connection::receive`], takes messages with [`Connection::next_message`], writes
//! [`Connection::outgoing`] and calls [`Connection::poll`] when its deadline comes. Both ends are
//! made of it, the switch's and the controller's (`vsctl`). It does by itself what needs no
//! knowledge of the switch: hello and version negotiation (OpenFlow 1.3.5 §6.3.1), echo replies,
//! probing a silent peer, putting the parts of a long request together, and answering what cannot
//! be understood with `OFPT_ERROR`.
//!
//! Memory: what comes in is at most what was handed in and not yet taken, plus one message. What
//! goes out grows only by answers to what came in and by what the owner sends: an owner that hands
//! in nothing while [`Connection::ready`] says no, and sends no asynchronous message then, keeps
//! it within [`Config::outgoing_bytes_max`] and the answers to one read.

use std::sync::Arc;

use flowtable::TlvTable;

use crate::hello;
use crate::v13::{DecodeError, EncodeError, ReplyStream};
use crate::wire::Header;
use crate::{ErrorCode, Hello, Message, MultipartReply, Version, Versions, Xid};

mod assembly;
mod codec;
mod frames;
mod negotiation;
mod outgoing;

use assembly::Assembly;
use codec::Codec;
use frames::Frames;
use outgoing::Outgoing;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The switch: answers what it does not understand with an error.
    Switch,
    /// The controller: closes on what it does not understand, because a reply that it waits for
    /// would never come.
    Controller,
}

/// How a connection behaves.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Which end this is.
    pub side: Side,
    /// Versions to offer; those that there is no codec for are not offered.
    pub versions: Versions,
    /// Silence after which the peer is probed, and again after which it is given up; 0 for never.
    pub probe_interval_ms: u64,
    /// Outgoing bytes from which on [`Connection::ready`] says no.
    pub outgoing_bytes_max: usize,
}

impl Config {
    /// A side with the usual settings: a probe every 5 s, as Open vSwitch has it, and 1 MiB of
    /// outgoing bytes.
    pub fn new(side: Side) -> Config {
        Config {
            side,
            versions: Codec::versions(),
            probe_interval_ms: 5_000,
            outgoing_bytes_max: 1 << 20,
        }
    }
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// A message says it is shorter than its header: nothing after it can be found any more.
    #[error("peer sent a message of length {0}, which is less than its header")]
    BadLength(u16),
    /// There is no version that both speak.
    #[error("no version in common: we speak {ours}, peer speaks {theirs}")]
    Incompatible {
        /// What we offer.
        ours: Versions,
        /// What the peer offers.
        theirs: Versions,
    },
    /// The first message is no hello.
    #[error("peer began with a message of type {0} instead of a hello")]
    NoHello(u8),
    /// No hello in time.
    #[error("peer sent no hello within {} s", HELLO_TIMEOUT_MS / 1000)]
    HelloTimeout,
    /// The peer found no version in common.
    #[error("peer refused the connection: {0}")]
    Refused(String),
    /// A probe was not answered.
    #[error("peer was silent for {silent_ms} ms and did not answer a probe")]
    ProbeTimeout {
        /// How long nothing came.
        silent_ms: u64,
    },
    /// The peer's message makes no sense, and we are the controller.
    #[error("peer sent a message that makes no sense: {0}")]
    BadMessage(DecodeError),
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no version yet, or the connection is over.
    #[error("the connection is not open")]
    NotOpen,
    /// The version has no bytes for it.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    state: State,
    frames: Frames,
    outgoing: Outgoing,
    assembly: Assembly,
    /// Beginning of the message that [`Connection::next_message`] returned last.
    head: Vec<u8>,
    last_xid: u32,
    heard_ms: u64,
    /// When the probe went out that has not been answered.
    probed_ms: Option<u64>,
    tlvs: Arc<TlvTable>,
}

#[derive(Debug)]
enum State {
    AwaitHello { since_ms: u64 },
    Open(Codec),
    Closed(CloseReason),
}

impl Connection {
    /// A connection that has just been made: its hello is the first that goes out.
    pub fn new(config: Config, now_ms: u64) -> Connection {
        let versions = Versions(config.versions.0 & Codec::versions().0);
        let mut connection = Connection {
            config: Config { versions, ..config },
            state: State::AwaitHello { since_ms: now_ms },
            frames: Frames::default(),
            outgoing: Outgoing::default(),
            assembly: Assembly::default(),
            head: Vec::with_capacity(HEAD_LEN),
            last_xid: 0,
            heard_ms: now_ms,
            probed_ms: None,
            tlvs: Arc::default(),
        };
        let version = versions.highest().unwrap_or(Version::V1_3);
        let hello = Hello {
            version,
            bitmap: Some(versions),
        };
        let xid = connection.next_xid();
        hello::encode(xid, &hello, connection.outgoing.bytes());
        connection
    }

    /// Says which Geneve options the messages from now on mean by `tun_metadata` fields.
    pub fn set_tlvs(&mut self, tlvs: Arc<TlvTable>) {
        self.tlvs = tlvs;
    }

    /// The version both agreed on, once they have.
    pub fn version(&self) -> Option<Version> {
        match self.state {
            State::Open(codec) => Some(codec.version()),
            _ => None,
        }
    }

    /// Takes what the socket gave. An error is the end: what is left in [`Connection::outgoing`]
    /// may say why to the peer and should still be written if that is possible at once.
    pub fn receive(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), CloseReason> {
        self.check_open()?;
        self.heard_ms = now_ms;
        self.probed_ms = None;
        if let Err(len) = self.frames.push(bytes) {
            return Err(self.close(CloseReason::BadLength(len)));
        }
        if let State::AwaitHello { .. } = self.state
            && let Some(frame) = self.frames.next()
        {
            match negotiation::decode_first(frame) {
                Ok((xid, hello)) => self.negotiate(xid, &hello)?,
                Err(reason) => return Err(self.close(reason)),
            }
        }
        Ok(())
    }

    fn negotiate(&mut self, xid: Xid, hello: &Hello) -> Result<(), CloseReason> {
        let ours = self.config.versions;
        let common = negotiation::common_version(ours, hello);
        if let Some(codec) = common.and_then(Codec::of) {
            self.state = State::Open(codec);
            return Ok(());
        }
        let reason = CloseReason::Incompatible {
            ours,
            theirs: negotiation::offered(hello),
        };
        let version = negotiation::refusal_version(ours, hello);
        negotiation::encode_refusal(version, xid, &reason.to_string(), self.outgoing.bytes());
        Err(self.close(reason))
    }

    /// The next message that is the owner's business. What cannot be understood is refused at once.
    pub fn next_message(&mut self) -> Option<(Xid, Message)> {
        loop {
            match self.next_request()? {
                (xid, Ok(message)) => return Some((xid, message)),
                (xid, Err(code)) => self.refuse(xid, code),
            }
        }
    }

    /// As [`Connection::next_message`], but what cannot be understood is the owner's to refuse: for
    /// an owner that answers later, whose errors must not overtake its replies.
    pub fn next_request(&mut self) -> Option<(Xid, Result<Message, ErrorCode>)> {
        while let State::Open(codec) = self.state {
            let frame = self.frames.next()?;
            self.head.clear();
            self.head
                .extend_from_slice(&frame[..frame.len().min(HEAD_LEN)]);
            let len = frame.len();
            let request = match codec.decode(frame, &self.tlvs) {
                Ok((xid, message)) => {
                    let message = self.filter(codec, xid, message, len);
                    message.map(|message| (xid, message))
                }
                Err(error) => self.bad_message(error),
            };
            if request.is_some() {
                return request;
            }
        }
        None
    }

    /// Deals with what is not the owner's business and hands on the rest.
    fn filter(
        &mut self,
        codec: Codec,
        xid: Xid,
        message: Message,
        len: usize,
    ) -> Option<Result<Message, ErrorCode>> {
        match message {
            // A second hello changes nothing.
            Message::Hello(_) => None,
            Message::EchoRequest(data) => {
                // An echo is as long as the request was, so it fits.
                let reply = Message::EchoReply(data);
                let _ = codec.encode(xid, &reply, &self.tlvs, self.outgoing.bytes());
                None
            }
            // Probes are answered to us alone; those of the owner are the owner's.
            Message::EchoReply(_) if xid.0 & PROBE_XID != 0 => None,
            Message::Error(error) if error.code.kind == HELLO_FAILED => {
                let text = String::from_utf8_lossy(&error.data).into_owned();
                self.close(CloseReason::Refused(text));
                None
            }
            Message::MultipartRequest { more, request } => {
                let whole = self.assembly.add(xid, more, request, len).transpose()?;
                Some(whole.map(|request| Message::MultipartRequest {
                    more: false,
                    request,
                }))
            }
            message => Some(Ok(message)),
        }
    }

    fn bad_message(&mut self, error: DecodeError) -> Option<(Xid, Result<Message, ErrorCode>)> {
        let is_error = Header::decode(&self.head).is_some_and(|header| header.kind == ERROR);
        if let Some(more) = multipart_more(&self.head) {
            self.assembly.refuse(error.xid, more);
        }
        match self.config.side {
            Side::Controller => {
                self.close(CloseReason::BadMessage(error));
                None
            }
            // An error is not answered by an error, or two peers could go on forever.
            Side::Switch if is_error => None,
            Side::Switch => Some((error.xid, Err(error.code))),
        }
    }

    /// The first 64 bytes of the message that [`Connection::next_message`] returned last: what an
    /// error about it has to carry (OpenFlow 1.3.5 §7.4.4).
    pub fn request_head(&self) -> &[u8] {
        &self.head
    }

    /// Answers the message that [`Connection::next_message`] returned last with an error.
    pub fn refuse(&mut self, xid: Xid, code: ErrorCode) {
        let error = code.message(self.head.clone());
        // Short enough; and where the connection is over, nobody is there to tell.
        let _ = self.send(xid, &Message::Error(error));
    }

    /// A number for a request or an asynchronous message of ours.
    pub fn next_xid(&mut self) -> Xid {
        self.last_xid = self.last_xid.wrapping_add(1) & !PROBE_XID;
        Xid(self.last_xid)
    }

    /// Queues a message. A multipart reply of any length goes out in several.
    pub fn send(&mut self, xid: Xid, message: &Message) -> Result<(), SendError> {
        let State::Open(codec) = self.state else {
            return Err(SendError::NotOpen);
        };
        Ok(codec.encode(xid, message, &self.tlvs, self.outgoing.bytes())?)
    }

    /// Queues bytes that are whole messages already.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let State::Open(_) = self.state else {
            return Err(SendError::NotOpen);
        };
        self.outgoing.bytes().extend_from_slice(bytes);
        Ok(())
    }

    /// Queues the next message of a long reply and says whether another one follows; to be called
    /// again when [`Connection::ready`] says yes.
    pub fn send_next<I: Iterator<Item = MultipartReply>>(
        &mut self,
        stream: &mut ReplyStream<I>,
    ) -> Result<bool, SendError> {
        let State::Open(codec) = self.state else {
            return Err(SendError::NotOpen);
        };
        Ok(codec.encode_next(stream, self.outgoing.bytes())?)
    }

    /// What is to be written to the socket.
    pub fn outgoing(&self) -> &[u8] {
        self.outgoing.pending()
    }

    /// The socket took the first `len` bytes of [`Connection::outgoing`].
    pub fn sent(&mut self, len: usize) {
        self.outgoing.sent(len);
    }

    /// Whether there is room for more: otherwise nothing should be read from the socket, no long
    /// reply continued and no asynchronous message sent.
    pub fn ready(&self) -> bool {
        self.outgoing.pending().len() < self.config.outgoing_bytes_max
    }

    /// Does what is due at `now_ms` and says when to come back, if ever.
    pub fn poll(&mut self, now_ms: u64) -> Result<Option<u64>, CloseReason> {
        self.check_open()?;
        if let State::AwaitHello { since_ms } = self.state {
            let deadline_ms = since_ms.saturating_add(HELLO_TIMEOUT_MS);
            if now_ms >= deadline_ms {
                return Err(self.close(CloseReason::HelloTimeout));
            }
            return Ok(Some(deadline_ms));
        }
        let interval_ms = self.config.probe_interval_ms;
        if interval_ms == 0 {
            return Ok(None);
        }
        self.poll_probe(now_ms, interval_ms).map(Some)
    }

    fn poll_probe(&mut self, now_ms: u64, interval_ms: u64) -> Result<u64, CloseReason> {
        if let Some(probed_ms) = self.probed_ms {
            let deadline_ms = probed_ms.saturating_add(interval_ms);
            if now_ms >= deadline_ms {
                let silent_ms = now_ms.saturating_sub(self.heard_ms);
                return Err(self.close(CloseReason::ProbeTimeout { silent_ms }));
            }
            return Ok(deadline_ms);
        }
        let deadline_ms = self.heard_ms.saturating_add(interval_ms);
        if now_ms < deadline_ms {
            return Ok(deadline_ms);
        }
        let xid = Xid(self.next_xid().0 | PROBE_XID);
        // Empty, so it fits.
        let _ = self.send(xid, &Message::EchoRequest(Vec::new()));
        self.probed_ms = Some(now_ms);
        Ok(now_ms.saturating_add(interval_ms))
    }

    fn check_open(&self) -> Result<(), CloseReason> {
        match &self.state {
            State::Closed(reason) => Err(reason.clone()),
            _ => Ok(()),
        }
    }

    fn close(&mut self, reason: CloseReason) -> CloseReason {
        self.state = State::Closed(reason.clone());
        reason
    }
}

/// Whether more of a multipart request follows, if a message is one.
fn multipart_more(head: &[u8]) -> Option<bool> {
    let header = Header::decode(head)?;
    let flags = head.get(10..12)?;
    (header.kind == MULTIPART_REQUEST).then(|| flags[1] & 1 == 1)
}

/// Bytes of a request that an error about it carries: what the specification asks for at least.
const HEAD_LEN: usize = 64;
/// How long a peer may take for its hello. Generous, for a controller that has just started, and
/// yet an end to connections that are only opened.
const HELLO_TIMEOUT_MS: u64 = 10_000;
/// Set in the numbers of our probes and in no other number of ours.
const PROBE_XID: u32 = 1 << 31;
/// `OFPT_ERROR`.
const ERROR: u8 = 1;
/// `OFPT_MULTIPART_REQUEST`.
const MULTIPART_REQUEST: u8 = 18;
/// `OFPET_HELLO_FAILED`.
const HELLO_FAILED: u16 = ErrorCode::HELLO_FAILED_INCOMPATIBLE.kind;

#[cfg(test)]
mod tests;
