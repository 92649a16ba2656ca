//! The virtio-net header (virtio 1.2 §5.1.6) as TAP, packet sockets and guests carry it before each
//! frame.
//!
//! Fields are in the machine's byte order, which is that of guests of any age on this architecture.

use super::{Gso, GsoKind, Offload, PartialChecksum, checksum, headers, segment};
use crate::Packet;
use crate::port::LostReason;

/// Length of the header without the number of merged buffers.
pub(crate) const HEADER_LEN: usize = 10;

/// The work that a frame's header asks for; none if the header does not fit the frame.
pub(crate) fn decode(header: &[u8; HEADER_LEN], frame: &[u8]) -> Option<Offload> {
    let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let mut offload = Offload {
        valid: header[0] & DATA_VALID != 0,
        ..Offload::default()
    };
    if header[0] & NEEDS_CSUM != 0 {
        let partial = PartialChecksum {
            start: word(6),
            offset: word(8),
        };
        if usize::from(partial.start) + usize::from(partial.offset) + 2 > frame.len() {
            return None;
        }
        offload.checksum = Some(partial);
    }
    if header[1] == GSO_NONE {
        return Some(offload);
    }
    let asked = header[1] & !GSO_ECN;
    let found = headers::locate(frame).map(|found| (found.tcp, found.ipv6));
    let is_tunnelled = || {
        let sum = offload.checksum;
        sum.is_some_and(|sum| headers::is_tunnelled(frame, sum.start))
    };
    let kind = match (asked, found) {
        (GSO_TCPV4, Some((true, false))) => GsoKind::Tcp4,
        (GSO_TCPV6, Some((true, true))) => GsoKind::Tcp6,
        (GSO_UDP_L4, Some((false, false))) if !is_tunnelled() => GsoKind::Udp4,
        (GSO_UDP_L4, Some((false, true))) if !is_tunnelled() => GsoKind::Udp6,
        (GSO_TCPV4, _) if is_tunnelled() => GsoKind::Tcp4,
        (GSO_TCPV6, _) if is_tunnelled() => GsoKind::Tcp6,
        _ => return None,
    };
    offload.gso = Some(Gso {
        kind,
        size: word(4),
        ecn: header[1] & GSO_ECN != 0,
    });
    (word(4) != 0).then_some(offload)
}

/// Notes on a packet what its header says is left to be done.
pub(crate) fn owe(packet: &mut Packet, header: &[u8; HEADER_LEN]) -> Result<(), LostReason> {
    let mut offload = decode(header, packet.data()).ok_or(LostReason::Malformed)?;
    let is_within = |sum: PartialChecksum| headers::is_tunnelled(packet.data(), sum.start);
    if offload.gso.is_some() && !offload.checksum.is_some_and(is_within) {
        // Some guests leave the length out of the sum, as network cards want it, or all of it.
        offload.checksum = segment::start_checksum(packet.data_mut()).or(offload.checksum);
    }
    if let Some(partial) = offload.checksum
        && !is_tcp_or_udp(partial)
    {
        // Rare enough that no port need know how.
        checksum::complete(packet.data_mut(), partial);
        offload.checksum = None;
    }
    if offload == Offload::default() || packet.set_offload(offload) {
        Ok(())
    } else {
        Err(LostReason::Malformed)
    }
}

fn is_tcp_or_udp(partial: PartialChecksum) -> bool {
    let offset = usize::from(partial.offset);
    offset == segment::TCP_CHECKSUM || offset == segment::UDP_CHECKSUM
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
                GsoKind::Udp4 | GsoKind::Udp6 => GSO_UDP_L4,
            };
            kind | if gso.ecn { GSO_ECN } else { 0 }
        }
    };
    header
}

/// A checksum is to be completed.
pub(crate) const NEEDS_CSUM: u8 = 1;
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

    fn tcp(kind: GsoKind, start: u16, ecn: bool) -> Offload {
        Offload {
            checksum: Some(PartialChecksum { start, offset: 16 }),
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
        let packet = frame(&[], false, 6, 3000);
        let le = [1, 0x81, 66, 0, 0xa8, 5, 34, 0, 16, 0];
        let be = [1, 0x81, 0, 66, 5, 0xa8, 0, 34, 0, 16];
        let header = if cfg!(target_endian = "little") {
            le
        } else {
            be
        };
        assert_eq!(decode(&header, &packet), Some(tcp(GsoKind::Tcp4, 34, true)));
        let valid = Offload {
            valid: true,
            ..Offload::default()
        };
        assert_eq!(
            decode(&[2, 0, 9, 9, 0, 0, 9, 9, 9, 9], &packet),
            Some(valid)
        );
        assert_eq!(decode(&[0; HEADER_LEN], &[]), Some(Offload::default()));
    }

    #[test]
    fn refuses_offsets_outside_the_frame() {
        let packet = frame(&[], false, 6, 3000);
        let offload = Offload {
            gso: None,
            ..tcp(GsoKind::Tcp4, 34, false)
        };
        let header = encode(&offload, &packet);
        assert!(decode(&header, &packet[..52]).is_some());
        assert!(decode(&header, &packet[..51]).is_none());
        assert!(decode(&[1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], &packet).is_none());
    }

    #[test]
    fn refuses_segmentation_that_is_unknown_or_not_the_frame_s() {
        let packet = frame(&[], false, 6, 3000);
        for (kind, size) in [(3, 5), (1, 0), (4, 5), (5, 5), (2, 5)] {
            assert!(
                decode(&[0, kind, 0, 0, size, size, 0, 0, 0, 0], &packet).is_none(),
                "{kind}"
            );
        }
        assert!(decode(&[0, 1, 0, 0, 5, 5, 0, 0, 0, 0], &packet).is_some());
        assert!(decode(&[0, 1, 0, 0, 5, 5, 0, 0, 0, 0], &packet[..40]).is_none());
    }

    #[test]
    fn takes_a_super_frame_within_a_tunnel() {
        let within = frame(&[], false, 6, 3000);
        // A VXLAN header and the frame within stand for the datagram's payload.
        let mut packet = frame(&[], false, 17, 8 + within.len());
        packet.truncate(42 + 8);
        packet.extend(&within);
        let start = 50 + 34;
        let asked = tcp(GsoKind::Tcp4, start, false);
        assert_eq!(decode(&encode(&asked, &packet), &packet), Some(asked));
        for wrong in [
            tcp(GsoKind::Tcp4, 60, false),
            tcp(GsoKind::Tcp4, packet.len() as u16 - 19, false),
            tcp(GsoKind::Udp6, start, false),
        ] {
            assert_eq!(decode(&encode(&wrong, &packet), &packet), None, "{wrong:?}");
        }
    }

    #[test]
    fn decodes_what_it_encoded() {
        let tcp4 = frame(&[], false, 6, 3000);
        let tcp6 = frame(&[0x8100], true, 6, 3000);
        let udp4 = frame(&[], false, 17, 3000);
        for (packet, offload) in [
            (&tcp4, Offload::default()),
            (&tcp4, tcp(GsoKind::Tcp4, 34, true)),
            (
                &tcp4,
                Offload {
                    gso: None,
                    ..tcp(GsoKind::Tcp4, 34, false)
                },
            ),
            (&tcp6, tcp(GsoKind::Tcp6, 58, false)),
            (
                &udp4,
                Offload {
                    checksum: None,
                    ..tcp(GsoKind::Udp4, 0, false)
                },
            ),
        ] {
            assert_eq!(decode(&encode(&offload, packet), packet), Some(offload));
        }
    }

    #[test]
    fn encodes_the_length_of_all_headers() {
        let packet = frame(&[0x8100], true, 6, 3000);
        let header = encode(&tcp(GsoKind::Tcp6, 58, false), &packet);
        assert_eq!(u16::from_ne_bytes([header[2], header[3]]), 18 + 40 + 32);
    }
}
