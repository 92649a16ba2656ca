//! Frames that a guest sends.

use arrayvec::ArrayVec;

use super::chain::{Access, Head, Heads};
use super::copy::copy;
use super::memory::prefetch;
use super::{AHEAD, HEADER, Kind, Layout, Queue, Ring};
use crate::offload::virtio;
use crate::pool::SMALL_MAX;
use crate::port::LostReason;
use crate::{BATCH_MAX, Batch, Packet, Pools};

impl Ring {
    /// Receives as many frames as there is room for. What is wrong with others is told to `lost`.
    #[inline]
    pub(in crate::port::vhost) fn receive(
        &mut self,
        batch: &mut Batch,
        pools: &Pools,
        lost: impl FnMut(LostReason),
    ) {
        match &mut self.0 {
            Kind::Split(queue) => queue.receive(batch, pools, lost),
            Kind::Packed(queue) => queue.receive(batch, pools, lost),
        }
    }
}

impl<L: Layout> Queue<L> {
    #[inline]
    fn receive(&mut self, batch: &mut Batch, pools: &Pools, mut lost: impl FnMut(LostReason)) {
        let mut heads = Heads::new();
        let mut left = batch.room();
        while left > 0 && !self.broken {
            self.peek(&mut heads, left);
            let fast = self.receive_whole(&heads, batch, pools, &mut lost);
            left -= fast;
            let Some(head) = heads.get(fast) else { break };
            if self.source(head).is_some() || !self.receive_chain(head, batch, pools, &mut lost) {
                // There is no buffer for it now, or the ring is broken.
                break;
            }
            left -= 1;
        }
        self.publish();
    }

    /// Where a frame and its header are, if they are in one descriptor and fit a small buffer.
    #[inline]
    fn source(&self, head: &Head) -> Option<*mut u8> {
        let length = head.length as usize;
        let fits = length > self.header_len && length <= SMALL_MAX + self.header_len;
        if !fits || !head.is_whole(Access::Read) {
            return None;
        }
        self.memory.find(head.address, length)
    }

    /// Receives the first frames that are in one descriptor each; returns how many those are.
    #[inline]
    fn receive_whole(
        &mut self,
        heads: &Heads,
        batch: &mut Batch,
        pools: &Pools,
        lost: &mut impl FnMut(LostReason),
    ) -> usize {
        let mut sources = ArrayVec::<*mut u8, BATCH_MAX>::new();
        for head in heads {
            let Some(source) = self.source(head) else {
                break;
            };
            sources.push(source);
        }
        let (header_len, leaves_work) = (self.header_len, self.leaves_work);
        let fetch = |source: *mut u8| {
            if leaves_work {
                prefetch(source);
            }
            let frame = source.wrapping_add(header_len);
            prefetch(frame);
            prefetch(frame.wrapping_add(LINE - 1));
        };
        sources.iter().take(AHEAD).copied().for_each(fetch);
        let pool = pools.small();
        for (done, (head, &source)) in heads.iter().zip(&sources).enumerate() {
            let Some(packet) = pool.allocate() else {
                return done;
            };
            sources
                .get(done + AHEAD)
                .copied()
                .into_iter()
                .for_each(fetch);
            // SAFETY: so many bytes were found there.
            match unsafe { self.fill(packet, source, head.length as usize) } {
                Ok(packet) => drop(batch.push(packet)),
                Err(reason) => lost(reason),
            }
            self.layout.finish(head.id, 0, 1);
        }
        sources.len()
    }

    /// Copies a frame behind its header into an empty packet.
    ///
    /// # Safety
    /// `length` bytes can be read at `source`, more than the header has.
    #[inline(always)]
    unsafe fn fill(
        &self,
        mut packet: Packet,
        source: *const u8,
        length: usize,
    ) -> Result<Packet, LostReason> {
        let frame_len = length - self.header_len;
        let to = packet.append(frame_len).ok_or(LostReason::NoBuffer)?;
        // SAFETY: as the caller promises; `to` has so many bytes.
        unsafe { copy(source.add(self.header_len), to.as_mut_ptr(), frame_len) };
        if self.leaves_work {
            // SAFETY: as the caller promises, and no header is shorter.
            let header = unsafe { source.cast::<[u8; virtio::HEADER_LEN]>().read() };
            owe(&mut packet, header)?;
        }
        Ok(packet)
    }

    /// Receives any frame. False where that ends the burst.
    #[cold]
    #[inline(never)]
    fn receive_chain(
        &mut self,
        head: &Head,
        batch: &mut Batch,
        pools: &Pools,
        lost: &mut impl FnMut(LostReason),
    ) -> bool {
        self.chain.clear();
        let Ok(walked) = self.walk(head, 0, Access::Read) else {
            return false;
        };
        match self.gather(pools) {
            Ok(packet) => drop(batch.push(packet)),
            Err(reason) => lost(reason),
        }
        self.layout.finish(walked.id, 0, walked.slots);
        true
    }

    /// A packet of what the parts hold.
    fn gather(&self, pools: &Pools) -> Result<Packet, LostReason> {
        let length = self.chain.length.saturating_sub(self.header_len);
        if self.chain.bad || length == 0 {
            return Err(LostReason::Malformed);
        }
        if length > crate::FRAME_MAX {
            return Err(LostReason::TooLong);
        }
        let mut packet = pools.allocate(length).ok_or(LostReason::NoBuffer)?;
        let frame = packet.append(length).ok_or(LostReason::NoBuffer)?;
        let mut header = [0; HEADER];
        let mut copied = 0;
        for part in &self.chain.parts {
            // What is left of the header, then the frame.
            let before = self.header_len.saturating_sub(copied).min(part.length);
            let after = part.length - before;
            let to = (copied + before).saturating_sub(self.header_len);
            let (header, frame) = (&mut header[copied.min(HEADER)..], &mut frame[to..][..after]);
            // SAFETY: the part is mapped; both slices have room for what is copied to them.
            unsafe {
                let to = header[..before].as_mut_ptr();
                std::ptr::copy_nonoverlapping(part.start, to, before);
                let from = part.start.add(before);
                std::ptr::copy_nonoverlapping(from, frame.as_mut_ptr(), after);
            }
            copied += part.length;
        }
        if self.leaves_work {
            let mut first = [0; virtio::HEADER_LEN];
            first.copy_from_slice(&header[..virtio::HEADER_LEN]);
            owe(&mut packet, first)?;
        }
        Ok(packet)
    }
}

/// Notes on a packet what its header says is left to be done.
#[inline(always)]
fn owe(packet: &mut Packet, mut header: [u8; virtio::HEADER_LEN]) -> Result<(), LostReason> {
    // That a checksum is right is for a device to say.
    header[0] &= virtio::NEEDS_CSUM;
    if header[..2] == [0; 2] {
        return Ok(());
    }
    virtio::owe(packet, &header)
}

/// Bytes of a cache line.
const LINE: usize = 64;
