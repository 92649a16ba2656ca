//! What the ports of the kernel's have in common: TAP (`internal`) and packet socket (`system`).
//!
//! # Receiving without copying
//! The kernel hands over a frame of unknown length, from 14 bytes to 64 KiB. A `Slot` offers it a
//! small buffer, then the rest of a large one, then plain memory. A frame that fits the small
//! buffer, which is any but a super-frame or a jumbo frame, is there already. A longer one has its
//! first 2 KiB copied to the large buffer. Large buffers are few, so a slot offers one only while
//! it sees long frames, and until it has been idle for a while; the first of them lands in plain
//! memory and is copied whole.
//!
//! # Looking less often where nothing comes
//! Asking the kernel for a packet is a system call, 100 times what looking at a ring costs. A
//! `Pace` lets a queue that had nothing rest for a multiple of the time which finding that out
//! took, so that an idle port takes a bounded share of its worker.

use std::io::{self, ErrorKind};

use super::LostReason;
use crate::offload::virtio;
use crate::pool::{FRAME_MAX, SMALL_MAX};
use crate::{Packet, Pools, cycles};

/// Room for one frame and its virtio-net header.
#[derive(Debug)]
pub(super) struct Slot {
    small: Option<Packet>,
    large: Option<Packet>,
    /// Takes what the packets have no room for.
    rest: Box<[u8]>,
    /// Frames since the last long one.
    short_frames: u32,
    header: Box<[u8; virtio::HEADER_LEN]>,
}

/// The parts of a slot that the kernel fills, in order.
pub(super) type Parts = [libc::iovec; 4];

impl Slot {
    /// Room without buffers.
    pub(super) fn new() -> Slot {
        // Zeroed memory that nobody writes takes no room.
        let rest = vec![0; FRAME_MAX + 1].into_boxed_slice();
        Slot {
            small: None,
            large: None,
            rest,
            short_frames: 0,
            header: Box::default(),
        }
    }

    /// Where the kernel shall write, in order: header, then frame. None without a free buffer.
    ///
    /// The pointers are good until the next call to `arm` or `take`, wherever the slot moves.
    pub(super) fn arm(&mut self, pools: &Pools) -> Option<Parts> {
        if self.small.is_none() {
            self.small = pools.allocate(0);
        }
        let small = part(self.small.as_mut()?, 0, SMALL_MAX);
        let large = match &mut self.large {
            Some(large) => part(large, SMALL_MAX, FRAME_MAX),
            None => libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            },
        };
        let header = self.header.as_mut_ptr().cast();
        let header = libc::iovec {
            iov_base: header,
            iov_len: virtio::HEADER_LEN,
        };
        // One byte more than a packet can hold tells that a frame is too long.
        let rest = self.rest.len() - small.iov_len - large.iov_len;
        let rest = libc::iovec {
            iov_base: self.rest.as_mut_ptr().cast(),
            iov_len: rest,
        };
        Some([header, small, large, rest])
    }

    /// The packet of which the kernel wrote `length` bytes, header included, or why there is none.
    pub(super) fn take(&mut self, length: usize, pools: &Pools) -> Result<Packet, LostReason> {
        let length = length
            .checked_sub(virtio::HEADER_LEN)
            .ok_or(LostReason::Malformed)?;
        let packet = if length <= SMALL_MAX {
            self.take_small(length)
        } else if length <= FRAME_MAX {
            self.take_large(length, pools)?
        } else {
            return Err(LostReason::TooLong);
        };
        let mut packet = packet.ok_or(LostReason::NoBuffer)?;
        virtio::owe(&mut packet, &self.header)?;
        Ok(packet)
    }

    /// Gives the large buffer back. What `arm` returned is void.
    pub(super) fn rest(&mut self) {
        self.large = None;
    }

    fn take_small(&mut self, length: usize) -> Option<Packet> {
        self.short_frames = self.short_frames.saturating_add(1);
        if self.short_frames > SHORT_FRAMES_MAX {
            self.large = None;
        }
        let mut packet = self.small.take()?;
        packet.append(length)?;
        Some(packet)
    }

    fn take_large(&mut self, length: usize, pools: &Pools) -> Result<Option<Packet>, LostReason> {
        self.short_frames = 0;
        let small = self.small.as_mut().ok_or(LostReason::NoBuffer)?;
        let first = small.append(SMALL_MAX).ok_or(LostReason::NoBuffer)?;
        let landed = self.large.take();
        let copied = landed.is_none();
        let mut packet = landed.or_else(|| pools.allocate(FRAME_MAX));
        if let Some(bytes) = packet.as_mut().and_then(|packet| packet.append(length)) {
            bytes[..SMALL_MAX].copy_from_slice(first);
            if copied {
                bytes[SMALL_MAX..].copy_from_slice(&self.rest[..length - SMALL_MAX]);
            }
        }
        small.truncate(0);
        self.large = pools.allocate(FRAME_MAX);
        Ok(packet)
    }
}

/// The room of an empty packet for the bytes `from..to` of its frame.
fn part(packet: &mut Packet, from: usize, to: usize) -> libc::iovec {
    let (start, room) = packet.spare();
    let to = to.min(room);
    libc::iovec {
        iov_base: start.wrapping_add(from).cast(),
        iov_len: to.saturating_sub(from),
    }
}

/// How often a queue is asked.
#[derive(Debug, Default)]
pub(super) struct Pace {
    asked: u64,
    rest_until: u64,
    /// How often in a row there was nothing.
    idle: u32,
}

impl Pace {
    /// Whether to ask now.
    #[inline]
    pub(super) fn is_due(&mut self) -> bool {
        self.asked = cycles();
        self.asked >= self.rest_until
    }

    /// There was something.
    #[inline]
    pub(super) fn found(&mut self) {
        self.idle = 0;
    }

    /// There was nothing. True once when that has been so for a while.
    #[inline]
    pub(super) fn found_nothing(&mut self) -> bool {
        let now = cycles();
        self.rest_until = now + (now - self.asked) * REST_SHARE;
        self.idle = self.idle.saturating_add(1);
        self.idle == IDLE_MAX
    }
}

/// Bytes that a system call is to read.
pub(super) fn readable(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

/// Why the kernel did not take a frame.
pub(super) fn refusal(error: &io::Error) -> LostReason {
    match (error.kind(), error.raw_os_error()) {
        (ErrorKind::WouldBlock, _) | (_, Some(libc::ENOBUFS)) => LostReason::Full,
        (_, Some(libc::ENOMEM)) => LostReason::NoBuffer,
        (_, Some(libc::EMSGSIZE)) => LostReason::TooLong,
        (_, Some(libc::EINVAL | libc::EFAULT)) => LostReason::Malformed,
        (_, Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV | libc::EIO | libc::EBADFD)) => {
            LostReason::Down
        }
        _ => LostReason::Device,
    }
}

/// Whether a netdev is gone that gave this error.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENXIO | libc::ENODEV | libc::EBADFD)
    )
}

/// Short frames after which a slot gives its large buffer back: two full batches.
const SHORT_FRAMES_MAX: u32 = 64;

/// Looks in vain after which an idle port gives its large buffers back: some milliseconds.
const IDLE_MAX: u32 = 1_000;

/// An idle port's share of its worker is at most one in this many: with 16, some 3 us between two
/// looks, which is little beside what the kernel's own path takes.
const REST_SHARE: u64 = 16;

/// How often a frame is offered again to a queue of the kernel's that is full.
pub(super) const RETRIES_MAX: u32 = 8;

/// Frames received at a time: super-frames of 64 KiB that are copied keep a worker for 10
/// microseconds each, and other ports wait.
pub(super) const BURST_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::headers::tests::frame;
    use crate::offload::{Gso, GsoKind};
    use crate::testing::pools;
    use crate::{Offload, PartialChecksum};

    /// Does what readv(2) does with a header and a frame.
    fn fill(slot: &mut Slot, pools: &Pools, offload: &Offload, bytes: &[u8]) -> usize {
        let message = [&virtio::encode(offload, bytes)[..], bytes].concat();
        let mut rest = &message[..];
        for part in slot.arm(pools).unwrap() {
            let (now, later) = rest.split_at(part.iov_len.min(rest.len()));
            // SAFETY: `arm` gave out pointers to so much room.
            unsafe { std::ptr::copy(now.as_ptr(), part.iov_base.cast(), now.len()) };
            rest = later;
        }
        assert!(rest.is_empty());
        message.len()
    }

    #[test]
    fn frames_of_any_length_land_in_one_piece() {
        let pools = pools();
        let mut slot = Slot::new();
        let lengths = [60, 2048, 2049, 65_407, 3000, 65_407, 60, 9018, 1];
        for length in lengths.into_iter().chain([60; 70]).chain(lengths) {
            let bytes: Vec<u8> = (0..length).map(|index| (index * 7 % 251) as u8).collect();
            let written = fill(&mut slot, &pools, &Offload::default(), &bytes);
            let packet = slot.take(written, &pools).unwrap();
            assert!(packet.data() == bytes, "{length}");
        }
        drop(slot);
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn large_buffers_go_back_when_frames_are_short() {
        let pools = pools();
        let mut slot = Slot::new();
        let written = fill(&mut slot, &pools, &Offload::default(), &[0; 3000]);
        drop(slot.take(written, &pools).unwrap());
        assert_eq!(pools.large().in_use(), 1);
        for _ in 0..=SHORT_FRAMES_MAX {
            let written = fill(&mut slot, &pools, &Offload::default(), &[0; 60]);
            drop(slot.take(written, &pools).unwrap());
        }
        assert_eq!(pools.large().in_use(), 0);
    }

    #[test]
    fn long_idleness_is_told_once() {
        let mut pace = Pace::default();
        let told = |pace: &mut Pace| (0..3 * IDLE_MAX).filter(|_| pace.found_nothing()).count();
        assert_eq!(told(&mut pace), 1);
        assert_eq!(told(&mut pace), 0);
        pace.found();
        assert_eq!(told(&mut pace), 1);
    }

    #[test]
    fn what_cannot_be_kept_is_lost_by_reason() {
        let pools = pools();
        let mut slot = Slot::new();
        let written = fill(
            &mut slot,
            &pools,
            &Offload::default(),
            &vec![0; FRAME_MAX + 1],
        );
        assert_eq!(slot.take(written, &pools).unwrap_err(), LostReason::TooLong);
        assert_eq!(slot.take(3, &pools).unwrap_err(), LostReason::Malformed);
        let mut held = Vec::new();
        while let Some(packet) = pools.allocate(FRAME_MAX) {
            held.push(packet);
        }
        let written = fill(&mut slot, &pools, &Offload::default(), &[0; 3000]);
        assert_eq!(
            slot.take(written, &pools).unwrap_err(),
            LostReason::NoBuffer
        );
        let written = fill(&mut slot, &pools, &Offload::default(), &[0; 300]);
        assert_eq!(slot.take(written, &pools).unwrap().len(), 300);
        while let Some(packet) = pools.allocate(0) {
            held.push(packet);
        }
        assert!(slot.arm(&pools).is_none());
        drop((slot, held));
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn headers_become_what_the_packet_owes() {
        let pools = pools();
        let mut slot = Slot::new();
        let bytes = frame(&[0x8100], false, 6, 3000);
        let gso = Some(Gso {
            kind: GsoKind::Tcp4,
            size: 1448,
            ecn: true,
        });
        let checksum = Some(PartialChecksum {
            start: 38,
            offset: 16,
        });
        let whole = Offload {
            checksum,
            gso,
            valid: false,
        };
        for asked in [Offload::default(), whole, Offload { gso: None, ..whole }] {
            let written = fill(&mut slot, &pools, &asked, &bytes);
            assert_eq!(slot.take(written, &pools).unwrap().offload(), asked);
        }
        let written = fill(
            &mut slot,
            &pools,
            &Offload {
                checksum: None,
                ..whole
            },
            &bytes,
        );
        assert_eq!(slot.take(written, &pools).unwrap().offload(), whole);
    }

    #[test]
    fn checksums_of_other_protocols_are_finished_on_arrival() {
        let pools = pools();
        let mut slot = Slot::new();
        for offset in [2, 8] {
            let checksum = Some(PartialChecksum { start: 34, offset });
            let asked = Offload {
                checksum,
                ..Offload::default()
            };
            let written = fill(&mut slot, &pools, &asked, &[7; 60]);
            let packet = slot.take(written, &pools).unwrap();
            assert!(!packet.owes());
            assert_ne!(packet.data(), [7; 60]);
        }
    }

    #[test]
    fn headers_that_make_no_sense_lose_the_packet() {
        let pools = pools();
        let mut slot = Slot::new();
        let checksum = Some(PartialChecksum {
            start: 50,
            offset: 16,
        });
        let asked = Offload {
            checksum,
            ..Offload::default()
        };
        let written = fill(&mut slot, &pools, &asked, &[7; 60]);
        assert_eq!(
            slot.take(written, &pools).unwrap_err(),
            LostReason::Malformed
        );
        drop(slot);
        assert_eq!(pools.in_use(), 0);
    }
}
