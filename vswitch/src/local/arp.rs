//! The address resolution protocol for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use flowtable::{FlowKey, eth_type};

use super::frame::{Tag, ethernet};

/// One of its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Whether it asks; else it answers.
    pub asks: bool,
    /// Ethernet address of who sends it.
    pub sender_mac: u64,
    /// IP address of who sends it.
    pub sender: Ipv4Addr,
    /// Ethernet address of whom it is for, 0 where that is asked.
    pub target_mac: u64,
    /// IP address of whom it is for.
    pub target: Ipv4Addr,
}

impl Arp {
    /// What a key tells; none if it neither asks nor answers.
    pub fn of(key: &FlowKey) -> Option<Arp> {
        let asks = match (key.eth_type, key.arp_op) {
            (eth_type::ARP, REQUEST) => true,
            (eth_type::ARP, REPLY) => false,
            _ => return None,
        };
        Some(Arp {
            asks,
            sender_mac: key.arp_sha,
            sender: Ipv4Addr::from_bits(key.ipv4_src),
            target_mac: key.arp_tha,
            target: Ipv4Addr::from_bits(key.ipv4_dst),
        })
    }

    /// The answer of who has the address that is asked for.
    pub fn answer(&self, mac: u64) -> Arp {
        Arp {
            asks: false,
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        }
    }

    /// As a frame to `to`.
    pub fn emit(&self, to: u64, tag: Option<Tag>) -> Vec<u8> {
        let operation = if self.asks { REQUEST } else { REPLY };
        let mut packet = [0; 28];
        packet[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
        packet[6..8].copy_from_slice(&operation.to_be_bytes());
        packet[8..14].copy_from_slice(&self.sender_mac.to_be_bytes()[2..]);
        packet[14..18].copy_from_slice(&self.sender.octets());
        packet[18..24].copy_from_slice(&self.target_mac.to_be_bytes()[2..]);
        packet[24..].copy_from_slice(&self.target.octets());
        ethernet((to, self.sender_mac), tag, eth_type::ARP, &packet)
    }
}

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Arp {
        Arp {
            asks: true,
            sender_mac: 0x0200_0000_0007,
            sender: Ipv4Addr::new(10, 0, 0, 7),
            target_mac: 0,
            target: Ipv4Addr::new(10, 0, 0, 1),
        }
    }

    fn key(frame: &[u8]) -> FlowKey {
        let mut key = FlowKey::default();
        flowtable::parse(frame, &mut key);
        key
    }

    #[test]
    fn what_is_emitted_reads_the_same() {
        for arp in [request(), request().answer(0x0200_0000_0001)] {
            let frame = arp.emit(arp.target_mac, None);
            assert_eq!(Arp::of(&key(&frame)), Some(arp));
            assert_eq!(Arp::of(&key(&frame[..frame.len() - 1])), None, "too short");
        }
    }

    #[test]
    fn what_neither_asks_nor_answers_is_none() {
        let mut frame = request().emit(u64::MAX, None);
        frame[21] = 3;
        assert_eq!(Arp::of(&key(&frame)), None);
    }
}
