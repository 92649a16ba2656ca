//! Tunnels between the switch under test and other nodes, as a compute node of an overlay has them:
//! a port for each node, networks told apart by number; the underlay is a bridge of its own whose
//! local port has the node's address.

use std::net::Ipv4Addr;

use tests::frame;

use super::frames::{Mac, mac};

/// Tunnels of a kind, and which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnels {
    /// What they are.
    pub kind: Kind,
    /// Whether packets come by them, else they leave by them.
    pub unwraps: bool,
}

/// How packets are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RFC 7348.
    Vxlan,
    /// RFC 8926, without options.
    Geneve,
}

impl Kind {
    /// The type of a port, in all switches.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Vxlan => "vxlan",
            Kind::Geneve => "geneve",
        }
    }

    /// UDP port, and the header with the number of a network.
    fn header(self, network: u32) -> (u16, [u8; 8]) {
        let [_, a, b, c] = network.to_be_bytes();
        match self {
            Kind::Vxlan => (4789, [0x08, 0, 0, 0, a, b, c, 0]),
            Kind::Geneve => (6081, [0, 0, 0x65, 0x58, a, b, c, 0]),
        }
    }

    /// A frame as a node sends it, on its way by the underlay. Flows differ in the source port.
    pub fn wrapped(self, node: u32, network: u32, flow: u16, inner: &[u8]) -> Vec<u8> {
        let (port, header) = self.header(network);
        let packet = frame::udp(0xc000 | flow, port, &[&header, inner].concat());
        let (from, to) = (node_address(node), OWN_ADDRESS);
        let packet = packet.ipv4(17, from.octets(), to.octets()).typed(0x0800);
        packet.addresses(own_mac(), node_mac(node)).0
    }
}

impl Tunnels {
    /// Number of the port that is in the underlay's bridge.
    pub fn outer_port(self) -> usize {
        if self.unwraps { 1 } else { 2 }
    }
}

/// OpenFlow port of the tunnel to a node.
pub fn node_port(node: u32) -> u32 {
    FIRST_PORT + node
}

/// A node's address.
pub fn node_address(node: u32) -> Ipv4Addr {
    (u32::from(OWN_ADDRESS) + 1 + node).into()
}

/// A node's Ethernet address.
pub fn node_mac(node: u32) -> Mac {
    mac(0xf0, node)
}

/// The Ethernet address of the switch under test.
pub fn own_mac() -> Mac {
    mac(0xf1, 1)
}

/// Its address; the underlay is a network of 24 bits.
pub const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 1);
/// The bridge of the underlay, and its local port.
pub const BRIDGE: &str = "br-phy";
/// Other nodes.
pub const NODES: u32 = 4;
const FIRST_PORT: u32 = 10;
