//! Requests that come in several messages (OpenFlow 1.3.5 §7.3.5): only table features are long
//! enough for that.

use crate::{ErrorCode, MultipartRequest, TableFeatures, Xid};

/// The request whose parts are coming in, if there is one.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    open: Option<Partial>,
    /// A request of which a part was refused: the rest of it means nothing.
    refused: Option<Xid>,
}

#[derive(Debug)]
struct Partial {
    xid: Xid,
    tables: Vec<TableFeatures>,
    bytes: usize,
}

impl Assembly {
    /// Adds a message of `bytes` bytes; gives back the request once it is whole. The parts that
    /// follow a refused one are dropped without a word.
    pub(super) fn add(
        &mut self,
        xid: Xid,
        more: bool,
        request: MultipartRequest,
        bytes: usize,
    ) -> Result<Option<MultipartRequest>, ErrorCode> {
        if self.refused == Some(xid) {
            self.refused = self.refused.filter(|_| more);
            return Ok(None);
        }
        let belongs = self.open.as_ref().is_some_and(|open| open.xid == xid);
        if !more && !belongs {
            return Ok(Some(request));
        }
        let joined = self.join(xid, request, bytes, belongs);
        if joined.is_err() {
            self.refuse(xid, more);
        }
        let open = joined?;
        if more {
            self.open = Some(open);
            return Ok(None);
        }
        Ok(Some(MultipartRequest::TableFeatures(open.tables)))
    }

    /// Notes that a message was refused that may have been a part: what came of it is forgotten.
    pub(super) fn refuse(&mut self, xid: Xid, more: bool) {
        if self.open.as_ref().is_some_and(|open| open.xid == xid) {
            self.open = None;
        }
        if more {
            self.refused = Some(xid);
        }
    }

    fn join(
        &mut self,
        xid: Xid,
        request: MultipartRequest,
        bytes: usize,
        belongs: bool,
    ) -> Result<Partial, ErrorCode> {
        let MultipartRequest::TableFeatures(tables) = request else {
            return Err(ErrorCode::BAD_REQUEST_BAD_MULTIPART);
        };
        if !belongs && self.open.is_some() {
            return Err(ErrorCode::BAD_REQUEST_MULTIPART_BUFFER_OVERFLOW);
        }
        let mut open = self.open.take().unwrap_or(Partial {
            xid,
            tables: Vec::new(),
            bytes: 0,
        });
        open.bytes += bytes;
        if open.bytes > REQUEST_BYTES_MAX {
            return Err(ErrorCode::BAD_REQUEST_MULTIPART_BUFFER_OVERFLOW);
        }
        open.tables.extend(tables);
        Ok(open)
    }
}

/// Most bytes of a request in several messages: all 254 tables with every property at its fullest
/// are about half of that.
const REQUEST_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableId;

    fn tables(numbers: &[u8]) -> Vec<TableFeatures> {
        let features = |number: &u8| TableFeatures {
            table: TableId(*number),
            name: String::new(),
            metadata_match: 0,
            metadata_write: 0,
            config: 0,
            entries_max: 0,
            properties: Vec::new(),
        };
        numbers.iter().map(features).collect()
    }

    fn request(numbers: &[u8]) -> MultipartRequest {
        MultipartRequest::TableFeatures(tables(numbers))
    }

    #[test]
    fn parts_become_one_request() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.add(Xid(1), true, request(&[0, 1]), 100), Ok(None));
        let other = assembly.add(Xid(2), false, MultipartRequest::Table, 16);
        assert_eq!(
            other,
            Ok(Some(MultipartRequest::Table)),
            "others go on meanwhile"
        );
        assert_eq!(
            assembly.add(Xid(1), false, request(&[2]), 100),
            Ok(Some(request(&[0, 1, 2])))
        );
        assert_eq!(
            assembly.add(Xid(1), false, request(&[3]), 100),
            Ok(Some(request(&[3])))
        );
    }

    #[test]
    fn what_is_never_long_has_no_parts() {
        let mut assembly = Assembly::default();
        let refused = assembly.add(Xid(1), true, MultipartRequest::PortDesc, 16);
        assert_eq!(refused, Err(ErrorCode::BAD_REQUEST_BAD_MULTIPART));
    }

    #[test]
    fn memory_is_bounded() {
        let overflow = Err(ErrorCode::BAD_REQUEST_MULTIPART_BUFFER_OVERFLOW);
        let mut assembly = Assembly::default();
        assert_eq!(
            assembly.add(Xid(1), true, request(&[0]), REQUEST_BYTES_MAX),
            Ok(None)
        );
        assert_eq!(
            assembly.add(Xid(2), true, request(&[0]), 80),
            overflow,
            "one at a time"
        );
        assert_eq!(assembly.add(Xid(1), true, request(&[1]), 80), overflow);
        assert_eq!(
            assembly.add(Xid(3), true, request(&[0]), 80),
            Ok(None),
            "room again"
        );
    }

    #[test]
    fn what_follows_a_refused_part_is_no_request_of_its_own() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.add(Xid(1), true, request(&[0]), 80), Ok(None));
        assembly.refuse(Xid(1), true);
        assert_eq!(assembly.add(Xid(1), true, request(&[1]), 80), Ok(None));
        assert_eq!(assembly.add(Xid(1), false, request(&[2]), 80), Ok(None));
        let whole = assembly.add(Xid(1), false, request(&[3]), 80);
        assert_eq!(
            whole,
            Ok(Some(request(&[3]))),
            "the number may be used again"
        );

        let strange = assembly.add(Xid(2), true, MultipartRequest::PortDesc, 16);
        assert_eq!(strange, Err(ErrorCode::BAD_REQUEST_BAD_MULTIPART));
        let rest = assembly.add(Xid(2), false, MultipartRequest::PortDesc, 16);
        assert_eq!(rest, Ok(None));
    }
}
