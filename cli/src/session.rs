//! An OpenFlow 1.3 session with one bridge over its Unix socket `<run_dir>/<bridge>.mgmt`:
//! requests with their replies, and many changes at once with few waits.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowtable::TlvTable;
use openflow::connection::{CloseReason, Config, Connection, SendError, Side};
use openflow::text::Ports;
use serde_json::json;

use openflow::{
    ErrorMessage, Message, MultipartReply, MultipartRequest, NiciraMessage, TlvTableReply, Xid,
};

use crate::failure::Failure;
use crate::management::{Management, SOCKET_NAME, connect, lost};
use crate::refusal;

/// A session with one bridge.
pub struct Session {
    stream: UnixStream,
    connection: Connection,
    start: Instant,
    path: PathBuf,
    buffer: Vec<u8>,
    tlvs: Arc<TlvTable>,
}

impl Session {
    /// Connects and agrees on the version; an answer may take `timeout`.
    pub fn open(run_dir: &Path, bridge: &str, timeout: Duration) -> Result<Session, Failure> {
        let path = run_dir.join(format!("{bridge}.mgmt"));
        if !path.exists() {
            return Err(absent(run_dir, bridge, &path, timeout));
        }
        let config = Config {
            probe_interval_ms: 0,
            ..Config::new(Side::Controller)
        };
        let mut session = Session {
            stream: connect(&path, timeout)?,
            connection: Connection::new(config, 0),
            start: Instant::now(),
            path,
            buffer: vec![0; READ_BYTES],
            tlvs: Arc::default(),
        };
        while session.connection.version().is_none() {
            session.write()?;
            session.read()?;
        }
        session.learn_tlvs()?;
        Ok(session)
    }

    /// Asks which Geneve options are which `tun_metadata` fields: flows are read and written so.
    fn learn_tlvs(&mut self) -> Result<(), Failure> {
        let mut tlvs = TlvTable::default();
        for map in self.tlv_table()?.maps {
            // The switch has room for what it says it has.
            let _ = tlvs.add(map.index as u8, map.class, map.kind, map.len);
        }
        self.tlvs = Arc::new(tlvs);
        self.connection.set_tlvs(Arc::clone(&self.tlvs));
        Ok(())
    }

    /// Which Geneve options are mapped.
    pub fn tlv_table(&mut self) -> Result<TlvTableReply, Failure> {
        let xid = self.queue(&Message::Nicira(NiciraMessage::TlvTableRequest))?;
        self.write()?;
        loop {
            match self.receive()? {
                (id, Message::Nicira(NiciraMessage::TlvTableReply(table))) if id == xid => {
                    return Ok(table);
                }
                (id, Message::Error(error)) if id == xid => {
                    return Err(Failure::Refused(refusal::text(&error)));
                }
                // Such as news of ports, which nobody asked for.
                _ => {}
            }
        }
    }

    /// Ports by their numbers, and Geneve options by their fields.
    pub fn numbers(&self) -> Ports {
        let mut ports = Ports::default();
        ports.set_tlvs(Arc::clone(&self.tlvs));
        ports
    }

    /// The names of the bridge's ports.
    pub fn ports(&mut self) -> Result<Ports, Failure> {
        let mut ports = self.numbers();
        self.query(MultipartRequest::PortDesc, |reply| {
            if let MultipartReply::PortDesc(list) = reply {
                list.iter()
                    .for_each(|port| ports.insert(&port.name, port.number));
            }
            Ok(())
        })?;
        Ok(ports)
    }

    /// Asks, and hands each part of the reply to `each`.
    pub fn query(
        &mut self,
        request: MultipartRequest,
        mut each: impl FnMut(MultipartReply) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let xid = self.queue(&Message::MultipartRequest {
            more: false,
            request,
        })?;
        self.write()?;
        loop {
            match self.receive()? {
                (id, Message::MultipartReply { more, reply }) if id == xid => {
                    each(reply)?;
                    if !more {
                        return Ok(());
                    }
                }
                (id, Message::Error(error)) if id == xid => {
                    return Err(Failure::Refused(refusal::text(&error)));
                }
                // Such as news of ports, which nobody asked for.
                _ => {}
            }
        }
    }

    /// Queues a request and gives its number.
    fn queue(&mut self, message: &Message) -> Result<Xid, Failure> {
        let xid = self.connection.next_xid();
        match self.connection.send(xid, message) {
            Ok(()) => Ok(xid),
            Err(error @ SendError::Encode(_)) => Err(Failure::Usage(error.to_string())),
            Err(error) => Err(Failure::Unreachable(error.to_string())),
        }
    }

    fn write(&mut self) -> Result<(), Failure> {
        let pending = self.connection.outgoing();
        let written = self.stream.write_all(pending);
        written.map_err(|error| lost(&self.path, &error))?;
        let len = pending.len();
        self.connection.sent(len);
        Ok(())
    }

    fn read(&mut self) -> Result<(), Failure> {
        let len = match self.stream.read(&mut self.buffer) {
            Ok(0) => {
                let text = "the switch closed the connection; see its log";
                return Err(self.broken(text));
            }
            Ok(len) => len,
            Err(error) => return Err(lost(&self.path, &error)),
        };
        let now_ms = self.start.elapsed().as_millis() as u64;
        let received = self.connection.receive(&self.buffer[..len], now_ms);
        received.map_err(|reason| self.closed(&reason))
    }

    /// The next message, waiting for it.
    fn receive(&mut self) -> Result<(Xid, Message), Failure> {
        loop {
            let message = self.connection.next_message();
            // Answers to echo requests.
            if !self.connection.outgoing().is_empty() {
                self.write()?;
            }
            if let Some(message) = message {
                return Ok(message);
            }
            // Tells whether a message made no sense, after which there would be no other.
            let polled = self.connection.poll(0);
            polled.map_err(|reason| self.closed(&reason))?;
            self.read()?;
        }
    }

    fn closed(&self, reason: &CloseReason) -> Failure {
        self.broken(&reason.to_string())
    }

    fn broken(&self, text: &str) -> Failure {
        Failure::Unreachable(format!("{}: {text}", self.path.display()))
    }
}

/// Sends changes as fast as the switch takes them and collects what it refuses.
pub struct Changes<'a> {
    session: &'a mut Session,
    /// Requests that no barrier has confirmed, with the words to call them by.
    open: VecDeque<(Xid, String)>,
    /// Barriers that were not answered.
    barriers: usize,
    since_barrier: usize,
    sent: usize,
    refused: usize,
    refusals: Vec<String>,
}

impl<'a> Changes<'a> {
    /// No changes so far.
    pub fn new(session: &'a mut Session) -> Changes<'a> {
        Changes {
            session,
            open: VecDeque::new(),
            barriers: 0,
            since_barrier: 0,
            sent: 0,
            refused: 0,
            refusals: Vec::new(),
        }
    }

    /// Sends one, called `name` where it is refused.
    pub fn send(&mut self, message: &Message, name: String) -> Result<(), Failure> {
        let xid = self.session.queue(message)?;
        self.open.push_back((xid, name));
        self.sent += 1;
        self.since_barrier += 1;
        if self.since_barrier < WINDOW {
            return Ok(());
        }
        self.barrier()?;
        // The switch works on one window while the next one is written.
        self.wait(1)
    }

    /// Waits until all are in force; an error if any was refused.
    pub fn finish(mut self) -> Result<usize, Failure> {
        if self.since_barrier > 0 {
            self.barrier()?;
        }
        self.wait(0)?;
        if self.refused == 0 {
            return Ok(self.sent);
        }
        let mut text = self.refusals.join("\nvsctl: ");
        let more = self.refused - self.refusals.len();
        if more > 0 {
            text.push_str(&format!("\nvsctl: and {more} more refused"));
        }
        if self.sent > 1 {
            let (sent, refused) = (self.sent, self.refused);
            text.push_str(&format!(
                "\nvsctl: {refused} of {sent} refused, the others are in force"
            ));
        }
        Err(Failure::Refused(text))
    }

    fn barrier(&mut self) -> Result<(), Failure> {
        let xid = self.session.queue(&Message::BarrierRequest)?;
        self.open.push_back((xid, String::new()));
        self.barriers += 1;
        self.since_barrier = 0;
        self.session.write()
    }

    /// Waits until at most `open` barriers are unanswered.
    fn wait(&mut self, open: usize) -> Result<(), Failure> {
        while self.barriers > open {
            match self.session.receive()? {
                (xid, Message::Error(error)) => self.refused(xid, &error),
                (xid, Message::BarrierReply) => {
                    self.barriers -= 1;
                    while let Some((done, _)) = self.open.pop_front() {
                        if done == xid {
                            break;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn refused(&mut self, xid: Xid, error: &ErrorMessage) {
        let Some((_, name)) = self.open.iter().find(|(open, _)| *open == xid) else {
            return;
        };
        self.refused += 1;
        if self.refusals.len() < REFUSALS_SHOWN_MAX {
            self.refusals
                .push(format!("{name}{}", refusal::text(error)));
        }
    }
}

/// Why there is no socket of the bridge's: the daemon knows best.
fn absent(run_dir: &Path, bridge: &str, path: &Path, timeout: Duration) -> Failure {
    let Ok(mut daemon) = Management::connect(run_dir, timeout) else {
        return no_such_bridge(run_dir, bridge);
    };
    match daemon.call("show", json!({ "bridge": bridge })) {
        Ok(_) => Failure::Unreachable(format!(
            "{}: somebody removed the socket of bridge {bridge:?}; restart vswitchd",
            path.display()
        )),
        Err(failure) => failure,
    }
}

/// Names the bridges that there are, or the daemon that is not there.
fn no_such_bridge(run_dir: &Path, bridge: &str) -> Failure {
    let names = std::fs::read_dir(run_dir).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_suffix(".mgmt")?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    let daemon = run_dir.join(SOCKET_NAME);
    match names.is_empty() {
        true if daemon.exists() => Failure::Refused(format!(
            "no bridge {bridge:?}; there is none, make one with vsctl bridge add {bridge}"
        )),
        true => Failure::Unreachable(format!(
            "{}: no daemon: start vswitchd, or say --run-dir DIR if it runs elsewhere",
            daemon.display()
        )),
        false => Failure::Refused(format!(
            "no bridge {bridge:?}; there is {}",
            names.join(", ")
        )),
    }
}

/// Bytes read at a time: a dump comes in messages of up to 64 KiB.
const READ_BYTES: usize = 64 << 10;
/// Changes between two barriers. Enough that waiting costs little; the errors about twice as many
/// are some 80 KiB, which the switch can always write, so that neither side ever waits for the
/// other to read.
const WINDOW: usize = 500;
/// Refusals told one by one: the same mistake in a million lines is told often enough.
const REFUSALS_SHOWN_MAX: usize = 20;
