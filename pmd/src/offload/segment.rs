//! Software segmentation: one frame of TCP or UDP becomes several, for ports that cannot.
//!
//! TCP as in RFC 9293 §3.7, ECN's CWR on the first segment only (RFC 3168 §6.1.2), FIN and PSH on
//! the last only; UDP as datagrams of equal size. Every segment leaves with a partial checksum, so
//! that a port which can finish those still does; those of a packet within a tunnel (VXLAN, Geneve,
//! GRE) leave with all sums, and their outer headers fit. The pseudo-header is summed anew from the
//! addresses rather than adjusted: senders differ in whether they left the length out of it.

use super::headers::{self, Around, Headers, TCP, UDP};
use super::{Gso, GsoKind, Offload, PartialChecksum, checksum};

/// The segments that a frame stands for.
#[derive(Clone, Copy, Debug)]
pub struct Segments<'a> {
    frame: &'a [u8],
    headers: Headers,
    /// What lies around it, if it is within a tunnel.
    around: Option<Around>,
    size: usize,
    count: usize,
    ecn: bool,
}

impl<'a> Segments<'a> {
    /// Takes stock of `frame`, whose checksum to be completed is `partial`; none if it is not what
    /// `gso` says, or would become too many.
    pub fn new(frame: &'a [u8], gso: Gso, partial: PartialChecksum) -> Option<Segments<'a>> {
        let (around, headers) = match headers::is_tunnelled(frame, partial.start) {
            true => {
                let (around, headers) = headers::locate_within(frame, partial.start)?;
                (Some(around), headers)
            }
            false => (None, headers::locate(frame)?),
        };
        let kind = match (headers.tcp, headers.ipv6) {
            (true, false) => GsoKind::Tcp4,
            (true, true) => GsoKind::Tcp6,
            (false, false) => GsoKind::Udp4,
            (false, true) => GsoKind::Udp6,
        };
        let size = usize::from(gso.size);
        let payload = headers.end - headers.payload;
        if kind != gso.kind || size == 0 || headers.routed {
            return None;
        }
        let count = payload.div_ceil(size).max(1);
        let ecn = gso.ecn;
        (count <= SEGMENTS_MAX).then_some(Segments {
            frame,
            headers,
            around,
            size,
            count,
            ecn,
        })
    }

    /// How many there are, at least one.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Length of a segment's frame.
    pub fn frame_len(&self, index: usize) -> usize {
        self.headers.payload + self.payload(index).len()
    }

    /// The work left on each segment.
    pub fn offload(&self) -> Offload {
        match self.around {
            Some(_) => Offload::default(),
            None => Offload {
                checksum: Some(self.partial()),
                ..Offload::default()
            },
        }
    }

    fn partial(&self) -> PartialChecksum {
        let start = self.headers.l4 as u16;
        let offset = if self.headers.tcp {
            TCP_CHECKSUM
        } else {
            UDP_CHECKSUM
        } as u16;
        PartialChecksum { start, offset }
    }

    /// Writes a segment's frame to `out`, which is `frame_len(index)` bytes long.
    pub fn write(&self, index: usize, out: &mut [u8]) {
        let (headers, payload) = out.split_at_mut(self.headers.payload);
        headers.copy_from_slice(&self.frame[..self.headers.payload]);
        payload.copy_from_slice(self.payload(index));
        let l4_len = self.frame_len(index) - self.headers.l4;
        let (ip, l4) = headers[self.headers.l3..].split_at_mut(self.headers.l4 - self.headers.l3);
        if self.headers.ipv6 {
            put16(ip, 4, (ip.len() - 40 + l4_len) as u16);
        } else {
            fit_ipv4(index, l4_len, ip);
        }
        if self.headers.tcp {
            self.tcp(index, l4);
        } else {
            put16(l4, 4, l4_len as u16);
        }
        let field = if self.headers.tcp {
            TCP_CHECKSUM
        } else {
            UDP_CHECKSUM
        };
        let partial = pseudo_header(ip, self.headers.ipv6, self.headers.tcp, l4_len);
        l4[field..field + 2].copy_from_slice(&partial.to_ne_bytes());
        if let Some(around) = self.around {
            checksum::complete(out, self.partial());
            around.fit(index, out);
        }
    }

    fn payload(&self, index: usize) -> &'a [u8] {
        let start = self.headers.payload + index * self.size;
        &self.frame[start..(start + self.size).min(self.headers.end)]
    }

    /// Sequence number and flags of the TCP header.
    fn tcp(&self, index: usize, tcp: &mut [u8]) {
        let first = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        let sequence = first.wrapping_add((index * self.size) as u32);
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        if index + 1 < self.count {
            tcp[13] &= !(FIN | PSH);
        }
        if index > 0 && self.ecn {
            tcp[13] &= !CWR;
        }
    }
}

impl Around {
    /// Makes the outer headers those of a segment, which is complete within.
    fn fit(self, index: usize, frame: &mut [u8]) {
        let (headers, rest) = frame.split_at_mut(self.l4);
        let ip = &mut headers[self.l3..];
        match self.ipv6 {
            true => put16(ip, 4, (ip.len() - 40 + rest.len()) as u16),
            false => fit_ipv4(index, rest.len(), ip),
        }
        let (field, pseudo) = match self.udp {
            true => {
                put16(rest, 4, rest.len() as u16);
                let pseudo = pseudo_header(ip, self.ipv6, false, rest.len());
                (UDP_CHECKSUM, pseudo)
            }
            false => (GRE_CHECKSUM, 0),
        };
        if self.checksum {
            rest[field..field + 2].copy_from_slice(&pseudo.to_ne_bytes());
            let sum = match !checksum::fold(checksum::sum(rest, 0)) {
                0 => u16::MAX,
                sum => sum,
            };
            rest[field..field + 2].copy_from_slice(&sum.to_ne_bytes());
        }
    }
}

/// Length, identification and checksum of the IPv4 header.
fn fit_ipv4(index: usize, l4_len: usize, ip: &mut [u8]) {
    put16(ip, 2, (ip.len() + l4_len) as u16);
    put16(
        ip,
        4,
        u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(index as u16),
    );
    ip[10..12].fill(0);
    let sum = !checksum::fold(checksum::sum(ip, 0));
    ip[10..12].copy_from_slice(&sum.to_ne_bytes());
}

/// Puts the sum of the pseudo-header in a TCP or UDP packet that has a whole checksum or none.
pub(crate) fn start_checksum(frame: &mut [u8]) -> Option<PartialChecksum> {
    let found = headers::locate(frame).filter(|found| !found.routed)?;
    let offset = if found.tcp {
        TCP_CHECKSUM
    } else {
        UDP_CHECKSUM
    };
    let l4_len = found.end - found.l4;
    let partial = pseudo_header(&frame[found.l3..], found.ipv6, found.tcp, l4_len);
    frame[found.l4 + offset..][..2].copy_from_slice(&partial.to_ne_bytes());
    Some(PartialChecksum {
        start: found.l4 as u16,
        offset: offset as u16,
    })
}

/// The folded sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1), in the machine's order.
pub(crate) fn pseudo_header(ip: &[u8], ipv6: bool, tcp: bool, l4_len: usize) -> u16 {
    let addresses = if ipv6 { &ip[8..40] } else { &ip[12..20] };
    let protocol = u16::from(if tcp { TCP } else { UDP });
    let rest = u64::from(protocol.to_be()) + u64::from((l4_len as u16).to_be());
    checksum::fold(checksum::sum(addresses, rest))
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Offset of the checksum in the TCP header.
pub(crate) const TCP_CHECKSUM: usize = 16;

/// Offset of the checksum in the UDP header.
pub(crate) const UDP_CHECKSUM: usize = 6;

/// Offset of the checksum in the GRE header (RFC 2784 §2.1).
const GRE_CHECKSUM: usize = 4;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
/// Congestion window reduced, in the last byte of flags.
pub(crate) const CWR: u8 = 0x80;

/// Segments of one frame: a frame of 64 KiB at 128 bytes each, half of what the smallest MTU in
/// use (296, RFC 1144) gives. It bounds the work that one frame of a guest can cause.
const SEGMENTS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::super::headers::tests::frame;
    use super::*;

    fn gso(kind: GsoKind, size: u16) -> Gso {
        Gso {
            kind,
            size,
            ecn: true,
        }
    }

    /// Those of a frame whose transport header is where it is found first.
    fn segments(frame: &[u8], gso: Gso) -> Option<Segments<'_>> {
        let start = headers::locate(frame).map_or(34, |found| found.l4 as u16);
        Segments::new(frame, gso, PartialChecksum { start, offset: 16 })
    }

    fn cut(frame: &[u8], gso: Gso) -> Vec<Vec<u8>> {
        let segments = segments(frame, gso).unwrap();
        let partial = segments.offload().checksum.unwrap();
        (0..segments.count())
            .map(|index| {
                let mut out = vec![0; segments.frame_len(index)];
                segments.write(index, &mut out);
                assert!(checksum::complete(&mut out, partial));
                out
            })
            .collect()
    }

    /// Sum over pseudo-header, header and payload of a correct packet is all ones.
    fn verify(frame: &[u8]) {
        let found = headers::locate(frame).unwrap();
        assert_eq!(found.end, frame.len());
        let ip = &frame[found.l3..];
        let l4 = &frame[found.l4..];
        let pseudo = pseudo_header(ip, found.ipv6, found.tcp, l4.len());
        assert_eq!(checksum::fold(checksum::sum(l4, u64::from(pseudo))), 0xffff);
        if !found.ipv6 {
            assert_eq!(checksum::fold(checksum::sum(&ip[..20], 0)), 0xffff);
        }
    }

    #[test]
    fn cuts_tcp_and_keeps_every_byte() {
        for (ipv6, kind) in [(false, GsoKind::Tcp4), (true, GsoKind::Tcp6)] {
            for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
                let big = frame(tags, ipv6, TCP, 3001);
                let found = headers::locate(&big).unwrap();
                let parts = cut(&big, gso(kind, 1000));
                assert_eq!(parts.len(), 4);
                let mut payload = Vec::new();
                for (index, part) in parts.iter().enumerate() {
                    verify(part);
                    let tcp = &part[found.l4..];
                    let sequence = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
                    assert_eq!(sequence, 0xffff_fff0u32.wrapping_add(index as u32 * 1000));
                    assert_eq!(tcp[13], [0x90, 0x10, 0x10, 0x19][index]);
                    assert_eq!(part[..found.l3], big[..found.l3]);
                    payload.extend_from_slice(&part[found.payload..]);
                    if !ipv6 {
                        let id = headers::be16(part, found.l3 + 4).unwrap();
                        assert_eq!(id, 0xfffeu16.wrapping_add(index as u16));
                    }
                }
                assert_eq!(payload, big[found.payload..]);
            }
        }
    }

    #[test]
    fn keeps_cwr_where_it_is_not_of_rfc_3168() {
        let big = frame(&[], false, TCP, 3000);
        let parts = cut(
            &big,
            Gso {
                ecn: false,
                ..gso(GsoKind::Tcp4, 1000)
            },
        );
        assert!(parts.iter().all(|part| part[14 + 20 + 13] & CWR != 0));
    }

    #[test]
    fn cuts_udp_into_datagrams() {
        for (ipv6, kind) in [(false, GsoKind::Udp4), (true, GsoKind::Udp6)] {
            let big = frame(&[0x8100], ipv6, UDP, 2500);
            let parts = cut(&big, gso(kind, 1200));
            let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
            let header_len = big.len() - 2500;
            assert_eq!(
                lengths,
                [header_len + 1200, header_len + 1200, header_len + 100]
            );
            parts.iter().for_each(|part| verify(part));
        }
    }

    #[test]
    fn leaves_padding_out_and_a_short_frame_whole() {
        let mut padded = frame(&[], false, TCP, 1001);
        padded.extend([0xee; 7]);
        let parts = cut(&padded, gso(GsoKind::Tcp4, 1000));
        assert_eq!(parts[1].len(), 14 + 20 + 32 + 1);
        let whole = frame(&[], true, TCP, 0);
        let parts = cut(&whole, gso(GsoKind::Tcp6, 1000));
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0][..54 + 16], whole[..54 + 16]);
    }

    #[test]
    fn refuses_what_is_not_what_it_is_called_and_what_would_be_too_many() {
        let big = frame(&[], false, TCP, 3000);
        assert!(segments(&big, gso(GsoKind::Tcp6, 1000)).is_none());
        assert!(segments(&big, gso(GsoKind::Udp4, 1000)).is_none());
        assert!(segments(&big, gso(GsoKind::Tcp4, 0)).is_none());
        assert!(segments(&big, gso(GsoKind::Tcp4, 5)).is_none());
        assert!(segments(&big[..60], gso(GsoKind::Tcp4, 1000)).is_none());
    }

    /// A frame within UDP or GRE over IP, this much of a tunnel's header between.
    fn wrapped(ipv6: bool, protocol: u8, tunnel: &[u8], inner: &[u8]) -> Vec<u8> {
        let mut outer = frame(&[], ipv6, UDP, tunnel.len() + inner.len());
        let l4 = headers::locate(&outer).unwrap().l4;
        if protocol == GRE {
            outer.drain(l4..l4 + 8);
            let (proto, length) = if ipv6 { (20, 18) } else { (23, 16) };
            outer[proto] = GRE;
            let shorter = headers::be16(&outer, length).unwrap() - 8;
            put16(&mut outer, length, shorter);
        }
        let at = outer.len() - tunnel.len() - inner.len();
        outer[at..][..tunnel.len()].copy_from_slice(tunnel);
        outer[at + tunnel.len()..].copy_from_slice(inner);
        outer
    }

    const GRE: u8 = 47;
    const VXLAN: &[u8] = &[8, 0, 0, 0, 0, 0, 42, 0];
    /// With eight bytes of options.
    const GENEVE: &[u8] = &[2, 0, 0x65, 0x58, 0, 0, 42, 0, 0, 1, 2, 1, 1, 2, 3, 4];
    const GRE_PLAIN: &[u8] = &[0, 0, 0x65, 0x58];
    const GRE_KEYED: &[u8] = &[0xa0, 0, 0x65, 0x58, 0, 0, 0, 0, 0, 0, 0, 42];

    fn within(big: &[u8], tunnel: &[u8], inner: &[u8], kind: GsoKind) -> Option<Vec<Vec<u8>>> {
        let l4 = headers::locate(inner).unwrap().l4;
        let start = (big.len() - inner.len() + l4) as u16;
        assert!(big.len() - inner.len() >= tunnel.len());
        let segments = Segments::new(big, gso(kind, 1000), PartialChecksum { start, offset: 16 })?;
        assert_eq!(segments.offload(), Offload::default());
        let parts = (0..segments.count()).map(|index| {
            let mut out = vec![0; segments.frame_len(index)];
            segments.write(index, &mut out);
            out
        });
        Some(parts.collect())
    }

    #[test]
    fn cuts_tcp_within_tunnels_and_makes_the_outer_headers_fit() {
        for (protocol, tunnel) in [
            (UDP, VXLAN),
            (UDP, GENEVE),
            (GRE, GRE_PLAIN),
            (GRE, GRE_KEYED),
        ] {
            for (outer6, inner6, has_sum) in [
                (false, false, false),
                (false, true, true),
                (true, false, true),
                (true, true, false),
            ] {
                let inner = frame(&[], inner6, TCP, 3001);
                let mut big = wrapped(outer6, protocol, tunnel, &inner);
                let at = big.len() - inner.len();
                let l4 = if outer6 { 54 } else { 34 };
                if protocol == UDP && has_sum {
                    put16(&mut big, l4 + UDP_CHECKSUM, 0xbad);
                }
                let kind = if inner6 { GsoKind::Tcp6 } else { GsoKind::Tcp4 };
                let parts = within(&big, tunnel, &inner, kind).expect("a tunnel");
                assert_eq!(parts.len(), 4);
                let mut payload = Vec::new();
                for (index, part) in parts.iter().enumerate() {
                    verify(&part[at..]);
                    let inner_part = &part[at..];
                    let found = headers::locate(inner_part).unwrap();
                    payload.extend_from_slice(&inner_part[found.payload..]);
                    let own = (l4 + 8).min(at);
                    assert_eq!(part[own..at], big[own..at], "the tunnel's own header");
                    let total = (part.len() - if outer6 { 54 } else { 14 }) as u16;
                    let length_at = if outer6 { 18 } else { 16 };
                    assert_eq!(headers::be16(part, length_at), Some(total));
                    if !outer6 {
                        assert_eq!(checksum::fold(checksum::sum(&part[14..34], 0)), 0xffff);
                        let id = headers::be16(part, 18).unwrap();
                        assert_eq!(id, 0xfffe_u16.wrapping_add(index as u16));
                    }
                    let carried = &part[l4..];
                    if protocol == UDP {
                        assert_eq!(headers::be16(carried, 4), Some(carried.len() as u16));
                        let pseudo = pseudo_header(&part[14..], outer6, false, carried.len());
                        let sum = checksum::fold(checksum::sum(carried, pseudo.into()));
                        let field = headers::be16(carried, 6).unwrap();
                        assert_eq!((field != 0, sum == 0xffff), (has_sum, has_sum));
                    } else if tunnel == GRE_KEYED {
                        assert_eq!(checksum::fold(checksum::sum(carried, 0)), 0xffff);
                    }
                }
                let found = headers::locate(&inner).unwrap();
                assert_eq!(payload, inner[found.payload..]);
            }
        }
    }

    #[test]
    fn refuses_what_is_within_no_tunnel_that_it_knows() {
        let inner = frame(&[], false, TCP, 3000);
        let tcp4 = GsoKind::Tcp4;
        // Numbered; IP without Ethernet; four bytes that no header has.
        for (protocol, tunnel) in [
            (GRE, &[0x10, 0, 0x65, 0x58, 0, 0, 0, 1][..]),
            (GRE, &[0, 0, 8, 0]),
            (UDP, &[8, 0, 0, 0, 0, 0, 42, 0, 0, 0, 0, 0]),
        ] {
            let big = wrapped(false, protocol, tunnel, &inner);
            assert_eq!(within(&big, tunnel, &inner, tcp4), None, "{tunnel:x?}");
        }
        let big = wrapped(false, UDP, VXLAN, &inner);
        for len in 0..big.len() {
            let start = 50 + 34;
            let partial = PartialChecksum { start, offset: 16 };
            assert!(Segments::new(&big[..len], gso(tcp4, 1000), partial).is_none());
        }
    }
}
