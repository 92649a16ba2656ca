//! Copying a frame: short ones inline, by vectors that overlap where they meet; long ones by libc,
//! which takes the widest vectors that the machine has.
//!
//! One side is a guest's memory, which may change meanwhile: the copy then holds some of each, and
//! only the copy is ever looked at.

use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128};

/// Copies `length` bytes.
///
/// # Safety
/// So many bytes can be read at `from` and written at `to`, and these do not overlap.
#[inline(always)]
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: as the caller promises; each part is within `length`.
    unsafe {
        match length {
            64..=128 => {
                lanes::<4>(from, to);
                lanes::<4>(from.add(length - 64), to.add(length - 64));
            }
            32..=63 => {
                lanes::<2>(from, to);
                lanes::<2>(from.add(length - 32), to.add(length - 32));
            }
            _ => std::ptr::copy_nonoverlapping(from, to, length),
        }
    }
}

/// Copies `COUNT` times 16 bytes.
///
/// # Safety
/// As for `copy`.
#[inline(always)]
unsafe fn lanes<const COUNT: usize>(from: *const u8, to: *mut u8) {
    // SAFETY: as the caller promises. All are read before any is written.
    unsafe {
        let read: [__m128i; COUNT] =
            std::array::from_fn(|lane| _mm_loadu_si128(from.add(lane * 16).cast()));
        for (lane, value) in read.into_iter().enumerate() {
            _mm_storeu_si128(to.add(lane * 16).cast(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_length_is_copied_and_nothing_else() {
        for length in 0..300 {
            let from: Vec<u8> = (0..length).map(|byte| byte as u8 ^ 0x55).collect();
            let mut to = vec![0xaa_u8; length + 32];
            // SAFETY: both are as long as that.
            unsafe { super::copy(from.as_ptr(), to.as_mut_ptr().add(16), length) };
            assert_eq!(to[16..][..length], from);
            assert!(
                to[..16]
                    .iter()
                    .chain(&to[16 + length..])
                    .all(|&byte| byte == 0xaa)
            );
        }
    }
}
