//! Tunnel headers: what came with a packet that another node wrapped, and the block of headers
//! that wraps one of ours.
//!
//! Called by `vswitch`: [`Outer::decode`] finds addresses and carrier (UDP or GRE) of a packet for
//! one of the switch's hosts, [`Inner::decode`] what the tunnel's own header says; [`Header`] is
//! made once per destination and key, and completed for each packet. VXLAN is RFC 7348 §5, Geneve
//! RFC 8926 §3.4 and §3.5, GRE RFC 2784 §2.1 with RFC 2890 §2.
//!
//! Checksums over payload are the caller's: here is said where they are.

mod entropy;
mod header;
mod inner;
mod outer;

pub use entropy::{Within, entropy, tos_and_ttl};
pub use header::{Completion, Header, Template};
pub use inner::{Inner, Options};
pub use outer::{Carrier, Outer};

/// Protocol of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// VXLAN over UDP.
    Vxlan,
    /// Geneve over UDP.
    Geneve,
    /// GRE with Ethernet frames.
    Gre,
}

impl Kind {
    /// The UDP port that IANA gave it, 0 for GRE.
    pub const fn port(self) -> u16 {
        match self {
            Kind::Vxlan => 4789,
            Kind::Geneve => 6081,
            Kind::Gre => 0,
        }
    }

    /// The largest key.
    pub const fn key_max(self) -> u64 {
        match self {
            Kind::Vxlan | Kind::Geneve => 0xff_ffff,
            Kind::Gre => 0xffff_ffff,
        }
    }
}

/// What is wrong with a packet that came by a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A header, or the frame within, is cut short, or lengths contradict each other.
    Length,
    /// Flags, version or protocol that nobody here understands.
    Header,
    /// A critical option that nobody here understands (RFC 8926 §3.5).
    Option,
}

/// The outer source and destination port of UDP tunnels are within what RFC 6335 §6 leaves to
/// dynamic use, so that they meet no service.
const PORT_FIRST: u16 = 49152;

/// Ethernet frames within GRE and Geneve (Transparent Ethernet Bridging).
const TEB: u16 = 0x6558;
/// Length of an Ethernet header.
const ETHERNET_LEN: usize = 14;
const UDP_LEN: usize = 8;
const IPV4: u16 = crate::eth_type::IPV4;
const IPV6: u16 = crate::eth_type::IPV6;
const UDP: u8 = crate::ip_proto::UDP;
const GRE: u8 = 47;

/// Bits of GRE's first two bytes (RFC 2784 §2.1, RFC 2890 §2).
const GRE_CHECKSUM: u16 = 0x8000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
/// The only bit of VXLAN's flags that says something: there is a VNI.
const VXLAN_VNI: u32 = 0x0800_0000;

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*bytes))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
