//! SCTP's common header and the chunks behind it (RFC 9260 §3).

use crate::conntrack::limits::CHUNKS_MAX;
use crate::parse::bytes::{u16_at, u32_at};

/// The chunks of a packet, as far as they are looked at. Small, since what is read of each packet
/// has room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Verification tag.
    pub tag: u32,
    /// Initiate tag of the chunk that has one: it is alone.
    init_tag: u32,
    /// Type and flags of each.
    heads: [(u8, u8); CHUNKS_MAX],
    len: u8,
}

/// A chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Initiate tag of INIT and INIT ACK.
    pub init_tag: u32,
}

/// Types of chunks.
pub const INIT: u8 = 1;
pub const INIT_ACK: u8 = 2;
pub const HEARTBEAT: u8 = 4;
pub const HEARTBEAT_ACK: u8 = 5;
pub const ABORT: u8 = 6;
pub const SHUTDOWN: u8 = 7;
pub const SHUTDOWN_ACK: u8 = 8;
pub const ERROR: u8 = 9;
pub const COOKIE_ECHO: u8 = 10;
pub const COOKIE_ACK: u8 = 11;
pub const SHUTDOWN_COMPLETE: u8 = 14;

impl Chunks {
    /// Reads a packet; nothing if it has no whole chunk, one is shorter than its header, or one is
    /// where it must not be: INIT, INIT ACK and SHUTDOWN COMPLETE have to be alone, COOKIE ECHO and
    /// COOKIE ACK the first (RFC 9260 §3, §3.3.11, §3.3.12).
    pub(super) fn read(bytes: &[u8]) -> Option<Chunks> {
        let (header, mut rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let mut chunks = Chunks {
            tag: u32_at(header, 4),
            init_tag: 0,
            heads: [(0, 0); CHUNKS_MAX],
            len: 0,
        };
        let mut is_alone = false;
        while let Some(start) = rest.first_chunk::<CHUNK_LEN>() {
            let (kind, len) = (start[0], usize::from(u16_at(start, 2)));
            let is_first = chunks.len == 0;
            let must_be_alone = matches!(kind, INIT | INIT_ACK | SHUTDOWN_COMPLETE);
            let must_be_first = must_be_alone || matches!(kind, COOKIE_ECHO | COOKIE_ACK);
            if len < CHUNK_LEN || is_alone || must_be_first && !is_first {
                return None;
            }
            is_alone = must_be_alone;
            if matches!(kind, INIT | INIT_ACK) {
                chunks.init_tag = u32_at(rest.first_chunk::<8>()?, 4);
            }
            if let Some(head) = chunks.heads.get_mut(usize::from(chunks.len)) {
                *head = (kind, start[1]);
                chunks.len += 1;
            }
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        }
        (chunks.len > 0).then_some(chunks)
    }

    /// All of them, in order.
    pub fn list(&self) -> impl Iterator<Item = Chunk> {
        let heads = self.heads.iter().take(self.len.into());
        heads.map(|(kind, flags)| Chunk {
            kind: *kind,
            flags: *flags,
            init_tag: match *kind {
                INIT | INIT_ACK => self.init_tag,
                _ => 0,
            },
        })
    }

    /// A packet of one chunk.
    #[cfg(test)]
    pub fn one(tag: u32, chunk: Chunk) -> Chunks {
        let mut heads = [(0, 0); CHUNKS_MAX];
        heads[0] = (chunk.kind, chunk.flags);
        Chunks {
            tag,
            init_tag: chunk.init_tag,
            heads,
            len: 1,
        }
    }

    /// Whether one is of this type.
    pub fn has(&self, kind: u8) -> bool {
        self.list().any(|chunk| chunk.kind == kind)
    }
}

const HEADER_LEN: usize = 12;
const CHUNK_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: u8 = 0;

    fn packet(chunks: &[&[u8]]) -> Vec<u8> {
        [&[0, 1, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0][..], &chunks.concat()].concat()
    }

    const INIT_CHUNK: [u8; 20] = [1, 0, 0, 20, 0, 0, 1, 0, 0, 0, 0, 9, 0, 1, 0, 1, 0, 0, 0, 0];

    #[test]
    fn chunks() {
        let read = Chunks::read(&packet(&[&INIT_CHUNK])).unwrap();
        let init = Chunk {
            kind: INIT,
            flags: 0,
            init_tag: 256,
        };
        assert_eq!((read.tag, read.list().collect()), (7, vec![init]));
        let read = Chunks::read(&packet(&[&[11, 0, 0, 4], &[0, 3, 0, 5, 1, 0, 0, 0]])).unwrap();
        assert!(read.has(COOKIE_ACK) && read.has(DATA) && !read.has(INIT));
        let kinds = read.list().map(|chunk| (chunk.kind, chunk.flags));
        assert_eq!(kinds.collect::<Vec<_>>(), [(COOKIE_ACK, 0), (DATA, 3)]);
    }

    #[test]
    fn chunks_that_must_not_be_there() {
        for chunks in [
            &[][..],
            &[&[0, 0, 0, 3][..]],
            &[&[0, 0, 0, 4], &[11, 0, 0, 4]],
            &[&INIT_CHUNK, &[0, 0, 0, 4]],
            &[&INIT_CHUNK[..6]],
        ] {
            assert_eq!(Chunks::read(&packet(chunks)), None, "{chunks:?}");
        }
        assert_eq!(Chunks::read(&[0; 11]), None);
        let many = [&[3, 0, 0, 4][..]; 40];
        let read = Chunks::read(&packet(&many)).unwrap();
        assert_eq!(read.list().count(), CHUNKS_MAX);
    }
}
