//! Hello and the versions it offers (OpenFlow 1.3.5 §6.3.1, §7.5.1). Its bytes are alike in all
//! versions, because they cross before there is one.

use std::fmt;

use crate::wire::{HEADER_LEN, Reader, Writer};
use crate::{ErrorCode, Xid};

/// A protocol version as it stands in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u8);

impl Version {
    /// OpenFlow 1.0.
    pub const V1_0: Version = Version(1);
    /// OpenFlow 1.3.
    pub const V1_3: Version = Version(4);
    /// OpenFlow 1.4.
    pub const V1_4: Version = Version(5);
    /// OpenFlow 1.5.
    pub const V1_5: Version = Version(6);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            number @ 1..=6 => write!(f, "OpenFlow 1.{}", number - 1),
            number => write!(f, "OpenFlow version {number:#04x}"),
        }
    }
}

/// A set of versions, bit N for header version N, as in the hello bitmap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions(pub u32);

impl Versions {
    /// The set of just these.
    pub fn of(versions: &[Version]) -> Versions {
        let bits = versions
            .iter()
            .filter(|version| version.0 < u32::BITS as u8);
        Versions(bits.fold(0, |set, version| set | 1 << version.0))
    }

    /// Whether `version` is in the set.
    pub fn contains(self, version: Version) -> bool {
        self.0.checked_shr(version.0.into()).unwrap_or(0) & 1 == 1
    }

    /// Highest version of the set.
    pub fn highest(self) -> Option<Version> {
        self.0.checked_ilog2().map(|bit| Version(bit as u8))
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("nothing");
        }
        let all = (0..32)
            .map(Version)
            .filter(|version| self.contains(*version));
        for (index, version) in all.enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{version}")?;
        }
        Ok(())
    }
}

/// A hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Version of the header: the highest that the sender speaks.
    pub version: Version,
    /// Versions the sender speaks, if it says so.
    pub bitmap: Option<Versions>,
}

/// Decodes what follows the header. Elements that are unknown or broken are skipped: whoever sends
/// them may still have a version in common with us.
pub(crate) fn decode(version: Version, body: &[u8]) -> Hello {
    let mut body = Reader::new(body, ErrorCode::BAD_REQUEST_BAD_LEN);
    let mut bitmap = None;
    while let Ok((kind, mut element)) = decode_element(&mut body) {
        if kind == VERSION_BITMAP && bitmap.is_none() {
            // Versions from 32 on, in later words, are none of ours.
            bitmap = element.u32().ok().map(Versions);
        }
    }
    Hello { version, bitmap }
}

fn decode_element<'a>(body: &mut Reader<'a>) -> Result<(u16, Reader<'a>), ErrorCode> {
    let kind = body.u16()?;
    let len = usize::from(body.u16()?);
    let payload = len.checked_sub(ELEMENT_HEADER_LEN).ok_or(body.short())?;
    let element = body.part(payload, body.short())?;
    let padding = len.next_multiple_of(8) - len;
    // The last element may come without its padding.
    body.skip(padding.min(body.len()))?;
    Ok((kind, element))
}

/// Appends a hello with its header.
pub(crate) fn encode(xid: Xid, hello: &Hello, out: &mut Vec<u8>) {
    let mut out = Writer::new(out);
    let start = out.position();
    out.u8(hello.version.0);
    out.u8(HELLO);
    out.u16(HEADER_LEN as u16);
    out.u32(xid.0);
    encode_body(hello, &mut out);
    out.patch_len(start + 2, start);
}

pub(crate) fn encode_body(hello: &Hello, out: &mut Writer) {
    if let Some(versions) = hello.bitmap {
        out.u16(VERSION_BITMAP);
        out.u16(ELEMENT_HEADER_LEN as u16 + 4);
        out.u32(versions.0);
    }
}

/// `OFPT_HELLO`.
pub(crate) const HELLO: u8 = 0;
/// `OFPHET_VERSIONBITMAP`.
const VERSION_BITMAP: u16 = 1;
/// Type and length.
const ELEMENT_HEADER_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Hello = Hello {
        version: Version::V1_3,
        bitmap: Some(Versions(0x10)),
    };
    const BYTES: [u8; 16] = [4, 0, 0, 16, 0, 0, 0, 9, 0, 1, 0, 8, 0, 0, 0, 0x10];

    #[test]
    fn a_hello_decodes() {
        assert_eq!(decode(Version(4), &BYTES[8..]), OURS);
        assert_eq!(
            decode(Version(1), &[]),
            Hello {
                version: Version(1),
                bitmap: None
            }
        );
    }

    #[test]
    fn a_hello_encodes() {
        let mut out = Vec::new();
        encode(Xid(9), &OURS, &mut out);
        assert_eq!(out, BYTES);
    }

    #[test]
    fn a_hello_that_is_too_short_has_no_bitmap() {
        for len in 0..8 {
            assert_eq!(decode(Version(4), &BYTES[8..][..len]).bitmap, None, "{len}");
        }
        assert_eq!(decode(Version(4), &[0, 1, 0, 3, 0, 0, 0, 0]).bitmap, None);
    }

    #[test]
    fn strange_elements_are_skipped() {
        let strange = [0, 7, 0, 5, 99, 0, 0, 0];
        let long_bitmap = [0, 1, 0, 12, 0, 0, 0, 0x10, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(
            decode(Version(4), &[&strange[..], &long_bitmap].concat()),
            OURS
        );
    }

    #[test]
    fn versions_are_a_set() {
        let versions = Versions::of(&[Version::V1_0, Version::V1_3]);
        assert_eq!(versions, Versions(0b1_0010));
        assert!(versions.contains(Version(1)) && !versions.contains(Version(2)));
        assert!(!versions.contains(Version(200)));
        assert_eq!(versions.highest(), Some(Version::V1_3));
        assert_eq!(Versions(0).highest(), None);
    }
}
