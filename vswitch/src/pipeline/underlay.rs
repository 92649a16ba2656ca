//! The network that tunnels go through: the host's addresses on the switch's own ports, its routes
//! and its neighbours, as control reads them from the kernel.
//!
//! Workers ask for a next hop on a miss ([`Underlay::next_hop`]) and for a host's addresses when a
//! packet leaves for one ([`Underlay::host`]). It is published with the state: another route or
//! neighbour is another state, and every cached program is looked at again.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use flowtable::TlvTable;
use foldhash::fast::RandomState;
use imbl::HashMap;

use super::tunnel::Receivers;
use crate::action::PortNo;

/// A port of the switch that the host's own stack uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The port.
    pub port: PortNo,
    /// Its Ethernet address, 48 bits.
    pub mac: u64,
    /// Its IP addresses.
    pub addresses: Vec<IpAddr>,
    /// Longest IP packet that it sends.
    pub mtu: u32,
}

/// A way to some addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The addresses: those that agree in the first `length` bits.
    pub prefix: IpAddr,
    /// Length of the prefix in bits.
    pub length: u8,
    /// Of routes to the same prefix the one with the lowest is taken.
    pub metric: u32,
    /// The source address that is wanted, if one is.
    pub source: Option<IpAddr>,
    /// Longest IP packet that goes this way, if that is said.
    pub mtu: Option<u32>,
    /// Where it leads to; each destination has one of them, its share by their weights.
    pub hops: Vec<Hop>,
}

/// One of the ways that a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The port that it leads out by; none if that is no port of the switch: what goes there cannot
    /// go in a tunnel.
    pub port: Option<PortNo>,
    /// Who takes packets on; none if they are on the link.
    pub gateway: Option<IpAddr>,
    /// Its share of the destinations, at least 1.
    pub weight: u16,
}

/// An address that answered on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The port that leads to the link.
    pub port: PortNo,
    /// Its IP address.
    pub address: IpAddr,
    /// Its Ethernet address, 48 bits.
    pub mac: u64,
}

/// What is known of the host's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Ports of the switch that have addresses.
    pub hosts: Vec<Host>,
    /// Routes, whatever they lead out by.
    pub routes: Vec<Route>,
    /// Neighbours on them.
    pub neighbours: Vec<Neighbour>,
    /// Addresses to which routers let pass less than the first link does, each with the longest IP
    /// packet.
    pub paths: Vec<(IpAddr, u32)>,
}

/// An address whose Ethernet address is to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unresolved {
    /// The port that leads to it.
    pub port: PortNo,
    /// The address.
    pub address: IpAddr,
}

/// Where a packet for some address goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The host's port, as which it is sent.
    pub port: PortNo,
    /// That port's Ethernet address.
    pub eth_src: u64,
    /// Source address.
    pub source: IpAddr,
    /// Who takes it.
    pub neighbour: IpAddr,
    /// That neighbour's Ethernet address, if it is known.
    pub eth_dst: Option<u64>,
    /// Longest IP packet that the path takes, as far as is known.
    pub mtu: u32,
}

/// The network that tunnels go through, and the tunnel ports.
#[derive(Clone, Debug, Default)]
pub struct Underlay {
    network: Network,
    routes: Arc<Routes>,
    neighbours: HashMap<(PortNo, IpAddr), u64>,
    paths: HashMap<IpAddr, u32>,
    /// Tunnel ports.
    pub receivers: Receivers,
    /// Options that are understood at each, where there are any.
    tlvs: HashMap<PortNo, Arc<TlvTable>>,
}

impl Underlay {
    /// Takes over what is known of the network.
    pub(super) fn set_network(&mut self, network: Network) {
        self.routes = Routes::new(&network.routes).into();
        let pair = |it: &Neighbour| ((it.port, it.address), it.mac);
        self.neighbours = network.neighbours.iter().map(pair).collect();
        self.paths = network.paths.iter().copied().collect();
        self.network = network;
    }

    /// Which Geneve options of packets that come in by a tunnel port are understood.
    #[inline]
    pub fn tlvs(&self, port: PortNo) -> &TlvTable {
        self.tlvs_of(port).map_or(TlvTable::EMPTY, |tlvs| tlvs)
    }

    pub(super) fn tlvs_of(&self, port: PortNo) -> Option<&Arc<TlvTable>> {
        self.tlvs.get(&port)
    }

    /// Sets [`Underlay::tlvs`].
    pub(super) fn set_tlvs(&mut self, port: PortNo, tlvs: Option<Arc<TlvTable>>) {
        match tlvs {
            Some(tlvs) => self.tlvs.insert(port, tlvs),
            None => self.tlvs.remove(&port),
        };
    }

    /// What is known of the network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The host behind a port, if packets for it may have come by a tunnel.
    #[inline]
    pub fn host(&self, port: PortNo) -> Option<&Host> {
        if self.receivers.is_empty() {
            return None;
        }
        self.network.hosts.iter().find(|host| host.port == port)
    }

    /// Where packets to an address go, from one of the host's if `source` names one; none without a
    /// route.
    pub fn next_hop(&self, destination: IpAddr, source: Option<IpAddr>) -> Option<NextHop> {
        let route = self.routes.find(destination)?;
        let hop = route.hop(destination)?;
        let port = hop.port?;
        let mut hosts = self.network.hosts.iter();
        let host = hosts.find(|host| host.port == port)?;
        let neighbour = hop.gateway.unwrap_or(destination);
        let source = source.or(route.source);
        let source = source.or_else(|| host.source_for(neighbour))?;
        let neighbours = &self.neighbours;
        let told = [route.mtu, self.paths.get(&destination).copied()];
        Some(NextHop {
            port,
            eth_src: host.mac,
            source,
            neighbour,
            eth_dst: neighbours.get(&(port, neighbour)).copied(),
            mtu: told.into_iter().flatten().fold(host.mtu, u32::min),
        })
    }
}

/// Routes by how long their prefixes are: of those to a destination the longest is found by one
/// probe for each length that there is, however many routes there are.
#[derive(Debug, Default)]
struct Routes {
    /// Of IPv4 and of IPv6, the longest first.
    lengths: [Vec<u8>; 2],
    /// By family, length and the prefix's bits, the lowest metric of each.
    ways: std::collections::HashMap<(bool, u8, u128), Route, RandomState>,
}

impl Routes {
    fn new(routes: &[Route]) -> Routes {
        let mut all = Routes::default();
        for route in routes {
            let (is_ipv4, bits) = bits_of(route.prefix);
            let lengths = &mut all.lengths[usize::from(is_ipv4)];
            if let Err(at) = lengths.binary_search_by(|length| route.length.cmp(length)) {
                lengths.insert(at, route.length);
            }
            let place = (is_ipv4, route.length, within(bits, route.length));
            let known = all.ways.get(&place);
            if known.is_none_or(|known| route.metric < known.metric) {
                all.ways.insert(place, route.clone());
            }
        }
        all
    }

    fn find(&self, destination: IpAddr) -> Option<&Route> {
        let (is_ipv4, bits) = bits_of(destination);
        let mut lengths = self.lengths[usize::from(is_ipv4)].iter();
        lengths.find_map(|&length| self.ways.get(&(is_ipv4, length, within(bits, length))))
    }
}

/// Whether an address is of IPv4, and its bits from the highest on.
fn bits_of(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (true, u128::from(address.to_bits()) << 96),
        IpAddr::V6(address) => (false, address.to_bits()),
    }
}

/// The first so many bits.
fn within(bits: u128, length: u8) -> u128 {
    let rest = 128_u32.saturating_sub(length.into());
    u128::MAX.checked_shl(rest).unwrap_or(0) & bits
}

impl Route {
    /// The way to a destination: the same at any time and for all workers, as the kernel does it
    /// that looks at addresses alone (`fib_multipath_hash_policy` 0).
    fn hop(&self, destination: IpAddr) -> Option<Hop> {
        let total: u64 = self.hops.iter().map(|hop| u64::from(hop.weight)).sum();
        let (_, bits) = bits_of(destination);
        let word = (bits >> 64) as u64 ^ (bits as u64).rotate_left(32);
        let hash = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32;
        let mut point = (hash * total) >> 32;
        let mut hops = self.hops.iter();
        let chosen = hops.find(|hop| match point.checked_sub(hop.weight.into()) {
            Some(rest) => {
                point = rest;
                false
            }
            None => true,
        });
        chosen.copied()
    }
}

impl Host {
    /// The first of its addresses that reaches as far as another: an address of the link alone
    /// (RFC 4291 §2.5.6) speaks to such.
    fn source_for(&self, other: IpAddr) -> Option<IpAddr> {
        let reach = |address: &IpAddr| match address {
            IpAddr::V4(_) => (false, false),
            IpAddr::V6(address) => (true, is_of_link(address)),
        };
        let mut addresses = self.addresses.iter();
        let alike = addresses.find(|address| reach(address) == reach(&other));
        let family = |address: &&IpAddr| address.is_ipv4() == other.is_ipv4();
        alike
            .or_else(|| self.addresses.iter().find(family))
            .copied()
    }
}

fn is_of_link(address: &Ipv6Addr) -> bool {
    address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn route(prefix: &str, length: u8, port: u32, gateway: Option<&str>) -> Route {
        Route {
            prefix: address(prefix),
            length,
            metric: 0,
            source: None,
            mtu: None,
            hops: vec![hop_by(Some(port), gateway, 1)],
        }
    }

    fn hop_by(port: Option<u32>, gateway: Option<&str>, weight: u16) -> Hop {
        Hop {
            port: port.map(PortNo),
            gateway: gateway.map(address),
            weight,
        }
    }

    fn network() -> Network {
        let host = |port, addresses: &[&str]| Host {
            port: PortNo(port),
            mac: 0x0200_0000_0000 | u64::from(port),
            addresses: addresses.iter().map(|text| address(text)).collect(),
            mtu: 1500,
        };
        Network {
            hosts: vec![
                host(1, &["10.0.0.1", "fe80::1", "fd00::1"]),
                host(2, &["192.168.0.1"]),
            ],
            routes: vec![
                route("0.0.0.0", 0, 1, Some("10.0.0.254")),
                route("10.0.0.0", 24, 1, None),
                route("192.168.0.0", 16, 2, None),
                route("192.168.7.0", 24, 1, Some("10.0.0.7")),
                route("fd00::", 64, 1, None),
                route("2001:db8::", 32, 1, Some("fe80::9")),
            ],
            neighbours: vec![Neighbour {
                port: PortNo(1),
                address: address("10.0.0.7"),
                mac: 7,
            }],
            paths: Vec::new(),
        }
    }

    fn hop(underlay: &Underlay, destination: &str) -> Option<(u32, String, String)> {
        let hop = underlay.next_hop(address(destination), None)?;
        let texts = (hop.source.to_string(), hop.neighbour.to_string());
        Some((hop.port.0, texts.0, texts.1))
    }

    #[test]
    fn the_longest_prefix_says_the_way() {
        let mut underlay = Underlay::default();
        underlay.set_network(network());
        for (destination, expected) in [
            ("10.0.0.9", (1, "10.0.0.1", "10.0.0.9")),
            ("8.8.8.8", (1, "10.0.0.1", "10.0.0.254")),
            ("192.168.1.1", (2, "192.168.0.1", "192.168.1.1")),
            ("192.168.7.9", (1, "10.0.0.1", "10.0.0.7")),
            ("fd00::5", (1, "fd00::1", "fd00::5")),
            ("2001:db8::5", (1, "fe80::1", "fe80::9")),
        ] {
            let (port, source, neighbour) = expected;
            let expected = (port, source.to_owned(), neighbour.to_owned());
            assert_eq!(hop(&underlay, destination), Some(expected), "{destination}");
        }
        assert_eq!(hop(&underlay, "fd01::1"), None);
        let known = underlay.next_hop(address("192.168.7.9"), None).unwrap();
        assert_eq!(known.eth_dst, Some(7));
        let unknown = underlay.next_hop(address("10.0.0.9"), None).unwrap();
        assert_eq!(unknown.eth_dst, None);
    }

    #[test]
    fn a_route_past_the_switch_hides_wider_ones() {
        let mut network = network();
        network.routes.push(Route {
            hops: vec![hop_by(None, None, 1)],
            ..route("8.8.0.0", 16, 0, None)
        });
        let mut underlay = Underlay::default();
        underlay.set_network(network);
        assert_eq!(hop(&underlay, "8.8.8.8"), None);
        assert!(hop(&underlay, "8.9.8.8").is_some());
    }

    #[test]
    fn of_two_routes_the_metric_decides() {
        let mut network = network();
        network.routes.push(Route {
            metric: 5,
            ..route("10.0.1.0", 24, 2, None)
        });
        network.routes.push(Route {
            metric: 4,
            ..route("10.0.1.0", 24, 1, None)
        });
        let mut underlay = Underlay::default();
        underlay.set_network(network);
        let found = hop(&underlay, "10.0.1.1").map(|(port, ..)| port);
        assert_eq!(found, Some(1));
    }

    #[test]
    fn destinations_are_shared_out_among_the_hops_of_a_route() {
        let mut network = network();
        let hops = [("10.0.0.11", 1), ("10.0.0.12", 3)];
        let hops = hops.map(|(gateway, weight)| hop_by(Some(1), Some(gateway), weight));
        network.routes.push(Route {
            hops: hops.into(),
            ..route("172.16.0.0", 12, 1, None)
        });
        let mut underlay = Underlay::default();
        underlay.set_network(network);
        let mut counts = BTreeMap::<_, u32>::new();
        for number in 0..4000_u32 {
            let [.., high, low] = number.to_be_bytes();
            let destination = format!("172.17.{high}.{low}");
            let found = hop(&underlay, &destination);
            assert_eq!(found, hop(&underlay, &destination));
            *counts.entry(found.unwrap().2).or_default() += 1;
        }
        assert_eq!(counts.len(), 2);
        assert!((800..1200).contains(&counts["10.0.0.11"]), "{counts:?}");
    }

    /// The link's, unless the route or a router says less.
    #[test]
    fn the_mtu_of_a_path_is_the_least_of_what_is_said() {
        let mut network = network();
        network.routes.push(Route {
            mtu: Some(1400),
            ..route("172.16.0.0", 12, 1, None)
        });
        network.routes.push(Route {
            mtu: Some(9000),
            ..route("172.20.0.0", 16, 1, None)
        });
        network.paths = vec![
            (address("172.16.0.1"), 1280),
            (address("172.16.0.2"), 1450),
            (address("fd00::7"), 1300),
        ];
        let mut underlay = Underlay::default();
        underlay.set_network(network);
        for (destination, mtu) in [
            ("10.0.0.9", 1500),
            ("172.16.0.1", 1280),
            ("172.16.0.2", 1400),
            ("172.16.0.3", 1400),
            ("172.20.0.1", 1500),
            ("fd00::7", 1300),
            ("fd00::8", 1500),
        ] {
            let hop = underlay.next_hop(address(destination), None).unwrap();
            assert_eq!(hop.mtu, mtu, "{destination}");
        }
    }

    /// Against a search through all of them.
    #[test]
    fn of_many_routes_the_longest_prefix_is_found() {
        let mut network = network();
        let octet = |number: u32, factor: u32| (number.wrapping_mul(factor) >> 7) as u8;
        for number in 0..2000_u32 {
            let prefix = [10, octet(number, 977) & 3, octet(number, 6011), 0];
            network.routes.push(Route {
                metric: number % 5,
                ..route(
                    &Ipv4Addr::from(prefix).to_string(),
                    8 + (number % 17) as u8,
                    1,
                    Some(&format!("10.9.{}.{}", number >> 8, number & 255)),
                )
            });
        }
        let routes = network.routes.clone();
        let mut underlay = Underlay::default();
        underlay.set_network(network);
        for number in 0..3000_u32 {
            let address = Ipv4Addr::from([10, octet(number, 31) & 3, octet(number, 677), 9]);
            let agrees = |route: &&Route| match route.prefix {
                IpAddr::V4(prefix) => {
                    let differs = u64::from(prefix.to_bits() ^ address.to_bits()) << 32;
                    differs.leading_zeros() >= route.length.into()
                }
                IpAddr::V6(_) => false,
            };
            let all = routes.iter().filter(agrees);
            let best = all.min_by_key(|route| (u8::MAX - route.length, route.metric));
            let found = underlay.next_hop(address.into(), None).unwrap();
            let expected = best.unwrap().hops[0].gateway.unwrap_or(address.into());
            assert_eq!(found.neighbour, expected, "{address}");
        }
    }

    #[test]
    fn without_tunnels_no_packet_may_have_come_by_one() {
        let mut underlay = Underlay::default();
        underlay.set_network(network());
        assert_eq!(underlay.host(PortNo(1)), None);
    }
}
