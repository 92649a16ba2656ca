//! One OpenFlow connection's task: bytes between a socket and the control task.
//!
//! The protocol is `openflow::connection`'s. Here is who waits for whom: a peer whose messages
//! the control task has not taken is not read, nor is one that does not read the protocol's own
//! answers (echo replies); a peer that does not read has its messages kept in its [`Outbox`],
//! which is bounded. Either way nobody else waits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openflow::{Message, NiciraMessage, connection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::debug;

use super::actor::Handle;
use super::agent::{PeerId, PeerKind};
use super::dial;
use super::moderation::Moderation;
use super::outbox::Outbox;
use super::pace::Limit;
use super::peer::{Connection, Incoming, Signal, Stage};
use super::target::Target;
use super::tls::Tls;
use crate::action::BridgeId;

/// What a connection is for.
#[derive(Clone, Debug)]
pub struct Link {
    /// The control task.
    pub handle: Handle,
    /// The bridge.
    pub bridge: BridgeId,
    /// Its name, for logs.
    pub bridge_name: Arc<str>,
    /// How the connection came to be.
    pub kind: PeerKind,
    /// Whom the switch dialled.
    pub target: Option<Target>,
    /// Silence before an echo request, and again before giving up.
    pub inactivity_probe: Option<Duration>,
    /// What it is secured with, if its target says so.
    pub tls: Option<Arc<Tls>>,
    /// How many packet-ins it gets.
    pub packet_ins: Option<Limit>,
    /// How many more connections the switch dials once this one is there.
    pub auxiliaries: u8,
}

impl Link {
    /// Dials what belongs to a main connection (OpenFlow 1.3.5 §6.3.6).
    fn dial_auxiliaries(&self, main: PeerId) -> JoinSet<()> {
        let mut set = JoinSet::new();
        let Some(target) = &self.target else {
            return set;
        };
        for id in 1..=self.auxiliaries {
            let link = Link {
                kind: PeerKind::Auxiliary { main, id },
                target: None,
                auxiliaries: 0,
                ..self.clone()
            };
            set.spawn(dial::auxiliary(target.clone(), link));
        }
        set
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Whether the handshake was done.
    pub established: bool,
    /// Why it ended.
    pub reason: String,
}

/// Runs a connection until it ends.
pub async fn run<S: AsyncRead + AsyncWrite>(stream: S, link: Link) -> End {
    let start = Instant::now();
    let now_ms = move || start.elapsed().as_millis() as u64;
    let mut config = connection::Config::new(connection::Side::Switch);
    let probe = link.inactivity_probe.map_or(0, |probe| probe.as_millis());
    config.probe_interval_ms = probe.try_into().unwrap_or(u64::MAX);
    let mut task = Task {
        protocol: connection::Connection::new(config, 0),
        link,
        out: Vec::new(),
        written: 0,
        is_flushed: true,
        held: None,
        tlv_changes: 0,
        moderation: Moderation::default(),
        control: None,
    };
    let (mut reader, mut writer) = split(stream);
    let reason = loop {
        match task.turn(&mut reader, &mut writer, &now_ms).await {
            Ok(()) => {}
            Err(reason) => break reason,
        }
    };
    task.say_goodbye(&mut writer).await;
    task.end(reason).await
}

/// The state of a connection's task.
struct Task {
    protocol: connection::Connection,
    link: Link,
    /// Bytes taken out of protocol and outbox, of which `written` are written.
    out: Vec<u8>,
    written: usize,
    /// Whether what is written has left: TLS keeps what its socket did not take.
    is_flushed: bool,
    /// A message for which the control task has no room yet.
    held: Option<Incoming>,
    /// Changes of the TLV table that the peer asked for: what comes after one is read with what it
    /// made.
    tlv_changes: u64,
    moderation: Moderation,
    control: Option<Control>,
}

/// The way to the control task, once the handshake is done.
struct Control {
    inbox: mpsc::Sender<Incoming>,
    outbox: Arc<Outbox>,
    signal: Arc<Signal>,
    /// Auxiliary connections: they end with this one.
    _auxiliaries: JoinSet<()>,
}

impl Task {
    /// One step: whichever of reading, writing, handing over and waiting can be done first.
    async fn turn<R, W>(
        &mut self,
        reader: &mut R,
        writer: &mut W,
        now_ms: &impl Fn() -> u64,
    ) -> Result<(), String>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        self.hand_over();
        let now = now_ms();
        self.gather(now);
        let deadline = self.deadline(now)?;
        let mut input = [0; READ_BYTES];
        let is_held = self.held.is_some();
        let is_paused = self.moderation.pause_ms(now).is_some();
        let may_read = !is_held && !self.is_behind() && !is_paused && self.protocol.ready();
        let has_output = self.written < self.out.len();
        let may_write = has_output || !self.is_flushed;
        tokio::select! {
            read = reader.read(&mut input), if may_read => {
                let count = read.map_err(|error| error.to_string())?;
                if count == 0 {
                    return Err("the peer closed the connection".to_owned());
                }
                self.moderation.note_read(count == input.len(), now_ms());
                let received = self.protocol.receive(&input[..count], now_ms());
                received.map_err(|reason| reason.to_string())?;
                if self.control.is_none() && self.protocol.version().is_some() {
                    self.establish().await?;
                }
            }
            written = push(writer, &self.out[self.written..]), if may_write => {
                self.written += written.map_err(|error| error.to_string())?;
                self.is_flushed = !has_output;
                self.tell_progress();
            }
            permit = room(&self.control), if is_held => permit?,
            () = filled(&self.control), if !has_output => {}
            () = given_up(&self.control) => {
                return Err("the peer does not read what its flow monitors tell".to_owned());
            }
            () = wait_until(deadline) => {}
        }
        Ok(())
    }

    /// Whether the control task has still to change what further messages mean.
    fn is_behind(&self) -> bool {
        let control = self.control.as_ref();
        control.is_some_and(|control| control.outbox.tlv_changes() < self.tlv_changes)
    }

    /// Hands decoded messages to the control task, as many as it has room for.
    fn hand_over(&mut self) {
        let Some(control) = &self.control else { return };
        loop {
            let next = match self.held.take() {
                None if control.outbox.tlv_changes() < self.tlv_changes => return,
                None => {
                    self.protocol.set_tlvs(control.outbox.tlvs());
                    let next = next_incoming(&mut self.protocol);
                    self.tlv_changes += u64::from(next.as_ref().is_some_and(changes_tlvs));
                    if !next.as_ref().is_none_or(is_change) {
                        self.moderation.note_request();
                    }
                    next
                }
                held => held,
            };
            let Some(incoming) = next else { return };
            match control.inbox.try_send(incoming) {
                Ok(()) => control.signal.raise(),
                Err(refused) => {
                    self.held = Some(refused.into_inner());
                    return;
                }
            }
        }
    }

    /// Collects what is to be written next.
    fn gather(&mut self, now_ms: u64) {
        if self.written < self.out.len() {
            return;
        }
        self.out.clear();
        self.written = 0;
        let own = self.protocol.outgoing().len();
        self.out.extend_from_slice(self.protocol.outgoing());
        self.protocol.sent(own);
        if let Some(control) = &self.control {
            control.outbox.take(&mut self.out, now_ms);
        }
    }

    /// When there is something to do although nothing comes: a probe is due, a packet-in may go
    /// out, or a stream is read again. A peer that is not read cannot be known to be silent.
    fn deadline(&mut self, now_ms: u64) -> Result<Option<Duration>, String> {
        let probe_ms = match self.held {
            Some(_) => None,
            None => self
                .protocol
                .poll(now_ms)
                .map_err(|reason| reason.to_string())?,
        };
        let control = self.control.as_ref();
        let control = control.filter(|_| self.written == self.out.len());
        let packet_ms = control.and_then(|control| control.outbox.due_ms());
        let read_ms = self.moderation.pause_ms(now_ms);
        let due_ms = probe_ms.into_iter().chain(packet_ms).chain(read_ms).min();
        Ok(due_ms.map(|due_ms| Duration::from_millis(due_ms.saturating_sub(now_ms))))
    }

    /// A peer whose replies waited may have more to say.
    fn tell_progress(&self) {
        if let Some(control) = &self.control
            && !control.outbox.is_congested()
        {
            control.signal.raise();
        }
    }

    /// Makes the connection known to the control task.
    async fn establish(&mut self) -> Result<(), String> {
        let id = PeerId(NEXT_PEER.fetch_add(1, Ordering::Relaxed));
        let (inbox, inbox_out) = mpsc::channel(INBOX_MESSAGES);
        let outbox = Arc::new(Outbox::new(self.link.packet_ins));
        let (bridge, kind) = (self.link.bridge, self.link.kind);
        let (target, outbox_out) = (self.link.target.clone(), Arc::clone(&outbox));
        let connect = move |actor: &mut super::actor::Actor| {
            let signal = actor.signal(id);
            let connection = Connection {
                bridge,
                kind,
                target,
                inbox: inbox_out,
                outbox: outbox_out,
                signal: Arc::clone(&signal),
                stage: Stage::Idle,
            };
            actor.connect(id, connection);
            signal
        };
        let signal = self
            .link
            .handle
            .with(connect)
            .await
            .map_err(|gone| gone.to_string())?;
        self.control = Some(Control {
            inbox,
            outbox,
            signal,
            _auxiliaries: self.link.dial_auxiliaries(id),
        });
        Ok(())
    }

    /// Lets the peer know why, if its socket takes it at once.
    async fn say_goodbye<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) {
        let last = async {
            let _ = writer.write_all(&self.out[self.written..]).await;
            let _ = writer.write_all(self.protocol.outgoing()).await;
            let _ = writer.shutdown().await;
        };
        let _ = tokio::time::timeout(GOODBYE_TIME_MAX, last).await;
    }

    /// Tells the control task, whose turn it is to forget the connection.
    async fn end(self, reason: String) -> End {
        debug!(bridge = %self.link.bridge_name, reason, "connection ended");
        let established = self.control.is_some();
        if let Some(control) = &self.control {
            for last in self.held.into_iter().chain([Incoming::End(reason.clone())]) {
                control.signal.raise();
                let _ = control.inbox.send(last).await;
            }
        }
        End {
            established,
            reason,
        }
    }
}

impl Drop for Control {
    /// The control task learns of the end by looking, however it came.
    fn drop(&mut self) {
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.inbox, closed));
        self.signal.raise();
    }
}

/// Whether later messages may mean something else by `tun_metadata` fields.
fn changes_tlvs(incoming: &Incoming) -> bool {
    let Incoming::Message { message, .. } = incoming else {
        return false;
    };
    matches!(message, Message::Nicira(NiciraMessage::TlvTableMod(_)))
}

/// Whether it is answered only by an error, if at all.
fn is_change(incoming: &Incoming) -> bool {
    let Incoming::Message { message, .. } = incoming else {
        return false;
    };
    matches!(
        message,
        Message::FlowMod(_) | Message::GroupMod(_) | Message::MeterMod(_)
    )
}

fn next_incoming(protocol: &mut connection::Connection) -> Option<Incoming> {
    if !protocol.ready() {
        return None;
    }
    let (xid, message) = protocol.next_request()?;
    let bytes = protocol.request_head().to_vec();
    Some(match message {
        Ok(message) => Incoming::Message {
            xid,
            message,
            bytes,
        },
        Err(code) => Incoming::Malformed { xid, code, bytes },
    })
}

/// Writes some bytes, or flushes once there are none left.
async fn push<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> io::Result<usize> {
    match bytes {
        [] => writer.flush().await.map(|()| 0),
        bytes => writer.write(bytes).await,
    }
}

/// Waits until the control task has room for a message.
async fn room(control: &Option<Control>) -> Result<(), String> {
    match control {
        Some(control) => {
            let permit = control.inbox.reserve().await;
            permit
                .map(drop)
                .map_err(|_| "the switch is ending".to_owned())
        }
        None => std::future::pending().await,
    }
}

/// Waits until the control task has something to send.
async fn filled(control: &Option<Control>) {
    match control {
        Some(control) => control.outbox.filled().await,
        None => std::future::pending().await,
    }
}

/// Waits until the control task wants no more of the peer.
async fn given_up(control: &Option<Control>) {
    match control {
        Some(control) => control.outbox.given_up().await,
        None => std::future::pending().await,
    }
}

async fn wait_until(deadline: Option<Duration>) {
    match deadline {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The number of the next connection.
static NEXT_PEER: AtomicU64 = AtomicU64::new(1);
/// Messages of one peer that wait for the control task: a few turns.
const INBOX_MESSAGES: usize = 128;
/// Bytes read at once: some hundred flow modifications.
const READ_BYTES: usize = 16 << 10;
/// What is left to say to a peer that does not read is not worth more.
const GOODBYE_TIME_MAX: Duration = Duration::from_millis(100);
