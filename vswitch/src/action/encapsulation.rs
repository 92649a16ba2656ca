//! What wraps a packet for a tunnel: made by `pipeline::translate` for a destination and key, done
//! to packets by `datapath::tunnel`.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU16, Ordering};

use flowtable::tunnel::{Completion, Header};
use flowtable::{FlowKey, eth_type, parse};

/// The headers that a packet is wrapped in.
#[derive(Debug)]
pub struct Encapsulation {
    /// All but what depends on the packet. Its type of service has no ECN.
    pub header: Header,
    /// Whether the type of service, ECN aside, is that of the packet within.
    pub inherits_tos: bool,
    /// Whether the time to live is that of the packet within.
    pub inherits_ttl: bool,
    /// The last identification that was given; only what may be fragmented takes one, so that
    /// workers do not share it else.
    identification: AtomicU16,
}

impl Encapsulation {
    /// Headers that packets are wrapped in.
    pub fn new(header: Header, inherits_tos: bool, inherits_ttl: bool) -> Encapsulation {
        Encapsulation {
            header,
            inherits_tos,
            inherits_ttl,
            identification: AtomicU16::new(0),
        }
    }

    /// What a packet looks like once it is wrapped, but for the UDP source port, which its bytes
    /// decide.
    pub fn outer(&self, within: &FlowKey) -> FlowKey {
        let (mut tos, mut ttl) = self.header.tos_and_ttl();
        if [eth_type::IPV4, eth_type::IPV6].contains(&within.eth_type) {
            if self.inherits_tos {
                tos = within.ip_tos & !ECN;
            }
            if self.inherits_ttl {
                ttl = within.ip_ttl;
            }
            tos |= within.ip_tos & ECN;
        }
        let mut frame = vec![0; self.header.len()];
        let completion = Completion {
            port: 0,
            identification: 0,
            tos,
            ttl,
        };
        self.header.write(&mut frame, completion);
        let mut key = FlowKey::default();
        parse(&frame, &mut key);
        key
    }

    /// An identification for a packet: 0 for one that is never fragmented (RFC 6864 §4.1).
    #[inline]
    pub fn identification(&self) -> u16 {
        match self.header.is_identified() {
            true => self.identification.fetch_add(1, Ordering::Relaxed),
            false => 0,
        }
    }
}

impl PartialEq for Encapsulation {
    fn eq(&self, other: &Encapsulation) -> bool {
        let what = |it: &Encapsulation| (it.inherits_tos, it.inherits_ttl);
        self.header == other.header && what(self) == what(other)
    }
}

impl Eq for Encapsulation {}

impl Hash for Encapsulation {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.header.hash(hasher);
        (self.inherits_tos, self.inherits_ttl).hash(hasher);
    }
}

/// The bits of a type of service that tell congestion (RFC 3168 §5).
const ECN: u8 = 3;
