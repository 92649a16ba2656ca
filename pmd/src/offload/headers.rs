//! Finds the layer 3 and 4 headers of a frame that has offload work left.
//!
//! Smaller than the flow parser and stricter: what it does not find whole, unfragmented and inside
//! the frame it does not find at all.

/// Where the headers of a TCP or UDP packet are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Headers {
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of the TCP or UDP header.
    pub l4: usize,
    /// Offset of what follows it, at most the frame's length.
    pub payload: usize,
    /// IP version 6, else 4.
    pub ipv6: bool,
    /// TCP, else UDP.
    pub tcp: bool,
    /// An IPv6 extension header lies between.
    pub extended: bool,
    /// One of them is a routing header: the pseudo-header then has an address out of it.
    pub routed: bool,
    /// Nothing but VLAN tags lies between Ethernet and IP: what kernels and guests can cut.
    pub plain: bool,
    /// End of the IP packet in the frame: what follows is padding.
    pub end: usize,
}

/// The headers of `frame`, if it is an unfragmented TCP or UDP packet.
pub(crate) fn locate(frame: &[u8]) -> Option<Headers> {
    let Below {
        l3,
        ethertype,
        plain,
    } = below(frame)?;
    let Ip {
        l4,
        protocol,
        end,
        routed,
    } = match ethertype {
        0x0800 => ipv4(frame, l3)?,
        0x86dd => ipv6(frame, l3)?,
        _ => return None,
    };
    let ipv6 = ethertype == 0x86dd;
    let header_len = match protocol {
        TCP => usize::from(frame.get(l4 + 12)? >> 4) * 4,
        UDP => 8,
        _ => return None,
    };
    let tcp = protocol == TCP;
    if (tcp && header_len < 20) || l4 + header_len > end {
        return None;
    }
    let extended = ipv6 && l4 != l3 + 40;
    Some(Headers {
        l3,
        l4,
        payload: l4 + header_len,
        ipv6,
        tcp,
        extended,
        routed,
        plain,
        end,
    })
}

/// Whether what starts at `start` lies within a tunnel over UDP or GRE: kernels hand over a
/// super-frame that they wrapped with the work that is left on the packet within.
pub(crate) fn is_tunnelled(frame: &[u8], start: u16) -> bool {
    let ip = below(frame).and_then(|below| match below.ethertype {
        0x0800 => ipv4(frame, below.l3),
        0x86dd => ipv6(frame, below.l3),
        _ => None,
    });
    let start = usize::from(start);
    let holds = |ip: &Ip| ip.l4 + WITHIN_MIN <= start && start + TCP_MIN <= ip.end;
    ip.is_some_and(|ip| matches!(ip.protocol, UDP | GRE) && holds(&ip))
}

/// The outer headers of a packet within a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Around {
    /// Offset of the outer IP header.
    pub l3: usize,
    /// Offset of UDP or GRE.
    pub l4: usize,
    /// IP version 6, else 4.
    pub ipv6: bool,
    /// UDP, else GRE.
    pub udp: bool,
    /// There is a checksum over it and all that follows.
    pub checksum: bool,
}

/// The headers of the TCP or UDP packet whose transport header starts at `start`, within VXLAN,
/// Geneve or GRE, and what lies around it.
pub(crate) fn locate_within(frame: &[u8], start: u16) -> Option<(Around, Headers)> {
    let Below { l3, ethertype, .. } = below(frame)?;
    let (ip, ipv6) = match ethertype {
        0x0800 => (ipv4(frame, l3)?, false),
        0x86dd => (ipv6(frame, l3)?, true),
        _ => return None,
    };
    let l4 = ip.l4;
    let (inner, checksum) = match ip.protocol {
        UDP => (within_udp(frame, l4, start)?, be16(frame, l4 + 6)? != 0),
        GRE => within_gre(frame, l4)?,
        _ => return None,
    };
    let found = locate(frame.get(inner..ip.end)?)?;
    let shifted = Headers {
        l3: found.l3 + inner,
        l4: found.l4 + inner,
        payload: found.payload + inner,
        end: found.end + inner,
        ..found
    };
    let around = Around {
        l3,
        l4,
        ipv6,
        udp: ip.protocol == UDP,
        checksum,
    };
    let is_it = !ip.routed && shifted.l4 == usize::from(start);
    is_it.then_some((around, shifted))
}

/// Where the frame within a UDP tunnel starts: behind VXLAN's header or Geneve's, whichever has the
/// transport header that is to be there.
fn within_udp(frame: &[u8], l4: usize, start: u16) -> Option<usize> {
    let header = l4 + 8;
    let options = usize::from(frame.get(header)? & 0x3f) * 4;
    let mut starts = [header + 8, header + 8 + options].into_iter();
    starts.find(|inner| {
        let found = frame.get(*inner..).and_then(locate);
        found.is_some_and(|found| found.l4 + inner == usize::from(start))
    })
}

/// Where the frame within GRE starts (RFC 2784 §2.1, RFC 2890 §2), and whether there is a checksum;
/// none if packets are numbered, since segments have one number each.
fn within_gre(frame: &[u8], l4: usize) -> Option<(usize, bool)> {
    const CHECKSUM: u16 = 0x8000;
    const KEY: u16 = 0x2000;
    let (flags, protocol) = (be16(frame, l4)?, be16(frame, l4 + 2)?);
    if flags & !(CHECKSUM | KEY) != 0 || protocol != 0x6558 {
        return None;
    }
    let words = (flags & (CHECKSUM | KEY)).count_ones() as usize;
    Some((l4 + 4 + 4 * words, flags & CHECKSUM != 0))
}

/// What lies before the IP header.
struct Below {
    l3: usize,
    ethertype: u16,
    plain: bool,
}

/// Passes over VLAN tags, MPLS labels (RFC 3032) and the header of a provider backbone
/// (IEEE 802.1Q §9.7).
fn below(frame: &[u8]) -> Option<Below> {
    let (mut l3, mut ethertype, mut plain) = (14, be16(frame, 12)?, true);
    for _ in 0..SHIMS_MAX {
        match ethertype {
            0x8100 | 0x88a8 | 0x9100 => {
                ethertype = be16(frame, l3 + 2)?;
                l3 += 4;
            }
            0x88e7 => {
                ethertype = be16(frame, l3 + 16)?;
                l3 += 18;
                plain = false;
            }
            0x8847 | 0x8848 => {
                let last = frame.get(l3 + 2)? & 1 != 0;
                l3 += 4;
                plain = false;
                match (last, frame.get(l3)? >> 4) {
                    (false, _) => {}
                    (true, 4) => ethertype = 0x0800,
                    (true, 6) => ethertype = 0x86dd,
                    (true, _) => return None,
                }
            }
            _ => break,
        }
    }
    Some(Below {
        l3,
        ethertype,
        plain,
    })
}

/// What an IP header says of what follows.
struct Ip {
    l4: usize,
    protocol: u8,
    end: usize,
    routed: bool,
}

fn ipv4(frame: &[u8], l3: usize) -> Option<Ip> {
    let first = *frame.get(l3)?;
    let header_len = usize::from(first & 15) * 4;
    let fragment = be16(frame, l3 + 6)?;
    let end = l3 + usize::from(be16(frame, l3 + 2)?);
    let protocol = *frame.get(l3 + 9)?;
    let l4 = l3 + header_len;
    let sound = first >> 4 == 4 && header_len >= 20 && fragment & 0x3fff == 0;
    (sound && l4 <= end && end <= frame.len()).then_some(Ip {
        l4,
        protocol,
        end,
        routed: false,
    })
}

fn ipv6(frame: &[u8], l3: usize) -> Option<Ip> {
    let mut protocol = *frame.get(l3 + 6)?;
    let end = l3 + 40 + usize::from(be16(frame, l3 + 4)?);
    if frame[l3] >> 4 != 6 || end > frame.len() {
        return None;
    }
    let (mut l4, mut routed) = (l3 + 40, false);
    for _ in 0..EXTENSIONS_MAX {
        if !matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION) {
            break;
        }
        routed |= protocol == ROUTING;
        protocol = *frame.get(l4)?;
        l4 += 8 + usize::from(*frame.get(l4 + 1)?) * 8;
    }
    (l4 <= end).then_some(Ip {
        l4,
        protocol,
        end,
        routed,
    })
}

/// Two bytes, most significant first.
pub(crate) fn be16(frame: &[u8], at: usize) -> Option<u16> {
    let bytes = frame.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;

/// Tags, labels and backbone headers passed over: two tags of the sender's own, and what rules
/// may push on top of them.
const SHIMS_MAX: usize = 8;

/// IPv6 extension headers passed over: RFC 8200 §4.1 has at most four that may lie here.
const EXTENSIONS_MAX: usize = 4;

/// Generic routing encapsulation (RFC 2784).
const GRE: u8 = 47;
/// The least that lies between the start of a tunnel's header and TCP within: four bytes of GRE,
/// an Ethernet header, one of IPv4.
const WITHIN_MIN: usize = 4 + 14 + 20;
/// Length of a TCP header without options.
const TCP_MIN: usize = 20;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An Ethernet frame with these tags, IP version, layer 4 protocol, and payload length.
    pub(crate) fn frame(tags: &[u16], ipv6: bool, protocol: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        for tpid in tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend([0x20, 0x05]);
        }
        let l4_len = if protocol == TCP { 32 } else { 8 } + payload;
        if ipv6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((l4_len as u16).to_be_bytes());
            frame.extend([protocol, 64]);
            frame.extend((1..=32u8).map(|i| i * 7));
        } else {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((20 + l4_len as u16).to_be_bytes());
            frame.extend([
                0xff, 0xfe, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
            ]);
        }
        frame.extend([0xc0, 1, 0, 80]);
        match protocol {
            TCP => {
                frame.extend(0xffff_fff0u32.to_be_bytes());
                frame.extend(7u32.to_be_bytes());
                // Twelve bytes of options; FIN, PSH, ACK and CWR.
                frame.extend([0x80, 0x99, 1, 0, 0, 0, 0, 0]);
                frame.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
            }
            _ => {
                frame.extend((l4_len as u16).to_be_bytes());
                frame.extend([0, 0]);
            }
        }
        frame.extend((0..payload).map(|i| (i * 31 % 253) as u8));
        frame
    }

    #[test]
    fn finds_headers_behind_tags() {
        for (tags, l3) in [(&[][..], 14), (&[0x8100], 18), (&[0x88a8, 0x8100], 22)] {
            let found = locate(&frame(tags, false, TCP, 100)).unwrap();
            assert_eq!((found.l3, found.l4, found.payload), (l3, l3 + 20, l3 + 52));
            let found = locate(&frame(tags, true, UDP, 100)).unwrap();
            assert_eq!((found.l3, found.l4, found.payload), (l3, l3 + 40, l3 + 48));
            assert!(found.ipv6 && !found.tcp && !found.extended);
        }
    }

    #[test]
    fn finds_headers_behind_ipv6_options() {
        let mut packet = frame(&[], true, TCP, 10);
        packet[20] = DESTINATION;
        packet.splice(54..54, [TCP, 1].into_iter().chain([0; 14]));
        let length = be16(&packet, 18).unwrap() + 16;
        packet[18..20].copy_from_slice(&length.to_be_bytes());
        let found = locate(&packet).unwrap();
        assert!(found.extended && !found.routed);
        assert_eq!(found.l4, 70);
        packet[20] = ROUTING;
        assert!(locate(&packet).unwrap().routed);
    }

    #[test]
    fn finds_headers_behind_labels_and_backbone_headers() {
        let inner = frame(&[], true, UDP, 20);
        let plain = locate(&inner).unwrap();
        assert!(plain.plain);
        let mut labelled = inner.clone();
        labelled.splice(12..14, [0x88, 0x47, 0, 1, 0, 64, 0, 2, 1, 64]);
        let found = locate(&labelled).unwrap();
        assert_eq!(
            found,
            Headers {
                plain: false,
                ..moved(plain, 8)
            }
        );
        let mut carried = inner.clone();
        carried.splice(
            0..0,
            [9, 9, 9, 9, 9, 9, 8, 8, 8, 8, 8, 8, 0x88, 0xe7, 0, 0, 0, 7],
        );
        let found = locate(&carried).unwrap();
        assert_eq!(
            found,
            Headers {
                plain: false,
                ..moved(plain, 18)
            }
        );
        labelled[20] = 0;
        assert_eq!(locate(&labelled), None);
    }

    fn moved(found: Headers, by: usize) -> Headers {
        let Headers {
            l3,
            l4,
            payload,
            end,
            ..
        } = found;
        Headers {
            l3: l3 + by,
            l4: l4 + by,
            payload: payload + by,
            end: end + by,
            ..found
        }
    }

    #[test]
    fn finds_nothing_in_what_is_cut_short_at_any_byte() {
        for ipv6 in [false, true] {
            let packet = frame(&[0x8100], ipv6, TCP, 3);
            for len in 0..packet.len() {
                assert_eq!(locate(&packet[..len]), None, "{len}");
            }
        }
    }

    #[test]
    fn finds_nothing_in_fragments_and_lies() {
        let good = frame(&[], false, TCP, 100);
        for (at, value) in [
            (20, 0x20),
            (21, 1),
            (14, 0x44),
            (14, 0x65),
            (46, 0x40),
            (46, 0xf0),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(
                locate(&bad).is_none_or(|found| found.payload <= found.end),
                "{at} {value}"
            );
            assert_eq!(
                locate(&bad).is_some(),
                (at, value) == (46, 0xf0),
                "{at} {value}"
            );
        }
    }
}
