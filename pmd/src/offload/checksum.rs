//! The internet checksum (RFC 1071), and finishing one that was left partial.
//!
//! Sums are taken in the machine's byte order over eight bytes at a time; RFC 1071 §2 (B) says
//! why that is right as long as the result is stored in the same order.

use super::PartialChecksum;

/// Sum of `bytes` as 16-bit words in the machine's order, on top of `initial`, not folded.
///
/// An odd byte at the end counts as if a zero followed. Frames are at most 64 KiB, so that the
/// 64-bit sum of 32-bit words cannot overflow.
pub fn sum(bytes: &[u8], initial: u64) -> u64 {
    let mut total = initial;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        total += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut rest = [0; 4];
    let tail = words.remainder();
    rest[..tail.len()].copy_from_slice(tail);
    total + u64::from(u32::from_ne_bytes(rest))
}

/// The sum as one 16-bit word in the machine's order.
pub fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// Finishes a partial checksum in `frame`.
///
/// False, and nothing done, if the field is not inside the frame.
pub fn complete(frame: &mut [u8], partial: PartialChecksum) -> bool {
    let start = usize::from(partial.start);
    let field = start + usize::from(partial.offset);
    if field + 2 > frame.len() {
        return false;
    }
    // A sum of 0 in UDP says that there is none (RFC 768); both are the same number.
    let finished = match !fold(sum(&frame[start..], 0)) {
        0 => 0xffff,
        other => other,
    };
    frame[field..field + 2].copy_from_slice(&finished.to_ne_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071 §3, the example.
    #[test]
    fn sums_the_example_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes, 0)).to_ne_bytes(), [0xdd, 0xf2]);
    }

    #[test]
    fn sums_like_the_definition_at_every_length() {
        let bytes: Vec<u8> = (0..2100u32).map(|i| (i * 151 % 256) as u8).collect();
        for len in (0..70).chain([1499, 1500, 2099]) {
            let naive = bytes[..len].chunks(2).fold(0u32, |total, pair| {
                let total =
                    total + (u32::from(pair[0]) << 8) + u32::from(*pair.get(1).unwrap_or(&0));
                (total & 0xffff) + (total >> 16)
            });
            assert_eq!(
                u32::from(u16::from_be(fold(sum(&bytes[..len], 0)))),
                naive,
                "{len}"
            );
        }
    }

    #[test]
    fn refuses_a_field_outside_the_frame() {
        let mut frame = [0; 40];
        assert!(!complete(
            &mut frame,
            PartialChecksum {
                start: 34,
                offset: 6
            }
        ));
        assert!(!complete(
            &mut frame,
            PartialChecksum {
                start: 0xffff,
                offset: 0xffff
            }
        ));
        assert!(complete(
            &mut frame,
            PartialChecksum {
                start: 34,
                offset: 4
            }
        ));
    }

    #[test]
    fn writes_all_ones_for_a_sum_of_zero() {
        let mut frame = [0xff, 0xff, 0, 0];
        assert!(complete(
            &mut frame,
            PartialChecksum {
                start: 0,
                offset: 2
            }
        ));
        assert_eq!(frame, [0xff, 0xff, 0xff, 0xff]);
    }
}
