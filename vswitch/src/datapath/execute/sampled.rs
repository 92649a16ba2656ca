//! Packets that collectors are told of (`sample`): which, and what control is handed of them.

use std::sync::Arc;

use flowtable::{FlowKey, eth_type, parse};
use pmd::Packet;

use crate::action::Sampling;

/// A packet that collectors are to be told of.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// Which collectors, and what the flow says of it.
    pub sampling: Arc<Sampling>,
    /// Its headers.
    pub headers: FlowKey,
    /// Bytes up to its network header; of a packet without one, all of its link header.
    pub ethernet_len: u16,
    /// Bytes from its IP header on; 0 if it has none.
    pub ip_len: u16,
    /// Bytes from its Ethernet header on.
    pub bytes: u32,
    /// Packets that it stands for.
    pub packets: u32,
    /// When, in milliseconds of the switch's clock.
    pub at_ms: u64,
}

impl Sampled {
    /// What is told of a packet.
    pub fn new(sampling: &Arc<Sampling>, packet: &Packet, at_ms: u64) -> Sampled {
        let mut headers = FlowKey::default();
        let layout = parse(packet.data(), &mut headers);
        let is_ip = layout.l3 > 0 && [eth_type::IPV4, eth_type::IPV6].contains(&headers.eth_type);
        Sampled {
            sampling: Arc::clone(sampling),
            headers,
            ethernet_len: layout.l2_5,
            ip_len: if is_ip { layout.end - layout.l3 } else { 0 },
            bytes: packet.len() as u32,
            packets: packet.segment_count() as u32,
            at_ms,
        }
    }
}

/// Throws dice (xorshift, Marsaglia 2003): which packets are sampled need not be a secret.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Default for Dice {
    fn default() -> Dice {
        Dice(SEED)
    }
}

impl Dice {
    /// A number from 0 to 65534: of 65535 throws as many are below a probability as it says.
    #[inline]
    pub fn throw(&mut self) -> u16 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % 65535) as u16
    }
}

/// Any but 0.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::super::super::limits::SAMPLES_PER_PORT;
    use super::super::super::punt::{EventQueues, Events, Punter, Shares};
    use super::*;

    #[test]
    fn dice_fall_below_a_probability_as_often_as_it_says() {
        let mut dice = Dice::default();
        let throws: Vec<u16> = (0..65_535).map(|_| dice.throw()).collect();
        assert!(throws.iter().all(|throw| *throw < u16::MAX));
        let below = |probability| throws.iter().filter(|throw| **throw < probability).count();
        assert_eq!(below(u16::MAX), throws.len());
        assert!(
            (15_500..17_300).contains(&below(16_384)),
            "{}",
            below(16_384)
        );
    }

    #[test]
    fn a_port_that_is_sampled_too_often_loses_its_own() {
        let sampling = Sampling {
            probability: 65_535,
            collector_set: 1,
            domain: 0,
            point: 0,
            in_port: openflow::OfPort(1),
            out_port: None,
            is_egress: false,
        };
        let sampled = Sampled {
            sampling: Arc::new(sampling),
            headers: FlowKey::default(),
            ethernet_len: 14,
            ip_len: 0,
            bytes: 60,
            packets: 1,
            at_ms: 0,
        };
        let queues = Arc::new(EventQueues::new().expect("a descriptor"));
        let mut punter = Punter::new(Arc::clone(&queues));
        let (flooding, other) = (Shares::default(), Shares::default());
        for _ in 0..SAMPLES_PER_PORT + 5 {
            punter.sample(&flooding, sampled.clone());
        }
        punter.sample(&other, sampled);
        assert_eq!(queues.samples_lost(), 5);
        let mut events = Events::new(queues);
        let told = std::iter::from_fn(|| events.try_receive()).count();
        assert_eq!(told, SAMPLES_PER_PORT as usize + 1);
        punter.flush();
    }
}
