//! Checksums kept right while headers change.
//!
//! Internet checksums are updated from the difference of what changed (RFC 1624 §3, equation 3),
//! so that a packet whose checksum was wrong on arrival is still wrong when it leaves. SCTP's
//! CRC32c (RFC 9260 §6.8) is linear too: the checksum of the change alone, followed by as many
//! zeros as the packet has bytes after it, is what the checksum changes by.

/// By how much the ones' complement sum over some 16-bit words changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta(u32);

impl Delta {
    /// The change from `old` to `new`: as many bytes, an even number, at an even offset.
    pub fn between(old: &[u8], new: &[u8]) -> Delta {
        let gone: u32 = words(old).map(|word| u32::from(!word)).sum();
        let come: u32 = words(new).map(u32::from).sum();
        Delta(gone + come)
    }

    /// The change of a sum: what is gone, complemented, and what comes, added up, less than 2^48.
    #[inline(always)]
    pub fn of_sum(sum: u64) -> Delta {
        Delta((sum & 0xffff) as u32 + (sum >> 16 & 0xffff) as u32 + (sum >> 32) as u32)
    }

    /// The change from one word to another.
    #[inline(always)]
    pub fn of_words(old: u16, new: u16) -> Delta {
        Delta(u32::from(!old) + u32::from(new))
    }

    /// A checksum field (the complement of a sum) after the change.
    #[inline(always)]
    pub fn apply(self, checksum: u16) -> u16 {
        !self.apply_to_sum(!checksum)
    }

    /// A sum that is not complemented, as a partial checksum is, after the change.
    #[inline(always)]
    pub fn apply_to_sum(self, sum: u16) -> u16 {
        fold(u32::from(sum) + self.0)
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let pairs = bytes.chunks_exact(2);
    pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

#[inline(always)]
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// What CRC32c changes by when `change` is XORed into the bytes that `after` bytes follow.
///
/// The result is to be XORed into the checksum field, which is little-endian on the wire.
pub fn crc32c_change(change: &[u8], after: usize) -> u32 {
    let step = |crc: u32, byte: u8| {
        let index = (crc ^ u32::from(byte)) & 0xff;
        crc >> 8 ^ CRC32C[index as usize]
    };
    let changed = change.iter().fold(0, |crc, byte| step(crc, *byte));
    crc32c_behind(changed, after)
}

/// What such a change is if `after` bytes more follow.
pub fn crc32c_behind(change: u32, after: usize) -> u32 {
    (0..after).fold(change, |crc, _| crc >> 8 ^ CRC32C[(crc & 0xff) as usize])
}

/// CRC32c of each byte, least significant bit first, polynomial 0x1edc6f41.
const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ ((crc & 1) * 0x82f6_3b78);
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_1624() {
        let delta = Delta::between(&[0x55, 0x55], &[0x32, 0x85]);
        assert_eq!(delta.apply(0xdd2f), 0x0000);
    }

    #[test]
    fn no_change_keeps_the_checksum() {
        let same = Delta::between(&[0x12, 0x34, 0, 0], &[0x12, 0x34, 0, 0]);
        assert_eq!(same.apply(0), 0);
        assert_eq!(same.apply(0xbeef), 0xbeef);
        assert_eq!(same.apply_to_sum(0xbeef), 0xbeef);
    }

    #[test]
    fn crc_of_a_change_leads_from_one_check_value_to_another() {
        // RFC 3720 §B.4: CRC32c of 32 zeros and of 32 bytes of ones.
        let change = crc32c_change(&[0xff; 32], 0);
        assert_eq!(0x8a91_36aa ^ change, 0x62a8_ab43);
        // The check value of "123456789" is 0xe3069283; the last five digits follow the change.
        let change = crc32c_change(&[b'1' ^ b'9', b'2' ^ b'8', 0, 0], 5);
        assert_eq!(0xe306_9283 ^ change, reference(b"983456789"));
    }

    fn reference(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
            })
        })
    }
}
