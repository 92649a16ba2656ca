//! Big-endian integers out of headers; used by the parser and connection tracking.
//!
//! A header is taken off a slice as an array of its fixed size, checked once; the reads from it
//! then have constant bounds that cost nothing.

#[inline(always)]
pub(crate) fn u16_at<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes(bytes(header, at))
}

#[inline(always)]
pub(crate) fn u32_at<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes(bytes(header, at))
}

#[inline(always)]
pub(crate) fn u64_at<const N: usize>(header: &[u8; N], at: usize) -> u64 {
    u64::from_be_bytes(bytes(header, at))
}

/// A 48-bit address.
#[inline(always)]
pub(crate) fn u48_at<const N: usize>(header: &[u8; N], at: usize) -> u64 {
    u64::from(u32_at(header, at)) << 16 | u64::from(u16_at(header, at + 4))
}

/// An IPv6 address: two words, most significant first.
#[inline(always)]
pub(crate) fn u128_at<const N: usize>(header: &[u8; N], at: usize) -> [u64; 2] {
    [u64_at(header, at), u64_at(header, at + 8)]
}

/// The `M` bytes at `at`. All callers give constants within the header, so that nothing is left of
/// the check.
#[inline(always)]
fn bytes<const N: usize, const M: usize>(header: &[u8; N], at: usize) -> [u8; M] {
    let bytes = header.get(at..).and_then(<[u8]>::first_chunk);
    debug_assert!(bytes.is_some());
    bytes.copied().unwrap_or([0; M])
}
