//! The network that tunnels go through: the host's addresses on the switch's own ports, its routes
//! and its neighbours, as control reads them from the kernel.
//!
//! Workers ask for a next hop on a miss ([`Underlay::next_hop`]) and for a host's addresses when a
//! packet leaves for one ([`Underlay::host`]). It is published with the state: another route or
//! neighbour is another state, and every cached program is looked at again.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

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
    /// The port that it leads out by; none if that is no port of the switch: what goes there cannot
    /// go in a tunnel.
    pub port: Option<PortNo>,
    /// Who takes packets on; none if they are on the link.
    pub gateway: Option<IpAddr>,
    /// The source address that is wanted, if one is.
    pub source: Option<IpAddr>,
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
}

/// The network that tunnels go through, and the tunnel ports.
#[derive(Clone, Debug, Default)]
pub struct Underlay {
    network: Network,
    /// What leads furthest first.
    routes: Arc<[Route]>,
    neighbours: HashMap<(PortNo, IpAddr), u64>,
    /// Tunnel ports.
    pub receivers: Receivers,
}

impl Underlay {
    /// Takes over what is known of the network.
    pub(super) fn set_network(&mut self, network: Network) {
        let mut routes = network.routes.clone();
        routes.sort_by_key(|route| (u8::MAX - route.length, route.metric));
        self.routes = routes.into();
        let pair = |it: &Neighbour| ((it.port, it.address), it.mac);
        self.neighbours = network.neighbours.iter().map(pair).collect();
        self.network = network;
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
        let mut routes = self.routes.iter();
        let route = routes.find(|route| route.leads_to(destination))?;
        let port = route.port?;
        let mut hosts = self.network.hosts.iter();
        let host = hosts.find(|host| host.port == port)?;
        let neighbour = route.gateway.unwrap_or(destination);
        let source = source.or(route.source);
        let source = source.or_else(|| host.source_for(neighbour))?;
        let neighbours = &self.neighbours;
        Some(NextHop {
            port,
            eth_src: host.mac,
            source,
            neighbour,
            eth_dst: neighbours.get(&(port, neighbour)).copied(),
        })
    }
}

impl Route {
    fn leads_to(&self, address: IpAddr) -> bool {
        let differs = match (self.prefix, address) {
            (IpAddr::V4(prefix), IpAddr::V4(address)) => {
                u128::from(prefix.to_bits() ^ address.to_bits()) << 96
            }
            (IpAddr::V6(prefix), IpAddr::V6(address)) => prefix.to_bits() ^ address.to_bits(),
            _ => return false,
        };
        differs.leading_zeros() >= self.length.into()
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
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn route(prefix: &str, length: u8, port: u32, gateway: Option<&str>) -> Route {
        Route {
            prefix: address(prefix),
            length,
            metric: 0,
            port: Some(PortNo(port)),
            gateway: gateway.map(address),
            source: None,
        }
    }

    fn network() -> Network {
        let host = |port, addresses: &[&str]| Host {
            port: PortNo(port),
            mac: 0x0200_0000_0000 | u64::from(port),
            addresses: addresses.iter().map(|text| address(text)).collect(),
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
            port: None,
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
    fn without_tunnels_no_packet_may_have_come_by_one() {
        let mut underlay = Underlay::default();
        underlay.set_network(network());
        assert_eq!(underlay.host(PortNo(1)), None);
    }
}
