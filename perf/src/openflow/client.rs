//! A controller that is as cheap as can be: bytes made beforehand, blocking reads.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use openflow::{Message, Xid, v13};

/// One connection to a switch.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
    start: usize,
    /// Messages of type error seen so far.
    pub errors: u64,
}

impl Client {
    /// Connects and shakes hands.
    pub fn connect(socket: &Path) -> Result<Client> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(REPLY_TIME_MAX))?;
        let mut client = Client {
            stream,
            buffer: Vec::new(),
            start: 0,
            errors: 0,
        };
        client.write(&HELLO)?;
        client.receive_kind(HELLO[1])?;
        Ok(client)
    }

    /// Sends a message.
    pub fn send(&mut self, message: &Message) -> Result<()> {
        let mut bytes = Vec::new();
        v13::encode(Xid(1), message, &mut bytes).context("a message that fits")?;
        self.write(&bytes)
    }

    /// Writes bytes, reading whatever comes meanwhile: a switch whose replies nobody takes stops
    /// taking requests.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let step = bytes.len().min(WRITE_BYTES);
            let written = self.stream.write(&bytes[..step])?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// The next message of this type; what comes before it is dropped, errors are counted.
    pub fn receive_kind(&mut self, kind: u8) -> Result<Vec<u8>> {
        loop {
            let message = self.receive()?;
            if message[1] == kind {
                return Ok(message);
            }
            self.errors += u64::from(message[1] == ERROR);
        }
    }

    /// The next message of this type; an error before it is one.
    pub fn expect_kind(&mut self, kind: u8) -> Result<Vec<u8>> {
        let message = loop {
            let message = self.receive()?;
            if message[1] == kind || message[1] == ERROR {
                break message;
            }
        };
        ensure!(message[1] == kind, "refused: {:?}", v13::decode(&message));
        Ok(message)
    }

    /// The next message.
    pub fn receive(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(message) = self.take() {
                return Ok(message);
            }
            self.fill()?;
        }
    }

    /// Waits until all that was sent is done.
    pub fn barrier(&mut self) -> Result<()> {
        self.write(&BARRIER)?;
        self.receive_kind(BARRIER_REPLY).map(drop)
    }

    /// Reads the parts of a multipart reply; how many bytes and messages they are.
    pub fn drain_multipart(&mut self, mut part: impl FnMut(&[u8])) -> Result<()> {
        loop {
            let message = self.receive_kind(MULTIPART_REPLY)?;
            part(&message);
            if message[11] & 1 == 0 {
                return Ok(());
            }
        }
    }

    /// The stream, to be used otherwise.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let rest = &self.buffer[self.start..];
        let len = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
        let message = rest.get(..len)?.to_vec();
        self.start += len;
        Some(message)
    }

    fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + READ_BYTES, 0);
        let read = self.stream.read(&mut self.buffer[before..]);
        let count = match read {
            Ok(0) => bail!("the switch closed the connection"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(error) => return Err(error).context("no reply"),
        };
        self.buffer.truncate(before + count);
        Ok(())
    }
}

/// `OFPT_HELLO` of version 1.3.
const HELLO: [u8; 8] = [4, 0, 0, 8, 0, 0, 0, 1];
const BARRIER: [u8; 8] = [4, 20, 0, 8, 0, 0, 0, 2];
/// `OFPT_BARRIER_REPLY`.
pub const BARRIER_REPLY: u8 = 21;
/// `OFPT_MULTIPART_REPLY`.
pub const MULTIPART_REPLY: u8 = 19;
/// `OFPT_PACKET_IN`.
pub const PACKET_IN: u8 = 10;
const ERROR: u8 = 1;
const WRITE_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 256 << 10;
/// The longest that either switch thinks about anything measured here.
const REPLY_TIME_MAX: Duration = Duration::from_secs(600);
