//! A controller of our own codec that sees every message, so that order, roles, buffers and
//! asynchronous messages can be told exactly.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use openflow::connection::{Config, Connection, Side};
use openflow::text;
use openflow::{FlowMod, FlowModCommand, Message, PacketIn, Role, RoleMessage, Xid};

/// The packet-in that a message is.
pub fn packet_in(message: Message) -> Option<PacketIn> {
    match message {
        Message::PacketIn(packet) => Some(*packet),
        _ => None,
    }
}

/// One end of a connection: a controller that the switch has dialled, or one that has dialled it.
#[derive(Debug)]
pub struct Peer<S = UnixStream> {
    /// For what is no message, or is written without waiting.
    pub stream: S,
    connection: Connection,
    start: Instant,
    next_xid: u32,
}

/// Where switches may dial controllers.
#[derive(Debug)]
pub struct Exchange {
    folder: tempfile::TempDir,
    listeners: Vec<UnixListener>,
}

impl Exchange {
    /// A number of sockets.
    pub fn new(count: usize) -> Exchange {
        let folder = crate::process::folder();
        let path = |number| folder.path().join(format!("{number}.sock"));
        let bind = |number| UnixListener::bind(path(number)).expect("a socket");
        let listeners = (0..count).map(bind).collect();
        Exchange { folder, listeners }
    }

    /// Where one of them is.
    pub fn path(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("{number}.sock"))
    }

    /// A bridge that dials all of them, with system ports p1 and p2.
    pub fn bridge(&self) -> String {
        let targets: Vec<_> = (0..self.listeners.len())
            .map(|number| format!("\"unix:{}\"", self.path(number).display()))
            .collect();
        let targets = targets.join(", ");
        let head = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\ndatapath_id = 7\n";
        let port =
            |i| format!("[[bridge.port]]\nname = \"p{i}\"\nnumber = {i}\ntype = \"system\"\n");
        format!("{head}controllers = [{targets}]\n{}{}", port(1), port(2))
    }

    /// Takes a connection and shakes hands.
    pub fn accept(&self, number: usize) -> Peer {
        let (stream, _) = self.listeners[number].accept().expect("the switch dials");
        stream.set_read_timeout(Some(READ_PAUSE)).expect("a socket");
        Peer::new(stream)
    }
}

impl<S: Read + Write> Peer<S> {
    /// Shakes hands on a socket whose reads wait for [`READ_PAUSE`].
    #[track_caller]
    pub fn new(stream: S) -> Peer<S> {
        let mut peer = Peer {
            stream,
            connection: Connection::new(Config::new(Side::Controller), 0),
            start: Instant::now(),
            next_xid: 100,
        };
        peer.flush();
        while peer.connection.version().is_none() {
            peer.read();
        }
        peer
    }

    /// Writes what is to be written.
    pub fn flush(&mut self) {
        let bytes = self.connection.outgoing().to_vec();
        self.stream.write_all(&bytes).expect("the switch reads");
        self.connection.sent(bytes.len());
    }

    /// Reads what is there; false if nothing came.
    pub fn read(&mut self) -> bool {
        let mut bytes = [0; 65_536];
        let now_ms = self.start.elapsed().as_millis() as u64;
        match self.stream.read(&mut bytes) {
            Ok(count) => {
                assert!(count > 0, "the switch closed the connection");
                let received = self.connection.receive(&bytes[..count], now_ms);
                received.expect("messages that make sense");
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A message that has come, if there is one.
    pub fn poll(&mut self) -> Option<(Xid, Message)> {
        self.connection.next_message()
    }

    /// Whether the switch has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0; 65_536]) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Sends a message; its number.
    pub fn send(&mut self, message: Message) -> Xid {
        self.send_numbered(|_| message)
    }

    /// Sends a message that has to know its number.
    pub fn send_numbered(&mut self, message: impl FnOnce(Xid) -> Message) -> Xid {
        self.next_xid += 1;
        let xid = Xid(self.next_xid);
        let sent = self.connection.send(xid, &message(xid));
        sent.expect("an open connection");
        self.flush();
        xid
    }

    /// The next message, within thirty seconds.
    #[track_caller]
    pub fn receive(&mut self) -> (Xid, Message) {
        for _ in 0..1500 {
            if let Some(message) = self.connection.next_message() {
                self.flush();
                return message;
            }
            self.read();
            self.flush();
        }
        panic!("no message within 30 s");
    }

    /// The next message that `wanted` makes something of; others are passed over.
    #[track_caller]
    pub fn wait<T>(&mut self, wanted: impl Fn(Message) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.receive().1) {
                return found;
            }
        }
    }

    /// Everything up to the answer to a barrier sent now, the answer left out, and what is said of
    /// ports: the kernel reports links when it has time.
    #[track_caller]
    pub fn barrier(&mut self) -> Vec<(Xid, Message)> {
        let barrier = self.send(Message::BarrierRequest);
        let mut before = Vec::new();
        loop {
            match self.receive() {
                (xid, Message::BarrierReply) if xid == barrier => return before,
                (_, Message::PortStatus(_)) => {}
                message => before.push(message),
            }
        }
    }

    /// A message many times, not sent.
    pub fn encode_many(&mut self, message: &Message, count: u32) -> Vec<u8> {
        for number in 0..count {
            let sent = self.connection.send(Xid(number), message);
            sent.expect("an open connection");
        }
        self.connection.outgoing().to_vec()
    }

    /// Adds a flow.
    pub fn flow(&mut self, text: &str) -> Xid {
        self.send(flow(text, FlowModCommand::Add))
    }

    /// Asks for a role; the answer.
    #[track_caller]
    pub fn role(&mut self, role: Role, generation_id: u64) -> Message {
        let xid = self.send(Message::RoleRequest(RoleMessage {
            role,
            generation_id,
        }));
        loop {
            let (answered, message) = self.receive();
            if answered == xid {
                return message;
            }
        }
    }
}

/// A flow modification in the words of `ovs-ofctl`.
pub fn flow(text: &str, command: FlowModCommand) -> Message {
    Message::FlowMod(Box::new(flow_value(text, command)))
}

/// The same, not yet a message.
pub fn flow_value(text: &str, command: FlowModCommand) -> FlowMod {
    text::flow::parse(text, command).expect("a flow")
}

/// How long a read waits before it says that nothing came.
pub const READ_PAUSE: Duration = Duration::from_millis(20);
