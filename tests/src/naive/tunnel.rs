//! Tunnels over IPv4 as a naive switch has them: VXLAN (RFC 7348) and Geneve (RFC 8926) without
//! options. The UDP source port tells flows apart as the switch likes, so it is left out of what is
//! compared ([`without_port`]).

use flowtable::Field;

use super::wire;

/// How packets are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// VXLAN.
    Vxlan,
    /// Geneve.
    Geneve,
}

impl Kind {
    /// UDP port, and the header with the number of a network.
    fn header(self, network: u32) -> (u16, [u8; 8]) {
        let [_, a, b, c] = network.to_be_bytes();
        match self {
            Kind::Vxlan => (4789, [8, 0, 0, 0, a, b, c, 0]),
            Kind::Geneve => (6081, [0, 0, 0x65, 0x58, a, b, c, 0]),
        }
    }
}

/// An address on the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Ethernet address.
    pub mac: [u8; 6],
    /// IPv4 address.
    pub address: [u8; 4],
}

/// A frame as it goes to another node. Congestion is told outside, too (RFC 6040 §4.1).
pub fn wrap(kind: Kind, from: Node, to: Node, network: u32, inner: &[u8]) -> Vec<u8> {
    let (port, header) = kind.header(network);
    let udp_len = (8 + header.len() + inner.len()) as u16;
    let congestion = wire::value(inner, Field::IpEcn) as u8;
    let mut outer = [to.mac, from.mac].concat();
    outer.extend([0x08, 0x00, 0x45, congestion]);
    outer.extend((20 + udp_len).to_be_bytes());
    // Not to be fragmented.
    outer.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    outer.extend([from.address, to.address].concat());
    outer.extend([0, port, udp_len, 0].map(u16::to_be_bytes).concat());
    outer.extend(header);
    outer.extend(inner);
    wire::fix_checksums(&mut outer);
    outer
}

/// Of a frame as another node sent it: how it is wrapped, from whose address, the network and the
/// frame within.
pub fn unwrap(outer: &[u8], to: Node) -> Option<(Kind, [u8; 4], u32, Vec<u8>)> {
    let datagram = wire::datagram(outer)?;
    let is_ours =
        outer[..6] == to.mac && datagram.destination == u128::from(u32::from_be_bytes(to.address));
    let (udp, rest) = datagram.transport.split_at_checked(8)?;
    let (header, inner) = rest.split_at_checked(8)?;
    let network = u32::from_be_bytes([0, header[4], header[5], header[6]]);
    let kinds = [Kind::Vxlan, Kind::Geneve].into_iter();
    let mut kinds = kinds.filter(|kind| {
        let (port, expected) = kind.header(network);
        udp[2..4] == port.to_be_bytes() && header == expected
    });
    let kind = kinds.next().filter(|_| is_ours && datagram.proto == 17)?;
    let source = (datagram.source as u32).to_be_bytes();
    Some((kind, source, network, inner.to_vec()))
}

/// Blanks the source port of a wrapped frame.
pub fn without_port(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let port = wire::read(&bytes, Field::UdpDst);
    if [Some(4789), Some(6081)].contains(&port) && bytes.len() > UDP + 2 {
        bytes[UDP..UDP + 2].fill(0);
    }
    bytes
}

/// Where UDP begins behind Ethernet without a tag and IPv4 without options.
const UDP: usize = 14 + 20;
