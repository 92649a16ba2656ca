//! Big-endian bytes: a reader that knows which error it is to be too short, a writer that knows
//! how to pad, and the header that all versions share (OpenFlow 1.3.5 §7.1).
//!
//! Used by the codecs and by [`crate::connection`] alone: nothing else sees wire order.

use std::time::Duration;

use flowtable::TlvTable;

use crate::{ErrorCode, Version, Xid};

/// Bytes of the header before every message.
pub(crate) const HEADER_LEN: usize = 8;

/// Longest message: its length is 16 bits wide.
pub(crate) const MESSAGE_LEN_MAX: usize = 0xffff;

/// The header before every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: Version,
    pub(crate) kind: u8,
    pub(crate) len: u16,
    pub(crate) xid: Xid,
}

impl Header {
    /// The header at the start of `bytes`, if it is all there.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Header> {
        let &[version, kind, len0, len1, x0, x1, x2, x3] = bytes.first_chunk()?;
        Some(Header {
            version: Version(version),
            kind,
            len: u16::from_be_bytes([len0, len1]),
            xid: Xid(u32::from_be_bytes([x0, x1, x2, x3])),
        })
    }
}

/// Reads integers off the front of some bytes.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    short: ErrorCode,
    tlvs: &'a TlvTable,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; to want more than there is, or to leave some, is the error `short`.
    pub(crate) fn new(bytes: &'a [u8], short: ErrorCode) -> Reader<'a> {
        let tlvs = TlvTable::EMPTY;
        Reader { bytes, short, tlvs }
    }

    /// The same with names for Geneve options.
    pub(crate) fn knowing(self, tlvs: &'a TlvTable) -> Reader<'a> {
        Reader { tlvs, ..self }
    }

    /// The names for Geneve options.
    pub(crate) fn tlvs(&self) -> &'a TlvTable {
        self.tlvs
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The error that this reader reports.
    pub(crate) fn short(&self) -> ErrorCode {
        self.short
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], ErrorCode> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(self.short)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// A reader over the next `len` bytes, with an error of its own.
    pub(crate) fn part(&mut self, len: usize, short: ErrorCode) -> Result<Reader<'a>, ErrorCode> {
        Ok(Reader::new(self.take(len)?, short).knowing(self.tlvs))
    }

    /// Reads with another error for being too short.
    pub(crate) fn reporting<T>(
        &mut self,
        short: ErrorCode,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let outer = std::mem::replace(&mut self.short, short);
        let result = read(self);
        self.short = outer;
        result
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn skip(&mut self, len: usize) -> Result<(), ErrorCode> {
        self.take(len).map(|_| ())
    }

    /// Refuses anything that is left.
    pub(crate) fn finish(&self) -> Result<(), ErrorCode> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.short)
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ErrorCode> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(self.short)?;
        self.bytes = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ErrorCode> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ErrorCode> {
        self.array().map(u16::from_be_bytes)
    }

    /// Seconds and nanoseconds, 32 bits each.
    pub(crate) fn duration(&mut self) -> Result<Duration, ErrorCode> {
        let seconds = self.u32()?;
        Ok(Duration::new(seconds.into(), self.u32()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ErrorCode> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ErrorCode> {
        self.array().map(u64::from_be_bytes)
    }

    /// An integer of `len` bytes, at most 16.
    pub(crate) fn uint(&mut self, len: usize) -> Result<u128, ErrorCode> {
        let bytes = self.take(len)?;
        Ok(bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u128::from(*byte)))
    }

    /// Text in a field of `len` bytes, up to the first zero.
    pub(crate) fn text(&mut self, len: usize) -> Result<String, ErrorCode> {
        let bytes = self.take(len)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(len);
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

/// Appends integers to some bytes.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    tlvs: &'a TlvTable,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        let tlvs = TlvTable::EMPTY;
        Writer { out, tlvs }
    }

    /// The same with names for Geneve options.
    pub(crate) fn knowing(self, tlvs: &'a TlvTable) -> Writer<'a> {
        Writer { tlvs, ..self }
    }

    /// The names for Geneve options.
    pub(crate) fn tlvs(&self) -> &'a TlvTable {
        self.tlvs
    }

    /// Where the next byte will be.
    pub(crate) fn position(&self) -> usize {
        self.out.len()
    }

    /// Forgets everything from `position` on.
    pub(crate) fn truncate(&mut self, position: usize) {
        self.out.truncate(position);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn zeros(&mut self, len: usize) {
        self.out.resize(self.out.len() + len, 0);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Seconds and nanoseconds, 32 bits each; the longest there is if it is longer.
    pub(crate) fn duration(&mut self, duration: Duration) {
        self.u32(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX));
        self.u32(duration.subsec_nanos());
    }

    /// The low `len` bytes of `value`, from 1 to 16. All there can be are appended and the rest
    /// taken back: a copy of constant length is a few moves.
    pub(crate) fn uint(&mut self, value: u128, len: usize) {
        let end = self.position() + len;
        self.bytes(&(value << (128 - 8 * len)).to_be_bytes());
        self.truncate(end);
    }

    /// Text in a field of `len` bytes that ends with a zero; cut between characters to fit.
    pub(crate) fn text(&mut self, text: &str, len: usize) {
        let cut = text.floor_char_boundary(len - 1);
        self.bytes(&text.as_bytes()[..cut]);
        self.zeros(len - cut);
    }

    /// Zeros up to a multiple of 8 from `start`.
    pub(crate) fn pad(&mut self, start: usize) {
        let len = self.out.len() - start;
        self.zeros(padded(len) - len);
    }

    /// Overwrites the two bytes at `position` with the distance from `start` to here. What is too
    /// long for two bytes is too long for a message too and is refused as a whole.
    pub(crate) fn patch_len(&mut self, position: usize, start: usize) {
        let len = (self.out.len() - start) as u16;
        self.patch_u16(position, len);
    }

    pub(crate) fn patch_u8(&mut self, position: usize, value: u8) {
        self.out[position] = value;
    }

    pub(crate) fn patch_u16(&mut self, position: usize, value: u16) {
        self.out[position..position + 2].copy_from_slice(&value.to_be_bytes());
    }
}

/// `len` rounded up to a multiple of 8.
pub(crate) fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

/// Bit `bit` if `on`.
pub(crate) fn bit(on: bool, bit: u32) -> u32 {
    u32::from(on) << bit
}

/// Whether bit `bit` of `bits` is set.
pub(crate) fn has(bits: u32, bit: u32) -> bool {
    bits >> bit & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_reports_its_own_error() {
        let mut reader = Reader::new(&[1, 2, 3], ErrorCode::BAD_MATCH_BAD_LEN);
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.finish(), Err(ErrorCode::BAD_MATCH_BAD_LEN));
        assert_eq!(reader.u16(), Err(ErrorCode::BAD_MATCH_BAD_LEN));
        assert_eq!(reader.u8(), Ok(3));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn text_is_cut_between_characters_and_ends_with_zero() {
        let mut out = Vec::new();
        Writer::new(&mut out).text("aéé", 5);
        assert_eq!(out, [b'a', 0xc3, 0xa9, 0, 0]);
        let mut reader = Reader::new(&out, ErrorCode::BAD_REQUEST_BAD_LEN);
        assert_eq!(reader.text(5).as_deref(), Ok("aé"));
    }

    #[test]
    fn a_header_needs_eight_bytes() {
        let bytes = [4, 14, 0, 56, 0, 0, 1, 2];
        let header = Header::decode(&bytes);
        let wanted = Header {
            version: Version::V1_3,
            kind: 14,
            len: 56,
            xid: Xid(258),
        };
        assert_eq!(header, Some(wanted));
        assert_eq!(Header::decode(&bytes[..7]), None);
    }
}
