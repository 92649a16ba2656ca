//! Up to 64 packets, in an array that a driver's receive burst fills and transmit burst empties.

use arrayvec::ArrayVec;

use crate::{Packet, ffi};

/// Packets in a batch: what is paid once for each is little then for a packet, and what the packets
/// of one take of memory stays in the first-level cache.
pub const BATCH_MAX: usize = 64;

/// Up to [`BATCH_MAX`] packets, in order.
#[derive(Debug, Default)]
pub struct Batch {
    packets: ArrayVec<Packet, BATCH_MAX>,
}

impl Batch {
    /// An empty batch.
    #[inline]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a packet at the end, or returns it where the batch is full.
    #[inline]
    pub fn push(&mut self, packet: Packet) -> Result<(), Packet> {
        self.packets
            .try_push(packet)
            .map_err(|error| error.element())
    }

    /// Moves packets from the front of another batch to the end, as many as it takes.
    #[inline]
    pub fn append(&mut self, other: &mut Batch) {
        let before = self.packets.len();
        let free = self.packets.as_mut_ptr();
        let move_in = |from: *mut *mut ffi::rte_mbuf, count: u16| {
            let count = usize::from(count).min(BATCH_MAX - before);
            // SAFETY: so many packets are in `other`, and there is room for them; both are arrays
            // of transparent non-null pointers, and not the same.
            unsafe { std::ptr::copy_nonoverlapping(from.cast::<Packet>(), free.add(before), count) }
            count as u16
        };
        let left = other.packets.len();
        // SAFETY: `move_in` owns what it says it took: it is put into this batch.
        unsafe { other.take(move_in) }
        // SAFETY: what left the other batch was just written behind what was here.
        unsafe { self.packets.set_len(before + left - other.packets.len()) }
    }

    /// Takes all packets out, in order.
    #[inline]
    pub fn drain(&mut self) -> impl ExactSizeIterator<Item = Packet> + '_ {
        self.packets.drain(..)
    }

    /// Frees the first `count` packets; the others move to the front.
    #[inline]
    pub(crate) fn free_first(&mut self, count: usize) {
        if count >= self.packets.len() {
            self.packets.clear();
        } else {
            drop(self.packets.drain(..count));
        }
    }

    /// Packets in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether it holds none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Whether it takes no more.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.packets.is_full()
    }

    /// How many more it takes.
    #[inline]
    pub fn room(&self) -> usize {
        self.packets.remaining_capacity()
    }

    /// The packets in order.
    #[inline]
    pub fn iter(&self) -> std::slice::Iter<'_, Packet> {
        self.packets.iter()
    }

    /// The packets in order, to change them.
    #[inline]
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Packet> {
        self.packets.iter_mut()
    }

    /// Frees all packets.
    #[inline]
    pub fn clear(&mut self) {
        self.packets.clear();
    }

    /// Keeps the packets that `keep` wants, in order, and frees the others.
    #[inline]
    pub fn retain(&mut self, keep: impl FnMut(&mut Packet) -> bool) {
        self.packets.retain(keep);
    }

    /// Lets `fill` write up to as many buffers as there is room for; it returns how many it wrote.
    ///
    /// # Safety
    /// The buffers that `fill` says it wrote must be whole, linear and owned by nobody else.
    #[inline]
    pub(crate) unsafe fn fill(&mut self, fill: impl FnOnce(*mut *mut ffi::rte_mbuf, u16) -> u16) {
        let before = self.packets.len();
        let room = (BATCH_MAX - before) as u16;
        // SAFETY: `before` is within the array; a `Packet` is a transparent non-null pointer.
        let free = unsafe { self.packets.as_mut_ptr().add(before) }.cast::<*mut ffi::rte_mbuf>();
        let filled = fill(free, room).min(room);
        // SAFETY: that many elements were just written, as the caller promises.
        unsafe { self.packets.set_len(before + filled as usize) }
    }

    /// Lets `take` consume buffers from the front; it returns how many it took.
    ///
    /// # Safety
    /// `take` must own exactly the buffers that it says it took.
    #[inline]
    pub(crate) unsafe fn take(&mut self, take: impl FnOnce(*mut *mut ffi::rte_mbuf, u16) -> u16) {
        let before = self.packets.len();
        let first = self.packets.as_mut_ptr();
        let taken = take(first.cast::<*mut ffi::rte_mbuf>(), before as u16) as usize;
        let left = before - taken.min(before);
        // SAFETY: the first `taken` packets have gone to a new owner; the others move to the
        // front, and the length never covers one of them twice.
        unsafe {
            self.packets.set_len(0);
            std::ptr::copy(first.add(before - left), first, left);
            self.packets.set_len(left);
        }
    }
}

impl<'batch> IntoIterator for &'batch Batch {
    type Item = &'batch Packet;
    type IntoIter = std::slice::Iter<'batch, Packet>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
