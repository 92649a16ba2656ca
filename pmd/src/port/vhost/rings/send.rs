//! Frames for a guest.

use arrayvec::ArrayVec;

use super::chain::{Access, Head, Heads, PARTS_MAX, Walked};
use super::copy::copy;
use super::memory::{prefetch, prefetch_to_write};
use super::{AHEAD, HEADER, Kind, Layout, Queue, Ring};
use crate::offload::virtio;
use crate::port::LostReason;
use crate::{BATCH_MAX, Packet};

impl Ring {
    /// Copies packets to the guest, the first to as many as it has room for; returns how many those
    /// are. Those of them that cannot be sent ever are told to `lost`, each with its bytes.
    #[inline]
    pub(in crate::port::vhost) fn send(
        &mut self,
        packets: &[Packet],
        lost: impl FnMut(LostReason, &Packet),
    ) -> usize {
        match &mut self.0 {
            Kind::Split(queue) => queue.send(packets, lost),
            Kind::Packed(queue) => queue.send(packets, lost),
        }
    }
}

impl<L: Layout> Queue<L> {
    #[inline]
    fn send(&mut self, packets: &[Packet], mut lost: impl FnMut(LostReason, &Packet)) -> usize {
        let mut heads = Heads::new();
        let mut done = 0;
        while done < packets.len() && !self.broken {
            self.peek(&mut heads, packets.len() - done);
            if heads.is_empty() {
                break;
            }
            let fast = self.send_whole(&packets[done..], &heads);
            done += fast;
            let (Some(head), Some(packet)) = (heads.get(fast), packets.get(done)) else {
                continue;
            };
            match self.send_chain(packet, *head) {
                Sent::All => {}
                Sent::Never(reason) => lost(reason, packet),
                Sent::NotNow => break,
            }
            done += 1;
        }
        self.publish();
        done
    }

    /// Where a packet and its header go, if they fit one descriptor.
    #[inline]
    fn target(&self, head: &Head, packet: &Packet) -> Option<*mut u8> {
        let length = self.header_len + packet.len();
        if length > head.length as usize || !head.is_whole(Access::Write) {
            return None;
        }
        self.memory.find(head.address, length)
    }

    /// Sends the first packets that fit one descriptor each; returns how many those are.
    #[inline]
    fn send_whole(&mut self, packets: &[Packet], heads: &Heads) -> usize {
        let mut targets = ArrayVec::<*mut u8, BATCH_MAX>::new();
        for (head, packet) in heads.iter().zip(packets) {
            let Some(target) = self.target(head, packet) else {
                break;
            };
            targets.push(target);
        }
        let header_len = self.header_len;
        // The header is mostly there already, so its line is read; the frame's is written.
        let fetch = |target: *mut u8| {
            prefetch(target);
            prefetch_to_write(target.wrapping_add(header_len));
        };
        targets.iter().take(AHEAD).copied().for_each(fetch);
        let all = heads.iter().zip(packets).zip(&targets).enumerate();
        for (index, ((head, packet), &target)) in all {
            targets
                .get(index + AHEAD)
                .copied()
                .into_iter()
                .for_each(fetch);
            let length = packet.len();
            // SAFETY: so many bytes can be written there.
            unsafe {
                Header::of(packet, 1).put(target, header_len);
                copy(packet.data().as_ptr(), target.add(header_len), length);
            }
            if let Some(log) = self.log {
                log.mark(head.address, header_len + length);
            }
            self.layout.finish(head.id, (header_len + length) as u32, 1);
        }
        targets.len()
    }

    /// Sends any packet.
    #[cold]
    #[inline(never)]
    fn send_chain(&mut self, packet: &Packet, first: Head) -> Sent {
        let needed = self.header_len + packet.len();
        let mut buffers = ArrayVec::<Buffer, PARTS_MAX>::new();
        let mut ahead = 0;
        let mut head = Some(first);
        self.chain.clear();
        while self.chain.length < needed {
            let before = self.chain.length;
            let Some(buffer) = head.take() else {
                return Sent::NotNow;
            };
            let Ok(walked) = self.walk(&buffer, ahead, Access::Write) else {
                return Sent::NotNow;
            };
            let room = (self.chain.length - before).min(needed - before);
            if self.chain.bad || room == 0 {
                return self.refuse(&buffers, walked);
            }
            let buffer = Buffer { walked, room };
            if buffers.try_push(buffer).is_err() {
                return Sent::Never(LostReason::TooLong);
            }
            if self.chain.length < needed {
                if !self.mergeable {
                    return Sent::Never(LostReason::TooLong);
                }
                ahead += walked.slots;
                match self.layout.head(ahead) {
                    Ok(next) => head = next,
                    Err(_) => self.broken = true,
                }
            }
        }
        self.scatter(packet, buffers.len() as u16);
        for buffer in buffers {
            let Walked { id, slots } = buffer.walked;
            self.layout.finish(id, buffer.room as u32, slots);
        }
        Sent::All
    }

    /// Gives back a buffer that makes no sense, and those before it, empty.
    fn refuse(&mut self, buffers: &[Buffer], last: Walked) -> Sent {
        for Walked { id, slots } in buffers.iter().map(|buffer| buffer.walked).chain([last]) {
            self.layout.finish(id, 0, slots);
        }
        Sent::Never(LostReason::Device)
    }

    /// Copies a packet to the parts that were collected.
    fn scatter(&self, packet: &Packet, buffers: u16) {
        let header = Header::of(packet, buffers).bytes();
        let sources = [&header[..self.header_len], packet.data()];
        let mut parts = self.chain.parts.iter().copied();
        let mut part = parts.next();
        for mut source in sources {
            while let (Some(room), false) = (&mut part, source.is_empty()) {
                let length = source.len().min(room.length);
                // SAFETY: the part is mapped, and has room for so many bytes.
                unsafe {
                    std::ptr::copy_nonoverlapping(source.as_ptr(), room.start, length);
                    room.start = room.start.add(length);
                }
                if let Some(log) = self.log {
                    log.mark(room.guest, length);
                }
                room.guest = room.guest.wrapping_add(length as u64);
                room.length -= length;
                source = &source[length..];
                if room.length == 0 {
                    part = parts.next();
                }
            }
        }
    }
}

/// What came of one packet.
enum Sent {
    /// The guest has it.
    All,
    /// The guest has no room for it yet, or its ring is broken.
    NotNow,
    /// The guest's buffers do not fit it.
    Never(LostReason),
}

/// One of the buffers of a frame.
#[derive(Clone, Copy)]
struct Buffer {
    walked: Walked,
    /// Bytes that are written to it.
    room: usize,
}

/// The header before a packet, its first 8 bytes and the others.
#[derive(Clone, Copy)]
struct Header(u64, u32);

impl Header {
    /// That of a packet which is in so many buffers.
    #[inline(always)]
    fn of(packet: &Packet, buffers: u16) -> Header {
        let (mut first, mut second) = (0, 0);
        if packet.owes() {
            (first, second) = Header::of_owing(packet);
        }
        Header(first, u32::from(second) | u32::from(buffers) << 16)
    }

    #[cold]
    fn of_owing(packet: &Packet) -> (u64, u16) {
        let owed = virtio::encode(&packet.offload(), packet.data());
        let (mut first, mut second) = ([0; 8], [0; 2]);
        first.copy_from_slice(&owed[..8]);
        second.copy_from_slice(&owed[8..]);
        (u64::from_ne_bytes(first), u16::from_ne_bytes(second))
    }

    fn bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&self.0.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.1.to_ne_bytes());
        bytes
    }

    /// Writes its 12 bytes, or the first 10, where others are there: the guest reads them, and a
    /// line that is written needlessly is taken from its cache needlessly.
    ///
    /// # Safety
    /// So many bytes can be read and written there.
    #[inline(always)]
    unsafe fn put(self, to: *mut u8, length: usize) {
        // SAFETY: as the caller promises. What the guest makes of its own header meanwhile is its
        // affair.
        unsafe {
            put(to.cast::<u64>(), self.0);
            let rest = to.add(8);
            if length == HEADER {
                put(rest.cast::<u32>(), self.1);
            } else {
                put(rest.cast::<u16>(), self.1 as u16);
            }
        }
    }
}

/// Writes a value where another is.
///
/// # Safety
/// It can be read and written there, at any alignment.
#[inline(always)]
unsafe fn put<T: Copy + PartialEq>(to: *mut T, value: T) {
    // SAFETY: as the caller promises.
    unsafe {
        if to.read_unaligned() != value {
            to.write_unaligned(value);
        }
    }
}
