//! The virtio-net header (virtio 1.2 §5.1.6) as TAP and packet sockets carry it before each frame.
//!
//! Fields are in the machine's byte order there. vhost-user's header is the library's business.

use super::{Gso, GsoKind, Offload, PartialChecksum, headers};

/// Length of the header without the number of merged buffers.
pub(crate) const HEADER_LEN: usize = 10;

/// The work that a frame's header asks for; none if the header does not fit the frame.
pub(crate) fn decode(header: &[u8; HEADER_LEN], frame_len: usize) -> Option<Offload> {
    let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let mut offload = Offload {
        valid: header[0] & DATA_VALID != 0,
        ..Offload::NONE
    };
    if header[0] & NEEDS_CSUM != 0 {
        let partial = PartialChecksum {
            start: word(6),
            offset: word(8),
        };
        if usize::from(partial.start) + usize::from(partial.offset) + 2 > frame_len {
            return None;
        }
        offload.checksum = Some(partial);
    }
    let kind = match header[1] & !GSO_ECN {
        GSO_NONE => return Some(offload),
        GSO_TCPV4 => GsoKind::Tcp4,
        GSO_TCPV6 => GsoKind::Tcp6,
        GSO_UDP_L4 => GsoKind::Udp,
        _ => return None,
    };
    offload.gso = Some(Gso {
        kind,
        size: word(4),
        ecn: header[1] & GSO_ECN != 0,
    });
    (word(4) != 0).then_some(offload)
}

/// The header that asks for `offload` on `frame`.
pub(crate) fn encode(offload: &Offload, frame: &[u8]) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let mut put = |at: usize, value: u16| {
        header[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    };
    if let Some(partial) = offload.checksum {
        put(6, partial.start);
        put(8, partial.offset);
    }
    if let Some(gso) = offload.gso {
        let header_len = headers::locate(frame).map_or(0, |found| found.payload);
        put(2, header_len as u16);
        put(4, gso.size);
    }
    header[0] = if offload.checksum.is_some() {
        NEEDS_CSUM
    } else {
        0
    };
    header[1] = match offload.gso {
        None => GSO_NONE,
        Some(gso) => {
            let kind = match gso.kind {
                GsoKind::Tcp4 => GSO_TCPV4,
                GsoKind::Tcp6 => GSO_TCPV6,
                GsoKind::Udp => GSO_UDP_L4,
            };
            kind | if gso.ecn { GSO_ECN } else { 0 }
        }
    };
    header
}

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::super::headers::tests::frame;
    use super::*;

    fn tcp(kind: GsoKind, ecn: bool) -> Offload {
        Offload {
            checksum: Some(PartialChecksum {
                start: 34,
                offset: 16,
            }),
            gso: Some(Gso {
                kind,
                size: 1448,
                ecn,
            }),
            valid: false,
        }
    }

    #[test]
    fn decodes_what_the_specification_lays_out() {
        let header = [1, 0x81, 66, 0, 0xa8, 5, 34, 0, 16, 0];
        if cfg!(target_endian = "little") {
            assert_eq!(decode(&header, 3000), Some(tcp(GsoKind::Tcp4, true)));
        }
        let valid = Offload {
            valid: true,
            ..Offload::NONE
        };
        assert_eq!(decode(&[2, 0, 9, 9, 0, 0, 9, 9, 9, 9], 60), Some(valid));
        assert_eq!(decode(&[0; HEADER_LEN], 0), Some(Offload::NONE));
    }

    #[test]
    fn refuses_offsets_outside_the_frame_and_unknown_segmentation() {
        let header = encode(&tcp(GsoKind::Tcp4, false), &frame(&[], false, 6, 3000));
        assert!(decode(&header, 52).is_some());
        assert!(decode(&header, 51).is_none());
        assert!(decode(&[1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], 65_535).is_none());
        assert!(decode(&[0, 3, 0, 0, 5, 5, 0, 0, 0, 0], 3000).is_none());
        assert!(decode(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0], 3000).is_none());
    }

    #[test]
    fn decodes_what_it_encoded() {
        let packet = frame(&[], false, 6, 3000);
        for offload in [
            Offload::NONE,
            tcp(GsoKind::Tcp4, true),
            tcp(GsoKind::Tcp6, false),
            tcp(GsoKind::Udp, false),
            Offload {
                gso: None,
                ..tcp(GsoKind::Tcp4, false)
            },
        ] {
            let header = encode(&offload, &packet);
            assert_eq!(decode(&header, packet.len()), Some(offload));
        }
    }

    #[test]
    fn encodes_the_length_of_all_headers() {
        let packet = frame(&[0x8100], true, 6, 3000);
        let header = encode(&tcp(GsoKind::Tcp6, false), &packet);
        assert_eq!(u16::from_ne_bytes([header[2], header[3]]), 18 + 40 + 32);
    }
}
