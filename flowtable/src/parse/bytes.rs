//! Big-endian integers out of headers; used by the parser alone.
//!
//! A header is taken as an array of its fixed size, checked once; the reads from it then have
//! constant bounds that cost nothing.

/// The `N` bytes at `at`, if the packet has them.
#[inline(always)]
pub(super) fn header<const N: usize>(packet: &[u8], at: usize) -> Option<&[u8; N]> {
    packet.get(at..)?.first_chunk()
}

#[inline(always)]
pub(super) fn u16_at<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}

#[inline(always)]
pub(super) fn u32_at<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from(u16_at(header, at)) << 16 | u32::from(u16_at(header, at + 2))
}

/// A 48-bit address.
#[inline(always)]
pub(super) fn u48_at<const N: usize>(header: &[u8; N], at: usize) -> u64 {
    u64::from(u32_at(header, at)) << 16 | u64::from(u16_at(header, at + 4))
}

/// An IPv6 address: two words, most significant first.
#[inline(always)]
pub(super) fn u128_at<const N: usize>(header: &[u8; N], at: usize) -> [u64; 2] {
    let u64_at = |at| u64::from(u32_at(header, at)) << 32 | u64::from(u32_at(header, at + 4));
    [u64_at(at), u64_at(at + 8)]
}
