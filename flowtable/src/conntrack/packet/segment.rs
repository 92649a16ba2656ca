//! A TCP header as connection tracking sees it (RFC 9293 §3.1, RFC 7323 §2.2, RFC 2018 §3).

use crate::parse::bytes::{u16_at, u32_at};

/// A TCP segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// First sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Highest right edge of a SACK block, the acknowledgment number where there is none.
    pub sack: u32,
    /// Bytes of data.
    pub len: u32,
    /// Window, not scaled.
    pub window: u16,
    /// FIN, SYN, RST, PSH, ACK, URG and above, as on the wire.
    pub flags: u8,
    /// Shift of the window scale option, if there is one: at most 14 (RFC 7323 §2.3).
    pub scale: Option<u8>,
    /// The SACK-permitted option is there.
    pub sack_permitted: bool,
}

/// Bits of [`Segment::flags`].
pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;
pub const URG: u8 = 32;

impl Segment {
    /// Reads a segment, header and data.
    #[inline(always)]
    pub(super) fn read(bytes: &[u8]) -> Option<Segment> {
        let (mut segment, options) = Segment::read_header(bytes)?;
        if !is_plain(options) {
            segment.read_options(options);
        }
        Some(segment)
    }

    /// The same of a segment with no options but a timestamp; nothing of others.
    #[inline(always)]
    pub(super) fn read_plain(bytes: &[u8]) -> Option<Segment> {
        let (segment, options) = Segment::read_header(bytes)?;
        is_plain(options).then_some(segment)
    }

    /// Reads all but options, which are left.
    #[inline(always)]
    fn read_header(bytes: &[u8]) -> Option<(Segment, &[u8])> {
        let header = bytes.first_chunk::<HEADER_LEN>()?;
        let header_len = usize::from(header[12] >> 4) * 4;
        let options = bytes.get(HEADER_LEN..header_len)?;
        let ack = u32_at(header, 8);
        let segment = Segment {
            seq: u32_at(header, 4),
            ack,
            sack: ack,
            len: (bytes.len() - header_len) as u32,
            window: u16_at(header, 14),
            flags: header[13],
            scale: None,
            sack_permitted: false,
        };
        Some((segment, options))
    }

    /// With so many bytes of data more, which are in other fragments.
    #[inline(always)]
    pub(super) fn longer(self, len: u32) -> Segment {
        Segment {
            len: self.len + len,
            ..self
        }
    }

    /// The sequence number after the last.
    #[inline(always)]
    pub fn end(&self) -> u32 {
        let controls = (self.flags & SYN > 0) as u32 + (self.flags & FIN > 0) as u32;
        self.seq.wrapping_add(self.len).wrapping_add(controls)
    }

    /// Whether all these flags are set.
    #[inline(always)]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    #[inline(never)]
    fn read_options(&mut self, mut options: &[u8]) {
        while let [kind, rest @ ..] = options {
            if *kind == END {
                return;
            }
            if *kind == NOP {
                options = rest;
                continue;
            }
            let Some(&len) = rest.first().filter(|len| **len >= 2) else {
                return;
            };
            let Some((option, rest)) = options.split_at_checked(len.into()) else {
                return;
            };
            self.read_option(*kind, &option[2..]);
            options = rest;
        }
    }

    fn read_option(&mut self, kind: u8, value: &[u8]) {
        match (kind, value) {
            (WINDOW_SCALE, [shift]) => self.scale = Some((*shift).min(SCALE_MAX)),
            (SACK_PERMITTED, []) => self.sack_permitted = true,
            (SACK, blocks) => {
                let (blocks, _) = blocks.as_chunks::<8>();
                for block in blocks {
                    let right = u32_at(block, 4);
                    if right.wrapping_sub(self.sack) as i32 > 0 {
                        self.sack = right;
                    }
                }
            }
            _ => (),
        }
    }
}

/// Whether there are no options but a timestamp.
#[inline(always)]
fn is_plain(options: &[u8]) -> bool {
    options.is_empty() || options.starts_with(&TIMESTAMP) && options.len() == 12
}

const HEADER_LEN: usize = 20;
const END: u8 = 0;
const NOP: u8 = 1;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const SCALE_MAX: u8 = 14;
/// Nearly all segments have this option alone: two NOPs before a timestamp of 10 bytes (RFC 7323
/// appendix A).
const TIMESTAMP: [u8; 4] = [NOP, NOP, 8, 10];

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(options: &[u8], data: usize) -> Option<Segment> {
        let mut bytes = vec![
            0, 80, 0, 81, 0, 0, 0, 9, 0, 0, 1, 0, 0, 0x12, 2, 0, 0, 0, 0, 0,
        ];
        bytes[12] = (((20 + options.len()) / 4) << 4) as u8;
        bytes.extend(options);
        bytes.extend(vec![0; data]);
        Segment::read(&bytes)
    }

    #[test]
    fn header_and_data() {
        let read = segment(&[], 5).unwrap();
        assert_eq!((read.seq, read.ack, read.sack, read.len), (9, 256, 256, 5));
        assert_eq!((read.window, read.flags, read.end()), (512, 0x12, 15));
        assert!(read.has(SYN | ACK) && !read.has(FIN));
        assert_eq!((read.scale, read.sack_permitted), (None, false));
        assert_eq!(Segment::read(&[0; 19]), None);
        assert_eq!(Segment::read(&[0; 20]), None, "shorter than a header");
    }

    #[test]
    fn options() {
        let syn = segment(
            &[
                2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7,
            ],
            0,
        );
        let syn = syn.unwrap();
        assert_eq!((syn.scale, syn.sack_permitted), (Some(7), true));
        let wide = segment(&[3, 3, 200, 0], 0).unwrap();
        assert_eq!(wide.scale, Some(14));
        let blocks = [1, 1, 5, 18, 0, 0, 1, 8, 0, 0, 1, 16, 0, 0, 1, 4, 0, 0, 1, 6];
        assert_eq!(segment(&blocks, 0).unwrap().sack, 272);
        let stamp = [1, 1, 8, 10, 3, 3, 3, 3, 3, 3, 3, 3];
        assert_eq!(segment(&stamp, 0).unwrap().scale, None);
    }

    #[test]
    fn options_that_lie_end_the_list() {
        for lie in [
            [3, 1, 7, 0],
            [3, 0, 7, 0],
            [3, 5, 7, 0],
            [1, 1, 1, 3],
            [0, 3, 3, 7],
        ] {
            let read = segment(&lie, 0).unwrap();
            assert_eq!(read.scale, None, "{lie:?}");
        }
        assert_eq!(
            segment(&[5, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 1, 1, 1], 0)
                .unwrap()
                .sack,
            256
        );
    }
}
