//! The internet checksum (RFC 1071), and finishing one that was left partial.
//!
//! Sums are taken in the machine's byte order over eight bytes at a time; RFC 1071 §2 (B) says why
//! that is right as long as the result is stored in the same order.

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
    let size = if partial.offset == SCTP_CHECKSUM {
        4
    } else {
        2
    };
    if field + size > frame.len() {
        return false;
    }
    if partial.offset == SCTP_CHECKSUM {
        frame[field..field + 4].fill(0);
        let finished = crc32c(&frame[start..]);
        frame[field..field + 4].copy_from_slice(&finished.to_le_bytes());
        return true;
    }
    // A sum of 0 in UDP says that there is none (RFC 768); both are the same number.
    let finished = match !fold(sum(&frame[start..], 0)) {
        0 => 0xffff,
        other => other,
    };
    frame[field..field + 2].copy_from_slice(&finished.to_ne_bytes());
    true
}

/// The CRC of RFC 9260 appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        CRC32C[usize::from(crc as u8 ^ byte)] ^ (crc >> 8)
    })
}

/// The remainder of each byte by Castagnoli's polynomial, bits reflected.
const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Offset of the CRC in the SCTP header.
pub(crate) const SCTP_CHECKSUM: u16 = 8;

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

    /// RFC 3720 §B.4 has the values; 4 bytes of the frame are the field itself.
    #[test]
    fn finishes_sctp_by_crc() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let mut frame = [0xaa; 40];
        assert!(complete(
            &mut frame,
            PartialChecksum {
                start: 0,
                offset: 8
            }
        ));
        let mut blank = frame;
        blank[8..12].fill(0);
        assert_eq!(frame[8..12], crc32c(&blank).to_le_bytes());
        assert!(!complete(
            &mut frame,
            PartialChecksum {
                start: 30,
                offset: 8
            }
        ));
    }
}
