//! A guest's memory as it is mapped here: guest addresses to host addresses.
//!
//! Made for each ring when the guest's device is set up or changed, used by whoever is inside the
//! ring's gate. Nothing that a guest says is an address here before it went through
//! [`Memory::find`], which lets no byte outside the mapped regions pass (vhost-user's
//! specification, "Memory region description").
//!
//! The guest changes its memory whenever it likes: what is decided upon is read once, into a local.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// The regions of a guest's memory, the largest first: that is where its buffers are.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    regions: Box<[Region]>,
}

/// One region, mapped as a whole.
#[derive(Clone, Copy, Debug)]
pub(in crate::port::vhost) struct Region {
    /// Its first address in the guest.
    pub guest: u64,
    /// Bytes.
    pub size: u64,
    /// Where it is mapped.
    pub host: *mut u8,
}

impl Memory {
    /// # Safety
    /// Each region is mapped, readable and writable, for as long as this is used.
    pub(super) unsafe fn new(regions: &[Region]) -> Memory {
        let mut regions: Box<[Region]> = regions.into();
        regions.sort_by_key(|region| std::cmp::Reverse(region.size));
        Memory { regions }
    }

    /// Where `length` bytes at a guest's address are; `None` unless all are in one region.
    #[inline]
    pub(super) fn find(&self, address: u64, length: usize) -> Option<*mut u8> {
        let (start, found) = self.find_some(address)?;
        (length <= found).then_some(start)
    }

    /// Where a guest's address is, and how many bytes of its region there are from it on.
    #[inline]
    pub(super) fn find_some(&self, address: u64) -> Option<(*mut u8, usize)> {
        for region in &self.regions {
            let offset = address.wrapping_sub(region.guest);
            if offset < region.size {
                let start = region.host.wrapping_add(offset as usize);
                return Some((start, (region.size - offset) as usize));
            }
        }
        None
    }

    /// The guest's address of `length` bytes that are mapped at `start`, if they are of its memory.
    pub(super) fn guest_address(&self, start: *const u8, length: usize) -> Option<u64> {
        self.regions.iter().find_map(|region| {
            let offset = (start as u64).wrapping_sub(region.host as u64);
            let inside = offset < region.size && length as u64 <= region.size - offset;
            inside.then(|| region.guest.wrapping_add(offset))
        })
    }

    /// An area of a ring: `length` bytes at `start`, aligned as its specification demands.
    pub(super) fn area(&self, start: *mut u8, length: usize, alignment: usize) -> Option<Area> {
        let guest = self.guest_address(start, length)?;
        (start as usize).is_multiple_of(alignment).then_some(Area {
            start,
            length,
            guest,
        })
    }
}

/// Memory that a ring is in, which the guest reads and writes at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    start: *mut u8,
    length: usize,
    /// The guest's address of it.
    pub guest: u64,
}

impl Area {
    /// The 16 bits at an even offset within the area.
    #[inline]
    pub(super) fn u16(&self, offset: usize) -> &AtomicU16 {
        debug_assert!(offset + 2 <= self.length && offset.is_multiple_of(2));
        // SAFETY: callers mask offsets to the size that the area was checked for; it is mapped and
        // aligned, and everybody here uses it by atomic operations.
        unsafe { &*self.start.add(offset).cast::<AtomicU16>() }
    }

    /// The 64 bits at an offset that is a multiple of 8 within the area.
    #[inline]
    pub(super) fn u64(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset + 8 <= self.length && offset.is_multiple_of(8));
        // SAFETY: as above; only areas aligned to 8 or more are asked.
        unsafe { &*self.start.add(offset).cast::<AtomicU64>() }
    }

    /// Writes 8 bytes at an offset that is a multiple of 4 within the area.
    #[inline]
    pub(super) fn put(&self, offset: usize, value: u64) {
        debug_assert!(offset + 8 <= self.length);
        // SAFETY: as above. The guest looks at it after an index that is stored later.
        unsafe { self.start.add(offset).cast::<u64>().write_unaligned(value) }
    }
}

/// Reads 16 bytes once, as two words.
///
/// # Safety
/// They are mapped.
#[inline]
pub(super) unsafe fn read_once(from: *const u8) -> [u64; 2] {
    // SAFETY: as the caller promises; any alignment will do.
    unsafe { from.cast::<Packed>().read_volatile().0 }
}

#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Packed([u64; 2]);

/// Has the CPU fetch a line to read it.
#[inline]
pub(super) fn prefetch(at: *const u8) {
    // SAFETY: a prefetch reads nothing, whatever the address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
}

/// Has the CPU fetch a line to write it. The intrinsic fetches it to read, on processors of the
/// oldest kind that this is compiled for, and then it is fetched twice.
#[inline]
pub(super) fn prefetch_to_write(at: *const u8) {
    // SAFETY: a prefetch writes nothing, whatever the address; a processor that has none takes
    // this for nothing to do.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
}

/// Stores what the guest is to see after all that was written before.
#[inline]
pub(super) fn release(to: &AtomicU16, value: u16) {
    to.store(value, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_a_region_is_found() {
        let (mut first, mut second) = (vec![0_u8; 100], vec![0_u8; 200]);
        let (low, high) = (first.as_mut_ptr(), second.as_mut_ptr());
        let regions = [(0x1000, 100, low), (u64::MAX - 199, 200, high)];
        let regions = regions.map(|(guest, size, host)| Region { guest, size, host });
        // SAFETY: both live until the end of this test.
        let memory = unsafe { Memory::new(&regions) };
        assert_eq!(memory.find(0x1000, 100), Some(low));
        assert_eq!(memory.find(0x1063, 1), Some(low.wrapping_add(99)));
        assert_eq!(memory.find(0x1063, 2), None);
        assert_eq!(memory.find(0xfff, 1), None);
        assert_eq!(memory.find(0x1064, 0), None);
        assert_eq!(memory.find(u64::MAX, 1), Some(high.wrapping_add(199)));
        assert_eq!(memory.find(u64::MAX, 2), None);
        assert_eq!(memory.find(u64::MAX, usize::MAX), None);
        assert_eq!(memory.find_some(0x1001), Some((low.wrapping_add(1), 99)));
        assert_eq!(memory.guest_address(low.wrapping_add(7), 93), Some(0x1007));
        assert_eq!(memory.guest_address(low.wrapping_add(7), 94), None);
        assert!(memory.area(low.wrapping_add(101), 1, 1).is_none());
        assert!(memory.area(low.wrapping_add(1), 1, 2).is_none() || low as usize % 2 == 1);
    }
}
