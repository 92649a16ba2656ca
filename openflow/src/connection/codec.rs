//! The codec of a version: one arm for each.

use flowtable::TlvTable;

use crate::v13::{self, DecodeError, EncodeError, ReplyStream};
use crate::{Message, MultipartReply, Version, Versions, Xid};

/// A version that we have a codec for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    V13,
}

impl Codec {
    /// Every version there is a codec for.
    pub(super) fn versions() -> Versions {
        Versions::of(&[Version::V1_3])
    }

    pub(super) fn of(version: Version) -> Option<Codec> {
        (version == Version::V1_3).then_some(Codec::V13)
    }

    pub(super) fn version(self) -> Version {
        match self {
            Codec::V13 => Version::V1_3,
        }
    }

    pub(super) fn decode(
        self,
        bytes: &[u8],
        tlvs: &TlvTable,
    ) -> Result<(Xid, Message), DecodeError> {
        match self {
            Codec::V13 => v13::decode_knowing(bytes, tlvs),
        }
    }

    pub(super) fn encode(
        self,
        xid: Xid,
        message: &Message,
        tlvs: &TlvTable,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match self {
            Codec::V13 => v13::encode_knowing(xid, message, tlvs, out),
        }
    }

    pub(super) fn encode_next<I: Iterator<Item = MultipartReply>>(
        self,
        stream: &mut ReplyStream<I>,
        out: &mut Vec<u8>,
    ) -> Result<bool, EncodeError> {
        match self {
            Codec::V13 => stream.encode_next(out),
        }
    }
}
