//! Frames of the scenarios, and numbers that look drawn at random and are the same in every run.

use std::net::{Ipv4Addr, Ipv6Addr};

use tests::frame;

/// Ethernet address.
pub type Mac = [u8; 6];

/// A UDP packet, before it has an IP header.
#[derive(Clone, Copy, Debug)]
pub struct Udp {
    /// Ethernet source.
    pub from: Mac,
    /// Ethernet destination.
    pub to: Mac,
    /// VLAN, if tagged.
    pub vlan: Option<u16>,
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Bytes on the wire with the check sequence, as frames are counted; at least what fits.
    pub wire_bytes: usize,
}

impl Default for Udp {
    fn default() -> Udp {
        Udp {
            from: mac(0xff, 1),
            to: mac(0xfe, 1),
            vlan: None,
            source: 4096,
            destination: 8192,
            wire_bytes: SMALLEST,
        }
    }
}

impl Udp {
    /// The frame, over IPv4.
    pub fn ipv4(&self, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
        let payload = self.payload(20);
        let packet = frame::udp(self.source, self.destination, &payload);
        self.framed(packet.ipv4(17, from.octets(), to.octets()).typed(0x0800))
    }

    /// The frame, over IPv6.
    pub fn ipv6(&self, from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
        let payload = self.payload(40);
        let packet = frame::udp(self.source, self.destination, &payload);
        self.framed(packet.ipv6(17, from.octets(), to.octets()).typed(0x86dd))
    }

    fn payload(&self, ip_header: usize) -> Vec<u8> {
        let tag = if self.vlan.is_some() { 4 } else { 0 };
        let headers = 14 + tag + ip_header + 8;
        vec![0; (self.wire_bytes - CHECK_SEQUENCE).saturating_sub(headers)]
    }

    fn framed(&self, packet: frame::Frame) -> Vec<u8> {
        let tagged = match self.vlan {
            Some(vlan) => packet.tag(0x8100, vlan),
            None => packet,
        };
        tagged.addresses(self.to, self.from).0
    }
}

/// The Ethernet address of a number in a family of addresses.
pub fn mac(family: u8, number: u32) -> Mac {
    let [_, a, b, c] = number.to_be_bytes();
    [2, 0, family, a, b, c]
}

/// That address as text.
pub fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// A number that depends on this one and looks random (splitmix64).
pub fn random(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// A prefix of an address with the rest drawn by `seed`.
pub fn within(prefix: u32, length: u32, seed: u64) -> u32 {
    prefix | random(seed) as u32 & !mask(length)
}

/// An IPv6 address in 2001:db8::/32 by the 32 bits that follow, and the interface.
pub fn ipv6(net: u32, interface: u64) -> Ipv6Addr {
    let bits = 0x2001_0db8_u128 << 96 | u128::from(net) << 64 | u128::from(interface);
    bits.into()
}

/// A mask of so many leading bits.
pub fn mask(length: u32) -> u32 {
    u32::MAX.checked_shl(32 - length).unwrap_or(0)
}

/// Each of `count` frames as often as any other, neighbours unrelated, at least `ORDER_MIN` long.
pub fn shuffled(count: usize) -> Vec<u32> {
    let rounds = ORDER_MIN.div_ceil(count);
    let mut order = Vec::with_capacity(rounds * count);
    for round in 0..rounds as u64 {
        let start = order.len();
        order.extend(0..count as u32);
        for place in (1..count).rev() {
            let other = random(round << 32 | place as u64) as usize % (place + 1);
            order.swap(start + place, start + other);
        }
    }
    order
}

/// The smallest frame of Ethernet.
pub const SMALLEST: usize = 64;
/// A frame of middle size, as IMIX has it.
pub const MIDDLE: usize = 594;
/// The largest frame of 1,500 bytes of IP, without a tag.
pub const LARGEST: usize = 1518;
const CHECK_SEQUENCE: usize = 4;
/// So that the generator sends long runs.
const ORDER_MIN: usize = 8192;
