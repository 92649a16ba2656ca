//! One end of a shared-memory packet interface, used by the generator.
//!
//! What: the client's side of memif 2.0, the protocol of DPDK's `net_memif` driver; the switch
//! under test has the server's. The client owns the memory: rings of descriptors, and the frames
//! they point at, anywhere in the region. So a frame is written once and sent as often as wished,
//! in any order, for the price of 16 bytes; that is far cheaper than forwarding it, and one thread
//! keeps any switch busy.
//! How: the region is a memory file, read and written by `pread` and `pwrite`: those are copies by
//! the same CPU, and x86 lets other CPUs see stores in their order, so a ring's head follows its
//! descriptors. No pointer into shared memory is needed. Positions are read and written with the
//! eight bytes in which they lie: the kernel copies such a word at once, but two bytes of their own
//! one after the other, so that the switch could see half of one, or be seen so.
//! See DPDK's guide to the memif driver, "Memif internals".

use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketType, connect, recv, sendmsg, socket,
};

/// A connection: one ring to the switch, some from it.
#[derive(Debug)]
pub struct Memif {
    memory: File,
    _control: OwnedFd,
    _interrupts: Vec<OwnedFd>,
    sent: u16,
    taken: u16,
    /// Of each ring from the switch.
    returned: Vec<u16>,
}

impl Memif {
    /// Connects to the switch's end with room for so many bytes of frames, which are zero. `rings`
    /// is how many the switch sends by: the driver writes to all that it has, made or not.
    pub fn connect(path: &Path, rings: u16, frame_bytes: u64) -> Result<Memif> {
        ensure!((1..=RINGS_MAX).contains(&rings), "{rings} rings");
        let size = FRAMES + frame_bytes;
        let memory = memfd_create("frames", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&memory, size)?;
        let memory = File::from(memory);
        for ring in [TO_SWITCH].into_iter().chain((0..rings).map(from_switch)) {
            write_head(&memory, ring, 0)?;
        }
        let control = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
        connect(&control, &SocketAddrUnix::new(path)?)
            .with_context(|| format!("no memif at {}", path.display()))?;
        let interrupt = || eventfd(0, EventfdFlags::CLOEXEC);
        let interrupts = (0..=rings).map(|_| interrupt());
        let interrupts = interrupts.collect::<Result<Vec<OwnedFd>, _>>()?;
        shake_hands(control.as_fd(), &memory, size, &interrupts)?;
        let memif = Memif {
            memory,
            _control: control,
            _interrupts: interrupts,
            sent: 0,
            taken: 0,
            returned: vec![0; rings.into()],
        };
        for ring in 0..rings {
            memif.offer(ring, 0_u16.wrapping_sub(RING), RING)?;
        }
        Ok(memif)
    }

    /// Writes bytes of frames, `offset` from the first of them.
    pub fn write_frames(&self, bytes: &[u8], offset: u64) -> Result<()> {
        Ok(self.memory.write_all_at(bytes, FRAMES + offset)?)
    }

    /// Slots of the ring to the switch that are free, after looking how far it is.
    pub fn free_slots(&mut self) -> Result<Slots> {
        let tail = self.read_tail(TO_SWITCH)?;
        let newly_taken = tail.wrapping_sub(self.taken);
        self.taken = tail;
        let waiting = self.sent.wrapping_sub(tail);
        ensure!(
            waiting <= RING,
            "{waiting} of {RING} slots wait: more were taken than sent"
        );
        Ok(Slots {
            free: RING - waiting,
            newly_taken,
        })
    }

    /// The slot that the next descriptor goes to.
    pub fn next_slot(&self) -> u16 {
        self.sent % RING
    }

    /// Sends what these descriptors, 16 bytes each, point at; no more than there are free slots.
    pub fn send(&mut self, descriptors: &[u8]) -> Result<()> {
        self.place(descriptors)?;
        self.publish((descriptors.len() / DESCRIPTOR) as u16)
    }

    /// Writes descriptors from the next slot on, without handing them over.
    pub fn place(&self, descriptors: &[u8]) -> Result<()> {
        let slot = usize::from(self.next_slot());
        let first = descriptors
            .len()
            .min((usize::from(RING) - slot) * DESCRIPTOR);
        let (before, behind) = descriptors.split_at(first);
        let start = TO_SWITCH + DESCRIPTORS;
        self.memory
            .write_all_at(before, start + (slot * DESCRIPTOR) as u64)?;
        Ok(self.memory.write_all_at(behind, start)?)
    }

    /// Hands over so many slots.
    pub fn publish(&mut self, count: u16) -> Result<()> {
        self.sent = self.sent.wrapping_add(count);
        write_head(&self.memory, TO_SWITCH, self.sent)
    }

    /// Takes what the switch has sent and gives its slots back; how many frames that were.
    pub fn receive(&mut self) -> Result<u32> {
        let mut taken = 0;
        for ring in 0..self.returned.len() {
            let tail = self.read_tail(from_switch(ring as u16))?;
            let first = std::mem::replace(&mut self.returned[ring], tail);
            let count = tail.wrapping_sub(first);
            if count > 0 {
                self.offer(ring as u16, first, count)?;
            }
            taken += u32::from(count);
        }
        Ok(taken)
    }

    /// Makes slots empty again, from the one given on (the switch has written lengths into them),
    /// and lets the switch have them.
    fn offer(&self, ring: u16, from: u16, count: u16) -> Result<()> {
        let ring = from_switch(ring);
        let first = from % RING;
        let until_end = count.min(RING - first);
        for (slot, count) in [(first, until_end), (0, count - until_end)] {
            let empty: Vec<u8> = (slot..slot + count)
                .flat_map(|slot| descriptor(buffer(slot), BUFFER as u32))
                .collect();
            let place = ring + DESCRIPTORS + u64::from(slot) * DESCRIPTOR as u64;
            self.memory.write_all_at(&empty, place)?;
        }
        let head = from.wrapping_add(count).wrapping_add(RING);
        write_head(&self.memory, ring, head)
    }

    /// The receiver's position in a ring.
    fn read_tail(&self, ring: u64) -> Result<u16> {
        let mut word = [0; 8];
        self.memory.read_exact_at(&mut word, ring + TAIL)?;
        Ok(u64::from_le_bytes(word) as u16)
    }
}

/// Writes the sender's position in a ring, with what lies before it in the same word.
fn write_head(memory: &File, ring: u64, head: u16) -> Result<()> {
    let word = u64::from(COOKIE) | u64::from(WITHOUT_INTERRUPT) << 32 | u64::from(head) << 48;
    Ok(memory.write_all_at(&word.to_le_bytes(), ring)?)
}

/// What is known of the ring to the switch.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    /// Slots that may be filled.
    pub free: u16,
    /// Frames that the switch has taken since the last look.
    pub newly_taken: u16,
}

/// A descriptor of `length` bytes at a place in the region.
pub fn descriptor(place: u32, length: u32) -> [u8; DESCRIPTOR] {
    let mut bytes = [0; DESCRIPTOR];
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[8..12].copy_from_slice(&place.to_le_bytes());
    bytes
}

/// A descriptor of a frame, given where [`Memif::write_frames`] has put it.
pub fn frame_descriptor(offset: u32, length: u32) -> [u8; DESCRIPTOR] {
    descriptor(FRAMES as u32 + offset, length)
}

/// Where a ring from the switch is.
fn from_switch(ring: u16) -> u64 {
    TO_SWITCH + (1 + u64::from(ring)) * RING_BYTES
}

/// Where the switch writes the frame of a slot.
fn buffer(slot: u16) -> u32 {
    BUFFERS as u32 + u32::from(slot) * BUFFER as u32
}

fn shake_hands(
    control: BorrowedFd,
    memory: &File,
    size: u64,
    interrupts: &[OwnedFd],
) -> Result<()> {
    await_reply(control, HELLO)?;
    let version = VERSION.to_le_bytes();
    let request = [&version[..], &[0; 4], &[ETHERNET], &[0; 24], NAME];
    exchange(control, INIT, &request.concat(), None, ACK)?;
    let region = [&[0; 2][..], &size.to_le_bytes()].concat();
    exchange(control, ADD_REGION, &region, Some(memory.as_fd()), ACK)?;
    let back = (0..interrupts.len() as u16 - 1).map(|ring| (from_switch(ring), 0, ring));
    let rings = [(TO_SWITCH, 1_u16, 0)].into_iter().chain(back);
    for ((offset, flags, index), interrupt) in rings.zip(interrupts) {
        let (flags, index) = (flags.to_le_bytes(), index.to_le_bytes());
        let offset = (offset as u32).to_le_bytes();
        let log2 = [RING.trailing_zeros() as u8];
        let ring = [&flags[..], &index, &[0; 2], &offset, &log2, &[0; 2]];
        exchange(
            control,
            ADD_RING,
            &ring.concat(),
            Some(interrupt.as_fd()),
            ACK,
        )?;
    }
    exchange(control, CONNECT, NAME, None, CONNECTED)
}

/// Sends a message, with a file if there is one, and waits for the answer of that type.
fn exchange(
    control: BorrowedFd,
    kind: u16,
    body: &[u8],
    file: Option<BorrowedFd>,
    answer: u16,
) -> Result<()> {
    let mut message = [&kind.to_le_bytes(), body].concat();
    message.resize(MESSAGE, 0);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = file.as_slice();
    if !files.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(files));
    }
    let flags = SendFlags::empty();
    sendmsg(control, &[IoSlice::new(&message)], &mut ancillary, flags)?;
    await_reply(control, answer)
}

fn await_reply(control: BorrowedFd, wanted: u16) -> Result<()> {
    let mut message = [0_u8; MESSAGE];
    let (count, _) = recv(control, &mut message, RecvFlags::empty())?;
    ensure!(count == MESSAGE, "the switch closed the memif");
    let kind = u16::from_le_bytes([message[0], message[1]]);
    if kind == DISCONNECT {
        bail!(
            "the switch refuses the memif: {}",
            String::from_utf8_lossy(&message[6..])
        );
    }
    ensure!(kind == wanted, "memif message {kind} in place of {wanted}");
    Ok(())
}

const VERSION: u16 = 2 << 8;
const COOKIE: u32 = 0x03e3_1f20;
const WITHOUT_INTERRUPT: u16 = 1;
const ETHERNET: u8 = 0;
const NAME: &[u8; 32] = b"generator\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Types of messages, each of [`MESSAGE`] bytes.
const ACK: u16 = 1;
const HELLO: u16 = 2;
const INIT: u16 = 3;
const ADD_REGION: u16 = 4;
const ADD_RING: u16 = 5;
const CONNECT: u16 = 6;
const CONNECTED: u16 = 7;
const DISCONNECT: u16 = 8;
const MESSAGE: usize = 128;

/// Slots of a ring: as many as the driver allows.
pub const RING: u16 = 1 << 14;
/// In a ring: the receiver's position, and the descriptors. The first word has the cookie, flags
/// and the sender's position.
const TAIL: u64 = 64;
const DESCRIPTORS: u64 = 128;
/// Bytes of a descriptor.
pub const DESCRIPTOR: usize = 16;
/// Bytes for a frame that comes from the switch.
const BUFFER: u64 = 2048;

/// In the region: the rings, buffers that all rings from the switch share, since nobody reads them,
/// then the frames to be sent.
const TO_SWITCH: u64 = 0;
const RING_BYTES: u64 = 1 << 20;
/// Rings from the switch.
const RINGS_MAX: u16 = 8;
const BUFFERS: u64 = (1 + RINGS_MAX as u64) * RING_BYTES;
const FRAMES: u64 = BUFFERS + RING as u64 * BUFFER;
