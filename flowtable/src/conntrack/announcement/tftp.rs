//! TFTP (RFC 1350 §4): the server answers a request from a port of its own choice.

use super::Announcement;
use crate::conntrack::record::Direction;
use crate::parse::bytes::u16_at;

/// What a packet announces: a client's request, that it will receive at the port it sends from.
pub(super) fn read(payload: &[u8], direction: Direction, src_port: u16) -> Option<Announcement> {
    let opcode = u16_at(payload.first_chunk::<2>()?, 0);
    let is_request = matches!(opcode, READ | WRITE) && direction == Direction::Original;
    is_request.then_some(Announcement {
        port: src_port,
        is_own_port: true,
        address: None,
    })
}

/// Opcodes of requests.
const READ: u16 = 1;
const WRITE: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_the_client_alone_announce() {
        let announcement = Announcement {
            port: 1069,
            is_own_port: true,
            address: None,
        };
        let cases: [(&[u8], Direction, bool); 6] = [
            (b"\0\x01a\0octet\0", Direction::Original, true),
            (b"\0\x02", Direction::Original, true),
            (b"\0\x01a\0octet\0", Direction::Reply, false),
            (b"\0\x03\0\x01", Direction::Original, false),
            (b"\x01\0", Direction::Original, false),
            (b"\0", Direction::Original, false),
        ];
        for (payload, direction, does) in cases {
            let read = read(payload, direction, 1069);
            assert_eq!(read, does.then_some(announcement), "{payload:?}");
        }
    }
}
