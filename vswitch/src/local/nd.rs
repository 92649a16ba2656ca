//! Neighbour solicitation and advertisement (RFC 4861 §4.3, §4.4, §7).

use std::net::Ipv6Addr;

use flowtable::{FlowKey, eth_type, icmpv6_type, ip_proto};

use super::frame::{Tag, ethernet, icmpv6};

/// One of the two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Whether it solicits; else it advertises.
    pub solicits: bool,
    /// Who sends it; unspecified while a host looks whether its address is taken.
    pub source: Ipv6Addr,
    /// Whose Ethernet address it is about.
    pub target: Ipv6Addr,
    /// The Ethernet address of the sender (solicitation) or of the target, 0 if it is not said.
    pub mac: u64,
}

impl Neighbour {
    /// What a key tells; none if a host must discard the message (RFC 4861 §7.1).
    pub fn of(key: &FlowKey) -> Option<Neighbour> {
        let is_icmp = key.eth_type == eth_type::IPV6 && key.ip_proto == ip_proto::ICMPV6;
        let solicits = match key.tp_src {
            icmpv6_type::NEIGHBOUR_SOLICITATION => true,
            icmpv6_type::NEIGHBOUR_ADVERTISEMENT => false,
            _ => return None,
        };
        let from_link = key.ip_ttl == HOP_LIMIT && key.tp_dst == 0 && key.ip_frag == 0;
        if !is_icmp || !from_link || key.nd_target == [0; 2] {
            return None;
        }
        let address =
            |[high, low]: [u64; 2]| Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
        let neighbour = Neighbour {
            solicits,
            source: address(key.ipv6_src),
            target: address(key.nd_target),
            mac: if solicits { key.arp_sha } else { key.arp_tha },
        };
        let says_mac_of_nobody = neighbour.source.is_unspecified() && neighbour.mac != 0;
        let is_wrong = neighbour.target.is_multicast() || solicits && says_mac_of_nobody;
        (!is_wrong).then_some(neighbour)
    }

    /// The advertisement of who has the address that is asked for, as a frame: to who asks, or
    /// to all if it has no address yet (RFC 4861 §7.2.4). `link` is the Ethernet source of the
    /// solicitation.
    pub fn advertise(&self, mac: u64, link: u64, tag: Option<Tag>) -> Vec<u8> {
        let (to, destination, solicited) = match self.source.is_unspecified() {
            true => (ALL_NODES_MAC, ALL_NODES, 0),
            false if self.mac != 0 => (self.mac, self.source, SOLICITED),
            false => (link, self.source, SOLICITED),
        };
        let flags = ROUTER | OVERRIDE | solicited;
        let message = message(136, flags, self.target, (2, mac));
        let packet = icmpv6((self.target, destination), 0, HOP_LIMIT, message);
        ethernet((to, mac), tag, eth_type::IPV6, &packet)
    }
}

/// A frame that asks for the Ethernet address of `target`.
pub fn solicit(target: Ipv6Addr, source: Ipv6Addr, mac: u64) -> Vec<u8> {
    let low = target.to_bits() as u32 & 0x00ff_ffff;
    let group = Ipv6Addr::from_bits(SOLICITED_NODE | u128::from(low));
    let to = 0x3333_ff00_0000 | u64::from(low);
    let message = message(135, 0, target, (1, mac));
    let packet = icmpv6((source, group), 0, HOP_LIMIT, message);
    ethernet((to, mac), None, eth_type::IPV6, &packet)
}

/// Type, flags, target and one option with a link-layer address (RFC 4861 §4.6.1).
fn message(kind: u8, flags: u8, target: Ipv6Addr, (option, mac): (u8, u64)) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend_from_slice(&target.octets());
    message.extend_from_slice(&[option, 1]);
    message.extend_from_slice(&mac.to_be_bytes()[2..]);
    message
}

/// What tells that no router has passed it on.
const HOP_LIMIT: u8 = 255;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: u64 = 0x3333_0000_0001;
/// `ff02::1:ff00:0`, the last 24 bits the target's (RFC 4291 §2.7.1).
const SOLICITED_NODE: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::frame::Received;

    const TARGET: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    const GUEST: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 7);

    fn read(frame: &[u8]) -> Option<Neighbour> {
        let received = Received::parse(frame).expect("right checksums");
        Neighbour::of(&received.key)
    }

    #[test]
    fn a_solicitation_is_read_as_it_was_meant() {
        let frame = solicit(TARGET, GUEST, 7);
        let expected = Neighbour {
            solicits: true,
            source: GUEST,
            target: TARGET,
            mac: 7,
        };
        assert_eq!(read(&frame), Some(expected));
    }

    #[test]
    fn an_advertisement_goes_to_who_asked() {
        let asked = read(&solicit(TARGET, GUEST, 7)).unwrap();
        let frame = asked.advertise(1, 9, None);
        assert_eq!(frame[..6], 7_u64.to_be_bytes()[2..]);
        let told = read(&frame).unwrap();
        assert_eq!((told.solicits, told.target, told.mac), (false, TARGET, 1));
        let nobody = Neighbour {
            source: Ipv6Addr::UNSPECIFIED,
            mac: 0,
            ..asked
        };
        let frame = nobody.advertise(1, 9, None);
        assert_eq!(frame[..6], ALL_NODES_MAC.to_be_bytes()[2..]);
        assert!(read(&frame).is_some());
    }

    #[test]
    fn what_came_from_afar_is_not_believed() {
        let mut frame = solicit(TARGET, GUEST, 7);
        frame[21] = 254;
        assert_eq!(read(&frame), None);
    }
}
