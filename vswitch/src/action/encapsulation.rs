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
    /// The longest frame, with these headers, that the path takes.
    pub frame_len_max: usize,
    /// Whether the sender of a longer one is told.
    pub is_told: bool,
    /// The last identification that was given; only what may be fragmented takes one, so that
    /// workers do not share it else.
    identification: AtomicU16,
}

impl Encapsulation {
    /// Headers that packets are wrapped in, with type of service and time to live of their own, for
    /// a path that takes frames of any length.
    pub fn new(header: Header) -> Encapsulation {
        Encapsulation {
            header,
            inherits_tos: false,
            inherits_ttl: false,
            frame_len_max: usize::MAX,
            is_told: false,
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

    /// The longest frame that can be wrapped.
    #[inline]
    pub fn inner_len_max(&self) -> usize {
        self.frame_len_max.saturating_sub(self.header.len())
    }

    /// An identification for a packet: 0 for one that is never fragmented (RFC 6864 §4.1).
    #[inline]
    pub fn identification(&self) -> u16 {
        match self.header.is_identified() {
            true => self.identification.fetch_add(1, Ordering::Relaxed),
            false => 0,
        }
    }

    /// What of it is the port's and the path's to say.
    fn manner(&self) -> (bool, bool, usize, bool) {
        let inherits = (self.inherits_tos, self.inherits_ttl);
        (inherits.0, inherits.1, self.frame_len_max, self.is_told)
    }
}

impl PartialEq for Encapsulation {
    fn eq(&self, other: &Encapsulation) -> bool {
        self.header == other.header && self.manner() == other.manner()
    }
}

impl Eq for Encapsulation {}

impl Hash for Encapsulation {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.header.hash(hasher);
        self.manner().hash(hasher);
    }
}

/// The bits of a type of service that tell congestion (RFC 3168 §5).
const ECN: u8 = 3;
