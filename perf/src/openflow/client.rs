//! A controller that is as cheap as can be: bytes made beforehand, blocking reads.

use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use openflow::{Message, Xid, v13};

/// One connection to a switch.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    /// What was read; of it, what is not taken yet lies from `start` to `end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
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
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
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
    pub fn receive_kind(&mut self, kind: u8) -> Result<&[u8]> {
        let message = loop {
            let message = self.receive()?;
            let found = self.buffer[message.start + 1];
            if found == kind {
                break message;
            }
            self.errors += u64::from(found == ERROR);
        };
        Ok(&self.buffer[message])
    }

    /// The next message of this type; an error before it is one.
    pub fn expect_kind(&mut self, kind: u8) -> Result<()> {
        loop {
            let message = self.receive()?;
            let message = &self.buffer[message];
            ensure!(message[1] != ERROR, "refused: {:?}", v13::decode(message));
            if message[1] == kind {
                return Ok(());
            }
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
            part(message);
            if message[11] & 1 == 0 {
                return Ok(());
            }
        }
    }

    /// Where the next message lies in the buffer.
    fn receive(&mut self) -> Result<Range<usize>> {
        loop {
            if let Some(message) = self.take() {
                return Ok(message);
            }
            self.fill()?;
        }
    }

    fn take(&mut self) -> Option<Range<usize>> {
        let rest = &self.buffer[self.start..self.end];
        let len = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
        rest.get(..len)?;
        let message = self.start..self.start + len;
        self.start = message.end;
        Some(message)
    }

    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match self.stream.read(&mut self.buffer[self.end..]) {
            Ok(0) => bail!("the switch closed the connection"),
            Ok(count) => self.end += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("no reply"),
        }
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
/// Room for several messages of the greatest length, 65,535 bytes.
const BUFFER_BYTES: usize = 256 << 10;
/// The longest that either switch thinks about anything measured here.
const REPLY_TIME_MAX: Duration = Duration::from_secs(600);
