//! Tunnel ports: what each sends, and which of them a packet came in by.
//!
//! A tunnel port has no device. What leaves by it is wrapped and sent through the [`Underlay`]
//! (`translate::tunnel`); what comes for one of the switch's hosts and carries a tunnel's header
//! came in by the port that says most about it ([`Receivers::find`]), as Open vSwitch has it: one
//! with a key rather than with any, with a remote address rather than any, with a local address
//! rather than any.
//!
//! Why not a rule per tunnel: a packet has but one kind, key and pair of addresses, so that each
//! of the twelve shapes that a port can have takes one probe of an exact table, and most switches
//! have ports of one or two shapes.
//!
//! [`Underlay`]: super::Underlay

use std::net::IpAddr;

use flowtable::tunnel::Kind;
use flowtable::{Field, FlowMask};
use foldhash::fast::RandomState;
use imbl::{GenericHashMap, shared_ptr::DefaultSharedPtr};

use crate::action::PortNo;

/// How a tunnel port sends and what it receives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// The protocol.
    pub kind: Kind,
    /// The other end; none if each packet says where it goes, and may come from anywhere.
    pub remote: Option<IpAddr>,
    /// This end.
    pub local: Local,
    /// Key of packets that come.
    pub in_key: Key,
    /// Key of packets that go.
    pub out_key: Key,
    /// UDP destination port; 0 for GRE.
    pub port: u16,
    /// Whether packets that go have a checksum of UDP or GRE; where nothing is said only UDP over
    /// IPv6 has one, which asks for it (RFC 8200 §8.1).
    pub checksum: Option<bool>,
    /// Type of service but for ECN; none for that of the packet within.
    pub tos: Option<u8>,
    /// Time to live; none for that of the packet within.
    pub ttl: Option<u8>,
    /// Whether packets that go must not be fragmented.
    pub dont_fragment: bool,
    /// Whether the sender of a packet that is too big for the path is told.
    pub tells_too_big: bool,
}

/// This end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Local {
    /// Any of the host's addresses; the route says by which packets go.
    Any,
    /// Any; each packet says by which it goes.
    Flow,
    /// This address.
    Address(IpAddr),
}

/// A tunnel's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// None: 0 where the protocol has no way to leave it out.
    None,
    /// Any; each packet says which.
    Flow,
    /// This one.
    Value(u64),
}

impl Key {
    /// The key of a packet whose metadata says `tunnel_id`.
    pub fn of(self, tunnel_id: u64) -> Option<u64> {
        match self {
            Key::None => None,
            Key::Flow => Some(tunnel_id),
            Key::Value(value) => Some(value),
        }
    }
}

/// What a packet that came by a tunnel shows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Received {
    /// The protocol.
    pub kind: Kind,
    /// UDP destination port; 0 for GRE.
    pub port: u16,
    /// The key, 0 for none.
    pub key: u64,
    /// Outer source address.
    pub source: IpAddr,
    /// Outer destination address.
    pub destination: IpAddr,
}

/// What a tunnel port wants of packets; what it leaves open is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    kind: Kind,
    port: u16,
    key: Option<u64>,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
}

type Map<K, V> = GenericHashMap<K, V, RandomState, DefaultSharedPtr>;

/// Which tunnel port packets come in by.
#[derive(Clone, Debug, Default)]
pub struct Receivers {
    /// By how much a port says, the most first; in each those that say it.
    shapes: [Map<Wanted, PortNo>; SHAPES],
    /// Kinds by UDP port, each with the number of its ports; GRE has port 0.
    carriers: Map<u16, (Kind, usize)>,
}

/// Key or any, remote address or any, and an own address, any or any that packets name.
const SHAPES: usize = 2 * 2 * 3;

impl Receivers {
    /// Whether there is no tunnel port.
    pub fn is_empty(&self) -> bool {
        self.carriers.is_empty()
    }

    /// Whether a packet's key makes a difference to which port it came in by.
    pub fn are_keyed(&self) -> bool {
        self.shapes[..SHAPES / 2]
            .iter()
            .any(|ports| !ports.is_empty())
    }

    /// The protocol of packets to a UDP port; port 0 stands for GRE.
    #[inline]
    pub fn kind(&self, port: u16) -> Option<Kind> {
        Some(self.carriers.get(&port)?.0)
    }

    /// The port that a packet came in by.
    #[inline]
    pub fn find(&self, received: &Received) -> Option<PortNo> {
        let mut shapes = self.shapes.iter().enumerate();
        shapes.find_map(|(shape, ports)| {
            if ports.is_empty() {
                return None;
            }
            ports.get(&received.wanted_in(shape)).copied()
        })
    }

    /// The port that receives just what another would; whether its kind has a UDP port of another
    /// kind.
    pub fn clash(&self, tunnel: &Tunnel) -> Result<(), Clash> {
        if let Some((kind, _)) = self.carriers.get(&tunnel.port)
            && *kind != tunnel.kind
        {
            return Err(Clash::Kind(*kind));
        }
        let (shape, wanted) = tunnel.wanted();
        match self.shapes[shape].get(&wanted) {
            Some(other) => Err(Clash::Port(*other)),
            None => Ok(()),
        }
    }

    /// Adds a port that clashes with none.
    pub fn insert(&mut self, tunnel: &Tunnel, port: PortNo) {
        let (shape, wanted) = tunnel.wanted();
        if self.shapes[shape].insert(wanted, port).is_none() {
            let (_, count) = self.carriers.entry(tunnel.port).or_insert((tunnel.kind, 0));
            *count += 1;
        }
    }

    /// Removes a port.
    pub fn remove(&mut self, tunnel: &Tunnel) {
        let (shape, wanted) = tunnel.wanted();
        if self.shapes[shape].remove(&wanted).is_none() {
            return;
        }
        let is_last = match self.carriers.get_mut(&tunnel.port) {
            Some((_, count)) => {
                *count -= 1;
                *count == 0
            }
            None => false,
        };
        if is_last {
            self.carriers.remove(&tunnel.port);
        }
    }
}

/// Why two tunnel ports cannot be there at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash {
    /// The UDP port is that of another protocol.
    Kind(Kind),
    /// This port receives the very same packets.
    Port(PortNo),
}

impl Tunnel {
    /// The metadata of packets that say where they go, and how; Geneve options are the bridge's to
    /// name.
    pub fn reads(&self) -> FlowMask {
        let mut mask = FlowMask::default();
        if self.out_key == Key::Flow {
            mask.unite(&Field::TunnelId.mask());
        }
        if self.remote.is_none() {
            mask.unite(&Field::TunnelDst.mask());
            mask.unite(&Field::TunnelIpv6Dst.mask());
        }
        if self.local == Local::Flow {
            mask.unite(&Field::TunnelSrc.mask());
            mask.unite(&Field::TunnelIpv6Src.mask());
        }
        if self.kind == Kind::Geneve {
            mask.unite(&Field::TunnelFlags.mask());
        }
        mask
    }

    /// What it wants of packets, and its shape.
    fn wanted(&self) -> (usize, Wanted) {
        let (key, any_key) = match self.in_key {
            Key::Flow => (None, 1),
            Key::None => (Some(0), 0),
            Key::Value(value) => (Some(value), 0),
        };
        let (destination, local) = match self.local {
            Local::Address(address) => (Some(address), 0),
            Local::Any => (None, 1),
            Local::Flow => (None, 2),
        };
        let any_remote = usize::from(self.remote.is_none());
        let wanted = Wanted {
            kind: self.kind,
            port: self.port,
            key,
            source: self.remote,
            destination,
        };
        (any_key * 6 + any_remote * 3 + local, wanted)
    }
}

impl Received {
    /// What a port of this shape wants, if it wants this packet.
    #[inline]
    fn wanted_in(&self, shape: usize) -> Wanted {
        let (any_key, any_remote, local) = (shape / 6, shape / 3 % 2, shape % 3);
        Wanted {
            kind: self.kind,
            port: self.port,
            key: (any_key == 0).then_some(self.key),
            source: (any_remote == 0).then_some(self.source),
            destination: (local == 0).then_some(self.destination),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(key: Key, remote: Option<&str>, local: Local) -> Tunnel {
        Tunnel {
            kind: Kind::Vxlan,
            remote: remote.map(|text| text.parse().unwrap()),
            local,
            in_key: key,
            out_key: key,
            port: 4789,
            checksum: None,
            tos: Some(0),
            ttl: Some(64),
            dont_fragment: true,
            tells_too_big: false,
        }
    }

    fn received(key: u64, source: &str, destination: &str) -> Received {
        Received {
            kind: Kind::Vxlan,
            port: 4789,
            key,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    #[test]
    fn the_port_that_says_most_gets_the_packet() {
        let here = Local::Address("10.0.0.9".parse().unwrap());
        // In this order each gives way to those before.
        let tunnels = [
            tunnel(Key::Value(5), Some("10.0.0.1"), here),
            tunnel(Key::Value(5), Some("10.0.0.1"), Local::Any),
            tunnel(Key::Value(5), None, here),
            tunnel(Key::Value(5), None, Local::Any),
            tunnel(Key::Value(5), None, Local::Flow),
            tunnel(Key::Flow, Some("10.0.0.1"), here),
            tunnel(Key::Flow, Some("10.0.0.1"), Local::Any),
            tunnel(Key::Flow, None, here),
            tunnel(Key::Flow, None, Local::Any),
            tunnel(Key::Flow, None, Local::Flow),
        ];
        let packet = received(5, "10.0.0.1", "10.0.0.9");
        let mut receivers = Receivers::default();
        for (number, tunnel) in tunnels.iter().enumerate().rev() {
            assert_eq!(receivers.clash(tunnel), Ok(()));
            receivers.insert(tunnel, PortNo(number as u32));
            assert_eq!(receivers.find(&packet), Some(PortNo(number as u32)));
            let clash = Err(Clash::Port(PortNo(number as u32)));
            assert_eq!(receivers.clash(tunnel), clash);
        }
        let other = received(6, "10.0.0.1", "10.0.0.8");
        assert_eq!(receivers.find(&other), Some(PortNo(6)));
        let other = received(5, "10.0.0.2", "10.0.0.8");
        assert_eq!(receivers.find(&other), Some(PortNo(3)));
        for tunnel in &tunnels {
            receivers.remove(tunnel);
        }
        assert!(receivers.is_empty());
        assert_eq!(receivers.find(&packet), None);
    }

    #[test]
    fn no_key_is_key_0() {
        let mut receivers = Receivers::default();
        receivers.insert(&tunnel(Key::None, None, Local::Any), PortNo(1));
        let found = |key| receivers.find(&received(key, "10.0.0.1", "10.0.0.9"));
        assert_eq!((found(0), found(1)), (Some(PortNo(1)), None));
    }

    #[test]
    fn a_udp_port_has_one_protocol() {
        let mut receivers = Receivers::default();
        receivers.insert(&tunnel(Key::Flow, None, Local::Any), PortNo(1));
        let geneve = Tunnel {
            kind: Kind::Geneve,
            ..tunnel(Key::Flow, None, Local::Any)
        };
        assert_eq!(receivers.clash(&geneve), Err(Clash::Kind(Kind::Vxlan)));
        assert_eq!(receivers.kind(4789), Some(Kind::Vxlan));
        assert_eq!(receivers.kind(6081), None);
    }
}
