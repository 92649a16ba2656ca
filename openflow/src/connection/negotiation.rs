//! Which version both sides speak (OpenFlow 1.3.5 §6.3.1), and how to say that there is none.

use super::{CloseReason, ERROR, HELLO_FAILED};
use crate::hello;
use crate::wire::{HEADER_LEN, Header, Writer};
use crate::{ErrorCode, Hello, Version, Versions, Xid};

/// Decodes the first message of a peer, which has to be a hello.
pub(super) fn decode_first(frame: &[u8]) -> Result<(Xid, Hello), CloseReason> {
    let Some(header) = Header::decode(frame) else {
        return Err(CloseReason::BadLength(0));
    };
    let body = &frame[HEADER_LEN..];
    match header.kind {
        hello::HELLO => Ok((header.xid, hello::decode(header.version, body))),
        // Our own hello was refused before the peer's came.
        ERROR if body.starts_with(&HELLO_FAILED.to_be_bytes()) => {
            let text = body.get(4..).unwrap_or_default();
            Err(CloseReason::Refused(
                String::from_utf8_lossy(text).into_owned(),
            ))
        }
        kind => Err(CloseReason::NoHello(kind)),
    }
}

/// What a peer offers: the bitmap, or without one every version up to that of the header.
pub(super) fn offered(hello: &Hello) -> Versions {
    hello.bitmap.unwrap_or_else(|| {
        let above = 2u32.checked_shl(hello.version.0.into()).unwrap_or(0);
        Versions(above.wrapping_sub(1) & !1)
    })
}

/// The highest version that both have in their bitmaps. Where the peer has none it is the smaller
/// of the header versions, if we speak that.
pub(super) fn common_version(ours: Versions, hello: &Hello) -> Option<Version> {
    match hello.bitmap {
        Some(theirs) => Versions(ours.0 & theirs.0).highest(),
        None => {
            let version = ours.highest()?.min(hello.version);
            ours.contains(version).then_some(version)
        }
    }
}

/// Version of the header in which a refusal is sent: one that the peer knows, if we can.
pub(super) fn refusal_version(ours: Versions, hello: &Hello) -> Version {
    ours.highest()
        .map_or(hello.version, |highest| highest.min(hello.version))
}

/// Appends the error that refuses a hello, with a text for people.
pub(super) fn encode_refusal(version: Version, xid: Xid, text: &str, out: &mut Vec<u8>) {
    let mut out = Writer::new(out);
    let start = out.position();
    out.u8(version.0);
    out.u8(ERROR);
    out.u16(0);
    out.u32(xid.0);
    out.u16(ErrorCode::HELLO_FAILED_INCOMPATIBLE.kind);
    out.u16(ErrorCode::HELLO_FAILED_INCOMPATIBLE.code);
    out.bytes(text.as_bytes());
    out.patch_len(start + 2, start);
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Versions = Versions(0b11_0010);

    fn hello(version: u8, bitmap: Option<u32>) -> Hello {
        Hello {
            version: Version(version),
            bitmap: bitmap.map(Versions),
        }
    }

    #[test]
    fn with_bitmaps_the_highest_common_version_counts() {
        let common = |hello: &Hello| common_version(OURS, hello).map(|version| version.0);
        assert_eq!(common(&hello(6, Some(0b101_0010))), Some(4));
        assert_eq!(
            common(&hello(4, Some(0b10_0000))),
            Some(5),
            "whatever the header says"
        );
        assert_eq!(common(&hello(4, Some(0b100))), None);
        assert_eq!(common(&hello(4, Some(0))), None);
    }

    #[test]
    fn without_a_bitmap_the_smaller_header_version_counts() {
        let common = |version| common_version(OURS, &hello(version, None)).map(|found| found.0);
        assert_eq!(common(4), Some(4));
        assert_eq!(common(9), Some(5));
        assert_eq!(common(1), Some(1));
        assert_eq!(common(2), None, "which the peer means but we do not speak");
        assert_eq!(common(0), None);
    }

    #[test]
    fn a_header_version_offers_all_below() {
        assert_eq!(offered(&hello(4, None)), Versions(0b1_1110));
        assert_eq!(offered(&hello(0, None)), Versions(0));
        assert_eq!(offered(&hello(255, None)), Versions(0xffff_fffe));
    }
}
