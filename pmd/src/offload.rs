//! Checksum and segmentation that a packet still owes, carried as metadata from port to port.
//!
//! What: [`Offload`] has the meaning of the virtio-net header (VIRTIO 1.2 §5.1.6): the checksum
//! field at `start + offset` holds the folded, not complemented sum of the pseudo-header, and
//! whoever needs the packet complete adds what follows from `start` on. A packet with [`Gso`] is
//! a super-frame, to be cut into segments of `size` bytes of payload each.
//! How: the mbuf carries it in DPDK's transmit convention: the flags `RTE_MBUF_F_TX_*`, `l2_len`
//! and `l3_len`, whose sum is `start`, `l4_len` and `tso_segsz`. So the vhost library reads and
//! writes it without our help. Only the sum of `l2_len` and `l3_len` is kept right when headers
//! are pushed or pulled; a device that needs each of them has them set before transmission.
//! That a sum was found good on the way (`valid`) is `RTE_MBUF_F_RX_L4_CKSUM_GOOD`; ECN of
//! segmentation has no flag in DPDK and takes a dynamic one.

use std::ffi::c_char;

use crate::{Packet, ffi};

pub mod checksum;
mod device;
pub(crate) mod headers;
pub(crate) mod packet;
pub mod segment;
pub(crate) mod virtio;

/// What a packet still owes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// A checksum to be completed.
    pub checksum: Option<PartialChecksum>,
    /// A super-frame to be segmented; needs `checksum`.
    pub gso: Option<Gso>,
    /// The transport checksum was verified, or the packet never left this machine.
    pub valid: bool,
}

/// A transport checksum of which only the pseudo-header is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where the transport header starts, counted from the packet's first byte.
    pub start: u16,
    /// Where the checksum is, counted from `start`.
    pub offset: u16,
}

/// How a super-frame is to be segmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// What it is.
    pub kind: GsoKind,
    /// Payload bytes of each segment but the last.
    pub size: u16,
    /// The first segment alone keeps the congestion window reduced flag.
    pub ecn: bool,
}

/// What a super-frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// Datagrams of UDP over IPv4.
    Udp4,
    /// Datagrams of UDP over IPv6.
    Udp6,
}

impl GsoKind {
    fn is_tcp(self) -> bool {
        matches!(self, GsoKind::Tcp4 | GsoKind::Tcp6)
    }

    fn flags(self) -> u64 {
        match self {
            GsoKind::Tcp4 => TCP_SEG | IPV4,
            GsoKind::Tcp6 => TCP_SEG | IPV6,
            GsoKind::Udp4 => UDP_SEG | IPV4,
            GsoKind::Udp6 => UDP_SEG | IPV6,
        }
    }
}

impl Packet {
    /// What the packet still owes.
    #[inline]
    pub fn offload(&self) -> Offload {
        let flags = self.mbuf().ol_flags;
        let valid = flags & VALIDITY == VALID;
        if flags & OWED == 0 {
            return Offload {
                valid,
                ..Offload::default()
            };
        }
        let fields = Fields::of(self);
        let offset = match flags & L4_MASK {
            L4_TCP => TCP_CHECKSUM,
            L4_UDP => UDP_CHECKSUM,
            L4_SCTP => SCTP_CHECKSUM,
            _ if flags & TCP_SEG != 0 => TCP_CHECKSUM,
            _ => UDP_CHECKSUM,
        };
        let checksum = Some(PartialChecksum {
            start: fields.start(),
            offset,
        });
        let kind = match (
            flags & TCP_SEG != 0,
            flags & UDP_SEG != 0,
            flags & IPV6 != 0,
        ) {
            (true, _, false) => Some(GsoKind::Tcp4),
            (true, _, true) => Some(GsoKind::Tcp6),
            (false, true, false) => Some(GsoKind::Udp4),
            (false, true, true) => Some(GsoKind::Udp6),
            (false, false, _) => None,
        };
        let ecn = flags & ECN != 0;
        let gso = kind.map(|kind| Gso {
            kind,
            size: fields.segment_size(),
            ecn,
        });
        Offload {
            checksum,
            gso,
            valid,
        }
    }

    /// Whether the packet owes a checksum or is a super-frame.
    #[inline]
    pub fn owes(&self) -> bool {
        self.mbuf().ol_flags & OWED != 0
    }

    /// Sets what the packet owes. `false`, and it owes nothing, where that makes no sense: a
    /// checksum outside the packet, a super-frame without a checksum or with segments of no
    /// bytes, a checksum that is not TCP's, UDP's or SCTP's, or headers of more than 638 bytes.
    #[must_use]
    pub fn set_offload(&mut self, offload: Offload) -> bool {
        let length = self.len();
        self.forget_offload();
        let mbuf = self.mbuf_mut();
        if offload.valid {
            mbuf.ol_flags |= VALID;
        }
        let Some(PartialChecksum { start, offset }) = offload.checksum else {
            return offload.gso.is_none();
        };
        let l4 = match offset {
            TCP_CHECKSUM => L4_TCP,
            UDP_CHECKSUM => L4_UDP,
            SCTP_CHECKSUM => L4_SCTP,
            _ => return false,
        };
        let sum_size = if l4 == L4_SCTP { 4 } else { 2 };
        let Some(mut fields) = Fields::starting(start) else {
            return false;
        };
        if usize::from(start) + usize::from(offset) + sum_size > length {
            return false;
        }
        let mut flags = l4;
        if let Some(gso) = offload.gso {
            let header = self.transport_header_len(start, gso.kind);
            let Some(header) = header.filter(|_| gso.size > 0) else {
                return false;
            };
            if gso.kind.is_tcp() != (l4 == L4_TCP) || l4 == L4_SCTP {
                return false;
            }
            fields = fields.segmented(header, gso.size);
            flags |= gso.kind.flags() | if gso.ecn { ECN } else { 0 };
        }
        let mbuf = self.mbuf_mut();
        mbuf.ol_flags |= flags;
        mbuf.__bindgen_anon_3.tx_offload = fields.0;
        true
    }

    /// Length of the header at `start`, if it is all there.
    pub(crate) fn transport_header_len(&self, start: u16, kind: GsoKind) -> Option<u8> {
        let header = self.data().get(usize::from(start)..)?;
        let length = if kind.is_tcp() {
            (header.get(12)? >> 4) * 4
        } else {
            UDP_HEADER
        };
        let least = if kind.is_tcp() {
            TCP_HEADER_MIN
        } else {
            UDP_HEADER
        };
        (length >= least && header.len() >= usize::from(length)).then_some(length)
    }

    /// The transport header lies `count` bytes further back than before.
    #[inline]
    pub(crate) fn offload_pushed(&mut self, count: usize) {
        if self.owes() {
            let start = usize::from(Fields::of(self).start()) + count;
            self.offload_moved(start);
        }
    }

    /// The transport header lies `count` bytes nearer than before.
    #[inline]
    pub(crate) fn offload_pulled(&mut self, count: usize) {
        if self.owes() {
            match usize::from(Fields::of(self).start()).checked_sub(count) {
                Some(start) => self.offload_moved(start),
                None => self.offload_clear(),
            }
        }
    }

    /// The packet was cut to `length` bytes: one that no longer has its checksum owes none.
    #[inline]
    pub(crate) fn offload_cut(&mut self, length: usize) {
        if let Some(PartialChecksum { start, offset }) = self.offload().checksum
            && usize::from(start) + usize::from(offset) + 4 > length
        {
            self.offload_clear();
        }
    }

    fn offload_moved(&mut self, start: usize) {
        let fields = Fields::of(self);
        match u16::try_from(start).ok().and_then(Fields::starting) {
            Some(moved) => {
                self.mbuf_mut().__bindgen_anon_3.tx_offload = fields.starting_as(moved).0;
            }
            None => self.offload_clear(),
        }
    }

    /// The packet owes nothing from now on, and nobody vouches for its checksums.
    #[inline]
    pub fn forget_offload(&mut self) {
        let mbuf = self.mbuf_mut();
        mbuf.ol_flags &= !(OWED | IPV4 | IPV6 | ECN | VALIDITY);
        mbuf.__bindgen_anon_3.tx_offload = 0;
    }

    /// The packet owes nothing from now on.
    pub(crate) fn offload_clear(&mut self) {
        let mbuf = self.mbuf_mut();
        mbuf.ol_flags &= !(OWED | IPV4 | IPV6 | ECN);
        mbuf.__bindgen_anon_3.tx_offload = 0;
    }
}

/// `rte_mbuf.tx_offload`: lengths of headers and segments, as bit fields.
#[derive(Clone, Copy)]
struct Fields(u64);

impl Fields {
    fn of(packet: &Packet) -> Fields {
        // SAFETY: every bit pattern of this union is an integer.
        Fields(unsafe { packet.mbuf().__bindgen_anon_3.tx_offload })
    }

    /// Headers of `start` bytes before the transport header, as many of them in `l3_len` as the
    /// largest IPv4 header takes, if there are more than fit in `l2_len`.
    fn starting(start: u16) -> Option<Fields> {
        let start = u64::from(start);
        let l2 = start
            .min(ETHERNET_HEADER)
            .max(start.saturating_sub(mask(L3_BITS)));
        (l2 <= mask(L2_BITS)).then(|| Fields(l2 | (start - l2) << L2_BITS))
    }

    /// Headers of these lengths, if they fit.
    fn exact(l3: usize, l4: usize) -> Option<Fields> {
        let (l2, l3) = (l3 as u64, l4.checked_sub(l3)? as u64);
        (l2 <= mask(L2_BITS) && l3 <= mask(L3_BITS)).then_some(Fields(l2 | l3 << L2_BITS))
    }

    /// The same, but starting where `other` does.
    fn starting_as(self, other: Fields) -> Fields {
        let lengths = mask(L2_BITS + L3_BITS);
        Fields(self.0 & !lengths | other.0 & lengths)
    }

    fn segmented(self, header: u8, size: u16) -> Fields {
        let shift = L2_BITS + L3_BITS;
        Fields(self.0 | u64::from(header) << shift | u64::from(size) << (shift + L4_BITS))
    }

    fn start(self) -> u16 {
        ((self.0 & mask(L2_BITS)) + (self.0 >> L2_BITS & mask(L3_BITS))) as u16
    }

    fn segment_size(self) -> u16 {
        (self.0 >> (L2_BITS + L3_BITS + L4_BITS)) as u16
    }
}

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// Claims the flag for ECN. Called once, when EAL has started.
pub(crate) fn register() -> Result<(), i32> {
    let mut flag = ffi::rte_mbuf_dynflag::default();
    for (to, from) in flag.name.iter_mut().zip(b"vswitch_gso_ecn") {
        *to = *from as c_char;
    }
    // SAFETY: the name is NUL-terminated, and is copied.
    let bit = unsafe { ffi::rte_mbuf_dynflag_register_bitnum(&flag, ECN.trailing_zeros()) };
    if bit < 0 { Err(bit) } else { Ok(()) }
}

const TCP_SEG: u64 = ffi::RTE_MBUF_F_TX_TCP_SEG;
const UDP_SEG: u64 = ffi::RTE_MBUF_F_TX_UDP_SEG;
const IPV4: u64 = ffi::RTE_MBUF_F_TX_IPV4;
const IPV6: u64 = ffi::RTE_MBUF_F_TX_IPV6;
const L4_MASK: u64 = ffi::RTE_MBUF_F_TX_L4_MASK;
const L4_TCP: u64 = ffi::RTE_MBUF_F_TX_TCP_CKSUM;
const L4_UDP: u64 = ffi::RTE_MBUF_F_TX_UDP_CKSUM;
const L4_SCTP: u64 = ffi::RTE_MBUF_F_TX_SCTP_CKSUM;
/// What is known of the checksum; all bits say that the packet is right but its checksum is not.
pub(crate) const VALIDITY: u64 = ffi::RTE_MBUF_F_RX_L4_CKSUM_MASK as u64;
const VALID: u64 = ffi::RTE_MBUF_F_RX_L4_CKSUM_GOOD as u64;
/// Any of these, and the packet cannot leave as it is.
pub(crate) const OWED: u64 = L4_MASK | TCP_SEG | UDP_SEG;
/// The highest of the bits that DPDK leaves to applications.
const ECN: u64 = ffi::RTE_MBUF_F_LAST_FREE;

/// Where TCP has its checksum (RFC 9293 §3.1).
const TCP_CHECKSUM: u16 = 16;
/// Where UDP has its checksum (RFC 768).
const UDP_CHECKSUM: u16 = 6;
/// Where SCTP has its CRC32c (RFC 9260 §3.1).
const SCTP_CHECKSUM: u16 = 8;
const TCP_HEADER_MIN: u8 = 20;
const UDP_HEADER: u8 = 8;
const ETHERNET_HEADER: u64 = 14;
const L2_BITS: u32 = ffi::RTE_MBUF_L2_LEN_BITS;
const L3_BITS: u32 = ffi::RTE_MBUF_L3_LEN_BITS;
const L4_BITS: u32 = ffi::RTE_MBUF_L4_LEN_BITS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pools;

    fn tcp(size: u16) -> Offload {
        let checksum = Some(PartialChecksum {
            start: 34,
            offset: TCP_CHECKSUM,
        });
        Offload {
            checksum,
            gso: Some(Gso {
                kind: GsoKind::Tcp4,
                size,
                ecn: true,
            }),
            valid: true,
        }
    }

    fn frame() -> Packet {
        let mut bytes = [0; 2000];
        bytes[34 + 12] = 8 << 4;
        Packet::from_bytes(&pools(), &bytes).unwrap()
    }

    #[test]
    fn gives_back_what_was_set() {
        let mut packet = frame();
        assert_eq!(packet.offload(), Offload::default());
        for kind in [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp4, GsoKind::Udp6] {
            for start in [34, 54, 127, 128, 500, 638] {
                packet.data_mut()[start as usize + 12] = 8 << 4;
                let offset = if kind.is_tcp() {
                    TCP_CHECKSUM
                } else {
                    UDP_CHECKSUM
                };
                let checksum = Some(PartialChecksum { start, offset });
                let gso = Some(Gso {
                    kind,
                    size: 1448,
                    ecn: start == 54,
                });
                let offload = Offload {
                    checksum,
                    gso,
                    valid: start == 128,
                };
                assert!(packet.set_offload(offload), "{offload:?}");
                assert_eq!(packet.offload(), offload);
            }
        }
        assert!(packet.set_offload(Offload {
            valid: true,
            ..Offload::default()
        }));
        assert_eq!(
            packet.offload(),
            Offload {
                valid: true,
                ..Offload::default()
            }
        );
        assert!(!packet.owes());
    }

    #[test]
    fn moves_with_the_headers_before_it() {
        let mut packet = frame();
        assert!(packet.set_offload(tcp(1000)));
        let start = |packet: &Packet| packet.offload().checksum.map(|checksum| checksum.start);
        packet.push_front(100).unwrap();
        assert_eq!(start(&packet), Some(134));
        packet.pull_front(130).unwrap();
        assert_eq!(start(&packet), Some(4));
        assert_eq!(packet.offload().gso, tcp(1000).gso);
        packet.pull_front(5).unwrap();
        assert_eq!(
            packet.offload(),
            Offload {
                valid: true,
                ..Offload::default()
            }
        );
    }

    #[test]
    fn a_cut_packet_owes_no_checksum_it_lacks() {
        let mut packet = frame();
        assert!(packet.set_offload(tcp(1000)));
        packet.truncate(60);
        assert!(packet.owes());
        packet.truncate(40);
        assert!(!packet.owes());
    }

    #[test]
    fn copies_carry_it() {
        let pools = pools();
        let mut packet = frame();
        assert!(packet.set_offload(tcp(1000)));
        assert_eq!(packet.try_copy(&pools).unwrap().offload(), tcp(1000));
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        let mut packet = frame();
        let with = |start, offset, gso| Offload {
            checksum: Some(PartialChecksum { start, offset }),
            gso,
            valid: false,
        };
        let gso = |kind, size| {
            Some(Gso {
                kind,
                size,
                ecn: false,
            })
        };
        for offload in [
            with(1985, TCP_CHECKSUM, None),
            with(u16::MAX, TCP_CHECKSUM, None),
            with(639, UDP_CHECKSUM, None),
            with(34, 2, None),
            with(34, TCP_CHECKSUM, gso(GsoKind::Tcp4, 0)),
            with(34, TCP_CHECKSUM, gso(GsoKind::Udp4, 100)),
            with(34, UDP_CHECKSUM, gso(GsoKind::Tcp6, 100)),
            with(35, TCP_CHECKSUM, gso(GsoKind::Tcp4, 100)),
            Offload {
                gso: gso(GsoKind::Tcp4, 100),
                ..Offload::default()
            },
        ] {
            assert!(!packet.set_offload(offload), "{offload:?}");
            assert!(!packet.owes());
        }
    }
}
