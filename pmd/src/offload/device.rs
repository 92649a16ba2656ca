//! What a packet owes, made ready for a device of DPDK's to do.

use super::{Fields, IPV4, IPV6, L4_MASK, L4_TCP, TCP_SEG, headers};
use crate::{Packet, ffi};

impl Packet {
    /// Makes `l2_len` and `l3_len` exact, and tells the version of IP, which DPDK needs to know
    /// of a packet that owes anything. `false`, and no change, where the packet is not a whole one
    /// of TCP or UDP whose transport header is where it claims.
    pub(crate) fn tell_header_lengths(&mut self) -> bool {
        let claimed = Fields::of(self);
        let Some(found) = headers::locate(self.data()) else {
            return false;
        };
        let Some(exact) = Fields::exact(found.l3, found.l4) else {
            return false;
        };
        // DPDK takes the protocol from the IPv6 header itself.
        let tcp = self.mbuf().ol_flags & L4_MASK == L4_TCP;
        if found.l4 != usize::from(claimed.start()) || found.tcp != tcp || found.extended {
            return false;
        }
        let version = if found.ipv6 { IPV6 } else { IPV4 };
        let mbuf = self.mbuf_mut();
        mbuf.ol_flags = mbuf.ol_flags & !(IPV4 | IPV6) | version;
        mbuf.__bindgen_anon_3.tx_offload = claimed.starting_as(exact).0;
        true
    }

    /// Asks the device for the IPv4 checksum of each segment too, as segmentation wants it.
    pub(crate) fn ask_header_checksum(&mut self) {
        let mbuf = self.mbuf_mut();
        if mbuf.ol_flags & (TCP_SEG | IPV4) == TCP_SEG | IPV4 {
            mbuf.ol_flags |= ffi::RTE_MBUF_F_TX_IP_CKSUM;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::headers::tests::frame;
    use crate::testing::pools;
    use crate::{Offload, Packet, PartialChecksum};

    #[test]
    fn header_lengths_are_told_exactly_behind_tags_and_options() {
        let pools = pools();
        let cases: [(&[u16], bool); 3] =
            [(&[], false), (&[0x8100], true), (&[0x88a8, 0x8100], false)];
        for (tags, ipv6) in cases {
            let bytes = frame(tags, ipv6, 6, 100);
            let mut packet = Packet::from_bytes(&pools, &bytes).unwrap();
            let l3 = 14 + 4 * tags.len();
            let start = l3 + if ipv6 { 40 } else { 20 };
            let checksum = Some(PartialChecksum {
                start: start as u16,
                offset: 16,
            });
            let offload = Offload {
                checksum,
                ..Offload::default()
            };
            assert!(packet.set_offload(offload));
            assert!(packet.tell_header_lengths());
            assert_eq!(packet.offload(), offload);
            // SAFETY: every bit pattern of this union is an integer.
            let fields = unsafe { packet.mbuf().__bindgen_anon_3.tx_offload };
            assert_eq!(
                (fields & 0x7f, fields >> 7 & 0x1ff),
                (l3 as u64, (start - l3) as u64)
            );
            let elsewhere = PartialChecksum {
                start: start as u16 - 2,
                offset: 16,
            };
            let checksum = Some(elsewhere);
            assert!(packet.set_offload(Offload {
                checksum,
                ..offload
            }));
            assert!(!packet.tell_header_lengths());
        }
    }
}
