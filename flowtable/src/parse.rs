//! Header bytes to flow key, in one pass.
//!
//! Called by the workers for every packet and by control for packets that a controller or an
//! operator hands in. Parsing never fails: it stops at the first header that it cannot trust
//! (cut short, wrong version, a length that lies) and what it has not reached reads as 0. The
//! [`Layout`] tells how far it came. What one header says of itself is believed only as far as
//! the header around it reaches, so nothing is ever read beyond the frame or beyond the network
//! header's total length: padding behind it is not taken for a transport header.
//!
//! Checksums are not verified here: the hosts do that, and a frame that came from a guest with
//! offloads on has none yet. One file per layer: `ethernet`, `network`, `extension` (IPv6),
//! `transport`, `nd`; and `plain` for the first three of most frames at once.

use crate::{FlowKey, FlowMask};

pub(crate) mod bytes;
mod ethernet;
mod extension;
mod nd;
mod network;
mod plain;
mod transport;

/// Where the headers of a frame lie, as far as they could be trusted. An offset of 0 says that
/// there is no such header: none can start there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Offset of what follows the Ethernet type: MPLS label stack, PBB service tag, network header
    /// or unknown payload. The Ethernet type that the key tells is in the two bytes before (for
    /// 802.2 without SNAP there is the length instead). 0 if the Ethernet header is cut short.
    pub l2_5: u16,
    /// Offset of the network header (ARP, IPv4, IPv6); where it is, it is whole.
    pub l3: u16,
    /// Offset of the transport header (TCP, UDP, SCTP, ICMP, ICMPv6); where it is, its fixed part
    /// is whole. A later fragment has none.
    pub l4: u16,
    /// End of the payload: of the IP datagram where there is one, else of the frame. What follows
    /// is padding.
    pub end: u16,
}

/// How much of a packet must be parsed to know some bits of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Nothing: they are metadata.
    #[default]
    Nothing,
    /// What [`parse_link`] reads.
    Link,
    /// What [`parse_network`] reads.
    Network,
    /// All that [`parse`] reads.
    All,
}

impl Depth {
    /// How deep to parse for the bits of a mask.
    pub fn of(mask: &FlowMask) -> Depth {
        let FlowMask(mut rest) = *mask;
        rest.words_mut()[..FlowKey::HEADER_WORD].fill(0);
        if rest == FlowKey::default() {
            return Depth::Nothing;
        }
        let rest = FlowKey {
            eth_dst: 0,
            eth_src: 0,
            vlan_tci: 0,
            vlan_tpid: 0,
            inner_vlan_tci: 0,
            inner_vlan_tpid: 0,
            eth_type: 0,
            ..rest
        };
        if rest == FlowKey::default() {
            return Depth::Link;
        }
        let rest = FlowKey {
            ipv6_exthdr: 0,
            ip_proto: 0,
            ip_tos: 0,
            ip_ttl: 0,
            ip_frag: 0,
            mpls: 0,
            pbb_isid: 0,
            ipv4_src: 0,
            ipv4_dst: 0,
            ipv6_src: [0; 2],
            ipv6_dst: [0; 2],
            ipv6_flabel: 0,
            arp_op: 0,
            ..rest
        };
        match rest == FlowKey::default() {
            true => Depth::Network,
            false => Depth::All,
        }
    }
}

/// Longest frame that is looked at: offsets have 16 bits, and no IP datagram is longer.
pub const FRAME_LEN_MAX: usize = 65_535;

/// Parses a frame that starts with its Ethernet header. Writes every header word of `key`, from
/// `eth_dst` on, and leaves the metadata before them alone. Bytes from [`FRAME_LEN_MAX`] on are
/// ignored.
pub fn parse(frame: &[u8], key: &mut FlowKey) -> Layout {
    key.clear_headers();
    parse_to::<true>(frame, key)
}

/// Parses a frame to the end of its network header and of the IPv6 extension headers: all that
/// [`parse`] reads but the transport header and what is in it, and the hardware addresses of ARP.
/// What else the key tells of headers is of no meaning after it, and the layout tells of no
/// transport header.
#[inline(always)]
pub fn parse_network(frame: &[u8], key: &mut FlowKey) -> Layout {
    key.clear_network();
    parse_to::<false>(frame, key)
}

#[inline(always)]
fn parse_to<const TRANSPORT: bool>(frame: &[u8], key: &mut FlowKey) -> Layout {
    let frame = frame.get(..FRAME_LEN_MAX).unwrap_or(frame);
    let Some((payload, mut layout)) = plain::parse(frame, key) else {
        return parse_any::<TRANSPORT>(frame, key);
    };
    if TRANSPORT {
        transport::parse(payload, key, &mut layout);
    }
    layout
}

/// Parses a frame of any kind, whose key has no header words yet.
fn parse_any<const TRANSPORT: bool>(frame: &[u8], key: &mut FlowKey) -> Layout {
    let mut layout = Layout {
        end: frame.len() as u16,
        ..Layout::default()
    };
    if let Some((rest, at)) = ethernet::parse(frame, key) {
        layout.l2_5 = at as u16;
        layout.end = (at + rest.len()) as u16;
        if let Some(payload) = network::parse(rest, at, key, &mut layout)
            && TRANSPORT
        {
            transport::parse(payload, key, &mut layout);
        }
    }
    layout
}

/// Parses a frame as far as its Ethernet type alone: addresses, VLAN tags and that type, as
/// [`parse`] does. What else the key tells of headers is of no meaning after it.
#[inline(always)]
pub fn parse_link(frame: &[u8], key: &mut FlowKey) {
    if !ethernet::parse_plain(frame, key) {
        key.clear_link();
        let frame = frame.get(..FRAME_LEN_MAX).unwrap_or(frame);
        let _ = ethernet::parse(frame, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Field;

    #[test]
    fn depth_follows_the_bits() {
        let depth = |fields: &[Field]| {
            let mut mask = FlowMask::default();
            fields.iter().for_each(|field| mask.unite(&field.mask()));
            Depth::of(&mask)
        };
        assert_eq!(depth(&[]), Depth::Nothing);
        assert_eq!(depth(&[Field::InPort, Field::Metadata]), Depth::Nothing);
        let link = [Field::EthDst, Field::EthSrc, Field::EthType, Field::VlanVid];
        for field in link {
            assert_eq!(depth(&[Field::InPort, field]), Depth::Link);
        }
        for field in [
            Field::IpProto,
            Field::IpFrag,
            Field::MplsLabel,
            Field::ArpOp,
            Field::Ipv6Dst,
        ] {
            assert_eq!(depth(&[Field::EthDst, field]), Depth::Network);
        }
        for field in [
            Field::UdpDst,
            Field::TcpFlags,
            Field::ArpSha,
            Field::NdTarget,
        ] {
            assert_eq!(depth(&[Field::Ipv4Dst, field]), Depth::All);
        }
    }
}
