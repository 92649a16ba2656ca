//! DPDK's own terms for what a packet owes: flags and the length of each header in the mbuf.
//!
//! A packet carries the sum of the lengths before layer 4 only (see the parent). Whoever hands it
//! to a driver or to the vhost library, which compute from each of them, lays them out first. A
//! wrong `l2_len` puts the checksum of a tagged frame in the wrong place, so what the headers do
//! not bear out is refused, and done in software.

use super::segment::{TCP_CHECKSUM, UDP_CHECKSUM};
use super::{IPV4, IPV6, L2_BITS, L3_BITS, L4_BITS, headers, mask};
use crate::Packet;

impl Packet {
    /// Sets the length of each header of a packet that owes something. False, and no change, where
    /// DPDK cannot be told.
    pub(crate) fn lay_out(&mut self) -> bool {
        let offload = self.offload();
        let Some(partial) = offload.checksum else {
            return true;
        };
        // Behind an IPv6 extension header drivers take its number for the protocol.
        let Some(found) = headers::locate(self.data()).filter(|found| !found.extended) else {
            return false;
        };
        let offset = if found.tcp {
            TCP_CHECKSUM
        } else {
            UDP_CHECKSUM
        };
        let (l2, l3) = (found.l3 as u64, (found.l4 - found.l3) as u64);
        let borne_out = usize::from(partial.start) == found.l4
            && usize::from(partial.offset) == offset
            && l2 <= mask(L2_BITS)
            && l3 <= mask(L3_BITS);
        if !borne_out {
            return false;
        }
        let l4 = (found.payload - found.l4) as u64;
        let size = u64::from(offload.gso.map_or(0, |gso| gso.size));
        let lengths =
            l2 | l3 << L2_BITS | l4 << (L2_BITS + L3_BITS) | size << (L2_BITS + L3_BITS + L4_BITS);
        let mbuf = self.mbuf_mut();
        mbuf.ol_flags = mbuf.ol_flags & !(IPV4 | IPV6) | if found.ipv6 { IPV6 } else { IPV4 };
        mbuf.__bindgen_anon_3.tx_offload = lengths;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::headers::tests::frame;
    use crate::testing::pools;
    use crate::{Gso, GsoKind, Offload, Packet, PartialChecksum, ffi};

    fn packet(bytes: &[u8], start: u16, gso: Option<Gso>) -> Packet {
        let mut packet = Packet::from_bytes(&pools(), bytes).unwrap();
        let checksum = Some(PartialChecksum { start, offset: 16 });
        assert!(packet.set_offload(Offload {
            checksum,
            gso,
            valid: false
        }));
        packet
    }

    fn lengths(packet: &Packet) -> (u64, u64, u64, u64) {
        // SAFETY: every bit pattern of this union is an integer.
        let all = unsafe { packet.mbuf().__bindgen_anon_3.tx_offload };
        (
            all & 127,
            all >> 7 & 511,
            all >> 16 & 255,
            all >> 24 & 0xffff,
        )
    }

    #[test]
    fn each_length_is_exact_behind_tags() {
        for (tags, l2) in [(&[][..], 14), (&[0x8100], 18), (&[0x88a8, 0x8100], 22)] {
            for (ipv6, l3, kind) in [(false, 20, GsoKind::Tcp4), (true, 40, GsoKind::Tcp6)] {
                let bytes = frame(tags, ipv6, 6, 3000);
                let gso = Gso {
                    kind,
                    size: 1400,
                    ecn: true,
                };
                let mut packet = packet(&bytes, (l2 + l3) as u16, Some(gso));
                let before = packet.offload();
                assert!(packet.lay_out());
                assert_eq!(lengths(&packet), (l2, l3, 32, 1400));
                assert_eq!(packet.offload(), before);
                let version = if ipv6 {
                    ffi::RTE_MBUF_F_TX_IPV6
                } else {
                    ffi::RTE_MBUF_F_TX_IPV4
                };
                assert_ne!(packet.mbuf().ol_flags & version, 0);
            }
        }
    }

    #[test]
    fn a_tag_pushed_on_the_way_is_counted() {
        let mut packet = packet(&frame(&[], false, 6, 100), 34, None);
        packet.push_front(4).unwrap();
        packet.data_mut().copy_within(4..16, 0);
        packet.data_mut()[12..16].copy_from_slice(&[0x81, 0, 0, 5]);
        assert!(packet.lay_out());
        assert_eq!(lengths(&packet), (18, 20, 32, 0));
    }

    #[test]
    fn what_the_headers_do_not_bear_out_is_refused() {
        let bytes = frame(&[], false, 6, 100);
        assert!(!packet(&bytes, 54, None).lay_out());
        let mut datagram = bytes.clone();
        datagram[23] = 17;
        assert!(!packet(&datagram, 34, None).lay_out());
        let mut optional = frame(&[], true, 6, 100);
        optional[20] = 60;
        optional[54..56].copy_from_slice(&[6, 0]);
        assert!(!packet(&optional, 62, None).lay_out());
    }
}
